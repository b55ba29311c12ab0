/* Opening, closing and querying a tokenizer of any kind, and all of the byte tokenizer. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/numbers.h"
#include "text/vocabulary.h"

/* ---------------------------------------------------------------------------------------------------- the table */

rwkvk_status vocabulary_no_memory(const char *name)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the vocabulary", name);
}

rwkvk_status vocabulary_create(const char *name, enum tokenizer_kind kind, const char *unit, size_t bytes,
                               rwkvk_tokenizer **out)
{
	rwkvk_tokenizer *t = calloc(1, sizeof *t);
	if (!t)
		return vocabulary_no_memory(name);
	t->kind = kind;
	t->unit = unit;
	t->name = strdup(name);
	t->pool = malloc(bytes);
	if (!t->name || !t->pool) {
		rwkvk_tokenizer_close(t);
		return vocabulary_no_memory(name);
	}
	*out = t;
	return RWKVK_OK;
}

rwkvk_status vocabulary_add(rwkvk_tokenizer *t, uint32_t id, size_t bytes, uint32_t where)
{
	if (t->count == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 1024;
		struct token *more = realloc(t->tokens, capacity * sizeof *more);
		if (!more)
			return vocabulary_no_memory(t->name);
		t->tokens = more;
		t->capacity = capacity;
	}
	t->tokens[t->count++] = (struct token){ id, (uint32_t)bytes, (uint32_t)t->pool_bytes, where };
	t->pool_bytes += bytes;
	return RWKVK_OK;
}

static int by_id(const void *a, const void *b)
{
	const struct token *x = a, *y = b;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->where < y->where ? -1 : 1;
}

static rwkvk_status sort_by_id(rwkvk_tokenizer *t)
{
	bool sorted = true;
	for (size_t i = 1; i < t->count && sorted; i++)
		sorted = t->tokens[i - 1].id < t->tokens[i].id;
	if (sorted)
		return RWKVK_OK;
	qsort(t->tokens, t->count, sizeof *t->tokens, by_id);
	for (size_t i = 1; i < t->count; i++)
		if (t->tokens[i - 1].id == t->tokens[i].id)
			return fail(RWKVK_ERROR_FILE, "%s: %s %u: id %u is already that of %s %u; ids must differ", t->name, t->unit,
			            t->tokens[i].where, t->tokens[i].id, t->unit, t->tokens[i - 1].where);
	return RWKVK_OK;
}

static void trim(rwkvk_tokenizer *t)
{
	uint8_t *pool = realloc(t->pool, t->pool_bytes);
	struct token *tokens = realloc(t->tokens, t->count * sizeof *tokens);
	t->pool = pool ? pool : t->pool;
	t->tokens = tokens ? tokens : t->tokens;
}

