/* Floats into blocks by the device (shaders/quantise.comp), where that is a GPU: it finishes a piece before the host has the
 * next one ready.  The host only copies rows as they are in the file; meanwhile the device works on earlier pieces.
 */
#include "engine/quantise_device.h"

#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"

/* A piece in flight: rows as in the file, and the command that makes blocks of them. */
struct piece {
	struct gpu_buffer raw;
	struct gpu_cmd *cmd;
	struct gpu_set *set;              /* of the slice */
	const struct device_slice *slice; /* NULL: there is no set yet */
};

struct quantiser {
	struct gpu *gpu;
	struct parallel *parallel;
	struct piece pieces[QUANTISE_PIECES];
	uint32_t next;
};

enum { WORKGROUP_ROWS = 32, WORKGROUP_COLUMNS = 256, COLUMN_UNIT = 32, TILE_ROWS = 8 };

static uint64_t row_bytes(const struct matrix_part *part, uint64_t columns)
{
	return columns * dtype_info[part->source.tensor->type].bytes;
}

bool device_quantises(const struct gpu_caps *caps)
{
	return caps->type != RWKVK_DEVICE_CPU && !caps->prefer_host;
}

rwkvk_status quantiser_pipeline(struct gpu *gpu, uint32_t floats, uint32_t type, struct gpu_pipeline **out)
{
	uint32_t workgroup = gpu_caps(gpu)->max_invocations < 256 ? 128 : 256;
	const uint32_t constants[] = {
		workgroup, [SPEC_WORKGROUP] = workgroup, [SPEC_WEIGHT_TYPE] = type, [SPEC_SECOND_TYPE] = floats
	};
	return gpu_pipeline_get(gpu, "quantise", constants, sizeof constants / sizeof *constants, out);
}

static rwkvk_status make_pieces(struct quantiser *q, uint64_t bytes)
{
	uint64_t most = gpu_caps(q->gpu)->max_buffer;
	for (int i = 0; i < QUANTISE_PIECES; i++) {
		TRY(gpu_buffer_create(q->gpu, bytes < most ? bytes : most, GPU_WEIGHTS, "weights to be quantised", &q->pieces[i].raw));
		TRY(gpu_cmd_create(q->gpu, &q->pieces[i].cmd));
	}
	return RWKVK_OK;
}

rwkvk_status quantiser_create(struct gpu *gpu, struct parallel *parallel, uint64_t piece_bytes, struct quantiser **out)
{
	*out = NULL;
	struct quantiser *q = calloc(1, sizeof *q);
	if (!q)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	q->gpu = gpu;
	q->parallel = parallel;
	rwkvk_status status = make_pieces(q, piece_bytes);
	if (status != RWKVK_OK)
		quantiser_destroy(q);
	else
		*out = q;
	return status;
}

void quantiser_destroy(struct quantiser *q)
{
	if (!q)
		return;
	error_hold();
	(void)gpu_upload_finish(q->gpu); /* after a failure, rows and the commands that read them may still be in flight */
	error_release();
	for (int i = 0; i < QUANTISE_PIECES; i++)
		gpu_cmd_destroy(q->pieces[i].cmd);
	for (int i = 0; i < QUANTISE_PIECES; i++) {
		gpu_set_destroy(q->gpu, q->pieces[i].set);
		gpu_buffer_destroy(&q->pieces[i].raw);
	}
	free(q);
}

rwkvk_status quantiser_finish(struct quantiser *q)
{
	for (int i = 0; i < QUANTISE_PIECES; i++)
		TRY(gpu_cmd_wait(q->pieces[i].cmd));
	return RWKVK_OK;
}

static bool takes_part(const struct quantiser *q, const struct matrix *m, const struct matrix_part *part)
{
	const struct matrix_source *source = &part->source;
	uint64_t unit = m->by_input ? WORKGROUP_ROWS : TILE_ROWS;
	return !dtype_is_block(source->tensor->type) && !source->tensor->merge && !source->transposed &&
	       source->stride == m->columns && unit * row_bytes(part, m->columns) <= q->pieces[0].raw.bytes;
}

bool quantiser_takes(const struct quantiser *q, const struct matrix *m)
{
	if ((m->type != TYPE_Q8 && m->type != TYPE_Q6K && m->type != TYPE_Q5K && m->type != TYPE_Q4K) || m->columns % COLUMN_UNIT)
		return false;
	for (uint32_t i = 0; i < m->part_count; i++)
		if (!takes_part(q, m, &m->parts[i]))
			return false;
	return true;
}

