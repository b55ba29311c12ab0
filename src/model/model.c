/* Opening and closing: a file, a device, and the plan that joins them.  The public functions about models and files. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "model/trained_state.h"

static rwkvk_status check_options(const rwkvk_model_options *options)
{
	REQUIRE(options->path || options->data || options->shape);
	REQUIRE((unsigned)options->quant <= RWKVK_QUANT_F16);
	return RWKVK_OK;
}

static rwkvk_status open_model(const rwkvk_model_options *options, struct rwkvk_model *m)
{
	m->slots = options->max_sessions;
	if (pthread_mutex_init(&m->lock, NULL) != 0)
		return fail(RWKVK_ERROR_MEMORY, "cannot make a lock");
	m->has_lock = true;
	TRY(file_init(options, &m->file));
	TRY(gpu_open(&(struct gpu_options){ .device = options->device, .profile = options->profile }, &m->gpu));
	m->count_inputs = options->profile;
	TRY(model_load(m, options->progress, options->progress_user));
	return choice_plan(m);
}

rwkvk_status rwkvk_model_open(const rwkvk_model_options *options, rwkvk_model **out)
{
	REQUIRE(options && out);
	*out = NULL;
	TRY(check_options(options));
	struct rwkvk_model *m = calloc(1, sizeof *m);
	if (!m)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = open_model(options, m);
	if (status == RWKVK_OK)
		*out = m;
	else
		rwkvk_model_close(m);
	return status;
}

void rwkvk_model_close(rwkvk_model *m)
{
	if (!m)
		return;
	if (m->gpu) {
		model_unload(m);
		gpu_close(m->gpu);
	}
	file_finish(&m->file);
	if (m->has_lock)
		pthread_mutex_destroy(&m->lock);
	free(m);
}

static void describe(const struct rwkvk_file *file, rwkvk_model_info *info)
{
	const struct config *c = &file->network.config;
	*info = (rwkvk_model_info){
		.name = file->weights.metadata.name ? file->weights.metadata.name : "",
		.format = file->weights.format,
		.version = config_version(c),
		.layers = c->layers,
		.width = c->width,
		.ffn_width = c->ffn,
		.vocab = c->vocab,
		.heads = c->heads,
		.head_size = c->head_size,
		.rank_decay = c->rank_decay,
		.rank_iclr = c->rank_iclr,
		.rank_value = c->rank_value,
		.rank_gate = c->rank_gate,
		.rank_mix = c->rank_mix,
		.group_norm_epsilon = c->version == 40 ? 0 : c->group_norm_epsilon,
		.rescale = c->rescale,
		.type = outline_type(&file->network, file->quant, file->network.layers[c->layers - 1].ffn_value),
		.bytes_per_token = model_token_bytes(&file->network, file->quant),
		.state_floats = config_state_floats(c),
		.add_bos = file->add_bos,
		.has_tokenizer = file->tokenizer != NULL,
		.device = "",
	};
	for (size_t i = 0; i < file->weights.count; i++) {
		uint64_t count = 1;
		for (uint32_t j = 0; j < file->weights.tensors[i].rank; j++)
			count *= file->weights.tensors[i].shape[j];
		info->parameters += count;
	}
}

void rwkvk_model_get_info(const rwkvk_model *m, rwkvk_model_info *info)
{
	describe(&m->file, info);
	info->device = gpu_caps(m->gpu)->name;
	info->device_bytes = gpu_memory_used(m->gpu);
}

rwkvk_sampling rwkvk_model_sampling(const rwkvk_model *m)
{
	if (m->file.weights.metadata.has_sampling)
		return m->file.weights.metadata.sampling;
	return (rwkvk_sampling){ .temperature = 1.0f, .top_p = 0.3f, .presence = 0.5f, .frequency = 0.5f, .decay = 0.996f };
}

const rwkvk_tokenizer *rwkvk_model_tokenizer(const rwkvk_model *m)
{
	return m->file.tokenizer;
}

void rwkvk_model_counters(const rwkvk_model *m, rwkvk_counters *counters)
{
	struct gpu_counters c = gpu_counters(m->gpu);
	*counters = (rwkvk_counters){ .tokens = atomic_load_explicit(&m->tokens, memory_order_relaxed),
		                          .dispatches = c.dispatches,
		                          .barriers = c.barriers,
		                          .submits = c.submits,
		                          .host_calls = c.host_calls,
		                          .descriptor_updates = c.descriptor_updates,
		                          .allocations = c.allocations,
		                          .buffers = c.buffers,
		                          .recordings = c.recordings };
}

bool rwkvk_model_profile(const rwkvk_model *m, size_t index, rwkvk_profile_row *row)
{
	return gpu_profile_row(m->gpu, index, row);
}

/* The device counts while it works, so this waits until it does not. */
static void read_inputs(const rwkvk_model *m, uint32_t layer, uint64_t *tokens, uint32_t counts[2])
{
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&m->lock; /* to look is no change, to lock is */
	pthread_mutex_lock(lock);
	*tokens = m->tokens;
	memcpy(counts, (const uint32_t *)m->used_inputs.mapped + 2 * layer, 2 * sizeof *counts);
	pthread_mutex_unlock(lock);
}

