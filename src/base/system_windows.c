#include "base/system.h"

#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/file.h"
#include "base/thread.h"
#include "base/wide.h"

#include <windows.h>

/* Values returned so far, each once; kept until the process ends, as getenv() does elsewhere. */
struct kept {
	struct kept *next;
	char *text;
};

static const char *keep(char *text)
{
	static struct mutex lock = MUTEX_INITIALIZER;
	static struct kept *all;
	mutex_lock(&lock);
	struct kept *found = all;
	while (found && strcmp(found->text, text) != 0)
		found = found->next;
	if (found) {
		free(text);
	} else if ((found = malloc(sizeof *found))) {
		*found = (struct kept){ .next = all, .text = text };
		all = found;
	}
	mutex_unlock(&lock);
	return found ? found->text : NULL;
}

/* Not getenv(), which returns text in the process's code page. */
const char *system_environment(const char *name)
{
	wchar_t *wide = wide_text(name);
	const wchar_t *value = wide ? _wgetenv(wide) : NULL;
	char *text = value ? narrow_text(value) : NULL;
	free(wide);
	return text ? keep(text) : NULL;
}

char *system_cache_folder(const char *name)
{
	const char *caches = environment_text(ENVIRONMENT_LOCALAPPDATA);
	return caches && *caches ? file_join(caches, strlen(caches), name) : NULL;
}

unsigned system_processors(void)
{
	DWORD_PTR mine, all;
	unsigned count = 0;
	SYSTEM_INFO info;
	if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &all))
		for (; mine; mine &= mine - 1)
			count++;
	GetSystemInfo(&info);
	return count ? count : info.dwNumberOfProcessors; /* an empty mask: the process spans several groups */
}

static MEMORYSTATUSEX memory(void)
{
	MEMORYSTATUSEX status = { .dwLength = sizeof status };
	if (!GlobalMemoryStatusEx(&status))
		status.ullTotalPhys = status.ullAvailPhys = status.ullAvailPageFile = UINT64_MAX;
	return status;
}

uint64_t system_memory(void)
{
	return memory().ullTotalPhys;
}

/* Windows does not overcommit memory, so the remaining commit charge is a limit, too. */
uint64_t system_memory_free(void)
{
	MEMORYSTATUSEX status = memory();
	return status.ullAvailPhys < status.ullAvailPageFile ? status.ullAvailPhys : status.ullAvailPageFile;
}

const char *system_loader_advice(void)
{
	return "install the driver of your graphics card, which brings vulkan-1.dll";
}

const char *system_driver_advice(void)
{
	return "install the newest driver of your graphics card from its maker, or Mesa's lavapipe, which runs anywhere";
}

/* Windows grants large pages only at allocation and only to holders of a privilege. */
void system_prefer_large_pages(void *memory_mapped, uint64_t bytes)
{
	(void)memory_mapped;
	(void)bytes;
}
