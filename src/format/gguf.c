/* GGUF, versions 2 and 3, little-endian, as llama.cpp's converter writes RWKV models:
 *
 *     "GGUF" version:u32 tensors:u64 keys:u64
 *     keys     key:string type:u32 value                        string = length:u64 bytes
 *     tensors  name:string dimensions:u32 dimension:u64... type:u32 offset:u64
 *     zeros up to general.alignment, then the data that the offsets count from
 *
 * The header is walked twice where a later part decides about an earlier one; only names and the token list are copied out of
 * the file, so memory stays within a small multiple of the bytes really present. */
#include "format/dialects.h"
#include "format/readers.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"

enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_TYPES
};

/* Class: u unsigned, s signed, f float, b bool; v of variable size, for which `bytes` is the smallest encoding. */
static const struct {
	const char *name;
	uint8_t bytes;
	char class;
} gguf_type[GGUF_TYPES] = {
	[GGUF_U8] = { "uint8", 1, 'u' },     [GGUF_I8] = { "int8", 1, 's' },    [GGUF_U16] = { "uint16", 2, 'u' },
	[GGUF_I16] = { "int16", 2, 's' },    [GGUF_U32] = { "uint32", 4, 'u' }, [GGUF_I32] = { "int32", 4, 's' },
	[GGUF_F32] = { "float32", 4, 'f' },  [GGUF_BOOL] = { "bool", 1, 'b' },  [GGUF_STRING] = { "string", 8, 'v' },
	[GGUF_ARRAY] = { "array", 12, 'v' }, [GGUF_U64] = { "uint64", 8, 'u' }, [GGUF_I64] = { "int64", 8, 's' },
	[GGUF_F64] = { "float64", 8, 'f' },
};

/* The smallest encodings bound how many keys and tensors a file can hold. */
enum { KEY_BYTES = 8 + 4 + 1, TENSOR_BYTES = 8 + 1 + 4 + 4 + 8, LENGTH_BYTES = 8 };
enum { NAME_BYTES = 256, MAX_DIMENSIONS = 4, ARRAY_DEPTH = 4 };

struct span {
	const uint8_t *data; /* NULL: not in the file */
	uint64_t bytes;
};

/* `rescales`: the key *.rescale_every_n_layers has a meaning. */
static const struct architecture {
	const char *name;
	enum naming naming;
	bool rescales;
} architectures[] = {
	{ "rwkv7", NAMES_GGUF_RWKV7, false },
	{ "rwkv6", NAMES_GGUF_RWKV6, true },
	{ "rwkv5", NAMES_GGUF_RWKV5, true },
	{ "rwkv4", NAMES_GGUF_RWKV4, true },
};

struct value {
	uint32_t type, element; /* element: of an array */
	uint64_t count;         /* array: elements */
	struct span span;       /* scalar; contents of a string; all elements of an array */
};

struct tensor_entry {
	char name[NAME_BYTES];
	uint32_t rank, type;
	uint64_t shape[MAX_DIMENSIONS]; /* outermost first, the reverse of the file */
	uint64_t offset;
};

/* One reading: the position in the file and the keys that matter. */
struct gguf {
	struct weights *weights;
	const char *path;
	uint64_t at;         /* next byte to read */
	uint64_t data_start; /* where tensor data begins */
	uint64_t data_end;   /* end of the tensor before, from data_start */
	uint32_t seen;       /* one bit an entry of known_keys */
	const struct architecture *architecture;
	struct shown key; /* the name of the key that is being read */
	struct span architecture_name, name, tokenizer;
	struct value tokens, token_types;
	int64_t alignment, split_count, head_size, rescale, top_k;
	bool add_bos;
	float epsilon, group_norm_epsilon, temperature, top_p, presence, frequency, decay;
};

/* ---------------------------------------------------------------------------------------------------- bytes */

static uint64_t bytes_left(const struct gguf *gguf)
{
	return gguf->weights->mapping.bytes - gguf->at;
}

