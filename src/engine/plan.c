/* One token on the device: which pipeline, which buffers, how many workgroups, stage by stage.  This file has the stages that
 * versions share; rwkv4.c to rwkv7.c have the others.  docs/model.md has the formulas in the same order. */
#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/numbers.h"

/* Rows covered by one pass of a workgroup. */
static uint32_t pass_rows(const struct tuning *tuning)
{
	return tuning->workgroup / tuning->lanes * tuning->rows;
}

uint32_t passes_for(const struct tuning *tuning, uint32_t rows)
{
	return ceil_div(ceil_div(rows, pass_rows(tuning)), tuning->groups);
}

uint32_t groups_for(const struct tuning *tuning, uint32_t rows, uint32_t passes)
{
	return ceil_div(rows, pass_rows(tuning) * passes);
}

struct gpu_binding whole(struct gpu_buffer *buffer)
{
	return (struct gpu_binding){ .buffer = buffer->bytes ? buffer : NULL };
}

/* The vectors of layer i, or with i = L those that belong to no layer. */
static struct gpu_binding layer_vectors(struct rwkvk_model *m, uint32_t i)
{
	const struct config *c = &m->file.network.config;
	uint64_t entry = PAD((uint64_t)c->width, 128) * sizeof(float), offset = entry * VEC_COUNT * i;
	if (!m->vectors.bytes)
		return (struct gpu_binding){ 0 };
	return (struct gpu_binding){ .buffer = &m->vectors,
		                         .offset = offset,
		                         .bytes = i < c->layers ? entry * VEC_COUNT : m->vectors.bytes - offset };
}

void dispatch_init(struct rwkvk_model *m, uint32_t layer, const char *shader, const char *stage, struct dispatch *d)
{
	const struct config *c = &m->file.network.config;
	*d = (struct dispatch){ .shader = shader, .stage = stage, .layer = layer, .groups = { 1, 1 } };
	d->push[PUSH_FIRST] = 1;
	d->push[PUSH_LAYER] = layer;
	tuning_constants(&m->plan.tuning, c, d->constants);
	d->bindings[0] = d->bindings[1] = whole(&m->plan.act);
	d->bindings[2] = layer_vectors(m, layer);
	if (layer < c->layers)
		d->bindings[5] = whole(&m->layers[layer].state);
}

void dispatch_slice(struct dispatch *d, struct device_matrix *matrix, uint32_t index)
{
	struct device_slice *slice = &matrix->slices[index];
	d->constants[SPEC_WEIGHT_TYPE] = matrix->matrix.type;
	d->bindings[3] = whole(&slice->weights);
	d->bindings[4] = whole(&slice->side);
	d->push[PUSH_ROW_BEGIN] = slice->row_begin;
	d->push[PUSH_ROW_END] = slice->row_end;
	d->push[PUSH_FIRST] = index == 0;
	d->bytes += slice->weights.bytes + slice->side.bytes;
}

void dispatch_lora(struct dispatch *d, struct device_lora *device)
{
	d->constants[SPEC_SECOND_TYPE] = device->lora.type;
	d->bindings[6] = whole(&device->buffer);
	d->bytes += device->buffer.bytes;
}

void dispatch_second(struct dispatch *d, struct device_matrix *matrix, uint32_t index)
{
	struct device_slice *slice = &matrix->slices[index];
	d->constants[SPEC_SECOND_TYPE] = matrix->matrix.type;
	d->bindings[6] = whole(&slice->weights);
	d->bindings[7] = whole(&slice->side);
	d->push[PUSH_SECOND_BEGIN] = slice->row_begin;
	d->push[PUSH_SECOND_END] = slice->row_end;
	d->bytes += slice->weights.bytes + slice->side.bytes;
}

