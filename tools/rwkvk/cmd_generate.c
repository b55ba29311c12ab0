/* rwkvk generate: text that continues a prompt.  Standard output holds only the whole text, prompt included; everything else
 * goes to standard error. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "streams.h"
#include "many.h"
#include "model.h"
#include "sampling_args.h"
#include "terminal.h"
#include "system.h"

enum { STANDARD_COUNT = 1024, MOST_TEXTS = 256 };

struct generate {
	struct model_args model;
	struct feed_args feed;
	struct arg_count count;
	struct sampling_args sampling;
	struct arg_texts stops;
	struct arg_count texts; /* --count; not given: one, after its prompt */
	bool json, profile;
};

/* One run: what is written, and what is counted. */
struct run {
	const struct generate *args;
	rwkvk_file *file; /* until the model has it */
	rwkvk_model *model;
	rwkvk_session *session;
	struct feed feed;
	struct bias_list biases;
	char **stops; /* as many as in args */
	rwkvk_generate_result result;
	rwkvk_counters before, after; /* around the generation */
	uint64_t prompt_tokens;
	double prompt_seconds, text_seconds;
	struct progress progress; /* of the prompt */
	int last_byte;            /* of the text so far; -1: none */
};

/* ---------------------------------------------------------------------------------------------------- sampling */

static rwkvk_sampling choose_sampling(const struct run *run)
{
	rwkvk_sampling sampling = sampling_choose(&run->args->sampling, run->model, &run->biases);
	if (!run->args->sampling.seed.given)
		sampling.seed = sampling_random_seed();
	return sampling;
}

/* -q may hide settings that the user can give again, but not a seed that was drawn at random. */
static void note_sampling(const struct run *run, const rwkvk_sampling *s)
{
	char text[200];
	bool no_text = run->args->count.given && run->args->count.value == 0;
	if (is_quiet() && sampling_is_drawn(s) && !no_text && !run->args->sampling.seed.given)
		fprintf(stderr, "seed %" PRIu64 "\n", s->seed);
	note("%s", sampling_show(text, sizeof(text), s));
}

/* ---------------------------------------------------------------------------------------------------- the text */

/* false once standard output has failed. */
static bool show(struct run *run, const void *bytes, size_t count)
{
	if (count == 0)
		return true;
	run->last_byte = ((const uint8_t *)bytes)[count - 1];
	return out_write(bytes, count) && out_flush();
}

/* A model without a vocabulary writes token ids. */
static bool show_id(struct run *run, uint32_t token)
{
	char text[16];
	int count = snprintf(text, sizeof(text), "%s%" PRIu32, run->last_byte < 0 ? "" : " ", token);
	return show(run, text, (size_t)count);
}

static void show_prompt(struct run *run)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(run->model);
	if (!run->args->feed.ids.given)
		show(run, run->feed.text, run->feed.bytes);
	else
		for (size_t i = run->feed.bos; i < run->feed.count; i++) {
			size_t bytes = 0;
			const void *token = tokenizer ? rwkvk_tokenizer_token(tokenizer, run->feed.ids[i], &bytes) : NULL;
			if (tokenizer)
				show(run, token, bytes);
			else
				show_id(run, run->feed.ids[i]);
		}
}

static bool on_text(void *user, const char *text, size_t bytes)
{
	return show(user, text, bytes);
}

static bool on_token(void *user, const rwkvk_token *token)
{
	return show_id(user, token->id);
}

static void end_line(struct run *run)
{
	if (run->last_byte >= 0 && run->last_byte != '\n')
		show(run, "\n", 1);
}

/* ---------------------------------------------------------------------------------------------------- the report */

static double per(double amount, double seconds)
{
	return seconds > 0 ? amount / seconds : 0;
}

