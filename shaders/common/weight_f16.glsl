// F16 and BF16: a uvec4 is 8 weights; a k-block 64.
void NAME(dot_f16)(uint at, uint count)
{
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		vec4 x0 = INPUT(u, 2, 0), x1 = INPUT(u, 2, 1);
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			uvec4 w = WEIGHTS(p + r * 8);
			row_sum[r] += dot(NAME(numbers)(w, uvec2(0), 0), x0) + dot(NAME(numbers)(w, uvec2(0), 1), x1);
		}
	}
}
