#include "on_windows.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <windows.h>

int setenv(const char *name, const char *value, int overwrite)
{
	if (!overwrite && getenv(name))
		return 0;
	return _putenv_s(name, value);
}

int unsetenv(const char *name)
{
	return _putenv_s(name, "");
}

char *mkdtemp(char *template)
{
	char *end = template + strlen(template) - 6;
	for (unsigned i = 0; i < 1000; i++) {
		unsigned number = (unsigned)(GetCurrentProcessId() * 31 + GetTickCount() + i);
		for (int digit = 0; digit < 6; digit++, number /= 26)
			end[digit] = (char)('a' + number % 26);
		if (CreateDirectoryA(template, NULL))
			return template;
	}
	return NULL;
}

int link(const char *file, const char *name)
{
	return CreateHardLinkA(name, file, NULL) ? 0 : -1;
}

int remove_long_folder(const char *path)
{
	wchar_t wide[2048], long_path[2048] = L"\\\\?\\";
	MultiByteToWideChar(CP_UTF8, 0, path, -1, wide, 2048);
	GetFullPathNameW(wide, 2044, long_path + 4, NULL);
	return RemoveDirectoryW(long_path) ? 0 : -1;
}
