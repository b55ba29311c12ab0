/* Every stage of a chunk against the reference, which takes its rows one by one: hostile sizes and values, one run of rows and
 * several, outputs poisoned with NaN; no word may be written that belongs to no result. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "engine/plan.h"
#include "feed.h"
#include "hostile_models.h"
#include "stage_values.h"

enum { ROOM = 80, MOST_RUNS = 3 };

/* Rows of each run, which have slots of their own; ended: after them comes a row that has ended, as `choose` leaves it. */
struct rows_case {
	enum pattern pattern;
	uint32_t runs[MOST_RUNS];
	bool ended;
};
static const struct rows_case cases[] = {
	{ .pattern = RANDOM, .runs = { 65 } },    { .pattern = ZEROS, .runs = { 1 } }, { .pattern = ONE_HUGE, .runs = { 15 } },
	{ .pattern = ALL_EQUAL, .runs = { 17 } }, { .pattern = TINY, .runs = { 2 } },  { .pattern = ONE_HUGE, .runs = { 64 } },
	{ .pattern = RANDOM, .runs = { 16 } },    { .pattern = TINY, .runs = { 63 } },
};
enum { CASES = sizeof cases / sizeof *cases };
static const struct rows_case several_runs = { .pattern = RANDOM, .runs = { 17, 1, 30 } };
static const struct rows_case few_rows = { .pattern = RANDOM, .runs = { 3, 1, 12 } };
static const struct rows_case one_ended = { .pattern = RANDOM, .runs = { 2, 1 }, .ended = true };

struct fixture {
	struct rwkvk_model *model;
	struct pass chosen; /* embedding and head where `choose` has written the table */
	struct pass *pass;  /* whose stages run */
	struct reference reference;
	const struct config *config;
	uint32_t table[TABLE_WORDS], room, rows, runs; /* rows that the chunk may have, and has */
	uint32_t live_rows, live_runs;                 /* which have not ended */
	float *records, *before;                       /* [room][row_floats]: the device's, now and as they were */
	float *acts, *want;                            /* [room][act_floats]: what the reference begins with, and makes of it */
	float *pool, *want_pool;                       /* [slots][slot_floats] */
	size_t row_floats, act_floats, slot_floats;
	uint64_t random;
	char what[200]; /* for messages */
};

/* ------------------------------------------------------------------------------------------------------ what goes in */

static void add_ended(struct fixture *f, uint32_t slot)
{
	uint32_t *row = f->table + TABLE_ROW(f->rows), *run = f->table + TABLE_RUN(f->runs++);
	row[ROW_SLOT] = run[RUN_SLOT] = slot;
	row[ROW_TOKEN] = row[ROW_BEFORE] = NO_ROW;
	run[RUN_FIRST] = f->rows++;
}

static void fill_table(struct fixture *f, const struct rows_case *c, uint32_t first_slot)
{
	memset(f->table, 0, sizeof f->table);
	f->rows = f->runs = 0;
	for (uint32_t i = 0; i < MOST_RUNS && c->runs[i] > 0; i++) {
		uint32_t *run = f->table + TABLE_RUN(i), slot = (first_slot + i) % f->model->slots;
		run[RUN_SLOT] = slot;
		run[RUN_FIRST] = f->rows;
		run[RUN_ROWS] = c->runs[i];
		for (uint32_t j = 0; j < c->runs[i]; j++, f->rows++) {
			uint32_t *row = f->table + TABLE_ROW(f->rows);
			row[ROW_SLOT] = slot;
			row[ROW_TOKEN] = (f->rows * 37 + f->rows * f->rows) % f->config->vocab;
			row[ROW_BEFORE] = j ? f->rows - 1 : NO_ROW;
			row[ROW_LAST] = j + 1 == c->runs[i];
		}
		f->runs++;
	}
	f->live_rows = f->rows;
	f->live_runs = f->runs;
	if (c->ended)
		add_ended(f, (first_slot + f->runs) % f->model->slots);
	f->table[TABLE_ROWS] = f->rows;
	f->table[TABLE_RUNS] = f->runs;
	f->table[TABLE_WANTED] = 1;
	f->table[TABLE_WANT(0)] = f->live_rows / 2;
}

/* NaN, except for zeros where no vector lies; only NaN past the last row. */
static void poison_records(struct fixture *f)
{
	struct region regions[MAX_REGIONS];
	uint32_t count = row_regions(f->config, regions), rank = f->config->rank_mix;
	memset(f->records, 0, f->rows * f->row_floats * sizeof(float));
	for (uint32_t row = 0; row < f->rows; row++) {
		float *record = f->records + row * f->row_floats;
		for (uint32_t i = 0; i < count; i++)
			poison(record + regions[i].at, regions[i].count);
		for (uint32_t i = 0; i < HIDDEN_MIX(rank); i++) /* five vectors, each padded */
			if (i % PAD(rank, 8) >= rank)
				record[ROW_H(f->config->width, f->config->ffn) + i] = 0;
	}
	poison(f->records + f->rows * f->row_floats, (f->room - f->rows) * f->row_floats);
}

