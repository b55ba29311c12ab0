/* What a device can do at best, measured with kernels that do nothing else: how fast it reads and copies memory, how fast it
 * computes, and how long it takes to start work.  These are the ceilings that a model's speed is compared with.
 *
 * Times are the host's, around a submission of enough work that starting it hardly counts: so they mean the same on devices
 * without timestamps.  Rates are the best of several runs, since a ceiling is what can be reached; latencies are medians. */
#include "gpu/gpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
	BUFFERS = 4,
	LARGEST_BUFFER = 128 << 20, /* together larger than any cache; each small enough for any device to bind */
	SCRATCH_BYTES = 16384,      /* of each set, for unused results */
	RUNS = 5,
	SUBMITS = 51,
	DISPATCHES = 500,
	RATE_GROUPS = 1024,
	STEPS = 10, /* of the progress */
};

static const double ENOUGH = 0.02;  /* seconds of work in a submission */
static const double PATIENCE = 0.4; /* seconds after which a slow device gets no further run */

struct meter {
	struct gpu *gpu;
	struct gpu_cmd *cmd;
	struct gpu_buffer buffers[BUFFERS], scratch;
	uint64_t bytes; /* of one buffer */
	uint64_t moved; /* by the largest pass */
	uint32_t workgroup;
	rwkvk_progress_fn *progress;
	void *user;
	uint64_t done;
};

/* A pass: one dispatch for each set, which may run side by side, and a barrier. */
struct work {
	struct gpu_pipeline *pipeline;
	struct gpu_set *sets[BUFFERS];
	uint32_t set_count, groups;
	uint32_t push[4];
};

static rwkvk_status record(struct meter *meter, const struct work *work, uint32_t passes)
{
	gpu_cmd_begin(meter->cmd);
	for (uint32_t pass = 0; pass < passes; pass++) {
		for (uint32_t i = 0; i < work->set_count; i++)
			gpu_cmd_dispatch(meter->cmd, work->pipeline, work->sets[i], work->push, sizeof work->push,
			                 (struct gpu_groups){ work->groups, 1 }, "measure", 0);
		gpu_cmd_barrier(meter->cmd);
	}
	return gpu_cmd_end(meter->cmd);
}

static rwkvk_status run(struct meter *meter, double *seconds)
{
	double start = clock_seconds();
	TRY(gpu_cmd_run(meter->cmd));
	*seconds = clock_seconds() - start;
	return RWKVK_OK;
}

/* Seconds of the fastest of several runs of `passes` passes. */
static rwkvk_status best_run(struct meter *meter, const struct work *work, uint32_t passes, double *seconds)
{
	double start = clock_seconds(), again;
	TRY(record(meter, work, passes));
	TRY(run(meter, seconds));
	for (int i = 0; i < RUNS && clock_seconds() - start < PATIENCE; i++) {
		TRY(run(meter, &again));
		if (again < *seconds)
			*seconds = again;
	}
	return RWKVK_OK;
}

