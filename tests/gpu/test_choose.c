/* Tokens of many rows at once, found on the device, against the sampler in plain C: the same tokens unless a draw was close,
 * their log-probabilities, the largest logits.  A row's bits are the same alone, among others and at another place, and what
 * other slots hold does not matter. */
#include "support.h"

#include <float.h>
#include <math.h>

#include "fill.h"
#include "logit_values.h"
#include "make_model.h"
#include "stage_values.h"
#include "engine/plan.h"
#include "session/session.h"

/* Only a head and an embedding of that many tokens. */
static const struct model_spec spec = {
	.layers = 1,
	.width = 32,
	.head_size = 32,
	.ffn = 32,
	.vocab = 65536,
	.rank_decay = 8,
	.rank_iclr = 8,
	.rank_gate = 8,
	.rank_value = 8,
	.type = DTYPE_F16,
	.lora_type = DTYPE_F16,
	.seed = 50,
};
enum { VOCAB = 65536, ROWS = 16, MOST = 4, STOPS = 8 };

/* A row of a submission and what its tokens are picked from; `masked` is what the host makes of logits and mask. */
struct text {
	rwkvk_session *session;
	rwkvk_sampling sampling;
	struct asking asking;
	uint32_t stops[STOPS], mask[VOCAB / 32];
	rwkvk_bias biases[MAX_BIASES];
	float logits[VOCAB], masked[VOCAB];
	struct occurrences before; /* the counts that it begins with */
	const char *what;
};

static rwkvk_model *model;
static struct text *texts; /* [ROWS] */
static struct gpu_buffer table;
static struct pass pass = { .rows = ROWS, .runs = ROWS, .table = &table };
static struct gpu_cmd *choose;
static uint32_t light[VOCAB / 32], picked, close_draws, different;
static float adjusted[VOCAB];

static uint32_t *words_at(uint32_t row)
{
	return (uint32_t *)table.mapped + ASK(row, VOCAB);
}

static bool has_bit(const uint32_t *bits, uint32_t i)
{
	return bits[i / 32] >> i % 32 & 1;
}

static float float_of(uint32_t word)
{
	float value;
	memcpy(&value, &word, sizeof value);
	return value;
}

/* ------------------------------------------------------------------------------------------------------ what goes in */

/* Counts and biases of the text to the device. */
static void write_slot(struct text *t)
{
	static float values[VOCAB];
	const uint32_t slot = t->session->slot;
	memcpy(slot_logits(model, slot), t->logits, sizeof t->logits);
	for (uint32_t i = 0; i < VOCAB; i++)
		values[i] = t->before.present[i] ? t->before.count[i] : -1;
	assert_ok(slot_write_counts(model, slot, values));
	memset(values, 0, sizeof values);
	if (!t->asking.bias_count)
		sampler_add_biases(&t->sampling, values);
	else
		poison(values, VOCAB); /* the list counts, not these */
	assert_ok(slot_write_biases(model, slot, values));
}

/* A run of one row whose logits are needed. */
static void write_row(uint32_t row, const struct text *t)
{
	uint32_t *words = table.mapped, slot = t->session->slot;
	words[TABLE_ROW(row) + ROW_SLOT] = words[TABLE_RUN(row) + RUN_SLOT] = slot;
	words[TABLE_ROW(row) + ROW_BEFORE] = NO_ROW;
	words[TABLE_ROW(row) + ROW_LAST] = words[TABLE_RUN(row) + RUN_ROWS] = 1;
	words[TABLE_RUN(row) + RUN_FIRST] = words[TABLE_WANT(row)] = row;
	ask_pick(model, row, words, slot, &t->asking);
}

static void write_sizes(uint32_t rows, uint32_t runs, uint32_t wanted)
{
	uint32_t *words = table.mapped;
	words[TABLE_ROWS] = rows;
	words[TABLE_RUNS] = runs;
	words[TABLE_WANTED] = wanted;
	words[TABLE_DONE] = 0;
}

