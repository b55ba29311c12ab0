/* One model of `rwkvk bench`: opened, compared with plain C, its tests repeated, a long text written, its stages timed. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "model.h"
#include "sensors.h"
#include "terminal.h"
#include "system.h"

enum { PROFILED = 32, PROFILED_PROMPT = 256 }; /* tokens */

/* Where a long text is. */
struct window {
	double start, begin, length; /* seconds: of the text, and of its present part */
	size_t tokens;               /* written in this part */
};

/* A model on the device. */
struct run {
	const struct bench_tests *tests;
	const struct model_args *args;
	rwkvk_model *model;
	rwkvk_session *session;
	rwkvk_session *many[BENCH_SESSIONS]; /* instead of one, where several write at once */
	size_t many_count;
	struct bench_model *out;
	uint32_t first; /* the token that begins a text */
	uint64_t hash;  /* of the tokens of a repetition */
	struct window window;
};

/* ---------------------------------------------------------------------------------------------------- tests */

/* A meaningless text: always the same, without token 0. */
static void make_prompt(uint32_t *ids, size_t count, uint32_t vocab)
{
	uint32_t state = 1;
	for (size_t i = 0; i < count; i++) {
		state = state * 1664525 + 1013904223;
		ids[i] = vocab > 1 ? 1 + (state >> 8) % (vocab - 1) : 0;
	}
}

static rwkvk_status read_prompt(struct run *run, const uint32_t *ids, size_t count, double *seconds)
{
	rwkvk_status status = rwkvk_session_reset(run->session);
	double start = now_seconds();
	const rwkvk_eval_options options = { .cancel = interrupt_flag() };
	if (status == RWKVK_OK)
		status = rwkvk_session_eval(run->session, ids, count, &options);
	*seconds = now_seconds() - start;
	return status;
}

static bool on_token(void *user, const rwkvk_token *token)
{
	struct run *run = user;
	run->hash = bench_hash(run->hash, token->id);
	return true;
}

static rwkvk_status write_text(struct run *run, size_t count, double *seconds)
{
	const rwkvk_eval_options begin = { .cancel = interrupt_flag() };
	const rwkvk_generate_options options = {
		.max_tokens = count, .ignore_end = true, .on_token = on_token, .user = run, .cancel = interrupt_flag()
	};
	rwkvk_status status = rwkvk_session_reset(run->session);
	if (status == RWKVK_OK)
		status = rwkvk_session_eval(run->session, &run->first, 1, &begin);
	run->hash = BENCH_HASH_START;
	double start = now_seconds();
	if (status == RWKVK_OK)
		status = rwkvk_session_generate(run->session, &options, NULL);
	*seconds = now_seconds() - start;
	return status;
}

/* One step of `count` works; a work that finds no room is done in the next step. */
static rwkvk_status step(struct run *run, rwkvk_work *works, size_t count)
{
	if (interrupt_seen())
		return RWKVK_CANCELLED;
	rwkvk_status status = rwkvk_model_step(run->model, works, count);
	for (size_t i = 0; i < count && status == RWKVK_OK; i++)
		status = works[i].status;
	return status;
}

/* Each session's first token; they differ, so that the texts do. */
static rwkvk_status begin_many(struct run *run, size_t sessions)
{
	uint32_t first[BENCH_SESSIONS];
	rwkvk_work works[BENCH_SESSIONS];
	rwkvk_status status = RWKVK_OK;
	for (size_t i = 0; i < sessions && status == RWKVK_OK; i++) {
		first[i] = (uint32_t)((run->first + i) % run->out->vocab);
		works[i] = (rwkvk_work){ .size = sizeof(works[i]), .session = run->many[i], .tokens = &first[i], .token_count = 1 };
		status = rwkvk_session_reset(run->many[i]);
	}
	for (size_t left = sessions; left > 0 && status == RWKVK_OK;) {
		size_t waiting = 0;
		status = step(run, works, left);
		for (size_t i = 0; i < left; i++)
			if (works[i].read == 0)
				works[waiting++] = works[i];
		left = waiting;
	}
	return status;
}

/* Runs until all sessions have written their tokens; each takes the same number of steps. */
static rwkvk_status write_steps(struct run *run, size_t sessions, const rwkvk_generate_options *options, uint64_t *hashes)
{
	rwkvk_work works[BENCH_SESSIONS];
	rwkvk_status status = RWKVK_OK;
	for (size_t i = 0; i < sessions; i++)
		works[i] = (rwkvk_work){ .size = sizeof(works[i]), .session = run->many[i], .options = options };
	for (bool ended = false; !ended && status == RWKVK_OK;) {
		status = step(run, works, sessions);
		ended = true;
		for (size_t i = 0; i < sessions && status == RWKVK_OK; i++) {
			for (size_t j = 0; j < works[i].picked_count; j++)
				hashes[i] = bench_hash(hashes[i], work_token(&works[i], j));
			ended = ended && works[i].ended;
		}
	}
	return status;
}