/* Copies what a stage reads, from the reference's numbers, into the records. */
static void place_inputs(struct fixture *f, const struct stage *stage)
{
	struct region acts[MAX_REGIONS], rows[MAX_REGIONS];
	uint32_t act_count = act_regions(f->config, acts), row_count = row_regions(f->config, rows);
	for (const char *const *name = stage->reads; *name; name++) {
		const struct region *from = find_region(acts, act_count, *name), *to = find_region(rows, row_count, *name);
		assert_true(from && to);
		for (uint32_t row = 0; row < f->rows; row++)
			memcpy(f->records + row * f->row_floats + to->at, f->acts + row * f->act_floats + from->at,
			       to->count * sizeof(float));
	}
}

/* If RWKV-6's decay is padded, token shift's hidden vectors have left numbers there, which must have no effect. */
static void place_leftovers(struct fixture *f, const struct stage *stage)
{
	const uint32_t rank = f->config->rank_decay, at = ROW_H(f->config->width, f->config->ffn);
	if (f->config->version == 60 && is_among("hidden decay", stage->reads))
		for (uint32_t row = 0; row < f->rows; row++)
			fill_values(&f->random, f->records + row * f->row_floats + at + rank, PAD(rank, 8) - rank, RANDOM);
}

static void fill(struct fixture *f, const struct stage *stage, uint32_t layer, enum pattern pattern)
{
	memset(f->acts, 0, f->rows * f->act_floats * sizeof(float));
	for (uint32_t row = 0; row < f->rows; row++) {
		float *act = f->acts + row * f->act_floats;
		fill_act(&f->random, f->config, stage, layer, act, pattern);
		/* Equal values, too, would leave GroupNorm nothing but rounding errors: the more rows, the less else is in the state.
		 */
		if (pattern == ALL_EQUAL && is_among("v", stage->reads))
			fill_values(&f->random, act + ACT_V(f->config->width), f->config->width, RANDOM);
	}
	poison(f->pool, f->model->slots * f->slot_floats);
	for (uint32_t i = 0; i < f->live_runs; i++)
		fill_state(&f->random, f->config, f->pool + f->table[TABLE_RUN(i) + RUN_SLOT] * f->slot_floats, pattern);
	poison_records(f);
	place_inputs(f, stage);
	place_leftovers(f, stage);
	memcpy(f->before, f->records, f->room * f->row_floats * sizeof(float));
}

struct turn {
	struct fixture *f;
	const struct stage *stage;
	uint32_t layer;
};

static void run_row(void *user, float *state, float *act)
{
	struct turn *turn = user;
	turn->stage->reference(&turn->f->reference, turn->layer, state, act);
}

static void run_reference(struct fixture *f, const struct stage *stage, uint32_t layer)
{
	struct turn turn = { f, stage, layer };
	memcpy(f->want, f->acts, f->rows * f->act_floats * sizeof(float));
	memcpy(f->want_pool, f->pool, f->model->slots * f->slot_floats * sizeof(float));
	for (uint32_t i = 0; i < f->live_runs; i++) {
		const uint32_t *run = f->table + TABLE_RUN(i);
		reference_rows(&f->reference, run[RUN_ROWS], f->want_pool + run[RUN_SLOT] * f->slot_floats,
		               f->want + run[RUN_FIRST] * f->act_floats, run_row, &turn);
		reference_chunk_state(f->config, stage, f->pool + run[RUN_SLOT] * f->slot_floats,
		                      f->want + (run[RUN_FIRST] + run[RUN_ROWS] - 1) * f->act_floats,
		                      f->want_pool + run[RUN_SLOT] * f->slot_floats);
	}
}

/* ------------------------------------------------------------------------------------------------------ the device */

static void write_table(struct fixture *f)
{
	memcpy(f->model->chunk.table.mapped, f->table, sizeof f->table);
	assert_ok(gpu_write(&f->model->chunk.buffer, 0, f->table, sizeof f->table));
}

static void write_device(struct fixture *f, uint32_t layer)
{
	write_table(f);
	assert_ok(
		gpu_write(&f->model->chunk.buffer, ROWS_TABLE * sizeof(float), f->records, f->room * f->row_floats * sizeof(float)));
	assert_ok(gpu_write(&f->model->layers[layer].state, 0, f->pool, f->model->slots * f->slot_floats * sizeof(float)));
}

