/* The GPU as the rest of the library sees it: buffers, pipelines, binding sets, recorded commands.  No Vulkan types here
 * and no RWKV below here.
 *
 *   instance.c  Vulkan loader, instance
 *   devices.c   the list of devices, and the choice of one
 *   device.c    opening it
 *   failure.c   error texts for failed Vulkan calls
 *   caps.c      capabilities and the RWKVK_CAPS override
 *   memory.c    buffers inside memory blocks, upload and download
 *   pipeline.c  embedded SPIR-V, specialisation
 *   cache.c     the pipeline cache on disk
 *   sets.c      binding sets
 *   command.c   recording, dispatch, the one barrier, submit and wait
 *   profile.c   timestamps
 *   measure.c   how fast the device reads, copies, computes and starts work
 *
 * One gpu object is used by one thread at a time.  Functions that can fail return a status with text (base/error.h);
 * recording does not: a command object remembers its first failure and gpu_cmd_end() returns it. */
#ifndef RWKVK_GPU_H
#define RWKVK_GPU_H

#include <stdatomic.h>

#include "base/report.h"

/* Every pipeline has the same interface: storage buffers 0 .. GPU_BINDINGS-1 of set 0, and push constants.  With
 * caps.texel_reads, binding GPU_BINDINGS + i is a texel buffer on the memory of binding i; that of GPU_RESULTS is the one whose
 * texels may be written. */
#define GPU_BINDINGS   8
#define GPU_RESULTS    1
#define GPU_PUSH_BYTES 64

/* What the device can do, after RWKVK_CAPS. */
struct gpu_caps {
	char name[256];
	char driver[512];
	char pci[16]; /* "0000:03:00.0"; "": unknown */
	rwkvk_device_type type;
	uint32_t index, vendor_id, device_id, api_version[3];
	uint32_t subgroup_size; /* 1 when subgroups are not usable */
	bool subgroups;         /* basic, arithmetic and shuffle operations in compute shaders */
	bool texel_reads;       /* shaders read through texel buffers: far faster on CPU devices */
	bool unified_memory;    /* weights can be written where the shaders read them */
	bool timestamps;
	double timestamp_period;  /* nanoseconds per tick */
	bool pipeline_statistics; /* VK_KHR_pipeline_executable_properties was enabled */
	bool prefer_host;         /* RWKVK_CAPS=host-quantise: the host, not the device, quantises while loading */
	bool float16, int8_dot;   /* 16-bit floats, and dot products of four 8-bit integers, in arithmetic; see gpu_options */
	uint32_t max_invocations; /* threads of a workgroup (also limited by its x dimension) */
	uint32_t max_groups;      /* workgroups of a dispatch in x, and in y */
	uint32_t max_shared_bytes;
	uint64_t max_range;        /* bytes of one storage buffer binding */
	uint64_t max_buffer;       /* bytes of one gpu_buffer: the smallest of max_range, the allocation limit, 1 GiB */
	uint32_t offset_alignment; /* of storage buffer bindings */
	uint64_t device_memory;    /* bytes in the heaps that weights may use; physical memory on a CPU-type device */
	uint64_t memory_bound;     /* gpu_options.device_memory where device_memory would be more without it; else 0 */
	bool can_allocate;         /* false on a device without memory (a driver's compile-only mode) */
	uint32_t processors;       /* that a CPU-type device is assumed to run on; 0 on others */
};

/* Counts of Vulkan calls so far.  host_calls: to submit, wait and read timestamps; recorded commands need no others. */
struct gpu_counters {
	uint64_t dispatches, barriers, submits, host_calls, descriptor_updates, allocations, buffers, recordings,
		compile_nanoseconds;
};

struct gpu;
struct gpu_pipeline;
struct gpu_set;
struct gpu_cmd;

/* ------------------------------------------------------------------------------------------------------ device.c */

