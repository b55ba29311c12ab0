// LayerNorm and token shift of the residual stream, repeated by every workgroup: reading 5 vectors from a cache costs less than
// a separate stage.  The result is staged in shared memory (TEXELS: in memory, a place for each workgroup) in the order in
// which the matrix rows are read.
#include "layer_norm.glsl"
#if !TEXELS
shared vec4 s_input[CHUNK / 4];
#define STAGED(i)       s_input[i]
#define STAGE(i, x)     s_input[i] = x
#define STAGE_BARRIER() barrier()
#endif
#define INPUT(u, J, j) STAGED(((u) / 8 * J + j) * 8 + (u) % 8)
float norm_mean, norm_scale;

void norm_statistics()
{
	vec2 norm = norm_of(ACT_X);
	norm_mean = norm.x;
	norm_scale = norm.y;
}

// Channels 4i .. 4i+3 of LN(x); `at` is where weight and bias lie in the vectors.
vec4 normed(uint i, uint at)
{
	return (READ_ACT4(ACT_X / 4 + i) - norm_mean) * norm_scale * READ_VECTORS4(at / 4 + i) + READ_VECTORS4((at + DP) / 4 + i);
}

// Where vec4 number i of the input goes: a lane reads the J vec4s that belong to one of its uvec4s of weights, and 8
// neighbouring lanes read 128 neighbouring bytes.
uint staged(uint i, uint J)
{
	uint u = i / J, j = i % J;
	return (u / 8 * J + j) * 8 + u % 8;
}

// Channels 4c .. 4c+3 of the token shift of LN(x; the vectors at `norm`) with the state at `shift`; `mix` is a VEC_*.
vec4 shifted(uint c, uint norm, uint shift, uint mix)
{
	vec4 n = normed(c, norm * DP);
	return n + (READ_STATE4(shift / 4 + c) - n) * READ_VECTORS4(mix * DP / 4 + c);
}

// Stages `shifted` channels [from, from + CHUNK), J vec4s to a uvec4 of weights.
void stage_shifted(uint from, uint J, uint norm, uint shift, uint mix)
{
	for (uint i = thread; i < CHUNK / 4; i += WORKGROUP) {
		uint c = from / 4 + i;
		STAGE(staged(i, J), c < D / 4 ? shifted(c, norm, shift, mix) : vec4(0));
	}
}

// The first workgroup stores LN(x): a later stage moves it into the state, which the others still read.
void store_normed(uint norm, uint at)
{
	if (gl_WorkGroupID.x == 0 && first_slice == 1)
		for (uint i = thread; i < D / 4; i += WORKGROUP)
			result4[at / 4 + i] = normed(i, norm * DP);
}
