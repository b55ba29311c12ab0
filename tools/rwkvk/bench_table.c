/* Reports as text: Markdown tables, CSV, JSON lines, and two reports side by side. */
#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct bench_cell bench_plain(const char *text)
{
	struct bench_cell cell;
	size_t count = 0;
	for (; *text && count < sizeof(cell.text) - 2; text++) {
		if (*text == '|')
			cell.text[count++] = '\\';
		cell.text[count++] = *text;
	}
	cell.text[count] = 0;
	return cell;
}

/* ---------------------------------------------------------------------------------------------------- one report */

static void print_device(const struct bench_device *d)
{
	out_printf("%s, %s, Vulkan %s; rwkvk %s, %s\n", bench_plain(d->device).text,
	           *d->driver ? bench_plain(d->driver).text : "unknown driver", d->vulkan, d->rwkvk, d->date);
	if (!isfinite(d->read_gb_per_s))
		return;
	out_printf("measured: read %s, copy %s, dispatch %s, submit %s, F32 %s, F16 %s, int8 %s\n",
	           bench_number(d->read_gb_per_s, " GB/s").text, bench_number(d->copy_gb_per_s, " GB/s").text,
	           bench_number(d->dispatch_us, " us").text, bench_number(d->submit_us, " us").text,
	           bench_number(d->f32_gflop_per_s, " GFLOP/s").text, bench_number(d->f16_gflop_per_s, " GFLOP/s").text,
	           bench_number(d->int8_gop_per_s, " Gop/s").text);
}

static void print_row(const struct bench_model *model, const struct bench_test *test)
{
	bool writing = bench_what(test) == BENCH_TEXTS;
	out_printf("| %s | %s | %s | %s | %s | %s ± %s | %s | %s | %s | %s | %s |\n", bench_plain(model->model).text,
	           bench_storage(model).text, show_bytes(model->device_bytes).text, show_count(model->parameters).text, test->test,
	           bench_number(test->tokens_per_s, "").text, bench_number(test->tokens_per_s_sd, "").text,
	           writing ? bench_number(1e-6 * (double)model->bytes_per_token, "").text : "-",
	           bench_number(test->gb_per_s, "").text, bench_number(100 * test->read_share, " %").text,
	           bench_number(test->gflop_per_s, "").text, bench_number(100 * test->f32_share, " %").text);
}

static const struct bench_test *last_text_test(const struct bench_model *model)
{
	const struct bench_test *found = NULL;
	for (size_t i = 0; i < model->test_count; i++)
		if (bench_what(&model->tests[i]) == BENCH_TEXTS)
			found = &model->tests[i];
	return found;
}

static const char *note_repeatable(const struct bench_test *test)
{
	return strcmp(test->repeatable, "no") == 0 ? ", NOT THE SAME IN EVERY REPETITION" : "";
}

static void print_notes(const struct bench_model *model)
{
	const struct bench_test *test = last_text_test(model);
	out_printf("\n%s, %s: loaded in %s, at most %s of main memory, %s on the device", bench_plain(model->model).text,
	           bench_storage(model).text, bench_number(model->load_s, " s").text, show_bytes(model->peak_host_bytes).text,
	           show_bytes(model->device_bytes).text);
	if (isfinite(model->skipped_bytes_per_token))
		out_printf("; %s of ffn.value skipped a token", show_bytes((uint64_t)model->skipped_bytes_per_token).text);
	if (test)
		out_printf("; a token of %s: %s dispatches, %s barriers, %s submits, %s calls of Vulkan; greedy tokens %s%s",
		           test->test, bench_number(test->dispatches_per_token, "").text,
		           bench_number(test->barriers_per_token, "").text, bench_number(test->submits_per_token, "").text,
		           bench_number(test->host_calls_per_token, "").text, test->greedy_hash, note_repeatable(test));
	if (model->verified[0])
		out_printf("; %s", strcmp(model->verified, "yes") == 0 ? "verified" : "COMPUTED WRONG: see `rwkvk verify`");
	out_printf("\n");
}

