/* RWKV-5.0, 5.1 and 5.2: five stages a layer; seven of a chunk.  They differ in whether there is a gate and in whether decay
 * and bonus are numbers a head or a channel, and neither is visible here: a gate is a fourth product, and vectors.c spreads
 * numbers a head.
 */
#include "engine/plan.h"

static uint32_t wkv_flags(const struct device_layer *l)
{
	return (l->products.matrix.part_count > 3 ? FLAG_GATE : 0) | (l->lora_out.lora.count ? FLAG_DECAY_LORA : 0);
}

/* The state, head by head; RWKV-6's too. */
rwkvk_status plan_wkv5(struct rwkvk_model *m, uint32_t layer)
{
	const struct config *c = &m->file.network.config;
	struct device_layer *l = &m->layers[layer];
	struct dispatch d;
	dispatch_init(m, layer, "wkv5", "wkv", &d);
	dispatch_lora(&d, &l->lora_out);
	d.constants[SPEC_FLAGS] = wkv_flags(l);
	while (4 * d.constants[0] < c->head_size) /* a thread has four channels */
		d.constants[0] *= 2;
	d.constants[SPEC_WORKGROUP] = d.constants[0];
	d.groups.x = c->heads;
	d.bytes += 2 * sizeof(float) * (uint64_t)c->width * c->head_size;
	return plan_step(m, &d);
}

rwkvk_status rwkv5_plan(struct rwkvk_model *m, uint32_t layer)
{
	TRY(plan_att_in(m, layer, 0));
	TRY(plan_wkv5(m, layer));
	TRY(plan_att_out(m, layer, 0));
	return plan_ffn(m, layer, &m->layers[layer].ffn, false);
}

rwkvk_status chunk_wkv5(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	struct dispatch d;
	chunk_state(m, p, layer, "chunk_wkv5", &d);
	d.constants[SPEC_FLAGS] = wkv_flags(&m->layers[layer]);
	return chunk_step(m, p, &d);
}

rwkvk_status rwkv5_chunk(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	bool gate = wkv_flags(&m->layers[layer]) & FLAG_GATE;
	TRY(chunk_shift(m, p, layer, "chunk att_shift", 0,
	                MIX_BIT(VEC_MIX_R) | MIX_BIT(VEC_MIX_K) | MIX_BIT(VEC_MIX_V) | (gate ? MIX_BIT(VEC_MIX_G) : 0)));
	TRY(chunk_products(m, p, layer, 0));
	TRY(chunk_wkv5(m, p, layer));
	TRY(chunk_output(m, p, layer));
	return chunk_ffn(m, p, layer, &m->layers[layer].ffn, false);
}
