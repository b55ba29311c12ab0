/* Chats of arbitrary bytes.  The first two choose template, think mode and more, the others are texts, with a 0 between them.
 * A prompt and its prefixes must be the same at once and in two pieces, an answer the same whole and byte by byte; JSON that is
 * read as calls must be read as the same calls once it is part of a prompt. */
#include <stdlib.h>
#include <string.h>

#include "text/chat.h"
#include "text/prefix.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_MESSAGES = 8 };

static void check(bool condition)
{
	if (!condition)
		abort();
}

struct prompt {
	char *text;
	size_t bytes, ends[MOST_MESSAGES];
};

static rwkvk_status render(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                           const rwkvk_chat_options *options, struct prompt *out)
{
	size_t again = 0;
	*out = (struct prompt){ .text = NULL };
	TRY(rwkvk_chat_render(chat, messages, count, options, NULL, 0, &out->bytes, out->ends));
	out->text = malloc(out->bytes + 1);
	check(out->text && rwkvk_chat_render(chat, messages, count, options, out->text, out->bytes, &again, NULL) == RWKVK_OK);
	check(again == out->bytes);
	return RWKVK_OK;
}

/* The prompt of the first `count` messages, which the whole prompt continues. */
static void compare_prefixes(const struct prompt *first, const struct prompt *whole, size_t count, size_t all)
{
	struct prefix *few, *many;
	size_t found, more;
	check(prefixes_find(first->text, first->bytes, first->ends, count, &few, &found) == RWKVK_OK);
	check(prefixes_find(whole->text, whole->bytes, whole->ends, all, &many, &more) == RWKVK_OK);
	check(found <= more && (found == 0 || memcmp(few, many, found * sizeof *few) == 0));
	free(few);
	free(many);
}

static void render_in_pieces(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count, size_t cut,
                             rwkvk_chat_options options)
{
	struct prompt whole, first, rest;
	rwkvk_chat_options before = options, after = options;
	before.messages_only = true;
	after.continued = true;
	if (cut == 0 || cut > count || render(chat, messages, count, &options, &whole) != RWKVK_OK)
		return;
	check(render(chat, messages, cut, &before, &first) == RWKVK_OK);
	check(render(chat, messages + cut, count - cut, &after, &rest) == RWKVK_OK);
	check(first.bytes == whole.ends[cut - 1] && first.bytes + rest.bytes == whole.bytes);
	check(memcmp(first.text, whole.text, first.bytes) == 0);
	check(memcmp(rest.text, whole.text + first.bytes, rest.bytes) == 0);
	compare_prefixes(&first, &whole, cut, count);
	free(whole.text);
	free(first.text);
	free(rest.text);
}

/* Both parts, one after the other, each with room for the whole answer. */
static char *take_apart(rwkvk_chat_template chat, rwkvk_chat_think think, const rwkvk_tokenizer *t, const uint8_t *data,
                        size_t size, size_t step)
{
	char *parts = calloc(2, size + 1);
	size_t reasoning = 0, text = 0;
	rwkvk_chat_answer *answer;
	rwkvk_chat_part part = { 0 };
	check(parts && rwkvk_chat_answer_create(chat, &(rwkvk_chat_options){ .think = think }, t, &answer) == RWKVK_OK);
	for (size_t at = 0; at <= size; at += step) {
		size_t bytes = step < size - at ? step : size - at;
		check((bytes ? rwkvk_chat_answer_push(answer, data + at, bytes, &part) : rwkvk_chat_answer_end(answer, &part)) ==
		      RWKVK_OK);
		if (part.reasoning_bytes)
			memcpy(parts + reasoning, part.reasoning, part.reasoning_bytes);
		if (part.text_bytes)
			memcpy(parts + size + 1 + text, part.text, part.text_bytes);
		reasoning += part.reasoning_bytes;
		text += part.text_bytes;
		check(reasoning + text <= size);
	}
	rwkvk_chat_answer_destroy(answer);
	return parts;
}

static void answer(rwkvk_chat_template chat, rwkvk_chat_think think, const uint8_t *data, size_t size)
{
	static rwkvk_tokenizer *t; /* kept to the end */
	size_t bytes;
	if (!t)
		check(tokenizer_bytes(&t) == RWKVK_OK);
	if (size == 0 ||
	    rwkvk_chat_render(chat, NULL, 0, &(rwkvk_chat_options){ .think = think }, NULL, 0, &bytes, NULL) != RWKVK_OK)
		return;
	char *whole = take_apart(chat, think, t, data, size, size), *single = take_apart(chat, think, t, data, size, 1);
	check(memcmp(whole, single, 2 * (size + 1)) == 0);
	free(whole);
	free(single);
}

/* Every name in the text is a tool. */
static void calls(const uint8_t *data, size_t size)
{
	static const char tools[] = "[{\"name\":\"a\"},{\"name\":\"b\"}]";
	size_t bytes, prefix = strlen("Assistant: "), suffix = strlen("\n\n"), again;
	if (rwkvk_chat_tool_calls(tools, data, size, NULL, 0, &bytes) != RWKVK_OK || bytes == 0)
		return;
	char *json = calloc(1, bytes + 1), *back = calloc(1, bytes + 1);
	struct prompt prompt;
	check(json && back && rwkvk_chat_tool_calls(tools, data, size, json, bytes, &bytes) == RWKVK_OK);
	const rwkvk_chat_message message = { .role = RWKVK_ROLE_ASSISTANT, .tool_calls = json };
	check(render(RWKVK_CHAT_G1, &message, 1, &(rwkvk_chat_options){ .messages_only = true }, &prompt) == RWKVK_OK);
	check(rwkvk_chat_tool_calls(tools, prompt.text + prefix, prompt.bytes - prefix - suffix, back, bytes, &again) == RWKVK_OK);
	check(again == bytes && memcmp(json, back, bytes) == 0);
	free(prompt.text);
	free(json);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	rwkvk_chat_message messages[MOST_MESSAGES] = { { 0 } };
	rwkvk_chat_template chat = (rwkvk_chat_template)(data[0] % 6); /* one too many */
	rwkvk_chat_think think = (rwkvk_chat_think)(data[0] / 6 % 6);
	size_t count = 0, cut = data[1] % (MOST_MESSAGES + 1);
	char *texts = malloc(size - 1), *at = texts;
	check(texts);
	memcpy(texts, data + 2, size - 2);
	texts[size - 2] = 0;
	for (; count < MOST_MESSAGES && at < texts + size - 1; at += strlen(at) + 1, count++)
		messages[count] = (rwkvk_chat_message){ .role = (rwkvk_chat_role)(*at & 3), .text = at };
	rwkvk_chat_options options = { .think = think };
	render_in_pieces(chat, messages, count, cut, options);
	options.tools = texts;
	messages[1].tool_calls = messages[1].role == RWKVK_ROLE_ASSISTANT ? messages[1].text : NULL;
	render_in_pieces(chat, messages, count, cut, options);
	answer(chat, think, data + 2, size - 2);
	calls(data + 2, size - 2);
	free(texts);
	return 0;
}
