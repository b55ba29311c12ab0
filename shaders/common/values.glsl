// Packed weights as floats, eight at a time: with scale, zero and minimum.  With what unpack.glsl asks for.
#include "unpack.glsl"

// Weights of a uvec4, but of F32 of two.
#ifndef PER_WORD
#define PER_WORD (TYPE < TYPE_Q8 ? 8 : TYPE == TYPE_Q8 ? 16 : 32)
#define WORDS    (TYPE == TYPE_F32 ? 2 : 1)
#endif

// Weights 4 quarter .. 4 quarter + 3 of a uvec4.
vec4 NAME(quarter)(uvec4 w, uvec2 high, vec4 scale_min, uint quarter)
{
	vec4 q = NAME(numbers)(w, high, quarter);
	if (TYPE < TYPE_Q8)
		return q;
	if (TYPE == TYPE_Q8)
		return q * scale_min.x;
	vec2 by = quarter < 4 ? scale_min.xy : scale_min.zw;
	return by.x * (q - NAME(zero)()) - by.y;
}

// Weights 8 part .. 8 part + 7 of a uvec4; those of F32 are in two, w and `further`, which else has the bits beyond the fourth.
void NAME(values)(uvec4 w, uvec4 further, vec4 scale_min, uint part, out float f[8])
{
	vec4 low = NAME(quarter)(w, further.xy, scale_min, 2 * part);
	vec4 high = TYPE == TYPE_F32 ? uintBitsToFloat(further) : NAME(quarter)(w, further.xy, scale_min, 2 * part + 1);
	[[unroll]] for (uint i = 0; i < 4; i++) {
		f[i] = low[i];
		f[i + 4] = high[i];
	}
}

// The further words of uvec4 p, the u-th of its k-block: bits beyond the fourth, or the next uvec4 of F32.
uvec4 NAME(further)(uint p, uint beside, uint u)
{
	if (TYPE == TYPE_F32)
		return WEIGHTS(p + 1);
	return TYPE > TYPE_Q8 ? uvec4(NAME(high_bits)(beside, u), 0, 0) : uvec4(0);
}

// Weights 8 eighth .. 8 eighth + 7 of a row of the bound slice, which has `words` uvec4s.
void NAME(eight)(uint row, uint words, uint eighth, out float f[8])
{
	uint u = eighth * 8 / PER_WORD * WORDS, p = row / 8 * 8 * words + row % 8 * 8 + u / 8 * 64 + u % 8;
	uint beside = p / 8 * SIDE_WORDS(TYPE);
	NAME(values)(WEIGHTS(p), NAME(further)(p, beside, u % 8), NAME(scales)(beside, u % 8), eighth % (PER_WORD / 8), f);
}
