/* Byte-level BPE: the 20B vocabulary's known answers, a small vocabulary of our own against a slow oracle, bytes that are not
 * text, and JSON files that are not what they should be.  The byte tokenizer, and which vocabulary fits a model. */
#include "support.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>

#include "text/nfc.h"
#include "text/tokenizer.h"

#define TINY TEST_DATA_DIR "/tiny_bpe.json"

static rwkvk_tokenizer *open_file(const char *path)
{
	rwkvk_tokenizer *t = NULL;
	assert_ok(rwkvk_tokenizer_open(path, &t));
	return t;
}

/* The bytes of ids, to be freed. */
static uint8_t *decoded(const rwkvk_tokenizer *t, const uint32_t *ids, size_t count, size_t *bytes)
{
	uint8_t *out = NULL;
	*bytes = 0;
	for (size_t i = 0; i < count; i++) {
		size_t n;
		const void *token = rwkvk_tokenizer_token(t, ids[i], &n);
		assert_non_null(token);
		out = realloc(out, *bytes + n);
		memcpy(out + *bytes, token, n);
		*bytes += n;
	}
	return out;
}

static uint32_t *encoded(const rwkvk_tokenizer *t, const void *text, size_t bytes, size_t *count)
{
	uint32_t *ids = malloc((3 * bytes + 1) * sizeof *ids);
	size_t measured;
	assert_ok(rwkvk_tokenizer_encode(t, text, bytes, NULL, 0, &measured));
	assert_true(measured <= 3 * bytes);
	assert_ok(rwkvk_tokenizer_encode(t, text, bytes, ids, measured, count));
	assert_int_equal(*count, measured);
	return ids;
}

/* Encoding gives `want`; its bytes are `back`. */
static void assert_encodes(const rwkvk_tokenizer *t, const char *name, const void *text, size_t bytes, const uint32_t *want,
                           size_t want_count, const void *back, size_t back_bytes)
{
	size_t count, n;
	uint32_t *ids = encoded(t, text, bytes, &count);
	if (count != want_count || memcmp(ids, want, count * sizeof *ids) != 0)
		fail_msg("\"%s\": the ids differ", name);
	uint8_t *got = decoded(t, ids, count, &n);
	assert_int_equal(n, back_bytes);
	if (n > 0)
		assert_memory_equal(got, back, n);
	free(got);
	free(ids);
}

/* Text that comes back as it was. */
static void assert_returns(const rwkvk_tokenizer *t, const void *text, size_t bytes)
{
	size_t count, n;
	uint32_t *ids = encoded(t, text, bytes, &count);
	uint8_t *got = decoded(t, ids, count, &n);
	assert_int_equal(n, bytes);
	if (n > 0)
		assert_memory_equal(got, text, n);
	free(got);
	free(ids);
}

/* ---------------------------------------------------------------------------------------------------- known answers */

