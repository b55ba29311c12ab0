/* Blocks that the device makes from floats against those of the C encoders, byte for byte: every type of floats and of blocks,
 * in tiles, interleaved and by input, in hostile shapes and of hostile values, into poisoned buffers.  With RWKVK_BENCH set,
 * the speed of both; nothing depends on it. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/half.h"
#include "fill.h"
#include "make_model.h"
#include "engine/quantise_device.h"

enum { POISON = 0xa5, PARTS = 3 };
static const uint32_t types[] = { TYPE_Q8, TYPE_Q6K, TYPE_Q5K, TYPE_Q4K };
static const enum dtype sources[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
enum { TYPES = sizeof types / sizeof *types, SOURCES = sizeof sources / sizeof *sources };

/* ------------------------------------------------------------------------------------------------------ values */

/* Kinds of blocks of 256 weights. */
enum values {
	USUAL,
	ZEROS,
	MINUS_ZEROS,
	SUBNORMAL,
	SMALL_HALVES, /* subnormal as f16 */
	TINY,
	OUTLIER,
	EQUAL,
	NEGATIVE,
	APART, /* from zero, and close to each other */
	TWO_VALUES,
	LONG_TAILS,
	EMPTY_GROUPS,
	LARGE, /* some of them have no scale in f16 */
	ONE_NAN,
	ONE_INFINITY,
	ALL_VALUES,
};

static float value(enum values kind, uint32_t i, uint64_t *seed)
{
	float u = test_uniform(seed), normal = (u + test_uniform(seed) + test_uniform(seed)) * 0.02f;
	switch (kind) {
	case ZEROS:
		return 0;
	case MINUS_ZEROS:
		return -0.0f;
	case SUBNORMAL:
		return u * 1e-39f;
	case SMALL_HALVES:
		return u * 4e-7f;
	case TINY:
		return u * powf(2, (float)(i % 32) * -4);
	case OUTLIER:
		return i == 77 ? 60000 : normal;
	case EQUAL:
		return 0.37f;
	case NEGATIVE:
		return -fabsf(normal) - 1e-3f;
	case APART:
		return 5 + u * 1e-3f;
	case TWO_VALUES:
		return u > 0 ? 0.5f : -0.25f;
	case LONG_TAILS:
		return 0.01f * u / (1.001f - fabsf(test_uniform(seed)));
	case EMPTY_GROUPS:
		return i / 16 % 3 ? 0 : normal;
	case LARGE:
		return u * (i < 128 ? 6e4f : 3e9f);
	case ONE_NAN:
		return i == 200 ? NAN : normal;
	case ONE_INFINITY:
		return i == 31 ? -INFINITY : normal;
	default:
		return normal;
	}
}

struct floats {
	struct tensor tensor;
	struct matrix_part part;
	void *data;
};

static void floats_init(struct floats *m, enum dtype from, uint32_t type, uint32_t rows, uint32_t columns, uint64_t *seed)
{
	size_t count = (size_t)rows * columns, bytes = count * dtype_info[from].bytes;
	float *values = malloc(count * sizeof *values);
	m->data = malloc(bytes);
	assert_true(values && m->data);
	for (uint32_t r = 0; r < rows; r++)
		for (uint32_t c = 0; c < columns; c++)
			values[(size_t)r * columns + c] = value((r + c / 256) % ALL_VALUES, c % 256, seed);
	dtype_from_float(from, values, count, m->data);
	free(values);
	m->tensor = (struct tensor){ .type = from, .rank = 2, .shape = { rows, columns }, .data = m->data, .bytes = bytes };
	m->part = (struct matrix_part){ matrix_source(&m->tensor, columns, type), rows };
}

/* ------------------------------------------------------------------------------------------------------ both ways */

struct bench {
	struct gpu *gpu;
	struct parallel *parallel;
};

/* A matrix of parts, and its bytes: all slices after each other. */
struct packed {
	uint8_t *weights, *side;
	size_t weight_bytes, side_bytes;
};

