/* Sessions: what the public header promises, beyond the numbers. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "feed.h"
#include "rwkvk_tools.h"

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
	assert_ok(feed_tokens(session, tokens, count, logits));
	return logits;
}

static void assert_same(const float *a, const float *b)
{
	assert_memory_equal(a, b, info.vocab * sizeof *a);
}

/* One token at a time, all at once, and divided anywhere: the same bits. */
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

/* Sessions do not affect each other, and each keeps its own logits. */
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
	assert_fails(rwkvk_session_create(model, &none), RWKVK_ERROR_BUSY, "max_sessions");
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

/* A clone, a state as floats and a state file continue bit for bit. */
static void copies_continue(void **state)
{
	(void)state;
	const char *path = test_temp("session.state");
	rwkvk_session *a = new_session(), *b, *c = new_session();
	size_t floats = rwkvk_session_state_floats(a);
	float *saved = malloc(floats * sizeof *saved);
	assert_ok(rwkvk_session_eval(a, text, 5, NULL));
	assert_ok(rwkvk_session_clone(a, &b));
	assert_int_equal(rwkvk_session_position(b), 5);
	assert_ok(rwkvk_session_floats_get(a, saved, floats));
	assert_ok(rwkvk_session_save(a, path));
	float *want = logits_after(a, text + 5, 3), *got = logits_after(b, text + 5, 3);
	assert_same(got, want);
	free(got);
	assert_ok(rwkvk_session_floats_set(c, saved, floats, 5));
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
	rwkvk_cancel *cancel;
	size_t cancel_after;
};

