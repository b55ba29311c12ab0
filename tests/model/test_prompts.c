/* Whole prompts in chunks, of every version: cancelled and failing at every submission, made to fit, read token by token on
 * request. */
#include "support.h"

#include <stdio.h>

#include "engine/plan.h"
#include "feed.h"
#include "network/outline.h"
#include "small_models.h"

enum { ROWS = 16, CHUNKS = 3, TOKENS = CHUNKS * ROWS };
static uint32_t prompt[TOKENS];

/* ------------------------------------------------------------------------------------------------------ submissions */

/* Replaces the engine's function at link time (-Wl,--wrap), as if each layer took so long that it needs its own submission. */
void __real_pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds);
void __wrap_pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds);
static bool slow;
void __wrap_pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds)
{
	__real_pace_measured(pace, tokens, slow ? 1000000000u : nanoseconds);
}

/* Something happens during one of them: the n-th from now on is the last, or fails. */
static struct {
	uint32_t submissions, cancel_at, fail_at;
	rwkvk_cancel *cancel;
} events;
rwkvk_status __real_gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count);
rwkvk_status __wrap_gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count);
rwkvk_status __wrap_gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count)
{
	events.submissions++;
	if (events.submissions == events.fail_at)
		return fail(RWKVK_ERROR_DRIVER, "a driver that fails");
	if (events.submissions == events.cancel_at)
		rwkvk_cancel_set(events.cancel);
	return __real_gpu_cmd_run_list(list, count);
}

/* ------------------------------------------------------------------------------------------------------ models */

static rwkvk_model *open_small(const struct model_spec *spec, rwkvk_model_options options)
{
	rwkvk_model *model;
	options.size = sizeof options;
	options.path = make_small_model(spec);
	assert_ok(rwkvk_model_open(&options, &model));
	return model;
}

/* All versions where the driver is left as it is; on other devices RWKV-7 and a few before it. */
static uint32_t first_model(void)
{
	return (SMALL_MODELS - 1) % test_every();
}

/* A session and its contents. */
struct reading {
	rwkvk_session *session;
	float logits[SMALL_VOCAB], *state;
	size_t floats;
};

static void begin(rwkvk_model *model, struct reading *r)
{
	assert_ok(rwkvk_session_create(model, &r->session));
	r->floats = rwkvk_session_state_floats(r->session);
	r->state = malloc(r->floats * sizeof *r->state);
}

static void look(struct reading *r)
{
	assert_ok(feed_tokens(r->session, NULL, 0, r->logits));
	assert_ok(rwkvk_session_floats_get(r->session, r->state, r->floats));
}

static void end(struct reading *r)
{
	rwkvk_session_destroy(r->session);
	free(r->state);
}

static void assert_same(const struct reading *a, const struct reading *b)
{
	assert_memory_equal(a->logits, b->logits, sizeof a->logits);
	assert_memory_equal(a->state, b->state, a->floats * sizeof *a->state);
}

/* ------------------------------------------------------------------------------------------------------ cancel, failure */

/* The state of the first `count` tokens, to the bit, whatever came after. */
static void assert_state_of(rwkvk_model *model, rwkvk_session *session, uint64_t count)
{
	struct reading want, got = { .session = session };
	begin(model, &want);
	got.floats = want.floats;
	got.state = malloc(got.floats * sizeof *got.state);
	assert_int_equal(rwkvk_session_position(session), count);
	assert_ok(rwkvk_session_eval(want.session, prompt, count, NULL));
	assert_ok(rwkvk_session_floats_get(want.session, want.state, want.floats));
	assert_ok(rwkvk_session_floats_get(session, got.state, got.floats));
	assert_memory_equal(got.state, want.state, got.floats * sizeof *got.state);
	free(got.state);
	end(&want);
}

/* Reads the prompt with an event in its i-th submission, then the rest of it. */
static void interrupt(rwkvk_model *model, uint32_t i, bool failing, const struct reading *whole)
{
	const uint32_t layers = model_config(model)->layers, done = (failing ? i - 1 : i) / layers * ROWS;
	struct reading r;
	begin(model, &r);
	rwkvk_cancel_clear(events.cancel);
	events.submissions = 0;
	events.cancel_at = failing ? 0 : i;
	events.fail_at = failing ? i : 0;
	rwkvk_status status = rwkvk_session_eval(r.session, prompt, TOKENS, &(rwkvk_eval_options){ .cancel = events.cancel });
	assert_int_equal(status, failing ? RWKVK_ERROR_DRIVER : done < TOKENS ? RWKVK_CANCELLED : RWKVK_OK);
	if (failing)
		test_assert_error_contains("a driver that fails", __FILE__, __LINE__);
	else
		assert_int_equal(events.submissions, i); /* the running one was the last */
	events.cancel_at = events.fail_at = 0;
	assert_state_of(model, r.session, done);
	if (done < TOKENS)
		assert_fails(feed_tokens(r.session, NULL, 0, r.logits), RWKVK_ERROR_ARGUMENT, "no logits");
	assert_ok(rwkvk_session_eval(r.session, prompt + done, TOKENS - done, NULL));
	look(&r);
	assert_same(&r, whole);
	end(&r);
}

