/* Arbitrary bytes as a file of `rwkvk chat`, as they are and with a matching checksum; accepted files are walked, written and
 * read again. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "conversation_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool condition)
{
	if (!condition)
		abort();
}

int failed(const char *format, ...)
{
	(void)format;
	return EXIT_FAILED;
}

static void check_same(const struct conversation *a, const struct conversation *b)
{
	check(a->count == b->count && a->branch_count == b->branch_count && a->current == b->current);
	check(a->chat == b->chat && a->think == b->think && a->seed == b->seed && a->answers == b->answers);
	check(strcmp(a->system, b->system) == 0 && strcmp(a->model, b->model) == 0 && a->state.bytes == b->state.bytes);
	for (size_t i = 0; i < a->count; i++)
		check(a->messages[i].parent == b->messages[i].parent && strcmp(a->messages[i].text, b->messages[i].text) == 0);
}

/* Every branch leads to a first message, and forgetting the others changes none. */
static void walk(struct conversation *c)
{
	size_t lengths[8];
	for (c->current = 0; c->current < c->branch_count; c->current++)
		if (c->current < 8)
			lengths[c->current] = conversation_path(c, NULL);
	conversation_prune(c);
	for (c->current = 0; c->current < c->branch_count && c->current < 8; c->current++)
		check(conversation_path(c, NULL) == lengths[c->current] && lengths[c->current] <= c->count);
}

static void read_one(const uint8_t *data, size_t bytes)
{
	struct conversation one, again;
	char error[CONVERSATION_ERROR] = "";
	size_t written;
	if (!conversation_from_bytes("fuzz input", data, bytes, &one, error)) {
		check(strncmp(error, "fuzz input: ", 12) == 0 && !one.messages);
		for (const char *at = error; *at; at++)
			check((unsigned char)*at >= 0x20 && *at != 0x7f);
		return;
	}
	uint8_t *copy = conversation_to_bytes(&one, &written);
	check(copy && conversation_from_bytes("fuzz input", copy, written, &again, error));
	check_same(&one, &again);
	walk(&again);
	free(copy);
	conversation_free(&one);
	conversation_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	enum { CHECKSUM = 32, HEADER = 40 };
	read_one(data, bytes);
	if (bytes < HEADER)
		return 0;
	uint8_t *fitting = malloc(bytes);
	check(fitting);
	memcpy(fitting, data, bytes);
	uint64_t parts[2] = { fnv1a(FNV1A_START, data, CHECKSUM), fnv1a(FNV1A_START, data + HEADER, bytes - HEADER) };
	uint64_t checksum = fnv1a(FNV1A_START, parts, sizeof(parts)), json = bytes - HEADER, state = 0;
	memcpy(fitting + CHECKSUM, &checksum, sizeof(checksum));
	read_one(fitting, bytes);
	/* Everything after the header is messages, so that a mutation that adds bytes reaches them, too. */
	memcpy(fitting + 16, &json, sizeof(json));
	memcpy(fitting + 24, &state, sizeof(state));
	parts[0] = fnv1a(FNV1A_START, fitting, CHECKSUM);
	checksum = fnv1a(FNV1A_START, parts, sizeof(parts));
	memcpy(fitting + CHECKSUM, &checksum, sizeof(checksum));
	read_one(fitting, bytes);
	free(fitting);
	return 0;
}
