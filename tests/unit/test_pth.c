/* PyTorch's .pth files: how good ones are read, and that every kind of bad or malicious one is refused with a sentence. */
#include "support.h"

#include <stdio.h>

#include <zip.h>

#include "format/readers.h"
#include "format/weights.h"
#include "make_pth.h"

/* ---------------------------------------------------------------------------------------------------- building */

/* The archive in a block of exactly its size, which lives until the next call. */
static rwkvk_status open_bytes(const void *data, size_t count, struct weights *out)
{
	static uint8_t *copy;
	free(copy);
	copy = malloc(count ? count : 1);
	assert_non_null(copy);
	if (count)
		memcpy(copy, data, count);
	return weights_open("bad.pth", copy, count, NULL, out);
}

enum { NUMBERS = 24 };

/* data/0: NUMBERS bytes 0, 1, 2 ...; data/f: the floats 0, 1, 2, ...; data/d: the same as doubles. */
static void put_storages(struct zip_maker *zip, enum zip_kind kind)
{
	uint8_t bytes[NUMBERS];
	float floats[NUMBERS];
	double doubles[NUMBERS];
	for (int i = 0; i < NUMBERS; i++) {
		bytes[i] = (uint8_t)i;
		floats[i] = (float)i;
		doubles[i] = i;
	}
	zip_put(zip, "m/data/0", bytes, sizeof bytes, kind);
	zip_put(zip, "m/data/f", floats, sizeof floats, kind);
	zip_put(zip, "m/data/d", doubles, sizeof doubles, kind);
}

static void make_archive(struct bytes *pickle, enum zip_kind kind, struct zip_maker *zip)
{
	*zip = (struct zip_maker){ 0 };
	zip_put(zip, "m/data.pkl", pickle->data, pickle->count, kind);
	zip_put(zip, "m/byteorder", "little", 6, kind);
	put_storages(zip, kind);
	zip_put(zip, "m/version", "3\n", 2, kind);
	zip_end(zip);
}

/* Opens what the pickle and the storages above make together; frees the pickle. */
static rwkvk_status open_pickle(struct bytes *pickle, enum zip_kind kind, struct weights *out)
{
	struct zip_maker zip;
	make_archive(pickle, kind, &zip);
	rwkvk_status status = open_bytes(zip.file.data, zip.file.count, out);
	bytes_free(&zip.file);
	bytes_free(pickle);
	return status;
}

#define FLOATS(n, o, ...)                                                                                                      \
	.name = n, .storage = "FloatStorage", .key = "f", .count = NUMBERS, .offset = o, .rank = 2, .size = __VA_ARGS__

static const struct tensor_spec plain = { FLOATS("emb.weight", 2, { 2, 3 }), .stride = { 3, 1 } };

static rwkvk_status open_tensors(const struct tensor_spec *specs, size_t count, enum zip_kind kind, struct weights *out)
{
	struct bytes pickle = { 0 };
	pickle_begin(&pickle);
	for (size_t i = 0; i < count; i++)
		pickle_tensor(&pickle, &specs[i]);
	pickle_end(&pickle);
	return open_pickle(&pickle, kind, out);
}

/* ---------------------------------------------------------------------------------------------------- good files */

static void check_floats(const struct weights *w, const char *name, const float *want, size_t count)
{
	const struct tensor *t = weights_find(w, name);
	if (!t || t->type != DTYPE_F32 || t->bytes != count * sizeof *want || memcmp(t->data, want, t->bytes) != 0)
		fail_msg("%s: not there, or not what it should be", name);
}

static bool in_mapping(const struct weights *w, const struct tensor *t)
{
	const uint8_t *data = t->data, *start = w->mapping.data;
	return data >= start && data < start + w->mapping.bytes;
}

