/* rwkvk bench: how fast a device runs models, compared with the device's ceiling.  Results go to standard output, progress to
 * standard error. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "model.h"
#include "sensors.h"
#include "terminal.h"

enum output { OUTPUT_MD, OUTPUT_JSON, OUTPUT_CSV, OUTPUT_JSONL, OUTPUT_HTML };
static const char *const output_words[] = { "md", "json", "csv", "jsonl", "html", NULL };
static const char *const type_words[] = { "f32", "f16", "bf16", "q8", "q6", "q5", "q4", NULL };

enum { MOST_WORDS = 16, MOST_FILES = 32, STANDARD_PROMPT = 512, STANDARD_TEXT = 128, STANDARD_REPETITIONS = 5 };

/* A list such as "q8,q4". */
struct words {
	char text[MOST_WORDS][40];
	size_t count;
};

struct bench {
	const char *device, *names, *cache_dir;
	struct arg_loras lora;
	struct arg_count threads;
	struct arg_texts models;
	const char *shapes, *types, *quants;
	struct arg_ids prompts, texts, sessions;
	struct arg_count repetitions, sustain;
	int output;
	const char *html, *compare, *collect;
	bool stages, verify, unmeasured, read_file, exact, quiet;
	const char *files[MOST_FILES]; /* positional arguments */
};

/* ---------------------------------------------------------------------------------------------------- lists */

/* Splits at commas; each must be one of `known`, unless that is NULL. */
static int split_words(const char *option, const char *text, const char *const *known, const char *expected, struct words *out)
{
	for (const char *at = text;; at++) {
		size_t length = strcspn(at, ",");
		if (out->count == MOST_WORDS)
			return misused("bench", "%s: expected at most %d values, got \"%.60s\"", option, MOST_WORDS, text);
		char *word = out->text[out->count];
		bool ok = length > 0 && length < sizeof(out->text[0]);
		if (ok)
			snprintf(word, sizeof(out->text[0]), "%.*s", (int)length, at);
		for (size_t i = 0; ok && known; i++) {
			if (!known[i])
				ok = false;
			else if (strcmp(known[i], word) == 0)
				break;
		}
		if (!ok)
			return misused("bench", "%s: expected %s, separated by commas, got \"%.60s\"", option, expected, text);
		out->count++;
		at += length;
		if (!*at)
			return EXIT_DONE;
	}
}

static int word_index(const char *const *words, const char *word)
{
	int i = 0;
	while (strcmp(words[i], word) != 0)
		i++;
	return i;
}

/* ---------------------------------------------------------------------------------------------------- the device */

static double rate(double per_second)
{
	return per_second > 0 ? 1e-9 * per_second : (double)NAN;
}

