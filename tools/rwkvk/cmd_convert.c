/* rwkvk quantize and rwkvk convert: the same model in another file. */
#include <inttypes.h>
#include <string.h>

#include "streams.h"
#include "model.h"
#include "terminal.h"

static const char *const type_words[] = { [RWKVK_EXPORT_KEEP] = "keep",     [RWKVK_EXPORT_F32] = "f32",
	                                      [RWKVK_EXPORT_F16] = "f16",       [RWKVK_EXPORT_BF16] = "bf16",
	                                      [RWKVK_EXPORT_Q8_0] = "q8_0",     [RWKVK_EXPORT_Q6_K] = "q6_k",
	                                      [RWKVK_EXPORT_Q5_K_M] = "q5_k_m", [RWKVK_EXPORT_Q4_K_M] = "q4_k_m",
	                                      [RWKVK_EXPORT_Q4_0] = "q4_0",     NULL };

/* The first four, which keep floats as they are or convert them to another type of float. */
static const char *const plain_words[] = { "keep", "f32", "f16", "bf16", NULL };

struct convert {
	const char *command;
	struct model_args model;
	const char *files[2]; /* IN, OUT */
	int type;             /* a rwkvk_export_type; -1: none given */
};

static int export(const struct convert *args, const rwkvk_file *file)
{
	struct progress progress;
	progress_begin(&progress, "writing", PROGRESS_BYTES);
	interrupt_catch();
	const rwkvk_export_options options = {
		.type = (rwkvk_export_type)args->type,
		.threads = (uint32_t)args->model.threads.value,
		.progress = progress_step,
		.progress_user = &progress,
		.log = show_report,
	};
	rwkvk_status status = rwkvk_file_export(file, args->files[1], &options);
	progress_end();
	if (status != RWKVK_OK)
		return failed_with(status);
	note("%s written in %.2f s", args->files[1], now_seconds() - progress.start);
	return EXIT_DONE;
}

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length > tail && strcmp(text + length - tail, end) == 0;
}

static int run(struct convert *args)
{
	rwkvk_file *file = NULL;
	set_quiet(args->model.quiet);
	if (!args->files[1])
		return misused(args->command, "expected two files, IN and OUT");
	if (!ends_in(args->files[1], ".gguf") && !ends_in(args->files[1], ".safetensors"))
		return misused(args->command, "expected an OUT that ends in .gguf or .safetensors, got \"%.60s\"", args->files[1]);
	if (args->type < 0)
		return misused(args->command, "--type: expected how to store the weights, such as q8_0 or q4_k_m");
	args->model.path = args->files[0];
	rwkvk_model_options options = model_options(&args->model);
	if (rwkvk_file_open(&options, &file) != RWKVK_OK)
		return failed_call();
	int code = export(args, file);
	rwkvk_file_close(file);
	return code;
}

/* clang-format off: a row is an option */
#define ARGS_CONVERT(c)                                                                                                        \
	ARG_VOCAB((c).model), ARGS_TENSORS((c).model),                                                                             \
		{ .name = "threads",                                                                                                   \
		  .kind = ARG_COUNT,                                                                                                   \
		  .target = &(c).model.threads,                                                                                        \
		  .value = "N",                                                                                                        \
		  .high = 64,                                                                                                          \
		  .help = "how many threads convert; the file is the same for any number",                                             \
		  .standard = "one for each processor" },                                                                              \
		{ .name = "no-mmap",                                                                                                   \
		  .kind = ARG_FLAG,                                                                                                    \
		  .target = &(c).model.read_file,                                                                                      \
		  .help = "read all of IN into main memory: for a file that may change or shrink meanwhile",                           \
		  .standard = "it is mapped and must not change" },                                                                    \
		ARG_QUIET((c).model)
/* clang-format on */

static const char out_help[] =
	"OUT.gguf has the names and keys of llama.cpp for RWKV-6 and 7, and similar ones for RWKV-4 and 5; its vocabulary is\n"
	"from IN or --vocab.  OUT.safetensors has official names, in F32, F16 or BF16.  OUT appears when it is complete; a\n"
	"failure or Ctrl-C leaves no file.  See docs/formats.md.";

int cmd_quantize(int argc, char **argv)
{
	struct convert c = { .command = "quantize", .type = -1 };
	const struct arg args[] = {
		{ .group = "Options",
		  .name = "type",
		  .kind = ARG_WORD,
		  .target = &c.type,
		  .words = type_words + 1,
		  .value = "q8_0|q6_k|q5_k_m|q4_k_m|q4_0|f16|bf16|f32",
		  .help = "the type of large matrices; with q..., LoRA factors stay as they are. docs/quantisation.md has the types" },
		ARGS_CONVERT(c),
	};
	const struct usage usage = {
		.command = c.command,
		.synopsis = "--type TYPE [OPTION]... IN OUT.gguf",
		.about = "Writes the model in IN, of any format that can be read, with fewer bits per weight.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "IN",
		.operands = 2,
		.notes = out_help,
	};
	int code = args_parse(&usage, argc, argv, c.files);
	if (code != ARGS_GO_ON)
		return code;
	c.type += c.type >= 0;
	return run(&c);
}

int cmd_convert(int argc, char **argv)
{
	struct convert c = { .command = "convert", .type = RWKVK_EXPORT_KEEP };
	const struct arg args[] = {
		{ .group = "Options",
		  .name = "type",
		  .kind = ARG_WORD,
		  .target = &c.type,
		  .words = plain_words,
		  .value = "keep|f32|f16|bf16",
		  .help = "how matrices and LoRA factors are stored; quantised models become safetensors only with one of the last "
		          "three",
		  .standard = "keep" },
		ARGS_CONVERT(c),
	};
	const struct usage usage = {
		.command = c.command,
		.synopsis = "[OPTION]... IN OUT.gguf|OUT.safetensors",
		.about = "Writes the model in IN, of any format that can be read, as another file.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "IN",
		.operands = 2,
		.notes = out_help,
	};
	int code = args_parse(&usage, argc, argv, c.files);
	return code == ARGS_GO_ON ? run(&c) : code;
}
