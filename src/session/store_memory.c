/* States of texts in main memory: a table by key, and a list by last use. */
#include "session/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

enum { BUCKETS = 4096 };

struct entry {
	struct text_state *state;
	struct entry *next;          /* of the bucket */
	struct entry *newer, *older; /* by last use */
};

struct memory {
	struct store store;
	struct mutex lock;
	uint64_t limit, bytes, states, dropped;
	struct entry *newest, *oldest;
	struct entry *buckets[BUCKETS];
};

static struct entry **bucket_of(struct memory *m, const struct state_key *key)
{
	return &m->buckets[(key->prefix ^ key->start) % BUCKETS];
}

/* ------------------------------------------------------------------------------------------------------ the two lists */

static void unlink_use(struct memory *m, struct entry *e)
{
	*(e->newer ? &e->newer->older : &m->newest) = e->older;
	*(e->older ? &e->older->newer : &m->oldest) = e->newer;
}

static void link_newest(struct memory *m, struct entry *e)
{
	e->newer = NULL;
	e->older = m->newest;
	*(m->newest ? &m->newest->newer : &m->oldest) = e;
	m->newest = e;
}

static void use(struct memory *m, struct entry *e)
{
	unlink_use(m, e);
	link_newest(m, e);
}

static void add(struct memory *m, struct entry *e)
{
	struct entry **bucket = bucket_of(m, &e->state->key);
	e->next = *bucket;
	*bucket = e;
	link_newest(m, e);
	m->bytes += text_state_memory(e->state);
	m->states++;
}

static void drop(struct memory *m, struct entry *e)
{
	struct entry **at = bucket_of(m, &e->state->key);
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	unlink_use(m, e);
	m->bytes -= text_state_memory(e->state);
	m->states--;
	text_state_release(e->state);
	free(e);
}

static struct entry *find(struct memory *m, const struct state_key *key, const void *text, size_t bytes, bool logits)
{
	for (struct entry *e = *bucket_of(m, key); e; e = e->next)
		if (text_state_is(e->state, key, text, bytes, logits))
			return e;
	return NULL;
}

/* ------------------------------------------------------------------------------------------------------ the store */

static struct text_state *lookup(struct store *store, const void *text, const struct wanted *wanted, size_t count,
                                 size_t *which)
{
	struct memory *m = (struct memory *)store;
	struct entry *e = NULL;
	mutex_lock(&m->lock);
	for (size_t i = 0; i < count && !e; i++) {
		e = find(m, &wanted[i].key, text, wanted[i].bytes, wanted[i].logits);
		*which = i;
	}
	struct text_state *found = e ? text_state_take(e->state) : NULL;
	if (e)
		use(m, e);
	mutex_unlock(&m->lock);
	return found;
}

/* Skips states in use: dropping them would free nothing. */
static bool make_room(struct memory *m, uint64_t bytes)
{
	for (struct entry *e = m->oldest, *newer; e && m->bytes > m->limit - bytes; e = newer) {
		newer = e->newer;
		if (atomic_load(&e->state->users) > 1)
			continue;
		drop(m, e);
		m->dropped++;
	}
	return m->bytes <= m->limit - bytes;
}

/* A state without logits is replaced by one that has them. */
static bool replaces(struct memory *m, const struct text_state *state)
{
	const bool logits = state->saved.header.logits > 0;
	struct entry *same = find(m, &state->key, state->text, state->bytes, false);
	if (same && (!logits || same->state->saved.header.logits > 0)) {
		use(m, same);
		return false;
	}
	if (same)
		drop(m, same);
	return true;
}

static void put(struct store *store, struct text_state *state)
{
	struct memory *m = (struct memory *)store;
	const uint64_t bytes = text_state_memory(state);
	struct entry *e = bytes <= m->limit ? malloc(sizeof *e) : NULL;
	if (!e)
		return;
	mutex_lock(&m->lock);
	bool fits = replaces(m, state) && make_room(m, bytes);
	if (fits) {
		e->state = text_state_take(state);
		add(m, e);
	}
	mutex_unlock(&m->lock);
	if (!fits)
		free(e);
}

static void count(struct store *store, rwkvk_cache_stats *stats)
{
	struct memory *m = (struct memory *)store;
	mutex_lock(&m->lock);
	stats->memory_states = m->states;
	stats->memory_bytes = m->bytes;
	stats->memory_limit = m->limit;
	stats->dropped += m->dropped;
	mutex_unlock(&m->lock);
}

static void destroy(struct store *store)
{
	struct memory *m = (struct memory *)store;
	while (m->oldest)
		drop(m, m->oldest);
	mutex_destroy(&m->lock);
	free(m);
}

rwkvk_status store_memory_create(uint64_t limit, struct store **out)
{
	struct memory *m = calloc(1, sizeof *m);
	*out = NULL;
	if (!m || !mutex_init(&m->lock)) {
		free(m);
		return fail(RWKVK_ERROR_MEMORY, "no memory for the state cache");
	}
	m->store = (struct store){ lookup, put, count, destroy };
	m->limit = limit;
	*out = &m->store;
	return RWKVK_OK;
}
