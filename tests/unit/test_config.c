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

static void open_as(enum dtype type, enum dtype lora_type)
{
	struct model_spec made = spec;
	struct rwkvk_file file;
	const char *path = test_temp("typed.gguf");
	made.type = type;
	made.lora_type = lora_type;
	make_model(path, &made);
	assert_ok(file_init(&(rwkvk_model_options){ .path = path }, &file));
	assert_int_equal(file.network.emb->type, type);
	assert_int_equal(file.network.layers[0].w1->type, lora_type);
	file_finish(&file);
}

static void test_types(void **state)
{
	(void)state;
	for (enum dtype type = 0; type < DTYPE_COUNT; type++)
		if (dtype_is_encodable(type))
			open_as(type, DTYPE_F16);
	open_as(DTYPE_F16, DTYPE_Q4_0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_types) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
