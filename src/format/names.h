/* Files of aliases: official names for models whose tensors have names that no dialect knows. */
#ifndef RWKVK_FORMAT_NAMES_H
#define RWKVK_FORMAT_NAMES_H

#include "format/weights.h"

enum { NAME_BYTES = 256 }; /* of a tensor's name with its zero */

/* Renames the tensors as a file of aliases says (docs/formats.md, "Names of other files") and removes those to be ignored.
 * After this nothing may be added to the weights. */
rwkvk_status names_apply(struct weights *weights, const char *path);
rwkvk_status names_apply_text(struct weights *weights, const char *path, const char *text, size_t bytes);

#endif
