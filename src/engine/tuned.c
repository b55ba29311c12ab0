/* The tuning that rwkvk_model_tune() has found for a kind of model on a device: a small text beside the driver's pipeline
 * cache, one for each kind of model, device and driver.  Files that are damaged or meant for something else count as missing.
 */
#include "engine/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

/* The facts that the best tuning depends on, as text. */
static void describe(const struct rwkvk_model *m, char *text, size_t bytes)
{
	const struct config *c = &m->file.network.config;
	struct outline layer;
	struct matrix head;
	outline_layer(&m->file.network, m->file.quant, c->layers - 1, &layer);
	outline_table(&m->file.network, m->file.network.head, m->file.quant, &head);
	snprintf(text, bytes, "RWKV-%s layers %u width %u ffn %u vocab %u types %s %s %s %s", config_version(c), c->layers,
	         c->width, c->ffn, c->vocab, type_name(layer.products.type), type_name(layer.ffn.key.type),
	         type_name(layer.ffn.value.type), type_name(head.type));
}

static char *path_of(const struct rwkvk_model *m, const char *text)
{
	char name[32];
	snprintf(name, sizeof name, "tuning-%016" PRIx64, fnv1a(FNV1A_START, text, strlen(text)));
	return gpu_cache_path(m->gpu, name, ".txt");
}

/* Chunk and step numbers are missing in old files, and where a model reads no chunks or steps were not tuned. */
#define TUNING "\nworkgroup %u\nlanes %u\nrows %u\ngroups %u\n"
#define TILE   "chunk_workgroup %u\nchunk_outputs %u\nchunk_tokens %u\nchunk_depth %u\n"
#define STEP   "step_outputs %u\n"

rwkvk_status tuned_save(const struct rwkvk_model *m)
{
	char model[256], text[512];
	describe(m, model, sizeof model);
	char *path = path_of(m, model);
	if (!path)
		return RWKVK_OK; /* no caches are wanted */
	const struct tuning *tuning = &m->plan.tuning;
	const struct tile tile = chunk_tile(m);
	int bytes = snprintf(text, sizeof text, "%s" TUNING, model, tuning->workgroup, tuning->lanes, tuning->rows, tuning->groups);
	if (m->chunk.pass.rows)
		bytes +=
			snprintf(text + bytes, sizeof text - (size_t)bytes, TILE, tile.workgroup, tile.outputs, tile.tokens, tile.depth);
	if (m->chunk.pass.rows && step_outputs(m))
		bytes += snprintf(text + bytes, sizeof text - (size_t)bytes, STEP, step_outputs(m));
	file_make_folders(path);
	rwkvk_status status = file_write(path, text, (uint64_t)bytes, "", 0);
	free(path);
	return status;
}

/* Parses the numbers of a file's text, if it was written for this model. */
static bool parse(const struct mapping *file, const char *model, struct tuning *tuning, struct tile *tile, uint32_t *outputs)
{
	char text[512];
	size_t head = strlen(model);
	if (file->bytes >= sizeof text || file->bytes <= head || memcmp(file->data, model, head) != 0)
		return false;
	memcpy(text, file->data, file->bytes);
	text[file->bytes] = 0;
	int numbers = sscanf(text + head, TUNING TILE STEP, &tuning->workgroup, &tuning->lanes, &tuning->rows, &tuning->groups,
	                     &tile->workgroup, &tile->outputs, &tile->tokens, &tile->depth, outputs);
	return numbers == 9 || (numbers == 8 && !strstr(text + head, "step")) || (numbers == 4 && !strstr(text + head, "chunk"));
}

/* The stored tuning does not work here; the next opening need not try it. */
static void drop(const struct rwkvk_model *m, const char *path, const char *reason)
{
	remove(path);
	report(gpu_listener(m->gpu), RWKVK_LOG_WARNING, "%s: dropped, because the device no longer accepts the tuned settings: %s",
	       path, reason);
}

/* Reads the tuning from the file, and the tile if it has one; both must be for this model and supported by the device. */
static bool find_stored(const struct rwkvk_model *m, const char *path, struct tuned *out)
{
	char model[256];
	struct mapping file = { 0 };
	struct tuning tuning = { 0 };
	struct tile tile = out->tile;
	uint32_t outputs = 0;
	describe(m, model, sizeof model);
	error_hold();
	bool found = file_map(path, &file) == RWKVK_OK && parse(&file, model, &tuning, &tile, &outputs);
	error_release();
	file_unmap(&file);
	bool usual = memcmp(&tile, &out->tile, sizeof tile) == 0;
	if (found && (!model_complete_tuning(m, &tuning) || (!usual && !chunk_takes_tile(m, &tile)))) {
		drop(m, path, "it is past the device's limits");
		return false;
	}
	if (found)
		*out = (struct tuned){ tuning, tile, outputs, true };
	return found;
}

static char *path_for(const struct rwkvk_model *m)
{
	char model[256];
	describe(m, model, sizeof model);
	return path_of(m, model);
}

void tuned_choose(const struct rwkvk_model *m, struct tuned *out)
{
	char *path = path_for(m);
	*out = (struct tuned){ .tuning = model_usual_tuning(m), .tile = chunk_usual_tile(m) };
	if (path)
		(void)find_stored(m, path, out);
	free(path);
}

static void drop_stored(const struct rwkvk_model *m, const char *reason)
{
	char *path = path_for(m);
	if (path)
		drop(m, path, reason);
	free(path);
}

/* Pipelines of chunks are compiled when the first one is fed. */
static void plan_tile(struct rwkvk_model *m, const struct tuned *chosen)
{
	if (!m->chunk.pass.rows || !chosen->stored)
		return;
	chunk_set_tile(m, &chosen->tile);
	m->chunk.tile_stored = true;
	if (!m->batch.most)
		m->batch.outputs = chosen->step_outputs; /* for the next time */
	else if (step_takes_outputs(m, chosen->step_outputs))
		step_set_outputs(m, chosen->step_outputs);
}

rwkvk_status tuned_plan(struct rwkvk_model *m, const struct tuned *chosen)
{
	char reason[1024];
	rwkvk_status status = forward_plan(m, &chosen->tuning);
	if (status == RWKVK_OK)
		plan_tile(m, chosen);
	if (status == RWKVK_OK || status == RWKVK_CANCELLED || status == RWKVK_ERROR_DEVICE_LOST || !chosen->stored)
		return status;
	snprintf(reason, sizeof reason, "%s", rwkvk_last_error());
	const struct tuning usual = model_usual_tuning(m);
	TRY(forward_plan(m, &usual)); /* if this fails as well, the file is not to blame */
	drop_stored(m, reason);
	return RWKVK_OK;
}

bool tuned_drop_tile(struct rwkvk_model *m)
{
	const struct tile tile = chunk_tile(m), usual = chunk_usual_tile(m);
	if (!m->chunk.tile_stored || memcmp(&tile, &usual, sizeof tile) == 0)
		return false;
	drop_stored(m, rwkvk_last_error());
	chunk_set_tile(m, &usual);
	return true;
}

bool tuned_drop_step(struct rwkvk_model *m)
{
	if (step_outputs(m) == step_usual_outputs(m))
		return false;
	drop_stored(m, rwkvk_last_error());
	step_set_outputs(m, step_usual_outputs(m));
	return true;
}
