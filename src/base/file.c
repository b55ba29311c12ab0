/* Files, on top of file_system.h.  Every message names the file. */
#include "base/file_system.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rwkvk_status read_all(intptr_t file, const char *path, uint64_t offset, uint8_t *data, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes;) {
		uint64_t most = (uint64_t)1 << 30, left = bytes - at;
		size_t done;
		int error = system_read(file, offset + at, data + at, (size_t)(left < most ? left : most), &done);
		if (error)
			return fail(RWKVK_ERROR_FILE, "%s: cannot be read: %s", path, system_error_text(error));
		if (done == 0)
			return fail(RWKVK_ERROR_FILE, "%s: became shorter while it was read: expected %" PRIu64 " bytes, found %" PRIu64,
			            path, offset + bytes, offset + at);
		at += done;
	}
	return RWKVK_OK;
}

static rwkvk_status copy_file(intptr_t file, const char *path, uint64_t offset, struct mapping *out)
{
	uint8_t *data = malloc((size_t)out->bytes);
	if (!data)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its %" PRIu64 " bytes", path, out->bytes);
	rwkvk_status status = read_all(file, path, offset, data, out->bytes);
	if (status != RWKVK_OK)
		free(data);
	else
		out->data = data;
	return status;
}

static rwkvk_status map_file(intptr_t file, const char *path, uint64_t offset, struct mapping *out)
{
	int error = system_map(file, offset, (size_t)out->bytes, &out->data);
	if (error)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be mapped (%" PRIu64 " bytes): %s", path, out->bytes,
		            system_error_text(error));
	return RWKVK_OK;
}

/* How many bytes from `offset` on: `bytes`, or 0 for all. */
static rwkvk_status find_part(const char *path, uint64_t whole, uint64_t offset, uint64_t bytes, uint64_t *out)
{
	if (whole == 0)
		return fail(RWKVK_ERROR_FILE, "%s: is empty", path);
	if (offset >= whole || bytes > whole - offset)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected %" PRIu64 " bytes or more from byte %" PRIu64 " on, found a file of %" PRIu64, path,
		            bytes ? bytes : 1, offset, whole);
	*out = bytes ? bytes : whole - offset;
	if (*out > SIZE_MAX)
		return fail(RWKVK_ERROR_FILE, "%s: has %" PRIu64 " bytes, more than this machine can address", path, *out);
	return RWKVK_OK;
}

/* Mapped, or with `copy` read. */
static rwkvk_status take_file(intptr_t file, const char *path, uint64_t offset, uint64_t bytes, bool copy, struct mapping *out)
{
	struct file_facts facts;
	int error = system_file_facts(file, &facts);
	if (error)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be examined: %s", path, system_error_text(error));
	if (facts.kind != FILE_REGULAR)
		return fail(RWKVK_ERROR_FILE, "%s: is %s; a regular file is needed", path,
		            facts.kind == FILE_FOLDER ? "a directory" : "not a regular file");
	struct mapping found = { .mapped = true, .read = copy, .identity = { facts.identity[0], facts.identity[1] } };
	TRY(find_part(path, facts.bytes, offset, bytes, &found.bytes));
	TRY(copy ? copy_file(file, path, offset, &found) : map_file(file, path, offset, &found));
	*out = found;
	return RWKVK_OK;
}

