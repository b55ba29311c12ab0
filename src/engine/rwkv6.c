/* RWKV-6: seven stages a layer.  The weights of its token shift depend on the token, through a LoRA of their own, so two stages
 * come before the products. */
#include "engine/model.h"

/* The inputs of the products from the hidden vectors of mix_in. */
static rwkvk_status plan_mix(struct rwkvk_model *m, uint32_t layer)
{
	struct dispatch d;
	dispatch_init(m, layer, "mix", "mix", &d);
	dispatch_lora(&d, &m->layers[layer].mix_out);
	d.groups = m->file.network.config.heads;
	return plan_step(m, &d);
}

rwkvk_status rwkv6_plan(struct rwkvk_model *m, uint32_t layer)
{
	struct device_layer *l = &m->layers[layer];
	struct device_matrix none = { 0 }, mix_in = l->mix_in;
	mix_in.matrix.part_count = 1; /* five factors whose rows are all treated alike: one of as many rows, in the decay's place */
	mix_in.matrix.parts[0].rows = mix_in.matrix.rows;
	TRY(plan_att_in(m, layer, "mix_in", &none, &mix_in, 0));
	TRY(plan_mix(m, layer));
	TRY(plan_att_in(m, layer, "att_in", &l->products, &l->lora_in, FLAG_MIXED));
	TRY(plan_wkv5(m, layer));
	TRY(plan_att_out(m, layer, 0));
	return plan_ffn(m, layer, &l->ffn, false);
}
