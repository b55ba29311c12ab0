/* What the system says about the machine's memory. */
#ifndef RWKVK_BASE_SYSTEM_H
#define RWKVK_BASE_SYSTEM_H

#include <stdint.h>

/* Bytes of main memory, and of it what this process may still take: neither what others use nor what `ulimit -v` forbids, but
 * what the system has cached, since it gives that up.  Where the system does not tell, all of it. */
uint64_t system_memory(void);
uint64_t system_memory_free(void);

#endif
