// Packed weights as numbers.  The includer defines WEIGHTS and SIDE, which read them and the data beside them, TYPE, and
// NAME(f), which gives functions a separate name for each matrix of a shader.
//
// Plain types lie as they are: F32 4 to a uvec4, F16 and BF16 8, the lower half of a word first.  Q8: 16 signed bytes, half a block of
// 32 that shares an f16 scale; a k-block is 128 weights of a row, and its 4 scales are 2 words beside it.
//
// Integers of 4 to 6 bits.  A uvec4 is 32 weights: in each of its words the low halves of the bytes are 4 consecutive ones, the
// high halves the next 4; a k-block is 256 weights of a row.  Bits beyond the fourth lie beside the k-block, after the scales,
// where four weights have them in the four bytes of a word already: run g of 4 weights of uvec4 u has its fifth bits at bit g
// of the bytes of word u; its fifth and sixth at bit 2 (g % 4) of the bytes of word 2u + g / 4.

// The offset subtracted from the integers.
float NAME(zero)()
{
	return TYPE == TYPE_Q4 ? 8 : TYPE == TYPE_Q5 ? 16 : TYPE == TYPE_Q6K ? 32 : 0;
}

// The words that hold the bits beyond the fourth of uvec4 u.
uvec2 NAME(high_bits)(uint beside, uint u)
{
	if (TYPE == TYPE_Q6K)
		return uvec2(SIDE(beside + SCALE_WORDS(TYPE) + 2 * u), SIDE(beside + SCALE_WORDS(TYPE) + 2 * u + 1));
	if (SIDE_WORDS(TYPE) > SCALE_WORDS(TYPE))
		return uvec2(SIDE(beside + SCALE_WORDS(TYPE) + u), 0);
	return uvec2(0);
}

// The integers of the low halves (half_byte 0) or the high halves (1), as the bytes of the words they are in.
uvec4 NAME(integers)(uvec4 w, uvec2 high, uint half_byte)
{
	uvec4 q = w >> 4 * half_byte & 0x0f0f0f0fu;
	if (TYPE == TYPE_Q6K)
		q |= (high.xxyy >> (uvec4(0, 4, 0, 4) + 2 * half_byte) & 0x03030303u) << 4;
	else if (SIDE_WORDS(TYPE) > SCALE_WORDS(TYPE))
		q |= (high.xxxx >> (uvec4(0, 2, 4, 6) + half_byte) & 0x01010101u) << 4;
	return q;
}

// Scale and minimum of the first 16 and of the last 16 weights of uvec4 u.
vec4 NAME(scale_min)(uint beside, uint u)
{
	if (TYPE == TYPE_Q4 || TYPE == TYPE_Q5) {
		vec2 pair = unpackHalf2x16(SIDE(beside + u / 2));
		float scale = (u & 1) == 0 ? pair.x : pair.y;
		return vec4(scale, 0, scale, 0);
	}
	if (TYPE == TYPE_Q4M || TYPE == TYPE_Q5M)
		return unpackHalf2x16(SIDE(beside + u)).xyxy;
	vec2 d = unpackHalf2x16(SIDE(beside));
	if (TYPE == TYPE_Q2K) {
		uint codes = SIDE(beside + 1 + u);
		return vec4(uvec4(codes, codes >> 8, codes >> 16, codes >> 24) & 255u) * d.xyxy;
	}
	uint codes = SIDE(beside + 1 + u / 2) >> 16 * (u & 1);
	if (TYPE == TYPE_Q6K)
		return vec4(float(int(codes << 24) >> 24), 0, float(int(codes << 16) >> 24), 0) * d.x;
	return (vec2(uvec2(codes, codes >> 8) & 255u) * d).xyxy;
}

// Weights 4 quarter .. 4 quarter + 3 of a uvec4 in the order of its row; integers without scale, zero and minimum.  `high` has
// their bits beyond the fourth.
vec4 NAME(numbers)(uvec4 w, uvec2 high, uint quarter)
{
	if (TYPE == TYPE_F32)
		return uintBitsToFloat(w);
	if (TYPE == TYPE_F16) {
		uvec2 h = quarter == 0 ? w.xy : w.zw;
		return vec4(unpackHalf2x16(h.x), unpackHalf2x16(h.y));
	}
	if (TYPE == TYPE_BF16) {
		uvec2 h = quarter == 0 ? w.xy : w.zw;
		return uintBitsToFloat(uvec4(h.x << 16, h.x & 0xffff0000u, h.y << 16, h.y & 0xffff0000u));
	}
	if (TYPE == TYPE_Q8) {
		int q = int(w[quarter]);
		return vec4(q << 24 >> 24, q << 16 >> 24, q << 8 >> 24, q >> 24);
	}
	uint q = NAME(integers)(w, high, quarter % 2)[quarter / 2];
	return vec4(q & 255u, q >> 8 & 255u, q >> 16 & 255u, q >> 24);
}

// Scale and minimum of the first half and of the second half of uvec4 u of a k-block, whose words beside it begin at `beside`.
vec4 NAME(scales)(uint beside, uint u)
{
	if (TYPE < TYPE_Q8)
		return vec4(1, 0, 1, 0);
	if (TYPE == TYPE_Q8) {
		vec2 pair = unpackHalf2x16(SIDE(beside + u / 4));
		return (u & 2) == 0 ? vec4(pair.x, 0, pair.x, 0) : vec4(pair.y, 0, pair.y, 0);
	}
	return NAME(scale_min)(beside, u);
}
