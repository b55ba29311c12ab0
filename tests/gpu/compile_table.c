/* What the driver's compiler makes of the shaders, as a table of text: a line for each stage of a few official models.  Tables
 * for many drivers are in tests/data/compiled; tools/compilers.sh writes them.
 *
 *     compile_table          prints the table
 *     compile_table FILE     compares: 0 the same, 1 not, 77 another driver or shader compiler than the file's */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler_statistics.h"
#include "engine/quantise_device.h"
#include "plan_model.h"

#define MATRICES "att_in att_out ffn_in ffn_out head chunk_att_in chunk_att_out chunk_ffn_in chunk_ffn_out chunk_head"
#define FEW      "chunk_att_in chunk_ffn_out"
/* The models, each with the stages that no earlier line shows; without a list, all stages.  Only passes of few rows. */
static const struct row {
	enum official model;
	enum dtype type;
	const char *stages, *few;
} rows[] = {
	{ OFFICIAL_70_1B5, DTYPE_F16, NULL, FEW " chunk_att_out chunk_head" },
	{ OFFICIAL_70_1B5, DTYPE_Q8_0, MATRICES, FEW },
	{ OFFICIAL_70_1B5, DTYPE_Q4_K, MATRICES, FEW },
	{ OFFICIAL_70_1B5, DTYPE_Q6_K, MATRICES, FEW },
	{ OFFICIAL_60_1B6, DTYPE_F16,
	  "mix_in mix att_in wkv ffn_in ffn_out chunk_mix chunk_wkv_in chunk_wkv chunk_ffn_in chunk_ffn_out", NULL },
	{ OFFICIAL_52_3B, DTYPE_F16, "att_in wkv chunk_wkv", NULL },
	{ OFFICIAL_4_169M, DTYPE_F16, "att_wkv att_out chunk_att_in chunk_wkv", NULL },
};

static char *text; /* the table */
static size_t text_length, text_capacity;

static void add(const char *line)
{
	size_t length = strlen(line);
	if (text_length + length + 1 > text_capacity) {
		text_capacity = 2 * (text_length + length + 1);
		text = realloc(text, text_capacity);
		if (!text)
			exit(1);
	}
	memcpy(text + text_length, line, length + 1);
	text_length += length;
}

static void head(const struct gpu *gpu)
{
	char line[1400];
	const struct gpu_caps *caps = gpu_caps(gpu);
	snprintf(line, sizeof line, "# %s; %s; shaders compiled by %s\n# time: %s; occupancy: %s\n", caps->driver, caps->name,
	         SHADER_COMPILER, compiler_time_name(caps->driver), compiler_occupancy_name(caps->driver));
	add(line);
	snprintf(line, sizeof line, "# %-14s %-5s %-15s %6s %8s %9s %9s %12s %9s %8s %6s %6s %7s\n", "model", "type", "stage",
	         "threads", "subgroup", "registers", "occupancy", "instructions", "time", "shared B", "code B", "spills",
	         "scratch");
	add(line);
}

static rwkvk_status add_pipeline(struct gpu *gpu, struct gpu_pipeline *pipeline, const char *model, uint32_t type,
                                 const char *stage, uint32_t threads)
{
	struct compiler_statistics s;
	char line[256];
	TRY(compiler_statistics(gpu, pipeline, &s));
	const double values[] = { s.subgroup, s.registers, s.occupancy, s.instructions, s.time,
		                      s.shared,   s.code,      s.spills,    s.scratch };
	static const int widths[] = { 8, 9, 9, 12, 9, 8, 6, 6, 7 };
	int length = snprintf(line, sizeof line, "  %-14s %-5s %-15s %7u", model, type_name(type), stage, threads);
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		if (isnan(values[i]))
			length += snprintf(line + length, sizeof line - (size_t)length, " %*s", widths[i], "-");
		else
			length += snprintf(line + length, sizeof line - (size_t)length, " %*.0f", widths[i], values[i]);
	snprintf(line + length, sizeof line - (size_t)length, "\n");
	add(line);
	return RWKVK_OK;
}

static bool listed(const char *list, const char *stage)
{
	size_t length = strlen(stage);
	for (const char *at = list; at && (at = strstr(at, stage)); at += length)
		if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0))
			return true;
	return !list;
}

/* The name as the table has it: without spaces, and with the largest number of rows of a pass of few. */
static void name_stage(const char *stage, uint32_t few, char name[32])
{
	if (few)
		snprintf(name, 32, "few%u%s", few, strchr(stage, ' '));
	else
		snprintf(name, 32, "%s", stage);
	for (char *at = name; (at = strchr(at, ' '));)
		*at = '_';
}

/* Stages of the second of two layers: the first has no value factors in RWKV-7.  few: rows of the pass, 0 for other steps. */
static rwkvk_status add_steps(struct gpu *gpu, const struct row *row, const struct rwkvk_model *m, const struct steps *steps,
                              uint32_t few)
{
	for (uint32_t i = 0; i < steps->count; i++) {
		const struct step *step = &steps->all[i];
		char stage[32], name[32];
		bool again = i > 0 && !strcmp(step->stage, steps->all[i - 1].stage); /* another slice */
		bool outside = !strcmp(step->stage, "select") || step->layer == m->file.network.config.layers;
		name_stage(step->stage, 0, stage);
		name_stage(step->stage, few, name);
		if (!again && (step->layer == 1 || outside) && listed(few ? row->few : row->stages, stage))
			TRY(add_pipeline(gpu, step->pipeline, official_models[row->model].name, m->head.matrix.type, name, step->threads));
	}
	return RWKVK_OK;
}

