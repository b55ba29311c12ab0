/* Sessions: what the public header promises, beyond the numbers. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "rwkvk.h"

static rwkvk_model *model;
static rwkvk_model_info info;
static const uint32_t text[] = { 5, 100, 33, 7, 260, 11, 12, 400 };
enum { TEXT = sizeof text / sizeof *text };

static rwkvk_session *new_session(void)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(model, &session));
	return session;
}

static float *logits_after(rwkvk_session *session, const uint32_t *tokens, size_t count)
{
	float *logits = malloc(info.vocab * sizeof *logits);
	assert_ok(rwkvk_session_eval(session, tokens, count, logits));
	return logits;
}

static void assert_same(const float *a, const float *b)
{
	assert_memory_equal(a, b, info.vocab * sizeof *a);
}

/* One token at a time, all at once, and cut anywhere: the same bits. */
static void eval_in_pieces(void **state)
{
	(void)state;
	rwkvk_session *a = new_session(), *b = new_session();
	float *want = logits_after(a, text, TEXT);
	for (size_t cut = 1; cut < TEXT; cut++) {
		assert_ok(rwkvk_session_reset(b));
		assert_ok(rwkvk_session_eval(b, text, cut, NULL));
		float *got = logits_after(b, text + cut, TEXT - cut);
		assert_same(got, want);
		free(got);
	}
	assert_int_equal(rwkvk_session_position(a), TEXT);
	float *again = logits_after(a, NULL, 0);
	assert_same(again, want);
	free(again);
	free(want);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
}

/* Sessions do not see each other, and each finds its own logits again. */
static void sessions_are_independent(void **state)
{
	(void)state;
	rwkvk_session *a = new_session(), *b = new_session();
	float *want_a = logits_after(a, text, 4), *want_b = logits_after(b, text + 4, 4);
	rwkvk_session *c = new_session(), *d = new_session();
	for (size_t i = 0; i < 4; i++) {
		assert_ok(rwkvk_session_eval(c, text + i, 1, NULL));
		assert_ok(rwkvk_session_eval(d, text + 4 + i, 1, NULL));
	}
	float *got_c = logits_after(c, NULL, 0), *got_d = logits_after(d, NULL, 0);
	assert_same(got_c, want_a);
	assert_same(got_d, want_b);
	rwkvk_session *none;
	assert_fails(rwkvk_session_create(model, &none), RWKVK_ERROR_MEMORY, "max_sessions");
	rwkvk_session_destroy(c);
	c = new_session(); /* a reused slot is empty */
	float *fresh = logits_after(c, text, 4);
	assert_same(fresh, want_a);
	free(fresh);
	free(want_a);
	free(want_b);
	free(got_c);
	free(got_d);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_session_destroy(c);
	rwkvk_session_destroy(d);
}

/* Clone, snapshot and file continue bit for bit. */
static void copies_continue(void **state)
{
	(void)state;
	const char *path = test_temp("session.state");
	rwkvk_session *a = new_session(), *b, *c = new_session();
	float *saved = malloc(info.state_floats * sizeof *saved);
	assert_ok(rwkvk_session_eval(a, text, 5, NULL));
	assert_ok(rwkvk_session_clone(a, &b));
	assert_int_equal(rwkvk_session_position(b), 5);
	assert_ok(rwkvk_session_snapshot(a, saved));
	assert_ok(rwkvk_session_save(a, path));
	float *want = logits_after(a, text + 5, 3), *got = logits_after(b, text + 5, 3);
	assert_same(got, want);
	free(got);
	assert_ok(rwkvk_session_restore(c, saved, 5));
	uint32_t token;
	assert_fails(rwkvk_session_sample(c, &(rwkvk_sampling){ 0 }, &token), RWKVK_ERROR_ARGUMENT, "feed");
	got = logits_after(c, text + 5, 3);
	assert_same(got, want);
	free(got);
	assert_ok(rwkvk_session_load(c, path));
	assert_int_equal(rwkvk_session_position(c), 5);
	got = logits_after(c, text + 5, 3);
	assert_same(got, want);
	free(got);
	free(want);
	free(saved);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_session_destroy(c);
}

