#include "conversation.h"

#include <stdlib.h>
#include <string.h>

#include "streams.h"

const char *const think_names[] = { [RWKVK_THINK_OFF] = "off",     [RWKVK_THINK_FAKE] = "fake",   [RWKVK_THINK_ON] = "on",
	                                [RWKVK_THINK_A_BIT] = "a-bit", [RWKVK_THINK_A_LOT] = "a-lot", NULL };

/* ---------------------------------------------------------------------------------------------------- texts */

char *conversation_text(const char *bytes, size_t count)
{
	char *copy = malloc(count + 1);
	for (size_t i = 0; copy && i < count; i++)
		copy[i] = bytes[i] ? bytes[i] : '\xff';
	json_t *clean = copy ? json_bytes(copy, count) : NULL;
	free(copy);
	char *text = clean ? strdup(json_string_value(clean)) : NULL;
	json_decref(clean);
	return text;
}

bool conversation_set(char **string, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		return false;
	free(*string);
	*string = copy;
	return true;
}

/* FNV-1a of 64 bits. */
uint64_t conversation_hash(const void *data, size_t bytes)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < bytes; i++)
		hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* ---------------------------------------------------------------------------------------------------- all of it */

bool conversation_init(struct conversation *conversation)
{
	*conversation = (struct conversation){ .branches = calloc(1, sizeof(struct branch)) };
	if (conversation->branches) {
		conversation->branches[0] = (struct branch){ .name = strdup("main"), .last = NO_MESSAGE };
		conversation->branch_count = 1;
	}
	conversation->system = strdup("");
	conversation->model = strdup("");
	if (conversation->branches && conversation->branches[0].name && conversation->system && conversation->model)
		return true;
	conversation_free(conversation);
	return false;
}

void conversation_free(struct conversation *conversation)
{
	for (size_t i = 0; i < conversation->count; i++)
		free(conversation->messages[i].text);
	for (size_t i = 0; i < conversation->branch_count; i++)
		free(conversation->branches[i].name);
	free(conversation->messages);
	free(conversation->branches);
	free(conversation->system);
	free(conversation->model);
	free(conversation->state.data);
	*conversation = (struct conversation){ 0 };
}

/* ---------------------------------------------------------------------------------------------------- messages */

size_t conversation_last(const struct conversation *conversation)
{
	return conversation->branches[conversation->current].last;
}

bool conversation_is_answered(const struct conversation *conversation)
{
	size_t last = conversation_last(conversation);
	return last == NO_MESSAGE || conversation->messages[last].role == RWKVK_ROLE_ASSISTANT;
}

bool conversation_add(struct conversation *conversation, rwkvk_chat_role role, char *text)
{
	struct message *larger = realloc(conversation->messages, (conversation->count + 1) * sizeof(*larger));
	if (larger)
		conversation->messages = larger;
	if (!larger || !text) {
		free(text);
		return false;
	}
	larger[conversation->count] = (struct message){ .parent = conversation_last(conversation), .role = role, .text = text };
	conversation->branches[conversation->current].last = conversation->count++;
	return true;
}

void conversation_go_back(struct conversation *conversation, size_t last)
{
	conversation->branches[conversation->current].last = last;
}

/* `moved` first says which messages stay, then where each of these is; a parent comes before its children. */
void conversation_prune(struct conversation *conversation)
{
	size_t *moved = calloc(conversation->count + 1, sizeof(*moved)), kept = 0;
	if (!moved)
		return; /* nothing is dropped until the next call */
	for (size_t i = 0; i < conversation->branch_count; i++)
		for (size_t at = conversation->branches[i].last; at != NO_MESSAGE; at = conversation->messages[at].parent)
			moved[at] = 1;
	for (size_t i = 0; i < conversation->count; i++) {
		struct message message = conversation->messages[i];
		if (!moved[i]) {
			free(message.text);
			continue;
		}
		if (message.parent != NO_MESSAGE)
			message.parent = moved[message.parent];
		conversation->messages[kept] = message;
		moved[i] = kept++;
	}
	conversation->count = kept;
	for (size_t i = 0; i < conversation->branch_count; i++)
		if (conversation->branches[i].last != NO_MESSAGE)
			conversation->branches[i].last = moved[conversation->branches[i].last];
	free(moved);
}

size_t conversation_path(const struct conversation *conversation, size_t *path)
{
	size_t count = 0, left;
	for (size_t at = conversation_last(conversation); at != NO_MESSAGE; at = conversation->messages[at].parent)
		count++;
	left = count;
	for (size_t at = conversation_last(conversation); path && left > 0; at = conversation->messages[at].parent)
		path[--left] = at;
	return count;
}

/* ---------------------------------------------------------------------------------------------------- branches */

size_t conversation_find(const struct conversation *conversation, const char *name)
{
	size_t i = 0;
	while (i < conversation->branch_count && strcmp(conversation->branches[i].name, name) != 0)
		i++;
	return i;
}

bool conversation_is_name(const char *name)
{
	size_t length = strlen(name);
	for (const char *at = name; *at; at++)
		if ((unsigned char)*at <= ' ' || *at == 127)
			return false;
	return length >= 1 && length <= 60;
}

bool conversation_fork(struct conversation *conversation, const char *name)
{
	size_t count = conversation->branch_count;
	struct branch *larger = realloc(conversation->branches, (count + 1) * sizeof(*larger));
	if (!larger)
		return false;
	conversation->branches = larger;
	larger[count] = (struct branch){ .name = strdup(name), .last = conversation_last(conversation) };
	if (!larger[count].name)
		return false;
	conversation->branch_count = count + 1;
	conversation->current = count;
	return true;
}