static rwkvk_status take(struct gguf *gguf, uint64_t bytes, const char *what, const uint8_t **out)
{
	if (bytes > bytes_left(gguf))
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected %s, %" PRIu64 " bytes at byte %" PRIu64 ", but the file ends at byte %" PRIu64
		            ": it is truncated or damaged",
		            gguf->path, what, bytes, gguf->at, gguf->weights->mapping.bytes);
	*out = gguf->weights->mapping.data + gguf->at;
	gguf->at += bytes;
	return RWKVK_OK;
}

static rwkvk_status take_u32(struct gguf *gguf, const char *what, uint32_t *out)
{
	const uint8_t *data = NULL;
	TRY(take(gguf, sizeof *out, what, &data));
	memcpy(out, data, sizeof *out);
	return RWKVK_OK;
}

static rwkvk_status take_u64(struct gguf *gguf, const char *what, uint64_t *out)
{
	const uint8_t *data = NULL;
	TRY(take(gguf, sizeof *out, what, &data));
	memcpy(out, data, sizeof *out);
	return RWKVK_OK;
}

static rwkvk_status take_string(struct gguf *gguf, const char *what, struct span *out)
{
	TRY(take_u64(gguf, what, &out->bytes));
	return take(gguf, out->bytes, what, &out->data);
}

/* A count is believed only if the rest of the file could hold that many of the smallest items. */
static rwkvk_status check_count(const struct gguf *gguf, uint64_t count, uint64_t item_bytes, const char *what)
{
	uint64_t most = bytes_left(gguf) / item_bytes;
	if (count > most)
		return fail(RWKVK_ERROR_FILE,
		            "%s: the file claims %" PRIu64 " %s at byte %" PRIu64 ", but its %" PRIu64
		            " bytes have room for at most %" PRIu64 ": it is truncated or damaged",
		            gguf->path, count, what, gguf->at, gguf->weights->mapping.bytes, most);
	return RWKVK_OK;
}

static bool span_is(struct span span, const char *text)
{
	return span.data && span.bytes == strlen(text) && memcmp(span.data, text, span.bytes) == 0;
}

/* ---------------------------------------------------------------------------------------------------- values */

static rwkvk_status take_value(struct gguf *gguf, uint32_t type, unsigned depth, struct value *out);

static rwkvk_status take_array(struct gguf *gguf, unsigned depth, struct value *out)
{
	TRY(take_u32(gguf, "the element type of an array", &out->element));
	TRY(take_u64(gguf, "the length of an array", &out->count));
	if (out->element >= GGUF_TYPES)
		return fail(RWKVK_ERROR_FILE, "%s: expected arrays of types 0 to %d, found type %" PRIu32 " before byte %" PRIu64,
		            gguf->path, GGUF_TYPES - 1, out->element, gguf->at);
	if (out->element == GGUF_ARRAY && depth == ARRAY_DEPTH)
		return fail(RWKVK_ERROR_FILE, "%s: expected arrays nested at most %d deep, found more before byte %" PRIu64, gguf->path,
		            ARRAY_DEPTH, gguf->at);
	TRY(check_count(gguf, out->count, gguf_type[out->element].bytes, "array elements"));
	uint64_t start = gguf->at;
	out->span.data = gguf->weights->mapping.data + start;
	if (gguf_type[out->element].class != 'v')
		gguf->at += out->count * gguf_type[out->element].bytes;
	else
		for (uint64_t i = 0; i < out->count; i++)
			TRY(take_value(gguf, out->element, depth + 1, &(struct value){ 0 }));
	out->span.bytes = gguf->at - start;
	return RWKVK_OK;
}

static rwkvk_status take_value(struct gguf *gguf, uint32_t type, unsigned depth, struct value *out)
{
	out->type = type;
	if (type >= GGUF_TYPES)
		return fail(RWKVK_ERROR_FILE, "%s: expected a value type from 0 to %d, found %" PRIu32 " before byte %" PRIu64,
		            gguf->path, GGUF_TYPES - 1, type, gguf->at);
	if (type == GGUF_ARRAY)
		return take_array(gguf, depth, out);
	if (type == GGUF_STRING)
		return take_string(gguf, "a string", &out->span);
	out->span.bytes = gguf_type[type].bytes;
	return take(gguf, out->span.bytes, "a value", &out->span.data);
}

/* ---------------------------------------------------------------------------------------------------- keys */