static void read_records(struct fixture *f)
{
	assert_ok(
		gpu_read(&f->model->chunk.buffer, ROWS_TABLE * sizeof(float), f->records, f->room * f->row_floats * sizeof(float)));
}

/* A prompt is one run, and that is recorded for it. */
static void allow_runs(struct fixture *f, const char *stage)
{
	struct steps *steps = &f->pass->steps;
	for (uint32_t i = 0; i < steps->count; i++)
		if (strcmp(steps->all[i].stage, stage) == 0 && strcmp(stage, "chunk wkv") == 0)
			steps->all[i].groups.y = f->runs;
}

/* ------------------------------------------------------------------------------------------------------ what comes out */

/* Which vectors may be changed: those that the reference wrote, and those that only the next stage reads; sums of few
 * rows lie in "mixed" while ffn_out adds them up. */
static bool is_scratch(const struct stage *stage, const char *name)
{
	static const struct {
		const char *stage, *vectors[4];
	} own[] = { { "wkv", { "k", "v" } }, { "att_wkv", { "r", "k", "v" } } };
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		if (strcmp(stage->name, own[i].stage) == 0 && is_among(name, own[i].vectors))
			return true;
	return strncmp(name, "mixed", 5) == 0 && strcmp(stage->name, "att_out");
}

/* A vector that the reference wrote is close to it; one that it did not write still has its old bits. */
static void check_vector(struct fixture *f, const struct stage *stage, uint32_t row, const struct region *got,
                         const struct region *act)
{
	const size_t at = row * f->row_floats + got->at, from = act ? row * f->act_floats + act->at : 0,
				 bytes = got->count * sizeof(float);
	char what[300];
	snprintf(what, sizeof what, "%s, row %u of %u: %s", f->what, row, f->rows, got->name);
	if (act && memcmp(f->want + from, f->acts + from, bytes))
		assert_close(what, f->records + at, f->want + from, got->count, LIMIT);
	else if (!is_scratch(stage, got->name) && memcmp(f->records + at, f->before + at, bytes))
		fail_msg("%s: was written, but not by the reference", what);
}

/* RWKV-6's two kinds of hidden vectors share one place: the kind that is not written holds the other. */
static bool is_there(const struct fixture *f, const struct stage *stage, const struct region *r)
{
	if (f->config->version != 60 || strncmp(r->name, "hidden", 6) != 0)
		return r->count > 0;
	return strcmp(r->name, is_among("hidden decay", stage->writes) ? "hidden decay" : "hidden mix") == 0;
}

static void check_padding(struct fixture *f, const struct stage *stage, const struct region *regions, uint32_t count,
                          uint32_t row)
{
	uint8_t *known = calloc(f->row_floats, 1);
	const float *got = f->records + row * f->row_floats, *before = f->before + row * f->row_floats;
	for (uint32_t i = 0; i < count; i++)
		if (is_there(f, stage, &regions[i]))
			memset(known + regions[i].at, 1, regions[i].count);
	for (uint32_t i = 0; i < f->row_floats; i++)
		if (!known[i] && memcmp(&got[i], &before[i], sizeof *got))
			fail_msg("%s, row %u: padding word %u was written", f->what, row, i);
	free(known);
}

static void check_records(struct fixture *f, const struct stage *stage)
{
	struct region acts[MAX_REGIONS], rows[MAX_REGIONS];
	uint32_t act_count = act_regions(f->config, acts), row_count = row_regions(f->config, rows);
	for (uint32_t row = 0; row < f->live_rows; row++) {
		for (uint32_t i = 0; i < row_count; i++)
			if (is_there(f, stage, &rows[i]))
				check_vector(f, stage, row, &rows[i], find_region(acts, act_count, rows[i].name));
		check_padding(f, stage, rows, row_count, row);
	}
	if (!is_poison(f->records + f->rows * f->row_floats, (f->room - f->rows) * f->row_floats))
		fail_msg("%s: a record past the last row was written", f->what);
}

/* The shift states are copies; those of RWKV-4 are copies of what the first stage of its wkv computed. */
static void check_states(struct fixture *f, const struct stage *stage, uint32_t layer)
{
	const double limit = strcmp(stage->name, "att_wkv") == 0 ? LIMIT : 0;
	const size_t D = f->config->width, S = D * f->config->state_width;
	assert_ok(gpu_read(&f->model->layers[layer].state, 0, f->pool, f->model->slots * f->slot_floats * sizeof(float)));
	for (uint32_t i = 0; i < f->model->slots; i++) {
		const float *got = f->pool + i * f->slot_floats, *want = f->want_pool + i * f->slot_floats;
		if (is_poison(want, f->slot_floats)) {
			if (!is_poison(got, f->slot_floats))
				fail_msg("%s: slot %u was written, which has no rows", f->what, i);
			continue;
		}
		assert_close("state: att_x", got, want, D, limit);
		assert_close("state: ffn_x", got + D, want + D, D, 0);
		assert_close(f->what, got + STATE_S(D), want + STATE_S(D), S, LIMIT);
	}
}

