/* The World tokenizer: the official vocabulary's known answers, a small vocabulary in all notations against a slow oracle,
 * token lists as GGUF files have them, and files that are not what they should be. */
#include "support.h"

#include <jansson.h>
#include <stdio.h>

#include "format/readers.h"
#include "text/tokenizer.h"

static rwkvk_tokenizer *open_tiny(void)
{
	rwkvk_tokenizer *t = NULL;
	assert_ok(rwkvk_tokenizer_open(TEST_DATA_DIR "/tiny_vocab.txt", &t));
	return t;
}

static void assert_encodes(const rwkvk_tokenizer *t, const char *name, const uint8_t *text, size_t bytes, const uint32_t *want,
                           size_t want_count)
{
	uint32_t *ids = calloc(bytes + 1, sizeof *ids);
	size_t count = 99, at = 0;
	assert_ok(rwkvk_tokenizer_encode(t, text, bytes, NULL, 0, &count));
	assert_int_equal(count, want_count);
	assert_ok(rwkvk_tokenizer_encode(t, text, bytes, ids, bytes, &count));
	if (count != want_count || memcmp(ids, want, count * sizeof *ids) != 0)
		fail_msg("\"%s\": the ids differ", name);
	for (size_t i = 0; i < count; i++) {
		size_t n;
		const void *token = rwkvk_tokenizer_token(t, ids[i], &n);
		assert_non_null(token);
		assert_true(at + n <= bytes);
		assert_memory_equal(token, text + at, n);
		at += n;
	}
	assert_int_equal(at, bytes);
	free(ids);
}

/* ---------------------------------------------------------------------------------------------------- known answers */

static void assert_golden(const rwkvk_tokenizer *t, const json_t *row)
{
	const char *hex = json_string_value(json_object_get(row, "hex"));
	const json_t *ids = json_object_get(row, "ids");
	size_t bytes = strlen(hex) / 2, count = json_array_size(ids);
	uint8_t *text = malloc(bytes + 1);
	uint32_t *want = malloc((count + 1) * sizeof *want);
	for (size_t i = 0; i < bytes; i++) {
		char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };
		text[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	for (size_t i = 0; i < count; i++)
		want[i] = (uint32_t)json_integer_value(json_array_get(ids, i));
	assert_encodes(t, json_string_value(json_object_get(row, "name")), text, bytes, want, count);
	free(text);
	free(want);
}

static void golden(void **state)
{
	(void)state;
	const char *vocab = test_shared("models/rwkv_vocab_v20230424.txt"), *file = test_shared("golden/tokenizer_world.json");
	if (!vocab || !file)
		skip();
	rwkvk_tokenizer *t;
	assert_ok(rwkvk_tokenizer_open(vocab, &t));
	assert_int_equal(tokenizer_size(t), 65530);
	json_error_t error;
	json_t *rows = json_load_file(file, JSON_ALLOW_NUL, &error);
	if (!rows)
		fail_msg("%s: %s", file, error.text);
	assert_int_equal(json_array_size(rows), 200);
	for (size_t i = 0; i < json_array_size(rows); i++)
		assert_golden(t, json_array_get(rows, i));
	json_decref(rows);
	rwkvk_tokenizer_close(t);
}

/* Every token of the official vocabulary encodes to itself. */
static void every_token(void **state)
{
	(void)state;
	const char *vocab = test_shared("models/rwkv_vocab_v20230424.txt");
	if (!vocab)
		skip();
	rwkvk_tokenizer *t;
	assert_ok(rwkvk_tokenizer_open(vocab, &t));
	for (uint32_t id = 1; id < tokenizer_size(t); id++) {
		size_t bytes, count;
		uint32_t got = 0;
		const void *token = rwkvk_tokenizer_token(t, id, &bytes);
		assert_non_null(token);
		assert_ok(rwkvk_tokenizer_encode(t, token, bytes, &got, 1, &count));
		assert_int_equal(count, 1);
		assert_int_equal(got, id);
	}
	rwkvk_tokenizer_close(t);
}

/* ---------------------------------------------------------------------------------------------------- small vocabulary */

static void tiny(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t ids[8];
		size_t count;
	} cases[] = {
		{ "", { 0 }, 0 },
		{ "abcd", { 318, 101 }, 2 }, /* abcde begins but fails, so the token is abc */
		{ "abcde", { 321 }, 1 },
		{ "there theth", { 306, 309, 300 }, 3 },
		{ "n\u00e9\U0001f642\u2002\u4f60\u597d\u4f60", { 336, 345, 342, 339, 348, 161 }, 6 },
		{ "\xff\xfe\xe4\xbd\xa0", { 351, 348, 161 }, 3 },
		{ "    a b c 01", { 357, 360, 33, 366 }, 4 },
		{ "He said \"it's\" it's\n\n\n", { 330, 33, 106, 117, 327, 312, 11 }, 7 },
		{ "\\n\\", { 363, 93 }, 2 },
	};
	rwkvk_tokenizer *t = open_tiny();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_encodes(t, cases[i].text, (const uint8_t *)cases[i].text, strlen(cases[i].text), cases[i].ids, cases[i].count);
	assert_encodes(t, "zero byte", (const uint8_t *)"a\0b", 3, (const uint32_t[]){ 98, 1, 99 }, 3);
	assert_encodes(t, "no text", NULL, 0, (const uint32_t[]){ 0 }, 0);
	assert_int_equal(tokenizer_size(t), 367);
	rwkvk_tokenizer_close(t);
}

