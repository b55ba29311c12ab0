/* The state cache: a text gives the same tokens, and the same bits, whatever part of it is known, and known parts are not read
 * again. */
#include "cache_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "engine/engine.h"
#include "feed.h"

enum { ANSWER = 12, BATCH = 4 };

static const char *model_path, *vocab_path;
static rwkvk_model *model;
static rwkvk_session *session; /* for short use by anyone */

static void open_model(uint32_t max_batch)
{
	const rwkvk_model_options options = { .path = model_path, .vocab = vocab_path, .max_batch = max_batch, .max_sessions = 8 };
	assert_ok(rwkvk_model_open(&options, &model));
	assert_ok(rwkvk_session_create(model, &session));
}

static void close_model(void)
{
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
}

static int open_world(void **state)
{
	(void)state;
	model_path = test_temp("cache.gguf");
	vocab_path = make_cache_vocabulary("vocab.txt", 'x');
	make_model(model_path, &cache_spec);
	open_model(BATCH);
	return 0;
}

static int close_world(void **state)
{
	(void)state;
	close_model();
	return 0;
}

/* ---------------------------------------------------------------------------------------------------- a driver that fails */

static bool reading_fails, writing_fails; /* of states */

rwkvk_status __real_slot_read(struct rwkvk_model *m, uint32_t slot, float *state);
rwkvk_status __wrap_slot_read(struct rwkvk_model *m, uint32_t slot, float *state);
rwkvk_status __wrap_slot_read(struct rwkvk_model *m, uint32_t slot, float *state)
{
	return reading_fails ? fail(RWKVK_ERROR_DRIVER, "this one fails") : __real_slot_read(m, slot, state);
}

rwkvk_status __real_slot_write(struct rwkvk_model *m, uint32_t slot, const float *state);
rwkvk_status __wrap_slot_write(struct rwkvk_model *m, uint32_t slot, const float *state);
rwkvk_status __wrap_slot_write(struct rwkvk_model *m, uint32_t slot, const float *state)
{
	return writing_fails ? fail(RWKVK_ERROR_DRIVER, "this one fails") : __real_slot_write(m, slot, state);
}

/* ---------------------------------------------------------------------------------------------------- what is read */

/* Tokens of the text, and how many of them were known. */
static rwkvk_prompt_info read_talk(rwkvk_cache *cache, const struct talk *t, float logits[CACHE_VOCAB])
{
	rwkvk_prompt *prompt = make_prompt(cache, t);
	assert_ok(rwkvk_prompt_read(prompt, session, &(rwkvk_eval_options){ .logits = logits }));
	rwkvk_prompt_info info = info_of(prompt);
	assert_int_equal(info.read, info.tokens);
	assert_int_equal(rwkvk_session_position(session), info.tokens);
	rwkvk_prompt_destroy(prompt);
	return info;
}

static uint64_t tokens_of(rwkvk_cache *cache, const struct talk *t, size_t messages)
{
	struct talk first = *t;
	first.count = messages;
	first.bytes = t->ends[messages - 1];
	rwkvk_prompt *prompt = make_prompt(cache, &first);
	uint64_t tokens = info_of(prompt).tokens;
	rwkvk_prompt_destroy(prompt);
	return tokens;
}

/* So many messages are cached, and the text gives the same bits with this cache as with a new one. */
static void assert_known(rwkvk_cache *cache, const struct talk *t, size_t messages)
{
	float warm[CACHE_VOCAB], cold[CACHE_VOCAB];
	rwkvk_cache *empty = make_cache(model, NULL);
	uint64_t known = read_talk(cache, t, warm).cached;
	assert_int_equal(read_talk(empty, t, cold).cached, 0);
	assert_int_equal(known, messages > 0 ? tokens_of(cache, t, messages) : 0);
	assert_memory_equal(warm, cold, sizeof warm);
	rwkvk_cache_destroy(empty);
}

static void texts_are_not_read_twice(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 }, other;
	say(&t, "System", "Answer in as few words as you can, and never say the same thing twice.");
	say(&t, "User", "What is the capital of France, and how many people live in it?");
	assert_known(cache, &t, 0);
	assert_known(cache, &t, 2); /* as a whole, with its logits */
	other = t;
	say(&t, "Assistant", "Paris; two million.");
	say(&t, "User", "And of Spain?");
	assert_known(cache, &t, 2);
	assert_known(cache, &t, 4);
	t.count--; /* another question in the same place */
	t.bytes = t.ends[2];
	say(&t, "User", "Of Portugal?");
	assert_known(cache, &t, 3);
	memcpy(other.text + other.ends[0] + 6, "Who", 3); /* another first question */
	assert_known(cache, &other, 1);
	other.text[3] = 'T'; /* another system message */
	assert_known(cache, &other, 0);
	rwkvk_cache_stats stats = stats_of(cache);
	assert_int_equal(stats.prompts, 7);
	assert_int_equal(stats.hits, 5);
	assert_true(stats.memory_states >= 6 && stats.memory_bytes > 0 && stats.memory_bytes <= stats.memory_limit);
	rwkvk_cache_destroy(cache);
}

