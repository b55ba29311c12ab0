/* Tokens of many sessions in one pass over the weights.  A step has a row for each: a token that `choose` picks on the device,
 * or one of a short text's few tokens; longer texts go through a chunk (chunk.c) in the same submission.  A row's bits do not
 * depend on what else is in the step, so sessions join and leave by changing the table.
 *
 * Steps are recorded for 1, 2, 4, ... rows, each when it is first needed. */
#include "engine/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/numbers.h"

/* ------------------------------------------------------------------------------------------------------ buffers */

uint64_t batch_bytes(const struct config *c, uint32_t most)
{
	return most > 1 ? sizeof(uint32_t) * table_words(c, most) : 0;
}

rwkvk_status batch_create(struct rwkvk_model *m, uint32_t most, uint32_t mixed_rows)
{
	struct batch *b = &m->batch;
	if (most <= 1)
		return RWKVK_OK;
	TRY(gpu_buffer_create(m->gpu, batch_bytes(model_config(m), most), GPU_SHARED, "control words", &b->table));
	for (uint32_t rows = 1; b->bucket_count == 0 || rows / 2 < most; rows *= 2) {
		struct pass *pass = &b->buckets[b->bucket_count++].pass;
		pass->rows = pass->runs = smaller(rows, most);
		pass->table = &b->table;
		pass->chooses = true;
	}
	b->most = most;
	b->outputs = step_usual_outputs(m);
	batch_cut(m);
	b->mixed_rows = !mixed_rows ? m->chunk.pass.rows : mixed_rows < LEAST_ROWS ? LEAST_ROWS : mixed_rows;
	m->chunk.pass.runs = smaller(most, m->chunk.pass.rows);
	return queue_create(&b->queue);
}

static void drop_bucket(struct rwkvk_model *m, struct bucket *bucket)
{
	gpu_cmd_destroy(bucket->cmd);
	bucket->cmd = NULL;
	steps_drop(m, &bucket->pass.steps);
}

static void drop_head(struct rwkvk_model *m)
{
	gpu_cmd_destroy(m->batch.head_cmd);
	m->batch.head_cmd = NULL;
	steps_drop(m, &m->batch.head);
}

void batch_cut(struct rwkvk_model *m)
{
	struct batch *b = &m->batch;
	for (uint32_t i = 0; i < b->bucket_count; i++) {
		struct pass *pass = &b->buckets[i].pass;
		drop_bucket(m, &b->buckets[i]);
		b->buckets[i].pace = (struct pace){ 0 };
		pass->shape = step_usual_outputs(m) ? step_shape_for(gpu_caps(m->gpu), model_config(m), b->most, pass->rows, b->outputs)
		                                    : m->chunk.pass.shape;
	}
	drop_head(m);
}

uint32_t step_usual_outputs(const struct rwkvk_model *m)
{
	return m->batch.most ? step_outputs_for(gpu_caps(m->gpu), model_config(m), m->batch.most) : 0;
}

uint32_t step_outputs(const struct rwkvk_model *m)
{
	return m->batch.outputs;
}

bool step_takes_outputs(const struct rwkvk_model *m, uint32_t outputs)
{
	return step_usual_outputs(m) > 0 && step_outputs_possible(gpu_caps(m->gpu), m->batch.most, outputs);
}

void step_set_outputs(struct rwkvk_model *m, uint32_t outputs)
{
	m->batch.outputs = outputs;
	batch_cut(m);
}

void batch_drop(struct rwkvk_model *m)
{
	struct batch *b = &m->batch;
	for (uint32_t i = 0; i < b->bucket_count; i++)
		drop_bucket(m, &b->buckets[i]);
	drop_head(m);
	gpu_buffer_destroy(&b->table);
	queue_destroy(b->queue);
	*b = (struct batch){ 0 };
}

/* ------------------------------------------------------------------------------------------------------ recording */

static rwkvk_status record_bucket(struct rwkvk_model *m, struct bucket *bucket)
{
	struct steps *steps = &bucket->pass.steps;
	TRY(plan_choose(m, &bucket->pass));
	TRY(chunk_steps(m, &bucket->pass));
	TRY(chunk_head(m, &bucket->pass, steps, NULL));
	TRY(gpu_pipelines_compile(m->gpu));
	TRY(record_steps(m, steps->all, steps->count, &bucket->cmd));
	gpu_pipeline_cache_save(m->gpu);
	return RWKVK_OK;
}

