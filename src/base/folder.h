/* Folders of files that a program keeps and removes by itself, and that other processes keep and remove, too. */
#ifndef RWKVK_BASE_FOLDER_H
#define RWKVK_BASE_FOLDER_H

#include "base/file.h"

struct folder_file {
	const char *name; /* in the folder */
	uint64_t bytes;
	uint64_t used; /* nanoseconds since 1970: last written, or touched */
};

/* Makes the folder for the user alone (0700), and those above it, unless it is there. */
rwkvk_status folder_make(const char *path);

/* Called for each regular file, in no order; `now` is in the same measure as `used`.  A folder that cannot be read has none. */
typedef void folder_fn(void *user, const struct folder_file *file, uint64_t now);
void folder_list(const char *path, folder_fn *each, void *user);

/* Says that the file is in use; and removes it: false if it was not there or cannot be removed. */
void file_touch(const char *path);
bool file_remove(const char *path);

#endif
