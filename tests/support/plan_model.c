#include "plan_model.h"

#include <stdlib.h>
#include <string.h>

const struct model_spec official_models[OFFICIALS] = {
	[OFFICIAL_4_169M] = { .name = "RWKV-4 169M", .version = 40, .layers = 12, .width = 768, .ffn = 3072, .vocab = 50277 },
	[OFFICIAL_4_14B] = { .name = "RWKV-4 14B", .version = 40, .layers = 40, .width = 5120, .ffn = 20480, .vocab = 50277 },
	[OFFICIAL_50_169M] = { .name = "RWKV-5.0 169M",
	                       .version = 50,
	                       .layers = 12,
	                       .width = 768,
	                       .head_size = 64,
	                       .ffn = 2688,
	                       .vocab = 65536 },
	[OFFICIAL_51_1B5] = { .name = "RWKV-5.1 1.5B",
	                      .version = 51,
	                      .layers = 24,
	                      .width = 2048,
	                      .head_size = 64,
	                      .ffn = 7168,
	                      .vocab = 65536 },
	[OFFICIAL_52_3B] = { .name = "RWKV-5.2 3B",
	                     .version = 52,
	                     .layers = 32,
	                     .width = 2560,
	                     .head_size = 64,
	                     .ffn = 8960,
	                     .vocab = 65536 },
	[OFFICIAL_60_1B6] = { .name = "RWKV-6 1.6B",
	                      .version = 60,
	                      .layers = 24,
	                      .width = 2048,
	                      .head_size = 64,
	                      .ffn = 7168,
	                      .vocab = 65536,
	                      .rank_decay = 64,
	                      .rank_mix = 32 },
	[OFFICIAL_60_7B] = { .name = "RWKV-6 7B",
	                     .version = 60,
	                     .layers = 32,
	                     .width = 4096,
	                     .head_size = 64,
	                     .ffn = 14336,
	                     .vocab = 65536,
	                     .rank_decay = 128,
	                     .rank_mix = 64 },
	[OFFICIAL_70_0B1] = { .name = "RWKV-7 0.1B",
	                      .version = 70,
	                      .layers = 12,
	                      .width = 768,
	                      .head_size = 64,
	                      .ffn = 3072,
	                      .vocab = 65536,
	                      .rank_decay = 64,
	                      .rank_iclr = 64,
	                      .rank_gate = 128,
	                      .rank_value = 32 },
	[OFFICIAL_70_1B5] = { .name = "RWKV-7 1.5B",
	                      .version = 70,
	                      .layers = 24,
	                      .width = 2048,
	                      .head_size = 64,
	                      .ffn = 8192,
	                      .vocab = 65536,
	                      .rank_decay = 96,
	                      .rank_iclr = 96,
	                      .rank_gate = 256,
	                      .rank_value = 64 },
	[OFFICIAL_70_7B] = { .name = "RWKV-7 7.2B",
	                     .version = 70,
	                     .layers = 32,
	                     .width = 4096,
	                     .head_size = 64,
	                     .ffn = 16384,
	                     .vocab = 65536,
	                     .rank_decay = 128,
	                     .rank_iclr = 128,
	                     .rank_gate = 480,
	                     .rank_value = 96 },
};

struct adding {
	struct weights *weights;
	rwkvk_status status;
};

static void add_tensor(void *user, const struct model_tensor *t)
{
	struct adding *adding = user;
	static const uint8_t nothing;
	uint64_t bytes;
	if (adding->status != RWKVK_OK)
		return;
	if (!dtype_bytes(t->type, 3, t->shape, &bytes)) {
		adding->status = fail(RWKVK_ERROR_ARGUMENT, "%s: its rows are no whole blocks", t->name);
		return;
	}
	struct mapping anywhere = { .data = &nothing, .bytes = bytes };
	adding->status = weights_add(adding->weights, &anywhere, t->name, t->name, t->type, 3, t->shape, 0, bytes);
}

/* Sizes of the buffers that loading would make. */
static rwkvk_status slice(struct rwkvk_model *m, struct device_matrix *matrix)
{
	if (!matrix->matrix.part_count)
		return RWKVK_OK;
	TRY(matrix_slice(gpu_caps(m->gpu), matrix, "weights"));
	for (uint32_t i = 0; i < matrix->count; i++) {
		struct device_slice *slice = &matrix->slices[i];
		slice->weights.bytes = matrix_plane_bytes(&matrix->matrix, slice->row_end - slice->row_begin);
		slice->side.bytes = matrix_side_bytes(&matrix->matrix, slice->row_end - slice->row_begin);
	}
	return RWKVK_OK;
}

static rwkvk_status plan_layer(struct rwkvk_model *m, uint32_t index)
{
	struct device_layer *layer = &m->layers[index];
	struct device_matrix *matrices[LAYER_MATRICES];
	struct device_lora *loras[LAYER_LORAS];
	device_layer_init(&m->file.network, m->file.quant, index, layer);
	device_matrices(layer, matrices);
	device_loras(layer, loras);
	for (int i = 0; i < LAYER_MATRICES; i++)
		TRY(slice(m, matrices[i]));
	for (int i = 0; i < LAYER_LORAS; i++)
		loras[i]->buffer.bytes = lora_bytes(&loras[i]->lora, &m->file.network.config);
	return RWKVK_OK;
}

rwkvk_status plan_model(struct gpu *gpu, const struct model_spec *spec, rwkvk_quant quant, struct rwkvk_model *m)
{
	*m = (struct rwkvk_model){ .gpu = gpu, .slots = 1, .file.quant = quant };
	struct adding adding = { .weights = &m->file.weights };
	m->file.weights.path = strdup(spec->name ? spec->name : "a model");
	model_tensors(spec, add_tensor, &adding);
	TRY(adding.status);
	TRY(network_init(&m->file.weights, &m->file.network));
	const struct network *net = &m->file.network;
	m->plan.tuning = tuning_for(gpu_caps(gpu), &net->config);
	m->layers = calloc(net->config.layers, sizeof *m->layers);
	if (!m->layers)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	outline_table(net, net->emb, quant, &m->emb.matrix);
	outline_table(net, net->head, quant, &m->head.matrix);
	TRY(slice(m, &m->emb));
	TRY(slice(m, &m->head));
	for (uint32_t i = 0; i < net->config.layers; i++)
		TRY(plan_layer(m, i));
	return forward_steps(m);
}

rwkvk_status plan_chunks(struct rwkvk_model *m)
{
	chunk_init(m, chunk_most_rows(m, 0));
	if (!m->chunk.pass.rows)
		return RWKVK_OK;
	TRY(chunk_head(m, &m->chunk.pass, &m->chunk.head, &m->chunk.logits));
	TRY(plan_choose(m, &m->chunk.pass));
	return chunk_steps(m, &m->chunk.pass);
}

rwkvk_status plan_few(struct rwkvk_model *m, uint32_t rows, struct pass *out)
{
	*out = (struct pass){ .rows = rows, .runs = rows, .table = &m->chunk.table };
	out->shape = step_shape_for(gpu_caps(m->gpu), &m->file.network.config, 8, rows,
	                            step_outputs_for(gpu_caps(m->gpu), &m->file.network.config, 8));
	TRY(chunk_head(m, out, &out->steps, NULL));
	return chunk_steps(m, out);
}

void unplan_model(struct rwkvk_model *m)
{
	model_unload(m);
	network_finish(&m->file.network);
	weights_close(&m->file.weights);
}
