#include "manual.h"

#include <stdio.h>
#include <string.h>

#include "args.h"
#include "streams.h"

/* ---------------------------------------------------------------------------------------------------- going through the tables
 */

/* Asks a command for help: it passes its table to the function given to args_show_usage(). */
static void ask(const struct command *command, const char *part)
{
	char name[32], word[32], help[] = "--help";
	snprintf(name, sizeof(name), "%s", command->name);
	snprintf(word, sizeof(word), "%s", part ? part : "");
	command->run(part ? 3 : 2, part ? (char *[]){ name, word, help, NULL } : (char *[]){ name, help, NULL });
}

/* The next of the words that blanks separate, and what follows it; false past the last. */
static bool next_word(const char **at, char *word, size_t size)
{
	size_t length = strcspn(*at, " ");
	snprintf(word, size, "%.*s", (int)length, *at);
	*at += length + strspn(*at + length, " ");
	return length > 0;
}

static const char *parts;

static void take_parts(const struct usage *usage)
{
	parts = usage->parts ? usage->parts : "";
}

/* A command's subcommands, "" if none. */
static const char *parts_of(const struct command *command)
{
	args_show_usage(take_parts);
	ask(command, NULL);
	args_show_usage(NULL);
	return parts;
}

static void ask_all(const struct command *command, void (*show)(const struct usage *))
{
	char part[32];
	const char *at = parts_of(command);
	args_show_usage(show);
	ask(command, NULL);
	while (next_word(&at, part, sizeof(part)))
		ask(command, part);
	args_show_usage(NULL);
}

static bool is_file(const char *value)
{
	static const char *const names[] = { "FILE", "MODEL", "MODEL2", "IN", "OUT", "A.JSON", "FOLDER", "DIR" };
	size_t length = value ? strcspn(value, "[=: ") : 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == length && strncmp(value, names[i], length) == 0)
			return true;
	return false;
}

/* ---------------------------------------------------------------------------------------------------- the man page */

/* Text for troff: escapes a point or quote that begins a line, which would be a request, and makes dashes those of options. */
static void put_roff(const char *text)
{
	bool begins = true;
	for (; *text; text++) {
		if (begins && (*text == '.' || *text == '\''))
			out_printf("\\&");
		if (*text == '\\')
			out_printf("\\e");
		else
			out_printf("%s%c", *text == '-' ? "\\" : "", *text);
		begins = *text == '\n';
	}
}

static void man_arg(const struct arg *arg)
{
	out_printf(".TP\n");
	if (arg->letter)
		out_printf("\\fB\\-%c\\fR", arg->letter);
	if (arg->name) {
		out_printf("%s\\fB\\-\\-", arg->letter ? ", " : "");
		put_roff(arg->name);
		out_printf("\\fR");
	}
	if (arg->value) {
		out_printf(" \\fI");
		put_roff(arg->value);
		out_printf("\\fR");
	}
	out_printf("\n");
	put_roff(arg->help);
	if (arg->standard) {
		out_printf(" (default: ");
		put_roff(arg->standard);
		out_printf(")");
	}
	out_printf("\n");
}

static void man_usage(const struct usage *usage)
{
	out_printf(".SS rwkvk ");
	put_roff(usage->command);
	out_printf("\n.nf\nrwkvk ");
	put_roff(usage->command);
	out_printf(" ");
	put_roff(usage->synopsis);
	out_printf("\n.fi\n.PP\n");
	put_roff(usage->about);
	out_printf("\n");
	for (size_t i = 0; i < usage->arg_count; i++) {
		if (usage->args[i].group) {
			out_printf(".PP\n");
			put_roff(usage->args[i].group);
			out_printf(":\n");
		}
		man_arg(&usage->args[i]);
	}
	if (usage->notes) {
		out_printf(".PP\n.nf\n");
		put_roff(usage->notes);
		out_printf("\n.fi\n");
	}
}

static void man_page(const struct command *commands, size_t count)
{
	out_printf(".TH RWKVK 1 \"\" \"rwkvk %s\" \"User Commands\"\n"
	           ".SH NAME\nrwkvk \\- run RWKV language models on any Vulkan device\n"
	           ".SH SYNOPSIS\n.B rwkvk\n\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]\n"
	           ".SH DESCRIPTION\nWithout a model of your own, a small one that writes stories is part of the program:\n"
	           ".PP\n.nf\n    rwkvk generate \"Once upon a time\"\n.fi\n.PP\nThe commands:\n",
	           rwkvk_version());
	for (size_t i = 0; i < count; i++) {
		out_printf(".TP\n\\fB%s\\fR\n", commands[i].name);
		put_roff(commands[i].summary);
		out_printf("\n");
	}
	out_printf(".SH COMMANDS\nEach also takes \\fB\\-h\\fR, \\fB\\-\\-help\\fR.\n");
	for (size_t i = 0; i < count; i++)
		ask_all(&commands[i], man_usage);
	out_printf(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl\\-C, 143 by SIGTERM.\n"
	           ".SH ENVIRONMENT\n"
	           ".TP\n\\fBRWKVK_DEVICE\\fR\nThe device to use, by index or part of its name, where none is asked for.\n"
	           ".TP\n\\fBRWKVK_CACHE_DIR\\fR\nThe folder of compiled pipelines and tunings; empty: none.\n"
	           ".SH FILES\n"
	           ".TP\n\\fI$XDG_CACHE_HOME/rwkvk\\fR, \\fI~/.cache/rwkvk\\fR\nCompiled pipelines and tunings, if "
	           "RWKVK_CACHE_DIR is not set.\n");
}

