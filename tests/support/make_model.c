#include "make_model.h"

#include <math.h>
#include <stdio.h>

#include "support.h"

/* A tensor of values around `middle`, spread by `spread`. */
static void put(struct gguf_writer *w, uint64_t *random, const char *name, enum dtype type, uint64_t rows, uint64_t columns,
                float middle, float spread)
{
	uint64_t shape[2] = { rows, columns }, count = (rows ? rows : 1) * columns;
	float *data = malloc(count * sizeof *data);
	for (uint64_t i = 0; i < count; i++)
		data[i] = middle + spread * test_uniform(random);
	gguf_put_tensor(w, name, type, rows ? 2 : 1, rows ? shape : shape + 1, data);
	free(data);
}

static void put_layer(struct gguf_writer *w, const struct model_spec *s, uint32_t index, uint64_t *random)
{
	const uint32_t C = s->width, F = s->ffn;
	/* Inputs of a matrix have size about 1, so sums of C products with these spreads stay there. */
	const float square = 1.7f / sqrtf((float)C), lora_in = 1.2f / sqrtf((float)C);
	char name[96];
#define NAME(suffix)                          (snprintf(name, sizeof name, "blk.%u." suffix, index), name)
#define VECTOR(suffix, middle, spread)        put(w, random, NAME(suffix), DTYPE_F32, 0, C, middle, spread)
#define MATRIX(suffix, rows, columns, spread) put(w, random, NAME(suffix), s->type, rows, columns, 0, spread)
#define LORA(letter, rank)                                                                                                     \
	do {                                                                                                                       \
		put(w, random, NAME("time_mix_" letter "1.weight"), s->lora_type, rank, C, 0, lora_in);                                \
		put(w, random, NAME("time_mix_" letter "2.weight"), s->lora_type, C, rank, 0, 1.2f / sqrtf((float)(rank)));            \
	} while (0)
	VECTOR("attn_norm.weight", 1, 0.3f);
	VECTOR("attn_norm.bias", 0, 0.1f);
	VECTOR("attn_norm_2.weight", 1, 0.3f);
	VECTOR("attn_norm_2.bias", 0, 0.1f);
	uint64_t fused[4] = { 6, 1, 1, C };
	float *mix = malloc(6 * C * sizeof *mix);
	for (uint32_t i = 0; i < 6 * C; i++)
		mix[i] = 0.5f + 0.6f * test_uniform(random);
	gguf_put_tensor(w, NAME("time_mix_lerp_fused.weight"), DTYPE_F32, 4, fused, mix);
	free(mix);
	VECTOR("time_mix_w0.weight", -1, 3);
	VECTOR("time_mix_a0.weight", 0, 1);
	LORA("w", s->rank_decay);
	LORA("a", s->rank_iclr);
	LORA("g", s->rank_gate);
	if (index > 0) {
		VECTOR("time_mix_v0.weight", 0.5f, 1);
		LORA("v", s->rank_value);
	}
	VECTOR("time_mix_k_k.weight", 0.7f, 0.3f);
	VECTOR("time_mix_k_a.weight", 1, 0.3f);
	VECTOR("time_mix_r_k.weight", 0, 0.3f);
	VECTOR("time_mix_ln.weight", 1, 0.3f);
	VECTOR("time_mix_ln.bias", 0, 0.1f);
	MATRIX("time_mix_receptance.weight", C, C, square);
	MATRIX("time_mix_key.weight", C, C, square);
	MATRIX("time_mix_value.weight", C, C, square);
	MATRIX("time_mix_output.weight", C, C, square);
	if (s->output_bias)
		VECTOR("time_mix_output.bias", 0, 1);
	VECTOR("channel_mix_lerp_k.weight", 0.5f, 0.6f);
	MATRIX("channel_mix_key.weight", F, C, square);
	MATRIX("channel_mix_value.weight", C, F, 1.7f / sqrtf((float)F));
#undef NAME
#undef VECTOR
#undef MATRIX
#undef LORA
}

void make_model(const char *path, const struct model_spec *s)
{
	uint64_t random = s->seed;
	struct gguf_writer *w = gguf_writer_create();
	assert_non_null(w);
	gguf_put_string(w, "general.architecture", "rwkv7");
	gguf_put_string(w, "general.name", s->name ? s->name : "test");
	gguf_put_u32(w, "rwkv7.wkv.head_size", s->head_size);
	gguf_put_u32(w, "rwkv7.block_count", s->layers);
	gguf_put_u32(w, "rwkv7.embedding_length", s->width);
	gguf_put_f32(w, "rwkv7.attention.layer_norm_epsilon", 1e-5f);
	put(w, &random, "token_embd.weight", s->type, s->vocab, s->width, 0, 1);
	if (!s->no_embedding_norm) {
		put(w, &random, "token_embd_norm.weight", DTYPE_F32, 0, s->width, 1, 0.3f);
		put(w, &random, "token_embd_norm.bias", DTYPE_F32, 0, s->width, 0, 0.1f);
	}
	for (uint32_t i = 0; i < s->layers; i++)
		put_layer(w, s, i, &random);
	put(w, &random, "output_norm.weight", DTYPE_F32, 0, s->width, 1, 0.3f);
	put(w, &random, "output_norm.bias", DTYPE_F32, 0, s->width, 0, 0.1f);
	put(w, &random, "output.weight", s->type, s->vocab, s->width, 0, 1.7f / sqrtf((float)s->width));
	if (s->head_bias)
		put(w, &random, "output.bias", DTYPE_F32, 0, s->vocab, 0, 1);
	assert_ok(gguf_writer_finish(w, path));
}
