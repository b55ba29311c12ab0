/* rwkvk verify: checks that a device computes a model correctly: every stage against plain C, as a table or as JSON. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"
#include "model.h"
#include "terminal.h"

struct verify {
	struct model_args model;
	struct arg_count tokens;
	bool all_devices, json;
};

/* What was compared on one device. */
struct report {
	rwkvk_model_info info;
	char device[256], driver[512], title[256];
	rwkvk_verify_row rows[RWKVK_VERIFY_ROWS];
	size_t count;
	bool ok;
};

static json_t *report_json(const struct report *r)
{
	json_t *root = json_object(), *rows = json_array();
	json_object_set_new(root, "rwkvk", json_string(rwkvk_version()));
	json_object_set_new(root, "device", json_text(r->device));
	json_object_set_new(root, "driver", json_text(r->driver));
	json_object_set_new(root, "model", json_text(r->title));
	json_object_set_new(root, "version", json_text(r->info.version));
	json_object_set_new(root, "layers", json_integer(r->info.layers));
	json_object_set_new(root, "width", json_integer(r->info.width));
	json_object_set_new(root, "ok", json_boolean(r->ok));
	for (size_t i = 0; i < r->count; i++) {
		json_t *row = json_object();
		json_object_set_new(row, "stage", json_text(r->rows[i].stage));
		json_object_set_new(row, "compared", json_integer(r->rows[i].compared));
		json_object_set_new(row, "layer", json_integer(r->rows[i].layer));
		json_object_set_new(row, "vector", json_text(r->rows[i].vector));
		/* JSON has no infinity */
		json_object_set_new(row, "error", isfinite(r->rows[i].error) ? json_real(r->rows[i].error) : json_null());
		json_object_set_new(row, "limit", json_real(r->rows[i].limit));
		json_object_set_new(row, "ok", json_boolean(r->rows[i].ok));
		json_array_append_new(rows, row);
	}
	json_object_set_new(root, "stages", rows);
	return root;
}

static void print_report(const struct report *r)
{
	char text[512];
	const rwkvk_model_info *m = &r->info;
	out_printf("rwkvk %s on %s", rwkvk_version(), printable(text, sizeof(text), r->device));
	out_printf(" (%s)\n", printable(text, sizeof(text), r->driver));
	out_printf("%s: RWKV-%s, %" PRIu32 " layers, width %" PRIu32 ", %s\n\n", printable(text, sizeof(text), r->title),
	           m->version, m->layers, m->width, m->format);
	out_printf("%-13s %9s %14s %10s  verdict\n", "stage", "compared", "largest error", "limit");
	for (size_t i = 0; i < r->count; i++) {
		const rwkvk_verify_row *row = &r->rows[i];
		snprintf(text, sizeof(text), row->limit > 0 ? "%.0e" : "%g", row->limit);
		out_printf("%-13s %9" PRIu32 " %14.2e %10s  %s\n", row->stage, row->compared, row->error, text,
		           row->ok ? "right" : "WRONG");
	}
	for (size_t i = 0; i < r->count; i++) {
		const rwkvk_verify_row *row = &r->rows[i];
		if (!row->ok && row->limit == 0)
			out_printf(
				"\n%s: %.2g %% of the %s differ from the host's, and should equal them to the bit; please report this block\n",
				row->stage, 100 * row->error, row->vector);
		else if (!row->ok)
			out_printf("\nstage %s differs by %.2e of its largest %s in layer %" PRIu32 "; please report this block\n",
			           row->stage, row->error, row->vector, row->layer);
	}
}

/* The driver of the device with this name. */
static void find_driver(struct report *r)
{
	rwkvk_device_info devices[16] = { 0 };
	size_t count;
	if (rwkvk_devices(devices, 16, &count) != RWKVK_OK)
		return;
	for (size_t i = 0; i < count && i < 16; i++)
		if (strcmp(devices[i].name, r->device) == 0)
			snprintf(r->driver, sizeof(r->driver), "%s", devices[i].driver);
}

