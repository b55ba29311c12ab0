#pragma once

#define errno  (*__errno())
#define EPERM  1
#define ENOENT 2
#define EINTR  4
#define EIO    5
#define EACCES 13
#define EEXIST 17
#define EFBIG  27
#define ENOSPC 28
#define EROFS  30
#define EDQUOT 122

int *__errno(void);