static uint8_t *from_hex(const char *hex, size_t *bytes)
{
	*bytes = strlen(hex) / 2;
	uint8_t *text = malloc(*bytes + 1);
	for (size_t i = 0; i < *bytes; i++) {
		char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };
		text[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return text;
}

static void assert_golden(const rwkvk_tokenizer *t, const json_t *row)
{
	const json_t *list = json_object_get(row, "ids");
	size_t bytes, count = json_array_size(list), composed_bytes;
	uint8_t *text = from_hex(json_string_value(json_object_get(row, "hex")), &bytes), *composed;
	uint32_t *want = malloc((count + 1) * sizeof *want);
	for (size_t i = 0; i < count; i++)
		want[i] = (uint32_t)json_integer_value(json_array_get(list, i));
	assert_true(nfc(text, bytes, &composed, &composed_bytes));
	assert_encodes(t, json_string_value(json_object_get(row, "name")), text, bytes, want, count, composed ? composed : text,
	               composed ? composed_bytes : bytes);
	free(composed);
	free(text);
	free(want);
}

static void golden(void **state)
{
	(void)state;
	const char *vocab = test_shared("models/20B_tokenizer.json"), *file = test_shared("golden/tokenizer_neox.json");
	if (!vocab || !file)
		skip();
	rwkvk_tokenizer *t = open_file(vocab);
	assert_int_equal(tokenizer_size(t), 50277);
	json_error_t error;
	json_t *rows = json_load_file(file, JSON_ALLOW_NUL, &error);
	if (!rows)
		fail_msg("%s: %s", file, error.text);
	assert_int_equal(json_array_size(rows), 177);
	for (size_t i = 0; i < json_array_size(rows); i++)
		assert_golden(t, json_array_get(rows, i));
	json_decref(rows);
	rwkvk_tokenizer_close(t);
}

/* Also the golden inputs of the World vocabulary, some of which are not valid text. */
static void any_bytes(void **state)
{
	(void)state;
	const char *vocab = test_shared("models/20B_tokenizer.json");
	if (!vocab)
		skip();
	rwkvk_tokenizer *t = open_file(vocab);
	uint8_t all[256];
	size_t count, n = 0;
	for (int byte = 0; byte < 0xf5; byte++)
		if (byte != 0xc0 && byte != 0xc1)
			all[n++] = (uint8_t)byte;
	assert_returns(t, all, n);
	for (int byte = 0; byte < 256; byte++) { /* the 20B vocabulary was made from UTF-8, which never has these */
		uint8_t text[3] = { 'a', (uint8_t)byte, 'b' };
		if (byte < 0xf5 && byte != 0xc0 && byte != 0xc1)
			assert_returns(t, text, 3);
		else
			assert_fails(rwkvk_tokenizer_encode(t, text, 3, NULL, 0, &count), RWKVK_ERROR_FILE, "(byte 1 of the text)");
	}
	rwkvk_tokenizer_close(t);
}

/* ---------------------------------------------------------------------------------------------------- small vocabulary */

/* Ids that Hugging Face's tokenizers 0.23.3 gives for tests/data/tiny_bpe.json. */
static void tiny(void **state)
{
	(void)state;
	static const struct {
		const char *text, *back; /* NULL: the same */
		uint32_t ids[16];
		size_t count;
	} cases[] = {
		{ "", NULL, { 0 }, 0 },
		{ "the there", NULL, { 256, 257, 115, 102 }, 4 }, /* the space goes with the word, and its merge has the lower rank */
		{ "ababababc abc", NULL, { 261, 258, 260, 33, 260 }, 5 },
		{ " ababab", NULL, { 33, 261, 258 }, 3 },
		{ "123123 1234", NULL, { 268, 268, 33, 268, 53 }, 5 },
		{ "he's", NULL, { 255, 271 }, 2 },
		{ "a  b   c    d\n\n\nx", NULL, { 98, 275, 99, 274, 100, 274, 33, 101, 269, 11, 121 }, 11 }, /* runs of spaces first */
		{ "e\u0301\u00e9\u212b", "\u00e9\u00e9\u00c5", { 272, 272, 195, 134 }, 4 },                  /* composed */
		{ "<|end|>x<|pad|><|pad", NULL, { 0, 121, 273, 61, 125, 113, 98, 101 }, 8 },                 /* special tokens */
		{ "\u273fthe\u273f", NULL, { 276, 256, 276 }, 3 },
		{ "a\u180eb \xc2\x85"
		  "c",
		  NULL,
		  { 98, 225, 161, 143, 99, 33, 194, 134, 100 },
		  9 },                                                /* what is white space, what is not */
		{ "\n\n\u180e", NULL, { 11, 11, 225, 161, 143 }, 5 }, /* no white space, so the last \n is not with the first */
		{ "\n\n\xc2\x85", NULL, { 269, 194, 134 }, 3 },
		{ "in\u00a0in \u3000the", NULL, { 266, 194, 161, 266, 33, 227, 129, 129, 256 }, 9 },
		{ "ther ther", NULL, { 264, 257, 115 }, 3 },
		{ "l\u0344", "l\u0308\u0301", { 109, 204, 137, 204, 130 }, 5 }, /* more ids than bytes */
	};
	rwkvk_tokenizer *t = open_file(TINY);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *back = cases[i].back ? cases[i].back : cases[i].text;
		assert_encodes(t, cases[i].text, cases[i].text, strlen(cases[i].text), cases[i].ids, cases[i].count, back,
		               strlen(back));
	}
	assert_encodes(t, "zero byte", "a\0b", 3, (const uint32_t[]){ 98, 1, 99 }, 3, "a\0b", 3);
	assert_int_equal(tokenizer_size(t), 277);
	assert_true(tokenizer_zero_ends(t));
	rwkvk_tokenizer_close(t);
}

