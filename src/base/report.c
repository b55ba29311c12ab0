#include "base/report.h"

#include <stdarg.h>
#include <stdio.h>

void report(const struct listener *to, rwkvk_log_level level, const char *format, ...)
{
	char text[4096];
	va_list args;
	if (!to->log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	to->log(to->user, level, text);
}