static bool collect(void *user, const rwkvk_token *token)
{
	struct collected *c = user;
	c->tokens[c->count++] = token->id;
	if (c->count == c->cancel_after)
		rwkvk_cancel_set(c->cancel);
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
	rwkvk_generate_result result = { 0 };
	rwkvk_session *a = new_session(), *b = new_session(), *c = new_session();
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	assert_ok(rwkvk_session_eval(b, text, TEXT, NULL));
	assert_ok(rwkvk_session_eval(c, text, TEXT, NULL)); /* a's and b's logits now live on the host */
	struct collected on_device =
		generate(c, (rwkvk_generate_options){ .max_tokens = 12, .ignore_end = true }, RWKVK_OK, &result);
	assert_int_equal(result.tokens, 12);
	assert_int_equal(result.reason, RWKVK_END_LENGTH);
	struct collected on_host = generate(
		a,
		(rwkvk_generate_options){
			.max_tokens = 12, .ignore_end = true, .sampling = &(rwkvk_sampling){ .top_k = 1, .temperature = 1, .top_p = 1 } },
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
		rwkvk_generate_result result = { 0 };
		rwkvk_session *a = new_session(), *b = new_session();
		assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
		assert_ok(rwkvk_session_eval(b, text, TEXT, NULL));
		struct collected free_run = generate(
			a, (rwkvk_generate_options){ .max_tokens = 8, .ignore_end = true, .sampling = &sampling }, RWKVK_OK, &result);
		uint32_t stop = free_run.tokens[5];
		size_t until = 0;
		while (free_run.tokens[until] != stop)
			until++;
		struct collected stopped = generate(
			b, (rwkvk_generate_options){ .max_tokens = 8, .stop_tokens = &stop, .stop_token_count = 1, .sampling = &sampling },
			RWKVK_OK, &result);
		assert_int_equal(result.reason, RWKVK_END_STOP_TOKEN);
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
	rwkvk_generate_result result = { 0 };
	rwkvk_session *a = new_session();
	rwkvk_cancel *cancel;
	assert_ok(rwkvk_cancel_create(&cancel));
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	struct collected c = { .stop_after = SIZE_MAX, .cancel = cancel, .cancel_after = 3 };
	rwkvk_generate_options options = {
		.max_tokens = 50, .ignore_end = true, .on_token = collect, .user = &c, .cancel = cancel
	};
	assert_int_equal(rwkvk_session_generate(a, &options, &result), RWKVK_CANCELLED);
	assert_int_equal(result.reason, RWKVK_END_CANCELLED);
	assert_int_equal(result.tokens, 3);
	assert_int_equal(rwkvk_session_position(a), TEXT + 3);
	const rwkvk_eval_options eval = { .cancel = cancel };
	assert_int_equal(rwkvk_session_eval(a, text, 1, &eval), RWKVK_CANCELLED);
	assert_int_equal(rwkvk_session_eval(a, text, 1, &eval), RWKVK_CANCELLED); /* it stays set */
	assert_int_equal(rwkvk_session_position(a), TEXT + 3);
	assert_ok(rwkvk_session_eval(a, text, 1, NULL)); /* and affects no other session */
	rwkvk_cancel_clear(cancel);
	assert_ok(rwkvk_session_eval(a, text, 1, &eval));
	c = (struct collected){ .stop_after = 2 };
	assert_ok(rwkvk_session_generate(a, &options, &result));
	assert_int_equal(result.reason, RWKVK_END_CALLER);
	assert_int_equal(result.tokens, 2);
	rwkvk_session_destroy(a);
	rwkvk_cancel_destroy(cancel);
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
		runs[i] = generate(a, (rwkvk_generate_options){ .max_tokens = 20, .ignore_end = true, .sampling = &sampling }, RWKVK_OK,
		                   NULL);
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
	assert_fails(feed_tokens(a, NULL, 0, logits), RWKVK_ERROR_ARGUMENT, "feed");
	assert_fails(rwkvk_session_generate(a, &(rwkvk_generate_options){ 0 }, NULL), RWKVK_ERROR_ARGUMENT, "feed");
	rwkvk_session_destroy(a);
}

/* The price of a token in calls: docs/architecture.md, One token, Several tokens to a submission. */
static void count_calls(rwkvk_model *of, uint32_t at_once)
{
	enum { TOKENS = 10 };
	rwkvk_counters before = { 0 }, after = { 0 };
	rwkvk_session *a;
	const char *caps = getenv("RWKVK_CAPS");
	bool sliced = caps && strstr(caps, "range=");
	assert_ok(rwkvk_session_create(of, &a));
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	const rwkvk_bias bias = { 3, 1.5f };
	const rwkvk_sampling ways[] = {
		{ 0 },
		{ .temperature = 1, .top_p = 0.9f, .seed = 3 },
		{ .temperature = 1, .top_p = 0.9f, .presence = 1, .frequency = 1, .decay = 0.9f, .biases = &bias, .bias_count = 1 },
	};
	for (size_t i = 0; i < 6; i++) {
		const rwkvk_generate_options options = { .max_tokens = TOKENS, .ignore_end = true, .sampling = &ways[i / 2] };
		assert_ok(rwkvk_model_counters(of, &before));
		assert_ok(rwkvk_session_generate(a, &options, NULL));
		assert_ok(rwkvk_model_counters(of, &after));
		if (i % 2 == 0)
			continue; /* the first of a kind may bring counts and biases to the device */
		uint64_t submits = after.submits - before.submits, dispatches = after.dispatches - before.dispatches;
		assert_int_equal(after.tokens - before.tokens, TOKENS);
		/* the host picks the first one if the device has no counts that would miss it */
		uint32_t fed = ways[i / 2].presence == 0, picked = TOKENS - fed;
		if (at_once)
			assert_int_equal(submits, fed + (picked + at_once - 1) / at_once);
		else
			assert_in_range(submits, 1, TOKENS);
		assert_true(after.host_calls - before.host_calls <= 3 * submits);
		if (!sliced)
			assert_int_equal(dispatches, TOKENS * (5 * info.layers + 2));
		/* one a stage, and two around the copy of a snapshot, which several tokens need */
		uint64_t more = after.barriers - before.barriers - dispatches;
		assert_true(more % 2 == 0 && more <= 2 * submits);
		if (at_once)
			assert_int_equal(more, at_once > 1 ? 2 * (picked / at_once + (picked % at_once > 1)) : 0);
		assert_int_equal(after.descriptor_updates, before.descriptor_updates);
		assert_int_equal(after.allocations, before.allocations);
		assert_int_equal(after.buffers, before.buffers);
		assert_int_equal(after.recordings, before.recordings);
	}
	rwkvk_session_destroy(a);
}

/* The same model, so many tokens in each submission. */
static rwkvk_model *open_at_once(const char *tokens)
{
	char path[512];
	rwkvk_model *other;
	snprintf(path, sizeof path, "%s/v7-c128-f16.gguf", TEST_DATA_DIR);
	setenv("RWKVK_TOKENS_PER_SUBMISSION", tokens, 1);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_sessions = 4 }, &other));
	unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	return other;
}

