/* Scores logits in nats, against the token that followed and against another model's logits.  Logits are floats; everything
 * computed from them is in double, so that a difference of two models is not the rounding of a sum over a vocabulary. */
#ifndef RWKVK_TOOL_SCORE_H
#define RWKVK_TOOL_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A softmax: the probability of token i is exp(logits[i] - log_sum). */
struct distribution {
	const float *logits; /* [count], the caller's */
	size_t count;
	double log_sum; /* the logarithm of the sum of exp(logits) */
	size_t best;    /* the most probable token; of equals, the first */
};

/* false when a logit is infinite or not a number; count is at least 1. */
bool distribution_init(struct distribution *out, const float *logits, size_t count);

/* Token `id` in nats: -log of its probability. */
double distribution_nats(const struct distribution *d, size_t id);

/* KL(reference || other) = sum of p_reference (log p_reference - log p_other), in nats, never negative; equal counts. */
double distribution_kl(const struct distribution *reference, const struct distribution *other);

/* Sums over the scored tokens.  The second half is against another model, where there is one. */
struct score {
	uint64_t tokens, bytes; /* bytes: the length of those tokens in the vocabulary */
	double nats;
	double reference_nats, kl, largest_kl;
	uint64_t same; /* tokens for which both models agree on the most probable one */
};

/* Counts one more token, of `bytes` bytes; reference: NULL for none. */
void score_token(struct score *score, const struct distribution *d, const struct distribution *reference, size_t id,
                 size_t bytes);
void score_add(struct score *score, const struct score *other);

/* These need at least one token; at least one byte. */
double score_nats_per_token(const struct score *score);
double score_bits_per_byte(const struct score *score);

#endif
