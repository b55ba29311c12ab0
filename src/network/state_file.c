/* Writing and reading state files.  All numbers are little-endian on disk and put together byte by byte, so nothing
 * depends on the machine's own order or alignment. */
#include "network/state_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/half.h"

#define FORMAT_VERSION 1

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
	   HEADER_BYTES = 56,
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

static uint64_t checksum(const uint8_t *header, const uint8_t *payload, size_t payload_bytes)
{
	return fnv1a(fnv1a(FNV1A_START, header, AT_CHECKSUM), payload, payload_bytes);
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
}

uint64_t state_file_bytes(const struct state_header *header)
{
	return HEADER_BYTES + 4 * header->floats;
}

rwkvk_status state_file_build(const char *name, const struct state_header *header, const float *state, uint8_t *bytes)
{
	uint8_t *payload = bytes + HEADER_BYTES;
	for (uint64_t i = 0; i < header->floats; i++) {
		if (!isfinite(state[i]))
			return fail(RWKVK_ERROR_DRIVER,
			            "%s: not written: number %" PRIu64 " of the state is %g: the device has computed nonsense", name, i,
			            (double)state[i]);
		put32(payload + 4 * i, bits_of_float(state[i]));
	}
	put_header(bytes, header);
	put64(bytes + AT_CHECKSUM, checksum(bytes, payload, (size_t)header->floats * 4));
	return RWKVK_OK;
}

rwkvk_status state_file_write(const char *path, const struct state_header *header, const float *state)
{
	if (header->floats > (SIZE_MAX - HEADER_BYTES) / 4)
		return fail(RWKVK_ERROR_MEMORY, "%s: a state of %" PRIu64 " floats cannot be addressed", path, header->floats);
	size_t bytes = (size_t)state_file_bytes(header);
	uint8_t *file = malloc(bytes);
	if (!file)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a state of %" PRIu64 " floats", path, header->floats);
	rwkvk_status status = state_file_build(path, header, state, file);
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

/* The numbers of the header, whatever they are. */
static rwkvk_status read_header(const char *path, const uint8_t *bytes, uint64_t count, struct state_header *out)
{
	if (!state_file_is(bytes, count))
		return fail(RWKVK_ERROR_FILE,
		            "%s: is not a state file: it does not begin with %.8s, and it is no safetensors or .pth file either", path,
		            (const char *)magic);
	if (count < HEADER_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: is truncated: the header has %d bytes, the file %" PRIu64, path, HEADER_BYTES,
		            count);
	if (get32(bytes + AT_FORMAT) != FORMAT_VERSION)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: is a state file of format version %" PRIu32 "; this program reads version %d",
		            path, get32(bytes + AT_FORMAT), FORMAT_VERSION);
	*out = (struct state_header){
		.model_version = get32(bytes + AT_MODEL),
		.layers = get32(bytes + AT_LAYERS),
		.width = get32(bytes + AT_WIDTH),
		.heads = get32(bytes + AT_HEADS),
		.head_size = get32(bytes + AT_HEAD_SIZE),
		.position = get64(bytes + AT_POSITION),
		.floats = get64(bytes + AT_FLOATS),
	};
	return RWKVK_OK;
}

static rwkvk_status check_header(const char *path, const uint8_t *bytes, uint64_t count, const struct state_header *want)
{
	struct state_header found = { 0 };
	TRY(read_header(path, bytes, count, &found));
	if (found.model_version != want->model_version || found.layers != want->layers || found.width != want->width ||
	    found.heads != want->heads || found.head_size != want->head_size || found.floats != want->floats) {
		char theirs[160], ours[160];
		describe(&found, theirs);
		describe(want, ours);
		return fail(RWKVK_ERROR_FILE, "%s: holds the state of another model: %s; this model needs %s", path, theirs, ours);
	}
	if (found.position > MOST_POSITION)
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: the position is %" PRIu64 ", at most 2^63 is possible", path,
		            found.position);
	return RWKVK_OK;
}

static rwkvk_status check_length(const char *path, uint64_t count, uint64_t floats)
{
	uint64_t payload = count - HEADER_BYTES;
	if (payload / 4 < floats)
		return fail(RWKVK_ERROR_FILE, "%s: is truncated: %" PRIu64 " floats need %" PRIu64 " bytes, the file has %" PRIu64,
		            path, floats, HEADER_BYTES + 4 * floats, count);
	if (payload != 4 * floats)
		return fail(RWKVK_ERROR_FILE, "%s: is too long: %" PRIu64 " floats need %" PRIu64 " bytes, the file has %" PRIu64, path,
		            floats, HEADER_BYTES + 4 * floats, count);
	return RWKVK_OK;
}

static rwkvk_status check_payload(const char *path, const uint8_t *bytes, uint64_t count, uint64_t floats)
{
	uint64_t payload = count - HEADER_BYTES;
	uint64_t found = checksum(bytes, bytes + HEADER_BYTES, (size_t)payload), said = get64(bytes + AT_CHECKSUM);
	if (found != said)
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: its checksum is %016" PRIx64 ", the header says %016" PRIx64, path,
		            found, said);
	for (uint64_t i = 0; i < floats; i++) {
		float value = float_of_bits(get32(bytes + HEADER_BYTES + 4 * i));
		if (!isfinite(value))
			return fail(RWKVK_ERROR_FILE, "%s: number %" PRIu64 " of the state is %g; a state holds finite numbers", path, i,
			            (double)value);
	}
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
	TRY(check_length(path, count, out->floats));
	*damaged = checksum(bytes, bytes + HEADER_BYTES, (size_t)(count - HEADER_BYTES)) != get64(bytes + AT_CHECKSUM);
	return RWKVK_OK;
}

void state_file_floats(const uint8_t *bytes, const struct state_header *header, float *state)
{
	for (uint64_t i = 0; i < header->floats; i++)
		state[i] = float_of_bits(get32(bytes + HEADER_BYTES + 4 * i));
}

rwkvk_status state_file_parse(const char *path, const uint8_t *bytes, uint64_t count, const struct state_header *want,
                              float *state, uint64_t *position)
{
	TRY(check_header(path, bytes, count, want));
	TRY(check_length(path, count, want->floats));
	TRY(check_payload(path, bytes, count, want->floats));
	if (get64(bytes + AT_POSITION) > UINT64_C(1) << 63)
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: its position is %" PRIu64 ", expected at most 2^63", path,
		            get64(bytes + AT_POSITION));
	state_file_floats(bytes, want, state);
	*position = get64(bytes + AT_POSITION);
	return RWKVK_OK;
}

rwkvk_status state_file_read(const char *path, const struct state_header *want, float *state, uint64_t *position)
{
	struct mapping file;
	TRY(file_map(path, &file));
	rwkvk_status status = state_file_parse(path, file.data, file.bytes, want, state, position);
	file_unmap(&file);
	return status;
}
