/* The JSON of tools and calls: the forms that programs use, that models are shown, and that models write. */
#include "text/chat.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "format/weights.h"

/* With as few digits as give the same number again: 0.1, not 0.10000000000000001.  NULL: out of memory. */
static char *dump(const json_t *value)
{
	char *text = NULL;
	bool same = false;
	for (size_t digits = 15; digits <= 17 && !same; digits++) {
		free(text);
		text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(digits));
		json_t *again = text ? json_loads(text, 0, NULL) : NULL;
		same = json_equal(again, value);
		json_decref(again);
	}
	return text;
}

/* Takes ownership of the value. */
static rwkvk_status put_json(json_t *value, struct text_sink *out)
{
	char *text = dump(value);
	json_decref(value);
	if (!text)
		return fail(RWKVK_ERROR_MEMORY, "no memory for JSON");
	put_text(out, text);
	free(text);
	return RWKVK_OK;
}

/* OpenAI puts name and the rest into an object `function`. */
static const json_t *inner(const json_t *entry)
{
	const json_t *function = json_object_get(entry, "function");
	return json_is_object(function) ? function : entry;
}

static const char *name_of(const json_t *entry)
{
	const char *name = json_string_value(json_object_get(inner(entry), "name"));
	return name && *name ? name : NULL;
}

/* ---------------------------------------------------------------------------------------------------- tools */

static rwkvk_status read_list(const char *what, const char *text, json_t **out)
{
	json_error_t error;
	*out = json_loads(text, 0, &error);
	if (!*out)
		return fail(RWKVK_ERROR_ARGUMENT, "%s: expected a list as JSON, found %s (line %d, column %d)", what,
		            show_text(error.text, strlen(error.text)).text, error.line, error.column);
	if (json_is_array(*out) && json_array_size(*out) > 0)
		return RWKVK_OK;
	json_decref(*out);
	*out = NULL;
	return fail(RWKVK_ERROR_ARGUMENT, "%s: expected a list of at least one object, found %s", what,
	            show_text(text, strlen(text)).text);
}

static json_t *shown_tool(const json_t *entry)
{
	const json_t *tool = inner(entry);
	json_t *arguments = json_object_get(tool, "arguments");
	return json_pack("{s:O, s:O*, s:O*}", "name", json_object_get(tool, "name"), "description",
	                 json_object_get(tool, "description"), "arguments",
	                 arguments ? arguments : json_object_get(tool, "parameters"));
}

rwkvk_status chat_put_tools(const char *tools, struct text_sink *out)
{
	json_t *list, *shown = json_array();
	rwkvk_status status = read_list("rwkvk_chat_options.tools", tools, &list);
	for (size_t i = 0; status == RWKVK_OK && i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i);
		if (!name_of(entry))
			status = fail(RWKVK_ERROR_ARGUMENT, "rwkvk_chat_options.tools: entry %zu has no name", i);
		else if (json_array_append_new(shown, shown_tool(entry)) != 0)
			status = fail(RWKVK_ERROR_MEMORY, "no memory for JSON");
	}
	if (status == RWKVK_OK)
		status = put_json(json_incref(shown), out);
	json_decref(shown);
	json_decref(list);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- calls */

/* {name, arguments} of a call in any form; arguments may be an object as text.  NULL: not a call. */
static json_t *plain_call(const json_t *entry)
{
	const char *name = name_of(entry);
	json_t *found = json_object_get(inner(entry), "arguments");
	json_t *arguments = json_is_string(found) ? json_loads(json_string_value(found), 0, NULL) : json_incref(found);
	if (name && json_is_object(arguments))
		return json_pack("{s:s, s:o}", "name", name, "arguments", arguments);
	json_decref(arguments);
	return NULL;
}

static bool offers(const json_t *tools, const json_t *call)
{
	const char *name = name_of(call);
	for (size_t i = 0; i < json_array_size(tools); i++) {
		const char *tool = name_of(json_array_get(tools, i));
		if (tool && strcmp(tool, name) == 0)
			return true;
	}
	return false;
}

/* The calls in one object or a list, as a list.  tools: those that may be called; NULL: any.  Returns NULL unless all are
 * calls. */
static json_t *plain_calls(const json_t *found, const json_t *tools)
{
	json_t *calls = json_array();
	size_t count = json_is_array(found) ? json_array_size(found) : 1;
	bool good = count > 0;
	for (size_t i = 0; good && i < count; i++) {
		json_t *call = plain_call(json_is_array(found) ? json_array_get(found, i) : found);
		good = call && (!tools || offers(tools, call)) && json_array_append(calls, call) == 0;
		json_decref(call);
	}
	if (good)
		return calls;
	json_decref(calls);
	return NULL;
}

rwkvk_status chat_put_calls(const char *text, struct text_sink *out)
{
	json_t *list;
	TRY(read_list("rwkvk_chat_message.tool_calls", text, &list));
	json_t *calls = plain_calls(list, NULL);
	json_decref(list);
	if (!calls)
		return fail(RWKVK_ERROR_ARGUMENT,
		            "rwkvk_chat_message.tool_calls: expected objects with a name, and arguments that are an object, found %s",
		            show_text(text, strlen(text)).text);
	if (json_array_size(calls) == 1) { /* models write a single one without a list */
		json_t *only = json_incref(json_array_get(calls, 0));
		json_decref(calls);
		calls = only;
	}
	put_text(out, CALL_BEGIN "\n");
	TRY(put_json(calls, out));
	put_text(out, "\n" CALL_END);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- in an answer */

static bool begins(struct chat_span span, const char *with)
{
	size_t bytes = strlen(with);
	return span.bytes >= bytes && memcmp(span.text, with, bytes) == 0;
}

/* The content of a ```json block; the first line may be missing, as when the prompt had it. */
static struct chat_span unfence(struct chat_span span)
{
	const char *const fences[] = { CALL_BEGIN, CALL_END };
	span = chat_strip(span);
	for (int i = 0; i < 2; i++)
		if (begins(span, fences[i])) {
			span = (struct chat_span){ span.text + strlen(fences[i]), span.bytes - strlen(fences[i]) };
			break;
		}
	size_t end = strlen(CALL_END);
	if (span.bytes >= end && memcmp(span.text + span.bytes - end, CALL_END, end) == 0)
		span.bytes -= end;
	return chat_strip(span);
}

rwkvk_status rwkvk_chat_tool_calls(const char *tools, const void *answer, size_t bytes, char *json, size_t capacity,
                                   size_t *written)
{
	REQUIRE(tools && written && (answer || bytes == 0) && (json || capacity == 0));
	struct text_sink out = { json, capacity, 0 };
	json_t *list;
	*written = 0;
	TRY(read_list("rwkvk_chat_options.tools", tools, &list));
	struct chat_span span = unfence((struct chat_span){ bytes ? answer : "", bytes });
	json_t *found = json_loadb(span.text, span.bytes, 0, NULL);
	json_t *calls = found ? plain_calls(found, list) : NULL;
	rwkvk_status status = calls ? put_json(calls, &out) : RWKVK_OK;
	json_decref(found);
	json_decref(list);
	*written = status == RWKVK_OK ? out.count : 0;
	return status;
}