static int describe_device(const struct bench *args, struct bench_device *out, struct sensors *sensors)
{
	static const char *const types[] = { "other", "integrated", "discrete", "virtual", "cpu" };
	rwkvk_device_info info = { 0 };
	time_t seconds = time(NULL);
	struct tm utc;
	if (rwkvk_device_find(args->device, &info) != RWKVK_OK)
		return failed_call();
	gmtime_r(&seconds, &utc);
	strftime(out->date, sizeof(out->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
	bench_text(out->rwkvk, sizeof(out->rwkvk), rwkvk_version());
	bench_text(out->device, sizeof(out->device), info.name);
	bench_text(out->driver, sizeof(out->driver), info.driver);
	bench_text(out->device_type, sizeof(out->device_type), types[info.type]);
	snprintf(out->vulkan, sizeof(out->vulkan), "%" PRIu32 ".%" PRIu32 ".%" PRIu32, info.api_version[0], info.api_version[1],
	         info.api_version[2]);
	out->vendor_id = info.vendor_id;
	out->device_id = info.device_id;
	out->device_memory_bytes = info.device_memory;
	out->subgroup_size = info.subgroup_size;
	sensors_find("/sys", &info, sensors);
	return EXIT_DONE;
}

static bool not_interrupted(void *user, uint64_t done, uint64_t total)
{
	(void)user, (void)done, (void)total;
	return !interrupt_seen();
}

static int measure_device(const struct bench *args, struct bench_device *out)
{
	rwkvk_device_rates rates = { 0 };
	rwkvk_status status = RWKVK_OK;
	if (!args->unmeasured) {
		interrupt_catch();
		note("measuring %s", out->device);
		const rwkvk_measure_options options = {
			.device = args->device, .cache_dir = args->cache_dir, .progress = not_interrupted, .log = show_report
		};
		status = rwkvk_device_measure(&options, &rates);
	}
	out->read_gb_per_s = rate(rates.read_bytes_per_second);
	out->copy_gb_per_s = rate(rates.copy_bytes_per_second);
	out->f32_gflop_per_s = rate(rates.f32_per_second);
	out->f16_gflop_per_s = rate(rates.f16_per_second);
	out->int8_gop_per_s = rate(rates.int8_per_second);
	out->dispatch_us = rates.dispatch_seconds > 0 ? 1e6 * rates.dispatch_seconds : (double)NAN;
	out->submit_us = rates.submit_seconds > 0 ? 1e6 * rates.submit_seconds : (double)NAN;
	out->measured_bytes = rates.measured_bytes;
	return status == RWKVK_OK ? EXIT_DONE : failed_with(status);
}

/* Unknown numbers stay NaN. */
static void share_ceilings(struct bench_report *report)
{
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].test_count; j++) {
			struct bench_test *test = &report->models[i].tests[j];
			test->read_share = test->gb_per_s / report->device.read_gb_per_s;
			test->f32_share = test->gflop_per_s / report->device.f32_gflop_per_s;
		}
}

/* ---------------------------------------------------------------------------------------------------- all models */

/* All combinations are measured. */
struct plan {
	struct bench_tests tests;
	struct words shapes, types, quants;
	const char *models[2 * MOST_FILES];
	size_t model_count;
};

static int add_model(const struct plan *plan, const struct model_args *model_args, struct bench_report *report)
{
	struct bench_model *larger = realloc(report->models, (report->model_count + 1) * sizeof(*larger));
	if (!larger)
		return failed("out of memory");
	report->models = larger;
	larger[report->model_count] = (struct bench_model){ .load_s = (double)NAN, .skipped_bytes_per_token = (double)NAN };
	int code = bench_run(&plan->tests, model_args, &larger[report->model_count]);
	report->model_count += code == EXIT_DONE;
	return code;
}

static int add_quants(const struct bench *args, const struct plan *plan, struct model_args model, struct bench_report *report)
{
	int code = EXIT_DONE;
	model.device = args->device;
	model.lora = args->lora;
	model.cache_dir = args->cache_dir;
	model.threads = args->threads;
	model.read_file = args->read_file;
	model.exact = args->exact;
	model.quiet = args->quiet;
	if (plan->quants.count == 0)
		return add_model(plan, &model, report);
	for (size_t i = 0; i < plan->quants.count && code == EXIT_DONE; i++) {
		model.quant = word_index(quant_words, plan->quants.text[i]);
		code = add_model(plan, &model, report);
	}
	return code;
}

static int add_all(const struct bench *args, const struct plan *plan, struct bench_report *report)
{
	int code = EXIT_DONE;
	for (size_t i = 0; i < plan->model_count && code == EXIT_DONE; i++)
		code = add_quants(args, plan, (struct model_args){ .path = plan->models[i], .names = args->names }, report);
	for (size_t i = 0; i < plan->shapes.count && code == EXIT_DONE; i++)
		for (size_t j = 0; j < plan->types.count && code == EXIT_DONE; j++)
			code = add_quants(args, plan,
			                  (struct model_args){ .shape = plan->shapes.text[i], .shape_type = plan->types.text[j] }, report);
	if (code == EXIT_DONE && plan->model_count + plan->shapes.count == 0)
		code = add_quants(args, plan, (struct model_args){ 0 }, report);
	return code;
}