static void counters_per_token(void **state)
{
	(void)state;
	count_calls(model, 0);
	static const char *const counts[] = { "1", "2", "5" };
	for (size_t i = 0; i < 3; i++) {
		rwkvk_model *other = open_at_once(counts[i]);
		count_calls(other, (uint32_t)atoi(counts[i]));
		rwkvk_model_close(other);
	}
}

/* ---------------------------------------------------------------------------------------------------- several at once */

static const rwkvk_sampling lively = {
	.temperature = 1.3f, .top_p = 0.95f, .presence = 0.5f, .frequency = 0.5f, .decay = 0.9f, .seed = 21
};

static rwkvk_session *started(rwkvk_model *of)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(of, &session));
	assert_ok(rwkvk_session_eval(session, text, TEXT, NULL));
	return session;
}

/* The same state, position, logits, and counts. */
static void assert_same_session(rwkvk_session *a, rwkvk_session *b)
{
	size_t floats = rwkvk_session_state_floats(a);
	assert_int_equal(floats * sizeof(float), info.state_bytes);
	float *state_a = malloc(info.state_bytes), *state_b = malloc(info.state_bytes);
	assert_int_equal(rwkvk_session_position(a), rwkvk_session_position(b));
	assert_ok(rwkvk_session_floats_get(a, state_a, floats));
	assert_ok(rwkvk_session_floats_get(b, state_b, floats));
	assert_memory_equal(state_a, state_b, info.state_bytes);
	float *logits_a = logits_after(a, NULL, 0), *logits_b = logits_after(b, NULL, 0);
	assert_same(logits_a, logits_b);
	const rwkvk_generate_options options = { .max_tokens = 7, .ignore_end = true, .sampling = &lively };
	struct collected next_a = generate(a, options, RWKVK_OK, NULL), next_b = generate(b, options, RWKVK_OK, NULL);
	assert_memory_equal(next_a.tokens, next_b.tokens, 7 * sizeof(uint32_t));
	free(state_a);
	free(state_b);
	free(logits_a);
	free(logits_b);
}

/* However many tokens per submission: the same tokens. */
static void same_tokens_at_once(void **state)
{
	(void)state;
	static const char *const counts[] = { "5", "128" };
	rwkvk_model *one = open_at_once("1");
	for (int i = 0; i < 2; i++) {
		rwkvk_model *other = open_at_once(counts[i]);
		const rwkvk_generate_options options = { .max_tokens = 33, .ignore_end = true, .sampling = i ? &lively : NULL };
		rwkvk_session *a = started(one), *b = started(other);
		struct collected of_a = generate(a, options, RWKVK_OK, NULL), of_b = generate(b, options, RWKVK_OK, NULL);
		assert_int_equal(of_b.count, 33);
		assert_memory_equal(of_a.tokens, of_b.tokens, 33 * sizeof(uint32_t));
		assert_same_session(a, b);
		rwkvk_session_destroy(a);
		rwkvk_session_destroy(b);
		rwkvk_model_close(other);
	}
	rwkvk_model_close(one);
}

