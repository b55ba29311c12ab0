/* Shaders, pipelines and binding sets.  Everything shares one pipeline layout, so binding sets and push constants fit every
 * pipeline.  SPIR-V is embedded in the library; RWKVK_SHADER_DIR names a folder to take NAME.spv (or NAME.shared.spv,
 * NAME.texel.spv) from instead, for work on shaders.
 *
 * The driver's pipeline cache is kept on disk, one file for each device and driver, with a checksum: drivers are not
 * expected to survive damaged data. */
#include "gpu/vk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/parallel.h"
#include "gpu/shaders.h"

#define SETS_PER_POOL 64
#define SPIRV_MAGIC   0x07230203u
#define SPIRV_NEWEST  0x00010300u /* what every Vulkan 1.1 device reads */
#define LARGEST_CACHE ((uint64_t)64 << 20)

struct shader {
	struct shader *next;
	char *name;
	VkShaderModule module;
};

struct descriptor_pool {
	struct descriptor_pool *next;
	VkDescriptorPool pool;
	uint32_t used;
};

/* ---------------------------------------------------------------------------------------------------- cache on disk */

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

/* The folder of the cache; NULL when there is none or no memory. */
static char *cache_folder(const struct gpu *gpu)
{
	const char *own = gpu->cache_dir ? gpu->cache_dir : getenv("RWKVK_CACHE_DIR"), *caches = getenv("XDG_CACHE_HOME"),
			   *home = getenv("HOME");
	if (own)
		return *own ? strdup(own) : NULL;
	if (caches && caches[0] == '/')
		return file_join(caches, strlen(caches), "rwkvk");
	return home && *home ? file_join(home, strlen(home), ".cache/rwkvk") : NULL;
}

char *gpu_cache_path(const struct gpu *gpu, const char *what, const char *suffix)
{
	const VkPhysicalDeviceProperties *properties = &gpu->facts.properties;
	char name[192], *at = name, *folder = cache_folder(gpu);
	at += snprintf(name, 64, "%.63s", what);
	at += sprintf(at, "-%08x%08x-%08x-", properties->vendorID, properties->deviceID, properties->driverVersion);
	for (size_t i = 0; i < VK_UUID_SIZE; i++)
		at += sprintf(at, "%02x", properties->pipelineCacheUUID[i]);
	snprintf(at, 8, "%.7s", suffix);
	char *path = folder ? file_join(folder, strlen(folder), name) : NULL;
	free(folder);
	return path;
}

/* The driver's part of the file when it is whole and of this very device and driver; otherwise NULL. */
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

static rwkvk_status create_cache(struct gpu *gpu, bool on_disk)
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
	if (result != VK_SUCCESS && data) { /* the driver knows better than the header: start afresh */
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

/* ---------------------------------------------------------------------------------------------------- shaders */

static rwkvk_status check_spirv(const char *path, const struct mapping *file)
{
	uint32_t head[2] = { 0, 0 };
	if (file->bytes >= sizeof head)
		memcpy(head, file->data, sizeof head);
	if (file->bytes < 20 || file->bytes % 4 != 0 || head[0] != SPIRV_MAGIC)
		return fail(RWKVK_ERROR_FILE, "%s: is not SPIR-V (%" PRIu64 " bytes, first word 0x%08x instead of 0x%08x)", path,
		            file->bytes, head[0], SPIRV_MAGIC);
	if (head[1] > SPIRV_NEWEST)
		return fail(RWKVK_ERROR_FILE, "%s: is SPIR-V %u.%u, at most 1.3 is allowed: compile it with --target-env vulkan1.1",
		            path, head[1] >> 16 & 255, head[1] >> 8 & 255);
	return RWKVK_OK;
}

static rwkvk_status create_module(struct gpu *gpu, const char *name, const uint32_t *words, size_t bytes, VkShaderModule *out)
{
	VkShaderModuleCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = bytes, .pCode = words };
	VkResult result = gpu->vk.vkCreateShaderModule(gpu->device, &info, NULL, out);
	if (result == VK_SUCCESS)
		return RWKVK_OK;
	char call[160];
	snprintf(call, sizeof call, "shader %.80s: vkCreateShaderModule(...)", name);
	return driver_failure(result, call, __FILE__, __LINE__);
}

/* Which of a shader's variants this device gets; the end of its file's name. */
static const char *variant(const struct gpu *gpu)
{
	return !gpu->facts.caps.subgroups ? ".shared" : gpu->facts.caps.texel_reads ? ".texel" : "";
}

