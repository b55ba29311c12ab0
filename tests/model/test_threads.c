/* One model, many threads: some write texts and copy states, one cancels them, and others read counters, sizes and the profile
 * meanwhile.  Each text is what it would be alone.  Built with RWKVK_THREAD_SANITIZER it also finds data races
 * (tools/more/tsan.sh); so everything here goes through the public headers. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "make_model.h"
#include "rwkvk_tools.h"

static const struct model_spec spec = {
	.version = 70,
	.layers = 2,
	.width = 64,
	.head_size = 64,
	.ffn = 256,
	.vocab = 300,
	.rank_decay = 32,
	.rank_iclr = 32,
	.rank_gate = 32,
	.rank_value = 32,
	.type = DTYPE_F16,
	.lora_type = DTYPE_F16,
	.seed = 1,
};
enum { VOCAB = 300, TEXT = 8, WRITERS = 4, SLOTS = 5, ROUNDS = 3, TOKENS = 12 };
static const uint32_t text[TEXT] = { 0, 17, 299, 3, 3, 128, 64, 5 };

struct writer {
	pthread_t thread;
	unsigned number;
	char path[512];         /* of its state file */
	rwkvk_session *session; /* the only one, or NULL: a new one each time */
	rwkvk_cancel *cancel;
	uint64_t reported;
};

static rwkvk_model *model;
static float want[VOCAB]; /* after the text */
static struct writer writers[WRITERS];
static atomic_bool over, closed;
static atomic_int mistakes;

/* Only the main thread may use cmocka's assertions. */
#define EXPECTED(condition)                                                                                                    \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                    \
			fprintf(stderr, "line %d: not so: %s; last error: %s\n", __LINE__, #condition, rwkvk_last_error());                \
			atomic_fetch_add(&mistakes, 1);                                                                                    \
		}                                                                                                                      \
	} while (0)

/* What a call may return here: success, cancelled, or that the model has been closed in the meantime. */
static bool fine(rwkvk_status status)
{
	return status == RWKVK_OK || status == RWKVK_CANCELLED || (status == RWKVK_ERROR_ARGUMENT && atomic_load(&closed));
}

static void pause_briefly(uint64_t *random, uint32_t most_microseconds)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000 * (long)(test_random(random) % most_microseconds) }, NULL);
}

/* ---------------------------------------------------------------------------------------------------- writers */

static bool count_token(void *user, const rwkvk_token *token)
{
	struct writer *writer = user;
	EXPECTED(token->id < VOCAB);
	writer->reported++;
	return true;
}

static bool read_text(struct writer *writer, rwkvk_session *session)
{
	float logits[VOCAB];
	const rwkvk_eval_options options = { .logits = logits, .cancel = writer->cancel };
	rwkvk_status status = rwkvk_session_eval(session, text, TEXT, &options);
	EXPECTED(fine(status));
	if (status == RWKVK_OK)
		EXPECTED(memcmp(logits, want, sizeof want) == 0);
	return status == RWKVK_OK;
}

static void write_text(struct writer *writer, rwkvk_session *session, unsigned round)
{
	const rwkvk_sampling sampling = { .temperature = 1, .top_p = 0.9f, .presence = round % 2 ? 0.5f : 0, .seed = round };
	const rwkvk_generate_options options = { .sampling = &sampling,
		                                     .max_tokens = TOKENS,
		                                     .ignore_end = true,
		                                     .on_token = count_token,
		                                     .user = writer,
		                                     .cancel = writer->cancel };
	rwkvk_generate_result result = { 0 };
	uint64_t before = rwkvk_session_position(session);
	writer->reported = 0;
	rwkvk_status status = rwkvk_session_generate(session, &options, &result);
	EXPECTED(fine(status));
	if (status == RWKVK_ERROR_ARGUMENT)
		return;
	EXPECTED(result.reason == (status == RWKVK_OK ? RWKVK_END_LENGTH : RWKVK_END_CANCELLED));
	EXPECTED(result.tokens == writer->reported && rwkvk_session_position(session) == before + result.tokens);
}

static rwkvk_status next_logits(rwkvk_session *session, float logits[VOCAB])
{
	return rwkvk_session_eval(session, text, 1, &(rwkvk_eval_options){ .logits = logits });
}

/* A clone, a state in memory and one in a file continue alike. */
static void copy_state(struct writer *writer, rwkvk_session *session)
{
	float logits[VOCAB], copied[VOCAB];
	rwkvk_session *clone = NULL;
	size_t bytes = rwkvk_session_state_size(session);
	void *state = malloc(bytes);
	rwkvk_status status = state ? rwkvk_session_state_get(session, state, bytes) : RWKVK_ERROR_MEMORY;
	EXPECTED(fine(status));
	if (status == RWKVK_OK && rwkvk_session_clone(session, &clone) == RWKVK_OK) { /* otherwise all are in use */
		bool is_same = fine(rwkvk_session_save(session, writer->path)) && next_logits(session, logits) == RWKVK_OK &&
		               next_logits(clone, copied) == RWKVK_OK;
		EXPECTED(is_same ? memcmp(logits, copied, sizeof logits) == 0 : atomic_load(&closed));
		is_same = is_same && rwkvk_session_state_set(clone, state, bytes) == RWKVK_OK && next_logits(clone, copied) == RWKVK_OK;
		EXPECTED(is_same ? memcmp(logits, copied, sizeof logits) == 0 : atomic_load(&closed));
		is_same = is_same && rwkvk_session_load(clone, writer->path) == RWKVK_OK && next_logits(clone, copied) == RWKVK_OK;
		EXPECTED(is_same ? memcmp(logits, copied, sizeof logits) == 0 : atomic_load(&closed));
		rwkvk_session_destroy(clone);
	}
	free(state);
}

