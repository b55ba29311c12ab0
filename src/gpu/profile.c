/* How long each stage takes on the device: a timestamp before the first dispatch of a command buffer and one after each,
 * read after the fence and never waited for (some drivers would hang); what is not available is not counted.  Dispatches
 * that may overlap share the time of their group, in the order in which they finish. */
#include "gpu/vk.h"

#include <stdlib.h>
#include <string.h>

#define STAMPS_PER_POOL 256

struct stamp_pool {
	struct stamp_pool *next;
	VkQueryPool queries;
};

struct stamp_mark {
	size_t row;
	uint64_t bytes;
};

bool profile_enabled(const struct gpu *gpu)
{
	return gpu->profiling && gpu->facts.caps.timestamps;
}

bool gpu_profile_row(const struct gpu *gpu, size_t index, rwkvk_profile_row *row)
{
	struct profile *profile = (struct profile *)(uintptr_t)&gpu->profile; /* const to the caller; the lock is not */
	mutex_lock(&profile->lock);
	bool found = index < profile->count;
	if (found)
		*row = profile->rows[index];
	mutex_unlock(&profile->lock);
	return found;
}

void profile_finish(struct gpu *gpu)
{
	free(gpu->profile.rows);
	mutex_destroy(&gpu->profile.lock);
}

/* With the lock held. */
static rwkvk_status find_row(struct profile *profile, const char *stage, size_t *row)
{
	for (*row = 0; *row < profile->count; ++*row)
		if (!strcmp(profile->rows[*row].stage, stage))
			return RWKVK_OK;
	if (profile->count == profile->capacity) {
		size_t capacity = profile->capacity ? profile->capacity * 2 : 16;
		rwkvk_profile_row *rows = realloc(profile->rows, capacity * sizeof *rows);
		if (!rows)
			return host_memory_failure("the profile");
		profile->rows = rows;
		profile->capacity = capacity;
	}
	profile->rows[profile->count++] = (rwkvk_profile_row){ .stage = stage };
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- recording */

/* The pool of stamp `index`, made when it is first needed. */
static rwkvk_status find_pool(struct gpu *gpu, struct stamps *stamps, uint32_t index, struct stamp_pool **out)
{
	struct stamp_pool **at = &stamps->pools;
	for (uint32_t i = 0; i < index / STAMPS_PER_POOL; i++)
		at = &(*at)->next;
	*out = *at;
	if (*at)
		return RWKVK_OK;
	struct stamp_pool *pool = calloc(1, sizeof *pool);
	if (!pool)
		return host_memory_failure("the profile");
	VkQueryPoolCreateInfo info = { .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
		                           .queryType = VK_QUERY_TYPE_TIMESTAMP,
		                           .queryCount = STAMPS_PER_POOL };
	VkResult result = gpu->vk.vkCreateQueryPool(gpu->device, &info, NULL, &pool->queries);
	if (result != VK_SUCCESS) {
		free(pool);
		return driver_failure(result, "vkCreateQueryPool(...)", __FILE__, __LINE__);
	}
	*at = *out = pool;
	return RWKVK_OK;
}

static rwkvk_status stamp(struct gpu *gpu, struct stamps *stamps, VkCommandBuffer commands, uint32_t index,
                          VkPipelineStageFlagBits stage)
{
	struct stamp_pool *pool;
	TRY(find_pool(gpu, stamps, index, &pool));
	uint32_t query = index % STAMPS_PER_POOL;
	if (query == 0)
		gpu->vk.vkCmdResetQueryPool(commands, pool->queries, 0, STAMPS_PER_POOL);
	gpu->vk.vkCmdWriteTimestamp(commands, stage, pool->queries, query);
	return RWKVK_OK;
}

rwkvk_status stamps_begin(struct gpu *gpu, struct stamps *stamps, VkCommandBuffer commands)
{
	stamps->count = 0;
	return stamp(gpu, stamps, commands, 0, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT);
}

rwkvk_status stamps_dispatch(struct gpu *gpu, struct stamps *stamps, VkCommandBuffer commands, const char *stage,
                             uint64_t bytes)
{
	if (stamps->count == stamps->capacity) {
		uint32_t capacity = stamps->capacity ? stamps->capacity * 2 : 64;
		struct stamp_mark *marks = realloc(stamps->marks, capacity * sizeof *marks);
		if (!marks)
			return host_memory_failure("the profile");
		stamps->marks = marks;
		stamps->capacity = capacity;
	}
	struct stamp_mark *mark = &stamps->marks[stamps->count];
	mark->bytes = bytes;
	mutex_lock(&gpu->profile.lock);
	rwkvk_status status = find_row(&gpu->profile, stage, &mark->row);
	mutex_unlock(&gpu->profile.lock);
	TRY(status);
	stamps->count++;
	return stamp(gpu, stamps, commands, stamps->count, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
}

void stamps_destroy(struct gpu *gpu, struct stamps *stamps)
{
	while (stamps->pools) {
		struct stamp_pool *pool = stamps->pools;
		stamps->pools = pool->next;
		gpu->vk.vkDestroyQueryPool(gpu->device, pool->queries, NULL);
		free(pool);
	}
	free(stamps->marks);
	*stamps = (struct stamps){ 0 };
}

/* ---------------------------------------------------------------------------------------------------- reading */

static void count_run(struct gpu *gpu, const struct stamp_mark *mark, uint64_t ticks)
{
	uint32_t bits = gpu->facts.timestamp_bits;
	uint64_t mask = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1; /* the counter wraps at its width */
	mutex_lock(&gpu->profile.lock);
	rwkvk_profile_row *row = &gpu->profile.rows[mark->row];
	row->runs++;
	row->bytes += mark->bytes;
	row->seconds += (double)(ticks & mask) * gpu->facts.caps.timestamp_period * 1e-9;
	mutex_unlock(&gpu->profile.lock);
}

void stamps_collect(struct gpu *gpu, const struct stamps *stamps)
{
	struct result {
		uint64_t ticks, available;
	} results[STAMPS_PER_POOL], last = { 0, 0 };
	uint32_t total = stamps->count + 1, index = 0;
	for (const struct stamp_pool *pool = stamps->pools; pool && index < total; pool = pool->next) {
		uint32_t count = total - index < STAMPS_PER_POOL ? total - index : STAMPS_PER_POOL;
		memset(results, 0, sizeof results);
		counter_add(&gpu->counters.host_calls, 1);
		VkResult result =
			gpu->vk.vkGetQueryPoolResults(gpu->device, pool->queries, 0, count, sizeof results, results, sizeof *results,
		                                  VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
		if (result < 0)
			return; /* the stages have run all the same; this run is missing from the profile */
		for (uint32_t i = 0; i < count; i++, index++) {
			if (index > 0 && last.available && results[i].available)
				count_run(gpu, &stamps->marks[index - 1], results[i].ticks - last.ticks);
			last = results[i];
		}
	}
}