struct gpu_options {
	const char *device; /* index or part of the name; NULL: RWKVK_DEVICE from the environment, else the best */
	bool profile;
	bool capture_statistics; /* for gpu_pipeline_statistics() */
	bool arithmetic;         /* enable caps.float16 and caps.int8_dot where the device has them; no stage needs them */
	const char *cache_dir;  /* of pipelines and tunings; NULL: RWKVK_CACHE_DIR from the environment, else the usual; "": none */
	uint32_t threads;       /* that compile pipelines; 0: one for each processor */
	uint64_t device_memory; /* upper limit on bytes allocated from it; 0: none */
	rwkvk_log_fn *log;      /* NULL: none, and validation messages are printed */
	void *log_user;         /* its first argument */
	const atomic_bool *cancel; /* see gpu_set_cancel() */
};

/* Without a loader, a driver or a device: RWKVK_ERROR_DEVICE, with what to install. */
rwkvk_status gpu_list(rwkvk_device_info *infos, size_t capacity, size_t *count);
/* The device that gpu_open() would take. */
rwkvk_status gpu_find(const char *device, rwkvk_device_info *out);
rwkvk_status gpu_open(const struct gpu_options *options, struct gpu **out);
void gpu_close(struct gpu *gpu); /* waits for the device; NULL is allowed.  Everything else must be gone. */
/* Once this is set, compiling stops with RWKVK_CANCELLED.  NULL: never.  It must live until it is replaced. */
void gpu_set_cancel(struct gpu *gpu, const atomic_bool *cancel);
const struct listener *gpu_listener(const struct gpu *gpu); /* gpu_options.log */
const char *gpu_cache_folder(const struct gpu *gpu);        /* NULL: no cache */
const struct gpu_caps *gpu_caps(const struct gpu *gpu);
/* These two and gpu_profile_row() may be called from any thread at any time. */
struct gpu_counters gpu_counters(const struct gpu *gpu);
/* Device memory allocated now, in bytes. */
uint64_t gpu_memory_used(const struct gpu *gpu);
/* Device memory still available to buffers, in bytes, as reported by the driver, or by the system where the device uses main
 * memory. */
uint64_t gpu_memory_available(const struct gpu *gpu);
/* Messages of the Vulkan validation layer in this process so far; there are none unless RWKVK_VALIDATE=1 is set. */
uint64_t gpu_validation_messages(void);

/* ------------------------------------------------------------------------------------------------------ memory.c */

enum gpu_memory {
	GPU_DEVICE,   /* activations and states; mapped as well on unified-memory devices */
	GPU_WEIGHTS,  /* the same, not cleared: whoever makes it writes all of it */
	GPU_SHARED,   /* small, coherent, mapped: written by the host, read by shaders (control words) */
	GPU_READBACK, /* mapped and preferably cached: written by shaders, read by the host (logits) */
};

struct gpu_buffer {
	struct gpu *gpu;
	uint64_t bytes;
	void *mapped;             /* NULL when the host cannot reach it */
	struct gpu_buffer_vk *vk; /* the Vulkan side, private to memory.c */
};

/* Makes a buffer, zero-filled but for GPU_WEIGHTS, of at most caps.max_buffer bytes.  RWKVK_ERROR_MEMORY names the size, the
 * use ("weights") and what the heap holds.  Never waits for anything but its own clearing. */
rwkvk_status gpu_buffer_create(struct gpu *gpu, uint64_t bytes, enum gpu_memory memory, const char *use,
                               struct gpu_buffer *out);
void gpu_buffer_destroy(struct gpu_buffer *buffer); /* zeroed buffers are allowed; the buffer is zeroed */

/* Uploads large data: returns a place to write up to `bytes` bytes, which will arrive at `offset` of the buffer.  It is the
 * buffer itself on unified memory, else a chunk of a staging ring.  *bytes may come back smaller; then fill that much, call
 * gpu_upload_commit(), and repeat.  `offset` is a multiple of 4, and so is *bytes unless it reaches the buffer's end. One
 * upload at a time per gpu. */
