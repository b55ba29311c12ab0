/* rwkv.cpp's .bin files, versions 100 and 101, little-endian, as its converter and quantiser write them:
 *
 *     0x67676d66 version:u32 vocabulary:u32 width:u32 layers:u32 type:u32
 *     records to the end of the file, nothing aligned:
 *         rank:u32 name length:u32 type:u32 dimension:u32... (fastest first) name data
 *
 * The names are nearly official, the numbers not always: what differs, by RWKV version, is in dialects.c. */
#include "format/dialects.h"
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DIMENSIONS = 4, NAME_BYTES = 256 };

struct header {
	uint32_t magic, version, vocab, width, layers, type;
};

struct record {
	uint32_t rank, name_bytes, type;
};

struct ggmf {
	struct weights *weights;
	const char *path;
	uint64_t at; /* next byte to read */
	struct header header;
};

/* ---------------------------------------------------------------------------------------------------- types */

/* A type can be read when the element types of weights.h have one of this name. */
static const char *const type_name[] = {
	[0] = "F32",  [1] = "F16",  [2] = "Q4_0", [3] = "Q4_1", [4] = "Q4_1_O",
	[5] = "Q4_2", [6] = "Q4_3", [7] = "Q5_0", [8] = "Q5_1", [9] = "Q8_0",
};

static rwkvk_status map_type(const struct ggmf *ggmf, const char *tensor, uint32_t type, enum dtype *out)
{
	const char *name = type < sizeof type_name / sizeof *type_name ? type_name[type] : NULL;
	enum dtype found = 0;
	while (name && found < DTYPE_COUNT && strcmp(name, dtype_info[found].name) != 0)
		found++;
	if (!name || found == DTYPE_COUNT)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: tensor %s has the type %s (%" PRIu32
		            "); expected F32, F16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0: quantise the model again",
		            ggmf->path, tensor, name ? name : "unknown to this version", type);
	if (dtype_info[found].block > 1 && ggmf->header.version == 100)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: tensor %s has the type %s in a file of version 100, whose blocks were laid out differently: expected "
		            "version 101, quantise the model again",
		            ggmf->path, tensor, name);
	*out = found;
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- bytes */

static rwkvk_status take(struct ggmf *ggmf, uint64_t bytes, const char *what, const void **out)
{
	const struct mapping *file = &ggmf->weights->mapping;
	if (bytes > file->bytes - ggmf->at)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected %s, %" PRIu64 " bytes at byte %" PRIu64 ", but the file ends at byte %" PRIu64
		            ": it is truncated (an incomplete download?)",
		            ggmf->path, what, bytes, ggmf->at, file->bytes);
	*out = file->data + ggmf->at;
	ggmf->at += bytes;
	return RWKVK_OK;
}

static rwkvk_status take_shape(struct ggmf *ggmf, uint32_t rank, uint64_t *shape)
{
	const void *data = NULL;
	uint32_t dimensions[MAX_DIMENSIONS];
	TRY(take(ggmf, rank * sizeof *dimensions, "the shape of a tensor", &data));
	memcpy(dimensions, data, rank * sizeof *dimensions);
	for (uint32_t i = 0; i < rank; i++)
		shape[i] = dimensions[rank - 1 - i];
	return RWKVK_OK;
}

