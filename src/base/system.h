/* What the system says about the machine: its processors and memory, and where caches go. */
#ifndef RWKVK_BASE_SYSTEM_H
#define RWKVK_BASE_SYSTEM_H

#include <stdint.h>

/* An environment variable in UTF-8, NULL when it is not set; valid until it is set anew, on Windows until the process ends. */
const char *system_environment(const char *name);

/* The folder in which a program called `name` keeps what it can make again, for free(); NULL when there is none, or no memory.
 */
char *system_cache_folder(const char *name);

unsigned system_processors(void); /* that this process may use */

/* Bytes of main memory, and of it what this process may still take: neither what others use nor what `ulimit -v` forbids, but
 * what the system has cached, since it gives that up.  Where the system does not tell, all of it. */
uint64_t system_memory(void);
uint64_t system_memory_free(void);

/* Where the loader, or any driver, of Vulkan is missing: what to do about it here, after "no Vulkan ... found: ". */
const char *system_loader_advice(void);
const char *system_driver_advice(void);

/* Wishes for large pages, which cost less to get and to find than those of 4 KiB, in memory that is mapped already. */
void system_prefer_large_pages(void *memory, uint64_t bytes);

#endif
