/* Every stage's shader against its function in the C reference: hostile sizes, hostile values, outputs poisoned with NaN; no
 * word may be written that the reference does not write. */
#include "support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "hostile_models.h"
#include "make_model.h"
#include "engine/plan.h"
#include "stage_values.h"

struct fixture {
	struct rwkvk_model *model;
	struct reference reference;
	const struct config *config;
	float *act, *want;           /* [act_floats] */
	float *state, *want_state;   /* [slot] */
	float *logits, *want_logits; /* [V] */
	uint32_t act_floats, slot_floats;
	float *pool, *picks; /* all slots of a layer's state, and of what tokens are picked from */
	uint64_t random;
	const char *what; /* for messages */
};

/* Every slot except this one gets a value that no stage may read, and must hold it afterwards.  Compared as bits: it is NaN. */
static void poison_others(struct fixture *f, struct gpu_buffer *state, uint32_t slot)
{
	struct rwkvk_model *m = f->model;
	uint32_t vocab = f->config->vocab;
	poison(f->pool, m->slots * f->slot_floats);
	memcpy(f->pool + (size_t)slot * f->slot_floats, f->state, f->slot_floats * sizeof(float));
	assert_ok(gpu_write(state, 0, f->pool, m->slots * f->slot_floats * sizeof(float)));
	poison(f->picks, (uint32_t)PICKS_FLOATS(vocab, m->slots));
	assert_ok(gpu_write(&m->picks, 0, f->picks, PICKS_FLOATS(vocab, m->slots) * sizeof(float)));
	for (uint32_t i = 0; i < m->slots; i++)
		poison(slot_logits(m, i), vocab);
}

/* The slot's state is read back.  Of the data from which tokens are picked, a head changes only its own slot's. */
static void check_others(struct fixture *f, struct gpu_buffer *state, uint32_t slot, bool is_head)
{
	struct rwkvk_model *m = f->model;
	uint32_t vocab = f->config->vocab;
	assert_ok(gpu_read(state, 0, f->pool, m->slots * f->slot_floats * sizeof(float)));
	assert_ok(gpu_read(&m->picks, 0, f->picks, PICKS_FLOATS(vocab, m->slots) * sizeof(float)));
	memcpy(f->state, f->pool + (size_t)slot * f->slot_floats, f->slot_floats * sizeof(float));
	assert_true(is_poison(f->picks, PICKS_SLOT(vocab, 0)));
	for (uint32_t i = 0; i < m->slots; i++) {
		const float *own = f->picks + PICKS_SLOT(vocab, i);
		bool untouched = i == slot || is_poison(f->pool + (size_t)i * f->slot_floats, f->slot_floats);
		untouched &= is_poison(own, i == slot && is_head ? PICKS_PART(vocab) : PICKS_STRIDE(vocab));
		untouched &= (i == slot && is_head) || is_poison(slot_logits(m, i), vocab);
		if (!untouched)
			fail_msg("%s: slot %u was written, the stage is slot %u's", f->what, i, slot);
	}
}

static const struct stage head_stage = { "head", NULL, { "x" }, { 0 }, { 0 } };

/* Where the reference wrote nothing, the shader may not have written either. */
static void assert_untouched(struct fixture *f, const float *before)
{
	struct region regions[MAX_REGIONS];
	uint32_t count = act_regions(f->config, regions);
	uint8_t *known = calloc(f->act_floats, 1);
	for (uint32_t i = 0; i < count; i++)
		memset(known + regions[i].at, 1, regions[i].count);
	uint32_t sums = ACT_SUMS(f->config->width, f->config->ffn);
	for (uint32_t i = ACT_X; i < f->act_floats; i++)
		if (!known[i] && (i < sums || i >= ACT_ARRIVED(f->config->width, f->config->ffn)) &&
		    memcmp(&f->act[i], &before[i], sizeof(float)))
			fail_msg("%s: padding word %u was written", f->what, i);
	free(known);
}

static void compare(struct fixture *f, const float *before, const float *reference_before)
{
	struct region regions[MAX_REGIONS];
	uint32_t count = act_regions(f->config, regions);
	char what[256];
	for (uint32_t i = 0; i < count; i++) {
		const struct region *r = &regions[i];
		snprintf(what, sizeof what, "%s: %s", f->what, r->name);
		bool written = memcmp(f->want + r->at, reference_before + r->at, r->count * sizeof(float)) != 0;
		if (written)
			assert_close(what, f->act + r->at, f->want + r->at, r->count, LIMIT);
		else if (memcmp(f->act + r->at, before + r->at, r->count * sizeof(float)))
			fail_msg("%s: was written, but not by the reference", what);
	}
	assert_untouched(f, before);
}

