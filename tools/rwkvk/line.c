#include "line.h"

#include <stdio.h>
#include <stdlib.h>

#include "system.h"
#include "terminal.h"
#ifdef RWKVK_CHAT_EDIT
#include "line_edit.h"
#endif

struct line_reader {
	bool typed;
	struct line_edit *edit; /* NULL: lines are not edited */
	char *line;
	size_t capacity;
	char input[4096]; /* of what was read, lines that nobody has asked for begin at `at` */
	size_t at, filled;
};

struct line_reader *line_open(const struct line_options *options)
{
	struct line_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return NULL;
	reader->typed = system_is_terminal(stdin) && system_is_terminal(stderr);
#ifdef RWKVK_CHAT_EDIT
	if (reader->typed)
		reader->edit = line_edit_open(options);
#else
	(void)options;
#endif
	return reader;
}

void line_close(struct line_reader *reader)
{
	if (!reader)
		return;
#ifdef RWKVK_CHAT_EDIT
	line_edit_close(reader->edit);
#endif
	free(reader->line);
	free(reader);
}

bool line_is_typed(const struct line_reader *reader)
{
	return reader->typed;
}

/* Appends a byte to the line; false: out of memory. */
static bool add(struct line_reader *reader, size_t count, char byte)
{
	if (count + 1 >= reader->capacity) {
		size_t capacity = 2 * reader->capacity + 256;
		char *larger = realloc(reader->line, capacity);
		if (!larger)
			return false;
		reader->line = larger;
		reader->capacity = capacity;
	}
	reader->line[count] = byte;
	return true;
}

/* False: the input is over, or an interrupt was caught. */
static bool next_byte(struct line_reader *reader, char *byte)
{
	if (reader->at == reader->filled) {
		reader->at = 0;
		reader->filled = system_read_some(reader->input, sizeof(reader->input), interrupt_seen);
	}
	if (reader->at == reader->filled)
		return false;
	*byte = reader->input[reader->at++];
	return true;
}

static enum line_end read_plain(struct line_reader *reader, const char *prompt, const char **line, size_t *bytes)
{
	if (reader->typed)
		fputs(prompt, stderr);
	fflush(stderr);
	size_t count = 0;
	char byte = 0;
	bool over;
	while (!(over = !next_byte(reader, &byte)) && byte != '\n' && add(reader, count, byte))
		count++;
	if (interrupt_seen())
		return LINE_CLEARED;
	if ((over && count == 0) || !add(reader, count, 0))
		return LINE_OVER;
	if (count > 0 && reader->line[count - 1] == '\r')
		reader->line[--count] = 0;
	*line = reader->line;
	*bytes = (size_t)count;
	return LINE_READ;
}

enum line_end line_read(struct line_reader *reader, const char *prompt, const char **line, size_t *bytes)
{
#ifdef RWKVK_CHAT_EDIT
	enum line_end end =
		reader->edit ? line_edit_read(reader->edit, prompt, line, bytes) : read_plain(reader, prompt, line, bytes);
#else
	enum line_end end = read_plain(reader, prompt, line, bytes);
#endif
	if (reader->typed && (end == LINE_OVER || (end == LINE_CLEARED && !reader->edit)))
		fputc('\n', stderr);
	return end;
}
