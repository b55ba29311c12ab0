/* Picking tokens and feeding them back: on the device, several to a submission.  Each is reported to the caller in turn.  If
 * the text ends before the last of them, or within one, the state returns to the text's end (trail.h).  If no other sessions
 * are involved, the host picks the first token from the existing logits, so the caller gets it before the device starts.
 *
 * The text of tokens may have to wait (text/stream.h); then they are reported when their last byte is released. */
#include "session/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/structs.h"
#include "network/state_file.h"
#include "text/utf8.h"

rwkvk_status read_sampling(const rwkvk_sampling *given, rwkvk_sampling *own)
{
	return READ_OPTIONS(rwkvk_sampling, bias_count, given, own);
}

rwkvk_status read_generate_options(const rwkvk_generate_options *given, rwkvk_generate_options *own)
{
	return READ_OPTIONS(rwkvk_generate_options, mask, given, own);
}

bool text_ended(const struct text *g)
{
	return g->done.reason != RWKVK_END_FAILED;
}

static void end(struct text *g, rwkvk_end reason, size_t stop)
{
	g->done.reason = reason;
	g->done.stop = (uint32_t)stop;
}

static bool cancelled(const struct text *g)
{
	return rwkvk_cancel_is_set(g->options.cancel);
}

static rwkvk_status cancel(struct text *g)
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

static void report_token(struct text *g, const struct trail_token *t)
{
	size_t bytes;
	const void *text = text_of(g->session, t->id, &bytes);
	const rwkvk_token token = { .size = sizeof token,
		                        .id = t->id,
		                        .byte_count = (uint32_t)bytes,
		                        .bytes = text,
		                        .log_probability = t->log_probability,
		                        .top_count = t->top_count,
		                        .tops = t->top_count ? t->tops : NULL };
	if (g->options.on_token && !g->options.on_token(g->options.user, &token))
		g->refused = g->silent = true;
}

/* Reports the tokens that the released text completes. */
static void report_tokens(struct text *g)
{
	struct trail *t = &g->trail;
	while (!g->silent && t->reported < t->count && t->tokens[t->reported].end <= g->released) {
		g->reported = t->tokens[t->reported].end;
		report_token(g, &t->tokens[t->reported++]);
	}
}

/* How many of the bytes to show: up to the first token that also ends a character, so that the caller can end the text with
 * that token; all if there is none. */
static size_t next_piece(const struct text *g, const uint8_t *text, size_t count)
{
	const struct trail *t = &g->trail;
	for (size_t i = t->reported; i < t->count && t->tokens[i].end - g->released <= count; i++) {
		size_t bytes = (size_t)(t->tokens[i].end - g->released);
		if (bytes > 0 && (!g->stream.characters || utf8_complete(text, bytes) == bytes))
			return bytes;
	}
	return count;
}

/* Reports the stream's ready bytes, and the tokens that they complete, until the caller ends the text. */
static void release(struct text *g)
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

