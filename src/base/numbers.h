/* Integers: minimum, maximum, division that rounds up. */
#ifndef RWKVK_BASE_NUMBERS_H
#define RWKVK_BASE_NUMBERS_H

#include <stdint.h>

static inline uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* n / unit, rounded up. */
static inline uint64_t ceil_div(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit;
}

/* The first multiple of `unit` that is not less than n. */
static inline uint64_t round_up(uint64_t n, uint64_t unit)
{
	return ceil_div(n, unit) * unit;
}

#endif