/* `count` tokens in each session.  The hash is of all sessions' tokens, the first one's first. */
static rwkvk_status write_many(struct run *run, size_t sessions, size_t count, double *seconds)
{
	uint64_t hashes[BENCH_SESSIONS];
	const rwkvk_generate_options options = { .size = sizeof(options), .max_tokens = count, .ignore_end = true };
	for (size_t i = 0; i < sessions; i++)
		hashes[i] = BENCH_HASH_START;
	rwkvk_status status = begin_many(run, sessions);
	double start = now_seconds();
	if (status == RWKVK_OK)
		status = write_steps(run, sessions, &options, hashes);
	*seconds = now_seconds() - start;
	run->hash = BENCH_HASH_START;
	for (size_t i = 0; i < sessions; i++)
		run->hash = bench_hash(bench_hash(run->hash, (uint32_t)hashes[i]), (uint32_t)(hashes[i] >> 32));
	return status;
}

/* The host's requests to the device, per token of a repetition.  A repetition of tg includes the token that begins the text. */
static void count_work(const rwkvk_counters *a, const rwkvk_counters *b, struct bench_test *test)
{
	double tokens = (double)(b->tokens - a->tokens);
	test->dispatches_per_token = (double)(b->dispatches - a->dispatches) / tokens;
	test->barriers_per_token = (double)(b->barriers - a->barriers) / tokens;
	test->submits_per_token = (double)(b->submits - a->submits) / tokens;
	test->host_calls_per_token = (double)(b->host_calls - a->host_calls) / tokens;
}

/* The average per token: of a prompt, only the last token gets logits, of a text, every one. */
static double token_multiply_adds(const struct bench_model *model, const struct bench_test *test)
{
	double logits = (double)model->vocab * (double)model->width;
	return (double)model->multiply_adds + (bench_what(test) == BENCH_PROMPTS ? logits / (double)test->tokens : logits);
}

static void finish_test(struct run *run, const double *rates, size_t count, struct bench_test *test)
{
	bool alone = bench_what(test) == BENCH_TEXTS;
	test->tokens_per_s = bench_mean(rates, count);
	test->tokens_per_s_sd = bench_deviation(rates, count);
	test->ms_per_token = test->tokens_per_s > 0 ? 1e3 / test->tokens_per_s : (double)NAN;
	test->tokens_per_s_each = test->sessions > 0 ? test->tokens_per_s / (double)test->sessions : (double)NAN;
	test->gb_per_s = alone ? 1e-9 * (double)run->out->bytes_per_token * test->tokens_per_s : (double)NAN;
	test->gflop_per_s = alone ? (double)NAN : 2e-9 * token_multiply_adds(run->out, test) * test->tokens_per_s;
	test->read_share = test->f32_share = (double)NAN; /* once the device has been measured: share_ceilings() */
	note("  %-11s %10.2f tok/s, deviation %.2f", test->test, test->tokens_per_s, test->tokens_per_s_sd);
}

static rwkvk_status repeat(struct run *run, const uint32_t *ids, size_t count, double *rates, size_t repetitions,
                           struct bench_test *test)
{
	bool writing = ids == NULL, repeatable = true;
	uint64_t hash = 0;
	struct sensor_means means = { 0 };
	rwkvk_counters before = { 0 }, after = { 0 };
	struct progress progress;
	progress_begin(&progress, "running", PROGRESS_STEPS);
	for (size_t i = 0; i <= repetitions; i++) { /* the first is not counted */
		double seconds;
		char text[80];
		snprintf(text, sizeof(text), "  %s: run %zu of %zu", test->test, i + 1, repetitions + 1);
		progress_text(&progress, text);
		rwkvk_model_counters(run->model, &before);
		rwkvk_status status = test->sessions ? write_many(run, (size_t)test->sessions, count, &seconds)
		                      : writing      ? write_text(run, count, &seconds)
		                                     : read_prompt(run, ids, count, &seconds);
		sensors_add(&means, sensors_read(run->tests->sensors)); /* while it is still as busy as it was */
		rwkvk_model_counters(run->model, &after);
		progress_text(&progress, "");
		if (status != RWKVK_OK)
			return status;
		repeatable = repeatable && (i == 0 || run->hash == hash);
		hash = run->hash;
		if (i > 0)
			rates[i - 1] = seconds > 0 ? (double)count * (test->sessions ? (double)test->sessions : 1) / seconds : 0;
	}
	count_work(&before, &after, test);
	struct sensor_values sensors = sensors_mean(&means);
	test->clock_mhz = sensors.clock_mhz;
	test->power_w = sensors.power_w;
	test->temperature_c = sensors.temperature_c;
	if (writing) {
		snprintf(test->greedy_hash, sizeof(test->greedy_hash), "%016" PRIx64, hash);
		snprintf(test->repeatable, sizeof(test->repeatable), repeatable ? "yes" : "no");
	}
	finish_test(run, rates, repetitions, test);
	return RWKVK_OK;
}

