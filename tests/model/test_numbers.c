/* Weights that are not numbers: the first call to see them names the tensor in the file, and blames the device only if the file
 * is sound. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "feed.h"
#include "make_files.h"
#include "rwkvk_tools.h"

enum { VOCAB = 20, WIDTH = 64 };
static const struct list_sizes sizes = { .vocab = VOCAB, .width = WIDTH, .head_size = 32, .ffn = 128, .layers = 2, .rank = 8 };
static const uint32_t text[] = { 3, 7, 1 };

/* The model with one number changed. */
static const char *write_model(const char *version, const char *name, float value, enum dtype type, bool biases)
{
	const char *path = test_temp("model.safetensors");
	struct list_sizes own = sizes;
	own.biases = biases;
	struct list *list = list_official(version, &own);
	if (name) {
		struct list_item *item = list_find(list, name);
		assert_non_null(item);
		item->values[item->count > 3 * WIDTH ? 3 * WIDTH + 5 : 5] = value; /* of the embedding, token 3 */
	}
	struct file_bytes file = write_safetensors(list, type);
	test_write_file(path, file.data, file.bytes);
	free(file.data);
	list_free(list);
	return path;
}

/* ---------------------------------------------------------------------------------------------------- calls */

static rwkvk_status eval(rwkvk_session *session)
{
	float logits[VOCAB];
	return feed_tokens(session, text, 3, logits);
}

static rwkvk_status sample(rwkvk_session *session)
{
	const rwkvk_sampling greedy = { .temperature = 0, .decay = 1 };
	uint32_t token;
	TRY(feed_tokens(session, text, 3, NULL));
	return rwkvk_session_sample(session, &greedy, &token);
}

static rwkvk_status generate(rwkvk_session *session)
{
	TRY(feed_tokens(session, text, 3, NULL));
	return rwkvk_session_generate(session, &(rwkvk_generate_options){ .max_tokens = 4 }, NULL);
}

static rwkvk_status save(rwkvk_session *session)
{
	TRY(feed_tokens(session, text, 3, NULL));
	return rwkvk_session_save(session, test_temp("numbers.state"));
}

typedef rwkvk_status call(rwkvk_session *session);
static call *const calls[] = { eval, sample, generate, save };

static rwkvk_status verify(rwkvk_model *model)
{
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS] = { { .size = sizeof *rows } };
	size_t count;
	for (size_t i = 0; i < RWKVK_VERIFY_ROWS; i++)
		rows[i].size = sizeof *rows;
	return rwkvk_model_verify(model, NULL, rows, RWKVK_VERIFY_ROWS, &count);
}

/* Each of the calls ends with `status` and this message, or already opening does. */
static void check(const char *path, rwkvk_quant quant, rwkvk_status status, const char *says)
{
	rwkvk_model *model;
	rwkvk_session *session;
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = path, .quant = quant, .max_sessions = 1 }, &model) != RWKVK_OK) {
		test_assert_error_contains(says, __FILE__, __LINE__);
		assert_int_equal(status, RWKVK_ERROR_FILE);
		return;
	}
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		assert_ok(rwkvk_session_create(model, &session));
		assert_fails(calls[i](session), status, says);
		rwkvk_session_destroy(session);
	}
	if (status == RWKVK_ERROR_FILE)
		assert_fails(verify(model), status, says);
	rwkvk_model_close(model);
}

static void opens(const char *path, rwkvk_quant quant)
{
	rwkvk_model *model;
	rwkvk_session *session;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .quant = quant }, &model));
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		assert_ok(rwkvk_session_create(model, &session));
		assert_ok(calls[i](session));
		rwkvk_session_destroy(session);
	}
	assert_ok(verify(model));
	rwkvk_model_close(model);
}

static void refused_at_once(const char *path, rwkvk_quant quant, const char *says)
{
	rwkvk_model *model;
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .path = path, .quant = quant }, &model), RWKVK_ERROR_FILE, says);
}

/* ---------------------------------------------------------------------------------------------------- tests */

