/* `bench --html`: one self-contained page, with no script, no font and no network.  It is well-formed XML as well as HTML, so
 * that a test can parse it. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "system.h"

/* Colours by name, for light and dark; charts use the same ones. */
static const char style[] =
	":root{--back:#fff;--text:#1b1f24;--soft:#57606a;--line:#d0d7de;--panel:#f6f8fa;--a:#2f6fb3;--b:#c2611c;\n"
	"--k0:#6aa5dc;--k1:#e6a24c;--k2:#6dbd8b;--k3:#d98aa8;--k4:#a993d6;--k5:#c9b458;--k6:#5fb8bd;--k7:#b59a84}\n"
	"@media (prefers-color-scheme:dark){:root{--back:#14181d;--text:#e6e9ed;--soft:#a0a8b2;--line:#3a424c;--panel:#1d232a;\n"
	"--a:#6aabec;--b:#f0a060}}\n"
	"*{box-sizing:border-box}\n"
	"body{margin:0 auto;padding:24px 20px 48px;max-width:960px;background:var(--back);color:var(--text);\n"
	"font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",\"DejaVu Sans\",sans-serif}\n"
	"h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 4px}p{margin:4px 0 12px}.soft{color:var(--soft)}\n"
	".wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;margin:8px 0;min-width:100%}\n"
	"th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}\n"
	"td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\n"
	"td.d{white-space:nowrap}td.w{min-width:190px}td.t{overflow-wrap:anywhere;min-width:90px}\n"
	"summary{cursor:pointer;color:var(--soft)}th{color:var(--soft);font-weight:600}code{font-size:12px}\n"
	"svg{display:block;width:100%;min-width:640px;height:auto;background:var(--panel);border-radius:8px;margin:8px 0}\n"
	"svg text{font-size:12px;fill:var(--text)}svg text.soft{fill:var(--soft)}svg text.in{fill:#14181d}\n"
	".grid{stroke:var(--line);stroke-width:1}.error{stroke:var(--text);stroke-width:1.5}\n"
	".rate{height:5px;border-radius:2px;margin:3px 0 2px auto;background:var(--a)}\n"
	".bar0{fill:var(--a)}.bar1{fill:var(--b)}.line0{stroke:var(--a);stroke-width:2;fill:none}\n"
	".line1{stroke:var(--b);stroke-width:2;fill:none}.ring0{stroke:var(--a);fill:none;stroke-width:1.5}\n"
	".ring1{stroke:var(--b);fill:none;stroke-width:1.5}\n"
	".k0{fill:var(--k0)}.k1{fill:var(--k1)}.k2{fill:var(--k2)}.k3{fill:var(--k3)}.k4{fill:var(--k4)}.k5{fill:var(--k5)}\n"
	".k6{fill:var(--k6)}.k7{fill:var(--k7)}\n"
	"polyline{fill:none;stroke-width:2}.s0{stroke:var(--k0)}.s1{stroke:var(--k1)}.s2{stroke:var(--k2)}.s3{stroke:var(--k3)}\n"
	".s4{stroke:var(--k4)}.s5{stroke:var(--k5)}.s6{stroke:var(--k6)}.s7{stroke:var(--k7)}\n";

static bool is_continued(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

void html_text(FILE *page, const char *text, size_t most)
{
	for (size_t characters = 0; *text; text++) {
		characters += !is_continued(*text);
		if (most && characters == most && strlen(text) > 1) {
			fputs("…", page);
			return;
		}
		if (*text == '<')
			fputs("&lt;", page);
		else if (*text == '>')
			fputs("&gt;", page);
		else if (*text == '&')
			fputs("&amp;", page);
		else if (*text == '"')
			fputs("&quot;", page);
		else
			fputc(*text, page);
	}
}

/* ---------------------------------------------------------------------------------------------------- tables */

static void text_cell(FILE *page, const char *text)
{
	fputs("<td class=\"t\">", page);
	html_text(page, text, 0);
	fputs("</td>", page);
}

static void number_cell(FILE *page, double value, const char *unit)
{
	fprintf(page, "<td class=\"n\">%s</td>", bench_number(value, unit).text);
}

static void shown_cell(FILE *page, const char *text)
{
	fputs("<td class=\"n\">", page);
	html_text(page, text, 0);
	fputs("</td>", page);
}

/* A row for each of these: its name, how to read it, and its unit. */
static void facts(FILE *page, const char *const *names, const struct bench_report *reports, size_t count)
{
	static const struct {
		const char *field, *title, *unit;
	} rows[] = {
		{ "device", "device", "" },
		{ "driver", "driver", "" },
		{ "device_type", "kind", "" },
		{ "vulkan", "Vulkan", "" },
		{ "subgroup_size", "subgroup", " threads" },
		{ "rwkvk", "rwkvk", "" },
		{ "date", "date", "" },
		{ "read_gb_per_s", "reads memory at", " GB/s" },
		{ "copy_gb_per_s", "copies memory at (read and written)", " GB/s" },
		{ "dispatch_us", "a dispatch takes", " µs" },
		{ "submit_us", "a submission takes", " µs" },
		{ "f32_gflop_per_s", "F32", " GFLOP/s" },
		{ "f16_gflop_per_s", "F16", " GFLOP/s" },
		{ "int8_gop_per_s", "int8 dot products", " Gop/s" },
	};
	fputs("<h2>The machine</h2>\n<div class=\"wide\"><table>\n", page);
	for (size_t i = 0; names && i < count; i++) {
		fputs(i == 0 ? "<tr><th>file</th>" : "", page);
		text_cell(page, names[i]);
		fputs(i + 1 == count ? "</tr>\n" : "", page);
	}
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		const struct bench_field *field = bench_device_fields;
		while (strcmp(field->name, rows[row].field) != 0)
			field++;
		fprintf(page, "<tr><th>%s</th>", rows[row].title);
		for (size_t i = 0; i < count; i++) {
			const char *at = (const char *)&reports[i].device + field->offset;
			if (field->kind == BENCH_TEXT)
				text_cell(page, at);
			else if (field->kind == BENCH_REAL)
				text_cell(page, bench_number(*(const double *)(const void *)at, rows[row].unit).text);
			else
				fprintf(page, "<td class=\"t\">%" PRIu64 "%s</td>", *(const uint64_t *)(const void *)at, rows[row].unit);
		}
		fputs("</tr>\n", page);
	}
	fputs("</table></div>\n", page);
}

