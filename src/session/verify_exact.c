/* Verification of bit-exact promises: blocks of integers that the device makes while loading equal those that threads make,
 * and tokens that it picks equal those that the host picks.  Drivers have had errors in functions that this relies on. */
#include <stdlib.h>
#include <string.h>

#include "engine/check.h"
#include "session/verify.h"

/* ------------------------------------------------------------------------------------------------------ blocks */

enum { ROWS = 32, COLUMNS = 256, COUNT = ROWS * COLUMNS };

static float uniform(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (float)(*seed >> 40) * 0x1p-23f - 1;
}

/* Rows in which rounding is hard.  Halves, in groups whose largest number makes the first grid of the search (quantise.c) one
 * of whole numbers; scales that lie between two f16; signs; numbers of all sizes, beside usual ones. */
static float hostile(uint32_t row, uint32_t column, uint64_t *seed)
{
	static const float largest[] = { 127, 15 - 1.8f, 31 - 1.8f, 32 - 1.9f };
	float u = uniform(seed), usual = 0.02f * (u + uniform(seed) + uniform(seed)), far = largest[row / 8];
	switch (row % 8) {
	case 0:
		return usual;
	case 1:
		return column % 16 == 0 ? far : 0.5f * (float)(int)(2 * far * (u < 0 ? -u : u));
	case 2:
		return column % 16 == 0 ? -far : 0.5f * (float)(int)(2 * far * u);
	case 3:
		return (column % 32 == 0 ? 1 : u) * 127 * (float)(2 * (column / 32) + 1) * 0x1p-25f;
	case 4:
		return -1e-3f - (usual < 0 ? -usual : usual);
	case 5:
		return 6e4f * u;
	case 6:
		return column == 77 ? 6e4f : usual;
	default:
		return column / 16 % 3 ? 0 : usual;
	}
}

struct blocks {
	struct rwkvk_model *model;
	struct parallel *parallel;
	float *values, *scratch;
	void *source;
	uint8_t *want, *got; /* the plane of weights, and the data beside it */
	struct tensor tensor;
	struct matrix matrix;
	uint64_t bytes;
};

/* Makes both: the device's bytes to b->got, the threads' to b->want. */
static rwkvk_status make_blocks(struct blocks *b, enum dtype from, uint32_t type)
{
	struct matrix *m = &b->matrix;
	dtype_from_float(from, b->values, COUNT, b->source);
	b->tensor = (struct tensor){
		.type = from, .rank = 2, .shape = { ROWS, COLUMNS }, .data = b->source, .bytes = COUNT * dtype_info[from].bytes
	};
	*m = (struct matrix){ .type = type, .rows = ROWS, .columns = COLUMNS, .part_count = 1 };
	m->parts[0] = (struct matrix_part){ matrix_source(&b->tensor, COLUMNS, type), ROWS };
	b->bytes = matrix_bytes(m);
	INVARIANT(b->bytes <= COUNT * sizeof(float));
	pack_tiles(b->parallel, m->parts, 1, COLUMNS, 0, ROWS / 8, b->want, b->want + matrix_plane_bytes(m, ROWS), b->scratch);
	return check_quantise(b->model, b->parallel, m, b->got);
}

static rwkvk_status blocks_init(struct blocks *b, struct rwkvk_model *m)
{
	uint64_t seed = 1;
	b->model = m;
	TRY(parallel_start(1, &b->parallel)); /* so few rows */
	b->scratch = malloc(parallel_workers(b->parallel) * pack_scratch_floats(COLUMNS) * sizeof(float));
	b->values = malloc(COUNT * sizeof(float));
	b->source = malloc(COUNT * sizeof(float));
	b->want = malloc(COUNT * sizeof(float));
	b->got = malloc(COUNT * sizeof(float));
	if (!b->scratch || !b->values || !b->source || !b->want || !b->got)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < COUNT; i++)
		b->values[i] = hostile(i / COLUMNS, i % COLUMNS, &seed);
	return RWKVK_OK;
}

