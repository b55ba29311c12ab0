/* Many sessions in one pass: a session computes the same bits as alone, whatever runs beside it and however its tokens are
 * divided into submissions; and works that find no room wait no longer than necessary. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "feed.h"
#include "gpu/gpu.h"
#include "rwkvk_tools.h"
#include "small_models.h"

enum { SESSIONS = 16, CALLERS = 6, BATCH = 4, PROMPT = 90, TOKENS = 40 };

/* ---------------------------------------------------------------------------------------------------- a driver that fails */

static int fail_at; /* the submission, from 1; 0: none does */

rwkvk_status __real_gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count);
rwkvk_status __wrap_gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count);
rwkvk_status __wrap_gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count)
{
	if (fail_at > 0 && --fail_at == 0)
		return fail(RWKVK_ERROR_DRIVER, "this one fails");
	return __real_gpu_cmd_run_list(list, count);
}

/* ---------------------------------------------------------------------------------------------------- texts */

/* What one session reads and writes. */
struct task {
	uint32_t prompt[PROMPT];
	size_t length;
	rwkvk_sampling sampling;
	rwkvk_bias biases[3];
	uint64_t tokens; /* at most */
	uint32_t stop;   /* a token that ends it */
	/* What the session gets when it runs alone. */
	uint32_t want[TOKENS];
	size_t count;
	rwkvk_end reason;
	float logits[SMALL_VOCAB];
};

struct written {
	uint32_t ids[TOKENS];
	size_t count;
};

static bool note_token(void *user, const rwkvk_token *token)
{
	struct written *w = user;
	assert_true(w->count < TOKENS);
	w->ids[w->count++] = token->id;
	return true;
}

static void make_task(uint64_t *random, struct task *t)
{
	static const size_t lengths[] = { 1, 3, 9, 16, 17, 40, PROMPT };
	*t = (struct task){ .length = lengths[test_random(random) % 7], .tokens = 1 + test_random(random) % TOKENS };
	for (size_t i = 0; i < t->length; i++)
		t->prompt[i] = (uint32_t)(test_random(random) % SMALL_VOCAB);
	t->sampling.seed = test_random(random);
	t->stop = (uint32_t)(test_random(random) % SMALL_VOCAB);
	if (test_random(random) % 3 == 0)
		return; /* greedy */
	t->sampling.temperature = 1;
	t->sampling.top_p = test_random(random) % 2 ? 0.8f : 1;
	if (test_random(random) % 2) {
		t->sampling.presence = 0.5f;
		t->sampling.frequency = 0.25f;
		t->sampling.decay = 0.9f;
	}
	if (test_random(random) % 2) {
		for (int i = 0; i < 3; i++)
			t->biases[i] = (rwkvk_bias){ (uint32_t)(test_random(random) % SMALL_VOCAB), i == 0 ? -INFINITY : (float)i };
		t->sampling.biases = t->biases;
		t->sampling.bias_count = 3;
	}
}

static rwkvk_generate_options options_of(const struct task *t)
{
	return (rwkvk_generate_options){
		.sampling = &t->sampling, .max_tokens = t->tokens, .stop_tokens = &t->stop, .stop_token_count = 1
	};
}

static void get_logits(rwkvk_session *session, float logits[SMALL_VOCAB])
{
	assert_ok(rwkvk_session_eval(session, NULL, 0, &(rwkvk_eval_options){ .logits = logits }));
}

/* Alone, by calls that block. */
static void do_alone(rwkvk_model *model, struct task *t)
{
	struct written w = { .count = 0 };
	rwkvk_session *session;
	rwkvk_generate_result result = { .size = sizeof result };
	rwkvk_generate_options options = options_of(t);
	options.on_token = note_token;
	options.user = &w;
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, t->prompt, t->length, NULL));
	assert_ok(rwkvk_session_generate(session, &options, &result));
	get_logits(session, t->logits);
	memcpy(t->want, w.ids, sizeof t->want);
	t->count = w.count;
	t->reason = result.reason;
	rwkvk_session_destroy(session);
}

