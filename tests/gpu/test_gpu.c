/* The GPU layer by itself: choice of device, buffers and transfers, pipelines and their cache, commands, counters, errors.
 * Runs under Khronos validation where that is installed (see tests/CMakeLists.txt), and then checks that it listens. */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "fill.h"
#include "gpu/gpu.h"

static char base_caps[256]; /* RWKVK_CAPS as the test was started with */

/* Opens the default device, RWKVK_CAPS extended by `more`. */
static struct gpu *open_gpu(const char *more, struct gpu_options options)
{
	char caps[512];
	snprintf(caps, sizeof caps, "%s%s%s", base_caps, *base_caps && *more ? "," : "", more);
	setenv("RWKVK_CAPS", caps, 1);
	struct gpu *gpu;
	assert_ok(gpu_open(&options, &gpu));
	setenv("RWKVK_CAPS", base_caps, 1);
	return gpu;
}

static struct gpu_buffer make(struct gpu *gpu, uint64_t bytes, enum gpu_memory memory)
{
	struct gpu_buffer buffer;
	assert_ok(gpu_buffer_create(gpu, bytes, memory, "test", &buffer));
	assert_non_null(buffer.vk);
	assert_int_equal(buffer.bytes, bytes);
	return buffer;
}

static struct gpu_pipeline *adder(struct gpu *gpu, uint32_t add)
{
	struct gpu_pipeline *pipeline;
	uint32_t constants[] = { 64, add };
	assert_ok(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline));
	return pipeline;
}

static struct gpu_set *set_of(struct gpu *gpu, struct gpu_buffer *from, struct gpu_buffer *to)
{
	struct gpu_set *set;
	const struct gpu_binding bindings[GPU_BINDINGS] = { { .buffer = from }, { .buffer = to } };
	assert_ok(gpu_set_create(gpu, bindings, to, &set));
	return set;
}

static void dispatch(struct gpu_cmd *cmd, struct gpu_pipeline *pipeline, struct gpu_set *set, uint32_t words, const char *stage)
{
	gpu_cmd_dispatch(cmd, pipeline, set, &words, sizeof words, (struct gpu_groups){ (words + 63) / 64, 1 }, stage,
	                 (uint64_t)words * 8);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---------------------------------------------------------------------------------------------------- base/file.c */

static void files(void **state)
{
	(void)state;
	struct mapping mapping;
	const char *path = test_temp("file");
	assert_fails(file_map(path, &mapping), RWKVK_ERROR_FILE, path);
	assert_fails(file_map("/", &mapping), RWKVK_ERROR_FILE, "directory");
	assert_fails(file_map("/dev/null", &mapping), RWKVK_ERROR_FILE, "not a regular file");
	test_write_file(path, "", 0);
	assert_fails(file_map(path, &mapping), RWKVK_ERROR_FILE, "is empty");
	assert_null(mapping.data);
	file_unmap(&mapping);

	assert_ok(file_write(path, "head", 4, "body!", 5));
	assert_ok(file_map(path, &mapping));
	assert_int_equal(mapping.bytes, 9);
	assert_memory_equal(mapping.data, "headbody!", 9);
	assert_ok(file_write(path, "new", 3, NULL, 0)); /* the old content stays mapped */
	assert_memory_equal(mapping.data, "headbody!", 9);
	file_unmap(&mapping);
	assert_ok(file_map(path, &mapping));
	assert_int_equal(mapping.bytes, 3);
	file_unmap(&mapping);
	assert_ok(file_read(path, &mapping)); /* contents already read stay, whatever happens to the file */
	assert_true(file_is_mapped(path, &mapping));
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(mapping.bytes, 3);
	assert_memory_equal(mapping.data, "new", 3);
	file_unmap(&mapping);
	assert_null(mapping.data);
	assert_fails(file_read(path, &mapping), RWKVK_ERROR_FILE, "is empty");
	assert_fails(file_write(test_nowhere("x"), "a", 1, NULL, 0), RWKVK_ERROR_FILE, "/nowhere/x: cannot be written");
	if (geteuid() != 0) {
		chmod(path, 0);
		assert_fails(file_map(path, &mapping), RWKVK_ERROR_FILE, "cannot be opened");
	}
	mkfifo(test_temp("fifo"), 0600);
	assert_fails(file_map(test_temp("fifo"), &mapping), RWKVK_ERROR_FILE, "not a regular file"); /* and does not wait */
	if (access("/dev/full", W_OK) == 0) {
		assert_fails(file_write("/dev/full", "a", 1, NULL, 0), RWKVK_ERROR_FILE, "/dev/full: cannot be written: No space left");
		assert_int_equal(access("/dev/full", F_OK), 0);
	}
}

static void assert_holds(const char *path, const char *text)
{
	size_t bytes;
	uint8_t *data = test_read_file(path, &bytes);
	assert_int_equal(bytes, strlen(text));
	assert_memory_equal(data, text, bytes);
	free(data);
}

static void two_writers(void **state)
{
	(void)state;
	struct file_writer a, b;
	const char *path = test_temp("shared");
	assert_ok(file_create(path, 6, &a));
	assert_ok(file_append(&a, "one", 3));
	assert_ok(file_create(path, 2, &b));
	assert_ok(file_append(&b, "tw", 2));
	assert_ok(file_append(&a, "one", 3));
	assert_ok(file_commit(&a));
	assert_holds(path, "oneone");
	assert_ok(file_commit(&b));
	assert_holds(path, "tw");
	assert_ok(file_create(path, 1, &a));
	char *temporary = strdup(a.temporary);
	file_remove_temporaries();
	assert_int_equal(access(temporary, F_OK), -1);
	file_give_up(&a);
	free(temporary);
	assert_holds(path, "tw");
}

/* Nobody who may write to the folder can redirect what is written, or make the writer wait. */
static void nobody_redirects(void **state)
{
	(void)state;
	struct file_writer file;
	char next[512];
	const char *victim = test_temp("victim"), *path = test_temp("aimed");
	test_write_file(victim, "safe", 4);
	assert_int_equal(symlink(victim, test_temp("aimed.tmp")), 0);
	assert_ok(file_create(path, 1, &file)); /* the next two names are known from this one's */
	unsigned number = (unsigned)strtoul(strrchr(file.temporary, '-') + 1, NULL, 10);
	file_give_up(&file);
	for (unsigned i = 1; i <= 2; i++) {
		snprintf(next, sizeof next, "%s.%ld-%u.tmp", path, (long)getpid(), number + i);
		assert_int_equal(i == 1 ? symlink(victim, next) : mkfifo(next, 0600), 0);
	}
	assert_ok(file_write(path, "new", 3, NULL, 0));
	assert_holds(path, "new");
	assert_holds(victim, "safe");
}

static void pipes_are_written(void **state)
{
	(void)state;
	char text[4] = "";
	const char *path = test_temp("pipe");
	assert_int_equal(mkfifo(path, 0600), 0);
	int fd = open(path, O_RDWR);
	assert_ok(file_write(path, "abc", 3, NULL, 0));
	assert_int_equal(read(fd, text, 3), 3);
	assert_string_equal(text, "abc");
	close(fd);
	assert_int_equal(file_kind(path), FILE_OTHER);
	assert_ok(file_write("/dev/null", "abc", 3, NULL, 0));
	assert_int_equal(file_kind("/dev/null"), FILE_OTHER);
}

/* ---------------------------------------------------------------------------------------------------- devices */

static void device_choice(void **state)
{
	(void)state;
	rwkvk_device_info infos[16] = { { 0 } };
	size_t count, defaults = 0, best = 0;
	assert_ok(gpu_list(infos, 16, &count));
	assert_in_range(count, 1, 16);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(infos[i].index, i);
		assert_true(infos[i].name[0] != 0);
		assert_int_equal(infos[i].usable, infos[i].reason[0] == 0);
		if (infos[i].is_default) {
			defaults++;
			best = i;
		}
	}
	assert_int_equal(defaults, 1);
	size_t again;
	assert_ok(gpu_list(NULL, 0, &again));
	assert_int_equal(again, count);

	char index[16], part[8], upper[8];
	snprintf(index, sizeof index, "%zu", best);
	snprintf(part, sizeof part, "%.6s", infos[best].name);
	for (size_t i = 0; i < sizeof part; i++)
		upper[i] = (char)(part[i] >= 'a' && part[i] <= 'z' ? part[i] - 32 : part[i]);
	const char *choices[] = { NULL, "", index, part, upper, infos[best].name };
	for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
		struct gpu *gpu = open_gpu("", (struct gpu_options){ .device = choices[i] });
		assert_string_equal(gpu_caps(gpu)->name, infos[best].name);
		assert_int_equal(gpu_caps(gpu)->max_invocations, infos[best].max_workgroup_invocations);
		gpu_close(gpu);
	}

	struct gpu *gpu = (struct gpu *)&count;
	assert_fails(gpu_open(&(struct gpu_options){ .device = "no such thing" }, &gpu), RWKVK_ERROR_DEVICE,
	             "\"no such thing\" is neither");
	assert_null(gpu);
	test_assert_error_contains(infos[best].name, __FILE__, __LINE__);
	assert_fails(gpu_open(&(struct gpu_options){ .device = "77" }, &gpu), RWKVK_ERROR_DEVICE, infos[best].name);
	assert_fails(gpu_open(&(struct gpu_options){ .device = "99999999999999999999" }, &gpu), RWKVK_ERROR_DEVICE,
	             "there is no device 99999999999999999999; the Vulkan devices here are:");

	setenv("RWKVK_DEVICE", "nonsense", 1);
	assert_fails(gpu_open(&(struct gpu_options){ 0 }, &gpu), RWKVK_ERROR_DEVICE, "\"nonsense\" is neither");
	gpu = open_gpu("", (struct gpu_options){ .device = index }); /* an option goes before the environment */
	gpu_close(gpu);
	assert_ok(gpu_list(infos, 16, &count));
	for (size_t i = 0; i < count; i++)
		assert_false(infos[i].is_default);
	setenv("RWKVK_DEVICE", index, 1);
	gpu_close(open_gpu("", (struct gpu_options){ 0 }));
	unsetenv("RWKVK_DEVICE");
	gpu_close(NULL);
}

