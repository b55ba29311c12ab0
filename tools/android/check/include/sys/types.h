#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int pid_t;
typedef unsigned int mode_t;
typedef long off_t, ssize_t, time_t;
