/* rwkvk tokenize: text to token ids and back, without a device. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"
#include "model.h"

/* A tokenizer and who owns it. */
struct vocabulary {
	rwkvk_file *file;
	rwkvk_tokenizer *own;
	const rwkvk_tokenizer *tokenizer;
};

static void vocabulary_close(struct vocabulary *vocabulary)
{
	rwkvk_tokenizer_close(vocabulary->own);
	rwkvk_file_close(vocabulary->file);
}

static int vocabulary_open(const struct model_args *args, struct vocabulary *out)
{
	*out = (struct vocabulary){ 0 };
	if (args->path && args->vocab)
		return misused("tokenize", "--vocab: stands instead of -m; give one of them");
	if (args->vocab) {
		if (rwkvk_tokenizer_open(args->vocab, &out->own) != RWKVK_OK)
			return failed_call();
		out->tokenizer = out->own;
		return EXIT_DONE;
	}
	rwkvk_model_options options = model_options(args);
	if (rwkvk_file_open(&options, &out->file) != RWKVK_OK)
		return failed_call();
	out->tokenizer = rwkvk_file_tokenizer(out->file);
	if (out->tokenizer)
		return EXIT_DONE;
	rwkvk_model_info info = { 0 };
	rwkvk_file_get_info(out->file, &info);
	vocabulary_close(out);
	return no_vocabulary(args, &info, "tokenize", NULL);
}

static int encode(const rwkvk_tokenizer *tokenizer, const struct feed *feed)
{
	size_t count = 0, room = 3 * feed->bytes;
	uint32_t *ids = malloc((room + 1) * sizeof(*ids));
	if (!ids)
		return failed("out of memory");
	if (feed->bytes > 0 && rwkvk_tokenizer_encode(tokenizer, feed->text, feed->bytes, ids, room, &count) != RWKVK_OK) {
		free(ids);
		return failed_call();
	}
	for (size_t i = 0; i < count; i++)
		out_printf("%s%" PRIu32, i ? " " : "", ids[i]);
	out_printf("\n");
	free(ids);
	return EXIT_DONE;
}

/* Nothing is written unless every id is known.  Token 0, the end of a World text, has no bytes. */
static int decode(const rwkvk_tokenizer *tokenizer, const struct arg_ids *ids)
{
	size_t bytes;
	for (size_t i = 0; i < ids->count; i++)
		if (!rwkvk_tokenizer_token(tokenizer, ids->ids[i], &bytes) && ids->ids[i] != 0)
			return failed("--decode: token %" PRIu32 " has no text in this vocabulary", ids->ids[i]);
	for (size_t i = 0; i < ids->count; i++) {
		const void *token = rwkvk_tokenizer_token(tokenizer, ids->ids[i], &bytes);
		if (token)
			out_write(token, bytes);
	}
	return EXIT_DONE;
}

/* The ids of --decode, from the command line or from standard input. */
static int read_ids(const char *text, struct arg_ids *ids)
{
	if (strcmp(text, "-") != 0)
		return args_ids("tokenize", "--decode", text, args_token_ids, ids);
	uint8_t *bytes;
	size_t count;
	if (!read_input(&bytes, &count))
		return EXIT_FAILED;
	char *line = malloc(count + 1);
	int code = EXIT_FAILED;
	if (!line)
		failed("out of memory");
	else if (memchr(bytes, 0, count))
		code = misused("tokenize", "--decode: expected token ids, got a zero byte");
	else {
		memcpy(line, bytes, count);
		line[count] = 0;
		code = args_ids("tokenize", "--decode", line, args_token_ids, ids);
	}
	free(line);
	free(bytes);
	return code;
}

static int tokenize(const struct model_args *args, const char *ids_text, const struct feed_args *feed_args)
{
	struct vocabulary vocabulary = { 0 };
	struct arg_ids ids = { 0 };
	struct feed feed = { 0 };
	int code = ids_text ? read_ids(ids_text, &ids) : feed_read("tokenize", feed_args, &feed);
	if (code == ARGS_GO_ON)
		code = EXIT_DONE;
	if (code == EXIT_DONE)
		code = vocabulary_open(args, &vocabulary);
	if (code == EXIT_DONE) {
		code = ids_text ? decode(vocabulary.tokenizer, &ids) : encode(vocabulary.tokenizer, &feed);
		vocabulary_close(&vocabulary);
	}
	free(ids.ids);
	feed_free(&feed);
	return code;
}

int cmd_tokenize(int argc, char **argv)
{
	struct model_args model = { 0 };
	const char *ids = NULL;
	struct feed_args feed = { 0 };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		ARG_MODEL(model),
		ARG_LORA(model),
		ARG_VOCAB(model),
		{ .group = "Direction",
		  .name = "decode",
		  .kind = ARG_TEXT,
		  .target = &ids,
		  .value = "IDS",
		  .help = "write the bytes of these token ids, such as 1,2,3; - reads them from standard input",
		  .standard = "turn text into ids" },
		ARGS_PROMPT(feed),
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "tokenize",
		.synopsis =
			"[-m MODEL | --vocab FILE] [TEXT | - | -f FILE]\n       rwkvk tokenize [-m MODEL | --vocab FILE] --decode IDS",
		.about = "Prints the token ids of TEXT on one line.  Without TEXT, or with -, reads standard input byte for byte.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "TEXT",
	};
	int code = args_parse(&usage, argc, argv, &feed.prompt);
	if (code != ARGS_GO_ON)
		return code;
	if (ids && (feed.prompt || feed.file))
		return misused("tokenize", "--decode: stands instead of a TEXT; give one of them");
	if (!feed.prompt && !feed.file)
		feed.prompt = "-";
	return tokenize(&model, ids, &feed);
}
