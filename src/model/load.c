/* A network onto the device: does it fit, then matrix by matrix from the mapped file into the device's layout. */
#include "model/model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

enum { UPLOAD_BYTES = 8 << 20 };

uint32_t matrix_type(const struct tensor *tensor, rwkvk_quant quant)
{
	return quant == RWKVK_QUANT_Q8 ? TYPE_Q8 : type_of_dtype(tensor->type);
}

/* Types that differ are widened to the one that holds them all. */
static uint32_t common_type(uint32_t a, uint32_t b)
{
	return a == b ? a : TYPE_F32;
}

/* The four factors of one side, in the order of ACT_H; the last is NULL in layer 0. */
struct factors {
	const struct tensor *tensors[4];
	uint32_t ranks[4];
};

static struct factors factors_in(const struct config *c, const struct layer *l)
{
	return (struct factors){ { l->w1, l->a1, l->g1, l->v1 },
		                     { c->rank_decay, c->rank_iclr, c->rank_gate, l->v1 ? c->rank_value : 0 } };
}

static struct factors factors_out(const struct config *c, const struct layer *l)
{
	return (struct factors){ { l->w2, l->a2, l->g2, l->v2 },
		                     { c->rank_decay, c->rank_iclr, c->rank_gate, l->v2 ? c->rank_value : 0 } };
}

static uint32_t factors_type(const struct factors *f)
{
	uint32_t type = type_of_dtype(f->tensors[0]->type);
	for (int i = 1; i < 4; i++)
		if (f->tensors[i])
			type = common_type(type, type_of_dtype(f->tensors[i]->type));
	return type;
}

/* lora_out has no block type: its rows are read down columns, see pack_lora_out(). */
static uint32_t lora_out_type(const struct factors *f)
{
	uint32_t type = factors_type(f);
	return type == TYPE_Q8 ? TYPE_F32 : type;
}

static uint32_t lora_words(uint32_t rank, uint32_t type)
{
	return PAD(rank, 8) / (type == TYPE_F32 ? 4 : 8);
}

static uint64_t lora_out_bytes(const struct config *c, const struct factors *f, uint32_t type)
{
	uint64_t words = 0;
	for (int i = 0; i < 4; i++)
		words += lora_words(f->ranks[i], type);
	return words * c->width * 16;
}

static uint32_t rkv_type(const struct layer *l, rwkvk_quant quant)
{
	return common_type(matrix_type(l->receptance, quant),
	                   common_type(matrix_type(l->key, quant), matrix_type(l->value, quant)));
}

static uint64_t vectors_floats(const struct network *net)
{
	const struct config *c = &net->config;
	uint64_t entry = PAD((uint64_t)c->width, 128);
	return entry * (VEC_COUNT * (uint64_t)c->layers + VEC_HEAD_B) + (net->head_b ? PAD((uint64_t)c->vocab, 4) : 0);
}

static uint64_t both_planes(uint32_t type, uint64_t rows, uint64_t columns)
{
	return packed_bytes(type, rows, columns) + packed_scale_bytes(type, rows, columns);
}

/* Weights that every token reads, without the embedding. */
static uint64_t token_weights(const struct network *net, rwkvk_quant quant)
{
	const struct config *c = &net->config;
	uint64_t bytes = both_planes(matrix_type(net->head, quant), c->vocab, c->width) + sizeof(float) * vectors_floats(net);
	for (uint32_t i = 0; i < c->layers; i++) {
		const struct layer *l = &net->layers[i];
		struct factors in = factors_in(c, l), out = factors_out(c, l);
		bytes += both_planes(rkv_type(l, quant), 3 * PAD((uint64_t)c->width, 8), c->width);
		bytes += both_planes(factors_type(&in), HIDDEN(in.ranks[0], in.ranks[1], in.ranks[2], in.ranks[3]), c->width);
		bytes += lora_out_bytes(c, &out, lora_out_type(&out));
		bytes += both_planes(matrix_type(l->output, quant), c->width, c->width);
		bytes += both_planes(matrix_type(l->ffn_key, quant), c->ffn, c->width);
		bytes += both_planes(matrix_type(l->ffn_value, quant), c->width, c->ffn);
	}
	return bytes;
}

uint64_t model_device_bytes(const struct network *net, rwkvk_quant quant, uint32_t slots)
{
	const struct config *c = &net->config;
	uint64_t state = sizeof(float) * (uint64_t)c->layers * STATE_STRIDE((uint64_t)c->width, c->head_size);
	return token_weights(net, quant) + both_planes(matrix_type(net->emb, quant), c->vocab, c->width) + slots * state +
	       sizeof(float) * ((uint64_t)config_act_floats(c) + c->vocab);
}

