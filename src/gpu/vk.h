/* Shared by the files of this folder and hidden from the layers above: the Vulkan side of struct gpu, the check of Vulkan
 * results, and the few internal calls between device, memory, pipeline, command and profile. */
#ifndef RWKVK_GPU_VK_H
#define RWKVK_GPU_VK_H

#include <volk.h>

#include "base/numbers.h"
#include "base/thread.h"
#include "gpu/gpu.h"

/* ------------------------------------------------------------------------------------------------------ failure.c */

/* Runs a Vulkan call that must succeed; the failure's text has the call, the result's name and the source line. */
#define VK(call)                                                                                                               \
	do {                                                                                                                       \
		VkResult vk_result = (call);                                                                                           \
		if (vk_result != VK_SUCCESS)                                                                                           \
			return driver_failure(vk_result, #call, __FILE__, __LINE__);                                                       \
	} while (0)

rwkvk_status driver_failure(VkResult result, const char *call, const char *file, int line);
const char *vk_result_name(VkResult result);
rwkvk_status host_memory_failure(const char *what);

/* What is known about a physical device before it is opened, RWKVK_CAPS applied. */
struct device_facts {
	VkPhysicalDevice physical;
	struct gpu_caps caps;
	VkPhysicalDeviceProperties properties;
	VkPhysicalDeviceMemoryProperties memory;
	uint8_t driver_uuid[VK_UUID_SIZE];
	uint64_t max_allocation; /* bytes of one vkAllocateMemory */
	uint64_t memory_cap;     /* what memory=BYTES of RWKVK_CAPS and gpu_options.device_memory allow, else UINT64_MAX */
	uint32_t queue_family, timestamp_bits;
	uint32_t required_subgroup_size;  /* what pipelines can ask for; 0: nothing */
	uint32_t max_workgroup_subgroups; /* limit that goes with it */
	bool size_control;                /* VK_EXT_subgroup_size_control is to be enabled */
	bool full_subgroups;              /* and pipelines can ask for full subgroups */
	bool in_main_memory;              /* all heaps are main memory, which other programs use, too */
	bool has_budget, has_statistics, has_portability;
	bool usable;
	char reason[256]; /* why not */
};

/* ------------------------------------------------------------------------------------------------------ caps.c */

/* What RWKVK_CAPS asks for: features to hide, limits to lower (0: as the device has it), a software device to be treated like
 * a graphics card or like the GPU of a phone. */
struct overrides {
	bool no_subgroups, no_texels, no_size_control, no_unified, no_timestamps, no_float16, no_int8_dot, host_quantise, as_gpu,
		as_integrated;
	uint64_t invocations, shared, range, buffer, memory;
};
rwkvk_status overrides_read(struct overrides *out);

/* Queries a device.  A reason why it is unusable is a result, not a failure. */
rwkvk_status device_learn(VkPhysicalDevice physical, uint32_t index, const struct overrides *overrides,
                          struct device_facts *facts);

/* Sets the flags of the extensions that are in the list. */
struct extension_flag {
	const char *name;
	bool *present;
};
void mark_extensions(const VkExtensionProperties *extensions, uint32_t count, const struct extension_flag *flags,
                     size_t flag_count);

/* ------------------------------------------------------------------------------------------------------ instance.c */

/* Volk's instance-level functions are process-wide variables, so everything that loads or calls them holds this lock;
 * device-level functions are a table in the gpu. */
void loader_lock(void);
void loader_unlock(void);
/* `gpu`: its log receives validation messages; NULL for listings, where they are printed.  Call the second after a failure,
 * too. */
rwkvk_status instance_create(struct gpu *gpu, VkInstance *instance, VkDebugUtilsMessengerEXT *messenger);
void instance_destroy(VkInstance instance, VkDebugUtilsMessengerEXT messenger);
rwkvk_status no_device_failure(void);

/* ------------------------------------------------------------------------------------------------------ devices.c */

#define MAX_DEVICES 64

/* All there are, MAX_DEVICES at most. */
rwkvk_status devices_learn(VkInstance instance, struct device_facts *facts, uint32_t *count);
/* `wanted`: an index, part of a name, or NULL for the best. */
rwkvk_status device_choose(const char *wanted, const struct device_facts *facts, uint32_t count, uint32_t *chosen);

/* ------------------------------------------------------------------------------------------------------ memory.c */

struct memory_block {
	struct memory_block *next;
	VkDeviceMemory memory;
	uint64_t bytes;
	uint32_t type;
	uint8_t *mapped;             /* NULL when the host cannot reach it */
	bool dedicated;              /* holds one buffer only, ever */
	struct gpu_buffer_vk *first; /* what lies in it, by offset */
};

/* Extra bytes of a VkBuffer where shaders read through texel views: a view may need to be longer (sets.c). */
enum { TEXEL_SLACK = 256 };

struct gpu_buffer_vk {
	struct gpu_buffer_vk *next; /* in its block */
	struct memory_block *block;
	VkBuffer buffer;
	uint64_t bytes;            /* of the VkBuffer without the slack: whole 16-byte groups */
	uint64_t offset, occupied; /* in the block */
	bool readable;             /* mapped memory is cached: the host can read it at speed */
};

/* One reusable command buffer for copies and its fence. */
struct transfer {
	VkCommandBuffer commands;
	VkFence fence;
	bool running;
};

/* Staging memory with its own transfer. */
struct staging {
	struct gpu_buffer buffer;
	struct transfer transfer;
};

#define UPLOAD_CHUNKS 3

struct memory {
	struct memory_block *blocks;
	_Atomic uint64_t used;                   /* bytes of all blocks */
	uint64_t heap_used[VK_MAX_MEMORY_HEAPS]; /* the same by heap */
	uint64_t type_used[VK_MAX_MEMORY_TYPES];
	struct transfer transfer;           /* fills and copies */
	struct staging small;               /* of transfer.c, made when first needed */
	struct staging ring[UPLOAD_CHUNKS]; /* of gpu_upload_*, made when first needed, given back by gpu_upload_finish */
	uint32_t ring_next;
	struct {
		struct gpu_buffer *buffer; /* NULL: no upload has begun */
		uint64_t offset, bytes;
		struct staging *chunk; /* NULL: written in place */
	} upload;
};

/* The rank of a memory type for a kind of buffer, 0 best, -1 unusable. */
int memory_rank(const struct device_facts *facts, enum gpu_memory kind, uint32_t type);
void memory_finish(struct gpu *gpu);
/* Ensures that staging memory has at least so many bytes. */
rwkvk_status staging_create(struct gpu *gpu, struct staging *staging, uint64_t bytes);
/* Records a copy; whether such a range is within the buffer. */
void buffer_copy(struct gpu *gpu, VkCommandBuffer commands, const struct gpu_buffer *from, uint64_t from_offset,
                 const struct gpu_buffer *to, uint64_t to_offset, uint64_t bytes);
bool buffer_holds(const struct gpu_buffer *buffer, uint64_t offset, uint64_t bytes);
/* transfer.c: whether copies lie within their buffers. */
rwkvk_status check_regions(const struct gpu_copy_region *regions, uint32_t count);

/* ------------------------------------------------------------------------------------------------------ pipeline.c */

struct gpu_pipeline {
	struct gpu_pipeline *next;
	struct shader *shader;
	VkPipeline pipeline;
	uint32_t count;
	uint32_t constants[];
};

struct gpu_set {
	struct gpu_set *next;
	struct descriptor_pool *pool;
	VkDescriptorSet set;
	VkBufferView views[GPU_BINDINGS]; /* with caps.texel_reads */
};

struct pipelines {
	VkDescriptorSetLayout set_layout;
	VkPipelineLayout layout;
	VkPipelineCache cache;
	char *cache_path;                     /* NULL: not kept on disk */
	uint64_t cache_bytes, cache_checksum; /* of the file's content; 0, 0: nothing usable */
	struct shader *shaders;
	struct gpu_pipeline *first;
	struct descriptor_pool *pools;
	struct gpu_set *sets;
};

rwkvk_status pipelines_init(struct gpu *gpu);
void pipelines_finish(struct gpu *gpu);
rwkvk_status sets_init(struct gpu *gpu);                  /* sets.c: the layout */
rwkvk_status cache_create(struct gpu *gpu, bool on_disk); /* cache.c */
/* The folder of caches, for free(): `wanted` unless that is NULL.  NULL when there is none, or no memory. */
char *cache_choose_folder(const char *wanted);

/* ------------------------------------------------------------------------------------------------------ command.c */

rwkvk_status transfer_create(struct gpu *gpu, struct transfer *transfer); /* does nothing when it exists */
void transfer_destroy(struct gpu *gpu, struct transfer *transfer);        /* zeroed ones are allowed; waits */
/* Begins recording; everything submitted before is ordered before the copies recorded next. */
rwkvk_status transfer_begin(struct gpu *gpu, struct transfer *transfer);
/* Ends and submits; the copies are ordered before everything submitted later and visible to the host once waited for. */
rwkvk_status transfer_submit(struct gpu *gpu, struct transfer *transfer);
rwkvk_status transfer_wait(struct gpu *gpu, struct transfer *transfer);

/* ------------------------------------------------------------------------------------------------------ profile.c */

/* The timestamps of one recorded command buffer: one before the first dispatch and one after each. */
struct stamps {
	struct stamp_pool *pools; /* in order; kept from recording to recording */
	struct stamp_mark *marks; /* what each dispatch was */
	uint32_t count, capacity;
};

struct profile {
	struct mutex lock; /* around the rows, which may be read at any time */
	rwkvk_profile_row *rows;
	size_t count, capacity;
};

bool profile_enabled(const struct gpu *gpu);
void profile_finish(struct gpu *gpu);
rwkvk_status stamps_begin(struct gpu *gpu, struct stamps *stamps, VkCommandBuffer commands);
rwkvk_status stamps_dispatch(struct gpu *gpu, struct stamps *stamps, VkCommandBuffer commands, const char *stage,
                             uint64_t bytes);
void stamps_collect(struct gpu *gpu, const struct stamps *stamps);
void stamps_destroy(struct gpu *gpu, struct stamps *stamps);

/* ------------------------------------------------------------------------------------------------------ device.c */

/* struct gpu_counters, which may be read at any time. */
struct counters {
	_Atomic uint64_t dispatches, barriers, submits, host_calls, descriptor_updates, allocations, buffers, recordings,
		compile_nanoseconds;
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

struct gpu {
	struct device_facts facts;
	struct counters counters;
	VkInstance instance;
	VkDebugUtilsMessengerEXT messenger;
	VkDevice device;
	struct VolkDeviceTable vk;
	VkQueue queue;
	VkCommandPool command_pool;
	bool profiling;
	char *cache_folder, *shader_folder; /* NULL: none */
	uint32_t threads;
	struct listener listener;
	const atomic_bool *cancel;
	bool lost; /* the device is lost: nothing more is submitted */
	struct memory memory;
	struct pipelines pipelines;
	struct profile profile;
};

/* Bytes that may still be allocated from a heap. */
uint64_t device_heap_room(const struct gpu *gpu, uint32_t heap);

#endif