/* ---------------------------------------------------------------------------------------------------- bash */

static void bash_options(const struct usage *usage)
{
	out_printf("        options=\"");
	for (size_t i = 0; i < usage->arg_count; i++) {
		const struct arg *arg = &usage->args[i];
		if (arg->name)
			out_printf("--%s ", arg->name);
		else
			out_printf("-%c ", arg->letter);
	}
	out_printf("--help\"\n");
}

static void bash_value(const struct arg *arg)
{
	out_printf("        ");
	if (arg->letter)
		out_printf("-%c%s", arg->letter, arg->name ? "|" : "");
	if (arg->name)
		out_printf("--%s", arg->name);
	if (arg->kind == ARG_WORD) {
		out_printf(") words=\"");
		for (int i = 0; arg->words[i]; i++)
			out_printf("%s%s", i ? " " : "", arg->words[i]);
		out_printf("\" ;;\n");
	} else {
		out_printf(") kind=%s ;;\n", is_file(arg->value) ? "file" : "none");
	}
}

static void bash_usage(const struct usage *usage)
{
	out_printf("    \"%s\")\n", usage->command);
	bash_options(usage);
	out_printf("        kind=%s\n        case $previous in\n", is_file(usage->operand) ? "file" : "none");
	for (size_t i = 0; i < usage->arg_count; i++)
		if (usage->args[i].value)
			bash_value(&usage->args[i]);
	out_printf("        esac ;;\n");
}

static void bash_script(const struct command *commands, size_t count)
{
	out_printf("# Completion of rwkvk in bash; made by rwkvk %s from the tables that --help prints.\n"
	           "_rwkvk() {\n"
	           "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
	           "    local command=${COMP_WORDS[1]} options='' words='' kind=none first=2\n"
	           "    COMPREPLY=()\n"
	           "    compopt +o default\n"
	           "    case \"$command ${COMP_WORDS[2]}\" in\n",
	           rwkvk_version());
	for (size_t i = 0; i < count; i++) {
		char part[32];
		for (const char *at = parts_of(&commands[i]); next_word(&at, part, sizeof(part));)
			out_printf("    \"%s %s\") command=\"%s %s\" first=3 ;;\n", commands[i].name, part, commands[i].name, part);
	}
	out_printf("    esac\n    [ \"$COMP_CWORD\" -ge \"$first\" ] || command=${command%%%% *}\n"
	           "    if [ \"$COMP_CWORD\" -eq 1 ]; then command=; words=\"");
	for (size_t i = 0; i < count; i++)
		out_printf("%s ", commands[i].name);
	out_printf("--help --version\"; fi\n    case $command in\n");
	for (size_t i = 0; i < count; i++)
		ask_all(&commands[i], bash_usage);
	out_printf("    esac\n    case $command:$COMP_CWORD in\n    help:2) words=\"");
	for (size_t i = 0; i < count; i++)
		out_printf("%s%s", i ? " " : "", commands[i].name);
	out_printf("\" ;;\n");
	for (size_t i = 0; i < count; i++)
		if (*parts_of(&commands[i]))
			out_printf("    %s:2) words=\"%s\" ;;\n", commands[i].name, parts);
	out_printf("    esac\n"
	           "    if [ -n \"$words\" ]; then\n"
	           "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	           "    elif [[ $current == -* ]]; then\n"
	           "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\")\n"
	           "    elif [ \"$kind\" = file ]; then\n"
	           "        compopt -o default\n"
	           "    fi\n"
	           "}\n"
	           "complete -F _rwkvk rwkvk\n");
}

/* ---------------------------------------------------------------------------------------------------- zsh */

