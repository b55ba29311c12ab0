#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_error[2048];
static _Thread_local unsigned holds;

rwkvk_status fail(rwkvk_status status, const char *format, ...)
{
	va_list args;
	if (holds > 0)
		return status;
	va_start(args, format);
	vsnprintf(last_error, sizeof last_error, format, args);
	va_end(args);
	return status;
}

void error_hold(void)
{
	holds++;
}

void error_release(void)
{
	holds--;
}

const char *rwkvk_last_error(void)
{
	return last_error;
}

const char *rwkvk_status_name(rwkvk_status status)
{
	static const char *const names[] = {
		[RWKVK_OK] = "ok",
		[RWKVK_CANCELLED] = "cancelled",
		[RWKVK_ERROR_ARGUMENT] = "argument",
		[RWKVK_ERROR_FILE] = "file",
		[RWKVK_ERROR_UNSUPPORTED] = "unsupported",
		[RWKVK_ERROR_DEVICE] = "device",
		[RWKVK_ERROR_MEMORY] = "memory",
		[RWKVK_ERROR_DRIVER] = "driver",
		[RWKVK_ERROR_BUSY] = "busy",
		[RWKVK_ERROR_DEVICE_LOST] = "device lost",
		[RWKVK_ERROR_INTERNAL] = "internal",
	};
	return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown";
}

#define STRING(x)                   #x
#define DOTTED(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

const char *rwkvk_version(void)
{
	return DOTTED(RWKVK_VERSION_MAJOR, RWKVK_VERSION_MINOR, RWKVK_VERSION_PATCH);
}
