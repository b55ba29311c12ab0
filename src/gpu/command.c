/* Command buffers: recorded once, submitted again and again; and the one-off transfers of memory.c.
 *
 * Synchronisation is one global barrier after each stage.  The last one of a command buffer also orders the next
 * submission's dispatches after it, because a barrier's second half reaches over the end of a submission; transfers bring
 * their own two barriers, which order them against everything before and after.  Host writes become visible at a
 * submission by themselves, and host reads come after the fence and a barrier that names the host. */
#include "gpu/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gpu_cmd {
	struct gpu *gpu;
	VkCommandBuffer commands;
	VkFence fence;
	bool recording, ready;
	bool running; /* since gpu_cmd_start() */
	bool open;    /* a dispatch still needs a barrier after it */
	uint64_t dispatches, barriers;
	const struct gpu_pipeline *pipeline; /* bound now */
	const struct gpu_set *set;
	struct stamps stamps;
	rwkvk_status status; /* the first failure since begin, and its text */
	char text[1024];
};

/* ---------------------------------------------------------------------------------------------------- shared pieces */

static void global_barrier(struct gpu *gpu, VkCommandBuffer commands, VkPipelineStageFlags from, VkAccessFlags writes,
                           VkPipelineStageFlags to, VkAccessFlags accesses)
{
	VkMemoryBarrier barrier = { .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = writes, .dstAccessMask = accesses };
	gpu->vk.vkCmdPipelineBarrier(commands, from, to, 0, 1, &barrier, 0, NULL, 0, NULL);
}

static rwkvk_status create_buffer(struct gpu *gpu, VkCommandBuffer *commands, VkFence *fence)
{
	VkCommandBufferAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandPool = gpu->command_pool,
		.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
		.commandBufferCount = 1,
	};
	VkFenceCreateInfo fence_info = { .sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO };
	VK(gpu->vk.vkAllocateCommandBuffers(gpu->device, &info, commands));
	VK(gpu->vk.vkCreateFence(gpu->device, &fence_info, NULL, fence));
	return RWKVK_OK;
}

static void destroy_buffer(struct gpu *gpu, VkCommandBuffer commands, VkFence fence)
{
	gpu->vk.vkDestroyFence(gpu->device, fence, NULL);
	if (commands)
		gpu->vk.vkFreeCommandBuffers(gpu->device, gpu->command_pool, 1, &commands);
}

static rwkvk_status submit(struct gpu *gpu, const VkCommandBuffer *commands, uint32_t count, VkFence fence)
{
	VkSubmitInfo info = { .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = count, .pCommandBuffers = commands };
	counter_add(&gpu->counters.submits, 1);
	counter_add(&gpu->counters.host_calls, 1);
	VkResult result = gpu->lost ? VK_ERROR_DEVICE_LOST : gpu->vk.vkQueueSubmit(gpu->queue, 1, &info, fence);
	gpu->lost |= result == VK_ERROR_DEVICE_LOST;
	return result == VK_SUCCESS ? RWKVK_OK : driver_failure(result, "vkQueueSubmit(...)", __FILE__, __LINE__);
}

