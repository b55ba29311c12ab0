/* Binding sets.  All have the same layout and fit every pipeline. */
#include "gpu/vk.h"

#include <stdlib.h>

#define SETS_PER_POOL 64

struct descriptor_pool {
	struct descriptor_pool *next;
	VkDescriptorPool pool;
	uint32_t used;
};

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

/* A pool with room for a set.  All sets have the same layout, so any gap will do. */
static rwkvk_status find_pool(struct gpu *gpu, struct descriptor_pool **out)
{
	for (*out = gpu->pipelines.pools; *out; *out = (*out)->next)
		if ((*out)->used < SETS_PER_POOL)
			return RWKVK_OK;
	TRY(grow_pools(gpu));
	*out = gpu->pipelines.pools;
	return RWKVK_OK;
}

static VkFormat texel_format(enum gpu_texels texels)
{
	static const VkFormat formats[] = {
		[GPU_TEXELS_VEC4] = VK_FORMAT_R32G32B32A32_SFLOAT,
		[GPU_TEXELS_UVEC4] = VK_FORMAT_R32G32B32A32_UINT,
		[GPU_TEXELS_UINT] = VK_FORMAT_R32_UINT,
	};
	return formats[texels];
}

static VkDescriptorType texel_type(uint32_t binding)
{
	return binding == GPU_RESULTS ? VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
}

/* The part of a buffer that a texel view covers: whole texels, and never a number of bytes whose bits 8 to 15 are all zero.
 * Mesa's llvmpipe mistakes those bits for an image's level count and recompiles a shader whenever one of its views switches
 * between zero and non-zero levels.  Buffers are longer than their stated size by TEXEL_SLACK for this. */
static uint64_t texel_range(uint64_t bytes)
{
	uint64_t range = (bytes + 15) & ~(uint64_t)15;
	return (range & 0xff00) == 0 ? range + TEXEL_SLACK : range;
}

static rwkvk_status write_texels(struct gpu *gpu, struct gpu_set *set, const struct gpu_binding *bindings,
                                 const VkDescriptorBufferInfo infos[GPU_BINDINGS])
{
	VkWriteDescriptorSet writes[GPU_BINDINGS];
	for (uint32_t i = 0; i < GPU_BINDINGS; i++) {
		VkBufferViewCreateInfo view = {
			.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
			.buffer = infos[i].buffer,
			.format = texel_format(bindings[i].texels),
			.offset = infos[i].offset,
			.range = texel_range(infos[i].range),
		};
		VK(gpu->vk.vkCreateBufferView(gpu->device, &view, NULL, &set->views[i]));
		writes[i] = (VkWriteDescriptorSet){
			.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
			.dstSet = set->set,
			.dstBinding = GPU_BINDINGS + i,
			.descriptorCount = 1,
			.descriptorType = texel_type(i),
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
	return gpu->facts.caps.texel_reads ? write_texels(gpu, set, bindings, infos) : RWKVK_OK;
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

rwkvk_status sets_init(struct gpu *gpu)
{
	VkDescriptorSetLayoutBinding bindings[2 * GPU_BINDINGS];
	for (uint32_t i = 0; i < 2 * GPU_BINDINGS; i++) {
		VkDescriptorType type = i < GPU_BINDINGS ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : texel_type(i - GPU_BINDINGS);
		bindings[i] = (VkDescriptorSetLayoutBinding){ i, type, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL };
	}
	VkDescriptorSetLayoutCreateInfo set_info = { .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
		                                         .bindingCount = gpu->facts.caps.texel_reads ? 2 * GPU_BINDINGS : GPU_BINDINGS,
		                                         .pBindings = bindings };
	VK(gpu->vk.vkCreateDescriptorSetLayout(gpu->device, &set_info, NULL, &gpu->pipelines.set_layout));
	return RWKVK_OK;
}
