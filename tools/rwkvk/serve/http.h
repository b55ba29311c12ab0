/* HTTP: who may, how much, which endpoint; bodies in, replies out.  libmicrohttpd does the protocol in one thread of its own,
 * which never waits for the model. */
#ifndef RWKVK_SERVE_HTTP_H
#define RWKVK_SERVE_HTTP_H

#include "serve/server.h"

/* On a socket that listens; it is the daemon's from now on, also after a failure.  EXIT_DONE, or the exit code after a message.
 */
int http_start(struct server *server, MHD_socket listener);
/* Every job must be complete. */
void http_stop(struct server *server);

/* With the lock held: there is more to send, or the reply is complete. */
void http_wake(struct job *job);

/* With the lock held: notices clients that have hung up, and closes connections on which no request comes. */
void http_look(struct server *server, double now);

#endif
