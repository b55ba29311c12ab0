/* States of texts that no model has read. */
#ifndef RWKVK_TEST_MAKE_TEXT_STATE_H
#define RWKVK_TEST_MAKE_TEXT_STATE_H

#include "support.h"

#include "network/text_state.h"

/* Of two layers of width 4. */
static const struct state_header text_state_shape = {
	.model_version = 70, .layers = 2, .width = 4, .heads = 2, .head_size = 2, .floats = 32, .logits = 5
};

/* With numbers derived from the key. */
static inline struct text_state *make_text_state(const struct state_key *key, const char *text, bool logits)
{
	struct state_header header = text_state_shape;
	struct saved_state saved;
	struct text_state *state;
	uint64_t random = key->prefix;
	header.position = strlen(text);
	header.logits = logits ? header.logits : 0;
	assert_ok(saved_state_make("a", &header, &saved));
	for (uint64_t i = 0; i < header.floats + header.logits; i++)
		saved.state[i] = test_uniform(&random);
	assert_ok(text_state_make(key, text, strlen(text), &saved, &state));
	return state;
}

#endif
