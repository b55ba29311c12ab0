#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "text/utf8.h"

/* Where the stop text that is complete first begins (of two that end together: the longer one); `count` if none is. */
static size_t find_stop(const struct stream *stream)
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
	}
	return best;
}

/* Where the bytes at the end that may become a stop text begin. */
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
	drop_ready(stream);
	if (stream->stopped || count == 0)
		return true;
	if (stream->count + count > stream->capacity) {
		size_t capacity = 2 * (stream->count + count);
		uint8_t *larger = realloc(stream->held, capacity);
		if (!larger)
			return false;
		stream->held = larger;
		stream->capacity = capacity;
	}
	memcpy(stream->held + stream->count, bytes, count);
	stream->count += count;
	size_t stop = find_stop(stream);
	stream->stopped = stop < stream->count;
	if (stream->stopped)
		stream->count = stream->ready = stop;
	else
		stream->ready = utf8_complete(stream->held, find_beginning(stream));
	return true;
}

void stream_end(struct stream *stream, bool whole)
{
	drop_ready(stream);
	stream->ready = whole && stream->count > 0 ? utf8_complete(stream->held, stream->count) : stream->count;
}

void stream_free(struct stream *stream)
{
	free(stream->held);
	*stream = (struct stream){ 0 };
}