static void note_speed(const struct run *run)
{
	rwkvk_model_info info = { 0 };
	rwkvk_model_get_info(run->model, &info);
	double speed = per((double)run->result.tokens, run->text_seconds);
	char prompt[40] = ""; /* with a profile nothing was compiled before */
	if (!run->args->profile && run->prompt_tokens > 0)
		snprintf(prompt, sizeof(prompt), ", %.1f tok/s", per((double)run->prompt_tokens, run->prompt_seconds));
	if (interrupt_seen())
		note("interrupted");
	if (run->args->texts.given) /* the weights are read for all of them at once */
		note("prompt %" PRIu64 " tokens%s; %" PRIu64 " texts, %" PRIu64 " tokens, %.1f tok/s", run->prompt_tokens, prompt,
		     run->args->texts.value, run->result.tokens, speed);
	else
		note("prompt %" PRIu64 " tokens%s; text %" PRIu64 " tokens, %.1f tok/s, %s/s", run->prompt_tokens, prompt,
		     run->result.tokens, speed, show_bytes((uint64_t)(speed * (double)info.bytes_per_token)).text);
	if (run->result.close_draws > 0)
		note("draws within 1e-5 of a border, where another device may pick another token: %" PRIu64, run->result.close_draws);
}

static void note_counters(const struct run *run)
{
	const rwkvk_counters *a = &run->before, *b = &run->after;
	uint64_t tokens = b->tokens - a->tokens;
	if (tokens == 0)
		return;
	double n = (double)tokens;
	note("per token of the text: %.2f dispatches, %.2f barriers, %.2f submits, %.2f calls of Vulkan",
	     (double)(b->dispatches - a->dispatches) / n, (double)(b->barriers - a->barriers) / n,
	     (double)(b->submits - a->submits) / n, (double)(b->host_calls - a->host_calls) / n);
	note("in the whole text: %" PRIu64 " descriptor updates, %" PRIu64 " allocations, %" PRIu64 " buffers, %" PRIu64
	     " recorded command buffers",
	     b->descriptor_updates - a->descriptor_updates, b->allocations - a->allocations, b->buffers - a->buffers,
	     b->recordings - a->recordings);
}

/* Layer by layer, and the total. */
static void note_sparsity(const struct run *run)
{
	rwkvk_sparsity row = { 0 };
	double skipped = 0, bytes = 0;
	if (!rwkvk_model_sparsity(run->model, 0, &row))
		return;
	note("ffn.value  inputs not zero   MB not read a token");
	for (uint32_t layer = 0; rwkvk_model_sparsity(run->model, layer, &row); layer++) {
		note("layer %3" PRIu32 " %15.1f %% %14.2f of %.2f", layer, 100 * row.density, 1e-6 * row.bytes_skipped,
		     1e-6 * (double)row.bytes);
		skipped += row.bytes_skipped;
		bytes += (double)row.bytes;
	}
	note("all layers %26.2f of %.2f (%.0f %%)", 1e-6 * skipped, 1e-6 * bytes, 100 * per(skipped, bytes));
}

static bool is_of_chunks(const char *stage)
{
	return strncmp(stage, "chunk ", 6) == 0;
}

/* The number of tokens that a stage ran for.  If the prompt was read in chunks, it had stages of its own. */
static double stage_tokens(const struct run *run, const char *stage)
{
	rwkvk_profile_row row = { 0 };
	bool chunks = false;
	for (size_t i = 0; rwkvk_model_profile(run->model, i, &row); i++)
		chunks |= is_of_chunks(row.stage);
	uint64_t text = run->after.tokens - run->before.tokens;
	return (double)(is_of_chunks(stage) ? run->prompt_tokens : chunks ? text : text + run->prompt_tokens);
}

static void note_profile(const struct run *run)
{
	rwkvk_profile_row row = { 0 };
	double total = 0;
	size_t count = 0;
	for (; rwkvk_model_profile(run->model, count, &row); count++)
		total += row.seconds;
	if (count == 0)
		note("no profile: this device has no timestamps");
	else
		note("%-15s %9s %10s %7s %10s %10s %8s", "stage", "runs", "ms", "share", "us a run", "us a token", "GB/s");
	for (size_t i = 0; rwkvk_model_profile(run->model, i, &row); i++)
		note("%-15s %9" PRIu64 " %10.2f %5.1f %% %10.2f %10.2f %8.2f", row.stage, row.runs, 1e3 * row.seconds,
		     100 * per(row.seconds, total), 1e6 * per(row.seconds, (double)row.runs),
		     1e6 * per(row.seconds, stage_tokens(run, row.stage)), 1e-9 * per((double)row.bytes, row.seconds));
	note_sparsity(run);
	note_counters(run);
}

/* ---------------------------------------------------------------------------------------------------- the run */

