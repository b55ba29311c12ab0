/* FNV-1a: 64 bits to detect damaged data and to name files, 128 bits to distinguish things of which there may be many.  It
 * does not resist deliberate collisions. */
#ifndef RWKVK_BASE_HASH_H
#define RWKVK_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define FNV1A_START UINT64_C(0xcbf29ce484222325)

/* Continues from `hash`. */
static inline uint64_t fnv1a(uint64_t hash, const void *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

struct hash128 {
	uint64_t high, low;
};

#define FNV1A_128_START ((struct hash128){ UINT64_C(0x6c62272e07bb0142), UINT64_C(0x62b821756295c58d) })

/* The prime is 2^88 + 0x13b. */
static inline struct hash128 fnv1a_128(struct hash128 hash, const void *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		uint64_t low = hash.low ^ ((const uint8_t *)data)[i];
		uint64_t carry = ((low & UINT32_MAX) * 0x13b >> 32) + (low >> 32) * 0x13b;
		hash.high = hash.high * 0x13b + (carry >> 32) + (low << 24);
		hash.low = low * 0x13b;
	}
	return hash;
}

#endif
