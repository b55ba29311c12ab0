/* The World tokenizer: greedy longest match over bytes in a trie.  Token 0 ends a text and has no bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/literal.h"
#include "text/vocabulary.h"

enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3, TYPE_UNUSED = 5 }; /* token types of GGUF; the last two are not text */

static rwkvk_status build(rwkvk_tokenizer *t)
{
	TRY(vocabulary_seal(t));
	for (size_t i = 0; i < t->count; i++) /* ids ascend: of two with the same bytes, the higher one wins */
		if (t->tokens[i].bytes && !trie_add(&t->words, t->pool + t->tokens[i].offset, t->tokens[i].bytes, t->tokens[i].id))
			return vocabulary_no_memory(t->name);
	return trie_seal(&t->words) ? RWKVK_OK : vocabulary_no_memory(t->name);
}

rwkvk_status world_finish(rwkvk_status status, rwkvk_tokenizer *t, rwkvk_tokenizer **out)
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

bool read_decimal(const uint8_t *at, const uint8_t *end, uint32_t limit, uint32_t *out)
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

rwkvk_status world_add(rwkvk_tokenizer *t, uint32_t id, size_t bytes, uint32_t where)
{
	if (id == 0 && bytes)
		return fail(RWKVK_ERROR_FILE, "%s: %s %u: token 0 has %zu bytes; it ends a text, so expected none", t->name, t->unit,
		            where, bytes);
	if (bytes > MAX_TOKEN_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: %s %u: token %u has %zu bytes; expected at most %u", t->name, t->unit, where, id,
		            bytes, MAX_TOKEN_BYTES);
	return vocabulary_add(t, id, bytes, where);
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
	if (!read_decimal(line, first, MAX_ID, &id))
		return fail(RWKVK_ERROR_FILE, "%s: line %u: expected an id from 0 to %u, found: %s", t->name, where, MAX_ID,
		            show_text(line, (uint64_t)(first - line)).text);
	if (!read_decimal(last, end, UINT32_MAX, &declared))
		return fail(RWKVK_ERROR_FILE, "%s: line %u: expected the token's number of bytes at the end, found: %s", t->name, where,
		            show_text(last, (uint64_t)(end - last)).text);
	char reason[LITERAL_REASON];
	size_t bytes;
	if (!literal_decode(first + 1, (size_t)(last - 1 - (first + 1)), t->pool + t->pool_bytes, &bytes, reason))
		return fail(RWKVK_ERROR_FILE, "%s: line %u: token %u: %s; found: %s", t->name, where, id, reason,
		            show_text(first + 1, (uint64_t)(last - 1 - (first + 1))).text);
	if (bytes != declared)
		return fail(RWKVK_ERROR_FILE, "%s: line %u: token %u has %zu bytes, but the line says %u", t->name, where, id, bytes,
		            declared);
	return world_add(t, id, bytes, where);
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
		if (stop > line) /* skips empty lines */
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
	TRY(vocabulary_create(path, KIND_WORLD, "line", (size_t)bytes + 1, &t));
	return world_finish(bytes ? read_lines(t, text, bytes) : RWKVK_OK, t, out);
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
		TRY(vocabulary_add(t, id, bytes, id));
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
	TRY(vocabulary_create(weights->path, KIND_WORLD, "token", (size_t)total, &t));
	return world_finish(read_tokens(t, m), t, out);
}

bool tokenizer_is_world(const rwkvk_tokenizer *tokenizer)
{
	return tokenizer->kind == KIND_WORLD;
}

/* The list being built; the texts lie in one pool. */
struct token_list {
	const char **texts;
	size_t *bytes;
	int32_t *types;
	char *pool;
};

static void fill_list(const rwkvk_tokenizer *t, uint32_t vocab, struct token_list *list)
{
	char *at = list->pool;
	for (uint32_t id = 0; id < vocab; id++) {
		size_t bytes;
		const uint8_t *text = rwkvk_tokenizer_token(t, id, &bytes);
		list->texts[id] = at;
		list->types[id] = text ? TYPE_NORMAL : id == 0 ? TYPE_CONTROL : TYPE_UNUSED;
		if (text)
			list->bytes[id] = literal_encode_bare(text, bytes, at);
		else if (id == 0)
			list->bytes[id] = (size_t)sprintf(at, "<s>");
		else
			list->bytes[id] = (size_t)sprintf(at, "[PAD%u]", id);
		at += list->bytes[id];
	}
}

static void put_list(const rwkvk_tokenizer *t, uint32_t vocab, const struct token_list *list, struct gguf_writer *out)
{
	size_t bytes;
	const char *blank_line = rwkvk_tokenizer_token(t, 261, &bytes);
	gguf_put_string(out, "tokenizer.ggml.model", "rwkv");
	gguf_put_strings(out, "tokenizer.ggml.tokens", list->texts, list->bytes, vocab);
	gguf_put_i32s(out, "tokenizer.ggml.token_type", list->types, vocab);
	gguf_put_u32(out, "tokenizer.ggml.bos_token_id", 0);
	gguf_put_u32(out, "tokenizer.ggml.eos_token_id", 0);
	if (blank_line && bytes == 2 &&
	    memcmp(blank_line, "\n\n", 2) == 0) { /* the official vocabulary: a turn of a chat ends there */
		gguf_put_u32(out, "tokenizer.ggml.eot_token_id", 261);
		gguf_put_string(out, "tokenizer.chat_template", "rwkv-world");
	}
}

rwkvk_status tokenizer_put_gguf(const rwkvk_tokenizer *t, uint32_t vocab, struct gguf_writer *out)
{
	struct token_list list = {
		.texts = malloc(vocab * sizeof *list.texts),
		.bytes = malloc(vocab * sizeof *list.bytes),
		.types = malloc(vocab * sizeof *list.types),
		.pool = malloc(4 * t->pool_bytes + 24 * (size_t)vocab),
	};
	bool room = list.texts && list.bytes && list.types && list.pool;
	if (room) {
		fill_list(t, vocab, &list);
		put_list(t, vocab, &list, out);
	}
	free(list.texts);
	free(list.bytes);
	free(list.types);
	free(list.pool);
	return room ? RWKVK_OK : vocabulary_no_memory(t->name);
}

/* ---------------------------------------------------------------------------------------------------- use */

rwkvk_status world_encode(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, struct id_sink *out)
{
	size_t length = 0;
	for (size_t done = 0; done < bytes; done += length) {
		uint32_t id = trie_longest(&t->words, text + done, bytes - done, &length);
		if (id == 0)
			return fail(RWKVK_ERROR_FILE,
			            "%s: has no token for byte 0x%02x (byte %zu of the text); only a vocabulary with all 256 single bytes "
			            "can write any text",
			            t->name, text[done], done);
		put_id(out, id);
	}
	return RWKVK_OK;
}
