/* From messages to the prompt.  A message's text depends only on the message, the options, and whether it is the first, so a
 * prompt has the same bytes however many messages are rendered at once. */
#include "text/chat.h"

#include <string.h>

#include "base/structs.h"

#define BETWEEN "\n\n" /* separates messages, and so may not occur in one */

void put_bytes(struct text_sink *out, const void *bytes, size_t count)
{
	if (out->count < out->capacity) {
		size_t room = out->capacity - out->count;
		memcpy(out->text + out->count, bytes, count < room ? count : room);
	}
	out->count += count;
}

void put_text(struct text_sink *out, const char *text)
{
	put_bytes(out, text, strlen(text));
}

/* ---------------------------------------------------------------------------------------------------- white space */

/* Whether these bytes are one character that Python's str.strip() removes. */
static bool is_space(const uint8_t *at, size_t bytes)
{
	if (bytes == 1)
		return (at[0] >= '\t' && at[0] <= '\r') || (at[0] >= 0x1c && at[0] <= ' ');
	if (bytes == 2)
		return at[0] == 0xc2 && (at[1] == 0x85 || at[1] == 0xa0); /* U+0085, U+00A0 */
	unsigned code = (at[0] & 15u) << 12 | (at[1] & 63u) << 6 | (at[2] & 63u);
	return (at[0] & 0xf0) == 0xe0 && (at[1] & 0xc0) == 0x80 && (at[2] & 0xc0) == 0x80 &&
	       (code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
	        code == 0x205f || code == 0x3000);
}

/* Length in bytes of the white space character at a text's start or end; 0: none. */
static size_t space_at(struct chat_span span, bool end)
{
	const uint8_t *text = (const uint8_t *)span.text;
	for (size_t bytes = 1; bytes <= 3 && bytes <= span.bytes; bytes++)
		if (is_space(end ? text + span.bytes - bytes : text, bytes))
			return bytes;
	return 0;
}

struct chat_span chat_strip(struct chat_span span)
{
	for (size_t space; (space = space_at(span, false)) > 0;)
		span = (struct chat_span){ span.text + space, span.bytes - space };
	for (size_t space; (space = space_at(span, true)) > 0;)
		span.bytes -= space;
	return span;
}

/* The official cleaning, of text that is stripped: re.sub(r'\n{2,}', '\n', text.replace('\r\n', '\n')) */
static void put_clean(struct text_sink *out, struct chat_span span)
{
	bool after_break = false;
	for (size_t i = 0; i < span.bytes; i++) {
		if (span.text[i] == '\r' && i + 1 < span.bytes && span.text[i + 1] == '\n')
			continue;
		bool is_break = span.text[i] == '\n';
		if (!is_break || !after_break)
			put_bytes(out, &span.text[i], 1);
		after_break = is_break;
	}
}

static void put_stripped(struct text_sink *out, struct chat_span span, bool keep_blank_lines)
{
	span = chat_strip(span);
	if (keep_blank_lines)
		put_bytes(out, span.text, span.bytes);
	else
		put_clean(out, span);
}

/* ---------------------------------------------------------------------------------------------------- messages */

struct rendering {
	const struct chat_format *format;
	rwkvk_chat_options options;
	struct text_sink out;
};

static struct chat_span text_of(const rwkvk_chat_message *message)
{
	const char *text = message->text ? message->text : "";
	return (struct chat_span){ text, strlen(text) };
}

/* The tools come in the system's text, before the rest of it. */
static rwkvk_status put_system(struct rendering *r, const rwkvk_chat_message *message, const char *tools)
{
	struct chat_span text = message ? chat_strip(text_of(message)) : (struct chat_span){ "", 0 };
	if (!tools && text.bytes == 0)
		return RWKVK_OK;
	put_text(&r->out, r->format->system);
	if (tools) {
		put_text(&r->out, "Tools:\n");
		TRY(chat_put_tools(tools, &r->out));
		put_text(&r->out, text.bytes ? "\nReturn only a JSON function call.\n" : "\nReturn only a JSON function call.");
	}
	put_stripped(&r->out, text, r->format->keeps_blank_lines);
	put_text(&r->out, BETWEEN);
	return RWKVK_OK;
}

