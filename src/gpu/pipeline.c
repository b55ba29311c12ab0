/* Shaders and pipelines.  Everything shares one pipeline layout, so binding sets and push constants fit every pipeline.
 * SPIR-V is embedded in the library; for work on shaders, RWKVK_SHADER_DIR names a folder from which NAME.spv (or
 * NAME.shared.spv, NAME.texel.spv) is loaded instead. */
#include "gpu/vk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/parallel.h"
#include "gpu/shaders.h"

#define SPIRV_MAGIC  0x07230203u
#define SPIRV_NEWEST 0x00010300u /* accepted by every Vulkan 1.1 device */

struct shader {
	struct shader *next;
	char *name;
	VkShaderModule module;
};

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

static rwkvk_status module_from_folder(struct gpu *gpu, const char *name, VkShaderModule *out)
{
	char file_name[128];
	snprintf(file_name, sizeof file_name, "%.100s%s.spv", name, variant(gpu));
	char *path = file_join(gpu->shader_folder, strlen(gpu->shader_folder), file_name);
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
	if (gpu->shader_folder)
		return module_from_folder(gpu, name, out);
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

/* Asks for the subgroup size in caps and for full subgroups, if the device can guarantee them for this workgroup.  `size` is
 * chained to the stage. */
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

/* Called from any thread: it changes nothing but the pipeline, and drivers synchronise their cache themselves. */
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

/* Pipelines to compile, and the result of each. */
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
		if (!c->pipelines[i]->pipeline) /* not a failure: compilation had not begun */
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
	double begin = clock_seconds();
	rwkvk_status status = c.pipelines && c.results ? compile_list(&c, count) : host_memory_failure("pipelines");
	counter_add(&gpu->counters.compile_nanoseconds, (uint64_t)(1e9 * (clock_seconds() - begin)));
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

/* The subgroup size that the compiler chose, if none was requested: a property, not a statistic. */
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
		return fail(RWKVK_ERROR_UNSUPPORTED, "the driver of %s reports no statistics of its compiler", gpu->facts.caps.name);
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

/* ---------------------------------------------------------------------------------------------------- begin and end */

rwkvk_status pipelines_init(struct gpu *gpu)
{
	struct pipelines *pipelines = &gpu->pipelines;
	TRY(sets_init(gpu));
	VkPushConstantRange push = { VK_SHADER_STAGE_COMPUTE_BIT, 0, GPU_PUSH_BYTES };
	VkPipelineLayoutCreateInfo layout_info = {
		.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
		.setLayoutCount = 1,
		.pSetLayouts = &pipelines->set_layout,
		.pushConstantRangeCount = 1,
		.pPushConstantRanges = &push,
	};
	VK(gpu->vk.vkCreatePipelineLayout(gpu->device, &layout_info, NULL, &pipelines->layout));
	return cache_create(gpu, !gpu->facts.caps.pipeline_statistics); /* statistics need the compiler to run */
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
