/* The options of the state store, and its address, which may hold a password: from an option, a file or the environment. */
#ifndef RWKVK_TOOL_STORE_ARGS_H
#define RWKVK_TOOL_STORE_ARGS_H

#include "args.h"

struct store_args {
	char *url; /* argv's */
	const char *file;
	struct arg_count ttl, tokens, wait;
	char address[2048];
};

/* clang-format off: a row is an option */
#define ARGS_STORE(s)                                                                                                          \
	{ .name = "state-store",                                                                                                   \
	  .kind = ARG_TEXT,                                                                                                        \
	  .target = &(s).url,                                                                                                      \
	  .value = "URL",                                                                                                          \
	  .help = "a Redis or Valkey server for states, which machines share: redis://HOST[:PORT][/DB]; see docs/cache.md",        \
	  .standard = "$RWKVK_STATE_STORE, else none" },                                                                           \
		{ .name = "state-store-file",                                                                                          \
		  .kind = ARG_TEXT,                                                                                                    \
		  .target = &(s).file,                                                                                                 \
		  .value = "FILE",                                                                                                     \
		  .help = "the same from a file's first line, for a URL with a password: redis://USER:PASSWORD@HOST",                  \
		  .standard = "none" },                                                                                                \
		{ .name = "state-ttl",                                                                                                 \
		  .kind = ARG_COUNT,                                                                                                   \
		  .target = &(s).ttl,                                                                                                  \
		  .value = "SECONDS",                                                                                                  \
		  .high = 1 << 30,                                                                                                     \
		  .help = "how long the store keeps a state after its last use",                                                       \
		  .standard = "0, while it has room" },                                                                                \
		{ .name = "state-store-tokens",                                                                                        \
		  .kind = ARG_COUNT,                                                                                                   \
		  .target = &(s).tokens,                                                                                               \
		  .value = "N",                                                                                                        \
		  .high = 1 << 30,                                                                                                     \
		  .help = "ask it for beginnings of a prompt that are so many tokens longer than what is known here",                  \
		  .standard = "128" },                                                                                                 \
	{                                                                                                                          \
		.name = "state-store-wait", .kind = ARG_COUNT, .target = &(s).wait, .value = "MS", .high = 60000,                      \
		.help = "how long a prompt waits for it at most", .standard = "500"                                                    \
	}
/* clang-format on */

/* Finds the address, and hides a password in the list of processes; so it is called first.  Returns ARGS_GO_ON or an exit code.
 */
int store_args_read(const char *command, struct store_args *args);
/* Sets what belongs to the store; the address stays that of `args` until it is forgotten. */
void store_args_set(const struct store_args *args, rwkvk_cache_options *options);
void store_args_forget(struct store_args *args);

#endif