rwkvk_status gpu_upload_begin(struct gpu_buffer *buffer, uint64_t offset, uint64_t *bytes, void **place);
rwkvk_status gpu_upload_commit(struct gpu *gpu);
/* Waits until all committed uploads have arrived. */
rwkvk_status gpu_upload_finish(struct gpu *gpu);

/* Small transfers that wait until they are done; any buffer, any offset and size that are multiples of 4. */
rwkvk_status gpu_write(struct gpu_buffer *buffer, uint64_t offset, const void *data, uint64_t bytes);
rwkvk_status gpu_read(struct gpu_buffer *buffer, uint64_t offset, void *data, uint64_t bytes);
rwkvk_status gpu_copy(struct gpu_buffer *from, uint64_t from_offset, struct gpu_buffer *to, uint64_t to_offset, uint64_t bytes);
/* Many transfers in one submission, or in none where the host can reach the memory.  All belong to one gpu and must not
 * overlap.  Memory that the host cannot reach goes through staging memory, which grows to the largest list so far. */
struct gpu_piece {
	struct gpu_buffer *buffer;
	uint64_t offset, bytes;
	void *data; /* gpu_write_all() only reads it */
};
struct gpu_copy_region {
	struct gpu_buffer *from, *to;
	uint64_t from_offset, to_offset, bytes; /* multiples of 4 */
};
rwkvk_status gpu_write_all(struct gpu *gpu, const struct gpu_piece *pieces, uint32_t count);
rwkvk_status gpu_read_all(struct gpu *gpu, const struct gpu_piece *pieces, uint32_t count);
rwkvk_status gpu_copy_all(struct gpu *gpu, const struct gpu_copy_region *regions, uint32_t count);

/* ------------------------------------------------------------------------------------------------------ pipeline.c */

/* `shader` names an entry of the table in shaders/CMakeLists.txt; caps.subgroups and caps.texel_reads decide which of its
 * variants is used.  Constant i of `constants` is specialisation constant id i, all 32-bit unsigned; constant 0 is the
 * workgroup's size in x, a multiple of the subgroup size (full subgroups are required where the device can promise them).
 * Pipelines with the same shader and constants are shared: asking again returns the same one. */
rwkvk_status gpu_pipeline_get(struct gpu *gpu, const char *shader, const uint32_t *constants, uint32_t count,
                              struct gpu_pipeline **out);
/* The same, but compilation waits for gpu_pipelines_compile(), which compiles all pending pipelines on several threads.  If it
 * fails, the text is that of one failure, and none of these pipelines may be used. */
rwkvk_status gpu_pipeline_ask(struct gpu *gpu, const char *shader, const uint32_t *constants, uint32_t count,
                              struct gpu_pipeline **out);
rwkvk_status gpu_pipelines_compile(struct gpu *gpu);

/* Compiler statistics of a pipeline made with capture_statistics, by the driver's names; before them "Subgroup size". */
struct gpu_statistic {
	char name[256];
	double value;
};
rwkvk_status gpu_pipeline_statistics(struct gpu *gpu, struct gpu_pipeline *pipeline, struct gpu_statistic *out, size_t capacity,
                                     size_t *count);

/* ------------------------------------------------------------------------------------------------------ cache.c */

/* Writes the pipeline cache to disk if it grew.  Failure to write is not an error. */
void gpu_pipeline_cache_save(struct gpu *gpu);

/* The name of a file that caches data for this device and driver, WHAT-...SUFFIX (7 characters), in the folder of the pipeline
 * cache; NULL when there is no folder or no memory.  The caller frees it. */
char *gpu_cache_path(const struct gpu *gpu, const char *what, const char *suffix);

/* ------------------------------------------------------------------------------------------------------ sets.c */