/* A token here is a token of one session. */
static void print_many(const struct bench_model *model)
{
	if (bench_what_count(model, BENCH_MANY) == 0)
		return;
	out_printf(
		"\n| many sessions | t/s | t/s each | dispatches a token | submits a token | calls of Vulkan a token | greedy tokens "
		"|\n| --- | ---: | ---: | ---: | ---: | ---: | --- |\n");
	for (size_t i = 0; i < model->test_count; i++) {
		const struct bench_test *test = &model->tests[i];
		if (bench_what(test) != BENCH_MANY)
			continue;
		out_printf("| %s | %s | %s | %s | %s | %s | %s%s |\n", test->test, bench_number(test->tokens_per_s, "").text,
		           bench_number(test->tokens_per_s_each, "").text, bench_number(test->dispatches_per_token, "").text,
		           bench_number(test->submits_per_token, "").text, bench_number(test->host_calls_per_token, "").text,
		           test->greedy_hash, note_repeatable(test));
	}
}

/* How a long text went; the sensors' cells are "-" where the system does not show them. */
static void print_sustained(const struct bench_model *model)
{
	if (model->window_count == 0)
		return;
	out_printf("\n| sustained, until | t/s | MHz | W | °C |\n| ---: | ---: | ---: | ---: | ---: |\n");
	for (size_t i = 0; i < model->window_count; i++) {
		const struct bench_window *window = &model->sustained[i];
		out_printf("| %s | %s | %s | %s | %s |\n", bench_number(window->end_s, " s").text,
		           bench_number(window->tokens_per_s, "").text, bench_number(window->clock_mhz, "").text,
		           bench_number(window->power_w, "").text, bench_number(window->temperature_c, "").text);
	}
}

static void print_stages(const struct bench_model *model, bool of_prompt)
{
	double total = bench_stages_total(model, of_prompt);
	if (!(total > 0))
		return;
	out_printf("\n| stage%s | runs a token | us a token | share | GB/s |\n| --- | ---: | ---: | ---: | ---: |\n",
	           of_prompt ? " of prompts" : "");
	for (size_t i = 0; i < model->stage_count; i++) {
		const struct bench_stage *stage = &model->stages[i];
		if (bench_is_prompt_stage(stage) == of_prompt)
			out_printf("| %s | %s | %s | %s | %s |\n", bench_plain(stage->stage).text,
			           bench_number(stage->runs_per_token, "").text, bench_number(stage->us_per_token, "").text,
			           bench_number(100 * stage->us_per_token / total, " %").text,
			           bench_number(stage->stage_gb_per_s, "").text);
	}
}

void bench_print_table(const struct bench_report *report)
{
	print_device(&report->device);
	out_printf("\n| model | type | size | params | test | t/s | MB/token | GB/s | of read | GFLOP/s | of F32 |\n"
	           "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].test_count; j++)
			print_row(&report->models[i], &report->models[i].tests[j]);
	for (size_t i = 0; i < report->model_count; i++) {
		print_notes(&report->models[i]);
		print_many(&report->models[i]);
		print_sustained(&report->models[i]);
		print_stages(&report->models[i], false);
		print_stages(&report->models[i], true);
	}
}

/* ---------------------------------------------------------------------------------------------------- a line a test */

static void print_header(const struct bench_field *fields, bool first)
{
	for (; fields->name; fields++, first = false)
		out_printf("%s%s", first ? "" : ",", fields->name);
}

static void print_text(const char *text)
{
	out_write("\"", 1);
	for (; *text; text++)
		out_printf(*text == '"' ? "\"\"" : "%c", *text);
	out_write("\"", 1);
}

static void print_values(const struct bench_field *fields, const void *from, bool first)
{
	for (; fields->name; fields++, first = false) {
		const char *at = (const char *)from + fields->offset;
		if (!first)
			out_write(",", 1);
		if (fields->kind == BENCH_TEXT)
			print_text(at);
		else if (fields->kind == BENCH_COUNT)
			out_printf("%" PRIu64, *(const uint64_t *)(const void *)at);
		else if (isfinite(*(const double *)(const void *)at)) /* unknown: an empty field */
			out_printf("%.7g", *(const double *)(const void *)at);
	}
}

void bench_print_csv(const struct bench_report *report)
{
	print_header(bench_device_fields, true);
	print_header(bench_model_fields, false);
	print_header(bench_test_fields, false);
	out_printf("\n");
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].test_count; j++) {
			print_values(bench_device_fields, &report->device, true);
			print_values(bench_model_fields, &report->models[i], false);
			print_values(bench_test_fields, &report->models[i].tests[j], false);
			out_printf("\n");
		}
}

