/* tokenizer.json from arbitrary bytes, and arbitrary bytes as text for whatever loads and for a small vocabulary: the ids must
 * give the bytes of the text again, if nothing in it is composed, or the message must name a byte that has no token. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/nfc.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* Whether encoding may change the text. */
static bool composes(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] >= 0xcc)
			return true;
	return false;
}

static void encode(const rwkvk_tokenizer *t, const uint8_t *data, size_t size)
{
	uint32_t *ids = malloc((3 * size + 1) * sizeof *ids);
	size_t count, at = 0, bytes;
	bool composed = composes(data, size);
	check(ids != NULL);
	if (rwkvk_tokenizer_encode(t, data, size, ids, 3 * size, &count) == RWKVK_OK) {
		check(count <= 3 * size);
		for (size_t i = 0; i < count; i++, at += bytes) {
			const void *token = rwkvk_tokenizer_token(t, ids[i], &bytes);
			check(token && ids[i] < tokenizer_size(t));
			check(composed || (bytes <= size - at && memcmp(token, data + at, bytes) == 0));
		}
		check(composed || at == size);
	}
	free(ids);
}

static const rwkvk_tokenizer *small(void)
{
	static rwkvk_tokenizer *t; /* kept to the end */
	if (!t)
		check(rwkvk_tokenizer_open(FUZZ_VOCABULARY, &t) == RWKVK_OK);
	return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	rwkvk_tokenizer *t;
	if (tokenizer_from_json("fuzz", data, size, &t) == RWKVK_OK) {
		encode(t, data, size);
		rwkvk_tokenizer_close(t);
	}
	encode(small(), data, size);
	return 0;
}
