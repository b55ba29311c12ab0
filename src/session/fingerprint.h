/* Everything that a state depends on besides the text, as one number: the weights, the options that change results, and how
 * texts become tokens.  Not the device: its states serve other devices, within rounding. */
#ifndef RWKVK_SESSION_FINGERPRINT_H
#define RWKVK_SESSION_FINGERPRINT_H

#include "base/hash.h"
#include "engine/engine.h"

/* The version of kept states: a new number invalidates all of them. */
enum { KEPT_FORMAT = 1 };

/* begin: the token that texts begin with, RWKVK_NO_TOKEN: none.  format: KEPT_FORMAT. */
struct hash128 fingerprint(const rwkvk_model *model, uint32_t begin, uint32_t format);

#endif
