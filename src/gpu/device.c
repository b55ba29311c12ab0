/* Opening a device and closing it. */
#include "gpu/vk.h"

#include <stdlib.h>
#include <string.h>

#include "base/environment.h"

static rwkvk_status create_device(struct gpu *gpu, const struct gpu_options *options)
{
	struct device_facts *facts = &gpu->facts;
	const char *extensions[6];
	uint32_t count = 0;
	const void *chain = NULL;
	VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
		.subgroupSizeControl = VK_TRUE,
		.computeFullSubgroups = facts->full_subgroups,
	};
	VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
		.pipelineExecutableInfo = VK_TRUE,
	};
	if (facts->size_control) {
		extensions[count++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
		chain = &size;
	}
	VkPhysicalDeviceShaderFloat16Int8FeaturesKHR float16 = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES_KHR,
		.shaderFloat16 = VK_TRUE,
	};
	VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR,
		.shaderIntegerDotProduct = VK_TRUE,
	};
	facts->caps.float16 = facts->caps.float16 && options->arithmetic;
	facts->caps.int8_dot = facts->caps.int8_dot && options->arithmetic;
	facts->caps.pipeline_statistics = options->capture_statistics && facts->has_statistics;
	if (facts->caps.pipeline_statistics) {
		extensions[count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
		executable.pNext = (void *)(uintptr_t)chain;
		chain = &executable;
	}
	if (facts->caps.float16) {
		extensions[count++] = VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME;
		float16.pNext = (void *)(uintptr_t)chain;
		chain = &float16;
	}
	if (facts->caps.int8_dot) {
		extensions[count++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
		dot.pNext = (void *)(uintptr_t)chain;
		chain = &dot;
	}
	if (facts->has_budget)
		extensions[count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
	if (facts->has_portability)
		extensions[count++] = "VK_KHR_portability_subset"; /* the specification demands it */
	VkDeviceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.pNext = chain,
		.queueCreateInfoCount = 1,
		.pQueueCreateInfos = &(VkDeviceQueueCreateInfo){ .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
		                                                 .queueFamilyIndex = facts->queue_family,
		                                                 .queueCount = 1,
		                                                 .pQueuePriorities = &(float){ 1 } },
		.enabledExtensionCount = count,
		.ppEnabledExtensionNames = extensions,
	};
	VkResult result = vkCreateDevice(facts->physical, &info, NULL, &gpu->device);
	if (result != VK_SUCCESS) {
		gpu->device = VK_NULL_HANDLE;
		return driver_failure(result, "vkCreateDevice(...)", __FILE__, __LINE__);
	}
	volkLoadDeviceTable(&gpu->vk, gpu->device);
	gpu->vk.vkGetDeviceQueue(gpu->device, facts->queue_family, 0, &gpu->queue);
	VkCommandPoolCreateInfo pool = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
		.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
		.queueFamilyIndex = facts->queue_family,
	};
	VK(gpu->vk.vkCreateCommandPool(gpu->device, &pool, NULL, &gpu->command_pool));
	return RWKVK_OK;
}

/* The device's capabilities, limited by the options. */
static void limit_facts(struct device_facts *facts, const struct gpu_options *options)
{
	struct gpu_caps *caps = &facts->caps;
	if (options->threads)
		caps->processors = (uint32_t)smaller(caps->processors, options->threads);
	if (options->device_memory && options->device_memory < caps->device_memory)
		caps->device_memory = caps->memory_bound = facts->memory_cap = options->device_memory;
}

static rwkvk_status open_locked(struct gpu *gpu, const struct gpu_options *options, struct device_facts *facts)
{
	uint32_t count = 0, chosen = 0;
	TRY(instance_create(gpu, &gpu->instance, &gpu->messenger));
	TRY(devices_learn(gpu->instance, facts, &count));
	TRY(device_choose(options->device, facts, count, &chosen));
	gpu->facts = facts[chosen];
	limit_facts(&gpu->facts, options);
	return create_device(gpu, options);
}

