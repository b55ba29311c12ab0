/* The header of a GGUF v3 file, keys and tensor entries, which grow in two buffers; and small files as a whole, whose data
 * grows in a third. */
#include "format/gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "format/weights.h"

enum { ALIGNMENT = GGUF_ALIGNMENT, MAX_DIMENSIONS = 4 };
enum { VALUE_U32 = 4, VALUE_I32 = 5, VALUE_F32 = 6, VALUE_BOOL = 7, VALUE_STRING = 8, VALUE_ARRAY = 9 };

static const uint32_t ggml_type[DTYPE_COUNT] = {
	[DTYPE_F32] = 0,   [DTYPE_F16] = 1,   [DTYPE_BF16] = 30, [DTYPE_Q8_0] = 8,    [DTYPE_Q4_0] = 2,
	[DTYPE_Q4_1] = 3,  [DTYPE_Q5_0] = 6,  [DTYPE_Q5_1] = 7,  [DTYPE_Q2_K] = 10,   [DTYPE_Q3_K] = 11,
	[DTYPE_Q4_K] = 12, [DTYPE_Q5_K] = 13, [DTYPE_Q6_K] = 14, [DTYPE_IQ4_NL] = 20,
};

struct buffer {
	uint8_t *data;
	size_t bytes, capacity;
};

struct gguf_writer {
	struct buffer keys, entries, data;
	uint64_t key_count, tensor_count;
	uint64_t offset;     /* where the next tensor's data begins */
	rwkvk_status status; /* of the first failure */
	char reason[256];
};

static void give_up(struct gguf_writer *w, rwkvk_status status, const char *what, const char *name)
{
	if (w->status != RWKVK_OK)
		return;
	w->status = status;
	snprintf(w->reason, sizeof w->reason, "%.100s %s", what, show_text(name, strlen(name)).text);
}

/* Room for `bytes` more, which become part of the buffer; NULL after any failure. */
static uint8_t *extend(struct gguf_writer *w, struct buffer *buffer, uint64_t bytes)
{
	if (w->status != RWKVK_OK)
		return NULL;
	if (bytes > SIZE_MAX / 4 || buffer->bytes > SIZE_MAX / 4) {
		give_up(w, RWKVK_ERROR_MEMORY, "no memory for", "this much data");
		return NULL;
	}
	size_t need = buffer->bytes + (size_t)bytes;
	if (need > buffer->capacity) {
		size_t capacity = need + need / 2 + 4096;
		uint8_t *data = realloc(buffer->data, capacity);
		if (!data) {
			give_up(w, RWKVK_ERROR_MEMORY, "no memory for", "its content");
			return NULL;
		}
		buffer->data = data;
		buffer->capacity = capacity;
	}
	uint8_t *start = buffer->data + buffer->bytes;
	buffer->bytes = need;
	return start;
}

static void append(struct gguf_writer *w, struct buffer *buffer, const void *data, uint64_t bytes)
{
	uint8_t *to = extend(w, buffer, bytes);
	if (to && bytes)
		memcpy(to, data, bytes);
}

static void append_u32(struct gguf_writer *w, struct buffer *buffer, uint32_t value)
{
	append(w, buffer, &value, sizeof value);
}

static void append_u64(struct gguf_writer *w, struct buffer *buffer, uint64_t value)
{
	append(w, buffer, &value, sizeof value);
}

static void append_string(struct gguf_writer *w, struct buffer *buffer, const char *text, uint64_t bytes)
{
	append_u64(w, buffer, bytes);
	append(w, buffer, text, bytes);
}

static void align(struct gguf_writer *w, struct buffer *buffer)
{
	static const uint8_t zeros[ALIGNMENT];
	append(w, buffer, zeros, (ALIGNMENT - buffer->bytes % ALIGNMENT) % ALIGNMENT);
}

struct gguf_writer *gguf_writer_create(void)
{
	return calloc(1, sizeof(struct gguf_writer));
}

/* Name and type of a key, and its value unless it is an array. */
static void put(struct gguf_writer *w, const char *key, uint32_t type, const void *value, size_t bytes)
{
	if (!w)
		return;
	append_string(w, &w->keys, key, strlen(key));
	append_u32(w, &w->keys, type);
	append(w, &w->keys, value, bytes);
	w->key_count++;
}

static void put_array(struct gguf_writer *w, const char *key, uint32_t element, uint64_t count)
{
	put(w, key, VALUE_ARRAY, NULL, 0);
	append_u32(w, &w->keys, element);
	append_u64(w, &w->keys, count);
}