/* The size of one read through a texel buffer. */
enum gpu_texels { GPU_TEXELS_VEC4, GPU_TEXELS_UVEC4, GPU_TEXELS_UINT };

/* A binding set, written once.  A binding with buffer NULL gets `unused` bound, so that every descriptor is valid.
 * bytes 0: to the end of the buffer.  Offsets are multiples of caps.offset_alignment. */
struct gpu_binding {
	struct gpu_buffer *buffer;
	uint64_t offset, bytes;
	enum gpu_texels texels;
};
rwkvk_status gpu_set_create(struct gpu *gpu, const struct gpu_binding bindings[GPU_BINDINGS], struct gpu_buffer *unused,
                            struct gpu_set **out);
/* Sets live until gpu_close() or one of these calls; NULL is allowed.  Commands recorded with a set must be recorded again. */
void gpu_set_destroy(struct gpu *gpu, struct gpu_set *set);
void gpu_sets_destroy(struct gpu *gpu);

/* ------------------------------------------------------------------------------------------------------ command.c */

/* Recorded once, submitted any number of times, also several times in one submission. */
rwkvk_status gpu_cmd_create(struct gpu *gpu, struct gpu_cmd **out);
void gpu_cmd_destroy(struct gpu_cmd *cmd); /* NULL is allowed; waits if it was started */
void gpu_cmd_begin(struct gpu_cmd *cmd);
/* Workgroups of a dispatch; y = 0 means 1. */
struct gpu_groups {
	uint32_t x, y;
};
/* `stage` names a row of the profile and must be a string constant; `bytes` is what the dispatch must read and write.
 * push: GPU_PUSH_BYTES at most. */
void gpu_cmd_dispatch(struct gpu_cmd *cmd, struct gpu_pipeline *pipeline, struct gpu_set *set, const void *push,
                      uint32_t push_bytes, struct gpu_groups groups, const char *stage, uint64_t bytes);
/* Makes writes of earlier dispatches visible to later ones and to the host.  Dispatches that do not depend on each other go
 * between two barriers. */
void gpu_cmd_barrier(struct gpu_cmd *cmd);
/* Copies that do not overlap each other, ordered after everything recorded or submitted before and before everything after. */
void gpu_cmd_copy(struct gpu_cmd *cmd, const struct gpu_copy_region *regions, uint32_t count);
/* Ends recording, with a barrier if the last dispatch has none after it; returns the first failure since begin. */
rwkvk_status gpu_cmd_end(struct gpu_cmd *cmd);
/* Submits and waits until the device is done; adds to the counters and, when profiling, to the profile. */
rwkvk_status gpu_cmd_run(struct gpu_cmd *cmd);
/* The same in two halves.  Other commands may be started, recorded and waited for in between; commands run in the order in
 * which they were started.  None of them add to the profile. */
rwkvk_status gpu_cmd_start(struct gpu_cmd *cmd);
rwkvk_status gpu_cmd_wait(struct gpu_cmd *cmd); /* does nothing if it was not started */
/* gpu_cmd_run() for up to GPU_LIST of them in one submission, which run one after the other; a command may be in the list more
 * than once.  Only a list of one adds to the profile: timestamps of a command that ran twice are those of the last run. */
#define GPU_LIST 1024
rwkvk_status gpu_cmd_run_list(struct gpu_cmd *const *list, uint32_t count);

/* ------------------------------------------------------------------------------------------------------ measure.c */

/* rwkvk_device_measure() on a gpu opened with `arithmetic`. */
rwkvk_status gpu_measure(struct gpu *gpu, rwkvk_progress_fn *progress, void *user, rwkvk_device_rates *out);

/* ------------------------------------------------------------------------------------------------------ profile.c */

/* Row `index` of the summed stage times; false past the end, without profiling or without timestamps. */
bool gpu_profile_row(const struct gpu *gpu, size_t index, rwkvk_profile_row *row);

#endif
