/* Number formats: every 16-bit pattern, rounding ties, 8-bit blocks, sizes. */
#include "support.h"

#include <math.h>

#include "base/half.h"
#include "format/weights.h"

/* Every pattern of a 16-bit format survives widening and narrowing; NaNs stay NaNs. */
static void check_all_patterns(enum dtype type, uint32_t exponent_mask)
{
	uint8_t buffer[3], back[3];
	for (uint32_t pattern = 0; pattern < 65536; pattern++) {
		uint16_t bits = (uint16_t)pattern, got;
		float value;
		memcpy(buffer + 1, &bits, sizeof bits); /* odd address: nothing may assume alignment */
		dtype_to_float(type, buffer + 1, 0, 1, &value);
		dtype_from_float(type, &value, 1, back + 1);
		memcpy(&got, back + 1, sizeof got);
		bool nan = (pattern & exponent_mask) == exponent_mask && (pattern & 0x7fff & ~exponent_mask);
		assert_int_equal(isnan(value) != 0, nan);
		if (!nan)
			assert_int_equal(got, bits);
		else
			assert_true((got & exponent_mask) == exponent_mask && (got & 0x7fff & ~exponent_mask));
	}
}

static void test_f16_patterns(void **state)
{
	(void)state;
	check_all_patterns(DTYPE_F16, 0x7c00);
}

static void test_bf16_patterns(void **state)
{
	(void)state;
	check_all_patterns(DTYPE_BF16, 0x7f80);
}

static void test_bf16_rounding(void **state)
{
	(void)state;
	static const struct {
		uint32_t in;
		uint16_t want;
	} cases[] = {
		{ 0x3f808000, 0x3f80 }, /* tie, down to even */
		{ 0x3f818000, 0x3f82 }, /* tie, up to even */
		{ 0x3f808001, 0x3f81 }, /* just above a tie */
		{ 0x3f807fff, 0x3f80 }, /* just below one */
		{ 0x7f7fffff, 0x7f80 }, /* largest float: infinity */
		{ 0xff800000, 0xff80 }, /* -infinity */
		{ 0x80000001, 0x8000 }, /* smallest negative subnormal */
		{ 0x7f800001, 0x7fc0 }, /* a NaN whose bits are all in the half that is cut off */
		{ 0xffffffff, 0xffff }, /* a NaN that adding would turn into zero */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		float value = float_of_bits(cases[i].in);
		uint16_t got;
		dtype_from_float(DTYPE_BF16, &value, 1, &got);
		assert_int_equal(got, cases[i].want);
	}
}

static void test_f32_and_offsets(void **state)
{
	(void)state;
	uint64_t seed = 1;
	float values[96], back[96];
	uint8_t stored[1 + sizeof values];
	for (size_t i = 0; i < 96; i++)
		values[i] = test_uniform(&seed);
	for (enum dtype type = 0; type <= DTYPE_Q8_0; type++) { /* the other block types: test_quants.c */
		dtype_from_float(type, values, 96, stored + 1);
		dtype_to_float(type, stored + 1, 64, 32, back);
		assert_close(dtype_info[type].name, back, values + 64, 32, type == DTYPE_F32 ? 0 : 0.005);
		float last;
		if (dtype_info[type].block == 1) {
			dtype_to_float(type, stored + 1, 95, 1, &last);
			assert_close(dtype_info[type].name, &last, values + 95, 1, 0.005);
		}
	}
}

/* The definition, in double: d = max|x| / 127 as f16, q = x / d rounded half away from zero. */
static void test_q8_random(void **state)
{
	(void)state;
	uint64_t seed = 7;
	for (int round = 0; round < 200; round++) {
		float in[32], largest = 0, scale_f = ldexpf(1, (int)(test_random(&seed) % 24) - 14);
		uint8_t block[34];
		for (size_t i = 0; i < 32; i++) {
			in[i] = test_uniform(&seed) * scale_f;
			largest = fmaxf(largest, fabsf(in[i]));
		}
		dtype_from_float(DTYPE_Q8_0, in, 32, block);
		uint16_t bits;
		memcpy(&bits, block, sizeof bits);
		assert_int_equal(bits, f16_of_float(largest / 127));
		for (size_t i = 0; i < 32; i++) {
			double exact = (double)in[i] * 127 / (double)largest;
			assert_true(fabs((int8_t)block[2 + i] - exact) <= 0.5001);
		}
	}
}

