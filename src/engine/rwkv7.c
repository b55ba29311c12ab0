/* RWKV-7: five stages a layer; eight of a chunk. */
#include "engine/plan.h"

/* The state, head by head. */
static rwkvk_status plan_wkv7(struct rwkvk_model *m, uint32_t layer)
{
	const struct config *c = &m->file.network.config;
	struct dispatch d;
	dispatch_init(m, layer, "wkv7", "wkv", &d);
	dispatch_lora(&d, &m->layers[layer].lora_out);
	d.groups.x = c->heads;
	d.bytes += 2 * sizeof(float) * (uint64_t)c->width * c->head_size;
	return plan_step(m, &d);
}

rwkvk_status rwkv7_plan(struct rwkvk_model *m, uint32_t layer)
{
	TRY(plan_att_in(m, layer, 0));
	TRY(plan_wkv7(m, layer));
	TRY(plan_att_out(m, layer, 0));
	return plan_ffn(m, layer, &m->layers[layer].ffn, false);
}

/* The same over the rows of a chunk: first the inputs of the state's steps, for all rows at once, then the steps in turn. */
static rwkvk_status chunk_wkv7(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	struct dispatch d;
	chunk_heads(m, p, layer, "chunk_wkv7_in", "chunk wkv_in", &m->layers[layer].lora_out, &d);
	TRY(chunk_step(m, p, &d));
	chunk_state(m, p, layer, "chunk_wkv7", &d);
	return chunk_step(m, p, &d);
}

rwkvk_status rwkv7_chunk(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	const uint32_t mixes = MIX_BIT(VEC_MIX_R) | MIX_BIT(VEC_MIX_W) | MIX_BIT(VEC_MIX_K) | MIX_BIT(VEC_MIX_V) |
	                       MIX_BIT(VEC_MIX_A) | MIX_BIT(VEC_MIX_G);
	TRY(chunk_shift(m, p, layer, "chunk att_shift", 0, mixes));
	TRY(chunk_products(m, p, layer, 0));
	TRY(chunk_wkv7(m, p, layer));
	TRY(chunk_output(m, p, layer));
	return chunk_ffn(m, p, layer, &m->layers[layer].ffn, false);
}
