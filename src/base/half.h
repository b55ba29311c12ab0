/* 16-bit floats, bit patterns to and from float. */
#ifndef RWKVK_BASE_HALF_H
#define RWKVK_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float float_of_bits(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static inline uint32_t bits_of_float(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

/* bfloat16 is the upper half of a float: widening is exact. */
static inline float float_of_bf16(uint16_t bits)
{
	return float_of_bits((uint32_t)bits << 16);
}

/* All bits set if a < b.  The conversions below select by such masks, because compilers would otherwise emit branches and not
 * vectorise the loops. */
static inline uint32_t where_less(uint32_t a, uint32_t b)
{
	return 0 - ((a - b) >> 31); /* of numbers below 2^31 */
}

static inline float float_of_f16(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000) << 16, magnitude = (uint32_t)(bits & 0x7fff) << 13;
	/* zero and subnormals: add 2^-14, then subtract it */
	uint32_t small = bits_of_float(float_of_bits(magnitude + (113u << 23)) - 0x1p-14f);
	uint32_t is_small = where_less(magnitude, 1u << 23), is_finite = where_less(magnitude, 31u << 23);
	uint32_t large = magnitude + (112u << 23) + (~is_finite & 112u << 23);
	return float_of_bits(sign | (small & is_small) | (large & ~is_small));
}

/* Rounds to nearest, ties to even; overflow becomes infinity. */
static inline uint16_t f16_of_float(float value)
{
	uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
	uint32_t is_small = where_less(magnitude, 0x38800000), is_large = ~where_less(magnitude, 0x477ff000);
	uint32_t is_nan = where_less(0x7f800000, magnitude);
	/* below 2^-14: let the float adder do the rounding at 2^-24 */
	uint32_t small = bits_of_float(float_of_bits(magnitude & is_small) + 0.5f) - 0x3f000000;
	uint32_t half = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
	half = (half & ~is_small) | (small & is_small);
	half = (half & ~is_large) | (0x7c00 & is_large); /* 65520 and above round to infinity */
	return (uint16_t)(sign | half | (is_nan & 0x7e00));
}

#endif
