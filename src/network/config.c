/* From named tensors to a network: sizes come from shapes, never from a formula; every shape is checked once, here. */
#include "network/network.h"

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

const char *config_version(const struct config *c)
{
	switch (c->version) {
	case 40:
		return "4";
	case 50:
		return "5.0";
	case 51:
		return "5.1";
	case 52:
		return "5.2";
	case 60:
		return "6";
	}
	return "7";
}

uint64_t config_layer_floats(const struct config *c)
{
	return (uint64_t)c->width * (2 + c->state_width);
}

uint64_t config_slot_floats(const struct config *c)
{
	return STATE_STRIDE((uint64_t)c->width, c->state_width);
}

uint64_t config_state_floats(const struct config *c)
{
	return c->layers * config_layer_floats(c);
}

uint32_t config_hidden(const struct config *c)
{
	uint32_t mix = HIDDEN_MIX(c->rank_mix), rest = HIDDEN(c->rank_decay, c->rank_iclr, c->rank_gate, c->rank_value);
	return mix > rest ? mix : rest;
}

uint32_t config_act_floats(const struct config *c)
{
	return ACT_FLOATS(c->width, c->ffn, config_hidden(c));
}

uint32_t config_row_floats(const struct config *c)
{
	return ROW_FLOATS(c->width, c->ffn, config_hidden(c));
}

void state_start(const struct config *c, float *slot)
{
	memset(slot, 0, config_slot_floats(c) * sizeof *slot);
	for (uint32_t i = 0; c->version == 40 && i < c->width; i++)
		slot[STATE_PP(c->width) + i] = -1e30f; /* the largest exponent so far: none */
}

float config_residual(const struct config *c, uint32_t layer)
{
	return c->rescale && !c->rescale_stored ? ldexpf(1, -(int)(layer / c->rescale)) : 1;
}

bool config_halves(const struct config *c, uint32_t layer)
{
	return c->rescale && (layer + 1) % c->rescale == 0;
}

static rwkvk_status wrong_shape(const struct weights *weights, const struct tensor *tensor, const char *expected)
{
	return fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected shape [%s], found %s", weights->path, tensor->file_name, expected,
	            show_shape(tensor->rank, tensor->shape).text);
}

static rwkvk_status find(const struct weights *weights, const struct config *c, const char *name, const struct tensor **out)
{
	*out = weights_find(weights, name);
	if (!*out)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s is missing; expected an RWKV-%s model with all of its tensors",
		            weights->path, name, config_version(c));
	return RWKVK_OK;
}

static rwkvk_status expect_vector(const struct weights *weights, const struct tensor *tensor, uint64_t n)
{
	if (tensor_elements(tensor) == n)
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
	snprintf(expected, sizeof expected, "%" PRIu64 ", %" PRIu64, rows, columns);
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
	snprintf(expected, sizeof expected, "%u, rank", width);
	return wrong_shape(weights, tensor, expected);
}

static rwkvk_status expect_lora(const struct weights *weights, const struct tensor *tensor, uint64_t width, uint64_t rank)
{
	if (tensor->rank == 2 &&
	    ((tensor->shape[0] == width && tensor->shape[1] == rank) || (tensor->shape[0] == rank && tensor->shape[1] == width)))
		return RWKVK_OK;
	char expected[64];
	snprintf(expected, sizeof expected, "%" PRIu64 ", %" PRIu64, width, rank);
	return wrong_shape(weights, tensor, expected);
}

/* RWKV-6's time_maa_w2, [5,rank,C] or the last two swapped. */
static rwkvk_status expect_mix_out(const struct weights *weights, const struct config *c, const struct tensor *tensor)
{
	struct tensor one = *tensor;
	if (tensor->rank == 3 && tensor->shape[0] == 5) {
		one.rank = 2;
		memcpy(one.shape, tensor->shape + 1, 2 * sizeof *one.shape);
		if (expect_lora(weights, &one, c->width, c->rank_mix) == RWKVK_OK)
			return RWKVK_OK;
	}
	char expected[64];
	snprintf(expected, sizeof expected, "5, %u, %u", c->rank_mix, c->width);
	return wrong_shape(weights, tensor, expected);
}

