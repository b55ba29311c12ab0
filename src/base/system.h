/* The machine as the system reports it: processors, memory, and where caches go. */
#ifndef RWKVK_BASE_SYSTEM_H
#define RWKVK_BASE_SYSTEM_H

#include <stdint.h>

/* An environment variable in UTF-8, NULL when it is not set; valid until it is set again, on Windows until the process ends. */
const char *system_environment(const char *name);

/* The cache folder of a program called `name`, for free(); NULL when there is none, or no memory.
 */
char *system_cache_folder(const char *name);

unsigned system_processors(void); /* that this process may use */

/* Bytes of main memory, in all and still available to this process.  Available memory excludes what others use and what
 * `ulimit -v` forbids; it includes the system's caches, which can be reclaimed.  Where the system does not report it, all
 * memory counts as available. */
uint64_t system_memory(void);
uint64_t system_memory_free(void);

/* How to get a Vulkan loader or driver on this system; the text follows "no Vulkan ... found: ". */
const char *system_loader_advice(void);
const char *system_driver_advice(void);

/* Asks for large pages in mapped memory: they cost less to allocate and to look up than pages of 4 KiB.  A hint only. */
void system_prefer_large_pages(void *memory, uint64_t bytes);

#endif
