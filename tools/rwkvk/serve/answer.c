#include "serve/answer.h"

#include <ctype.h>
#include <string.h>

#include "serve/reply.h"

/* Other stops apply while the model reasons: at the switch the library's text ends, and the next goes on from its session. */
static void begin_text(const struct job *job, struct choice *choice)
{
	const struct request *request = &job->request;
	rwkvk_chat_stops stops = { .size = sizeof stops };
	size_t count = 0;
	if (choice->answer)
		rwkvk_chat_answer_stops(choice->answer, &stops);
	for (; count < stops.text_count && count < MOST_CHOICE_STOPS - MOST_STOPS - 1; count++)
		choice->stops[count] = stops.texts[count];
	for (size_t i = 0; !choice->thinking && i < request->stop_count; i++)
		choice->stops[count++] = request->stops[i];
	if (request->suffix)
		choice->stops[count++] = FIM_MARK;
	choice->options = (rwkvk_generate_options){
		.size = sizeof choice->options,
		.sampling = &choice->sampling,
		.max_tokens = request->max_tokens - choice->tokens,
		.stop_tokens = stops.tokens,
		.stop_token_count = stops.token_count,
		.stop_texts = choice->stops,
		.stop_text_count = count,
		.log_probabilities = request->logprobs,
		.top_log_probabilities = request->top_logprobs,
	};
}

bool answer_begin(const struct server *server, struct job *job, uint32_t index)
{
	struct choice *choice = &job->choices[index];
	choice->sampling = job->request.sampling;
	choice->sampling.seed += index;
	choice->thinking = job->request.think >= RWKVK_THINK_ON;
	choice->logprobs = job->request.logprobs ? json_array() : NULL;
	if (job->request.endpoint == ENDPOINT_CHAT &&
	    rwkvk_chat_answer_create(job->chat, &job->chat_options, rwkvk_model_tokenizer(server->model), &choice->answer) !=
	        RWKVK_OK)
		return false;
	begin_text(job, choice);
	return true;
}

/* ---------------------------------------------------------------------------------------------------- tokens */

/* The library may know a longer struct. */
static const rwkvk_token *picked(const rwkvk_work *work, size_t index)
{
	return (const void *)((const char *)work->picked + index * work->picked->size);
}

/* Whether reasoning begins or ends with this token: from here on other stops apply. */
static bool push(const struct server *server, struct choice *choice, const rwkvk_token *token)
{
	rwkvk_chat_part part = { .size = sizeof part };
	bool before = choice->thinking;
	text_add(&choice->raw, token->bytes, token->byte_count);
	choice->tokens++;
	if (!choice->answer)
		text_add(&choice->text, token->bytes, token->byte_count);
	else if (token->byte_count > 0)
		rwkvk_chat_answer_push(choice->answer, token->bytes, token->byte_count, &part);
	text_add(&choice->reasoning, part.reasoning, part.reasoning_bytes);
	text_add(&choice->text, part.text, part.text_bytes);
	if (part.new_stops)
		choice->thinking = !before;
	else if (part.reasoning_bytes > 0 || part.text_bytes > 0)
		choice->thinking = part.text_bytes == 0;
	choice->reasoning_tokens += before || choice->thinking;
	if (choice->logprobs && !before && !choice->thinking)
		json_array_append_new(choice->logprobs, reply_logprob(server, token));
	return choice->thinking != before;
}

/* ---------------------------------------------------------------------------------------------------- ends */

static void end(struct choice *choice, const char *finish)
{
	rwkvk_chat_part part = { .size = sizeof part };
	if (choice->answer)
		rwkvk_chat_answer_end(choice->answer, &part);
	text_add(&choice->reasoning, part.reasoning, part.reasoning_bytes);
	text_add(&choice->text, part.text, part.text_bytes);
	choice->finish = finish;
	choice->ended = true;
}

static bool stops_at(const struct choice *choice, uint32_t token)
{
	rwkvk_chat_stops stops = { .size = sizeof stops };
	if (choice->answer)
		rwkvk_chat_answer_stops(choice->answer, &stops);
	for (size_t i = 0; i < stops.token_count; i++)
		if (stops.tokens[i] == token)
			return true;
	return false;
}

/* Where the first of the request's stop texts is, which the library did not look for while the model reasoned; the end of the
 * text: there is none. */
static size_t find_stop(const struct job *job, const struct choice *choice, size_t from)
{
	size_t at = choice->text.count;
	for (size_t i = 0; at > from && i < job->request.stop_count; i++) {
		const char *stop = job->request.stops[i];
		const char *found = text_find(choice->text.bytes + from, at - from, stop);
		if (found)
			at = (size_t)(found - choice->text.bytes);
	}
	return at;
}

/* Ends before what the session has read already; without white space, as every answer. */
static void end_before(const struct job *job, struct choice *choice, size_t from)
{
	end(choice, "stop");
	choice->beyond = true;
	size_t count = find_stop(job, choice, from);
	while (count > from && isspace((unsigned char)choice->text.bytes[count - 1]))
		count--;
	choice->text.count = count;
}

/* The library's text has ended.  If it began with other stops, it may have to go on. */
static void take_end(const struct job *job, struct choice *choice, const rwkvk_work *work, bool stale, size_t from)
{
	bool may_go_on = stale && work->reason == RWKVK_END_STOP_TOKEN && choice->options.stop_tokens;
	if (stale && find_stop(job, choice, from) < choice->text.count)
		end_before(job, choice, from);
	else if (may_go_on && !stops_at(choice, choice->options.stop_tokens[work->stop]))
		begin_text(job, choice);
	else
		end(choice, work->reason == RWKVK_END_LENGTH ? "length" : "stop");
}

bool answer_take(const struct server *server, struct job *job, uint32_t index, const rwkvk_work *work)
{
	struct choice *choice = &job->choices[index];
	bool stale = false; /* the stops have changed, but the text had ended */
	size_t from = 0;
	for (size_t i = 0; i < work->picked_count; i++) {
		const rwkvk_token *token = picked(work, i);
		if (stale && stops_at(choice, token->id)) {
			end_before(job, choice, from);
			return true;
		}
		if (!push(server, choice, token))
			continue;
		if (work->ended) {
			stale = true;
			from = choice->text.count;
		} else if (rwkvk_session_rewind(choice->session, i + 1) != RWKVK_OK) {
			return false;
		} else if (choice->tokens == job->request.max_tokens) {
			end(choice, "length");
			return true;
		} else {
			begin_text(job, choice);
			return true;
		}
	}
	if (work->ended)
		take_end(job, choice, work, stale, from);
	return true;
}
