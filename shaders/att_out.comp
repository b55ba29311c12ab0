// Stage 3 of a layer: x = x + att.output y + its bias.  [D,D]; reads ACT_Y, updates ACT_X: each row has one owner.
// Recorded by att_out() in src/model/rwkv7.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#define INPUT(u, J, j) act4[ACT_Y(D) / 4 + (u) * J + j]
#include "common/matvec.glsl"
#include "common/plain.glsl"

void emit(uint row, float value)
{
	if (row < row_end)
		result[ACT_X + row] += value + vectors[VEC_OUT_B * DP + row];
}

void main()
{
	if (done())
		return;
	plain_matvec(D);
}
