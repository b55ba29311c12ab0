/* Several texts that continue one prompt, all written at the same time: `rwkvk generate --count`. */
#ifndef RWKVK_TOOL_MANY_H
#define RWKVK_TOOL_MANY_H

#include "tool.h"

struct many {
	rwkvk_model *model;                    /* with a session and a place in max_batch for each text */
	const rwkvk_generate_options *options; /* without callbacks; the first text uses its seed, each further text the next */
	size_t count;
	bool json; /* one object per line; otherwise each text after a line "--- 1" */
};

/* Totals over all texts. */
struct many_done {
	uint64_t tokens, close_draws;
};

/* Continues what `first` has read.  Prints each text whole once it and all before it have ended; after Ctrl-C, as far as it
 * got.  EXIT_DONE, or the exit code after a message. */
int many_write(const struct many *many, rwkvk_session *first, struct many_done *done);

#endif
