/* Whole models against vectors computed in double precision by an independent implementation: logits, states, greedy
 * continuations; on the device and by the C reference.  tests/data has our own synthetic models; others are tested if they lie
 * beside the project. */
#include "support.h"

#include <jansson.h>
#include <stdio.h>

#include "feed.h"
#include "engine/plan.h"
#include "network/reference.h"
#include "rwkvk_tools.h"

/* Shares of the largest value, for F32 arithmetic with other orders of summation. */
static const double LOGITS_LIMIT = 1e-4, STATE_LIMIT = 1e-3;

/* Ways of reading a prompt: in chunks, of the device's length or short; with the stages of many sessions, for a row, two and
 * more; and token by token. */
static const struct {
	const char *name;
	uint32_t exact, chunk_rows, max_batch;
} ways[] = {
	{ "chunks", 0, 0, 0 }, { "chunks of 16", 0, 16, 0 }, { "as one of many", 0, 0, 4 }, { "token by token", 1, 0, 0 }
};
enum { WAYS = sizeof ways / sizeof *ways, CHUNK = 16 };

struct expected {
	json_t *entry;
	float *floats; /* the case's file */
	const char *id;
	uint32_t *tokens, *positions;
	size_t token_count, position_count, vocab;
};

static uint32_t *integers(const json_t *array, size_t *count)
{
	*count = json_array_size(array);
	uint32_t *out = malloc((*count + 1) * sizeof *out);
	for (size_t i = 0; i < *count; i++)
		out[i] = (uint32_t)json_integer_value(json_array_get(array, i));
	return out;
}

static void read_case(const char *folder, json_t *entry, struct expected *c)
{
	char path[1024];
	size_t bytes;
	json_t *logits = json_object_get(entry, "logits");
	snprintf(path, sizeof path, "%s/%s", folder, json_string_value(json_object_get(entry, "file")));
	*c = (struct expected){ .entry = entry,
		                    .floats = (float *)(void *)test_read_file(path, &bytes),
		                    .id = json_string_value(json_object_get(entry, "id")) };
	c->tokens = integers(json_object_get(entry, "tokens"), &c->token_count);
	c->positions = integers(json_object_get(logits, "positions"), &c->position_count);
	c->vocab = (size_t)json_integer_value(json_array_get(json_object_get(logits, "shape"), 1));
}

static void free_case(struct expected *c)
{
	free(c->floats);
	free(c->tokens);
	free(c->positions);
}

/* A part of the expected state, [L,...], against ours at `offset` within each layer. */
static void check_state_part(const struct expected *c, const char *name, const float *state, size_t layer_floats, size_t offset,
                             uint32_t layers)
{
	json_t *part = json_object_get(json_object_get(c->entry, "state"), name), *shape = json_object_get(part, "shape");
	const float *want = c->floats + json_integer_value(json_object_get(part, "offset"));
	size_t count = 1;
	for (size_t i = 1; i < json_array_size(shape); i++)
		count *= (size_t)json_integer_value(json_array_get(shape, i));
	float *got = malloc(layers * count * sizeof *got);
	for (uint32_t i = 0; i < layers; i++)
		memcpy(got + i * count, state + i * layer_floats + offset, count * sizeof *got);
	assert_close(name, got, want, layers * count, STATE_LIMIT);
	free(got);
}

