/* The prefixes of a prompt that a state is worth keeping of: up to the end of each message, and within long messages up to the
 * last white space before every 2 KiB.  Prompts that begin with the same messages have the same prefixes there, with the same
 * hashes, whatever follows; so the longest one that a state is kept of is where reading has to begin.
 *
 * A state follows from tokens, and tokens from where a text is split: prompts are encoded from one prefix to the next, and the
 * hash knows the splits. */
#ifndef RWKVK_TEXT_PREFIX_H
#define RWKVK_TEXT_PREFIX_H

#include "base/error.h"

enum { PREFIX_STEP = 2048 };

struct prefix {
	size_t bytes;  /* how long it is */
	uint64_t hash; /* of the prefix before, of how many bytes there are since, and of those; tells that two may be the same */
};

/* All of a prompt in which messages end at `ends` (as rwkvk_chat_render() has them), the shortest first, none of 0 bytes; the
 * last one need not be the whole prompt.  The caller frees *out, which is NULL when there are none. */
rwkvk_status prefixes_find(const char *text, size_t bytes, const size_t *ends, size_t count, struct prefix **out,
                           size_t *found);

#endif
