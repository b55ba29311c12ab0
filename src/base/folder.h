/* Folders of files that this program keeps and removes; other processes may do the same at the same time. */
#ifndef RWKVK_BASE_FOLDER_H
#define RWKVK_BASE_FOLDER_H

#include "base/file.h"

struct folder_file {
	const char *name; /* in the folder */
	uint64_t bytes;
	uint64_t used; /* nanoseconds since 1970: last written, or touched */
};

/* Makes the folder for the user alone (0700), and the folders above it, unless it exists. */
rwkvk_status folder_make(const char *path);

/* Called for each regular file, in no particular order; `now` has the unit of `used`.  An unreadable folder counts as empty. */
typedef void folder_fn(void *user, const struct folder_file *file, uint64_t now);
void folder_list(const char *path, folder_fn *each, void *user);

/* The first marks the file as used now.  The second removes it: false if it was not there or cannot be removed. */
void file_touch(const char *path);
bool file_remove(const char *path);

#endif
