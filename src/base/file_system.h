/* The system calls that file.c needs, implemented in file_posix.c and file_windows.c.  Paths are UTF-8 everywhere.  A returned
 * int is 0 or an errno value. */
#ifndef RWKVK_BASE_FILE_SYSTEM_H
#define RWKVK_BASE_FILE_SYSTEM_H

#include "base/file.h"

struct file_facts {
	enum file_kind kind;
	uint64_t bytes;
	uint64_t identity[2];
};

/* The error's text. */
const char *system_error_text(int error);

/* FILE_MISSING if there is nothing at the path. */
struct file_facts system_facts(const char *path);

/* Open files, which child processes do not inherit. */
int system_open(const char *path, intptr_t *out);          /* to be read; does not wait for a pipe's writer */
int system_open_existing(const char *path, intptr_t *out); /* to be written */
int system_create(const char *path, intptr_t *out);        /* to be written; EEXIST if anything is there, even a link */
int system_close(intptr_t file);

int system_file_facts(intptr_t file, struct file_facts *out);
int system_from_descriptor(int fd, intptr_t *out); /* an open file by the number that the C library gave it */
/* These may transfer fewer bytes than requested. */
int system_read(intptr_t file, uint64_t offset, void *data, size_t bytes, size_t *done); /* 0 bytes at the end */
int system_write(intptr_t file, const void *data, size_t bytes, size_t *done);
int system_sync(intptr_t file);
int system_make_private(intptr_t file); /* for the user alone */

/* Read-only, from any offset on; stays mapped when the file is closed. */
int system_map(intptr_t file, uint64_t offset, size_t bytes, const uint8_t **out);
void system_unmap(const uint8_t *data, size_t bytes);

/* Replaces a file with another.  The replaced file may be open and mapped. */
int system_replace(const char *file, const char *other);
int system_remove(const char *path); /* may be called by a signal handler */
int system_make_folder(const char *path);
unsigned long system_process(void); /* a number of this one */

#endif
