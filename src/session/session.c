/* Sessions: create, feed, forget.  state.c has their states as bytes and copies, generate.c picks tokens. */
#include "session/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cancel.h"
#include "base/structs.h"
#include "network/state_file.h"

/* No token seen. */
rwkvk_status session_clear(rwkvk_session *s)
{
	s->ready = false;
	return slot_start(s->model, s->slot);
}

/* ------------------------------------------------------------------------------------------------------ tokens, picking */

static void has_fed(rwkvk_session *s, size_t count, bool head, uint32_t fed)
{
	s->ready = head && fed == count;
	s->position += fed;
}

void session_has_fed(rwkvk_session *s, size_t count, uint32_t fed)
{
	has_fed(s, count, true, fed);
}

rwkvk_status session_feed(rwkvk_session *s, const uint32_t *tokens, size_t count, bool head, uint32_t *fed)
{
	s->ready = false;
	TRY(model_max_batch(s->model) ? batch_feed(s->model, s->slot, tokens, count, fed)
	                              : forward_feed(s->model, s->slot, tokens, count, head, fed));
	has_fed(s, count, head, *fed);
	return RWKVK_OK;
}

/* each: receives the logits of all tokens fed; NULL: not wanted. */
static rwkvk_status feed_chunk(rwkvk_session *s, const uint32_t *tokens, size_t count, const rwkvk_cancel *cancel, float *each,
                               uint32_t *fed)
{
	s->ready = false;
	TRY(chunk_feed(s->model, s->slot, tokens, count, true, each, cancel ? &cancel->set : NULL, fed));
	has_fed(s, count, true, *fed);
	return RWKVK_OK;
}

static float token_weight(const rwkvk_model *m, uint32_t token)
{
	const rwkvk_tokenizer *tokenizer = model_file(m)->tokenizer;
	size_t bytes = 0;
	const void *text = tokenizer ? rwkvk_tokenizer_token(tokenizer, token, &bytes) : NULL;
	return occurrences_weight(text, bytes);
}

void session_count(rwkvk_session *s, uint32_t token, float decay)
{
	occurrences_add(&s->seen, token, token_weight(s->model, token), decay);
}

/* Once per model: which tokens are not counted. */
static rwkvk_status write_light(rwkvk_model *m)
{
	uint32_t vocab = model_config(m)->vocab;
	if (model_has_light(m))
		return RWKVK_OK;
	uint32_t *light = calloc(V4(vocab) / 32, sizeof *light);
	if (!light)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < vocab; i++)
		if (token_weight(m, i) == 0)
			light[i / 32] |= 1u << i % 32;
	rwkvk_status status = model_write_light(m, light);
	free(light);
	return status;
}

static rwkvk_status write_counts(rwkvk_session *s)
{
	struct occurrences *seen = &s->seen;
	if (s->counts_on_device)
		return RWKVK_OK;
	for (uint32_t i = 0; i < seen->vocab; i++)
		seen->probability[i] = seen->present[i] ? seen->count[i] : -1;
	TRY(slot_write_counts(s->model, s->slot, seen->probability));
	s->counts_on_device = true;
	return RWKVK_OK;
}

static rwkvk_status write_biases(rwkvk_session *s, const rwkvk_sampling *sampling)
{
	size_t bytes = sampling->bias_count * sizeof *s->biases;
	if (s->bias_count == sampling->bias_count && memcmp(s->biases, sampling->biases, bytes) == 0)
		return RWKVK_OK;
	free(s->biases);
	s->bias_count = 0;
	s->biases = malloc(bytes);
	if (!s->biases)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	memset(s->seen.probability, 0, s->seen.vocab * sizeof(float));
	sampler_add_biases(sampling, s->seen.probability);
	TRY(slot_write_biases(s->model, s->slot, s->seen.probability));
	memcpy(s->biases, sampling->biases, bytes);
	s->bias_count = sampling->bias_count;
	return RWKVK_OK;
}

