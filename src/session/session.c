/* Sessions and their states: create, feed, copy, save.  Picking tokens is generate.c's. */
#include "session/session.h"

#include <stdlib.h>
#include <string.h>

#include "session/states.h"

static uint64_t slot_floats(const rwkvk_model *m)
{
	return config_slot_floats(&m->file.network.config);
}

/* Floats of a layer's state that are real; the rest of the slot is padding. */
static uint64_t layer_floats(const rwkvk_model *m)
{
	return config_layer_floats(&m->file.network.config);
}

static uint64_t slot_offset(const rwkvk_session *s)
{
	return s->slot * slot_floats(s->model) * sizeof(float);
}

/* No token seen. */
rwkvk_status session_clear(rwkvk_session *s)
{
	rwkvk_model *m = s->model;
	for (uint32_t i = 0; i < m->file.network.config.layers; i++)
		TRY(gpu_write(&m->layers[i].state, slot_offset(s), m->start_state + i * slot_floats(m),
		              slot_floats(m) * sizeof(float)));
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ logits, tokens */

void session_drop_logits(rwkvk_session *s)
{
	s->has_logits = false;
	if (s->model->logits_of == s)
		s->model->logits_of = NULL;
}

const float *session_logits(const rwkvk_session *s)
{
	return s->model->logits_of == s ? s->model->logits.mapped : s->logits;
}

void session_claim_logits(rwkvk_session *s)
{
	rwkvk_session *owner = s->model->logits_of;
	if (owner && owner != s)
		memcpy(owner->logits, s->model->logits.mapped, s->model->file.network.config.vocab * sizeof(float));
	s->model->logits_of = s;
}

void session_bring_logits(rwkvk_session *s)
{
	if (s->model->logits_of == s)
		return;
	session_claim_logits(s);
	memcpy(s->model->logits.mapped, s->logits, s->model->file.network.config.vocab * sizeof(float));
}

rwkvk_status session_feed(rwkvk_session *s, const uint32_t *tokens, size_t count, bool head, uint32_t *fed)
{
	session_drop_logits(s);
	if (head)
		session_claim_logits(s);
	rwkvk_status status = forward_feed(s->model, s->slot, tokens, count, head, fed);
	if (status != RWKVK_OK) {
		session_drop_logits(s);
		return status;
	}
	s->has_logits = head && *fed == count;
	s->position += *fed;
	return RWKVK_OK;
}

rwkvk_status session_rewind(rwkvk_session *s, const uint32_t *tokens, uint32_t count)
{
	uint32_t fed;
	session_drop_logits(s);
	TRY(forward_rewind(s->model, s->slot));
	for (; count > 0; tokens += fed, count -= fed)
		TRY(session_feed(s, tokens, count, true, &fed));
	return RWKVK_OK;
}

static float token_weight(const rwkvk_model *m, uint32_t token)
{
	size_t bytes = 0;
	const void *text = m->file.tokenizer ? rwkvk_tokenizer_token(m->file.tokenizer, token, &bytes) : NULL;
	return occurrences_weight(text, bytes);
}

void session_count(rwkvk_session *s, uint32_t token, float decay)
{
	occurrences_add(&s->seen, token, token_weight(s->model, token), decay);
}

/* Once a model: which tokens count for nothing. */
static rwkvk_status write_light(rwkvk_model *m)
{
	uint64_t vocab = m->file.network.config.vocab, words = V4(vocab) / 32;
	if (m->has_light)
		return RWKVK_OK;
	uint32_t *light = calloc(words, sizeof *light);
	if (!light)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	for (uint32_t i = 0; i < vocab; i++)
		if (token_weight(m, i) == 0)
			light[i / 32] |= 1u << i % 32;
	rwkvk_status status = gpu_write(&m->picks, PICKS_LIGHT(vocab) * sizeof *light, light, words * sizeof *light);
	m->has_light = status == RWKVK_OK;
	free(light);
	return status;
}

static uint64_t picks_offset(const rwkvk_session *s, uint64_t at)
{
	uint64_t vocab = s->model->file.network.config.vocab;
	return (PICKS_SLOT(vocab, s->slot) + at) * sizeof(float);
}

static rwkvk_status write_counts(rwkvk_session *s)
{
	struct occurrences *seen = &s->seen;
	if (s->counts_on_device)
		return RWKVK_OK;
	for (uint32_t i = 0; i < seen->vocab; i++)
		seen->probability[i] = seen->present[i] ? seen->count[i] : -1;
	TRY(gpu_write(&s->model->picks, picks_offset(s, PICKS_COUNT), seen->probability, seen->vocab * sizeof(float)));
	s->counts_on_device = true;
	return RWKVK_OK;
}

static rwkvk_status write_biases(rwkvk_session *s, const rwkvk_sampling *sampling)
{
	uint64_t vocab = s->seen.vocab;
	size_t bytes = sampling->bias_count * sizeof *s->biases;
	if (s->bias_count == sampling->bias_count && memcmp(s->biases, sampling->biases, bytes) == 0)
		return RWKVK_OK;
	free(s->biases);
	s->bias_count = 0;
	s->biases = malloc(bytes);
	if (!s->biases)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	memset(s->seen.probability, 0, vocab * sizeof(float));
	sampler_add_biases(sampling, s->seen.probability);
	TRY(gpu_write(&s->model->picks, picks_offset(s, PICKS_BIAS(vocab)), s->seen.probability, vocab * sizeof(float)));
	memcpy(s->biases, sampling->biases, bytes);
	s->bias_count = sampling->bias_count;
	return RWKVK_OK;
}

rwkvk_status session_prepare(rwkvk_session *s, const rwkvk_sampling *sampling, uint32_t *pick)
{
	*pick = PICK_ON;
	TRY(sampler_check(sampling, &s->seen));
	TRY(write_light(s->model));
	if (!sampler_is_greedy(sampling))
		*pick |= PICK_DRAW;
	if (sampling->presence != 0 || sampling->frequency != 0) {
		*pick |= PICK_PENALTY;
		TRY(write_counts(s));
	}
	if (sampling->bias_count > 0) {
		*pick |= PICK_BIAS;
		TRY(write_biases(s, sampling));
	}
	return RWKVK_OK;
}

bool session_cancelled(rwkvk_session *s)
{
	return atomic_exchange(&s->cancel, false);
}

static rwkvk_status take_slot(rwkvk_session *s)
{
	rwkvk_model *m = s->model;
	for (uint32_t i = 0; i < m->slots; i++)
		if (!m->slot_taken[i]) {
			s->slot = i;
			TRY(session_clear(s));
			TRY(forward_keep(m, i));
			m->slot_taken[i] = true;
			return RWKVK_OK;
		}
	return fail(RWKVK_ERROR_BUSY, "all %u states of the model's pool are taken; open the model with a larger max_sessions",
	            m->slots);
}

static void free_session(rwkvk_session *s)
{
	occurrences_finish(&s->seen);
	free(s->logits);
	free(s->biases);
	free(s);
}

rwkvk_status rwkvk_session_create(rwkvk_model *m, rwkvk_session **out)
{
	REQUIRE(m && out);
	*out = NULL;
	rwkvk_session *s = calloc(1, sizeof *s);
	if (!s)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	s->model = m;
	s->logits = malloc(m->file.network.config.vocab * sizeof *s->logits);
	rwkvk_status status =
		s->logits ? occurrences_init(&s->seen, m->file.network.config.vocab) : fail(RWKVK_ERROR_MEMORY, "out of memory");
	if (status == RWKVK_OK) {
		pthread_mutex_lock(&m->lock);
		status = take_slot(s);
		pthread_mutex_unlock(&m->lock);
	}
	if (status == RWKVK_OK)
		*out = s;
	else
		free_session(s);
	return status;
}

void rwkvk_session_destroy(rwkvk_session *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->model->lock);
	session_drop_logits(s);
	s->model->slot_taken[s->slot] = false;
	if (s->model->snapshot_of == s)
		s->model->snapshot_of = NULL;
	pthread_mutex_unlock(&s->model->lock);
	free_session(s);
}