/* Seconds of one pass.  A submission has enough passes to take long enough. */
static rwkvk_status time_pass(struct meter *meter, const struct work *work, double *seconds)
{
	uint32_t passes = 1;
	double once;
	TRY(best_run(meter, work, 1, &once));
	while (once < ENOUGH && passes < 4096) {
		double factor = once > 0 ? 1.2 * ENOUGH / once : 2;
		passes = factor > 8 ? 8 * passes : factor < 2 ? 2 * passes : (uint32_t)(factor * passes);
		TRY(record(meter, work, passes));
		TRY(run(meter, &once));
	}
	if (passes == 1) {
		*seconds = once;
		return RWKVK_OK;
	}
	TRY(best_run(meter, work, passes, seconds));
	*seconds /= passes;
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- memory */

/* How threads share a buffer.  Devices differ in which they read fastest. */
enum pattern {
	ACROSS, /* neighbouring threads of the whole dispatch read neighbouring words, then all move on */
	GROUPS, /* each workgroup has its own run, through which its threads go side by side */
	LANES,  /* each thread has its own run */
};

/* Sets the work's groups and steps for threads that have `count` uvec4s each; false: the buffer is too small. */
static bool share(const struct meter *meter, enum pattern pattern, uint32_t count, struct work *work)
{
	uint32_t workgroup = meter->workgroup;
	uint64_t groups = meter->bytes / 16 / workgroup / count;
	const struct gpu_caps *caps = gpu_caps(meter->gpu);
	work->groups = (uint32_t)(groups < caps->max_groups ? groups : caps->max_groups);
	const uint32_t steps[][3] = {
		[ACROSS] = { workgroup, 1, workgroup * work->groups },
		[GROUPS] = { workgroup * count, 1, workgroup },
		[LANES] = { workgroup * count, count, 1 },
	};
	memcpy(work->push, steps[pattern], sizeof steps[pattern]);
	work->push[3] = count;
	return work->groups > 0;
}

/* Bytes that a pass moves per second; *rate becomes larger or stays. */
static rwkvk_status move(struct meter *meter, struct work *work, enum pattern pattern, uint32_t count, double *rate)
{
	uint32_t all = work->set_count;
	double seconds;
	if (!share(meter, pattern, count, work))
		return RWKVK_OK;
	/* If one buffer takes long enough, caches do not limit the result. */
	work->set_count = 1;
	TRY(best_run(meter, work, 1, &seconds));
	work->set_count = seconds < ENOUGH ? all : 1;
	if (seconds < ENOUGH)
		TRY(time_pass(meter, work, &seconds));
	uint64_t bytes = (uint64_t)16 * count * meter->workgroup * work->groups * work->set_count;
	if (seconds > 0 && (double)bytes / seconds > *rate)
		*rate = (double)bytes / seconds;
	meter->moved = bytes > meter->moved ? bytes : meter->moved;
	work->set_count = all;
	return RWKVK_OK;
}

static rwkvk_status memory_pipeline(struct meter *meter, uint32_t copy, struct gpu_pipeline **out)
{
	const uint32_t constants[] = { meter->workgroup, copy };
	return gpu_pipeline_get(meter->gpu, "measure_memory", constants, 2, out);
}

/* Where set i writes its unused results. */
static struct gpu_binding scratch_part(struct meter *meter, uint32_t i)
{
	return (struct gpu_binding){ &meter->scratch, (uint64_t)i * SCRATCH_BYTES, SCRATCH_BYTES, GPU_TEXELS_VEC4 };
}

static rwkvk_status reading(struct meter *meter, struct work *work)
{
	*work = (struct work){ .set_count = BUFFERS };
	for (uint32_t i = 0; i < BUFFERS; i++) {
		const struct gpu_binding bindings[GPU_BINDINGS] = {
			[1] = scratch_part(meter, i), [3] = { &meter->buffers[i], 0, 0, GPU_TEXELS_UVEC4 }
		};
		TRY(gpu_set_create(meter->gpu, bindings, &meter->scratch, &work->sets[i]));
	}
	return memory_pipeline(meter, 0, &work->pipeline);
}

/* Every second buffer into the one after it. */
static rwkvk_status copying(struct meter *meter, struct work *work)
{
	*work = (struct work){ .set_count = BUFFERS / 2 };
	for (uint32_t i = 0; i < BUFFERS / 2; i++) {
		const struct gpu_binding bindings[GPU_BINDINGS] = { [1] = { &meter->buffers[2 * i + 1], 0, 0, GPU_TEXELS_VEC4 },
			                                                [3] = { &meter->buffers[2 * i], 0, 0, GPU_TEXELS_UVEC4 } };
		TRY(gpu_set_create(meter->gpu, bindings, &meter->scratch, &work->sets[i]));
	}
	return memory_pipeline(meter, 1, &work->pipeline);
}

static rwkvk_status step(struct meter *meter)
{
	meter->done++;
	if (meter->progress && !meter->progress(meter->user, meter->done, STEPS))
		return fail(RWKVK_CANCELLED, "measuring was cancelled");
	return RWKVK_OK;
}

static rwkvk_status measure_memory(struct meter *meter, rwkvk_device_rates *out)
{
	static const struct {
		enum pattern pattern;
		uint32_t count;
	} ways[] = { { ACROSS, 16 }, { GROUPS, 16 }, { GROUPS, 64 }, { LANES, 64 } };
	struct work work;
	TRY(reading(meter, &work));
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		TRY(move(meter, &work, ways[i].pattern, ways[i].count, &out->read_bytes_per_second));
		TRY(step(meter));
	}
	out->measured_bytes = meter->moved;
	TRY(copying(meter, &work));
	for (size_t i = 1; i < 3; i++)
		TRY(move(meter, &work, ways[i].pattern, ways[i].count, &out->copy_bytes_per_second));
	out->copy_bytes_per_second *= 2; /* each byte is read and written */
	return step(meter);
}