static rwkvk_status module_from_folder(struct gpu *gpu, const char *folder, const char *name, VkShaderModule *out)
{
	char file_name[128];
	snprintf(file_name, sizeof file_name, "%.100s%s.spv", name, variant(gpu));
	char *path = file_join(folder, strlen(folder), file_name);
	if (!path)
		return host_memory_failure("a shader");
	struct mapping file;
	rwkvk_status status = file_map(path, &file);
	if (status == RWKVK_OK)
		status = check_spirv(path, &file);
	if (status == RWKVK_OK) /* mapped files begin on a page, so the words are aligned */
		status = create_module(gpu, path, (const uint32_t *)(const void *)file.data, (size_t)file.bytes, out);
	file_unmap(&file);
	free(path);
	return status;
}

static rwkvk_status find_module(struct gpu *gpu, const char *name, VkShaderModule *out)
{
	const char *folder = getenv("RWKVK_SHADER_DIR");
	if (folder && *folder)
		return module_from_folder(gpu, folder, name, out);
	for (size_t i = 0; i < embedded_shader_count; i++) {
		const struct embedded_shader *shader = &embedded_shaders[i];
		if (!strcmp(shader->name, name) && !strcmp(shader->variant, variant(gpu)))
			return create_module(gpu, name, shader->words, shader->bytes, out);
	}
	return fail(RWKVK_ERROR_INTERNAL, "there is no shader named \"%s\"", name);
}

static rwkvk_status find_shader(struct gpu *gpu, const char *name, struct shader **out)
{
	for (*out = gpu->pipelines.shaders; *out; *out = (*out)->next)
		if (!strcmp((*out)->name, name))
			return RWKVK_OK;
	VkShaderModule module;
	TRY(find_module(gpu, name, &module));
	struct shader *shader = calloc(1, sizeof *shader);
	char *copy = strdup(name);
	if (!shader || !copy) {
		free(shader);
		free(copy);
		gpu->vk.vkDestroyShaderModule(gpu->device, module, NULL);
		return host_memory_failure("a shader");
	}
	*shader = (struct shader){ .next = gpu->pipelines.shaders, .name = copy, .module = module };
	gpu->pipelines.shaders = *out = shader;
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- pipelines */

/* Asks for the subgroup size that caps tells and for full subgroups, as far as the device can promise them for this
 * workgroup.  `size` is chained to the stage. */
static void ask_for_subgroups(const struct gpu *gpu, uint32_t workgroup, VkPipelineShaderStageCreateInfo *stage,
                              VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT *size)
{
	const struct device_facts *facts = &gpu->facts;
	uint32_t subgroup = facts->caps.subgroup_size;
	if (!facts->caps.subgroups)
		return;
	if (facts->required_subgroup_size && (uint64_t)subgroup * facts->max_workgroup_subgroups >= workgroup)
		stage->pNext = size;
	if (facts->full_subgroups && workgroup % subgroup == 0)
		stage->flags |= VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT;
}

/* From any thread: nothing is changed but the pipeline, and drivers guard their cache themselves. */
static VkResult compile(const struct gpu *gpu, struct gpu_pipeline *pipeline)
{
	VkSpecializationMapEntry *entries = calloc(pipeline->count, sizeof *entries);
	if (!entries)
		return VK_ERROR_OUT_OF_HOST_MEMORY;
	for (uint32_t i = 0; i < pipeline->count; i++)
		entries[i] = (VkSpecializationMapEntry){ .constantID = i, .offset = i * 4, .size = 4 };
	VkSpecializationInfo constants = { pipeline->count, entries, pipeline->count * sizeof(uint32_t), pipeline->constants };
	VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
		.requiredSubgroupSize = gpu->facts.required_subgroup_size,
	};
	VkComputePipelineCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
		.flags = gpu->facts.caps.pipeline_statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0,
		.stage = { .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
		           .stage = VK_SHADER_STAGE_COMPUTE_BIT,
		           .module = pipeline->shader->module,
		           .pName = "main",
		           .pSpecializationInfo = &constants },
		.layout = gpu->pipelines.layout,
	};
	ask_for_subgroups(gpu, pipeline->constants[0], &info.stage, &size);
	VkResult result = gpu->vk.vkCreateComputePipelines(gpu->device, gpu->pipelines.cache, 1, &info, NULL, &pipeline->pipeline);
	free(entries);
	return result;
}

