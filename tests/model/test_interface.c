/* The public interface, promise by promise: cancelling, why a text ends, what is reported when, what a model's file says,
 * states as bytes, structs of other sizes, options of a model.  On a model whose text the test has chosen (make_chain.h). */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "feed.h"
#include "format/gguf_writer.h"
#include "make_chain.h"
#include "rwkvk_tools.h"

/* What the model writes after 'a', again and again; the last character leads back to 'a' by bytes that count up. */
static const char chain_text[] = "abcd\xe2\x82\xac"
								 "efgh\xf0\x9f\x98\x80"
								 "ijk\xc3\xb6"
								 "lmn";
#define EURO  "\xe2\x82\xac"
#define SMILE "\xf0\x9f\x98\x80"
#define OE    "\xc3\xb6"

static char chain_path[512];
static rwkvk_model *model;
static size_t vocab = 256;

static rwkvk_session *begin(rwkvk_model *of, const char *text)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(of, &session));
	for (; *text; text++)
		assert_ok(rwkvk_session_eval(session, &(uint32_t){ (uint8_t)*text }, 1, NULL));
	return session;
}

/* ------------------------------------------------------------------------------------------------------ what is reported */

/* Records what callbacks get: pieces of text in brackets, tokens in angle brackets. */
struct run {
	char log[1024];
	size_t texts, tokens;
	size_t end_at_text, end_at_token; /* which one returns false, from 1 on; 0: none */
	rwkvk_cancel *cancel;
	size_t cancel_at_token;
	bool no_more_texts, no_more; /* a callback has returned false: on_text, on_token */
	rwkvk_session *session;
	uint32_t ids[64];
};

static void put(struct run *run, char open, const void *bytes, size_t count, char close)
{
	size_t used = strlen(run->log);
	assert_true(used + count + 3 < sizeof run->log);
	snprintf(run->log + used, sizeof run->log - used, "%c%.*s%c", open, (int)count, (const char *)bytes, close);
}

static bool on_text(void *user, const char *text, size_t bytes)
{
	struct run *run = user;
	assert_true(bytes > 0);
	assert_false(run->no_more_texts || run->no_more);
	put(run, '[', text, bytes, ']');
	run->no_more_texts = ++run->texts == run->end_at_text;
	return !run->no_more_texts;
}

static bool on_token(void *user, const rwkvk_token *token)
{
	struct run *run = user;
	assert_int_equal(token->size, sizeof *token);
	assert_false(run->no_more);
	if (token->bytes)
		put(run, '<', token->bytes, token->byte_count, '>');
	else
		assert_int_equal(token->byte_count, 0);
	assert_true(run->tokens < sizeof run->ids / sizeof *run->ids);
	run->ids[run->tokens++] = token->id;
	run->no_more = run->tokens == run->end_at_token;
	if (run->tokens == run->cancel_at_token)
		rwkvk_cancel_set(run->cancel);
	return !run->no_more;
}

/* The same model with so many tokens to a submission. */
static rwkvk_model *open_at_once(const char *path, const char *tokens)
{
	rwkvk_model *other;
	setenv("RWKVK_TOKENS_PER_SUBMISSION", tokens, 1);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &other));
	unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	return other;
}

/* Equal states, positions and logits, whatever was generated. */
static void assert_same(rwkvk_session *a, rwkvk_session *b)
{
	size_t floats = rwkvk_session_state_floats(a);
	assert_int_equal(rwkvk_session_position(a), rwkvk_session_position(b));
	assert_int_equal(floats, rwkvk_session_state_floats(b));
	float *state_a = malloc(floats * sizeof *state_a), *state_b = malloc(floats * sizeof *state_b);
	float *logits_a = malloc(vocab * sizeof *logits_a), *logits_b = malloc(vocab * sizeof *logits_b);
	assert_ok(rwkvk_session_floats_get(a, state_a, floats));
	assert_ok(rwkvk_session_floats_get(b, state_b, floats));
	assert_memory_equal(state_a, state_b, floats * sizeof *state_a);
	assert_ok(feed_tokens(a, NULL, 0, logits_a));
	assert_ok(feed_tokens(b, NULL, 0, logits_b));
	assert_memory_equal(logits_a, logits_b, vocab * sizeof *logits_a);
	free(state_a);
	free(state_b);
	free(logits_a);
	free(logits_b);
}

/* One way to generate after "a", and the expected result. */
struct scene {
	const char *name;
	uint64_t max_tokens;
	const char *stop_texts[4];
	const char *stop_bytes; /* stop tokens */
	bool texts, tokens;     /* which callbacks there are */
	size_t end_at_text, end_at_token, cancel_at_token;
	const char *log; /* as struct run has it */
	rwkvk_end reason;
	uint32_t stop;
	const char *read; /* what the state has read after "a" */
};

static const struct scene scenes[] = {
	{ "length", .max_tokens = 3, .tokens = true, .log = "<b><c><d>", .reason = RWKVK_END_LENGTH, .read = "bcd" },
	{ "tokens alone do not wait for characters", .max_tokens = 5, .tokens = true, .log = "<b><c><d><\xe2><\x82>",
	  .reason = RWKVK_END_LENGTH, .read = "bcd\xe2\x82" },
	{ "text alone", .max_tokens = 7, .texts = true, .log = "[b][c][d][" EURO "][e]", .reason = RWKVK_END_LENGTH,
	  .read = "bcd" EURO "e" },
	{ "text before its tokens, characters whole", .max_tokens = 13, .texts = true, .tokens = true,
	  .log = "[b]<b>[c]<c>[d]<d>[" EURO "]<\xe2><\x82><\xac>[e]<e>[f]<f>[g]<g>[h]<h>[\xf0\x9f\x98]<\xf0><\x9f><\x98>",
	  .reason = RWKVK_END_LENGTH, .read = "bcd" EURO "efgh\xf0\x9f\x98" },
	{ "no callback", .max_tokens = 4, .log = "", .reason = RWKVK_END_LENGTH, .read = "bcd\xe2" },
	{ "stop token", .max_tokens = 20, .stop_bytes = "Xe", .texts = true, .tokens = true,
	  .log = "[b]<b>[c]<c>[d]<d>[" EURO "]<\xe2><\x82><\xac>", .reason = RWKVK_END_STOP_TOKEN, .stop = 1, .read = "bcd" EURO },
	{ "stop token inside a character", .max_tokens = 20, .stop_bytes = "\xac", .texts = true, .tokens = true,
	  .log = "[b]<b>[c]<c>[d]<d>[\xe2\x82]<\xe2><\x82>", .reason = RWKVK_END_STOP_TOKEN, .read = "bcd\xe2\x82" },
	{ "stop text", .max_tokens = 20, .stop_texts = { "de", "d" EURO "e", "zz" }, .texts = true, .tokens = true,
	  .log = "[b]<b>[c]<c>", .reason = RWKVK_END_STOP_TEXT, .stop = 1, .read = "bc" },
	{ "stop text without on_text", .max_tokens = 20, .stop_texts = { "cd" }, .tokens = true, .log = "<b>",
	  .reason = RWKVK_END_STOP_TEXT, .read = "b" },
	{ "stop text without any callback", .max_tokens = 20, .stop_texts = { "xx", "cd" }, .log = "",
	  .reason = RWKVK_END_STOP_TEXT, .stop = 1, .read = "b" },
	{ "stop text of one byte at once", .max_tokens = 20, .stop_texts = { "b" }, .texts = true, .tokens = true, .log = "",
	  .reason = RWKVK_END_STOP_TEXT, .read = "" },
	{ "the beginning of a stop text that it was not", .max_tokens = 5, .stop_texts = { "bcdX" }, .texts = true, .tokens = true,
	  .log = "[b]<b>[c]<c>[d]<d>[\xe2\x82]<\xe2><\x82>", .reason = RWKVK_END_LENGTH, .read = "bcd\xe2\x82" },
	{ "what was held back comes at the end", .max_tokens = 3, .stop_texts = { "cd" EURO }, .texts = true, .tokens = true,
	  .log = "[b]<b>[c]<c>[d]<d>", .reason = RWKVK_END_LENGTH, .read = "bcd" },
	{ "and at a stop token", .max_tokens = 20, .stop_texts = { "cd" EURO "f" }, .stop_bytes = "e", .texts = true,
	  .tokens = true, .log = "[b]<b>[c]<c>[d]<d>[" EURO "]<\xe2><\x82><\xac>", .reason = RWKVK_END_STOP_TOKEN,
	  .read = "bcd" EURO },
	{ "the shorter of two stop texts comes first", .max_tokens = 20, .stop_texts = { "bcde", "cd" }, .texts = true,
	  .tokens = true, .log = "[b]<b>", .reason = RWKVK_END_STOP_TEXT, .stop = 1, .read = "b" },
	{ "on_token ends it", .max_tokens = 20, .tokens = true, .end_at_token = 2, .log = "<b><c>", .reason = RWKVK_END_CALLER,
	  .read = "bc" },
	{ "on_text ends it", .max_tokens = 20, .texts = true, .end_at_text = 3, .log = "[b][c][d]", .reason = RWKVK_END_CALLER,
	  .read = "bcd" },
	{ "on_text ends it in the middle of a character's tokens", .max_tokens = 20, .texts = true, .end_at_text = 4,
	  .log = "[b][c][d][" EURO "]", .reason = RWKVK_END_CALLER, .read = "bcd" EURO },
	{ "on_text ends it with a token", .max_tokens = 20, .texts = true, .tokens = true, .end_at_text = 2, .log = "[b]<b>[c]<c>",
	  .reason = RWKVK_END_CALLER, .read = "bc" },
	{ "on_text ends it while more is held back", .max_tokens = 20, .stop_texts = { "bcdX", "d" EURO "Y" }, .texts = true,
	  .tokens = true, .end_at_text = 1, .log = "[b]<b>", .reason = RWKVK_END_CALLER, .read = "b" },
	{ "and on_token", .max_tokens = 20, .stop_texts = { "bcdX", "d" EURO "Y" }, .texts = true, .tokens = true,
	  .end_at_token = 2, .log = "[b]<b>[c]<c>", .reason = RWKVK_END_CALLER, .read = "bc" },
	{ "on_token alone ends it while more is held back", .max_tokens = 20, .stop_texts = { "bcdX" }, .tokens = true,
	  .end_at_token = 1, .log = "<b>", .reason = RWKVK_END_CALLER, .read = "b" },
	{ "on_token ends it within a character", .max_tokens = 20, .texts = true, .tokens = true, .end_at_token = 4,
	  .log = "[b]<b>[c]<c>[d]<d>[" EURO "]<\xe2>", .reason = RWKVK_END_CALLER, .read = "bcd\xe2" },
	{ "on_token wants no more of what comes at the end", .max_tokens = 3, .stop_texts = { "bcdX" }, .tokens = true,
	  .end_at_token = 2, .log = "<b><c>", .reason = RWKVK_END_LENGTH, .read = "bc" },
	{ "cancelled while text is held back", .max_tokens = 20, .stop_texts = { "bX", "cX" }, .texts = true, .tokens = true,
	  .cancel_at_token = 1, .log = "[b]<b>[c]<c>", .reason = RWKVK_END_CANCELLED, .read = "bc" },
	{ "cancelled by on_token", .max_tokens = 20, .tokens = true, .cancel_at_token = 3, .log = "<b><c><d>",
	  .reason = RWKVK_END_CANCELLED, .read = "bcd" },
};

