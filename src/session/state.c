/* Getting a session's state out and in: clones, numbers, bytes, files. */
#include "session/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "network/states.h"

/* ------------------------------------------------------------------------------------------------------ copies */

/* With the lock held. */
static rwkvk_status copy_state(rwkvk_session *from, rwkvk_session *to)
{
	rwkvk_model *m = from->model;
	TRY(slot_copy(m, from->slot, to->slot));
	to->position = from->position;
	to->ready = from->ready;
	occurrences_copy(&to->seen, &from->seen);
	return RWKVK_OK;
}

static rwkvk_status make_clone(rwkvk_session *s, rwkvk_session **out)
{
	TRY(session_make(s->model, false, out));
	rwkvk_status status = model_lock(s->model);
	if (status == RWKVK_OK) {
		status = copy_state(s, *out);
		model_unlock(s->model);
	}
	if (status != RWKVK_OK) {
		rwkvk_session_destroy(*out);
		*out = NULL;
	}
	return status;
}

rwkvk_status rwkvk_session_clone(rwkvk_session *s, rwkvk_session **out)
{
	REQUIRE(s && out);
	*out = NULL;
	TRY(session_enter(s, __func__));
	rwkvk_status status = make_clone(s, out);
	session_leave(s);
	return status;
}

static rwkvk_status get_floats(rwkvk_session *s, float *state)
{
	TRY(model_lock(s->model));
	rwkvk_status status = slot_read(s->model, s->slot, state);
	model_unlock(s->model);
	return status;
}

static rwkvk_status set_floats(rwkvk_session *s, const float *state, uint64_t position)
{
	TRY(model_lock(s->model));
	rwkvk_status status = slot_write(s->model, s->slot, state);
	model_unlock(s->model);
	s->ready = s->counts_on_device = false;
	TRY(status);
	s->position = position;
	occurrences_clear(&s->seen);
	return RWKVK_OK;
}

static uint64_t state_floats(const rwkvk_session *s)
{
	return config_state_floats(model_config(s->model));
}

size_t rwkvk_session_state_floats(const rwkvk_session *s)
{
	return s ? (size_t)state_floats(s) : 0;
}

rwkvk_status rwkvk_session_floats_get(rwkvk_session *s, float *state, size_t floats)
{
	REQUIRE(s && state);
	TRY(session_enter(s, __func__));
	rwkvk_status status = floats == state_floats(s)
	                          ? get_floats(s, state)
	                          : fail(RWKVK_ERROR_ARGUMENT, "the state has %llu floats, the caller's memory %zu",
	                                 (unsigned long long)state_floats(s), floats);
	session_leave(s);
	return status;
}

static rwkvk_status check_floats(const rwkvk_session *s, const float *state, size_t floats, uint64_t position)
{
	if (floats != state_floats(s))
		return fail(RWKVK_ERROR_ARGUMENT, "the state has %llu floats, the caller gives %zu",
		            (unsigned long long)state_floats(s), floats);
	if (position > MOST_POSITION)
		return fail(RWKVK_ERROR_ARGUMENT, "the position is %llu: expected at most 2^63", (unsigned long long)position);
	for (size_t i = 0; i < floats; i++)
		if (!isfinite(state[i]))
			return fail(RWKVK_ERROR_ARGUMENT, "number %zu of the state is %g: a state holds finite numbers", i,
			            (double)state[i]);
	return RWKVK_OK;
}

