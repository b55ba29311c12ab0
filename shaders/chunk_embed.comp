// The first dispatch of a chunk, a workgroup per row:  x = LN(emb[token]; ln0).  It also copies the host's table to where later
// stages read it; FLAG_CHOSEN: it is already there, and a row that has ended has no token.  An embedding table of several
// slices has a dispatch for each; the one that holds a token's row writes x. Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/packed.glsl"

#include "common/first.glsl"
#include "common/values.glsl"
layout(set = 0, binding = 7) buffer Table { uint host_table[]; };

void main()
{
	uint row = gl_WorkGroupID.x;
	if (!flag(FLAG_CHOSEN) && row == 0 && first_slice == 1) {
		for (uint i = thread; i < TABLE_WORDS; i += WORKGROUP)
			result_word[i] = host_table[i];
		if (thread == 0)
			host_table[TABLE_DONE] = host_table[TABLE_ROWS];
	}
	if (row >= (flag(FLAG_CHOSEN) ? act_word[TABLE_ROWS] : host_table[TABLE_ROWS]))
		return;
	uint token = flag(FLAG_CHOSEN) ? act_word[TABLE_ROW(row) + ROW_TOKEN] : host_table[TABLE_ROW(row) + ROW_TOKEN];
	uint to = (row_at(row) + ROW_X) / 4;
	if (token < row_begin || token >= row_end)
		return;

	float sum = 0, f[8];
	for (uint i = thread; i < (D + 7) / 8; i += WORKGROUP) {
		first_eight(token - row_begin, row_words(WEIGHT_TYPE, D), i, f);
		[[unroll]] for (uint j = 0; j < 8; j++)
			sum += f[j]; // zeros past the end
		result4[to + 2 * i] = vec4(f[0], f[1], f[2], f[3]);
		if (8 * i + 4 < D)
			result4[to + 2 * i + 1] = vec4(f[4], f[5], f[6], f[7]);
	}
	if (!flag(FLAG_EMBEDDING_NORM))
		return;
	float mean = workgroup_sum(sum) / float(D);
	sum = 0;
	for (uint i = thread; i < (D + 7) / 8; i += WORKGROUP)
		[[unroll]] for (uint j = 0; j < 2; j++)
			if (8 * i + 4 * j < D) {
				vec4 d = result4[to + 2 * i + j] - mean;
				sum += dot(d, d);
			}
	float scale = 1 / sqrt(workgroup_sum(sum) / float(D) + 1e-5);
	for (uint i = thread; i < (D + 7) / 8; i += WORKGROUP)
		[[unroll]] for (uint j = 0; j < 2; j++)
			if (8 * i + 4 * j < D) {
				uint c = 2 * i + j;
				result4[to + c] = (result4[to + c] - mean) * scale * READ_VECTORS4(VEC_LN0_W * DP / 4 + c) +
				                  READ_VECTORS4(VEC_LN0_B * DP / 4 + c);
			}
}