rwkvk_status rwkvk_session_reset(rwkvk_session *s)
{
	REQUIRE(s);
	pthread_mutex_lock(&s->model->lock);
	rwkvk_status status = session_clear(s);
	session_drop_logits(s);
	pthread_mutex_unlock(&s->model->lock);
	s->position = 0;
	occurrences_clear(&s->seen);
	s->counts_on_device = false;
	return status;
}

uint64_t rwkvk_session_position(const rwkvk_session *s)
{
	return s->position;
}

void rwkvk_session_cancel(rwkvk_session *s)
{
	atomic_store(&s->cancel, true);
}

static rwkvk_status check_tokens(const rwkvk_session *s, const uint32_t *tokens, size_t count)
{
	const uint32_t vocab = s->model->file.network.config.vocab;
	for (size_t i = 0; i < count; i++)
		if (tokens[i] >= vocab)
			return fail(RWKVK_ERROR_ARGUMENT, "token %u at position %zu: expected an id below the model's vocabulary of %u",
			            tokens[i], i, vocab);
	return RWKVK_OK;
}

rwkvk_status rwkvk_session_eval(rwkvk_session *s, const uint32_t *tokens, size_t count, float *logits)
{
	REQUIRE(s && (tokens || count == 0));
	TRY(check_tokens(s, tokens, count));
	if (count == 0 && logits && !s->has_logits)
		return fail(RWKVK_ERROR_ARGUMENT, "there are no logits yet: feed at least one token");
	rwkvk_status status = RWKVK_OK;
	uint32_t fed;
	for (size_t i = 0; i < count && status == RWKVK_OK; i += fed) {
		if (session_cancelled(s))
			return fail(RWKVK_CANCELLED, "cancelled after %zu of %zu tokens", i, count);
		pthread_mutex_lock(&s->model->lock);
		status = session_feed(s, tokens + i, count - i, true, &fed);
		pthread_mutex_unlock(&s->model->lock);
	}
	if (status == RWKVK_OK && logits) {
		pthread_mutex_lock(&s->model->lock);
		memcpy(logits, session_logits(s), s->model->file.network.config.vocab * sizeof *logits);
		pthread_mutex_unlock(&s->model->lock);
	}
	return status;
}

