#include "base/wide.h"

#include <stdlib.h>
#include <string.h>

#include <windows.h>

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);
	if (!memory)
		SetLastError(ERROR_NOT_ENOUGH_MEMORY);
	return memory;
}

wchar_t *wide_text(const char *utf8)
{
	int count = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, utf8, -1, NULL, 0);
	wchar_t *wide = count > 0 ? allocate((size_t)count, sizeof *wide) : NULL;
	if (wide)
		MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, utf8, -1, wide, count);
	return wide;
}

char *narrow_text(const wchar_t *utf16)
{
	int count = WideCharToMultiByte(CP_UTF8, 0, utf16, -1, NULL, 0, NULL, NULL);
	char *narrow = count > 0 ? allocate((size_t)count, 1) : NULL;
	if (narrow)
		WideCharToMultiByte(CP_UTF8, 0, utf16, -1, narrow, count, NULL, NULL);
	return narrow;
}

/* Of an absolute path; `full` has room for `\\?\UNC` before it. */
static void allow_length(wchar_t *full)
{
	size_t bytes = (wcslen(full) + 1) * sizeof *full;
	if (wcsncmp(full, L"\\\\?\\", 4) == 0 || wcsncmp(full, L"\\\\.\\", 4) == 0)
		return;
	if (wcsncmp(full, L"\\\\", 2) == 0) {
		memmove(full + 7, full + 1, bytes - sizeof *full); /* \\server\share: \\?\UNC\server\share */
		memcpy(full, L"\\\\?\\UNC", 7 * sizeof *full);
	} else {
		memmove(full + 4, full, bytes);
		memcpy(full, L"\\\\?\\", 4 * sizeof *full);
	}
}

/* Short paths stay as they are, because only the system knows all that they may mean.  A folder's name has to leave room for
 * 8.3. */
wchar_t *wide_path(const char *path)
{
	wchar_t *wide = wide_text(path);
	DWORD length = wide ? GetFullPathNameW(wide, 0, NULL, NULL) : 0;
	if (length < MAX_PATH - 12)
		return wide;
	wchar_t *full = allocate(length + 8, sizeof *full);
	if (full && GetFullPathNameW(wide, length, full, NULL) < length)
		allow_length(full);
	free(wide);
	return full;
}