static void caps_override(void **state)
{
	(void)state;
	struct gpu *gpu;
	const struct {
		const char *caps, *text;
		rwkvk_status status;
	} bad[] = {
		{ "no-subgroup", "\"no-subgroup\" is not understood", RWKVK_ERROR_ARGUMENT },
		{ "no-subgroups,invocation=128", "no-subgroups, no-texels, no-size-control", RWKVK_ERROR_ARGUMENT },
		{ "invocations=", "\"invocations=\"", RWKVK_ERROR_ARGUMENT },
		{ "invocations=0", "\"invocations=0\"", RWKVK_ERROR_ARGUMENT },
		{ "invocations=-1", "\"invocations=-1\"", RWKVK_ERROR_ARGUMENT },
		{ "shared=1k", "\"shared=1k\"", RWKVK_ERROR_ARGUMENT },
		{ "range=99999999999999999999999", "is not understood", RWKVK_ERROR_ARGUMENT },
		{ "invocations=100000", "invocations=100000 is more than the device's", RWKVK_ERROR_DEVICE },
		{ "buffer=8000000000", "can only lower: no-subgroups", RWKVK_ERROR_DEVICE },
		{ "memory=999999999999999999", "memory=999999999999999999 is more", RWKVK_ERROR_DEVICE },
		{ "invocations=64", "maxComputeWorkGroupInvocations is 64, at least 128 is needed", RWKVK_ERROR_DEVICE },
		{ "shared=8192", "maxComputeSharedMemorySize is 8192, at least 16384", RWKVK_ERROR_DEVICE },
		{ "range=1000", "maxStorageBufferRange is 1000, at least 65536", RWKVK_ERROR_DEVICE },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		setenv("RWKVK_CAPS", bad[i].caps, 1);
		assert_fails(gpu_open(&(struct gpu_options){ 0 }, &gpu), bad[i].status, bad[i].text);
		assert_fails(gpu_open(&(struct gpu_options){ .device = "0" }, &gpu), bad[i].status, bad[i].text);
		rwkvk_device_info info = { 0 };
		size_t count;
		if (bad[i].status == RWKVK_ERROR_ARGUMENT)
			assert_fails(gpu_list(&info, 1, &count), bad[i].status, bad[i].text);
		else {
			assert_ok(gpu_list(&info, 1, &count));
			assert_false(info.usable || info.is_default);
			assert_non_null(strstr(info.reason, bad[i].text));
		}
	}
	setenv("RWKVK_CAPS",
	       "no-subgroups,,no-texels,no-size-control,no-unified,no-timestamps,invocations=128,shared=16384,range=65536,"
	       "buffer=32768,memory=10000000,",
	       1);
	assert_ok(gpu_open(&(struct gpu_options){ .profile = true }, &gpu));
	const struct gpu_caps *caps = gpu_caps(gpu);
	assert_false(caps->subgroups || caps->texel_reads || caps->unified_memory || caps->timestamps);
	assert_int_equal(caps->subgroup_size, 1);
	assert_int_equal(caps->max_invocations, 128);
	assert_int_equal(caps->max_shared_bytes, 16384);
	assert_int_equal(caps->max_range, 65536);
	assert_int_equal(caps->max_buffer, 32768);
	assert_int_equal(caps->device_memory, 10000000);
	rwkvk_device_info info = { 0 };
	size_t count;
	assert_ok(gpu_list(&info, 1, &count));
	assert_int_equal(info.max_storage_range, 65536);
	assert_int_equal(info.device_memory, 10000000);
	gpu_close(gpu);
	setenv("RWKVK_CAPS", base_caps, 1);
}

