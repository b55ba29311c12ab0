/* Shared by the kinds of tokenizers in this folder: the table of tokens, and the output of ids. */
#ifndef RWKVK_TEXT_VOCABULARY_H
#define RWKVK_TEXT_VOCABULARY_H

#include "text/tokenizer.h"
#include "text/trie.h"

#define MAX_ID          ((1u << 24) - 1)
#define MAX_TOKEN_BYTES 65535u
#define MAX_VOCABULARY  (64u << 20) /* bytes of a file or token list; the official ones have 1 and 2.5 MB */

enum tokenizer_kind { KIND_WORLD, KIND_BPE, KIND_BYTES };

struct token {
	uint32_t id;
	uint32_t bytes;  /* 0: an id without text */
	uint32_t offset; /* in the pool */
	uint32_t where;  /* line of the text or entry of the list, for messages */
};

struct bpe;

struct rwkvk_tokenizer {
	char *name; /* of the file, for messages */
	enum tokenizer_kind kind;
	const char *unit;     /* the unit of token.where: "line" */
	struct token *tokens; /* by id once vocabulary_seal() is done */
	size_t count, capacity;
	uint8_t *pool;
	size_t pool_bytes;

	struct trie words; /* World: tokens by their bytes; the value is the id, which is not 0 */
	struct bpe *bpe;
};

/* An empty tokenizer with room for `bytes` bytes of tokens. */
rwkvk_status vocabulary_create(const char *name, enum tokenizer_kind kind, const char *unit, size_t bytes,
                               rwkvk_tokenizer **out);

/* Adds a token of the `bytes` bytes that the caller has put at the end of the pool. */
rwkvk_status vocabulary_add(rwkvk_tokenizer *t, uint32_t id, size_t bytes, uint32_t where);

/* Sorts by id.  Two tokens with one id are an error, and so is a table without any text. */
rwkvk_status vocabulary_seal(rwkvk_tokenizer *t);

/* The last step of all readers of World vocabularies: seals `t` and builds its trie.  Frees it if that fails or `status`, the
 * result so far, is a failure. */
rwkvk_status world_finish(rwkvk_status status, rwkvk_tokenizer *t, rwkvk_tokenizer **out);

/* vocabulary_add() for those readers, with World's checks of a token. */
rwkvk_status world_add(rwkvk_tokenizer *t, uint32_t id, size_t bytes, uint32_t where);

/* A decimal number that fills [at, end); false if it is anything else or above `limit`. */
bool read_decimal(const uint8_t *at, const uint8_t *end, uint32_t limit, uint32_t *out);

rwkvk_status vocabulary_no_memory(const char *name);

/* Ids for the caller: all are counted, and as many are written as there is room for. */
struct id_sink {
	uint32_t *ids;
	size_t capacity, count;
};

static inline void put_id(struct id_sink *out, uint32_t id)
{
	if (out->count < out->capacity)
		out->ids[out->count] = id;
	out->count++;
}

/* rwkvk_tokenizer_encode() of each kind. */
rwkvk_status world_encode(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, struct id_sink *out);
rwkvk_status bpe_encode(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, struct id_sink *out);

void bpe_destroy(struct bpe *bpe); /* NULL is allowed */

#endif
