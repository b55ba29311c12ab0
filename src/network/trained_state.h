/* Trained start states: the tensors blocks.i.att.time_state, in their own file or in a model's, and a model's state. */
#ifndef RWKVK_NETWORK_TRAINED_STATE_H
#define RWKVK_NETWORK_TRAINED_STATE_H

#include "network/network.h"

/* Whether this is such a tensor, and whether the file has any. */
bool is_trained_state(const struct tensor *tensor);
bool has_trained_state(const struct weights *weights);

/* Sizes from those tensors: layers, heads, head_size, width, state_width; the version, which they do not show, is 0. */
rwkvk_status trained_state_sizes(const struct weights *weights, struct config *out);

/* The state before the first token, canonical, [config_state_floats()]: the trained matrices, and shifts of zero.  Every layer
 * must have one of the model's shape, of finite numbers; RWKV-4 has no matrix to train.  `state` may be changed on failure. */
rwkvk_status trained_state(const struct weights *weights, const struct config *config, float *state);

/* Writes the matrices of a state as safetensors of F32 in the official orientation; its shifts are dropped. */
rwkvk_status trained_state_write(const char *path, const struct config *config, const float *state);

#endif
