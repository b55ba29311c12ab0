/* Loads a network onto the device: checks that it fits, then packs matrix by matrix from the mapped file into the device's
 * layout. */
#include "engine/quantise_device.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"
#include "network/trained_state.h"

enum { UPLOAD_BYTES = 8 << 20 };

struct loader {
	struct rwkvk_model *model;
	struct parallel *parallel;
	float *scratch;               /* for all workers, for the longest row */
	uint8_t *side;                /* the data beside the weights of one upload */
	bool may_quantise, by_device; /* the device may quantise; it does for the current matrix */
	struct quantiser *quantiser;  /* created for the first matrix that it takes */
	bool unfit;                   /* there are implausible numbers */
	uint64_t done, total;
	const struct load_options *asked;
};

static rwkvk_status progressed(struct loader *loader, uint64_t bytes)
{
	const struct load_options *asked = loader->asked;
	uint64_t done = loader->done + bytes < loader->total ? loader->done + bytes : loader->total;
	loader->done += bytes;
	if ((asked->cancel && atomic_load(asked->cancel)) ||
	    (asked->progress && !asked->progress(asked->progress_user, done, loader->total)))
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

/* Room for units of so many bytes: *count of them, or what fits where that is less. */
static rwkvk_status upload_begin(const struct loader *loader, struct gpu_buffer *buffer, uint64_t offset, uint64_t unit,
                                 uint64_t *count, void **place)
{
	uint64_t at_once = UPLOAD_BYTES / unit > 0 ? UPLOAD_BYTES / unit : 1, bytes = (*count < at_once ? *count : at_once) * unit;
	TRY(gpu_upload_begin(buffer, offset, &bytes, place));
	*count = bytes / unit;
	if (*count)
		return RWKVK_OK;
	TRY(gpu_upload_commit(buffer->gpu));
	return fail(RWKVK_ERROR_UNSUPPORTED,
	            "%s: a row of weights, packed with its neighbours to %" PRIu64 " bytes, exceeds the upload buffer",
	            loader->model->file.weights.path, unit);
}

static uint64_t source_bytes(const struct matrix_part *part, uint64_t first, uint64_t rows, uint64_t columns)
{
	const struct dtype_info *info = &dtype_info[part->source.tensor->type];
	return (part->rows - first < rows ? part->rows - first : rows) * columns / info->block * info->bytes;
}

/* By the device. */
static rwkvk_status quantise_rows(struct loader *loader, struct quantise_rows rows)
{
	while (rows.rows > 0) {
		uint64_t before = rows.first;
		TRY(quantise_piece(loader->quantiser, &rows));
		TRY(progressed(loader, source_bytes(rows.part, before, rows.first - before, rows.columns)));
	}
	return RWKVK_OK;
}

/* The arguments of upload_tiles(), where `first` and `tiles` are multiples of `count`. */
static rwkvk_status quantise_tiles(struct loader *loader, const struct matrix_part *parts, uint32_t count, uint32_t columns,
                                   uint64_t first, uint64_t tiles, struct device_slice *slice, uint64_t to)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t begin = first / count * 8, end = (first + tiles) / count * 8;
		end = end < parts[i].rows ? end : parts[i].rows;
		TRY(quantise_rows(loader, (struct quantise_rows){ .part = &parts[i],
		                                                  .columns = columns,
		                                                  .first = begin,
		                                                  .rows = end - begin,
		                                                  .slice = slice,
		                                                  .to = to + i,
		                                                  .step = count }));
	}
	return RWKVK_OK;
}