/* Without a reader there is no need to go on, unless the state is wanted. */
static bool on_prompt(void *user, uint64_t done, uint64_t total)
{
	struct run *run = user;
	return progress_step(&run->progress, done, total) && (run->args->feed.state_out || !out_closed());
}

static rwkvk_status read_prompt(struct run *run)
{
	uint64_t from = rwkvk_session_position(run->session);
	double start = now_seconds();
	const rwkvk_eval_options options = { .cancel = interrupt_flag(), .progress = on_prompt, .progress_user = run };
	progress_begin(&run->progress, "reading", PROGRESS_TOKENS);
	rwkvk_status status = rwkvk_session_eval(run->session, run->feed.ids, run->feed.count, &options);
	progress_end();
	run->prompt_seconds = now_seconds() - start;
	run->prompt_tokens = rwkvk_session_position(run->session) - from;
	return status;
}

static rwkvk_generate_options text_options(const struct run *run, const rwkvk_sampling *sampling)
{
	const struct generate *args = run->args;
	return (rwkvk_generate_options){
		.size = sizeof(rwkvk_generate_options),
		.sampling = sampling,
		.max_tokens = args->count.given ? args->count.value : STANDARD_COUNT,
		.stop_texts = (const char *const *)run->stops,
		.stop_text_count = args->stops.count,
		.cancel = interrupt_flag(),
	};
}

/* EXIT_DONE, even for a text that Ctrl-C ended; else the exit code after a message. */
static int write_one(struct run *run, rwkvk_generate_options *options)
{
	bool has_text = rwkvk_model_tokenizer(run->model);
	options->on_text = has_text ? on_text : NULL;
	options->on_token = has_text ? NULL : on_token;
	options->user = run;
	rwkvk_status status = rwkvk_session_generate(run->session, options, &run->result);
	end_line(run);
	return status == RWKVK_OK || status == RWKVK_CANCELLED ? EXIT_DONE : failed_call();
}

static int write_many(struct run *run, const rwkvk_generate_options *options)
{
	const struct generate *args = run->args;
	const struct many many = {
		.model = run->model, .options = options, .count = (size_t)args->texts.value, .json = args->json
	};
	struct many_done done = { 0 };
	int code = many_write(&many, run->session, &done);
	run->result.tokens = done.tokens;
	run->result.close_draws = done.close_draws;
	return code;
}

static int write_text(struct run *run, const rwkvk_sampling *sampling)
{
	rwkvk_generate_options options = text_options(run, sampling);
	double start = now_seconds();
	rwkvk_model_counters(run->model, &run->before);
	int code = run->args->texts.given ? write_many(run, &options) : write_one(run, &options);
	rwkvk_model_counters(run->model, &run->after);
	run->text_seconds = now_seconds() - start;
	return code;
}

/* The prompt was not read to its end, so no text follows. */
static int prompt_failed(struct run *run, rwkvk_status status)
{
	end_line(run);
	if (status != RWKVK_CANCELLED)
		return failed_call();
	if (!interrupt_seen())
		return EXIT_FAILED; /* the reader has gone */
	const char *path = run->args->feed.state_out;
	failed("interrupted after %" PRIu64 " of %zu tokens of the prompt%s%s%s", run->prompt_tokens, run->feed.count,
	       path ? "; " : "", path ? path : "", path ? " is not written" : "");
	return EXIT_INTERRUPTED;
}

static int run_session(struct run *run)
{
	const struct generate *args = run->args;
	if (args->feed.state_in && rwkvk_session_load(run->session, args->feed.state_in) != RWKVK_OK)
		return failed_call();
	rwkvk_sampling sampling = choose_sampling(run);
	note_sampling(run, &sampling);
	bool one_screen = system_is_terminal(stdout) && system_is_terminal(stderr); /* the progress line would end the prompt's */
	bool alone = !args->texts.given, nothing = args->count.given && args->count.value == 0; /* -n 0: only the prompt is read */
	if (alone && !one_screen)
		show_prompt(run);
	rwkvk_status status = read_prompt(run);
	if (alone && one_screen && status == RWKVK_OK)
		show_prompt(run);
	if (status != RWKVK_OK)
		return prompt_failed(run, status);
	int code = nothing ? EXIT_DONE : write_text(run, &sampling);
	end_line(run);
	if (code != EXIT_DONE)
		return code;
	if (args->feed.state_out && rwkvk_session_save(run->session, args->feed.state_out) != RWKVK_OK)
		code = failed_call();
	note_speed(run);
	if (args->profile)
		note_profile(run);
	return code;
}

