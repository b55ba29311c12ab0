#pragma once

#include <sys/types.h>

typedef struct {
	unsigned long bits[16];
} cpu_set_t;

#define CPU_COUNT(set) __sched_cpucount(sizeof(cpu_set_t), (set))

int sched_getaffinity(pid_t process, size_t bytes, cpu_set_t *set);
int __sched_cpucount(size_t bytes, const cpu_set_t *set);
