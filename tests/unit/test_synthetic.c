/* Models without a file: their sizes and types, which shapes are refused, and that their numbers stay near 1.  No device. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "network/reference.h"

static struct rwkvk_file open_shape(const char *shape, const char *type, rwkvk_quant quant)
{
	struct rwkvk_file file;
	assert_ok(file_init(
		&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = shape, .shape_type = type }, .quant = quant },
		&file));
	return file;
}

static uint64_t parameters(const struct rwkvk_file *file)
{
	rwkvk_model_info info = { 0 };
	assert_ok(rwkvk_file_get_info(file, &info));
	return info.parameters;
}

/* Sizes and ranks of the official models, and their parameters in millions. */
static void official_sizes(void **state)
{
	(void)state;
	static const struct {
		const char *shape;
		uint32_t layers, width, decay, iclr, value, gate;
		double millions;
	} rows[] = {
		{ "0.1B", 12, 768, 64, 64, 32, 128, 191.0 },      { "0.4B", 24, 1024, 64, 64, 32, 128, 450.8 },
		{ "1.5B", 24, 2048, 96, 96, 64, 256, 1527.4 },    { "2.9B", 32, 2560, 96, 96, 64, 320, 2947.7 },
		{ "7.2B", 32, 4096, 128, 128, 96, 480, 7199.1 },  { "24x2048", 24, 2048, 96, 96, 64, 256, 1527.4 },
		{ "24x1024", 24, 1024, 64, 64, 32, 128, 450.8 }, /* the official ranks, which no formula gives */
		{ "3x4096", 3, 4096, 128, 128, 96, 480, 1160.8 }, { "1x64", 1, 64, 32, 32, 0, 32, 8.5 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool small = rows[i].width % 256 != 0;
		struct rwkvk_file file = open_shape(rows[i].shape, small ? "q8" : "q4", RWKVK_QUANT_NONE);
		const struct config *c = &file.network.config;
		print_message("%s: %.1f M\n", rows[i].shape, 1e-6 * (double)parameters(&file));
		assert_int_equal(c->version, 70);
		assert_int_equal(c->layers, rows[i].layers);
		assert_int_equal(c->width, rows[i].width);
		assert_int_equal(c->ffn, 4 * rows[i].width);
		assert_int_equal(c->vocab, 65536);
		assert_int_equal(c->head_size, 64);
		assert_int_equal(c->rank_decay, rows[i].decay);
		assert_int_equal(c->rank_iclr, rows[i].iclr);
		assert_int_equal(c->rank_value, rows[i].value);
		assert_int_equal(c->rank_gate, rows[i].gate);
		assert_true(fabs(1e-6 * (double)parameters(&file) - rows[i].millions) < 0.1);
		file_finish(&file);
	}
}

static void types(void **state)
{
	(void)state;
	static const struct {
		const char *type;
		enum dtype key, output, table, lora;
		const char *device;
	} rows[] = {
		{ NULL, DTYPE_F16, DTYPE_F16, DTYPE_F16, DTYPE_F16, "F16" },
		{ "f16", DTYPE_F16, DTYPE_F16, DTYPE_F16, DTYPE_F16, "F16" },
		{ "f32", DTYPE_F32, DTYPE_F32, DTYPE_F32, DTYPE_F32, "F32" },
		{ "bf16", DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, "BF16" },
		{ "q8", DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_F16, "Q8" },
		{ "q6", DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_F16, "Q6K" },
		{ "q5", DTYPE_Q6_K, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_F16, "Q5K" },
		{ "q4", DTYPE_Q5_K, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_F16, "Q4K" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rwkvk_file file = open_shape("2x256", rows[i].type, RWKVK_QUANT_NONE);
		const struct network *net = &file.network;
		rwkvk_model_info info = { 0 };
		assert_ok(rwkvk_file_get_info(&file, &info));
		assert_int_equal(net->layers[1].ffn_key->type, rows[i].key);
		assert_int_equal(net->layers[0].output->type, rows[i].output);
		assert_int_equal(net->head->type, rows[i].table);
		assert_int_equal(net->layers[1].v2->type, rows[i].lora);
		assert_int_equal(net->layers[1].ln1_w->type, DTYPE_F32);
		assert_string_equal(info.type, rows[i].device);
		assert_string_equal(info.format, "synthetic");
		assert_string_equal(info.name, "RWKV-7 2x256");
		file_finish(&file);
	}
	/* The presets of loading make the same types of F16. */
	struct rwkvk_file made = open_shape("2x256", "q4", RWKVK_QUANT_NONE), loaded = open_shape("2x256", NULL, RWKVK_QUANT_Q4);
	assert_int_equal(model_token_bytes(&made.network, RWKVK_QUANT_NONE), model_token_bytes(&loaded.network, RWKVK_QUANT_Q4));
	file_finish(&made);
	file_finish(&loaded);
}

static void refused(void **state)
{
	(void)state;
	static const char *const shapes[] = { "",          "0.3B",  "24",     "24x",   "x64",
		                                  "24x2048x1", "0x64",  "257x64", "1x100", "1x0",
		                                  "1x16448",   "-1x64", "1x 64",  "1xx64", "99999999999999999999x64" };
	struct rwkvk_file file;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		char want[200];
		snprintf(want, sizeof want, "shape \"%.40s\": expected 0.1B, 0.4B, 1.5B, 2.9B, 7.2B or LAYERSxWIDTH such as 24x2048",
		         shapes[i]);
		assert_fails(file_init(&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = shapes[i] } }, &file),
		             RWKVK_ERROR_ARGUMENT, want);
	}
	assert_fails(
		file_init(&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = "1x64", .shape_type = "q3" } }, &file),
		RWKVK_ERROR_ARGUMENT, "type \"q3\": expected f32, f16, bf16, q8, q6, q5 or q4");
	assert_fails(
		file_init(&(rwkvk_model_options){ .tools = &(rwkvk_tools_options){ .shape = "1x64", .shape_type = "q4" } }, &file),
		RWKVK_ERROR_ARGUMENT, "shape 1x64: type q4 needs a width that is a multiple of 256, found 64");
}

