// Q8: a uvec4 is 16 weights, half of the 32 that share a scale; a k-block 128.
void NAME(dot_q8)(uint at, uint count)
{
	for (uint u = lane; u < count; u += LANES) {
		uint p = at + (u >> 3) * 64 + (u & 7);
		vec4 x[4];
		[[unroll]] for (uint j = 0; j < 4; j++)
			x[j] = INPUT(u, 4, j);
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			uvec4 w = WEIGHTS(p + r * 8);
			vec4 sum; // of each word
			[[unroll]] for (uint j = 0; j < 4; j++) {
				vec4 q = NAME(numbers)(w, uvec2(0), j);
				sum[j] = q.x * x[j].x + q.y * x[j].y + q.z * x[j].z + q.w * x[j].w;
			}
			row_sum[r] += ((sum.x + sum.y) + (sum.z + sum.w)) * NAME(scales)((p + r * 8) / 8 * SIDE_WORDS(TYPE), u & 7).x;
		}
	}
}
