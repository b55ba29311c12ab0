/* safetensors: header length u64, a JSON object {name: {dtype, shape, data_offsets: [begin, end]}}, then the data, which
 * the tensors must cover without gap or overlap.  What names they bear is in dialects.c. */
#include "format/dialects.h"
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { PREFIX_BYTES = 8, MAX_HEADER_BYTES = 100000000, MAX_DIMENSIONS = 8, NAME_BYTES = 256 };

static rwkvk_status read_dtype(const struct weights *weights, const char *name, const json_t *tensor, enum dtype *out)
{
	const char *dtype = json_string_value(json_object_get(tensor, "dtype"));
	if (!dtype)
		return fail(RWKVK_ERROR_FILE, "%s: expected a string \"dtype\" for tensor %s, found none", weights->path, name);
	for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++)
		if (strcmp(dtype, dtype_info[type].name) == 0) {
			*out = type;
			return RWKVK_OK;
		}
	*out = DTYPE_FOREIGN;
	return RWKVK_OK;
}

/* An array of `least` to `most` integers that are not negative. */
static rwkvk_status read_integers(const struct weights *weights, const char *name, const json_t *tensor, const char *key,
                                  size_t least, size_t most, uint64_t *out, uint32_t *count)
{
	const json_t *array = json_object_get(tensor, key);
	size_t n = json_array_size(array);
	const char *wrong = !array ? "none" : !json_is_array(array) ? "another type" : NULL;
	if (!wrong && (n < least || n > most))
		wrong = "another length";
	if (wrong)
		return fail(RWKVK_ERROR_FILE, "%s: expected \"%s\" of tensor %s to be an array of %zu to %zu integers, found %s",
		            weights->path, key, name, least, most, wrong);
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(array, i);
		if (!json_is_integer(item) || json_integer_value(item) < 0)
			return fail(RWKVK_ERROR_FILE,
			            "%s: expected \"%s\" of tensor %s to hold integers of 0 or more, found something else at index %zu",
			            weights->path, key, name, i);
		out[i] = (uint64_t)json_integer_value(item);
	}
	*count = (uint32_t)n;
	return RWKVK_OK;
}

static rwkvk_status read_tensor(struct weights *weights, const struct mapping *file, const char *name, const json_t *tensor,
                                uint64_t data_start)
{
	enum dtype type = DTYPE_F32;
	uint64_t shape[MAX_DIMENSIONS], offsets[2] = { 0 }, room = file->bytes - data_start;
	uint32_t rank = 0, two = 0;
	struct shown shown = show_text(name, strlen(name));
	const char *safe = shown.text;
	if (strlen(name) >= NAME_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor names below %d characters, found %s", weights->path, NAME_BYTES,
		            safe);
	if (!json_is_object(tensor))
		return fail(RWKVK_ERROR_FILE, "%s: expected a JSON object for tensor %s, found something else", weights->path, safe);
	TRY(read_dtype(weights, safe, tensor, &type));
	TRY(read_integers(weights, safe, tensor, "shape", 0, MAX_DIMENSIONS, shape, &rank));
	TRY(read_integers(weights, safe, tensor, "data_offsets", 2, 2, offsets, &two));
	if (offsets[0] > offsets[1])
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected \"data_offsets\" of tensor %s to be in order, found [%" PRIu64 ", %" PRIu64 "]",
		            weights->path, safe, offsets[0], offsets[1]);
	if (offsets[1] > room)
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s ends at byte %" PRIu64 " of the data, but the file holds %" PRIu64
		            " bytes of data: it is truncated (an incomplete download?)",
		            weights->path, safe, offsets[1], room);
	if (type == DTYPE_FOREIGN)
		return weights_add_foreign(weights, file, name, json_string_value(json_object_get(tensor, "dtype")), rank, shape,
		                           data_start + offsets[0], offsets[1] - offsets[0]);
	return weights_add(weights, file, name, name, type, rank, shape, data_start + offsets[0], offsets[1] - offsets[0]);
}

static int by_data(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;
	return x->data < y->data ? -1 : x->data > y->data;
}

/* The format allows no byte that belongs to no tensor, and none that belongs to two. */
static rwkvk_status check_coverage(struct weights *weights, const struct mapping *file, size_t first, uint64_t data_start)
{
	const uint8_t *next = file->data + data_start, *end = file->data + file->bytes;
	if (weights->count > first)
		qsort(weights->tensors + first, weights->count - first, sizeof *weights->tensors, by_data);
	for (size_t i = first; i < weights->count; i++) {
		const struct tensor *tensor = &weights->tensors[i];
		if (tensor->data != next)
			return fail(RWKVK_ERROR_FILE,
			            "%s: expected tensors without gap or overlap, found tensor %s at byte %td of the file instead of %td",
			            weights->path, tensor->file_name, (const uint8_t *)tensor->data - file->data, next - file->data);
		next += tensor->bytes;
	}
	if (next != end)
		return fail(RWKVK_ERROR_FILE, "%s: expected the tensors to fill the file, found %td bytes after the last one",
		            weights->path, end - next);
	return RWKVK_OK;
}

