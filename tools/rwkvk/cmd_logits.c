/* rwkvk logits: the raw numbers behind the next token, as little-endian 32-bit floats. */
#include <stdlib.h>
#include <string.h>

#include "streams.h"
#include "model.h"
#include "terminal.h"
#include "system.h"

struct logits {
	struct model_args model;
	struct feed_args feed;
	const char *output; /* NULL or "-": standard output */
	bool all;
};

/* One row of logits on its way out. */
struct sink {
	rwkvk_output *output; /* NULL: standard output */
	float *values;
	uint8_t *bytes;
	size_t count;
	int code; /* of writing rows so far */
};

/* Discards an output that was not finished. */
static void sink_close(struct sink *sink)
{
	free(sink->values);
	free(sink->bytes);
	rwkvk_output_drop(sink->output);
}

static int sink_open(struct sink *sink, const char *path, size_t count)
{
	*sink = (struct sink){ .count = count };
	sink->values = calloc(count, sizeof(float));
	sink->bytes = calloc(count, sizeof(float));
	if (!sink->values || !sink->bytes)
		return failed("out of memory");
	return !path || rwkvk_output_open(path, &sink->output) == RWKVK_OK ? EXIT_DONE : failed_call();
}

static int sink_write(struct sink *sink, const float *values)
{
	for (size_t i = 0; i < sink->count; i++) {
		uint32_t bits;
		memcpy(&bits, &values[i], sizeof(bits));
		for (int b = 0; b < 4; b++)
			sink->bytes[4 * i + (size_t)b] = (uint8_t)(bits >> (8 * b));
	}
	if (!sink->output)
		return out_write(sink->bytes, 4 * sink->count) ? EXIT_DONE : EXIT_FAILED; /* out_finish() says why */
	return rwkvk_output_write(sink->output, sink->bytes, 4 * sink->count) == RWKVK_OK ? EXIT_DONE : failed_call();
}

static bool on_logits(void *user, size_t index, const float *logits)
{
	struct sink *sink = user;
	(void)index;
	sink->code = sink_write(sink, logits);
	return sink->code == EXIT_DONE;
}

static int sink_finish(struct sink *sink)
{
	rwkvk_output *output = sink->output;
	sink->output = NULL;
	return !output || rwkvk_output_commit(output) == RWKVK_OK ? EXIT_DONE : failed_call();
}

/* After every token; after the last one; or, without tokens, what the state has. */
static int write_rows(const struct logits *run, rwkvk_session *session, const struct feed *feed, struct sink *sink)
{
	bool all = run->all && feed->count > 0;
	const rwkvk_eval_options options = { .size = sizeof(options),
		                                 .logits = all ? NULL : sink->values,
		                                 .cancel = interrupt_flag(),
		                                 .on_logits = all ? on_logits : NULL,
		                                 .logits_user = sink };
	rwkvk_status status = rwkvk_session_eval(session, feed->ids, feed->count, &options);
	if (sink->code != EXIT_DONE)
		return sink->code;
	if (status != RWKVK_OK)
		return failed_with(status);
	int code = all ? EXIT_DONE : sink_write(sink, sink->values);
	return code == EXIT_DONE ? sink_finish(sink) : code;
}

static int run_session(const struct logits *run, rwkvk_session *session, const struct feed *feed, struct sink *sink)
{
	double start = now_seconds();
	if (run->feed.state_in && rwkvk_session_load(session, run->feed.state_in) != RWKVK_OK)
		return failed_call();
	int code = write_rows(run, session, feed, sink);
	if (code != EXIT_DONE)
		return code;
	if (run->feed.state_out && rwkvk_session_save(session, run->feed.state_out) != RWKVK_OK)
		return failed_call();
	note("%zu tokens%s in %.2f s; %zu x %zu logits", feed->count, feed->bos ? ", the first begins a text," : "",
	     now_seconds() - start, run->all && feed->count > 0 ? feed->count : (size_t)1, sink->count);
	return EXIT_DONE;
}

/* Everything that can be checked before the model is loaded, and the output. */
static int prepare(const struct logits *run, rwkvk_file **file, struct feed *feed, struct sink *sink)
{
	rwkvk_model_info info = { 0 };
	int code = model_peek(&run->model, file);
	if (code == EXIT_DONE)
		code = feed_tokens("logits", &run->feed, &run->model, *file, feed);
	if (code == EXIT_DONE)
		code = feed_check(&run->feed, *file);
	if (code == EXIT_DONE) {
		rwkvk_file_get_info(*file, &info);
		code = sink_open(sink, run->output, info.vocab);
	}
	return code;
}

static int run_model(const struct logits *run, rwkvk_file *file, const struct feed *feed, struct sink *sink)
{
	rwkvk_model *model = NULL;
	rwkvk_session *session = NULL;
	int code = model_open(&run->model, file, false, &model);
	if (code == EXIT_DONE && rwkvk_session_create(model, &session) != RWKVK_OK)
		code = failed_call();
	if (code == EXIT_DONE)
		code = run_session(run, session, feed, sink);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return code;
}

static int logits(struct logits *run)
{
	struct feed feed;
	struct sink sink = { 0 };
	set_quiet(run->model.quiet);
	if (run->output && strcmp(run->output, "-") == 0)
		run->output = NULL;
	if (!run->output && system_is_terminal(stdout))
		return misused("logits", "standard output is a terminal and logits are binary: give -o FILE, or a pipe");
	int code = feed_read("logits", &run->feed, &feed);
	if (code != EXIT_DONE)
		return code;
	rwkvk_file *file = NULL;
	code = prepare(run, &file, &feed, &sink);
	if (code == EXIT_DONE)
		code = run_model(run, file, &feed, &sink);
	else
		rwkvk_file_close(file);
	sink_close(&sink);
	feed_free(&feed);
	return code;
}

int cmd_logits(int argc, char **argv)
{
	struct logits run = { .feed.bos = -1 };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		ARG_MODEL(run.model),
		ARG_VOCAB(run.model),
		ARGS_TENSORS(run.model),
		ARG_QUANT(run.model),
		ARGS_NUMERICS(run.model),
		ARG_DEVICE(run.model),
		ARGS_HOST(run.model),
		ARG_TOKENS(run.feed),
		ARGS_PROMPT(run.feed),
		ARGS_BOS(run.feed),
		{ .group = "Output",
		  .letter = 'o',
		  .kind = ARG_TEXT,
		  .target = &run.output,
		  .value = "FILE",
		  .help = "write here",
		  .standard = "standard output, unless that is a terminal" },
		{ .name = "all",
		  .kind = ARG_FLAG,
		  .target = &run.all,
		  .help = "after every token, including that of --bos",
		  .standard = "after the last one" },
		ARG_QUIET(run.model),
		ARGS_STATE(run.feed),
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "logits",
		.synopsis = "[OPTION]... (PROMPT | - | -f FILE | --tokens 1,2,3)",
		.about = "Feeds a prompt and writes the logits that follow it: one little-endian 32-bit float for each token of the\n"
				 "vocabulary.  With - the prompt is standard input, byte for byte.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "PROMPT",
	};
	int code = args_parse(&usage, argc, argv, &run.feed.prompt);
	if (code == ARGS_GO_ON)
		code = logits(&run);
	free(run.feed.ids.ids);
	return code;
}
