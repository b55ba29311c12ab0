/* The World tokenizer: token bytes in one pool, ids in one sorted table, and a trie in three flat arrays.
 *
 * Trie nodes are numbered breadth first, so the children of a node are neighbours: node n's are child[n] up to
 * child[n + 1], in the order of their bytes.  Node 0 is the root.  Token 0 ends a text and has no bytes, so 0 in the trie
 * means "no token ends here". */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/literal.h"

#define MAX_ID          ((1u << 24) - 1)
#define MAX_TOKEN_BYTES 65535u
#define MAX_VOCABULARY  (64u << 20) /* bytes of the text or token list; the official one has 1 MB */

enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_UNUSED = 5 }; /* token types of GGUF; the last two are not text */

struct token {
	uint32_t id;
	uint32_t bytes;
	uint32_t offset; /* in the pool */
	uint32_t where;  /* line of the text, for messages */
};

struct rwkvk_tokenizer {
	char *name; /* of the file, for messages */
	struct token *tokens;
	size_t count, capacity;
	uint8_t *pool;
	size_t pool_bytes;

	uint8_t *byte;      /* [nodes] */
	uint32_t *child;    /* [nodes + 1] */
	uint32_t *token;    /* [nodes] id that ends here, 0: none */
	uint32_t root[256]; /* the root's child for each byte, 0: none */
};

/* ---------------------------------------------------------------------------------------------------- the trie */

/* While the trie grows its nodes are lists of siblings. */
struct sprout {
	uint32_t child, next, token;
	uint8_t byte;
};

struct garden {
	struct sprout *nodes;
	uint32_t count, capacity;
};

/* The child of `parent` for `byte`, made if need be; 0 when memory ends.  A child that is found moves to the front of its
 * list: vocabularies are mostly sorted, so the next word wants it again. */
static uint32_t grow(struct garden *g, uint32_t parent, uint8_t byte)
{
	uint32_t before = 0, at = g->nodes[parent].child;
	while (at && g->nodes[at].byte != byte) {
		before = at;
		at = g->nodes[at].next;
	}
	if (at && !before)
		return at;
	if (at) {
		g->nodes[before].next = g->nodes[at].next;
	} else {
		if (g->count == g->capacity) {
			struct sprout *more = realloc(g->nodes, 2 * (size_t)g->capacity * sizeof *more);
			if (!more)
				return 0;
			g->nodes = more;
			g->capacity *= 2;
		}
		at = g->count++;
		g->nodes[at] = (struct sprout){ .byte = byte };
	}
	g->nodes[at].next = g->nodes[parent].child;
	g->nodes[parent].child = at;
	return at;
}

static bool plant(struct garden *g, const struct rwkvk_tokenizer *t)
{
	g->capacity = 1024;
	g->nodes = malloc(g->capacity * sizeof *g->nodes);
	if (!g->nodes)
		return false;
	g->nodes[g->count++] = (struct sprout){ 0 };
	for (size_t i = 0; i < t->count; i++) {
		uint32_t at = 0;
		for (uint32_t k = 0; k < t->tokens[i].bytes; k++) {
			at = grow(g, at, t->pool[t->tokens[i].offset + k]);
			if (!at)
				return false;
		}
		g->nodes[at].token = t->tokens[i].id; /* ids ascend: of two with the same bytes the higher stays */
	}
	return true;
}

/* The children of `parent` in the order of their bytes. */
static uint32_t children(const struct garden *g, uint32_t parent, uint32_t *out)
{
	uint32_t n = 0;
	for (uint32_t at = g->nodes[parent].child; at; at = g->nodes[at].next) {
		uint32_t k = n++;
		for (; k > 0 && g->nodes[out[k - 1]].byte > g->nodes[at].byte; k--)
			out[k] = out[k - 1];
		out[k] = at;
	}
	return n;
}

