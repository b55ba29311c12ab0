/* Standard output with every failure noticed, standard input as bytes, and how numbers and names are shown. */
#ifndef RWKVK_TOOL_STREAMS_H
#define RWKVK_TOOL_STREAMS_H

#include <jansson.h>
#include <stdio.h>

#include "tool.h"

/* Return false once standard output has failed; the first reason is kept for out_finish(). */
bool out_write(const void *bytes, size_t count);
bool out_printf(const char *format, ...) TOOL_PRINTF(1, 2);
bool out_flush(void);
bool out_closed(void); /* whether the reader of standard output has gone */

/* Checks an output before the work begins: EXIT_DONE if a file can be written there, or it is a pipe or a device. */
int output_check(const char *path);

/* Flushes and turns a failure of standard output into EXIT_FAILED with a message (none for a closed pipe); else returns
 * `code`. */
int out_finish(int code);

/* Writes the document and frees it; NULL (out of memory) fails. */
int out_json(json_t *document);

/* The same as one line. */
int out_json_line(json_t *document);

/* A string of unknown origin as a JSON string. */
json_t *json_text(const char *text);

/* Bytes as a JSON string: each byte of invalid UTF-8 becomes U+FFFD. */
json_t *json_bytes(const char *bytes, size_t count);

/* All of standard input.  The bytes belong to the caller; false after a message. */
bool read_input(uint8_t **bytes, size_t *count);

/* The same for a whole file, or for standard input if `path` is "-". */
bool read_file(const char *path, uint8_t **bytes, size_t *count);

/* "4.81 MB" (powers of 1000). */
struct short_text {
	char text[24];
};
struct short_text show_bytes(uint64_t bytes);
struct short_text show_count(uint64_t count); /* "4.81 M" */

/* `text` in `out`, its control characters as '?': names in files may hold anything, even commands to the terminal. */
const char *printable(char *out, size_t size, const char *text);

double now_seconds(void);

#endif
