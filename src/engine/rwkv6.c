/* RWKV-6: seven stages a layer; ten of a chunk.  The weights of its token shift depend on the token, through their own LoRA,
 * so two stages come before the products. */
#include "engine/plan.h"

/* The five hidden vectors of token shift: a matrix whose rows are all treated alike, by the shader of att_in. */
static rwkvk_status plan_mix_in(struct rwkvk_model *m, uint32_t layer)
{
	struct device_matrix *mix_in = &m->layers[layer].mix_in;
	struct dispatch d;
	dispatch_init(m, layer, "att_in", "mix_in", &d);
	dispatch_second(&d, mix_in, 0);
	d.constants[SPEC_PASSES] = passes_for(&m->plan.tuning, mix_in->matrix.rows);
	d.constants[SPEC_FLAGS] = FLAG_MIX_IN;
	d.groups.x = groups_for(&m->plan.tuning, mix_in->matrix.rows, d.constants[SPEC_PASSES]);
	return plan_step(m, &d);
}

/* The inputs of the products from the hidden vectors of mix_in. */
static rwkvk_status plan_mix(struct rwkvk_model *m, uint32_t layer)
{
	struct dispatch d;
	dispatch_init(m, layer, "mix", "mix", &d);
	dispatch_lora(&d, &m->layers[layer].mix_out);
	d.groups.x = m->file.network.config.heads;
	return plan_step(m, &d);
}

rwkvk_status rwkv6_plan(struct rwkvk_model *m, uint32_t layer)
{
	TRY(plan_mix_in(m, layer));
	TRY(plan_mix(m, layer));
	TRY(plan_att_in(m, layer, FLAG_MIXED));
	TRY(plan_wkv5(m, layer));
	TRY(plan_att_out(m, layer, 0));
	return plan_ffn(m, layer, &m->layers[layer].ffn, false);
}

/* The weights of the token shift of a chunk's rows, and the shift. */
static rwkvk_status chunk_mix(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	struct device_matrix *mix_in = &m->layers[layer].mix_in;
	struct dispatch d;
	TRY(chunk_shift(m, p, layer, "chunk mix_shift", 0, MIX_BIT(VEC_MIX_X)));
	chunk_tile_dispatch(m, p, layer, "chunk_matrix", "chunk mix_in", &d);
	dispatch_second(&d, mix_in, 0);
	d.constants[SPEC_FLAGS] = FLAG_MIX_IN;
	d.groups = chunk_tiles(p, mix_in->matrix.rows);
	TRY(chunk_step(m, p, &d));
	chunk_heads(m, p, layer, "chunk_mix", "chunk mix", &m->layers[layer].mix_out, &d);
	return chunk_step(m, p, &d);
}

rwkvk_status rwkv6_chunk(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	struct dispatch d;
	TRY(chunk_mix(m, p, layer));
	TRY(chunk_products(m, p, layer, 0));
	chunk_heads(m, p, layer, "chunk_wkv5_in", "chunk wkv_in", &m->layers[layer].lora_out, &d);
	TRY(chunk_step(m, p, &d));
	TRY(chunk_wkv5(m, p, layer));
	TRY(chunk_output(m, p, layer));
	return chunk_ffn(m, p, layer, &m->layers[layer].ffn, false);
}
