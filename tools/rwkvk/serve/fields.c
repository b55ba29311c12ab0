#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/fields.h"

enum { CHAT = ENDPOINT_CHAT, COMPLETIONS = ENDPOINT_COMPLETIONS, BOTH = CHAT | COMPLETIONS };

/* A field is refused if it would change the answer and is not supported, and ignored if it only informs the operator or
 * concerns speed. */
const struct field request_fields[] = {
	{ "model", BOTH, FIELD_HONOURED, NULL },
	{ "messages", CHAT, FIELD_HONOURED, NULL },
	{ "prompt", COMPLETIONS, FIELD_HONOURED, NULL },
	{ "suffix", COMPLETIONS, FIELD_HONOURED, NULL },
	{ "stream", BOTH, FIELD_HONOURED, NULL },
	{ "stream_options", BOTH, FIELD_HONOURED, NULL },
	{ "return_progress", BOTH, FIELD_HONOURED, NULL },
	{ "n", BOTH, FIELD_HONOURED, NULL },
	{ "stop", BOTH, FIELD_HONOURED, NULL },
	{ "seed", BOTH, FIELD_HONOURED, NULL },
	{ "max_tokens", BOTH, FIELD_HONOURED, NULL },
	{ "max_completion_tokens", CHAT, FIELD_HONOURED, NULL },
	{ "temperature", BOTH, FIELD_HONOURED, NULL },
	{ "top_p", BOTH, FIELD_HONOURED, NULL },
	{ "top_k", BOTH, FIELD_HONOURED, NULL },
	{ "presence_penalty", BOTH, FIELD_HONOURED, NULL },
	{ "frequency_penalty", BOTH, FIELD_HONOURED, NULL },
	{ "penalty_decay", BOTH, FIELD_HONOURED, NULL },
	{ "logit_bias", BOTH, FIELD_HONOURED, NULL },
	{ "logprobs", BOTH, FIELD_HONOURED, NULL },
	{ "top_logprobs", CHAT, FIELD_HONOURED, NULL },
	{ "enable_thinking", CHAT, FIELD_HONOURED, NULL },
	{ "reasoning_effort", CHAT, FIELD_HONOURED, NULL },
	{ "state", BOTH, FIELD_HONOURED, NULL },
	{ "tools", CHAT, FIELD_HONOURED, NULL },
	{ "tool_choice", CHAT, FIELD_HONOURED, NULL },
	{ "parallel_tool_calls", CHAT, FIELD_HONOURED, NULL },
	{ "user", BOTH, FIELD_IGNORED, NULL },
	{ "store", CHAT, FIELD_IGNORED, NULL },
	{ "metadata", CHAT, FIELD_IGNORED, NULL },
	{ "service_tier", CHAT, FIELD_IGNORED, NULL },
	{ "safety_identifier", CHAT, FIELD_IGNORED, NULL },
	{ "prompt_cache_key", CHAT, FIELD_IGNORED, NULL },
	{ "prompt_cache_retention", CHAT, FIELD_IGNORED, NULL },
	{ "prediction", CHAT, FIELD_IGNORED, NULL },
	{ "response_format", BOTH, FIELD_REFUSED, "{\"type\":\"text\"}" },
	{ "grammar", BOTH, FIELD_REFUSED, "\"\"" },
	{ "modalities", CHAT, FIELD_REFUSED, "[\"text\"]" },
	{ "audio", CHAT, FIELD_REFUSED, NULL },
	{ "verbosity", CHAT, FIELD_REFUSED, "\"medium\"" },
	{ "web_search_options", CHAT, FIELD_REFUSED, NULL },
	{ "functions", CHAT, FIELD_REFUSED, "[]" },
	{ "function_call", CHAT, FIELD_REFUSED, "\"none\"" },
	{ "best_of", COMPLETIONS, FIELD_REFUSED, "1" },
	{ "echo", COMPLETIONS, FIELD_REFUSED, "false" },
};
const size_t request_field_count = sizeof request_fields / sizeof request_fields[0];

bool refuse(struct refusal *refusal, int status, const char *code, const char *param, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	refusal->status = status;
	refusal->code = code;
	snprintf(refusal->param, sizeof refusal->param, "%s", param ? param : "");
	vsnprintf(refusal->message, sizeof refusal->message, format, list);
	va_end(list);
	return false;
}

/* The beginning of a value, for a message. */
struct shown {
	char text[48];
};

static struct shown show(const json_t *value)
{
	struct shown out = { "nothing" };
	char *dump = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(7)) : NULL;
	if (dump)
		snprintf(out.text, sizeof out.text, strlen(dump) < sizeof out.text ? "%s" : "%.44s...", dump);
	free(dump);
	return out;
}

bool field_unexpected(struct fields *f, const char *name, const char *expected, const json_t *got)
{
	return refuse(f->refusal, 400, NULL, name, "%s: expected %s, got %s", name, expected, show(got).text);
}

json_t *field_get(const struct fields *f, const char *name)
{
	json_t *value = json_object_get(f->object, name);
	return json_is_null(value) ? NULL : value;
}

bool field_flag(struct fields *f, const char *name, bool *out)
{
	const json_t *value = field_get(f, name);
	if (value && !json_is_boolean(value))
		return field_unexpected(f, name, "true or false", value);
	if (value)
		*out = json_is_true(value);
	return true;
}

bool field_text(struct fields *f, const char *name, const char **out)
{
	const json_t *value = field_get(f, name);
	if (value && !json_is_string(value))
		return field_unexpected(f, name, "a string", value);
	if (value)
		*out = json_string_value(value);
	return true;
}

bool field_count(struct fields *f, const char *name, uint64_t low, uint64_t high, uint64_t *out)
{
	const json_t *value = field_get(f, name);
	char expected[80];
	if (!value)
		return true;
	json_int_t number = json_integer_value(value);
	snprintf(expected, sizeof expected, "a whole number from %llu to %llu", (unsigned long long)low, (unsigned long long)high);
	if (!json_is_integer(value) || number < 0 || (uint64_t)number < low || (uint64_t)number > high)
		return field_unexpected(f, name, expected, value);
	*out = (uint64_t)number;
	return true;
}

bool field_number(struct fields *f, const char *name, double low, double high, float *out)
{
	const json_t *value = field_get(f, name);
	char expected[80];
	if (!value)
		return true;
	double number = json_number_value(value);
	snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
	if (!json_is_number(value) || !(number >= low && number <= high))
		return field_unexpected(f, name, expected, value);
	*out = (float)number;
	return true;
}

/* What the field would have to be for it to ask for nothing. */
static bool is_neutral(const struct field *field, const json_t *value)
{
	json_t *neutral = field->neutral ? json_loads(field->neutral, JSON_DECODE_ANY, NULL) : NULL;
	bool same = neutral && json_equal(neutral, value);
	json_decref(neutral);
	return same;
}

bool fields_check(struct fields *f, enum endpoint endpoint)
{
	for (size_t i = 0; i < request_field_count; i++) {
		const struct field *field = &request_fields[i];
		const json_t *value = field->use == FIELD_REFUSED && (field->endpoints & endpoint) ? field_get(f, field->name) : NULL;
		if (value && !is_neutral(field, value))
			return refuse(f->refusal, 400, "unsupported_parameter", field->name,
			              "%s: this server does not have it; leave it out%s%s, got %s", field->name,
			              field->neutral ? " or give " : "", field->neutral ? field->neutral : "", show(value).text);
	}
	return true;
}