enum key_kind { KEY_STRING, KEY_INTEGER, KEY_REAL, KEY_FLAG, KEY_STRINGS, KEY_INT32S };

static const char *const kind_name[] = {
	[KEY_STRING] = "a string", [KEY_INTEGER] = "an integer",          [KEY_REAL] = "a float",
	[KEY_FLAG] = "a bool",     [KEY_STRINGS] = "an array of strings", [KEY_INT32S] = "an array of int32",
};

/* The keys that are read; all others are skipped.  `*` is the architecture.  Numbers must be within [least, most]. */
static const struct known_key {
	const char *name;
	enum key_kind kind;
	bool sampling;
	size_t field;
	double least, most;
} known_keys[] = {
	{ "general.architecture", KEY_STRING, false, offsetof(struct gguf, architecture_name), 0, 0 },
	{ "general.name", KEY_STRING, false, offsetof(struct gguf, name), 0, 0 },
	{ "split.count", KEY_INTEGER, false, offsetof(struct gguf, split_count), 0, 65535 },
	{ "general.alignment", KEY_INTEGER, false, offsetof(struct gguf, alignment), 1, 1 << 30 },
	{ "*.wkv.head_size", KEY_INTEGER, false, offsetof(struct gguf, head_size), 1, 65536 },
	{ "*.attention.layer_norm_epsilon", KEY_REAL, false, offsetof(struct gguf, epsilon), 1e-30, 1 },
	{ "*.attention.group_norm_epsilon", KEY_REAL, false, offsetof(struct gguf, group_norm_epsilon), 1e-30, 1 },
	{ "*.rescale_every_n_layers", KEY_INTEGER, false, offsetof(struct gguf, rescale), 0, 65536 },
	{ "tokenizer.ggml.model", KEY_STRING, false, offsetof(struct gguf, tokenizer), 0, 0 },
	{ "tokenizer.ggml.tokens", KEY_STRINGS, false, offsetof(struct gguf, tokens), 0, 0 },
	{ "tokenizer.ggml.token_type", KEY_INT32S, false, offsetof(struct gguf, token_types), 0, 0 },
	{ "tokenizer.ggml.add_bos_token", KEY_FLAG, false, offsetof(struct gguf, add_bos), 0, 0 },
	{ "general.sampling.temp", KEY_REAL, true, offsetof(struct gguf, temperature), 0, 1e6 },
	{ "general.sampling.top_p", KEY_REAL, true, offsetof(struct gguf, top_p), 0, 1e6 },
	{ "general.sampling.top_k", KEY_INTEGER, true, offsetof(struct gguf, top_k), INT32_MIN, UINT32_MAX }, /* <= 0: no limit */
	/* llama.cpp has no keys for RWKV's penalties; these three are ours */
	{ "general.sampling.presence", KEY_REAL, true, offsetof(struct gguf, presence), -1e6, 1e6 },
	{ "general.sampling.frequency", KEY_REAL, true, offsetof(struct gguf, frequency), -1e6, 1e6 },
	{ "general.sampling.decay", KEY_REAL, true, offsetof(struct gguf, decay), 0, 1 },
};
enum { KNOWN_KEYS = sizeof known_keys / sizeof *known_keys };

static rwkvk_status wrong_type(const struct gguf *gguf, const struct known_key *key, const struct value *value)
{
	bool array = value->type == GGUF_ARRAY;
	return fail(RWKVK_ERROR_FILE, "%s: expected key %s to be %s, found %s%s", gguf->path, gguf->key.text, kind_name[key->kind],
	            array ? "an array of " : "type ", gguf_type[array ? value->element : value->type].name);
}

static rwkvk_status out_of_range(const struct gguf *gguf, const struct known_key *key, double found)
{
	return fail(RWKVK_ERROR_FILE, "%s: expected key %s to be from %.10g to %.10g, found %.10g", gguf->path, gguf->key.text,
	            key->least, key->most, found);
}

