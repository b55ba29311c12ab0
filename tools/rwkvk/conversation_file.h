/* Conversations as files (docs/formats.md), and who may write one. */
#ifndef RWKVK_TOOL_CONVERSATION_FILE_H
#define RWKVK_TOOL_CONVERSATION_FILE_H

#include "conversation.h"
#include "system.h"

enum { CONVERSATION_ERROR = 400 }; /* room for a message */

/* The file's content; to be freed.  NULL: out of memory. */
uint8_t *conversation_to_bytes(const struct conversation *conversation, size_t *bytes);
/* And back.  false with a message that begins with `name`; then there is nothing to free. */
bool conversation_from_bytes(const char *name, const uint8_t *data, size_t bytes, struct conversation *out, char *error);

/* Whether there is a file of that name, which may be no conversation. */
bool conversation_is_there(const char *path);

/* Reads a file.  EXIT_DONE, or the exit code after a message. */
int conversation_load(const char *path, struct conversation *out);
/* Replaces the file as a whole, but none that is no conversation; likewise. */
int conversation_save(const char *path, const struct conversation *conversation);

/* While a program writes to a conversation again and again no other one does: it has locked the file PATH.lock; to be given to
 * system_unlock().  EXIT_DONE, or EXIT_FAILED after a message: another program has it, or the file cannot be made. */
int conversation_lock(const char *path, struct system_lock **lock);

#endif