static void device_cell(FILE *page, const struct bench_report *report, size_t count)
{
	if (count < 2)
		return;
	fputs("<td class=\"d\">", page);
	html_text(page, report->device.device, 40);
	fputs("</td>", page);
}

static void test_rows(FILE *page, const struct bench_report *report, size_t count)
{
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].test_count; j++) {
			const struct bench_model *model = &report->models[i];
			const struct bench_test *test = &model->tests[j];
			enum bench_what what = bench_what(test);
			fputs("<tr>", page);
			device_cell(page, report, count);
			text_cell(page, model->model);
			text_cell(page, bench_storage(model).text);
			shown_cell(page, test->test);
			fprintf(page, "<td class=\"n\">%s ± %s</td>", bench_number(test->tokens_per_s, "").text,
			        bench_number(test->tokens_per_s_sd, "").text);
			number_cell(page, test->tokens_per_s_each, "");
			number_cell(page, what == BENCH_TEXTS ? 1e-6 * (double)model->bytes_per_token : (double)NAN, "");
			number_cell(page, test->gb_per_s, "");
			number_cell(page, 100 * test->read_share, " %");
			number_cell(page, test->gflop_per_s, "");
			number_cell(page, 100 * test->f32_share, " %");
			number_cell(page, test->dispatches_per_token, "");
			number_cell(page, test->submits_per_token, "");
			number_cell(page, test->host_calls_per_token, "");
			fprintf(page, "<td class=\"n\"><code>");
			html_text(page, what == BENCH_PROMPTS ? "-" : test->greedy_hash, 0);
			fputs("</code></td></tr>\n", page);
		}
}

static void model_rows(FILE *page, const struct bench_report *report, size_t count)
{
	for (size_t i = 0; i < report->model_count; i++) {
		const struct bench_model *model = &report->models[i];
		fputs("<tr>", page);
		device_cell(page, report, count);
		text_cell(page, model->model);
		text_cell(page, bench_storage(model).text);
		shown_cell(page, show_count(model->parameters).text);
		fprintf(page, "<td class=\"n\">%" PRIu64 " × %" PRIu64 "</td>", model->layers, model->width);
		number_cell(page, model->load_s, " s");
		number_cell(page, 1e-6 * model->skipped_bytes_per_token, " MB");
		shown_cell(page, show_bytes(model->device_bytes).text);
		shown_cell(page, show_bytes(model->peak_host_bytes).text);
		fputs("</tr>\n", page);
	}
}

static void stage_rows(FILE *page, const struct bench_report *report, size_t count)
{
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].stage_count; j++) {
			const struct bench_model *model = &report->models[i];
			const struct bench_stage *stage = &model->stages[j];
			fputs("<tr>", page);
			device_cell(page, report, count);
			text_cell(page, model->model);
			text_cell(page, bench_storage(model).text);
			text_cell(page, stage->stage);
			number_cell(page, stage->runs_per_token, "");
			number_cell(page, stage->us_per_token, "");
			number_cell(page, stage->stage_gb_per_s, "");
			fputs("</tr>\n", page);
		}
}

typedef void rows_fn(FILE *page, const struct bench_report *report, size_t count);

/* `columns`: the heading's cells after the device's. */
static void table(FILE *page, const struct bench_report *reports, size_t count, const char *columns, rows_fn *rows)
{
	fprintf(page, "<div class=\"wide\"><table>\n<tr>%s%s</tr>\n", count > 1 ? "<th>device</th>" : "", columns);
	for (size_t i = 0; i < count; i++)
		rows(page, &reports[i], count);
	fputs("</table></div>\n", page);
}

/* ---------------------------------------------------------------------------------------------------- the page */

static bool has_stages(const struct bench_report *reports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++)
			if (reports[i].models[j].stage_count > 0)
				return true;
	return false;
}