static void packed_init(struct packed *p, const struct device_matrix *m)
{
	*p = (struct packed){ .weight_bytes = matrix_plane_bytes(&m->matrix, m->matrix.rows),
		                  .side_bytes = matrix_side_bytes(&m->matrix, m->matrix.rows) };
	p->weights = malloc(p->weight_bytes);
	p->side = malloc(p->side_bytes);
	assert_true(p->weights && p->side);
}

static void packed_finish(struct packed *p)
{
	free(p->weights);
	free(p->side);
}

static void by_host(const struct bench *b, const struct device_matrix *m, struct packed *out)
{
	uint64_t block = VALUE_BLOCK(m->matrix.type);
	float *scratch = malloc(parallel_workers(b->parallel) * pack_scratch_floats(m->matrix.columns) * sizeof *scratch);
	assert_non_null(scratch);
	if (m->matrix.by_input)
		pack_value_blocks(b->parallel, m->matrix.parts, m->matrix.columns, 0, (m->matrix.rows + block - 1) / block,
		                  out->weights, out->side, scratch);
	else
		pack_tiles(b->parallel, m->matrix.parts, m->matrix.part_count, m->matrix.columns, 0,
		           PAD((uint64_t)m->matrix.rows, 8) / 8, out->weights, out->side, scratch);
	free(scratch);
}

static void quantise_all(struct quantiser *q, struct quantise_rows rows)
{
	while (rows.rows > 0)
		assert_ok(quantise_piece(q, &rows));
}

static void quantise_slice(struct quantiser *q, const struct device_matrix *m, struct device_slice *slice)
{
	uint64_t begin = slice->row_begin / m->matrix.part_count, end = slice->row_end / m->matrix.part_count;
	for (uint32_t i = 0; i < m->matrix.part_count; i++) {
		uint64_t last = end < m->matrix.parts[i].rows ? end : m->matrix.parts[i].rows;
		quantise_all(q, (struct quantise_rows){ &m->matrix.parts[i], m->matrix.columns, m->matrix.by_input, begin, last - begin,
		                                        slice, m->matrix.by_input ? 0 : i, m->matrix.part_count });
	}
}

static void make_slices(struct gpu *gpu, struct device_matrix *m)
{
	assert_ok(matrix_slice(gpu_caps(gpu), m, "weights"));
	for (uint32_t i = 0; i < m->count; i++) {
		struct device_slice *s = &m->slices[i];
		uint64_t rows = s->row_end - s->row_begin;
		assert_ok(gpu_buffer_create(gpu, matrix_plane_bytes(&m->matrix, rows), GPU_DEVICE, "weights", &s->weights));
		assert_ok(gpu_buffer_create(gpu, matrix_side_bytes(&m->matrix, rows), GPU_DEVICE, "weights", &s->side));
		assert_ok(test_fill(&s->weights, 0, s->weights.bytes, POISON * 0x01010101u));
		assert_ok(test_fill(&s->side, 0, s->side.bytes, POISON * 0x01010101u));
	}
}

static void free_slices(struct device_matrix *m)
{
	for (uint32_t i = 0; i < m->count; i++) {
		gpu_buffer_destroy(&m->slices[i].weights);
		gpu_buffer_destroy(&m->slices[i].side);
	}
	free(m->slices);
	m->slices = NULL;
}

static void by_device(const struct bench *b, struct device_matrix *m, uint64_t piece_bytes, struct packed *out)
{
	struct quantiser *q;
	size_t at = 0, side_at = 0;
	make_slices(b->gpu, m);
	assert_ok(quantiser_create(b->gpu, b->parallel, piece_bytes, &q));
	assert_true(quantiser_takes(q, &m->matrix));
	for (uint32_t i = 0; i < m->count; i++)
		quantise_slice(q, m, &m->slices[i]);
	assert_ok(quantiser_finish(q));
	quantiser_destroy(q);
	gpu_sets_destroy(b->gpu);
	for (uint32_t i = 0; i < m->count; i++) {
		struct device_slice *s = &m->slices[i];
		assert_ok(gpu_read(&s->weights, 0, out->weights + at, s->weights.bytes));
		assert_ok(gpu_read(&s->side, 0, out->side + side_at, s->side.bytes));
		at += s->weights.bytes;
		side_at += s->side.bytes;
	}
	assert_int_equal(at, out->weight_bytes);
	assert_int_equal(side_at, out->side_bytes);
	free_slices(m);
}