static void use_session(struct writer *writer, rwkvk_session *session, unsigned round)
{
	if (read_text(writer, session)) {
		write_text(writer, session, round);
		copy_state(writer, session);
	}
	rwkvk_cancel_clear(writer->cancel);
	EXPECTED(fine(rwkvk_session_reset(session)));
}

/* The others have clones, so a state may not be free at once. */
static rwkvk_session *new_session(uint64_t *random)
{
	rwkvk_session *session = NULL;
	rwkvk_status status;
	while ((status = rwkvk_session_create(model, &session)) == RWKVK_ERROR_BUSY)
		pause_briefly(random, 1000);
	EXPECTED(status == RWKVK_OK);
	return session;
}

static void *write_texts(void *user)
{
	struct writer *writer = user;
	uint64_t random = writer->number + 1;
	for (unsigned round = 0; round < ROUNDS; round++) {
		rwkvk_session *session = writer->session ? writer->session : new_session(&random);
		for (int again = 0; session && again < 2; again++)
			use_session(writer, session, round);
		if (!writer->session)
			rwkvk_session_destroy(session);
	}
	rwkvk_session_destroy(writer->session);
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- the others */

static void *cancel_texts(void *user)
{
	uint64_t random = 5;
	(void)user;
	while (!atomic_load(&over)) {
		pause_briefly(&random, 30000);
		rwkvk_cancel_set(writers[test_random(&random) % WRITERS].cancel);
	}
	return NULL;
}

/* Numbers that are read beside the texts only grow. */
static void *read_numbers(void *user)
{
	uint64_t random = 7;
	rwkvk_counters last = { 0 };
	(void)user;
	while (!atomic_load(&over)) {
		rwkvk_counters now = { 0 };
		rwkvk_model_info info = { 0 };
		rwkvk_sparsity sparsity = { 0 };
		EXPECTED(rwkvk_model_counters(model, &now) == RWKVK_OK);
		EXPECTED(now.tokens >= last.tokens && now.submits >= last.submits && now.dispatches >= last.dispatches);
		last = now;
		EXPECTED(rwkvk_model_get_info(model, &info) == RWKVK_OK && info.device_bytes > 0 && info.vocab == VOCAB);
		for (size_t i = 0;; i++) {
			rwkvk_profile_row row = { 0 };
			if (!rwkvk_model_profile(model, i, &row))
				break;
			EXPECTED(row.stage && row.seconds >= 0);
		}
		if (rwkvk_model_sparsity(model, 1, &sparsity))
			EXPECTED(sparsity.density >= 0 && sparsity.density <= 1 && sparsity.tokens >= 1);
		pause_briefly(&random, 300);
	}
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- the tests */

static void open_model(bool profile)
{
	rwkvk_session *session;
	make_model(test_temp("model"), &spec);
	const rwkvk_tools_options tools = { .profile = profile };
	assert_ok(rwkvk_model_open(
		&(rwkvk_model_options){ .path = test_temp("model"), .max_sessions = SLOTS, .tools = profile ? &tools : NULL }, &model));
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(rwkvk_session_eval(session, text, TEXT, &(rwkvk_eval_options){ .logits = want }));
	rwkvk_session_destroy(session);
	atomic_store(&over, false);
	atomic_store(&closed, false);
}

static void start_writers(bool with_sessions)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		struct writer *writer = &writers[i];
		char name[32];
		snprintf(name, sizeof name, "state%u", i);
		writer->number = i;
		snprintf(writer->path, sizeof writer->path, "%s", test_temp(name));
		assert_ok(rwkvk_cancel_create(&writer->cancel));
		writer->session = NULL;
		if (with_sessions)
			assert_ok(rwkvk_session_create(model, &writer->session));
	}
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_texts, &writers[i]), 0);
}

static void end_writers(void)
{
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
}

static void end_test(void)
{
	for (unsigned i = 0; i < WRITERS; i++)
		rwkvk_cancel_destroy(writers[i].cancel);
	assert_int_equal(atomic_load(&mistakes), 0);
}

static void beside_each_other(bool profile)
{
	pthread_t canceller, readers[2];
	open_model(profile);
	start_writers(false);
	assert_int_equal(pthread_create(&canceller, NULL, cancel_texts, NULL), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_numbers, NULL), 0);
	end_writers();
	atomic_store(&over, true);
	pthread_join(canceller, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	rwkvk_model_close(model);
	end_test();
}

static void texts_beside_each_other(void **state)
{
	(void)state;
	beside_each_other(false);
}

static void with_a_profile(void **state)
{
	(void)state;
	beside_each_other(true);
}

/* A model that is closed while it has sessions is freed with the last of them; until then their calls fail with a message that
 * names this, or succeed. */
static void closed_meanwhile(void **state)
{
	(void)state;
	uint64_t random = 3;
	open_model(false);
	start_writers(true);
	pause_briefly(&random, 100000);
	atomic_store(&closed, true);
	rwkvk_model_close(model);
	end_writers();
	end_test();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_beside_each_other),
		cmocka_unit_test(with_a_profile),
		cmocka_unit_test(closed_meanwhile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