rwkvk_status rwkvk_session_floats_set(rwkvk_session *s, const float *state, size_t floats, uint64_t position)
{
	REQUIRE(s && state);
	TRY(session_enter(s, __func__));
	rwkvk_status status = check_floats(s, state, floats, position);
	if (status == RWKVK_OK)
		status = set_floats(s, state, position);
	session_leave(s);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ states as bytes */

/* The session's state, ready to be saved. */
static struct state_header header_of(const rwkvk_session *s)
{
	struct state_header header = state_header_of(model_config(s->model));
	header.position = s->position;
	header.counts = s->seen.id_count;
	header.logits = s->ready ? header.logits : 0;
	return header;
}

size_t rwkvk_session_state_size(const rwkvk_session *s)
{
	if (!s)
		return 0;
	const struct state_header header = header_of(s);
	return (size_t)state_file_bytes(&header);
}

/* Adds counts only if the header has room for them. */
static rwkvk_status get_all(rwkvk_session *s, struct saved_state *out)
{
	uint32_t count = 0;
	for (uint32_t id = 0; out->header.counts > 0 && id < s->seen.vocab; id++)
		if (s->seen.present[id]) {
			out->ids[count] = id;
			out->counts[count++] = s->seen.count[id];
		}
	TRY(model_lock(s->model));
	rwkvk_status status = slot_read(s->model, s->slot, out->state);
	memcpy(out->logits, slot_logits(s->model, s->slot), out->header.logits * sizeof *out->logits);
	model_unlock(s->model);
	return status;
}

/* The content of a state file; `bytes` is its size. */
static rwkvk_status get_state(rwkvk_session *s, const char *name, uint8_t *bytes)
{
	const struct state_header header = header_of(s);
	struct saved_state saved;
	TRY(saved_state_make(name, &header, &saved));
	rwkvk_status status = get_all(s, &saved);
	if (status == RWKVK_OK)
		status = state_file_build(name, &saved, bytes);
	saved_state_free(&saved);
	return status;
}

rwkvk_status rwkvk_session_state_get(rwkvk_session *s, void *state, size_t bytes)
{
	REQUIRE(s && state);
	TRY(session_enter(s, __func__));
	rwkvk_status status = bytes == rwkvk_session_state_size(s)
	                          ? get_state(s, "the state", state)
	                          : fail(RWKVK_ERROR_ARGUMENT, "the state has %zu bytes, the caller's memory %zu",
	                                 rwkvk_session_state_size(s), bytes);
	status = session_blame(s, status);
	session_leave(s);
	return status;
}

static rwkvk_status set_all(rwkvk_session *s, const struct saved_state *saved)
{
	TRY(set_floats(s, saved->state, saved->header.position));
	for (uint32_t i = 0; i < saved->header.counts; i++)
		occurrences_put(&s->seen, saved->ids[i], saved->counts[i]);
	if (saved->header.logits == 0)
		return RWKVK_OK;
	TRY(model_lock(s->model));
	memcpy(slot_logits(s->model, s->slot), saved->logits, saved->header.logits * sizeof *saved->logits);
	model_unlock(s->model);
	s->ready = true;
	return RWKVK_OK;
}

/* Sets the session to the saved state and frees that. */
static rwkvk_status set_read(rwkvk_session *s, struct saved_state *saved)
{
	rwkvk_status status = set_all(s, saved);
	saved_state_free(saved);
	return status;
}

static rwkvk_status set_state(rwkvk_session *s, const void *state, size_t bytes)
{
	const struct state_header want = state_header_of(model_config(s->model));
	struct saved_state saved;
	TRY(state_file_parse("the state", state, bytes, &want, &saved));
	return set_read(s, &saved);
}

rwkvk_status rwkvk_session_state_set(rwkvk_session *s, const void *state, size_t bytes)
{
	REQUIRE(s && state);
	TRY(session_enter(s, __func__));
	rwkvk_status status = set_state(s, state, bytes);
	session_leave(s);
	return status;
}

static rwkvk_status save(rwkvk_session *s, const char *path)
{
	size_t bytes = rwkvk_session_state_size(s);
	uint8_t *state = malloc(bytes);
	if (!state)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = get_state(s, path, state);
	if (status == RWKVK_OK)
		status = file_write(path, state, bytes, "", 0);
	free(state);
	return status;
}

rwkvk_status rwkvk_session_save(rwkvk_session *s, const char *path)
{
	REQUIRE(s && path);
	TRY(session_enter(s, __func__));
	rwkvk_status status = session_blame(s, save(s, path));
	session_leave(s);
	return status;
}

static rwkvk_status load(rwkvk_session *s, const char *path)
{
	struct saved_state saved;
	TRY(state_read(path, model_config(s->model), &saved));
	return set_read(s, &saved);
}

rwkvk_status rwkvk_session_load(rwkvk_session *s, const char *path)
{
	REQUIRE(s && path);
	TRY(session_enter(s, __func__));
	rwkvk_status status = load(s, path);
	session_leave(s);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ states of texts */

rwkvk_status session_become(rwkvk_session *s, const struct saved_state *saved)
{
	TRY(session_enter(s, __func__));
	rwkvk_status status = set_all(s, saved);
	session_leave(s);
	return status;
}

static rwkvk_status check_read(const rwkvk_session *s, uint64_t position)
{
	if (s->position == position)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_ARGUMENT, "the session is at token %llu, its prompt at %llu", (unsigned long long)s->position,
	            (unsigned long long)position);
}

static rwkvk_status check_finite(const struct saved_state *saved)
{
	for (uint64_t i = 0; i < saved->header.floats; i++)
		if (!isfinite(saved->state[i]))
			return fail(RWKVK_ERROR_DRIVER, "number %llu of the state is %g: the device has computed nonsense",
			            (unsigned long long)i, (double)saved->state[i]);
	return RWKVK_OK;
}

static rwkvk_status copy_out(rwkvk_session *s, uint64_t position, bool logits, struct saved_state *out)
{
	struct state_header header = header_of(s);
	header.counts = 0;
	header.logits = logits ? header.logits : 0;
	TRY(check_read(s, position));
	TRY(saved_state_make("the state", &header, out));
	rwkvk_status status = get_all(s, out);
	if (status == RWKVK_OK)
		status = check_finite(out);
	if (status != RWKVK_OK)
		saved_state_free(out);
	return status;
}

rwkvk_status session_copy_out(rwkvk_session *s, uint64_t position, bool logits, struct saved_state *out)
{
	*out = (struct saved_state){ 0 };
	TRY(session_enter(s, __func__));
	rwkvk_status status = copy_out(s, position, logits, out);
	session_leave(s);
	return status;
}
