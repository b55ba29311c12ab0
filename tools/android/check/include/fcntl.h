#pragma once

#define O_RDONLY   0
#define O_WRONLY   1
#define O_CREAT    0100
#define O_EXCL     0200
#define O_NONBLOCK 04000
#define O_CLOEXEC  02000000
#ifdef __aarch64__
#define O_NOFOLLOW 0100000
#else
#define O_NOFOLLOW 0400000
#endif
#define AT_FDCWD            (-100)
#define AT_SYMLINK_NOFOLLOW 0x100

int open(const char *path, int flags, ...);