static bool flatten(const struct garden *g, struct rwkvk_tokenizer *t)
{
	uint32_t *from = malloc(g->count * sizeof *from); /* our number -> number in the garden */
	t->byte = malloc(g->count);
	t->child = malloc(((size_t)g->count + 1) * sizeof *t->child);
	t->token = malloc(g->count * sizeof *t->token);
	if (!from || !t->byte || !t->child || !t->token) {
		free(from);
		return false;
	}
	uint32_t made = 1;
	from[0] = 0;
	for (uint32_t n = 0; n < g->count; n++) {
		t->byte[n] = g->nodes[from[n]].byte;
		t->token[n] = g->nodes[from[n]].token;
		t->child[n] = made;
		made += children(g, from[n], from + made);
	}
	t->child[g->count] = made;
	for (uint32_t n = t->child[0]; n < t->child[1]; n++)
		t->root[t->byte[n]] = n;
	free(from);
	return true;
}

/* The child of `node` for `byte`; 0: none. */
static uint32_t step(const rwkvk_tokenizer *t, uint32_t node, uint8_t byte)
{
	uint32_t low = t->child[node], high = t->child[node + 1];
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (t->byte[middle] == byte)
			return middle;
		if (t->byte[middle] < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

/* ---------------------------------------------------------------------------------------------------- building */

static rwkvk_status out_of_memory(const char *name)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the vocabulary", name);
}

/* An empty tokenizer with room for `bytes` bytes of tokens. */
static rwkvk_status create(const char *name, size_t bytes, rwkvk_tokenizer **out)
{
	rwkvk_tokenizer *t = calloc(1, sizeof *t);
	if (!t)
		return out_of_memory(name);
	t->name = strdup(name);
	t->pool = malloc(bytes);
	if (!t->name || !t->pool) {
		rwkvk_tokenizer_close(t);
		return out_of_memory(name);
	}
	*out = t;
	return RWKVK_OK;
}

/* Takes the `bytes` bytes that the caller has put at the end of the pool. */
static rwkvk_status add(rwkvk_tokenizer *t, uint32_t id, size_t bytes, uint32_t where)
{
	if (t->count == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 1024;
		struct token *more = realloc(t->tokens, capacity * sizeof *more);
		if (!more)
			return out_of_memory(t->name);
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
			return fail(RWKVK_ERROR_FILE, "%s: line %u: id %u is already that of line %u; ids must differ", t->name,
			            t->tokens[i].where, t->tokens[i].id, t->tokens[i - 1].where);
	return RWKVK_OK;
}

static void trim(rwkvk_tokenizer *t)
{
	uint8_t *pool = realloc(t->pool, t->pool_bytes);
	struct token *tokens = realloc(t->tokens, t->count * sizeof *tokens);
	t->pool = pool ? pool : t->pool;
	t->tokens = tokens ? tokens : t->tokens;
}

static rwkvk_status build(rwkvk_tokenizer *t)
{
	if (t->count == 0)
		return fail(RWKVK_ERROR_FILE, "%s: holds no token with text; expected at least the 256 single bytes", t->name);
	TRY(sort_by_id(t));
	trim(t);
	struct garden g = { 0 };
	bool done = plant(&g, t) && flatten(&g, t);
	free(g.nodes);
	return done ? RWKVK_OK : out_of_memory(t->name);
}

/* Builds `t`, or frees it if `status` or the building is a failure. */
static rwkvk_status finish(rwkvk_status status, rwkvk_tokenizer *t, rwkvk_tokenizer **out)
{
	if (status == RWKVK_OK)
		status = build(t);
	if (status != RWKVK_OK)
		rwkvk_tokenizer_close(t);
	else
		*out = t;
	return status;
}

/* ---------------------------------------------------------------------------------------------------- World text */

/* A decimal number that fills [at, end); false when it is anything else or above `limit`. */
static bool number(const uint8_t *at, const uint8_t *end, uint32_t limit, uint32_t *out)
{
	uint64_t value = 0;
	if (at == end)
		return false;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9')
			return false;
		value = value * 10 + (uint64_t)(*at - '0');
		if (value > limit)
			return false;
	}
	*out = (uint32_t)value;
	return true;
}

/* One line, without its end: ID LITERAL BYTES.  The literal may hold spaces. */
static rwkvk_status read_line(rwkvk_tokenizer *t, const uint8_t *line, const uint8_t *end, uint32_t where)
{
	const uint8_t *first = memchr(line, ' ', (size_t)(end - line)), *last = end;
	while (first && last[-1] != ' ')
		last--;
	if (!first || last - first < 2)
		return fail(RWKVK_ERROR_FILE, "%s: line %u: expected ID LITERAL BYTES, such as: 98 'a' 1; found: %s", t->name, where,
		            show_text(line, (uint64_t)(end - line)).text);
	uint32_t id, declared;
	if (!number(line, first, MAX_ID, &id) || id == 0)
		return fail(RWKVK_ERROR_FILE, "%s: line %u: expected an id from 1 to %u (0 ends a text and has no bytes), found: %s",
		            t->name, where, MAX_ID, show_text(line, (uint64_t)(first - line)).text);
	if (!number(last, end, UINT32_MAX, &declared))
		return fail(RWKVK_ERROR_FILE, "%s: line %u: expected the token's number of bytes at the end, found: %s", t->name, where,
		            show_text(last, (uint64_t)(end - last)).text);
	char reason[LITERAL_REASON];
	size_t bytes;
	if (!literal_decode(first + 1, (size_t)(last - 1 - (first + 1)), t->pool + t->pool_bytes, &bytes, reason))
		return fail(RWKVK_ERROR_FILE, "%s: line %u: token %u: %s; found: %s", t->name, where, id, reason,
		            show_text(first + 1, (uint64_t)(last - 1 - (first + 1))).text);
	if (bytes == 0 || bytes > MAX_TOKEN_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: line %u: token %u has %zu bytes; expected 1 to %u", t->name, where, id, bytes,
		            MAX_TOKEN_BYTES);
	if (bytes != declared)
		return fail(RWKVK_ERROR_FILE, "%s: line %u: token %u has %zu bytes, but the line says %u", t->name, where, id, bytes,
		            declared);
	return add(t, id, bytes, where);
}

static rwkvk_status read_lines(rwkvk_tokenizer *t, const uint8_t *text, uint64_t bytes)
{
	const uint8_t *end = text + bytes;
	uint32_t where = 1;
	for (const uint8_t *line = text; line < end; where++) {
		const uint8_t *newline = memchr(line, '\n', (size_t)(end - line)), *stop = newline ? newline : end;
		const uint8_t *next = newline ? newline + 1 : end;
		while (stop > line && stop[-1] == '\r')
			stop--;
		if (stop > line) /* an empty line says nothing */
			TRY(read_line(t, line, stop, where));
		line = next;
	}
	return RWKVK_OK;
}

rwkvk_status tokenizer_from_text(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out)
{
	*out = NULL;
	if (bytes > MAX_VOCABULARY)
		return fail(RWKVK_ERROR_FILE, "%s: has %llu bytes; a vocabulary has at most %u", path, (unsigned long long)bytes,
		            MAX_VOCABULARY);
	rwkvk_tokenizer *t = NULL;
	TRY(create(path, (size_t)bytes + 1, &t));
	return finish(bytes ? read_lines(t, text, bytes) : RWKVK_OK, t, out);
}

rwkvk_status rwkvk_tokenizer_open(const char *path, rwkvk_tokenizer **out)
{
	REQUIRE(path && out);
	*out = NULL;
	struct mapping file;
	TRY(file_map(path, &file));
	rwkvk_status status = tokenizer_from_text(path, file.data, file.bytes, out);
	file_unmap(&file);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- GGUF */

static rwkvk_status read_tokens(rwkvk_tokenizer *t, const struct metadata *m)
{
	for (uint32_t id = 1; id < m->token_count; id++) {
		int32_t type = m->token_type ? m->token_type[id] : TYPE_NORMAL;
		if (type == TYPE_CONTROL || type == TYPE_UNUSED || m->token_bytes[id] == 0)
			continue;
		const uint8_t *literal = m->token_text[id];
		char reason[LITERAL_REASON];
		size_t bytes;
		if (!literal_decode_bare(literal, (size_t)m->token_bytes[id], t->pool + t->pool_bytes, &bytes, reason))
			return fail(RWKVK_ERROR_FILE, "%s: token %u of tokenizer.ggml.tokens: %s; found: %s", t->name, id, reason,
			            show_text(literal, m->token_bytes[id]).text);
		if (bytes > MAX_TOKEN_BYTES)
			return fail(RWKVK_ERROR_FILE, "%s: token %u of tokenizer.ggml.tokens has %zu bytes; expected at most %u", t->name,
			            id, bytes, MAX_TOKEN_BYTES);
		TRY(add(t, id, bytes, id));
	}
	return RWKVK_OK;
}

rwkvk_status tokenizer_from_metadata(const struct weights *weights, rwkvk_tokenizer **out)
{
	*out = NULL;
	const struct metadata *m = &weights->metadata;
	if (m->token_count == 0 || !m->token_text)
		return fail(RWKVK_ERROR_FILE, "%s: holds no vocabulary (tokenizer.ggml.tokens); name a World text vocabulary",
		            weights->path);
	if (m->token_count > (uint64_t)MAX_ID + 1)
		return fail(RWKVK_ERROR_FILE, "%s: tokenizer.ggml.tokens lists %llu tokens; at most %u are possible", weights->path,
		            (unsigned long long)m->token_count, MAX_ID + 1);
	uint64_t total = 1;
	for (uint64_t id = 0; id < m->token_count && total <= MAX_VOCABULARY; id++)
		total += m->token_bytes[id] < MAX_VOCABULARY ? m->token_bytes[id] : MAX_VOCABULARY;
	if (total > MAX_VOCABULARY)
		return fail(RWKVK_ERROR_FILE, "%s: tokenizer.ggml.tokens is larger than %u bytes", weights->path, MAX_VOCABULARY);
	rwkvk_tokenizer *t = NULL;
	TRY(create(weights->path, (size_t)total, &t));
	return finish(read_tokens(t, m), t, out);
}

/* ---------------------------------------------------------------------------------------------------- use */

void rwkvk_tokenizer_close(rwkvk_tokenizer *tokenizer)
{
	if (!tokenizer)
		return;
	free(tokenizer->name);
	free(tokenizer->tokens);
	free(tokenizer->pool);
	free(tokenizer->byte);
	free(tokenizer->child);
	free(tokenizer->token);
	free(tokenizer);
}

/* The longest token at the start of `text`; 0 when there is none. */
static uint32_t longest(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, size_t *length)
{
	uint32_t best = 0, node = t->root[text[0]];
	for (size_t n = 1; node; node = step(t, node, text[n++])) {
		if (t->token[node]) {
			best = t->token[node];
			*length = n;
		}
		if (n == bytes)
			break;
	}
	return best;
}

rwkvk_status rwkvk_tokenizer_encode(const rwkvk_tokenizer *tokenizer, const void *text, size_t bytes, uint32_t *ids,
                                    size_t capacity, size_t *count)
{
	REQUIRE(tokenizer && count && (text || bytes == 0) && (ids || capacity == 0));
	const uint8_t *at = text;
	size_t n = 0, length = 0;
	*count = 0;
	for (size_t done = 0; done < bytes; done += length, n++) {
		uint32_t id = longest(tokenizer, at + done, bytes - done, &length);
		if (id == 0)
			return fail(RWKVK_ERROR_FILE,
			            "%s: has no token for byte 0x%02x (byte %zu of the text); only a vocabulary with all 256 single bytes "
			            "can write any text",
			            tokenizer->name, at[done], done);
		if (n < capacity)
			ids[n] = id;
	}
	*count = n;
	return RWKVK_OK;
}

const void *rwkvk_tokenizer_token(const rwkvk_tokenizer *tokenizer, uint32_t id, size_t *bytes)
{
	assert(tokenizer && bytes);
	size_t low = 0, high = tokenizer->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct token *token = &tokenizer->tokens[middle];
		if (token->id == id) {
			*bytes = token->bytes;
			return tokenizer->pool + token->offset;
		}
		if (token->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	*bytes = 0;
	return NULL;
}

uint32_t tokenizer_size(const rwkvk_tokenizer *tokenizer)
{
	return tokenizer->tokens[tokenizer->count - 1].id + 1;
}
