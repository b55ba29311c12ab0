/* The server's metrics, in Prometheus's text format. */
#ifndef RWKVK_SERVE_METRICS_H
#define RWKVK_SERVE_METRICS_H

#include <stdint.h>

struct server;
struct text;

enum { METRIC_BUCKETS = 10, METRIC_STATUSES = 600 };

struct histogram {
	uint64_t counts[METRIC_BUCKETS]; /* up to each bucket's limit; larger values are in `count` alone */
	uint64_t count;
	double sum;
};

struct metrics {
	uint64_t requests[METRIC_STATUSES]; /* by HTTP status */
	uint64_t steps, prompt_tokens, cached_tokens, generated_tokens;
	struct histogram batch;         /* works per step */
	struct histogram token_seconds; /* from token to token of one text */
};

/* With the server's lock held. */
void metrics_batch(struct metrics *metrics, uint64_t works);
void metrics_tokens(struct metrics *metrics, uint64_t tokens, double seconds);

/* Appends the text.  Without the lock held. */
void metrics_write(struct server *server, struct text *out);

#endif
