/* Picking tokens on the device against the sampler in plain C, on logits of a real vocabulary's size: the same tokens, except
 * where the device says that a draw was close. */
#include "support.h"

#include <float.h>
#include <math.h>

#include "logit_values.h"
#include "make_model.h"
#include "engine/plan.h"
#include "session/session.h"

/* Only a head and an embedding of that many tokens. */
static const struct model_spec spec = {
	.layers = 1,
	.width = 32,
	.head_size = 32,
	.ffn = 32,
	.vocab = 65536,
	.rank_decay = 8,
	.rank_iclr = 8,
	.rank_gate = 8,
	.rank_value = 8,
	.type = DTYPE_F16,
	.lora_type = DTYPE_F16,
	.seed = 50,
};
enum { VOCAB = 65536 };

static rwkvk_model *model;
static rwkvk_session *session;
static uint32_t draws, close_draws, different;

static void set_float(uint32_t *word, float value)
{
	memcpy(word, &value, sizeof value);
}

/* The select stage alone: from bare logits, or from those that it has left behind when it last had bare ones. */
static uint32_t device_pick(const rwkvk_sampling *s, const float *logits, uint64_t position, bool bare, bool *is_close)
{
	uint32_t *io = model->io.mapped, best[2] = { PART_NONE, PART_NONE }, pick;
	assert_ok(session_prepare(session, s, &pick));
	io[IO_MODE] = MODE_PICK;
	io[IO_SLOT] = session->slot;
	io[IO_FED] = io[IO_CLOSE] = io[IO_STOP_COUNT] = 0;
	io[IO_PARTS] = 1;
	io[IO_PICK] = pick;
	io[IO_BARE] = bare;
	io[IO_POSITION] = (uint32_t)position;
	io[IO_POSITION + 1] = (uint32_t)(position >> 32);
	io[IO_SEED] = (uint32_t)s->seed;
	io[IO_SEED + 1] = (uint32_t)(s->seed >> 32);
	set_float(io + IO_TEMPERATURE, s->temperature);
	set_float(io + IO_TOP_P, s->top_p);
	io[IO_TOP_K] = s->top_k;
	set_float(io + IO_PRESENCE, s->presence);
	set_float(io + IO_FREQUENCY, s->frequency);
	set_float(io + IO_DECAY, s->decay);
	if (bare) {
		memcpy(slot_logits(model, session->slot), logits, VOCAB * sizeof *logits);
	} else { /* what the head would have computed */
		static float ready[VOCAB];
		float largest = -INFINITY;
		const uint64_t at = PICKS_SLOT(VOCAB, session->slot);
		assert_ok(gpu_read(&model->picks, sizeof(float) * (at + PICKS_LOGITS), ready, sizeof ready));
		for (uint32_t i = 0; i < VOCAB; i++)
			if (ready[i] > largest) {
				largest = ready[i];
				best[1] = i;
			}
		memcpy(best, &largest, sizeof largest);
		assert_ok(gpu_write(&model->picks, sizeof(float) * (at + PICKS_PART(VOCAB)), best, sizeof best));
	}
	assert_ok(forward_stage(model, 0, "select"));
	*is_close = io[IO_CLOSE] != 0;
	assert_int_equal(io[IO_DONE], 0);
	return io[IO_PICKED];
}

static void compare(const rwkvk_sampling *s, const float *logits, uint64_t position, bool bare, const char *what)
{
	uint32_t want;
	bool is_close;
	assert_ok(sampler_pick(s, &session->seen, logits, position, &want));
	uint32_t got = device_pick(s, logits, position, bare, &is_close);
	draws++;
	close_draws += is_close;
	different += got != want;
	if (got != want && !is_close)
		fail_msg(
			"%s: temperature %g, top-p %.9g, top-k %u, presence %g, seed %llu, position %llu: the device picks %u (%.9g), the "
			"host %u (%.9g)",
			what, (double)s->temperature, (double)s->top_p, s->top_k, (double)s->presence, (unsigned long long)s->seed,
			(unsigned long long)position, got, (double)logits[got], want, (double)logits[want]);
}

static void print_report(void)
{
	print_message("    %u draws, %u close, %u of them different\n", draws, close_draws, different);
	draws = close_draws = different = 0;
}

static void settings(void **state)
{
	(void)state;
	static const float temperatures[] = { 1, 0.3f, 1.9f, 0.05f }, top_ps[] = { 0.3f, 0.85f, 0.99f, 1, 1e-6f, 0.999f };
	static const uint32_t top_ks[] = { 0, 40, 2, 3000, 65535, 65536 };
	float *logits = malloc(VOCAB * sizeof *logits);
	uint64_t random = 5;
	uint32_t turn = 0;
	for (int shape = 0; shape < SHAPES; shape++) {
		fill_logits(logits, VOCAB, (enum logit_shape)shape, &random);
		for (uint32_t i = 0; i < 24; i++)
			for (uint32_t j = 0; j < 6; j++, turn++) {
				if (turn % test_every())
					continue;
				rwkvk_sampling s = { .temperature = temperatures[i % 4],
					                 .top_p = top_ps[i / 4],
					                 .top_k = top_ks[j],
					                 .seed = turn * 0x123456789abcu };
				compare(&s, logits, turn * (turn % 7 ? 1 : 0x1000000001u), turn % 2 == 0, logit_shapes[shape]);
			}
		print_report();
	}
	free(logits);
}

/* Many draws from the same few distributions: rare borders occur, and close draws are as rare as they should be: at most four
 * borders of 1e-5 per draw from few tokens. */
