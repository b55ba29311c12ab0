/* Matrices in the device's layout: read back weight by weight as docs/formats.md describes it, in awkward shapes, and the same
 * bytes for any number of threads.  With RWKVK_BENCH set, the speed of packing each type from F16; nothing depends on it. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/half.h"
#include "network/outline.h"

enum { LINE = 128, POISON = 0xa5 };

/* A matrix in memory as a file has it, and its floats as the file's type holds them. */
struct test_matrix {
	struct tensor tensor;
	struct matrix_part part;
	uint32_t rows, columns;
	void *data;
	float *want; /* [rows,PAD(columns,256)] as the device's type holds them: zeros past the end need not stay zero */
};

static float *random_rows(uint64_t *seed, size_t count)
{
	float *out = malloc(count * sizeof *out);
	assert_non_null(out);
	for (size_t i = 0; i < count; i++)
		out[i] = (test_uniform(seed) + test_uniform(seed)) * (i / 256 % 5 ? 0.1f : 3);
	return out;
}

/* Through `type` and back, rows of whole blocks. */
static void round_rows(enum dtype type, size_t count, float *values)
{
	void *stored = malloc(count * sizeof *values);
	assert_non_null(stored);
	dtype_from_float(type, values, count, stored);
	dtype_to_float(type, stored, 0, count, values);
	free(stored);
}

/* `from` is the file's type, `to` the device's; blocks of read-only types are random bytes under sound scales. */
static void matrix_init(struct test_matrix *m, enum dtype from, uint32_t to, uint32_t rows, uint32_t columns, uint64_t *seed)
{
	const struct dtype_info *info = &dtype_info[from];
	size_t count = (size_t)rows * columns, bytes = count / info->block * info->bytes, padded = PAD(columns, 256);
	float *values = random_rows(seed, count);
	m->rows = rows;
	m->columns = columns;
	m->data = malloc(bytes);
	m->want = calloc(rows * padded, sizeof *m->want);
	assert_true(m->data && m->want);
	assert_int_equal(columns % info->block, 0);
	if (dtype_is_encodable(from)) {
		dtype_from_float(from, values, count, m->data);
	} else {
		for (size_t i = 0; i < bytes; i++)
			((uint8_t *)m->data)[i] = (uint8_t)test_random(seed);
		for (size_t b = 0; b < count / info->block; b++) {
			const uint16_t d[2] = { 0x2e66, 0x2a66 };
			size_t at = from == DTYPE_Q2_K ? 80 : from == DTYPE_Q3_K ? 108 : 0;
			memcpy((uint8_t *)m->data + b * info->bytes + at, d, from == DTYPE_Q2_K ? 4 : 2);
		}
	}
	dtype_to_float(from, m->data, 0, count, values);
	for (uint32_t r = 0; r < rows; r++)
		memcpy(m->want + r * padded, values + (size_t)r * columns, columns * sizeof *values);
	free(values);
	if (type_of_dtype(from) != to)
		round_rows(dtype_of_type(to), rows * padded, m->want);
	m->tensor = (struct tensor){ .type = from, .rank = 2, .shape = { rows, columns }, .data = m->data, .bytes = bytes };
	m->part = (struct matrix_part){ matrix_source(&m->tensor, columns, to), rows };
}

static void matrix_finish(struct test_matrix *m)
{
	free(m->data);
	free(m->want);
}

/* ------------------------------------------------------------------------------------------------------ reading it back */

static float half_of(const void *at)
{
	uint16_t bits;
	memcpy(&bits, at, sizeof bits);
	return float_of_f16(bits);
}

/* The integer of weight i of 128 bytes. */
static int integer(uint32_t type, const uint8_t *line, const uint8_t *further, uint32_t i)
{
	uint32_t u = i / 32, run = i / 4 % 8, byte = i % 4;
	if (type == TYPE_Q8)
		return (int8_t)line[i];
	int q = line[u * 16 + run / 2 * 4 + byte] >> run % 2 * 4 & 15;
	if (type == TYPE_Q6K)
		q |= (further[(2 * u + run / 4) * 4 + byte] >> 2 * (run % 4) & 3) << 4;
	else if (SIDE_WORDS(type) > SCALE_WORDS(type))
		q |= (further[u * 4 + byte] >> run & 1) << 4;
	return type == TYPE_Q4 ? q - 8 : type == TYPE_Q5 ? q - 16 : type == TYPE_Q6K ? q - 32 : q;
}

