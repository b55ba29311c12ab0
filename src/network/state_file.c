/* Writing and reading state files.  All numbers are little-endian on disk and are assembled byte by byte, so nothing depends
 * on the machine's byte order or alignment. */
#include "network/state_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/half.h"

#define FORMAT_VERSION 2

static const uint8_t magic[8] = { 'R', 'W', 'K', 'V', 'K', 'S', 'T', 'A' };

enum { /* offsets of the header's fields */
	   AT_FORMAT = 8,
	   AT_MODEL = 12,
	   AT_LAYERS = 16,
	   AT_WIDTH = 20,
	   AT_HEADS = 24,
	   AT_HEAD_SIZE = 28,
	   AT_POSITION = 32,
	   AT_FLOATS = 40,
	   AT_CHECKSUM = 48,
	   HEADER_1_BYTES = 56,
	   AT_COUNTS = 56,
	   AT_LOGITS = 60,
	   HEADER_2_BYTES = 64,
};

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static void put64(uint8_t *at, uint64_t value)
{
	put32(at, (uint32_t)value);
	put32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static uint64_t header_bytes(uint32_t format)
{
	return format == 1 ? HEADER_1_BYTES : HEADER_2_BYTES;
}

/* The data after the state: an id and a count for each generated token, and the logits. */
static uint64_t rest_bytes(const struct state_header *header)
{
	return 8 * (uint64_t)header->counts + 4 * (uint64_t)header->logits;
}

/* The checksum of all bytes but its own. */
static uint64_t checksum(const uint8_t *bytes, uint64_t count)
{
	return fnv1a(fnv1a(FNV1A_START, bytes, AT_CHECKSUM), bytes + HEADER_1_BYTES, (size_t)(count - HEADER_1_BYTES));
}

rwkvk_status saved_state_make(const char *name, const struct state_header *header, struct saved_state *out)
{
	uint64_t rest = rest_bytes(header);
	*out = (struct saved_state){ .header = *header };
	if (header->floats <= (SIZE_MAX - rest) / sizeof(float))
		out->state = calloc((size_t)(header->floats + rest / sizeof(float)), sizeof(float));
	if (!out->state)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a state of %" PRIu64 " floats", name, header->floats);
	out->counts = out->state + header->floats;
	out->logits = out->counts + header->counts;
	out->ids = (uint32_t *)(void *)(out->logits + header->logits);
	return RWKVK_OK;
}

void saved_state_free(struct saved_state *saved)
{
	free(saved->state); /* all lists are parts of it */
	*saved = (struct saved_state){ 0 };
}

/* Logits that a device can compute and a sampler accepts: a token may have probability zero. */
static bool is_logit(float value)
{
	return value < INFINITY;
}

static bool is_count(float value)
{
	return isfinite(value) && value >= 0;
}

/* ---------------------------------------------------------------------------------------------------- writing */

static void put_header(uint8_t *head, const struct state_header *header)
{
	memcpy(head, magic, sizeof magic);
	put32(head + AT_FORMAT, FORMAT_VERSION);
	put32(head + AT_MODEL, header->model_version);
	put32(head + AT_LAYERS, header->layers);
	put32(head + AT_WIDTH, header->width);
	put32(head + AT_HEADS, header->heads);
	put32(head + AT_HEAD_SIZE, header->head_size);
	put64(head + AT_POSITION, header->position);
	put64(head + AT_FLOATS, header->floats);
	put32(head + AT_COUNTS, header->counts);
	put32(head + AT_LOGITS, header->logits);
}

uint64_t state_file_bytes(const struct state_header *header)
{
	return HEADER_2_BYTES + 4 * header->floats + rest_bytes(header);
}

static rwkvk_status nonsense(const char *name, const char *what, uint64_t index, float value)
{
	return fail(RWKVK_ERROR_DRIVER, "%s: not written: %s %" PRIu64 " of the state is %g: the device has computed nonsense",
	            name, what, index, (double)value);
}

static void put_floats(uint8_t *at, const float *values, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		put32(at + 4 * i, bits_of_float(values[i]));
}

rwkvk_status state_file_build(const char *name, const struct saved_state *saved, uint8_t *bytes)
{
	const struct state_header *header = &saved->header;
	uint8_t *at = bytes + HEADER_2_BYTES;
	for (uint64_t i = 0; i < header->floats; i++)
		if (!isfinite(saved->state[i]))
			return nonsense(name, "number", i, saved->state[i]);
	for (uint32_t i = 0; i < header->logits; i++)
		if (!is_logit(saved->logits[i]))
			return nonsense(name, "logit", i, saved->logits[i]);
	put_header(bytes, header);
	put_floats(at, saved->state, header->floats);
	at += 4 * header->floats;
	for (uint32_t i = 0; i < header->counts; i++, at += 8) {
		put32(at, saved->ids[i]);
		put_floats(at + 4, &saved->counts[i], 1);
	}
	put_floats(at, saved->logits, header->logits);
	put64(bytes + AT_CHECKSUM, checksum(bytes, state_file_bytes(header)));
	return RWKVK_OK;
}

rwkvk_status state_file_write(const char *path, const struct saved_state *saved)
{
	size_t bytes = (size_t)state_file_bytes(&saved->header);
	uint8_t *file = malloc(bytes);
	if (!file)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a state of %" PRIu64 " floats", path, saved->header.floats);
	rwkvk_status status = state_file_build(path, saved, file);
	if (status == RWKVK_OK)
		status = file_write(path, file, bytes, "", 0);
	free(file);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- reading */

static void describe(const struct state_header *h, char text[160])
{
	snprintf(text, 160, "RWKV-%u.%u, %u layers of width %u, %u heads of %u, %" PRIu64 " floats", h->model_version / 10,
	         h->model_version % 10, h->layers, h->width, h->heads, h->head_size, h->floats);
}

bool state_file_is(const uint8_t *bytes, uint64_t count)
{
	return count >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

static rwkvk_status too_short(const char *path, uint64_t header, uint64_t count)
{
	return fail(RWKVK_ERROR_FILE, "%s: is truncated: the header has %" PRIu64 " bytes, the file %" PRIu64, path, header, count);
}

/* The numbers of the header, unchecked. */
static rwkvk_status read_header(const char *path, const uint8_t *bytes, uint64_t count, struct state_header *out)
{
	if (!state_file_is(bytes, count))
		return fail(RWKVK_ERROR_FILE,
		            "%s: is not a state file: it does not begin with %.8s, nor is it a safetensors or .pth file", path,
		            (const char *)magic);
	if (count < HEADER_1_BYTES)
		return too_short(path, HEADER_1_BYTES, count);
	uint32_t format = get32(bytes + AT_FORMAT);
	if (format < 1 || format > FORMAT_VERSION)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: is a state file of format version %" PRIu32 "; this program reads versions 1 and %d", path, format,
		            FORMAT_VERSION);
	if (count < header_bytes(format))
		return too_short(path, header_bytes(format), count);
	*out = (struct state_header){
		.model_version = get32(bytes + AT_MODEL),
		.layers = get32(bytes + AT_LAYERS),
		.width = get32(bytes + AT_WIDTH),
		.heads = get32(bytes + AT_HEADS),
		.head_size = get32(bytes + AT_HEAD_SIZE),
		.position = get64(bytes + AT_POSITION),
		.floats = get64(bytes + AT_FLOATS),
		.counts = format == 1 ? 0 : get32(bytes + AT_COUNTS),
		.logits = format == 1 ? 0 : get32(bytes + AT_LOGITS),
		.format = format,
	};
	return RWKVK_OK;
}

static rwkvk_status check_header(const char *path, const struct state_header *found, const struct state_header *want)
{
	if (found->model_version != want->model_version || found->layers != want->layers || found->width != want->width ||
	    found->heads != want->heads || found->head_size != want->head_size || found->floats != want->floats) {
		char theirs[160], ours[160];
		describe(found, theirs);
		describe(want, ours);
		return fail(RWKVK_ERROR_FILE, "%s: holds the state of another model: %s; this model needs %s", path, theirs, ours);
	}
	if (want->logits && found->logits && found->logits != want->logits)
		return fail(RWKVK_ERROR_FILE,
		            "%s: holds the state of another model: logits of a vocabulary of %" PRIu32 "; this model has %" PRIu32,
		            path, found->logits, want->logits);
	if (found->position > MOST_POSITION)
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: the position is %" PRIu64 ", at most 2^63 is possible", path,
		            found->position);
	return RWKVK_OK;
}

static rwkvk_status check_length(const char *path, uint64_t count, const struct state_header *found)
{
	uint64_t header = header_bytes(found->format), rest = rest_bytes(found), payload = count - header;
	const char *wrong = NULL;
	if (payload < rest || (payload - rest) / 4 < found->floats)
		wrong = "truncated";
	else if (payload - rest != 4 * found->floats)
		wrong = "too long";
	if (!wrong)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE,
	            "%s: is %s: %" PRIu64 " floats, %" PRIu32 " counts and %" PRIu32 " logits need %" PRIu64
	            " bytes, the file has %" PRIu64,
	            path, wrong, found->floats, found->counts, found->logits, header + 4 * found->floats + rest, count);
}

