#include "serve/request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/fields.h"

struct reading {
	struct fields f;
	struct request *request;
	const struct request_limits *limits;
};

static bool no_memory(struct reading *r)
{
	return refuse(r->f.refusal, 500, NULL, NULL, "out of memory");
}

/* ---------------------------------------------------------------------------------------------------- messages */

/* Takes the text over. */
static bool keep_text(struct reading *r, json_t *text, const char **out)
{
	if (!text || json_array_append_new(r->request->texts, text) != 0)
		return no_memory(r);
	*out = json_string_value(text);
	return true;
}

/* The texts of a list of parts, one after the other. */
static bool join_parts(struct reading *r, const json_t *parts, size_t message, const char **out)
{
	char name[64], *joined = NULL;
	size_t index, bytes = 0;
	json_t *part;
	json_array_foreach(parts, index, part) bytes += json_string_length(json_object_get(part, "text"));
	joined = malloc(bytes + 1);
	if (!joined)
		return no_memory(r);
	bytes = 0;
	json_array_foreach(parts, index, part)
	{
		const char *type = json_string_value(json_object_get(part, "type"));
		const json_t *text = json_object_get(part, "text");
		if (!type || strcmp(type, "text") != 0 || !json_is_string(text)) {
			free(joined);
			snprintf(name, sizeof name, "messages[%zu].content[%zu]", message, index);
			return field_unexpected(&r->f, name, "{\"type\":\"text\",\"text\":...}", part);
		}
		memcpy(joined + bytes, json_string_value(text), json_string_length(text));
		bytes += json_string_length(text);
	}
	json_t *text = json_stringn(joined, bytes);
	free(joined);
	return keep_text(r, text, out);
}

static bool read_content(struct reading *r, json_t *content, size_t message, const char **out)
{
	char name[64];
	if (!content || json_is_null(content))
		return true;
	if (json_is_array(content))
		return join_parts(r, content, message, out);
	snprintf(name, sizeof name, "messages[%zu].content", message);
	return json_is_string(content) ? keep_text(r, json_incref(content), out)
	                               : field_unexpected(&r->f, name, "a string or a list of texts", content);
}

