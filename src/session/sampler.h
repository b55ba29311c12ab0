/* From logits to a token, in RWKV's own order (docs/model.md, Sampling): biases -> penalties -> softmax -> top-p on the
 * untempered probabilities -> top-k -> p^(1/T) -> renormalise -> draw.  The device's implementation
 * (shaders/common/picks.glsl, draw.glsl) is compared with this one, which also picks for callers that feed tokens
 * themselves. */
#ifndef RWKVK_SESSION_SAMPLER_H
#define RWKVK_SESSION_SAMPLER_H

#include "base/error.h"

/* What a text has generated so far.  A token can be present with count 0 (space, tab and digits add nothing to the count). */
struct occurrences {
	uint32_t vocab;
	float *count;     /* [vocab] decayed */
	uint8_t *present; /* [vocab] */
	uint32_t *ids;    /* [vocab] of which the first `id_count` are present: usually few */
	uint32_t id_count;
	float *marked; /* [vocab] counts of the first `marked_count` ids, as they were */
	uint32_t marked_count;
	/* scratch of sampler_pick: [vocab] */
	float *probability;
	uint32_t *order;
	float *bias;   /* zeros between calls */
	bool is_close; /* sampler_pick: its draw came within 1e-5 of a boundary between two tokens, or of top_p */
};

rwkvk_status occurrences_init(struct occurrences *seen, uint32_t vocab);
void occurrences_finish(struct occurrences *seen); /* zeroed is allowed */
void occurrences_clear(struct occurrences *seen);
/* Copies counts and presence; both have the same vocabulary. */
void occurrences_copy(struct occurrences *to, const struct occurrences *from);
/* Sets a token's entry, as occurrences_add() once made it; the token must have none yet. */
void occurrences_put(struct occurrences *seen, uint32_t token, float count);
/* Marks counts and presence, one mark at a time; and returns to the mark.  Not after occurrences_clear().
 */
void occurrences_mark(struct occurrences *seen);
void occurrences_return(struct occurrences *seen);
/* Decays all counts, then counts `token`: + `weight` (0 for tokens that only become present) */
void occurrences_add(struct occurrences *seen, uint32_t token, float weight, float decay);
/* The weight of a token by its text: 0 for a piece of " \t0123456789" (space, tab, digits, runs such as "12"), else 1. */
float occurrences_weight(const void *bytes, size_t count);

/* RWKVK_ERROR_ARGUMENT when a setting is out of range, a bias names no token, or all tokens are banned. */
rwkvk_status sampler_check(const rwkvk_sampling *sampling, struct occurrences *seen);

/* Picks a token from logits[vocab].  `position` is the counter of the generator: the token's position in the text.
 * RWKVK_ERROR_DRIVER when a logit is NaN or all are -infinity (the device computed nonsense). */
rwkvk_status sampler_pick(const rwkvk_sampling *sampling, struct occurrences *seen, const float *logits, uint64_t position,
                          uint32_t *token);

/* The logarithms of probabilities at temperature 1, with biases and penalties, before top-p and top-k: of the *count most
 * probable tokens, *count of them at most, lower ids first among equals; of one token. */
rwkvk_status sampler_chances(const rwkvk_sampling *sampling, struct occurrences *seen, const float *logits,
                             rwkvk_candidate *tops, uint32_t *count);
rwkvk_status sampler_chance_of(const rwkvk_sampling *sampling, struct occurrences *seen, const float *logits, uint32_t token,
                               float *log_probability);

/* True when only the most probable token can be picked. */
bool sampler_is_greedy(const rwkvk_sampling *sampling);

/* Adds the biases to bias[vocab]; those of the same token add up, and none becomes infinite but a ban. */
void sampler_add_biases(const rwkvk_sampling *sampling, float *bias);

/* Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).  The key's low word is key[0], its
 * high word key[1]; the counter's words are low, high, 0, 0. */
void philox4x32(uint64_t key, uint64_t counter, uint32_t out[4]);

#endif
