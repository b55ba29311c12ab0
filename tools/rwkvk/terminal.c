#include "terminal.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fields.h"
#include "streams.h"
#include "system.h"

static rwkvk_cancel *volatile flag;
static volatile sig_atomic_t caught; /* the first signal */
static atomic_int line_width;        /* of the progress line; reports may come from other threads */

/* ---------------------------------------------------------------------------------------------------- progress */

void progress_begin(struct progress *progress, const char *what, enum progress_unit unit)
{
	double now = now_seconds();
	*progress = (struct progress){
		.what = what, .unit = unit, .shown = !is_quiet() && system_is_terminal(stderr), .start = now, .last = now
	};
}

/* Overwrites the line with blanks where the new text is shorter: needs nothing of the terminal but '\r'. */
static void show_line(const char *text)
{
	int width = (int)strlen(text), before = atomic_exchange(&line_width, width);
	fprintf(stderr, "\r%s%*s%s", text, width < before ? before - width : 0, "", width == 0 ? "\r" : "");
	fflush(stderr);
}

static struct short_text amount(const struct progress *progress, uint64_t value)
{
	if (progress->unit == PROGRESS_BYTES)
		return show_bytes(value);
	struct short_text out;
	snprintf(out.text, sizeof(out.text), "%llu", (unsigned long long)value);
	return out;
}

/* The time of past steps says little about those to come. */
static void add_speed(const struct progress *progress, uint64_t done, uint64_t total, double now, char *line, size_t size)
{
	double speed = (double)done / (now - progress->start);
	size_t length = strlen(line);
	if (progress->unit == PROGRESS_TOKENS && speed > 0)
		snprintf(line + length, size - length, " tokens  %.1f tok/s  %.0f s left", speed, (double)(total - done) / speed);
	else if (progress->unit == PROGRESS_BYTES && speed > 0)
		snprintf(line + length, size - length, "  %s/s  %.0f s left", show_bytes((uint64_t)speed).text,
		         (double)(total - done) / speed);
}

bool progress_step(void *user, uint64_t done, uint64_t total)
{
	struct progress *progress = user;
	double now = now_seconds();
	if (!progress->shown || total == 0 || now - progress->last < 0.1)
		return !interrupt_seen();
	char line[120];
	snprintf(line, sizeof(line), "%s %3d %%  %s of %s", progress->what, (int)(100.0 * (double)done / (double)total),
	         amount(progress, done).text, amount(progress, total).text);
	add_speed(progress, done, total, now, line, sizeof(line));
	progress->last = now;
	show_line(line);
	return !interrupt_seen();
}

void progress_text(struct progress *progress, const char *text)
{
	if (progress->shown)
		show_line(text);
}

void progress_end(void)
{
	if (atomic_load(&line_width) > 0)
		show_line("");
}

/* ---------------------------------------------------------------------------------------------------- reports */

void show_report(void *user, rwkvk_log_level level, const char *text)
{
	(void)user;
	char line[FIELDS_SIZE];
	if (level == RWKVK_LOG_NOTE && is_quiet())
		return;
	progress_end();
	/* One call, so that lines of several threads do not mix. */
	fprintf(stderr, "%s%s\n",
	        level == RWKVK_LOG_NOTE      ? ""
	        : level == RWKVK_LOG_WARNING ? "rwkvk: warning: "
	                                     : "rwkvk: ",
	        fields_as_options(line, sizeof(line), text));
	fflush(stderr);
}

/* ---------------------------------------------------------------------------------------------------- Ctrl-C */

static bool on_interrupt(int number)
{
	if (flag && !caught) {
		caught = number;
		rwkvk_cancel_set(flag);
		return true;
	}
	rwkvk_outputs_remove();
	return false;
}

void interrupt_install(void)
{
	system_catch_interrupts(on_interrupt);
}

/* Without memory for the flag, Ctrl-C still ends the program. */
void interrupt_catch(void)
{
	rwkvk_cancel *made;
	if (!flag && rwkvk_cancel_create(&made) == RWKVK_OK)
		flag = made;
}

const rwkvk_cancel *interrupt_flag(void)
{
	return flag;
}

bool interrupt_seen(void)
{
	return rwkvk_cancel_is_set(flag);
}

bool interrupt_forget(void)
{
	if (caught == SIGTERM)
		return false;
	rwkvk_cancel_clear(flag);
	caught = 0;
	return true;
}

/* A shell sees by the signal, not by the exit code, that a loop of commands should end. */
int interrupt_finish(int code)
{
	rwkvk_cancel *made = flag;
	flag = NULL;
	rwkvk_cancel_destroy(made);
	if (code == EXIT_INTERRUPTED && caught)
		system_end_as(caught);
	return code;
}