/* Loading the loader can be made to fail: the test is linked with --wrap=volkInitialize. */
static bool hide_loader;
int __real_volkInitialize(void);
int __wrap_volkInitialize(void);

int __wrap_volkInitialize(void)
{
	return hide_loader ? -3 : __real_volkInitialize();
}

static void no_loader(void **state)
{
	(void)state;
	struct gpu *gpu;
	size_t count = 7;
	hide_loader = true;
	assert_fails(gpu_open(&(struct gpu_options){ 0 }, &gpu), RWKVK_ERROR_DEVICE, "no Vulkan loader");
	test_assert_error_contains("apt install libvulkan1", __FILE__, __LINE__);
	assert_fails(gpu_list(NULL, 0, &count), RWKVK_ERROR_DEVICE, "no Vulkan loader");
	assert_int_equal(count, 0);
	hide_loader = false;
}

static void no_device(void **state)
{
	(void)state;
	struct gpu *gpu;
	char old[512] = "", old_new[512] = "";
	const char *icd = getenv("VK_ICD_FILENAMES"), *drivers = getenv("VK_DRIVER_FILES");
	snprintf(old, sizeof old, "%s", icd ? icd : "");
	snprintf(old_new, sizeof old_new, "%s", drivers ? drivers : "");
	setenv("VK_ICD_FILENAMES", test_nowhere("driver.json"), 1);
	setenv("VK_DRIVER_FILES", test_nowhere("driver.json"), 1);
	assert_fails(gpu_open(&(struct gpu_options){ 0 }, &gpu), RWKVK_ERROR_DEVICE, "no Vulkan device found");
	test_assert_error_contains("apt install mesa-vulkan-drivers", __FILE__, __LINE__);
	icd ? setenv("VK_ICD_FILENAMES", old, 1) : unsetenv("VK_ICD_FILENAMES");
	drivers ? setenv("VK_DRIVER_FILES", old_new, 1) : unsetenv("VK_DRIVER_FILES");
	gpu_close(open_gpu("", (struct gpu_options){ 0 }));
}

/* ---------------------------------------------------------------------------------------------------- buffers */

static const char *const paths[] = { "", "no-unified" };

static void buffers_are_zero(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		const uint64_t sizes[] = { 1, 2, 3, 4, 5, 15, 16, 17, 255, 4097, 65535, 300001, 5000003 };
		for (int round = 0; round < 2; round++) /* the second finds what the first left behind */
			for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
				for (int memory = GPU_DEVICE; memory <= GPU_READBACK; memory++) {
					uint64_t bytes = least(sizes[i], gpu_caps(gpu)->max_buffer), whole = (bytes + 3) / 4 * 4;
					struct gpu_buffer buffer = make(gpu, bytes, (enum gpu_memory)memory);
					bool weights = memory == GPU_WEIGHTS; /* hold anything */
					assert_int_equal(buffer.mapped != NULL,
					                 (memory != GPU_DEVICE && !weights) || gpu_caps(gpu)->unified_memory);
					uint8_t *data = malloc(whole), all = 0;
					assert_ok(gpu_read(&buffer, 0, data, whole));
					for (uint64_t k = 0; k < whole; k++)
						all |= data[k];
					assert_true(all == 0 || weights);
					assert_ok(test_fill(&buffer, 0, whole, 0xa5a5a5a5));
					assert_ok(gpu_read(&buffer, whole - 4, data, 4));
					assert_int_equal(data[0], 0xa5);
					free(data);
					gpu_buffer_destroy(&buffer);
					assert_null(buffer.vk);
					gpu_buffer_destroy(&buffer);
				}
		gpu_close(gpu);
	}
}

/* Many buffers that exist at once do not overlap, and freed places are used again. */
static void buffers_keep_apart(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		enum { COUNT = 100 };
		struct gpu_buffer buffers[COUNT] = { 0 };
		uint64_t random = 3, limit = least(gpu_caps(gpu)->max_buffer, 400000), allocations = 0;
		uint32_t words[COUNT] = { 0 };
		for (uint32_t step = 0; step < 600; step++) {
			uint32_t i = test_random(&random) % COUNT, word;
			if (buffers[i].vk) {
				assert_ok(gpu_read(&buffers[i], 0, &word, 4));
				assert_int_equal(word, words[i]);
				assert_ok(gpu_read(&buffers[i], (buffers[i].bytes - 1) / 4 * 4, &word, 4));
				assert_int_equal(word, words[i]);
			}
			gpu_buffer_destroy(&buffers[i]);
			buffers[i] = make(gpu, 4 + test_random(&random) % limit / 4 * 4, GPU_DEVICE);
			words[i] = test_random(&random);
			assert_ok(test_fill(&buffers[i], 0, buffers[i].bytes, words[i]));
		}
		uint64_t live = 0;
		for (int i = 0; i < COUNT; i++)
			live += buffers[i].bytes;
		allocations = gpu_counters(gpu).allocations;
		assert_in_range(allocations, 1, 60);
		assert_true(gpu_memory_used(gpu) >= live);
		assert_true(gpu_memory_used(gpu) <= live * 3 / 2 + (16 << 20));
		for (int i = 0; i < COUNT; i++)
			gpu_buffer_destroy(&buffers[i]);
		assert_true(gpu_memory_used(gpu) <= (1 << 20) + 4096); /* staging memory may stay */
		gpu_close(gpu);
	}
}

static void small_transfers(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		uint32_t n = (uint32_t)least(gpu_caps(gpu)->max_buffer, 3000000) / 4;
		uint32_t *data = malloc(n * 4), *back = malloc(n * 4);
		for (uint32_t i = 0; i < n; i++)
			data[i] = i * 2654435761u;
		struct gpu_buffer a = make(gpu, n * 4, GPU_DEVICE), b = make(gpu, n * 4, GPU_DEVICE);
		assert_ok(gpu_write(&a, 0, data, n * 4));
		assert_ok(gpu_read(&a, 0, back, n * 4));
		assert_memory_equal(back, data, n * 4);
		assert_ok(gpu_read(&a, 400, back, 8));
		assert_memory_equal(back, data + 100, 8);
		assert_ok(gpu_write(&a, 12, data, 4));
		assert_ok(gpu_copy(&a, 8, &b, 16, (n - 10) * 4));
		assert_ok(gpu_copy(&a, 0, &a, 4000, 4000));
		assert_ok(gpu_read(&b, 0, back, n * 4));
		assert_int_equal(back[3], 0);
		assert_int_equal(back[4], data[2]);
		assert_int_equal(back[5], data[0]);
		assert_memory_equal(back + 6, data + 4, (n - 12) * 4);
		assert_int_equal(back[n - 6], 0);
		assert_ok(gpu_read(&a, 4000, back, 4000));
		assert_memory_equal(back + 4, data + 4, 4000 - 16);
		assert_ok(test_fill(&b, 4, 8, 7));
		assert_ok(gpu_read(&b, 0, back, 16));
		assert_int_equal(back[0], 0);
		assert_int_equal(back[1], 7);
		assert_int_equal(back[2], 7);
		assert_int_equal(back[3], 0);
		assert_ok(gpu_read(&b, 0, back, 0));
		assert_ok(gpu_write(&b, 0, back, 0));
		assert_ok(gpu_copy(&a, 0, &b, 0, 0));
		assert_ok(test_fill(&b, 0, 0, 1));
		gpu_buffer_destroy(&a);
		gpu_buffer_destroy(&b);
		free(data);
		free(back);
		gpu_close(gpu);
	}
}

