/* One generation, from the request to the last byte of its reply.  The reader creates the job and queues it.  From then on two
 * threads share it: the HTTP thread sends what is in `output`; the loop does everything else.  What both touch is under the
 * server's lock; the rest belongs to the loop. */
#ifndef RWKVK_SERVE_JOB_H
#define RWKVK_SERVE_JOB_H

#include <microhttpd.h>

#include "serve/request.h"
#include "serve/text.h"

struct server;

enum { MOST_CHOICE_STOPS = MOST_STOPS + 8 };

/* Separates the parts of a text with a gap. */
#define FIM_MARK "\xe2\x9c\xbf"

/* One of the n texts. */
struct choice {
	rwkvk_session *session;    /* NULL: none yet, or no longer */
	rwkvk_chat_answer *answer; /* NULL: completions */
	rwkvk_generate_options options;
	rwkvk_sampling sampling;
	const char *stops[MOST_CHOICE_STOPS];
	struct text raw;             /* all that the model wrote */
	struct text text, reasoning; /* the two parts of raw */
	size_t text_sent, reasoning_sent;
	json_t *logprobs; /* of tokens not yet sent; NULL: not requested */
	size_t logprobs_offset;
	uint64_t tokens, reasoning_tokens;
	bool begun; /* the client has received the role */
	bool thinking, ended;
	bool beyond; /* the session has read more than the text */
	const char *finish;
};

enum phase {
	PHASE_QUEUED,
	PHASE_READING,
	PHASE_WRITING,
	PHASE_KEEPING, /* the reply is complete; the session reads what separates messages, for the next turn */
	PHASE_DONE,
};

struct job {
	struct job *next;
	struct server *server;
	struct request request;
	rwkvk_prompt *prompt;
	rwkvk_chat_template chat;
	rwkvk_chat_options chat_options;
	struct choice *choices;
	enum phase phase;
	uint32_t sessions; /* that it holds or will need */
	char id[40];
	int64_t created;
	uint64_t prompt_tokens;
	double progress_at, sent_at;
	bool stuck;    /* its client does not read */
	bool unserved; /* the last step had no room for it */
	bool given_up; /* its client has gone */
	/* Under the lock. */
	int references;
	struct MHD_Connection *connection; /* NULL: the client is gone */
	MHD_socket socket;
	bool suspended, gone;
	uint64_t cached_tokens, written_tokens;
	struct text output;
	int status;    /* HTTP status, once the reply is complete or for a stream */
	bool complete; /* output grows no further */
};

/* A job with the request's prompt, and one reference for each thread.  On failure fills *refusal and returns NULL.  Takes the
 * request over in any case. */
struct job *job_create(struct server *server, struct request *request, struct refusal *refusal);

/* With the lock held: one of the two threads is done with the job. */
void job_release(struct job *job);

/* The text so far, as the next prompt's history will hold it.  RWKVK_OK with *text NULL: out of memory. */
void job_history(const struct job *job, const struct choice *choice, struct text *text, size_t *ends, size_t *end_count);

/* The tool calls that the answer consists of, in OpenAI's form; NULL: it is not a call. */
json_t *job_calls(const struct job *job, const struct choice *choice);

#endif