/* Text that ends within a message, as a prompt with "Assistant:" does, has no state there; the end of the message before has
 * one. */
static void ends_of_prompts_are_no_ends(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	say(&t, "User", "Tell me a story.");
	t.bytes += (size_t)sprintf(t.text + t.bytes, "Assistant:");
	assert_known(cache, &t, 0);
	assert_known(cache, &t, 1);
	assert_int_equal(stats_of(cache).memory_states, 1);
	rwkvk_cache_destroy(cache);
}

/* A long history is read in few calls; states are kept at intervals, and at 2 KiB within a message. */
static void long_histories_are_read_in_few_calls(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	char message[4000];
	size_t calls = 0, count;
	for (int i = 0; i < 30; i++)
		say(&t, i % 2 ? "Assistant" : "User", "As it is in the tale, so it is on the sea, and no one has seen it.");
	memset(message, 'a', sizeof message - 1);
	message[sizeof message - 1] = message[3000] = 0;
	for (size_t i = 5; i < 3000; i += 6)
		message[i] = ' ';
	say(&t, "User", message);
	rwkvk_prompt *prompt = make_prompt(cache, &t);
	assert_ok(rwkvk_prompt_begin(prompt, session));
	for (const uint32_t *tokens; (tokens = rwkvk_prompt_next(prompt, &count)); calls++) {
		assert_ok(feed_tokens(session, tokens, count, NULL));
		assert_ok(rwkvk_prompt_done(prompt, session, count));
	}
	const uint64_t total = info_of(prompt).tokens;
	assert_in_range(calls, total / 400, total / 128 + 3);
	assert_in_range(stats_of(cache).memory_states, calls - 2, calls); /* a short piece is a call of its own */
	rwkvk_prompt_destroy(prompt);
	t.text[t.bytes - 4] = 'o'; /* near the end of the long message */
	assert_true(read_talk(cache, &t, NULL).cached > tokens_of(cache, &t, t.count - 1) + 300);
	rwkvk_cache_destroy(cache);
}

/* ---------------------------------------------------------------------------------------------------- how */

static uint64_t submits(void)
{
	rwkvk_counters now = { 0 };
	assert_ok(rwkvk_model_counters(model, &now));
	return now.submits;
}

/* As tests/model/test_session.c has it: none where the host reaches the memory. */
static uint64_t submits_to_move(void)
{
	const char *caps = getenv("RWKVK_CAPS");
	return caps && (strstr(caps, "no-unified") || strstr(caps, "as-gpu")) ? 1 : 0;
}

static void states_move_at_once(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	uint32_t none[1] = { 3 };
	say(&t, "User", "Hello");
	rwkvk_prompt *prompt = make_prompt(cache, &t);
	uint64_t before = submits();
	assert_ok(rwkvk_prompt_begin(prompt, session)); /* nothing is known */
	assert_true(submits() - before <= submits_to_move());
	size_t count;
	const uint32_t *tokens = rwkvk_prompt_next(prompt, &count);
	assert_ok(feed_tokens(session, tokens, count, NULL));
	before = submits();
	assert_ok(rwkvk_prompt_done(prompt, session, count)); /* keeps one */
	assert_true(submits() - before <= submits_to_move());
	assert_int_equal(stats_of(cache).memory_states, 1);
	assert_ok(feed_tokens(session, none, 1, NULL));
	before = submits();
	assert_ok(rwkvk_prompt_begin(prompt, session)); /* takes it */
	assert_true(submits() - before <= submits_to_move());
	assert_int_equal(info_of(prompt).cached, count);
	assert_null(rwkvk_prompt_next(prompt, &count));
	rwkvk_prompt_destroy(prompt);
	rwkvk_cache_destroy(cache);
}

static void counts_begin_empty(void **state)
{
	(void)state;
	const rwkvk_sampling sampling = { .presence = 4, .frequency = 4, .decay = 1 };
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	uint32_t first, again;
	say(&t, "User", "Hello");
	read_talk(cache, &t, NULL);
	assert_ok(rwkvk_session_sample(session, &sampling, &first)); /* which counts it */
	assert_ok(rwkvk_session_sample(session, &sampling, &again));
	assert_int_not_equal(first, again);
	assert_true(read_talk(cache, &t, NULL).cached > 0);
	assert_ok(rwkvk_session_sample(session, &sampling, &again));
	assert_int_equal(first, again);
	rwkvk_cache_destroy(cache);
}

struct calls {
	uint64_t last, total, stop_at;
	int count;
};

static bool note_progress(void *user, uint64_t done, uint64_t total)
{
	struct calls *calls = user;
	assert_true(done > calls->last && done <= total);
	calls->last = done;
	calls->total = total;
	calls->count++;
	return done < calls->stop_at;
}

