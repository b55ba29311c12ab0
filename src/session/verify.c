/* Checks that this device computes this model correctly.  Every stage runs on the device on the reference's results so far, so
 * a wrong stage is found by name and does not spoil the others: for one token, then for all of them as a chunk.  Then the
 * device runs whole tokens alone, and a prompt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/numbers.h"
#include "base/structs.h"
#include "engine/check.h"
#include "network/reference.h"
#include "session/verify.h"

/* Tolerances, as shares of a result's largest value.  Sums of a few thousand products in f32 err by some 1e-6 of their terms'
 * size, and the norms' divisions by deviations enlarge that; half precision would err by 1e-3.  docs/model.md has measurements
 * of correct devices. */
static const double STAGE_LIMIT = 1e-4, TOKEN_LIMIT = 1e-3;

struct verifier {
	rwkvk_session *session;
	struct rwkvk_model *model;
	struct reference reference;
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS];
	size_t count;
	uint32_t batch;             /* tokens that go through a layer together: those of a chunk, or one */
	float *acts, *before;       /* [batch][act_floats] of the reference, and as they were before a stage */
	float *got;                 /* [act_floats] the device's result on a copy */
	float *records;             /* [batch][row_floats] and of a chunk */
	float *states;              /* [compared layers][slot] of the reference */
	float *state_got;           /* [slot] the device's */
	float *state_before;        /* [slot] of the reference, as it was before a stage */
	float *state_want;          /* [slot] and as a chunk leaves it */
	float *logits, *logits_got; /* [V] */
	uint32_t *layers;           /* which are compared */
	uint32_t layer_count;
};

static double share(const float *got, const float *want, size_t n)
{
	double scale = 0, error = 0;
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(got[i]) || !isfinite(want[i]))
			return INFINITY;
		scale = fmax(scale, fabs((double)want[i]));
		error = fmax(error, fabs((double)got[i] - (double)want[i]));
	}
	return scale > 0 ? error / scale : error;
}

/* The row of a stage, a new one when it has none. */
static rwkvk_status find_row(struct verifier *v, const char *stage, double limit, rwkvk_verify_row **row)
{
	*row = NULL;
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->rows[i].stage, stage) == 0) {
			*row = &v->rows[i];
			return RWKVK_OK;
		}
	INVARIANT(v->count < RWKVK_VERIFY_ROWS);
	*row = &v->rows[v->count++];
	**row = (rwkvk_verify_row){ .stage = stage, .limit = limit, .ok = true, .vector = "" };
	return RWKVK_OK;
}

void verify_note(rwkvk_verify_row *row, const char *vector, double error)
{
	if (error > row->error || !*row->vector) {
		row->error = error;
		row->vector = vector;
	}
	row->ok = row->error <= row->limit;
}

static void note(rwkvk_verify_row *row, uint32_t layer, const char *vector, const float *got, const float *want, size_t n)
{
	double error = share(got, want, n);
	if (error > row->error)
		row->layer = layer;
	verify_note(row, vector, error);
}

/* For tests of verification itself: the result of a stage is spoilt on its way back. */
static bool breaks(const char *stage)
{
	const char *broken = environment_text(ENVIRONMENT_BREAK_STAGE);
	return broken && strcmp(broken, stage) == 0;
}

static void spoil(const char *stage, float *result)
{
	if (breaks(stage))
		*result += 0.01f + 0.01f * fabsf(*result);
}

static float *act_of(const struct verifier *v, float *acts, uint32_t row)
{
	return acts + row * (size_t)config_act_floats(model_config(v->model));
}

/* Runs a stage on the device: from the reference's numbers to v->got and v->state_got. */
static rwkvk_status device_stage(struct verifier *v, uint32_t layer, const char *stage, const float *act, const float *state)
{
	const struct config *c = model_config(v->model);
	memcpy(v->got, act, config_act_floats(c) * sizeof(float));
	if (state)
		memcpy(v->state_got, state, config_slot_floats(c) * sizeof(float));
	return check_stage(v->model, v->session->slot, layer, stage, v->got, state ? v->state_got : NULL);
}

