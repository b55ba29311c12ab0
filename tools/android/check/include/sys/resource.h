#pragma once

struct rlimit {
	unsigned long rlim_cur, rlim_max;
};

#define RLIMIT_AS     9
#define RLIM_INFINITY (~0ul)

int getrlimit(int resource, struct rlimit *limit);
