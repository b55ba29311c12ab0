/* Sampling: the generator against published vectors, the order of the steps by cases in which another order picks other
 * tokens, draws against exact probabilities, and a slow oracle at full vocabulary size. */
#include "support.h"

#include <float.h>
#include <math.h>

#include "session/sampler.h"

static struct occurrences make(uint32_t vocab)
{
	struct occurrences seen;
	assert_ok(occurrences_init(&seen, vocab));
	return seen;
}

static uint32_t pick(const rwkvk_sampling *s, struct occurrences *seen, const float *logits, uint64_t position)
{
	uint32_t token = UINT32_MAX;
	assert_ok(sampler_pick(s, seen, logits, position, &token));
	assert_true(token < seen->vocab);
	return token;
}

/* How often each token is picked at positions 0 to draws - 1. */
static void histogram(const rwkvk_sampling *s, struct occurrences *seen, const float *logits, uint32_t draws, uint32_t *count)
{
	memset(count, 0, seen->vocab * sizeof *count);
	for (uint32_t i = 0; i < draws; i++)
		count[pick(s, seen, logits, i)]++;
}

/* Which tokens can be picked at all, one bit each. */
static unsigned possible(rwkvk_sampling s, const float *logits, uint32_t vocab)
{
	struct occurrences seen = make(vocab);
	uint32_t count[32];
	unsigned bits = 0;
	histogram(&s, &seen, logits, 2000, count);
	for (uint32_t i = 0; i < vocab; i++)
		bits |= (count[i] > 0) << i;
	occurrences_finish(&seen);
	return bits;
}

/* Pearson's statistic of counts against probabilities; a token of probability 0 must not have been picked. */
static double chi_square(const uint32_t *count, const double *probability, uint32_t vocab, uint32_t draws)
{
	double sum = 0;
	for (uint32_t i = 0; i < vocab; i++) {
		double want = probability[i] * draws;
		if (want == 0)
			assert_int_equal(count[i], 0);
		else
			sum += (count[i] - want) * (count[i] - want) / want;
	}
	return sum;
}

/* ---------------------------------------------------------------------------------------------------- Philox */

/* The generator as its authors define it, for any counter. */
static void philox_general(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t k0 = key[0], k1 = key[1];
	memcpy(out, counter, 4 * sizeof *out);
	for (int i = 0; i < 10; i++, k0 += 0x9e3779b9, k1 += 0xbb67ae85) {
		uint64_t p0 = out[0] * (uint64_t)0xd2511f53, p1 = out[2] * (uint64_t)0xcd9e8d57;
		uint32_t hi0 = (uint32_t)(p0 >> 32), hi1 = (uint32_t)(p1 >> 32);
		uint32_t next[4] = { hi1 ^ out[1] ^ k0, (uint32_t)p1, hi0 ^ out[3] ^ k1, (uint32_t)p0 };
		memcpy(out, next, sizeof next);
	}
}