static int run_model(struct run *run)
{
	const struct generate *args = run->args;
	/* The tokens of a warm-up would be in the profile. */
	rwkvk_file *file = run->file;
	run->file = NULL;
	int code = args->profile ? model_open(&args->model, file, true, &run->model)
	                         : model_open_warm(&args->model, file, run->feed.count, &run->model);
	if (code != EXIT_DONE)
		return code;
	if (rwkvk_session_create(run->model, &run->session) != RWKVK_OK)
		return failed_call();
	code = run_session(run);
	rwkvk_session_destroy(run->session);
	return code;
}

/* Options that exclude several texts, or need them. */
static int check_texts(const struct generate *args)
{
	uint64_t count = args->texts.value;
	if (args->json && !args->texts.given)
		return misused("generate", "--json: applies to the texts of --count; give --count, which may be 1");
	if (!args->texts.given)
		return EXIT_DONE;
	if (count == 0)
		return misused("generate", "--count: expected a whole number from 1 to %d, got 0", MOST_TEXTS);
	if (args->feed.state_out)
		return misused("generate", "--save-state: each text of --count ends in a state of its own; give one of the two");
	if (args->model.exact)
		return misused("generate", "--exact: has the bits of one text alone, which --count does not have; give one of the two");
	if (args->profile)
		return misused("generate", "--profile: times one text alone; give it without --count");
	if (args->count.given && args->count.value == 0)
		return misused("generate", "-n: expected at least 1 with --count, got 0");
	if (args->json && args->sampling.seed.value > INT64_MAX - count)
		return misused("generate", "--seed: expected at most %" PRIu64 " with --json, got %" PRIu64, INT64_MAX - count,
		               args->sampling.seed.value);
	return EXIT_DONE;
}

/* Everything that can be checked before the model is loaded. */
static int prepare(struct run *run)
{
	const struct generate *args = run->args;
	rwkvk_model_info info = { 0 };
	int code = model_peek(&args->model, &run->file);
	if (code == EXIT_DONE) {
		rwkvk_file_get_info(run->file, &info);
		code = feed_tokens("generate", &args->feed, &args->model, run->file, &run->feed);
	}
	if (code == EXIT_DONE)
		code = bias_check("generate", &run->biases, info.vocab);
	if (code == EXIT_DONE && args->stops.count > 0 && !rwkvk_file_tokenizer(run->file))
		code = no_vocabulary(&args->model, &info, "--stop", NULL);
	if (code == EXIT_DONE)
		code = feed_check(&args->feed, run->file);
	return code;
}

static int read_stops(struct run *run)
{
	const struct generate *args = run->args;
	int code = EXIT_DONE;
	run->stops = calloc(args->stops.count + 1, sizeof(*run->stops));
	if (!run->stops)
		return failed("out of memory");
	for (size_t i = 0; i < args->stops.count && code == EXIT_DONE; i++) {
		const char *text = args->stops.texts[i];
		if (!args->feed.escapes && escape_likely(text))
			warn("--stop: \"%.60s\" holds a backslash, which is looked for as it is; with -e, \\n is a line break", text);
		code = text_read("generate", "--stop", text, args->feed.escapes, &run->stops[i]);
	}
	return code;
}

static int generate(const struct generate *args)
{
	struct run run = { .args = args, .last_byte = -1 };
	set_quiet(args->model.quiet);
	int code = check_texts(args);
	if (code == EXIT_DONE)
		code = read_stops(&run);
	if (code == EXIT_DONE)
		code = bias_read("generate", &args->sampling.bias, &run.biases);
	if (code == EXIT_DONE)
		code = feed_read("generate", &args->feed, &run.feed);
	if (code == EXIT_DONE)
		code = prepare(&run);
	if (code == EXIT_DONE)
		code = run_model(&run);
	rwkvk_model_close(run.model);
	rwkvk_file_close(run.file);
	feed_free(&run.feed);
	for (size_t i = 0; run.stops && i < args->stops.count; i++)
		free(run.stops[i]);
	free(run.stops);
	free(run.biases.biases);
	return code;
}

