#pragma once

#define RTLD_LOCAL 0
#define RTLD_NOW   2

void *dlopen(const char *name, int flags);
void *dlsym(void *library, const char *name);
