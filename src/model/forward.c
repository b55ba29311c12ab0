/* A token on the device.  The plan (plan.c, rwkv4.c to rwkv7.c) is recorded into two command buffers at load, with and without
 * the head; a token afterwards is three words for `select` and one submission.  The same driver serves every version of RWKV.
 */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

static void record(struct gpu_cmd *cmd, const struct step *steps, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		gpu_cmd_dispatch(cmd, s->pipeline, s->set, s->push, sizeof s->push, s->groups, s->stage, s->bytes);
		gpu_cmd_barrier(cmd);
	}
}

static rwkvk_status record_new(struct rwkvk_model *m, uint32_t first, uint32_t count, struct gpu_cmd **out)
{
	TRY(gpu_cmd_create(m->gpu, out));
	gpu_cmd_begin(*out);
	record(*out, m->steps + first, count);
	return gpu_cmd_end(*out);
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

rwkvk_status forward_plan(struct rwkvk_model *m)
{
	TRY(forward_steps(m));
	gpu_pipeline_cache_save(m->gpu);
	TRY(record_new(m, 0, m->head_step, &m->feed));
	return record_new(m, 0, m->step_count, &m->run);
}

rwkvk_status forward_replan(struct rwkvk_model *m, const struct shape *shape)
{
	gpu_cmd_destroy(m->feed);
	gpu_cmd_destroy(m->run);
	m->feed = m->run = NULL;
	gpu_sets_destroy(m->gpu);
	m->step_count = 0;
	m->shape = *shape;
	TRY(model_make_activations(m));
	return forward_plan(m);
}

rwkvk_status forward_token(struct rwkvk_model *m, uint32_t slot, uint32_t token, bool head)
{
	uint32_t *io = m->io.mapped;
	io[IO_MODE] = MODE_FEED;
	io[IO_TOKEN] = token;
	io[IO_SLOT] = slot;
	TRY(gpu_cmd_run(head ? m->run : m->feed));
	m->tokens++;
	return RWKVK_OK;
}

rwkvk_status forward_argmax(struct rwkvk_model *m, uint32_t slot, const uint32_t *stops, size_t stop_count, uint32_t *token,
                            bool *stopped)
{
	uint32_t *io = m->io.mapped;
	REQUIRE(stop_count <= MAX_STOPS);
	io[IO_MODE] = MODE_ARGMAX;
	io[IO_SLOT] = slot;
	io[IO_PARTS] = m->parts;
	io[IO_STOP_COUNT] = (uint32_t)stop_count;
	for (size_t i = 0; i < stop_count; i++)
		io[IO_STOPS + i] = stops[i];
	TRY(gpu_cmd_run(m->run));
	*token = io[IO_PICKED];
	*stopped = io[IO_DONE] != 0;
	if (*token >= m->file.network.config.vocab)
		return fail(RWKVK_ERROR_DRIVER, "%s computed logits that are not numbers; try another device or driver version",
		            gpu_caps(m->gpu)->name);
	m->tokens += !*stopped;
	return RWKVK_OK;
}

rwkvk_status forward_stage(struct rwkvk_model *m, uint32_t layer, const char *stage)
{
	uint32_t first = 0, count = 0;
	for (uint32_t i = 0; i < m->step_count; i++)
		if (m->steps[i].layer == layer && strcmp(m->steps[i].stage, stage) == 0) {
			if (count++ == 0)
				first = i;
		}
	REQUIRE(count > 0);
	struct gpu_cmd *cmd = NULL;
	rwkvk_status status = record_new(m, first, count, &cmd);
	if (status == RWKVK_OK)
		status = gpu_cmd_run(cmd);
	gpu_cmd_destroy(cmd);
	return status;
}
