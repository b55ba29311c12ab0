/* The stages of each version, and their reference in plain C. */
#ifndef RWKVK_NETWORK_REFERENCE_H
#define RWKVK_NETWORK_REFERENCE_H

#include "network/outline.h"

/* A stage as tests and verification see it: its reference, and the vectors of the activation buffer that it reads and writes
 * (NULL-terminated). */
struct reference;
struct stage {
	const char *name;
	void (*reference)(const struct reference *ref, uint32_t layer, float *state, float *act);
	const char *reads[10], *writes[10];
	const char *chunk[4]; /* the stages of a chunk that together do the same for all of its rows */
};
enum { MAX_STAGES = 7, MAX_REGIONS = 32 };
/* The stages of layer `index` in order; returns how many. */
uint32_t layer_stages(const struct network *network, uint32_t index, struct stage out[MAX_STAGES]);

/* A vector of the activation buffer. */
struct region {
	const char *name;
	uint32_t at, count;
};
uint32_t act_regions(const struct config *config, struct region out[MAX_REGIONS]);
/* A vector of a row's record in a chunk (ROW_*); equal names mean the same vector. */
uint32_t row_regions(const struct config *config, struct region out[MAX_REGIONS]);

/* The stages in plain C on the file's tensors.  `act` is laid out like the device's activation buffer, `state` is one layer's
 * slot (STATE_*).  Each reads and writes exactly what its shader does. */
struct reference {
	const struct network *network;
	rwkvk_quant quant; /* weights are rounded as the loader would */
	uint32_t stride;   /* floats of a line of `work`: the longest vector */
	float *work;       /* [REFERENCE_LINES][stride], so a reference serves one thread */
};
enum { REFERENCE_LINES = 14 };
/* Sums are in double, so that a comparison shows the other side's rounding. */
rwkvk_status reference_init(struct reference *ref, const struct network *network, rwkvk_quant quant);
void reference_finish(struct reference *ref);
void reference_select(const struct reference *ref, uint32_t token, float *act);
void reference_att_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_mix_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_mix(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_att_wkv4(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_wkv5(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_wkv7(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_att_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_pre_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_pre_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_ffn_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_ffn_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_head(const struct reference *ref, const float *act, float *logits);
/* The helpers of reference.c that reference_att.c uses.  Lines 0 to 2 of the workspace are theirs, a stage's own start at 3. */
float *reference_line(const struct reference *ref, unsigned i);
const float *reference_vector(const struct reference *ref, unsigned i, uint32_t layer, uint32_t vec);
void reference_matvec(const struct reference *ref, struct matrix_source source, uint32_t rows, uint32_t columns, const float *x,
                      float *out); /* uses line 0 */
void reference_part(const struct reference *ref, const struct matrix *matrix, uint32_t part, const float *x, float *out);
void reference_norm(const float *x, const float *w, const float *b, uint32_t n, float *out);
void reference_shift(const float *n, const float *before, const float *mix, uint32_t count, float *out);
/* y = GroupNorm(y; ln_x) of one head; uses lines 1 and 2. */
void reference_group_norm(const struct reference *ref, uint32_t layer, uint32_t head, float *y);
/* A stage over consecutive tokens, as in a chunk: acts is [rows][config_act_floats()], `run` does the stage for one token, and
 * `state` becomes the state after the last. */
typedef void row_fn(void *user, float *state, float *act);
void reference_rows(const struct reference *ref, uint32_t rows, float *state, float *acts, row_fn *run, void *user);
/* Turns the state after a stage into the state after the chunk's equivalent stages.  They differ in RWKV-4: in a chunk, wkv
 * moves n1 into the state; for one token att_out does, since all workgroups of att_wkv read the value that it replaces.
 * before: the state from before the stage; act: of the last token. */
void reference_chunk_state(const struct config *config, const struct stage *stage, const float *before, const float *act,
                           float *state);
/* Multiply-adds per weight of this tensor in a product of matrix and vector: adapters are merged each time. */
uint64_t reference_effort(const struct tensor *tensor);
/* A fresh state, and a whole token: states is [L][config_slot_floats()]; logits may be NULL. */
void reference_start(const struct reference *ref, float *states);
void reference_token(const struct reference *ref, uint32_t token, float *states, float *act, float *logits);

#endif