/* Runs these texts as rows, each for so many tokens. */
static void run_texts(struct text *const *list, uint32_t count)
{
	memset(table.mapped, 0, sizeof(uint32_t) * table_words(model_config(model), ROWS));
	write_sizes(count, count, count);
	for (uint32_t i = 0; i < count; i++) {
		write_slot(list[i]);
		write_row(i, list[i]);
	}
	for (uint32_t i = 0; i < MOST; i++)
		assert_ok(gpu_cmd_run(choose));
	assert_int_equal(((const uint32_t *)table.mapped)[TABLE_DONE], count);
}

static void count_some(struct text *t, uint64_t *random)
{
	occurrences_clear(&t->before);
	for (uint32_t i = 0; i < 100; i++)
		occurrences_add(&t->before, test_random(random) % (i % 3 ? 300 : VOCAB), i % 4 ? 1 : 0, 0.95f);
}

/* Some biases, many for the same token, some that forbid it, and three whose sum is 0 unless one of them is infinite. */
static void add_biases(struct text *t, uint32_t count, uint64_t *random)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t token = test_random(random) % (i % 3 ? count / 2 + 1 : VOCAB);
		float value = 3 * test_uniform(random);
		t->biases[i] = (rwkvk_bias){ token, i % 50 == 7 ? -INFINITY : i % 90 == 8 ? -FLT_MAX : value };
	}
	for (uint32_t i = 0; i < 3 && count >= 3; i++)
		t->biases[count - 3 + i] = (rwkvk_bias){ VOCAB - 1, i < 2 ? FLT_MAX : -FLT_MAX };
	t->sampling.biases = t->biases;
	t->sampling.bias_count = count;
	t->asking.picking.pick |= PICK_BIAS;
	t->asking.biases = t->biases;
	t->asking.bias_count = count;
}

/* Every n-th token is allowed. */
static void add_mask(struct text *t, uint32_t every, uint64_t *random)
{
	memset(t->mask, 0, sizeof t->mask);
	for (uint32_t i = 0; i < VOCAB; i += 1 + test_random(random) % every)
		t->mask[i / 32] |= 1u << i % 32;
	t->asking.mask = t->mask;
}

static void finish_text(struct text *t)
{
	const rwkvk_sampling *s = &t->sampling;
	struct picking *p = &t->asking.picking;
	p->sampling = s;
	p->stops = t->stops;
	p->pick |= PICK_ON | (sampler_is_greedy(s) ? 0 : PICK_DRAW);
	p->pick |= s->presence != 0 || s->frequency != 0 ? PICK_PENALTY : 0;
	t->asking.most = t->asking.most ? t->asking.most : MOST;
	for (uint32_t i = 0; i < VOCAB; i++)
		t->masked[i] = t->asking.mask && !has_bit(t->mask, i) ? -INFINITY : t->logits[i];
}

/* Text number `turn`: the number decides how tokens are picked and what the logits are. */
static void make_text(struct text *t, uint32_t turn, uint64_t *random)
{
	static const float temperatures[] = { 1, 0, 0.3f, 1.9f, 0 }, top_ps[] = { 0.85f, 1, 0.3f, 0.999f };
	static const uint32_t top_ks[] = { 0, 40, 0, 3000, 65536 }, tops[] = { 20, 0, 5, 1 };
	const enum logit_shape shape = turn % SHAPES;
	t->sampling = (rwkvk_sampling){ .temperature = temperatures[turn % 5],
		                            .top_p = top_ps[turn / 5 % 4],
		                            .top_k = top_ks[turn / 3 % 5],
		                            .seed = turn * 0x123456789abcu,
		                            .presence = turn % 3 == 1 ? 0.5f : 0,
		                            .frequency = turn % 3 ? 0.7f - turn % 2 : 0,
		                            .decay = 0.9f };
	t->asking = (struct asking){ .most = 1 + turn % MOST, .top = tops[turn / 2 % 4] };
	t->asking.picking.position = turn % 7 ? turn : 0xfffffffeu; /* the low word overflows */
	t->asking.picking.pick = turn % 4 == 3 ? 0 : PICK_LOGPROB;
	t->what = logit_shapes[shape];
	fill_logits(t->logits, VOCAB, shape, random);
	count_some(t, random);
	if (turn % 4 >= 2)
		add_biases(t, turn % 8 == 2 ? MAX_BIASES : 1 + turn % 300, random);
	if (turn % 8 == 3)
		t->asking.bias_count = 0; /* those on the device */
	if (turn % 5 >= 3)
		add_mask(t, turn % 10 == 3 ? 20000 : 3, random);
	finish_text(t);
}

