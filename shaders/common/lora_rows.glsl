// Outer LoRA factors (lora_out.glsl) times the hidden vectors of several rows: a thread has a channel and unpacks its weights once
// for ROWS rows.  With texel reads a workgroup is one subgroup, whose lanes each read the numbers of another row and pass them on.
#include "second.glsl"
#include "values.glsl"
#include "lora_words.glsl"
#if TEXELS
const uint HANDED = WORKGROUP < ROWS ? WORKGROUP : ROWS;
uint handed_lane = gl_SubgroupInvocationID;
#define HAND_ROUND(x, j) subgroupShuffle(x, j)
#else
const uint HANDED = 1, handed_lane = 0;
#define HAND_ROUND(x, j) (x)
#endif

// Row `channel` of a factor of `words` uvec4s that begins at uvec4 row `at`, times the hidden vectors that begin at float `hidden`
// of the records of rows [first, first + ROWS); past the last row it is that of the last.  All threads call it with the same
// `hidden`; without a channel of their own, for any.
void lora_rows(uint at, uint words, uint channel, uint hidden, uint first, out float sums[ROWS])
{
	[[unroll]] for (uint j = 0; j < ROWS; j++)
		sums[j] = 0;
	[[dont_unroll]] for (uint u = 0; u < words; u += WORDS) {
		float f[8];
		uvec4 next = SECOND_TYPE == TYPE_F32 ? READ_SECOND((at + u + 1) * N + channel) : uvec4(0);
		second_values(READ_SECOND((at + u) * N + channel), next, vec4(0), 0, f);
		[[unroll]] for (uint b = 0; b < ROWS; b += HANDED) {
			uint from = (row_at(min(first + b + handed_lane, row_count() - 1)) + hidden) / 4 + u / WORDS * 2;
			vec4 h0 = READ_ACT4(from), h1 = READ_ACT4(from + 1);
			[[unroll]] for (uint j = 0; j < HANDED; j++)
				[[unroll]] for (uint k = 0; k < 4; k++)
					sums[b + j] += f[k] * HAND_ROUND(h0[k], j) + f[k + 4] * HAND_ROUND(h1[k], j);
		}
	}
}
