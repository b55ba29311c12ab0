/* From logits to a token.  The device does the same (shaders/common/draw.glsl), so only the tokens that top-p and top-k keep
 * are sorted, and the draw goes over them in the order of their ids.
 *
 * Two logits are compared as penalised floats and never as rounded probabilities, so the order of tokens (larger logit
 * first, lower id on ties) does not depend on the exponential function of the system.  Sums are doubles, in that order
 * or in the order of ids. */
#include "session/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- occurrences */

rwkvk_status occurrences_init(struct occurrences *seen, uint32_t vocab)
{
	*seen = (struct occurrences){ .vocab = vocab };
	REQUIRE(vocab > 0);
	seen->count = calloc(vocab, sizeof *seen->count);
	seen->present = calloc(vocab, sizeof *seen->present);
	seen->ids = malloc(vocab * sizeof *seen->ids);
	seen->marked = malloc(vocab * sizeof *seen->marked);
	seen->probability = malloc(vocab * sizeof *seen->probability);
	seen->order = malloc(vocab * sizeof *seen->order);
	seen->bias = calloc(vocab, sizeof *seen->bias);
	if (seen->count && seen->present && seen->ids && seen->marked && seen->probability && seen->order && seen->bias)
		return RWKVK_OK;
	occurrences_finish(seen);
	return fail(RWKVK_ERROR_MEMORY, "no memory for the token counts of a vocabulary of %u", vocab);
}

void occurrences_finish(struct occurrences *seen)
{
	free(seen->count);
	free(seen->present);
	free(seen->ids);
	free(seen->marked);
	free(seen->probability);
	free(seen->order);
	free(seen->bias);
	*seen = (struct occurrences){ 0 };
}

void occurrences_clear(struct occurrences *seen)
{
	memset(seen->count, 0, seen->vocab * sizeof *seen->count);
	memset(seen->present, 0, seen->vocab * sizeof *seen->present);
	seen->id_count = 0;
}

void occurrences_copy(struct occurrences *to, const struct occurrences *from)
{
	assert(to->vocab == from->vocab);
	memcpy(to->count, from->count, from->vocab * sizeof *from->count);
	memcpy(to->present, from->present, from->vocab * sizeof *from->present);
	memcpy(to->ids, from->ids, from->id_count * sizeof *from->ids);
	to->id_count = from->id_count;
}

void occurrences_put(struct occurrences *seen, uint32_t token, float count)
{
	assert(token < seen->vocab && !seen->present[token]);
	seen->ids[seen->id_count++] = token;
	seen->present[token] = 1;
	seen->count[token] = count;
}

void occurrences_mark(struct occurrences *seen)
{
	seen->marked_count = seen->id_count;
	for (uint32_t i = 0; i < seen->id_count; i++)
		seen->marked[i] = seen->count[seen->ids[i]];
}

/* New tokens are only ever appended. */
void occurrences_return(struct occurrences *seen)
{
	while (seen->id_count > seen->marked_count) {
		uint32_t id = seen->ids[--seen->id_count];
		seen->present[id] = 0;
		seen->count[id] = 0;
	}
	for (uint32_t i = 0; i < seen->id_count; i++)
		seen->count[seen->ids[i]] = seen->marked[i];
}

/* Rounded like stepped_count() of shaders/common/picks.glsl. */
void occurrences_add(struct occurrences *seen, uint32_t token, float weight, float decay)
{
	assert(token < seen->vocab);
	if (!seen->present[token])
		occurrences_put(seen, token, 0);
	for (uint32_t i = 0; i < seen->id_count; i++) {
		uint32_t id = seen->ids[i];
		float count = seen->count[id] * decay;
		if (id == token)
			count += weight;
		seen->count[id] = count < FLT_MIN ? 0 : count;
	}
}

float occurrences_weight(const void *bytes, size_t count)
{
	static const char light[] = " \t0123456789";
	for (size_t at = 0; count > 0 && at + count < sizeof light; at++)
		if (memcmp(light + at, bytes, count) == 0)
			return 0;
	return 1;
}

/* ---------------------------------------------------------------------------------------------------- Philox */