static void philox_vectors(void **state)
{
	(void)state;
	static const struct {
		uint32_t counter[4], key[2], out[4];
	} vectors[] = {
		/* of the Random123 distribution */
		{ { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX },
		  { UINT32_MAX, UINT32_MAX },
		  { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
		  { 0xa4093822, 0x299f31d0 },
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};
	uint32_t out[4], got[4];
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		philox_general(vectors[i].counter, vectors[i].key, out);
		assert_memory_equal(out, vectors[i].out, sizeof out);
	}
	philox4x32(0, 0, got);
	assert_memory_equal(got, vectors[0].out, sizeof got);
	uint64_t random = 5;
	for (int i = 0; i < 1000; i++) {
		uint32_t counter[4] = { test_random(&random), i % 3 ? test_random(&random) : 0, 0, 0 };
		uint32_t key[2] = { test_random(&random), i % 2 ? test_random(&random) : 0 };
		philox_general(counter, key, out);
		philox4x32(key[0] | (uint64_t)key[1] << 32, counter[0] | (uint64_t)counter[1] << 32, got);
		assert_memory_equal(got, out, sizeof out);
	}
}

/* ---------------------------------------------------------------------------------------------------- greedy */

static void greedy(void **state)
{
	(void)state;
	static const float logits[6] = { -3, 2, -INFINITY, 5, 5, 1 };
	static const rwkvk_sampling cases[] = {
		{ 0 },
		{ .temperature = 0, .top_p = 1, .top_k = 4 },
		{ .temperature = 1, .top_p = 0 },
		{ .temperature = 2, .top_p = 0.9f, .top_k = 1 },
		{ .temperature = 1, .top_p = 1e-30f },
		{ .temperature = FLT_MIN, .top_p = 0.4f }, /* the cut comes first: one of two equal tokens stays */
	};
	struct occurrences seen = make(6);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (uint64_t position = 0; position < 50; position++)
			assert_int_equal(pick(&cases[i], &seen, logits, position), 3);
	occurrences_finish(&seen);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(sampler_is_greedy(&cases[i]), i < 4);
	assert_true(sampler_is_greedy(&(rwkvk_sampling){ .presence = 0.5f }));
	assert_false(sampler_is_greedy(&(rwkvk_sampling){ .temperature = 0.1f, .top_p = 1 }));
}

/* ---------------------------------------------------------------------------------------------------- order of steps */

static void fill_logs(float *logits, const double *probability, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		logits[i] = (float)log(probability[i]);
}

static void order_of_steps(void **state)
{
	(void)state;
	float logits[4];
	/* sharper temperature: were it first, .25 .09 .04 over .38 would reach .6 with one token */
	fill_logs(logits, (double[]){ 0.5, 0.3, 0.2 }, 3);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 0.5f, .top_p = 0.6f }, logits, 3), 3);
	/* flatter temperature: were it first, .39 .33 .29 would need two tokens for .45 */
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 3, .top_p = 0.45f }, logits, 3), 1);
	/* were top-k first and renormalised, .57 of two tokens would reach .5 at once */
	fill_logs(logits, (double[]){ 0.4, 0.3, 0.2, 0.1 }, 4);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.5f, .top_k = 2 }, logits, 4), 3);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.85f, .top_k = 2 }, logits, 4), 3);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.85f, .top_k = 3 }, logits, 4), 7);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.85f }, logits, 4), 7);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 1, .top_k = 3 }, logits, 4), 7);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 1, .top_k = 9 }, logits, 4), 15);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 7 }, logits, 4), 15);
}

/* Penalties come before the cut: without them .5 .3 .2 keeps token 0 alone at top-p .4, with ln 5 off token 0 the
 * probabilities are .17 .5 .33 and token 1 is kept alone. */
static void penalties_first(void **state)
{
	(void)state;
	float logits[3];
	uint32_t count[3];
	struct occurrences seen = make(3);
	rwkvk_sampling s = { .temperature = 1, .top_p = 0.4f, .presence = (float)log(5), .decay = 1 };
	fill_logs(logits, (double[]){ 0.5, 0.3, 0.2 }, 3);
	histogram(&s, &seen, logits, 200, count);
	assert_int_equal(count[0], 200);
	occurrences_add(&seen, 0, 1, 1);
	histogram(&s, &seen, logits, 200, count);
	assert_int_equal(count[1], 200);
	occurrences_finish(&seen);
}

static void cut_is_strict(void **state)
{
	(void)state;
	static const float equal[4] = { 1, 1, 1, 1 };
	/* half is reached by two, exceeded by three; of equals the lowest ids stay */
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.5f }, equal, 4), 7);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.49f }, equal, 4), 3);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 0.75f }, equal, 4), 15);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 1, .top_k = 2 }, equal, 4), 3);
	static const float mixed[5] = { 0, 1, 0, 1, 1 };
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 1, .top_k = 2 }, mixed, 5), 1 << 1 | 1 << 3);
	assert_int_equal(possible((rwkvk_sampling){ .temperature = 1, .top_p = 1, .top_k = 4 }, mixed, 5),
	                 1 | 1 << 1 | 1 << 3 | 1 << 4);
}

/* ---------------------------------------------------------------------------------------------------- draws */

/* With two equal tokens the first bit of the generator decides; token 0 has the lower half. */
static void draw_by_the_book(void **state)
{
	(void)state;
	static const float logits[2] = { 4, 4 };
	struct occurrences seen = make(2);
	for (uint64_t seed = 0; seed < 3; seed++) {
		rwkvk_sampling s = { .temperature = 1, .top_p = 1, .seed = seed << 40 | seed };
		for (uint64_t position = 0; position < 300; position++) {
			uint32_t random[4];
			uint64_t at = position << (position % 3 ? 0 : 33);
			philox4x32(s.seed, at, random);
			assert_int_equal(pick(&s, &seen, logits, at), random[0] >> 31);
		}
	}
	occurrences_finish(&seen);
}

/* With 65,536 equal tokens the token is the upper half of the generator's word, also where the share falls exactly on the
 * border between two tokens: the lower half is zero once in 65,536 positions. */
