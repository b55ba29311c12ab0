/* Picking tokens and feeding them back.  The most probable token is picked on the device, everything else from the logits. */
#include "session/session.h"
#include "text/tokenizer.h"

static bool contains(const uint32_t *list, size_t count, uint32_t token)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == token)
			return true;
	return false;
}

static void count_token(rwkvk_session *s, uint32_t token, float decay)
{
	size_t bytes = 0;
	const rwkvk_tokenizer *tokenizer = s->model->file.tokenizer;
	const void *text = tokenizer ? rwkvk_tokenizer_token(tokenizer, token, &bytes) : NULL;
	occurrences_add(&s->seen, token, occurrences_weight(text, bytes), decay);
}

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
	if (status == RWKVK_OK)
		count_token(s, *token, sampling->decay);
	return status;
}

/* What ends a text: the caller's list, or token 0 unless it is a byte. */
struct stops {
	const uint32_t *tokens;
	size_t count;
};

static struct stops stops_of(const rwkvk_session *s, const rwkvk_generate_options *options)
{
	static const uint32_t end_of_text = 0;
	const rwkvk_tokenizer *tokenizer = s->model->file.tokenizer;
	bool no_end = !options->stop_tokens && tokenizer && !tokenizer_zero_ends(tokenizer);
	if (options->ignore_end || no_end)
		return (struct stops){ NULL, 0 };
	if (!options->stop_tokens)
		return (struct stops){ &end_of_text, 1 };
	return (struct stops){ options->stop_tokens, options->stop_token_count };
}

/* Picks the next token and, unless it ends the text, feeds it.  With the lock held. */
static rwkvk_status step(rwkvk_session *s, const rwkvk_sampling *sampling, struct stops stops, uint32_t *token, bool *stopped)
{
	if (sampler_is_argmax(sampling) && s->model->logits_of == s && stops.count <= MAX_STOPS) {
		rwkvk_status status = forward_argmax(s->model, s->slot, stops.tokens, stops.count, token, stopped);
		if (status != RWKVK_OK)
			s->has_logits = false;
		else
			s->position += !*stopped;
		return status;
	}
	TRY(sampler_pick(sampling, &s->seen, session_logits(s), s->position, token));
	*stopped = contains(stops.tokens, stops.count, *token);
	return *stopped ? RWKVK_OK : session_feed(s, *token, true);
}

static bool report(rwkvk_session *s, const rwkvk_generate_options *options, uint32_t token)
{
	size_t bytes = 0;
	const void *text = s->model->file.tokenizer ? rwkvk_tokenizer_token(s->model->file.tokenizer, token, &bytes) : NULL;
	return !options->on_token || options->on_token(options->user, token, text, bytes);
}

rwkvk_status rwkvk_session_generate(rwkvk_session *s, const rwkvk_generate_options *options, rwkvk_generate_result *result)
{
	REQUIRE(s && options);
	struct stops stops = stops_of(s, options);
	rwkvk_generate_result done = { 0 };
	uint64_t limit = options->max_tokens ? options->max_tokens : 1024;
	rwkvk_status status = s->has_logits ? RWKVK_OK : no_logits();
	while (status == RWKVK_OK && done.tokens < limit) {
		uint32_t token;
		if (session_cancelled(s)) {
			status = fail(RWKVK_CANCELLED, "cancelled after %llu tokens", (unsigned long long)done.tokens);
			break;
		}
		pthread_mutex_lock(&s->model->lock);
		status = step(s, &options->sampling, stops, &token, &done.stopped);
		pthread_mutex_unlock(&s->model->lock);
		if (status != RWKVK_OK || done.stopped)
			break;
		count_token(s, token, options->sampling.decay);
		done.tokens++;
		if (!report(s, options, token))
			status = fail(RWKVK_CANCELLED, "stopped by the caller after %llu tokens", (unsigned long long)done.tokens);
	}
	if (result)
		*result = done;
	return status;
}