/* The tensors of a layer, each with the versions that have it. */
enum kind { VECTOR, PER_HEAD, SQUARE, FFN_KEY, FFN_VALUE, LORA_DECAY, LORA_ICLR, LORA_GATE, LORA_VALUE, LORA_MIX, MIX_OUT };
enum {
	V4 = 1,
	V50 = 2,
	V51 = 4, /* 5.1 and 5.2 */
	V6 = 8,
	V7 = 16,
	V5 = V50 | V51,
	V45 = V4 | V5,
	V456 = V45 | V6,
	V567 = V5 | V6 | V7,
	ALL = V456 | V7,
};
enum {
	ALWAYS = 0,
	OPTIONAL = 1,
	NOT_FIRST = 2, /* not in layer 0 */
	TIME_MIX = 4,  /* not in layers with ffnPre */
	PRE = 8,       /* only there: layer 0 of some RWKV-4 */
};

static const struct part {
	const char *name;
	size_t offset;
	enum kind kind;
	unsigned versions, when;
} parts[] = {
#define PART(name, field, kind, versions, when)                                                                                \
	{                                                                                                                          \
		name, offsetof(struct layer, field), kind, versions, when                                                              \
	}
	PART("ln1.weight", ln1_w, VECTOR, ALL, ALWAYS),
	PART("ln1.bias", ln1_b, VECTOR, ALL, ALWAYS),
	PART("ln2.weight", ln2_w, VECTOR, ALL, ALWAYS),
	PART("ln2.bias", ln2_b, VECTOR, ALL, ALWAYS),
	PART("att.receptance.weight", receptance, SQUARE, ALL, TIME_MIX),
	PART("att.key.weight", key, SQUARE, ALL, TIME_MIX),
	PART("att.value.weight", value, SQUARE, ALL, TIME_MIX),
	PART("att.gate.weight", gate, SQUARE, V51 | V6, ALWAYS),
	PART("att.output.weight", output, SQUARE, ALL, TIME_MIX),
	PART("att.output.bias", output_b, VECTOR, ALL, OPTIONAL),
	PART("att.ln_x.weight", ln_x_w, VECTOR, V567, ALWAYS),
	PART("att.ln_x.bias", ln_x_b, VECTOR, V567, ALWAYS),

	PART("att.time_mix_r", mix_r, VECTOR, V45, TIME_MIX),
	PART("att.time_mix_k", mix_k, VECTOR, V45, TIME_MIX),
	PART("att.time_mix_v", mix_v, VECTOR, V45, TIME_MIX),
	PART("att.time_mix_g", mix_g, VECTOR, V51, ALWAYS),
	PART("att.time_decay", decay, PER_HEAD, V456, OPTIONAL), /* one of these two, see check_forms() */
	PART("att.decay", decay, PER_HEAD, V45, OPTIONAL),
	PART("att.time_first", bonus, PER_HEAD, V45, OPTIONAL), /* and one of these */
	PART("att.time_faaaa", bonus, PER_HEAD, V5 | V6, OPTIONAL),

	PART("att.time_maa_x", mix_x, VECTOR, V6, ALWAYS),
	PART("att.time_maa_w", mix_w, VECTOR, V6, ALWAYS),
	PART("att.time_maa_k", mix_k, VECTOR, V6, ALWAYS),
	PART("att.time_maa_v", mix_v, VECTOR, V6, ALWAYS),
	PART("att.time_maa_r", mix_r, VECTOR, V6, ALWAYS),
	PART("att.time_maa_g", mix_g, VECTOR, V6, ALWAYS),
	PART("att.time_maa_w1", mix_w1, LORA_MIX, V6, ALWAYS),
	PART("att.time_maa_w2", mix_w2, MIX_OUT, V6, ALWAYS),
	PART("att.time_decay_w1", w1, LORA_DECAY, V6, ALWAYS),
	PART("att.time_decay_w2", w2, LORA_DECAY, V6, ALWAYS),

	PART("att.x_r", mix_r, VECTOR, V7, ALWAYS),
	PART("att.x_w", mix_w, VECTOR, V7, ALWAYS),
	PART("att.x_k", mix_k, VECTOR, V7, ALWAYS),
	PART("att.x_v", mix_v, VECTOR, V7, ALWAYS),
	PART("att.x_a", mix_a, VECTOR, V7, ALWAYS),
	PART("att.x_g", mix_g, VECTOR, V7, ALWAYS),
	PART("att.w0", decay, VECTOR, V7, ALWAYS),
	PART("att.w1", w1, LORA_DECAY, V7, ALWAYS),
	PART("att.w2", w2, LORA_DECAY, V7, ALWAYS),
	PART("att.a0", a0, VECTOR, V7, ALWAYS),
	PART("att.a1", a1, LORA_ICLR, V7, ALWAYS),
	PART("att.a2", a2, LORA_ICLR, V7, ALWAYS),
	PART("att.v0", v0, VECTOR, V7, NOT_FIRST),
	PART("att.v1", v1, LORA_VALUE, V7, NOT_FIRST),
	PART("att.v2", v2, LORA_VALUE, V7, NOT_FIRST),
	PART("att.g1", g1, LORA_GATE, V7, ALWAYS),
	PART("att.g2", g2, LORA_GATE, V7, ALWAYS),
	PART("att.k_k", k_k, VECTOR, V7, ALWAYS),
	PART("att.k_a", k_a, VECTOR, V7, ALWAYS),
	PART("att.r_k", r_k, VECTOR, V7, ALWAYS),

	PART("ffnPre.time_mix_k", mix_k, VECTOR, V4, PRE),
	PART("ffnPre.time_mix_r", mix_r, VECTOR, V4, PRE),
	PART("ffnPre.key.weight", pre_key, FFN_KEY, V4, PRE),
	PART("ffnPre.value.weight", pre_value, FFN_VALUE, V4, PRE),
	PART("ffnPre.receptance.weight", pre_receptance, SQUARE, V4, PRE),

	PART("ffn.time_mix_k", ffn_mix_k, VECTOR, V45, ALWAYS),
	PART("ffn.time_mix_r", ffn_mix_r, VECTOR, V45, ALWAYS),
	PART("ffn.time_maa_k", ffn_mix_k, VECTOR, V6, ALWAYS),
	PART("ffn.time_maa_r", ffn_mix_r, VECTOR, V6, ALWAYS),
	PART("ffn.x_k", ffn_mix_k, VECTOR, V7, ALWAYS),
	PART("ffn.key.weight", ffn_key, FFN_KEY, ALL, ALWAYS),
	PART("ffn.value.weight", ffn_value, FFN_VALUE, ALL, ALWAYS),
	PART("ffn.receptance.weight", ffn_receptance, SQUARE, V456, ALWAYS),
#undef PART
};