static rwkvk_model *open_batch(const char *path, uint32_t max_batch)
{
	rwkvk_model *model;
	assert_ok(rwkvk_model_open(
		&(rwkvk_model_options){
			.path = path, .max_batch = max_batch, .max_sessions = SESSIONS + 1, .device = getenv("RWKVK_DEVICE") },
		&model));
	return model;
}

/* ---------------------------------------------------------------------------------------------------- random schedules */

/* A task on its way through steps. */
struct run {
	const struct task *task;
	rwkvk_session *session;
	rwkvk_cancel *cancel;
	rwkvk_generate_options options;
	size_t read;
	struct written written;
	bool over;
	uint32_t waited; /* steps in which there was no room */
};

/* The result of the first tokens of a task that runs alone. */
static void check_begin(rwkvk_model *model, const struct run *r, size_t tokens)
{
	float want[SMALL_VOCAB], got[SMALL_VOCAB];
	rwkvk_session *session;
	rwkvk_generate_options options = options_of(r->task);
	options.max_tokens = tokens;
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, r->task->prompt, r->task->length, NULL));
	if (tokens > 0)
		assert_ok(rwkvk_session_generate(session, &options, NULL));
	get_logits(session, want);
	get_logits(r->session, got);
	assert_memory_equal(got, want, sizeof got);
	assert_int_equal(rwkvk_session_position(r->session), r->task->length + tokens);
	rwkvk_session_destroy(session);
}

static void end_run(struct run *r)
{
	rwkvk_session_destroy(r->session);
	rwkvk_cancel_destroy(r->cancel);
	*r = (struct run){ 0 };
}

static void check_run(rwkvk_model *model, struct run *r, rwkvk_end reason)
{
	float logits[SMALL_VOCAB];
	assert_memory_equal(r->written.ids, r->task->want, r->written.count * sizeof *r->written.ids);
	if (reason == RWKVK_END_CANCELLED) {
		assert_true(r->written.count <= r->task->count);
		check_begin(model, r, r->written.count);
		return;
	}
	assert_int_equal(reason, r->task->reason);
	assert_int_equal(r->written.count, r->task->count);
	get_logits(r->session, logits);
	assert_memory_equal(logits, r->task->logits, sizeof logits);
}

/* One step of all runs; then those that have ended are compared. */
static void take_step(rwkvk_model *model, struct run **runs, size_t count, uint64_t *random)
{
	rwkvk_work works[SESSIONS];
	for (size_t i = 0; i < count; i++) {
		struct run *r = runs[i];
		size_t left = r->task->length - r->read;
		works[i] = (rwkvk_work){ .size = sizeof works[i],
			                     .session = r->session,
			                     .tokens = left ? r->task->prompt + r->read : NULL,
			                     .token_count = left,
			                     .options = &r->options,
			                     .most = test_random(random) % 3 ? 0 : 1 + test_random(random) % 5 };
		if (left == 0 && test_random(random) % 40 == 0)
			rwkvk_cancel_set(r->cancel);
	}
	assert_ok(rwkvk_model_step(model, works, count));
	for (size_t i = 0; i < count; i++) {
		struct run *r = runs[i];
		rwkvk_work *w = &works[i];
		assert_true(w->status == RWKVK_OK || (w->status == RWKVK_CANCELLED && w->ended));
		r->read += w->read;
		for (size_t j = 0; j < w->picked_count; j++)
			note_token(&r->written, &w->picked[j]);
		r->waited = w->read || w->picked_count || w->ended ? 0 : r->waited + 1;
		assert_true(r->waited <= SESSIONS); /* the first of the list always has room */
		if (w->ended) {
			check_run(model, r, w->reason);
			r->over = true;
		} else if (w->picked_count > 0 && test_random(random) % 30 == 0) {
			size_t keep = test_random(random) % (w->picked_count + 1);
			assert_ok(rwkvk_session_rewind(r->session, keep));
			check_begin(model, r, r->written.count - w->picked_count + keep);
			r->over = true;
		}
	}
}