void philox4x32(uint64_t key, uint64_t counter, uint32_t out[4])
{
	uint32_t x[4] = { (uint32_t)counter, (uint32_t)(counter >> 32), 0, 0 };
	uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
	for (int round = 0; round < 10; round++) {
		uint64_t a = (uint64_t)0xd2511f53 * x[0], b = (uint64_t)0xcd9e8d57 * x[2];
		x[0] = (uint32_t)(b >> 32) ^ x[1] ^ low;
		x[1] = (uint32_t)b;
		x[2] = (uint32_t)(a >> 32) ^ x[3] ^ high;
		x[3] = (uint32_t)a;
		low += 0x9e3779b9;
		high += 0xbb67ae85;
	}
	memcpy(out, x, sizeof x);
}

/* ---------------------------------------------------------------------------------------------------- picking */

bool sampler_is_greedy(const rwkvk_sampling *sampling)
{
	return sampling->temperature == 0 || sampling->top_p == 0 || sampling->top_k == 1;
}

static rwkvk_status check_numbers(const rwkvk_sampling *s)
{
	if (!(s->temperature >= 0 && s->temperature <= FLT_MAX))
		return fail(RWKVK_ERROR_ARGUMENT, "the temperature is %g; it must be 0 or a positive number", (double)s->temperature);
	if (!(s->top_p >= 0 && s->top_p <= FLT_MAX))
		return fail(RWKVK_ERROR_ARGUMENT, "top-p is %g; it must be 0 or a positive number (1 keeps all)", (double)s->top_p);
	if (!isfinite(s->presence))
		return fail(RWKVK_ERROR_ARGUMENT, "the presence penalty is %g; it must be a number", (double)s->presence);
	if (!isfinite(s->frequency))
		return fail(RWKVK_ERROR_ARGUMENT, "the frequency penalty is %g; it must be a number", (double)s->frequency);
	if (!(s->decay >= 0 && s->decay <= 1))
		return fail(RWKVK_ERROR_ARGUMENT, "the penalty decay is %g; it must be from 0 to 1", (double)s->decay);
	return RWKVK_OK;
}

static float limited(float x)
{
	return x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
}

void sampler_add_biases(const rwkvk_sampling *s, float *bias)
{
	for (size_t i = 0; i < s->bias_count; i++) {
		const rwkvk_bias *b = &s->biases[i];
		bool banned = bias[b->token] == -INFINITY || b->value == -INFINITY;
		bias[b->token] = banned ? -INFINITY : limited(bias[b->token] + b->value);
	}
}

/* Resets seen->bias to zeros; returns how many tokens were banned. */
static uint32_t remove_biases(const rwkvk_sampling *s, struct occurrences *seen)
{
	uint32_t banned = 0;
	for (size_t i = 0; i < s->bias_count; i++) {
		float *bias = &seen->bias[s->biases[i].token];
		banned += *bias == -INFINITY;
		*bias = 0;
	}
	return banned;
}

rwkvk_status sampler_check(const rwkvk_sampling *s, struct occurrences *seen)
{
	TRY(check_numbers(s));
	REQUIRE(s->biases || s->bias_count == 0);
	for (size_t i = 0; i < s->bias_count; i++) {
		const rwkvk_bias *b = &s->biases[i];
		if (b->token >= seen->vocab)
			return fail(RWKVK_ERROR_ARGUMENT, "a bias is for token %u; the model's vocabulary has %u, from 0 on", b->token,
			            seen->vocab);
		if (!(b->value < INFINITY))
			return fail(RWKVK_ERROR_ARGUMENT, "the bias of token %u is %g; it must be a number, or -infinity to ban the token",
			            b->token, (double)b->value);
	}
	sampler_add_biases(s, seen->bias);
	if (remove_biases(s, seen) == seen->vocab)
		return fail(RWKVK_ERROR_ARGUMENT, "all %u tokens are banned: none is left to pick", seen->vocab);
	return RWKVK_OK;
}

