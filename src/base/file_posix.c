/* Files on POSIX systems. */
#include "base/file_system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *system_error_text(int error)
{
	return strerror(error);
}

static int opened(int fd, intptr_t *out)
{
	*out = fd;
	return fd < 0 ? errno : 0;
}

static struct file_facts facts(const struct stat *info)
{
	return (struct file_facts){
		.kind = S_ISREG(info->st_mode)   ? FILE_REGULAR
		        : S_ISDIR(info->st_mode) ? FILE_FOLDER
		                                 : FILE_OTHER,
		.bytes = (uint64_t)info->st_size,
		.identity = { (uint64_t)info->st_dev, (uint64_t)info->st_ino },
	};
}

struct file_facts system_facts(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 ? facts(&info) : (struct file_facts){ .kind = FILE_MISSING };
}

int system_file_facts(intptr_t file, struct file_facts *out)
{
	struct stat info;
	if (fstat((int)file, &info) != 0)
		return errno;
	*out = facts(&info);
	return 0;
}

int system_open(const char *path, intptr_t *out)
{
	return opened(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), out);
}

int system_open_existing(const char *path, intptr_t *out)
{
	return opened(open(path, O_WRONLY | O_CLOEXEC), out);
}

int system_create(const char *path, intptr_t *out)
{
	return opened(open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666), out);
}

int system_close(intptr_t file)
{
	return close((int)file) == 0 ? 0 : errno;
}

static int moved(ssize_t count, size_t *done)
{
	*done = count > 0 ? (size_t)count : 0;
	return count >= 0 ? 0 : errno;
}

int system_from_descriptor(int fd, intptr_t *out)
{
	*out = fd;
	return 0;
}

int system_read(intptr_t file, uint64_t offset, void *data, size_t bytes, size_t *done)
{
	ssize_t count;
	do
		count = pread((int)file, data, bytes, (off_t)offset);
	while (count < 0 && errno == EINTR);
	return moved(count, done);
}

int system_write(intptr_t file, const void *data, size_t bytes, size_t *done)
{
	ssize_t count;
	do
		count = write((int)file, data, bytes);
	while (count < 0 && errno == EINTR);
	return moved(count, done);
}

int system_make_private(intptr_t file)
{
	return fchmod((int)file, 0600) == 0 ? 0 : errno;
}

int system_sync(intptr_t file)
{
	return fsync((int)file) == 0 ? 0 : errno;
}

/* A mapping begins at a page: how many bytes before this offset or address. */
static size_t before(uint64_t at)
{
	return (size_t)(at % (uint64_t)sysconf(_SC_PAGESIZE));
}

int system_map(intptr_t file, uint64_t offset, size_t bytes, const uint8_t **out)
{
	size_t more = before(offset);
	void *data = mmap(NULL, more + bytes, PROT_READ, MAP_PRIVATE, (int)file, (off_t)(offset - more));
	if (data == MAP_FAILED)
		return errno;
	*out = (const uint8_t *)data + more;
	return 0;
}

void system_unmap(const uint8_t *data, size_t bytes)
{
	size_t more = before((uintptr_t)data);
	munmap((void *)((uintptr_t)data - more), more + bytes);
}

int system_replace(const char *file, const char *other)
{
	return rename(file, other) == 0 ? 0 : errno;
}

int system_remove(const char *path)
{
	return unlink(path) == 0 ? 0 : errno;
}

int system_make_folder(const char *path)
{
	return mkdir(path, 0700) == 0 ? 0 : errno;
}

unsigned long system_process(void)
{
	return (unsigned long)getpid();
}
