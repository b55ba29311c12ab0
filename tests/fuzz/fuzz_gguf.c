/* Arbitrary bytes as a GGUF file. */
#include "check_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	return data ? fuzz_weights(data, bytes) : 0;
}