/* The same numbers every time; other ones in other layers and matrices. */
static void numbers(void **state)
{
	(void)state;
	struct rwkvk_file a = open_shape("2x256", "q4", RWKVK_QUANT_NONE), b = open_shape("2x256", "q4", RWKVK_QUANT_NONE);
	assert_int_equal(a.weights.count, b.weights.count);
	for (size_t i = 0; i < a.weights.count; i++) {
		const struct tensor *x = &a.weights.tensors[i], *y = &b.weights.tensors[i];
		assert_string_equal(x->name, y->name);
		assert_int_equal(x->bytes, y->bytes);
		assert_memory_equal(x->data, y->data, x->bytes);
	}
	const struct layer *l = a.network.layers;
	assert_memory_not_equal(l[0].key->data, l[1].key->data, l[0].key->bytes);
	assert_memory_not_equal(l[0].key->data, l[0].value->data, l[0].key->bytes);
	assert_memory_not_equal(l[0].ln1_w->data, l[1].ln1_w->data, l[0].ln1_w->bytes);
	file_finish(&a);
	file_finish(&b);
}

/* By the reference: logits spread about 1, and the share of ffn.value's inputs that are not zero is about a half. */
static void plausible(void **state)
{
	(void)state;
	struct rwkvk_file file = open_shape("4x256", "f16", RWKVK_QUANT_NONE);
	const struct config *c = &file.network.config;
	struct reference ref;
	assert_ok(reference_init(&ref, &file.network, RWKVK_QUANT_NONE));
	float *states = malloc(sizeof(float) * c->layers * config_slot_floats(c));
	float *act = calloc(config_act_floats(c), sizeof *act), *logits = malloc(sizeof(float) * c->vocab);
	reference_start(&ref, states);
	for (uint32_t token = 0; token < 8; token++)
		reference_token(&ref, 1000 * token, states, act, logits);
	double sum = 0;
	for (uint32_t i = 0; i < c->vocab; i++)
		sum += (double)logits[i] * (double)logits[i];
	uint32_t used = 0;
	for (uint32_t i = 0; i < c->ffn; i++)
		used += act[ACT_F(c->width) + i] != 0;
	double spread = sqrt(sum / c->vocab), share = (double)used / c->ffn;
	print_message("logits %.2f, share of inputs %.2f\n", spread, share);
	assert_true(spread > 0.5 && spread < 2); /* false for NaN */
	assert_true(share > 0.4 && share < 0.6);
	reference_finish(&ref);
	free(states);
	free(act);
	free(logits);
	file_finish(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(official_sizes), cmocka_unit_test(types),     cmocka_unit_test(refused),
		cmocka_unit_test(numbers),        cmocka_unit_test(plausible),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
