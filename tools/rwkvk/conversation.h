/* A conversation as a tree.  Each message follows another one or none; a branch names one message, and so the path that leads
 * to it.  One branch is current, and new messages go to its end.  Messages on no branch's path are dropped. */
#ifndef RWKVK_TOOL_CONVERSATION_H
#define RWKVK_TOOL_CONVERSATION_H

#include "tool.h"

#define NO_MESSAGE SIZE_MAX

struct message {
	size_t parent;        /* index of the message it follows, smaller than its own; NO_MESSAGE: it is a first message */
	rwkvk_chat_role role; /* user's, or the assistant's */
	char *text;
};

struct branch {
	char *name;
	size_t last; /* NO_MESSAGE: the branch is empty */
};

/* A session's state, kept with the messages so that they need not be read again. */
struct kept_state {
	uint8_t *data; /* from rwkvk_session_state_get(); NULL: none */
	size_t bytes;
	uint64_t text_bytes;  /* the state is that after so many bytes of the rendered branch */
	uint64_t text_hash;   /* conversation_hash() of those bytes */
	uint64_t start_hash;  /* of the state file that the text starts from (--state); 0: none */
	char fingerprint[33]; /* of the cache it came from */
};

struct conversation {
	struct message *messages;
	size_t count;
	struct branch *branches; /* at least one */
	size_t branch_count, current;
	char *system; /* the system message; "": none */
	char *model;  /* that gave the last answer; "": none yet */
	rwkvk_chat_template chat;
	rwkvk_chat_think think;
	uint64_t seed, answers; /* answer number n was drawn with seed + n */
	struct kept_state state;
};

/* An empty conversation.  A function here that can fail returns false when out of memory, and then changes nothing. */
bool conversation_init(struct conversation *conversation);
void conversation_free(struct conversation *conversation); /* zeroed is allowed */

/* Text of any origin as messages hold it: invalid UTF-8 and 0 bytes become U+FFFD.  To be freed. */
char *conversation_text(const char *bytes, size_t count);

/* Replaces one of the conversation's strings. */
bool conversation_set(char **string, const char *text);

size_t conversation_last(const struct conversation *conversation);      /* of the current branch; NO_MESSAGE: none */
bool conversation_is_answered(const struct conversation *conversation); /* whether it is the assistant's, or there is none */

/* Adds a message at the end of the current branch; takes ownership of the text, and frees it on failure. */
bool conversation_add(struct conversation *conversation, rwkvk_chat_role role, char *text);

/* Makes another message the end of the current branch, and drops nothing; conversation_prune() does that. */
void conversation_go_back(struct conversation *conversation, size_t last);
void conversation_prune(struct conversation *conversation);

/* Messages of the current branch from the first on: their number and, unless `path` is NULL, their indices. */
size_t conversation_path(const struct conversation *conversation, size_t *path);

/* Index of the branch of that name; branch_count: there is none. */
size_t conversation_find(const struct conversation *conversation, const char *name);
/* Whether a branch may have that name: 1 to 60 bytes, no blanks and no control characters. */
bool conversation_is_name(const char *name);
/* Adds a branch that ends where the current one does, and makes it current. */
bool conversation_fork(struct conversation *conversation, const char *name);

/* Names of the think modes, "off" to "a-lot"; NULL past the last. */
extern const char *const think_names[];

uint64_t conversation_hash(const void *data, size_t bytes);

#endif
