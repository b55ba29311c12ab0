/* Matrices as the device reads them (docs/formats.md, "Weights on the device"): tiles of 8 rows, in a tile k-blocks of 128
 * bytes of each row, so that a subgroup of any size reads whole cache lines and a CPU reads sequentially.  Repacking moves
 * bits and changes none. */
#include "network/outline.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "format/merge.h"

enum { PIECE = 128 };

/* The device's type for a file's type: the same bits, or the next wider type that holds them all. */
uint32_t type_of_dtype(enum dtype type)
{
	static const uint32_t types[] = {
		[DTYPE_F32] = TYPE_F32,  [DTYPE_F16] = TYPE_F16,   [DTYPE_BF16] = TYPE_BF16, [DTYPE_Q8_0] = TYPE_Q8,
		[DTYPE_Q4_0] = TYPE_Q4,  [DTYPE_Q4_1] = TYPE_Q4M,  [DTYPE_Q4_K] = TYPE_Q4K,  [DTYPE_Q5_0] = TYPE_Q5,
		[DTYPE_Q5_1] = TYPE_Q5M, [DTYPE_Q5_K] = TYPE_Q5K,  [DTYPE_Q6_K] = TYPE_Q6K,  [DTYPE_Q3_K] = TYPE_Q6K,
		[DTYPE_Q2_K] = TYPE_Q2K, [DTYPE_IQ4_NL] = TYPE_Q8,
	};
	return types[type];
}

enum dtype dtype_of_type(uint32_t type)
{
	static const enum dtype types[TYPE_COUNT] = {
		[TYPE_F32] = DTYPE_F32,  [TYPE_F16] = DTYPE_F16,  [TYPE_BF16] = DTYPE_BF16, [TYPE_Q8] = DTYPE_Q8_0,
		[TYPE_Q4] = DTYPE_Q4_0,  [TYPE_Q4M] = DTYPE_Q4_1, [TYPE_Q4K] = DTYPE_Q4_K,  [TYPE_Q5] = DTYPE_Q5_0,
		[TYPE_Q5M] = DTYPE_Q5_1, [TYPE_Q5K] = DTYPE_Q5_K, [TYPE_Q6K] = DTYPE_Q6_K,  [TYPE_Q2K] = DTYPE_Q2_K,
	};
	return types[type];
}

const char *type_name(uint32_t type)
{
	static const char *const names[TYPE_COUNT] = {
		[TYPE_F32] = "F32", [TYPE_F16] = "F16", [TYPE_BF16] = "BF16", [TYPE_Q8] = "Q8",
		[TYPE_Q4] = "Q4",   [TYPE_Q4M] = "Q4M", [TYPE_Q4K] = "Q4K",   [TYPE_Q5] = "Q5",
		[TYPE_Q5M] = "Q5M", [TYPE_Q5K] = "Q5K", [TYPE_Q6K] = "Q6K",   [TYPE_Q2K] = "Q2K",
	};
	return names[type];
}

uint32_t type_block(uint32_t type)
{
	return type == TYPE_F32 ? 32 : type < TYPE_Q8 ? 64 : type == TYPE_Q8 ? 128 : 256;
}

static uint64_t k_blocks(uint32_t type, uint64_t columns)
{
	return (columns + type_block(type) - 1) / type_block(type);
}

uint64_t packed_bytes(uint32_t type, uint64_t rows, uint64_t columns)
{
	return PAD(rows, 8) * k_blocks(type, columns) * PIECE;
}

uint64_t packed_side_bytes(uint32_t type, uint64_t rows, uint64_t columns)
{
	return PAD(rows, 8) * k_blocks(type, columns) * SIDE_WORDS(type) * 4;
}

/* One element, for factors that files store transposed. */
static float element(const struct tensor *tensor, uint64_t index)
{
	const struct dtype_info *info = &dtype_info[tensor->type];
	float block[DTYPE_LARGEST_BLOCK];
	dtype_to_float(tensor->type, tensor->data, index / info->block * info->block, info->block, block);
	return block[index % info->block];
}