static void foreign_state_is_refused(void **state)
{
	(void)state;
	const char *path = test_temp("foreign.state");
	rwkvk_model *other;
	rwkvk_session *a = new_session(), *b;
	char name[512];
	snprintf(name, sizeof name, "%s/v7-c192-bf16.safetensors", TEST_DATA_DIR);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = name }, &other));
	assert_ok(rwkvk_session_create(other, &b));
	assert_ok(rwkvk_session_save(b, path));
	assert_fails(rwkvk_session_load(a, path), RWKVK_ERROR_FILE, "192");
	assert_fails(rwkvk_session_load(a, path), RWKVK_ERROR_FILE, "128");
	rwkvk_session_destroy(b);
	rwkvk_model_close(other);
	rwkvk_session_destroy(a);
}

struct collected {
	uint32_t tokens[64];
	size_t count, stop_after;
	rwkvk_session *cancel;
};

static bool collect(void *user, uint32_t token, const void *bytes, size_t count)
{
	struct collected *c = user;
	(void)bytes;
	(void)count;
	c->tokens[c->count++] = token;
	if (c->cancel && c->count == 3)
		rwkvk_session_cancel(c->cancel);
	return c->count != c->stop_after;
}

static struct collected generate(rwkvk_session *session, rwkvk_generate_options options, rwkvk_status want,
                                 rwkvk_generate_result *result)
{
	struct collected c = { .stop_after = SIZE_MAX };
	options.on_token = collect;
	options.user = &c;
	assert_int_equal(rwkvk_session_generate(session, &options, result), want);
	return c;
}

/* The device's pick, the host's pick, and feeding by hand agree. */
static void greedy_paths_agree(void **state)
{
	(void)state;
	rwkvk_generate_result result;
	rwkvk_session *a = new_session(), *b = new_session(), *c = new_session();
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	assert_ok(rwkvk_session_eval(b, text, TEXT, NULL));
	assert_ok(rwkvk_session_eval(c, text, TEXT, NULL)); /* a's and b's logits now live on the host */
	struct collected on_device =
		generate(c, (rwkvk_generate_options){ .max_tokens = 12, .ignore_end = true }, RWKVK_OK, &result);
	assert_int_equal(result.tokens, 12);
	assert_false(result.stopped);
	struct collected on_host =
		generate(a,
	             (rwkvk_generate_options){
					 .max_tokens = 12, .ignore_end = true, .sampling = { .top_k = 1, .temperature = 1, .top_p = 1 } },
	             RWKVK_OK, &result);
	assert_memory_equal(on_device.tokens, on_host.tokens, 12 * sizeof(uint32_t));
	for (size_t i = 0; i < 12; i++) {
		uint32_t token;
		assert_ok(rwkvk_session_sample(b, &(rwkvk_sampling){ 0 }, &token));
		assert_int_equal(token, on_device.tokens[i]);
		assert_ok(rwkvk_session_eval(b, &token, 1, NULL));
	}
	float *want = logits_after(b, text, 1), *got = logits_after(c, text, 1);
	assert_same(got, want);
	free(got);
	free(want);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_session_destroy(c);
}

/* A stop token is neither reported nor fed, on both paths. */
static void stop_tokens(void **state)
{
	(void)state;
	for (int on_host = 0; on_host < 2; on_host++) {
		rwkvk_sampling sampling = on_host ? (rwkvk_sampling){ .temperature = 1, .top_p = 0 } : (rwkvk_sampling){ 0 };
		rwkvk_generate_result result;
		rwkvk_session *a = new_session(), *b = new_session();
		assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
		assert_ok(rwkvk_session_eval(b, text, TEXT, NULL));
		struct collected free_run = generate(
			a, (rwkvk_generate_options){ .max_tokens = 8, .ignore_end = true, .sampling = sampling }, RWKVK_OK, &result);
		uint32_t stop = free_run.tokens[5];
		size_t until = 0;
		while (free_run.tokens[until] != stop)
			until++;
		struct collected stopped = generate(
			b, (rwkvk_generate_options){ .max_tokens = 8, .stop_tokens = &stop, .stop_token_count = 1, .sampling = sampling },
			RWKVK_OK, &result);
		assert_true(result.stopped);
		assert_int_equal(result.tokens, until);
		assert_int_equal(stopped.count, until);
		assert_int_equal(rwkvk_session_position(b), TEXT + until);
		rwkvk_session_destroy(a);
		/* the state is the one before the stop token */
		a = new_session();
		assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
		assert_ok(rwkvk_session_eval(a, stopped.tokens, until, NULL));
		float *want = logits_after(a, text, 2), *got = logits_after(b, text, 2);
		assert_same(got, want);
		free(got);
		free(want);
		rwkvk_session_destroy(a);
		rwkvk_session_destroy(b);
	}
}

