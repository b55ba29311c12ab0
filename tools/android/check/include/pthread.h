#pragma once

#include <signal.h>
#include <stdint.h>
#include <time.h>

typedef long pthread_t;
typedef struct {
	int32_t words[14];
} pthread_attr_t;
typedef struct {
	int32_t words[10];
} pthread_mutex_t;
typedef struct {
	int32_t words[12];
} pthread_cond_t;
typedef long pthread_mutexattr_t, pthread_condattr_t;

#define PTHREAD_MUTEX_INITIALIZER                                                                                              \
	{                                                                                                                          \
		{                                                                                                                      \
			0                                                                                                                  \
		}                                                                                                                      \
	}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *user);
int pthread_join(pthread_t thread, void **result);
int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes);
int pthread_cond_destroy(pthread_cond_t *condition);
int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until);
int pthread_cond_signal(pthread_cond_t *condition);
int pthread_cond_broadcast(pthread_cond_t *condition);