static void test_types(void **state)
{
	(void)state;
	static const struct tensor_spec specs[] = {
		{ "head.weight", "HalfStorage", "0", 12, 1, 1, { 3 }, { 1 }, false },
		{ "blocks.0.att.x_r", "BFloat16Storage", "0", 12, 4, 3, { 1, 1, 8 }, { 8, 8, 1 }, true },
		{ "emb.weight", "FloatStorage", "f", NUMBERS, 0, 2, { 4, 6 }, { 6, 1 }, false },
		{ "ln_out.weight", "DoubleStorage", "d", NUMBERS, 5, 2, { 2, 3 }, { 3, 1 }, false },
		{ "scalar", "FloatStorage", "f", NUMBERS, 7, 0, { 0 }, { 0 }, true },
	};
	static const float doubles[] = { 5, 6, 7, 8, 9, 10 }, scalar[] = { 7 };
	for (int deflated = 0; deflated < 2; deflated++) {
		struct weights w;
		assert_ok(open_tensors(specs, 5, deflated ? ZIP_DEFLATED : ZIP_STORED, &w));
		assert_string_equal(w.format, "PyTorch .pth");
		assert_int_equal(w.count, 5);
		const struct tensor *t = w.tensors;
		assert_true(t[0].type == DTYPE_F16 && t[0].rank == 1 && t[0].shape[0] == 3 &&
		            memcmp(t[0].data, "\2\3\4\5\6\7", 6) == 0);
		assert_true(t[1].type == DTYPE_BF16 && t[1].rank == 1 && t[1].shape[0] == 8 && !t[1].swapped);
		assert_memory_equal(t[1].data, "\x8\x9\xa\xb\xc\xd\xe\xf\x10\x11\x12\x13\x14\x15\x16\x17", 16);
		assert_true(t[2].rank == 2 && t[2].shape[0] == 4 && t[2].shape[1] == 6 && ((const float *)t[2].data)[23] == 23);
		assert_true(t[4].rank == 1 && t[4].shape[0] == 1);
		check_floats(&w, "ln_out.weight", doubles, 6);
		check_floats(&w, "scalar", scalar, 1);
		for (int i = 0; i < 5; i++)
			assert_int_equal(in_mapping(&w, &t[i]), !deflated && i != 3); /* doubles are converted, the rest is not copied */
		assert_int_equal(w.part_count, deflated ? 4 : 1);                 /* three storages and the converted doubles */
		weights_close(&w);
	}
}

/* Tensors of types that weights never have; the storages are those of test_types(). */
static void test_foreign_types(void **state)
{
	(void)state;
	static const struct tensor_spec specs[] = {
		{ "long", "LongStorage", "f", 12, 1, 1, { 3 }, { 1 }, false },
		{ "int", "IntStorage", "f", 24, 0, 2, { 2, 3 }, { 1, 2 }, false }, /* transposed */
		{ "short", "ShortStorage", "0", 12, 0, 1, { 12 }, { 1 }, false },
		{ "char", "CharStorage", "0", 24, 0, 1, { 24 }, { 1 }, false },
		{ "byte", "ByteStorage", "0", 24, 0, 1, { 24 }, { 1 }, false },
		{ "bool", "BoolStorage", "0", 24, 23, 0, { 0 }, { 0 }, false },
		{ "complex", "ComplexFloatStorage", "f", 12, 0, 1, { 12 }, { 1 }, false },
		{ "wide", "ComplexDoubleStorage", "f", 6, 0, 1, { 6 }, { 1 }, false },
	};
	static const char *const types[] = { "I64", "I32", "I16", "I8", "U8", "BOOL", "C64", "C128" };
	static const uint64_t bytes[] = { 24, 24, 24, 24, 24, 1, 96, 96 };
	static const float transposed[] = { 0, 2, 4, 1, 3, 5 };
	struct weights w;
	assert_ok(open_tensors(specs, 8, ZIP_STORED, &w));
	assert_int_equal(w.count, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(w.tensors[i].type, DTYPE_FOREIGN);
		assert_string_equal(tensor_type(&w.tensors[i]), types[i]);
		assert_int_equal(w.tensors[i].bytes, bytes[i]);
	}
	assert_memory_equal(w.tensors[1].data, transposed, sizeof transposed); /* the storage holds 0.0f, 1.0f and so on */
	weights_close(&w);
}

static void test_strides(void **state)
{
	(void)state;
	static const struct tensor_spec specs[] = {
		{ FLOATS("transposed", 1, { 3, 2 }), .stride = { 1, 3 } }, { FLOATS("gaps", 0, { 2, 2 }), .stride = { 10, 5 } },
		{ FLOATS("expanded", 9, { 2, 2 }), .stride = { 0, 1 } },   { FLOATS("whole", 0, { 4, 6 }), .stride = { 6, 1 } },
		{ FLOATS("unit", 3, { 1, 4 }), .stride = { 77, 1 } }, /* the stride of a unit dimension is irrelevant */
		{ FLOATS("last", 23, { 1, 1 }), .stride = { 5, 5 } },
	};
	static const float transposed[] = { 1, 4, 2, 5, 3, 6 }, gaps[] = { 0, 5, 10, 15 }, expanded[] = { 9, 10, 9, 10 };
	struct weights w;
	assert_ok(open_tensors(specs, 6, ZIP_STORED, &w));
	check_floats(&w, "transposed", transposed, 6);
	check_floats(&w, "gaps", gaps, 4);
	check_floats(&w, "expanded", expanded, 4);
	assert_int_equal(w.part_count, 3);
	const float *whole = weights_find(&w, "whole")->data;
	assert_true(weights_find(&w, "unit")->data == whole + 3); /* views of one storage share its bytes */
	assert_true(weights_find(&w, "last")->data == whole + 23);
	weights_close(&w);
}

