/* From floats to blocks of small integers.  Each encoder chooses scales, stores them as f16 and gives every weight the
 * integer nearest to it under the scales as stored (Q8_0, whose bytes are ggml's, under the scale before it is rounded).
 *
 * Blocks of 32 take their scale from the range of the values, as ggml's reference quantisers do.  Blocks of 256 search, for
 * every group, the scale (and minimum) of least weighted squared error: a row of grids around the one that covers the range,
 * each improved by least squares for the integers it leads to.  A weight of a group counts as much as the root of its group's
 * mean square plus its own size, so that large weights, which a model leans on, are the more exact ones. */
#include "format/quants.h"

#include <math.h>

/* ---------------------------------------------------------------------------------------------------- what all share */

/* All below `limit` in magnitude; NaN and infinity never are. */
static bool all_below(float limit, const float *in, size_t count)
{
	uint32_t above = 0, bits = bits_of_float(limit);
	for (size_t i = 0; i < count; i++)
		above |= (bits_of_float(in[i]) & 0x7fffffff) >= bits;
	return !above;
}

/* A block that decodes to NaN throughout: its scale, the f16 at `scale`, is one. */
static void put_nan(uint8_t *block, size_t bytes, size_t scale)
{
	memset(block, 0, bytes);
	put_half(block + scale, NAN);
}

/* Below the normal numbers of f16, 2^-24 apart, a scale is rounded away from zero: too small a one would cut off the largest
 * weights, and 0 all of them. */