static int print_report(const struct bench *args, const struct bench_report *report)
{
	int code = EXIT_DONE;
	if (args->output == OUTPUT_JSON)
		code = out_json(bench_to_json(report));
	else if (args->output == OUTPUT_JSONL)
		code = bench_print_lines(report);
	else if (args->output == OUTPUT_CSV)
		bench_print_csv(report);
	else
		bench_print_table(report);
	if (code == EXIT_DONE && args->html)
		code = bench_write_html(args->html, NULL, report, 1);
	return code;
}

static void plan_tests(const struct bench *args, struct bench_tests *tests)
{
	static const uint32_t prompt = STANDARD_PROMPT, text = STANDARD_TEXT;
	*tests = (struct bench_tests){
		.prompts = args->prompts.given ? args->prompts.ids : &prompt,
		.texts = args->texts.given ? args->texts.ids : &text,
		.prompt_count = args->prompts.given ? args->prompts.count : 1,
		.sessions = args->sessions.ids,
		.text_count = args->texts.given ? args->texts.count : 1,
		.session_count = args->sessions.count,
		.repetitions = args->repetitions.given ? args->repetitions.value : STANDARD_REPETITIONS,
		.sustain = args->sustain.value,
		.stages = args->stages || args->html,
		.verify = args->verify,
	};
}

static int make_plan(const struct bench *args, struct plan *plan)
{
	int code = EXIT_DONE;
	plan_tests(args, &plan->tests);
	for (size_t i = 0; i < args->models.count && i < MOST_FILES; i++)
		plan->models[plan->model_count++] = args->models.texts[i];
	for (size_t i = 0; i < MOST_FILES && args->files[i]; i++)
		plan->models[plan->model_count++] = args->files[i];
	if (args->types && !args->shapes)
		return misused("bench", "--type: is the type of --shape's matrices; for a model file use --quant");
	if (args->shapes)
		code = split_words("--shape", args->shapes, NULL, "shapes such as 0.1B or 24x2048", &plan->shapes);
	if (code == EXIT_DONE && args->shapes)
		code = split_words("--type", args->types ? args->types : "f16", type_words, "f32, f16, bf16, q8, q6, q5 or q4",
		                   &plan->types);
	if (code == EXIT_DONE && args->quants)
		code = split_words("--quant", args->quants, quant_words, "none, f16, q8, q6, q5 or q4", &plan->quants);
	return code;
}

static int check_sessions(const struct bench *args, const struct bench_tests *tests)
{
	bool many = false, texts = false;
	for (size_t i = 0; i < tests->session_count; i++) {
		if (tests->sessions[i] > BENCH_SESSIONS)
			return misused("bench", "-b: expected at most %d sessions, got %" PRIu32, BENCH_SESSIONS, tests->sessions[i]);
		many |= tests->sessions[i] > 0;
	}
	for (size_t i = 0; i < tests->text_count; i++)
		texts |= tests->texts[i] > 0;
	if (many && !texts)
		return misused("bench", "-b: sessions write texts of -n tokens; expected one that is not 0");
	if (many && args->exact)
		return misused("bench", "--exact: has the bits of one session alone, which -b does not have; give one of the two");
	return EXIT_DONE;
}

static int measure(const struct bench *args)
{
	struct plan plan = { 0 };
	struct sensors sensors;
	struct bench_report report = { 0 };
	if (args->output == OUTPUT_HTML)
		return misused("bench", "-o html: is only for --collect; the page of one report is --html FILE");
	if (args->repetitions.given && args->repetitions.value == 0)
		return misused("bench", "-r: expected at least 1, got 0");
	if (args->models.count > MOST_FILES)
		return misused("bench", "-m: expected at most %d models, got %zu", MOST_FILES, args->models.count);
	int code = make_plan(args, &plan);
	if (code == EXIT_DONE)
		code = check_sessions(args, &plan.tests);
	if (code != EXIT_DONE)
		return code;
	set_quiet(args->quiet);
	code = args->html ? output_check(args->html) : EXIT_DONE;
	if (code == EXIT_DONE)
		code = describe_device(args, &report.device, &sensors);
	plan.tests.sensors = &sensors;
	if (code == EXIT_DONE)
		code = add_all(args, &plan, &report);
	/* The device comes last, so that a wrong file name is seen at once; if measuring it fails, the models are still shown. */
	if (code == EXIT_DONE) {
		int measured = measure_device(args, &report.device);
		share_ceilings(&report);
		code = measured == EXIT_INTERRUPTED ? measured : print_report(args, &report);
		code = code == EXIT_DONE ? measured : code;
	}
	bench_report_free(&report);
	return code;
}

