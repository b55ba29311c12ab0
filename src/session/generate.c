/* Picking tokens and feeding them back: on the device, several to a submission.  The caller hears of each in turn, and when the
 * text ends before the last of them, the state goes back to the token that ended it.  The first one the host picks, from logits
 * that are there: the caller has it before the device has begun.
 *
 * The text of the tokens may have to wait (text/stream.h): then they queue in `waiting` until their last byte is released. */
#include "session/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/structs.h"
#include "network/state_file.h"
#include "text/stream.h"

static rwkvk_status no_logits(void)
{
	return fail(RWKVK_ERROR_ARGUMENT, "there is nothing to continue: feed at least one token first");
}

static rwkvk_status read_sampling(const rwkvk_sampling *given, rwkvk_sampling *own)
{
	return READ_OPTIONS(rwkvk_sampling, bias_count, given, own);
}

static rwkvk_status sample(rwkvk_session *s, const rwkvk_sampling *sampling, uint32_t *token)
{
	if (!s->ready)
		return no_logits();
	TRY(model_lock(s->model));
	rwkvk_status status = sampler_pick(sampling, &s->seen, slot_logits(s->model, s->slot), s->position, token);
	model_unlock(s->model);
	TRY(status);
	session_count(s, *token, sampling->decay);
	s->counts_on_device = false;
	return RWKVK_OK;
}

