/* The results of `rwkvk bench` as a struct: written as JSON and read back, shown as a table, a comparison or a page.
 *
 *   bench_report.c   the struct and the names of its fields; JSON both ways; mean, deviation, hash
 *   cmd_bench.c      options, the device, all models
 *   bench_run.c      one model
 *   bench_table.c    Markdown, CSV, JSON lines, and two reports side by side
 *   bench_collect.c  many reports, ranked by speed
 *   bench_html.c     the page: text, tables
 *   bench_chart.c    the page's charts */
#ifndef RWKVK_TOOL_BENCH_H
#define RWKVK_TOOL_BENCH_H

#include <stdio.h>

#include "streams.h"

enum { BENCH_TESTS = 32, BENCH_STAGES = 40, BENCH_SESSIONS = 256, BENCH_WINDOWS = 20 };

/* Unknown numbers are NaN, and null in JSON.  JSON uses the names of the fields; docs/benchmark.md explains each one, and
 * docs/results/schema.json has their types. */
struct bench_device {
	char rwkvk[32], date[32]; /* the program's version; UTC */
	char device[256], driver[512], device_type[16], vulkan[24];
	uint64_t vendor_id, device_id, device_memory_bytes, subgroup_size;
	double read_gb_per_s, copy_gb_per_s, dispatch_us, submit_us, f32_gflop_per_s, f16_gflop_per_s, int8_gop_per_s;
	uint64_t measured_bytes;
};

struct bench_test {
	char test[24]; /* "pp512": reading a prompt of 512 tokens; "tg128": writing 128; "tg128 x 8": in each of 8 sessions at once
	                */
	uint64_t tokens, repetitions;
	uint64_t sessions;                                  /* that write at once; 0: one session alone in its model (pp and tg) */
	double tokens_per_s, tokens_per_s_sd, ms_per_token; /* all sessions together */
	double tokens_per_s_each;                           /* one of several sessions */
	double dispatches_per_token, barriers_per_token, submits_per_token, host_calls_per_token;
	double gb_per_s, read_share;              /* only where each token reads all weights: tg */
	double gflop_per_s, f32_share;            /* only where weights are read for many tokens: pp, and several sessions */
	double clock_mhz, power_w, temperature_c; /* of the device, at the ends of the repetitions */
	char greedy_hash[20], repeatable[8];      /* "" for pp; "yes": every repetition gave the same tokens */
};

/* Measured in separate runs with the device's timestamps: per written token, and per prompt token ("chunk att_in"). */
struct bench_stage {
	char stage[24];
	double runs_per_token, us_per_token, stage_gb_per_s;
};

/* A part of one long text: how fast it was written, and the device's state at its end. */
struct bench_window {
	double end_s, tokens_per_s; /* end: seconds since the text began */
	double clock_mhz, power_w, temperature_c;
};

struct bench_model {
	char model[256], name[128], format[32], version[8], quant[8], type[16];
	char verified[8]; /* "yes" or "no": every stage was compared with plain C; "": not compared */
	uint64_t layers, width, ffn_width, vocab, parameters, bytes_per_token, multiply_adds, device_bytes, peak_host_bytes;
	double load_s, skipped_bytes_per_token; /* the second is counted with the stages */
	struct bench_test tests[BENCH_TESTS];
	size_t test_count;
	struct bench_stage stages[BENCH_STAGES];
	size_t stage_count;
	struct bench_window sustained[BENCH_WINDOWS];
	size_t window_count;
};

struct bench_report {
	struct bench_device device;
	struct bench_model *models; /* to be freed */
	size_t model_count;
};

/* ---------------------------------------------------------------------------------------------------- bench_report.c */

double bench_mean(const double *values, size_t count);
/* Of a sample: divided by count - 1; 0 for fewer than two values. */
double bench_deviation(const double *values, size_t count);

/* FNV-1a of the ids as little-endian words.  Begin with BENCH_HASH_START. */
#define BENCH_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t bench_hash(uint64_t hash, uint32_t id);

/* Copies a text of unknown origin: cut to `size`, control characters as '?', invalid UTF-8 as ASCII. */
void bench_text(char *out, size_t size, const char *text);

