/* Formats that CMake's options leave out of this build: refused by name. */
#include "format/adapter.h"
#include "format/output.h"
#include "format/readers.h"

#include <stdlib.h>
#include <string.h>

#if !defined(RWKVK_SAFETENSORS) || !defined(RWKVK_PTH)
static rwkvk_status absent(const char *path, const char *what, const char *option)
{
	return fail(RWKVK_ERROR_UNSUPPORTED, "%s: %s, which this build of rwkvk cannot handle: build it with -D%s=ON, or use GGUF",
	            path, what, option);
}
#endif

#ifndef RWKVK_SAFETENSORS
rwkvk_status safetensors_add(struct weights *weights, const struct mapping *file)
{
	(void)file;
	return absent(weights->path, "a safetensors file", "RWKVK_SAFETENSORS");
}

rwkvk_status safetensors_read(struct weights *weights)
{
	return safetensors_add(weights, &weights->mapping);
}

rwkvk_status safetensors_head(const struct output_list *list, const char *path, const char *name, float epsilon, uint8_t **head,
                              size_t *bytes)
{
	(void)list, (void)name, (void)epsilon, (void)head, (void)bytes;
	return absent(path, "a safetensors file", "RWKVK_SAFETENSORS");
}
#endif

#ifndef RWKVK_PTH
rwkvk_status pth_add(struct weights *weights, const struct mapping *file)
{
	(void)file;
	return absent(weights->path, "a PyTorch .pth file", "RWKVK_PTH");
}

rwkvk_status pth_read(struct weights *weights)
{
	return pth_add(weights, &weights->mapping);
}
#endif

/* Companion files that only these formats have. */
#ifndef RWKVK_JSON
rwkvk_status shards_add(struct weights *weights)
{
	return absent(weights->path, "an index of safetensors or .pth files", "RWKVK_SAFETENSORS");
}

rwkvk_status shards_read(struct weights *weights)
{
	return shards_add(weights);
}

rwkvk_status shards_resolve(const char *path, char **out)
{
	*out = NULL;
	if (file_kind(path) == FILE_FOLDER)
		return absent(path, "a folder with a model in safetensors or .pth files", "RWKVK_SAFETENSORS");
	*out = strdup(path);
	return *out ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "%s: no memory for a path", path);
}

/* The file itself is refused, whatever its name. */
rwkvk_status shards_refuse_part(const char *path)
{
	(void)path;
	return RWKVK_OK;
}

double text_number(const char *text)
{
	(void)text; /* only safetensors files have numbers as texts */
	return 0;
}

rwkvk_status config_json_read(const struct weights *weights, struct config_json *out)
{
	(void)weights;
	*out = (struct config_json){ 0 };
	return RWKVK_OK;
}

rwkvk_status adapter_config_read(const struct weights *weights, struct adapter_config *out)
{
	(void)weights;
	*out = (struct adapter_config){ 0 };
	return RWKVK_OK;
}
#endif
