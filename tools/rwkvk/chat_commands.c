/* Lines that begin with /: one table, which help and completion use as well. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "streams.h"
#include "system.h"

enum completes { WITH_NOTHING, WITH_COMMANDS, WITH_BRANCHES, WITH_THINK, WITH_SAMPLING };

struct command {
	const char *name, *argument, *help;
	enum completes completes;
	int (*run)(struct chat *chat, char *argument); /* the argument: "" if there is none */
};

void chat_say(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}

/* ---------------------------------------------------------------------------------------------------- what is said */

static int run_system(struct chat *chat, char *argument)
{
	if (!argument[0]) {
		chat_say("%s", chat->conversation.system[0] ? chat->conversation.system : "there is no system message");
		return EXIT_DONE;
	}
	if (!conversation_set(&chat->conversation.system, strcmp(argument, "-") == 0 ? "" : argument))
		return failed("out of memory");
	return chat_keep(chat);
}

/* "a bit" is as good as "a-bit". */
static int run_think(struct chat *chat, char *argument)
{
	int mode = 0;
	for (char *at = argument; *at; at++)
		if (*at == ' ')
			*at = '-';
	if (!argument[0]) {
		chat_say("think mode %s", think_names[chat->conversation.think]);
		return EXIT_DONE;
	}
	while (think_names[mode] && strcmp(think_names[mode], argument) != 0)
		mode++;
	if (!think_names[mode])
		return failed("/think: expected off, fake, on, a bit or a lot, got \"%.60s\"", argument);
	if (!chat_can_think(chat->conversation.chat, (rwkvk_chat_think)mode))
		return failed_call();
	chat->conversation.think = (rwkvk_chat_think)mode;
	return chat_keep(chat);
}

static int run_retry(struct chat *chat, char *argument)
{
	(void)argument;
	struct conversation *c = &chat->conversation;
	size_t last = conversation_last(c);
	if (last == NO_MESSAGE)
		return failed("/retry: nothing has been said yet");
	if (conversation_is_answered(c))
		conversation_go_back(c, c->messages[last].parent);
	int code = chat_answer(chat);
	if (!conversation_is_answered(c))
		conversation_go_back(c, last);
	conversation_prune(c);
	int kept = chat_keep(chat);
	return code == EXIT_DONE ? kept : code;
}

static int run_undo(struct chat *chat, char *argument)
{
	(void)argument;
	struct conversation *c = &chat->conversation;
	size_t last = conversation_last(c);
	if (last == NO_MESSAGE)
		return failed("/undo: nothing has been said yet");
	if (conversation_is_answered(c))
		last = c->messages[last].parent;
	conversation_go_back(c, c->messages[last].parent);
	conversation_prune(c);
	size_t left = conversation_path(c, NULL);
	chat_say("taken back; %zu message%s left", left, left == 1 ? " is" : "s are");
	return chat_keep(chat);
}

/* ---------------------------------------------------------------------------------------------------- branches */

static void list_branches(const struct conversation *c)
{
	for (size_t i = 0; i < c->branch_count; i++)
		chat_say("%s %s", i == c->current ? "*" : " ", c->branches[i].name);
}

static int run_fork(struct chat *chat, char *argument)
{
	struct conversation *c = &chat->conversation;
	if (!conversation_is_name(argument))
		return failed("/fork: expected a name without blanks, of at most 60 bytes");
	if (conversation_find(c, argument) < c->branch_count)
		return failed("/fork: there is a branch \"%s\"; /switch %s goes there", argument, argument);
	if (!conversation_fork(c, argument))
		return failed("out of memory");
	return chat_keep(chat);
}

static const char *branch_name(const void *user, size_t index)
{
	const struct conversation *c = user;
	return index < c->branch_count ? c->branches[index].name : NULL;
}

/* The last message there, to show the user where they are. */
static void show_end(const struct conversation *c)
{
	enum { MOST = 200 };
	size_t last = conversation_last(c);
	const char *text = last == NO_MESSAGE ? "" : c->messages[last].text;
	size_t from = strlen(text) > MOST ? strlen(text) - MOST : 0;
	while (((unsigned char)text[from] & 0xc0) == 0x80) /* inside a character */
		from++;
	if (text[0])
		chat_say("%s%s", from > 0 ? "..." : "", text + from);
}

