/* The Vulkan loader, the instance, the choice of a device.
 *
 * Every gpu object and every listing has an instance of its own.  Volk's instance-level functions are process-wide
 * variables, so everything that loads or calls them holds `loader_lock`; device-level functions are a table in the gpu. */
#include "gpu/vk.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEVICES 64

static struct mutex loader_lock = MUTEX_INITIALIZER;
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
		return fail(
			RWKVK_ERROR_DEVICE_LOST,
			"%s: VK_ERROR_DEVICE_LOST (%s:%d). The driver has reset the device, usually because work took longer than "
			"its watchdog allows or because of a fault of the driver: open the model again, with nothing else running on "
			"the device, with RWKVK_TOKENS_PER_SUBMISSION=1 in the environment, a newer driver, or another device "
			"(rwkvk_model_options.device)",
			call, file, line);
	if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
		return fail(
			RWKVK_ERROR_MEMORY,
			"%s: %s (%s:%d). The driver has no memory left: close other programs, or use a smaller model, fewer bits a weight "
			"(rwkvk_model_options.quant) or another device (rwkvk_model_options.device)",
			call, vk_result_name(result), file, line);
	return fail(RWKVK_ERROR_DRIVER, "%s: %s (%d) (%s:%d)", call, vk_result_name(result), (int)result, file, line);
}

rwkvk_status host_memory_failure(const char *what)
{
	return fail(RWKVK_ERROR_MEMORY, "no main memory left for %s: close other programs or use a smaller model", what);
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
	const struct gpu *gpu = user;
	const char *text = data->pMessage ? data->pMessage : "(no text)";
	(void)types;
	atomic_fetch_add(&validation_messages, 1);
	if (gpu && gpu->log)
		gpu_log(gpu, severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT ? RWKVK_LOG_ERROR : RWKVK_LOG_WARNING,
		        "VALIDATION: %s", text);
	else
		fprintf(stderr, "VALIDATION: %s\n", text);
	return VK_FALSE;
}

