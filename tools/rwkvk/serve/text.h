/* A growing buffer of bytes: bodies, answers and output for a client. */
#ifndef RWKVK_SERVE_TEXT_H
#define RWKVK_SERVE_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
	char *bytes; /* to be freed; a 0 follows them, NULL when empty */
	size_t count, capacity;
	bool failed; /* memory ran out at some point */
};

void text_add(struct text *text, const void *bytes, size_t count);
void text_add_text(struct text *text, const char *string);
void text_add_json(struct text *text, json_t *value); /* frees value; NULL: out of memory */
void text_drop(struct text *text, size_t count);      /* from the beginning */
void text_free(struct text *text);

/* The first occurrence of `word` in the bytes; NULL: none. */
const char *text_find(const char *bytes, size_t count, const char *word);

/* How many of these bytes are whole characters; the rest may be completed by the bytes that follow. */
size_t text_whole(const char *bytes, size_t count);

#endif
