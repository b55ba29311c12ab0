/* From named tensors to a network: sizes come from shapes, never from a formula; every shape is checked once, here. */
#include "model/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

enum {
	MAX_LAYERS = 4096,
	MAX_WIDTH = 1 << 16,
	MAX_FFN = 1 << 20,
	MAX_VOCAB = 1 << 24,
	MAX_HEAD_SIZE = 256,
	MAX_RANK = 1 << 14
};

uint64_t config_state_floats(const struct config *c)
{
	return (uint64_t)c->layers * c->width * (2 + c->head_size);
}

uint32_t config_hidden(const struct config *c)
{
	return HIDDEN(c->rank_decay, c->rank_iclr, c->rank_gate, c->rank_value);
}

uint32_t config_act_floats(const struct config *c)
{
	return ACT_FLOATS(c->width, config_hidden(c), c->ffn);
}

static void print_shape(const struct tensor *tensor, char *out, size_t size)
{
	size_t at = 0;
	for (uint32_t i = 0; i < tensor->rank; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
}

static rwkvk_status wrong_shape(const struct weights *weights, const struct tensor *tensor, const char *expected)
{
	char found[96];
	print_shape(tensor, found, sizeof found);
	return fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected shape [%s], found [%s]", weights->path, tensor->file_name, expected,
	            found);
}

static rwkvk_status find(const struct weights *weights, const char *name, const struct tensor **out)
{
	*out = weights_find(weights, name);
	if (!*out)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s is missing; expected an RWKV-7 model with all of its tensors",
		            weights->path, name);
	return RWKVK_OK;
}

static rwkvk_status expect_vector(const struct weights *weights, const struct tensor *tensor, uint64_t n)
{
	uint64_t count = 1;
	for (uint32_t i = 0; i < tensor->rank; i++)
		count *= tensor->shape[i];
	if (count == n)
		return RWKVK_OK;
	char expected[32];
	snprintf(expected, sizeof expected, "%" PRIu64, n);
	return wrong_shape(weights, tensor, expected);
}

static rwkvk_status expect_matrix(const struct weights *weights, const struct tensor *tensor, uint64_t rows, uint64_t columns)
{
	if (tensor->rank == 2 && tensor->shape[0] == rows && tensor->shape[1] == columns)
		return RWKVK_OK;
	char expected[64];
	snprintf(expected, sizeof expected, "%" PRIu64 ",%" PRIu64, rows, columns);
	return wrong_shape(weights, tensor, expected);
}

/* The rank of a LoRA factor whose other dimension is C. */
static rwkvk_status lora_rank(const struct weights *weights, const struct tensor *tensor, uint32_t width, uint32_t *rank)
{
	if (tensor->rank == 2 && (tensor->shape[0] == width || tensor->shape[1] == width)) {
		uint64_t other = tensor->shape[0] == width ? tensor->shape[1] : tensor->shape[0];
		if (other <= MAX_RANK) {
			*rank = (uint32_t)other;
			return RWKVK_OK;
		}
	}
	char expected[64];
	snprintf(expected, sizeof expected, "%u,rank", width);
	return wrong_shape(weights, tensor, expected);
}

static rwkvk_status expect_lora(const struct weights *weights, const struct tensor *tensor, uint64_t width, uint64_t rank)
{
	if (tensor->rank == 2 &&
	    ((tensor->shape[0] == width && tensor->shape[1] == rank) || (tensor->shape[0] == rank && tensor->shape[1] == width)))
		return RWKVK_OK;
	char expected[64];
	snprintf(expected, sizeof expected, "%" PRIu64 ",%" PRIu64, width, rank);
	return wrong_shape(weights, tensor, expected);
}

/* What a layer consists of.  rank: which of the four, for LoRA factors. */
enum kind { VECTOR, SQUARE, FFN_KEY, FFN_VALUE, LORA_DECAY, LORA_ICLR, LORA_GATE, LORA_VALUE };
enum { ALWAYS, NOT_FIRST, OPTIONAL };