static rwkvk_status open_mapping(const char *path, bool copy, struct mapping *out)
{
	intptr_t file;
	*out = (struct mapping){ 0 };
	int error = system_open(path, &file);
	if (error)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be opened: %s", path, system_error_text(error));
	rwkvk_status status = take_file(file, path, 0, 0, copy, out);
	system_close(file); /* the mapping stays */
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

rwkvk_status file_map_descriptor(const struct descriptor *from, const char *name, bool copy, struct mapping *out)
{
	intptr_t file;
	*out = (struct mapping){ 0 };
	int error = system_from_descriptor(from->fd, &file);
	if (error)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: cannot be used: %s", name, system_error_text(error));
	return take_file(file, name, from->offset, from->bytes, copy, out);
}

void file_unmap(struct mapping *mapping)
{
	if (mapping->read)
		free((void *)(uintptr_t)mapping->data);
	else if (mapping->mapped)
		system_unmap(mapping->data, (size_t)mapping->bytes);
	*mapping = (struct mapping){ 0 };
}

bool file_is_mapped(const char *path, const struct mapping *mapping)
{
	struct file_facts facts = system_facts(path);
	return mapping->mapped && facts.kind != FILE_MISSING && facts.identity[0] == mapping->identity[0] &&
	       facts.identity[1] == mapping->identity[1];
}

enum file_kind file_kind(const char *path)
{
	return system_facts(path).kind;
}

/* ---------------------------------------------------------------------------------------------------- writing */

static const char *remedy(int error)
{
	switch (error) {
	case ENOSPC:
#ifdef EDQUOT
	case EDQUOT:
#endif
		return ": make room, or give a path on another drive";
	case EFBIG:
		return ": the file system, or a limit of this process (ulimit -f), allows no file of this size";
	case EIO:
		return ": the drive or its connection failed; give a path on another one";
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
	return fail(RWKVK_ERROR_FILE, "%s: cannot be written: %s%s%s", file->path, system_error_text(error), progress,
	            remedy(error));
}

/* Names of existing temporary files, for signal handlers, which may touch neither memory that can be freed nor a lock. */
enum { MOST_TEMPORARIES = 16 };
static struct {
	atomic_int state; /* one of the next three */
	char name[4096];
} temporaries[MOST_TEMPORARIES];
enum { SLOT_FREE, SLOT_BUSY, SLOT_SET };

/* A file that finds no slot is left behind after a second Ctrl-C; nothing worse happens. */
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
			system_remove(temporaries[i].name);
}

/* Makes a file with a name that is not in use. */
static int create_temporary(char *name, size_t size, const char *path, intptr_t *handle)
{
	static atomic_uint number;
	const char *base = file_part(path);
	int error = EEXIST;
	for (int attempt = 0; attempt < 100 && error == EEXIST; attempt++) {
		snprintf(name, size, "%.*s%.200s.%lu-%u.tmp", (int)(base - path), path, base, system_process(),
		         atomic_fetch_add(&number, 1));
		error = system_create(name, handle);
	}
	return error;
}

static rwkvk_status open_file(struct file_writer *out)
{
	enum file_kind kind = file_kind(out->path);
	size_t size = strlen(out->path) + 48;
	int error;
	if (kind == FILE_FOLDER)
		return fail(RWKVK_ERROR_FILE, "%s: cannot be written: it is a directory; give the name of a file", out->path);
	if (kind == FILE_OTHER) /* replacing it would put a file in the place of /dev/null */
		error = system_open_existing(out->path, &out->handle);
	else if (!(out->temporary = malloc(size)))
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its name", out->path);
	else
		error = create_temporary(out->temporary, size, out->path, &out->handle);
	out->opened = error == 0;
	if (error)
		return cannot_write(out, error);
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
	int error = system_make_private(file->handle);
	return error ? cannot_write(file, error) : RWKVK_OK;
}

rwkvk_status file_append(struct file_writer *file, const void *data, uint64_t bytes)
{
	const char *at = data;
	while (bytes > 0) {
		size_t most = (size_t)1 << 30, done; /* some systems cannot write 2 GiB at once */
		int error = system_write(file->handle, at, bytes < most ? (size_t)bytes : most, &done);
		if (error || done == 0)
			return cannot_write(file, error ? error : EIO);
		at += done;
		bytes -= done;
		file->bytes += done;
	}
	return RWKVK_OK;
}

rwkvk_status file_commit(struct file_writer *file)
{
	int error = file->temporary ? system_sync(file->handle) : 0; /* a pipe has no disk */
	int close_error = system_close(file->handle);
	file->closed = true;
	if (!error)
		error = close_error;
	if (!error && file->temporary)
		error = system_replace(file->temporary, file->path);
	rwkvk_status status = error ? cannot_write(file, error) : RWKVK_OK;
	if (!error && file->temporary)
		forget(file->temporary);
	file->opened = error != 0; /* else there is nothing left to remove */
	file_give_up(file);
	return status;
}

void file_give_up(struct file_writer *file)
{
	if (file->opened && !file->closed)
		system_close(file->handle);
	if (file->opened && file->temporary) {
		system_remove(file->temporary);
		forget(file->temporary);
	}
	free(file->temporary);
	free(file->path);
	*file = (struct file_writer){ 0 };
}

rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes)
{
	struct file_writer file;
	TRY(file_create(path, (uint64_t)head_bytes + body_bytes, &file));
	rwkvk_status status = file_append(&file, head, head_bytes);
	if (status == RWKVK_OK)
		status = file_append(&file, body, body_bytes);
	if (status == RWKVK_OK)
		return file_commit(&file);
	file_give_up(&file);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- names */

const char *file_part(const char *path)
{
	const char *name = path;
	for (const char *at = path; *at; at++)
		if (file_separator(*at))
			name = at + 1;
	return name;
}

char *file_join(const char *folder, size_t folder_bytes, const char *name)
{
	size_t length = strlen(name);
	char *joined = malloc(folder_bytes + length + 2);
	if (!joined)
		return NULL;
	memcpy(joined, folder, folder_bytes);
	bool slash = folder_bytes && !file_separator(folder[folder_bytes - 1]);
	if (slash)
		joined[folder_bytes] = '/';
	memcpy(joined + folder_bytes + slash, name, length + 1);
	return joined;
}

void file_make_folders(char *path)
{
	for (char *at = path + 1; *path && *at; at++) {
		char separator = *at;
		if (!file_separator(separator) || separator == ':') /* a drive is not a folder */
			continue;
		*at = 0;
		system_make_folder(path);
		*at = separator;
	}
}
