/* Buffers, and how data gets into and out of them.
 *
 * Every gpu_buffer is a VkBuffer of its own, bound to a piece of a memory block.  A block is one vkAllocateMemory of a few
 * to 256 MiB, mapped once for as long as it lives when the host can reach it, and given back when its last buffer goes.
 * Only coherent host-visible memory is used, so nothing is ever flushed.
 *
 * Data that the host cannot write in place goes through staging memory.  Large data uses a ring of chunks, so that one is
 * filled while earlier ones are copied.  Small data uses one buffer and waits. */
#include "gpu/vk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/system.h"

#define MIB            ((uint64_t)1 << 20)
#define SMALLEST_BLOCK (4 * MIB)
#define LARGEST_BLOCK  (256 * MIB)
#define UPLOAD_CHUNK   (16 * MIB)

static uint64_t slack(const struct gpu *gpu)
{
	return gpu->facts.caps.texel_reads ? TEXEL_SLACK : 0;
}

/* ---------------------------------------------------------------------------------------------------- memory types */

int memory_rank(const struct device_facts *facts, enum gpu_memory kind, uint32_t type)
{
	const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
								mapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
	VkMemoryPropertyFlags flags = facts->memory.memoryTypes[type].propertyFlags;
	bool is_local = flags & local, is_cached = flags & cached, is_mapped = (flags & mapped) == mapped;
	if (flags & ~(local | cached | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT))
		return -1; /* protected, lazily allocated, or a vendor's own: needs features that are not enabled */
	switch (kind) {
	case GPU_DEVICE:
	case GPU_WEIGHTS:
		if (is_local)
			return is_mapped == facts->caps.unified_memory ? 0 : 1;
		/* Main memory over the bus is far too slow for weights, but on these devices it is the same memory. */
		return is_mapped && facts->caps.type != RWKVK_DEVICE_DISCRETE && facts->caps.type != RWKVK_DEVICE_VIRTUAL ? 2 : -1;
	case GPU_SHARED:
		return !is_mapped ? -1 : is_local ? 0 : 1;
	case GPU_READBACK:
		return !is_mapped ? -1 : (is_cached ? 0 : 2) + (is_local ? 1 : 0);
	}
	return -1;
}

static uint32_t heap_of(const struct gpu *gpu, uint32_t type)
{
	return gpu->facts.memory.memoryTypes[type].heapIndex;
}

uint64_t gpu_memory_used(const struct gpu *gpu)
{
	return counter_get(&gpu->memory.used);
}

uint64_t gpu_memory_available(const struct gpu *gpu)
{
	const struct device_facts *facts = &gpu->facts;
	uint64_t sum = 0, seen = 0, cap = facts->memory_cap - smaller(gpu_memory_used(gpu), facts->memory_cap);
	for (uint32_t i = 0; i < facts->memory.memoryTypeCount; i++) {
		uint32_t heap = heap_of(gpu, i);
		if (memory_rank(facts, GPU_DEVICE, i) < 0 || seen >> heap & 1)
			continue;
		seen |= (uint64_t)1 << heap;
		uint64_t room = device_heap_room(gpu, heap);
		sum = facts->caps.type == RWKVK_DEVICE_CPU ? room : sum + room; /* on these devices, all heaps are main memory */
	}
	if (facts->in_main_memory) /* beyond which Linux pages, and Android ends the program */
		sum = smaller(sum, system_memory_free());
	return smaller(sum, cap);
}

/* ---------------------------------------------------------------------------------------------------- blocks */

static void block_free(struct gpu *gpu, struct memory_block *block)
{
	for (struct memory_block **at = &gpu->memory.blocks; *at; at = &(*at)->next)
		if (*at == block) {
			*at = block->next;
			break;
		}
	atomic_fetch_sub_explicit(&gpu->memory.used, block->bytes, memory_order_relaxed);
	gpu->memory.heap_used[heap_of(gpu, block->type)] -= block->bytes;
	gpu->memory.type_used[block->type] -= block->bytes;
	gpu->vk.vkFreeMemory(gpu->device, block->memory, NULL); /* unmaps it, too */
	free(block);
}

