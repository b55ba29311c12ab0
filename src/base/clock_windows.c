#include "base/clock.h"

#include <windows.h>

uint64_t clock_nanoseconds(void)
{
	LARGE_INTEGER frequency, count;
	QueryPerformanceFrequency(&frequency);
	QueryPerformanceCounter(&count);
	uint64_t hertz = (uint64_t)frequency.QuadPart, ticks = (uint64_t)count.QuadPart;
	return ticks / hertz * 1000000000u + ticks % hertz * 1000000000u / hertz;
}
