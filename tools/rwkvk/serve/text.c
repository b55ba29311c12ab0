#include "serve/text.h"

#include <stdlib.h>
#include <string.h>

static bool grow(struct text *text, size_t count)
{
	if (text->count + count < text->capacity)
		return true;
	size_t capacity = 2 * (text->count + count) + 64;
	char *grown = realloc(text->bytes, capacity);
	if (!grown)
		return false;
	text->bytes = grown;
	text->capacity = capacity;
	return true;
}

void text_add(struct text *text, const void *bytes, size_t count)
{
	if (!grow(text, count)) {
		text->failed = true;
		return;
	}
	if (count > 0)
		memcpy(text->bytes + text->count, bytes, count);
	text->count += count;
	text->bytes[text->count] = 0;
}

void text_add_text(struct text *text, const char *string)
{
	text_add(text, string, strlen(string));
}

static int add_piece(const char *bytes, size_t count, void *user)
{
	text_add(user, bytes, count);
	return 0;
}

void text_add_json(struct text *text, json_t *value)
{
	if (!value || json_dump_callback(value, add_piece, text, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(7)) != 0)
		text->failed = true;
	json_decref(value);
}

void text_drop(struct text *text, size_t count)
{
	text->count -= count;
	memmove(text->bytes, text->bytes + count, text->count);
}

void text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){ .bytes = NULL };
}

const char *text_find(const char *bytes, size_t count, const char *word)
{
	size_t length = strlen(word);
	for (size_t at = 0; at + length <= count; at++)
		if (memcmp(bytes + at, word, length) == 0)
			return bytes + at;
	return NULL;
}

size_t text_whole(const char *bytes, size_t count)
{
	for (size_t back = 1; back <= 3 && back <= count; back++) {
		unsigned char c = (unsigned char)bytes[count - back];
		size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		if (c >= 0xc0)
			return length > back ? count - back : count;
		if (c < 0x80)
			return count;
	}
	return count;
}
