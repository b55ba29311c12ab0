/* From floats to blocks of small integers.  Each encoder chooses scales, stores them as f16 and gives every weight the
 * integer nearest to it under the scales as stored (Q8_0, whose bytes are ggml's, under the scale before it is rounded).
 *
 * Blocks of 32 take their scale from the range of the values, as ggml's reference quantisers do.  Blocks of 256 search, for
 * every group, the scale (and minimum) of least weighted squared error: a row of grids around the one that covers the range,
 * each improved by least squares for the integers it leads to.  A weight of a group counts as much as the root of its group's
 * mean square plus its own size, so that large weights, which a model leans on, are the more exact ones.
 *
 * The search goes over eight groups at once, each in a lane of vectors that GCC and clang know as an extension of C.  A lane is
 * computed as any float is, in a fixed order: the bytes are the same on every machine. */
#include "format/quants.h"

#include <math.h>

/* ---------------------------------------------------------------------------------------------------- what all share */

/* The largest magnitude as bits, which are in the order of the numbers; NaN and infinity are above all. */
static int32_t largest_bits(const float *in, size_t count)
{
	int32_t largest = 0;
	for (size_t i = 0; i < count; i++) {
		int32_t bits = (int32_t)(bits_of_float(in[i]) & 0x7fffffff);
		largest = bits > largest ? bits : largest;
	}
	return largest;
}

/* NaN and infinity never are. */
static bool all_below(float limit, const float *in, size_t count)
{
	return largest_bits(in, count) < (int32_t)bits_of_float(limit);
}

/* A block that decodes to NaN throughout: its scale, the f16 at `scale`, is one. */
static void put_nan(uint8_t *block, size_t bytes, size_t scale)
{
	memset(block, 0, bytes);
	put_half(block + scale, NAN);
}

/* Below the normal numbers of f16, 2^-24 apart, a scale is rounded away from zero: too small a one would cut off the largest
 * weights, and 0 all of them.  Below 2^-40 no weight is left either way, and it is 0: what comes from numbers that devices take
 * for zero does not decide a bit (shaders/quantise.comp does the same). */
static float put_scale(uint8_t *at, float value)
{
	if (fabsf(value) < 0x1p-40f)
		return put_half(at, 0);
	float stored = put_half(at, value);
	if (fabsf(value) < 0x1p-14f && fabsf(stored) < fabsf(value))
		stored = put_half(at, stored + copysignf(0x1p-24f, value));
	return stored;
}

static float inverse(float value)
{
	return value != 0 ? 1 / value : 0;
}

/* The nearest integer from 0 to `top` (below 256).  Clamped first: what is too large for an int never meets one. */
static inline uint8_t nearest(float value, float top)
{
	float clamped = value > 0 ? value : 0;
	return (uint8_t)(int)((clamped < top ? clamped : top) + 0.5f);
}

static float range(const float *in, size_t count, float *least)
{
	float low = in[0], high = in[0];
	for (size_t i = 1; i < count; i++) {
		low = in[i] < low ? in[i] : low;
		high = in[i] > high ? in[i] : high;
	}
	*least = low;
	return high;
}

/* The value of largest magnitude, with its sign. */
static float furthest(const float *in, size_t count)
{
	float low, high = range(in, count, &low);
	return high > -low ? high : low;
}

/* ---------------------------------------------------------------------------------------------------- blocks of 32 */

/* d = max|x| / 127, q = x / d, halves away from zero: half less its last bit is added, so that what is just below a half, and
 * would be rounded up by the addition itself, stays below. */
FOR_EACH_PROCESSOR static void q8_encode(const float *in, uint8_t *block)
{
	int32_t largest = largest_bits(in, 32);
	float scale = float_of_bits((uint32_t)largest) / 127, stored = put_half(block, scale);
	if (largest >= (int32_t)bits_of_float(INFINITY) || !isfinite(stored)) {
		put_nan(block, 34, 0);
		return;
	}
	float by = stored != 0 ? 1 / scale : 0;
	int8_t q[32];
	for (size_t i = 0; i < 32; i++) {
		float scaled = in[i] * by;
		q[i] = (int8_t)(int)(scaled + copysignf(0x1.fffffep-2f, scaled));
	}
	memcpy(block + 2, q, sizeof q);
}

void q8_0_encode(const float *in, uint8_t *block)
{
	q8_encode(in, block);
}

/* The value furthest from zero gets the lowest integer, -half: there is one more on that side.  q counts from there.
 * false: the block cannot be represented. */
static bool around_zero(const float *in, float half, uint8_t *scale, uint8_t *q)
{
	float stored = put_scale(scale, furthest(in, 32) / -half), by = inverse(stored);
	if (!all_below(INFINITY, in, 32) || !isfinite(stored))
		return false;
	for (size_t i = 0; i < 32; i++)
		q[i] = nearest(in[i] * by + half, 2 * half - 1);
	return true;
}

