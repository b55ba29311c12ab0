/* Small RWKV-7 models with random weights, of any shape, written as GGUF files. */
#ifndef RWKVK_TEST_MAKE_MODEL_H
#define RWKVK_TEST_MAKE_MODEL_H

#include "format/weights.h"

struct model_spec {
	const char *name;
	uint32_t layers, width, head_size, ffn, vocab;
	uint32_t rank_decay, rank_iclr, rank_gate, rank_value;
	enum dtype type; /* of the matrices */
	enum dtype lora_type;
	bool no_embedding_norm, output_bias, head_bias;
	uint64_t seed;
};

/* Writes the model; fails the running test when it cannot. */
void make_model(const char *path, const struct model_spec *spec);

#endif