static void start(rwkvk_model *model, struct run *r, const struct task *task, const struct run *twin)
{
	*r = (struct run){ .task = task, .options = options_of(task) };
	assert_ok(rwkvk_cancel_create(&r->cancel));
	r->options.cancel = r->cancel;
	if (twin) {
		assert_ok(rwkvk_session_clone(twin->session, &r->session));
		r->read = twin->read;
	} else {
		assert_ok(rwkvk_session_create(model, &r->session));
	}
}

/* Sessions begin, some as copies of others, and end; those that have waited longest come first. */
static void schedule(rwkvk_model *model, struct task *tasks, size_t count, uint64_t *random)
{
	struct run runs[SESSIONS] = { 0 };
	for (size_t next = 0, alive = 1; next < count || alive > 0;) {
		struct run *active[SESSIONS];
		for (size_t i = 0; i < SESSIONS; i++) {
			const struct run *twin = &runs[test_random(random) % SESSIONS];
			if (runs[i].session || test_random(random) % 3 != 0)
				continue;
			if (twin->session && twin->read == twin->task->length && twin->written.count == 0 && !twin->waited &&
			    test_random(random) % 2)
				start(model, &runs[i], twin->task, twin);
			else if (next < count)
				start(model, &runs[i], &tasks[next++], NULL);
		}
		alive = 0;
		for (uint32_t wait = SESSIONS + 1; wait-- > 0;)
			for (size_t i = 0; i < SESSIONS; i++)
				if (runs[i].session && runs[i].waited == wait)
					active[alive++] = &runs[i];
		take_step(model, active, alive, random);
		for (size_t i = 0; i < SESSIONS; i++)
			if (runs[i].over)
				end_run(&runs[i]);
	}
}

static void sessions_are_what_they_are_alone(void **state)
{
	(void)state;
	for (size_t v = 0; v < SMALL_MODELS; v += test_every()) {
		enum { TASKS = 20 };
		static const uint32_t most[SMALL_MODELS] = { 4, 16, 2, 5, 8, 3 };
		struct task tasks[TASKS];
		uint64_t random = 11 + v;
		rwkvk_model *model = open_batch(make_small_model(&small_models[v]), most[v]);
		for (size_t i = 0; i < TASKS; i++) {
			make_task(&random, &tasks[i]);
			do_alone(model, &tasks[i]);
		}
		schedule(model, tasks, TASKS, &random);
		rwkvk_model_close(model);
	}
}

/* ---------------------------------------------------------------------------------------------------- threads */

static atomic_int mistakes;

struct caller {
	pthread_t thread;
	rwkvk_model *model;
	struct task *task;
};

/* Only the main thread may use cmocka's assertions. */
static bool note_quietly(void *user, const rwkvk_token *token)
{
	struct written *w = user;
	w->ids[w->count++] = token->id;
	return true;
}

static void *call(void *user)
{
	struct caller *c = user;
	struct written w = { .count = 0 };
	float logits[SMALL_VOCAB];
	rwkvk_session *session = NULL;
	rwkvk_generate_options options = options_of(c->task);
	options.on_token = note_quietly;
	options.user = &w;
	bool right = rwkvk_session_create(c->model, &session) == RWKVK_OK &&
	             feed_tokens(session, c->task->prompt, c->task->length, NULL) == RWKVK_OK &&
	             rwkvk_session_generate(session, &options, NULL) == RWKVK_OK &&
	             rwkvk_session_eval(session, NULL, 0, &(rwkvk_eval_options){ .logits = logits }) == RWKVK_OK &&
	             w.count == c->task->count && memcmp(w.ids, c->task->want, w.count * sizeof *w.ids) == 0 &&
	             memcmp(logits, c->task->logits, sizeof logits) == 0;
	if (!right) {
		fprintf(stderr, "a caller has other tokens than alone, or: %s\n", rwkvk_last_error());
		atomic_fetch_add(&mistakes, 1);
	}
	rwkvk_session_destroy(session);
	return NULL;
}

