/* Shared by the parts of `rwkvk chat`: cmd_chat.c starts it, chat_turn.c makes the model answer, chat_commands.c runs the
 * lines that begin with /. */
#ifndef RWKVK_TOOL_CHAT_H
#define RWKVK_TOOL_CHAT_H

#include "conversation_file.h"
#include "line.h"
#include "model.h"
#include "sampling_args.h"
#include "store_args.h"

/* Of one answer, or of all together. */
struct chat_counts {
	uint64_t answers, prompt_tokens, cached_tokens, tokens;
	double first_seconds, text_seconds; /* from the message to the answer's first token; from there to its end */
};

struct chat {
	/* options */
	struct model_args model_args;
	struct sampling_args sampling;
	struct store_args store;
	struct arg_count most_tokens, cache_memory, cache_disk;
	const char *template_name, *system, *history, *path, *state; /* NULL: not given */
	int think, bos;                                              /* -1: not given */
	/* resources */
	rwkvk_file *file; /* until the model has it */
	rwkvk_model *model;
	rwkvk_session *session;
	rwkvk_cache *cache;
	uint32_t start;      /* of the cache, for --state */
	uint64_t start_hash; /* of its content; 0: none */
	struct bias_list biases;
	struct system_lock *lock;
	struct conversation conversation;
	struct line_reader *lines;
	/* progress */
	struct chat_counts last, all;
	bool shown;  /* an answer is on standard output, so an empty line precedes the next */
	bool ended;  /* by /quit or a signal */
	bool failed; /* something failed, which matters when nobody is typing */
};

/* The model answers the last message of the branch, which is the user's.  The answer goes to standard output and into the
 * conversation, up to where Ctrl-C stopped it; if nothing was written, the branch is unchanged.  EXIT_DONE, or the exit code
 * after a message. */
int chat_answer(struct chat *chat);

/* Writes the conversation to its file, if it has one, or to another, with the branch's latest state in the cache.
 * EXIT_DONE, or EXIT_FAILED after a message. */
int chat_keep(struct chat *chat);
int chat_keep_in(struct chat *chat, const char *path);

/* Replaces the conversation with another, from a file or new (then `path` is for messages); the chat takes ownership.  Reports
 * anything that does not fit the model.  EXIT_DONE, or EXIT_FAILED after a message. */
int chat_take(struct chat *chat, struct conversation *conversation, const char *path);
/* Puts the conversation's saved state into the cache, if the state still matches the text. */
void chat_restore(struct chat *chat, const char *path);

/* Whether the template has the mode; if not, the library's last error says which template does. */
bool chat_can_think(rwkvk_chat_template chat, rwkvk_chat_think think);

/* A reply to the user's command: a line on standard error, even with -q. */
void chat_say(const char *format, ...) TOOL_PRINTF(1, 2);

/* A line that begins with /.  EXIT_DONE, or EXIT_FAILED after a message. */
int chat_command(struct chat *chat, char *line);

/* A line_complete_fn; `user` is a struct chat. */
const char *chat_complete(void *user, const char *line, size_t index, size_t *word);

#endif
