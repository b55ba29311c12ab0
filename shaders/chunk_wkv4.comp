// RWKV-4: the state over the rows of a run, one after the other, a thread a channel; x counts workgroups of channels, y runs.
//
//   q = max(pp, u + k);   wkv = (e^(pp-q) aa + e^(u+k-q) v) / (e^(pp-q) bb + e^(u+k-q));   y = sigmoid(r) wkv
//   q = max(pp + w, k);   aa, bb, pp <- e^(pp+w-q) aa + e^(k-q) v,  e^(pp+w-q) bb + e^(k-q),  q
//
// Reads of each row ROW_R, ROW_K, ROW_V; writes ROW_Y, aa, bb, pp, and the run's last ROW_N1 as the next shift state.  Recorded by
// src/engine/rwkv4.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"

void main()
{
	uint c = gl_WorkGroupID.x * WORKGROUP + thread, run = TABLE_RUN(gl_WorkGroupID.y);
	uint slot = act_word[run + RUN_SLOT] * SLOT_FLOATS, row = act_word[run + RUN_FIRST], count = act_word[run + RUN_ROWS];
	if (gl_WorkGroupID.y >= act_word[TABLE_RUNS] || count == 0 || c >= D)
		return;
	float aa = READ_STATE(slot + STATE_AA(D) + c), bb = READ_STATE(slot + STATE_BB(D) + c);
	float pp = READ_STATE(slot + STATE_PP(D) + c), u = vector(VEC_BONUS, c), w = vector(VEC_DECAY, c);
	for (uint t = 0; t < count; t++) {
		uint at = row_at(row + t) + c;
		float k = READ_ACT(at + ROW_K(D)), v = READ_ACT(at + ROW_V(D));
		float q = max(pp, u + k), e1 = exp(pp - q), e2 = exp(u + k - q);
		result[at + ROW_Y(D)] = sigmoid(READ_ACT(at + ROW_R(D))) * (e1 * aa + e2 * v) / (e1 * bb + e2);
		q = max(pp + w, k);
		e1 = exp(pp + w - q);
		e2 = exp(k - q);
		aa = e1 * aa + e2 * v;
		bb = e1 * bb + e2;
		pp = q;
	}
	state[slot + STATE_AA(D) + c] = aa;
	state[slot + STATE_BB(D) + c] = bb;
	state[slot + STATE_PP(D) + c] = pp;
	state[slot + STATE_ATT_X + c] = READ_ACT(row_at(row + count - 1) + ROW_N1(D) + c);
}