static void test_names(void **state)
{
	(void)state;
	static const struct {
		const char *name, *official;
	} cases[] = {
		{ "module.blocks.0.ln1.weight", "blocks.0.ln1.weight" },
		{ "_forward_module.model._orig_mod.head.weight", "head.weight" },
		{ "rwkv7.emb.weight", "emb.weight" },
		{ "blocks.0.ffnpre.key.weight", "blocks.0.ffnPre.key.weight" },
		{ "model.other.ffnpre.weight", "model.other.ffnpre.weight" },
		{ "model.model", "model.model" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct weights w;
		struct tensor_spec spec = plain;
		spec.name = cases[i].name;
		assert_ok(open_tensors(&spec, 1, ZIP_STORED, &w));
		assert_string_equal(w.tensors[0].name, cases[i].official);
		assert_string_equal(w.tensors[0].file_name, cases[i].name);
		weights_close(&w);
	}
}

/* The tensor of `plain` in the dict that `before` opens and `after` closes. */
static rwkvk_status open_nested(const char *before, size_t before_count, const char *after, size_t after_count,
                                const char *name, struct weights *out)
{
	struct bytes pickle = { 0 };
	struct tensor_spec spec = plain;
	spec.name = name;
	bytes_put(&pickle, "\x80\2", 2);
	bytes_put(&pickle, before, before_count);
	pickle_tensor(&pickle, &spec);
	bytes_put(&pickle, after, after_count);
	pickle_end(&pickle);
	return open_pickle(&pickle, ZIP_STORED, out);
}

#define NESTED(before, after, name, out) open_nested(before, sizeof before - 1, after, sizeof after - 1, name, out)

static void test_nesting(void **state)
{
	(void)state;
	static const char expected[] =
		"bad.pth: expected a dict of tensors, as torch.save(model.state_dict(), ...) writes, found none";
	struct weights w;
	assert_ok(NESTED("}X\5\0\0\0epochK\7sX\12\0\0\0state_dict}", "s", "a.weight", &w));
	assert_int_equal(w.count, 1);
	weights_close(&w);
	/* an OrderedDict in a dict in a dict; lists, floats, negative and long numbers beside it */
	assert_ok(
		NESTED("}X\5\0\0\0model}X\6\0\0\0module"
	           "ccollections\nOrderedDict\n)R",
	           "}b"
	           "sX\1\0\0\0l](K\1NJ\xff\xff\xff\xff\x8a\0\x8a\1\x80\x8a\x8\1\2\3\4\5\6\7\x8eG\x3f\xf0\0\0\0\0\0\0\x88\x89)eK\2as"
	           "s",
	           "a.weight", &w));
	assert_int_equal(w.count, 1);
	weights_close(&w);
	/* names without a dot, for a file of aliases; entries that are not tensors are skipped */
	assert_ok(NESTED("}X\5\0\0\0epochK\7sX\5\0\0\0model}s", "", "weight", &w));
	assert_int_equal(w.count, 1);
	assert_string_equal(w.tensors[0].name, "weight");
	weights_close(&w);
	/* a state-tuned file */
	assert_ok(NESTED("}", "", "blocks.3.att.time_state", &w));
	assert_string_equal(w.tensors[0].name, "blocks.3.att.time_state");
	weights_close(&w);
	/* deeper than anyone nests, a dict in itself, no dict at all, other keys */
	assert_fails(NESTED("}X\5\0\0\0model}X\5\0\0\0model}X\5\0\0\0model}X\5\0\0\0model}", "ssss", "a.weight", &w),
	             RWKVK_ERROR_FILE, expected);
	assert_fails(NESTED("}q\0X\5\0\0\0modelh\0sX\1\0\0\0x}", "s", "a.weight", &w), RWKVK_ERROR_FILE, expected);
	assert_fails(NESTED("}X\1\0\0\0x}", "s", "a.weight", &w), RWKVK_ERROR_FILE, expected);
	assert_fails(NESTED("](}", "e", "a.weight", &w), RWKVK_ERROR_FILE, expected);
}

static void test_zip64(void **state)
{
	(void)state;
	struct weights w;
	static const float want[] = { 2, 3, 4, 5, 6, 7 };
	assert_ok(open_tensors(&plain, 1, ZIP_STORED_64, &w));
	check_floats(&w, "emb.weight", want, 6);
	assert_true(in_mapping(&w, &w.tensors[0]));
	weights_close(&w);
}

/* ---------------------------------------------------------------------------------------------------- the dict */

#define STORAGE   "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0fX\3\0\0\0cpuK\30tQ"
#define OK_TENSOR STORAGE "K\0K\2\x85K\1\x85\x89NtR"
#define BAD(bytes, status, text)                                                                                               \
	{                                                                                                                          \
		bytes, sizeof bytes - 1, status, text                                                                                  \
	}

static const struct {
	const char *bytes;
	size_t count;
	rwkvk_status status;
	const char *text;
} bad_dicts[] = {
	BAD("\x80\2N.", RWKVK_ERROR_FILE, "expected a dict of tensors, as torch.save(model.state_dict(), ...) writes, found none"),
	BAD("\x80\2}.", RWKVK_ERROR_FILE, "expected a dict of tensors"),
	BAD("\x80\2}(X\1\0\0\0a" OK_TENSOR "K\1" OK_TENSOR "u.", RWKVK_ERROR_FILE, "found one whose key is not a text"),
	BAD("\x80\2}X\3\0\0\0a\0b" OK_TENSOR "s.", RWKVK_ERROR_FILE, "expected tensor names in plain ASCII, found \"a?b\""),
	BAD("\x80\2}X\3\0\0\0a b" OK_TENSOR "s.", RWKVK_ERROR_FILE, "plain ASCII, found \"a b\""),
	BAD("\x80\2}X\0\0\0\0" OK_TENSOR "s.", RWKVK_ERROR_FILE, "plain ASCII, found \"\""),
	BAD("\x80\2}(X\1\0\0\0a" OK_TENSOR "X\1\0\0\0a" OK_TENSOR "u.", RWKVK_ERROR_FILE, "found two for a"),
};

static void test_bad_dicts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad_dicts / sizeof *bad_dicts; i++) {
		struct weights w;
		struct bytes pickle = { 0 };
		bytes_put(&pickle, bad_dicts[i].bytes, bad_dicts[i].count);
		rwkvk_status status = open_pickle(&pickle, ZIP_STORED, &w);
		const char *text = rwkvk_last_error();
		if (status != bad_dicts[i].status || !strstr(text, bad_dicts[i].text) || !strstr(text, "bad.pth: "))
			fail_msg("pickle %zu: status %s, text: %s; wanted status %s and \"%s\"", i, rwkvk_status_name(status), text,
			         rwkvk_status_name(bad_dicts[i].status), bad_dicts[i].text);
		assert_null(w.tensors);
	}
}

