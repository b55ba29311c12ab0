/* Files on POSIX systems.  Every message names the file. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static rwkvk_status read_all(int fd, const char *path, uint8_t *data, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes;) {
		uint64_t most = (uint64_t)1 << 30, left = bytes - at;
		ssize_t done = read(fd, data + at, (size_t)(left < most ? left : most));
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return fail(RWKVK_ERROR_FILE, "%s: cannot be read: %s", path, strerror(errno));
		if (done == 0)
			return fail(RWKVK_ERROR_FILE, "%s: became shorter while it was read: expected %" PRIu64 " bytes, found %" PRIu64,
			            path, bytes, at);
		at += (uint64_t)done;
	}
	return RWKVK_OK;
}

static rwkvk_status read_descriptor(int fd, const char *path, struct mapping *out)
{
	uint8_t *data = malloc((size_t)out->bytes);
	if (!data)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its %" PRIu64 " bytes", path, out->bytes);
	rwkvk_status status = read_all(fd, path, data, out->bytes);
	if (status != RWKVK_OK)
		free(data);
	else
		out->data = data;
	return status;
}

/* Mapped, or with `copy` read. */
static rwkvk_status open_descriptor(int fd, const char *path, bool copy, struct mapping *out)
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
	struct mapping found = { .bytes = (uint64_t)info.st_size,
		                     .mapped = true,
		                     .read = copy,
		                     .identity = { (uint64_t)info.st_dev, (uint64_t)info.st_ino } };
	if (copy) {
		TRY(read_descriptor(fd, path, &found));
		*out = found;
		return RWKVK_OK;
	}
	void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be mapped (%lld bytes): %s", path, (long long)info.st_size, strerror(errno));
	found.data = data;
	*out = found;
	return RWKVK_OK;
}

static rwkvk_status open_mapping(const char *path, bool copy, struct mapping *out)
{
	*out = (struct mapping){ 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a pipe is refused, not waited for */
	if (fd < 0)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be opened: %s", path, strerror(errno));
	rwkvk_status status = open_descriptor(fd, path, copy, out);
	close(fd); /* the mapping stays */
	return status;
}

rwkvk_status file_map(const char *path, struct mapping *out)
{
	return open_mapping(path, false, out);
}

rwkvk_status file_read(const char *path, struct mapping *out)
{
	return open_mapping(path, true, out);
}

void file_unmap(struct mapping *mapping)
{
	if (mapping->read)
		free((void *)(uintptr_t)mapping->data);
	else if (mapping->mapped)
		munmap((void *)(uintptr_t)mapping->data, (size_t)mapping->bytes);
	*mapping = (struct mapping){ 0 };
}

bool file_is_mapped(const char *path, const struct mapping *mapping)
{
	struct stat info;
	return mapping->mapped && stat(path, &info) == 0 && (uint64_t)info.st_dev == mapping->identity[0] &&
	       (uint64_t)info.st_ino == mapping->identity[1];
}

enum file_kind file_kind(const char *path)
{
	struct stat info;
	if (stat(path, &info) != 0)
		return FILE_MISSING;
	return S_ISREG(info.st_mode) ? FILE_REGULAR : S_ISDIR(info.st_mode) ? FILE_FOLDER : FILE_OTHER;
}

/* ---------------------------------------------------------------------------------------------------- writing */

static const char *remedy(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return ": make room, or give a path on another drive";
	case EFBIG:
		return ": the file system, or a limit of this process (ulimit -f), allows no file of this size";
	case EIO:
		return ": the drive or its connection fails; give a path on another one";
	case EACCES:
	case EPERM:
	case EROFS:
	case ENOENT:
		return ": give a path in a folder that exists and may be written to";
	}
	return "";
}

static rwkvk_status cannot_write(const struct file_writer *file, int error)
{
	char progress[64] = "";
	if (file->bytes && !file->total)
		snprintf(progress, sizeof progress, " after %" PRIu64 " bytes", file->bytes);
	else if (file->bytes)
		snprintf(progress, sizeof progress, " after %" PRIu64 " of %" PRIu64 " bytes", file->bytes, file->total);
	return fail(RWKVK_ERROR_FILE, "%s: cannot be written: %s%s%s", file->path, strerror(error), progress, remedy(error));
}

/* Names of temporary files that are there, for signal handlers: no memory that may be freed, no lock that may be held. */
enum { MOST_TEMPORARIES = 16 };
static struct {
	atomic_int state; /* one of the next three */
	char name[PATH_MAX];
} temporaries[MOST_TEMPORARIES];
enum { SLOT_FREE, SLOT_BUSY, SLOT_SET };