/* ------------------------------------------------------------------------------------------------------ shift */

/* Token shift's output between two stages: LN(x), and its mixes with that of the previous row. */
static void check_shift(struct fixture *f, const struct stage *stage, uint32_t layer)
{
	const uint32_t D = f->config->width;
	const bool ffn = strcmp(stage->name, "ffn_in") == 0;
	float *mix = malloc(2 * D * sizeof *mix), *want = mix + D;
	read_records(f);
	for (uint32_t row = 0; row < f->live_rows; row++) {
		const uint32_t *entry = f->table + TABLE_ROW(row), before = entry[ROW_BEFORE];
		const float *record = f->records + row * f->row_floats;
		const float *n = f->want + row * f->act_floats + (ffn ? ACT_N2(D) : ACT_N1(D));
		const float *shifted = before == NO_ROW
		                           ? f->pool + entry[ROW_SLOT] * f->slot_floats + (ffn ? STATE_FFN_X(D) : STATE_ATT_X)
		                           : n - f->act_floats;
		assert_close(f->what, record + (ffn ? ROW_N2(D) : ROW_N1(D)), n, D, LIMIT);
		for (uint32_t i = 0; i < 7; i++) {
			if (is_poison(record + ROW_MIXED(D, i), D))
				continue;
			layer_vector(f->reference.network, layer, (ffn ? VEC_MIX_FFN : VEC_MIX_R) + i, mix);
			reference_shift(n, shifted, mix, D, want);
			assert_close(f->what, record + ROW_MIXED(D, i), want, D, LIMIT);
		}
	}
	free(mix);
}

/* ------------------------------------------------------------------------------------------------------ stages */

static void run_stage(struct fixture *f, const struct stage *stage, uint32_t layer, const struct rows_case *c)
{
	/* n + (n' - n) mix is the difference of two huge numbers where mix is near to one; and the squares of what a state adds up
	 * from many products of three are past what F32 has */
	bool too_much = strcmp(stage->name, "mix") == 0 || (strcmp(stage->name, "wkv") == 0 && f->rows > 16);
	fill(f, stage, layer, too_much && c->pattern == ONE_HUGE ? RANDOM : c->pattern);
	run_reference(f, stage, layer);
	write_device(f, layer);
	for (const char *const *name = stage->chunk; *name; name++) {
		snprintf(f->what, sizeof f->what, "%s, layer %u, %u rows in %u runs, %s, %s", *name, layer, f->rows, f->runs,
		         pattern_names[c->pattern], f->reference.quant ? "quantised" : "as stored");
		allow_runs(f, *name);
		assert_ok(steps_run(f->model, &f->pass->steps, layer, *name));
		if (strstr(*name, "_shift"))
			check_shift(f, stage, layer);
	}
	read_records(f);
	check_records(f, stage);
	check_states(f, stage, layer);
}

/* Rows that have not ended have x; nothing else was written. */
static void check_embedded(struct fixture *f)
{
	const uint32_t D = f->config->width;
	read_records(f);
	memset(f->acts, 0, f->rows * f->act_floats * sizeof(float));
	memset(f->want, 0, f->rows * f->act_floats * sizeof(float));
	for (uint32_t row = 0; row < f->live_rows; row++) {
		reference_select(&f->reference, f->table[TABLE_ROW(row) + ROW_TOKEN], f->want + row * f->act_floats);
		assert_close(f->what, f->records + row * f->row_floats, f->want + row * f->act_floats + ACT_X, D, LIMIT);
		memcpy(f->records + row * f->row_floats, f->before + row * f->row_floats, D * sizeof(float));
	}
	assert_memory_equal(f->records, f->before, f->room * f->row_floats * sizeof(float));
}

static void check_embed(struct fixture *f)
{
	const uint32_t layers = f->config->layers, *host = f->model->chunk.table.mapped;
	uint32_t *table = malloc(sizeof f->table);
	poison_records(f);
	memcpy(f->before, f->records, f->room * f->row_floats * sizeof(float));
	write_device(f, 0);
	memset(table, 0xff, sizeof f->table);
	assert_ok(gpu_write(&f->model->chunk.buffer, 0, table, sizeof f->table));
	snprintf(f->what, sizeof f->what, "chunk embed, %u rows", f->rows);
	assert_ok(steps_run(f->model, &f->pass->steps, layers, "chunk embed"));
	assert_ok(gpu_read(&f->model->chunk.buffer, 0, table, sizeof f->table));
	assert_memory_equal(table, f->table, sizeof f->table);
	assert_int_equal(host[TABLE_DONE], f->rows);
	check_embedded(f);
	free(table);
}