/* ------------------------------------------------------------------------------------------------------ the tests */

static void assert_bytes(const struct device_matrix *m, const char *what, const uint8_t *got, const uint8_t *want, size_t bytes)
{
	size_t different = 0, first = 0;
	for (size_t i = bytes; i-- > 0;)
		if (got[i] != want[i]) {
			different++;
			first = i;
		}
	if (different)
		fail_msg("%s%s of %s, %u x %u, as %s: %zu of %zu bytes differ from the encoder's, the first at %zu: %02x, not %02x",
		         what,
		         m->matrix.by_input      ? " by input"
		         : m->matrix.interleaved ? " interleaved"
		                                 : "",
		         dtype_info[m->matrix.parts[0].source.tensor->type].name, m->matrix.rows, m->matrix.columns,
		         type_name(m->matrix.type), different, bytes, first, got[first], want[first]);
}

/* In pieces of about a third of the rows, so that all that are on their way at once are used again. */
static void check(const struct bench *b, struct device_matrix *m)
{
	struct packed want, got;
	uint64_t row = (uint64_t)m->matrix.columns * dtype_info[m->matrix.parts[0].source.tensor->type].bytes,
			 unit = m->matrix.by_input ? 32 : 8;
	packed_init(&want, m);
	packed_init(&got, m);
	by_host(b, m, &want);
	by_device(b, m, PAD(m->matrix.parts[0].rows / 5 + 1, unit) * row, &got);
	assert_bytes(m, "weights", got.weights, want.weights, want.weight_bytes);
	assert_bytes(m, "what lies beside them", got.side, want.side, want.side_bytes);
	packed_finish(&want);
	packed_finish(&got);
}

static const uint32_t shapes[][2] = {
	{ 1, 256 }, { 1, 32 }, { 9, 288 }, { 17, 2688 }, { 65, 96 }, { 257, 512 }, { 300, 800 }, { 520, 64 },
};

static void check_matrix(const struct bench *b, uint32_t type, enum dtype from, uint32_t rows, uint32_t columns, uint32_t parts,
                         bool by_input, uint64_t *seed)
{
	struct floats all[PARTS];
	struct device_matrix m = {
		.matrix = { .type = type, .columns = columns, .interleaved = parts > 1, .by_input = by_input, .part_count = parts }
	};
	for (uint32_t i = 0; i < parts; i++) {
		floats_init(&all[i], from, type, rows, columns, seed);
		m.matrix.parts[i] = all[i].part;
	}
	m.matrix.rows = parts > 1 ? parts * PAD(rows, 8) : rows;
	check(b, &m);
	for (uint32_t i = 0; i < parts; i++)
		free(all[i].data);
}

static void test_all(void **state)
{
	uint64_t seed = 1;
	unsigned every = test_every(), count = 0;
	for (size_t t = 0; t < TYPES; t++)
		for (size_t s = 0; s < SOURCES; s++)
			for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
				if (count++ % every)
					continue;
				check_matrix(*state, types[t], sources[s], shapes[i][0], shapes[i][1], 1, false, &seed);
				check_matrix(*state, types[t], sources[s], shapes[i][0], shapes[i][1], 1, true, &seed);
				check_matrix(*state, types[t], sources[s], shapes[i][0], shapes[i][1], PARTS, false, &seed);
			}
}

/* ------------------------------------------------------------------------------------------------------ exact arithmetic */

enum { PAIRS = 1 << 15 };

