/* Matrices as the device reads them (docs/formats.md, "Weights on the device"): tiles of 8 rows, in a tile k-blocks of 128
 * bytes of each row, so that a subgroup of any size reads whole lines and a processor reads straight on.  Repacking moves
 * bits and changes none. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"

enum { PIECE = 128, Q8_BLOCK = 34 };

uint32_t type_of_dtype(enum dtype type)
{
	static const uint32_t types[] = {
		[DTYPE_F32] = TYPE_F32, [DTYPE_F16] = TYPE_F16, [DTYPE_BF16] = TYPE_BF16, [DTYPE_Q8_0] = TYPE_Q8
	};
	return types[type];
}

static enum dtype dtype_of_type(uint32_t type)
{
	static const enum dtype types[] = {
		[TYPE_F32] = DTYPE_F32, [TYPE_F16] = DTYPE_F16, [TYPE_BF16] = DTYPE_BF16, [TYPE_Q8] = DTYPE_Q8_0
	};
	return types[type];
}

uint32_t type_block(uint32_t type)
{
	return type == TYPE_F32 ? 32 : type == TYPE_Q8 ? 128 : 64;
}

static uint64_t k_blocks(uint32_t type, uint64_t columns)
{
	return (columns + type_block(type) - 1) / type_block(type);
}

uint64_t packed_bytes(uint32_t type, uint64_t rows, uint64_t columns)
{
	return PAD(rows, 8) * k_blocks(type, columns) * PIECE;
}

uint64_t packed_scale_bytes(uint32_t type, uint64_t rows, uint64_t columns)
{
	return type == TYPE_Q8 ? PAD(rows, 8) * k_blocks(type, columns) * 8 : 0;
}

/* One element, for the factors that files store the other way round. */
static float element(const struct tensor *tensor, uint64_t index)
{
	const uint8_t *data = tensor->data;
	uint16_t half;
	float value;
	switch (tensor->type) {
	case DTYPE_F16:
		memcpy(&half, data + 2 * index, 2);
		return float_of_f16(half);
	case DTYPE_BF16:
		memcpy(&half, data + 2 * index, 2);
		return float_of_bf16(half);
	case DTYPE_F32:
		memcpy(&value, data + 4 * index, 4);
		return value;
	default: /* a block type: from the start of its block */
	{
		float block[32];
		dtype_to_float(tensor->type, tensor->data, index / 32 * 32, 32, block);
		return block[index % 32];
	}
	}
}

/* Rounds to 8 bits and back, as the device will see it; the last block is filled up with zeros. */
static void through_q8(float *row, uint64_t columns)
{
	for (uint64_t i = 0; i < columns; i += 32) {
		float block[32] = { 0 };
		uint8_t packed[Q8_BLOCK];
		uint64_t n = columns - i < 32 ? columns - i : 32;
		memcpy(block, row + i, n * sizeof *row);
		dtype_from_float(DTYPE_Q8_0, block, 32, packed);
		dtype_to_float(DTYPE_Q8_0, packed, 0, 32, block);
		memcpy(row + i, block, n * sizeof *row);
	}
}

struct matrix_source matrix_source(const struct tensor *tensor, uint64_t columns, uint32_t type)
{
	return (struct matrix_source){ .tensor = tensor, .stride = columns, .type = type };
}

struct matrix_source lora_source(const struct tensor *tensor, uint32_t part, uint32_t parts, uint32_t rows, uint32_t columns,
                                 bool inner)
{
	/* An inner factor's parts lie beside each other, [C,parts rank], or swapped under each other; an outer one's are a
	 * dimension of their own.  Official files have both transposed. */
	uint64_t stacked = inner ? (uint64_t)rows * parts : rows, first = tensor->shape[tensor->rank - 2];
	bool as_wanted = stacked == columns ? tensor->swapped : first == stacked;
	struct matrix_source source = { .tensor = tensor, .transposed = !as_wanted, .type = type_of_dtype(tensor->type) };
	source.stride = as_wanted ? columns : stacked;
	source.start = (uint64_t)part * rows * (inner && !as_wanted ? 1 : columns);
	return source;
}

static void stored_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *out)
{
	const struct tensor *tensor = source->tensor;
	if (!source->transposed) {
		dtype_to_float(tensor->type, tensor->data, source->start + row * source->stride, columns, out);
		return;
	}
	for (uint64_t i = 0; i < columns; i++)
		out[i] = element(tensor, source->start + i * source->stride + row);
}

void source_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *out)
{
	stored_row(source, row, columns, out);
	if (source->type == TYPE_Q8 && source->tensor->type != DTYPE_Q8_0)
		through_q8(out, columns);
}

