/* Models of official sizes without a file, for measuring speed: RWKV-7 with random weights.
 *
 * Nothing of the size of a model is made in main memory.  For each number format there is one bank of random numbers, as long
 * as its largest matrix, and every matrix is a window into the bank with its own start.  On the device each has its own
 * memory, so a token reads as much as with a trained model.  The numbers have the spread that keeps the model's values near 1;
 * about half of the inputs of ffn.value are zero then, where a trained model has more. */
#include "network/outline.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"

enum {
	VOCABULARY = 65536,
	HEAD_SIZE = 64,
	MOST_LAYERS = 256,
	MOST_WIDTH = 16384,
	UNIT = DTYPE_LARGEST_BLOCK, /* numbers kept together: whole blocks of any format */
	UNITS = 4096,               /* the number of different units */
	STARTS = 61,                /* the number of places where windows can begin */
	START_STEP = 263 * UNIT,    /* numbers between these; no multiple of an official row */
};

struct sizes {
	const char *name;
	uint32_t layers, width, rank_decay, rank_value, rank_gate; /* a1 has the rank of w1 */
};

static const struct sizes official[] = {
	{ "0.1B", 12, 768, 64, 32, 128 },  { "0.4B", 24, 1024, 64, 32, 128 },  { "1.5B", 24, 2048, 96, 64, 256 },
	{ "2.9B", 32, 2560, 96, 64, 320 }, { "7.2B", 32, 4096, 128, 96, 480 },
};

/* The type of the matrices of each role. */
static const struct kind {
	const char *name;
	bool preset;
	rwkvk_quant quant;
	enum dtype type;
} kinds[] = {
	{ "f16", false, 0, DTYPE_F16 },    { "f32", false, 0, DTYPE_F32 },    { "bf16", false, 0, DTYPE_BF16 },
	{ "q8", true, RWKVK_QUANT_Q8, 0 }, { "q6", true, RWKVK_QUANT_Q6, 0 }, { "q5", true, RWKVK_QUANT_Q5, 0 },
	{ "q4", true, RWKVK_QUANT_Q4, 0 },
};

/* A model being built.  The list of tensors is traversed twice: first for `bank_size`, then to add them. */
struct maker {
	struct weights *weights;
	struct sizes sizes;
	const struct kind *kind;
	bool sizing;
	uint64_t bank_size[DTYPE_COUNT], vector_count; /* elements */
	struct mapping bank[DTYPE_COUNT], vectors;
	uint64_t vectors_at, tensors; /* so far */
	uint64_t random;
	rwkvk_status status;
};

/* ------------------------------------------------------------------------------------------------------ shapes */

static uint32_t rank_for(double size)
{
	uint32_t rank = (uint32_t)lround(size / 32) * 32;
	return rank < 32 ? 32 : rank;
}

static rwkvk_status unknown_shape(const char *shape)
{
	return fail(
		RWKVK_ERROR_ARGUMENT,
		"shape \"%.40s\": expected 0.1B, 0.4B, 1.5B, 2.9B, 7.2B or LAYERSxWIDTH such as 24x2048, with 1 to %d layers and a "
		"width that is a multiple of %d up to %d",
		shape, MOST_LAYERS, HEAD_SIZE, MOST_WIDTH);
}

/* "24x2048", with the ranks of official models of such a width, by their author's formulas. */
static rwkvk_status parse_sizes(const char *shape, struct sizes *out)
{
	char *end;
	if (!*shape || shape[strspn(shape, "0123456789x")] || strlen(shape) > 12)
		return unknown_shape(shape);
	unsigned long layers = strtoul(shape, &end, 10);
	if (end == shape || *end != 'x' || !end[1] || strchr(end + 1, 'x'))
		return unknown_shape(shape);
	unsigned long width = strtoul(end + 1, NULL, 10);
	if (layers < 1 || layers > MOST_LAYERS || width < HEAD_SIZE || width > MOST_WIDTH || width % HEAD_SIZE)
		return unknown_shape(shape);
	double root = sqrt((double)width);
	*out = (struct sizes){ shape,
		                   (uint32_t)layers,
		                   (uint32_t)width,
		                   rank_for(1.8 * root),
		                   rank_for(1.3 * root),
		                   rank_for(0.6 * pow((double)width, 0.8)) };
	for (size_t i = 0; i < sizeof official / sizeof *official; i++)
		if (official[i].layers == out->layers && official[i].width == out->width)
			*out = official[i];
	return RWKVK_OK;
}

static rwkvk_status find_sizes(const char *shape, struct sizes *out)
{
	for (size_t i = 0; i < sizeof official / sizeof *official; i++)
		if (strcmp(official[i].name, shape) == 0) {
			*out = official[i];
			return RWKVK_OK;
		}
	return parse_sizes(shape, out);
}

