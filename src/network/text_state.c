#include "network/text_state.h"

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

static bool same_key(const struct state_key *a, const struct state_key *b)
{
	return a->model.high == b->model.high && a->model.low == b->model.low && a->start == b->start && a->prefix == b->prefix;
}

bool text_state_is(const struct text_state *state, const struct state_key *key, const void *text, size_t bytes, bool logits)
{
	return same_key(&state->key, key) && state->bytes == bytes && memcmp(state->text, text, bytes) == 0 &&
	       (!logits || state->saved.header.logits > 0);
}

uint64_t text_state_memory(const struct text_state *state)
{
	return sizeof *state + state->bytes + 1 + state_file_bytes(&state->saved.header);
}