/* ------------------------------------------------------------------------------------------------------ what comes out */

/* The logits that tokens are picked from, made by the sampler on its way to the most probable one. */
static rwkvk_status adjust_logits(struct text *t)
{
	rwkvk_sampling greedy = t->sampling;
	uint32_t token;
	greedy.temperature = 0;
	rwkvk_status status = sampler_pick(&greedy, &t->session->seen, t->masked, 0, &token);
	memcpy(adjusted, t->session->seen.probability, sizeof adjusted);
	return status;
}

/* The next token after `last`: the largest logit, the lowest id; VOCAB: there is none. */
static uint32_t next_largest(uint32_t last)
{
	uint32_t best = VOCAB;
	for (uint32_t i = 0; i < VOCAB; i++) {
		bool after = last == VOCAB || adjusted[i] < adjusted[last] || (adjusted[i] == adjusted[last] && i > last);
		if (after && adjusted[i] > -INFINITY && (best == VOCAB || adjusted[i] > adjusted[best]))
			best = i;
	}
	return best;
}

static double log_of_sum(void)
{
	double largest = adjusted[next_largest(VOCAB)], sum = 0;
	for (uint32_t i = 0; i < VOCAB; i++)
		sum += exp(adjusted[i] - largest);
	return largest + log(sum);
}

/* Of the picked token and of the largest.  An f32 has 2^-24 of what it holds: the sum of up to 65536 terms is added up exactly
 * by each thread and then in 8 levels, so that its logarithm is off by 5e-7 at most, the logarithm's own last bits are of up to
 * 11, and two subtractions round once each.  Together that is 2^-21 of the largest number that is compared, or of log V = 11.
 */
static void check_likelihoods(const struct text *t, const uint32_t *words, uint32_t fed, uint32_t token)
{
	float got[2 + MAX_TOP] = { -11 }, want[2 + MAX_TOP] = { -11 };
	const uint32_t *tops = words + ASK_TOPS + 2 * MAX_TOP * fed;
	const double all = log_of_sum();
	uint32_t n = 2, last = VOCAB;
	got[1] = float_of(words[ASK_LOGPROBS + fed]);
	want[1] = (float)(adjusted[token] - all);
	for (uint32_t i = 0; i < t->asking.top; i++) {
		last = next_largest(last);
		if (last == VOCAB) {
			assert_int_equal(tops[2 * i], NO_ROW);
			break;
		}
		assert_int_equal(tops[2 * i], last);
		got[n] = float_of(tops[2 * i + 1]);
		want[n++] = (float)fmax(adjusted[last] - all, -FLT_MAX);
	}
	assert_close(t->what, got, want, n, 0x1p-21);
}

static bool stops_at(const struct text *t, uint32_t token)
{
	for (size_t i = 0; i < t->asking.picking.stop_count; i++)
		if (t->stops[i] == token)
			return true;
	return false;
}

