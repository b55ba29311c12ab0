#pragma once

typedef struct {
	unsigned long bits[1];
} sigset_t;

#define SIG_SETMASK 2

int sigfillset(sigset_t *set);
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before);