/* Tiles from `first` on of a part, or of `count` interleaved ones, into `slice` from its tile `to` on. */
static rwkvk_status upload_tiles(struct loader *loader, const struct matrix_part *parts, uint32_t count, uint32_t columns,
                                 uint64_t first, uint64_t tiles, struct device_slice *slice, uint64_t to)
{
	if (loader->by_device)
		return quantise_tiles(loader, parts, count, columns, first, tiles, slice, to);
	uint32_t type = parts->source.type;
	uint64_t tile = packed_bytes(type, 8, columns), side_tile = packed_side_bytes(type, 8, columns);
	for (uint64_t done = 0, n; done < tiles; done += n) {
		uint64_t bytes = 0;
		void *place;
		n = tiles - done;
		TRY(upload_begin(loader, &slice->weights, (to + done) * tile, tile, &n, &place));
		loader->unfit |=
			!pack_tiles(loader->parallel, parts, count, columns, first + done, n, place, loader->side, loader->scratch);
		TRY(gpu_upload_commit(slice->weights.gpu));
		if (side_tile)
			TRY(upload(&slice->side, (to + done) * side_tile, loader->side, n * side_tile));
		for (uint64_t t = first + done; t < first + done + n; t++)
			bytes += source_bytes(&parts[t % count], t / count * 8, 8, columns);
		TRY(progressed(loader, bytes));
	}
	return RWKVK_OK;
}

/* A matrix by input: whole blocks of outputs. */
static rwkvk_status upload_by_input(struct loader *loader, const struct matrix *m, struct device_slice *slice)
{
	const uint64_t all = slice->row_end - slice->row_begin;
	if (loader->by_device)
		return quantise_rows(loader, (struct quantise_rows){ m->parts, m->columns, true, slice->row_begin, all, slice, 0, 1 });
	uint64_t plane = value_block_bytes(m->type, m->columns), beside = value_side_bytes(m->type, m->columns);
	uint64_t outputs = VALUE_BLOCK(m->type), first = slice->row_begin / outputs;
	uint64_t blocks = ceil_div(all, outputs);
	for (uint64_t done = 0, n; done < blocks; done += n) {
		void *place;
		n = blocks - done;
		TRY(upload_begin(loader, &slice->weights, done * plane, plane, &n, &place));
		loader->unfit |=
			!pack_value_blocks(loader->parallel, m->parts, m->columns, first + done, n, place, loader->side, loader->scratch);
		TRY(gpu_upload_commit(slice->weights.gpu));
		if (beside)
			TRY(upload(&slice->side, done * beside, loader->side, n * beside));
		TRY(progressed(loader, source_bytes(m->parts, (first + done) * outputs, n * outputs, m->columns)));
	}
	return RWKVK_OK;
}

/* Rows of a part go to their place in the matrix, from row `at` on, as far as the slice covers them. */
static rwkvk_status upload_part(struct loader *loader, const struct matrix_part *part, uint32_t columns, uint32_t at,
                                struct device_slice *slice)
{
	uint32_t begin = at > slice->row_begin ? at : slice->row_begin, last = at + part->rows;
	uint32_t end = last < slice->row_end ? last : slice->row_end;
	return begin < end ? upload_tiles(loader, part, 1, columns, (begin - at) / 8, PAD(end - begin, 8) / 8, slice,
	                                  (begin - slice->row_begin) / 8)
	                   : RWKVK_OK;
}

/* Whether the device quantises a matrix.  If it has no room for that, threads do. */
static bool quantises(struct loader *loader, const struct matrix *m)
{
	bool changes = m->type >= TYPE_Q8 && !dtype_is_block(m->parts[0].source.tensor->type);
	if (!changes || !loader->may_quantise)
		return false;
	if (!loader->quantiser) {
		error_hold();
		loader->may_quantise =
			quantiser_create(loader->model->gpu, loader->parallel, QUANTISE_PIECE, &loader->quantiser) == RWKVK_OK;
		error_release();
	}
	return loader->quantiser && quantiser_takes(loader->quantiser, m);
}

static rwkvk_status load_slice(struct loader *loader, const struct matrix *m, struct device_slice *slice)
{
	if (m->by_input)
		return upload_by_input(loader, m, slice);
	if (m->interleaved)
		return upload_tiles(loader, m->parts, m->part_count, m->columns, slice->row_begin / 8,
		                    PAD(slice->row_end - slice->row_begin, 8) / 8, slice, 0);
	for (uint32_t i = 0, at = 0; i < m->part_count; at += PAD(m->parts[i++].rows, 8))
		TRY(upload_part(loader, &m->parts[i], m->columns, at, slice));
	return RWKVK_OK;
}

/* Whose they are, if there have been some since the last time. */
static rwkvk_status check_loaded(struct loader *loader)
{
	bool unfit = loader->unfit;
	loader->unfit = false;
	return unfit ? check_weights(&loader->model->file) : RWKVK_OK;
}

