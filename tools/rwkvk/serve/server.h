/* Shared by all parts of `rwkvk serve`. */
#ifndef RWKVK_SERVE_SERVER_H
#define RWKVK_SERVE_SERVER_H

#include <pthread.h>

#include "serve/access.h"
#include "serve/job.h"
#include "serve/metrics.h"

enum {
	MOST_BODY = 4 << 20,     /* bytes of a request */
	MOST_BODIES = 64 << 20,  /* of all requests in progress */
	MOST_OUTPUT = 64 << 10,  /* bytes waiting for a client before its text waits as well */
	MOST_UNSENT = 128 << 10, /* that the system takes besides; otherwise it would be megabytes */
	MOST_CONNECTIONS = 900,  /* below 1024, the usual limit on a process's open files */
	LOOK_SECONDS = 1,        /* between checks that an idle client is still connected */
	ALIVE_SECONDS = 5,       /* after which a silent stream gets a comment */
	MOST_ERROR_TEXT = 400,
};

struct serve_options {
	uint32_t parallel;
	uint64_t queue, max_prompt, max_tokens;
	uint64_t drain;   /* seconds that running requests have after a signal */
	uint64_t timeout; /* seconds for a request to arrive whole, from the connection or the last reply on; and without the client
	                   * reading anything */
	const char *cors; /* an origin, or "*"; NULL: none */
	bool open;        /* anyone may use it, from anywhere */
	struct keys keys;
};

struct server {
	struct serve_options options;
	rwkvk_model *model;
	rwkvk_cache *cache;
	rwkvk_model_info info;
	rwkvk_chat_template chat;
	struct request_limits limits;
	uint32_t *starts; /* of limits.states */
	int64_t created;
	struct MHD_Daemon *daemon;

	pthread_mutex_t lock;
	pthread_cond_t work;            /* something is queued, or a client has read */
	struct job *queue, **queue_end; /* not started */
	struct job *active;             /* jobs that hold sessions; the loop's */
	uint64_t queued, running;       /* numbers of jobs */
	uint32_t sessions;              /* in use */
	uint64_t exchanges;             /* requests whose reply is not finished */
	struct connection *connections;
	pthread_t reader;
	pthread_cond_t arrived;                /* something is unread, or the reader is to end */
	struct exchange *unread, **unread_end; /* for the reader */
	bool reader_ends;
	size_t bodies; /* bytes of requests that come or are unread */
	bool draining;
	struct metrics metrics;
};

/* Seconds of a clock that only goes forward. */
double server_now(void);

#endif