/* Passes of few rows, except those with the same tiles as a smaller one. */
static rwkvk_status add_few(struct gpu *gpu, const struct row *row, struct rwkvk_model *m)
{
	rwkvk_status status = RWKVK_OK;
	for (uint32_t most = 1; most <= 8 && row->few && m->chunk.pass.rows && status == RWKVK_OK; most *= 2) {
		struct pass pass = { 0 };
		status = plan_few(m, most, &pass);
		if (status == RWKVK_OK && pass.shape.tile_rows == most)
			status = add_steps(gpu, row, m, &pass.steps, most);
		steps_drop(m, &pass.steps);
	}
	return status;
}

static rwkvk_status add_row(struct gpu *gpu, const struct row *row)
{
	struct model_spec spec = official_models[row->model];
	struct rwkvk_model m;
	spec.layers = 2;
	spec.type = row->type;
	spec.lora_type = DTYPE_F16;
	rwkvk_status status = plan_model(gpu, &spec, RWKVK_QUANT_NONE, &m);
	if (status == RWKVK_OK)
		status = plan_chunks(&m);
	if (status == RWKVK_OK)
		status = add_steps(gpu, row, &m, &m.plan.steps, 0);
	if (status == RWKVK_OK)
		status = add_steps(gpu, row, &m, &m.chunk.pass.steps, 0);
	if (status == RWKVK_OK)
		status = add_steps(gpu, row, &m, &m.chunk.head, 0);
	if (status == RWKVK_OK)
		status = add_few(gpu, row, &m);
	unplan_model(&m);
	return status;
}

/* The shaders that quantise F16 while loading. */
static rwkvk_status add_quantisers(struct gpu *gpu)
{
	static const uint32_t types[] = { TYPE_Q8, TYPE_Q6K, TYPE_Q5K, TYPE_Q4K };
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		struct gpu_pipeline *pipeline;
		TRY(quantiser_pipeline(gpu, TYPE_F16, types[i], &pipeline));
		TRY(add_pipeline(gpu, pipeline, "any, loading", types[i], "quantise",
		                 gpu_caps(gpu)->max_invocations < 256 ? 128 : 256));
	}
	return RWKVK_OK;
}

/* Prints the lines of one text that the other lacks. */
static void print_difference(const char *sign, const char *lines, const char *others)
{
	for (const char *end; *lines; lines = end + 1) {
		char line[1400];
		end = strchr(lines, '\n');
		if (!end)
			return;
		snprintf(line, sizeof line, "%.*s\n", (int)(end - lines), lines);
		if (!strstr(others, line))
			printf("%s%s", sign, line);
	}
}

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *all = calloc(1, 1 << 20);
	size_t n = file && all ? fread(all, 1, (1 << 20) - 1, file) : 0;
	if (file)
		fclose(file);
	if (n > 0)
		return all;
	free(all);
	return NULL;
}

static int compare(const char *path)
{
	char *old = read_text(path);
	if (!old) {
		printf("%s: cannot be read\n", path);
		return 1;
	}
	int result = strcmp(old, text) != 0;
	size_t first_line = strcspn(text, "\n");
	if (result && strncmp(old, text, first_line + 1) != 0) {
		printf("*** NOT COMPARED: the table is of another driver or shader compiler ***\n  here   %.*s\n  table  %.*s\n",
		       (int)first_line, text, (int)strcspn(old, "\n"), old);
		result = 77;
	} else if (result) {
		print_difference("-", old, text);
		print_difference("+", text, old);
		printf("%s: the compiler makes other code than the table says; if that is as it should be, write the tables anew: "
		       "tools/compilers.sh (or tools/compilers.sh radv, without those that need a chroot)\n",
		       path);
	}
	free(old);
	return result;
}

int main(int argc, char **argv)
{
	struct gpu *gpu;
	if (gpu_open(&(struct gpu_options){ .capture_statistics = true }, &gpu) != RWKVK_OK) {
		fprintf(stderr, "%s\n", rwkvk_last_error());
		return 1;
	}
	int result = 0;
	if (!gpu_caps(gpu)->pipeline_statistics) {
		fprintf(stderr, "*** NOT TESTED: the driver of %s has no compiler statistics ***\n", gpu_caps(gpu)->name);
		result = 77;
	}
	if (result == 0)
		head(gpu);
	for (size_t i = 0; i < sizeof rows / sizeof *rows && result == 0; i++)
		if (add_row(gpu, &rows[i]) != RWKVK_OK) {
			fprintf(stderr, "%s\n", rwkvk_last_error());
			result = 1;
		}
	if (result == 0 && add_quantisers(gpu) != RWKVK_OK) {
		fprintf(stderr, "%s\n", rwkvk_last_error());
		result = 1;
	}
	gpu_close(gpu);
	if (result == 0 && argc > 1)
		result = compare(argv[1]);
	else if (result == 0)
		fputs(text, stdout);
	free(text);
	return result;
}
