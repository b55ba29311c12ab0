// Outer LoRA factors (lora_out.glsl) times the hidden vectors of several rows: a thread has a channel and unpacks its weights once
// for AT_ONCE rows.
const uint AT_ONCE = 8;
#include "second.glsl"
#include "values.glsl"
#include "lora_words.glsl"

// Row `channel` of a factor of `words` uvec4s that begins at uvec4 row `at`, times the hidden vectors that begin at float `hidden`
// of the records of rows [first, first + AT_ONCE); past the last row it is that of the last.
void lora_rows(uint at, uint words, uint channel, uint hidden, uint first, out float sums[AT_ONCE])
{
	[[unroll]] for (uint j = 0; j < AT_ONCE; j++)
		sums[j] = 0;
	[[dont_unroll]] for (uint u = 0; u < words; u += WORDS) {
		float f[8];
		uvec4 next = SECOND_TYPE == TYPE_F32 ? READ_SECOND((at + u + 1) * N + channel) : uvec4(0);
		second_values(READ_SECOND((at + u) * N + channel), next, vec4(0), 0, f);
		[[unroll]] for (uint j = 0; j < AT_ONCE; j++) {
			uint from = (row_at(min(first + j, row_count() - 1)) + hidden) / 4 + u / WORDS * 2;
			vec4 h0 = READ_ACT4(from), h1 = READ_ACT4(from + 1);
			[[unroll]] for (uint k = 0; k < 4; k++)
				sums[j] += f[k] * h0[k] + f[k + 4] * h1[k];
		}
	}
}
