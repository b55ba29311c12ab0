/* The person in front: a progress line while a model loads, and Ctrl-C while it writes. */
#ifndef RWKVK_TOOL_TERMINAL_H
#define RWKVK_TOOL_TERMINAL_H

#include "tool.h"

struct progress {
	const char *what; /* "loading" */
	bool shown;       /* whether standard error is a terminal and -q was not given */
	double start, last;
	int width; /* of the line on the screen */
};

void progress_begin(struct progress *progress);

/* A rwkvk_progress_fn; `user` is a struct progress.  false once a Ctrl-C was caught. */
bool progress_step(void *user, uint64_t done, uint64_t total);

/* Shows another text there; nothing when no line is shown. */
void progress_text(struct progress *progress, const char *text);

/* Removes the line. */
void progress_end(struct progress *progress);

/* The first Ctrl-C from here on cancels the session's work, or, without one, what shows progress; the second one ends the
 * program. */
void interrupt_catch(rwkvk_session *session);
bool interrupt_seen(void);
void interrupt_release(void);

#endif