uint64_t model_token_bytes(const struct network *net, rwkvk_quant quant)
{
	const struct config *c = &net->config;
	return token_weights(net, quant) + both_planes(matrix_type(net->emb, quant), 8, c->width) / 8 +
	       2 * sizeof(float) * config_state_floats(c);
}

/* ------------------------------------------------------------------------------------------------------ upload */

struct loader {
	struct rwkvk_model *model;
	float *scratch;  /* 2 PAD(longest row, 128) floats */
	uint8_t *scales; /* the scales of one upload */
	uint64_t done, total;
	rwkvk_progress_fn *progress;
	void *user;
};

/* A part of a matrix that several tensors make up: `rows` rows, padded to 8. */
struct stacked {
	struct matrix_source source;
	uint32_t rows;
};

static rwkvk_status progressed(struct loader *loader, uint64_t bytes)
{
	loader->done += bytes;
	if (loader->progress &&
	    !loader->progress(loader->user, loader->done < loader->total ? loader->done : loader->total, loader->total))
		return fail(RWKVK_CANCELLED, "loading was cancelled");
	return RWKVK_OK;
}

static rwkvk_status upload(struct gpu_buffer *buffer, uint64_t offset, const void *data, uint64_t bytes)
{
	while (bytes) {
		uint64_t n = bytes;
		void *place;
		TRY(gpu_upload_begin(buffer, offset, &n, &place));
		memcpy(place, data, n);
		TRY(gpu_upload_commit(buffer->gpu));
		data = (const uint8_t *)data + n;
		offset += n;
		bytes -= n;
	}
	return RWKVK_OK;
}

/* Rows [first, first + rows) of the stack, tile by tile into `slice` from its row `to` on. */
static rwkvk_status upload_rows(struct loader *loader, const struct stacked *part, uint32_t columns, uint32_t first,
                                uint32_t rows, struct device_slice *slice, uint32_t to)
{
	uint32_t type = part->source.type;
	uint64_t tile = packed_bytes(type, 8, columns), scale_tile = packed_scale_bytes(type, 8, columns);
	uint64_t at_once = UPLOAD_BYTES / tile > 0 ? UPLOAD_BYTES / tile : 1;
	for (uint32_t done = 0; done < rows;) {
		uint64_t tiles = PAD(rows - done, 8) / 8 < at_once ? PAD(rows - done, 8) / 8 : at_once, bytes = tiles * tile;
		uint32_t count = (uint32_t)(tiles * 8 < rows - done ? tiles * 8 : rows - done);
		void *place;
		TRY(gpu_upload_begin(&slice->weights, (to + done) / 8 * tile, &bytes, &place));
		if (bytes < tile)
			return fail(RWKVK_ERROR_UNSUPPORTED, "%s: eight rows of %u weights exceed the upload buffer",
			            loader->model->file.weights.path, columns);
		if (bytes < tiles * tile) { /* less room than asked for: the next turn does the rest */
			tiles = bytes / tile;
			count = (uint32_t)(tiles * 8);
		}
		pack_rows(&part->source, part->rows, columns, first + done, count, place, loader->scales, loader->scratch);
		TRY(gpu_upload_commit(slice->weights.gpu));
		if (scale_tile)
			TRY(upload(&slice->scales, (to + done) / 8 * scale_tile, loader->scales, tiles * scale_tile));
		done += count;
		TRY(progressed(loader, part->source.tensor->bytes * count / (part->rows ? part->rows : 1)));
	}
	return RWKVK_OK;
}

/* Buffers for the slices of a matrix, each within what one binding may cover. */
static rwkvk_status create_slices(struct rwkvk_model *m, struct device_matrix *matrix, const char *use)
{
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	uint64_t limit = caps->max_buffer < caps->max_range ? caps->max_buffer : caps->max_range,
			 tile = packed_bytes(matrix->type, 8, matrix->columns);
	uint64_t rows = limit / tile * 8;
	if (!rows)
		return fail(RWKVK_ERROR_DEVICE, "%s: a binding may cover %" PRIu64 " bytes, but eight rows of %s need %" PRIu64,
		            caps->name, limit, use, tile);
	matrix->count = (uint32_t)((matrix->rows + rows - 1) / rows);
	matrix->slices = calloc(matrix->count, sizeof *matrix->slices);
	if (!matrix->slices)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < matrix->count; i++) {
		struct device_slice *slice = &matrix->slices[i];
		slice->row_begin = (uint32_t)(i * rows);
		slice->row_end = (uint32_t)(slice->row_begin + rows < matrix->rows ? slice->row_begin + rows : matrix->rows);
		uint64_t n = slice->row_end - slice->row_begin;
		TRY(gpu_buffer_create(m->gpu, packed_bytes(matrix->type, n, matrix->columns), GPU_DEVICE, use, &slice->weights));
		if (matrix->type == TYPE_Q8)
			TRY(gpu_buffer_create(m->gpu, packed_scale_bytes(matrix->type, n, matrix->columns), GPU_DEVICE, use,
			                      &slice->scales));
		m->weight_bytes += slice->weights.bytes + slice->scales.bytes;
	}
	return RWKVK_OK;
}

