/* ffn.value as the device reads it: most of its inputs are zero, and what belongs to those must not be read.  So it lies by
 * input, in lines of 128 bytes: the weights of one input for a block of outputs (layout.h, VALUE_*; docs/formats.md). */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 128, MOST_OUTPUTS = 256, SPAN = 256 }; /* SPAN: inputs that are turned at once */

uint64_t value_block_bytes(uint32_t type, uint64_t inputs)
{
	(void)type;
	return VALUE_INPUTS(inputs) * LINE;
}

uint64_t value_side_bytes(uint32_t type, uint64_t inputs)
{
	return VALUE_SIDE_WORDS(type, inputs) * 4;
}

/* A block of outputs on its way: the rows of the file, and where they go. */
struct turn {
	uint32_t type;
	enum dtype dtype;
	uint64_t inputs;
	const uint8_t *rows[MOST_OUTPUTS]; /* NULL past the last */
	uint8_t *plane;
	uint32_t *further, *scales, *tops; /* the three parts beside it */
	int8_t integers[SPAN][MOST_OUTPUTS];
};

static void turn_plain(struct turn *t)
{
	uint32_t bytes = dtype_info[t->dtype].bytes, outputs = VALUE_BLOCK(t->type);
	for (uint64_t i = 0; i < t->inputs; i++)
		for (uint32_t o = 0; o < outputs; o++)
			if (t->rows[o])
				memcpy(t->plane + i * LINE + o * bytes, t->rows[o] + i * bytes, bytes);
}

/* The scales of output o in the file's block number b, which begins at input `first`. */
static void place_scales(struct turn *t, const struct dtype_parts *parts, uint32_t o, uint64_t first)
{
	uint32_t group = VALUE_GROUP(t->type), words = VALUE_SCALE_WORDS(t->type), count = dtype_info[t->dtype].block / group;
	uint8_t *top = (uint8_t *)(t->tops + first / 256 * VALUE_TOP_WORDS(t->type));
	for (uint32_t g = 0; g < count; g++) {
		uint8_t *at = (uint8_t *)(t->scales + (first / group + g) * words);
		switch (t->type) {
		case TYPE_Q8:
		case TYPE_Q4:
		case TYPE_Q5:
			memcpy(at + 2 * o, &parts->d, 2);
			break;
		case TYPE_Q4M:
		case TYPE_Q5M:
			memcpy(at + 4 * o, &parts->d, 2);
			memcpy(at + 4 * o + 2, &parts->dmin, 2);
			break;
		case TYPE_Q6K:
			at[o] = (uint8_t)parts->scale_code[g];
			memcpy(top + 2 * o, &parts->d, 2);
			break;
		default:
			at[2 * o] = (uint8_t)parts->scale_code[g];
			at[2 * o + 1] = (uint8_t)parts->min_code[g];
			memcpy(top + 4 * o, &parts->d, 2);
			memcpy(top + 4 * o + 2, &parts->dmin, 2);
		}
	}
}

/* The integers of `count` inputs from `first` on, and their scales. */
static void gather(struct turn *t, uint64_t first, uint64_t count)
{
	const struct dtype_info *info = &dtype_info[t->dtype];
	memset(t->integers, 0, sizeof t->integers);
	for (uint32_t o = 0; o < VALUE_BLOCK(t->type); o++)
		for (uint64_t i = 0; t->rows[o] && i < count; i += info->block) {
			struct dtype_parts parts;
			dtype_split(t->dtype, t->rows[o] + (first + i) / info->block * info->bytes, &parts);
			for (uint32_t j = 0; j < info->block; j++)
				t->integers[i + j][o] = parts.q[j];
			place_scales(t, &parts, o, first + i);
		}
}

static void turn_blocks(struct turn *t)
{
	uint32_t high_words = VALUE_HIGH_WORDS(t->type);
	uint64_t padded = PAD(t->inputs, dtype_info[t->dtype].block);
	for (uint64_t first = 0; first < padded; first += SPAN) {
		uint64_t count = padded - first < SPAN ? padded - first : SPAN;
		gather(t, first, count);
		for (uint64_t i = 0; i < count; i++) {
			uint8_t *line = t->plane + (first + i) * LINE;
			if (t->type == TYPE_Q8) {
				memcpy(line, t->integers[i], LINE);
				continue;
			}
			for (uint32_t u = 0; u < 8; u++)
				place_integers(t->type, t->integers[i] + 32 * u, u, line, t->further + (first + i) * high_words);
		}
	}
}

rwkvk_status pack_value_block(const struct matrix_source *source, uint64_t source_rows, uint64_t inputs, uint64_t first,
                              void *to, void *side)
{
	const uint32_t type = source->type, outputs = VALUE_BLOCK(type);
	uint64_t row_floats = 2 * PAD(inputs, 256), count = source_rows - first < outputs ? source_rows - first : outputs;
	bool made = type_of_dtype(source->tensor->type) != type;
	struct turn *t = calloc(1, sizeof *t);
	float *scratch = malloc((made ? count : 1) * row_floats * sizeof *scratch); /* a row that is made stays there */
	if (!t || !scratch) {
		free(t);
		free(scratch);
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	}
	memset(to, 0, value_block_bytes(type, inputs));
	memset(side, 0, value_side_bytes(type, inputs));
	*t = (struct turn){ .type = type, .inputs = inputs, .plane = to, .further = side };
	t->scales = t->further + VALUE_INPUTS(inputs) * VALUE_HIGH_WORDS(type);
	t->tops = t->scales + VALUE_INPUTS(inputs) / VALUE_GROUP(type) * VALUE_SCALE_WORDS(type);
	for (uint64_t o = 0; o < count; o++)
		t->rows[o] = typed_row(source, first + o, inputs, scratch + (made ? o * row_floats : 0), &t->dtype);
	if (type < TYPE_Q8)
		turn_plain(t);
	else
		turn_blocks(t);
	free(t);
	free(scratch);
	return RWKVK_OK;
}