/* More than the staging ring holds goes through it, in order, and to odd offsets, too. */
static void uploads(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		uint64_t bytes = least(gpu_caps(gpu)->max_buffer, 70000001), at = 4, step = 0, memory = 0;
		if (bytes % 4 == 0)
			bytes -= 3;
		struct gpu_buffer buffer = make(gpu, bytes, GPU_DEVICE);
		struct gpu_counters before = gpu_counters(gpu);
		while (at < bytes) {
			uint64_t part = bytes - at;
			void *place;
			if (step++ % 3 == 1)
				part = least(part, 4096);
			uint64_t wanted = part;
			assert_ok(gpu_upload_begin(&buffer, at, &part, &place));
			assert_in_range(part, 1, wanted);
			for (uint64_t i = 0; i < part; i++)
				((uint8_t *)place)[i] = (uint8_t)((at + i) * 31 >> 3);
			assert_ok(gpu_upload_commit(gpu));
			at += part;
		}
		memory = gpu_memory_used(gpu);
		assert_ok(gpu_upload_finish(gpu));
		struct gpu_counters after = gpu_counters(gpu);
		assert_int_equal(after.submits - before.submits, gpu_caps(gpu)->unified_memory ? 0 : step);
		if (!gpu_caps(gpu)->unified_memory)
			assert_true(gpu_memory_used(gpu) < memory); /* the ring is given back */
		uint64_t whole = (bytes + 3) / 4 * 4;
		uint8_t *back = malloc(whole);
		assert_ok(gpu_read(&buffer, 0, back, whole));
		for (uint64_t i = 0; i < whole; i++)
			if (back[i] != (i < 4 || i >= bytes ? 0 : (uint8_t)(i * 31 >> 3)))
				fail_msg("byte %llu of %llu", (unsigned long long)i, (unsigned long long)bytes);
		free(back);
		gpu_buffer_destroy(&buffer);
		gpu_close(gpu);
	}
}

static void out_of_memory(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(path ? "memory=20000000,no-unified" : "memory=20000000", (struct gpu_options){ 0 });
		uint64_t size = least(gpu_caps(gpu)->max_buffer, 1000000), total = 0;
		struct gpu_buffer buffers[200] = { 0 }, extra;
		size_t count = 0;
		assert_int_equal(gpu_caps(gpu)->device_memory, 20000000);
		assert_int_equal(gpu_memory_available(gpu), 20000000);
		while (count < 200 && gpu_buffer_create(gpu, size, GPU_DEVICE, "weights", &buffers[count]) == RWKVK_OK)
			count++;
		total = count * size;
		assert_true(total > 20000000 - size - 65536 && total <= 20000000); /* the last bytes are used, too */
		assert_null(buffers[count].vk);
		assert_fails(gpu_buffer_create(gpu, size, GPU_DEVICE, "weights", &extra), RWKVK_ERROR_MEMORY, "weights: no room for");
		test_assert_error_contains("rwkvk_model_options.quant", __FILE__, __LINE__);
		test_assert_error_contains(gpu_caps(gpu)->name, __FILE__, __LINE__);
		test_assert_error_contains("19.1 MiB in all", __FILE__, __LINE__);
		assert_true(gpu_memory_used(gpu) <= 20000000);
		gpu_buffer_destroy(&buffers[0]);
		extra = make(gpu, size, GPU_DEVICE); /* released memory can be allocated again */
		gpu_buffer_destroy(&extra);
		for (size_t i = 1; i < count; i++)
			gpu_buffer_destroy(&buffers[i]);
		assert_int_equal(gpu_memory_used(gpu), 0);
		gpu_close(gpu);
	}
	struct gpu *gpu = open_gpu("memory=100000,no-unified", (struct gpu_options){ 0 }); /* no room for staging memory */
	struct gpu_buffer buffer = make(gpu, 65536, GPU_DEVICE);
	uint64_t bytes = 65536;
	void *place;
	assert_fails(gpu_upload_begin(&buffer, 0, &bytes, &place), RWKVK_ERROR_MEMORY, "staging memory: no room");
	gpu_buffer_destroy(&buffer);
	gpu_close(gpu);
}

/* ---------------------------------------------------------------------------------------------------- commands */

/* A chain of dispatches, each of which needs the previous result, submitted many times. */
static void chain(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		uint32_t n = (uint32_t)least(gpu_caps(gpu)->max_buffer / 4, 70001);
		struct gpu_buffer a = make(gpu, n * 4, GPU_DEVICE), b = make(gpu, n * 4, GPU_DEVICE);
		struct gpu_buffer result = make(gpu, n * 4, GPU_READBACK);
		struct gpu_set *ab = set_of(gpu, &a, &b), *ba = set_of(gpu, &b, &a), *out = set_of(gpu, &a, &result);
		struct gpu_cmd *cmd;
		assert_ok(gpu_cmd_create(gpu, &cmd));
		gpu_cmd_begin(cmd);
		for (int i = 0; i < 10; i++) {
			dispatch(cmd, adder(gpu, 3), ab, n, "there");
			gpu_cmd_barrier(cmd);
			dispatch(cmd, adder(gpu, 5), ba, n, "back");
			gpu_cmd_barrier(cmd);
		}
		dispatch(cmd, adder(gpu, 1), out, n, "out"); /* the end brings the last barrier */
		assert_ok(gpu_cmd_end(cmd));

		struct gpu_counters last = gpu_counters(gpu), now;
		for (uint32_t run = 1; run <= 20; run++) {
			assert_ok(gpu_cmd_run(cmd));
			now = gpu_counters(gpu);
			assert_int_equal(now.dispatches - last.dispatches, 21);
			assert_int_equal(now.barriers - last.barriers, 21);
			assert_int_equal(now.submits - last.submits, 1);
			assert_int_equal(now.recordings, last.recordings);
			assert_int_equal(now.descriptor_updates, last.descriptor_updates);
			assert_int_equal(now.allocations, last.allocations);
			assert_int_equal(now.buffers, last.buffers);
			last = now;
			const uint32_t *got = result.mapped;
			assert_int_equal(got[0], run * 80 + 1);
			assert_int_equal(got[n / 2], run * 80 + 1);
			assert_int_equal(got[n - 1], run * 80 + 1);
		}
		assert_int_equal(now.descriptor_updates, 3);
		uint32_t words[2] = { 1000, 2000 }, back[4]; /* transfers between submissions take effect */
		assert_ok(gpu_write(&a, 4, words, 8));
		assert_ok(gpu_cmd_run(cmd));
		assert_ok(gpu_read(&a, 0, back, 16));
		assert_int_equal(back[0], 21 * 80);
		assert_int_equal(back[1], 1080);
		assert_int_equal(back[2], 2080);
		assert_int_equal(back[3], 21 * 80);
		assert_ok(gpu_copy(&a, 0, &b, 0, 16));
		assert_ok(test_fill(&a, 0, n * 4, 0));
		assert_ok(gpu_cmd_run(cmd));
		assert_ok(gpu_read(&a, 4, back, 4));
		assert_int_equal(back[0], 80);
		gpu_cmd_destroy(cmd);
		gpu_cmd_destroy(NULL);
		gpu_sets_destroy(gpu);
		gpu_buffer_destroy(&a);
		gpu_buffer_destroy(&b);
		gpu_buffer_destroy(&result);
		gpu_close(gpu);
	}
}

