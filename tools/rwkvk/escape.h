/* Characters that a command line has no place for, written as escapes: -e. */
#ifndef RWKVK_TOOL_ESCAPE_H
#define RWKVK_TOOL_ESCAPE_H

#include "tool.h"

/* What `text` stands for: \n \t \r \\ \" \' are what they are in C, \xHH is a byte and \uHHHH a character.  EXIT_DONE and a
 * text to be freed, or the exit code after a message that names `option`. */
int escape_read(const char *command, const char *option, const char *text, char **out);

/* Whether someone who wrote `text` may have meant that: a backslash with one of these letters behind it. */
bool escape_likely(const char *text);

#endif
