/* tokenizer.json of Hugging Face's tokenizers, as far as GPT-NeoX's 20B_tokenizer.json needs it (docs/formats.md).  Anything
 * else that would change the ids is refused by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text/bpe.h"
#include "text/nfc.h"

/* GPT-2's words: contractions, then letters, numbers or other characters, each with one space before them, then white space,
 * whose last character is left to the following word.  [\p{Z}\t-\r\x{85}] is Unicode's White_Space; PCRE2's \s also has
 * U+180E. */
#define SPACE  "\\p{Z}\\t-\\r\\x{85}"
#define LETTER "\\p{L}"
#define NUMBER "\\p{N}"
static const char words[] = "'s|'t|'re|'ve|'m|'ll|'d| ?" LETTER "+| ?" NUMBER "+| ?[^" SPACE LETTER NUMBER "]+|[" SPACE
							"]+(?![^" SPACE "])|[" SPACE "]+";

enum { ALPHABET = 256 + 68 }; /* the characters that stand for bytes lie below this */

struct reader {
	rwkvk_tokenizer *t;
	const json_t *root, *model, *vocab;
	json_t *added;             /* content -> id of added_tokens */
	int16_t byte_of[ALPHABET]; /* of a character; -1: it stands for none */
	char *pair;                /* room for two tokens of the file */
};

/* GPT-2's alphabet: visible Latin-1 characters stand for themselves, the other 68 bytes are U+0100 onwards, in order. */
static void make_alphabet(struct reader *r)
{
	memset(r->byte_of, -1, sizeof r->byte_of);
	for (int byte = 0, next = 256; byte < 256; byte++) {
		bool visible = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
		r->byte_of[visible ? byte : next++] = (int16_t)byte;
	}
}

/* ---------------------------------------------------------------------------------------------------- what is refused */

/* A value as shown in a message. */
static struct shown show_json(const json_t *value)
{
	if (!value)
		return show_text("none", 4);
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	struct shown shown = text ? show_text(text, strlen(text)) : show_text("?", 1);
	free(text);
	return shown;
}

static rwkvk_status unsupported(const struct reader *r, const char *what, const char *expected, const json_t *found)
{
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: %s: expected %s, found %s; of JSON vocabularies, only byte-level BPE as in 20B_tokenizer.json is read",
	            r->t->name, what, expected, show_json(found).text);
}

/* One part of the pipeline: null, or an object of this type. */
static rwkvk_status expect_part(const struct reader *r, const char *key, const char *type, bool required)
{
	const json_t *part = json_object_get(r->root, key), *found = json_object_get(part, "type");
	if (!part || json_is_null(part))
		return required ? unsupported(r, key, type, part) : RWKVK_OK;
	const char *name = json_string_value(found);
	return name && strcmp(name, type) == 0 ? RWKVK_OK : unsupported(r, key, type, found ? found : part);
}

/* A setting that must be absent, null or equal to this. */
static rwkvk_status expect_plain(const struct reader *r, const json_t *object, const char *where, const char *key,
                                 bool standard)
{
	const json_t *value = json_object_get(object, key);
	bool empty = json_is_string(value) && json_string_length(value) == 0;
	if (!value || json_is_null(value) || empty || (json_is_boolean(value) && json_is_true(value) == standard))
		return RWKVK_OK;
	char what[64];
	snprintf(what, sizeof what, "%s%s", where, key);
	return unsupported(r, what, standard ? "true" : "null or false", value);
}

static rwkvk_status check_settings(const struct reader *r)
{
	static const char *const plain[] = {
		"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"
	};
	const json_t *type = json_object_get(r->model, "type"), *cut = json_object_get(r->root, "pre_tokenizer");
	const char *name = json_string_value(type);
	if (!name || strcmp(name, "BPE") != 0)
		return unsupported(r, "model", "BPE", type ? type : r->model);
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		TRY(expect_plain(r, r->model, "model.", plain[i], false));
	TRY(expect_part(r, "normalizer", "NFC", false));
	TRY(expect_part(r, "pre_tokenizer", "ByteLevel", true));
	TRY(expect_plain(r, cut, "pre_tokenizer.", "add_prefix_space", false));
	TRY(expect_plain(r, cut, "pre_tokenizer.", "use_regex", true));
	TRY(expect_part(r, "post_processor", "ByteLevel", false));
	TRY(expect_part(r, "decoder", "ByteLevel", false));
	TRY(expect_plain(r, r->root, "", "truncation", false));
	return expect_plain(r, r->root, "", "padding", false);
}

