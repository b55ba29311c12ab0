/* Exported files on disk: with any number of threads, when writing is not permitted, and when it is cancelled, killed, or
 * fails. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#ifndef _WIN32
#include <sys/wait.h>
#endif

#include "base/folder.h"
#include "make_files.h"
#include "make_model.h"
#include "network/outline.h"
#include "support.h"

static const struct model_spec wide = {
	.version = 70,
	.layers = 2,
	.width = 256,
	.head_size = 64,
	.ffn = 512,
	.vocab = 264,
	.rank_decay = 32,
	.rank_iclr = 32,
	.rank_gate = 64,
	.rank_value = 32,
	.rank_mix = 32,
	.type = DTYPE_F32,
	.lora_type = DTYPE_F16,
	.seed = 3,
};

static rwkvk_file *reopen(const char *path)
{
	rwkvk_file *file = NULL;
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file));
	return file;
}

static uint64_t exported(const rwkvk_file *file, const char *path, rwkvk_export_type type, uint32_t threads)
{
	size_t bytes;
	assert_ok(rwkvk_file_export(file, path, &(rwkvk_export_options){ .type = type, .threads = threads }));
	free(test_read_file(path, &bytes));
	return bytes;
}

struct rests {
	const char *name; /* of the file that they are of */
	int count;
};

static void remove_rest(void *user, const struct folder_file *file, uint64_t now)
{
	struct rests *rests = user;
	size_t length = strlen(file->name), prefix = strlen(rests->name);
	(void)now;
	if (strncmp(file->name, rests->name, prefix) != 0 || length < prefix + 4 || strcmp(file->name + length - 4, ".tmp") != 0)
		return;
	assert_int_equal(unlink(test_temp(file->name)), 0);
	rests->count++;
}

/* How many temporary files of this one there were. */
static int remove_rests(const char *path)
{
	struct rests rests = { .name = file_part(path) };
	folder_list(test_temp(""), remove_rest, &rests);
	return rests.count;
}

static void assert_absent(const char *path)
{
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(remove_rests(path), 0);
}

static void test_threads(void **state)
{
	(void)state;
	struct model_spec spec = wide;
	const char *in = test_temp("large.gguf"), *out = test_temp("threads.gguf");
	size_t bytes, other_bytes;
	spec.vocab = 4096;
	spec.type = DTYPE_F16;
	make_model(in, &spec);
	rwkvk_file *file = reopen(in);
	exported(file, out, RWKVK_EXPORT_Q4_0, 1);
	uint8_t *one = test_read_file(out, &bytes);
	for (uint32_t threads = 0; threads < 100; threads = 2 * threads + 2) {
		exported(file, out, RWKVK_EXPORT_Q4_0, threads);
		uint8_t *other = test_read_file(out, &other_bytes);
		assert_int_equal(bytes, other_bytes);
		assert_memory_equal(one, other, bytes);
		free(other);
	}
	free(one);
	rwkvk_file_close(file);
}