static rwkvk_status load_matrix(struct loader *loader, struct device_matrix *m, const char *use)
{
	if (!m->matrix.part_count)
		return RWKVK_OK;
	loader->by_device = quantises(loader, &m->matrix);
	TRY(slices_create(loader->model->gpu, m, use));
	for (uint32_t i = 0; i < m->count; i++)
		TRY(load_slice(loader, &m->matrix, &m->slices[i]));
	return check_loaded(loader);
}

static rwkvk_status load_lora(struct loader *loader, struct device_lora *lora)
{
	struct rwkvk_model *m = loader->model;
	const struct config *c = &m->file.network.config;
	uint64_t bytes = lora_bytes(&lora->lora, c);
	if (!bytes)
		return RWKVK_OK;
	TRY(gpu_buffer_create(m->gpu, bytes, GPU_WEIGHTS, "LoRA weights", &lora->buffer));
	uint8_t *packed = malloc(bytes);
	if (!packed)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	loader->unfit |= !pack_lora(&lora->lora, c, packed, loader->scratch);
	rwkvk_status status = upload(&lora->buffer, 0, packed, bytes);
	free(packed);
	TRY(status);
	return check_loaded(loader);
}

static rwkvk_status load_layer(struct loader *loader, uint32_t index)
{
	struct rwkvk_model *m = loader->model;
	const struct config *c = &m->file.network.config;
	struct device_layer *l = &m->layers[index];
	struct device_matrix *matrices[LAYER_MATRICES];
	struct device_lora *loras[LAYER_LORAS];
	device_layer_init(&m->file.network, m->file.quant, index, l);
	device_matrices(l, matrices);
	device_loras(l, loras);
	for (int i = 0; i < LAYER_MATRICES; i++)
		TRY(load_matrix(loader, matrices[i], "weights"));
	for (int i = 0; i < LAYER_LORAS; i++)
		TRY(load_lora(loader, loras[i]));
	if (l->lora_in.count > 1 || l->mix_in.count > 1)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: the LoRA factors of layer %u exceed what one binding of %s may cover (%" PRIu64 " bytes)",
		            m->file.weights.path, index, gpu_caps(m->gpu)->name, gpu_caps(m->gpu)->max_range);
	TRY(gpu_buffer_create(m->gpu, sizeof(float) * config_slot_floats(c) * m->snapshots, GPU_DEVICE, "states", &l->snapshots));
	return gpu_buffer_create(m->gpu, sizeof(float) * m->slots * config_slot_floats(c), GPU_DEVICE, "states", &l->state);
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
	for (uint32_t i = 0; i < c->layers; i++)
		for (uint32_t v = 0; v < VEC_COUNT; v++)
			layer_vector(net, i, v, all + (i * (uint64_t)VEC_COUNT + v) * entry);
	float *top = all + (uint64_t)c->layers * VEC_COUNT * entry;
	place_vector(net->ln0_w, c->width, top + VEC_LN0_W * entry);
	place_vector(net->ln0_b, c->width, top + VEC_LN0_B * entry);
	place_vector(net->ln_out_w, c->width, top + VEC_LNOUT_W * entry);
	place_vector(net->ln_out_b, c->width, top + VEC_LNOUT_B * entry);
	rwkvk_status status = vectors_are_sound(net, all, count) ? RWKVK_OK : check_weights(&m->file);
	place_vector(net->head_b, c->vocab, top + VEC_HEAD_B * entry);
	if (status == RWKVK_OK)
		status = gpu_buffer_create(m->gpu, count * sizeof *all, GPU_DEVICE, "weights", &m->vectors);
	if (status == RWKVK_OK)
		status = upload(&m->vectors, 0, all, count * sizeof *all);
	free(all);
	return status;
}

/* Of a chunk or a step. */
static uint32_t most_rows(uint32_t rows, uint32_t max_batch)
{
	return rows && rows < max_batch ? max_batch : rows;
}

