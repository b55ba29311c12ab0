/* States in files of any kind, as canonical floats (docs/formats.md).  The public functions about them are in rwkvk.h. */
#ifndef RWKVK_NETWORK_STATES_H
#define RWKVK_NETWORK_STATES_H

#include "network/network.h"
#include "network/state_file.h"

/* The header of a state file of this model, with logits and without counts; position 0. */
struct state_header state_header_of(const struct config *config);

/* The state of a session of this model: our own state file, or a trained start state, whose position is 0 and which has
 * neither counts nor logits.  On success *out is for saved_state_free(). */
rwkvk_status state_read(const char *path, const struct config *config, struct saved_state *out);

/* The same from bytes; the layout says which of the two it is, and where a file of bare numbers has its parts. */
rwkvk_state_format state_format_of(const uint8_t *bytes, uint64_t count); /* RWKVK_STATE_ANY: neither */

/* A state in the order of another program to canonical order, or back; whole states that do not overlap. */
void state_to_canonical(const struct state_header *header, rwkvk_state_format order, const float *in, float *out);
void state_from_canonical(const struct state_header *header, rwkvk_state_format order, const float *in, float *out);

#endif