/* ---------------------------------------------------------------------------------------------------- views */

static void test_bad_views(void **state)
{
	(void)state;
	static const struct {
		struct tensor_spec spec;
		rwkvk_status status;
		const char *text;
	} cases[] = {
		{ { FLOATS("a", 19, { 2, 3 }), .stride = { 3, 1 } },
		  RWKVK_ERROR_FILE,
		  "bad.pth: tensor a of shape [2, 3] with strides [3, 1] from element 19 on does not fit its storage of 24" },
		{ { FLOATS("a", 24, { 1, 1 }), .stride = { 1, 1 } }, RWKVK_ERROR_FILE, "does not fit its storage of 24" },
		{ { FLOATS("a", UINT64_MAX >> 1, { 1, 2 }), .stride = { 1, 1 } }, RWKVK_ERROR_FILE, "does not fit its storage" },
		{ { FLOATS("a", 0, { 3, 1 }), .stride = { UINT64_MAX >> 1, 1 } }, RWKVK_ERROR_FILE, "does not fit its storage" },
		{ { FLOATS("a", 0, { 2, 2 }), .stride = { 23, 1 } }, RWKVK_ERROR_FILE, "does not fit its storage" },
		{ { FLOATS("a", 0, { 1ull << 40, 1ull << 40 }), .stride = { 0, 0 } },
		  RWKVK_ERROR_FILE,
		  "which cannot be stored as F32" },
		{ { FLOATS("a", 0, { 0, 2 }), .stride = { 1, 1 } },
		  RWKVK_ERROR_FILE,
		  "tensors with data, found tensor a of shape [0, 2]" },
		{ { FLOATS("a", 0, { 1 << 20, 1 << 10 }), .stride = { 0, 0 } },
		  RWKVK_ERROR_FILE,
		  "it would grow without limit (a zip bomb?)" },
		{ { .name = "a",
		    .storage = "FloatStorage",
		    .key = "f",
		    .count = 24,
		    .rank = 5,
		    .size = { 2, 1, 2, 2, 2 },
		    .stride = { 8, 8, 4, 2, 1 } },
		  RWKVK_OK,
		  "" },
		{ { .name = "a",
		    .storage = "FloatStorage",
		    .key = "f",
		    .count = 24,
		    .rank = 5,
		    .size = { 2, 2, 2, 2, 1 },
		    .stride = { 0, 0, 0, 0, 0 } },
		  RWKVK_OK,
		  "" },
		{ { .name = "a",
		    .storage = "FloatStorage",
		    .key = "f",
		    .count = 24,
		    .rank = 5,
		    .size = { 2, 2, 2, 2, 2 },
		    .stride = { 0, 0, 0, 0, 1 } },
		  RWKVK_ERROR_UNSUPPORTED,
		  "at most 4 dimensions, found a of shape [2, 2, 2, 2, 2]" },
		{ { .name = "a", .storage = "FloatStorage", .key = "f", .count = 25, .rank = 1, .size = { 2 }, .stride = { 1 } },
		  RWKVK_ERROR_FILE,
		  "tensor a has its data in an entry of 25 numbers of 4 bytes, but the entry m/data/f has 96 bytes" },
		{ { .name = "a", .storage = "HalfStorage", .key = "f", .count = 24, .rank = 1, .size = { 2 }, .stride = { 1 } },
		  RWKVK_ERROR_FILE,
		  "24 numbers of 2 bytes, but the entry m/data/f has 96 bytes" },
		{ { .name = "a", .storage = "FloatStorage", .key = "x", .count = 24, .rank = 1, .size = { 2 }, .stride = { 1 } },
		  RWKVK_ERROR_FILE,
		  "bad.pth: tensor a has its data in the entry m/data/x, which is missing" },
		{ { .name = "a", .storage = "FloatStorage", .key = "../f\x1b", .count = 24, .rank = 1, .size = { 2 }, .stride = { 1 } },
		  RWKVK_ERROR_FILE,
		  "m/data/../f?, which is missing" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct weights w;
		if (cases[i].status == RWKVK_OK)
			assert_ok(open_tensors(&cases[i].spec, 1, ZIP_STORED, &w));
		else
			assert_fails(open_tensors(&cases[i].spec, 1, ZIP_STORED, &w), cases[i].status, cases[i].text);
		weights_close(&w);
	}
}

static void test_long_names(void **state)
{
	(void)state;
	char name[257] = "";
	memset(name, 'n', 256);
	struct weights w;
	struct tensor_spec spec = plain;
	spec.name = name;
	assert_fails(open_tensors(&spec, 1, ZIP_STORED, &w), RWKVK_ERROR_FILE, "tensor names below 256 characters, found nnn");
	name[255] = 0;
	assert_ok(open_tensors(&spec, 1, ZIP_STORED, &w));
	weights_close(&w);
}

/* ---------------------------------------------------------------------------------------------------- archives */

static void plain_pickle(struct bytes *pickle)
{
	pickle_begin(pickle);
	pickle_tensor(pickle, &plain);
	pickle_end(pickle);
}

/* An archive of a good pickle and storages, with one more entry. */
static rwkvk_status open_with_entry(const char *name, const char *content, enum zip_kind kind, struct weights *out)
{
	struct bytes pickle = { 0 };
	struct zip_maker zip = { 0 };
	plain_pickle(&pickle);
	zip_put(&zip, "m/data.pkl", pickle.data, pickle.count, ZIP_STORED);
	put_storages(&zip, ZIP_STORED);
	zip_put(&zip, name, content, strlen(content), kind);
	zip_end(&zip);
	rwkvk_status status = open_bytes(zip.file.data, zip.file.count, out);
	bytes_free(&zip.file);
	bytes_free(&pickle);
	return status;
}

static void test_entries(void **state)
{
	(void)state;
	struct weights w;
	assert_ok(open_with_entry("m/.data/serialization_id", "123", ZIP_STORED, &w));
	weights_close(&w);
	assert_ok(open_with_entry("m/byteorder", "little", ZIP_DEFLATED, &w));
	weights_close(&w);
	assert_fails(open_with_entry("m/byteorder", "big", ZIP_STORED, &w), RWKVK_ERROR_UNSUPPORTED,
	             "bad.pth: expected little-endian data, found byte order \"big\"");
	assert_fails(open_with_entry("m/byteorder", "little-endian, I think", ZIP_STORED, &w), RWKVK_ERROR_FILE,
	             "its entry m/byteorder cannot be read (it is longer than \"little\")");
	assert_fails(open_with_entry("n/data.pkl", "", ZIP_STORED, &w), RWKVK_ERROR_FILE,
	             "expected one data.pkl in the zip archive, found \"n/data.pkl\" and another");
	assert_fails(open_with_entry("m/constants.pkl", "", ZIP_STORED, &w), RWKVK_ERROR_UNSUPPORTED,
	             "found a TorchScript program");

	struct zip_maker zip = { 0 };
	zip_put(&zip, "model.safetensors", "x", 1, ZIP_STORED);
	zip_put(&zip, "mdata.pkl", "x", 1, ZIP_STORED);
	zip_end(&zip);
	assert_fails(
		open_bytes(zip.file.data, zip.file.count, &w), RWKVK_ERROR_FILE,
		"bad.pth: expected a PyTorch model, found a zip archive without data.pkl: if a model is packed in it, unpack it");
	bytes_free(&zip.file);
}

/* The folder is called as the file was when it was saved. */
static void test_folders(void **state)
{
	(void)state;
	static const char *const folders[] = { "", "archive/", "a b/", "\xe6\xa8\xa1\xe5\x9e\x8b/", "\xfc/", "a/b/" };
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		struct bytes pickle = { 0 };
		struct zip_maker zip = { 0 };
		struct weights w;
		float floats[NUMBERS] = { 0 };
		char name[64];
		plain_pickle(&pickle);
		snprintf(name, sizeof name, "%sdata.pkl", folders[i]);
		zip_put(&zip, name, pickle.data, pickle.count, ZIP_STORED);
		snprintf(name, sizeof name, "%sdata/f", folders[i]);
		zip_put(&zip, name, floats, sizeof floats, ZIP_STORED);
		zip_end(&zip);
		assert_ok(open_bytes(zip.file.data, zip.file.count, &w));
		assert_int_equal(w.count, 1);
		weights_close(&w);
		bytes_free(&zip.file);
		bytes_free(&pickle);
	}
}