/* The device's token number `fed`, which must be the sampler's unless the device reports a close draw. */
static uint32_t check_token(struct text *t, const uint32_t *words, uint32_t fed)
{
	const rwkvk_sampling *s = &t->sampling;
	uint32_t got = fed < words[IO_FED] ? words[IO_TOKENS + fed] : words[IO_PICKED], want;
	assert_ok(sampler_pick(s, &t->session->seen, t->masked, t->asking.picking.position + fed, &want));
	picked++;
	different += got != want;
	if (got != want && !words[IO_CLOSE])
		fail_msg("%s, token %u: temperature %g, top-p %g, top-k %u, %u biases, pick %#x: the device picks %u (%.9g), the host "
		         "%u (%.9g)",
		         t->what, fed, (double)s->temperature, (double)s->top_p, s->top_k, (unsigned)s->bias_count, words[IO_PICK], got,
		         (double)t->logits[got], want, (double)t->logits[want]);
	return got;
}

static void check_counts(const struct text *t)
{
	static float counts[VOCAB];
	const struct occurrences *seen = &t->session->seen;
	const uint64_t at = PICKS_SLOT((uint64_t)VOCAB, t->session->slot) + PICKS_COUNT(VOCAB);
	assert_ok(gpu_read(&model->picks, at * sizeof(float), counts, sizeof counts));
	for (uint32_t i = 0; i < VOCAB; i++)
		if (counts[i] != (seen->present[i] ? seen->count[i] : -1))
			fail_msg("%s: the count of token %u is %g instead of %g", t->what, i, (double)counts[i],
			         seen->present[i] ? (double)seen->count[i] : -1);
}

/* Everything that the row left behind, with the sampler repeating it token by token. */
static void check_text(struct text *t, const uint32_t *words)
{
	const struct picking *p = &t->asking.picking;
	struct occurrences *seen = &t->session->seen;
	bool stopped = false;
	uint32_t fed = 0;
	occurrences_copy(seen, &t->before);
	while (fed < t->asking.most && !stopped) {
		assert_ok(adjust_logits(t));
		uint32_t token = check_token(t, words, fed);
		if (p->pick & PICK_LOGPROB)
			check_likelihoods(t, words, fed, token);
		stopped = stops_at(t, token);
		if (!stopped && (p->pick & PICK_PENALTY))
			occurrences_add(seen, token, has_bit(light, token) ? 0 : 1, t->sampling.decay);
		fed += !stopped;
	}
	close_draws += words[IO_CLOSE];
	assert_int_equal(words[IO_FED], fed);
	assert_int_equal(words[IO_DONE], stopped ? DONE_STOP : 0);
	check_counts(t);
}

static void print_report(void)
{
	print_message("    %u tokens, %u close draws, %u different\n", picked, close_draws, different);
	picked = close_draws = different = 0;
}

/* ------------------------------------------------------------------------------------------------------ tests */

static void make_round(uint32_t round, struct text **list, uint64_t *random)
{
	for (uint32_t i = 0; i < ROWS; i++) {
		make_text(&texts[i], round * ROWS + i, random);
		list[i] = &texts[i];
	}
}

static void ways_of_picking(void **state)
{
	(void)state;
	struct text *list[ROWS];
	uint64_t random = 3;
	for (uint32_t round = 0; round < 15; round += test_every()) {
		make_round(round, list, &random);
		run_texts(list, ROWS);
		for (uint32_t i = 0; i < ROWS; i++)
			check_text(list[i], words_at(i));
	}
	print_report();
}

/* A text ends at its first token, its second, or not at all; the others continue. */
static void stops(void **state)
{
	(void)state;
	struct text *list[ROWS];
	uint64_t random = 17;
	make_round(1, list, &random);
	for (uint32_t i = 0; i < ROWS; i++)
		list[i]->asking.most = MOST;
	run_texts(list, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		for (uint32_t j = 0; j < STOPS; j++)
			list[i]->stops[j] = VOCAB + j;
		list[i]->stops[i % STOPS] = words_at(i)[IO_TOKENS + i % MOST];
		list[i]->asking.picking.stop_count = STOPS;
	}
	run_texts(list, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		check_text(list[i], words_at(i));
		assert_int_equal(words_at(i)[IO_DONE], DONE_STOP);
		list[i]->asking.picking.stop_count = 0;
	}
	print_report();
}

