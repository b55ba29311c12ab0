/* How work is divided for a kind of device.  The numbers are starting points (docs/speed.md says which were measured); the
 * shaders are correct with any of them. */
#include "engine/plan.h"

#include <string.h>

#include "base/half.h"
#include "base/numbers.h"

enum vendor { AMD = 0x1002, NVIDIA = 0x10de, ARM = 0x13b5 };

static uint32_t power_of_two_at_most(uint32_t n)
{
	uint32_t power = 1;
	while (power * 2 <= n)
		power *= 2;
	return power;
}

/* Lanes: 8 lanes of 16 bytes are one line of 128; with 16, a matrix of few rows still fills a large device.  Rows: they share
 * loads of the input, and registers limit them.  Groups: few large workgroups, since each repeats the LayerNorm; large ones
 * also need fewer copies of the staged input in shared memory, which limits how many threads are resident.  State lanes: with
 * 16, a thread has 4 numbers of a row of 64 and as many of the vectors that all rows need, so registers are no limit. */
static const struct kind {
	rwkvk_device_type type;
	uint32_t workgroup, lanes, rows, groups, state_lanes;
} kinds[] = {
	{ RWKVK_DEVICE_DISCRETE, 256, 16, 4, 256, 16 }, { RWKVK_DEVICE_VIRTUAL, 256, 16, 4, 128, 16 },
	{ RWKVK_DEVICE_INTEGRATED, 256, 8, 4, 64, 16 }, { RWKVK_DEVICE_CPU, 64, 8, 8, 0, 4 }, /* 0: four for each processor */
	{ RWKVK_DEVICE_OTHER, 64, 8, 4, 64, 16 },
};

static const struct kind *kind_of(const struct gpu_caps *caps)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].type == caps->type)
			return &kinds[i];
	return &kinds[sizeof kinds / sizeof *kinds - 1];
}

/* Threads that share a row of the state: a power of two whose vec4s divide it. */
static uint32_t state_lanes_for(uint32_t most, uint32_t head_size)
{
	uint32_t lanes = head_size < 4 ? 1 : smaller(most, power_of_two_at_most(head_size / 4));
	while (lanes > 1 && head_size % (4 * lanes))
		lanes /= 2;
	return lanes;
}

/* Derives the remaining numbers. */
static void complete(struct tuning *tuning, const struct gpu_caps *caps, const struct config *c)
{
	tuning->state_lanes = 1; /* without shuffles a state row stays with one thread */
	if (caps->subgroups)
		tuning->state_lanes = state_lanes_for(smaller(kind_of(caps)->state_lanes, caps->subgroup_size), c->head_size);
	/* Half of the shared memory for the staged input: the rest is for the sums.  With texel reads it is staged after the
	 * activations, by each of the workgroups that a stage may have: one for each matrix can come on top, and wkv7 has one for
	 * each head. */
	uint32_t floats = caps->max_shared_bytes / 2 / sizeof(float) / 256 * 256, heads = c->head_size > 1 ? c->heads : 0;
	tuning->chunk = caps->texel_reads ? PAD(c->width, 256) : smaller(floats, PAD(c->width, 256));
	tuning->staging_groups = !caps->texel_reads ? 0 : tuning->groups + 8 > heads ? tuning->groups + 8 : heads;
}

struct tuning tuning_for(const struct gpu_caps *caps, const struct config *c)
{
	const struct kind *kind = kind_of(caps);
	struct tuning tuning = { .rows = kind->rows, .groups = kind->groups };
	if (caps->vendor_id == ARM)
		tuning.rows = 1; /* a thread has 64 registers, or 32 at full occupancy */
	if (caps->type != RWKVK_DEVICE_CPU && c->width < 512)
		tuning.rows = 1; /* more workgroups; and compilers unroll so short a row, so registers must hold all of it */
	if (!tuning.groups)
		tuning.groups = 4 * (caps->processors < 1 ? 1 : smaller(caps->processors, 64));
	tuning.workgroup = smaller(kind->workgroup, power_of_two_at_most(caps->max_invocations));
	if (caps->max_shared_bytes < 32768)
		tuning.workgroup = smaller(tuning.workgroup, 128); /* sums take at least 16 bytes of it for each thread */
	if (caps->texel_reads) /* a CPU device runs a workgroup's subgroups in turn, and switching between them takes time */
		tuning.workgroup = 8;
	while (caps->subgroups && tuning.workgroup < caps->subgroup_size && tuning.workgroup * 2 <= caps->max_invocations)
		tuning.workgroup *= 2;
	tuning.lanes = caps->subgroups ? smaller(kind->lanes, caps->subgroup_size) : kind->lanes;
	complete(&tuning, caps, c);
	return tuning;
}