static float plain(uint32_t type, const uint8_t *line, uint32_t i)
{
	uint16_t bits;
	float value;
	if (type == TYPE_F32) {
		memcpy(&value, line + 4 * i, 4);
		return value;
	}
	memcpy(&bits, line + 2 * i, 2);
	return type == TYPE_F16 ? float_of_f16(bits) : float_of_bf16(bits);
}

/* codes: where the scale (and minimum) of a group lies; top: d (and dmin), in types that have it. */
static float weight(uint32_t type, int q, const uint8_t *codes, const uint8_t *top)
{
	switch (type) {
	case TYPE_Q8:
	case TYPE_Q4:
	case TYPE_Q5:
		return half_of(codes) * (float)q;
	case TYPE_Q4M:
	case TYPE_Q5M:
		return half_of(codes) * (float)q - half_of(codes + 2);
	case TYPE_Q6K:
		return half_of(top) * (float)(int8_t)codes[0] * (float)q;
	default:
		return half_of(top) * (float)codes[0] * (float)q - half_of(top + 2) * (float)codes[1];
	}
}

/* Bytes of a group's scale (and minimum), and of d (and dmin). */
static uint32_t code_bytes(uint32_t type)
{
	return type == TYPE_Q6K ? 1 : type == TYPE_Q4M || type == TYPE_Q5M ? 4 : 2;
}

static uint32_t top_bytes(uint32_t type)
{
	return type == TYPE_Q6K ? 2 : type == TYPE_Q4K || type == TYPE_Q5K || type == TYPE_Q2K ? 4 : 0;
}

static float tile_weight(uint32_t type, const uint8_t *tiles, const uint8_t *sides, uint32_t columns, uint32_t row,
                         uint32_t column)
{
	uint32_t block = type_block(type), i = column % block;
	size_t at = (size_t)row / 8 * 8 * ((columns + block - 1) / block) + column / block * 8 + row % 8;
	const uint8_t *line = tiles + at * LINE, *side = sides + at * SIDE_WORDS(type) * 4;
	if (type < TYPE_Q8)
		return plain(type, line, i);
	const uint8_t *codes = side + (top_bytes(type) ? 4 : 0) + i / VALUE_GROUP(type) * code_bytes(type);
	return weight(type, integer(type, line, side + SCALE_WORDS(type) * 4, i), codes, side);
}

static float value_weight(uint32_t type, const uint8_t *blocks, const uint8_t *sides, uint32_t inputs, uint32_t output,
                          uint32_t input)
{
	uint32_t outputs = VALUE_BLOCK(type), o = output % outputs;
	const uint8_t *line = blocks + output / outputs * value_block_bytes(type, inputs) + (size_t)input * LINE;
	const uint8_t *further = sides + output / outputs * value_side_bytes(type, inputs);
	const uint8_t *scales = further + (size_t)VALUE_INPUTS(inputs) * VALUE_HIGH_WORDS(type) * 4;
	const uint8_t *tops = scales + VALUE_INPUTS(inputs) / VALUE_GROUP(type) * (size_t)VALUE_SCALE_WORDS(type) * 4;
	if (type < TYPE_Q8)
		return plain(type, line, o);
	return weight(type, integer(type, line, further + (size_t)input * VALUE_HIGH_WORDS(type) * 4, o),
	              scales + input / VALUE_GROUP(type) * (size_t)VALUE_SCALE_WORDS(type) * 4 + o * code_bytes(type),
	              tops + input / 256 * (size_t)VALUE_TOP_WORDS(type) * 4 + o * top_bytes(type));
}

/* ------------------------------------------------------------------------------------------------------ packing */