static unsigned version_bit(const struct config *c)
{
	return c->version == 40 ? V4 : c->version == 50 ? V50 : c->version < 60 ? V51 : c->version == 60 ? V6 : V7;
}

static rwkvk_status expect_part(const struct weights *weights, const struct config *c, enum kind kind,
                                const struct tensor *tensor)
{
	switch (kind) {
	case VECTOR:
		return expect_vector(weights, tensor, c->width);
	case PER_HEAD: /* or per channel */
		return tensor_elements(tensor) == c->heads ? RWKVK_OK : expect_vector(weights, tensor, c->width);
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
	case LORA_MIX:
		return expect_lora(weights, tensor, c->width, MIXES * (uint64_t)c->rank_mix);
	case MIX_OUT:
		return expect_mix_out(weights, c, tensor);
	}
	return RWKVK_OK;
}

/* Tensors that come in one of several forms: at least one must exist. */
static rwkvk_status check_forms(const struct weights *weights, const struct config *c, uint32_t index, const struct layer *l)
{
	bool time_mix = l->receptance != NULL && c->version < 70;
	if (time_mix && !l->decay)
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor blocks.%u.att.time_decay is missing; expected an RWKV-%s model with all of its tensors",
		            weights->path, index, config_version(c));
	if (time_mix && !l->bonus)
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor blocks.%u.att.%s is missing; expected an RWKV-%s model with all of its tensors", weights->path,
		            index, c->version >= 52 ? "time_faaaa" : "time_first", config_version(c));
	return RWKVK_OK;
}

