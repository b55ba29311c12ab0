/* Arbitrary bytes as the header of a safetensors file.  Its length is made to match, because most random lengths lead nowhere.
 * The last byte is the number of data bytes that follow. */
#include "check_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (bytes < 2)
		return 0;
	uint64_t header = bytes - 1;
	size_t total = 8 + (size_t)header + data[header];
	uint8_t *file = calloc(1, total);
	CHECK(file);
	memcpy(file, &header, 8);
	memcpy(file + 8, data, (size_t)header);
	fuzz_weights(file, total);
	free(file);
	return 0;
}
