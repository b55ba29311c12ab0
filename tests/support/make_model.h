/* Small models with random weights, of any version and shape: RWKV-7 as GGUF files, the others, and models with a trained start
 * state, as safetensors. */
#ifndef RWKVK_TEST_MAKE_MODEL_H
#define RWKVK_TEST_MAKE_MODEL_H

#include "format/weights.h"

struct model_spec {
	const char *name;
	uint32_t version; /* as in struct config; 0: 70 */
	uint32_t layers, width, head_size, ffn, vocab;
	uint32_t rank_decay, rank_iclr, rank_gate, rank_value, rank_mix;
	enum dtype type; /* of the matrices */
	enum dtype lora_type;
	bool no_embedding_norm, output_bias, head_bias;
	bool pre;        /* RWKV-4: ffnPre in layer 0 */
	bool time_state; /* blocks.i.att.time_state: a trained start state; 5 on */
	uint32_t listed; /* GGUF: tokens of the file's own World vocabulary, of which 98 is "b"; 0: it has none */
	uint64_t seed;
};

/* What a model of this kind consists of, under official names, in official shapes: calls `each` for every tensor. */
struct model_tensor {
	char name[96];
	enum dtype type;
	uint64_t shape[3];    /* outermost first, [1,rows,columns] but for time_maa_w2 and time_state */
	float middle, spread; /* of the random values */
};
typedef void model_tensor_fn(void *user, const struct model_tensor *tensor);
void model_tensors(const struct model_spec *spec, model_tensor_fn *each, void *user);

/* Writes the model; fails the running test when it cannot. */
void make_model(const char *path, const struct model_spec *spec);

#endif