/* Reads up to each position from the one before or, where chunks are to be tested, from the beginning. */
static void check_device(rwkvk_model *model, const struct expected *c)
{
	rwkvk_session *session;
	rwkvk_model_info info = { 0 };
	char what[128];
	assert_ok(rwkvk_model_get_info(model, &info));
	assert_int_equal(info.vocab, c->vocab);
	assert_ok(rwkvk_session_create(model, &session));
	size_t floats = rwkvk_session_state_floats(session);
	float *logits = malloc(info.vocab * sizeof *logits), *state = malloc(floats * sizeof *state);
	const float *want = c->floats + json_integer_value(json_object_get(json_object_get(c->entry, "logits"), "offset"));
	size_t fed = 0;
	for (size_t p = 0; p < c->position_count; p++) {
		size_t until = c->positions[p] + 1;
		if (model->chunk.pass.rows && until >= CHUNK) {
			assert_ok(rwkvk_session_reset(session));
			fed = 0;
		}
		assert_ok(feed_tokens(session, c->tokens + fed, until - fed, logits));
		fed = until;
		snprintf(what, sizeof what, "%s: logits after token %zu", c->id, until);
		assert_close(what, logits, want + p * info.vocab, info.vocab, LOGITS_LIMIT);
	}
	if (fed < c->token_count)
		assert_ok(rwkvk_session_eval(session, c->tokens + fed, c->token_count - fed, NULL));
	assert_ok(rwkvk_session_floats_get(session, state, floats));
	size_t layer_floats = floats / info.layers;
	static const struct {
		const char *name;
		size_t at; /* in widths */
	} parts[] = { { "att_x", 0 }, { "ffn_x", 1 }, { "S", 2 }, { "aa", 2 }, { "bb", 3 }, { "pp", 4 } };
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (json_object_get(json_object_get(c->entry, "state"), parts[i].name))
			check_state_part(c, parts[i].name, state, layer_floats, parts[i].at * info.width, info.layers);

	size_t greedy_count;
	uint32_t *greedy = integers(json_object_get(c->entry, "greedy"), &greedy_count);
	for (size_t i = 0; i < greedy_count; i++) {
		uint32_t token;
		assert_ok(rwkvk_session_sample(session, &(rwkvk_sampling){ 0 }, &token));
		assert_int_equal(token, greedy[i]);
		assert_ok(rwkvk_session_eval(session, &token, 1, NULL));
	}
	free(greedy);
	free(logits);
	free(state);
	rwkvk_session_destroy(session);
}

static void check_reference(rwkvk_model *model, const struct expected *c)
{
	struct reference ref;
	const struct config *config = &model->file.network.config;
	const float *want = c->floats + json_integer_value(json_object_get(json_object_get(c->entry, "logits"), "offset"));
	assert_ok(reference_init(&ref, &model->file.network, RWKVK_QUANT_NONE));
	float *states = calloc((size_t)config->layers * config_slot_floats(config), sizeof *states);
	reference_start(&ref, states);
	float *act = calloc(config_act_floats(config), sizeof *act), *logits = malloc(config->vocab * sizeof *logits);
	for (size_t i = 0, p = 0; i < c->token_count && i < 40; i++) {
		reference_token(&ref, c->tokens[i], states, act, logits);
		if (p < c->position_count && c->positions[p] == i)
			assert_close(c->id, logits, want + p++ * config->vocab, config->vocab, LOGITS_LIMIT);
	}
	free(states);
	free(act);
	free(logits);
	reference_finish(&ref);
}

/* Runs the case's own model or, with a file of aliases, `other`. */
static rwkvk_model *open_case(const char *folder, json_t *entry, const char *other, const char *names, int way)
{
	rwkvk_model *model;
	char path[1024];
	json_t *options = json_object_get(entry, "options");
	snprintf(path, sizeof path, "%s/%s", folder, json_string_value(json_object_get(entry, "model")));
	assert_ok(rwkvk_model_open(
		&(rwkvk_model_options){
			.size = sizeof(rwkvk_model_options),
			.path = other ? other : path,
			.names = names,
			.group_norm_epsilon = (float)json_number_value(json_object_get(options, "gn_eps")),
			.rescale = (uint32_t)json_integer_value(json_object_get(options, "rescale")),
			.exact = ways[way].exact,
			.chunk_rows = ways[way].chunk_rows,
			.max_batch = ways[way].max_batch,
		},
		&model));
	return model;
}

/* NULL: not this way; the last is always given. */
static void check_case(const char *folder, json_t *entry, rwkvk_model *const models[WAYS])
{
	struct expected c;
	read_case(folder, entry, &c);
	for (int way = 0; way < WAYS; way++)
		if (models[way]) {
			print_message("    %s, %s\n", c.id, ways[way].name);
			check_device(models[way], &c);
		}
	check_reference(models[WAYS - 1], &c);
	free_case(&c);
}

