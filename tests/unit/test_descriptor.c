/* Models in files that the caller has open, whole or as part of a larger file. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "format/readers.h"
#include "make_files.h"
#include "make_model.h"
#include "rwkvk.h"
#include "rwkvk_tools.h"
#include "support.h"

#ifdef _WIN32

static void windows_refuses(void **state)
{
	(void)state;
	rwkvk_file *file;
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .fd = 3 }, &file), RWKVK_ERROR_UNSUPPORTED,
	             "file descriptor 3: cannot be used: another C library may have given the number");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(windows_refuses) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static const struct model_spec small = {
	.layers = 1,
	.width = 16,
	.head_size = 16,
	.ffn = 32,
	.vocab = 300,
	.rank_decay = 8,
	.rank_iclr = 8,
	.rank_gate = 8,
	.rank_value = 8,
	.seed = 1,
};

static char *model_path;
static size_t model_bytes;

static int make(void **state)
{
	(void)state;
	model_path = strdup(test_temp("model.gguf")); /* its room is used again after some calls */
	make_model(model_path, &small);
	free(test_read_file(model_path, &model_bytes));
	return 0;
}

static int drop(void **state)
{
	(void)state;
	free(model_path);
	return 0;
}

/* The model with `before` and `after` bytes around it. */
static const char *surround(size_t before, size_t after)
{
	const char *path = test_temp("larger");
	size_t bytes;
	uint8_t *model = test_read_file(model_path, &bytes), *whole = malloc(before + bytes + after);
	memset(whole, 'G', before + bytes + after);
	memcpy(whole + before, model, bytes);
	test_write_file(path, whole, before + bytes + after);
	free(model);
	free(whole);
	return path;
}

static int open_path(const char *path, int flags)
{
	int fd = open(path, flags);
	assert_true(fd > 0);
	return fd;
}

/* The same tensors as in the file opened by its path. */
static void assert_same(const struct weights *got)
{
	struct weights want;
	assert_ok(weights_open(model_path, NULL, 0, NULL, &want));
	assert_int_equal(got->count, want.count);
	for (size_t i = 0; i < want.count; i++) {
		assert_string_equal(got->tensors[i].name, want.tensors[i].name);
		assert_int_equal(got->tensors[i].bytes, want.tensors[i].bytes);
		assert_memory_equal(got->tensors[i].data, want.tensors[i].data, want.tensors[i].bytes);
	}
	weights_close(&want);
}

/* Offsets that are multiples of a page and that are not; read and mapped; the descriptor is closed before the model is used. */
static void parts_of_files(void **state)
{
	(void)state;
	static const size_t befores[] = { 0, 1, 4095, 4096, 16384, 16384 + 4097 }, afters[] = { 0, 7, 5000 };
	for (size_t i = 0; i < 36; i++) {
		size_t before = befores[i % 6], after = afters[i / 6 % 3];
		struct weights weights;
		int fd = open_path(surround(before, after), O_RDONLY);
		assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
		const struct descriptor from = { fd, before, after ? model_bytes : 0 };
		assert_ok(weights_open_descriptor(&from, NULL, i >= 18, NULL, &weights));
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 5);
		close(fd);
		assert_same(&weights);
		weights_close(&weights);
	}
}

static void options_have_it(void **state)
{
	(void)state;
	rwkvk_file *file;
	rwkvk_model_info info = { .size = sizeof info };
	int fd = open_path(surround(100, 100), O_RDONLY);
	rwkvk_model_options options = { .fd = fd, .fd_offset = 100, .fd_length = model_bytes };
	assert_ok(rwkvk_file_open(&options, &file));
	assert_ok(rwkvk_file_get_info(file, &info));
	assert_int_equal(info.vocab, 300);
	rwkvk_file_close(file);
	options.fd_offset = 99;
	options.path = "chosen.gguf";
	assert_fails(rwkvk_file_open(&options, &file), RWKVK_ERROR_FILE, "chosen.gguf: expected a model in GGUF");
	close(fd);
}

static void assert_refused(rwkvk_model_options options, const char *text)
{
	rwkvk_file *file;
	char name[48];
	snprintf(name, sizeof name, "file descriptor %d: ", options.fd);
	assert_fails(rwkvk_file_open(&options, &file), RWKVK_ERROR_FILE, text);
	test_assert_error_contains(name, __FILE__, __LINE__);
	options.read_file = true;
	assert_fails(rwkvk_file_open(&options, &file), RWKVK_ERROR_FILE, text);
}

