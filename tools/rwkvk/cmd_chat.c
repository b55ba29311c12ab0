/* rwkvk chat: a conversation.  Standard output holds only the answers; everything else goes to standard error. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "streams.h"
#include "system.h"
#include "terminal.h"

/* ---------------------------------------------------------------------------------------------------- messages */

static const char quotes[] = "\"\"\"";

/* The lines up to one that holds only the closing quotes. */
static enum line_end read_quoted(struct chat *chat, FILE *out)
{
	const char *line;
	size_t bytes;
	for (bool first = true;; first = false) {
		enum line_end end = line_read(chat->lines, ". ", &line, &bytes);
		if (end == LINE_CLEARED)
			return end;
		if (end == LINE_OVER || strcmp(line, quotes) == 0)
			return LINE_READ;
		fprintf(out, "%s", first ? "" : "\n");
		fwrite(line, 1, bytes, out);
	}
}

static enum line_end read_lines(struct chat *chat, const char *prompt, FILE *out)
{
	const char *line;
	size_t bytes;
	enum line_end end = line_read(chat->lines, prompt, &line, &bytes);
	if (end == LINE_READ && strcmp(line, quotes) == 0)
		return read_quoted(chat, out);
	while (end == LINE_READ && bytes > 0 && line[bytes - 1] == '\\') {
		fwrite(line, 1, bytes - 1, out);
		fputc('\n', out);
		end = line_read(chat->lines, ". ", &line, &bytes);
		if (end == LINE_OVER)
			return LINE_READ;
	}
	if (end == LINE_READ)
		fwrite(line, 1, bytes, out);
	return end;
}

/* Names the branch if there are several. */
static void make_prompt_text(const struct conversation *c, char *out, size_t size)
{
	snprintf(out, size, "%s> ", c->branch_count > 1 ? c->branches[c->current].name : "");
}

/* The next message or command, to be freed; NULL unless LINE_READ. */
static enum line_end read_message(struct chat *chat, char **out)
{
	char prompt[80];
	struct memory_stream text;
	*out = NULL;
	if (!memory_open(&text))
		return failed("out of memory"), LINE_OVER;
	make_prompt_text(&chat->conversation, prompt, sizeof(prompt));
	enum line_end end = read_lines(chat, prompt, text.stream);
	if (memory_close(&text) && end == LINE_READ)
		*out = conversation_text(text.bytes, text.count);
	free(text.bytes);
	if (end == LINE_READ && !*out)
		return failed("out of memory"), LINE_OVER;
	return end;
}

/* ---------------------------------------------------------------------------------------------------- the talk */

/* The message is saved before it is answered.  It replaces one that was never answered. */
static int say(struct chat *chat, const char *text)
{
	struct conversation *c = &chat->conversation;
	if (!conversation_is_answered(c)) {
		conversation_go_back(c, c->messages[conversation_last(c)].parent);
		conversation_prune(c);
	}
	if (!conversation_add(c, RWKVK_ROLE_USER, strdup(text)))
		return failed("out of memory");
	int code = chat_keep(chat);
	if (code == EXIT_DONE)
		code = chat_answer(chat);
	int kept = chat_keep(chat);
	return code == EXIT_DONE ? kept : code;
}

/* A blank line is skipped. */
static int take_line(struct chat *chat, char *line)
{
	if (line[strspn(line, " \t\n")] == 0)
		return EXIT_DONE;
	if (line[0] == '/' && line[1] != '/')
		return chat_command(chat, line);
	return say(chat, line + (line[0] == '/'));
}

/* Ctrl-C ends a chat in which nobody types; one with a person typing ends at SIGTERM. */
static bool goes_on_after_clear(struct chat *chat)
{
	if (!interrupt_seen())
		return true;
	return line_is_typed(chat->lines) && interrupt_forget();
}

