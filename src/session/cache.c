/* The state cache: its stores, which states fit, and the states that texts start from.  prompt.c uses it. */
#include "session/cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/numbers.h"
#include "base/structs.h"
#include "base/system.h"
#include "network/states.h"
#include "session/fingerprint.h"

#define MOST_MEMORY ((uint64_t)4 << 30) /* unless the caller sets more */

/* rwkvk_cache_options.store_tokens and store_wait. */
enum { USUAL_STORE_TOKENS = 128, USUAL_STORE_WAIT = 500 };

/* ------------------------------------------------------------------------------------------------------ life */

static rwkvk_status choose_begin(const struct rwkvk_file *file, rwkvk_begin begin, uint32_t *out)
{
	if ((unsigned)begin > RWKVK_BEGIN_NOTHING)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_cache_options.begin is %d: expected a rwkvk_begin", (int)begin);
	bool wanted = begin == RWKVK_BEGIN_TOKEN || (begin == RWKVK_BEGIN_FILE && file->add_bos);
	*out = wanted ? file->begin_token : RWKVK_NO_TOKEN;
	if (wanted && *out == RWKVK_NO_TOKEN)
		return fail(RWKVK_ERROR_ARGUMENT, "%s: has no token that texts can begin with (rwkvk_cache_options.begin)",
		            file->weights.path);
	return RWKVK_OK;
}

static uint64_t usual_memory(void)
{
	return smaller(system_memory_free() / 4, MOST_MEMORY);
}

static rwkvk_status open_folder(const rwkvk_cache_options *options, const struct state_header *want, rwkvk_cache *cache)
{
	const char *dir = options->dir ? options->dir : model_cache_folder(cache->model);
	if (!dir || !*dir)
		return fail(RWKVK_ERROR_ARGUMENT, "states are to be kept on disk, but there is no folder for them: name one in "
		                                  "rwkvk_cache_options.dir or rwkvk_model_options.cache_dir");
	return store_folder_create(dir, options->disk, want, &cache->stores[IN_FOLDER]);
}

static rwkvk_status open_store(const rwkvk_cache_options *options, const struct state_header *want, rwkvk_cache *cache)
{
	const uint32_t tokens = options->store_tokens ? options->store_tokens : USUAL_STORE_TOKENS;
	const struct store_redis_options redis = { .url = options->store,
		                                       .ttl = options->store_ttl,
		                                       .tokens = tokens,
		                                       .wait = options->store_wait ? options->store_wait : USUAL_STORE_WAIT };
	cache->store_tokens = tokens;
	return store_redis_create(&redis, want, model_listener(cache->model), &cache->stores[IN_STORE]);
}

static rwkvk_status open_stores(const rwkvk_cache_options *options, rwkvk_cache *cache)
{
	const struct state_header want = state_header_of(model_config(cache->model));
	TRY(store_memory_create(options->memory ? options->memory : usual_memory(), &cache->stores[IN_MEMORY]));
	if (options->disk > 0)
		TRY(open_folder(options, &want, cache));
	return options->store ? open_store(options, &want, cache) : RWKVK_OK;
}

static rwkvk_status open_cache(rwkvk_model *model, const rwkvk_cache_options *options, rwkvk_cache *cache)
{
	const struct rwkvk_file *file = model_file(model);
	if (!file->tokenizer)
		return fail(RWKVK_ERROR_ARGUMENT,
		            "%s: has no tokenizer, so there are no texts to keep states of; name a vocabulary "
		            "in rwkvk_model_options.vocab",
		            file->weights.path);
	cache->model = model;
	cache->read_states_only = options->read_states_only;
	TRY(choose_begin(file, options->begin, &cache->begin));
	cache->model_hash = fingerprint(model, cache->begin, KEPT_FORMAT);
	snprintf(cache->fingerprint, sizeof cache->fingerprint, "%016" PRIx64 "%016" PRIx64, cache->model_hash.high,
	         cache->model_hash.low);
	return open_stores(options, cache);
}

rwkvk_status rwkvk_cache_create(rwkvk_model *model, const rwkvk_cache_options *given, rwkvk_cache **out)
{
	rwkvk_cache_options options;
	REQUIRE(model && out);
	*out = NULL;
	TRY(READ_OPTIONS(rwkvk_cache_options, store_wait, given, &options));
	rwkvk_cache *cache = calloc(1, sizeof *cache);
	if (!cache || !mutex_init(&cache->lock)) {
		free(cache);
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	}
	rwkvk_status status = open_cache(model, &options, cache);
	if (status == RWKVK_OK)
		*out = cache;
	else
		rwkvk_cache_destroy(cache);
	return status;
}

void rwkvk_cache_destroy(rwkvk_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < PLACES; i++)
		if (cache->stores[i])
			cache->stores[i]->destroy(cache->stores[i]);
	for (size_t i = 0; i < cache->start_count; i++) {
		saved_state_free(&cache->starts[i]->saved);
		free(cache->starts[i]);
	}
	free(cache->starts);
	mutex_destroy(&cache->lock);
	free(cache);
}

