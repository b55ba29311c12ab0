/* Models in several files: the index, the folder, and everything about them that can be wrong. */
#include "support.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/readers.h"
#include "format/weights.h"
#include "make_files.h"

static const struct list_sizes sizes = { .vocab = 5, .width = 8, .head_size = 4, .ffn = 16, .layers = 1, .rank = 3 };

/* ---------------------------------------------------------------------------------------------------- a folder */

#define FIRST  "model-00001-of-00002.safetensors"
#define SECOND "model-00002-of-00002.safetensors"
#define INDEX  "model.safetensors.index.json"

/* The same as PyTorch's files. */
#define FIRST_BIN  "pytorch_model-00001-of-00002.bin"
#define SECOND_BIN "pytorch_model-00002-of-00002.bin"
#define INDEX_BIN  "pytorch_model.bin.index.json"

static char folder[512];

static const char *in_folder(const char *name)
{
	static char paths[4][600];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", folder, name);
	return path;
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "%s", test_temp("folder"));
	return mkdir(folder, 0700);
}

static void empty_folder(void)
{
	static const char *const names[] = {
		FIRST,     SECOND,     INDEX,     "model.safetensors", "model-00001-of-00001.safetensors",
		FIRST_BIN, SECOND_BIN, INDEX_BIN, "pytorch_model.bin", "pytorch_model-00001-of-00001.bin"
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(in_folder(names[i]));
}

static int remove_folder(void **state)
{
	(void)state;
	empty_folder();
	return rmdir(folder);
}

static void write_index(const char *text)
{
	test_write_file(in_folder(INDEX), text, strlen(text));
}

/* Items from `first` to before `end` as a file. */
static void write_part(const char *name, struct list *list, size_t first, size_t end)
{
	struct list *part = calloc(1, sizeof *part);
	assert_non_null(part);
	part->count = end - first;
	memcpy(part->items, list->items + first, part->count * sizeof *part->items);
	struct file_bytes file = strstr(name, ".bin") ? write_pth(part, DTYPE_BF16, NULL) : write_safetensors(part, DTYPE_BF16);
	test_write_file(in_folder(name), file.data, file.bytes);
	free(file.data);
	free(part);
}

/* The model in these two files, cut in the middle of a layer, and its index. */
static struct list *write_model_as(const char *index_name, const char *first, const char *second)
{
	struct list *list = list_official("7", &sizes);
	size_t half = list->count / 2;
	char index[8192] = "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {";
	list_to_fla(list, false);
	empty_folder();
	write_part(first, list, 0, half);
	write_part(second, list, half, list->count);
	for (size_t i = 0; i < list->count; i++) {
		size_t at = strlen(index);
		snprintf(index + at, sizeof index - at, "%s\"%s\": \"%s\"", i ? ", " : "", list->items[i].name,
		         i < half ? first : second);
	}
	strcat(index, "}}\n");
	test_write_file(in_folder(index_name), index, strlen(index));
	return list;
}

static struct list *write_model(void)
{
	return write_model_as(INDEX, FIRST, SECOND);
}

static void refuse(const char *what, const char *path, rwkvk_status status, const char *text)
{
	struct weights weights;
	rwkvk_status got = weights_open(path, NULL, 0, NULL, &weights);
	if (got != status || !strstr(rwkvk_last_error(), text) || !strstr(rwkvk_last_error(), folder))
		fail_msg("%s: status %s, text: %s; wanted status %s and \"%s\"", what, rwkvk_status_name(got), rwkvk_last_error(),
		         rwkvk_status_name(status), text);
	assert_null(weights.tensors);
	assert_null(weights.parts);
}

/* ---------------------------------------------------------------------------------------------------- good ones */

static void check_model(const char *path, const char *format)
{
	struct weights whole, parts;
	struct list *list = list_official("7", &sizes);
	struct file_bytes file = write_safetensors(list, DTYPE_BF16);
	assert_ok(weights_open("whole", file.data, file.bytes, NULL, &whole));
	assert_ok(weights_open(path, NULL, 0, NULL, &parts));
	assert_string_equal(parts.format, format);
	assert_int_equal(parts.count, whole.count);
	for (size_t i = 0; i < whole.count; i++) {
		const struct tensor *a = &whole.tensors[i], *b = weights_find(&parts, a->name);
		if (!b || b->bytes != a->bytes)
			fail_msg("%s is missing or other", a->name);
		else if (!b->swapped && memcmp(a->data, b->data, a->bytes) != 0)
			fail_msg("%s has other numbers", a->name);
	}
	weights_close(&whole);
	weights_close(&parts);
	free(file.data);
	list_free(list);
}

static void test_good(void **state)
{
	(void)state;
	struct list *list = write_model();
	check_model(in_folder(INDEX), "safetensors, 2 files");
	check_model(folder, "safetensors, 2 files");
	check_model(in_folder(""), "safetensors, 2 files"); /* with a slash */

	/* the folder of the index, not of the process */
	char before[512];
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(chdir(folder), 0);
	check_model(INDEX, "safetensors, 2 files");
	check_model(".", "safetensors, 2 files");
	assert_int_equal(chdir(before), 0);

	/* a single file in a folder, and one that says it is the only one */
	empty_folder();
	write_part("model.safetensors", list, 0, list->count);
	check_model(folder, "safetensors");
	empty_folder();
	write_part("model-00001-of-00001.safetensors", list, 0, list->count);
	check_model(in_folder("model-00001-of-00001.safetensors"), "safetensors");
	list_free(list);
}

static void test_bin(void **state)
{
	(void)state;
	struct list *list = write_model_as(INDEX_BIN, FIRST_BIN, SECOND_BIN);
	check_model(in_folder(INDEX_BIN), "PyTorch .pth, 2 files");
	check_model(folder, "PyTorch .pth, 2 files");
	refuse("one part alone", in_folder(SECOND_BIN), RWKVK_ERROR_FILE,
	       "this is part 2 of 2 of a model: open " INDEX_BIN ", which lies beside it");
	unlink(in_folder(INDEX_BIN));
	refuse("one part, no index", in_folder(FIRST_BIN), RWKVK_ERROR_FILE,
	       "open " INDEX_BIN ", which belongs beside it but is missing");

	/* if a folder has both, as many do, the safetensors files are used */
	list_free(write_model_as(INDEX_BIN, FIRST_BIN, SECOND_BIN));
	write_part("model.safetensors", list, 0, list->count);
	check_model(folder, "safetensors");

	/* one file, and one that says it is the only one */
	empty_folder();
	write_part("pytorch_model.bin", list, 0, list->count);
	check_model(folder, "PyTorch .pth");
	write_part("pytorch_model-00001-of-00001.bin", list, 0, list->count);
	check_model(in_folder("pytorch_model-00001-of-00001.bin"), "PyTorch .pth");
	list_free(list);
}

/* ---------------------------------------------------------------------------------------------------- bad ones */

/* Errors inside a file name that file, and the limits on contents apply to each file separately. */
static void test_bad_bins(void **state)
{
	(void)state;
	struct list *list = write_model_as(INDEX_BIN, FIRST_BIN, SECOND_BIN);
	size_t bytes;
	uint8_t *part = test_read_file(in_folder(SECOND_BIN), &bytes);
	for (size_t n = bytes; n > 0; n = n > 1000 ? n - 997 : n - 1) {
		assert_int_equal(truncate(in_folder(SECOND_BIN), (off_t)n - 1), 0);
		refuse("cut part", in_folder(INDEX_BIN), RWKVK_ERROR_FILE, "/" SECOND_BIN ": ");
	}
	test_write_file(in_folder(SECOND_BIN), "\x80\2}q", 4);
	refuse("a bare pickle", in_folder(INDEX_BIN), RWKVK_ERROR_UNSUPPORTED,
	       "/" SECOND_BIN ": expected a safetensors or PyTorch file, found a bare pickle, as PyTorch wrote before version 1.6");
	write_part(SECOND_BIN, list, 0, list->count);
	refuse("a tensor twice", in_folder(INDEX_BIN), RWKVK_ERROR_FILE,
	       "tensor model.embeddings.weight lies in " SECOND_BIN ", but the index puts it in another file");
	free(part);
	list_free(list);
}

static void test_missing_files(void **state)
{
	(void)state;
	list_free(write_model());
	refuse("one part alone", in_folder(FIRST), RWKVK_ERROR_FILE,
	       "this is part 1 of 2 of a model: open " INDEX ", which lies beside it");
	unlink(in_folder(SECOND));
	refuse("without a part", in_folder(INDEX), RWKVK_ERROR_FILE, "expected the file " SECOND " beside it, with ");
	unlink(in_folder(INDEX));
	refuse("one part, no index", in_folder(FIRST), RWKVK_ERROR_FILE, "open " INDEX ", which belongs beside it but is missing");
	empty_folder();
	refuse("empty folder", folder, RWKVK_ERROR_FILE,
	       "expected a folder with " INDEX ", model.safetensors, " INDEX_BIN " or pytorch_model.bin, found none of them");
}

/* Each index with the two files of the good one. */
static void test_bad_indexes(void **state)
{
	(void)state;
	static const struct {
		const char *index;
		rwkvk_status status;
		const char *text;
	} cases[] = {
		{ "{", RWKVK_ERROR_FILE, "found JSON that is not valid" },
		{ "{\"weight_map\":{}} x", RWKVK_ERROR_FILE, "found JSON that is not valid" },
		{ "{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}", RWKVK_ERROR_FILE, "duplicate object key" },
		{ "{\"weight_map\":{\"a\\u0000\":\"x\"}}", RWKVK_ERROR_FILE, "not valid" },
		{ "{}", RWKVK_ERROR_FILE, "an index of one with a \"weight_map\" of tensors, found JSON without it" },
		{ "{\"model_type\":\"rwkv7\"}", RWKVK_ERROR_FILE, "found JSON without it" },
		{ "{\"weight_map\":{}}", RWKVK_ERROR_FILE, "found JSON without it" },
		{ "{\"weight_map\":[]}", RWKVK_ERROR_FILE, "found JSON without it" },
		{ "{\"weight_map\":{\"a\":1}}", RWKVK_ERROR_FILE, "expected the name of a file for tensor a, found something else" },
		{ "{\"weight_map\":{\"a\\u001b\":[]}}", RWKVK_ERROR_FILE, "a file for tensor a?, found" },
		{ "{\"weight_map\":{\"a\":\"\"}}", RWKVK_ERROR_FILE, "expected files beside the index, found \"\" for tensor a" },
		{ "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", RWKVK_ERROR_FILE, "found \"/etc/passwd\" for tensor a" },
		{ "{\"weight_map\":{\"a\":\"../b.safetensors\"}}", RWKVK_ERROR_FILE, "expected files beside the index" },
		{ "{\"weight_map\":{\"a\":\"..\"}}", RWKVK_ERROR_FILE, "expected files beside the index" },
		{ "{\"weight_map\":{\"a\":\".\"}}", RWKVK_ERROR_FILE, "expected files beside the index" },
		{ "{\"weight_map\":{\"a\":\"b/c\"}}", RWKVK_ERROR_FILE, "expected files beside the index" },
		{ "{\"weight_map\":{\"a\":\"b\\\\c\"}}", RWKVK_ERROR_FILE, "expected files beside the index" },
		{ "{\"weight_map\":{\"a\":\"b\\u001b]0;\"}}", RWKVK_ERROR_FILE, "found \"b?]0;\" for tensor a" },
		{ "{\"weight_map\":{\"a\":\"none.safetensors\"}}", RWKVK_ERROR_FILE,
		  "expected the file none.safetensors beside it, with 1 tensors, found none" },
		{ "{\"weight_map\":{\"a\":\"" INDEX "\"}}", RWKVK_ERROR_FILE,
		  INDEX ": expected a safetensors or PyTorch file, found " },
		{ "{\"weight_map\":{\"a\":\"" FIRST "\"}}", RWKVK_ERROR_FILE,
		  "tensor model.embeddings.weight lies in " FIRST ", but the index does not know it" },
		{ "{\"weight_map\":{\"model.embeddings.weight\":\"" FIRST "\"}}", RWKVK_ERROR_FILE, "but the index does not know it" },
	};
	list_free(write_model());
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char what[32];
		snprintf(what, sizeof what, "index %zu", i);
		write_index(cases[i].index);
		refuse(what, in_folder(INDEX), cases[i].status, cases[i].text);
	}
}

