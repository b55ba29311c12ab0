/* A driver that fails while a model uses it: what is reported, and that this model, or the next one, still works.  Each gpu
 * object has a table of the driver's calls, so tests replace single entries. */
#include "support.h"

#include <stdio.h>

#include "gpu/vk.h"
#include "make_model.h"
#include "engine/plan.h"
#include "session/session.h"

static const struct model_spec spec = {
	.version = 70,
	.layers = 2,
	.width = 128,
	.head_size = 64,
	.ffn = 512,
	.vocab = 300,
	.rank_decay = 32,
	.rank_iclr = 32,
	.rank_gate = 64,
	.rank_value = 32,
	.type = DTYPE_F16,
	.lora_type = DTYPE_F16,
	.seed = 1,
};
enum { VOCAB = 300, TEXT = 6, PROMPT = 40 };
static const uint32_t text[TEXT] = { 1, 22, 5, 299, 0, 7 };

static rwkvk_model *open_model(void)
{
	rwkvk_model *model = NULL;
	const char *path = test_temp("model");
	make_model(path, &spec);
	assert_ok(rwkvk_model_open(&(rwkvk_model_options){ .path = path }, &model));
	return model;
}

static rwkvk_session *new_session(rwkvk_model *model)
{
	rwkvk_session *session = NULL;
	assert_ok(rwkvk_session_create(model, &session));
	return session;
}

/* The text's logits, in a session of their own. */
static void feed(rwkvk_model *model, float logits[VOCAB])
{
	rwkvk_session *session = new_session(model);
	assert_ok(rwkvk_session_eval(session, text, TEXT, &(rwkvk_eval_options){ .logits = logits }));
	rwkvk_session_destroy(session);
}

/* With penalties: once the device has the counts, it picks the first token, too. */
static rwkvk_status generate(rwkvk_session *session, uint64_t tokens)
{
	const rwkvk_sampling sampling = { .presence = 0.5f };
	const rwkvk_generate_options options = { .sampling = &sampling, .max_tokens = tokens, .ignore_end = true };
	return rwkvk_session_generate(session, &options, NULL);
}

/* In chunks, if the device reads any. */
static void read_prompt(rwkvk_model *model)
{
	static const uint32_t prompt[PROMPT] = { 1, 22, 5, 299, 0, 7 };
	rwkvk_session *session = new_session(model);
	assert_ok(rwkvk_session_eval(session, prompt, PROMPT, NULL));
	rwkvk_session_destroy(session);
}

static const struct load_options one_session = { .max_sessions = 1 };

/* A model built by hand, not yet loaded. */
static void begin(rwkvk_model *m, struct gpu_options options)
{
	*m = (rwkvk_model){ 0 };
	make_model(test_temp("model"), &spec);
	assert_ok(gpu_open(&options, &m->gpu));
	assert_ok(file_init(&(rwkvk_model_options){ .path = test_temp("model") }, &m->file));
}

static void end(rwkvk_model *m)
{
	model_unload(m);
	file_finish(&m->file);
	gpu_close(m->gpu);
}

/* ---------------------------------------------------------------------------------------------------- nothing is done */

static uint32_t dropped; /* so many of the last command buffers of a submission are not run */
static bool only_once;   /* then all are run again */
static PFN_vkQueueSubmit queue_submit;

static VKAPI_ATTR VkResult VKAPI_CALL submit_less(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
	assert_int_equal(count, 1);
	VkSubmitInfo less = *infos;
	less.commandBufferCount -= dropped < less.commandBufferCount ? dropped : less.commandBufferCount;
	dropped = only_once ? 0 : dropped;
	return queue_submit(queue, 1, &less, fence);
}