rwkvk_status rwkvk_session_sample(rwkvk_session *s, const rwkvk_sampling *given, uint32_t *token)
{
	rwkvk_sampling sampling;
	REQUIRE(s && token);
	TRY(read_sampling(given, &sampling));
	TRY(session_enter(s, __func__));
	rwkvk_status status = sample(s, &sampling, token);
	session_leave(s);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ generating */

/* A token that is in the state and has yet to be reported. */
struct waiting {
	uint32_t id;
	uint64_t end; /* of its bytes in the text */
};

struct generation {
	rwkvk_session *session;
	rwkvk_generate_options options;
	rwkvk_sampling sampling;
	struct picking picking;
	struct picked picked;
	bool holds; /* text may have to wait */
	struct stream stream;
	uint64_t written, released; /* bytes of the text: of all tokens, and given to the caller */
	struct waiting *waiting;
	size_t waiting_count, waiting_capacity;
	uint64_t tokens; /* known */
	rwkvk_generate_result done;
};

static bool ended(const struct generation *g)
{
	return g->done.reason != RWKVK_END_FAILED;
}

static void end(struct generation *g, rwkvk_end reason, size_t stop)
{
	g->done.reason = reason;
	g->done.stop = (uint32_t)stop;
}

static bool cancelled(const struct generation *g)
{
	return rwkvk_cancel_is_set(g->options.cancel);
}

static rwkvk_status cancel(struct generation *g)
{
	end(g, RWKVK_END_CANCELLED, 0);
	return fail(RWKVK_CANCELLED, "cancelled after %llu tokens", (unsigned long long)g->tokens);
}

static const void *text_of(const rwkvk_session *s, uint32_t token, size_t *bytes)
{
	const rwkvk_tokenizer *tokenizer = model_file(s->model)->tokenizer;
	*bytes = 0;
	return tokenizer ? rwkvk_tokenizer_token(tokenizer, token, bytes) : NULL;
}

/* ------------------------------------------------------------------------------------------------------ to the caller */

static void report_token(struct generation *g, uint32_t id)
{
	size_t bytes;
	const void *text = text_of(g->session, id, &bytes);
	const rwkvk_token token = { .size = sizeof token, .id = id, .byte_count = (uint32_t)bytes, .bytes = text };
	if (g->options.on_token && !g->options.on_token(g->options.user, &token))
		end(g, RWKVK_END_CALLER, 0);
}

/* What the stream has made ready, and the tokens that it completes, until the caller wants no more. */
static void release(struct generation *g)
{
	bool more = true;
	if (g->stream.ready > 0 && g->options.on_text)
		more = g->options.on_text(g->options.user, (const char *)g->stream.held, g->stream.ready);
	g->released += g->stream.ready;
	if (!more)
		end(g, RWKVK_END_CALLER, 0);
	size_t count = 0;
	while (count < g->waiting_count && g->waiting[count].end <= g->released && g->done.reason != RWKVK_END_CALLER)
		report_token(g, g->waiting[count++].id);
	g->waiting_count -= count;
	if (g->waiting_count > 0)
		memmove(g->waiting, g->waiting + count, g->waiting_count * sizeof *g->waiting);
}

static rwkvk_status wait_for_text(struct generation *g, uint32_t id, uint64_t end)
{
	if (g->waiting_count == g->waiting_capacity) {
		size_t capacity = g->waiting_capacity ? 2 * g->waiting_capacity : 16;
		struct waiting *more = realloc(g->waiting, capacity * sizeof *more);
		if (!more)
			return fail(RWKVK_ERROR_MEMORY, "out of memory");
		g->waiting = more;
		g->waiting_capacity = capacity;
	}
	g->waiting[g->waiting_count++] = (struct waiting){ id, end };
	return RWKVK_OK;
}

/* A token that is known; the text may end with it. */
static rwkvk_status take(struct generation *g, uint32_t id)
{
	size_t bytes;
	const void *text = text_of(g->session, id, &bytes);
	session_count(g->session, id, g->sampling.decay);
	g->session->position++;
	g->tokens++;
	if (!g->holds) {
		report_token(g, id);
		return RWKVK_OK;
	}
	g->written += bytes;
	TRY(wait_for_text(g, id, g->written));
	if (!stream_push(&g->stream, text, bytes))
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	release(g);
	if (g->stream.stopped && !ended(g))
		end(g, RWKVK_END_STOP_TEXT, g->stream.stop);
	return RWKVK_OK;
}

/* Whatever was held back when the text has ended for another reason than what is held. */
static void release_rest(struct generation *g)
{
	rwkvk_generate_result done = g->done;
	if (!g->holds || done.reason == RWKVK_END_STOP_TEXT || done.reason == RWKVK_END_CALLER)
		return;
	stream_end(&g->stream);
	release(g);
	g->done = done;
}

/* ------------------------------------------------------------------------------------------------------ from the device */

/* Not where the device has the counts of what was generated: they would miss this token. */
static bool host_picks_first(const struct generation *g)
{
	return (g->sampling.presence == 0 && g->sampling.frequency == 0) || !g->session->counts_on_device;
}

/* Which of the list; stop_count when it is none of them. */
static size_t find_stop(const struct picking *picking, uint32_t token)
{
	size_t i = 0;
	while (i < picking->stop_count && picking->stops[i] != token)
		i++;
	return i;
}

static rwkvk_status first_token(struct generation *g)
{
	rwkvk_session *s = g->session;
	uint32_t token, fed;
	TRY(model_lock(s->model));
	rwkvk_status status = sampler_pick(&g->sampling, &s->seen, slot_logits(s->model, s->slot), s->position, &token);
	model_unlock(s->model);
	TRY(status);
	g->done.close_draws += s->seen.is_close;
	size_t stop = find_stop(&g->picking, token);
	if (stop < g->picking.stop_count) {
		end(g, RWKVK_END_STOP_TOKEN, stop);
		return RWKVK_OK;
	}
	rwkvk_status taking = take(g, token);
	s->counts_on_device = false;
	s->position--; /* feeding counts it */
	TRY(model_lock(s->model));
	status = session_feed(s, &token, 1, true, &fed);
	model_unlock(s->model);
	return status != RWKVK_OK ? status : taking;
}

/* One submission.  With the lock held.  As long as other texts have all snapshots, this one picks a token at a time. */
static rwkvk_status pick_some(struct generation *g, uint64_t most)
{
	rwkvk_session *s = g->session;
	if (g->picking.snapshot == NO_SNAPSHOT)
		TRY(slot_take_snapshot(s->model, s->slot, &g->picking.snapshot));
	g->picking.position = s->position;
	rwkvk_status status = forward_pick(s->model, s->slot, &g->picking, most, &g->picked);
	if (status != RWKVK_OK) {
		s->ready = s->counts_on_device = false;
		return status;
	}
	g->picking.bare = false;
	g->done.close_draws += g->picked.close;
	return RWKVK_OK;
}

/* Reports the tokens picked; *taken: how many until one, the caller or a cancellation ended the text. */
static rwkvk_status take_all(struct generation *g, uint32_t *taken)
{
	for (*taken = 0; *taken < g->picked.count && !ended(g);) {
		TRY(take(g, g->picked.tokens[(*taken)++]));
		if (*taken < g->picked.count && !ended(g) && cancelled(g))
			return cancel(g);
	}
	return RWKVK_OK;
}

/* The tokens behind the end never happened. */
static rwkvk_status drop_rest(struct generation *g, uint32_t taken)
{
	rwkvk_session *s = g->session;
	s->position -= taken;
	s->counts_on_device = false;
	TRY(model_lock(s->model));
	rwkvk_status status = session_rewind(s, g->picking.snapshot, g->picked.tokens, taken);
	model_unlock(s->model);
	return status;
}

/* One submission, and the caller's part in it. */
static rwkvk_status run_submission(struct generation *g, uint64_t most)
{
	rwkvk_session *s = g->session;
	uint32_t taken;
	TRY(model_lock(s->model));
	rwkvk_status status = pick_some(g, most);
	model_unlock(s->model);
	TRY(status);
	status = take_all(g, &taken);
	if (!(g->picking.pick & PICK_PENALTY))
		s->counts_on_device = false;
	if (taken < g->picked.count)
		TRY(drop_rest(g, taken));
	if (status == RWKVK_OK && !ended(g) && g->picked.stopped)
		end(g, RWKVK_END_STOP_TOKEN, find_stop(&g->picking, g->picked.stop));
	return status;
}

static rwkvk_status prepare(struct generation *g)
{
	rwkvk_model *m = g->session->model;
	TRY(model_lock(m));
	rwkvk_status status = session_prepare(g->session, &g->sampling, &g->picking.pick);
	model_unlock(m);
	return status;
}

static rwkvk_status pick_and_feed(struct generation *g)
{
	uint64_t limit = g->options.max_tokens ? g->options.max_tokens : 1024, room = MOST_POSITION - g->session->position;
	limit = limit < room ? limit : room;
	bool prepared = false;
	for (bool first = host_picks_first(g); g->tokens < limit && !ended(g); first = false) {
		if (cancelled(g))
			return cancel(g);
		if (!first && !prepared)
			TRY(prepare(g));
		prepared = !first;
		TRY(first ? first_token(g) : run_submission(g, limit - g->tokens));
	}
	if (!ended(g))
		end(g, RWKVK_END_LENGTH, 0);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ the call */

/* What ends a text: the caller's list, or the model's own token. */
static rwkvk_status choose_stops(struct generation *g)
{
	const rwkvk_generate_options *o = &g->options;
	const struct rwkvk_file *file = model_file(g->session->model);
	REQUIRE(o->stop_tokens || o->stop_token_count == 0);
	REQUIRE(!o->ignore_end || !o->stop_tokens);
	if (o->stop_token_count > MAX_STOPS)
		return fail(RWKVK_ERROR_ARGUMENT, "there are %zu stop tokens; at most %d are possible", o->stop_token_count, MAX_STOPS);
	for (size_t i = 0; i < o->stop_token_count; i++)
		if (o->stop_tokens[i] >= file->network.config.vocab)
			return fail(RWKVK_ERROR_ARGUMENT, "stop token %zu is %u: expected an id below the model's vocabulary of %u", i,
			            o->stop_tokens[i], file->network.config.vocab);
	bool own = !o->stop_tokens && !o->ignore_end && file->end_token != RWKVK_NO_TOKEN;
	g->picking.stops = own ? &file->end_token : o->stop_tokens;
	g->picking.stop_count = own ? 1 : o->stop_token_count;
	return RWKVK_OK;
}

static rwkvk_status choose_texts(struct generation *g)
{
	const rwkvk_generate_options *o = &g->options;
	REQUIRE(o->stop_texts || o->stop_text_count == 0);
	for (size_t i = 0; i < o->stop_text_count; i++) {
		REQUIRE(o->stop_texts[i]);
		if (!*o->stop_texts[i])
			return fail(RWKVK_ERROR_ARGUMENT, "stop text %zu is empty: expected at least one character", i);
	}
	if ((o->stop_text_count || o->on_text) && !model_file(g->session->model)->tokenizer)
		return fail(RWKVK_ERROR_ARGUMENT, "%s has no vocabulary, which %s needs: name one in rwkvk_model_options.vocab",
		            model_file(g->session->model)->weights.path, o->on_text ? "on_text" : "rwkvk_generate_options.stop_texts");
	g->holds = o->stop_text_count || o->on_text;
	g->stream = (struct stream){ .stops = o->stop_texts, .stop_count = o->stop_text_count, .characters = o->on_text != NULL };
	return RWKVK_OK;
}

static rwkvk_status generate(struct generation *g)
{
	uint64_t before = g->session->position;
	if (!g->session->ready)
		return no_logits();
	TRY(choose_stops(g));
	TRY(choose_texts(g));
	rwkvk_status status = pick_and_feed(g);
	slot_give_snapshot(g->session->model, g->picking.snapshot);
	release_rest(g);
	g->done.tokens = g->session->position - before;
	return status;
}

rwkvk_status rwkvk_session_generate(rwkvk_session *s, const rwkvk_generate_options *given, rwkvk_generate_result *result)
{
	static const rwkvk_generate_result nothing;
	REQUIRE(s);
	if (result)
		TRY(WRITE_RESULT(rwkvk_generate_result, close_draws, &nothing, result));
	struct generation g = { .session = s, .picking = { .bare = true, .snapshot = NO_SNAPSHOT } };
	TRY(READ_OPTIONS(rwkvk_generate_options, cancel, given, &g.options));
	TRY(read_sampling(g.options.sampling, &g.sampling));
	g.picking.sampling = &g.sampling;
	TRY(session_enter(s, __func__));
	rwkvk_status status = generate(&g);
	session_leave(s);
	stream_free(&g.stream);
	free(g.waiting);
	return result ? (WRITE_RESULT(rwkvk_generate_result, close_draws, &g.done, result), status) : status;
}
