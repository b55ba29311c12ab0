/* States in files of other programs: detecting their kind, and converting them.  All conversions go through the canonical
 * floats. */
#include "network/states.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/structs.h"
#include "format/readers.h"
#include "network/trained_state.h"

struct state_header state_header_of(const struct config *c)
{
	return (struct state_header){
		.model_version = c->version,
		.layers = c->layers,
		.width = c->width,
		.heads = c->heads,
		.head_size = c->head_size,
		.floats = config_state_floats(c),
		.logits = c->vocab,
	};
}

/* For a state of bare numbers. */
static rwkvk_status make_bare(const char *path, const struct config *config, struct saved_state *out)
{
	struct state_header header = state_header_of(config);
	header.logits = 0;
	return saved_state_make(path, &header, out);
}

static struct config config_of(const struct state_header *h)
{
	return (struct config){
		.version = h->model_version,
		.layers = h->layers,
		.width = h->width,
		.heads = h->heads,
		.head_size = h->head_size,
		.state_width = h->model_version == 40 ? 3 : h->head_size,
	};
}

/* ---------------------------------------------------------------------------------------------------- orders */

/* Where a layer of another program's state has our three parts: att_x, ffn_x, and the rest, which is aa, bb, pp or S.
 */
struct order {
	uint64_t att_x, ffn_x, rest;
};

static struct order order_of(rwkvk_state_format format, uint64_t width, uint64_t layer)
{
	if (format == RWKVK_STATE_RWKV_CPP)
		return (struct order){ .ffn_x = 0, .att_x = width, .rest = 2 * width };
	return (struct order){ .att_x = 0, .rest = width, .ffn_x = layer - width }; /* ChatRWKV */
}

static void reorder(const struct state_header *h, rwkvk_state_format format, bool back, const float *in, float *out)
{
	uint64_t width = h->width, layer = h->floats / h->layers;
	const struct order ours = { .att_x = 0, .ffn_x = width, .rest = 2 * width }, theirs = order_of(format, width, layer);
	const struct order *from = back ? &ours : &theirs, *to = back ? &theirs : &ours;
	for (uint32_t i = 0; i < h->layers; i++, in += layer, out += layer) {
		memcpy(out + to->att_x, in + from->att_x, width * sizeof *out);
		memcpy(out + to->ffn_x, in + from->ffn_x, width * sizeof *out);
		memcpy(out + to->rest, in + from->rest, (layer - 2 * width) * sizeof *out);
	}
}

void state_to_canonical(const struct state_header *header, rwkvk_state_format order, const float *in, float *out)
{
	reorder(header, order, false, in, out);
}

void state_from_canonical(const struct state_header *header, rwkvk_state_format order, const float *in, float *out)
{
	reorder(header, order, true, in, out);
}

/* ---------------------------------------------------------------------------------------------------- reading */

rwkvk_state_format state_format_of(const uint8_t *bytes, uint64_t count)
{
	if (state_file_is(bytes, count))
		return RWKVK_STATE_NATIVE;
	bool zip = count > 4 && memcmp(bytes, "PK\3\4", 4) == 0, gguf = count > 4 && memcmp(bytes, "GGUF", 4) == 0;
	bool json = count > 8 && (bytes[8] == '{' || bytes[0] == '{');
	return zip || gguf || json ? RWKVK_STATE_TRAINED : RWKVK_STATE_ANY;
}

static rwkvk_status format_of_file(const char *path, rwkvk_state_format *out)
{
	struct mapping file;
	TRY(file_map(path, &file));
	*out = state_format_of(file.data, file.bytes);
	file_unmap(&file);
	return RWKVK_OK;
}

/* As a file has it; web: web-rwkv's, whose tensors are transposed although nothing in the file says so. */
static rwkvk_status open_trained(const char *path, bool web, struct weights *out)
{
	TRY(weights_open(path, NULL, 0, NULL, out));
	for (size_t i = 0; web && i < out->count; i++)
		out->tensors[i].swapped = true;
	return RWKVK_OK;
}

static rwkvk_status read_trained(const char *path, bool web, const struct config *config, float *state)
{
	struct weights weights;
	TRY(open_trained(path, web, &weights));
	rwkvk_status status = trained_state(&weights, config, state);
	weights_close(&weights);
	return status;
}

rwkvk_status state_read(const char *path, const struct config *config, struct saved_state *out)
{
	struct state_header header = state_header_of(config);
	rwkvk_state_format format;
	TRY(format_of_file(path, &format));
	if (format != RWKVK_STATE_TRAINED)
		return state_file_read(path, &header, out);
	TRY(make_bare(path, config, out));
	rwkvk_status status = read_trained(path, false, config, out->state);
	if (status != RWKVK_OK)
		saved_state_free(out);
	return status;
}

