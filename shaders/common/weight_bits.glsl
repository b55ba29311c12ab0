// Integers of 4 to 6 bits.  A uvec4 is 32 weights: in each of its words the low halves of the bytes are 4 consecutive ones, the
// high halves the next 4; a k-block is 256 weights of a row.  Bits beyond the fourth lie beside the k-block, after the scales,
// where four weights have them in the four bytes of a word already: run g of 4 weights of uvec4 u has its fifth bits at bit g
// of the bytes of word u; its fifth and sixth at bit 2 (g % 4) of the bytes of word 2u + g / 4.

// What is taken from the integers.
float ZERO()
{
	return TYPE == TYPE_Q4 ? 8 : TYPE == TYPE_Q5 ? 16 : TYPE == TYPE_Q6K ? 32 : 0;
}

// The words that hold the bits beyond the fourth of uvec4 u.
uvec2 HIGH_BITS(uint beside, uint u)
{
	if (TYPE == TYPE_Q6K)
		return uvec2(SIDE(beside + SCALE_WORDS(TYPE) + 2 * u), SIDE(beside + SCALE_WORDS(TYPE) + 2 * u + 1));
	if (SIDE_WORDS(TYPE) > SCALE_WORDS(TYPE))
		return uvec2(SIDE(beside + SCALE_WORDS(TYPE) + u), 0);
	return uvec2(0);
}

// The integers of the low halves (half_byte 0) or the high halves (1), as the bytes of the words they are in.
uvec4 INTEGERS(uvec4 w, uvec2 high, uint half_byte)
{
	uvec4 q = w >> 4 * half_byte & 0x0f0f0f0fu;
	if (TYPE == TYPE_Q6K)
		q |= (high.xxyy >> (uvec4(0, 4, 0, 4) + 2 * half_byte) & 0x03030303u) << 4;
	else if (SIDE_WORDS(TYPE) > SCALE_WORDS(TYPE))
		q |= (high.xxxx >> (uvec4(0, 2, 4, 6) + half_byte) & 0x01010101u) << 4;
	return q;
}

// Scale and minimum of the first 16 and of the last 16 weights of uvec4 u.
vec4 SCALE_MIN(uint beside, uint u)
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

// A uvec4 in two halves, so that a thread holds 16 numbers of the input at once and not 32: registers limit how many threads
// there can be.  Words 2h and 2h + 1 are half h; x[0] and x[2] go with their low halves of bytes.
void DOT(uint at, uint count)
{
	const bool has_min = TYPE == TYPE_Q4M || TYPE == TYPE_Q5M || TYPE == TYPE_Q4K || TYPE == TYPE_Q5K || TYPE == TYPE_Q2K;
	const bool halves = TYPE == TYPE_Q6K || TYPE == TYPE_Q2K; // have scales of their own
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		uvec4 w[ROWS];
		uvec2 high[ROWS];
		vec2 sums, products[ROWS]; // of each half: the inputs, and they times the integers
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			w[r] = WEIGHTS(p + r * 8);
			high[r] = HIGH_BITS((p + r * 8) / 8 * SIDE_WORDS(TYPE), u & 7);
		}
		[[unroll]] for (uint h = 0; h < 2; h++) {
			vec4 x[4];
			[[unroll]] for (uint j = 0; j < 4; j++)
				x[j] = INPUT(u, 8, 4 * h + j);
			vec4 x_sum = (x[0] + x[1]) + (x[2] + x[3]);
			sums[h] = (x_sum.x + x_sum.y) + (x_sum.z + x_sum.w);
			[[unroll]] for (uint r = 0; r < ROWS; r++) {
				uvec4 low_q = INTEGERS(w[r], high[r], 0), high_q = INTEGERS(w[r], high[r], 1);
				uvec2 low_half = h == 0 ? low_q.xy : low_q.zw, high_half = h == 0 ? high_q.xy : high_q.zw;
				vec2 sum = vec2(0); // one for each word
				[[unroll]] for (uint b = 0; b < 4; b++)
					sum += vec2(low_half >> 8 * b & 255u) * vec2(x[0][b], x[2][b]) +
					       vec2(high_half >> 8 * b & 255u) * vec2(x[1][b], x[3][b]);
				products[r][h] = sum.x + sum.y;
			}
		}
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			vec4 scale = SCALE_MIN((p + r * 8) / 8 * SIDE_WORDS(TYPE), u & 7);
			vec2 product = products[r];
			if (halves) {
				row_sum[r] += (product.x - ZERO() * sums.x) * scale.x + (product.y - ZERO() * sums.y) * scale.z;
				if (has_min)
					row_sum[r] -= sums.x * scale.y + sums.y * scale.w;
			} else {
				row_sum[r] += (product.x + product.y - ZERO() * (sums.x + sums.y)) * scale.x;
				if (has_min)
					row_sum[r] -= (sums.x + sums.y) * scale.y;
			}
		}
	}
}
