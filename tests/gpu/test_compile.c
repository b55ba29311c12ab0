/* The plans of all versions at official sizes, without weights: what the driver's compiler makes of every pipeline (no spills,
 * no scratch memory), and how many dispatches and barriers a token takes.  The former runs on any device whose driver tells
 * (VK_KHR_pipeline_executable_properties), meant for RADV's mode without hardware, see tests/gpu/CMakeLists.txt.  With
 * RWKVK_PRINT_STATISTICS=1 it prints a line for each pipeline. */
#include "support.h"

#include <stdio.h>
#include <strings.h>

#include "make_model.h"
#include "model/model.h"

static const struct model_spec specs[] = {
	{ .version = 40, .layers = 12, .width = 768, .ffn = 3072, .vocab = 50277 },
	{ .version = 40, .layers = 3, .width = 5120, .ffn = 20480, .vocab = 50277, .pre = true },
	{ .version = 50, .layers = 2, .width = 768, .head_size = 64, .ffn = 2688, .vocab = 65536 },
	{ .version = 51, .layers = 2, .width = 2048, .head_size = 64, .ffn = 7168, .vocab = 65536 },
	{ .version = 52, .layers = 2, .width = 2560, .head_size = 64, .ffn = 8960, .vocab = 65536 },
	{ .version = 60,
	  .layers = 24,
	  .width = 2048,
	  .head_size = 64,
	  .ffn = 7168,
	  .vocab = 65536,
	  .rank_decay = 64,
	  .rank_mix = 32 },
	{ .version = 60,
	  .layers = 2,
	  .width = 4096,
	  .head_size = 64,
	  .ffn = 14336,
	  .vocab = 65536,
	  .rank_decay = 128,
	  .rank_mix = 64 },
	{ .version = 70,
	  .layers = 4,
	  .width = 256,
	  .head_size = 64,
	  .ffn = 1024,
	  .vocab = 2048,
	  .rank_decay = 32,
	  .rank_iclr = 32,
	  .rank_gate = 64,
	  .rank_value = 32 },
	{ .version = 70,
	  .layers = 12,
	  .width = 768,
	  .head_size = 64,
	  .ffn = 3072,
	  .vocab = 65536,
	  .rank_decay = 64,
	  .rank_iclr = 64,
	  .rank_gate = 128,
	  .rank_value = 32 },
	{ .version = 70,
	  .layers = 24,
	  .width = 2048,
	  .head_size = 64,
	  .ffn = 8192,
	  .vocab = 65536,
	  .rank_decay = 96,
	  .rank_iclr = 96,
	  .rank_gate = 256,
	  .rank_value = 64 },
	{ .version = 70,
	  .layers = 32,
	  .width = 4096,
	  .head_size = 64,
	  .ffn = 16384,
	  .vocab = 65536,
	  .rank_decay = 128,
	  .rank_iclr = 128,
	  .rank_gate = 480,
	  .rank_value = 96 },
	{ .version = 70,
	  .layers = 2,
	  .width = 84,
	  .head_size = 12,
	  .ffn = 101,
	  .vocab = 77,
	  .rank_decay = 9,
	  .rank_iclr = 17,
	  .rank_gate = 31,
	  .rank_value = 11,
	  .head_bias = true,
	  .no_embedding_norm = true },
};
enum { SPECS = sizeof specs / sizeof *specs };

/* ------------------------------------------------------------------------------------------------------ a model without
 * weights */

static void add_tensor(void *user, const struct model_tensor *t)
{
	struct weights *w = user;
	static const uint8_t nothing;
	uint64_t bytes;
	assert_true(dtype_bytes(t->type, 3, t->shape, &bytes));
	struct mapping anywhere = { .data = &nothing, .bytes = bytes };
	assert_ok(weights_add(w, &anywhere, t->name, t->name, t->type, 3, t->shape, 0, bytes));
}

/* One slice without a buffer. */
static void pretend(struct device_matrix *m)
{
	if (!m->part_count)
		return;
	m->count = 1;
	m->slices = calloc(1, sizeof *m->slices);
	m->slices[0].row_end = m->rows;
}

