/* Many sessions, one submission: the interface for a server's loop.  A text that is written in steps lives in its session.
 * The text's usual callbacks collect a step's results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cancel.h"
#include "base/structs.h"
#include "session/text.h"

struct stepping {
	bool writing;
	struct text text;
	/* Of the last step. */
	rwkvk_token *tokens;
	rwkvk_candidate (*tops)[MAX_TOP];
	size_t count, capacity;
	char *bytes;
	size_t byte_count, byte_capacity;
	bool failed; /* out of memory */
	char error[512];
};

bool session_steps(const rwkvk_session *s)
{
	return s->stepping && s->stepping->writing;
}

void session_stop_stepping(rwkvk_session *s)
{
	struct stepping *own = s->stepping;
	if (!own)
		return;
	if (own->writing)
		text_free(&own->text);
	free(own->tokens);
	free(own->tops);
	free(own->bytes);
	free(own);
	s->stepping = NULL;
}

/* ------------------------------------------------------------------------------------------------------ what is collected */

static bool grow_tokens(struct stepping *own)
{
	size_t capacity = own->capacity ? 2 * own->capacity : 32;
	rwkvk_token *tokens = realloc(own->tokens, capacity * sizeof *tokens);
	own->tokens = tokens ? tokens : own->tokens;
	rwkvk_candidate(*tops)[MAX_TOP] = realloc(own->tops, capacity * sizeof *tops);
	own->tops = tops ? tops : own->tops;
	if (!tokens || !tops)
		return false;
	own->capacity = capacity;
	return true;
}

static bool collect_token(void *user, const rwkvk_token *token)
{
	struct stepping *own = user;
	if (own->count == own->capacity && !grow_tokens(own)) {
		own->failed = true;
		return false;
	}
	own->tokens[own->count] = *token;
	if (token->top_count)
		memcpy(own->tops[own->count], token->tops, token->top_count * sizeof *token->tops);
	own->count++;
	return true;
}

static bool collect_text(void *user, const char *text, size_t bytes)
{
	struct stepping *own = user;
	if (own->byte_capacity - own->byte_count < bytes) {
		size_t capacity = 2 * (own->byte_count + bytes);
		char *more = realloc(own->bytes, capacity);
		if (!more) {
			own->failed = true;
			return false;
		}
		own->bytes = more;
		own->byte_capacity = capacity;
	}
	memcpy(own->bytes + own->byte_count, text, bytes);
	own->byte_count += bytes;
	return true;
}

/* ------------------------------------------------------------------------------------------------------ one work */

/* A caller's work, and its request to the device. */
struct part {
	rwkvk_work *given; /* as large as in the caller's version */
	rwkvk_work own;
	bool entered, asks; /* the session is claimed by this call; there is work for the device */
	struct work work;
};

static rwkvk_status begin_text(rwkvk_session *s, const rwkvk_generate_options *given)
{
	struct stepping *own = s->stepping;
	rwkvk_generate_options options;
	TRY(read_generate_options(given, &options));
	if (options.on_text || options.on_token)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_work.options: expected no on_text and no on_token: a step returns both");
	void *user = options.user;
	options.on_text = model_file(s->model)->tokenizer ? collect_text : NULL;
	options.on_token = collect_token;
	options.user = own;
	rwkvk_status status = text_begin(&own->text, s, &options);
	own->text.mask_user = user;
	own->text.holds = true; /* the caller may take back the results of a step */
	own->writing = status == RWKVK_OK;
	if (status != RWKVK_OK)
		text_free(&own->text);
	return status;
}

/* The text has ended, by itself or because it failed. */
static rwkvk_status end_text(struct part *p, rwkvk_status status)
{
	struct stepping *own = p->own.session->stepping;
	status = text_finish(&own->text, status);
	p->own.ended = true;
	p->own.reason = own->text.done.reason;
	p->own.stop = own->text.done.stop;
	p->own.text_tokens = own->text.done.tokens;
	p->own.close_draws = own->text.done.close_draws;
	own->writing = false;
	text_free(&own->text);
	if (own->failed && status == RWKVK_OK)
		status = fail(RWKVK_ERROR_MEMORY, "out of memory");
	return status;
}

