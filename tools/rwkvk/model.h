/* Shared by the commands that use a model: its options, opening it with a progress line, and the tokens to feed. */
#ifndef RWKVK_TOOL_MODEL_H
#define RWKVK_TOOL_MODEL_H

#include "args.h"

struct model_args {
	const char *path;               /* NULL: the model that is part of the program */
	const char *shape, *shape_type; /* instead of a file: see rwkvk_tools_options */
	const char *device;
	const char *vocab;
	const char *names;
	struct arg_loras lora;
	int quant; /* a rwkvk_quant */
	struct arg_number group_norm_epsilon;
	const char *cache_dir;
	struct arg_count rescale, threads;
	uint32_t batch; /* the sessions in one pass (rwkvk_model_options.max_batch); 0: a single session */
	bool read_file, exact;
	bool quiet;
};

extern const char *const quant_words[];

/* clang-format off: a row is an option */
#define ARG_MODEL(m)                                                                                                           \
	{                                                                                                                          \
		.group = "Model", .letter = 'm', .kind = ARG_TEXT, .target = &(m).path, .value = "MODEL", .help = "a model file",      \
		.standard = "the small story model that is part of the program"                                                        \
	}
/* An adapter. */
#define ARG_LORA(m)                                                                                                            \
	{                                                                                                                          \
		.name = "lora", .kind = ARG_LORAS, .target = &(m).lora, .value = "FILE[:SCALE]",                                       \
		.help = "merge this adapter, times SCALE, while loading; may be given several times; see docs/formats.md",             \
		.standard = "none; SCALE: alpha / rank, as FILE says"                                                                  \
	}
/* The tensors' names, and what is added to them. */
#define ARGS_TENSORS(m)                                                                                                        \
	ARG_LORA(m),                                                                                                               \
	{                                                                                                                          \
		.name = "names", .kind = ARG_TEXT, .target = &(m).names, .value = "FILE",                                              \
		.help = "a file that maps tensor names to official ones; see docs/formats.md", .standard = "as in the model"           \
	}
#define ARG_VOCAB(m)                                                                                                           \
	{                                                                                                                          \
		.name = "vocab", .kind = ARG_TEXT, .target = &(m).vocab, .value = "FILE",                                              \
		.help = "a vocabulary: World text such as rwkv_vocab_v20230424.txt, or a 20B_tokenizer.json",                          \
		.standard = "the model's own; bytes if it has 256 tokens"                                                              \
	}
#define ARG_QUANT(m)                                                                                                           \
	{                                                                                                                          \
		.name = "quant", .kind = ARG_WORD, .target = &(m).quant, .words = quant_words, .value = "none|f16|q8|q6|q5|q4",        \
		.help = "store large float matrices with fewer bits; faster, less memory", .standard = "none"                          \
	}
/* What a file does not say about itself. */
#define ARGS_NUMERICS(m)                                                                                                       \
	{ .name = "group-norm-epsilon",                                                                                            \
	  .kind = ARG_NUMBER,                                                                                                      \
	  .target = &(m).group_norm_epsilon,                                                                                       \
	  .value = "X",                                                                                                            \
	  .low = 1e-12,                                                                                                            \
	  .high = 1,                                                                                                               \
	  .help = "epsilon of ln_x, for RWKV-5 to 7 models trained with a different one",                                          \
	  .standard = "implied by the file's kind, mostly 0.00064" },                                                              \
	{                                                                                                                          \
		.name = "rescale", .kind = ARG_COUNT, .target = &(m).rescale, .value = "N", .high = 4096,                              \
		.help = "halve the residual stream after every N layers, as 16-bit engines do",                                        \
		.standard = "0, never, unless the file is stored so"                                                                   \
	}
#define ARG_DEVICE(m)                                                                                                          \
	{                                                                                                                          \
		.name = "device", .kind = ARG_TEXT, .target = &(m).device, .value = "INDEX|NAME",                                      \
		.help = "a number from `rwkvk devices`, or part of a name", .standard = "the best device"                              \
	}
#define ARGS_HOST(m)                                                                                                           \
	{ .name = "threads",                                                                                                       \
	  .kind = ARG_COUNT,                                                                                                       \
	  .target = &(m).threads,                                                                                                  \
	  .value = "N",                                                                                                            \
	  .high = 64,                                                                                                              \
	  .help = "how many threads load the model",                                                                               \
	  .standard = "one for each processor" },                                                                                  \
		{ .name = "no-mmap",                                                                                                   \
		  .kind = ARG_FLAG,                                                                                                    \
		  .target = &(m).read_file,                                                                                            \
		  .help = "read the whole model into main memory: for a file that may change or shrink while in use",                  \
		  .standard = "the file is mapped and must not change" },                                                              \
		{ .name = "exact",                                                                                                     \
		  .kind = ARG_FLAG,                                                                                                    \
		  .target = &(m).exact,                                                                                                \
		  .help = "read prompts token by token, with exactly the results of written tokens",                                   \
		  .standard = "many tokens at once, many times as fast" },                                                             \
	{                                                                                                                          \
		.name = "cache-dir", .kind = ARG_TEXT, .target = &(m).cache_dir, .value = "FOLDER",                                    \
		.help = "where compiled shaders and tunings are kept; \"\": nowhere",                                                  \
		.standard = "RWKVK_CACHE_DIR, else ~/.cache/rwkvk"                                                                     \
	}