/* The smallest bucket that has room for `rows` rows, recorded. */
static rwkvk_status prepare_bucket(struct rwkvk_model *m, uint32_t rows, struct bucket **out)
{
	struct bucket *bucket = m->batch.buckets;
	while (bucket->pass.rows < rows)
		bucket++;
	*out = bucket;
	if (bucket->cmd)
		return RWKVK_OK;
	rwkvk_status status = record_bucket(m, bucket);
	if (status == RWKVK_OK)
		return RWKVK_OK;
	drop_bucket(m, bucket);
	if (status == RWKVK_CANCELLED || status == RWKVK_ERROR_DEVICE_LOST || !tuned_drop_step(m))
		return status;
	return record_bucket(m, bucket);
}

rwkvk_status batch_prepare_head(struct rwkvk_model *m)
{
	struct batch *b = &m->batch;
	if (b->head_cmd)
		return RWKVK_OK;
	rwkvk_status status = chunk_head(m, &m->chunk.pass, &b->head, NULL);
	if (status == RWKVK_OK)
		status = gpu_pipelines_compile(m->gpu);
	if (status == RWKVK_OK)
		status = record_steps(m, b->head.all, b->head.count, &b->head_cmd);
	if (status != RWKVK_OK)
		drop_head(m);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ who gets what */

/* A submission being assembled. */
struct submission {
	struct rwkvk_model *m;
	struct work **works;
	uint32_t count;
	uint32_t chunk_rows, chunk_runs, step_rows; /* so far */
	uint32_t tokens;                            /* that a row of the step may have */
	uint32_t *snapshots;                        /* [count] of works that a chunk reads */
	struct bucket *bucket;                      /* NULL: there is no step */
};

static bool picks(const struct work *w)
{
	return w->picking != NULL;
}

/* A row for each token; tokens that do not fit wait. */
static void place_in_step(struct submission *s, struct work *w)
{
	uint32_t room = s->m->batch.most - s->step_rows, rows = picks(w) ? 1 : (uint32_t)(w->count < room ? w->count : room);
	w->rows = rows < room ? rows : room;
	s->step_rows += w->rows;
}

/* The remainder must not become so short that a different kernel would read it. */
static void place_in_chunk(struct submission *s, struct work *w, uint32_t most)
{
	const uint32_t threshold = s->m->chunk.pass.shape.threshold, room = most - s->chunk_rows;
	uint32_t rows = (uint32_t)(w->count < room ? w->count : room);
	size_t rest = w->count - rows;
	if (rest > 0 && rest < threshold)
		rows = rows + rest > threshold ? rows - (threshold - (uint32_t)rest) : 0;
	if ((rows < threshold && s->chunk_rows > 0) || s->chunk_runs == s->m->chunk.pass.runs)
		rows = 0; /* a whole tile for a few rows, or one run too many: it is the next chunk's first */
	w->in_chunk = true;
	w->rows = rows;
	s->chunk_rows += rows;
	s->chunk_runs += rows > 0;
}

/* A snapshot for each run of the chunk.  If none is free, the work waits unless it is the only one. */
static rwkvk_status take_snapshots(struct submission *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		struct work *w = s->works[i];
		s->snapshots[i] = NO_SNAPSHOT;
		if (!w->in_chunk || w->rows == 0)
			continue;
		TRY(slot_find_snapshot(s->m, w->slot, &s->snapshots[i]));
		if (s->snapshots[i] == NO_SNAPSHOT) {
			s->chunk_rows -= w->rows;
			s->chunk_runs--;
			w->rows = 0;
		} else {
			s->m->snapshot_taken[s->snapshots[i]] = true;
		}
	}
	return RWKVK_OK;
}

static void give_snapshots(struct submission *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->snapshots[i] != NO_SNAPSHOT)
			s->m->snapshot_taken[s->snapshots[i]] = false;
}

/* A text with a snapshot may have several tokens, unless the host has to supply a mask for each. */
static bool has_several(const struct work *w)
{
	return w->picking->picking.snapshot != NO_SNAPSHOT && !w->picking->mask;
}

/* Tokens that each text may have now: one beside a chunk, else as many as the pace and the largest request allow. */
static uint32_t tokens_at_once(const struct submission *s)
{
	uint64_t most = 1;
	for (uint32_t i = 0; i < s->count; i++) {
		const struct work *w = s->works[i];
		if (w->rows > 0 && picks(w) && has_several(w) && w->most > most)
			most = w->most;
	}
	if (s->chunk_rows > 0 || most == 1)
		return 1;
	if (s->m->at_once)
		return (uint32_t)(most < s->m->at_once ? most : s->m->at_once);
	return pace_tokens(&s->bucket->pace, gpu_caps(s->m->gpu)->type, most);
}