struct packed {
	uint8_t *weights, *side;
	size_t weight_bytes, side_bytes;
};

static void packed_init(struct packed *p, size_t weight_bytes, size_t side_bytes)
{
	*p = (struct packed){ malloc(weight_bytes), malloc(side_bytes + 1), weight_bytes, side_bytes };
	assert_true(p->weights && p->side);
	memset(p->weights, POISON, weight_bytes);
	memset(p->side, POISON, side_bytes + 1);
}

static void packed_finish(struct packed *p)
{
	free(p->weights);
	free(p->side);
}

static void assert_same(const struct packed *a, const struct packed *b)
{
	assert_memory_equal(a->weights, b->weights, a->weight_bytes);
	assert_memory_equal(a->side, b->side, a->side_bytes + 1);
	assert_int_equal(a->side[a->side_bytes], POISON);
}

static float *scratch_for(struct parallel *parallel, uint32_t columns)
{
	float *scratch = malloc(parallel_workers(parallel) * pack_scratch_floats(columns) * sizeof *scratch);
	assert_non_null(scratch);
	return scratch;
}

/* All tiles of interleaved parts, `at_once` at a time. */
static void pack_as_tiles(unsigned threads, const struct matrix_part *parts, uint32_t count, uint32_t rows, uint32_t columns,
                          uint64_t at_once, struct packed *out)
{
	struct parallel *parallel;
	uint32_t type = parts->source.type;
	uint64_t tiles = (uint64_t)PAD(rows, 8) / 8 * count, tile = packed_bytes(type, 8, columns);
	uint64_t beside = packed_side_bytes(type, 8, columns);
	assert_ok(parallel_start(threads, &parallel));
	float *scratch = scratch_for(parallel, columns);
	packed_init(out, tiles * tile, tiles * beside);
	for (uint64_t t = 0; t < tiles; t += at_once)
		pack_tiles(parallel, parts, count, columns, t, tiles - t < at_once ? tiles - t : at_once, out->weights + t * tile,
		           out->side + t * beside, scratch);
	parallel_stop(parallel);
	free(scratch);
}

static void pack_by_input(unsigned threads, const struct matrix_part *part, uint32_t inputs, uint64_t at_once,
                          struct packed *out)
{
	struct parallel *parallel;
	uint32_t type = part->source.type;
	uint64_t blocks = (part->rows + VALUE_BLOCK(type) - 1) / VALUE_BLOCK(type);
	uint64_t plane = value_block_bytes(type, inputs), beside = value_side_bytes(type, inputs);
	assert_ok(parallel_start(threads, &parallel));
	float *scratch = scratch_for(parallel, inputs);
	packed_init(out, blocks * plane, blocks * beside);
	for (uint64_t b = 0; b < blocks; b += at_once)
		pack_value_blocks(parallel, part, inputs, b, blocks - b < at_once ? blocks - b : at_once, out->weights + b * plane,
		                  out->side + b * beside, scratch);
	parallel_stop(parallel);
	free(scratch);
}

/* ------------------------------------------------------------------------------------------------------ the tests */

/* Every way that a file's type becomes one of the device's. */
static const struct way {
	enum dtype from;
	uint32_t to;
} ways[] = {
	{ DTYPE_F32, TYPE_F32 },   { DTYPE_F16, TYPE_F16 },  { DTYPE_BF16, TYPE_BF16 }, { DTYPE_Q8_0, TYPE_Q8 },
	{ DTYPE_IQ4_NL, TYPE_Q8 }, { DTYPE_Q4_0, TYPE_Q4 },  { DTYPE_Q4_1, TYPE_Q4M },  { DTYPE_Q4_K, TYPE_Q4K },
	{ DTYPE_Q5_0, TYPE_Q5 },   { DTYPE_Q5_1, TYPE_Q5M }, { DTYPE_Q5_K, TYPE_Q5K },  { DTYPE_Q6_K, TYPE_Q6K },
	{ DTYPE_Q3_K, TYPE_Q6K },  { DTYPE_Q2_K, TYPE_Q2K }, { DTYPE_F32, TYPE_F16 },   { DTYPE_BF16, TYPE_F16 },
	{ DTYPE_F32, TYPE_Q8 },    { DTYPE_F16, TYPE_Q8 },   { DTYPE_BF16, TYPE_Q8 },   { DTYPE_F32, TYPE_Q6K },
	{ DTYPE_F16, TYPE_Q6K },   { DTYPE_BF16, TYPE_Q5K }, { DTYPE_F16, TYPE_Q5K },   { DTYPE_F32, TYPE_Q4K },
	{ DTYPE_F16, TYPE_Q4K },   { DTYPE_BF16, TYPE_Q4K },
};

