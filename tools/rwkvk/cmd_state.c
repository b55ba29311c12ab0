/* rwkvk state: the contents of a state file, and its conversion for other programs.  Without a device. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "streams.h"
#include "model.h"

static const char *const format_words[] = {
	[RWKVK_STATE_ANY] = "any",           [RWKVK_STATE_NATIVE] = "rwkvk",      [RWKVK_STATE_TRAINED] = "trained",
	[RWKVK_STATE_WEB_RWKV] = "web-rwkv", [RWKVK_STATE_RWKV_CPP] = "rwkv.cpp", [RWKVK_STATE_CHATRWKV] = "chatrwkv",
	[RWKVK_STATE_CHATRWKV + 1] = NULL,
};

#define FORMATS "rwkvk|trained|web-rwkv|rwkv.cpp|chatrwkv"

static const char formats_help[] =
	"Formats\n"
	"  rwkvk     rwkvk's own state file: everything, with a checksum\n"
	"  trained   safetensors or .pth with tensors blocks.i.att.time_state, [head, value, key]: only the matrices\n"
	"  web-rwkv  the same as web-rwkv's and Ai00's converters write it, [head, key, value]; only to read\n"
	"  rwkv.cpp  floats: in each layer ffn_x, att_x, then the matrices (RWKV-4: aa, bb, pp)\n"
	"  chatrwkv  floats: in each layer att_x, the matrices (RWKV-4: aa, bb, pp), ffn_x\n"
	"A file of rwkvk names its model.  The others need -m; floats also need --from.";

static const char *const format_titles[] = {
	[RWKVK_STATE_NATIVE] = "state file of rwkvk",
	[RWKVK_STATE_TRAINED] = "trained start state, [head, value, key]",
	[RWKVK_STATE_WEB_RWKV] = "trained start state, [head, key, value]",
	[RWKVK_STATE_RWKV_CPP] = "floats in the order of rwkv.cpp",
	[RWKVK_STATE_CHATRWKV] = "floats in the order of ChatRWKV",
};

struct state {
	struct model_args model;
	const char *files[2];
	int from, to; /* rwkvk_state_format */
	bool json;
};

#define ARG_STATE_MODEL(s)                                                                                                     \
	{                                                                                                                          \
		.group = "Options", .letter = 'm', .kind = ARG_TEXT, .target = &(s).model.path, .value = "MODEL",                      \
		.help = "the model that the state belongs to", .standard = "as the file says, if it does"                              \
	}
#define ARG_FROM(s)                                                                                                            \
	{                                                                                                                          \
		.name = "from", .kind = ARG_WORD, .target = &(s).from, .words = format_words, .value = FORMATS,                        \
		.help = "what kind of file it is", .standard = "rwkvk or trained, detected from the content"                           \
	}

static int open_model(const struct state *args, rwkvk_file **out)
{
	*out = NULL;
	if (!args->model.path)
		return EXIT_DONE;
	rwkvk_model_options options = model_options(&args->model);
	return rwkvk_file_open(&options, out) == RWKVK_OK ? EXIT_DONE : failed_call();
}

/* ---------------------------------------------------------------------------------------------------- info */

struct version_text {
	char text[24];
};

static struct version_text version_text(uint32_t version)
{
	struct version_text out = { "RWKV-5, 6 or 7" };
	if (version == 50 || version == 51 || version == 52)
		snprintf(out.text, sizeof(out.text), "RWKV-5.%" PRIu32, version - 50);
	else if (version)
		snprintf(out.text, sizeof(out.text), "RWKV-%" PRIu32, version / 10);
	return out;
}

