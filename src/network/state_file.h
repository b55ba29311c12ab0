/* A state on disk (docs/formats.md, State file): a header that says which models it fits, then the floats in canonical
 * order. */
#ifndef RWKVK_NETWORK_STATE_FILE_H
#define RWKVK_NETWORK_STATE_FILE_H

#include "base/error.h"

/* Of a text: so that no sum of positions wraps. */
#define MOST_POSITION (UINT64_C(1) << 63)

struct state_header {
	uint32_t model_version;                   /* times ten: 70 is RWKV-7 */
	uint32_t layers, width, heads, head_size; /* RWKV-4: heads = width, head_size = 1 */
	uint64_t position;                        /* tokens seen */
	uint64_t floats;                          /* of the state */
};

/* The bytes of a file, and all of them in memory; `name` is for messages.  `state` has header->floats floats; one that is not
 * finite is RWKVK_ERROR_DRIVER. */
uint64_t state_file_bytes(const struct state_header *header);
rwkvk_status state_file_build(const char *name, const struct state_header *header, const float *state, uint8_t *bytes);

/* Replaces `path` atomically.  `state` has header->floats floats; one that is not finite is RWKVK_ERROR_DRIVER. */
rwkvk_status state_file_write(const char *path, const struct state_header *header, const float *state);

/* Reads want->floats floats and the position if the file's model version and shape are those of `want` (whose position is
 * not looked at).  On failure `state` and `position` are as before. */
rwkvk_status state_file_read(const char *path, const struct state_header *want, float *state, uint64_t *position);

/* Whether the file begins as a state file does. */
bool state_file_is(const uint8_t *bytes, uint64_t count);

/* What the header says, of any model: its numbers agree with each other and with the file's length; *damaged: the checksum does
 * not agree with the rest. */
rwkvk_status state_file_header(const char *path, const uint8_t *bytes, uint64_t count, struct state_header *out, bool *damaged);

/* The floats behind a header that state_file_header() has accepted, finite or not. */
void state_file_floats(const uint8_t *bytes, const struct state_header *header, float *state);

/* state_file_read() from a file's bytes; `path` is for messages. */
rwkvk_status state_file_parse(const char *path, const uint8_t *bytes, uint64_t count, const struct state_header *want,
                              float *state, uint64_t *position);

#endif
