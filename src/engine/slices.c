/* The matrices of an outline on the device: slices of rows, since a large matrix exceeds what one binding may cover. */
#include "engine/plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"

void device_matrices(struct device_layer *l, struct device_matrix *out[LAYER_MATRICES])
{
	struct device_matrix *all[LAYER_MATRICES] = { &l->products,       &l->lora_in,        &l->mix_in,    &l->output,
		                                          &l->ffn.key,        &l->ffn.receptance, &l->ffn.value, &l->pre.key,
		                                          &l->pre.receptance, &l->pre.value };
	memcpy(out, all, sizeof all);
}

void device_loras(struct device_layer *l, struct device_lora *out[LAYER_LORAS])
{
	out[0] = &l->lora_out;
	out[1] = &l->mix_out;
}

void device_layer_init(const struct network *net, rwkvk_quant quant, uint32_t index, struct device_layer *out)
{
	struct outline outline;
	struct matrix *matrices[LAYER_MATRICES];
	struct lora *loras[LAYER_LORAS];
	struct device_matrix *on_device[LAYER_MATRICES];
	struct device_lora *loras_on_device[LAYER_LORAS];
	*out = (struct device_layer){ 0 };
	outline_layer(net, quant, index, &outline);
	outline_matrices(&outline, matrices);
	outline_loras(&outline, loras);
	device_matrices(out, on_device);
	device_loras(out, loras_on_device);
	for (int i = 0; i < LAYER_MATRICES; i++)
		on_device[i]->matrix = *matrices[i];
	for (int i = 0; i < LAYER_LORAS; i++)
		loras_on_device[i]->lora = *loras[i];
}

rwkvk_status matrix_slice(const struct gpu_caps *caps, struct device_matrix *matrix, const char *use)
{
	const struct matrix *m = &matrix->matrix;
	uint64_t limit = caps->max_buffer < caps->max_range ? caps->max_buffer : caps->max_range;
	/* rows that must stay together */
	uint64_t unit = m->by_input ? VALUE_BLOCK(m->type) : m->interleaved ? 8 * m->part_count : 8;
	uint64_t rows = limit / matrix_plane_bytes(m, unit) * unit;
	if (!rows)
		return fail(RWKVK_ERROR_DEVICE, "%s: a binding may cover %" PRIu64 " bytes, but %" PRIu64 " rows of %s need %" PRIu64,
		            caps->name, limit, unit, use, matrix_plane_bytes(m, unit));
	matrix->count = (uint32_t)ceil_div(m->rows, rows);
	matrix->slices = calloc(matrix->count, sizeof *matrix->slices);
	if (!matrix->slices)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < matrix->count; i++) {
		matrix->slices[i].row_begin = (uint32_t)(i * rows);
		matrix->slices[i].row_end = (uint32_t)(i * rows + rows < m->rows ? i * rows + rows : m->rows);
	}
	return RWKVK_OK;
}

rwkvk_status slices_create(struct gpu *gpu, struct device_matrix *matrix, const char *use)
{
	TRY(matrix_slice(gpu_caps(gpu), matrix, use));
	for (uint32_t i = 0; i < matrix->count; i++) {
		struct device_slice *slice = &matrix->slices[i];
		uint64_t n = slice->row_end - slice->row_begin, beside = matrix_side_bytes(&matrix->matrix, n);
		TRY(gpu_buffer_create(gpu, matrix_plane_bytes(&matrix->matrix, n), GPU_WEIGHTS, use, &slice->weights));
		if (beside)
			TRY(gpu_buffer_create(gpu, beside, GPU_WEIGHTS, use, &slice->side));
	}
	return RWKVK_OK;
}

void slices_destroy(struct device_matrix *matrix)
{
	for (uint32_t i = 0; i < matrix->count && matrix->slices; i++) {
		gpu_buffer_destroy(&matrix->slices[i].weights);
		gpu_buffer_destroy(&matrix->slices[i].side);
	}
	free(matrix->slices);
	*matrix = (struct device_matrix){ 0 };
}
