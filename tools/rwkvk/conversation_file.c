#include "conversation_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"

static const char magic[8] = { 'r', 'w', 'k', 'v', 'c', 'h', 'a', 't' };
enum { VERSION = 1 };

/* What a file begins with; then the JSON text, then the state.  Little-endian, as all machines that rwkvk runs on. */
struct header {
	char magic[8];
	uint32_t version, zero;
	uint64_t json_bytes, state_bytes;
	uint64_t checksum; /* of all other bytes of the file, in order */
};

/* ---------------------------------------------------------------------------------------------------- writing */

static json_t *index_json(size_t index)
{
	return index == NO_MESSAGE ? json_null() : json_integer((json_int_t)index);
}

static json_t *hash_json(uint64_t hash)
{
	return json_sprintf("%016" PRIx64, hash);
}

static json_t *messages_json(const struct conversation *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->count; i++)
		json_array_append_new(list, json_pack("{s:o, s:s, s:s}", "parent", index_json(c->messages[i].parent), "role",
		                                      c->messages[i].role == RWKVK_ROLE_USER ? "user" : "assistant", "text",
		                                      c->messages[i].text));
	return list;
}

static json_t *branches_json(const struct conversation *c)
{
	json_t *list = json_array();
	for (size_t i = 0; i < c->branch_count; i++)
		json_array_append_new(list,
		                      json_pack("{s:s, s:o}", "name", c->branches[i].name, "last", index_json(c->branches[i].last)));
	return list;
}

static json_t *state_json(const struct kept_state *state)
{
	if (!state->data)
		return json_null();
	return json_pack("{s:s, s:o, s:I, s:o}", "fingerprint", state->fingerprint, "start", hash_json(state->start_hash),
	                 "text_bytes", (json_int_t)state->text_bytes, "text_hash", hash_json(state->text_hash));
}

static char *json_of(const struct conversation *c)
{
	json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:s, s:o}", "model", c->model, "template",
	                         rwkvk_chat_name(c->chat), "think", think_names[c->think], "system", c->system, "seed",
	                         (json_int_t)c->seed, "answers", (json_int_t)c->answers, "messages", messages_json(c), "branches",
	                         branches_json(c), "branch", c->branches[c->current].name, "state", state_json(&c->state));
	bool whole = root && json_array_size(json_object_get(root, "messages")) == c->count &&
	             json_array_size(json_object_get(root, "branches")) == c->branch_count;
	char *text = whole ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	return text;
}

static uint64_t checksum(const uint8_t *data, size_t bytes)
{
	enum { BEFORE = offsetof(struct header, checksum) };
	uint64_t parts[2] = { conversation_hash(data, BEFORE),
		                  conversation_hash(data + sizeof(struct header), bytes - sizeof(struct header)) };
	return conversation_hash(parts, sizeof(parts));
}

uint8_t *conversation_to_bytes(const struct conversation *conversation, size_t *bytes)
{
	const struct kept_state *state = &conversation->state;
	char *json = json_of(conversation);
	struct header header = { .version = VERSION, .json_bytes = json ? strlen(json) : 0, .state_bytes = state->bytes };
	memcpy(header.magic, magic, sizeof(magic));
	*bytes = sizeof(header) + (size_t)header.json_bytes + state->bytes;
	uint8_t *data = json ? malloc(*bytes) : NULL;
	if (data) {
		memcpy(data, &header, sizeof(header));
		memcpy(data + sizeof(header), json, (size_t)header.json_bytes);
		if (state->bytes > 0)
			memcpy(data + sizeof(header) + header.json_bytes, state->data, state->bytes);
		header.checksum = checksum(data, *bytes);
		memcpy(data, &header, sizeof(header));
	}
	free(json);
	return data;
}

/* ---------------------------------------------------------------------------------------------------- reading */

/* The reader; `error` holds the first error, or "". */
struct reader {
	const char *name;
	char *error;
	struct conversation *out;
};

static bool wrong(struct reader *reader, const char *format, ...) TOOL_PRINTF(2, 3);

static bool wrong(struct reader *reader, const char *format, ...)
{
	char text[CONVERSATION_ERROR / 2], clean[CONVERSATION_ERROR / 2];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	snprintf(reader->error, CONVERSATION_ERROR, "%.190s: %s", reader->name, printable(clean, sizeof(clean), text));
	return false;
}

/* A member that is a string; NULL after a message. */
static const char *string_of(struct reader *reader, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text)
		wrong(reader, "is damaged: \"%s\" is no text", key);
	return text;
}

static bool count_of(struct reader *reader, const json_t *object, const char *key, uint64_t *out)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return wrong(reader, "is damaged: \"%s\" is no whole number", key);
	*out = (uint64_t)json_integer_value(value);
	return true;
}

static bool hash_of(struct reader *reader, const json_t *object, const char *key, uint64_t *out)
{
	const char *text = string_of(reader, object, key);
	if (!text)
		return false;
	if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
		return wrong(reader, "is damaged: \"%s\" has not 16 hexadecimal digits", key);
	*out = strtoull(text, NULL, 16);
	return true;
}

