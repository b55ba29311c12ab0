/* Prompts in chunks: many tokens of a session go through a layer together, so its weights are read once for all of them.  The
 * stages are chunk_plan.c's.  A layer is a command of its own, recorded when the first chunk is fed, and a submission has as
 * many of them as the pace allows; how many rows a chunk has is in its table, not in what was recorded. */
#include "engine/plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/numbers.h"

/* ------------------------------------------------------------------------------------------------------ buffers */

uint64_t chunk_bytes(const struct config *c, uint32_t rows)
{
	return rows ? sizeof(float) * (ROWS_TABLE + rows * (uint64_t)config_row_floats(c)) : 0;
}

uint32_t chunk_most_rows(const struct rwkvk_model *m, uint32_t asked)
{
	uint32_t rows = chunk_shape_for(gpu_caps(m->gpu), model_config(m)).rows;
	if (asked && asked < rows)
		rows = asked > LEAST_ROWS ? asked / LEAST_ROWS * LEAST_ROWS : LEAST_ROWS;
	while (rows >= LEAST_ROWS && chunk_bytes(model_config(m), rows) > gpu_caps(m->gpu)->max_buffer)
		rows = rows / 2 / LEAST_ROWS * LEAST_ROWS;
	return rows >= LEAST_ROWS ? rows : 0;
}

void chunk_init(struct rwkvk_model *m, uint32_t rows)
{
	m->chunk.pass = (struct pass){
		.shape = chunk_shape_for(gpu_caps(m->gpu), model_config(m)), .rows = rows, .runs = 1, .table = &m->chunk.table
	};
}

rwkvk_status chunk_create(struct rwkvk_model *m, uint32_t rows, uint32_t places)
{
	struct chunk *chunk = &m->chunk;
	if (!rows)
		return RWKVK_OK;
	TRY(gpu_buffer_create(m->gpu, chunk_bytes(model_config(m), places), GPU_DEVICE, "the rows of a chunk", &chunk->buffer));
	TRY(gpu_buffer_create(m->gpu, sizeof(uint32_t) * TABLE_WORDS, GPU_SHARED, "control words", &chunk->table));
	chunk_init(m, rows);
	return RWKVK_OK;
}

static void drop_commands(struct rwkvk_model *m)
{
	struct chunk *chunk = &m->chunk;
	for (uint32_t i = 0; chunk->cmds && i <= model_config(m)->layers; i++)
		gpu_cmd_destroy(chunk->cmds[i]);
	free(chunk->cmds);
	chunk->cmds = NULL;
	steps_drop(m, &chunk->pass.steps);
}

struct tile chunk_usual_tile(const struct rwkvk_model *m)
{
	const struct chunk_shape usual = chunk_shape_for(gpu_caps(m->gpu), model_config(m));
	return chunk_shape_tile(&usual);
}

struct tile chunk_tile(const struct rwkvk_model *m)
{
	return chunk_shape_tile(&m->chunk.pass.shape);
}

bool chunk_takes_tile(const struct rwkvk_model *m, const struct tile *tile)
{
	struct chunk_shape shape = chunk_shape_for(gpu_caps(m->gpu), model_config(m));
	return chunk_shape_cut(&shape, gpu_caps(m->gpu), tile);
}

static void drop_head(struct rwkvk_model *m)
{
	struct chunk *chunk = &m->chunk;
	gpu_cmd_destroy(chunk->head_cmd);
	chunk->head_cmd = NULL;
	steps_drop(m, &chunk->head);
	gpu_buffer_destroy(&chunk->logits);
}

void chunk_set_tile(struct rwkvk_model *m, const struct tile *tile)
{
	drop_commands(m);
	drop_head(m);
	(void)chunk_shape_cut(&m->chunk.pass.shape, gpu_caps(m->gpu), tile);
	m->chunk.pace = (struct pace){ 0 }; /* the pace counts tiles */
	m->chunk.tile_stored = false;
	batch_cut(m);
}

void chunk_drop(struct rwkvk_model *m)
{
	drop_commands(m);
	drop_head(m);
	gpu_buffer_destroy(&m->chunk.buffer);
	gpu_buffer_destroy(&m->chunk.table);
	m->chunk = (struct chunk){ 0 };
}

