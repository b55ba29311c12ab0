/* A state on disk (docs/formats.md, State file): a header that says which models it fits, the floats in canonical order, and
 * the data for picking the next token: the counts of generated tokens and the logits of the last token. */
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
	uint32_t counts;                          /* how many different tokens were generated */
	uint32_t logits;                          /* of the last token: as many as the vocabulary has, or 0 */
	uint32_t format;                          /* of a file that was read: 1 or 2 */
};

/* The content of a file. */
struct saved_state {
	struct state_header header;
	float *state;  /* [floats], canonical */
	uint32_t *ids; /* [counts] of the generated tokens, ascending */
	float *counts; /* [counts] how often each was, decayed */
	float *logits; /* [logits] */
};

/* Allocates memory for the sizes in the header, zeroed; `name` is for messages. */
rwkvk_status saved_state_make(const char *name, const struct state_header *header, struct saved_state *out);
void saved_state_free(struct saved_state *saved); /* zeroed is allowed */

/* The size of a file, and its bytes in memory.  Numbers that are not finite are RWKVK_ERROR_DRIVER. */
uint64_t state_file_bytes(const struct state_header *header);
rwkvk_status state_file_build(const char *name, const struct saved_state *saved, uint8_t *bytes);

/* Replaces `path` atomically. */
rwkvk_status state_file_write(const char *path, const struct saved_state *saved);

/* Reads a file whose model version and shape are those of `want` and whose tokens and logits, if it has any, are those of a
 * vocabulary of want->logits, 0: any (position, counts and format are not looked at).  On success *out is for
 * saved_state_free(). */
rwkvk_status state_file_read(const char *path, const struct state_header *want, struct saved_state *out);

/* Whether the file begins as a state file does. */
bool state_file_is(const uint8_t *bytes, uint64_t count);

/* The header, of any model: its numbers are consistent with each other and with the file's length; *damaged: the checksum does
 * not match. */
rwkvk_status state_file_header(const char *path, const uint8_t *bytes, uint64_t count, struct state_header *out, bool *damaged);

/* The numbers after a header that state_file_header() has accepted, unchecked; *out is for saved_state_free(). */
rwkvk_status state_file_numbers(const char *path, const uint8_t *bytes, const struct state_header *header,
                                struct saved_state *out);

/* state_file_read() from a file's bytes; `path` is for messages. */
rwkvk_status state_file_parse(const char *path, const uint8_t *bytes, uint64_t count, const struct state_header *want,
                              struct saved_state *out);

#endif