/* Handles a known token; the text may end with it.  Its log-probabilities are in *t. */
static rwkvk_status take(struct text *g, struct trail_token *t)
{
	size_t bytes;
	const void *text = text_of(g->session, t->id, &bytes);
	if (g->holds && !stream_push(&g->stream, text, bytes))
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	g->written += bytes;
	g->tokens++;
	g->session->position++;
	t->end = g->written;
	trail_add(&g->trail, t);
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

/* Releases held bytes when the text ends for a reason other than a stop text. */
static void release_rest(struct text *g)
{
	if (!g->holds || g->done.reason == RWKVK_END_STOP_TEXT || g->refused)
		return;
	stream_end(&g->stream);
	release(g);
}

/* ------------------------------------------------------------------------------------------------------ the text's state */

static rwkvk_status read_text(struct text *g, const void *text, size_t bytes, uint32_t *ids)
{
	const rwkvk_tokenizer *tokenizer = model_file(g->session->model)->tokenizer;
	size_t count;
	TRY(rwkvk_tokenizer_encode(tokenizer, text, bytes, ids, 3 * bytes, &count));
	for (size_t i = 0; i < count && !g->silent; i++) {
		const struct trail_token part = { .id = ids[i], .log_probability = NAN };
		TRY(trail_feed(&g->trail, ids[i]));
		report_token(g, &part);
	}
	return RWKVK_OK;
}

/* Reads and reports the first bytes of a token. */
static rwkvk_status read_part(struct text *g, uint32_t id, size_t part)
{
	size_t bytes;
	const void *text = text_of(g->session, id, &bytes);
	INVARIANT(part < bytes);
	uint32_t *ids = malloc(3 * part * sizeof *ids); /* as many as rwkvk_tokenizer_encode() may give */
	rwkvk_status status = ids ? read_text(g, text, part, ids) : fail(RWKVK_ERROR_MEMORY, "out of memory");
	free(ids);
	return status;
}

/* Sets the state to that of the text: the reported tokens, then the written part of the token that the end cuts. */
static rwkvk_status settle(struct text *g)
{
	struct trail *t = &g->trail;
	if (!g->session->ready)
		return RWKVK_OK; /* the device has failed, and its state is unknown */
	bool cut = !g->silent && t->reported < t->count && g->released > g->reported;
	uint32_t id = cut ? t->tokens[t->reported].id : 0;
	TRY(trail_back(t));
	return cut ? read_part(g, id, (size_t)(g->released - g->reported)) : RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ by the host */

static bool wants_chances(const struct text *g)
{
	return g->options.log_probabilities || g->options.top_log_probabilities > 0;
}

/* Whether the host picks: every token, if the device picks for one session and cannot do masks or log-probabilities; otherwise
 * the first, unless the device has the counts, which would miss this token. */
static bool host_picks(const struct text *g)
{
	const bool penalties = g->sampling.presence != 0 || g->sampling.frequency != 0;
	if (model_max_batch(g->session->model))
		return false;
	return g->options.mask || wants_chances(g) ||
	       (g->tokens == 0 && !g->prepared && !(penalties && g->session->counts_on_device));
}

/* Its index in the list of stop tokens; stop_count if it is not in it. */
static size_t find_stop(const struct picking *picking, uint32_t token)
{
	size_t i = 0;
	while (i < picking->stop_count && picking->stops[i] != token)
		i++;
	return i;
}

/* The caller's mask; false when the caller ends the text. */
static bool ask_mask(struct text *g)
{
	const size_t words = V4((size_t)model_config(g->session->model)->vocab) / 32;
	memset(g->mask, 0, words * sizeof *g->mask);
	if (g->options.mask(g->mask_user, g->mask, words))
		return true;
	end(g, RWKVK_END_CALLER, 0);
	return false;
}

/* The logits, with -infinity for tokens that are not allowed. */
static rwkvk_status mask_logits(struct text *g, const float *logits)
{
	bool any = false;
	for (uint32_t i = 0; i < g->session->seen.vocab; i++) {
		bool allowed = g->mask[i / 32] >> i % 32 & 1;
		any |= allowed;
		g->masked[i] = allowed || !(logits[i] < INFINITY) ? logits[i] : -INFINITY;
	}
	return any ? RWKVK_OK : fail(RWKVK_ERROR_ARGUMENT, "the mask of allowed tokens leaves none that could be picked");
}

/* With the model's lock held. */
static rwkvk_status pick_from_logits(struct text *g, struct trail_token *t)
{
	rwkvk_session *s = g->session;
	const float *logits = slot_logits(s->model, s->slot);
	if (g->mask) {
		TRY(mask_logits(g, logits));
		logits = g->masked;
	}
	if (wants_chances(g)) {
		t->top_count = g->options.top_log_probabilities;
		TRY(sampler_chances(&g->sampling, &s->seen, logits, t->tops, &t->top_count));
	}
	TRY(sampler_pick(&g->sampling, &s->seen, logits, s->position, &t->id));
	return wants_chances(g) ? sampler_chance_of(&g->sampling, &s->seen, logits, t->id, &t->log_probability) : RWKVK_OK;
}

/* *stopped: it ends the text. */
static rwkvk_status pick(struct text *g, struct trail_token *t, bool *stopped)
{
	rwkvk_session *s = g->session;
	TRY(model_lock(s->model));
	rwkvk_status status = pick_from_logits(g, t);
	model_unlock(s->model);
	TRY(status);
	g->done.close_draws += s->seen.is_close;
	size_t stop = find_stop(&g->asking.picking, t->id);
	*stopped = stop < g->asking.picking.stop_count;
	if (*stopped)
		end(g, RWKVK_END_STOP_TOKEN, stop);
	return RWKVK_OK;
}

/* Feeds the token. */
static rwkvk_status feed(struct text *g, uint32_t token)
{
	rwkvk_session *s = g->session;
	uint32_t fed = 0;
	s->ready = false; /* the caller may know the token: without it, the state is not that of the text */
	TRY(model_lock(s->model));
	rwkvk_status status = session_feed(s, &token, 1, true, &fed);
	model_unlock(s->model);
	g->trail.fed += fed;
	return status;
}

/* The first token, reported before the device starts. */
static rwkvk_status first_token(struct text *g)
{
	rwkvk_session *s = g->session;
	struct trail *t = &g->trail;
	struct trail_token token = { 0 };
	bool stopped;
	TRY(pick(g, &token, &stopped));
	if (stopped)
		return RWKVK_OK;
	trail_start(t);
	s->counts_on_device = false;
	TRY(take(g, &token));
	if (t->reported < t->count && text_ended(g))
		return RWKVK_OK; /* the text has not all of it */
	if (t->reported < t->count)
		TRY(trail_store(t));
	s->position--; /* feeding counts it */
	return feed(g, token.id);
}

/* ------------------------------------------------------------------------------------------------------ by the device */

/* Where the text can return to from the next submission.  While bytes are held back, that is not where the submission
 * begins. */
static rwkvk_status move_trail(struct text *g)
{
	struct trail *t = &g->trail;
	struct picking *p = &g->asking.picking;
	bool waits = t->reported < t->count;
	TRY(trail_reserve(t, MAX_TOKENS));
	if (!waits)
		TRY(trail_restart(t, g->holds));
	else if (t->reported >= TRAIL_FAR) {
		TRY(trail_shorten(t));
		p->bare = true;
	}
	p->snapshot = t->snapshot;
	p->keep = waits ? KEEP_NOT : g->holds ? KEEP_ALWAYS : KEEP_BEFORE_SEVERAL;
	return RWKVK_OK;
}

/* A token that the host picks. */
static rwkvk_status pick_by_host(struct text *g)
{
	rwkvk_session *s = g->session;
	struct trail_token token = { 0 };
	bool stopped;
	TRY(move_trail(g));
	if (g->options.mask && !ask_mask(g))
		return RWKVK_OK;
	TRY(pick(g, &token, &stopped));
	if (stopped)
		return RWKVK_OK;
	if (g->asking.picking.keep == KEEP_ALWAYS && g->trail.snapshot != NO_SNAPSHOT)
		TRY(trail_store(&g->trail));
	s->counts_on_device = false;
	TRY(feed(g, token.id));
	s->position--; /* taking the token counts it, too */
	return take(g, &token);
}

static rwkvk_status prepare(struct text *g)
{
	rwkvk_model *m = g->session->model;
	if (g->prepared)
		return RWKVK_OK;
	TRY(model_lock(m));
	rwkvk_status status = session_prepare(g->session, &g->sampling, &g->asking.picking.pick);
	model_unlock(m);
	TRY(status);
	g->prepared = true;
	if (model_max_batch(m))
		g->asking.picking.pick |= PICK_LOGPROB;
	if (g->options.mask)
		g->asking.picking.pick |= PICK_MASK;
	return RWKVK_OK;
}

rwkvk_status text_next(struct text *g, uint64_t most, struct work *work, bool *ask)
{
	rwkvk_session *s = g->session;
	*ask = false;
	if (cancelled(g))
		return cancel(g);
	if (g->tokens >= g->limit) {
		end(g, RWKVK_END_LENGTH, 0);
		return RWKVK_OK;
	}
	if (host_picks(g))
		return g->options.mask || wants_chances(g) ? pick_by_host(g) : first_token(g);
	TRY(prepare(g));
	TRY(move_trail(g));
	if (g->options.mask && !ask_mask(g))
		return RWKVK_OK;
	g->asking.picking.position = s->position;
	*work = (struct work){ .slot = s->slot, .picking = &g->asking, .picked = &g->picked, .most = g->limit - g->tokens };
	work->most = most && most < work->most ? most : work->most;
	*ask = true;
	return RWKVK_OK;
}

rwkvk_status text_submit(struct text *g, struct work *work)
{
	rwkvk_model *m = g->session->model;
	if (model_max_batch(m))
		return share_run(m, work);
	TRY(model_lock(m));
	rwkvk_status status = forward_pick(m, work->slot, &g->asking.picking, work->most, &g->picked);
	model_unlock(m);
	return status;
}

void text_failed(struct text *g, rwkvk_status status)
{
	if (status != RWKVK_ERROR_ARGUMENT) /* a mask that allows nothing harms nothing */
		g->session->ready = g->session->counts_on_device = false;
}

/* Reports the picked tokens, until one of them, the caller or a cancellation ends the text. */
static rwkvk_status take_all(struct text *g)
{
	const struct picked *p = &g->picked;
	for (uint32_t i = 0; i < p->count && !text_ended(g);) {
		struct trail_token token = { .id = p->tokens[i] };
		if (g->asking.picking.pick & PICK_LOGPROB) {
			token.log_probability = p->log_probabilities[i];
			while (token.top_count < g->asking.top && p->tops[i][token.top_count].token != NO_ROW) {
				token.tops[token.top_count] = p->tops[i][token.top_count];
				token.top_count++;
			}
		}
		TRY(take(g, &token));
		if (++i < p->count && !text_ended(g) && cancelled(g))
			return cancel(g);
	}
	return RWKVK_OK;
}

rwkvk_status text_take(struct text *g)
{
	const struct picked *p = &g->picked;
	g->trail.fed += p->count;
	g->asking.picking.bare = false;
	g->done.close_draws += p->close;
	rwkvk_status status = take_all(g);
	if (!(g->asking.picking.pick & PICK_PENALTY))
		g->session->counts_on_device = false;
	if (status == RWKVK_OK && !text_ended(g) && p->stopped)
		end(g, RWKVK_END_STOP_TOKEN, find_stop(&g->asking.picking, p->stop));
	return status;
}

/* ------------------------------------------------------------------------------------------------------ begin and end */

/* Stop tokens: the caller's list, or the model's own. */
static rwkvk_status choose_stops(struct text *g)
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
	g->asking.picking.stops = own ? &file->end_token : o->stop_tokens;
	g->asking.picking.stop_count = own ? 1 : o->stop_token_count;
	return RWKVK_OK;
}

static rwkvk_status choose_texts(struct text *g)
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

static rwkvk_status choose_chances(struct text *g)
{
	const rwkvk_generate_options *o = &g->options;
	const size_t vocab = model_config(g->session->model)->vocab;
	if (o->top_log_probabilities > MAX_TOP)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_generate_options.top_log_probabilities is %u: expected at most %d",
		            o->top_log_probabilities, MAX_TOP);
	g->asking.top = o->top_log_probabilities;
	if (!o->mask)
		return RWKVK_OK;
	g->mask = calloc(V4(vocab) / 32, sizeof *g->mask);
	g->masked = malloc(vocab * sizeof *g->masked);
	g->asking.mask = g->mask;
	return g->mask && g->masked ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "out of memory");
}

