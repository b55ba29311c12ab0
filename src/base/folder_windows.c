#include "base/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/wide.h"

#include <windows.h>

/* Windows counts tenths of microseconds since 1601. */
static uint64_t nanoseconds(FILETIME time)
{
	uint64_t ticks = (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime, until_1970 = UINT64_C(116444736000000000);
	return ticks > until_1970 ? (ticks - until_1970) * 100 : 0;
}

static void list_one(const WIN32_FIND_DATAW *found, folder_fn *each, void *user)
{
	FILETIME now;
	char *name = narrow_text(found->cFileName);
	if (!name || found->dwFileAttributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT)) {
		free(name);
		return;
	}
	GetSystemTimeAsFileTime(&now);
	const struct folder_file file = { name, (uint64_t)found->nFileSizeHigh << 32 | found->nFileSizeLow,
		                              nanoseconds(found->ftLastWriteTime) };
	each(user, &file, nanoseconds(now));
	free(name);
}

void folder_list(const char *path, folder_fn *each, void *user)
{
	WIN32_FIND_DATAW found;
	char *pattern = file_join(path, strlen(path), "*");
	wchar_t *wide = pattern ? wide_path(pattern) : NULL;
	HANDLE list = wide ? FindFirstFileW(wide, &found) : INVALID_HANDLE_VALUE;
	free(wide);
	free(pattern);
	if (list == INVALID_HANDLE_VALUE)
		return;
	do
		list_one(&found, each, user);
	while (FindNextFileW(list, &found));
	FindClose(list);
}

void file_touch(const char *path)
{
	FILETIME now;
	wchar_t *wide = wide_path(path);
	HANDLE file = INVALID_HANDLE_VALUE;
	if (wide)
		file = CreateFileW(wide, FILE_WRITE_ATTRIBUTES, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
		                   OPEN_EXISTING, 0, NULL);
	free(wide);
	if (file == INVALID_HANDLE_VALUE)
		return;
	GetSystemTimeAsFileTime(&now);
	SetFileTime(file, NULL, NULL, &now);
	CloseHandle(file);
}
