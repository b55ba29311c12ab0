/* utf8proc knows the characters.  Combining marks are sorted here, since utf8proc takes time quadratic in their number. */
#include "text/nfc.h"

#include <stdlib.h>

#include <utf8proc.h>

enum { MOST_PARTS = 4 }; /* characters in the longest canonical decomposition */

/* Text whose characters are all below U+0300 is in normal form; in UTF-8 they begin with bytes below 0xcc. */
static bool plain(const uint8_t *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (text[i] >= 0xcc)
			return false;
	return true;
}

static unsigned combining_class(int32_t code)
{
	return (unsigned)utf8proc_get_property(code)->combining_class;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* Sorts marks by class; marks of one class stay in order. */
static bool sort_marks(int32_t *marks, size_t count)
{
	uint64_t *keys = malloc(count * sizeof *keys);
	if (!keys)
		return false;
	for (size_t i = 0; i < count; i++)
		keys[i] = (uint64_t)combining_class(marks[i]) << 56 | (uint64_t)i << 21 | (uint64_t)marks[i];
	qsort(keys, count, sizeof *keys, by_value);
	for (size_t i = 0; i < count; i++)
		marks[i] = (int32_t)(keys[i] & 0x1fffff);
	free(keys);
	return true;
}

static bool order(int32_t *codes, size_t count)
{
	for (size_t at = 0; at < count;) {
		unsigned before = combining_class(codes[at]);
		size_t first = at++;
		if (before == 0)
			continue;
		bool sorted = true;
		for (unsigned class; at < count && (class = combining_class(codes[at])) != 0; at++, before = class)
			sorted = sorted && before <= class;
		if (!sorted && !sort_marks(codes + first, at - first))
			return false;
	}
	return true;
}

static size_t decompose(const uint8_t *text, size_t bytes, int32_t *codes)
{
	size_t count = 0;
	for (size_t at = 0; at < bytes;) {
		int32_t code;
		utf8proc_ssize_t length = utf8proc_iterate(text + at, (utf8proc_ssize_t)(bytes - at), &code);
		if (length <= 0) /* impossible for valid UTF-8 */
			return 0;
		at += (size_t)length;
		count += (size_t)utf8proc_decompose_char(code, codes + count, MOST_PARTS, UTF8PROC_DECOMPOSE, NULL);
	}
	return count;
}

static size_t characters(const uint8_t *text, size_t bytes)
{
	size_t count = 0;
	for (size_t i = 0; i < bytes; i++)
		count += (text[i] & 0xc0) != 0x80;
	return count;
}

bool nfc(const uint8_t *text, size_t bytes, uint8_t **out, size_t *out_bytes)
{
	*out = NULL;
	if (plain(text, bytes))
		return true;
	size_t room = MOST_PARTS * characters(text, bytes) + 1;
	int32_t *codes = malloc(room * sizeof *codes);
	if (!codes)
		return false;
	size_t count = decompose(text, bytes, codes);
	utf8proc_ssize_t length = -1;
	if (order(codes, count))
		length = utf8proc_reencode(codes, (utf8proc_ssize_t)count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	if (length < 0) {
		free(codes);
		return false;
	}
	*out = (uint8_t *)codes;
	*out_bytes = (size_t)length;
	return true;
}