static void test_q8_rounding(void **state)
{
	(void)state;
	float in[32] = { 127, 0.5f, -0.5f, 1.5f, -1.5f, 2.5f, -126.5f, 0.25f, -127 }, out[32];
	static const int8_t want[32] = { 127, 1, -1, 2, -2, 3, -127, 0, -127 };
	uint8_t block[34];
	dtype_from_float(DTYPE_Q8_0, in, 32, block);
	assert_memory_equal(block, ((uint8_t[]){ 0x00, 0x3c }), 2); /* 1.0 */
	assert_memory_equal(block + 2, want, 32);
	dtype_to_float(DTYPE_Q8_0, block, 0, 32, out);
	assert_float_equal(out[0], 127, 0);
	assert_float_equal(out[6], -127, 0);

	memset(in, 0, sizeof in);
	dtype_from_float(DTYPE_Q8_0, in, 32, block);
	for (size_t i = 0; i < 34; i++)
		assert_int_equal(block[i], 0);
}

/* Numbers that 8 bits cannot hold must not come back as plausible ones. */
static void test_q8_hostile(void **state)
{
	(void)state;
	static const float bad[] = { INFINITY, -INFINITY, NAN, 3e38f, 1e7f };
	for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
		float in[64], out[64];
		uint8_t blocks[68];
		for (size_t i = 0; i < 64; i++)
			in[i] = 1;
		in[5] = bad[b];
		dtype_from_float(DTYPE_Q8_0, in, 64, blocks);
		dtype_to_float(DTYPE_Q8_0, blocks, 0, 64, out);
		for (size_t i = 0; i < 32; i++)
			assert_true(!isfinite(out[i]));
		for (size_t i = 32; i < 64; i++)
			assert_true(fabsf(out[i] - 1) < 0.01f); /* the neighbouring block is untouched */
	}
	float tiny[32] = { 1e-44f, -1e-44f }, out[32];
	uint8_t block[34];
	dtype_from_float(DTYPE_Q8_0, tiny, 32, block); /* 1 / scale would be infinite */
	dtype_to_float(DTYPE_Q8_0, block, 0, 32, out);
	for (size_t i = 0; i < 32; i++)
		assert_true(out[i] == 0);
}

/* One number among many, at every place of a run of prime length. */
static void check_fits(enum dtype type, float value, float limit, bool want)
{
	enum { COUNT = 37 };
	float values[COUNT];
	uint8_t stored[4 * COUNT + 1];
	for (int at = 0; at < COUNT; at++) {
		for (int i = 0; i < COUNT; i++)
			values[i] = i == at ? value : 0.25f - (float)i;
		dtype_from_float(type, values, COUNT, stored + 1);
		if (dtype_fits(type, stored + 1, COUNT, limit) != want)
			fail_msg("%s: %g below %g at %d: expected %d", dtype_info[type].name, (double)value, (double)limit, at, want);
	}
}

static void test_fits(void **state)
{
	(void)state;
	for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
		check_fits(type, 0, INFINITY, true);
		check_fits(type, type == DTYPE_F16 ? 65504 : 0x1.fep127f, INFINITY, true);
		check_fits(type, type == DTYPE_F16 ? -65504 : -0x1.fep127f, INFINITY, true);
		check_fits(type, INFINITY, INFINITY, false);
		check_fits(type, -INFINITY, INFINITY, false);
		check_fits(type, NAN, INFINITY, false);
		check_fits(type, -NAN, INFINITY, false);
		check_fits(type, 65280, 65520, true);
		check_fits(type, -65280, 65520, true);
		check_fits(type, 65536, 65520, false);
		check_fits(type, -65536, 65520, false);
		check_fits(type, NAN, 65520, false);
	}
	check_fits(DTYPE_F32, 65519.996f, 65520, true);
	check_fits(DTYPE_F32, 65520, 65520, false);
}