/* The device's table is used, whatever the host's contains. */
static void check_chosen_embed(struct fixture *f)
{
	uint32_t *host = f->model->chunk.table.mapped;
	poison_records(f);
	memcpy(f->before, f->records, f->room * f->row_floats * sizeof(float));
	write_device(f, 0);
	memset(host, 0xff, sizeof f->table);
	snprintf(f->what, sizeof f->what, "chosen embed, %u rows", f->rows);
	assert_ok(steps_run(f->model, &f->chosen.steps, f->config->layers, "chunk embed"));
	assert_int_equal(host[TABLE_DONE], 0xffffffff);
	check_embedded(f);
}

/* The wanted row's x becomes that of a single token. */
static void check_last(struct fixture *f)
{
	const uint32_t wanted = f->table[TABLE_WANT(0)], *entry = f->table + TABLE_ROW(wanted);
	const size_t bytes = f->act_floats * sizeof(float), x = f->config->width * sizeof(float);
	uint32_t control[ACT_X];
	poison_records(f);
	fill_values(&f->random, f->records + wanted * f->row_floats, f->config->width, RANDOM);
	write_device(f, 0);
	poison(f->acts, f->act_floats);
	assert_ok(gpu_write(&f->model->plan.act, 0, f->acts, bytes));
	assert_ok(steps_run(f->model, &f->model->plan.last, f->config->layers, "chunk last"));
	assert_ok(gpu_read(&f->model->plan.act, 0, f->want, bytes));
	memcpy(control, f->want, sizeof control);
	assert_int_equal(control[CONTROL_SLOT], entry[ROW_SLOT]);
	assert_int_equal(control[CONTROL_TOKEN], entry[ROW_TOKEN]);
	assert_true(control[CONTROL_DONE] == 0 && control[CONTROL_PICK] == 0);
	assert_memory_equal(f->want + ACT_X, f->records + wanted * f->row_floats, x);
	assert_true(is_poison(f->want + 4, ACT_X - 4));
	assert_true(is_poison(f->want + ACT_X + f->config->width, f->act_floats - ACT_X - f->config->width));
}

/* Rows whose logits are needed: every `step`-th from `first` on. */
static void want_rows(struct fixture *f, uint32_t first, uint32_t step)
{
	uint32_t wanted = 0;
	for (uint32_t row = first; row < f->rows; row += step)
		f->table[TABLE_WANT(wanted++)] = row;
	f->table[TABLE_WANTED] = wanted;
}

/* What the reference computes from x in record `row`, and x in its own place. */
static void run_reference_head(struct fixture *f, uint32_t row, float *normed, float *logits)
{
	const struct network *net = f->reference.network;
	const uint32_t D = f->config->width;
	const float *x = f->before + row * f->row_floats;
	memcpy(f->acts + ACT_X, x, D * sizeof *x);
	dtype_to_float(net->ln_out_w->type, net->ln_out_w->data, 0, D, f->want);
	dtype_to_float(net->ln_out_b->type, net->ln_out_b->data, 0, D, f->want + D);
	reference_norm(x, f->want, f->want + D, D, normed);
	reference_head(&f->reference, f->acts, logits);
}

/* LN(x) of the wanted rows lies in the first records, and their logits in as many rows or where their slots' are; of one that
 * has ended there is nothing, and nothing else has changed. */
static void check_head_rows(struct fixture *f, float *logits, size_t floats, bool chosen)
{
	const uint32_t D = f->config->width, V = f->config->vocab, wanted = f->table[TABLE_WANTED];
	float *normed = malloc(D * sizeof *normed), *want = malloc(V * sizeof *want);
	for (uint32_t i = 0; i < wanted; i++) {
		const uint32_t row = f->table[TABLE_WANT(i)];
		if (row == NO_ROW)
			continue;
		float *n = f->records + i * f->row_floats + ROW_N1(D);
		float *got = logits + (size_t)(chosen ? f->table[TABLE_ROW(row) + ROW_SLOT] : i) * V4(V);
		run_reference_head(f, row, normed, want);
		assert_close(f->what, n, normed, D, LIMIT);
		assert_close(f->what, got, want, V, LIMIT);
		poison(got, V);
		memcpy(n, f->before + i * f->row_floats + ROW_N1(D), D * sizeof *n);
	}
	assert_memory_equal(f->records, f->before, f->room * f->row_floats * sizeof(float));
	assert_true(is_poison(logits, floats));
	free(normed);
	free(want);
}

