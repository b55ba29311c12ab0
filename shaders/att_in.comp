// Stage 1 of a layer: LN1, token shift, and all seven products that need nothing else.
//
//   n   = LN(x; ln1)                      x_q = n + (n' - n) * mix_q          n' from the state
//   r   = receptance x_r    k = key x_k    v = value x_v                      [D,D] each, one matrix of 3 PAD(D,8) rows
//   h   = tanh(w1 x_w), a1 x_a, sigmoid(g1 x_g), v1 x_v                       [rank,D] each, one matrix, ranks padded to 8
//
// Reads ACT_X, the shift state, the layer's vectors; writes ACT_R, ACT_K, ACT_V, ACT_H, and n to ACT_N1: stage 2 moves it
// into the state, which other workgroups of this stage still read.  Recorded by att_in() in src/model/rwkv7.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#define WITH_LORA
#define INPUT(u, J, j) s_input[((u) / 8 * J + j) * 8 + (u) % 8]
#include "common/matvec.glsl"

const uint RECEPTANCE = 0, KEY = 1, VALUE = 2, DECAY = 3, ICLR = 4, GATE = 5, VALUE_MIX = 6, MATRICES = 7;
const uint DP8 = PAD(D, 8);

uint matrix;              // which of the seven this workgroup works on
uint begin, end;          // its rows within that matrix

// Rows of matrix m that this dispatch has.
void slice(uint m)
{
	if (m <= VALUE) {
		begin = max(row_begin, m * DP8) - m * DP8;
		end = min(row_end - min(row_end, m * DP8), D);
	} else {
		uint rank = m == DECAY ? RANK_DECAY : m == ICLR ? RANK_ICLR : m == GATE ? RANK_GATE : RANK_VALUE;
		begin = 0;
		end = first_slice * rank;
	}
}

uint first_hidden() // of the LoRA factor `matrix`
{
	uint at = 0;
	if (matrix > DECAY)
		at += PAD(RANK_DECAY, 8);
	if (matrix > ICLR)
		at += PAD(RANK_ICLR, 8);
	if (matrix > GATE)
		at += PAD(RANK_GATE, 8);
	return at;
}

uint mix_vector()
{
	return matrix == RECEPTANCE ? VEC_MIX_R : matrix == KEY ? VEC_MIX_K : matrix == DECAY ? VEC_MIX_W :
	       matrix == ICLR ? VEC_MIX_A : matrix == GATE ? VEC_MIX_G : VEC_MIX_V;
}

void emit(uint row, float value)
{
	if (row >= end)
		return;
	if (matrix == RECEPTANCE)
		result[ACT_R(D) + row] = value;
	else if (matrix == KEY)
		result[ACT_K(D) + row] = value;
	else if (matrix == VALUE)
		result[ACT_V(D) + row] = value;
	else
		result[ACT_H(D) + first_hidden() + row] = matrix == DECAY ? tanh_safe(value) : matrix == GATE ? sigmoid(value) : value;
}

// Channels [from, from + CHUNK) of the shifted input.
void stage_input(uint from, uint J)
{
	uint shift = state_slot() + STATE_ATT_X, mix = mix_vector() * DP;
	for (uint i = thread; i < CHUNK / 4; i += WORKGROUP) {
		uint c = from / 4 + i;
		vec4 value = vec4(0);
		if (c < D / 4) {
			vec4 n = normed(c, VEC_LN1_W * DP);
			value = n + (state4[shift / 4 + c] - n) * vectors4[mix / 4 + c];
		}
		s_input[staged(i, J)] = value;
	}
}

void main()
{
	if (done())
		return;
	norm_statistics();
	if (gl_WorkGroupID.x == 0 && first_slice == 1)
		for (uint i = thread; i < D / 4; i += WORKGROUP)
			result4[ACT_N1(D) / 4 + i] = normed(i, VEC_LN1_W * DP);

	// Workgroups go to the matrices in order, so that all rows of one share an input.
	uint group = gl_WorkGroupID.x;
	for (matrix = 0; matrix < MATRICES; matrix++) {
		slice(matrix);
		uint groups = end > begin ? (end - begin + PASS_ROWS * PASSES - 1) / (PASS_ROWS * PASSES) : 0;
		if (group < groups)
			break;
		group -= groups;
	}
	if (matrix == MATRICES)
		return;

	bool is_lora = matrix > VALUE;
	uint type = is_lora ? LORA_TYPE : WEIGHT_TYPE;
	uint J = input_per_word(type), words = row_words(type, D);
	uint matrix_row = is_lora ? first_hidden() : matrix * DP8 - row_begin; // within what is bound; may wrap below 0
	for (uint pass = 0; pass < PASSES; pass++) {
		uint pass_row = begin + (group * PASSES + pass) * PASS_ROWS;
		if (pass_row >= end)
			break;
		clear_sums();
		for (uint from = 0; from < D; from += CHUNK) {
			if (CHUNK < D || pass == 0) {
				barrier();
				stage_input(from, J);
				barrier();
			}
			uint row = matrix_row + pass_row + first_row, skip = from / (4 * J), count = min(words - skip, CHUNK / (4 * J));
			if (pass_row + first_row < end) {
				if (is_lora)
					dot_lora_rows(row, words, skip, count);
				else
					dot_rows(row, words, skip, count);
			}
		}
		emit_sums(pass_row);
	}
}
