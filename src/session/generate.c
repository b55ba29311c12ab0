/* Picking tokens and feeding them back: on the device, several to a submission.  The caller hears of each in turn, and when the
 * text ends before the last of them, or within one, the state goes back to where the text ends (trail.h).  The first one the
 * host picks, from logits that are there: the caller has it before the device has begun.
 *
 * The text of the tokens may have to wait (text/stream.h): then they are not reported until their last byte is released. */
#include "session/trail.h"

#include <stdlib.h>
#include <string.h>

#include "base/structs.h"
#include "network/state_file.h"
#include "text/stream.h"
#include "text/utf8.h"

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
	rwkvk_status status = session_blame(s, sample(s, &sampling, token));
	session_leave(s);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ generating */

struct generation {
	rwkvk_session *session;
	rwkvk_generate_options options;
	rwkvk_sampling sampling;
	struct picking picking;
	struct picked picked;
	bool holds; /* text may have to wait */
	struct stream stream;
	struct trail trail;
	/* Bytes of the text: of all tokens that are known, given to the caller, and of the tokens that are reported. */
	uint64_t written, released, reported;
	bool refused, silent; /* a callback returned false: no more text; on_token did: no more tokens */
	uint64_t tokens;      /* known */
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
		g->refused = g->silent = true;
}

/* Those that are whole in the released text. */
static void report_tokens(struct generation *g)
{
	struct trail *t = &g->trail;
	while (!g->silent && t->reported < t->count && t->tokens[t->reported].end <= g->released) {
		g->reported = t->tokens[t->reported].end;
		report_token(g, t->tokens[t->reported++].id);
	}
}

/* Of the bytes that may be shown: to the end of the first token that ends a character, too, so that the caller can end the text
 * with that token; all when there is none. */
static size_t next_piece(const struct generation *g, const uint8_t *text, size_t count)
{
	const struct trail *t = &g->trail;
	for (size_t i = t->reported; i < t->count && t->tokens[i].end - g->released <= count; i++) {
		size_t bytes = (size_t)(t->tokens[i].end - g->released);
		if (bytes > 0 && (!g->stream.characters || utf8_complete(text, bytes) == bytes))
			return bytes;
	}
	return count;
}

/* What the stream has made ready, and the tokens that it completes, until the caller wants no more. */
static void release(struct generation *g)
{
	report_tokens(g); /* without bytes */
	for (size_t at = 0, bytes; at < g->stream.ready && !g->refused; at += bytes) {
		const uint8_t *text = g->stream.held + at;
		bytes = next_piece(g, text, g->stream.ready - at);
		if (g->options.on_text && !g->options.on_text(g->options.user, (const char *)text, bytes))
			g->refused = true;
		g->released += bytes;
		report_tokens(g);
	}
}

/* A token that is known; the text may end with it. */
static rwkvk_status take(struct generation *g, uint32_t id)
{
	size_t bytes;
	const void *text = text_of(g->session, id, &bytes);
	if (g->holds && !stream_push(&g->stream, text, bytes))
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	g->written += bytes;
	g->tokens++;
	g->session->position++;
	trail_add(&g->trail, id, g->written);
	if (g->holds)
		release(g);
	else {
		g->released = g->written;
		report_tokens(g);
	}
	if (g->refused)
		end(g, RWKVK_END_CALLER, 0);
	else if (g->stream.stopped)
		end(g, RWKVK_END_STOP_TEXT, g->stream.stop);
	return RWKVK_OK;
}

/* Whatever was held back when the text has ended for another reason than what is held. */
static void release_rest(struct generation *g)
{
	if (!g->holds || g->done.reason == RWKVK_END_STOP_TEXT || g->refused)
		return;
	stream_end(&g->stream);
	release(g);
}

/* ------------------------------------------------------------------------------------------------------ the state of the text
 */

static rwkvk_status read_text(struct generation *g, const void *text, size_t bytes, uint32_t *ids)
{
	const rwkvk_tokenizer *tokenizer = model_file(g->session->model)->tokenizer;
	size_t count;
	TRY(rwkvk_tokenizer_encode(tokenizer, text, bytes, ids, 3 * bytes, &count));
	for (size_t i = 0; i < count && !g->silent; i++) {
		TRY(trail_feed(&g->trail, ids[i]));
		report_token(g, ids[i]);
	}
	return RWKVK_OK;
}

/* Reads and reports the first bytes of a token. */
static rwkvk_status read_part(struct generation *g, uint32_t id, size_t part)
{
	size_t bytes;
	const void *text = text_of(g->session, id, &bytes);
	INVARIANT(part < bytes);
	uint32_t *ids = malloc(3 * part * sizeof *ids); /* as many as rwkvk_tokenizer_encode() may give */
	rwkvk_status status = ids ? read_text(g, text, part, ids) : fail(RWKVK_ERROR_MEMORY, "out of memory");
	free(ids);
	return status;
}

