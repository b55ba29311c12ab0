/* A state on disk (docs/formats.md, State file): a header that says which models it fits, then the floats in canonical
 * order. */
#ifndef RWKVK_SESSION_STATE_FILE_H
#define RWKVK_SESSION_STATE_FILE_H

#include "base/error.h"

struct state_header {
	uint32_t model_version; /* times ten: 70 is RWKV-7 */
	uint32_t layers, width, heads, head_size;
	uint64_t position; /* tokens seen */
	uint64_t floats;   /* of the state */
};

/* Replaces `path` atomically.  `state` has header->floats floats; one that is not finite is RWKVK_ERROR_DRIVER. */
rwkvk_status state_file_write(const char *path, const struct state_header *header, const float *state);

/* Reads want->floats floats and the position if the file's model version and shape are those of `want` (whose position is
 * not looked at).  On failure `state` and `position` are as before. */
rwkvk_status state_file_read(const char *path, const struct state_header *want, float *state, uint64_t *position);

/* The same from a file's bytes; `path` is for messages. */
rwkvk_status state_file_parse(const char *path, const uint8_t *bytes, uint64_t count, const struct state_header *want,
                              float *state, uint64_t *position);

#endif