/* Progress counts the whole text; a cancelled prompt can be continued. */
static void reading_stops_and_goes_on(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	float want[CACHE_VOCAB], got[CACHE_VOCAB];
	for (int i = 0; i < 12; i++)
		say(&t, "User", "It is not so, and it is not the end of it; there is more to come.");
	const uint64_t total = read_talk(cache, &t, want).tokens;
	rwkvk_cache_destroy(cache);
	cache = make_cache(model, NULL);
	rwkvk_prompt *prompt = make_prompt(cache, &t);
	struct calls calls = { .stop_at = 1 };
	const rwkvk_eval_options options = { .progress = note_progress, .progress_user = &calls, .logits = got };
	assert_fails(rwkvk_prompt_read(prompt, session, &options), RWKVK_CANCELLED, "stopped by the caller");
	assert_int_equal(info_of(prompt).read, rwkvk_session_position(session));
	assert_in_range(info_of(prompt).read, 1, total - 1);
	calls.stop_at = UINT64_MAX;
	assert_ok(rwkvk_prompt_finish(prompt, session, &options));
	assert_int_equal(calls.last, total);
	assert_int_equal(calls.total, total);
	assert_memory_equal(got, want, sizeof got);
	rwkvk_prompt_destroy(prompt);
	rwkvk_cache_destroy(cache);
}

/* Several prompts read at the same time, in steps. */
static void prompts_are_read_in_steps(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk talks[2] = { { .count = 0 } };
	rwkvk_work works[2] = { { 0 } };
	rwkvk_prompt *prompts[2];
	float want[CACHE_VOCAB], got[CACHE_VOCAB];
	bool reading = true;
	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 9; j++)
			say(&talks[i], i ? "User" : "Tool", j % 3 ? "It is said to be on the other side of the hill." : "So?");
		prompts[i] = make_prompt(cache, &talks[i]);
		assert_ok(rwkvk_session_create(model, &works[i].session));
		assert_ok(rwkvk_prompt_begin(prompts[i], works[i].session));
	}
	while (reading) {
		size_t busy = 0;
		rwkvk_work some[2];
		rwkvk_prompt *of[2];
		for (int i = 0; i < 2; i++) {
			works[i].tokens = rwkvk_prompt_next(prompts[i], &works[i].token_count);
			works[i].size = sizeof works[i];
			if (works[i].tokens) {
				some[busy] = works[i];
				of[busy++] = prompts[i];
			}
		}
		reading = busy > 0;
		if (reading)
			assert_ok(rwkvk_model_step(model, some, busy));
		for (size_t i = 0; i < busy; i++) {
			assert_int_equal(some[i].status, RWKVK_OK);
			assert_ok(rwkvk_prompt_done(of[i], some[i].session, some[i].read));
		}
	}
	for (int i = 0; i < 2; i++) {
		assert_ok(rwkvk_session_eval(works[i].session, NULL, 0, &(rwkvk_eval_options){ .logits = got }));
		assert_known(cache, &talks[i], 9);
		read_talk(cache, &talks[i], want);
		assert_memory_equal(got, want, sizeof got);
		rwkvk_prompt_destroy(prompts[i]);
		rwkvk_session_destroy(works[i].session);
	}
	rwkvk_cache_destroy(cache);
}

/* A state that cannot be kept is not a failure; one that cannot be restored is. */
static void drivers_fail(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	say(&t, "User", "Hello");
	reading_fails = true;
	assert_int_equal(read_talk(cache, &t, NULL).cached, 0);
	assert_int_equal(stats_of(cache).memory_states, 0);
	reading_fails = false;
	assert_known(cache, &t, 0);
	rwkvk_prompt *prompt = make_prompt(cache, &t);
	writing_fails = true;
	assert_fails(rwkvk_prompt_read(prompt, session, NULL), RWKVK_ERROR_DRIVER, "this one fails");
	writing_fails = false;
	assert_fails(rwkvk_prompt_finish(prompt, session, NULL), RWKVK_ERROR_ARGUMENT, "rwkvk_prompt_begin");
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	rwkvk_prompt_destroy(prompt);
	assert_known(cache, &t, 1);
	rwkvk_cache_destroy(cache);
}

/* ---------------------------------------------------------------------------------------------------- where from */

static void texts_begin_with_a_token(void **state)
{
	(void)state;
	rwkvk_cache *plain = make_cache(model, NULL),
				*begun = make_cache(model, &(rwkvk_cache_options){ .begin = RWKVK_BEGIN_TOKEN });
	struct talk t = { .count = 0 };
	size_t count;
	rwkvk_prompt *prompt;
	rwkvk_model_info info = { 0 };
	assert_ok(rwkvk_model_get_info(model, &info));
	say(&t, "User", "Hello");
	assert_int_equal(tokens_of(begun, &t, 1), tokens_of(plain, &t, 1) + 1);
	assert_ok(rwkvk_prompt_create(begun, NULL, 0, NULL, &prompt));
	assert_ok(rwkvk_prompt_begin(prompt, session));
	const uint32_t *tokens = rwkvk_prompt_next(prompt, &count);
	assert_true(count == 1 && tokens[0] == info.begin_token);
	rwkvk_prompt_destroy(prompt);
	assert_ok(rwkvk_prompt_create(plain, NULL, 0, NULL, &prompt));
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	assert_int_equal(rwkvk_session_position(session), 0);
	rwkvk_prompt_destroy(prompt);
	rwkvk_cache_destroy(plain);
	rwkvk_cache_destroy(begun);
}

