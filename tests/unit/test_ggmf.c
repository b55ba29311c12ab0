/* rwkv.cpp files: how good ones are read, and that every kind of bad one is refused with a sentence. */
#include "support.h"

#include <stdio.h>

#include "format/readers.h"
#include "format/weights.h"
#include "make_files.h"

static const struct list_sizes sizes = { .vocab = 5, .width = 4, .head_size = 4, .ffn = 8, .layers = 1, .rank = 3 };

/* From a block of exactly that size, so that the sanitizer sees a byte too many. */
static rwkvk_status open_bytes(const void *data, size_t bytes, struct weights *out)
{
	static void *copy;
	free(copy);
	copy = malloc(bytes ? bytes : 1);
	assert_non_null(copy);
	if (bytes)
		memcpy(copy, data, bytes);
	return weights_open("bad.bin", copy, bytes, NULL, out);
}

static struct file_bytes good_file(const char *version)
{
	struct list *list = list_official(version, &sizes);
	list_to_rwkv_cpp(list, version, &sizes);
	struct file_bytes file = write_rwkv_cpp(list, 101, &sizes, DTYPE_F32);
	list_free(list);
	return file;
}

static void release(void)
{
	struct weights w;
	open_bytes("", 0, &w);
}

/* ---------------------------------------------------------------------------------------------------- good files */

static void test_facts(void **state)
{
	(void)state;
	static const char *const versions[] = { "4", "5.0", "5.2", "6", "7" };
	for (size_t i = 0; i < 5; i++) {
		struct file_bytes file = good_file(versions[i]);
		struct weights w;
		assert_ok(open_bytes(file.data, file.bytes, &w));
		assert_string_equal(w.format, "rwkv.cpp v101");
		assert_null(w.metadata.architecture);
		assert_true(w.metadata.group_norm_epsilon == (*versions[i] == '5' ? 1e-5f : 0));
		assert_true(w.metadata.head_size == 0 && w.metadata.rescale == 0 && w.metadata.token_count == 0);
		weights_close(&w);
		free(file.data);
	}
	release();
}

/* Matrices in blocks of 8 bits. */
static void test_q8(void **state)
{
	(void)state;
	const struct list_sizes wide = { .vocab = 5, .width = 32, .head_size = 8, .ffn = 64, .layers = 2, .rank = 3 };
	struct list *list = list_official("7", &wide);
	list_to_rwkv_cpp(list, "7", &wide);
	struct file_bytes file = write_rwkv_cpp(list, 101, &wide, DTYPE_Q8_0);
	struct weights w;
	assert_ok(open_bytes(file.data, file.bytes, &w));
	const struct tensor *t = weights_find(&w, "blocks.1.ffn.value.weight");
	assert_true(t && t->type == DTYPE_Q8_0 && t->shape[0] == 32 && t->shape[1] == 64 && t->bytes == 32 * 2 * 34);
	float got[32 * 64];
	dtype_to_float(t->type, t->data, 0, 32 * 64, got);
	assert_close("ffn.value", got, list_find(list, "blocks.1.ffn.value.weight")->values, 32 * 64, 0.005);
	weights_close(&w);

	file.data[4] = 100; /* whose blocks were laid out differently */
	assert_fails(open_bytes(file.data, file.bytes, &w), RWKVK_ERROR_UNSUPPORTED,
	             "tensor emb.weight has the type Q8_0 in a file of version 100");
	free(file.data);
	list_free(list);
	release();
}

/* ---------------------------------------------------------------------------------------------------- bad files */

/* Bytes written over the good file, `skip` bytes from the start of the record named `record` (from the start of the file if
 * NULL): 0 rank, 4 length of the name, 8 type, 12 dimensions. */
