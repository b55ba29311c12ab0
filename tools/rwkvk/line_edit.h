/* The part of libedit that line.c needs. */
#ifndef RWKVK_TOOL_LINE_EDIT_H
#define RWKVK_TOOL_LINE_EDIT_H

#include "line.h"

struct line_edit;

struct line_edit *line_edit_open(const struct line_options *options); /* NULL: libedit cannot use this terminal */
void line_edit_close(struct line_edit *edit);
enum line_end line_edit_read(struct line_edit *edit, const char *prompt, const char **line, size_t *bytes);

#endif
