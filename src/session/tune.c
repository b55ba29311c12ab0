/* Finds the fastest division of work for this model on this device.  It tries a few ways, one property after the other: first
 * tunings on whole tokens, then tiles on whole chunks and, if many sessions share a pass, outputs of its steps.  The best of
 * each are stored for the next time (src/engine/tuned.c). Every tuning computes the same sums, in another order, so results
 * agree within rounding, and are the same bits whenever the tuning is the same.  Bits depend neither on tiles nor on the
 * outputs of steps. */
#include "session/session.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/structs.h"

enum { MOST_SAMPLES = 31, MOST_WAYS = 16, STEP_WAYS = 4, LONGEST_CHUNK = 256, STEP_ROWS = 8 };
static const double SAMPLE_SECONDS = 1.0, SAMPLE_SHARE = 0.05, BUDGET_SECONDS = 35, TOKENS_SHARE = 0.5, CHUNKS_SHARE = 0.7,
					WORTH_IT = 0.98;

struct search;

/* The things to try: tunings, tiles, outputs of steps.  A way is a row of the result. */
struct kind {
	rwkvk_tune_row (*usual)(const struct rwkvk_model *m);
	bool (*possible)(const struct rwkvk_model *m, const rwkvk_tune_row *row);
	rwkvk_status (*take)(struct rwkvk_model *m, const rwkvk_tune_row *row);
	rwkvk_status (*run)(struct search *t, uint32_t i); /* the i-th time */
	uint32_t (*tokens)(const struct rwkvk_model *m);   /* of a run */
	uint32_t warm_up, least_samples;                   /* runs of a measurement */
	size_t properties[4];                              /* numbers of a row, in the order in which they are tried */
};

struct search {
	struct rwkvk_model *m;
	const struct kind *kind;
	uint32_t slot;
	rwkvk_tune_options options;
	rwkvk_tune_row rows[MOST_WAYS];
	size_t count, best, before; /* before: ways of other kinds already tried */
	double started, budget;
	double sample, longest; /* seconds of a measurement, and of a way including its compilation */
};

/* ------------------------------------------------------------------------------------------------------ tunings */

static struct tuning tuning_of(const rwkvk_tune_row *row)
{
	return (struct tuning){ .workgroup = row->workgroup, .lanes = row->lanes, .rows = row->rows, .groups = row->groups };
}

static rwkvk_tune_row usual_tuning(const struct rwkvk_model *m)
{
	const struct tuning usual = model_usual_tuning(m);
	return (rwkvk_tune_row){ .workgroup = usual.workgroup, .lanes = usual.lanes, .rows = usual.rows, .groups = usual.groups };
}

static bool possible_tuning(const struct rwkvk_model *m, const rwkvk_tune_row *row)
{
	struct tuning tuning = tuning_of(row);
	return model_complete_tuning(m, &tuning);
}

static rwkvk_status take_tuning(struct rwkvk_model *m, const rwkvk_tune_row *row)
{
	struct tuning tuning = tuning_of(row);
	(void)model_complete_tuning(m, &tuning);
	return forward_plan(m, &tuning);
}

static rwkvk_status run_token(struct search *t, uint32_t i)
{
	return forward_token(t->m, t->slot, (1 + 37 * i) % model_config(t->m)->vocab, true);
}

static uint32_t one_token(const struct rwkvk_model *m)
{
	(void)m;
	return 1;
}

static const struct kind tunings = {
	.usual = usual_tuning,
	.possible = possible_tuning,
	.take = take_tuning,
	.run = run_token,
	.tokens = one_token,
	.warm_up = 2,
	.least_samples = 5,
	.properties = { offsetof(rwkvk_tune_row, rows), offsetof(rwkvk_tune_row, workgroup), offsetof(rwkvk_tune_row, groups),
	                offsetof(rwkvk_tune_row, lanes) },
};

/* ------------------------------------------------------------------------------------------------------ tiles */

static struct tile tile_of(const rwkvk_tune_row *row)
{
	return (struct tile){ row->workgroup, row->tile_outputs, row->tile_tokens, row->tile_depth };
}

static rwkvk_tune_row usual_tile(const struct rwkvk_model *m)
{
	const struct tile usual = chunk_usual_tile(m);
	return (rwkvk_tune_row){
		.workgroup = usual.workgroup, .tile_outputs = usual.outputs, .tile_tokens = usual.tokens, .tile_depth = usual.depth
	};
}

