#include "score.h"

#include <math.h>

/* M_LN2 is not C. */
static const double LN2 = 0.69314718055994530942;

bool distribution_init(struct distribution *out, const float *logits, size_t count)
{
	*out = (struct distribution){ .logits = logits, .count = count };
	for (size_t i = 0; i < count; i++) {
		if (!isfinite(logits[i]))
			return false;
		if (logits[i] > logits[out->best])
			out->best = i;
	}
	double largest = (double)logits[out->best], sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += exp((double)logits[i] - largest); /* at least 1, at most count */
	out->log_sum = largest + log(sum);
	return true;
}

double distribution_nats(const struct distribution *d, size_t id)
{
	return d->log_sum - (double)d->logits[id];
}

double distribution_kl(const struct distribution *reference, const struct distribution *other)
{
	double sum = 0;
	for (size_t i = 0; i < reference->count; i++) {
		double log_p = -distribution_nats(reference, i);
		sum += exp(log_p) * (log_p + distribution_nats(other, i));
	}
	return fmax(sum, 0); /* for almost equal distributions, rounding may leave less */
}

void score_token(struct score *score, const struct distribution *d, const struct distribution *reference, size_t id,
                 size_t bytes)
{
	score->tokens++;
	score->bytes += bytes;
	score->nats += distribution_nats(d, id);
	if (!reference)
		return;
	double kl = distribution_kl(reference, d);
	score->reference_nats += distribution_nats(reference, id);
	score->kl += kl;
	score->largest_kl = fmax(score->largest_kl, kl);
	score->same += d->best == reference->best;
}

void score_add(struct score *score, const struct score *other)
{
	score->tokens += other->tokens;
	score->bytes += other->bytes;
	score->nats += other->nats;
	score->reference_nats += other->reference_nats;
	score->kl += other->kl;
	score->largest_kl = fmax(score->largest_kl, other->largest_kl);
	score->same += other->same;
}

double score_nats_per_token(const struct score *score)
{
	return score->nats / (double)score->tokens;
}

double score_bits_per_byte(const struct score *score)
{
	return score->nats / LN2 / (double)score->bytes;
}
