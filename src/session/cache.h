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

struct rwkvk_cache {
	rwkvk_model *model;
	struct hash128 model_hash;
	char fingerprint[33];
	bool read_states_only;
	uint32_t begin;          /* the token that texts begin with; RWKVK_NO_TOKEN: none */
	struct store *stores[2]; /* the nearer ones first */
	size_t store_count;
	struct mutex lock; /* guards the members below */
	struct start **starts;
	size_t start_count;
	rwkvk_cache_stats stats; /* of prompts */
};

/* The state of rwkvk_prompt_options.start, owned by the cache; NULL for 0. */
rwkvk_status cache_start(rwkvk_cache *cache, uint32_t number, const struct start **out);

/* The state of this text from the nearest store that has it, with logits if they are wanted; nearer stores then get it, too.
 * For text_state_release(); NULL: no store has it.  *store: which one did. */
struct text_state *cache_find(rwkvk_cache *cache, const struct state_key *key, const void *text, size_t bytes, bool logits,
                              size_t *store);
/* Gives it to all stores. */
void cache_keep(rwkvk_cache *cache, struct text_state *state);
/* Counts a prompt of so many tokens that began with a state of `store` for its first `cached` tokens; 0: at its start. */
void cache_count(rwkvk_cache *cache, uint64_t tokens, uint64_t cached, size_t store);

#endif
