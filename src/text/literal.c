/* Python literals to bytes.  Every escape is at least as long as the bytes it stands for, so the output never outgrows
 * the input.  Only what Python's repr() writes is accepted, and \" in either kind of quotes. */
#include "text/literal.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

struct cursor {
	const uint8_t *at, *end;
	uint8_t quote; /* may not appear unescaped; 0: every byte may */
	bool unicode;  /* a string: escapes are code points */
	uint8_t *out;
	size_t out_bytes;
	char *reason;
};

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A byte as shown in a message: printable ASCII as is, otherwise hexadecimal. */
static const char *shown(uint8_t byte, char text[8])
{
	snprintf(text, 8, byte >= 0x20 && byte < 0x7f ? "%c" : "0x%02x", byte);
	return text;
}

static void put_code_point(struct cursor *c, uint32_t code)
{
	uint8_t *out = c->out + c->out_bytes;
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		c->out_bytes += 1;
	} else if (code < 0x800) {
		out[0] = (uint8_t)(0xc0 | code >> 6);
		out[1] = (uint8_t)(0x80 | (code & 63));
		c->out_bytes += 2;
	} else if (code < 0x10000) {
		out[0] = (uint8_t)(0xe0 | code >> 12);
		out[1] = (uint8_t)(0x80 | (code >> 6 & 63));
		out[2] = (uint8_t)(0x80 | (code & 63));
		c->out_bytes += 3;
	} else {
		out[0] = (uint8_t)(0xf0 | code >> 18);
		out[1] = (uint8_t)(0x80 | (code >> 12 & 63));
		out[2] = (uint8_t)(0x80 | (code >> 6 & 63));
		out[3] = (uint8_t)(0x80 | (code & 63));
		c->out_bytes += 4;
	}
}

static bool hex_escape(struct cursor *c, uint8_t letter, int digits)
{
	uint32_t value = 0;
	for (int i = 0; i < digits; i++, c->at++) {
		int digit = c->at < c->end ? hex_digit(*c->at) : -1;
		if (digit < 0) {
			snprintf(c->reason, LITERAL_REASON, "\\%c needs %d hexadecimal digits, found %d", letter, digits, i);
			return false;
		}
		value = value << 4 | (uint32_t)digit;
	}
	if (!c->unicode) {
		c->out[c->out_bytes++] = (uint8_t)value;
		return true;
	}
	if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
		snprintf(c->reason, LITERAL_REASON, digits == 4 ? "\\%c%04x is not a character" : "\\%c%08x is not a character", letter,
		         (unsigned)value);
		return false;
	}
	put_code_point(c, value);
	return true;
}

static bool escape(struct cursor *c)
{
	if (c->at == c->end) {
		snprintf(c->reason, LITERAL_REASON, "the literal ends in the middle of an escape");
		return false;
	}
	uint8_t letter = *c->at++;
	static const char letters[] = "ntr\\'\"", bytes[] = "\n\t\r\\'\"";
	const char *simple = letter ? strchr(letters, letter) : NULL;
	if (simple) {
		c->out[c->out_bytes++] = (uint8_t)bytes[simple - letters];
		return true;
	}
	if (letter == 'x')
		return hex_escape(c, letter, 2);
	if (c->unicode && (letter == 'u' || letter == 'U'))
		return hex_escape(c, letter, letter == 'u' ? 4 : 8);
	char text[8];
	snprintf(c->reason, LITERAL_REASON, "unknown escape \\%s; known here are \\n \\t \\r \\\\ \\' \\\" \\xHH%s",
	         shown(letter, text), c->unicode ? " \\uHHHH \\UHHHHHHHH" : "");
	return false;
}

static bool plain(struct cursor *c)
{
	if (c->quote && *c->at == c->quote) {
		snprintf(c->reason, LITERAL_REASON, "the literal ends before its last character: escape the inner %c", c->quote);
		return false;
	}
	size_t length = 1;
	if (c->quote && *c->at >= 0x80) {
		length = c->unicode ? utf8_length(c->at, (size_t)(c->end - c->at)) : 0;
		if (length == 0) {
			snprintf(c->reason, LITERAL_REASON, "byte 0x%02x %s", *c->at,
			         c->unicode ? "is not UTF-8" : "must be written as an escape in a bytes literal");
			return false;
		}
	}
	memcpy(c->out + c->out_bytes, c->at, length);
	c->out_bytes += length;
	c->at += length;
	return true;
}

static bool decode(struct cursor *c, size_t *out_bytes)
{
	while (c->at < c->end) {
		bool escaped = *c->at == '\\';
		if (escaped)
			c->at++;
		if (!(escaped ? escape(c) : plain(c)))
			return false;
	}
	*out_bytes = c->out_bytes;
	return true;
}

bool literal_decode(const uint8_t *in, size_t n, uint8_t *out, size_t *out_bytes, char reason[LITERAL_REASON])
{
	bool bytes = n > 0 && in[0] == 'b';
	const uint8_t *at = in + bytes, *end = in + n;
	if (end - at < 2 || (*at != '\'' && *at != '"') || end[-1] != *at) {
		snprintf(reason, LITERAL_REASON, "expected a literal '...', \"...\", b'...' or b\"...\"");
		return false;
	}
	struct cursor c = { .at = at + 1, .end = end - 1, .quote = *at, .unicode = !bytes, .out = out, .reason = reason };
	return decode(&c, out_bytes);
}

bool literal_decode_bare(const uint8_t *in, size_t n, uint8_t *out, size_t *out_bytes, char reason[LITERAL_REASON])
{
	struct cursor c = { .at = in, .end = in + n, .out = out, .reason = reason };
	return decode(&c, out_bytes);
}

size_t literal_encode_bare(const uint8_t *in, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	bool both = memchr(in, '\'', n) && memchr(in, '"', n); /* otherwise Python would use the other quote */
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = in[i];
		char named = c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\\' || (c == '\'' && both) ? (char)c : 0;
		if (named) {
			out[at++] = '\\';
			out[at++] = named;
		} else if (c < 0x20 || c >= 0x7f) {
			memcpy(out + at, (char[]){ '\\', 'x', digits[c >> 4], digits[c & 15] }, 4);
			at += 4;
		} else {
			out[at++] = (char)c;
		}
	}
	return at;
}