/* ---------------------------------------------------------------------------------------------------- tokens */

static rwkvk_status read_id(const struct reader *r, const json_t *value, const char *token, uint32_t *id)
{
	json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
	if (number < 0 || number > (json_int_t)MAX_ID)
		return fail(RWKVK_ERROR_FILE, "%s: token \"%s\": expected an id from 0 to %u, found %s", r->t->name,
		            show_text(token, strlen(token)).text, MAX_ID, show_json(value).text);
	*id = (uint32_t)number;
	return RWKVK_OK;
}

/* A token in GPT-2's alphabet as bytes at the end of the pool, where it takes at most as much room as here. */
static bool decode(const struct reader *r, const char *token, size_t *bytes)
{
	uint8_t *out = r->t->pool + r->t->pool_bytes;
	*bytes = 0;
	for (const uint8_t *at = (const uint8_t *)token; *at;) { /* JSON strings are UTF-8 */
		unsigned code = *at++;
		if (code >= 0xe0)
			return false;
		if (code >= 0x80)
			code = (code & 31) << 6 | (*at++ & 63);
		if (code >= ALPHABET || r->byte_of[code] < 0)
			return false;
		out[(*bytes)++] = (uint8_t)r->byte_of[code];
	}
	return true;
}

static rwkvk_status read_token(struct reader *r, const char *token, const json_t *value, uint32_t where)
{
	uint32_t id = 0;
	size_t bytes;
	TRY(read_id(r, value, token, &id));
	const json_t *added = json_object_get(r->added, token);
	if (added && json_integer_value(added) == (json_int_t)id) /* its text comes from there, verbatim */
		return RWKVK_OK;
	if (!decode(r, token, &bytes) || bytes == 0 || bytes > MAX_TOKEN_BYTES)
		return fail(
			RWKVK_ERROR_FILE,
			"%s: token %u: expected 1 to %u characters, each of the %d that stand for bytes in byte-level BPE, found \"%s\"",
			r->t->name, id, MAX_TOKEN_BYTES, 256, show_text(token, strlen(token)).text);
	if (bytes == 1)
		r->t->bpe->byte_id[r->t->pool[r->t->pool_bytes]] = id;
	return vocabulary_add(r->t, id, bytes, where);
}