/* The host's writes to shared memory reach the next submission without recording anything again. */
static void control_words(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	struct gpu_buffer control = make(gpu, 64, GPU_SHARED), result = make(gpu, 64, GPU_READBACK);
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	for (uint32_t recording = 0; recording < 3; recording++) { /* and a command buffer can be recorded again */
		gpu_cmd_begin(cmd);
		dispatch(cmd, adder(gpu, recording), set_of(gpu, &control, &result), 16, "copy");
		assert_ok(gpu_cmd_end(cmd));
		for (uint32_t i = 0; i < 10; i++) {
			((uint32_t *)control.mapped)[15] = i * 7;
			assert_ok(gpu_cmd_run(cmd));
			assert_int_equal(((uint32_t *)result.mapped)[15], i * 7 + recording);
		}
	}
	assert_int_equal(gpu_counters(gpu).recordings, 3);
	gpu_cmd_destroy(cmd);
	gpu_buffer_destroy(&control);
	gpu_buffer_destroy(&result);
	gpu_close(gpu);
}

/* A command several times in one submission, each run after the one before, and a copy of what was there at the start: three
 * calls of Vulkan. */
static void lists(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		struct gpu_buffer a = make(gpu, 1024, GPU_DEVICE), before = make(gpu, 1024, GPU_DEVICE);
		struct gpu_cmd *add, *keep, *list[GPU_LIST];
		uint32_t words[4] = { 0 }, kept[4];
		assert_ok(gpu_cmd_create(gpu, &add));
		gpu_cmd_begin(add);
		dispatch(add, adder(gpu, 3), set_of(gpu, &a, &a), 256, "add");
		assert_ok(gpu_cmd_end(add));
		assert_ok(gpu_cmd_create(gpu, &keep));
		gpu_cmd_begin(keep);
		gpu_cmd_copy(keep, (struct gpu_copy_region[]){ { &a, &before, 8, 8, 1000 }, { &a, &before, 0, 0, 8 } }, 2);
		assert_ok(gpu_cmd_end(keep));
		for (uint32_t count = 2; count <= GPU_LIST; count += 63) {
			list[0] = keep;
			for (uint32_t i = 1; i < count; i++)
				list[i] = add;
			struct gpu_counters c = gpu_counters(gpu), d;
			assert_ok(gpu_cmd_run_list(list, count));
			d = gpu_counters(gpu);
			assert_int_equal(d.submits - c.submits, 1);
			assert_int_equal(d.host_calls - c.host_calls, 3);
			assert_int_equal(d.dispatches - c.dispatches, count - 1);
			assert_int_equal(d.barriers - c.barriers, count + 1);
			assert_int_equal(d.recordings, c.recordings);
			assert_ok(gpu_read(&before, 0, kept, sizeof kept));
			assert_memory_equal(kept, words, sizeof kept);
			assert_ok(gpu_read(&a, 0, kept, sizeof kept));
			for (int i = 0; i < 4; i++)
				assert_int_equal(kept[i], words[i] + 3 * (count - 1));
			memcpy(words, kept, sizeof words);
		}
		gpu_cmd_destroy(add);
		gpu_cmd_destroy(keep);
		gpu_sets_destroy(gpu);
		gpu_buffer_destroy(&a);
		gpu_buffer_destroy(&before);
		gpu_close(gpu);
	}
}

/* Started one after the other, awaited in any order or not at all: each runs after the one before. */
static void started(void **state)
{
	(void)state;
	for (size_t path = 0; path < 2; path++) {
		struct gpu *gpu = open_gpu(paths[path], (struct gpu_options){ 0 });
		struct gpu_buffer a = make(gpu, 1024, GPU_DEVICE), b = make(gpu, 1024, GPU_DEVICE);
		struct gpu_cmd *cmds[3];
		struct gpu_counters before, after;
		uint32_t word;
		for (uint32_t i = 0; i < 3; i++) {
			assert_ok(gpu_cmd_create(gpu, &cmds[i]));
			gpu_cmd_begin(cmds[i]);
			dispatch(cmds[i], adder(gpu, i + 1), i % 2 ? set_of(gpu, &b, &a) : set_of(gpu, &a, &b), 256, "add");
			assert_ok(gpu_cmd_end(cmds[i]));
		}
		before = gpu_counters(gpu);
		for (int i = 0; i < 3; i++)
			assert_ok(gpu_cmd_start(cmds[i]));
		after = gpu_counters(gpu);
		assert_int_equal(after.submits - before.submits, 3);
		assert_int_equal(after.dispatches - before.dispatches, 3);
		assert_ok(gpu_cmd_wait(cmds[2]));
		assert_ok(gpu_read(&b, 1020, &word, 4));
		assert_int_equal(word, 1 + 2 + 3);
		assert_ok(gpu_cmd_wait(cmds[2])); /* nothing to wait for */
		assert_ok(gpu_cmd_wait(cmds[0]));
		assert_ok(gpu_cmd_run(cmds[0]));
		assert_ok(gpu_read(&b, 0, &word, 4));
		assert_int_equal(word, 1 + 2 + 1);
		assert_ok(gpu_cmd_start(cmds[2]));
		for (int i = 0; i < 3; i++) /* two of them are running, as far as anyone knows */
			gpu_cmd_destroy(cmds[i]);
		gpu_sets_destroy(gpu);
		gpu_buffer_destroy(&a);
		gpu_buffer_destroy(&b);
		gpu_close(gpu);
	}
}

