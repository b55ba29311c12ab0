/* The one thread that runs the model: all requests share the batch, and join and leave it between two steps. */
#ifndef RWKVK_SERVE_LOOP_H
#define RWKVK_SERVE_LOOP_H

#include "serve/server.h"

/* Runs until Ctrl-C or SIGTERM, then waits at most options.drain for what still runs.  Returns the program's exit code. */
int loop_run(struct server *server);

#endif