/* EXIT_DONE, or the exit code after a message. */
static int run_failed(rwkvk_status status)
{
	return status == RWKVK_OK ? EXIT_DONE : failed_with(status);
}

/* "pp" of `count` tokens, or "tg", or that in so many sessions at once. */
static int run_test(struct run *run, const char *kind, size_t count, size_t sessions)
{
	bool writing = strcmp(kind, "tg") == 0;
	if (count == 0)
		return EXIT_DONE;
	if (run->out->test_count == BENCH_TESTS)
		return misused("bench", "-p, -n, -b: expected at most %d tests, got more", BENCH_TESTS);
	size_t repetitions = run->tests->repetitions;
	struct bench_test *test = &run->out->tests[run->out->test_count++];
	int length = snprintf(test->test, sizeof(test->test), "%s%zu", kind, count);
	if (sessions > 0)
		snprintf(test->test + length, sizeof(test->test) - (size_t)length, " x %zu", sessions);
	test->tokens = count;
	test->sessions = sessions;
	test->repetitions = repetitions;
	double *rates = malloc(repetitions * sizeof(*rates));
	uint32_t *ids = malloc(count * sizeof(*ids));
	rwkvk_status status = RWKVK_OK;
	int code = rates && ids ? EXIT_DONE : failed("out of memory");
	if (code == EXIT_DONE) {
		make_prompt(ids, count, (uint32_t)run->out->vocab);
		status = repeat(run, writing ? NULL : ids, count, rates, repetitions, test);
	}
	free(rates);
	free(ids);
	return code == EXIT_DONE ? run_failed(status) : code;
}

static int run_tests(struct run *run)
{
	const struct bench_tests *tests = run->tests;
	int code = EXIT_DONE;
	for (size_t i = 0; i < tests->prompt_count && code == EXIT_DONE; i++)
		code = run_test(run, "pp", tests->prompts[i], 0);
	for (size_t i = 0; i < tests->text_count && code == EXIT_DONE; i++)
		code = run_test(run, "tg", tests->texts[i], 0);
	return code;
}

static int run_many_tests(struct run *run)
{
	const struct bench_tests *tests = run->tests;
	int code = EXIT_DONE;
	for (size_t i = 0; i < tests->text_count && code == EXIT_DONE; i++)
		for (size_t j = 0; j < tests->session_count && code == EXIT_DONE; j++)
			if (tests->sessions[j] > 0)
				code = run_test(run, "tg", tests->texts[i], tests->sessions[j]);
	return code;
}

/* ---------------------------------------------------------------------------------------------------- one long text */

/* Ends the part if its time is over.  False: that was the last one. */
static bool end_window(struct run *run, double now)
{
	struct window *window = &run->window;
	struct bench_model *out = run->out;
	window->tokens++;
	if (now - window->begin < window->length)
		return true;
	struct sensor_values sensors = sensors_read(run->tests->sensors);
	out->sustained[out->window_count++] = (struct bench_window){
		.end_s = now - window->start,
		.tokens_per_s = (double)window->tokens / (now - window->begin),
		.clock_mhz = sensors.clock_mhz,
		.power_w = sensors.power_w,
		.temperature_c = sensors.temperature_c,
	};
	window->begin = now;
	window->tokens = 0;
	return out->window_count < BENCH_WINDOWS && now - window->start < (double)run->tests->sustain;
}

static bool on_long_token(void *user, const rwkvk_token *token)
{
	(void)token;
	return end_window(user, now_seconds());
}

