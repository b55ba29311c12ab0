/* rwkvk perplexity: how well a model predicts a text, and how far it is from another one, such as its own weights before
 * quantising.  Totals go to standard output, one line per chunk to standard error. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"
#include "model.h"
#include "score.h"
#include "terminal.h"

enum state_word { STATE_CARRY, STATE_FRESH };
static const char *const state_words[] = { [STATE_CARRY] = "carry", [STATE_FRESH] = "fresh", NULL };
enum { STANDARD_CHUNK = 1024, AT_ONCE = 128 }; /* tokens; the second are fed by one call */

struct perplexity {
	struct model_args model;
	const char *against; /* NULL: the same model, if against_quant is given */
	int against_quant;   /* -1: not given */
	struct feed_args feed;
	const char *path; /* the text */
	struct arg_count chunk;
	int state;
	bool json;
};

/* A model, and what it expects. */
struct side {
	struct model_args args;
	rwkvk_model *model; /* NULL: there is no reference */
	rwkvk_session *session;
	rwkvk_model_info info;
	float *logits; /* [1 + AT_ONCE][vocab]: what is expected before the tokens of a call, and after each of them */
};

struct run {
	const struct perplexity *args;
	struct side model, reference;
	struct feed feed;
	const uint32_t *text; /* the tokens after the one that begins a text */
	size_t text_count, chunk;
	bool has_next; /* the first rows of logits are those after the tokens so far */
	struct score total;
	json_t *chunks; /* NULL without --json */
	double seconds;
};

/* ---------------------------------------------------------------------------------------------------- the report */

