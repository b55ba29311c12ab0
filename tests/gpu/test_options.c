/* Options of gpu_open(), besides the environment: where caches are kept, how much memory it may use, who receives messages, how
 * to cancel compiling. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>
#ifndef _WIN32
#include <sys/resource.h>
#endif

#include "base/system.h"
#include "gpu/vk.h"

static struct gpu *open_gpu(struct gpu_options options)
{
	struct gpu *gpu;
	assert_ok(gpu_open(&options, &gpu));
	return gpu;
}

static rwkvk_status compile(struct gpu *gpu, uint32_t workgroup)
{
	struct gpu_pipeline *pipeline;
	return gpu_pipeline_get(gpu, "measure_f32", &workgroup, 1, &pipeline);
}

static int files_in(const char *folder)
{
	int count = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static void cache_folder(void **state)
{
	(void)state;
	char folder[400], other[400], old[512];
	const char *was = getenv("RWKVK_CACHE_DIR");
	snprintf(old, sizeof old, "%s", was ? was : "");
	snprintf(folder, sizeof folder, "%s", test_temp("cache"));
	snprintf(other, sizeof other, "%s", test_temp("environment"));
	setenv("RWKVK_CACHE_DIR", other, 1);
	char *given = strdup(folder);
	const struct {
		const char *option;
		int in_folder, in_other;
	} cases[] = { { "", 0, 0 }, { given, 1, 0 }, { NULL, 1, 1 } };
	for (size_t i = 0; i < 3; i++) {
		struct gpu *gpu = open_gpu((struct gpu_options){ .cache_dir = cases[i].option });
		if (i == 1)
			memset(given, '?', strlen(given)); /* it is the caller's again */
		assert_ok(compile(gpu, 64));
		gpu_pipeline_cache_save(gpu);
		char *path = gpu_cache_path(gpu, "shape", ".txt");
		assert_true(cases[i].option && !*cases[i].option ? !path : strncmp(path, i == 1 ? folder : other, 8) == 0);
		free(path);
		gpu_close(gpu);
		assert_int_equal(files_in(folder), cases[i].in_folder);
		assert_int_equal(files_in(other), cases[i].in_other);
	}
	free(given);
	was ? setenv("RWKVK_CACHE_DIR", old, 1) : unsetenv("RWKVK_CACHE_DIR");
}

static void memory_bound(void **state)
{
	(void)state;
	const uint64_t bound = 30000000;
	struct gpu *gpu = open_gpu((struct gpu_options){ .device_memory = bound });
	uint64_t size = gpu_caps(gpu)->max_buffer < 1000000 ? gpu_caps(gpu)->max_buffer : 1000000;
	enum { MOST = 400 };
	static struct gpu_buffer buffers[MOST];
	uint32_t count = 0;
	assert_int_equal(gpu_caps(gpu)->device_memory, bound);
	assert_int_equal(gpu_memory_available(gpu), bound);
	while (count < MOST && gpu_buffer_create(gpu, size, GPU_DEVICE, "weights", &buffers[count]) == RWKVK_OK)
		count++;
	assert_in_range(count * size, bound - 2 * size - 65536, bound);
	assert_true(gpu_memory_used(gpu) <= bound);
	test_assert_error_contains("28.6 MiB in all", __FILE__, __LINE__);
	while (count > 0)
		gpu_buffer_destroy(&buffers[--count]);
	gpu_close(gpu);
	gpu = open_gpu((struct gpu_options){ .device_memory = UINT64_MAX }); /* more than there is: no bound */
	assert_true(gpu_caps(gpu)->device_memory > bound && gpu_caps(gpu)->device_memory < UINT64_MAX);
	gpu_close(gpu);
}

#ifndef _WIN32 /* whose limits of a process are those of jobs, which nobody asks for memory */
/* A device in main memory has no more than the system lets this process have. */
static void expect_memory_of_the_system(bool in_main_memory)
{
	const uint64_t left = 48 << 20;
	uint64_t all = system_memory(), room = system_memory_free();
	assert_true(room > 0 && room <= all && all < UINT64_MAX);
	struct gpu *gpu = open_gpu((struct gpu_options){ 0 });
	struct rlimit before, less;
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	less = before;
	less.rlim_cur = 1; /* below what is used: nothing is left */
	assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
	uint64_t none = system_memory_free(), none_there = gpu_memory_available(gpu);
	size_t pages = 0;
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	FILE *file = fopen("/proc/self/statm", "r");
	assert_true(file && fscanf(file, "%zu", &pages) == 1);
	fclose(file);
	less.rlim_cur = pages * (uint64_t)sysconf(_SC_PAGESIZE) + left;
	assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
	uint64_t some = system_memory_free(), some_there = gpu_memory_available(gpu);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(none, 0);
	assert_true(some > left / 2 && some <= left + (1 << 20));
	if (in_main_memory) {
		assert_int_equal(none_there, 0);
		assert_true(some_there > left / 2 && some_there <= left + (1 << 20));
	}
	gpu_close(gpu);
}

