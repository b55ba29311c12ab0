/* State files from arbitrary bytes: as they are, and with the checksum put right so that what lies behind it is reached.
 * What is accepted must be finite. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "session/state_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FLOATS = 8, CHECKSUM = 48, HEADER = 56 };

static void parse(const uint8_t *data, size_t size)
{
	static const struct state_header want = { 70, .layers = 1, .width = 2, .heads = 1, .head_size = 2, .floats = FLOATS };
	float state[FLOATS];
	uint64_t position;
	if (state_file_parse("fuzz", data, size, &want, state, &position) != RWKVK_OK)
		return;
	for (int i = 0; i < FLOATS; i++)
		if (!isfinite(state[i]))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	parse(data, size);
	if (size < HEADER)
		return 0;
	uint8_t *sealed = malloc(size); /* of the exact size, so that reading past it is seen */
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
