/* Rows on the device, stage by stage: the same formulas as for one token (plan.c), but matrices times many rows, so that
 * weights are read once for all of them.  The stages of one version are in rwkv4.c to rwkv7.c. */
#include "engine/plan.h"

#include "base/half.h"
#include "base/numbers.h"

void chunk_dispatch(struct rwkvk_model *m, struct pass *p, uint32_t layer, const char *shader, const char *stage,
                    struct dispatch *d)
{
	const struct tuning usual = tuning_for(gpu_caps(m->gpu), model_config(m)); /* bits do not depend on the tuning */
	dispatch_init(m, layer, shader, stage, d);
	tuning_constants(&usual, model_config(m), d->constants);
	d->constants[0] = d->constants[SPEC_WORKGROUP] = p->shape.workgroup;
	d->bindings[0] = d->bindings[1] = whole(&m->chunk.buffer);
	d->groups.x = p->rows;
}

void chunk_tile_dispatch(struct rwkvk_model *m, struct pass *p, uint32_t layer, const char *shader, const char *stage,
                         struct dispatch *d)
{
	chunk_dispatch(m, p, layer, shader, stage, d);
	d->constants[0] = d->constants[SPEC_WORKGROUP] = p->shape.tile_workgroup;
	chunk_constants(&p->shape, d->constants);
}

void chunk_heads(struct rwkvk_model *m, struct pass *p, uint32_t layer, const char *shader, const char *stage,
                 struct device_lora *lora, struct dispatch *d)
{
	chunk_dispatch(m, p, layer, shader, stage, d);
	dispatch_lora(d, lora);
	d->constants[0] = d->constants[SPEC_WORKGROUP] = p->shape.head_workgroup;
	d->constants[SPEC_ROWS] = p->shape.head_rows;
	d->groups = (struct gpu_groups){ ceil_div(p->rows, p->shape.head_rows), model_config(m)->heads };
}

void chunk_state(struct rwkvk_model *m, struct pass *p, uint32_t layer, const char *shader, struct dispatch *d)
{
	const struct config *c = model_config(m);
	chunk_dispatch(m, p, layer, shader, "chunk wkv", d);
	d->constants[0] = d->constants[SPEC_WORKGROUP] = p->shape.state_workgroup;
	d->constants[SPEC_STATE_LANES] = p->shape.state_lanes;
	d->groups = (struct gpu_groups){ c->heads, p->runs };
	d->bytes = 2 * sizeof(float) * (uint64_t)c->width * c->head_size;
}

rwkvk_status chunk_step(struct rwkvk_model *m, struct pass *p, const struct dispatch *d)
{
	return steps_append(m, &p->steps, d, &m->chunk.buffer);
}

rwkvk_status chunk_embed(struct rwkvk_model *m, struct pass *p)
{
	const struct config *c = model_config(m);
	for (uint32_t i = 0; i < m->emb.count; i++) {
		struct dispatch d;
		chunk_dispatch(m, p, c->layers, "chunk_embed", "chunk embed", &d);
		dispatch_slice(&d, &m->emb, i);
		d.constants[SPEC_FLAGS] = (c->embedding_norm ? FLAG_EMBEDDING_NORM : 0) | (p->chooses ? FLAG_CHOSEN : 0);
		d.bindings[7] = whole(p->table);
		d.bytes = i == 0 ? p->rows * packed_bytes(m->emb.matrix.type, 8, c->width) / 8 : 0;
		TRY(chunk_step(m, p, &d));
	}
	return RWKVK_OK;
}

rwkvk_status chunk_shift(struct rwkvk_model *m, struct pass *p, uint32_t layer, const char *stage, uint32_t flags,
                         uint32_t mixes)
{
	struct dispatch d;
	chunk_dispatch(m, p, layer, "chunk_shift", stage, &d);
	d.constants[SPEC_FLAGS] = flags;
	d.constants[SPEC_MIXES] = mixes;
	return chunk_step(m, p, &d);
}

static uint32_t tiles(const struct pass *p, uint32_t rows)
{
	return ceil_div(rows, p->shape.tile_outputs);
}

/* Tiles of all rows times so many tiles of outputs. */
static struct gpu_groups tile_groups(const struct pass *p, uint32_t outputs)
{
	return (struct gpu_groups){ ceil_div(p->rows, p->shape.tile_rows), outputs };
}

struct gpu_groups chunk_tiles(const struct pass *p, uint32_t outputs)
{
	return tile_groups(p, tiles(p, outputs));
}

