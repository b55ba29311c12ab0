#include "model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "escape.h"
#include "streams.h"
#include "terminal.h"

const char *const quant_words[] = { [RWKVK_QUANT_NONE] = "none",
	                                [RWKVK_QUANT_Q8] = "q8",
	                                [RWKVK_QUANT_Q6] = "q6",
	                                [RWKVK_QUANT_Q5] = "q5",
	                                [RWKVK_QUANT_Q4] = "q4",
	                                [RWKVK_QUANT_F16] = "f16",
	                                NULL };

enum { WARM_UP = 16 }; /* tokens: a longer prompt needs no other pipelines */

rwkvk_model_options model_options(const struct model_args *args)
{
	rwkvk_model_options options = {
		.size = sizeof options,
		.device = args->device,
		.vocab = args->vocab,
		.names = args->names,
		.lora = args->lora.items,
		.lora_count = args->lora.count,
		.quant = (rwkvk_quant)args->quant,
		.group_norm_epsilon = args->group_norm_epsilon.value,
		.rescale = (uint32_t)args->rescale.value,
		.cache_dir = args->cache_dir,
		.read_file = args->read_file,
		.exact = args->exact,
		.threads = (uint32_t)args->threads.value,
		.log = show_report,
	};
	if (args->path)
		options.path = args->path;
	else if (!args->shape) {
		options.data = rwkvk_demo_model;
		options.data_bytes = rwkvk_demo_model_bytes;
	}
	return options;
}

const char *model_title(const struct model_args *args)
{
	return args->path ? args->path : args->shape ? args->shape : "the built-in model";
}

int no_vocabulary(const struct model_args *args, const rwkvk_model_info *info, const char *what, const char *otherwise)
{
	const char *file = rwkvk_vocabulary_for(info->vocab);
	return failed("%s: has no vocabulary, which %s needs; give --vocab %s%s%s", model_title(args), what, file ? file : "FILE",
	              otherwise ? ", or " : "", otherwise ? otherwise : "");
}

int model_peek(const struct model_args *args, rwkvk_file **out)
{
	rwkvk_model_options options = model_options(args);
	return rwkvk_file_open(&options, out) == RWKVK_OK ? EXIT_DONE : failed_call();
}

/* A file that could not become a model is closed. */
static int load(const struct model_args *args, rwkvk_file *file, bool profile, rwkvk_model **out)
{
	struct progress progress;
	const rwkvk_tools_options tools = {
		.profile = profile, .shape = file ? NULL : args->shape, .shape_type = args->shape_type, .file = file
	};
	set_quiet(args->quiet);
	interrupt_catch();
	progress_begin(&progress, "loading", PROGRESS_BYTES);
	rwkvk_model_options options = model_options(args);
	options.max_sessions = args->batch ? args->batch : 1;
	options.max_batch = args->batch;
	options.tools = &tools;
	if (file)
		options.path = options.data = NULL, options.data_bytes = 0;
	options.cancel = interrupt_flag();
	options.progress = progress_step;
	options.progress_user = &progress;
	rwkvk_status status = rwkvk_model_open(&options, out);
	progress_end();
	if (status != RWKVK_OK)
		rwkvk_file_close(file);
	return status == RWKVK_OK ? EXIT_DONE : failed_with(status);
}

static double seconds_compiling(const rwkvk_model *model)
{
	rwkvk_counters counters = { 0 };
	rwkvk_model_counters(model, &counters);
	return 1e-9 * (double)counters.compile_nanoseconds;
}

/* `compiling`: seconds since `start`; with those of a first token, in which drivers compile, too, if `used`. */
static void note_ready(const struct model_args *args, const rwkvk_model *model, double start, double compiling, bool used)
{
	rwkvk_model_info info = { 0 };
	char device[256];
	rwkvk_model_get_info(model, &info);
	note("%s on %s: %s parameters, %s on the device, ready in %.2f s, %.2f s of them compiling%s", model_title(args),
	     printable(device, sizeof(device), info.device), show_count(info.parameters).text, show_bytes(info.device_bytes).text,
	     now_seconds() - start, compiling, used ? " and a first token" : "");
}

int model_open(const struct model_args *args, rwkvk_file *file, bool profile, rwkvk_model **out)
{
	double start = now_seconds();
	int code = load(args, file, profile, out);
	if (code == EXIT_DONE)
		note_ready(args, *out, start, seconds_compiling(*out), false);
	return code;
}

int model_open_warm(const struct model_args *args, rwkvk_file *file, size_t prompt, rwkvk_model **out)
{
	double start = now_seconds(), loaded, compiling;
	rwkvk_session *session = NULL;
	static const uint32_t tokens[WARM_UP];
	const rwkvk_eval_options options = { .cancel = interrupt_flag() };
	int code = load(args, file, false, out);
	if (code != EXIT_DONE)
		return code;
	loaded = now_seconds();
	compiling = seconds_compiling(*out);
	rwkvk_status status = rwkvk_session_create(*out, &session);
	if (status == RWKVK_OK)
		status = rwkvk_session_eval(session, tokens, 1, &options);
	if (status == RWKVK_OK && prompt > 1) /* drivers compile other shaders for what is read in chunks */
		status = rwkvk_session_eval(session, tokens, prompt < WARM_UP ? prompt : WARM_UP, &options);
	rwkvk_session_destroy(session);
	if (status != RWKVK_OK)
		return failed_with(status);
	note_ready(args, *out, start, compiling + now_seconds() - loaded, true);
	return EXIT_DONE;
}

