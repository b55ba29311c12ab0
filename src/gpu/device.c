/* The Vulkan loader, the instance, the choice of a device and what is known about it.
 *
 * Every gpu object and every listing has an instance of its own.  Volk's instance-level functions are process-wide
 * variables, so everything that loads or calls them holds `loader_lock`; device-level functions are a table in the gpu. */
#include "gpu/vk.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define MAX_DEVICES 64

static pthread_mutex_t loader_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t validation_messages;

/* ---------------------------------------------------------------------------------------------------- failures */

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
		return fail(RWKVK_ERROR_DRIVER,
		            "%s: VK_ERROR_DEVICE_LOST (%s:%d). The driver has reset the device, usually because work took longer than "
		            "its watchdog allows or because of a fault of the driver: try again with nothing else running on the "
		            "device, a newer driver, or another device (--device)",
		            call, file, line);
	if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return fail(
			RWKVK_ERROR_MEMORY,
			"%s: %s (%s:%d). The driver has no memory left: close other programs, or use a smaller model, 8-bit weights "
			"(--quant q8) or another device (--device)",
			call, vk_result_name(result), file, line);
	return fail(RWKVK_ERROR_DRIVER, "%s: %s (%d) (%s:%d)", call, vk_result_name(result), (int)result, file, line);
}

rwkvk_status host_memory_failure(const char *what)
{
	return fail(RWKVK_ERROR_MEMORY, "no main memory left for %s: close other programs or use a smaller model", what);
}

/* ---------------------------------------------------------------------------------------------------- RWKVK_CAPS */

/* What RWKVK_CAPS asks for: features to hide, limits to lower (0: as the device has it), a software device to be treated like
 * a graphics card. */
struct overrides {
	bool no_subgroups, no_texels, no_size_control, no_unified, no_timestamps, as_gpu;
	uint64_t invocations, shared, range, buffer, memory;
};

#define OVERRIDE_WORDS                                                                                                         \
	"no-subgroups, no-texels, no-size-control, no-unified, no-timestamps, as-gpu, invocations=N, shared=BYTES, "               \
	"range=BYTES, buffer=BYTES, memory=BYTES"

static rwkvk_status parse_override(const char *word, size_t length, struct overrides *out)
{
	const struct {
		const char *name;
		bool *flag;
		uint64_t *limit;
	} words[] = {
		{ "no-subgroups", &out->no_subgroups, NULL },
		{ "no-texels", &out->no_texels, NULL },
		{ "no-size-control", &out->no_size_control, NULL },
		{ "no-unified", &out->no_unified, NULL },
		{ "no-timestamps", &out->no_timestamps, NULL },
		{ "as-gpu", &out->as_gpu, NULL },
		{ "invocations=", NULL, &out->invocations },
		{ "shared=", NULL, &out->shared },
		{ "range=", NULL, &out->range },
		{ "buffer=", NULL, &out->buffer },
		{ "memory=", NULL, &out->memory },
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t name = strlen(words[i].name);
		if (words[i].flag && length == name && !memcmp(word, words[i].name, name)) {
			*words[i].flag = true;
			return RWKVK_OK;
		}
		if (words[i].limit && length > name && length - name < 19 && !memcmp(word, words[i].name, name) &&
		    strspn(word + name, "0123456789") == length - name) {
			*words[i].limit = strtoull(word + name, NULL, 10);
			if (*words[i].limit > 0)
				return RWKVK_OK;
		}
	}
	return fail(RWKVK_ERROR_ARGUMENT, "RWKVK_CAPS: \"%.*s\" is not understood; it is a list, separated by commas, of: %s",
	            (int)length, word, OVERRIDE_WORDS);
}

