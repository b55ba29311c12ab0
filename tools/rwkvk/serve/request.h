/* A request: the JSON of a body as a struct, with every field checked.  Knows neither model nor socket; what depends on the
 * model is in the limits. */
#ifndef RWKVK_SERVE_REQUEST_H
#define RWKVK_SERVE_REQUEST_H

#include <jansson.h>

#include "tool.h"

enum endpoint {
	ENDPOINT_CHAT = 1,
	ENDPOINT_COMPLETIONS = 2,
	ENDPOINT_TOKENIZE = 4,
	ENDPOINT_DETOKENIZE = 8,
};

enum { MOST_STOPS = 16, MOST_BIASES = 1024, MOST_TOP_LOGPROBS = 20 };

/* Why a request is refused, for OpenAI's error object. */
struct refusal {
	int status;       /* of HTTP */
	const char *code; /* a constant; NULL: none */
	char param[80];   /* the field, as in "messages[2].content"; "": none */
	char message[480];
};

/* Limits and defaults for requests. */
struct request_limits {
	const char *model; /* the id */
	uint32_t vocab;
	uint32_t choices;        /* the largest n */
	uint64_t max_tokens;     /* the limit, and the default */
	uint64_t max_ids;        /* of one request to turn into text */
	rwkvk_sampling sampling; /* the default */
	const char *const *states;
	size_t state_count;
};

struct request {
	enum endpoint endpoint;
	json_t *texts; /* a list that owns prompts, messages and stops; of the body nothing else is left */
	/* chat */
	rwkvk_chat_message *messages;
	size_t message_count;
	rwkvk_chat_think think;
	const char *think_field; /* the field that asks for it; a constant */
	char *tools;             /* those that may be called, as JSON; NULL: none */
	bool call;               /* the model must call one */
	bool one_call;
	/* completions, tokenize */
	const char *prompt, *suffix; /* suffix NULL: none */
	size_t prompt_bytes;
	/* detokenize */
	uint32_t *tokens;
	size_t token_count;
	/* chat and completions */
	bool stream, stream_usage, stream_progress;
	bool pieces; /* tokenize: with the text of each token */
	uint32_t n;
	const char *stops[MOST_STOPS];
	size_t stop_count;
	uint64_t max_tokens;
	rwkvk_sampling sampling; /* with biases */
	rwkvk_bias *biases;
	bool seed_given, logprobs;
	uint32_t top_logprobs;
	size_t state; /* index in the limits' states, plus 1; 0: the empty one */
};

/* false, with *refusal filled, if the request is refused; then there is nothing to free. */
bool request_read(struct request *request, enum endpoint endpoint, const char *body, size_t bytes,
                  const struct request_limits *limits, struct refusal *refusal);
void request_free(struct request *request);

/* Fills *refusal and returns false. */
bool refuse(struct refusal *refusal, int status, const char *code, const char *param, const char *format, ...)
	TOOL_PRINTF(5, 6);

/* How each field is treated: docs/server.md has this list, and a test compares the two. */
enum field_use { FIELD_HONOURED, FIELD_IGNORED, FIELD_REFUSED };
struct field {
	const char *name;
	unsigned endpoints;
	enum field_use use;
	const char *neutral; /* of a refused field: the JSON value, besides null, that asks for nothing; NULL: none */
};
extern const struct field request_fields[];
extern const size_t request_field_count;

#endif
