/* Block types: what their bytes mean, that floats become the nearest values they can, and what no block can hold.  With
 * RWKVK_BENCH set, speed and error of each type as well; nothing depends on them. */
#include "support.h"

#include <math.h>
#include <time.h>

#include "base/half.h"
#include "format/dtype.h"

enum { MOST = DTYPE_LARGEST_BLOCK, MOST_BYTES = 256 };

#define FOR_EACH_BLOCK_TYPE(type) for (enum dtype type = DTYPE_Q8_0; type < DTYPE_COUNT; type++)
#define FOR_EACH_ENCODABLE(type)                                                                                               \
	FOR_EACH_BLOCK_TYPE(type)                                                                                                  \
	if (dtype_is_encodable(type))

static uint32_t groups_of(enum dtype type)
{
	return dtype_info[type].block / dtype_info[type].group;
}

/* The places of a type's f16 numbers; returns their number. */
static unsigned halves_of(enum dtype type, size_t at[2])
{
	at[0] = type == DTYPE_Q2_K ? 80 : type == DTYPE_Q3_K ? 108 : type == DTYPE_Q6_K ? 208 : 0;
	at[1] = at[0] + 2;
	return dtype_info[type].minimum ? 2 : 1;
}

static void random_block(uint64_t *seed, enum dtype type, uint8_t *block)
{
	for (size_t i = 0; i < dtype_info[type].bytes; i++)
		block[i] = (uint8_t)(test_random(seed) >> 8);
}

/* About normal: the sum of twelve uniform numbers. */
static float normal(uint64_t *seed)
{
	float sum = 0;
	for (int i = 0; i < 12; i++)
		sum += test_uniform(seed);
	return sum / 2;
}

/* Some values are far out: normal over uniform. */
static float heavy_tailed(uint64_t *seed)
{
	return normal(seed) / (0.03f + fabsf(test_uniform(seed)));
}

/* ---------------------------------------------------------------------------------------------------- decoding */

static enum dtype type_named(const char *name)
{
	for (enum dtype type = 0; type < DTYPE_COUNT; type++)
		if (strcmp(dtype_info[type].name, name) == 0)
			return type;
	fail_msg("no type %s", name);
	return DTYPE_COUNT;
}

/* tests/data/make_quants.py computed them element by element.  Bits are compared, except for the sign of zeros. */
static void test_vectors(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *file = test_read_file(TEST_DATA_DIR "/quants.bin", &bytes);
	unsigned types = 0;
	for (size_t at = 0; at < bytes; types++) {
		char name[9] = { 0 };
		uint32_t count, elements;
		float want[8 * MOST], got[8 * MOST];
		memcpy(name, file + at, 8);
		memcpy(&count, file + at + 8, 4);
		memcpy(&elements, file + at + 12, 4);
		const struct dtype_info *info = &dtype_info[type_named(name)];
		assert_int_equal(elements, info->block);
		const uint8_t *blocks = file + at + 16;
		memcpy(want, blocks + count * info->bytes, sizeof *want * count * elements);
		dtype_to_float(type_named(name), blocks, 0, count * elements, got);
		for (size_t i = 0; i < count * elements; i++)
			if (bits_of_float(got[i]) != bits_of_float(want[i]) && !(got[i] == 0 && want[i] == 0))
				fail_msg("%s: element %zu is %.9g, expected %.9g", name, i, (double)got[i], (double)want[i]);
		at += 16 + count * (info->bytes + sizeof *want * elements);
	}
	free(file);
	assert_int_equal(types, DTYPE_COUNT - DTYPE_Q8_0);
}

static void set_half(uint8_t *at, float value)
{
	uint16_t bits = f16_of_float(value);
	memcpy(at, &bits, sizeof bits);
}

