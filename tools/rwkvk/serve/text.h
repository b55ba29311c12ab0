/* Bytes that grow: bodies, answers and what is on its way to a client. */
#ifndef RWKVK_SERVE_TEXT_H
#define RWKVK_SERVE_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
	char *bytes; /* to be freed; a 0 follows them, NULL when empty */
	size_t count, capacity;
	bool failed; /* there was no memory once */
};

void text_add(struct text *text, const void *bytes, size_t count);
void text_add_text(struct text *text, const char *string);
void text_add_json(struct text *text, json_t *value); /* which is freed; NULL: there was no memory for it */
void text_drop(struct text *text, size_t count);      /* the first ones */
void text_free(struct text *text);

/* The first place of the bytes where `word` is; NULL: nowhere. */
const char *text_find(const char *bytes, size_t count, const char *word);

/* How many of these bytes are whole characters; the others may become one with those that follow. */
size_t text_whole(const char *bytes, size_t count);

#endif
