/* ASCII text compared without regard to case. */
#ifndef RWKVK_BASE_LETTERS_H
#define RWKVK_BASE_LETTERS_H

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether the first `count` characters are equal but for case; reads nothing past the first difference. */
static inline bool equal_but_case(const char *a, const char *b, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i]))
			return false;
	return true;
}

#endif