/* Bias and penalties, rounded like adjust() of shaders/common/picks.glsl.  A finite logit stays finite unless it is banned. */
static float adjust(const rwkvk_sampling *s, const struct occurrences *seen, uint32_t id, float logit)
{
	float bias = seen->bias[id];
	if (logit == -INFINITY || bias == -INFINITY)
		return -INFINITY;
	if (bias != 0)
		logit = limited(logit + bias);
	if (seen->present[id] && (s->presence != 0 || s->frequency != 0)) {
		float lowered = seen->count[id] * s->frequency;
		lowered += s->presence;
		logit = limited(logit - lowered);
	}
	return logit;
}

/* Adjusted logits to seen->probability, the id of the largest to *best. */
static rwkvk_status adjust_all(const rwkvk_sampling *s, struct occurrences *seen, const float *logits, uint32_t *best)
{
	float *out = seen->probability, largest = -INFINITY;
	for (uint32_t i = 0; i < seen->vocab; i++) {
		if (!(logits[i] < INFINITY))
			return fail(RWKVK_ERROR_DRIVER, "the logit of token %u is %g: the device has computed nonsense", i,
			            (double)logits[i]);
		out[i] = adjust(s, seen, i, logits[i]);
		if (out[i] > largest) {
			largest = out[i];
			*best = i;
		}
	}
	if (largest == -INFINITY)
		return fail(RWKVK_ERROR_DRIVER, "all %u logits are -infinity: the device has computed nonsense", seen->vocab);
	return RWKVK_OK;
}

