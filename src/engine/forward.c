/* Tokens on the device.  The plan (plan.c, rwkv4.c to rwkv7.c) is recorded into two command buffers at load, with and without
 * the head; afterwards a token, or several, take a few words for `select` and one submission.  The same driver serves every
 * version of RWKV. */
#include "engine/check.h"
#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void record(struct gpu_cmd *cmd, const struct step *steps, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		gpu_cmd_dispatch(cmd, s->pipeline, s->set, s->push, sizeof s->push, s->groups, s->stage, s->bytes);
		gpu_cmd_barrier(cmd);
	}
}

rwkvk_status record_steps(struct rwkvk_model *m, const struct step *steps, uint32_t count, struct gpu_cmd **out)
{
	TRY(gpu_cmd_create(m->gpu, out));
	gpu_cmd_begin(*out);
	record(*out, steps, count);
	return gpu_cmd_end(*out);
}

static rwkvk_status record_new(struct rwkvk_model *m, uint32_t first, uint32_t count, struct gpu_cmd **out)
{
	return record_steps(m, m->plan.steps.all + first, count, out);
}

static rwkvk_status plan_layer(struct rwkvk_model *m, uint32_t layer)
{
	switch (m->file.network.config.version / 10) {
	case 4:
		return rwkv4_plan(m, layer);
	case 5:
		return rwkv5_plan(m, layer);
	case 6:
		return rwkv6_plan(m, layer);
	}
	return rwkv7_plan(m, layer);
}

rwkvk_status forward_steps(struct rwkvk_model *m)
{
	TRY(plan_select(m));
	for (uint32_t i = 0; i < m->file.network.config.layers; i++)
		TRY(plan_layer(m, i));
	TRY(plan_head(m));
	return gpu_pipelines_compile(m->gpu);
}

/* The activations, with places for the workgroups of the tuning; zeros. */
static rwkvk_status make_activations(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	uint64_t bytes = sizeof(float) * config_act_floats(c) + tuning_staging_bytes(&m->plan.tuning, c);
	return gpu_buffer_create(m->gpu, bytes, GPU_DEVICE, "activations", &m->plan.act);
}

static rwkvk_status make(struct rwkvk_model *m)
{
	TRY(make_activations(m));
	TRY(forward_steps(m));
	gpu_pipeline_cache_save(m->gpu);
	TRY(record_new(m, 0, m->plan.head_step, &m->plan.feed));
	return record_new(m, 0, m->plan.steps.count, &m->plan.run);
}

rwkvk_status forward_make(struct rwkvk_model *m, const struct tuning *tuning, struct plan *out)
{
	struct plan before = m->plan; /* the functions that make a plan work on the model's own */
	m->plan = (struct plan){ .tuning = *tuning };
	rwkvk_status status = make(m);
	*out = m->plan;
	m->plan = before;
	if (status != RWKVK_OK)
		forward_drop(m, out);
	return status;
}

rwkvk_status forward_plan(struct rwkvk_model *m, const struct tuning *tuning)
{
	struct plan made;
	TRY(forward_make(m, tuning, &made));
	forward_drop(m, &m->plan);
	m->plan = made;
	return RWKVK_OK;
}

void forward_set_aside(struct rwkvk_model *m)
{
	m->aside = m->plan;
	m->plan = (struct plan){ 0 };
}

void forward_put_back(struct rwkvk_model *m)
{
	forward_drop(m, &m->plan);
	m->plan = m->aside;
	m->aside = (struct plan){ 0 };
}

void forward_drop(struct rwkvk_model *m, struct plan *plan)
{
	gpu_cmd_destroy(plan->feed);
	gpu_cmd_destroy(plan->run);
	gpu_cmd_destroy(plan->last_row);
	gpu_cmd_destroy(plan->head);
	steps_drop(m, &plan->last);
	steps_drop(m, &plan->steps);
	gpu_buffer_destroy(&plan->act);
	*plan = (struct plan){ 0 };
}

