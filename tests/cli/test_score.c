/* Softmax, nats and divergence against values computed by hand, and cases where floats would not suffice. */
#include "support.h"

#include <math.h>

#include "score.h"

static struct distribution of(const float *logits, size_t count)
{
	struct distribution d;
	assert_true(distribution_init(&d, logits, count));
	return d;
}

static void assert_near(double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("got %.17g, want %.17g", got, want);
}

/* Probabilities 1/8, 1/2, 1/4, 1/8, whatever constant is added to all logits. */
static void test_nats(void **state)
{
	(void)state;
	static const float shifts[] = { 0, 5, -1000, 100 };
	for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++) {
		float logits[4] = { 0 + shifts[i], logf(4) + shifts[i], logf(2) + shifts[i], 0 + shifts[i] };
		double rounding = 1e-6 + fabs((double)shifts[i]) * 0x1p-23; /* of the logits themselves */
		struct distribution d = of(logits, 4);
		assert_int_equal(d.best, 1);
		assert_near(distribution_nats(&d, 0), 3 * log(2), rounding);
		assert_near(distribution_nats(&d, 1), 1 * log(2), rounding);
		assert_near(distribution_nats(&d, 2), 2 * log(2), rounding);
	}
}

/* The probabilities of a real vocabulary's size sum to 1, to more digits than floats have. */
static void test_many(void **state)
{
	(void)state;
	enum { COUNT = 65536 };
	uint64_t random = 3;
	float *logits = malloc(COUNT * sizeof *logits);
	for (size_t i = 0; i < COUNT; i++)
		logits[i] = 20 * test_uniform(&random);
	struct distribution d = of(logits, COUNT);
	double sum = 0;
	for (size_t i = 0; i < COUNT; i++)
		sum += exp(-distribution_nats(&d, i));
	assert_near(sum, 1, 1e-12);
	free(logits);
}

/* Logits whose exponentials no double holds. */
static void test_extremes(void **state)
{
	(void)state;
	float far[3] = { 3e38f, -3e38f, 3e38f };
	struct distribution d = of(far, 3);
	assert_int_equal(d.best, 0); /* the first of equals */
	assert_near(distribution_nats(&d, 0) / 3e38, 0, 1e-15);
	assert_near(distribution_nats(&d, 1) / 6e38, 1, 1e-6);
	float one[1] = { -7 };
	d = of(one, 1);
	assert_near(distribution_nats(&d, 0), 0, 0);
	static const float bad[] = { NAN, INFINITY, -INFINITY };
	for (size_t i = 0; i < 3; i++)
		for (size_t at = 0; at < 3; at++) {
			float logits[3] = { 1, 2, 3 };
			logits[at] = bad[i];
			assert_false(distribution_init(&d, logits, 3));
		}
}

/* P = (1/2, 1/4, 1/4), Q = (1/4, 1/2, 1/4): KL(P || Q) = 1/2 log 2 - 1/4 log 2.  With Q = (1/8, 1/8, 3/4) it is not symmetric:
 * KL(P || Q) = 1/2 log 4 + 1/4 log 2 - 1/4 log 3, KL(Q || P) = -1/8 log 4 - 1/8 log 2 + 3/4 log 3. */
static void test_kl(void **state)
{
	(void)state;
	float p[3] = { logf(2), 0, 0 }, q[3] = { 0, logf(2), 0 }, r[3] = { 1, 1, 1 + logf(6) };
	struct distribution P = of(p, 3), Q = of(q, 3), R = of(r, 3);
	assert_near(distribution_kl(&P, &Q), 0.25 * log(2), 1e-7);
	assert_near(distribution_kl(&P, &R), 1.25 * log(2) - 0.25 * log(3), 1e-7);
	assert_near(distribution_kl(&R, &P), -0.375 * log(2) + 0.75 * log(3), 1e-7);
	assert_true(distribution_kl(&P, &P) == 0);
}

/* Small differences, which quantising to 8 bits makes: logits moved by e_i have a divergence of half the variance of e under P.
 * Floats would drown it. */
static void test_small_kl(void **state)
{
	(void)state;
	enum { COUNT = 2048 };
	uint64_t random = 11;
	float a[COUNT], b[COUNT];
	for (size_t i = 0; i < COUNT; i++) {
		a[i] = 4 * test_uniform(&random);
		b[i] = a[i] + 1e-4f * test_uniform(&random);
	}
	struct distribution A = of(a, COUNT), B = of(b, COUNT);
	double mean = 0, square = 0;
	for (size_t i = 0; i < COUNT; i++) {
		double p = exp(-distribution_nats(&A, i)), e = (double)b[i] - (double)a[i];
		mean += p * e;
		square += p * e * e;
	}
	double want = (square - mean * mean) / 2;
	assert_true(want > 1e-10 && want < 1e-8);
	assert_near(distribution_kl(&A, &B) / want, 1, 1e-3);
	for (size_t i = 0; i < COUNT; i++)
		b[i] = a[i] + 2; /* rounds, so not quite the same */
	B = of(b, COUNT);
	assert_true(distribution_kl(&A, &B) >= 0 && distribution_kl(&A, &B) < 1e-12);
}

static void test_score(void **state)
{
	(void)state;
	float p[4] = { 0, logf(4), logf(2), 0 }, q[4] = { 0, 0, 0, 0 };
	struct distribution P = of(p, 4), Q = of(q, 4);
	struct score one = { 0 }, both = { 0 };
	score_token(&one, &P, &Q, 1, 3); /* log 2 */
	score_token(&one, &P, &Q, 0, 0); /* 3 log 2, a token without bytes */
	assert_int_equal(one.tokens, 2);
	assert_int_equal(one.bytes, 3);
	assert_int_equal(one.same, 0); /* P's best is 1, Q's first is 0 */
	assert_near(score_nats_per_token(&one), 2 * log(2), 1e-6);
	assert_near(score_bits_per_byte(&one), 4.0 / 3, 1e-6);
	assert_near(one.reference_nats, 4 * log(2), 1e-6);
	assert_near(one.kl, 2 * 0.25 * log(2), 1e-6); /* uniform Q: mean of log p_Q - log p_P = (1 - 1 + 0 + 1)/4 log 2 */
	assert_near(one.largest_kl, 0.25 * log(2), 1e-6);
	score_token(&both, &P, &P, 2, 5);
	assert_int_equal(both.same, 1);
	score_add(&both, &one);
	assert_int_equal(both.tokens, 3);
	assert_int_equal(both.bytes, 8);
	assert_int_equal(both.same, 1);
	assert_near(both.nats, 6 * log(2), 1e-6);
	assert_near(both.largest_kl, 0.25 * log(2), 1e-6);
	score_token(&both, &P, NULL, 1, 1);
	assert_int_equal(both.tokens, 4);
	assert_near(both.reference_nats, 6 * log(2), 1e-6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nats), cmocka_unit_test(test_many),     cmocka_unit_test(test_extremes),
		cmocka_unit_test(test_kl),   cmocka_unit_test(test_small_kl), cmocka_unit_test(test_score),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