void q4_0_encode(const float *in, uint8_t *block)
{
	uint8_t q[32];
	if (around_zero(in, 8, block, q))
		put_nibbles(block + 2, 16, q);
	else
		put_nan(block, 18, 0);
}

void q5_0_encode(const float *in, uint8_t *block)
{
	uint8_t q[32];
	if (!around_zero(in, 16, block, q)) {
		put_nan(block, 22, 0);
		return;
	}
	put_fifth_bits(block + 2, q);
	put_nibbles(block + 6, 16, q);
}

/* Scale and minimum, which is the least value and may have either sign.  The scale starts from the minimum as stored. */
static bool from_least(const float *in, float top, uint8_t *scales, uint8_t *q)
{
	float least, most = range(in, 32, &least);
	least = put_half(scales + 2, least);
	float scale = put_scale(scales, most > least ? (most - least) / top : 0), by = inverse(scale);
	if (!all_below(INFINITY, in, 32) || !isfinite(scale) || !isfinite(least))
		return false;
	for (size_t i = 0; i < 32; i++)
		q[i] = nearest((in[i] - least) * by, top);
	return true;
}

void q4_1_encode(const float *in, uint8_t *block)
{
	uint8_t q[32];
	if (from_least(in, 15, block, q))
		put_nibbles(block + 4, 16, q);
	else
		put_nan(block, 20, 0);
}

void q5_1_encode(const float *in, uint8_t *block)
{
	uint8_t q[32];
	if (!from_least(in, 31, block, q)) {
		put_nan(block, 24, 0);
		return;
	}
	put_fifth_bits(block + 4, q);
	put_nibbles(block + 8, 16, q);
}

/* ---------------------------------------------------------------------------------------------------- eight lanes */

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8, GROUP = 32 };
typedef float lanes __attribute__((vector_size(4 * LANES), may_alias)); /* turn() writes floats */
typedef int32_t masks __attribute__((vector_size(4 * LANES)));

INLINE lanes all(float value)
{
	return (lanes){ value, value, value, value, value, value, value, value };
}

INLINE lanes choose(masks where, lanes yes, lanes no)
{
	return (lanes)((where & (masks)yes) | (~where & (masks)no));
}

INLINE lanes smaller(lanes a, lanes b)
{
	return choose(a < b, a, b);
}

INLINE lanes larger(lanes a, lanes b)
{
	return choose(a > b, a, b);
}

INLINE lanes magnitude(lanes a)
{
	return (lanes)((masks)a & 0x7fffffff);
}

/* To the nearest integer, ties to even, below 2^22: the sum keeps no bits after the point.  What is larger stays large. */
INLINE lanes rounded(lanes a)
{
	return (a + 0x1.8p23f) - 0x1.8p23f;
}

INLINE lanes square_root(lanes a)
{
	for (int g = 0; g < LANES; g++)
		a[g] = sqrtf(a[g]);
	return a;
}

/* Below this nothing matters; it keeps quotients finite. */
#define TINY 0x1p-100f

/* ---------------------------------------------------------------------------------------------------- searching scales */

/* Eight groups of `count` weights: element i of all of them is x[i], above `low`.  The weights are relative to the group's
 * root mean square. */
struct groups {
	lanes x[GROUP], weight[GROUP];
	int count;                   /* 16 or 32 */
	lanes low, high, total, sum; /* the range; sums of weights, and of weighted x */
};

/* A function of its own, so that GCC makes it one of shuffles. */
static __attribute__((noinline)) void turn(const float *restrict in, int count, float (*restrict out)[LANES])
{
	for (int i = 0; i < count; i++)
		for (int g = 0; g < LANES; g++)
			out[i][g] = in[count * g + i];
}

/* centred: `low` is 0, not the least value. */
INLINE void look(const float *in, int count, bool centred, struct groups *groups)
{
	lanes *x = groups->x, squares = all(0), total = all(0), sum = all(0);
	turn(in, count, (float(*)[LANES])x);
	lanes low = x[0], high = x[0];
	for (int i = 0; i < count; i++) {
		low = smaller(x[i], low);
		high = larger(x[i], high);
		squares += x[i] * x[i];
	}
	lanes by = 1 / larger(square_root(squares / (float)count), all(TINY)), from = centred ? all(0) : smaller(low, all(0));
	for (int i = 0; i < count; i++) {
		groups->weight[i] = 1 + magnitude(x[i]) * by;
		x[i] -= from;
		total += groups->weight[i];
		sum += groups->weight[i] * x[i];
	}
	groups->count = count;
	groups->low = centred ? low : from;
	groups->high = high;
	groups->total = total;
	groups->sum = sum;
}

/* Weighted sums over the groups for the integers that a grid leads to, (x - from) * by rounded. */
struct sums {
	lanes q, qq, qx;
};