/* Tiles of outputs in the slice's share of each part of a matrix; interleaved parts have equal shares. */
static uint32_t part_tiles(const struct pass *p, const struct device_matrix *matrix, const struct device_slice *slice)
{
	uint32_t sum = 0, at = 0;
	if (matrix->matrix.interleaved)
		return 3 * tiles(p, (slice->row_end - slice->row_begin) / 3);
	for (uint32_t i = 0; i < matrix->matrix.part_count; i++) {
		uint32_t rows = matrix->matrix.parts[i].rows, begin = slice->row_begin > at ? slice->row_begin - at : 0;
		uint32_t end = slice->row_end > at ? slice->row_end - at : 0;
		end = smaller(end, rows);
		sum += end > begin ? tiles(p, end - begin) : 0;
		at += PAD(rows, 8);
	}
	return sum;
}

/* A stage of chunk_matrix, of all slices of its matrices. */
static void matrix_dispatch(struct rwkvk_model *m, struct pass *p, uint32_t layer, const char *stage, uint32_t flags,
                            const struct device_matrix *first, const struct device_matrix *second, struct dispatch *d)
{
	const struct device_layer *l = &m->layers[layer];
	chunk_tile_dispatch(m, p, layer, "chunk_matrix", stage, d);
	d->constants[SPEC_WEIGHT_TYPE] = first->matrix.type;
	d->constants[SPEC_SECOND_TYPE] = second ? second->matrix.type : 0;
	d->constants[SPEC_PRODUCTS] = l->products.matrix.part_count;
	d->constants[SPEC_RESIDUAL] = bits_of_float(config_residual(model_config(m), layer));
	d->constants[SPEC_FLAGS] = flags;
}

/* The products of time-mix, and the inner LoRA factors if there are any. */
rwkvk_status chunk_products(struct rwkvk_model *m, struct pass *p, uint32_t layer, uint32_t flags)
{
	struct device_matrix *products = &m->layers[layer].products, *lora = &m->layers[layer].lora_in;
	flags |= products->matrix.interleaved ? FLAG_INTERLEAVED : 0;
	for (uint32_t i = 0; i < products->count; i++) {
		struct dispatch d;
		uint32_t outputs = part_tiles(p, products, &products->slices[i]);
		matrix_dispatch(m, p, layer, "chunk att_in", flags, products, lora, &d);
		dispatch_slice(&d, products, i);
		if (lora->count && i == 0) {
			dispatch_second(&d, lora, 0);
			outputs += part_tiles(p, lora, &lora->slices[0]);
		}
		d.groups = tile_groups(p, outputs);
		TRY(chunk_step(m, p, &d));
	}
	return RWKVK_OK;
}

rwkvk_status chunk_output(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	struct device_matrix *output = &m->layers[layer].output;
	for (uint32_t i = 0; i < output->count; i++) {
		struct dispatch d;
		matrix_dispatch(m, p, layer, "chunk att_out", FLAG_OUTPUT, output, NULL, &d);
		dispatch_slice(&d, output, i);
		d.groups = chunk_tiles(p, d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN]);
		TRY(chunk_step(m, p, &d));
	}
	return RWKVK_OK;
}

/* Key and receptance share the dispatches: slice i of both, as long as there are any. */
static rwkvk_status chunk_ffn_in(struct rwkvk_model *m, struct pass *p, uint32_t layer, struct device_ffn *ffn, uint32_t flags)
{
	uint32_t slices = ffn->key.count > ffn->receptance.count ? ffn->key.count : ffn->receptance.count;
	for (uint32_t i = 0; i < slices; i++) {
		struct dispatch d;
		matrix_dispatch(m, p, layer, flags & FLAG_PRE ? "chunk pre_in" : "chunk ffn_in", flags, &ffn->key, &ffn->receptance,
		                &d);
		if (i < ffn->key.count)
			dispatch_slice(&d, &ffn->key, i);
		if (i < ffn->receptance.count)
			dispatch_second(&d, &ffn->receptance, i);
		d.groups = tile_groups(p, tiles(p, d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN]) +
		                              tiles(p, d.push[PUSH_SECOND_END] - d.push[PUSH_SECOND_BEGIN]));
		TRY(chunk_step(m, p, &d));
	}
	return RWKVK_OK;
}

/* Outputs of ffn.value per workgroup.  Without tiles, each lane or thread has as many as it unpacks at once. */
static uint32_t value_outputs(const struct rwkvk_model *m, const struct chunk_shape *shape, uint32_t type)
{
	uint32_t unpacked = type == TYPE_F32 ? 4 : 8;
	return gpu_caps(m->gpu)->texel_reads ? shape->tile_workgroup * unpacked
	       : shape->lanes > 1            ? 8 * unpacked
	                                     : shape->tile_outputs;
}

