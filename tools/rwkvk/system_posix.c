#include "system.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

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
	if (handler(number))
		return;
	signal(number, SIG_DFL);
	raise(number);
}

void system_catch_interrupts(bool (*caught)(int number))
{
	static const int numbers[] = { SIGINT, SIGTERM };
	handler = caught;
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
