/* Which cut of the work is fastest for this model on this device: a few tunings are tried on whole tokens, one property after
 * the other, and the best is stored for the next time (src/engine/tuned.c).  Every tuning computes the same sums, in another
 * order, so results agree within rounding, and are the same bits whenever the tuning is the same. */
#include "session/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/structs.h"

enum { WARM_UP = 2, MOST_SAMPLES = 31, LEAST_SAMPLES = 5 };
static const double SAMPLE_SECONDS = 1.0, SAMPLE_SHARE = 0.05, BUDGET_SECONDS = 35, WORTH_IT = 0.98;

struct search {
	struct rwkvk_model *m;
	uint32_t slot;
	rwkvk_tune_options options;
	rwkvk_tune_row rows[RWKVK_TUNE_ROWS];
	size_t count, best;
	double started, budget;
	double sample, longest; /* seconds of a measurement, and of a tuning with what the driver compiles for it */
};

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Median of the seconds that a token takes, the same tokens each time. */
static rwkvk_status measure(struct search *t, double *seconds)
{
	double samples[MOST_SAMPLES], begin = clock_seconds();
	uint32_t vocab = model_config(t->m)->vocab, count = 0;
	for (uint32_t i = 0; i < WARM_UP; i++) /* drivers compile at the first use */
		TRY(forward_token(t->m, t->slot, i % vocab, true));
	for (begin = clock_seconds(); count < MOST_SAMPLES && (count < LEAST_SAMPLES || clock_seconds() - begin < t->sample);
	     count++) {
		double start = clock_seconds();
		TRY(forward_token(t->m, t->slot, (1 + 37 * count) % vocab, true));
		samples[count] = clock_seconds() - start;
	}
	qsort(samples, count, sizeof *samples, by_size);
	*seconds = samples[count / 2];
	return RWKVK_OK;
}

static struct tuning tuning_of(const rwkvk_tune_row *row)
{
	return (struct tuning){ .workgroup = row->workgroup, .lanes = row->lanes, .rows = row->rows, .groups = row->groups };
}

/* A tuning that the driver cannot have, though it should, is not tried; the first, which is the usual one, must do. */
static rwkvk_status refused(const struct search *t, const rwkvk_tune_row *row, rwkvk_status status)
{
	if (t->count == 0 || status == RWKVK_CANCELLED || status == RWKVK_ERROR_DEVICE_LOST)
		return status;
	report(model_listener(t->m), RWKVK_LOG_NOTE, "workgroup %u, lanes %u, rows %u, groups %u: not tried: %s", row->workgroup,
	       row->lanes, row->rows, row->groups, rwkvk_last_error());
	return RWKVK_OK;
}

/* Whether there is time for a further tuning, as slow as the slowest so far, and for the last measurements. */
static bool has_time(const struct search *t)
{
	return t->count == 0 || clock_seconds() - t->started + t->longest + 2 * t->sample <= t->budget;
}

/* Tries a tuning unless it was tried, the device cannot have it, or the time is over. */
static rwkvk_status try_tuning(struct search *t, const rwkvk_tune_row *wanted)
{
	struct rwkvk_model *m = t->m;
	struct tuning tuning = tuning_of(wanted);
	if (!model_complete_tuning(m, &tuning) || t->count == RWKVK_TUNE_ROWS || !has_time(t))
		return RWKVK_OK;
	for (size_t i = 0; i < t->count; i++) {
		struct tuning tried = tuning_of(&t->rows[i]);
		if (tried.workgroup == tuning.workgroup && tried.lanes == tuning.lanes && tried.rows == tuning.rows &&
		    tried.groups == tuning.groups)
			return RWKVK_OK;
	}
	rwkvk_tune_row *row = &t->rows[t->count];
	*row =
		(rwkvk_tune_row){ .workgroup = tuning.workgroup, .lanes = tuning.lanes, .rows = tuning.rows, .groups = tuning.groups };
	double begin = clock_seconds();
	rwkvk_status status = forward_plan(m, &tuning);
	if (status != RWKVK_OK)
		return refused(t, row, status);
	TRY(measure(t, &row->seconds));
	t->longest = clock_seconds() - begin > t->longest ? clock_seconds() - begin : t->longest;
	if (t->count == 0 || row->seconds < WORTH_IT * t->rows[t->best].seconds)
		t->best = t->count;
	t->count++;
	if (t->options.progress && !t->options.progress(t->options.progress_user, t->count, RWKVK_TUNE_ROWS))
		return fail(RWKVK_CANCELLED, "stopped by the caller after %zu tunings", t->count);
	return RWKVK_OK;
}