/* Rounds to another type and back, as the device will see it; the last block is padded with zeros. */
static void through_type(enum dtype type, float *row, uint64_t columns)
{
	uint64_t n = dtype_info[type].block > 1 ? dtype_info[type].block : DTYPE_LARGEST_BLOCK;
	for (uint64_t i = 0; i < columns; i += n) {
		float block[DTYPE_LARGEST_BLOCK] = { 0 };
		uint8_t packed[DTYPE_LARGEST_BLOCK * 2];
		uint64_t real = columns - i < n ? columns - i : n;
		memcpy(block, row + i, real * sizeof *row);
		dtype_from_float(type, block, n, packed);
		dtype_to_float(type, packed, 0, n, block);
		memcpy(row + i, block, real * sizeof *row);
	}
}

struct matrix_source matrix_source(const struct tensor *tensor, uint64_t columns, uint32_t type)
{
	return (struct matrix_source){ .tensor = tensor, .stride = columns, .type = type };
}

struct matrix_source lora_source(const struct tensor *tensor, uint32_t part, uint32_t parts, uint32_t rows, uint32_t columns,
                                 bool inner)
{
	/* An inner factor's parts lie side by side, [C,parts rank], or, if swapped, stacked; an outer one's have their own
	 * dimension.  Official files have both transposed. */
	uint64_t stacked = inner ? (uint64_t)rows * parts : rows, first = tensor->shape[tensor->rank - 2];
	bool as_wanted = stacked == columns ? tensor->swapped : first == stacked;
	struct matrix_source source = { .tensor = tensor, .transposed = !as_wanted, .type = type_of_dtype(tensor->type) };
	source.stride = as_wanted ? columns : stacked;
	source.start = (uint64_t)part * rows * (inner && !as_wanted ? 1 : columns);
	return source;
}

static void stored_row(const struct matrix_source *source, uint64_t row, uint64_t first, uint64_t count, float *out)
{
	const struct tensor *tensor = source->tensor;
	if (!source->transposed) {
		tensor_to_float(tensor, source->start + row * source->stride + first, count, out);
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		out[i] = element(tensor, source->start + (first + i) * source->stride + row);
}

void source_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *out)
{
	stored_row(source, row, 0, columns, out);
	if (source->type != TYPE_F32 && (source->tensor->merge || source->type != type_of_dtype(source->tensor->type)))
		through_type(dtype_of_type(source->type), out, columns);
}

uint64_t row_scratch_floats(uint64_t count)
{
	return 2 * PAD(count, 256);
}

/* Converts floats at the beginning of a row's scratch to bytes after them. */
static const uint8_t *made_row(uint32_t device_type, uint64_t count, float *scratch, enum dtype *type, bool *fits)
{
	uint64_t padded = PAD(count, 256);
	*type = dtype_of_type(device_type);
	uint64_t stored = PAD(count, dtype_info[*type].block);
	memset(scratch + count, 0, (padded - count) * sizeof *scratch);
	dtype_from_float(*type, scratch, stored, scratch + padded);
	*fits &= dtype_fits(*type, scratch + padded, stored, INFINITY);
	return (const uint8_t *)(scratch + padded);
}

static const uint8_t *typed_row(const struct matrix_source *source, uint64_t row, uint64_t first, uint64_t count,
                                float *scratch, enum dtype *type, bool *fits)
{
	const struct dtype_info *info = &dtype_info[source->tensor->type];
	if (source->transposed || type_of_dtype(source->tensor->type) != source->type) {
		stored_row(source, row, first, count, scratch);
		return made_row(source->type, count, scratch, type, fits);
	}
	const uint8_t *bytes = (const uint8_t *)source->tensor->data;
	*type = source->tensor->type;
	bytes += (source->start + row * source->stride + first) / info->block * info->bytes;
	if (info->block > 1)
		*fits &= dtype_fits(*type, bytes, count, INFINITY);
	return bytes;
}

void typed_rows(const struct matrix_source *source, uint64_t row, uint32_t rows, uint64_t first, uint64_t count, float *scratch,
                const uint8_t *out[8], enum dtype *type, bool *fits)
{
	const uint64_t stride = row_scratch_floats(count);
	bool merged = source->tensor->merge != NULL;
	if (merged)
		merge_rows(source->tensor, row, rows, first, count, scratch, stride);
	for (uint32_t i = 0; i < rows; i++)
		out[i] = merged ? made_row(source->type, count, scratch + i * stride, type, fits)
		                : typed_row(source, row + i, first, count, scratch + i * stride, type, fits);
}

/* Spreads eight rows over their tile, which is written from start to end.  A row that is NULL, and the unfilled end of a row,
 * become zeros. */