static rwkvk_status put_assistant(struct rendering *r, const rwkvk_chat_message *message)
{
	struct chat_span text = text_of(message);
	for (const char *end; (end = strstr(text.text, THINK_END));)
		text = (struct chat_span){ end + strlen(THINK_END), strlen(end) - strlen(THINK_END) };
	text = chat_strip(text);
	put_text(&r->out, r->format->assistant);
	put_stripped(&r->out, text, r->format->keeps_answers);
	if (message->tool_calls) {
		if (text.bytes)
			put_text(&r->out, "\n");
		TRY(chat_put_calls(message->tool_calls, &r->out));
	}
	put_text(&r->out, BETWEEN);
	return RWKVK_OK;
}

static rwkvk_status put_message(struct rendering *r, const rwkvk_chat_message *message)
{
	switch (message->role) {
	case RWKVK_ROLE_SYSTEM:
		return put_system(r, message, NULL);
	case RWKVK_ROLE_ASSISTANT:
		return put_assistant(r, message);
	case RWKVK_ROLE_TOOL:
		put_text(&r->out, r->format->user);
		put_text(&r->out, "Function output:\n");
		put_stripped(&r->out, text_of(message), r->format->keeps_blank_lines);
		break;
	case RWKVK_ROLE_USER:
		put_text(&r->out, r->format->user);
		put_stripped(&r->out, text_of(message), r->format->keeps_blank_lines);
		put_text(&r->out, r->format->hint[r->options.think]);
		break;
	}
	put_text(&r->out, BETWEEN);
	return RWKVK_OK;
}

static rwkvk_status check_message(const struct chat_format *format, const rwkvk_chat_message *message, size_t index)
{
	if ((unsigned)message->role > RWKVK_ROLE_TOOL)
		return fail(RWKVK_ERROR_ARGUMENT, "message %zu: role is %d: expected a rwkvk_chat_role", index, (int)message->role);
	if (message->tool_calls && message->role != RWKVK_ROLE_ASSISTANT)
		return fail(RWKVK_ERROR_ARGUMENT, "message %zu: only the assistant's messages have tool_calls", index);
	if ((message->tool_calls || message->role == RWKVK_ROLE_TOOL) && !format->has_tools)
		return fail(RWKVK_ERROR_ARGUMENT, "message %zu is about tools, which the chat template %s does not have: g1 has", index,
		            format->name);
	return RWKVK_OK;
}

/* Element `index` of an array whose stride is the size in its first element. */
static rwkvk_status read_message(const rwkvk_chat_message *messages, size_t index, rwkvk_chat_message *own)
{
	size_t step = messages->size ? messages->size : SIZE_0_1(rwkvk_chat_message, tool_calls);
	return READ_OPTIONS(rwkvk_chat_message, tool_calls, (const uint8_t *)messages + index * step, own);
}

/* ---------------------------------------------------------------------------------------------------- the prompt */

static rwkvk_status put_messages(struct rendering *r, const rwkvk_chat_message *messages, size_t count, size_t *ends)
{
	const char *tools = r->options.continued ? NULL : r->options.tools;
	bool plain = *r->format->user == 0;
	if (tools && count == 0)
		TRY(put_system(r, NULL, tools));
	for (size_t i = 0; i < count; i++) {
		rwkvk_chat_message message;
		TRY(read_message(messages, i, &message));
		TRY(check_message(r->format, &message, i));
		bool shared = i == 0 && tools && message.role == RWKVK_ROLE_SYSTEM;
		if (i == 0 && tools)
			TRY(put_system(r, shared ? &message : NULL, tools));
		if (plain)
			put_text(&r->out, text_of(&message).text);
		else if (!shared)
			TRY(put_message(r, &message));
		if (ends)
			ends[i] = r->out.count;
	}
	return RWKVK_OK;
}

/* Where the model continues: no space after the colon, since the model writes it. */
static void put_beginning(struct rendering *r)
{
	size_t bytes = strlen(r->format->assistant);
	put_bytes(&r->out, r->format->assistant, bytes ? bytes - 1 : 0);
	put_text(&r->out, r->format->tail[r->options.think]);
	if (r->options.call && r->options.think == RWKVK_THINK_OFF)
		put_text(&r->out, " " CALL_BEGIN);
}

rwkvk_status rwkvk_chat_render(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                               const rwkvk_chat_options *options, char *text, size_t capacity, size_t *bytes, size_t *ends)
{
	REQUIRE(bytes && (messages || count == 0) && (text || capacity == 0));
	struct rendering r = { .out = { text, capacity, 0 } };
	*bytes = 0;
	TRY(chat_open(chat, options, &r.options, &r.format));
	TRY(put_messages(&r, messages, count, ends));
	if (!r.options.messages_only)
		put_beginning(&r);
	*bytes = r.out.count;
	return RWKVK_OK;
}
