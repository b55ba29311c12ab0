/* FNV-1a of 64 bits: tells damaged data and names files.  Not against anyone who wants two to be alike. */
#ifndef RWKVK_BASE_HASH_H
#define RWKVK_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define FNV1A_START UINT64_C(0xcbf29ce484222325)

/* Goes on from `hash`. */
static inline uint64_t fnv1a(uint64_t hash, const void *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

#endif
