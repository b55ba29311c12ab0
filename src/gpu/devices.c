/* Lists the devices, and chooses one. */
#include "gpu/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/letters.h"

rwkvk_status devices_learn(VkInstance instance, struct device_facts *facts, uint32_t *count)
{
	VkPhysicalDevice devices[MAX_DEVICES];
	struct overrides overrides;
	TRY(overrides_read(&overrides));
	*count = MAX_DEVICES;
	VkResult result = vkEnumeratePhysicalDevices(instance, count, devices);
	if (result == VK_ERROR_INITIALIZATION_FAILED ||
	    (result >= 0 && *count == 0)) { /* old loaders return the former when there is no device */
		*count = 0;
		return no_device_failure();
	}
	if (result < 0)
		return driver_failure(result, "vkEnumeratePhysicalDevices(...)", __FILE__, __LINE__);
	for (uint32_t i = 0; i < *count; i++)
		TRY(device_learn(devices[i], i, &overrides, &facts[i]));
	return RWKVK_OK;
}

/* Higher is better; the device's memory breaks ties. */
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
		if (equal_but_case(text, part, length))
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

rwkvk_status device_choose(const char *wanted, const struct device_facts *facts, uint32_t count, uint32_t *chosen)
{
	if (!wanted || !*wanted)
		wanted = environment_text(ENVIRONMENT_DEVICE);
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
	memcpy(info->pci, caps->pci, sizeof info->pci);
}

static rwkvk_status list_locked(struct device_facts *facts, rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	VkInstance instance;
	VkDebugUtilsMessengerEXT messenger;
	uint32_t found = 0, chosen = UINT32_MAX;
	rwkvk_status status = instance_create(NULL, &instance, &messenger);
	if (status == RWKVK_OK)
		status = devices_learn(instance, facts, &found);
	instance_destroy(instance, messenger);
	TRY(status);
	error_hold();
	if (device_choose(NULL, facts, found, &chosen) != RWKVK_OK)
		chosen = UINT32_MAX; /* then there is no default */
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
	rwkvk_status status = instance_create(NULL, &instance, &messenger);
	if (status == RWKVK_OK)
		status = devices_learn(instance, facts, &count);
	if (status == RWKVK_OK)
		status = device_choose(device, facts, count, &chosen);
	instance_destroy(instance, messenger);
	TRY(status);
	error_hold();
	bool has_standard = device_choose(NULL, facts, count, &standard) == RWKVK_OK;
	error_release();
	describe(&facts[chosen], has_standard && chosen == standard, out);
	return RWKVK_OK;
}

rwkvk_status gpu_find(const char *device, rwkvk_device_info *out)
{
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	if (!facts)
		return host_memory_failure("the list of devices");
	loader_lock();
	rwkvk_status status = find_locked(facts, device, out);
	loader_unlock();
	free(facts);
	return status;
}

rwkvk_status gpu_list(rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	*count = 0;
	struct device_facts *facts = calloc(MAX_DEVICES, sizeof *facts);
	if (!facts)
		return host_memory_failure("the list of devices");
	loader_lock();
	rwkvk_status status = list_locked(facts, infos, capacity, count);
	loader_unlock();
	free(facts);
	return status;
}
