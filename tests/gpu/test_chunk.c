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

/* Both are logits and the state after them. */
static void compare(const struct config *c, const float *chunk, const float *single, const char *what)
{
	uint64_t layer = config_layer_floats(c);
	char text[256];
	for (uint32_t i = 0; i < c->layers; i++) {
		const float *got = chunk + c->vocab + i * layer, *want = single + c->vocab + i * layer;
		snprintf(text, sizeof text, "%s: shift state of layer %u", what, i);
		assert_close(text, got, want, 2 * c->width, LIMIT);
		snprintf(text, sizeof text, "%s: state of layer %u", what, i);
		assert_close(text, got + 2 * c->width, want + 2 * c->width, layer - 2 * c->width, LIMIT);
	}
	snprintf(text, sizeof text, "%s: logits", what);
	assert_close(text, chunk, single, c->vocab, LIMIT);
}

static const uint32_t counts[] = { 16, 17, 64, 65, 100 };
enum { COUNTS = sizeof counts / sizeof *counts };

/* What a session has after each of them; there may be room for one session only. */
static void read_prompts(struct rwkvk_model *m, bool singly, float *out)
{
	const struct config *c = model_config(m);
	uint32_t tokens[MOST];
	rwkvk_session *s;
	make_tokens(tokens, c->vocab);
	assert_ok(rwkvk_session_create(m, &s));
	for (int i = 0; i < COUNTS; i++, out += c->vocab + config_state_floats(c)) {
		if (singly)
			feed_singly(s, tokens, counts[i]);
		else
			assert_ok(rwkvk_session_eval(s, tokens, counts[i], NULL));
		read_all(s, out, out + c->vocab);
	}
	rwkvk_session_destroy(s);
}

static void test_model(const struct model_spec *spec, rwkvk_quant quant, uint32_t rescale)
{
	struct rwkvk_model *m = open_model(spec, quant, rescale);
	const uint64_t floats = model_config(m)->vocab + config_state_floats(model_config(m));
	float *all = malloc(2 * COUNTS * floats * sizeof *all), *single = all + COUNTS * floats;
	print_message("    %s%s%s\n", spec->name, quant ? ", quantised at load" : "", rescale ? ", rescaled" : "");
	/* but where a binding cannot cover the shortest chunk */
	assert_true(forward_reads_chunks(m, counts[0]) || chunk_bytes(model_config(m), 16) > gpu_caps(m->gpu)->max_buffer);
	read_prompts(m, false, all);
	read_prompts(m, true, single);
	for (int i = 0; i < COUNTS; i++) {
		char what[200];
		snprintf(what, sizeof what, "%s, %u tokens", spec->name, counts[i]);
		compare(model_config(m), all + i * floats, single + i * floats, what);
	}
	free(all);
	rwkvk_model_close(m);
}

static void chunks_as_single_tokens(void **state)
{
	(void)state;
	for (int i = 0; i < SPECS; i += (int)test_every())
		test_model(&specs[i], RWKVK_QUANT_NONE, 0);
}

/* What layers add is divided by powers of two, and x is halved; with ffnPre and without. */
static void rescaled_chunks_as_single_tokens(void **state)
{
	(void)state;
	for (int i = 0; i < SPECS; i++)
		if (specs[i].version == 40 && specs[i].layers > 1)
			test_model(&specs[i], RWKVK_QUANT_NONE, 1);
}

/* Whatever chunks a prompt is cut into, as long as each is one. */
static void bits_of_any_cut(void **state)
{
	(void)state;
	static const uint32_t cuts[][4] = { { 200 }, { 16, 184 }, { 17, 16, 167 }, { 64, 64, 72 }, { 100, 33, 50, 17 } };
	for (int i = 0; i < SPECS; i += (int)test_every()) {
		struct rwkvk_model *m = open_model(&specs[i], RWKVK_QUANT_NONE, 0);
		const struct config *c = model_config(m);
		uint64_t floats = config_state_floats(c);
		uint32_t tokens[MOST];
		float *logits = malloc(2 * c->vocab * sizeof *logits), *states = malloc(2 * floats * sizeof *states);
		make_tokens(tokens, specs[i].vocab);
		for (size_t j = 0; j < sizeof cuts / sizeof *cuts; j++) {
			rwkvk_session *s;
			float *own = logits + (j ? c->vocab : 0), *at = states + (j ? floats : 0);
			assert_ok(rwkvk_session_create(m, &s));
			for (uint32_t k = 0, done = 0; done < MOST; done += cuts[j][k++])
				assert_ok(rwkvk_session_eval(s, tokens + done, cuts[j][k], NULL));
			read_all(s, own, at);
			rwkvk_session_destroy(s);
			assert_memory_equal(own, logits, c->vocab * sizeof *own);
			assert_memory_equal(at, states, floats * sizeof *at);
		}
		free(logits);
		free(states);
		rwkvk_model_close(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(chunks_as_single_tokens),
		                                cmocka_unit_test(rescaled_chunks_as_single_tokens), cmocka_unit_test(bits_of_any_cut) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
