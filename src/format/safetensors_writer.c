/* The header of a safetensors file: the length of a JSON object, which names the tensors and says where their data is. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/numbers.h"
#include "format/output.h"
#include "format/readers.h"

enum { ALIGNMENT = 8 }; /* of the data, as the format's own writers keep it; blanks after the JSON fill up */

static const char *const dtype_names[] = { [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16" };

/* *at: where the tensor's data begins, and then ends. */
static json_t *describe(const struct output *output, uint64_t *at)
{
	uint64_t bytes = output_bytes(output);
	const char *type = output->type == DTYPE_FOREIGN ? output->source[0]->foreign : dtype_names[output->type];
	json_t *shape = json_array();
	for (uint32_t i = 0; i < output->rank; i++)
		json_array_append_new(shape, json_integer((json_int_t)output->shape[i]));
	json_t *tensor = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type, "shape", shape, "data_offsets", (json_int_t)*at,
	                           (json_int_t)(*at + bytes));
	*at += bytes;
	return tensor;
}

/* As a text, as all that is in __metadata__; nine digits are a float. */
static json_t *number_text(float value)
{
	json_t *number = json_real((double)value);
	char *text = json_dumps(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
	json_t *string = json_string(text); /* NULL of NULL */
	json_decref(number);
	free(text);
	return string;
}

static json_t *describe_all(const struct output_list *list, const char *name, float epsilon)
{
	json_t *root = json_object(), *metadata = json_pack("{s:s}", "format", "pt");
	uint64_t at = 0;
	bool whole = true;
	if (name)
		json_object_set_new(metadata, "name", json_string(name)); /* dropped if it is not UTF-8 */
	if (epsilon != 0)
		whole &= json_object_set_new(metadata, SAFETENSORS_EPSILON, number_text(epsilon)) == 0;
	whole &= json_object_set_new(root, "__metadata__", metadata) == 0;
	for (size_t i = 0; i < list->count; i++)
		whole &= json_object_set_new(root, list->items[i].name, describe(&list->items[i], &at)) == 0;
	if (whole)
		return root;
	json_decref(root);
	return NULL;
}

rwkvk_status safetensors_head(const struct output_list *list, const char *path, const char *name, float epsilon, uint8_t **head,
                              size_t *bytes)
{
	const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER;
	json_t *root = describe_all(list, name, epsilon);
	size_t length = root ? json_dumpb(root, NULL, 0, flags) : 0;
	uint64_t padded = round_up(length, ALIGNMENT);
	*head = length ? malloc(sizeof padded + padded) : NULL;
	if (*head) {
		memcpy(*head, &padded, sizeof padded);
		memset(*head + sizeof padded, ' ', padded);
		json_dumpb(root, (char *)*head + sizeof padded, length, flags);
	}
	json_decref(root);
	if (!*head)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the names of %zu tensors", path, list->count);
	*bytes = sizeof padded + padded;
	return RWKVK_OK;
}