/* ------------------------------------------------------------------------------------------------------ recording */

/* Command 0 is the embedding, command 1 + i layer i. */
static rwkvk_status record_layers(struct rwkvk_model *m)
{
	struct chunk *chunk = &m->chunk;
	const uint32_t layers = model_config(m)->layers;
	for (uint32_t i = 0, at = 0; i <= layers; i++) {
		uint32_t layer = i == 0 ? layers : i - 1, first = at;
		while (at < chunk->pass.steps.count && chunk->pass.steps.all[at].layer == layer)
			at++;
		TRY(record_steps(m, chunk->pass.steps.all + first, at - first, &chunk->cmds[i]));
	}
	return RWKVK_OK;
}

static rwkvk_status prepare(struct rwkvk_model *m)
{
	struct chunk *chunk = &m->chunk;
	chunk->cmds = calloc(model_config(m)->layers + 1, sizeof(struct gpu_cmd *));
	rwkvk_status status = chunk->cmds ? chunk_steps(m, &chunk->pass) : fail(RWKVK_ERROR_MEMORY, "out of memory");
	if (status == RWKVK_OK)
		status = record_layers(m);
	if (status != RWKVK_OK)
		drop_commands(m);
	else
		gpu_pipeline_cache_save(m->gpu);
	return status;
}

rwkvk_status chunk_prepare(struct rwkvk_model *m)
{
	if (m->chunk.cmds)
		return RWKVK_OK;
	rwkvk_status status = prepare(m);
	if (status == RWKVK_OK || status == RWKVK_CANCELLED || status == RWKVK_ERROR_DEVICE_LOST || !tuned_drop_tile(m))
		return status;
	return prepare(m);
}

/* Logits of as many rows as the device has room for. */
static rwkvk_status make_logits(struct rwkvk_model *m)
{
	struct chunk *chunk = &m->chunk;
	const uint64_t row = sizeof(float) * V4((uint64_t)model_config(m)->vocab), most = gpu_caps(m->gpu)->max_buffer / row;
	rwkvk_status status;
	chunk->logits_rows = most < chunk->pass.rows ? (uint32_t)most : chunk->pass.rows;
	do
		status = gpu_buffer_create(m->gpu, chunk->logits_rows * row, GPU_READBACK, "logits of a chunk", &chunk->logits);
	while (status == RWKVK_ERROR_MEMORY && (chunk->logits_rows /= 2) > 0);
	return status;
}

/* The commands after a chunk whose logits are all wanted. */
static rwkvk_status prepare_each(struct rwkvk_model *m)
{
	struct chunk *chunk = &m->chunk;
	if (chunk->head_cmd)
		return RWKVK_OK;
	rwkvk_status status = make_logits(m);
	if (status == RWKVK_OK)
		status = chunk_head(m, &chunk->pass, &chunk->head, &chunk->logits);
	if (status == RWKVK_OK)
		status = gpu_pipelines_compile(m->gpu);
	if (status == RWKVK_OK)
		status = record_steps(m, chunk->head.all, chunk->head.count, &chunk->head_cmd);
	if (status != RWKVK_OK)
		drop_head(m);
	else
		gpu_pipeline_cache_save(m->gpu);
	return status;
}

/* The commands after a chunk whose last token's logits are wanted: the input of the plan's head, and the head. */
static rwkvk_status prepare_head(struct rwkvk_model *m)
{
	struct plan *plan = &m->plan;
	if (plan->head)
		return RWKVK_OK;
	if (!plan->last.count)
		TRY(chunk_last(m, &m->chunk.pass));
	TRY(gpu_pipelines_compile(m->gpu));
	if (!plan->last_row)
		TRY(record_steps(m, plan->last.all, plan->last.count, &plan->last_row));
	return record_steps(m, plan->steps.all + plan->head_step, plan->steps.count - plan->head_step, &plan->head);
}

/* ------------------------------------------------------------------------------------------------------ feeding */

bool forward_reads_chunks(const struct rwkvk_model *m, size_t count)
{
	return m->chunk.pass.rows > 0 && count >= m->chunk.pass.shape.threshold;
}

uint32_t forward_chunk_rows(const struct rwkvk_model *m)
{
	return m->chunk.pass.rows;
}