static void callers_in_threads_share_submissions(void **state)
{
	(void)state;
	enum { ROUNDS = 3 };
	struct task tasks[CALLERS];
	struct caller callers[CALLERS];
	uint64_t random = 5;
	rwkvk_model *model = open_batch(make_small_model(&small_models[SMALL_MODELS - 1]), BATCH);
	for (size_t i = 0; i < CALLERS; i++) {
		make_task(&random, &tasks[i]);
		do_alone(model, &tasks[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < CALLERS; i++) {
			callers[i] = (struct caller){ .model = model, .task = &tasks[i] };
			assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
		}
		for (size_t i = 0; i < CALLERS; i++)
			pthread_join(callers[i].thread, NULL);
	}
	assert_int_equal(atomic_load(&mistakes), 0);
	rwkvk_model_close(model);
}

/* ---------------------------------------------------------------------------------------------------- beside single sessions
 */

static void write_greedily(rwkvk_session *session, struct written *w)
{
	const rwkvk_generate_options options = { .max_tokens = TOKENS, .ignore_end = true, .on_token = note_token, .user = w };
	w->count = 0;
	assert_ok(rwkvk_session_generate(session, &options, NULL));
}

/* Tokens of a batch and those of submissions of one session: the same within rounding. */
static void batches_are_near_single_sessions(void **state)
{
	(void)state;
	for (size_t v = 0; v < SMALL_MODELS; v += test_every()) {
		const char *path = make_small_model(&small_models[v]);
		float logits[2][SMALL_VOCAB];
		struct written w[2];
		uint32_t prompt[PROMPT];
		uint64_t random = 3;
		for (size_t i = 0; i < PROMPT; i++)
			prompt[i] = (uint32_t)(test_random(&random) % SMALL_VOCAB);
		for (int batch = 0; batch < 2; batch++) {
			rwkvk_session *session;
			rwkvk_model *model = open_batch(path, batch ? BATCH : 1);
			assert_ok(rwkvk_session_create(model, &session));
			assert_ok(feed_tokens(session, prompt, PROMPT - 5, NULL));
			assert_ok(feed_tokens(session, prompt + PROMPT - 5, 5, logits[batch]));
			write_greedily(session, &w[batch]);
			rwkvk_session_destroy(session);
			rwkvk_model_close(model);
		}
		assert_close("logits", logits[1], logits[0], SMALL_VOCAB, 3e-5);
		assert_memory_equal(w[0].ids, w[1].ids, sizeof w[0].ids);
	}
}

/* ---------------------------------------------------------------------------------------------------- one model for the rest
 */

static rwkvk_model *shared;

static int open_shared(void **state)
{
	(void)state;
	shared = open_batch(make_small_model(&small_models[SMALL_MODELS - 1]), BATCH);
	return 0;
}

static int close_shared(void **state)
{
	(void)state;
	rwkvk_model_close(shared);
	return 0;
}

static rwkvk_session *begin_session(uint32_t token)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(shared, &session));
	assert_ok(feed_tokens(session, &token, 1, NULL));
	return session;
}

/* No recording, no descriptor, no allocation; and three calls of the driver, whatever a submission has. */
static void steady_steps_only_submit(void **state)
{
	(void)state;
	const rwkvk_generate_options options = { .max_tokens = 1000, .ignore_end = true };
	rwkvk_session *sessions[BATCH];
	rwkvk_work works[BATCH];
	rwkvk_counters before = { .size = sizeof before }, after = before;
	for (uint32_t i = 0; i < BATCH; i++)
		sessions[i] = begin_session(i);
	for (int step = 0; step < 12; step++) {
		for (uint32_t i = 0; i < BATCH; i++)
			works[i] = (rwkvk_work){ .size = sizeof works[i], .session = sessions[i], .options = &options, .most = 8 };
		if (step == 4)
			assert_ok(rwkvk_model_counters(shared, &before));
		assert_ok(rwkvk_model_step(shared, works, BATCH));
		for (uint32_t i = 0; i < BATCH; i++)
			assert_true(works[i].status == RWKVK_OK && works[i].picked_count == works[0].picked_count);
	}
	assert_ok(rwkvk_model_counters(shared, &after));
	assert_int_equal(after.submits - before.submits, 8);
	assert_int_equal(after.host_calls - before.host_calls, 24);
	assert_int_equal(after.recordings, before.recordings);
	assert_int_equal(after.descriptor_updates, before.descriptor_updates);
	assert_int_equal(after.allocations, before.allocations);
	for (uint32_t i = 0; i < BATCH; i++) {
		assert_ok(rwkvk_session_rewind(sessions[i], 0));
		rwkvk_session_destroy(sessions[i]);
	}
}