static const uint32_t shapes[][2] = {
	{ 1, 1 }, { 3, 31 }, { 8, 256 }, { 9, 257 }, { 65, 33 }, { 84, 301 }, { 255, 96 }, { 257, 512 }, { 300, 800 },
};

/* Calls `check` for all ways and shapes; blocks of a file need columns in whole blocks. */
static void for_each(void (*check)(const struct test_matrix *, uint64_t *seed))
{
	uint64_t seed = 1;
	for (size_t w = 0; w < sizeof ways / sizeof *ways; w++)
		for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
			struct test_matrix m;
			matrix_init(&m, ways[w].from, ways[w].to, shapes[s][0], PAD(shapes[s][1], dtype_info[ways[w].from].block), &seed);
			check(&m, &seed);
			matrix_finish(&m);
		}
}

static void expect(const struct test_matrix *m, const char *layout, uint32_t row, uint32_t column, float got)
{
	float want = row < m->rows ? m->want[(size_t)row * PAD(m->columns, 256) + column] : 0;
	if (got != want)
		fail_msg("%s, %s as %s, %u x %u: weight %u,%u is %g, expected %g", layout, dtype_info[m->tensor.type].name,
		         type_name(m->part.source.type), m->rows, m->columns, row, column, (double)got, (double)want);
}

static void check_tiles(const struct test_matrix *m, uint64_t *seed)
{
	(void)seed;
	uint32_t type = m->part.source.type;
	struct packed one, many;
	pack_as_tiles(1, &m->part, 1, m->rows, m->columns, UINT64_MAX, &one);
	for (uint32_t row = 0; row < PAD(m->rows, 8); row++)
		for (uint32_t column = 0; column < PAD(m->columns, type_block(type)); column++)
			expect(m, "tiles", row, column, tile_weight(type, one.weights, one.side, m->columns, row, column));
	pack_as_tiles(5, &m->part, 1, m->rows, m->columns, 3, &many);
	assert_same(&one, &many);
	packed_finish(&one);
	packed_finish(&many);
}

static void test_tiles(void **state)
{
	(void)state;
	for_each(check_tiles);
}

static void check_by_input(const struct test_matrix *m, uint64_t *seed)
{
	(void)seed;
	uint32_t type = m->part.source.type;
	struct packed one, many;
	pack_by_input(1, &m->part, m->columns, UINT64_MAX, &one);
	for (uint32_t row = 0; row < PAD(m->rows, VALUE_BLOCK(type)); row++)
		for (uint32_t column = 0; column < VALUE_INPUTS(m->columns); column++)
			expect(m, "by input", row, column, value_weight(type, one.weights, one.side, m->columns, row, column));
	pack_by_input(5, &m->part, m->columns, 1, &many);
	assert_same(&one, &many);
	packed_finish(&one);
	packed_finish(&many);
}

static void test_by_input(void **state)
{
	(void)state;
	for_each(check_by_input);
}