rwkvk_status vocabulary_seal(rwkvk_tokenizer *t)
{
	if (t->pool_bytes == 0)
		return fail(RWKVK_ERROR_FILE, "%s: holds no token with text; expected at least the 256 single bytes", t->name);
	TRY(sort_by_id(t));
	trim(t);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- opening */

static uint64_t skip_space(const uint8_t *text, uint64_t bytes, uint64_t at)
{
	while (at < bytes && (text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r')))
		at++;
	return at;
}

/* The first character of every vocabulary is ASCII, so in wider encodings a zero byte is next to it. */
static const char *wide_encoding(const uint8_t *text, uint64_t bytes)
{
	bool marked = bytes >= 2 && ((text[0] == 0xff && text[1] == 0xfe) || (text[0] == 0xfe && text[1] == 0xff));
	bool zeros = bytes >= 2 && (text[0] == 0) != (text[1] == 0);
	if (bytes >= 4 &&
	    ((marked && text[2] == 0 && text[3] == 0) || (text[0] == 0 && text[1] == 0) || (zeros && text[2] == 0 && text[3] == 0)))
		return "UTF-32";
	return marked || zeros ? "UTF-16" : NULL;
}

rwkvk_status tokenizer_from_bytes(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out)
{
	const char *wide = wide_encoding(text, bytes);
	*out = NULL;
	if (bytes >= 4 && memcmp(text, "GGUF", 4) == 0)
		return fail(RWKVK_ERROR_FILE,
		            "%s: is a model (GGUF), not a vocabulary: give it as the model: its own vocabulary is then used", path);
	if (wide)
		return fail(RWKVK_ERROR_FILE, "%s: expected a vocabulary in UTF-8, found one in %s: save it as UTF-8", path, wide);
	if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark, which some editors write */
		text += 3, bytes -= 3;
	uint64_t brace = skip_space(text, bytes, 0);
	if (brace == bytes || text[brace] != '{') /* a World text begins with a number */
		return tokenizer_from_text(path, text, bytes, out);
	uint64_t key = skip_space(text, bytes, brace + 1);
	bool by_id = key + 1 < bytes && text[key] == '"' && text[key + 1] >= '0' && text[key + 1] <= '9';
	return by_id ? tokenizer_from_ids(path, text, bytes, out) : tokenizer_from_json(path, text, bytes, out);
}

rwkvk_status rwkvk_tokenizer_open(const char *path, rwkvk_tokenizer **out)
{
	REQUIRE(path && out);
	*out = NULL;
	struct mapping file;
	TRY(file_map(path, &file));
	rwkvk_status status = tokenizer_from_bytes(path, file.data, file.bytes, out);
	file_unmap(&file);
	return status;
}

rwkvk_status tokenizer_bytes(rwkvk_tokenizer **out)
{
	*out = NULL;
	rwkvk_tokenizer *t = NULL;
	TRY(vocabulary_create("the vocabulary of bytes", KIND_BYTES, "byte", 256, &t));
	rwkvk_status status = RWKVK_OK;
	for (uint32_t byte = 0; byte < 256 && status == RWKVK_OK; byte++) {
		t->pool[byte] = (uint8_t)byte;
		status = vocabulary_add(t, byte, 1, byte);
	}
	if (status == RWKVK_OK)
		*out = t;
	else
		rwkvk_tokenizer_close(t);
	return status;
}

void rwkvk_tokenizer_close(rwkvk_tokenizer *tokenizer)
{
	if (!tokenizer)
		return;
	free(tokenizer->name);
	free(tokenizer->tokens);
	free(tokenizer->pool);
	trie_finish(&tokenizer->words);
	bpe_destroy(tokenizer->bpe);
	free(tokenizer);
}

/* ---------------------------------------------------------------------------------------------------- use */

rwkvk_status rwkvk_tokenizer_encode(const rwkvk_tokenizer *tokenizer, const void *text, size_t bytes, uint32_t *ids,
                                    size_t capacity, size_t *count)
{
	REQUIRE(tokenizer && count && (text || bytes == 0) && (ids || capacity == 0));
	struct id_sink out = { .ids = ids, .capacity = capacity };
	rwkvk_status status = RWKVK_OK;
	*count = 0;
	if (tokenizer->kind == KIND_WORLD)
		status = world_encode(tokenizer, text, bytes, &out);
	else if (tokenizer->kind == KIND_BPE)
		status = bpe_encode(tokenizer, text, bytes, &out);
	else
		for (size_t i = 0; i < bytes; i++)
			put_id(&out, ((const uint8_t *)text)[i]);
	if (status == RWKVK_OK)
		*count = out.count;
	return status;
}

const void *rwkvk_tokenizer_token(const rwkvk_tokenizer *tokenizer, uint32_t id, size_t *bytes)
{
	if (bytes)
		*bytes = 0;
	EXPECT(tokenizer && bytes, NULL);
	size_t low = 0, high = tokenizer->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct token *token = &tokenizer->tokens[middle];
		if (token->id == id) {
			*bytes = token->bytes;
			return token->bytes ? tokenizer->pool + token->offset : NULL;
		}
		if (token->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

uint32_t tokenizer_size(const rwkvk_tokenizer *tokenizer)
{
	return tokenizer->tokens[tokenizer->count - 1].id + 1;
}

uint32_t tokenizer_ids(const rwkvk_tokenizer *tokenizer)
{
	bool end = tokenizer->kind == KIND_WORLD && tokenizer->tokens[0].id != 0;
	return (uint32_t)tokenizer->count + end;
}

static size_t next_text(const rwkvk_tokenizer *t, size_t i)
{
	while (i < t->count && t->tokens[i].bytes == 0)
		i++;
	return i;
}

bool tokenizer_equal(const rwkvk_tokenizer *a, const rwkvk_tokenizer *b)
{
	size_t i = next_text(a, 0), j = next_text(b, 0);
	for (; i < a->count && j < b->count; i = next_text(a, i + 1), j = next_text(b, j + 1)) {
		const struct token *x = &a->tokens[i], *y = &b->tokens[j];
		if (x->id != y->id || x->bytes != y->bytes || memcmp(a->pool + x->offset, b->pool + y->offset, x->bytes) != 0)
			return false;
	}
	return a->kind == b->kind && i == a->count && j == b->count;
}

bool tokenizer_zero_ends(const rwkvk_tokenizer *tokenizer)
{
	return tokenizer->kind != KIND_BYTES;
}

/* ---------------------------------------------------------------------------------------------------- which one fits */

#define WORLD_FILE "rwkv_vocab_v20230424.txt"

const char *tokenizer_file_for(uint32_t vocab)
{
	static const struct {
		uint32_t least, most; /* tokens of a file, and the number to which models round them up */
		const char *name;
	} files[] = { { 50277, 50304, "20B_tokenizer.json" }, { 65530, 65536, WORLD_FILE } };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (vocab >= files[i].least && vocab <= files[i].most)
			return files[i].name;
	return NULL;
}

bool tokenizer_has_world(const rwkvk_tokenizer *tokenizer, uint32_t vocab)
{
	const char *file = tokenizer_file_for(vocab);
	return file && strcmp(file, WORLD_FILE) == 0 && (!tokenizer || tokenizer->kind == KIND_WORLD);
}

bool tokenizer_covers(const rwkvk_tokenizer *tokenizer, uint32_t vocab)
{
	enum { UNIT = 512 }; /* models round their sizes up to a multiple of at most this */
	return vocab <= round_up(tokenizer_ids(tokenizer), UNIT);
}

rwkvk_status tokenizer_fits(const rwkvk_tokenizer *tokenizer, const char *model, uint32_t vocab, const char *own)
{
	const char *known = own ? own : tokenizer_file_for(vocab);
	const char *advice = known ? "; the one that fits is " : "; give the one that the model was trained with";
	if (tokenizer_size(tokenizer) > vocab)
		return fail(RWKVK_ERROR_FILE, "%s: is another model's vocabulary: its ids go up to %u, those of %s to %u%s%s",
		            tokenizer->name, tokenizer_size(tokenizer) - 1, model, vocab - 1, advice, known ? known : "");
	if (tokenizer_covers(tokenizer, vocab))
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: is another model's vocabulary: it has %u ids, %s has %u%s%s", tokenizer->name,
	            tokenizer_ids(tokenizer), model, vocab, advice, known ? known : "");
}