static rwkvk_status read_overrides(struct overrides *out)
{
	*out = (struct overrides){ 0 };
	for (const char *at = getenv("RWKVK_CAPS"); at && *at;) {
		size_t length = strcspn(at, ",");
		if (length > 0)
			TRY(parse_override(at, length, out));
		at += length + (at[length] == ',');
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- facts */

static void refuse(struct device_facts *facts, const char *format, ...) PRINTF_LIKE(2, 3);

static void refuse(struct device_facts *facts, const char *format, ...)
{
	if (!facts->usable)
		return; /* the first reason stands */
	va_list args;
	va_start(args, format);
	vsnprintf(facts->reason, sizeof facts->reason, format, args);
	va_end(args);
	facts->usable = false;
}

static void need(struct device_facts *facts, const char *limit, uint64_t have, uint64_t least)
{
	if (have < least)
		refuse(facts, "its %s is %" PRIu64 ", at least %" PRIu64 " is needed", limit, have, least);
}

/* Lowers a limit; raising one makes the device unusable, with the reason. */
static uint64_t lower(struct device_facts *facts, const char *word, uint64_t have, uint64_t wanted)
{
	if (wanted > have)
		refuse(facts, "RWKVK_CAPS: %s=%" PRIu64 " is more than the device's %" PRIu64 "; it can only lower: %s", word, wanted,
		       have, OVERRIDE_WORDS);
	return wanted && wanted < have ? wanted : have;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

struct extension_flag {
	const char *name;
	bool *present;
};

static void mark_extensions(const VkExtensionProperties *extensions, uint32_t count, const struct extension_flag *flags,
                            size_t flag_count)
{
	for (uint32_t i = 0; i < count; i++)
		for (size_t k = 0; k < flag_count; k++)
			if (!strcmp(extensions[i].extensionName, flags[k].name))
				*flags[k].present = true;
}

static rwkvk_status find_device_extensions(VkPhysicalDevice physical, const struct extension_flag *flags, size_t flag_count)
{
	uint32_t count = 0;
	VK(vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL));
	VkExtensionProperties *extensions = calloc(count + 1, sizeof *extensions);
	if (!extensions)
		return host_memory_failure("the list of Vulkan extensions");
	VkResult result = vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions);
	if (result == VK_SUCCESS || result == VK_INCOMPLETE)
		mark_extensions(extensions, count, flags, flag_count);
	free(extensions);
	return RWKVK_OK;
}

static void find_queue(struct device_facts *facts)
{
	VkQueueFamilyProperties families[32];
	uint32_t count = 32;
	vkGetPhysicalDeviceQueueFamilyProperties(facts->physical, &count, families);
	for (uint32_t i = 0; i < count; i++)
		if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) {
			facts->queue_family = i;
			facts->timestamp_bits = families[i].timestampValidBits;
			return;
		}
	refuse(facts, "it has no queue for compute work");
}

static rwkvk_device_type type_of(VkPhysicalDeviceType type)
{
	switch (type) {
	case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
		return RWKVK_DEVICE_INTEGRATED;
	case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
		return RWKVK_DEVICE_DISCRETE;
	case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
		return RWKVK_DEVICE_VIRTUAL;
	case VK_PHYSICAL_DEVICE_TYPE_CPU:
		return RWKVK_DEVICE_CPU;
	default:
		return RWKVK_DEVICE_OTHER;
	}
}

/* Can the host write where shaders read?  Always so on integrated and CPU devices with such a memory type; on others when
 * the window onto the device's memory is more than the customary 256 MiB, or all there is. */