rwkvk_status gpu_pipeline_ask(struct gpu *gpu, const char *shader_name, const uint32_t *constants, uint32_t count,
                              struct gpu_pipeline **out)
{
	*out = NULL;
	INVARIANT(count > 0 && constants[0] > 0 && constants[0] <= gpu->facts.caps.max_invocations);
	struct shader *shader;
	TRY(find_shader(gpu, shader_name, &shader));
	size_t bytes = count * sizeof *constants;
	for (struct gpu_pipeline *at = gpu->pipelines.first; at; at = at->next)
		if (at->shader == shader && at->count == count && !memcmp(at->constants, constants, bytes)) {
			*out = at;
			return RWKVK_OK;
		}
	struct gpu_pipeline *pipeline = calloc(1, sizeof *pipeline + bytes);
	if (!pipeline)
		return host_memory_failure("a pipeline");
	pipeline->shader = shader;
	pipeline->count = count;
	memcpy(pipeline->constants, constants, bytes);
	pipeline->next = gpu->pipelines.first;
	gpu->pipelines.first = *out = pipeline;
	return RWKVK_OK;
}

static bool cancelled(const struct gpu *gpu)
{
	return gpu->cancel && atomic_load(gpu->cancel);
}

/* Pipelines to compile, and what came of each. */
struct compiling {
	const struct gpu *gpu;
	struct gpu_pipeline **pipelines;
	VkResult *results;
};

static void compile_one(void *user, unsigned worker, uint64_t index)
{
	struct compiling *c = user;
	(void)worker;
	if (!cancelled(c->gpu))
		c->results[index] = compile(c->gpu, c->pipelines[index]);
}

static rwkvk_status compile_list(struct compiling *c, uint32_t count)
{
	struct parallel *parallel = NULL;
	TRY(parallel_start(c->gpu->threads, &parallel));
	parallel_for(parallel, count, compile_one, c);
	parallel_stop(parallel);
	for (uint32_t i = 0; i < count; i++)
		if (c->results[i] != VK_SUCCESS) {
			char call[160];
			snprintf(call, sizeof call, "shader %.80s: vkCreateComputePipelines(...)", c->pipelines[i]->shader->name);
			return driver_failure(c->results[i], call, __FILE__, __LINE__);
		}
	for (uint32_t i = 0; i < count; i++)
		if (!c->pipelines[i]->pipeline) /* no failure: it was not begun */
			return fail(RWKVK_CANCELLED, "compiling shaders was cancelled");
	return RWKVK_OK;
}

static void forget_uncompiled(struct gpu *gpu)
{
	for (struct gpu_pipeline **at = &gpu->pipelines.first; *at;) {
		struct gpu_pipeline *pipeline = *at;
		if (pipeline->pipeline) {
			at = &pipeline->next;
			continue;
		}
		*at = pipeline->next;
		free(pipeline);
	}
}

rwkvk_status gpu_pipelines_compile(struct gpu *gpu)
{
	uint32_t count = 0;
	for (struct gpu_pipeline *at = gpu->pipelines.first; at; at = at->next)
		count += !at->pipeline;
	if (count == 0)
		return RWKVK_OK;
	struct compiling c = { gpu, calloc(count, sizeof *c.pipelines), calloc(count, sizeof *c.results) };
	uint32_t n = 0;
	for (struct gpu_pipeline *at = gpu->pipelines.first; c.pipelines && at; at = at->next)
		if (!at->pipeline)
			c.pipelines[n++] = at;
	rwkvk_status status = c.pipelines && c.results ? compile_list(&c, count) : host_memory_failure("pipelines");
	if (status != RWKVK_OK)
		forget_uncompiled(gpu);
	free(c.pipelines);
	free(c.results);
	return status;
}

rwkvk_status gpu_pipeline_get(struct gpu *gpu, const char *shader, const uint32_t *constants, uint32_t count,
                              struct gpu_pipeline **out)
{
	TRY(gpu_pipeline_ask(gpu, shader, constants, count, out));
	rwkvk_status status = gpu_pipelines_compile(gpu);
	if (status != RWKVK_OK)
		*out = NULL;
	return status;
}

static double statistic_value(const VkPipelineExecutableStatisticKHR *statistic)
{
	switch (statistic->format) {
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
		return statistic->value.b32 ? 1 : 0;
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
		return (double)statistic->value.i64;
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
		return (double)statistic->value.u64;
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
		return statistic->value.f64;
	default:
		return 0;
	}
}

