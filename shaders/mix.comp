// RWKV-6, between mix_in and att_in: the token shift whose weights depend on the token, one workgroup a head's channels.
//
//   x_q = n + (n' - n) (time_maa_q + time_maa_w2[q] t_q)                      q in w, k, v, r, g;  t_q [rank] from ACT_H
//
// Reads ACT_N1, ACT_H, the shift state; writes ACT_MIXED.  Recorded by plan_mix() in src/engine/rwkv6.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/lora_out.glsl"
#include "common/mixes.glsl"

void main()
{
	if (done())
		return;
	uint head = gl_WorkGroupID.x, slot = state_slot(), words = lora_words(RANK_MIX);
	for (uint i = thread; i < MIXES * N; i += WORKGROUP) {
		uint q = i / N, c = head * N + i % N;
		float mix = lora_row((head * MIXES + q) * words, words, i % N, ACT_H(D, F) + q * PAD(RANK_MIX, 8));
		float n = READ_ACT(ACT_N1(D) + c);
		result[ACT_VECTOR(D, 10 + q) + c] = n + (READ_STATE(slot + STATE_ATT_X + c) - n) * (vector(mix_vector(q), c) + mix);
	}
}
