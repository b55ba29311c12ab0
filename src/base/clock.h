/* A clock that only goes forward. */
#ifndef RWKVK_BASE_CLOCK_H
#define RWKVK_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_nanoseconds(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline double clock_seconds(void)
{
	return 1e-9 * (double)clock_nanoseconds();
}

#endif
