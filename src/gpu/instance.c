/* The Vulkan loader and instances: every gpu object and every listing has one of its own. */
#include "gpu/vk.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/system.h"

static struct mutex lock = MUTEX_INITIALIZER;
static _Atomic uint64_t validation_messages;

void loader_lock(void)
{
	mutex_lock(&lock);
}

void loader_unlock(void)
{
	mutex_unlock(&lock);
}

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
	if (gpu && gpu->listener.log)
		report(&gpu->listener, severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT ? RWKVK_LOG_ERROR : RWKVK_LOG_WARNING,
		       "VALIDATION: %s", text);
	else
		fprintf(stderr, "VALIDATION: %s\n", text);
	return VK_FALSE;
}

rwkvk_status no_device_failure(void)
{
	return fail(RWKVK_ERROR_DEVICE, "no Vulkan device found: %s", system_driver_advice());
}

static rwkvk_status load_loader(void)
{
	if (volkInitialize() != VK_SUCCESS)
		return fail(RWKVK_ERROR_DEVICE, "no Vulkan loader found: %s", system_loader_advice());
	uint32_t version = volkGetInstanceVersion();
	if (version < VK_API_VERSION_1_1)
		return fail(RWKVK_ERROR_DEVICE, "the Vulkan loader is version %u.%u, at least 1.1 is needed: install a newer one",
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

rwkvk_status instance_create(struct gpu *gpu, VkInstance *instance, VkDebugUtilsMessengerEXT *messenger)
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
	const char *validate = environment_text(ENVIRONMENT_VALIDATE);
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
	if (result == VK_ERROR_INCOMPATIBLE_DRIVER) /* what a loader returns without any driver */
		return no_device_failure();
	if (result != VK_SUCCESS)
		return driver_failure(result, "vkCreateInstance(...)", __FILE__, __LINE__);
	volkLoadInstanceOnly(*instance);
	if (listen && vkCreateDebugUtilsMessengerEXT(*instance, &messenger_info, NULL, messenger) != VK_SUCCESS)
		*messenger = VK_NULL_HANDLE; /* the messenger of vkCreateInstance still covers creation and destruction */
	return RWKVK_OK;
}

void instance_destroy(VkInstance instance, VkDebugUtilsMessengerEXT messenger)
{
	if (messenger)
		vkDestroyDebugUtilsMessengerEXT(instance, messenger, NULL);
	if (instance)
		vkDestroyInstance(instance, NULL);
}
