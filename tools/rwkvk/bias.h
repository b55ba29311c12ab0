/* Banned and favoured tokens: --ban 1,2,3 and --bias ID=VALUE, each any number of times. */
#ifndef RWKVK_TOOL_BIAS_H
#define RWKVK_TOOL_BIAS_H

#include "args.h"
#include "rwkvk.h"

struct bias_args {
	struct arg_texts bans, biases; /* each text may be a list with commas */
};

struct bias_list {
	rwkvk_bias *biases; /* to be freed */
	size_t count;
};

/* EXIT_DONE, or EXIT_USAGE after a message. */
int bias_read(const char *command, const struct bias_args *args, struct bias_list *out);
/* The same; an error is an id that is not below `vocab`. */
int bias_check(const char *command, const struct bias_list *list, uint32_t vocab);

#endif
