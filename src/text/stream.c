#include "text/stream.h"

#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"

/* Where the first complete stop text begins (of two that end together, the longer), and its index; `count` if there is none. */
static size_t find_stop(const struct stream *stream, size_t *stop)
{
	size_t best = stream->count, best_end = SIZE_MAX;
	for (size_t i = 0; i < stream->stop_count; i++) {
		size_t length = strlen(stream->stops[i]), at = 0;
		while (at + length <= stream->count && memcmp(stream->held + at, stream->stops[i], length) != 0)
			at++;
		size_t end = at + length;
		if (end > stream->count || end > best_end || (end == best_end && at > best))
			continue;
		best = at;
		best_end = end;
		*stop = i;
	}
	return best;
}

/* Where the final bytes that may become a stop text begin. */
static size_t find_beginning(const struct stream *stream)
{
	for (size_t at = 0; at < stream->count; at++)
		for (size_t i = 0; i < stream->stop_count; i++) {
			size_t rest = stream->count - at;
			if (strlen(stream->stops[i]) > rest && memcmp(stream->held + at, stream->stops[i], rest) == 0)
				return at;
		}
	return stream->count;
}

static void drop_ready(struct stream *stream)
{
	stream->count -= stream->ready;
	if (stream->count > 0)
		memmove(stream->held, stream->held + stream->ready, stream->count);
	stream->ready = 0;
}

bool stream_push(struct stream *stream, const void *bytes, size_t count)
{
	if (stream->count + count > stream->capacity) {
		size_t capacity = 2 * (stream->count + count);
		uint8_t *larger = realloc(stream->held, capacity);
		if (!larger)
			return false;
		stream->held = larger;
		stream->capacity = capacity;
	}
	drop_ready(stream);
	if (stream->stopped || count == 0)
		return true;
	memcpy(stream->held + stream->count, bytes, count);
	stream->count += count;
	size_t at = find_stop(stream, &stream->stop);
	stream->stopped = at < stream->count;
	if (stream->stopped)
		stream->count = at;
	stream->ready = stream->stopped ? at : find_beginning(stream);
	if (stream->characters && !stream->stopped && stream->ready > 0)
		stream->ready = utf8_complete(stream->held, stream->ready);
	return true;
}

void stream_end(struct stream *stream)
{
	drop_ready(stream);
	stream->ready = stream->count;
}

void stream_free(struct stream *stream)
{
	free(stream->held);
	*stream = (struct stream){ 0 };
}
