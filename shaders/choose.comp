// The first dispatch of a pass over rows whose tokens the device finds, a workgroup per row.  It decides which token the row
// has, and whether the row is still in use.
//
//   token = the host's, or one picked from the slot's logits: the largest (lowest id on ties), or drawn (draw.glsl)
//
// Logits come from the head and are adjusted here: the host's mask and list of biases, or the slot's row of biases, then
// penalties.  log P(token) and the largest are of the softmax of the adjusted logits at temperature 1, before top-p and top-k.
// The picked token is added to the slot's counts.  Tokens of one submission follow each other without the host: IO_FED of each
// row counts them, and a row that has ended drops out (ASK in layout.h).
//
// Binding 1 is the rows' buffer, whose table is written here for the stages after it; binding 7 the host's table.  A workgroup
// reads nothing that depends on other rows.  Recorded by plan_choose() in src/engine/batch_plan.c.
//
// Sums go through shared memory on all devices, as in select.comp.  Loops over the vocabulary are few or unrolled: lavapipe
// gives an invocation 65,535 turns of all its loops (docs/drivers.md).
#version 450
#extension GL_GOOGLE_include_directive : require
#undef SUBGROUPS
#undef TEXELS
#define SUBGROUPS 0
#define TEXELS 0
#include "common/stage.glsl"
uint words_at;
#define WORDS_AT words_at
#include "common/pick.glsl"

// ------------------------------------------------------------------------------------------------------- biases

// One thread for each token of those of the list that lie in s_id and s_logit: its biases in the list's order, with the
// roundings of sampler_add_biases() in src/session/sampler.c.
void add_listed(uint count)
{
	uint id = s_id[thread];
	for (uint i = 0; i < thread; i++)
		if (s_id[i] == id)
			return;
	precise float bias = picks[picks_at + PICKS_LOGITS + id];
	for (uint i = thread; i < count; i++)
		if (s_id[i] == id) {
			bool banned = minus_infinity(bias) || minus_infinity(s_logit[i]);
			bias += s_logit[i];
			bias = banned ? -INFINITE : clamp(bias, -LARGEST, LARGEST);
		}
	picks[picks_at + PICKS_LOGITS + id] = bias;
}

void add_list()
{
	uint all = word(ASK_BIAS_COUNT);
	for (uint first = 0; first < all; first += WORKGROUP) {
		uint count = min(all - first, WORKGROUP);
		if (thread < count) {
			s_id[thread] = word(ASK_BIASES + 2 * (first + thread));
			s_logit[thread] = io_float(ASK_BIASES + 2 * (first + thread) + 1);
		}
		memoryBarrierBuffer();
		barrier();
		if (thread < count)
			add_listed(count);
		memoryBarrierBuffer();
		barrier();
	}
}

// With a mask or a list: the number to add to each logit, to PICKS_LOGITS, where the adjusted logits then replace it.
void make_biases(uint pick)
{
	bool row = (pick & PICK_BIAS) != 0 && word(ASK_BIAS_COUNT) == 0;
	for (uint i = thread; i < V4(V) / 32; i += WORKGROUP) {
		uint allowed = (pick & PICK_MASK) != 0 ? word(ASK_MASK + i) : 0xffffffffu;
		[[dont_unroll]] for (uint j = 0; j < 32; j++) {
			float bias = row ? picks[picks_at + PICKS_BIAS(V) + 32 * i + j] : 0;
			picks[picks_at + PICKS_LOGITS + 32 * i + j] = (allowed >> j & 1) != 0 ? bias : -INFINITE;
		}
	}
	if ((pick & PICK_BIAS) != 0)
		add_list();
	memoryBarrierBuffer();
	barrier();
}

// ------------------------------------------------------------------------------------------------------- likelihood

// log x of x >= 1 to the last bit or two, the same on all devices.
float logarithm(float x)
{
	uint bits = floatBitsToUint(x);
	float e = float(int(bits >> 23) - 127), m = uintBitsToFloat((bits & 0x7fffffu) | 0x3f800000u);
	if (m > 1.41421356) {
		m *= 0.5;
		e += 1;
	}
	precise float t = m - 1, z = t * t, y = 7.0376836292e-2;
	y = y * t - 1.1514610310e-1;
	y = y * t + 1.1676998740e-1;
	y = y * t - 1.2420140846e-1;
	y = y * t + 1.4249322787e-1;
	y = y * t - 1.6668057665e-1;
	y = y * t + 2.0000714765e-1;
	y = y * t - 2.4999993993e-1;
	y = y * t + 3.3333331174e-1;
	y = y * t * z;
	y -= e * 2.12194440e-4;
	y -= 0.5 * z;
	y += t;
	y += e * 0.693359375;
	return y;
}

