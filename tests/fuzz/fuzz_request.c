/* Bodies of arbitrary bytes, at the endpoint chosen by the first byte.  Accepted requests must keep the limits.  Refused ones
 * must report a client error, with a message in UTF-8 and a matching field name. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "serve/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const states[] = { "calm", "wild" };
static const struct request_limits limits = {
	.model = "m",
	.vocab = 1000,
	.choices = 4,
	.max_tokens = 100,
	.max_ids = 1000,
	.sampling = { .size = sizeof(rwkvk_sampling),
	              .temperature = 1,
	              .top_p = 0.3f,
	              .presence = 0.5f,
	              .frequency = 0.5f,
	              .decay = 0.996f },
	.states = states,
	.state_count = 2,
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void check_generation(const struct request *r)
{
	const rwkvk_sampling *s = &r->sampling;
	check(r->n >= 1 && r->n <= limits.choices && r->max_tokens >= 1 && r->max_tokens <= limits.max_tokens);
	check(s->temperature >= 0 && s->temperature <= 100 && s->top_p >= 0 && s->top_p <= 1 && s->decay >= 0 && s->decay <= 1);
	check(isfinite(s->presence) && isfinite(s->frequency) && s->bias_count <= MOST_BIASES);
	for (size_t i = 0; i < s->bias_count; i++)
		check(s->biases[i].token < limits.vocab && isfinite(s->biases[i].value));
	check(r->stop_count <= MOST_STOPS && r->top_logprobs <= MOST_TOP_LOGPROBS && r->state <= limits.state_count);
	for (size_t i = 0; i < r->stop_count; i++)
		check(*r->stops[i]);
	check((r->endpoint == ENDPOINT_CHAT) == (r->message_count > 0) && (r->endpoint == ENDPOINT_CHAT || r->prompt));
}

static void check_refusal(const struct refusal *refusal)
{
	check(refusal->status == 400 || refusal->status == 404);
	check(*refusal->message && strlen(refusal->param) < sizeof refusal->param - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct request request;
	struct refusal refusal = { 0 };
	if (size == 0)
		return 0;
	enum endpoint endpoint = (enum endpoint)(1 << (data[0] & 3));
	if (!request_read(&request, endpoint, (const char *)data + 1, size - 1, &limits, &refusal)) {
		check_refusal(&refusal);
		return 0;
	}
	if (endpoint == ENDPOINT_CHAT || endpoint == ENDPOINT_COMPLETIONS)
		check_generation(&request);
	check(request.token_count <= limits.max_ids);
	for (size_t i = 0; i < request.token_count; i++)
		check(request.tokens[i] < limits.vocab);
	request_free(&request);
	return 0;
}
