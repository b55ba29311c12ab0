/* Where the cache keeps states of texts: main memory (store_memory.c), a folder (store_folder.c), or a server that other
 * machines use, too (store_redis.c).  All functions may be called by several threads at once, and none fails: a store that
 * cannot do something skips it. */
#ifndef RWKVK_SESSION_STORE_H
#define RWKVK_SESSION_STORE_H

#include "base/report.h"
#include "network/text_state.h"

/* The beginning of a text of which a state is wanted. */
struct wanted {
	struct state_key key;
	size_t bytes, tokens;
	bool logits; /* they are wanted, too */
};

struct store {
	/* The state of the first of these beginnings of `text` that the store has, for text_state_release(), and *which it is.
	 * NULL: it has none.  count: at least 1. */
	struct text_state *(*lookup)(struct store *store, const void *text, const struct wanted *wanted, size_t count,
	                             size_t *which);
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

/* rwkvk_cache_options.store and those that belong to it, none of them a default. */
struct store_redis_options {
	const char *url; /* redis_address_parse() */
	uint64_t ttl;    /* seconds; 0: no end */
	uint32_t tokens; /* of a text that is worth writing */
	uint32_t wait;   /* milliseconds of a look-up */
};

/* In a Redis or Valkey server.  A store that cannot be reached is no failure.  *listener is told once when the store fails, and
 * when it works again.  RWKVK_ERROR_ARGUMENT: of the URL; RWKVK_ERROR_UNSUPPORTED: this build has no such store. */
rwkvk_status store_redis_create(const struct store_redis_options *options, const struct state_header *want,
                                const struct listener *listener, struct store **out);

#endif
