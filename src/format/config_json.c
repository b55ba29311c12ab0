/* config.json, which Hugging Face's programs write beside a model's tensors: the few settings in it that tensors do not
 * show. */
#include "format/readers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MOST_BYTES = 1 << 20 };

static rwkvk_status take(const char *path, const json_t *root, struct config_json *out)
{
	const json_t *epsilon = json_object_get(root, "norm_eps"), *tied = json_object_get(root, "tie_word_embeddings");
	if (!json_is_object(root))
		return fail(RWKVK_ERROR_FILE, "%s: expected a JSON object, found something else: correct it or delete it", path);
	if (epsilon && !(json_number_value(epsilon) >= 1e-30 && json_number_value(epsilon) <= 1)) /* 0 of what is no number */
		return fail(RWKVK_ERROR_FILE, "%s: expected \"norm_eps\" to be a number from 1e-30 to 1, found something else", path);
	if (tied && !json_is_boolean(tied))
		return fail(RWKVK_ERROR_FILE, "%s: expected \"tie_word_embeddings\" to be true or false, found something else", path);
	out->norm_epsilon = json_number_value(epsilon);
	out->says_tied = tied != NULL;
	out->tied = json_is_true(tied);
	return RWKVK_OK;
}

rwkvk_status config_json_load(const char *path, const struct mapping *file, const char *what, json_t **root)
{
	json_error_t error;
	*root = NULL;
	if (file->bytes > MOST_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected at most %d bytes, found %" PRIu64, path, MOST_BYTES, file->bytes);
	*root = json_loadb((const char *)file->data, (size_t)file->bytes, JSON_REJECT_DUPLICATES, &error);
	if (!*root && json_error_code(&error) == json_error_out_of_memory)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for it", path);
	if (!*root)
		return fail(RWKVK_ERROR_FILE, "%s: expected JSON %s beside it, found %s (line %d): correct it or delete it", path, what,
		            show_text(error.text, strlen(error.text)).text, error.line);
	return RWKVK_OK;
}

double text_number(const char *text)
{
	json_t *number = json_loads(text, JSON_DECODE_ANY, NULL);
	double value = json_number_value(number);
	json_decref(number);
	return value;
}

rwkvk_status config_json_parse(const char *path, const struct mapping *file, struct config_json *out)
{
	json_t *root;
	TRY(config_json_load(path, file, "that configures the model", &root));
	rwkvk_status status = take(path, root, out);
	json_decref(root);
	return status;
}

rwkvk_status config_json_read(const struct weights *weights, struct config_json *out)
{
	struct mapping file = { 0 };
	*out = (struct config_json){ 0 };
	if (weights->alone)
		return RWKVK_OK;
	char *path = file_join(weights->path, (size_t)(file_part(weights->path) - weights->path), "config.json");
	if (!path)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a path", weights->path);
	rwkvk_status status = RWKVK_OK;
	if (file_kind(path) != FILE_MISSING)
		status = file_map(path, &file);
	if (file.data)
		status = config_json_parse(path, &file, out);
	file_unmap(&file);
	free(path);
	return status;
}