static rwkvk_status find_kind(const char *type, const struct sizes *sizes, const struct kind **out)
{
	*out = NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, type ? type : "f16") == 0)
			*out = &kinds[i];
	if (!*out)
		return fail(RWKVK_ERROR_ARGUMENT, "type \"%.40s\": expected f32, f16, bf16, q8, q6, q5 or q4", type);
	if ((*out)->preset && (*out)->quant != RWKVK_QUANT_Q8 && sizes->width % DTYPE_LARGEST_BLOCK)
		return fail(RWKVK_ERROR_ARGUMENT, "shape %s: type %s needs a width that is a multiple of %d, found %" PRIu32,
		            sizes->name, type, DTYPE_LARGEST_BLOCK, sizes->width);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ numbers */

static uint32_t random_word(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 32);
}

/* Uniform in [-1, 1). */
static float random_number(uint64_t *state)
{
	return (float)(int32_t)random_word(state) * 0x1p-31f;
}

static uint64_t unit_bytes(enum dtype type)
{
	return UNIT / dtype_info[type].block * dtype_info[type].bytes;
}

/* UNITS units of a format, [UNITS][unit_bytes()]; NULL: out of memory. */
static uint8_t *make_units(struct maker *maker, enum dtype type)
{
	const float spread = sqrtf(3 / (float)maker->sizes.width); /* so that a sum over a row has variance 1 */
	float numbers[UNIT];
	uint8_t *units = malloc(UNITS * unit_bytes(type));
	for (uint32_t i = 0; units && i < UNITS; i++) {
		for (uint32_t j = 0; j < UNIT; j++)
			numbers[j] = spread * random_number(&maker->random);
		dtype_from_float(type, numbers, UNIT, units + i * unit_bytes(type));
	}
	return units;
}

/* Units in random order: quantising all numbers would take minutes, and rows still differ. */
static rwkvk_status fill_bank(struct maker *maker, enum dtype type)
{
	const struct mapping *bank;
	uint64_t count = ceil_div(maker->bank_size[type], UNIT), bytes = unit_bytes(type);
	if (!count)
		return RWKVK_OK;
	TRY(weights_allocate(maker->weights, count * bytes, &bank));
	maker->bank[type] = *bank;
	uint8_t *units = make_units(maker, type), *to = (uint8_t *)(uintptr_t)bank->data;
	if (!units)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint64_t i = 0; i < count; i++)
		memcpy(to + i * bytes, units + (random_word(&maker->random) % UNITS) * bytes, bytes);
	free(units);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ tensors */

static void note_failure(struct maker *maker, rwkvk_status status)
{
	if (maker->status == RWKVK_OK)
		maker->status = status;
}

static void tensor_name(char *out, size_t size, int layer, const char *name)
{
	if (layer < 0)
		snprintf(out, size, "%s", name);
	else
		snprintf(out, size, "blocks.%d.%s", layer, name);
}

/* [rows,columns], a window of the bank. */
static void put_matrix(struct maker *maker, int layer, const char *name, enum dtype type, uint64_t rows, uint64_t columns)
{
	const struct dtype_info *info = &dtype_info[type];
	uint64_t count = rows * columns, whole = count + (uint64_t)STARTS * START_STEP;
	if (maker->sizing) {
		maker->bank_size[type] = maker->bank_size[type] > whole ? maker->bank_size[type] : whole;
		return;
	}
	char full[64];
	uint64_t start = maker->tensors++ * 17 % STARTS * START_STEP;
	tensor_name(full, sizeof full, layer, name);
	note_failure(maker, weights_add(maker->weights, &maker->bank[type], full, full, type, 2, (uint64_t[]){ rows, columns },
	                                start / info->block * info->bytes, count / info->block * info->bytes));
}

static void put_large(struct maker *maker, int layer, const char *name, enum matrix_role role, uint64_t rows, uint64_t columns)
{
	const struct kind *kind = maker->kind;
	put_matrix(maker, layer, name, kind->preset ? dtype_of_type(preset_type(kind->quant, role)) : kind->type, rows, columns);
}

/* [rows,columns] of F32, with its own numbers. */
static void put_vector(struct maker *maker, int layer, const char *name, uint64_t rows, uint64_t columns, float middle,
                       float spread)
{
	uint64_t count = rows * columns;
	if (maker->sizing) {
		maker->vector_count += count;
		return;
	}
	char full[64];
	float *to = (float *)(uintptr_t)maker->vectors.data + maker->vectors_at;
	for (uint64_t i = 0; i < count; i++)
		to[i] = middle + spread * random_number(&maker->random);
	tensor_name(full, sizeof full, layer, name);
	note_failure(maker, weights_add(maker->weights, &maker->vectors, full, full, DTYPE_F32, 2, (uint64_t[]){ rows, columns },
	                                maker->vectors_at * sizeof *to, count * sizeof *to));
	maker->vectors_at += count;
}

static void put_norm(struct maker *maker, int layer, const char *weight, const char *bias)
{
	put_vector(maker, layer, weight, 1, maker->sizes.width, 1, 0.1f);
	put_vector(maker, layer, bias, 1, maker->sizes.width, 0, 0.1f);
}

