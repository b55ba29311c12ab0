/* The matrices of a network on the device, and their size in bytes.  Nothing here touches a device: whether a model fits is
 * known before its first byte is read. */
#include "network/outline.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"

/* The role of a matrix decides how few bits it tolerates (docs/quantisation.md has the sources): the tables and the first
 * layer's output need more than the rest, ffn.key a bit more, and ffn.value, a sum over squares, tolerates the most. */
static const uint32_t presets[][ROLES] = {
	[RWKVK_QUANT_F16] = { TYPE_F16, TYPE_F16, TYPE_F16, TYPE_F16, TYPE_F16 },
	[RWKVK_QUANT_Q8] = { TYPE_Q8, TYPE_Q8, TYPE_Q8, TYPE_Q8, TYPE_Q8 },
	[RWKVK_QUANT_Q6] = { TYPE_Q6K, TYPE_Q8, TYPE_Q8, TYPE_Q6K, TYPE_Q6K },
	[RWKVK_QUANT_Q5] = { TYPE_Q5K, TYPE_Q8, TYPE_Q6K, TYPE_Q5K, TYPE_Q6K },
	[RWKVK_QUANT_Q4] = { TYPE_Q4K, TYPE_Q8, TYPE_Q5K, TYPE_Q4K, TYPE_Q6K },
};

uint32_t preset_type(rwkvk_quant quant, enum matrix_role role)
{
	return presets[quant][role];
}

enum matrix_role matrix_role(const struct network *net, uint32_t layer, const struct tensor *tensor)
{
	const struct layer *l = &net->layers[layer];
	if (tensor == net->emb || tensor == net->head)
		return ROLE_TABLE;
	if (tensor == l->output)
		return layer == 0 ? ROLE_FIRST_OUTPUT : ROLE_PROJECTION;
	if (tensor == l->ffn_key || tensor == l->pre_key)
		return ROLE_FFN_KEY;
	if (tensor == l->ffn_value || tensor == l->pre_value)
		return ROLE_FFN_VALUE;
	bool projection = tensor == l->receptance || tensor == l->key || tensor == l->value || tensor == l->gate ||
	                  tensor == l->ffn_receptance || tensor == l->pre_receptance;
	return projection ? ROLE_PROJECTION : ROLE_NONE;
}

/* The device's type of a large matrix.  Quantised matrices of the file stay as they are, unless adapters change them or a
 * neighbour in the same matrix of the device: all of it would otherwise become F32. */
static uint32_t matrix_type(const struct tensor *tensor, rwkvk_quant quant, enum matrix_role role, bool adapted)
{
	bool block = dtype_is_block(tensor->type);
	if (block && adapted && quant == RWKVK_QUANT_NONE)
		return TYPE_Q8;
	return quant == RWKVK_QUANT_NONE || (block && !adapted) ? type_of_dtype(tensor->type) : preset_type(quant, role);
}

/* Whether adapters change one of the matrices that a layer's time-mix begins with. */
static bool is_adapted(const struct layer *l)
{
	const struct tensor *const all[] = { l->receptance, l->key, l->value, l->gate };
	bool adapted = false;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		adapted |= all[i] && all[i]->merge;
	return adapted;
}

/* Different types are widened to one that holds them all. */
static uint32_t common_type(uint32_t a, uint32_t b)
{
	return a == b ? a : TYPE_F32;
}

static void add_part(struct matrix *m, struct matrix_source source, uint32_t rows)
{
	m->type = m->part_count ? common_type(m->type, source.type) : source.type;
	m->parts[m->part_count++] = (struct matrix_part){ source, rows };
	m->rows = m->part_count == 1 ? rows : 0;
	for (uint32_t i = 0; m->part_count > 1 && i < m->part_count; i++)
		m->rows += PAD(m->parts[i].rows, 8);
	for (uint32_t i = 0; i < m->part_count; i++)
		m->parts[i].source.type = m->type;
}

