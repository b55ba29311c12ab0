/* Files on Windows. */
#include "base/file_system.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/wide.h"

#include <windows.h>

/* ---------------------------------------------------------------------------------------------------- errors */

static int number_of(DWORD error)
{
	switch (error) {
	case ERROR_SUCCESS:
		return 0;
	case ERROR_FILE_NOT_FOUND:
	case ERROR_PATH_NOT_FOUND:
	case ERROR_INVALID_DRIVE:
	case ERROR_INVALID_NAME:
	case ERROR_BAD_PATHNAME:
	case ERROR_BAD_NETPATH:
	case ERROR_BAD_NET_NAME:
		return ENOENT;
	case ERROR_FILENAME_EXCED_RANGE:
		return ENAMETOOLONG;
	case ERROR_NO_UNICODE_TRANSLATION:
		return EILSEQ;
	case ERROR_ACCESS_DENIED:
		return EACCES;
	case ERROR_WRITE_PROTECT:
		return EROFS;
	case ERROR_SHARING_VIOLATION:
	case ERROR_LOCK_VIOLATION:
	case ERROR_USER_MAPPED_FILE:
		return EBUSY;
	case ERROR_FILE_EXISTS:
	case ERROR_ALREADY_EXISTS:
		return EEXIST;
	case ERROR_DISK_FULL:
	case ERROR_HANDLE_DISK_FULL:
		return ENOSPC;
	case ERROR_FILE_TOO_LARGE:
		return EFBIG;
	case ERROR_NOT_ENOUGH_MEMORY:
	case ERROR_OUTOFMEMORY:
	case ERROR_COMMITMENT_LIMIT:
		return ENOMEM;
	case ERROR_BROKEN_PIPE:
	case ERROR_NO_DATA:
	case ERROR_PIPE_NOT_CONNECTED:
		return EPIPE;
	default:
		return EIO;
	}
}

static int last_error(void)
{
	int number = number_of(GetLastError());
	return number ? number : EIO;
}

const char *system_error_text(int error)
{
	switch (error) {
	case EBUSY:
		return "another program uses it";
	case EILSEQ:
		return "its name is not UTF-8";
	case ENOTSUP:
		return "another C library may have given the number on Windows; use the file's path";
	}
	return strerror(error);
}

/* ---------------------------------------------------------------------------------------------------- open files */

static int open_path(const char *path, DWORD access, DWORD how, DWORD flags, intptr_t *out)
{
	wchar_t *wide = wide_path(path);
	if (!wide)
		return last_error();
	/* Files stay free to be renamed and replaced by others, as on other systems. */
	HANDLE file = CreateFileW(wide, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, how, flags, NULL);
	int error = file == INVALID_HANDLE_VALUE ? last_error() : 0;
	free(wide);
	*out = (intptr_t)file;
	return error;
}

int system_open(const char *path, intptr_t *out)
{
	return open_path(path, GENERIC_READ, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, out); /* the flag: folders, too */
}

int system_open_existing(const char *path, intptr_t *out)
{
	return open_path(path, GENERIC_WRITE, OPEN_EXISTING, 0, out);
}

int system_create(const char *path, intptr_t *out)
{
	return open_path(path, GENERIC_WRITE, CREATE_NEW, 0, out);
}

int system_close(intptr_t file)
{
	return CloseHandle((HANDLE)file) ? 0 : last_error();
}

int system_file_facts(intptr_t file, struct file_facts *out)
{
	BY_HANDLE_FILE_INFORMATION info;
	*out = (struct file_facts){ .kind = FILE_OTHER };
	if (GetFileType((HANDLE)file) != FILE_TYPE_DISK)
		return 0;
	if (!GetFileInformationByHandle((HANDLE)file, &info))
		return last_error();
	out->kind = info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? FILE_FOLDER : FILE_REGULAR;
	out->bytes = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow;
	out->identity[0] = info.dwVolumeSerialNumber;
	out->identity[1] = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow;
	return 0;
}

struct file_facts system_facts(const char *path)
{
	struct file_facts facts = { .kind = FILE_MISSING };
	intptr_t file;
	if (open_path(path, FILE_READ_ATTRIBUTES, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, &file) != 0)
		return facts;
	if (system_file_facts(file, &facts) != 0)
		facts.kind = FILE_OTHER;
	system_close(file);
	return facts;
}