static bool same_model(json_t *a, json_t *b)
{
	return a && json_equal(json_object_get(a, "model"), json_object_get(b, "model")) &&
	       json_equal(json_object_get(a, "options"), json_object_get(b, "options"));
}

/* Chunks compile other pipelines than single tokens, so where all models are tested, not all are read in chunks; only our own,
 * which are few, are read in short ones. */
static void open_ways(const char *folder, json_t *entry, const char *other, const char *names, bool chunks,
                      rwkvk_model *models[WAYS])
{
	bool own = strcmp(folder, TEST_DATA_DIR) == 0 || test_everything();
	for (int way = 0; way < WAYS; way++) {
		bool taken = ways[way].exact || own || (chunks && ways[way].chunk_rows == 0 && ways[way].max_batch == 0);
		if (ways[way].max_batch && models[0])
			taken &= models[0]->chunk.pass.rows > 0; /* else no binding covers so many rows */
		models[way] = taken ? open_case(folder, entry, other, names, way) : NULL;
	}
}

static void close_ways(rwkvk_model *models[WAYS])
{
	for (int way = 0; way < WAYS; way++) {
		rwkvk_model_close(models[way]);
		models[way] = NULL;
	}
}

/* All cases of a manifest.  Cases of one model follow each other, so that it is opened once; on devices of other kinds only
 * every few models are tested.  Every second model is read in chunks as well: each version is among them, and rows of most
 * types. Returns how many cases. */
static unsigned check_manifest(const char *folder, const char *manifest)
{
	char path[1024];
	unsigned checked = 0, models = 0, step = test_every() > 1 ? 2 * test_every() : 1;
	snprintf(path, sizeof path, "%s/%s", folder, manifest);
	json_t *root = json_load_file(path, 0, NULL), *entry, *before = NULL;
	rwkvk_model *opened[WAYS] = { NULL };
	assert_non_null(root);
	size_t i;
	json_array_foreach(json_object_get(root, "cases"), i, entry)
	{
		if (!same_model(before, entry)) {
			close_ways(opened);
			if (models % step == test_turn() % step)
				open_ways(folder, entry, NULL, NULL, models % 2 == 0, opened);
			models++;
		}
		before = entry;
		if (opened[WAYS - 1])
			check_case(folder, entry, opened);
		checked += opened[WAYS - 1] != NULL;
	}
	close_ways(opened);
	json_decref(root);
	return checked;
}

static void assert_all(unsigned checked, unsigned all)
{
	if (test_every() > 1)
		assert_true(checked >= all / 5 && checked <= all);
	else
		assert_int_equal(checked, all);
}

static void own_models(void **state)
{
	(void)state;
	assert_all(check_manifest(TEST_DATA_DIR, "golden.json"), 5);
}

static void all_versions(void **state)
{
	(void)state;
	const char *manifest = test_shared("golden/manifest.json");
	if (!manifest)
		skip();
	assert_all(check_manifest(SHARED_DIR "/golden", "manifest.json"), 44);
}

/* The digit reverser as its author published it, under its own tensor names, against the case of its standard form. */
static void original_reverser(void **state)
{
	(void)state;
	const char *manifest = test_shared("golden/manifest.json"),
			   *path = test_shared("models/reverse/260123_reverse_L2_only_rwkv7.pth");
	unsigned checked = 0;
	if (!manifest || !path)
		skip();
	json_t *root = json_load_file(manifest, 0, NULL), *entry;
	assert_non_null(root);
	size_t i;
	json_array_foreach(json_object_get(root, "cases"), i, entry)
	{
		if (strcmp(json_string_value(json_object_get(entry, "id")), "reverse-36-digits") != 0)
			continue;
		rwkvk_model *opened[WAYS];
		open_ways(SHARED_DIR "/golden", entry, path, TEST_DATA_DIR "/reverse.names", true, opened);
		check_case(SHARED_DIR "/golden", entry, opened);
		close_ways(opened);
		checked++;
	}
	json_decref(root);
	assert_int_equal(checked, 1);
}