static rwkvk_status next_of_text(struct part *p)
{
	rwkvk_session *s = p->own.session;
	struct stepping *own = s->stepping;
	if (p->own.token_count > 0)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_work.tokens: the session is still writing a text: expected none");
	if (!own->writing)
		TRY(begin_text(s, p->own.options));
	rwkvk_status status = text_next(&own->text, p->own.most, &p->work, &p->asks);
	return status != RWKVK_OK || text_ended(&own->text) ? end_text(p, status) : RWKVK_OK;
}

/* Prepares its work for the device: first the rest of its tokens, then its text. */
static rwkvk_status begin(struct part *p)
{
	rwkvk_session *s = p->own.session;
	if (!s->stepping) {
		s->stepping = calloc(1, sizeof *s->stepping);
		if (!s->stepping)
			return fail(RWKVK_ERROR_MEMORY, "out of memory");
	}
	struct stepping *own = s->stepping;
	own->count = own->byte_count = 0;
	own->failed = false;
	if (own->writing || (p->own.token_count == 0 && p->own.options))
		return next_of_text(p);
	REQUIRE(p->own.tokens || p->own.token_count == 0);
	TRY(session_check_tokens(s, p->own.tokens, p->own.token_count));
	p->work = (struct work){ .slot = s->slot, .tokens = p->own.tokens, .count = p->own.token_count };
	p->asks = p->own.token_count > 0;
	return RWKVK_OK;
}

static rwkvk_status finish_reading(struct part *p)
{
	if (p->work.rows > 0 || p->work.status != RWKVK_OK)
		session_has_fed(p->own.session, p->work.count, p->work.done);
	p->own.read = p->work.done;
	return p->work.status;
}

static rwkvk_status finish_text(struct part *p)
{
	struct text *text = &p->own.session->stepping->text;
	if (p->work.status != RWKVK_OK) {
		text_failed(text, p->work.status);
		return end_text(p, p->work.status);
	}
	if (p->work.rows == 0)
		return RWKVK_OK;
	rwkvk_status status = text_take(text);
	return status != RWKVK_OK || text_ended(text) ? end_text(p, status) : RWKVK_OK;
}

/* Results for the caller; if the work has failed, `error` is this thread's error text. */
static void answer(struct part *p, rwkvk_status status)
{
	struct stepping *own = p->entered ? p->own.session->stepping : NULL;
	p->own.status = status;
	p->own.error = status == RWKVK_OK ? ""
	               : p->entered       ? "out of memory"
	                                  : "the session is in use by another call, or its model is closed";
	p->own.text = "";
	if (own) {
		snprintf(own->error, sizeof own->error, "%s", status == RWKVK_OK ? "" : rwkvk_last_error());
		for (size_t i = 0; i < own->count; i++)
			own->tokens[i].tops = own->tokens[i].top_count ? own->tops[i] : NULL;
		p->own.error = own->error;
		p->own.picked = own->tokens;
		p->own.picked_count = own->count;
		p->own.text = own->byte_count ? own->bytes : "";
		p->own.text_bytes = own->byte_count;
	}
}

/* ------------------------------------------------------------------------------------------------------ one submission */

/* Runs the first work that has a request, alone. */
static void run_one(rwkvk_model *m, struct work *w)
{
	uint32_t fed = 0;
	rwkvk_status status;
	if (w->picking) {
		status = forward_pick(m, w->slot, &w->picking->picking, w->most, w->picked);
		fed = w->picked->count;
	} else if (forward_reads_chunks(m, w->count)) {
		status = chunk_feed(m, w->slot, w->tokens, w->count, true, NULL, NULL, &fed);
	} else {
		status = forward_feed(m, w->slot, w->tokens, w->count, true, &fed);
	}
	w->rows = 1;
	w->done = fed;
	w->status = RWKVK_OK;
	if (status != RWKVK_OK)
		work_blame(w, status);
}