/* Normal, with significands where rounding is near a decision, too; every fourth in steps of a quarter around zero. */
static float some_float(uint64_t *seed)
{
	if (test_random(seed) % 4 == 0) {
		int32_t quarters = (int32_t)test_random(seed) >> test_random(seed) % 24 >> 4;
		return (float)(quarters ? quarters : 2) * 0.25f;
	}
	static const uint32_t edges[] = { 0, 1, 2, 3, 0x3fffff, 0x400000, 0x7ffffd, 0x7ffffe, 0x7fffff };
	uint32_t random = test_random(seed), fraction = random & 0x7fffff;
	if (random >> 23 & 1)
		fraction = edges[random % (sizeof edges / sizeof *edges)];
	uint32_t exponent = random >> 24 & 1 ? 127 : 1 + test_random(seed) % 254;
	return float_of_bits((test_random(seed) & 1) << 31 | exponent << 23 | fraction);
}

enum { RESULTS = 5 };
static const char *const results[RESULTS] = { "quotient", "root", "half", "nearest", "ceiling" };

/* Rounds as the search for scales does (quantise.c): where it matters, to the nearest, ties to even. */
static uint32_t rounded(float a)
{
	volatile float sum = a + 0x1.8p23f;
	float whole = sum - 0x1.8p23f;
	assert_true(fabsf(a) >= 0x1p22f || whole == rintf(a));
	return bits_of_float(whole);
}

static void check_exact(const float (*pairs)[2], const uint32_t (*got)[RESULTS], uint32_t off)
{
	for (size_t i = 0; i < PAIRS; i++) {
		float a = pairs[i][0], b = pairs[i][1], quotient = a / b;
		bool normal = fabsf(quotient) >= 0x1p-126f;
		const uint32_t want[RESULTS] = { normal ? bits_of_float(quotient) : got[i][0], bits_of_float(sqrtf(fabsf(a))),
			                             f16_of_float(fabsf(a)), rounded(a), (uint32_t)ceilf(fminf(fabsf(b), 1024)) };
		for (int j = 0; j < RESULTS; j++)
			if (got[i][j] != want[j])
				fail_msg("%s of %a and %a, where the device is %d off: %08x, not %08x", results[j], (double)a, (double)b,
				         (int)off, got[i][j], want[j]);
	}
}

/* The same quotients, roots and conversions as the host has, whatever the device's own are. */
static void test_exact(void **state)
{
	const struct bench *b = *state;
	struct gpu_buffer in, out;
	struct gpu_pipeline *pipeline;
	struct gpu_set *set;
	struct gpu_cmd *cmd;
	uint64_t seed = 4;
#ifndef RWKVK_DEVELOPER
	fprintf(stderr, "\n*** NOT TESTED: the shader test_exact is in builds with RWKVK_DEVELOPER alone ***\n\n");
	skip();
#endif
	float(*pairs)[2] = malloc(PAIRS * sizeof *pairs);
	uint32_t(*got)[RESULTS] = malloc(PAIRS * sizeof *got);
	assert_true(pairs && got);
	for (size_t i = 0; i < PAIRS; i++)
		for (int j = 0; j < 2; j++)
			pairs[i][j] = some_float(&seed);
	assert_ok(gpu_buffer_create(b->gpu, PAIRS * sizeof *pairs, GPU_DEVICE, "numbers", &in));
	assert_ok(gpu_buffer_create(b->gpu, PAIRS * sizeof *got, GPU_DEVICE, "numbers", &out));
	assert_ok(gpu_write(&in, 0, pairs, PAIRS * sizeof *pairs));
	assert_ok(gpu_pipeline_get(b->gpu, "test_exact", (uint32_t[]){ 128 }, 1, &pipeline));
	assert_ok(gpu_set_create(b->gpu, (struct gpu_binding[GPU_BINDINGS]){ { .buffer = &in }, { .buffer = &out } }, &in, &set));
	assert_ok(gpu_cmd_create(b->gpu, &cmd));
	for (int off = -4; off <= 4; off++) {
		const uint32_t push[] = { PAIRS, (uint32_t)off };
		gpu_cmd_begin(cmd);
		gpu_cmd_dispatch(cmd, pipeline, set, push, sizeof push, (struct gpu_groups){ PAIRS / 128, 1 }, "exact", 0);
		assert_ok(gpu_cmd_end(cmd));
		assert_ok(gpu_cmd_run(cmd));
		assert_ok(gpu_read(&out, 0, got, PAIRS * sizeof *got));
		check_exact(pairs, got, (uint32_t)off);
	}
	gpu_cmd_destroy(cmd);
	gpu_sets_destroy(b->gpu);
	gpu_buffer_destroy(&in);
	gpu_buffer_destroy(&out);
	free(pairs);
	free(got);
}