rwkvk_status text_begin(struct text *g, rwkvk_session *s, const rwkvk_generate_options *options)
{
	*g = (struct text){ .session = s, .options = *options, .mask_user = options->user, .begin = s->position };
	trail_init(&g->trail, s, 0);
	TRY(read_sampling(options->sampling, &g->sampling));
	g->trail.decay = g->sampling.decay;
	g->asking.picking = (struct picking){ .bare = true, .sampling = &g->sampling };
	if (g->sampling.bias_count <= MAX_BIASES) {
		g->asking.biases = g->sampling.biases;
		g->asking.bias_count = (uint32_t)g->sampling.bias_count;
	}
	uint64_t limit = options->max_tokens ? options->max_tokens : 1024, room = MOST_POSITION - s->position;
	g->limit = limit < room ? limit : room;
	if (!s->ready)
		return fail(RWKVK_ERROR_ARGUMENT, "there is nothing to continue: feed at least one token first");
	TRY(choose_stops(g));
	TRY(choose_texts(g));
	TRY(choose_chances(g));
	return trail_reserve(&g->trail, 1);
}

void text_cut(struct text *g, size_t last)
{
	g->trail.reported -= last;
	g->refused = g->silent = true;
	end(g, RWKVK_END_CALLER, 0);
}

rwkvk_status text_finish(struct text *g, rwkvk_status status)
{
	release_rest(g);
	if (status != RWKVK_OK)
		error_hold();
	rwkvk_status settled = settle(g);
	if (status != RWKVK_OK)
		error_release();
	g->done.tokens = g->session->position - g->begin;
	return status != RWKVK_OK ? status : settled;
}

void text_free(struct text *g)
{
	if (g->session)
		trail_finish(&g->trail);
	stream_free(&g->stream);
	free(g->mask);
	free(g->masked);
}