static void not_text(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_file(TINY);
	size_t count;
	/* A byte that is not part of a character splits the text: the space after it begins a piece, and th + e merge, but t and he
	 * do not. */
	assert_encodes(t, "cut", "the\x80 the", 8, (const uint32_t[]){ 256, 129, 257 }, 3, "the\x80 the", 8);
	assert_encodes(t, "half a character", "\xe2\x9c", 2, (const uint32_t[]){ 226, 157 }, 2, "\xe2\x9c", 2);
	assert_encodes(t, "half an accent", "e\xcc", 2, (const uint32_t[]){ 102, 204 }, 2, "e\xcc", 2);
	assert_fails(rwkvk_tokenizer_encode(t, "ab\xff", 3, NULL, 0, &count), RWKVK_ERROR_FILE,
	             "tiny_bpe.json: has no token for byte 0xff (byte 2 of the text), which no UTF-8 text holds");
	assert_int_equal(count, 0);
	uint64_t random = 5;
	for (int round = 0; round < 300; round++) {
		static const char alphabet[] = "abthe  \n1'\xc3\xa9\xe2\x9c\xbf\x80\xf0\xed\xa0"; /* no accent of its own */
		uint8_t text[100];
		size_t bytes = test_random(&random) % sizeof text;
		for (size_t i = 0; i < bytes; i++)
			text[i] = (uint8_t)alphabet[test_random(&random) % (sizeof alphabet - 1)];
		assert_returns(t, text, bytes);
	}
	rwkvk_tokenizer_close(t);
}

/* Words of letters, merged by searching all pairs again after every merge. */
static const struct {
	const char *left, *right;
} oracle[] = { { "h", "e" },   { "t", "he" },      { "a", "b" }, { "b", "c" },   { "ab", "c" },
	           { "ab", "ab" }, { "abab", "abab" }, { "e", "r" }, { "the", "r" }, { "i", "n" } };

static size_t slow(const char *word, char parts[][16])
{
	size_t n = strlen(word);
	for (size_t i = 0; i < n; i++)
		snprintf(parts[i], 16, "%c", word[i]);
	for (size_t rank = 0; rank < sizeof oracle / sizeof *oracle;) {
		size_t i = 0;
		while (i + 1 < n && (strcmp(parts[i], oracle[rank].left) != 0 || strcmp(parts[i + 1], oracle[rank].right) != 0))
			i++;
		if (i + 1 >= n) {
			rank++;
			continue;
		}
		memmove(parts[i] + strlen(parts[i]), parts[i + 1], strlen(parts[i + 1]) + 1);
		memmove(parts[i + 1], parts[i + 2], (--n - i - 1) * sizeof parts[0]);
		rank = 0; /* a new token may have a merge of lower rank */
	}
	return n;
}