static void texts_start_from_other_states(void **state)
{
	(void)state;
	const char *paths[] = { test_temp("one.state"), test_temp("same.state"), test_temp("two.state") };
	rwkvk_cache *cache = make_cache(model, &(rwkvk_cache_options){ .begin = RWKVK_BEGIN_TOKEN });
	struct talk t = { .count = 0 };
	float want[CACHE_VOCAB], got[CACHE_VOCAB];
	uint32_t starts[3];
	for (uint32_t i = 0; i < 3; i++) {
		assert_ok(rwkvk_session_reset(session));
		assert_ok(feed_tokens(session, (uint32_t[]){ 1 + i / 2, 2 }, 2, NULL));
		assert_ok(rwkvk_session_save(session, paths[i]));
		assert_ok(rwkvk_cache_add_start(cache, paths[i], &starts[i]));
	}
	assert_true(starts[0] == starts[1] && starts[1] != starts[2] && starts[0] > 0 && starts[2] > 0);
	say(&t, "User", "Hello, what is this?");
	read_talk(cache, &t, NULL);
	for (int i = 0; i < 4; i++) {
		rwkvk_prompt *prompt;
		size_t count;
		const rwkvk_prompt_options options = { .start = starts[i % 2 ? 2 : 0] };
		assert_ok(rwkvk_prompt_create(cache, t.text, t.bytes, &options, &prompt));
		if (i < 2) { /* the same tokens, without a cache and without the token that texts begin with */
			assert_ok(rwkvk_prompt_begin(prompt, session));
			const uint32_t *tokens = rwkvk_prompt_next(prompt, &count);
			assert_int_equal(count, info_of(prompt).tokens);
			assert_ok(rwkvk_session_load(session, paths[i % 2 ? 2 : 0]));
			assert_ok(feed_tokens(session, tokens, count, want));
		}
		assert_ok(rwkvk_prompt_read(prompt, session, &(rwkvk_eval_options){ .logits = got }));
		assert_int_equal(info_of(prompt).cached, i < 2 ? 0 : info_of(prompt).tokens);
		assert_int_equal(rwkvk_session_position(session), 2 + info_of(prompt).tokens);
		if (i < 2)
			assert_memory_equal(got, want, sizeof got);
		rwkvk_prompt_destroy(prompt);
	}
	rwkvk_cache_destroy(cache);
}

static void states_come_from_elsewhere(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL), *other = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	const rwkvk_prompt_options options = { .ends = t.ends, .end_count = 2 };
	say(&t, "System", "Be kind.");
	say(&t, "User", "Hello");
	read_talk(cache, &t, NULL);
	const size_t bytes = rwkvk_session_state_size(session);
	uint8_t *bits = malloc(bytes);
	assert_ok(rwkvk_session_state_get(session, bits, bytes));
	assert_ok(rwkvk_cache_put(other, t.text, t.bytes, &options, bits, bytes));
	assert_known(other, &t, 2);
	bits[bytes / 2] ^= 1;
	assert_fails(rwkvk_cache_put(other, t.text, t.bytes, &options, bits, bytes), RWKVK_ERROR_FILE, "damaged");
	free(bits);
	rwkvk_cache_destroy(cache);
	rwkvk_cache_destroy(other);
}

static void states_survive_on_disk(void **state)
{
	(void)state;
	const rwkvk_cache_options options = { .disk = 1 << 24, .dir = test_temp("disk") };
	rwkvk_cache *cache = make_cache(model, &options);
	struct talk t = { .count = 0 };
	say(&t, "System", "Be kind.");
	say(&t, "User", "Hello");
	assert_known(cache, &t, 0);
	assert_known(cache, &t, 2);
	rwkvk_cache_destroy(cache);
	cache = make_cache(model, &options);
	assert_known(cache, &t, 2);
	assert_int_equal(stats_of(cache).disk_hits, 1);
	assert_int_equal(stats_of(cache).memory_states, 1);
	assert_known(cache, &t, 2); /* now from memory */
	say(&t, "User", "Are you there?");
	assert_known(cache, &t, 2);
	assert_int_equal(stats_of(cache).disk_hits, 1);
	assert_int_equal(stats_of(cache).hits, 3);
	rwkvk_cache_destroy(cache);
}

