/* A state that stands for a text, as the cache keeps it, in memory and as bytes (docs/formats.md, States of texts). */
#ifndef RWKVK_NETWORK_TEXT_STATE_H
#define RWKVK_NETWORK_TEXT_STATE_H

#include <stdatomic.h>

#include "base/hash.h"
#include "network/state_file.h"

/* Identifies the state.  Different texts may have the same key, so texts are compared. */
struct state_key {
	struct hash128 model; /* its fingerprint */
	uint64_t start;       /* the hash of the state that the text starts from; 0: the empty one */
	uint64_t prefix;      /* of the text, as struct prefix has it */
};

bool state_keys_equal(const struct state_key *a, const struct state_key *b);

/* The key as the name of a file or of a value: hexadecimal digits and dashes. */
#define STATE_KEY_ROOM (4 * 16 + 2 + 1)
void state_key_name(const struct state_key *key, char out[STATE_KEY_ROOM]);

/* Immutable, shared, reference-counted. */
struct text_state {
	atomic_uint users;
	struct state_key key;
	char *text;
	size_t bytes;
	struct saved_state saved; /* without counts; its position is the number of tokens read */
};

/* Makes a state with one reference.  Copies the text; takes ownership of the content of *saved, and frees it on failure. */
rwkvk_status text_state_make(const struct state_key *key, const void *text, size_t bytes, struct saved_state *saved,
                             struct text_state **out);
struct text_state *text_state_take(struct text_state *state); /* adds a reference */
void text_state_release(struct text_state *state);            /* drops one; NULL is allowed */

/* Whether it stands for this text.  logits: they are required, too. */
bool text_state_is(const struct text_state *state, const struct state_key *key, const void *text, size_t bytes, bool logits);
/* Its memory in bytes. */
uint64_t text_state_memory(const struct text_state *state);

/* Serialises all of it.  Fails only if the state has numbers that are not finite. */
uint64_t text_state_bytes(const struct text_state *state);
uint64_t text_state_bytes_with(const struct state_header *header, size_t text); /* of a text of so many bytes */
rwkvk_status text_state_build(const struct text_state *state, uint8_t *bytes);
/* The reverse; `name` is for messages.  RWKVK_ERROR_FILE: damaged, or for another key or model (want: as for
 * state_file_parse()). */
rwkvk_status text_state_parse(const char *name, const uint8_t *bytes, uint64_t count, const struct state_key *key,
                              const struct state_header *want, struct text_state **out);

#endif