/* A number with three digits or more and its unit; "-" where it is not known. */
struct bench_cell {
	char text[560];
};
struct bench_cell bench_number(double value, const char *unit);
/* Text for a column of a Markdown table, where a bar would end it. */
struct bench_cell bench_plain(const char *text);
/* How a model's matrices are stored: "Q4K", or "Q4K (q4)" where loading made it so. */
struct bench_cell bench_storage(const struct bench_model *model);
/* The kind of a test: reads a prompt, writes a text, or writes several at once. */
enum bench_what { BENCH_PROMPTS, BENCH_TEXTS, BENCH_MANY };
enum bench_what bench_what(const struct bench_test *test);
/* The number of a model's tests of that kind. */
size_t bench_what_count(const struct bench_model *model, enum bench_what what);
/* Whether the stage belongs to reading a prompt. */
bool bench_is_prompt_stage(const struct bench_stage *stage);
/* Microseconds per token, summed over all stages of that kind. */
double bench_stages_total(const struct bench_model *model, bool of_prompt);

enum bench_kind { BENCH_TEXT, BENCH_COUNT, BENCH_REAL };
struct bench_field {
	const char *name;
	enum bench_kind kind;
	size_t offset, size;
};
/* The fields of the structs, each list ending in a row without a name. */
extern const struct bench_field bench_device_fields[], bench_model_fields[], bench_test_fields[], bench_stage_fields[],
	bench_window_fields[];
enum { BENCH_FORMAT = 3 }; /* of the JSON; raise it when an older reader would misread the file */

/* NULL when out of memory. */
json_t *bench_to_json(const struct bench_report *report);
/* Adds the fields of a struct of that kind to `object`. */
void bench_add_fields(json_t *object, const struct bench_field *fields, const void *from);

/* Reads a file that -o json wrote; `path` is for messages.  On failure *out is zeroed, and the text names the place in
 * the file, the expectation and the finding. */
bool bench_from_json(const char *path, const char *text, size_t bytes, struct bench_report *out, char *error,
                     size_t error_size);
/* The same from a file.  EXIT_DONE, or EXIT_FAILED after a message. */
int bench_load(const char *path, struct bench_report *out);
void bench_report_free(struct bench_report *report);

/* ---------------------------------------------------------------------------------------------------- bench_run.c */

/* The tests of each model: prompt lengths and text lengths in tokens, and numbers of sessions that write at once; 0: none. */
struct bench_tests {
	const uint32_t *prompts, *texts, *sessions;
	size_t prompt_count, text_count, session_count, repetitions; /* repetitions: not counting the first */
	uint64_t sustain;                                            /* seconds that one text is written; 0: none */
	bool stages, verify;
	const struct sensors *sensors;
};

/* Opens the model and fills in *out, except for each test's share of the device's ceiling.  EXIT_DONE, or the exit code after
 * a message. */
struct model_args;
int bench_run(const struct bench_tests *tests, const struct model_args *args, struct bench_model *out);

/* ---------------------------------------------------------------------------------------------------- bench_table.c */

void bench_print_table(const struct bench_report *report);
void bench_print_csv(const struct bench_report *report);
int bench_print_lines(const struct bench_report *report);

/* A model of one report and its counterpart in the other; NULL: there is none. */
struct bench_pair {
	const struct bench_model *a, *b;
};
/* Pairs models with the same name and storage; if each report has only one model, these two are a pair as well.  Returns the
 * number of pairs; `out` has room for as many as both reports have models. */
size_t bench_pairs(const struct bench_report *a, const struct bench_report *b, struct bench_pair *out);
int bench_print_comparison(const char *const names[2], const struct bench_report reports[2]);

/* The reports in all files of the folder whose names end in .json, to standard output, as Markdown or as a page: each model's
 * devices ranked by speed.  Of several results of one device with one driver and version of rwkvk, the latest is shown.
 * Files that cannot be read are reported and skipped, and then the result is EXIT_FAILED. */
int bench_collect(const char *folder, bool page);

/* ---------------------------------------------------------------------------------------------------- bench_html.c */

/* One page for one report or two; names: the reports' names, or NULL.  EXIT_DONE, or EXIT_FAILED after a message. */
int bench_write_html(const char *path, const char *const *names, const struct bench_report *reports, size_t count);

/* Text with HTML's special characters replaced, cut to `most` characters; 0: all of it. */
void html_text(FILE *page, const char *text, size_t most);
/* The page's beginning, up to the heading and in the style of all pages, and its end. */
void html_begin(FILE *page, const char *title, const char *about);
void html_end(FILE *page);

/* ---------------------------------------------------------------------------------------------------- bench_chart.c */

/* Each writes an <svg> or, where there is nothing to draw, a sentence.  Colours are classes in the page's style sheet. */
enum { CHART_WIDTH = 880 };
void chart_speed(FILE *page, const struct bench_report *reports, size_t count, enum bench_what what);
void chart_roofline(FILE *page, const struct bench_report *reports, size_t count);
void chart_sustained(FILE *page, const struct bench_report *reports, size_t count);
void chart_stages(FILE *page, const struct bench_report *reports, size_t count, bool of_prompt);

#endif
