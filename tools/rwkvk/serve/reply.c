#include "serve/reply.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "streams.h"
#include "model.h"

/* ---------------------------------------------------------------------------------------------------- errors, lines */

static const char *error_type(int status)
{
	return status == 401 ? "authentication_error" : status >= 500 ? "server_error" : "invalid_request_error";
}

static void add_event(struct text *out, json_t *object)
{
	text_add_text(out, "data: ");
	text_add_json(out, object);
	text_add_text(out, "\n\n");
}

void reply_error(const struct refusal *refusal, bool stream, struct text *out)
{
	json_t *message = json_text(refusal->message);
	json_t *error = json_pack("{s:{s:o, s:s, s:s?, s:s?}}", "error", "message", message, "type", error_type(refusal->status),
	                          "param", *refusal->param ? refusal->param : NULL, "code", refusal->code);
	if (stream)
		add_event(out, error);
	else
		text_add_json(out, error);
}

/* ---------------------------------------------------------------------------------------------------- log-probabilities */

/* JSON has no infinity; OpenAI uses this value for a practically impossible token. */
static json_t *probability(float value)
{
	return isnan(value) ? json_null() : json_real(value > -9999 ? (double)value : -9999.0);
}

static json_t *token_entry(const char *bytes, size_t count, float value)
{
	json_t *numbers = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(numbers, json_integer((unsigned char)bytes[i]));
	return json_pack("{s:o, s:o, s:o}", "token", json_bytes(bytes ? bytes : "", count), "logprob", probability(value), "bytes",
	                 numbers);
}

json_t *reply_logprob(const struct server *server, const rwkvk_token *token)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(server->model);
	json_t *entry = token_entry(token->bytes, token->byte_count, token->log_probability), *tops = json_array();
	for (uint32_t i = 0; i < token->top_count; i++) {
		size_t count;
		const char *bytes = rwkvk_tokenizer_token(tokenizer, token->tops[i].token, &count);
		json_array_append_new(tops, token_entry(bytes, count, token->tops[i].log_probability));
	}
	json_object_set_new(entry, "top_logprobs", tops);
	return entry;
}

/* Characters, as offsets are counted in. */
static size_t characters(const char *text)
{
	size_t count = 0;
	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

/* Completions have these lists instead. */
static json_t *completion_logprobs(struct choice *choice)
{
	json_t *tokens = json_array(), *values = json_array(), *tops = json_array(), *offsets = json_array(), *entry, *top;
	size_t index, at;
	json_array_foreach(choice->logprobs, index, entry)
	{
		json_t *alternatives = json_object();
		json_array_append(tokens, json_object_get(entry, "token"));
		json_array_append(values, json_object_get(entry, "logprob"));
		json_array_foreach(json_object_get(entry, "top_logprobs"), at, top)
			json_object_set(alternatives, json_string_value(json_object_get(top, "token")), json_object_get(top, "logprob"));
		json_array_append_new(tops, alternatives);
		json_array_append_new(offsets, json_integer((json_int_t)choice->logprobs_offset));
		choice->logprobs_offset += characters(json_string_value(json_object_get(entry, "token")));
	}
	return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", values, "top_logprobs", tops, "text_offset",
	                 offsets);
}

/* Those that have not been sent; null where nobody asked. */
static json_t *take_logprobs(const struct job *job, struct choice *choice)
{
	if (!job->request.logprobs)
		return json_null();
	json_t *out = job->request.endpoint == ENDPOINT_CHAT ? json_pack("{s:O, s:n}", "content", choice->logprobs, "refusal")
	                                                     : completion_logprobs(choice);
	json_decref(choice->logprobs);
	choice->logprobs = json_array();
	return out;
}

/* ---------------------------------------------------------------------------------------------------- heads, usage */

static json_t *object_head(const struct server *server, const struct job *job, bool chunk)
{
	bool chat = job->request.endpoint == ENDPOINT_CHAT;
	return json_pack("{s:s, s:s, s:I, s:s}", "id", job->id, "object",
	                 !chat   ? "text_completion"
	                 : chunk ? "chat.completion.chunk"
	                         : "chat.completion",
	                 "created", (json_int_t)job->created, "model", server->limits.model);
}

