// Integers of 4 to 6 bits.  A uvec4 is 32 weights: in each of its words the low halves of the bytes are 4 consecutive ones, the
// high halves the next 4; a k-block is 256 weights of a row.  Bits beyond the fourth lie beside the k-block, after the scales:
// 5 bits: bit i of word u is weight i of uvec4 u; 6 bits: two bits at 2 (i % 16) of word 2u + i / 16.

// The bits beyond the fourth of the weights that each word of uvec4 u holds, lowest first.
uvec4 HIGH_BITS(uint beside, uint u)
{
	if (TYPE == TYPE_Q6K) {
		uint low = SIDE[beside + SCALE_WORDS(TYPE) + 2 * u], high = SIDE[beside + SCALE_WORDS(TYPE) + 2 * u + 1];
		return uvec4(low, low >> 16, high, high >> 16);
	}
	return uvec4(SIDE[beside + SCALE_WORDS(TYPE) + u]) >> uvec4(0, 8, 16, 24);
}

// Scale and minimum of the first 16 and of the last 16 weights of uvec4 u.
vec4 SCALE_MIN(uint beside, uint u)
{
	if (TYPE == TYPE_Q4 || TYPE == TYPE_Q5) {
		vec2 pair = unpackHalf2x16(SIDE[beside + u / 2]);
		float scale = (u & 1) == 0 ? pair.x : pair.y;
		return vec4(scale, 0, scale, 0);
	}
	if (TYPE == TYPE_Q4M || TYPE == TYPE_Q5M)
		return unpackHalf2x16(SIDE[beside + u]).xyxy;
	vec2 d = unpackHalf2x16(SIDE[beside]);
	if (TYPE == TYPE_Q2K) {
		uint codes = SIDE[beside + 1 + u];
		return vec4(uvec4(codes, codes >> 8, codes >> 16, codes >> 24) & 255u) * d.xyxy;
	}
	uint codes = SIDE[beside + 1 + u / 2] >> 16 * (u & 1);
	if (TYPE == TYPE_Q6K)
		return vec4(float(int(codes << 24) >> 24), 0, float(int(codes << 16) >> 24), 0) * d.x;
	return (vec2(uvec2(codes, codes >> 8) & 255u) * d).xyxy;
}

// Integers of byte b of each word, its low halves (shift 0) or high halves (4).
vec4 INTEGERS(uvec4 w, uvec4 high, uint b, uint shift)
{
	uvec4 q = w >> (8 * b + shift) & 15u;
	if (TYPE == TYPE_Q6K)
		q |= (high >> (2 * b + 2 * shift) & 3u) << 4;
	else if (TYPE == TYPE_Q5 || TYPE == TYPE_Q5M || TYPE == TYPE_Q5K)
		q |= (high >> (b + shift) & 1u) << 4;
	int zero = TYPE == TYPE_Q4 ? 8 : TYPE == TYPE_Q5 ? 16 : TYPE == TYPE_Q6K ? 32 : 0;
	return vec4(ivec4(q) - zero);
}

void DOT(uint at, uint count)
{
	const bool has_high = SIDE_WORDS(TYPE) > SCALE_WORDS(TYPE);
	const bool has_min = TYPE == TYPE_Q4M || TYPE == TYPE_Q5M || TYPE == TYPE_Q4K || TYPE == TYPE_Q5K || TYPE == TYPE_Q2K;
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		vec4 x[8];
		[[unroll]] for (uint j = 0; j < 8; j++)
			x[j] = INPUT(u, 8, j);
		vec4 first = x[0] + x[1] + x[2] + x[3], last = x[4] + x[5] + x[6] + x[7];
		vec2 sums = vec2((first.x + first.y) + (first.z + first.w), (last.x + last.y) + (last.z + last.w));
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			uint beside = (p + r * 8) / 8 * SIDE_WORDS(TYPE);
			uvec4 w = WEIGHTS[p + r * 8], high = has_high ? HIGH_BITS(beside, u & 7) : uvec4(0);
			vec4 sum = vec4(0);
			[[unroll]] for (uint b = 0; b < 4; b++)
				sum += INTEGERS(w, high, b, 0) * vec4(x[0][b], x[2][b], x[4][b], x[6][b]) +
				       INTEGERS(w, high, b, 4) * vec4(x[1][b], x[3][b], x[5][b], x[7][b]);
			vec4 scale = SCALE_MIN(beside, u & 7);
			row_sum[r] += (sum.x + sum.y) * scale.x + (sum.z + sum.w) * scale.z;
			if (has_min)
				row_sum[r] -= sums.x * scale.y + sums.y * scale.w;
		}
	}
}
