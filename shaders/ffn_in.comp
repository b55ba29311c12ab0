// Channel-mix, first half: n = LN(x; ln2),  f = relu(ffn.key (n + (n' - n) mix))^2  [F,D],  and up to RWKV-6 the receptance of
// the whole, ffn.receptance (n + (n' - n) mix_r)  [D,D].
//
// Reads ACT_X, the shift state; writes ACT_F, ACT_FR, and n to ACT_N2: ffn_out moves it into the state.  FLAG_PRE: the same with
// ln1 and the state of time-mix.  Recorded by plan_ffn() in src/engine/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#define WITH_SECOND
#include "common/matvec.glsl"
#include "common/normed.glsl"

bool is_receptance;
uint end;

void emit(uint row, float value)
{
	if (row >= end)
		return;
	float positive = max(value, 0);
	if (is_receptance)
		result[ACT_FR(D) + row] = value;
	else
		result[ACT_F(D) + row] = positive * positive;
}

void stage_input(uint from, uint J)
{
	if (flag(FLAG_PRE))
		stage_shifted(from, J, VEC_LN1_W, state_slot() + STATE_ATT_X, is_receptance ? VEC_MIX_R : VEC_MIX_K);
	else
		stage_shifted(from, J, VEC_LN2_W, state_slot() + STATE_FFN_X(D), is_receptance ? VEC_MIX_FFN_R : VEC_MIX_FFN);
}

void main()
{
	if (done())
		return;
	norm_statistics();
	if (flag(FLAG_PRE))
		store_normed(VEC_LN1_W, ACT_N1(D));
	else
		store_normed(VEC_LN2_W, ACT_N2(D));
	uint key_groups = groups_for(row_end - row_begin), group = gl_WorkGroupID.x;
	is_receptance = group >= key_groups;
	end = is_receptance ? second_end : row_end;
	if (is_receptance)
		normed_matvec(group - key_groups, second_begin, second_end, -second_begin, true);
	else
		normed_matvec(group, row_begin, row_end, -row_begin, false);
}
