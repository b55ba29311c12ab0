/* The one thread that runs the model: all requests share the batch, and join and leave it between two steps. */
#ifndef RWKVK_SERVE_LOOP_H
#define RWKVK_SERVE_LOOP_H

#include "serve/server.h"

/* Until Ctrl-C or SIGTERM; then no longer than options.drain until what runs has ended.  The program's exit code. */
int loop_run(struct server *server);

#endif
