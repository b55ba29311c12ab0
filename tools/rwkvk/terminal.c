#include "terminal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io.h"

static rwkvk_session *volatile running;
static volatile sig_atomic_t seen;

/* ---------------------------------------------------------------------------------------------------- progress */

void progress_begin(struct progress *progress)
{
	double now = now_seconds();
	*progress =
		(struct progress){ .what = "loading", .shown = !is_quiet() && isatty(STDERR_FILENO), .start = now, .last = now };
}

/* Overwrites the line with blanks where the new text is shorter: needs nothing of the terminal but '\r'. */
static void show_line(struct progress *progress, const char *text)
{
	int width = (int)strlen(text);
	fprintf(stderr, "\r%s%*s", text, width < progress->width ? progress->width - width : 0, "");
	if (width == 0)
		fputc('\r', stderr);
	fflush(stderr);
	progress->width = width;
}

bool progress_step(void *user, uint64_t done, uint64_t total)
{
	struct progress *progress = user;
	double now = now_seconds();
	if (!progress->shown || total == 0 || now - progress->last < 0.1)
		return !seen;
	double speed = (double)done / (now - progress->start);
	char line[120];
	int length =
		snprintf(line, sizeof(line), "%s %3d %%  %s of %s  %s/s", progress->what, (int)(100.0 * (double)done / (double)total),
	             show_bytes(done).text, show_bytes(total).text, show_bytes((uint64_t)speed).text);
	if (speed > 0)
		snprintf(line + length, sizeof(line) - (size_t)length, "  %.0f s left", (double)(total - done) / speed);
	progress->last = now;
	show_line(progress, line);
	return !seen;
}

void progress_text(struct progress *progress, const char *text)
{
	if (progress->shown)
		show_line(progress, text);
}

void progress_end(struct progress *progress)
{
	if (progress->width > 0)
		show_line(progress, "");
}

/* ---------------------------------------------------------------------------------------------------- Ctrl-C */

static void on_interrupt(int number)
{
	(void)number;
	seen = 1;
	if (running)
		rwkvk_session_cancel(running);
}

void interrupt_catch(rwkvk_session *session)
{
	running = session;
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)(SA_RESTART | SA_RESETHAND) };
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
}

bool interrupt_seen(void)
{
	return seen;
}

void interrupt_release(void)
{
	running = NULL;
}