static bool power_of_two(uint32_t n, uint32_t least, uint32_t most)
{
	return n >= least && n <= most && (n & (n - 1)) == 0;
}

bool tuning_complete(struct tuning *tuning, const struct gpu_caps *caps, const struct config *c)
{
	uint32_t least = caps->subgroups && caps->subgroup_size > 8 ? caps->subgroup_size : 8; /* ffn_out has sets of 8 */
	if (!power_of_two(tuning->workgroup, least, smaller(256, caps->max_invocations)) || !power_of_two(tuning->rows, 1, 8) ||
	    !power_of_two(tuning->lanes, 1, caps->subgroups ? smaller(32, caps->subgroup_size) : 32) ||
	    tuning->lanes > tuning->workgroup || tuning->groups < 1 || tuning->groups > 1024)
		return false;
	/* shared memory: the sums of ffn_out's sets; of rows, beside the staged input, where there are no subgroups */
	uint32_t sets = tuning->workgroup / 16 * 1024 + 2048, sums = caps->subgroups ? 0 : tuning->workgroup * tuning->rows * 8;
	if (sets > caps->max_shared_bytes || sums > caps->max_shared_bytes / 2)
		return false;
	complete(tuning, caps, c);
	return true;
}

uint64_t tuning_staging_bytes(const struct tuning *tuning, const struct config *c)
{
	return sizeof(float) * (uint64_t)tuning->staging_groups * STAGING_FLOATS(tuning->chunk, c->head_size);
}

void tuning_constants(const struct tuning *tuning, const struct config *c, uint32_t constants[SPEC_COUNT])
{
	memset(constants, 0, SPEC_COUNT * sizeof *constants);
	constants[0] = constants[SPEC_WORKGROUP] = tuning->workgroup;
	constants[SPEC_LANES] = tuning->lanes;
	constants[SPEC_ROWS] = tuning->rows;
	constants[SPEC_CHUNK] = tuning->chunk;
	constants[SPEC_PASSES] = 1;
	constants[SPEC_WIDTH] = c->width;
	constants[SPEC_FFN] = c->ffn;
	constants[SPEC_VOCAB] = c->vocab;
	constants[SPEC_HEAD] = c->head_size;
	constants[SPEC_RANK_DECAY] = c->rank_decay;
	constants[SPEC_RANK_ICLR] = c->rank_iclr;
	constants[SPEC_RANK_GATE] = c->rank_gate;
	constants[SPEC_RANK_VALUE] = c->rank_value;
	constants[SPEC_RANK_MIX] = c->rank_mix;
	constants[SPEC_STATE_LANES] = tuning->state_lanes;
	constants[SPEC_STATE_STRIDE] = (uint32_t)config_slot_floats(c);
	constants[SPEC_GROUP_EPSILON] = bits_of_float(c->group_norm_epsilon);
	constants[SPEC_RESIDUAL] = bits_of_float(1);
	constants[SPEC_STAGING] = config_act_floats(c) / 4;
}

struct tuning model_usual_tuning(const struct rwkvk_model *m)
{
	return tuning_for(gpu_caps(m->gpu), model_config(m));
}

bool model_complete_tuning(const struct rwkvk_model *m, struct tuning *tuning)
{
	return tuning_complete(tuning, gpu_caps(m->gpu), model_config(m));
}

