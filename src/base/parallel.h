/* A few threads for work in numbered pieces, such as the tiles of a matrix.  Only parallel_start() creates threads, and only
 * parallel_stop() ends them. */
#ifndef RWKVK_BASE_PARALLEL_H
#define RWKVK_BASE_PARALLEL_H

#include <stdint.h>

#include "base/error.h"

struct parallel;

/* Does piece `index` on worker `worker` of parallel_workers().  A worker does one piece at a time. */
typedef void parallel_work(void *user, unsigned worker, uint64_t index);

/* `workers` workers, of which the caller is one (0: one for each processor, 64 at most); fewer where the system refuses to
 * start that many threads.  They take no signals. */
rwkvk_status parallel_start(unsigned workers, struct parallel **out);
void parallel_stop(struct parallel *parallel); /* NULL is allowed */
unsigned parallel_workers(const struct parallel *parallel);

/* Does pieces 0 to count - 1, each once, in any order, and returns when all are done.  Call from one thread at a time. */
void parallel_for(struct parallel *parallel, uint64_t count, parallel_work *work, void *user);

#endif
