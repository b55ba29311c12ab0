/* What all of `rwkvk serve` shares. */
#ifndef RWKVK_SERVE_SERVER_H
#define RWKVK_SERVE_SERVER_H

#include <pthread.h>

#include "serve/access.h"
#include "serve/job.h"
#include "serve/metrics.h"

enum {
	MOST_BODY = 4 << 20,    /* bytes of a request */
	MOST_BODIES = 64 << 20, /* of all requests that are on their way */
	MOST_OUTPUT = 64 << 10, /* bytes that wait for a client before its text waits, too */
	MOST_CONNECTIONS = 900, /* below the 1024 files that a process mostly may have */
	REQUEST_SECONDS = 30,   /* in which a request has to be whole, counted from the connection or the last reply */
	LOOK_SECONDS = 1,       /* between two looks whether a client that asks nothing is still there */
	STUCK_SECONDS = 30,     /* that a client may leave its output unread */
	ALIVE_SECONDS = 5,      /* after which a stream that is silent gets a comment */
	MOST_ERROR_TEXT = 400,
};

struct serve_options {
	uint32_t parallel;
	uint64_t queue, max_prompt, max_tokens, drain;
	const char *cors; /* an origin, or "*"; NULL: none */
	bool open;        /* anyone may, from anywhere */
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
	struct job *queue, **queue_end; /* not begun */
	struct job *active;             /* those that have sessions; the loop's */
	uint64_t queued, running;       /* how many */
	uint32_t sessions;              /* taken */
	uint64_t exchanges;             /* requests whose reply is on its way */
	struct connection *connections;
	bool draining;
	struct metrics metrics;
};

/* Seconds of a clock that only goes forward. */
double server_now(void);

#endif
