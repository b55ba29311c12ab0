#include "chat_prompt.h"

#include <stdlib.h>

/* The messages of the branch, after the system message; to be freed.  NULL: out of memory. */
static rwkvk_chat_message *branch_messages(const struct conversation *c, size_t *count)
{
	size_t length = conversation_path(c, NULL), *path = calloc(length + 1, sizeof(*path)), n = 0;
	rwkvk_chat_message *messages = path ? calloc(length + 1, sizeof(*messages)) : NULL;
	if (messages) {
		conversation_path(c, path);
		if (c->system[0])
			messages[n++] = (rwkvk_chat_message){ .size = sizeof(*messages), .role = RWKVK_ROLE_SYSTEM, .text = c->system };
		for (size_t i = 0; i < length; i++)
			messages[n++] = (rwkvk_chat_message){ .size = sizeof(*messages),
				                                  .role = c->messages[path[i]].role,
				                                  .text = c->messages[path[i]].text };
	}
	free(path);
	*count = n;
	return messages;
}

static int render(const struct conversation *c, const rwkvk_chat_message *messages, bool messages_only, struct rendered *out)
{
	const rwkvk_chat_options options = { .size = sizeof(options), .think = c->think, .messages_only = messages_only };
	out->ends = calloc(out->count + 1, sizeof(*out->ends));
	if (!out->ends)
		return failed("out of memory");
	if (rwkvk_chat_render(c->chat, messages, out->count, &options, NULL, 0, &out->bytes, out->ends) != RWKVK_OK)
		return failed_call();
	out->text = malloc(out->bytes + 1);
	if (!out->text)
		return failed("out of memory");
	if (rwkvk_chat_render(c->chat, messages, out->count, &options, out->text, out->bytes, &out->bytes, out->ends) != RWKVK_OK)
		return failed_call();
	return EXIT_DONE;
}

int render_branch(const struct conversation *conversation, bool messages_only, struct rendered *out)
{
	*out = (struct rendered){ 0 };
	rwkvk_chat_message *messages = branch_messages(conversation, &out->count);
	int code = messages ? render(conversation, messages, messages_only, out) : failed("out of memory");
	free(messages);
	if (code != EXIT_DONE)
		rendered_free(out);
	return code;
}

void rendered_free(struct rendered *rendered)
{
	free(rendered->text);
	free(rendered->ends);
	*rendered = (struct rendered){ 0 };
}

rwkvk_prompt_options prompt_options(const struct chat *chat, const struct rendered *text, size_t bytes)
{
	size_t count = 0;
	while (count < text->count && text->ends[count] <= bytes)
		count++;
	return (rwkvk_prompt_options){
		.size = sizeof(rwkvk_prompt_options), .ends = text->ends, .end_count = count, .start = chat->start
	};
}