/* The good index with a word replaced. */
static void refuse_edited(const char *what, const char *from, const char *to, const char *text)
{
	size_t bytes;
	char *index = (char *)test_read_file(in_folder(INDEX), &bytes), edited[8192];
	char *at = strstr(index, from);
	assert_non_null(at);
	snprintf(edited, sizeof edited, "%.*s%s%s", (int)(at - index), index, to, at + strlen(from));
	write_index(edited);
	refuse(what, in_folder(INDEX), RWKVK_ERROR_FILE, text);
	write_index(index);
	free(index);
}

static void test_disagreement(void **state)
{
	(void)state;
	struct list *list = write_model();
	refuse_edited("in the other file", "\"model.embeddings.weight\": \"" FIRST, "\"model.embeddings.weight\": \"" SECOND,
	              "tensor model.embeddings.weight lies in " FIRST ", but the index puts it in another file");
	refuse_edited("an unknown one", "\"lm_head.weight\"", "\"lm_head.weighs\"",
	              "tensor lm_head.weight lies in " SECOND ", but the index does not know it");
	refuse_edited("one too many", "\"lm_head.weight\"", "\"lm_head.bias\": \"" SECOND "\", \"lm_head.weight\"",
	              "expected tensor lm_head.bias in " SECOND ", found none: they do not belong together");
	write_part(SECOND, list, 0, list->count);
	refuse("a tensor twice", in_folder(INDEX), RWKVK_ERROR_FILE,
	       "tensor model.embeddings.weight lies in " SECOND ", but the index puts it in another file");
	list_free(list);
}