/* A text gets a token with every piece of a long prompt, and no piece is longer than the model was opened for. */
static void texts_flow_while_a_prompt_is_read(void **state)
{
	(void)state;
	enum { LONG = 300, SHARE = 32 };
	const rwkvk_generate_options options = { .max_tokens = 1000, .ignore_end = true };
	rwkvk_model *model;
	rwkvk_session *writer, *reader;
	uint32_t prompt[LONG] = { 1, 2, 3 };
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = make_small_model(&small_models[SMALL_MODELS - 1]),
	                                                   .max_batch = BATCH,
	                                                   .mixed_rows = SHARE,
	                                                   .device = getenv("RWKVK_DEVICE") },
	                           &model));
	assert_ok(rwkvk_session_create(model, &writer));
	assert_ok(rwkvk_session_create(model, &reader));
	assert_ok(feed_tokens(writer, prompt, 1, NULL));
	for (size_t read = 0; read < LONG;) {
		rwkvk_work works[2] = {
			{ .size = sizeof works[0], .session = reader, .tokens = prompt + read, .token_count = LONG - read },
			{ .size = sizeof works[0], .session = writer, .options = &options },
		};
		assert_ok(rwkvk_model_step(model, works, 2));
		assert_true(works[0].read > 0 && works[0].read <= SHARE && works[1].picked_count == 1);
		read += works[0].read;
	}
	rwkvk_session_destroy(reader);
	rwkvk_session_destroy(writer);
	rwkvk_model_close(model);
}

struct allowed {
	uint32_t first, count; /* tokens */
};

static bool allow(void *user, uint32_t *allowed, size_t words)
{
	const struct allowed *a = user;
	assert_true(words * 32 >= SMALL_VOCAB);
	for (uint32_t i = a->first; i < a->first + a->count; i++)
		allowed[i / 32] |= 1u << i % 32;
	return true;
}

/* The mask is asked before each token, and nothing else is picked; a mask that allows nothing fails only its own session. */
static void masks_bound_what_is_picked(void **state)
{
	(void)state;
	struct allowed some = { 40, 3 }, none = { 0, 0 };
	const rwkvk_generate_options all[] = {
		{ .max_tokens = 6, .ignore_end = true, .mask = allow, .user = &some },
		{ .max_tokens = 6, .ignore_end = true, .mask = allow, .user = &none },
		{ .max_tokens = 6, .ignore_end = true },
	};
	rwkvk_session *sessions[3];
	size_t picked[3] = { 0 };
	rwkvk_status status[3] = { 0 };
	bool over[3] = { false };
	for (uint32_t i = 0; i < 3; i++)
		sessions[i] = begin_session(7);
	while (!over[0] || !over[1] || !over[2]) {
		rwkvk_work works[3];
		uint32_t who[3], count = 0;
		for (uint32_t i = 0; i < 3; i++)
			if (!over[i]) {
				who[count] = i;
				works[count++] =
					(rwkvk_work){ .size = sizeof works[0], .session = sessions[i], .options = &all[i], .most = i == 2 ? 2 : 0 };
			}
		assert_ok(rwkvk_model_step(shared, works, count));
		for (uint32_t k = 0; k < count; k++) {
			const rwkvk_work *w = &works[k];
			uint32_t i = who[k];
			for (size_t j = 0; j < w->picked_count; j++)
				assert_true(i == 2 || (w->picked[j].id >= 40 && w->picked[j].id < 43));
			assert_true(i != 0 || w->picked_count <= 1);
			picked[i] += w->picked_count;
			status[i] = w->status;
			over[i] = w->ended;
			if (i == 1)
				assert_non_null(strstr(w->error, "mask"));
		}
	}
	assert_int_equal(status[0], RWKVK_OK);
	assert_int_equal(status[1], RWKVK_ERROR_ARGUMENT);
	assert_int_equal(status[2], RWKVK_OK);
	assert_true(picked[0] == 6 && picked[1] == 0 && picked[2] == 6);
	for (uint32_t i = 0; i < 3; i++)
		rwkvk_session_destroy(sessions[i]);
}