static bool possible_tile(const struct rwkvk_model *m, const rwkvk_tune_row *row)
{
	const struct tile tile = tile_of(row);
	return chunk_takes_tile(m, &tile);
}

static rwkvk_status take_tile(struct rwkvk_model *m, const rwkvk_tune_row *row)
{
	const struct tile tile = tile_of(row);
	chunk_set_tile(m, &tile);
	return chunk_prepare(m);
}

/* A chunk of the usual length, in as many submissions as the pace asks for. */
static rwkvk_status run_chunk(struct search *t, uint32_t i)
{
	uint32_t tokens[LONGEST_CHUNK], count = forward_chunk_rows(t->m), fed;
	INVARIANT(count <= LONGEST_CHUNK);
	for (uint32_t j = 0; j < count; j++)
		tokens[j] = (1 + 37 * (i + j)) % model_config(t->m)->vocab;
	for (uint32_t done = 0; done < count; done += fed)
		TRY(chunk_feed(t->m, t->slot, tokens + done, count - done, false, NULL, NULL, &fed));
	return RWKVK_OK;
}

static const struct kind tiles = {
	.usual = usual_tile,
	.possible = possible_tile,
	.take = take_tile,
	.run = run_chunk,
	.tokens = forward_chunk_rows,
	.warm_up = 1,
	.least_samples = 3,
	.properties = { offsetof(rwkvk_tune_row, tile_outputs), offsetof(rwkvk_tune_row, tile_tokens),
	                offsetof(rwkvk_tune_row, workgroup), offsetof(rwkvk_tune_row, tile_depth) },
};

/* ------------------------------------------------------------------------------------------------------ steps */

static rwkvk_tune_row usual_outputs(const struct rwkvk_model *m)
{
	return (rwkvk_tune_row){ .step_outputs = step_usual_outputs(m) };
}

static bool possible_outputs(const struct rwkvk_model *m, const rwkvk_tune_row *row)
{
	return step_takes_outputs(m, row->step_outputs);
}

static rwkvk_status take_outputs(struct rwkvk_model *m, const rwkvk_tune_row *row)
{
	step_set_outputs(m, row->step_outputs);
	return RWKVK_OK;
}

static uint32_t step_rows(const struct rwkvk_model *m)
{
	return model_max_batch(m) < STEP_ROWS ? model_max_batch(m) : STEP_ROWS;
}

/* A few rows, all of one session here: matrices do not care. */
static rwkvk_status run_step(struct search *t, uint32_t i)
{
	uint32_t tokens[STEP_ROWS], count = step_rows(t->m), fed;
	for (uint32_t j = 0; j < count; j++)
		tokens[j] = (1 + 37 * (i + j)) % model_config(t->m)->vocab;
	TRY(batch_feed(t->m, t->slot, tokens, count, &fed));
	INVARIANT(fed == count);
	return RWKVK_OK;
}

static const struct kind steps = {
	.usual = usual_outputs,
	.possible = possible_outputs,
	.take = take_outputs,
	.run = run_step,
	.tokens = step_rows,
	.warm_up = 2,
	.least_samples = 5,
	.properties = { offsetof(rwkvk_tune_row, step_outputs), offsetof(rwkvk_tune_row, step_outputs),
	                offsetof(rwkvk_tune_row, step_outputs), offsetof(rwkvk_tune_row, step_outputs) },
};

/* ------------------------------------------------------------------------------------------------------ the search */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Median time of a token in seconds, with the same tokens each time. */
static rwkvk_status measure(struct search *t, double *seconds)
{
	double samples[MOST_SAMPLES], begin;
	uint32_t count = 0;
	for (uint32_t i = 0; i < t->kind->warm_up; i++) /* drivers compile at the first use */
		TRY(t->kind->run(t, i));
	for (begin = clock_seconds();
	     count < MOST_SAMPLES && (count < t->kind->least_samples || clock_seconds() - begin < t->sample); count++) {
		double start = clock_seconds();
		TRY(t->kind->run(t, count));
		samples[count] = clock_seconds() - start;
	}
	qsort(samples, count, sizeof *samples, by_size);
	*seconds = samples[count / 2] / t->kind->tokens(t->m);
	return RWKVK_OK;
}