/* Errors inside a file name that file. */
static void test_bad_parts(void **state)
{
	(void)state;
	list_free(write_model());
	size_t bytes;
	uint8_t *part = test_read_file(in_folder(SECOND), &bytes);
	for (size_t n = bytes; n-- > 0;) {
		assert_int_equal(truncate(in_folder(SECOND), (off_t)n), 0);
		refuse("cut part", in_folder(INDEX), RWKVK_ERROR_FILE, "/" SECOND ": ");
	}
	test_write_file(in_folder(SECOND), "GGUF\3\0\0\0", 8);
	refuse("another format", in_folder(INDEX), RWKVK_ERROR_FILE, "/" SECOND ": expected a safetensors or PyTorch file");
	free(part);
}

static void test_truncated_index(void **state)
{
	(void)state;
	list_free(write_model());
	size_t bytes;
	uint8_t *index = test_read_file(in_folder(INDEX), &bytes);
	for (size_t n = 1; n < bytes - 1; n++) { /* the last byte is the end of the line */
		struct weights weights;
		uint8_t *copy = malloc(n);
		assert_non_null(copy);
		memcpy(copy, index, n);
		assert_fails(weights_open("cut", copy, n, NULL, &weights), RWKVK_ERROR_FILE,
		             "cut: expected a model or an index of one");
		free(copy);
	}
	free(index);
}