void table_clear(uint32_t *table)
{
	table[TABLE_ROWS] = table[TABLE_RUNS] = table[TABLE_WANTED] = table[TABLE_DONE] = 0;
}

uint32_t table_add(uint32_t *table, uint32_t slot, const uint32_t *tokens, uint32_t rows, uint32_t wanted)
{
	const uint32_t first = table[TABLE_ROWS], end = first + rows, run = TABLE_RUN(table[TABLE_RUNS]++);
	for (uint32_t i = first; i < end; i++) {
		uint32_t *row = table + TABLE_ROW(i);
		row[ROW_SLOT] = slot;
		row[ROW_TOKEN] = tokens[i - first];
		row[ROW_BEFORE] = i > first ? i - 1 : NO_ROW;
		row[ROW_LAST] = i + 1 == end;
	}
	table[run + RUN_SLOT] = slot;
	table[run + RUN_FIRST] = first;
	table[run + RUN_ROWS] = rows;
	for (uint32_t i = end - wanted; i < end; i++)
		table[TABLE_WANT(table[TABLE_WANTED]++)] = i;
	table[TABLE_ROWS] = end;
	return first;
}

void chunk_table(struct rwkvk_model *m, uint32_t slot, const uint32_t *tokens, uint32_t rows, uint32_t wanted)
{
	table_clear(m->chunk.table.mapped);
	table_add(m->chunk.table.mapped, slot, tokens, rows, wanted);
}

static uint32_t tiles_of(const struct rwkvk_model *m, uint32_t rows)
{
	return ceil_div(rows, m->chunk.pass.shape.tile_rows);
}

/* The number of layers in the next submission. */
static uint32_t layers_at_once(const struct rwkvk_model *m, uint32_t rows, uint32_t left)
{
	uint32_t tiles = tiles_of(m, rows);
	uint32_t layers = pace_tokens(&m->chunk.pace, gpu_caps(m->gpu)->type, (uint64_t)left * tiles) / tiles;
	return layers < 1 ? 1 : layers < GPU_LIST / 4 ? layers : GPU_LIST / 4; /* the rest: snapshots, embedding, what follows */
}

/* With a profile, one by one, since timestamps belong to a command that runs alone.  *kept: the first has run. */
static rwkvk_status run(const struct rwkvk_model *m, struct gpu_cmd **list, uint32_t length, bool *kept)
{
	uint32_t at_once = m->used_inputs.bytes ? 1 : length;
	for (uint32_t i = 0; i < length; i += at_once) {
		TRY(gpu_cmd_run_list(list + i, at_once));
		*kept = true;
	}
	return RWKVK_OK;
}

/* The head's work, as a number of layers. */
static uint32_t head_layers(const struct rwkvk_model *m)
{
	const struct network *net = &m->file.network;
	return (uint32_t)ceil_div((uint64_t)net->config.vocab * net->config.width * net->config.layers, model_multiply_adds(net));
}

uint32_t chunk_rows_at_once(const struct rwkvk_model *m, bool each)
{
	uint64_t most =
		pace_most(&m->chunk.pace, gpu_caps(m->gpu)->type) / (each ? head_layers(m) : 1) * m->chunk.pass.shape.tile_rows;
	uint32_t rows = most < LEAST_ROWS ? LEAST_ROWS : most < m->chunk.pass.rows ? (uint32_t)most : m->chunk.pass.rows;
	return each && rows > m->chunk.logits_rows ? m->chunk.logits_rows : rows;
}

/* The next layers, with the commands before the first and after the last. */
static rwkvk_status submit_layers(struct rwkvk_model *m, struct passage *p)
{
	const uint32_t all = model_config(m)->layers, n = layers_at_once(m, p->rows, all - p->layer);
	const bool begins = p->layer == 0, ends = p->layer + n == all;
	struct gpu_cmd *list[GPU_LIST];
	uint32_t length = 0;
	bool ran = false;
	for (uint32_t i = 0; begins && i < p->keep_count; i++)
		list[length++] = p->keep[i];
	if (begins)
		list[length++] = m->chunk.cmds[0];
	for (uint32_t i = 0; i < n; i++)
		list[length++] = m->chunk.cmds[1 + p->layer + i];
	for (uint32_t i = 0; ends && i < p->after_count; i++)
		list[length++] = p->after[i];
	uint64_t start = clock_nanoseconds();
	rwkvk_status status = run(m, list, length, &ran);
	p->kept |= begins && ran;
	TRY(status);
	uint64_t took = clock_nanoseconds() - start, other = ends ? p->after_nanoseconds : 0;
	pace_measured(&m->chunk.pace, n * tiles_of(m, p->rows), took > other ? took - other : 1);
	p->layer += n;
	return RWKVK_OK;
}

