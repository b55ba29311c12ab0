/* Whole files: mapped for reading, replaced atomically for writing.  Every message names the file. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static rwkvk_status map_descriptor(int fd, const char *path, struct mapping *out)
{
	struct stat info;
	if (fstat(fd, &info) != 0)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be examined: %s", path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return fail(RWKVK_ERROR_FILE, "%s: is %s; a regular file is needed", path,
		            S_ISDIR(info.st_mode) ? "a directory" : "not a regular file");
	if (info.st_size <= 0)
		return fail(RWKVK_ERROR_FILE, "%s: is empty", path);
	if ((uint64_t)info.st_size > SIZE_MAX)
		return fail(RWKVK_ERROR_FILE, "%s: has %lld bytes, more than this machine can address", path, (long long)info.st_size);
	void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be mapped (%lld bytes): %s", path, (long long)info.st_size, strerror(errno));
	*out = (struct mapping){ .data = data, .bytes = (uint64_t)info.st_size, .mapped = true };
	return RWKVK_OK;
}

rwkvk_status file_map(const char *path, struct mapping *out)
{
	*out = (struct mapping){ 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a pipe is refused, not waited for */
	if (fd < 0)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be opened: %s", path, strerror(errno));
	rwkvk_status status = map_descriptor(fd, path, out);
	close(fd); /* the mapping stays */
	return status;
}

void file_unmap(struct mapping *mapping)
{
	if (mapping->mapped)
		munmap((void *)(uintptr_t)mapping->data, (size_t)mapping->bytes);
	*mapping = (struct mapping){ 0 };
}

static bool write_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;
	while (bytes > 0) {
		ssize_t done = write(fd, at, bytes);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		at += done;
		bytes -= (size_t)done;
	}
	return true;
}

rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes)
{
	size_t length = strlen(path);
	char *temporary = malloc(length + sizeof ".tmp");
	if (!temporary)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its name", path);
	memcpy(temporary, path, length);
	memcpy(temporary + length, ".tmp", sizeof ".tmp");

	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	bool opened = fd >= 0;
	bool done = opened && write_all(fd, head, head_bytes) && write_all(fd, body, body_bytes) && fsync(fd) == 0;
	int error = errno;
	if (opened && close(fd) != 0 && done) {
		done = false;
		error = errno;
	}
	if (done && rename(temporary, path) != 0) {
		done = false;
		error = errno;
	}
	if (opened && !done)
		unlink(temporary);
	free(temporary);
	if (!done)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be written: %s", path, strerror(error));
	return RWKVK_OK;
}