/* One property after the other, from the best so far: half and twice of it. */
static rwkvk_status try_all(struct search *t)
{
	const struct tuning usual = model_usual_tuning(t->m);
	TRY(try_tuning(t, &(rwkvk_tune_row){
						  .workgroup = usual.workgroup, .lanes = usual.lanes, .rows = usual.rows, .groups = usual.groups }));
	for (int property = 0; property < 4; property++)
		for (int twice = 0; twice < 2; twice++) {
			size_t best;
			do { /* on in this direction while it helps */
				best = t->best;
				rwkvk_tune_row row = t->rows[best];
				uint32_t *value = (uint32_t *[]){ &row.rows, &row.workgroup, &row.groups, &row.lanes }[property];
				*value = twice ? *value * 2 : *value / 2;
				TRY(try_tuning(t, &row));
			} while (t->best != best);
		}
	return RWKVK_OK;
}

/* Machines are busy with other things, too: the best must be better than the usual tuning once more. */
static rwkvk_status confirm(struct search *t)
{
	double seconds[2];
	for (int i = 0; i < 2; i++) {
		struct tuning tuning = tuning_of(&t->rows[i ? t->best : 0]);
		model_complete_tuning(t->m, &tuning);
		TRY(forward_plan(t->m, &tuning));
		TRY(measure(t, &seconds[i]));
	}
	if (seconds[1] > WORTH_IT * seconds[0])
		t->best = 0;
	return RWKVK_OK;
}

/* Whatever fails, the model's own plan, which is kept beside those that are tried, runs it again. */
static rwkvk_status tune(struct search *t)
{
	struct rwkvk_model *m = t->m;
	forward_set_aside(m);
	t->started = clock_seconds();
	t->budget = t->options.seconds > 0 ? t->options.seconds : BUDGET_SECONDS;
	t->sample = t->budget * SAMPLE_SHARE < SAMPLE_SECONDS ? t->budget * SAMPLE_SHARE : SAMPLE_SECONDS;
	rwkvk_status status = try_all(t);
	if (status == RWKVK_OK && t->best != 0)
		status = confirm(t);
	forward_put_back(m);
	TRY(status);
	struct tuning best = tuning_of(&t->rows[t->best]);
	model_complete_tuning(m, &best);
	TRY(forward_plan(m, &best));
	t->rows[t->best].chosen = true;
	return tuned_save(m);
}

rwkvk_status rwkvk_model_tune(rwkvk_model *m, const rwkvk_tune_options *options, rwkvk_tune_row *rows, size_t capacity,
                              size_t *count)
{
	REQUIRE(m && (rows || capacity == 0) && count);
	*count = 0;
	struct search t = { .m = m };
	TRY(READ_OPTIONS(rwkvk_tune_options, progress_user, options, &t.options));
	if (!(t.options.seconds >= 0))
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_tune_options.seconds is %g: expected 0 or more", t.options.seconds);
	rwkvk_session *session = NULL;
	TRY(rwkvk_session_create(m, &session)); /* its state is what tokens are fed to */
	t.slot = session->slot;
	rwkvk_status status = model_lock(m);
	if (status == RWKVK_OK) {
		status = tune(&t);
		model_unlock(m);
	}
	rwkvk_session_destroy(session);
	*count = t.count;
	rwkvk_status written = WRITE_RESULTS(rwkvk_tune_row, chosen, t.rows, t.count, rows, capacity);
	return status == RWKVK_OK ? written : status;
}
