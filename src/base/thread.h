/* Threads, mutexes and condition variables: thin wrappers around the system's own. */
#ifndef RWKVK_BASE_THREAD_H
#define RWKVK_BASE_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef _WIN32
typedef void *system_mutex;     /* SRWLOCK */
typedef void *system_condition; /* CONDITION_VARIABLE */
typedef uintptr_t system_thread;
#define SYSTEM_MUTEX_INITIALIZER NULL
#else
#include <pthread.h>
typedef pthread_mutex_t system_mutex;
typedef pthread_cond_t system_condition;
typedef pthread_t system_thread;
#define SYSTEM_MUTEX_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#endif

struct mutex {
	system_mutex system;
};

/* Initialises a static mutex, which needs neither mutex_init() nor mutex_destroy(). */
#define MUTEX_INITIALIZER                                                                                                      \
	{                                                                                                                          \
		SYSTEM_MUTEX_INITIALIZER                                                                                               \
	}

bool mutex_init(struct mutex *mutex); /* false when the system has none left */
void mutex_destroy(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

struct condition {
	system_condition system;
};

bool condition_init(struct condition *condition);
void condition_destroy(struct condition *condition);
/* With the mutex held; it is released while waiting.  Wake-ups may be spurious. */
void condition_wait(struct condition *condition, struct mutex *mutex);
/* The same with a timeout in nanoseconds. */
void condition_wait_for(struct condition *condition, struct mutex *mutex, uint64_t nanoseconds);
void condition_wake_one(struct condition *condition);
void condition_wake_all(struct condition *condition);

struct thread {
	system_thread system;
	void (*work)(void *user);
	void *user;
};

/* Starts a thread that runs `work` and takes no signals; false when the system can start no more.  *thread must not move until
 * thread_join(). */
bool thread_start(struct thread *thread, void (*work)(void *user), void *user);
void thread_join(struct thread *thread);

#endif