static void capacity(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_tiny();
	uint32_t ids[3] = { 7, 7, 7 };
	size_t count;
	assert_ok(rwkvk_tokenizer_encode(t, "there theth", 11, ids, 2, &count));
	assert_int_equal(count, 3); /* the number for the whole text, not what fits */
	assert_int_equal(ids[0], 306);
	assert_int_equal(ids[1], 309);
	assert_int_equal(ids[2], 7);
	rwkvk_tokenizer_close(t);
}

static void tokens_without_text(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_tiny();
	static const uint32_t none[] = { 0, 256, 299, 301, 367, 65535, UINT32_MAX };
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		size_t bytes = 5;
		assert_null(rwkvk_tokenizer_token(t, none[i], &bytes));
		assert_int_equal(bytes, 0);
	}
	rwkvk_tokenizer_close(t);
	rwkvk_tokenizer_close(NULL);
}

/* The longest token at `text`, by trying them all. */
static uint32_t slow_longest(const rwkvk_tokenizer *t, const uint8_t *text, size_t bytes, size_t *length)
{
	uint32_t best = 0;
	*length = 0;
	for (uint32_t id = 1; id < tokenizer_size(t); id++) {
		size_t n;
		const void *token = rwkvk_tokenizer_token(t, id, &n);
		if (token && n <= bytes && n > *length && memcmp(token, text, n) == 0) {
			best = id;
			*length = n;
		}
	}
	return best;
}

static void random_texts(void **state)
{
	(void)state;
	static const char alphabet[] = "abcdeth 01'\n\\n\xe4\xbd\xa0\xc3\xa9\xfe";
	rwkvk_tokenizer *t = open_tiny();
	uint64_t random = 3;
	for (int round = 0; round < 300; round++) {
		uint8_t text[100];
		uint32_t want[100];
		size_t bytes = test_random(&random) % sizeof text, count = 0;
		for (size_t i = 0; i < bytes; i++)
			text[i] = (uint8_t)alphabet[test_random(&random) % (sizeof alphabet - 1)];
		for (size_t at = 0, length; at < bytes; at += length)
			want[count++] = slow_longest(t, text + at, bytes - at, &length);
		assert_encodes(t, "random", text, bytes, want, count);
	}
	rwkvk_tokenizer_close(t);
}

static void missing_byte(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_tiny();
	size_t count = 9;
	assert_fails(rwkvk_tokenizer_encode(t, "abc\xff", 4, NULL, 0, &count), RWKVK_ERROR_FILE, "no token for byte 0xff (byte 3");
	assert_int_equal(count, 0);
	assert_fails(rwkvk_tokenizer_encode(t, "\xff\xff\xfe", 3, NULL, 0, &count), RWKVK_ERROR_FILE, "tiny_vocab.txt");
	rwkvk_tokenizer_close(t);
}

/* ---------------------------------------------------------------------------------------------------- files */