/* What the device leaves to the threads. */
static void test_refuses(void **state)
{
	const struct bench *b = *state;
	struct quantiser *q;
	struct floats m;
	uint64_t seed = 2;
	assert_ok(quantiser_create(b->gpu, b->parallel, 8 * 64 * 4, &q));
	static const struct {
		enum dtype from;
		uint32_t type, columns;
		bool by_input, takes;
	} cases[] = {
		{ DTYPE_F32, TYPE_Q4K, 64, false, true },  { DTYPE_F32, TYPE_Q4K, 64, true, false },
		{ DTYPE_F16, TYPE_Q4K, 128, false, true }, { DTYPE_F16, TYPE_Q4K, 160, false, false },
		{ DTYPE_F32, TYPE_Q4K, 33, false, false }, { DTYPE_F32, TYPE_F16, 64, false, false },
		{ DTYPE_F32, TYPE_Q4, 64, false, false },  { DTYPE_Q8_0, TYPE_Q8, 64, false, false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		floats_init(&m, cases[i].from, cases[i].type, 32, cases[i].columns, &seed);
		struct matrix matrix = { .type = cases[i].type, .rows = 32, .columns = cases[i].columns, .part_count = 1 };
		matrix.parts[0] = m.part;
		matrix.by_input = cases[i].by_input;
		assert_int_equal(quantiser_takes(q, &matrix), cases[i].takes);
		free(m.data);
	}
	quantiser_destroy(q);
}

/* ------------------------------------------------------------------------------------------------------ whole models */

static const struct model_spec models[] = {
	{ .name = "RWKV-4, interleaved, ffnPre",
	  .version = 40,
	  .layers = 2,
	  .width = 160,
	  .ffn = 288,
	  .vocab = 300,
	  .pre = true,
	  .type = DTYPE_F16,
	  .lora_type = DTYPE_F16 },
	{ .name = "RWKV-7 of columns that blocks do not divide",
	  .version = 70,
	  .layers = 2,
	  .width = 192,
	  .head_size = 64,
	  .ffn = 672,
	  .vocab = 513,
	  .rank_decay = 32,
	  .rank_iclr = 32,
	  .rank_gate = 64,
	  .rank_value = 32,
	  .type = DTYPE_F32,
	  .lora_type = DTYPE_F32 },
	{ .name = "RWKV-7 of which ffn.value is the threads'",
	  .version = 70,
	  .layers = 1,
	  .width = 64,
	  .head_size = 32,
	  .ffn = 300,
	  .vocab = 77,
	  .rank_decay = 8,
	  .rank_iclr = 8,
	  .rank_gate = 8,
	  .rank_value = 8,
	  .type = DTYPE_BF16,
	  .lora_type = DTYPE_F16 },
};

/* Progress is reported in order, and to the end. */
static bool in_order(void *user, uint64_t done, uint64_t total)
{
	uint64_t *last = user;
	assert_true(done >= *last && done <= total);
	*last = done == total ? UINT64_MAX : done;
	return true;
}

/* A model on a device of its own, with `more` appended to RWKVK_CAPS. */
static void open_model(rwkvk_model *m, const char *path, rwkvk_quant quant, const char *more)
{
	const char *caps = getenv("RWKVK_CAPS");
	char *saved = strdup(caps ? caps : ""), changed[256];
	assert_non_null(saved);
	snprintf(changed, sizeof changed, "%s,%s", saved, more);
	setenv("RWKVK_CAPS", changed, 1);
	*m = (rwkvk_model){ 0 };
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &m->gpu));
	setenv("RWKVK_CAPS", saved, 1);
	free(saved);
	assert_ok(file_init(&(rwkvk_model_options){ .path = path, .quant = quant }, &m->file));
}

