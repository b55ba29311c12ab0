/* RWKV-4: four stages a layer; seven of a chunk.  Its state is three numbers per channel, so one stage has the products and
 * the whole recurrence of a token. */
#include "base/numbers.h"
#include "engine/plan.h"

static rwkvk_status plan_att_wkv(struct rwkvk_model *m, uint32_t layer)
{
	struct device_matrix *products = &m->layers[layer].products;
	uint32_t channels = products->matrix.rows / products->matrix.part_count, passes = passes_for(&m->plan.tuning, channels);
	for (uint32_t i = 0; i < products->count; i++) {
		struct dispatch d;
		dispatch_init(m, layer, "att_wkv4", "att_wkv", &d);
		dispatch_slice(&d, products, i);
		d.constants[SPEC_PASSES] = passes;
		channels = (d.push[PUSH_ROW_END] - d.push[PUSH_ROW_BEGIN]) / products->matrix.part_count; /* of this slice */
		d.groups.x = groups_for(&m->plan.tuning, channels, passes);
		d.bytes += 2 * sizeof(float) * 3 * (uint64_t)channels;
		TRY(plan_step(m, &d));
	}
	return RWKVK_OK;
}

rwkvk_status rwkv4_plan(struct rwkvk_model *m, uint32_t layer)
{
	struct device_layer *l = &m->layers[layer];
	if (l->pre.key.count) {
		TRY(plan_ffn(m, layer, &l->pre, true));
	} else {
		TRY(plan_att_wkv(m, layer));
		TRY(plan_att_out(m, layer, FLAG_SHIFT));
	}
	return plan_ffn(m, layer, &l->ffn, false);
}

static rwkvk_status chunk_wkv4(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	const uint32_t width = model_config(m)->width;
	struct dispatch d;
	chunk_dispatch(m, p, layer, "chunk_wkv4", "chunk wkv", &d);
	d.groups = (struct gpu_groups){ ceil_div(width, d.constants[0]), p->runs };
	d.bytes = 2 * sizeof(float) * 3 * (uint64_t)width;
	return chunk_step(m, p, &d);
}

rwkvk_status rwkv4_chunk(struct rwkvk_model *m, struct pass *p, uint32_t layer)
{
	struct device_layer *l = &m->layers[layer];
	if (l->pre.key.count) {
		TRY(chunk_ffn(m, p, layer, &l->pre, true));
	} else {
		TRY(chunk_shift(m, p, layer, "chunk att_shift", 0, MIX_BIT(VEC_MIX_R) | MIX_BIT(VEC_MIX_K) | MIX_BIT(VEC_MIX_V)));
		TRY(chunk_products(m, p, layer, 0));
		TRY(chunk_wkv4(m, p, layer));
		TRY(chunk_output(m, p, layer));
	}
	return chunk_ffn(m, p, layer, &l->ffn, false);
}