static void sizes_that_do_not_fit(void **state)
{
	(void)state;
	char text[100];
	int fd = open_path(model_path, O_RDONLY);
	snprintf(text, sizeof text, "expected 1 bytes or more from byte %zu on, found a file of %zu", model_bytes, model_bytes);
	assert_refused((rwkvk_model_options){ .fd = fd, .fd_offset = model_bytes }, text);
	snprintf(text, sizeof text, "expected %zu bytes or more from byte 1 on, found a file of %zu", model_bytes, model_bytes);
	assert_refused((rwkvk_model_options){ .fd = fd, .fd_offset = 1, .fd_length = model_bytes }, text);
	assert_refused((rwkvk_model_options){ .fd = fd, .fd_offset = UINT64_MAX, .fd_length = 2 }, "expected 2 bytes or more");
	assert_refused((rwkvk_model_options){ .fd = fd, .fd_length = UINT64_MAX }, "bytes or more from byte 0 on");
	assert_refused((rwkvk_model_options){ .fd = fd, .fd_length = model_bytes / 2 }, "");
	close(fd);
}

static void what_is_no_file(void **state)
{
	(void)state;
	int ends[2], fd = open_path(test_temp("."), O_RDONLY);
	assert_refused((rwkvk_model_options){ .fd = fd }, "is a directory; a regular file is needed");
	close(fd);
	assert_refused((rwkvk_model_options){ .fd = fd }, "cannot be examined: ");
	assert_int_equal(pipe(ends), 0);
	assert_refused((rwkvk_model_options){ .fd = ends[0] }, "is not a regular file; a regular file is needed");
	close(ends[0]);
	close(ends[1]);
	fd = open_path(model_path, O_WRONLY);
	assert_refused((rwkvk_model_options){ .fd = fd }, "cannot be ");
	close(fd);
	test_write_file(test_temp("empty"), "", 0);
	fd = open_path(test_temp("empty"), O_RDONLY);
	assert_refused((rwkvk_model_options){ .fd = fd }, "is empty");
	close(fd);
}

static void options_that_contradict(void **state)
{
	(void)state;
	rwkvk_file *file;
	const rwkvk_tools_options shape = { .shape = "2x64" };
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .fd = -1 }, &file), RWKVK_ERROR_ARGUMENT, "fd is -1");
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .path = model_path, .fd_length = 1 }, &file), RWKVK_ERROR_ARGUMENT,
	             "without fd");
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .path = model_path, .fd_offset = 1 }, &file), RWKVK_ERROR_ARGUMENT,
	             "without fd");
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .fd = 5, .data = "GGUF", .data_bytes = 4 }, &file),
	             RWKVK_ERROR_ARGUMENT, "fd or .data");
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .fd = 5, .tools = &shape }, &file), RWKVK_ERROR_ARGUMENT, "2 models");
}

#ifdef RWKVK_SAFETENSORS
/* A name that looks like one of several files: the others are not searched for in the current folder. */
static void nothing_lies_beside_it(void **state)
{
	(void)state;
	static const struct list_sizes sizes = { .vocab = 20, .width = 16, .head_size = 8, .ffn = 32, .layers = 1, .rank = 4 };
	struct list *list = list_official("7", &sizes);
	struct file_bytes bytes = write_safetensors(list, DTYPE_F32);
	const char *path = test_temp("model-00001-of-00002.safetensors");
	rwkvk_file *file;
	test_write_file(path, bytes.data, bytes.bytes);
	free(bytes.data);
	list_free(list);
	assert_fails(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file), RWKVK_ERROR_FILE, "part 1 of 2");
	int fd = open_path(path, O_RDONLY);
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path, .fd = fd }, &file));
	rwkvk_file_close(file);
	close(fd);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_of_files),          cmocka_unit_test(options_have_it),
		cmocka_unit_test(sizes_that_do_not_fit),   cmocka_unit_test(what_is_no_file),
		cmocka_unit_test(options_that_contradict),
#ifdef RWKVK_SAFETENSORS
		cmocka_unit_test(nothing_lies_beside_it),
#endif
	};
	return cmocka_run_group_tests(tests, make, drop);
}

#endif
