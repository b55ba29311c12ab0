/* Inputs of stages that are compared with the reference: hostile values, and NaN where the stages must write. */
#ifndef RWKVK_TEST_STAGE_VALUES_H
#define RWKVK_TEST_STAGE_VALUES_H

#include "support.h"

#include <math.h>

#include "network/reference.h"

/* Largest error allowed, as a share of a vector's largest value.  A row's sum has at most 2304 products of size 1 in f32;
 * rounding errors of 2^-24 each add up like a random walk to sqrt(2304) 2^-24 = 3e-6 of the terms' size, and exponentials
 * and the division by a small deviation in GroupNorm enlarge that by up to ten. */
static const double LIMIT = 3e-5;

enum pattern { RANDOM, ZEROS, ONE_HUGE, ALL_EQUAL, TINY, PATTERNS };
static const char *const pattern_names[] = { "random", "zeros", "one huge value", "all equal", "tiny" };

static inline void fill_values(uint64_t *random, float *out, uint32_t n, enum pattern pattern)
{
	for (uint32_t i = 0; i < n; i++)
		out[i] = pattern == ZEROS       ? 0
		         : pattern == ALL_EQUAL ? 0.75f
		         : pattern == TINY      ? 1e-20f * test_uniform(random)
		                                : test_uniform(random);
	if (pattern == ONE_HUGE && n > 0)
		out[n / 3] = 1e6f;
}

/* What a session's state may hold: RWKV-4 divides by bb, which is a sum of exponentials, or nothing at all. */
static inline void fill_state(uint64_t *random, const struct config *c, float *state, enum pattern pattern)
{
	/* Equal rows of the state would leave GroupNorm nothing but rounding errors to enlarge. */
	fill_values(random, state, (uint32_t)config_slot_floats(c), pattern == ONE_HUGE || pattern == ALL_EQUAL ? RANDOM : pattern);
	if (c->version != 40)
		return;
	for (uint32_t i = 0; i < c->width; i++)
		state[STATE_BB(c->width) + i] = fabsf(state[STATE_BB(c->width) + i]) + 0.125f;
	if (pattern == ZEROS)
		state_start(c, state);
}

static inline void poison(float *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = NAN;
}

static inline bool is_poison(const float *x, size_t n)
{
	const float want = NAN;
	for (size_t i = 0; i < n; i++)
		if (memcmp(&x[i], &want, sizeof want) != 0)
			return false;
	return true;
}

/* NULL: the list has none of that name. */
static inline const struct region *find_region(const struct region *regions, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(regions[i].name, name) == 0)
			return &regions[i];
	return NULL;
}

static inline bool is_among(const char *name, const char *const *list)
{
	while (*list && strcmp(*list, name) != 0)
		list++;
	return *list != NULL;
}

/* Fills a stage's inputs with values and its outputs with NaN, in an activation buffer whose rest is unchanged. */
static inline void fill_act(uint64_t *random, const struct config *c, const struct stage *stage, uint32_t layer, float *act,
                            enum pattern pattern)
{
	struct region regions[MAX_REGIONS];
	uint32_t count = act_regions(c, regions);
	for (const char *const *name = stage->reads; *name; name++) {
		const struct region *r = find_region(regions, count, *name);
		assert_non_null(r);
		fill_values(random, act + r->at, r->count, pattern);
		for (uint32_t i = 0; strcmp(*name, "f") == 0 && i < r->count; i++) /* squares */
			act[r->at + i] = fabsf(act[r->at + i]);
	}
	for (const char *const *name = stage->writes; *name; name++) {
		const struct region *r = find_region(regions, count, *name);
		bool made_by_first = strcmp(*name, "vfirst") == 0 && layer == 0;
		assert_non_null(r);
		if (!is_among(*name, stage->reads) || made_by_first)
			poison(act + r->at, r->count);
	}
}

#endif