static void add_matrix(const struct network *net, uint32_t layer, struct matrix *m, const struct tensor *tensor, uint32_t rows,
                       uint32_t columns, rwkvk_quant quant)
{
	if (!tensor)
		return;
	const struct layer *l = &net->layers[layer];
	bool projection = tensor == l->receptance || tensor == l->key || tensor == l->value || tensor == l->gate;
	bool adapted = tensor->merge || (projection && is_adapted(l));
	m->columns = columns;
	add_part(m, matrix_source(tensor, columns, matrix_type(tensor, quant, matrix_role(net, layer, tensor), adapted)), rows);
}

static void add_inner(struct matrix *m, const struct tensor *tensor, uint32_t part, uint32_t parts, uint32_t rank,
                      uint32_t width)
{
	if (!tensor)
		return;
	m->columns = width;
	add_part(m, lora_source(tensor, part, parts, rank, width, true), rank);
}

/* No block types here: rows are read down columns. */
static void add_outer(struct lora *lora, const struct tensor *tensor, uint32_t part, uint32_t parts, uint32_t rank,
                      uint32_t width)
{
	if (!tensor)
		return;
	struct matrix_source source = lora_source(tensor, part, parts, width, rank, false);
	uint32_t type = source.type >= TYPE_Q8 ? TYPE_F32 : source.type;
	lora->type = lora->count ? common_type(lora->type, type) : type;
	lora->ranks[lora->count] = rank;
	lora->sources[lora->count++] = source;
}

void outline_table(const struct network *net, const struct tensor *tensor, rwkvk_quant quant, struct matrix *out)
{
	*out = (struct matrix){ 0 };
	add_matrix(net, 0, out, tensor, net->config.vocab, net->config.width, quant);
}

void outline_layer(const struct network *net, rwkvk_quant quant, uint32_t index, struct outline *out)
{
	const struct config *c = &net->config;
	const struct layer *l = &net->layers[index];
	const uint32_t C = c->width, F = c->ffn;
	*out = (struct outline){ .products.interleaved = c->version == 40, .ffn.value.by_input = true, .pre.value.by_input = true };
	add_matrix(net, index, &out->products, l->receptance, C, C, quant);
	add_matrix(net, index, &out->products, l->key, C, C, quant);
	add_matrix(net, index, &out->products, l->value, C, C, quant);
	add_matrix(net, index, &out->products, l->gate, C, C, quant);
	add_matrix(net, index, &out->output, l->output, C, C, quant);
	add_matrix(net, index, &out->ffn.key, l->ffn_key, F, C, quant);
	add_matrix(net, index, &out->ffn.receptance, l->ffn_receptance, C, C, quant);
	add_matrix(net, index, &out->ffn.value, l->ffn_value, C, F, quant);
	add_matrix(net, index, &out->pre.key, l->pre_key, F, C, quant);
	add_matrix(net, index, &out->pre.receptance, l->pre_receptance, C, C, quant);
	add_matrix(net, index, &out->pre.value, l->pre_value, C, F, quant);

	add_inner(&out->lora_in, l->w1, 0, 1, c->rank_decay, C);
	add_inner(&out->lora_in, l->a1, 0, 1, c->rank_iclr, C);
	add_inner(&out->lora_in, l->g1, 0, 1, c->rank_gate, C);
	add_inner(&out->lora_in, l->v1, 0, 1, c->rank_value, C);
	add_outer(&out->lora_out, l->w2, 0, 1, c->rank_decay, C);
	add_outer(&out->lora_out, l->a2, 0, 1, c->rank_iclr, C);
	add_outer(&out->lora_out, l->g2, 0, 1, c->rank_gate, C);
	add_outer(&out->lora_out, l->v2, 0, 1, c->rank_value, C);
	for (uint32_t i = 0; i < MIXES; i++) {
		add_inner(&out->mix_in, l->mix_w1, i, MIXES, c->rank_mix, C);
		add_outer(&out->mix_out, l->mix_w2, i, MIXES, c->rank_mix, C);
	}
}