/* The caller ends the text within a submission, in both ways: nothing after that remains. */
static void cuts_are_exact(void **state)
{
	(void)state;
	rwkvk_model *one = open_at_once("1"), *five = open_at_once("5");
	for (size_t stop = 1; stop < 12; stop += test_every()) {
		for (int i = 0; i < 2; i++) {
			rwkvk_session *sessions[2] = { started(one), started(five) };
			struct collected of[2];
			rwkvk_cancel *cancel;
			assert_ok(rwkvk_cancel_create(&cancel));
			for (int j = 0; j < 2; j++) {
				rwkvk_generate_result result = { 0 };
				of[j] = (struct collected){ .stop_after = i ? SIZE_MAX : stop,
					                        .cancel = cancel,
					                        .cancel_after = i ? stop : SIZE_MAX };
				rwkvk_cancel_clear(cancel);
				rwkvk_generate_options options = { .max_tokens = 20,
					                               .ignore_end = true,
					                               .sampling = stop % 2 ? &lively : NULL,
					                               .on_token = collect,
					                               .user = &of[j],
					                               .cancel = cancel };
				assert_int_equal(rwkvk_session_generate(sessions[j], &options, &result), i ? RWKVK_CANCELLED : RWKVK_OK);
				assert_int_equal(result.reason, i ? RWKVK_END_CANCELLED : RWKVK_END_CALLER);
				assert_int_equal(result.tokens, stop);
				assert_int_equal(of[j].count, stop);
				assert_int_equal(rwkvk_session_position(sessions[j]), TEXT + stop);
			}
			assert_memory_equal(of[0].tokens, of[1].tokens, stop * sizeof(uint32_t));
			assert_same_session(sessions[0], sessions[1]);
			rwkvk_session_destroy(sessions[0]);
			rwkvk_session_destroy(sessions[1]);
			rwkvk_cancel_destroy(cancel);
		}
	}
	rwkvk_model_close(one);
	rwkvk_model_close(five);
}

/* `count` tokens that are not among those written. */
static void other_tokens(const struct collected *written, uint32_t *tokens, size_t count)
{
	uint32_t token = 0;
	for (size_t i = 0; i < count; token = (token + 1) % info.vocab) {
		bool is_written = false;
		for (size_t j = 0; j < written->count; j++)
			is_written |= written->tokens[j] == token;
		if (!is_written)
			tokens[i++] = token;
	}
}

/* A stop token anywhere in a submission, of a long list. */
static void stops_at_once(void **state)
{
	(void)state;
	rwkvk_model *one = open_at_once("1"), *five = open_at_once("5");
	static uint32_t stops[1025];
	rwkvk_generate_options options = { .max_tokens = 20, .ignore_end = true, .sampling = &lively };
	rwkvk_session *a = started(one);
	struct collected all = generate(a, options, RWKVK_OK, NULL);
	rwkvk_session_destroy(a);
	for (size_t at = 0; at < 12; at += 1 + at / 3 * test_every()) {
		rwkvk_generate_result results[2] = { { 0 } };
		rwkvk_session *sessions[2] = { started(one), started(five) };
		size_t until = 0;
		while (all.tokens[until] != all.tokens[at])
			until++;
		other_tokens(&all, stops, 1025);
		stops[at * 85] = all.tokens[at];
		options.ignore_end = false;
		options.stop_tokens = stops;
		options.stop_token_count = 1024;
		for (int j = 0; j < 2; j++) {
			struct collected c = generate(sessions[j], options, RWKVK_OK, &results[j]);
			assert_int_equal(results[j].reason, RWKVK_END_STOP_TOKEN);
			assert_int_equal(results[j].stop, at * 85);
			assert_int_equal(results[j].tokens, until);
			assert_memory_equal(c.tokens, all.tokens, until * sizeof(uint32_t));
			assert_int_equal(rwkvk_session_position(sessions[j]), TEXT + until);
		}
		assert_same_session(sessions[0], sessions[1]);
		rwkvk_session_destroy(sessions[0]);
		rwkvk_session_destroy(sessions[1]);
	}
	a = started(five);
	options.stop_token_count = 1025;
	assert_fails(rwkvk_session_generate(a, &options, NULL), RWKVK_ERROR_ARGUMENT, "1025 stop tokens; at most 1024");
	rwkvk_session_destroy(a);
	rwkvk_model_close(one);
	rwkvk_model_close(five);
}

