/* Models in several files with an index, as Hugging Face stores large ones:
 *
 *     model.safetensors.index.json   {"metadata": ..., "weight_map": {tensor: file}}
 *     model-00001-of-00002.safetensors ...
 *
 * or, older, pytorch_model.bin.index.json and pytorch_model-00001-of-00002.bin, which are .pth files.  The files lie beside
 * the index and hold exactly the tensors that it lists.  Also finds the model's file in a folder. */
#include "format/dialects.h"
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MAX_INDEX_BYTES = 100000000, MAX_SHARDS = 1024, NAME_BYTES = 256 };

/* ---------------------------------------------------------------------------------------------------- paths */

static rwkvk_status no_memory(const char *path)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a path", path);
}

rwkvk_status shards_resolve(const char *path, char **out)
{
	static const char *const names[] = { "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json",
		                                 "pytorch_model.bin" };
	bool folder = file_kind(path) == FILE_FOLDER;
	for (size_t i = 0; folder && i < sizeof names / sizeof *names; i++) {
		*out = file_join(path, strlen(path), names[i]);
		if (!*out)
			return no_memory(path);
		if (file_kind(*out) != FILE_MISSING)
			return RWKVK_OK;
		free(*out);
		*out = NULL;
	}
	if (folder)
		return fail(RWKVK_ERROR_FILE, "%s: expected a folder with %s, %s, %s or %s, found none of them: name the model's file",
		            path, names[0], names[1], names[2], names[3]);
	*out = strdup(path);
	return *out ? RWKVK_OK : no_memory(path);
}

rwkvk_status shards_refuse_part(const char *path)
{
	const char *name = file_part(path), *of = strstr(name, "-of-");
	unsigned part, parts;
	int length = 0;
	char stem[NAME_BYTES];
	if (!of || of - name < 6 || sscanf(of - 6, "-%5u-of-%5u%n", &part, &parts, &length) != 2 || parts < 2)
		return RWKVK_OK;
	const char *ending = of - 6 + length;
	if ((strcmp(ending, ".safetensors") != 0 && strcmp(ending, ".bin") != 0) || of - name >= NAME_BYTES - 32)
		return RWKVK_OK;
	snprintf(stem, sizeof stem, "%.*s%s.index.json", (int)(of - 6 - name), name, ending);
	char *index = file_join(path, (size_t)(name - path), stem);
	if (!index)
		return no_memory(path);
	bool there = file_kind(index) != FILE_MISSING;
	free(index);
	return fail(RWKVK_ERROR_FILE, "%s: this is part %u of %u of a model: open %s, which %s", path, part, parts,
	            show_text(stem, strlen(stem)).text, there ? "lies beside it" : "belongs beside it but is missing");
}

/* ---------------------------------------------------------------------------------------------------- the index */

static bool is_plain_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (*p <= ' ' || *p >= 0x7f || *p == '/' || *p == '\\')
			return false;
	return *name && *name != '.' && !strstr(name, "..") && strlen(name) < NAME_BYTES;
}

/* Adds the names of all files to `files`, each with the number of its tensors. */
static rwkvk_status list_files(const struct weights *weights, json_t *map, json_t *files)
{
	const char *tensor;
	json_t *value;
	json_object_foreach(map, tensor, value)
	{
		const char *file = json_string_value(value);
		if (!file)
			return fail(RWKVK_ERROR_FILE, "%s: expected the name of a file for tensor %s, found something else", weights->path,
			            show_text(tensor, strlen(tensor)).text);
		if (!is_plain_name(file))
			return fail(RWKVK_ERROR_FILE, "%s: expected files beside the index, found \"%s\" for tensor %s", weights->path,
			            show_text(file, strlen(file)).text, show_text(tensor, strlen(tensor)).text);
		json_int_t count = json_integer_value(json_object_get(files, file));
		if (json_object_set_new(files, file, json_integer(count + 1)) != 0)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the list of files", weights->path);
		if (json_object_size(files) > MAX_SHARDS)
			return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected a model in at most %d files, found more", weights->path,
			            MAX_SHARDS);
	}
	return RWKVK_OK;
}