/* Damage to the directory's header of data/f, and what it leads to. */
static void test_damaged_entries(void **state)
{
	(void)state;
	enum { FLAGS = 8, METHOD = 10, CRC = 16, PACKED = 20, SIZE = 24, OFFSET = 42 };
	static const struct {
		enum zip_kind kind;
		int field, byte, value;
		rwkvk_status status;
		const char *text;
	} cases[] = {
		{ ZIP_STORED, METHOD, 0, 12, RWKVK_ERROR_UNSUPPORTED,
		  "bad.pth: its entry m/data/f is compressed with method 12; this version reads stored (0) and deflated (8) ones" },
		{ ZIP_STORED, FLAGS, 0, 1, RWKVK_ERROR_UNSUPPORTED, "its entry m/data/f is encrypted" },
		{ ZIP_DEFLATED, CRC, 0, 1, RWKVK_ERROR_FILE, "its entry m/data/f cannot be read (" },
		{ ZIP_STORED, SIZE, 0, 100, RWKVK_ERROR_FILE, "but the entry m/data/f has 100 bytes" },
		{ ZIP_DEFLATED, PACKED, 0, 50, RWKVK_ERROR_FILE, "its entry m/data/f cannot be read" },
		{ ZIP_STORED, PACKED, 0, 50, RWKVK_ERROR_FILE, "its entry m/data/f cannot be read" },
		{ ZIP_STORED, OFFSET, 0, 1, RWKVK_ERROR_FILE, "its entry m/data/f cannot be read" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct weights w;
		struct bytes pickle = { 0 };
		struct zip_maker zip = { 0 };
		float floats[NUMBERS] = { 0 };
		plain_pickle(&pickle);
		zip_put(&zip, "m/data.pkl", pickle.data, pickle.count, ZIP_STORED);
		zip_put(&zip, "m/data/f", floats, sizeof floats, cases[i].kind);
		zip.directory.data[zip.last_header + (size_t)cases[i].field + (size_t)cases[i].byte] = (uint8_t)cases[i].value;
		zip_end(&zip);
		assert_fails(open_bytes(zip.file.data, zip.file.count, &w), cases[i].status, cases[i].text);
		bytes_free(&zip.file);
		bytes_free(&pickle);
	}
}

/* Entries that claim to inflate to gigabytes are refused before any of it is allocated. */
static void test_zip_bomb(void **state)
{
	(void)state;
	enum { SIZE = 24 };
	static const uint32_t claim = 1u << 30;
	struct weights w;
	struct bytes pickle = { 0 };
	struct zip_maker zip = { 0 };
	struct tensor_spec spec = plain;
	spec.count = claim / 4;
	pickle_begin(&pickle);
	pickle_tensor(&pickle, &spec);
	pickle_end(&pickle);
	zip_put(&zip, "m/data.pkl", pickle.data, pickle.count, ZIP_STORED);
	zip_put(&zip, "m/data/f", "", 0, ZIP_DEFLATED);
	memcpy(zip.directory.data + zip.last_header + SIZE, &claim, sizeof claim);
	zip_end(&zip);
	char text[100];
	snprintf(text, sizeof text, "at most 16 times the file's %zu bytes, found more: it would grow without limit",
	         zip.file.count);
	assert_fails(open_bytes(zip.file.data, zip.file.count, &w), RWKVK_ERROR_FILE, text);
	bytes_free(&zip.file);

	zip = (struct zip_maker){ 0 };
	zip_put(&zip, "m/data.pkl", pickle.data, pickle.count, ZIP_DEFLATED);
	memcpy(zip.directory.data + zip.last_header + SIZE, &claim, sizeof claim);
	zip_end(&zip);
	assert_fails(open_bytes(zip.file.data, zip.file.count, &w), RWKVK_ERROR_FILE,
	             "expected a data.pkl of at most 16777216 bytes, found one of 1073741824");
	bytes_free(&zip.file);
	bytes_free(&pickle);
}

static void test_truncated(void **state)
{
	(void)state;
	static const enum zip_kind kinds[] = { ZIP_STORED, ZIP_DEFLATED, ZIP_STORED_64 };
	for (size_t k = 0; k < 3; k++) {
		struct bytes pickle = { 0 };
		struct zip_maker zip;
		struct weights w;
		plain_pickle(&pickle);
		make_archive(&pickle, kinds[k], &zip);
		for (size_t n = 0; n < zip.file.count; n++) {
			assert_fails(open_bytes(zip.file.data, n, &w), RWKVK_ERROR_FILE,
			             n == 0  ? "empty"
			             : n < 4 ? "expected a model"
			                     : "bad.pth: the zip archive cannot be read (");
			if (n >= 4) /* in the brackets are the words of libzip, which change with its version */
				test_assert_error_contains("): it is truncated (an incomplete download?) or damaged", __FILE__, __LINE__);
			assert_null(w.tensors);
		}
		assert_ok(open_bytes(zip.file.data, zip.file.count, &w));
		weights_close(&w);
		bytes_free(&zip.file);
		bytes_free(&pickle);
	}
}

static void test_random_damage(void **state)
{
	(void)state;
	static const enum zip_kind kinds[] = { ZIP_STORED, ZIP_DEFLATED, ZIP_STORED_64 };
	uint64_t seed = 5;
	size_t refused = 0;
	for (int round = 0; round < 6000; round++) {
		struct bytes pickle = { 0 };
		struct zip_maker zip;
		struct weights w;
		plain_pickle(&pickle);
		if (round % 2) /* in the pickle, below the checksum */
			pickle.data[test_random(&seed) % pickle.count] ^= (uint8_t)(1u << test_random(&seed) % 8);
		make_archive(&pickle, kinds[round / 2 % 3], &zip);
		for (uint32_t flips = round % 2 ? 0 : 1 + test_random(&seed) % 3; flips > 0; flips--)
			zip.file.data[test_random(&seed) % zip.file.count] ^= (uint8_t)(1u << test_random(&seed) % 8);
		rwkvk_status status = open_bytes(zip.file.data, zip.file.count, &w);
		if (status != RWKVK_OK && !strstr(rwkvk_last_error(), "bad.pth: "))
			fail_msg("%s", rwkvk_last_error());
		assert_true(status == RWKVK_OK || status == RWKVK_ERROR_FILE || status == RWKVK_ERROR_UNSUPPORTED);
		refused += status != RWKVK_OK;
		weights_close(&w);
		bytes_free(&zip.file);
		bytes_free(&pickle);
	}
	assert_true(refused > 2000);
}

/* ---------------------------------------------------------------------------------------------------- real files */

/* The same tensors under the same names, type, shape and bits. */
static void compare(const struct weights *got, const struct weights *want)
{
	assert_int_equal(got->count, want->count);
	for (size_t i = 0; i < want->count; i++) {
		const struct tensor *a = weights_find(got, want->tensors[i].name), *b = &want->tensors[i];
		if (!a || a->type != b->type || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) != 0 ||
		    a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0)
			fail_msg("%s: tensor %s is missing or not the same", got->path, b->name);
	}
}

