/* Conversion between UTF-8 and Windows's UTF-16.  In wide_windows.c. */
#ifndef RWKVK_BASE_WIDE_H
#define RWKVK_BASE_WIDE_H

#include <wchar.h>

/* Both results are for free(); NULL, with the system's last error set, when the text is invalid or memory runs out. */
wchar_t *wide_text(const char *utf8);
char *narrow_text(const wchar_t *utf16);

/* The same for a path; a long one gets the form that may exceed 260 characters. */
wchar_t *wide_path(const char *path);

#endif