/* The tensors from `first` on came from `file`.  Those that the index puts there are crossed out in the map. */
static rwkvk_status check_shard(const struct weights *weights, json_t *map, const char *file, size_t first)
{
	for (size_t i = first; i < weights->count; i++) {
		const char *name = weights->tensors[i].name;
		const json_t *place = json_object_get(map, name);
		if (!json_is_string(place) || strcmp(json_string_value(place), file) != 0)
			return fail(RWKVK_ERROR_FILE, "%s: tensor %s lies in %s, but the index %s: they do not belong together",
			            weights->path, name, file, place ? "puts it in another file" : "does not know it");
		if (json_object_set_new(map, name, json_null()) != 0)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a mark", weights->path);
	}
	return RWKVK_OK;
}

static rwkvk_status check_missing(const struct weights *weights, json_t *map)
{
	const char *name;
	json_t *place;
	json_object_foreach(map, name, place)
	{
		if (json_is_string(place))
			return fail(RWKVK_ERROR_FILE, "%s: expected tensor %s in %s, found none: they do not belong together",
			            weights->path, show_text(name, strlen(name)).text, json_string_value(place));
	}
	return RWKVK_OK;
}

static rwkvk_status add_tensors(struct weights *weights, const struct mapping *file)
{
	if (safetensors_is(file))
		return safetensors_add(weights, file);
	if (!pth_is(file))
		return refuse_file(weights, file, "expected a safetensors or PyTorch file");
	snprintf(weights->format, sizeof weights->format, "PyTorch .pth");
	return pth_add(weights, file);
}

/* Messages about what is inside a shard name the shard. */
static rwkvk_status add_shard(struct weights *weights, char *path)
{
	const struct mapping *mapping = NULL;
	char *index = weights->path;
	weights->path = path;
	rwkvk_status status = weights_map(weights, path, &mapping);
	if (status == RWKVK_OK)
		status = add_tensors(weights, mapping);
	weights->path = index;
	return status;
}

static rwkvk_status read_shard(struct weights *weights, json_t *map, const char *file, json_int_t count)
{
	size_t first = weights->count;
	char *path = file_join(weights->path, (size_t)(file_part(weights->path) - weights->path), file);
	if (!path)
		return no_memory(weights->path);
	rwkvk_status status;
	if (file_kind(path) != FILE_MISSING)
		status = add_shard(weights, path);
	else
		status = fail(RWKVK_ERROR_FILE, "%s: expected the file %s beside it, with %lld tensors, found none: it is needed, too",
		              weights->path, file, (long long)count);
	free(path);
	TRY(status);
	return check_shard(weights, map, file, first);
}

static rwkvk_status read_index(struct weights *weights, json_t *index, json_t *files)
{
	json_t *map = json_object_get(index, "weight_map"), *count;
	const char *file;
	if (!json_is_object(map) || json_object_size(map) == 0)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a model, or an index of one with a \"weight_map\" of tensors, found JSON without it",
		            weights->path);
	if (weights->alone)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected a whole model, found an index of files: open it by its path",
		            weights->path);
	TRY(list_files(weights, map, files));
	snprintf(weights->format, sizeof weights->format, "safetensors");
	json_object_foreach(files, file, count)
	{
		TRY(read_shard(weights, map, file, json_integer_value(count)));
	}
	TRY(check_missing(weights, map));
	size_t length = strlen(weights->format);
	snprintf(weights->format + length, sizeof weights->format - length, ", %zu files", json_object_size(files));
	return RWKVK_OK;
}

rwkvk_status shards_add(struct weights *weights)
{
	json_error_t error;
	uint64_t bytes = weights->mapping.bytes;
	if (bytes > MAX_INDEX_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected an index of at most %d bytes, found one of %" PRIu64, weights->path,
		            MAX_INDEX_BYTES, bytes);
	json_t *index = json_loadb((const char *)weights->mapping.data, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
	if (!index && json_error_code(&error) == json_error_out_of_memory)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the index of %" PRIu64 " bytes", weights->path, bytes);
	if (!index)
		return fail(RWKVK_ERROR_FILE, "%s: expected a model or an index of one, found JSON that is not valid: %s (line %d)",
		            weights->path, show_text(error.text, strlen(error.text)).text, error.line);
	json_t *files = json_object();
	rwkvk_status status =
		files ? read_index(weights, index, files) : fail(RWKVK_ERROR_MEMORY, "%s: no memory for a list", weights->path);
	json_decref(files);
	json_decref(index);
	return status;
}

rwkvk_status shards_read(struct weights *weights)
{
	TRY(shards_add(weights));
	return weights_rename(weights, NAMES_TORCH);
}
