/* The user at the terminal: a progress line during long work, the library's reports, and Ctrl-C. */
#ifndef RWKVK_TOOL_TERMINAL_H
#define RWKVK_TOOL_TERMINAL_H

#include "tool.h"

enum progress_unit { PROGRESS_BYTES, PROGRESS_STEPS, PROGRESS_TOKENS };

struct progress {
	const char *what; /* "loading" */
	enum progress_unit unit;
	bool shown; /* whether standard error is a terminal and -q was not given */
	double start, last;
};

/* The screen has room for one line, so only one progress at a time. */
void progress_begin(struct progress *progress, const char *what, enum progress_unit unit);

/* A rwkvk_progress_fn; `user` is a struct progress.  false once a Ctrl-C was caught. */
bool progress_step(void *user, uint64_t done, uint64_t total);

/* Changes the line's text; does nothing if no line is shown. */
void progress_text(struct progress *progress, const char *text);

/* Removes the line. */
void progress_end(void);

/* A rwkvk_log_fn: a line on standard error for each report.  -q silences notes, not warnings or errors. */
void show_report(void *user, rwkvk_log_level level, const char *text);

/* Ctrl-C is SIGINT; SIGTERM is treated the same.  From here on it ends the program, and removes half-written files. */
void interrupt_install(void);

/* The first Ctrl-C from here on sets interrupt_flag(), which ends what names it, and makes progress_step() give up; the second
 * one ends the program.  May be called again. */
void interrupt_catch(void);
const rwkvk_cancel *interrupt_flag(void); /* NULL: Ctrl-C is not caught */
bool interrupt_seen(void);

/* For a program that continues after a Ctrl-C: the next one counts as the first again.  false: it was SIGTERM, which asks the
 * program to end. */
bool interrupt_forget(void);

/* At the end of the program.  If `code` is EXIT_INTERRUPTED, ends it by the signal that was caught. */
int interrupt_finish(int code);

#endif
