#include "streams.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "system.h"

static int out_error; /* errno of the first failure */

static bool out_check(bool ok)
{
	int error = ok ? 0 : system_write_error();
	if (!ok && !out_error)
		out_error = error ? error : EIO;
	return !out_error;
}

bool out_write(const void *bytes, size_t count)
{
	return !out_error && out_check(count == 0 || fwrite(bytes, 1, count, stdout) == count);
}

bool out_printf(const char *format, ...)
{
	if (out_error)
		return false;
	va_list list;
	va_start(list, format);
	int written = vprintf(format, list);
	va_end(list);
	return out_check(written >= 0);
}

bool out_flush(void)
{
	return !out_error && out_check(fflush(stdout) == 0);
}

bool out_closed(void)
{
	if (!out_error && system_output_is_closed())
		out_error = EPIPE;
	return out_error == EPIPE;
}

int output_check(const char *path)
{
	rwkvk_output *output;
	if (system_is_special(path))
		return EXIT_DONE; /* opening a pipe would wait for its reader, and closing it would end its input */
	if (rwkvk_output_open(path, &output) != RWKVK_OK)
		return failed("%s", rwkvk_last_error());
	rwkvk_output_drop(output);
	return EXIT_DONE;
}

int out_finish(int code)
{
	if (out_flush())
		return code;
	if (out_error != EPIPE)
		failed("standard output: %s", strerror(out_error));
	return EXIT_FAILED;
}

static int print_json(json_t *document, size_t form)
{
	char *text = document ? json_dumps(document, form | JSON_REAL_PRECISION(7)) : NULL;
	json_decref(document);
	if (!text)
		return failed("out of memory");
	out_printf("%s\n", text);
	free(text);
	return EXIT_DONE;
}

int out_json(json_t *document)
{
	return print_json(document, JSON_INDENT(2));
}

int out_json_line(json_t *document)
{
	return print_json(document, JSON_COMPACT);
}

json_t *json_text(const char *text)
{
	json_t *string = json_string(text);
	if (string)
		return string;
	char ascii[512]; /* not UTF-8 */
	size_t count = 0;
	for (; text[count] && count < sizeof(ascii) - 1; count++)
		ascii[count] = (unsigned char)text[count] < 128 ? text[count] : '?';
	return json_stringn(ascii, count);
}

/* The length of the character that begins there; 0: none does. */
static size_t character_bytes(const char *bytes, size_t count)
{
	for (size_t length = 1; length <= 4 && length <= count; length++) {
		json_t *string = json_stringn(bytes, length);
		json_decref(string);
		if (string)
			return length;
	}
	return 0;
}

json_t *json_bytes(const char *bytes, size_t count)
{
	char *text = malloc(3 * count + 1);
	size_t length = 0;
	for (size_t at = 0; text && at < count;) {
		size_t whole = character_bytes(bytes + at, count - at), size = whole ? whole : 3;
		memcpy(text + length, whole ? bytes + at : "\xef\xbf\xbd", size);
		length += size;
		at += whole ? whole : 1;
	}
	json_t *string = text ? json_stringn(text, length) : NULL;
	free(text);
	return string;
}

/* `name` is for messages. */
static bool read_all(FILE *file, const char *name, uint8_t **bytes, size_t *count)
{
	size_t capacity = 1 << 16;
	*count = 0;
	*bytes = malloc(capacity);
	while (*bytes) {
		uint8_t *end = *bytes + *count;
		size_t room = capacity - *count;
		*count += file == stdin ? system_read_input(end, room) : fread(end, 1, room, file);
		if (*count < capacity)
			break;
		capacity *= 2;
		uint8_t *larger = realloc(*bytes, capacity);
		if (!larger)
			free(*bytes);
		*bytes = larger;
	}
	if (*bytes && !ferror(file))
		return true;
	failed("%s: %s", name, *bytes ? strerror(errno) : "out of memory");
	free(*bytes);
	*bytes = NULL;
	return false;
}

bool read_input(uint8_t **bytes, size_t *count)
{
	return read_all(stdin, "standard input", bytes, count);
}

bool read_file(const char *path, uint8_t **bytes, size_t *count)
{
	if (strcmp(path, "-") == 0)
		return read_input(bytes, count);
	FILE *file = fopen(path, "rb");
	if (!file) {
		failed("%s: %s", path, strerror(errno));
		return false;
	}
	bool ok = read_all(file, path, bytes, count);
	fclose(file);
	return ok;
}

static struct short_text show(uint64_t value, const char *unit)
{
	static const char *const prefixes[] = { "", "k", "M", "G", "T", "P", "E" };
	struct short_text out;
	double scaled = (double)value;
	size_t prefix = 0;
	for (; scaled >= 999.5 && prefix < 6; prefix++)
		scaled /= 1000;
	int decimals = prefix == 0 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
	snprintf(out.text, sizeof(out.text), "%.*f%s%s%s", decimals, scaled, *unit || prefix ? " " : "", prefixes[prefix], unit);
	return out;
}

struct short_text show_bytes(uint64_t bytes)
{
	return show(bytes, "B");
}

struct short_text show_count(uint64_t count)
{
	return show(count, "");
}

const char *printable(char *out, size_t size, const char *text)
{
	size_t count = 0;
	for (; text[count] && count < size - 1; count++)
		out[count] = (unsigned char)text[count] < 32 || text[count] == 127 ? '?' : text[count];
	out[count] = 0;
	return out;
}

double now_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