/* By hand: one field at a time is set in a block of zeros; which elements change, and to what. */
static void test_fields(void **state)
{
	(void)state;
	static const struct {
		enum dtype type;
		struct {
			uint8_t at, value;
		} set[4];
		size_t element;
		float want; /* with d = 1, dmin = 0.5 */
	} cases[] = {
		{ DTYPE_Q2_K, { { 0, 0x32 } }, 0, -1.5f },                 /* least 3 */
		{ DTYPE_Q2_K, { { 0, 0x32 }, { 16, 3 } }, 0, 4.5f },       /* 2 * 3 - 1.5 */
		{ DTYPE_Q2_K, { { 1, 0x32 }, { 16, 3 } }, 16, -1.5f },     /* the scale of elements 16 to 31 */
		{ DTYPE_Q2_K, { { 3, 0x01 }, { 16 + 31, 0x08 } }, 63, 2 }, /* second pair of bits: elements 32 to 63 */
		{ DTYPE_Q2_K, { { 15, 0x0f }, { 79, 0xc0 } }, 255, 45 },   /* the last one */
		{ DTYPE_Q3_K, { { 0, 0 } }, 0, 128 },                      /* (0 - 32) (0 - 4) */
		{ DTYPE_Q3_K, { { 0, 1 } }, 0, 0 },                        /* the high bit takes the 4 away */
		{ DTYPE_Q3_K, { { 0, 2 } }, 32, 0 },
		{ DTYPE_Q3_K, { { 31, 0x80 }, { 95, 0xc0 } }, 255, -96 },              /* (0 - 32) 3 */
		{ DTYPE_Q3_K, { { 96, 0x0f }, { 104, 0x03 } }, 0, -124 },              /* (63 - 32) (-4) */
		{ DTYPE_Q3_K, { { 96, 0xf0 }, { 104, 0x30 } }, 128, -124 },            /* scale 8: upper half, third pair */
		{ DTYPE_Q3_K, { { 103, 0x10 }, { 107, 0xc0 } }, 240, (49 - 32) * -4 }, /* scale 15 */
		{ DTYPE_IQ4_NL, { { 2, 0x00 } }, 0, -127 },
		{ DTYPE_IQ4_NL, { { 2, 0x0f } }, 0, 113 },
		{ DTYPE_IQ4_NL, { { 2, 0x80 } }, 16, 1 },
		{ DTYPE_IQ4_NL, { { 17, 0x70 } }, 31, -10 },
		{ DTYPE_Q4_K, { { 4, 0xc1 }, { 12, 0x02 }, { 16 + 64, 3 } }, 128, (0x32 & 63) * 3 }, /* scale 4: bits from byte 4 */
		{ DTYPE_Q5_K, { { 5, 2 }, { 16, 2 }, { 48, 0x50 } }, 32, 2 * 21 },
		{ DTYPE_Q6_K, { { 192, 0xff }, { 0, 1 }, { 128, 2 } }, 0, 32 - 33 },
		{ DTYPE_Q6_K, { { 192 + 15, 0x80 }, { 127, 0x10 } }, 255, -128 * (1 - 32) },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t block[MOST_BYTES] = { 0 };
		float out[MOST];
		size_t halves[2];
		if (halves_of(cases[i].type, halves) == 2)
			set_half(block + halves[1], 0.5f);
		set_half(block + halves[0], 1);
		for (size_t j = 0; j < 4; j++)
			if (cases[i].set[j].at || cases[i].set[j].value)
				block[cases[i].set[j].at] = cases[i].set[j].value;
		dtype_to_float(cases[i].type, block, 0, dtype_info[cases[i].type].block, out);
		if (out[cases[i].element] != cases[i].want)
			fail_msg("case %zu: element %zu is %g, expected %g", i, cases[i].element, (double)out[cases[i].element],
			         (double)cases[i].want);
	}
}

/* Blocks at the very end of memory; the sanitizer sees a byte too far. */
static void test_any_bytes(void **state)
{
	(void)state;
	uint64_t seed = 3;
	FOR_EACH_BLOCK_TYPE(type)
	{
		const struct dtype_info *info = &dtype_info[type];
		for (uint32_t bits = 0; bits < 65536; bits += type < DTYPE_Q2_K || bits % 1024 > 1000 ? 1 : 61) {
			uint8_t *block = malloc(info->bytes);
			float *out = malloc(sizeof *out * info->block);
			size_t at[2];
			assert_true(block && out);
			random_block(&seed, type, block);
			if (bits % 7 == 0) /* integers and codes at their ends */
				memset(block, bits & 1 ? 0xff : 0, info->bytes);
			for (unsigned h = 0; h < halves_of(type, at); h++)
				memcpy(block + at[h], &(uint16_t){ (uint16_t)bits }, 2);
			dtype_to_float(type, block, 0, info->block, out);
			bool finite = (bits & 0x7c00) != 0x7c00;
			for (uint32_t i = 0; i < info->block; i++)
				if (finite ? !isfinite(out[i]) : isfinite(out[i]))
					fail_msg("%s: scale %04x makes %g", info->name, bits, (double)out[i]);
			free(block);
			free(out);
		}
	}
}