static void draw_at_borders(void **state)
{
	(void)state;
	enum { VOCAB = 65536 };
	float *logits = calloc(VOCAB, sizeof *logits);
	struct occurrences seen = make(VOCAB);
	static const rwkvk_sampling s = { .temperature = 1, .top_p = 1, .seed = 11 };
	uint32_t borders = 0;
	for (uint64_t position = 0; borders < 3; position++) {
		uint32_t random[4];
		philox4x32(s.seed, position, random);
		bool border = (random[0] & 0xffff) == 0;
		if (border || position < 5)
			assert_int_equal(pick(&s, &seen, logits, position), random[0] >> 16);
		borders += border;
	}
	occurrences_finish(&seen);
	free(logits);
}

/* Draws that rounding may decide say so: within 1e-5 of the border between two tokens, or of where top-p cuts. */
static void close_draws(void **state)
{
	(void)state;
	static const float logits[4] = { 0 };
	struct occurrences two = make(2), four = make(4);
	rwkvk_sampling s = { .temperature = 1, .top_p = 1, .seed = 5 };
	uint32_t close = 0;
	for (uint64_t position = 0; position < 400000; position++) {
		uint32_t random[4];
		philox4x32(s.seed, position, random);
		pick(&s, &two, logits, position);
		assert_int_equal(two.is_close, fabs(random[0] * 0x1p-32 - 0.5) < 1e-5);
		close += two.is_close;
	}
	assert_in_range(close, 1, 40); /* 8 to be expected */
	for (uint64_t position = 0; position < 10; position++) {
		s.top_p = 0.5f; /* two of the four are exactly that much: the third is kept, too */
		pick(&s, &four, logits, position);
		assert_true(four.is_close);
		s.top_p = 0.4f;
		pick(&s, &four, logits, position);
		assert_false(four.is_close);
		s.top_k = 2;
		pick(&s, &four, logits, position);
		assert_false(four.is_close);
		s.top_k = 0;
	}
	s.temperature = 0;
	pick(&s, &four, logits, 0);
	assert_false(four.is_close);
	occurrences_finish(&two);
	occurrences_finish(&four);
}

static void statistics(void **state)
{
	(void)state;
	enum { DRAWS = 40000 };
	/* .4 .3 .15 .1 .05 cut at .8 leaves .4 .3 .15; their p^(1/T), renormalised */
	static const float temperatures[] = { 1, 0.5f, 2, 0.7f };
	float logits[5];
	uint32_t count[5];
	struct occurrences seen = make(5);
	fill_logs(logits, (double[]){ 0.15, 0.4, 0.05, 0.3, 0.1 }, 5);
	for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
		rwkvk_sampling s = { .temperature = temperatures[t], .top_p = 0.8f, .seed = 1000 + t };
		double power = 1 / (double)s.temperature;
		double p[5] = { pow(0.15, power), pow(0.4, power), 0, pow(0.3, power), 0 }, total = p[0] + p[1] + p[3];
		for (int i = 0; i < 5; i++)
			p[i] /= total;
		histogram(&s, &seen, logits, DRAWS, count);
		assert_true(chi_square(count, p, 5, DRAWS) < 13.8); /* 2 degrees of freedom: one in a thousand */
	}
	occurrences_finish(&seen);
}

static void minus_infinity_never_comes(void **state)
{
	(void)state;
	static const float logits[4] = { -INFINITY, 1, -INFINITY, 1 };
	struct occurrences seen = make(4);
	uint32_t count[4];
	occurrences_add(&seen, 0, 1, 1);
	static const float temperatures[] = { 1, FLT_MAX, FLT_MIN, 0.3f };
	for (size_t i = 0; i < 4; i++)
		for (uint32_t k = 0; k < 5; k += 4) {
			rwkvk_sampling s = { .temperature = temperatures[i], .top_p = 1, .top_k = k, .presence = -FLT_MAX, .decay = 1 };
			histogram(&s, &seen, logits, 400, count);
			assert_int_equal(count[0] + count[2], 0);
			assert_true(count[1] > 120 && count[3] > 120);
		}
	occurrences_finish(&seen);
}