static int talk(struct chat *chat)
{
	while (!chat->ended && !out_closed()) {
		char *line;
		enum line_end end = read_message(chat, &line);
		if (end == LINE_OVER)
			break;
		if (end == LINE_CLEARED && !goes_on_after_clear(chat))
			return EXIT_INTERRUPTED;
		if (end == LINE_READ && take_line(chat, line) != EXIT_DONE)
			chat->failed = true;
		free(line);
	}
	if (interrupt_seen())
		return EXIT_INTERRUPTED;
	return chat->failed && !line_is_typed(chat->lines) ? EXIT_FAILED : EXIT_DONE;
}

/* ---------------------------------------------------------------------------------------------------- beginning */

static int open_lines(struct chat *chat)
{
	const struct line_options options = { .history = chat->history, .complete = chat_complete, .user = chat };
	chat->lines = line_open(&options);
	return chat->lines ? EXIT_DONE : failed("out of memory");
}

/* Options take precedence over the file. */
static int apply_options(struct chat *chat)
{
	struct conversation *c = &chat->conversation;
	if (chat->template_name && rwkvk_chat_find(chat->template_name, &c->chat) != RWKVK_OK)
		return failed_call();
	if (chat->think >= 0)
		c->think = (rwkvk_chat_think)chat->think;
	if (!chat_can_think(c->chat, c->think))
		return failed_call();
	char *system = chat->system ? conversation_text(chat->system, strlen(chat->system)) : NULL;
	if (chat->system && !system)
		return failed("out of memory");
	if (system) {
		free(c->system);
		c->system = system;
	}
	if (chat->sampling.seed.given)
		c->seed = chat->sampling.seed.value;
	return EXIT_DONE;
}

/* The file's conversation or, if there is no file yet, a new one. */
static int open_conversation(struct chat *chat, struct conversation *found)
{
	if (chat->path && conversation_is_there(chat->path))
		return conversation_load(chat->path, found);
	if (!conversation_init(found))
		return failed("out of memory");
	found->seed = sampling_random_seed();
	return chat->path ? output_check(chat->path) : EXIT_DONE;
}

static void greet(const struct chat *chat)
{
	const struct conversation *c = &chat->conversation;
	char text[200];
	rwkvk_sampling sampling = sampling_choose(&chat->sampling, chat->model, &chat->biases);
	sampling.seed = c->seed;
	if (is_quiet() && sampling_is_drawn(&sampling) && !chat->sampling.seed.given)
		fprintf(stderr, "seed %" PRIu64 "\n", c->seed);
	note("%s", sampling_show(text, sizeof(text), &sampling));
	if (!chat->model_args.path && c->chat == RWKVK_CHAT_PLAIN)
		note("the built-in model is no chat model: it goes on with a story, such as: Once upon a time");
	size_t count = conversation_path(c, NULL);
	if (count > 0)
		note("branch %s has %zu message%s%s", c->branches[c->current].name, count, count == 1 ? "" : "s",
		     conversation_is_answered(c) ? "" : "; the last one has no answer: /retry asks for it, a new one takes its place");
	if (line_is_typed(chat->lines))
		note("/help lists the commands; Ctrl-C ends an answer, " SYSTEM_END_KEY " the chat");
}

static int open_cache(struct chat *chat)
{
	static const rwkvk_begin begins[] = { RWKVK_BEGIN_NOTHING, RWKVK_BEGIN_TOKEN };
	rwkvk_cache_options options = { .size = sizeof(options),
		                            .memory = chat->cache_memory.value,
		                            .disk = chat->cache_disk.value,
		                            .dir = chat->model_args.cache_dir,
		                            .begin = chat->bos < 0 ? RWKVK_BEGIN_FILE : begins[chat->bos] };
	store_args_set(&chat->store, &options);
	const bool open = rwkvk_session_create(chat->model, &chat->session) == RWKVK_OK &&
	                  rwkvk_cache_create(chat->model, &options, &chat->cache) == RWKVK_OK;
	store_args_forget(&chat->store);
	if (!open)
		return failed_call();
	if (chat->state && rwkvk_cache_add_start(chat->cache, chat->state, &chat->start) != RWKVK_OK)
		return failed_call();
	return EXIT_DONE;
}

static int open_model(struct chat *chat)
{
	enum { LONG_PROMPT = 16 }; /* tokens: the pipelines for chunks are needed as well */
	rwkvk_file *file = chat->file;
	chat->file = NULL;
	return model_open_warm(&chat->model_args, file, LONG_PROMPT, &chat->model);
}

