#pragma once

#include <stddef.h>

void *calloc(size_t count, size_t bytes);
void free(void *memory);
char *getenv(const char *name);
void *malloc(size_t bytes);
void qsort(void *list, size_t count, size_t bytes, int (*compare)(const void *, const void *));
void *realloc(void *memory, size_t bytes);
double strtod(const char *text, char **end);
unsigned long strtoul(const char *text, char **end, int base);
unsigned long long strtoull(const char *text, char **end, int base);
