/* time_state is [H, value, key] in every version, and so is the state of RWKV-7; that of RWKV-5 and 6 is [H, key, value].
 * web-rwkv's files have it transposed (tensor.swapped).  docs/formats.md says how each program reads it. */
#include "network/trained_state.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/half.h"
#include "format/output.h"

enum { MOST_LAYERS = 4096, MOST_HEADS = 1 << 16, MOST_HEAD = 256 };
enum { NAME = 64 }; /* bytes of a name */

/* The layer whose time_state this is; -1: another tensor. */
static int64_t layer_of(const struct tensor *tensor)
{
	unsigned layer;
	char name[NAME];
	if (sscanf(tensor->name, "blocks.%u.att.time_state", &layer) != 1)
		return -1;
	snprintf(name, sizeof name, "blocks.%u.att.time_state", layer);
	return strcmp(tensor->name, name) == 0 ? (int64_t)layer : -1;
}

/* The heads and N of a tensor [heads, N, N]; a single head's dimension of 1 is dropped. */
static bool shape_of(const struct tensor *tensor, uint64_t *heads, uint64_t *n)
{
	if (tensor->rank < 2 || tensor->rank > 3)
		return false;
	*heads = tensor->rank == 3 ? tensor->shape[0] : 1;
	*n = tensor->shape[tensor->rank - 1];
	return tensor->shape[tensor->rank - 2] == *n;
}

bool is_trained_state(const struct tensor *tensor)
{
	return layer_of(tensor) >= 0;
}

bool has_trained_state(const struct weights *weights)
{
	for (size_t i = 0; i < weights->count; i++)
		if (is_trained_state(&weights->tensors[i]))
			return true;
	return false;
}

rwkvk_status trained_state_sizes(const struct weights *weights, struct config *out)
{
	*out = (struct config){ 0 };
	const struct tensor *first = NULL;
	for (size_t i = 0; i < weights->count; i++) {
		int64_t layer = layer_of(&weights->tensors[i]);
		if (layer >= MOST_LAYERS)
			return fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected a layer below %d", weights->path,
			            weights->tensors[i].file_name, MOST_LAYERS);
		if (layer >= (int64_t)out->layers)
			out->layers = (uint32_t)layer + 1;
		if (layer >= 0 && !first)
			first = &weights->tensors[i];
	}
	if (!first && weights_find(weights, "emb.weight"))
		return fail(RWKVK_ERROR_FILE,
		            "%s: is a model; expected a state: a state file, or tensors such as blocks.0.att.time_state",
		            weights->path);
	if (!first)
		return fail(RWKVK_ERROR_FILE, "%s: holds no trained start state: no tensor is called blocks.0.att.time_state",
		            weights->path);
	uint64_t heads, n;
	if (!shape_of(first, &heads, &n) || n > MOST_HEAD || heads > MOST_HEADS)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected a shape [heads, N, N], found %s", weights->path,
		            first->file_name, show_shape(first->rank, first->shape).text);
	out->heads = (uint32_t)heads;
	out->head_size = out->state_width = (uint32_t)n;
	out->width = out->heads * out->head_size;
	return RWKVK_OK;
}

/* Where the matrix of layer `index` lies in a canonical state. */
static size_t matrix(const struct config *c, uint32_t index)
{
	return index * config_layer_floats(c) + STATE_S((size_t)c->width);
}

static void transpose(float *in_place, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++) {
			float held = in_place[i * n + k];
			in_place[i * n + k] = in_place[k * n + i];
			in_place[k * n + i] = held;
		}
}

static rwkvk_status find(const struct weights *weights, const struct config *c, uint32_t index, const struct tensor **out)
{
	char name[NAME];
	uint64_t heads, n;
	snprintf(name, sizeof name, "blocks.%" PRIu32 ".att.time_state", index);
	const struct tensor *tensor = weights_find(weights, name);
	if (!tensor)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s is missing: a start state has one for each of the model's %u layers",
		            weights->path, name, c->layers);
	if (tensor->type == DTYPE_FOREIGN)
		return refuse_foreign(weights, tensor);
	if (!shape_of(tensor, &heads, &n) || heads != c->heads || n != c->head_size)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected shape [%u, %u, %u], the model's, found %s", weights->path,
		            tensor->file_name, c->heads, c->head_size, c->head_size, show_shape(tensor->rank, tensor->shape).text);
	*out = tensor;
	return RWKVK_OK;
}

