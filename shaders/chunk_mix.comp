// RWKV-6, between the hidden vectors of token shift and the products: the shift whose weights depend on the token, for ROWS rows
// of a chunk and a head's channels: x counts such rows, y heads.
//
//   x_q = n + (n' - n) (time_maa_q + time_maa_w2[q] t_q)                      q in w, k, v, r, g;  t_q [rank] from ROW_H
//
// n' is n of the previous row, or comes from the state.  Reads ROW_N1, ROW_H, the shift state; writes ROW_MIXED.  Recorded by
// src/engine/rwkv6.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/lora_rows.glsl"
#include "common/mixes.glsl"

// LN1 of a row, and how it changes to that of the row before.
vec2 normed_and_change(uint row, uint c)
{
	float n = READ_ACT(row_at(row) + ROW_N1(D) + c);
	uint before = act_word[TABLE_ROW(row) + ROW_BEFORE];
	return vec2(n, (before == NO_ROW ? READ_STATE(row_state(row) + STATE_ATT_X + c) : READ_ACT(row_at(before) + ROW_N1(D) + c)) - n);
}

void main()
{
	uint first = gl_WorkGroupID.x * ROWS, head = gl_WorkGroupID.y, words = lora_words(RANK_MIX);
	if (first >= row_count())
		return;
	for (uint from = 0; from < N; from += WORKGROUP) {
		uint n = min(from + thread, N - 1), c = head * N + n, own = from + thread < N ? row_count() - first : 0;
		vec2 x[ROWS];
		[[unroll]] for (uint j = 0; j < ROWS; j++)
			x[j] = normed_and_change(min(first + j, row_count() - 1), c);
		[[dont_unroll]] for (uint q = 0; q < MIXES; q++) {
			float mix[ROWS];
			lora_rows((head * MIXES + q) * words, words, n, ROW_H(D, F) + q * PAD(RANK_MIX, 8), first, mix);
			float fixed_mix = vector(mix_vector(q), c);
			[[unroll]] for (uint j = 0; j < ROWS; j++)
				if (j < own)
					result[row_at(first + j) + ROW_MIXED(D, mix_vector(q) - VEC_MIX_R) + c] = x[j].x + x[j].y * (fixed_mix + mix[j]);
		}
	}
}