static rwkvk_model *open_lazy(const char *tokens_at_once)
{
	tokens_at_once ? setenv("RWKVK_TOKENS_PER_SUBMISSION", tokens_at_once, 1) : unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	rwkvk_model *model = open_model();
	unsetenv("RWKVK_TOKENS_PER_SUBMISSION");
	queue_submit = model->gpu->vk.vkQueueSubmit;
	model->gpu->vk.vkQueueSubmit = submit_less;
	return model;
}

/* No copy was made that the state could return to, so it stays as it was. */
static void state_survives(rwkvk_session *session, const uint32_t *prompt, uint32_t count)
{
	rwkvk_model *m = session->model;
	const size_t floats = config_slot_floats(model_config(m)), at = session->slot * floats * sizeof(float);
	float *before = malloc(2 * floats * sizeof *before), *after = before + floats;
	assert_ok(gpu_read(&m->layers[0].state, at, before, floats * sizeof *before));
	dropped = GPU_LIST;
	only_once = true;
	assert_fails(rwkvk_session_eval(session, prompt, count, NULL), RWKVK_ERROR_DRIVER, "that it has not done");
	only_once = false;
	assert_ok(gpu_read(&m->layers[0].state, at, after, floats * sizeof *after));
	assert_memory_equal(after, before, floats * sizeof *before);
	free(before);
}

/* A prompt in chunks. */
static void prompt_is_not_read(rwkvk_session *session)
{
	const uint32_t prompt[PROMPT] = { 1, 22, 5, 299, 0, 7 };
	float want[VOCAB], got[VOCAB];
	if (!forward_reads_chunks(session->model, PROMPT))
		return; /* no binding covers the rows of a chunk */
	assert_ok(rwkvk_session_eval(session, prompt, PROMPT, &(rwkvk_eval_options){ .logits = want }));
	assert_ok(rwkvk_session_reset(session));
	dropped = GPU_LIST;
	assert_fails(rwkvk_session_eval(session, prompt, PROMPT, NULL), RWKVK_ERROR_DRIVER, "that it has not done");
	test_assert_error_contains(gpu_caps(session->model->gpu)->name, __FILE__, __LINE__);
	assert_int_equal(rwkvk_session_position(session), 0);
	dropped = 0;
	assert_ok(rwkvk_session_reset(session));
	assert_ok(rwkvk_session_eval(session, prompt, PROMPT, &(rwkvk_eval_options){ .logits = got }));
	assert_memory_equal(got, want, sizeof got);
	state_survives(session, prompt, PROMPT);
}

/* Feeding and picking notice it, whether nothing was done or only a part; the driver's next submission works normally. */
static void nothing_is_done(void **state)
{
	(void)state;
	static const char *const at_once[] = { "1", "4", NULL };
	for (size_t i = 0; i < 3; i++) {
		rwkvk_model *model = open_lazy(at_once[i]);
		rwkvk_session *session = new_session(model);
		float want[VOCAB], got[VOCAB];
		feed(model, want);
		for (uint32_t lost = 1; lost <= GPU_LIST; lost += GPU_LIST - 1) {
			dropped = lost;
			assert_fails(rwkvk_session_eval(session, text, TEXT, NULL), RWKVK_ERROR_DRIVER, "that it has not done");
			test_assert_error_contains(gpu_caps(model->gpu)->name, __FILE__, __LINE__);
			dropped = 0;
			assert_ok(rwkvk_session_reset(session));
			assert_ok(rwkvk_session_eval(session, text, TEXT, &(rwkvk_eval_options){ .logits = got }));
			assert_memory_equal(got, want, sizeof got);
			assert_ok(generate(session, 3));
			assert_true(session->counts_on_device);
			dropped = lost;
			assert_fails(generate(session, 20), RWKVK_ERROR_DRIVER, "that it has not done");
			dropped = 0;
			assert_ok(rwkvk_session_reset(session));
		}
		prompt_is_not_read(session);
		rwkvk_session_destroy(session);
		rwkvk_model_close(model);
	}
}

/* ---------------------------------------------------------------------------------------------------- calls that fail */

