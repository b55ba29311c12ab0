// Arithmetic that is exact to the bit, as in plain C.  Vulkan guarantees this for sums and products, which must be declared
// `precise` so that two are not fused, but not for quotients, roots and conversions, which are corrected with integers here.
// Nothing is guaranteed for numbers below 2^-126, which devices may flush to zero.

#include "nearest.glsl"

// Operations that devices may compute differently.  A test makes them worse on purpose.
#ifndef ABOUT
#define ABOUT(value) value
#endif

// The exponent of a normal number, and its significand, 2^23 and above.
int exponent(uint bits)
{
	return int(bits >> 23 & 255u);
}

uint significand(uint bits)
{
	return (bits & 0x7fffffu) | 0x800000u;
}

// The float of significand s, at most 2^24 - 1, and a biased exponent.
float assemble(uint sign, int e, uint s)
{
	return uintBitsToFloat(sign | (e <= 0 ? 0u : e >= 255 ? 0x7f800000u : uint(e) << 23 | (s & 0x7fffffu)));
}

// a / b; b is normal.  The quotient of the significands is a few units off at first.  What it leaves, a 2^shift - q b, would take
// 48 bits, but it is small, and so its lowest 32 are all of it.
float divide(float a, float b)
{
	uint a_bits = floatBitsToUint(a), b_bits = floatBitsToUint(b), sa = significand(a_bits), sb = significand(b_bits);
	uint shift = sa >= sb ? 23 : 24;
	float by = ABOUT(1 / float(sb));
	uint q = uint(float(sa) * by * float(1u << shift));
	int step = int(nearest(float(int((sa << shift) - q * sb)) * by));
	q += uint(step);
	int rest = 2 * int((sa << shift) - q * sb);
	q += uint(rest > int(sb) ? 1 : rest < -int(sb) ? -1 : 0); // a tie there cannot be
	float result = assemble((a_bits ^ b_bits) & 0x80000000u, exponent(a_bits) - exponent(b_bits) + 150 - int(shift), q);
	return exponent(a_bits) == 0 ? 0 : result;
}

// The square root of a non-negative number.
float root(float value)
{
	uint bits = floatBitsToUint(value);
	uint odd = 1 - (exponent(bits) & 1); // of the exponent less its bias
	uint s = significand(bits) << (23 + odd);
	float scaled = uintBitsToFloat((127 + odd) << 23 | (bits & 0x7fffffu)), about = ABOUT(sqrt(scaled)) * 8388608;
	uint r = uint(about);
	r += uint(int(nearest(float(int(s - r * r)) / (2 * about))));
	int rest = int(s - r * r);
	r += uint(rest > int(r) ? 1 : rest <= -int(r) ? -1 : 0);
	return exponent(bits) == 0 ? 0 : assemble(0, (exponent(bits) + 127 - int(odd)) / 2, r);
}

// The nearest f16 to a non-negative number; 65520 and above become infinity.
uint half_bits(float value)
{
	uint bits = floatBitsToUint(value);
	uint normal = min((bits - 0x38000000u + 0xfffu + (bits >> 13 & 1u)) >> 13, 0x7c00u);
	return bits < 0x38800000u ? uint(nearest(value * 16777216)) : normal;
}

// The lowest integer not below a small number.
uint ceiling(float value)
{
	uint whole = uint(value);
	return whole + (float(whole) < value ? 1 : 0);
}
