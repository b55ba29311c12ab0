// The outer factors of LoRAs, [D,rank] each: head by head, factor by factor, then uvec4 by uvec4 of the rank, the head's N
// channels beside each other (pack_lora() in src/network/pack.c).  A row is a column of uvec4s: neighbouring threads read
// neighbouring words and nothing has to be added up between them.

#include "second.glsl"
#include "unpack.glsl"
#include "lora_words.glsl"

// Row `channel` of a factor of `words` uvec4s that begins at uvec4 row `at`, times the hidden vector at `hidden`.
float lora_row(uint at, uint words, uint channel, uint hidden)
{
	float sum = 0;
	[[dont_unroll]] for (uint u = 0; u < words; u++) { // a row would take all registers at once
		uvec4 w = READ_SECOND((at + u) * N + channel);
		vec4 w0 = second_numbers(w, uvec2(0), 0), w1 = second_numbers(w, uvec2(0), 1);
		if (SECOND_TYPE == TYPE_F32)
			sum += dot(w0, READ_ACT4(hidden / 4 + u));
		else
			sum += dot(w0, READ_ACT4(hidden / 4 + u * 2)) + dot(w1, READ_ACT4(hidden / 4 + u * 2 + 1));
	}
	return sum;
}
