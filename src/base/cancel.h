/* The inside of a rwkvk_cancel. */
#ifndef RWKVK_BASE_CANCEL_H
#define RWKVK_BASE_CANCEL_H

#include <stdatomic.h>

#include "base/error.h"

struct rwkvk_cancel {
	atomic_bool set; /* lock-free, so a signal handler may write it */
};

#endif