static void run_stage(struct fixture *f, const struct stage *stage, uint32_t layer, uint32_t slot, enum pattern pattern)
{
	const struct config *c = f->config;
	struct rwkvk_model *m = f->model;
	bool is_head = !stage->reference;
	char what[200];
	snprintf(what, sizeof what, "%s, layer %u, %s, %s", stage->name, layer, pattern_names[pattern],
	         f->reference.quant ? "quantised" : "as stored");
	f->what = what;

	memset(f->act, 0, f->act_floats * sizeof *f->act);
	memcpy(&f->act[ACT_CONTROL + CONTROL_SLOT], &slot, sizeof slot);
	fill_act(&f->random, c, stage, layer, f->act, pattern);
	fill_state(&f->random, c, f->state, pattern);
	memcpy(f->want, f->act, f->act_floats * sizeof *f->act);
	memcpy(f->want_state, f->state, f->slot_floats * sizeof *f->state);
	poison(f->want_logits, c->vocab);
	float *before = malloc(f->act_floats * sizeof *before);
	memcpy(before, f->act, f->act_floats * sizeof *before);

	if (is_head)
		reference_head(&f->reference, f->want, f->want_logits);
	else
		stage->reference(&f->reference, layer, f->want_state, f->want);
	struct gpu_buffer *state = &m->layers[is_head ? 0 : layer].state;
	assert_ok(gpu_write(&m->plan.act, 0, f->act, f->act_floats * sizeof *f->act));
	poison_others(f, state, slot);
	assert_ok(forward_stage(m, is_head ? c->layers : layer, stage->name));
	assert_ok(gpu_read(&m->plan.act, 0, f->act, f->act_floats * sizeof *f->act));
	check_others(f, state, slot, is_head);

	compare(f, before, before);
	if (is_head) {
		const float *parts = f->picks + PICKS_SLOT(c->vocab, slot) + PICKS_PART(c->vocab);
		uint32_t best = 0, found = UINT32_MAX;
		float largest = -INFINITY;
		memcpy(f->logits, slot_logits(m, slot), c->vocab * sizeof *f->logits);
		assert_close(what, f->logits, f->want_logits, c->vocab, LIMIT);
		for (uint32_t i = 1; i < c->vocab; i++)
			if (f->logits[i] > f->logits[best])
				best = i;
		for (uint32_t i = 0; i < m->plan.head_groups; i++) {
			uint32_t id;
			memcpy(&id, &parts[2 * i + 1], sizeof id);
			if (parts[2 * i] > largest || (parts[2 * i] == largest && id < found)) {
				largest = parts[2 * i];
				found = id;
			}
		}
		assert_int_equal(found, best);
	} else {
		uint32_t D = c->width;
		assert_close("state: att_x", f->state, f->want_state, D, 0);
		assert_close("state: ffn_x", f->state + D, f->want_state + D, D, 0);
		assert_close(what, f->state + 2 * D, f->want_state + 2 * D, D * c->state_width, LIMIT);
	}
	free(before);
}

static void open_fixture(struct fixture *f, const struct model_spec *spec, rwkvk_quant quant)
{
	char name[64];
	snprintf(name, sizeof name, "stages-%u", (unsigned)spec->seed);
	const char *path = test_temp(name);
	make_model(path, spec);
	*f = (struct fixture){ .random = spec->seed * 977 };
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .quant = quant }, &f->model));
	f->config = &f->model->file.network.config;
	assert_ok(reference_init(&f->reference, &f->model->file.network, quant));
	f->act_floats = config_act_floats(f->config);
	f->slot_floats = (uint32_t)config_slot_floats(f->config);
	f->act = malloc(f->act_floats * sizeof(float));
	f->want = malloc(f->act_floats * sizeof(float));
	f->state = malloc(f->slot_floats * sizeof(float));
	f->want_state = malloc(f->slot_floats * sizeof(float));
	f->logits = malloc(f->config->vocab * sizeof(float));
	f->want_logits = malloc(f->config->vocab * sizeof(float));
	f->pool = malloc((size_t)f->model->slots * f->slot_floats * sizeof(float));
	f->picks = malloc(PICKS_FLOATS(f->config->vocab, f->model->slots) * sizeof(float));
}

static void close_fixture(struct fixture *f)
{
	reference_finish(&f->reference);
	rwkvk_model_close(f->model);
	free(f->act);
	free(f->want);
	free(f->state);
	free(f->want_state);
	free(f->logits);
	free(f->want_logits);
	free(f->pool);
	free(f->picks);
}