static void accepted(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t id;
		const char *token;
		size_t bytes;
	} cases[] = {
		{ "5 'a' 1", 5, "a", 1 },                        /* no newline at the end */
		{ "5 'a' 1\r\n\r\n\n7 \"b\" 1\r\n", 7, "b", 1 }, /* line ends of Windows, empty lines */
		{ "9 'b' 1\n2 'a' 1\n", 2, "a", 1 },             /* any order */
		{ "16777215 'a' 1\n", 16777215, "a", 1 },
		{ "5 ' a ' 3\n", 5, " a ", 3 },
		{ "5 'a\"\\'b' 4\n", 5, "a\"'b", 4 },
		{ "5 \"a'\\\"b\" 4\n", 5, "a'\"b", 4 },
		{ "5 '\\n\\t\\r\\\\' 4\n", 5, "\n\t\r\\", 4 },
		{ "5 '\\x00\\x7F' 2\n", 5, "\0\x7f", 2 },
		{ "5 '\\xe9' 2\n", 5, "\xc3\xa9", 2 }, /* a code point in a string */
		{ "5 b'\\xe9' 1\n", 5, "\xe9", 1 },    /* a byte in a bytes literal */
		{ "5 '\\u20ac\\U0010FFFF' 7\n", 5, "\u20ac\U0010ffff", 7 },
		{ "5 '\u00e9\u4f60' 5\n", 5, "\u00e9\u4f60", 5 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_tokenizer *t;
		size_t bytes;
		assert_ok(tokenizer_from_text("v", (const uint8_t *)cases[i].text, strlen(cases[i].text), &t));
		const void *token = rwkvk_tokenizer_token(t, cases[i].id, &bytes);
		assert_non_null(token);
		assert_int_equal(bytes, cases[i].bytes);
		assert_memory_equal(token, cases[i].token, bytes);
		rwkvk_tokenizer_close(t);
	}
}

static void refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "no token" },
		{ "\n\n", "no token" },
		{ "1 'a' 1\nhello\n", "line 2: expected ID LITERAL BYTES" },
		{ "1 'a'\n", "line 1: expected ID LITERAL BYTES" },
		{ " 'a' 1\n", "line 1: expected an id from 0 to 16777215" },
		{ "x 'a' 1\n", "found: x" },
		{ "0 'a' 1\n", "line 1: token 0 has 1 bytes; it ends a text, so expected none" },
		{ "-1 'a' 1\n", "found: -1" },
		{ "16777216 'a' 1\n", "found: 16777216" },
		{ "99999999999999999999999999 'a' 1\n", "expected an id from 0 to 16777215" },
		{ "1 'a' \n", "number of bytes" },
		{ "1 'a' b\n", "number of bytes at the end, found: b" },
		{ "1 'a' 4294967297\n", "number of bytes" },
		{ "1 'a' 2\n", "token 1 has 1 bytes, but the line says 2" },
		{ "1 '\\xe9' 1\n", "token 1 has 2 bytes, but the line says 1" },
		{ "1 '' 0\n", "holds no token with text" },
		{ "1 '' 1\n", "token 1 has 0 bytes, but the line says 1" },
		{ "1 'a' 1\n2 '' 0\n1 '' 0\n", "line 3: id 1 is already that of line 1" },
		{ "1 a 1\n", "expected a literal" },
		{ "1 'a 1\n", "expected a literal" },
		{ "1 'a\" 1\n", "expected a literal" },
		{ "1 ' 1\n", "expected a literal" },
		{ "1 b 1\n", "expected a literal" },
		{ "1 b' 1\n", "expected a literal" },
		{ "1  1\n", "expected a literal" },
		{ "1 u'a' 1\n", "expected a literal" },
		{ "1 'a'b' 3\n", "escape the inner '" },
		{ "1 'a\\' 1\n", "middle of an escape" },
		{ "1 '\\q' 1\n", "unknown escape \\q" },
		{ "1 '\\0' 1\n", "unknown escape \\0" },
		{ "1 b'\\u0041' 1\n", "unknown escape \\u" },
		{ "1 '\\x4' 1\n", "\\x needs 2 hexadecimal digits, found 1" },
		{ "1 '\\u123g' 1\n", "\\u needs 4 hexadecimal digits, found 3" },
		{ "1 '\\U0000' 1\n", "\\U needs 8 hexadecimal digits, found 4" },
		{ "1 '\\ud800' 3\n", "\\ud800 is not a character" },
		{ "1 '\\uDFFF' 3\n", "\\udfff is not a character" },
		{ "1 '\\U00110000' 4\n", "\\U00110000 is not a character" },
		{ "1 '\xff' 1\n", "byte 0xff is not UTF-8" },
		{ "1 '\xed\xa0\x80' 3\n", "byte 0xed is not UTF-8" },
		{ "1 b'\xc3\xa9' 2\n", "must be written as an escape" },
		{ "3 'a' 1\n4 'b' 1\n3 'c' 1\n", "line 3: id 3 is already that of line 1" },
		{ "1 \x1b[2J 1\n", "found: ?[2J" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_tokenizer *t = (rwkvk_tokenizer *)&t;
		const char *path = test_temp("hostile.txt");
		assert_fails(tokenizer_from_text(path, (const uint8_t *)cases[i].text, strlen(cases[i].text), &t), RWKVK_ERROR_FILE,
		             cases[i].message);
		test_assert_error_contains(path, __FILE__, __LINE__);
		assert_null(t);
	}
}