/* A row as bytes of the stored type: the file's own bytes, or made in `scratch` (2 PAD(columns, 128) floats). */
static const uint8_t *typed_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *scratch)
{
	enum dtype type = dtype_of_type(source->type);
	uint64_t padded = PAD(columns, 128);
	if (source->tensor->type == type && !source->transposed) {
		const struct dtype_info *info = &dtype_info[type];
		return (const uint8_t *)source->tensor->data + (source->start + row * source->stride) / info->block * info->bytes;
	}
	stored_row(source, row, columns, scratch);
	for (uint64_t i = columns; i < padded; i++)
		scratch[i] = 0;
	dtype_from_float(type, scratch, type == DTYPE_Q8_0 ? PAD(columns, 32) : columns, scratch + padded);
	return (const uint8_t *)(scratch + padded);
}

/* Spreads one row over its tile; what the row does not fill becomes zeros. */
static void place_row(const uint8_t *row, uint64_t row_bytes, uint64_t blocks, uint64_t in_tile, uint8_t *tile)
{
	for (uint64_t b = 0; b < blocks; b++) {
		uint8_t *to = tile + (b * 8 + in_tile) * PIECE;
		uint64_t left = row_bytes > b * PIECE ? row_bytes - b * PIECE : 0, n = left < PIECE ? left : PIECE;
		if (n)
			memcpy(to, row + b * PIECE, n);
		memset(to + n, 0, PIECE - n);
	}
}

static void place_q8_row(const uint8_t *row, uint64_t q8_blocks, uint64_t blocks, uint64_t in_tile, uint8_t *tile,
                         uint8_t *scales)
{
	for (uint64_t b = 0; b < blocks * 4; b++) {
		uint8_t *to = tile + (b / 4 * 8 + in_tile) * PIECE + b % 4 * 32,
				*scale = scales + (b / 4 * 8 + in_tile) * 8 + b % 4 * 2;
		if (b < q8_blocks) {
			memcpy(scale, row + b * Q8_BLOCK, 2);
			memcpy(to, row + b * Q8_BLOCK + 2, 32);
		} else {
			memset(scale, 0, 2);
			memset(to, 0, 32);
		}
	}
}

void pack_rows(const struct matrix_source *source, uint64_t source_rows, uint64_t columns, uint64_t first, uint64_t rows,
               void *to, void *scales, float *scratch)
{
	uint64_t blocks = k_blocks(source->type, columns);
	uint64_t row_bytes = columns * (source->type == TYPE_F32 ? 4 : 2); /* Q8 does not use it */
	for (uint64_t i = 0; i < PAD(rows, 8); i++) {
		uint8_t *tile = (uint8_t *)to + i / 8 * 8 * blocks * PIECE;
		uint8_t *tile_scales = source->type == TYPE_Q8 ? (uint8_t *)scales + i / 8 * 8 * blocks * 8 : NULL;
		bool real = first + i < source_rows && i < rows;
		const uint8_t *row = real ? typed_row(source, first + i, columns, scratch) : NULL;
		if (source->type == TYPE_Q8)
			place_q8_row(row, real ? (columns + 31) / 32 : 0, blocks, i % 8, tile, tile_scales);
		else
			place_row(row, real ? row_bytes : 0, blocks, i % 8, tile);
	}
}

/* ------------------------------------------------------------------------------------------------------ LoRA, outer factors */

uint32_t lora_words(uint32_t rank, uint32_t type)
{
	return PAD(rank, 8) / (type == TYPE_F32 ? 4 : 8);
}

void pack_lora(const struct device_lora *lora, const struct config *c, uint8_t *out, float *scratch)
{
	uint32_t per_word = lora->type == TYPE_F32 ? 4 : 8, all = 0, before = 0;
	enum dtype type = dtype_of_type(lora->type);
	for (uint32_t i = 0; i < lora->count; i++)
		all += lora_words(lora->ranks[i], lora->type);
	for (uint32_t i = 0; i < lora->count; before += lora_words(lora->ranks[i++], lora->type))
		for (uint32_t channel = 0; channel < c->width; channel++) {
			uint32_t head = channel / c->head_size, n = channel % c->head_size, rank = lora->ranks[i];
			float row[8];
			source_row(&lora->sources[i], channel, rank, scratch);
			for (uint32_t u = 0; u < lora_words(rank, lora->type); u++) {
				for (uint32_t j = 0; j < per_word; j++)
					row[j] = u * per_word + j < rank ? scratch[u * per_word + j] : 0;
				uint8_t *to = out + (((uint64_t)head * all + before + u) * c->head_size + n) * 16;
				dtype_from_float(type, row, per_word, to);
			}
		}
}