static void extreme_values(void **state)
{
	(void)state;
	static const float logits[3] = { FLT_MAX, -FLT_MAX, 0 };
	struct occurrences seen = make(3);
	for (uint32_t i = 0; i < 3; i++)
		occurrences_add(&seen, i, FLT_MAX, 1);
	static const float penalties[] = { 0, FLT_MAX, -FLT_MAX };
	for (size_t i = 0; i < 3; i++) {
		rwkvk_sampling s = { .temperature = FLT_MIN, .top_p = 0.3f, .presence = penalties[i], .frequency = penalties[i] };
		assert_int_equal(pick(&s, &seen, logits, i), 0); /* by far the largest, or equal to all after the clamp */
		s.temperature = 0;
		assert_int_equal(pick(&s, &seen, logits, i), 0);
	}
	occurrences_finish(&seen);
}

/* ---------------------------------------------------------------------------------------------------- penalties */

static void present_with_count_zero(void **state)
{
	(void)state;
	static const float logits[3] = { 3, 2.75f, 0 };
	struct occurrences seen = make(3);
	occurrences_add(&seen, 0, 0, 0.5f);
	assert_true(seen.present[0] && seen.count[0] == 0);
	assert_int_equal(pick(&(rwkvk_sampling){ .frequency = 100 }, &seen, logits, 0), 0);
	assert_int_equal(pick(&(rwkvk_sampling){ .presence = 0.5f }, &seen, logits, 0), 1);
	occurrences_finish(&seen);
}

static void counts_decay(void **state)
{
	(void)state;
	struct occurrences seen = make(4), other = make(4);
	occurrences_add(&seen, 1, 1, 0.5f); /* 1 */
	occurrences_add(&seen, 1, 1, 0.5f); /* 1.5 */
	occurrences_add(&seen, 2, 1, 0.5f); /* .75, 1 */
	static const float want[4] = { 0, 0.75f, 1, 0 };
	static const uint8_t present[4] = { 0, 1, 1, 0 };
	assert_memory_equal(seen.count, want, sizeof want);
	assert_memory_equal(seen.present, present, sizeof present);
	/* 4 - (1 + .75 * 2) = 1.5, 4 - (1 + 1 * 2) = 1 */
	static const rwkvk_sampling s = { .presence = 1, .frequency = 2 };
	assert_int_equal(pick(&s, &seen, (float[]){ 1.4f, 4, 4, -9 }, 0), 1);
	assert_int_equal(pick(&s, &seen, (float[]){ 1.6f, 4, 4, -9 }, 0), 0);
	assert_int_equal(pick(&s, &seen, (float[]){ 0.9f, 3, 4, -9 }, 0), 2);
	assert_int_equal(pick(&s, &seen, (float[]){ 1.1f, 3, 4, -9 }, 0), 0);
	occurrences_copy(&other, &seen);
	occurrences_clear(&seen);
	assert_memory_equal(other.count, want, sizeof want);
	assert_memory_equal(other.present, present, sizeof present);
	assert_int_equal(pick(&s, &other, (float[]){ 1.6f, 4, 4, -9 }, 0), 0);
	assert_int_equal(pick(&s, &seen, (float[]){ 1.6f, 4, 4, -9 }, 0), 1); /* forgotten */
	occurrences_finish(&seen);
	occurrences_finish(&other);
	occurrences_finish(&other); /* zeroed */
}

static void weights_by_text(void **state)
{
	(void)state;
	static const char *const light[] = { " ", "\t", "0", "5", "9", "01", "89", "0123456789", " \t", " \t0" };
	static const char *const heavy[] = { "a", "  ", "\n", "10", "00", "02", "9 ", "\t ", ".", " 0", "0123456789a", "\xe4" };
	for (size_t i = 0; i < sizeof light / sizeof *light; i++)
		assert_true(occurrences_weight(light[i], strlen(light[i])) == 0);
	for (size_t i = 0; i < sizeof heavy / sizeof *heavy; i++)
		assert_true(occurrences_weight(heavy[i], strlen(heavy[i])) == 1);
	assert_true(occurrences_weight("\0", 1) == 1);
	assert_true(occurrences_weight(NULL, 0) == 1);
}

/* ---------------------------------------------------------------------------------------------------- biases */