static void test_refused(void **state)
{
	(void)state;
	const char *in = test_temp("in.gguf"), *link_name = test_temp("link.gguf");
	const struct list_sizes sizes = { .vocab = 7, .width = 12, .head_size = 4, .ffn = 20, .layers = 2, .rank = 5 };
	make_model(in, &wide);
	rwkvk_file *file = reopen(in);
	assert_int_equal(link(in, link_name), 0);
	assert_fails(rwkvk_file_export(file, in, NULL), RWKVK_ERROR_FILE, "in.gguf: is the model being read; give the new file");
	assert_fails(rwkvk_file_export(file, link_name, NULL), RWKVK_ERROR_FILE, "link.gguf: is the model being read");
#ifndef _WIN32 /* where few may make such links */
	const char *soft = test_temp("soft.gguf");
	assert_int_equal(symlink(in, soft), 0);
	assert_fails(rwkvk_file_export(file, soft, NULL), RWKVK_ERROR_FILE, "soft.gguf: is the model being read");
#endif
	assert_fails(rwkvk_file_export(file, "model.bin", NULL), RWKVK_ERROR_ARGUMENT,
	             "model.bin: expected a name that ends in .gguf or .safetensors");
	assert_fails(rwkvk_file_export(file, test_temp("x.safetensors"), &(rwkvk_export_options){ .type = RWKVK_EXPORT_Q8_0 }),
	             RWKVK_ERROR_UNSUPPORTED, "x.safetensors: safetensors files hold F32, F16 and BF16; write a .gguf file");
	const char *folder = test_temp("folder.gguf");
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_fails(rwkvk_file_export(file, folder, NULL), RWKVK_ERROR_FILE,
	             "folder.gguf: cannot be written: it is a directory; give the name of a file");
	assert_int_equal(rmdir(folder), 0);
	assert_fails(rwkvk_file_export(file, test_nowhere("x.gguf"), NULL), RWKVK_ERROR_FILE,
	             "/nowhere/x.gguf: cannot be written: No such file or directory: give a path in a folder that exists");
	rwkvk_file_close(file);

	/* numbers that a type does not hold */
	static const float bad[] = { 70000, -70000, NAN, INFINITY };
	for (size_t i = 0; i < 4; i++) {
		struct list *list = list_official("7", &sizes);
		list_find(list, "blocks.1.ffn.key.weight")->values[3] = bad[i];
		struct file_bytes bytes = write_safetensors(list, DTYPE_F32);
		list_free(list);
		const rwkvk_model_options options = { .path = "bad.safetensors", .data = bytes.data, .data_bytes = bytes.bytes };
		assert_ok(rwkvk_file_open(&options, &file));
		const char *out = test_temp("bad.gguf");
		assert_fails(
			rwkvk_file_export(file, out, &(rwkvk_export_options){ .type = RWKVK_EXPORT_F16 }), RWKVK_ERROR_FILE,
			"bad.safetensors: tensor blocks.1.ffn.key.weight has numbers that are not finite or too large for F16, which "
			"holds less than 65520: choose BF16 or F32");
		assert_absent(out);
		exported(file, out, RWKVK_EXPORT_KEEP, 1);
		assert_int_equal(unlink(out), 0);
		rwkvk_file_close(file);
		free(bytes.data);
	}
}

static uint64_t stop_at;
static void (*stop)(void); /* NULL: by cancelling */

static bool stop_half_way(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	assert_true(done <= total);
	if (done < total / 2 || stop_at)
		return true;
	stop_at = done;
	if (stop)
		stop();
	return false;
}

static void test_cancelled(void **state)
{
	(void)state;
	const char *in = test_temp("whole.gguf"), *out = test_temp("half.gguf");
	make_model(in, &wide);
	rwkvk_file *file = reopen(in);
	const rwkvk_export_options options = { .type = RWKVK_EXPORT_Q8_0, .progress = stop_half_way };
	stop_at = 0;
	stop = NULL;
	assert_fails(rwkvk_file_export(file, out, &options), RWKVK_CANCELLED, "half.gguf: writing was cancelled");
	assert_absent(out);
	rwkvk_file_close(file);
}

/* Windows has neither processes that are copied nor system calls that a linker replaces. */
#ifndef _WIN32
static void kill_this(void)
{
	kill(getpid(), SIGKILL);
}

