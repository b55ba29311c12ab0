// GroupNorm of a head for a row of a chunk, by the STATE_LANES threads that also share a row of the state: each has VECS vec4s of
// N channels.  The outputs that are normed were written by any thread of the workgroup, before a barrier.
const uint VECS = N / (4 * STATE_LANES);
uint lane = thread % STATE_LANES, set = thread / STATE_LANES;
layout(set = 0, binding = 1) coherent buffer Outputs1 { float outputs[]; };
layout(set = 0, binding = 1) coherent buffer Outputs4 { vec4 outputs4[]; };

// Sums over them; without subgroups there is only one.
vec2 row_reduce(vec2 v)
{
#if SUBGROUPS
	[[unroll]] for (uint step = 0; step < 5; step++) // no loop: lavapipe ends shaders after 65535 turns of all their loops
		if ((1u << step) < STATE_LANES)
			v += subgroupShuffleXor(v, 1u << step);
#endif
	return v;
}

void norm_row(uint at, uint head, out vec4 y[VECS])
{
	float sum = 0;
	[[unroll]] for (uint j = 0; j < VECS; j++) {
		y[j] = outputs4[(at + ROW_Y(D) + head * N) / 4 + lane + j * STATE_LANES];
		sum += dot(y[j], vec4(1));
	}
	float mean = row_reduce(vec2(sum, 0)).x / float(N);
	sum = 0;
	[[unroll]] for (uint j = 0; j < VECS; j++) {
		y[j] -= mean;
		sum += dot(y[j], y[j]);
	}
	float scale = 1 / sqrt(row_reduce(vec2(sum, 0)).x / float(N) + uintBitsToFloat(GROUP_EPSILON_BITS));
	[[unroll]] for (uint j = 0; j < VECS; j++) {
		uint c = head * N / 4 + lane + j * STATE_LANES;
		y[j] = y[j] * scale * READ_VECTORS4(VEC_LNX_W * DP / 4 + c) + READ_VECTORS4(VEC_LNX_B * DP / 4 + c);
	}
}