static void random_words(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_file(TINY);
	uint64_t random = 8;
	for (int round = 0; round < 500; round++) {
		static const char letters[] = "aabbccthherin";
		char word[60], parts[61][16];
		size_t n = test_random(&random) % sizeof word, count, bytes;
		for (size_t i = 0; i < n; i++)
			word[i] = letters[test_random(&random) % (sizeof letters - 1)];
		word[n] = 0;
		uint32_t *ids = encoded(t, word, n, &count);
		assert_int_equal(count, slow(word, parts));
		for (size_t i = 0; i < count; i++) {
			const void *token = rwkvk_tokenizer_token(t, ids[i], &bytes);
			assert_int_equal(bytes, strlen(parts[i]));
			assert_memory_equal(token, parts[i], bytes);
		}
		free(ids);
	}
	rwkvk_tokenizer_close(t);
}

/* The time grows linearly with the length; if it were quadratic, this would take hours. */
static void long_words(void **state)
{
	(void)state;
	enum { BYTES = 1 << 20 };
	static const char *const patterns[] = { "ab", "a", " ", "\n", "\u0301\u0316", "<|en", "\u4f60", "'", "\x80" };
	rwkvk_tokenizer *t = open_file(TINY);
	uint8_t *text = malloc(BYTES);
	for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
		size_t length = strlen(patterns[i]), bytes = BYTES / length * length, count, n;
		for (size_t at = 0; at < bytes; at += length)
			memcpy(text + at, patterns[i], length);
		uint32_t *ids = encoded(t, text, bytes, &count);
		uint8_t *back = decoded(t, ids, count < 1000 ? count : 1000, &n);
		assert_true(count > 1000 && n <= bytes);
		if (i != 4) /* those are put in order */
			assert_memory_equal(back, text, n);
		free(back);
		free(ids);
	}
	free(text);
	rwkvk_tokenizer_close(t);
}

static void *encode_often(void *tokenizer)
{
	static const char text[] = "the abababc there's 123  \u00e9 e\u0301 <|end|> in";
	uintptr_t sum = 0;
	for (int i = 0; i < 200; i++) {
		uint32_t ids[64];
		size_t count = 0;
		if (rwkvk_tokenizer_encode(tokenizer, text, sizeof text - 1, ids, 64, &count) != RWKVK_OK)
			return NULL;
		for (size_t k = 0; k < count; k++)
			sum = sum * 31 + ids[k];
	}
	return (void *)sum;
}

static void threads(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_file(TINY);
	pthread_t others[4];
	void *want = encode_often(t);
	assert_non_null(want);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&others[i], NULL, encode_often, t), 0);
	for (int i = 0; i < 4; i++) {
		void *got;
		assert_int_equal(pthread_join(others[i], &got), 0);
		assert_ptr_equal(got, want);
	}
	rwkvk_tokenizer_close(t);
}

