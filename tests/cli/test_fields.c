/* The library's names for options are replaced by those of the program, and nothing else in a message changes. */
#include "support.h"

#include "fields.h"

static void assert_becomes(const char *text, const char *want)
{
	char out[FIELDS_SIZE];
	assert_string_equal(fields_as_options(out, sizeof(out), text), want);
}

static void test_names(void **state)
{
	(void)state;
	assert_becomes("", "");
	assert_becomes("rwkvk_model_options.device", "--device");
	assert_becomes("no device is called \"x\" (rwkvk_model_options.device); see rwkvk_model_options.cache_dir.",
	               "no device is called \"x\" (--device); see --cache-dir.");
	assert_becomes("rwkvk_tools_options.shape_type goes with rwkvk_tools_options.shape", "--type goes with --shape");
	assert_becomes("rwkvk_generate_options.stop_texts needs rwkvk_model_options.vocab", "--stop needs --vocab");
	assert_becomes("rwkvk_model_options.max_sessions asks for 256", "--count or -b asks for 256");
	assert_becomes("all tokens are banned by rwkvk_sampling.biases", "all tokens are banned by --bias and --ban");
}

static void test_values(void **state)
{
	(void)state;
	assert_becomes("with rwkvk_model_options.quant = RWKVK_QUANT_Q4 it fits", "with --quant q4 it fits");
	assert_becomes("8-bit weights (rwkvk_model_options.quant RWKVK_QUANT_Q8)", "8-bit weights (--quant q8)");
	assert_becomes("give rwkvk_model_options.vocab = rwkv_vocab_v20230424.txt", "give --vocab rwkv_vocab_v20230424.txt");
	assert_becomes("rwkvk_model_options.group_norm_epsilon = 1e-05", "--group-norm-epsilon 1e-05");
	assert_becomes("rwkvk_export_options.type = RWKVK_EXPORT_Q4_K_M", "--type q4_k_m");
	assert_becomes("read it as RWKVK_STATE_WEB_RWKV", "read it as web-rwkv");
}

/* Names, also of files, that only begin or end like one of these. */
static void test_others(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"models/my_rwkvk_model_options.quantised.gguf: cannot be opened",
		"rwkvk_model_options.quantile",
		"rwkvk_model_options.names_of",
		"RWKVK_QUANT_Q88 and XRWKVK_QUANT_Q8",
		"set RWKVK_DEVICE = 1, \xc3\xa4\xff",
		"a = b",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_becomes(texts[i], texts[i]);
}

/* The longer name wins, cut to the room, and the text always ends in a zero byte. */
static void test_room(void **state)
{
	(void)state;
	static const char text[] = "rwkvk_model_options.group_norm_epsilon!";
	char out[32];
	for (size_t size = 1; size <= sizeof out; size++) {
		memset(out, 'x', sizeof out);
		fields_as_options(out, size, text);
		assert_int_equal(strlen(out), size - 1 < 21 ? size - 1 : 21);
		assert_memory_equal(out, "--group-norm-epsilon!", strlen(out));
		for (size_t i = size; i < sizeof out; i++)
			assert_int_equal(out[i], 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
