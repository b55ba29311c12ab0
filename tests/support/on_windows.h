/* POSIX functions that tests use and mingw-w64 lacks. */
#ifndef RWKVK_TEST_ON_WINDOWS_H
#define RWKVK_TEST_ON_WINDOWS_H

#include <direct.h>
#include <io.h>

int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
char *mkdtemp(char *template);
int link(const char *file, const char *name);
int remove_long_folder(const char *path); /* of a path of any length */
#define rmdir             remove_long_folder
#define mkdir(path, mode) _mkdir(path)

#endif