/* least, most: limits of the integers, where x may go beyond. */
INLINE struct sums sum_grid(const struct groups *groups, lanes by, lanes from, const float *least, const float *most)
{
	struct sums sums = { all(0), all(0), all(0) };
	for (int i = 0; i < groups->count; i++) {
		lanes x = groups->x[i], q = rounded((x - from) * by);
		if (least)
			q = larger(q, all(*least));
		if (most)
			q = smaller(q, all(*most));
		lanes weighted = groups->weight[i] * q;
		sums.q += weighted;
		sums.qq += weighted * q;
		sums.qx += weighted * x;
	}
	return sums;
}

/* The grids that are tried give the value furthest out the highest integer plus so much: the first ones leave out an integer or
 * two, the last one cuts off half a step at most.  They were found by search; twice as many gain 0.3 % of the error. */
enum { TRIES = 4 };
static const float tries[TRIES] = { -1.8f, -0.9f, -0.2f, 0.4f }, centred_tries[TRIES] = { -1.9f, -0.9f, -0.1f, 0.4f };

/* The values scale * q - min for integers q from 0 on. */
struct grids {
	lanes scale, min;
};

struct found {
	struct grids grids;
	lanes gain; /* how much less error than without scale */
};

/* Least squares for the integers of a grid, x = scale * q + shift; kept where it is the best so far.  min does not go below 0:
 * there the shift is tied to it.  Where all integers are the same, but for rounding, there is no scale. */
INLINE void improve(const struct groups *groups, struct sums s, struct found *found)
{
	lanes w = groups->total, determinant = w * s.qq - s.q * s.q, covariance = w * s.qx - s.q * groups->sum;
	masks differ = determinant > 0x1p-18f * w * s.qq;
	determinant = choose(differ, determinant, all(0));
	lanes scale = choose(differ, covariance / determinant, all(0)), gain = scale * covariance;
	lanes min = (scale * s.q - groups->sum) / w - groups->low;
	lanes tied = (s.qx + groups->low * s.q) / larger(s.qq, all(TINY)), off = scale - tied;
	lanes away = (tied * s.q - groups->sum) / w - groups->low;
	masks below = min < 0;
	gain -= choose(below, off * off * determinant + away * away * w * w, all(0));
	scale = choose(below, tied, scale);
	min = choose(below, all(0), min);
	masks better = gain > found->gain;
	found->grids.scale = choose(better, scale, found->grids.scale);
	found->grids.min = choose(better, min, found->grids.min);
	found->gain = choose(better, gain, found->gain);
}

/* Integers from 0 to top; scale and min are at least 0. */
INLINE struct grids search(const struct groups *groups, float top)
{
	struct found found = { { all(0), -groups->low }, all(-1) };
	const float zero = 0;
	lanes range = larger(groups->high - groups->low, all(TINY));
	for (int t = 0; t < TRIES; t++)
		improve(groups, sum_grid(groups, (top + tries[t]) / range, all(0), NULL, NULL), &found);
	lanes by = 1 / larger(found.grids.scale, all(TINY)), from = -groups->low - found.grids.min;
	improve(groups, sum_grid(groups, by, from, &zero, &top), &found);
	found.grids.scale = larger(found.grids.scale, all(0));
	return found.grids;
}

/* The best min for scales as stored. */
INLINE lanes refit(const struct groups *groups, struct grids grids, float top)
{
	const float zero = 0;
	lanes by = 1 / larger(grids.scale, all(TINY));
	struct sums s = sum_grid(groups, by, -groups->low - grids.min, &zero, &top);
	return larger((grids.scale * s.q - groups->sum) / groups->total - groups->low, all(0));
}

/* Integers from -half to half - 1; the scale may have either sign. */
INLINE lanes search_centred(const struct groups *groups, float half)
{
	lanes far = choose(groups->high > -groups->low, groups->high, groups->low), found = all(0), best = all(-1);
	const float most = half - 1;
	far = choose(magnitude(far) > TINY, far, all(TINY));
	for (int t = 0; t < TRIES; t++) {
		struct sums s = sum_grid(groups, -(half + centred_tries[t]) / far, all(0), NULL, &most);
		lanes scale = s.qx / larger(s.qq, all(TINY)), gain = scale * s.qx;
		found = choose(gain > best, scale, found);
		best = larger(gain, best);
	}
	return found;
}

/* ---------------------------------------------------------------------------------------------------- blocks of 256 */

static void put_k_scales(uint8_t *codes, const uint8_t *scale, const uint8_t *min)
{
	for (size_t g = 0; g < 4; g++) {
		codes[g] = (uint8_t)(scale[g] | scale[4 + g] >> 4 << 6);
		codes[4 + g] = (uint8_t)(min[g] | min[4 + g] >> 4 << 6);
		codes[8 + g] = (uint8_t)((scale[4 + g] & 15) | min[4 + g] << 4);
	}
}