/* ------------------------------------------------------------------------------------------------------ copies */

rwkvk_status rwkvk_session_clone(rwkvk_session *s, rwkvk_session **out)
{
	REQUIRE(s && out);
	rwkvk_model *m = s->model;
	TRY(rwkvk_session_create(m, out));
	rwkvk_session *copy = *out;
	rwkvk_status status = RWKVK_OK;
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->file.network.config.layers && status == RWKVK_OK; i++)
		status = gpu_copy(&m->layers[i].state, slot_offset(s), &m->layers[i].state, slot_offset(copy),
		                  slot_floats(m) * sizeof(float));
	if (s->has_logits)
		memcpy(copy->logits, session_logits(s), m->file.network.config.vocab * sizeof(float));
	pthread_mutex_unlock(&m->lock);
	copy->position = s->position;
	copy->has_logits = s->has_logits;
	occurrences_copy(&copy->seen, &s->seen);
	if (status != RWKVK_OK) {
		rwkvk_session_destroy(copy);
		*out = NULL;
	}
	return status;
}

rwkvk_status rwkvk_session_snapshot(rwkvk_session *s, float *state)
{
	REQUIRE(s && state);
	rwkvk_model *m = s->model;
	rwkvk_status status = RWKVK_OK;
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->file.network.config.layers && status == RWKVK_OK; i++)
		status = gpu_read(&m->layers[i].state, slot_offset(s), state + i * layer_floats(m), layer_floats(m) * sizeof(float));
	pthread_mutex_unlock(&m->lock);
	return status;
}

rwkvk_status rwkvk_session_restore(rwkvk_session *s, const float *state, uint64_t position)
{
	REQUIRE(s && state);
	rwkvk_model *m = s->model;
	rwkvk_status status = RWKVK_OK;
	pthread_mutex_lock(&m->lock);
	for (uint32_t i = 0; i < m->file.network.config.layers && status == RWKVK_OK; i++)
		status = gpu_write(&m->layers[i].state, slot_offset(s), state + i * layer_floats(m), layer_floats(m) * sizeof(float));
	session_drop_logits(s);
	pthread_mutex_unlock(&m->lock);
	s->position = position;
	occurrences_clear(&s->seen);
	s->counts_on_device = false;
	return status;
}

static struct state_header header_of(const rwkvk_session *s)
{
	struct state_header header = state_header_of(&s->model->file.network.config);
	header.position = s->position;
	return header;
}

rwkvk_status rwkvk_session_save(rwkvk_session *s, const char *path)
{
	REQUIRE(s && path);
	struct state_header header = header_of(s);
	float *state = malloc(header.floats * sizeof *state);
	if (!state)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = rwkvk_session_snapshot(s, state);
	if (status == RWKVK_OK)
		status = state_file_write(path, &header, state);
	free(state);
	return status;
}

rwkvk_status rwkvk_session_load(rwkvk_session *s, const char *path)
{
	REQUIRE(s && path);
	const struct config *config = &s->model->file.network.config;
	uint64_t position;
	float *state = malloc(config_state_floats(config) * sizeof *state);
	if (!state)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = state_read(path, config, state, &position);
	if (status == RWKVK_OK)
		status = rwkvk_session_restore(s, state, position);
	free(state);
	return status;
}
