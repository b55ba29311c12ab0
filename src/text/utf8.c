/* Where characters begin and end in UTF-8, by the well-formed ranges of the Unicode standard (table 3-7): no overlong
 * forms, no surrogates, nothing past U+10FFFF. */
#include "text/utf8.h"

/* The bytes of a character that begins with `first`; 0 when none does. */
static size_t length_of(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static bool continues(uint8_t first, size_t index, uint8_t byte)
{
	uint8_t low = 0x80, high = 0xbf;
	if (index == 1) {
		if (first == 0xe0)
			low = 0xa0;
		else if (first == 0xed)
			high = 0x9f;
		else if (first == 0xf0)
			low = 0x90;
		else if (first == 0xf4)
			high = 0x8f;
	}
	return byte >= low && byte <= high;
}

/* How many of the first bytes can begin one character. */
static size_t prefix(const uint8_t *bytes, size_t count)
{
	size_t length = length_of(bytes[0]), n = 0;
	while (n < length && n < count && (n == 0 || continues(bytes[0], n, bytes[n])))
		n++;
	return n;
}

size_t utf8_length(const uint8_t *bytes, size_t count)
{
	if (count == 0)
		return 0;
	size_t n = prefix(bytes, count);
	return n == length_of(bytes[0]) ? n : 0;
}

size_t utf8_complete(const uint8_t *bytes, size_t count)
{
	for (size_t back = 1; back <= 3 && back <= count; back++) {
		const uint8_t *at = bytes + count - back;
		if ((*at & 0xc0) == 0x80)
			continue; /* a continuation byte: its lead byte is further back */
		bool unfinished = length_of(*at) > back && prefix(at, back) == back;
		return unfinished ? count - back : count;
	}
	return count;
}
