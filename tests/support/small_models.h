/* A small model of each version. */
#ifndef RWKVK_TEST_SMALL_MODELS_H
#define RWKVK_TEST_SMALL_MODELS_H

#include "make_model.h"

static const struct model_spec small_models[] = {
	{ .version = 40, .layers = 3, .width = 64, .ffn = 256, .vocab = 300 },
	{ .version = 50, .layers = 3, .width = 64, .head_size = 32, .ffn = 224, .vocab = 300 },
	{ .version = 51, .layers = 3, .width = 64, .head_size = 32, .ffn = 224, .vocab = 300 },
	{ .version = 52, .layers = 3, .width = 64, .head_size = 32, .ffn = 224, .vocab = 300 },
	{ .version = 60, .layers = 3, .width = 64, .head_size = 32, .ffn = 224, .vocab = 300, .rank_decay = 16, .rank_mix = 8 },
	{ .version = 70,
	  .layers = 3,
	  .width = 64,
	  .head_size = 32,
	  .ffn = 256,
	  .vocab = 300,
	  .rank_decay = 8,
	  .rank_iclr = 8,
	  .rank_gate = 16,
	  .rank_value = 8 },
};
enum { SMALL_MODELS = sizeof small_models / sizeof *small_models, SMALL_VOCAB = 300 };

/* Writes one of them, with F16 weights; the path is valid until exit. */
static inline const char *make_small_model(const struct model_spec *from)
{
	struct model_spec spec = *from;
	const char *path = test_temp(spec.version == 70 ? "small.gguf" : "small.safetensors");
	spec.type = spec.lora_type = DTYPE_F16;
	spec.seed = spec.version;
	make_model(path, &spec);
	return path;
}

#endif