static rwkvk_status wait_fence(struct gpu *gpu, VkFence fence)
{
	counter_add(&gpu->counters.host_calls, 2);
	VkResult result = gpu->vk.vkWaitForFences(gpu->device, 1, &fence, VK_TRUE, UINT64_MAX);
	gpu->lost |= result == VK_ERROR_DEVICE_LOST;
	if (result == VK_SUCCESS && gpu->lost) /* a lost device may still signal its fences */
		result = VK_ERROR_DEVICE_LOST;
	if (result != VK_SUCCESS)
		return driver_failure(result, "vkWaitForFences(...)", __FILE__, __LINE__);
	VK(gpu->vk.vkResetFences(gpu->device, 1, &fence));
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- transfers */

rwkvk_status transfer_create(struct gpu *gpu, struct transfer *transfer)
{
	if (transfer->fence)
		return RWKVK_OK;
	rwkvk_status status = create_buffer(gpu, &transfer->commands, &transfer->fence);
	if (status != RWKVK_OK)
		transfer_destroy(gpu, transfer);
	return status;
}

void transfer_destroy(struct gpu *gpu, struct transfer *transfer)
{
	if (transfer->running)
		gpu->vk.vkWaitForFences(gpu->device, 1, &transfer->fence, VK_TRUE, UINT64_MAX);
	destroy_buffer(gpu, transfer->commands, transfer->fence);
	*transfer = (struct transfer){ 0 };
}

rwkvk_status transfer_begin(struct gpu *gpu, struct transfer *transfer)
{
	VkCommandBufferBeginInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
		                              .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT };
	TRY(transfer_create(gpu, transfer));
	TRY(transfer_wait(gpu, transfer));
	VK(gpu->vk.vkBeginCommandBuffer(transfer->commands, &info));
	counter_add(&gpu->counters.recordings, 1);
	global_barrier(gpu, transfer->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
	               VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT,
	               VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
	return RWKVK_OK;
}

rwkvk_status transfer_submit(struct gpu *gpu, struct transfer *transfer)
{
	global_barrier(gpu, transfer->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
	               VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT,
	               VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
	                   VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
	VK(gpu->vk.vkEndCommandBuffer(transfer->commands));
	counter_add(&gpu->counters.barriers, 2);
	TRY(submit(gpu, &transfer->commands, 1, transfer->fence));
	transfer->running = true;
	return RWKVK_OK;
}

rwkvk_status transfer_wait(struct gpu *gpu, struct transfer *transfer)
{
	if (!transfer->running)
		return RWKVK_OK;
	transfer->running = false;
	return wait_fence(gpu, transfer->fence);
}

/* ---------------------------------------------------------------------------------------------------- recording */

rwkvk_status gpu_cmd_create(struct gpu *gpu, struct gpu_cmd **out)
{
	*out = NULL;
	struct gpu_cmd *cmd = calloc(1, sizeof *cmd);
	if (!cmd)
		return host_memory_failure("a command buffer");
	cmd->gpu = gpu;
	rwkvk_status status = create_buffer(gpu, &cmd->commands, &cmd->fence);
	if (status != RWKVK_OK)
		gpu_cmd_destroy(cmd);
	else
		*out = cmd;
	return status;
}

void gpu_cmd_destroy(struct gpu_cmd *cmd)
{
	if (!cmd)
		return;
	error_hold();
	(void)gpu_cmd_wait(cmd);
	error_release();
	destroy_buffer(cmd->gpu, cmd->commands, cmd->fence);
	stamps_destroy(cmd->gpu, &cmd->stamps);
	free(cmd);
}

/* Holds the first failure with its text, until gpu_cmd_end(). */
static void note_failure(struct gpu_cmd *cmd, rwkvk_status status)
{
	if (status == RWKVK_OK || cmd->status != RWKVK_OK)
		return;
	cmd->status = status;
	snprintf(cmd->text, sizeof cmd->text, "%s", rwkvk_last_error());
}

static rwkvk_status begin(struct gpu_cmd *cmd)
{
	VkCommandBufferBeginInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
		                              .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT }; /* a list may repeat it */
	INVARIANT(!cmd->recording && !cmd->running);
	VK(cmd->gpu->vk.vkBeginCommandBuffer(cmd->commands, &info));
	cmd->recording = true;
	counter_add(&cmd->gpu->counters.recordings, 1);
	return profile_enabled(cmd->gpu) ? stamps_begin(cmd->gpu, &cmd->stamps, cmd->commands) : RWKVK_OK;
}

void gpu_cmd_begin(struct gpu_cmd *cmd)
{
	cmd->ready = cmd->open = false;
	cmd->status = RWKVK_OK;
	cmd->dispatches = cmd->barriers = 0;
	cmd->pipeline = NULL;
	cmd->set = NULL;
	note_failure(cmd, begin(cmd));
}

static rwkvk_status dispatch(struct gpu_cmd *cmd, struct gpu_pipeline *pipeline, struct gpu_set *set, const void *push,
                             uint32_t push_bytes, struct gpu_groups groups, const char *stage, uint64_t bytes)
{
	struct gpu *gpu = cmd->gpu;
	INVARIANT(cmd->recording && pipeline && set);
	INVARIANT(push_bytes <= GPU_PUSH_BYTES && push_bytes % 4 == 0);
	const uint32_t y = groups.y ? groups.y : 1, most = groups.x > y ? groups.x : y;
	if (most > gpu->facts.caps.max_groups)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: %u workgroups are more than the %u that %s takes at once", stage, most,
		            gpu->facts.caps.max_groups, gpu->facts.caps.name);
	if (pipeline != cmd->pipeline)
		gpu->vk.vkCmdBindPipeline(cmd->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->pipeline);
	if (set != cmd->set)
		gpu->vk.vkCmdBindDescriptorSets(cmd->commands, VK_PIPELINE_BIND_POINT_COMPUTE, gpu->pipelines.layout, 0, 1, &set->set,
		                                0, NULL);
	if (push_bytes > 0)
		gpu->vk.vkCmdPushConstants(cmd->commands, gpu->pipelines.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes, push);
	gpu->vk.vkCmdDispatch(cmd->commands, groups.x, y, 1);
	cmd->pipeline = pipeline;
	cmd->set = set;
	cmd->dispatches++;
	cmd->open = true;
	return profile_enabled(gpu) ? stamps_dispatch(gpu, &cmd->stamps, cmd->commands, stage, bytes) : RWKVK_OK;
}