int system_from_descriptor(int fd, intptr_t *out)
{
	(void)fd;
	(void)out;
	return ENOTSUP;
}

int system_read(intptr_t file, uint64_t offset, void *data, size_t bytes, size_t *done)
{
	DWORD count = 0;
	OVERLAPPED from = { .Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32) };
	BOOL read = ReadFile((HANDLE)file, data, (DWORD)bytes, &count, &from);
	*done = count;
	return read || GetLastError() == ERROR_HANDLE_EOF ? 0 : last_error();
}

int system_write(intptr_t file, const void *data, size_t bytes, size_t *done)
{
	DWORD count = 0;
	BOOL written = WriteFile((HANDLE)file, data, (DWORD)bytes, &count, NULL);
	*done = count;
	return written ? 0 : last_error();
}

/* Such files lie below the user's own folder, which nobody else may read and which they have that from. */
int system_make_private(intptr_t file)
{
	(void)file;
	return 0;
}

int system_sync(intptr_t file)
{
	return FlushFileBuffers((HANDLE)file) ? 0 : last_error();
}

/* A mapping begins at a multiple of 64 KiB: how many bytes before this offset or address. */
static size_t before(uint64_t at)
{
	SYSTEM_INFO info;
	GetSystemInfo(&info);
	return (size_t)(at % info.dwAllocationGranularity);
}

int system_map(intptr_t file, uint64_t offset, size_t bytes, const uint8_t **out)
{
	size_t more = before(offset);
	uint64_t begin = offset - more;
	HANDLE mapping = CreateFileMappingW((HANDLE)file, NULL, PAGE_READONLY, 0, 0, NULL);
	if (!mapping)
		return last_error();
	const uint8_t *data = MapViewOfFile(mapping, FILE_MAP_READ, (DWORD)(begin >> 32), (DWORD)begin, more + bytes);
	int error = data ? 0 : last_error();
	*out = data ? data + more : NULL;
	CloseHandle(mapping);
	return error;
}

void system_unmap(const uint8_t *data, size_t bytes)
{
	(void)bytes;
	UnmapViewOfFile(data - before((uintptr_t)data));
}

/* ---------------------------------------------------------------------------------------------------- names */

/* Windows does not put a file in the place of one that is open or mapped, but lets that one have another name.  It is deleted
 * then, which Windows may refuse while it is mapped: it stays as NAME.PROCESS-N.old. */
static int move_aside(const wchar_t *file, const wchar_t *other)
{
	static atomic_uint number;
	size_t size = wcslen(other) + 48;
	wchar_t *old = malloc(size * sizeof *old);
	if (!old)
		return ENOMEM;
	swprintf(old, size, L"%ls.%lu-%u.old", other, system_process(), atomic_fetch_add(&number, 1));
	int error = MoveFileExW(other, old, 0) ? 0 : last_error();
	if (!error && !MoveFileExW(file, other, MOVEFILE_WRITE_THROUGH)) {
		error = last_error();
		MoveFileExW(old, other, 0);
	} else if (!error) {
		SetFileAttributesW(old, FILE_ATTRIBUTE_NORMAL);
		DeleteFileW(old);
	}
	free(old);
	return error;
}

int system_replace(const char *file, const char *other)
{
	wchar_t *from = wide_path(file), *to = wide_path(other);
	int error = 0;
	if (!from || !to)
		error = last_error();
	else if (!MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
		error = last_error();
	if (error == EACCES || error == EBUSY)
		error = move_aside(from, to);
	free(to);
	free(from);
	return error;
}

static int with_path(const char *path, bool (*change)(const wchar_t *path))
{
	wchar_t *wide = wide_path(path);
	int error = wide && change(wide) ? 0 : last_error();
	free(wide);
	return error;
}

static bool delete_file(const wchar_t *path)
{
	return DeleteFileW(path);
}

static bool create_folder(const wchar_t *path)
{
	return CreateDirectoryW(path, NULL);
}

int system_remove(const char *path)
{
	return with_path(path, delete_file);
}

int system_make_folder(const char *path)
{
	return with_path(path, create_folder);
}

unsigned long system_process(void)
{
	return GetCurrentProcessId();
}
