/* The current branch of a conversation as text, and feeding that text to the session. */
#ifndef RWKVK_TOOL_CHAT_PROMPT_H
#define RWKVK_TOOL_CHAT_PROMPT_H

#include "chat.h"

struct rendered {
	char *text;
	size_t bytes;
	size_t *ends; /* where its messages end, the system's included */
	size_t count;
};

/* Ends with the start of the model's answer or, if messages_only, with the last message, as the beginning of longer texts.
 * EXIT_DONE, or the exit code after a message; then there is nothing to free. */
int render_branch(const struct conversation *conversation, bool messages_only, struct rendered *out);
void rendered_free(struct rendered *rendered);

/* For a prompt that is the first so many bytes of the text. */
rwkvk_prompt_options prompt_options(const struct chat *chat, const struct rendered *text, size_t bytes);

#endif