/* By default, both follow from the model and the machine. */
static void usual_places(void **state)
{
	(void)state;
	const rwkvk_cache_options options = { .disk = 1 << 20 };
	const char *dir = test_temp("of-the-model");
	char states[600];
	rwkvk_model *ours = model, *other;
	rwkvk_session *own = session;
	struct talk t = { .count = 0 };
	say(&t, "User", "Hello");
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = model_path, .vocab = vocab_path, .cache_dir = dir }, &other));
	model = other;
	assert_ok(rwkvk_session_create(model, &session));
	rwkvk_cache *cache = make_cache(model, &options);
	read_talk(cache, &t, NULL);
	assert_in_range(stats_of(cache).memory_limit, 1, UINT64_C(4) << 30);
	rwkvk_cache_destroy(cache);
	snprintf(states, sizeof states, "%s/states", dir);
	assert_int_equal(access(states, R_OK), 0);
	close_model();
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = model_path, .vocab = vocab_path, .cache_dir = "" }, &other));
	assert_fails(rwkvk_cache_create(other, &options, &cache), RWKVK_ERROR_ARGUMENT, "there is no folder for them");
	rwkvk_model_close(other);
	model = ours;
	session = own;
}

/* The longest prefix wins, wherever it is kept; here memory has room for one state. */
static void the_longest_beginning_wins(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 }, longer, other;
	say(&t, "User", "Hello");
	longer = other = t;
	say(&longer, "Assistant", "Hello to you, too.");
	say(&other, "Assistant", "What?");
	read_talk(cache, &t, NULL);
	const rwkvk_cache_options options = { .memory = stats_of(cache).memory_bytes * 5 / 4,
		                                  .disk = 1 << 24,
		                                  .dir = test_temp("longest") };
	rwkvk_cache_destroy(cache);
	cache = make_cache(model, &options);
	assert_known(cache, &longer, 0);
	rwkvk_cache_destroy(cache);
	cache = make_cache(model, &options); /* all are on disk */
	assert_known(cache, &other, 1);
	assert_known(cache, &longer, 2);
	assert_int_equal(stats_of(cache).memory_states, 1);
	assert_int_equal(stats_of(cache).disk_hits, 2);
	rwkvk_cache_destroy(cache);
}

/* ---------------------------------------------------------------------------------------------------- answers */

struct answer {
	char text[400];
	size_t bytes;
	uint32_t tokens[ANSWER];
	size_t count;
};

static bool note_token(void *user, const rwkvk_token *token)
{
	struct answer *answer = user;
	if (token->byte_count > 0)
		memcpy(answer->text + answer->bytes, token->bytes, token->byte_count);
	answer->bytes += token->byte_count;
	answer->tokens[answer->count++] = token->id;
	return true;
}

static void write_answer(struct answer *answer)
{
	*answer = (struct answer){ .count = 0 };
	const rwkvk_generate_options options = { .max_tokens = ANSWER, .ignore_end = true, .on_token = note_token, .user = answer };
	assert_ok(rwkvk_session_generate(session, &options, NULL));
	assert_int_equal(answer->count, ANSWER);
}

/* The history with the answer as it was written, and without what may not be in one: 0 bytes and blank lines. */
static void add_answer(struct talk *t, const struct answer *answer)
{
	memcpy(t->text + t->bytes, "Assistant:", 10);
	memcpy(t->text + t->bytes + 10, answer->text, answer->bytes);
	memcpy(t->text + t->bytes + 10 + answer->bytes, "\n\n", 2);
	t->bytes += 12 + answer->bytes;
	t->ends[t->count++] = t->bytes;
}

/* One turn: the question is read, an answer written, and its state kept as far as possible.  Returns how many tokens were
 * cached. */
static rwkvk_prompt_info take_turn(rwkvk_cache *cache, struct talk *t, struct answer *answer)
{
	struct talk asked = *t;
	memcpy(asked.text + asked.bytes, "Assistant:", 10);
	asked.bytes += 10;
	rwkvk_prompt *prompt = make_prompt(cache, &asked);
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	rwkvk_prompt_info info = info_of(prompt);
	write_answer(answer);
	add_answer(t, answer);
	assert_ok(rwkvk_prompt_answered(prompt, session, answer->text, answer->bytes, t->text, t->bytes, t->ends, t->count));
	assert_ok(rwkvk_prompt_finish(prompt, session, NULL));
	rwkvk_prompt_info after = info_of(prompt);
	assert_int_equal(after.tokens, after.read);
	assert_true(after.tokens == info.tokens || after.tokens > info.tokens + ANSWER);
	rwkvk_prompt_destroy(prompt);
	return info;
}

static void conversations_go_on(void **state)
{
	(void)state;
	for (int only = 0; only < 2; only++) {
		rwkvk_cache *cache = make_cache(model, &(rwkvk_cache_options){ .read_states_only = only });
		struct talk t = { .count = 0 };
		struct answer answer;
		uint64_t known = 0;
		for (int i = 0; i < 6; i++) {
			say(&t, "User", i % 2 ? "And then?" : "What is the news from the other side of the sea?");
			rwkvk_prompt_info info = take_turn(cache, &t, &answer);
			assert_true(i == 0 ? info.cached == 0 : info.cached > known);
			/* Everything but the question and, if only states of read texts count, the answer before it. */
			assert_true(info.tokens - info.cached <= (only ? 60 + ANSWER : 60));
			known = info.cached;
		}
		assert_int_equal(stats_of(cache).hits, 5);
		rwkvk_cache_destroy(cache);
	}
}

