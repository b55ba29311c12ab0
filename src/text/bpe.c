/* Byte-level BPE, from text to ids, in the order in which Hugging Face's tokenizers does it for GPT-NeoX:
 *
 *   the text is split at special tokens           raw trie
 *   characters and accents are composed           nfc.c
 *   it is split at runs of spaces                 normal trie
 *   the rest is split into words              pattern
 *   a word's bytes are merged pair by pair        merge_word()
 *
 * Bytes that are not UTF-8 become the tokens of single bytes, and the text before and after them is encoded on its own. */
#include "text/bpe.h"

#include <stdlib.h>

#include "text/nfc.h"
#include "text/utf8.h"

/* A token of a word in progress, in a list, so that a merge costs the same at every place. */
struct symbol {
	uint32_t id; /* NO_ID: merged into the one before */
	uint32_t before, next;
};

/* One call's memory.  The heap holds candidate merges, rank in the upper half and the symbol's place in the lower: the
 * smallest is the leftmost of the lowest rank.  It is not updated when symbols change; a merge that is no longer possible is
 * detected when it is taken out.  A word of n bytes has n symbols and never more than 2 n entries here. */
struct run {
	const rwkvk_tokenizer *tokenizer;
	const struct bpe *bpe;
	const uint8_t *text; /* for messages */
	struct id_sink *out;
	pcre2_match_data *match;
	struct symbol *symbols;
	uint64_t *heap;
	size_t capacity, heap_count; /* capacity: bytes of a word */
};

static rwkvk_status no_memory(const struct run *run)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory to encode the text", run->tokenizer->name);
}

/* ---------------------------------------------------------------------------------------------------- a word */

static void heap_push(struct run *run, uint64_t entry)
{
	size_t at = run->heap_count++;
	for (; at > 0 && run->heap[(at - 1) / 2] > entry; at = (at - 1) / 2)
		run->heap[at] = run->heap[(at - 1) / 2];
	run->heap[at] = entry;
}

static uint64_t heap_pop(struct run *run)
{
	uint64_t *heap = run->heap, least = heap[0], entry = heap[--run->heap_count];
	size_t at = 0, n = run->heap_count;
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && heap[child + 1] < heap[child])
			child++;
		if (entry <= heap[child])
			break;
		heap[at] = heap[child];
	}
	heap[at] = entry;
	return least;
}

/* The merge of a symbol with the next; NULL when there is none. */
static const struct merge *possible(const struct run *run, uint32_t at)
{
	const struct symbol *symbol = &run->symbols[at];
	if (symbol->id == NO_ID || symbol->next == NO_ID)
		return NULL;
	const struct merge *merge = bpe_place(run->bpe, symbol->id, run->symbols[symbol->next].id);
	return merge->left == NO_ID ? NULL : merge;
}

static void consider(struct run *run, uint32_t at)
{
	const struct merge *merge = possible(run, at);
	if (merge)
		heap_push(run, (uint64_t)merge->rank << 32 | at);
}

static void merge_next(struct run *run, uint32_t at, uint32_t id)
{
	struct symbol *symbol = &run->symbols[at], *next = &run->symbols[symbol->next];
	symbol->id = id;
	symbol->next = next->next;
	next->id = NO_ID;
	if (symbol->next != NO_ID)
		run->symbols[symbol->next].before = at;
	if (symbol->before != NO_ID)
		consider(run, symbol->before);
	consider(run, at);
}

static rwkvk_status make_room(struct run *run, size_t bytes)
{
	if (bytes <= run->capacity)
		return RWKVK_OK;
	size_t capacity = bytes < 64 ? 64 : bytes;
	if (capacity >= NO_ID)
		return fail(RWKVK_ERROR_MEMORY, "%s: a word of %zu bytes is too long", run->tokenizer->name, bytes);
	free(run->symbols);
	free(run->heap);
	run->symbols = malloc(capacity * sizeof *run->symbols);
	run->heap = malloc(2 * capacity * sizeof *run->heap);
	run->capacity = run->symbols && run->heap ? capacity : 0;
	return run->capacity ? RWKVK_OK : no_memory(run);
}

