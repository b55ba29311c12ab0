/* Reads requests that have a body, in a thread of its own: megabytes of JSON, and of text to be cut into tokens, take time in
 * which the HTTP thread has to serve everybody.  It reads one at a time, so that jobs are queued in the order in which their
 * requests came, and only one request takes the memory that reading needs. */
#ifndef RWKVK_SERVE_READER_H
#define RWKVK_SERVE_READER_H

#include "serve/server.h"

/* A request and its reply.  It belongs to the HTTP thread, and to the reader from reader_add() until the connection wakes. */
struct exchange {
	double start;
	char method[8], path[64]; /* for the log */
	enum endpoint endpoint;   /* 0: the path takes no body */
	struct text body;
	size_t counted; /* bytes of it in server.bodies */
	int status;     /* of the reply */
	/* Once the reader has it: */
	struct exchange *next;
	struct MHD_Connection *connection; /* NULL: it has not */
	MHD_socket socket;
	/* What comes of it is a refusal (which may come before it is read), a job in the queue, or a reply. */
	struct refusal refusal;
	struct job *job;
	struct text reply;
};

/* false: there are no threads. */
bool reader_start(struct server *server);
/* Reads what it has, and ends. */
void reader_stop(struct server *server);

/* The connection sleeps until the request is read or, of a generation that is no stream, until the reply is complete.  false:
 * the reader has ended. */
bool reader_add(struct server *server, struct exchange *x, struct MHD_Connection *connection, MHD_socket socket);

/* Frees the body, which no longer counts. */
void reader_drop_body(struct server *server, struct exchange *x);

#endif