static void play(rwkvk_model *of, const struct scene *scene)
{
	struct run run = { .end_at_text = scene->end_at_text,
		               .end_at_token = scene->end_at_token,
		               .cancel_at_token = scene->cancel_at_token };
	rwkvk_generate_options options = { .max_tokens = scene->max_tokens, .ignore_end = !scene->stop_bytes, .user = &run };
	rwkvk_generate_result result = { .size = sizeof result, .stop = 99 };
	uint32_t stops[8];
	assert_ok(rwkvk_cancel_create(&run.cancel));
	options.cancel = run.cancel;
	options.on_text = scene->texts ? on_text : NULL;
	options.on_token = scene->tokens ? on_token : NULL;
	while (scene->stop_texts[options.stop_text_count])
		options.stop_text_count++;
	options.stop_texts = options.stop_text_count ? scene->stop_texts : NULL;
	for (const char *c = scene->stop_bytes; c && *c; c++)
		stops[options.stop_token_count++] = (uint8_t)*c;
	options.stop_tokens = scene->stop_bytes ? stops : NULL;
	rwkvk_session *a = begin(of, "a"), *b = begin(of, "a");
	rwkvk_status status = rwkvk_session_generate(a, &options, &result);
	if (status != (scene->cancel_at_token ? RWKVK_CANCELLED : RWKVK_OK) || strcmp(run.log, scene->log) != 0 ||
	    result.reason != scene->reason || result.stop != scene->stop || result.tokens != strlen(scene->read))
		fail_msg("%s: %s, reason %d, stop %u, %u tokens\n    got:  %s\n    want: %s", scene->name, rwkvk_status_name(status),
		         (int)result.reason, result.stop, (unsigned)result.tokens, run.log, scene->log);
	assert_int_equal(result.size, sizeof result);
	for (const char *c = scene->read; *c; c++)
		assert_ok(rwkvk_session_eval(b, &(uint32_t){ (uint8_t)*c }, 1, NULL));
	assert_same(a, b);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_cancel_destroy(run.cancel);
}

static void texts_and_tokens(void **state)
{
	(void)state;
	static const char *const at_once[] = { "1", "3", "64" };
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
		play(model, &scenes[i]);
	for (size_t j = 0; j < 3; j += test_every()) {
		rwkvk_model *other = open_at_once(chain_path, at_once[j]);
		for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
			play(other, &scenes[i]);
		rwkvk_model_close(other);
	}
}

/* Tokens of several bytes, some without any: 1 "ab", 2 "c" and half a euro sign, 3 the other half and "d", 4 nothing, 5 "efg";
 * from 10 on single bytes. */
static const char words[] = "1 'ab' 2\n2 b'c\\xe2\\x82' 3\n3 b'\\xacd' 2\n5 'efg' 3\n"
							"10 'a' 1\n11 'b' 1\n12 'c' 1\n13 'd' 1\n14 'e' 1\n15 'f' 1\n16 'g' 1\n"
							"17 b'\\xe2' 1\n18 b'\\x82' 1\n19 b'\\xac' 1\n";
static const char words_text[] = "abc" EURO "defg";

/* After 5 comes `last`.  NULL where bindings are too small for so many sessions. */
static rwkvk_model *open_words(const char *vocabulary, uint32_t last, const char *at_once, uint32_t sessions)
{
	const char *vocab_path = test_temp("words.txt"), *path = test_temp("words.safetensors");
	uint32_t next[300];
	rwkvk_model *words_model;
	for (uint32_t i = 0; i < 300; i++)
		next[i] = i == 5 ? last : (i + 1) % 300;
	make_chain(path, next, 300);
	test_write_file(vocab_path, vocabulary, strlen(vocabulary));
	if (at_once)
		setenv("RWKVK_TOKENS_PER_SUBMISSION", at_once, 1);
	const rwkvk_model_options options = { .path = path, .vocab = vocab_path, .max_sessions = sessions };
	rwkvk_status status = rwkvk_model_open(&options, &words_model);
	unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	if (sessions > 4 && status == RWKVK_ERROR_UNSUPPORTED)
		return NULL;
	assert_ok(status);
	return words_model;
}

static rwkvk_session *begin_words(rwkvk_model *of)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(of, &session));
	assert_ok(rwkvk_session_eval(session, &(uint32_t){ 0 }, 1, NULL));
	return session;
}

/* Reads tokens one by one as generated ones, so that they are counted. */
static void follow(rwkvk_session *session, const rwkvk_sampling *sampling, const uint32_t *ids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const rwkvk_bias bias = { ids[i], 1000 };
		rwkvk_sampling forced = *sampling;
		uint32_t token;
		forced.biases = &bias;
		forced.bias_count = 1;
		assert_ok(rwkvk_session_sample(session, &forced, &token));
		assert_int_equal(token, ids[i]);
		assert_ok(rwkvk_session_eval(session, &token, 1, NULL));
	}
}

/* Equal in all that can be saved: state, position, logits and counts. */
static void assert_same_bytes(rwkvk_session *a, rwkvk_session *b)
{
	size_t bytes = rwkvk_session_state_size(a);
	assert_int_equal(rwkvk_session_state_size(b), bytes);
	uint8_t *of_a = malloc(bytes), *of_b = malloc(bytes);
	assert_ok(rwkvk_session_state_get(a, of_a, bytes));
	assert_ok(rwkvk_session_state_get(b, of_b, bytes));
	assert_memory_equal(of_a, of_b, bytes);
	free(of_a);
	free(of_b);
}

static void tokens_of_several_bytes(void **state)
{
	(void)state;
	static const struct {
		const char *stop_texts[2];
		size_t count;
		const char *log;
		rwkvk_end reason;
		uint64_t tokens;
	} rows[] = {
		/* token 4 has no bytes, so there is no <> of it; token 0 ends the text */
		{ { NULL },
		  0,
		  "[ab]<ab>[c][" EURO "d]<c\xe2\x82><\xac"
		  "d>[efg]<efg>",
		  RWKVK_END_STOP_TOKEN,
		  5 },
		{ { "f" },
		  1,
		  "[ab]<ab>[c][" EURO "d]<c\xe2\x82><\xac"
		  "d>[e]<e>",
		  RWKVK_END_STOP_TEXT,
		  5 },
		{ { "g" },
		  1,
		  "[ab]<ab>[c][" EURO "d]<c\xe2\x82><\xac"
		  "d>[ef]<e><f>",
		  RWKVK_END_STOP_TEXT,
		  6 },
		{ { "bc" }, 1, "[a]<a>", RWKVK_END_STOP_TEXT, 1 },
		{ { EURO "d" }, 1, "[ab]<ab>[c]<c>", RWKVK_END_STOP_TEXT, 2 },
		{ { "de" }, 1, "[ab]<ab>[c][" EURO "]<c\xe2\x82><\xac>", RWKVK_END_STOP_TEXT, 3 },
		{ { "dX", "eX" },
		  2,
		  "[ab]<ab>[c][" EURO "]<c\xe2\x82>[d]<\xac"
		  "d>[efg]<efg>",
		  RWKVK_END_STOP_TOKEN,
		  5 },
	};
	const rwkvk_sampling sampling = { .decay = 0.75f };
	rwkvk_model *words_model = open_words(words, 0, NULL, 2);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct run run = { .tokens = 0 };
		rwkvk_generate_result result = { 0 };
		rwkvk_session *a = begin_words(words_model), *b = begin_words(words_model);
		const rwkvk_generate_options options = { .sampling = &sampling,
			                                     .stop_texts = rows[i].stop_texts,
			                                     .stop_text_count = rows[i].count,
			                                     .on_text = on_text,
			                                     .on_token = on_token,
			                                     .user = &run };
		assert_ok(rwkvk_session_generate(a, &options, &result));
		assert_string_equal(run.log, rows[i].log);
		assert_int_equal(result.reason, rows[i].reason);
		assert_int_equal(result.tokens, rows[i].tokens);
		assert_int_equal(run.tokens, rows[i].tokens);
		assert_int_equal(rwkvk_session_position(a), 1 + rows[i].tokens);
		follow(b, &sampling, run.ids, run.tokens);
		assert_same_bytes(a, b);
		rwkvk_session_destroy(a);
		rwkvk_session_destroy(b);
	}
	rwkvk_model_close(words_model);
}

/* The result of one stop text, at one of its places in the text: the text up to it, tokens that are this text, and a session
 * that has read them and nothing else. */