static bool read_role(struct reading *r, const json_t *object, size_t message, rwkvk_chat_role *out)
{
	static const struct {
		const char *name;
		rwkvk_chat_role role;
	} roles[] = { { "system", RWKVK_ROLE_SYSTEM },
		          { "developer", RWKVK_ROLE_SYSTEM },
		          { "user", RWKVK_ROLE_USER },
		          { "assistant", RWKVK_ROLE_ASSISTANT },
		          { "tool", RWKVK_ROLE_TOOL } };
	const json_t *role = json_object_get(object, "role");
	char name[64];
	for (size_t i = 0; json_is_string(role) && i < sizeof roles / sizeof roles[0]; i++)
		if (strcmp(roles[i].name, json_string_value(role)) == 0) {
			*out = roles[i].role;
			return true;
		}
	snprintf(name, sizeof name, "messages[%zu].role", message);
	return field_unexpected(&r->f, name, "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"", role);
}

static bool read_calls(struct reading *r, const json_t *object, size_t message, const char **out)
{
	const json_t *calls = json_object_get(object, "tool_calls");
	char name[64];
	if (!calls || json_is_null(calls) || (json_is_array(calls) && json_array_size(calls) == 0))
		return true;
	snprintf(name, sizeof name, "messages[%zu].tool_calls", message);
	if (!json_is_array(calls))
		return field_unexpected(&r->f, name, "a list of calls", calls);
	char *text = json_dumps(calls, JSON_COMPACT);
	json_t *string = text ? json_string(text) : NULL;
	free(text);
	return keep_text(r, string, out);
}

static bool read_message(struct reading *r, const json_t *object, size_t index)
{
	rwkvk_chat_message *message = &r->request->messages[index];
	char name[64];
	snprintf(name, sizeof name, "messages[%zu]", index);
	if (!json_is_object(object))
		return field_unexpected(&r->f, name, "an object with role and content", object);
	message->size = sizeof *message;
	return read_role(r, object, index, &message->role) &&
	       read_content(r, json_object_get(object, "content"), index, &message->text) &&
	       read_calls(r, object, index, &message->tool_calls);
}

static bool read_messages(struct reading *r)
{
	const json_t *messages = field_get(&r->f, "messages");
	size_t count = json_array_size(messages);
	if (!json_is_array(messages) || count == 0)
		return field_unexpected(&r->f, "messages", "a list of at least one message", messages);
	r->request->messages = calloc(count, sizeof *r->request->messages);
	if (!r->request->messages)
		return no_memory(r);
	r->request->message_count = count;
	for (size_t i = 0; i < count; i++)
		if (!read_message(r, json_array_get(messages, i), i))
			return false;
	return true;
}

/* ---------------------------------------------------------------------------------------------------- reasoning, tools */

static bool read_thinking(struct reading *r)
{
	static const struct {
		const char *name;
		rwkvk_chat_think think;
	} efforts[] = { { "none", RWKVK_THINK_FAKE },
		            { "minimal", RWKVK_THINK_FAKE },
		            { "low", RWKVK_THINK_A_BIT },
		            { "medium", RWKVK_THINK_ON },
		            { "high", RWKVK_THINK_A_LOT } };
	const char *effort = NULL;
	bool on = false;
	if (!field_flag(&r->f, "enable_thinking", &on) || !field_text(&r->f, "reasoning_effort", &effort))
		return false;
	r->request->think = on ? RWKVK_THINK_ON : RWKVK_THINK_OFF;
	r->request->think_field = effort ? "reasoning_effort" : "enable_thinking";
	for (size_t i = 0; effort && i < sizeof efforts / sizeof efforts[0]; i++)
		if (strcmp(effort, efforts[i].name) == 0) {
			r->request->think = efforts[i].think;
			return true;
		}
	return !effort || field_unexpected(&r->f, "reasoning_effort", "\"none\", \"minimal\", \"low\", \"medium\" or \"high\"",
	                                   field_get(&r->f, "reasoning_effort"));
}

static const char *tool_name(const json_t *tool)
{
	const char *type = json_string_value(json_object_get(tool, "type"));
	const json_t *function = json_object_get(tool, "function");
	return type && strcmp(type, "function") == 0 ? json_string_value(json_object_get(function, "name")) : NULL;
}

/* The tools that may be called: all, none, or the one that the choice names. */
static bool keep_tools(struct reading *r, const json_t *tools, const char *only)
{
	json_t *kept = json_array(), *tool;
	size_t index;
	char name[64];
	json_array_foreach(tools, index, tool)
	{
		const char *is = tool_name(tool);
		if (!is) {
			json_decref(kept);
			snprintf(name, sizeof name, "tools[%zu]", index);
			return field_unexpected(&r->f, name, "{\"type\":\"function\",\"function\":{\"name\":...}}", tool);
		}
		if (!only || strcmp(is, only) == 0)
			json_array_append(kept, tool);
	}
	size_t count = json_array_size(kept);
	r->request->tools = count > 0 ? json_dumps(kept, JSON_COMPACT) : NULL;
	json_decref(kept);
	if (only && count == 0)
		return field_unexpected(&r->f, "tool_choice", "the name of one of the tools", field_get(&r->f, "tool_choice"));
	return count == 0 || r->request->tools || no_memory(r);
}

static bool read_tools(struct reading *r)
{
	const json_t *tools = field_get(&r->f, "tools"), *choice = field_get(&r->f, "tool_choice");
	const char *word = json_string_value(choice), *only = json_is_object(choice) ? tool_name(choice) : NULL;
	bool parallel = true, none = word && strcmp(word, "none") == 0, automatic = !choice || (word && strcmp(word, "auto") == 0);
	if (!field_flag(&r->f, "parallel_tool_calls", &parallel))
		return false;
	r->request->one_call = !parallel;
	r->request->call = only || (word && strcmp(word, "required") == 0);
	if (!none && !automatic && !r->request->call)
		return field_unexpected(&r->f, "tool_choice",
		                        "\"none\", \"auto\", \"required\" or {\"type\":\"function\",\"function\":{\"name\":...}}",
		                        choice);
	if (tools && !json_is_array(tools))
		return field_unexpected(&r->f, "tools", "a list of tools", tools);
	if (r->request->call && json_array_size(tools) == 0)
		return refuse(r->f.refusal, 400, NULL, "tool_choice", "tool_choice: a call is required, but there are no tools");
	return none || !tools || keep_tools(r, tools, only);
}

/* ---------------------------------------------------------------------------------------------------- how it is written */

static bool read_stops(struct reading *r)
{
	json_t *stop = field_get(&r->f, "stop");
	size_t count = json_is_array(stop) ? json_array_size(stop) : stop ? 1 : 0;
	if (count > MOST_STOPS)
		return refuse(r->f.refusal, 400, NULL, "stop", "stop: expected at most %d texts, got %zu", MOST_STOPS, count);
	for (size_t i = 0; i < count; i++) {
		json_t *text = json_is_array(stop) ? json_array_get(stop, i) : stop;
		if (json_string_length(text) == 0)
			return field_unexpected(&r->f, "stop", "a text that is not empty, or a list of such", stop);
		if (!keep_text(r, json_incref(text), &r->request->stops[i]))
			return false;
	}
	r->request->stop_count = count;
	return true;
}

static bool read_bias(struct reading *r, const char *key, const json_t *value, rwkvk_bias *out)
{
	char *end, name[64];
	unsigned long long id = strtoull(key, &end, 10);
	snprintf(name, sizeof name, "logit_bias.%.40s", key);
	if (*key < '0' || *key > '9' || *end || id >= r->limits->vocab)
		return refuse(r->f.refusal, 400, NULL, "logit_bias", "logit_bias: expected token ids below %u, got \"%.40s\"",
		              (unsigned)r->limits->vocab, key);
	if (!json_is_number(value) || !(json_number_value(value) >= -100 && json_number_value(value) <= 100))
		return field_unexpected(&r->f, name, "a number from -100 to 100", value);
	*out = (rwkvk_bias){ .token = (uint32_t)id, .value = (float)json_number_value(value) };
	return true;
}

static bool read_biases(struct reading *r)
{
	json_t *biases = field_get(&r->f, "logit_bias"), *value;
	size_t count = json_object_size(biases), index = 0;
	const char *key;
	if (biases && !json_is_object(biases))
		return field_unexpected(&r->f, "logit_bias", "an object of token ids and numbers", biases);
	if (count > MOST_BIASES)
		return refuse(r->f.refusal, 400, NULL, "logit_bias", "logit_bias: expected at most %d tokens, got %zu", MOST_BIASES,
		              count);
	r->request->biases = count > 0 ? calloc(count, sizeof *r->request->biases) : NULL;
	if (count > 0 && !r->request->biases)
		return no_memory(r);
	json_object_foreach(biases, key, value) if (!read_bias(r, key, value, &r->request->biases[index++])) return false;
	r->request->sampling.biases = r->request->biases;
	r->request->sampling.bias_count = count;
	return true;
}

/* Without chance there is no penalty either, unless the request asks for one: as `rwkvk generate --temp 0`. */
static bool read_sampling(struct reading *r)
{
	struct fields *f = &r->f;
	rwkvk_sampling *s = &r->request->sampling;
	uint64_t top_k;
	const json_t *seed = field_get(f, "seed");
	*s = r->limits->sampling;
	top_k = s->top_k;
	if (!field_number(f, "temperature", 0, 100, &s->temperature))
		return false;
	if (s->temperature == 0 && field_get(f, "temperature"))
		s->presence = s->frequency = 0;
	if (!field_number(f, "top_p", 0, 1, &s->top_p) || !field_count(f, "top_k", 0, UINT32_MAX, &top_k) ||
	    !field_number(f, "presence_penalty", -100, 100, &s->presence) ||
	    !field_number(f, "frequency_penalty", -100, 100, &s->frequency) || !field_number(f, "penalty_decay", 0, 1, &s->decay))
		return false;
	s->top_k = (uint32_t)top_k;
	if (seed && !json_is_integer(seed))
		return field_unexpected(f, "seed", "a whole number", seed);
	r->request->seed_given = seed != NULL;
	s->seed = (uint64_t)json_integer_value(seed);
	return read_biases(r);
}

/* A flag and a number for chats, one number for completions. */
static bool read_logprobs(struct reading *r)
{
	uint64_t top = 0;
	if (r->request->endpoint == ENDPOINT_CHAT) {
		if (!field_flag(&r->f, "logprobs", &r->request->logprobs) ||
		    !field_count(&r->f, "top_logprobs", 0, MOST_TOP_LOGPROBS, &top))
			return false;
		if (top > 0 && !r->request->logprobs)
			return refuse(r->f.refusal, 400, NULL, "top_logprobs", "top_logprobs: needs logprobs to be true");
	} else {
		if (!field_count(&r->f, "logprobs", 0, MOST_TOP_LOGPROBS, &top))
			return false;
		r->request->logprobs = field_get(&r->f, "logprobs") != NULL;
	}
	r->request->top_logprobs = (uint32_t)top;
	return true;
}

static bool read_stream(struct reading *r)
{
	struct fields options = { .object = field_get(&r->f, "stream_options"), .refusal = r->f.refusal };
	if (!field_flag(&r->f, "stream", &r->request->stream) ||
	    !field_flag(&r->f, "return_progress", &r->request->stream_progress))
		return false;
	if (options.object && !json_is_object(options.object))
		return field_unexpected(&r->f, "stream_options", "an object", options.object);
	return field_flag(&options, "include_usage", &r->request->stream_usage);
}

static bool read_state(struct reading *r)
{
	const char *name = NULL;
	if (!field_text(&r->f, "state", &name))
		return false;
	for (size_t i = 0; name && i < r->limits->state_count; i++)
		if (strcmp(name, r->limits->states[i]) == 0)
			r->request->state = i + 1;
	return !name || r->request->state > 0 ||
	       refuse(r->f.refusal, 400, NULL, "state", "state: there is none of the name \"%.100s\"; /v1/models lists them", name);
}

static bool read_model(struct reading *r)
{
	const char *model = NULL;
	if (!field_text(&r->f, "model", &model))
		return false;
	return !model || strcmp(model, r->limits->model) == 0 ||
	       refuse(r->f.refusal, 404, "model_not_found", "model",
	              "model: there is no \"%.100s\" here; this server has \"%.100s\"", model, r->limits->model);
}

/* The newer name wins. */
static bool read_length(struct reading *r)
{
	uint64_t n = 1;
	r->request->max_tokens = r->limits->max_tokens;
	bool ok = field_count(&r->f, "n", 1, r->limits->choices, &n) &&
	          field_count(&r->f, "max_tokens", 1, r->limits->max_tokens, &r->request->max_tokens) &&
	          (r->request->endpoint != ENDPOINT_CHAT ||
	           field_count(&r->f, "max_completion_tokens", 1, r->limits->max_tokens, &r->request->max_tokens));
	r->request->n = (uint32_t)n;
	return ok;
}

static bool read_generation(struct reading *r)
{
	return fields_check(&r->f, r->request->endpoint) && read_model(r) && read_length(r) && read_stops(r) && read_sampling(r) &&
	       read_logprobs(r) && read_stream(r) && read_state(r);
}

/* ---------------------------------------------------------------------------------------------------- endpoints */

static bool read_chat(struct reading *r)
{
	return read_generation(r) && read_messages(r) && read_thinking(r) && read_tools(r);
}

/* One text, or a list of just one. */
static bool read_prompt(struct reading *r, const char *name)
{
	json_t *prompt = field_get(&r->f, name);
	json_t *text = json_is_array(prompt) && json_array_size(prompt) == 1 ? json_array_get(prompt, 0) : prompt;
	if (!json_is_string(text))
		return field_unexpected(&r->f, name, "one text (several are several requests)", prompt);
	r->request->prompt_bytes = json_string_length(text);
	return keep_text(r, json_incref(text), &r->request->prompt);
}

static bool read_completions(struct reading *r)
{
	const char *suffix = NULL;
	return read_generation(r) && read_prompt(r, "prompt") && field_text(&r->f, "suffix", &suffix) &&
	       (!suffix || keep_text(r, json_incref(field_get(&r->f, "suffix")), &r->request->suffix));
}

static bool read_tokenize(struct reading *r)
{
	return read_prompt(r, "content") && field_flag(&r->f, "with_pieces", &r->request->pieces);
}

static bool read_detokenize(struct reading *r)
{
	const json_t *tokens = field_get(&r->f, "tokens");
	if (!json_is_array(tokens))
		return field_unexpected(&r->f, "tokens", "a list of token ids", tokens);
	r->request->token_count = json_array_size(tokens);
	if (r->request->token_count > r->limits->max_ids)
		return refuse(r->f.refusal, 400, "context_length_exceeded", "tokens", "tokens: expected at most %" PRIu64 ", got %zu",
		              r->limits->max_ids, r->request->token_count);
	r->request->tokens = calloc(r->request->token_count + 1, sizeof *r->request->tokens);
	if (!r->request->tokens)
		return no_memory(r);
	for (size_t i = 0; i < r->request->token_count; i++) {
		const json_t *id = json_array_get(tokens, i);
		if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= r->limits->vocab)
			return refuse(r->f.refusal, 400, NULL, "tokens", "tokens: expected ids below %u", (unsigned)r->limits->vocab);
		r->request->tokens[i] = (uint32_t)json_integer_value(id);
	}
	return true;
}

