/* Inside the number formats: how integers are packed into bytes, both ways, and the functions of each block type. */
#ifndef RWKVK_FORMAT_QUANTS_H
#define RWKVK_FORMAT_QUANTS_H

#include <string.h>

#include "base/half.h"
#include "format/dtype.h"

/* Of a static function that makes vectors of its loops: once for every processor of the kind, and once more for the x86 ones
 * that have vectors of 32 bytes; the choice is made when the program starts.  The results are the same.  clang 14 loses the
 * names of such functions, and GCC's thread sanitizer runs too early for the choice.  Static: GCC would export others from a
 * shared library, whatever their visibility. */
#if defined __x86_64__ && defined __GLIBC__ && !defined __clang__ && !defined __SANITIZE_THREAD__
#define FOR_EACH_PROCESSOR __attribute__((target_clones("default", "avx2")))
#else
#define FOR_EACH_PROCESSOR
#endif

static inline float half_at(const uint8_t *at)
{
	uint16_t bits;
	memcpy(&bits, at, sizeof bits);
	return float_of_f16(bits);
}

/* Returns what was stored: the value rounded to f16. */
static inline float put_half(uint8_t *at, float value)
{
	uint16_t bits = f16_of_float(value);
	memcpy(at, &bits, sizeof bits);
	return float_of_f16(bits);
}

/* 4 bits: byte j holds element j in its low half and element j + bytes in its high half. */
static inline void nibbles_at(const uint8_t *at, size_t bytes, int8_t *q)
{
	for (size_t j = 0; j < bytes; j++) {
		q[j] = (int8_t)(at[j] & 15);
		q[j + bytes] = (int8_t)(at[j] >> 4);
	}
}

static inline void put_nibbles(uint8_t *at, size_t bytes, const uint8_t *q)
{
	for (size_t j = 0; j < bytes; j++)
		at[j] = (uint8_t)((q[j] & 15) | q[j + bytes] << 4);
}

/* `width` bits (1 or 2) at bit `to` of the integers: byte j holds elements j, j + bytes, j + 2 bytes, ..., lowest bits first.
 * Sets them in q, where they are zero before. */
static inline void bits_at(const uint8_t *at, size_t bytes, unsigned width, unsigned to, int8_t *q)
{
	for (size_t j = 0; j < bytes; j++)
		for (unsigned k = 0; k < 8 / width; k++)
			q[j + k * bytes] = (int8_t)(q[j + k * bytes] | (at[j] >> k * width & ((1 << width) - 1)) << to);
}

static inline void put_bits(uint8_t *at, size_t bytes, unsigned width, unsigned from, const uint8_t *q)
{
	for (size_t j = 0; j < bytes; j++) {
		unsigned byte = 0;
		for (unsigned k = 0; k < 8 / width; k++)
			byte |= (q[j + k * bytes] >> from & ((1u << width) - 1)) << k * width;
		at[j] = (uint8_t)byte;
	}
}

/* 32 fifth bits, in the order of the elements. */
static inline void fifth_bits_at(const uint8_t *at, int8_t *q)
{
	for (size_t j = 0; j < 32; j++)
		q[j] = (int8_t)(q[j] | (at[j / 8] >> j % 8 & 1) << 4);
}

static inline void put_fifth_bits(uint8_t *at, const uint8_t *q)
{
	memset(at, 0, 4);
	for (size_t j = 0; j < 32; j++)
		at[j / 8] = (uint8_t)(at[j / 8] | (q[j] >> 4 & 1) << j % 8);
}

typedef void quants_split(const uint8_t *block, struct dtype_parts *out);
typedef void quants_encode(const float *in, uint8_t *block);

quants_split q8_0_split, q4_0_split, q4_1_split, q5_0_split, q5_1_split, q2_k_split, q3_k_split, q4_k_split, q5_k_split,
	q6_k_split, iq4_nl_split;
quants_encode q8_0_encode, q4_0_encode, q4_1_encode, q5_0_encode, q5_1_encode, q4_k_encode, q5_k_encode, q6_k_encode;

#endif