/* ---------------------------------------------------------------------------------------------------- latencies */

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static rwkvk_status measure_latencies(struct meter *meter, rwkvk_device_rates *out)
{
	struct work work;
	double times[SUBMITS], many;
	TRY(reading(meter, &work)); /* of nothing: the count stays 0 */
	work.set_count = work.groups = 1;
	TRY(best_run(meter, &work, 1, &many));
	for (int i = 0; i < SUBMITS; i++)
		TRY(run(meter, &times[i]));
	qsort(times, SUBMITS, sizeof *times, compare_doubles);
	out->submit_seconds = times[SUBMITS / 2];
	TRY(step(meter));
	TRY(best_run(meter, &work, 1 + DISPATCHES, &many));
	out->dispatch_seconds = many > times[0] ? (many - times[0]) / DISPATCHES : 0;
	return step(meter);
}

/* ---------------------------------------------------------------------------------------------------- arithmetic */

/* `per_step`: operations of a STEP of shaders/common/measure_rate.glsl, which has eight in a turn. */
static rwkvk_status measure_rate(struct meter *meter, const char *shader, uint32_t word, double per_step, double *rate)
{
	struct work work = { .set_count = 1, .groups = RATE_GROUPS, .push = { word, 0, 0, 16 } };
	const struct gpu_binding bindings[GPU_BINDINGS] = { [1] = scratch_part(meter, 0) };
	double seconds;
	TRY(gpu_set_create(meter->gpu, bindings, &meter->scratch, &work.sets[0]));
	TRY(gpu_pipeline_get(meter->gpu, shader, &meter->workgroup, 1, &work.pipeline));
	/* Longer loops until a pass is long: only then do starting and ending threads count for nothing. */
	TRY(time_pass(meter, &work, &seconds));
	while (seconds < ENOUGH / 4 && work.push[3] < 1 << 16) {
		work.push[3] *= 4;
		TRY(time_pass(meter, &work, &seconds));
	}
	*rate = seconds > 0 ? 8 * per_step * work.push[3] * meter->workgroup * work.groups / seconds : 0;
	return RWKVK_OK;
}

static rwkvk_status measure_arithmetic(struct meter *meter, rwkvk_device_rates *out)
{
	const struct gpu_caps *caps = gpu_caps(meter->gpu);
	TRY(measure_rate(meter, "measure_f32", 0x3f000000, 8, &out->f32_per_second)); /* 0.5 */
	TRY(step(meter));
	if (caps->float16)
		TRY(measure_rate(meter, "measure_f16", 0x38003800, 8, &out->f16_per_second)); /* 0.5 twice */
	TRY(step(meter));
	if (caps->int8_dot)
		TRY(measure_rate(meter, "measure_int8", 0x01ff02fe, 32, &out->int8_per_second));
	return step(meter);
}

/* ---------------------------------------------------------------------------------------------------- all of it */

/* A quarter of the free memory, so that measuring rarely fails where a model would still run. */
static rwkvk_status make_buffers(struct meter *meter)
{
	const struct gpu_caps *caps = gpu_caps(meter->gpu);
	uint64_t bytes = gpu_memory_available(meter->gpu) / 4 / BUFFERS;
	bytes = bytes < LARGEST_BUFFER ? bytes : LARGEST_BUFFER;
	bytes = (bytes < caps->max_buffer ? bytes : caps->max_buffer) / 65536 * 65536;
	meter->bytes = bytes ? bytes : 65536;
	for (int i = 0; i < BUFFERS; i++)
		TRY(gpu_buffer_create(meter->gpu, meter->bytes, GPU_DEVICE, "measuring", &meter->buffers[i]));
	TRY(gpu_buffer_create(meter->gpu, BUFFERS * SCRATCH_BYTES, GPU_DEVICE, "measuring", &meter->scratch));
	return gpu_cmd_create(meter->gpu, &meter->cmd);
}

static rwkvk_status measure(struct meter *meter, rwkvk_device_rates *out)
{
	TRY(make_buffers(meter));
	TRY(measure_memory(meter, out));
	TRY(measure_latencies(meter, out));
	return measure_arithmetic(meter, out);
}

rwkvk_status gpu_measure(struct gpu *gpu, rwkvk_progress_fn *progress, void *user, rwkvk_device_rates *out)
{
	*out = (rwkvk_device_rates){ 0 };
	struct meter meter = { .gpu = gpu, .progress = progress, .user = user };
	meter.workgroup = gpu_caps(gpu)->max_invocations < 256 ? 128 : 256;
	rwkvk_status status = measure(&meter, out);
	gpu_cmd_destroy(meter.cmd);
	gpu_sets_destroy(gpu);
	for (int i = 0; i < BUFFERS; i++)
		gpu_buffer_destroy(&meter.buffers[i]);
	gpu_buffer_destroy(&meter.scratch);
	return status;
}