/* false if the value is no integer.  What int64 cannot hold is far outside every key's range and becomes INT64_MAX. */
static bool integer_of(const struct value *value, int64_t *out)
{
	unsigned bytes = gguf_type[value->type].bytes, unused = 64 - 8 * bytes;
	char class = gguf_type[value->type].class;
	uint64_t raw = 0;
	if (class != 'u' && class != 's')
		return false;
	memcpy(&raw, value->span.data, bytes);
	if (class == 's')
		*out = (int64_t)(raw << unused) >> unused;
	else
		*out = raw > INT64_MAX ? INT64_MAX : (int64_t)raw;
	return true;
}

static rwkvk_status set_integer(const struct gguf *gguf, const struct known_key *key, const struct value *value, int64_t *out)
{
	if (!integer_of(value, out))
		return wrong_type(gguf, key, value);
	if ((double)*out < key->least || (double)*out > key->most)
		return out_of_range(gguf, key, (double)*out);
	return RWKVK_OK;
}

static rwkvk_status set_real(const struct gguf *gguf, const struct known_key *key, const struct value *value, float *out)
{
	double number;
	if (value->type == GGUF_F32) {
		memcpy(out, value->span.data, sizeof *out);
		number = *out;
	} else if (value->type == GGUF_F64) {
		memcpy(&number, value->span.data, sizeof number);
	} else {
		return wrong_type(gguf, key, value);
	}
	if (!(number >= key->least && number <= key->most)) /* NaN too */
		return out_of_range(gguf, key, number);
	*out = (float)number;
	return RWKVK_OK;
}

static rwkvk_status set_flag(const struct gguf *gguf, const struct known_key *key, const struct value *value, bool *out)
{
	if (value->type != GGUF_BOOL)
		return wrong_type(gguf, key, value);
	if (*value->span.data > 1)
		return fail(RWKVK_ERROR_FILE, "%s: expected key %s to be 0 or 1, found %d", gguf->path, gguf->key.text,
		            *value->span.data);
	*out = *value->span.data != 0;
	return RWKVK_OK;
}

static rwkvk_status set_key(struct gguf *gguf, const struct known_key *key, const struct value *value)
{
	void *field = (char *)gguf + key->field;
	bool array = value->type == GGUF_ARRAY;
	switch (key->kind) {
	case KEY_INTEGER:
		return set_integer(gguf, key, value, field);
	case KEY_REAL:
		return set_real(gguf, key, value, field);
	case KEY_FLAG:
		return set_flag(gguf, key, value, field);
	case KEY_STRING:
		if (value->type != GGUF_STRING)
			return wrong_type(gguf, key, value);
		*(struct span *)field = value->span;
		return RWKVK_OK;
	case KEY_STRINGS:
		if (!array || value->element != GGUF_STRING)
			return wrong_type(gguf, key, value);
		*(struct value *)field = *value;
		return RWKVK_OK;
	case KEY_INT32S:
		if (!array || (value->element != GGUF_I32 && value->element != GGUF_U32))
			return wrong_type(gguf, key, value);
		*(struct value *)field = *value;
		return RWKVK_OK;
	}
	return RWKVK_OK;
}

static bool key_is(const struct gguf *gguf, struct span name, const char *pattern)
{
	if (*pattern != '*')
		return span_is(name, pattern);
	size_t prefix = strlen(gguf->architecture->name);
	return name.bytes > prefix && memcmp(name.data, gguf->architecture->name, prefix) == 0 &&
	       span_is((struct span){ name.data + prefix, name.bytes - prefix }, pattern + 1);
}

static rwkvk_status take_key(struct gguf *gguf, struct span *name, struct value *value)
{
	uint32_t type = 0;
	*value = (struct value){ 0 };
	TRY(take_string(gguf, "the name of a key", name));
	TRY(take_u32(gguf, "the type of a value", &type));
	gguf->key = show_text(name->data, name->bytes);
	return take_value(gguf, type, 1, value);
}