/* Values beyond LARGEST have no scale in f16, whatever the integers: 65504 * 128 * 32 is below it.  Up to it the sums of a
 * search are finite. */
#define LARGEST 0x1p30f

/* The nearest integers from 0 to `top`, in the order of the weights, a multiple of 8: (in + shift) * by + from. */
INLINE void put_nearest(const float *in, size_t count, float shift, float by, float from, float top, uint8_t *q)
{
	int32_t whole[GROUP];
	for (size_t i = 0; i < count; i += LANES) {
		lanes x;
		memcpy(&x, in + i, sizeof x);
		x = smaller(larger((x + shift) * by + from, all(0)), all(top));
		masks rounded_up = __builtin_convertvector(x + 0.5f, masks);
		memcpy(whole + i, &rounded_up, sizeof rounded_up);
	}
	for (size_t i = 0; i < count; i++)
		q[i] = (uint8_t)whole[i];
}

static float largest(lanes a)
{
	float most = a[0];
	for (int g = 1; g < LANES; g++)
		most = a[g] > most ? a[g] : most;
	return most;
}

/* 8 groups of 32 with integers from 0 to top; the scales of the groups are 6 bits of the block's own, so are the minima. */
FOR_EACH_PROCESSOR static bool k_encode(const float *in, float top, uint8_t *block, uint8_t *q)
{
	struct groups groups;
	uint8_t scales[8], mins[8];
	if (!all_below(LARGEST, in, 256))
		return false;
	look(in, 32, false, &groups);
	struct grids grids = search(&groups, top);
	float scale = put_scale(block, largest(grids.scale) / 63), min = put_scale(block + 2, largest(grids.min) / 63);
	if (!isfinite(scale) || !isfinite(min))
		return false;
	lanes scale_codes = smaller(rounded(grids.scale * inverse(scale)), all(63));
	scale_codes = larger(scale_codes, all(scale != 0)); /* 0 would leave one level; 1 has it and more */
	grids.scale = scale * scale_codes;
	lanes min_codes = smaller(rounded(refit(&groups, grids, top) * inverse(min)), all(63));
	for (size_t g = 0; g < 8; g++) {
		scales[g] = (uint8_t)(int)scale_codes[g];
		mins[g] = (uint8_t)(int)min_codes[g];
		put_nearest(in + 32 * g, 32, min * mins[g], inverse(scale * scales[g]), 0, top, q + 32 * g);
	}
	put_k_scales(block + 4, scales, mins);
	return true;
}

void q4_k_encode(const float *in, uint8_t *block)
{
	uint8_t q[256];
	if (!k_encode(in, 15, block, q)) {
		put_nan(block, 144, 0);
		return;
	}
	for (size_t pair = 0; pair < 4; pair++)
		put_nibbles(block + 16 + 32 * pair, 32, q + 64 * pair);
}

void q5_k_encode(const float *in, uint8_t *block)
{
	uint8_t q[256];
	if (!k_encode(in, 31, block, q)) {
		put_nan(block, 176, 0);
		return;
	}
	put_bits(block + 16, 32, 1, 4, q);
	for (size_t pair = 0; pair < 4; pair++)
		put_nibbles(block + 48 + 32 * pair, 32, q + 64 * pair);
}

/* 16 groups of 16 around zero.  The group with the largest scale gets -128: there is one more on that side. */
FOR_EACH_PROCESSOR static bool q6_encode(const float *in, uint8_t *block, uint8_t *q)
{
	struct groups groups;
	float scales[16];
	if (!all_below(LARGEST, in, 256))
		return false;
	for (size_t g = 0; g < 16; g += LANES) {
		look(in + 16 * g, 16, true, &groups);
		lanes found = search_centred(&groups, 32);
		memcpy(scales + g, &found, sizeof found);
	}
	float d = put_scale(block + 208, furthest(scales, 16) / -128);
	if (!isfinite(d))
		return false;
	for (size_t g = 0; g < 16; g++) {
		int code = nearest(scales[g] * inverse(d) + 128, 255) - 128;
		code = code || d == 0 ? code : 1; /* as above */
		block[192 + g] = (uint8_t)code;
		put_nearest(in + 16 * g, 16, 0, inverse(d * (float)code), 32, 63, q + 16 * g);
	}
	return true;
}

void q6_k_encode(const float *in, uint8_t *block)
{
	uint8_t q[256];
	if (!q6_encode(in, block, q)) {
		put_nan(block, 210, 208);
		return;
	}
	for (size_t half = 0; half < 2; half++) {
		put_nibbles(block + 64 * half, 64, q + 128 * half);
		put_bits(block + 128 + 32 * half, 32, 2, 4, q + 128 * half);
	}
}
