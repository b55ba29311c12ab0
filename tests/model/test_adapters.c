/* Adapters on a device: its memory holds the same bytes as for a model merged by numpy, also where the device quantises;
 * verification and logits see the merged weights. */
#include "support.h"

#include <stdio.h>

#include "engine/plan.h"
#include "feed.h"
#include "rwkvk_tools.h"

static const rwkvk_lora lora[] = { { .size = sizeof *lora, .path = LORA_DATA "/peft" },
	                               { .size = sizeof *lora, .path = LORA_DATA "/rwkv_peft.safetensors", .scale = 1 } };
static const uint32_t text[] = { 3, 14, 15, 9, 26, 5, 35, 8, 9, 39 };
enum { VOCAB = 40, TOKENS = sizeof text / sizeof *text };

static rwkvk_model_options merged(rwkvk_quant quant)
{
	return (rwkvk_model_options){ .path = LORA_DATA "/merged.safetensors", .quant = quant };
}

static rwkvk_model_options adapted(rwkvk_quant quant)
{
	return (rwkvk_model_options){ .size = sizeof(rwkvk_model_options),
		                          .path = LORA_DATA "/model.safetensors",
		                          .quant = quant,
		                          .lora = lora,
		                          .lora_count = 2 };
}

static rwkvk_model *open_model(rwkvk_model_options options)
{
	rwkvk_model *model;
	assert_ok(rwkvk_model_open(&options, &model));
	return model;
}

/* Only the weights: no stage is compiled. */
static void load_weights(struct gpu *gpu, rwkvk_model_options options, rwkvk_model *out)
{
	*out = (rwkvk_model){ .gpu = gpu };
	assert_ok(file_init(&options, &out->file));
	assert_ok(model_load(out, &(struct load_options){ .max_sessions = 1, .exact = true }));
}

static void unload_weights(rwkvk_model *model)
{
	model_unload(model);
	file_finish(&model->file);
}

static void compare_buffers(const char *what, struct gpu_buffer *got, struct gpu_buffer *want)
{
	assert_int_equal(got->bytes, want->bytes);
	uint8_t *a = malloc(got->bytes + 1), *b = malloc(got->bytes + 1);
	assert_true(a && b);
	if (got->bytes) {
		assert_ok(gpu_read(got, 0, a, got->bytes));
		assert_ok(gpu_read(want, 0, b, got->bytes));
	}
	for (uint64_t i = 0; i < got->bytes; i++)
		if (a[i] != b[i])
			fail_msg("%s: byte %u of %u differs", what, (unsigned)i, (unsigned)got->bytes);
	free(a);
	free(b);
}

static void compare_matrices(const char *what, struct device_matrix *got, struct device_matrix *want)
{
	assert_int_equal(got->count, want->count);
	for (uint32_t i = 0; i < got->count; i++) {
		compare_buffers(what, &got->slices[i].weights, &want->slices[i].weights);
		compare_buffers(what, &got->slices[i].side, &want->slices[i].side);
	}
}

static void compare_models(rwkvk_model *got, rwkvk_model *want)
{
	char what[64];
	for (uint32_t i = 0; i < got->file.network.config.layers; i++) {
		struct device_matrix *a[LAYER_MATRICES], *b[LAYER_MATRICES];
		struct device_lora *c[LAYER_LORAS], *d[LAYER_LORAS];
		device_matrices(&got->layers[i], a);
		device_matrices(&want->layers[i], b);
		device_loras(&got->layers[i], c);
		device_loras(&want->layers[i], d);
		for (int j = 0; j < LAYER_MATRICES; j++) {
			snprintf(what, sizeof what, "quant %d, layer %u, matrix %d", (int)got->file.quant, i, j);
			compare_matrices(what, a[j], b[j]);
		}
		for (int j = 0; j < LAYER_LORAS; j++)
			compare_buffers("LoRA", &c[j]->buffer, &d[j]->buffer);
	}
	compare_matrices("emb", &got->emb, &want->emb);
	compare_matrices("head", &got->head, &want->head);
	compare_buffers("vectors", &got->vectors, &want->vectors);
}

static void the_same_bytes(void **state)
{
	(void)state;
	struct gpu *gpu;
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &gpu));
	for (rwkvk_quant quant = RWKVK_QUANT_NONE; quant <= RWKVK_QUANT_F16; quant++) {
		rwkvk_model got, want;
		load_weights(gpu, adapted(quant), &got);
		load_weights(gpu, merged(quant), &want);
		compare_models(&got, &want);
		unload_weights(&got);
		unload_weights(&want);
	}
	gpu_close(gpu);
}

static void get_logits(rwkvk_model *model, float *out)
{
	rwkvk_session *session;
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, text, TOKENS, out));
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
}

static void the_same_logits(void **state)
{
	(void)state;
	float got[VOCAB], want[VOCAB], base[VOCAB];
	get_logits(open_model(adapted(RWKVK_QUANT_NONE)), got);
	get_logits(open_model(merged(RWKVK_QUANT_NONE)), want);
	assert_memory_equal(got, want, sizeof got);
	get_logits(open_model((rwkvk_model_options){ .path = LORA_DATA "/model.safetensors" }), base);
	assert_true(test_error(got, base, VOCAB) > 0.1);
}

/* The reference merges row by row what was packed eight rows at a time. */
static void verification_sees_them(void **state)
{
	(void)state;
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS] = { { 0 } };
	rwkvk_model *model = open_model(adapted(RWKVK_QUANT_Q6));
	size_t count;
	assert_ok(rwkvk_model_verify(model, NULL, rows, RWKVK_VERIFY_ROWS, &count));
	assert_true(count > 5);
	for (size_t n = 0; n < count; n++)
		if (!rows[n].ok)
			fail_msg("%s: %g", rows[n].stage, rows[n].error);
	rwkvk_model_close(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_bytes),
		cmocka_unit_test(the_same_logits),
		cmocka_unit_test(verification_sees_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