static void stop_somewhere(rwkvk_model *of, const char *stop, size_t bytes, bool texts)
{
	static const rwkvk_sampling sampling = { .presence = 0.01f, .frequency = 0.01f, .decay = 0.75f };
	struct run run = { .tokens = 0 };
	rwkvk_generate_result result = { 0 };
	rwkvk_session *a = begin_words(of), *b = begin_words(of);
	const rwkvk_generate_options options = { .sampling = &sampling,
		                                     .stop_texts = &stop,
		                                     .stop_text_count = 1,
		                                     .on_text = texts ? on_text : NULL,
		                                     .on_token = on_token,
		                                     .user = &run };
	assert_ok(rwkvk_session_generate(a, &options, &result));
	assert_int_equal(result.reason, RWKVK_END_STOP_TEXT);
	assert_int_equal(result.tokens, run.tokens);
	size_t written = 0;
	for (size_t i = 0; i < run.tokens; i++) {
		size_t count;
		const char *token = rwkvk_tokenizer_token(rwkvk_model_tokenizer(of), run.ids[i], &count);
		assert_true(written + count <= bytes);
		assert_memory_equal(token, words_text + written, count);
		written += count;
	}
	assert_int_equal(written, bytes);
	follow(b, &sampling, run.ids, run.tokens);
	assert_same_bytes(a, b);
	const rwkvk_generate_options more = { .sampling = &sampling, .max_tokens = 4, .ignore_end = true };
	assert_ok(rwkvk_session_generate(a, &more, NULL)); /* the device has the right counts, too */
	assert_ok(rwkvk_session_generate(b, &more, NULL));
	assert_same_bytes(a, b);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
}

/* Every part of the text as a stop text: parts begin and end at tokens and within them, at characters and within them. */
static void stop_everywhere(rwkvk_model *of)
{
	size_t bytes = strlen(words_text);
	for (size_t from = 0; from < bytes; from++)
		for (size_t to = from + 1; to <= bytes; to++) {
			char stop[16];
			snprintf(stop, sizeof stop, "%.*s", (int)(to - from), words_text + from);
			stop_somewhere(of, stop, from, true);
			stop_somewhere(of, stop, from, false);
		}
}

/* Texts whose callbacks write further texts, nested so deep that all snapshots are taken when `then` is called. */
struct nest {
	rwkvk_model *model;
	int depth;
	uint64_t tokens;
	void (*then)(rwkvk_model *);
};

static bool write_within(void *user, const rwkvk_token *token)
{
	(void)token;
	struct nest *nest = user;
	if (++nest->tokens != 2) /* the first one is picked without a snapshot */
		return true;
	if (nest->depth == 1) {
		nest->then(nest->model);
		return false;
	}
	struct nest inner = { .model = nest->model, .depth = nest->depth - 1, .then = nest->then };
	rwkvk_session *session = begin_words(nest->model);
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .on_token = write_within, .user = &inner }, NULL));
	rwkvk_session_destroy(session);
	return false;
}

static void without_snapshots(uint32_t last, const char *at_once, void (*then)(rwkvk_model *))
{
	rwkvk_model *six = open_words(words, last, at_once, 6);
	if (!six)
		return;
	struct nest nest = { .model = six, .depth = 4, .then = then };
	rwkvk_session *session = begin_words(six);
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .on_token = write_within, .user = &nest }, NULL));
	rwkvk_session_destroy(session);
	rwkvk_model_close(six);
}

static void stop_texts_anywhere(void **state)
{
	(void)state;
	static const char *const at_once[] = { "1", "2", "8" };
	for (size_t i = 0; i < 3; i += test_every()) {
		rwkvk_model *words_model = open_words(words, 0, at_once[i], 2);
		stop_everywhere(words_model);
		rwkvk_model_close(words_model);
	}
	without_snapshots(0, "8", stop_everywhere);
}

/* The end of the text is held back after every token, yet going back stays short. */
struct long_run {
	rwkvk_model *model;
	size_t bytes, end_at;
	rwkvk_counters at_end;
	uint32_t ids[400];
	size_t tokens;
};

static bool long_text(void *user, const char *text, size_t bytes)
{
	struct long_run *run = user;
	(void)text;
	run->bytes += bytes;
	if (run->bytes < run->end_at)
		return true;
	assert_ok(rwkvk_model_counters(run->model, &run->at_end));
	return false;
}

static bool long_token(void *user, const rwkvk_token *token)
{
	struct long_run *run = user;
	run->ids[run->tokens++] = token->id;
	return true;
}

static void hold_back(rwkvk_model *of)
{
	static const rwkvk_sampling sampling = { .presence = 0.01f, .frequency = 0.01f, .decay = 0.75f };
	static const char *const stops[] = { "b\1", "g\1", "d\1", "c" EURO "\1", "ab\1" };
	struct long_run run = { .model = of, .end_at = 600 };
	rwkvk_session *a = begin_words(of), *b = begin_words(of);
	rwkvk_counters after = { 0 };
	const rwkvk_generate_options options = { .sampling = &sampling,
		                                     .max_tokens = 390,
		                                     .stop_texts = stops,
		                                     .stop_text_count = 5,
		                                     .on_text = long_text,
		                                     .on_token = long_token,
		                                     .user = &run };
	assert_ok(rwkvk_session_generate(a, &options, NULL));
	assert_ok(rwkvk_model_counters(of, &after));
	assert_in_range(run.tokens, 250, 380);
	assert_in_range(after.tokens - run.at_end.tokens, 0, 64 + 2 * 8);
	follow(b, &sampling, run.ids, run.tokens);
	assert_same_bytes(a, b);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
}

/* Penalties that decide each token: holding text back changes none. */
static void hold_back_penalised(rwkvk_model *of)
{
	static const rwkvk_sampling sampling = { .presence = 100, .frequency = 100, .decay = 0.9f };
	static const char *const stops[] = { "b\1", "g\1", "d\1", "c" EURO "\1" };
	struct long_run runs[2] = { { .end_at = SIZE_MAX }, { .end_at = SIZE_MAX } };
	rwkvk_session *sessions[2] = { begin_words(of), begin_words(of) };
	for (size_t i = 0; i < 2; i++) {
		const rwkvk_generate_options options = { .sampling = &sampling,
			                                     .max_tokens = 250,
			                                     .ignore_end = true,
			                                     .stop_texts = i ? stops : NULL,
			                                     .stop_text_count = i ? 4 : 0,
			                                     .on_token = long_token,
			                                     .user = &runs[i] };
		assert_ok(rwkvk_session_generate(sessions[i], &options, NULL));
		assert_int_equal(runs[i].tokens, 250);
	}
	assert_memory_equal(runs[0].ids, runs[1].ids, 250 * sizeof *runs[0].ids);
	assert_same_bytes(sessions[0], sessions[1]);
	rwkvk_session_destroy(sessions[0]);
	rwkvk_session_destroy(sessions[1]);
}

static void text_always_held_back(void **state)
{
	(void)state;
	static const char *const at_once[] = { "1", "8" };
	for (size_t i = 0; i < 2; i++) {
		rwkvk_model *words_model = open_words(words, 1, at_once[i], 2);
		hold_back(words_model);
		hold_back_penalised(words_model);
		rwkvk_model_close(words_model);
	}
	without_snapshots(1, "8", hold_back);
}

/* A vocabulary that cannot encode a part of a token: the text before a stop text is complete, but has no state. */
static void no_token_for_what_was_written(void **state)
{
	(void)state;
	static const char few[] = "1 'ab' 2\n2 'cd' 2\n";
	struct run run = { .tokens = 0 };
	rwkvk_generate_result result = { 0 };
	rwkvk_model *words_model = open_words(few, 0, NULL, 2);
	rwkvk_session *a = begin_words(words_model), *b = begin_words(words_model);
	const char *stop = "d";
	const rwkvk_generate_options options = {
		.stop_texts = &stop, .stop_text_count = 1, .on_text = on_text, .on_token = on_token, .user = &run
	};
	assert_fails(rwkvk_session_generate(a, &options, &result), RWKVK_ERROR_FILE, "no token");
	assert_string_equal(run.log, "[ab]<ab>[c]");
	assert_int_equal(result.reason, RWKVK_END_STOP_TEXT);
	assert_int_equal(result.tokens, 1);
	follow(b, &(rwkvk_sampling){ 0 }, (const uint32_t[]){ 1 }, 1);
	assert_same_bytes(a, b);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_model_close(words_model);
}

struct pieces {
	char text[256];
	size_t bytes;
	bool broken; /* a piece that was not the last ended inside a character */
};

/* Whole characters: `next` begins where the previous ones ended. */
static bool add_piece(void *user, const char *text, size_t bytes)
{
	struct pieces *p = user;
	p->broken |= p->bytes > 0 && (text[0] & 0xc0) == 0x80;
	assert_true(bytes > 0 && p->bytes + bytes < sizeof p->text);
	memcpy(p->text + p->bytes, text, bytes);
	p->bytes += bytes;
	return true;
}

/* Where the stop text that is complete first begins, of two that end together the longer one; `bytes` when there is none. */
static size_t first_stop(const char *text, size_t bytes, const char *const *stops, size_t count, uint32_t *which)
{
	for (size_t end = 1; end <= bytes; end++)
		for (size_t length = end; length > 0; length--)
			for (size_t i = 0; i < count; i++)
				if (strlen(stops[i]) == length && memcmp(text + end - length, stops[i], length) == 0) {
					*which = (uint32_t)i;
					return end - length;
				}
	return bytes;
}

