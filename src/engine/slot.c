/* A session's data on the device: a slot, whose state lies in the layers' pools and whose logits, counts and biases lie in the
 * pools for picking; and snapshots of state and logits. */
#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"

/* ------------------------------------------------------------------------------------------------------ states */

static uint64_t slot_bytes(const struct rwkvk_model *m)
{
	return config_slot_floats(model_config(m)) * sizeof(float);
}

/* The slot's place in each layer, paired with `state`, where layers are `stride` floats apart and `floats` of each are meant.
 * *out is for free(). */
static rwkvk_status state_pieces(struct rwkvk_model *m, uint32_t slot, float *state, uint64_t stride, uint64_t floats,
                                 struct gpu_piece **out)
{
	uint32_t layers = model_config(m)->layers;
	*out = malloc(layers * sizeof **out);
	if (!*out)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < layers; i++)
		(*out)[i] = (struct gpu_piece){ &m->layers[i].state, slot * slot_bytes(m), floats * sizeof(float), state + i * stride };
	return RWKVK_OK;
}

/* Only reads `state`. */
static rwkvk_status write_state(struct rwkvk_model *m, uint32_t slot, const float *state, uint64_t stride)
{
	struct gpu_piece *pieces;
	TRY(state_pieces(m, slot, (float *)(uintptr_t)state, stride, stride, &pieces));
	rwkvk_status status = gpu_write_all(m->gpu, pieces, model_config(m)->layers);
	free(pieces);
	return status;
}

rwkvk_status slot_start(struct rwkvk_model *m, uint32_t slot)
{
	return write_state(m, slot, m->start_state, config_slot_floats(model_config(m)));
}

rwkvk_status slot_write(struct rwkvk_model *m, uint32_t slot, const float *state)
{
	return write_state(m, slot, state, config_layer_floats(model_config(m)));
}

rwkvk_status slot_read(struct rwkvk_model *m, uint32_t slot, float *state)
{
	uint64_t floats = config_layer_floats(model_config(m)); /* the rest of the slot is padding */
	struct gpu_piece *pieces;
	TRY(state_pieces(m, slot, state, floats, floats, &pieces));
	rwkvk_status status = gpu_read_all(m->gpu, pieces, model_config(m)->layers);
	free(pieces);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ copies */

/* A slot, or a snapshot. */
struct place {
	bool snapshot;
	uint32_t index;
};

static struct gpu_copy_region region(struct gpu_buffer *slots, struct gpu_buffer *snapshots, uint64_t bytes, struct place from,
                                     struct place to)
{
	return (struct gpu_copy_region){ from.snapshot ? snapshots : slots, to.snapshot ? snapshots : slots, from.index * bytes,
		                             to.index * bytes, bytes };
}

/* The state, layer after layer, and the logits, from one place to the other.  *out is for free(). */
static rwkvk_status make_regions(struct rwkvk_model *m, struct place from, struct place to, struct gpu_copy_region **out,
                                 uint32_t *count)
{
	uint32_t layers = model_config(m)->layers;
	*count = layers + 1;
	*out = malloc(*count * sizeof **out);
	if (!*out)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < layers; i++)
		(*out)[i] = region(&m->layers[i].state, &m->layers[i].snapshots, slot_bytes(m), from, to);
	(*out)[layers] = region(&m->logits, &m->logits_snapshots, logits_floats(model_config(m), 1) * sizeof(float), from, to);
	return RWKVK_OK;
}

static rwkvk_status copy_slot(struct rwkvk_model *m, struct place from, struct place to)
{
	struct gpu_copy_region *regions;
	uint32_t count;
	TRY(make_regions(m, from, to, &regions, &count));
	rwkvk_status status = gpu_copy_all(m->gpu, regions, count);
	free(regions);
	return status;
}

rwkvk_status slot_copy(struct rwkvk_model *m, uint32_t from, uint32_t to)
{
	return copy_slot(m, (struct place){ false, from }, (struct place){ false, to });
}

rwkvk_status slot_rewind(struct rwkvk_model *m, uint32_t slot, uint32_t snapshot)
{
	return copy_slot(m, (struct place){ true, snapshot }, (struct place){ false, slot });
}