static void check_head(struct fixture *f, enum pattern pattern, bool chosen)
{
	const struct steps *steps = chosen ? &f->chosen.steps : &f->model->chunk.head;
	struct gpu_buffer *buffer = chosen ? &f->model->logits : &f->model->chunk.logits;
	const uint32_t layers = f->config->layers;
	const size_t floats = (size_t)(chosen ? f->model->slots : f->room) * V4(f->config->vocab);
	float *logits = malloc(floats * sizeof *logits);
	snprintf(f->what, sizeof f->what, "head, %u of %u rows, %s, %s", f->table[TABLE_WANTED], f->rows, pattern_names[pattern],
	         f->reference.quant ? "quantised" : "as stored");
	poison_records(f);
	for (uint32_t row = 0; row < f->rows; row++)
		fill_values(&f->random, f->records + row * f->row_floats, f->config->width, pattern);
	memcpy(f->before, f->records, f->room * f->row_floats * sizeof(float));
	write_device(f, 0);
	poison(logits, floats);
	assert_ok(gpu_write(buffer, 0, logits, floats * sizeof *logits));
	assert_ok(steps_run(f->model, steps, layers, "chunk out_norm"));
	assert_ok(steps_run(f->model, steps, layers, "chunk head"));
	assert_ok(gpu_read(buffer, 0, logits, floats * sizeof *logits));
	read_records(f);
	check_head_rows(f, logits, floats, chosen);
	free(logits);
}

/* The first run's first row and the last run's last one, and between them one that has ended. */
static void check_chosen_head(struct fixture *f, enum pattern pattern)
{
	f->table[TABLE_WANTED] = 3;
	f->table[TABLE_WANT(0)] = f->live_rows - 1;
	f->table[TABLE_WANT(1)] = NO_ROW;
	f->table[TABLE_WANT(2)] = 0;
	check_head(f, pattern, true);
}

/* Nothing happens if it has more rows or runs than there can be. */
static void run_case(struct fixture *f, const struct rows_case *c, uint32_t slot)
{
	uint32_t rows = c->ended, runs = 0;
	for (; runs < MOST_RUNS && c->runs[runs] > 0; runs++)
		rows += c->runs[runs];
	if (rows > f->room || runs + c->ended > f->model->slots)
		return;
	fill_table(f, c, slot);
	check_embed(f);
	for (uint32_t layer = 0; layer < f->config->layers; layer++) {
		struct stage stages[MAX_STAGES];
		uint32_t count = layer_stages(f->reference.network, layer, stages);
		for (uint32_t i = 0; i < count; i++)
			run_stage(f, &stages[i], layer, c);
	}
	check_last(f);
	want_rows(f, 0, 1);
	check_head(f, c->pattern, false);
	want_rows(f, f->rows / 2, f->rows);
	check_head(f, c->pattern, false);
	want_rows(f, f->rows > 1, 3);
	check_head(f, c->pattern, false);
	if (c->ended) {
		check_chosen_embed(f);
		check_chosen_head(f, c->pattern);
	}
}

/* ------------------------------------------------------------------------------------------------------ models */

static bool ignore(void *user, size_t index, const float *logits)
{
	(void)user, (void)index, (void)logits;
	return true;
}

/* A longer chunk than some devices have by default, and everything that is recorded for it. */
static void make_chunks(struct rwkvk_model *m, uint32_t rows)
{
	rwkvk_session *session;
	uint32_t tokens[ROOM] = { 0 };
	chunk_drop(m);
	assert_ok(chunk_create(m, rows, rows));
	assert_ok(rwkvk_session_create(m, &session));
	assert_ok(feed_tokens(session, tokens, 16, NULL));
	assert_ok(rwkvk_session_eval(session, tokens, 16, &(rwkvk_eval_options){ .on_logits = ignore }));
	rwkvk_session_destroy(session);
	assert_true(m->plan.last.count == 1 && m->chunk.logits_rows == rows);
}

/* The passes of a batch, in place of a chunk's. */
static void make_chosen(struct fixture *f)
{
	f->chosen = f->model->chunk.pass;
	f->chosen.chooses = true;
	f->chosen.steps = (struct steps){ 0 };
	assert_ok(chunk_embed(f->model, &f->chosen));
	assert_ok(chunk_head(f->model, &f->chosen, &f->chosen.steps, NULL));
	assert_ok(gpu_pipelines_compile(f->model->gpu));
}

