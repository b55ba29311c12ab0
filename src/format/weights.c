/* The list of tensors and metadata that readers fill. */
#include "format/merge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- messages */

struct shown show_text(const void *text, uint64_t bytes)
{
	struct shown shown;
	const uint8_t *from = text;
	size_t room = sizeof shown.text - 4, n = bytes < room ? (size_t)bytes : room;
	for (size_t i = 0; i < n; i++)
		shown.text[i] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i] : '?';
	strcpy(shown.text + n, bytes > room ? "..." : "");
	return shown;
}

struct shown show_shape(uint32_t rank, const uint64_t *shape)
{
	struct shown shown = { "[" };
	size_t n = 1;
	for (uint32_t i = 0; i < rank && n + 24 < sizeof shown.text; i++)
		n += (size_t)snprintf(shown.text + n, sizeof shown.text - n, "%s%" PRIu64, i ? ", " : "", shape[i]);
	strcpy(shown.text + n, "]");
	return shown;
}

/* ---------------------------------------------------------------------------------------------------- the list */

uint64_t tensor_elements(const struct tensor *tensor)
{
	uint64_t count = 1;
	for (uint32_t i = 0; i < tensor->rank; i++)
		count *= tensor->shape[i];
	return count;
}

/* Names go to terminals and JSON: anything but visible ASCII means a damaged or hostile file. */
static bool name_is_plain(const char *name)
{
	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return *name != 0;
}

/* Bytes of an element of the types that safetensors and PyTorch name; 0: not known. */
static uint32_t foreign_bytes(const char *type)
{
	static const struct {
		const char *name;
		uint32_t bytes;
	} types[] = { { "F64", 8 }, { "I64", 8 }, { "U64", 8 }, { "I32", 4 },  { "U32", 4 }, { "I16", 2 },
		          { "U16", 2 }, { "I8", 1 },  { "U8", 1 },  { "BOOL", 1 }, { "C64", 8 }, { "C128", 16 } };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i].name, type) == 0)
			return types[i].bytes;
	return 0;
}

uint64_t weights_foreign_bytes(const char *type, uint32_t rank, const uint64_t *shape)
{
	uint64_t bytes = foreign_bytes(type);
	for (uint32_t i = 0; i < rank; i++) {
		if (shape[i] && bytes > UINT64_MAX / shape[i])
			return UINT64_MAX;
		bytes *= shape[i];
	}
	return bytes;
}

const char *tensor_type(const struct tensor *tensor)
{
	return tensor->type == DTYPE_FOREIGN ? tensor->foreign : dtype_info[tensor->type].name;
}

static bool has_data(uint32_t rank, const uint64_t *shape)
{
	for (uint32_t i = 0; i < rank; i++)
		if (shape[i] == 0)
			return false;
	return true;
}

static rwkvk_status check_place(const struct weights *weights, const struct mapping *in, const char *name, uint64_t offset,
                                uint64_t bytes)
{
	if (offset <= in->bytes && bytes <= in->bytes - offset)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE,
	            "%s: tensor %s needs %" PRIu64 " bytes from byte %" PRIu64 " on, but the file ends at byte %" PRIu64
	            ": it is truncated (an incomplete download?)",
	            weights->path, name, bytes, offset, in->bytes);
}

static rwkvk_status check_tensor(const struct weights *weights, const struct mapping *in, const char *name, enum dtype type,
                                 uint32_t rank, const uint64_t *shape, uint64_t offset, uint64_t bytes)
{
	const char *path = weights->path;
	uint64_t need;
	if (!name_is_plain(name))
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor names in plain ASCII, found \"%s\": the file is damaged", path,
		            show_text(name, strlen(name)).text);
	if (!dtype_bytes(type, rank, shape, &need))
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s has the shape %s, which cannot be stored as %s (rows in blocks of %" PRIu32
		            ", 64-bit sizes): the file is damaged",
		            path, name, show_shape(rank, shape).text, dtype_info[type].name, dtype_info[type].block);
	if (need == 0)
		return fail(RWKVK_ERROR_FILE, "%s: expected tensors with data, found tensor %s of shape %s", path, name,
		            show_shape(rank, shape).text);
	if (bytes != need)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s: %s of shape %s takes %" PRIu64 " bytes, but the file gives it %" PRIu64,
		            path, name, dtype_info[type].name, show_shape(rank, shape).text, need, bytes);
	return check_place(weights, in, name, offset, bytes);
}

