/* safetensors files: how good ones are read, and that every kind of bad one is refused with a sentence. */
#include "support.h"

#include <stdio.h>

#include "format/readers.h"
#include "format/weights.h"

/* Length, header and `data` bytes of data, in a block of exactly that size. */
static rwkvk_status open_header(const char *header, size_t data, struct weights *out)
{
	static uint8_t *file;
	uint64_t length = strlen(header);
	free(file);
	file = calloc(1, 8 + (size_t)length + data);
	assert_non_null(file);
	memcpy(file, &length, 8);
	memcpy(file + 8, header, length);
	for (size_t i = 0; i < data; i++)
		file[8 + length + i] = (uint8_t)i;
	return weights_open("bad.safetensors", file, 8 + (size_t)length + data, NULL, out);
}

#define T(type, shape, begin, end) "{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void test_good(void **state)
{
	(void)state;
	/* out of order, an odd address, prefixes, unit dimensions, a scalar, padding behind the object */
	static const char header[] =
		"{\"__metadata__\":{\"format\":\"pt\",\"name\":\"n\\u00e9\\n\"},"
		"\"model.blocks.0.ln1.weight\":" T("F16", "[2]", 12, 16) ",\"rwkv7.emb.weight\":" T(
			"F32", "[3,1,1]", 0, 12) ","
									 "\"blocks.1.att.w1\":" T("BF16", "[1,2,1,2]", 16,
	                                                          24) ",\"model.layers.0\":" T("F32", "[]", 24, 28) "}   ";
	struct weights w;
	assert_ok(open_header(header, 28, &w));
	assert_string_equal(w.format, "safetensors");
	assert_string_equal(w.metadata.name, "n\xc3\xa9?");
	assert_null(w.metadata.architecture);
	assert_false(w.metadata.has_sampling || w.metadata.has_add_bos);
	assert_true(w.metadata.sampling.top_p == 0.3f && w.metadata.sampling.decay == 0.996f);
	assert_int_equal(w.count, 4);
	assert_string_equal(w.tensors[0].name, "emb.weight"); /* in the order of the data */
	assert_string_equal(w.tensors[0].file_name, "rwkv7.emb.weight");
	assert_true(w.tensors[0].rank == 1 && w.tensors[0].shape[0] == 3 && w.tensors[0].bytes == 12);
	const struct tensor *t = weights_find(&w, "blocks.0.ln1.weight");
	assert_true(t && t->type == DTYPE_F16 && t->bytes == 4 && *(const uint8_t *)t->data == 12);
	t = weights_find(&w, "blocks.1.att.w1");
	assert_true(t && t->type == DTYPE_BF16 && t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 2 && !t->swapped);
	t = weights_find(&w, "model.layers.0"); /* no official name behind the prefix: kept */
	assert_true(t && t->rank == 1 && t->shape[0] == 1);
	weights_close(&w);

	assert_ok(open_header("{}", 0, &w));
	assert_int_equal(w.count, 0);
	weights_close(&w);
}