static void set_seed(json_t *object, const struct job *job)
{
	json_object_set_new(object, "seed", json_integer((json_int_t)job->request.sampling.seed));
}

static json_t *usage(const struct job *job)
{
	json_int_t prompt = (json_int_t)job->prompt_tokens, written = 0, reasoning = 0;
	for (uint32_t i = 0; i < job->request.n; i++) {
		written += (json_int_t)job->choices[i].tokens;
		reasoning += (json_int_t)job->choices[i].reasoning_tokens;
	}
	return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", prompt, "completion_tokens", written, "total_tokens",
	                 prompt + written, "prompt_tokens_details", "cached_tokens", (json_int_t)job->cached_tokens,
	                 "completion_tokens_details", "reasoning_tokens", reasoning);
}

/* ---------------------------------------------------------------------------------------------------- streams */

/* `what` is a delta, or of completions the text itself. */
static void add_chunk(const struct server *server, struct job *job, uint32_t index, json_t *what, const char *finish,
                      bool with_logprobs, struct text *out)
{
	json_t *chunk = object_head(server, job, true);
	json_t *logprobs = with_logprobs ? take_logprobs(job, &job->choices[index]) : json_null();
	json_t *choice = json_pack("{s:I, s:o, s:o, s:s?}", "index", (json_int_t)index,
	                           job->request.endpoint == ENDPOINT_CHAT ? "delta" : "text", what, "logprobs", logprobs,
	                           "finish_reason", finish);
	json_object_set_new(chunk, "choices", json_pack("[o]", choice));
	if (finish)
		set_seed(chunk, job);
	add_event(out, chunk);
}

static void add_part(const struct server *server, struct job *job, uint32_t index, const char *name, const struct text *text,
                     size_t *sent, bool all, struct text *out)
{
	size_t count = text->count - *sent;
	if (!all && count > 0)
		count = text_whole(text->bytes + *sent, count);
	if (count == 0)
		return;
	json_t *string = json_bytes(text->bytes + *sent, count);
	bool chat = job->request.endpoint == ENDPOINT_CHAT;
	add_chunk(server, job, index, chat ? json_pack("{s:o}", name, string) : string, NULL, text == &job->choices[index].text,
	          out);
	*sent += count;
}

/* Whether the text may turn out to be a call, which is not sent as text. */
static bool may_be_call(const struct job *job, const struct choice *choice)
{
	return job->request.tools && choice->text.count > 0 && strchr("{[`", choice->text.bytes[0]);
}

static void add_parts(const struct server *server, struct job *job, uint32_t index, bool hold, bool all, struct text *out)
{
	struct choice *choice = &job->choices[index];
	add_part(server, job, index, "reasoning_content", &choice->reasoning, &choice->reasoning_sent, all, out);
	if (!hold)
		add_part(server, job, index, "content", &choice->text, &choice->text_sent, all, out);
}

static void add_role(const struct server *server, struct job *job, uint32_t index, struct text *out)
{
	struct choice *choice = &job->choices[index];
	if (!choice->begun && job->request.endpoint == ENDPOINT_CHAT)
		add_chunk(server, job, index, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL, false, out);
	choice->begun = true;
}

void reply_delta(const struct server *server, struct job *job, uint32_t index, struct text *out)
{
	add_role(server, job, index, out);
	add_parts(server, job, index, may_be_call(job, &job->choices[index]), false, out);
}

void reply_choice_end(const struct server *server, struct job *job, uint32_t index, struct text *out)
{
	struct choice *choice = &job->choices[index];
	json_t *calls = job_calls(job, choice), *call;
	bool chat = job->request.endpoint == ENDPOINT_CHAT;
	size_t at;
	add_role(server, job, index, out);
	add_parts(server, job, index, calls != NULL, true, out);
	json_array_foreach(calls, at, call) json_object_set_new(call, "index", json_integer((json_int_t)at));
	if (calls)
		add_chunk(server, job, index, json_pack("{s:o}", "tool_calls", calls), NULL, false, out);
	add_chunk(server, job, index, chat ? json_object() : json_string(""), calls ? "tool_calls" : choice->finish,
	          json_array_size(choice->logprobs) > 0, out);
}