/* The places of a block's f16s, as docs/formats.md gives them. */
static void test_scales_fit(void **state)
{
	(void)state;
	static const int places[DTYPE_COUNT][2] = {
		[DTYPE_Q8_0] = { 0, -1 }, [DTYPE_Q4_0] = { 0, -1 },   [DTYPE_Q4_1] = { 0, 2 },    [DTYPE_Q5_0] = { 0, -1 },
		[DTYPE_Q5_1] = { 0, 2 },  [DTYPE_Q2_K] = { 80, 82 },  [DTYPE_Q3_K] = { 108, -1 }, [DTYPE_Q4_K] = { 0, 2 },
		[DTYPE_Q5_K] = { 0, 2 },  [DTYPE_Q6_K] = { 208, -1 }, [DTYPE_IQ4_NL] = { 0, -1 },
	};
	static const uint16_t bad[] = { 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff }, good[] = { 0, 0x8000, 0x3c00, 0x7bff, 0xfbff };
	enum { BLOCKS = 3 };
	for (enum dtype type = DTYPE_Q8_0; type < DTYPE_COUNT; type++) {
		const struct dtype_info *info = &dtype_info[type];
		uint8_t blocks[BLOCKS * 256];
		for (int b = 0; b < BLOCKS; b++)
			for (int which = 0; which < 2; which++)
				for (size_t i = 0; i < sizeof bad / sizeof *bad && places[type][which] >= 0; i++) {
					memset(blocks, 0xff, sizeof blocks); /* everything else is arbitrary */
					for (int c = 0; c < BLOCKS; c++)
						for (int w = 0; w < 2 && places[type][w] >= 0; w++)
							memcpy(blocks + c * (int)info->bytes + places[type][w], &good[i], 2);
					assert_true(dtype_fits(type, blocks, BLOCKS * info->block, INFINITY));
					memcpy(blocks + b * (int)info->bytes + places[type][which], &bad[i], 2);
					assert_false(dtype_fits(type, blocks, BLOCKS * info->block, INFINITY));
					assert_true(b == 0 || dtype_fits(type, blocks, (uint64_t)b * info->block, INFINITY));
				}
	}
}

static void test_sizes(void **state)
{
	(void)state;
	static const struct {
		enum dtype type;
		uint32_t rank;
		uint64_t shape[4];
		bool fits;
		uint64_t bytes;
	} cases[] = {
		{ DTYPE_F32, 1, { 7 }, true, 28 },
		{ DTYPE_F16, 3, { 2, 3, 5 }, true, 60 },
		{ DTYPE_BF16, 2, { 4, 1 }, true, 8 },
		{ DTYPE_Q8_0, 2, { 3, 64 }, true, 3 * 2 * 34 },
		{ DTYPE_F32, 0, { 0 }, true, 4 }, /* a scalar */
		{ DTYPE_F32, 2, { 0, 8 }, true, 0 },
		{ DTYPE_Q8_0, 2, { 64, 3 }, false, 0 }, /* rows must be whole blocks, not the whole */
		{ DTYPE_Q8_0, 1, { 31 }, false, 0 },
		{ DTYPE_F32, 2, { (uint64_t)1 << 32, (uint64_t)1 << 32 }, false, 0 },
		{ DTYPE_F32, 1, { (uint64_t)1 << 62 }, false, 0 },
		{ DTYPE_F16, 1, { ((uint64_t)1 << 63) - 1 }, true, UINT64_MAX - 1 },
		{ DTYPE_F32, 4, { 65536, 65536, 65536, 65536 }, false, 0 },
		{ DTYPE_Q8_0, 2, { 2, (uint64_t)1 << 63 }, false, 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t bytes = 0;
		assert_int_equal(dtype_bytes(cases[i].type, cases[i].rank, cases[i].shape, &bytes), cases[i].fits);
		assert_true(bytes == cases[i].bytes);
	}
}

static void test_shown(void **state)
{
	(void)state;
	char text[300];
	memset(text, 'x', sizeof text);
	assert_string_equal(show_text("a\x1b[31m\n\xff", 8).text, "a?[31m??");
	assert_string_equal(show_text(text, 0).text, "");
	struct shown cut = show_text(text, sizeof text);
	assert_true(strlen(cut.text) == sizeof cut.text - 1 && strcmp(cut.text + sizeof cut.text - 4, "...") == 0);
	assert_string_equal(show_shape(2, (uint64_t[]){ 6, 128 }).text, "[6, 128]");
	assert_string_equal(show_shape(0, NULL).text, "[]");
	uint64_t huge[8] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	assert_non_null(strchr(show_shape(8, huge).text, ']'));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_f16_patterns),    cmocka_unit_test(test_bf16_patterns), cmocka_unit_test(test_bf16_rounding),
		cmocka_unit_test(test_f32_and_offsets), cmocka_unit_test(test_q8_random),     cmocka_unit_test(test_q8_rounding),
		cmocka_unit_test(test_q8_hostile),      cmocka_unit_test(test_fits),          cmocka_unit_test(test_scales_fit),
		cmocka_unit_test(test_sizes),           cmocka_unit_test(test_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
