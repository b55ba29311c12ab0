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

static inline float float_of_f16(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023;
	if (exponent == 31)
		return float_of_bits(sign | 0x7f800000 | mantissa << 13);
	if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 is exact in float */
		float value = (float)mantissa * 0x1p-24f;
		return sign ? -value : value;
	}
	return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* Rounds to nearest, ties to even; overflow becomes infinity. */
static inline uint16_t f16_of_float(float value)
{
	uint32_t bits = bits_of_float(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
	if (magnitude > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (magnitude >= 0x477ff000) /* 65520 and above round to infinity */
		return (uint16_t)(sign | 0x7c00);
	if (magnitude < 0x38800000) { /* below 2^-14: let the float adder do the rounding at 2^-24 */
		float shifted = float_of_bits(magnitude) + 0.5f;
		return (uint16_t)(sign | (bits_of_float(shifted) - 0x3f000000));
	}
	uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
	return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

#endif