void outline_matrices(struct outline *l, struct matrix *out[LAYER_MATRICES])
{
	struct matrix *all[LAYER_MATRICES] = { &l->products,       &l->lora_in,   &l->mix_in,  &l->output,         &l->ffn.key,
		                                   &l->ffn.receptance, &l->ffn.value, &l->pre.key, &l->pre.receptance, &l->pre.value };
	memcpy(out, all, sizeof all);
}

void outline_loras(struct outline *l, struct lora *out[LAYER_LORAS])
{
	out[0] = &l->lora_out;
	out[1] = &l->mix_out;
}

/* ------------------------------------------------------------------------------------------------------ types by tensor */

static const char *matrix_type_of(const struct matrix *m, const struct tensor *tensor)
{
	for (uint32_t i = 0; i < m->part_count; i++)
		if (m->parts[i].source.tensor == tensor)
			return type_name(m->type);
	return NULL;
}

static const char *lora_type_of(const struct lora *lora, const struct tensor *tensor)
{
	for (uint32_t i = 0; i < lora->count; i++)
		if (lora->sources[i].tensor == tensor)
			return type_name(lora->type);
	return NULL;
}

/* For a tensor of the layer: anything that is neither a matrix nor a LoRA becomes a vector. */
static const char *layer_type_of(const struct network *net, rwkvk_quant quant, uint32_t index, const struct tensor *tensor)
{
	struct outline layer;
	struct matrix *matrices[LAYER_MATRICES];
	struct lora *loras[LAYER_LORAS];
	const char *type = NULL;
	outline_layer(net, quant, index, &layer);
	outline_matrices(&layer, matrices);
	outline_loras(&layer, loras);
	for (int i = 0; i < LAYER_MATRICES && !type; i++)
		type = matrix_type_of(matrices[i], tensor);
	for (int i = 0; i < LAYER_LORAS && !type; i++)
		type = lora_type_of(loras[i], tensor);
	return type ? type : type_name(TYPE_F32);
}

/* struct layer consists only of pointers to tensors. */
static bool layer_has(const struct layer *layer, const struct tensor *tensor)
{
	const struct tensor *all[sizeof *layer / sizeof(const struct tensor *)];
	memcpy(all, layer, sizeof all);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i] == tensor)
			return true;
	return false;
}

const char *outline_type(const struct network *net, rwkvk_quant quant, const struct tensor *tensor)
{
	const struct tensor *vectors[] = { net->ln0_w, net->ln0_b, net->ln_out_w, net->ln_out_b, net->head_b };
	struct matrix table;
	if (tensor == net->emb || tensor == net->head) {
		outline_table(net, tensor, quant, &table);
		return type_name(table.type);
	}
	for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
		if (vectors[i] == tensor)
			return type_name(TYPE_F32);
	for (uint32_t i = 0; i < net->config.layers; i++)
		if (layer_has(&net->layers[i], tensor))
			return layer_type_of(net, quant, i, tensor);
	return NULL;
}

/* ------------------------------------------------------------------------------------------------------ bytes */

static uint64_t value_blocks(const struct matrix *m, uint64_t rows)
{
	return (rows + VALUE_BLOCK(m->type) - 1) / VALUE_BLOCK(m->type);
}

uint64_t matrix_plane_bytes(const struct matrix *m, uint64_t rows)
{
	return m->by_input ? value_blocks(m, rows) * value_block_bytes(m->type, m->columns)
	                   : packed_bytes(m->type, rows, m->columns);
}

uint64_t matrix_side_bytes(const struct matrix *m, uint64_t rows)
{
	return m->by_input ? value_blocks(m, rows) * value_side_bytes(m->type, m->columns)
	                   : packed_side_bytes(m->type, rows, m->columns);
}

uint64_t matrix_bytes(const struct matrix *m)
{
	return m->part_count ? matrix_plane_bytes(m, m->rows) + matrix_side_bytes(m, m->rows) : 0;
}

uint64_t lora_bytes(const struct lora *lora, const struct config *c)
{
	uint64_t words = 0;
	for (uint32_t i = 0; i < lora->count; i++)
		words += lora_words(lora->ranks[i], lora->type);
	return words * c->width * 16;
}