static void blocks_finish(struct blocks *b)
{
	free(b->scratch);
	free(b->values);
	free(b->source);
	free(b->want);
	free(b->got);
	parallel_stop(b->parallel);
}

static const struct {
	enum dtype from;
	uint32_t type;
	const char *what;
} kinds[] = {
	{ DTYPE_F32, TYPE_Q8, "bytes of Q8 made of F32" },   { DTYPE_F32, TYPE_Q6K, "bytes of Q6K made of F32" },
	{ DTYPE_F32, TYPE_Q5K, "bytes of Q5K made of F32" }, { DTYPE_F32, TYPE_Q4K, "bytes of Q4K made of F32" },
	{ DTYPE_F16, TYPE_Q4K, "bytes of Q4K made of F16" }, { DTYPE_BF16, TYPE_Q4K, "bytes of Q4K made of BF16" },
};

static rwkvk_status compare_blocks(struct blocks *b, bool spoil, rwkvk_verify_row *row)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		uint64_t different = 0;
		TRY(make_blocks(b, kinds[i].from, kinds[i].type));
		b->got[0] ^= spoil;
		for (uint64_t j = 0; j < b->bytes; j++)
			different += b->got[j] != b->want[j];
		verify_note(row, kinds[i].what, (double)different / (double)b->bytes);
		row->compared += ROWS;
	}
	return RWKVK_OK;
}

rwkvk_status verify_blocks(struct rwkvk_model *m, bool spoil, rwkvk_verify_row *row)
{
	struct blocks b = { 0 };
	rwkvk_status status = blocks_init(&b, m);
	if (status == RWKVK_OK)
		status = compare_blocks(&b, spoil, row);
	blocks_finish(&b);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ picks */

static const rwkvk_sampling ways[] = {
	{ .temperature = 0, .top_p = 1 },
	{ .temperature = 1, .top_p = 1 },
	{ .temperature = 0.7f, .top_p = 0.9f },
	{ .temperature = 1.5f, .top_p = 0.5f, .top_k = 40 },
	{ .temperature = 1, .top_p = 0.8f, .presence = 0.4f, .frequency = 0.4f, .decay = 0.99f },
};

/* Picks from the device's logits.  Draws that rounding may have decided, as the device reports, do not count. */
static rwkvk_status pick_both(rwkvk_session *s, const rwkvk_sampling *sampling, const float *logits, uint64_t position,
                              uint32_t *got, uint32_t *want)
{
	struct picking picking = { .bare = true, .snapshot = NO_SNAPSHOT, .position = position, .sampling = sampling };
	bool is_close;
	TRY(session_prepare(s, sampling, &picking.pick));
	TRY(forward_select(s->model, s->slot, &picking, got, &is_close));
	TRY(sampler_pick(sampling, &s->seen, logits, position, want));
	if (is_close)
		*got = *want;
	return RWKVK_OK;
}

rwkvk_status verify_picks(rwkvk_session *s, const float *logits, bool spoil, rwkvk_verify_row *row)
{
	enum { DRAWS = 16, WAYS = sizeof ways / sizeof *ways };
	struct rwkvk_model *m = s->model;
	const uint32_t vocab = model_config(m)->vocab;
	uint32_t different = 0;
	memcpy(slot_logits(m, s->slot), logits, vocab * sizeof *logits);
	for (uint32_t i = 0; i < vocab; i += 1 + vocab / 50) /* some for the penalties */
		session_count(s, i, 0.99f);
	s->counts_on_device = false;
	for (uint32_t i = 0; i < WAYS * DRAWS; i++) {
		rwkvk_sampling sampling = ways[i % WAYS];
		uint32_t got, want;
		sampling.seed = i;
		TRY(pick_both(s, &sampling, logits, i * 0x100000001u, &got, &want));
		different += got != want || (spoil && i == 0);
	}
	verify_note(row, "tokens", (double)different / (WAYS * DRAWS));
	row->compared += WAYS * DRAWS;
	return RWKVK_OK;
}