void reply_stream_end(const struct server *server, const struct job *job, struct text *out)
{
	if (job->request.stream_usage) {
		json_t *chunk = object_head(server, job, true);
		json_object_set_new(chunk, "choices", json_array());
		json_object_set_new(chunk, "usage", usage(job));
		set_seed(chunk, job);
		add_event(out, chunk);
	}
	text_add_text(out, "data: [DONE]\n\n");
}

void reply_progress(const struct server *server, const struct job *job, uint64_t read, struct text *out)
{
	json_t *chunk = object_head(server, job, true);
	bool chat = job->request.endpoint == ENDPOINT_CHAT;
	json_object_set_new(chunk, "choices",
	                    json_pack("[{s:i, s:o, s:n, s:n}]", "index", 0, chat ? "delta" : "text",
	                              chat ? json_object() : json_string(""), "logprobs", "finish_reason"));
	json_object_set_new(chunk, "prompt_progress",
	                    json_pack("{s:I, s:I, s:I}", "total", (json_int_t)job->prompt_tokens, "cache",
	                              (json_int_t)job->cached_tokens, "processed", (json_int_t)read));
	add_event(out, chunk);
}

/* ---------------------------------------------------------------------------------------------------- whole replies */

static json_t *string_of(const struct text *text)
{
	return json_bytes(text->count ? text->bytes : "", text->count);
}

static json_t *whole_choice(const struct job *job, uint32_t index)
{
	struct choice *choice = &job->choices[index];
	json_t *logprobs = take_logprobs(job, choice);
	if (job->request.endpoint != ENDPOINT_CHAT)
		return json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)index, "text", string_of(&choice->text), "logprobs",
		                 logprobs, "finish_reason", choice->finish);
	json_t *calls = job_calls(job, choice);
	json_t *message =
		json_pack("{s:s, s:o, s:n}", "role", "assistant", "content", calls ? json_null() : string_of(&choice->text), "refusal");
	if (choice->reasoning.count)
		json_object_set_new(message, "reasoning_content", string_of(&choice->reasoning));
	const char *finish = calls ? "tool_calls" : choice->finish;
	if (calls)
		json_object_set_new(message, "tool_calls", calls);
	return json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)index, "message", message, "logprobs", logprobs,
	                 "finish_reason", finish);
}

void reply_whole(const struct server *server, struct job *job, struct text *out)
{
	json_t *object = object_head(server, job, false), *choices = json_array();
	for (uint32_t i = 0; i < job->request.n; i++)
		json_array_append_new(choices, whole_choice(job, i));
	json_object_set_new(object, "choices", choices);
	json_object_set_new(object, "usage", usage(job));
	set_seed(object, job);
	text_add_json(out, object);
}

/* ---------------------------------------------------------------------------------------------------- what needs no session */

/* The modes that prompts of this template can be made with. */
static json_t *think_modes(rwkvk_chat_template chat)
{
	static const char *const names[] = { "off", "fake", "on", "a bit", "a lot" };
	json_t *list = json_array();
	for (int i = RWKVK_THINK_OFF; i <= RWKVK_THINK_A_LOT; i++) {
		const rwkvk_chat_options options = { .think = (rwkvk_chat_think)i };
		size_t bytes;
		if (rwkvk_chat_render(chat, NULL, 0, &options, NULL, 0, &bytes, NULL) == RWKVK_OK)
			json_array_append_new(list, json_string(names[i]));
	}
	return list;
}

