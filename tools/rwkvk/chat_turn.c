/* A turn: the branch as a prompt, most of which is cached, and the answer as it arrives. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "chat_prompt.h"
#include "streams.h"
#include "system.h"
#include "terminal.h"

enum { STANDARD_COUNT = 2048 };

/* An answer in progress. */
struct writing {
	struct chat *chat;
	rwkvk_chat_answer *answer;
	struct memory_stream raw, said; /* everything the model has written; the answer's text alone */
	struct progress progress;
	double start, first; /* first: 0 until something has come */
	bool new_stops, thought, dimmed;
	char last; /* byte on standard output; 0: none */
};

/* ---------------------------------------------------------------------------------------------------- the prompt */

/* Afterwards the session has read the text. */
static int read_prompt(struct chat *chat, rwkvk_prompt *prompt)
{
	struct progress progress;
	progress_begin(&progress, "reading", PROGRESS_TOKENS);
	const rwkvk_eval_options options = { .cancel = interrupt_flag(), .progress = progress_step, .progress_user = &progress };
	rwkvk_status status = rwkvk_prompt_read(prompt, chat->session, &options);
	progress_end();
	return status == RWKVK_OK ? EXIT_DONE : failed_with(status);
}

static void count_prompt(struct chat *chat, const rwkvk_prompt *prompt)
{
	rwkvk_prompt_info info = { .size = sizeof(info) };
	if (rwkvk_prompt_get_info(prompt, &info) != RWKVK_OK)
		return;
	chat->last.prompt_tokens = info.tokens;
	chat->last.cached_tokens = info.cached;
}

/* ---------------------------------------------------------------------------------------------------- showing */

/* Reasoning is shown on a terminal only; otherwise standard output holds just the answer. */
static bool shows_reasoning(void)
{
	return system_is_terminal(stdout);
}

/* Each piece by itself, so that nothing stays dimmed, whatever ends the program. */
static void show(struct writing *w, const char *text, size_t bytes, bool dimmed)
{
	if (bytes == 0)
		return;
	if (dimmed)
		out_write("\x1b[2m", 4);
	out_write(text, bytes);
	if (dimmed)
		out_write("\x1b[22m", 5);
	w->last = text[bytes - 1];
	out_flush();
}

static void show_part(struct writing *w, const rwkvk_chat_part *part)
{
	if (part->reasoning_bytes > 0 && shows_reasoning()) {
		show(w, part->reasoning, part->reasoning_bytes, w->dimmed);
		w->thought = true;
	}
	if (part->text_bytes > 0 && w->thought)
		show(w, "\n\n", 2, false);
	w->thought = w->thought && part->text_bytes == 0;
	show(w, part->text, part->text_bytes, false);
	if (part->text_bytes > 0)
		fwrite(part->text, 1, part->text_bytes, w->said.stream);
	w->new_stops = part->new_stops;
}

static bool on_text(void *user, const char *text, size_t bytes)
{
	struct writing *w = user;
	rwkvk_chat_part part = { .size = sizeof(part) };
	if (w->first == 0)
		w->first = now_seconds();
	fwrite(text, 1, bytes, w->raw.stream);
	if (rwkvk_chat_answer_push(w->answer, text, bytes, &part) != RWKVK_OK)
		return false;
	show_part(w, &part);
	return !w->new_stops && !out_closed();
}

/* ---------------------------------------------------------------------------------------------------- writing */

/* Up to where something ends it: the model, Ctrl-C, or the end of the reasoning, after which other stops apply. */
static int generate_part(struct writing *w, const rwkvk_sampling *sampling, uint64_t most, rwkvk_generate_result *result)
{
	rwkvk_chat_stops stops = { .size = sizeof(stops) };
	if (rwkvk_chat_answer_stops(w->answer, &stops) != RWKVK_OK)
		return failed_call();
	const rwkvk_generate_options options = { .size = sizeof(options),
		                                     .sampling = sampling,
		                                     .max_tokens = most,
		                                     .stop_tokens = stops.tokens,
		                                     .stop_token_count = stops.token_count,
		                                     .stop_texts = stops.texts,
		                                     .stop_text_count = stops.text_count,
		                                     .on_text = on_text,
		                                     .user = w,
		                                     .cancel = interrupt_flag() };
	w->new_stops = false;
	rwkvk_status status = rwkvk_session_generate(w->chat->session, &options, result);
	w->chat->last.tokens += result->tokens;
	return status == RWKVK_OK ? EXIT_DONE : failed_with(status);
}

static int generate(struct writing *w, rwkvk_generate_result *result)
{
	struct chat *chat = w->chat;
	rwkvk_sampling sampling = sampling_choose(&chat->sampling, chat->model, &chat->biases);
	uint64_t left = chat->most_tokens.given ? chat->most_tokens.value : STANDARD_COUNT;
	int code;
	sampling.seed = chat->conversation.seed + chat->conversation.answers++;
	do {
		code = generate_part(w, &sampling, left, result);
		left -= result->tokens;
	} while (code == EXIT_DONE && result->reason == RWKVK_END_CALLER && w->new_stops && left > 0);
	return code;
}