static int run_switch(struct chat *chat, char *argument)
{
	struct conversation *c = &chat->conversation;
	size_t found = conversation_find(c, argument);
	if (!argument[0]) {
		list_branches(c);
		return EXIT_DONE;
	}
	if (found == c->branch_count) {
		const char *guess = nearest(argument, branch_name, c);
		return failed("/switch: there is no branch \"%.60s\"%s%s%s", argument,
		              guess ? "; did you mean \"" : "; /switch lists them", guess ? guess : "", guess ? "\"?" : "");
	}
	c->current = found;
	show_end(c);
	return chat_keep(chat);
}

/* ---------------------------------------------------------------------------------------------------- files */

static int run_save(struct chat *chat, char *argument)
{
	struct system_lock *lock = NULL;
	if (!argument[0])
		return failed("/save: expected the name of a file");
	if (chat->path && strcmp(argument, chat->path) == 0)
		return chat_keep(chat);
	int code = conversation_lock(argument, &lock);
	if (code == EXIT_DONE)
		code = chat_keep_in(chat, argument);
	system_unlock(lock);
	if (code == EXIT_DONE)
		chat_say("saved in %s", argument);
	return code;
}

static int run_load(struct chat *chat, char *argument)
{
	struct conversation loaded;
	if (!argument[0])
		return failed("/load: expected the name of a file");
	int code = conversation_load(argument, &loaded);
	if (code == EXIT_DONE)
		code = chat_take(chat, &loaded, argument);
	if (code != EXIT_DONE)
		return code;
	chat_restore(chat, argument);
	show_end(&chat->conversation);
	return chat_keep(chat);
}

/* ---------------------------------------------------------------------------------------------------- settings, counts */

static void show_sampling(const struct chat *chat)
{
	char text[200];
	rwkvk_sampling sampling = sampling_choose(&chat->sampling, chat->model, &chat->biases);
	sampling.seed = chat->conversation.seed;
	chat_say("%s; the next answer is number %" PRIu64, sampling_show(text, sizeof(text), &sampling),
	         chat->conversation.answers);
}

