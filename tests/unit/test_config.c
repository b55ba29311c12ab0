/* From a file to a network, without a device: which number formats a model may have. */
#include "make_model.h"
#include "support.h"

#include <stdio.h>

#include "model/model.h"

static const struct model_spec spec = { .layers = 1,
	                                    .width = 256,
	                                    .head_size = 64,
	                                    .ffn = 256,
	                                    .vocab = 64,
	                                    .rank_decay = 32,
	                                    .rank_iclr = 32,
	                                    .rank_gate = 32,
	                                    .rank_value = 32,
	                                    .seed = 1 };

static void open_as(enum dtype type, enum dtype lora_type, const char *refusal)
{
	struct model_spec made = spec;
	struct rwkvk_file file;
	const char *path = test_temp("typed.gguf");
	made.type = type;
	made.lora_type = lora_type;
	make_model(path, &made);
	rwkvk_status status = file_init(&(rwkvk_model_options){ .path = path }, &file);
	if (refusal)
		assert_fails(status, RWKVK_ERROR_UNSUPPORTED, refusal);
	else
		assert_ok(status);
	file_finish(&file);
}

static void test_types(void **state)
{
	(void)state;
	char text[128];
	for (enum dtype type = 0; type < DTYPE_COUNT; type++) {
		bool runs = !dtype_is_block(type) || type == DTYPE_Q8_0;
		if (!dtype_is_encodable(type))
			continue;
		snprintf(text, sizeof text, "typed.gguf: tensor token_embd.weight is %s; this version runs F32, F16, BF16 and Q8_0",
		         dtype_info[type].name);
		open_as(type, DTYPE_F16, runs ? NULL : text);
	}
	open_as(DTYPE_F16, DTYPE_Q4_0, "tensor blk.0.time_mix_w1.weight is Q4_0;");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_types) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
