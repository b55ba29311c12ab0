/* Fills a part of a buffer with the same word. */
#ifndef RWKVK_TEST_FILL_H
#define RWKVK_TEST_FILL_H

#include <stdlib.h>

#include "gpu/gpu.h"

static inline rwkvk_status test_fill(struct gpu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t word)
{
	uint32_t *words = malloc(bytes + 4);
	if (!words)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint64_t i = 0; i < bytes / 4; i++)
		words[i] = word;
	rwkvk_status status = gpu_write(buffer, offset, words, bytes);
	free(words);
	return status;
}

#endif