/* The device draws what the host's sampler draws from the same logits. */
static void device_and_host_agree(void **state)
{
	(void)state;
	static const rwkvk_bias biases[] = { { 17, 2 }, { 100, -INFINITY }, { 17, 0.5f }, { 5, -1 } };
	enum { TOKENS = 24, WAYS = 8 };
	uint64_t compared = 0;
	for (uint32_t way = 0; way < WAYS; way++) {
		rwkvk_sampling s = { .temperature = way == 7 ? 0 : 0.5f + 0.25f * (float)way,
			                 .top_p = way % 3 ? 0.8f : 1,
			                 .top_k = way % 4 ? 0 : 30,
			                 .presence = way % 2 ? 0.5f : 0,
			                 .frequency = way % 2 ? 0.3f : 0,
			                 .decay = 0.95f,
			                 .seed = way,
			                 .biases = way > 3 ? biases : NULL,
			                 .bias_count = way > 3 ? 4 : 0 };
		rwkvk_session *a = started(model), *b = started(model);
		rwkvk_generate_result result = { 0 };
		struct collected on_device = generate(
			a, (rwkvk_generate_options){ .max_tokens = TOKENS, .ignore_end = true, .sampling = &s }, RWKVK_OK, &result);
		for (size_t i = 0; i < TOKENS && result.close_draws == 0; i++, compared++) {
			uint32_t token;
			assert_ok(rwkvk_session_sample(b, &s, &token));
			assert_int_equal(token, on_device.tokens[i]);
			assert_ok(rwkvk_session_eval(b, &token, 1, NULL));
		}
		if (result.close_draws == 0)
			assert_same_session(a, b);
		rwkvk_session_destroy(a);
		rwkvk_session_destroy(b);
	}
	assert_true(compared >= TOKENS * WAYS / 2);
}

static void bans_and_biases(void **state)
{
	(void)state;
	rwkvk_generate_options options = { .max_tokens = 12, .ignore_end = true };
	rwkvk_session *a = started(model);
	struct collected free_run = generate(a, options, RWKVK_OK, NULL);
	rwkvk_session_destroy(a);
	/* everything that it writes, banned one after the other */
	static rwkvk_bias biases[512];
	for (size_t count = 1; count <= 12; count++) {
		biases[count - 1] = (rwkvk_bias){ free_run.tokens[0], -INFINITY };
		options.sampling =
			&(rwkvk_sampling){ .temperature = count % 2 ? 0 : 1, .top_p = 1, .biases = biases, .bias_count = count };
		a = started(model);
		free_run = generate(a, options, RWKVK_OK, NULL);
		for (size_t i = 0; i < 12; i++)
			for (size_t j = 0; j < count; j++)
				assert_true(free_run.tokens[i] != biases[j].token);
		/* and other biases in the same session */
		options.sampling = &(rwkvk_sampling){ .biases = &(rwkvk_bias){ biases[0].token, 1000 }, .bias_count = 1 };
		assert_int_equal(generate(a, options, RWKVK_OK, NULL).tokens[11], biases[0].token);
		options.sampling = &(rwkvk_sampling){ .biases = &(rwkvk_bias){ 512, 1 }, .bias_count = 1 };
		assert_fails(rwkvk_session_generate(a, &options, NULL), RWKVK_ERROR_ARGUMENT, "a bias is for token 512");
		options.sampling = &(rwkvk_sampling){ .biases = &(rwkvk_bias){ 5, INFINITY }, .bias_count = 1 };
		assert_fails(rwkvk_session_generate(a, &options, NULL), RWKVK_ERROR_ARGUMENT, "the bias of token 5 is inf");
		rwkvk_session_destroy(a);
	}
	for (uint32_t i = 0; i < 512; i++)
		biases[i] = (rwkvk_bias){ i, -INFINITY };
	options.sampling = &(rwkvk_sampling){ .biases = biases, .bias_count = 512 };
	a = started(model);
	assert_fails(rwkvk_session_generate(a, &options, NULL), RWKVK_ERROR_ARGUMENT, "all 512 tokens are banned");
	biases[77].token = 76; /* twice, so one remains */
	assert_int_equal(generate(a, options, RWKVK_OK, NULL).tokens[5], 77);
	rwkvk_session_destroy(a);
}

struct writer {
	rwkvk_session *session;
	struct collected collected;
	size_t stop_after;
	rwkvk_status status;
	rwkvk_generate_result result;
};

static void *write_text(void *user)
{
	struct writer *w = user;
	w->collected.stop_after = w->stop_after;
	w->status = rwkvk_session_generate(
		w->session,
		&(rwkvk_generate_options){
			.max_tokens = 40, .ignore_end = true, .sampling = &lively, .on_token = collect, .user = &w->collected },
		&w->result);
	return NULL;
}