static rwkvk_status read_matrix(const struct weights *weights, const struct config *c, uint32_t index, float *out)
{
	const struct tensor *tensor = NULL;
	size_t n = c->head_size, count = c->heads * n * n;
	TRY(find(weights, c, index, &tensor));
	dtype_to_float(tensor->type, tensor->data, 0, count, out);
	for (size_t i = 0; i < count; i++)
		if (!isfinite(out[i]))
			return fail(RWKVK_ERROR_FILE, "%s: tensor %s: number %zu is %g; a state holds finite numbers", weights->path,
			            tensor->file_name, i, (double)out[i]);
	bool stored_by_value = !tensor->swapped, wanted_by_value = c->version == 70;
	for (uint32_t h = 0; h < c->heads && stored_by_value != wanted_by_value; h++)
		transpose(out + h * n * n, n);
	return RWKVK_OK;
}

static rwkvk_status expect_matrices(const char *path, const struct config *c)
{
	if (c->version != 40)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: expected a model of RWKV-5, 6 or 7, found RWKV-4, whose state has no matrix that could be trained", path);
}

rwkvk_status trained_state(const struct weights *weights, const struct config *config, float *state)
{
	struct config found;
	TRY(expect_matrices(weights->path, config));
	TRY(trained_state_sizes(weights, &found));
	if (found.layers > config->layers)
		return fail(RWKVK_ERROR_FILE, "%s: is the start state of a model with %u layers; this one has %u", weights->path,
		            found.layers, config->layers);
	memset(state, 0, config_state_floats(config) * sizeof *state);
	for (uint32_t i = 0; i < config->layers; i++)
		TRY(read_matrix(weights, config, i, state + matrix(config, i)));
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- writing */

static void put(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* The content of the file. */
static bool list_matrices(const struct config *c, struct output_list *list)
{
	for (uint32_t i = 0; i < c->layers; i++) {
		struct output *output = output_add(list);
		if (!output)
			return false;
		snprintf(output->name, sizeof output->name, "blocks.%u.att.time_state", i);
		output->type = DTYPE_F32;
		output->rank = 3;
		output->shape[0] = c->heads;
		output->shape[1] = output->shape[2] = c->head_size;
	}
	return true;
}

static rwkvk_status make_head(const struct config *c, const char *path, uint8_t **head, size_t *bytes)
{
	struct output_list list = { 0 };
	rwkvk_status status = list_matrices(c, &list) ? safetensors_head(&list, path, NULL, 0, head, bytes)
	                                              : fail(RWKVK_ERROR_MEMORY, "%s: no memory for its names", path);
	output_finish(&list);
	return status;
}

static void write_matrix(const struct config *c, const float *in, uint8_t *out)
{
	size_t n = c->head_size;
	for (uint32_t h = 0; h < c->heads; h++, in += n * n)
		for (size_t value = 0; value < n; value++)
			for (size_t key = 0; key < n; key++, out += 4)
				put(out, bits_of_float(c->version == 70 ? in[value * n + key] : in[key * n + value]));
}

rwkvk_status trained_state_write(const char *path, const struct config *config, const float *state)
{
	TRY(expect_matrices(path, config));
	size_t layer = (size_t)config->width * config->head_size * sizeof(float), head_bytes = 0;
	uint8_t *head = NULL, *data = malloc(config->layers * layer);
	rwkvk_status status =
		data ? make_head(config, path, &head, &head_bytes)
			 : fail(RWKVK_ERROR_MEMORY, "%s: no memory for a state of %" PRIu64 " floats", path, config_state_floats(config));
	for (uint32_t i = 0; i < config->layers && status == RWKVK_OK; i++)
		write_matrix(config, state + matrix(config, i), data + i * layer);
	if (status == RWKVK_OK)
		status = file_write(path, head, head_bytes, data, config->layers * layer);
	free(head);
	free(data);
	return status;
}