/* Killed half-way: the old file is still there, or no file is. */
static void test_killed(void **state)
{
	(void)state;
	const char *in = test_temp("whole.gguf"), *out = test_temp("killed.gguf");
	const rwkvk_export_options options = { .type = RWKVK_EXPORT_Q8_0, .progress = stop_half_way };
	make_model(in, &wide);
	for (int existing = 0; existing < 2; existing++) {
		rwkvk_file *file = reopen(in);
		if (existing)
			test_write_file(out, "before", 6);
		stop_at = 0;
		stop = kill_this;
		pid_t child = fork();
		if (child == 0) {
			rwkvk_file_export(file, out, &options);
			_exit(0);
		}
		int how;
		assert_int_equal(waitpid(child, &how, 0), child);
		assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
		assert_int_equal(access(out, F_OK), existing ? 0 : -1);
		if (existing) {
			size_t bytes;
			uint8_t *data = test_read_file(out, &bytes);
			assert_int_equal(bytes, 6);
			assert_memory_equal(data, "before", 6);
			free(data);
		}
		exported(file, out, RWKVK_EXPORT_Q8_0, 1); /* what remains does no harm */
		rwkvk_file_close(reopen(out));
		assert_int_equal(remove_rests(out), 1);
		assert_int_equal(unlink(out), 0);
		rwkvk_file_close(file);
	}
}

/* The linker puts these in the place of the system's (CMakeLists.txt). */
static int fail_write_after = -1, fail_sync, write_error;

ssize_t __real_write(int fd, const void *data, size_t bytes);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);
int __wrap_fsync(int fd);

ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
	if (fail_write_after == 0) {
		errno = write_error;
		return -1;
	}
	if (fail_write_after > 0 && --fail_write_after % 2) /* as on a disk that is nearly full: less than asked for */
		bytes = (bytes + 1) / 2;
	return __real_write(fd, data, bytes);
}

int __wrap_fsync(int fd)
{
	(void)fd;
	errno = fail_sync;
	return fail_sync ? -1 : 0; /* hundreds of small files need no disk */
}

static void test_failing_disk(void **state)
{
	(void)state;
	static const struct {
		int error;
		const char *text;
	} cases[] = { { ENOSPC, " bytes: make room, or give a path on another drive" },
		          { EIO, " bytes: the drive or its connection failed; give a path on another one" },
		          { EFBIG, " bytes: the file system, or a limit of this process (ulimit -f), allows no file of this size" } };
	const char *in = test_temp("whole.gguf"), *out = test_temp("full.gguf");
	make_model(in, &wide);
	rwkvk_file *file = reopen(in);
	const rwkvk_export_options options = { .type = RWKVK_EXPORT_Q8_0 };
	for (size_t i = 0; i < 3; i++) {
		fail_write_after = 9;
		write_error = cases[i].error;
		rwkvk_status status = rwkvk_file_export(file, out, &options);
		fail_write_after = -1;
		assert_fails(status, RWKVK_ERROR_FILE, cases[i].text);
		test_assert_error_contains("full.gguf: cannot be written: ", __FILE__, __LINE__);
		test_assert_error_contains(strerror(cases[i].error), __FILE__, __LINE__);
		assert_absent(out);
	}
	fail_sync = EIO;
	rwkvk_status status = rwkvk_file_export(file, out, &options);
	fail_sync = 0;
	assert_fails(status, RWKVK_ERROR_FILE, "full.gguf: cannot be written: Input/output error after");
	assert_absent(out);
	fail_write_after = 1000; /* short writes alone are not failures */
	exported(file, out, RWKVK_EXPORT_KEEP, 1);
	fail_write_after = -1;
	rwkvk_file *back = reopen(out);
	for (size_t i = 0; i < file->weights.count; i++) {
		const struct tensor *a = &file->weights.tensors[i], *b = weights_find(&back->weights, a->name);
		if (a->type != b->type) /* w1 and w2 are F32 now */
			continue;
		assert_int_equal(a->bytes, b->bytes);
		assert_memory_equal(a->data, b->data, a->bytes);
	}
	rwkvk_file_close(back);
	rwkvk_file_close(file);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads), cmocka_unit_test(test_refused),      cmocka_unit_test(test_cancelled),
#ifndef _WIN32
		cmocka_unit_test(test_killed),  cmocka_unit_test(test_failing_disk),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