/* A scalar as text, with a decimal point in any locale. */
static int scalar_text(const struct value *value, char text[32])
{
	const uint8_t *data = value->span.data;
	int64_t whole = 0;
	double real = 0;
	float single;
	int bytes;
	switch (gguf_type[value->type].class) {
	case 'b':
		return snprintf(text, 32, "%s", *data ? "true" : "false");
	case 'f':
		memcpy(&single, data, sizeof single);
		real = single;
		if (value->type == GGUF_F64)
			memcpy(&real, data, sizeof real);
		bytes = snprintf(text, 32, "%.*g", value->type == GGUF_F64 ? 17 : 9, real);
		for (int i = 0; i < bytes; i++)
			text[i] = strchr("0123456789+-einfa", text[i]) ? text[i] : '.';
		return bytes;
	case 's':
		for (int i = gguf_type[value->type].bytes; i-- > 0;) /* little-endian, and the last byte has the sign */
			whole = i + 1 == gguf_type[value->type].bytes ? (int8_t)data[i] : (int64_t)((uint64_t)whole << 8 | data[i]);
		return snprintf(text, 32, "%" PRId64, whole);
	}
	for (int i = gguf_type[value->type].bytes; i-- > 0;)
		whole = (int64_t)((uint64_t)whole << 8 | data[i]);
	return snprintf(text, 32, "%" PRIu64, (uint64_t)whole);
}

static rwkvk_status keep_text(struct gguf *gguf, struct span name, const struct value *value)
{
	char text[32];
	if (value->type == GGUF_STRING)
		return weights_add_text(gguf->weights, name.data, name.bytes, value->span.data, value->span.bytes, 1);
	if (value->type == GGUF_ARRAY)
		return weights_add_text(gguf->weights, name.data, name.bytes, NULL, 0, value->count);
	int bytes = scalar_text(value, text);
	return weights_add_text(gguf->weights, name.data, name.bytes, text, (size_t)bytes, 1);
}

static rwkvk_status read_key(struct gguf *gguf)
{
	struct metadata *metadata = &gguf->weights->metadata;
	struct span name = { 0 };
	struct value value;
	uint64_t start = gguf->at;
	TRY(take_key(gguf, &name, &value));
	metadata->keys[metadata->key_count++] = (struct raw_key){ gguf->weights->mapping.data + start, gguf->at - start };
	TRY(keep_text(gguf, name, &value));
	for (uint32_t i = 0; i < KNOWN_KEYS; i++) {
		if (!key_is(gguf, name, known_keys[i].name))
			continue;
		if (gguf->seen & 1u << i)
			return fail(RWKVK_ERROR_FILE, "%s: expected every key once, found %s twice", gguf->path, gguf->key.text);
		gguf->seen |= 1u << i;
		return set_key(gguf, &known_keys[i], &value);
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- architecture */

static rwkvk_status set_architecture(struct gguf *gguf, struct span found)
{
	for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
		if (span_is(found, architectures[i].name)) {
			gguf->architecture = &architectures[i];
			return RWKVK_OK;
		}
	bool hybrid = span_is(found, "rwkv6qwen2") || span_is(found, "arwkv7");
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: expected a GGUF model of the architecture rwkv4, rwkv5, rwkv6 or rwkv7, found \"%s\"%s", gguf->path,
	            show_text(found.data, found.bytes).text,
	            hybrid ? ", a model with parts of Qwen, which this version does not run" : "");
}

/* The other keys are named after it, and it need not come first. */
static rwkvk_status find_architecture(struct gguf *gguf, uint64_t keys)
{
	uint64_t first = gguf->at;
	struct span name = { 0 }, found = { 0 };
	struct value value;
	for (uint64_t i = 0; i < keys && !found.data; i++) {
		TRY(take_key(gguf, &name, &value));
		if (span_is(name, "general.architecture") && value.type == GGUF_STRING)
			found = value.span;
	}
	gguf->at = first;
	if (!found.data)
		return fail(RWKVK_ERROR_FILE, "%s: expected the key general.architecture, found none", gguf->path);
	return set_architecture(gguf, found);
}

/* ---------------------------------------------------------------------------------------------------- metadata */

/* Valid UTF-8, as far as it takes for text that is only shown: lead and continuation bytes match. */
static bool is_utf8(struct span text)
{
	unsigned pending = 0;
	for (uint64_t i = 0; i < text.bytes; i++) {
		uint8_t byte = text.data[i];
		if (pending ? (byte & 0xc0) != 0x80 : byte >= 0x80 && (byte < 0xc2 || byte > 0xf4))
			return false;
		pending = pending ? pending - 1 : byte < 0x80 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
	}
	return pending == 0;
}

/* A printable copy: control characters, and everything beyond ASCII unless it is UTF-8, become '?'. */
static char *copy_text(struct span text)
{
	bool utf8 = is_utf8(text);
	char *copy = malloc(text.bytes + 1);
	if (!copy)
		return NULL;
	for (uint64_t i = 0; i < text.bytes; i++) {
		uint8_t byte = text.data[i];
		copy[i] = byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8) ? '?' : (char)byte;
	}
	copy[text.bytes] = 0;
	return copy;
}

