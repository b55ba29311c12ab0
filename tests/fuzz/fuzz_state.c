/* State files from arbitrary bytes: as they are, and with the checksum corrected so that the parser reaches what follows.  An
 * accepted state must be finite, and its header must agree with the length.  Files of another kind are read as trained start
 * states. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/readers.h"
#include "network/trained_state.h"
#include "network/states.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOATS = 8, VOCAB = 3, CHECKSUM = 48, HEADER = 56 };

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void parse(const uint8_t *data, size_t size)
{
	static const struct state_header want = {
		70, .layers = 1, .width = 2, .heads = 1, .head_size = 2, .floats = FLOATS, .logits = VOCAB
	};
	struct saved_state got;
	if (state_file_parse("fuzz", data, size, &want, &got) != RWKVK_OK)
		return;
	check(got.header.counts <= VOCAB && (got.header.logits == 0 || got.header.logits == VOCAB));
	for (int i = 0; i < FLOATS; i++)
		check(isfinite(got.state[i]));
	for (uint32_t i = 0; i < got.header.counts; i++)
		check(got.ids[i] < VOCAB && isfinite(got.counts[i]) && got.counts[i] >= 0);
	for (uint32_t i = 0; i < got.header.logits; i++)
		check(got.logits[i] < INFINITY);
	if (got.header.format == 2) { /* an accepted state equals what would be written */
		uint8_t *again = malloc(size);
		check(again && state_file_bytes(&got.header) == size && state_file_build("fuzz", &got, again) == RWKVK_OK);
		check(memcmp(again, data, size) == 0);
		free(again);
	}
	saved_state_free(&got);
}

static void header(const uint8_t *data, size_t size)
{
	struct state_header found;
	bool damaged;
	if (state_file_header("fuzz", data, size, &found, &damaged) != RWKVK_OK)
		return;
	struct saved_state got, other;
	check(4 * found.floats < size && found.floats / found.layers / found.width >= 3);
	check(found.format == 1 ? size == HEADER + 4 * found.floats : size == state_file_bytes(&found));
	check(state_file_numbers("fuzz", data, &found, &got) == RWKVK_OK && saved_state_make("fuzz", &found, &other) == RWKVK_OK);
	state_from_canonical(&found, RWKVK_STATE_CHATRWKV, got.state, other.state);
	state_from_canonical(&found, RWKVK_STATE_RWKV_CPP, got.state, other.state);
	saved_state_free(&got);
	saved_state_free(&other);
}

static void trained(const uint8_t *data, size_t size)
{
	struct weights weights;
	struct config c;
	if (state_format_of(data, size) != RWKVK_STATE_TRAINED || weights_open("fuzz", data, size, NULL, &weights) != RWKVK_OK)
		return;
	check(has_trained_state(&weights) || trained_state_sizes(&weights, &c) != RWKVK_OK);
	if (trained_state_sizes(&weights, &c) == RWKVK_OK && config_state_floats(&c) < 1 << 20) {
		float *state = malloc(config_state_floats(&c) * sizeof *state);
		check(state != NULL);
		c.version = size % 2 ? 60 : 70;
		if (trained_state(&weights, &c, state) == RWKVK_OK)
			for (uint64_t i = 0; i < config_state_floats(&c); i++)
				check(isfinite(state[i]));
		free(state);
	}
	weights_close(&weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse(data, size);
	header(data, size);
	trained(data, size);
	if (size < HEADER)
		return 0;
	uint8_t *sealed = malloc(size); /* allocated to the exact size, so that reading past the end is caught */
	if (!sealed)
		return 0;
	memcpy(sealed, data, size);
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < size; i++)
		if (i < CHECKSUM || i >= HEADER)
			hash = (hash ^ data[i]) * 0x100000001b3u;
	for (int i = 0; i < 8; i++)
		sealed[CHECKSUM + i] = (uint8_t)(hash >> 8 * i);
	parse(sealed, size);
	free(sealed);
	return 0;
}