/* ------------------------------------------------------------------------------------------------------ snapshots */

struct gpu_cmd **slot_snapshot_cmd(const struct rwkvk_model *m, uint32_t slot, uint32_t snapshot)
{
	return &m->snapshot_cmds[slot * m->snapshots + snapshot];
}

static rwkvk_status record_snapshot(struct rwkvk_model *m, uint32_t slot, uint32_t snapshot)
{
	struct gpu_cmd **cmd = slot_snapshot_cmd(m, slot, snapshot);
	struct gpu_copy_region *regions;
	uint32_t count;
	if (*cmd)
		return RWKVK_OK;
	TRY(make_regions(m, (struct place){ false, slot }, (struct place){ true, snapshot }, &regions, &count));
	rwkvk_status status = gpu_cmd_create(m->gpu, cmd);
	if (status == RWKVK_OK) {
		gpu_cmd_begin(*cmd);
		gpu_cmd_copy(*cmd, regions, count);
		status = gpu_cmd_end(*cmd);
	}
	if (status != RWKVK_OK) {
		gpu_cmd_destroy(*cmd);
		*cmd = NULL;
	}
	free(regions);
	return status;
}

rwkvk_status slot_keep(struct rwkvk_model *m, uint32_t slot, uint32_t snapshot)
{
	return gpu_cmd_run(*slot_snapshot_cmd(m, slot, snapshot));
}

/* A slot gets its previous snapshot again if possible, so that few pairs are ever recorded. */
rwkvk_status slot_find_snapshot(struct rwkvk_model *m, uint32_t slot, uint32_t *snapshot)
{
	for (uint32_t i = 0; i < m->snapshots; i++) {
		*snapshot = (slot + i) % m->snapshots;
		if (!m->snapshot_taken[*snapshot])
			return record_snapshot(m, slot, *snapshot);
	}
	*snapshot = NO_SNAPSHOT;
	return RWKVK_OK;
}

rwkvk_status slot_take_snapshot(struct rwkvk_model *m, uint32_t slot, uint32_t *snapshot)
{
	uint32_t taken = 0;
	for (uint32_t i = 0; i < m->snapshots; i++)
		taken += m->snapshot_taken[i];
	*snapshot = NO_SNAPSHOT;
	if (taken < text_snapshots(m->batch.most))
		TRY(slot_find_snapshot(m, slot, snapshot));
	if (*snapshot != NO_SNAPSHOT)
		m->snapshot_taken[*snapshot] = true;
	return RWKVK_OK;
}

void slot_give_snapshot(struct rwkvk_model *m, uint32_t snapshot)
{
	if (snapshot == NO_SNAPSHOT)
		return;
	mutex_lock(&m->lock);
	m->snapshot_taken[snapshot] = false;
	mutex_unlock(&m->lock);
}

/* ------------------------------------------------------------------------------------------------------ picking */

float *slot_logits(const struct rwkvk_model *m, uint32_t slot)
{
	return (float *)m->logits.mapped + slot * V4((size_t)model_config(m)->vocab);
}

static rwkvk_status write_picks(struct rwkvk_model *m, uint32_t slot, uint64_t at, const float *values)
{
	uint64_t vocab = model_config(m)->vocab;
	return gpu_write(&m->picks, (PICKS_SLOT(vocab, slot) + at) * sizeof(float), values, vocab * sizeof(float));
}

rwkvk_status slot_write_counts(struct rwkvk_model *m, uint32_t slot, const float *counts)
{
	return write_picks(m, slot, PICKS_COUNT((uint64_t)model_config(m)->vocab), counts);
}

rwkvk_status slot_write_biases(struct rwkvk_model *m, uint32_t slot, const float *biases)
{
	return write_picks(m, slot, PICKS_BIAS((uint64_t)model_config(m)->vocab), biases);
}

bool model_has_light(const struct rwkvk_model *m)
{
	return m->has_light;
}

rwkvk_status model_write_light(struct rwkvk_model *m, const uint32_t *light)
{
	TRY(gpu_write(&m->picks, PICKS_LIGHT * sizeof *light, light, V4((uint64_t)model_config(m)->vocab) / 32 * sizeof *light));
	m->has_light = true;
	return RWKVK_OK;
}
