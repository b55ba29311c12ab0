/* Where reading a prompt can resume. */
#include "text/prefix.h"

#include <stdlib.h>

#include "base/hash.h"

/* A search: the text, and the prefixes so far. */
struct finding {
	const char *text;
	struct prefix *list;
	size_t count, at; /* at: how long the last one is */
	uint64_t hash;
};

static void add(struct finding *f, size_t bytes)
{
	uint64_t length = bytes - f->at;
	uint8_t number[8];
	for (int i = 0; i < 8; i++)
		number[i] = (uint8_t)(length >> 8 * i);
	f->hash = fnv1a(fnv1a(f->hash, number, sizeof number), f->text + f->at, bytes - f->at);
	f->at = bytes;
	f->list[f->count++] = (struct prefix){ bytes, f->hash };
}

static bool is_break(char byte)
{
	return byte == ' ' || byte == '\n';
}

/* The place before the last white space that begins after `f->at` and before `limit`.  In a run of white space it is before
 * the first, so that no blank line and no indentation is split, and a word keeps its space.  f->at: none.  Before the limit
 * before this one there is none either, or f->at would be there. */
static size_t last_break(const struct finding *f, size_t limit)
{
	size_t first = limit - PREFIX_STEP > f->at ? limit - PREFIX_STEP : f->at + 1;
	for (size_t at = limit; at-- > first;)
		if (is_break(f->text[at]) && !is_break(f->text[at - 1]))
			return at;
	return f->at;
}

/* Adds prefixes after the last one, up to `end`, where a message or the prompt ends. */
static void split_message(struct finding *f, size_t end)
{
	for (size_t limit = (f->at / PREFIX_STEP + 1) * PREFIX_STEP; limit <= end; limit += PREFIX_STEP) {
		size_t at = last_break(f, limit);
		if (at > f->at)
			add(f, at);
	}
}

rwkvk_status prefixes_find(const char *text, size_t bytes, const size_t *ends, size_t count, struct prefix **out, size_t *found)
{
	struct finding f = { .text = text, .hash = FNV1A_START };
	*out = NULL;
	*found = 0;
	for (size_t i = 0; i < count; i++)
		INVARIANT(ends[i] <= bytes && (i == 0 || ends[i] >= ends[i - 1]));
	f.list = malloc((count + bytes / PREFIX_STEP + 1) * sizeof *f.list);
	if (!f.list)
		return fail(RWKVK_ERROR_MEMORY, "no memory for the prefixes of a prompt of %zu bytes", bytes);
	for (size_t i = 0; i < count; i++) {
		split_message(&f, ends[i]);
		if (ends[i] > f.at)
			add(&f, ends[i]);
	}
	split_message(&f, bytes);
	if (f.count == 0) {
		free(f.list);
		return RWKVK_OK;
	}
	*out = f.list;
	*found = f.count;
	return RWKVK_OK;
}