static const struct part {
	const char *name;
	size_t offset;
	enum kind kind;
	int when;
} parts[] = {
#define PART(name, field, kind, when)                                                                                          \
	{                                                                                                                          \
		name, offsetof(struct layer, field), kind, when                                                                        \
	}
	PART("ln1.weight", ln1_w, VECTOR, ALWAYS),
	PART("ln1.bias", ln1_b, VECTOR, ALWAYS),
	PART("ln2.weight", ln2_w, VECTOR, ALWAYS),
	PART("ln2.bias", ln2_b, VECTOR, ALWAYS),
	PART("att.x_r", x_r, VECTOR, ALWAYS),
	PART("att.x_w", x_w, VECTOR, ALWAYS),
	PART("att.x_k", x_k, VECTOR, ALWAYS),
	PART("att.x_v", x_v, VECTOR, ALWAYS),
	PART("att.x_a", x_a, VECTOR, ALWAYS),
	PART("att.x_g", x_g, VECTOR, ALWAYS),
	PART("att.w0", w0, VECTOR, ALWAYS),
	PART("att.w1", w1, LORA_DECAY, ALWAYS),
	PART("att.w2", w2, LORA_DECAY, ALWAYS),
	PART("att.a0", a0, VECTOR, ALWAYS),
	PART("att.a1", a1, LORA_ICLR, ALWAYS),
	PART("att.a2", a2, LORA_ICLR, ALWAYS),
	PART("att.v0", v0, VECTOR, NOT_FIRST),
	PART("att.v1", v1, LORA_VALUE, NOT_FIRST),
	PART("att.v2", v2, LORA_VALUE, NOT_FIRST),
	PART("att.g1", g1, LORA_GATE, ALWAYS),
	PART("att.g2", g2, LORA_GATE, ALWAYS),
	PART("att.k_k", k_k, VECTOR, ALWAYS),
	PART("att.k_a", k_a, VECTOR, ALWAYS),
	PART("att.r_k", r_k, VECTOR, ALWAYS),
	PART("att.receptance.weight", receptance, SQUARE, ALWAYS),
	PART("att.key.weight", key, SQUARE, ALWAYS),
	PART("att.value.weight", value, SQUARE, ALWAYS),
	PART("att.output.weight", output, SQUARE, ALWAYS),
	PART("att.output.bias", output_b, VECTOR, OPTIONAL),
	PART("att.ln_x.weight", ln_x_w, VECTOR, ALWAYS),
	PART("att.ln_x.bias", ln_x_b, VECTOR, ALWAYS),
	PART("ffn.x_k", x_k_ffn, VECTOR, ALWAYS),
	PART("ffn.key.weight", ffn_key, FFN_KEY, ALWAYS),
	PART("ffn.value.weight", ffn_value, FFN_VALUE, ALWAYS),
#undef PART
};

static rwkvk_status expect_part(const struct weights *weights, const struct config *c, enum kind kind,
                                const struct tensor *tensor)
{
	switch (kind) {
	case VECTOR:
		return expect_vector(weights, tensor, c->width);
	case SQUARE:
		return expect_matrix(weights, tensor, c->width, c->width);
	case FFN_KEY:
		return expect_matrix(weights, tensor, c->ffn, c->width);
	case FFN_VALUE:
		return expect_matrix(weights, tensor, c->width, c->ffn);
	case LORA_DECAY:
		return expect_lora(weights, tensor, c->width, c->rank_decay);
	case LORA_ICLR:
		return expect_lora(weights, tensor, c->width, c->rank_iclr);
	case LORA_GATE:
		return expect_lora(weights, tensor, c->width, c->rank_gate);
	case LORA_VALUE:
		return expect_lora(weights, tensor, c->width, c->rank_value);
	}
	return RWKVK_OK;
}

