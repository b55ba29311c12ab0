/* Text for Windows, which has it as UTF-16, and from there.  In wide_windows.c. */
#ifndef RWKVK_BASE_WIDE_H
#define RWKVK_BASE_WIDE_H

#include <wchar.h>

/* Both are for free(); NULL, and the system's last error, when it is not valid or there is no memory. */
wchar_t *wide_text(const char *utf8);
char *narrow_text(const wchar_t *utf16);

/* The same of a path, in the form that may be longer than 260 characters where it is. */
wchar_t *wide_path(const char *path);

#endif