struct chances {
	float own[TOKENS], tops[TOKENS][5];
	uint32_t ids[TOKENS], top_ids[TOKENS][5];
	size_t count;
};

static bool note_chances(void *user, const rwkvk_token *token)
{
	struct chances *c = user;
	assert_int_equal(token->top_count, 5);
	c->own[c->count] = token->log_probability;
	c->ids[c->count] = token->id;
	for (int i = 0; i < 5; i++) {
		c->tops[c->count][i] = token->tops[i].log_probability;
		c->top_ids[c->count][i] = token->tops[i].token;
	}
	c->count++;
	return true;
}

static bool keep_token(void *user, const rwkvk_token *token)
{
	*(rwkvk_token *)user = *token;
	return true;
}

/* By the device in a batch, whether requested or not; otherwise by the host. */
static void log_probabilities_are_those_of_the_host(void **state)
{
	(void)state;
	const rwkvk_sampling sampling = {
		.temperature = 1, .top_p = 0.9f, .presence = 0.3f, .frequency = 0.2f, .decay = 0.9f, .seed = 4
	};
	struct chances c[2] = { 0 };
	rwkvk_token with_batch = { 0 };
	for (int batch = 0; batch < 2; batch++) {
		rwkvk_session *session;
		rwkvk_model *model = open_batch(make_small_model(&small_models[SMALL_MODELS - 1]), batch ? BATCH : 1);
		const rwkvk_generate_options options = { .sampling = &sampling,
			                                     .max_tokens = 20,
			                                     .ignore_end = true,
			                                     .top_log_probabilities = 5,
			                                     .on_token = note_chances,
			                                     .user = &c[batch] };
		assert_ok(rwkvk_session_create(model, &session));
		assert_ok(feed_tokens(session, (uint32_t[]){ 5 }, 1, NULL));
		assert_ok(rwkvk_session_generate(session, &options, NULL));
		const rwkvk_generate_options plain = {
			.max_tokens = 1, .ignore_end = true, .on_token = keep_token, .user = &with_batch
		};
		assert_ok(rwkvk_session_generate(session, &plain, NULL));
		assert_true(batch || with_batch.log_probability == 0);
		rwkvk_session_destroy(session);
		rwkvk_model_close(model);
	}
	assert_true(c[0].count == 20 && c[1].count == 20);
	assert_memory_equal(c[0].ids, c[1].ids, sizeof c[0].ids);
	assert_close("log-probabilities", c[1].own, c[0].own, 20, 3e-5);
	assert_true(with_batch.log_probability < 0 && with_batch.top_count == 0);
	for (int i = 0; i < 20; i++) {
		assert_close("the largest", c[1].tops[i], c[0].tops[i], 5, 3e-5);
		assert_true(c[0].tops[i][0] >= c[0].tops[i][4] && c[0].own[i] <= c[0].tops[i][0] && c[0].tops[i][0] < 0);
	}
}

/* The driver fails at some submission: every session's position is that of the tokens it has reported, and if its state is
 * still known, it continues as if nothing had happened. */