static rwkvk_status bind_layer(const struct weights *weights, const struct config *c, uint32_t index, struct layer *layer)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		const struct part *part = &parts[i];
		const struct tensor *tensor;
		char name[96];
		snprintf(name, sizeof name, "blocks.%u.%s", index, part->name);
		if (part->when == NOT_FIRST && index == 0)
			continue;
		if (part->when == OPTIONAL) {
			tensor = weights_find(weights, name);
			if (!tensor)
				continue;
		} else {
			TRY(find(weights, name, &tensor));
		}
		TRY(expect_part(weights, c, part->kind, tensor));
		*(const struct tensor **)(void *)((char *)layer + part->offset) = tensor;
	}
	return RWKVK_OK;
}

static uint32_t count_layers(const struct weights *weights)
{
	uint32_t layers = 0;
	for (size_t i = 0; i < weights->count; i++) {
		unsigned index;
		if (sscanf(weights->tensors[i].name, "blocks.%u.", &index) == 1 && index < MAX_LAYERS && index >= layers)
			layers = index + 1;
	}
	return layers;
}

/* Which RWKV this is, told by the tensors that only one version has. */
static rwkvk_status recognise(const struct weights *weights)
{
	static const struct {
		const char *name, *version;
	} others[] = {
		{ "blocks.0.qkv.qq.weight", "7b" },  { "blocks.0.ffn.s_emb.weight", "7a" }, { "blocks.0.att.time_maa_x", "6" },
		{ "blocks.0.att.ln_x.weight", "5" }, { "blocks.0.att.time_decay", "4" },
	};
	bool is_7 = weights_find(weights, "blocks.0.att.r_k") != NULL;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (weights_find(weights, others[i].name) && (!is_7 || i < 2))
			return fail(RWKVK_ERROR_UNSUPPORTED, "%s: this is an RWKV-%s model; expected RWKV-7", weights->path,
			            others[i].version);
	if (!is_7)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected an RWKV-7 model with tensor blocks.0.att.r_k, found %zu tensors without it%s%s",
		            weights->path, weights->count, weights->count ? ", the first is " : "",
		            weights->count ? weights->tensors[0].file_name : "");
	return RWKVK_OK;
}

static rwkvk_status head_size(const struct weights *weights, struct config *c)
{
	const struct tensor *r_k;
	TRY(find(weights, "blocks.0.att.r_k", &r_k));
	uint64_t n = weights->metadata.head_size;
	if (r_k->rank == 2)
		n = r_k->shape[1];
	else if (n == 0)
		n = c->width; /* [1,N] without its unit dimension: a single head */
	if (weights->metadata.head_size && n != weights->metadata.head_size)
		return fail(RWKVK_ERROR_FILE, "%s: the metadata say head size %" PRIu64 ", tensor %s has %" PRIu64, weights->path,
		            weights->metadata.head_size, r_k->file_name, n);
	if (n < 4 || n % 4 || n > MAX_HEAD_SIZE || c->width % n)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a head size that is a multiple of 4, at most %d and divides the width %u, found %" PRIu64,
		            weights->path, MAX_HEAD_SIZE, c->width, n);
	c->head_size = (uint32_t)n;
	c->heads = c->width / c->head_size;
	return RWKVK_OK;
}

static rwkvk_status sizes(const struct weights *weights, struct network *net)
{
	struct config *c = &net->config;
	const struct tensor *t;
	c->version = 70;
	c->layers = count_layers(weights);
	TRY(find(weights, "emb.weight", &net->emb));
	if (net->emb->rank != 2 || net->emb->shape[0] > MAX_VOCAB || net->emb->shape[1] > MAX_WIDTH || net->emb->shape[1] % 4)
		return wrong_shape(weights, net->emb, "vocabulary,width");
	c->vocab = (uint32_t)net->emb->shape[0];
	c->width = (uint32_t)net->emb->shape[1];
	TRY(head_size(weights, c));
	TRY(find(weights, "blocks.0.ffn.key.weight", &t));
	if (t->rank != 2 || t->shape[0] > MAX_FFN)
		return wrong_shape(weights, t, "FFN width,width");
	c->ffn = (uint32_t)t->shape[0];
	TRY(find(weights, "blocks.0.att.w1", &t));
	TRY(lora_rank(weights, t, c->width, &c->rank_decay));
	TRY(find(weights, "blocks.0.att.a1", &t));
	TRY(lora_rank(weights, t, c->width, &c->rank_iclr));
	TRY(find(weights, "blocks.0.att.g1", &t));
	TRY(lora_rank(weights, t, c->width, &c->rank_gate));
	if (c->layers > 1) {
		TRY(find(weights, "blocks.1.att.v1", &t));
		TRY(lora_rank(weights, t, c->width, &c->rank_value));
	}
	return RWKVK_OK;
}