/* Uploads `count` parts under each other, each padded to 8 rows. */
static rwkvk_status load_stack(struct loader *loader, struct device_matrix *matrix, uint32_t type, const struct stacked *stack,
                               uint32_t count, uint32_t columns, const char *use)
{
	matrix->type = type;
	matrix->columns = columns;
	for (uint32_t i = 0; i < count; i++)
		matrix->rows += i + 1 < count ? PAD(stack[i].rows, 8) : stack[i].rows;
	if (count > 1)
		matrix->rows = PAD(matrix->rows, 8);
	TRY(create_slices(loader->model, matrix, use));
	uint32_t at = 0; /* the part's first row in the matrix */
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < matrix->count; j++) {
			struct device_slice *slice = &matrix->slices[j];
			uint32_t begin = at > slice->row_begin ? at : slice->row_begin, last = at + stack[i].rows;
			uint32_t end = last < slice->row_end ? last : slice->row_end;
			if (begin < end)
				TRY(upload_rows(loader, &stack[i], columns, begin - at, end - begin, slice, begin - slice->row_begin));
		}
		at += PAD(stack[i].rows, 8);
	}
	return RWKVK_OK;
}

static rwkvk_status load_matrix(struct loader *loader, struct device_matrix *matrix, const struct tensor *tensor, uint32_t rows,
                                uint32_t columns, const char *use)
{
	uint32_t type = matrix_type(tensor, loader->model->file.quant);
	return load_stack(loader, matrix, type, &(struct stacked){ { tensor, false, type }, rows }, 1, columns, use);
}

/* w2, a2, g2, v2 for the wkv stage: head by head, factor by factor, then uvec4 by uvec4 of the rank, the head's N channels
 * beside each other: a thread reads down one channel, its neighbours the words beside it. */
static void pack_lora_out(const struct config *c, const struct factors *f, uint32_t type, uint8_t *out, float *scratch)
{
	uint32_t per_word = type == TYPE_F32 ? 4 : 8, all = 0, before = 0;
	for (int i = 0; i < 4; i++)
		all += lora_words(f->ranks[i], type);
	for (int i = 0; i < 4; before += lora_words(f->ranks[i++], type)) {
		if (!f->ranks[i])
			continue;
		struct matrix_source source = lora_source(f->tensors[i], c->width, f->ranks[i]);
		for (uint32_t channel = 0; channel < c->width; channel++) {
			uint32_t head = channel / c->head_size, n = channel % c->head_size;
			float row[8];
			source_row(&source, channel, f->ranks[i], scratch);
			for (uint32_t u = 0; u < lora_words(f->ranks[i], type); u++) {
				for (uint32_t j = 0; j < per_word; j++)
					row[j] = u * per_word + j < f->ranks[i] ? scratch[u * per_word + j] : 0;
				uint8_t *to = out + (((uint64_t)head * all + before + u) * c->head_size + n) * 16;
				dtype_from_float(type == TYPE_F32 ? DTYPE_F32 : type == TYPE_F16 ? DTYPE_F16 : DTYPE_BF16, row, per_word, to);
			}
		}
	}
}

