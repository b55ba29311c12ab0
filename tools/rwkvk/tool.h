/* Shared by all parts of the program: exit codes, the messages on standard error, the commands. */
#ifndef RWKVK_TOOL_H
#define RWKVK_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rwkvk.h"
#include "rwkvk_tools.h"

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_INTERRUPTED = 130, /* what shells report for a program that Ctrl-C ended */
};

#if defined(__MINGW32__) && !defined(__clang__) /* where `printf` means Microsoft's */
#define TOOL_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#elif defined(__GNUC__)
#define TOOL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define TOOL_PRINTF(text, first)
#endif

/* Prints "rwkvk: TEXT" on standard error and returns EXIT_FAILED. */
int failed(const char *format, ...) TOOL_PRINTF(1, 2);

/* The library's last error, in the same form, with the library's names replaced by the program's options. */
int failed_call(void);

/* The same after a call that Ctrl-C may have ended: in that case EXIT_INTERRUPTED without a message. */
int failed_with(rwkvk_status status);

/* A mistake on the command line: the message, then how to get help; returns EXIT_USAGE.  `command` may be NULL. */
int misused(const char *command, const char *format, ...) TOOL_PRINTF(2, 3);

/* "rwkvk: warning: TEXT" on standard error, even with -q. */
void warn(const char *format, ...) TOOL_PRINTF(1, 2);

/* A line for the user on standard error that -q silences. */
void note(const char *format, ...) TOOL_PRINTF(1, 2);
void set_quiet(bool quiet);
bool is_quiet(void);

/* The candidate that the user most likely meant by `word`, or NULL.  `get(user, i)` returns NULL past the last one. */
const char *nearest(const char *word, const char *(*get)(const void *user, size_t index), const void *user);

int cmd_generate(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_tune(int argc, char **argv);
int cmd_state(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_convert(int argc, char **argv);

#endif