/* *rows of a chunk: as many as the device takes; fewer if they do not fit, but at least 16. */
static rwkvk_status check_fit(const struct rwkvk_model *m, const struct load_options *asked, uint32_t *rows)
{
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	const struct config *c = &m->file.network.config;
	const struct tuning tuning = asked->tuning.workgroup ? asked->tuning : model_usual_tuning(m);
	const uint32_t max_batch = asked->max_batch;
	uint64_t beside = batch_bytes(c, max_batch) + tuning_staging_bytes(&tuning, c), room = gpu_memory_available(m->gpu);
	uint64_t need = beside + model_device_bytes(&m->file.network, m->file.quant, m->slots, max_batch);
	while (*rows >= 32 && need + chunk_bytes(c, most_rows(*rows, max_batch)) > room)
		*rows = *rows / 32 * 16;
	if (need + chunk_bytes(c, most_rows(*rows, max_batch)) <= room ||
	    !caps->can_allocate) /* if there is no memory at all, the first buffer's error says why */
		return RWKVK_OK;
	if (need <= room)
		return fail(
			RWKVK_ERROR_MEMORY,
			"%s needs %.2f GB on the device, and %.2f MB to read prompts in chunks; of the %.2f GB of %s, %.2f GB are free; "
			"with rwkvk_model_options.exact it fits, and prompts are read token by token",
			m->file.weights.path, (double)need * 1e-9, (double)chunk_bytes(c, most_rows(*rows, max_batch)) * 1e-6,
			(double)caps->device_memory * 1e-9, caps->name, (double)room * 1e-9);
	uint64_t quantised = beside + model_device_bytes(&m->file.network, RWKVK_QUANT_Q4, m->slots, max_batch);
	const char *remedy = quantised <= room && quantised < need ? "with rwkvk_model_options.quant = RWKVK_QUANT_Q4 it fits"
	                     : caps->memory_bound && caps->memory_bound < need
	                         ? "use a smaller model, or allow it more (rwkvk_model_options.device_memory)"
	                     : caps->device_memory >= need ? "close other programs that use it, or use a smaller model"
	                                                   : "use a smaller model, or another device (rwkvk_model_options.device)";
	return fail(
		RWKVK_ERROR_MEMORY,
		"%s needs %.2f GB on the device, %.2f MB of it for each of %u sessions; of the %.2f GB of %s, %.2f GB are free; %s",
		m->file.weights.path, (double)need * 1e-9, (double)session_device_bytes(&m->file.network.config) * 1e-6, m->slots,
		(double)caps->device_memory * 1e-9, caps->name, (double)room * 1e-9, remedy);
}

static rwkvk_status load_all(struct loader *loader)
{
	struct rwkvk_model *m = loader->model;
	const struct network *net = &m->file.network;
	const struct config *c = &net->config;
	TRY(gpu_buffer_create(m->gpu, sizeof(float) * logits_floats(c, m->slots), GPU_READBACK, "logits", &m->logits));
	TRY(gpu_buffer_create(m->gpu, sizeof(float) * logits_floats(c, m->snapshots), GPU_DEVICE, "logits", &m->logits_snapshots));
	TRY(gpu_buffer_create(m->gpu, sizeof(uint32_t) * IO_WORDS, GPU_SHARED, "control words", &m->io));
	if (loader->asked->profile)
		TRY(gpu_buffer_create(m->gpu, 2 * sizeof(uint32_t) * c->layers, GPU_SHARED, "counts", &m->used_inputs));
	TRY(load_vectors(m));
	TRY(gpu_buffer_create(m->gpu, sizeof(float) * picks_floats(c, m->slots), GPU_DEVICE, "token counts", &m->picks));
	outline_table(net, net->emb, m->file.quant, &m->emb.matrix);
	outline_table(net, net->head, m->file.quant, &m->head.matrix);
	TRY(load_matrix(loader, &m->emb, "embedding"));
	for (uint32_t i = 0; i < c->layers; i++)
		TRY(load_layer(loader, i));
	TRY(load_matrix(loader, &m->head, "head"));
	TRY(gpu_upload_finish(m->gpu));
	if (loader->quantiser)
		TRY(quantiser_finish(loader->quantiser));
	return progressed(loader, loader->total - loader->done);
}

