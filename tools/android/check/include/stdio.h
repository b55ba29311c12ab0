#pragma once

#include <stdarg.h>
#include <stddef.h>

typedef struct __sFILE FILE;
extern FILE *stderr; /* since API 23 */

FILE *fopen(const char *path, const char *mode);
int fclose(FILE *file);
char *fgets(char *line, int bytes, FILE *file);
int fprintf(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fscanf(FILE *file, const char *format, ...) __attribute__((format(scanf, 2, 3)));
int remove(const char *path);
int rename(const char *from, const char *to);
int snprintf(char *text, size_t bytes, const char *format, ...) __attribute__((format(printf, 3, 4)));
int sprintf(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int sscanf(const char *text, const char *format, ...) __attribute__((format(scanf, 2, 3)));
int vsnprintf(char *text, size_t bytes, const char *format, va_list arguments) __attribute__((format(printf, 3, 0)));