// A logit as the logarithm of its token's probability.
float log_share(float logit, float log_all)
{
	return max(logit - drawing.largest - log_all, -LARGEST);
}

// Reports the place-th largest logit to the host; id NO_ROW if there are no more.
void write_top(uint fed, uint place, uint id, float logit, float log_all)
{
	uint at = words_at + ASK_TOPS + 2 * (MAX_TOP * fed + place);
	io[at] = id;
	io[at + 1] = floatBitsToUint(log_share(logit, log_all));
}

// Ranks the tokens of the bins up to `last`; the list holds `count`.  A token's place is the number of tokens before it.
void rank_listed(uint last, uint count, uint fed, uint top, float log_all)
{
	if (thread == 0)
		s_count = 0;
	barrier();
	list_bins(last);
	barrier();
	for (uint i = thread; i < count; i += WORKGROUP) {
		float logit = s_logit[i];
		uint id = s_id[i], place = 0;
		[[dont_unroll]] for (uint j = 0; j < count; j++)
			place += uint(s_logit[j] > logit || (s_logit[j] == logit && s_id[j] < id));
		if (place < top)
			write_top(fed, place, id, logit, log_all);
	}
}

// One after the other, if the list cannot hold them or few are near the largest.
void find_each(uint fed, uint top, float log_all)
{
	float logit = INFINITE;
	uint id = 0;
	[[dont_unroll]] for (uint place = 0; place < top; place++) {
		best = -INFINITE;
		best_id = PART_NONE;
		for (uint first = thread; first < V; first += 4 * WORKGROUP)
			[[unroll]] for (uint j = 0; j < 4; j++) {
				uint i = first + j * WORKGROUP;
				float x = i < V ? picks[picks_at + PICKS_LOGITS + i] : -INFINITE;
				if (x < logit || (x == logit && i > id))
					see(x, i);
			}
		share_best();
		logit = best;
		id = best_id;
		if (thread == 0)
			write_top(fed, place, id, logit, log_all);
	}
}

void report_top(uint fed, uint top, float log_all)
{
	uint count = 0, last = 0;
	for (; last < BINS && count < top; last++)
		count += s_bins[last];
	if (count >= top && count <= LISTED)
		rank_listed(last - 1, count, fed, top, log_all);
	else
		find_each(fed, top, log_all);
}

void report_likelihoods(uint fed, uint token)
{
	float log_all = logarithm(drawing.all);
	if (thread == 0)
		io[words_at + ASK_LOGPROBS + fed] = floatBitsToUint(log_share(picks[picks_at + PICKS_LOGITS + token], log_all));
	uint top = min(word(ASK_TOP), min(MAX_TOP, V));
	if (top > 0)
		report_top(fed, top, log_all);
}

// ------------------------------------------------------------------------------------------------------- the token

void find_largest(uint pick)
{
	float presence = io_float(IO_PRESENCE), frequency = io_float(IO_FREQUENCY);
	bool kept = (pick & (PICK_DRAW | PICK_LOGPROB)) != 0;
	uint biases = picks_at + PICKS_BIAS(V);
	if ((pick & PICK_MASK) != 0 || ((pick & PICK_BIAS) != 0 && word(ASK_BIAS_COUNT) != 0)) {
		make_biases(pick);
		biases = picks_at + PICKS_LOGITS;
		pick |= PICK_BIAS;
	}
	for (uint i = thread; i < V; i += WORKGROUP) {
		uint id;
		float logit = bare_logit(i, pick, biases, presence, frequency, kept, id);
		see(logit, id);
	}
	find_best();
}

