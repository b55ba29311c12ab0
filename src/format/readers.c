/* Opening model files: detecting a file's format from its first bytes.  Only the readers know the formats' content, one file
 * per format. */
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/letters.h"
#include "format/dialects.h"
#include "format/names.h"

static const struct foreign {
	const char *magic;
	rwkvk_status status;
	const char *what;
} foreign[] = {
	{ "\x80\2", RWKVK_ERROR_UNSUPPORTED,
	  "a bare pickle, as PyTorch wrote before version 1.6: load it there and torch.save() it again" },
	{ "tjgg", RWKVK_ERROR_UNSUPPORTED, "a file in ggml's old GGJT format: convert the original model to GGUF" },
	{ "lmgg", RWKVK_ERROR_UNSUPPORTED, "a file in ggml's old GGML format: convert the original model to GGUF" },
	{ "\x1f\x8b", RWKVK_ERROR_FILE, "a gzip file: decompress it first" },
	{ "\x28\xb5\x2f\xfd", RWKVK_ERROR_FILE, "a zstd file: decompress it first" },
	{ "\xfd\x37zXZ", RWKVK_ERROR_FILE, "an xz file: decompress it first" },
	{ "version https://git-lfs", RWKVK_ERROR_FILE,
	  "a Git LFS pointer instead of the model: fetch the model itself, for example with `git lfs pull`" },
};

bool safetensors_is(const struct mapping *file)
{
	return file->bytes > 8 && file->data[8] == '{' && file->data[6] == 0 && file->data[7] == 0;
}

bool pth_is(const struct mapping *file)
{
	return file->bytes >= 4 && memcmp(file->data, "PK\3\4", 4) == 0;
}

static bool is_html(const uint8_t *data, uint64_t bytes)
{
	static const char *const starts[] = { "<!doctype", "<html", "<head", "<?xml" };
	while (bytes && strchr(" \t\r\n\xef\xbb\xbf", *data) && *data)
		data++, bytes--;
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		if (bytes >= strlen(starts[i]) && equal_but_case((const char *)data, starts[i], strlen(starts[i])))
			return true;
	return false;
}

rwkvk_status refuse_file(const struct weights *weights, const struct mapping *file, const char *expected)
{
	const uint8_t *data = file->data;
	uint64_t bytes = file->bytes;
	if (bytes == 0)
		return fail(RWKVK_ERROR_FILE, "%s: %s, found an empty file", weights->path, expected);
	for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
		if (bytes >= strlen(foreign[i].magic) && memcmp(data, foreign[i].magic, strlen(foreign[i].magic)) == 0)
			return fail(foreign[i].status, "%s: %s, found %s", weights->path, expected, foreign[i].what);
	if (is_html(data, bytes))
		return fail(RWKVK_ERROR_FILE, "%s: %s, found a web page: download the file itself, not the page that shows it",
		            weights->path, expected);
	char hex[3 * 8 + 1] = "";
	for (size_t i = 0; i < 8 && i < bytes; i++)
		snprintf(hex + 3 * i, 4, " %02x", data[i]);
	return fail(RWKVK_ERROR_FILE, "%s: %s, found %" PRIu64 " bytes that begin with%s (\"%s\")", weights->path, expected, bytes,
	            hex, show_text(data, bytes < 8 ? bytes : 8).text);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct tensor *const *)a)->name, (*(struct tensor *const *)b)->name);
}

