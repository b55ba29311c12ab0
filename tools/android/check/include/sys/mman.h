#pragma once

#include <sys/types.h>

#define PROT_READ     1
#define MAP_PRIVATE   2
#define MAP_FAILED    ((void *)-1)
#define MADV_HUGEPAGE 14

void *mmap(void *at, size_t bytes, int protection, int flags, int file, off_t offset);
int munmap(void *memory, size_t bytes);
int madvise(void *memory, size_t bytes, int advice);