/* The state becomes that of the text: the reported tokens, and then what was written of the one that the end cuts. */
static rwkvk_status settle(struct generation *g)
{
	struct trail *t = &g->trail;
	if (!g->session->ready)
		return RWKVK_OK; /* the device has failed, and what its state is nobody knows */
	bool cut = !g->silent && t->reported < t->count && g->released > g->reported;
	uint32_t id = cut ? t->tokens[t->reported].id : 0;
	TRY(trail_back(t));
	return cut ? read_part(g, id, (size_t)(g->released - g->reported)) : RWKVK_OK;
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
	struct trail *t = &g->trail;
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
	trail_start(t);
	s->counts_on_device = false;
	TRY(take(g, token));
	if (t->reported < t->count && ended(g))
		return RWKVK_OK; /* the text has not all of it */
	if (t->reported < t->count)
		TRY(trail_store(t));
	s->position--; /* feeding counts it */
	TRY(model_lock(s->model));
	status = session_feed(s, &token, 1, true, &fed);
	model_unlock(s->model);
	t->fed = fed;
	return status;
}

/* Where the text can go back to from the next submission.  As long as bytes are held back that is not where it begins. */
static rwkvk_status move_trail(struct generation *g)
{
	struct trail *t = &g->trail;
	bool waits = t->reported < t->count;
	TRY(trail_reserve(t, MAX_TOKENS));
	if (!waits)
		TRY(trail_restart(t, g->holds));
	else if (t->reported >= TRAIL_FAR) {
		TRY(trail_shorten(t));
		g->picking.bare = true;
	}
	g->picking.snapshot = t->snapshot;
	g->picking.keep = waits ? KEEP_NOT : g->holds ? KEEP_ALWAYS : KEEP_BEFORE_SEVERAL;
	return RWKVK_OK;
}

/* One submission.  As long as other texts have all snapshots, this one picks a token at a time. */
static rwkvk_status pick_some(struct generation *g, uint64_t most)
{
	rwkvk_session *s = g->session;
	TRY(move_trail(g));
	TRY(model_lock(s->model));
	g->picking.position = s->position;
	rwkvk_status status = forward_pick(s->model, s->slot, &g->picking, most, &g->picked);
	model_unlock(s->model);
	if (status != RWKVK_OK) {
		s->ready = s->counts_on_device = false;
		return status;
	}
	g->trail.fed += g->picked.count;
	g->picking.bare = false;
	g->done.close_draws += g->picked.close;
	return RWKVK_OK;
}

/* Reports the tokens picked, until one, the caller or a cancellation ends the text. */
static rwkvk_status take_all(struct generation *g)
{
	for (uint32_t i = 0; i < g->picked.count && !ended(g);) {
		TRY(take(g, g->picked.tokens[i++]));
		if (i < g->picked.count && !ended(g) && cancelled(g))
			return cancel(g);
	}
	return RWKVK_OK;
}

/* One submission, and the caller's part in it. */
static rwkvk_status run_submission(struct generation *g, uint64_t most)
{
	TRY(pick_some(g, most));
	rwkvk_status status = take_all(g);
	if (!(g->picking.pick & PICK_PENALTY))
		g->session->counts_on_device = false;
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
	TRY(trail_reserve(&g->trail, 1));
	rwkvk_status status = pick_and_feed(g);
	release_rest(g);
	if (status != RWKVK_OK)
		error_hold();
	rwkvk_status settled = settle(g);
	if (status != RWKVK_OK)
		error_release();
	g->done.tokens = g->session->position - before;
	return status != RWKVK_OK ? status : settled;
}

rwkvk_status rwkvk_session_generate(rwkvk_session *s, const rwkvk_generate_options *given, rwkvk_generate_result *result)
{
	static const rwkvk_generate_result nothing;
	REQUIRE(s);
	if (result)
		TRY(WRITE_RESULT(rwkvk_generate_result, close_draws, &nothing, result));
	struct generation g = { .session = s, .picking = { .bare = true } };
	TRY(READ_OPTIONS(rwkvk_generate_options, cancel, given, &g.options));
	TRY(read_sampling(g.options.sampling, &g.sampling));
	g.picking.sampling = &g.sampling;
	TRY(session_enter(s, __func__));
	trail_init(&g.trail, s, g.sampling.decay);
	rwkvk_status status = session_blame(s, generate(&g));
	trail_finish(&g.trail);
	session_leave(s);
	stream_free(&g.stream);
	return result ? (WRITE_RESULT(rwkvk_generate_result, close_draws, &g.done, result), status) : status;
}