static int print_line(const struct bench_report *report, const struct bench_model *model, const struct bench_test *test)
{
	json_t *line = json_object();
	bench_add_fields(line, bench_device_fields, &report->device);
	bench_add_fields(line, bench_model_fields, model);
	bench_add_fields(line, bench_test_fields, test);
	return out_json_line(line);
}

int bench_print_lines(const struct bench_report *report)
{
	int code = EXIT_DONE;
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].test_count && code == EXIT_DONE; j++)
			code = print_line(report, &report->models[i], &report->models[i].tests[j]);
	return code;
}

/* ---------------------------------------------------------------------------------------------------- two reports */

static const struct bench_model *find_model(const struct bench_report *report, const struct bench_model *like)
{
	for (size_t i = 0; i < report->model_count; i++) {
		const struct bench_model *model = &report->models[i];
		if (!strcmp(model->model, like->model) && !strcmp(model->quant, like->quant) && !strcmp(model->type, like->type))
			return model;
	}
	return NULL;
}

size_t bench_pairs(const struct bench_report *a, const struct bench_report *b, struct bench_pair *out)
{
	size_t count = 0;
	if (a->model_count == 1 && b->model_count == 1) {
		out[0] = (struct bench_pair){ &a->models[0], &b->models[0] };
		return 1;
	}
	for (size_t i = 0; i < a->model_count; i++)
		out[count++] = (struct bench_pair){ &a->models[i], find_model(b, &a->models[i]) };
	for (size_t i = 0; i < b->model_count; i++)
		if (!find_model(a, &b->models[i]))
			out[count++] = (struct bench_pair){ NULL, &b->models[i] };
	return count;
}

static const struct bench_test *find_test(const struct bench_model *model, const char *name)
{
	for (size_t i = 0; model && i < model->test_count; i++)
		if (strcmp(model->tests[i].test, name) == 0)
			return &model->tests[i];
	return NULL;
}

/* A row of the table: two numbers and the ratio of the second to the first. */
static void print_numbers(const char *what, const char *unit, double a, double b)
{
	char ratio[40] = "-";
	if (a > 0 && isfinite(b / a))
		snprintf(ratio, sizeof(ratio), "%.3g x", b / a);
	out_printf("| %s | %s | %s | %s |\n", what, bench_number(a, unit).text, bench_number(b, unit).text, ratio);
}

static void print_texts(const char *what, const char *a, const char *b)
{
	out_printf("| %s | %s | %s | |\n", what, bench_plain(a).text, bench_plain(b).text);
}

static void compare_devices(const struct bench_device *a, const struct bench_device *b)
{
	print_texts("device", a->device, b->device);
	print_texts("driver", a->driver, b->driver);
	print_texts("Vulkan", a->vulkan, b->vulkan);
	print_texts("rwkvk", a->rwkvk, b->rwkvk);
	print_texts("date", a->date, b->date);
	print_numbers("read", " GB/s", a->read_gb_per_s, b->read_gb_per_s);
	print_numbers("copy", " GB/s", a->copy_gb_per_s, b->copy_gb_per_s);
	print_numbers("dispatch", " us", a->dispatch_us, b->dispatch_us);
	print_numbers("submit", " us", a->submit_us, b->submit_us);
	print_numbers("F32", " GFLOP/s", a->f32_gflop_per_s, b->f32_gflop_per_s);
	print_numbers("F16", " GFLOP/s", a->f16_gflop_per_s, b->f16_gflop_per_s);
	print_numbers("int8", " Gop/s", a->int8_gop_per_s, b->int8_gop_per_s);
}

static void compare_tests(const char *title, const struct bench_test *a, const struct bench_test *b)
{
	char what[1300];
	const struct bench_test *either = a ? a : b;
	snprintf(what, sizeof(what), "%s %s", title, either->test);
	print_numbers(what, " t/s", a ? a->tokens_per_s : (double)NAN, b ? b->tokens_per_s : (double)NAN);
	bool writing = bench_what(either) == BENCH_TEXTS;
	snprintf(what, sizeof(what), "%s %s, of %s", title, either->test, writing ? "read" : "F32");
	print_numbers(what, " %", a ? 100 * (writing ? a->read_share : a->f32_share) : (double)NAN,
	              b ? 100 * (writing ? b->read_share : b->f32_share) : (double)NAN);
}