static void biases(void **state)
{
	(void)state;
	static const float logits[4] = { 1, 2, 3, -INFINITY };
	struct occurrences seen = make(4);
	const struct {
		rwkvk_bias biases[3];
		uint32_t want;
	} cases[] = {
		{ { { 1, 0.5f }, { 1, 0.625f }, { 0, 1 } }, 1 }, /* those of a token add up */
		{ { { 1, 0.5f }, { 1, 0.25f }, { 0, 1 } }, 2 },
		{ { { 2, -INFINITY }, { 2, 100 }, { 0, 1 } }, 0 }, /* a ban stays; equal ones: the lower id */
		{ { { 2, 5 }, { 2, -INFINITY }, { 1, -2 } }, 0 },
		{ { { 0, FLT_MAX }, { 0, FLT_MAX }, { 2, FLT_MAX } }, 0 }, /* never infinite */
		{ { { 0, -FLT_MAX }, { 1, -INFINITY }, { 2, -INFINITY } }, 0 },
		{ { { 3, FLT_MAX }, { 3, 5 }, { 0, 0 } }, 2 }, /* impossible tokens stay impossible */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_sampling s = { .biases = cases[i].biases, .bias_count = 3 };
		assert_int_equal(pick(&s, &seen, logits, 0), cases[i].want);
	}
	/* before the penalties: 3 - 0.5 - 1 and 2 */
	occurrences_add(&seen, 2, 1, 1);
	rwkvk_sampling s = { .presence = 1, .biases = &(rwkvk_bias){ 2, -0.5f }, .bias_count = 1 };
	assert_int_equal(pick(&s, &seen, logits, 0), 1);
	uint32_t token;
	const rwkvk_bias all[] = { { 0, -INFINITY }, { 3, -INFINITY }, { 2, -INFINITY }, { 1, -INFINITY }, { 0, 1 } };
	s = (rwkvk_sampling){ .biases = all, .bias_count = 5 };
	assert_fails(sampler_pick(&s, &seen, logits, 0, &token), RWKVK_ERROR_ARGUMENT, "all 4 tokens are banned: none is left");
	s.bias_count = 3;
	assert_int_equal(pick(&s, &seen, logits, 0), 1);
	const rwkvk_bias wrong[] = { { 4, 1 }, { 1, NAN }, { 1, INFINITY } };
	static const char *const texts[] = { "a bias is for token 4; the model's vocabulary has 4", "the bias of token 1 is nan",
		                                 "the bias of token 1 is inf" };
	for (size_t i = 0; i < 3; i++) {
		s = (rwkvk_sampling){ .biases = &wrong[i], .bias_count = 1 };
		assert_fails(sampler_pick(&s, &seen, logits, 0, &token), RWKVK_ERROR_ARGUMENT, texts[i]);
	}
	for (uint32_t i = 0; i < 4; i++) /* none of this remains */
		assert_true(seen.bias[i] == 0);
	occurrences_finish(&seen);
}

/* ---------------------------------------------------------------------------------------------------- refusals */

static void broken_logits(void **state)
{
	(void)state;
	static const rwkvk_sampling samplings[] = { { 0 }, { .temperature = 1, .top_p = 0.5f }, { .presence = 1 } };
	struct occurrences seen = make(4);
	uint32_t token;
	for (size_t i = 0; i < 3; i++) {
		const rwkvk_sampling *s = &samplings[i];
		assert_fails(sampler_pick(s, &seen, (float[]){ 1, 2, NAN, 0 }, 0, &token), RWKVK_ERROR_DRIVER, "token 2 is");
		assert_fails(sampler_pick(s, &seen, (float[]){ NAN, 2, 3, 0 }, 0, &token), RWKVK_ERROR_DRIVER, "token 0 is");
		assert_fails(sampler_pick(s, &seen, (float[]){ 1, 2, 3, INFINITY }, 0, &token), RWKVK_ERROR_DRIVER, "token 3 is inf");
		assert_fails(sampler_pick(s, &seen, (float[]){ -INFINITY, -INFINITY, -INFINITY, -INFINITY }, 0, &token),
		             RWKVK_ERROR_DRIVER, "all 4 logits are -infinity");
	}
	occurrences_finish(&seen);
}

static void broken_sampling(void **state)
{
	(void)state;
	static const struct {
		rwkvk_sampling sampling;
		const char *message;
	} cases[] = {
		{ { .temperature = -0.5f }, "temperature is -0.5" },
		{ { .temperature = NAN }, "temperature is" },
		{ { .temperature = INFINITY }, "temperature is inf" },
		{ { .temperature = 1, .top_p = -0.25f }, "top-p is -0.25" },
		{ { .top_p = NAN }, "top-p is" },
		{ { .top_p = INFINITY }, "top-p is inf" },
		{ { .presence = NAN }, "presence penalty is" },
		{ { .presence = -INFINITY }, "presence penalty is -inf" },
		{ { .frequency = INFINITY }, "frequency penalty is inf" },
		{ { .decay = -1 }, "decay is -1" },
		{ { .decay = 1.5f }, "decay is 1.5" },
		{ { .decay = NAN }, "decay is" },
	};
	static const float logits[2] = { 1, 2 };
	struct occurrences seen = make(2);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint32_t token;
		assert_fails(sampler_pick(&cases[i].sampling, &seen, logits, 0, &token), RWKVK_ERROR_ARGUMENT, cases[i].message);
	}
	occurrences_finish(&seen);
}