static bool has_sustained(const struct bench_report *reports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++)
			if (reports[i].models[j].window_count > 0)
				return true;
	return false;
}

static bool has_many(const struct bench_report *reports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++)
			if (bench_what_count(&reports[i].models[j], BENCH_MANY) > 0)
				return true;
	return false;
}

void html_begin(FILE *page, const char *title, const char *about)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
	      "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>",
	      page);
	html_text(page, title, 0);
	fprintf(page, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>rwkvk bench</h1>\n<p class=\"soft\">", style);
	html_text(page, about, 0);
	fputs("</p>\n", page);
}

void html_end(FILE *page)
{
	fputs("</body>\n</html>\n", page);
}

/* The reports' devices and days. */
static void write_head(FILE *page, const struct bench_report *reports, size_t count)
{
	char title[300], about[600];
	size_t length = 0;
	snprintf(title, sizeof(title), "rwkvk bench: %s", reports[0].device.device);
	for (size_t i = 0; i < count && i < 2; i++)
		length += (size_t)snprintf(about + length, sizeof(about) - length, "%s%s, %.10s", i > 0 ? " · " : "",
		                           reports[i].device.device, reports[i].device.date);
	html_begin(page, title, about);
}

static void write_page(FILE *page, const char *const *names, const struct bench_report *reports, size_t count)
{
	write_head(page, reports, count);
	fputs(
		"<h2>Writing</h2>\n<p class=\"soft\">Tokens a second, one after the other; the line is one standard deviation to each "
		"side.</p>\n",
		page);
	chart_speed(page, reports, count, BENCH_TEXTS);
	if (has_many(reports, count)) {
		fputs(
			"<h2>Writing many texts at once</h2>\n<p class=\"soft\">Tokens a second of all sessions together, which share one "
			"pass over the weights; next to the name, those of each session.</p>\n",
			page);
		chart_speed(page, reports, count, BENCH_MANY);
	}
	if (has_sustained(reports, count)) {
		fputs("<h2>Writing for long</h2>\n<p class=\"soft\">Tokens a second over the seconds since one long text began.</p>\n",
		      page);
		chart_sustained(page, reports, count);
	}
	fputs("<h2>Reading a prompt</h2>\n", page);
	chart_speed(page, reports, count, BENCH_PROMPTS);
	fputs(
		"<h2>How close to the limit</h2>\n<p class=\"soft\">Writing a token reads all weights. The line is the speed at which "
		"the device was measured to read; a ring is the limit from that and the time of the token's dispatches. Both axes "
		"are logarithmic.</p>\n",
		page);
	chart_roofline(page, reports, count);
	fputs("<h2>Where a token's time goes</h2>\n", page);
	chart_stages(page, reports, count, false);
	fputs("<h2>Where the time of a prompt's token goes</h2>\n", page);
	chart_stages(page, reports, count, true);
	if (has_stages(reports, count)) {
		fputs("<details><summary>The same as numbers</summary>\n", page);
		table(page, reports, count,
		      "<th>model</th><th>type</th><th>stage</th><th class=\"n\">runs a token</th><th class=\"n\">µs a token</th>"
		      "<th class=\"n\">GB/s</th>",
		      stage_rows);
		fputs("</details>\n", page);
	}
	fputs("<h2>All results</h2>\n", page);
	table(page, reports, count,
	      "<th>model</th><th>type</th><th class=\"n\">test</th><th class=\"n\">tokens/s</th>"
	      "<th class=\"n\">each</th><th class=\"n\">MB/token</th>"
	      "<th class=\"n\">GB/s</th><th class=\"n\">of read</th><th class=\"n\">GFLOP/s</th>"
	      "<th class=\"n\">of F32</th><th class=\"n\">dispatches</th><th class=\"n\">submits</th><th class=\"n\">calls</th>"
	      "<th class=\"n\">greedy tokens</th>",
	      test_rows);
	table(page, reports, count,
	      "<th>model</th><th>type</th><th class=\"n\">parameters</th><th class=\"n\">layers × width</th><th "
	      "class=\"n\">loading</th>"
	      "<th class=\"n\">skipped a token</th>"
	      "<th class=\"n\">on the device</th><th class=\"n\">main memory</th>",
	      model_rows);
	facts(page, names, reports, count);
	html_end(page);
}

int bench_write_html(const char *path, const char *const *names, const struct bench_report *reports, size_t count)
{
	struct memory_stream page;
	rwkvk_output *output;
	if (!memory_open(&page))
		return failed("out of memory");
	write_page(page.stream, names, reports, count);
	bool ok = memory_close(&page);
	rwkvk_status status = ok ? rwkvk_output_open(path, &output) : RWKVK_OK;
	if (ok && status == RWKVK_OK) {
		status = rwkvk_output_write(output, page.bytes, page.count);
		if (status == RWKVK_OK)
			status = rwkvk_output_commit(output);
		else
			rwkvk_output_drop(output);
	}
	free(page.bytes);
	if (!ok)
		return failed("out of memory");
	return status == RWKVK_OK ? EXIT_DONE : failed("%s", rwkvk_last_error());
}