bool rwkvk_model_sparsity(const rwkvk_model *m, uint32_t layer, rwkvk_sparsity *out)
{
	uint64_t tokens;
	uint32_t counts[2];
	if (!m->used_inputs.bytes || layer >= m->file.network.config.layers)
		return false;
	read_inputs(m, layer, &tokens, counts);
	if (tokens == 0)
		return false;
	const struct device_matrix *value = &m->layers[layer].ffn.value;
	uint64_t line = 128 + 4 * (uint64_t)VALUE_HIGH_WORDS(value->type);
	uint64_t blocks = (value->rows + VALUE_BLOCK(value->type) - 1) / VALUE_BLOCK(value->type);
	double used = counts[0] / (double)tokens, read = counts[1] / (double)tokens;
	*out = (rwkvk_sparsity){ .tokens = tokens,
		                     .density = used / value->columns,
		                     .bytes = matrix_bytes(value),
		                     .bytes_skipped = (value->columns - read) * (double)(line * blocks) };
	return true;
}

rwkvk_status rwkvk_devices(rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	REQUIRE(count && (infos || capacity == 0));
	return gpu_list(infos, capacity, count);
}

rwkvk_status rwkvk_device_find(const char *device, rwkvk_device_info *out)
{
	REQUIRE(out);
	return gpu_find(device, out);
}

rwkvk_status rwkvk_device_measure(const char *device, rwkvk_progress_fn *progress, void *progress_user, rwkvk_device_rates *out)
{
	struct gpu *gpu;
	REQUIRE(out);
	*out = (rwkvk_device_rates){ 0 };
	TRY(gpu_open(&(struct gpu_options){ .device = device, .arithmetic = true }, &gpu));
	rwkvk_status status = gpu_measure(gpu, progress, progress_user, out);
	gpu_close(gpu);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ files */

rwkvk_status rwkvk_file_open(const rwkvk_model_options *options, rwkvk_file **out)
{
	REQUIRE(options && out);
	*out = NULL;
	TRY(check_options(options));
	struct rwkvk_file *file = malloc(sizeof *file);
	if (!file)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = file_init(options, file);
	if (status == RWKVK_OK)
		*out = file;
	else
		free(file);
	return status;
}

void rwkvk_file_close(rwkvk_file *file)
{
	if (file)
		file_finish(file);
	free(file);
}

void rwkvk_file_get_info(const rwkvk_file *file, rwkvk_model_info *info)
{
	describe(file, info);
}

const rwkvk_tokenizer *rwkvk_file_tokenizer(const rwkvk_file *file)
{
	return file->tokenizer;
}

static const char *device_type(const struct rwkvk_file *file, const struct tensor *tensor)
{
	return is_trained_state(tensor) ? type_name(TYPE_F32) : outline_type(&file->network, file->quant, tensor);
}

bool rwkvk_file_tensor(const rwkvk_file *file, size_t index, rwkvk_tensor_info *info)
{
	if (index >= file->weights.count)
		return false;
	const struct tensor *tensor = &file->weights.tensors[index];
	*info = (rwkvk_tensor_info){ .name = tensor->file_name,
		                         .type = dtype_info[tensor->type].name,
		                         .rank = tensor->rank,
		                         .bytes = tensor->bytes,
		                         .device_type = device_type(file, tensor) };
	memcpy(info->shape, tensor->shape, sizeof info->shape);
	return true;
}