/* A file of bare floats. */
static rwkvk_status read_bare(const char *path, uint64_t floats, float *out)
{
	struct mapping file;
	TRY(file_map(path, &file));
	rwkvk_status status = RWKVK_OK;
	if (file.bytes != 4 * floats)
		status = fail(RWKVK_ERROR_FILE,
		              "%s: expected the %" PRIu64 " floats of the model's state, %" PRIu64 " bytes, found %" PRIu64, path,
		              floats, 4 * floats, file.bytes);
	for (uint64_t i = 0; i < floats && status == RWKVK_OK; i++) {
		const uint8_t *at = file.data + 4 * i;
		out[i] = float_of_bits(at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
	}
	file_unmap(&file);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- any state */

/* A state in memory and its file's metadata. */
struct loaded {
	struct saved_state saved; /* canonical, or as in the file if only its numbers matter; model_version 0: unknown */
	bool damaged;
};

static rwkvk_status find_format(const char *path, rwkvk_state_format *format)
{
	if (*format != RWKVK_STATE_ANY)
		return RWKVK_OK;
	TRY(format_of_file(path, format));
	if (*format == RWKVK_STATE_ANY)
		return fail(RWKVK_ERROR_FILE,
		            "%s: is neither a state file nor a file with a trained start state; if it holds bare numbers, say in whose "
		            "order",
		            path);
	return RWKVK_OK;
}

/* Without a model, and lenient: the numbers are not checked. */
static rwkvk_status load_native(const char *path, const rwkvk_file *model, bool lenient, struct loaded *out)
{
	struct mapping file;
	struct state_header found;
	TRY(file_map(path, &file));
	rwkvk_status status = state_file_header(path, file.data, file.bytes, &found, &out->damaged);
	struct state_header want = model ? state_header_of(&model->network.config) : found;
	if (status == RWKVK_OK && lenient)
		status = state_file_numbers(path, file.data, &found, &out->saved);
	else if (status == RWKVK_OK)
		status = state_file_parse(path, file.data, file.bytes, &want, &out->saved);
	file_unmap(&file);
	return status;
}

static rwkvk_status need_model(const char *path, const rwkvk_file *model, const char *what)
{
	return model ? RWKVK_OK : fail(RWKVK_ERROR_ARGUMENT, "%s: %s; name the model that it belongs to", path, what);
}

static rwkvk_status load_bare(const char *path, rwkvk_state_format format, const rwkvk_file *model, struct loaded *out)
{
	struct saved_state *saved = &out->saved, theirs;
	TRY(need_model(path, model, "bare numbers do not say their shape"));
	TRY(make_bare(path, &model->network.config, saved));
	TRY(make_bare(path, &model->network.config, &theirs));
	rwkvk_status status = read_bare(path, saved->header.floats, theirs.state);
	if (status == RWKVK_OK)
		state_to_canonical(&saved->header, format, theirs.state, saved->state);
	saved_state_free(&theirs);
	return status;
}

static rwkvk_status load_trained(const char *path, bool web, const rwkvk_file *model, struct loaded *out)
{
	TRY(need_model(path, model, "a trained start state does not say which version of RWKV it is for"));
	TRY(make_bare(path, &model->network.config, &out->saved));
	return read_trained(path, web, &model->network.config, out->saved.state);
}

static rwkvk_status load(const char *path, rwkvk_state_format format, const rwkvk_file *model, struct loaded *out)
{
	if (format == RWKVK_STATE_NATIVE)
		return load_native(path, model, false, out);
	if (format == RWKVK_STATE_TRAINED || format == RWKVK_STATE_WEB_RWKV)
		return load_trained(path, format == RWKVK_STATE_WEB_RWKV, model, out);
	return load_bare(path, format, model, out);
}

/* ---------------------------------------------------------------------------------------------------- inspecting */

static void look_at(const float *numbers, uint64_t count, rwkvk_state_info *info)
{
	for (uint64_t i = 0; i < count; i++) {
		bool finite = isfinite(numbers[i]);
		info->not_finite += !finite;
		info->least = finite && numbers[i] < info->least ? numbers[i] : info->least;
		info->greatest = finite && numbers[i] > info->greatest ? numbers[i] : info->greatest;
	}
}

/* The numbers in the file: of a trained state, the matrices. */
static void look_at_all(const struct saved_state *saved, bool matrices, rwkvk_state_info *info)
{
	const struct state_header *h = &saved->header;
	uint64_t layer = h->floats / h->layers, skip = matrices ? 2 * (uint64_t)h->width : 0;
	info->least = INFINITY;
	info->greatest = -INFINITY;
	for (uint32_t i = 0; i < h->layers; i++)
		look_at(saved->state + i * layer + skip, layer - skip, info);
	if (info->least > info->greatest) /* not one is finite */
		info->least = info->greatest = 0;
	info->floats -= h->layers * skip;
	for (uint32_t i = 0; i < h->counts; i++)
		info->not_finite += !isfinite(saved->counts[i]);
	for (uint32_t i = 0; i < h->logits; i++)
		info->not_finite += !(saved->logits[i] < INFINITY); /* a token may have probability zero */
}

/* Without a model: the tensors' sizes and numbers. */
static rwkvk_status load_tensors(const char *path, struct loaded *out)
{
	struct weights weights;
	struct config c;
	TRY(open_trained(path, false, &weights));
	rwkvk_status status = trained_state_sizes(&weights, &c);
	if (status == RWKVK_OK) {
		c.version = 70; /* any version with matrices: only their numbers matter */
		status = make_bare(path, &c, &out->saved);
		if (status == RWKVK_OK)
			status = trained_state(&weights, &c, out->saved.state);
		out->saved.header.model_version = 0;
	}
	weights_close(&weights);
	return status;
}

rwkvk_status rwkvk_state_inspect(const char *path, rwkvk_state_format format, const rwkvk_file *model, rwkvk_state_info *info)
{
	rwkvk_state_info own = { 0 };
	REQUIRE(path && info && (unsigned)format <= RWKVK_STATE_CHATRWKV);
	TRY(find_format(path, &format));
	struct loaded loaded = { 0 };
	bool tensors = format == RWKVK_STATE_TRAINED || format == RWKVK_STATE_WEB_RWKV;
	rwkvk_status status;
	if (!model && format == RWKVK_STATE_NATIVE)
		status = load_native(path, NULL, true, &loaded);
	else if (!model && tensors)
		status = load_tensors(path, &loaded);
	else
		status = load(path, format, model, &loaded);
	if (status == RWKVK_OK) {
		const struct state_header *h = &loaded.saved.header;
		own = (rwkvk_state_info){ .format = format,
			                      .version = h->model_version,
			                      .layers = h->layers,
			                      .width = h->width,
			                      .heads = h->heads,
			                      .head_size = h->head_size,
			                      .position = h->position,
			                      .floats = h->floats,
			                      .damaged = loaded.damaged,
			                      .file_version = h->format,
			                      .counts = h->counts,
			                      .logits = h->logits };
		look_at_all(&loaded.saved, tensors, &own);
	}
	saved_state_free(&loaded.saved);
	rwkvk_status written = WRITE_RESULT(rwkvk_state_info, logits, &own, info);
	return status == RWKVK_OK ? written : status;
}

/* ---------------------------------------------------------------------------------------------------- converting */

static rwkvk_status expect_finite(const char *path, const struct saved_state *saved)
{
	for (uint64_t i = 0; i < saved->header.floats; i++)
		if (!isfinite(saved->state[i]))
			return fail(RWKVK_ERROR_FILE, "%s: number %" PRIu64 " of the state is %g; a state holds finite numbers", path, i,
			            (double)saved->state[i]);
	return RWKVK_OK;
}

static rwkvk_status save_bare(const char *path, rwkvk_state_format format, const struct saved_state *saved)
{
	uint64_t floats = saved->header.floats;
	float *theirs = malloc(floats * sizeof *theirs);
	uint8_t *bytes = malloc(4 * floats);
	rwkvk_status status = theirs && bytes ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "%s: no memory for the state", path);
	if (status == RWKVK_OK) {
		state_from_canonical(&saved->header, format, saved->state, theirs);
		for (uint64_t i = 0; i < 4 * floats; i++)
			bytes[i] = (uint8_t)(bits_of_float(theirs[i / 4]) >> 8 * (i % 4));
		status = file_write(path, NULL, 0, bytes, 4 * floats);
	}
	free(theirs);
	free(bytes);
	return status;
}

static rwkvk_status save(const char *path, rwkvk_state_format format, const struct saved_state *saved)
{
	struct config config = config_of(&saved->header);
	if (format == RWKVK_STATE_NATIVE)
		return state_file_write(path, saved);
	if (format == RWKVK_STATE_TRAINED)
		return trained_state_write(path, &config, saved->state);
	return save_bare(path, format, saved);
}

rwkvk_status rwkvk_state_convert(const char *in, rwkvk_state_format from, const char *out, rwkvk_state_format to,
                                 const rwkvk_file *model)
{
	REQUIRE(in && out && (unsigned)from <= RWKVK_STATE_CHATRWKV);
	REQUIRE((unsigned)to <= RWKVK_STATE_CHATRWKV && to != RWKVK_STATE_ANY && to != RWKVK_STATE_WEB_RWKV);
	TRY(find_format(in, &from));
	struct loaded loaded = { 0 };
	rwkvk_status status = load(in, from, model, &loaded);
	if (status == RWKVK_OK)
		status = expect_finite(in, &loaded.saved);
	if (status == RWKVK_OK)
		status = save(out, to, &loaded.saved);
	saved_state_free(&loaded.saved);
	return status;
}
