/* The state cache: a text gives the same tokens and, in this process, the same bits whatever is known of it, and what is known
 * is not read again. */
#include "support.h"

#include <stdio.h>

#include "make_model.h"
#include "rwkvk_tools.h"

enum { VOCAB = 256, ANSWER = 12 };

static const char *model_path;
static rwkvk_model *model;

/* Tokens are bytes. */
static const struct model_spec spec = { .layers = 3,
	                                    .width = 64,
	                                    .head_size = 32,
	                                    .ffn = 256,
	                                    .vocab = VOCAB,
	                                    .rank_decay = 8,
	                                    .rank_iclr = 8,
	                                    .rank_gate = 16,
	                                    .rank_value = 8,
	                                    .type = DTYPE_F16,
	                                    .lora_type = DTYPE_F16,
	                                    .seed = 70 };

static int open_model(void **state)
{
	(void)state;
	model_path = test_temp("cache.gguf");
	make_model(model_path, &spec);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = model_path, .max_batch = 4 }, &model));
	return 0;
}

static int close_model(void **state)
{
	(void)state;
	rwkvk_model_close(model);
	return 0;
}

/* ---------------------------------------------------------------------------------------------------- conversations */

/* Messages, rendered as a chat has them. */
struct talk {
	char text[20000];
	size_t bytes, ends[64], count;
};

static void say(struct talk *t, const char *who, const char *what)
{
	t->bytes += (size_t)snprintf(t->text + t->bytes, sizeof t->text - t->bytes, "%s: %s\n\n", who, what);
	t->ends[t->count++] = t->bytes;
}

static rwkvk_prompt *make_prompt(rwkvk_cache *cache, const struct talk *t)
{
	rwkvk_prompt *prompt;
	assert_ok(rwkvk_prompt_create(cache, t->text, t->bytes, &(rwkvk_prompt_options){ .ends = t->ends, .end_count = t->count },
	                              &prompt));
	return prompt;
}

static rwkvk_prompt_info info_of(const rwkvk_prompt *prompt)
{
	rwkvk_prompt_info info = { 0 };
	assert_ok(rwkvk_prompt_get_info(prompt, &info));
	return info;
}

static rwkvk_cache_stats stats_of(rwkvk_cache *cache)
{
	rwkvk_cache_stats stats = { 0 };
	assert_ok(rwkvk_cache_get_stats(cache, &stats));
	return stats;
}

static rwkvk_cache *make_cache(const rwkvk_cache_options *options)
{
	rwkvk_cache *cache;
	assert_ok(rwkvk_cache_create(model, options, &cache));
	return cache;
}

static rwkvk_session *make_session(void)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(model, &session));
	return session;
}

/* What the text gives; *cached: how many of its tokens were known. */
static void read_talk(rwkvk_cache *cache, const struct talk *t, float logits[VOCAB], uint64_t *cached)
{
	rwkvk_session *session = make_session();
	rwkvk_prompt *prompt = make_prompt(cache, t);
	assert_ok(rwkvk_prompt_read(prompt, session, &(rwkvk_eval_options){ .logits = logits }));
	rwkvk_prompt_info info = info_of(prompt);
	assert_int_equal(info.tokens, t->bytes);
	assert_int_equal(info.read, info.tokens);
	assert_int_equal(rwkvk_session_position(session), info.tokens);
	*cached = info.cached;
	rwkvk_prompt_destroy(prompt);
	rwkvk_session_destroy(session);
}

/* The same bits with this cache as with a new one. */
static uint64_t assert_same(rwkvk_cache *cache, const struct talk *t)
{
	float warm[VOCAB], cold[VOCAB];
	uint64_t cached, none;
	rwkvk_cache *empty = make_cache(NULL);
	read_talk(cache, t, warm, &cached);
	read_talk(empty, t, cold, &none);
	assert_int_equal(none, 0);
	assert_memory_equal(warm, cold, sizeof warm);
	rwkvk_cache_destroy(empty);
	return cached;
}

static void texts_are_not_read_twice(void **state)
{
	(void)state;
	rwkvk_cache *cache = make_cache(NULL);
	struct talk t = { .count = 0 }, other;
	say(&t, "System", "Answer in as few words as you can, and never say the same thing twice.");
	say(&t, "User", "What is the capital of France, and how many people live in it?");
	assert_int_equal(assert_same(cache, &t), 0);
	assert_int_equal(assert_same(cache, &t), t.bytes); /* it is known as a whole, with its logits */
	other = t;
	say(&t, "Assistant", "Paris; two million.");
	say(&t, "User", "And of Spain?");
	assert_int_equal(assert_same(cache, &t), t.ends[1]);
	assert_int_equal(assert_same(cache, &t), t.bytes);
	t.count--; /* another question in the same place */
	t.bytes = t.ends[2];
	say(&t, "User", "Of Portugal?");
	assert_int_equal(assert_same(cache, &t), t.ends[2]);
	memcpy(other.text + other.ends[0] + 6, "Who", 3); /* another first question */
	assert_int_equal(assert_same(cache, &other), other.ends[0]);
	other.text[3] = 'T'; /* another system message */
	assert_int_equal(assert_same(cache, &other), 0);
	rwkvk_cache_stats stats = stats_of(cache);
	assert_int_equal(stats.prompts, 7);
	assert_int_equal(stats.hits, 5);
	assert_true(stats.memory_states >= 6 && stats.memory_bytes > 0 && stats.memory_bytes <= stats.memory_limit);
	rwkvk_cache_destroy(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_not_read_twice),
	};
	return cmocka_run_group_tests_name("cache", tests, open_model, close_model);
}
