/* System calls for the program, in system_posix.c or system_windows.c. */
#ifndef RWKVK_TOOL_SYSTEM_H
#define RWKVK_TOOL_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* First of all: streams are bytes, a terminal shows UTF-8, and what cannot be written is an error rather than the end. Standard
 * error may have a buffer from then on. */
void system_begin(void);

/* Unguessable bits; false: the system has none. */
bool system_entropy(uint64_t *bits);

bool system_is_terminal(FILE *stream);
int system_write_error(void);                   /* of errno.h, right after one: EPIPE if nobody reads the pipe */
bool system_output_is_closed(void);             /* whether nobody reads standard output any more, as far as the system tells */
bool system_is_special(const char *path);       /* a pipe or a device */
const char *system_path_name(const char *path); /* its last part, in it */

/* Files and folders that are made from now on are this user's alone. */
void system_keep_private(void);

/* Locks the file, which is there as long, against the other call in any program; the lock ends with the program, however that
 * does.  NULL: another one has it, if *taken, or the file cannot be made. */
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

/* Calls `caught` at each Ctrl-C or SIGTERM, from where only little may be done; false: the program ends as it would have. */
void system_catch_interrupts(bool (*caught)(int number));
/* Whether each ends a read that waits, too; at first it does not. */
void system_interrupts_end_reads(bool value);
/* Ends the program as that does, where shells look at more than the exit code. */
void system_end_as(int number);

/* Bytes of the largest resident memory since the process began, or since the other call where the system can count anew. */
uint64_t system_peak_memory(void);
void system_restart_peak(void);

#endif