static bool unified(const struct device_facts *facts)
{
	const VkMemoryPropertyFlags wanted =
		VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
	uint32_t local_heaps = 0;
	for (uint32_t i = 0; i < facts->memory.memoryHeapCount; i++)
		local_heaps += (facts->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0;
	bool shares = facts->caps.type == RWKVK_DEVICE_INTEGRATED || facts->caps.type == RWKVK_DEVICE_CPU;
	for (uint32_t i = 0; i < facts->memory.memoryTypeCount; i++) {
		const VkMemoryType *type = &facts->memory.memoryTypes[i];
		if ((type->propertyFlags & wanted) == wanted &&
		    (shares || local_heaps == 1 || facts->memory.memoryHeaps[type->heapIndex].size > (256u << 20)))
			return true;
	}
	return false;
}

/* Bytes in the heaps that GPU_DEVICE buffers can lie in.  A CPU device's heap says little; main memory is what it has. */
static uint64_t weight_memory(const struct device_facts *facts)
{
	if (facts->memory.memoryTypeCount == 0)
		return 0;
	if (facts->caps.type == RWKVK_DEVICE_CPU)
		return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t sum = 0;
	uint32_t counted = 0;
	for (uint32_t i = 0; i < facts->memory.memoryTypeCount; i++) {
		uint32_t heap = facts->memory.memoryTypes[i].heapIndex;
		if (memory_rank(facts, GPU_DEVICE, i) >= 0 && !(counted >> heap & 1))
			sum += facts->memory.memoryHeaps[heap].size;
		if (memory_rank(facts, GPU_DEVICE, i) >= 0)
			counted |= 1u << heap;
	}
	return sum;
}

/* Everything that only a device of Vulkan 1.1 can be asked. */
struct properties_1_1 {
	VkPhysicalDeviceSubgroupProperties subgroup;
	VkPhysicalDeviceMaintenance3Properties maintenance3;
	VkPhysicalDeviceIDProperties id;
	VkPhysicalDeviceDriverPropertiesKHR driver;
	VkPhysicalDeviceSubgroupSizeControlPropertiesEXT size;
	VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size_features;
};

static rwkvk_status query_properties(struct device_facts *facts, struct properties_1_1 *out)
{
	bool has_driver = false;
	const struct extension_flag flags[] = {
		{ VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME, &has_driver },
		{ VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, &facts->size_control },
		{ VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, &facts->has_budget },
		{ VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, &facts->has_statistics },
		{ "VK_KHR_portability_subset", &facts->has_portability },
	};
	TRY(find_device_extensions(facts->physical, flags, sizeof flags / sizeof *flags));

	*out = (struct properties_1_1){
		.subgroup = { VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, &out->maintenance3, 0, 0, 0, 0 },
		.maintenance3 = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &out->id },
		.id = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES },
		.driver = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES_KHR },
		.size = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT },
		.size_features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT },
	};
	VkPhysicalDeviceProperties2 properties = { VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &out->subgroup, { 0 } };
	if (facts->size_control) {
		out->size.pNext = out->subgroup.pNext;
		out->subgroup.pNext = &out->size;
	}
	if (has_driver) {
		out->driver.pNext = out->subgroup.pNext;
		out->subgroup.pNext = &out->driver;
	}
	vkGetPhysicalDeviceProperties2(facts->physical, &properties);
	VkPhysicalDeviceFeatures2 features = { VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &out->size_features, { 0 } };
	if (facts->size_control)
		vkGetPhysicalDeviceFeatures2(facts->physical, &features);
	return RWKVK_OK;
}

/* The subgroup size to ask for.  Intel's drivers report 32 where there is a choice, but in a wide subgroup each thread has the
 * fewest registers: the compiler spills some shaders at 16 and most at 32, none at the smallest (docs/drivers.md). */
static uint32_t preferred_subgroup(const struct device_facts *facts, const struct properties_1_1 *properties)
{
	enum { INTEL = 0x8086 };
	uint32_t least = properties->size.minSubgroupSize;
	if (facts->properties.vendorID == INTEL)
		return least < 8 ? 8 : least; /* 8, and 16 since Xe2 */
	return properties->subgroup.subgroupSize;
}

