/* The table of number formats, and the functions that follow from it. */
#include "format/dtype.h"

#include <math.h>

#include "format/quants.h"

const struct dtype_info dtype_info[DTYPE_COUNT] = {
	[DTYPE_F32] = { "F32", 1, 4, 0, 0, false },        [DTYPE_F16] = { "F16", 1, 2, 0, 0, false },
	[DTYPE_BF16] = { "BF16", 1, 2, 0, 0, false },      [DTYPE_Q8_0] = { "Q8_0", 32, 34, 8, 32, false },
	[DTYPE_Q4_0] = { "Q4_0", 32, 18, 4, 32, false },   [DTYPE_Q4_1] = { "Q4_1", 32, 20, 4, 32, true },
	[DTYPE_Q5_0] = { "Q5_0", 32, 22, 5, 32, false },   [DTYPE_Q5_1] = { "Q5_1", 32, 24, 5, 32, true },
	[DTYPE_Q2_K] = { "Q2_K", 256, 84, 2, 16, true },   [DTYPE_Q3_K] = { "Q3_K", 256, 110, 3, 16, false },
	[DTYPE_Q4_K] = { "Q4_K", 256, 144, 4, 32, true },  [DTYPE_Q5_K] = { "Q5_K", 256, 176, 5, 32, true },
	[DTYPE_Q6_K] = { "Q6_K", 256, 210, 6, 16, false }, [DTYPE_IQ4_NL] = { "IQ4_NL", 32, 18, 4, 32, false },
};

static const struct block_type {
	quants_split *split;
	quants_encode *encode;   /* NULL: read only */
	uint32_t d_at, other_at; /* where the f16 scale lies in a block, and the minimum or its scale; the same: there is none */
} block_types[DTYPE_COUNT] = {
	[DTYPE_Q8_0] = { q8_0_split, q8_0_encode, 0, 0 }, [DTYPE_Q4_0] = { q4_0_split, q4_0_encode, 0, 0 },
	[DTYPE_Q4_1] = { q4_1_split, q4_1_encode, 0, 2 }, [DTYPE_Q5_0] = { q5_0_split, q5_0_encode, 0, 0 },
	[DTYPE_Q5_1] = { q5_1_split, q5_1_encode, 0, 2 }, [DTYPE_Q2_K] = { q2_k_split, NULL, 80, 82 },
	[DTYPE_Q3_K] = { q3_k_split, NULL, 108, 108 },    [DTYPE_Q4_K] = { q4_k_split, q4_k_encode, 0, 2 },
	[DTYPE_Q5_K] = { q5_k_split, q5_k_encode, 0, 2 }, [DTYPE_Q6_K] = { q6_k_split, q6_k_encode, 208, 208 },
	[DTYPE_IQ4_NL] = { iq4_nl_split, NULL, 0, 0 },
};

bool dtype_is_block(enum dtype type)
{
	return type < DTYPE_COUNT && block_types[type].split != NULL;
}

bool dtype_is_encodable(enum dtype type)
{
	return !dtype_is_block(type) || block_types[type].encode;
}

static bool multiply(uint64_t *product, uint64_t factor)
{
	if (factor && *product > UINT64_MAX / factor)
		return false;
	*product *= factor;
	return true;
}

bool dtype_bytes(enum dtype type, uint32_t rank, const uint64_t *shape, uint64_t *bytes)
{
	uint64_t row = rank ? shape[rank - 1] : 1;
	if (row % dtype_info[type].block)
		return false;
	uint64_t total = row / dtype_info[type].block;
	for (uint32_t i = 0; i + 1 < rank; i++)
		if (!multiply(&total, shape[i]))
			return false;
	if (!multiply(&total, dtype_info[type].bytes))
		return false;
	*bytes = total;
	return true;
}

void dtype_split(enum dtype type, const void *block, struct dtype_parts *out)
{
	block_types[type].split(block, out);
}

static const uint8_t *element_at(enum dtype type, const void *data, uint64_t first)
{
	return (const uint8_t *)data + first / dtype_info[type].block * dtype_info[type].bytes;
}

static void block_to_float(enum dtype type, const uint8_t *block, float *out)
{
	struct dtype_parts parts;
	uint32_t group = dtype_info[type].group, groups = dtype_info[type].block / group;
	dtype_split(type, block, &parts);
	for (uint32_t g = 0; g < groups; g++)
		for (uint32_t i = g * group; i < (g + 1) * group; i++)
			out[i] = parts.scale[g] * (float)parts.q[i] - parts.min[g];
}

