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

/* One by one, as generated tokens are fed. */
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

/* However a prompt is divided into calls, as long as each is read in chunks. */
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
	if (m->chunk.pass.rows) {
		print_message("    %s%s\n", spec->name, rescale ? ", rescaled" : "");
		as_single_tokens(m, spec);
		same_bits(m, spec);
	}
	rwkvk_model_close(m);
}

/* The first and then every n-th of the models whose stages are compared one by one (test_chunk_stages.c), since the driver has
 * compiled their pipelines. */
static bool is_next(bool taken, uint32_t *count, uint32_t step)
{
	return taken && (*count)++ % (test_everything() ? 1 : step) == 0;
}

/* A few models, RWKV-4 to 7 among them where the driver is left as it is. */
static void whole_models(void **state)
{
	(void)state;
	bool taken[SPECS];
	take_specs(taken);
	for (uint32_t i = 0, count = 0; i < SPECS; i++)
		if (is_next(taken[i], &count, 3))
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

enum { TOKENS = 81 }; /* all of their logits are needed */

/* The arguments of on_logits. */
struct rows {
	float *logits;
	size_t vocab, count;
};

static bool keep_row(void *user, size_t index, const float *logits)
{
	struct rows *rows = user;
	assert_int_equal(index, rows->count++);
	memcpy(rows->logits + index * rows->vocab, logits, rows->vocab * sizeof *logits);
	return true;
}

/* Feeds `all` tokens, divided as `cuts` says, and keeps a row for each; then compares what the session has. */
static void feed_for_rows(rwkvk_session *s, const uint32_t *tokens, const uint32_t *cuts, uint32_t all, struct rows *rows)
{
	for (uint32_t done = 0; done < all; done += *cuts++) {
		struct rows part = { .logits = rows->logits + done * rows->vocab, .vocab = rows->vocab };
		const rwkvk_eval_options options = { .size = sizeof options, .on_logits = keep_row, .logits_user = &part };
		assert_ok(rwkvk_session_eval(s, tokens + done, *cuts, &options));
		assert_int_equal(part.count, *cuts);
	}
}

static struct rows make_rows(uint32_t vocab)
{
	return (struct rows){ .logits = calloc((size_t)TOKENS * vocab, sizeof(float)), .vocab = vocab };
}

/* Against those of single tokens. */
static void check_rows(const struct rows *got, rwkvk_session *single, const uint32_t *tokens)
{
	float *want = malloc(got->vocab * sizeof *want);
	char what[64];
	for (uint32_t i = 0; i < TOKENS; i++) {
		feed_singly(single, tokens + i, 1);
		assert_ok(rwkvk_session_eval(single, NULL, 0, &(rwkvk_eval_options){ .logits = want }));
		snprintf(what, sizeof what, "logits of token %u", i);
		assert_close(what, got->logits + i * got->vocab, want, got->vocab, LIMIT);
	}
	free(want);
}

/* The state and the last token's logits are those of a prompt without. */
static void check_left(struct rwkvk_model *m, rwkvk_session *s, const uint32_t *tokens, uint32_t all)
{
	const struct config *c = model_config(m);
	uint64_t floats = config_state_floats(c);
	float *logits = malloc(2 * c->vocab * sizeof *logits), *states = malloc(2 * floats * sizeof *states);
	rwkvk_session *without;
	assert_ok(rwkvk_session_create(m, &without));
	assert_ok(rwkvk_session_eval(without, tokens, all, NULL));
	read_all(s, logits, states);
	read_all(without, logits + c->vocab, states + floats);
	assert_memory_equal(logits, logits + c->vocab, c->vocab * sizeof *logits);
	assert_memory_equal(states, states + floats, floats * sizeof *states);
	rwkvk_session_destroy(without);
	free(logits);
	free(states);
}

static void test_rows(const struct model_spec *spec)
{
	static const uint32_t whole[] = { TOKENS }, cut[] = { 17, 64 };
	struct rwkvk_model *m = open_model(spec, RWKVK_QUANT_NONE, 0);
	if (m->slots < 4) { /* if a binding covers no more, there is no room for what is compared */
		rwkvk_model_close(m);
		return;
	}
	struct rows a = make_rows(spec->vocab), b = make_rows(spec->vocab);
	uint32_t tokens[MOST];
	rwkvk_session *s, *parts, *single;
	make_tokens(tokens, spec->vocab);
	assert_ok(rwkvk_session_create(m, &s));
	assert_ok(rwkvk_session_create(m, &parts));
	assert_ok(rwkvk_session_create(m, &single));
	feed_for_rows(s, tokens, whole, TOKENS, &a);
	feed_for_rows(parts, tokens, cut, TOKENS, &b);
	assert_memory_equal(a.logits, b.logits, TOKENS * a.vocab * sizeof(float));
	check_rows(&a, single, tokens);
	check_left(m, s, tokens, TOKENS);
	free(a.logits);
	free(b.logits);
	rwkvk_session_destroy(s);
	rwkvk_session_destroy(parts);
	rwkvk_session_destroy(single);
	rwkvk_model_close(m);
}

static void logits_of_every_token(void **state)
{
	(void)state;
	bool taken[SPECS];
	take_specs(taken);
	for (uint32_t i = 0, count = 0; i < SPECS; i++)
		if (is_next(taken[i], &count, 6))
			test_rows(&specs[i]);
}

/* Calls shorter than the shortest chunk, and a model that reads none, give the bits of single tokens. */
static void logits_without_chunks(void **state)
{
	(void)state;
	static const uint32_t one[] = { 1, 2, 3, 4, 5 };
	const char *path = test_temp("chunk-none");
	make_model(path, &specs[0]);
	for (uint32_t exact = 0; exact < 2; exact++) {
		struct rwkvk_model *m;
		const rwkvk_model_options options = { .size = sizeof options, .path = path, .exact = exact };
		assert_ok(rwkvk_model_open(&options, &m));
		const uint32_t all = exact ? TOKENS : 15, cuts[] = { TOKENS };
		struct rows rows = make_rows(specs[0].vocab);
		float *want = malloc(rows.vocab * sizeof *want);
		uint32_t tokens[MOST];
		rwkvk_session *s, *single;
		make_tokens(tokens, specs[0].vocab);
		assert_ok(rwkvk_session_create(m, &s));
		assert_ok(rwkvk_session_create(m, &single));
		feed_for_rows(s, tokens, exact ? cuts : one, all, &rows);
		for (uint32_t i = 0; i < all; i++) {
			feed_singly(single, tokens + i, 1);
			assert_ok(rwkvk_session_eval(single, NULL, 0, &(rwkvk_eval_options){ .logits = want }));
			assert_memory_equal(rows.logits + i * rows.vocab, want, rows.vocab * sizeof *want);
		}
		free(rows.logits);
		free(want);
		rwkvk_session_destroy(s);
		rwkvk_session_destroy(single);
		rwkvk_model_close(m);
	}
}

static bool stop_at_third(void *user, size_t index, const float *logits)
{
	(void)logits;
	*(size_t *)user = index;
	return index < 2;
}

/* The callback ends the call; the session continues from what was fed. */
static void logits_until_the_caller_stops(void **state)
{
	(void)state;
	struct rwkvk_model *m = open_model(&specs[0], RWKVK_QUANT_NONE, 0);
	uint32_t tokens[MOST];
	size_t last = 0;
	rwkvk_session *s;
	const rwkvk_eval_options options = { .size = sizeof options, .on_logits = stop_at_third, .logits_user = &last };
	make_tokens(tokens, specs[0].vocab);
	for (uint32_t count = 3; count <= MOST; count += MOST - 3) {
		assert_ok(rwkvk_session_create(m, &s));
		assert_fails(rwkvk_session_eval(s, tokens, count, &options), RWKVK_CANCELLED, "stopped by the caller at token 3 of");
		assert_int_equal(last, 2);
		uint32_t fed = (uint32_t)rwkvk_session_position(s);
		assert_true(fed >= 3 && fed <= count);
		assert_ok(rwkvk_session_eval(s, tokens + fed, count - fed, NULL));
		if (count == MOST)
			check_left(m, s, tokens, MOST);
		rwkvk_session_destroy(s);
	}
	rwkvk_model_close(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_models),
		cmocka_unit_test(rescaled_models),
		cmocka_unit_test(logits_of_every_token),
		cmocka_unit_test(logits_without_chunks),
		cmocka_unit_test(logits_until_the_caller_stops),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