/* ------------------------------------------------------------------------------------------------------ submissions */

/* Timestamps belong to a recorded command, which therefore runs once in a submission when the model is profiled. */
static uint32_t tokens_at_once(const struct rwkvk_model *m, const struct pace *pace, uint64_t most)
{
	if (!m->at_once)
		return pace_tokens(pace, gpu_caps(m->gpu)->type, most);
	return most < m->at_once ? (uint32_t)most : m->at_once;
}

/* A driver that runs nothing, such as a compile-only one, still signals fences. */
static rwkvk_status check_work(const struct rwkvk_model *m, uint32_t asked)
{
	const uint32_t *io = m->io.mapped;
	uint32_t fed = io[IO_FED], done = io[IO_DONE];
	bool ended = io[IO_MODE] == MODE_PICK && (done == DONE_STOP || done == DONE_BROKEN);
	if (ended ? fed < asked : fed == asked && done == 0)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_DRIVER,
	            "%s reported work as finished that it has not done (%u of %u tokens): its driver is broken, or only compiles "
	            "shaders; try another device or driver version",
	            gpu_caps(m->gpu)->name, done == DONE_UNKNOWN ? 0 : fed, asked);
}

/* `before`, unless NULL, then `count` tokens: the last by `last`, the others by `others`. */
static rwkvk_status submit(struct rwkvk_model *m, struct gpu_cmd *before, struct gpu_cmd *others, struct gpu_cmd *last,
                           uint32_t count, struct pace *pace)
{
	struct gpu_cmd *list[1 + MAX_TOKENS];
	uint32_t length = 0;
	if (before)
		list[length++] = before;
	for (uint32_t i = 0; i < count; i++)
		list[length++] = i + 1 < count ? others : last;
	uint64_t start = clock_nanoseconds();
	TRY(gpu_cmd_run_list(list, length));
	TRY(check_work(m, count));
	const uint32_t *io = m->io.mapped;
	if (io[IO_FED] == count) /* otherwise the text has ended */
		pace_measured(pace, count, clock_nanoseconds() - start);
	atomic_fetch_add_explicit(&m->tokens, io[IO_FED], memory_order_relaxed);
	atomic_fetch_add_explicit(&m->single_tokens, io[IO_FED], memory_order_relaxed);
	return RWKVK_OK;
}

rwkvk_status forward_feed(struct rwkvk_model *m, uint32_t slot, const uint32_t *tokens, size_t count, bool head, uint32_t *fed)
{
	uint32_t *io = m->io.mapped;
	struct pace *pace = head && count == 1 ? &m->run_pace : &m->feed_pace;
	*fed = 0;
	uint32_t n = tokens_at_once(m, pace, count);
	io[IO_MODE] = MODE_FEED;
	io[IO_SLOT] = slot;
	io[IO_FED] = 0;
	io[IO_DONE] = DONE_UNKNOWN;
	memcpy(io + IO_TOKENS, tokens, n * sizeof *tokens);
	TRY(submit(m, NULL, m->plan.feed, head && n == count ? m->plan.run : m->plan.feed, n, pace));
	*fed = n;
	return RWKVK_OK;
}

rwkvk_status forward_token(struct rwkvk_model *m, uint32_t slot, uint32_t token, bool head)
{
	uint32_t fed;
	return forward_feed(m, slot, &token, 1, head, &fed);
}

static void put_float(uint32_t *word, float value)
{
	memcpy(word, &value, sizeof value);
}

static void put_u64(uint32_t *words, uint64_t value)
{
	words[0] = (uint32_t)value;
	words[1] = (uint32_t)(value >> 32);
}

