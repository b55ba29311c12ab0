/* Counts what a token requires: for official models from their plans, without weights or any work; for small models of every
 * version from the calls made while tokens ran.  Also checks which features of the device are enabled. */
#include "support.h"

#include <stdio.h>
#include <volk.h>

#include "base/numbers.h"
#include "feed.h"
#include "gpu/vk.h"
#include "plan_model.h"
#include "network/reference.h"
#include "rwkvk_tools.h"
#include "small_models.h"

/* ------------------------------------------------------------------------------------------------------ dispatches */

static const uint32_t stages_of[] = { [4] = 4, [5] = 5, [6] = 7, [7] = 5 };
static const uint32_t chunk_stages_of[] = { [4] = 7, [5] = 7, [6] = 10, [7] = 8 };

static uint32_t more(const struct device_matrix *m)
{
	return m->count > 1 ? m->count - 1 : 0;
}

/* Dispatches needed only because matrices exceed one binding. */
static uint32_t extra_dispatches(const struct rwkvk_model *m)
{
	uint32_t extra = more(&m->emb) + more(&m->head);
	for (uint32_t i = 0; i < m->file.network.config.layers; i++) {
		const struct device_layer *l = &m->layers[i];
		extra += more(&l->products) + more(&l->output) + (uint32_t)larger(more(&l->ffn.key), more(&l->ffn.receptance)) +
		         more(&l->ffn.value);
	}
	return extra;
}

/* ------------------------------------------------------------------------------------------------------ bytes */

/* Bits of a weight without any padding, the scales that a file has for them included. */
static double nominal_bits(const struct device_matrix *matrix)
{
	const struct dtype_info *info = &dtype_info[dtype_of_type(matrix->matrix.type)];
	return 8.0 * info->bytes / info->block;
}

struct traffic {
	double nominal, packed; /* weights that every token reads, bytes */
	uint64_t largest;       /* binding */
	uint64_t loras;
};

static void add_traffic(const struct device_matrix *matrix, bool every_token, struct traffic *out)
{
	double weights = 0;
	for (uint32_t i = 0; i < matrix->matrix.part_count; i++)
		weights += (double)matrix->matrix.parts[i].rows * matrix->matrix.columns;
	for (uint32_t i = 0; i < matrix->count; i++) {
		out->largest = out->largest > matrix->slices[i].weights.bytes ? out->largest : matrix->slices[i].weights.bytes;
		out->largest = out->largest > matrix->slices[i].side.bytes ? out->largest : matrix->slices[i].side.bytes;
	}
	if (!every_token || !matrix->matrix.part_count)
		return;
	out->nominal += weights * nominal_bits(matrix) / 8;
	out->packed += (double)matrix_bytes(&matrix->matrix);
}

static struct traffic traffic_of(struct rwkvk_model *m)
{
	struct traffic t = { 0 };
	add_traffic(&m->emb, false, &t);
	add_traffic(&m->head, true, &t);
	for (uint32_t i = 0; i < m->file.network.config.layers; i++) {
		struct device_matrix *matrices[LAYER_MATRICES];
		struct device_lora *loras[LAYER_LORAS];
		device_matrices(&m->layers[i], matrices);
		device_loras(&m->layers[i], loras);
		for (int j = 0; j < LAYER_MATRICES; j++)
			add_traffic(matrices[j], true, &t);
		for (int j = 0; j < LAYER_LORAS; j++)
			t.loras += loras[j]->buffer.bytes;
	}
	return t;
}

/* Activations that the stages of a token read and write, each vector once per stage. */
static uint64_t activation_bytes(const struct network *net)
{
	struct region regions[MAX_REGIONS];
	uint32_t count = act_regions(&net->config, regions);
	uint64_t floats = 0;
	for (uint32_t i = 0; i < net->config.layers; i++) {
		struct stage stages[MAX_STAGES];
		uint32_t n = layer_stages(net, i, stages);
		for (uint32_t j = 0; j < n; j++)
			for (uint32_t k = 0; k < count; k++) {
				for (int r = 0; r < 10 && stages[j].reads[r]; r++)
					floats += !strcmp(stages[j].reads[r], regions[k].name) ? regions[k].count : 0;
				for (int w = 0; w < 10 && stages[j].writes[w]; w++)
					floats += !strcmp(stages[j].writes[w], regions[k].name) ? regions[k].count : 0;
			}
	}
	return floats * sizeof(float);
}

