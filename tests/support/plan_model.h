/* The plan of a model of any version and size, without its weights: pipelines and steps, no buffers.  For everything that can
 * be known without running it: what compilers make of the shaders, how many dispatches a token takes, how many bytes it reads.
 * Works on devices that have no memory at all. */
#ifndef RWKVK_TEST_PLAN_MODEL_H
#define RWKVK_TEST_PLAN_MODEL_H

#include "make_model.h"
#include "engine/plan.h"

/* Sizes of official models, one or more of each version. */
enum official {
	OFFICIAL_4_169M,
	OFFICIAL_4_14B,
	OFFICIAL_50_169M,
	OFFICIAL_51_1B5,
	OFFICIAL_52_3B,
	OFFICIAL_60_1B6,
	OFFICIAL_60_7B,
	OFFICIAL_70_0B1,
	OFFICIAL_70_1B5,
	OFFICIAL_70_7B,
	OFFICIALS
};
extern const struct model_spec official_models[OFFICIALS];

/* Everything up to forward_steps(); buffers have a size but no memory.  Matrices have the slices that the device
 * needs.  Free with unplan_model(), also after a failure. */
rwkvk_status plan_model(struct gpu *gpu, const struct model_spec *spec, rwkvk_quant quant, struct rwkvk_model *out);
/* The pipelines of rows as well, unless the device has none: m->chunk's steps. */
rwkvk_status plan_chunks(struct rwkvk_model *m);
/* Those of a pass of few rows, after plan_chunks().  Drop its steps. */
rwkvk_status plan_few(struct rwkvk_model *m, uint32_t rows, struct pass *out);
void unplan_model(struct rwkvk_model *m);

#endif