static int hash_start(struct chat *chat)
{
	uint8_t *bytes;
	size_t count;
	if (!chat->state)
		return EXIT_DONE;
	if (!read_file(chat->state, &bytes, &count))
		return EXIT_FAILED;
	chat->start_hash = conversation_hash(bytes, count);
	free(bytes);
	return EXIT_DONE;
}

/* Everything that can be checked before the model is loaded. */
static int prepare(struct chat *chat)
{
	rwkvk_model_info info = { .size = sizeof(info) };
	rwkvk_state_info state = { .size = sizeof(state) };
	rwkvk_chat_template chat_template;
	int code = bias_read("chat", &chat->sampling.bias, &chat->biases);
	if (code == EXIT_DONE)
		code = model_peek(&chat->model_args, &chat->file);
	if (code != EXIT_DONE)
		return code;
	rwkvk_file_get_info(chat->file, &info);
	if (!rwkvk_file_tokenizer(chat->file))
		return no_vocabulary(&chat->model_args, &info, "a chat", NULL);
	if (chat->template_name && rwkvk_chat_find(chat->template_name, &chat_template) != RWKVK_OK)
		return failed_call();
	if (chat->state && rwkvk_state_inspect(chat->state, RWKVK_STATE_ANY, chat->file, &state) != RWKVK_OK)
		return failed_call();
	code = hash_start(chat);
	return code == EXIT_DONE ? bias_check("chat", &chat->biases, info.vocab) : code;
}

/* From the model on: the conversation and the talk. */
static int run_model(struct chat *chat, struct conversation *found)
{
	const char *path = chat->path ? chat->path : "the conversation";
	int code = open_model(chat);
	if (code == EXIT_DONE)
		code = open_cache(chat);
	if (code == EXIT_DONE)
		code = open_lines(chat);
	if (code != EXIT_DONE) {
		conversation_free(found);
		return code;
	}
	code = chat_take(chat, found, path);
	if (code == EXIT_DONE)
		code = apply_options(chat);
	if (code != EXIT_DONE)
		return code;
	chat_restore(chat, path);
	greet(chat);
	return talk(chat);
}

static int run(struct chat *chat)
{
	struct conversation found = { 0 };
	set_quiet(chat->model_args.quiet);
	system_keep_private(); /* the files hold what people have written */
	int code = chat->path ? conversation_lock(chat->path, &chat->lock) : EXIT_DONE;
	if (code == EXIT_DONE)
		code = open_conversation(chat, &found);
	if (code == EXIT_DONE)
		code = prepare(chat);
	if (code == EXIT_DONE)
		code = run_model(chat, &found);
	else
		conversation_free(&found);
	line_close(chat->lines);
	conversation_free(&chat->conversation);
	rwkvk_cache_destroy(chat->cache);
	rwkvk_session_destroy(chat->session);
	rwkvk_model_close(chat->model);
	rwkvk_file_close(chat->file);
	system_unlock(chat->lock);
	free(chat->biases.biases);
	return code;
}