/* What all workgroups together read again, from caches: LayerNorm needs x, its weight and bias, the shift state and the mixing
 * weights. */
static uint64_t prologue_bytes(const struct rwkvk_model *m)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < m->plan.steps.count; i++) {
		const char *stage = m->plan.steps.all[i].stage;
		bool norm = !strcmp(stage, "att_in") || !strcmp(stage, "mix_in") || !strcmp(stage, "att_wkv") ||
		            !strcmp(stage, "ffn_in") || !strcmp(stage, "head");
		bytes += norm ? m->plan.steps.all[i].groups.x * (uint64_t)m->file.network.config.width * 5 * sizeof(float) : 0;
	}
	return bytes;
}

/* The state's share of the steps' bytes: a stage's bytes without its weights. */
static uint64_t state_bytes(const struct rwkvk_model *m)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < m->plan.steps.count; i++) {
		const struct step *s = &m->plan.steps.all[i];
		const struct device_layer *l = &m->layers[s->layer];
		if (!strcmp(s->stage, "wkv"))
			bytes += s->bytes - l->lora_out.buffer.bytes;
		if (!strcmp(s->stage, "att_wkv"))
			bytes += s->bytes;
	}
	for (uint32_t i = 0; m->file.network.config.version == 40 && i < m->file.network.config.layers; i++)
		bytes -= m->layers[i].pre.key.count ? 0 : matrix_bytes(&m->layers[i].products.matrix);
	return bytes;
}

/* ------------------------------------------------------------------------------------------------------ official models */

/* Bytes of packed weights over the nominal bytes: padding, to whole k-blocks of a row and to whole blocks of ffn.value's
 * outputs, and scales that take more room than in a file. */
static double allowed(enum dtype type)
{
	return type == DTYPE_Q2_K ? 1.9 : 1.03; /* 2 bits are kept in 4 */
}

static void check_official(struct gpu *gpu, enum official which, enum dtype type, rwkvk_quant quant)
{
	struct rwkvk_model m;
	struct model_spec spec = official_models[which];
	spec.type = type;
	spec.lora_type = DTYPE_F16;
	assert_ok(plan_model(gpu, &spec, quant, &m));
	const struct config *c = &m.file.network.config;
	struct traffic t = traffic_of(&m);
	double ratio = t.packed / t.nominal;
	uint64_t act = activation_bytes(&m.file.network), state = state_bytes(&m);
	print_message(
		"    %-14s %-5s %4u dispatches, weights %8.2f MB, %.3f of nominal; state %7.2f MB; activations %.2f %% of the "
		"weights; LayerNorm anew %6.1f MB from caches\n",
		spec.name, type_name(m.head.matrix.type), m.plan.steps.count, t.packed * 1e-6, ratio, (double)state * 1e-6,
		100.0 * (double)act / t.packed, (double)prologue_bytes(&m) * 1e-6);
	assert_int_equal(m.plan.steps.count, stages_of[spec.version / 10] * spec.layers + 2 + extra_dispatches(&m));
	assert_int_equal(m.plan.head_step, m.plan.steps.count - m.head.count);
	if (ratio > allowed(type))
		fail_msg("%s, %s: %.3f times the nominal bytes are packed, at most %.2f are allowed", spec.name,
		         type_name(m.head.matrix.type), ratio, allowed(type));
	assert_int_equal(state, 2 * sizeof(float) * (uint64_t)c->layers * c->width * c->state_width); /* once in, once out */
	if (t.packed > 0.7e9)
		assert_true((double)act < 0.05 * t.packed);
	assert_true(t.largest <= gpu_caps(gpu)->max_range && t.largest <= (128u << 20));
	assert_true(sizeof(float) * (uint64_t)config_act_floats(c) <= (128u << 20));
	assert_true(m.plan.tuning.workgroup <= 256);
	unplan_model(&m);
}

