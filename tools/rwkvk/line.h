/* Lines that a person types, or that come through a pipe.  On a terminal libedit edits them, with history and completion
 * (line_edit.c; the CMake option RWKVK_CHAT_EDIT); elsewhere, and without libedit, they are read unedited. */
#ifndef RWKVK_TOOL_LINE_H
#define RWKVK_TOOL_LINE_H

#include "tool.h"

/* Completion `index` for the end of `line`, which goes up to the cursor; NULL past the last.  *word is set to where in the line
 * the word begins. */
typedef const char *line_complete_fn(void *user, const char *line, size_t index, size_t *word);

struct line_options {
	const char *history; /* a file; "": none; NULL: rwkvk/chat_history in $XDG_STATE_HOME or ~/.local/state */
	line_complete_fn *complete;
	void *user;
};

struct line_reader;

/* Reads standard input; prompts and editing go to standard error.  NULL: out of memory. */
struct line_reader *line_open(const struct line_options *options);
void line_close(struct line_reader *reader); /* writes the history; NULL is allowed */

/* Whether someone types: standard input and standard error are terminals. */
bool line_is_typed(const struct line_reader *reader);

enum line_end { LINE_READ, LINE_CLEARED, LINE_OVER };

/* The next line, without its line break; the reader owns it, until the next call.  LINE_CLEARED: Ctrl-C, or a signal was
 * caught; LINE_OVER: Ctrl-D (SYSTEM_END_KEY), or the input ends. */
enum line_end line_read(struct line_reader *reader, const char *prompt, const char **line, size_t *bytes);

#endif
