// x = x + att.output y + its bias.  [D,D]; reads ACT_Y, updates ACT_X: each row has one owner.  In RWKV-4 it also moves this
// token's LN1 output from ACT_N1 into the shift state.  Recorded by plan_att_out() in src/engine/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#define INPUT(u, J, j) READ_ACT4(ACT_Y(D) / 4 + (u) * J + j)
#include "common/matvec.glsl"
#include "common/plain.glsl"

void emit(uint row, float value)
{
	if (row >= row_end)
		return;
	result[ACT_X + row] += residual(value + vector(VEC_OUT_B, row));
	if (flag(FLAG_SHIFT))
		state[state_slot() + STATE_ATT_X + row] = READ_ACT(ACT_N1(D) + row);
}

void main()
{
	if (done())
		return;
	plain_matvec(D);
}