static rwkvk_status bind_layer(const struct weights *weights, const struct config *c, uint32_t index, struct layer *layer)
{
	char name[96];
	snprintf(name, sizeof name, "blocks.%u.ffnPre.key.weight", index);
	const struct tensor *pre = weights_find(weights, name);
	if (pre && (c->version != 40 || index > 0))
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: expected ffnPre in layer 0 of an RWKV-4 model only, found %s in an RWKV-%s model", weights->path,
		            pre->file_name, config_version(c));
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		const struct part *part = &parts[i];
		const struct tensor *tensor;
		if (!(part->versions & version_bit(c)) || (part->when & NOT_FIRST && index == 0) || (part->when & TIME_MIX && pre) ||
		    (part->when & PRE && !pre))
			continue;
		snprintf(name, sizeof name, "blocks.%u.%s", index, part->name);
		tensor = weights_find(weights, name);
		if (!tensor && part->when & OPTIONAL)
			continue;
		TRY(find(weights, c, name, &tensor));
		TRY(expect_part(weights, c, part->kind, tensor));
		*(const struct tensor **)(void *)((char *)layer + part->offset) = tensor;
	}
	return check_forms(weights, c, index, layer);
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

/* A tensor of the first layer that has time-mix. */
static const struct tensor *find_first(const struct weights *weights, const char *name)
{
	char full[96];
	const struct tensor *tensor = NULL;
	for (unsigned i = 0; i < 2 && !tensor; i++) {
		snprintf(full, sizeof full, "blocks.%u.%s", i, name);
		tensor = weights_find(weights, full);
	}
	return tensor;
}

static const struct tensor *decay_tensor(const struct weights *weights)
{
	const struct tensor *tensor = find_first(weights, "att.time_decay");
	return tensor ? tensor : find_first(weights, "att.decay");
}

/* Which RWKV this is, by the tensors that only one version has. */
static rwkvk_status recognise(const struct weights *weights, struct config *c)
{
	static const struct {
		const char *name, *version;
	} previews[] = { { "qkv.qq.weight", "7b" }, { "ffn.s_emb.weight", "7a" } };
	for (size_t i = 0; i < sizeof previews / sizeof *previews; i++)
		if (find_first(weights, previews[i].name))
			return fail(RWKVK_ERROR_UNSUPPORTED, "%s: this is an RWKV-%s model; expected RWKV-4, 5, 6 or 7", weights->path,
			            previews[i].version);
	if (find_first(weights, "att.r_k"))
		c->version = 70;
	else if (find_first(weights, "att.time_maa_x"))
		c->version = 60;
	else if (find_first(weights, "att.ln_x.weight"))
		c->version = find_first(weights, "att.gate.weight") ? 51 : 50; /* or 52, see heads_from() */
	else if (decay_tensor(weights))
		c->version = 40;
	else
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected an RWKV model, found %zu tensors without any of att.time_decay, att.time_maa_x and "
		            "att.r_k%s%s",
		            weights->path, weights->count, weights->count ? "; the first is " : "",
		            weights->count ? weights->tensors[0].file_name : "");
	return RWKVK_OK;
}

/* Heads and their size from a tensor [H,N], which may have lost its shape or, with one head, its first dimension; [H] where
 * RWKV-5 has one number a head. */
static rwkvk_status heads_from(const struct weights *weights, struct config *c, const struct tensor *tensor)
{
	uint64_t n = weights->metadata.head_size, said = n, count = tensor_elements(tensor);
	if (c->version == 51 && count == c->width)
		c->version = 52;
	if (tensor->rank == 2)
		n = tensor->shape[1];
	else if (count != c->width)
		n = c->width / count;
	else if (n == 0)
		n = c->width;
	if (said && n != said)
		return fail(RWKVK_ERROR_FILE, "%s: the metadata say head size %" PRIu64 ", tensor %s has %" PRIu64, weights->path, said,
		            tensor->file_name, n);
	if (n < 4 || n % 4 || n > MAX_HEAD_SIZE || c->width % n || (count != c->width && count != c->width / n))
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a head size that is a multiple of 4, at most %d and divides the width %u, found %" PRIu64
		            " (tensor %s)",
		            weights->path, MAX_HEAD_SIZE, c->width, n, tensor->file_name);
	c->head_size = c->state_width = (uint32_t)n;
	c->heads = c->width / c->head_size;
	return RWKVK_OK;
}

static rwkvk_status head_sizes(const struct weights *weights, struct config *c)
{
	const struct tensor *tensor;
	if (c->version == 40) {
		c->heads = c->width;
		c->head_size = 1;
		c->state_width = 3; /* aa, bb, pp */
		return RWKVK_OK;
	}
	tensor = c->version == 70   ? find_first(weights, "att.r_k")
	         : c->version == 60 ? find_first(weights, "att.time_faaaa")
	                            : decay_tensor(weights);
	if (!tensor)
		return find(weights, c, c->version == 60 ? "blocks.0.att.time_faaaa" : "blocks.0.att.time_decay", &tensor);
	return heads_from(weights, c, tensor);
}

