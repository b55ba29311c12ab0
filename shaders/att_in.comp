// The first stage of time-mix: LN1, token shift, and all products that need nothing else.
//
//   n   = LN(x; ln1)                      x_q = n + (n' - n) * mix_q          n' from the state
//   r   = receptance x_r    k = key x_k    v = value x_v    g = gate x_g      [D,D] each, one matrix of PRODUCTS PAD(D,8) rows
//   h   = tanh(w1 x_w), a1 x_a, sigmoid(g1 x_g), v1 x_v                       [rank,D] each, one matrix, ranks padded to 8
//
// RWKV-5 has r, k, v and mostly g; RWKV-7 r, k, v and all of h, but layer 0 no v1.  RWKV-6 runs it twice: as the stage mix_in
// (FLAG_MIX_IN) for h = tanh(time_maa_w1 x_x) alone, the five hidden vectors of token shift as one of so many rows; then, as
// att_in, for r, k, v, g and w1, whose inputs the stage mix has left at ACT_MIXED (FLAG_MIXED).
//
// Reads ACT_X, the shift state, the layer's vectors; writes ACT_R, ACT_K, ACT_V, ACT_G, ACT_H, and n to ACT_N1: the wkv stage
// moves it into the state, which other workgroups of this stage still read.  Recorded by plan_att_in() in src/engine/plan.c and
// plan_mix_in() in src/engine/rwkv6.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#define WITH_SECOND
#include "common/matvec.glsl"
#include "common/normed.glsl"

#include "common/products.glsl"

// Which of the vectors at ACT_MIXED: w, k, v, r, g.
uint mixed_vector()
{
	return matrix == DECAY ? 0 : matrix == KEY ? 1 : matrix == VALUE ? 2 : matrix == RECEPTANCE ? 3 : 4;
}

void emit(uint row, float value)
{
	if (row >= end)
		return;
	if (matrix < DECAY)
		result[ACT_VECTOR(D, 3 + matrix) + row] = value; // ACT_R, ACT_K, ACT_V, ACT_G
	else
		result[ACT_H(D, F) + hidden + row] =
			matrix == DECAY ? tanh_safe(value) : matrix == GATE_LORA ? sigmoid(value) : value;
}

void stage_input(uint from, uint J)
{
	if (!flag(FLAG_MIXED)) {
		stage_shifted(from, J, VEC_LN1_W, state_slot() + STATE_ATT_X, mix_vector());
		return;
	}
	uint at = ACT_VECTOR(D, 10 + mixed_vector()); // from ACT_MIXED on
	for (uint i = thread; i < CHUNK / 4; i += WORKGROUP)
		STAGE(staged(i, J), from / 4 + i < D / 4 ? READ_ACT4(at / 4 + from / 4 + i) : vec4(0));
}

void main()
{
	if (done())
		return;
	if (!flag(FLAG_MIXED)) {
		norm_statistics();
		store_normed(VEC_LN1_W, ACT_N1(D));
	}

	// Workgroups are assigned to the matrices in order, so that all rows of a workgroup share an input.
	uint group = gl_WorkGroupID.x;
	for (matrix = 0; matrix < MATRICES; matrix++) {
		slice(matrix);
		uint groups = end > begin ? groups_for(end - begin) : 0;
		if (group < groups)
			break;
		group -= groups;
	}
	if (matrix == MATRICES)
		return;
	bool is_lora = matrix >= DECAY;
	hidden = first_hidden(); // not in emit(), which is small enough to be unrolled by every compiler
	normed_matvec(group, begin, end, is_lora ? hidden : matrix * DP8 - row_begin, is_lora);
}
