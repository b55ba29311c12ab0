/* Workers sleep until there is work.  Then each takes the next free piece until none is left. */
#include "base/parallel.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/system.h"
#include "base/thread.h"

enum { MOST_WORKERS = 64 };

struct worker {
	struct parallel *parallel;
	struct thread thread;
	unsigned number;
};

struct parallel {
	struct mutex lock; /* guards `round`, `busy` and `ends` */
	struct condition begin, end;
	uint64_t round; /* how many rounds of work there have been */
	unsigned busy;  /* threads that have not finished this round */
	bool ends;
	parallel_work *work;
	void *user;
	uint64_t count;
	_Atomic uint64_t next; /* the first piece not yet taken */
	unsigned threads;
	struct worker workers[MOST_WORKERS]; /* 0 is the caller */
};

static void take_pieces(struct parallel *p, unsigned worker)
{
	for (uint64_t i = atomic_fetch_add(&p->next, 1); i < p->count; i = atomic_fetch_add(&p->next, 1))
		p->work(p->user, worker, i);
}

static void work_rounds(void *user)
{
	struct worker *worker = user;
	struct parallel *p = worker->parallel;
	uint64_t round = 0;
	mutex_lock(&p->lock);
	for (;;) {
		while (p->round == round && !p->ends)
			condition_wait(&p->begin, &p->lock);
		if (p->ends)
			break;
		round = p->round;
		mutex_unlock(&p->lock);
		take_pieces(p, worker->number);
		mutex_lock(&p->lock);
		if (--p->busy == 0)
			condition_wake_one(&p->end);
	}
	mutex_unlock(&p->lock);
}

void parallel_for(struct parallel *p, uint64_t count, parallel_work *work, void *user)
{
	p->work = work;
	p->user = user;
	p->count = count;
	atomic_store(&p->next, 0);
	if (p->threads == 0 || count < 2) {
		take_pieces(p, 0);
		return;
	}
	mutex_lock(&p->lock);
	p->round++;
	p->busy = p->threads;
	condition_wake_all(&p->begin);
	mutex_unlock(&p->lock);
	take_pieces(p, 0);
	mutex_lock(&p->lock);
	while (p->busy)
		condition_wait(&p->end, &p->lock);
	mutex_unlock(&p->lock);
}

static bool create_locks(struct parallel *p)
{
	bool lock = mutex_init(&p->lock), begin = condition_init(&p->begin), end = condition_init(&p->end);
	if (lock && begin && end)
		return true;
	if (end)
		condition_destroy(&p->end);
	if (begin)
		condition_destroy(&p->begin);
	if (lock)
		mutex_destroy(&p->lock);
	return false;
}

rwkvk_status parallel_start(unsigned workers, struct parallel **out)
{
	*out = NULL;
	struct parallel *p = calloc(1, sizeof *p);
	if (!p)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	if (!create_locks(p)) {
		free(p);
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	}
	workers = workers ? workers : system_processors();
	workers = workers < MOST_WORKERS ? workers : MOST_WORKERS;
	for (unsigned i = 1; i < workers; i++, p->threads++) {
		p->workers[i] = (struct worker){ .parallel = p, .number = i };
		if (!thread_start(&p->workers[i].thread, work_rounds, &p->workers[i]))
			break;
	}
	*out = p;
	return RWKVK_OK;
}

void parallel_stop(struct parallel *p)
{
	if (!p)
		return;
	mutex_lock(&p->lock);
	p->ends = true;
	condition_wake_all(&p->begin);
	mutex_unlock(&p->lock);
	for (unsigned i = 1; i <= p->threads; i++)
		thread_join(&p->workers[i].thread);
	condition_destroy(&p->end);
	condition_destroy(&p->begin);
	mutex_destroy(&p->lock);
	free(p);
}

unsigned parallel_workers(const struct parallel *p)
{
	return p->threads + 1;
}
