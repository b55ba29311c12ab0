/* Sampling options, shared by several commands, and the settings that follow from them and from the model. */
#ifndef RWKVK_TOOL_SAMPLING_ARGS_H
#define RWKVK_TOOL_SAMPLING_ARGS_H

#include "args.h"
#include "bias.h"

struct sampling_args {
	struct arg_count top_k, seed;
	struct arg_number temperature, top_p, presence, frequency, decay;
	struct bias_args bias;
};

/* clang-format off: a row is an option */
#define ARGS_SAMPLING(s)                                                                                                       \
	{ .group = "Sampling (defaults: what the model's file recommends, else these)",                                            \
	  .name = "temp",                                                                                                          \
	  .kind = ARG_NUMBER,                                                                                                      \
	  .target = &(s).temperature,                                                                                              \
	  .value = "T",                                                                                                            \
	  .high = 100,                                                                                                             \
	  .help = "temperature; 0 always takes the most probable token, without penalties unless they are given",                  \
	  .standard = "1.0" },                                                                                                     \
		{ .name = "top-p",                                                                                                     \
		  .kind = ARG_NUMBER,                                                                                                  \
		  .target = &(s).top_p,                                                                                                \
		  .value = "P",                                                                                                        \
		  .high = 1,                                                                                                           \
		  .help = "only the most probable tokens that together reach P",                                                       \
		  .standard = "0.3" },                                                                                                 \
		{ .name = "top-k",                                                                                                     \
		  .kind = ARG_COUNT,                                                                                                   \
		  .target = &(s).top_k,                                                                                                \
		  .value = "K",                                                                                                        \
		  .high = UINT32_MAX,                                                                                                  \
		  .help = "only the K most probable tokens; 0 is no limit",                                                            \
		  .standard = "0" },                                                                                                   \
		{ .name = "presence",                                                                                                  \
		  .kind = ARG_NUMBER,                                                                                                  \
		  .target = &(s).presence,                                                                                             \
		  .value = "A",                                                                                                        \
		  .low = -100,                                                                                                         \
		  .high = 100,                                                                                                         \
		  .help = "penalty for tokens already generated",                                                                      \
		  .standard = "0.5" },                                                                                                 \
		{ .name = "frequency",                                                                                                 \
		  .kind = ARG_NUMBER,                                                                                                  \
		  .target = &(s).frequency,                                                                                            \
		  .value = "B",                                                                                                        \
		  .low = -100,                                                                                                         \
		  .high = 100,                                                                                                         \
		  .help = "penalty for each time",                                                                                     \
		  .standard = "0.5" },                                                                                                 \
		{ .name = "decay",                                                                                                     \
		  .kind = ARG_NUMBER,                                                                                                  \
		  .target = &(s).decay,                                                                                                \
		  .value = "D",                                                                                                        \
		  .high = 1,                                                                                                           \
		  .help = "factor on those counts after each token",                                                                   \
		  .standard = "0.996" },                                                                                               \
	{                                                                                                                          \
		.name = "seed", .kind = ARG_COUNT, .target = &(s).seed, .value = "S", .help = "the same seed gives the same text",     \
		.standard = "random, and shown even with -q"                                                                           \
	}
#define ARGS_BIAS(s)                                                                                                           \
	{ .name = "ban",                                                                                                           \
	  .kind = ARG_TEXTS,                                                                                                       \
	  .target = &(s).bias.bans,                                                                                                \
	  .value = "ID",                                                                                                           \
	  .help = "never take the token ID; 1,2,3 for several, and may be given several times",                                    \
	  .standard = "none" },                                                                                                    \
	{                                                                                                                          \
		.name = "bias", .kind = ARG_TEXTS, .target = &(s).bias.biases, .value = "ID=VALUE",                                    \
		.help = "add VALUE to the logit of the token ID; several as for --ban", .standard = "none"                             \
	}
/* clang-format on */

/* A number to tell runs apart, short enough to be typed again. */
uint64_t sampling_random_seed(void);

/* The model's recommendation, overridden by the user's options; "--temp 0" also turns penalties off.  Without a seed in args
 * the seed is 0.  `biases` must live as long as the returned struct. */
rwkvk_sampling sampling_choose(const struct sampling_args *args, const rwkvk_model *model, const struct bias_list *biases);

/* Whether tokens are picked at random. */
bool sampling_is_drawn(const rwkvk_sampling *sampling);

/* "temperature 1, top-p 0.3, ..., seed 7" in `out`.  Returns out. */
const char *sampling_show(char *out, size_t size, const rwkvk_sampling *sampling);

/* Applies a word such as "top-p=0.5", by the rows above.  EXIT_DONE, or EXIT_FAILED after a message. */
int sampling_set(struct sampling_args *args, const char *word);

/* The names, from "temp" on; NULL past the last. */
const char *sampling_name(const void *user, size_t index);

void sampling_args_free(struct sampling_args *args);

#endif