/* Of a set whose bindings are what shaders/common/stage.glsl declares: weights as words, all else as floats. */
static rwkvk_status create_set(struct rwkvk_model *m, const struct dispatch *d, struct gpu_buffer *unused, struct gpu_set **out)
{
	static const enum gpu_texels texels[GPU_BINDINGS] = {
		[3] = GPU_TEXELS_UVEC4, [4] = GPU_TEXELS_UINT, [6] = GPU_TEXELS_UVEC4, [7] = GPU_TEXELS_UINT
	};
	struct gpu_binding bindings[GPU_BINDINGS];
	for (int i = 0; i < GPU_BINDINGS; i++) {
		bindings[i] = d->bindings[i];
		bindings[i].texels = texels[i];
	}
	return gpu_set_create(m->gpu, bindings, unused, out);
}

rwkvk_status steps_append(struct rwkvk_model *m, struct steps *steps, const struct dispatch *d, struct gpu_buffer *unused)
{
	if (steps->count == steps->capacity) {
		uint32_t capacity = steps->capacity ? 2 * steps->capacity : 64;
		struct step *all = realloc(steps->all, capacity * sizeof *all);
		if (!all)
			return fail(RWKVK_ERROR_MEMORY, "out of memory");
		steps->all = all;
		steps->capacity = capacity;
	}
	struct step step = {
		.groups = d->groups, .threads = d->constants[0], .stage = d->stage, .layer = d->layer, .bytes = d->bytes
	};
	memcpy(step.push, d->push, sizeof step.push);
	TRY(gpu_pipeline_ask(m->gpu, d->shader, d->constants, SPEC_COUNT, &step.pipeline));
	if (unused->bytes) /* otherwise only the plan is wanted */
		TRY(create_set(m, d, unused, &step.set));
	steps->all[steps->count++] = step;
	return RWKVK_OK;
}

void steps_drop(struct rwkvk_model *m, struct steps *steps)
{
	for (uint32_t i = 0; i < steps->count; i++)
		gpu_set_destroy(m->gpu, steps->all[i].set);
	free(steps->all);
	*steps = (struct steps){ 0 };
}

rwkvk_status plan_step(struct rwkvk_model *m, const struct dispatch *d)
{
	return steps_append(m, &m->plan.steps, d, &m->plan.act);
}

/* A stage that is just a matrix: a dispatch for each slice of rows.  `d` holds what they have in common. */
static rwkvk_status plan_matrix(struct rwkvk_model *m, const struct dispatch *common, struct device_matrix *matrix,
                                uint32_t passes, uint32_t *parts)
{
	for (uint32_t i = 0; i < matrix->count; i++) {
		struct dispatch d = *common;
		dispatch_slice(&d, matrix, i);
		d.constants[SPEC_PASSES] = passes;
		d.groups.x = groups_for(&m->plan.tuning, d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN], passes);
		d.push[PUSH_PART] = parts ? *parts : 0;
		TRY(plan_step(m, &d));
		if (parts)
			*parts += d.groups.x;
	}
	return RWKVK_OK;
}

/* One workgroup goes through all logits, whatever the tuning of the others: 64 threads on CPU devices, else up to 256 if shared
 * memory allows (48 bytes a thread in pick.glsl and a few). */
uint32_t select_workgroup(const struct rwkvk_model *m)
{
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	uint32_t threads = 64, most = caps->type == RWKVK_DEVICE_CPU ? 64 : 256;
	while (threads < caps->subgroup_size ||
	       (2 * threads <= most && 2 * threads <= caps->max_invocations && 2 * threads * 48 + 1024 <= caps->max_shared_bytes))
		threads *= 2;
	return threads;
}

/* x = LN(emb[token]; ln0) */
rwkvk_status plan_select(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	for (uint32_t i = 0; i < m->emb.count; i++) {
		struct dispatch d;
		dispatch_init(m, c->layers, "select", "select", &d);
		dispatch_slice(&d, &m->emb, i);
		d.constants[SPEC_FLAGS] = c->embedding_norm ? FLAG_EMBEDDING_NORM : 0;
		d.constants[0] = d.constants[SPEC_WORKGROUP] = select_workgroup(m);
		d.constants[SPEC_ROWS] = 1;
		d.bindings[5] = whole(&m->picks);
		d.bindings[6] = whole(&m->logits);
		d.bindings[7] = whole(&m->io);
		d.bytes = i == 0 ? packed_bytes(m->emb.matrix.type, 8, c->width) / 8 : 0; /* one of the slices holds the row */
		d.layer = 0;
		TRY(plan_step(m, &d));
	}
	return RWKVK_OK;
}