static void cancellation(void **state)
{
	(void)state;
	rwkvk_generate_result result;
	rwkvk_session *a = new_session();
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	struct collected c = { .stop_after = SIZE_MAX, .cancel = a };
	rwkvk_generate_options options = { .max_tokens = 50, .ignore_end = true, .on_token = collect, .user = &c };
	assert_int_equal(rwkvk_session_generate(a, &options, &result), RWKVK_CANCELLED);
	assert_int_equal(result.tokens, 3);
	assert_int_equal(rwkvk_session_position(a), TEXT + 3);
	c = (struct collected){ .stop_after = 2 };
	assert_int_equal(rwkvk_session_generate(a, &options, &result), RWKVK_CANCELLED);
	assert_int_equal(result.tokens, 2);
	rwkvk_session_cancel(a);
	assert_int_equal(rwkvk_session_eval(a, text, 1, NULL), RWKVK_CANCELLED);
	assert_ok(rwkvk_session_eval(a, text, 1, NULL)); /* a cancellation is used up */
	rwkvk_session_destroy(a);
}

static void sampling_is_repeatable(void **state)
{
	(void)state;
	struct collected runs[3];
	for (int i = 0; i < 3; i++) {
		rwkvk_sampling sampling = {
			.temperature = 1.5f, .top_p = 1, .presence = 0.2f, .frequency = 0.2f, .decay = 0.99f, .seed = i == 2 ? 8 : 7
		};
		rwkvk_session *a = new_session();
		assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
		runs[i] =
			generate(a, (rwkvk_generate_options){ .max_tokens = 20, .ignore_end = true, .sampling = sampling }, RWKVK_OK, NULL);
		rwkvk_session_destroy(a);
	}
	assert_memory_equal(runs[0].tokens, runs[1].tokens, 20 * sizeof(uint32_t));
	assert_memory_not_equal(runs[0].tokens, runs[2].tokens, 20 * sizeof(uint32_t));
}

static void bad_tokens(void **state)
{
	(void)state;
	rwkvk_session *a = new_session();
	assert_fails(rwkvk_session_eval(a, (uint32_t[]){ 1, 512 }, 2, NULL), RWKVK_ERROR_ARGUMENT, "512");
	assert_int_equal(rwkvk_session_position(a), 0);
	float logits[512];
	assert_fails(rwkvk_session_eval(a, NULL, 0, logits), RWKVK_ERROR_ARGUMENT, "feed");
	assert_fails(rwkvk_session_generate(a, &(rwkvk_generate_options){ 0 }, NULL), RWKVK_ERROR_ARGUMENT, "feed");
	rwkvk_session_destroy(a);
}

/* The price of a token in calls: docs/architecture.md, One token. */
static void counters_per_token(void **state)
{
	(void)state;
	enum { TOKENS = 10 };
	rwkvk_counters before, after;
	rwkvk_session *a = new_session();
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	const rwkvk_sampling ways[] = { { 0 }, { .temperature = 1, .top_p = 0.9f, .seed = 3 } };
	for (size_t i = 0; i < 2; i++) {
		rwkvk_model_counters(model, &before);
		assert_ok(rwkvk_session_generate(
			a, &(rwkvk_generate_options){ .max_tokens = TOKENS, .ignore_end = true, .sampling = ways[i] }, NULL));
		rwkvk_model_counters(model, &after);
		const char *range = getenv("RWKVK_CAPS");
		bool sliced = range && strstr(range, "range=");
		assert_int_equal(after.tokens - before.tokens, TOKENS);
		assert_int_equal(after.submits - before.submits, TOKENS);
		if (!sliced)
			assert_int_equal(after.dispatches - before.dispatches, TOKENS * (5 * info.layers + 2));
		assert_int_equal(after.barriers - before.barriers, after.dispatches - before.dispatches); /* one a stage */
		assert_int_equal(after.descriptor_updates, before.descriptor_updates);
		assert_int_equal(after.allocations, before.allocations);
		assert_int_equal(after.buffers, before.buffers);
		assert_int_equal(after.recordings, before.recordings);
	}
	rwkvk_session_destroy(a);
}

