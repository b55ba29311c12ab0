#include "network/text_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- in memory */

rwkvk_status text_state_make(const struct state_key *key, const void *text, size_t bytes, struct saved_state *saved,
                             struct text_state **out)
{
	struct text_state *state = malloc(sizeof *state);
	char *copy = malloc(bytes + 1);
	*out = NULL;
	if (!state || !copy) {
		free(state);
		free(copy);
		saved_state_free(saved);
		return fail(RWKVK_ERROR_MEMORY, "no memory for a state of a text of %zu bytes", bytes);
	}
	memcpy(copy, text, bytes);
	*state = (struct text_state){ .key = *key, .text = copy, .bytes = bytes, .saved = *saved };
	atomic_init(&state->users, 1);
	*out = state;
	return RWKVK_OK;
}

struct text_state *text_state_take(struct text_state *state)
{
	atomic_fetch_add(&state->users, 1);
	return state;
}

void text_state_release(struct text_state *state)
{
	if (!state || atomic_fetch_sub(&state->users, 1) > 1)
		return;
	saved_state_free(&state->saved);
	free(state->text);
	free(state);
}

bool state_keys_equal(const struct state_key *a, const struct state_key *b)
{
	return a->model.high == b->model.high && a->model.low == b->model.low && a->start == b->start && a->prefix == b->prefix;
}

void state_key_name(const struct state_key *key, char out[STATE_KEY_ROOM])
{
	snprintf(out, STATE_KEY_ROOM, "%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64, key->model.high, key->model.low,
	         key->start, key->prefix);
}

bool text_state_is(const struct text_state *state, const struct state_key *key, const void *text, size_t bytes, bool logits)
{
	return state_keys_equal(&state->key, key) && state->bytes == bytes && memcmp(state->text, text, bytes) == 0 &&
	       (!logits || state->saved.header.logits > 0);
}

uint64_t text_state_memory(const struct text_state *state)
{
	return sizeof *state + state->bytes + 1 + state_file_bytes(&state->saved.header);
}

/* ---------------------------------------------------------------------------------------------------- as bytes */

static const uint8_t magic[8] = { 'R', 'W', 'K', 'V', 'K', 'T', 'X', 'T' };

/* The version of the format below; state files have their own. */
enum { FORMAT = 1 };

/* Numbers after the magic, little-endian.  The checksum covers everything before it and the text. */
enum { AT_FORMAT, AT_MODEL_HIGH, AT_MODEL_LOW, AT_START, AT_PREFIX, AT_TEXT, AT_STATE, AT_CHECKSUM, NUMBERS };
enum { HEADER = sizeof magic + 8 * NUMBERS };

static void put_number(uint8_t *bytes, int which, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		bytes[sizeof magic + 8 * which + i] = (uint8_t)(number >> 8 * i);
}

static uint64_t get_number(const uint8_t *bytes, int which)
{
	uint64_t number = 0;
	for (int i = 0; i < 8; i++)
		number |= (uint64_t)bytes[sizeof magic + 8 * which + i] << 8 * i;
	return number;
}

static uint64_t checksum(const uint8_t *bytes, uint64_t text)
{
	return fnv1a(fnv1a(FNV1A_START, bytes, HEADER - 8), bytes + HEADER, (size_t)text);
}

uint64_t text_state_bytes_with(const struct state_header *header, size_t text)
{
	return HEADER + text + state_file_bytes(header);
}

uint64_t text_state_bytes(const struct text_state *state)
{
	return text_state_bytes_with(&state->saved.header, state->bytes);
}

rwkvk_status text_state_build(const struct text_state *state, uint8_t *bytes)
{
	memcpy(bytes, magic, sizeof magic);
	put_number(bytes, AT_FORMAT, FORMAT);
	put_number(bytes, AT_MODEL_HIGH, state->key.model.high);
	put_number(bytes, AT_MODEL_LOW, state->key.model.low);
	put_number(bytes, AT_START, state->key.start);
	put_number(bytes, AT_PREFIX, state->key.prefix);
	put_number(bytes, AT_TEXT, state->bytes);
	put_number(bytes, AT_STATE, state_file_bytes(&state->saved.header));
	memcpy(bytes + HEADER, state->text, state->bytes);
	put_number(bytes, AT_CHECKSUM, checksum(bytes, state->bytes));
	return state_file_build("the state of a text", &state->saved, bytes + HEADER + state->bytes);
}

static rwkvk_status check_header(const char *name, const uint8_t *bytes, uint64_t count, const struct state_key *key)
{
	if (count < HEADER || memcmp(bytes, magic, sizeof magic) != 0)
		return fail(RWKVK_ERROR_FILE, "%s: is not the state of a text: expected it to begin with %.8s and %d bytes of numbers",
		            name, (const char *)magic, HEADER - 8);
	const uint64_t format = get_number(bytes, AT_FORMAT), text = get_number(bytes, AT_TEXT), rest = count - HEADER;
	if (format != FORMAT)
		return fail(RWKVK_ERROR_FILE, "%s: has format %" PRIu64 ": expected %d", name, format, FORMAT);
	if (text > rest || get_number(bytes, AT_STATE) != rest - text)
		return fail(RWKVK_ERROR_FILE, "%s: has %" PRIu64 " bytes: expected a text of %" PRIu64 " and a state of %" PRIu64, name,
		            count, text, get_number(bytes, AT_STATE));
	if (get_number(bytes, AT_CHECKSUM) != checksum(bytes, text))
		return fail(RWKVK_ERROR_FILE, "%s: is damaged: the checksum of its text differs", name);
	const struct state_key found = { { get_number(bytes, AT_MODEL_HIGH), get_number(bytes, AT_MODEL_LOW) },
		                             get_number(bytes, AT_START),
		                             get_number(bytes, AT_PREFIX) };
	if (!state_keys_equal(&found, key))
		return fail(RWKVK_ERROR_FILE, "%s: is the state of another text, or of another model", name);
	return RWKVK_OK;
}

rwkvk_status text_state_parse(const char *name, const uint8_t *bytes, uint64_t count, const struct state_key *key,
                              const struct state_header *want, struct text_state **out)
{
	struct saved_state saved;
	*out = NULL;
	TRY(check_header(name, bytes, count, key));
	const uint64_t text = get_number(bytes, AT_TEXT);
	TRY(state_file_parse(name, bytes + HEADER + text, count - HEADER - text, want, &saved));
	if (saved.header.counts > 0) {
		saved_state_free(&saved);
		return fail(RWKVK_ERROR_FILE, "%s: has counts of generated tokens, which no text has", name);
	}
	return text_state_make(key, bytes + HEADER, (size_t)text, &saved, out);
}
