/* Replies: OpenAI's objects, whole or as chunks of a stream.  Everything is appended to `out`. */
#ifndef RWKVK_SERVE_REPLY_H
#define RWKVK_SERVE_REPLY_H

#include "serve/server.h"

/* {"error": ...}; as a line of a stream, or the whole reply. */
void reply_error(const struct refusal *refusal, bool stream, struct text *out);

/* A token's log-probability, in the form that choice.logprobs keeps. */
json_t *reply_logprob(const struct server *server, const rwkvk_token *token);

/* Chunks for the part of the choice that has not been sent. */
void reply_delta(const struct server *server, struct job *job, uint32_t index, struct text *out);
/* The rest of an ended choice, with its finish_reason. */
void reply_choice_end(const struct server *server, struct job *job, uint32_t index, struct text *out);
void reply_stream_end(const struct server *server, const struct job *job, struct text *out);
void reply_progress(const struct server *server, const struct job *job, uint64_t read, struct text *out);

/* All choices; they have ended. */
void reply_whole(const struct server *server, struct job *job, struct text *out);

/* The endpoints that need no session. */
void reply_models(const struct server *server, bool list, struct text *out);
/* Or fills *refusal. */
void reply_tokenize(const struct server *server, const struct request *request, struct text *out, struct refusal *refusal);
void reply_detokenize(const struct server *server, const struct request *request, struct text *out);

#endif