/* States in the pool: as requested, else `usual`, or what one binding may cover if that is less. */
static rwkvk_status choose_slots(struct rwkvk_model *m, uint32_t asked, uint32_t usual)
{
	const struct config *c = &m->file.network.config;
	const struct gpu_caps *caps = gpu_caps(m->gpu);
	uint64_t most = caps->max_buffer / (sizeof(float) * config_slot_floats(c));
	while (most > 0 &&
	       sizeof(float) * picks_floats(c, (uint32_t)most) > caps->max_buffer) /* a slot's logits are a part of it */
		most--;
	if (asked > most || most == 0)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s holds at most %" PRIu64 " states of this model in a pool, rwkvk_model_options.max_sessions asks for %u",
		            caps->name, most, asked ? asked : 1);
	m->slots = asked ? asked : most < usual ? (uint32_t)most : usual;
	return RWKVK_OK;
}

/* A session's initial state: zeros, or the start state trained with the model. */
static rwkvk_status load_start_state(struct rwkvk_model *m)
{
	const struct config *c = &m->file.network.config;
	uint64_t slot = config_slot_floats(c), layer = config_layer_floats(c);
	m->start_state = malloc(c->layers * slot * sizeof *m->start_state);
	float *trained = malloc(config_state_floats(c) * sizeof *trained);
	rwkvk_status status = m->start_state && trained ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "out of memory");
	bool has = status == RWKVK_OK && has_trained_state(&m->file.weights);
	if (has)
		status = trained_state(&m->file.weights, c, trained);
	for (uint32_t i = 0; i < c->layers && status == RWKVK_OK; i++) {
		state_start(c, m->start_state + i * slot);
		if (has)
			memcpy(m->start_state + i * slot, trained + i * layer, layer * sizeof *trained);
	}
	free(trained);
	return status;
}

/* Threads and their buffers; they end with the loader. */
static rwkvk_status loader_init(struct loader *loader)
{
	const struct rwkvk_model *m = loader->model;
	const struct network *net = &m->file.network;
	const struct config *c = &net->config;
	uint64_t longest = c->ffn > c->width ? c->ffn : c->width; /* row of a matrix, or of an outer LoRA factor */
	longest = config_hidden(c) > longest ? config_hidden(c) : longest;
	TRY(parallel_start(loader->asked->threads, &loader->parallel));
	loader->scratch = malloc(parallel_workers(loader->parallel) * pack_scratch_floats(longest) * sizeof *loader->scratch);
	uint64_t pieces = (uint64_t)QUANTISE_PIECES * QUANTISE_PIECE,
			 need = model_device_bytes(net, m->file.quant, m->slots, loader->asked->max_batch);
	loader->may_quantise = device_quantises(gpu_caps(m->gpu)) && gpu_memory_available(m->gpu) >= need + pieces;
	loader->side = malloc((UPLOAD_BYTES / 128 + PAD(longest, 256)) * SIDE_WORDS(TYPE_Q6K) * 4); /* the largest */
	return loader->scratch && loader->side ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "out of memory");
}

static void loader_finish(struct loader *loader)
{
	quantiser_destroy(loader->quantiser);
	parallel_stop(loader->parallel);
	free(loader->scratch);
	free(loader->side);
}

/* Whether the device supports that many rows at once. */
static rwkvk_status check_batch(const struct rwkvk_model *m, const struct load_options *asked, uint32_t rows)
{
	if (asked->max_batch <= 1)
		return RWKVK_OK;
	if (asked->max_batch > MAX_ROWS)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.max_batch is %u: expected at most %d", asked->max_batch,
		            MAX_ROWS);
	if (asked->exact)
		return fail(RWKVK_ERROR_ARGUMENT,
		            "rwkvk_model_options.exact gives the bits of single tokens, which several sessions at once cannot have: "
		            "expected max_batch 0 or 1 with it, found %u",
		            asked->max_batch);
	if (rows > 0 && chunk_bytes(model_config(m), asked->max_batch) > gpu_caps(m->gpu)->max_buffer)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "rwkvk_model_options.max_batch is %u: one binding of %s covers %" PRIu64
		            " bytes, but that many rows take %" PRIu64 "; expected fewer",
		            asked->max_batch, gpu_caps(m->gpu)->name, gpu_caps(m->gpu)->max_buffer,
		            chunk_bytes(model_config(m), asked->max_batch));
	if (rows == 0)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s has no kernel for several rows at once: expected rwkvk_model_options.max_batch 0 or 1, found %u",
		            gpu_caps(m->gpu)->name, asked->max_batch);
	return RWKVK_OK;
}