/* ---------------------------------------------------------------------------------------------------- comparing */

static int compare(const struct bench *args)
{
	const char *const names[2] = { args->compare, args->files[0] };
	struct bench_report reports[2] = { 0 };
	if (!args->files[0] || args->files[1])
		return misused("bench", "--compare: expected two files, as in: rwkvk bench --compare a.json b.json");
	if (args->models.count > 0 || args->shapes || args->types || args->quants)
		return misused("bench", "--compare: measures nothing; leave out -m, --shape, --type and --quant");
	int code = bench_load(names[0], &reports[0]);
	if (code == EXIT_DONE)
		code = bench_load(names[1], &reports[1]);
	if (code == EXIT_DONE)
		code = bench_print_comparison(names, reports);
	if (code == EXIT_DONE && args->html)
		code = bench_write_html(args->html, names, reports, 2);
	bench_report_free(&reports[0]);
	bench_report_free(&reports[1]);
	return code;
}

static int collect(const struct bench *args)
{
	if (args->files[0] || args->models.count > 0 || args->shapes || args->types || args->quants || args->html || args->compare)
		return misused("bench", "--collect: measures nothing; expected only the folder and -o md or -o html");
	if (args->output != OUTPUT_MD && args->output != OUTPUT_HTML)
		return misused("bench", "-o: expected md or html with --collect, got %s", output_words[args->output]);
	return bench_collect(args->collect, args->output == OUTPUT_HTML);
}