static const struct {
	const char *record;
	size_t skip;
	const char *bytes;
	size_t count;
	rwkvk_status status;
	const char *text;
} patches[] = {
	{ NULL, 0, "f", 1, RWKVK_OK, NULL }, /* the good file */
	{ NULL, 4, "\x66", 1, RWKVK_ERROR_UNSUPPORTED, "rwkv.cpp file of version 100 or 101, found version 102" },
	{ NULL, 4, "\x01\0", 2, RWKVK_ERROR_UNSUPPORTED, "found version 1:" },
	{ NULL, 8, "\6", 1, RWKVK_ERROR_FILE,
	  "the header says a vocabulary of 6 and a width of 4, but emb.weight has the shape [5, 4]" },
	{ NULL, 12, "\xff\xff\xff\xff", 4, RWKVK_ERROR_FILE, "a width of 4294967295, but emb.weight has the shape [5, 4]" },
	{ NULL, 16, "\2", 1, RWKVK_ERROR_FILE, "the header says 2 layers, but there are tensors for 1" },
	{ NULL, 16, "\0", 1, RWKVK_ERROR_FILE, "the header says 0 layers, but there are tensors for 1" },
	{ "emb.weight", 0, "\0", 1, RWKVK_ERROR_FILE,
	  "expected a tensor at byte 24, of 1 to 4 dimensions and a name of 1 to 255 bytes, found 0 dimensions and 10 bytes" },
	{ "emb.weight", 0, "\5", 1, RWKVK_ERROR_FILE, "found 5 dimensions and 10 bytes" },
	{ "emb.weight", 0, "\xff\xff\xff\xff", 4, RWKVK_ERROR_FILE, "found 4294967295 dimensions" },
	{ "emb.weight", 4, "\0", 1, RWKVK_ERROR_FILE, "found 2 dimensions and 0 bytes" },
	{ "emb.weight", 4, "\0\1", 2, RWKVK_ERROR_FILE, "found 2 dimensions and 256 bytes" },
	{ "emb.weight", 4, "\xff\xff\xff\xff", 4, RWKVK_ERROR_FILE, "and 4294967295 bytes" },
	{ "emb.weight", 8, "\2", 1, RWKVK_ERROR_FILE, "[5, 4], which is impossible for Q4_0" },
	{ "emb.weight", 8, "\3", 1, RWKVK_ERROR_FILE, "impossible for Q4_1" },
	{ "emb.weight", 8, "\7", 1, RWKVK_ERROR_FILE, "impossible for Q5_0" },
	{ "emb.weight", 8, "\x8", 1, RWKVK_ERROR_FILE, "impossible for Q5_1" },
	{ "emb.weight", 8, "\4", 1, RWKVK_ERROR_UNSUPPORTED,
	  "tensor emb.weight has the type Q4_1_O (4); expected F32, F16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0" },
	{ "emb.weight", 8, "\6", 1, RWKVK_ERROR_UNSUPPORTED, "Q4_3 (6)" },
	{ "emb.weight", 8, "\x0a", 1, RWKVK_ERROR_UNSUPPORTED, "unknown to this version (10)" },
	{ "emb.weight", 8, "\xff\xff\xff\xff", 4, RWKVK_ERROR_UNSUPPORTED, "unknown to this version (4294967295)" },
	{ "emb.weight", 8, "\x9", 1, RWKVK_ERROR_FILE,
	  "tensor emb.weight has the shape [5, 4], which is impossible for Q8_0 (rows in blocks of 32)" },
	{ "emb.weight", 12, "\0", 1, RWKVK_ERROR_FILE, "expected tensors with data, found tensor emb.weight of shape [5, 0]" },
	{ "emb.weight", 12, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, RWKVK_ERROR_FILE,
	  "[4294967295, 4294967295], which is impossible for F32" },
	{ "emb.weight", 12, "\xff\xff\xff\x7f", 4, RWKVK_ERROR_FILE, "expected emb.weight, 42949672940 bytes at byte 54" },
	{ "emb.weight", 20, "e\x1b", 2, RWKVK_ERROR_FILE, "plain ASCII, found \"e?b.weight\"" },
	{ "emb.weight", 20, "e b", 3, RWKVK_ERROR_FILE, "plain ASCII, found \"e b.weight\"" },
	{ "emb.weight", 20, "\0", 1, RWKVK_ERROR_FILE, "plain ASCII, found \"?mb.weight\"" },
	{ "emb.weight", 20, "x", 1, RWKVK_ERROR_FILE, "expected a tensor emb.weight, found 31 tensors without it" },
	{ "blocks.0.ln1.bias", 16, "blocks.0.ln0", 12, RWKVK_ERROR_FILE, "found two for blocks.0.ln0.bias" },
	{ "blocks.0.ln1.bias", 16, "blocks.9999.", 12, RWKVK_ERROR_FILE, "header says 1 layers, but there are tensors for 10000" },
	{ "blocks.0.att.x_rwkvag", 24, "\5\0\0\0blocks.0.att.x_rwkvag", 25, RWKVK_ERROR_FILE, "damaged" },
	{ "blocks.0.att.x_rwkvag", 20, "\2\0\0\0\3", 5, RWKVK_ERROR_FILE,
	  "expected tensor blocks.0.att.x_rwkvag to have 6 rows, found the shape [3, 2, 4]" },
};

