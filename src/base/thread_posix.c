#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

bool mutex_init(struct mutex *mutex)
{
	return pthread_mutex_init(&mutex->system, NULL) == 0;
}

void mutex_destroy(struct mutex *mutex)
{
	pthread_mutex_destroy(&mutex->system);
}

void mutex_lock(struct mutex *mutex)
{
	pthread_mutex_lock(&mutex->system);
}

void mutex_unlock(struct mutex *mutex)
{
	pthread_mutex_unlock(&mutex->system);
}

bool condition_init(struct condition *condition)
{
	return pthread_cond_init(&condition->system, NULL) == 0;
}

void condition_destroy(struct condition *condition)
{
	pthread_cond_destroy(&condition->system);
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
	pthread_cond_wait(&condition->system, &mutex->system);
}

void condition_wait_for(struct condition *condition, struct mutex *mutex, uint64_t nanoseconds)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	nanoseconds += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(nanoseconds / 1000000000);
	until.tv_nsec = (long)(nanoseconds % 1000000000);
	pthread_cond_timedwait(&condition->system, &mutex->system, &until);
}

void condition_wake_one(struct condition *condition)
{
	pthread_cond_signal(&condition->system);
}

void condition_wake_all(struct condition *condition)
{
	pthread_cond_broadcast(&condition->system);
}

static void *begin(void *user)
{
	const struct thread *thread = user;
	thread->work(thread->user);
	return NULL;
}

bool thread_start(struct thread *thread, void (*work)(void *user), void *user)
{
	sigset_t all, before;
	thread->work = work;
	thread->user = user;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* threads inherit the mask: signals go to the program's own threads */
	bool started = pthread_create(&thread->system, NULL, begin, thread) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return started;
}

void thread_join(struct thread *thread)
{
	pthread_join(thread->system, NULL);
}
