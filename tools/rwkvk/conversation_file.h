/* Conversations as files (docs/formats.md), and who may write one. */
#ifndef RWKVK_TOOL_CONVERSATION_FILE_H
#define RWKVK_TOOL_CONVERSATION_FILE_H

#include "conversation.h"
#include "system.h"

enum { CONVERSATION_ERROR = 400 }; /* room for a message */

/* The file's content; to be freed.  NULL: out of memory. */
uint8_t *conversation_to_bytes(const struct conversation *conversation, size_t *bytes);
/* The conversation from that content.  false with a message that begins with `name`; then there is nothing to free. */
bool conversation_from_bytes(const char *name, const uint8_t *data, size_t bytes, struct conversation *out, char *error);

/* Whether a file of that name exists; it need not be a conversation. */
bool conversation_is_there(const char *path);

/* Reads a file.  EXIT_DONE, or the exit code after a message. */
int conversation_load(const char *path, struct conversation *out);
/* Replaces the whole file, but never one that is not a conversation.  EXIT_DONE, or the exit code after a message. */
int conversation_save(const char *path, const struct conversation *conversation);

/* Locks the file PATH.lock, so that no other program writes to the conversation meanwhile; pass the lock to system_unlock().
 * EXIT_DONE, or EXIT_FAILED after a message: another program holds the lock, or the file cannot be created. */
int conversation_lock(const char *path, struct system_lock **lock);

#endif