static void compare_models(const struct bench_pair *pair)
{
	const struct bench_model *a = pair->a, *b = pair->b, *either = a ? a : b;
	char title[1200], what[1300];
	snprintf(title, sizeof(title), "%s %s", bench_plain(either->model).text, bench_storage(either).text);
	for (size_t i = 0; a && i < a->test_count; i++)
		compare_tests(title, &a->tests[i], find_test(b, a->tests[i].test));
	for (size_t i = 0; b && i < b->test_count; i++)
		if (!find_test(a, b->tests[i].test))
			compare_tests(title, NULL, &b->tests[i]);
	snprintf(what, sizeof(what), "%s, loading", title);
	print_numbers(what, " s", a ? a->load_s : (double)NAN, b ? b->load_s : (double)NAN);
	snprintf(what, sizeof(what), "%s, MB a token", title);
	print_numbers(what, "", a ? 1e-6 * (double)a->bytes_per_token : (double)NAN,
	              b ? 1e-6 * (double)b->bytes_per_token : (double)NAN);
}

/* Notes why the numbers of two models may not be comparable.  Returns how many hashes differ. */
static int note_differences(const char *const names[2], const struct bench_pair *pair)
{
	const struct bench_model *a = pair->a, *b = pair->b;
	int different = 0;
	if (!a || !b) {
		out_printf("\n* %s is in %s only.\n", bench_plain((a ? a : b)->model).text, names[a ? 0 : 1]);
		return 0;
	}
	bool other_model = strcmp(a->model, b->model) != 0 || a->parameters != b->parameters;
	bool other_type = strcmp(a->type, b->type) != 0 || strcmp(a->quant, b->quant) != 0;
	if (other_model)
		out_printf("\n* The models differ: %s (%" PRIu64 " parameters) and %s (%" PRIu64 ").\n", bench_plain(a->model).text,
		           a->parameters, bench_plain(b->model).text, b->parameters);
	if (other_type)
		out_printf("\n* %s is stored as %s and as %s.\n", bench_plain(a->model).text, bench_storage(a).text,
		           bench_storage(b).text);
	if (other_model || other_type) /* then the tokens differ, too */
		return 0;
	for (size_t i = 0; i < a->test_count; i++) {
		const struct bench_test *x = &a->tests[i], *y = find_test(b, x->test);
		if (!y || bench_what(x) == BENCH_PROMPTS || strcmp(x->greedy_hash, y->greedy_hash) == 0)
			continue;
		out_printf("\n* %s %s: the greedy tokens differ (%s and %s).\n", bench_plain(a->model).text, x->test, x->greedy_hash,
		           y->greedy_hash);
		different++;
	}
	return different;
}

int bench_print_comparison(const char *const names[2], const struct bench_report reports[2])
{
	struct bench_pair *pairs = calloc(reports[0].model_count + reports[1].model_count, sizeof(*pairs));
	if (!pairs)
		return failed("out of memory");
	size_t count = bench_pairs(&reports[0], &reports[1], pairs);
	int different = 0;
	out_printf("| | %s | %s | second / first |\n| --- | ---: | ---: | ---: |\n", bench_plain(names[0]).text,
	           bench_plain(names[1]).text);
	compare_devices(&reports[0].device, &reports[1].device);
	for (size_t i = 0; i < count; i++)
		compare_models(&pairs[i]);
	for (size_t i = 0; i < count; i++)
		different += note_differences(names, &pairs[i]);
	if (different > 0)
		out_printf(
			"\nDifferent tokens mean that two tokens were almost equally probable somewhere and rounding decided.  Between "
			"devices\n"
			"and drivers that is not an error; with the same model, device, driver and rwkvk it is, and so are different "
			"tokens in\n"
			"another repetition.  `rwkvk verify` checks whether a device computes correctly.\n");
	free(pairs);
	return EXIT_DONE;
}
