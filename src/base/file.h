/* Whole files: mapped read-only, so that a model of any size costs address space, not memory; and replaced as a whole. */
#ifndef RWKVK_BASE_FILE_H
#define RWKVK_BASE_FILE_H

#include "base/error.h"

struct mapping {
	const uint8_t *data;
	uint64_t bytes;
	bool mapped;            /* false: the bytes belong to someone else */
	uint64_t device, inode; /* of a mapped file */
};

/* Maps a regular file.  A missing, unreadable, empty or non-regular file is RWKVK_ERROR_FILE with its name. */
rwkvk_status file_map(const char *path, struct mapping *out);
void file_unmap(struct mapping *mapping); /* zeroed mappings are allowed */
/* Whether `path` is the file that is mapped there, under whatever name. */
bool file_is_mapped(const char *path, const struct mapping *mapping);

/* A file in the making: `path`.tmp, which takes the place of `path` when it is complete and synced.  So `path` holds either
 * the old content or all of the new, whatever happens in between. */
struct file_writer {
	char *path, *temporary;
	int fd;
	bool opened;           /* the temporary file is there */
	uint64_t bytes, total; /* written; in the end */
};

/* `total` is for messages.  What stands at `path` must be a regular file, or nothing. */
rwkvk_status file_create(const char *path, uint64_t total, struct file_writer *out);
rwkvk_status file_append(struct file_writer *file, const void *data, uint64_t bytes);
/* Both end the writer.  After a failure of file_append() it is given up; zeroed writers are allowed there. */
rwkvk_status file_commit(struct file_writer *file);
void file_give_up(struct file_writer *file);

/* All of these at once. */
rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes);

#endif