static void bindings_with_offsets(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	uint32_t align = gpu_caps(gpu)->offset_alignment, words = align / 4;
	struct gpu_buffer data = make(gpu, 4 * align, GPU_DEVICE);
	struct gpu_set *sets[150]; /* more than one descriptor pool */
	for (uint32_t i = 0; i < 150; i++) {
		const struct gpu_binding bindings[GPU_BINDINGS] = { { &data, 0, align, GPU_TEXELS_VEC4 },
			                                                { &data, (uint64_t)align * (1 + i % 3), align, GPU_TEXELS_VEC4 } };
		assert_ok(gpu_set_create(gpu, bindings, &data, &sets[i]));
	}
	assert_int_equal(gpu_counters(gpu).descriptor_updates, 150);
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	gpu_cmd_begin(cmd);
	for (uint32_t i = 147; i < 150; i++)
		dispatch(cmd, adder(gpu, i), sets[i], words, "offset");
	assert_ok(gpu_cmd_end(cmd));
	assert_ok(gpu_cmd_run(cmd));
	uint32_t *back = malloc(4 * align);
	assert_ok(gpu_read(&data, 0, back, 4 * align));
	for (uint32_t i = 0; i < 4 * words; i++)
		assert_int_equal(back[i], i < words ? 0 : 146 + i / words);
	free(back);
	gpu_cmd_destroy(cmd);
	gpu_sets_destroy(gpu);
	gpu_buffer_destroy(&data);
	gpu_close(gpu);
}

static void recording_failures(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	struct gpu_buffer a = make(gpu, 64, GPU_DEVICE), b = make(gpu, 64, GPU_DEVICE);
	struct gpu_set *set = set_of(gpu, &a, &b);
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	if (gpu_caps(gpu)->max_groups < UINT32_MAX) {
		uint32_t words = 16;
		gpu_cmd_begin(cmd);
		gpu_cmd_dispatch(cmd, adder(gpu, 1), set, &words, 4, (struct gpu_groups){ gpu_caps(gpu)->max_groups + 1, 1 },
		                 "too wide", 0);
		dispatch(cmd, adder(gpu, 1), set, 16, "after");
		gpu_cmd_barrier(cmd);
		rwkvk_status other = file_map(test_nowhere("x"), &(struct mapping){ 0 }); /* a later error does not hide the first */
		assert_int_equal(other, RWKVK_ERROR_FILE);
		assert_fails(gpu_cmd_end(cmd), RWKVK_ERROR_UNSUPPORTED, "too wide: ");
	}
	gpu_cmd_begin(cmd);
	dispatch(cmd, adder(gpu, 1), set, 16, "fine");
	assert_ok(gpu_cmd_end(cmd));
	assert_ok(gpu_cmd_run(cmd));
	gpu_cmd_destroy(cmd);
	gpu_buffer_destroy(&a);
	gpu_buffer_destroy(&b);
	gpu_close(gpu);
}

static void profile(void **state)
{
	(void)state;
	rwkvk_profile_row row = { 0 };
	struct gpu *gpu = open_gpu("", (struct gpu_options){ .profile = true });
	struct gpu_buffer a = make(gpu, 65536, GPU_DEVICE), b = make(gpu, 65536, GPU_DEVICE);
	struct gpu_set *set = set_of(gpu, &a, &b);
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	for (int recording = 0; recording < 2; recording++) {
		gpu_cmd_begin(cmd);
		for (int i = 0; i < 300; i++) { /* more than one pool of timestamps */
			dispatch(cmd, adder(gpu, 1), set, 16384, i % 3 ? "two" : "one");
			gpu_cmd_barrier(cmd);
		}
		assert_ok(gpu_cmd_end(cmd));
		for (int run = 0; run < 3; run++)
			assert_ok(gpu_cmd_run(cmd));
	}
	if (gpu_caps(gpu)->timestamps) {
		double seconds = 0;
		for (size_t i = 0; i < 2; i++) {
			assert_true(gpu_profile_row(gpu, i, &row));
			assert_string_equal(row.stage, i ? "two" : "one");
			assert_int_equal(row.runs, i ? 1200 : 600);
			assert_int_equal(row.bytes, row.runs * 16384 * 8);
			assert_true(row.seconds > 0);
			seconds += row.seconds;
		}
		assert_true(seconds < 60);
	}
	assert_false(gpu_profile_row(gpu, 2, &row));
	gpu_cmd_destroy(cmd);
	gpu_buffer_destroy(&a);
	gpu_buffer_destroy(&b);
	gpu_close(gpu);

	gpu = open_gpu("", (struct gpu_options){ 0 });
	assert_false(gpu_profile_row(gpu, 0, &row));
	gpu_close(gpu);
}

/* ---------------------------------------------------------------------------------------------------- pipelines */

static void pipelines_are_shared(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	struct gpu_pipeline *first = adder(gpu, 1), *second = adder(gpu, 2), *other;
	assert_ptr_equal(first, adder(gpu, 1));
	assert_ptr_equal(second, adder(gpu, 2));
	assert_ptr_not_equal(first, second);
	uint32_t constants[] = { 128, 1, 9 };
	assert_ok(gpu_pipeline_get(gpu, "test", constants, 2, &other));
	assert_ptr_not_equal(other, first);
	assert_ok(gpu_pipeline_get(gpu, "test", constants, 3, &other)); /* constants the shader does not know are ignored */
	constants[0] = gpu_caps(gpu)->max_invocations;
	assert_ok(gpu_pipeline_get(gpu, "test", constants, 2, &other));
	constants[0] = 1; /* no multiple of the subgroup size */
	assert_ok(gpu_pipeline_get(gpu, "test", constants, 2, &other));
	assert_fails(gpu_pipeline_get(gpu, "nonsense", constants, 2, &other), RWKVK_ERROR_INTERNAL, "no shader named \"nonsense\"");
	assert_null(other);
	gpu_close(gpu);
	gpu = open_gpu("no-size-control", (struct gpu_options){ 0 });
	adder(gpu, 1);
	gpu_close(gpu);
}

