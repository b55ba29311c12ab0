#include "base/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec /* POSIX's name came later */
#endif

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