static void note_state(struct verifier *v, rwkvk_verify_row *row, uint32_t layer, const float *state)
{
	const struct config *c = model_config(v->model);
	const uint32_t D = c->width;
	note(row, layer, "att_x", v->state_got, state, D);
	note(row, layer, "ffn_x", v->state_got + D, state + D, D);
	note(row, layer, "state", v->state_got + STATE_S(D), state + STATE_S(D), (size_t)D * c->state_width);
}

/* A stage in the making. */
struct turn {
	struct verifier *v;
	const struct stage *stage;
	uint32_t layer;
	rwkvk_verify_row *row;
	rwkvk_status status; /* of the first that failed */
};

/* Runs a token on the device and on the reference. */
static void verify_row(void *user, float *state, float *act)
{
	struct turn *t = user;
	struct verifier *v = t->v;
	struct region regions[MAX_REGIONS];
	const uint32_t count = act_regions(model_config(v->model), regions);
	if (t->status == RWKVK_OK)
		t->status = device_stage(v, t->layer, t->stage->name, act, state);
	if (t->status != RWKVK_OK)
		return;
	t->stage->reference(&v->reference, t->layer, state, act);
	t->row->compared++;
	for (const char *const *name = t->stage->writes; *name; name++)
		for (uint32_t i = 0; i < count; i++)
			if (strcmp(regions[i].name, *name) == 0) {
				spoil(t->stage->name, v->got + regions[i].at);
				note(t->row, t->layer, *name, v->got + regions[i].at, act + regions[i].at, regions[i].count);
			}
	note_state(v, t->row, t->layer, state);
}

/* ------------------------------------------------------------------------------------------------------ chunks */

/* Vectors that a record has as well. */
static uint32_t shared_regions(const struct verifier *v, struct region acts[MAX_REGIONS], struct region rows[MAX_REGIONS])
{
	struct region all[MAX_REGIONS];
	const uint32_t act_count = act_regions(model_config(v->model), acts), row_count = row_regions(model_config(v->model), all);
	uint32_t count = 0;
	for (uint32_t i = 0; i < act_count; i++)
		for (uint32_t j = 0; j < row_count; j++)
			if (strcmp(acts[i].name, all[j].name) == 0) {
				rows[count] = all[j];
				acts[count++] = acts[i];
			}
	return count;
}

static float *record_of(const struct verifier *v, uint32_t row)
{
	return v->records + row * (size_t)config_row_floats(model_config(v->model));
}

static void place_rows(const struct verifier *v, const struct stage *stage, uint32_t rows)
{
	struct region acts[MAX_REGIONS], records[MAX_REGIONS];
	const uint32_t count = shared_regions(v, acts, records);
	memset(v->records, 0, rows * (size_t)config_row_floats(model_config(v->model)) * sizeof *v->records);
	for (uint32_t row = 0; row < rows; row++)
		for (const char *const *name = stage->reads; *name; name++)
			for (uint32_t i = 0; i < count; i++)
				if (strcmp(acts[i].name, *name) == 0)
					memcpy(record_of(v, row) + records[i].at, act_of(v, v->before, row) + acts[i].at,
					       acts[i].count * sizeof(float));
}

static void compare_rows(const struct verifier *v, const struct stage *stage, const char *name, uint32_t layer, uint32_t rows,
                         rwkvk_verify_row *out)
{
	struct region acts[MAX_REGIONS], records[MAX_REGIONS];
	const uint32_t count = shared_regions(v, acts, records);
	for (uint32_t row = 0; row < rows; row++)
		for (const char *const *vector = stage->writes; *vector; vector++)
			for (uint32_t i = 0; i < count; i++)
				if (strcmp(acts[i].name, *vector) == 0) {
					float *got = record_of(v, row) + records[i].at;
					spoil(name, got);
					note(out, layer, *vector, got, act_of(v, v->acts, row) + acts[i].at, acts[i].count);
				}
}

