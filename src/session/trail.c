#include "session/trail.h"

#include <stdlib.h>
#include <string.h>

void trail_init(struct trail *t, rwkvk_session *session, float decay)
{
	*t = (struct trail){ .session = session, .decay = decay, .snapshot = NO_SNAPSHOT };
}

void trail_finish(struct trail *t)
{
	slot_give_snapshot(t->session->model, t->snapshot);
	free(t->copy);
	free(t->tokens);
}

/* ------------------------------------------------------------------------------------------------------ keeping a state */

void trail_start(struct trail *t)
{
	t->count = t->reported = t->fed = 0;
	t->copied = false;
	t->position = t->session->position;
	occurrences_mark(&t->session->seen);
}

static rwkvk_status take_snapshot(struct trail *t)
{
	rwkvk_session *s = t->session;
	if (t->snapshot != NO_SNAPSHOT)
		return RWKVK_OK;
	TRY(model_lock(s->model));
	rwkvk_status status = slot_take_snapshot(s->model, s->slot, &t->snapshot);
	model_unlock(s->model);
	return status;
}

static uint64_t state_floats(const struct trail *t)
{
	return config_state_floats(model_config(t->session->model));
}

static rwkvk_status copy_out(struct trail *t)
{
	rwkvk_session *s = t->session;
	uint64_t floats = state_floats(t);
	TRY(slot_read(s->model, s->slot, t->copy));
	memcpy(t->copy + floats, slot_logits(s->model, s->slot), s->seen.vocab * sizeof *t->copy);
	t->copied = true;
	return RWKVK_OK;
}

static rwkvk_status copy_in(struct trail *t)
{
	rwkvk_session *s = t->session;
	TRY(slot_write(s->model, s->slot, t->copy));
	memcpy(slot_logits(s->model, s->slot), t->copy + state_floats(t), s->seen.vocab * sizeof *t->copy);
	return RWKVK_OK;
}

rwkvk_status trail_store(struct trail *t)
{
	rwkvk_session *s = t->session;
	TRY(take_snapshot(t));
	if (t->snapshot == NO_SNAPSHOT && !t->copy) {
		t->copy = malloc((state_floats(t) + s->seen.vocab) * sizeof *t->copy);
		if (!t->copy)
			return fail(RWKVK_ERROR_MEMORY, "out of memory");
	}
	TRY(model_lock(s->model));
	rwkvk_status status = t->snapshot == NO_SNAPSHOT ? copy_out(t) : slot_keep(s->model, s->slot, t->snapshot);
	model_unlock(s->model);
	return status;
}

rwkvk_status trail_restart(struct trail *t, bool store)
{
	TRY(take_snapshot(t));
	bool by_host = store && t->snapshot == NO_SNAPSHOT;
	if (by_host && t->copied && t->count < TRAIL_FAR)
		return RWKVK_OK;
	trail_start(t);
	return by_host ? trail_store(t) : RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ tokens */

rwkvk_status trail_reserve(struct trail *t, size_t tokens)
{
	if (t->capacity - t->count >= tokens)
		return RWKVK_OK;
	size_t capacity = t->count + 2 * tokens;
	struct trail_token *more = realloc(t->tokens, capacity * sizeof *more);
	if (!more)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	t->tokens = more;
	t->capacity = capacity;
	return RWKVK_OK;
}

void trail_add(struct trail *t, const struct trail_token *token)
{
	assert(t->count < t->capacity);
	t->tokens[t->count++] = *token;
	session_count(t->session, token->id, t->decay);
}

/* One by one, as they were picked, not in chunks, so the bits are the same however prompts are read. */
static rwkvk_status feed(struct trail *t, const uint32_t *ids, size_t count)
{
	rwkvk_session *s = t->session;
	for (size_t done = 0; done < count;) {
		uint32_t fed = 0;
		TRY(model_lock(s->model));
		rwkvk_status status = session_feed(s, ids + done, count - done, true, &fed);
		model_unlock(s->model);
		t->fed += fed;
		TRY(status);
		done += fed;
	}
	return RWKVK_OK;
}

/* The tokens of the trail from `first` on. */
static rwkvk_status feed_from(struct trail *t, size_t first)
{
	size_t count = t->count - first;
	uint32_t *ids = malloc((count ? count : 1) * sizeof *ids);
	if (!ids)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (size_t i = 0; i < count; i++)
		ids[i] = t->tokens[first + i].id;
	rwkvk_status status = feed(t, ids, count);
	free(ids);
	return status;
}

rwkvk_status trail_feed(struct trail *t, uint32_t id)
{
	session_count(t->session, id, t->decay);
	t->session->counts_on_device = false;
	return feed(t, &id, 1);
}

/* ------------------------------------------------------------------------------------------------------ going back */

/* The kept state. */
static rwkvk_status restore(struct trail *t)
{
	rwkvk_session *s = t->session;
	INVARIANT(t->copied || t->snapshot != NO_SNAPSHOT);
	s->ready = false;
	TRY(model_lock(s->model));
	rwkvk_status status = t->copied ? copy_in(t) : slot_rewind(s->model, s->slot, t->snapshot);
	model_unlock(s->model);
	s->ready = status == RWKVK_OK;
	t->fed = 0;
	return status;
}

rwkvk_status trail_back(struct trail *t)
{
	rwkvk_session *s = t->session;
	bool there = t->fed == t->reported;
	if (there && t->count == t->reported)
		return RWKVK_OK;
	s->counts_on_device = false;
	if (!there)
		TRY(restore(t));
	s->position = t->position + t->fed;
	occurrences_return(&s->seen);
	t->count = t->reported;
	for (size_t i = 0; i < t->count; i++)
		session_count(s, t->tokens[i].id, t->decay);
	return there ? RWKVK_OK : feed_from(t, 0);
}

rwkvk_status trail_shorten(struct trail *t)
{
	rwkvk_session *s = t->session;
	size_t first = t->reported, rest = t->count - t->reported;
	bool counts_on_device = s->counts_on_device; /* the counts end up as before */
	TRY(trail_back(t));
	trail_start(t);
	TRY(trail_store(t));
	memmove(t->tokens, t->tokens + first, rest * sizeof *t->tokens);
	while (t->count < rest)
		trail_add(t, &t->tokens[t->count]);
	TRY(feed_from(t, 0));
	s->counts_on_device = counts_on_device;
	return RWKVK_OK;
}
