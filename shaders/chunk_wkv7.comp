// RWKV-7: the state of a head over the rows of a run, one after the other; x counts heads, y runs.
//
//   S <- S diag(w) - (S kk) (kk A)^T + v k^T,   y = S r
//   y = GroupNorm(y; ln_x, 64e-5) + (sum r k r_k) v,   times g
//
// S lies in registers (scan.glsl).  With u = S kk (old S) the output of a row of S is S (w r) - u ((kk A).r) + v (k.r), as for one
// token (wkv7.comp).  GroupNorm follows when all rows have their outputs.
//
// Reads of each row ROW_KK, ROW_WR, ROW_W, ROW_B, ROW_K, ROW_V, ROW_DOTS, ROW_GATE; writes ROW_Y, the state, and the run's last
// ROW_N1 as the next shift state.  Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
const uint KK = 0, WR = 1, W = 2, B = 3, K = 4, KINDS = 5;
#define WITH_DOTS
#include "common/scan.glsl"

vec4 read_key(uint kind, uint at, uint c)
{
	uint vector = kind == KK ? ROW_KK(D) : kind == WR ? ROW_WR(D) : kind == W ? ROW_W(D) : kind == B ? ROW_B(D) : ROW_K(D);
	return READ_ACT4((at + vector) / 4 + c);
}

vec4 read_state(uint at, uint i, uint c)
{
	return READ_STATE4((at + i * N) / 4 + c);
}

void write_state(uint at, uint i, uint c, vec4 s)
{
	state4[(at + i * N) / 4 + c] = s;
}

void step_rows(uint first, uint at, uint head, uint staged)
{
	[[unroll]] for (uint h = 0; h < ROWS_HELD; h++) {
		uint i = first + h * SETS + set;
		vec2 sums = vec2(0); // u = S kk, S (w r)
		[[unroll]] for (uint j = 0; j < VECS; j++)
			sums += vec2(dot(S[h][j], KEYS(KK, j)), dot(S[h][j], KEYS(WR, j)));
		sums = row_reduce(sums);
		float v = value_of(at, head, staged, i);
		[[unroll]] for (uint j = 0; j < VECS; j++)
			S[h][j] = S[h][j] * KEYS(W, j) - sums.x * KEYS(B, j) + v * KEYS(K, j);
		write_output(at, head, i, sums.y - sums.x * dots.x + v * dots.y);
	}
}

void main()
{
	uint head = gl_WorkGroupID.x, run = TABLE_RUN(gl_WorkGroupID.y);
	uint row = act_word[run + RUN_FIRST], count = act_word[run + RUN_ROWS];
	if (gl_WorkGroupID.y >= act_word[TABLE_RUNS] || count == 0)
		return;
	scan_run(head, act_word[run + RUN_SLOT] * SLOT_FLOATS, row, count);
	for (uint t = set; t < count; t += SETS) {
		uint from = row_at(row + t), c = head * N / 4 + lane;
		float bonus = READ_ACT(from + ROW_DOTS(D) + 4 * head + 2);
		vec4 y[VECS];
		norm_row(from, head, y);
		[[unroll]] for (uint j = 0; j < VECS; j++)
			result4[(from + ROW_Y(D)) / 4 + c + j * STATE_LANES] =
				(y[j] + bonus * READ_ACT4((from + ROW_V(D)) / 4 + c + j * STATE_LANES)) *
				READ_ACT4((from + ROW_GATE(D)) / 4 + c + j * STATE_LANES);
	}
}