/* Writes for so many seconds, in parts of equal length; a part of a slow model ends with the token that is late. */
static int run_sustained(struct run *run)
{
	double seconds = (double)run->tests->sustain;
	const rwkvk_generate_options options = {
		.max_tokens = SIZE_MAX, .ignore_end = true, .on_token = on_long_token, .user = run, .cancel = interrupt_flag()
	};
	if (run->tests->sustain == 0)
		return EXIT_DONE;
	note("  writing for %.0f s", seconds);
	rwkvk_status status = write_text(run, 4, &(double){ 0 });
	if (status == RWKVK_OK) {
		run->window = (struct window){ .start = now_seconds(), .length = seconds / BENCH_WINDOWS };
		run->window.begin = run->window.start;
		status = rwkvk_session_generate(run->session, &options, NULL);
	}
	return run_failed(status);
}

/* ---------------------------------------------------------------------------------------------------- models */

static void describe_model(struct run *run)
{
	struct bench_model *out = run->out;
	rwkvk_model_info info = { .size = sizeof(info) };
	rwkvk_model_get_info(run->model, &info);
	const char *title = model_title(run->args), *name = system_path_name(title);
	bench_text(out->model, sizeof(out->model), *name ? name : title);
	bench_text(out->name, sizeof(out->name), info.name);
	bench_text(out->format, sizeof(out->format), info.format);
	bench_text(out->version, sizeof(out->version), info.version);
	bench_text(out->quant, sizeof(out->quant), quant_words[run->args->quant]);
	bench_text(out->type, sizeof(out->type), info.type);
	out->layers = info.layers;
	out->width = info.width;
	out->ffn_width = info.ffn_width;
	out->vocab = info.vocab;
	out->parameters = info.parameters;
	out->bytes_per_token = info.bytes_per_token;
	out->multiply_adds = info.multiply_adds;
	out->device_bytes = info.device_bytes;
}

/* Whether the device computes this model right; numbers of one that does not mean nothing. */
static int run_verify(struct run *run)
{
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS] = { 0 };
	size_t count;
	bool right = true;
	struct progress progress;
	if (!run->tests->verify)
		return EXIT_DONE;
	rwkvk_session_destroy(run->session); /* there is room for one, which the comparison takes */
	run->session = NULL;
	progress_begin(&progress, "comparing", PROGRESS_STEPS);
	const rwkvk_verify_options options = { .progress = progress_step, .progress_user = &progress };
	rwkvk_status status = rwkvk_model_verify(run->model, &options, rows, RWKVK_VERIFY_ROWS, &count);
	progress_end();
	if (status != RWKVK_OK)
		return failed_with(status);
	for (size_t i = 0; i < count; i++)
		right = right && rows[i].ok;
	if (!right)
		warn("%s: the device computes it wrong; see `rwkvk verify`", run->out->model);
	strcpy(run->out->verified, right ? "yes" : "no");
	return EXIT_DONE;
}

static int open_run(struct run *run, bool profile)
{
	int code = model_open(run->args, NULL, profile, &run->model);
	if (code == EXIT_DONE && rwkvk_session_create(run->model, &run->session) != RWKVK_OK)
		code = failed_call();
	rwkvk_model_info info = { 0 };
	if (code == EXIT_DONE && rwkvk_model_get_info(run->model, &info) == RWKVK_OK)
		run->first = info.begin_token == RWKVK_NO_TOKEN ? 0 : info.begin_token;
	return code;
}

/* The same with sessions that write at once. */
static int open_many(struct run *run, const struct model_args *args)
{
	int code = model_open(args, NULL, false, &run->model);
	for (; code == EXIT_DONE && run->many_count < args->batch; run->many_count++)
		if (rwkvk_session_create(run->model, &run->many[run->many_count]) != RWKVK_OK)
			return failed_call();
	return code;
}

static void close_run(struct run *run)
{
	while (run->many_count > 0)
		rwkvk_session_destroy(run->many[--run->many_count]);
	rwkvk_session_destroy(run->session);
	rwkvk_model_close(run->model);
	run->session = NULL;
	run->model = NULL;
}

/* The profile counts from opening on: the difference of two readings is the time of the tokens in between. */
struct reading {
	rwkvk_profile_row rows[BENCH_STAGES];
	size_t count;
};

static void read_profile(const struct run *run, struct reading *reading)
{
	*reading = (struct reading){ 0 };
	while (reading->count < BENCH_STAGES && rwkvk_model_profile(run->model, reading->count, &reading->rows[reading->count]))
		reading->count++;
}

static bool is_described(const struct bench_model *model, const char *stage)
{
	for (size_t i = 0; i < model->stage_count; i++)
		if (strcmp(model->stages[i].stage, stage) == 0)
			return true;
	return false;
}

