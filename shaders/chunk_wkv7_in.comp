// RWKV-7: the inputs of a step of the state, for ROWS rows of a chunk and a head: x counts groups of such rows, y heads.
//
//   w = exp(-e^(-1/2) sigmoid(w0 + w2 h_w))    A = sigmoid(a0 + a2 h_a)    g = g2 h_g
//   v = v + (vfirst - v) sigmoid(v0 + v2 h_v)                              (layer 0: vfirst = v)
//   kk = k k_k / max(|k k_k|, 1e-12) over the head,   k = k (1 + (A - 1) k_a)
//
// Reads of each row ROW_R, ROW_K, ROW_V, ROW_H, ROW_VFIRST; writes ROW_KK, ROW_WR (w r), ROW_W, ROW_B (kk A), ROW_GATE, ROW_DOTS
// (kk A.r, k.r, sum r k r_k), k and v in their places, in layer 0 ROW_VFIRST.  Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/lora_rows.glsl"

const float DECAY_SCALE = 0.60653066; // e^(-1/2)
const uint QUADS = (ROWS + 3) / 4;
const uint LORAS = 4;                 // decay, iclr, gate, value: the order of ROW_H

uint rank(uint i)
{
	return i == 0 ? RANK_DECAY : i == 1 ? RANK_ICLR : i == 2 ? RANK_GATE : layer == 0 ? 0 : RANK_VALUE;
}

// Row `channel` of factor i of this head times the rows' hidden vectors.
void factor_rows(uint head, uint i, uint channel, uint first, out float sums[ROWS])
{
	uint before = 0, all = 0, hidden = 0;
	for (uint j = 0; j < LORAS; j++) {
		if (j < i) {
			before += lora_words(rank(j));
			hidden += PAD(rank(j), 8);
		}
		all += lora_words(rank(j));
	}
	lora_rows(head * all + before, lora_words(rank(i)), channel, ROW_H(D, F) + hidden, first, sums);
}

// The result of factor i for channel c, float `at` of a row's vectors.
void emit(uint i, uint at, uint c, float lora, inout float square)
{
	if (i == 0) {
		float w = exp(-DECAY_SCALE * sigmoid(vector(VEC_DECAY, c) + lora));
		result[at + ROW_W(D)] = w;
		result[at + ROW_WR(D)] = w * READ_ACT(at + ROW_R(D));
	} else if (i == 1) {
		float kk = READ_ACT(at + ROW_K(D)) * vector(VEC_K_K, c);
		square += kk * kk;
		result[at + ROW_KK(D)] = kk;
		result[at + ROW_B(D)] = sigmoid(vector(VEC_A0, c) + lora);
	} else if (i == 2) {
		result[at + ROW_GATE(D)] = lora;
	} else {
		float v = READ_ACT(at + ROW_V(D));
		if (layer == 0)
			result[at + ROW_VFIRST(D)] = v;
		else
			result[at + ROW_V(D)] = v + (READ_ACT(at + ROW_VFIRST(D)) - v) * sigmoid(vector(VEC_V0, c) + lora);
	}
}

void main()
{
	uint first = gl_WorkGroupID.x * ROWS, head = gl_WorkGroupID.y, count = min(row_count() - min(first, row_count()), ROWS);
	if (count == 0)
		return;
	vec4 squares[QUADS];
	[[unroll]] for (uint i = 0; i < QUADS; i++)
		squares[i] = vec4(0);
	for (uint from = 0; from < N; from += WORKGROUP) {
		uint n = min(from + thread, N - 1), c = head * N + n, own = from + thread < N ? count : 0;
		float lora[ROWS];
		[[dont_unroll]] for (uint i = 0; i < LORAS; i++) { // the code of a factor once
			factor_rows(head, i, n, first, lora);
			[[unroll]] for (uint j = 0; j < ROWS; j++)
				if (j < own)
					emit(i, row_at(first + j) + c, c, lora[j], squares[j / 4][j % 4]);
		}
	}

	[[unroll]] for (uint i = 0; i < QUADS; i++)
		squares[i] = workgroup_sum(squares[i]);
	[[dont_unroll]] for (uint j = 0; j < count; j++) {
		float square = 0;
		[[unroll]] for (uint k = 0; k < ROWS; k++) // an index unknown to the compiler would force the sums out of registers
			square = k == j ? squares[k / 4][k % 4] : square;
		float inverse = 1 / max(sqrt(square), 1e-12);
		uint at = row_at(first + j) + head * N;
		vec4 dots = vec4(0);
		for (uint n = thread; n < N; n += WORKGROUP) { // what this thread has written
			uint c = head * N + n;
			float A = result[at + ROW_B(D) + n], kk = result[at + ROW_KK(D) + n] * inverse, b = kk * A;
			float r = READ_ACT(at + ROW_R(D) + n), k = result[at + ROW_K(D) + n] * (1 + (A - 1) * vector(VEC_K_A, c));
			result[at + ROW_KK(D) + n] = kk;
			result[at + ROW_B(D) + n] = b;
			result[at + ROW_K(D) + n] = k;
			dots += vec4(b * r, k * r, r * k * vector(VEC_R_K, c), 0);
		}
		[[unroll]] for (uint i = 0; i < 3; i++) // one by one: together they take more registers than some devices have
			dots[i] = workgroup_sum(dots[i]);
		if (thread == 0)
			result4[(row_at(first + j) + ROW_DOTS(D)) / 4 + head] = dots;
	}
}