/* Where the record begins. */
static size_t find_record(const struct file_bytes *file, const char *name)
{
	for (size_t i = 24; i + strlen(name) <= file->bytes; i++)
		if (memcmp(file->data + i, name, strlen(name)) == 0)
			for (size_t rank = 1; rank <= 4; rank++) {
				uint32_t found[2];
				memcpy(found, file->data + i - 12 - 4 * rank, sizeof found);
				if (found[0] == rank && found[1] == strlen(name))
					return i - 12 - 4 * rank;
			}
	fail_msg("no %s in the good file", name);
	return 0;
}

static void test_patches(void **state)
{
	(void)state;
	struct file_bytes good = good_file("7");
	uint8_t *bad = malloc(good.bytes);
	assert_non_null(bad);
	for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
		size_t at = patches[i].skip + (patches[i].record ? find_record(&good, patches[i].record) : 0);
		struct weights w;
		memcpy(bad, good.data, good.bytes);
		memcpy(bad + at, patches[i].bytes, patches[i].count);
		rwkvk_status status = open_bytes(bad, good.bytes, &w);
		const char *text = rwkvk_last_error();
		if (status != patches[i].status || (status && (!strstr(text, patches[i].text) || !strstr(text, "bad.bin: "))))
			fail_msg("patch %zu: status %s, text: %s; wanted status %s and \"%s\"", i, rwkvk_status_name(status), text,
			         rwkvk_status_name(patches[i].status), patches[i].text ? patches[i].text : "");
		weights_close(&w);
	}
	free(bad);
	free(good.data);
	release();
}

static void test_truncated(void **state)
{
	(void)state;
	struct file_bytes good = good_file("7");
	size_t whole = 0;
	for (size_t n = 4; n <= good.bytes; n++) {
		struct weights w;
		rwkvk_status status = open_bytes(good.data, n, &w);
		const char *text = rwkvk_last_error();
		whole += status == RWKVK_OK;
		/* cut between two tensors the file looks like a smaller one: the model misses them */
		bool missing = n == 24 && strstr(text, "0 tensors without it");
		if (status && (status != RWKVK_ERROR_FILE || (!strstr(text, "truncated") && !missing)))
			fail_msg("the first %zu bytes: status %s, text: %s", n, rwkvk_status_name(status), text);
		weights_close(&w);
	}
	if (whole != 30) /* as many as there are tensors after emb.weight */
		fail_msg("%zu lengths are whole", whole);
	free(good.data);
	release();
}

static void test_random_damage(void **state)
{
	(void)state;
	static const char *const versions[] = { "4", "5.0", "6", "7" };
	uint64_t seed = 7;
	size_t refused = 0;
	for (int round = 0; round < 4000; round++) {
		struct file_bytes file = good_file(versions[round % 4]);
		struct weights w;
		for (uint32_t flips = 1 + test_random(&seed) % 4; flips > 0; flips--)
			file.data[test_random(&seed) % file.bytes] ^= (uint8_t)(1u << test_random(&seed) % 8);
		rwkvk_status status = open_bytes(file.data, file.bytes, &w);
		assert_true(status == RWKVK_OK || status == RWKVK_ERROR_FILE || status == RWKVK_ERROR_UNSUPPORTED);
		if (status != RWKVK_OK)
			assert_non_null(strstr(rwkvk_last_error(), "bad.bin: "));
		refused += status != RWKVK_OK;
		weights_close(&w);
		free(file.data);
	}
	assert_true(refused > 1000);
	release();
}

/* ---------------------------------------------------------------------------------------------------- real files */

static const struct tensor *want(const struct weights *weights, const char *name, uint32_t rank, uint64_t a, uint64_t b,
                                 bool swapped)
{
	const struct tensor *t = weights_find(weights, name);
	if (!t)
		fail_msg("no tensor %s", name);
	else if (t->rank != rank || t->shape[0] != a || (rank > 1 && t->shape[1] != b) || t->swapped != swapped)
		fail_msg("%s has the shape %s%s", name, show_shape(t->rank, t->shape).text, t->swapped ? ", swapped" : "");
	return t;
}

/* Decays that are ready for use: below 0, or between 0 and 1. */
static void within(const struct tensor *t, float least, float most)
{
	uint64_t count = t->shape[0] * (t->rank > 1 ? t->shape[1] : 1);
	for (uint64_t i = 0; i < count; i++) {
		float value;
		dtype_to_float(t->type, t->data, i, 1, &value);
		if (!(value >= least && value <= most))
			fail_msg("%s holds %g", t->name, (double)value);
	}
}

