// RWKV-6: the decay of ROWS rows of a chunk and a head: x counts such rows, y heads.
//
//   w = exp(-exp(time_decay + time_decay_w2 h))
//
// Reads of each row ROW_H; writes ROW_W.  Recorded by src/engine/rwkv6.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/lora_rows.glsl"

void main()
{
	uint first = gl_WorkGroupID.x * ROWS, head = gl_WorkGroupID.y, words = lora_words(RANK_DECAY);
	if (first >= row_count())
		return;
	for (uint from = 0; from < N; from += WORKGROUP) {
		uint n = from + thread, c = head * N + n;
		float lora[ROWS];
		lora_rows(head * words, words, min(n, N - 1), ROW_H(D, F), first, lora);
		[[unroll]] for (uint j = 0; j < ROWS; j++)
			if (n < N && first + j < row_count())
				result[row_at(first + j) + ROW_W(D) + c] = exp(-exp(vector(VEC_DECAY, c) + lora[j]));
	}
}