static void refused_sizes(void **state)
{
	(void)state;
	rwkvk_tokenizer *t;
	assert_fails(rwkvk_tokenizer_open(test_temp("missing.txt"), &t), RWKVK_ERROR_FILE, "missing.txt");
	assert_fails(tokenizer_from_text("v", (const uint8_t *)"", 1ull << 40, &t), RWKVK_ERROR_FILE, "at most");
	size_t n = 65536 + 16; /* one byte more than a token may have */
	char *line = malloc(n + 1);
	memset(line, 'a', n);
	memcpy(line, "1 '", 3);
	memcpy(line + 3 + 65536, "' 65536", 8);
	assert_fails(tokenizer_from_text("v", (const uint8_t *)line, strlen(line), &t), RWKVK_ERROR_FILE, "expected at most 65535");
	free(line);
}

/* ---------------------------------------------------------------------------------------------------- other forms */

static void assert_hi(const char *name, const void *text, size_t bytes)
{
	rwkvk_tokenizer *t;
	assert_ok(tokenizer_from_bytes(name, text, bytes, &t));
	uint32_t ids[2];
	size_t count;
	assert_ok(rwkvk_tokenizer_encode(t, "Hi", 2, ids, 2, &count));
	assert_int_equal(count, 2);
	assert_int_equal(ids[0], 2);
	assert_int_equal(ids[1], 3);
	rwkvk_tokenizer_close(t);
}

static void empty_tokens(void **state)
{
	(void)state;
	static const char text[] = "0 '' 0\n2 'H' 1\n3 'i' 1\n9 '' 0\n10 b\"\" 0\n";
	rwkvk_tokenizer *t;
	size_t bytes = 1;
	assert_hi("v", text, sizeof text - 1);
	assert_ok(tokenizer_from_text("v", (const uint8_t *)text, sizeof text - 1, &t));
	assert_int_equal(tokenizer_size(t), 11);
	assert_null(rwkvk_tokenizer_token(t, 10, &bytes));
	assert_int_equal(bytes, 0);
	rwkvk_tokenizer_close(t);
}

static void json_by_id(void **state)
{
	(void)state;
	static const char text[] = " {\n\t\"1\": \"\\u0000\", \"3\": \"i\", \"2\": [72], \"4\": [195], \"0\": \"\", \"9\": []}\n";
	rwkvk_tokenizer *t;
	size_t bytes, count;
	uint32_t ids[2];
	assert_hi("v", text, sizeof text - 1);
	assert_ok(tokenizer_from_bytes("v", (const uint8_t *)text, sizeof text - 1, &t));
	assert_true(tokenizer_is_world(t));
	assert_int_equal(tokenizer_size(t), 10);
	assert_ok(rwkvk_tokenizer_encode(t, "\0\xc3", 2, ids, 2, &count));
	assert_int_equal(count, 2);
	assert_int_equal(ids[0], 1);
	assert_int_equal(ids[1], 4);
	assert_memory_equal(rwkvk_tokenizer_token(t, 1, &bytes), "\0", 1);
	assert_int_equal(bytes, 1);
	rwkvk_tokenizer_close(t);
}

