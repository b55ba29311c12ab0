/* Whole files.  They are mapped read-only, so that a model of any size costs address space, not memory, and are replaced as a
 * whole.  System-specific code is behind file_system.h.  Paths are UTF-8, on Windows too. */
#ifndef RWKVK_BASE_FILE_H
#define RWKVK_BASE_FILE_H

#include "base/error.h"

struct mapping {
	const uint8_t *data;
	uint64_t bytes;
	bool mapped;          /* false: the bytes belong to someone else */
	bool read;            /* a copy in memory, to be freed */
	uint64_t identity[2]; /* of a mapped file: unique among the system's files */
};

/* Maps a regular file.  A missing, unreadable, empty or non-regular file is RWKVK_ERROR_FILE with its name. */
rwkvk_status file_map(const char *path, struct mapping *out);
/* The same with a copy in memory, for files that may change. */
rwkvk_status file_read(const char *path, struct mapping *out);

/* Part of a file that the caller has open, on POSIX systems. */
struct descriptor {
	int fd;
	uint64_t offset, bytes; /* bytes 0: all from the offset on */
};
/* Maps it, or with `copy` reads it.  The descriptor's position stays, and it may be closed afterwards.  `name` is for messages.
 */
rwkvk_status file_map_descriptor(const struct descriptor *from, const char *name, bool copy, struct mapping *out);

void file_unmap(struct mapping *mapping); /* zeroed mappings are allowed */
/* Whether `path` is the mapped file, under whatever name. */
bool file_is_mapped(const char *path, const struct mapping *mapping);

enum file_kind { FILE_MISSING, FILE_REGULAR, FILE_FOLDER, FILE_OTHER };
enum file_kind file_kind(const char *path);

/* Whether it separates parts of a path. */
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
/* Makes the missing folders above a file.  Failure shows up when the file is written. */
void file_make_folders(char *path);

/* A file being written: `path`.PID-N.tmp, which has no other writer and replaces `path` once it is complete and synced.  So
 * `path` holds either the old content or all of the new, whatever happens in between and whoever else writes it.  Pipes and
 * devices are written directly. */
struct file_writer {
	char *path, *temporary; /* temporary: NULL when written directly */
	intptr_t handle;        /* the system's */
	bool opened, closed;    /* `handle` */
	uint64_t bytes, total;  /* written so far; expected in the end */
};

/* `total` is for messages; 0: not known.  `path` must not be a folder. */
rwkvk_status file_create(const char *path, uint64_t total, struct file_writer *out);
/* Only the user may read it (0600), now and once it is complete. */
rwkvk_status file_make_private(struct file_writer *file);
rwkvk_status file_append(struct file_writer *file, const void *data, uint64_t bytes);
/* Both end the writer.  After a failure of file_append(), discard it; that accepts a zeroed writer. */
rwkvk_status file_commit(struct file_writer *file);
void file_give_up(struct file_writer *file);

/* Removes the temporary files of all writers, for a program that ends at once: may be called by a signal handler. */
void file_remove_temporaries(void);

/* All of these at once. */
rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes);

#endif