static void place_rows(const uint8_t *const rows[8], uint64_t row_bytes, uint64_t blocks, uint8_t *tile)
{
	for (uint64_t b = 0; b < blocks; b++)
		for (uint64_t i = 0; i < 8; i++, tile += PIECE) {
			uint64_t left = rows[i] && row_bytes > b * PIECE ? row_bytes - b * PIECE : 0;
			if (left >= PIECE) {
				memcpy(tile, rows[i] + b * PIECE, PIECE);
				continue;
			}
			memset(tile, 0, PIECE);
			if (left)
				memcpy(tile, rows[i] + b * PIECE, left);
		}
}

/* Integers of one signed byte: a file's block of 32 is a quarter of a k-block. */
static void place_q8(const void *q, const void *d, uint64_t b, uint8_t *plane, uint8_t *side)
{
	memcpy(plane + b % 4 * 32, q, 32);
	memcpy(side + b % 4 * 2, d, 2);
}

void place_integers(uint32_t type, const int8_t *q, uint32_t u, uint8_t *plane, uint32_t *further)
{
	const uint32_t zero = type == TYPE_Q4 ? 8 : type == TYPE_Q5 ? 16 : type == TYPE_Q6K ? 32 : 0; /* q + zero is q ^ zero */
	uint32_t value[8], low[4], high[2] = { 0 };
	memcpy(value, q, sizeof value); /* four integers each; the operations below stay within each byte */
	for (uint32_t i = 0; i < 8; i++)
		value[i] ^= zero * 0x01010101;
	for (uint32_t c = 0; c < 4; c++)
		low[c] = (value[2 * c] & 0x0f0f0f0f) | (value[2 * c + 1] & 0x0f0f0f0f) << 4;
	memcpy(plane + u * 16, low, sizeof low);
	if (type == TYPE_Q6K) {
		for (uint32_t i = 0; i < 8; i++)
			high[i / 4] |= (value[i] >> 4 & 0x03030303) << 2 * (i % 4);
		memcpy(further + 2 * u, high, 8);
	} else if (SIDE_WORDS(type) > SCALE_WORDS(type)) {
		for (uint32_t i = 0; i < 8; i++)
			high[0] |= (value[i] >> 4 & 0x01010101) << i;
		memcpy(further + u, high, 4);
	}
}

/* The scales of a file's block, number b of those in the k-block. */
static void place_scales(uint32_t type, const struct dtype_parts *parts, uint64_t b, uint32_t *side)
{
	uint8_t *bytes = (uint8_t *)side;
	switch (type) {
	case TYPE_Q4:
	case TYPE_Q5:
		memcpy(bytes + 2 * b, &parts->d, 2);
		return;
	case TYPE_Q4M:
	case TYPE_Q5M:
		side[b] = parts->d | (uint32_t)parts->dmin << 16;
		return;
	}
	side[0] = parts->d | (uint32_t)parts->dmin << 16;
	uint32_t groups = type == TYPE_Q6K || type == TYPE_Q2K ? 16 : 8;
	for (uint32_t g = 0; g < groups; g++)
		if (type == TYPE_Q6K) {
			bytes[4 + g] = (uint8_t)parts->scale_code[g];
		} else {
			bytes[4 + 2 * g] = (uint8_t)parts->scale_code[g];
			bytes[5 + 2 * g] = (uint8_t)parts->min_code[g];
		}
}

/* The file's blocks in k-block b of a row, up to the row's `count` of them; NULL: none. */
static void place_k_block(uint32_t type, enum dtype dtype, const uint8_t *row, uint64_t count, uint64_t b, uint8_t *plane,
                          uint8_t *beside)
{
	const struct dtype_info *info = &dtype_info[dtype];
	const uint64_t per_block = type_block(type) / info->block;
	memset(plane, 0, PIECE);
	memset(beside, 0, SIDE_WORDS(type) * 4);
	for (uint64_t i = 0; row && i < per_block && b * per_block + i < count; i++) {
		const uint8_t *block = row + (b * per_block + i) * info->bytes;
		struct dtype_parts parts;
		if (dtype == DTYPE_Q8_0) {
			place_q8(block + 2, block, i, plane, beside);
			continue;
		}
		dtype_split(dtype, block, &parts);
		if (type == TYPE_Q8) {
			place_q8(parts.q, &parts.d, i, plane, beside);
			continue;
		}
		for (uint32_t at = 0; at < info->block; at += 32)
			place_integers(type, parts.q + at, (uint32_t)(i * info->block + at) / 32, plane,
			               (uint32_t *)(void *)beside + SCALE_WORDS(type));
		place_scales(type, &parts, i, (uint32_t *)(void *)beside);
	}
}

