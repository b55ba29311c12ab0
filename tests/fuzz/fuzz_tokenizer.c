/* Vocabularies from arbitrary bytes: as World text or its JSON, and as a token list whose literals are the input's lines.  A
 * vocabulary that loads must encode the input to ids whose bytes are the input again, or report that a byte has no token. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void encode(rwkvk_tokenizer *t, const uint8_t *data, size_t size)
{
	uint32_t *ids = malloc((size + 1) * sizeof *ids);
	size_t count, at = 0, bytes;
	check(ids != NULL);
	if (rwkvk_tokenizer_encode(t, data, size, ids, size, &count) == RWKVK_OK) {
		check(count <= size);
		for (size_t i = 0; i < count; i++, at += bytes) {
			const void *token = rwkvk_tokenizer_token(t, ids[i], &bytes);
			check(token && ids[i] < tokenizer_size(t) && bytes <= size - at && memcmp(token, data + at, bytes) == 0);
		}
		check(at == size);
	}
	free(ids);
	rwkvk_tokenizer_close(t);
}

static void as_token_list(const uint8_t *data, size_t size)
{
	const uint8_t *text[64];
	uint64_t bytes[64];
	int32_t type[64];
	struct metadata m = { .token_text = text, .token_bytes = bytes, .token_type = size % 2 ? type : NULL };
	for (size_t at = 0; at < size && m.token_count < 64; m.token_count++) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		text[m.token_count] = data + at;
		bytes[m.token_count] = end ? (uint64_t)(end - (data + at)) : size - at;
		type[m.token_count] = data[at] & 7;
		at += (size_t)bytes[m.token_count] + 1;
	}
	char path[] = "fuzz";
	struct weights weights = { .path = path, .metadata = m };
	rwkvk_tokenizer *t;
	if (tokenizer_from_metadata(&weights, &t) == RWKVK_OK)
		encode(t, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rwkvk_tokenizer *t;
	if (tokenizer_from_bytes("fuzz", data, size, &t) == RWKVK_OK) {
		if (tokenizer_is_world(t)) /* fuzz_bpe.c has the others */
			encode(t, data, size);
		else
			rwkvk_tokenizer_close(t);
	}
	as_token_list(data, size);
	size_t complete = utf8_complete(data, size);
	check(complete <= size && size - complete <= 3);
	return 0;
}