static rwkvk_status copy_tokens(const struct gguf *gguf)
{
	struct metadata *to = &gguf->weights->metadata;
	uint64_t count = gguf->tokens.count, types = gguf->token_types.count;
	if (gguf->token_types.span.data && types != count)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected as many token types as tokens, found %" PRIu64 " types for %" PRIu64 " tokens", gguf->path,
		            types, count);
	if (count == 0)
		return fail(RWKVK_ERROR_FILE, "%s: expected a token list (tokenizer.ggml.tokens) for the tokenizer rwkv, found none",
		            gguf->path);
	to->token_text = malloc(count * sizeof *to->token_text);
	to->token_bytes = malloc(count * sizeof *to->token_bytes);
	int32_t *copied = types ? malloc(types * sizeof *copied) : NULL;
	to->token_type = copied;
	if (!to->token_text || !to->token_bytes || (types && !copied))
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for %" PRIu64 " tokens", gguf->path, count);
	const uint8_t *at = gguf->tokens.span.data; /* take_array() has been over it: no length leaves the file */
	for (uint64_t i = 0; i < count; i++) {
		memcpy(&to->token_bytes[i], at, sizeof *to->token_bytes);
		to->token_text[i] = at + LENGTH_BYTES;
		at += LENGTH_BYTES + to->token_bytes[i];
	}
	if (copied)
		memcpy(copied, gguf->token_types.span.data, types * sizeof *copied);
	to->token_count = count;
	return RWKVK_OK;
}

static bool seen_key(const struct gguf *gguf, size_t field)
{
	for (uint32_t i = 0; i < KNOWN_KEYS; i++)
		if (known_keys[i].field == field)
			return gguf->seen & 1u << i;
	return false;
}

