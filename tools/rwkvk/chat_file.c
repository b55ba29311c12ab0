/* The conversation's file: saving it after each turn, and continuing from an existing one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat_prompt.h"
#include "system.h"

/* ---------------------------------------------------------------------------------------------------- keeping */

/* Stores the session's state in the conversation: the state after the first `bytes` of the text. */
static bool keep_session(struct chat *chat, const struct rendered *text, size_t bytes)
{
	struct kept_state *state = &chat->conversation.state;
	size_t size = rwkvk_session_state_size(chat->session);
	uint8_t *data = malloc(size);
	if (!data || rwkvk_session_state_get(chat->session, data, size) != RWKVK_OK) {
		free(data);
		return false;
	}
	*state = (struct kept_state){ .data = data,
		                          .bytes = size,
		                          .text_bytes = bytes,
		                          .text_hash = conversation_hash(text->text, bytes),
		                          .start_hash = chat->start_hash };
	snprintf(state->fingerprint, sizeof(state->fingerprint), "%s", rwkvk_cache_fingerprint(chat->cache));
	return true;
}

/* Whether the cache has the state after so many bytes, where a message ends; if so, the session gets it.  For a text that ends
 * there the cache would need logits as well, which are not wanted here; hence the extra byte, which it has never seen. */
static bool recall(struct chat *chat, const struct rendered *text, size_t bytes)
{
	static const char more = 'x';
	const rwkvk_prompt_options options = prompt_options(chat, text, bytes);
	rwkvk_prompt *prompt = NULL;
	rwkvk_prompt_info info = { .size = sizeof(info) };
	char *longer = malloc(bytes + 1);
	size_t unread = 0;
	if (longer) {
		memcpy(longer, text->text, bytes);
		longer[bytes] = more;
	}
	bool known = longer && rwkvk_prompt_create(chat->cache, longer, bytes + 1, &options, &prompt) == RWKVK_OK &&
	             rwkvk_tokenizer_encode(rwkvk_model_tokenizer(chat->model), &more, 1, NULL, 0, &unread) == RWKVK_OK &&
	             rwkvk_prompt_begin(prompt, chat->session) == RWKVK_OK && rwkvk_prompt_get_info(prompt, &info) == RWKVK_OK &&
	             info.cached + unread == info.tokens;
	rwkvk_prompt_destroy(prompt);
	free(longer);
	return known;
}

/* Keeps the branch's latest state in the cache.  After an answer with reasoning that is the end of the message before it; for a
 * message without an answer, it is one further back. */
static void keep_state(struct chat *chat)
{
	enum { MOST = 3 };
	struct rendered text;
	free(chat->conversation.state.data);
	chat->conversation.state = (struct kept_state){ 0 };
	if (render_branch(&chat->conversation, true, &text) != EXIT_DONE)
		return;
	for (size_t i = 0; i < MOST && i < text.count; i++)
		if (recall(chat, &text, text.ends[text.count - 1 - i])) {
			keep_session(chat, &text, text.ends[text.count - 1 - i]);
			break;
		}
	rendered_free(&text);
}

/* The model's name in its file, or else the file's name. */
static char *model_name(const struct chat *chat)
{
	rwkvk_model_info info = { .size = sizeof(info) };
	const char *title = model_title(&chat->model_args);
	bool named = rwkvk_model_get_info(chat->model, &info) == RWKVK_OK && info.name[0];
	const char *name = named ? info.name : system_path_name(title);
	return conversation_text(name, strlen(name));
}

int chat_keep_in(struct chat *chat, const char *path)
{
	char *name = model_name(chat);
	if (!name)
		return failed("%s: out of memory", path);
	free(chat->conversation.model);
	chat->conversation.model = name;
	keep_state(chat);
	return conversation_save(path, &chat->conversation);
}

int chat_keep(struct chat *chat)
{
	return chat->path ? chat_keep_in(chat, chat->path) : EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------------- taking */

bool chat_can_think(rwkvk_chat_template chat, rwkvk_chat_think think)
{
	const rwkvk_chat_options options = { .size = sizeof(options), .think = think };
	size_t bytes;
	return rwkvk_chat_render(chat, NULL, 0, &options, NULL, 0, &bytes, NULL) == RWKVK_OK;
}

/* If the user has chosen, or greet() reports it, the model's template is not consulted and does not warn. */
static rwkvk_status choose_template(const struct chat *chat, rwkvk_chat_template *out)
{
	*out = RWKVK_CHAT_PLAIN;
	if (!chat->template_name && !chat->model_args.path)
		return RWKVK_OK;
	return chat->template_name ? rwkvk_chat_find(chat->template_name, out) : rwkvk_model_chat(chat->model, out);
}

/* The template of a conversation with another model says nothing about this one. */
static int settle(struct chat *chat, const char *path)
{
	struct conversation *c = &chat->conversation;
	char *name = model_name(chat);
	if (!name)
		return failed("out of memory");
	bool same = strcmp(name, c->model) == 0;
	if (!same && c->model[0])
		note("%s: %s has answered here until now; %s reads the text again", path, c->model, name);
	free(name);
	if (!same && choose_template(chat, &c->chat) != RWKVK_OK)
		return failed_call();
	if (!chat_can_think(c->chat, c->think)) {
		note("%s: the template %s has no think mode %s; it is off", path, rwkvk_chat_name(c->chat), think_names[c->think]);
		c->think = RWKVK_THINK_OFF;
	}
	return EXIT_DONE;
}

int chat_take(struct chat *chat, struct conversation *conversation, const char *path)
{
	conversation_free(&chat->conversation);
	chat->conversation = *conversation;
	return settle(chat, path);
}

void chat_restore(struct chat *chat, const char *path)
{
	const struct kept_state *state = &chat->conversation.state;
	struct rendered text;
	if (!state->data)
		return;
	if (strcmp(state->fingerprint, rwkvk_cache_fingerprint(chat->cache)) != 0 || state->start_hash != chat->start_hash) {
		note("%s: its state is of another model, of other options or of another --state; the text is read again", path);
		return;
	}
	if (render_branch(&chat->conversation, true, &text) != EXIT_DONE)
		return;
	if (state->text_bytes <= text.bytes && conversation_hash(text.text, (size_t)state->text_bytes) == state->text_hash) {
		size_t bytes = (size_t)state->text_bytes;
		const rwkvk_prompt_options options = prompt_options(chat, &text, bytes);
		if (rwkvk_cache_put(chat->cache, text.text, bytes, &options, state->data, state->bytes) != RWKVK_OK)
			warn("%s: its state cannot be used, and the text is read again: %s", path, rwkvk_last_error());
	}
	rendered_free(&text);
}