/* Whatever the stop texts, the pieces together are the text up to the first of them. */
static void pieces_are_the_text(void **state)
{
	(void)state;
	enum { MOST = sizeof chain_text - 2 }; /* tokens after 'a' */
	uint64_t random = 3;
	size_t stopped = 0;
	rwkvk_session *session = begin(model, "");
	for (int round = 0; round < 120; round++) {
		char stops[3][8];
		const char *list[3] = { stops[0], stops[1], stops[2] };
		uint32_t count = test_random(&random) % 4, tokens = 1 + test_random(&random) % MOST, which = 0;
		for (uint32_t i = 0; i < count; i++) { /* a part of the text, now and then with another end */
			uint32_t length = 1 + test_random(&random) % 6, at = 1 + test_random(&random) % (MOST - length);
			snprintf(stops[i], sizeof stops[i], "%.*s", (int)length, chain_text + at);
			if (test_random(&random) % 3 == 0)
				stops[i][length - 1] = 'X';
		}
		struct pieces pieces = { .bytes = 0 };
		rwkvk_generate_result result = { 0 };
		const rwkvk_generate_options options = {
			.max_tokens = tokens, .stop_texts = list, .stop_text_count = count, .on_text = add_piece, .user = &pieces
		};
		assert_ok(rwkvk_session_reset(session));
		assert_ok(rwkvk_session_eval(session, &(uint32_t){ 'a' }, 1, NULL));
		assert_ok(rwkvk_session_generate(session, &options, &result));
		size_t bytes = first_stop(chain_text + 1, tokens, list, count, &which);
		assert_int_equal(pieces.bytes, bytes);
		assert_memory_equal(pieces.text, chain_text + 1, bytes);
		assert_false(pieces.broken && result.reason != RWKVK_END_STOP_TEXT);
		assert_int_equal(result.reason, bytes < tokens ? RWKVK_END_STOP_TEXT : RWKVK_END_LENGTH);
		if (bytes < tokens)
			assert_true(strcmp(list[result.stop], list[which]) == 0);
		stopped += bytes < tokens;
	}
	assert_in_range(stopped, 20, 100);
	rwkvk_session_destroy(session);
}

/* A failure is a reason, too. */
static void failures_are_a_reason(void **state)
{
	(void)state;
	rwkvk_session *session;
	rwkvk_generate_result result = { .reason = RWKVK_END_LENGTH, .tokens = 5 };
	assert_ok(rwkvk_session_create(model, &session));
	assert_fails(rwkvk_session_generate(session, &(rwkvk_generate_options){ 0 }, &result), RWKVK_ERROR_ARGUMENT, "feed");
	assert_int_equal(result.reason, RWKVK_END_FAILED);
	assert_int_equal(result.tokens, 0);
	rwkvk_session_destroy(session);
}

/* ------------------------------------------------------------------------------------------------------ cancelling */

static void cancel_objects(void **state)
{
	(void)state;
	rwkvk_cancel *cancel = NULL;
	rwkvk_cancel_set(NULL);
	rwkvk_cancel_clear(NULL);
	rwkvk_cancel_destroy(NULL);
	assert_false(rwkvk_cancel_is_set(NULL));
	assert_ok(rwkvk_cancel_create(&cancel));
	assert_false(rwkvk_cancel_is_set(cancel));
	rwkvk_cancel_set(cancel);
	rwkvk_cancel_set(cancel);
	assert_true(rwkvk_cancel_is_set(cancel));
	rwkvk_cancel_clear(cancel);
	assert_false(rwkvk_cancel_is_set(cancel));
	rwkvk_cancel_destroy(cancel);
}

struct loading {
	rwkvk_cancel *cancel;
	uint64_t calls;
	bool by_thread;
};

static void *set_it(void *user)
{
	rwkvk_cancel_set(user);
	return NULL;
}

static bool cancel_while_loading(void *user, uint64_t done, uint64_t total)
{
	struct loading *loading = user;
	pthread_t thread;
	assert_true(done <= total);
	loading->calls++;
	if (!loading->by_thread) {
		rwkvk_cancel_set(loading->cancel);
	} else if (loading->calls == 1) {
		assert_int_equal(pthread_create(&thread, NULL, set_it, loading->cancel), 0);
		pthread_join(thread, NULL);
	}
	return true;
}

static void cancelled_loading(void **state)
{
	(void)state;
	struct loading loading = { 0 };
	rwkvk_model *other = model;
	assert_ok(rwkvk_cancel_create(&loading.cancel));
	rwkvk_model_options options = {
		.path = chain_path, .cancel = loading.cancel, .progress = cancel_while_loading, .progress_user = &loading
	};
	rwkvk_cancel_set(loading.cancel);
	assert_fails(rwkvk_model_open(&options, &other), RWKVK_CANCELLED, "cancelled");
	assert_null(other);
	assert_int_equal(loading.calls, 0);
	for (int by_thread = 0; by_thread < 2; by_thread++) {
		rwkvk_cancel_clear(loading.cancel);
		loading.by_thread = by_thread;
		loading.calls = 0;
		other = model;
		assert_fails(rwkvk_model_open(&options, &other), RWKVK_CANCELLED, "cancelled");
		assert_null(other);
		assert_in_range(loading.calls, 1, 100);
		assert_true(rwkvk_cancel_is_set(loading.cancel));
	}
	/* once the model is open, it no longer uses that object */
	rwkvk_cancel_clear(loading.cancel);
	options.progress = NULL;
	assert_ok(rwkvk_model_open(&options, &other));
	rwkvk_cancel_set(loading.cancel);
	rwkvk_session *session = begin(other, "ab");
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 3 }, NULL));
	rwkvk_cancel_destroy(loading.cancel);
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 3 }, NULL));
	rwkvk_session_destroy(session);
	rwkvk_model_close(other);
}

static void cancelled_calls(void **state)
{
	(void)state;
	static const uint32_t tokens[] = { 'a', 'b', 'c' };
	rwkvk_cancel *late, *other;
	rwkvk_generate_result result = { 0 };
	rwkvk_session *session = begin(model, "a");
	assert_ok(rwkvk_cancel_create(&late));
	assert_ok(rwkvk_cancel_create(&other));
	rwkvk_cancel_set(late);
	assert_fails(rwkvk_session_eval(session, tokens, 3, &(rwkvk_eval_options){ .cancel = late }), RWKVK_CANCELLED, "cancelled");
	assert_int_equal(rwkvk_session_position(session), 1);
	rwkvk_generate_options options = { .max_tokens = 4, .ignore_end = true, .cancel = late };
	assert_fails(rwkvk_session_generate(session, &options, &result), RWKVK_CANCELLED, "cancelled");
	assert_int_equal(result.reason, RWKVK_END_CANCELLED);
	assert_int_equal(result.tokens, 0);
	assert_true(rwkvk_cancel_is_set(late));
	/* that it is still set does not affect the next request, which has another one, or none */
	options.cancel = other;
	assert_ok(rwkvk_session_generate(session, &options, &result));
	assert_int_equal(result.tokens, 4);
	assert_ok(rwkvk_session_eval(session, tokens, 3, &(rwkvk_eval_options){ .cancel = other }));
	assert_ok(rwkvk_session_eval(session, tokens, 3, NULL));
	assert_int_equal(rwkvk_session_position(session), 11);
	rwkvk_session_destroy(session);
	rwkvk_cancel_destroy(late);
	rwkvk_cancel_destroy(other);
}

struct race {
	atomic_uint tokens;
	rwkvk_cancel *cancel;
};

static bool count_token(void *user, const rwkvk_token *token)
{
	struct race *race = user;
	(void)token;
	atomic_fetch_add(&race->tokens, 1);
	return true;
}

static void *cancel_after_some(void *user)
{
	struct race *race = user;
	while (atomic_load(&race->tokens) < 5)
		usleep(100);
	rwkvk_cancel_set(race->cancel);
	return NULL;
}

static void cancelled_by_another_thread(void **state)
{
	(void)state;
	enum { MANY = 1000000 };
	struct race race = { 0 };
	rwkvk_generate_result result = { 0 };
	pthread_t thread;
	rwkvk_session *session = begin(model, "a");
	assert_ok(rwkvk_cancel_create(&race.cancel));
	assert_int_equal(pthread_create(&thread, NULL, cancel_after_some, &race), 0);
	rwkvk_generate_options options = { .max_tokens = MANY, .ignore_end = true, .on_token = count_token, .user = &race };
	options.cancel = race.cancel;
	assert_fails(rwkvk_session_generate(session, &options, &result), RWKVK_CANCELLED, "cancelled");
	pthread_join(thread, NULL);
	assert_int_equal(result.reason, RWKVK_END_CANCELLED);
	assert_in_range(result.tokens, 5, MANY - 1);
	assert_int_equal(result.tokens, atomic_load(&race.tokens));
	assert_int_equal(rwkvk_session_position(session), 1 + result.tokens);
	rwkvk_cancel_destroy(race.cancel);
	rwkvk_session_destroy(session);
}

struct progress {
	uint64_t calls, done, total, stop_at; /* returns false at so many done; 0: never */
};

static bool count_progress(void *user, uint64_t done, uint64_t total)
{
	struct progress *p = user;
	assert_true(done >= p->done && done <= total);
	p->calls++;
	p->done = done;
	p->total = total;
	return p->stop_at == 0 || done < p->stop_at;
}

static void eval_reports_progress(void **state)
{
	(void)state;
	enum { COUNT = 300 };
	uint32_t tokens[COUNT];
	for (uint32_t i = 0; i < COUNT; i++)
		tokens[i] = i % 256;
	struct progress p = { 0 };
	rwkvk_eval_options options = { .progress = count_progress, .progress_user = &p };
	rwkvk_session *session = begin(model, "");
	assert_ok(rwkvk_session_eval(session, tokens, COUNT, &options));
	assert_true(p.calls >= 1 && p.done == COUNT && p.total == COUNT);
	assert_ok(rwkvk_session_reset(session));
	p = (struct progress){ .stop_at = 1 };
	assert_int_equal(rwkvk_session_eval(session, tokens, COUNT, &options), RWKVK_CANCELLED);
	assert_int_equal(rwkvk_session_position(session), p.done);
	assert_in_range(p.done, 1, COUNT - 1); /* the first submission has not all */
	/* what was fed is in the state: the rest continues it */
	rwkvk_session *whole = begin(model, "");
	assert_ok(rwkvk_session_eval(whole, tokens, COUNT, NULL));
	assert_ok(rwkvk_session_eval(session, tokens + p.done, COUNT - p.done, NULL));
	assert_same(session, whole);
	rwkvk_session_destroy(session);
	rwkvk_session_destroy(whole);
}