static rwkvk_status load_lora(struct loader *loader, const struct layer *l, struct device_layer *d)
{
	struct rwkvk_model *m = loader->model;
	const struct config *c = &m->file.network.config;
	struct factors in = factors_in(c, l), out = factors_out(c, l);
	struct stacked stack[4];
	uint32_t count = l->v1 ? 4 : 3, type = factors_type(&in);
	for (uint32_t i = 0; i < count; i++) {
		stack[i] = (struct stacked){ lora_source(in.tensors[i], in.ranks[i], c->width), in.ranks[i] };
		stack[i].source.type = type;
	}
	TRY(load_stack(loader, &d->lora_in, type, stack, count, c->width, "LoRA weights"));
	if (d->lora_in.count > 1)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: the LoRA factors of a layer (%" PRIu64 " bytes) exceed what one binding of %s may cover",
		            m->file.weights.path, packed_bytes(type, d->lora_in.rows, c->width), gpu_caps(m->gpu)->name);

	d->lora_type = lora_out_type(&out);
	uint64_t bytes = lora_out_bytes(c, &out, d->lora_type);
	TRY(gpu_buffer_create(m->gpu, bytes, GPU_DEVICE, "LoRA weights", &d->lora_out));
	m->weight_bytes += bytes;
	uint8_t *packed = malloc(bytes);
	if (!packed)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	pack_lora_out(c, &out, d->lora_type, packed, loader->scratch);
	rwkvk_status status = upload(&d->lora_out, 0, packed, bytes);
	free(packed);
	return status;
}

static rwkvk_status load_layer(struct loader *loader, uint32_t index)
{
	struct rwkvk_model *m = loader->model;
	const struct config *c = &m->file.network.config;
	const struct layer *l = &m->file.network.layers[index];
	struct device_layer *d = &m->layers[index];
	uint32_t type = rkv_type(l, m->file.quant);
	struct stacked rkv[3] = {
		{ { l->receptance, false, type }, c->width },
		{ { l->key, false, type }, c->width },
		{ { l->value, false, type }, c->width },
	};
	TRY(load_stack(loader, &d->rkv, type, rkv, 3, c->width, "weights"));
	TRY(load_lora(loader, l, d));
	TRY(load_matrix(loader, &d->output, l->output, c->width, c->width, "weights"));
	TRY(load_matrix(loader, &d->ffn_key, l->ffn_key, c->ffn, c->width, "weights"));
	TRY(load_matrix(loader, &d->ffn_value, l->ffn_value, c->width, c->ffn, "weights"));
	return gpu_buffer_create(m->gpu, sizeof(float) * (uint64_t)m->slots * STATE_STRIDE((uint64_t)c->width, c->head_size),
	                         GPU_DEVICE, "states", &d->state);
}

static void place_vector(const struct tensor *tensor, uint64_t n, float *to)
{
	if (tensor)
		dtype_to_float(tensor->type, tensor->data, 0, n, to);
}

static rwkvk_status load_vectors(struct rwkvk_model *m)
{
	const struct network *net = &m->file.network;
	const struct config *c = &net->config;
	uint64_t entry = PAD((uint64_t)c->width, 128), count = vectors_floats(net);
	float *all = calloc(count, sizeof *all);
	if (!all)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < c->layers; i++) {
		const struct layer *l = &net->layers[i];
		const struct tensor *const order[VEC_COUNT] = {
			l->ln1_w, l->ln1_b, l->x_r, l->x_w, l->x_k,    l->x_v,    l->x_a,      l->x_g,   l->w0,    l->a0,
			l->v0,    l->k_k,   l->k_a, l->r_k, l->ln_x_w, l->ln_x_b, l->output_b, l->ln2_w, l->ln2_b, l->x_k_ffn,
		};
		for (uint32_t v = 0; v < VEC_COUNT; v++)
			place_vector(order[v], c->width, all + (i * (uint64_t)VEC_COUNT + v) * entry);
	}
	float *top = all + (uint64_t)c->layers * VEC_COUNT * entry;
	place_vector(net->ln0_w, c->width, top + VEC_LN0_W * entry);
	place_vector(net->ln0_b, c->width, top + VEC_LN0_B * entry);
	place_vector(net->ln_out_w, c->width, top + VEC_LNOUT_W * entry);
	place_vector(net->ln_out_b, c->width, top + VEC_LNOUT_B * entry);
	place_vector(net->head_b, c->vocab, top + VEC_HEAD_B * entry);
	rwkvk_status status = gpu_buffer_create(m->gpu, count * sizeof *all, GPU_DEVICE, "weights", &m->vectors);
	if (status == RWKVK_OK)
		status = upload(&m->vectors, 0, all, count * sizeof *all);
	free(all);
	m->weight_bytes += count * sizeof *all;
	return status;
}

static rwkvk_status check_fit(const struct rwkvk_model *m)
{
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	uint64_t need = model_device_bytes(&m->file.network, m->file.quant, m->slots);
	if (need <= caps->device_memory)
		return RWKVK_OK;
	uint64_t quantised = model_device_bytes(&m->file.network, RWKVK_QUANT_Q8, m->slots);
	return fail(RWKVK_ERROR_MEMORY, "%s needs %.2f GB on the device, %s has %.2f GB; %s", m->file.weights.path,
	            (double)need * 1e-9, caps->name, (double)caps->device_memory * 1e-9,
	            quantised <= caps->device_memory && quantised < need ? "with --quant q8 it fits"
	                                                                 : "take a smaller model or another device");
}