static bool is_cpu(void)
{
	struct gpu *gpu = open_gpu((struct gpu_options){ 0 });
	bool cpu = gpu_caps(gpu)->type == RWKVK_DEVICE_CPU;
	gpu_close(gpu);
	return cpu;
}

/* A software device, also when it passes for the GPU of a phone, all of whose memory is main memory. */
static void memory_of_the_system(void **state)
{
	(void)state;
	bool cpu = is_cpu();
	const char *was = getenv("RWKVK_CAPS");
	char old[256];
	snprintf(old, sizeof old, "%s", was ? was : "");
	expect_memory_of_the_system(cpu);
	setenv("RWKVK_CAPS", "as-integrated", 1);
	expect_memory_of_the_system(cpu);
	was ? setenv("RWKVK_CAPS", old, 1) : unsetenv("RWKVK_CAPS");
}
#endif

struct heard {
	int level, count;
	char text[200];
};

static void hear(void *user, rwkvk_log_level level, const char *text)
{
	struct heard *heard = user;
	heard->count++;
	heard->level = level;
	snprintf(heard->text, sizeof heard->text, "%s", text);
}

static void messages(void **state)
{
	(void)state;
	struct heard heard = { 0 };
	struct gpu *gpu = open_gpu((struct gpu_options){ .log = hear, .log_user = &heard });
	report(gpu_listener(gpu), RWKVK_LOG_NOTE, "%d of %s", 7, "nine");
	assert_int_equal(heard.count, 1);
	assert_int_equal(heard.level, RWKVK_LOG_NOTE);
	assert_string_equal(heard.text, "7 of nine");
	const char *layers = getenv("VK_INSTANCE_LAYERS");
	if (layers && getenv("RWKVK_VALIDATE") &&
	    access("/usr/share/vulkan/explicit_layer.d/VkLayer_khronos_validation.json", R_OK) == 0) {
		const VkBufferCreateInfo nothing = { .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
			                                 .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT };
		VkBuffer buffer = VK_NULL_HANDLE; /* of no bytes, which the layer says to the log and to nobody else */
		gpu->vk.vkCreateBuffer(gpu->device, &nothing, NULL, &buffer);
		gpu->vk.vkDestroyBuffer(gpu->device, buffer, NULL);
		assert_int_equal(heard.count, 2);
		assert_int_equal(heard.level, RWKVK_LOG_ERROR);
		assert_non_null(strstr(heard.text, "VALIDATION: "));
	} else {
		fprintf(stderr, "\n*** NOT TESTED: Khronos validation is not switched on or not installed ***\n\n");
	}
	gpu_close(gpu);
	gpu = open_gpu((struct gpu_options){ 0 });
	report(gpu_listener(gpu), RWKVK_LOG_ERROR, "nobody listens");
	gpu_close(gpu);
}

static void threads_and_cancelling(void **state)
{
	(void)state;
	atomic_bool cancel = false;
	struct gpu *gpu = open_gpu((struct gpu_options){ .threads = 1, .cancel = &cancel });
	assert_true(gpu_caps(gpu)->processors == (gpu_caps(gpu)->type == RWKVK_DEVICE_CPU ? 1 : 0));
	assert_ok(compile(gpu, 64));
	atomic_store(&cancel, true);
	assert_fails(compile(gpu, 128), RWKVK_CANCELLED, "cancelled");
	assert_ok(compile(gpu, 64)); /* nothing to compile */
	atomic_store(&cancel, false);
	assert_ok(compile(gpu, 128));
	atomic_store(&cancel, true);
	gpu_set_cancel(gpu, NULL);
	assert_ok(compile(gpu, 32));
	gpu_close(gpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cache_folder),           cmocka_unit_test(memory_bound), cmocka_unit_test(messages),
		cmocka_unit_test(threads_and_cancelling),
#ifndef _WIN32
		cmocka_unit_test(memory_of_the_system),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
