/* Opening and closing: a file, a device, and the plan that joins them.  The public functions about models. */
#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/cancel.h"
#include "base/environment.h"
#include "base/structs.h"

static bool is_set(const rwkvk_cancel *cancel)
{
	return cancel && atomic_load(&cancel->set);
}

static rwkvk_status open_device(const rwkvk_model_options *options, bool profile, struct rwkvk_model *m)
{
	const struct gpu_options gpu = {
		.device = options->device,
		.profile = profile,
		.cache_dir = options->cache_dir,
		.threads = options->threads,
		.device_memory = options->device_memory,
		.log = options->log,
		.log_user = options->log_user,
		.cancel = options->cancel ? &options->cancel->set : NULL,
	};
	return gpu_open(&gpu, &m->gpu);
}

static rwkvk_status open_model(const rwkvk_model_options *options, const rwkvk_tools_options *tools, struct rwkvk_model *m)
{
	struct load_options load = {
		.max_sessions = options->max_sessions,
		.threads = options->threads,
		.exact = options->exact != 0,
		.chunk_rows = options->chunk_rows,
		.max_batch = options->max_batch,
		.mixed_rows = options->mixed_rows,
		.profile = tools->profile,
		.cancel = options->cancel ? &options->cancel->set : NULL,
		.progress = options->progress,
		.progress_user = options->progress_user,
	};
	if (is_set(options->cancel))
		return fail(RWKVK_CANCELLED, "cancelled before anything was opened");
	if (!mutex_init(&m->lock))
		return fail(RWKVK_ERROR_MEMORY, "cannot make a lock");
	m->has_lock = true;
	TRY(environment_tokens(&load.at_once));
	if (tools->file)
		m->file = *tools->file; /* which the caller keeps until the model is open */
	else
		TRY(file_init(options, &m->file));
	if (is_set(options->cancel))
		return fail(RWKVK_CANCELLED, "cancelled after %s was opened", m->file.weights.path);
	TRY(open_device(options, tools->profile, m));
	struct tuned tuned;
	tuned_choose(m, &tuned);
	load.tuning = tuned.tuning;
	TRY(model_load(m, &load));
	TRY(tuned_plan(m, &tuned));
	gpu_set_cancel(m->gpu, NULL); /* it belongs to the caller, and opening is over */
	return RWKVK_OK;
}

/* Everything but the file. */
static void destroy_engine(struct rwkvk_model *m)
{
	if (m->gpu) {
		model_unload(m);
		gpu_close(m->gpu);
	}
	if (m->has_lock)
		mutex_destroy(&m->lock);
}

static void destroy_model(struct rwkvk_model *m)
{
	destroy_engine(m);
	file_finish(&m->file);
	free(m);
}