static rwkvk_status take_name(struct ggmf *ggmf, uint32_t bytes, char *out)
{
	const void *data = NULL;
	TRY(take(ggmf, bytes, "the name of a tensor", &data));
	memcpy(out, data, bytes);
	out[bytes] = 0;
	for (uint32_t i = 0; i < bytes; i++)
		if (out[i] <= ' ' || out[i] >= 0x7f)
			return fail(RWKVK_ERROR_FILE, "%s: expected tensor names in plain ASCII, found \"%s\": the file is damaged",
			            ggmf->path, show_text(data, bytes).text);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- records */

static rwkvk_status read_record(struct ggmf *ggmf)
{
	const void *data = NULL;
	struct record record;
	char name[NAME_BYTES];
	uint64_t shape[MAX_DIMENSIONS], bytes = 0, start = ggmf->at;
	enum dtype type = DTYPE_F32;
	TRY(take(ggmf, sizeof record, "the head of a tensor", &data));
	memcpy(&record, data, sizeof record);
	if (record.rank == 0 || record.rank > MAX_DIMENSIONS || record.name_bytes == 0 || record.name_bytes >= NAME_BYTES)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a tensor at byte %" PRIu64
		            ", of 1 to %d dimensions and a name of 1 to %d bytes, found %" PRIu32 " dimensions and %" PRIu32
		            " bytes: the file is damaged",
		            ggmf->path, start, MAX_DIMENSIONS, NAME_BYTES - 1, record.rank, record.name_bytes);
	TRY(take_shape(ggmf, record.rank, shape));
	TRY(take_name(ggmf, record.name_bytes, name));
	TRY(map_type(ggmf, name, record.type, &type));
	if (!dtype_bytes(type, record.rank, shape, &bytes))
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s has the shape %s, which is impossible for %s (rows in blocks of %" PRIu32 ")", ggmf->path,
		            name, show_shape(record.rank, shape).text, dtype_info[type].name, dtype_info[type].block);
	uint64_t offset = ggmf->at;
	TRY(take(ggmf, bytes, name, &data));
	return weights_add(ggmf->weights, &ggmf->weights->mapping, name, name, type, record.rank, shape, offset, bytes);
}

/* ---------------------------------------------------------------------------------------------------- the file */

static rwkvk_status check_header(const struct ggmf *ggmf)
{
	const struct header *h = &ggmf->header;
	const struct tensor *emb = weights_find(ggmf->weights, "emb.weight");
	uint32_t layers = 0;
	for (size_t i = 0; i < ggmf->weights->count; i++) {
		unsigned layer;
		if (sscanf(ggmf->weights->tensors[i].name, "blocks.%4u.", &layer) == 1 && layer >= layers)
			layers = layer + 1;
	}
	if (!emb)
		return fail(RWKVK_ERROR_FILE, "%s: expected a tensor emb.weight, found %zu tensors without it: the file is incomplete",
		            ggmf->path, ggmf->weights->count);
	if (emb->rank != 2 || emb->shape[0] != h->vocab || emb->shape[1] != h->width)
		return fail(RWKVK_ERROR_FILE,
		            "%s: the header says a vocabulary of %" PRIu32 " and a width of %" PRIu32
		            ", but emb.weight has the shape %s: the file is damaged",
		            ggmf->path, h->vocab, h->width, show_shape(emb->rank, emb->shape).text);
	if (layers != h->layers)
		return fail(RWKVK_ERROR_FILE,
		            "%s: the header says %" PRIu32 " layers, but there are tensors for %" PRIu32
		            ": the file is truncated or damaged",
		            ggmf->path, h->layers, layers);
	return RWKVK_OK;
}

rwkvk_status ggmf_read(struct weights *weights)
{
	struct ggmf ggmf = { .weights = weights, .path = weights->path };
	const void *data = NULL;
	TRY(take(&ggmf, sizeof ggmf.header, "the header of an rwkv.cpp file", &data));
	memcpy(&ggmf.header, data, sizeof ggmf.header);
	if (ggmf.header.version != 100 && ggmf.header.version != 101)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: expected an rwkv.cpp file of version 100 or 101, found version %" PRIu32 ": convert the model again",
		            weights->path, ggmf.header.version);
	snprintf(weights->format, sizeof weights->format, "rwkv.cpp v%" PRIu32, ggmf.header.version);
	while (ggmf.at < weights->mapping.bytes)
		TRY(read_record(&ggmf));
	TRY(check_header(&ggmf));
	TRY(weights_rename(weights, NAMES_RWKV_CPP));
	/* its graph of RWKV-5 has another epsilon than the training code; decays ready for use are RWKV-4's and 5's */
	if (weights_find(weights, "blocks.0.att.decay") && weights_find(weights, "blocks.0.att.ln_x.weight"))
		weights->metadata.group_norm_epsilon = 1e-5f;
	return RWKVK_OK;
}