void gpu_log(const struct gpu *gpu, rwkvk_log_level level, const char *format, ...)
{
	char text[4096];
	va_list args;
	if (!gpu->log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	gpu->log(gpu->log_user, (int)level, text);
}

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

/* `gpu`: whose log gets validation messages; NULL for listings, where they are printed. */
static rwkvk_status create_instance(struct gpu *gpu, VkInstance *instance, VkDebugUtilsMessengerEXT *messenger)
{
	const VkDebugUtilsMessengerCreateInfoEXT messenger_info = {
		.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
		.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
		.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
		.pfnUserCallback = on_message,
		.pUserData = gpu,
	};
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
	TRY(overrides_read(&overrides));
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
		TRY(device_learn(devices[i], i, &overrides, &facts[i]));
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
	for (; *text; text++) {
		size_t i = 0;
		while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
			i++;
		if (!part[i])
			return true;
	}
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
	bool numbered = named && !wanted[strspn(wanted, "0123456789")]; /* an index, whatever digits names have */
	if (numbered && strlen(wanted) < 9 && strtoul(wanted, NULL, 10) < count) {
		*chosen = (uint32_t)strtoul(wanted, NULL, 10);
		found = true;
	}
	for (uint32_t i = 0; i < count && !numbered; i++) {
		if (named && !contains(facts[i].caps.name, wanted))
			continue;
		if (!found || better(&facts[i], &facts[*chosen]))
			*chosen = i;
		found = true;
	}
	char what[300];
	if (!found) {
		snprintf(what, sizeof what,
		         numbered ? "there is no device %.200s" : "\"%.200s\" is neither an index nor part of a Vulkan device's name",
		         wanted);
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
	rwkvk_status status = create_instance(NULL, &instance, &messenger);
	if (status == RWKVK_OK)
		status = learn_all(instance, facts, &found);
	destroy_instance(instance, messenger);
	TRY(status);
	error_hold();
	if (choose(NULL, facts, found, &chosen) != RWKVK_OK)
		chosen = UINT32_MAX; /* no default then */
	error_release();
	for (uint32_t i = 0; i < found && i < capacity; i++)
		describe(&facts[i], i == chosen, &infos[i]);
	*count = found;
	return RWKVK_OK;
}

static rwkvk_status find_locked(struct device_facts *facts, const char *device, rwkvk_device_info *out)
{
	VkInstance instance;
	VkDebugUtilsMessengerEXT messenger;
	uint32_t count = 0, chosen = 0, standard = 0;
	rwkvk_status status = create_instance(NULL, &instance, &messenger);
	if (status == RWKVK_OK)
		status = learn_all(instance, facts, &count);
	if (status == RWKVK_OK)
		status = choose(device, facts, count, &chosen);
	destroy_instance(instance, messenger);
	TRY(status);
	error_hold();
	bool has_standard = choose(NULL, facts, count, &standard) == RWKVK_OK;
	error_release();
	describe(&facts[chosen], has_standard && chosen == standard, out);
	return RWKVK_OK;
}

rwkvk_status gpu_find(const char *device, rwkvk_device_info *out)
{
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	if (!facts)
		return host_memory_failure("the list of devices");
	mutex_lock(&loader_lock);
	rwkvk_status status = find_locked(facts, device, out);
	mutex_unlock(&loader_lock);
	free(facts);
	return status;
}

rwkvk_status gpu_list(rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	*count = 0;
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	if (!facts)
		return host_memory_failure("the list of devices");
	mutex_lock(&loader_lock);
	rwkvk_status status = list_locked(facts, infos, capacity, count);
	mutex_unlock(&loader_lock);
	free(facts);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- opening */

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

/* What the options allow of what the device has. */
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
	TRY(create_instance(gpu, &gpu->instance, &gpu->messenger));
	TRY(learn_all(gpu->instance, facts, &count));
	TRY(choose(options->device, facts, count, &chosen));
	gpu->facts = facts[chosen];
	limit_facts(&gpu->facts, options);
	return create_device(gpu, options);
}

static rwkvk_status keep_options(struct gpu *gpu, const struct gpu_options *options)
{
	gpu->profiling = options->profile;
	gpu->threads = options->threads;
	gpu->log = options->log;
	gpu->log_user = options->log_user;
	gpu->cancel = options->cancel;
	gpu->cache_dir = options->cache_dir ? strdup(options->cache_dir) : NULL;
	return options->cache_dir && !gpu->cache_dir ? host_memory_failure("a device") : RWKVK_OK;
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
		status = keep_options(gpu, options);
	if (status == RWKVK_OK) {
		mutex_lock(&loader_lock);
		status = open_locked(gpu, options, facts);
		mutex_unlock(&loader_lock);
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
		if (counter_get(&gpu->counters.submits) > 0) /* a driver that only compiles does not survive the question */
			gpu->vk.vkDeviceWaitIdle(gpu->device);
		memory_finish(gpu);
		pipelines_finish(gpu);
		gpu->vk.vkDestroyCommandPool(gpu->device, gpu->command_pool, NULL);
		gpu->vk.vkDestroyDevice(gpu->device, NULL);
	}
	mutex_lock(&loader_lock);
	destroy_instance(gpu->instance, gpu->messenger);
	mutex_unlock(&loader_lock);
	profile_finish(gpu);
	free(gpu->cache_dir);
	free(gpu);
}

void gpu_set_cancel(struct gpu *gpu, const atomic_bool *cancel)
{
	gpu->cancel = cancel;
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
	mutex_lock(&loader_lock);
	vkGetPhysicalDeviceMemoryProperties2(facts->physical, &properties);
	mutex_unlock(&loader_lock);
	return smaller(cap, budget.heapBudget[heap] - smaller(budget.heapUsage[heap], budget.heapBudget[heap]));
}
