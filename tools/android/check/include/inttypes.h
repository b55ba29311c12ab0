#pragma once

#include <stdint.h>

#define PRId64 "ld"
#define PRIu32 "u"
#define PRIu64 "lu"
#define PRIx32 "x"
#define PRIx64 "lx"
#define SCNu64 "lu"