static rwkvk_status check_checksum(const char *path, const uint8_t *bytes, uint64_t count)
{
	uint64_t found = checksum(bytes, count), said = get64(bytes + AT_CHECKSUM);
	if (found != said)
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: its checksum is %016" PRIx64 ", the header says %016" PRIx64, path,
		            found, said);
	return RWKVK_OK;
}

/* `vocab`: 0 when it is not known. */
static rwkvk_status check_numbers(const char *path, const struct saved_state *saved, uint32_t vocab)
{
	const struct state_header *h = &saved->header;
	for (uint64_t i = 0; i < h->floats; i++)
		if (!isfinite(saved->state[i]))
			return fail(RWKVK_ERROR_FILE, "%s: number %" PRIu64 " of the state is %g; a state holds finite numbers", path, i,
			            (double)saved->state[i]);
	for (uint32_t i = 0; i < h->counts; i++) {
		if (vocab && saved->ids[i] >= vocab)
			return fail(RWKVK_ERROR_FILE,
			            "%s: holds the state of another model: a count of token %" PRIu32 "; this model has %" PRIu32, path,
			            saved->ids[i], vocab);
		if (i > 0 && saved->ids[i] <= saved->ids[i - 1])
			return fail(RWKVK_ERROR_FILE,
			            "%s: a count of token %" PRIu32 " follows that of %" PRIu32 "; expected ascending ids", path,
			            saved->ids[i], saved->ids[i - 1]);
		if (!is_count(saved->counts[i]))
			return fail(RWKVK_ERROR_FILE, "%s: the count of token %" PRIu32 " is %g; expected a finite number from 0 on", path,
			            saved->ids[i], (double)saved->counts[i]);
	}
	for (uint32_t i = 0; i < h->logits; i++)
		if (!is_logit(saved->logits[i]))
			return fail(RWKVK_ERROR_FILE, "%s: the logit of token %" PRIu32 " is %g; expected a number", path, i,
			            (double)saved->logits[i]);
	return RWKVK_OK;
}