/* Sessions of one model that write at the same time take turns; each keeps its own snapshot while it writes. */
static void writers_take_turns(void **state)
{
	(void)state;
	rwkvk_model *one = open_at_once("1"), *five = open_at_once("5");
	struct writer alone = { .session = started(one), .stop_after = SIZE_MAX }, w[4];
	write_text(&alone);
	assert_ok(alone.status);
	for (int turn = 0; turn < 2; turn++) {
		pthread_t ids[4];
		for (size_t i = 0; i < 4; i++)
			w[i] = (struct writer){ .session = started(five), .stop_after = i % 2 ? 13 + i : SIZE_MAX };
		for (int i = 0; i < 4; i++)
			assert_int_equal(pthread_create(&ids[i], NULL, write_text, &w[i]), 0);
		for (int i = 0; i < 4; i++)
			pthread_join(ids[i], NULL);
		for (size_t i = 0; i < 4; i++) {
			size_t count = i % 2 ? 13 + i : 40;
			assert_int_equal(w[i].status, RWKVK_OK);
			assert_int_equal(w[i].result.reason, i % 2 ? RWKVK_END_CALLER : RWKVK_END_LENGTH);
			assert_int_equal(w[i].collected.count, count);
			assert_memory_equal(w[i].collected.tokens, alone.collected.tokens, count * sizeof(uint32_t));
		}
		for (size_t i = 0; i < 4; i++) { /* the states, after all have written */
			rwkvk_session *b = started(one);
			struct writer again = { .session = b, .stop_after = w[i].stop_after };
			write_text(&again);
			assert_same_session(b, w[i].session);
			rwkvk_session_destroy(b);
			rwkvk_session_destroy(w[i].session);
		}
	}
	rwkvk_session_destroy(alone.session);
	rwkvk_model_close(one);
	rwkvk_model_close(five);
}

/* More texts at once than there are snapshots: those without one pick one token per submission, and all write the same. */
static void more_writers_than_snapshots(void **state)
{
	(void)state;
	enum { WRITERS = 6 };
	rwkvk_model *six;
	char name[512];
	snprintf(name, sizeof name, "%s/v7-c128-f16.gguf", TEST_DATA_DIR);
	setenv("RWKVK_TOKENS_PER_SUBMISSION", "5", 1);
	rwkvk_status status = rwkvk_model_open(&(rwkvk_model_options){ .path = name, .max_sessions = WRITERS + 1 }, &six);
	unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	if (status == RWKVK_ERROR_UNSUPPORTED) /* bindings too small for so many states */
		return;
	assert_ok(status);
	struct writer alone = { .session = started(six), .stop_after = SIZE_MAX }, w[WRITERS];
	pthread_t ids[WRITERS];
	write_text(&alone);
	assert_ok(alone.status);
	rwkvk_session_destroy(alone.session);
	for (size_t i = 0; i < WRITERS; i++)
		w[i] = (struct writer){ .session = started(six), .stop_after = i % 2 ? 13 + i : SIZE_MAX };
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, write_text, &w[i]), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(ids[i], NULL);
	for (size_t i = 0; i < WRITERS; i++) {
		assert_int_equal(w[i].status, RWKVK_OK);
		assert_memory_equal(w[i].collected.tokens, alone.collected.tokens, w[i].collected.count * sizeof(uint32_t));
		rwkvk_session *b = started(six);
		struct writer again = { .session = b, .stop_after = w[i].stop_after };
		write_text(&again);
		assert_same_session(b, w[i].session);
		rwkvk_session_destroy(b);
		rwkvk_session_destroy(w[i].session);
	}
	rwkvk_model_close(six);
}

/* Sessions that write in turn, a token each, keep several tokens to a submission: each has its own logits. */
static bool write_other(void *user, const rwkvk_token *token)
{
	(void)token;
	struct writer *other = user;
	if (other->session)
		write_text(other);
	other->session = NULL;
	return true;
}

/* Calls that move a state, or counts. */
static uint64_t submits_to_move(void)
{
	const char *caps = getenv("RWKVK_CAPS");
	return caps && strstr(caps, "no-unified") ? 1 : 0;
}