rwkvk_status session_prepare(rwkvk_session *s, const rwkvk_sampling *sampling, uint32_t *pick)
{
	*pick = PICK_ON;
	TRY(sampler_check(sampling, &s->seen));
	TRY(write_light(s->model));
	if (!sampler_is_greedy(sampling))
		*pick |= PICK_DRAW;
	if (sampling->presence != 0 || sampling->frequency != 0) {
		*pick |= PICK_PENALTY;
		TRY(write_counts(s));
	}
	if (sampling->bias_count > 0) {
		*pick |= PICK_BIAS;
		if (!model_max_batch(s->model) || sampling->bias_count > MAX_BIASES) /* fewer go with the row */
			TRY(write_biases(s, sampling));
	}
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ life */

/* Allows a session of a closed model, which may still be destroyed. */
static rwkvk_status enter_any(rwkvk_session *s, const char *call)
{
	bool used = atomic_exchange(&s->in_use, true);
	assert(!used);
	if (used)
		return fail(RWKVK_ERROR_ARGUMENT, "%s: the session is in use, by another thread or by the call that made this callback",
		            call);
	return RWKVK_OK;
}

rwkvk_status session_enter_step(rwkvk_session *s, const char *call)
{
	TRY(enter_any(s, call));
	rwkvk_status status = model_expect_open(s->model);
	if (status != RWKVK_OK)
		session_leave(s);
	return status;
}

rwkvk_status session_enter(rwkvk_session *s, const char *call)
{
	TRY(session_enter_step(s, call));
	if (!session_steps(s))
		return RWKVK_OK;
	session_leave(s);
	return fail(RWKVK_ERROR_ARGUMENT,
	            "%s: the session is writing a text in steps: continue, or end it with rwkvk_session_rewind()", call);
}

/* A token whose logit is -infinity is never picked. */
static bool logits_are_sound(const float *logits, uint32_t count)
{
	bool sound = true, some = false;
	for (uint32_t i = 0; i < count; i++) {
		sound &= logits[i] < INFINITY; /* NaN is not */
		some |= logits[i] > -INFINITY;
	}
	return sound && some;
}

rwkvk_status session_blame(rwkvk_session *s, rwkvk_status status)
{
	if (status != RWKVK_ERROR_DRIVER || model_lock(s->model) != RWKVK_OK)
		return status;
	bool sound = logits_are_sound(slot_logits(s->model, s->slot), model_config(s->model)->vocab);
	rwkvk_status file = sound ? RWKVK_OK : check_weights(model_file(s->model));
	model_unlock(s->model);
	return file == RWKVK_OK ? status : file;
}

void session_leave(rwkvk_session *s)
{
	atomic_store(&s->in_use, false);
}

static void free_session(rwkvk_session *s)
{
	occurrences_finish(&s->seen);
	free(s->text);
	free(s->biases);
	free(s);
}

rwkvk_status session_make(rwkvk_model *m, bool clear, rwkvk_session **out)
{
	*out = NULL;
	rwkvk_session *s = calloc(1, sizeof *s);
	if (!s)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	s->model = m;
	rwkvk_status status = occurrences_init(&s->seen, model_config(m)->vocab);
	if (status == RWKVK_OK)
		status = model_lock(m);
	if (status == RWKVK_OK) {
		status = model_take_slot(m, clear, &s->slot);
		model_unlock(m);
	}
	if (status == RWKVK_OK)
		*out = s;
	else
		free_session(s);
	return status;
}

rwkvk_status rwkvk_session_create(rwkvk_model *m, rwkvk_session **out)
{
	REQUIRE(m && out);
	return session_make(m, true, out);
}

void rwkvk_session_destroy(rwkvk_session *s)
{
	if (!s || enter_any(s, __func__) != RWKVK_OK)
		return;
	rwkvk_model *m = s->model;
	uint32_t slot = s->slot;
	session_stop_stepping(s);
	free_session(s);
	model_give_slot(m, slot);
}

static rwkvk_status reset(rwkvk_session *s)
{
	TRY(model_lock(s->model));
	rwkvk_status status = session_clear(s);
	model_unlock(s->model);
	s->position = 0;
	occurrences_clear(&s->seen);
	s->counts_on_device = false;
	return status;
}

rwkvk_status rwkvk_session_reset(rwkvk_session *s)
{
	REQUIRE(s);
	TRY(session_enter(s, __func__));
	rwkvk_status status = reset(s);
	session_leave(s);
	return status;
}

uint64_t rwkvk_session_position(const rwkvk_session *s)
{
	return s ? s->position : 0;
}

/* ------------------------------------------------------------------------------------------------------ feeding */

rwkvk_status session_check_tokens(const rwkvk_session *s, const uint32_t *tokens, size_t count)
{
	const uint32_t vocab = model_config(s->model)->vocab;
	for (size_t i = 0; i < count; i++)
		if (tokens[i] >= vocab)
			return fail(RWKVK_ERROR_ARGUMENT, "token %u at position %zu: expected an id below the model's vocabulary of %u",
			            tokens[i], i, vocab);
	if (count > MOST_POSITION - s->position)
		return fail(RWKVK_ERROR_ARGUMENT, "%zu tokens at position %llu: expected to end at 2^63 at most", count,
		            (unsigned long long)s->position);
	return RWKVK_OK;
}

/* Those after the token before `position`. */
static rwkvk_status check_logits(const rwkvk_session *s, const float *logits, uint64_t position)
{
	if (logits_are_sound(logits, model_config(s->model)->vocab))
		return RWKVK_OK;
	TRY(model_lock(s->model));
	rwkvk_status file = check_weights(model_file(s->model));
	model_unlock(s->model);
	TRY(file);
	return fail(RWKVK_ERROR_DRIVER, "the logits at position %llu are not numbers: the device has computed nonsense",
	            (unsigned long long)position);
}

/* With the model's lock held. */
static void copy_logits(const rwkvk_session *s, float *logits)
{
	memcpy(logits, slot_logits(s->model, s->slot), model_config(s->model)->vocab * sizeof *logits);
}

static rwkvk_status give_logits(rwkvk_session *s, float *logits)
{
	if (!s->ready)
		return fail(RWKVK_ERROR_ARGUMENT, "there are no logits yet: feed at least one token");
	TRY(model_lock(s->model));
	copy_logits(s, logits);
	model_unlock(s->model);
	return check_logits(s, logits, s->position);
}

/* Whether to continue after `done` of `count` tokens. */
static rwkvk_status go_on(const rwkvk_eval_options *options, size_t done, size_t count)
{
	if (rwkvk_cancel_is_set(options->cancel))
		return fail(RWKVK_CANCELLED, "cancelled after %zu of %zu tokens", done, count);
	if (done > 0 && options->progress && !options->progress(options->progress_user, done, count))
		return fail(RWKVK_CANCELLED, "stopped by the caller after %zu of %zu tokens", done, count);
	return RWKVK_OK;
}

/* The tokens to feed, and why. */
struct feeding {
	const rwkvk_eval_options *options;
	const uint32_t *tokens;
	size_t count;
	bool chunks; /* else token by token */
	float *each; /* [a chunk's tokens, or 1][V]; NULL: not all logits are wanted */
};

/* In chunks, in submissions of several tokens, or where all logits are wanted in such of one. */
static rwkvk_status feed_some(rwkvk_session *s, const struct feeding *f, size_t done, uint32_t *fed)
{
	const uint32_t *tokens = f->tokens + done;
	if (f->chunks)
		return feed_chunk(s, tokens, f->count - done, f->options->cancel, f->each, fed);
	TRY(session_feed(s, tokens, f->each ? 1 : f->count - done, true, fed));
	if (f->each)
		copy_logits(s, f->each);
	return RWKVK_OK;
}

/* Of the `fed` tokens after the first `done`, which have been fed. */
static rwkvk_status report_logits(const rwkvk_session *s, const struct feeding *f, size_t done, uint32_t fed)
{
	const rwkvk_eval_options *options = f->options;
	for (uint32_t i = 0; f->each && i < fed; i++) {
		const float *logits = f->each + (size_t)i * model_config(s->model)->vocab;
		TRY(check_logits(s, logits, s->position - fed + i + 1));
		if (!options->on_logits(options->logits_user, done + i, logits))
			return fail(RWKVK_CANCELLED, "stopped by the caller at token %zu of %zu", done + i + 1, f->count);
	}
	return RWKVK_OK;
}

/* The next tokens, combined with the works of other threads. */
static rwkvk_status share_feeding(rwkvk_session *s, const struct feeding *f, size_t done, uint32_t *fed)
{
	const rwkvk_cancel *cancel = f->options->cancel;
	struct work work = {
		.slot = s->slot, .tokens = f->tokens + done, .count = f->count - done, .cancel = cancel ? &cancel->set : NULL
	};
	s->ready = false;
	rwkvk_status status = share_run(s->model, &work);
	*fed = work.done;
	has_fed(s, work.count, true, work.done);
	return status;
}

static rwkvk_status feed_next(rwkvk_session *s, const struct feeding *f, size_t done, uint32_t *fed)
{
	if (model_max_batch(s->model) && !f->each)
		return share_feeding(s, f, done, fed);
	TRY(model_lock(s->model));
	rwkvk_status status = feed_some(s, f, done, fed);
	model_unlock(s->model);
	return status;
}

static rwkvk_status feed_all(rwkvk_session *s, const struct feeding *f)
{
	const rwkvk_eval_options *options = f->options;
	uint32_t fed;
	for (size_t done = 0; done < f->count; done += fed) {
		TRY(go_on(options, done, f->count));
		TRY(feed_next(s, f, done, &fed));
		TRY(report_logits(s, f, done, fed));
	}
	if (f->count > 0 && options->progress) /* all is done, whatever the callback returns */
		options->progress(options->progress_user, f->count, f->count);
	return RWKVK_OK;
}

static rwkvk_status eval(rwkvk_session *s, const uint32_t *tokens, size_t count, const rwkvk_eval_options *options)
{
	struct feeding f = { .options = options, .tokens = tokens, .count = count };
	f.chunks = forward_reads_chunks(s->model, count);
	TRY(session_check_tokens(s, tokens, count));
	if (options->on_logits) {
		size_t rows = f.chunks ? forward_chunk_rows(s->model) : 1;
		f.each = malloc(rows * model_config(s->model)->vocab * sizeof *f.each);
		if (!f.each)
			return fail(RWKVK_ERROR_MEMORY, "out of memory");
	}
	share_begin(s->model);
	rwkvk_status status = feed_all(s, &f);
	share_end(s->model);
	free(f.each);
	TRY(status);
	return options->logits ? give_logits(s, options->logits) : RWKVK_OK;
}

rwkvk_status rwkvk_session_eval(rwkvk_session *s, const uint32_t *tokens, size_t count, const rwkvk_eval_options *given)
{
	rwkvk_eval_options options;
	REQUIRE(s && (tokens || count == 0));
	TRY(READ_OPTIONS(rwkvk_eval_options, logits_user, given, &options));
	TRY(session_enter(s, __func__));
	rwkvk_status status = session_blame(s, eval(s, tokens, count, &options));
	session_leave(s);
	return status;
}