static rwkvk_status set_metadata(const struct gguf *gguf)
{
	struct metadata *to = &gguf->weights->metadata;
	to->architecture = strdup(gguf->architecture->name);
	to->name = gguf->name.data ? copy_text(gguf->name) : NULL;
	if (!to->architecture || (gguf->name.data && !to->name))
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the model's name", gguf->path);
	to->head_size = (uint64_t)gguf->head_size;
	to->layer_norm_epsilon = gguf->epsilon;
	to->group_norm_epsilon = gguf->group_norm_epsilon;
	to->rescale = gguf->architecture->rescales ? (uint32_t)gguf->rescale : 0;
	to->has_add_bos = seen_key(gguf, offsetof(struct gguf, add_bos));
	to->add_bos = gguf->add_bos;
	for (uint32_t i = 0; i < KNOWN_KEYS; i++)
		to->has_sampling |= known_keys[i].sampling && gguf->seen & 1u << i;
	to->sampling.temperature = gguf->temperature;
	to->sampling.top_p = gguf->top_p;
	to->sampling.top_k = gguf->top_k > 0 ? (uint32_t)gguf->top_k : 0;
	to->sampling.presence = gguf->presence;
	to->sampling.frequency = gguf->frequency;
	to->sampling.decay = gguf->decay;
	return span_is(gguf->tokenizer, "rwkv") ? copy_tokens(gguf) : RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- tensors */

static const char *const ggml_type_name[] = {
	[0] = "F32",      [1] = "F16",     [2] = "Q4_0",     [3] = "Q4_1",   [6] = "Q5_0",    [7] = "Q5_1",   [8] = "Q8_0",
	[9] = "Q8_1",     [10] = "Q2_K",   [11] = "Q3_K",    [12] = "Q4_K",  [13] = "Q5_K",   [14] = "Q6_K",  [15] = "Q8_K",
	[16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S",
	[23] = "IQ4_XS",  [24] = "I8",     [25] = "I16",     [26] = "I32",   [27] = "I64",    [28] = "F64",   [29] = "IQ1_M",
	[30] = "BF16",    [34] = "TQ1_0",  [35] = "TQ2_0",   [39] = "MXFP4",
};

/* DTYPE_FOREIGN: one that no model that runs here has; `name` is what to call it. */
static enum dtype map_type(const struct tensor_entry *entry, char name[16])
{
	size_t names = sizeof ggml_type_name / sizeof *ggml_type_name;
	const char *known = entry->type < names ? ggml_type_name[entry->type] : NULL;
	enum dtype type = 0;
	while (type < DTYPE_COUNT && (!known || strcmp(known, dtype_info[type].name) != 0))
		type++;
	if (known)
		snprintf(name, 16, "%s", known);
	else
		snprintf(name, 16, "#%" PRIu32, entry->type);
	return type;
}

/* Messages may print a name that passed this. */
static bool is_tensor_name(struct span name)
{
	for (uint64_t i = 0; i < name.bytes && i < NAME_BYTES; i++)
		if (name.data[i] <= ' ' || name.data[i] >= 0x7f)
			return false;
	return name.bytes > 0 && name.bytes < NAME_BYTES;
}

static rwkvk_status take_entry(struct gguf *gguf, struct tensor_entry *entry)
{
	struct span name = { 0 };
	TRY(take_string(gguf, "the name of a tensor", &name));
	if (!is_tensor_name(name))
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a tensor name of 1 to %d plain ASCII characters, found \"%s\" (%" PRIu64
		            " bytes): the file is damaged",
		            gguf->path, NAME_BYTES - 1, show_text(name.data, name.bytes).text, name.bytes);
	memcpy(entry->name, name.data, name.bytes);
	entry->name[name.bytes] = 0;
	TRY(take_u32(gguf, "the rank of a tensor", &entry->rank));
	if (entry->rank > MAX_DIMENSIONS)
		return fail(RWKVK_ERROR_FILE, "%s: expected at most %d dimensions for tensor %s, found %" PRIu32, gguf->path,
		            MAX_DIMENSIONS, entry->name, entry->rank);
	for (uint32_t i = entry->rank; i > 0; i--)
		TRY(take_u64(gguf, "the shape of a tensor", &entry->shape[i - 1]));
	TRY(take_u32(gguf, "the type of a tensor", &entry->type));
	return take_u64(gguf, "the offset of a tensor", &entry->offset);
}

/* Data lies in the order of the entries; only this keeps a small file from describing a huge model by overlaps. */
static rwkvk_status check_offset(struct gguf *gguf, const struct tensor_entry *entry, uint64_t bytes)
{
	if (entry->offset % (uint64_t)gguf->alignment)
		return fail(RWKVK_ERROR_FILE, "%s: expected the offset of tensor %s to be a multiple of %" PRId64 ", found %" PRIu64,
		            gguf->path, entry->name, gguf->alignment, entry->offset);
	if (entry->offset < gguf->data_end)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected tensor %s right after the tensor before it, which ends at %" PRIu64 ", found it at %" PRIu64
		            ": the file is damaged",
		            gguf->path, entry->name, gguf->data_end, entry->offset);
	uint64_t room = gguf->weights->mapping.bytes - gguf->data_start;
	if (entry->offset > room || bytes > room - entry->offset)
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s takes %" PRIu64 " bytes at offset %" PRIu64 ", but the file holds %" PRIu64
		            " bytes of data: it is truncated (an incomplete download?)",
		            gguf->path, entry->name, bytes, entry->offset, room);
	gguf->data_end = entry->offset + bytes;
	return RWKVK_OK;
}