static void test_spec(const struct model_spec *spec, rwkvk_quant quant)
{
	struct fixture f;
	print_message("    %s%s\n", spec->name, quant ? ", quantised at load" : "");
	open_fixture(&f, spec, quant);
	for (int pattern = 0; pattern < PATTERNS; pattern++) {
		uint32_t slot = (uint32_t)pattern % f.model->slots;
		for (uint32_t layer = 0; layer < spec->layers; layer++) {
			struct stage stages[MAX_STAGES];
			uint32_t count = layer_stages(&f.model->file.network, layer, stages);
			for (uint32_t i = 0; i < count; i++)
				run_stage(&f, &stages[i], layer, slot, (enum pattern)pattern);
		}
		run_stage(&f, &head_stage, 0, slot, (enum pattern)pattern);
	}
	close_fixture(&f);
}

static void stages_as_stored(void **state)
{
	(void)state;
	for (int i = 0; i < SPECS; i += (int)test_every())
		test_spec(&specs[i], RWKVK_QUANT_NONE);
}

/* Each way of quantising at load on one model of each version and on hostile sizes. */
static void stages_quantised(void **state)
{
	(void)state;
	static const rwkvk_quant quants[] = { RWKVK_QUANT_Q4, RWKVK_QUANT_Q5, RWKVK_QUANT_Q6, RWKVK_QUANT_Q8, RWKVK_QUANT_F16 };
	for (int i = 0, turn = 0; i < SPECS; i += (int)test_every())
		if (specs[i].width < 1000 && !dtype_is_block(specs[i].type))
			test_spec(&specs[i], quants[turn++ % 5]);
}

/* The device decodes a file's weights as the format says, bit for bit: through the embedding and, one column at a time, through
 * a product. */
