/* One token of RWKV-7 on the device: which pipeline, which buffers, how many workgroups, stage by stage, in the order in
 * which docs/model.md has the formulas.  forward.c records the result once and submits it for every token. */
#include "model/model.h"

static uint32_t ceil_div(uint32_t n, uint32_t by)
{
	return (n + by - 1) / by;
}

/* Rows that one pass of a workgroup covers. */
static uint32_t pass_rows(const struct shape *shape)
{
	return shape->workgroup / shape->lanes * shape->rows;
}

/* Passes of each workgroup, so that about shape.groups of them do `rows` rows. */
static uint32_t passes_for(const struct shape *shape, uint32_t rows)
{
	return ceil_div(ceil_div(rows, pass_rows(shape)), shape->groups);
}

static struct gpu_binding whole(struct gpu_buffer *buffer)
{
	return (struct gpu_binding){ .buffer = buffer->bytes ? buffer : NULL };
}

/* The vectors of layer i, or with i = L those that belong to no layer. */
static struct gpu_binding layer_vectors(struct rwkvk_model *m, uint32_t i)
{
	const struct config *c = &m->file.network.config;
	uint64_t entry = PAD((uint64_t)c->width, 128) * sizeof(float), offset = entry * VEC_COUNT * i;
	return (struct gpu_binding){ &m->vectors, offset, i < c->layers ? entry * VEC_COUNT : m->vectors.bytes - offset };
}

static uint64_t slice_bytes(const struct device_slice *slice)
{
	return slice->weights.bytes + slice->scales.bytes;
}

/* A stage that is nothing but a matrix: a dispatch for each slice of rows. */
static rwkvk_status matrix_stage(struct rwkvk_model *m, const char *shader, struct device_matrix *matrix, uint32_t passes,
                                 uint32_t layer, struct gpu_binding state, uint32_t flags, struct gpu_binding last,
                                 uint32_t *parts)
{
	uint32_t constants[SPEC_COUNT], per_group = pass_rows(&m->shape) * passes;
	stage_constants(&m->shape, &m->file.network.config, (struct stage_types){ matrix->type, matrix->type }, false, passes,
	                flags, constants);
	for (uint32_t i = 0; i < matrix->count; i++) {
		struct device_slice *slice = &matrix->slices[i];
		uint32_t groups = ceil_div(slice->row_end - slice->row_begin, per_group);
		struct gpu_binding bindings[GPU_BINDINGS] = {
			whole(&m->act), whole(&m->act), layer_vectors(m, layer), whole(&slice->weights), whole(&slice->scales), state,
			{ 0 },          last,
		};
		uint32_t push[PUSH_COUNT] = { slice->row_begin, slice->row_end, i == 0, parts ? *parts : 0 };
		TRY(plan_step(m, shader, constants, bindings, push, groups, shader, layer, slice_bytes(slice)));
		if (parts)
			*parts += groups;
	}
	return RWKVK_OK;
}

static rwkvk_status matrix_stage_of_layer(struct rwkvk_model *m, const char *shader, struct device_matrix *matrix,
                                          uint32_t layer)
{
	return matrix_stage(m, shader, matrix, passes_for(&m->shape, matrix->rows), layer, whole(&m->layers[layer].state), 0,
	                    (struct gpu_binding){ 0 }, NULL);
}

/* x = LN(emb[token]; ln0) */
static rwkvk_status plan_select(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	uint32_t constants[SPEC_COUNT];
	stage_constants(&m->shape, c, (struct stage_types){ m->emb.type, m->emb.type }, false, 1,
	                c->embedding_norm ? FLAG_EMBEDDING_NORM : 0, constants);
	for (uint32_t i = 0; i < m->emb.count; i++) {
		struct device_slice *slice = &m->emb.slices[i];
		struct gpu_binding bindings[GPU_BINDINGS] = {
			whole(&m->act), whole(&m->act), layer_vectors(m, c->layers), whole(&slice->weights), whole(&slice->scales), { 0 },
			{ 0 },          whole(&m->io),
		};
		uint32_t push[PUSH_COUNT] = { slice->row_begin, slice->row_end, i == 0 };
		TRY(plan_step(m, "select", constants, bindings, push, 1, "select", 0, packed_bytes(m->emb.type, 8, c->width) / 8));
	}
	return RWKVK_OK;
}