static void learn_subgroups(struct device_facts *facts, const struct properties_1_1 *properties,
                            const struct overrides *overrides)
{
	const VkSubgroupFeatureFlags operations =
		VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
	uint32_t size = properties->subgroup.subgroupSize;
	facts->caps.subgroups = !overrides->no_subgroups && (properties->subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
	                        (properties->subgroup.supportedOperations & operations) == operations && size >= 4 && size <= 128;
	facts->size_control = facts->size_control && facts->caps.subgroups && !overrides->no_size_control &&
	                      properties->size_features.subgroupSizeControl;
	facts->full_subgroups = facts->size_control && properties->size_features.computeFullSubgroups;
	if (facts->size_control && (properties->size.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
	    size >= properties->size.minSubgroupSize && size <= properties->size.maxSubgroupSize) {
		size = preferred_subgroup(facts, properties);
		facts->required_subgroup_size = size;
		facts->max_workgroup_subgroups = properties->size.maxComputeWorkgroupSubgroups;
	}
	facts->caps.subgroup_size = facts->caps.subgroups ? size : 1;
}

/* Software drivers check and branch for each lane of a read from a storage buffer, and gather those from a texel buffer with
 * vector instructions: 8 times the speed of a matrix on llvmpipe.  GPUs read storage buffers best.  A binding must fit into a
 * view of 32-bit words, the smallest texels in use. */
static void learn_texels(struct device_facts *facts, const struct overrides *overrides)
{
	const VkPhysicalDeviceLimits *limits = &facts->properties.limits;
	struct gpu_caps *caps = &facts->caps;
	caps->texel_reads = !overrides->no_texels && caps->subgroups && caps->type == RWKVK_DEVICE_CPU &&
	                    limits->maxTexelBufferElements >= caps->max_range / 4;
	if (caps->texel_reads && caps->offset_alignment < limits->minTexelBufferOffsetAlignment)
		caps->offset_alignment = (uint32_t)limits->minTexelBufferOffsetAlignment;
}

static void learn_memory(struct device_facts *facts, uint64_t max_allocation, const struct overrides *overrides)
{
	struct gpu_caps *caps = &facts->caps;
	vkGetPhysicalDeviceMemoryProperties(facts->physical, &facts->memory);
	caps->can_allocate = facts->memory.memoryTypeCount > 0 && facts->memory.memoryHeapCount > 0;
	facts->max_allocation = caps->can_allocate && max_allocation ? max_allocation : UINT64_MAX;
	caps->unified_memory = !overrides->no_unified && unified(facts);
	caps->device_memory = lower(facts, "memory", weight_memory(facts), overrides->memory);
	facts->memory_cap = overrides->memory ? caps->device_memory : UINT64_MAX;

	uint64_t largest = smaller(smaller(caps->max_range, facts->max_allocation), 1u << 30);
	caps->max_buffer = lower(facts, "buffer", largest, overrides->buffer) & ~(uint64_t)15;
}

static void learn_limits(struct device_facts *facts, const struct overrides *overrides)
{
	const VkPhysicalDeviceLimits *limits = &facts->properties.limits;
	struct gpu_caps *caps = &facts->caps;
	uint64_t invocations = smaller(limits->maxComputeWorkGroupInvocations, limits->maxComputeWorkGroupSize[0]);
	caps->max_invocations = (uint32_t)lower(facts, "invocations", invocations, overrides->invocations);
	caps->max_groups = limits->maxComputeWorkGroupCount[0];
	caps->max_shared_bytes = (uint32_t)lower(facts, "shared", limits->maxComputeSharedMemorySize, overrides->shared);
	caps->max_range = lower(facts, "range", limits->maxStorageBufferRange, overrides->range);
	caps->offset_alignment =
		(uint32_t)(limits->minStorageBufferOffsetAlignment < 4 ? 4 : limits->minStorageBufferOffsetAlignment);
	need(facts, "maxComputeWorkGroupInvocations", caps->max_invocations, 128);
	need(facts, "maxComputeSharedMemorySize", caps->max_shared_bytes, 16384);
	need(facts, "maxPerStageDescriptorStorageBuffers", limits->maxPerStageDescriptorStorageBuffers, GPU_BINDINGS);
	need(facts, "maxPushConstantsSize", limits->maxPushConstantsSize, GPU_PUSH_BYTES);
	need(facts, "maxStorageBufferRange", caps->max_range, overrides->range ? 65536 : 1u << 27);
}

/* Learns all about a device.  What makes it unusable is a fact too, not a failure. */
static rwkvk_status learn(VkPhysicalDevice physical, uint32_t index, const struct overrides *overrides,
                          struct device_facts *facts)
{
	*facts = (struct device_facts){ .physical = physical, .usable = true };
	vkGetPhysicalDeviceProperties(physical, &facts->properties);
	const VkPhysicalDeviceProperties *properties = &facts->properties;
	struct gpu_caps *caps = &facts->caps;
	snprintf(caps->name, sizeof caps->name, "%s", properties->deviceName);
	caps->type = overrides->as_gpu ? RWKVK_DEVICE_DISCRETE : type_of(properties->deviceType);
	caps->index = index;
	caps->vendor_id = properties->vendorID;
	caps->device_id = properties->deviceID;
	caps->api_version[0] = VK_API_VERSION_MAJOR(properties->apiVersion);
	caps->api_version[1] = VK_API_VERSION_MINOR(properties->apiVersion);
	caps->api_version[2] = VK_API_VERSION_PATCH(properties->apiVersion);
	caps->subgroup_size = 1;
	find_queue(facts);
	learn_limits(facts, overrides);
	if (properties->apiVersion < VK_API_VERSION_1_1) {
		facts->usable = true; /* this reason goes before the others */
		refuse(facts, "its Vulkan version is %u.%u, at least 1.1 is needed", caps->api_version[0], caps->api_version[1]);
		learn_memory(facts, 0, overrides);
		return RWKVK_OK;
	}

	struct properties_1_1 more;
	TRY(query_properties(facts, &more));
	memcpy(facts->driver_uuid, more.id.driverUUID, sizeof facts->driver_uuid);
	if (more.driver.driverName[0])
		snprintf(caps->driver, sizeof caps->driver, "%s%s%s", more.driver.driverName, more.driver.driverInfo[0] ? " " : "",
		         more.driver.driverInfo);
	learn_subgroups(facts, &more, overrides);
	learn_texels(facts, overrides);
	learn_memory(facts, more.maintenance3.maxMemoryAllocationSize, overrides);
	double period = (double)properties->limits.timestampPeriod;
	caps->timestamps = !overrides->no_timestamps && facts->timestamp_bits > 0 && isfinite(period) && period > 0;
	caps->timestamp_period = caps->timestamps ? period : 0;
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- instance */

uint64_t gpu_validation_messages(void)
{
	return atomic_load(&validation_messages);
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
	(void)severity, (void)types, (void)user;
	atomic_fetch_add(&validation_messages, 1);
	fprintf(stderr, "VALIDATION: %s\n", data->pMessage ? data->pMessage : "(no text)");
	return VK_FALSE;
}

static const VkDebugUtilsMessengerCreateInfoEXT messenger_info = {
	.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
	.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
	.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
	.pfnUserCallback = on_message,
};

static rwkvk_status no_device(void)
{
	return fail(RWKVK_ERROR_DEVICE,
	            "no Vulkan device found: install the Vulkan driver of your GPU, or a software device that runs "
	            "anywhere; on Debian and Ubuntu `apt install mesa-vulkan-drivers` has both");
}

static rwkvk_status load_loader(void)
{
	if (volkInitialize() != VK_SUCCESS)
		return fail(RWKVK_ERROR_DEVICE,
		            "no Vulkan loader (libvulkan.so.1) found: install it and a driver; on Debian and Ubuntu "
		            "`apt install libvulkan1 mesa-vulkan-drivers`");
	uint32_t version = volkGetInstanceVersion();
	if (version < VK_API_VERSION_1_1)
		return fail(RWKVK_ERROR_DEVICE,
		            "the Vulkan loader is version %u.%u, at least 1.1 is needed: install a newer libvulkan1",
		            VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
	return RWKVK_OK;
}

static void find_instance_extensions(const struct extension_flag *flags, size_t flag_count)
{
	VkExtensionProperties extensions[128];
	uint32_t count = 128;
	VkResult result = vkEnumerateInstanceExtensionProperties(NULL, &count, extensions);
	if (result == VK_SUCCESS || result == VK_INCOMPLETE)
		mark_extensions(extensions, count, flags, flag_count);
}

static rwkvk_status create_instance(VkInstance *instance, VkDebugUtilsMessengerEXT *messenger)
{
	*instance = VK_NULL_HANDLE;
	*messenger = VK_NULL_HANDLE;
	TRY(load_loader());
	bool has_messenger = false, has_portability = false;
	const struct extension_flag flags[] = {
		{ VK_EXT_DEBUG_UTILS_EXTENSION_NAME, &has_messenger },
		{ VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME, &has_portability },
	};
	find_instance_extensions(flags, sizeof flags / sizeof *flags);
	const char *validate = getenv("RWKVK_VALIDATE");
	bool listen = has_messenger && validate && !strcmp(validate, "1");

	const char *extensions[2];
	uint32_t count = 0;
	if (listen)
		extensions[count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
	if (has_portability)
		extensions[count++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
	VkInstanceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pNext = listen ? &messenger_info : NULL,
		.flags = has_portability ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
		.pApplicationInfo = &(VkApplicationInfo){ .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		                                          .pApplicationName = "rwkvk",
		                                          .apiVersion = VK_API_VERSION_1_1 },
		.enabledExtensionCount = count,
		.ppEnabledExtensionNames = extensions,
	};
	VkResult result = vkCreateInstance(&info, NULL, instance);
	if (result == VK_ERROR_INCOMPATIBLE_DRIVER) /* what a loader without any driver says */
		return no_device();
	if (result != VK_SUCCESS)
		return driver_failure(result, "vkCreateInstance(...)", __FILE__, __LINE__);
	volkLoadInstanceOnly(*instance);
	if (listen && vkCreateDebugUtilsMessengerEXT(*instance, &messenger_info, NULL, messenger) != VK_SUCCESS)
		*messenger = VK_NULL_HANDLE; /* the one of vkCreateInstance still listens to creation and destruction */
	return RWKVK_OK;
}

static void destroy_instance(VkInstance instance, VkDebugUtilsMessengerEXT messenger)
{
	if (messenger)
		vkDestroyDebugUtilsMessengerEXT(instance, messenger, NULL);
	if (instance)
		vkDestroyInstance(instance, NULL);
}

/* ---------------------------------------------------------------------------------------------------- choice */

static rwkvk_status learn_all(VkInstance instance, struct device_facts *facts, uint32_t *count)
{
	VkPhysicalDevice devices[MAX_DEVICES];
	struct overrides overrides;
	TRY(read_overrides(&overrides));
	*count = MAX_DEVICES;
	VkResult result = vkEnumeratePhysicalDevices(instance, count, devices);
	if (result == VK_ERROR_INITIALIZATION_FAILED ||
	    (result >= 0 && *count == 0)) { /* old loaders without a device say the former */
		*count = 0;
		return no_device();
	}
	if (result < 0)
		return driver_failure(result, "vkEnumeratePhysicalDevices(...)", __FILE__, __LINE__);
	for (uint32_t i = 0; i < *count; i++)
		TRY(learn(devices[i], i, &overrides, &facts[i]));
	return RWKVK_OK;
}

/* Larger is better; the device's memory decides between equals. */
static int preference(rwkvk_device_type type)
{
	static const int order[] = {
		[RWKVK_DEVICE_OTHER] = 0,      [RWKVK_DEVICE_CPU] = 1,      [RWKVK_DEVICE_VIRTUAL] = 2,
		[RWKVK_DEVICE_INTEGRATED] = 3, [RWKVK_DEVICE_DISCRETE] = 4,
	};
	return order[type];
}

static bool better(const struct device_facts *a, const struct device_facts *b)
{
	if (a->usable != b->usable)
		return a->usable;
	int difference = preference(a->caps.type) - preference(b->caps.type);
	return difference ? difference > 0 : a->caps.device_memory > b->caps.device_memory;
}

static bool contains(const char *text, const char *part)
{
	size_t length = strlen(part);
	for (; *text; text++)
		if (!strncasecmp(text, part, length))
			return true;
	return false;
}

static rwkvk_status refuse_choice(const char *what, const struct device_facts *facts, uint32_t count)
{
	char list[1400] = "";
	for (uint32_t i = 0; i < count; i++) {
		size_t used = strlen(list);
		snprintf(list + used, sizeof list - used, "\n  %u  %s%s%s%s", i, facts[i].caps.name,
		         facts[i].usable ? "" : " (cannot be used: ", facts[i].reason, facts[i].usable ? "" : ")");
	}
	return fail(RWKVK_ERROR_DEVICE, "%s; the Vulkan devices here are:%s", what, list);
}

/* `wanted`: an index, part of a name, or NULL for the best. */
static rwkvk_status choose(const char *wanted, const struct device_facts *facts, uint32_t count, uint32_t *chosen)
{
	if (!wanted || !*wanted)
		wanted = getenv("RWKVK_DEVICE");
	bool named = wanted && *wanted, found = false;
	if (named && strlen(wanted) < 9 && strspn(wanted, "0123456789") == strlen(wanted) && strtoul(wanted, NULL, 10) < count) {
		*chosen = (uint32_t)strtoul(wanted, NULL, 10);
		found = true;
	}
	if (!found) {
		for (uint32_t i = 0; i < count; i++) {
			if (named && !contains(facts[i].caps.name, wanted))
				continue;
			if (!found || better(&facts[i], &facts[*chosen]))
				*chosen = i;
			found = true;
		}
	}
	char what[300];
	if (!found) {
		snprintf(what, sizeof what, "\"%.200s\" is neither the index of a Vulkan device nor part of the name of one", wanted);
		return refuse_choice(what, facts, count);
	}
	if (!facts[*chosen].usable && !named)
		return refuse_choice("no Vulkan device can be used", facts, count);
	if (!facts[*chosen].usable)
		return fail(RWKVK_ERROR_DEVICE, "device %u, %s, cannot be used: %s", *chosen, facts[*chosen].caps.name,
		            facts[*chosen].reason);
	return RWKVK_OK;
}

static void describe(const struct device_facts *facts, bool is_default, rwkvk_device_info *info)
{
	const struct gpu_caps *caps = &facts->caps;
	*info = (rwkvk_device_info){
		.index = caps->index,
		.type = caps->type,
		.api_version = { caps->api_version[0], caps->api_version[1], caps->api_version[2] },
		.vendor_id = caps->vendor_id,
		.device_id = caps->device_id,
		.subgroup_size = caps->subgroup_size,
		.subgroup_operations = caps->subgroups,
		.unified_memory = caps->unified_memory,
		.max_workgroup_invocations = caps->max_invocations,
		.max_shared_memory = caps->max_shared_bytes,
		.max_storage_range = caps->max_range,
		.device_memory = caps->device_memory,
		.is_default = is_default,
		.usable = facts->usable,
	};
	memcpy(info->name, caps->name, sizeof info->name);
	memcpy(info->driver, caps->driver, sizeof info->driver);
	memcpy(info->reason, facts->reason, sizeof info->reason);
}

static rwkvk_status list_locked(struct device_facts *facts, rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	VkInstance instance;
	VkDebugUtilsMessengerEXT messenger;
	uint32_t found = 0, chosen = UINT32_MAX;
	rwkvk_status status = create_instance(&instance, &messenger);
	if (status == RWKVK_OK)
		status = learn_all(instance, facts, &found);
	destroy_instance(instance, messenger);
	TRY(status);
	if (choose(NULL, facts, found, &chosen) != RWKVK_OK)
		chosen = UINT32_MAX; /* no default then */
	for (uint32_t i = 0; i < found && i < capacity; i++)
		describe(&facts[i], i == chosen, &infos[i]);
	*count = found;
	return RWKVK_OK;
}

rwkvk_status gpu_list(rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	*count = 0;
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	if (!facts)
		return host_memory_failure("the list of devices");
	pthread_mutex_lock(&loader_lock);
	rwkvk_status status = list_locked(facts, infos, capacity, count);
	pthread_mutex_unlock(&loader_lock);
	free(facts);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- opening */

static rwkvk_status create_device(struct gpu *gpu, bool statistics)
{
	struct device_facts *facts = &gpu->facts;
	const char *extensions[4];
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
	facts->caps.pipeline_statistics = statistics && facts->has_statistics;
	if (facts->caps.pipeline_statistics) {
		extensions[count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
		executable.pNext = (void *)(uintptr_t)chain;
		chain = &executable;
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

static rwkvk_status open_locked(struct gpu *gpu, const struct gpu_options *options, struct device_facts *facts)
{
	uint32_t count = 0, chosen = 0;
	TRY(create_instance(&gpu->instance, &gpu->messenger));
	TRY(learn_all(gpu->instance, facts, &count));
	TRY(choose(options->device, facts, count, &chosen));
	gpu->facts = facts[chosen];
	return create_device(gpu, options->capture_statistics);
}

rwkvk_status gpu_open(const struct gpu_options *options, struct gpu **out)
{
	*out = NULL;
	struct gpu *gpu = calloc(1, sizeof *gpu);
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	rwkvk_status status = gpu && facts ? RWKVK_OK : host_memory_failure("a device");
	if (status == RWKVK_OK) {
		gpu->profiling = options->profile;
		pthread_mutex_lock(&loader_lock);
		status = open_locked(gpu, options, facts);
		pthread_mutex_unlock(&loader_lock);
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
		if (gpu->counters.submits > 0) /* a driver that only compiles does not survive the question */
			gpu->vk.vkDeviceWaitIdle(gpu->device);
		memory_finish(gpu);
		pipelines_finish(gpu);
		gpu->vk.vkDestroyCommandPool(gpu->device, gpu->command_pool, NULL);
		gpu->vk.vkDestroyDevice(gpu->device, NULL);
	}
	pthread_mutex_lock(&loader_lock);
	destroy_instance(gpu->instance, gpu->messenger);
	pthread_mutex_unlock(&loader_lock);
	free(gpu->profile.rows);
	free(gpu);
}

const struct gpu_caps *gpu_caps(const struct gpu *gpu)
{
	return &gpu->facts.caps;
}

struct gpu_counters gpu_counters(const struct gpu *gpu)
{
	return gpu->counters;
}

/* ---------------------------------------------------------------------------------------------------- memory left */

uint64_t device_heap_room(const struct gpu *gpu, uint32_t heap)
{
	const struct device_facts *facts = &gpu->facts;
	uint64_t cap = facts->memory_cap - smaller(gpu->memory.used, facts->memory_cap);
	if (facts->caps.type == RWKVK_DEVICE_CPU)
		return smaller(cap, facts->caps.device_memory - smaller(gpu->memory.used, facts->caps.device_memory));
	if (!facts->has_budget) {
		uint64_t size = facts->memory.memoryHeaps[heap].size;
		return smaller(cap, size - smaller(gpu->memory.heap_used[heap], size));
	}
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = { .sType =
		                                                     VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT };
	VkPhysicalDeviceMemoryProperties2 properties = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
		                                             .pNext = &budget };
	pthread_mutex_lock(&loader_lock);
	vkGetPhysicalDeviceMemoryProperties2(facts->physical, &properties);
	pthread_mutex_unlock(&loader_lock);
	return smaller(cap, budget.heapBudget[heap] - smaller(budget.heapUsage[heap], budget.heapBudget[heap]));
}