/* Integers and scales say the same as the floats, in products that are exact: fused or not, the bits agree. */
#ifdef __MINGW32__ /* its fmaf() rounds twice */
#define fmaf(x, y, z) ((x) * (y) + (z))
#endif
static void test_split(void **state)
{
	(void)state;
	uint64_t seed = 4;
	FOR_EACH_BLOCK_TYPE(type)
	{
		const struct dtype_info *info = &dtype_info[type];
		uint8_t block[MOST_BYTES];
		struct dtype_parts parts;
		float out[MOST];
		for (int round = 0; round < 2000; round++) {
			random_block(&seed, type, block);
			dtype_split(type, block, &parts);
			dtype_to_float(type, block, 0, info->block, out);
			for (uint32_t i = 0; i < info->block; i++) {
				float scale = parts.scale[i / info->group], min = parts.min[i / info->group];
				if (!isfinite(scale) || !isfinite(min))
					continue;
				assert_true((double)(scale * (float)parts.q[i]) == (double)scale * parts.q[i]);
				assert_true(bits_of_float(fmaf(scale, parts.q[i], -min)) == bits_of_float(out[i]));
				assert_true(info->minimum || min == 0);
				if (type != DTYPE_IQ4_NL) { /* its bits number uneven levels */
					int least = info->minimum ? 0 : -(1 << info->bits) / 2;
					assert_in_range(parts.q[i] - least, 0, (1 << info->bits) - 1);
				}
			}
		}
	}
}

/* ---------------------------------------------------------------------------------------------------- encoding */

/* Every value gets the nearest of the levels that its group has; ties and the rounding of float decide nothing. */
static void check_nearest(enum dtype type, const float *in, const uint8_t *block)
{
	const struct dtype_info *info = &dtype_info[type];
	struct dtype_parts parts;
	dtype_split(type, block, &parts);
	int least = info->minimum ? 0 : -(1 << info->bits) / 2, most = least + (1 << info->bits) - 1;
	for (uint32_t i = 0; i < info->block; i++) {
		double scale = parts.scale[i / info->group], min = parts.min[i / info->group];
		double exact = scale != 0 ? ((double)in[i] + min) / scale : parts.q[i];
		double nearest = fmin(fmax(exact, least), most);
		if (fabs(parts.q[i] - nearest) > 0.5 + 1e-4)
			fail_msg("%s: %g is level %d, the nearest is %g", info->name, (double)in[i], parts.q[i], nearest);
	}
}

/* f16 keeps 11 bits; below 2^-14 it is 2^-24 apart, and scales are rounded up. */
static double half_error(double value)
{
	return fmax(fabs(value) * 0x1p-11, 0x1p-24);
}

/* Blocks of 32: the scale is that of the range.  So no value is off by more than half a step, or a whole one on the side of
 * zero that has a level less; the rounding of the scale adds its share at the far end, and that of the minimum its own. */
static void check_range(enum dtype type, const float *in, const float *out, double *worst)
{
	const struct dtype_info *info = &dtype_info[type];
	double low = in[0], high = in[0], levels = (1 << info->bits) - 1;
	for (int i = 1; i < 32; i++) {
		low = fmin(low, in[i]);
		high = fmax(high, in[i]);
	}
	double far = fmax(-low, high);
	double step = info->minimum ? (high - low) / levels : type == DTYPE_Q8_0 ? far / 127 : far / (levels + 1) * 2;
	double bound = step * (info->minimum || type == DTYPE_Q8_0 ? 0.5 : 1) + levels * half_error(step);
	if (info->minimum)
		bound += 2 * half_error(fabs(low)); /* of the minimum, and of the scale that starts from it */
	for (int i = 0; i < 32; i++) {
		double error = fabs((double)in[i] - (double)out[i]);
		if (error > bound * (1 + 1e-6))
			fail_msg("%s: %g came back as %g, limit %g", info->name, (double)in[i], (double)out[i], bound);
		*worst = fmax(*worst, error / bound);
	}
}

static double weight_of(const float *in, uint32_t n, uint32_t i)
{
	double squares = 0;
	for (uint32_t j = 0; j < n; j++)
		squares += (double)in[j] * in[j];
	return sqrt(squares / n) + fabs(in[i]);
}