/* JSON has no infinity. */
static json_t *real(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *score_json(const struct score *s, bool compared)
{
	json_t *row = json_object();
	double nats = score_nats_per_token(s), n = (double)s->tokens;
	json_object_set_new(row, "tokens", json_integer((json_int_t)s->tokens));
	json_object_set_new(row, "bytes", json_integer((json_int_t)s->bytes));
	json_object_set_new(row, "nats_per_token", real(nats));
	json_object_set_new(row, "perplexity", real(exp(nats)));
	json_object_set_new(row, "bits_per_byte", s->bytes ? real(score_bits_per_byte(s)) : json_null());
	if (compared) {
		json_object_set_new(row, "reference_nats_per_token", real(s->reference_nats / n));
		json_object_set_new(row, "kl", real(s->kl / n));
		json_object_set_new(row, "largest_kl", real(s->largest_kl));
		json_object_set_new(row, "same_best", real((double)s->same / n));
	}
	return row;
}

static json_t *side_json(const struct side *side)
{
	json_t *object = json_object();
	json_object_set_new(object, "model", json_text(model_title(&side->args)));
	json_object_set_new(object, "quant", json_string(quant_words[side->args.quant]));
	json_object_set_new(object, "device", json_text(side->info.device));
	json_object_set_new(object, "device_bytes", json_integer((json_int_t)side->info.device_bytes));
	json_object_set_new(object, "bytes_per_token", json_integer((json_int_t)side->info.bytes_per_token));
	return object;
}

static int print_json(struct run *run)
{
	json_t *root = side_json(&run->model);
	if (run->reference.model)
		json_object_set_new(root, "against", side_json(&run->reference));
	json_object_set_new(root, "state", json_string(state_words[run->args->state]));
	json_object_set_new(root, "chunk", json_integer((json_int_t)run->chunk));
	json_object_set_new(root, "begin_token", run->feed.bos ? json_integer(run->feed.ids[0]) : json_null());
	json_object_set_new(root, "text_tokens", json_integer((json_int_t)run->text_count));
	json_object_set_new(root, "seconds", real(run->seconds));
	json_t *total = score_json(&run->total, run->reference.model);
	json_object_update(root, total);
	json_decref(total);
	json_object_set_new(root, "chunks", run->chunks);
	run->chunks = NULL;
	return out_json(root);
}

static void print_report(const struct run *run)
{
	const struct score *s = &run->total;
	double nats = score_nats_per_token(s), n = (double)s->tokens;
	out_printf("scored           %" PRIu64 " of %zu tokens", s->tokens, run->text_count);
	if (s->bytes)
		out_printf(", %" PRIu64 " bytes", s->bytes);
	out_printf("\nnats per token   %.4f\nperplexity       %.4f\n", nats, exp(nats));
	if (s->bytes)
		out_printf("bits per byte    %.4f\n", score_bits_per_byte(s));
	if (!run->reference.model)
		return;
	out_printf("against          %s, %s: %.4f nats per token\n", model_title(&run->reference.args),
	           quant_words[run->reference.args.quant], s->reference_nats / n);
	out_printf("divergence       %.3g nats per token, %.3g at most\n", s->kl / n, s->largest_kl);
	out_printf("same best token  %.2f %%\n", 100 * (double)s->same / n);
}

static void note_heading(const struct run *run)
{
	note("%9s %8s %9s %10s %10s%s", "token", "scored", "bytes", "nats/token", "bits/byte",
	     run->reference.model ? "      KL  same best" : "");
}

static void note_chunk(const struct run *run, size_t first, const struct score *s)
{
	char bits[24] = "-", compared[64] = "";
	if (s->bytes)
		snprintf(bits, sizeof(bits), "%.4f", score_bits_per_byte(s));
	if (run->reference.model)
		snprintf(compared, sizeof(compared), " %8.2g  %7.2f %%", s->kl / (double)s->tokens,
		         100 * (double)s->same / (double)s->tokens);
	note("%9zu %8" PRIu64 " %9" PRIu64 " %10.4f %10s%s", first, s->tokens, s->bytes, score_nats_per_token(s), bits, compared);
}

/* ---------------------------------------------------------------------------------------------------- the run */

static float *logits_row(const struct side *side, size_t row)
{
	return side->logits + row * side->info.vocab;
}

static bool keep_row(void *user, size_t index, const float *logits)
{
	struct side *side = user;
	memcpy(logits_row(side, 1 + index), logits, side->info.vocab * sizeof(*logits));
	return true;
}

/* AT_ONCE tokens at most. */
static int feed_side(struct side *side, const uint32_t *tokens, size_t count)
{
	if (!side->model)
		return EXIT_DONE;
	const rwkvk_eval_options options = {
		.size = sizeof(options), .cancel = interrupt_flag(), .on_logits = keep_row, .logits_user = side
	};
	rwkvk_status status = rwkvk_session_eval(side->session, tokens, count, &options);
	return status == RWKVK_OK ? EXIT_DONE : failed_with(status);
}

static int feed_both(struct run *run, const uint32_t *tokens, size_t count)
{
	int code = feed_side(&run->model, tokens, count);
	return code == EXIT_DONE ? feed_side(&run->reference, tokens, count) : code;
}

/* Moves the logits after the last of `count` tokens to the front, for the next call. */
static void carry_side(struct side *side, size_t count)
{
	if (side->model)
		memcpy(side->logits, logits_row(side, count), side->info.vocab * sizeof(*side->logits));
}

static void carry(struct run *run, size_t count)
{
	carry_side(&run->model, count);
	carry_side(&run->reference, count);
	run->has_next = true;
}

/* A new text: empty states, and the token that begins it if that is due. */
static int begin(struct run *run)
{
	run->has_next = false;
	if (rwkvk_session_reset(run->model.session) != RWKVK_OK ||
	    (run->reference.model && rwkvk_session_reset(run->reference.session) != RWKVK_OK))
		return failed_call();
	if (!run->feed.bos)
		return EXIT_DONE;
	int code = feed_both(run, run->feed.ids, 1);
	if (code == EXIT_DONE)
		carry(run, 1);
	return code;
}

static int distribution_of(const struct side *side, size_t row, struct distribution *out)
{
	if (!side->model || distribution_init(out, logits_row(side, row), side->info.vocab))
		return EXIT_DONE;
	return failed("%s, --quant %s: expected logits that are numbers, but some are -infinity: what is banned has no score",
	              model_title(&side->args), quant_words[side->args.quant]);
}

/* Scores the token by the logits in `row`. */
static int score_next(struct run *run, size_t row, uint32_t token, struct score *score)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(run->model.model);
	struct distribution model, reference;
	size_t bytes = 0;
	int code = distribution_of(&run->model, row, &model);
	if (code == EXIT_DONE)
		code = distribution_of(&run->reference, row, &reference);
	if (code != EXIT_DONE)
		return code;
	if (tokenizer)
		rwkvk_tokenizer_token(tokenizer, token, &bytes);
	score_token(score, &model, run->reference.model ? &reference : NULL, token, bytes);
	return EXIT_DONE;
}

/* `count` tokens, AT_ONCE at most, of which `fed` are fed: all, or all but the last. */
static int score_some(struct run *run, const uint32_t *tokens, size_t count, size_t fed, struct score *score)
{
	int code = fed > 0 ? feed_both(run, tokens, fed) : EXIT_DONE;
	for (size_t i = run->has_next ? 0 : 1; i < count && code == EXIT_DONE; i++)
		code = score_next(run, i, tokens[i], score);
	if (code == EXIT_DONE && fed == count)
		carry(run, count);
	return code;
}