static int compare(const struct verify *run, rwkvk_model *model, json_t *all)
{
	struct report r = { .ok = true };
	rwkvk_model_get_info(model, &r.info);
	snprintf(r.device, sizeof(r.device), "%s", r.info.device);
	snprintf(r.title, sizeof(r.title), "%s", model_title(&run->model));
	find_driver(&r);
	struct progress progress;
	progress_begin(&progress, "comparing", PROGRESS_STEPS);
	const rwkvk_verify_options options = { .tokens = (uint32_t)run->tokens.value,
		                                   .progress = progress_step,
		                                   .progress_user = &progress };
	rwkvk_status status = rwkvk_model_verify(model, &options, r.rows, RWKVK_VERIFY_ROWS, &r.count);
	progress_end();
	if (status != RWKVK_OK)
		return failed_with(status);
	note("compared in %.1f s", now_seconds() - progress.start);
	for (size_t i = 0; i < r.count; i++)
		r.ok = r.ok && r.rows[i].ok;
	if (run->json)
		json_array_append_new(all, report_json(&r));
	else
		print_report(&r);
	return r.ok ? EXIT_DONE : EXIT_FAILED;
}

static int verify_device(const struct verify *run, const char *device, json_t *all)
{
	struct model_args args = run->model;
	rwkvk_model *model = NULL;
	args.device = device;
	int code = model_open(&args, NULL, false, &model);
	if (code == EXIT_DONE)
		code = compare(run, model, all);
	rwkvk_model_close(model);
	return code;
}

static int verify_all_devices(const struct verify *run, json_t *all)
{
	enum { MOST = 64 };
	rwkvk_device_info devices[MOST] = { 0 };
	size_t count;
	int code = EXIT_DONE;
	if (rwkvk_devices(devices, MOST, &count) != RWKVK_OK)
		return failed_call();
	for (size_t i = 0; i < count && i < MOST && code != EXIT_INTERRUPTED; i++) {
		char index[16];
		snprintf(index, sizeof(index), "%" PRIu32, devices[i].index);
		int one = EXIT_DONE;
		if (!devices[i].usable)
			note("%s cannot be used: %s", devices[i].name, devices[i].reason);
		else
			one = verify_device(run, index, all);
		code = one == EXIT_DONE ? code : one;
	}
	return count ? code : failed("no Vulkan device");
}

static int verify(const struct verify *run)
{
	json_t *all = run->json ? json_array() : NULL;
	int code = run->all_devices ? verify_all_devices(run, all) : verify_device(run, run->model.device, all);
	if (code == EXIT_INTERRUPTED)
		json_decref(all);
	else if (run->json && out_json(all) != EXIT_DONE)
		code = EXIT_FAILED;
	return code;
}

int cmd_verify(int argc, char **argv)
{
	struct verify run = { 0 };
	const struct arg args[] = {
		ARG_MODEL(run.model),
		ARGS_TENSORS(run.model),
		ARG_QUANT(run.model),
		ARGS_NUMERICS(run.model),
		ARG_DEVICE(run.model),
		ARGS_HOST(run.model),
		ARG_QUIET(run.model),
		{ .name = "all-devices",
		  .kind = ARG_FLAG,
		  .target = &run.all_devices,
		  .help = "every device that can be used, in turn" },
		{ .group = "Comparison",
		  .name = "tokens",
		  .kind = ARG_COUNT,
		  .target = &run.tokens,
		  .value = "N",
		  .high = 100,
		  .help = "tokens to go through",
		  .standard = "3" },
		{ .name = "json", .kind = ARG_FLAG, .target = &run.json, .help = "print JSON", .standard = "a table" },
	};
	const struct usage usage = {
		.command = "verify",
		.synopsis = "[OPTION]... [-m MODEL]",
		.about =
			"Runs every stage of a model on a device and in plain C, on the model's own weights, and compares them, for\n"
			"single tokens and for a chunk; then whole tokens, a prompt, and results that must be equal to the bit.  Exit\n"
			"code 1 if a stage is wrong: that is a bug of the driver or of rwkvk, so please report the block.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.notes = "compared: how often, over layers and tokens; of large models a sample of the layers, and no whole tokens.\n"
				 "largest error: as a share of the result's largest value; rounding gives some 1e-6.  Where the limit is 0,\n"
				 "the share of picked tokens, or of quantised bytes, that differ from the host's.",
	};
	int code = args_parse(&usage, argc, argv, NULL);
	return code == ARGS_GO_ON ? verify(&run) : code;
}
