/* Picking tokens and feeding them back: on the device, several to a submission.  The caller hears of each in turn, and when it
 * then wants no more, the state goes back to the token it has heard of last.  The first one the host picks, from logits that
 * are there: the caller has it before the device has begun. */
#include "session/session.h"
#include "text/tokenizer.h"

static rwkvk_status no_logits(void)
{
	return fail(RWKVK_ERROR_ARGUMENT, "there is nothing to continue: feed at least one token first");
}

rwkvk_status rwkvk_session_sample(rwkvk_session *s, const rwkvk_sampling *sampling, uint32_t *token)
{
	REQUIRE(s && sampling && token);
	if (!s->has_logits)
		return no_logits();
	pthread_mutex_lock(&s->model->lock);
	rwkvk_status status = sampler_pick(sampling, &s->seen, session_logits(s), s->position, token);
	pthread_mutex_unlock(&s->model->lock);
	if (status == RWKVK_OK) {
		session_count(s, *token, sampling->decay);
		s->counts_on_device = false;
	}
	return status;
}

/* ------------------------------------------------------------------------------------------------------ generating */

struct generation {
	rwkvk_session *session;
	const rwkvk_generate_options *options;
	struct picking picking;
	struct picked picked;
	rwkvk_generate_result done;
};

/* What ends a text: the caller's list, or token 0 unless it is a byte. */
static rwkvk_status choose_stops(struct generation *g)
{
	static const uint32_t end_of_text = 0;
	const rwkvk_generate_options *options = g->options;
	const rwkvk_tokenizer *tokenizer = g->session->model->file.tokenizer;
	bool no_end = !options->stop_tokens && tokenizer && !tokenizer_zero_ends(tokenizer);
	if (options->ignore_end || no_end)
		return RWKVK_OK;
	g->picking.stops = options->stop_tokens ? options->stop_tokens : &end_of_text;
	g->picking.stop_count = options->stop_tokens ? options->stop_token_count : 1;
	if (g->picking.stop_count > MAX_STOPS)
		return fail(RWKVK_ERROR_ARGUMENT, "there are %zu stop tokens; at most %d are possible", g->picking.stop_count,
		            MAX_STOPS);
	return RWKVK_OK;
}

static bool stops(const struct picking *picking, uint32_t token)
{
	for (size_t i = 0; i < picking->stop_count; i++)
		if (picking->stops[i] == token)
			return true;
	return false;
}

static bool report(struct generation *g, uint32_t token)
{
	size_t bytes = 0;
	const rwkvk_tokenizer *tokenizer = g->session->model->file.tokenizer;
	const void *text = tokenizer ? rwkvk_tokenizer_token(tokenizer, token, &bytes) : NULL;
	session_count(g->session, token, g->options->sampling.decay);
	g->session->position++;
	g->done.tokens++;
	return !g->options->on_token || g->options->on_token(g->options->user, token, text, bytes);
}

static rwkvk_status stopped_by_caller(const struct generation *g)
{
	return fail(RWKVK_CANCELLED, "stopped by the caller after %llu tokens", (unsigned long long)g->done.tokens);
}

/* Not where the device has the counts of what was generated: they would miss this token. */
static bool host_picks_first(const struct generation *g)
{
	const rwkvk_sampling *sampling = &g->options->sampling;
	return (sampling->presence == 0 && sampling->frequency == 0) || !g->session->counts_on_device;
}

static rwkvk_status first_token(struct generation *g)
{
	rwkvk_session *s = g->session;
	uint32_t token, fed;
	pthread_mutex_lock(&s->model->lock);
	rwkvk_status status = sampler_pick(&g->options->sampling, &s->seen, session_logits(s), s->position, &token);
	pthread_mutex_unlock(&s->model->lock);
	TRY(status);
	g->done.close_draws += s->seen.is_close;
	g->done.stopped = stops(&g->picking, token);
	if (g->done.stopped)
		return RWKVK_OK;
	bool more = report(g, token);
	s->counts_on_device = false;
	s->position--; /* feeding counts it */
	pthread_mutex_lock(&s->model->lock);
	status = session_feed(s, &token, 1, true, &fed);
	pthread_mutex_unlock(&s->model->lock);
	return status != RWKVK_OK || more ? status : stopped_by_caller(g);
}

