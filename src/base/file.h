/* Whole files in memory, mapped read-only: a model of any size costs address space, not memory. */
#ifndef RWKVK_BASE_FILE_H
#define RWKVK_BASE_FILE_H

#include "base/error.h"

struct mapping {
	const uint8_t *data;
	uint64_t bytes;
	bool mapped; /* false: the bytes belong to someone else */
};

/* Maps a regular file.  A missing, unreadable, empty or non-regular file is RWKVK_ERROR_FILE with its name. */
rwkvk_status file_map(const char *path, struct mapping *out);
void file_unmap(struct mapping *mapping); /* zeroed mappings are allowed */

/* Writes a file so that `path` holds either the old content or all of the new: through `path`.tmp, synced and renamed. */
rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes);

#endif