/* Whether token a is ordered before token b. */
static bool before(const float *logits, uint32_t a, uint32_t b)
{
	return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

/* Sifts heap[at] down until its children are ordered after it; the first of all is at the root. */
static void sink(const float *logits, uint32_t *heap, uint32_t count, uint32_t at)
{
	uint32_t token = heap[at];
	while (at < count / 2) {
		uint32_t child = 2 * at + 1;
		if (child + 1 < count && before(logits, heap[child + 1], heap[child]))
			child++;
		if (!before(logits, heap[child], token))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = token;
}

/* The tokens that may be kept, as a heap.  With top-p below 1, tokens of less than (1 - top_p) / V each sum to less than 1 -
 * top_p, so the others reach top_p without them; the last factor allows for rounding. */
static uint32_t candidates(const rwkvk_sampling *s, struct occurrences *seen, float largest, double total)
{
	const float *logits = seen->probability;
	double limit = -INFINITY;
	if (s->top_p < 1)
		limit = largest + log((1 - (double)s->top_p) / seen->vocab * total * 0.99);
	uint32_t count = 0;
	for (uint32_t i = 0; i < seen->vocab; i++)
		if (logits[i] >= limit)
			seen->order[count++] = i;
	for (uint32_t at = count / 2; at-- > 0;)
		sink(logits, seen->order, count, at);
	return count;
}

static const double CLOSE = 1e-5;

/* The last token that top-p and top-k keep: the one with which the sum exceeds top_p, or the top_k-th.  *in_doubt: rounding
 * may have decided that the sum exceeds top_p with this token. */
static uint32_t last_kept(const rwkvk_sampling *s, struct occurrences *seen, float largest, bool *in_doubt)
{
	const float *logits = seen->probability;
	uint32_t *heap = seen->order, limit = s->top_k ? s->top_k : UINT32_MAX, token = 0;
	double total = 0, sum = 0, before = 0;
	for (uint32_t i = 0; s->top_p < 1 && i < seen->vocab; i++)
		total += expf(logits[i] - largest);
	double enough = s->top_p < 1 ? s->top_p * total : INFINITY;
	uint32_t count = candidates(s, seen, largest, total);
	for (uint32_t kept = 0; count > 0 && kept < limit && sum <= enough; kept++) {
		token = heap[0];
		before = sum;
		sum += expf(logits[token] - largest);
		heap[0] = heap[--count];
		if (count > 0)
			sink(logits, heap, count, 0);
	}
	*in_doubt = s->top_p < 1 && (enough - before < CLOSE * total || (sum > enough && sum - enough < CLOSE * total));
	return token;
}

/* p^(1/T) of the kept tokens, over the largest p, in the order of ids; then the first token whose running sum exceeds the
 * random share of the total. */
static uint32_t draw(const rwkvk_sampling *s, struct occurrences *seen, float largest, float last_logit, uint32_t last,
                     uint64_t position, bool in_doubt)
{
	float *weight = seen->probability;
	double total = 0, sum = 0;
	for (uint32_t i = 0; i < seen->vocab; i++) {
		float logit = weight[i];
		bool kept = logit > last_logit || (logit == last_logit && i <= last);
		weight[i] = kept ? expf((logit - largest) / s->temperature) : 0;
		total += weight[i];
	}
	uint32_t random[4], token = 0;
	philox4x32(s->seed, position, random);
	double share = random[0] * 0x1p-32 * total;
	while ((sum += weight[token]) <= share && token + 1 < seen->vocab)
		token++;
	double before = sum - weight[token];
	seen->is_close = (before > 0 && share - before < CLOSE * total) || (sum < total && sum - share < CLOSE * total) ||
	                 (in_doubt && weight[last] > CLOSE / 2 * total);
	return token;
}

rwkvk_status sampler_pick(const rwkvk_sampling *sampling, struct occurrences *seen, const float *logits, uint64_t position,
                          uint32_t *token)
{
	TRY(sampler_check(sampling, seen));
	sampler_add_biases(sampling, seen->bias);
	rwkvk_status status = adjust_all(sampling, seen, logits, token);
	remove_biases(sampling, seen);
	seen->is_close = false;
	if (status != RWKVK_OK || sampler_is_greedy(sampling))
		return status; /* only the best is kept */
	float largest = seen->probability[*token], last_logit = -INFINITY;
	uint32_t last = seen->vocab - 1;
	bool in_doubt = false;
	if (sampling->top_p < 1 || (sampling->top_k > 0 && sampling->top_k < seen->vocab)) {
		last = last_kept(sampling, seen, largest, &in_doubt);
		last_logit = seen->probability[last];
	}
	*token = draw(sampling, seen, largest, last_logit, last, position, in_doubt);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- probabilities */

/* Adjusted logits to seen->probability, and the logarithm of the sum of their exponentials. */
static rwkvk_status weigh_all(const rwkvk_sampling *s, struct occurrences *seen, const float *logits, double *log_sum)
{
	uint32_t best;
	double sum = 0;
	TRY(sampler_check(s, seen));
	sampler_add_biases(s, seen->bias);
	rwkvk_status status = adjust_all(s, seen, logits, &best);
	remove_biases(s, seen);
	TRY(status);
	double largest = seen->probability[best];
	for (uint32_t i = 0; i < seen->vocab; i++)
		sum += exp(seen->probability[i] - largest);
	*log_sum = largest + log(sum);
	return RWKVK_OK;
}

rwkvk_status sampler_chances(const rwkvk_sampling *sampling, struct occurrences *seen, const float *logits,
                             rwkvk_candidate *tops, uint32_t *count)
{
	double log_sum;
	uint32_t *heap = seen->order, left = seen->vocab, found = 0;
	TRY(weigh_all(sampling, seen, logits, &log_sum));
	for (uint32_t i = 0; i < left; i++)
		heap[i] = i;
	for (uint32_t at = left / 2; at-- > 0;)
		sink(seen->probability, heap, left, at);
	for (; found < *count && left > 0 && seen->probability[heap[0]] > -INFINITY; found++) {
		tops[found] = (rwkvk_candidate){ heap[0], (float)(seen->probability[heap[0]] - log_sum) };
		heap[0] = heap[--left];
		if (left > 0)
			sink(seen->probability, heap, left, 0);
	}
	*count = found;
	return RWKVK_OK;
}

rwkvk_status sampler_chance_of(const rwkvk_sampling *sampling, struct occurrences *seen, const float *logits, uint32_t token,
                               float *log_probability)
{
	double log_sum;
	TRY(weigh_all(sampling, seen, logits, &log_sum));
	*log_probability = (float)(seen->probability[token] - log_sum);
	return RWKVK_OK;
}