static void test_many_files(void **state)
{
	(void)state;
	char *index = malloc(1 << 17);
	assert_non_null(index);
	for (int files = 1024; files <= 1025; files++) {
		strcpy(index, "{\"weight_map\":{");
		size_t at = strlen(index);
		for (int i = 0; i < files; i++)
			at += (size_t)sprintf(index + at, "%s\"t%d\":\"f%d\"", i ? "," : "", i, i);
		strcpy(index + at, "}}");
		write_index(index);
		refuse("many files", in_folder(INDEX), files == 1024 ? RWKVK_ERROR_FILE : RWKVK_ERROR_UNSUPPORTED,
		       files == 1024 ? "expected the file f0 beside it" : "expected a model in at most 1024 files, found more");
	}
	free(index);
}

static void test_memory(void **state)
{
	(void)state;
	static const char index[] = "{\"weight_map\":{\"a\":\"b\"}}";
	struct weights weights;
	assert_fails(weights_open(NULL, index, sizeof index - 1, NULL, &weights), RWKVK_ERROR_UNSUPPORTED,
	             "embedded model: expected a whole model, found an index of files: open it by its path");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),         cmocka_unit_test(test_missing_files), cmocka_unit_test(test_bad_indexes),
		cmocka_unit_test(test_disagreement), cmocka_unit_test(test_bad_parts),     cmocka_unit_test(test_truncated_index),
		cmocka_unit_test(test_many_files),   cmocka_unit_test(test_memory),        cmocka_unit_test(test_bin),
		cmocka_unit_test(test_bad_bins),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
