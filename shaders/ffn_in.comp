// Stage 4 of a layer: n = LN(x; ln2), f = relu(ffn.key (n + (n' - n) x_k))^2.  [F,D]
//
// Reads ACT_X, the shift state; writes ACT_F, and n to ACT_N2: stage 5 moves it into the state.
// Recorded by ffn_in() in src/model/rwkv7.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#define INPUT(u, J, j) s_input[((u) / 8 * J + j) * 8 + (u) % 8]
#include "common/matvec.glsl"
#include "common/normed.glsl"

void emit(uint row, float value)
{
	float positive = max(value, 0);
	if (row < row_end)
		result[ACT_F(D, HIDDEN_COUNT) + row] = positive * positive;
}

void stage_input(uint from, uint J)
{
	uint shift = state_slot() + STATE_FFN_X(D);
	for (uint i = thread; i < CHUNK / 4; i += WORKGROUP) {
		uint c = from / 4 + i;
		vec4 value = vec4(0);
		if (c < D / 4) {
			vec4 n = normed(c, VEC_LN2_W * DP);
			value = n + (state4[shift / 4 + c] - n) * vectors4[VEC_MIX_FFN * DP / 4 + c];
		}
		s_input[staged(i, J)] = value;
	}
}

void main()
{
	if (done())
		return;
	norm_statistics();
	if (gl_WorkGroupID.x == 0 && first_slice == 1)
		for (uint i = thread; i < D / 4; i += WORKGROUP)
			result4[ACT_N2(D) / 4 + i] = normed(i, VEC_LN2_W * DP);
	normed_matvec();
}
