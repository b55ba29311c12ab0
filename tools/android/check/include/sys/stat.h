#pragma once

#include <sys/types.h>
#include <time.h>

struct stat {
	unsigned long st_dev, st_ino;
	mode_t st_mode;
	off_t st_size;
	struct timespec st_mtim;
};

#define S_ISREG(mode) (((mode)&0170000) == 0100000)
#define S_ISDIR(mode) (((mode)&0170000) == 0040000)

int stat(const char *path, struct stat *out);
int fstat(int file, struct stat *out);
int fstatat(int folder, const char *path, struct stat *out, int flags);
int fchmod(int file, mode_t mode);
int mkdir(const char *path, mode_t mode);
int utimensat(int folder, const char *path, const struct timespec times[2], int flags);
