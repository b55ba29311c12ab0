#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h> /* getentropy() */
#endif

void system_begin(void)
{
	signal(SIGXFSZ, SIG_IGN); /* a file larger than allowed is an error of write(), too */
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(), and a state may still have to be saved */
}

bool system_entropy(uint64_t *bits)
{
	return getentropy(bits, sizeof(*bits)) == 0;
}

bool system_is_terminal(FILE *stream)
{
	return isatty(fileno(stream));
}

size_t system_read_input(void *bytes, size_t count)
{
	return fread(bytes, 1, count, stdin);
}

static int wake[2] = { -1, -1 }; /* a pipe, into which the handler of Ctrl-C writes */

/* A signal may come after `interrupted` was asked and before poll() waits, and in any thread: only the pipe shows it then. */
size_t system_read_some(void *bytes, size_t count, bool (*interrupted)(void))
{
	struct pollfd waits[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = wake[0], .events = POLLIN } };
	while (!interrupted()) {
		char signals[64];
		int ready = poll(waits, 2, -1);
		if (ready > 0 && waits[1].revents && read(wake[0], signals, sizeof(signals)) > 0)
			continue;
		ssize_t done = ready > 0 ? read(STDIN_FILENO, bytes, count) : -1;
		if (done >= 0)
			return (size_t)done;
		if (errno != EINTR)
			return 0;
	}
	return 0;
}

int system_write_error(void)
{
	return errno;
}

bool system_output_is_closed(void)
{
	struct pollfd output = { .fd = STDOUT_FILENO };
	return poll(&output, 1, 0) == 1 && (output.revents & (POLLERR | POLLHUP));
}

bool system_is_special(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

const char *system_path_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* ---------------------------------------------------------------------------------------------------- private files, locks */

void system_keep_private(void)
{
	umask(0077);
}

struct system_lock {
	int file;
	char path[];
};

/* Whether the open file still has that name: the lock's previous holder may have removed it. */
static bool is_at(int file, const char *path)
{
	struct stat mine, there;
	return fstat(file, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static bool lock_file(struct system_lock *lock, bool *taken)
{
	for (;;) {
		lock->file = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (lock->file < 0)
			return false;
		bool locked = flock(lock->file, LOCK_EX | LOCK_NB) == 0;
		if (locked && is_at(lock->file, lock->path))
			return true;
		*taken = !locked && errno == EWOULDBLOCK;
		close(lock->file);
		if (!locked)
			return false;
	}
}

struct system_lock *system_lock(const char *path, bool *taken)
{
	struct system_lock *lock = malloc(sizeof(*lock) + strlen(path) + 1);
	*taken = false;
	if (!lock)
		return NULL;
	strcpy(lock->path, path);
	if (lock_file(lock, taken))
		return lock;
	int error = errno;
	free(lock);
	errno = error;
	return NULL;
}

void system_unlock(struct system_lock *lock)
{
	if (!lock)
		return;
	unlink(lock->path);
	close(lock->file);
	free(lock);
}

/* ---------------------------------------------------------------------------------------------------- memory */

bool memory_open(struct memory_stream *out)
{
	*out = (struct memory_stream){ 0 };
	out->stream = open_memstream(&out->bytes, &out->count);
	return out->stream != NULL;
}

bool memory_close(struct memory_stream *memory)
{
	bool whole = !ferror(memory->stream);
	whole = fclose(memory->stream) == 0 && whole;
	memory->stream = NULL;
	return whole;
}

void system_restart_peak(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");
	if (!file)
		return;
	fputs("5", file);
	fclose(file);
}

uint64_t system_peak_memory(void)
{
	char line[128];
	unsigned long long kib = 0;
	FILE *file = fopen("/proc/self/status", "r");
	while (file && kib == 0 && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %llu", &kib) != 1)
			kib = 0;
	if (file)
		fclose(file);
	struct rusage usage;
	if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0)
#ifdef __APPLE__
		return (uint64_t)usage.ru_maxrss;
#else
		kib = (unsigned long long)usage.ru_maxrss;
#endif
	return kib * 1024;
}

/* ---------------------------------------------------------------------------------------------------- Ctrl-C */

static bool (*handler)(int number);

/* The system delivers one that ends the program as if nobody caught it, when this returns. */
static void on_signal(int number)
{
	int error = errno;
	if (handler(number)) {
		(void)!write(wake[1], "", 1); /* a full pipe wakes a reader as well */
		errno = error;
		return;
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* Without the pipe, which nobody waits for, Ctrl-C still works everywhere but at a prompt. */
static void make_wake(void)
{
	if (pipe(wake) != 0)
		return;
	for (int i = 0; i < 2; i++) {
		fcntl(wake[i], F_SETFD, FD_CLOEXEC);
		fcntl(wake[i], F_SETFL, O_NONBLOCK);
	}
}

void system_catch_interrupts(bool (*caught)(int number))
{
	static const int numbers[] = { SIGINT, SIGTERM };
	handler = caught;
	make_wake();
	for (int i = 0; i < 2; i++) {
		struct sigaction before, action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
		sigemptyset(&action.sa_mask);
		if (sigaction(numbers[i], NULL, &before) == 0 &&
		    before.sa_handler != SIG_IGN) /* as shells start what is in the background */
			sigaction(numbers[i], &action, NULL);
	}
}

void system_end_as(int number)
{
	signal(number, SIG_DFL);
	raise(number);
}
