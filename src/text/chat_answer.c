/* An answer as it arrives, separated byte by byte into reasoning and text:
 *
 *     prompt ends in     the answer begins
 *     <think             AFTER_TAG, then REASONING
 *     <think>            REASONING
 *     </think            AFTER_TAG, then TEXT
 *     </think>           TEXT
 *     anything else      BEGINNING: the model may write <think> itself
 */
#include "text/chat.h"

#include <stdlib.h>
#include <string.h>

#include "base/structs.h"
#include "text/tokenizer.h"

enum stage { AFTER_TAG, BEGINNING, REASONING, TEXT, VERBATIM };

/* The bytes of one part that have arrived and are not dropped yet; after `shown` there is only white space. */
struct part {
	char *bytes;
	size_t shown, count, capacity;
	bool begun; /* something other than white space has arrived */
};

struct rwkvk_chat_answer {
	enum stage stage, next; /* next: after AFTER_TAG */
	size_t matched;         /* bytes of the tag that may end this stage */
	struct part reasoning, text;
	bool failed, new_stops;
	bool blank_line_ends;
	uint32_t tokens[2]; /* the text that ends an answer, if any; "\n\n", if any */
	uint32_t end_count, count;
	const char *stop; /* NULL: none */
};

/* ---------------------------------------------------------------------------------------------------- parts */