static rwkvk_status run(rwkvk_model *m, struct part *parts, size_t count)
{
	struct work **works = malloc((count + 1) * sizeof *works);
	uint32_t asking = 0;
	if (!works)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (size_t i = 0; i < count; i++)
		if (parts[i].asks) {
			parts[i].work.status = RWKVK_OK;
			works[asking++] = &parts[i].work;
		}
	rwkvk_status status = asking ? model_lock(m) : RWKVK_OK;
	if (asking && status == RWKVK_OK) {
		if (model_max_batch(m))
			batch_run(m, works, asking);
		else
			run_one(m, works[0]);
		model_unlock(m);
	}
	free(works);
	return status;
}

/* A work's status is its own failure; its error text has to be set again in this thread. */
static rwkvk_status finish(struct part *p)
{
	if (p->work.status != RWKVK_OK)
		(void)fail(p->work.status, "%s", p->work.error);
	return session_blame(p->own.session, p->work.picking ? finish_text(p) : finish_reading(p));
}

/* Every session that is entered is released with its answer. */
static rwkvk_status step(rwkvk_model *m, struct part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct part *p = &parts[i];
		rwkvk_status status = session_enter_step(p->own.session, "rwkvk_model_step");
		p->entered = status == RWKVK_OK;
		if (p->entered)
			status = begin(p);
		answer(p, status);
		p->asks &= status == RWKVK_OK;
	}
	TRY(run(m, parts, count));
	for (size_t i = 0; i < count; i++)
		if (parts[i].asks)
			answer(&parts[i], finish(&parts[i]));
	return RWKVK_OK;
}

static rwkvk_work *nth(rwkvk_work *works, size_t i)
{
	return (rwkvk_work *)((char *)works + i * works->size);
}

static rwkvk_status read_works(rwkvk_model *m, rwkvk_work *works, size_t count, struct part *parts)
{
	for (size_t i = 0; i < count; i++) {
		struct part *p = &parts[i];
		p->given = nth(works, i);
		REQUIRE(p->given->size == works->size);
		TRY(READ_OPTIONS(rwkvk_work, close_draws, p->given, &p->own));
		REQUIRE(p->own.session && p->own.session->model == m);
		rwkvk_work asked = { .size = sizeof asked,
			                 .session = p->own.session,
			                 .tokens = p->own.tokens,
			                 .token_count = p->own.token_count,
			                 .options = p->own.options,
			                 .most = p->own.most };
		p->own = asked;
	}
	return RWKVK_OK;
}

rwkvk_status rwkvk_model_step(rwkvk_model *m, rwkvk_work *works, size_t count)
{
	REQUIRE(m && (works || count == 0));
	struct part *parts = calloc(count + 1, sizeof *parts);
	if (!parts)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = read_works(m, works, count, parts);
	if (status == RWKVK_OK)
		status = step(m, parts, count);
	for (size_t i = 0; i < count; i++) {
		if (parts[i].entered)
			session_leave(parts[i].own.session);
		if (status == RWKVK_OK)
			status = WRITE_RESULT(rwkvk_work, close_draws, &parts[i].own, parts[i].given);
	}
	free(parts);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ taking back */

static rwkvk_status rewind_text(rwkvk_session *s, size_t keep)
{
	struct stepping *own = s->stepping;
	if (!session_steps(s))
		return fail(RWKVK_ERROR_ARGUMENT, "the session is not writing a text in steps that could be taken back");
	if (keep > own->count)
		return fail(RWKVK_ERROR_ARGUMENT, "the last step has reported %zu tokens: %zu of them cannot be kept", own->count,
		            keep);
	text_cut(&own->text, own->count - keep);
	rwkvk_status status = text_finish(&own->text, RWKVK_OK);
	own->writing = false;
	own->count = own->byte_count = 0;
	text_free(&own->text);
	return status;
}

rwkvk_status rwkvk_session_rewind(rwkvk_session *s, size_t keep)
{
	REQUIRE(s);
	TRY(session_enter_step(s, __func__));
	rwkvk_status status = session_blame(s, rewind_text(s, keep));
	session_leave(s);
	return status;
}