/* ------------------------------------------------------------------------------------------------------ metadata */

static void put_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *value, size_t bytes)
{
	uint8_t raw[512];
	uint64_t length = strlen(key);
	memcpy(raw, &length, 8);
	memcpy(raw + 8, key, length);
	memcpy(raw + 8 + length, &type, 4);
	memcpy(raw + 12 + length, value, bytes);
	gguf_put_raw(w, raw, 12 + length + bytes);
}
#define PUT_RAW(w, key, type, ...) put_raw(w, key, type, &(__VA_ARGS__), sizeof(__VA_ARGS__))

/* Every type that GGUF has. */
static void put_all_types(struct gguf_writer *w)
{
	static const char *const names[] = { "one", "two", "three" };
	static const size_t lengths[] = { 3, 3, 5 };
	static const int32_t numbers[] = { 1, -2 };
	gguf_put_string(w, "general.name", "n\xc3\xa4me");
	gguf_put_string(w, "tokenizer.chat_template", "{% for m in messages %}\n{{ m }}{% endfor %}");
	gguf_put_string(w, "test.empty", "");
	PUT_RAW(w, "test.u8", 0, (uint8_t){ 200 });
	PUT_RAW(w, "test.i8", 1, (int8_t){ -100 });
	PUT_RAW(w, "test.u16", 2, (uint16_t){ 65535 });
	PUT_RAW(w, "test.i16", 3, (int16_t){ -32768 });
	gguf_put_u32(w, "test.u32", 4294967295u);
	PUT_RAW(w, "test.i32", 5, (int32_t){ -2147483647 - 1 });
	gguf_put_f32(w, "test.f32", 0.15625f);
	gguf_put_f32(w, "test.f32.small", 1e-5f);
	gguf_put_bool(w, "test.true", true);
	gguf_put_bool(w, "test.false", false);
	gguf_put_strings(w, "test.words", names, lengths, 3);
	gguf_put_i32s(w, "test.numbers", numbers, 2);
	PUT_RAW(w, "test.u64", 10, (uint64_t){ UINT64_MAX });
	PUT_RAW(w, "test.i64", 11, (int64_t){ INT64_MIN });
	PUT_RAW(w, "test.f64", 12, (double){ -2.5 });
}

static const struct {
	const char *key, *value; /* NULL: a list */
	uint64_t items;
} gguf_keys[] = {
	{ "general.architecture", "rwkv7", 1 },
	{ "rwkv7.wkv.head_size", "64", 1 },
	{ "general.name", "n\xc3\xa4me", 1 },
	{ "tokenizer.chat_template", "{% for m in messages %}\n{{ m }}{% endfor %}", 1 },
	{ "test.empty", "", 1 },
	{ "test.u8", "200", 1 },
	{ "test.i8", "-100", 1 },
	{ "test.u16", "65535", 1 },
	{ "test.i16", "-32768", 1 },
	{ "test.u32", "4294967295", 1 },
	{ "test.i32", "-2147483648", 1 },
	{ "test.f32", "0.15625", 1 },
	{ "test.f32.small", "number", 1 },
	{ "test.true", "true", 1 },
	{ "test.false", "false", 1 },
	{ "test.words", NULL, 3 },
	{ "test.numbers", NULL, 2 },
	{ "test.u64", "18446744073709551615", 1 },
	{ "test.i64", "-9223372036854775808", 1 },
	{ "test.f64", "-2.5", 1 },
};
enum { GGUF_KEYS = sizeof gguf_keys / sizeof *gguf_keys };

static void check_gguf_key(size_t i, const rwkvk_metadata *entry)
{
	assert_string_equal(entry->key, gguf_keys[i].key);
	assert_int_equal(entry->items, gguf_keys[i].items);
	if (!gguf_keys[i].value) {
		assert_null(entry->value);
		assert_int_equal(entry->value_bytes, 0);
		return;
	}
	assert_non_null(entry->value);
	assert_int_equal(entry->value_bytes, strlen(entry->value));
	if (strcmp(gguf_keys[i].value, "number") == 0)
		assert_true(strtof(entry->value, NULL) == 1e-5f);
	else
		assert_string_equal(entry->value, gguf_keys[i].value);
}

static void gguf_metadata(void **state)
{
	(void)state;
	const char *path = test_temp("keys.gguf");
	uint32_t next[256];
	rwkvk_model *other;
	rwkvk_file *file;
	chain_of_text(next, chain_text);
	make_chain_gguf(path, next, 256, put_all_types);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &other));
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file));
	rwkvk_metadata entry = { 0 };
	for (size_t i = 0; i < GGUF_KEYS; i++) {
		assert_true(rwkvk_model_metadata(other, i, &entry));
		check_gguf_key(i, &entry);
		assert_true(rwkvk_file_metadata(file, i, &entry));
		check_gguf_key(i, &entry);
		const char *value = rwkvk_model_metadata_value(other, gguf_keys[i].key);
		if (gguf_keys[i].value)
			assert_string_equal(value, entry.value);
		else
			assert_null(value);
	}
	assert_false(rwkvk_model_metadata(other, GGUF_KEYS, &entry));
	assert_false(rwkvk_file_metadata(file, SIZE_MAX, &entry));
	assert_null(rwkvk_model_metadata_value(other, "test.u"));
	assert_null(rwkvk_model_metadata_value(other, ""));
	rwkvk_file_close(file);
	rwkvk_model_close(other);
}

static void count_report(void *user, rwkvk_log_level level, const char *text)
{
	assert_int_equal(level, RWKVK_LOG_WARNING);
	assert_non_null(strstr(text, "chat.gguf: no chat template is known for it"));
	assert_non_null(strstr(text, "the templates are g1, rwkv-world, world, raven or plain"));
	++*(int *)user;
}

static void put_name(struct gguf_writer *w)
{
	gguf_put_string(w, "tokenizer.chat_template", "rwkv-world");
}

/* An unknown template and a vocabulary of bytes: plain, which is reported when it is requested, and once. */
static void chat_template(void **state)
{
	(void)state;
	const char *path = test_temp("chat.gguf");
	uint32_t next[256];
	rwkvk_model *other;
	rwkvk_chat_template chat = RWKVK_CHAT_G1;
	int reports = 0;
	chain_of_text(next, chain_text);
	make_chain_gguf(path, next, 256, put_all_types);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .log = count_report, .log_user = &reports }, &other));
	assert_int_equal(reports, 0);
	assert_ok(rwkvk_model_chat(other, &chat));
	assert_int_equal(chat, RWKVK_CHAT_PLAIN);
	assert_int_equal(reports, 1);
	assert_ok(rwkvk_model_chat(other, &chat));
	assert_int_equal(reports, 1);
	rwkvk_model_close(other);
	make_chain_gguf(path, next, 256, put_name);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .log = count_report, .log_user = &reports }, &other));
	assert_ok(rwkvk_model_chat(other, &chat));
	assert_int_equal(chat, RWKVK_CHAT_RWKV_WORLD);
	assert_int_equal(reports, 1);
	rwkvk_model_close(other);
}

/* ------------------------------------------------------------------------------------------------------ chats */

/* A model of 300 tokens that writes "a", a blank line, "b</think>c" and another blank line after the prompt's "<think>". */
static rwkvk_model *open_thinker(void)
{
	enum { BYTES = 256, BLANK = 261, LAST = 262 }; /* tokens 1 to 256 are bytes; the last '>' is what the prompt gets */
	static const uint32_t written[] = { LAST,    'a' + 1, BLANK,   'b' + 1, '<' + 1, '/' + 1, 't' + 1,
		                                'h' + 1, 'i' + 1, 'n' + 1, 'k' + 1, '>' + 1, 'c' + 1, BLANK };
	const char *path = test_temp("thinker.safetensors"), *vocabulary = test_temp("thinker.txt");
	uint32_t next[300];
	char text[300 * 16];
	size_t n = 0;
	rwkvk_model *thinker;
	for (uint32_t i = 0; i < 300; i++)
		next[i] = (i + 1) % 300;
	for (size_t i = sizeof written / sizeof *written - 1; i > 0; i--) /* of the blank line's two, the first counts */
		next[written[i - 1]] = written[i];
	for (int byte = 0; byte < BYTES; byte++)
		n += (size_t)sprintf(text + n, "%d b'\\x%02x' 1\n", byte + 1, byte);
	n += (size_t)sprintf(text + n, "%d '\\n\\n' 2\n%d '>' 1\n", BLANK, LAST);
	make_chain(path, next, 300);
	test_write_file(vocabulary, text, n);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .vocab = vocabulary }, &thinker));
	return thinker;
}

struct talk {
	rwkvk_chat_answer *answer;
	char reasoning[64], text[64];
	bool new_stops;
};

static void keep_part(struct talk *talk, const rwkvk_chat_part *part)
{
	strncat(talk->reasoning, part->reasoning ? part->reasoning : "", part->reasoning_bytes);
	strncat(talk->text, part->text ? part->text : "", part->text_bytes);
	talk->new_stops = part->new_stops;
}

static bool on_answer(void *user, const char *text, size_t bytes)
{
	struct talk *talk = user;
	rwkvk_chat_part part = { 0 };
	assert_ok(rwkvk_chat_answer_push(talk->answer, text, bytes, &part));
	keep_part(talk, &part);
	return !part.new_stops;
}

static void feed_prompt(rwkvk_session *session, const rwkvk_tokenizer *t, const rwkvk_chat_options *options)
{
	const rwkvk_chat_message hello = { .role = RWKVK_ROLE_USER, .text = "Hello" };
	char prompt[256];
	uint32_t ids[256];
	size_t bytes, count;
	assert_ok(rwkvk_chat_render(RWKVK_CHAT_RWKV_WORLD, &hello, 1, options, prompt, sizeof prompt, &bytes, NULL));
	assert_ok(rwkvk_tokenizer_encode(t, prompt, bytes, ids, 256, &count));
	assert_ok(rwkvk_session_eval(session, ids, count, NULL));
}

