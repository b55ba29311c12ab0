/* What the server counts, as Prometheus reads it. */
#ifndef RWKVK_SERVE_METRICS_H
#define RWKVK_SERVE_METRICS_H

#include <stdint.h>

struct server;
struct text;

enum { METRIC_BUCKETS = 10, METRIC_STATUSES = 600 };

struct histogram {
	uint64_t counts[METRIC_BUCKETS]; /* at most this; what is more is in `count` alone */
	uint64_t count;
	double sum;
};

struct metrics {
	uint64_t requests[METRIC_STATUSES]; /* by HTTP status */
	uint64_t steps, prompt_tokens, cached_tokens, generated_tokens;
	struct histogram batch;         /* works a step */
	struct histogram token_seconds; /* of a text, from token to token */
};

/* With the server's lock held. */
void metrics_batch(struct metrics *metrics, uint64_t works);
void metrics_tokens(struct metrics *metrics, uint64_t tokens, double seconds);

/* Not with the lock held.  Appends the text. */
void metrics_write(struct server *server, struct text *out);

#endif