static void *worker(void *user)
{
	rwkvk_session *session = user;
	float *logits = malloc(info.vocab * sizeof *logits);
	for (size_t i = 0; i < TEXT; i++)
		if (rwkvk_session_eval(session, text + i, 1, logits) != RWKVK_OK) {
			free(logits);
			return NULL;
		}
	return logits;
}

/* Several threads on one model. */
static void threads(void **state)
{
	(void)state;
	rwkvk_session *sessions[4];
	pthread_t ids[4];
	for (int i = 0; i < 4; i++)
		sessions[i] = new_session();
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, worker, sessions[i]), 0);
	float *want = NULL;
	for (int i = 0; i < 4; i++) {
		void *logits;
		pthread_join(ids[i], &logits);
		assert_non_null(logits);
		if (want)
			assert_same(logits, want);
		else
			want = logits;
		if (want != logits)
			free(logits);
		rwkvk_session_destroy(sessions[i]);
	}
	free(want);
}

struct reports {
	uint64_t calls;
	pthread_t caller;
	bool elsewhere;
};

static bool give_up(void *user, uint64_t done, uint64_t total)
{
	struct reports *reports = user;
	reports->calls++;
	reports->elsewhere |= !pthread_equal(pthread_self(), reports->caller);
	return done * 2 < total;
}

static void loading(void **state)
{
	(void)state;
	char path[512];
	rwkvk_model *other;
	snprintf(path, sizeof path, "%s/v7-c128-f16.gguf", TEST_DATA_DIR);
	for (rwkvk_quant quant = RWKVK_QUANT_NONE; quant <= RWKVK_QUANT_F16; quant++) {
		struct reports reports = { .caller = pthread_self() };
		const rwkvk_model_options options = { .path = path, .quant = quant, .progress = give_up, .progress_user = &reports };
		assert_fails(rwkvk_model_open(&options, &other), RWKVK_CANCELLED, "cancelled");
		assert_null(other);
		assert_in_range(reports.calls, 2, 1000);
		assert_false(reports.elsewhere);
	}
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .device = "no such device" }, &other),
	             RWKVK_ERROR_DEVICE, "no such device");
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = "/nowhere/model.gguf" }, &other), RWKVK_ERROR_FILE,
	             "/nowhere/model.gguf");
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .vocab = "/nowhere/vocab.txt" }, &other),
	             RWKVK_ERROR_FILE, "/nowhere/vocab.txt");
	size_t bytes;
	uint8_t *data = test_read_file(path, &bytes);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .data = data, .data_bytes = bytes }, &other));
	rwkvk_model_close(other);
	const char *caps = getenv("RWKVK_CAPS");
	char with_memory[256];
	snprintf(with_memory, sizeof with_memory, "%s%smemory=1000000", caps ? caps : "", caps && *caps ? "," : "");
	char *saved = caps ? strdup(caps) : NULL;
	setenv("RWKVK_CAPS", with_memory, 1);
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &other), RWKVK_ERROR_MEMORY, "needs");
	if (saved)
		setenv("RWKVK_CAPS", saved, 1);
	else
		unsetenv("RWKVK_CAPS");
	free(saved);
	free(data);
}

static int open_model(void **state)
{
	(void)state;
	char path[512];
	snprintf(path, sizeof path, "%s/v7-c128-f16.gguf", TEST_DATA_DIR);
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_sessions = 4 }, &model) != RWKVK_OK) {
		print_error("%s\n", rwkvk_last_error());
		return -1;
	}
	rwkvk_model_get_info(model, &info);
	return 0;
}

static int close_model(void **state)
{
	(void)state;
	rwkvk_model_close(model);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eval_in_pieces),
		cmocka_unit_test(sessions_are_independent),
		cmocka_unit_test(copies_continue),
		cmocka_unit_test(foreign_state_is_refused),
		cmocka_unit_test(greedy_paths_agree),
		cmocka_unit_test(stop_tokens),
		cmocka_unit_test(cancellation),
		cmocka_unit_test(sampling_is_repeatable),
		cmocka_unit_test(bad_tokens),
		cmocka_unit_test(counters_per_token),
		cmocka_unit_test(threads),
		cmocka_unit_test(loading),
	};
	return cmocka_run_group_tests(tests, open_model, close_model);
}
