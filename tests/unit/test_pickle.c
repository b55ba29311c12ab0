/* The pickle machine: what it builds, and that it refuses everything a model does not need. */
#include "support.h"

#include <stdio.h>

#include "format/pickle.h"
#include "make_pth.h"

/* In a block of exactly that size. */
static rwkvk_status parse(const void *data, size_t count, struct pickle *out)
{
	static uint8_t *copy;
	free(copy);
	copy = malloc(count ? count : 1);
	assert_non_null(copy);
	if (count)
		memcpy(copy, data, count);
	return pickle_parse("bad.pth", copy, count, out);
}

#define STORAGE "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0fX\3\0\0\0cpuK\30tQ"
/* ---------------------------------------------------------------------------------------------------- good ones */

/* The values of a container, in order. */
static size_t items(const struct pickle *p, const struct pickle_value *container, const struct pickle_value **out)
{
	size_t count = 0;
	for (uint32_t cell = container->items.first; cell; cell = p->cells[cell].next)
		out[count++] = &p->values[p->cells[cell].value];
	assert_int_equal(count, container->items.count);
	return count;
}

static void test_values(void **state)
{
	(void)state;
	static const char bytes[] = "\x80\2"
								"](NK\xffM\x34\x12J\xff\xff\xff\xff\x8a\0\x8a\1\x80\x8a\x8\1\2\3\4\5\6\7\x8e"
								"G\x3f\xf8\0\0\0\0\0\0\x88\x89X\2\0\0\0ab)eK\1K\2\x86q\0r\0\1\0\0ah\0a}K\7Nsaj\0\1\0\0a.";
	static const int64_t integers[] = { 255, 0x1234, -1, 0, -128, (int64_t)0x8e07060504030201 };
	struct pickle p;
	const struct pickle_value *v[32], *inner[4];
	assert_ok(parse(bytes, sizeof bytes - 1, &p));
	assert_int_equal(p.values[p.root].kind, PICKLE_LIST);
	assert_int_equal(items(&p, &p.values[p.root], v), 16);
	assert_int_equal(v[0]->kind, PICKLE_NONE);
	for (int i = 0; i < 6; i++)
		assert_true(v[1 + i]->kind == PICKLE_INT && v[1 + i]->integer == integers[i]);
	assert_true(v[7]->kind == PICKLE_FLOAT && v[7]->number == 1.5);
	assert_true(v[8]->kind == PICKLE_BOOL && v[8]->integer && v[9]->kind == PICKLE_BOOL && !v[9]->integer);
	assert_true(pickle_text_is(v[10], "ab") && !pickle_text_is(v[10], "a") && !pickle_text_is(v[10], "abc"));
	assert_true(v[11]->kind == PICKLE_TUPLE && v[11]->items.count == 0);
	assert_int_equal(v[12]->kind, PICKLE_TUPLE);
	assert_int_equal(items(&p, v[12], inner), 2);
	assert_true(inner[0]->integer == 1 && inner[1]->integer == 2);
	assert_true(v[13] == v[12] && v[15] == v[12]);
	assert_int_equal(v[14]->kind, PICKLE_DICT);
	assert_int_equal(items(&p, v[14], inner), 2);
	assert_true(inner[0]->integer == 7 && inner[1]->kind == PICKLE_NONE);
	pickle_free(&p);
}

static void test_tensor(void **state)
{
	(void)state;
	struct pickle p;
	struct bytes pickle = { 0 };
	const struct pickle_value *v[2];
	pickle_begin(&pickle);
	pickle_tensor(&pickle,
	              &(struct tensor_spec){ "w", "HalfStorage", "key", 1ull << 33, 70000, 2, { 3, 5 }, { 1, 1ull << 31 }, true });
	pickle_end(&pickle);
	assert_ok(parse(pickle.data, pickle.count, &p));
	assert_int_equal(items(&p, &p.values[p.root], v), 2);
	assert_true(pickle_text_is(v[0], "w") && v[1]->kind == PICKLE_TENSOR);
	const struct pickle_tensor *t = &p.tensors[v[1]->tensor];
	assert_true(t->offset == 70000 && t->rank == 2 && t->size[0] == 3 && t->size[1] == 5 && t->stride[0] == 1);
	assert_true(t->stride[1] == 1ull << 31);
	const struct pickle_storage *storage = &p.values[t->storage].storage;
	assert_true(p.values[t->storage].kind == PICKLE_STORAGE && storage->type == PICKLE_F16 && storage->count == 1ull << 33);
	assert_true(storage->key_bytes == 3 && memcmp(storage->key, "key", 3) == 0);
	pickle_free(&p);
	bytes_free(&pickle);
}

