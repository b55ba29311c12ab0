/* The shape that tuning has found for a kind of model on a device: a small text beside the driver's pipeline cache, one for
 * each kind of model, device and driver.  What is damaged, or meant for something else, is as good as missing. */
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

/* What the best shape depends on, in words. */
static void describe(const struct rwkvk_model *m, char *text, size_t bytes)
{
	const struct config *c = &m->file.network.config;
	struct device_layer layer;
	outline_layer(&m->file.network, m->file.quant, c->layers - 1, &layer);
	snprintf(text, bytes, "RWKV-%s layers %u width %u ffn %u vocab %u types %s %s %s %s", config_version(c), c->layers,
	         c->width, c->ffn, c->vocab, type_name(layer.products.type), type_name(layer.ffn.key.type),
	         type_name(layer.ffn.value.type), type_name(m->head.type));
}

static char *path_of(const struct rwkvk_model *m, const char *text)
{
	char name[32];
	snprintf(name, sizeof name, "shape-%016" PRIx64, fnv1a(FNV1A_START, text, strlen(text)));
	return gpu_cache_path(m->gpu, name, ".txt");
}

#define CHOICE "%s\nworkgroup %u\nlanes %u\nrows %u\ngroups %u\n"

rwkvk_status choice_save(const struct rwkvk_model *m)
{
	char model[256], text[512];
	describe(m, model, sizeof model);
	char *path = path_of(m, model);
	if (!path)
		return RWKVK_OK; /* no caches are wanted */
	int bytes = snprintf(text, sizeof text, CHOICE, model, m->shape.workgroup, m->shape.lanes, m->shape.rows, m->shape.groups);
	gpu_make_folders(path);
	rwkvk_status status = file_write(path, text, (uint64_t)bytes, "", 0);
	free(path);
	return status;
}

/* The numbers of a file's text, if it was written for this model. */
static bool parse(const struct mapping *file, const char *model, struct shape *shape)
{
	char text[512];
	size_t head = strlen(model);
	if (file->bytes >= sizeof text || file->bytes <= head || memcmp(file->data, model, head) != 0)
		return false;
	memcpy(text, file->data, file->bytes);
	text[file->bytes] = 0;
	return sscanf(text + head, "\nworkgroup %u\nlanes %u\nrows %u\ngroups %u\n", &shape->workgroup, &shape->lanes, &shape->rows,
	              &shape->groups) == 4;
}

bool choice_load(const struct rwkvk_model *m, struct shape *out)
{
	char model[256];
	struct mapping file = { 0 };
	struct shape shape = { 0 };
	describe(m, model, sizeof model);
	char *path = path_of(m, model);
	bool found = path && file_map(path, &file) == RWKVK_OK && parse(&file, model, &shape) &&
	             shape_complete(&shape, gpu_caps(m->gpu), &m->file.network.config);
	file_unmap(&file);
	free(path);
	if (found)
		*out = shape;
	return found;
}
