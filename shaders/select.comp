// Before the first layer, one workgroup: which token is fed, and its embedding.
//
//   token = the host's, or the id of the largest logit of the last head (lowest id on ties)
//   x     = LN(emb[token]; ln0)
//
// Also tells the later stages the state's slot, and whether the token ends the text.  An embedding table of several slices has a dispatch for each; the one
// that holds the token's row writes x.  Recorded by plan_select() in src/model/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#define INPUT(u, J, j) vec4(0) // nothing is multiplied here
#include "common/matvec.glsl"

layout(set = 0, binding = 7) buffer Io { uint io[]; };
shared float s_best[WORKGROUP];
shared uint s_best_id[WORKGROUP];

void emit(uint row, float value)
{
}

uint argmax()
{
	float best = -3.402823466e38;
	uint best_id = 0xffffffffu;
	for (uint i = thread; i < io[IO_PARTS]; i += WORKGROUP) {
		uint at = ACT_PART(D, F) + 2 * i, id = act_word[at + 1];
		float value = act[at];
		if (value > best || (value == best && id < best_id)) {
			best = value;
			best_id = id;
		}
	}
	s_best[thread] = best;
	s_best_id[thread] = best_id;
	barrier();
	for (uint i = 0; i < WORKGROUP; i++)
		if (s_best[i] > best || (s_best[i] == best && s_best_id[i] < best_id)) {
			best = s_best[i];
			best_id = s_best_id[i];
		}
	return best_id;
}

// Channels 4i .. 4i+3 of row `row` of the bound slice, which is laid out like any other matrix.
vec4 embedding(uint row, uint i)
{
	uint J = input_per_word(WEIGHT_TYPE), u = i / J, p = row / 8 * 8 * row_words(WEIGHT_TYPE, D) + u / 8 * 64 + row % 8 * 8 + u % 8;
	uint beside = p / 8 * SIDE_WORDS(WEIGHT_TYPE);
	uvec4 w = weights[p];
	if (WEIGHT_TYPE == TYPE_F32)
		return uintBitsToFloat(w);
	if (WEIGHT_TYPE == TYPE_Q8) {
		int q = int(w[i % 4]);
		vec2 pair = unpackHalf2x16(side[beside + u % 8 / 4]);
		return vec4(q << 24 >> 24, q << 16 >> 24, q << 8 >> 24, q >> 24) * ((u & 2) == 0 ? pair.x : pair.y);
	}
	if (WEIGHT_TYPE > TYPE_Q8) {
		uint word = i % 8 / 2, q = dot_integers(w, dot_high_bits(beside, u % 8), i % 2)[word];
		vec4 scale = dot_scale_min(beside, u % 8);
		vec2 scale_min = word < 2 ? scale.xy : scale.zw;
		return scale_min.x * (vec4(q & 255u, q >> 8 & 255u, q >> 16 & 255u, q >> 24) - dot_zero()) - scale_min.y;
	}
	uvec2 h = i % 2 == 0 ? w.xy : w.zw;
	if (WEIGHT_TYPE == TYPE_F16)
		return vec4(unpackHalf2x16(h.x), unpackHalf2x16(h.y));
	return uintBitsToFloat(uvec4(h.x << 16, h.x & 0xffff0000u, h.y << 16, h.y & 0xffff0000u));
}

void main()
{
	uint token = io[IO_TOKEN], stop = 0;
	if (io[IO_MODE] == MODE_ARGMAX) {
		token = argmax();
		stop = uint(token >= V); // nothing was a number
		for (uint i = 0; i < io[IO_STOP_COUNT]; i++)
			stop |= uint(io[IO_STOPS + i] == token);
	}
	if (thread == 0 && first_slice == 1) {
		io[IO_PICKED] = token;
		io[IO_DONE] = stop;
		result_word[ACT_CONTROL + CONTROL_SLOT] = io[IO_SLOT];
		result_word[ACT_CONTROL + CONTROL_DONE] = stop;
	}
	if (stop == 1 || token < row_begin || token >= row_end)
		return; // the same for all threads

	float mean = 0, scale = 1;
	if (flag(FLAG_EMBEDDING_NORM)) {
		float sum = 0;
		for (uint i = thread; i < D / 4; i += WORKGROUP) {
			vec4 e = embedding(token - row_begin, i);
			sum += (e.x + e.y) + (e.z + e.w);
		}
		mean = workgroup_sum(sum) / float(D);
		sum = 0;
		for (uint i = thread; i < D / 4; i += WORKGROUP) {
			vec4 d = embedding(token - row_begin, i) - mean;
			sum += dot(d, d);
		}
		scale = 1 / sqrt(workgroup_sum(sum) / float(D) + 1e-5);
	}
	for (uint i = thread; i < D / 4; i += WORKGROUP) {
		vec4 e = embedding(token - row_begin, i);
		if (flag(FLAG_EMBEDDING_NORM))
			e = (e - mean) * scale * vectors4[VEC_LN0_W * DP / 4 + i] + vectors4[VEC_LN0_B * DP / 4 + i];
		result4[ACT_X / 4 + i] = e;
	}
}