static void test_tiny_4(const char *path, enum dtype type)
{
	struct weights w;
	assert_ok(weights_open(path, NULL, 0, NULL, &w));
	assert_string_equal(w.format, "rwkv.cpp v100");
	assert_int_equal(w.count, 1 + 2 + 4 * 18 + 3);
	assert_int_equal(want(&w, "emb.weight", 2, 256, 128, false)->type, type);
	want(&w, "blocks.3.att.key.weight", 2, 128, 128, false);
	want(&w, "blocks.3.att.time_first", 1, 128, 0, false);
	within(want(&w, "blocks.3.att.decay", 1, 128, 0, false), -1e6f, 0);
	assert_true(w.metadata.group_norm_epsilon == 0);
	weights_close(&w);
}

static void test_tiny_5(const char *path, enum dtype type)
{
	struct weights w;
	assert_ok(weights_open(path, NULL, 0, NULL, &w));
	assert_int_equal(w.count, 1 + 2 + 12 * 22 + 3);
	assert_int_equal(want(&w, "blocks.11.ffn.value.weight", 2, 64, 256, false)->type, type);
	within(want(&w, "blocks.11.att.decay", 2, 8, 8, false), 0, 1);
	want(&w, "blocks.11.att.time_faaaa", 2, 8, 8, false);
	assert_true(w.metadata.group_norm_epsilon == 1e-5f);
	weights_close(&w);
}

static void test_tiny_6(const char *path, enum dtype type)
{
	struct weights w;
	assert_ok(weights_open(path, NULL, 0, NULL, &w));
	assert_int_equal(want(&w, "blocks.11.att.time_maa_w1", 2, 160, 128, true)->type, type);
	assert_int_equal(want(&w, "blocks.11.ffn.value.weight", 2, 128, 448, false)->type, type);
	want(&w, "blocks.11.att.time_maa_w2", 3, 5, 128, true);
	want(&w, "blocks.11.att.time_decay_w2", 2, 128, 64, true);
	want(&w, "blocks.11.att.time_decay", 1, 128, 0, false);
	want(&w, "blocks.11.att.time_faaaa", 2, 16, 8, false);
	assert_true(w.metadata.group_norm_epsilon == 0);
	weights_close(&w);
}

static void test_tiny_7(const char *path, enum dtype type)
{
	struct weights w;
	assert_ok(weights_open(path, NULL, 0, NULL, &w));
	assert_string_equal(w.format, "rwkv.cpp v101");
	assert_int_equal(want(&w, "blocks.11.att.w1", 2, 32, 64, true)->type, type);
	want(&w, "blocks.11.att.g2", 2, 64, 32, true);
	want(&w, "blocks.11.att.x_g", 1, 64, 0, false);
	want(&w, "blocks.11.att.r_k", 1, 64, 0, false); /* one head */
	want(&w, "blocks.11.att.v0", 1, 64, 0, false);
	assert_null(weights_find(&w, "blocks.0.att.v0"));
	assert_null(weights_find(&w, "blocks.0.att.x_rwkvag"));
	weights_close(&w);
}

static void test_tiny_models(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		void (*test)(const char *path, enum dtype type);
		enum dtype type;
	} cases[] = {
		{ "models/tiny/tiny-rwkv-4v0-660K-FP32.bin", test_tiny_4, DTYPE_F32 },
		{ "models/tiny/tiny-rwkv-4v0-660K-FP16.bin", test_tiny_4, DTYPE_F16 },
		{ "models/tiny/tiny-rwkv-5v2-730K-FP32.bin", test_tiny_5, DTYPE_F32 },
		{ "models/tiny/tiny-rwkv-5v2-730K-FP16.bin", test_tiny_5, DTYPE_F16 },
		{ "models/tiny/tiny-rwkv-6v0-3m-Q5_1.bin", test_tiny_6, DTYPE_Q5_1 },
		{ "models/tiny/tiny-rwkv-7v0-834K-FP32.bin", test_tiny_7, DTYPE_F32 },
		{ "models/tiny/tiny-rwkv-7v0-834K-FP16.bin", test_tiny_7, DTYPE_F16 },
	};
	size_t missing = 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *path = test_shared(cases[i].path);
		missing += path == NULL;
		if (path)
			cases[i].test(path, cases[i].type);
	}
	if (missing == sizeof cases / sizeof *cases)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_facts),         cmocka_unit_test(test_q8),
		cmocka_unit_test(test_patches),       cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_random_damage), cmocka_unit_test(test_tiny_models),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
