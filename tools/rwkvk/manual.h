/* The man page and shell completions, made from the tables that --help prints, so that they cannot disagree with it. */
#ifndef RWKVK_TOOL_MANUAL_H
#define RWKVK_TOOL_MANUAL_H

#include <stddef.h>

struct command {
	const char *name, *summary;
	int (*run)(int argc, char **argv);
};

extern const char *const manual_forms[]; /* the forms that manual_print() writes, ended by NULL: "man", and names of shells */

/* Writes form `form` of the list to standard output. */
void manual_print(int form, const struct command *commands, size_t count);

#endif