/* L C (2 + N) floats, and for RWKV-4 L C 5, in H heads of N. */
static bool consistent(const struct state_header *h)
{
	static const uint32_t versions[] = { 40, 50, 51, 52, 60, 70 };
	bool known = false;
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
		known = known || h->model_version == versions[i];
	uint64_t channel = 2 + (h->model_version == 40 ? 3 : (uint64_t)h->head_size), most = UINT64_MAX / 4;
	if (!known || h->layers == 0 || h->width == 0 || (uint64_t)h->heads * h->head_size != h->width)
		return false;
	return h->layers <= most / h->width / channel && h->floats == h->layers * channel * h->width;
}

rwkvk_status state_file_header(const char *path, const uint8_t *bytes, uint64_t count, struct state_header *out, bool *damaged)
{
	TRY(read_header(path, bytes, count, out));
	if (!consistent(out)) {
		char text[160];
		describe(out, text);
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: no model has this state: %s", path, text);
	}
	TRY(check_length(path, count, out));
	*damaged = checksum(bytes, count) != get64(bytes + AT_CHECKSUM);
	return RWKVK_OK;
}

static void get_floats(const uint8_t *at, float *values, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		values[i] = float_of_bits(get32(at + 4 * i));
}

rwkvk_status state_file_numbers(const char *path, const uint8_t *bytes, const struct state_header *header,
                                struct saved_state *out)
{
	TRY(saved_state_make(path, header, out));
	const uint8_t *at = bytes + header_bytes(header->format);
	get_floats(at, out->state, header->floats);
	at += 4 * header->floats;
	for (uint32_t i = 0; i < header->counts; i++, at += 8) {
		out->ids[i] = get32(at);
		get_floats(at + 4, &out->counts[i], 1);
	}
	get_floats(at, out->logits, header->logits);
	return RWKVK_OK;
}

rwkvk_status state_file_parse(const char *path, const uint8_t *bytes, uint64_t count, const struct state_header *want,
                              struct saved_state *out)
{
	struct state_header found = { 0 };
	*out = (struct saved_state){ 0 };
	TRY(read_header(path, bytes, count, &found));
	TRY(check_header(path, &found, want));
	TRY(check_length(path, count, &found));
	TRY(check_checksum(path, bytes, count));
	TRY(state_file_numbers(path, bytes, &found, out));
	rwkvk_status status = check_numbers(path, out, want->logits);
	if (status != RWKVK_OK)
		saved_state_free(out);
	return status;
}

rwkvk_status state_file_read(const char *path, const struct state_header *want, struct saved_state *out)
{
	struct mapping file;
	TRY(file_map(path, &file));
	rwkvk_status status = state_file_parse(path, file.data, file.bytes, want, out);
	file_unmap(&file);
	return status;
}
