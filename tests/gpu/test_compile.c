/* What the driver's compiler makes of every pipeline of every version, size and type of weights: no spills, no scratch memory.
 * Runs on any device whose driver reports it (VK_KHR_pipeline_executable_properties); meant for RADV's mode without hardware,
 * see CMakeLists.txt.  tools/compilers.sh runs it on other vendors' compilers. */
#include "support.h"

#include <math.h>

#include "compiler_statistics.h"
#include "engine/quantise_device.h"
#include "plan_model.h"

/* Sizes that no official model has. */
static const struct model_spec others[] = {
	{ .version = 40, .layers = 3, .width = 5120, .ffn = 20480, .vocab = 50277, .pre = true },
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

/* Statistics that a driver does not have count as zero, but one of the two must be there. */
static bool spills(struct gpu *gpu, struct gpu_pipeline *pipeline, struct compiler_statistics *s)
{
	assert_ok(compiler_statistics(gpu, pipeline, s));
	assert_false(isnan(s->spills) && isnan(s->scratch));
	return s->spills > 0 || s->scratch > 0;
}

static unsigned check(struct gpu *gpu, const struct rwkvk_model *m, const struct step *step)
{
	struct compiler_statistics s;
	if (!spills(gpu, step->pipeline, &s))
		return 0;
	print_error("%s: RWKV-%s, width %u, %s, %s: %g spills, %g bytes of scratch memory\n", gpu_caps(gpu)->name,
	            config_version(&m->file.network.config), m->file.network.config.width, type_name(m->head.matrix.type),
	            step->stage, s.spills, s.scratch);
	return 1;
}

/* Every pipeline of a list once. */
static unsigned check_steps(struct gpu *gpu, const struct rwkvk_model *m, const struct steps *steps, unsigned *pipelines)
{
	unsigned bad = 0;
	for (uint32_t i = 0; i < steps->count; i++) {
		bool seen = false;
		for (uint32_t j = 0; j < i && !seen; j++)
			seen = steps->all[j].pipeline == steps->all[i].pipeline;
		if (!seen) {
			bad += check(gpu, m, &steps->all[i]);
			++*pipelines;
		}
	}
	return bad;
}

/* Passes of few rows: the largest, and smaller ones, too, where everything is tested. */
static unsigned check_few(struct gpu *gpu, struct rwkvk_model *m, unsigned *pipelines)
{
	unsigned bad = 0;
	for (uint32_t rows = 8; rows > 0 && m->chunk.pass.rows && (rows == 8 || test_everything()); rows /= 2) {
		struct pass pass;
		assert_ok(plan_few(m, rows, &pass));
		bad += check_steps(gpu, m, &pass.steps, pipelines);
		steps_drop(m, &pass.steps);
	}
	return bad;
}

static unsigned check_plan(struct gpu *gpu, const struct model_spec *spec, rwkvk_quant quant, unsigned *pipelines)
{
	struct rwkvk_model m;
	assert_ok(plan_model(gpu, spec, quant, &m));
	assert_ok(plan_chunks(&m));
	unsigned bad = check_steps(gpu, &m, &m.plan.steps, pipelines) + check_steps(gpu, &m, &m.chunk.pass.steps, pipelines) +
	               check_steps(gpu, &m, &m.chunk.head, pipelines);
	bad += check_few(gpu, &m, pipelines);
	unplan_model(&m);
	return bad;
}

/* The types of weights that a model is planned with.  Types quantised at load come in addition to floats. */
enum types { F16_ALONE, FLOATS, ALL_TYPES };

static bool has_type(enum types types, enum dtype type)
{
	return type == DTYPE_F16 || types == ALL_TYPES || (types == FLOATS && !dtype_is_block(type));
}

static unsigned check_types(struct gpu *gpu, const struct model_spec *from, enum types types, unsigned *pipelines)
{
	unsigned bad = 0;
	for (enum dtype type = 0; type < DTYPE_COUNT; type++) {
		struct model_spec spec = *from;
		if (!has_type(types, type))
			continue;
		spec.type = type;
		spec.lora_type = dtype_is_block(type) ? DTYPE_F16 : type;
		spec.layers = spec.layers < 2 ? spec.layers : 2;
		bad += check_plan(gpu, &spec, RWKVK_QUANT_NONE, pipelines);
		if (type == DTYPE_F16 && types != F16_ALONE)
			bad += check_plan(gpu, &spec, RWKVK_QUANT_Q8, pipelines) + check_plan(gpu, &spec, RWKVK_QUANT_Q4, pipelines);
	}
	return bad;
}

/* One width is enough for what all types have in common, and one version for what a matrix is multiplied by. */
static enum types types_of(const struct model_spec *spec)
{
	if (spec->width == 2048)
		return test_everything() || spec->version == 70 ? ALL_TYPES : FLOATS;
	return test_everything() ? FLOATS : F16_ALONE;
}

/* The shaders that quantise while loading. */
static unsigned check_quantisers(struct gpu *gpu, unsigned *pipelines)
{
	static const uint32_t types[] = { TYPE_Q8, TYPE_Q6K, TYPE_Q5K, TYPE_Q4K }, floats[] = { TYPE_F32, TYPE_F16, TYPE_BF16 };
	unsigned bad = 0;
	for (size_t i = 0; i < 12; i++, ++*pipelines) {
		struct compiler_statistics s;
		struct gpu_pipeline *pipeline;
		uint32_t from = floats[i % 3], to = types[i / 3];
		assert_ok(quantiser_pipeline(gpu, from, to, &pipeline));
		if (spills(gpu, pipeline, &s)) {
			print_error("%s: quantise %s to %s: %g spills, %g bytes of scratch memory\n", gpu_caps(gpu)->name, type_name(from),
			            type_name(to), s.spills, s.scratch);
			bad++;
		}
	}
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
	for (int i = 0; i < OFFICIALS; i += (int)test_every())
		bad += check_types(gpu, &official_models[i], types_of(&official_models[i]), &pipelines);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		bad += check_types(gpu, &others[i], test_everything() ? FLOATS : F16_ALONE, &pipelines);
	bad += check_quantisers(gpu, &pipelines);
	print_message("    %u pipelines on %s\n", pipelines, gpu_caps(gpu)->name);
	gpu_close(gpu);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_spills) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