/* One of the calls that planning makes fails, after `calls_left` more of its kind. */
enum call { BUFFER, SET, COMMANDS, PIPELINE, CALLS };
static enum call failing;
static atomic_int calls_left;
static atomic_int failures; /* so many fail, one after the other */
static struct VolkDeviceTable real;

static bool fails(enum call call)
{
	return call == failing && atomic_fetch_sub(&calls_left, 1) <= 0 && atomic_fetch_sub(&failures, 1) > 0;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_buffer(VkDevice device, const VkBufferCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks, VkBuffer *out)
{
	return fails(BUFFER) ? VK_ERROR_OUT_OF_DEVICE_MEMORY : real.vkCreateBuffer(device, info, callbacks, out);
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate_sets(VkDevice device, const VkDescriptorSetAllocateInfo *info,
                                                    VkDescriptorSet *out)
{
	return fails(SET) ? VK_ERROR_FRAGMENTED_POOL : real.vkAllocateDescriptorSets(device, info, out);
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate_commands(VkDevice device, const VkCommandBufferAllocateInfo *info,
                                                        VkCommandBuffer *out)
{
	return fails(COMMANDS) ? VK_ERROR_OUT_OF_HOST_MEMORY : real.vkAllocateCommandBuffers(device, info, out);
}

static VKAPI_ATTR VkResult VKAPI_CALL create_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                       const VkComputePipelineCreateInfo *infos,
                                                       const VkAllocationCallbacks *callbacks, VkPipeline *out)
{
	if (!fails(PIPELINE))
		return real.vkCreateComputePipelines(device, cache, count, infos, callbacks, out);
	for (uint32_t i = 0; i < count; i++)
		out[i] = VK_NULL_HANDLE;
	return VK_ERROR_UNKNOWN;
}

static void make_unreliable(struct gpu *gpu)
{
	real = gpu->vk;
	failures = 0;
	gpu->vk.vkCreateBuffer = create_buffer;
	gpu->vk.vkAllocateDescriptorSets = allocate_sets;
	gpu->vk.vkAllocateCommandBuffers = allocate_commands;
	gpu->vk.vkCreateComputePipelines = create_pipelines;
}

/* From now on `count` calls of a kind fail, after `left` of them. */
static void break_calls(enum call call, int left, int count)
{
	failing = call;
	calls_left = left;
	failures = count;
}

static bool same_tuning(const struct tuning *a, const struct tuning *b)
{
	return a->workgroup == b->workgroup && a->lanes == b->lanes && a->rows == b->rows && a->groups == b->groups;
}

/* The i-th tuning other than the default. */
static struct tuning other_tuning(const rwkvk_model *m, uint32_t i)
{
	struct tuning tuning = tuning_for(gpu_caps(m->gpu), &m->file.network.config);
	tuning.rows = tuning.rows == 1 ? 2 : tuning.rows / 2;
	tuning.groups = 3 + i;
	assert_true(tuning_complete(&tuning, gpu_caps(m->gpu), &m->file.network.config));
	return tuning;
}

/* Whichever call fails, the model continues with its plan, and what remains of the other plan does no harm. */
static void another_plan(void **state)
{
	(void)state;
	rwkvk_model *model = open_model();
	const struct tuning usual = model->plan.tuning, other = other_tuning(model, 0);
	float want[VOCAB], got[VOCAB];
	uint32_t failed[CALLS] = { 0 };
	feed(model, want);
	make_unreliable(model->gpu);
	for (int call = CALLS; call-- > 0;) /* pipelines are made but once */
		for (int left = 0; left < 100; left += left < 3 || call == COMMANDS ? 1 : 20) {
			break_calls((enum call)call, left, 1);
			rwkvk_status status = forward_plan(model, &other);
			break_calls((enum call)call, 0, 0);
			if (status == RWKVK_OK) { /* not so many calls */
				assert_ok(forward_plan(model, &usual));
				break;
			}
			assert_true(status == RWKVK_ERROR_DRIVER || status == RWKVK_ERROR_MEMORY);
			failed[call]++;
			assert_true(same_tuning(&model->plan.tuning, &usual));
			feed(model, got);
			assert_memory_equal(got, want, sizeof got);
		}
	for (int call = 0; call < CALLS; call++)
		assert_true(failed[call] > 0);
	assert_ok(forward_plan(model, &other));
	feed(model, got);
	assert_close("logits", got, want, VOCAB, 1e-4);
	assert_ok(forward_plan(model, &usual));
	feed(model, got);
	assert_memory_equal(got, want, sizeof got);
	rwkvk_model_close(model);
}

/* Tuning tries one after another and skips those that the driver cannot run.  If it fails altogether, the model is unchanged.
 */
static void tuning(void **state)
{
	(void)state;
	setenv("RWKVK_CACHE_DIR", test_temp("cache"), 1); /* a folder of its own: the same test on another kind of device may run */
	rwkvk_model *model = open_model();
	const struct tuning usual = model->plan.tuning;
	const rwkvk_tune_options options = { .seconds = 0.01 }; /* the first tuning, and what it needs */
	rwkvk_tune_row rows[RWKVK_TUNE_ROWS] = { { 0 } };
	float want[VOCAB], got[VOCAB];
	size_t count;
	feed(model, want);
	make_unreliable(model->gpu);
	static const enum call calls[] = { BUFFER, SET, COMMANDS };
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		for (int left = 0; left < 2; left++) {
			break_calls(calls[i], left, 1000);
			rwkvk_status status = rwkvk_model_tune(model, &options, rows, RWKVK_TUNE_ROWS, &count);
			assert_true(status == RWKVK_ERROR_DRIVER || status == RWKVK_ERROR_MEMORY);
			break_calls(calls[i], 0, 0);
			assert_true(same_tuning(&model->plan.tuning, &usual));
			feed(model, got);
			assert_memory_equal(got, want, sizeof got);
		}
	read_prompt(model);
	break_calls(PIPELINE, 0, 1000); /* those of the default tuning and the default tile exist already */
	assert_ok(rwkvk_model_tune(model, &(rwkvk_tune_options){ .seconds = 2 }, rows, RWKVK_TUNE_ROWS, &count));
	break_calls(PIPELINE, 0, 0);
	assert_true(count >= 1 && rows[0].chosen);
	feed(model, got);
	assert_memory_equal(got, want, sizeof got);
	rwkvk_model_close(model);
}

/* ---------------------------------------------------------------------------------------------------- logits of a chunk */

static bool keep_logits(void *user, size_t index, const float *logits)
{
	memcpy((float *)user + index * VOCAB, logits, VOCAB * sizeof *logits);
	return true;
}

/* All logits of a prompt, after `failed` buffers could not be created. */
static rwkvk_status feed_each(rwkvk_session *session, int failed, float *each)
{
	static const uint32_t prompt[PROMPT] = { 1, 22, 5, 299, 0, 7 };
	assert_ok(rwkvk_session_reset(session));
	memset(each, 0, sizeof(float) * PROMPT * VOCAB);
	break_calls(BUFFER, 0, failed);
	rwkvk_status status =
		rwkvk_session_eval(session, prompt, PROMPT, &(rwkvk_eval_options){ .on_logits = keep_logits, .logits_user = each });
	assert_true(failures <= 0);
	break_calls(BUFFER, 0, 0);
	return status;
}

/* If there is no room for the logits of a chunk, there may be for those of half as many rows, and of half of these.  If there
 * is room for none, nothing has been fed, and the next call uses what is free by then. */
static void logits_of_fewer_rows(void **state)
{
	(void)state;
	static float want[PROMPT * VOCAB], got[PROMPT * VOCAB];
	for (int failed = 0; failed <= 4; failed++) {
		rwkvk_model *model = open_model();
		rwkvk_session *session = new_session(model);
		const uint32_t rows = model->chunk.pass.rows;
		make_unreliable(model->gpu);
		if (rows) { /* else no binding covers those of a chunk */
			assert_ok(feed_each(session, failed, failed ? got : want));
			assert_int_equal(model->chunk.logits_rows, rows >> failed);
			assert_memory_equal(failed ? got : want, want, sizeof want);
			assert_int_equal(rwkvk_session_position(session), PROMPT);
		}
		rwkvk_session_destroy(session);
		rwkvk_model_close(model);
	}
}

static void logits_of_no_row(void **state)
{
	(void)state;
	static float want[PROMPT * VOCAB], got[PROMPT * VOCAB];
	rwkvk_model *model = open_model();
	rwkvk_session *session = new_session(model);
	int attempts = 1;
	while (model->chunk.pass.rows >> attempts)
		attempts++;
	make_unreliable(model->gpu);
	if (model->chunk.pass.rows) {
		assert_fails(feed_each(session, attempts, want), RWKVK_ERROR_MEMORY, "logits of a chunk");
		assert_int_equal(rwkvk_session_position(session), 0);
		assert_ok(feed_each(session, 0, want));
		assert_int_equal(model->chunk.logits_rows, model->chunk.pass.rows);
		assert_ok(feed_each(session, 0, got));
		assert_memory_equal(got, want, sizeof want);
	}
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
}

/* ---------------------------------------------------------------------------------------------------- stored tunings */

struct heard {
	int count;
	char text[1024];
};

static void hear(void *user, rwkvk_log_level level, const char *line)
{
	struct heard *heard = user;
	if (level == RWKVK_LOG_WARNING)
		heard->count++;
	snprintf(heard->text, sizeof heard->text, "%s", line);
}

static const char *folder; /* of the tunings */

static rwkvk_status open_tuned(rwkvk_model *m, struct heard *heard, enum call call, int count)
{
	*heard = (struct heard){ 0 };
	begin(m, (struct gpu_options){ .cache_dir = folder, .log = hear, .log_user = heard });
	make_unreliable(m->gpu);
	struct tuned tuned;
	tuned_choose(m, &tuned);
	assert_ok(model_load(m, &one_session));
	break_calls(call, 0, count);
	return tuned_plan(m, &tuned);
}

/* A tuning serves until it fails.  Then the default replaces it, and this is reported once. */
static void stored_tunings(void **state)
{
	(void)state;
	rwkvk_model m;
	struct heard heard;
	folder = test_temp("tunings");
	assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
	const struct tuning usual = m.plan.tuning, tuned = other_tuning(&m, 7);
	assert_ok(forward_plan(&m, &tuned));
	assert_ok(tuned_save(&m));
	end(&m);

	assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
	assert_true(same_tuning(&m.plan.tuning, &tuned));
	end(&m);
	assert_fails(open_tuned(&m, &heard, PIPELINE, 1000), RWKVK_ERROR_DRIVER, "vkCreateComputePipelines"); /* not to blame */
	assert_int_equal(heard.count, 0);
	end(&m);

	assert_ok(open_tuned(&m, &heard, PIPELINE, 1));
	assert_true(same_tuning(&m.plan.tuning, &usual));
	assert_int_equal(heard.count, 1);
	assert_non_null(strstr(heard.text, "vkCreateComputePipelines"));
	assert_non_null(strstr(heard.text, folder));
	end(&m);
	assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
	assert_true(same_tuning(&m.plan.tuning, &usual));
	assert_int_equal(heard.count, 0);

	m.plan.tuning.rows = 3; /* what no device can have */
	assert_ok(tuned_save(&m));
	end(&m);
	for (int i = 1; i >= 0; i--) {
		assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
		assert_true(same_tuning(&m.plan.tuning, &usual));
		assert_int_equal(heard.count, i);
		end(&m);
	}
}

/* A stored tile serves until it cannot read a prompt.  Then the default replaces it, and this is reported once. */
static void stored_tiles(void **state)
{
	(void)state;
	static const uint32_t prompt[PROMPT] = { 1, 22, 5, 299, 0, 7 };
	rwkvk_model m;
	struct heard heard;
	folder = test_temp("tiles");
	assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
	const struct tile usual = chunk_usual_tile(&m);
	struct tile other = usual;
	other.tokens /= 2;
	const bool reads = m.chunk.pass.rows > 0;
	if (reads) {
		chunk_set_tile(&m, &other);
		assert_ok(tuned_save(&m));
	}
	end(&m);
	for (int failed = 0; failed < 3 && reads; failed++) {
		uint32_t fed;
		assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
		struct tile tile = chunk_tile(&m);
		assert_memory_equal(&tile, failed < 2 ? &other : &usual, sizeof tile);
		break_calls(PIPELINE, 0, failed == 1);
		assert_ok(chunk_feed(&m, 0, prompt, PROMPT, false, NULL, NULL, &fed));
		tile = chunk_tile(&m);
		assert_memory_equal(&tile, failed < 1 ? &other : &usual, sizeof tile);
		assert_int_equal(heard.count, failed == 1);
		if (failed == 1)
			assert_non_null(strstr(heard.text, "vkCreateComputePipelines"));
		end(&m);
	}
}

/* ---------------------------------------------------------------------------------------------------- memory */

static uint64_t budget; /* of the device's memory, for this program; others have the rest */
static PFN_vkGetPhysicalDeviceMemoryProperties2 memory_properties;

static VKAPI_ATTR void VKAPI_CALL tell_budget(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *out)
{
	VkPhysicalDeviceMemoryBudgetPropertiesEXT *told = out->pNext;
	assert_int_equal(told->sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT);
	out->pNext = NULL;
	memory_properties(device, out);
	out->pNext = told;
	for (uint32_t i = 0; i < out->memoryProperties.memoryHeapCount; i++)
		told->heapBudget[i] = budget + 1000, told->heapUsage[i] = 1000;
}

/* Loads the model on a graphics card with so much free memory; bound 0: no limit; all 0: the device's own size. */
static rwkvk_status load_into(uint64_t room, uint64_t bound, uint64_t all)
{
	rwkvk_model m;
	begin(&m, (struct gpu_options){ .device_memory = bound });
	struct load_options asked = one_session;
	asked.tuning = model_usual_tuning(&m); /* of the device as it is */
	m.gpu->facts.caps.type = RWKVK_DEVICE_DISCRETE;
	m.gpu->facts.has_budget = true;
	if (all)
		m.gpu->facts.caps.device_memory = all;
	memory_properties = vkGetPhysicalDeviceMemoryProperties2;
	vkGetPhysicalDeviceMemoryProperties2 = tell_budget;
	budget = room;
	assert_int_equal(gpu_memory_available(m.gpu), bound && bound < room ? bound : room);
	uint64_t allocations = gpu_counters(m.gpu).allocations;
	rwkvk_status status = model_load(&m, &asked);
	assert_true(status == RWKVK_OK || gpu_counters(m.gpu).allocations == allocations); /* found out before it begins */
	vkGetPhysicalDeviceMemoryProperties2 = memory_properties;
	end(&m);
	return status;
}

static void what_fits(void **state)
{
	(void)state;
	rwkvk_model m;
	begin(&m, (struct gpu_options){ 0 });
	const struct tuning usual = model_usual_tuning(&m);
	const uint64_t places = tuning_staging_bytes(&usual, model_config(&m));
	uint64_t need = places + model_device_bytes(&m.file.network, RWKVK_QUANT_NONE, 1, 0);
	uint64_t quantised = places + model_device_bytes(&m.file.network, RWKVK_QUANT_Q4, 1, 0);
	end(&m);
	assert_true(quantised < need);
	assert_fails(load_into(quantised - 1, 0, 0), RWKVK_ERROR_MEMORY, "close other programs");
	assert_fails(load_into(quantised, 0, 0), RWKVK_ERROR_MEMORY, "rwkvk_model_options.quant = RWKVK_QUANT_Q4 it fits");
	assert_fails(load_into(quantised - 1, need - 1, 0), RWKVK_ERROR_MEMORY, "(rwkvk_model_options.device_memory)");
	assert_fails(load_into(quantised - 1, 0, need - 1), RWKVK_ERROR_MEMORY, "another device (rwkvk_model_options.device)");
	assert_ok(load_into(2 * need + (64 << 20), 0, 0));
}

/* ---------------------------------------------------------------------------------------------------- the text that is left */

static int submits_left; /* then one fails, and all waiting after it */
static PFN_vkWaitForFences wait_for_fences;

static VKAPI_ATTR VkResult VKAPI_CALL submit_some(VkQueue queue, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
	return submits_left-- > 0 ? queue_submit(queue, count, infos, fence) : VK_ERROR_UNKNOWN;
}

static VKAPI_ATTR VkResult VKAPI_CALL wait_and_fail(VkDevice device, uint32_t count, const VkFence *fences, VkBool32 all,
                                                    uint64_t timeout)
{
	VkResult result = wait_for_fences(device, count, fences, all, timeout);
	return submits_left < 0 ? VK_ERROR_DEVICE_LOST : result;
}

/* Cleaning up fails as well, with uploads in flight; the message says why loading failed. */
static void the_first_failure_is_read(void **state)
{
	(void)state;
	char caps[512], changed[600], first[1024];
	snprintf(caps, sizeof caps, "%s", getenv("RWKVK_CAPS") ? getenv("RWKVK_CAPS") : "");
	snprintf(changed, sizeof changed, "%s,no-unified", caps);
	for (int left = 3; left < 12; left += 4) {
		rwkvk_model m;
		setenv("RWKVK_CAPS", changed, 1);
		begin(&m, (struct gpu_options){ 0 });
		*caps ? setenv("RWKVK_CAPS", caps, 1) : unsetenv("RWKVK_CAPS");
		queue_submit = m.gpu->vk.vkQueueSubmit;
		wait_for_fences = m.gpu->vk.vkWaitForFences;
		m.gpu->vk.vkQueueSubmit = submit_some;
		m.gpu->vk.vkWaitForFences = wait_and_fail;
		submits_left = left;
		assert_fails(model_load(&m, &one_session), RWKVK_ERROR_DRIVER, "vkQueueSubmit");
		snprintf(first, sizeof first, "%s", rwkvk_last_error());
		end(&m);
		assert_string_equal(rwkvk_last_error(), first);
	}
}

/* Failures that are handled internally leave no message either. */
static void quiet_attempts(void **state)
{
	(void)state;
	rwkvk_model m;
	struct heard heard;
	const char *before = folder;
	folder = test_no_folder(); /* can neither be read nor written */
	assert_true(fail(RWKVK_ERROR_FILE, "what failed before") == RWKVK_ERROR_FILE);
	assert_ok(open_tuned(&m, &heard, PIPELINE, 0));
	assert_string_equal(rwkvk_last_error(), "what failed before");
	end(&m);
	assert_string_equal(rwkvk_last_error(), "what failed before");
	folder = before;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_done),  cmocka_unit_test(another_plan),
		cmocka_unit_test(tuning),           cmocka_unit_test(stored_tunings),
		cmocka_unit_test(what_fits),        cmocka_unit_test(the_first_failure_is_read),
		cmocka_unit_test(quiet_attempts),   cmocka_unit_test(logits_of_fewer_rows),
		cmocka_unit_test(logits_of_no_row), cmocka_unit_test(stored_tiles),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