/* ---------------------------------------------------------------------------------------------------- bad ones */

#define BAD(bytes, status, text)                                                                                               \
	{                                                                                                                          \
		bytes, sizeof bytes - 1, status, text                                                                                  \
	}

static const struct {
	const char *bytes;
	size_t count;
	rwkvk_status status;
	const char *text;
} bad_pickles[] = {
	/* what attacks look like */
	BAD("\x80\2"
	    "cos\nsystem\nX\2\0\0\0ls\x85R.",
	    RWKVK_ERROR_FILE, "bad.pth: asks Python to import os.system; a model file only needs tensors: it may be malicious"),
	BAD("\x80\2"
	    "c__builtin__\neval\nX\1\0\0\0x\x85R.",
	    RWKVK_ERROR_FILE, "asks Python to import __builtin__.eval;"),
	BAD("\x80\2"
	    "ctorch.os\nsystem\n.",
	    RWKVK_ERROR_FILE, "asks Python to import torch.os.system;"),
	BAD("\x80\2"
	    "ctorch._utils\n_rebuild_tensor\n.",
	    RWKVK_ERROR_FILE, "asks Python to import torch._utils._rebuild_tensor;"),
	BAD("\x80\2"
	    "cto\x1b[2J\nx\n.",
	    RWKVK_ERROR_FILE, "asks Python to import to?[2J.x;"),
	BAD("\x80\2"
	    "c\n\n.",
	    RWKVK_ERROR_FILE, "asks Python to import .;"),
	BAD("\x80\2"
	    "}(ios\nsystem\n.",
	    RWKVK_ERROR_FILE,
	    "bad.pth: data.pkl, byte 4: found opcode 0x69, which a model file does not need: it may be malicious"),
	BAD("\x80\2"
	    "}\x93.",
	    RWKVK_ERROR_FILE, "byte 3: found opcode 0x93"),
	BAD("\x80\2"
	    "}\x81.",
	    RWKVK_ERROR_FILE, "opcode 0x81"),
	BAD("\x80\2"
	    "(o.",
	    RWKVK_ERROR_FILE, "opcode 0x6f"),
	BAD("\x80\2"
	    "\x82\1.",
	    RWKVK_ERROR_FILE, "opcode 0x82"),
	BAD("\x80\2"
	    "P1\n.",
	    RWKVK_ERROR_FILE, "opcode 0x50"),
	BAD("\x80\2\x80\2.", RWKVK_ERROR_FILE, "byte 2: found opcode 0x80"),
	BAD("\x80\2\0", RWKVK_ERROR_FILE, "opcode 0x00"),
	/* other types and versions */
	BAD("\x80\2"
	    "ctorch\nQInt8Storage\n.",
	    RWKVK_ERROR_UNSUPPORTED,
	    "bad.pth: holds tensors in a torch.QInt8Storage; this version reads storages of floats, integers and complex numbers "
	    "from .pth files"),
	BAD("\x80\2"
	    "ctorch\nStorage\n.",
	    RWKVK_ERROR_UNSUPPORTED, "a torch.Storage;"),
	BAD("\x80\2"
	    "ctorch.x\nLongStorage\n.",
	    RWKVK_ERROR_FILE, "import torch.x.LongStorage;"),
	BAD("\x80\4\x95\0\0\0\0\0\0\0\0}.", RWKVK_ERROR_UNSUPPORTED, "expected pickle protocol 2, found 4"),
	BAD("", RWKVK_ERROR_FILE, "expected a pickle, found something else"),
	BAD("\x80", RWKVK_ERROR_FILE, "expected a pickle"),
	BAD("}.", RWKVK_ERROR_FILE, "expected a pickle"),
	/* stack and marks */
	BAD("\x80\2.", RWKVK_ERROR_FILE, "byte 2: expected one value at the end, found none or several: the file is damaged"),
	BAD("\x80\2}}.", RWKVK_ERROR_FILE, "found none or several"),
	BAD("\x80\2}(.", RWKVK_ERROR_FILE, "found none or several"),
	BAD("\x80\2}", RWKVK_ERROR_FILE, "byte 3: the pickle has no end"),
	BAD("\x80\2u.", RWKVK_ERROR_FILE, "needs a mark and there is none"),
	BAD("\x80\2t.", RWKVK_ERROR_FILE, "needs a mark"),
	BAD("\x80\2"
	    "e.",
	    RWKVK_ERROR_FILE, "needs a mark"),
	BAD("\x80\2(u.", RWKVK_ERROR_FILE, "needs a value and there is none"),
	BAD("\x80\2}(Nu.", RWKVK_ERROR_FILE, "a key without a value"),
	BAD("\x80\2)NNs.", RWKVK_ERROR_FILE, "items for something that is not a dict"),
	BAD("\x80\2s.", RWKVK_ERROR_FILE, "needs more values than there are"),
	BAD("\x80\2}(NNs.", RWKVK_ERROR_FILE, "needs a value"),
	BAD("\x80\2}Ns.", RWKVK_ERROR_FILE, "needs a value"),
	BAD("\x80\2}Na.", RWKVK_ERROR_FILE, "items for something that is not a list"),
	BAD("\x80\2)(Ne.", RWKVK_ERROR_FILE, "items for something that is not a list"),
	BAD("\x80\2N\x86.", RWKVK_ERROR_FILE, "a tuple needs more values"),
	BAD("\x80\2NN(N\x86.", RWKVK_ERROR_FILE, "a tuple needs more values"),
	BAD("\x80\2"
	    "b.",
	    RWKVK_ERROR_FILE, "needs a value"),
	BAD("\x80\2)}b.", RWKVK_ERROR_FILE, "attributes for something that is not a dict"),
	BAD("\x80\2q\0.", RWKVK_ERROR_FILE, "needs a value"),
	BAD("\x80\2h\0.", RWKVK_ERROR_FILE, "a reference to something that is not there"),
	BAD("\x80\2}q\2h\1.", RWKVK_ERROR_FILE, "a reference to something"),
	BAD("\x80\2}r\xff\xff\xff\xff.", RWKVK_ERROR_FILE, "the number of a reference is too large"),
	BAD("\x80\2}j\xff\xff\xff\xff.", RWKVK_ERROR_FILE, "a reference to something"),
	BAD("\x80\2X\xff\xff\xff\xff.", RWKVK_ERROR_FILE, "reaches past the end"),
	BAD("\x80\2X\1\0\0", RWKVK_ERROR_FILE, "reaches past the end"),
	BAD("\x80\2G\0\0", RWKVK_ERROR_FILE, "reaches past the end"),
	BAD("\x80\2\x8a\x9\0\0\0\0\0\0\0\0\0.", RWKVK_ERROR_FILE, "whole numbers of at most 64 bits"),
	BAD("\x80\2"
	    "ctorch",
	    RWKVK_ERROR_FILE, "reaches past the end"),
	BAD("\x80\2"
	    "ctorch\nFloat",
	    RWKVK_ERROR_FILE, "reaches past the end"),
	/* calls */
	BAD("\x80\2)R.", RWKVK_ERROR_FILE, "needs a value"),
	BAD("\x80\2})R.", RWKVK_ERROR_FILE, "a call that makes a tensor or an empty OrderedDict, found another"),
	BAD("\x80\2"
	    "ctorch\nFloatStorage\n)R.",
	    RWKVK_ERROR_FILE, "found another"),
	BAD("\x80\2"
	    "ccollections\nOrderedDict\n}R.",
	    RWKVK_ERROR_FILE, "found another"),
	BAD("\x80\2"
	    "ccollections\nOrderedDict\n]\x85R.",
	    RWKVK_ERROR_FILE, "found another"),
	BAD("\x80\2"
	    "ctorch._utils\n_rebuild_tensor_v2\n)R.",
	    RWKVK_ERROR_FILE, "expected a tensor from (storage,"),
	BAD("\x80\2"
	    "ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR.",
	    RWKVK_ERROR_FILE, "expected a tensor from (storage,"),
	BAD("\x80\2"
	    "ctorch._utils\n_rebuild_parameter\n(NNNtR.",
	    RWKVK_ERROR_FILE, "expected a parameter from (tensor,"),
	BAD("\x80\2NQ.", RWKVK_ERROR_FILE, "expected ('storage', type, key, device, count)"),
	BAD("\x80\2(NNNNNtQ.", RWKVK_ERROR_FILE, "expected ('storage',"),
	BAD("\x80\2(X\7\0\0\0storage"
	    "ccollections\nOrderedDict\nX\1\0\0\0fNK\1tQ.",
	    RWKVK_ERROR_FILE, "expected ('storage',"),
	BAD("\x80\2(X\7\0\0\0storage"
	    "ctorch\nFloatStorage\nX\1\0\0\0fNJ\xff\xff\xff\xfftQ.",
	    RWKVK_ERROR_FILE, "expected ('storage',"),
	BAD("\x80\2}X\1\0\0\0a" STORAGE "J\xff\xff\xff\xffK\2\x85K\1\x85\x89NtRs.", RWKVK_ERROR_FILE,
	    "expected a tensor from (storage,"),
	BAD("\x80\2}X\1\0\0\0a" STORAGE "K\0K\2\x85)\x89NtRs.", RWKVK_ERROR_FILE, "at most 8 dimensions with as many strides"),
	BAD("\x80\2}X\1\0\0\0a" STORAGE "K\0N\x85K\1\x85\x89NtRs.", RWKVK_ERROR_FILE, "whole numbers of 0 or more"),
	BAD("\x80\2}X\1\0\0\0a" STORAGE "K\0K\1\x85J\xff\xff\xff\xff\x85\x89NtRs.", RWKVK_ERROR_FILE, "whole numbers of 0 or more"),
	BAD("\x80\2}X\1\0\0\0a" STORAGE "K\0(K\1K\1K\1K\1K\1K\1K\1K\1K\1t(K\1K\1K\1K\1K\1K\1K\1K\1K\1t\x89NtRs.", RWKVK_ERROR_FILE,
	    "at most 8 dimensions"),
};