/* The loop of docs/chat.md: a blank line in the reasoning does not stop the model, one in the answer does. */
static void chat_answer(void **state)
{
	(void)state;
	const rwkvk_chat_options options = { .think = RWKVK_THINK_ON };
	rwkvk_model *thinker = open_thinker();
	const rwkvk_tokenizer *t = rwkvk_model_tokenizer(thinker);
	rwkvk_session *session;
	rwkvk_generate_result result = { 0 };
	struct talk talk = { .new_stops = true };
	unsigned calls = 0;
	uint64_t tokens = 0;
	assert_ok(rwkvk_session_create(thinker, &session));
	feed_prompt(session, t, &options);
	assert_ok(rwkvk_chat_answer_create(RWKVK_CHAT_RWKV_WORLD, &options, t, &talk.answer));
	for (; talk.new_stops; calls++, tokens += result.tokens) {
		rwkvk_chat_stops stops = { 0 };
		assert_ok(rwkvk_chat_answer_stops(talk.answer, &stops));
		talk.new_stops = false;
		assert_ok(rwkvk_session_generate(session,
		                                 &(rwkvk_generate_options){ .max_tokens = 50,
		                                                            .stop_tokens = stops.tokens,
		                                                            .stop_token_count = stops.token_count,
		                                                            .stop_texts = stops.texts,
		                                                            .stop_text_count = stops.text_count,
		                                                            .on_text = on_answer,
		                                                            .user = &talk },
		                                 &result));
	}
	rwkvk_chat_part part = { 0 };
	assert_ok(rwkvk_chat_answer_end(talk.answer, &part));
	keep_part(&talk, &part);
	assert_int_equal(calls, 2);
	assert_int_equal(result.reason, RWKVK_END_STOP_TOKEN);
	assert_int_equal(result.stop, 1); /* 261 */
	assert_int_equal(tokens, 12);
	assert_string_equal(talk.reasoning, "a\n\nb");
	assert_string_equal(talk.text, "c");
	rwkvk_chat_answer_destroy(talk.answer);
	rwkvk_session_destroy(session);
	rwkvk_model_close(thinker);
}

/* The chain's file with a __metadata__ in its header. */
static void safetensors_metadata(void **state)
{
	(void)state;
	static const char more[] = "\"__metadata__\":{\"format\":\"pt\",\"note\":\"a \\\"quoted\\\" \\u00e4\",\"empty\":\"\"},";
	const char *path = test_temp("noted.safetensors");
	size_t bytes, length = sizeof more - 1;
	uint64_t header;
	rwkvk_model *other;
	uint8_t *file = test_read_file(chain_path, &bytes);
	file = realloc(file, bytes + length);
	memmove(file + 9 + length, file + 9, bytes - 9);
	memcpy(file + 9, more, length);
	memcpy(&header, file, 8);
	header += length;
	memcpy(file, &header, 8);
	test_write_file(path, file, bytes + length);
	free(file);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &other));
	static const char *const want[][2] = { { "format", "pt" }, { "note", "a \"quoted\" \xc3\xa4" }, { "empty", "" } };
	rwkvk_metadata entry = { 0 };
	for (size_t i = 0; i < 3; i++) {
		assert_true(rwkvk_model_metadata(other, i, &entry));
		assert_string_equal(entry.key, want[i][0]);
		assert_string_equal(entry.value, want[i][1]);
		assert_int_equal(entry.value_bytes, strlen(want[i][1]));
		assert_int_equal(entry.items, 1);
		assert_string_equal(rwkvk_model_metadata_value(other, want[i][0]), want[i][1]);
	}
	assert_false(rwkvk_model_metadata(other, 3, &entry));
	rwkvk_model_close(other);
	assert_false(rwkvk_model_metadata(model, 0, &entry)); /* this file has none */
	assert_null(rwkvk_model_metadata_value(model, "format"));
}

/* ------------------------------------------------------------------------------------------------------ begin and end */

static uint32_t bos = 5, eos = 'f';

static void put_special_tokens(struct gguf_writer *w)
{
	gguf_put_u32(w, "tokenizer.ggml.bos_token_id", bos);
	gguf_put_u32(w, "tokenizer.ggml.eos_token_id", eos);
	gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
}

static rwkvk_model_info info_of(const rwkvk_model *of)
{
	rwkvk_model_info info = { .size = sizeof info };
	assert_ok(rwkvk_model_get_info(of, &info));
	assert_int_equal(info.size, sizeof info);
	return info;
}

/* The file says what ends a text; else token 0 does, but not where tokens are bytes. */
static void begin_and_end(void **state)
{
	(void)state;
	const char *path = test_temp("special.gguf"), *plain = test_temp("plain.safetensors");
	uint32_t next[300];
	rwkvk_model *other;
	rwkvk_generate_result result = { 0 };
	rwkvk_model_info info = info_of(model);
	assert_true(info.begin_token == RWKVK_NO_TOKEN && info.end_token == RWKVK_NO_TOKEN);
	assert_false(info.add_bos);
	chain_of_text(next, chain_text);
	make_chain_gguf(path, next, 256, put_special_tokens);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &other));
	info = info_of(other);
	assert_int_equal(info.begin_token, bos);
	assert_int_equal(info.end_token, eos);
	assert_true(info.add_bos);
	rwkvk_session *session = begin(other, "d");
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 20 }, &result));
	assert_int_equal(result.tokens, 4); /* the euro sign and e; f is the end */
	assert_true(result.reason == RWKVK_END_STOP_TOKEN && result.stop == 0);
	rwkvk_session_destroy(session);
	rwkvk_model_close(other);

	session = begin(model, "\xff"); /* byte 0 comes next and is a byte like others */
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 3 }, &result));
	assert_true(result.tokens == 3 && result.reason == RWKVK_END_LENGTH);
	rwkvk_session_destroy(session);

	for (uint32_t i = 0; i < 300; i++)
		next[i] = (i + 1) % 300;
	make_chain(plain, next, 300);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = plain }, &other));
	info = info_of(other);
	assert_true(info.begin_token == 0 && info.end_token == 0 && !info.has_tokenizer);
	assert_ok(rwkvk_session_create(other, &session));
	assert_ok(rwkvk_session_eval(session, &(uint32_t){ 297 }, 1, NULL));
	assert_ok(rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 9 }, &result));
	assert_true(result.tokens == 2 && result.reason == RWKVK_END_STOP_TOKEN);
	rwkvk_session_destroy(session);
	rwkvk_model_close(other);
}

/* ------------------------------------------------------------------------------------------------------ states */

static void states_as_bytes(void **state)
{
	(void)state;
	const char *path = test_temp("kept.state");
	rwkvk_model *twin;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path }, &twin));
	rwkvk_session *a = begin(model, "abc"), *b, *c;
	assert_ok(rwkvk_session_create(model, &b));
	assert_ok(rwkvk_session_create(twin, &c));
	size_t bytes = rwkvk_session_state_size(a), saved_bytes;
	assert_int_equal(bytes, rwkvk_session_state_size(b) + vocab * sizeof(float)); /* b has no logits */
	assert_true(bytes >= info_of(model).state_bytes);
	uint8_t *kept = malloc(bytes), *again = malloc(bytes);
	assert_ok(rwkvk_session_state_get(a, kept, bytes));
	assert_ok(rwkvk_session_save(a, path));
	uint8_t *saved = test_read_file(path, &saved_bytes);
	assert_int_equal(saved_bytes, bytes);
	assert_memory_equal(saved, kept, bytes);
	assert_ok(rwkvk_session_state_set(b, kept, bytes));
	assert_ok(rwkvk_session_state_set(c, kept, bytes));
	assert_int_equal(rwkvk_session_position(b), 3);
	assert_same(a, b);
	assert_int_equal(rwkvk_session_state_size(b), bytes);
	assert_ok(rwkvk_session_state_get(b, again, bytes));
	assert_memory_equal(again, kept, bytes);
	for (rwkvk_session *const *s = (rwkvk_session *const[]){ a, b, c, NULL }; *s; s++)
		assert_ok(rwkvk_session_eval(*s, &(uint32_t){ 'd' }, 1, NULL));
	assert_same(a, b);
	assert_same(a, c);
	free(kept);
	free(again);
	free(saved);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_session_destroy(c);
	rwkvk_model_close(twin);
}

/* With the counts of what was generated, and with logits or without. */
static void states_have_counts(void **state)
{
	(void)state;
	const rwkvk_sampling sampling = { .presence = 0.5f, .frequency = 0.25f, .decay = 0.75f };
	const rwkvk_generate_options options = { .sampling = &sampling, .max_tokens = 9, .ignore_end = true };
	rwkvk_session *a = begin(model, "a"), *b = begin(model, "xyz");
	assert_ok(rwkvk_session_generate(a, &options, NULL));
	assert_ok(rwkvk_session_generate(b, &options, NULL)); /* has counts, logits and a position of its own */
	size_t bytes = rwkvk_session_state_size(a);
	uint8_t *kept = malloc(bytes), *again = malloc(bytes);
	assert_ok(rwkvk_session_state_get(a, kept, bytes));
	assert_int_equal(kept[8], 2);
	assert_int_equal(kept[56], 9);
	assert_ok(rwkvk_session_state_set(b, kept, bytes));
	for (int i = 0; i < 3; i++) { /* both continue alike, with the same penalties */
		assert_int_equal(rwkvk_session_state_size(b), rwkvk_session_state_size(a));
		bytes = rwkvk_session_state_size(a);
		kept = realloc(kept, bytes);
		again = realloc(again, bytes);
		assert_ok(rwkvk_session_state_get(a, kept, bytes));
		assert_ok(rwkvk_session_state_get(b, again, bytes));
		assert_memory_equal(again, kept, bytes);
		assert_ok(rwkvk_session_generate(a, &options, NULL));
		assert_ok(rwkvk_session_generate(b, &options, NULL));
	}
	size_t floats = rwkvk_session_state_floats(a);
	float *numbers = malloc(floats * sizeof *numbers);
	uint32_t token;
	assert_ok(rwkvk_session_floats_get(a, numbers, floats));
	assert_ok(rwkvk_session_floats_set(a, numbers, floats, 5)); /* nothing but the state */
	bytes = rwkvk_session_state_size(a);
	assert_int_equal(bytes, 64 + floats * sizeof *numbers);
	assert_ok(rwkvk_session_state_get(a, kept, bytes));
	assert_ok(rwkvk_session_state_set(b, kept, bytes));
	assert_int_equal(rwkvk_session_position(b), 5);
	assert_int_equal(rwkvk_session_state_size(b), bytes);
	assert_fails(rwkvk_session_sample(b, NULL, &token), RWKVK_ERROR_ARGUMENT, "feed");
	free(numbers);
	free(kept);
	free(again);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
}