/* Skips a way that the driver fails on unexpectedly; the first, which is the usual one, must work. */
static rwkvk_status refused(const struct search *t, const rwkvk_tune_row *row, rwkvk_status status)
{
	if (t->count == 0 || status == RWKVK_CANCELLED || status == RWKVK_ERROR_DEVICE_LOST)
		return status;
	if (t->kind == &steps)
		report(model_listener(t->m), RWKVK_LOG_NOTE, "steps with %u outputs: not tried: %s", row->step_outputs,
		       rwkvk_last_error());
	else if (t->kind == &tiles)
		report(model_listener(t->m), RWKVK_LOG_NOTE, "workgroup %u, tile of %u outputs, %u tokens, %u inputs: not tried: %s",
		       row->workgroup, row->tile_outputs, row->tile_tokens, row->tile_depth, rwkvk_last_error());
	else
		report(model_listener(t->m), RWKVK_LOG_NOTE, "workgroup %u, lanes %u, rows %u, groups %u: not tried: %s",
		       row->workgroup, row->lanes, row->rows, row->groups, rwkvk_last_error());
	return RWKVK_OK;
}

/* Whether there is time for another way, as slow as the slowest so far, and for the final measurements. */
static bool has_time(const struct search *t)
{
	return t->count == 0 || clock_seconds() - t->started + t->longest + 2 * t->sample <= t->budget;
}

static bool was_tried(const struct search *t, const rwkvk_tune_row *row)
{
	for (size_t i = 0; i < t->count; i++) {
		bool same = true;
		for (size_t j = 0; j < 4; j++)
			same &= memcmp((const char *)row + t->kind->properties[j], (const char *)&t->rows[i] + t->kind->properties[j],
			               sizeof(uint32_t)) == 0;
		if (same)
			return true;
	}
	return false;
}

/* Tries a way unless it was tried, the device does not support it, or time is up. */
static rwkvk_status try_way(struct search *t, const rwkvk_tune_row *wanted)
{
	if (!t->kind->possible(t->m, wanted) || t->count == (t->kind == &steps ? STEP_WAYS : MOST_WAYS) || !has_time(t) ||
	    was_tried(t, wanted))
		return RWKVK_OK;
	rwkvk_tune_row *row = &t->rows[t->count];
	*row = *wanted;
	double begin = clock_seconds();
	rwkvk_status status = t->kind->take(t->m, row);
	if (status != RWKVK_OK)
		return refused(t, row, status);
	TRY(measure(t, &row->seconds));
	t->longest = clock_seconds() - begin > t->longest ? clock_seconds() - begin : t->longest;
	if (t->count == 0 || row->seconds < WORTH_IT * t->rows[t->best].seconds)
		t->best = t->count;
	t->count++;
	const size_t tried = t->before + t->count;
	if (t->options.progress && !t->options.progress(t->options.progress_user, tried, RWKVK_TUNE_ROWS))
		return fail(RWKVK_CANCELLED, "stopped by the caller after %zu tunings", tried);
	return RWKVK_OK;
}

/* One property after the other, from the best so far: half and twice of it. */
static rwkvk_status try_all(struct search *t)
{
	const rwkvk_tune_row usual = t->kind->usual(t->m);
	TRY(try_way(t, &usual));
	for (int property = 0; property < 4; property++)
		for (int twice = 0; twice < 2; twice++) {
			size_t best;
			do { /* on in this direction while it helps */
				best = t->best;
				rwkvk_tune_row row = t->rows[best];
				uint32_t *value = (uint32_t *)((char *)&row + t->kind->properties[property]);
				*value = twice ? *value * 2 : *value / 2;
				TRY(try_way(t, &row));
			} while (t->best != best);
		}
	return RWKVK_OK;
}

/* Other load disturbs measurements, so the best must beat the usual way once more. */
static rwkvk_status confirm(struct search *t)
{
	double seconds[2];
	for (int i = 0; i < 2; i++) {
		TRY(t->kind->take(t->m, &t->rows[i ? t->best : 0]));
		TRY(measure(t, &seconds[i]));
	}
	if (seconds[1] > WORTH_IT * seconds[0])
		t->best = 0;
	return RWKVK_OK;
}