/* A chunk of a large model, whose matrices exceed one binding: the embedding, and the layers' stages in slices. */
static void check_chunk_plan(struct gpu *gpu, enum official which)
{
	struct rwkvk_model m;
	struct model_spec spec = official_models[which];
	spec.type = spec.lora_type = DTYPE_F16;
	assert_ok(plan_model(gpu, &spec, RWKVK_QUANT_NONE, &m));
	chunk_init(&m, chunk_most_rows(&m, 0));
	if (m.chunk.pass.rows) {
		assert_ok(chunk_steps(&m, &m.chunk.pass));
		assert_int_equal(m.chunk.pass.steps.count,
		                 chunk_stages_of[spec.version / 10] * spec.layers + 1 + extra_dispatches(&m) - more(&m.head));
		assert_true(extra_dispatches(&m) > 0);
		for (uint32_t i = 0; i < m.chunk.pass.steps.count; i++)
			assert_true(m.chunk.pass.steps.all[i].groups.x > 0);
	}
	unplan_model(&m);
}

static void official_counts(void **state)
{
	(void)state;
	static const enum dtype types[] = { DTYPE_F16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q2_K };
	struct gpu *gpu;
	assert_int_equal(setenv("RWKVK_CAPS", "range=134217728", 1), 0);
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &gpu));
	for (int i = 0; i < OFFICIALS; i++) {
		check_official(gpu, i, DTYPE_F16, RWKVK_QUANT_NONE);
		check_official(gpu, i, DTYPE_F16, RWKVK_QUANT_Q4);
	}
	for (size_t i = 1; i < sizeof types / sizeof *types; i++)
		check_official(gpu, OFFICIAL_70_1B5, types[i], RWKVK_QUANT_NONE);
	check_official(gpu, OFFICIAL_70_0B1, DTYPE_Q8_0, RWKVK_QUANT_NONE);
	check_official(gpu, OFFICIAL_70_0B1, DTYPE_Q4_K, RWKVK_QUANT_NONE);
	static const enum official large[] = { OFFICIAL_4_14B, OFFICIAL_52_3B, OFFICIAL_60_7B, OFFICIAL_70_7B };
	for (size_t i = 0; i < sizeof large / sizeof *large; i++)
		check_chunk_plan(gpu, large[i]);
	gpu_close(gpu);
	unsetenv("RWKVK_CAPS");
}

static void push_constants(void **state)
{
	(void)state;
	assert_true(PUSH_COUNT * 4 <= GPU_PUSH_BYTES);
	assert_true(GPU_PUSH_BYTES <= 128);
}

/* ------------------------------------------------------------------------------------------------------ tokens */

/* The cost of a call on the host: every submission is three Vulkan calls. */
static uint32_t submits, waits, resets;
static struct VolkDeviceTable real;

static VKAPI_ATTR VkResult VKAPI_CALL count_submit(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
	submits++;
	return real.vkQueueSubmit(queue, count, infos, fence);
}

static VKAPI_ATTR VkResult VKAPI_CALL count_wait(VkDevice device, uint32_t count, const VkFence *fences, VkBool32 all,
                                                 uint64_t timeout)
{
	waits++;
	return real.vkWaitForFences(device, count, fences, all, timeout);
}

static VKAPI_ATTR VkResult VKAPI_CALL count_reset(VkDevice device, uint32_t count, const VkFence *fences)
{
	resets++;
	return real.vkResetFences(device, count, fences);
}

static void count_calls(struct gpu *gpu)
{
	real = gpu->vk;
	submits = waits = resets = 0;
	gpu->vk.vkQueueSubmit = count_submit;
	gpu->vk.vkWaitForFences = count_wait;
	gpu->vk.vkResetFences = count_reset;
}

static void assert_nothing_made(const rwkvk_counters *before, const rwkvk_counters *after)
{
	assert_int_equal(after->descriptor_updates, before->descriptor_updates);
	assert_int_equal(after->allocations, before->allocations);
	assert_int_equal(after->buffers, before->buffers);
	assert_int_equal(after->recordings, before->recordings);
}

/* A prompt of two chunks, once the first one has been read: each is the embedding and the layers' stages, and after the last
 * come two for the head's sake. */