/* All slots' logits become NaN, except those of this text, which run_texts() writes. */
static void poison_logits(void)
{
	for (uint32_t i = 0; i < ROWS; i++)
		poison(slot_logits(model, texts[i].session->slot), VOCAB);
}

static void assert_same(const struct text *t, const uint32_t *got, const uint32_t *want)
{
	for (uint32_t i = 0; i < ASK_WORDS(VOCAB); i++)
		if (got[i] != want[i])
			fail_msg("%s: word %u of the row is %#x, among others it was %#x", t->what, i, got[i], want[i]);
}

static void one_row_and_many(void **state)
{
	(void)state;
	const size_t block = ASK_WORDS(VOCAB);
	uint32_t *together = malloc(ROWS * block * sizeof *together);
	struct text *list[ROWS], *turned[ROWS];
	uint64_t random = 23;
	make_round(2, list, &random);
	run_texts(list, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		memcpy(together + i * block, words_at(i), block * sizeof *together);
		turned[ROWS - 1 - i] = list[i];
	}
	run_texts(turned, ROWS);
	for (uint32_t i = 0; i < ROWS; i++)
		assert_same(list[i], words_at(ROWS - 1 - i), together + i * block);
	for (uint32_t i = 0; i < ROWS; i += test_every()) {
		poison_logits();
		run_texts(&list[i], 1);
		assert_same(list[i], words_at(0), together + i * block);
		occurrences_copy(&list[i]->session->seen, &list[i]->before);
	}
	free(together);
}

/* With the largest floats, equal ones, and zeros of both signs. */
static void extremes(void **state)
{
	(void)state;
	struct text *list[ROWS];
	uint64_t random = 31;
	make_round(3, list, &random);
	for (uint32_t i = 0; i < ROWS; i++) {
		struct text *t = list[i];
		for (uint32_t k = 0; k < VOCAB; k++)
			t->logits[k] = i % 4 == 0 ? -INFINITY : i % 4 == 1 ? -FLT_MAX : i % 4 == 2 ? -0.0f : 1;
		t->logits[7] = t->logits[60000] = i % 4 == 1 ? FLT_MAX : i % 4 == 2 ? 0 : 1;
		t->sampling.temperature = i < 4 ? FLT_MIN : i < 8 ? FLT_MAX : i < 12 ? 0 : 1e-3f;
		t->asking.mask = NULL;
		t->sampling.biases = NULL;
		t->sampling.bias_count = t->asking.bias_count = 0;
		t->asking.top = 20;
		t->asking.picking.pick = PICK_LOGPROB;
		finish_text(t);
	}
	run_texts(list, ROWS);
	for (uint32_t i = 0; i < ROWS; i++)
		check_text(list[i], words_at(i));
	print_report();
}

static void nothing_to_pick(void **state)
{
	(void)state;
	static const float wrong[] = { NAN, -NAN, INFINITY, -INFINITY };
	struct text *list[ROWS];
	uint64_t random = 41;
	make_round(0, list, &random);
	for (uint32_t i = 0; i < ROWS; i++) {
		struct text *t = list[i];
		memset(t->mask, 0, sizeof t->mask);
		t->asking.mask = i >= 8 ? t->mask : NULL;
		if (i < 8 && i % 4 == 3)
			for (uint32_t k = 0; k < VOCAB; k++)
				t->logits[k] = -INFINITY;
		if (i < 12)
			t->logits[40000] = wrong[i % 4];
	}
	run_texts(list, ROWS);
	for (uint32_t i = 0; i < ROWS; i++) {
		assert_int_equal(words_at(i)[IO_DONE], i >= 11 ? DONE_MASKED : DONE_BROKEN);
		assert_int_equal(words_at(i)[IO_FED], 0);
		occurrences_copy(&list[i]->session->seen, &list[i]->before);
		check_counts(list[i]);
	}
}