static void plan(struct gpu *gpu, const struct model_spec *spec, rwkvk_quant quant, struct rwkvk_model *m)
{
	*m = (struct rwkvk_model){ .gpu = gpu, .slots = 1, .file.quant = quant };
	m->file.weights.path = strdup("test");
	model_tensors(spec, add_tensor, &m->file.weights);
	assert_ok(network_init(&m->file.weights, &m->file.network));
	const struct network *net = &m->file.network;
	m->shape = shape_for(gpu_caps(gpu), &net->config);
	m->layers = calloc(net->config.layers, sizeof *m->layers);
	outline_table(net, net->emb, quant, &m->emb);
	outline_table(net, net->head, quant, &m->head);
	pretend(&m->emb);
	pretend(&m->head);
	for (uint32_t i = 0; i < net->config.layers; i++) {
		struct device_matrix *matrices[LAYER_MATRICES];
		outline_layer(net, quant, i, &m->layers[i]);
		layer_matrices(&m->layers[i], matrices);
		for (int j = 0; j < LAYER_MATRICES; j++)
			pretend(matrices[j]);
	}
	assert_ok(forward_steps(m));
}

static void unplan(struct rwkvk_model *m)
{
	gpu_sets_destroy(m->gpu);
	model_unload(m);
	file_finish(&m->file);
}

/* ------------------------------------------------------------------------------------------------------ compilers */

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

static unsigned check(struct gpu *gpu, const struct rwkvk_model *m, const struct step *step)
{
	struct gpu_statistic statistics[64];
	size_t count;
	char what[512];
	snprintf(what, sizeof what, "%s | RWKV-%s %s | C %u | %s", gpu_caps(gpu)->name, config_version(&m->file.network.config),
	         step->stage, m->file.network.config.width, type_name(m->head.type));
	assert_ok(gpu_pipeline_statistics(gpu, step->pipeline, statistics, 64, &count));
	assert_true(count > 0);
	bool print = getenv("RWKVK_PRINT_STATISTICS") != NULL;
	unsigned bad = 0, zero_checked = 0;
	if (print)
		printf("%s |", what);
	for (size_t i = 0; i < count; i++) {
		if (print)
			printf(" %s %g;", statistics[i].name, statistics[i].value);
		if (!must_be_zero(statistics[i].name))
			continue;
		zero_checked++;
		if (statistics[i].value != 0) {
			print_error("%s: %s is %g\n", what, statistics[i].name, statistics[i].value);
			bad++;
		}
	}
	if (print)
		printf("\n");
	assert_true(zero_checked > 0);
	return bad;
}

/* Every pipeline of the plan once. */
static unsigned check_plan(struct gpu *gpu, const struct model_spec *spec, rwkvk_quant quant, unsigned *pipelines)
{
	struct rwkvk_model m;
	unsigned bad = 0;
	plan(gpu, spec, quant, &m);
	for (uint32_t i = 0; i < m.step_count; i++) {
		bool seen = false;
		for (uint32_t j = 0; j < i && !seen; j++)
			seen = m.steps[j].pipeline == m.steps[i].pipeline;
		if (!seen) {
			bad += check(gpu, &m, &m.steps[i]);
			++*pipelines;
		}
	}
	unplan(&m);
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
	for (int i = 0; i < SPECS; i++)
		for (enum dtype type = 0; type < DTYPE_COUNT; type++) {
			struct model_spec spec = specs[i];
			bool official = spec.width == 2048; /* one size is enough for what all types have in common */
			if (dtype_is_block(type) && !official)
				continue;
			spec.type = type;
			spec.lora_type = dtype_is_block(type) ? DTYPE_F16 : type;
			spec.layers = spec.layers < 2 ? spec.layers : 2;
			bad += check_plan(gpu, &spec, RWKVK_QUANT_NONE, &pipelines);
			if (type == DTYPE_F16)
				bad += check_plan(gpu, &spec, RWKVK_QUANT_Q8, &pipelines);
			if (type == DTYPE_F16)
				bad += check_plan(gpu, &spec, RWKVK_QUANT_Q4, &pipelines);
		}
	print_message("    %u pipelines on %s\n", pipelines, gpu_caps(gpu)->name);
	gpu_close(gpu);
	assert_int_equal(bad, 0);
}

/* ------------------------------------------------------------------------------------------------------ counters */

/* Dispatches of a token: select, so many a layer, head; a barrier follows each. */
static void dispatches(void **state)
{
	(void)state;
	static const uint32_t per_layer[] = { [4] = 4, [5] = 5, [6] = 7, [7] = 5 };
	struct gpu *gpu;
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &gpu));
	for (int i = 0; i < SPECS; i++) {
		struct rwkvk_model m;
		struct model_spec spec = specs[i];
		spec.type = spec.lora_type = DTYPE_F16;
		plan(gpu, &spec, RWKVK_QUANT_NONE, &m);
		assert_int_equal(m.step_count, per_layer[spec.version / 10] * spec.layers + 2);
		assert_int_equal(m.head_step, m.step_count - 1);
		unplan(&m);
	}
	gpu_close(gpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_spills), cmocka_unit_test(dispatches) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