/* One submission.  With the lock held.  The snapshot may be another session's, whose thread has yet to tell its caller of the
 * tokens after it: then this one does with a token at a time. */
static rwkvk_status pick_some(struct generation *g, uint64_t most)
{
	rwkvk_session *s = g->session;
	rwkvk_model *m = s->model;
	if (m->logits_of != s)
		g->picking.fresh = true;
	session_bring_logits(s);
	g->picking.keep = !m->snapshot_of || m->snapshot_of == s;
	g->picking.position = s->position;
	rwkvk_status status = forward_pick(m, s->slot, &g->picking, most, &g->picked);
	if (status != RWKVK_OK) {
		session_drop_logits(s);
		s->counts_on_device = false;
		return status;
	}
	g->picking.fresh = false;
	g->done.close_draws += g->picked.close;
	if (g->picked.kept)
		m->snapshot_of = s;
	return RWKVK_OK;
}

/* Tells the caller of the tokens picked; *told: of how many until it, or a cancellation, ended the text. */
static rwkvk_status report_all(struct generation *g, uint32_t *told)
{
	rwkvk_session *s = g->session;
	for (*told = 0; *told < g->picked.count;) {
		if (!report(g, g->picked.tokens[(*told)++]))
			return stopped_by_caller(g);
		if (*told < g->picked.count && session_cancelled(s))
			return fail(RWKVK_CANCELLED, "cancelled after %llu tokens", (unsigned long long)g->done.tokens);
	}
	return RWKVK_OK;
}

/* The tokens that the caller was not told of never happened. */
static rwkvk_status cut(struct generation *g, uint32_t told)
{
	rwkvk_session *s = g->session;
	s->position -= told;
	s->counts_on_device = false;
	return session_rewind(s, g->picked.tokens, told);
}

/* One submission, and the caller's part in it. */
static rwkvk_status step(struct generation *g, uint64_t most)
{
	rwkvk_session *s = g->session;
	uint32_t told;
	pthread_mutex_lock(&s->model->lock);
	rwkvk_status status = pick_some(g, most);
	pthread_mutex_unlock(&s->model->lock);
	TRY(status);
	status = report_all(g, &told);
	if (!(g->picking.pick & PICK_PENALTY))
		s->counts_on_device = false;
	pthread_mutex_lock(&s->model->lock);
	rwkvk_status cutting = told < g->picked.count ? cut(g, told) : RWKVK_OK;
	if (s->model->snapshot_of == s)
		s->model->snapshot_of = NULL;
	pthread_mutex_unlock(&s->model->lock);
	g->done.stopped = status == RWKVK_OK && g->picked.stopped;
	return cutting != RWKVK_OK ? cutting : status;
}

static rwkvk_status prepare(struct generation *g)
{
	pthread_mutex_lock(&g->session->model->lock);
	rwkvk_status status = session_prepare(g->session, &g->options->sampling, &g->picking.pick);
	pthread_mutex_unlock(&g->session->model->lock);
	return status;
}

static rwkvk_status generate(struct generation *g)
{
	rwkvk_session *s = g->session;
	uint64_t limit = g->options->max_tokens ? g->options->max_tokens : 1024;
	if (!s->has_logits)
		return no_logits();
	TRY(choose_stops(g));
	bool prepared = false;
	for (bool first = host_picks_first(g); g->done.tokens < limit && !g->done.stopped; first = false) {
		if (session_cancelled(s))
			return fail(RWKVK_CANCELLED, "cancelled after %llu tokens", (unsigned long long)g->done.tokens);
		if (!first && !prepared)
			TRY(prepare(g));
		prepared = !first;
		TRY(first ? first_token(g) : step(g, limit - g->done.tokens));
	}
	return RWKVK_OK;
}

rwkvk_status rwkvk_session_generate(rwkvk_session *s, const rwkvk_generate_options *options, rwkvk_generate_result *result)
{
	REQUIRE(s && options);
	struct generation g = { .session = s, .options = options, .picking = { .sampling = &options->sampling, .fresh = true } };
	rwkvk_status status = generate(&g);
	if (result)
		*result = g.done;
	return status;
}