/* ------------------------------------------------------------------------------------------------------ chunks */

/* Graphics cards whose threads have many registers. */
static bool is_wide(const struct gpu_caps *caps)
{
	return caps->type == RWKVK_DEVICE_DISCRETE && (caps->vendor_id == AMD || caps->vendor_id == NVIDIA);
}

/* A thread's 8 x 4 sums read 1.5 bytes of shared memory a multiplication, 4 x 4 read 2, which is all that some devices can; but
 * they take more registers than others have, and ARM's 64 hold 4 x 2 (docs/speed.md). */
static void tile_of(const struct gpu_caps *caps, struct chunk_shape *s)
{
	bool wide = is_wide(caps);
	s->workgroup = s->tile_workgroup = wide || caps->max_invocations < 256 ? 128 : 256;
	s->lanes = 1;
	s->thread_outputs = wide ? 8 : 4;
	s->thread_rows = caps->vendor_id == ARM ? 2 : 4;
	s->tile_outputs = 64;
	s->tile_rows = s->tile_workgroup * s->thread_outputs * s->thread_rows / s->tile_outputs;
	s->tile_depth = caps->max_shared_bytes < 32768 ? 16 : 32;
}

/* With texel reads a workgroup is a subgroup. */
static bool lanes_of(const struct gpu_caps *caps, struct chunk_shape *s)
{
	s->workgroup = s->tile_workgroup = caps->subgroup_size;
	s->thread_outputs = 4;
	s->tile_outputs = 4 * s->workgroup;
	s->tile_rows = s->thread_rows = 8;
	s->tile_depth = 0;
	s->lanes = 1;
	return s->workgroup == 4 || s->workgroup == 8 || s->workgroup == 16;
}

/* The least power of two with so many threads, within the device's limit. */
static uint32_t workgroup_of(const struct gpu_caps *caps, uint32_t threads)
{
	uint32_t most = smaller(256, power_of_two_at_most(caps->max_invocations)), n = caps->subgroups ? caps->subgroup_size : 1;
	while (n < threads && 2 * n <= most)
		n *= 2;
	return n;
}

struct chunk_shape chunk_shape_for(const struct gpu_caps *caps, const struct config *c)
{
	struct chunk_shape s = { .rows = caps->type == RWKVK_DEVICE_DISCRETE ? 256 : 64 };
	s.threshold = caps->type == RWKVK_DEVICE_CPU ? 16 : 8;
	if (!caps->texel_reads)
		tile_of(caps, &s);
	else if (!lanes_of(caps, &s))
		return (struct chunk_shape){ 0 };
	/* with 16 a thread has several rows of the state, the sums of which take more registers than ARM's */
	uint32_t lanes = caps->texel_reads ? caps->subgroup_size : caps->vendor_id == ARM ? 4 : kind_of(caps)->state_lanes;
	s.state_lanes = caps->subgroups ? state_lanes_for(smaller(lanes, caps->subgroup_size), c->head_size) : 1;
	s.state_workgroup = caps->texel_reads ? s.workgroup : workgroup_of(caps, c->head_size * s.state_lanes);
	s.head_rows = caps->texel_reads ? 8 : 4;
	s.head_workgroup = caps->texel_reads ? s.workgroup : workgroup_of(caps, smaller(c->head_size, 128));
	return s;
}

struct tile chunk_shape_tile(const struct chunk_shape *s)
{
	return (struct tile){ s->tile_workgroup, s->thread_outputs, s->thread_rows, s->tile_depth };
}

/* Both sides of the tile, and the sums of stage.glsl. */
static uint64_t tile_bytes(const struct chunk_shape *s)
{
	return 16 * (uint64_t)(s->tile_outputs + s->tile_rows) * (s->tile_depth / 4 + 1) + 20 * (uint64_t)s->tile_workgroup;
}