/* ------------------------------------------------------------------------------------------------------ the table */

struct table_row {
	uint32_t first, rows, last; /* of the run that begins with the row, if any */
	uint32_t tokens[3];         /* in each turn; NO_ROW: it has ended */
};
enum { TURNS = 3, TABLE_TEXTS = 7 };

static void check_table(const struct table_row *want, uint32_t turn)
{
	uint32_t got[TABLE_WORDS], run = 0;
	assert_ok(gpu_read(&model->chunk.buffer, 0, got, sizeof got));
	assert_int_equal(got[TABLE_ROWS], TABLE_TEXTS);
	for (uint32_t i = 0; i < TABLE_TEXTS; i++) {
		const struct table_row *w = &want[i];
		const uint32_t *row = got + TABLE_ROW(i), token = w->tokens[turn], slot = texts[w->first].session->slot;
		assert_int_equal(row[ROW_SLOT], slot);
		assert_int_equal(row[ROW_TOKEN], token);
		assert_int_equal(row[ROW_BEFORE], i == w->first ? NO_ROW : i - 1);
		assert_int_equal(row[ROW_LAST], w->last && token != NO_ROW);
		if (i == w->first) {
			assert_int_equal(got[TABLE_RUN(run) + RUN_SLOT], slot);
			assert_int_equal(got[TABLE_RUN(run) + RUN_FIRST], i);
			assert_int_equal(got[TABLE_RUN(run) + RUN_ROWS], token == NO_ROW ? 0 : w->rows);
		}
		if (w->last) /* these are needed, one of each run */
			assert_int_equal(got[TABLE_WANT(run++)], token == NO_ROW ? NO_ROW : i);
	}
	assert_int_equal(got[TABLE_RUNS], run);
	assert_int_equal(got[TABLE_WANTED], run);
}

/* Rows that pick, rows that are fed, a run of several, and one with nothing to do. */
static void rows_that_end(void **state)
{
	(void)state;
	const uint32_t no = NO_ROW, fed[] = { 65535, 3, 9 };
	uint32_t *words = table.mapped;
	struct text *list[ROWS];
	uint64_t random = 53;
	for (uint32_t i = 0; i < ROWS; i++) { /* the most probable token is 100 + row, again and again */
		make_text(&texts[i], 0, &random);
		texts[i].logits[100 + i] = 50;
		texts[i].sampling = (rwkvk_sampling){ .top_p = 1 };
		texts[i].asking = (struct asking){ .most = 3 };
		finish_text(&texts[i]);
		list[i] = &texts[i];
	}
	const struct table_row want[TABLE_TEXTS] = {
		{ 0, 1, 1, { 100, 100, 100 } }, { 1, 1, 1, { no, no, no } }, { 2, 3, 0, { 65535, no, no } },
		{ 2, 3, 0, { 3, no, no } },     { 2, 3, 1, { 9, no, no } },  { 5, 1, 1, { 65535, 3, no } },
		{ 6, 1, 1, { no, no, no } },
	};
	run_texts(list, ROWS);
	memset(words, 0, TABLE_WORDS * sizeof *words);
	uint32_t runs = 0;
	for (uint32_t i = 0; i < TABLE_TEXTS; i++) {
		const struct table_row *w = &want[i];
		uint32_t slot = texts[w->first].session->slot;
		uint32_t *row = words + TABLE_ROW(i), *run = words + TABLE_RUN(runs);
		row[ROW_SLOT] = slot;
		row[ROW_BEFORE] = i == w->first ? NO_ROW : i - 1;
		row[ROW_LAST] = w->last;
		if (i == w->first) {
			run[RUN_SLOT] = slot;
			run[RUN_FIRST] = i;
			run[RUN_ROWS] = w->rows;
		}
		if (w->last)
			words[TABLE_WANT(runs++)] = i;
		ask_pick(model, i, words, slot, &texts[i].asking);
		if (w->rows == 3)
			ask_feed(model, i, words, slot, fed + (i - w->first), 1);
	}
	write_sizes(TABLE_TEXTS, runs, runs);
	words_at(1)[IO_STOP_COUNT] = 1;
	words_at(1)[IO_STOPS] = 101;
	ask_feed(model, 5, words, texts[5].session->slot, fed, 2);
	ask_nothing(model, 6, words);
	for (uint32_t turn = 0; turn < TURNS; turn++) {
		assert_ok(test_fill(&model->chunk.buffer, 0, sizeof(uint32_t) * TABLE_WORDS, 0xdeadbeef));
		words[TABLE_DONE] = 0;
		assert_ok(gpu_cmd_run(choose));
		assert_int_equal(words[TABLE_DONE], TABLE_TEXTS);
		check_table(want, turn);
	}
	words_at(1)[IO_STOP_COUNT] = 0; /* ended texts stay ended */
	assert_ok(gpu_cmd_run(choose));
	assert_int_equal(words_at(0)[IO_FED], 3);
	assert_int_equal(words_at(1)[IO_FED], 0);
	assert_int_equal(words_at(1)[IO_DONE], DONE_STOP);
	assert_int_equal(words_at(1)[IO_PICKED], 101);
	assert_int_equal(words_at(5)[IO_FED], 2);
	assert_int_equal(words_at(6)[IO_DONE], DONE_UNKNOWN);
}