static float put_scale(uint8_t *at, float value)
{
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
void q8_0_encode(const float *in, uint8_t *block)
{
	float scale = fabsf(furthest(in, 32)) / 127, stored = put_half(block, scale);
	if (!all_below(INFINITY, in, 32) || !isfinite(stored)) {
		put_nan(block, 34, 0);
		return;
	}
	float by = stored != 0 ? 1 / scale : 0;
	for (size_t i = 0; i < 32; i++) {
		float scaled = in[i] * by;
		block[2 + i] = (uint8_t)(int)(scaled + copysignf(0x1.fffffep-2f, scaled));
	}
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

/* ---------------------------------------------------------------------------------------------------- searching scales */

/* A row of TRIES grids whose steps are the range divided by the highest integer plus -1.6, -1.2, ..., 1.2, each improved
 * PASSES times.  Twice the tries, or another pass, gain 0.3 % of the error at most. */
enum { GROUP = 32, TRIES = 8, PASSES = 2 };

static float try_at(int t)
{
	return 0.4f * (float)(t - TRIES / 2);
}

/* A group and how much each of its weights counts. */
struct group {
	const float *x;
	size_t count; /* 16 or 32 */
	float weight[GROUP], total;
};

/* The values scale * q - min for integers q from 0 on. */
struct grid {
	float scale, min;
};

/* Weighted sums over a group for the integers that a grid leads to, and what then is left, e = x - (scale * q - min).  Small
 * e instead of x: next to a far outlier, differences between grids would drown in the rounding of sums of x. */
struct sums {
	float q, qq, e, qe, ee;
};

/* Halves are folded onto each other, which compilers turn into vectors; the order is fixed.  count: 16 or 32. */
static float sum(float *term, size_t count)
{
	if (count == 32)
		for (size_t i = 0; i < 16; i++)
			term[i] += term[16 + i];
	for (size_t i = 0; i < 8; i++)
		term[i] += term[8 + i];
	for (size_t i = 0; i < 4; i++)
		term[i] += term[4 + i];
	return (term[0] + term[2]) + (term[1] + term[3]);
}

static void weigh(const float *x, size_t count, struct group *group)
{
	float term[GROUP];
	for (size_t i = 0; i < count; i++)
		term[i] = x[i] * x[i];
	float middle = sqrtf(sum(term, count) / (float)count);
	for (size_t i = 0; i < count; i++)
		term[i] = group->weight[i] = middle + fabsf(x[i]);
	group->x = x;
	group->count = count;
	group->total = sum(term, count);
}

static struct sums sum_grid(const struct group *group, struct grid grid, float top)
{
	float q[GROUP], qq[GROUP], e[GROUP], qe[GROUP], ee[GROUP], by = inverse(grid.scale);
	const float *x = group->x, *weight = group->weight;
	size_t n = group->count;
	for (size_t i = 0; i < n; i++) {
		float v = (x[i] + grid.min) * by;
		v = v > 0 ? v : 0;
		v = v < top ? v : top;
		v = (float)(int)(v + 0.5f);
		float left = (x[i] + grid.min) - grid.scale * v;
		q[i] = weight[i] * v;
		qq[i] = q[i] * v;
		e[i] = weight[i] * left;
		qe[i] = e[i] * v;
		ee[i] = e[i] * left;
	}
	return (struct sums){ sum(q, n), sum(qq, n), sum(e, n), sum(qe, n), sum(ee, n) };
}

/* What is left after scale and min have grown by so much. */
static double error_after(const struct sums *s, double w, double scale, double min)
{
	return s->ee + 2 * (min * s->e - scale * s->qe) + scale * scale * s->qq - 2 * scale * min * s->q + min * min * w;
}

/* Least squares for the integers of a grid; min does not go below 0. */
static struct grid improve(const struct group *group, struct grid from, float top, double *error)
{
	struct sums s = sum_grid(group, from, top);
	double w = group->total, determinant = w * s.qq - (double)s.q * s.q, scale = 0, min = 0;
	if (determinant > 0) {
		scale = (w * s.qe - (double)s.q * s.e) / determinant;
		min = ((double)s.q * s.qe - (double)s.qq * s.e) / determinant;
	}
	if (from.min + min < 0) {
		min = -from.min;
		scale = s.qq > 0 ? (s.qe + min * s.q) / s.qq : 0;
	}
	*error = error_after(&s, w, scale, min);
	return (struct grid){ (float)(from.scale + scale), (float)(from.min + min) };
}

/* The same with min tied to scale, so that q - half is around zero. */
static struct grid improve_centred(const struct group *group, struct grid from, float half, double *error)
{
	struct sums s = sum_grid(group, from, 2 * half - 1);
	double qq = s.qq - 2.0 * half * s.q + (double)half * half * group->total, qe = s.qe - (double)half * s.e;
	double scale = qq > 0 ? qe / qq : 0, grown = from.scale + scale;
	*error = error_after(&s, group->total, scale, half * scale);
	return (struct grid){ (float)grown, (float)(half * grown) };
}

/* From 0 to top; scale and min are at least 0. */
static struct grid search(const float *x, float top)
{
	struct group group;
	struct grid found = { 0 };
	float least, most = range(x, 32, &least);
	double best = INFINITY, error;
	least = least < 0 ? least : 0;
	if (most <= least)
		return (struct grid){ 0, -least };
	weigh(x, 32, &group);
	for (int t = 0; t < TRIES; t++) {
		struct grid grid = { (most - least) / (top + try_at(t)), -least };
		for (int pass = 0; pass < PASSES; pass++) {
			grid = improve(&group, grid, top, &error);
			if (error < best) {
				best = error;
				found = grid;
			}
		}
	}
	return found;
}

/* From -half to half - 1; the scale may have either sign. */
static float search_centred(const float *x, float half)
{
	struct group group;
	float largest = furthest(x, 16), found = 0;
	double best = INFINITY, error;
	if (largest == 0)
		return 0;
	weigh(x, 16, &group);
	for (int t = 0; t < TRIES; t++) {
		float scale = largest / -(half + try_at(t));
		struct grid grid = { scale, half * scale };
		for (int pass = 0; pass < PASSES; pass++) {
			grid = improve_centred(&group, grid, half, &error);
			if (error < best) {
				best = error;
				found = grid.scale;
			}
		}
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

/* 8 groups of 32 with integers from 0 to top; the scales of the groups are 6 bits of the block's own, so are the minima. */
static bool k_encode(const float *in, float top, uint8_t *block, uint8_t *q)
{
	struct grid grid[8];
	uint8_t scales[8], mins[8];
	float scale = 0, min = 0;
	if (!all_below(LARGEST, in, 256))
		return false;
	for (size_t g = 0; g < 8; g++) {
		grid[g] = search(in + 32 * g, top);
		scale = fmaxf(scale, grid[g].scale);
		min = fmaxf(min, grid[g].min);
	}
	scale = put_scale(block, scale / 63);
	min = put_scale(block + 2, min / 63);
	if (!isfinite(scale) || !isfinite(min))
		return false;
	for (size_t g = 0; g < 8; g++) {
		scales[g] = nearest(grid[g].scale * inverse(scale), 63);
		scales[g] = scales[g] || scale == 0 ? scales[g] : 1; /* 0 would leave one level; 1 has it and more */
		mins[g] = nearest(grid[g].min * inverse(min), 63);
		float by = inverse(scale * scales[g]), shift = min * mins[g];
		for (size_t i = 32 * g; i < 32 * g + 32; i++)
			q[i] = nearest((in[i] + shift) * by, top);
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
static bool q6_encode(const float *in, uint8_t *block, uint8_t *q)
{
	float scales[16];
	if (!all_below(LARGEST, in, 256))
		return false;
	for (size_t g = 0; g < 16; g++)
		scales[g] = search_centred(in + 16 * g, 32);
	float d = put_scale(block + 208, furthest(scales, 16) / -128);
	if (!isfinite(d))
		return false;
	for (size_t g = 0; g < 16; g++) {
		int code = nearest(scales[g] * inverse(d) + 128, 255) - 128;
		code = code || d == 0 ? code : 1; /* as above */
		float by = inverse(d * (float)code);
		block[192 + g] = (uint8_t)code;
		for (size_t i = 16 * g; i < 16 * g + 16; i++)
			q[i] = nearest(in[i] * by + 32, 63);
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