rwkvk_status rwkvk_model_open(const rwkvk_model_options *given, rwkvk_model **out)
{
	rwkvk_model_options options;
	rwkvk_tools_options tools;
	REQUIRE(given && out);
	*out = NULL;
	TRY(read_model_options(given, &options, &tools));
	struct rwkvk_model *m = calloc(1, sizeof *m);
	if (!m)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = open_model(&options, &tools, m);
	if (status == RWKVK_OK) {
		*out = m;
		free(tools.file); /* the model owns its content now */
		return RWKVK_OK;
	}
	destroy_engine(m);
	if (!tools.file)
		file_finish(&m->file);
	free(m);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ its sessions */

const struct rwkvk_file *model_file(const struct rwkvk_model *m)
{
	return &m->file;
}

const struct config *model_config(const struct rwkvk_model *m)
{
	return &m->file.network.config;
}

const struct listener *model_listener(const struct rwkvk_model *m)
{
	return gpu_listener(m->gpu);
}

const char *model_cache_folder(const struct rwkvk_model *m)
{
	return gpu_cache_folder(m->gpu);
}

rwkvk_status model_expect_open(const struct rwkvk_model *m)
{
	if (!atomic_load(&m->closed))
		return RWKVK_OK;
	return fail(RWKVK_ERROR_ARGUMENT, "the session's model, %s, has been closed: the session can only be destroyed",
	            m->file.weights.path);
}

rwkvk_status model_lock(struct rwkvk_model *m)
{
	mutex_lock(&m->lock);
	rwkvk_status status = model_expect_open(m);
	if (status != RWKVK_OK)
		mutex_unlock(&m->lock);
	return status;
}

void model_unlock(struct rwkvk_model *m)
{
	mutex_unlock(&m->lock);
}

rwkvk_status model_take_slot(struct rwkvk_model *m, bool clear, uint32_t *slot)
{
	for (*slot = 0; *slot < m->slots; ++*slot)
		if (!m->slot_taken[*slot]) {
			if (clear)
				TRY(slot_start(m, *slot));
			m->slot_taken[*slot] = true;
			m->sessions++;
			return RWKVK_OK;
		}
	return fail(RWKVK_ERROR_BUSY,
	            "all %u sessions of the model are taken: destroy one, or open the model with a larger "
	            "rwkvk_model_options.max_sessions",
	            m->slots);
}

void model_give_slot(struct rwkvk_model *m, uint32_t slot)
{
	mutex_lock(&m->lock);
	m->slot_taken[slot] = false;
	m->sessions--;
	bool last = m->closed && m->sessions == 0;
	mutex_unlock(&m->lock);
	if (last)
		destroy_model(m);
}

void rwkvk_model_close(rwkvk_model *m)
{
	if (!m)
		return;
	mutex_lock(&m->lock);
	m->closed = true;
	bool last = m->sessions == 0;
	mutex_unlock(&m->lock);
	if (last)
		destroy_model(m);
}

/* ------------------------------------------------------------------------------------------------------ what it is */

rwkvk_status rwkvk_model_get_info(const rwkvk_model *m, rwkvk_model_info *info)
{
	rwkvk_model_info own;
	REQUIRE(m && info);
	file_describe(&m->file, &own);
	own.device = gpu_caps(m->gpu)->name;
	own.device_bytes = gpu_memory_used(m->gpu);
	own.max_sessions = m->slots;
	return write_model_info(&own, info);
}

bool rwkvk_model_metadata(const rwkvk_model *m, size_t index, rwkvk_metadata *out)
{
	EXPECT(m && out, false);
	return file_metadata(&m->file, index, out);
}

const char *rwkvk_model_metadata_value(const rwkvk_model *m, const char *key)
{
	EXPECT(m && key, NULL);
	return weights_text(&m->file.weights, key);
}

rwkvk_status rwkvk_model_chat(rwkvk_model *m, rwkvk_chat_template *out)
{
	REQUIRE(m && out);
	*out = file_chat(&m->file).chat;
	if (!atomic_exchange(&m->chat_reported, true))
		file_report_chat(&m->file, model_listener(m));
	return RWKVK_OK;
}

rwkvk_status rwkvk_model_sampling(const rwkvk_model *m, rwkvk_sampling *out)
{
	REQUIRE(m && out);
	return WRITE_RESULT(rwkvk_sampling, bias_count, &m->file.weights.metadata.sampling, out);
}

const rwkvk_tokenizer *rwkvk_model_tokenizer(const rwkvk_model *m)
{
	EXPECT(m, NULL);
	return m->file.tokenizer;
}

/* ------------------------------------------------------------------------------------------------------ counters */

rwkvk_status rwkvk_model_counters(const rwkvk_model *m, rwkvk_counters *counters)
{
	REQUIRE(m && counters);
	struct gpu_counters c = gpu_counters(m->gpu);
	const rwkvk_counters own = { .tokens = atomic_load_explicit(&m->tokens, memory_order_relaxed),
		                         .dispatches = c.dispatches,
		                         .barriers = c.barriers,
		                         .submits = c.submits,
		                         .host_calls = c.host_calls,
		                         .descriptor_updates = c.descriptor_updates,
		                         .allocations = c.allocations,
		                         .buffers = c.buffers,
		                         .recordings = c.recordings,
		                         .compile_nanoseconds = c.compile_nanoseconds };
	return WRITE_RESULT(rwkvk_counters, compile_nanoseconds, &own, counters);
}

bool rwkvk_model_profile(const rwkvk_model *m, size_t index, rwkvk_profile_row *row)
{
	rwkvk_profile_row own;
	EXPECT(m && row, false);
	return gpu_profile_row(m->gpu, index, &own) && WRITE_RESULT(rwkvk_profile_row, bytes, &own, row) == RWKVK_OK;
}

/* The device counts while it works, so this waits until it is idle. */
static void read_inputs(const rwkvk_model *m, uint32_t layer, uint64_t *tokens, uint32_t counts[2])
{
	struct mutex *lock = (struct mutex *)(uintptr_t)&m->lock; /* const to the caller; the lock is not */
	mutex_lock(lock);
	*tokens = m->single_tokens;
	memcpy(counts, (const uint32_t *)m->used_inputs.mapped + 2 * layer, 2 * sizeof *counts);
	mutex_unlock(lock);
}

bool rwkvk_model_sparsity(const rwkvk_model *m, uint32_t layer, rwkvk_sparsity *out)
{
	uint64_t tokens;
	uint32_t counts[2];
	EXPECT(m && out, false);
	if (!m->used_inputs.bytes || layer >= m->file.network.config.layers)
		return false;
	read_inputs(m, layer, &tokens, counts);
	if (tokens == 0)
		return false;
	const struct matrix *value = &m->layers[layer].ffn.value.matrix;
	uint64_t line = 128 + 4 * (uint64_t)VALUE_HIGH_WORDS(value->type);
	uint64_t blocks = (value->rows + VALUE_BLOCK(value->type) - 1) / VALUE_BLOCK(value->type);
	double used = counts[0] / (double)tokens, read = counts[1] / (double)tokens;
	const rwkvk_sparsity own = { .tokens = tokens,
		                         .density = used / value->columns,
		                         .bytes = matrix_bytes(value),
		                         .bytes_skipped = (value->columns - read) * (double)(line * blocks) };
	return WRITE_RESULT(rwkvk_sparsity, bytes_skipped, &own, out) == RWKVK_OK;
}