/* The stages that ran between two readings, for `tokens` tokens, and have not been described. */
static void describe_stages(struct bench_model *out, const struct reading *a, const struct reading *b, double tokens)
{
	for (size_t i = 0; i < b->count && out->stage_count < BENCH_STAGES; i++) {
		rwkvk_profile_row row = b->rows[i];
		for (size_t j = 0; j < a->count; j++)
			if (strcmp(a->rows[j].stage, row.stage) == 0) {
				row.runs -= a->rows[j].runs;
				row.seconds -= a->rows[j].seconds;
				row.bytes -= a->rows[j].bytes;
			}
		if (row.runs == 0 || is_described(out, row.stage))
			continue;
		struct bench_stage *stage = &out->stages[out->stage_count++];
		bench_text(stage->stage, sizeof(stage->stage), row.stage);
		stage->runs_per_token = (double)row.runs / tokens;
		stage->us_per_token = 1e6 * row.seconds / tokens;
		stage->stage_gb_per_s = row.seconds > 0 ? 1e-9 * (double)row.bytes / row.seconds : (double)NAN;
	}
}

/* Weights of ffn.value that were skipped because their inputs were zero. */
static void describe_skipped(struct run *run)
{
	rwkvk_sparsity row = { 0 };
	double bytes = 0;
	uint32_t layers = 0;
	for (; rwkvk_model_sparsity(run->model, layers, &row); layers++)
		bytes += row.bytes_skipped;
	if (layers > 0)
		run->out->skipped_bytes_per_token = bytes;
}

static rwkvk_status profile_text(struct run *run)
{
	struct reading before, after;
	double seconds;
	rwkvk_status status = write_text(run, 4, &seconds);
	if (status != RWKVK_OK)
		return status;
	read_profile(run, &before);
	status = write_text(run, PROFILED - 1, &seconds); /* with the token that begins the text */
	read_profile(run, &after);
	describe_stages(run->out, &before, &after, PROFILED);
	return status;
}

/* The stages of chunks.  A prompt that is read token by token has the stages of a text. */
static rwkvk_status profile_prompt(struct run *run)
{
	struct reading before, after;
	double seconds;
	uint32_t ids[PROFILED_PROMPT];
	make_prompt(ids, PROFILED_PROMPT, (uint32_t)run->out->vocab);
	rwkvk_status status = read_prompt(run, ids, PROFILED_PROMPT, &seconds);
	if (status != RWKVK_OK)
		return status;
	read_profile(run, &before);
	status = read_prompt(run, ids, PROFILED_PROMPT, &seconds);
	read_profile(run, &after);
	describe_stages(run->out, &before, &after, PROFILED_PROMPT);
	return status;
}

/* Timestamps cost time, so the stages are timed in a separate run. */
static int run_stages(struct run *run)
{
	int code = open_run(run, true);
	if (code == EXIT_DONE)
		code = run_failed(profile_text(run));
	if (code == EXIT_DONE)
		describe_skipped(run);
	if (code == EXIT_DONE)
		code = run_failed(profile_prompt(run));
	if (code == EXIT_DONE && run->out->stage_count == 0)
		note("  no times of stages: this device has no timestamps");
	close_run(run);
	return code;
}

static uint32_t most_sessions(const struct bench_tests *tests)
{
	uint32_t most = 0;
	for (size_t i = 0; i < tests->session_count; i++)
		most = tests->sessions[i] > most ? tests->sessions[i] : most;
	return most;
}

/* One model for all numbers of sessions.  It has room for two at least, so that a single session also writes as one of many
 * does.
 */
static int run_many(struct run *run, uint32_t most)
{
	struct model_args args = *run->args;
	args.batch = most > 1 ? most : 2;
	int code = open_many(run, &args);
	if (code == EXIT_DONE)
		code = run_many_tests(run);
	close_run(run);
	return code;
}

int bench_run(const struct bench_tests *tests, const struct model_args *args, struct bench_model *out)
{
	struct run run = { .tests = tests, .args = args, .out = out };
	system_restart_peak();
	double start = now_seconds();
	int code = open_run(&run, false);
	out->load_s = now_seconds() - start;
	if (code == EXIT_DONE) {
		describe_model(&run);
		code = run_tests(&run);
		out->peak_host_bytes = system_peak_memory();
	}
	if (code == EXIT_DONE)
		code = run_sustained(&run);
	if (code == EXIT_DONE)
		code = run_verify(&run);
	close_run(&run);
	if (code == EXIT_DONE && most_sessions(tests) > 0)
		code = run_many(&run, most_sessions(tests));
	if (code == EXIT_DONE && tests->stages)
		code = run_stages(&run);
	return code;
}