/* The workgroups of att_in: each matrix, or the part of it in the slice, gets its own. */
static uint32_t att_in_groups(const struct rwkvk_model *m, const struct device_matrix *products,
                              const struct device_slice *slice, const struct device_matrix *lora, uint32_t passes)
{
	uint32_t groups = 0, width = m->file.network.config.width, padded = PAD(width, 8);
	for (uint32_t i = 0; i < products->matrix.part_count; i++) {
		uint32_t begin = slice->row_begin > i * padded ? slice->row_begin - i * padded : 0;
		uint32_t end = slice->row_end > i * padded ? slice->row_end - i * padded : 0;
		end = end < width ? end : width;
		groups += end > begin ? groups_for(&m->plan.tuning, end - begin, passes) : 0;
	}
	for (uint32_t i = 0; lora && i < lora->matrix.part_count; i++)
		groups += groups_for(&m->plan.tuning, lora->matrix.parts[i].rows, passes);
	return groups;
}

/* The products of the shifted LN(x; ln1), and the hidden vectors of the LoRAs if there are any. */
rwkvk_status plan_att_in(struct rwkvk_model *m, uint32_t layer, uint32_t flags)
{
	struct device_matrix *products = &m->layers[layer].products, *lora = &m->layers[layer].lora_in;
	const struct config *c = &m->file.network.config;
	/* the same for all layers, which share a pipeline, though RWKV-7's layer 0 has one factor less */
	uint32_t hidden = HIDDEN(c->rank_decay, c->rank_iclr, c->rank_gate, c->rank_value);
	uint32_t passes = passes_for(&m->plan.tuning, products->matrix.rows + hidden);
	for (uint32_t i = 0; i < products->count; i++) {
		struct dispatch d;
		dispatch_init(m, layer, "att_in", "att_in", &d);
		dispatch_slice(&d, products, i);
		if (lora->count && i == 0)
			dispatch_second(&d, lora, 0);
		d.constants[SPEC_SECOND_TYPE] = lora->matrix.type; /* the same pipeline for all slices */
		d.constants[SPEC_PRODUCTS] = products->matrix.part_count;
		d.constants[SPEC_PASSES] = passes;
		d.constants[SPEC_FLAGS] = flags;
		d.groups.x = att_in_groups(m, products, &products->slices[i], i == 0 ? lora : NULL, passes);
		TRY(plan_step(m, &d));
	}
	return RWKVK_OK;
}

rwkvk_status plan_att_out(struct rwkvk_model *m, uint32_t layer, uint32_t flags)
{
	struct dispatch d;
	struct device_matrix *output = &m->layers[layer].output;
	dispatch_init(m, layer, "att_out", "att_out", &d);
	d.constants[SPEC_FLAGS] = flags;
	d.constants[SPEC_RESIDUAL] = bits_of_float(config_residual(&m->file.network.config, layer));
	return plan_matrix(m, &d, output, passes_for(&m->plan.tuning, output->matrix.rows), NULL);
}

/* Key and receptance share the dispatches: slice i of both, as long as there are any. */
static rwkvk_status plan_ffn_in(struct rwkvk_model *m, uint32_t layer, struct device_ffn *ffn, uint32_t flags)
{
	uint32_t slices = ffn->key.count > ffn->receptance.count ? ffn->key.count : ffn->receptance.count;
	uint32_t passes = passes_for(&m->plan.tuning, ffn->key.matrix.rows + ffn->receptance.matrix.rows);
	for (uint32_t i = 0; i < slices; i++) {
		struct dispatch d;
		dispatch_init(m, layer, "ffn_in", flags & FLAG_PRE ? "pre_in" : "ffn_in", &d);
		if (i < ffn->key.count)
			dispatch_slice(&d, &ffn->key, i);
		if (i < ffn->receptance.count)
			dispatch_second(&d, &ffn->receptance, i);
		d.constants[SPEC_WEIGHT_TYPE] = ffn->key.matrix.type; /* the same pipeline for all slices */
		d.constants[SPEC_SECOND_TYPE] = ffn->receptance.matrix.type;
		d.constants[SPEC_PASSES] = passes;
		d.constants[SPEC_FLAGS] = flags;
		d.groups.x = groups_for(&m->plan.tuning, d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN], passes) +
		             groups_for(&m->plan.tuning, d.push[PUSH_SECOND_END] - d.push[PUSH_SECOND_BEGIN], passes);
		TRY(plan_step(m, &d));
	}
	return RWKVK_OK;
}