/* Invalid bytes change nothing. */
static void wrong_bytes_change_nothing(void **state)
{
	(void)state;
	char path[512];
	rwkvk_model *foreign;
	rwkvk_session *a = begin(model, "abc"), *b = begin(model, "abc"), *other;
	snprintf(path, sizeof path, "%s/v7-c192-bf16.safetensors", TEST_DATA_DIR);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_sessions = 1 }, &foreign));
	assert_ok(rwkvk_session_create(foreign, &other));
	size_t bytes = rwkvk_session_state_size(a), foreign_bytes = rwkvk_session_state_size(other);
	uint8_t *kept = malloc(bytes + 1), *of_other = malloc(foreign_bytes);
	assert_ok(rwkvk_session_state_get(other, of_other, foreign_bytes));
	assert_fails(rwkvk_session_state_set(a, of_other, foreign_bytes), RWKVK_ERROR_FILE, "another model");
	assert_same(a, b);
	rwkvk_session *source = begin(model, "xyz");
	assert_ok(rwkvk_session_state_get(source, kept, bytes));
	kept[bytes] = 0;
	assert_fails(rwkvk_session_state_set(a, kept, bytes - 1), RWKVK_ERROR_FILE, "truncated");
	assert_fails(rwkvk_session_state_set(a, kept, bytes + 1), RWKVK_ERROR_FILE, "too long");
	assert_fails(rwkvk_session_state_set(a, kept, 3), RWKVK_ERROR_FILE, "");
	assert_fails(rwkvk_session_state_set(a, kept, 0), RWKVK_ERROR_FILE, "");
	assert_same(a, b);
	for (size_t at = 0; at < bytes; at += at < 64 ? 1 : at / 4) {
		kept[at] ^= 0x11;
		rwkvk_status status = rwkvk_session_state_set(a, kept, bytes);
		assert_true(status == RWKVK_ERROR_FILE || (status == RWKVK_ERROR_UNSUPPORTED && at < 16));
		kept[at] ^= 0x11;
	}
	assert_same(a, b);
	assert_ok(rwkvk_session_state_set(a, kept, bytes));
	assert_ok(rwkvk_session_eval(source, &(uint32_t){ 'd' }, 1, NULL));
	assert_ok(rwkvk_session_eval(a, &(uint32_t){ 'd' }, 1, NULL));
	assert_same(a, source);
	free(kept);
	free(of_other);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_session_destroy(source);
	rwkvk_session_destroy(other);
	rwkvk_model_close(foreign);
}

/* ------------------------------------------------------------------------------------------------------ sizes of structs */

/* A caller that was built with an older header: nothing is written past its struct. */
static void smaller_and_larger_structs(void **state)
{
	(void)state;
	struct {
		rwkvk_model_info info;
		uint64_t more[3];
	} large;
	memset(&large, 0xee, sizeof large);
	large.info.size = sizeof large;
	assert_ok(rwkvk_model_get_info(model, &large.info));
	assert_int_equal(large.info.size, sizeof large);
	assert_int_equal(large.info.vocab, 256);
	assert_true(large.more[0] == 0 && large.more[1] == 0 && large.more[2] == 0); /* what this version does not know */

	memset(&large, 0xee, sizeof large);
	large.info.size = 0;
	assert_ok(rwkvk_model_get_info(model, &large.info));
	assert_int_equal(large.info.vocab, 256);
	assert_int_equal(large.info.size, 0);
	assert_true(large.more[0] == 0xeeeeeeeeeeeeeeeeu);

	memset(&large, 0xee, sizeof large);
	large.info.size = offsetof(rwkvk_model_info, state_bytes);
	assert_fails(rwkvk_model_get_info(model, &large.info), RWKVK_ERROR_ARGUMENT, "rwkvk_model_info.size");
	assert_true(large.info.vocab == 0xeeeeeeee);

	struct {
		rwkvk_eval_options options;
		uint64_t more[2];
	} eval = { 0 };
	float logits[256];
	rwkvk_session *session = begin(model, "a");
	eval.options.size = sizeof eval;
	eval.options.logits = logits;
	assert_ok(rwkvk_session_eval(session, NULL, 0, &eval.options));
	eval.more[1] = (uint64_t)1 << 63;
	assert_fails(rwkvk_session_eval(session, NULL, 0, &eval.options), RWKVK_ERROR_ARGUMENT, "rwkvk_eval_options: byte");
	eval.options.size = sizeof eval.options;
	assert_ok(rwkvk_session_eval(session, NULL, 0, &eval.options));
	eval.options.size = 8;
	assert_fails(rwkvk_session_eval(session, NULL, 0, &eval.options), RWKVK_ERROR_ARGUMENT, "rwkvk_eval_options.size is 8");
	rwkvk_session_destroy(session);
}

/* Arrays step by the size in the first element; nothing is written past the capacity. */
static void arrays_step_by_their_size(void **state)
{
	(void)state;
	struct {
		rwkvk_verify_row row;
		uint64_t more[2];
	} verify[RWKVK_VERIFY_ROWS];
	rwkvk_verify_row plain[RWKVK_VERIFY_ROWS] = { { .size = sizeof *plain } };
	size_t count = 0, again = 0;
	assert_ok(rwkvk_model_verify(model, NULL, plain, RWKVK_VERIFY_ROWS, &count));
	assert_in_range(count, 5, RWKVK_VERIFY_ROWS);
	memset(verify, 0xee, sizeof verify);
	verify[0].row.size = sizeof *verify;
	assert_ok(rwkvk_model_verify(model, NULL, &verify[0].row, 3, &again));
	assert_int_equal(again, count);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(verify[i].row.size, sizeof *verify);
		assert_string_equal(verify[i].row.stage, plain[i].stage);
		assert_int_equal(plain[i].size, sizeof *plain);
		assert_true(verify[i].more[0] == 0 && verify[i].more[1] == 0);
	}
	assert_true(verify[3].row.size == 0xeeeeeeeeeeeeeeeeu && verify[3].row.compared == 0xeeeeeeee);
	assert_ok(rwkvk_model_verify(model, &(rwkvk_verify_options){ .tokens = 1 }, NULL, 0, &again));
	assert_int_equal(again, count);

	struct {
		rwkvk_device_info info;
		char more[40];
	} devices[16];
	memset(devices, 0xee, sizeof devices);
	devices[0].info.size = sizeof *devices;
	assert_ok(rwkvk_devices(&devices[0].info, 16, &count));
	assert_in_range(count, 1, 16);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(devices[i].info.size, sizeof *devices);
		assert_int_equal(devices[i].info.index, i);
		assert_true(devices[i].info.name[0] && devices[i].more[0] == 0 && devices[i].more[39] == 0);
	}
	if (count < 16)
		assert_true(devices[count].info.index == 0xeeeeeeee);

	struct {
		rwkvk_tune_row row;
		uint64_t more;
	} tuned[RWKVK_TUNE_ROWS];
	memset(tuned, 0xee, sizeof tuned);
	tuned[0].row.size = sizeof *tuned;
	rwkvk_model *other;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path, .max_sessions = 1, .cache_dir = "" }, &other));
	assert_ok(rwkvk_model_tune(other, &(rwkvk_tune_options){ .seconds = 0.5 }, &tuned[0].row, RWKVK_TUNE_ROWS, &count));
	assert_in_range(count, 1, RWKVK_TUNE_ROWS);
	for (size_t i = 0; i < count; i++)
		assert_true(tuned[i].row.size == sizeof *tuned && tuned[i].row.workgroup > 0 && tuned[i].row.seconds > 0 &&
		            tuned[i].more == 0);
	if (count < RWKVK_TUNE_ROWS)
		assert_true(tuned[count].more == 0xeeeeeeeeeeeeeeeeu);
	rwkvk_model_close(other);
}

/* ------------------------------------------------------------------------------------------------------ options of a model */

static size_t files_in(const char *folder)
{
	size_t count = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static void empty_folder(const char *folder)
{
	char path[1024];
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		unlink(path);
	}
	if (dir)
		closedir(dir);
	rmdir(folder);
}

static void open_and_use(const rwkvk_model_options *options, float logits[256])
{
	rwkvk_model *other;
	assert_ok(rwkvk_model_open(options, &other));
	rwkvk_session *session = begin(other, "ab");
	assert_ok(feed_tokens(session, NULL, 0, logits));
	rwkvk_session_destroy(session);
	rwkvk_model_close(other);
}

static void cache_folder(void **state)
{
	(void)state;
	const char *env = getenv("RWKVK_CACHE_DIR");
	char *saved = env ? strdup(env) : NULL;
	const char *usual = test_temp("usual"), *own = test_temp("own");
	float logits[256];
	setenv("RWKVK_CACHE_DIR", usual, 1);
	open_and_use(&(rwkvk_model_options){ .path = chain_path, .cache_dir = "" }, logits);
	assert_int_equal(files_in(usual), 0);
	open_and_use(&(rwkvk_model_options){ .path = chain_path, .cache_dir = own }, logits);
	assert_int_equal(files_in(usual), 0);
	assert_true(files_in(own) > 0);
	open_and_use(&(rwkvk_model_options){ .path = chain_path }, logits);
	assert_true(files_in(usual) > 0);
	if (saved)
		setenv("RWKVK_CACHE_DIR", saved, 1);
	else
		unsetenv("RWKVK_CACHE_DIR");
	free(saved);
	empty_folder(usual);
	empty_folder(own);
}

