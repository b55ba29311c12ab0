#include "base/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

rwkvk_status folder_make(const char *path)
{
	char *above = strdup(path);
	if (!above)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its name", path);
	file_make_folders(above);
	free(above);
	if (mkdir(path, 0700) == 0 || file_kind(path) == FILE_FOLDER)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: cannot be made: %s: give a folder that exists and may be written to", path,
	            strerror(errno));
}

static uint64_t nanoseconds(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
}

void folder_list(const char *path, folder_fn *each, void *user)
{
	struct timespec now;
	DIR *folder = opendir(path);
	if (!folder)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	for (struct dirent *entry; (entry = readdir(folder));) {
		struct stat info;
		if (fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
			continue;
		const struct folder_file file = { entry->d_name, (uint64_t)info.st_size, nanoseconds(&info.st_mtim) };
		each(user, &file, nanoseconds(&now));
	}
	closedir(folder);
}

void file_touch(const char *path)
{
	utimensat(AT_FDCWD, path, NULL, 0);
}

bool file_remove(const char *path)
{
	return unlink(path) == 0;
}