static bool is_space(char byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void add(struct rwkvk_chat_answer *a, struct part *part, char byte)
{
	bool space = is_space(byte) && a->stage != VERBATIM;
	if (space && !part->begun)
		return;
	if (part->count == part->capacity) {
		size_t capacity = part->capacity ? 2 * part->capacity : 64;
		char *more = realloc(part->bytes, capacity);
		if (!more) {
			a->failed = true;
			return;
		}
		part->bytes = more;
		part->capacity = capacity;
	}
	part->bytes[part->count++] = byte;
	if (space)
		return;
	part->begun = true;
	part->shown = part->count;
}

static void add_tag(struct rwkvk_chat_answer *a, struct part *part, const char *tag, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		add(a, part, tag[i]);
}

static void drop_shown(struct part *part)
{
	part->count -= part->shown;
	if (part->count > 0)
		memmove(part->bytes, part->bytes + part->shown, part->count);
	part->shown = 0;
}

/* ---------------------------------------------------------------------------------------------------- stages */

static void enter(struct rwkvk_chat_answer *a, enum stage stage)
{
	a->stage = stage;
	a->matched = 0;
	a->new_stops |= a->count > a->end_count;
}

/* One byte, perhaps of the tag that ends this stage; if not, the bytes that looked like the tag belong to the part.  A tag has
 * '<' only at its start, so after a mismatch only this byte can begin another one. */
static void match(struct rwkvk_chat_answer *a, const char *tag, struct part *part, enum stage next, char byte)
{
	if (byte != tag[a->matched]) {
		add_tag(a, part, tag, a->matched);
		a->matched = 0;
	}
	if (byte != tag[a->matched])
		add(a, part, byte);
	else if (!tag[++a->matched])
		enter(a, next);
}

/* The tag may only come first: anything else begins the text. */
static void begin(struct rwkvk_chat_answer *a, char byte)
{
	bool goes_on = byte == THINK_BEGIN[a->matched];
	if (goes_on || (a->matched == 0 && is_space(byte))) {
		if (goes_on)
			match(a, THINK_BEGIN, &a->text, REASONING, byte);
		return;
	}
	add_tag(a, &a->text, THINK_BEGIN, a->matched);
	a->matched = 0;
	a->stage = TEXT;
	add(a, &a->text, byte);
}

static void take(struct rwkvk_chat_answer *a, char byte)
{
	if (a->stage == AFTER_TAG) {
		a->stage = a->next;
		if (byte == '>')
			return;
	}
	if (a->stage == BEGINNING)
		begin(a, byte);
	else if (a->stage == REASONING)
		match(a, THINK_END, &a->reasoning, TEXT, byte);
	else
		add(a, &a->text, byte);
}

/* ---------------------------------------------------------------------------------------------------- the interface */

/* The stage in which the prompt leaves the model. */
static void start(struct rwkvk_chat_answer *a, const struct chat_format *format, const char *tail)
{
	size_t bytes = strlen(tail);
	bool closed = strstr(tail, "</think") != NULL;
	if (!*format->user)
		a->stage = VERBATIM;
	else if (bytes == 0)
		a->stage = BEGINNING;
	else
		a->stage = closed ? TEXT : REASONING;
	a->next = a->stage;
	if (bytes && tail[bytes - 1] != '>')
		a->stage = AFTER_TAG;
}

static rwkvk_status find_stops(struct rwkvk_chat_answer *a, const struct chat_format *format, const rwkvk_tokenizer *tokenizer)
{
	uint32_t blank_line = 0;
	size_t count = 0;
	a->stop = format->stop;
	if (tokenizer_zero_ends(tokenizer))
		a->tokens[a->end_count++] = 0;
	a->count = a->end_count;
	if (!format->blank_line_ends)
		return RWKVK_OK;
	TRY(rwkvk_tokenizer_encode(tokenizer, "\n\n", 2, &blank_line, 1, &count));
	if (count == 1)
		a->tokens[a->count++] = blank_line;
	return RWKVK_OK;
}

rwkvk_status rwkvk_chat_answer_create(rwkvk_chat_template chat, const rwkvk_chat_options *given,
                                      const rwkvk_tokenizer *tokenizer, rwkvk_chat_answer **out)
{
	REQUIRE(tokenizer && out);
	const struct chat_format *format;
	rwkvk_chat_options options;
	*out = NULL;
	TRY(chat_open(chat, given, &options, &format));
	struct rwkvk_chat_answer *a = calloc(1, sizeof *a);
	if (!a)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	start(a, format, format->tail[options.think]);
	rwkvk_status status = find_stops(a, format, tokenizer);
	if (status == RWKVK_OK)
		*out = a;
	else
		free(a);
	return status;
}

void rwkvk_chat_answer_destroy(rwkvk_chat_answer *answer)
{
	if (!answer)
		return;
	free(answer->reasoning.bytes);
	free(answer->text.bytes);
	free(answer);
}

static bool reasons(const struct rwkvk_chat_answer *a)
{
	return a->stage == REASONING || (a->stage == AFTER_TAG && a->next == REASONING);
}

rwkvk_status rwkvk_chat_answer_stops(const rwkvk_chat_answer *answer, rwkvk_chat_stops *out)
{
	REQUIRE(answer && out);
	size_t tokens = reasons(answer) ? answer->end_count : answer->count;
	const rwkvk_chat_stops own = {
		.tokens = tokens ? answer->tokens : NULL,
		.token_count = tokens,
		.texts = answer->stop ? &answer->stop : NULL,
		.text_count = answer->stop != NULL,
	};
	return WRITE_RESULT(rwkvk_chat_stops, text_count, &own, out);
}

static rwkvk_status show(struct rwkvk_chat_answer *a, rwkvk_chat_part *out)
{
	const rwkvk_chat_part own = {
		.new_stops = a->new_stops,
		.reasoning = a->reasoning.bytes,
		.reasoning_bytes = a->reasoning.shown,
		.text = a->text.bytes,
		.text_bytes = a->text.shown,
	};
	TRY(WRITE_RESULT(rwkvk_chat_part, text_bytes, &own, out));
	return a->failed ? fail(RWKVK_ERROR_MEMORY, "no memory for the answer") : RWKVK_OK;
}

rwkvk_status rwkvk_chat_answer_push(rwkvk_chat_answer *answer, const void *text, size_t bytes, rwkvk_chat_part *out)
{
	REQUIRE(answer && out && (text || bytes == 0));
	drop_shown(&answer->reasoning);
	drop_shown(&answer->text);
	answer->new_stops = false;
	for (size_t i = 0; i < bytes; i++)
		take(answer, ((const char *)text)[i]);
	return show(answer, out);
}

rwkvk_status rwkvk_chat_answer_end(rwkvk_chat_answer *answer, rwkvk_chat_part *out)
{
	REQUIRE(answer && out);
	drop_shown(&answer->reasoning);
	drop_shown(&answer->text);
	answer->new_stops = false;
	if (answer->stage == REASONING)
		add_tag(answer, &answer->reasoning, THINK_END, answer->matched);
	else
		add_tag(answer, &answer->text, THINK_BEGIN, answer->matched);
	answer->matched = 0;
	return show(answer, out);
}