static void many_seeds(void **state)
{
	(void)state;
	static const rwkvk_sampling ways[] = {
		{ .temperature = 1, .top_p = 0.9f },
		{ .temperature = 0.8f, .top_p = 1, .top_k = 20 },
		{ .temperature = 1.5f, .top_p = 0.5f, .presence = 0.4f, .frequency = 0.4f, .decay = 0.99f },
	};
	float *logits = malloc(VOCAB * sizeof *logits);
	uint64_t random = 77;
	fill_logits(logits, VOCAB, NORMAL, &random);
	for (uint32_t i = 0; i < 40; i++) /* some that stand out, as words do */
		logits[i * 1601] = 8 + 4 * test_uniform(&random);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		for (uint32_t seed = 0; seed < 400 / test_every(); seed++) {
			rwkvk_sampling s = ways[i];
			s.seed = seed;
			compare(&s, logits, seed, seed % 8 == 0, "many seeds");
		}
		assert_true(close_draws <= 4);
		print_report();
	}
	free(logits);
}

/* Penalties and biases are rounded the same way, so both sides distinguish even tokens that differ in the last bit. */
static void penalties_and_biases(void **state)
{
	(void)state;
	rwkvk_bias biases[64];
	float *logits = malloc(VOCAB * sizeof *logits);
	uint64_t random = 99;
	for (uint32_t round = 0; round < 40 / test_every(); round++) {
		fill_logits(logits, VOCAB, round % 2 ? NORMAL : FLAT, &random);
		for (uint32_t i = 0; i < 200; i++)
			session_count(session, test_random(&random) % (round % 3 ? 500 : VOCAB), 0.9f);
		session->counts_on_device = false;
		for (uint32_t i = 0; i < 64; i++)
			biases[i] =
				(rwkvk_bias){ test_random(&random) % (round % 4 ? 100 : VOCAB), i % 5 ? 3 * test_uniform(&random) : -INFINITY };
		uint32_t largest = 0;
		for (uint32_t i = 0; i < VOCAB; i++)
			largest = logits[i] > logits[largest] ? i : largest;
		biases[63] = (rwkvk_bias){ largest, -INFINITY };
		rwkvk_sampling s = { .temperature = round % 3 ? 1 : 0,
			                 .top_p = 0.6f,
			                 .top_k = round % 5 ? 0 : 1 + round,
			                 .presence = 0.5f,
			                 .frequency = round % 2 ? 0.7f : -0.3f,
			                 .decay = 0.9f,
			                 .seed = round,
			                 .biases = round % 7 ? biases : NULL,
			                 .bias_count = round % 7 ? 64 : 0 };
		compare(&s, logits, round, true, "penalties and biases");
	}
	occurrences_clear(&session->seen);
	session->counts_on_device = false;
	print_report();
	free(logits);
}

static void extremes(void **state)
{
	(void)state;
	float *logits = malloc(VOCAB * sizeof *logits);
	static const float temperatures[] = { FLT_MIN, FLT_MAX, 1e-3f };
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 4; j++) {
			for (uint32_t k = 0; k < VOCAB; k++)
				logits[k] = j == 0 ? -INFINITY : j == 1 ? -FLT_MAX : j == 2 ? -0.0f : 1e-41f;
			logits[7] = logits[60000] = j == 1 ? FLT_MAX : j == 2 ? 0 : 1;
			rwkvk_sampling s = { .temperature = temperatures[i], .seed = 3 };
			for (uint32_t position = 0; position < 9; position++) {
				s.top_p = position % 3 == 0 ? 1 : position % 3 == 1 ? 0.3f : 0.9f;
				compare(&s, logits, position, true, "extremes");
			}
		}
	print_report();
	free(logits);
}

/* As the sampler in plain C refuses them. */
static void broken_logits(void **state)
{
	(void)state;
	float *logits = malloc(VOCAB * sizeof *logits);
	uint32_t *io = model->io.mapped;
	static const float wrong[] = { NAN, -NAN, INFINITY, -INFINITY };
	for (int i = 0; i < 4; i++) {
		for (uint32_t k = 0; k < VOCAB; k++)
			logits[k] = i == 3 ? -INFINITY : 0;
		logits[40000] = wrong[i];
		memcpy(slot_logits(model, session->slot), logits, VOCAB * sizeof *logits);
		for (int draw = 0; draw < 2; draw++) {
			io[IO_MODE] = MODE_PICK;
			io[IO_SLOT] = io[IO_FED] = io[IO_STOP_COUNT] = 0;
			io[IO_PICK] = draw ? PICK_ON | PICK_DRAW : PICK_ON;
			io[IO_BARE] = 1;
			assert_ok(forward_stage(model, 0, "select"));
			assert_int_equal(io[IO_DONE], DONE_BROKEN);
		}
	}
	free(logits);
}

static int open_model(void **state)
{
	(void)state;
	const char *path = test_temp("picks");
	make_model(path, &spec);
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = path, .max_sessions = 2 }, &model) != RWKVK_OK ||
	    rwkvk_session_create(model, &session) != RWKVK_OK) {
		print_error("%s\n", rwkvk_last_error());
		return -1;
	}
	return 0;
}

static int close_model(void **state)
{
	(void)state;
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings), cmocka_unit_test(many_seeds),    cmocka_unit_test(penalties_and_biases),
		cmocka_unit_test(extremes), cmocka_unit_test(broken_logits),
	};
	return cmocka_run_group_tests(tests, open_model, close_model);
}