/* The official digit reverser: "123," continues "321#". */
static void digit_reverser(void **state)
{
	(void)state;
	enum { COMMA = 10, END = 11 };
	const char *path = test_shared("models/reverse/reverse_rwkv7.safetensors");
	if (!path)
		skip();
	rwkvk_model *model;
	rwkvk_session *session;
	uint64_t random = 7;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &model));
	assert_ok(rwkvk_session_create(model, &session));
	for (int i = 0; i < 100; i++) {
		uint32_t text[64], count = 1 + test_random(&random) % 60;
		for (uint32_t j = 0; j < count; j++)
			text[j] = test_random(&random) % 10;
		text[0] = count > 1 ? 1 + test_random(&random) % 9 : text[0]; /* a number has no leading zero */
		text[count] = COMMA;
		assert_ok(rwkvk_session_reset(session));
		assert_ok(rwkvk_session_eval(session, text, count + 1, NULL));
		for (uint32_t j = 0; j <= count; j++) {
			uint32_t token;
			assert_ok(rwkvk_session_sample(session, &(rwkvk_sampling){ 0 }, &token));
			assert_int_equal(token, j < count ? text[count - 1 - j] : END);
			assert_ok(rwkvk_session_eval(session, &token, 1, NULL));
		}
	}
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
}

/* The story model as embedded, 8-bit, against the vectors of its F16 weights. */
static void story_model(void **state)
{
	(void)state;
	char path[1024];
	size_t token_count, greedy_count, text_count;
	snprintf(path, sizeof path, "%s/story.json", TEST_DATA_DIR);
	json_t *root = json_load_file(path, 0, NULL);
	assert_non_null(root);
	uint32_t *tokens = integers(json_object_get(root, "tokens"), &token_count);
	uint32_t *greedy = integers(json_object_get(root, "greedy"), &greedy_count);
	uint32_t *text_tokens = integers(json_object_get(root, "tokenizer_tokens"), &text_count);
	rwkvk_model *model;
	rwkvk_session *session;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = STORY_MODEL }, &model));
	rwkvk_model_info info = { 0 };
	assert_ok(rwkvk_model_get_info(model, &info));
	assert_true(info.add_bos && info.has_tokenizer);

	uint32_t ids[256];
	size_t count;
	const char *prompt = json_string_value(json_object_get(root, "prompt")),
			   *text = json_string_value(json_object_get(root, "tokenizer_text"));
	assert_ok(rwkvk_tokenizer_encode(rwkvk_model_tokenizer(model), prompt, strlen(prompt), ids, 256, &count));
	assert_int_equal(count, token_count - 1); /* without token 0 */
	assert_memory_equal(ids, tokens + 1, count * sizeof *ids);
	assert_ok(rwkvk_tokenizer_encode(rwkvk_model_tokenizer(model), text, strlen(text), ids, 256, &count));
	assert_int_equal(count, text_count);
	assert_memory_equal(ids, text_tokens, count * sizeof *ids);

	float *logits = malloc(info.vocab * sizeof *logits);
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, tokens, token_count, logits));
	json_t *top = json_object_get(root, "top_logits"), *pair;
	size_t i;
	float largest = (float)json_number_value(json_array_get(json_array_get(top, 0), 1));
	json_array_foreach(top, i, pair)
	{
		float got = logits[json_integer_value(json_array_get(pair, 0))] / largest,
			  want = (float)json_number_value(json_array_get(pair, 1)) / largest;
		assert_close("top logits", &got, &want, 1, 0.02);
		assert_true(got - want < 0.02f && want - got < 0.02f);
	}
	for (i = 0; i < greedy_count; i++) {
		uint32_t token;
		assert_ok(rwkvk_session_sample(session, &(rwkvk_sampling){ 0 }, &token));
		assert_int_equal(token, greedy[i]);
		assert_ok(rwkvk_session_eval(session, &token, 1, NULL));
	}
	free(logits);
	free(tokens);
	free(greedy);
	free(text_tokens);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	json_decref(root);
}

/* An argument names the tests to run; * stands for any letters. */
int main(int count, char **arguments)
{
	if (count > 1)
		cmocka_set_test_filter(arguments[1]);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_models),     cmocka_unit_test(all_versions), cmocka_unit_test(original_reverser),
		cmocka_unit_test(digit_reverser), cmocka_unit_test(story_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
