/* HTTP: access, limits, endpoints; bodies in, replies out.  libmicrohttpd runs the protocol in its own thread, which never
 * waits for the model. */
#ifndef RWKVK_SERVE_HTTP_H
#define RWKVK_SERVE_HTTP_H

#include "serve/server.h"

/* On a listening socket, which the daemon takes over, even after a failure.  EXIT_DONE, or the exit code after a message. */
int http_start(struct server *server, MHD_socket listener);
/* Every job must be complete. */
void http_stop(struct server *server);

/* With the lock held: there is more to send, or the reply is complete. */
void http_wake(struct job *job);

/* With the lock held: notices clients that have hung up, and closes connections that send no request. */
void http_look(struct server *server, double now);

#endif
