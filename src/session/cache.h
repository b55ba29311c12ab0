/* The state cache, as prompts see it. */
#ifndef RWKVK_SESSION_CACHE_H
#define RWKVK_SESSION_CACHE_H

#include "base/thread.h"
#include "session/session.h"
#include "session/store.h"

/* A start state for texts, in place of the empty one. */
struct start {
	uint64_t hash; /* not 0 */
	struct saved_state saved;
};

/* Where states are, the nearer places first. */
enum place { IN_MEMORY, IN_FOLDER, IN_STORE, PLACES };

struct rwkvk_cache {
	rwkvk_model *model;
	struct hash128 model_hash;
	char fingerprint[33];
	bool read_states_only;
	uint32_t begin;               /* the token that texts begin with; RWKVK_NO_TOKEN: none */
	struct store *stores[PLACES]; /* NULL: none */
	size_t store_tokens;          /* rwkvk_cache_options.store_tokens */
	struct mutex lock;            /* guards the members below */
	struct start **starts;
	size_t start_count;
	rwkvk_cache_stats stats; /* of prompts */
};

/* The state of rwkvk_prompt_options.start, owned by the cache; NULL for 0. */
rwkvk_status cache_start(rwkvk_cache *cache, uint32_t number, const struct start **out);

/* The state of the longest of these beginnings of `text` that is known, from the nearest place that has it; nearer ones then
 * get it, too.  The longest comes first.  For text_state_release(); NULL: none is known.  *which, *place: whose state, and from
 * where. A remote store is asked only for what is store_tokens longer than what is known here. */
struct text_state *cache_find(rwkvk_cache *cache, const void *text, const struct wanted *wanted, size_t count, size_t *which,
                              enum place *place);
/* Gives it to all stores. */
void cache_keep(rwkvk_cache *cache, struct text_state *state);
/* Counts a prompt of so many tokens that began with a state from there for its first `cached` tokens; 0: at its start. */
void cache_count(rwkvk_cache *cache, uint64_t tokens, uint64_t cached, enum place place);

#endif
