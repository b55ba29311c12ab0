// RWKV-7: the state of a head over the rows of a run, one after the other; x counts heads, y runs.
//
//   S <- S diag(w) - (S kk) (kk A)^T + v k^T,   y = S r
//   y = GroupNorm(y; ln_x, 64e-5) + (sum r k r_k) v,   times g
//
// STATE_LANES threads share a row of S and hold their part of it in registers for the whole run; when a workgroup cannot hold a
// head, it takes the run once for each block of rows.  With u = S kk (old S) the output of a row is S (w r) - u ((kk A).r) +
// v (k.r), as for one token (wkv7.comp).  GroupNorm follows when all rows have their outputs.
//
// Reads of each row ROW_KK, ROW_WR, ROW_W, ROW_B, ROW_K, ROW_V, ROW_DOTS, ROW_GATE; writes ROW_Y, the state, and the run's last
// ROW_N1 as the next shift state.  Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/row_norm.glsl"

const uint KK = 0, WR = 1, W = 2, B = 3, K = 4, KINDS = 5;
const uint SETS = WORKGROUP / STATE_LANES; // rows of S that are worked on at once
const uint NEEDED = (N + SETS - 1) / SETS, ROOM = VECS < 16 ? 16 / VECS : 1;
const uint ROWS_HELD = NEEDED < ROOM ? NEEDED : ROOM; // by one thread
const uint BLOCK = SETS * ROWS_HELD;
vec4 S[ROWS_HELD][VECS];
vec4 dots;

// What all rows of S need of a row of the chunk: with texel reads in registers; else of some rows in shared memory.
#if TEXELS
vec4 keys[KINDS][VECS];
#define KEYS(kind, j) keys[kind][j]
#else
const uint STAGED_ROWS = N < 512 ? 512 / N : 1;
shared vec4 s_keys[STAGED_ROWS * KINDS * N / 4], s_dots[STAGED_ROWS];
shared float s_v[STAGED_ROWS * N];
#define KEYS(kind, j) s_keys[(staged * KINDS + kind) * (N / 4) + lane + (j) * STATE_LANES]
#endif

uint kind_at(uint kind)
{
	return kind == KK ? ROW_KK(D) : kind == WR ? ROW_WR(D) : kind == W ? ROW_W(D) : kind == B ? ROW_B(D) : ROW_K(D);
}

void step_rows(uint first, uint at, uint head, uint staged)
{
	[[unroll]] for (uint h = 0; h < ROWS_HELD; h++) {
		uint i = first + h * SETS + set;
		vec2 sums = vec2(0); // u = S kk, S (w r)
		[[unroll]] for (uint j = 0; j < VECS; j++)
			sums += vec2(dot(S[h][j], KEYS(KK, j)), dot(S[h][j], KEYS(WR, j)));
		sums = row_reduce(sums);
#if TEXELS
		float v = READ_ACT(at + ROW_V(D) + head * N + min(i, N - 1));
#else
		float v = s_v[staged * N + min(i, N - 1)];
#endif
		[[unroll]] for (uint j = 0; j < VECS; j++)
			S[h][j] = S[h][j] * KEYS(W, j) - sums.x * KEYS(B, j) + v * KEYS(K, j);
		if (lane == 0 && i < N)
			outputs[at + ROW_Y(D) + head * N + i] = sums.y - sums.x * dots.x + v * dots.y;
	}
}

#if TEXELS
void scan(uint first, uint head, uint row, uint count)
{
	for (uint t = 0; t < count; t++) {
		uint at = row_at(row + t);
		[[unroll]] for (uint kind = 0; kind < KINDS; kind++)
			[[unroll]] for (uint j = 0; j < VECS; j++)
				keys[kind][j] = READ_ACT4((at + kind_at(kind) + head * N) / 4 + lane + j * STATE_LANES);
		dots = READ_ACT4((at + ROW_DOTS(D)) / 4 + head);
		step_rows(first, at, head, 0);
	}
}
#else
void stage(uint head, uint row, uint count)
{
	for (uint i = thread; i < count * KINDS * N / 4; i += WORKGROUP) {
		uint t = i / (KINDS * N / 4), kind = i / (N / 4) % KINDS;
		s_keys[i] = READ_ACT4((row_at(row + t) + kind_at(kind) + head * N) / 4 + i % (N / 4));
	}
	for (uint i = thread; i < count * N; i += WORKGROUP)
		s_v[i] = READ_ACT(row_at(row + i / N) + ROW_V(D) + head * N + i % N);
	for (uint t = thread; t < count; t += WORKGROUP)
		s_dots[t] = READ_ACT4((row_at(row + t) + ROW_DOTS(D)) / 4 + head);
}

void scan(uint first, uint head, uint row, uint count)
{
	for (uint done = 0; done < count; done += STAGED_ROWS) {
		uint staged = min(count - done, STAGED_ROWS);
		barrier();
		stage(head, row + done, staged);
		barrier();
		[[dont_unroll]] for (uint t = 0; t < staged; t++) {
			dots = s_dots[t];
			step_rows(first, row_at(row + done + t), head, t);
		}
	}
}
#endif

void main()
{
	uint head = gl_WorkGroupID.x, run = TABLE_RUN(gl_WorkGroupID.y);
	if (gl_WorkGroupID.y >= act_word[TABLE_RUNS])
		return;
	uint slot = act_word[run + RUN_SLOT] * SLOT_FLOATS, row = act_word[run + RUN_FIRST], count = act_word[run + RUN_ROWS];
	uint at = (slot + STATE_S(D) + head * N * N) / 4 + lane;
	for (uint first = 0; first < N; first += BLOCK) {
		[[unroll]] for (uint h = 0; h < ROWS_HELD; h++)
			[[unroll]] for (uint j = 0; j < VECS; j++)
				S[h][j] = READ_STATE4(at + min(first + h * SETS + set, N - 1) * (N / 4) + j * STATE_LANES);
		scan(first, head, row, count);
		[[unroll]] for (uint h = 0; h < ROWS_HELD; h++)
			if (first + h * SETS + set < N)
				[[unroll]] for (uint j = 0; j < VECS; j++)
					state4[at + (first + h * SETS + set) * (N / 4) + j * STATE_LANES] = S[h][j];
	}
	for (uint n = thread; n < N; n += WORKGROUP)
		state[slot + STATE_ATT_X + head * N + n] = READ_ACT(row_at(row + count - 1) + ROW_N1(D) + head * N + n);
	memoryBarrierBuffer();
	barrier();

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
