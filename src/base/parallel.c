/* Workers sleep until there is work, then each takes the next piece that nobody has, until none is left. */
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_WORKERS = 64 };

struct worker {
	struct parallel *parallel;
	pthread_t thread;
	unsigned number;
};

struct parallel {
	pthread_mutex_t lock; /* around `round`, `busy` and `ends` */
	pthread_cond_t begin, end;
	uint64_t round; /* how often there has been work */
	unsigned busy;  /* threads that have not finished this round */
	bool ends;
	parallel_work *work;
	void *user;
	uint64_t count;
	_Atomic uint64_t next; /* the first piece that nobody has taken */
	unsigned threads;
	struct worker workers[MOST_WORKERS]; /* 0 is whoever calls */
};

static void take_pieces(struct parallel *p, unsigned worker)
{
	for (uint64_t i = atomic_fetch_add(&p->next, 1); i < p->count; i = atomic_fetch_add(&p->next, 1))
		p->work(p->user, worker, i);
}

static void *work_rounds(void *user)
{
	struct worker *worker = user;
	struct parallel *p = worker->parallel;
	uint64_t round = 0;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (p->round == round && !p->ends)
			pthread_cond_wait(&p->begin, &p->lock);
		if (p->ends)
			break;
		round = p->round;
		pthread_mutex_unlock(&p->lock);
		take_pieces(p, worker->number);
		pthread_mutex_lock(&p->lock);
		if (--p->busy == 0)
			pthread_cond_signal(&p->end);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
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
	pthread_mutex_lock(&p->lock);
	p->round++;
	p->busy = p->threads;
	pthread_cond_broadcast(&p->begin);
	pthread_mutex_unlock(&p->lock);
	take_pieces(p, 0);
	pthread_mutex_lock(&p->lock);
	while (p->busy)
		pthread_cond_wait(&p->end, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

unsigned parallel_processors(void)
{
#ifdef __linux__
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return (unsigned)CPU_COUNT(&set);
#endif
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned)online : 1;
}

rwkvk_status parallel_start(unsigned workers, struct parallel **out)
{
	*out = NULL;
	struct parallel *p = calloc(1, sizeof *p);
	if (!p)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->begin, NULL);
	pthread_cond_init(&p->end, NULL);
	workers = workers ? workers : parallel_processors();
	workers = workers < MOST_WORKERS ? workers : MOST_WORKERS;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* threads inherit it: signals are for the program's own */
	for (unsigned i = 1; i < workers; i++, p->threads++) {
		p->workers[i] = (struct worker){ .parallel = p, .number = i };
		if (pthread_create(&p->workers[i].thread, NULL, work_rounds, &p->workers[i]) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	*out = p;
	return RWKVK_OK;
}

void parallel_stop(struct parallel *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->ends = true;
	pthread_cond_broadcast(&p->begin);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 1; i <= p->threads; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->end);
	pthread_cond_destroy(&p->begin);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

unsigned parallel_workers(const struct parallel *p)
{
	return p->threads + 1;
}