/* *out is NULL when there is no room for it, which is not a failure yet. */
static rwkvk_status block_allocate(struct gpu *gpu, uint32_t type, uint64_t bytes, struct memory_block **out)
{
	*out = NULL;
	if (bytes > gpu->facts.max_allocation || bytes > device_heap_room(gpu, heap_of(gpu, type)))
		return RWKVK_OK;
	struct memory_block *block = calloc(1, sizeof *block);
	if (!block)
		return host_memory_failure("a memory block");
	VkMemoryAllocateInfo info = { .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		                          .allocationSize = bytes,
		                          .memoryTypeIndex = type };
	counter_add(&gpu->counters.allocations, 1);
	VkResult result = gpu->vk.vkAllocateMemory(gpu->device, &info, NULL, &block->memory);
	if (result != VK_SUCCESS) {
		free(block);
		if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY ||
		    result == VK_ERROR_TOO_MANY_OBJECTS)
			return RWKVK_OK;
		return driver_failure(result, "vkAllocateMemory(...)", __FILE__, __LINE__);
	}
	block->bytes = bytes;
	block->type = type;
	block->next = gpu->memory.blocks;
	gpu->memory.blocks = block;
	counter_add(&gpu->memory.used, bytes);
	gpu->memory.heap_used[heap_of(gpu, type)] += bytes;
	gpu->memory.type_used[type] += bytes;
	if (gpu->facts.memory.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) {
		void *mapped = NULL;
		result = gpu->vk.vkMapMemory(gpu->device, block->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
		if (result != VK_SUCCESS) {
			block_free(gpu, block);
			return driver_failure(result, "vkMapMemory(...)", __FILE__, __LINE__);
		}
		block->mapped = mapped;
		if (gpu->facts.caps.type == RWKVK_DEVICE_CPU) /* this is main memory, and each token reads all of it */
			system_prefer_large_pages(mapped, bytes);
	}
	*out = block;
	return RWKVK_OK;
}

/* Puts the buffer into the first gap of the block that holds it. */
static bool block_place(struct memory_block *block, struct gpu_buffer_vk *vk, const VkMemoryRequirements *needs)
{
	uint64_t offset = 0;
	struct gpu_buffer_vk **at = &block->first;
	while (*at && (*at)->offset < offset + needs->size) {
		offset = round_up((*at)->offset + (*at)->occupied, needs->alignment);
		at = &(*at)->next;
	}
	if (offset > block->bytes || block->bytes - offset < needs->size)
		return false;
	vk->block = block;
	vk->offset = offset;
	vk->occupied = needs->size;
	vk->next = *at;
	*at = vk;
	return true;
}

/* A new block's size grows with the total of its type: small models waste little, and large ones need few calls.  If the heap
 * has no room for that, exactly the needed size is tried. */
static rwkvk_status place_in_type(struct gpu *gpu, struct gpu_buffer_vk *vk, const VkMemoryRequirements *needs, uint32_t type,
                                  bool dedicated)
{
	for (struct memory_block *block = gpu->memory.blocks; block && !dedicated; block = block->next)
		if (block->type == type && !block->dedicated && block_place(block, vk, needs))
			return RWKVK_OK;
	uint64_t usual = smaller(larger(round_up(gpu->memory.type_used[type] / 4, MIB), SMALLEST_BLOCK), LARGEST_BLOCK);
	usual += 64 * slack(gpu); /* so that rounding does not reduce how many large buffers fit */
	uint64_t sizes[2] = { dedicated ? needs->size : larger(usual, needs->size), needs->size };
	struct memory_block *block = NULL;
	for (int i = 0; i < 2 && !block; i++)
		TRY(block_allocate(gpu, type, sizes[i], &block));
	if (!block)
		return RWKVK_OK;
	block->dedicated = dedicated;
	block_place(block, vk, needs);
	return RWKVK_OK;
}

static rwkvk_status memory_failure(const struct gpu *gpu, uint64_t bytes, const char *use)
{
	const struct gpu_caps *caps = &gpu->facts.caps;
	if (!caps->can_allocate)
		return fail(RWKVK_ERROR_MEMORY,
		            "%s: %s has no memory (its driver only compiles shaders): choose another device "
		            "(rwkvk_model_options.device)",
		            use, caps->name);
	return fail(
		RWKVK_ERROR_MEMORY,
		"%s: no room for %.1f MiB in the memory of %s: %.1f MiB in all, %.1f MiB taken by this program, %.1f MiB left; use a "
		"smaller model, fewer bits per weight (rwkvk_model_options.quant) or another device (rwkvk_model_options.device)",
		use, (double)bytes / MIB, caps->name, (double)caps->device_memory / MIB, (double)gpu_memory_used(gpu) / MIB,
		(double)gpu_memory_available(gpu) / MIB);
}