int cmd_bench(int argc, char **argv)
{
	struct bench b = { 0 };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		{ .group = "Models",
		  .letter = 'm',
		  .kind = ARG_TEXTS,
		  .target = &b.models,
		  .value = "MODEL",
		  .help = "a model file; several as further arguments or further -m",
		  .standard = "the small story model that is part of the program" },
		{ .name = "names",
		  .kind = ARG_TEXT,
		  .target = &b.names,
		  .value = "FILE",
		  .help = "a file that maps tensor names to official ones; see docs/formats.md",
		  .standard = "as in the models" },
		ARG_LORA(b),
		{ .name = "quant",
		  .kind = ARG_TEXT,
		  .target = &b.quants,
		  .value = "LIST",
		  .help = "how large float matrices are stored, each in turn: none, f16, q8, q6, q5, q4",
		  .standard = "none" },
		{ .name = "shape",
		  .kind = ARG_TEXT,
		  .target = &b.shapes,
		  .value = "LIST",
		  .help = "RWKV-7 models of these sizes with random weights, without a file: 0.1B, 0.4B, 1.5B, 2.9B, 7.2B, or "
		          "LAYERSxWIDTH such as 24x2048" },
		{ .name = "type",
		  .kind = ARG_TEXT,
		  .target = &b.types,
		  .value = "LIST",
		  .help = "how their matrices are stored: f32, f16, bf16, q8, q6, q5, q4",
		  .standard = "f16" },
		{ .name = "device",
		  .kind = ARG_TEXT,
		  .target = &b.device,
		  .value = "INDEX|NAME",
		  .help = "a number from `rwkvk devices`, or part of a name",
		  .standard = "the best device" },
		ARGS_HOST(b),
		{ .group = "Tests",
		  .letter = 'p',
		  .kind = ARG_COUNTS,
		  .target = &b.prompts,
		  .value = "LIST",
		  .help = "read prompts of so many tokens (pp); 0: none",
		  .standard = "512" },
		{ .letter = 'n',
		  .kind = ARG_COUNTS,
		  .target = &b.texts,
		  .value = "LIST",
		  .help = "write texts of so many tokens (tg), always the most probable one; 0: none",
		  .standard = "128" },
		{ .letter = 'b',
		  .kind = ARG_COUNTS,
		  .target = &b.sessions,
		  .value = "LIST",
		  .help = "also write the texts of -n in so many sessions at once (tg128 x 8), each number from 1 to 256; for that the "
		          "model is loaded once more",
		  .standard = "in one session alone" },
		{ .letter = 'r',
		  .kind = ARG_COUNT,
		  .target = &b.repetitions,
		  .value = "N",
		  .high = 10000,
		  .help = "measure each N times, after one warm-up run",
		  .standard = "5" },
		{ .name = "sustain",
		  .kind = ARG_COUNT,
		  .target = &b.sustain,
		  .value = "SECONDS",
		  .high = 86400,
		  .help = "then write one text for so long, and show how the speed changes as the device gets warm",
		  .standard = "0: no such text" },
		{ .name = "verify",
		  .kind = ARG_FLAG,
		  .target = &b.verify,
		  .help = "also check each model's stages against plain C, as `rwkvk verify` does" },
		{ .name = "stages",
		  .kind = ARG_FLAG,
		  .target = &b.stages,
		  .help = "also time each stage; for that the model is loaded once more",
		  .standard = "only for --html" },
		{ .name = "no-measure",
		  .kind = ARG_FLAG,
		  .target = &b.unmeasured,
		  .help = "do not measure the device itself (bandwidth, latencies, arithmetic)" },
		{ .group = "Output",
		  .letter = 'o',
		  .kind = ARG_WORD,
		  .target = &b.output,
		  .words = output_words,
		  .value = "md|json|csv|jsonl|html",
		  .help = "a table, all numbers as JSON, a line for each test, or, with --collect, a page",
		  .standard = "md" },
		{ .name = "html",
		  .kind = ARG_TEXT,
		  .target = &b.html,
		  .value = "FILE",
		  .help = "also write a self-contained page with charts" },
		{ .name = "compare",
		  .kind = ARG_TEXT,
		  .target = &b.compare,
		  .value = "A.JSON",
		  .help = "measure nothing: compare this file and a second one, both written with -o json" },
		{ .name = "collect",
		  .kind = ARG_TEXT,
		  .target = &b.collect,
		  .value = "FOLDER",
		  .help = "measure nothing: rank the results in all *.json files of this folder, written with -o json" },
		{ .letter = 'q', .kind = ARG_FLAG, .target = &b.quiet, .help = "print only warnings and errors on standard error" },
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "bench",
		.synopsis = "[OPTION]... [MODEL]... | bench --compare A.JSON B.JSON | bench --collect FOLDER",
		.about = "Measures how fast a device reads prompts and writes texts, and the device itself, to show what share of its\n"
				 "bandwidth a model achieves.  docs/benchmark.md explains each number.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "MODEL",
		.operands = MOST_FILES - 1,
		.notes = "LIST is one value, or several separated by commas.\n"
				 "\nExamples\n"
				 "  rwkvk bench -m model.gguf -p 128,512 -n 128 -r 5\n"
				 "  rwkvk bench -m model.gguf -p 0 -n 64 -b 1,2,4,8,16,32\n"
				 "  rwkvk bench --shape 0.1B,1.5B --type f16,q4 -p 0 --html report.html\n"
				 "  rwkvk bench --shape 1.5B --type q8 -o json > here.json\n"
				 "  rwkvk bench --compare here.json there.json\n"
				 "  rwkvk bench --collect results -o html > results.html",
	};
	int code = args_parse(&usage, argc, argv, b.files);
	if (code == ARGS_GO_ON)
		code = b.collect ? collect(&b) : b.compare ? compare(&b) : measure(&b);
	free(b.models.texts);
	free(b.prompts.ids);
	free(b.texts.ids);
	free(b.sessions.ids);
	return code;
}
