/* Text as it comes from a model, a few bytes per token.  Bytes are held back while they could be the beginning of a stop text
 * or the first half of a UTF-8 character.
 *
 *     stream_push(&stream, bytes, count);    then stream.held[0 .. stream.ready) may be shown; the next call drops it
 *     stream_end(&stream);                   likewise, for all that was held back */
#ifndef RWKVK_TEXT_STREAM_H
#define RWKVK_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
	const char *const *stops; /* none empty */
	size_t stop_count;
	bool characters; /* only whole ones */
	uint8_t *held;
	size_t count, capacity;
	size_t ready; /* of the held bytes */
	bool stopped; /* a stop text arrived: the bytes before it are ready, nothing follows */
	size_t stop;  /* its index, then */
};

/* Adds bytes and finds what may be shown.  false when out of memory, and then nothing has changed. */
bool stream_push(struct stream *stream, const void *bytes, size_t count);

/* Makes the rest ready. */
void stream_end(struct stream *stream);

void stream_free(struct stream *stream);

#endif