/* Blocks of outputs are few, so the inputs are divided as well, until there are enough workgroups; but each of a workgroup's
 * sets of eight threads should have a group of inputs. */
static uint32_t sum_slices(const struct tuning *tuning, const struct device_matrix *value)
{
	uint32_t blocks = ceil_div(value->matrix.rows, VALUE_BLOCK(value->matrix.type)), slices = ceil_div(tuning->groups, blocks);
	uint32_t most = ceil_div(VALUE_INPUTS(value->matrix.columns) / VALUE_GROUP(value->matrix.type), tuning->workgroup / 8);
	slices = slices < most ? slices : most;
	return slices < MAX_SUM_SLICES ? slices : MAX_SUM_SLICES;
}

static rwkvk_status plan_ffn_out(struct rwkvk_model *m, uint32_t layer, struct device_matrix *value, uint32_t flags)
{
	const struct config *c = &m->file.network.config;
	bool pre = flags & FLAG_PRE;
	for (uint32_t i = 0; i < value->count; i++) {
		struct dispatch d;
		dispatch_init(m, layer, "ffn_out", pre ? "pre_out" : "ffn_out", &d);
		dispatch_slice(&d, value, i);
		d.constants[SPEC_SUM_SLICES] = sum_slices(&m->plan.tuning, value);
		d.constants[SPEC_FLAGS] = flags | (!pre && config_halves(c, layer) ? FLAG_HALVE : 0);
		if (!pre && m->used_inputs.bytes) {
			d.constants[SPEC_FLAGS] |= FLAG_COUNT;
			d.bindings[7] = whole(&m->used_inputs);
		}
		d.constants[SPEC_RESIDUAL] = bits_of_float(config_residual(c, layer));
		d.groups.x = ceil_div(d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN], VALUE_BLOCK(value->matrix.type)) *
		             d.constants[SPEC_SUM_SLICES];
		TRY(plan_step(m, &d));
	}
	return RWKVK_OK;
}

/* Both stages of channel-mix, or of ffnPre in place of time-mix. */
rwkvk_status plan_ffn(struct rwkvk_model *m, uint32_t layer, struct device_ffn *ffn, bool pre)
{
	uint32_t flags = (pre ? FLAG_PRE : 0) | (ffn->receptance.count ? FLAG_RECEPTANCE : 0);
	TRY(plan_ffn_in(m, layer, ffn, flags));
	return plan_ffn_out(m, layer, &ffn->value, flags);
}

rwkvk_status plan_head(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	uint32_t passes = passes_for(&m->plan.tuning, m->head.matrix.rows);
	/* one entry of ACT_PART for each workgroup; slices may each add one that is not full */
	while (groups_for(&m->plan.tuning, m->head.matrix.rows, passes) + m->head.count > MAX_PARTS)
		passes++;
	m->plan.head_step = m->plan.steps.count;
	m->plan.head_groups = 0;
	struct dispatch d;
	dispatch_init(m, c->layers, "head", "head", &d);
	d.constants[SPEC_FLAGS] = m->file.network.head_b ? FLAG_HEAD_BIAS : 0;
	d.bindings[5] = whole(&m->picks);
	d.bindings[7] = whole(&m->logits);
	return plan_matrix(m, &d, &m->head, passes, &m->plan.head_groups);
}