static void count_chunks(rwkvk_model *model, rwkvk_session *session)
{
	enum { ROWS = 16, TOKENS = 2 * ROWS };
	const struct config *c = model_config(model);
	const uint32_t stages = chunk_stages_of[c->version / 10] * c->layers, text[TOKENS] = { 1, 2, 3 };
	rwkvk_counters before = { 0 }, after = { 0 };
	float logits[SMALL_VOCAB];
	if (!model->chunk.pass.rows)
		return;
	assert_ok(feed_tokens(session, text, TOKENS, logits));
	for (int i = 0; i < 3; i++) {
		assert_ok(rwkvk_model_counters(model, &before));
		count_calls(model->gpu);
		assert_ok(feed_tokens(session, text, TOKENS, logits));
		model->gpu->vk = real;
		assert_ok(rwkvk_model_counters(model, &after));
		assert_int_equal(after.tokens - before.tokens, TOKENS);
		assert_int_equal(after.dispatches - before.dispatches, 2 * (stages + 1) + 2);
		assert_in_range(after.submits - before.submits, 2, 2 * c->layers);
		assert_nothing_made(&before, &after);
		assert_int_equal(submits, after.submits - before.submits);
		assert_int_equal(waits, submits);
		assert_int_equal(resets, submits);
	}
}

static void run_and_count(const struct model_spec *spec, rwkvk_quant quant)
{
	rwkvk_model *model;
	rwkvk_session *session;
	rwkvk_counters before = { 0 }, after = { 0 };
	rwkvk_model_options options = { .size = sizeof options, .path = make_small_model(spec), .quant = quant, .chunk_rows = 16 };
	enum { TOKENS = 6 };
	const uint32_t text[TOKENS] = { 1, 2, 3, 5, 8, 13 };
	float logits[SMALL_VOCAB];
	assert_ok(rwkvk_model_open(&options, &model));
	assert_ok(rwkvk_session_create(model, &session));
	assert_ok(feed_tokens(session, text, 1, logits)); /* small transfers make their buffers when first needed */
	assert_ok(rwkvk_model_counters(model, &before));
	for (int i = 0; i < TOKENS; i++) {
		assert_ok(feed_tokens(session, &text[i], 1, logits));
		assert_ok(rwkvk_model_counters(model, &after));
		uint32_t stages = stages_of[spec->version / 10] * spec->layers + 2;
		assert_int_equal(after.tokens - before.tokens, 1);
		assert_int_equal(after.submits - before.submits, 1);
		assert_int_equal(after.dispatches - before.dispatches, stages);
		assert_int_equal(after.barriers - before.barriers, stages);
		assert_nothing_made(&before, &after);
		before = after;
	}
	count_chunks(model, session);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
}

static void token_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < SMALL_MODELS; i++)
		run_and_count(&small_models[i], RWKVK_QUANT_NONE);
	run_and_count(&small_models[5], RWKVK_QUANT_Q8);
}

/* ------------------------------------------------------------------------------------------------------ features */

static PFN_vkCreateDevice create_device;
static unsigned devices_created;

/* A driver checks every access of a buffer when robustBufferAccess is on, which doubles the code of some shaders.  16-bit
 * storage is missing on half of all phones.  Neither is requested: of all features only those in `known`. */
static VKAPI_ATTR VkResult VKAPI_CALL watch_create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                          const VkAllocationCallbacks *allocator, VkDevice *device)
{
	static const VkStructureType known[] = {
		VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
		VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
	};
	assert_null(info->pEnabledFeatures);
	for (const VkBaseInStructure *at = info->pNext; at; at = at->pNext) {
		bool is_known = false;
		for (size_t i = 0; i < sizeof known / sizeof *known; i++)
			is_known |= at->sType == known[i];
		if (!is_known)
			fail_msg("vkCreateDevice: structure %d is chained, which may switch on features", (int)at->sType);
	}
	for (uint32_t i = 0; i < info->enabledExtensionCount; i++)
		assert_null(strstr(info->ppEnabledExtensionNames[i], "robustness"));
	devices_created++;
	return create_device(physical, info, allocator, device);
}

/* Linked in the place of volk's (-Wl,--wrap). */
void __real_volkLoadInstanceOnly(VkInstance instance);
void __wrap_volkLoadInstanceOnly(VkInstance instance);
void __wrap_volkLoadInstanceOnly(VkInstance instance)
{
	__real_volkLoadInstanceOnly(instance);
	create_device = vkCreateDevice;
	vkCreateDevice = watch_create_device;
}

static void features(void **state)
{
	(void)state;
	struct gpu *gpu;
	unsigned before = devices_created;
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &gpu));
	gpu_close(gpu);
	assert_ok(gpu_open(&(struct gpu_options){ .capture_statistics = true }, &gpu));
	gpu_close(gpu);
	assert_int_equal(devices_created - before, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(official_counts),
		cmocka_unit_test(push_constants),
		cmocka_unit_test(token_counts),
		cmocka_unit_test(features),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
