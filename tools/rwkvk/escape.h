/* Escapes for characters that a command line cannot hold: -e. */
#ifndef RWKVK_TOOL_ESCAPE_H
#define RWKVK_TOOL_ESCAPE_H

#include "tool.h"

/* What `text` stands for: \n \t \r \\ \" \' are what they are in C, \xHH is a byte and \uHHHH a character.  EXIT_DONE with a
 * text to be freed, or the exit code after a message that names `option`. */
int escape_read(const char *command, const char *option, const char *text, char **out);

/* Whether `text` may be meant to have escapes: a backslash followed by one of these letters. */
bool escape_likely(const char *text);

#endif
