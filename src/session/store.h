/* Where the cache keeps states of texts.  What lies behind it is a store's own business: main memory (store_memory.c), a folder
 * (store_folder.c).  All functions may be called by several threads at once.  A store that cannot do something does without:
 * none of them fails. */
#ifndef RWKVK_SESSION_STORE_H
#define RWKVK_SESSION_STORE_H

#include "network/text_state.h"

struct store {
	/* The state of this text, with logits if they are wanted, for text_state_release(); NULL: there is none. */
	struct text_state *(*lookup)(struct store *store, const struct state_key *key, const void *text, size_t bytes, bool logits);
	/* Keeps it, unless it has a better one of the same text.  The caller remains a user of it. */
	void (*put)(struct store *store, struct text_state *state);
	/* Adds what it knows to the numbers. */
	void (*count)(struct store *store, rwkvk_cache_stats *stats);
	void (*destroy)(struct store *store);
};

/* In main memory, so many bytes at most: the least recently used go first, but none that is in use. */
rwkvk_status store_memory_create(uint64_t limit, struct store **out);

/* In the folder "states" of `dir`, which is made if it is missing, so many bytes at most, whoever has written them.  A thread
 * writes what is put, and no more than a few states wait for it; what comes meanwhile is not written.  want: the states of the
 * model, as for state_file_parse(). */
rwkvk_status store_folder_create(const char *dir, uint64_t limit, const struct state_header *want, struct store **out);

#endif