static const struct {
	const char *header;
	size_t data;
	rwkvk_status status;
	const char *text;
} bad[] = {
	/* JSON */
	{ "{", 0, RWKVK_ERROR_FILE, "header is not valid JSON" },
	{ "{\"a\":}", 0, RWKVK_ERROR_FILE, "not valid JSON" },
	{ "{\"a\":" T("F32", "[1]", 0, 4) "} x", 4, RWKVK_ERROR_FILE, "not valid JSON" },
	{ "{\"a\":" T("F32", "[1]", 0, 4) ",\"a\":" T("F32", "[1]", 4, 8) "}", 8, RWKVK_ERROR_FILE, "duplicate" },
	{ "{\"\\u0000\":1}", 0, RWKVK_ERROR_FILE, "not valid JSON" },
	{ "{\"\xff\":1}", 0, RWKVK_ERROR_FILE, "not valid JSON" },
	{ "{\"a\":1}", 0, RWKVK_ERROR_FILE, "expected a JSON object for tensor a" },
	{ "{\"a\":[[[[[[[[]]]]]]]]}", 0, RWKVK_ERROR_FILE, "expected a JSON object for tensor a" },
	/* dtype */
	{ "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, RWKVK_ERROR_FILE, "string \"dtype\" for tensor a" },
	{ "{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, RWKVK_ERROR_FILE, "string \"dtype\"" },
	{ "{\"a\":" T("I64", "[2]", 0, 8) "}", 8, RWKVK_ERROR_FILE, "tensor a: I64 of shape [2] does not take the 8 bytes" },
	{ "{\"a\":" T("I64", "[4611686018427387905,4]", 0, 32) "}", 32, RWKVK_ERROR_FILE, "does not take the 32 bytes" },
	{ "{\"a\":" T("I64", "[0]", 0, 0) "}", 0, RWKVK_ERROR_FILE, "expected tensors with data, found tensor a of shape [0]" },
	{ "{\"a\":" T("F8_E4M3", "[1]", 0, 0) "}", 0, RWKVK_ERROR_FILE, "expected tensors with data" },
	{ "{\"a\":" T("F8_E4M3", "[1]", 0, 8) "}", 1, RWKVK_ERROR_FILE, "it is truncated" },
	{ "{\"a\":" T("\\u001b[m", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "of type \"?[m\": the file is damaged" },
	{ "{\"a\":" T("", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "of type \"\": the file is damaged" },
	{ "{\"a\":" T("a_type_of_24_characters_", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "of type \"a_type_of_24_characters_\"" },
	/* shape */
	{ "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, RWKVK_ERROR_FILE, "\"shape\" of tensor a" },
	{ "{\"a\":" T("F32", "4", 0, 4) "}", 4, RWKVK_ERROR_FILE, "array of 0 to 8 integers, found another type" },
	{ "{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, RWKVK_ERROR_FILE,
	  "array of 0 to 8 integers, found another length" },
	{ "{\"a\":" T("F32", "[-1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "integers of 0 or more" },
	{ "{\"a\":" T("F32", "[1.0]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "integers of 0 or more" },
	{ "{\"a\":" T("F32", "[1,\"1\"]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "something else at index 1" },
	{ "{\"a\":" T("F32", "[99999999999999999999]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "too big integer" },
	{ "{\"a\":" T("F32", "[4294967296,4294967296]", 0, 4) "}", 4, RWKVK_ERROR_FILE,
	  "[4294967296, 4294967296], which cannot be stored" },
	{ "{\"a\":" T("F32", "[9223372036854775807]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "which cannot be stored as F32" },
	{ "{\"a\":" T("F32", "[0]", 0, 0) "}", 0, RWKVK_ERROR_FILE, "expected tensors with data, found tensor a of shape [0]" },
	{ "{\"a\":" T("F16", "[2,2,2,2,2]", 0, 64) "}", 64, RWKVK_ERROR_UNSUPPORTED,
	  "at most 4 dimensions, found a of shape [2, 2, 2, 2, 2]" },
	/* data_offsets */
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, RWKVK_ERROR_FILE, "\"data_offsets\" of tensor a" },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", 4, RWKVK_ERROR_FILE, "array of 2 to 2 integers" },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, RWKVK_ERROR_FILE, "another length" },
	{ "{\"a\":" T("F32", "[1]", 4, 0) "}", 4, RWKVK_ERROR_FILE, "to be in order, found [4, 0]" },
	{ "{\"a\":" T("F32", "[1]", -4, 0) "}", 4, RWKVK_ERROR_FILE, "integers of 0 or more" },
	{ "{\"a\":" T("F32", "[1]", 0, 8) "}", 8, RWKVK_ERROR_FILE, "takes 4 bytes, but the file gives it 8" },
	{ "{\"a\":" T("F32", "[2]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "takes 8 bytes, but the file gives it 4" },
	{ "{\"a\":" T("F32", "[1]", 0, 4) "}", 3, RWKVK_ERROR_FILE, "tensor a ends at byte 4 of the data, but the file holds 3" },
	{ "{\"a\":" T("F32", "[1]", 9223372036854775803, 9223372036854775807) "}", 4, RWKVK_ERROR_FILE, "truncated" },
	{ "{\"a\":" T("F32", "[1]", 4, 8) "}", 8, RWKVK_ERROR_FILE, "without gap or overlap, found tensor a" },
	{ "{\"a\":" T("F32", "[1]", 0, 4) ",\"b\":" T("F32", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "without gap or overlap" },
	{ "{\"a\":" T("F32", "[2]", 0, 8) ",\"b\":" T("F32", "[1]", 4, 8) "}", 8, RWKVK_ERROR_FILE,
	  "without gap or overlap, found tensor b" },
	{ "{\"a\":" T("F32", "[1]", 0, 4) ",\"b\":" T("F32", "[1]", 8, 12) "}", 12, RWKVK_ERROR_FILE,
	  "without gap or overlap, found tensor b" },
	{ "{\"a\":" T("F32", "[1]", 0, 4) "}", 5, RWKVK_ERROR_FILE, "to fill the file, found 1 bytes after the last one" },
	{ "{}", 1, RWKVK_ERROR_FILE, "found 1 bytes after the last one" },
	/* names and metadata */
	{ "{\"\":" T("F32", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "plain ASCII, found \"\"" },
	{ "{\"a b\":" T("F32", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "plain ASCII, found \"a b\"" },
	{ "{\"\\u001b]0;x\":" T("F32", "[1]", 0, 4) "}", 4, RWKVK_ERROR_FILE, "plain ASCII, found \"?]0;x\"" },
	{ "{\"emb.weight\":" T("F32", "[1]", 0, 4) ",\"model.emb.weight\":" T("F32", "[1]", 4, 8) "}", 8, RWKVK_ERROR_FILE,
	  "found two for emb.weight" },
	{ "{\"__metadata__\":3}", 0, RWKVK_ERROR_FILE, "\"__metadata__\" to be a JSON object" },
	{ "{\"__metadata__\":{\"name\":[]}}", 0, RWKVK_ERROR_FILE, "\"name\" in \"__metadata__\" to be a string" },
};

static void test_bad_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct weights w;
		rwkvk_status status = open_header(bad[i].header, bad[i].data, &w);
		const char *text = rwkvk_last_error();
		if (status != bad[i].status || !strstr(text, bad[i].text) || !strstr(text, "bad.safetensors: "))
			fail_msg("%s: status %s, text: %s; wanted status %s and \"%s\"", bad[i].header, rwkvk_status_name(status), text,
			         rwkvk_status_name(bad[i].status), bad[i].text);
		assert_null(w.tensors);
	}
}

static void test_long_names(void **state)
{
	(void)state;
	char header[600], name[300];
	memset(name, 'n', sizeof name);
	for (size_t length = 255; length <= 256; length++) {
		struct weights w;
		snprintf(header, sizeof header, "{\"%.*s\":" T("F32", "[1]", 0, 4) "}", (int)length, name);
		if (length == 255) {
			assert_ok(open_header(header, 4, &w));
			weights_close(&w);
		} else {
			assert_fails(open_header(header, 4, &w), RWKVK_ERROR_FILE, "tensor names below 256 characters");
		}
	}
}

static void test_header_lengths(void **state)
{
	(void)state;
	static const struct {
		uint64_t length;
		const char *text;
	} cases[] = {
		{ 100000001, "header of at most 100000000 bytes, found one of 100000001" },
		{ UINT64_MAX >> 16, "at most 100000000 bytes" },
		{ UINT64_MAX, "expected a model in GGUF, safetensors, PyTorch or rwkv.cpp format" },
		{ 9, "header of 9 bytes, but the file ends at byte 16" },
		{ 0, "not valid JSON" },
		{ 1, "not valid JSON" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t file[] = "........{      }";
		struct weights w;
		memcpy(file, &cases[i].length, 8);
		assert_fails(weights_open("bad.safetensors", file, 16, NULL, &w), RWKVK_ERROR_FILE, cases[i].text);
	}
}

static void test_truncated(void **state)
{
	(void)state;
	static const char header[] = "{\"a\":" T("F32", "[2,3]", 0, 24) ",\"b\":" T("F16", "[2]", 24, 28) "}";
	enum { HEADER = sizeof header - 1, TOTAL = 8 + HEADER + 28 };
	uint8_t file[TOTAL] = { 0 };
	uint64_t length = HEADER;
	memcpy(file, &length, 8);
	memcpy(file + 8, header, HEADER);
	for (size_t n = 0; n <= TOTAL; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		struct weights w;
		assert_non_null(copy);
		memcpy(copy, file, n);
		if (n == TOTAL)
			assert_ok(weights_open("cut", copy, n, NULL, &w));
		else
			assert_fails(weights_open("cut", copy, n, NULL, &w), RWKVK_ERROR_FILE,
			             n == 0  ? "empty"
			             : n < 9 ? "expected a model"
			                     : "truncated");
		weights_close(&w);
		free(copy);
	}
}

static void test_deep_nesting(void **state)
{
	(void)state;
	enum { DEPTH = 100000 };
	char *header = malloc(DEPTH + 32);
	struct weights w;
	assert_non_null(header);
	strcpy(header, "{\"a\":");
	memset(header + 5, '[', DEPTH);
	header[5 + DEPTH] = 0;
	assert_fails(open_header(header, 0, &w), RWKVK_ERROR_FILE, "not valid JSON");
	free(header);
}

static void test_reverse_model(void **state)
{
	(void)state;
	const char *path = test_shared("models/reverse/reverse_rwkv7.safetensors");
	struct weights w;
	if (!path)
		skip();
	assert_ok(weights_open(path, NULL, 0, NULL, &w));
	const struct tensor *t = weights_find(&w, "emb.weight");
	assert_true(t && t == &w.tensors[0] && t->type == DTYPE_F32 && t->rank == 2 && t->shape[0] == 12 && t->shape[1] == 32);
	t = weights_find(&w, "blocks.0.att.x_r");
	assert_true(t && t->rank == 1 && t->shape[0] == 32);
	t = weights_find(&w, "blocks.1.att.w2");
	assert_true(t && t->rank == 2 && t->shape[0] == 8 && t->shape[1] == 32 && !t->swapped);
	assert_non_null(weights_find(&w, "blocks.0.att.output.bias"));
	assert_non_null(weights_find(&w, "head.bias"));
	assert_null(weights_find(&w, "blocks.0.att.v0"));
	weights_close(&w);
}

static void test_synthetic_models(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		size_t count;
		const char *name;
		enum dtype type;
	} cases[] = {
		{ "models/synthetic/v4-c128-f16.safetensors", 1 + 2 + 3 * 18 + 3, "blocks.2.att.time_first", DTYPE_F16 },
		{ "models/synthetic/v5.2-c128-bf16.safetensors", 1 + 2 + 3 * 22 + 3, "blocks.2.att.time_faaaa", DTYPE_BF16 },
		{ "models/synthetic/v6-c128-bf16.safetensors", 1 + 2 + 3 * 28 + 3, "blocks.2.att.time_maa_w2", DTYPE_BF16 },
	};
	size_t missing = 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *path = test_shared(cases[i].path);
		struct weights w;
		missing += path == NULL;
		if (!path)
			continue;
		assert_ok(weights_open(path, NULL, 0, NULL, &w));
		assert_int_equal(w.count, cases[i].count);
		const struct tensor *t = weights_find(&w, cases[i].name);
		assert_true(t && t->type == cases[i].type && !t->swapped);
		for (size_t n = 0; n < w.count; n++) /* they are official */
			assert_string_equal(w.tensors[n].name, w.tensors[n].file_name);
		weights_close(&w);
	}
	if (missing == sizeof cases / sizeof *cases)
		skip();
}

static void test_random_damage(void **state)
{
	(void)state;
	static const char header[] =
		"{\"__metadata__\":{\"name\":\"x\"},\"emb.weight\":" T("F32", "[2,3]", 0, 24) ",\"b\":" T("F16", "[2]", 24, 28) "}";
	uint64_t seed = 5;
	size_t refused = 0;
	for (int round = 0; round < 4000; round++) {
		char damaged[sizeof header];
		struct weights w;
		memcpy(damaged, header, sizeof header);
		for (uint32_t flips = 1 + test_random(&seed) % 3; flips > 0; flips--)
			damaged[test_random(&seed) % (sizeof header - 1)] ^= (char)(1u << test_random(&seed) % 8);
		rwkvk_status status = open_header(damaged, 28, &w);
		assert_true(status == RWKVK_OK || status == RWKVK_ERROR_FILE || status == RWKVK_ERROR_UNSUPPORTED);
		if (status != RWKVK_OK)
			assert_non_null(strstr(rwkvk_last_error(), "bad.safetensors: "));
		refused += status != RWKVK_OK;
		weights_close(&w);
	}
	assert_true(refused > 2000);
}

static void release(void)
{
	struct weights w;
	open_header("", 0, &w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),           cmocka_unit_test(test_bad_headers),   cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_header_lengths), cmocka_unit_test(test_truncated),     cmocka_unit_test(test_deep_nesting),
		cmocka_unit_test(test_reverse_model),  cmocka_unit_test(test_random_damage), cmocka_unit_test(test_synthetic_models),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	release();
	return failed;
}
