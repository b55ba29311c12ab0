/* Results of many machines, from the files of a folder, ranked: a table for each model, how it is stored, and test. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "system.h"

int bench_load(const char *path, struct bench_report *out)
{
	uint8_t *text;
	size_t bytes;
	char error[400];
	if (!read_file(path, &text, &bytes))
		return EXIT_FAILED;
	bool ok = bench_from_json(path, (const char *)text, bytes, out, error, sizeof(error));
	free(text);
	return ok ? EXIT_DONE : failed("%s", error);
}

/* ---------------------------------------------------------------------------------------------------- files */

struct files {
	char **names; /* sorted */
	size_t count;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_report(const char *name)
{
	size_t length = strlen(name);
	return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".json") == 0 && strcmp(name, "schema.json") != 0;
}

static bool add_file(struct files *files, const char *folder, const char *name)
{
	char **larger = realloc(files->names, (files->count + 1) * sizeof(*larger));
	size_t bytes = strlen(folder) + strlen(name) + 2;
	if (!larger)
		return false;
	files->names = larger;
	larger[files->count] = malloc(bytes);
	if (!larger[files->count])
		return false;
	snprintf(larger[files->count++], bytes, "%s/%s", folder, name);
	return true;
}

static int list_files(const char *folder, struct files *files)
{
	DIR *entries = opendir(folder);
	const struct dirent *entry;
	if (!entries)
		return failed("%s: %s", folder, strerror(errno));
	bool ok = true;
	while (ok && (entry = readdir(entries)))
		ok = !is_report(entry->d_name) || add_file(files, folder, entry->d_name);
	closedir(entries);
	if (!ok)
		return failed("out of memory");
	if (files->count == 0)
		return failed("%s: expected files that `rwkvk bench -o json` wrote, found no *.json", folder);
	qsort(files->names, files->count, sizeof(*files->names), by_name);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------------- rows */

/* A test that writes. */
struct row {
	const struct bench_device *device;
	const struct bench_model *model;
	const struct bench_test *test;
	size_t runs; /* how many results of this device, driver and version there are */
};

struct rows {
	struct row *rows;
	size_t count;
};

/* What a model is called in its file, as people name files as they like. */
static const char *title(const struct bench_model *model)
{
	return model->name[0] ? model->name : model->model;
}

/* 0: results that can be ranked against each other. */
static int compare_sections(const struct row *a, const struct row *b)
{
	const struct bench_model *x = a->model, *y = b->model;
	if (x->parameters != y->parameters)
		return x->parameters < y->parameters ? -1 : 1;
	int order = strcmp(title(x), title(y));
	if (order == 0)
		order = strcmp(bench_storage(x).text, bench_storage(y).text);
	if (order == 0 && a->test->sessions != b->test->sessions)
		order = a->test->sessions < b->test->sessions ? -1 : 1;
	return order ? order : strcmp(a->test->test, b->test->test);
}

static int compare_setups(const struct row *a, const struct row *b)
{
	int order = strcmp(a->device->device, b->device->device);
	if (order == 0)
		order = strcmp(a->device->driver, b->device->driver);
	return order ? order : strcmp(a->device->rwkvk, b->device->rwkvk);
}

/* Repeated results next to each other, the latest first. */
static int by_setup(const void *p, const void *q)
{
	const struct row *a = p, *b = q;
	int order = compare_sections(a, b);
	if (order == 0)
		order = compare_setups(a, b);
	return order ? order : strcmp(b->device->date, a->device->date);
}

static double speed(const struct row *row)
{
	return isfinite(row->test->tokens_per_s) ? row->test->tokens_per_s : -1;
}

static int by_speed(const void *p, const void *q)
{
	const struct row *a = p, *b = q;
	int order = compare_sections(a, b);
	if (order == 0)
		order = (speed(a) < speed(b)) - (speed(a) > speed(b));
	return order ? order : compare_setups(a, b);
}

static void merge_repeated(struct rows *rows)
{
	size_t kept = 0;
	qsort(rows->rows, rows->count, sizeof(*rows->rows), by_setup);
	for (size_t i = 0; i < rows->count; i++) {
		struct row *last = kept ? &rows->rows[kept - 1] : NULL, *row = &rows->rows[i];
		if (last && compare_sections(last, row) == 0 && compare_setups(last, row) == 0)
			last->runs++;
		else
			rows->rows[kept++] = *row;
	}
	rows->count = kept;
	qsort(rows->rows, rows->count, sizeof(*rows->rows), by_speed);
}

static bool add_rows(struct rows *rows, const struct bench_report *report)
{
	for (size_t i = 0; i < report->model_count; i++) {
		const struct bench_model *model = &report->models[i];
		struct row *larger = realloc(rows->rows, (rows->count + BENCH_TESTS) * sizeof(*larger));
		if (!larger)
			return false;
		rows->rows = larger;
		for (size_t j = 0; j < model->test_count; j++)
			if (bench_what(&model->tests[j]) != BENCH_PROMPTS)
				rows->rows[rows->count++] = (struct row){ &report->device, model, &model->tests[j], 1 };
	}
	return true;
}

/* ---------------------------------------------------------------------------------------------------- cells */

enum { COLUMNS = 12, DEVICE = 1, RATE = 4 };
/* The page shows those that are `under` below the device's name. */
static const struct {
	const char *title;
	bool number, under;
} columns[COLUMNS] = {
	{ "#", true, false },         { "device", false, false }, { "driver", false, true },    { "version, date", false, true },
	{ "tokens/s", true, false },  { "of read", true, false }, { "prompt", true, false },    { "of F32", true, false },
	{ "sustained", true, false }, { "W", true, false },       { "verified", false, false }, { "results", true, false },
};

/* The longest prompt's test. */
static const struct bench_test *prompt_test(const struct bench_model *model)
{
	const struct bench_test *longest = NULL;
	for (size_t i = 0; i < model->test_count; i++)
		if (bench_what(&model->tests[i]) == BENCH_PROMPTS && (!longest || model->tests[i].tokens > longest->tokens))
			longest = &model->tests[i];
	return longest;
}

static void fill_cells(const struct row *row, size_t rank, struct bench_cell cells[COLUMNS])
{
	const struct bench_device *device = row->device;
	const struct bench_model *model = row->model;
	const struct bench_test *test = row->test, *prompt = prompt_test(model);
	const struct bench_window *last = model->window_count ? &model->sustained[model->window_count - 1] : NULL;
	const size_t size = sizeof(cells[0].text);
	const double unknown = (double)NAN;
	snprintf(cells[0].text, size, "%zu", rank);
	bench_text(cells[1].text, size, device->device);
	bench_text(cells[2].text, size, *device->driver ? device->driver : "-");
	snprintf(cells[3].text, size, "rwkvk %.31s, %.10s", device->rwkvk, device->date);
	snprintf(cells[4].text, size, "%.40s ± %.40s", bench_number(test->tokens_per_s, "").text,
	         bench_number(test->tokens_per_s_sd, "").text);
	cells[5] = bench_number(100 * test->read_share, " %");
	cells[6] = bench_number(prompt ? prompt->tokens_per_s : unknown, "");
	cells[7] = bench_number(100 * (prompt ? prompt->f32_share : unknown), " %");
	cells[8] = bench_number(last && test->sessions == 0 ? last->tokens_per_s : unknown, "");
	cells[9] = bench_number(test->power_w, "");
	snprintf(cells[10].text, size, "%s", strcmp(model->verified, "no") == 0 ? "NO" : *model->verified ? model->verified : "-");
	snprintf(cells[11].text, size, "%zu", row->runs);
}

/* "RWKV-7 0.1B, Q8, 191 M parameters: tg128" */
static struct bench_cell heading(const struct row *row)
{
	struct bench_cell cell;
	snprintf(cell.text, sizeof(cell.text), "%.255s, %.60s, %s parameters: %s", title(row->model),
	         bench_storage(row->model).text, show_count(row->model->parameters).text, row->test->test);
	return cell;
}

/* ---------------------------------------------------------------------------------------------------- Markdown and page */

static const char about[] = "Each model's devices, the fastest first. Of several results of one device with one driver and one "
							"version of rwkvk, the latest is shown.";

static void print_table_head(const struct row *row)
{
	out_printf("\n## %s\n\n|", bench_plain(heading(row).text).text);
	for (size_t i = 0; i < COLUMNS; i++)
		out_printf(" %s |", columns[i].title);
	out_printf("\n|");
	for (size_t i = 0; i < COLUMNS; i++)
		out_printf(columns[i].number ? " ---: |" : " --- |");
	out_printf("\n");
}

static void print_rows(const struct rows *rows)
{
	struct bench_cell cells[COLUMNS];
	out_printf("# Results of rwkvk bench\n\n%s\n", about);
	for (size_t i = 0, rank = 1; i < rows->count; i++, rank++) {
		if (i == 0 || compare_sections(&rows->rows[i - 1], &rows->rows[i]) != 0) {
			print_table_head(&rows->rows[i]);
			rank = 1;
		}
		fill_cells(&rows->rows[i], rank, cells);
		out_printf("|");
		for (size_t j = 0; j < COLUMNS; j++)
			out_printf(" %s |", bench_plain(cells[j].text).text);
		out_printf("\n");
	}
}

static void write_table_head(FILE *page, const struct row *row)
{
	fputs("<h2>", page);
	html_text(page, heading(row).text, 0);
	fputs("</h2>\n<div class=\"wide\"><table>\n<tr>", page);
	for (size_t i = 0; i < COLUMNS; i++)
		if (!columns[i].under)
			fprintf(page, "<th%s>%s</th>", columns[i].number ? " class=\"n\"" : "", columns[i].title);
	fputs("</tr>\n", page);
}

static void write_under(FILE *page, const struct bench_cell cells[COLUMNS])
{
	for (size_t i = 0; i < COLUMNS; i++) {
		if (!columns[i].under)
			continue;
		fputs("<div class=\"soft\">", page);
		html_text(page, cells[i].text, 0);
		fputs("</div>", page);
	}
}

/* `share`: of the section's fastest. */
static void write_row(FILE *page, const struct bench_cell cells[COLUMNS], double share)
{
	fputs("<tr>", page);
	for (size_t i = 0; i < COLUMNS; i++) {
		if (columns[i].under)
			continue;
		fprintf(page, "<td class=\"%s\">", i == DEVICE ? "w" : columns[i].number ? "n" : "t");
		html_text(page, cells[i].text, 0);
		if (i == DEVICE)
			write_under(page, cells);
		if (i == RATE)
			fprintf(page, "<div class=\"rate\" style=\"width:%.1f%%\"></div>", 100 * share);
		fputs("</td>", page);
	}
	fputs("</tr>\n", page);
}

static void write_rows(FILE *page, const struct rows *rows)
{
	struct bench_cell cells[COLUMNS];
	const struct row *fastest = NULL;
	html_begin(page, "Results of rwkvk bench", about);
	for (size_t i = 0, rank = 1; i < rows->count; i++, rank++) {
		const struct row *row = &rows->rows[i];
		if (!fastest || compare_sections(fastest, row) != 0) {
			fputs(fastest ? "</table></div>\n" : "", page);
			write_table_head(page, row);
			fastest = row;
			rank = 1;
		}
		fill_cells(row, rank, cells);
		write_row(page, cells, speed(fastest) > 0 && speed(row) > 0 ? speed(row) / speed(fastest) : 0);
	}
	fputs(fastest ? "</table></div>\n" : "", page);
	html_end(page);
}

static int print_page(const struct rows *rows)
{
	struct memory_stream page;
	if (!memory_open(&page))
		return failed("out of memory");
	write_rows(page.stream, rows);
	bool ok = memory_close(&page);
	if (ok)
		out_write(page.bytes, page.count);
	free(page.bytes);
	return ok ? EXIT_DONE : failed("out of memory");
}

/* ---------------------------------------------------------------------------------------------------- the folder */

static int show(const struct bench_report *reports, size_t count, bool page)
{
	struct rows rows = { 0 };
	bool ok = true;
	for (size_t i = 0; i < count && ok; i++)
		ok = add_rows(&rows, &reports[i]);
	int code = ok ? EXIT_DONE : failed("out of memory");
	if (ok) {
		merge_repeated(&rows);
		if (page)
			code = print_page(&rows);
		else
			print_rows(&rows);
	}
	free(rows.rows);
	return code;
}

int bench_collect(const char *folder, bool page)
{
	struct files files = { 0 };
	int code = list_files(folder, &files), skipped = EXIT_DONE;
	struct bench_report *reports = code == EXIT_DONE ? calloc(files.count, sizeof(*reports)) : NULL;
	size_t count = 0;
	if (code == EXIT_DONE && !reports)
		code = failed("out of memory");
	for (size_t i = 0; code == EXIT_DONE && i < files.count; i++) {
		if (bench_load(files.names[i], &reports[count]) == EXIT_DONE)
			count++;
		else
			skipped = EXIT_FAILED;
	}
	if (code == EXIT_DONE && count > 0)
		code = show(reports, count, page);
	for (size_t i = 0; i < count; i++)
		bench_report_free(&reports[i]);
	for (size_t i = 0; i < files.count; i++)
		free(files.names[i]);
	free(reports);
	free(files.names);
	return code == EXIT_DONE ? skipped : code;
}