/* Tile t of three matrices is tile t / 3 of matrix t % 3. */
static void test_interleaved(void **state)
{
	(void)state;
	enum { PARTS = 3, ROWS = 43, COLUMNS = 300 };
	static const uint32_t types[] = { TYPE_F16, TYPE_Q8, TYPE_Q4K };
	uint64_t seed = 2;
	for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
		struct test_matrix m[PARTS];
		struct matrix_part parts[PARTS];
		struct packed one, many;
		for (int p = 0; p < PARTS; p++) {
			matrix_init(&m[p], DTYPE_F16, types[t], ROWS, COLUMNS, &seed);
			parts[p] = m[p].part;
		}
		pack_as_tiles(1, parts, PARTS, ROWS, COLUMNS, UINT64_MAX, &one);
		pack_as_tiles(4, parts, PARTS, ROWS, COLUMNS, 7, &many);
		assert_same(&one, &many);
		for (uint32_t p = 0; p < PARTS; p++)
			for (uint32_t row = 0; row < PAD(ROWS, 8); row++)
				for (uint32_t column = 0; column < COLUMNS; column++)
					expect(&m[p], "interleaved", row, column,
					       tile_weight(types[t], one.weights, one.side, COLUMNS, (row / 8 * PARTS + p) * 8 + row % 8, column));
		packed_finish(&one);
		packed_finish(&many);
		for (int p = 0; p < PARTS; p++)
			matrix_finish(&m[p]);
	}
}

/* ------------------------------------------------------------------------------------------------------ what is no number */

/* A matrix with one given element, packed both ways. */
static void check_number(enum dtype from, uint32_t to, float value, uint32_t row, uint32_t column, bool want)
{
	enum { ROWS = 12, COLUMNS = 320, MOST = 1 << 20 };
	uint64_t seed = 4;
	struct test_matrix m;
	struct parallel *parallel;
	matrix_init(&m, from, to, ROWS, COLUMNS, &seed);
	dtype_from_float(from, &value, 1, (uint8_t *)m.data + ((size_t)row * COLUMNS + column) * dtype_info[from].bytes);
	assert_ok(parallel_start(2, &parallel));
	float *scratch = scratch_for(parallel, COLUMNS);
	uint8_t *room = malloc(2 * MOST);
	assert_non_null(room);
	bool tiles = pack_tiles(parallel, &m.part, 1, COLUMNS, 0, PAD(ROWS, 8) / 8, room, room + MOST, scratch);
	bool blocks = pack_value_blocks(parallel, &m.part, COLUMNS, 0, 1, room, room + MOST, scratch);
	if (tiles != want || blocks != want)
		fail_msg("%s to %s, %g at %u, %u: %d and %d, expected %d", dtype_info[from].name, type_name(to), (double)value, row,
		         column, tiles, blocks, want);
	parallel_stop(parallel);
	free(scratch);
	free(room);
	matrix_finish(&m);
}

static void test_no_numbers(void **state)
{
	(void)state;
	static const uint32_t types[] = { TYPE_F32, TYPE_F16, TYPE_BF16, TYPE_Q8, TYPE_Q6K, TYPE_Q5K, TYPE_Q4K };
	static const uint32_t places[][2] = { { 0, 0 }, { 7, 255 }, { 11, 319 } };
	for (enum dtype from = DTYPE_F32; from <= DTYPE_BF16; from++)
		for (size_t t = 0; t < sizeof types / sizeof *types; t++)
			for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
				bool copied = type_of_dtype(from) == types[t]; /* which is not checked */
				uint32_t row = places[i][0], column = places[i][1];
				check_number(from, types[t], 0.5f, row, column, true);
				check_number(from, types[t], NAN, row, column, copied);
				check_number(from, types[t], -INFINITY, row, column, copied);
				if (from != DTYPE_F16)
					check_number(from, types[t], 70000, row, column, types[t] != TYPE_F16);
				if (from != DTYPE_F16 && types[t] != TYPE_F32 && types[t] != TYPE_BF16)
					check_number(from, types[t], -1e30f, row, column, false);
			}
}

