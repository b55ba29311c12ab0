/* The prefixes of a prompt whose states are worth keeping: up to the end of each message, and within long messages up to the
 * last white space before every 2 KiB.  Prompts that begin with the same messages have the same prefixes there, with the same
 * hashes, whatever follows.  So reading begins after the longest prefix with a kept state.
 *
 * A state depends on tokens, and tokens depend on where a text is split.  So prompts are encoded from one prefix to the next,
 * and the hash includes the splits. */
#ifndef RWKVK_TEXT_PREFIX_H
#define RWKVK_TEXT_PREFIX_H

#include "base/error.h"

enum { PREFIX_STEP = 2048 };

struct prefix {
	size_t bytes;  /* length in bytes */
	uint64_t hash; /* of the previous prefix, the number of bytes since, and those bytes; equal hashes suggest equal prefixes */
};

/* All of a prompt in which messages end at `ends` (as rwkvk_chat_render() has them), the shortest first, none of 0 bytes; the
 * last one need not be the whole prompt.  The caller frees *out, which is NULL when there are none. */
rwkvk_status prefixes_find(const char *text, size_t bytes, const size_t *ends, size_t count, struct prefix **out,
                           size_t *found);

#endif
