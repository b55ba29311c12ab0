/* How many tokens a submission has: enough that the host has little to do and the device no pause, few enough that text still
 * flows and stays far from watchdogs, which on some systems end programs after two seconds. */
#include "engine/plan.h"

enum { MILLISECOND = 1000000, AIM = 30 * MILLISECOND };

/* Time limit of a submission even if all its tokens are as slow as the slowest recent one. */
static uint64_t bound(rwkvk_device_type type)
{
	switch (type) {
	case RWKVK_DEVICE_DISCRETE:
	case RWKVK_DEVICE_VIRTUAL:
		return 150 * MILLISECOND;
	case RWKVK_DEVICE_CPU:
		return 1000 * MILLISECOND;
	case RWKVK_DEVICE_INTEGRATED: /* phones among them, whose watchdogs are the strictest and whose screens wait */
	case RWKVK_DEVICE_OTHER:
		break;
	}
	return 50 * MILLISECOND;
}

void pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds)
{
	uint64_t each = nanoseconds / tokens + 1;
	pace->usual = pace->tokens ? (3 * pace->usual + each) / 4 : each;
	pace->slowest -= pace->slowest / 16;
	if (pace->slowest < each)
		pace->slowest = each;
	pace->tokens = tokens;
}

/* Phones may be so slow that a whole chunk through one layer, which nothing has measured yet, takes them past the limit. */
static bool begins_small(rwkvk_device_type type)
{
	return type == RWKVK_DEVICE_INTEGRATED || type == RWKVK_DEVICE_OTHER;
}

uint64_t pace_most(const struct pace *pace, rwkvk_device_type type)
{
	if (!pace->tokens)
		return begins_small(type) ? 0 : UINT32_MAX;
	return bound(type) / pace->slowest;
}

uint32_t pace_tokens(const struct pace *pace, rwkvk_device_type type, uint64_t most)
{
	if (!pace->tokens || most <= 1)
		return 1;
	uint64_t tokens = (AIM + pace->usual / 2) / pace->usual,
			 limits[] = { pace_most(pace, type), MAX_TOKENS, most, 2 * (uint64_t)pace->tokens };
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		tokens = tokens < limits[i] ? tokens : limits[i];
	return tokens > 1 ? (uint32_t)tokens : 1;
}
