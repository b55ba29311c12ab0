/* Error texts for failed Vulkan calls and for exhausted main memory. */
#include "gpu/vk.h"

#include <string.h>

const char *vk_result_name(VkResult result)
{
	switch (result) {
#define NAME(x)                                                                                                                \
	case x:                                                                                                                    \
		return #x
		NAME(VK_SUCCESS);
		NAME(VK_NOT_READY);
		NAME(VK_TIMEOUT);
		NAME(VK_INCOMPLETE);
		NAME(VK_ERROR_OUT_OF_HOST_MEMORY);
		NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY);
		NAME(VK_ERROR_INITIALIZATION_FAILED);
		NAME(VK_ERROR_DEVICE_LOST);
		NAME(VK_ERROR_MEMORY_MAP_FAILED);
		NAME(VK_ERROR_LAYER_NOT_PRESENT);
		NAME(VK_ERROR_EXTENSION_NOT_PRESENT);
		NAME(VK_ERROR_FEATURE_NOT_PRESENT);
		NAME(VK_ERROR_INCOMPATIBLE_DRIVER);
		NAME(VK_ERROR_TOO_MANY_OBJECTS);
		NAME(VK_ERROR_FRAGMENTED_POOL);
		NAME(VK_ERROR_UNKNOWN);
		NAME(VK_ERROR_OUT_OF_POOL_MEMORY);
		NAME(VK_ERROR_INVALID_SHADER_NV);
		NAME(VK_PIPELINE_COMPILE_REQUIRED);
#undef NAME
	default:
		return "an unknown result";
	}
}

rwkvk_status driver_failure(VkResult result, const char *call, const char *file, int line)
{
	const char *slash = strrchr(file, '/'), *function = strstr(call, "vk.vk");
	file = slash ? slash + 1 : file;
	call = function ? function + 3 : call; /* "gpu->vk.vkFoo(...)": from the function's name on */
	if (result == VK_ERROR_DEVICE_LOST)
		return fail(
			RWKVK_ERROR_DEVICE_LOST,
			"%s: VK_ERROR_DEVICE_LOST (%s:%d). The driver has reset the device, usually because work took longer than "
			"its watchdog allows or because of a fault of the driver: open the model again, with nothing else running on "
			"the device, with RWKVK_TOKENS_PER_SUBMISSION=1 in the environment, a newer driver, or another device "
			"(rwkvk_model_options.device)",
			call, file, line);
	if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return fail(RWKVK_ERROR_MEMORY,
		            "%s: %s (%s:%d). The driver has no memory left: close other programs, or use a smaller model, fewer bits "
		            "per weight (rwkvk_model_options.quant) or another device (rwkvk_model_options.device)",
		            call, vk_result_name(result), file, line);
	return fail(RWKVK_ERROR_DRIVER, "%s: %s (%d) (%s:%d)", call, vk_result_name(result), (int)result, file, line);
}

rwkvk_status host_memory_failure(const char *what)
{
	return fail(RWKVK_ERROR_MEMORY, "no main memory left for %s: close other programs or use a smaller model", what);
}