static void load(rwkvk_model *m, const char *path, rwkvk_quant quant, const char *more)
{
	uint64_t last = 0;
	open_model(m, path, quant, more);
	assert_ok(model_load(m, &(struct load_options){ .max_sessions = 1, .progress = in_order, .progress_user = &last }));
	assert_true(last == UINT64_MAX);
}

static void unload(rwkvk_model *m)
{
	model_unload(m);
	file_finish(&m->file);
	gpu_close(m->gpu);
}

static void assert_same_buffer(const char *what, struct gpu_buffer *a, struct gpu_buffer *b)
{
	assert_int_equal(a->bytes, b->bytes);
	uint8_t *got = malloc(a->bytes + 1), *want = malloc(a->bytes + 1);
	assert_true(got && want);
	if (a->bytes) {
		assert_ok(gpu_read(a, 0, got, PAD(a->bytes, 4)));
		assert_ok(gpu_read(b, 0, want, PAD(b->bytes, 4)));
	}
	if (memcmp(got, want, a->bytes) != 0)
		fail_msg("%s: the device and the threads make other blocks", what);
	free(got);
	free(want);
}

static void assert_same_matrix(const char *what, struct device_matrix *a, struct device_matrix *b)
{
	assert_int_equal(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		assert_same_buffer(what, &a->slices[i].weights, &b->slices[i].weights);
		assert_same_buffer(what, &a->slices[i].side, &b->slices[i].side);
	}
}

static void check_model(const struct model_spec *spec, rwkvk_quant quant)
{
	rwkvk_model device, host;
	const char *path = test_temp("model");
	make_model(path, spec);
	load(&device, path, quant, "as-gpu");
	load(&host, path, quant, "as-gpu,host-quantise");
	assert_true(device_quantises(gpu_caps(device.gpu)) && !device_quantises(gpu_caps(host.gpu)));
	assert_true(gpu_counters(device.gpu).dispatches > 0);
	assert_int_equal(gpu_counters(host.gpu).dispatches, 0);
	assert_same_matrix(spec->name, &device.emb, &host.emb);
	assert_same_matrix(spec->name, &device.head, &host.head);
	for (uint32_t i = 0; i < spec->layers; i++) {
		struct device_matrix *of_device[LAYER_MATRICES], *of_host[LAYER_MATRICES];
		device_matrices(&device.layers[i], of_device);
		device_matrices(&host.layers[i], of_host);
		for (int j = 0; j < LAYER_MATRICES; j++)
			assert_same_matrix(spec->name, of_device[j], of_host[j]);
	}
	unload(&device);
	unload(&host);
}

static bool few_times(void *user, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	return (*(int *)user)-- > 0;
}

/* Cancelled with pieces on their way. */
static void test_cancelled(void **state)
{
	(void)state;
	const char *path = test_temp("model");
	make_model(path, &models[0]);
	for (int after = 0; after < 6; after++) {
		rwkvk_model m;
		int times = after;
		open_model(&m, path, RWKVK_QUANT_Q4, "as-gpu");
		assert_fails(
			model_load(&m, &(struct load_options){ .max_sessions = 1, .progress = few_times, .progress_user = &times }),
			RWKVK_CANCELLED, "cancelled");
		assert_true(gpu_counters(m.gpu).dispatches > 0);
		unload(&m);
	}
}

