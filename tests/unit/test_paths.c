/* File names: those that not all systems accept as they are, and replacing a file that is in use. */
#include "support.h"

#include <stdio.h>
#include <unistd.h>

#include "base/folder.h"

static const char umlauts[] = "m\xc3\xb6"
							  "del-\xe6\xa8\xa1\xe5\x9e\x8b.bin"; /* two letters of Latin and two of Chinese */

static void write_text(const char *path, const char *text)
{
	assert_ok(file_write(path, text, strlen(text), NULL, 0));
}

static void expect_text(const char *path, const char *text)
{
	struct mapping file;
	assert_ok(file_map(path, &file));
	assert_int_equal(file.bytes, strlen(text));
	assert_memory_equal(file.data, text, strlen(text));
	file_unmap(&file);
}

static void count_one(void *user, const struct folder_file *file, uint64_t now)
{
	int *found = user;
	assert_true(file->used <= now + 1000000000 && now - file->used < UINT64_C(1000000000) * 3600);
	*found += strcmp(file->name, umlauts) == 0 && file->bytes == 5;
	*found += 100 * (strcmp(file->name, "other") == 0);
}

static void test_unicode(void **state)
{
	(void)state;
	int found = 0;
	char *folder = strdup(test_temp("\xc3\xbc\xe6\x96\x87")), *path;
	assert_ok(folder_make(folder));
	path = file_join(folder, strlen(folder), umlauts);
	write_text(path, "first");
	expect_text(path, "first");
	assert_int_equal(file_kind(path), FILE_REGULAR);
	assert_int_equal(file_kind(folder), FILE_FOLDER);
	file_touch(path);
	folder_list(folder, count_one, &found);
	assert_int_equal(found, 1);
	assert_true(file_remove(path));
	assert_false(file_remove(path));
	assert_int_equal(file_kind(path), FILE_MISSING);
	assert_int_equal(rmdir(folder), 0);
	free(path);
	free(folder);
}

/* Longer than Windows accepts by default: six folders of 100 letters. */
static void test_long(void **state)
{
	(void)state;
	char name[101];
	char *path = strdup(test_temp("long"));
	memset(name, 'n', 100);
	name[100] = 0;
	for (int i = 0; i < 7; i++) {
		char *longer = file_join(path, strlen(path), name);
		free(path);
		path = longer;
	}
	file_make_folders(path);
	write_text(path, "far below");
	expect_text(path, "far below");
	assert_string_equal(file_part(path), name);
	assert_true(file_remove(path));
	for (int i = 0; i < 7; i++) {
		path[file_part(path) - path - 1] = 0;
		assert_int_equal(rmdir(path), 0);
	}
	free(path);
}

static void test_replace_in_use(void **state)
{
	(void)state;
	struct mapping before;
	const char *path = test_temp("in-use");
	write_text(path, "old content");
	assert_ok(file_map(path, &before));
	assert_true(file_is_mapped(path, &before));
	write_text(path, "new");
	expect_text(path, "new");
	assert_false(file_is_mapped(path, &before));
	assert_memory_equal(before.data, "old content", before.bytes);
	file_unmap(&before);
}

/* The same file under another name, and one that only looks the same. */
static void test_identity(void **state)
{
	(void)state;
	struct mapping file;
	char other[600];
	const char *path = test_temp("one");
	snprintf(other, sizeof other, "%s/./one", test_temp(""));
	write_text(path, "text");
	write_text(test_temp("two"), "text");
	assert_ok(file_map(path, &file));
	assert_true(file_is_mapped(other, &file));
	assert_false(file_is_mapped(test_temp("two"), &file));
	assert_false(file_is_mapped(test_temp("three"), &file));
	file_unmap(&file);
}

static void test_parts(void **state)
{
	(void)state;
	assert_string_equal(file_part("a/b.c"), "b.c");
	assert_string_equal(file_part("b.c"), "b.c");
	assert_string_equal(file_part("a/"), "");
#ifdef _WIN32
	assert_string_equal(file_part("a\\b/c\\d.e"), "d.e");
	assert_string_equal(file_part("c:d.e"), "d.e");
	struct mapping file;
	assert_fails(file_map("a\xff", &file), RWKVK_ERROR_FILE, "its name is not UTF-8");
#else
	assert_string_equal(file_part("a\\b"), "a\\b");
#endif
	char *joined = file_join("a/", 2, "b");
	assert_string_equal(joined, "a/b");
	free(joined);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unicode),  cmocka_unit_test(test_long),  cmocka_unit_test(test_replace_in_use),
		cmocka_unit_test(test_identity), cmocka_unit_test(test_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
