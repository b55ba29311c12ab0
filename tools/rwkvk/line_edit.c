/* The keys are libedit's Emacs keys, except for four.  Ctrl-C and Ctrl-Z come as characters while a line is edited,
 * since libedit would pass their signals on to all programs of the group. */
#include "line_edit.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "system.h"
#include "terminal.h"

enum { HISTORY_LINES = 1000 };

struct line_edit {
	struct line_options options;
	char *path; /* of the history; NULL: none */
	EditLine *edit;
	History *history;
	FILE *screen; /* standard error, with a buffer */
	const char *prompt;
	bool cleared;
};

static struct line_edit *edit_of(EditLine *el)
{
	void *data = NULL;
	el_get(el, EL_CLIENTDATA, &data);
	return data;
}

static char *prompt_of(EditLine *el)
{
	return (char *)(uintptr_t)edit_of(el)->prompt;
}

/* ---------------------------------------------------------------------------------------------------- keys */

/* A signal ends the line. */
static int next_character(EditLine *el, wchar_t *out)
{
	mbstate_t state = { 0 };
	(void)el;
	while (!interrupt_seen()) {
		char byte;
		if (system_read_some(&byte, 1, interrupt_seen) == 0)
			return 0;
		size_t used = mbrtowc(out, &byte, 1, &state);
		if (used == (size_t)-1) /* no character begins like this */
			state = (mbstate_t){ 0 };
		else if (used != (size_t)-2)
			return 1;
	}
	return 0;
}

static unsigned char on_clear(EditLine *el, int key)
{
	(void)key;
	edit_of(el)->cleared = true;
	fputs("^C\n", edit_of(el)->screen);
	return CC_NEWLINE;
}

static unsigned char on_suspend(EditLine *el, int key)
{
	(void)key;
	el_set(el, EL_PREP_TERM, 0);
	raise(SIGTSTP);
	el_set(el, EL_PREP_TERM, 1);
	return CC_REDISPLAY;
}

/* ---------------------------------------------------------------------------------------------------- completion */

/* Completions of the line's last word. */
struct matches {
	const char *first;
	size_t count, common, typed; /* bytes that all of them share, and how many of these are typed */
};

static const char *match(const struct line_edit *edit, const char *line, size_t index, bool *fits, size_t *typed)
{
	size_t word = 0;
	const char *text = edit->options.complete(edit->options.user, line, index, &word);
	if (!text)
		return NULL;
	*typed = strlen(line) - word;
	*fits = strncmp(text, line + word, *typed) == 0;
	return text;
}

static struct matches find_matches(const struct line_edit *edit, const char *line)
{
	struct matches found = { 0 };
	bool fits;
	size_t typed;
	const char *text;
	for (size_t i = 0; (text = match(edit, line, i, &fits, &typed)); i++) {
		if (!fits)
			continue;
		size_t same = 0;
		if (found.count++ == 0) {
			found = (struct matches){ .first = text, .count = 1, .common = strlen(text), .typed = typed };
			continue;
		}
		while (same < found.common && text[same] == found.first[same])
			same++;
		found.common = same;
	}
	return found;
}

static void list_matches(const struct line_edit *edit, const char *line)
{
	bool fits;
	size_t typed;
	const char *text;
	fputc('\n', edit->screen);
	for (size_t i = 0; (text = match(edit, line, i, &fits, &typed)); i++)
		if (fits)
			fprintf(edit->screen, "%s  ", text);
	fputc('\n', edit->screen);
}

static unsigned char on_complete(EditLine *el, int key)
{
	(void)key;
	const struct line_edit *edit = edit_of(el);
	const LineInfo *info = el_line(el);
	size_t bytes = (size_t)(info->cursor - info->buffer);
	char *line = strndup(info->buffer, bytes), more[80];
	unsigned char answer = CC_REFRESH;
	struct matches found = line ? find_matches(edit, line) : (struct matches){ 0 };
	snprintf(more, sizeof(more), "%.*s%s", (int)(found.common - found.typed), found.first ? found.first + found.typed : "",
	         found.count == 1 ? " " : "");
	if (found.count == 0 || (more[0] && el_insertstr(el, more) != 0))
		answer = CC_ERROR;
	else if (!more[0]) {
		list_matches(edit, line);
		answer = CC_REDISPLAY;
	}
	free(line);
	return answer;
}

/* ---------------------------------------------------------------------------------------------------- opening */

