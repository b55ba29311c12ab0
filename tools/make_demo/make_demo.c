/* make_demo MODEL.safetensors VOCAB.txt OUT.gguf
 *
 * Turns the demonstration model into the 8-bit GGUF file that is embedded in the program: the names, orientations and keys
 * that llama.cpp's converter writes for RWKV-7, matrices as Q8_0, vectors as F32, the vocabulary as Python-escaped literals,
 * and how to sample. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf_writer.h"
#include "format/readers.h"
#include "text/tokenizer.h"

struct demo {
	struct weights in;
	struct gguf_writer *out;
	rwkvk_tokenizer *tokenizer;
	uint64_t vocab, width, ffn_width, head_size, layers;
};

enum kind { MATRIX, LORA, VECTOR };

/* Below blocks.N. and blk.N. */
static const struct part {
	const char *official, *gguf;
	enum kind kind;
} parts[] = {
	{ "ln1.weight", "attn_norm.weight", VECTOR },
	{ "ln1.bias", "attn_norm.bias", VECTOR },
	{ "ln2.weight", "attn_norm_2.weight", VECTOR },
	{ "ln2.bias", "attn_norm_2.bias", VECTOR },
	{ "att.w0", "time_mix_w0.weight", VECTOR },
	{ "att.w1", "time_mix_w1.weight", LORA },
	{ "att.w2", "time_mix_w2.weight", LORA },
	{ "att.a0", "time_mix_a0.weight", VECTOR },
	{ "att.a1", "time_mix_a1.weight", LORA },
	{ "att.a2", "time_mix_a2.weight", LORA },
	{ "att.v0", "time_mix_v0.weight", VECTOR },
	{ "att.v1", "time_mix_v1.weight", LORA },
	{ "att.v2", "time_mix_v2.weight", LORA },
	{ "att.g1", "time_mix_g1.weight", LORA },
	{ "att.g2", "time_mix_g2.weight", LORA },
	{ "att.k_k", "time_mix_k_k.weight", VECTOR },
	{ "att.k_a", "time_mix_k_a.weight", VECTOR },
	{ "att.r_k", "time_mix_r_k.weight", VECTOR },
	{ "att.receptance.weight", "time_mix_receptance.weight", MATRIX },
	{ "att.key.weight", "time_mix_key.weight", MATRIX },
	{ "att.value.weight", "time_mix_value.weight", MATRIX },
	{ "att.output.weight", "time_mix_output.weight", MATRIX },
	{ "att.ln_x.weight", "time_mix_ln.weight", VECTOR },
	{ "att.ln_x.bias", "time_mix_ln.bias", VECTOR },
	{ "ffn.x_k", "channel_mix_lerp_k.weight", VECTOR },
	{ "ffn.key.weight", "channel_mix_key.weight", MATRIX },
	{ "ffn.value.weight", "channel_mix_value.weight", MATRIX },
};