/* The capacity is not stored: it is 64, then doubles whenever the count reaches a power of two. */
static bool grow(struct weights *weights)
{
	size_t count = weights->count;
	if (count != 0 && (count < 64 || (count & (count - 1))))
		return true;
	size_t capacity = count ? 2 * count : 64;
	struct tensor *tensors = realloc(weights->tensors, capacity * sizeof *tensors);
	if (tensors)
		weights->tensors = tensors;
	return tensors != NULL;
}

rwkvk_status weights_append(struct weights *weights, const struct tensor *tensor)
{
	struct tensor copy = *tensor;
	copy.name = strdup(tensor->name);
	copy.file_name = strdup(tensor->file_name);
	if (!copy.name || !copy.file_name || !grow(weights)) {
		free(copy.name);
		free(copy.file_name);
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the list of tensors", weights->path);
	}
	weights->tensors[weights->count++] = copy;
	return RWKVK_OK;
}

static rwkvk_status add_tensor(struct weights *weights, const char *name, const char *file_name, struct tensor tensor,
                               uint32_t rank, const uint64_t *shape)
{
	for (uint32_t i = 0; i < rank; i++) {
		if (shape[i] == 1)
			continue;
		if (tensor.rank == sizeof tensor.shape / sizeof *tensor.shape)
			return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected tensors of at most 4 dimensions, found %s of shape %s",
			            weights->path, file_name, show_shape(rank, shape).text);
		tensor.shape[tensor.rank++] = shape[i];
	}
	if (tensor.rank == 0)
		tensor.shape[tensor.rank++] = 1;
	tensor.name = (char *)(uintptr_t)name; /* weights_append() takes copies */
	tensor.file_name = (char *)(uintptr_t)file_name;
	return weights_append(weights, &tensor);
}

rwkvk_status weights_add(struct weights *weights, const struct mapping *in, const char *name, const char *file_name,
                         enum dtype type, uint32_t rank, const uint64_t *shape, uint64_t offset, uint64_t bytes)
{
	TRY(check_tensor(weights, in, file_name, type, rank, shape, offset, bytes));
	const struct tensor tensor = { .type = type, .data = in->data + offset, .bytes = bytes };
	return add_tensor(weights, name, file_name, tensor, rank, shape);
}

rwkvk_status weights_add_foreign(struct weights *weights, const struct mapping *in, const char *name, const char *type,
                                 uint32_t rank, const uint64_t *shape, uint64_t offset, uint64_t bytes)
{
	uint64_t need = weights_foreign_bytes(type, rank, shape);
	struct tensor tensor = { .type = DTYPE_FOREIGN, .bytes = bytes };
	if (!name_is_plain(name) || !name_is_plain(type) || strlen(type) >= sizeof tensor.foreign)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected names of tensors and types in plain ASCII, found \"%s\" of type \"%s\": the file is damaged",
		            weights->path, show_text(name, strlen(name)).text, show_text(type, strlen(type)).text);
	if (bytes == 0 || !has_data(rank, shape))
		return fail(RWKVK_ERROR_FILE, "%s: expected tensors with data, found tensor %s of shape %s", weights->path, name,
		            show_shape(rank, shape).text);
	if (need && need != bytes)
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s: %s of shape %s does not take the %" PRIu64 " bytes that the file gives it", weights->path,
		            name, type, show_shape(rank, shape).text, bytes);
	TRY(check_place(weights, in, name, offset, bytes));
	tensor.data = in->data + offset;
	strcpy(tensor.foreign, type);
	return add_tensor(weights, name, name, tensor, rank, shape);
}

static rwkvk_status add_part(struct weights *weights, const struct mapping **out)
{
	struct mapping *parts = realloc(weights->parts, (weights->part_count + 1) * sizeof *parts);
	if (!parts)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for another part", weights->path);
	weights->parts = parts;
	parts[weights->part_count] = (struct mapping){ 0 };
	*out = &parts[weights->part_count++];
	return RWKVK_OK;
}

rwkvk_status weights_map(struct weights *weights, const char *path, const struct mapping **out)
{
	TRY(add_part(weights, out));
	struct mapping *part = &weights->parts[weights->part_count - 1];
	return weights->read_files ? file_read(path, part) : file_map(path, part);
}