/* Which message a member names: one below `count`, or none for null. */
static bool message_of(struct reader *reader, const json_t *object, const char *key, size_t count, size_t *out)
{
	uint64_t index = 0;
	*out = NO_MESSAGE;
	if (json_is_null(json_object_get(object, key)))
		return true;
	if (!count_of(reader, object, key, &index))
		return false;
	if (index >= count)
		return wrong(reader, "is damaged: \"%s\" names message %" PRIu64 " where there are %zu", key, index, count);
	*out = (size_t)index;
	return true;
}

static bool out_of_memory(struct reader *reader)
{
	return wrong(reader, "cannot be read: out of memory");
}

/* A user's message follows none or an assistant's, and that follows a user's. */
static bool read_message(struct reader *reader, const json_t *object)
{
	struct conversation *c = reader->out;
	const char *role = string_of(reader, object, "role"), *text = role ? string_of(reader, object, "text") : NULL;
	size_t parent;
	if (!text || !message_of(reader, object, "parent", c->count, &parent))
		return false;
	bool user = strcmp(role, "user") == 0;
	if (!user && strcmp(role, "assistant") != 0)
		return wrong(reader, "is damaged: message %zu is neither \"user\"'s nor \"assistant\"'s", c->count);
	bool after_user = parent != NO_MESSAGE && c->messages[parent].role == RWKVK_ROLE_USER;
	if (after_user == user)
		return wrong(reader, "is damaged: message %zu does not follow one of the other role", c->count);
	c->branches[c->current].last = parent;
	return conversation_add(c, user ? RWKVK_ROLE_USER : RWKVK_ROLE_ASSISTANT, strdup(text)) || out_of_memory(reader);
}

static bool read_messages(struct reader *reader, const json_t *root)
{
	const json_t *list = json_object_get(root, "messages");
	if (!json_is_array(list))
		return wrong(reader, "is damaged: \"messages\" is no list");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!read_message(reader, json_array_get(list, i)))
			return false;
	return true;
}

static bool read_branch(struct reader *reader, const json_t *object, bool first)
{
	struct conversation *c = reader->out;
	const char *name = string_of(reader, object, "name");
	size_t last;
	if (!name || !message_of(reader, object, "last", c->count, &last))
		return false;
	if (!conversation_is_name(name) || (!first && conversation_find(c, name) < c->branch_count))
		return wrong(reader, "is damaged: a branch has no name, or that of another");
	bool named = first ? conversation_set(&c->branches[0].name, name) : conversation_fork(c, name);
	conversation_go_back(c, last);
	return named || out_of_memory(reader);
}

static bool read_branches(struct reader *reader, const json_t *root)
{
	const json_t *list = json_object_get(root, "branches");
	const char *current = string_of(reader, root, "branch");
	if (!current)
		return false;
	if (json_array_size(list) == 0)
		return wrong(reader, "is damaged: \"branches\" is no list of them");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!read_branch(reader, json_array_get(list, i), i == 0))
			return false;
	reader->out->current = conversation_find(reader->out, current);
	if (reader->out->current == reader->out->branch_count)
		return wrong(reader, "is damaged: \"branch\" is none of the branches");
	return true;
}

static bool read_state(struct reader *reader, const json_t *root, const uint8_t *data, size_t bytes)
{
	struct kept_state *state = &reader->out->state;
	const json_t *object = json_object_get(root, "state");
	if (json_is_object(object) != (bytes > 0))
		return wrong(reader, "is damaged: \"state\" and the state's bytes do not agree");
	if (bytes == 0)
		return true;
	const char *fingerprint = string_of(reader, object, "fingerprint");
	if (!fingerprint || !hash_of(reader, object, "start", &state->start_hash) ||
	    !count_of(reader, object, "text_bytes", &state->text_bytes) || !hash_of(reader, object, "text_hash", &state->text_hash))
		return false;
	if (strlen(fingerprint) >= sizeof(state->fingerprint))
		return wrong(reader, "is damaged: \"fingerprint\" is longer than one");
	strcpy(state->fingerprint, fingerprint);
	state->data = malloc(bytes);
	if (!state->data)
		return out_of_memory(reader);
	memcpy(state->data, data, bytes);
	state->bytes = bytes;
	return true;
}

static bool read_settings(struct reader *reader, const json_t *root)
{
	struct conversation *c = reader->out;
	const char *model = string_of(reader, root, "model"), *chat = model ? string_of(reader, root, "template") : NULL,
			   *think = chat ? string_of(reader, root, "think") : NULL,
			   *said = think ? string_of(reader, root, "system") : NULL;
	if (!said || !count_of(reader, root, "seed", &c->seed) || !count_of(reader, root, "answers", &c->answers))
		return false;
	if (rwkvk_chat_find(chat, &c->chat) != RWKVK_OK)
		return wrong(reader, "is for a template that this program does not have, \"%.40s\"", chat);
	int mode = 0;
	while (think_names[mode] && strcmp(think_names[mode], think) != 0)
		mode++;
	if (!think_names[mode])
		return wrong(reader, "has a think mode that this program does not have, \"%.40s\"", think);
	c->think = (rwkvk_chat_think)mode;
	return (conversation_set(&c->model, model) && conversation_set(&c->system, said)) || out_of_memory(reader);
}