/* Rows [first, first + 8) of a source, of which those past source_rows become zeros; false: see typed_rows(). */
static bool pack_tile(const struct matrix_source *source, uint64_t source_rows, uint64_t columns, uint64_t first, uint8_t *tile,
                      uint8_t *side_tile, float *scratch)
{
	bool fits = true;
	const uint32_t type = source->type;
	const uint64_t blocks = k_blocks(type, columns), row_bytes = columns * (type == TYPE_F32 ? 4 : 2); /* plain types */
	const uint8_t *rows[8] = { NULL };
	enum dtype dtype = dtype_of_type(type);
	if (first < source_rows)
		typed_rows(source, first, source_rows - first < 8 ? (uint32_t)(source_rows - first) : 8, 0, columns, scratch, rows,
		           &dtype, &fits);
	if (type < TYPE_Q8) {
		place_rows(rows, row_bytes, blocks, tile);
		return fits;
	}
	const uint64_t side_bytes = SIDE_WORDS(type) * 4, block = dtype_info[dtype].block;
	for (uint64_t b = 0; b < blocks; b++)
		for (uint64_t i = 0; i < 8; i++, tile += PIECE, side_tile += side_bytes)
			place_k_block(type, dtype, rows[i], (columns + block - 1) / block, b, tile, side_tile);
	return fits;
}

/* ------------------------------------------------------------------------------------------------------ on all processors */

uint64_t pack_scratch_floats(uint64_t columns)
{
	uint64_t tile = 8 * row_scratch_floats(columns), span = value_scratch_floats();
	return tile > span ? tile : span;
}

struct tiles {
	const struct matrix_part *parts;
	uint32_t count, columns;
	uint64_t first;
	uint8_t *to, *side;
	float *scratch;
	atomic_bool unfit;
};

static void pack_numbered_tile(void *user, unsigned worker, uint64_t index)
{
	struct tiles *t = user;
	uint64_t number = t->first + index;
	const struct matrix_part *part = &t->parts[number % t->count];
	uint32_t type = part->source.type;
	if (!pack_tile(&part->source, part->rows, t->columns, number / t->count * 8,
	               t->to + index * packed_bytes(type, 8, t->columns), t->side + index * packed_side_bytes(type, 8, t->columns),
	               t->scratch + worker * pack_scratch_floats(t->columns)))
		atomic_store(&t->unfit, true);
}

bool pack_tiles(struct parallel *parallel, const struct matrix_part *parts, uint32_t count, uint32_t columns, uint64_t first,
                uint64_t tiles, void *to, void *side, float *scratch)
{
	struct tiles work = { parts, count, columns, first, to, side, scratch, false };
	parallel_for(parallel, tiles, pack_numbered_tile, &work);
	return !work.unfit;
}

/* ------------------------------------------------------------------------------------------------------ LoRA, outer factors */

uint32_t lora_words(uint32_t rank, uint32_t type)
{
	return PAD(rank, 8) / (type == TYPE_F32 ? 4 : 8);
}

bool pack_lora(const struct lora *lora, const struct config *c, uint8_t *out, float *scratch)
{
	bool fits = true;
	uint32_t per_word = lora->type == TYPE_F32 ? 4 : 8, all = 0, before = 0;
	enum dtype type = dtype_of_type(lora->type);
	for (uint32_t i = 0; i < lora->count; i++)
		all += lora_words(lora->ranks[i], lora->type);
	for (uint32_t i = 0; i < lora->count; before += lora_words(lora->ranks[i++], lora->type))
		for (uint32_t channel = 0; channel < c->width; channel++) {
			uint32_t head = channel / c->head_size, n = channel % c->head_size, rank = lora->ranks[i];
			float row[8];
			source_row(&lora->sources[i], channel, rank, scratch);
			fits &= dtype_fits(DTYPE_F32, scratch, rank, INFINITY);
			for (uint32_t u = 0; u < lora_words(rank, lora->type); u++) {
				for (uint32_t j = 0; j < per_word; j++)
					row[j] = u * per_word + j < rank ? scratch[u * per_word + j] : 0;
				uint8_t *to = out + (((uint64_t)head * all + before + u) * c->head_size + n) * 16;
				dtype_from_float(type, row, per_word, to);
			}
		}
	return fits;
}