/* Tries the memory types from the best to the worst. */
static rwkvk_status place(struct gpu *gpu, struct gpu_buffer_vk *vk, enum gpu_memory kind, const char *use, bool dedicated)
{
	VkMemoryRequirements needs;
	gpu->vk.vkGetBufferMemoryRequirements(gpu->device, vk->buffer, &needs);
	for (int rank = 0; rank < 4 && !vk->block; rank++)
		for (uint32_t type = 0; type < gpu->facts.memory.memoryTypeCount && !vk->block; type++)
			if ((needs.memoryTypeBits >> type & 1) && memory_rank(&gpu->facts, kind, type) == rank)
				TRY(place_in_type(gpu, vk, &needs, type, dedicated));
	if (!vk->block)
		return memory_failure(gpu, vk->bytes, use);
	VK(gpu->vk.vkBindBufferMemory(gpu->device, vk->buffer, vk->block->memory, vk->offset));
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- buffers */

static rwkvk_status fill(struct gpu_buffer *buffer, uint8_t byte)
{
	struct gpu *gpu = buffer->gpu;
	if (buffer->mapped) {
		memset(buffer->mapped, byte, (size_t)buffer->vk->bytes);
		return RWKVK_OK;
	}
	TRY(transfer_begin(gpu, &gpu->memory.transfer));
	gpu->vk.vkCmdFillBuffer(gpu->memory.transfer.commands, buffer->vk->buffer, 0, buffer->vk->bytes, byte * 0x01010101u);
	TRY(transfer_submit(gpu, &gpu->memory.transfer));
	return transfer_wait(gpu, &gpu->memory.transfer);
}

/* Weights are written by many threads, which then also fault the pages in. */
static rwkvk_status fill_first(struct gpu_buffer *buffer, enum gpu_memory kind)
{
#ifdef NDEBUG
	return kind == GPU_WEIGHTS ? RWKVK_OK : fill(buffer, 0);
#else
	return fill(buffer, kind == GPU_WEIGHTS ? 0xff : 0); /* NaN, so that a gap shows */
#endif
}

static rwkvk_status create(struct gpu_buffer *buffer, enum gpu_memory kind, const char *use, bool dedicated)
{
	struct gpu *gpu = buffer->gpu;
	struct gpu_buffer_vk *vk = buffer->vk = calloc(1, sizeof *vk);
	if (!vk)
		return host_memory_failure(use);
	if (!gpu->facts.caps.can_allocate)
		return memory_failure(gpu, buffer->bytes, use);
	vk->bytes = round_up(buffer->bytes, 16);
	VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.size = vk->bytes + slack(gpu),
		.usage =
			VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
			(gpu->facts.caps.texel_reads ? VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT
		                                 : 0),
		.sharingMode = VK_SHARING_MODE_EXCLUSIVE,
	};
	counter_add(&gpu->counters.buffers, 1);
	VkResult result = gpu->vk.vkCreateBuffer(gpu->device, &info, NULL, &vk->buffer);
	if (result != VK_SUCCESS) {
		vk->buffer = VK_NULL_HANDLE;
		if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
			return memory_failure(gpu, buffer->bytes, use);
		return driver_failure(result, "vkCreateBuffer(...)", __FILE__, __LINE__);
	}
	TRY(place(gpu, vk, kind, use, dedicated));
	VkMemoryPropertyFlags flags = gpu->facts.memory.memoryTypes[vk->block->type].propertyFlags;
	if (vk->block->mapped && ((kind != GPU_DEVICE && kind != GPU_WEIGHTS) || gpu->facts.caps.unified_memory)) {
		buffer->mapped = vk->block->mapped + vk->offset;
		vk->readable = kind == GPU_READBACK || (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
	}
	return fill_first(buffer, kind);
}

static rwkvk_status create_or_destroy(struct gpu *gpu, uint64_t bytes, enum gpu_memory kind, const char *use, bool dedicated,
                                      struct gpu_buffer *out)
{
	*out = (struct gpu_buffer){ .gpu = gpu, .bytes = bytes };
	rwkvk_status status = create(out, kind, use, dedicated);
	if (status != RWKVK_OK)
		gpu_buffer_destroy(out);
	return status;
}

rwkvk_status gpu_buffer_create(struct gpu *gpu, uint64_t bytes, enum gpu_memory memory, const char *use, struct gpu_buffer *out)
{
	*out = (struct gpu_buffer){ 0 };
	INVARIANT(bytes > 0);
	if (bytes > gpu->facts.caps.max_buffer)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: one buffer may have %" PRIu64 " bytes, the %s need %" PRIu64,
		            gpu->facts.caps.name, gpu->facts.caps.max_buffer, use, bytes);
	return create_or_destroy(gpu, bytes, memory, use, false, out);
}

void gpu_buffer_destroy(struct gpu_buffer *buffer)
{
	struct gpu *gpu = buffer->gpu;
	struct gpu_buffer_vk *vk = buffer->vk;
	*buffer = (struct gpu_buffer){ 0 };
	if (!vk)
		return;
	gpu->vk.vkDestroyBuffer(gpu->device, vk->buffer, NULL);
	if (vk->block) {
		struct gpu_buffer_vk **at = &vk->block->first;
		while (*at != vk)
			at = &(*at)->next;
		*at = vk->next;
		if (!vk->block->first)
			block_free(gpu, vk->block);
	}
	free(vk);
}