static rwkvk_status read_vocab(struct reader *r)
{
	struct bpe *bpe = r->t->bpe;
	for (int byte = 0; byte < 256; byte++)
		bpe->byte_id[byte] = NO_ID;
	const char *token;
	json_t *value;
	uint32_t where = 1;
	json_object_foreach((json_t *)(uintptr_t)r->vocab, token, value)
	{
		TRY(read_token(r, token, value, where++));
	}
	for (int byte = 0; byte < 0xf5; byte++)
		if (bpe->byte_id[byte] == NO_ID && byte != 0xc0 && byte != 0xc1)
			return fail(RWKVK_ERROR_FILE,
			            "%s: model.vocab: expected a token for each byte that UTF-8 text may hold, found none for 0x%02x",
			            r->t->name, byte);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- added tokens */

/* A token that is searched for in normalised text has its own text normalised, too. */
static rwkvk_status plant_added(struct reader *r, const char *content, size_t bytes, uint32_t id, bool normalized)
{
	struct bpe *bpe = r->t->bpe;
	uint8_t *composed = NULL;
	bool done = !normalized || !bpe->nfc || nfc((const uint8_t *)content, bytes, &composed, &bytes);
	if (done)
		done = trie_add(normalized ? &bpe->normal : &bpe->raw, composed ? composed : (const uint8_t *)content, bytes, id + 1);
	free(composed);
	return done ? RWKVK_OK : vocabulary_no_memory(r->t->name);
}

static rwkvk_status read_added(struct reader *r, const json_t *entry, uint32_t where)
{
	static const char *const plain[] = { "single_word", "lstrip", "rstrip" };
	const json_t *text = json_object_get(entry, "content");
	const char *content = json_string_value(text);
	size_t bytes = json_string_length(text);
	uint32_t id = 0;
	if (bytes == 0 || bytes > MAX_TOKEN_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: added_tokens: entry %u: expected a \"content\" of 1 to %u bytes, found %s",
		            r->t->name, where, MAX_TOKEN_BYTES, show_json(text ? text : entry).text);
	TRY(read_id(r, json_object_get(entry, "id"), content, &id));
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		TRY(expect_plain(r, entry, "added_tokens: ", plain[i], false));
	if (json_object_set_new(r->added, content, json_integer(id)) != 0)
		return vocabulary_no_memory(r->t->name);
	memcpy(r->t->pool + r->t->pool_bytes, content, bytes);
	TRY(vocabulary_add(r->t, id, bytes, (uint32_t)json_object_size(r->vocab) + where));
	return plant_added(r, content, bytes, id, json_is_true(json_object_get(entry, "normalized")));
}

static rwkvk_status read_added_tokens(struct reader *r)
{
	const json_t *list = json_object_get(r->root, "added_tokens"), *entry;
	size_t i;
	if (list && !json_is_null(list) && !json_is_array(list))
		return fail(RWKVK_ERROR_FILE, "%s: expected a list \"added_tokens\", found something else", r->t->name);
	json_array_foreach(list, i, entry)
	{
		TRY(read_added(r, entry, (uint32_t)i + 1));
	}
	bool done = trie_seal(&r->t->bpe->raw) && trie_seal(&r->t->bpe->normal);
	return done ? RWKVK_OK : vocabulary_no_memory(r->t->name);
}

/* ---------------------------------------------------------------------------------------------------- merges */

/* "LEFT RIGHT", or in newer files ["LEFT", "RIGHT"], as two strings in r->pair. */
static bool split_merge(struct reader *r, const json_t *entry, const char **right)
{
	const json_t *both[2] = { json_array_get(entry, 0), json_array_get(entry, 1) };
	const char *text = json_string_value(entry), *space = text ? strchr(text, ' ') : NULL;
	if (json_array_size(entry) == 2 && json_is_string(both[0]) && json_is_string(both[1])) {
		size_t left = json_string_length(both[0]);
		memcpy(r->pair, json_string_value(both[0]), left + 1);
		memcpy(r->pair + left + 1, json_string_value(both[1]), json_string_length(both[1]) + 1);
		*right = r->pair + left + 1;
		return true;
	}
	if (!space || strchr(space + 1, ' '))
		return false;
	memcpy(r->pair, text, strlen(text) + 1);
	r->pair[space - text] = 0;
	*right = r->pair + (space - text) + 1;
	return true;
}

static rwkvk_status find_token(const struct reader *r, const char *token, uint32_t rank, uint32_t *id)
{
	const json_t *value = json_object_get(r->vocab, token);
	if (!value)
		return fail(RWKVK_ERROR_FILE, "%s: model.merges: entry %u: \"%s\" is not in the vocabulary", r->t->name, rank + 1,
		            show_text(token, strlen(token)).text);
	*id = (uint32_t)json_integer_value(value); /* read_vocab() has checked it */
	return RWKVK_OK;
}

static rwkvk_status read_merge(struct reader *r, const json_t *entry, uint32_t rank)
{
	struct merge merge = { .rank = rank };
	const char *right;
	if (!split_merge(r, entry, &right))
		return fail(RWKVK_ERROR_FILE, "%s: model.merges: entry %u: expected \"LEFT RIGHT\" or [\"LEFT\", \"RIGHT\"], found %s",
		            r->t->name, rank + 1, show_json(entry).text);
	TRY(find_token(r, r->pair, rank, &merge.left));
	TRY(find_token(r, right, rank, &merge.right));
	memmove(r->pair + strlen(r->pair), right, strlen(right) + 1);
	TRY(find_token(r, r->pair, rank, &merge.id));
	*bpe_place(r->t->bpe, merge.left, merge.right) = merge; /* of two for the same pair the later one wins */
	return RWKVK_OK;
}

static rwkvk_status read_merges(struct reader *r)
{
	const json_t *list = json_object_get(r->model, "merges"), *entry;
	struct bpe *bpe = r->t->bpe;
	size_t i, places = 64;
	if (!json_is_array(list))
		return fail(RWKVK_ERROR_FILE, "%s: expected a list \"merges\" in \"model\", found %s", r->t->name,
		            show_json(list).text);
	while (places < 2 * json_array_size(list) + 1)
		places *= 2;
	bpe->merges = malloc(places * sizeof *bpe->merges);
	if (!bpe->merges)
		return vocabulary_no_memory(r->t->name);
	bpe->mask = (uint32_t)(places - 1);
	for (i = 0; i < places; i++)
		bpe->merges[i].left = NO_ID;
	json_array_foreach(list, i, entry)
	{
		TRY(read_merge(r, entry, (uint32_t)i));
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the file */

static rwkvk_status compile(struct reader *r)
{
	int code = 0;
	PCRE2_SIZE at = 0;
	r->t->bpe->pattern = pcre2_compile((PCRE2_SPTR)words, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
	if (!r->t->bpe->pattern)
		return fail(RWKVK_ERROR_MEMORY, "%s: PCRE2 cannot compile the pattern of words: error %d at %zu", r->t->name, code,
		            (size_t)at);
	return RWKVK_OK;
}

static rwkvk_status read_file(struct reader *r)
{
	r->model = json_object_get(r->root, "model");
	r->vocab = json_object_get(r->model, "vocab");
	if (!json_is_object(r->model))
		return fail(RWKVK_ERROR_FILE, "%s: expected an object \"model\", as in a tokenizer.json, found %s", r->t->name,
		            show_json(r->model).text);
	TRY(check_settings(r));
	if (!json_is_object(r->vocab))
		return fail(RWKVK_ERROR_FILE, "%s: expected an object \"vocab\" in \"model\", found %s", r->t->name,
		            show_json(r->vocab).text);
	make_alphabet(r);
	r->t->bpe->nfc = json_is_object(json_object_get(r->root, "normalizer"));
	TRY(read_added_tokens(r));
	TRY(read_vocab(r));
	TRY(read_merges(r));
	TRY(compile(r));
	return vocabulary_seal(r->t);
}

static rwkvk_status read_json(rwkvk_tokenizer *t, const uint8_t *text, size_t bytes)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)text, bytes, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return fail(RWKVK_ERROR_FILE, "%s: line %d: is not JSON: %s", t->name, error.line,
		            show_text(error.text, strlen(error.text)).text);
	struct reader r = { .t = t, .root = root, .added = json_object(), .pair = malloc(bytes + 2) };
	t->bpe = calloc(1, sizeof *t->bpe);
	rwkvk_status status = r.added && r.pair && t->bpe ? read_file(&r) : vocabulary_no_memory(t->name);
	free(r.pair);
	json_decref(r.added);
	json_decref(root);
	return status;
}

rwkvk_status tokenizer_from_json(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out)
{
	*out = NULL;
	if (bytes > MAX_VOCABULARY)
		return fail(RWKVK_ERROR_FILE, "%s: has %llu bytes; a vocabulary has at most %u", path, (unsigned long long)bytes,
		            MAX_VOCABULARY);
	rwkvk_tokenizer *t;
	TRY(vocabulary_create(path, KIND_BPE, "entry", (size_t)bytes + 1, &t));
	rwkvk_status status = read_json(t, text, (size_t)bytes);
	if (status == RWKVK_OK)
		*out = t;
	else
		rwkvk_tokenizer_close(t);
	return status;
}