/* Packed rows are whole multiples of 32 inputs; no thread has registers for more than 64 sums. */
bool chunk_shape_cut(struct chunk_shape *shape, const struct gpu_caps *caps, const struct tile *t)
{
	struct chunk_shape s = *shape;
	if (!power_of_two(t->outputs, 2, 8) || !power_of_two(t->tokens, 1, 16) || t->outputs * t->tokens > 64)
		return false;
	s.thread_outputs = t->outputs;
	s.thread_rows = t->tokens;
	s.tile_workgroup = t->workgroup;
	s.tile_depth = t->depth;
	if (caps->texel_reads) {
		s.tile_outputs = s.thread_outputs * s.tile_workgroup;
		s.tile_rows = s.thread_rows;
		if (t->workgroup != shape->tile_workgroup || t->depth != 0)
			return false;
	} else {
		uint32_t least = caps->subgroups && caps->subgroup_size > 64 ? caps->subgroup_size : 64;
		if (!power_of_two(t->workgroup, least, smaller(256, caps->max_invocations)) || (t->depth != 16 && t->depth != 32))
			return false;
		s.tile_rows = s.tile_workgroup * s.thread_outputs * s.thread_rows / s.tile_outputs;
		if (tile_bytes(&s) > caps->max_shared_bytes)
			return false;
	}
	*shape = s;
	return true;
}

/* A matrix times few rows on GPUs.  The inputs take at most 16 KiB of shared memory, or 4 where there is little. Workgroup and
 * lanes are the same for any number of rows. */
static void few_of(const struct gpu_caps *caps, const struct config *c, uint32_t rows, uint32_t outputs, struct chunk_shape *s)
{
	const struct tuning usual = tuning_for(caps, c);
	bool small = caps->max_shared_bytes < 32768;
	s->tile_workgroup =
		caps->subgroups ? usual.workgroup : smaller(usual.workgroup, 128); /* otherwise sums take shared memory, too */
	s->lanes = small ? smaller(usual.lanes, 8) : usual.lanes;
	s->tile_rows = s->thread_rows = smaller(rows, is_wide(caps) && !small ? 8 : caps->vendor_id == ARM ? 2 : 4);
	s->thread_outputs = s->tile_rows < 4 ? outputs : ceil_div(outputs, 2);
	s->tile_outputs = s->tile_workgroup / s->lanes * s->thread_outputs;
	s->tile_depth = (small ? 1024 : s->tile_rows < 4 ? 2048 : 4096) / s->tile_rows;
}

uint32_t step_outputs_for(const struct gpu_caps *caps, const struct config *c, uint32_t max_batch)
{
	return caps->texel_reads ? 4 : max_batch <= 8 ? smaller(tuning_for(caps, c).rows, 4) : 0;
}

bool step_outputs_possible(const struct gpu_caps *caps, uint32_t max_batch, uint32_t outputs)
{
	return caps->texel_reads ? power_of_two(outputs, 2, 8) : max_batch <= 8 && power_of_two(outputs, 1, 4);
}

struct chunk_shape step_shape_for(const struct gpu_caps *caps, const struct config *c, uint32_t max_batch, uint32_t rows,
                                  uint32_t outputs)
{
	struct chunk_shape s = chunk_shape_for(caps, c);
	uint32_t columns = 1;
	while (columns < rows && columns < 8)
		columns *= 2;
	s.head_rows = smaller(s.head_rows, columns);
	if (caps->texel_reads) {
		s.tile_rows = s.thread_rows = columns;
		s.thread_outputs = outputs;
		s.tile_outputs = outputs * s.tile_workgroup;
	} else if (max_batch <= 8) {
		few_of(caps, c, columns, outputs, &s);
	}
	return s;
}

void chunk_constants(const struct chunk_shape *s, uint32_t constants[SPEC_COUNT])
{
	constants[SPEC_LANES] = s->lanes;
	constants[SPEC_TILE_OUTPUTS] = s->tile_outputs;
	constants[SPEC_TILE_ROWS] = s->tile_rows;
	constants[SPEC_TILE_DEPTH] = s->tile_depth;
	constants[SPEC_THREAD_OUTPUTS] = s->thread_outputs;
	constants[SPEC_THREAD_ROWS] = s->thread_rows;
}