/* The subgroup size that the compiler chose, where none was asked for: a property, not a statistic. */
static rwkvk_status executable_subgroup(struct gpu *gpu, VkPipeline pipeline, struct gpu_statistic *out)
{
	VkPipelineInfoKHR info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline };
	VkPipelineExecutablePropertiesKHR properties = { .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR };
	uint32_t count = 1; /* a compute pipeline has one executable */
	VkResult result = gpu->vk.vkGetPipelineExecutablePropertiesKHR(gpu->device, &info, &count, &properties);
	if (result != VK_SUCCESS && result != VK_INCOMPLETE)
		return driver_failure(result, "vkGetPipelineExecutablePropertiesKHR(...)", __FILE__, __LINE__);
	*out = (struct gpu_statistic){ .name = "Subgroup size", .value = properties.subgroupSize };
	return RWKVK_OK;
}

rwkvk_status gpu_pipeline_statistics(struct gpu *gpu, struct gpu_pipeline *pipeline, struct gpu_statistic *out, size_t capacity,
                                     size_t *count)
{
	*count = 0;
	INVARIANT(capacity > 0);
	if (!gpu->facts.caps.pipeline_statistics)
		return fail(RWKVK_ERROR_UNSUPPORTED, "the driver of %s tells no statistics of its compiler", gpu->facts.caps.name);
	TRY(executable_subgroup(gpu, pipeline->pipeline, &out[0]));
	VkPipelineExecutableInfoKHR info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
		                                 .pipeline = pipeline->pipeline,
		                                 .executableIndex = 0 };
	uint32_t found = 0;
	VK(gpu->vk.vkGetPipelineExecutableStatisticsKHR(gpu->device, &info, &found, NULL));
	VkPipelineExecutableStatisticKHR *statistics = calloc(found + 1, sizeof *statistics);
	if (!statistics)
		return host_memory_failure("statistics");
	for (uint32_t i = 0; i < found; i++)
		statistics[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
	VkResult result = gpu->vk.vkGetPipelineExecutableStatisticsKHR(gpu->device, &info, &found, statistics);
	found = found < capacity - 1 ? found : (uint32_t)capacity - 1;
	for (uint32_t i = 0; result == VK_SUCCESS && i < found; i++) {
		snprintf(out[1 + i].name, sizeof out[1 + i].name, "%s", statistics[i].name);
		out[1 + i].value = statistic_value(&statistics[i]);
	}
	free(statistics);
	if (result != VK_SUCCESS)
		return driver_failure(result, "vkGetPipelineExecutableStatisticsKHR(...)", __FILE__, __LINE__);
	*count = 1 + found;
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- binding sets */

static rwkvk_status grow_pools(struct gpu *gpu)
{
	struct descriptor_pool *pool = calloc(1, sizeof *pool);
	if (!pool)
		return host_memory_failure("binding sets");
	VkDescriptorPoolCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
		.maxSets = SETS_PER_POOL,
		.flags = VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT,
		.poolSizeCount = gpu->facts.caps.texel_reads ? 3 : 1,
		.pPoolSizes = (VkDescriptorPoolSize[]){ { VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, SETS_PER_POOL * GPU_BINDINGS },
		                                        { VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, SETS_PER_POOL * (GPU_BINDINGS - 1) },
		                                        { VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, SETS_PER_POOL } },
	};
	VkResult result = gpu->vk.vkCreateDescriptorPool(gpu->device, &info, NULL, &pool->pool);
	if (result != VK_SUCCESS) {
		free(pool);
		return driver_failure(result, "vkCreateDescriptorPool(...)", __FILE__, __LINE__);
	}
	pool->next = gpu->pipelines.pools;
	gpu->pipelines.pools = pool;
	return RWKVK_OK;
}

/* One with room for a set: all sets have the same layout, so any gap will do. */
static rwkvk_status find_pool(struct gpu *gpu, struct descriptor_pool **out)
{
	for (*out = gpu->pipelines.pools; *out; *out = (*out)->next)
		if ((*out)->used < SETS_PER_POOL)
			return RWKVK_OK;
	TRY(grow_pools(gpu));
	*out = gpu->pipelines.pools;
	return RWKVK_OK;
}