static void texts_within_texts(void **state)
{
	(void)state;
	rwkvk_model *five = open_at_once("5");
	struct writer alone = { .session = started(five), .stop_after = SIZE_MAX },
				  inner = { .session = started(five), .stop_after = SIZE_MAX };
	rwkvk_session *inner_session = inner.session, *outer = started(five);
	rwkvk_counters before = { 0 }, after = { 0 };
	write_text(&alone);
	rwkvk_generate_options options = {
		.max_tokens = 40, .ignore_end = true, .sampling = &lively, .on_token = write_other, .user = &inner
	};
	assert_ok(rwkvk_model_counters(five, &before));
	assert_ok(rwkvk_session_generate(outer, &options, NULL));
	assert_ok(rwkvk_model_counters(five, &after));
	/* two texts of 40 tokens: each brings its counts where the host cannot write them, has the first token by the host, then 39
	 * by fives */
	assert_int_equal(after.submits - before.submits, 2 * (submits_to_move() + 1 + 8));
	assert_memory_equal(inner.collected.tokens, alone.collected.tokens, 40 * sizeof(uint32_t));
	assert_same_session(outer, alone.session);
	rwkvk_session_destroy(outer);
	rwkvk_session_destroy(inner_session);
	rwkvk_session_destroy(alone.session);
	rwkvk_model_close(five);
}

static uint64_t submits(rwkvk_model *of)
{
	static uint64_t last;
	rwkvk_counters now = { 0 };
	assert_ok(rwkvk_model_counters(of, &now));
	uint64_t since = now.submits - last;
	last = now.submits;
	return since;
}

/* Moving a state takes one submission, or none where the host can access the memory. */
static void states_move_at_once(void **state)
{
	(void)state;
	rwkvk_model *five = open_at_once("5");
	uint64_t by_host = submits_to_move();
	rwkvk_session *a, *b;
	submits(five);
	assert_ok(rwkvk_session_create(five, &a));
	assert_int_equal(submits(five), by_host);
	assert_ok(rwkvk_session_eval(a, text, TEXT, NULL));
	submits(five);
	assert_ok(rwkvk_session_clone(a, &b));
	assert_int_equal(submits(five), 1);
	size_t bytes = rwkvk_session_state_size(a);
	uint8_t *bits = malloc(bytes);
	assert_ok(rwkvk_session_state_get(a, bits, bytes));
	assert_int_equal(submits(five), by_host);
	assert_ok(rwkvk_session_state_set(b, bits, bytes));
	assert_int_equal(submits(five), by_host);
	assert_ok(rwkvk_session_reset(b));
	assert_int_equal(submits(five), by_host);
	/* the first token from the host, five and five, of which the caller takes two: back to the snapshot, those again */
	struct writer w = { .session = a, .stop_after = 8 };
	write_text(&w);
	assert_int_equal(submits(five), 5 + 2 * by_host); /* counts, and which tokens do not count */
	free(bits);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_model_close(five);
}

/* ---------------------------------------------------------------------------------------------------- threads */

static void *worker(void *user)
{
	rwkvk_session *session = user;
	float *logits = malloc(info.vocab * sizeof *logits);
	for (size_t i = 0; i < TEXT; i++)
		if (feed_tokens(session, text + i, 1, logits) != RWKVK_OK) {
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
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = test_nowhere("model.gguf") }, &other), RWKVK_ERROR_FILE,
	             "/nowhere/model.gguf: ");
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .vocab = test_nowhere("vocab.txt") }, &other),
	             RWKVK_ERROR_FILE, "/nowhere/vocab.txt: ");
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
	return rwkvk_model_get_info(model, &info) == RWKVK_OK ? 0 : -1;
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
		cmocka_unit_test(same_tokens_at_once),
		cmocka_unit_test(cuts_are_exact),
		cmocka_unit_test(stops_at_once),
		cmocka_unit_test(device_and_host_agree),
		cmocka_unit_test(bans_and_biases),
		cmocka_unit_test(writers_take_turns),
		cmocka_unit_test(more_writers_than_snapshots),
		cmocka_unit_test(texts_within_texts),
		cmocka_unit_test(states_move_at_once),
		cmocka_unit_test(threads),
		cmocka_unit_test(loading),
	};
	return cmocka_run_group_tests(tests, open_model, close_model);
}