static rwkvk_status arrange(struct submission *s)
{
	const struct rwkvk_model *m = s->m;
	uint32_t chunk_most = chunk_rows_at_once(m, false);
	bool texts = false;
	for (uint32_t i = 0; i < s->count; i++)
		texts |= picks(s->works[i]);
	if (texts && m->batch.mixed_rows < chunk_most)
		chunk_most = m->batch.mixed_rows;
	for (uint32_t i = 0; i < s->count; i++) {
		struct work *w = s->works[i];
		w->rows = w->done = 0;
		w->in_chunk = false;
		w->status = RWKVK_OK;
		if (picks(w) || w->singly || !forward_reads_chunks(m, w->count))
			place_in_step(s, w);
		else
			place_in_chunk(s, w, chunk_most);
	}
	TRY(take_snapshots(s));
	if (s->chunk_rows > 0)
		TRY(chunk_prepare(s->m));
	if (s->step_rows > 0)
		TRY(prepare_bucket(s->m, s->step_rows, &s->bucket));
	s->tokens = tokens_at_once(s);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ tables */

static void write_asks(const struct submission *s, struct work *w, uint32_t *table)
{
	if (picks(w)) {
		w->picking->most = has_several(w) ? (uint32_t)(w->most < s->tokens ? w->most : s->tokens) : 1;
		ask_pick(s->m, w->first, table, w->slot, w->picking);
		return;
	}
	for (uint32_t i = 0; i < w->rows; i++)
		ask_feed(s->m, w->first + i, table, w->slot, w->tokens + i, 1);
}

/* The logits of a work's last row are wanted if it ends there. */
static void write_tables(struct submission *s)
{
	uint32_t *chunk = s->m->chunk.table.mapped, *step = s->m->batch.table.mapped, none = 0;
	table_clear(chunk);
	table_clear(step);
	for (uint32_t i = 0; i < s->count; i++) {
		struct work *w = s->works[i];
		if (w->rows == 0)
			continue;
		w->first = table_add(w->in_chunk ? chunk : step, w->slot, picks(w) ? &none : w->tokens, w->rows,
		                     picks(w) || w->rows == w->count);
		if (!w->in_chunk)
			write_asks(s, w, step);
	}
}

/* ------------------------------------------------------------------------------------------------------ running */

static bool keeps(const struct submission *s, const struct work *w)
{
	const struct picking *p = w->picking ? &w->picking->picking : NULL;
	return p && w->rows > 0 && p->snapshot != NO_SNAPSHOT &&
	       (p->keep == KEEP_ALWAYS || (p->keep == KEEP_BEFORE_SEVERAL && s->tokens > 1));
}

/* The commands of a step. */
static uint32_t list_step(const struct submission *s, struct gpu_cmd **list)
{
	uint32_t length = 0;
	for (uint32_t i = 0; i < s->count; i++)
		if (keeps(s, s->works[i]))
			list[length++] = *slot_snapshot_cmd(s->m, s->works[i]->slot, s->works[i]->picking->picking.snapshot);
	for (uint32_t i = 0; i < s->tokens; i++)
		list[length++] = s->bucket->cmd;
	return length;
}

static rwkvk_status check_step(const struct submission *s)
{
	const uint32_t *table = s->m->batch.table.mapped;
	return table[TABLE_DONE] == s->step_rows ? RWKVK_OK : driver_idles(s->m);
}

/* The step alone. */
static rwkvk_status run_step(struct submission *s)
{
	struct gpu_cmd *list[MAX_ROWS + MAX_TOKENS];
	uint32_t length = list_step(s, list), at_once = s->m->used_inputs.bytes ? 1 : length; /* timestamps belong to one command */
	uint64_t start = clock_nanoseconds();
	for (uint32_t i = 0; i < length; i += at_once)
		TRY(gpu_cmd_run_list(list + i, at_once));
	pace_measured(&s->bucket->pace, s->tokens, clock_nanoseconds() - start);
	return check_step(s);
}

/* The chunk.  The step shares the submission of the chunk's last layer if the duration of both is known. */
static rwkvk_status run_chunk(struct submission *s, bool *with_step)
{
	const uint32_t *table = s->m->chunk.table.mapped;
	struct passage p = { .rows = s->chunk_rows };
	if (table[TABLE_WANTED] > 0) {
		TRY(batch_prepare_head(s->m));
		p.after[p.after_count++] = s->m->batch.head_cmd;
	}
	*with_step = s->bucket && s->bucket->pace.tokens && s->m->chunk.pace.tokens && !s->m->used_inputs.bytes;
	if (*with_step) {
		p.after_count += list_step(s, p.after + p.after_count);
		p.after_nanoseconds = s->bucket->pace.usual;
	}
	for (uint32_t i = 0; i < s->count; i++)
		if (s->snapshots[i] != NO_SNAPSHOT) {
			p.keep[p.keep_count++] = *slot_snapshot_cmd(s->m, s->works[i]->slot, s->snapshots[i]);
			p.cancel = s->works[i]->cancel;
		}
	p.cancel = p.keep_count == 1 ? p.cancel : NULL; /* otherwise other sessions would be cancelled, too */
	rwkvk_status status = chunk_run(s->m, &p);
	error_hold();
	for (uint32_t i = 0; status != RWKVK_OK && p.kept && i < s->count; i++)
		if (s->snapshots[i] != NO_SNAPSHOT)
			(void)slot_rewind(s->m, s->works[i]->slot, s->snapshots[i]);
	error_release();
	TRY(status);
	return *with_step ? check_step(s) : RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ what came of it */

void work_blame(struct work *w, rwkvk_status status)
{
	w->status = status;
	snprintf(w->error, sizeof w->error, "%s", rwkvk_last_error());
}

static void blame_all(const struct submission *s, bool chunk, rwkvk_status status)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->works[i]->in_chunk == chunk && s->works[i]->rows > 0)
			work_blame(s->works[i], status);
}