static rwkvk_status rank_of(const struct weights *weights, const struct config *c, const char *name, uint32_t *rank)
{
	const struct tensor *tensor;
	TRY(find(weights, c, name, &tensor));
	return lora_rank(weights, tensor, c->width, rank);
}

static rwkvk_status ranks(const struct weights *weights, struct config *c)
{
	if (c->version == 60) {
		uint32_t all;
		TRY(rank_of(weights, c, "blocks.0.att.time_decay_w1", &c->rank_decay));
		TRY(rank_of(weights, c, "blocks.0.att.time_maa_w1", &all));
		c->rank_mix = all / MIXES;
	}
	if (c->version == 70) {
		TRY(rank_of(weights, c, "blocks.0.att.w1", &c->rank_decay));
		TRY(rank_of(weights, c, "blocks.0.att.a1", &c->rank_iclr));
		TRY(rank_of(weights, c, "blocks.0.att.g1", &c->rank_gate));
		if (c->layers > 1)
			TRY(rank_of(weights, c, "blocks.1.att.v1", &c->rank_value));
	}
	return RWKVK_OK;
}

static rwkvk_status sizes(const struct weights *weights, struct network *net)
{
	struct config *c = &net->config;
	const struct tensor *t;
	c->layers = count_layers(weights);
	TRY(find(weights, c, "emb.weight", &net->emb));
	if (net->emb->rank != 2 || net->emb->shape[0] > MAX_VOCAB || net->emb->shape[1] > MAX_WIDTH || net->emb->shape[1] % 4)
		return wrong_shape(weights, net->emb, "vocabulary, width");
	c->vocab = (uint32_t)net->emb->shape[0];
	c->width = (uint32_t)net->emb->shape[1];
	TRY(head_sizes(weights, c));
	TRY(find(weights, c, "blocks.0.ffn.key.weight", &t));
	if (t->rank != 2 || t->shape[0] > MAX_FFN)
		return wrong_shape(weights, t, "FFN width, width");
	c->ffn = (uint32_t)t->shape[0];
	const struct metadata *m = &weights->metadata;
	float epsilon = m->group_norm_epsilon != 0 ? m->group_norm_epsilon : (float)(m->channel_epsilon * c->head_size);
	c->group_norm_epsilon = epsilon != 0 ? epsilon : 64e-5f;
	c->rescale = weights->metadata.rescale;
	c->rescale_stored = c->rescale != 0;
	return ranks(weights, c);
}

rwkvk_status network_init(const struct weights *weights, struct network *net)
{
	*net = (struct network){ 0 };
	struct config *c = &net->config;
	TRY(recognise(weights, c));
	TRY(sizes(weights, net));
	float epsilon = weights->metadata.layer_norm_epsilon;
	if (epsilon != 0 && fabsf(epsilon - 1e-5f) > 1e-9f)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected LayerNorm epsilon 1e-5, found %g", weights->path, (double)epsilon);

	net->ln0_w = weights_find(weights, "blocks.0.ln0.weight");
	net->ln0_b = weights_find(weights, "blocks.0.ln0.bias");
	if (net->ln0_w || net->ln0_b) {
		TRY(find(weights, c, "blocks.0.ln0.weight", &net->ln0_w));
		TRY(find(weights, c, "blocks.0.ln0.bias", &net->ln0_b));
		TRY(expect_vector(weights, net->ln0_w, c->width));
		TRY(expect_vector(weights, net->ln0_b, c->width));
		c->embedding_norm = true;
	}
	TRY(find(weights, c, "ln_out.weight", &net->ln_out_w));
	TRY(find(weights, c, "ln_out.bias", &net->ln_out_b));
	TRY(expect_vector(weights, net->ln_out_w, c->width));
	TRY(expect_vector(weights, net->ln_out_b, c->width));
	TRY(find(weights, c, "head.weight", &net->head));
	TRY(expect_matrix(weights, net->head, c->vocab, c->width));
	net->head_b = weights_find(weights, "head.bias");
	if (net->head_b) {
		TRY(expect_vector(weights, net->head_b, c->vocab));
	}

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