/* The header, which gives the place of each part. */
static bool read_header(struct reader *reader, const uint8_t *data, size_t bytes, struct header *header)
{
	if (bytes < sizeof(*header) || memcmp(data, magic, sizeof(magic)) != 0)
		return wrong(reader, "is no conversation of rwkvk chat; give a new name, or the file of one");
	memcpy(header, data, sizeof(*header));
	uint64_t rest = bytes - sizeof(*header);
	if (header->version != VERSION)
		return wrong(reader, "is a conversation of version %" PRIu32 "; this program reads version %d", header->version,
		             VERSION);
	if (header->json_bytes > rest || header->state_bytes != rest - header->json_bytes)
		return wrong(reader, "is damaged: expected %" PRIu64 " bytes of messages and %" PRIu64 " of a state, found %" PRIu64,
		             header->json_bytes, header->state_bytes, rest);
	if (header->zero != 0 || header->checksum != checksum(data, bytes))
		return wrong(reader, "is damaged: its bytes do not give its checksum; take a copy of it");
	return true;
}

bool conversation_from_bytes(const char *name, const uint8_t *data, size_t bytes, struct conversation *out, char *error)
{
	struct reader reader = { .name = name, .error = error, .out = out };
	struct header header;
	if (!conversation_init(out))
		return out_of_memory(&reader);
	bool ok = read_header(&reader, data, bytes, &header);
	const uint8_t *json = data + sizeof(header);
	json_t *root = ok ? json_loadb((const char *)json, (size_t)header.json_bytes, 0, NULL) : NULL;
	if (ok && !json_is_object(root))
		ok = wrong(&reader, "is damaged: its messages are no JSON object");
	ok = ok && read_settings(&reader, root) && read_messages(&reader, root) && read_branches(&reader, root) &&
	     read_state(&reader, root, json + header.json_bytes, (size_t)header.state_bytes);
	json_decref(root);
	if (!ok)
		conversation_free(out);
	return ok;
}

/* ---------------------------------------------------------------------------------------------------- files */

bool conversation_is_there(const char *path)
{
	FILE *file = fopen(path, "rb");
	bool there = file || errno != ENOENT;
	if (file)
		fclose(file);
	return there;
}

int conversation_load(const char *path, struct conversation *out)
{
	uint8_t *data;
	size_t bytes;
	char error[CONVERSATION_ERROR];
	if (strcmp(path, "-") == 0)
		return failed("-: a conversation needs the name of a file");
	if (!read_file(path, &data, &bytes))
		return EXIT_FAILED;
	bool ok = conversation_from_bytes(path, data, bytes, out, error);
	free(data);
	return ok ? EXIT_DONE : failed("%s", error);
}

/* Whether a file exists that is not a conversation. */
static bool is_foreign(const char *path)
{
	char found[sizeof(magic)] = "";
	FILE *file = fopen(path, "rb");
	if (!file)
		return errno != ENOENT;
	bool same = fread(found, 1, sizeof(found), file) == sizeof(found) && memcmp(found, magic, sizeof(magic)) == 0;
	fclose(file);
	return !same;
}

int conversation_save(const char *path, const struct conversation *conversation)
{
	size_t bytes;
	rwkvk_output *output;
	if (is_foreign(path))
		return failed("%s: is there and no conversation of rwkvk chat; give another name", path);
	uint8_t *data = conversation_to_bytes(conversation, &bytes);
	if (!data)
		return failed("%s: out of memory", path);
	rwkvk_status status = rwkvk_output_open(path, &output);
	if (status == RWKVK_OK) {
		status = rwkvk_output_write(output, data, bytes);
		if (status == RWKVK_OK)
			status = rwkvk_output_commit(output);
		else
			rwkvk_output_drop(output);
	}
	free(data);
	return status == RWKVK_OK ? EXIT_DONE : failed("%s", rwkvk_last_error());
}

int conversation_lock(const char *path, struct system_lock **lock)
{
	size_t size = strlen(path) + sizeof(".lock");
	char *name = malloc(size);
	bool taken = false;
	if (!name)
		return failed("%s: out of memory", path);
	snprintf(name, size, "%s.lock", path);
	*lock = system_lock(name, &taken);
	int error = errno;
	free(name);
	if (*lock)
		return EXIT_DONE;
	if (taken)
		return failed("%s: another rwkvk chat writes it; end that one, or give another file", path);
	return failed("%s.lock: cannot be made: %s; give a file in a folder that exists and may be written to", path,
	              strerror(error));
}
