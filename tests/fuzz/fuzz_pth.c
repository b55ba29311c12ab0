/* Arbitrary bytes as a .pth file: the zip archive.  What its checksums hide is fuzz_pickle's. */
#include "check_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	return bytes >= 4 && memcmp(data, "PK\3\4", 4) == 0 ? fuzz_weights(data, bytes) : 0;
}
