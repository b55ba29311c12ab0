#include "base/system.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/environment.h"
#include "base/file.h"
#include "base/numbers.h"

const char *system_environment(const char *name)
{
	return getenv(name);
}

char *system_cache_folder(const char *name)
{
	const char *caches = environment_text(ENVIRONMENT_XDG_CACHE_HOME), *home = environment_text(ENVIRONMENT_HOME);
	char within[64];
	if (caches && caches[0] == '/')
		return file_join(caches, strlen(caches), name);
	snprintf(within, sizeof within, ".cache/%s", name);
	return home && *home ? file_join(home, strlen(home), within) : NULL;
}

unsigned system_processors(void)
{
#ifdef __linux__
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return (unsigned)CPU_COUNT(&set);
#endif
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	return online > 0 ? (unsigned)online : 1;
}

uint64_t system_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
	return pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes : UINT64_MAX;
}

#ifdef __linux__
/* The memory that programs can get without swapping. */
static uint64_t available(void)
{
	char line[128];
	uint64_t kilobytes = UINT64_MAX >> 10;
	FILE *file = fopen("/proc/meminfo", "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return kilobytes << 10;
}

/* What remains below the limit on the process's address space. */
static uint64_t addresses_left(void)
{
	struct rlimit limit;
	uint64_t pages = 0;
	if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	FILE *file = fopen("/proc/self/statm", "re");
	if (file && fscanf(file, "%" SCNu64, &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	uint64_t used = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

uint64_t system_memory_free(void)
{
	return smaller(system_memory(), smaller(available(), addresses_left()));
}
#else
uint64_t system_memory_free(void)
{
	return system_memory();
}
#endif

#ifdef __ANDROID__
const char *system_loader_advice(void)
{
	return "a phone without libvulkan.so has no Vulkan; programs of Termux need `pkg install vulkan-loader-android`, too";
}

const char *system_driver_advice(void)
{
	return "the phone's system has none; use a phone with Vulkan 1.1";
}
#else
static bool has_apt(void)
{
	return access("/usr/bin/apt", X_OK) == 0;
}

const char *system_loader_advice(void)
{
	return has_apt() ? "install libvulkan.so.1 and a driver, with `apt install libvulkan1 mesa-vulkan-drivers`"
	                 : "install libvulkan.so.1 and a driver";
}

const char *system_driver_advice(void)
{
	return has_apt() ? "install the Vulkan driver of your GPU, or a software device that runs anywhere; "
	                   "`apt install mesa-vulkan-drivers` has both"
	                 : "install the Vulkan driver of your GPU, or Mesa's lavapipe, which runs anywhere";
}
#endif

void system_prefer_large_pages(void *memory, uint64_t bytes)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = (uintptr_t)memory + bytes, begin = round_up((uintptr_t)memory, page);
	if (end > begin)
		(void)madvise((void *)(uintptr_t)begin, (size_t)(end - begin), MADV_HUGEPAGE);
#else
	(void)memory;
	(void)bytes;
#endif
}
