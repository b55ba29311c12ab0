/* Single stages on given numbers, and blocks of a matrix, for verification to compare. */
#include "engine/check.h"

#include "engine/quantise_device.h"

rwkvk_status check_stage(struct rwkvk_model *m, uint32_t slot, uint32_t layer, const char *stage, float *act, float *state)
{
	const struct config *c = model_config(m);
	uint64_t act_bytes = (config_act_floats(c) - ACT_X) * sizeof(float), slot_bytes = config_slot_floats(c) * sizeof(float);
	uint32_t control[ACT_X] = { [CONTROL_SLOT] = slot };
	TRY(gpu_write(&m->plan.act, 0, control, sizeof control));
	TRY(gpu_write(&m->plan.act, sizeof control, act + ACT_X, act_bytes));
	if (state)
		TRY(gpu_write(&m->layers[layer].state, slot * slot_bytes, state, slot_bytes));
	TRY(forward_stage(m, layer, stage));
	TRY(gpu_read(&m->plan.act, sizeof control, act + ACT_X, act_bytes));
	return state ? gpu_read(&m->layers[layer].state, slot * slot_bytes, state, slot_bytes) : RWKVK_OK;
}

uint32_t check_chunk_rows(const struct rwkvk_model *m)
{
	return m->chunk.pass.rows;
}

static rwkvk_status run_chunk_stages(struct rwkvk_model *m, uint32_t layer, const char *const *names, uint32_t count,
                                     float *records)
{
	const uint64_t at = ROWS_TABLE * sizeof(float),
				   bytes = count * (uint64_t)config_row_floats(model_config(m)) * sizeof(float);
	TRY(gpu_write(&m->chunk.buffer, 0, m->chunk.table.mapped, TABLE_WORDS * sizeof(uint32_t)));
	TRY(gpu_write(&m->chunk.buffer, at, records, bytes));
	for (; *names; names++)
		TRY(steps_run(m, &m->chunk.pass.steps, layer, *names));
	return gpu_read(&m->chunk.buffer, at, records, bytes);
}

rwkvk_status check_chunk(struct rwkvk_model *m, uint32_t slot, uint32_t layer, const char *const *names, const uint32_t *tokens,
                         uint32_t count, float *records, float *state)
{
	uint64_t bytes = config_slot_floats(model_config(m)) * sizeof(float);
	INVARIANT(count > 0 && count <= m->chunk.pass.rows);
	TRY(chunk_prepare(m));
	chunk_table(m, slot, tokens, count, 1);
	if (state)
		TRY(gpu_write(&m->layers[layer].state, slot * bytes, state, bytes));
	TRY(run_chunk_stages(m, layer, names, count, records));
	return state ? gpu_read(&m->layers[layer].state, slot * bytes, state, bytes) : RWKVK_OK;
}

rwkvk_status check_select(struct rwkvk_model *m, uint32_t slot, uint32_t token, float *act)
{
	uint32_t *io = m->io.mapped;
	io[IO_MODE] = MODE_FEED;
	io[IO_FED] = 0;
	io[IO_TOKENS] = token;
	io[IO_SLOT] = slot;
	return check_stage(m, slot, 0, "select", act, NULL);
}

/* ------------------------------------------------------------------------------------------------------ blocks */

bool check_quantises(const struct rwkvk_model *m)
{
	return device_quantises(gpu_caps(m->gpu));
}

static rwkvk_status quantise(struct quantiser *q, const struct matrix *matrix, struct device_slice *slice)
{
	struct quantise_rows rows = {
		.part = &matrix->parts[0], .columns = matrix->columns, .rows = matrix->rows, .slice = slice, .step = 1
	};
	INVARIANT(quantiser_takes(q, matrix));
	while (rows.rows > 0)
		TRY(quantise_piece(q, &rows));
	return quantiser_finish(q);
}

static rwkvk_status quantise_into(struct rwkvk_model *m, struct parallel *parallel, struct device_matrix *matrix, uint8_t *out)
{
	struct quantiser *q;
	TRY(slices_create(m->gpu, matrix, "weights"));
	INVARIANT(matrix->count == 1);
	struct device_slice *slice = &matrix->slices[0];
	uint64_t bytes = (uint64_t)matrix->matrix.rows * matrix->matrix.columns * sizeof(float);
	TRY(quantiser_create(m->gpu, parallel, bytes, &q));
	rwkvk_status status = quantise(q, &matrix->matrix, slice);
	quantiser_destroy(q);
	TRY(status);
	TRY(gpu_read(&slice->weights, 0, out, slice->weights.bytes));
	return gpu_read(&slice->side, 0, out + slice->weights.bytes, slice->side.bytes);
}

rwkvk_status check_quantise(struct rwkvk_model *m, struct parallel *parallel, const struct matrix *matrix, uint8_t *out)
{
	struct device_matrix on_device = { .matrix = *matrix };
	rwkvk_status status = quantise_into(m, parallel, &on_device, out);
	slices_destroy(&on_device);
	return status;
}