static void read_picked(const struct submission *s, struct work *w)
{
	const uint32_t *ask = (const uint32_t *)s->m->batch.table.mapped + ASK(w->first, model_config(s->m)->vocab);
	struct picked *out = w->picked;
	out->count = w->done = ask[IO_FED];
	out->stopped = ask[IO_DONE] == DONE_STOP;
	out->stop = ask[IO_PICKED];
	out->close = ask[IO_CLOSE];
	memcpy(out->tokens, ask + IO_TOKENS, out->count * sizeof *out->tokens);
	memcpy(out->log_probabilities, ask + ASK_LOGPROBS, out->count * sizeof *out->log_probabilities);
	memcpy(out->tops, ask + ASK_TOPS, w->picking->top ? out->count * sizeof *out->tops : 0);
	if (ask[IO_DONE] == DONE_MASKED && w->done == 0)
		work_blame(w, fail(RWKVK_ERROR_ARGUMENT, "the mask of allowed tokens leaves none that could be picked"));
	else if (ask[IO_DONE] == DONE_BROKEN && w->done == 0) /* otherwise the earlier tokens are good; the next call fails */
		work_blame(w, fail(RWKVK_ERROR_DRIVER, "%s computed logits that are not numbers; try another device or driver version",
		                   gpu_caps(s->m->gpu)->name));
}

static void take_results(const struct submission *s, bool chunk)
{
	uint64_t fed = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		struct work *w = s->works[i];
		if (w->in_chunk != chunk || w->rows == 0)
			continue;
		if (picks(w))
			read_picked(s, w);
		else
			w->done = w->rows;
		fed += w->done;
	}
	atomic_fetch_add_explicit(&s->m->tokens, fed, memory_order_relaxed);
}

static void run(struct submission *s)
{
	bool with_step = false;
	rwkvk_status status = RWKVK_OK;
	write_tables(s);
	if (s->chunk_rows > 0) {
		status = run_chunk(s, &with_step);
		if (status == RWKVK_OK)
			take_results(s, true);
		else
			blame_all(s, true, status);
	}
	if (!s->bucket || (status != RWKVK_OK && !with_step))
		return; /* texts that were to pick have picked nothing; they learn of a lost device at their next attempt */
	if (!with_step)
		status = run_step(s);
	if (status == RWKVK_OK)
		take_results(s, false);
	else
		blame_all(s, false, status);
}

void batch_run(struct rwkvk_model *m, struct work **works, uint32_t count)
{
	uint32_t snapshots[MAX_ROWS];
	struct submission s = { .m = m, .works = works, .count = smaller(count, MAX_ROWS), .snapshots = snapshots };
	for (uint32_t i = 0; i < MAX_ROWS; i++)
		snapshots[i] = NO_SNAPSHOT;
	for (uint32_t i = s.count; i < count; i++) {
		works[i]->status = RWKVK_OK;
		works[i]->done = 0;
	}
	rwkvk_status status = arrange(&s);
	if (status == RWKVK_OK)
		run(&s);
	else
		for (uint32_t i = 0; i < s.count; i++)
			work_blame(works[i], status);
	give_snapshots(&s);
}

rwkvk_status batch_feed(struct rwkvk_model *m, uint32_t slot, const uint32_t *tokens, size_t count, uint32_t *fed)
{
	struct work work = { .slot = slot, .tokens = tokens, .count = count, .singly = true }, *works = &work;
	batch_run(m, &works, 1);
	*fed = work.done;
	return work.status == RWKVK_OK ? RWKVK_OK : fail(work.status, "%s", work.error);
}

uint32_t model_max_batch(const struct rwkvk_model *m)
{
	return m->batch.most;
}