/* ------------------------------------------------------------------------------------------------------ a piece */

struct copying {
	const uint8_t *from;
	uint8_t *to;
	uint64_t bytes;
};

enum { COPY_BYTES = 256 << 10 }; /* per work item: the threads also read the file */

static void copy_run(void *user, unsigned worker, uint64_t index)
{
	const struct copying *c = user;
	uint64_t at = index * COPY_BYTES;
	(void)worker;
	memcpy(c->to + at, c->from + at, c->bytes - at < COPY_BYTES ? c->bytes - at : COPY_BYTES);
}

static rwkvk_status copy_rows(struct quantiser *q, struct piece *piece, const struct quantise_rows *r, uint64_t rows)
{
	const struct matrix_source *source = &r->part->source;
	uint64_t one = row_bytes(r->part, r->columns), bytes = rows * one;
	struct copying c = { .bytes = bytes };
	void *to;
	c.from = (const uint8_t *)source->tensor->data + source->start * dtype_info[source->tensor->type].bytes + r->first * one;
	TRY(gpu_upload_begin(&piece->raw, 0, &bytes, &to));
	INVARIANT(bytes == c.bytes); /* staging memory has room for a piece */
	c.to = to;
	parallel_for(q->parallel, ceil_div(bytes, COPY_BYTES), copy_run, &c);
	return gpu_upload_commit(q->gpu);
}

static rwkvk_status bind(struct quantiser *q, struct piece *piece, struct device_slice *slice)
{
	const struct gpu_binding bindings[GPU_BINDINGS] = {
		{ .buffer = &slice->side }, { .buffer = &slice->weights }, [3] = { .buffer = &piece->raw, .texels = GPU_TEXELS_UVEC4 }
	};
	if (piece->slice == slice)
		return RWKVK_OK;
	gpu_set_destroy(q->gpu, piece->set);
	piece->slice = NULL;
	TRY(gpu_set_create(q->gpu, bindings, &piece->raw, &piece->set));
	piece->slice = slice;
	return RWKVK_OK;
}

/* `covered`: rows to write, of which those past `rows` become zeros. */
static rwkvk_status start(struct quantiser *q, struct piece *piece, const struct quantise_rows *r, uint64_t rows,
                          uint64_t covered)
{
	const struct matrix_source *source = &r->part->source;
	uint32_t row_blocks = (uint32_t)ceil_div(covered, WORKGROUP_ROWS);
	uint32_t spans = (uint32_t)ceil_div(r->columns, WORKGROUP_COLUMNS);
	const uint32_t push[] = { r->by_input, (uint32_t)rows, r->columns, row_blocks, (uint32_t)r->to, (uint32_t)r->step };
	struct gpu_pipeline *pipeline;
	TRY(quantiser_pipeline(q->gpu, type_of_dtype(source->tensor->type), source->type, &pipeline));
	gpu_cmd_begin(piece->cmd);
	gpu_cmd_dispatch(piece->cmd, pipeline, piece->set, push, sizeof push, (struct gpu_groups){ row_blocks * spans, 1 },
	                 "quantise", rows * row_bytes(r->part, r->columns));
	TRY(gpu_cmd_end(piece->cmd));
	return gpu_cmd_start(piece->cmd);
}

rwkvk_status quantise_piece(struct quantiser *q, struct quantise_rows *r)
{
	struct piece *piece = &q->pieces[q->next];
	uint64_t unit = r->by_input ? WORKGROUP_ROWS : TILE_ROWS;
	uint64_t most = piece->raw.bytes / row_bytes(r->part, r->columns) / unit * unit, rows = r->rows < most ? r->rows : most;
	uint64_t covered =
		rows < r->rows || !r->by_input ? rows : PAD(r->to * unit + rows, VALUE_BLOCK(r->part->source.type)) - r->to * unit;
	q->next = (q->next + 1) % QUANTISE_PIECES;
	TRY(gpu_cmd_wait(piece->cmd));
	TRY(copy_rows(q, piece, r, rows));
	TRY(bind(q, piece, r->slice));
	TRY(start(q, piece, r, rows, covered));
	r->first += rows;
	r->rows -= rows;
	r->to += r->by_input ? rows / unit : rows / unit * r->step;
	return RWKVK_OK;
}