static void put_lora(struct maker *maker, int layer, const char *inner, const char *outer, uint32_t rank)
{
	enum dtype type = maker->kind->preset ? DTYPE_F16 : maker->kind->type; /* official files have them so */
	put_matrix(maker, layer, inner, type, maker->sizes.width, rank);
	put_matrix(maker, layer, outer, type, rank, maker->sizes.width);
}

static void put_time_mix(struct maker *maker, int i)
{
	static const char *const mixes[] = { "att.x_r", "att.x_w", "att.x_k", "att.x_v", "att.x_a", "att.x_g" };
	const struct sizes *s = &maker->sizes;
	const uint32_t C = s->width;
	for (size_t m = 0; m < sizeof mixes / sizeof *mixes; m++)
		put_vector(maker, i, mixes[m], 1, C, 0.5f, 0.5f);
	put_vector(maker, i, "att.w0", 1, C, -3, 3);
	put_vector(maker, i, "att.a0", 1, C, 0, 0.5f);
	put_vector(maker, i, "att.k_k", 1, C, 0.85f, 0.1f);
	put_vector(maker, i, "att.k_a", 1, C, 1, 0.1f);
	put_vector(maker, i, "att.r_k", C / HEAD_SIZE, HEAD_SIZE, 0, 0.2f);
	put_lora(maker, i, "att.w1", "att.w2", s->rank_decay);
	put_lora(maker, i, "att.a1", "att.a2", s->rank_decay);
	put_lora(maker, i, "att.g1", "att.g2", s->rank_gate);
	if (i > 0) {
		put_vector(maker, i, "att.v0", 1, C, 0, 0.5f);
		put_lora(maker, i, "att.v1", "att.v2", s->rank_value);
	}
	put_large(maker, i, "att.receptance.weight", ROLE_PROJECTION, C, C);
	put_large(maker, i, "att.key.weight", ROLE_PROJECTION, C, C);
	put_large(maker, i, "att.value.weight", ROLE_PROJECTION, C, C);
	put_large(maker, i, "att.output.weight", i == 0 ? ROLE_FIRST_OUTPUT : ROLE_PROJECTION, C, C);
	put_norm(maker, i, "att.ln_x.weight", "att.ln_x.bias");
}

static void put_all(struct maker *maker)
{
	const uint32_t C = maker->sizes.width, F = 4 * C;
	put_large(maker, -1, "emb.weight", ROLE_TABLE, VOCABULARY, C);
	put_norm(maker, 0, "ln0.weight", "ln0.bias");
	for (int i = 0; i < (int)maker->sizes.layers; i++) {
		put_norm(maker, i, "ln1.weight", "ln1.bias");
		put_time_mix(maker, i);
		put_norm(maker, i, "ln2.weight", "ln2.bias");
		put_vector(maker, i, "ffn.x_k", 1, C, 0.5f, 0.5f);
		put_large(maker, i, "ffn.key.weight", ROLE_FFN_KEY, F, C);
		put_large(maker, i, "ffn.value.weight", ROLE_FFN_VALUE, C, F);
	}
	put_norm(maker, -1, "ln_out.weight", "ln_out.bias");
	put_large(maker, -1, "head.weight", ROLE_TABLE, VOCABULARY, C);
}

static rwkvk_status make(struct maker *maker)
{
	maker->sizing = true;
	put_all(maker);
	maker->sizing = false;
	for (int type = 0; type < DTYPE_COUNT; type++)
		TRY(fill_bank(maker, (enum dtype)type));
	const struct mapping *vectors;
	TRY(weights_allocate(maker->weights, maker->vector_count * sizeof(float), &vectors));
	maker->vectors = *vectors;
	put_all(maker);
	return maker->status;
}

/* Names as shown in a message. */
static rwkvk_status set_names(const struct maker *maker)
{
	char name[64], path[96];
	snprintf(name, sizeof name, "RWKV-7 %s", maker->sizes.name);
	snprintf(path, sizeof path, "%s of %s", name, maker->kind->name);
	maker->weights->metadata.name = strdup(name);
	maker->weights->path = strdup(path);
	snprintf(maker->weights->format, sizeof maker->weights->format, "synthetic");
	return maker->weights->metadata.name && maker->weights->path ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "out of memory");
}

rwkvk_status synthetic_weights(const char *shape, const char *type, struct weights *out)
{
	*out = (struct weights){ .metadata.sampling = usual_sampling };
	struct maker maker = { .weights = out, .random = 42 };
	TRY(find_sizes(shape, &maker.sizes));
	TRY(find_kind(type, &maker.sizes, &maker.kind));
	rwkvk_status status = set_names(&maker);
	if (status == RWKVK_OK)
		status = make(&maker);
	if (status != RWKVK_OK)
		weights_close(out);
	return status;
}