static void normal_form(void **state)
{
	(void)state;
	static const struct {
		const char *text, *want; /* NULL: recognised as normal without a lookup */
	} cases[] = {
		{ "", NULL },
		{ "plain, \u00e9, \u02ff", NULL },
		{ "e\u0301", "\u00e9" },
		{ "\u1112\u1161\u11ab", "\ud55c" },
		{ "q\u0307\u0323", "q\u0323\u0307" }, /* marks in order */
		{ "\u0301\u0316\u0301", "\u0316\u0301\u0301" },
		{ "\u0958", "\u0915\u093c" }, /* never composed */
		{ "\u2126", "\u03a9" },
		{ "\U0001d160", "\U0001d158\U0001d165\U0001d16e" },
		{ "\u4f60\u597d", "\u4f60\u597d" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t *out;
		size_t bytes;
		assert_true(nfc((const uint8_t *)cases[i].text, strlen(cases[i].text), &out, &bytes));
		assert_int_equal(out != NULL, cases[i].want != NULL);
		if (!out)
			continue;
		assert_int_equal(bytes, strlen(cases[i].want));
		assert_memory_equal(out, cases[i].want, bytes);
		free(out);
	}
}

/* ---------------------------------------------------------------------------------------------------- files */

/* The small vocabulary with one text replaced, to be freed. */
static char *edited(const char *find, const char *put, size_t *bytes)
{
	size_t n;
	char *text = (char *)test_read_file(TINY, &n), *at = strstr(text, find);
	if (!at)
		fail_msg("the file has no %s", find);
	*bytes = n - strlen(find) + strlen(put);
	char *out = malloc(*bytes + 1);
	size_t before = (size_t)(at - text);
	memcpy(out, text, before);
	memcpy(out + before, put, strlen(put));
	memcpy(out + before + strlen(put), at + strlen(find), n - before - strlen(find) + 1);
	free(text);
	return out;
}

static void accepted(void **state)
{
	(void)state;
	static const struct {
		const char *find, *put;
	} cases[] = {
		{ "{", " \r\n\t{" },
		{ "\"h e\"", "[\"h\",\"e\"]" }, /* as newer files write it */
		{ "\"normalizer\":{\"type\":\"NFC\"},", "" },
		{ "\"normalizer\":{\"type\":\"NFC\"},", "\"normalizer\":null," },
		{ "\"trim_offsets\":true}", "\"trim_offsets\":true,\"use_regex\":true}" },
		{ "\"fuse_unk\":false", "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false" },
		{ "\"continuing_subword_prefix\":null", "\"continuing_subword_prefix\":\"\"" },
		{ "\"decoder\":", "\"other\":" },
		{ "\"h e\"", "\"h e\",\"h e\"" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t bytes, count;
		char *text = edited(cases[i].find, cases[i].put, &bytes);
		const char *path = test_temp("edited.json");
		test_write_file(path, text, bytes);
		rwkvk_tokenizer *t = open_file(path);
		uint32_t ids[2];
		assert_ok(rwkvk_tokenizer_encode(t, "the e\u0301", 7, ids, 2, &count));
		assert_int_equal(ids[0], 256);
		assert_int_equal(count, i == 2 || i == 3 ? 5 : 3); /* unless nothing is composed */
		rwkvk_tokenizer_close(t);
		free(text);
	}
}

static void refused(void **state)
{
	(void)state;
	static const struct {
		const char *find, *put;
		rwkvk_status status;
		const char *message;
	} cases[] = {
		{ "\"BPE\"", "\"Unigram\"", RWKVK_ERROR_UNSUPPORTED, "model: expected BPE, found ?Unigram?; of JSON vocabularies" },
		{ "\"BPE\"", "7", RWKVK_ERROR_UNSUPPORTED, "model: expected BPE, found 7" },
		{ "\"type\":\"BPE\",", "", RWKVK_ERROR_UNSUPPORTED, "model: expected BPE, found {?dropout?" },
		{ "\"dropout\":null", "\"dropout\":0.1", RWKVK_ERROR_UNSUPPORTED, "model.dropout: expected null or false, found 0.1" },
		{ "\"unk_token\":null", "\"unk_token\":\"<unk>\"", RWKVK_ERROR_UNSUPPORTED, "model.unk_token: expected null or false" },
		{ "\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", RWKVK_ERROR_UNSUPPORTED, "found ?</w>?" },
		{ "\"fuse_unk\":false", "\"ignore_merges\":true", RWKVK_ERROR_UNSUPPORTED, "model.ignore_merges" },
		{ "\"NFC\"", "\"NFKC\"", RWKVK_ERROR_UNSUPPORTED, "normalizer: expected NFC, found ?NFKC?" },
		{ "\"pre_tokenizer\":{\"type\":\"ByteLevel\"", "\"pre_tokenizer\":{\"type\":\"Whitespace\"", RWKVK_ERROR_UNSUPPORTED,
		  "pre_tokenizer: expected ByteLevel, found ?Whitespace?" },
		{ "\"pre_tokenizer\":", "\"x\":", RWKVK_ERROR_UNSUPPORTED, "pre_tokenizer: expected ByteLevel, found none" },
		{ "\"add_prefix_space\":false", "\"add_prefix_space\":true", RWKVK_ERROR_UNSUPPORTED,
		  "pre_tokenizer.add_prefix_space: expected null or false, found true" },
		{ "\"trim_offsets\":true", "\"use_regex\":false", RWKVK_ERROR_UNSUPPORTED, "use_regex: expected true, found false" },
		{ "\"post_processor\":{\"type\":\"ByteLevel\"", "\"post_processor\":{\"type\":\"TemplateProcessing\"",
		  RWKVK_ERROR_UNSUPPORTED, "post_processor: expected ByteLevel, found ?TemplateProcessing?" },
		{ "\"decoder\":{\"type\":\"ByteLevel\"", "\"decoder\":{\"type\":\"Metaspace\"", RWKVK_ERROR_UNSUPPORTED, "decoder" },
		{ "\"truncation\":null", "\"truncation\":{\"max_length\":5}", RWKVK_ERROR_UNSUPPORTED, "truncation: expected null" },
		{ "\"lstrip\":false", "\"lstrip\":true", RWKVK_ERROR_UNSUPPORTED, "added_tokens: lstrip: expected null or false" },
		{ "\"single_word\":false", "\"single_word\":true", RWKVK_ERROR_UNSUPPORTED, "added_tokens: single_word" },
		{ "\"version\"", "version", RWKVK_ERROR_FILE, "line 1: is not JSON: " },
		{ "\"fuse_unk\":false", "\"fuse_unk\":false,\"fuse_unk\":false", RWKVK_ERROR_FILE, "is not JSON: duplicate" },
		{ "\"model\":", "\"x\":", RWKVK_ERROR_FILE, "expected an object ?model?, as in a tokenizer.json, found none" },
		{ "\"vocab\":", "\"x\":", RWKVK_ERROR_FILE, "expected an object ?vocab? in ?model?, found none" },
		{ "\"merges\":", "\"x\":", RWKVK_ERROR_FILE, "expected a list ?merges? in ?model?, found none" },
		{ "\"h e\"", "7", RWKVK_ERROR_FILE, "model.merges: entry 1: expected ?LEFT RIGHT? or [?LEFT?, ?RIGHT?], found 7" },
		{ "\"h e\"", "\"he\"", RWKVK_ERROR_FILE, "entry 1: expected" },
		{ "\"h e\"", "\"h e r\"", RWKVK_ERROR_FILE, "entry 1: expected" },
		{ "\"h e\"", "[\"h\"]", RWKVK_ERROR_FILE, "entry 1: expected" },
		{ "\"h e\"", "[\"h\",5]", RWKVK_ERROR_FILE, "entry 1: expected" },
		{ "\"t he\"", "\"t hee\"", RWKVK_ERROR_FILE, "model.merges: entry 2: ?hee? is not in the vocabulary" },
		{ "\"t he\"", "\"tt he\"", RWKVK_ERROR_FILE, "entry 2: ?tt? is not in the vocabulary" },
		{ "\"t he\"", "\"he t\"", RWKVK_ERROR_FILE, "entry 2: ?het? is not in the vocabulary" },
		{ "\"the\":256", "\"the\":-1", RWKVK_ERROR_FILE, "token ?the?: expected an id from 0 to 16777215, found -1" },
		{ "\"the\":256", "\"the\":16777216", RWKVK_ERROR_FILE, "found 16777216" },
		{ "\"the\":256", "\"the\":2.5", RWKVK_ERROR_FILE, "found 2.5" },
		{ "\"the\":256", "\"the\":\"256\"", RWKVK_ERROR_FILE, "token ?the?: expected an id" },
		{ "\"the\":256", "\"the\":255", RWKVK_ERROR_FILE, "id 255 is already that of entry" },
		{ "\"the\":256", "\"the\":273", RWKVK_ERROR_FILE, "id 273 is already that of entry" },
		{ "\"the\":256", "\"t e\":256", RWKVK_ERROR_FILE, "token 256: expected 1 to 65535 characters, each of the 256" },
		{ "\"the\":256", "\"\u4f60\":256", RWKVK_ERROR_FILE, "token 256: expected" },
		{ "\"the\":256", "\"\u0144\":256", RWKVK_ERROR_FILE, "token 256: expected" },
		{ "\"the\":256", "\"\":256", RWKVK_ERROR_FILE, "token 256: expected 1 to" },
		{ "\"a\":98,", "", RWKVK_ERROR_FILE, "expected a token for each byte that UTF-8 text may hold, found none for 0x61" },
		{ "\"content\":\"<|pad|>\"", "\"content\":\"\"", RWKVK_ERROR_FILE, "added_tokens: entry 2: expected a ?content? of 1" },
		{ "\"content\":\"<|pad|>\"", "\"content\":5", RWKVK_ERROR_FILE, "added_tokens: entry 2: expected a ?content?" },
		{ "\"id\":273", "\"id\":\"x\"", RWKVK_ERROR_FILE, "token ?<|pad|>?: expected an id" },
		{ "\"id\":273", "\"id\":274", RWKVK_ERROR_FILE, "id 274 is already that of entry" },
		{ "\"added_tokens\":[", "\"added_tokens\":5,\"x\":[", RWKVK_ERROR_FILE, "expected a list ?added_tokens?" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_tokenizer *t = (rwkvk_tokenizer *)&t;
		size_t bytes;
		char *text = edited(cases[i].find, cases[i].put, &bytes), message[160];
		rwkvk_status status = tokenizer_from_json("hostile.json", (const uint8_t *)text, bytes, &t);
		snprintf(message, sizeof message, "%s", cases[i].message);
		for (char *at = message; *at; at++) /* a ? here is a quote there */
			*at = *at == '?' ? '"' : *at;
		assert_fails(status, cases[i].status, message);
		test_assert_error_contains("hostile.json: ", __FILE__, __LINE__);
		assert_null(t);
		free(text);
	}
}

/* No prefix of a file is a valid file. */
static void cut_off(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *text = test_read_file(TINY, &bytes);
	for (size_t n = 1; n < bytes - 2; n += 61) {
		uint8_t *copy = malloc(n); /* allocated to the exact size, so that reading past the end is caught */
		memcpy(copy, text, n);
		rwkvk_tokenizer *t;
		assert_fails(tokenizer_from_bytes("cut.json", copy, n, &t), RWKVK_ERROR_FILE, "cut.json: line 1: is not JSON");
		assert_null(t);
		free(copy);
	}
	free(text);
	rwkvk_tokenizer *t;
	assert_fails(tokenizer_from_json("v", (const uint8_t *)"{", 1ull << 40, &t), RWKVK_ERROR_FILE, "at most");
	assert_fails(tokenizer_from_bytes("v", (const uint8_t *)"[", 1, &t), RWKVK_ERROR_FILE, "expected ID LITERAL BYTES");
}

/* ---------------------------------------------------------------------------------------------------- bytes, and sizes */

static void byte_tokens(void **state)
{
	(void)state;
	rwkvk_tokenizer *t;
	assert_ok(tokenizer_bytes(&t));
	uint8_t text[256];
	uint32_t want[256];
	for (int i = 0; i < 256; i++) {
		text[i] = (uint8_t)(255 - i);
		want[i] = (uint32_t)(255 - i);
	}
	assert_encodes(t, "all bytes", text, 256, want, 256, text, 256);
	assert_int_equal(tokenizer_size(t), 256);
	assert_false(tokenizer_zero_ends(t));
	size_t bytes = 1;
	assert_null(rwkvk_tokenizer_token(t, 256, &bytes));
	assert_int_equal(bytes, 0);
	rwkvk_tokenizer_close(t);
}

static void fits(void **state)
{
	(void)state;
	rwkvk_tokenizer *t = open_file(TINY);
	assert_ok(tokenizer_fits(t, "m.gguf", 277, NULL));
	assert_ok(tokenizer_fits(t, "m.gguf", 512, NULL));
	assert_fails(tokenizer_fits(t, "m.gguf", 276, NULL), RWKVK_ERROR_FILE,
	             "tiny_bpe.json: is another model's vocabulary: its ids go up to 276, those of m.gguf to 275");
	assert_fails(
		tokenizer_fits(t, "m.gguf", 513, NULL), RWKVK_ERROR_FILE,
		"tiny_bpe.json: is another model's vocabulary: it has 277 ids, m.gguf has 513; give the one that the model was "
		"trained with");
	assert_fails(tokenizer_fits(t, "m.gguf", 65536, NULL), RWKVK_ERROR_FILE,
	             "it has 277 ids, m.gguf has 65536; the one that fits is rwkv_vocab_v20230424.txt");
	assert_fails(tokenizer_fits(t, "m.gguf", 65536, "mine"), RWKVK_ERROR_FILE, "has 65536; the one that fits is mine");
	rwkvk_tokenizer_close(t);
	static const char high[] = "65535 'a' 1\n";
	assert_ok(tokenizer_from_text("high.txt", (const uint8_t *)high, sizeof high - 1, &t));
	assert_fails(tokenizer_fits(t, "m.pth", 50277, NULL), RWKVK_ERROR_FILE,
	             "those of m.pth to 50276; the one that fits is 20B_tokenizer.json");
	rwkvk_tokenizer_close(t);
	assert_null(tokenizer_file_for(512));
	assert_string_equal(tokenizer_file_for(50304), "20B_tokenizer.json");
	assert_string_equal(tokenizer_file_for(65536), "rwkv_vocab_v20230424.txt");
}

/* Id 0, ids without text and holes: only the number of ids counts. */
static void counts_ids(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t ids;
	} cases[] = {
		{ "1 'a' 1\n", 2 },
		{ "0 '' 0\n1 'a' 1\n", 2 },
		{ "1 'a' 1\n2 '' 0\n", 3 },
		{ "600 'a' 1\n", 2 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_tokenizer *t;
		assert_ok(tokenizer_from_text("v", (const uint8_t *)cases[i].text, strlen(cases[i].text), &t));
		assert_int_equal(tokenizer_ids(t), cases[i].ids);
		assert_false(tokenizer_covers(t, 601));
		assert_true(tokenizer_covers(t, 512));
		rwkvk_tokenizer_close(t);
	}
}

static void equal(void **state)
{
	(void)state;
	static const char *const texts[] = { "1 'a' 1\n2 'bc' 2\n",          "1 'a' 1\n3 'bc' 2\n",
		                                 "1 'a' 1\n2 'bd' 2\n",          "1 'a' 1\n",
		                                 "1 'a' 1\n2 'bc' 2\n3 'd' 1\n", "{\"2\": \"bc\", \"1\": [97], \"0\": \"\"}",
		                                 "1 'a' 1\n2 'bc' 2\n9 '' 0\n" };
	enum { COUNT = sizeof texts / sizeof *texts };
	rwkvk_tokenizer *all[COUNT];
	for (size_t i = 0; i < COUNT; i++)
		assert_ok(tokenizer_from_bytes("v", (const uint8_t *)texts[i], strlen(texts[i]), &all[i]));
	for (size_t i = 0; i < COUNT; i++) {
		assert_true(tokenizer_equal(all[i], all[i]));
		assert_int_equal(tokenizer_equal(all[0], all[i]), i == 0 || i > 4);
		assert_int_equal(tokenizer_equal(all[i], all[0]), i == 0 || i > 4);
	}
	for (size_t i = 0; i < COUNT; i++)
		rwkvk_tokenizer_close(all[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),       cmocka_unit_test(any_bytes),  cmocka_unit_test(tiny),    cmocka_unit_test(not_text),
		cmocka_unit_test(random_words), cmocka_unit_test(long_words), cmocka_unit_test(threads), cmocka_unit_test(normal_form),
		cmocka_unit_test(accepted),     cmocka_unit_test(refused),    cmocka_unit_test(cut_off), cmocka_unit_test(byte_tokens),
		cmocka_unit_test(fits),         cmocka_unit_test(counts_ids), cmocka_unit_test(equal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
