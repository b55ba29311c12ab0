// Channel-mix, second half: x = x + ffn.value f, up to RWKV-6 times sigmoid of the receptance.  [D,F]; reads ACT_F, ACT_FR,
// updates ACT_X, and moves this token's LN2 output from ACT_N2 into the shift state.  Recorded by plan_ffn() in src/model/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#define INPUT(u, J, j) act4[ACT_F(D) / 4 + (u) * J + j]
#include "common/matvec.glsl"
#include "common/plain.glsl"

void emit(uint row, float value)
{
	if (row >= row_end)
		return;
	if (flag(FLAG_RECEPTANCE))
		value *= sigmoid(act[ACT_FR(D) + row]);
	float x = result[ACT_X + row] + residual(value);
	result[ACT_X + row] = flag(FLAG_HALVE) ? 0.5 * x : x;
	if (flag(FLAG_PRE))
		state[state_slot() + STATE_ATT_X + row] = act[ACT_N1(D) + row];
	else
		state[state_slot() + STATE_FFN_X(D) + row] = act[ACT_N2(D) + row];
}

void main()
{
	if (done())
		return;
	plain_matvec(F);
}