void write_picking(uint32_t *io, uint32_t slot, const struct picking *p)
{
	io[IO_MODE] = MODE_PICK;
	io[IO_SLOT] = slot;
	io[IO_FED] = io[IO_CLOSE] = 0;
	io[IO_DONE] = DONE_UNKNOWN;
	io[IO_PICK] = p->pick;
	io[IO_BARE] = p->bare;
	put_u64(io + IO_POSITION, p->position);
	put_u64(io + IO_SEED, p->sampling->seed);
	put_float(io + IO_TEMPERATURE, p->sampling->temperature);
	put_float(io + IO_TOP_P, p->sampling->top_p);
	io[IO_TOP_K] = p->sampling->top_k;
	put_float(io + IO_PRESENCE, p->sampling->presence);
	put_float(io + IO_FREQUENCY, p->sampling->frequency);
	put_float(io + IO_DECAY, p->sampling->decay);
	io[IO_STOP_COUNT] = (uint32_t)p->stop_count;
	for (size_t i = 0; i < p->stop_count; i++)
		io[IO_STOPS + i] = p->stops[i];
}

static void ask(const struct rwkvk_model *m, uint32_t slot, const struct picking *p)
{
	uint32_t *io = m->io.mapped;
	write_picking(io, slot, p);
	io[IO_PARTS] = m->plan.head_groups;
}

rwkvk_status forward_pick(struct rwkvk_model *m, uint32_t slot, const struct picking *p, uint64_t most, struct picked *out)
{
	const uint32_t *io = m->io.mapped;
	INVARIANT(p->stop_count <= MAX_STOPS && most > 0);
	uint32_t n = tokens_at_once(m, &m->run_pace, p->snapshot == NO_SNAPSHOT ? 1 : most);
	out->count = 0;
	ask(m, slot, p);
	bool keep = p->snapshot != NO_SNAPSHOT && (p->keep == KEEP_ALWAYS || (p->keep == KEEP_BEFORE_SEVERAL && n > 1));
	TRY(submit(m, keep ? *slot_snapshot_cmd(m, slot, p->snapshot) : NULL, m->plan.run, m->plan.run, n, &m->run_pace));
	if (io[IO_DONE] == DONE_BROKEN && io[IO_FED] == 0) /* otherwise the earlier tokens are good, and the next call fails here */
		return fail(RWKVK_ERROR_DRIVER, "%s computed logits that are not numbers; try another device or driver version",
		            gpu_caps(m->gpu)->name);
	out->count = io[IO_FED];
	out->stopped = io[IO_DONE] == DONE_STOP;
	out->stop = io[IO_PICKED];
	out->close = io[IO_CLOSE];
	memcpy(out->tokens, io + IO_TOKENS, out->count * sizeof *out->tokens);
	return RWKVK_OK;
}

rwkvk_status forward_select(struct rwkvk_model *m, uint32_t slot, const struct picking *p, uint32_t *token, bool *is_close)
{
	const uint32_t *io = m->io.mapped;
	ask(m, slot, p);
	TRY(forward_stage(m, 0, "select"));
	*token = io[IO_DONE] == DONE_BROKEN ? PART_BROKEN : io[IO_PICKED];
	*is_close = io[IO_CLOSE] != 0;
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ stage by stage */

rwkvk_status steps_run(struct rwkvk_model *m, const struct steps *steps, uint32_t layer, const char *stage)
{
	uint32_t first = 0, count = 0;
	for (uint32_t i = 0; i < steps->count; i++)
		if (steps->all[i].layer == layer && strcmp(steps->all[i].stage, stage) == 0) {
			if (count++ == 0)
				first = i;
		}
	INVARIANT(count > 0);
	struct gpu_cmd *cmd = NULL;
	rwkvk_status status = record_steps(m, steps->all + first, count, &cmd);
	if (status == RWKVK_OK)
		status = gpu_cmd_run(cmd);
	gpu_cmd_destroy(cmd);
	return status;
}

rwkvk_status forward_stage(struct rwkvk_model *m, uint32_t layer, const char *stage)
{
	return steps_run(m, &m->plan.steps, layer, stage);
}