/* What the texels of binding GPU_BINDINGS + i are (shaders/common/stage.glsl).  Only those of the results are written. */
static const struct {
	VkFormat format;
	VkDescriptorType type;
} texel_views[GPU_BINDINGS] = {
	{ VK_FORMAT_R32G32B32A32_SFLOAT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER }, /* activations */
	{ VK_FORMAT_R32G32B32A32_SFLOAT, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER }, /* results */
	{ VK_FORMAT_R32G32B32A32_SFLOAT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER }, /* vectors */
	{ VK_FORMAT_R32G32B32A32_UINT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER },   /* weights */
	{ VK_FORMAT_R32_UINT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER },            /* what lies beside them */
	{ VK_FORMAT_R32G32B32A32_SFLOAT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER }, /* state */
	{ VK_FORMAT_R32G32B32A32_UINT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER },   /* second weights */
	{ VK_FORMAT_R32_UINT, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER },            /* beside those */
};

/* The part of a buffer that a texel view shows: whole texels, and never a number of bytes whose bits 8 to 15 are all zero, for
 * Mesa's llvmpipe takes those bits for an image's count of levels, and compiles a shader again when one of its views has levels
 * and had none, or the other way round.  Buffers are longer than they say by so much (TEXEL_SLACK). */
static uint64_t texel_range(uint64_t bytes)
{
	uint64_t range = (bytes + 15) & ~(uint64_t)15;
	return (range & 0xff00) == 0 ? range + TEXEL_SLACK : range;
}

static rwkvk_status write_texels(struct gpu *gpu, struct gpu_set *set, const VkDescriptorBufferInfo infos[GPU_BINDINGS])
{
	VkWriteDescriptorSet writes[GPU_BINDINGS];
	for (uint32_t i = 0; i < GPU_BINDINGS; i++) {
		VkBufferViewCreateInfo view = {
			.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
			.buffer = infos[i].buffer,
			.format = texel_views[i].format,
			.offset = infos[i].offset,
			.range = texel_range(infos[i].range),
		};
		VK(gpu->vk.vkCreateBufferView(gpu->device, &view, NULL, &set->views[i]));
		writes[i] = (VkWriteDescriptorSet){
			.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
			.dstSet = set->set,
			.dstBinding = GPU_BINDINGS + i,
			.descriptorCount = 1,
			.descriptorType = texel_views[i].type,
			.pTexelBufferView = &set->views[i],
		};
	}
	gpu->vk.vkUpdateDescriptorSets(gpu->device, GPU_BINDINGS, writes, 0, NULL);
	return RWKVK_OK;
}

static rwkvk_status write_set(struct gpu *gpu, struct gpu_set *set, const struct gpu_binding *bindings,
                              const struct gpu_buffer *unused)
{
	VkDescriptorBufferInfo infos[GPU_BINDINGS];
	VkWriteDescriptorSet writes[GPU_BINDINGS];
	for (uint32_t i = 0; i < GPU_BINDINGS; i++) {
		const struct gpu_buffer *buffer = bindings[i].buffer ? bindings[i].buffer : unused;
		uint64_t offset = bindings[i].buffer ? bindings[i].offset : 0, bytes = bindings[i].buffer ? bindings[i].bytes : 0;
		infos[i] = (VkDescriptorBufferInfo){ buffer->vk->buffer, offset, bytes ? bytes : buffer->vk->bytes - offset };
		writes[i] = (VkWriteDescriptorSet){
			.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
			.dstSet = set->set,
			.dstBinding = i,
			.descriptorCount = 1,
			.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
			.pBufferInfo = &infos[i],
		};
	}
	gpu->vk.vkUpdateDescriptorSets(gpu->device, GPU_BINDINGS, writes, 0, NULL);
	counter_add(&gpu->counters.descriptor_updates, 1);
	return gpu->facts.caps.texel_reads ? write_texels(gpu, set, infos) : RWKVK_OK;
}

rwkvk_status gpu_set_create(struct gpu *gpu, const struct gpu_binding bindings[GPU_BINDINGS], struct gpu_buffer *unused,
                            struct gpu_set **out)
{
	struct pipelines *pipelines = &gpu->pipelines;
	*out = NULL;
	for (int i = 0; i < GPU_BINDINGS; i++) {
		const struct gpu_binding *binding = &bindings[i];
		INVARIANT(binding->buffer || (unused && unused->vk));
		if (!binding->buffer)
			continue;
		INVARIANT(binding->buffer->vk && binding->offset < binding->buffer->bytes);
		INVARIANT(binding->offset % gpu->facts.caps.offset_alignment == 0);
		INVARIANT(binding->bytes <= binding->buffer->vk->bytes - binding->offset);
	}
	struct descriptor_pool *pool;
	TRY(find_pool(gpu, &pool));
	struct gpu_set *set = calloc(1, sizeof *set);
	if (!set)
		return host_memory_failure("a binding set");
	VkDescriptorSetAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
		.descriptorPool = pool->pool,
		.descriptorSetCount = 1,
		.pSetLayouts = &pipelines->set_layout,
	};
	VkResult result = gpu->vk.vkAllocateDescriptorSets(gpu->device, &info, &set->set);
	if (result != VK_SUCCESS) {
		free(set);
		return driver_failure(result, "vkAllocateDescriptorSets(...)", __FILE__, __LINE__);
	}
	pool->used++;
	set->pool = pool;
	set->next = pipelines->sets;
	pipelines->sets = set;
	rwkvk_status status = write_set(gpu, set, bindings, unused);
	if (status != RWKVK_OK)
		gpu_set_destroy(gpu, set);
	else
		*out = set;
	return status;
}