rwkvk_status weights_allocate(struct weights *weights, uint64_t bytes, const struct mapping **out)
{
	TRY(add_part(weights, out));
	void *data = bytes <= SIZE_MAX ? calloc((size_t)bytes, 1) : NULL;
	if (!data)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for %" PRIu64 " bytes", weights->path, bytes);
	weights->parts[weights->part_count - 1] = (struct mapping){ .data = data, .bytes = bytes };
	return RWKVK_OK;
}

void weights_remove(struct weights *weights, size_t index)
{
	free(weights->tensors[index].name);
	free(weights->tensors[index].file_name);
	weights->count--;
	memmove(&weights->tensors[index], &weights->tensors[index + 1], (weights->count - index) * sizeof *weights->tensors);
}

rwkvk_status weights_take_memory(struct weights *weights, struct weights *from)
{
	size_t count = from->part_count + 1;
	struct mapping *parts = realloc(weights->parts, (weights->part_count + count) * sizeof *parts);
	if (!parts)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for another part", weights->path);
	weights->parts = parts;
	parts[weights->part_count] = from->mapping;
	if (from->part_count)
		memcpy(parts + weights->part_count + 1, from->parts, from->part_count * sizeof *parts);
	weights->part_count += count;
	from->mapping = (struct mapping){ 0 };
	from->part_count = 0;
	return RWKVK_OK;
}

const struct tensor *weights_find(const struct weights *weights, const char *name)
{
	for (size_t i = 0; i < weights->count; i++)
		if (strcmp(weights->tensors[i].name, name) == 0)
			return &weights->tensors[i];
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- metadata */

static char *copy_text(const void *text, size_t bytes)
{
	char *copy = malloc(bytes + 1);
	if (copy) {
		memcpy(copy, text, bytes);
		copy[bytes] = 0;
	}
	return copy;
}

rwkvk_status weights_add_text(struct weights *weights, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                              uint64_t items)
{
	struct metadata *m = &weights->metadata;
	if ((m->text_count & (m->text_count - 1)) == 0) { /* full at every power of two */
		size_t capacity = m->text_count ? 2 * m->text_count : 1;
		struct metadata_text *more = realloc(m->texts, capacity * sizeof *more);
		if (!more)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the metadata", weights->path);
		m->texts = more;
	}
	struct metadata_text text = { .key = copy_text(key, key_bytes), .value_bytes = value_bytes, .items = items };
	text.value = value ? copy_text(value, value_bytes) : NULL;
	if (!text.key || (value && !text.value)) {
		free(text.key);
		free(text.value);
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the metadata", weights->path);
	}
	m->texts[m->text_count++] = text;
	return RWKVK_OK;
}

const char *weights_text(const struct weights *weights, const char *key)
{
	for (size_t i = 0; i < weights->metadata.text_count; i++)
		if (strcmp(weights->metadata.texts[i].key, key) == 0)
			return weights->metadata.texts[i].value;
	return NULL;
}

const rwkvk_sampling usual_sampling = {
	.temperature = 1.0f, .top_p = 0.3f, .presence = 0.5f, .frequency = 0.5f, .decay = 0.996f
};

void weights_close(struct weights *weights)
{
	for (size_t i = 0; i < weights->count; i++) {
		free(weights->tensors[i].name);
		free(weights->tensors[i].file_name);
	}
	free(weights->tensors);
	for (size_t i = 0; i < weights->merge_count; i++)
		merge_destroy(weights->merges[i]);
	free(weights->merges);
	free(weights->metadata.name);
	free(weights->metadata.architecture);
	free(weights->metadata.token_text);
	free(weights->metadata.token_bytes);
	free((void *)weights->metadata.token_type);
	free(weights->metadata.keys);
	for (size_t i = 0; i < weights->metadata.text_count; i++) {
		free(weights->metadata.texts[i].key);
		free(weights->metadata.texts[i].value);
	}
	free(weights->metadata.texts);
	free(weights->path);
	for (size_t i = 0; i < weights->part_count; i++) {
		if (weights->parts[i].mapped)
			file_unmap(&weights->parts[i]);
		else
			free((void *)(uintptr_t)weights->parts[i].data);
	}
	free(weights->parts);
	if (weights->mapping.mapped)
		file_unmap(&weights->mapping);
	*weights = (struct weights){ 0 };
}