static void weights_are_exact(void **state)
{
	(void)state;
	for (int i = 0; i < SPECS; i += (int)test_every()) {
		const struct model_spec *spec = &specs[i];
		if (!spec->no_embedding_norm || (spec->version && spec->version != 70))
			continue;
		struct fixture f;
		uint32_t slot = 0, C = spec->width;
		float *row = malloc(C * sizeof *row);
		open_fixture(&f, spec, RWKVK_QUANT_NONE);
		for (uint32_t token = 0; token < spec->vocab; token++) {
			const struct tensor *emb = f.model->file.network.emb;
			uint32_t *io = f.model->io.mapped;
			dtype_to_float(emb->type, emb->data, (uint64_t)token * C, C, row);
			io[IO_MODE] = MODE_FEED;
			io[IO_FED] = 0;
			io[IO_TOKENS] = token;
			io[IO_SLOT] = 0;
			assert_ok(forward_stage(f.model, 0, "select"));
			assert_ok(gpu_read(&f.model->plan.act, ACT_X * sizeof(float), f.act, C * sizeof(float)));
			for (uint32_t j = 0; j < C; j++)
				if (f.act[j] != row[j])
					fail_msg("%s: embedding of token %u, channel %u: got %.9g, want %.9g", spec->name, token, j, f.act[j],
					         row[j]);
		}
		for (uint32_t column = 0; column < spec->ffn; column += 1 + column % 37) {
			const struct tensor *value = f.model->file.network.layers[0].ffn_value;
			float *wide = malloc(spec->ffn * sizeof *wide);
			memset(f.act, 0, f.act_floats * sizeof(float));
			f.act[ACT_F(C) + column] = 1;
			assert_ok(gpu_write(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
			assert_ok(forward_stage(f.model, 0, "ffn_out"));
			assert_ok(gpu_read(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
			for (uint32_t j = 0; j < C; j++) {
				dtype_to_float(value->type, value->data, (uint64_t)j * spec->ffn, spec->ffn, wide);
				if (f.act[ACT_X + j] != wide[column])
					fail_msg("%s: ffn.value[%u,%u]: got %.9g, want %.9g", spec->name, j, column, f.act[ACT_X + j],
					         wide[column]);
			}
			free(wide);
		}
		for (uint32_t column = 0; column < C; column += 1 + column % 37) {
			const struct tensor *output = f.model->file.network.layers[0].output;
			memset(f.act, 0, f.act_floats * sizeof(float));
			memcpy(&f.act[ACT_CONTROL + CONTROL_SLOT], &slot, sizeof slot);
			f.act[ACT_Y(C) + column] = 1;
			assert_ok(gpu_write(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
			assert_ok(forward_stage(f.model, 0, "att_out"));
			assert_ok(gpu_read(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
			for (uint32_t j = 0; j < C; j++) {
				dtype_to_float(output->type, output->data, (uint64_t)j * C, C, row);
				if (f.act[ACT_X + j] != row[column])
					fail_msg("%s: att.output[%u,%u]: got %.9g, want %.9g", spec->name, j, column, f.act[ACT_X + j],
					         row[column]);
			}
		}
		free(row);
		close_fixture(&f);
	}
}

/* Each token's embedding, through whatever slices the table is cut into. */
static void select_embeds(void **state)
{
	(void)state;
	for (int i = 0; i < SPECS; i += (int)test_every()) {
		struct fixture f;
		open_fixture(&f, &specs[i], RWKVK_QUANT_NONE);
		for (uint32_t token = 0; token < specs[i].vocab; token = token < 10 ? token + 1 : token * 2 + 1) {
			uint32_t *io = f.model->io.mapped;
			memset(f.want, 0, f.act_floats * sizeof(float));
			reference_select(&f.reference, token, f.want);
			io[IO_MODE] = MODE_FEED;
			io[IO_FED] = 0;
			io[IO_TOKENS] = token;
			io[IO_SLOT] = 0;
			assert_ok(forward_stage(f.model, 0, "select"));
			assert_ok(gpu_read(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
			assert_close(specs[i].name, f.act + ACT_X, f.want + ACT_X, f.config->width, LIMIT);
			assert_int_equal(io[IO_PICKED], token);
		}
		close_fixture(&f);
	}
}

/* The most probable token: lowest id on ties, none when nothing is a number, and no feeding past a stop token. */
static void select_picks(void **state)
{
	(void)state;
	struct fixture f;
	open_fixture(&f, &specs[0], RWKVK_QUANT_NONE);
	static const struct {
		float value[4];
		uint32_t id[4], stop, want, done;
	} cases[] = {
		{ { 1, 3, 2, -1 }, { 5, 9, 20, 30 }, 99, 9, 0 },
		{ { 3, 1, 3, 3 }, { 40, 9, 12, 31 }, 99, 12, 0 },
		{ { -5, -4, -6, -7 }, { 0, 1, 2, 3 }, 99, 1, 0 },
		{ { 1, 3, 2, -1 }, { 5, 9, 20, 30 }, 9, 9, DONE_STOP },
		{ { -INFINITY, -INFINITY, -INFINITY, -INFINITY },
		  { PART_NONE, PART_NONE, PART_NONE, PART_NONE },
		  99,
		  PART_NONE,
		  DONE_BROKEN },
		{ { -INFINITY, 1, INFINITY, 0 }, { PART_NONE, 7, PART_BROKEN, 8 }, 99, PART_BROKEN, DONE_BROKEN },
		{ { -INFINITY, -FLT_MAX, -INFINITY, -INFINITY }, { PART_NONE, 7, PART_NONE, PART_NONE }, 99, 7, 0 },
	};
	const uint32_t vocab = f.config->vocab, slot = f.model->slots - 1; /* not the first, whose place is the default */
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint32_t *io = f.model->io.mapped;
		float parts[8];
		memset(f.act, 0, f.act_floats * sizeof(float));
		for (uint32_t j = 0; j < 4; j++) {
			parts[2 * j] = cases[i].value[j];
			memcpy(&parts[2 * j + 1], &cases[i].id[j], sizeof(uint32_t));
		}
		assert_ok(
			gpu_write(&f.model->picks, sizeof(float) * (PICKS_SLOT(vocab, slot) + PICKS_PART(vocab)), parts, sizeof parts));
		assert_ok(gpu_write(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
		io[IO_MODE] = MODE_PICK;
		io[IO_PICK] = PICK_ON;
		io[IO_BARE] = io[IO_FED] = 0;
		io[IO_PARTS] = 4;
		io[IO_SLOT] = slot;
		io[IO_STOP_COUNT] = 1;
		io[IO_STOPS] = cases[i].stop;
		assert_ok(forward_stage(f.model, 0, "select"));
		assert_int_equal(io[IO_PICKED], cases[i].want);
		assert_int_equal(io[IO_DONE], cases[i].done);
		/* a stage after it computes, or does nothing */
		assert_ok(forward_stage(f.model, 0, "att_in"));
		assert_ok(gpu_read(&f.model->plan.act, 0, f.act, f.act_floats * sizeof(float)));
		float sum = 0;
		for (uint32_t j = 0; j < f.config->width; j++)
			sum += fabsf(f.act[ACT_R(f.config->width) + j]);
		assert_int_equal(sum == 0, cases[i].done != 0);
	}
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stages_as_stored), cmocka_unit_test(stages_quantised), cmocka_unit_test(weights_are_exact),
		cmocka_unit_test(select_embeds),    cmocka_unit_test(select_picks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