/* Scales of blocks that stay as they are. */
static void test_scales_that_are_no_numbers(void **state)
{
	(void)state;
	enum { ROWS = 9, COLUMNS = 512, MOST = 1 << 20 };
	static const uint16_t nan_bits = 0x7e00;
	uint64_t seed = 5;
	for (enum dtype from = DTYPE_Q8_0; from < DTYPE_COUNT; from++) {
		struct test_matrix m;
		struct parallel *parallel;
		matrix_init(&m, from, type_of_dtype(from), ROWS, COLUMNS, &seed);
		assert_ok(parallel_start(2, &parallel));
		float *scratch = scratch_for(parallel, COLUMNS);
		uint8_t *room = malloc(2 * MOST);
		assert_non_null(room);
		size_t at = from == DTYPE_Q2_K ? 80 : from == DTYPE_Q3_K ? 108 : from == DTYPE_Q6_K ? 208 : 0;
		for (int good = 1; good >= 0; good--) {
			assert_int_equal(pack_tiles(parallel, &m.part, 1, COLUMNS, 0, 2, room, room + MOST, scratch), good);
			assert_int_equal(pack_value_blocks(parallel, &m.part, COLUMNS, 0, 1, room, room + MOST, scratch), good);
			memcpy((uint8_t *)m.data + m.tensor.bytes - dtype_info[from].bytes + at, &nan_bits, 2);
		}
		parallel_stop(parallel);
		free(scratch);
		free(room);
		matrix_finish(&m);
	}
}

/* ------------------------------------------------------------------------------------------------------ speed */

static double seconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The best of several rounds over `rows` rows: GB of the source a second, and million weights a second of processor time. */
static void bench(struct parallel *parallel, const struct test_matrix *m, bool by_input, const struct packed *room,
                  float *scratch)
{
	double best = 1e9, processor = 1e9, weights = (double)m->rows * m->columns;
	uint32_t type = m->part.source.type;
	for (int round = 0; round < 7; round++) {
		double start = seconds(CLOCK_MONOTONIC), used = seconds(CLOCK_PROCESS_CPUTIME_ID);
		if (by_input)
			pack_value_blocks(parallel, &m->part, m->columns, 0, (m->rows + VALUE_BLOCK(type) - 1) / VALUE_BLOCK(type),
			                  room->weights, room->side, scratch);
		else
			pack_tiles(parallel, &m->part, 1, m->columns, 0, PAD(m->rows, 8) / 8, room->weights, room->side, scratch);
		best = fmin(best, seconds(CLOCK_MONOTONIC) - start);
		processor = fmin(processor, seconds(CLOCK_PROCESS_CPUTIME_ID) - used);
	}
	print_message("    %-4s %-8s %2u threads %6.2f GB/s, %6.0f M weights/s, %6.0f a processor\n", type_name(type),
	              by_input ? "by input" : "tiles", parallel_workers(parallel), 1e-9 * (double)m->tensor.bytes / best,
	              1e-6 * weights / best, 1e-6 * weights / processor);
}

static void test_speed(void **state)
{
	(void)state;
	enum { ROWS = 8192, COLUMNS = 2048 };
	static const uint32_t types[] = { TYPE_F16, TYPE_Q8, TYPE_Q6K, TYPE_Q5K, TYPE_Q4K };
	uint64_t seed = 3;
	if (!getenv("RWKVK_BENCH"))
		return;
	for (unsigned threads = 1; threads != 2; threads = threads == 1 ? 0 : 2)
		for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
			struct test_matrix m;
			struct parallel *parallel;
			struct packed room;
			matrix_init(&m, DTYPE_F16, TYPE_F16, ROWS, COLUMNS, &seed);
			m.part.source.type = types[t];
			assert_ok(parallel_start(threads, &parallel));
			float *scratch = scratch_for(parallel, COLUMNS);
			packed_init(&room, (size_t)ROWS * COLUMNS * 2, (size_t)ROWS * COLUMNS);
			bench(parallel, &m, false, &room, scratch);
			bench(parallel, &m, true, &room, scratch);
			packed_finish(&room);
			free(scratch);
			parallel_stop(parallel);
			matrix_finish(&m);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tiles),
		cmocka_unit_test(test_by_input),
		cmocka_unit_test(test_interleaved),
		cmocka_unit_test(test_no_numbers),
		cmocka_unit_test(test_scales_that_are_no_numbers),
		cmocka_unit_test(test_speed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
