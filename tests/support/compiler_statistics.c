#include "compiler_statistics.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Drivers' names of what a column has; of several, the first that is there. */
static const char *const registers[] = { "VGPRs", "Max live registers", "Number of GPRs", "GPRs", "Registers used", NULL };
static const char *const occupancy[] = {
	"Subgroups per SIMD", "Max dispatch width", "Max warps/SM", "Max Waves Per Core", "Threads", NULL
};
static const char *const instructions[] = { "Instructions", "Instruction Count", NULL };
static const char *const times[] = {
	"Inverse Throughput", "Static cycle count", "Cycles", "Estimated cycles stalled on SY", "ALU", NULL
};
static const char *const shared[] = { "LDS size", "Workgroup Memory Size", NULL };
static const char *const code[] = { "Code size", NULL };
static const char *const subgroup[] = { "Subgroup size", NULL };

static double find(const struct gpu_statistic *all, size_t count, const char *const *names)
{
	for (; *names; names++)
		for (size_t i = 0; i < count; i++)
			if (!strcasecmp(all[i].name, *names))
				return all[i].value;
	return NAN;
}

static bool starts(const char *text, const char *with)
{
	return !strncasecmp(text, with, strlen(with));
}

/* Of registers, however they are called: adreno's STP and LDP are stores and loads of private memory. */
static bool is_spill(const char *name)
{
	return starts(name, "spilled ") || !strcasecmp(name, "spills") || !strcasecmp(name, "fills") ||
	       starts(name, "spills to ") || starts(name, "fills from ") || starts(name, "STP ") || starts(name, "LDP ") ||
	       starts(name, "spill count") || starts(name, "fill count");
}

static bool is_scratch(const char *name)
{
	return starts(name, "scratch") || starts(name, "SLM size");
}

rwkvk_status compiler_statistics(struct gpu *gpu, struct gpu_pipeline *pipeline, struct compiler_statistics *out)
{
	struct gpu_statistic all[64];
	size_t count;
	bool has_spills = false, has_scratch = false;
	TRY(gpu_pipeline_statistics(gpu, pipeline, all, sizeof all / sizeof *all, &count));
	*out = (struct compiler_statistics){
		.subgroup = find(all, count, subgroup),
		.registers = find(all, count, registers),
		.occupancy = find(all, count, occupancy),
		.instructions = find(all, count, instructions),
		.time = find(all, count, times),
		.shared = find(all, count, shared),
		.code = find(all, count, code),
	};
	for (size_t i = 0; i < count; i++) {
		if (is_spill(all[i].name)) {
			out->spills += all[i].value;
			has_spills = true;
		}
		if (is_scratch(all[i].name)) {
			out->scratch += all[i].value;
			has_scratch = true;
		}
	}
	if (!has_spills)
		out->spills = NAN;
	if (!has_scratch)
		out->scratch = NAN;
	return RWKVK_OK;
}

static const struct {
	const char *driver, *occupancy, *time;
} meanings[] = {
	{ "radv", "subgroups a SIMD can hold", "inverse throughput, cycles" },
	{ "Intel", "threads to an instruction", "cycles" },
	{ "NVK", "subgroups an SM can hold, of registers alone", "cycles" },
	{ "turnip", "subgroups a core can hold", "cycles of waiting for memory" },
	{ "panvk", "1 or 2 times half of a core's threads", "cycles" },
	{ "Honeykrisp", "threads a core can hold", "arithmetic, cycles" },
};

const char *compiler_time_name(const char *driver)
{
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (starts(driver, meanings[i].driver))
			return meanings[i].time;
	return "whatever the driver calls time";
}

const char *compiler_occupancy_name(const char *driver)
{
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (starts(driver, meanings[i].driver))
			return meanings[i].occupancy;
	return "whatever the driver tells";
}