/* Blocks of 256, by group.  The search tries the grid that covers the range, which is off by half a step at most (a whole one
 * where a level is missing), and never takes a worse one by the weighted mean square.  The codes of scale and minimum then
 * move each level by half a step of theirs (a whole one where the highest code cuts off), and by the triangle inequality the
 * root mean square by no more; nearest integers only lower it. */
static void check_groups(enum dtype type, const float *in, const uint8_t *block, const float *out, double *worst)
{
	const struct dtype_info *info = &dtype_info[type];
	size_t at[2];
	double step[2] = { 0 }, levels = (1 << info->bits) - 1;
	uint16_t bits;
	for (unsigned h = 0; h < halves_of(type, at); h++) {
		memcpy(&bits, block + at[h], 2);
		step[h] = fabs((double)float_of_f16(bits));
	}
	double code = type == DTYPE_Q6_K ? 1 : 0.5 + 63 * 0x1p-11;
	for (uint32_t first = 0; first < info->block; first += info->group) {
		const float *x = in + first;
		double low = 0, high = 0, errors = 0, weights = 0;
		for (uint32_t i = 0; i < info->group; i++) {
			double w = weight_of(x, info->group, i), error = (double)x[i] - (double)out[first + i];
			low = fmin(low, x[i]);
			high = fmax(high, x[i]);
			errors += w * error * error;
			weights += w;
		}
		double grid = info->minimum ? (high - low) / levels / 2 : fmax(-low, high) / ((levels + 1) / 2);
		double bound = grid + code * (step[0] * (info->minimum ? levels : (levels + 1) / 2) + step[1]);
		double found = weights > 0 ? sqrt(errors / weights) : 0;
		if (found > bound * (1 + 1e-6))
			fail_msg("%s: group at %u is off by %g, limit %g", info->name, first, found, bound);
		*worst = fmax(*worst, found / bound);
	}
}

static void check_block(enum dtype type, const float *in, double *worst)
{
	uint8_t block[MOST_BYTES];
	float out[MOST];
	dtype_from_float(type, in, dtype_info[type].block, block);
	dtype_to_float(type, block, 0, dtype_info[type].block, out);
	for (uint32_t i = 0; i < dtype_info[type].block; i++)
		if (!isfinite(out[i]))
			fail_msg("%s: %g came back as %g", dtype_info[type].name, (double)in[i], (double)out[i]);
	if (type != DTYPE_Q8_0) /* whose integers are those of the scale before rounding, as ggml's; see test_dtype.c */
		check_nearest(type, in, block);
	if (dtype_info[type].block == 32)
		check_range(type, in, out, worst);
	else
		check_groups(type, in, block, out, worst);
}

static void test_bounds(void **state)
{
	(void)state;
	uint64_t seed = 6;
	FOR_EACH_ENCODABLE(type)
	{
		double worst = 0;
		for (int round = 0; round < 1500; round++) {
			float in[MOST], size = ldexpf(1, (int)(test_random(&seed) % 34) - 24), shift = round % 5 == 0 ? 2 : 0;
			for (size_t i = 0; i < MOST; i++) {
				if (i % 32 == 0 && round % 3 == 0)
					size = ldexpf(1, (int)(test_random(&seed) % 34) - 24); /* groups of different sizes */
				in[i] = size * (round % 2 ? test_uniform(&seed) + shift : heavy_tailed(&seed) - shift);
				if (round % 11 == 0 && i % 2)
					in[i] = 0;
				if (round % 13 == 0) /* nearly equal, so that a group's integers are too */
					in[i] = size * (round % 2 ? 1 : -1) * (1 + 1e-6f * test_uniform(&seed));
			}
			check_block(type, in, &worst);
		}
		assert_true(worst > 0.1); /* the limits are of the errors' own size */
	}
}

/* Values that a block holds exactly are read back, and so are its integers: this ties the bytes that are written to those that
 * are read.  Every group uses its lowest and highest integer and one group the highest code, so that there is no other choice.
 */
