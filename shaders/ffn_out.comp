// Stage 5 of a layer: x = x + ffn.value f.  [D,F]; reads ACT_F, updates ACT_X, and moves this token's LN2 output from ACT_N2
// into the shift state.  Recorded by ffn_out() in src/model/rwkv7.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#define INPUT(u, J, j) act4[ACT_F(D, HIDDEN_COUNT) / 4 + (u) * J + j]
#include "common/matvec.glsl"
#include "common/plain.glsl"

void emit(uint row, float value)
{
	if (row < row_end) {
		result[ACT_X + row] += value;
		state[state_slot() + STATE_FFN_X(D) + row] = act[ACT_N2(D) + row];
	}
}

void main()
{
	if (done())
		return;
	plain_matvec(F);
}