/* Many at once, each with its own constant: the sum over all dispatches shows whether any was mixed up. */
static void compiled_together(void **state)
{
	(void)state;
	enum { COUNT = 40, WORDS = 64 };
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	struct gpu_buffer a = make(gpu, WORDS * 4, GPU_DEVICE), b = make(gpu, WORDS * 4, GPU_DEVICE);
	struct gpu_set *set = set_of(gpu, &a, &b);
	struct gpu_pipeline *pipelines[COUNT], *again;
	assert_ok(gpu_pipelines_compile(gpu)); /* nothing to do */
	for (uint32_t i = 0; i < COUNT; i++) {
		const uint32_t constants[2] = { 64, 1000 + i };
		assert_ok(gpu_pipeline_ask(gpu, "test", constants, 2, &pipelines[i]));
		assert_ok(gpu_pipeline_ask(gpu, "test", constants, 2, &again));
		assert_ptr_equal(again, pipelines[i]);
	}
	assert_ok(gpu_pipelines_compile(gpu));
	for (uint32_t i = 0; i < COUNT; i++) {
		struct gpu_cmd *cmd;
		uint32_t words[WORDS];
		assert_ok(gpu_cmd_create(gpu, &cmd));
		gpu_cmd_begin(cmd);
		dispatch(cmd, pipelines[i], set, WORDS, "add");
		assert_ok(gpu_cmd_end(cmd));
		assert_ok(gpu_cmd_run(cmd));
		assert_ok(gpu_read(&b, 0, words, sizeof words));
		assert_int_equal(words[0], 1000 + i);
		assert_int_equal(words[WORDS - 1], 1000 + i);
		gpu_cmd_destroy(cmd);
	}
	gpu_buffer_destroy(&a);
	gpu_buffer_destroy(&b);
	gpu_close(gpu);
}

static void statistics(void **state)
{
	(void)state;
	struct gpu_statistic statistic[64];
	size_t count;
	struct gpu *gpu = open_gpu("", (struct gpu_options){ .capture_statistics = true });
	if (gpu_caps(gpu)->pipeline_statistics) {
		assert_ok(gpu_pipeline_statistics(gpu, adder(gpu, 1), statistic, 64, &count));
		assert_in_range(count, 1, 64);
		assert_true(statistic[0].name[0] != 0);
	} else
		assert_fails(gpu_pipeline_statistics(gpu, adder(gpu, 1), statistic, 64, &count), RWKVK_ERROR_UNSUPPORTED,
		             "no statistics");
	gpu_close(gpu);
}

/* Runs this program again with an argument, for cases that need their own process; returns its exit status. */
static int run_self(const char *part, bool quiet)
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		if (quiet && !freopen("/dev/null", "w", stderr))
			_exit(99);
		execl("/proc/self/exe", "test_gpu", part, (char *)NULL);
		_exit(99);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define RADV_ICD "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json"

/* A compiler without its hardware: the device opens, compiles, and reports why it cannot do more. */
static int compile_only_part(void)
{
	setenv("VK_ICD_FILENAMES", RADV_ICD, 1);
	setenv("VK_DRIVER_FILES", RADV_ICD, 1);
	setenv("RADV_FORCE_FAMILY", "GFX1100", 1);
	setenv("RWKVK_CAPS", "", 1);
	struct gpu *gpu;
	struct gpu_buffer buffer;
	struct gpu_pipeline *pipeline;
	struct gpu_statistic statistic[64];
	size_t count;
	uint32_t constants[] = { 64, 1 };
	if (gpu_open(&(struct gpu_options){ .capture_statistics = true, .profile = true }, &gpu) != RWKVK_OK)
		return strstr(rwkvk_last_error(), "no Vulkan device") ? 77 : 1; /* newer drivers have no such mode */
	const struct gpu_caps *caps = gpu_caps(gpu);
	if (caps->can_allocate)
		return 77;
	int bad = caps->timestamps || caps->device_memory || !caps->pipeline_statistics;
	bad |= (gpu_buffer_create(gpu, 64, GPU_DEVICE, "weights", &buffer) != RWKVK_ERROR_MEMORY ||
	        !strstr(rwkvk_last_error(), "has no memory"))
	       << 1;
	bad |= (gpu_pipeline_get(gpu, "test", constants, 2, &pipeline) != RWKVK_OK ||
	        gpu_pipeline_statistics(gpu, pipeline, statistic, 64, &count) != RWKVK_OK || count < 5)
	       << 2;
	gpu_close(gpu);
	bad |= (gpu_validation_messages() != 0) << 3;
	return bad ? 100 + bad : 0;
}

static void compile_only(void **state)
{
	(void)state;
	int result = access(RADV_ICD, R_OK) == 0 ? run_self("compile-only", false) : 77;
	if (result == 77) {
		fprintf(stderr, "\n*** NOT TESTED: a device that only compiles needs %s of a Mesa before 26.2 ***\n\n", RADV_ICD);
		skip();
	}
	assert_int_equal(result, 0);
}

static void shader_folder(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	const char *name = !gpu_caps(gpu)->subgroups    ? "test.shared.spv"
	                   : gpu_caps(gpu)->texel_reads ? "test.texel.spv"
	                                                : "test.spv",
			   *path = test_temp(name);
	char folder[512];
	snprintf(folder, sizeof folder, "%s", path);
	*strrchr(folder, '/') = 0;
	setenv("RWKVK_SHADER_DIR", folder, 1);
	struct gpu_pipeline *pipeline;
	uint32_t constants[] = { 64, 40 };
	assert_ok(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline)); /* that device is open already */
	gpu_close(gpu);
	gpu = open_gpu("", (struct gpu_options){ 0 });
	unsetenv("RWKVK_SHADER_DIR");
	assert_fails(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline), RWKVK_ERROR_FILE, name);
	test_write_file(path, "", 0);
	assert_fails(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline), RWKVK_ERROR_FILE, "is empty");
	test_write_file(path, "#version 450\nvoid main() {}\n", 28);
	assert_fails(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline), RWKVK_ERROR_FILE, "is not SPIR-V");
	const uint32_t newer[] = { 0x07230203, 0x00010600, 0, 8, 0 };
	test_write_file(path, newer, sizeof newer);
	assert_fails(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline), RWKVK_ERROR_FILE, "is SPIR-V 1.6, at most 1.3");
	test_write_file(path, newer, 10);
	assert_fails(gpu_pipeline_get(gpu, "test", constants, 2, &pipeline), RWKVK_ERROR_FILE, path);

	size_t bytes;
	char built[600];
	snprintf(built, sizeof built, "%s/%s", SHADER_BUILD_DIR, name);
	uint8_t *spirv = test_read_file(built, &bytes);
	test_write_file(path, spirv, bytes);
	free(spirv);
	struct gpu_buffer a = make(gpu, 64, GPU_DEVICE), b = make(gpu, 64, GPU_READBACK);
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	gpu_cmd_begin(cmd);
	dispatch(cmd, adder(gpu, 40), set_of(gpu, &a, &b), 16, "from a file");
	assert_ok(gpu_cmd_end(cmd));
	assert_ok(gpu_cmd_run(cmd));
	assert_int_equal(((uint32_t *)b.mapped)[15], 40);
	gpu_cmd_destroy(cmd);
	gpu_buffer_destroy(&a);
	gpu_buffer_destroy(&b);
	gpu_close(gpu);
}

/* ---------------------------------------------------------------------------------------------------- cache on disk */

/* The one file of a folder; "" when there is none. */
static const char *only_file(const char *folder)
{
	static char path[900];
	size_t count = 0;
	path[0] = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
			count++;
		}
	if (dir)
		closedir(dir);
	assert_true(count <= 1);
	return path;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info, (void)kind, (void)where;
	return remove(path);
}