/* All words or none. */
static int run_sampling(struct chat *chat, char *argument)
{
	struct sampling_args args = chat->sampling;
	args.seed = (struct arg_count){ 0 };
	char *rest = NULL;
	for (const char *word = strtok_r(argument, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		int code = sampling_set(&args, word);
		if (code != EXIT_DONE)
			return code;
	}
	if (args.seed.value > INT64_MAX)
		return failed("seed: expected at most %" PRId64, INT64_MAX);
	if (args.seed.given) {
		chat->conversation.seed = args.seed.value;
		chat->conversation.answers = 0;
	}
	chat->sampling = args;
	show_sampling(chat);
	return EXIT_DONE;
}

static double per(uint64_t amount, double seconds)
{
	return seconds > 0 ? (double)amount / seconds : 0;
}

static void show_counts(const char *what, const struct chat_counts *c)
{
	chat_say("%s: prompt %" PRIu64 " tokens, %" PRIu64 " of them cached; first token after %.3f s; %" PRIu64
	         " tokens, %.1f tok/s",
	         what, c->prompt_tokens, c->cached_tokens, c->answers > 0 ? c->first_seconds / (double)c->answers : 0, c->tokens,
	         per(c->tokens, c->text_seconds));
}

static int run_stats(struct chat *chat, char *argument)
{
	(void)argument;
	const struct conversation *c = &chat->conversation;
	rwkvk_cache_stats stats = { .size = sizeof(stats) };
	if (rwkvk_cache_get_stats(chat->cache, &stats) != RWKVK_OK)
		return failed_call();
	show_counts("last answer", &chat->last);
	char all[40];
	snprintf(all, sizeof(all), "all %" PRIu64 " answers", chat->all.answers);
	show_counts(all, &chat->all);
	chat_say("branch %s: %zu messages; template %s, think mode %s", c->branches[c->current].name, conversation_path(c, NULL),
	         rwkvk_chat_name(c->chat), think_names[c->think]);
	chat_say("cache: %" PRIu64 " states, %s of %s in memory; %" PRIu64 " states, %s on disk", stats.memory_states,
	         show_bytes(stats.memory_bytes).text, show_bytes(stats.memory_limit).text, stats.disk_states,
	         show_bytes(stats.disk_bytes).text);
	show_sampling(chat);
	return EXIT_DONE;
}

static int run_quit(struct chat *chat, char *argument)
{
	(void)argument;
	chat->ended = true;
	return EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------------- the table */

static int run_help(struct chat *chat, char *argument);

static const struct command commands[] = {
	{ "/help", "[COMMAND]", "explain the commands", WITH_COMMANDS, run_help },
	{ "/system", "[TEXT]", "what the system says before all messages; - is nothing", WITH_NOTHING, run_system },
	{ "/think", "[MODE]", "whether the model reasons first: off, fake, on, a bit, a lot", WITH_THINK, run_think },
	{ "/retry", "", "another answer to the last message", WITH_NOTHING, run_retry },
	{ "/undo", "", "take the last message and its answer back", WITH_NOTHING, run_undo },
	{ "/fork", "NAME", "go on in a branch of that name; this one stays as it is", WITH_NOTHING, run_fork },
	{ "/switch", "[NAME]", "go to another branch", WITH_BRANCHES, run_switch },
	{ "/save", "FILE", "write the conversation to a file, all branches and the state", WITH_NOTHING, run_save },
	{ "/load", "FILE", "go on with the conversation in a file instead", WITH_NOTHING, run_load },
	{ "/sampling", "[NAME=VALUE]...", "how tokens are picked: temp, top-p, top-k, presence, frequency, decay, seed",
	  WITH_SAMPLING, run_sampling },
	{ "/stats", "", "tokens, speed, and what the cache did", WITH_NOTHING, run_stats },
	{ "/quit", "", "end; so does " SYSTEM_END_KEY, WITH_NOTHING, run_quit },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const char *command_name(const void *user, size_t index)
{
	(void)user;
	return index < COMMANDS ? commands[index].name : NULL;
}

/* The one whose name is `count` bytes of `name`, with or without its /. */
static const struct command *find_command(const char *name, size_t count)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		const char *known = commands[i].name + (name[0] != '/');
		if (strlen(known) == count && strncmp(known, name, count) == 0)
			return &commands[i];
	}
	return NULL;
}

static int unknown_command(const char *name, size_t count)
{
	char word[64];
	snprintf(word, sizeof(word), "%.*s", (int)count, name);
	const char *guess = nearest(word, command_name, NULL);
	if (guess)
		return failed("unknown command \"%s\"; did you mean \"%s\"?  // begins a message with /", word, guess);
	return failed("unknown command \"%s\"; /help lists them, and // begins a message with /", word);
}

static int run_help(struct chat *chat, char *argument)
{
	(void)chat;
	const struct command *one = argument[0] ? find_command(argument, strlen(argument)) : NULL;
	if (argument[0] && !one)
		return unknown_command(argument, strlen(argument));
	for (size_t i = 0; i < COMMANDS; i++)
		if (!one || one == &commands[i]) {
			char left[40];
			snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].argument);
			chat_say("  %-26s %s", left, commands[i].help);
		}
	if (!one)
		chat_say("\nA line that ends in \\ goes on in the next one.  Between two lines \"\"\" all lines are one message.\n"
		         "A message that begins with / has // there.  Ctrl-C ends an answer, which stays as far as it has come.");
	return EXIT_DONE;
}

int chat_command(struct chat *chat, char *line)
{
	size_t length = strcspn(line, " ");
	const struct command *command = find_command(line, length);
	if (!command)
		return unknown_command(line, length);
	char *argument = line + length + strspn(line + length, " ");
	for (size_t end = strlen(argument); end > 0 && argument[end - 1] == ' ';)
		argument[--end] = 0;
	if (argument[0] && !command->argument[0])
		return failed("%s: takes no argument", command->name);
	return command->run(chat, argument);
}

const char *chat_complete(void *user, const char *line, size_t index, size_t *word)
{
	const struct chat *chat = user;
	size_t length = strcspn(line, " ");
	const char *blank = strrchr(line, ' ');
	const struct command *command = blank ? find_command(line, length) : NULL;
	*word = blank ? (size_t)(blank - line) + 1 : 0;
	if (line[0] != '/')
		return NULL;
	switch (command ? command->completes : blank ? WITH_NOTHING : WITH_COMMANDS) {
	case WITH_COMMANDS:
		return command_name(NULL, index);
	case WITH_BRANCHES:
		return branch_name(&chat->conversation, index);
	case WITH_THINK:
		return index < RWKVK_THINK_A_LOT + 1 ? think_names[index] : NULL;
	case WITH_SAMPLING:
		return sampling_name(NULL, index);
	case WITH_NOTHING:
		break;
	}
	return NULL;
}