static void json_by_id_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "{\"1\": \"a\"", "v: line 1: is not JSON" },
		{ "{\"1\": \"a\", \"1\": \"b\"}", "v: line 1: is not JSON: duplicate object key" },
		{ "{\"1\": \"a\", \"01\": \"b\"}", "v: entry 2: id 1 is already that of entry 1" },
		{ "{\"1\": \"a\", \"b\": \"b\"}", "v: entry 2: expected an id from 0 to 16777215, found \"b\"" },
		{ "{\"16777216\": \"a\"}", "v: entry 1: expected an id" },
		{ "{\"0\": \"a\"}", "v: entry 1: token 0 has 1 bytes; it ends a text" },
		{ "{\"1\": {}}", "v: token 1: expected a text or a list of bytes" },
		{ "{\"1\": [0, 256]}", "v: token 1: expected bytes from 0 to 255, found something else at index 1" },
		{ "{\"1\": [-1]}", "found something else at index 0" },
		{ "{\"1\": [\"a\"]}", "found something else at index 0" },
		{ "{\"1\": \"\", \"2\": []}", "v: holds no token with text" },
		{ "{\"1\": \"\\ud800\"}", "v: line 1: is not JSON" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_tokenizer *t = (rwkvk_tokenizer *)&t;
		assert_fails(tokenizer_from_bytes("v", (const uint8_t *)cases[i].text, strlen(cases[i].text), &t), RWKVK_ERROR_FILE,
		             cases[i].message);
		assert_null(t);
	}
	rwkvk_tokenizer *t;
	assert_fails(tokenizer_from_ids("v", (const uint8_t *)"{", 1ull << 40, &t), RWKVK_ERROR_FILE, "at most");
}

static void byte_order_mark(void **state)
{
	(void)state;
	static const char world[] = "\xef\xbb\xbf"
								"2 'H' 1\n3 'i' 1\n",
					  json[] = "\xef\xbb\xbf{\"2\": \"H\", \"3\": \"i\"}";
	assert_hi("world", world, sizeof world - 1);
	assert_hi("json", json, sizeof json - 1);
	rwkvk_tokenizer *t;
	assert_fails(tokenizer_from_bytes("v", (const uint8_t *)world, 3, &t), RWKVK_ERROR_FILE, "holds no token with text");
}

static void other_encodings(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t bytes;
		const char *message;
	} cases[] = {
		{ "\xff\xfe"
		  "1\0 \0",
		  6, "v: expected a vocabulary in UTF-8, found one in UTF-16: save it as UTF-8" },
		{ "\xfe\xff\0"
		  "1\0 ",
		  6, "found one in UTF-16" },
		{ "1\0 \0", 4, "found one in UTF-16" },
		{ "\0{\0\"", 4, "found one in UTF-16" },
		{ "\xff\xfe\0\0"
		  "1\0\0\0",
		  8, "found one in UTF-32" },
		{ "\0\0\xfe\xff\0\0\0"
		  "1",
		  8, "found one in UTF-32" },
		{ "1\0\0\0", 4, "found one in UTF-32" },
		{ "\xff\xfe", 2, "found one in UTF-16" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_tokenizer *t = (rwkvk_tokenizer *)&t;
		assert_fails(tokenizer_from_bytes("v", (const uint8_t *)cases[i].text, cases[i].bytes, &t), RWKVK_ERROR_FILE,
		             cases[i].message);
		assert_null(t);
	}
}

static void same_bytes(void **state)
{
	(void)state;
	static const char text[] = "9 'ab' 2\n4 b'ab' 2\n1 'a' 1\n";
	rwkvk_tokenizer *t;
	assert_ok(tokenizer_from_text("v", (const uint8_t *)text, sizeof text - 1, &t));
	uint32_t id;
	size_t count, bytes;
	assert_ok(rwkvk_tokenizer_encode(t, "ab", 2, &id, 1, &count));
	assert_int_equal(id, 9); /* the higher id, wherever it stands */
	assert_non_null(rwkvk_tokenizer_token(t, 4, &bytes));
	rwkvk_tokenizer_close(t);
}

/* ---------------------------------------------------------------------------------------------------- token lists */

#define TOKENS 12

