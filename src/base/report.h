/* Messages to the log function of the caller's options. */
#ifndef RWKVK_BASE_REPORT_H
#define RWKVK_BASE_REPORT_H

#include "base/error.h"

struct listener {
	rwkvk_log_fn *log; /* NULL: no log */
	void *user;
};

void report(const struct listener *to, rwkvk_log_level level, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