void gguf_put_string(struct gguf_writer *w, const char *key, const char *value)
{
	if (!w)
		return;
	put(w, key, VALUE_STRING, NULL, 0);
	append_string(w, &w->keys, value, strlen(value));
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
	put(w, key, VALUE_U32, &value, sizeof value);
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float value)
{
	put(w, key, VALUE_F32, &value, sizeof value);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool value)
{
	uint8_t byte = value;
	put(w, key, VALUE_BOOL, &byte, sizeof byte);
}

void gguf_put_strings(struct gguf_writer *w, const char *key, const char *const *values, const size_t *bytes, uint64_t count)
{
	if (!w)
		return;
	put_array(w, key, VALUE_STRING, count);
	for (uint64_t i = 0; i < count; i++)
		append_string(w, &w->keys, values[i], bytes[i]);
}

void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *values, uint64_t count)
{
	if (!w)
		return;
	put_array(w, key, VALUE_I32, count);
	append(w, &w->keys, values, count * sizeof *values);
}

void gguf_put_raw(struct gguf_writer *w, const void *key, uint64_t bytes)
{
	if (!w)
		return;
	append(w, &w->keys, key, bytes);
	w->key_count++;
}

void gguf_put_entry(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape)
{
	uint64_t bytes;
	if (!w)
		return;
	if (rank < 1 || rank > MAX_DIMENSIONS || !dtype_bytes(type, rank, shape, &bytes)) {
		give_up(w, RWKVK_ERROR_ARGUMENT, "rank or row length do not fit the type of tensor", name);
		return;
	}
	append_string(w, &w->entries, name, strlen(name));
	append_u32(w, &w->entries, rank);
	for (uint32_t i = rank; i > 0; i--)
		append_u64(w, &w->entries, shape[i - 1]);
	append_u32(w, &w->entries, ggml_type[type]);
	append_u64(w, &w->entries, w->offset);
	w->tensor_count++;
	w->offset += bytes + (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
}

/* An entry, and room for its data. */
static uint8_t *add_tensor(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape)
{
	uint64_t start = w->offset;
	gguf_put_entry(w, name, type, rank, shape);
	uint8_t *to = extend(w, &w->data, w->offset - start);
	if (to && w->offset > start)
		memset(to + (w->offset - start) - ALIGNMENT, 0, ALIGNMENT);
	return to;
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape,
                     const float *data)
{
	uint64_t bytes = 0;
	if (!w)
		return;
	if (!dtype_is_encodable(type)) {
		give_up(w, RWKVK_ERROR_UNSUPPORTED, "this version reads but does not make the type of tensor", name);
		return;
	}
	uint8_t *to = add_tensor(w, name, type, rank, shape);
	if (to && dtype_bytes(type, rank, shape, &bytes))
		dtype_from_float(type, data, bytes / dtype_info[type].bytes * dtype_info[type].block, to);
}

void gguf_put_stored(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape,
                     const void *data)
{
	uint64_t bytes = 0;
	if (!w)
		return;
	uint8_t *to = add_tensor(w, name, type, rank, shape);
	if (to && dtype_bytes(type, rank, shape, &bytes))
		memcpy(to, data, bytes);
}

static void destroy(struct gguf_writer *w)
{
	free(w->keys.data);
	free(w->entries.data);
	free(w->data.data);
	free(w);
}

/* *out: owned by the caller, also after a failure. */
static rwkvk_status make_head(struct gguf_writer *w, const char *path, struct buffer *out)
{
	*out = (struct buffer){ 0 };
	append(w, out, "GGUF", 4);
	append_u32(w, out, 3);
	append_u64(w, out, w->tensor_count);
	append_u64(w, out, w->key_count);
	append(w, out, w->keys.data, w->keys.bytes);
	append(w, out, w->entries.data, w->entries.bytes);
	align(w, out);
	if (w->status != RWKVK_OK)
		return fail(w->status, "%s: cannot be written: %s", path, w->reason);
	return RWKVK_OK;
}

rwkvk_status gguf_writer_head(struct gguf_writer *w, const char *path, uint8_t **head, size_t *bytes)
{
	struct buffer buffer;
	*head = NULL;
	if (!w)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory to write it", path);
	rwkvk_status status = make_head(w, path, &buffer);
	if (status == RWKVK_OK) {
		*head = buffer.data;
		*bytes = buffer.bytes;
	} else {
		free(buffer.data);
	}
	destroy(w);
	return status;
}

rwkvk_status gguf_writer_finish(struct gguf_writer *w, const char *path)
{
	struct buffer head;
	if (!w)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory to write it", path);
	rwkvk_status status = make_head(w, path, &head);
	if (status == RWKVK_OK)
		status = file_write(path, head.data, head.bytes, w->data.data, w->data.bytes);
	free(head.data);
	destroy(w);
	return status;
}
