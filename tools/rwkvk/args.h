/* A command's options as a table: parsed with getopt_long(), and printed by --help from the same rows.
 *
 *     bool json = false;
 *     const struct arg args[] = {{.name = "json", .kind = ARG_FLAG, .target = &json, .help = "print JSON"}};
 *     const struct usage usage = {.command = "devices", .args = args, .arg_count = 1, ...};
 *     int code = args_parse(&usage, argc, argv, &rest);
 *     if (code != ARGS_GO_ON)
 *             return code;
 *
 * A number must fill its whole string and lie within a range; an error names the option, the expectation and the finding. */
#ifndef RWKVK_TOOL_ARGS_H
#define RWKVK_TOOL_ARGS_H

#include "tool.h"

enum arg_kind {
	ARG_FLAG,   /* bool: becomes true */
	ARG_SWITCH, /* int: set to .store, for pairs such as --bos and --no-bos */
	ARG_TEXT,   /* const char * */
	ARG_TEXTS,  /* struct arg_texts: may be given several times; none may be empty */
	ARG_WORD,   /* int: the index in .words */
	ARG_COUNT,  /* struct arg_count, from 0 to .high */
	ARG_SIZE,   /* struct arg_count: bytes, as 500M or 4G */
	ARG_NUMBER, /* struct arg_number, from .low to .high */
	ARG_IDS,    /* struct arg_ids: token ids */
	ARG_COUNTS, /* struct arg_ids: a list of counts, one for each measurement */
	ARG_LORAS,  /* struct arg_loras: FILE or FILE:SCALE, may be given several times */
};

struct arg_texts {
	const char **texts; /* to be freed; the texts are argv's */
	size_t count;
};

struct arg_count {
	uint64_t value;
	bool given;
};

struct arg_number {
	float value;
	bool given;
};

struct arg_ids {
	uint32_t *ids; /* to be freed */
	size_t count;
	bool given;
};

enum { MOST_LORAS = 16 };

struct arg_loras {
	rwkvk_lora items[MOST_LORAS]; /* the paths are argv's */
	size_t count;
};

struct arg {
	const char *group; /* heading above this row in --help; NULL: same group as the row before */
	const char *name;  /* without dashes; NULL: the option has only a letter */
	char letter;       /* 0: the option has only a name */
	enum arg_kind kind;
	void *target;
	const char *value;    /* the value's name in --help; NULL: takes none */
	const char *help;     /* what it does */
	const char *standard; /* the default, as --help shows it; NULL: not shown */
	int store;
	const char *const *words; /* ends in NULL */
	double low;
	double high; /* ARG_COUNT: 0 means no limit but 64 bits */
};

struct usage {
	const char *command;
	const char *synopsis; /* after "rwkvk COMMAND " */
	const char *about;
	const struct arg *args;
	size_t arg_count;
	const char *operand; /* name of the positional argument; NULL: there is none */
	size_t operands;     /* the most that may be given; 0: one */
	const char *notes;   /* after the options */
	const char *parts;   /* subcommands: "info convert"; NULL: none */
};

enum { ARGS_GO_ON = -1 };

/* Fills the targets and sets *operand, or as many as there are (untouched when absent).  ARGS_GO_ON, or the exit code after
 * help or an error. */
int args_parse(const struct usage *usage, int argc, char **argv, const char **operand);

/* From now on --help passes the table to `show` instead of printing it; NULL: prints it. */
void args_show_usage(void (*show)(const struct usage *usage));

/* The number that the whole text holds, from 0 to high, or from low to high.  false if it holds anything else. */
bool args_count(const char *text, uint64_t high, uint64_t *out);
bool args_size(const char *text, uint64_t *out); /* bytes: 4096, 500M, 4G (powers of 1000, as sizes are shown) */
bool args_number(const char *text, double low, double high, float *out);

/* Reads "1,2,3" or "1 2 3".  ARGS_GO_ON, or EXIT_USAGE after a message that names `option` and what was `expected`. */
int args_ids(const char *command, const char *option, const char *text, const char *expected, struct arg_ids *ids);

/* What the messages say is expected of token ids. */
extern const char args_token_ids[];

#endif
