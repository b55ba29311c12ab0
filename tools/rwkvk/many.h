/* Several texts that continue one prompt, all written at the same time: `rwkvk generate --count`. */
#ifndef RWKVK_TOOL_MANY_H
#define RWKVK_TOOL_MANY_H

#include "tool.h"

struct many {
	rwkvk_model *model;                    /* with a session and a place in max_batch for each text */
	const rwkvk_generate_options *options; /* without callbacks; the first text has this seed, each other one the next */
	size_t count;
	bool json; /* an object a line, else the text after a line "--- 1" */
};

/* Of all texts. */
struct many_done {
	uint64_t tokens, close_draws;
};

/* Continues what `first` has read.  Each text is printed as a whole once it and those before it have ended; after Ctrl-C as far
 * as it has come.  EXIT_DONE, or the exit code after a message. */
int many_write(const struct many *many, rwkvk_session *first, struct many_done *done);

#endif