/* libedit reads characters as the locale has them; numbers stay as they are. */
static void understand_characters(void)
{
	if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
}

static void set_keys(struct line_edit *edit)
{
	EditLine *el = edit->edit;
	el_set(el, EL_CLIENTDATA, edit);
	el_set(el, EL_EDITOR, "emacs");
	el_set(el, EL_PROMPT, prompt_of);
	el_set(el, EL_GETCFN, next_character);
	el_set(el, EL_SETTY, "-d", "-isig", NULL);
	el_set(el, EL_ADDFN, "rwkvk-clear", "Clear the line", on_clear);
	el_set(el, EL_ADDFN, "rwkvk-suspend", "Stop until the shell goes on", on_suspend);
	el_set(el, EL_ADDFN, "rwkvk-complete", "Complete the word", on_complete);
	el_set(el, EL_BIND, "^C", "rwkvk-clear", NULL);
	el_set(el, EL_BIND, "^Z", "rwkvk-suspend", NULL);
	el_set(el, EL_BIND, "\t", "rwkvk-complete", NULL);
	el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
}

/* $XDG_STATE_HOME/rwkvk/chat_history, or the same in ~/.local/state, whose folders are made; "" where there is no home. */
static void default_history(char *out, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	out[0] = 0;
	if (state && state[0] == '/')
		snprintf(out, size, "%s/rwkvk/chat_history", state);
	else if (home && home[0])
		snprintf(out, size, "%s/.local/state/rwkvk/chat_history", home);
	for (char *slash = out[0] ? strchr(out + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(out, 0700);
		*slash = '/';
	}
}

/* NULL: none. */
static char *history_path(const struct line_options *options)
{
	char standard[1024];
	if (!options->history)
		default_history(standard, sizeof(standard));
	const char *path = options->history ? options->history : standard;
	return path[0] ? strdup(path) : NULL;
}

static void set_history(struct line_edit *edit)
{
	HistEvent event;
	history(edit->history, &event, H_SETSIZE, HISTORY_LINES);
	history(edit->history, &event, H_SETUNIQUE, 1);
	if (edit->path)
		history(edit->history, &event, H_LOAD, edit->path); /* the first time there is no such file */
	el_set(edit->edit, EL_HIST, history, edit->history);
}

struct line_edit *line_edit_open(const struct line_options *options)
{
	struct line_edit *edit = calloc(1, sizeof(*edit));
	int screen = dup(STDERR_FILENO);
	if (!edit || screen < 0)
		return free(edit), NULL;
	understand_characters();
	edit->options = *options;
	edit->path = history_path(options);
	edit->screen = fdopen(screen, "w");
	edit->history = history_init();
	edit->edit = edit->screen ? el_init("rwkvk", stdin, edit->screen, stderr) : NULL;
	if (!edit->edit || !edit->history) {
		line_edit_close(edit);
		return NULL;
	}
	set_keys(edit);
	set_history(edit);
	return edit;
}

/* The history is for this user alone, also if the file was there before. */
static void keep_history(const struct line_edit *edit)
{
	HistEvent event;
	if (edit->path && history(edit->history, &event, H_SAVE, edit->path) < 0)
		warn("%s: the history cannot be written: %s", edit->path, strerror(errno));
}

void line_edit_close(struct line_edit *edit)
{
	if (!edit)
		return;
	if (edit->edit) {
		if (edit->history)
			keep_history(edit);
		el_end(edit->edit);
	}
	if (edit->history)
		history_end(edit->history);
	if (edit->screen)
		fclose(edit->screen);
	free(edit->path);
	free(edit);
}

enum line_end line_edit_read(struct line_edit *edit, const char *prompt, const char **line, size_t *bytes)
{
	int count = 0;
	HistEvent event;
	edit->prompt = prompt;
	edit->cleared = false;
	el_resize(edit->edit);
	el_set(edit->edit, EL_PREP_TERM, 1); /* before the prompt appears; else early input would be echoed as well */
	const char *text = el_gets(edit->edit, &count);
	if (edit->cleared || interrupt_seen())
		return LINE_CLEARED;
	if (!text || count <= 0)
		return LINE_OVER;
	if (strspn(text, " \t\n") < (size_t)count)
		history(edit->history, &event, H_ENTER, text);
	*bytes = strcspn(text, "\n");
	char *end = (char *)(uintptr_t)text + *bytes;
	*end = 0;
	*line = text;
	return LINE_READ;
}