static _Noreturn void die(const char *format, ...) PRINTF_LIKE(1, 2);
static _Noreturn void die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fputs("make_demo: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void *allocate(uint64_t bytes)
{
	void *memory = malloc(bytes ? bytes : 1);
	if (!memory)
		die("no memory for %llu bytes", (unsigned long long)bytes);
	return memory;
}

static const struct tensor *need(const struct demo *demo, const char *name)
{
	const struct tensor *tensor = weights_find(&demo->in, name);
	if (!tensor)
		die("%s: no tensor %s", demo->in.path, name);
	return tensor;
}

static uint64_t elements(const struct tensor *tensor)
{
	uint64_t count = 1;
	for (uint32_t i = 0; i < tensor->rank; i++)
		count *= tensor->shape[i];
	return count;
}

static float *floats(const struct tensor *tensor)
{
	float *values = allocate(elements(tensor) * sizeof *values);
	dtype_to_float(tensor->type, tensor->data, 0, elements(tensor), values);
	return values;
}

/* Low-rank factors are [in,out] in official files and [out,in] in GGUF. */
static float *transposed(const struct tensor *tensor)
{
	float *from = floats(tensor), *to = allocate(elements(tensor) * sizeof *to);
	uint64_t rows = tensor->shape[0], columns = tensor->shape[1];
	for (uint64_t i = 0; i < rows; i++)
		for (uint64_t j = 0; j < columns; j++)
			to[j * rows + i] = from[i * columns + j];
	free(from);
	return to;
}

static void copy(struct demo *demo, const char *official, const char *gguf, enum kind kind)
{
	const struct tensor *tensor = need(demo, official);
	uint64_t shape[2] = { tensor->shape[0], tensor->shape[1] }, flat = elements(tensor);
	if (kind != VECTOR && tensor->rank != 2)
		die("%s: expected %s to be a matrix, found shape %s", demo->in.path, official,
		    show_shape(tensor->rank, tensor->shape).text);
	float *values = kind == LORA ? transposed(tensor) : floats(tensor);
	if (kind == VECTOR)
		gguf_put_tensor(demo->out, gguf, DTYPE_F32, 1, &flat, values);
	else if (kind == MATRIX)
		gguf_put_tensor(demo->out, gguf, DTYPE_Q8_0, 2, shape, values);
	else /* F16 would make the file 0.3 MB larger and the logits no better */
		gguf_put_tensor(demo->out, gguf, DTYPE_Q8_0, 2, (uint64_t[]){ shape[1], shape[0] }, values);
	free(values);
}

static void put_mixes(struct demo *demo, uint64_t layer)
{
	float *rows = allocate(6 * demo->width * sizeof *rows);
	char name[64];
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof name, "blocks.%llu.att.x_%c", (unsigned long long)layer, "rwkvag"[i]);
		const struct tensor *mix = need(demo, name);
		if (elements(mix) != demo->width)
			die("%s: %s has the shape %s", demo->in.path, name, show_shape(mix->rank, mix->shape).text);
		dtype_to_float(mix->type, mix->data, 0, demo->width, rows + (uint64_t)i * demo->width);
	}
	snprintf(name, sizeof name, "blk.%llu.time_mix_lerp_fused.weight", (unsigned long long)layer);
	gguf_put_tensor(demo->out, name, DTYPE_F32, 4, (uint64_t[]){ 6, 1, 1, demo->width }, rows);
	free(rows);
}

static void put_layer(struct demo *demo, uint64_t layer)
{
	put_mixes(demo, layer);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		char official[64], gguf[64], base[32];
		snprintf(base, sizeof base, "%s", parts[i].official);
		/* llama.cpp expects v0, v1, v2 in layer 0 too; its converter puts a0, a1, a2 there */
		if (layer == 0 && strncmp(base, "att.v", 5) == 0 && strlen(base) == 6)
			base[4] = 'a';
		snprintf(official, sizeof official, "blocks.%llu.%s", (unsigned long long)layer, base);
		snprintf(gguf, sizeof gguf, "blk.%llu.%s", (unsigned long long)layer, parts[i].gguf);
		copy(demo, official, gguf, parts[i].kind);
	}
}

static void put_tensors(struct demo *demo)
{
	copy(demo, "emb.weight", "token_embd.weight", MATRIX);
	copy(demo, "blocks.0.ln0.weight", "token_embd_norm.weight", VECTOR);
	copy(demo, "blocks.0.ln0.bias", "token_embd_norm.bias", VECTOR);
	for (uint64_t layer = 0; layer < demo->layers; layer++)
		put_layer(demo, layer);
	copy(demo, "ln_out.weight", "output_norm.weight", VECTOR);
	copy(demo, "ln_out.bias", "output_norm.bias", VECTOR);
	copy(demo, "head.weight", "output.weight", MATRIX);
}