/* ---------------------------------------------------------------------------------------------------- full size */

struct ranked {
	double probability;
	uint32_t id;
};

static int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	if (x->probability != y->probability)
		return x->probability > y->probability ? -1 : 1;
	return x->id < y->id ? -1 : 1;
}

static int by_id(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return x->id < y->id ? -1 : 1;
}

/* The steps one after the other with a full sort; checks that `token` may be the answer up to rounding. */
static void assert_plausible(const rwkvk_sampling *s, const float *logits, uint32_t vocab, uint64_t position, uint32_t token)
{
	struct ranked *all = malloc(vocab * sizeof *all);
	double total = 0, sum = 0, largest = -INFINITY;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < vocab; i++)
		largest = fmax(largest, (double)logits[i]);
	for (uint32_t i = 0; i < vocab; i++)
		total += exp(logits[i] - largest);
	for (uint32_t i = 0; i < vocab; i++)
		all[i] = (struct ranked){ exp(logits[i] - largest) / total, i };
	qsort(all, vocab, sizeof *all, by_rank);
	while (kept < vocab && (s->top_k == 0 || kept < s->top_k) && (kept == 0 || sum <= s->top_p))
		sum += all[kept++].probability;
	qsort(all, kept, sizeof *all, by_id);
	total = 0;
	for (uint32_t i = 0; i < kept; i++)
		total += pow(all[i].probability, 1 / (double)s->temperature);
	uint32_t random[4];
	philox4x32(s->seed, position, random);
	double u = random[0] * 0x1p-32, low = 0, high = 0;
	uint32_t i = 0;
	do {
		low = high;
		high += pow(all[i].probability, 1 / (double)s->temperature) / total;
	} while (all[i++].id != token && i < kept);
	if (all[i - 1].id != token || u < low - 1e-5 || u > high + 1e-5)
		fail_msg("temperature %g, top-p %g, top-k %u: token %u was picked; it %s [%g, %g), u is %g", (double)s->temperature,
		         (double)s->top_p, s->top_k, token, all[i - 1].id == token ? "has" : "is not kept; the last has", low, high, u);
	free(all);
}

static void full_size(void **state)
{
	(void)state;
	enum { VOCAB = 65536 };
	static const float temperatures[] = { 1, 0.7f, 1.9f, 0.05f }, top_ps[] = { 0.3f, 0.85f, 0.99f, 1 };
	static const uint32_t top_ks[] = { 0, 40, 3000 };
	float *logits = malloc(VOCAB * sizeof *logits);
	struct occurrences seen = make(VOCAB);
	uint64_t random = 17;
	for (uint32_t round = 0; round < 48; round++) {
		float width = round % 5 ? 14.0f : 0.5f;
		for (uint32_t i = 0; i < VOCAB; i++) {
			float x = test_uniform(&random);
			logits[i] = width * x * x * x;
			if (round % 2)
				logits[i] = floorf(logits[i] * 2) / 2; /* many ties */
		}
		rwkvk_sampling s = { .temperature = temperatures[round % 4],
			                 .top_p = top_ps[round / 4 % 4],
			                 .top_k = top_ks[round / 16],
			                 .seed = round * 0x123456789u };
		assert_plausible(&s, logits, VOCAB, round, pick(&s, &seen, logits, round));
	}
	occurrences_finish(&seen);
	free(logits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(philox_vectors),  cmocka_unit_test(greedy),
		cmocka_unit_test(order_of_steps),  cmocka_unit_test(penalties_first),
		cmocka_unit_test(cut_is_strict),   cmocka_unit_test(draw_by_the_book),
		cmocka_unit_test(draw_at_borders), cmocka_unit_test(close_draws),
		cmocka_unit_test(statistics),      cmocka_unit_test(minus_infinity_never_comes),
		cmocka_unit_test(extreme_values),  cmocka_unit_test(present_with_count_zero),
		cmocka_unit_test(counts_decay),    cmocka_unit_test(weights_by_text),
		cmocka_unit_test(biases),          cmocka_unit_test(broken_logits),
		cmocka_unit_test(broken_sampling), cmocka_unit_test(full_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