/* Values of metadata are texts; this one is a number in JSON. */
static rwkvk_status read_epsilon(struct weights *weights, const json_t *text)
{
	if (!text)
		return RWKVK_OK;
	const char *digits = json_is_string(text) ? json_string_value(text) : "";
	double value = text_number(digits);
	if (!(value >= 1e-30 && value <= 1))
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected \"" SAFETENSORS_EPSILON "\" in \"__metadata__\" to be a number from 1e-30 to 1, found \"%s\"",
		            weights->path, show_text(digits, strlen(digits)).text);
	weights->metadata.group_norm_epsilon = (float)value;
	return RWKVK_OK;
}

static rwkvk_status read_metadata(struct weights *weights, const json_t *object)
{
	if (!json_is_object(object))
		return fail(RWKVK_ERROR_FILE, "%s: expected \"__metadata__\" to be a JSON object, found something else", weights->path);
	const char *key;
	json_t *value;
	bool first = weights->metadata.text_count == 0;              /* of several files */
	json_object_foreach((json_t *)(uintptr_t)object, key, value) /* which only lists them */
	{
		const char *text = json_string_value(value);
		if (first && text)
			TRY(weights_add_text(weights, key, strlen(key), text, json_string_length(value), 1));
	}
	TRY(read_epsilon(weights, json_object_get(object, SAFETENSORS_EPSILON)));
	const json_t *name = json_object_get(object, "name");
	if (!name || weights->metadata.name)
		return RWKVK_OK;
	if (!json_is_string(name))
		return fail(RWKVK_ERROR_FILE, "%s: expected \"name\" in \"__metadata__\" to be a string, found something else",
		            weights->path);
	weights->metadata.name = strdup(json_string_value(name));
	if (!weights->metadata.name)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the model's name", weights->path);
	for (char *p = weights->metadata.name; *p; p++) /* UTF-8 already, says jansson */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return RWKVK_OK;
}

static rwkvk_status read_header(struct weights *weights, const struct mapping *file, json_t *header, uint64_t data_start)
{
	size_t first = weights->count;
	const char *key;
	json_t *value;
	if (!json_is_object(header))
		return fail(RWKVK_ERROR_FILE, "%s: expected a JSON object as safetensors header, found something else", weights->path);
	json_object_foreach(header, key, value)
	{
		if (strcmp(key, "__metadata__") == 0)
			TRY(read_metadata(weights, value));
		else
			TRY(read_tensor(weights, file, key, value, data_start));
	}
	return check_coverage(weights, file, first, data_start);
}

rwkvk_status safetensors_add(struct weights *weights, const struct mapping *file)
{
	uint64_t bytes;
	json_error_t error;
	if (!safetensors_is(file))
		return fail(RWKVK_ERROR_FILE, "%s: expected a safetensors file, found something else", weights->path);
	memcpy(&bytes, file->data, sizeof bytes);
	if (bytes > MAX_HEADER_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected a safetensors header of at most %d bytes, found one of %" PRIu64,
		            weights->path, MAX_HEADER_BYTES, bytes);
	if (bytes > file->bytes - PREFIX_BYTES)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a safetensors header of %" PRIu64 " bytes, but the file ends at byte %" PRIu64
		            ": it is truncated (an incomplete download?)",
		            weights->path, bytes, file->bytes);
	json_t *header = json_loadb((const char *)file->data + PREFIX_BYTES, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
	if (!header && json_error_code(&error) == json_error_out_of_memory)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the header of %" PRIu64 " bytes", weights->path, bytes);
	if (!header)
		return fail(RWKVK_ERROR_FILE, "%s: the safetensors header is not valid JSON: %s (byte %d of %" PRIu64 ")",
		            weights->path, show_text(error.text, strlen(error.text)).text, error.position, bytes);
	rwkvk_status status = read_header(weights, file, header, PREFIX_BYTES + bytes);
	json_decref(header);
	return status;
}

rwkvk_status safetensors_read(struct weights *weights)
{
	snprintf(weights->format, sizeof weights->format, "safetensors");
	if (!weights->alone)
		TRY(shards_refuse_part(weights->path));
	TRY(safetensors_add(weights, &weights->mapping));
	return weights_rename(weights, NAMES_TORCH);
}