static json_t *model_entry(const struct server *server)
{
	const rwkvk_sampling *s = &server->limits.sampling;
	char description[160];
	json_t *states = json_array();
	snprintf(description, sizeof description, "RWKV-%s, %s parameters, %s", server->info.version,
	         show_count(server->info.parameters).text, server->info.type);
	for (size_t i = 0; i < server->limits.state_count; i++)
		json_array_append_new(states, json_text(server->limits.states[i]));
	json_t *sampling = json_pack("{s:f, s:f, s:I, s:f, s:f, s:f}", "temperature", (double)s->temperature, "top_p",
	                             (double)s->top_p, "top_k", (json_int_t)s->top_k, "presence_penalty", (double)s->presence,
	                             "frequency_penalty", (double)s->frequency, "penalty_decay", (double)s->decay);
	return json_pack("{s:s, s:s, s:I, s:s, s:o, s:s, s:o, s:o, s:o, s:s, s:I, s:I, s:I}", "id", server->limits.model, "object",
	                 "model", "created", (json_int_t)server->created, "owned_by", "rwkvk", "states", states, "template",
	                 rwkvk_chat_name(server->chat), "think", think_modes(server->chat), "sampling", sampling, "device",
	                 json_text(server->info.device), "description", description, "max_tokens",
	                 (json_int_t)server->options.max_tokens, "max_prompt", (json_int_t)server->options.max_prompt, "parallel",
	                 (json_int_t)server->options.parallel);
}

void reply_models(const struct server *server, bool list, struct text *out)
{
	json_t *entry = model_entry(server);
	text_add_json(out, list ? json_pack("{s:s, s:[o]}", "object", "list", "data", entry) : entry);
}

static json_t *token_piece(const rwkvk_tokenizer *tokenizer, uint32_t id)
{
	size_t count;
	const char *bytes = rwkvk_tokenizer_token(tokenizer, id, &count);
	return json_pack("{s:I, s:o}", "id", (json_int_t)id, "piece", json_bytes(bytes ? bytes : "", count));
}

/* The ids, to be freed; NULL with *refusal filled: there are none to reply with. */
static uint32_t *encode(const struct server *server, const struct request *request, size_t *count, struct refusal *refusal)
{
	size_t capacity = 3 * request->prompt_bytes;
	uint32_t *ids = malloc((capacity + 1) * sizeof *ids);
	bool ok = ids || refuse(refusal, 500, NULL, NULL, "out of memory");
	if (ok && rwkvk_tokenizer_encode(rwkvk_model_tokenizer(server->model), request->prompt, request->prompt_bytes, ids,
	                                 capacity, count) != RWKVK_OK)
		ok = refuse(refusal, 400, NULL, "content", "content: %.*s", MOST_ERROR_TEXT, rwkvk_last_error());
	if (ok && *count > server->options.max_prompt)
		ok = refuse(refusal, 400, "context_length_exceeded", "content",
		            "content: the text has %zu tokens; this server takes at most %" PRIu64, *count, server->options.max_prompt);
	if (ok)
		return ids;
	free(ids);
	return NULL;
}

void reply_tokenize(const struct server *server, const struct request *request, struct text *out, struct refusal *refusal)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(server->model);
	size_t count;
	uint32_t *ids = encode(server, request, &count, refusal);
	if (!ids)
		return;
	text_add_text(out, "{\"tokens\":[");
	for (size_t i = 0; i < count; i++) {
		text_add(out, ",", i > 0);
		text_add_json(out, request->pieces ? token_piece(tokenizer, ids[i]) : json_integer(ids[i]));
	}
	text_add_text(out, "]}");
	free(ids);
}

void reply_detokenize(const struct server *server, const struct request *request, struct text *out)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(server->model);
	struct text bytes = { .bytes = NULL };
	for (size_t i = 0; i < request->token_count; i++) {
		size_t count;
		const char *piece = rwkvk_tokenizer_token(tokenizer, request->tokens[i], &count);
		text_add(&bytes, piece, count);
	}
	out->failed |= bytes.failed;
	text_add_json(out, json_pack("{s:o}", "content", string_of(&bytes)));
	text_free(&bytes);
}
