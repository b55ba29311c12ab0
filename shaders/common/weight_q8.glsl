// Q8: a uvec4 is 16 signed bytes, half a block of 32 that shares an f16 scale; a k-block is 128 weights of a row, and its 4
// scales are 2 words of the side plane, which has the same order of tiles, k-blocks and rows.
void DOT(uint at, uint count)
{
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		vec4 x0 = INPUT(u, 4, 0), x1 = INPUT(u, 4, 1), x2 = INPUT(u, 4, 2), x3 = INPUT(u, 4, 3);
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			ivec4 w = ivec4(WEIGHTS(p + r * 8));
			vec2 pair = unpackHalf2x16(SIDE((p + r * 8) / 8 * 2 + (u & 7) / 4));
			vec4 sum = vec4(w << 24 >> 24) * vec4(x0.x, x1.x, x2.x, x3.x) + vec4(w << 16 >> 24) * vec4(x0.y, x1.y, x2.y, x3.y) +
			           vec4(w << 8 >> 24) * vec4(x0.z, x1.z, x2.z, x3.z) + vec4(w >> 24) * vec4(x0.w, x1.w, x2.w, x3.w);
			row_sum[r] += ((sum.x + sum.y) + (sum.z + sum.w)) * ((u & 2) == 0 ? pair.x : pair.y);
		}
	}
}