/* The same tokens as the rows of a chunk, from the numbers that the stage began with. */
static rwkvk_status verify_chunk(struct verifier *v, uint32_t layer, const struct stage *stage, const uint32_t *tokens,
                                 uint32_t rows, const float *state)
{
	const char *const *name = stage->chunk;
	rwkvk_verify_row *row;
	if (!check_chunk_rows(v->model))
		return RWKVK_OK;
	while (name[1])
		name++;
	TRY(find_row(v, *name, STAGE_LIMIT, &row));
	place_rows(v, stage, rows);
	memcpy(v->state_got, v->state_before, config_slot_floats(model_config(v->model)) * sizeof(float));
	TRY(check_chunk(v->model, v->session->slot, layer, stage->chunk, tokens, rows, v->records, state ? v->state_got : NULL));
	compare_rows(v, stage, *name, layer, rows, row);
	row->compared += rows;
	if (!state)
		return RWKVK_OK;
	memcpy(v->state_want, state, config_slot_floats(model_config(v->model)) * sizeof(float));
	reference_chunk_state(model_config(v->model), stage, v->state_before, act_of(v, v->acts, rows - 1), v->state_want);
	note_state(v, row, layer, v->state_want);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ tokens */

static rwkvk_status verify_stage(struct verifier *v, uint32_t layer, const struct stage *stage, const uint32_t *tokens,
                                 uint32_t rows, float *state)
{
	const struct config *c = model_config(v->model);
	struct turn turn = { .v = v, .stage = stage, .layer = layer };
	TRY(find_row(v, stage->name, STAGE_LIMIT, &turn.row));
	memcpy(v->before, v->acts, rows * (size_t)config_act_floats(c) * sizeof(float));
	memcpy(v->state_before, state, config_slot_floats(c) * sizeof(float));
	reference_rows(&v->reference, rows, state, v->acts, verify_row, &turn);
	TRY(turn.status);
	return verify_chunk(v, layer, stage, tokens, rows, state);
}

static rwkvk_status verify_select(struct verifier *v, const uint32_t *tokens, uint32_t rows)
{
	static const struct stage embed = { .writes = { "x" }, .chunk = { "chunk embed" } };
	const struct config *c = model_config(v->model);
	rwkvk_verify_row *row;
	TRY(find_row(v, "select", STAGE_LIMIT, &row));
	for (uint32_t i = 0; i < rows; i++) {
		float *act = act_of(v, v->acts, i);
		memcpy(v->got, act, config_act_floats(c) * sizeof(float));
		TRY(check_select(v->model, v->session->slot, tokens[i], v->got));
		reference_select(&v->reference, tokens[i], act);
		spoil("select", v->got + ACT_X);
		row->compared++;
		note(row, 0, "x", v->got + ACT_X, act + ACT_X, c->width);
	}
	return verify_chunk(v, c->layers, &embed, tokens, rows, NULL);
}

static rwkvk_status verify_head(struct verifier *v, const float *act)
{
	const struct config *c = model_config(v->model);
	rwkvk_verify_row *row;
	TRY(find_row(v, "head", STAGE_LIMIT, &row));
	TRY(device_stage(v, c->layers, "head", act, NULL));
	reference_head(&v->reference, act, v->logits);
	memcpy(v->logits_got, slot_logits(v->model, v->session->slot), c->vocab * sizeof(float));
	spoil("head", v->logits_got);
	row->compared++;
	note(row, 0, "logits", v->logits_got, v->logits, c->vocab);
	return RWKVK_OK;
}

/* Some token ids of any vocabulary. */
static uint32_t token_at(const struct verifier *v, uint32_t i)
{
	return (uint32_t)((uint64_t)(i + 1) * 2654435761u % model_config(v->model)->vocab);
}

/* Tokens [first, first + rows), layer by layer. */
static rwkvk_status verify_tokens(struct verifier *v, uint32_t first, uint32_t rows, uint32_t all,
                                  const rwkvk_verify_options *options)
{
	struct stage stages[MAX_STAGES];
	uint32_t tokens[MAX_ROWS];
	uint64_t slot = config_slot_floats(model_config(v->model));
	for (uint32_t i = 0; i < rows; i++)
		tokens[i] = token_at(v, first + i);
	TRY(verify_select(v, tokens, rows));
	for (uint32_t j = 0; j < v->layer_count; j++) {
		uint32_t count = layer_stages(&model_file(v->model)->network, v->layers[j], stages);
		for (uint32_t k = 0; k < count; k++)
			TRY(verify_stage(v, v->layers[j], &stages[k], tokens, rows, v->states + j * slot));
		if (options->progress && !options->progress(options->progress_user, (uint64_t)first * v->layer_count + (j + 1) * rows,
		                                            (uint64_t)all * v->layer_count))
			return fail(RWKVK_CANCELLED, "verification was cancelled");
	}
	for (uint32_t i = 0; i < rows; i++)
		TRY(verify_head(v, act_of(v, v->acts, i)));
	return RWKVK_OK;
}

/* The device alone, from an empty state; the reference's last logits are available. */
static rwkvk_status verify_whole(struct verifier *v, uint32_t tokens)
{
	rwkvk_verify_row *row;
	TRY(find_row(v, "whole tokens", TOKEN_LIMIT, &row));
	TRY(session_clear(v->session));
	for (uint32_t i = 0; i < tokens; i++)
		TRY(forward_token(v->model, v->session->slot, token_at(v, i), i + 1 == tokens));
	row->compared = tokens;
	note(row, 0, "logits", slot_logits(v->model, v->session->slot), v->logits, model_config(v->model)->vocab);
	return RWKVK_OK;
}

/* A prompt in chunks against the same tokens one by one, by the device alone. */
static rwkvk_status verify_prompt(struct verifier *v)
{
	enum { PROMPT = 17 };
	const struct config *c = model_config(v->model);
	uint32_t tokens[PROMPT], fed;
	rwkvk_verify_row *row;
	if (!check_chunk_rows(v->model))
		return RWKVK_OK;
	TRY(find_row(v, "whole prompt", TOKEN_LIMIT, &row));
	for (uint32_t i = 0; i < PROMPT; i++)
		tokens[i] = token_at(v, i);
	TRY(session_clear(v->session));
	for (uint32_t i = 0; i < PROMPT; i++)
		TRY(forward_token(v->model, v->session->slot, tokens[i], i + 1 == PROMPT));
	memcpy(v->logits_got, slot_logits(v->model, v->session->slot), c->vocab * sizeof(float));
	TRY(session_clear(v->session));
	for (uint32_t i = 0; i < PROMPT; i += fed)
		TRY(chunk_feed(v->model, v->session->slot, tokens + i, PROMPT - i, true, NULL, NULL, &fed));
	row->compared = PROMPT;
	note(row, 0, "logits", slot_logits(v->model, v->session->slot), v->logits_got, c->vocab);
	return RWKVK_OK;
}

/* Results that must match the host's to the bit.  The reference's logits are available. */
static rwkvk_status verify_exact(struct verifier *v)
{
	rwkvk_verify_row *row;
	if (isfinite(share(v->logits, v->logits, model_config(v->model)->vocab))) { /* else the head's row says so */
		TRY(find_row(v, "pick", 0, &row));
		TRY(verify_picks(v->session, v->logits, breaks("pick"), row));
	}
	if (!check_quantises(v->model))
		return RWKVK_OK;
	TRY(find_row(v, "quantise", 0, &row));
	return verify_blocks(v->model, breaks("quantise"), row);
}

/* All layers if the effort allows, otherwise as many as it allows, evenly spread, including the first and the last. */
static void choose_layers(struct verifier *v, uint64_t effort)
{
	const struct config *c = model_config(v->model);
	const struct weights *weights = &model_file(v->model)->weights;
	uint64_t all = 0, head = (uint64_t)c->width * c->vocab * reference_effort(model_file(v->model)->network.head);
	for (size_t i = 0; i < weights->count; i++) {
		const struct tensor *t = &weights->tensors[i];
		if (t->rank > 1 && t->type != DTYPE_FOREIGN)
			all += t->bytes / dtype_info[t->type].bytes * dtype_info[t->type].block * reference_effort(t);
	}
	uint64_t layer = all > 2 * head ? (all - 2 * head) / c->layers + 1 : 1;
	uint64_t count = effort > head ? (effort - head) / layer : 0, least = c->layers < 2 ? c->layers : 2;
	count = count < least ? least : count > c->layers ? c->layers : count;
	v->layer_count = (uint32_t)count;
	for (uint32_t i = 0; i < count; i++)
		v->layers[i] = count > 1 ? (uint32_t)((uint64_t)i * (c->layers - 1) / (count - 1)) : 0;
}

static rwkvk_status verify_all(struct verifier *v, const rwkvk_verify_options *options)
{
	const struct config *c = model_config(v->model);
	uint32_t tokens = options->tokens ? options->tokens : 3;
	uint64_t slot = config_slot_floats(c);
	TRY(reference_init(&v->reference, &model_file(v->model)->network, model_file(v->model)->quant));
	v->batch = smaller(tokens, check_chunk_rows(v->model) ? check_chunk_rows(v->model) : 1);
	v->acts = calloc(v->batch * (size_t)config_act_floats(c), sizeof(float));
	v->before = calloc(v->batch * (size_t)config_act_floats(c), sizeof(float));
	v->got = calloc(config_act_floats(c), sizeof(float));
	v->records = calloc(v->batch * (size_t)config_row_floats(c), sizeof(float));
	v->state_before = calloc(slot, sizeof(float));
	v->state_want = calloc(slot, sizeof(float));
	v->states = calloc(c->layers * slot, sizeof(float));
	v->state_got = calloc(slot, sizeof(float));
	v->logits = calloc(c->vocab, sizeof(float));
	v->logits_got = calloc(c->vocab, sizeof(float));
	v->layers = calloc(c->layers, sizeof *v->layers);
	if (!v->acts || !v->before || !v->got || !v->records || !v->states || !v->state_got || !v->state_before || !v->state_want ||
	    !v->logits || !v->logits_got || !v->layers)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	reference_start(&v->reference, v->states);
	choose_layers(v, options->effort ? options->effort : 3000000000u);
	for (uint32_t i = 0; i < tokens; i += v->batch)
		TRY(verify_tokens(v, i, smaller(tokens - i, v->batch), tokens, options));
	if (v->layer_count == c->layers)
		TRY(verify_whole(v, tokens));
	TRY(verify_prompt(v));
	return verify_exact(v);
}

static void verifier_finish(struct verifier *v)
{
	reference_finish(&v->reference);
	free(v->acts);
	free(v->before);
	free(v->got);
	free(v->records);
	free(v->state_before);
	free(v->state_want);
	free(v->states);
	free(v->state_got);
	free(v->logits);
	free(v->logits_got);
	free(v->layers);
	rwkvk_session_destroy(v->session);
}

rwkvk_status rwkvk_model_verify(rwkvk_model *m, const rwkvk_verify_options *given, rwkvk_verify_row *rows, size_t capacity,
                                size_t *count)
{
	rwkvk_verify_options options;
	REQUIRE(m && (rows || capacity == 0) && count);
	struct verifier v = { .model = m };
	*count = 0;
	TRY(READ_OPTIONS(rwkvk_verify_options, progress_user, given, &options));
	TRY(check_weights(model_file(m))); /* if these are nonsense, the device is not to blame */
	TRY(rwkvk_session_create(m, &v.session));
	rwkvk_status status = model_lock(m);
	if (status == RWKVK_OK) {
		status = verify_all(&v, &options);
		model_unlock(m);
	}
	verifier_finish(&v);
	*count = v.count;
	rwkvk_status written = WRITE_RESULTS(rwkvk_verify_row, ok, v.rows, v.count, rows, capacity);
	return status == RWKVK_OK ? written : status;
}
