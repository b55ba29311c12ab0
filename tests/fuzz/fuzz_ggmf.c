/* Arbitrary bytes as the records of an rwkv.cpp file, after a header chosen by the first byte, because random headers lead
 * nowhere.  Whole files are also read as they are. */
#include "check_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { HEADER = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	if (bytes < 1)
		return 0;
	uint32_t header[HEADER / 4] = {
		0x67676d66, 100 + (data[0] & 1), 2 + (data[0] >> 1 & 3), 4u << (data[0] >> 3 & 3), data[0] >> 5, 0
	};
	uint8_t *file = malloc(HEADER + bytes - 1);
	CHECK(file);
	memcpy(file, header, HEADER);
	memcpy(file + HEADER, data + 1, bytes - 1);
	fuzz_weights(file, HEADER + bytes - 1);
	free(file);
	if (bytes >= 4 && memcmp(data, "fmgg", 4) == 0) /* as it is */
		fuzz_weights(data, bytes);
	return 0;
}