static rwkvk_status copy_options(struct gpu *gpu, const struct gpu_options *options)
{
	gpu->profiling = options->profile;
	gpu->threads = options->threads;
	gpu->listener = (struct listener){ options->log, options->log_user };
	gpu->cancel = options->cancel;
	const char *shaders = environment_text(ENVIRONMENT_SHADER_DIR);
	gpu->cache_folder = cache_choose_folder(options->cache_dir);
	gpu->shader_folder = shaders && *shaders ? strdup(shaders) : NULL;
	bool failed =
		(options->cache_dir && *options->cache_dir && !gpu->cache_folder) || (shaders && *shaders && !gpu->shader_folder);
	return failed ? host_memory_failure("a device") : RWKVK_OK;
}

static struct gpu *create_object(void)
{
	struct gpu *gpu = calloc(1, sizeof *gpu);
	if (gpu && mutex_init(&gpu->profile.lock))
		return gpu;
	free(gpu);
	return NULL;
}

rwkvk_status gpu_open(const struct gpu_options *options, struct gpu **out)
{
	*out = NULL;
	struct gpu *gpu = create_object();
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	rwkvk_status status = gpu && facts ? RWKVK_OK : host_memory_failure("a device");
	if (status == RWKVK_OK)
		status = copy_options(gpu, options);
	if (status == RWKVK_OK) {
		loader_lock();
		status = open_locked(gpu, options, facts);
		loader_unlock();
	}
	if (status == RWKVK_OK)
		status = pipelines_init(gpu);
	free(facts);
	if (status != RWKVK_OK)
		gpu_close(gpu);
	else
		*out = gpu;
	return status;
}

void gpu_close(struct gpu *gpu)
{
	if (!gpu)
		return;
	if (gpu->device) {
		if (counter_get(&gpu->counters.submits) > 0) /* a compile-only driver crashes on this call */
			gpu->vk.vkDeviceWaitIdle(gpu->device);
		memory_finish(gpu);
		pipelines_finish(gpu);
		gpu->vk.vkDestroyCommandPool(gpu->device, gpu->command_pool, NULL);
		gpu->vk.vkDestroyDevice(gpu->device, NULL);
	}
	loader_lock();
	instance_destroy(gpu->instance, gpu->messenger);
	loader_unlock();
	profile_finish(gpu);
	free(gpu->cache_folder);
	free(gpu->shader_folder);
	free(gpu);
}

void gpu_set_cancel(struct gpu *gpu, const atomic_bool *cancel)
{
	gpu->cancel = cancel;
}

const char *gpu_cache_folder(const struct gpu *gpu)
{
	return gpu->cache_folder;
}

const struct listener *gpu_listener(const struct gpu *gpu)
{
	return &gpu->listener;
}

const struct gpu_caps *gpu_caps(const struct gpu *gpu)
{
	return &gpu->facts.caps;
}

struct gpu_counters gpu_counters(const struct gpu *gpu)
{
	const struct counters *c = &gpu->counters;
	return (struct gpu_counters){
		.dispatches = counter_get(&c->dispatches),
		.barriers = counter_get(&c->barriers),
		.submits = counter_get(&c->submits),
		.host_calls = counter_get(&c->host_calls),
		.descriptor_updates = counter_get(&c->descriptor_updates),
		.allocations = counter_get(&c->allocations),
		.buffers = counter_get(&c->buffers),
		.recordings = counter_get(&c->recordings),
		.compile_nanoseconds = counter_get(&c->compile_nanoseconds),
	};
}

/* ---------------------------------------------------------------------------------------------------- memory left */

uint64_t device_heap_room(const struct gpu *gpu, uint32_t heap)
{
	const struct device_facts *facts = &gpu->facts;
	uint64_t used = gpu_memory_used(gpu), cap = facts->memory_cap - smaller(used, facts->memory_cap);
	if (facts->caps.type == RWKVK_DEVICE_CPU)
		return smaller(cap, facts->caps.device_memory - smaller(used, facts->caps.device_memory));
	if (!facts->has_budget) {
		uint64_t size = facts->memory.memoryHeaps[heap].size;
		return smaller(cap, size - smaller(gpu->memory.heap_used[heap], size));
	}
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = { .sType =
		                                                     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT };
	VkPhysicalDeviceMemoryProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
		                                             .pNext = &budget };
	loader_lock();
	vkGetPhysicalDeviceMemoryProperties2(facts->physical, &properties);
	loader_unlock();
	return smaller(cap, budget.heapBudget[heap] - smaller(budget.heapUsage[heap], budget.heapBudget[heap]));
}