static void print_info(const rwkvk_state_info *info)
{
	out_printf("kind             %s", format_titles[info->format]);
	if (info->format == RWKVK_STATE_NATIVE)
		out_printf(", format %" PRIu32, info->file_version);
	out_printf("\n");
	out_printf("model            %s, %" PRIu32 " layers of width %" PRIu32, version_text(info->version).text, info->layers,
	           info->width);
	if (info->version != 40)
		out_printf(", %" PRIu32 " heads of %" PRIu32, info->heads, info->head_size);
	out_printf("\n");
	if (info->format == RWKVK_STATE_NATIVE) {
		out_printf("position         %" PRIu64 "\n", info->position);
		out_printf("penalty counts   of %" PRIu32 " tokens\n", info->counts);
		if (info->logits)
			out_printf("logits           %" PRIu64 ": a text can go on without a prompt\n", info->logits);
		else
			out_printf("logits           none: a text can go on with a prompt\n");
		out_printf("checksum         %s\n", info->damaged ? "wrong: the file is damaged" : "right");
	}
	out_printf("numbers          %" PRIu64 ", from %g to %g", info->floats, (double)info->least, (double)info->greatest);
	if (info->not_finite)
		out_printf(", and %" PRIu64 " that are not finite", info->not_finite);
	out_printf("\n");
}

static int print_json(const rwkvk_state_info *info)
{
	json_t *root = json_object();
	json_object_set_new(root, "format", json_text(format_words[info->format]));
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = { { "version", info->version }, { "layers", info->layers },         { "width", info->width },
		            { "heads", info->heads },     { "head_size", info->head_size },   { "position", info->position },
		            { "floats", info->floats },   { "not_finite", info->not_finite }, { "file_version", info->file_version },
		            { "counts", info->counts },   { "logits", info->logits } };
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(root, numbers[i].name, json_integer((json_int_t)numbers[i].value));
	json_object_set_new(root, "damaged", json_boolean(info->damaged));
	json_object_set_new(root, "least", json_real((double)info->least));
	json_object_set_new(root, "greatest", json_real((double)info->greatest));
	return out_json(root);
}

/* A damaged file is shown all the same; the exit code reports the damage. */
static int state_info(const struct state *args)
{
	rwkvk_file *model = NULL;
	rwkvk_state_info info = { 0 };
	int code = open_model(args, &model);
	if (code == EXIT_DONE && rwkvk_state_inspect(args->files[0], (rwkvk_state_format)args->from, model, &info) != RWKVK_OK)
		code = failed_call();
	rwkvk_file_close(model);
	if (code != EXIT_DONE)
		return code;
	if (args->json)
		code = print_json(&info);
	else
		print_info(&info);
	return info.damaged || info.not_finite ? EXIT_FAILED : code;
}

static int cmd_state_info(int argc, char **argv)
{
	struct state state = { 0 };
	const struct arg args[] = {
		ARG_STATE_MODEL(state),
		ARG_LORA(state.model),
		ARG_FROM(state),
		{ .name = "json", .kind = ARG_FLAG, .target = &state.json, .help = "print JSON", .standard = "a table" },
	};
	const struct usage usage = {
		.command = "state info",
		.synopsis = "[OPTION]... FILE",
		.about = "Describes a state file: for which model, after how many tokens, and whether its numbers are valid.  The\n"
				 "exit code is 1 if they are not.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "FILE",
		.operands = 1,
		.notes = formats_help,
	};
	int code = args_parse(&usage, argc, argv, state.files);
	if (code != ARGS_GO_ON)
		return code;
	return state.files[0] ? state_info(&state) : misused("state info", "expected a FILE");
}

/* ---------------------------------------------------------------------------------------------------- convert */

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length > tail && strcmp(text + length - tail, end) == 0;
}

static int format_by_name(const char *path)
{
	static const struct {
		const char *end;
		rwkvk_state_format format;
	} ends[] = { { ".state", RWKVK_STATE_NATIVE }, { ".safetensors", RWKVK_STATE_TRAINED } };
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (ends_in(path, ends[i].end))
			return (int)ends[i].format;
	return RWKVK_STATE_ANY;
}