static void test_synthetic(void **state)
{
	(void)state;
	const char *path = test_shared("models/synthetic/v7-c192-bf16.pth");
	struct weights pth, safetensors;
	if (!path)
		skip();
	assert_ok(weights_open(path, NULL, 0, NULL, &pth));
	assert_ok(weights_open(TEST_DATA_DIR "/v7-c192-bf16.safetensors", NULL, 0, NULL, &safetensors));
	compare(&pth, &safetensors);
	assert_int_equal(pth.part_count, 0); /* no copies */
	weights_close(&pth);

	/* packed again by another program, which deflates */
	size_t bytes;
	const char *packed = test_temp("packed.pth");
	uint8_t *data = test_read_file(path, &bytes);
	test_write_file(packed, data, bytes);
	free(data);
	zip_t *zip = zip_open(packed, 0, NULL);
	assert_non_null(zip);
	for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); i++)
		assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)i, ZIP_CM_DEFLATE, 1), 0);
	assert_int_equal(zip_close(zip), 0);
	assert_ok(weights_open(packed, NULL, 0, NULL, &pth));
	compare(&pth, &safetensors);
	assert_true(pth.part_count > 10);
	weights_close(&pth);
	weights_close(&safetensors);
}

static void test_reverse(void **state)
{
	(void)state;
	static const char names[] = TEST_DATA_DIR "/reverse.names";
	const char *path = test_shared("models/reverse/260123_reverse_L2_only_rwkv7.pth"),
			   *other = test_shared("models/reverse/251105_reverse_L2.pth"),
			   *standard = test_shared("models/reverse/reverse_rwkv7.safetensors");
	struct weights pth, safetensors;
	if (!path || !other || !standard)
		skip();
	assert_ok(weights_open(path, NULL, 0, names, &pth));
	assert_ok(weights_open(standard, NULL, 0, NULL, &safetensors));
	compare(&pth, &safetensors);
	assert_int_equal(pth.part_count, 0);
	weights_close(&pth);
	weights_close(&safetensors);

	assert_ok(weights_open(other, NULL, 0, NULL, &pth));
	assert_int_equal(pth.count, 99);
	const struct tensor *t = weights_find(&pth, "rosa2.rosa_qkv.emb");
	assert_true(t && t->rank == 1 && t->shape[0] == 32 && t->type == DTYPE_F32);
	t = weights_find(&pth, "ffn1.key.weight");
	assert_true(t && t->rank == 2 && t->shape[0] == 128 && t->shape[1] == 32);
	weights_close(&pth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),     cmocka_unit_test(test_foreign_types), cmocka_unit_test(test_strides),
		cmocka_unit_test(test_names),     cmocka_unit_test(test_nesting),       cmocka_unit_test(test_zip64),
		cmocka_unit_test(test_bad_dicts), cmocka_unit_test(test_bad_views),     cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_entries),   cmocka_unit_test(test_folders),       cmocka_unit_test(test_damaged_entries),
		cmocka_unit_test(test_zip_bomb),  cmocka_unit_test(test_truncated),     cmocka_unit_test(test_random_damage),
		cmocka_unit_test(test_synthetic), cmocka_unit_test(test_reverse),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	struct weights w;
	open_bytes("", 0, &w); /* frees the last file */
	return failed;
}
