/* Models without a file on a device: every type runs, with the same result each time, which is that of plain C. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "feed.h"
#include "rwkvk_tools.h"

enum { TOKENS = 6 };

static bool keep_token(void *user, const rwkvk_token *token)
{
	uint32_t **at = user;
	*(*at)++ = token->id;
	return true;
}

/* The most probable tokens after token 0; the logits after them are numbers. */
static void write_tokens(rwkvk_model *model, uint32_t tokens[TOKENS])
{
	rwkvk_session *session;
	rwkvk_model_info info = { 0 };
	uint32_t first = 0, *at = tokens;
	assert_ok(rwkvk_model_get_info(model, &info));
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(rwkvk_session_eval(session, &first, 1, NULL));
	assert_ok(rwkvk_session_generate(
		session, &(rwkvk_generate_options){ .max_tokens = TOKENS, .ignore_end = true, .on_token = keep_token, .user = &at },
		NULL));
	assert_ptr_equal(at, tokens + TOKENS);
	float *logits = malloc(info.vocab * sizeof *logits);
	assert_ok(feed_tokens(session, &first, 1, logits));
	for (uint32_t i = 0; i < info.vocab; i++)
		assert_true(isfinite(logits[i]) && fabsf(logits[i]) < 100);
	free(logits);
	rwkvk_session_destroy(session);
}

static void runs(const char *type, rwkvk_quant quant, uint32_t tokens[TOKENS])
{
	rwkvk_model *model;
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = "2x256", .shape_type = type },
	                                                   .quant = quant,
	                                                   .max_sessions = 1 },
	                           &model));
	write_tokens(model, tokens);
	rwkvk_model_close(model);
}

static void types(void **state)
{
	(void)state;
	static const char *const words[] = { "f32", "f16", "bf16", "q8", "q6", "q5" };
	uint32_t tokens[TOKENS];
	for (size_t i = 0; i < sizeof words / sizeof *words; i += test_every())
		runs(words[i], RWKVK_QUANT_NONE, tokens);
}

static void repeatable(void **state)
{
	(void)state;
	uint32_t tokens[2][TOKENS];
	for (int i = 0; i < 2; i++)
		runs("q4", RWKVK_QUANT_NONE, tokens[i]);
	assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
}

static void quantised_while_loading(void **state)
{
	(void)state;
	uint32_t tokens[TOKENS];
	runs(NULL, RWKVK_QUANT_Q8, tokens);
}

static void as_plain_c(void **state)
{
	(void)state;
	rwkvk_model *model;
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS] = { { 0 } };
	size_t count;
	assert_ok(rwkvk_model_open(
		&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = "2x256", .shape_type = "q4" }, .max_sessions = 1 },
		&model));
	assert_ok(rwkvk_model_verify(model, NULL, rows, RWKVK_VERIFY_ROWS, &count));
	assert_true(count > 5);
	for (size_t i = 0; i < count; i++)
		if (!rows[i].ok)
			fail_msg("%s, %s: error %g, limit %g", rows[i].stage, rows[i].vector, rows[i].error, rows[i].limit);
	rwkvk_model_close(model);
}

static void refused(void **state)
{
	(void)state;
	rwkvk_model *model;
	assert_fails(rwkvk_model_open(&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = "9B" } }, &model),
	             RWKVK_ERROR_ARGUMENT, "shape \"9B\": expected");
	assert_null(model);
}

int main(void)
{
	size_t count;
	if (rwkvk_devices(NULL, 0, &count) != RWKVK_OK) {
		print_message("SKIPPED test_shapes: %s\n", rwkvk_last_error());
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types),      cmocka_unit_test(repeatable), cmocka_unit_test(quantised_while_loading),
		cmocka_unit_test(as_plain_c), cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