const char *rwkvk_cache_fingerprint(const rwkvk_cache *cache)
{
	EXPECT(cache, NULL);
	return cache->fingerprint;
}

/* ------------------------------------------------------------------------------------------------------ start states */

/* Its counts belong to another text. */
static uint64_t hash_start(const struct saved_state *saved)
{
	uint64_t hash = fnv1a(FNV1A_START, &saved->header.position, sizeof saved->header.position);
	hash = fnv1a(hash, saved->state, saved->header.floats * sizeof *saved->state);
	return hash ? hash : 1;
}

/* With the lock held. */
static rwkvk_status add_start(rwkvk_cache *cache, struct start *start, uint32_t *number)
{
	for (size_t i = 0; i < cache->start_count; i++)
		if (cache->starts[i]->hash == start->hash) {
			saved_state_free(&start->saved);
			free(start);
			*number = (uint32_t)i + 1;
			return RWKVK_OK;
		}
	struct start **more = realloc(cache->starts, (cache->start_count + 1) * sizeof *more);
	if (!more) {
		saved_state_free(&start->saved);
		free(start);
		return fail(RWKVK_ERROR_MEMORY, "no memory for another start state");
	}
	more[cache->start_count++] = start;
	cache->starts = more;
	*number = (uint32_t)cache->start_count;
	return RWKVK_OK;
}

rwkvk_status rwkvk_cache_add_start(rwkvk_cache *cache, const char *path, uint32_t *number)
{
	REQUIRE(cache && path && number);
	struct start *start = malloc(sizeof *start);
	if (!start)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = state_read(path, model_config(cache->model), &start->saved);
	if (status != RWKVK_OK) {
		free(start);
		return status;
	}
	start->saved.header.counts = 0;
	start->hash = hash_start(&start->saved);
	mutex_lock(&cache->lock);
	status = add_start(cache, start, number);
	mutex_unlock(&cache->lock);
	return status;
}

rwkvk_status cache_start(rwkvk_cache *cache, uint32_t number, const struct start **out)
{
	*out = NULL;
	if (number == 0)
		return RWKVK_OK;
	mutex_lock(&cache->lock);
	const size_t known = cache->start_count;
	if (number <= known)
		*out = cache->starts[number - 1];
	mutex_unlock(&cache->lock);
	if (*out)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_prompt_options.start is %u: rwkvk_cache_add_start() has given %zu numbers", number,
	            known);
}

/* ------------------------------------------------------------------------------------------------------ states */

/* How many of the beginnings, of which the first `count` are longer than what is known, are worth looking for. */
static size_t worth(const rwkvk_cache *cache, enum place place, const struct wanted *wanted, size_t count, size_t known)
{
	size_t some = 0;
	if (!cache->stores[place])
		return 0;
	if (place != IN_STORE)
		return count;
	while (some < count && wanted[some].tokens >= known + cache->store_tokens)
		some++;
	return some;
}

static void put_nearer(rwkvk_cache *cache, struct text_state *state, enum place place)
{
	for (size_t i = 0; i < (size_t)place; i++)
		if (cache->stores[i])
			cache->stores[i]->put(cache->stores[i], state);
}

struct text_state *cache_find(rwkvk_cache *cache, const void *text, const struct wanted *wanted, size_t count, size_t *which,
                              enum place *place)
{
	struct text_state *best = NULL;
	size_t at;
	error_hold();
	for (size_t i = 0; i < PLACES; i++) {
		const size_t some = worth(cache, (enum place)i, wanted, best ? *which : count, best ? wanted[*which].tokens : 0);
		struct text_state *found = some > 0 ? cache->stores[i]->lookup(cache->stores[i], text, wanted, some, &at) : NULL;
		if (!found)
			continue;
		text_state_release(best);
		best = found;
		*which = at;
		*place = (enum place)i;
	}
	if (best)
		put_nearer(cache, best, *place);
	error_release();
	return best;
}

void cache_keep(rwkvk_cache *cache, struct text_state *state)
{
	error_hold();
	put_nearer(cache, state, PLACES);
	error_release();
}

void cache_count(rwkvk_cache *cache, uint64_t tokens, uint64_t cached, enum place place)
{
	mutex_lock(&cache->lock);
	cache->stats.prompts++;
	cache->stats.tokens += tokens;
	cache->stats.cached_tokens += cached;
	cache->stats.hits += cached > 0;
	cache->stats.disk_hits += cached > 0 && place == IN_FOLDER;
	cache->stats.store_hits += cached > 0 && place == IN_STORE;
	mutex_unlock(&cache->lock);
}

rwkvk_status rwkvk_cache_get_stats(rwkvk_cache *cache, rwkvk_cache_stats *out)
{
	REQUIRE(cache && out);
	mutex_lock(&cache->lock);
	rwkvk_cache_stats own = cache->stats;
	mutex_unlock(&cache->lock);
	for (size_t i = 0; i < PLACES; i++)
		if (cache->stores[i])
			cache->stores[i]->count(cache->stores[i], &own);
	return WRITE_RESULT(rwkvk_cache_stats, store_damaged, &own, out);
}