static void device_memory_is_bounded(void **state)
{
	(void)state;
	rwkvk_model *other = model;
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path, .device_memory = 100000 }, &other),
	             RWKVK_ERROR_MEMORY, "device_memory");
	assert_null(other);
	uint64_t enough = info_of(model).device_bytes + (64 << 20); /* uploads may have to be staged */
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path, .device_memory = enough }, &other));
	assert_true(info_of(other).device_bytes <= enough);
	rwkvk_model_close(other);
}

static void threads_and_sessions(void **state)
{
	(void)state;
	float want[256], got[256];
	rwkvk_session *session = begin(model, "ab"), *none;
	assert_ok(feed_tokens(session, NULL, 0, want));
	rwkvk_session_destroy(session);
	for (uint32_t threads = 1; threads <= 64; threads += 63) {
		open_and_use(&(rwkvk_model_options){ .path = chain_path, .threads = threads }, got);
		assert_memory_equal(got, want, sizeof got);
	}
	rwkvk_model *other;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path, .max_sessions = 1 }, &other));
	assert_int_equal(info_of(other).max_sessions, 1);
	assert_in_range(info_of(model).max_sessions, 1, 4);
	session = begin(other, "a");
	assert_fails(rwkvk_session_create(other, &none), RWKVK_ERROR_BUSY, "max_sessions");
	assert_fails(rwkvk_session_clone(session, &none), RWKVK_ERROR_BUSY, "max_sessions");
	rwkvk_session_destroy(session);
	session = begin(other, "a");
	rwkvk_session_destroy(session);
	rwkvk_model_close(other);
}

static void sampling_of_a_model(void **state)
{
	(void)state;
	rwkvk_sampling sampling = {
		.size = sizeof sampling, .biases = &(rwkvk_bias){ 0, 0 }, .bias_count = 1, .top_k = 9, .seed = 9
	};
	assert_ok(rwkvk_model_sampling(model, &sampling));
	assert_true(sampling.temperature == 1.0f && sampling.top_p == 0.3f && sampling.top_k == 0 && sampling.presence == 0.5f);
	assert_true(sampling.frequency == 0.5f && sampling.decay == 0.996f && sampling.seed == 0);
	assert_true(sampling.biases == NULL && sampling.bias_count == 0 && sampling.size == sizeof sampling);
}

/* ------------------------------------------------------------------------------------------------------ closing, reports */

/* A model that is closed while it has sessions: they report that, and the last one frees it. */
static void closed_with_sessions(void **state)
{
	(void)state;
	rwkvk_model *other;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path, .max_sessions = 3 }, &other));
	rwkvk_session *a = begin(other, "a"), *b = begin(other, "ab"), *c = NULL;
	size_t bytes = rwkvk_session_state_size(a), count = rwkvk_session_state_floats(a);
	float logits[256], *floats = calloc(count, sizeof *floats);
	uint8_t *kept = calloc(bytes, 1);
	uint32_t token;
	rwkvk_model_close(other);
	assert_fails(rwkvk_session_eval(a, &(uint32_t){ 'b' }, 1, NULL), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(feed_tokens(a, NULL, 0, logits), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_generate(a, &(rwkvk_generate_options){ 0 }, NULL), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_sample(a, NULL, &token), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_reset(a), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_clone(a, &c), RWKVK_ERROR_ARGUMENT, "closed");
	assert_null(c);
	assert_fails(rwkvk_session_state_get(a, kept, bytes), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_state_set(a, kept, bytes), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_floats_get(a, floats, count), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_floats_set(a, floats, count, 0), RWKVK_ERROR_ARGUMENT, "closed");
	assert_fails(rwkvk_session_save(a, test_temp("closed.state")), RWKVK_ERROR_ARGUMENT, "closed");
	assert_int_equal(access(test_temp("closed.state"), F_OK), -1);
	assert_fails(rwkvk_session_load(a, test_temp("closed.state")), RWKVK_ERROR_ARGUMENT, "closed");
	assert_int_equal(rwkvk_session_position(b), 2);
	rwkvk_session_destroy(a);
	assert_fails(rwkvk_session_reset(b), RWKVK_ERROR_ARGUMENT, "closed");
	rwkvk_session_destroy(b);
	free(floats);
	free(kept);
}

struct notes {
	size_t count;
	rwkvk_log_level level;
	char text[512];
};

static void take_note(void *user, rwkvk_log_level level, const char *text)
{
	struct notes *notes = user;
	assert_null(strchr(text, '\n'));
	notes->count++;
	notes->level = level;
	snprintf(notes->text, sizeof notes->text, "%s", text);
}

/* Reports come with their level to whoever opened the model or exports it. */
static void reports(void **state)
{
	(void)state;
	const char *path = test_temp("strange.gguf"), *out = test_temp("noted.gguf");
	uint32_t next[256];
	struct notes notes = { 0 };
	rwkvk_model *other;
	rwkvk_file *file;
	chain_of_text(next, chain_text);
	eos = 256; /* which no byte is */
	make_chain_gguf(path, next, 256, put_special_tokens);
	eos = 'f';
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .log = take_note, .log_user = &notes }, &other));
	assert_int_equal(notes.count, 1);
	assert_int_equal(notes.level, RWKVK_LOG_WARNING);
	assert_non_null(strstr(notes.text, "tokenizer.ggml.eos_token_id"));
	assert_non_null(strstr(notes.text, "256"));
	assert_true(info_of(other).end_token == RWKVK_NO_TOKEN && info_of(other).begin_token == bos);
	rwkvk_model_close(other);

	notes.count = 0;
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path }, &file));
	assert_ok(rwkvk_file_export(file, out, &(rwkvk_export_options){ .log = take_note, .log_user = &notes }));
	assert_true(notes.count >= 1); /* there is no vocabulary to write */
	assert_int_equal(notes.level, RWKVK_LOG_NOTE);
	rwkvk_file_close(file);
}

/* ------------------------------------------------------------------------------------------------------ set up */

static int open_chain(void **state)
{
	(void)state;
	uint32_t next[256];
	chain_of_text(next, chain_text);
	snprintf(chain_path, sizeof chain_path, "%s", test_temp("chain.safetensors"));
	make_chain(chain_path, next, 256);
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = chain_path }, &model) != RWKVK_OK) {
		print_error("%s\n", rwkvk_last_error());
		return -1;
	}
	return 0;
}

static int close_chain(void **state)
{
	(void)state;
	rwkvk_model_close(model);
	return 0;
}

/* A file that is already open becomes a model; if that fails, it still belongs to the caller. */
static void opened_files(void **state)
{
	(void)state;
	rwkvk_file *file;
	rwkvk_model *from_file;
	rwkvk_session *a, *b;
	rwkvk_cancel *cancel;
	const uint32_t tokens[] = { 1, 2, 3 };
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = chain_path }, &file));
	rwkvk_tools_options tools = { .file = file };
	assert_ok(rwkvk_cancel_create(&cancel));
	rwkvk_cancel_set(cancel);
	assert_int_equal(rwkvk_model_open(&(rwkvk_model_options){ .tools = &tools, .cancel = cancel }, &from_file),
	                 RWKVK_CANCELLED);
	rwkvk_cancel_destroy(cancel);
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .tools = &tools, .device_memory = 1 }, &from_file),
	             RWKVK_ERROR_MEMORY, "device_memory");
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .tools = &tools, .path = chain_path }, &from_file),
	             RWKVK_ERROR_ARGUMENT, "2 models");
	rwkvk_model_info info = { 0 };
	assert_ok(rwkvk_file_get_info(file, &info)); /* still there */
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .tools = &tools, .max_sessions = 1 }, &from_file));
	assert_ok(rwkvk_session_create(from_file, &a));
	assert_ok(rwkvk_session_create(model, &b));
	float *got = malloc(info.vocab * sizeof *got), *want = malloc(info.vocab * sizeof *want);
	assert_ok(rwkvk_session_eval(a, tokens, 3, &(rwkvk_eval_options){ .logits = got }));
	assert_ok(rwkvk_session_eval(b, tokens, 3, &(rwkvk_eval_options){ .logits = want }));
	assert_memory_equal(got, want, info.vocab * sizeof *got);
	free(got);
	free(want);
	rwkvk_session_destroy(a);
	rwkvk_session_destroy(b);
	rwkvk_model_close(from_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_files),
		cmocka_unit_test(texts_and_tokens),
		cmocka_unit_test(stop_texts_anywhere),
		cmocka_unit_test(text_always_held_back),
		cmocka_unit_test(no_token_for_what_was_written),
		cmocka_unit_test(tokens_of_several_bytes),
		cmocka_unit_test(pieces_are_the_text),
		cmocka_unit_test(failures_are_a_reason),
		cmocka_unit_test(cancel_objects),
		cmocka_unit_test(cancelled_loading),
		cmocka_unit_test(cancelled_calls),
		cmocka_unit_test(cancelled_by_another_thread),
		cmocka_unit_test(eval_reports_progress),
		cmocka_unit_test(gguf_metadata),
		cmocka_unit_test(chat_template),
		cmocka_unit_test(chat_answer),
		cmocka_unit_test(safetensors_metadata),
		cmocka_unit_test(begin_and_end),
		cmocka_unit_test(states_as_bytes),
		cmocka_unit_test(states_have_counts),
		cmocka_unit_test(wrong_bytes_change_nothing),
		cmocka_unit_test(smaller_and_larger_structs),
		cmocka_unit_test(arrays_step_by_their_size),
		cmocka_unit_test(cache_folder),
		cmocka_unit_test(device_memory_is_bounded),
		cmocka_unit_test(threads_and_sessions),
		cmocka_unit_test(sampling_of_a_model),
		cmocka_unit_test(closed_with_sessions),
		cmocka_unit_test(reports),
	};
	return cmocka_run_group_tests(tests, open_chain, close_chain);
}