/* Tokens [first, end) of the text; what comes after the last one that is scored need not be known. */
static int score_chunk(struct run *run, size_t first, size_t end, struct score *score)
{
	bool fresh = run->args->state == STATE_FRESH, last = fresh || end == run->text_count;
	int code = fresh || first == 0 ? begin(run) : EXIT_DONE;
	for (size_t i = first, n; i < end && code == EXIT_DONE; i += n) {
		n = end - i < AT_ONCE ? end - i : AT_ONCE;
		code = score_some(run, run->text + i, n, last && i + n == end ? n - 1 : n, score);
	}
	return code;
}

static void keep_chunk(struct run *run, size_t first, const struct score *score)
{
	if (score->tokens == 0)
		return;
	score_add(&run->total, score);
	note_chunk(run, first, score);
	if (!run->chunks)
		return;
	json_t *row = score_json(score, run->reference.model);
	json_object_set_new(row, "first", json_integer((json_int_t)first));
	json_array_append_new(run->chunks, row);
}

static int score_text(struct run *run)
{
	double start = now_seconds();
	note_heading(run);
	for (size_t first = 0, end; first < run->text_count; first = end) {
		struct score score = { 0 };
		end = run->text_count - first > run->chunk ? first + run->chunk : run->text_count;
		int code = score_chunk(run, first, end, &score);
		if (code != EXIT_DONE)
			return code;
		keep_chunk(run, first, &score);
	}
	run->seconds = now_seconds() - start;
	if (run->total.tokens == 0)
		return failed("%s: nothing to score: expected a token with one before it, found %zu token%s, %zu to a chunk; give more "
		              "text, --bos or a larger --chunk",
		              run->args->path ? run->args->path : "--tokens", run->text_count, run->text_count == 1 ? "" : "s",
		              run->chunk);
	note("%.1f s", run->seconds);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------------- models */

static int open_side(struct side *side, rwkvk_file *file)
{
	int code = model_open(&side->args, file, false, &side->model);
	if (code != EXIT_DONE)
		return code;
	rwkvk_model_get_info(side->model, &side->info);
	side->logits = malloc((1 + AT_ONCE) * side->info.vocab * sizeof(*side->logits));
	if (!side->logits)
		return failed("out of memory");
	return rwkvk_session_create(side->model, &side->session) == RWKVK_OK ? EXIT_DONE : failed_call();
}

static void close_side(struct side *side)
{
	rwkvk_session_destroy(side->session);
	rwkvk_model_close(side->model);
	free(side->logits);
}

/* The same model with other weights, or another one on the same device; names are what a file calls its tensors, so they do
 * not go with another file, and neither do adapters, so that a model can be compared with what an adapter makes of it. */
static int open_reference(struct run *run)
{
	const struct perplexity *args = run->args;
	struct side *reference = &run->reference;
	if (!args->against && args->against_quant < 0)
		return EXIT_DONE;
	reference->args = args->model;
	reference->args.quant = args->against_quant < 0 ? RWKVK_QUANT_NONE : args->against_quant;
	if (args->against) {
		reference->args.path = args->against;
		reference->args.names = NULL;
		reference->args.lora.count = 0;
	}
	int code = open_side(reference, NULL);
	if (code != EXIT_DONE || reference->info.vocab == run->model.info.vocab)
		return code;
	return failed("%s: expected a vocabulary of %" PRIu32 " tokens, as %s has, found %" PRIu32
	              "; only models with the same tokens can be compared",
	              model_title(&reference->args), run->model.info.vocab, model_title(&run->model.args), reference->info.vocab);
}

static int run_models(struct run *run)
{
	if (run->feed.bytes == 0 && run->args->feed.ids.count == 0)
		return failed("%s: expected a text, found nothing", run->args->path ? run->args->path : "--tokens");
	rwkvk_file *file = NULL;
	int code = model_peek(&run->model.args, &file);
	if (code == EXIT_DONE)
		code = feed_tokens("perplexity", &run->args->feed, &run->model.args, file, &run->feed);
	if (code == EXIT_DONE)
		code = open_side(&run->model, file);
	else
		rwkvk_file_close(file);
	if (code == EXIT_DONE)
		code = open_reference(run);
	if (code != EXIT_DONE)
		return code;
	run->text = run->feed.ids + run->feed.bos;
	run->text_count = run->feed.count - run->feed.bos;
	run->chunk = run->args->chunk.given ? run->args->chunk.value : STANDARD_CHUNK;
	if (run->chunk == 0)
		run->chunk = run->text_count;
	code = score_text(run);
	if (code != EXIT_DONE)
		return code;
	if (run->args->json)
		return print_json(run);
	print_report(run);
	return EXIT_DONE;
}

static int perplexity(struct perplexity *args)
{
	struct run run = { .args = args, .model.args = args->model };
	if (args->path && args->feed.ids.given)
		return misused("perplexity", "--tokens: stands instead of a FILE; give one of them");
	if (!args->path && !args->feed.ids.given)
		return misused("perplexity", "nothing to score: give a FILE, - or --tokens");
	if (args->path && !read_file(args->path, &run.feed.text, &run.feed.bytes))
		return EXIT_FAILED;
	if (args->json)
		run.chunks = json_array();
	int code = run_models(&run);
	json_decref(run.chunks);
	close_side(&run.reference);
	close_side(&run.model);
	feed_free(&run.feed);
	return code;
}

int cmd_perplexity(int argc, char **argv)
{
	struct perplexity run = { .feed.bos = -1, .against_quant = -1 };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		ARG_MODEL(run.model),
		ARG_VOCAB(run.model),
		ARGS_TENSORS(run.model),
		ARG_QUANT(run.model),
		ARGS_NUMERICS(run.model),
		ARG_DEVICE(run.model),
		ARGS_HOST(run.model),
		{ .group = "Input",
		  .name = "tokens",
		  .kind = ARG_IDS,
		  .target = &run.feed.ids,
		  .value = "1,2,3",
		  .help = "score these token ids instead of a FILE" },
		{ .name = "bos",
		  .kind = ARG_SWITCH,
		  .target = &run.feed.bos,
		  .store = 1,
		  .help = "first feed the token that begins a text, usually token 0",
		  .standard = "if the model's file asks for it" },
		{ .name = "no-bos", .kind = ARG_SWITCH, .target = &run.feed.bos, .store = 0, .help = "do not" },
		{ .group = "Chunks",
		  .name = "chunk",
		  .kind = ARG_COUNT,
		  .target = &run.chunk,
		  .value = "N",
		  .high = 1e12,
		  .help = "report after every N tokens of the text; 0 is the whole text",
		  .standard = "1024" },
		{ .name = "state",
		  .kind = ARG_WORD,
		  .target = &run.state,
		  .words = state_words,
		  .value = "carry|fresh",
		  .help = "the state at the start of a chunk: from the previous chunk, or empty",
		  .standard = "carry" },
		{ .group = "Comparison",
		  .name = "against",
		  .kind = ARG_TEXT,
		  .target = &run.against,
		  .value = "MODEL2",
		  .help = "compare with this model, on the same device and with the same tokens",
		  .standard = "the same model, if --against-quant is given" },
		{ .name = "against-quant",
		  .kind = ARG_WORD,
		  .target = &run.against_quant,
		  .words = quant_words,
		  .value = "none|f16|q8|q6|q5|q4",
		  .help = "compare with weights of this type",
		  .standard = "none, if --against is given" },
		{ .group = "Output",
		  .name = "json",
		  .kind = ARG_FLAG,
		  .target = &run.json,
		  .help = "print JSON",
		  .standard = "a table" },
		ARG_QUIET(run.model),
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "perplexity",
		.synopsis = "[OPTION]... (FILE | - | --tokens 1,2,3)",
		.about =
			"Measures how well a model predicts the text in FILE: nats per token, their exponential (perplexity), and bits\n"
			"per byte, which is comparable between vocabularies.  With - the text is standard input, byte for byte.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "FILE",
		.notes =
			"Each token is scored by the logits after all tokens before it: with --state carry those of the whole text, with\n"
			"--state fresh those of its chunk.  The token of --bos, if it is fed, comes before the text, or before each fresh\n"
			"chunk, and is never scored itself; without it the first token of the text, or of each fresh chunk, has none\n"
			"before it and is not scored.  Bytes are those of the scored tokens only, so bits per byte leave out what was\n"
			"not scored.  The text is read in chunks of the device, whose logits agree with those of token by token (--exact)\n"
			"within 3e-5 of the largest.\n"
			"\n"
			"A comparison adds, over the same tokens, the mean and largest Kullback-Leibler divergence KL(MODEL2 || MODEL) in\n"
			"nats, and how often both models have the same most probable token.\n"
			"\nExamples\n"
			"  rwkvk perplexity story.txt\n"
			"  rwkvk perplexity -m model.safetensors --vocab rwkv_vocab_v20230424.txt --quant q4 --against-quant none "
			"book.txt\n"
			"  rwkvk perplexity -m small.gguf --against large.gguf --state fresh --chunk 512 --json - < book.txt",
	};
	int code = args_parse(&usage, argc, argv, &run.path);
	if (code == ARGS_GO_ON)
		code = perplexity(&run);
	free(run.feed.ids.ids);
	return code;
}