rwkvk_status model_load(struct rwkvk_model *m, const struct load_options *asked)
{
	const struct config *c = &m->file.network.config;
	m->at_once = asked->profile ? 1 : asked->at_once < MAX_TOKENS ? asked->at_once : MAX_TOKENS;
	uint32_t rows = asked->exact ? 0 : chunk_most_rows(m, asked->chunk_rows);
	TRY(choose_slots(m, asked->max_sessions, asked->max_batch > 4 ? asked->max_batch : 4));
	TRY(check_batch(m, asked, rows));
	TRY(check_fit(m, asked, &rows));
	struct loader loader = { .model = m, .asked = asked };
	for (size_t i = 0; i < m->file.weights.count; i++)
		loader.total += m->file.weights.tensors[i].bytes;
	m->layers = calloc(c->layers, sizeof *m->layers);
	m->slot_taken = calloc(m->slots, sizeof *m->slot_taken);
	m->snapshots = model_snapshots(m->slots, asked->max_batch);
	m->snapshot_taken = calloc(m->snapshots, sizeof *m->snapshot_taken);
	m->snapshot_cmds = calloc((size_t)m->slots * m->snapshots, sizeof(struct gpu_cmd *));
	rwkvk_status status = RWKVK_OK;
	if (!m->layers || !m->slot_taken || !m->snapshot_cmds || !m->snapshot_taken)
		status = fail(RWKVK_ERROR_MEMORY, "out of memory");
	if (status == RWKVK_OK)
		status = load_start_state(m);
	if (status == RWKVK_OK)
		status = loader_init(&loader);
	if (status == RWKVK_OK)
		status = load_all(&loader);
	if (status == RWKVK_OK)
		status = chunk_create(m, rows, most_rows(rows, asked->max_batch));
	if (status == RWKVK_OK)
		status = batch_create(m, asked->max_batch, asked->mixed_rows);
	loader_finish(&loader);
	return status;
}

void model_unload(struct rwkvk_model *m)
{
	forward_drop(m, &m->plan);
	batch_drop(m);
	chunk_drop(m);
	error_hold();
	(void)gpu_upload_finish(m->gpu); /* after a failure, uploads may still be on their way */
	error_release();
	for (uint32_t i = 0; m->layers && i < m->file.network.config.layers; i++) {
		struct device_layer *l = &m->layers[i];
		struct device_matrix *matrices[LAYER_MATRICES];
		struct device_lora *loras[LAYER_LORAS];
		device_matrices(l, matrices);
		device_loras(l, loras);
		for (int j = 0; j < LAYER_MATRICES; j++)
			slices_destroy(matrices[j]);
		for (int j = 0; j < LAYER_LORAS; j++)
			gpu_buffer_destroy(&loras[j]->buffer);
		gpu_buffer_destroy(&l->state);
		gpu_buffer_destroy(&l->snapshots);
	}
	slices_destroy(&m->emb);
	slices_destroy(&m->head);
	gpu_buffer_destroy(&m->vectors);
	gpu_buffer_destroy(&m->logits);
	gpu_buffer_destroy(&m->logits_snapshots);
	gpu_buffer_destroy(&m->picks);
	gpu_buffer_destroy(&m->io);
	gpu_buffer_destroy(&m->used_inputs);
	free(m->layers);
	for (uint32_t i = 0; m->snapshot_cmds && i < m->slots * m->snapshots; i++)
		gpu_cmd_destroy(m->snapshot_cmds[i]);
	free(m->snapshot_cmds);
	free(m->snapshot_taken);
	free(m->slot_taken);
	free(m->start_state);
	m->layers = NULL;
	m->snapshot_cmds = NULL;
	m->snapshot_taken = NULL;
	m->slot_taken = NULL;
	m->start_state = NULL;
}