static void test_bad_pickles(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad_pickles / sizeof *bad_pickles; i++) {
		struct pickle p;
		rwkvk_status status = parse(bad_pickles[i].bytes, bad_pickles[i].count, &p);
		const char *text = rwkvk_last_error();
		if (status != bad_pickles[i].status || !strstr(text, bad_pickles[i].text) || !strstr(text, "bad.pth: "))
			fail_msg("pickle %zu: status %s, text: %s; wanted status %s and \"%s\"", i, rwkvk_status_name(status), text,
			         rwkvk_status_name(bad_pickles[i].status), bad_pickles[i].text);
		assert_null(p.values);
	}
}

static void test_truncated(void **state)
{
	(void)state;
	struct bytes whole = { 0 };
	pickle_begin(&whole);
	pickle_tensor(&whole,
	              &(struct tensor_spec){ "a.weight", "FloatStorage", "0", 300, 1, 2, { 2, 70000 }, { 70000, 1 }, true });
	pickle_end(&whole);
	for (size_t n = 0; n < whole.count; n++) {
		struct pickle p;
		rwkvk_status status = parse(whole.data, n, &p);
		const char *text = rwkvk_last_error();
		if (status != RWKVK_ERROR_FILE || !(strstr(text, "reaches past the end") || strstr(text, "the pickle has no end") ||
		                                    (n < 2 && strstr(text, "expected a pickle"))))
			fail_msg("the first %zu bytes: %s, %s", n, rwkvk_status_name(status), text);
	}
	bytes_free(&whole);
}