static void answers_that_became_others(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 }, history;
	say(&t, "User", "Hello");
	history = t;
	t.bytes += (size_t)sprintf(t.text + t.bytes, "Assistant: <think>");
	say(&history, "Assistant", "Hello.");
	rwkvk_prompt *prompt = make_prompt(cache, &t);
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	const uint64_t tokens = info_of(prompt).tokens;
	assert_ok(feed_tokens(session, (uint32_t[]){ 5 }, 1, NULL));
	assert_ok(rwkvk_prompt_answered(prompt, session, "hm</think>Hello.", 16, history.text, history.bytes, history.ends, 2));
	size_t count = 7;
	assert_null(rwkvk_prompt_next(prompt, &count));
	assert_int_equal(count, 0);
	assert_int_equal(info_of(prompt).tokens, tokens);
	rwkvk_prompt_destroy(prompt);
	assert_int_equal(read_talk(cache, &history, NULL).cached, tokens_of(cache, &history, 1)); /* the end of the question */
	rwkvk_cache_destroy(cache);
}

/* If nothing separates the texts, nothing is left to read after an answer. */
static void answers_that_end_the_text(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(model, NULL);
	rwkvk_prompt *prompt;
	const char *text = "Once upon a time";
	struct answer answer;
	char whole[500];
	size_t ends[] = { 16, 0 }, count;
	assert_ok(rwkvk_prompt_create(cache, text, 16, NULL, &prompt));
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	write_answer(&answer);
	memcpy(whole, text, 16);
	memcpy(whole + 16, answer.text, answer.bytes);
	ends[1] = 16 + answer.bytes;
	assert_ok(rwkvk_prompt_answered(prompt, session, answer.text, answer.bytes, whole, ends[1], ends, 2));
	assert_null(rwkvk_prompt_next(prompt, &count));
	const uint64_t tokens = info_of(prompt).tokens;
	assert_int_equal(tokens, rwkvk_session_position(session));
	rwkvk_prompt_destroy(prompt);
	assert_ok(rwkvk_prompt_create(cache, whole, ends[1], &(rwkvk_prompt_options){ .ends = ends, .end_count = 2 }, &prompt));
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	assert_int_equal(info_of(prompt).cached, info_of(prompt).tokens);
	assert_int_equal(rwkvk_session_position(session), tokens); /* those of the state, however the text is split */
	rwkvk_prompt_destroy(prompt);
	rwkvk_cache_destroy(cache);
}

/* ---------------------------------------------------------------------------------------------------- any conversations */

enum { TALKS = 6, ROUNDS = 40 };

static void say_something(struct talk *t, uint64_t *random)
{
	static const char *const words[] = { "is", "the", "note", "sea", "so",  "a", "rise", "tale", "on,",
		                                 "it", "\n",  "old",  "ice", "his", ".", "cold", "lie",  "Why?" };
	char text[600] = "";
	for (size_t n = 1 + test_random(random) % (test_random(random) % 4 ? 12 : 90), i = 0; i < n; i++) {
		strcat(text, i ? " " : "");
		strcat(text, words[test_random(random) % (sizeof words / sizeof *words)]);
	}
	say(t, test_random(random) % 5 ? "User" : "Tool", text);
}

/* A message is replaced, and everything after it is dropped. */
static void edit(struct talk *t, uint64_t *random)
{
	t->count = test_random(random) % t->count;
	t->bytes = t->count > 0 ? t->ends[t->count - 1] : 0;
	say_something(t, random);
}

static size_t common(const struct talk *a, const struct talk *b)
{
	size_t i = 0;
	while (i < a->bytes && i < b->bytes && a->text[i] == b->text[i])
		i++;
	return i;
}

/* The bytes that the prompt need not read: those before its next tokens, which cover the rest of the text. */
static size_t known_bytes(const rwkvk_prompt *prompt, const struct talk *t)
{
	const rwkvk_prompt_info info = info_of(prompt);
	size_t count, bytes = 0, rest = t->bytes;
	const uint32_t *tokens = rwkvk_prompt_next(prompt, &count);
	for (uint64_t i = info.tokens - info.read; i > 0; i--) { /* the last one first */
		size_t length;
		const char *token = rwkvk_tokenizer_token(rwkvk_model_tokenizer(model), tokens[i - 1], &length);
		bytes += length;
		rest -= length;
		assert_memory_equal(t->text + rest, token, length);
	}
	return t->bytes - bytes;
}

/* The same answer as after reading everything, and the same logits after it. */
static void assert_same_answer(const struct talk *asked, const struct answer *answer, const float logits[CACHE_VOCAB])
{
	struct answer cold;
	float want[CACHE_VOCAB];
	rwkvk_cache *empty = make_cache(model, NULL);
	assert_int_equal(read_talk(empty, asked, NULL).cached, 0);
	write_answer(&cold);
	assert_ok(rwkvk_session_eval(session, NULL, 0, &(rwkvk_eval_options){ .logits = want }));
	assert_memory_equal(answer->tokens, cold.tokens, sizeof cold.tokens);
	assert_memory_equal(logits, want, sizeof want);
	rwkvk_cache_destroy(empty);
}

