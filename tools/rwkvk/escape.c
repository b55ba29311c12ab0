#include "escape.h"

#include <stdlib.h>
#include <string.h>

static const char letters[] = "ntr\\\"'", meanings[] = "\n\t\r\\\"'";

/* `count` hexadecimal digits, or -1. */
static int read_digits(const char *text, size_t count)
{
	int value = 0;
	for (size_t i = 0; i < count; i++) {
		const char *digits = "0123456789abcdef0123456789ABCDEF", *found = text[i] ? strchr(digits, text[i]) : NULL;
		if (!found)
			return -1;
		value = value * 16 + (int)(found - digits) % 16;
	}
	return value;
}

/* As UTF-8; returns how many bytes that is. */
static size_t put_character(char *out, int c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t count = c < 0x800 ? 2 : 3;
	for (size_t i = count; --i > 0; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((count == 2 ? 0xc0 : 0xe0) | c);
	return count;
}

/* Reads one escape after its backslash; returns the number of bytes read, 0 if it is none.  Texts end in a zero byte, so an
 * escape cannot stand for one. */
static size_t read_escape(const char *text, char *out, size_t *written)
{
	const char *found = *text ? strchr(letters, *text) : NULL;
	size_t digits = *text == 'x' ? 2 : 4;
	*written = 1;
	if (found) {
		*out = meanings[found - letters];
		return 1;
	}
	int value = *text == 'x' || *text == 'u' ? read_digits(text + 1, digits) : -1;
	if (value <= 0 || (value >= 0xd800 && value < 0xe000)) /* half a character of UTF-16 */
		return 0;
	if (*text == 'x')
		*out = (char)value;
	else
		*written = put_character(out, value);
	return 1 + digits;
}

int escape_read(const char *command, const char *option, const char *text, char **out)
{
	char *to = malloc(strlen(text) + 1); /* no escape is shorter than what it stands for */
	*out = to;
	if (!to)
		return failed("out of memory");
	while (*text) {
		size_t written = 1, length = *text == '\\' ? read_escape(text + 1, to, &written) : 0;
		if (*text == '\\' && length == 0) {
			free(*out);
			*out = NULL;
			return misused(command, "%s: expected \\n \\t \\r \\\\ \\\" \\' \\xHH or \\uHHHH, as -e wants it, got \"%.20s\"",
			               option, text);
		}
		if (*text != '\\')
			*to = *text;
		text += 1 + length;
		to += written;
	}
	*to = 0;
	return EXIT_DONE;
}

bool escape_likely(const char *text)
{
	for (const char *at = text; (at = strchr(at, '\\')); at += 1 + (at[1] != 0))
		if (at[1] && strchr("ntrxu", at[1]))
			return true;
	return false;
}
