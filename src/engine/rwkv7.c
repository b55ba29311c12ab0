/* RWKV-7: five stages a layer. */
#include "engine/plan.h"

/* The state, head by head. */
static rwkvk_status plan_wkv7(struct rwkvk_model *m, uint32_t layer)
{
	const struct config *c = &m->file.network.config;
	struct dispatch d;
	dispatch_init(m, layer, "wkv7", "wkv", &d);
	dispatch_lora(&d, &m->layers[layer].lora_out);
	d.groups = c->heads;
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