void gpu_cmd_dispatch(struct gpu_cmd *cmd, struct gpu_pipeline *pipeline, struct gpu_set *set, const void *push,
                      uint32_t push_bytes, struct gpu_groups groups, const char *stage, uint64_t bytes)
{
	if (cmd->status == RWKVK_OK)
		note_failure(cmd, dispatch(cmd, pipeline, set, push, push_bytes, groups, stage, bytes));
}

void gpu_cmd_barrier(struct gpu_cmd *cmd)
{
	if (cmd->status != RWKVK_OK || !cmd->recording)
		return;
	global_barrier(cmd->gpu, cmd->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
	               VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_HOST_BIT,
	               VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
	cmd->barriers++;
	cmd->open = false;
}

/* Barriers are cheap and few here, so a copy brings its own two, as transfers do. */
void gpu_cmd_copy(struct gpu_cmd *cmd, const struct gpu_copy_region *regions, uint32_t count)
{
	note_failure(cmd, check_regions(regions, count));
	if (cmd->status != RWKVK_OK || !cmd->recording)
		return;
	const VkPipelineStageFlags compute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, copies = VK_PIPELINE_STAGE_TRANSFER_BIT;
	global_barrier(cmd->gpu, cmd->commands, compute | copies, VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT, copies,
	               VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
	for (uint32_t i = 0; i < count; i++) {
		const struct gpu_copy_region *r = &regions[i];
		VkBufferCopy region = { .srcOffset = r->from_offset, .dstOffset = r->to_offset, .size = r->bytes };
		cmd->gpu->vk.vkCmdCopyBuffer(cmd->commands, r->from->vk->buffer, r->to->vk->buffer, 1, &region);
	}
	global_barrier(cmd->gpu, cmd->commands, copies, VK_ACCESS_TRANSFER_WRITE_BIT, compute | copies,
	               VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
	                   VK_ACCESS_TRANSFER_WRITE_BIT);
	cmd->barriers += 2;
	cmd->open = false;
}

static rwkvk_status end(struct gpu_cmd *cmd)
{
	INVARIANT(cmd->recording);
	cmd->recording = false;
	VK(cmd->gpu->vk.vkEndCommandBuffer(cmd->commands));
	return RWKVK_OK;
}

rwkvk_status gpu_cmd_end(struct gpu_cmd *cmd)
{
	if (cmd->open)
		gpu_cmd_barrier(cmd);
	if (cmd->recording || cmd->status == RWKVK_OK)
		note_failure(cmd, end(cmd));
	if (cmd->status != RWKVK_OK)
		return fail(cmd->status, "%s", cmd->text);
	cmd->ready = true;
	return RWKVK_OK;
}

rwkvk_status gpu_cmd_run(struct gpu_cmd *cmd)
{
	return gpu_cmd_run_list(&cmd, 1);
}

rwkvk_status gpu_cmd_start(struct gpu_cmd *cmd)
{
	INVARIANT(cmd->ready && !cmd->running);
	TRY(submit(cmd->gpu, &cmd->commands, 1, cmd->fence));
	cmd->running = true;
	counter_add(&cmd->gpu->counters.dispatches, cmd->dispatches);
	counter_add(&cmd->gpu->counters.barriers, cmd->barriers);
	return RWKVK_OK;
}

rwkvk_status gpu_cmd_wait(struct gpu_cmd *cmd)
{
	if (!cmd->running)
		return RWKVK_OK;
	cmd->running = false;
	return wait_fence(cmd->gpu, cmd->fence);
}

rwkvk_status gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count)
{
	VkCommandBuffer commands[GPU_LIST];
	INVARIANT(count > 0 && count <= GPU_LIST);
	struct gpu *gpu = list[0]->gpu;
	for (uint32_t i = 0; i < count; i++) {
		INVARIANT(list[i]->ready && !list[i]->running);
		commands[i] = list[i]->commands;
	}
	TRY(submit(gpu, commands, count, list[0]->fence));
	for (uint32_t i = 0; i < count; i++) {
		counter_add(&gpu->counters.dispatches, list[i]->dispatches);
		counter_add(&gpu->counters.barriers, list[i]->barriers);
	}
	TRY(wait_fence(gpu, list[0]->fence));
	if (profile_enabled(gpu) && count == 1)
		stamps_collect(gpu, &list[0]->stamps);
	return RWKVK_OK;
}
