/* Chats: messages as the prompt of a family of models, and a model's answer in its parts (rwkvk.h, docs/chat.md).
 *
 *   chat.c          the templates, and which one a model uses
 *   chat_render.c   from messages to the prompt
 *   chat_tools.c    the JSON of tools and of calls
 *   chat_answer.c   the answer after the prompt */
#ifndef RWKVK_TEXT_CHAT_H
#define RWKVK_TEXT_CHAT_H

#include "base/error.h"

enum { CHAT_MODES = RWKVK_THINK_A_LOT + 1 };

struct chat_format {
	const char *name;
	const char *system, *user, *assistant; /* the prefix of a message */
	bool keeps_blank_lines;                /* in texts of system and user */
	bool keeps_answers;                    /* blank lines in the assistant's */
	bool blank_line_ends;                  /* an answer: the token "\n\n" */
	bool has_tools;
	const char *stop; /* the text that ends an answer */
	/* By think mode: the text after the last `assistant`, less its space, and the end of the user's text.  NULL: no such
	 * mode. */
	const char *tail[CHAT_MODES], *hint[CHAT_MODES];
};

/* The format of a caller's template, after checking that it supports the options. */
rwkvk_status chat_open(rwkvk_chat_template chat, const rwkvk_chat_options *given, rwkvk_chat_options *options,
                       const struct chat_format **out);

/* Which template a model uses.  text: its file's chat_template; NULL: it has none. */
struct chat_choice {
	rwkvk_chat_template chat;
	bool unknown; /* the file's text is unknown */
};
struct chat_choice chat_choose(const char *text, uint32_t version, bool world);

/* Every name, for messages: "g1, rwkv-world, ...". */
#define CHAT_NAMES "g1, rwkv-world, world, raven or plain"

/* Text for the caller: all of it is counted, and as much is written as there is room for. */
struct text_sink {
	char *text;
	size_t capacity, count;
};
void put_bytes(struct text_sink *out, const void *bytes, size_t count);
void put_text(struct text_sink *out, const char *text);

/* Without white space at both ends, as Python's strip() does for Unicode. */
struct chat_span {
	const char *text;
	size_t bytes;
};
struct chat_span chat_strip(struct chat_span span);

/* The list of tools as shown to models; the calls of a message, in the form that models write. */
rwkvk_status chat_put_tools(const char *tools, struct text_sink *out);
rwkvk_status chat_put_calls(const char *calls, struct text_sink *out);

#define THINK_BEGIN "<think>"
#define THINK_END   "</think>"
#define CALL_BEGIN  "```json"
#define CALL_END    "```"

#endif
