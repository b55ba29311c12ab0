/* Logits of many shapes, for what picks tokens from them. */
#ifndef RWKVK_TEST_LOGIT_VALUES_H
#define RWKVK_TEST_LOGIT_VALUES_H

#include <math.h>

#include "support.h"

enum logit_shape { NORMAL, PEAKED, TIES, FLAT, EQUAL, HUGE_RANGE, HOLES, SHAPES };
static const char *const logit_shapes[SHAPES] = { "normal", "peaked", "ties", "flat", "equal", "huge range", "holes" };

static inline float normal_value(uint64_t *random)
{
	float sum = 0;
	for (int i = 0; i < 12; i++)
		sum += test_uniform(random);
	return sum / 2;
}

static inline void fill_logits(float *logits, uint32_t count, enum logit_shape shape, uint64_t *random)
{
	for (uint32_t i = 0; i < count; i++) {
		float x = normal_value(random), u = test_uniform(random);
		logits[i] = shape == NORMAL       ? 2.5f * x - 5
		            : shape == PEAKED     ? 14 * u * u * u
		            : shape == TIES       ? floorf(3 * x) / 2
		            : shape == FLAT       ? 0.3f * x
		            : shape == EQUAL      ? -1
		            : shape == HUGE_RANGE ? u * 1e30f
		            : u < 0               ? -INFINITY
		                                  : 4 * x;
	}
}

#endif
