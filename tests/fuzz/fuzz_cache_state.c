/* States of texts from arbitrary bytes: as they are, and with both checksums corrected so that the parser reaches what follows.
 * An accepted state must be finite, and must equal what would be written. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "network/text_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	FLOATS = 8,
	VOCAB = 3,
	HEADER = 72,
	AT_KEY = 16,
	AT_TEXT = 48,
	AT_CHECKSUM = 64,
	STATE_CHECKSUM = 48,
	STATE_HEADER = 56
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

static uint64_t number(const uint8_t *at)
{
	uint64_t value = 0;
	for (int i = 0; i < 8; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

static void put_number(uint8_t *at, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static void parse(const uint8_t *data, size_t size)
{
	static const struct state_header want = {
		70, .layers = 1, .width = 2, .heads = 1, .head_size = 2, .floats = FLOATS, .logits = VOCAB
	};
	struct state_key key = { { 0, 0 }, 0, 0 };
	struct text_state *got;
	if (size >= HEADER) /* the one that it says */
		key = (struct state_key){ { number(data + AT_KEY), number(data + AT_KEY + 8) },
			                      number(data + AT_KEY + 16),
			                      number(data + AT_KEY + 24) };
	if (text_state_parse("fuzz", data, size, &key, &want, &got) != RWKVK_OK) {
		check(!got);
		return;
	}
	check(got->saved.header.counts == 0 && (got->saved.header.logits == 0 || got->saved.header.logits == VOCAB));
	for (int i = 0; i < FLOATS; i++)
		check(isfinite(got->saved.state[i]));
	check(text_state_is(got, &key, data + HEADER, got->bytes, false));
	if (got->saved.header.format == 2) {
		uint8_t *again = malloc(size);
		check(again && text_state_bytes(got) == size && text_state_build(got, again) == RWKVK_OK);
		check(memcmp(again, data, size) == 0);
		free(again);
	}
	text_state_release(got);
}

static uint64_t hash_but(const uint8_t *data, size_t size, size_t from, size_t to)
{
	return fnv1a(fnv1a(FNV1A_START, data, from), data + to, size - to);
}

static void seal(uint8_t *data, size_t size)
{
	uint64_t text = number(data + AT_TEXT);
	if (text > size - HEADER)
		return;
	put_number(data + AT_CHECKSUM, hash_but(data, HEADER + text, AT_CHECKSUM, HEADER));
	uint8_t *state = data + HEADER + text;
	size_t rest = size - HEADER - text;
	if (rest >= STATE_HEADER)
		put_number(state + STATE_CHECKSUM, hash_but(state, rest, STATE_CHECKSUM, STATE_HEADER));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse(data, size);
	if (size < HEADER)
		return 0;
	uint8_t *sealed = malloc(size); /* allocated to the exact size, so that reading past the end is caught */
	if (!sealed)
		return 0;
	memcpy(sealed, data, size);
	seal(sealed, size);
	parse(sealed, size);
	free(sealed);
	return 0;
}