/* Includes the text that was held back. */
static int write_answer(struct writing *w, rwkvk_generate_result *result)
{
	rwkvk_chat_part part = { .size = sizeof(part) };
	if (w->chat->shown && !system_is_terminal(stdout))
		out_write("\n", 1);
	w->chat->shown = true;
	int code = generate(w, result);
	if (rwkvk_chat_answer_end(w->answer, &part) == RWKVK_OK)
		show_part(w, &part);
	if (w->last != '\n')
		show(w, "\n", 1, false);
	return code;
}

static int open_writing(struct chat *chat, struct writing *w)
{
	const rwkvk_chat_options options = { .size = sizeof(options), .think = chat->conversation.think };
	*w = (struct writing){ .chat = chat, .dimmed = !getenv("NO_COLOR"), .start = now_seconds() };
	if (!memory_open(&w->raw) || !memory_open(&w->said))
		return failed("out of memory");
	return rwkvk_chat_answer_create(chat->conversation.chat, &options, rwkvk_model_tokenizer(chat->model), &w->answer) ==
	               RWKVK_OK
	           ? EXIT_DONE
	           : failed_call();
}

/* Both texts are whole now; false: memory did not suffice for them. */
static bool end_writing(struct writing *w)
{
	bool raw = w->raw.stream && memory_close(&w->raw), said = w->said.stream && memory_close(&w->said);
	return raw && said;
}

static void close_writing(struct writing *w)
{
	end_writing(w);
	rwkvk_chat_answer_destroy(w->answer);
	free(w->raw.bytes);
	free(w->said.bytes);
}

/* ---------------------------------------------------------------------------------------------------- after an answer */

/* Reads the separator between the answer and the next message, so that the session is where the next turn begins.  A failure
 * only costs that turn some reading. */
static void finish_history(struct chat *chat, const struct writing *w, rwkvk_prompt *prompt)
{
	struct rendered text;
	if (render_branch(&chat->conversation, true, &text) != EXIT_DONE)
		return;
	rwkvk_status status =
		rwkvk_prompt_answered(prompt, chat->session, w->raw.bytes, w->raw.count, text.text, text.bytes, text.ends, text.count);
	if (status == RWKVK_OK)
		rwkvk_prompt_finish(prompt, chat->session, NULL);
	rendered_free(&text);
}

/* Adds the answer as a message, if there is one. */
static int take_answer(struct chat *chat, struct writing *w, rwkvk_prompt *prompt)
{
	if (!end_writing(w))
		return failed("out of memory");
	if (w->said.count == 0)
		return EXIT_DONE;
	if (!conversation_add(&chat->conversation, RWKVK_ROLE_ASSISTANT, conversation_text(w->said.bytes, w->said.count)))
		return failed("out of memory");
	finish_history(chat, w, prompt);
	return EXIT_DONE;
}

static void count_answer(struct chat *chat, const struct writing *w, double end)
{
	chat->last.answers = 1;
	chat->last.first_seconds = w->first > 0 ? w->first - w->start : 0;
	chat->last.text_seconds = w->first > 0 ? end - w->first : 0;
	chat->all.answers++;
	chat->all.prompt_tokens += chat->last.prompt_tokens;
	chat->all.cached_tokens += chat->last.cached_tokens;
	chat->all.tokens += chat->last.tokens;
	chat->all.first_seconds += chat->last.first_seconds;
	chat->all.text_seconds += chat->last.text_seconds;
}

/* What the user should know about how the answer ended. */
static void note_end(const struct chat *chat, const struct writing *w, rwkvk_end reason)
{
	if (interrupt_seen())
		note(w->said.count > 0 ? "interrupted" : "interrupted before an answer; /retry asks again");
	else if (w->said.count == 0)
		note("the model has answered nothing; /retry asks again");
	else if (reason == RWKVK_END_LENGTH)
		note("the answer was cut after %" PRIu64 " tokens (-n)", chat->last.tokens);
}

static int answer(struct chat *chat, struct writing *w, rwkvk_prompt *prompt)
{
	rwkvk_generate_result result = { .size = sizeof(result) };
	int code = read_prompt(chat, prompt);
	count_prompt(chat, prompt);
	if (code == EXIT_DONE)
		code = write_answer(w, &result);
	count_answer(chat, w, now_seconds());
	int taken = take_answer(chat, w, prompt);
	if (code == EXIT_DONE || code == EXIT_INTERRUPTED)
		note_end(chat, w, result.reason);
	return taken == EXIT_DONE ? code : taken;
}

static int make_prompt(const struct chat *chat, const struct rendered *text, rwkvk_prompt **out)
{
	const rwkvk_prompt_options options = prompt_options(chat, text, text->bytes);
	return rwkvk_prompt_create(chat->cache, text->text, text->bytes, &options, out) == RWKVK_OK ? EXIT_DONE : failed_call();
}

int chat_answer(struct chat *chat)
{
	struct writing w;
	struct rendered text = { 0 };
	rwkvk_prompt *prompt = NULL;
	chat->last = (struct chat_counts){ 0 };
	int code = open_writing(chat, &w);
	if (code == EXIT_DONE)
		code = render_branch(&chat->conversation, false, &text);
	if (code == EXIT_DONE)
		code = make_prompt(chat, &text, &prompt);
	if (code == EXIT_DONE)
		code = answer(chat, &w, prompt);
	rwkvk_prompt_destroy(prompt);
	rendered_free(&text);
	close_writing(&w);
	chat->ended |= interrupt_seen() && !interrupt_forget();
	return code == EXIT_INTERRUPTED ? EXIT_DONE : code;
}
