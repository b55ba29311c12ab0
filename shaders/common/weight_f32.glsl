// F32: a uvec4 is 4 weights; a k-block 32.
void NAME(dot_f32)(uint at, uint count)
{
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		vec4 x = INPUT(u, 1, 0);
		[[unroll]] for (uint r = 0; r < ROWS; r++)
			row_sum[r] += dot(NAME(numbers)(WEIGHTS(p + r * 8), uvec2(0), 0), x);
	}
}