/* One that finds no slot stays after a second Ctrl-C, no more. */
static void remember(const char *name)
{
	for (int i = 0; i < MOST_TEMPORARIES; i++) {
		int expected = SLOT_FREE;
		if (!atomic_compare_exchange_strong(&temporaries[i].state, &expected, SLOT_BUSY))
			continue;
		bool fits = strlen(name) < sizeof temporaries[i].name;
		if (fits)
			strcpy(temporaries[i].name, name);
		atomic_store(&temporaries[i].state, fits ? SLOT_SET : SLOT_FREE);
		return;
	}
}

static void forget(const char *name)
{
	for (int i = 0; i < MOST_TEMPORARIES; i++)
		if (atomic_load(&temporaries[i].state) == SLOT_SET && !strcmp(temporaries[i].name, name))
			atomic_store(&temporaries[i].state, SLOT_FREE);
}

void file_remove_temporaries(void)
{
	for (int i = 0; i < MOST_TEMPORARIES; i++)
		if (atomic_load(&temporaries[i].state) == SLOT_SET)
			unlink(temporaries[i].name);
}

/* Creates a file of a name that nobody has: neither a link nor a file that someone laid there is opened. */
static int create_temporary(char *name, size_t size, const char *path)
{
	static atomic_uint number;
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	int fd = -1;
	for (int attempt = 0; attempt < 100; attempt++) {
		snprintf(name, size, "%.*s%.200s.%ld-%u.tmp", (int)(base - path), path, base, (long)getpid(),
		         atomic_fetch_add(&number, 1));
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	return fd;
}

static rwkvk_status open_file(struct file_writer *out)
{
	enum file_kind kind = file_kind(out->path);
	size_t size = strlen(out->path) + 48;
	if (kind == FILE_FOLDER)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be written: it is a directory; give the name of a file", out->path);
	if (kind == FILE_OTHER) /* a rename would put a file in the place of /dev/null */
		out->handle = open(out->path, O_WRONLY | O_CLOEXEC);
	else if (!(out->temporary = malloc(size)))
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its name", out->path);
	else
		out->handle = create_temporary(out->temporary, size, out->path);
	out->opened = out->handle >= 0;
	if (!out->opened)
		return cannot_write(out, errno);
	if (out->temporary)
		remember(out->temporary);
	return RWKVK_OK;
}

rwkvk_status file_create(const char *path, uint64_t total, struct file_writer *out)
{
	*out = (struct file_writer){ .path = strdup(path), .total = total };
	rwkvk_status status = out->path ? open_file(out) : fail(RWKVK_ERROR_MEMORY, "%s: no memory for its name", path);
	if (status != RWKVK_OK)
		file_give_up(out);
	return status;
}

rwkvk_status file_make_private(struct file_writer *file)
{
	return fchmod((int)file->handle, 0600) == 0 ? RWKVK_OK : cannot_write(file, errno);
}

rwkvk_status file_append(struct file_writer *file, const void *data, uint64_t bytes)
{
	const char *at = data;
	while (bytes > 0) {
		size_t most = (size_t)1 << 30; /* some systems write no 2 GiB at once */
		ssize_t done = write((int)file->handle, at, bytes < most ? (size_t)bytes : most);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return cannot_write(file, done < 0 ? errno : EIO);
		at += done;
		bytes -= (uint64_t)done;
		file->bytes += (uint64_t)done;
	}
	return RWKVK_OK;
}

rwkvk_status file_commit(struct file_writer *file)
{
	int fd = (int)file->handle;
	bool done = !file->temporary || fsync(fd) == 0; /* a pipe has no disk behind it */
	int error = errno;
	file->handle = -1;
	if (close(fd) != 0 && done) {
		done = false;
		error = errno;
	}
	if (done && file->temporary && rename(file->temporary, file->path) != 0) {
		done = false;
		error = errno;
	}
	rwkvk_status status = done ? RWKVK_OK : cannot_write(file, error);
	if (done && file->temporary)
		forget(file->temporary);
	file->opened = !done; /* else there is nothing left to remove */
	file_give_up(file);
	return status;
}

void file_give_up(struct file_writer *file)
{
	if (file->opened && file->handle >= 0)
		close((int)file->handle);
	if (file->opened && file->temporary) {
		unlink(file->temporary);
		forget(file->temporary);
	}
	free(file->temporary);
	free(file->path);
	*file = (struct file_writer){ 0 };
}

void file_make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
}
