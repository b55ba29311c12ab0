// Integers of 4 to 6 bits (unpack.glsl).  A uvec4 in two halves, so that a thread holds 16 numbers of the input at once and not 32:
// registers limit how many threads there can be.  Words 2h and 2h + 1 are half h; x[0] and x[2] go with their low halves of bytes.
void NAME(dot_bits)(uint at, uint count)
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
			high[r] = NAME(high_bits)((p + r * 8) / 8 * SIDE_WORDS(TYPE), u & 7);
		}
		[[unroll]] for (uint h = 0; h < 2; h++) {
			vec4 x[4];
			[[unroll]] for (uint j = 0; j < 4; j++)
				x[j] = INPUT(u, 8, 4 * h + j);
			vec4 x_sum = (x[0] + x[1]) + (x[2] + x[3]);
			sums[h] = (x_sum.x + x_sum.y) + (x_sum.z + x_sum.w);
			[[unroll]] for (uint r = 0; r < ROWS; r++) {
				uvec4 low_q = NAME(integers)(w[r], high[r], 0), high_q = NAME(integers)(w[r], high[r], 1);
				uvec2 low_half = h == 0 ? low_q.xy : low_q.zw, high_half = h == 0 ? high_q.xy : high_q.zw;
				vec2 sum = vec2(0); // one for each word
				[[unroll]] for (uint b = 0; b < 4; b++)
					sum += vec2(low_half >> 8 * b & 255u) * vec2(x[0][b], x[2][b]) +
					       vec2(high_half >> 8 * b & 255u) * vec2(x[1][b], x[3][b]);
				products[r][h] = sum.x + sum.y;
			}
		}
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			vec4 scale = NAME(scale_min)((p + r * 8) / 8 * SIDE_WORDS(TYPE), u & 7);
			vec2 product = products[r];
			if (halves) {
				row_sum[r] += (product.x - NAME(zero)() * sums.x) * scale.x + (product.y - NAME(zero)() * sums.y) * scale.z;
				if (has_min)
					row_sum[r] -= sums.x * scale.y + sums.y * scale.w;
			} else {
				row_sum[r] += (product.x + product.y - NAME(zero)() * (sums.x + sums.y)) * scale.x;
				if (has_min)
					row_sum[r] -= (sums.x + sums.y) * scale.y;
			}
		}
	}
}
