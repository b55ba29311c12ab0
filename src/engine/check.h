/* The device's part of verification: single stages on given numbers.  With the model's lock held. */
#ifndef RWKVK_ENGINE_CHECK_H
#define RWKVK_ENGINE_CHECK_H

#include "base/parallel.h"
#include "engine/engine.h"

/* A stage of a layer (the head's: layer L), for a slot.  act: [config_act_floats()], of which those from ACT_X on go to the
 * device and come back; state: the layer's, [config_slot_floats()], likewise unless it is NULL. */
rwkvk_status check_stage(struct rwkvk_model *model, uint32_t slot, uint32_t layer, const char *stage, float *act, float *state);
/* Rows of the longest chunk; 0: the model reads prompts token by token. */
uint32_t check_chunk_rows(const struct rwkvk_model *model);
/* Stages of a chunk of `count` tokens of a slot, one after the other.  names: NULL-terminated; records: [count]
 * [config_row_floats()], which go to the device and come back; state: as above.  The embedding belongs to layer L. */
rwkvk_status check_chunk(struct rwkvk_model *model, uint32_t slot, uint32_t layer, const char *const *names,
                         const uint32_t *tokens, uint32_t count, float *records, float *state);
/* The stage that begins a token. */
rwkvk_status check_select(struct rwkvk_model *model, uint32_t slot, uint32_t token, float *act);
/* forward.c: the first token that forward_pick() would pick, and nothing is fed. */
rwkvk_status forward_select(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint32_t *token,
                            bool *is_close);
/* Whether the device quantises while models load; and its blocks for a small matrix of one part: the plane of weights, then
 * the data beside it. */
bool check_quantises(const struct rwkvk_model *model);
rwkvk_status check_quantise(struct rwkvk_model *model, struct parallel *parallel, const struct matrix *matrix, uint8_t *out);

#endif