/* Inside single quotes, where _arguments and _describe read it. */
static void put_zsh(const char *text)
{
	for (; *text; text++)
		if (*text == '\'')
			out_printf("'\\''");
		else
			out_printf("%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
}

static void zsh_value(const struct arg *arg)
{
	if (!arg->value)
		return;
	out_printf(":");
	put_zsh(arg->value);
	out_printf(":");
	if (arg->kind == ARG_WORD) {
		out_printf("(");
		for (int i = 0; arg->words[i]; i++)
			out_printf("%s%s", i ? " " : "", arg->words[i]);
		out_printf(")");
	} else if (is_file(arg->value)) {
		out_printf("_files");
	}
}

static void zsh_spelling(const struct arg *arg, const char *spelling, const char *other)
{
	bool many = arg->kind == ARG_TEXTS;
	out_printf(" \\\n            '");
	if (many)
		out_printf("*");
	else if (*other)
		out_printf("(%s)", other);
	out_printf("%s[", spelling);
	put_zsh(arg->help);
	out_printf("]");
	zsh_value(arg);
	out_printf("'");
}

static void zsh_usage(const struct usage *usage)
{
	out_printf("    \"%s\")\n        _arguments -s '(-)'{-h,--help}'[print help]'", usage->command);
	for (size_t i = 0; i < usage->arg_count; i++) {
		const struct arg *arg = &usage->args[i];
		char letter[4] = "", name[64] = "";
		if (arg->letter)
			snprintf(letter, sizeof(letter), "-%c", arg->letter);
		if (arg->name)
			snprintf(name, sizeof(name), "--%s", arg->name);
		if (arg->letter)
			zsh_spelling(arg, letter, name);
		if (arg->name)
			zsh_spelling(arg, name, letter);
	}
	if (is_file(usage->operand))
		out_printf(" \\\n            '*:%s:_files'", usage->operand);
	out_printf(" ;;\n");
}

/* "info|convert" */
static struct alternatives {
	char text[64];
} alternatives(const char *words)
{
	struct alternatives a;
	snprintf(a.text, sizeof(a.text), "%s", words);
	for (char *c = a.text; *c; c++)
		if (*c == ' ')
			*c = '|';
	return a;
}

static void zsh_script(const struct command *commands, size_t count)
{
	out_printf("#compdef rwkvk\n"
	           "# Completion of rwkvk in zsh; made by rwkvk %s from the tables that --help prints.\n"
	           "_rwkvk() {\n    local -a commands parts\n    commands=(\n",
	           rwkvk_version());
	for (size_t i = 0; i < count; i++) {
		out_printf("        '%s:", commands[i].name);
		put_zsh(commands[i].summary);
		out_printf("'\n");
	}
	out_printf("    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n"
	           "    local command=$words[2]\n    shift words\n    ((CURRENT--))\n    case $command in\n"
	           "    help) _describe command commands; return ;;\n");
	for (size_t i = 0; i < count; i++)
		if (*parts_of(&commands[i]))
			out_printf(
				"    %s)\n        parts=(%s)\n        if ((CURRENT == 2)); then\n            compadd -a parts\n"
				"        elif [[ $words[2] == (%s) ]]; then\n            command+=\" $words[2]\"\n            shift words\n"
				"            ((CURRENT--))\n        fi ;;\n",
				commands[i].name, parts, alternatives(parts).text);
	out_printf("    esac\n    case $command in\n");
	for (size_t i = 0; i < count; i++)
		ask_all(&commands[i], zsh_usage);
	out_printf("    esac\n}\n_rwkvk \"$@\"\n");
}

/* ---------------------------------------------------------------------------------------------------- fish */

static void fish_describe(const char *text)
{
	out_printf(" -d '");
	for (; *text; text++)
		out_printf("%s%c", strchr("\\'", *text) ? "\\" : "", *text);
	out_printf("'\n");
}

static void fish_usage(const struct usage *usage)
{
	for (size_t i = 0; i < usage->arg_count; i++) {
		const struct arg *arg = &usage->args[i];
		const char *part = strchr(usage->command, ' ');
		out_printf("complete -c rwkvk -n '__fish_seen_subcommand_from %.*s%s%s'", (int)strcspn(usage->command, " "),
		           usage->command, part ? "; and __fish_seen_subcommand_from" : "", part ? part : "");
		if (arg->letter)
			out_printf(" -s %c", arg->letter);
		if (arg->name)
			out_printf(" -l %s", arg->name);
		if (arg->kind == ARG_WORD) {
			out_printf(" -x -a '");
			for (int j = 0; arg->words[j]; j++)
				out_printf("%s%s", j ? " " : "", arg->words[j]);
			out_printf("'");
		} else if (arg->value) {
			out_printf("%s", is_file(arg->value) ? " -r -F" : " -x");
		}
		fish_describe(arg->help);
	}
	if (!is_file(usage->operand))
		out_printf("complete -c rwkvk -n '__fish_seen_subcommand_from %s' -f\n", usage->command);
}

static void fish_script(const struct command *commands, size_t count)
{
	out_printf("# Completion of rwkvk in fish; made by rwkvk %s from the tables that --help prints.\n"
	           "complete -c rwkvk -n __fish_use_subcommand -f\n",
	           rwkvk_version());
	for (size_t i = 0; i < count; i++) {
		out_printf("complete -c rwkvk -n __fish_use_subcommand -a %s", commands[i].name);
		fish_describe(commands[i].summary);
		out_printf("complete -c rwkvk -n '__fish_seen_subcommand_from help' -f -a %s", commands[i].name);
		fish_describe(commands[i].summary);
		if (*parts_of(&commands[i]))
			out_printf(
				"complete -c rwkvk -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from %s' -f -a '%s'\n",
				commands[i].name, parts, parts);
		ask_all(&commands[i], fish_usage);
	}
}

/* ---------------------------------------------------------------------------------------------------- all of them */

const char *const manual_forms[] = { "man", "bash", "zsh", "fish", NULL };

void manual_print(int form, const struct command *commands, size_t count)
{
	static void (*const print[])(const struct command *, size_t) = { man_page, bash_script, zsh_script, fish_script };
	print[form](commands, count);
}
