/* The driver's pipeline cache, kept on disk: one file for each device and driver.  It has a checksum, because drivers may
 * crash on damaged data. */
#include "gpu/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/system.h"

#define LARGEST_CACHE ((uint64_t)64 << 20)

/* In front of the driver's data. */
struct cache_head {
	char magic[8];
	uint64_t bytes, checksum;
};

static const char cache_magic[8] = { 'R', 'W', 'K', 'V', 'K', 'P', 'C', '1' };

/* Begins with the driver's identity and version text, because some drivers' cache UUIDs stay the same from version to
 * version: another driver's file then looks damaged. */
static uint64_t checksum(const struct gpu *gpu, const void *data, uint64_t bytes)
{
	uint64_t hash = fnv1a(FNV1A_START, gpu->facts.driver_uuid, sizeof gpu->facts.driver_uuid);
	hash = fnv1a(hash, gpu->facts.caps.driver, strlen(gpu->facts.caps.driver));
	return fnv1a(hash, data, bytes);
}

char *cache_choose_folder(const char *wanted)
{
	const char *folder = wanted ? wanted : environment_text(ENVIRONMENT_CACHE_DIR);
	if (!folder)
		return system_cache_folder("rwkvk");
	return *folder ? strdup(folder) : NULL;
}

char *gpu_cache_path(const struct gpu *gpu, const char *what, const char *suffix)
{
	const VkPhysicalDeviceProperties *properties = &gpu->facts.properties;
	char name[192], *at = name;
	at += snprintf(name, 64, "%.63s", what);
	at += sprintf(at, "-%08x%08x-%08x-", properties->vendorID, properties->deviceID, properties->driverVersion);
	for (size_t i = 0; i < VK_UUID_SIZE; i++)
		at += sprintf(at, "%02x", properties->pipelineCacheUUID[i]);
	snprintf(at, 8, "%.7s", suffix);
	return gpu->cache_folder ? file_join(gpu->cache_folder, strlen(gpu->cache_folder), name) : NULL;
}

/* The driver's part of the file if it is intact and from this device and driver; otherwise NULL. */
static const void *valid_cache(const struct gpu *gpu, const struct mapping *file, struct cache_head *head)
{
	const VkPhysicalDeviceProperties *properties = &gpu->facts.properties;
	VkPipelineCacheHeaderVersionOne inner;
	if (file->bytes < sizeof *head + sizeof inner || file->bytes > LARGEST_CACHE)
		return NULL;
	const uint8_t *data = file->data + sizeof *head;
	memcpy(head, file->data, sizeof *head);
	memcpy(&inner, data, sizeof inner);
	if (memcmp(head->magic, cache_magic, sizeof cache_magic) != 0 || head->bytes != file->bytes - sizeof *head ||
	    head->checksum != checksum(gpu, data, head->bytes))
		return NULL;
	if (inner.headerSize < sizeof inner || inner.headerSize > head->bytes ||
	    inner.headerVersion != VK_PIPELINE_CACHE_HEADER_VERSION_ONE || inner.vendorID != properties->vendorID ||
	    inner.deviceID != properties->deviceID ||
	    memcmp(inner.pipelineCacheUUID, properties->pipelineCacheUUID, VK_UUID_SIZE) != 0)
		return NULL;
	return data;
}

rwkvk_status cache_create(struct gpu *gpu, bool on_disk)
{
	struct pipelines *pipelines = &gpu->pipelines;
	struct mapping file = { 0 };
	struct cache_head head;
	const void *data = NULL;
	pipelines->cache_path = on_disk ? gpu_cache_path(gpu, "pipelines", ".bin") : NULL;
	error_hold();
	if (pipelines->cache_path && file_map(pipelines->cache_path, &file) == RWKVK_OK)
		data = valid_cache(gpu, &file, &head);
	error_release();
	VkPipelineCacheCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
		.initialDataSize = data ? (size_t)head.bytes : 0,
		.pInitialData = data,
	};
	VkResult result = gpu->vk.vkCreatePipelineCache(gpu->device, &info, NULL, &pipelines->cache);
	if (result != VK_SUCCESS && data) { /* the driver rejects it although the header matches: start with an empty cache */
		info.initialDataSize = 0;
		info.pInitialData = data = NULL;
		result = gpu->vk.vkCreatePipelineCache(gpu->device, &info, NULL, &pipelines->cache);
	}
	if (data) {
		pipelines->cache_bytes = head.bytes;
		pipelines->cache_checksum = head.checksum;
	}
	file_unmap(&file);
	return result == VK_SUCCESS ? RWKVK_OK : driver_failure(result, "vkCreatePipelineCache(...)", __FILE__, __LINE__);
}

void gpu_pipeline_cache_save(struct gpu *gpu)
{
	struct pipelines *pipelines = &gpu->pipelines;
	size_t bytes = 0;
	if (!pipelines->cache_path || gpu->vk.vkGetPipelineCacheData(gpu->device, pipelines->cache, &bytes, NULL) != VK_SUCCESS ||
	    bytes < sizeof(VkPipelineCacheHeaderVersionOne) || bytes > LARGEST_CACHE)
		return;
	void *data = malloc(bytes);
	if (data && gpu->vk.vkGetPipelineCacheData(gpu->device, pipelines->cache, &bytes, data) == VK_SUCCESS) {
		struct cache_head head = { .bytes = bytes, .checksum = checksum(gpu, data, bytes) };
		memcpy(head.magic, cache_magic, sizeof cache_magic);
		bool changed = head.bytes != pipelines->cache_bytes || head.checksum != pipelines->cache_checksum;
		if (changed)
			file_make_folders(pipelines->cache_path);
		error_hold();
		if (changed && file_write(pipelines->cache_path, &head, sizeof head, data, bytes) == RWKVK_OK) {
			pipelines->cache_bytes = head.bytes;
			pipelines->cache_checksum = head.checksum;
		}
		error_release();
	}
	free(data);
}