/* ------------------------------------------------------------------------------------------------------ the model */

static rwkvk_status make_steps(void)
{
	const uint64_t words = table_words(model_config(model), ROWS);
	TRY(gpu_buffer_create(model->gpu, sizeof(uint32_t) * words, GPU_SHARED, "control words", &table));
	TRY(plan_choose(model, &pass));
	TRY(gpu_pipelines_compile(model->gpu));
	return record_steps(model, pass.steps.all, pass.steps.count, &choose);
}

static rwkvk_status make_texts(void)
{
	for (uint32_t i = 0; i < ROWS; i++) {
		TRY(rwkvk_session_create(model, &texts[i].session));
		TRY(occurrences_init(&texts[i].before, VOCAB));
	}
	return RWKVK_OK;
}

static int open_model(void **state)
{
	(void)state;
	const char *path = test_temp("choose");
	uint64_t random = 61;
	make_model(path, &spec);
	texts = calloc(ROWS, sizeof *texts);
	for (uint32_t i = 0; i < VOCAB / 32; i++)
		light[i] = test_random(&random) & test_random(&random);
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_sessions = ROWS }, &model) != RWKVK_OK ||
	    make_texts() != RWKVK_OK || model_write_light(model, light) != RWKVK_OK || make_steps() != RWKVK_OK) {
		print_error("%s\n", rwkvk_last_error());
		return -1;
	}
	return 0;
}

static int close_model(void **state)
{
	(void)state;
	gpu_cmd_destroy(choose);
	steps_drop(model, &pass.steps);
	gpu_buffer_destroy(&table);
	for (uint32_t i = 0; i < ROWS; i++) {
		occurrences_finish(&texts[i].before);
		rwkvk_session_destroy(texts[i].session);
	}
	rwkvk_model_close(model);
	free(texts);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ways_of_picking), cmocka_unit_test(stops),           cmocka_unit_test(one_row_and_many),
		cmocka_unit_test(extremes),        cmocka_unit_test(nothing_to_pick), cmocka_unit_test(rows_that_end),
	};
	return cmocka_run_group_tests(tests, open_model, close_model);
}