static rwkvk_status refuse_duplicates(const struct weights *weights)
{
	const struct tensor **sorted = malloc((weights->count + 1) * sizeof *sorted);
	if (!sorted)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory to check %zu tensors", weights->path, weights->count);
	for (size_t i = 0; i < weights->count; i++)
		sorted[i] = &weights->tensors[i];
	qsort(sorted, weights->count, sizeof *sorted, by_name);
	rwkvk_status status = RWKVK_OK;
	for (size_t i = 1; i < weights->count && status == RWKVK_OK; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			status = fail(RWKVK_ERROR_FILE, "%s: expected every tensor once, found two for %s (\"%s\" and \"%s\")",
			              weights->path, sorted[i]->name, sorted[i - 1]->file_name, sorted[i]->file_name);
	free(sorted);
	return status;
}

static rwkvk_status read_contents(struct weights *weights, const char *names)
{
	const uint8_t *data = weights->mapping.data;
	uint64_t bytes = weights->mapping.bytes;
	if (bytes >= 4 && memcmp(data, "GGUF", 4) == 0)
		TRY(gguf_read(weights));
	else if (bytes >= 4 && memcmp(data, "fmgg", 4) == 0)
		TRY(ggmf_read(weights));
	else if (safetensors_is(&weights->mapping))
		TRY(safetensors_read(weights));
	else if (bytes && *data == '{')
		TRY(shards_read(weights));
	else if (pth_is(&weights->mapping))
		TRY(pth_read(weights));
	else
		return refuse_file(weights, &weights->mapping, "expected a model in GGUF, safetensors, PyTorch or rwkv.cpp format");
	if (names)
		TRY(names_apply(weights, names));
	TRY(weights_tie(weights));
	return refuse_duplicates(weights);
}

/* Of a model without a path. */
static rwkvk_status set_name(struct weights *weights, const char *name)
{
	weights->alone = true;
	weights->path = strdup(name);
	return weights->path ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "no memory for a file name");
}

static rwkvk_status map_path(struct weights *weights, const char *path)
{
	TRY(shards_resolve(path, &weights->path));
	return weights->read_files ? file_read(weights->path, &weights->mapping) : file_map(weights->path, &weights->mapping);
}

/* Once its bytes are there, or have failed to be: `status`. */
static rwkvk_status read_mapped(struct weights *weights, rwkvk_status status, const char *names)
{
	weights->metadata.sampling = usual_sampling;
	if (status == RWKVK_OK)
		status = read_contents(weights, names);
	if (status != RWKVK_OK)
		weights_close(weights);
	return status;
}

rwkvk_status weights_open(const char *path, const void *data, size_t bytes, const char *names, struct weights *out)
{
	*out = (struct weights){ 0 };
	REQUIRE(path || data);
	out->mapping = (struct mapping){ .data = data, .bytes = bytes };
	rwkvk_status status = data ? set_name(out, path ? path : "embedded model") : map_path(out, path);
	return read_mapped(out, status, names);
}

rwkvk_status weights_open_read(const char *path, const char *names, struct weights *out)
{
	*out = (struct weights){ .read_files = true };
	return read_mapped(out, map_path(out, path), names);
}

rwkvk_status weights_open_descriptor(const struct descriptor *from, const char *name, bool read_file, const char *names,
                                     struct weights *out)
{
	char number[48];
	snprintf(number, sizeof number, "file descriptor %d", from->fd);
	*out = (struct weights){ .read_files = read_file };
	rwkvk_status status = set_name(out, name ? name : number);
	if (status == RWKVK_OK)
		status = file_map_descriptor(from, out->path, read_file, &out->mapping);
	return read_mapped(out, status, names);
}

static rwkvk_status read_tensors(struct weights *weights)
{
	TRY(shards_refuse_part(weights->path));
	TRY(weights->read_files ? file_read(weights->path, &weights->mapping) : file_map(weights->path, &weights->mapping));
	if (safetensors_is(&weights->mapping))
		return safetensors_add(weights, &weights->mapping);
	if (pth_is(&weights->mapping))
		return pth_add(weights, &weights->mapping);
	if (weights->mapping.bytes && *weights->mapping.data == '{')
		return shards_add(weights);
	return refuse_file(weights, &weights->mapping, "expected a safetensors or PyTorch file");
}

rwkvk_status weights_open_tensors(const char *path, bool read_files, struct weights *out)
{
	*out = (struct weights){ .read_files = read_files, .path = strdup(path) };
	rwkvk_status status = out->path ? read_tensors(out) : fail(RWKVK_ERROR_MEMORY, "%s: no memory for a path", path);
	if (status != RWKVK_OK)
		weights_close(out);
	return status;
}