static bool read_endpoint(struct reading *r)
{
	switch (r->request->endpoint) {
	case ENDPOINT_CHAT:
		return read_chat(r);
	case ENDPOINT_COMPLETIONS:
		return read_completions(r);
	case ENDPOINT_TOKENIZE:
		return read_tokenize(r);
	case ENDPOINT_DETOKENIZE:
		return read_detokenize(r);
	}
	return false;
}

bool request_read(struct request *request, enum endpoint endpoint, const char *body, size_t bytes,
                  const struct request_limits *limits, struct refusal *refusal)
{
	json_error_t error;
	json_t *object = json_loadb(body, bytes, 0, &error);
	*request = (struct request){ .endpoint = endpoint, .texts = json_array() };
	struct reading r = { { object, refusal }, request, limits };
	bool ok = json_is_object(object) || refuse(refusal, 400, NULL, NULL, "the body: expected a JSON object, got %.200s",
	                                           object ? "another kind of JSON" : error.text);
	ok = ok && read_endpoint(&r);
	json_decref(object);
	if (!ok)
		request_free(request);
	return ok;
}

void request_free(struct request *request)
{
	json_decref(request->texts);
	free(request->messages);
	free(request->tools);
	free(request->tokens);
	free(request->biases);
	*request = (struct request){ .texts = NULL };
}