int cmd_generate(int argc, char **argv)
{
	struct generate g = { .feed.bos = -1 };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		ARG_MODEL(g.model),
		ARG_VOCAB(g.model),
		ARGS_TENSORS(g.model),
		ARG_QUANT(g.model),
		ARGS_NUMERICS(g.model),
		ARG_DEVICE(g.model),
		ARGS_HOST(g.model),
		ARG_TOKENS(g.feed),
		ARGS_PROMPT(g.feed),
		ARGS_BOS(g.feed),
		{ .group = "Length",
		  .letter = 'n',
		  .kind = ARG_COUNT,
		  .target = &g.count,
		  .value = "N",
		  .help = "at most N tokens",
		  .standard = "until the model ends its text, at most 1024" },
		{ .name = "stop",
		  .kind = ARG_TEXTS,
		  .target = &g.stops,
		  .value = "TEXT",
		  .help = "stop before writing TEXT; may be given several times",
		  .standard = "none" },
		{ .group = "Several texts",
		  .name = "count",
		  .kind = ARG_COUNT,
		  .target = &g.texts,
		  .value = "B",
		  .high = MOST_TEXTS,
		  .help = "write B continuations at the same time, from 1 to 256, with the seeds S, S+1 and so on",
		  .standard = "one text, after its prompt" },
		{ .name = "json",
		  .kind = ARG_FLAG,
		  .target = &g.json,
		  .help = "with --count: a JSON object a line for each text: index, seed, text (null without a vocabulary), ids, "
		          "tokens, reason, stop, close_draws",
		  .standard = "a line \"--- 1\", then the text" },
		ARGS_SAMPLING(g.sampling),
		ARGS_BIAS(g.sampling),
		ARGS_STATE(g.feed),
		{ .group = "Report",
		  .name = "profile",
		  .kind = ARG_FLAG,
		  .target = &g.profile,
		  .help = "time every stage on the device",
		  .standard = "off" },
		{ .letter = 'q',
		  .kind = ARG_FLAG,
		  .target = &g.model.quiet,
		  .help = "print only warnings, errors and a random seed on standard error" },
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "generate",
		.synopsis = "[OPTION]... [PROMPT | - | -f FILE]",
		.about =
			"Writes PROMPT and its continuation to standard output, and everything else to standard error.  With -, the\n"
			"prompt is standard input, byte for byte; without a prompt, the text of --state continues, or the model begins "
			"one of\n"
			"its own, if it can.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "PROMPT",
		.notes =
			"The text ends in a line break; one is added where it has none.  A model without a vocabulary writes token ids.\n"
			"Ctrl-C, or SIGTERM, ends the text: the state is saved if requested, and the exit code is 0.  While the model "
			"loads "
			"or\n"
			"reads the prompt, nothing is saved, and the exit code is 130 or 143.  A second one ends at once.\n"
			"\nWith --count, the prompt is read once and not written.  Each text is written as a whole, in order, when it has\n"
			"ended: after a line \"--- K\", K from 1, with one line break at its end and an empty line before the next.  All "
			"go\n"
			"through the model together, which reads its weights once for all of them.  Text K equals, to the bit, that of "
			"--count "
			"1\n"
			"--seed S+K-1.  Without --count, numbers differ within rounding, so a text may come out differently.\n"
			"\nExamples\n"
			"  rwkvk generate \"Once upon a time\"\n"
			"  rwkvk generate -m model.gguf --temp 0.8 --stop \"User:\" -f chat.txt\n"
			"  rwkvk generate -e --stop \"\\n\\n\" \"Question: why?\\n\\nAnswer:\"\n"
			"  rwkvk generate -m model.gguf -n 0 --save-state long.state - < long.txt\n"
			"  rwkvk generate -m model.gguf --state long.state --save-state long.state \"In short:\"\n"
			"  rwkvk generate -m model.gguf --state long.state\n"
			"  rwkvk generate -m model.gguf --count 8 --seed 1 --json \"Once upon a time\"",
	};
	int code = args_parse(&usage, argc, argv, &g.feed.prompt);
	if (g.texts.given) /* a single text, too, so that it has the bits of one among many */
		g.model.batch = g.texts.value > 1 ? (uint32_t)g.texts.value : 2;
	if (code == ARGS_GO_ON)
		code = generate(&g);
	free(g.feed.ids.ids);
	free(g.stops.texts);
	sampling_args_free(&g.sampling);
	return code;
}