int cmd_chat(int argc, char **argv)
{
	struct chat c = { .think = -1, .bos = -1 };
	/* clang-format off: a row is an option */
	const struct arg args[] = {
		ARG_MODEL(c.model_args),
		ARG_VOCAB(c.model_args),
		ARGS_TENSORS(c.model_args),
		ARG_QUANT(c.model_args),
		ARGS_NUMERICS(c.model_args),
		ARG_DEVICE(c.model_args),
		ARGS_HOST(c.model_args),
		{ .group = "Conversation",
		  .name = "conversation",
		  .kind = ARG_TEXT,
		  .target = &c.path,
		  .value = "FILE",
		  .help = "continue this conversation, or begin it; written after each turn, with all branches and the state",
		  .standard = "kept nowhere" },
		{ .name = "template",
		  .kind = ARG_TEXT,
		  .target = &c.template_name,
		  .value = "NAME",
		  .help = "how messages become a prompt: g1, rwkv-world, world, raven or plain; see docs/chat.md",
		  .standard = "the model's" },
		{ .name = "system",
		  .kind = ARG_TEXT,
		  .target = &c.system,
		  .value = "TEXT",
		  .help = "the system message before all others",
		  .standard = "nothing" },
		{ .name = "think",
		  .kind = ARG_WORD,
		  .target = &c.think,
		  .words = think_names,
		  .value = "off|fake|on|a-bit|a-lot",
		  .help = "whether the model reasons before it answers, as far as its template knows how",
		  .standard = "off" },
		{ .name = "state",
		  .kind = ARG_TEXT,
		  .target = &c.state,
		  .value = "FILE",
		  .help = "begin from a state file, or from a trained start state (.pth or safetensors)",
		  .standard = "an empty state" },
		ARGS_BOS(c),
		{ .letter = 'n',
		  .kind = ARG_COUNT,
		  .target = &c.most_tokens,
		  .value = "N",
		  .help = "at most N tokens in an answer",
		  .standard = "until the model ends it, at most 2048" },
		ARGS_SAMPLING(c.sampling),
		ARGS_BIAS(c.sampling),
		{ .group = "States that save reading",
		  .name = "cache-memory",
		  .kind = ARG_SIZE,
		  .target = &c.cache_memory,
		  .value = "SIZE",
		  .help = "main memory for them, such as 500M or 4G",
		  .standard = "a quarter of what is free, at most 4 GiB" },
		{ .name = "cache-disk",
		  .kind = ARG_SIZE,
		  .target = &c.cache_disk,
		  .value = "SIZE",
		  .help = "also keep them in the cache folder, so that they outlive the program; they contain the texts",
		  .standard = "not kept" },
		ARGS_STORE(c.store),
		{ .group = "Terminal",
		  .name = "history",
		  .kind = ARG_TEXT,
		  .target = &c.history,
		  .value = "FILE",
		  .help = "where typed lines are kept; \"\": nowhere",
		  .standard = "~/.local/state/rwkvk/chat_history" },
		ARG_QUIET(c.model_args),
	};
	/* clang-format on */
	const struct usage usage = {
		.command = "chat",
		.synopsis = "[OPTION]...",
		.about = "Talks with a model.  Answers are on standard output, and everything else on standard error.  Going back,\n"
				 "another answer and another branch cost one copy of a state, however long the conversation is.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.notes =
			"A message is a line.  A line that ends in \\ continues in the next; between two lines \"\"\", all lines are one "
			"message.\n"
			"A line that begins with / is a command: /help lists them.  // begins a message with /.\n"
			"Ctrl-C ends an answer but keeps what is written so far; at the prompt it clears the line.  " SYSTEM_END_KEY
			" ends the chat.\n"
			"\nThe same through a pipe: a message a line, the answers on standard output with an empty line between "
			"them,\n"
			"without reasoning.  The exit code is 1 if a command or an answer fails, and Ctrl-C ends the program.\n"
			"\nAnswer number n, from 0, is drawn with the seed S+n, also with /retry: the same lines give the same answers.\n"
			"\nExamples\n"
			"  rwkvk chat -m model.gguf\n"
			"  rwkvk chat -m model.gguf --conversation trip.chat --think on\n"
			"  rwkvk chat -m model.gguf --system \"You answer in French.\" --temp 0.7\n"
			"  echo \"Why is the sky blue?\" | rwkvk chat -q -m model.gguf",
	};
	int code = args_parse(&usage, argc, argv, NULL);
	if (code == ARGS_GO_ON && c.sampling.seed.value > INT64_MAX)
		code = misused("chat", "--seed: expected at most %" PRId64 ", got %" PRIu64, INT64_MAX, c.sampling.seed.value);
	if (code == ARGS_GO_ON && c.most_tokens.given && c.most_tokens.value == 0)
		code = misused("chat", "-n: expected at least 1, got 0");
	if (code == ARGS_GO_ON)
		code = store_args_read("chat", &c.store);
	if (code == ARGS_GO_ON)
		code = run(&c);
	sampling_args_free(&c.sampling);
	return code;
}
