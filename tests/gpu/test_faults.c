/* A driver that fails: what is reported, and what still works afterwards.  Each gpu object has a table of the driver's calls,
 * so tests replace single entries. */
#include "support.h"

#include "gpu/vk.h"

static struct gpu *open_gpu(void)
{
	struct gpu *gpu;
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &gpu));
	return gpu;
}

static struct gpu_buffer make(struct gpu *gpu)
{
	struct gpu_buffer buffer;
	assert_ok(gpu_buffer_create(gpu, 1024, GPU_DEVICE, "test", &buffer));
	return buffer;
}

static struct gpu_cmd *copy_of(struct gpu *gpu, struct gpu_buffer *from, struct gpu_buffer *to)
{
	struct gpu_cmd *cmd;
	assert_ok(gpu_cmd_create(gpu, &cmd));
	gpu_cmd_begin(cmd);
	gpu_cmd_copy(cmd, &(struct gpu_copy_region){ from, to, 0, 0, 1024 }, 1);
	assert_ok(gpu_cmd_end(cmd));
	return cmd;
}

static uint32_t losses; /* so many waits from now on say that the device is lost */
static PFN_vkWaitForFences wait_for_fences;

static VKAPI_ATTR VkResult VKAPI_CALL lose(VkDevice device, uint32_t count, const VkFence *fences, VkBool32 all,
                                           uint64_t timeout)
{
	VkResult result = wait_for_fences(device, count, fences, all, timeout);
	if (losses == 0)
		return result;
	losses--;
	return VK_ERROR_DEVICE_LOST;
}

/* A lost device stays lost, whatever a later fence says. */
static void lost(void **state)
{
	(void)state;
	struct gpu *gpu = open_gpu();
	struct gpu_buffer a = make(gpu), b = make(gpu);
	struct gpu_cmd *first = copy_of(gpu, &a, &b), *second = copy_of(gpu, &a, &b);
	wait_for_fences = gpu->vk.vkWaitForFences;
	gpu->vk.vkWaitForFences = lose;
	assert_ok(gpu_cmd_start(first));
	assert_ok(gpu_cmd_start(second));
	losses = 1;
	assert_fails(gpu_cmd_wait(first), RWKVK_ERROR_DEVICE_LOST, "open the model again");
	assert_fails(gpu_cmd_wait(second), RWKVK_ERROR_DEVICE_LOST, "VK_ERROR_DEVICE_LOST");
	assert_fails(gpu_cmd_run(first), RWKVK_ERROR_DEVICE_LOST, "rwkvk_model_options.device");
	assert_fails(gpu_copy(&a, 0, &b, 0, 16), RWKVK_ERROR_DEVICE_LOST, "VK_ERROR_DEVICE_LOST");
	gpu_cmd_destroy(first);
	gpu_cmd_destroy(second);
	gpu_buffer_destroy(&a);
	gpu_buffer_destroy(&b);
	gpu_close(gpu);
	gpu = open_gpu(); /* another one is not affected */
	a = make(gpu), b = make(gpu);
	assert_ok(gpu_copy(&a, 0, &b, 0, 16));
	gpu_buffer_destroy(&a);
	gpu_buffer_destroy(&b);
	gpu_close(gpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