/* The workgroups of att_in: each matrix, or the part of it in the slice, gets its own. */
static uint32_t att_in_groups(const struct config *c, bool first_layer, const struct device_slice *slice, bool lora,
                              uint32_t per_group)
{
	uint32_t groups = 0, padded = PAD(c->width, 8);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t begin = slice->row_begin > i * padded ? slice->row_begin - i * padded : 0;
		uint32_t end = slice->row_end > i * padded ? slice->row_end - i * padded : 0;
		end = end < c->width ? end : c->width;
		groups += end > begin ? ceil_div(end - begin, per_group) : 0;
	}
	if (lora)
		groups += ceil_div(c->rank_decay, per_group) + ceil_div(c->rank_iclr, per_group) + ceil_div(c->rank_gate, per_group) +
		          (first_layer ? 0 : ceil_div(c->rank_value, per_group));
	return groups;
}

/* r, k, v and the hidden vectors of the LoRAs from the shifted LN(x; ln1) */
static rwkvk_status plan_att_in(struct rwkvk_model *m, uint32_t layer)
{
	const struct config *c = &m->file.network.config;
	struct device_layer *l = &m->layers[layer];
	struct device_slice *lora = &l->lora_in.slices[0];
	uint32_t constants[SPEC_COUNT], passes = passes_for(&m->shape, l->rkv.rows + l->lora_in.rows);
	stage_constants(&m->shape, c, (struct stage_types){ l->rkv.type, l->lora_in.type }, layer == 0, passes, 0, constants);
	for (uint32_t i = 0; i < l->rkv.count; i++) {
		struct device_slice *slice = &l->rkv.slices[i];
		struct gpu_binding bindings[GPU_BINDINGS] = {
			whole(&m->act),        whole(&m->act),   layer_vectors(m, layer), whole(&slice->weights),
			whole(&slice->scales), whole(&l->state), whole(&lora->weights),   whole(&lora->scales),
		};
		uint32_t push[PUSH_COUNT] = { slice->row_begin, slice->row_end, i == 0 };
		uint32_t groups = att_in_groups(c, layer == 0, slice, i == 0, pass_rows(&m->shape) * passes);
		TRY(plan_step(m, "att_in", constants, bindings, push, groups, "att_in", layer,
		              slice_bytes(slice) + (i == 0 ? slice_bytes(lora) : 0)));
	}
	return RWKVK_OK;
}

/* the state, head by head */
static rwkvk_status plan_wkv(struct rwkvk_model *m, uint32_t layer)
{
	const struct config *c = &m->file.network.config;
	struct device_layer *l = &m->layers[layer];
	uint32_t constants[SPEC_COUNT];
	stage_constants(&m->shape, c, (struct stage_types){ l->lora_type, l->lora_type }, layer == 0, 1,
	                layer == 0 ? FLAG_FIRST_LAYER : 0, constants);
	struct gpu_binding bindings[GPU_BINDINGS] = {
		whole(&m->act), whole(&m->act), layer_vectors(m, layer), { 0 }, { 0 }, whole(&l->state), whole(&l->lora_out), { 0 },
	};
	uint64_t state = 2 * sizeof(float) * (uint64_t)c->width * c->head_size;
	return plan_step(m, "wkv", constants, bindings, (uint32_t[PUSH_COUNT]){ 0 }, c->heads, "wkv", layer,
	                 l->lora_out.bytes + state);
}

/* logits = head LN(x; ln_out) */
static rwkvk_status plan_head(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	uint32_t passes = passes_for(&m->shape, m->head.rows);
	/* one entry of ACT_PART for each workgroup; slices may each add one that is not full */
	while (ceil_div(m->head.rows, pass_rows(&m->shape) * passes) + m->head.count > MAX_PARTS)
		passes++;
	return matrix_stage(m, "head", &m->head, passes, c->layers, (struct gpu_binding){ 0 },
	                    m->file.network.head_b ? FLAG_HEAD_BIAS : 0, whole(&m->logits), &m->parts);
}

rwkvk_status rwkv7_plan(struct rwkvk_model *m)
{
	TRY(plan_select(m));
	for (uint32_t i = 0; i < m->file.network.config.layers; i++) {
		struct device_layer *l = &m->layers[i];
		TRY(plan_att_in(m, i));
		TRY(plan_wkv(m, i));
		TRY(matrix_stage_of_layer(m, "att_out", &l->output, i));
		TRY(matrix_stage_of_layer(m, "ffn_in", &l->ffn_key, i));
		TRY(matrix_stage_of_layer(m, "ffn_out", &l->ffn_value, i));
	}
	m->head_step = m->step_count;
	m->parts = 0;
	return plan_head(m);
}
