// RWKV-6, between the hidden vectors of token shift and the products: the shift whose weights depend on the token, for AT_ONCE rows
// of a chunk and a head's channels: x counts such rows, y heads.
//
//   x_q = n + (n' - n) (time_maa_q + time_maa_w2[q] t_q)                      q in w, k, v, r, g;  t_q [rank] from ROW_H
//
// n' is that of the row before or comes from the state.  Reads ROW_N1, ROW_H, the shift state; writes ROW_MIXED.  Recorded by
// src/engine/rwkv6.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/lora_rows.glsl"
#include "common/mixes.glsl"

void main()
{
	uint first = gl_WorkGroupID.x * AT_ONCE, head = gl_WorkGroupID.y, words = lora_words(RANK_MIX);
	if (first >= row_count())
		return;
	for (uint i = thread; i < MIXES * N; i += WORKGROUP) {
		uint q = i / N, c = head * N + i % N;
		float mix[AT_ONCE];
		lora_rows((head * MIXES + q) * words, words, i % N, ROW_H(D, F) + q * PAD(RANK_MIX, 8), first, mix);
		[[unroll]] for (uint j = 0; j < AT_ONCE; j++)
			if (first + j < row_count()) {
				uint row = first + j, at = row_at(row), before = act_word[TABLE_ROW(row) + ROW_BEFORE];
				float n = READ_ACT(at + ROW_N1(D) + c);
				float change = (before == NO_ROW ? READ_STATE(row_state(row) + STATE_ATT_X + c) :
				                                   READ_ACT(row_at(before) + ROW_N1(D) + c)) - n;
				result[at + ROW_MIXED(D, mix_vector(q) - VEC_MIX_R) + c] = n + change * (vector(mix_vector(q), c) + mix[j]);
			}
	}
}
