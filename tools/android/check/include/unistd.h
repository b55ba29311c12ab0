#pragma once

#include <sys/types.h>

#define X_OK                 1
#define _SC_PAGESIZE         0x0027
#define _SC_NPROCESSORS_ONLN 0x0061
#define _SC_PHYS_PAGES       0x0062

int access(const char *path, int mode);
int close(int file);
int fsync(int file);
pid_t getpid(void);
ssize_t pread(int file, void *data, size_t bytes, off_t offset);
long sysconf(int name);
int unlink(const char *path);
ssize_t write(int file, const void *data, size_t bytes);