rwkvk_status network_init(const struct weights *weights, struct network *net)
{
	*net = (struct network){ 0 };
	struct config *c = &net->config;
	TRY(recognise(weights));
	TRY(sizes(weights, net));
	float epsilon = weights->metadata.layer_norm_epsilon;
	if (epsilon != 0 && fabsf(epsilon - 1e-5f) > 1e-9f)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected LayerNorm epsilon 1e-5, found %g", weights->path, (double)epsilon);

	net->ln0_w = weights_find(weights, "blocks.0.ln0.weight");
	net->ln0_b = weights_find(weights, "blocks.0.ln0.bias");
	if (net->ln0_w || net->ln0_b) {
		TRY(find(weights, "blocks.0.ln0.weight", &net->ln0_w));
		TRY(find(weights, "blocks.0.ln0.bias", &net->ln0_b));
		TRY(expect_vector(weights, net->ln0_w, c->width));
		TRY(expect_vector(weights, net->ln0_b, c->width));
		c->embedding_norm = true;
	}
	TRY(find(weights, "ln_out.weight", &net->ln_out_w));
	TRY(find(weights, "ln_out.bias", &net->ln_out_b));
	TRY(expect_vector(weights, net->ln_out_w, c->width));
	TRY(expect_vector(weights, net->ln_out_b, c->width));
	TRY(find(weights, "head.weight", &net->head));
	TRY(expect_matrix(weights, net->head, c->vocab, c->width));
	net->head_b = weights_find(weights, "head.bias");
	if (net->head_b)
		TRY(expect_vector(weights, net->head_b, c->vocab));

	net->layers = calloc(c->layers, sizeof *net->layers);
	if (!net->layers)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < c->layers; i++) {
		rwkvk_status status = bind_layer(weights, c, i, &net->layers[i]);
		if (status != RWKVK_OK) {
			network_finish(net);
			return status;
		}
	}
	return RWKVK_OK;
}

void network_finish(struct network *net)
{
	free(net->layers);
	*net = (struct network){ 0 };
}

static rwkvk_status open_tokenizer(const char *vocab, struct rwkvk_file *file)
{
	if (vocab)
		return rwkvk_tokenizer_open(vocab, &file->tokenizer);
	if (file->weights.metadata.token_count)
		return tokenizer_from_metadata(&file->weights, &file->tokenizer);
	return RWKVK_OK;
}

rwkvk_status file_init(const rwkvk_model_options *options, struct rwkvk_file *file)
{
	*file = (struct rwkvk_file){ .quant = options->quant };
	const char *path = options->path ? options->path : "embedded model";
	rwkvk_status status = weights_open(path, options->data, options->data_bytes, options->names, &file->weights);
	if (status == RWKVK_OK)
		status = network_init(&file->weights, &file->network);
	if (status == RWKVK_OK)
		status = open_tokenizer(options->vocab, file);
	if (status != RWKVK_OK)
		file_finish(file);
	file->add_bos = status == RWKVK_OK && file->weights.metadata.has_add_bos && file->weights.metadata.add_bos;
	return status;
}

void file_finish(struct rwkvk_file *file)
{
	rwkvk_tokenizer_close(file->tokenizer);
	network_finish(&file->network);
	weights_close(&file->weights);
	*file = (struct rwkvk_file){ 0 };
}