/* Divides the inputs, for few rows, as sum_slices() in plan.c does; by shape alone, because the division affects the bits. */
static uint32_t value_slices(const struct rwkvk_model *m, const struct chunk_shape *shape, const struct matrix *value,
                             uint32_t outputs)
{
	if (shape->lanes == 1)
		return 1; /* also keeps out tiles with fewer than eight threads: CPU devices with narrow vectors have four */
	uint32_t most = ceil_div(ceil_div(value->columns, VALUE_GROUP(value->type)), shape->tile_workgroup / 8);
	uint32_t slices = ceil_div(model_usual_tuning(m).groups, ceil_div(value->rows, outputs));
	return smaller(smaller(slices, most), MAX_ROW_SLICES);
}

static rwkvk_status chunk_ffn_out(struct rwkvk_model *m, struct pass *p, uint32_t layer, struct device_matrix *value,
                                  uint32_t flags)
{
	const struct config *c = model_config(m);
	bool pre = flags & FLAG_PRE;
	uint32_t outputs = value_outputs(m, &p->shape, value->matrix.type);
	uint32_t slices = value_slices(m, &p->shape, &value->matrix, outputs);
	for (uint32_t i = 0; i < value->count; i++) {
		struct dispatch d;
		chunk_tile_dispatch(m, p, layer, "chunk_value", pre ? "chunk pre_out" : "chunk ffn_out", &d);
		dispatch_slice(&d, value, i);
		d.constants[SPEC_FLAGS] = flags | (!pre && config_halves(c, layer) ? FLAG_HALVE : 0);
		d.constants[SPEC_RESIDUAL] = bits_of_float(config_residual(c, layer));
		d.constants[SPEC_SUM_SLICES] = slices;
		if (p->shape.lanes > 1)
			d.constants[SPEC_TILE_DEPTH] = 8; /* inputs of few rows are not staged */
		d.groups = tile_groups(p, ceil_div(d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN], outputs) * slices);
		TRY(chunk_step(m, p, &d));
	}
	return RWKVK_OK;
}

rwkvk_status chunk_ffn(struct rwkvk_model *m, struct pass *p, uint32_t layer, struct device_ffn *ffn, bool pre)
{
	bool receptance = ffn->receptance.count > 0;
	uint32_t flags = FLAG_FFN | (pre ? FLAG_PRE : 0) | (receptance ? FLAG_RECEPTANCE : 0);
	uint32_t key = pre ? MIX_BIT(VEC_MIX_K) : 1, other = pre ? MIX_BIT(VEC_MIX_R) : 2;
	TRY(chunk_shift(m, p, layer, pre ? "chunk pre_shift" : "chunk ffn_shift", flags, key | (receptance ? other : 0)));
	TRY(chunk_ffn_in(m, p, layer, ffn, flags));
	return chunk_ffn_out(m, p, layer, &ffn->value, flags);
}

rwkvk_status chunk_last(struct rwkvk_model *m, struct pass *p)
{
	struct dispatch d;
	chunk_dispatch(m, p, model_config(m)->layers, "chunk_last", "chunk last", &d);
	d.bindings[1] = whole(&m->plan.act);
	d.groups.x = 1;
	return steps_append(m, &m->plan.last, &d, &m->chunk.buffer);
}

rwkvk_status chunk_head(struct rwkvk_model *m, struct pass *p, struct steps *steps, struct gpu_buffer *logits)
{
	const uint32_t layers = model_config(m)->layers;
	struct dispatch d;
	chunk_dispatch(m, p, layers, "chunk_shift", "chunk out_norm", &d);
	d.constants[SPEC_FLAGS] = FLAG_HEAD;
	TRY(steps_append(m, steps, &d, &m->chunk.buffer));
	for (uint32_t i = 0; i < m->head.count; i++) {
		chunk_tile_dispatch(m, p, layers, "chunk_matrix", "chunk head", &d);
		dispatch_slice(&d, &m->head, i);
		d.constants[SPEC_FLAGS] = FLAG_HEAD | (m->file.network.head_b ? FLAG_HEAD_BIAS : 0) | (logits ? 0 : FLAG_SLOT_LOGITS);
		d.bindings[7] = whole(logits ? logits : &m->logits);
		d.groups = tile_groups(p, tiles(p, d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN]));
		TRY(steps_append(m, steps, &d, &m->chunk.buffer));
	}
	return RWKVK_OK;
}

static rwkvk_status chunk_layer(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	switch (model_config(m)->version / 10) {
	case 4:
		return rwkv4_chunk(m, p, layer);
	case 5:
		return rwkv5_chunk(m, p, layer);
	case 6:
		return rwkv6_chunk(m, p, layer);
	}
	return rwkv7_chunk(m, p, layer);
}

rwkvk_status chunk_steps(struct rwkvk_model *m, struct pass *p)
{
	TRY(chunk_embed(m, p));
	for (uint32_t i = 0; i < model_config(m)->layers; i++)
		TRY(chunk_layer(m, p, i));
	return gpu_pipelines_compile(m->gpu);
}
