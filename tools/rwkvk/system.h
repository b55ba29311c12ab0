/* System calls for the program, in system_posix.c or system_windows.c. */
#ifndef RWKVK_TOOL_SYSTEM_H
#define RWKVK_TOOL_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* To be called first: streams are bytes, a terminal shows UTF-8, and a failed write is an error and does not end the program.
 * Standard error may have a buffer from then on. */
void system_begin(void);

/* Unguessable bits; false: the system has none. */
bool system_entropy(uint64_t *bits);

bool system_is_terminal(FILE *stream);

/* The key that ends what is typed.  On Windows it is the first of a line, and Enter follows. */
#ifdef _WIN32
#define SYSTEM_END_KEY "Ctrl-Z"
#else
#define SYSTEM_END_KEY "Ctrl-D"
#endif

/* From standard input, in UTF-8 even if a person types; fewer bytes only at its end, at Ctrl-C or after an error. */
size_t system_read_input(void *bytes, size_t count);

/* The same for lines, and not together with it: whatever there is, up to `count` bytes, as soon as there are some.  0: the end,
 * an error, or `interrupted`, asked at first and after each Ctrl-C, returns true. */
size_t system_read_some(void *bytes, size_t count, bool (*interrupted)(void));

int system_write_error(void);             /* of errno.h, right after one: EPIPE if nobody reads the pipe */
bool system_output_is_closed(void);       /* whether the reader of standard output has gone, as far as the system reports it */
bool system_is_special(const char *path); /* a pipe or a device */
const char *system_path_name(const char *path); /* its last part, a pointer into it */

/* Files and folders created from now on are private to this user. */
void system_keep_private(void);

/* Locks the file, which exists while the lock is held, against the same call in any program; the lock ends with the program,
 * however that ends.  NULL: another program holds it, if *taken; otherwise the file cannot be created. */
struct system_lock *system_lock(const char *path, bool *taken);
void system_unlock(struct system_lock *lock); /* NULL is allowed */

/* A stream into memory. */
struct memory_stream {
	FILE *stream;
	char *bytes; /* from memory_close() on, for free() */
	size_t count;
};
bool memory_open(struct memory_stream *out);
bool memory_close(struct memory_stream *memory); /* false: not all of it was written */

/* Each Ctrl-C or SIGTERM calls `caught`, in a context where little is allowed; if that returns false, the program ends. */
void system_catch_interrupts(bool (*caught)(int number));
/* Ends the program by that signal, where shells look at more than the exit code. */
void system_end_as(int number);

/* The peak resident memory in bytes, since the process began or, where the system can reset it, since the other call. */
uint64_t system_peak_memory(void);
void system_restart_peak(void);

#endif
