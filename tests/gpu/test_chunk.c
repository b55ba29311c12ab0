/* Prompts in chunks against the same tokens one by one: logits and states of models of every kind; and the same bits however a
 * prompt is cut. */
#include "support.h"

#include <stdio.h>

#include "engine/plan.h"
#include "hostile_models.h"
#include "session/session.h"

/* Of a chunk against single tokens, as a share of the largest logit: both are within test_stages' LIMIT of the reference. */
static const double LIMIT = 3e-5;

enum { MOST = 200 };

static void make_tokens(uint32_t *tokens, uint32_t vocab)
{
	for (uint32_t i = 0; i < MOST; i++)
		tokens[i] = (i * 37 + i * i) % vocab;
}

static struct rwkvk_model *open_model(const struct model_spec *spec, rwkvk_quant quant, uint32_t rescale)
{
	char name[64];
	rwkvk_model *m;
	snprintf(name, sizeof name, "chunk-%u", (unsigned)spec->seed);
	const char *path = test_temp(name);
	make_model(path, spec);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .quant = quant, .rescale = rescale }, &m));
	return m;
}

/* One by one, as written tokens are fed. */
static void feed_singly(rwkvk_session *s, const uint32_t *tokens, uint32_t count)
{
	uint32_t fed;
	assert_ok(model_lock(s->model));
	for (uint32_t i = 0; i < count; i++)
		assert_ok(session_feed(s, tokens + i, 1, true, &fed));
	model_unlock(s->model);
}

static void read_all(rwkvk_session *s, float *logits, float *state)
{
	assert_ok(rwkvk_session_eval(s, NULL, 0, &(rwkvk_eval_options){ .logits = logits }));
	assert_ok(slot_read(s->model, s->slot, state));
}

static void compare(rwkvk_session *chunk, rwkvk_session *single, const char *what)
{
	const struct config *c = model_config(chunk->model);
	uint64_t layer = config_layer_floats(c), floats = config_state_floats(c);
	float *logits = malloc(2 * c->vocab * sizeof *logits), *state = malloc(2 * floats * sizeof *state);
	char text[256];
	read_all(chunk, logits, state);
	read_all(single, logits + c->vocab, state + floats);
	for (uint32_t i = 0; i < c->layers; i++) {
		const float *got = state + i * layer, *want = state + floats + i * layer;
		snprintf(text, sizeof text, "%s: shift state of layer %u", what, i);
		assert_close(text, got, want, 2 * c->width, LIMIT);
		snprintf(text, sizeof text, "%s: state of layer %u", what, i);
		assert_close(text, got + 2 * c->width, want + 2 * c->width, layer - 2 * c->width, LIMIT);
	}
	snprintf(text, sizeof text, "%s: logits", what);
	assert_close(text, logits, logits + c->vocab, c->vocab, LIMIT);
	free(logits);
	free(state);
}

static void as_single_tokens(struct rwkvk_model *m, const struct model_spec *spec)
{
	static const uint32_t counts[] = { 17, 65, 16, 64, 100 };
	uint32_t tokens[MOST];
	rwkvk_session *chunk, *single;
	make_tokens(tokens, spec->vocab);
	assert_ok(rwkvk_session_create(m, &chunk));
	assert_ok(rwkvk_session_create(m, &single));
	for (size_t i = 0; i < (test_everything() ? sizeof counts / sizeof *counts : 2); i++) {
		char what[200];
		snprintf(what, sizeof what, "%s, %u tokens", spec->name, counts[i]);
		assert_true(forward_reads_chunks(m, counts[i]));
		assert_ok(rwkvk_session_eval(chunk, tokens, counts[i], NULL));
		feed_singly(single, tokens, counts[i]);
		compare(chunk, single, what);
	}
	rwkvk_session_destroy(chunk);
	rwkvk_session_destroy(single);
}

/* Whatever calls a prompt is cut into, as long as each is read in chunks. */
static void same_bits(struct rwkvk_model *m, const struct model_spec *spec)
{
	static const uint32_t few[][4] = { { 81 }, { 17, 64 }, { 16, 16, 49 } };
	static const uint32_t all[][4] = { { 200 }, { 16, 184 }, { 17, 16, 167 }, { 64, 64, 72 }, { 100, 33, 50, 17 } };
	const size_t count = test_everything() ? sizeof all / sizeof *all : sizeof few / sizeof *few;
	const uint32_t length = test_everything() ? 200 : 81, vocab = model_config(m)->vocab;
	const uint64_t floats = config_state_floats(model_config(m));
	uint32_t tokens[MOST];
	float *logits = malloc(2 * vocab * sizeof *logits), *states = malloc(2 * floats * sizeof *states);
	make_tokens(tokens, spec->vocab);
	for (size_t j = 0; j < count; j++) {
		const uint32_t *cut = test_everything() ? all[j] : few[j];
		rwkvk_session *s;
		float *own = logits + (j ? vocab : 0), *at = states + (j ? floats : 0);
		assert_ok(rwkvk_session_create(m, &s));
		for (uint32_t done = 0; done < length; done += *cut++)
			assert_ok(rwkvk_session_eval(s, tokens + done, *cut, NULL));
		read_all(s, own, at);
		rwkvk_session_destroy(s);
		assert_memory_equal(own, logits, vocab * sizeof *own);
		assert_memory_equal(at, states, floats * sizeof *at);
	}
	free(logits);
	free(states);
}

static void test_model(const struct model_spec *spec, uint32_t rescale)
{
	struct rwkvk_model *m = open_model(spec, RWKVK_QUANT_NONE, rescale);
	if (m->chunk.rows) {
		print_message("    %s%s\n", spec->name, rescale ? ", rescaled" : "");
		as_single_tokens(m, spec);
		same_bits(m, spec);
	}
	rwkvk_model_close(m);
}

/* A few models, each version among them: their stages are compared one by one (test_chunk_stages.c). */
static void whole_models(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SPECS; i += test_everything() ? 1 : 4 * test_every())
		test_model(&specs[i], 0);
}

/* What layers add is divided by powers of two, and x is halved; with ffnPre and without. */
static void rescaled_models(void **state)
{
	(void)state;
	for (int i = 0; i < SPECS; i++)
		if (specs[i].version == 40 && specs[i].layers > 1 && test_every() == 1)
			test_model(&specs[i], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(whole_models), cmocka_unit_test(rescaled_models) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