static rwkvk_status merge_word(struct run *run, const uint8_t *word, size_t bytes)
{
	TRY(make_room(run, bytes));
	uint32_t n = (uint32_t)bytes;
	for (uint32_t i = 0; i < n; i++)
		run->symbols[i] = (struct symbol){ run->bpe->byte_id[word[i]], i ? i - 1 : NO_ID, i + 1 < n ? i + 1 : NO_ID };
	for (uint32_t i = 0; i < n; i++)
		consider(run, i);
	while (run->heap_count > 0) {
		uint64_t entry = heap_pop(run);
		uint32_t at = (uint32_t)entry;
		const struct merge *merge = possible(run, at);
		if (merge && merge->rank == entry >> 32)
			merge_next(run, at, merge->id);
	}
	for (uint32_t at = 0; at != NO_ID; at = run->symbols[at].next)
		put_id(run->out, run->symbols[at].id);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- splitting */

static rwkvk_status encode_words(struct run *run, const uint8_t *text, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		/* The text is known to be UTF-8; checking it again for every word would take quadratic time. */
		int code = pcre2_match(run->bpe->pattern, text, bytes, at, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, run->match, NULL);
		size_t end = code > 0 ? pcre2_get_ovector_pointer(run->match)[1] : at;
		if (end <= at)
			return fail(RWKVK_ERROR_MEMORY, "%s: PCRE2 could not split the text into words: error %d", run->tokenizer->name,
			            code);
		TRY(merge_word(run, text + at, end - at));
		at = end;
	}
	return RWKVK_OK;
}

typedef rwkvk_status encode_fn(struct run *run, const uint8_t *text, size_t bytes);

/* Leftmost, then longest: each token of `marks` in the text becomes an id, and the text between them goes to `encode`. */
static rwkvk_status split(struct run *run, const struct trie *marks, encode_fn *encode, const uint8_t *text, size_t bytes)
{
	size_t from = 0, length = 0;
	for (size_t at = 0; at < bytes;) {
		uint32_t mark = trie_longest(marks, text + at, bytes - at, &length);
		if (!mark) {
			at++;
			continue;
		}
		TRY(encode(run, text + from, at - from));
		put_id(run->out, mark - 1);
		from = at += length;
	}
	return encode(run, text + from, bytes - from);
}

static rwkvk_status encode_characters(struct run *run, const uint8_t *text, size_t bytes)
{
	uint8_t *composed = NULL;
	size_t composed_bytes = 0;
	if (run->bpe->nfc && !nfc(text, bytes, &composed, &composed_bytes))
		return no_memory(run);
	rwkvk_status status = composed ? split(run, &run->bpe->normal, encode_words, composed, composed_bytes)
	                               : split(run, &run->bpe->normal, encode_words, text, bytes);
	free(composed);
	return status;
}

/* A byte that is not part of a character.  20B_tokenizer.json has no tokens for bytes that never are: 0xc0, 0xc1, 0xf5 and
 * above. */
static rwkvk_status put_byte(struct run *run, const uint8_t *at)
{
	uint32_t id = run->bpe->byte_id[*at];
	if (id == NO_ID)
		return fail(RWKVK_ERROR_FILE, "%s: has no token for byte 0x%02x (byte %zu of the text), which no UTF-8 text holds",
		            run->tokenizer->name, *at, (size_t)(at - run->text));
	put_id(run->out, id);
	return RWKVK_OK;
}

/* Text of any bytes. */
static rwkvk_status encode_any(struct run *run, const uint8_t *text, size_t bytes)
{
	size_t from = 0, length;
	for (size_t at = 0; at < bytes; at += length) {
		length = utf8_length(text + at, bytes - at);
		if (length > 0)
			continue;
		TRY(encode_characters(run, text + from, at - from));
		TRY(put_byte(run, text + at));
		length = 1;
		from = at + 1;
	}
	return encode_characters(run, text + from, bytes - from);
}

rwkvk_status bpe_encode(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, struct id_sink *out)
{
	struct run run = { .tokenizer = t, .bpe = t->bpe, .text = text, .out = out, .match = pcre2_match_data_create(1, NULL) };
	rwkvk_status status = run.match ? split(&run, &t->bpe->raw, encode_any, text, bytes) : no_memory(&run);
	pcre2_match_data_free(run.match);
	free(run.symbols);
	free(run.heap);
	return status;
}

void bpe_destroy(struct bpe *bpe)
{
	if (!bpe)
		return;
	free(bpe->merges);
	pcre2_code_free(bpe->pattern);
	trie_finish(&bpe->raw);
	trie_finish(&bpe->normal);
	free(bpe);
}