static void failures_leave_right_positions(void **state)
{
	(void)state;
	enum { READ = 20 };
	const rwkvk_generate_options options = { .max_tokens = 30, .ignore_end = true };
	uint32_t prompt[READ];
	for (uint32_t i = 0; i < READ; i++)
		prompt[i] = 3 * i;
	for (int when = 0; when < 4; when++) {
		rwkvk_session *sessions[3] = { begin_session(1), begin_session(2), begin_session(3) };
		uint64_t told[3] = { 1, 1, 1 };
		bool failed[3] = { false };
		size_t read = 0;
		fail_at = when + 1;
		for (int step = 0; step < 6; step++) {
			rwkvk_work works[3] = {
				{ .size = sizeof works[0], .session = sessions[0], .options = failed[0] ? NULL : &options, .most = 3 },
				{ .size = sizeof works[0], .session = sessions[1], .options = failed[1] ? NULL : &options, .most = 2 },
				{ .size = sizeof works[0], .session = sessions[2], .tokens = prompt + read, .token_count = READ - read },
			};
			assert_ok(rwkvk_model_step(shared, works, 3));
			read += works[2].read;
			told[2] += works[2].read;
			for (int i = 0; i < 3; i++) {
				failed[i] |= works[i].status != RWKVK_OK;
				assert_true(works[i].status == RWKVK_OK || works[i].status == RWKVK_ERROR_DRIVER);
				told[i] += works[i].picked_count;
				assert_int_equal(rwkvk_session_position(sessions[i]), told[i]);
			}
		}
		assert_true(failed[0] || failed[1] || failed[2]);
		assert_int_equal(read, READ); /* what was not read was passed again */
		fail_at = 0;
		float got[SMALL_VOCAB], want[SMALL_VOCAB];
		get_logits(sessions[2], got);
		rwkvk_session *alone = begin_session(3);
		assert_ok(feed_tokens(alone, prompt, READ, want));
		assert_memory_equal(got, want, sizeof got);
		rwkvk_session_destroy(alone);
		for (int i = 0; i < 3; i++)
			rwkvk_session_destroy(sessions[i]);
	}
}

/* What is refused, and with which message. */
static void wrong_requests_say_what_is_expected(void **state)
{
	(void)state;
	const char *path = make_small_model(&small_models[SMALL_MODELS - 1]);
	const rwkvk_generate_options options = { .max_tokens = 50, .ignore_end = true };
	rwkvk_model *model;
	rwkvk_session *session = begin_session(1);
	uint32_t past = SMALL_VOCAB;
	rwkvk_work w = { .size = sizeof w, .session = session, .options = &options };
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_batch = 257 }, &model), RWKVK_ERROR_ARGUMENT,
	             "256");
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_batch = 2, .exact = 1 }, &model),
	             RWKVK_ERROR_ARGUMENT, "exact");
	assert_fails(rwkvk_session_rewind(session, 0), RWKVK_ERROR_ARGUMENT, "is not writing a text in steps");
	w.most = 2;
	assert_ok(rwkvk_model_step(shared, &w, 1));
	assert_true(w.status == RWKVK_OK && !w.ended && w.picked_count > 0);
	assert_fails(feed_tokens(session, &past, 1, NULL), RWKVK_ERROR_ARGUMENT, "rewind");
	assert_fails(rwkvk_session_rewind(session, 99), RWKVK_ERROR_ARGUMENT, "99");
	w.tokens = &past;
	w.token_count = 1;
	assert_ok(rwkvk_model_step(shared, &w, 1));
	assert_int_equal(w.status, RWKVK_ERROR_ARGUMENT);
	assert_ok(rwkvk_session_rewind(session, 0));
	assert_ok(rwkvk_model_step(shared, &w, 1)); /* now they would be read if they were valid */
	assert_int_equal(w.status, RWKVK_ERROR_ARGUMENT);
	assert_non_null(strstr(w.error, "vocabulary"));
	rwkvk_session_destroy(session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_are_what_they_are_alone),        cmocka_unit_test(callers_in_threads_share_submissions),
		cmocka_unit_test(batches_are_near_single_sessions),        cmocka_unit_test(steady_steps_only_submit),
		cmocka_unit_test(texts_flow_while_a_prompt_is_read),       cmocka_unit_test(masks_bound_what_is_picked),
		cmocka_unit_test(log_probabilities_are_those_of_the_host), cmocka_unit_test(failures_leave_right_positions),
		cmocka_unit_test(wrong_requests_say_what_is_expected),
	};
	return cmocka_run_group_tests_name("batch", tests, open_shared, close_shared);
}
