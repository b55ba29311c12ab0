/* Where the cache keeps states of texts: main memory (store_memory.c) or a folder (store_folder.c).  All functions may be
 * called by several threads at once, and none fails: a store that cannot do something skips it. */
#ifndef RWKVK_SESSION_STORE_H
#define RWKVK_SESSION_STORE_H

#include "network/text_state.h"

struct store {
	/* The state of this text, with logits if they are wanted, for text_state_release(); NULL: there is none. */
	struct text_state *(*lookup)(struct store *store, const struct state_key *key, const void *text, size_t bytes, bool logits);
	/* Keeps the state, unless the store has a better one of the same text.  The caller keeps its reference. */
	void (*put)(struct store *store, struct text_state *state);
	/* Adds its numbers to the counters. */
	void (*count)(struct store *store, rwkvk_cache_stats *stats);
	void (*destroy)(struct store *store);
};

/* In main memory, at most so many bytes: evicts the least recently used states, but none in use. */
rwkvk_status store_memory_create(uint64_t limit, struct store **out);

/* In the folder "states" of `dir`, created if missing; at most so many bytes, including other processes' files.  A thread
 * writes the states.  Only a few wait for it; further ones are dropped.  want: the states of the model, as for
 * state_file_parse(). */
rwkvk_status store_folder_create(const char *dir, uint64_t limit, const struct state_header *want, struct store **out);

#endif