static void compile_and_save(uint32_t pipelines)
{
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	for (uint32_t i = 0; i < pipelines; i++)
		adder(gpu, i);
	gpu_pipeline_cache_save(gpu);
	gpu_pipeline_cache_save(gpu); /* again: nothing new */
	gpu_close(gpu);
}

static bool same_file(const char *path, const uint8_t *data, size_t bytes)
{
	size_t now;
	uint8_t *content = test_read_file(path, &now);
	bool same = now == bytes && !memcmp(content, data, bytes);
	free(content);
	return same;
}

static void pipeline_cache(void **state)
{
	(void)state;
	char old[512], home[400], outer[440], folder[480];
	const char *was = getenv("RWKVK_CACHE_DIR");
	snprintf(old, sizeof old, "%s", was ? was : "");
	snprintf(home, sizeof home, "%s", test_temp("cache-home"));
	snprintf(outer, sizeof outer, "%s/outer", home);
	snprintf(folder, sizeof folder, "%s/inner", outer);

	setenv("RWKVK_CACHE_DIR", folder, 1);
	compile_and_save(2);
	const char *path = only_file(folder);
	assert_non_null(strstr(path, "pipelines-"));
	size_t bytes;
	uint8_t *data = test_read_file(path, &bytes);
	assert_true(bytes >= 24 + 32);

	/* Unchanged when nothing is new: the file is not even replaced. */
	struct stat before, after;
	stat(path, &before);
	compile_and_save(2);
	stat(path, &after);
	assert_true(same_file(path, data, bytes));
	assert_int_equal(before.st_ino, after.st_ino);

	/* Damaged in any way: ignored, and replaced by a good one. */
	for (int damage = 0; damage < 7; damage++) {
		uint8_t *bad = malloc(bytes);
		size_t bad_bytes = bytes;
		memcpy(bad, data, bytes);
		if (damage == 0)
			bad_bytes = 0;
		else if (damage == 1)
			bad_bytes = 10;
		else if (damage == 2)
			bad_bytes = bytes - 1;
		else if (damage == 3)
			bad[bytes - 1] ^= 1; /* the driver's data */
		else if (damage == 4)
			bad[0] ^= 1; /* the magic */
		else if (damage == 5)
			memset(bad + 8, 0xff, 8); /* the size */
		else
			bad[16] ^= 1; /* the checksum */
		test_write_file(path, bad, bad_bytes);
		free(bad);
		compile_and_save(2);
		assert_true(same_file(path, data, bytes));
	}
	free(data);
	unlink(path);
	rmdir(folder);

	setenv("RWKVK_CACHE_DIR", "", 1); /* switched off */
	compile_and_save(1);
	setenv("RWKVK_CACHE_DIR", test_no_folder(), 1); /* cannot be created: harmless */
	compile_and_save(1);
	unsetenv("RWKVK_CACHE_DIR");

	const char *variables[] = { "XDG_CACHE_HOME", "HOME" };
	for (int i = 0; i < 2; i++) {
		char kept[2][512], expected[500];
		for (int k = 0; k < 2; k++) {
			const char *value = getenv(variables[k]);
			snprintf(kept[k], sizeof kept[k], "%s", value ? value : "");
			unsetenv(variables[k]);
		}
		setenv(variables[i], outer, 1);
		compile_and_save(1);
		snprintf(expected, sizeof expected, "%s%s/rwkvk", outer, i ? "/.cache" : "");
		path = only_file(expected);
		assert_true(*path != 0);
		for (int k = 0; k < 2; k++)
			*kept[k] ? setenv(variables[k], kept[k], 1) : unsetenv(variables[k]);
	}
	assert_int_equal(nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0); /* drivers put caches of their own there */
	was ? setenv("RWKVK_CACHE_DIR", old, 1) : unsetenv("RWKVK_CACHE_DIR");
}

/* ---------------------------------------------------------------------------------------------------- validation */

/* The check can fail: a deliberate mistake and leaked objects are both reported. */
static int mistakes_part(void)
{
	struct gpu *gpu = open_gpu("", (struct gpu_options){ 0 });
	struct gpu_buffer a = make(gpu, 64, GPU_DEVICE), b = make(gpu, 64, GPU_DEVICE);
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	gpu_cmd_begin(cmd); /* a read of what the dispatch before wrote, with no barrier */
	dispatch(cmd, adder(gpu, 1), set_of(gpu, &a, &b), 16, "write");
	dispatch(cmd, adder(gpu, 1), set_of(gpu, &b, &a), 16, "read");
	assert_ok(gpu_cmd_end(cmd));
	uint64_t hazards = gpu_validation_messages();
	gpu_close(gpu); /* with two buffers and a command object still there */
	return !hazards ? 4 : gpu_validation_messages() == hazards ? 5 : 0;
}

static void validation(void **state)
{
	(void)state;
	assert_int_equal(gpu_validation_messages(), 0);
	const char *layers = getenv("VK_INSTANCE_LAYERS"),
			   *layer = "/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json";
	if (!layers || !strstr(layers, "VK_LAYER_KHRONOS_validation") || !getenv("RWKVK_VALIDATE") || access(layer, R_OK) != 0) {
		fprintf(stderr, "\n*** NOT TESTED: Khronos validation is not switched on or not installed ***\n\n");
		skip();
	}
	assert_int_equal(run_self("mistakes", true), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files),
		cmocka_unit_test(two_writers),
		cmocka_unit_test(nobody_redirects),
		cmocka_unit_test(pipes_are_written),
		cmocka_unit_test(no_loader),
		cmocka_unit_test(no_device),
		cmocka_unit_test(device_choice),
		cmocka_unit_test(caps_override),
		cmocka_unit_test(buffers_are_zero),
		cmocka_unit_test(buffers_keep_apart),
		cmocka_unit_test(small_transfers),
		cmocka_unit_test(uploads),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(chain),
		cmocka_unit_test(control_words),
		cmocka_unit_test(lists),
		cmocka_unit_test(started),
		cmocka_unit_test(bindings_with_offsets),
		cmocka_unit_test(recording_failures),
		cmocka_unit_test(profile),
		cmocka_unit_test(pipelines_are_shared),
		cmocka_unit_test(compiled_together),
		cmocka_unit_test(statistics),
		cmocka_unit_test(compile_only),
		cmocka_unit_test(shader_folder),
		cmocka_unit_test(pipeline_cache),
		cmocka_unit_test(validation),
	};
	const char *caps = getenv("RWKVK_CAPS");
	snprintf(base_caps, sizeof base_caps, "%s", caps ? caps : "");
	if (argc > 1 && !strcmp(argv[1], "compile-only"))
		return compile_only_part();
	if (argc > 1)
		_exit(mistakes_part()); /* at once: the leak sanitizer must not see what this leaks on purpose */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