/* Counts that no model reaches are refused early and without much memory. */
static void test_limits(void **state)
{
	(void)state;
	static const struct {
		const char *before, *again; /* the second 1,100,000 times */
		const char *text;
	} cases[] = {
		{ "", "N", "expected at most 1048576 values" },
		{ "", "(", "expected at most 1048576 values" },
		{ "", "}", "expected at most 1048576 values" },
		{ "N", "\x85", "expected at most 1048576 values" }, /* a tuple in a tuple in a tuple ... */
		{ "]", "Na", "expected at most 1048576 values" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pickle p;
		struct bytes pickle = { 0 };
		bytes_put(&pickle, "\x80\2", 2);
		bytes_put(&pickle, cases[i].before, strlen(cases[i].before));
		for (size_t n = 0; n < 1100000; n++)
			bytes_put(&pickle, cases[i].again, strlen(cases[i].again));
		assert_fails(parse(pickle.data, pickle.count, &p), RWKVK_ERROR_FILE, cases[i].text);
		bytes_free(&pickle);
	}
}

/* Five bytes suffice to repeat the description of a tensor. */
static void test_many_tensors(void **state)
{
	(void)state;
	static const char again[] = "h\0h\1R";
	static const char first[] = "\x80\2"
								"ctorch._utils\n_rebuild_tensor_v2\nq\0((X\7\0\0\0storagectorch\nFloatStorage\n"
								"X\1\0\0\0fX\3\0\0\0cpuK\30tQK\0))\x89Ntq\1R";
	struct pickle p;
	struct bytes pickle = { 0 };
	bytes_put(&pickle, first, sizeof first - 1);
	for (int i = 0; i < 70000; i++)
		bytes_put(&pickle, again, sizeof again - 1);
	assert_fails(parse(pickle.data, pickle.count, &p), RWKVK_ERROR_FILE, "expected at most 65536 values");
	bytes_free(&pickle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),    cmocka_unit_test(test_tensor), cmocka_unit_test(test_bad_pickles),
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_limits), cmocka_unit_test(test_many_tensors),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	struct pickle p;
	parse("", 0, &p); /* frees the last one */
	return failed;
}
