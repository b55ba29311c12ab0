/* What must hold for any weights that a reader accepted, whatever the file was. */
#ifndef RWKVK_FUZZ_CHECK_WEIGHTS_H
#define RWKVK_FUZZ_CHECK_WEIGHTS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "format/dialects.h"
#include "format/readers.h"
#include "format/weights.h"

#define CHECK(condition)                                                                                                       \
	do {                                                                                                                       \
		if (!(condition))                                                                                                      \
			abort();                                                                                                           \
	} while (0)

static bool lies_in(const struct tensor *tensor, const struct mapping *mapping)
{
	const uint8_t *data = tensor->data;
	return data >= mapping->data && data <= mapping->data + mapping->bytes &&
	       tensor->bytes <= mapping->bytes - (uint64_t)(data - mapping->data);
}

static void check_tensor(const struct weights *weights, const struct tensor *tensor)
{
	uint64_t bytes, count = 1;
	float values[2 * DTYPE_LARGEST_BLOCK];
	CHECK(tensor->rank >= 1 && tensor->rank <= 4 && tensor->name[0] && tensor->file_name[0]);
	bool foreign = tensor->type == DTYPE_FOREIGN;
	CHECK(tensor->bytes > 0 && tensor_type(tensor)[0] && strlen(tensor_type(tensor)) < sizeof tensor->foreign);
	CHECK(foreign || (dtype_bytes(tensor->type, tensor->rank, tensor->shape, &bytes) && bytes == tensor->bytes));
	bool found = lies_in(tensor, &weights->mapping);
	for (size_t i = 0; i < weights->part_count; i++)
		found = found || lies_in(tensor, &weights->parts[i]);
	CHECK(found);
	for (uint32_t i = 0; i < tensor->rank; i++)
		count *= tensor->shape[i];
	uint64_t some = foreign ? 0 : dtype_info[tensor->type].block;
	if (!foreign) {
		dtype_to_float(tensor->type, tensor->data, 0, some, values);
		dtype_to_float(tensor->type, tensor->data, count - some, some, values + some); /* the very last bytes */
	}
	CHECK(strcmp(weights_find(weights, tensor->name)->name, tensor->name) == 0);
	for (enum naming naming = NAMES_GGUF_RWKV4; naming <= NAMES_GGUF_RWKV7; naming++) {
		struct gguf_name name;
		if (weights_gguf_name(weights, naming, tensor->name, &name))
			CHECK(name.text[0] && strlen(name.text) < sizeof name.text && name.rows <= 8 &&
			      (!name.rows || name.row[name.rows - 1]));
	}
}

static void check_weights(const struct weights *weights)
{
	const struct metadata *metadata = &weights->metadata;
	const rwkvk_sampling *sampling = &metadata->sampling;
	uint64_t sum = 0;
	for (size_t i = 0; i < weights->count && i < 200; i++)
		check_tensor(weights, &weights->tensors[i]);
	for (uint64_t i = 0; i < metadata->token_count; i++)
		for (uint64_t j = 0; j < metadata->token_bytes[i]; j++)
			sum += metadata->token_text[i][j];
	for (uint64_t i = 0; metadata->token_type && i < metadata->token_count; i++)
		sum += (uint64_t)metadata->token_type[i];
	for (uint64_t i = 0; i < metadata->key_count; i++)
		sum += metadata->keys[i].data[0] + metadata->keys[i].data[metadata->keys[i].bytes - 1];
	volatile uint64_t touched = sum; /* the reads must happen */
	(void)touched;
	CHECK(sampling->temperature >= 0 && sampling->top_p >= 0 && sampling->decay >= 0 && sampling->decay <= 1);
	CHECK(sampling->presence - sampling->presence == 0 && sampling->frequency - sampling->frequency == 0);
	CHECK(!metadata->name || strlen(metadata->name) <= weights->mapping.bytes);
}

/* A refusal is a sentence that names the file and is safe to show on a terminal, whatever the file contains. */
static void check_refusal(rwkvk_status status, const char *path)
{
	const char *text = rwkvk_last_error();
	CHECK(status == RWKVK_ERROR_FILE || status == RWKVK_ERROR_UNSUPPORTED);
	CHECK(strncmp(text, path, strlen(path)) == 0);
	for (; *text; text++)
		CHECK(*text >= 0x20 && *text < 0x7f);
}

static inline int fuzz_weights(const uint8_t *data, size_t bytes)
{
	struct weights weights;
	rwkvk_status status = weights_open("fuzz input", data, bytes, NULL, &weights);
	if (status == RWKVK_OK)
		check_weights(&weights);
	else
		check_refusal(status, "fuzz input: ");
	weights_close(&weights);
	return 0;
}

#endif
