/* Blocks of small integers as bytes: where GGUF files keep integers, scales and minima.  The layouts and the order of
 * operations are those of ggml's reference dequantisers (ggml/src/ggml-quants.c, dequantize_row_*, and block_* in
 * ggml/src/ggml-common.h of llama.cpp); docs/formats.md has them as a table.
 *
 * Order does not matter as long as numbers are finite: a scale is an f16 (11 bits) times at most 8 bits, the integers have 5
 * bits beside the sign where the scale has two levels, so no product needs more than the 24 bits of a float. */
#include "format/quants.h"

/* ---------------------------------------------------------------------------------------------------- 32 with one scale */

static void one_scale(const uint8_t *block, int offset, struct dtype_parts *out)
{
	memcpy(&out->d, block, 2);
	out->dmin = 0;
	out->scale[0] = half_at(block);
	out->min[0] = 0;
	for (size_t i = 0; i < 32; i++)
		out->q[i] = (int8_t)(out->q[i] - offset);
}

void q8_0_split(const uint8_t *block, struct dtype_parts *out)
{
	memcpy(out->q, block + 2, 32);
	one_scale(block, 0, out);
}

void q4_0_split(const uint8_t *block, struct dtype_parts *out)
{
	nibbles_at(block + 2, 16, out->q);
	one_scale(block, 8, out);
}

void q5_0_split(const uint8_t *block, struct dtype_parts *out)
{
	nibbles_at(block + 6, 16, out->q);
	fifth_bits_at(block + 2, out->q);
	one_scale(block, 16, out);
}

/* Files have the minimum itself, here it is what is taken away. */
static void scale_and_min(const uint8_t *block, struct dtype_parts *out)
{
	memcpy(&out->d, block, 2);
	memcpy(&out->dmin, block + 2, 2);
	out->dmin ^= 0x8000;
	out->scale[0] = half_at(block);
	out->min[0] = -half_at(block + 2);
}

void q4_1_split(const uint8_t *block, struct dtype_parts *out)
{
	nibbles_at(block + 4, 16, out->q);
	scale_and_min(block, out);
}

void q5_1_split(const uint8_t *block, struct dtype_parts *out)
{
	nibbles_at(block + 8, 16, out->q);
	fifth_bits_at(block + 4, out->q);
	scale_and_min(block, out);
}

/* Four bits choose one of 16 uneven levels. */
void iq4_nl_split(const uint8_t *block, struct dtype_parts *out)
{
	static const int8_t level[16] = { -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 };
	nibbles_at(block + 2, 16, out->q);
	for (size_t i = 0; i < 32; i++)
		out->q[i] = level[out->q[i]];
	one_scale(block, 0, out);
}

/* ---------------------------------------------------------------------------------------------------- 256 with two levels */

/* Scales and minima of `groups` groups from their codes; d and dmin lie at these places, dmin NULL for types without. */
static void two_levels(const uint8_t *d, const uint8_t *dmin, size_t groups, struct dtype_parts *out)
{
	float scale = half_at(d), min = dmin ? half_at(dmin) : 0;
	memcpy(&out->d, d, 2);
	out->dmin = 0;
	if (dmin)
		memcpy(&out->dmin, dmin, 2);
	for (size_t g = 0; g < groups; g++) {
		out->scale[g] = scale * (float)out->scale_code[g];
		out->min[g] = dmin ? min * (float)out->min_code[g] : 0;
	}
}

void q2_k_split(const uint8_t *block, struct dtype_parts *out)
{
	memset(out->q, 0, sizeof out->q);
	for (size_t half = 0; half < 2; half++)
		bits_at(block + 16 + 32 * half, 32, 2, 0, out->q + 128 * half);
	for (size_t g = 0; g < 16; g++) {
		out->scale_code[g] = (int8_t)(block[g] & 15);
		out->min_code[g] = (int8_t)(block[g] >> 4);
	}
	two_levels(block + 80, block + 82, 16, out);
}

void q3_k_split(const uint8_t *block, struct dtype_parts *out)
{
	const uint8_t *codes = block + 96; /* 16 of 6 bits: 8 bytes of low halves, 4 of high pairs */
	memset(out->q, 0, sizeof out->q);
	for (size_t half = 0; half < 2; half++)
		bits_at(block + 32 + 32 * half, 32, 2, 0, out->q + 128 * half);
	bits_at(block, 32, 1, 2, out->q);
	for (size_t i = 0; i < 256; i++)
		out->q[i] = (int8_t)(out->q[i] - 4);
	for (size_t g = 0; g < 16; g++) {
		int low = g < 8 ? codes[g] & 15 : codes[g - 8] >> 4, high = codes[8 + g % 4] >> 2 * (g / 4) & 3;
		out->scale_code[g] = (int8_t)((low | high << 4) - 32);
	}
	two_levels(block + 108, NULL, 16, out);
}

/* Q4_K and Q5_K: d, dmin, then 8 scales and 8 minima of 6 bits in 12 bytes.  The first four of each have bytes of their own,
 * whose upper two bits belong to the other four. */
static void k_scales(const uint8_t *block, struct dtype_parts *out)
{
	const uint8_t *codes = block + 4;
	for (size_t g = 0; g < 4; g++) {
		out->scale_code[g] = (int8_t)(codes[g] & 63);
		out->min_code[g] = (int8_t)(codes[4 + g] & 63);
		out->scale_code[4 + g] = (int8_t)((codes[8 + g] & 15) | codes[g] >> 6 << 4);
		out->min_code[4 + g] = (int8_t)(codes[8 + g] >> 4 | codes[4 + g] >> 6 << 4);
	}
	two_levels(block, block + 2, 8, out);
}

void q4_k_split(const uint8_t *block, struct dtype_parts *out)
{
	k_scales(block, out);
	for (size_t pair = 0; pair < 4; pair++)
		nibbles_at(block + 16 + 32 * pair, 32, out->q + 64 * pair);
}

void q5_k_split(const uint8_t *block, struct dtype_parts *out)
{
	k_scales(block, out);
	for (size_t pair = 0; pair < 4; pair++)
		nibbles_at(block + 48 + 32 * pair, 32, out->q + 64 * pair);
	bits_at(block + 16, 32, 1, 4, out->q);
}

void q6_k_split(const uint8_t *block, struct dtype_parts *out)
{
	for (size_t half = 0; half < 2; half++) {
		nibbles_at(block + 64 * half, 64, out->q + 128 * half);
		bits_at(block + 128 + 32 * half, 32, 2, 4, out->q + 128 * half);
	}
	for (size_t i = 0; i < 256; i++)
		out->q[i] = (int8_t)(out->q[i] - 32);
	memcpy(out->scale_code, block + 192, 16);
	two_levels(block + 208, NULL, 16, out);
}