static void test_round_trip(void **state)
{
	(void)state;
	uint64_t seed = 8;
	FOR_EACH_ENCODABLE(type)
	{
		const struct dtype_info *info = &dtype_info[type];
		for (int round = 0; round < 300; round++) {
			float in[MOST], out[MOST],
				d = ldexpf(1 + (float)(test_random(&seed) % 1024) / 1024, (int)(test_random(&seed) % 12) - 8);
			int least = info->minimum ? 0 : -(1 << info->bits) / 2, most = least + (1 << info->bits) - 1;
			uint8_t block[MOST_BYTES];
			for (uint32_t i = 0; i < info->block; i++) {
				uint32_t g = i / info->group, in_group = i % info->group;
				uint32_t code = info->block == 32 ? 1 : type == DTYPE_Q6_K ? 128 : 63;
				uint32_t scale = g ? code - (g * 37 + (uint32_t)round) % (code / 2 + 1) : code;
				float min = info->minimum ? d * (float)(info->block == 32 ? 4 : g ? (g * 29 + (uint32_t)round) % 64 : 63) : 0;
				int q = in_group == 0 ? least : in_group == 1 ? most : least + (int)(test_random(&seed) % (1u << info->bits));
				if (type == DTYPE_Q8_0)
					q = in_group == 0 ? -127 : q < -127 ? 0 : q;
				in[i] = d * (float)(type == DTYPE_Q6_K ? -(int)scale : (int)scale) * (float)q - min;
			}
			dtype_from_float(type, in, info->block, block);
			dtype_to_float(type, block, 0, info->block, out);
			for (uint32_t i = 0; i < info->block; i++)
				if (in[i] != out[i])
					fail_msg("%s, round %d: element %u is %.9g, expected %.9g", info->name, round, i, (double)out[i],
					         (double)in[i]);
		}
	}
}

/* Why the search is worth it: scales taken from the range, with the same codes, have a larger weighted error. */
static void naive(enum dtype type, const float *in, float *out)
{
	const struct dtype_info *info = &dtype_info[type];
	uint32_t n = info->group, groups = groups_of(type);
	float scale[16], min[16], top = (float)((1 << info->bits) - 1), d = 0, dmin = 0;
	for (uint32_t g = 0; g < groups; g++) {
		float low = 0, high = 0;
		for (uint32_t i = g * n; i < (g + 1) * n; i++) {
			low = fminf(low, in[i]);
			high = fmaxf(high, in[i]);
		}
		scale[g] = info->minimum ? (high - low) / top : (high > -low ? high : low) / (-(top + 1) / 2);
		min[g] = info->minimum ? -low : 0;
		d = fabsf(scale[g]) > fabsf(d) ? scale[g] : d;
		dmin = fmaxf(dmin, min[g]);
	}
	d /= info->minimum ? 63 : -128;
	dmin /= 63;
	for (uint32_t g = 0; g < groups; g++) {
		float s = d * fminf(roundf(scale[g] / d), info->minimum ? 63 : 127), m = dmin > 0 ? dmin * roundf(min[g] / dmin) : 0;
		float least = info->minimum ? 0 : -(top + 1) / 2;
		for (uint32_t i = g * n; i < (g + 1) * n; i++)
			out[i] = s * fminf(fmaxf(roundf((in[i] + m) / s), least), least + top) - m;
	}
}

static double weighted_error(enum dtype type, const float *in, const float *out)
{
	double sum = 0;
	uint32_t n = dtype_info[type].group;
	for (uint32_t i = 0; i < dtype_info[type].block; i++) {
		double error = (double)in[i] - (double)out[i];
		sum += weight_of(in + i / n * n, n, i % n) * error * error;
	}
	return sum;
}

static void test_search(void **state)
{
	(void)state;
	static const enum dtype types[] = { DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K };
	uint64_t seed = 9;
	for (size_t t = 0; t < 6; t++) {
		enum dtype type = types[t / 2];
		double ours = 0, plain = 0;
		for (int round = 0; round < 200; round++) {
			float in[MOST], out[MOST];
			uint8_t block[MOST_BYTES];
			for (size_t i = 0; i < MOST; i++)
				in[i] = t % 2 ? heavy_tailed(&seed) : normal(&seed);
			dtype_from_float(type, in, MOST, block);
			dtype_to_float(type, block, 0, MOST, out);
			ours += weighted_error(type, in, out);
			naive(type, in, out);
			plain += weighted_error(type, in, out);
		}
		if (!(ours < plain))
			fail_msg("%s: searched %g, by range %g", dtype_info[type].name, ours, plain);
	}
}