/* The states that must have been kept: texts up to ends of messages. */
struct memories {
	struct talk list[4 * ROUNDS];
	uint64_t positions[4 * ROUNDS]; /* of the state of an answer; 0: the text was read */
	size_t count;
	size_t answers; /* states of answers that prompts began at */
};

static void remember(struct memories *m, const struct talk *t, size_t messages, uint64_t position)
{
	if (messages == 0)
		return;
	m->positions[m->count] = position;
	struct talk *kept = &m->list[m->count++];
	*kept = *t;
	kept->bytes = t->ends[messages - 1];
}

/* At least the longest of those that are a prefix of the text, and no more than was ever read of it. */
static void check_known(const struct memories *m, const struct talk *asked, size_t known)
{
	size_t least = 0, most = 0;
	for (size_t i = 0; i < m->count; i++) {
		size_t same = common(&m->list[i], asked);
		most = same > most ? same : most;
		if (same == m->list[i].bytes && same > least)
			least = same;
	}
	assert_in_range(known, least, most);
}

/* The state of an answer has counted the picked tokens, whatever reading its text would split it into.  How many such states
 * the text may be of; one of them has the position. */
static size_t check_position(const struct memories *m, const struct talk *asked, size_t known, uint64_t position)
{
	size_t answers = 0;
	bool found = false;
	for (size_t i = 0; i < m->count; i++)
		if (m->positions[i] > 0 && m->list[i].bytes == known && common(&m->list[i], asked) >= known) {
			answers++;
			found |= m->positions[i] == position;
		}
	assert_true(found || answers == 0);
	return answers;
}

static void turn_of_any(rwkvk_cache *cache, bool only, struct talk *t, struct memories *m)
{
	struct answer answer;
	float logits[CACHE_VOCAB];
	struct talk asked = *t;
	memcpy(asked.text + asked.bytes, "Assistant:", 10);
	asked.bytes += 10;
	rwkvk_prompt *prompt = make_prompt(cache, &asked);
	assert_ok(rwkvk_prompt_begin(prompt, session));
	size_t known = known_bytes(prompt, &asked);
	uint64_t position = rwkvk_session_position(session);
	if (m) {
		check_known(m, &asked, known);
		m->answers += check_position(m, &asked, known, position);
	}
	position += info_of(prompt).tokens - info_of(prompt).cached;
	assert_ok(rwkvk_prompt_finish(prompt, session, NULL));
	assert_int_equal(rwkvk_session_position(session), position);
	if (only)
		assert_int_equal(position, info_of(prompt).tokens);
	write_answer(&answer);
	assert_ok(rwkvk_session_eval(session, NULL, 0, &(rwkvk_eval_options){ .logits = logits }));
	add_answer(t, &answer);
	assert_ok(rwkvk_prompt_answered(prompt, session, answer.text, answer.bytes, t->text, t->bytes, t->ends, t->count));
	assert_ok(rwkvk_prompt_finish(prompt, session, NULL));
	if (m) {
		remember(m, t, asked.count, 0);
		remember(m, t, asked.count - 1, 0);
		if (!only)
			remember(m, t, t->count, rwkvk_session_position(session));
	}
	rwkvk_prompt_destroy(prompt);
	if (only)
		assert_same_answer(&asked, &answer, logits);
}

/* Trees of conversations: they continue, are edited, forked, abandoned.  m: NULL where states make room for others. */
static void grow_trees(const rwkvk_cache_options *options, uint64_t seed, struct memories *m)
{
	rwkvk_cache *cache = make_cache(model, options);
	struct talk *talks = calloc(TALKS, sizeof *talks);
	for (int i = 0; i < ROUNDS / (int)test_every(); i++) {
		struct talk *t = &talks[test_random(&seed) % TALKS];
		if (t->count > 0 && test_random(&seed) % 4 == 0)
			edit(t, &seed);
		else if (t->count > 0 && test_random(&seed) % 4 == 0)
			talks[test_random(&seed) % TALKS] = *t;
		else if (t->count > 24)
			*t = (struct talk){ .count = 0 };
		say_something(t, &seed);
		turn_of_any(cache, options->read_states_only, t, m);
	}
	assert_true(stats_of(cache).hits > ROUNDS / test_every() / 4);
	if (!m)
		assert_true(stats_of(cache).dropped > 0);
	free(talks);
	rwkvk_cache_destroy(cache);
}