/* ---------------------------------------------------------------------------------------------------- staging */

rwkvk_status staging_create(struct gpu *gpu, struct staging *staging, uint64_t bytes)
{
	TRY(transfer_create(gpu, &staging->transfer));
	if (staging->buffer.bytes >= bytes)
		return RWKVK_OK;
	TRY(transfer_wait(gpu, &staging->transfer));
	gpu_buffer_destroy(&staging->buffer);
	return create_or_destroy(gpu, bytes, GPU_READBACK, "staging memory", true, &staging->buffer);
}

static void staging_destroy(struct gpu *gpu, struct staging *staging)
{
	transfer_destroy(gpu, &staging->transfer);
	gpu_buffer_destroy(&staging->buffer);
}

void memory_finish(struct gpu *gpu)
{
	for (int i = 0; i < UPLOAD_CHUNKS; i++)
		staging_destroy(gpu, &gpu->memory.ring[i]);
	staging_destroy(gpu, &gpu->memory.small);
	transfer_destroy(gpu, &gpu->memory.transfer);
}

void buffer_copy(struct gpu *gpu, VkCommandBuffer commands, const struct gpu_buffer *from, uint64_t from_offset,
                 const struct gpu_buffer *to, uint64_t to_offset, uint64_t bytes)
{
	VkBufferCopy region = { .srcOffset = from_offset, .dstOffset = to_offset, .size = bytes };
	gpu->vk.vkCmdCopyBuffer(commands, from->vk->buffer, to->vk->buffer, 1, &region);
}

bool buffer_holds(const struct gpu_buffer *buffer, uint64_t offset, uint64_t bytes)
{
	uint64_t size = round_up(buffer->bytes, 4); /* transfers are in whole words */
	return offset <= size && bytes <= size - offset;
}

/* ---------------------------------------------------------------------------------------------------- uploads */

rwkvk_status gpu_upload_begin(struct gpu_buffer *buffer, uint64_t offset, uint64_t *bytes, void **place_out)
{
	struct gpu *gpu = buffer->gpu;
	struct memory *memory = &gpu->memory;
	INVARIANT(!memory->upload.buffer && *bytes > 0 && offset % 4 == 0 && buffer_holds(buffer, offset, *bytes));
	INVARIANT(*bytes % 4 == 0 || offset + *bytes == buffer->bytes);
	struct staging *chunk = NULL;
	if (!buffer->mapped) {
		chunk = &memory->ring[memory->ring_next];
		memory->ring_next = (memory->ring_next + 1) % UPLOAD_CHUNKS;
		TRY(staging_create(gpu, chunk, smaller(UPLOAD_CHUNK, gpu->facts.caps.max_buffer)));
		TRY(transfer_wait(gpu, &chunk->transfer));
		*bytes = smaller(*bytes, chunk->buffer.bytes);
	}
	memory->upload.buffer = buffer;
	memory->upload.offset = offset;
	memory->upload.bytes = *bytes;
	memory->upload.chunk = chunk;
	*place_out = chunk ? chunk->buffer.mapped : (char *)buffer->mapped + offset;
	return RWKVK_OK;
}

rwkvk_status gpu_upload_commit(struct gpu *gpu)
{
	struct memory *memory = &gpu->memory;
	struct gpu_buffer *buffer = memory->upload.buffer;
	struct staging *chunk = memory->upload.chunk;
	INVARIANT(buffer);
	memory->upload.buffer = NULL;
	if (!chunk)
		return RWKVK_OK;                                /* written in place; the next submission makes the data visible */
	uint64_t whole = round_up(memory->upload.bytes, 4); /* copies are in words; the end of an odd buffer is filled up */
	memset((char *)chunk->buffer.mapped + memory->upload.bytes, 0, (size_t)(whole - memory->upload.bytes));
	TRY(transfer_begin(gpu, &chunk->transfer));
	buffer_copy(gpu, chunk->transfer.commands, &chunk->buffer, 0, buffer, memory->upload.offset, whole);
	return transfer_submit(gpu, &chunk->transfer);
}

rwkvk_status gpu_upload_finish(struct gpu *gpu)
{
	INVARIANT(!gpu->memory.upload.buffer);
	rwkvk_status status = RWKVK_OK;
	for (int i = 0; i < UPLOAD_CHUNKS; i++) { /* of all, even if one fails: their buffers may be freed next */
		bool failed = status != RWKVK_OK;
		if (failed)
			error_hold();
		rwkvk_status next = transfer_wait(gpu, &gpu->memory.ring[i].transfer);
		if (failed)
			error_release();
		else
			status = next;
	}
	for (int i = 0; i < UPLOAD_CHUNKS; i++)
		staging_destroy(gpu, &gpu->memory.ring[i]);
	return status;
}
