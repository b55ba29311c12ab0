/* How callers in several threads share one submission.  Each queues its work and waits.  A caller that finds no leader becomes
 * the leader: it takes all waiting works, runs them, and wakes the others.
 *
 * Texts that are being written queue their next work as soon as they have looked at the tokens of the last one.  So the leader
 * waits a moment for those who were in the last submission; otherwise two groups would form and take turns. */
#include "engine/plan.h"

#include <stdlib.h>

#include "base/clock.h"

struct waiting {
	struct work *work;
	bool done;
	struct waiting *next;
};

struct queue {
	struct mutex lock;
	struct condition change;
	struct waiting *first, **end;
	uint32_t count;   /* waiting */
	uint32_t callers; /* between share_begin() and share_end() */
	bool running;     /* there is a leader */
	uint64_t usual;   /* duration of a submission in nanoseconds */
};

rwkvk_status queue_create(struct queue **out)
{
	struct queue *q = calloc(1, sizeof *q);
	*out = NULL;
	if (q && !mutex_init(&q->lock)) {
		free(q);
		q = NULL;
	}
	if (q && !condition_init(&q->change)) {
		mutex_destroy(&q->lock);
		free(q);
		q = NULL;
	}
	if (!q)
		return fail(RWKVK_ERROR_MEMORY, "cannot make a queue");
	q->end = &q->first;
	*out = q;
	return RWKVK_OK;
}

void queue_destroy(struct queue *q)
{
	if (!q)
		return;
	condition_destroy(&q->change);
	mutex_destroy(&q->lock);
	free(q);
}

void share_begin(struct rwkvk_model *m)
{
	struct queue *q = m->batch.queue;
	if (!q)
		return;
	mutex_lock(&q->lock);
	q->callers++;
	mutex_unlock(&q->lock);
}

void share_end(struct rwkvk_model *m)
{
	struct queue *q = m->batch.queue;
	if (!q)
		return;
	mutex_lock(&q->lock);
	q->callers--;
	condition_wake_all(&q->change); /* no caller waits for this one any more */
	mutex_unlock(&q->lock);
}

/* With the lock held: until all callers have come, or a small part of a submission's time is over. */
static void gather(struct queue *q)
{
	const uint64_t patience = q->usual / 16, begin = clock_nanoseconds();
	for (uint64_t waited = 0; q->count < q->callers && waited < patience; waited = clock_nanoseconds() - begin)
		condition_wait_for(&q->change, &q->lock, patience - waited);
}

/* With the lock held: works with a result or an error leave the queue; the others stay, in order, ahead of new ones. */
static void settle(struct queue *q, uint32_t count)
{
	struct waiting **at = &q->first;
	for (; count > 0; count--) {
		struct waiting *w = *at;
		if (w->work->rows == 0 && w->work->status == RWKVK_OK) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		w->done = true;
		q->count--;
	}
	while (*at)
		at = &(*at)->next;
	q->end = at;
}

/* Runs the waiting works.  The lock is held, but released while they run. */
static void lead(struct rwkvk_model *m, struct queue *q)
{
	struct work *works[MAX_ROWS];
	uint32_t count = 0;
	q->running = true;
	gather(q);
	for (struct waiting *w = q->first; w && count < MAX_ROWS; w = w->next)
		works[count++] = w->work;
	mutex_unlock(&q->lock);
	rwkvk_status status = model_lock(m);
	uint64_t begin = clock_nanoseconds();
	if (status == RWKVK_OK) {
		batch_run(m, works, count);
		model_unlock(m);
	}
	for (uint32_t i = 0; status != RWKVK_OK && i < count; i++)
		work_blame(works[i], status);
	uint64_t took = clock_nanoseconds() - begin;
	mutex_lock(&q->lock);
	q->usual = q->usual ? (3 * q->usual + took) / 4 : took;
	settle(q, count);
	q->running = false;
	condition_wake_all(&q->change);
}

rwkvk_status share_run(struct rwkvk_model *m, struct work *work)
{
	struct queue *q = m->batch.queue;
	struct waiting own = { .work = work };
	mutex_lock(&q->lock);
	*q->end = &own;
	q->end = &own.next;
	q->count++;
	condition_wake_all(&q->change);
	while (!own.done) {
		if (q->running)
			condition_wait(&q->change, &q->lock);
		else
			lead(m, q);
	}
	mutex_unlock(&q->lock);
	return work->status == RWKVK_OK ? RWKVK_OK : fail(work->status, "%s", work->error);
}