#define ARG_QUIET(m)                                                                                                           \
	{                                                                                                                          \
		.letter = 'q', .kind = ARG_FLAG, .target = &(m).quiet, .help = "print only warnings and errors on standard error"      \
	}
/* clang-format on */

/* The library's options for these, except for a shape. */
rwkvk_model_options model_options(const struct model_args *args);

/* "model.gguf", or "the built-in model". */
const char *model_title(const struct model_args *args);

/* An error: the model has no vocabulary, which `what` needs; names the file to give, and `otherwise` if not NULL. */
int no_vocabulary(const struct model_args *args, const rwkvk_model_info *info, const char *what, const char *otherwise);

/* Opens the model, and prints a note with its description and the time it took.  From here on Ctrl-C is caught: pass
 * interrupt_flag() to every call that uses the model.  `file`: from model_peek(), or NULL; the model takes it over, or it is
 * closed.  EXIT_DONE, or the exit code after a message. */
int model_open(const struct model_args *args, rwkvk_file *file, bool profile, rwkvk_model **out);

/* The same, and runs a first token and the start of a prompt of so many tokens: a driver compiles at a pipeline's first use,
 * and that time belongs to loading, not to a rate. */
int model_open_warm(const struct model_args *args, rwkvk_file *file, size_t prompt, rwkvk_model **out);

/* The id of token `index` that a step has picked. */
uint32_t work_token(const rwkvk_work *work, size_t index);

struct feed_args {
	int bos;            /* -1: as the model says, 0: no, 1: yes */
	struct arg_ids ids; /* --tokens */
	const char *prompt; /* "-": standard input; NULL: none */
	const char *file;   /* -f: the file that holds it instead */
	bool escapes;       /* -e */
	const char *state_in, *state_out;
};

#define ARG_TOKENS(f)                                                                                                          \
	{                                                                                                                          \
		.group = "Input", .name = "tokens", .kind = ARG_IDS, .target = &(f).ids, .value = "1,2,3",                             \
		.help = "feed these token ids instead of a PROMPT"                                                                     \
	}
#define ARGS_PROMPT(f)                                                                                                         \
	{ .letter = 'f', .kind = ARG_TEXT, .target = &(f).file, .value = "FILE", .help = "read the text here, byte for byte" },    \
	{                                                                                                                          \
		.letter = 'e', .kind = ARG_FLAG, .target = &(f).escapes,                                                               \
		.help = "interpret \\n, \\t, \\xHH, \\uHHHH and the like in texts on the command line", .standard = "as they are"      \
	}
/* clang-format off: a row is an option */
#define ARGS_BOS(f)                                                                                                            \
	{ .name = "bos",                                                                                                           \
	  .kind = ARG_SWITCH,                                                                                                      \
	  .target = &(f).bos,                                                                                                      \
	  .store = 1,                                                                                                              \
	  .help = "first feed the token that begins a text, usually token 0",                                                      \
	  .standard = "if the model's file asks for it and there is no --state" },                                                 \
	{                                                                                                                          \
		.name = "no-bos", .kind = ARG_SWITCH, .target = &(f).bos, .store = 0, .help = "do not"                                 \
	}
#define ARGS_STATE(f)                                                                                                          \
	{ .group = "State",                                                                                                        \
	  .name = "state",                                                                                                         \
	  .kind = ARG_TEXT,                                                                                                        \
	  .target = &(f).state_in,                                                                                                 \
	  .value = "IN",                                                                                                           \
	  .help = "start from a state file, or from a trained start state (.pth or safetensors)",                                  \
	  .standard = "an empty state" },                                                                                          \
	{                                                                                                                          \
		.name = "save-state", .kind = ARG_TEXT, .target = &(f).state_out, .value = "OUT",                                      \
		.help = "write the state at the end", .standard = "not written"                                                        \
	}
/* clang-format on */

/* The tokens that are fed first. */
struct feed {
	uint8_t *text; /* the prompt's bytes; NULL for --tokens */
	size_t bytes;
	uint32_t *ids; /* the token that begins a text if due, then the prompt */
	size_t count;
	bool bos; /* ids[0] is there because of --bos, or because the model asks for it */
};

/* A text from the command line, with its escapes replaced under -e; to be freed. */
int text_read(const char *command, const char *option, const char *text, bool escapes, char **out);

/* Reads the prompt, before the model is opened.  EXIT_DONE, or the exit code after a message; then nothing is to be freed. */
int feed_read(const char *command, const struct feed_args *args, struct feed *feed);

/* Makes the tokens, with the model's file.  EXIT_DONE, or the exit code after a message.  No token at all is an error. */
int feed_tokens(const char *command, const struct feed_args *args, const struct model_args *model_args, const rwkvk_file *file,
                struct feed *feed);

/* Checks that the state to start from fits this model, and that the state to save can be written.  EXIT_DONE, or the exit code
 * after a message. */
int feed_check(const struct feed_args *args, const rwkvk_file *file);

/* The model's file, to check what can be checked before it is loaded, which reports on it. */
int model_peek(const struct model_args *args, rwkvk_file **out);

void feed_free(struct feed *feed);

#endif