/* Values that no scale can hold must not come back as numbers, and must not affect other blocks. */
static void test_hostile(void **state)
{
	(void)state;
	static const float bad[] = { INFINITY, -INFINITY, NAN, -NAN, 3e38f, -3e38f, 1e30f, 2e9f, -2e9f };
	FOR_EACH_ENCODABLE(type)
	{
		const struct dtype_info *info = &dtype_info[type];
		for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
			float in[2 * MOST], out[2 * MOST];
			uint8_t blocks[2 * MOST_BYTES];
			uint32_t n = info->block;
			for (uint32_t i = 0; i < 2 * n; i++)
				in[i] = i % 3 ? 1.f : -0.5f;
			in[b * 7 % n] = bad[b];
			dtype_from_float(type, in, 2 * n, blocks);
			dtype_to_float(type, blocks, 0, 2 * n, out);
			for (uint32_t i = 0; i < n; i++)
				assert_true(isnan(out[i]));
			for (uint32_t i = n; i < 2 * n; i++)
				assert_true(fabsf(out[i] - in[i]) < 0.1f);
		}
	}
}

/* Zeros stay zeros, and the smallest numbers are off by a step of f16, 2^-24, or two where there is a minimum as well.
 * Q8_0, which rounds its scale as ggml does, loses all that 127 times half a step holds. */
static void test_small(void **state)
{
	(void)state;
	FOR_EACH_ENCODABLE(type)
	{
		const struct dtype_info *info = &dtype_info[type];
		uint8_t block[MOST_BYTES], zeros[MOST_BYTES] = { 0 };
		float in[MOST] = { 0 }, out[MOST];
		dtype_from_float(type, in, info->block, block);
		dtype_to_float(type, block, 0, info->block, out);
		for (uint32_t i = 0; i < info->block; i++)
			assert_true(out[i] == 0);
		dtype_to_float(type, zeros, 0, info->block, out);
		for (uint32_t i = 0; i < info->block; i++)
			assert_true(out[i] == 0);
		for (int exponent = -149; exponent < -20; exponent++) {
			for (uint32_t i = 0; i < info->block; i++)
				in[i] = i % 5 ? 0 : ldexpf(i % 2 ? 1 : -1, exponent);
			dtype_from_float(type, in, info->block, block);
			dtype_to_float(type, block, 0, info->block, out);
			for (uint32_t i = 0; i < info->block; i++)
				assert_true(fabsf(out[i] - in[i]) <= (type == DTYPE_Q8_0 ? 127 * 0x1p-25f : 0x1p-23f));
		}
	}
}

/* ---------------------------------------------------------------------------------------------------- speed */

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void bench(enum dtype type, const float *in, size_t count, float *out, uint8_t *blocks)
{
	double start = seconds(), best = 1e9, errors = 0;
	if (dtype_is_encodable(type))
		dtype_from_float(type, in, count, blocks);
	double encode = seconds() - start;
	for (int round = 0; round < 5; round++) {
		start = seconds();
		dtype_to_float(type, blocks, 0, count, out);
		best = fmin(best, seconds() - start);
	}
	for (size_t i = 0; i < count; i++)
		errors += ((double)in[i] - (double)out[i]) * ((double)in[i] - (double)out[i]);
	double bytes = (double)sizeof *in * (double)count * 1e-9;
	if (dtype_is_encodable(type))
		print_message("    %-7s decode %6.2f GB/s of floats, encode %6.3f, error %.4f %%\n", dtype_info[type].name,
		              bytes / best, bytes / encode, 100 * sqrt(errors / (double)count));
	else
		print_message("    %-7s decode %6.2f GB/s of floats\n", dtype_info[type].name, bytes / best);
}

/* Errors are root mean squares for numbers of root mean square 1. */
static void test_speed(void **state)
{
	(void)state;
	enum { COUNT = 1 << 20 };
	if (!getenv("RWKVK_BENCH"))
		return;
	float *in = malloc(COUNT * sizeof *in), *out = malloc(COUNT * sizeof *out);
	uint8_t *blocks = calloc(COUNT, sizeof *in);
	uint64_t seed = 10;
	assert_true(in && out && blocks);
	for (size_t i = 0; i < COUNT; i++)
		in[i] = normal(&seed);
	for (enum dtype type = 0; type < DTYPE_COUNT; type++)
		bench(type, in, COUNT, out, blocks);
	free(in);
	free(out);
	free(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors), cmocka_unit_test(test_fields),  cmocka_unit_test(test_any_bytes),
		cmocka_unit_test(test_split),   cmocka_unit_test(test_bounds),  cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_search),  cmocka_unit_test(test_hostile), cmocka_unit_test(test_small),
		cmocka_unit_test(test_speed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
