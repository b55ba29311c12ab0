/* rwkvk tune: finds the best way to divide a model's work on a device, and keeps it. */
#include <inttypes.h>
#include <stdio.h>

#include "streams.h"
#include "model.h"
#include "terminal.h"

struct tune {
	struct model_args model;
	struct arg_count seconds, sessions;
	bool json;
};

static json_t *rows_json(const rwkvk_tune_row *rows, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *row = json_object();
		json_object_set_new(row, "of", json_string(rows[i].step_outputs ? "step" : rows[i].tile_outputs ? "prompt" : "token"));
		if (rows[i].step_outputs)
			json_object_set_new(row, "outputs", json_integer(rows[i].step_outputs));
		else
			json_object_set_new(row, "workgroup", json_integer(rows[i].workgroup));
		if (rows[i].tile_outputs) {
			json_object_set_new(row, "outputs", json_integer(rows[i].tile_outputs));
			json_object_set_new(row, "tokens", json_integer(rows[i].tile_tokens));
			json_object_set_new(row, "depth", json_integer(rows[i].tile_depth));
		} else if (!rows[i].step_outputs) {
			json_object_set_new(row, "lanes", json_integer(rows[i].lanes));
			json_object_set_new(row, "rows", json_integer(rows[i].rows));
			json_object_set_new(row, "groups", json_integer(rows[i].groups));
		}
		json_object_set_new(row, "seconds_per_token", json_real(rows[i].seconds));
		json_object_set_new(row, "chosen", json_boolean(rows[i].chosen));
		json_array_append_new(list, row);
	}
	return list;
}

/* Those of a token, and below them those of prompts and of steps. */
static void print_rows(const rwkvk_tune_row *rows, size_t count)
{
	const rwkvk_tune_row *usual = rows;
	out_printf("%9s %5s %4s %6s %10s %9s\n", "workgroup", "lanes", "rows", "groups", "ms a token", "of usual");
	for (const rwkvk_tune_row *row = rows; row < rows + count; row++) {
		const bool prompt = row->tile_outputs > 0;
		if (prompt && !usual->tile_outputs) {
			usual = row;
			out_printf("\nprompts:\n%9s %7s %6s %5s %10s %9s\n", "workgroup", "outputs", "tokens", "depth", "ms a token",
			           "of usual");
		}
		if (row->step_outputs > 0 && !usual->step_outputs) {
			usual = row;
			out_printf("\ntokens of several sessions:\n%7s %10s %9s\n", "outputs", "ms a token", "of usual");
		}
		if (row->step_outputs)
			out_printf("%7" PRIu32, row->step_outputs);
		else if (prompt)
			out_printf("%9" PRIu32 " %7" PRIu32 " %6" PRIu32 " %5" PRIu32, row->workgroup, row->tile_outputs, row->tile_tokens,
			           row->tile_depth);
		else
			out_printf("%9" PRIu32 " %5" PRIu32 " %4" PRIu32 " %6" PRIu32, row->workgroup, row->lanes, row->rows, row->groups);
		out_printf(" %10.3f %7.1f %%%s\n", 1e3 * row->seconds, 100 * row->seconds / usual->seconds,
		           row->chosen ? "  chosen" : "");
	}
}

static int run(const struct tune *args)
{
	rwkvk_model *model = NULL;
	rwkvk_tune_row rows[RWKVK_TUNE_ROWS] = { 0 };
	size_t count = 0;
	int code = model_open(&args->model, NULL, false, &model);
	if (code != EXIT_DONE)
		return code;
	struct progress progress;
	progress_begin(&progress, "tuning", PROGRESS_STEPS);
	const rwkvk_tune_options options = { .seconds = (double)args->seconds.value,
		                                 .progress = progress_step,
		                                 .progress_user = &progress };
	rwkvk_status status = rwkvk_model_tune(model, &options, rows, RWKVK_TUNE_ROWS, &count);
	progress_end();
	if (status != RWKVK_OK)
		code = failed_with(status);
	else if (args->json)
		out_json(rows_json(rows, count));
	else
		print_rows(rows, count);
	if (code == EXIT_DONE)
		note("%zu ways measured in %.1f s; the choice is kept for models like this on this device and driver", count,
		     now_seconds() - progress.start);
	rwkvk_model_close(model);
	return code;
}

int cmd_tune(int argc, char **argv)
{
	struct tune tune = { 0 };
	const struct arg args[] = {
		ARG_MODEL(tune.model),
		ARGS_TENSORS(tune.model),
		ARG_QUANT(tune.model),
		ARGS_NUMERICS(tune.model),
		ARG_DEVICE(tune.model),
		ARGS_HOST(tune.model),
		ARG_QUIET(tune.model),
		{ .group = "Tuning",
		  .name = "seconds",
		  .kind = ARG_COUNT,
		  .target = &tune.seconds,
		  .value = "N",
		  .high = 3600,
		  .help = "time limit; the usual way is always measured",
		  .standard = "35" },
		{ .name = "sessions",
		  .letter = 'b',
		  .kind = ARG_COUNT,
		  .target = &tune.sessions,
		  .value = "N",
		  .high = 256,
		  .help = "also tune passes with tokens of up to N sessions",
		  .standard = "0" },
		{ .name = "json", .kind = ARG_FLAG, .target = &tune.json, .help = "print JSON", .standard = "a table" },
	};
	const struct usage usage = {
		.command = "tune",
		.synopsis = "[OPTION]... [-m MODEL]",
		.about =
			"Tries other ways to divide a model's work on a device, and keeps the fastest in the cache folder: from then on\n"
			"models of this shape and these types use it on this device and driver.  Takes under a minute.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.notes =
			"workgroup: threads; lanes: threads that share a row of a matrix; rows: rows per thread at once; groups:\n"
			"workgroups a stage should have.  For prompts, which are read many tokens at once, outputs and tokens: those\n"
			"whose sums a thread holds; depth: inputs in shared memory at a time.  For several sessions, outputs.\n"
			"The first line of each is the way without tuning.  Results of two ways for tokens agree within rounding; one\n"
			"way always gives the same bits.  Prompts and tokens of several sessions have the same bits in all ways.",
	};
	int code = args_parse(&usage, argc, argv, NULL);
	tune.model.batch = (uint32_t)tune.sessions.value;
	return code == ARGS_GO_ON ? run(&tune) : code;
}
