/* What the parts of `rwkvk chat` share: cmd_chat.c opens it, chat_turn.c has the model answer, chat_commands.c does what a line
 * that begins with / asks for. */
#ifndef RWKVK_TOOL_CHAT_H
#define RWKVK_TOOL_CHAT_H

#include "conversation_file.h"
#include "line.h"
#include "model.h"
#include "sampling_args.h"

/* Of one answer, or of all together. */
struct chat_counts {
	uint64_t answers, prompt_tokens, cached_tokens, tokens;
	double first_seconds, text_seconds; /* from the message to the first of the answer; from there to its end */
};

struct chat {
	/* options */
	struct model_args model_args;
	struct sampling_args sampling;
	struct arg_count most_tokens, cache_memory, cache_disk;
	const char *template_name, *system, *history, *path, *state; /* NULL: not given */
	int think, bos;                                              /* -1: not given */
	/* what is open */
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
	/* on its way */
	struct chat_counts last, all;
	bool shown;  /* an answer is on standard output, so another one follows after an empty line */
	bool ended;  /* by /quit or a signal */
	bool failed; /* something has, which counts where nobody types */
};

/* The model answers the last message of the branch, which is the user's.  The answer is on standard output and in the
 * conversation, as far as Ctrl-C lets it come; where nothing has come the branch ends as before.  EXIT_DONE, or the exit code
 * after a message. */
int chat_answer(struct chat *chat);

/* Writes the conversation to its file, if it has one, or to another, with the last state of the branch that the cache has.
 * EXIT_DONE, or EXIT_FAILED after a message. */
int chat_keep(struct chat *chat);
int chat_keep_in(struct chat *chat, const char *path);

/* Another conversation in place of this one, from a file or new (then `path` is for messages); it belongs to the chat from now
 * on.  What does not fit the model is said.  EXIT_DONE, or EXIT_FAILED after a message. */
int chat_take(struct chat *chat, struct conversation *conversation, const char *path);
/* Gives the cache the state that came with it, if that still stands for the text. */
void chat_restore(struct chat *chat, const char *path);

/* Whether the template has the mode; else false, and the library's last error says which has. */
bool chat_can_think(rwkvk_chat_template chat, rwkvk_chat_think think);

/* What the user has asked to be told: a line on standard error, also with -q. */
void chat_say(const char *format, ...) TOOL_PRINTF(1, 2);

/* A line that begins with /.  EXIT_DONE, or EXIT_FAILED after a message. */
int chat_command(struct chat *chat, char *line);

/* A line_complete_fn; `user` is a struct chat. */
const char *chat_complete(void *user, const char *line, size_t index, size_t *word);

#endif
