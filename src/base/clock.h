/* A clock that only goes forward. */
#ifndef RWKVK_BASE_CLOCK_H
#define RWKVK_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_nanoseconds(void);

static inline double clock_seconds(void)
{
	return 1e-9 * (double)clock_nanoseconds();
}

#endif