/* `end`: where the next tensor's data begins. */
static rwkvk_status add_tensor(struct gguf *gguf, const struct tensor_entry *entry, uint64_t end)
{
	char name[16];
	enum dtype type = map_type(entry, name);
	uint64_t bytes = end > entry->offset ? end - entry->offset : 0;
	if (type == DTYPE_FOREIGN) {
		uint64_t need = weights_foreign_bytes(name, entry->rank, entry->shape);
		bytes = need && need < bytes ? need : bytes; /* less the padding */
		TRY(check_offset(gguf, entry, bytes));
		return weights_add_foreign(gguf->weights, &gguf->weights->mapping, entry->name, name, entry->rank, entry->shape,
		                           gguf->data_start + entry->offset, bytes);
	}
	if (!dtype_bytes(type, entry->rank, entry->shape, &bytes))
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s has the shape %s, which is impossible for %s (rows in blocks of %" PRIu32 ")", gguf->path,
		            entry->name, show_shape(entry->rank, entry->shape).text, dtype_info[type].name, dtype_info[type].block);
	TRY(check_offset(gguf, entry, bytes));
	return weights_add(gguf->weights, &gguf->weights->mapping, entry->name, entry->name, type, entry->rank, entry->shape,
	                   gguf->data_start + entry->offset, bytes);
}

static rwkvk_status read_tensors(struct gguf *gguf, uint64_t count)
{
	struct tensor_entry entry = { 0 }, next = { 0 };
	uint64_t first = gguf->at, alignment = (uint64_t)gguf->alignment;
	for (uint64_t i = 0; i < count; i++)
		TRY(take_entry(gguf, &entry));
	gguf->data_start = round_up(gguf->at, alignment);
	if (count && gguf->data_start > gguf->weights->mapping.bytes)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected tensor data from byte %" PRIu64 " on, but the file ends at byte %" PRIu64
		            ": it is truncated (an incomplete download?)",
		            gguf->path, gguf->data_start, gguf->weights->mapping.bytes);
	gguf->at = first;
	for (uint64_t i = 0; i <= count; i++) {
		next.offset = gguf->weights->mapping.bytes - gguf->data_start;
		if (i < count)
			TRY(take_entry(gguf, &next));
		if (i > 0)
			TRY(add_tensor(gguf, &entry, next.offset));
		entry = next;
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the file */

static rwkvk_status check_version(const struct gguf *gguf, uint32_t version)
{
	if (version == 2 || version == 3)
		return RWKVK_OK;
	if (version != 0 && (version & 0xffff) == 0)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: expected little-endian GGUF, found a big-endian file: convert the model again", gguf->path);
	return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected GGUF version 2 or 3, found version %" PRIu32 ": convert the model again",
	            gguf->path, version);
}

rwkvk_status gguf_read(struct weights *weights)
{
	const rwkvk_sampling *defaults = &weights->metadata.sampling;
	struct gguf gguf = {
		.weights = weights,
		.path = weights->path,
		.at = 4,
		.alignment = 32,
		.temperature = defaults->temperature,
		.top_p = defaults->top_p,
		.top_k = defaults->top_k,
		.presence = defaults->presence,
		.frequency = defaults->frequency,
		.decay = defaults->decay,
	};
	uint32_t version = 0;
	uint64_t tensors = 0, keys = 0;
	TRY(take_u32(&gguf, "the GGUF version", &version));
	TRY(check_version(&gguf, version));
	snprintf(weights->format, sizeof weights->format, "GGUF v%" PRIu32, version);
	TRY(take_u64(&gguf, "the number of tensors", &tensors));
	TRY(take_u64(&gguf, "the number of keys", &keys));
	TRY(check_count(&gguf, keys, KEY_BYTES, "keys"));
	TRY(find_architecture(&gguf, keys));
	weights->metadata.keys = malloc((keys + 1) * sizeof *weights->metadata.keys);
	if (!weights->metadata.keys)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for %" PRIu64 " keys", weights->path, keys);
	for (uint64_t i = 0; i < keys; i++)
		TRY(read_key(&gguf));
	if (gguf.split_count > 1)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: this is one of %" PRId64 " parts of a model: join them with llama.cpp's llama-gguf-split --merge",
		            gguf.path, gguf.split_count);
	if (gguf.alignment & (gguf.alignment - 1))
		return fail(RWKVK_ERROR_FILE, "%s: expected key general.alignment to be a power of two, found %" PRId64, gguf.path,
		            gguf.alignment);
	TRY(set_metadata(&gguf));
	TRY(check_count(&gguf, tensors, TENSOR_BYTES, "tensors"));
	TRY(read_tensors(&gguf, tensors));
	return weights_rename(weights, gguf.architecture->naming);
}
