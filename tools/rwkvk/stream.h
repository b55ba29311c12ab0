/* Text as it comes from a model, a few bytes a token, held back as long as it may not be shown: while it could be the
 * beginning of a stop text, or the first half of a UTF-8 character.
 *
 *     stream_push(&stream, bytes, count);    then show stream.held[0 .. stream.ready), which the next call drops
 *     stream_end(&stream, whole);            likewise, for what was held back
 */
#ifndef RWKVK_TOOL_STREAM_H
#define RWKVK_TOOL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
	const char *const *stops; /* none empty */
	size_t stop_count;
	uint8_t *held;
	size_t count, capacity;
	size_t ready; /* of the held bytes */
	bool stopped; /* a stop text came: what was before it is ready, nothing follows */
};

/* Adds bytes and finds what may be shown.  false when out of memory. */
bool stream_push(struct stream *stream, const void *bytes, size_t count);

/* Makes the rest ready; with `whole`, without a character that is still incomplete. */
void stream_end(struct stream *stream, bool whole);

void stream_free(struct stream *stream);

#endif
