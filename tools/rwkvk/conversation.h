/* A conversation as a tree.  Each message follows another one or none; a branch is a name for one message and with it for all
 * that lead there.  One branch is the current one, and what is said goes to its end.  Messages that no branch leads to are
 * forgotten. */
#ifndef RWKVK_TOOL_CONVERSATION_H
#define RWKVK_TOOL_CONVERSATION_H

#include "tool.h"

#define NO_MESSAGE SIZE_MAX

struct message {
	size_t parent;        /* index of the message it follows, which is smaller than its own; NO_MESSAGE: it is a first one */
	rwkvk_chat_role role; /* user's, or the assistant's */
	char *text;
};

struct branch {
	char *name;
	size_t last; /* NO_MESSAGE: nothing has been said */
};

/* A session's state beside the messages, so that they need not be read again. */
struct kept_state {
	uint8_t *data; /* as of rwkvk_session_state_get(); NULL: none */
	size_t bytes;
	uint64_t text_bytes;  /* it stands for so many bytes of the rendered branch */
	uint64_t text_hash;   /* conversation_hash() of them */
	uint64_t start_hash;  /* of the file that the text begins from (--state); 0: none */
	char fingerprint[33]; /* of the cache it is from */
};

struct conversation {
	struct message *messages;
	size_t count;
	struct branch *branches; /* at least one */
	size_t branch_count, current;
	char *system; /* what the system says; "": nothing */
	char *model;  /* that answered last; "": none has */
	rwkvk_chat_template chat;
	rwkvk_chat_think think;
	uint64_t seed, answers; /* answer number n was drawn with seed + n */
	struct kept_state state;
};

/* An empty conversation.  false: out of memory; this goes for all functions here that return bool.  Then nothing has changed.
 */
bool conversation_init(struct conversation *conversation);
void conversation_free(struct conversation *conversation); /* zeroed is allowed */

/* Text of any origin as messages hold it: what is no UTF-8, and 0, as U+FFFD.  To be freed. */
char *conversation_text(const char *bytes, size_t count);

/* Replaces one of the conversation's strings. */
bool conversation_set(char **string, const char *text);

size_t conversation_last(const struct conversation *conversation);      /* of the current branch; NO_MESSAGE: none */
bool conversation_is_answered(const struct conversation *conversation); /* whether it is the assistant's, or there is none */

/* A message at the end of the current branch; the text belongs to the conversation from now on, or is freed. */
bool conversation_add(struct conversation *conversation, rwkvk_chat_role role, char *text);

/* Ends the current branch with another message, and forgets nothing; then conversation_prune() does. */
void conversation_go_back(struct conversation *conversation, size_t last);
void conversation_prune(struct conversation *conversation);

/* Messages of the current branch from the first on: how many there are, and with `path` not NULL which. */
size_t conversation_path(const struct conversation *conversation, size_t *path);

/* The branch of that name; branch_count: none. */
size_t conversation_find(const struct conversation *conversation, const char *name);
/* Whether a branch may be called so: 1 to 60 bytes, no blanks and no control characters. */
bool conversation_is_name(const char *name);
/* A branch that ends where the current one does, which it becomes. */
bool conversation_fork(struct conversation *conversation, const char *name);

/* Think modes by name, "off" to "a-lot"; NULL past the last. */
extern const char *const think_names[];

uint64_t conversation_hash(const void *data, size_t bytes);

#endif
