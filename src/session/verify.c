/* Does this device compute this model right?  Every stage runs on the device on what the reference has computed up to there, so
 * one that is wrong is found by name and does not spoil the others; then the device runs whole tokens alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "base/structs.h"
#include "engine/check.h"
#include "network/reference.h"
#include "session/verify.h"

/* Shares of a result's largest value.  Sums of a few thousand products in f32 come to some 1e-6 of their terms' size, and the
 * divisions by deviations in the norms enlarge that; arithmetic in half precision would come to 1e-3.  docs/model.md has what
 * correct devices measured. */
static const double STAGE_LIMIT = 1e-4, TOKEN_LIMIT = 1e-3;

struct verifier {
	rwkvk_session *session;
	struct rwkvk_model *model;
	struct reference reference;
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS];
	size_t count;
	float *act, *got;           /* [act_floats] the reference's; what the device made of a copy */
	float *states;              /* [compared layers][slot] the reference's */
	float *state_got;           /* [slot] */
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

/* The device's turn at a stage: from the reference's numbers to v->got and v->state_got. */
static rwkvk_status device_stage(struct verifier *v, uint32_t layer, const char *stage, const float *state)
{
	const struct config *c = model_config(v->model);
	memcpy(v->got, v->act, config_act_floats(c) * sizeof(float));
	if (state)
		memcpy(v->state_got, state, config_slot_floats(c) * sizeof(float));
	return check_stage(v->model, v->session->slot, layer, stage, v->got, state ? v->state_got : NULL);
}

static rwkvk_status verify_stage(struct verifier *v, uint32_t layer, const struct stage *stage, float *state)
{
	const struct config *c = model_config(v->model);
	struct region regions[MAX_REGIONS];
	uint32_t count = act_regions(c, regions), D = c->width;
	rwkvk_verify_row *row;
	TRY(find_row(v, stage->name, STAGE_LIMIT, &row));
	TRY(device_stage(v, layer, stage->name, state));
	stage->reference(&v->reference, layer, state, v->act);
	row->compared++;
	for (const char *const *name = stage->writes; *name; name++)
		for (uint32_t i = 0; i < count; i++)
			if (strcmp(regions[i].name, *name) == 0) {
				spoil(stage->name, v->got + regions[i].at);
				note(row, layer, *name, v->got + regions[i].at, v->act + regions[i].at, regions[i].count);
			}
	note(row, layer, "att_x", v->state_got, state, D);
	note(row, layer, "ffn_x", v->state_got + D, state + D, D);
	note(row, layer, "state", v->state_got + STATE_S(D), state + STATE_S(D), (size_t)D * c->state_width);
	return RWKVK_OK;
}

static rwkvk_status verify_select(struct verifier *v, uint32_t token)
{
	const struct config *c = model_config(v->model);
	rwkvk_verify_row *row;
	TRY(find_row(v, "select", STAGE_LIMIT, &row));
	memcpy(v->got, v->act, config_act_floats(c) * sizeof(float));
	TRY(check_select(v->model, v->session->slot, token, v->got));
	reference_select(&v->reference, token, v->act);
	spoil("select", v->got + ACT_X);
	row->compared++;
	note(row, 0, "x", v->got + ACT_X, v->act + ACT_X, c->width);
	return RWKVK_OK;
}

static rwkvk_status verify_head(struct verifier *v)
{
	const struct config *c = model_config(v->model);
	rwkvk_verify_row *row;
	TRY(find_row(v, "head", STAGE_LIMIT, &row));
	TRY(device_stage(v, c->layers, "head", NULL));
	reference_head(&v->reference, v->act, v->logits);
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

static rwkvk_status verify_token(struct verifier *v, uint32_t i, uint32_t tokens, const rwkvk_verify_options *options)
{
	struct stage stages[MAX_STAGES];
	uint64_t slot = config_slot_floats(model_config(v->model));
	TRY(verify_select(v, token_at(v, i)));
	for (uint32_t j = 0; j < v->layer_count; j++) {
		uint32_t count = layer_stages(&model_file(v->model)->network, v->layers[j], stages);
		for (uint32_t k = 0; k < count; k++)
			TRY(verify_stage(v, v->layers[j], &stages[k], v->states + j * slot));
		if (options->progress &&
		    !options->progress(options->progress_user, (uint64_t)i * v->layer_count + j + 1, (uint64_t)tokens * v->layer_count))
			return fail(RWKVK_CANCELLED, "verification was cancelled");
	}
	return verify_head(v);
}

/* The device alone, from an empty state; the reference's last logits are at hand. */
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

/* What is to be the host's to the bit.  The reference's logits are at hand. */
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

/* All layers if the effort allows, else as many as it does, evenly spread, the first and the last among them. */
static void choose_layers(struct verifier *v, uint64_t effort)
{
	const struct config *c = model_config(v->model);
	uint64_t all = 0, head = (uint64_t)c->width * c->vocab;
	const struct weights *weights = &model_file(v->model)->weights;
	for (size_t i = 0; i < weights->count; i++) {
		const struct tensor *t = &weights->tensors[i];
		if (t->rank > 1 && t->type != DTYPE_FOREIGN)
			all += t->bytes / dtype_info[t->type].bytes * dtype_info[t->type].block;
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
	v->act = calloc(config_act_floats(c), sizeof(float));
	v->got = calloc(config_act_floats(c), sizeof(float));
	v->states = calloc(c->layers * slot, sizeof(float));
	v->state_got = calloc(slot, sizeof(float));
	v->logits = calloc(c->vocab, sizeof(float));
	v->logits_got = calloc(c->vocab, sizeof(float));
	v->layers = calloc(c->layers, sizeof *v->layers);
	if (!v->act || !v->got || !v->states || !v->state_got || !v->logits || !v->logits_got || !v->layers)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	reference_start(&v->reference, v->states);
	choose_layers(v, options->effort ? options->effort : 3000000000u);
	for (uint32_t i = 0; i < tokens; i++)
		TRY(verify_token(v, i, tokens, options));
	if (v->layer_count == c->layers)
		TRY(verify_whole(v, tokens));
	return verify_exact(v);
}

static void verifier_finish(struct verifier *v)
{
	reference_finish(&v->reference);
	free(v->act);
	free(v->got);
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
	TRY(check_weights(model_file(m))); /* where these are nonsense, no device is wrong */
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
