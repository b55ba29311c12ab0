#include "base/thread.h"

#include <process.h>
#include <windows.h>

_Static_assert(sizeof(SRWLOCK) == sizeof(struct mutex) && sizeof(CONDITION_VARIABLE) == sizeof(struct condition),
               "thread.h keeps these without windows.h");

static SRWLOCK *lock_of(struct mutex *mutex)
{
	return (SRWLOCK *)&mutex->system;
}

static CONDITION_VARIABLE *variable_of(struct condition *condition)
{
	return (CONDITION_VARIABLE *)&condition->system;
}

bool mutex_init(struct mutex *mutex)
{
	InitializeSRWLock(lock_of(mutex));
	return true;
}

void mutex_destroy(struct mutex *mutex)
{
	(void)mutex;
}

void mutex_lock(struct mutex *mutex)
{
	AcquireSRWLockExclusive(lock_of(mutex));
}

void mutex_unlock(struct mutex *mutex)
{
	ReleaseSRWLockExclusive(lock_of(mutex));
}

bool condition_init(struct condition *condition)
{
	InitializeConditionVariable(variable_of(condition));
	return true;
}

void condition_destroy(struct condition *condition)
{
	(void)condition;
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
	SleepConditionVariableSRW(variable_of(condition), lock_of(mutex), INFINITE, 0);
}

void condition_wait_for(struct condition *condition, struct mutex *mutex, uint64_t nanoseconds)
{
	uint64_t milliseconds = nanoseconds / 1000000 + 1;
	DWORD most = milliseconds < INFINITE ? (DWORD)milliseconds : INFINITE - 1;
	SleepConditionVariableSRW(variable_of(condition), lock_of(mutex), most, 0);
}

void condition_wake_one(struct condition *condition)
{
	WakeConditionVariable(variable_of(condition));
}

void condition_wake_all(struct condition *condition)
{
	WakeAllConditionVariable(variable_of(condition));
}

static unsigned __stdcall begin(void *user)
{
	const struct thread *thread = user;
	thread->work(thread->user);
	return 0;
}

bool thread_start(struct thread *thread, void (*work)(void *user), void *user)
{
	thread->work = work;
	thread->user = user;
	thread->system = _beginthreadex(NULL, 0, begin, thread, 0, NULL); /* Windows has no signals to block */
	return thread->system != 0;
}

void thread_join(struct thread *thread)
{
	WaitForSingleObject((HANDLE)thread->system, INFINITE);
	CloseHandle((HANDLE)thread->system);
}