void gpu_set_destroy(struct gpu *gpu, struct gpu_set *set)
{
	if (!set)
		return;
	struct gpu_set **at = &gpu->pipelines.sets;
	while (*at != set)
		at = &(*at)->next;
	*at = set->next;
	for (int i = 0; i < GPU_BINDINGS; i++)
		gpu->vk.vkDestroyBufferView(gpu->device, set->views[i], NULL);
	gpu->vk.vkFreeDescriptorSets(gpu->device, set->pool->pool, 1, &set->set);
	set->pool->used--;
	free(set);
}

void gpu_sets_destroy(struct gpu *gpu)
{
	struct pipelines *pipelines = &gpu->pipelines;
	while (pipelines->sets)
		gpu_set_destroy(gpu, pipelines->sets);
	while (pipelines->pools) {
		struct descriptor_pool *pool = pipelines->pools;
		pipelines->pools = pool->next;
		gpu->vk.vkDestroyDescriptorPool(gpu->device, pool->pool, NULL);
		free(pool);
	}
}

/* ---------------------------------------------------------------------------------------------------- begin and end */

rwkvk_status pipelines_init(struct gpu *gpu)
{
	struct pipelines *pipelines = &gpu->pipelines;
	VkDescriptorSetLayoutBinding bindings[2 * GPU_BINDINGS];
	for (uint32_t i = 0; i < 2 * GPU_BINDINGS; i++) {
		VkDescriptorType type = i < GPU_BINDINGS ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : texel_views[i - GPU_BINDINGS].type;
		bindings[i] = (VkDescriptorSetLayoutBinding){ i, type, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL };
	}
	VkDescriptorSetLayoutCreateInfo set_info = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
		                                         .bindingCount = gpu->facts.caps.texel_reads ? 2 * GPU_BINDINGS : GPU_BINDINGS,
		                                         .pBindings = bindings };
	VK(gpu->vk.vkCreateDescriptorSetLayout(gpu->device, &set_info, NULL, &pipelines->set_layout));
	VkPushConstantRange push = { VK_SHADER_STAGE_COMPUTE_BIT, 0, GPU_PUSH_BYTES };
	VkPipelineLayoutCreateInfo layout_info = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
		.setLayoutCount = 1,
		.pSetLayouts = &pipelines->set_layout,
		.pushConstantRangeCount = 1,
		.pPushConstantRanges = &push,
	};
	VK(gpu->vk.vkCreatePipelineLayout(gpu->device, &layout_info, NULL, &pipelines->layout));
	return create_cache(gpu, !gpu->facts.caps.pipeline_statistics); /* statistics want the compiler to run */
}

void pipelines_finish(struct gpu *gpu)
{
	struct pipelines *pipelines = &gpu->pipelines;
	gpu_sets_destroy(gpu);
	while (pipelines->first) {
		struct gpu_pipeline *pipeline = pipelines->first;
		pipelines->first = pipeline->next;
		gpu->vk.vkDestroyPipeline(gpu->device, pipeline->pipeline, NULL);
		free(pipeline);
	}
	while (pipelines->shaders) {
		struct shader *shader = pipelines->shaders;
		pipelines->shaders = shader->next;
		gpu->vk.vkDestroyShaderModule(gpu->device, shader->module, NULL);
		free(shader->name);
		free(shader);
	}
	gpu->vk.vkDestroyPipelineCache(gpu->device, pipelines->cache, NULL);
	gpu->vk.vkDestroyPipelineLayout(gpu->device, pipelines->layout, NULL);
	gpu->vk.vkDestroyDescriptorSetLayout(gpu->device, pipelines->set_layout, NULL);
	free(pipelines->cache_path);
}
