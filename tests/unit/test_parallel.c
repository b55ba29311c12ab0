/* Every piece is done exactly once, by workers that do not interfere with each other, and no thread is left running. */
#include "support.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/parallel.h"

enum { MOST = 1000, WORKERS = 64 };

struct job {
	_Atomic unsigned done[MOST];
	_Atomic bool busy[WORKERS], clash, outside, signalled;
	_Atomic uint64_t used;
	unsigned workers;
	bool slow;
};

/* State that threads inherit; Windows has no signals. */
static bool signals_blocked(void)
{
#ifdef _WIN32
	return true;
#else
	sigset_t blocked;
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	return sigismember(&blocked, SIGINT);
#endif
}

static void piece(void *user, unsigned worker, uint64_t index)
{
	struct job *job = user;
	if (worker >= job->workers || index >= MOST) {
		job->outside = true;
		return;
	}
	if (atomic_exchange(&job->busy[worker], true))
		job->clash = true;
	if (worker > 0 && !signals_blocked())
		job->signalled = true;
	atomic_fetch_or(&job->used, UINT64_C(1) << worker);
	atomic_fetch_add(&job->done[index], 1);
	if (job->slow)
		usleep(1000);
	job->busy[worker] = false;
}

static void run(struct parallel *parallel, unsigned count, bool slow, uint64_t *used)
{
	static struct job job;
	memset(&job, 0, sizeof job);
	job.workers = parallel_workers(parallel);
	job.slow = slow;
	parallel_for(parallel, count, piece, &job);
	for (unsigned i = 0; i < MOST; i++)
		assert_int_equal(job.done[i], i < count);
	assert_false(job.clash || job.outside || job.signalled);
	*used = job.used;
}

/* Rounds follow each other closely, with more pieces than workers, fewer, one and none. */
static void test_each_once(void **state)
{
	(void)state;
	static const unsigned workers[] = { 1, 2, 3, 7, 64 };
	static const unsigned counts[] = { 0, 1, 2, 3, 8, 31, 33, MOST };
	uint64_t used;
	for (size_t w = 0; w < sizeof workers / sizeof *workers; w++) {
		struct parallel *parallel;
		assert_ok(parallel_start(workers[w], &parallel));
		assert_int_equal(parallel_workers(parallel), workers[w]);
		for (int round = 0; round < 50; round++)
			for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
				run(parallel, counts[c], false, &used);
		parallel_stop(parallel);
	}
}

/* If a piece takes a while, every thread gets a share. */
static void test_all_work(void **state)
{
	(void)state;
	struct parallel *parallel;
	uint64_t used;
	assert_ok(parallel_start(4, &parallel));
	run(parallel, MOST, true, &used);
	assert_int_equal(used, 15);
	parallel_stop(parallel);
}

static unsigned threads(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/task");
	for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static void test_limits(void **state)
{
	(void)state;
	struct parallel *parallel;
	bool before = signals_blocked();
	unsigned first = threads();
	uint64_t used;
	assert_ok(parallel_start(1000, &parallel));
	assert_int_equal(parallel_workers(parallel), WORKERS);
	run(parallel, 100, false, &used);
	parallel_stop(parallel);
	assert_ok(parallel_start(0, &parallel));
	assert_in_range(parallel_workers(parallel), 1, WORKERS);
	parallel_stop(parallel); /* without ever having worked */
	parallel_stop(NULL);
	for (int i = 0; i < 1000 && threads() != first; i++)
		usleep(1000); /* the system removes a thread from its list a moment after it was joined */
	assert_int_equal(threads(), first);
	assert_int_equal(signals_blocked(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_all_work),
		cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
