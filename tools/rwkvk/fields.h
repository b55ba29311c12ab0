/* The library's messages name members of its options, as its callers know them; users of the program set them by command line
 * options.  So every message passes through here. */
#ifndef RWKVK_TOOL_FIELDS_H
#define RWKVK_TOOL_FIELDS_H

#include <stddef.h>

/* Room for any message of the library, with its names replaced. */
enum { FIELDS_SIZE = 2048 };

/* `text` in `out`, with "rwkvk_model_options.quant = RWKVK_QUANT_Q8" as "--quant q8" and so on; cut if it
 * does not fit.  Returns out. */
const char *fields_as_options(char *out, size_t size, const char *text);

#endif