static void from_metadata(void **state)
{
	(void)state;
	static const char *const literals[TOKENS] = { "<s>",  "a",     "b'", "\\xe4", "\\n\\t\\r", "\\\\\\'\\\"",
		                                          "x\"y", "\\x00", "",   "a",     "\xc3\xa9",  "[PAD11]" };
	static const int32_t types[TOKENS] = { 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5 };
	static const struct {
		const char *bytes;
		size_t count;
	} want[TOKENS] = { { "", 0 },     { "a", 1 },  { "b'", 2 }, { "\xe4", 1 }, { "\n\t\r", 3 },   { "\\'\"", 3 },
		               { "x\"y", 3 }, { "\0", 1 }, { "", 0 },   { "a", 1 },    { "\xc3\xa9", 2 }, { "", 0 } };
	const uint8_t *text[TOKENS];
	uint64_t bytes[TOKENS];
	for (size_t i = 0; i < TOKENS; i++) {
		text[i] = (const uint8_t *)literals[i];
		bytes[i] = strlen(literals[i]);
	}
	char path[] = "m.gguf";
	struct weights weights = { .path = path };
	weights.metadata = (struct metadata){ .token_text = text, .token_bytes = bytes, .token_count = TOKENS };
	weights.metadata.token_type = types;
	rwkvk_tokenizer *t;
	assert_ok(tokenizer_from_metadata(&weights, &t));
	assert_int_equal(tokenizer_size(t), 11);
	for (uint32_t id = 0; id < TOKENS; id++) {
		size_t n;
		const void *token = rwkvk_tokenizer_token(t, id, &n);
		assert_int_equal(n, want[id].count);
		assert_int_equal(token != NULL, n > 0);
		if (token)
			assert_memory_equal(token, want[id].bytes, n);
	}
	uint32_t id;
	size_t count;
	assert_ok(rwkvk_tokenizer_encode(t, "a", 1, &id, 1, &count));
	assert_int_equal(id, 9);
	assert_fails(rwkvk_tokenizer_encode(t, "<s>", 3, NULL, 0, &count), RWKVK_ERROR_FILE, "m.gguf: has no token for byte 0x3c");
	rwkvk_tokenizer_close(t);
}

/* A converted file's token list says the same as the text it was made from. */
static void metadata_agrees_with_text(void **state)
{
	(void)state;
	const char *vocab = test_shared("models/rwkv_vocab_v20230424.txt");
	const char *file = test_shared("models/synthetic/v7-c128-f16.gguf");
	if (!vocab || !file)
		skip();
	rwkvk_tokenizer *text, *list;
	struct weights weights;
	assert_ok(rwkvk_tokenizer_open(vocab, &text));
	assert_ok(weights_open(file, NULL, 0, NULL, &weights));
	assert_ok(tokenizer_from_metadata(&weights, &list));
	weights_close(&weights); /* the tokenizer keeps nothing of it */
	assert_int_equal(tokenizer_size(list), 512);
	for (uint32_t id = 0; id < tokenizer_size(list); id++) {
		size_t n, want_n;
		const void *token = rwkvk_tokenizer_token(list, id, &n), *want = rwkvk_tokenizer_token(text, id, &want_n);
		assert_int_equal(n, want_n);
		assert_int_equal(token != NULL, want != NULL);
		if (want)
			assert_memory_equal(token, want, n);
	}
	rwkvk_tokenizer_close(text);
	rwkvk_tokenizer_close(list);
}

static void hostile_metadata(void **state)
{
	(void)state;
	static const char literal[] = "\\xzz";
	const uint8_t *text[2] = { (const uint8_t *)"<s>", (const uint8_t *)literal };
	uint64_t bytes[2] = { 3, 4 };
	char path[] = "m.gguf";
	struct weights weights = { .path = path };
	rwkvk_tokenizer *t;
	assert_fails(tokenizer_from_metadata(&weights, &t), RWKVK_ERROR_FILE, "m.gguf: holds no vocabulary");
	weights.metadata = (struct metadata){ .token_text = text, .token_bytes = bytes, .token_count = 2 };
	assert_fails(tokenizer_from_metadata(&weights, &t), RWKVK_ERROR_FILE, "token 1 of tokenizer.ggml.tokens: \\x needs 2");
	weights.metadata.token_count = 1; /* only the end of text */
	assert_fails(tokenizer_from_metadata(&weights, &t), RWKVK_ERROR_FILE, "no token with text");
	weights.metadata.token_count = (1u << 24) + 1;
	assert_fails(tokenizer_from_metadata(&weights, &t), RWKVK_ERROR_FILE, "lists 16777217 tokens");
	weights.metadata.token_count = 2;
	bytes[1] = UINT64_MAX;
	assert_fails(tokenizer_from_metadata(&weights, &t), RWKVK_ERROR_FILE, "larger than");
	assert_null(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(every_token),
		cmocka_unit_test(tiny),
		cmocka_unit_test(capacity),
		cmocka_unit_test(tokens_without_text),
		cmocka_unit_test(random_texts),
		cmocka_unit_test(missing_byte),
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(refused_sizes),
		cmocka_unit_test(same_bytes),
		cmocka_unit_test(from_metadata),
		cmocka_unit_test(metadata_agrees_with_text),
		cmocka_unit_test(hostile_metadata),
		cmocka_unit_test(empty_tokens),
		cmocka_unit_test(json_by_id),
		cmocka_unit_test(json_by_id_refused),
		cmocka_unit_test(byte_order_mark),
		cmocka_unit_test(other_encodings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
