/* The program: finds the command and runs it.  Each command parses its own arguments (args.h) and returns the exit code.
 * The locale is never set, so numbers are read and written with a point everywhere. */
#include "tool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "fields.h"
#include "manual.h"
#include "streams.h"
#include "system.h"
#include "terminal.h"

static int cmd_help(int argc, char **argv);

static const struct command commands[] = {
	{ "generate", "write text that continues a prompt", cmd_generate },
	{ "chat", "talk with a model", cmd_chat },
	{ "serve", "serve OpenAI's API and a web page", cmd_serve },
	{ "devices", "list the Vulkan devices", cmd_devices },
	{ "inspect", "show the contents of a model file", cmd_inspect },
	{ "tokenize", "turn text into token ids, or back", cmd_tokenize },
	{ "logits", "write the raw logits of a prompt", cmd_logits },
	{ "perplexity", "measure how well a model predicts a text, and the cost of quantising", cmd_perplexity },
	{ "bench", "measure how fast a device runs models, and its limits", cmd_bench },
	{ "verify", "check that a device computes a model correctly", cmd_verify },
	{ "tune", "find the best way to divide a model's work on a device, and keep it", cmd_tune },
	{ "state", "show the contents of a state file, or convert it", cmd_state },
	{ "quantize", "write a model with fewer bits per weight, as GGUF", cmd_quantize },
	{ "convert", "write a model as GGUF or safetensors", cmd_convert },
	{ "help", "explain a command", cmd_help },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static bool quiet;

void set_quiet(bool value)
{
	quiet = value;
}

bool is_quiet(void)
{
	return quiet;
}

static void complain(const char *kind, const char *format, va_list list)
{
	fprintf(stderr, "rwkvk: %s", kind);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	fflush(stderr);
}

int failed(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	complain("", format, list);
	va_end(list);
	return EXIT_FAILED;
}

int failed_call(void)
{
	char text[FIELDS_SIZE];
	return failed("%s", fields_as_options(text, sizeof(text), rwkvk_last_error()));
}

int failed_with(rwkvk_status status)
{
	return status == RWKVK_CANCELLED ? EXIT_INTERRUPTED : failed_call();
}

int misused(const char *command, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	complain("", format, list);
	va_end(list);
	fprintf(stderr, "Try: rwkvk %s%s--help\n", command ? command : "", command ? " " : "");
	return EXIT_USAGE;
}

void warn(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	complain("warning: ", format, list);
	va_end(list);
}

void note(const char *format, ...)
{
	if (quiet)
		return;
	va_list list;
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	fflush(stderr);
}

/* How many characters must be inserted, deleted or replaced to turn a into b; words longer than the table are far. */
static size_t edit_distance(const char *a, const char *b)
{
	enum { LONGEST = 40 };
	size_t row[LONGEST + 1], a_length = strlen(a), b_length = strlen(b);
	if (a_length > LONGEST || b_length > LONGEST)
		return LONGEST;
	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_length];
}

const char *nearest(const char *word, const char *(*get)(const void *user, size_t index), const void *user)
{
	const char *best = NULL;
	size_t best_distance = strlen(word) / 3 + 1; /* a larger distance would be guessing */
	for (size_t i = 0;; i++) {
		const char *candidate = get(user, i);
		if (!candidate)
			return best;
		size_t distance = edit_distance(word, candidate), common = strlen(candidate);
		if (strlen(word) < common)
			common = strlen(word);
		if (common >= 3 && strncmp(word, candidate, common) == 0)
			distance = 1; /* one begins with the other */
		if (distance <= best_distance && (!best || distance < best_distance)) {
			best = candidate;
			best_distance = distance;
		}
	}
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static const char *command_name(const void *user, size_t index)
{
	(void)user;
	return index < COMMAND_COUNT ? commands[index].name : NULL;
}

static int unknown_command(const char *name)
{
	if (name[0] == '-')
		return misused(NULL, "unknown option \"%s\"; a command comes first, as in: rwkvk generate -n 100", name);
	const char *guess = nearest(name, command_name, NULL);
	if (guess)
		return misused(NULL, "unknown command \"%s\"; did you mean \"%s\"?", name, guess);
	return misused(NULL, "unknown command \"%s\"", name);
}

static int print_help(void)
{
	out_printf("rwkvk runs RWKV language models on any Vulkan device.\n\nusage: rwkvk COMMAND [OPTION]... [ARGUMENT]\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		out_printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	out_printf(
		"\n  --version  print the version\n  --help     print this; `rwkvk COMMAND --help` lists a command's options and "
		"their defaults\n"
		"\nTo see text at once, with the small built-in model:\n"
		"  rwkvk generate \"Once upon a time\"\n"
		"\nExit codes: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C, 143 by SIGTERM.\n");
	return EXIT_DONE;
}

static int cmd_help(int argc, char **argv)
{
	int form = -1;
	const char *name_of = NULL;
	const struct arg args[] = {
		{ .name = "as",
		  .kind = ARG_WORD,
		  .target = &form,
		  .words = manual_forms,
		  .value = "man|bash|zsh|fish",
		  .help = "print a man page, or the completion script for this shell" },
	};
	const struct usage usage = { .command = "help",
		                         .synopsis = "[COMMAND]\n       rwkvk help --as FORM",
		                         .about = "Explains a command, or lists all.",
		                         .args = args,
		                         .arg_count = 1,
		                         .operand = "COMMAND" };
	int code = args_parse(&usage, argc, argv, &name_of);
	if (code != ARGS_GO_ON)
		return code;
	if (form >= 0) {
		manual_print(form, commands, COMMAND_COUNT);
		return EXIT_DONE;
	}
	if (!name_of)
		return print_help();
	const struct command *command = find_command(name_of);
	if (!command)
		return unknown_command(name_of);
	char name[16], option[] = "--help";
	snprintf(name, sizeof(name), "%s", command->name);
	return command->run(2, (char *[]){ name, option, NULL });
}

static int run(int argc, char **argv)
{
	if (argc < 2) {
		fputs("usage: rwkvk COMMAND [OPTION]... [ARGUMENT]\nCommands:", stderr);
		for (size_t i = 0; i < COMMAND_COUNT; i++)
			fprintf(stderr, "%s %s", i ? "," : "", commands[i].name);
		fputs("\nTry: rwkvk generate \"Once upon a time\", or rwkvk --help\n", stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		out_printf("rwkvk %s\n", rwkvk_version());
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return print_help();
	const struct command *command = find_command(argv[1]);
	return command ? command->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
	system_begin();
	interrupt_install();
	return interrupt_finish(out_finish(run(argc, argv)));
}
