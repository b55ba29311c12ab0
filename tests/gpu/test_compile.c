/* What the driver's compiler makes of every pipeline of the official sizes: no spills, no scratch memory.  Runs on any device
 * whose driver tells (VK_KHR_pipeline_executable_properties), meant for RADV's mode without hardware, see
 * tests/gpu/CMakeLists.txt. With RWKVK_PRINT_STATISTICS=1 it prints a line for each pipeline. */
#include "support.h"

#include <stdio.h>
#include <strings.h>

#include "model/model.h"

static const struct config configs[] = {
	{ .version = 70,
	  .layers = 4,
	  .width = 256,
	  .ffn = 1024,
	  .vocab = 2048,
	  .heads = 4,
	  .head_size = 64,
	  .rank_decay = 32,
	  .rank_iclr = 32,
	  .rank_gate = 64,
	  .rank_value = 32,
	  .embedding_norm = true },
	{ .version = 70,
	  .layers = 12,
	  .width = 768,
	  .ffn = 3072,
	  .vocab = 65536,
	  .heads = 12,
	  .head_size = 64,
	  .rank_decay = 64,
	  .rank_iclr = 64,
	  .rank_gate = 128,
	  .rank_value = 32,
	  .embedding_norm = true },
	{ .version = 70,
	  .layers = 24,
	  .width = 2048,
	  .ffn = 8192,
	  .vocab = 65536,
	  .heads = 32,
	  .head_size = 64,
	  .rank_decay = 96,
	  .rank_iclr = 96,
	  .rank_gate = 256,
	  .rank_value = 64,
	  .embedding_norm = true },
	{ .version = 70,
	  .layers = 32,
	  .width = 4096,
	  .ffn = 16384,
	  .vocab = 65536,
	  .heads = 64,
	  .head_size = 64,
	  .rank_decay = 128,
	  .rank_iclr = 128,
	  .rank_gate = 480,
	  .rank_value = 96,
	  .embedding_norm = true },
	{ .version = 70,
	  .layers = 2,
	  .width = 84,
	  .ffn = 101,
	  .vocab = 77,
	  .heads = 7,
	  .head_size = 12,
	  .rank_decay = 9,
	  .rank_iclr = 17,
	  .rank_gate = 31,
	  .rank_value = 11 },
};
static const char *const type_names[] = { [TYPE_F32] = "F32", [TYPE_F16] = "F16", [TYPE_BF16] = "BF16", [TYPE_Q8] = "Q8" };

/* Statistics that must be zero, by any driver's name for them. */
static bool must_be_zero(const char *name)
{
	char lower[256];
	size_t i;
	for (i = 0; name[i] && i + 1 < sizeof lower; i++)
		lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
	lower[i] = 0;
	return strstr(lower, "spill") || strstr(lower, "scratch") || strstr(lower, "fill count");
}

static unsigned check(struct gpu *gpu, const char *shader, const struct config *c, struct stage_types types, bool first,
                      uint32_t passes, uint32_t flags)
{
	struct shape shape = shape_for(gpu_caps(gpu), c);
	struct gpu_pipeline *pipeline;
	struct gpu_statistic statistics[64];
	uint32_t constants[SPEC_COUNT];
	size_t count;
	stage_constants(&shape, c, types, first, passes, flags, constants);
	assert_ok(gpu_pipeline_get(gpu, shader, constants, SPEC_COUNT, &pipeline));
	assert_ok(gpu_pipeline_statistics(gpu, pipeline, statistics, 64, &count));
	assert_true(count > 0);
	bool print = getenv("RWKVK_PRINT_STATISTICS") != NULL;
	unsigned bad = 0, zero_checked = 0;
	if (print)
		printf("%s | %s | C %u | %s%s%s |", gpu_caps(gpu)->name, shader, c->width, type_names[types.weights],
		       types.lora != types.weights ? " LoRA " : "", types.lora != types.weights ? type_names[types.lora] : "");
	for (size_t i = 0; i < count; i++) {
		if (print)
			printf(" %s %g;", statistics[i].name, statistics[i].value);
		if (!must_be_zero(statistics[i].name))
			continue;
		zero_checked++;
		if (statistics[i].value != 0) {
			print_error("%s: %s, width %u, %s weights, %s LoRA: %s is %g\n", gpu_caps(gpu)->name, shader, c->width,
			            type_names[types.weights], type_names[types.lora], statistics[i].name, statistics[i].value);
			bad++;
		}
	}
	if (print)
		printf("\n");
	assert_true(zero_checked > 0);
	return bad;
}

static void no_spills(void **state)
{
	(void)state;
	struct gpu *gpu;
	unsigned bad = 0, pipelines = 0;
	assert_ok(gpu_open(&(struct gpu_options){ .capture_statistics = true }, &gpu));
	if (!gpu_caps(gpu)->pipeline_statistics) {
		print_message("*** NOT TESTED: the driver of %s has no compiler statistics ***\n", gpu_caps(gpu)->name);
		gpu_close(gpu);
		skip();
	}
	for (size_t i = 0; i < sizeof configs / sizeof *configs; i++)
		for (uint32_t type = TYPE_F32; type <= TYPE_Q8; type++) {
			static const char *const plain[] = { "att_out", "ffn_in", "ffn_out", "head", "select" };
			const struct config *c = &configs[i];
			struct stage_types same = { type, type };
			for (size_t j = 0; j < sizeof plain / sizeof *plain; j++, pipelines++)
				bad += check(gpu, plain[j], c, same, false, 2, c->embedding_norm ? FLAG_EMBEDDING_NORM : FLAG_HEAD_BIAS);
			for (uint32_t lora = TYPE_F32; lora <= TYPE_Q8; lora++)
				for (int first = 0; first < 2; first++, pipelines++)
					bad += check(gpu, "att_in", c, (struct stage_types){ type, lora }, first, 1, 0);
			for (int first = 0; type != TYPE_Q8 && first < 2; first++, pipelines++)
				bad += check(gpu, "wkv", c, same, first, 1, first ? FLAG_FIRST_LAYER : 0);
		}
	print_message("    %u pipelines on %s\n", pipelines, gpu_caps(gpu)->name);
	gpu_close(gpu);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_spills) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