/* The library's struct may be longer. */
uint32_t work_token(const rwkvk_work *work, size_t index)
{
	const char *token = (const char *)work->picked + index * work->picked->size;
	return ((const rwkvk_token *)(const void *)token)->id;
}

int text_read(const char *command, const char *option, const char *text, bool escapes, char **out)
{
	if (escapes)
		return escape_read(command, option, text, out);
	*out = malloc(strlen(text) + 1);
	if (!*out)
		return failed("out of memory");
	memcpy(*out, text, strlen(text) + 1);
	return EXIT_DONE;
}

int feed_read(const char *command, const struct feed_args *args, struct feed *feed)
{
	*feed = (struct feed){ 0 };
	if (args->prompt && args->ids.given)
		return misused(command, "--tokens: stands instead of a PROMPT; give one of them");
	if (args->file && (args->prompt || args->ids.given))
		return misused(command, "-f: stands instead of a text or --tokens; give one of them");
	if (args->file)
		return read_file(args->file, &feed->text, &feed->bytes) ? EXIT_DONE : EXIT_FAILED;
	if (!args->prompt)
		return EXIT_DONE;
	if (strcmp(args->prompt, "-") == 0)
		return read_input(&feed->text, &feed->bytes) ? EXIT_DONE : EXIT_FAILED;
	char *text;
	int code = text_read(command, "the text", args->prompt, args->escapes, &text);
	if (code != EXIT_DONE)
		return code;
	if (!args->escapes && escape_likely(text))
		note("the text holds a backslash, which is read as it is; with -e, \\n is a line break");
	feed->text = (uint8_t *)text;
	feed->bytes = strlen(text);
	return EXIT_DONE;
}

/* The token that begins a text is fed first with --bos; by default if the model wants it, unless a state is continued or the
 * ids begin with it. */
static bool bos_due(const struct feed_args *args, const rwkvk_model_info *info)
{
	if (args->bos >= 0)
		return args->bos;
	bool there = args->ids.count > 0 && args->ids.ids[0] == info->begin_token;
	return info->add_bos && info->begin_token != RWKVK_NO_TOKEN && !args->state_in && !there;
}

/* Appends the prompt's tokens to feed->ids, which holds feed->count and has room for three a byte. */
static int append_text(const struct model_args *model_args, const rwkvk_file *file, const rwkvk_model_info *info,
                       struct feed *feed)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_file_tokenizer(file);
	size_t count;
	if (feed->bytes == 0)
		return EXIT_DONE;
	if (!tokenizer)
		return no_vocabulary(model_args, info, "a prompt", "token ids with --tokens");
	if (rwkvk_tokenizer_encode(tokenizer, feed->text, feed->bytes, feed->ids + feed->count, 3 * feed->bytes, &count) !=
	    RWKVK_OK)
		return failed_call();
	feed->count += count;
	return EXIT_DONE;
}

static int append_ids(const char *command, const struct feed_args *args, const rwkvk_model_info *info, struct feed *feed)
{
	for (size_t i = 0; i < args->ids.count; i++) {
		uint32_t id = args->ids.ids[i];
		if (id >= info->vocab)
			return misused(command, "--tokens: expected ids below %" PRIu32 ", the model's vocabulary, got %" PRIu32,
			               info->vocab, id);
		feed->ids[feed->count++] = id;
	}
	return EXIT_DONE;
}

/* Without a token a text goes on from the logits of a state. */
static int expect_beginning(const char *command, const struct feed_args *args, const rwkvk_file *file)
{
	rwkvk_state_info info = { 0 };
	if (!args->state_in)
		return misused(command, "nothing to begin with: give a PROMPT, --tokens or --bos");
	if (rwkvk_state_inspect(args->state_in, RWKVK_STATE_ANY, file, &info) != RWKVK_OK)
		return failed_call();
	if (info.logits == 0)
		return misused(command, "%s has no logits, so it does not say what comes next: give a PROMPT or --tokens",
		               args->state_in);
	return EXIT_DONE;
}

int feed_tokens(const char *command, const struct feed_args *args, const struct model_args *model_args, const rwkvk_file *file,
                struct feed *feed)
{
	rwkvk_model_info info = { 0 };
	rwkvk_file_get_info(file, &info);
	if (args->bos == 1 && info.begin_token == RWKVK_NO_TOKEN)
		return misused(command, "--bos: %s has no token that begins a text", model_title(model_args));
	feed->ids = malloc((1 + 3 * feed->bytes + args->ids.count) * sizeof(*feed->ids));
	if (!feed->ids)
		return failed("out of memory");
	feed->bos = bos_due(args, &info);
	if (feed->bos)
		feed->ids[feed->count++] = info.begin_token;
	int code = args->ids.given ? append_ids(command, args, &info, feed) : append_text(model_args, file, &info, feed);
	return code == EXIT_DONE && feed->count == 0 ? expect_beginning(command, args, file) : code;
}

int feed_check(const struct feed_args *args, const rwkvk_file *file)
{
	rwkvk_state_info info = { 0 };
	if (args->state_in && rwkvk_state_inspect(args->state_in, RWKVK_STATE_ANY, file, &info) != RWKVK_OK)
		return failed_call();
	return args->state_out ? output_check(args->state_out) : EXIT_DONE;
}

void feed_free(struct feed *feed)
{
	free(feed->text);
	free(feed->ids);
	*feed = (struct feed){ 0 };
}
