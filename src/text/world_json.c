/* World vocabularies of web-rwkv and Ai00: a JSON object {"ID": "text", "ID": [byte, ...]}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text/vocabulary.h"

static rwkvk_status read_bytes(rwkvk_tokenizer *t, const char *key, const json_t *list, size_t *bytes)
{
	uint8_t *to = t->pool + t->pool_bytes; /* a byte takes at least two characters of the file */
	*bytes = json_array_size(list);
	for (size_t i = 0; i < *bytes; i++) {
		const json_t *item = json_array_get(list, i);
		json_int_t byte = json_is_integer(item) ? json_integer_value(item) : -1;
		if (byte < 0 || byte > 255)
			return fail(RWKVK_ERROR_FILE, "%s: token %s: expected bytes from 0 to 255, found something else at index %zu",
			            t->name, key, i);
		to[i] = (uint8_t)byte;
	}
	return RWKVK_OK;
}

static rwkvk_status read_entry(rwkvk_tokenizer *t, const char *key, const json_t *value, uint32_t where)
{
	struct shown shown = show_text(key, strlen(key));
	size_t bytes = 0;
	uint32_t id;
	if (!read_decimal((const uint8_t *)key, (const uint8_t *)key + strlen(key), MAX_ID, &id))
		return fail(RWKVK_ERROR_FILE, "%s: entry %u: expected an id from 0 to %u, found \"%s\"", t->name, where, MAX_ID,
		            shown.text);
	if (json_is_string(value)) {
		bytes = json_string_length(value);
		memcpy(t->pool + t->pool_bytes, json_string_value(value), bytes);
	} else if (json_is_array(value)) {
		TRY(read_bytes(t, shown.text, value, &bytes));
	} else {
		return fail(RWKVK_ERROR_FILE, "%s: token %s: expected a text or a list of bytes, found something else", t->name,
		            shown.text);
	}
	return world_add(t, id, bytes, where);
}

static rwkvk_status read_entries(rwkvk_tokenizer *t, const json_t *root)
{
	const char *key;
	json_t *value;
	uint32_t where = 1;
	json_object_foreach((json_t *)(uintptr_t)root, key, value)
	{
		TRY(read_entry(t, key, value, where++));
	}
	return RWKVK_OK;
}

rwkvk_status tokenizer_from_ids(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out)
{
	json_error_t error;
	*out = NULL;
	if (bytes > MAX_VOCABULARY)
		return fail(RWKVK_ERROR_FILE, "%s: has %llu bytes; a vocabulary has at most %u", path, (unsigned long long)bytes,
		            MAX_VOCABULARY);
	json_t *root = json_loadb((const char *)text, (size_t)bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!root)
		return fail(RWKVK_ERROR_FILE, "%s: line %d: is not JSON: %s", path, error.line,
		            show_text(error.text, strlen(error.text)).text);
	rwkvk_tokenizer *t = NULL;
	rwkvk_status status = vocabulary_create(path, KIND_WORLD, "entry", (size_t)bytes + 1, &t);
	if (status == RWKVK_OK)
		status = world_finish(read_entries(t, root), t, out);
	json_decref(root);
	return status;
}
