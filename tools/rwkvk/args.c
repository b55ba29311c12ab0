#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"

enum { MOST_ARGS = 40, LONG_BASE = 256, HELP_VALUE = LONG_BASE + MOST_ARGS, HELP_COLUMN = 22, HELP_WIDTH = 96 };

/* ---------------------------------------------------------------------------------------------------- help */

/* Prints words from column HELP_COLUMN on, broken before HELP_WIDTH; the line already has `column` characters. */
static void print_wrapped(const char *text, size_t column)
{
	while (*text) {
		size_t word = strcspn(text, " ");
		if (column + 1 + word > HELP_WIDTH) {
			out_printf("\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		}
		out_printf(" %.*s", (int)word, text);
		column += 1 + word;
		text += word + strspn(text + word, " ");
	}
}

static void print_arg(const struct arg *arg)
{
	char left[64], right[512];
	const char *value = arg->value ? arg->value : "", *gap = arg->value ? " " : "";
	if (arg->letter && arg->name)
		snprintf(left, sizeof(left), "  -%c, --%s%s%s", arg->letter, arg->name, gap, value);
	else if (arg->letter)
		snprintf(left, sizeof(left), "  -%c%s%s", arg->letter, gap, value);
	else
		snprintf(left, sizeof(left), "  --%s%s%s", arg->name, gap, value);
	snprintf(right, sizeof(right), arg->standard ? "%s (default: %s)" : "%s", arg->help, arg->standard);
	out_printf("%s", left);
	size_t column = strlen(left);
	if (column > HELP_COLUMN - 1) {
		out_printf("\n");
		column = 0;
	}
	out_printf("%*s", HELP_COLUMN - (int)column, "");
	print_wrapped(right, HELP_COLUMN);
	out_printf("\n");
}

static void print_usage(const struct usage *usage)
{
	out_printf("usage: rwkvk %s %s\n\n%s\n", usage->command, usage->synopsis, usage->about);
	for (size_t i = 0; i < usage->arg_count; i++) {
		if (usage->args[i].group)
			out_printf("\n%s\n", usage->args[i].group);
		print_arg(&usage->args[i]);
	}
	out_printf("\n");
	print_arg(&(struct arg){ .letter = 'h', .name = "help", .help = "print this" });
	if (usage->notes)
		out_printf("\n%s\n", usage->notes);
}

static void (*show_usage)(const struct usage *) = print_usage;

void args_show_usage(void (*show)(const struct usage *))
{
	show_usage = show ? show : print_usage;
}

/* ---------------------------------------------------------------------------------------------------- values */

struct option_name {
	char text[40];
};

static struct option_name option_name(const struct arg *arg)
{
	struct option_name name;
	if (arg->name)
		snprintf(name.text, sizeof(name.text), "--%s", arg->name);
	else
		snprintf(name.text, sizeof(name.text), "-%c", arg->letter);
	return name;
}

bool args_count(const char *text, uint64_t high, uint64_t *out)
{
	if (!*text || text[strspn(text, "0123456789")])
		return false;
	errno = 0;
	unsigned long long value = strtoull(text, NULL, 10);
	*out = value;
	return errno == 0 && value <= high;
}

bool args_size(const char *text, uint64_t *out)
{
	static const char units[] = "kMGT";
	size_t length = strspn(text, "0123456789");
	const char *unit = text[length] ? strchr(units, text[length]) : units;
	char digits[24];
	if (!unit || (text[length] && text[length + 1]) || length >= sizeof(digits))
		return false;
	memcpy(digits, text, length);
	digits[length] = 0;
	uint64_t factor = 1;
	for (const char *at = units; text[length] && at <= unit; at++)
		factor *= 1000;
	if (!args_count(digits, UINT64_MAX / factor, out))
		return false;
	*out *= factor;
	return true;
}

bool args_number(const char *text, double low, double high, float *out)
{
	char *end;
	if (!*text || text[strspn(text, "0123456789+-.eE")]) /* no blanks, hexadecimal digits, infinities */
		return false;
	errno = 0;
	double value = strtod(text, &end);
	*out = (float)value;
	return *end == 0 && end != text && (errno == 0 || value == 0) && value >= low && value <= high;
}

static int set_count(const struct usage *usage, const struct arg *arg, const char *text)
{
	struct arg_count *target = arg->target;
	uint64_t high = arg->high > 0 ? (uint64_t)arg->high : UINT64_MAX;
	if (!args_count(text, high, &target->value))
		return misused(usage->command, "%s: expected a whole number from 0 to %" PRIu64 ", got \"%.60s\"",
		               option_name(arg).text, high, text);
	target->given = true;
	return ARGS_GO_ON;
}

static int set_size(const struct usage *usage, const struct arg *arg, const char *text)
{
	struct arg_count *target = arg->target;
	if (!args_size(text, &target->value))
		return misused(usage->command, "%s: expected a number of bytes such as 500M or 4G, got \"%.60s\"",
		               option_name(arg).text, text);
	target->given = true;
	return ARGS_GO_ON;
}

static int set_number(const struct usage *usage, const struct arg *arg, const char *text)
{
	struct arg_number *target = arg->target;
	if (!args_number(text, arg->low, arg->high, &target->value))
		return misused(usage->command, "%s: expected a number from %g to %g, got \"%.60s\"", option_name(arg).text, arg->low,
		               arg->high, text);
	target->given = true;
	return ARGS_GO_ON;
}

static int set_word(const struct usage *usage, const struct arg *arg, const char *text)
{
	for (int i = 0; arg->words[i]; i++)
		if (strcmp(arg->words[i], text) == 0) {
			*(int *)arg->target = i;
			return ARGS_GO_ON;
		}
	return misused(usage->command, "%s: expected %s, got \"%.60s\"", option_name(arg).text, arg->value, text);
}

static int add_text(const struct usage *usage, const struct arg *arg, const char *text)
{
	struct arg_texts *target = arg->target;
	if (!*text)
		return misused(usage->command, "%s: expected a text, got nothing", option_name(arg).text);
	const char **larger = realloc(target->texts, (target->count + 1) * sizeof(*larger));
	if (!larger)
		return failed("out of memory");
	target->texts = larger;
	target->texts[target->count++] = text;
	return ARGS_GO_ON;
}

/* The text belongs to argv, so it may be cut where the scale begins: after the last colon, if a number follows. */
static int add_lora(const struct usage *usage, const struct arg *arg, const char *text)
{
	struct arg_loras *target = arg->target;
	rwkvk_lora lora = { .size = sizeof(lora), .path = text };
	char *colon = strrchr((char *)(uintptr_t)text, ':');
	bool scaled = colon && args_number(colon + 1, -1e6, 1e6, &lora.scale);
	if (scaled)
		*colon = 0;
	if (!*text)
		return misused(usage->command, "%s: expected FILE or FILE:SCALE, got no file", option_name(arg).text);
	if (scaled && lora.scale == 0)
		return misused(usage->command, "%s: expected a SCALE other than 0, which would add nothing of %.60s",
		               option_name(arg).text, text);
	if (target->count == MOST_LORAS)
		return misused(usage->command, "%s: expected at most %d adapters, got more", option_name(arg).text, MOST_LORAS);
	target->items[target->count++] = lora;
	return ARGS_GO_ON;
}

const char args_token_ids[] = "token ids such as 1,2,3";

int args_ids(const char *command, const char *option, const char *text, const char *expected, struct arg_ids *ids)
{
	static const char digits[] = "0123456789", blanks[] = " \t\r\n";
	free(ids->ids);
	*ids = (struct arg_ids){ .ids = malloc((strlen(text) / 2 + 1) * sizeof(uint32_t)), .given = true };
	if (!ids->ids)
		return failed("out of memory");
	const char *at = text + strspn(text, blanks);
	while (*at) {
		size_t length = strspn(at, digits), gap = strspn(at + length, blanks);
		unsigned long long id = length > 0 && length < 12 ? strtoull(at, NULL, 10) : ULLONG_MAX;
		at += length + gap;
		bool comma = *at == ',';
		if (comma)
			at += 1 + strspn(at + 1, blanks);
		if (id > UINT32_MAX || (comma ? *at == 0 : *at && gap == 0))
			return misused(command, "%s: expected %s, got \"%.60s\"", option, expected, text);
		ids->ids[ids->count++] = (uint32_t)id;
	}
	return ARGS_GO_ON;
}

static int set(const struct usage *usage, const struct arg *arg, const char *text)
{
	switch (arg->kind) {
	case ARG_FLAG:
		*(bool *)arg->target = true;
		return ARGS_GO_ON;
	case ARG_SWITCH:
		*(int *)arg->target = arg->store;
		return ARGS_GO_ON;
	case ARG_TEXT:
		*(const char **)arg->target = text;
		return ARGS_GO_ON;
	case ARG_TEXTS:
		return add_text(usage, arg, text);
	case ARG_LORAS:
		return add_lora(usage, arg, text);
	case ARG_WORD:
		return set_word(usage, arg, text);
	case ARG_COUNT:
		return set_count(usage, arg, text);
	case ARG_SIZE:
		return set_size(usage, arg, text);
	case ARG_NUMBER:
		return set_number(usage, arg, text);
	case ARG_IDS:
		return args_ids(usage->command, option_name(arg).text, text, args_token_ids, arg->target);
	case ARG_COUNTS:
		return args_ids(usage->command, option_name(arg).text, text, "whole numbers such as 128,512", arg->target);
	}
	return ARGS_GO_ON;
}

/* ---------------------------------------------------------------------------------------------------- options */

static const char *arg_long_name(const void *user, size_t index)
{
	const struct usage *usage = user;
	for (size_t i = 0; i < usage->arg_count; i++)
		if (usage->args[i].name && index-- == 0)
			return usage->args[i].name;
	return index == 0 ? "help" : NULL;
}

/* Whether the command's argument is a text, which may begin with anything. */
static bool takes_text(const struct usage *usage)
{
	return usage->operand && (strcmp(usage->operand, "PROMPT") == 0 || strcmp(usage->operand, "TEXT") == 0);
}

/* How to give the text, for users who expect an option for it or whose text looks like options; or "". */
static const char *text_hint(const struct usage *usage, const char *name)
{
	if (!takes_text(usage))
		return "";
	if (strcmp(name, "p") == 0 || strcmp(name, "prompt") == 0)
		return "; a text needs no option, as in: rwkvk generate \"Once upon a time\"";
	return "; a text that begins with - comes after --, as in: rwkvk generate -n 100 -- \"-1, 0, 1,\"";
}

static int unknown_option(const struct usage *usage, const char *word)
{
	if (optopt > 0 && optopt < LONG_BASE)
		return misused(usage->command, "unknown option \"-%c\"%s", optopt, text_hint(usage, (char[]){ (char)optopt, 0 }));
	if (optopt >= LONG_BASE)
		return misused(usage->command, "%.60s: takes no value", word);
	char name[64];
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	const char *guess = strcmp(name, "prompt") == 0 ? NULL : nearest(name, arg_long_name, usage);
	if (guess)
		return misused(usage->command, "unknown option \"--%s\"; did you mean \"--%s\"?", name, guess);
	return misused(usage->command, "unknown option \"--%s\"%s", name, text_hint(usage, name));
}

static const struct arg *find_arg(const struct usage *usage, int value)
{
	if (value >= LONG_BASE)
		return &usage->args[value - LONG_BASE];
	for (size_t i = 0; i < usage->arg_count; i++)
		if (usage->args[i].letter == value)
			return &usage->args[i];
	return NULL;
}

/* The table in getopt_long()'s own forms. */
static void make_getopt(const struct usage *usage, char *letters, struct option *names)
{
	*letters++ = ':';
	*letters++ = 'h';
	for (size_t i = 0; i < usage->arg_count; i++) {
		const struct arg *arg = &usage->args[i];
		if (arg->letter) {
			*letters++ = arg->letter;
			if (arg->value)
				*letters++ = ':';
		}
		if (arg->name)
			*names++ = (struct option){ arg->name, arg->value ? required_argument : no_argument, NULL, LONG_BASE + (int)i };
	}
	*letters = 0;
	*names++ = (struct option){ "help", no_argument, NULL, HELP_VALUE };
	*names = (struct option){ 0 };
}

/* ---------------------------------------------------------------------------------------------------- texts that begin with -
 */

/* Whether a value follows `word`, which begins with '-', as the next word. */
static bool value_follows(const struct usage *usage, const char *word)
{
	if (word[1] == '-') {
		for (size_t i = 0; i < usage->arg_count; i++)
			if (usage->args[i].name && usage->args[i].value && word[2] &&
			    strncmp(usage->args[i].name, word + 2, strlen(word + 2)) == 0)
				return true;
		return false;
	}
	for (const char *letter = word + 1; *letter; letter++) {
		const struct arg *arg = find_arg(usage, *letter);
		if (!arg || arg->value)
			return arg && !letter[1];
	}
	return false;
}

/* For an option that getopt_long() rejects: mingw-w64's reports a missing value and an unexpected value in the same way. */
static bool needs_value(const struct usage *usage, int value)
{
	return value != HELP_VALUE && find_arg(usage, value)->value;
}

/* Whether `word` begins with '-' but cannot be options, since it has a blank where options have none. */
static bool is_dashed_text(const struct usage *usage, const char *word)
{
	if (word[0] != '-' || !strpbrk(word, " \t\n"))
		return false;
	if (word[1] == '-')
		return strcspn(word, " \t\n") < strcspn(word, "=");
	const struct arg *arg = find_arg(usage, word[1]);
	return word[1] != 'h' && !(arg && arg->value);
}

/* Removes such a text from the words, so that getopt_long() does not take it for options; NULL: there is none. */
static char *take_dashed_text(const struct usage *usage, int *argc, char **argv)
{
	for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++) {
		char *word = argv[i];
		if (is_dashed_text(usage, word)) {
			memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(*argv)); /* and the final NULL */
			--*argc;
			return word;
		}
		if (word[0] == '-' && word[1])
			i += value_follows(usage, word);
	}
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- parsing */

static int take_operand(const struct usage *usage, int count, char **words, const char **operand)
{
	if (count > 0 && !usage->operand)
		return misused(usage->command, "unexpected argument \"%.60s\"", words[0]);
	if (usage->operands && count > (int)usage->operands)
		return misused(usage->command, "unexpected argument \"%.60s\"", words[usage->operands]);
	if (!usage->operands && count > 1)
		return misused(usage->command, "expected one %s, got %d arguments: a text with blanks goes in quotes", usage->operand,
		               count);
	for (int i = 0; i < count; i++)
		operand[i] = words[i];
	return ARGS_GO_ON;
}

int args_parse(const struct usage *usage, int argc, char **argv, const char **operand)
{
	char letters[2 * MOST_ARGS + 4];
	struct option names[MOST_ARGS + 2];
	if (usage->arg_count > MOST_ARGS)
		return failed("%s: more options than the parser holds", usage->command);
	make_getopt(usage, letters, names);
	opterr = 0;
	optind = 1; /* one table after another may be parsed */
	char *text = takes_text(usage) ? take_dashed_text(usage, &argc, argv) : NULL;
	for (;;) {
		int value = getopt_long(argc, argv, letters, names, NULL);
		if (value == -1 && text && argc == optind) {
			*operand = text;
			return ARGS_GO_ON;
		}
		if (value == -1)
			return take_operand(usage, argc - optind + (text != NULL), argv + optind, operand);
		if (value == 'h' || value == HELP_VALUE) {
			show_usage(usage);
			return EXIT_DONE;
		}
		if (value == '?' || (value == ':' && !needs_value(usage, optopt)))
			return unknown_option(usage, argv[optind - 1]);
		const struct arg *arg = find_arg(usage, value == ':' ? optopt : value);
		if (value == ':')
			return misused(usage->command, "%s: expected %s", option_name(arg).text, arg->value);
		int code = set(usage, arg, optarg);
		if (code != ARGS_GO_ON)
			return code;
	}
}
