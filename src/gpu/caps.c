/* What a device can do: its limits and features as the rest of the folder needs them, less what RWKVK_CAPS takes away.
 *
 * Called with the loader's lock held (instance.c), as these are Vulkan's instance-level functions. */
#include "gpu/vk.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/system.h"

/* ---------------------------------------------------------------------------------------------------- RWKVK_CAPS */

#define OVERRIDE_WORDS                                                                                                         \
	"no-subgroups, no-texels, no-size-control, no-unified, no-timestamps, no-float16, no-int8-dot, host-quantise, as-gpu, "    \
	"as-integrated, invocations=N, shared=BYTES, range=BYTES, buffer=BYTES, memory=BYTES"

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
		{ "host-quantise", &out->host_quantise, NULL },
		{ "as-gpu", &out->as_gpu, NULL },
		{ "as-integrated", &out->as_integrated, NULL },
		{ "no-float16", &out->no_float16, NULL },
		{ "no-int8-dot", &out->no_int8_dot, NULL },
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

rwkvk_status overrides_read(struct overrides *out)
{
	*out = (struct overrides){ 0 };
	for (const char *at = environment_text(ENVIRONMENT_CAPS); at && *at;) {
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
		return; /* the first reason is kept */
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

void mark_extensions(const VkExtensionProperties *extensions, uint32_t count, const struct extension_flag *flags,
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

/* So it is with CPU devices, and with integrated GPUs that have no heap but their own.  Where a part of memory was set aside
 * for the GPU, which the system no longer counts, the rest is a heap that is not the GPU's own. */
static bool in_main_memory(const struct device_facts *facts)
{
	for (uint32_t i = 0; i < facts->memory.memoryHeapCount; i++)
		if (facts->caps.type != RWKVK_DEVICE_CPU && !(facts->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT))
			return false;
	return facts->caps.type == RWKVK_DEVICE_CPU || facts->caps.type == RWKVK_DEVICE_INTEGRATED;
}

/* Bytes in the heaps that GPU_DEVICE buffers can lie in.  A CPU device's heap says little; the limit is main memory. */
static uint64_t weight_memory(const struct device_facts *facts)
{
	if (facts->memory.memoryTypeCount == 0)
		return 0;
	if (facts->caps.type == RWKVK_DEVICE_CPU)
		return system_memory();
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

/* All queries that need Vulkan 1.1. */
struct properties_1_1 {
	VkPhysicalDeviceSubgroupProperties subgroup;
	VkPhysicalDeviceMaintenance3Properties maintenance3;
	VkPhysicalDeviceIDProperties id;
	VkPhysicalDeviceDriverPropertiesKHR driver;
	VkPhysicalDevicePCIBusInfoPropertiesEXT pci;
	VkPhysicalDeviceSubgroupSizeControlPropertiesEXT size;
	VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size_features;
	VkPhysicalDeviceShaderFloat16Int8FeaturesKHR float16_features;
	VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot_features;
};

/* Only queries of extensions that the device has are allowed. */
static void query_features(VkPhysicalDevice physical, bool size, bool float16, bool dot, struct properties_1_1 *out)
{
	VkPhysicalDeviceFeatures2 features = { VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, NULL, { 0 } };
	if (size) {
		out->size_features.pNext = features.pNext;
		features.pNext = &out->size_features;
	}
	if (float16) {
		out->float16_features.pNext = features.pNext;
		features.pNext = &out->float16_features;
	}
	if (dot) {
		out->dot_features.pNext = features.pNext;
		features.pNext = &out->dot_features;
	}
	if (features.pNext)
		vkGetPhysicalDeviceFeatures2(physical, &features);
}

static rwkvk_status query_properties(struct device_facts *facts, struct properties_1_1 *out)
{
	bool has_driver = false, has_pci = false, has_float16 = false, has_dot = false;
	const struct extension_flag flags[] = {
		{ VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, &has_float16 },
		{ VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, &has_dot },
		{ VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME, &has_driver },
		{ VK_EXT_PCI_BUS_INFO_EXTENSION_NAME, &has_pci },
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
		.pci = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT, .pciDomain = UINT32_MAX },
		.size = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT },
		.size_features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT },
		.float16_features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES_KHR },
		.dot_features = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR },
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
	if (has_pci) {
		out->pci.pNext = out->subgroup.pNext;
		out->subgroup.pNext = &out->pci;
	}
	vkGetPhysicalDeviceProperties2(facts->physical, &properties);
	query_features(facts->physical, facts->size_control, has_float16, has_dot, out);
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
 * vector instructions, which is many times as fast (docs/speed.md).  GPUs read storage buffers best.  A binding must fit into a
 * view of 32-bit words, the smallest texels in use. */
static void learn_texels(struct device_facts *facts, const struct overrides *overrides)
{
	const VkPhysicalDeviceLimits *limits = &facts->properties.limits;
	struct gpu_caps *caps = &facts->caps;
	caps->texel_reads = !overrides->no_texels && caps->subgroups && caps->type == RWKVK_DEVICE_CPU &&
	                    limits->maxTexelBufferElements > caps->max_range / 4 + TEXEL_SLACK / 4;
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
	facts->in_main_memory = in_main_memory(facts);
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
	caps->max_groups = limits->maxComputeWorkGroupCount[0] < limits->maxComputeWorkGroupCount[1]
	                       ? limits->maxComputeWorkGroupCount[0]
	                       : limits->maxComputeWorkGroupCount[1];
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

rwkvk_status device_learn(VkPhysicalDevice physical, uint32_t index, const struct overrides *overrides,
                          struct device_facts *facts)
{
	*facts = (struct device_facts){ .physical = physical, .usable = true };
	vkGetPhysicalDeviceProperties(physical, &facts->properties);
	const VkPhysicalDeviceProperties *properties = &facts->properties;
	struct gpu_caps *caps = &facts->caps;
	snprintf(caps->name, sizeof caps->name, "%s", properties->deviceName);
	caps->type = overrides->as_gpu          ? RWKVK_DEVICE_DISCRETE
	             : overrides->as_integrated ? RWKVK_DEVICE_INTEGRATED
	                                        : type_of(properties->deviceType);
	caps->processors = caps->type == RWKVK_DEVICE_CPU ? system_processors() : 0;
	caps->prefer_host = overrides->host_quantise;
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
		facts->usable = true; /* this reason takes precedence */
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
	if (more.pci.pciDomain != UINT32_MAX)
		snprintf(caps->pci, sizeof caps->pci, "%04x:%02x:%02x.%x", more.pci.pciDomain & 0xffff, more.pci.pciBus & 0xff,
		         more.pci.pciDevice & 0x1f, more.pci.pciFunction & 7);
	learn_subgroups(facts, &more, overrides);
	learn_texels(facts, overrides);
	caps->float16 = more.float16_features.shaderFloat16 && !overrides->no_float16;
	caps->int8_dot = more.dot_features.shaderIntegerDotProduct && !overrides->no_int8_dot;
	learn_memory(facts, more.maintenance3.maxMemoryAllocationSize, overrides);
	double period = (double)properties->limits.timestampPeriod;
	caps->timestamps = !overrides->no_timestamps && facts->timestamp_bits > 0 && isfinite(period) && period > 0;
	caps->timestamp_period = caps->timestamps ? period : 0;
	return RWKVK_OK;
}