static void put_vocabulary(struct demo *demo)
{
	if (tokenizer_size(demo->tokenizer) > demo->vocab)
		die("the vocabulary has the id %u, but the model has %llu rows", tokenizer_size(demo->tokenizer) - 1,
		    (unsigned long long)demo->vocab);
	if (tokenizer_put_gguf(demo->tokenizer, (uint32_t)demo->vocab, demo->out) != RWKVK_OK)
		die("%s", rwkvk_last_error());
	gguf_put_bool(demo->out, "tokenizer.ggml.add_bos_token", true);
}

static void put_keys(struct demo *demo)
{
	struct gguf_writer *out = demo->out;
	gguf_put_string(out, "general.architecture", "rwkv7");
	gguf_put_string(out, "general.type", "model");
	gguf_put_string(out, "general.name", "rwkvk story demo");
	gguf_put_string(out, "general.license", "MIT");
	gguf_put_string(out, "general.description",
	                "Continues short children's stories in simple English. Begin with token 0; token 0 ends a story.");
	gguf_put_u32(out, "general.file_type", 7); /* mostly Q8_0 */
	gguf_put_u32(out, "general.quantization_version", 2);
	gguf_put_u32(out, "rwkv7.context_length", 1048576);
	gguf_put_u32(out, "rwkv7.embedding_length", (uint32_t)demo->width);
	gguf_put_u32(out, "rwkv7.block_count", (uint32_t)demo->layers);
	gguf_put_u32(out, "rwkv7.feed_forward_length", (uint32_t)demo->ffn_width);
	gguf_put_u32(out, "rwkv7.attention.head_count", 0);
	gguf_put_f32(out, "rwkv7.attention.layer_norm_epsilon", 1e-5f);
	gguf_put_u32(out, "rwkv7.wkv.head_size", (uint32_t)demo->head_size);
	gguf_put_u32(out, "rwkv7.attention.decay_lora_rank", (uint32_t)need(demo, "blocks.1.att.w1")->shape[1]);
	gguf_put_u32(out, "rwkv7.attention.iclr_lora_rank", (uint32_t)need(demo, "blocks.1.att.a1")->shape[1]);
	gguf_put_u32(out, "rwkv7.attention.value_residual_mix_lora_rank", (uint32_t)need(demo, "blocks.1.att.v1")->shape[1]);
	gguf_put_u32(out, "rwkv7.attention.gate_lora_rank", (uint32_t)need(demo, "blocks.1.att.g1")->shape[1]);
	gguf_put_f32(out, "general.sampling.temp", 0.65f);
	gguf_put_f32(out, "general.sampling.top_p", 0.9f);
	gguf_put_f32(out, "general.sampling.presence", 0);
	gguf_put_f32(out, "general.sampling.frequency", 0);
	gguf_put_f32(out, "general.sampling.decay", 0.996f);
}

static void measure(struct demo *demo)
{
	demo->vocab = need(demo, "emb.weight")->shape[0];
	demo->width = need(demo, "emb.weight")->shape[1];
	demo->ffn_width = need(demo, "blocks.0.ffn.key.weight")->shape[0];
	demo->head_size = need(demo, "blocks.0.att.r_k")->shape[1];
	char name[64];
	do
		snprintf(name, sizeof name, "blocks.%llu.ln1.weight", (unsigned long long)++demo->layers);
	while (weights_find(&demo->in, name));
}

int main(int argc, char **argv)
{
	struct demo demo = { .out = gguf_writer_create() };
	if (argc != 4) {
		fputs("usage: make_demo MODEL.safetensors VOCAB.txt OUT.gguf\n", stderr);
		return 2;
	}
	if (weights_open(argv[1], NULL, 0, NULL, &demo.in) != RWKVK_OK ||
	    rwkvk_tokenizer_open(argv[2], &demo.tokenizer) != RWKVK_OK)
		die("%s", rwkvk_last_error());
	measure(&demo);
	put_keys(&demo);
	put_vocabulary(&demo);
	put_tensors(&demo);
	if (gguf_writer_finish(demo.out, argv[3]) != RWKVK_OK)
		die("%s", rwkvk_last_error());
	rwkvk_tokenizer_close(demo.tokenizer);
	weights_close(&demo.in);
	return 0;
}
