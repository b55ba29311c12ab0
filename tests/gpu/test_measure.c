/* Measuring a device: every number is finite and plausible, features the device lacks measure 0, and measuring can be
 * cancelled.  How large the numbers are is not tested. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "gpu/gpu.h"

static struct gpu *open_gpu(bool arithmetic)
{
	struct gpu *gpu;
	assert_ok(gpu_open(&(struct gpu_options){ .arithmetic = arithmetic }, &gpu));
	return gpu;
}

static void assert_between(const char *what, double value, double low, double high)
{
	if (!(value >= low && value <= high))
		fail_msg("%s: expected %g to %g, got %g", what, low, high, value);
}

static bool count_steps(void *user, uint64_t done, uint64_t total)
{
	uint64_t *steps = user;
	assert_int_equal(done, ++*steps);
	assert_int_equal(total, 10);
	return true;
}

static void rates(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu(true);
	const struct gpu_caps *caps = gpu_caps(gpu);
	rwkvk_device_rates r;
	uint64_t steps = 0, before = gpu_memory_used(gpu);
	assert_ok(gpu_measure(gpu, count_steps, &steps, &r));
	assert_int_equal(steps, 10);
	assert_int_equal(gpu_memory_used(gpu), before);
	print_message("read %.3g B/s, copy %.3g B/s, dispatch %.3g s, submit %.3g s, f32 %.3g, f16 %.3g, int8 %.3g\n",
	              r.read_bytes_per_second, r.copy_bytes_per_second, r.dispatch_seconds, r.submit_seconds, r.f32_per_second,
	              r.f16_per_second, r.int8_per_second);
	assert_between("read", r.read_bytes_per_second, 1e6, 1e14);
	assert_between("copy", r.copy_bytes_per_second, 1e6, 1e14);
	assert_between("dispatch", r.dispatch_seconds, 1e-9, 0.1);
	assert_between("submit", r.submit_seconds, 1e-7, 1);
	assert_between("f32", r.f32_per_second, 1e7, 1e16);
	assert_between("f16", r.f16_per_second, caps->float16 ? 1e7 : 0, caps->float16 ? 1e16 : 0);
	assert_between("int8", r.int8_per_second, caps->int8_dot ? 1e7 : 0, caps->int8_dot ? 1e17 : 0);
	assert_in_range(r.measured_bytes, 4096, 512 << 20);
	gpu_close(gpu);
}

static bool stop_at_once(void *user, uint64_t done, uint64_t total)
{
	(void)user, (void)done, (void)total;
	return false;
}

static void given_up(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu(true);
	rwkvk_device_rates r;
	uint64_t before = gpu_memory_used(gpu);
	assert_fails(gpu_measure(gpu, stop_at_once, NULL, &r), RWKVK_CANCELLED, "cancelled");
	assert_int_equal(gpu_memory_used(gpu), before);
	gpu_close(gpu);
}

/* Only a caller that requests the arithmetic gets it, and RWKVK_CAPS can hide it. */
static void arithmetic(void **state)
{
	(void)state;
	const char *caps = getenv("RWKVK_CAPS");
	char *saved = strdup(caps ? caps : ""), hidden[512];
	assert_non_null(saved);
	struct gpu *gpu = open_gpu(false);
	assert_false(gpu_caps(gpu)->float16);
	assert_false(gpu_caps(gpu)->int8_dot);
	gpu_close(gpu);
	snprintf(hidden, sizeof hidden, "%s,no-float16,no-int8-dot", saved);
	setenv("RWKVK_CAPS", hidden, 1);
	gpu = open_gpu(true);
	assert_false(gpu_caps(gpu)->float16);
	assert_false(gpu_caps(gpu)->int8_dot);
	gpu_close(gpu);
	if (caps)
		setenv("RWKVK_CAPS", saved, 1);
	else
		unsetenv("RWKVK_CAPS");
	free(saved);
}

/* gpu_find() reports what gpu_open() would choose. */
static void finding(void **state)
{
	(void)state;
	rwkvk_device_info info = { 0 };
	assert_ok(gpu_find(NULL, &info));
	assert_true(info.is_default && info.usable);
	struct gpu *gpu = open_gpu(false);
	assert_string_equal(info.name, gpu_caps(gpu)->name);
	assert_string_equal(info.driver, gpu_caps(gpu)->driver);
	assert_int_equal(info.index, gpu_caps(gpu)->index);
	gpu_close(gpu);
	assert_fails(gpu_find("no such device", &info), RWKVK_ERROR_DEVICE, "\"no such device\" is neither");
}

int main(void)
{
	rwkvk_device_info info = { 0 };
	if (gpu_find(NULL, &info) != RWKVK_OK) {
		print_message("SKIPPED test_measure: %s\n", rwkvk_last_error());
		return 77;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates),
		cmocka_unit_test(given_up),
		cmocka_unit_test(arithmetic),
		cmocka_unit_test(finding),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
