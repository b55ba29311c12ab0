// F16: a uvec4 is 8 weights, the lower half of a word first; a k-block 64.
void DOT(uint at, uint count)
{
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		vec4 x0 = INPUT(u, 2, 0), x1 = INPUT(u, 2, 1);
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			uvec4 w = WEIGHTS(p + r * 8);
			row_sum[r] += dot(vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)), x0) +
			              dot(vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w)), x1);
		}
	}
}
