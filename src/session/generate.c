/* Picking a token, and a text from its beginning to its end (text.h). */
#include "session/text.h"

#include <stdlib.h>

#include "base/structs.h"

static rwkvk_status sample(rwkvk_session *s, const rwkvk_sampling *sampling, uint32_t *token)
{
	if (!s->ready)
		return fail(RWKVK_ERROR_ARGUMENT, "there is nothing to continue: feed at least one token first");
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

static rwkvk_status write_text(struct text *t)
{
	while (!text_ended(t)) {
		struct work work;
		bool ask;
		TRY(text_next(t, 0, &work, &ask));
		if (!ask)
			continue;
		rwkvk_status status = text_submit(t, &work);
		if (status != RWKVK_OK)
			text_failed(t, status);
		TRY(status);
		TRY(text_take(t));
	}
	return RWKVK_OK;
}

static rwkvk_status write_and_finish(struct text *t, rwkvk_session *s, const rwkvk_generate_options *options)
{
	TRY(text_begin(t, s, options));
	share_begin(s->model);
	rwkvk_status status = write_text(t);
	share_end(s->model);
	return text_finish(t, status);
}

/* A text is large, so the session keeps it for reuse, instead of the stack. */
static rwkvk_status generate(rwkvk_session *s, const rwkvk_generate_options *options, rwkvk_generate_result *done)
{
	if (!s->text)
		s->text = calloc(1, sizeof *s->text);
	if (!s->text)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = write_and_finish(s->text, s, options);
	*done = s->text->done;
	text_free(s->text);
	return status;
}

rwkvk_status rwkvk_session_generate(rwkvk_session *s, const rwkvk_generate_options *given, rwkvk_generate_result *result)
{
	rwkvk_generate_result done = { 0 };
	rwkvk_generate_options options;
	REQUIRE(s);
	if (result)
		TRY(WRITE_RESULT(rwkvk_generate_result, close_draws, &done, result));
	TRY(read_generate_options(given, &options));
	TRY(session_enter(s, __func__));
	rwkvk_status status = session_blame(s, generate(s, &options, &done));
	session_leave(s);
	if (result)
		(void)WRITE_RESULT(rwkvk_generate_result, close_draws, &done, result);
	return status;
}