/* Threads take over if the device has no room for pieces. */
static void test_no_room(void **state)
{
	(void)state;
	rwkvk_model m;
	const char *path = test_temp("model");
	make_model(path, &models[0]);
	load(&m, path, RWKVK_QUANT_Q4, "as-gpu,memory=10000000");
	assert_int_equal(gpu_counters(m.gpu).dispatches, 0);
	unload(&m);
}

/* Loading with the device and with threads: the same bytes in every matrix. */
static void test_models(void **state)
{
	(void)state;
	static const rwkvk_quant quants[] = { RWKVK_QUANT_Q4, RWKVK_QUANT_Q5, RWKVK_QUANT_Q6, RWKVK_QUANT_Q8 };
	unsigned every = test_every(), count = 0;
	for (size_t i = 0; i < sizeof models / sizeof *models; i++)
		for (size_t j = 0; j < sizeof quants / sizeof *quants; j++)
			if (count++ % every == 0)
				check_model(&models[i], quants[j]);
}

/* ------------------------------------------------------------------------------------------------------ speed */

static double time_of(const struct bench *b, struct device_matrix *m, bool device, struct packed *room)
{
	double best = 1e9;
	struct quantiser *q;
	assert_ok(quantiser_create(b->gpu, b->parallel, QUANTISE_PIECE, &q));
	make_slices(b->gpu, m);
	for (int round = 0; round < 5; round++) {
		double start = clock_seconds();
		if (!device)
			by_host(b, m, room);
		for (uint32_t i = 0; i < m->count && device; i++)
			quantise_slice(q, m, &m->slices[i]);
		assert_ok(quantiser_finish(q));
		best = fmin(best, clock_seconds() - start);
	}
	quantiser_destroy(q);
	gpu_sets_destroy(b->gpu);
	free_slices(m);
	return best;
}

static void test_speed(void **state)
{
	enum { ROWS = 8192, COLUMNS = 2048 };
	const struct bench *b = *state;
	uint64_t seed = 3;
	struct floats f16;
	if (!getenv("RWKVK_BENCH"))
		return;
	floats_init(&f16, DTYPE_F16, TYPE_Q8, ROWS, COLUMNS, &seed);
	for (uint64_t i = 0; i < (uint64_t)ROWS * COLUMNS; i++) {
		uint16_t bits = f16_of_float(value(USUAL, 0, &seed));
		memcpy((uint8_t *)f16.data + 2 * i, &bits, 2);
	}
	for (size_t t = 0; t < TYPES; t++)
		for (int by_input = 0; by_input < 2; by_input++) {
			struct device_matrix m = {
				.matrix = { .type = types[t], .rows = ROWS, .columns = COLUMNS, .part_count = 1, .by_input = by_input }
			};
			struct packed room;
			m.matrix.parts[0] = f16.part;
			m.matrix.parts[0].source.type = types[t];
			packed_init(&room, &m);
			double device = time_of(b, &m, true, &room), host = time_of(b, &m, false, &room);
			print_message("    %-4s %-8s device %6.2f GB/s, %u threads %6.2f GB/s of F16\n", type_name(m.matrix.type),
			              by_input ? "by input" : "tiles", 1e-9 * (double)f16.tensor.bytes / device,
			              parallel_workers(b->parallel), 1e-9 * (double)f16.tensor.bytes / host);
			packed_finish(&room);
		}
	free(f16.data);
}

static int set_up(void **state)
{
	static struct bench b;
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &b.gpu));
	assert_ok(parallel_start(0, &b.parallel));
	*state = &b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	parallel_stop(b->parallel);
	gpu_close(b->gpu);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_all),     cmocka_unit_test(test_refuses),
		                                cmocka_unit_test(test_models),  cmocka_unit_test(test_exact),
		                                cmocka_unit_test(test_no_room), cmocka_unit_test(test_cancelled),
		                                cmocka_unit_test(test_speed) };
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