/* Loops of their own become vectors. */
FOR_EACH_PROCESSOR static void floats_of_f16(const uint8_t *restrict from, uint64_t count, float *restrict to)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t bits;
		memcpy(&bits, from + 2 * i, sizeof bits);
		to[i] = float_of_f16(bits);
	}
}

static void floats_of_bf16(const uint8_t *restrict from, uint64_t count, float *restrict to)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t bits;
		memcpy(&bits, from + 2 * i, sizeof bits);
		to[i] = float_of_bf16(bits);
	}
}

void dtype_to_float(enum dtype type, const void *data, uint64_t first, uint64_t count, float *out)
{
	const uint8_t *from = element_at(type, data, first);
	if (type == DTYPE_F32) {
		memcpy(out, from, count * sizeof *out);
		return;
	}
	if (dtype_is_block(type)) {
		const struct dtype_info *info = &dtype_info[type];
		for (uint64_t i = 0; i < count / info->block; i++)
			block_to_float(type, from + i * info->bytes, out + i * info->block);
		return;
	}
	if (type == DTYPE_F16)
		floats_of_f16(from, count, out);
	else
		floats_of_bf16(from, count, out);
}

/* Nearest, ties to even; a NaN stays a NaN even if only its low mantissa bits were set. */
static uint16_t bf16_of_float(float value)
{
	uint32_t bits = bits_of_float(value);
	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

FOR_EACH_PROCESSOR static void f16s_of_floats(const float *restrict from, uint64_t count, uint8_t *restrict to)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t bits = f16_of_float(from[i]);
		memcpy(to + 2 * i, &bits, sizeof bits);
	}
}

FOR_EACH_PROCESSOR static void bf16s_of_floats(const float *restrict from, uint64_t count, uint8_t *restrict to)
{
	for (uint64_t i = 0; i < count; i++) {
		uint16_t bits = bf16_of_float(from[i]);
		memcpy(to + 2 * i, &bits, sizeof bits);
	}
}

void dtype_from_float(enum dtype type, const float *in, uint64_t count, void *out)
{
	const struct dtype_info *info = &dtype_info[type];
	uint8_t *to = out;
	if (type == DTYPE_F32) {
		memcpy(to, in, count * sizeof *in);
		return;
	}
	if (dtype_is_block(type)) {
		for (uint64_t i = 0; i < count / info->block; i++)
			block_types[type].encode(in + i * info->block, to + i * info->bytes);
		return;
	}
	if (type == DTYPE_F16)
		f16s_of_floats(in, count, to);
	else
		bf16s_of_floats(in, count, to);
}

/* ---------------------------------------------------------------------------------------------------- what is no number */

/* The largest magnitude as bits, which are in the order of the numbers: infinity is above them, NaN above infinity. */
FOR_EACH_PROCESSOR static uint16_t largest_of_16(const uint8_t *from, uint64_t count)
{
	int16_t largest = 0;
	for (uint64_t i = 0; i < count; i++) {
		uint16_t bits;
		memcpy(&bits, from + 2 * i, sizeof bits);
		int16_t magnitude = (int16_t)(bits & 0x7fff);
		largest = magnitude > largest ? magnitude : largest;
	}
	return (uint16_t)largest;
}

FOR_EACH_PROCESSOR static uint32_t largest_of_32(const uint8_t *from, uint64_t count)
{
	int32_t largest = 0;
	for (uint64_t i = 0; i < count; i++) {
		uint32_t bits;
		memcpy(&bits, from + 4 * i, sizeof bits);
		int32_t magnitude = (int32_t)(bits & 0x7fffffff);
		largest = magnitude > largest ? magnitude : largest;
	}
	return (uint32_t)largest;
}

static bool scales_fit(enum dtype type, const uint8_t *blocks, uint64_t count)
{
	const struct block_type *t = &block_types[type];
	bool fits = true;
	for (uint64_t i = 0; i < count; i++, blocks += dtype_info[type].bytes) {
		uint16_t d, other;
		memcpy(&d, blocks + t->d_at, sizeof d);
		memcpy(&other, blocks + t->other_at, sizeof other);
		fits &= (d & 0x7c00) != 0x7c00 && (other & 0x7c00) != 0x7c00;
	}
	return fits;
}

bool dtype_fits(enum dtype type, const void *data, uint64_t count, float limit)
{
	if (dtype_is_block(type))
		return scales_fit(type, data, count / dtype_info[type].block);
	if (type == DTYPE_F32)
		return float_of_bits(largest_of_32(data, count)) < limit; /* NaN is not */
	uint16_t largest = largest_of_16(data, count);
	return (type == DTYPE_F16 ? float_of_f16(largest) : float_of_bf16(largest)) < limit;
}
