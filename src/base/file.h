/* Whole files: mapped read-only, so that a model of any size costs address space, not memory; and replaced as a whole.  What
 * differs by system is in file_system.h.  Paths are UTF-8, on Windows too. */
#ifndef RWKVK_BASE_FILE_H
#define RWKVK_BASE_FILE_H

#include "base/error.h"

struct mapping {
	const uint8_t *data;
	uint64_t bytes;
	bool mapped;          /* false: the bytes belong to someone else */
	bool read;            /* mapped, but as a copy in memory, which is freed */
	uint64_t identity[2]; /* of a mapped file: no other file of the system has it */
};

/* Maps a regular file.  A missing, unreadable, empty or non-regular file is RWKVK_ERROR_FILE with its name. */
rwkvk_status file_map(const char *path, struct mapping *out);
/* The same from a copy in memory, for files that may change. */
rwkvk_status file_read(const char *path, struct mapping *out);
void file_unmap(struct mapping *mapping); /* zeroed mappings are allowed */
/* Whether `path` is the file that is mapped there, under whatever name. */
bool file_is_mapped(const char *path, const struct mapping *mapping);

enum file_kind { FILE_MISSING, FILE_REGULAR, FILE_FOLDER, FILE_OTHER };
enum file_kind file_kind(const char *path);

/* Whether it divides a path. */
static inline bool file_separator(char c)
{
#ifdef _WIN32
	return c == '/' || c == '\\' || c == ':'; /* "C:name" lies in the drive's current folder */
#else
	return c == '/';
#endif
}
const char *file_part(const char *path); /* its last part, in it */

/* The first `folder_bytes` of `folder`, and the name in it; for free(), NULL when out of memory. */
char *file_join(const char *folder, size_t folder_bytes, const char *name);
/* Makes the folders above a file, as far as they are missing; whether that worked shows when the file is written. */
void file_make_folders(char *path);

/* A file in the making: `path`.PID-N.tmp, which nobody else writes, and which takes the place of `path` when it is complete and
 * synced.  So `path` holds either the old content or all of the new, whatever happens in between and whoever else writes it.
 * What is no regular file, a pipe or a device, is written directly. */
struct file_writer {
	char *path, *temporary; /* temporary: NULL when written directly */
	intptr_t handle;        /* the system's */
	bool opened, closed;    /* `handle` */
	uint64_t bytes, total;  /* written; in the end */
};

/* `total` is for messages; 0: not known.  What stands at `path` must not be a folder. */
rwkvk_status file_create(const char *path, uint64_t total, struct file_writer *out);
/* Nobody but the user may read it (0600), now and once it is complete. */
rwkvk_status file_make_private(struct file_writer *file);
rwkvk_status file_append(struct file_writer *file, const void *data, uint64_t bytes);
/* Both end the writer.  After a failure of file_append() it is given up; zeroed writers are allowed there. */
rwkvk_status file_commit(struct file_writer *file);
void file_give_up(struct file_writer *file);

/* Removes the temporary files of all writers, for a program that ends at once: may be called by a signal handler. */
void file_remove_temporaries(void);

/* All of these at once. */
rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes);

#endif
