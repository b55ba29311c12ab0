// The first stage of an RWKV-4 layer: LN1, token shift, receptance, key, value, and all of its state, which is a few numbers
// per channel.  So the workgroup that has a channel's three products can finish it without another stage.
//
//   r = sigmoid(receptance x_r)    k = key x_k    v = value x_v               x_q = n + (n' - n) * mix_q,  n = LN(x; ln1)
//   q = max(pp, u + k);   wkv = (e^(pp-q) aa + e^(u+k-q) v) / (e^(pp-q) bb + e^(u+k-q));   y = r wkv
//   q = max(pp + w, k);   aa, bb, pp <- e^(pp+w-q) aa + e^(k-q) v,  e^(pp+w-q) bb + e^(k-q),  q
//
// The three matrices are interleaved tile by tile: 8 rows of receptance, the same 8 of key, the same 8 of value.  Reads ACT_X,
// the state; writes ACT_Y, aa, bb, pp, and n to ACT_N1.  Recorded by plan_att_wkv() in src/engine/rwkv4.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#include "common/matvec.glsl"

const uint RECEPTANCE = 0, KEY = 1, VALUE = 2, MATRICES = 3;
shared float s_product[MATRICES * PASS_ROWS];
uint matrix, pass_begin;

void emit(uint row, float value)
{
	s_product[matrix * PASS_ROWS + row - pass_begin] = value;
}

// One product of this pass's channels, which begin at row_begin / 3 + the channels of earlier passes.
void product(uint channel)
{
	uint J = input_per_word(WEIGHT_TYPE), words = row_words(WEIGHT_TYPE, D), c = channel + first_row;
	uint row = (c / 8 * MATRICES + matrix) * 8 + c % 8 - row_begin; // within the slice
	uint mix = matrix == RECEPTANCE ? VEC_MIX_R : matrix == KEY ? VEC_MIX_K : VEC_MIX_V;
	clear_sums();
	for (uint from = 0; from < D; from += CHUNK) {
		barrier();
		stage_shifted(from, J, VEC_LN1_W, state_slot() + STATE_ATT_X, mix);
		STAGE_BARRIER();
		uint skip = from / (4 * J);
		if (c < row_end / MATRICES)
			first_dot(row, words, skip, min(words - skip, CHUNK / (4 * J)));
	}
	emit_sums(channel);
}

void advance(uint c, float r, float k, float v)
{
	uint slot = state_slot();
	float aa = state[slot + STATE_AA(D) + c], bb = state[slot + STATE_BB(D) + c], pp = state[slot + STATE_PP(D) + c];
	float bonus = vector(VEC_BONUS, c) + k, q = max(pp, bonus), e1 = exp(pp - q), e2 = exp(bonus - q);
	result[ACT_Y(D) + c] = sigmoid(r) * (e1 * aa + e2 * v) / (e1 * bb + e2);
	float past = pp + vector(VEC_DECAY, c);
	q = max(past, k);
	e1 = exp(past - q);
	e2 = exp(k - q);
	state[slot + STATE_AA(D) + c] = e1 * aa + e2 * v;
	state[slot + STATE_BB(D) + c] = e1 * bb + e2;
	state[slot + STATE_PP(D) + c] = q;
}

void main()
{
	if (done())
		return;
	norm_statistics();
	store_normed(VEC_LN1_W, ACT_N1(D));
	for (uint pass = 0; pass < PASSES; pass++) {
		pass_begin = row_begin / MATRICES + (gl_WorkGroupID.x * PASSES + pass) * PASS_ROWS;
		if (pass_begin >= row_end / MATRICES)
			break;
		for (matrix = 0; matrix < MATRICES; matrix++)
			product(pass_begin);
		barrier();
		for (uint i = thread; i < PASS_ROWS; i += WORKGROUP)
			if (pass_begin + i < min(row_end / MATRICES, D))
				advance(pass_begin + i, s_product[i], s_product[KEY * PASS_ROWS + i], s_product[VALUE * PASS_ROWS + i]);
	}
}