static void note_losses(const struct state *args)
{
	bool matrices = args->from == RWKVK_STATE_TRAINED || args->from == RWKVK_STATE_WEB_RWKV;
	if (args->to == RWKVK_STATE_TRAINED && !matrices)
		note("left out: att_x and ffn_x, the inputs of the last token, position, penalty counts and logits; only the matrices "
		     "are "
		     "kept");
	else if (args->to != RWKVK_STATE_NATIVE && args->from == RWKVK_STATE_NATIVE)
		note("left out: position, penalty counts and logits, of which such a file says nothing");
	if (matrices && args->to != RWKVK_STATE_TRAINED)
		note("not in %s, so zero: att_x and ffn_x, the inputs of the last token, and the position", args->files[0]);
}

static int state_convert(struct state *args)
{
	rwkvk_file *model = NULL;
	rwkvk_state_info info = { 0 };
	int code = open_model(args, &model);
	if (code == EXIT_DONE && rwkvk_state_convert(args->files[0], (rwkvk_state_format)args->from, args->files[1],
	                                             (rwkvk_state_format)args->to, model) != RWKVK_OK)
		code = failed_call();
	if (code == EXIT_DONE && args->from == RWKVK_STATE_ANY &&
	    rwkvk_state_inspect(args->files[0], RWKVK_STATE_ANY, NULL, &info) == RWKVK_OK)
		args->from = (int)info.format;
	if (code == EXIT_DONE)
		note_losses(args);
	rwkvk_file_close(model);
	return code;
}

static int cmd_state_convert(int argc, char **argv)
{
	struct state state = { 0 };
	const struct arg args[] = {
		ARG_STATE_MODEL(state),
		ARG_LORA(state.model),
		ARG_FROM(state),
		{ .name = "to",
		  .kind = ARG_WORD,
		  .target = &state.to,
		  .words = format_words,
		  .value = "rwkvk|trained|rwkv.cpp|chatrwkv",
		  .help = "what kind to write",
		  .standard = "rwkvk for OUT.state, trained for OUT.safetensors" },
		ARG_QUIET(state.model),
	};
	const struct usage usage = {
		.command = "state convert",
		.synopsis = "[OPTION]... IN OUT",
		.about = "Writes the state in IN as another kind of file, and reports on standard error what that kind cannot hold.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "IN",
		.operands = 2,
		.notes = formats_help,
	};
	int code = args_parse(&usage, argc, argv, state.files);
	if (code != ARGS_GO_ON)
		return code;
	set_quiet(state.model.quiet);
	if (!state.files[1])
		return misused("state convert", "expected two files, IN and OUT");
	if (state.to == RWKVK_STATE_ANY)
		state.to = format_by_name(state.files[1]);
	if (state.to == RWKVK_STATE_ANY || state.to == RWKVK_STATE_WEB_RWKV)
		return misused("state convert", "--to: expected rwkvk|trained|rwkv.cpp|chatrwkv for %.60s", state.files[1]);
	return state_convert(&state);
}

/* ---------------------------------------------------------------------------------------------------- the command */

int cmd_state(int argc, char **argv)
{
	const struct usage usage = {
		.command = "state",
		.synopsis = "info [OPTION]... FILE\n       rwkvk state convert [OPTION]... IN OUT",
		.about = "Shows the contents of a state file, or converts it for another program.  Try: rwkvk state info "
				 "--help,\nrwkvk state convert --help.",
		.operand = "info or convert",
		.parts = "info convert",
		.notes = formats_help,
	};
	const char *word = NULL;
	if (argc > 1 && strcmp(argv[1], "info") == 0)
		return cmd_state_info(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "convert") == 0)
		return cmd_state_convert(argc - 1, argv + 1);
	int code = args_parse(&usage, argc, argv, &word);
	if (code != ARGS_GO_ON)
		return code;
	return word ? misused("state", "expected info or convert, got \"%.60s\"", word)
	            : misused("state", "expected info or convert");
}