static const struct {
	const char *version, *name;
	bool copied; /* stored as in the file, so only results show it */
} tensors[] = {
	{ "7", "emb.weight", true },
	{ "7", "head.weight", true },
	{ "7", "blocks.0.att.key.weight", true },
	{ "7", "blocks.1.att.output.weight", true },
	{ "7", "blocks.1.ffn.value.weight", true },
	{ "7", "blocks.0.ln0.weight", false },
	{ "7", "blocks.1.ln1.bias", false },
	{ "7", "ln_out.weight", false },
	{ "7", "blocks.0.att.x_k", false },
	{ "7", "blocks.1.att.w0", false },
	{ "7", "blocks.1.att.a1", false },
	{ "7", "blocks.1.att.v2", false },
	{ "6", "blocks.0.att.gate.weight", true },
	{ "6", "blocks.0.att.time_maa_w1", false },
	{ "6", "blocks.1.att.time_maa_w2", false },
	{ "6", "blocks.1.att.time_faaaa", false },
	{ "4", "blocks.0.att.value.weight", true },
	{ "4", "blocks.1.att.time_first", false },
};

static void files_are_to_blame(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i += test_every()) {
		char says[128];
		snprintf(says, sizeof says, "model.safetensors: tensor %s holds a number that is not finite", tensors[i].name);
		const char *path = write_model(tensors[i].version, tensors[i].name, NAN, DTYPE_F32, false);
		if (tensors[i].copied)
			check(path, RWKVK_QUANT_NONE, RWKVK_ERROR_FILE, says);
		else
			refused_at_once(path, RWKVK_QUANT_NONE, says);
	}
}

/* Threads check weights that are rounded; where the device makes blocks, the results show it. */
static void files_are_to_blame_for_what_is_rounded(void **state)
{
	(void)state;
	static const char says[] = "tensor blocks.1.att.output.weight holds a number that is not finite";
	const char *path = write_model("7", "blocks.1.att.output.weight", INFINITY, DTYPE_BF16, false);
	refused_at_once(path, RWKVK_QUANT_F16, says);
	check(path, RWKVK_QUANT_Q8, RWKVK_ERROR_FILE, says);
	check(path, RWKVK_QUANT_Q4, RWKVK_ERROR_FILE, says);
}

static void numbers_too_large_for_f16(void **state)
{
	(void)state;
	const char *path = write_model("7", "blocks.1.ffn.value.weight", 70000, DTYPE_BF16, false);
	refused_at_once(
		path, RWKVK_QUANT_F16,
		"tensor blocks.1.ffn.value.weight has numbers too large for F16, which holds less than 65520: choose another "
		"rwkvk_model_options.quant");
	opens(path, RWKVK_QUANT_NONE);
	opens(path, RWKVK_QUANT_Q8);
	check(write_model("7", "blocks.1.ffn.value.weight", 1e30f, DTYPE_BF16, false), RWKVK_QUANT_Q8, RWKVK_ERROR_FILE,
	      "tensor blocks.1.ffn.value.weight has numbers too large for Q8");
}

/* All numbers of the file are finite, but so large that no logit is. */
static void only_then_a_device(void **state)
{
	(void)state;
	const char *path = test_temp("large.safetensors");
	struct list *list = list_official("7", &sizes);
	struct list_item *head = list_find(list, "head.weight"), *norm = list_find(list, "ln_out.weight");
	for (uint64_t i = 0; i < head->count; i++)
		head->values[i] *= 1e6f;
	for (uint64_t i = 0; i < norm->count; i++)
		norm->values[i] = 3e38f;
	struct file_bytes file = write_safetensors(list, DTYPE_F32);
	test_write_file(path, file.data, file.bytes);
	free(file.data);
	list_free(list);
	check(path, RWKVK_QUANT_NONE, RWKVK_ERROR_DRIVER, "the device has computed nonsense");
}

/* A bias of the head may ban tokens, but nothing else. */
static void banned_by_the_file(void **state)
{
	(void)state;
	static const char says[] = "tensor head.bias holds a number that is not finite";
	opens(write_model("7", NULL, 0, DTYPE_F32, true), RWKVK_QUANT_NONE);
	rwkvk_model *model;
	rwkvk_session *session;
	float logits[VOCAB];
	const char *path = write_model("7", "head.bias", -INFINITY, DTYPE_F32, true);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &model));
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, text, 3, logits));
	assert_true(logits[5] == -INFINITY && isfinite(logits[4]));
	assert_ok(generate(session));
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	refused_at_once(write_model("7", "head.bias", NAN, DTYPE_F32, true), RWKVK_QUANT_NONE, says);
	refused_at_once(write_model("7", "head.bias", INFINITY, DTYPE_F32, true), RWKVK_QUANT_NONE, says);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_to_blame),        cmocka_unit_test(files_are_to_blame_for_what_is_rounded),
		cmocka_unit_test(numbers_too_large_for_f16), cmocka_unit_test(only_then_a_device),
		cmocka_unit_test(banned_by_the_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