uint pick_token(uint fed, out uint done, out bool is_close)
{
	uint pick = word(IO_PICK);
	bool draws = (pick & PICK_DRAW) != 0;
	picks_at = PICKS_SLOT(V, word(IO_SLOT));
	find_largest(pick);
	is_close = false;
	done = best_id < V ? 0 : best_id == PART_NONE && (pick & PICK_MASK) != 0 ? DONE_MASKED : DONE_BROKEN;
	if (done != 0)
		return best_id;
	survey(best, (pick & PICK_LOGPROB) != 0 || (draws && is_cut(io_float(IO_TOP_P), word(IO_TOP_K))));
	uint token = draws ? draw_token(fed, is_close) : best_id;
	done = stops(token) ? DONE_STOP : 0;
	if ((pick & PICK_LOGPROB) != 0)
		report_likelihoods(fed, token);
	return token;
}

// For the host.
void report(uint fed, uint token, uint done, bool is_close)
{
	io[words_at + IO_PICKED] = token;
	io[words_at + IO_DONE] = done;
	io[words_at + IO_CLOSE] += uint(is_close);
	if (done != 0)
		return;
	io[words_at + IO_TOKENS + fed] = token;
	io[words_at + IO_FED] = fed + 1;
}

// Updates the counts of all tokens after a pick.
void count_token(uint token)
{
	float decay = io_float(IO_DECAY), weight = weight_of(token);
	for (uint i = thread; i < V; i += WORKGROUP) {
		uint at = picks_at + PICKS_COUNT(V) + i;
		float count = picks[at];
		if (count >= 0 || i == token)
			picks[at] = stepped_count(count, decay, weight, i == token);
	}
}

// The row's current token; NO_ROW: it has ended.  The same for all threads.
uint next_token()
{
	uint fed = word(IO_FED), done = word(IO_DONE), token = NO_ROW;
	if (fed >= min(word(ASK_MOST), MAX_TOKENS) || (done != 0 && done != DONE_UNKNOWN))
		return NO_ROW;
	bool is_close = false;
	done = 0;
	if (word(IO_MODE) == MODE_PICK)
		token = pick_token(fed, done, is_close);
	else
		token = word(IO_TOKENS + fed);
	barrier(); // until all have read IO_FED
	if (thread == 0)
		report(fed, token, done, is_close);
	if (done != 0)
		return NO_ROW;
	if (word(IO_MODE) == MODE_PICK && (word(IO_PICK) & PICK_PENALTY) != 0) // read again: keeping it would spill registers
		count_token(token);
	return token;
}

// The table for later stages: the row, the run that begins with it, its place among the wanted rows.
void write_row(uint row, uint token)
{
	bool ended = token == NO_ROW;
	uint runs = io[TABLE_RUNS], wanted = io[TABLE_WANTED];
	for (uint i = thread; i < runs; i += WORKGROUP)
		if (io[TABLE_RUN(i) + RUN_FIRST] == row) {
			result_word[TABLE_RUN(i) + RUN_SLOT] = io[TABLE_RUN(i) + RUN_SLOT];
			result_word[TABLE_RUN(i) + RUN_FIRST] = row;
			result_word[TABLE_RUN(i) + RUN_ROWS] = ended ? 0 : io[TABLE_RUN(i) + RUN_ROWS];
		}
	for (uint i = thread; i < wanted; i += WORKGROUP)
		if (io[TABLE_WANT(i)] == row)
			result_word[TABLE_WANT(i)] = ended ? NO_ROW : row;
	if (thread != 0)
		return;
	result_word[TABLE_ROW(row) + ROW_SLOT] = io[TABLE_ROW(row) + ROW_SLOT];
	result_word[TABLE_ROW(row) + ROW_TOKEN] = token;
	result_word[TABLE_ROW(row) + ROW_BEFORE] = io[TABLE_ROW(row) + ROW_BEFORE];
	result_word[TABLE_ROW(row) + ROW_LAST] = ended ? 0 : io[TABLE_ROW(row) + ROW_LAST];
	if (row != 0)
		return;
	result_word[TABLE_ROWS] = io[TABLE_ROWS];
	result_word[TABLE_RUNS] = runs;
	result_word[TABLE_WANTED] = wanted;
	io[TABLE_DONE] = io[TABLE_ROWS];
}

void main()
{
	uint row = gl_WorkGroupID.x;
	if (row >= io[TABLE_ROWS])
		return;
	words_at = ASK(row, V);
	uint token = next_token();
	write_row(row, token);
}