uint64_t vectors_floats(const struct network *net)
{
	const struct config *c = &net->config;
	uint64_t entry = PAD((uint64_t)c->width, 128);
	return entry * (VEC_COUNT * (uint64_t)c->layers + VEC_HEAD_B) + (net->head_b ? PAD((uint64_t)c->vocab, 4) : 0);
}

static uint64_t table_bytes(const struct network *net, const struct tensor *table, rwkvk_quant quant)
{
	struct matrix matrix;
	outline_table(net, table, quant, &matrix);
	return matrix_bytes(&matrix);
}

/* Weights that every token reads, without the embedding. */
static uint64_t token_weights(const struct network *net, rwkvk_quant quant)
{
	uint64_t bytes = table_bytes(net, net->head, quant) + sizeof(float) * vectors_floats(net);
	for (uint32_t i = 0; i < net->config.layers; i++) {
		struct outline layer;
		struct matrix *matrices[LAYER_MATRICES];
		struct lora *loras[LAYER_LORAS];
		outline_layer(net, quant, i, &layer);
		outline_matrices(&layer, matrices);
		outline_loras(&layer, loras);
		for (int j = 0; j < LAYER_MATRICES; j++)
			bytes += matrix_bytes(matrices[j]);
		for (int j = 0; j < LAYER_LORAS; j++)
			bytes += lora_bytes(loras[j], &net->config);
	}
	return bytes;
}

uint64_t logits_floats(const struct config *c, uint32_t slots)
{
	return slots * V4((uint64_t)c->vocab);
}

uint64_t picks_floats(const struct config *c, uint32_t slots)
{
	uint64_t vocab = c->vocab;
	return PICKS_FLOATS(vocab, (uint64_t)slots);
}

uint32_t text_snapshots(uint32_t max_batch)
{
	return max_batch > 4 ? max_batch : 4;
}

uint32_t model_snapshots(uint32_t slots, uint32_t max_batch)
{
	return smaller(slots, text_snapshots(max_batch) + 1);
}

uint64_t session_device_bytes(const struct config *c)
{
	return sizeof(float) * (c->layers * config_slot_floats(c) + logits_floats(c, 1) + PICKS_STRIDE((uint64_t)c->vocab));
}

uint64_t model_device_bytes(const struct network *net, rwkvk_quant quant, uint32_t slots, uint32_t max_batch)
{
	const struct config *c = &net->config;
	uint64_t state = sizeof(float) * c->layers * config_slot_floats(c);
	uint32_t places = slots + model_snapshots(slots, max_batch);
	return token_weights(net, quant) + table_bytes(net, net->emb, quant) + places * state +
	       sizeof(float) * ((uint64_t)config_act_floats(c) + logits_floats(c, places) + picks_floats(c, slots));
}

uint64_t model_token_bytes(const struct network *net, rwkvk_quant quant)
{
	return token_weights(net, quant) + table_bytes(net, net->emb, quant) / net->config.vocab +
	       2 * sizeof(float) * config_state_floats(&net->config);
}

static uint64_t layer_multiply_adds(const struct network *net, uint32_t index)
{
	struct outline layer;
	struct matrix *matrices[LAYER_MATRICES];
	struct lora *loras[LAYER_LORAS];
	uint64_t sum = 0;
	outline_layer(net, RWKVK_QUANT_NONE, index, &layer);
	outline_matrices(&layer, matrices);
	outline_loras(&layer, loras);
	for (int i = 0; i < LAYER_MATRICES; i++)
		for (uint32_t j = 0; j < matrices[i]->part_count; j++)
			sum += (uint64_t)matrices[i]->parts[j].rows * matrices[i]->columns;
	for (int i = 0; i < LAYER_LORAS; i++)
		for (uint32_t j = 0; j < loras[i]->count; j++)
			sum += (uint64_t)loras[i]->ranks[j] * net->config.width;
	return sum;
}

uint64_t model_multiply_adds(const struct network *net)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < net->config.layers; i++)
		sum += layer_multiply_adds(net, i);
	return sum;
}
