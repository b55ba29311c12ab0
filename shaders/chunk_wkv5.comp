// RWKV-5 and 6: the state of a head over the rows of a run, one after the other; x counts heads, y runs.
//
//   y_j = sum_i r_i (S_ij + u_i k_i v_j)          S_ij <- w_i S_ij + k_i v_j          i a key channel, j a value channel
//   y = GroupNorm(y; ln_x),   times silu(g)  (FLAG_GATE)
//
// S is kept in registers (scan.glsl), transposed relative to memory: a thread has key channels of one value channel, whose sums
// take one reduction a row.  GroupNorm follows when all rows have their outputs.
//
// Reads of each row ROW_R, ROW_K, ROW_V, ROW_G, and as decay ROW_W (FLAG_DECAY_LORA) or the layer's vector; writes ROW_Y, the state,
// and the run's last ROW_N1 as the next shift state.  Recorded by chunk_wkv5() in src/engine/rwkv5.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
const uint R = 0, K = 1, W = 2, KINDS = 3;
#include "common/scan.glsl"

vec4 read_key(uint kind, uint at, uint c)
{
	if (kind == W && !flag(FLAG_DECAY_LORA))
		return READ_VECTORS4(VEC_DECAY * DP / 4 + c);
	return READ_ACT4((at + (kind == R ? ROW_R(D) : kind == K ? ROW_K(D) : ROW_W(D))) / 4 + c);
}

vec4 read_state(uint at, uint i, uint c)
{
	uint from = at + 4 * c * N + i;
	return vec4(READ_STATE(from), READ_STATE(from + N), READ_STATE(from + 2 * N), READ_STATE(from + 3 * N));
}

void write_state(uint at, uint i, uint c, vec4 s)
{
	[[unroll]] for (uint k = 0; k < 4; k++)
		state[at + (4 * c + k) * N + i] = s[k];
}

void step_rows(uint first, uint at, uint head, uint staged)
{
	float bonus = 0; // sum r u k
	[[unroll]] for (uint j = 0; j < VECS; j++)
		bonus += dot(KEYS(R, j) * KEYS(K, j), READ_VECTORS4((VEC_BONUS * DP + head * N) / 4 + lane + j * STATE_LANES));
	forget_keys();
	[[unroll]] for (uint h = 0; h < ROWS_HELD; h++) {
		uint i = first + h * SETS + set;
		float v = value_of(at, head, staged, i), sum = v * bonus;
		[[unroll]] for (uint j = 0; j < VECS; j++) {
			sum += dot(S[h][j], KEYS(R, j));
			S[h][j] = S[h][j] * KEYS(W, j) + v * KEYS(K, j);
		}
		write_output(at, head, i, row_reduce(vec2(sum, 0)).x);
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
		uint at = row_at(row + t), c = head * N / 4 + lane;
		vec4 y[VECS];
		norm_row(at, head, y);
		[[unroll]] for (uint j = 0; j < VECS; j++) {
			vec4 g = READ_ACT4((at + ROW_G(D)) / 4 + c + j * STATE_LANES);
			result4[(at + ROW_Y(D)) / 4 + c + j * STATE_LANES] = flag(FLAG_GATE) ? y[j] * g / (1 + exp(-g)) : y[j];
		}
	}
}