static rwkvk_status load_all(struct loader *loader)
{
	struct rwkvk_model *m = loader->model;
	const struct network *net = &m->file.network;
	const struct config *c = &net->config;
	TRY(gpu_buffer_create(m->gpu, sizeof(float) * (uint64_t)config_act_floats(c), GPU_DEVICE, "activations", &m->act));
	TRY(gpu_buffer_create(m->gpu, sizeof(float) * (uint64_t)c->vocab, GPU_READBACK, "logits", &m->logits));
	TRY(gpu_buffer_create(m->gpu, sizeof(uint32_t) * IO_WORDS, GPU_SHARED, "control words", &m->io));
	TRY(load_vectors(m));
	TRY(load_matrix(loader, &m->emb, net->emb, c->vocab, c->width, "embedding"));
	for (uint32_t i = 0; i < c->layers; i++)
		TRY(load_layer(loader, i));
	TRY(load_matrix(loader, &m->head, net->head, c->vocab, c->width, "head"));
	TRY(gpu_upload_finish(m->gpu));
	return progressed(loader, loader->total - loader->done);
}

/* States in the pool: as many as were asked for, else 4, or what one binding may cover if that is less. */
static rwkvk_status choose_slots(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	uint64_t most = caps->max_buffer / (sizeof(float) * STATE_STRIDE((uint64_t)c->width, c->head_size));
	if (m->slots > most || most == 0)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s holds at most %" PRIu64 " states of this model in a pool, max_sessions asks for %u", caps->name, most,
		            m->slots ? m->slots : 1);
	if (m->slots == 0)
		m->slots = most < 4 ? (uint32_t)most : 4;
	return RWKVK_OK;
}

rwkvk_status model_load(struct rwkvk_model *m, rwkvk_progress_fn *progress, void *user)
{
	const struct config *c = &m->file.network.config;
	TRY(choose_slots(m));
	TRY(check_fit(m));
	struct loader loader = { .model = m, .progress = progress, .user = user };
	for (size_t i = 0; i < m->file.weights.count; i++)
		loader.total += m->file.weights.tensors[i].bytes;
	uint64_t longest = c->ffn > c->width ? c->ffn : c->width;
	loader.scratch = malloc(2 * PAD(longest, 128) * sizeof *loader.scratch);
	loader.scales = malloc(UPLOAD_BYTES / 16 + PAD(longest, 128));
	m->layers = calloc(c->layers, sizeof *m->layers);
	m->slot_taken = calloc(m->slots, sizeof *m->slot_taken);
	rwkvk_status status = loader.scratch && loader.scales && m->layers && m->slot_taken
	                          ? load_all(&loader)
	                          : fail(RWKVK_ERROR_MEMORY, "out of memory");
	free(loader.scratch);
	free(loader.scales);
	return status;
}

static void free_matrix(struct device_matrix *matrix)
{
	for (uint32_t i = 0; i < matrix->count && matrix->slices; i++) {
		gpu_buffer_destroy(&matrix->slices[i].weights);
		gpu_buffer_destroy(&matrix->slices[i].scales);
	}
	free(matrix->slices);
	*matrix = (struct device_matrix){ 0 };
}

void model_unload(struct rwkvk_model *m)
{
	gpu_upload_finish(m->gpu); /* after a failure, uploads may still be on their way */
	for (uint32_t i = 0; m->layers && i < m->file.network.config.layers; i++) {
		struct device_layer *l = &m->layers[i];
		free_matrix(&l->rkv);
		free_matrix(&l->lora_in);
		free_matrix(&l->output);
		free_matrix(&l->ffn_key);
		free_matrix(&l->ffn_value);
		gpu_buffer_destroy(&l->lora_out);
		gpu_buffer_destroy(&l->state);
	}
	free_matrix(&m->emb);
	free_matrix(&m->head);
	gpu_buffer_destroy(&m->vectors);
	gpu_buffer_destroy(&m->act);
	gpu_buffer_destroy(&m->logits);
	gpu_buffer_destroy(&m->io);
	free(m->layers);
	free(m->slot_taken);
	free(m->steps);
	m->layers = NULL;
	m->slot_taken = NULL;
	m->steps = NULL;
}