rwkvk_status driver_idles(const struct rwkvk_model *m)
{
	return fail(RWKVK_ERROR_DRIVER,
	            "%s reported work as finished that it has not done: its driver is broken, or only compiles shaders; try "
	            "another device or driver version",
	            gpu_caps(m->gpu)->name);
}

rwkvk_status chunk_run(struct rwkvk_model *m, struct passage *p)
{
	const uint32_t layers = model_config(m)->layers, *table = m->chunk.table.mapped;
	while (p->layer < layers) {
		TRY(submit_layers(m, p));
		if (table[TABLE_DONE] != p->rows) { /* the embedding sets the answer, so this is the first submission */
			p->kept = false;                /* no copy was made either: the state is unchanged */
			return driver_idles(m);
		}
		if ((p->layer < layers || p->goes_on) && p->cancel && atomic_load(p->cancel))
			return fail(RWKVK_CANCELLED, "cancelled within a chunk of %" PRIu32 " tokens", p->rows);
	}
	return RWKVK_OK;
}

static void read_logits(const struct rwkvk_model *m, uint32_t rows, float *out)
{
	const uint64_t vocab = model_config(m)->vocab;
	const float *logits = m->chunk.logits.mapped;
	for (uint32_t i = 0; i < rows; i++)
		memcpy(out + i * vocab, logits + i * V4(vocab), vocab * sizeof *out);
}

/* The head of the last token, if it is the last of all. */
static rwkvk_status add_head(struct rwkvk_model *m, struct passage *p)
{
	if (m->batch.most) {
		TRY(batch_prepare_head(m));
		p->after[p->after_count++] = m->batch.head_cmd;
		return RWKVK_OK;
	}
	TRY(prepare_head(m));
	p->after[p->after_count++] = m->plan.last_row;
	p->after[p->after_count++] = m->plan.head;
	return RWKVK_OK;
}

rwkvk_status chunk_feed(struct rwkvk_model *m, uint32_t slot, const uint32_t *tokens, size_t count, bool head, float *each,
                        const atomic_bool *cancel, uint32_t *fed)
{
	struct passage p = { .goes_on = each != NULL, .cancel = cancel };
	uint32_t snapshot;
	*fed = 0;
	TRY(chunk_prepare(m));
	if (each)
		TRY(prepare_each(m));
	TRY(slot_find_snapshot(m, slot, &snapshot));
	INVARIANT(snapshot != NO_SNAPSHOT);
	p.keep[p.keep_count++] = *slot_snapshot_cmd(m, slot, snapshot);
	p.rows = smaller(chunk_rows_at_once(m, each != NULL), (uint32_t)(count < MAX_ROWS ? count : MAX_ROWS));
	const bool ends = head && p.rows == count;
	if (ends && !(each && m->batch.most)) /* there the same kernel makes both */
		TRY(add_head(m, &p));
	chunk_table(m, slot, tokens, p.rows, each ? p.rows : 1);
	rwkvk_status status = chunk_run(m, &p);
	if (status == RWKVK_OK && each)
		status = gpu_cmd_run(m->chunk.head_cmd);
	if (status != RWKVK_OK) {
		error_hold();
		if (p.kept)
			(void)slot_rewind(m, slot, snapshot);
		error_release();
		return status;
	}
	if (each)
		read_logits(m, p.rows, each);
	if (each && ends && m->batch.most)
		memcpy(slot_logits(m, slot), each + (p.rows - 1) * (size_t)model_config(m)->vocab,
		       model_config(m)->vocab * sizeof *each);
	*fed = p.rows;
	atomic_fetch_add_explicit(&m->tokens, p.rows, memory_order_relaxed);
	return RWKVK_OK;
}