static void any_conversation_is_as_if_read_anew(void **state)
{
	(void)state;
	static struct memories m;
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	say(&t, "User", "Hello");
	read_talk(cache, &t, NULL);
	const uint64_t one = stats_of(cache).memory_bytes;
	rwkvk_cache_destroy(cache);
	m.count = 0;
	grow_trees(&(rwkvk_cache_options){ .read_states_only = true }, 1, &m);
	grow_trees(&(rwkvk_cache_options){ .read_states_only = true, .memory = 9 * one }, 2, NULL);
	grow_trees(&(rwkvk_cache_options){ .read_states_only = true, .memory = 4 * one, .disk = 30 * one, .dir = test_temp("t") },
	           3, NULL);
	m.count = 0;
	assert_int_equal(m.answers, 0);
	grow_trees(&(rwkvk_cache_options){ .read_states_only = false }, 4, &m);
	assert_true(m.answers > ROUNDS / test_every() / 4);
}

/* A model without max_batch reads in other chunks, so its bits differ from one with it; with and without a cache they are
 * equal. */
static void without_max_batch_too(void **state)
{
	(void)state;
	close_model();
	open_model(0);
	grow_trees(&(rwkvk_cache_options){ .read_states_only = true }, 5, &(struct memories){ .count = 0 });
	close_model();
	open_model(BATCH);
}

/* ---------------------------------------------------------------------------------------------------- threads */

enum { THREADS = 3 };

static atomic_int mistakes;

struct reader {
	pthread_t thread;
	rwkvk_cache *cache;
	uint64_t random;
};

/* cmocka's assertions belong to the main thread. */
static bool read_one(struct reader *r, rwkvk_session *own)
{
	static const char *const texts[] = { "User: a tale\n\n", "User: a tale\n\nAssistant: so it is\n\n",
		                                 "User: a tale\n\nAssistant: no\n\n", "User: the sea\n\n" };
	const char *text = texts[test_random(&r->random) % 4];
	const char *second = strstr(text, "\n\n") + 2;
	const size_t ends[] = { (size_t)(second - text), strlen(text) };
	const rwkvk_prompt_options options = { .ends = ends, .end_count = *second ? 2 : 1 };
	rwkvk_prompt *prompt = NULL;
	rwkvk_cache_stats stats = { 0 };
	bool fine = rwkvk_prompt_create(r->cache, text, strlen(text), &options, &prompt) == RWKVK_OK &&
	            rwkvk_prompt_read(prompt, own, NULL) == RWKVK_OK && rwkvk_cache_get_stats(r->cache, &stats) == RWKVK_OK;
	rwkvk_prompt_destroy(prompt);
	return fine;
}

static void *read_many(void *user)
{
	struct reader *r = user;
	rwkvk_session *own;
	if (rwkvk_session_create(model, &own) != RWKVK_OK) {
		atomic_fetch_add(&mistakes, 1);
		return NULL;
	}
	for (int i = 0; i < 30; i++)
		if (!read_one(r, own))
			atomic_fetch_add(&mistakes, 1);
	rwkvk_session_destroy(own);
	return NULL;
}

/* With room for few states, in memory and on disk. */
static void threads_share_a_cache(void **state)
{
	(void)state;
	struct reader readers[THREADS];
	rwkvk_cache *cache = make_cache(model, NULL);
	struct talk t = { .count = 0 };
	say(&t, "User", "a tale");
	read_talk(cache, &t, NULL);
	const uint64_t one = stats_of(cache).memory_bytes;
	rwkvk_cache_destroy(cache);
	cache = make_cache(model, &(rwkvk_cache_options){ .memory = 2 * one, .disk = 3 * one, .dir = test_temp("shared") });
	for (unsigned i = 0; i < THREADS; i++) {
		readers[i] = (struct reader){ .cache = cache, .random = i + 1 };
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_many, &readers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(readers[i].thread, NULL);
	assert_int_equal(atomic_load(&mistakes), 0);
	rwkvk_cache_stats stats = stats_of(cache);
	assert_int_equal(stats.prompts, THREADS * 30);
	assert_true(stats.hits > 0 && stats.memory_bytes <= 2 * one);
	assert_int_equal(stats.damaged, 0);
	rwkvk_cache_destroy(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_not_read_twice),
		cmocka_unit_test(ends_of_prompts_are_no_ends),
		cmocka_unit_test(long_histories_are_read_in_few_calls),
		cmocka_unit_test(states_move_at_once),
		cmocka_unit_test(counts_begin_empty),
		cmocka_unit_test(reading_stops_and_goes_on),
		cmocka_unit_test(prompts_are_read_in_steps),
		cmocka_unit_test(drivers_fail),
		cmocka_unit_test(texts_begin_with_a_token),
		cmocka_unit_test(texts_start_from_other_states),
		cmocka_unit_test(states_come_from_elsewhere),
		cmocka_unit_test(states_survive_on_disk),
		cmocka_unit_test(usual_places),
		cmocka_unit_test(the_longest_beginning_wins),
		cmocka_unit_test(conversations_go_on),
		cmocka_unit_test(answers_that_became_others),
		cmocka_unit_test(answers_that_end_the_text),
		cmocka_unit_test(any_conversation_is_as_if_read_anew),
		cmocka_unit_test(without_max_batch_too),
		cmocka_unit_test(threads_share_a_cache),
	};
	return cmocka_run_group_tests_name("cache", tests, open_world, close_world);
}