/* false: the device reads no prompts of this version in chunks. */
static bool open_fixture(struct fixture *f, const struct model_spec *spec, rwkvk_quant quant)
{
	char name[64];
	snprintf(name, sizeof name, "chunk-stages-%u", (unsigned)spec->seed);
	const char *path = test_temp(name);
	make_model(path, spec);
	*f = (struct fixture){ .random = spec->seed * 977 };
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .quant = quant }, &f->model));
	f->config = model_config(f->model);
	f->pass = &f->model->chunk.pass;
	if (!f->model->chunk.pass.rows)
		return false;
	f->room = ROOM;
	while (chunk_bytes(f->config, f->room) > gpu_caps(f->model->gpu)->max_buffer)
		f->room -= 16;
	make_chunks(f->model, f->room);
	make_chosen(f);
	assert_ok(reference_init(&f->reference, &f->model->file.network, quant));
	f->row_floats = config_row_floats(f->config);
	f->act_floats = config_act_floats(f->config);
	f->slot_floats = config_slot_floats(f->config);
	f->records = malloc(f->room * f->row_floats * sizeof(float));
	f->before = malloc(f->room * f->row_floats * sizeof(float));
	f->acts = malloc(f->room * f->act_floats * sizeof(float));
	f->want = malloc(f->room * f->act_floats * sizeof(float));
	f->pool = malloc(f->model->slots * f->slot_floats * sizeof(float));
	f->want_pool = malloc(f->model->slots * f->slot_floats * sizeof(float));
	return true;
}

static void close_fixture(struct fixture *f)
{
	reference_finish(&f->reference);
	steps_drop(f->model, &f->chosen.steps);
	rwkvk_model_close(f->model);
	free(f->records);
	free(f->before);
	free(f->acts);
	free(f->want);
	free(f->pool);
	free(f->want_pool);
}

/* Some runs, and some of the other cases in turn; of wide models only a few rows. */
static void test_spec(const struct model_spec *spec, rwkvk_quant quant, uint32_t turn)
{
	static struct fixture f;
	const bool wide = spec->width > 1000 && !test_everything();
	if (open_fixture(&f, spec, quant)) {
		print_message("    %s%s\n", spec->name, quant ? ", quantised at load" : "");
		run_case(&f, wide ? &few_rows : &several_runs, turn % f.model->slots);
		run_case(&f, &one_ended, (turn + 1) % f.model->slots);
		for (uint32_t i = 0; i < CASES && !wide; i++)
			if (test_everything() || i == turn % CASES || i == (turn + 3) % CASES)
				run_case(&f, &cases[i], i % f.model->slots);
	}
	close_fixture(&f);
}

static void chunks_as_stored(void **state)
{
	(void)state;
	bool taken[SPECS];
	take_specs(taken);
	for (uint32_t i = 0, turn = 0; i < SPECS; i++)
		if (taken[i])
			test_spec(&specs[i], RWKVK_QUANT_NONE, turn++);
}

/* Weights quantised at load are packed by different code.  Rows that are not a multiple of a block; or both ways, on one model
 * after the other. */
static void chunks_quantised(void **state)
{
	(void)state;
	static const rwkvk_quant quants[] = { RWKVK_QUANT_Q4, RWKVK_QUANT_Q5, RWKVK_QUANT_Q6, RWKVK_QUANT_Q8, RWKVK_QUANT_F16 };
	for (uint32_t i = 0, turn = 0; i < SPECS && test_every() == 1; i++)
		if (test_everything() ? specs[i].width < 1000 && !dtype_is_block(specs[i].type)
		                      : specs[i].width == 84 && specs[i].ffn == 101)
			test_spec(&specs[i], quants[turn % 5], turn), turn++;
}

/* ------------------------------------------------------------------------------------------------------ few rows */

enum { FEW = 8 };
static const struct rows_case few_cases[] = {
	{ .pattern = ONE_HUGE, .runs = { 1 } },
	{ .pattern = TINY, .runs = { 1, 1 } },
	{ .pattern = RANDOM, .runs = { 1, 2 } },
	{ .pattern = RANDOM, .runs = { 5, 1, 2 } },
};

/* What a model plans for passes of up to `rows` rows; or, with so many rows to a tile, what others plan. */
static void make_pass(struct fixture *f, uint32_t rows, uint32_t tile_rows, struct pass *out)
{
	struct chunk *chunk = &f->model->chunk;
	*out = (struct pass){ .rows = rows, .runs = rows, .table = &chunk->table };
	out->shape = step_shape_for(gpu_caps(f->model->gpu), f->config, FEW, rows,
	                            step_outputs_for(gpu_caps(f->model->gpu), f->config, FEW));
	if (tile_rows) {
		out->shape.tile_depth = out->shape.tile_depth * out->shape.tile_rows / tile_rows;
		out->shape.tile_rows = out->shape.thread_rows = tile_rows;
	}
	assert_ok(chunk_steps(f->model, out));
}

static bool has_stage(const struct steps *steps, const char *stage)
{
	for (uint32_t i = 0; i < steps->count; i++)
		if (strcmp(steps->all[i].stage, stage) == 0)
			return true;
	return false;
}

