// Before the first layer, one workgroup: which token is fed, and its embedding.
//
//   token = the host's, or one picked from the logits of the last head: the largest (lowest id on ties), or drawn (draw.glsl)
//   x     = LN(emb[token]; ln0)
//
// Also passes to later stages the state's slot, whether the token ends the text, and the head's treatment of its logits. Tokens
// of one submission follow each other without the host: IO_FED counts them, and after the last all stages of the others do
// nothing.  An embedding table of several slices has a dispatch for each; the first picks, the one that holds the token's row
// writes x.  Recorded by plan_select() in src/engine/plan.c.
//
// Sums go through shared memory on all devices.  So they are equal everywhere; and for devices without subgroup sums, some
// compilers turn one into a dozen loops.
#version 450
#extension GL_GOOGLE_include_directive : require
#undef SUBGROUPS
#undef TEXELS
#define SUBGROUPS 0
#define TEXELS 0
#include "common/stage.glsl"
#include "common/packed.glsl"
#include "common/first.glsl"
#include "common/values.glsl"
#define WORDS_AT 0
#include "common/pick.glsl"

// The largest logit and its id, or PART_*.  From the bare logits, or where the head has made them ready, from its parts.
void find_largest(bool bare)
{
	uint count = bare ? V : io[IO_PARTS], pick = io[IO_PICK];
	picks_at = PICKS_SLOT(V, io[IO_SLOT]);
	for (uint i = thread; i < count; i += WORKGROUP) {
		uint id;
		float logit;
		if (bare) {
			logit = bare_logit(i, pick, picks_at + PICKS_BIAS(V), io_float(IO_PRESENCE), io_float(IO_FREQUENCY),
			                   (pick & PICK_DRAW) != 0, id);
		} else {
			uint at = picks_at + PICKS_PART(V) + 2 * i;
			logit = uintBitsToFloat(picks_word[at]);
			id = picks_word[at + 1];
		}
		see(logit, id);
	}
	find_best();
}

uint pick_token(uint fed, out uint done, out bool is_close)
{
	is_close = false;
	find_largest(io[IO_BARE] == 1 && fed == 0);
	done = best_id >= V ? DONE_BROKEN : 0;
	if (done != 0)
		return best_id;
	uint token = best_id;
	if ((io[IO_PICK] & PICK_DRAW) != 0) {
		survey(best, is_cut(io_float(IO_TOP_P), io[IO_TOP_K]));
		token = draw_token(fed, is_close);
	}
	if (stops(token))
		done = DONE_STOP;
	return token;
}

// For the later stages and the host.
void report(uint fed, uint token, uint done, bool is_close)
{
	io[IO_PICKED] = token;
	io[IO_DONE] = done;
	io[IO_CLOSE] += uint(is_close);
	result_word[ACT_CONTROL + CONTROL_SLOT] = io[IO_SLOT];
	result_word[ACT_CONTROL + CONTROL_DONE] = done;
	result_word[ACT_CONTROL + CONTROL_TOKEN] = token;
	result_word[ACT_CONTROL + CONTROL_PICK] = io[IO_MODE] == MODE_PICK ? io[IO_PICK] : 0;
	if (done != 0)
		return;
	io[IO_TOKENS + fed] = token;
	io[IO_FED] = fed + 1;
	result[ACT_CONTROL + CONTROL_WEIGHT] = weight_of(token);
	result_word[ACT_CONTROL + CONTROL_PRESENCE] = io[IO_PRESENCE];
	result_word[ACT_CONTROL + CONTROL_FREQUENCY] = io[IO_FREQUENCY];
	result_word[ACT_CONTROL + CONTROL_DECAY] = io[IO_DECAY];
}

// Channels 4i .. 4i+3 of row `row` of the bound slice, which is laid out like any other matrix.
vec4 embedding(uint row, uint i)
{
	uint J = input_per_word(WEIGHT_TYPE), u = i / J, p = row / 8 * 8 * row_words(WEIGHT_TYPE, D) + u / 8 * 64 + row % 8 * 8 + u % 8;
	uint beside = p / 8 * SIDE_WORDS(WEIGHT_TYPE);
	uvec2 high = WEIGHT_TYPE > TYPE_Q8 ? first_high_bits(beside, u % 8) : uvec2(0);
	return first_quarter(weights[p], high, first_scales(beside, u % 8), i % J);
}

// The token to feed; false when nothing is fed.  The same for all threads.
bool next_token(out uint token)
{
	token = act_word[ACT_CONTROL + CONTROL_TOKEN];
	uint done = act_word[ACT_CONTROL + CONTROL_DONE], fed = io[IO_FED];
	if (first_slice != 1 || (fed != 0 && done != 0))
		return done == 0; // the first slice's dispatch has it, or the submission's text has ended
	bool is_close = false;
	if (io[IO_MODE] == MODE_PICK) {
		token = pick_token(fed, done, is_close);
	} else {
		token = io[IO_TOKENS + fed];
		done = 0;
	}
	barrier(); // until all have read IO_FED
	if (thread == 0)
		report(fed, token, done, is_close);
	return done == 0;
}

void main()
{
	uint token;
	if (!next_token(token) || token < row_begin || token >= row_end)
		return; // the same for all threads

	vec4 sum = vec4(0);
	for (uint i = thread; i < D / 4; i += WORKGROUP) {
		vec4 e = embedding(token - row_begin, i);
		sum += e;
		result4[ACT_X / 4 + i] = e;
	}
	if (!flag(FLAG_EMBEDDING_NORM))
		return;
	float mean = dot(workgroup_sum(sum), vec4(1)) / float(D);
	sum = vec4(0);
	for (uint i = thread; i < D / 4; i += WORKGROUP) {
		vec4 d = result4[ACT_X / 4 + i] - mean;
		sum += d * d;
	}
	float scale = 1 / sqrt(dot(workgroup_sum(sum), vec4(1)) / float(D) + 1e-5);
	for (uint i = thread; i < D / 4; i += WORKGROUP) {
		vec4 e = (result4[ACT_X / 4 + i] - mean) * scale;
		result4[ACT_X / 4 + i] = e * vectors4[VEC_LN0_W * DP / 4 + i] + vectors4[VEC_LN0_B * DP / 4 + i];
	}
}