static rwkvk_status search(struct search *t, double budget)
{
	t->started = clock_seconds();
	t->budget = budget;
	t->sample = budget * SAMPLE_SHARE < SAMPLE_SECONDS ? budget * SAMPLE_SHARE : SAMPLE_SECONDS;
	TRY(try_all(t));
	if (t->best != 0)
		TRY(confirm(t));
	return RWKVK_OK;
}

/* For tokens, then for chunks if the model reads any, then for steps if it has any that are not divided as chunks are. */
struct searches {
	struct search tokens, chunks, steps;
};

static rwkvk_status search_all(struct searches *s, bool reads, bool has_steps)
{
	const double budget = s->tokens.options.seconds > 0 ? s->tokens.options.seconds : BUDGET_SECONDS, begin = clock_seconds();
	TRY(search(&s->tokens, reads ? TOKENS_SHARE * budget : budget));
	s->chunks.before = s->tokens.count;
	double left = begin + budget - clock_seconds();
	if (reads)
		TRY(search(&s->chunks, has_steps ? CHUNKS_SHARE * left : left));
	s->steps.before = s->chunks.before + s->chunks.count;
	return has_steps ? search(&s->steps, begin + budget - clock_seconds()) : RWKVK_OK;
}

/* After any failure, the model's own plan, which is set aside during the search, is restored, and its chunks and steps are
 * divided as before. */
static rwkvk_status tune(struct searches *s)
{
	struct rwkvk_model *m = s->tokens.m;
	const bool reads = forward_chunk_rows(m) > 0, has_steps = step_usual_outputs(m) > 0;
	const struct tile tile = chunk_tile(m);
	const uint32_t outputs = step_outputs(m);
	forward_set_aside(m);
	rwkvk_status status = search_all(s, reads, has_steps);
	forward_put_back(m);
	if (status == RWKVK_OK && reads)
		status = take_tile(m, &s->chunks.rows[s->chunks.best]);
	if (status == RWKVK_OK && has_steps)
		status = take_outputs(m, &s->steps.rows[s->steps.best]);
	if (status == RWKVK_OK)
		status = take_tuning(m, &s->tokens.rows[s->tokens.best]);
	if (status != RWKVK_OK && has_steps)
		step_set_outputs(m, outputs);
	if (status != RWKVK_OK && reads)
		chunk_set_tile(m, &tile);
	TRY(status);
	s->tokens.rows[s->tokens.best].chosen = true;
	s->chunks.rows[s->chunks.best].chosen = reads;
	s->steps.rows[s->steps.best].chosen = has_steps;
	return tuned_save(m);
}

/* The ways of one kind, appended to the others. */
static size_t add_rows(const struct search *t, rwkvk_tune_row *all, size_t count)
{
	memcpy(all + count, t->rows, t->count * sizeof *all);
	return count + t->count;
}

rwkvk_status rwkvk_model_tune(rwkvk_model *m, const rwkvk_tune_options *options, rwkvk_tune_row *rows, size_t capacity,
                              size_t *count)
{
	REQUIRE(m && (rows || capacity == 0) && count);
	*count = 0;
	struct searches s = { { .m = m, .kind = &tunings }, { .m = m, .kind = &tiles }, { .m = m, .kind = &steps } };
	TRY(READ_OPTIONS(rwkvk_tune_options, progress_user, options, &s.tokens.options));
	if (!(s.tokens.options.seconds >= 0))
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_tune_options.seconds is %g: expected 0 or more", s.tokens.options.seconds);
	rwkvk_session *session = NULL;
	TRY(rwkvk_session_create(m, &session)); /* tokens are fed to its state */
	s.chunks.options = s.steps.options = s.tokens.options;
	s.tokens.slot = s.chunks.slot = s.steps.slot = session->slot;
	rwkvk_status status = model_lock(m);
	if (status == RWKVK_OK) {
		status = tune(&s);
		model_unlock(m);
	}
	rwkvk_session_destroy(session);
	rwkvk_tune_row all[2 * MOST_WAYS + STEP_WAYS];
	_Static_assert(sizeof all / sizeof *all == RWKVK_TUNE_ROWS, "room for all ways");
	*count = add_rows(&s.steps, all, add_rows(&s.chunks, all, add_rows(&s.tokens, all, 0)));
	rwkvk_status written = WRITE_RESULTS(rwkvk_tune_row, step_outputs, all, *count, rows, capacity);
	return status == RWKVK_OK ? written : status;
}
