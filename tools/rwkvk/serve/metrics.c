#include "serve/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "serve/server.h"

static const double batch_limits[METRIC_BUCKETS] = { 1, 2, 4, 8, 16, 32, 64, 128, 192, 256 };
static const double second_limits[METRIC_BUCKETS] = { 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1 };

static void count(struct histogram *histogram, const double *limits, double value, uint64_t times)
{
	for (int i = 0; i < METRIC_BUCKETS; i++)
		if (value <= limits[i])
			histogram->counts[i] += times;
	histogram->count += times;
	histogram->sum += value * (double)times;
}

void metrics_batch(struct metrics *metrics, uint64_t works)
{
	metrics->steps++;
	count(&metrics->batch, batch_limits, (double)works, 1);
}

void metrics_tokens(struct metrics *metrics, uint64_t tokens, double seconds)
{
	metrics->generated_tokens += tokens;
	if (tokens > 0)
		count(&metrics->token_seconds, second_limits, seconds / (double)tokens, tokens);
}

static void line(struct text *out, const char *format, ...) TOOL_PRINTF(2, 3);
static void line(struct text *out, const char *format, ...)
{
	char text[256];
	va_list list;
	va_start(list, format);
	int bytes = vsnprintf(text, sizeof text, format, list);
	va_end(list);
	text_add(out, text, (size_t)bytes);
}

static void write_one(struct text *out, const char *name, const char *type, const char *help, uint64_t value)
{
	line(out, "# HELP rwkvk_%s %s\n# TYPE rwkvk_%s %s\n", name, help, name, type);
	line(out, "rwkvk_%s %" PRIu64 "\n", name, value);
}

static void write_histogram(struct text *out, const char *name, const char *help, const double *limits,
                            const struct histogram *histogram)
{
	line(out, "# HELP rwkvk_%s %s\n# TYPE rwkvk_%s histogram\n", name, help, name);
	for (int i = 0; i < METRIC_BUCKETS; i++)
		line(out, "rwkvk_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, limits[i], histogram->counts[i]);
	line(out, "rwkvk_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, histogram->count);
	line(out, "rwkvk_%s_sum %.6f\nrwkvk_%s_count %" PRIu64 "\n", name, histogram->sum, name, histogram->count);
}

static void write_places(struct text *out, const char *name, const char *help, uint64_t memory, uint64_t disk)
{
	line(out, "# HELP rwkvk_%s %s\n# TYPE rwkvk_%s gauge\n", name, help, name);
	line(out, "rwkvk_%s{place=\"memory\"} %" PRIu64 "\nrwkvk_%s{place=\"disk\"} %" PRIu64 "\n", name, memory, name, disk);
}

static void write_store(const rwkvk_cache_stats *c, struct text *out)
{
	write_one(out, "store_connected", "gauge", "Whether the state store can be asked.", c->store_connected);
	write_one(out, "store_lookups_total", "counter", "Times that the state store was asked.", c->store_lookups);
	write_one(out, "store_failed_total", "counter", "Times that it gave no answer in time.", c->store_failed);
	write_one(out, "store_hits_total", "counter", "Prompts that began with a state from it.", c->store_hits);
	write_one(out, "store_damaged_total", "counter", "Values in it that were no state of this model.", c->store_damaged);
	write_one(out, "store_written_total", "counter", "States written to it.", c->store_written);
	write_one(out, "store_unwritten_total", "counter", "States that it was too slow, full or gone for.", c->store_unwritten);
	write_one(out, "store_read_bytes_total", "counter", "Bytes of states read from it.", c->store_bytes_read);
	write_one(out, "store_written_bytes_total", "counter", "Bytes of states written to it.", c->store_bytes_written);
}

static void write_cache(rwkvk_cache *cache, struct text *out)
{
	rwkvk_cache_stats c = { .size = sizeof c };
	if (rwkvk_cache_get_stats(cache, &c) != RWKVK_OK)
		return;
	write_one(out, "cache_prompts_total", "counter", "Prompts that the state cache was asked for.", c.prompts);
	write_one(out, "cache_hits_total", "counter", "Prompts of which it knew a beginning.", c.hits);
	write_one(out, "cache_dropped_total", "counter", "States that made room for others.", c.dropped);
	write_places(out, "cache_bytes", "Bytes of kept states.", c.memory_bytes, c.disk_bytes);
	write_places(out, "cache_states", "Kept states.", c.memory_states, c.disk_states);
	write_places(out, "cache_limit_bytes", "Bytes that kept states may take.", c.memory_limit, c.disk_limit);
	write_store(&c, out);
}

void metrics_write(struct server *server, struct text *out)
{
	pthread_mutex_lock(&server->lock);
	const struct metrics m = server->metrics;
	uint64_t queued = server->queued, running = server->running, busy = server->sessions;
	pthread_mutex_unlock(&server->lock);
	line(out, "# HELP rwkvk_requests_total Requests that were answered, by HTTP status; 499: the client went away.\n"
	          "# TYPE rwkvk_requests_total counter\n");
	for (int i = 0; i < METRIC_STATUSES; i++)
		if (m.requests[i] > 0)
			line(out, "rwkvk_requests_total{status=\"%d\"} %" PRIu64 "\n", i, m.requests[i]);
	write_one(out, "requests_queued", "gauge", "Requests that wait for a session.", queued);
	write_one(out, "requests_running", "gauge", "Requests that have sessions.", running);
	write_one(out, "sessions_busy", "gauge", "Sessions in use.", busy);
	write_one(out, "sessions", "gauge", "Sessions that there are.", server->options.parallel);
	write_one(out, "steps_total", "counter", "Submissions to the device.", m.steps);
	write_one(out, "prompt_tokens_total", "counter", "Tokens of prompts.", m.prompt_tokens);
	write_one(out, "cached_tokens_total", "counter", "Tokens of prompts that kept states stood for.", m.cached_tokens);
	write_one(out, "tokens_generated_total", "counter", "Tokens written.", m.generated_tokens);
	write_histogram(out, "batch_size", "Sessions that a submission had something for.", batch_limits, &m.batch);
	write_histogram(out, "token_seconds", "Seconds a token of a text.", second_limits, &m.token_seconds);
	write_cache(server->cache, out);
}