/* Stages that multiply matrices give a row the same bits in a pass of any number of rows, and at any place in it. */
static void same_bits(struct fixture *f, struct pass *passes, uint32_t count)
{
	static const char *const stages[] = { "chunk mix_in", "chunk att_in", "chunk att_out", "chunk ffn_in", "chunk ffn_out" };
	float *first = malloc(FEW * f->row_floats * sizeof *first), *want = malloc(FEW * f->row_floats * sizeof *want);
	const uint32_t at_f = ROW_F(f->config->width), layer = f->config->layers - 1;
	fill_table(f, &few_cases[3], 0);
	memset(first, 0, FEW * f->row_floats * sizeof *first);
	for (uint32_t row = 0; row < FEW; row++) {
		struct region regions[MAX_REGIONS];
		uint32_t regions_count = row_regions(f->config, regions);
		float *record = first + row * f->row_floats;
		for (uint32_t i = 0; i < regions_count; i++)
			fill_values(&f->random, record + regions[i].at, regions[i].count, RANDOM);
		for (uint32_t i = 0; i < f->config->ffn; i++) /* most are zero, and in groups of 32 all */
			record[at_f + i] = (i / 32 + row) % 3 == 0 || (i * 7 + row) % 5 ? 0 : fabsf(record[at_f + i]);
	}
	for (size_t stage = 0; stage < sizeof stages / sizeof *stages; stage++)
		for (uint32_t i = 0; i < count && has_stage(&passes[0].steps, stages[stage]); i++) {
			uint32_t rows = passes[i].rows, from = rows == FEW ? 0 : stage; /* rows `from` and on, backwards */
			f->pass = &passes[i];
			fill_table(f, &(struct rows_case){ .runs = { rows } }, 0);
			memset(f->records, 0, f->room * f->row_floats * sizeof *f->records);
			for (uint32_t row = 0; row < rows; row++)
				memcpy(f->records + row * f->row_floats, first + (i == 0 ? row : (from + rows - 1 - row) % FEW) * f->row_floats,
				       f->row_floats * sizeof *first);
			fill_state(&f->random, f->config, f->pool, RANDOM);
			write_device(f, layer);
			assert_ok(steps_run(f->model, &f->pass->steps, layer, stages[stage]));
			read_records(f);
			if (i == 0)
				memcpy(want, f->records, FEW * f->row_floats * sizeof *want);
			for (uint32_t row = 0; row < rows && i > 0; row++)
				if (memcmp(f->records + row * f->row_floats, want + (from + rows - 1 - row) % FEW * f->row_floats,
				           f->row_floats * sizeof *want))
					fail_msg("%s: row %u of %u in tiles of %u has other bits than in a pass of %u", stages[stage], row, rows,
					         passes[i].shape.tile_rows, FEW);
		}
	free(first);
	free(want);
}

static void test_few(const struct model_spec *spec, uint32_t turn)
{
	static struct fixture f;
	if (open_fixture(&f, spec, RWKVK_QUANT_NONE)) {
		struct pass passes[5];
		uint32_t count = 0;
		print_message("    %s\n", spec->name);
		for (uint32_t rows = FEW; rows > 0; rows /= 2)
			make_pass(&f, rows, 0, &passes[count++]);
		/* graphics cards have more rows to a tile, where there is shared memory for what all lanes read in a turn */
		if (passes[0].shape.lanes > 1 && passes[0].shape.tile_depth >= 64 * passes[0].shape.lanes)
			make_pass(&f, FEW, passes[0].shape.tile_rows < FEW ? FEW : 4, &passes[count++]);
		same_bits(&f, passes, count);
		for (uint32_t i = 0; i < count; i++)
			if (test_everything() || i == turn % count || (i == (turn + 2) % count && spec->width < 1000)) {
				f.pass = &passes[i];
				run_case(&f, &few_cases[passes[i].rows < 4 ? passes[i].rows - 1 : passes[i].rows / 4 + 1],
				         turn % f.model->slots);
			}
		for (uint32_t i = 0; i < count; i++)
			steps_drop(f.model, &passes[i].steps);
	}
	close_fixture(&f);
}

/* Some of each kind; each pass compiles its own. */
static void few_as_stored(void **state)
{
	static const uint32_t some[] = { 2, 20, 19, 9, 4, 28 };
	(void)state;
	for (uint32_t i = 0; i < SPECS && test_everything(); i++)
		test_few(&specs[i], i);
	for (uint32_t i = test_every() - 1; i < sizeof some / sizeof *some && !test_everything(); i += test_every())
		test_few(&specs[some[i]], i);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(chunks_as_stored), cmocka_unit_test(chunks_quantised),
		                                cmocka_unit_test(few_as_stored) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
