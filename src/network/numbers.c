/* Weights that are not finite or do not fit the device's type.  Packing notices some of them, and others show up in results.
 * The functions here find the tensor, before the device is blamed. */
#include "network/outline.h"

#include <math.h>
#include <string.h>

#include "format/merge.h"
#include "format/output.h"

/* head.bias may ban tokens with -infinity. */
static bool bias_is_sound(const struct tensor *bias)
{
	float values[DTYPE_LARGEST_BLOCK];
	uint64_t count = tensor_elements(bias);
	bool sound = true;
	for (uint64_t i = 0; i < count; i += DTYPE_LARGEST_BLOCK) {
		uint64_t n = count - i < DTYPE_LARGEST_BLOCK ? count - i : DTYPE_LARGEST_BLOCK;
		dtype_to_float(bias->type, bias->data, i, n, values);
		for (uint64_t j = 0; j < n; j++)
			sound &= values[j] < INFINITY; /* NaN is not */
	}
	return sound;
}

bool vectors_are_sound(const struct network *net, const float *vectors, uint64_t count)
{
	return dtype_fits(DTYPE_F32, vectors, count, INFINITY) && (!net->head_b || bias_is_sound(net->head_b));
}

/* The device's type for floats, by the name that outline_type() has. */
static enum dtype type_named(const char *name)
{
	uint32_t type = 0;
	while (type + 1 < TYPE_COUNT && strcmp(type_name(type), name) != 0)
		type++;
	return dtype_of_type(type);
}

/* Whether a plain tensor's numbers, with adapters, are finite and less than `limit`. */
static bool is_below(float limit, const struct tensor *tensor)
{
	bool below = dtype_fits(tensor->type, tensor->data, tensor_elements(tensor), tensor->merge ? INFINITY : limit);
	for (uint64_t row = 0; tensor->merge && row < tensor->shape[0]; row += MERGE_ROWS)
		for (uint64_t first = 0; first < tensor->shape[1]; first += DTYPE_LARGEST_BLOCK) {
			float values[MERGE_ROWS * DTYPE_LARGEST_BLOCK];
			uint64_t left = tensor->shape[1] - first, n = left < DTYPE_LARGEST_BLOCK ? left : DTYPE_LARGEST_BLOCK;
			uint32_t rows = tensor->shape[0] - row < MERGE_ROWS ? (uint32_t)(tensor->shape[0] - row) : MERGE_ROWS;
			merge_rows(tensor, row, rows, first, n, values, n);
			below &= dtype_fits(DTYPE_F32, values, rows * n, limit);
		}
	return below;
}

/* Whether `type` holds the numbers of a plain tensor.  Blocks hold larger numbers than F16, the type of their scales. */
static bool holds(enum dtype type, const struct tensor *tensor)
{
	uint64_t columns = tensor->shape[tensor->rank - 1], count = tensor_elements(tensor);
	if (output_limit(type) == INFINITY || is_below(output_limit(type), tensor))
		return true;
	for (uint64_t i = 0, n; i < count && dtype_is_block(type); i += n) {
		float block[DTYPE_LARGEST_BLOCK] = { 0 };
		uint8_t made[2 * DTYPE_LARGEST_BLOCK];
		n = columns - i % columns < DTYPE_LARGEST_BLOCK ? columns - i % columns : DTYPE_LARGEST_BLOCK;
		tensor_to_float(tensor, i, n, block);
		dtype_from_float(type, block, DTYPE_LARGEST_BLOCK, made);
		if (!dtype_fits(type, made, DTYPE_LARGEST_BLOCK, INFINITY))
			return false;
	}
	return dtype_is_block(type);
}

static rwkvk_status check_tensor(const struct rwkvk_file *file, const struct tensor *tensor)
{
	const struct network *net = &file->network;
	const char *path = file->weights.path, *type = outline_type(net, file->quant, tensor);
	uint64_t count = tensor_elements(tensor);
	if (!(tensor == net->head_b ? bias_is_sound(tensor) : dtype_fits(tensor->type, tensor->data, count, INFINITY)))
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s holds a number that is not finite, so nothing can be computed from it: the file is damaged, "
		            "or its training failed",
		            path, tensor->file_name);
	if (type && !dtype_is_block(tensor->type) && !holds(type_named(type), tensor))
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s has numbers too large for %s, which holds less than 65520%s: choose another "
		            "rwkvk_model_options.quant, or none",
		            path, tensor->file_name, type, dtype_is_block(type_named(type)) ? " in its scales" : "");
	return RWKVK_OK;
}

rwkvk_status check_weights(const struct rwkvk_file *file)
{
	for (size_t i = 0; i < file->weights.count; i++)
		if (network_uses(&file->network, &file->weights.tensors[i]))
			TRY(check_tensor(file, &file->weights.tensors[i]));
	return RWKVK_OK;
}