static void interrupted(void **state)
{
	(void)state;
	assert_ok(rwkvk_cancel_create(&events.cancel));
	for (uint32_t i = first_model(); i < SMALL_MODELS; i += test_every()) {
		rwkvk_model *model = open_small(&small_models[i], (rwkvk_model_options){ .chunk_rows = ROWS });
		const uint32_t all = CHUNKS * small_models[i].layers;
		if (model->chunk.pass.rows) {
			struct reading whole;
			slow = true;
			begin(model, &whole);
			assert_ok(rwkvk_session_eval(whole.session, prompt, TOKENS, NULL));
			look(&whole);
			for (uint32_t j = 1; j <= all; j++) {
				interrupt(model, j, false, &whole);
				interrupt(model, j, true, &whole);
			}
			end(&whole);
			slow = false;
		}
		rwkvk_model_close(model);
	}
	rwkvk_cancel_destroy(events.cancel);
}

/* ------------------------------------------------------------------------------------------------------ memory */

/* The rows of the longest chunk on a device with so much memory for the model; UINT32_MAX: it cannot be opened, and `exact`
 * would help.
 */
static uint32_t rows_within(const char *path, uint64_t bytes, bool exact)
{
	const rwkvk_model_options options = { .size = sizeof options, .path = path, .device_memory = bytes, .exact = exact };
	rwkvk_model *model;
	rwkvk_status status = rwkvk_model_open(&options, &model);
	if (status != RWKVK_OK) {
		assert_fails(status, RWKVK_ERROR_MEMORY, "rwkvk_model_options.exact");
		return UINT32_MAX;
	}
	uint32_t rows = model->chunk.pass.rows;
	rwkvk_model_close(model);
	return rows;
}

/* Chunks get shorter where memory is short, down to 16 rows; then only reading token by token is left. */
static void what_fits(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SMALL_MODELS; i += SMALL_MODELS - 1) { /* the first and the last */
		rwkvk_model *model = open_small(&small_models[i], (rwkvk_model_options){ .chunk_rows = 0 });
		const char *path = model_file(model)->weights.path;
		const struct config c = *model_config(model);
		uint64_t need = model_device_bytes(&model_file(model)->network, RWKVK_QUANT_NONE, model->slots, 0);
		need += tuning_staging_bytes(&model->plan.tuning, &c);
		const uint64_t slack = 65536; /* alignment is not counted */
		uint32_t most = model->chunk.pass.rows;
		char copy[512];
		snprintf(copy, sizeof copy, "%s", path);
		rwkvk_model_close(model);
		if (!most)
			continue;
		for (uint32_t rows = most; rows >= 16; rows = rows / 32 * 16) {
			assert_true(slack < chunk_bytes(&c, 16));
			assert_int_equal(rows_within(copy, need + slack + chunk_bytes(&c, rows), false), rows);
			assert_int_equal(rows_within(copy, need + chunk_bytes(&c, rows) - 1, false),
			                 rows == 16 ? UINT32_MAX : rows / 32 * 16);
		}
		assert_int_equal(rows_within(copy, need, false), UINT32_MAX);
		assert_int_equal(rows_within(copy, need + slack, true), 0);
	}
}

/* ------------------------------------------------------------------------------------------------------ options */

static void read_prompt(rwkvk_model *model, uint32_t at_once, struct reading *r)
{
	begin(model, r);
	for (uint32_t i = 0; i < TOKENS; i += at_once)
		assert_ok(rwkvk_session_eval(r->session, prompt + i, at_once, NULL));
	look(r);
}

/* exact: the bits of tokens fed one by one, however many are fed at once.  chunk_rows: always the same bits; it is rounded in
 * the same way for all versions, so only the last tests more than one. */
static void options(void **state)
{
	(void)state;
	static const rwkvk_model_options given[] = { { .chunk_rows = 16 }, { .chunk_rows = 40 }, { .chunk_rows = 1 } };
	static const uint32_t rows[] = { 16, 32, 16 };
	for (uint32_t i = first_model(); i < SMALL_MODELS; i += test_every()) {
		const size_t count = i == SMALL_MODELS - 1 || test_everything() ? sizeof rows / sizeof *rows : 1;
		rwkvk_model *exact = open_small(&small_models[i], (rwkvk_model_options){ .exact = 1 });
		rwkvk_model *usual = open_small(&small_models[i], (rwkvk_model_options){ .exact = 0 });
		struct reading singly, at_once, r;
		assert_int_equal(exact->chunk.pass.rows, 0);
		read_prompt(exact, TOKENS, &singly);
		read_prompt(usual, TOKENS, &at_once);
		read_prompt(usual, 1, &r); /* token by token it equals `exact` */
		assert_same(&r, &singly);
		end(&r);
		for (size_t j = 0; j < count && usual->chunk.pass.rows; j++) {
			rwkvk_model *model = open_small(&small_models[i], given[j]);
			assert_int_equal(model->chunk.pass.rows, rows[j]);
			read_prompt(model, TOKENS, &r);
			assert_same(&r, &at_once);
			end(&r);
			rwkvk_model_close(model);
		}
		end(&singly);
		end(&at_once);
		rwkvk_model_close(exact);
		rwkvk_model_close(usual);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(interrupted), cmocka_unit_test(what_fits), cmocka_unit_test(options) };
	for (uint32_t i = 0; i < TOKENS; i++)
		prompt[i] = (i * 37 + i * i) % SMALL_VOCAB;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
