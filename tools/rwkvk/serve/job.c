#include "serve/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "streams.h"
#include "system.h"
#include "serve/server.h"

/* A number that nobody can guess. */
static uint64_t draw(void)
{
	uint64_t bits;
	return system_entropy(&bits) ? bits : (uint64_t)(server_now() * 1e9);
}

double server_now(void)
{
	return now_seconds();
}

/* ---------------------------------------------------------------------------------------------------- prompts */

/* Room for an end of each message, and of one more. */
static bool render(const struct job *job, const rwkvk_chat_message *messages, size_t count, bool messages_only,
                   struct text *text, size_t *ends)
{
	rwkvk_chat_options options = job->chat_options;
	size_t bytes;
	options.messages_only = messages_only;
	if (rwkvk_chat_render(job->chat, messages, count, &options, NULL, 0, &bytes, NULL) != RWKVK_OK)
		return false;
	text->bytes = malloc(bytes + 1);
	text->failed = !text->bytes;
	text->count = text->failed ? 0 : bytes;
	return text->failed ||
	       rwkvk_chat_render(job->chat, messages, count, &options, text->bytes, bytes, &bytes, ends) == RWKVK_OK;
}

/* What a template does not have. */
static bool refuse_rendering(const struct request *request, struct refusal *refusal)
{
	const char *error = rwkvk_last_error(), *param = strstr(error, "tool") ? "tools" : "messages";
	if (strstr(error, "think mode"))
		param = request->think_field;
	return refuse(refusal, 400, NULL, param, "%s: %.*s", param, MOST_ERROR_TEXT, error);
}

/* How G1 was trained to fill in the middle; no other template has that. */
static bool add_suffix(const struct job *job, struct text *text, struct refusal *refusal)
{
	const struct request *request = &job->request;
	if (job->chat != RWKVK_CHAT_G1)
		return refuse(refusal, 400, "unsupported_parameter", "suffix", "suffix: the template %s of this model has no suffix",
		              rwkvk_chat_name(job->chat));
	text_add_text(text, FIM_MARK "prefix" FIM_MARK FIM_MARK "suffix" FIM_MARK);
	text_add_text(text, request->suffix);
	text_add_text(text, FIM_MARK "middle" FIM_MARK);
	return true;
}

static bool make_text(const struct job *job, struct text *text, size_t *ends, struct refusal *refusal)
{
	const struct request *request = &job->request;
	if (request->endpoint == ENDPOINT_CHAT)
		return render(job, request->messages, request->message_count, false, text, ends) || refuse_rendering(request, refusal);
	if (request->suffix && !add_suffix(job, text, refusal))
		return false;
	text_add(text, request->prompt, request->prompt_bytes);
	return true;
}

static bool make_prompt(struct server *server, struct job *job, struct refusal *refusal)
{
	const struct request *request = &job->request;
	struct text text = { .bytes = NULL };
	size_t *ends = calloc(request->message_count + 1, sizeof *ends);
	rwkvk_prompt_info info = { .size = sizeof info };
	rwkvk_prompt_options options = { .size = sizeof options,
		                             .ends = request->message_count ? ends : NULL,
		                             .end_count = request->message_count,
		                             .start = request->state ? server->starts[request->state - 1] : 0 };
	bool ok = ends != NULL && make_text(job, &text, ends, refusal);
	if (!ends || text.failed)
		ok = refuse(refusal, 500, NULL, NULL, "out of memory");
	if (ok && rwkvk_prompt_create(server->cache, text.count ? text.bytes : "", text.count, &options, &job->prompt) != RWKVK_OK)
		ok = refuse(refusal, 400, NULL, request->endpoint == ENDPOINT_CHAT ? "messages" : "prompt", "%.*s", MOST_ERROR_TEXT,
		            rwkvk_last_error());
	if (ok)
		rwkvk_prompt_get_info(job->prompt, &info);
	job->prompt_tokens = info.tokens;
	text_free(&text);
	free(ends);
	return ok;
}

static bool check_prompt(const struct server *server, const struct job *job, struct refusal *refusal)
{
	const char *param = job->request.endpoint == ENDPOINT_CHAT ? "messages" : "prompt";
	if (job->prompt_tokens == 0)
		return refuse(refusal, 400, NULL, param, "%s: expected some text to go on from", param);
	return job->prompt_tokens <= server->options.max_prompt ||
	       refuse(refusal, 400, "context_length_exceeded", param,
	              "%s: the prompt has %" PRIu64 " tokens; this server takes at most %" PRIu64, param, job->prompt_tokens,
	              server->options.max_prompt);
}

/* ---------------------------------------------------------------------------------------------------- life */

static void job_free(struct job *job)
{
	for (uint32_t i = 0; job->choices && i < job->request.n; i++) {
		struct choice *choice = &job->choices[i];
		rwkvk_session_destroy(choice->session);
		rwkvk_chat_answer_destroy(choice->answer);
		text_free(&choice->raw);
		text_free(&choice->text);
		text_free(&choice->reasoning);
		json_decref(choice->logprobs);
	}
	rwkvk_prompt_destroy(job->prompt);
	free(job->choices);
	text_free(&job->output);
	request_free(&job->request);
	free(job);
}

void job_release(struct job *job)
{
	if (--job->references == 0)
		job_free(job);
}

static void name_job(struct job *job)
{
	snprintf(job->id, sizeof job->id, "%s-%016" PRIx64, job->request.endpoint == ENDPOINT_CHAT ? "chatcmpl" : "cmpl", draw());
	job->created = (int64_t)time(NULL);
	if (!job->request.seed_given)
		job->request.sampling.seed = draw() & UINT32_MAX; /* short enough to be typed again */
}

struct job *job_create(struct server *server, struct request *request, struct refusal *refusal)
{
	struct job *job = calloc(1, sizeof *job);
	struct choice *choices = calloc(request->n, sizeof *choices);
	if (!job || !choices) {
		free(job);
		free(choices);
		request_free(request);
		refuse(refusal, 500, NULL, NULL, "out of memory");
		return NULL;
	}
	job->request = *request;
	job->choices = choices;
	job->server = server;
	job->chat = server->chat;
	job->chat_options = (rwkvk_chat_options){
		.size = sizeof job->chat_options, .think = request->think, .call = request->call, .tools = request->tools
	};
	job->sessions = request->n;
	job->references = 2;
	name_job(job);
	if (make_prompt(server, job, refusal) && check_prompt(server, job, refusal))
		return job;
	job_free(job);
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- answers */

static char *raw_calls(const struct job *job, const struct choice *choice)
{
	size_t bytes = 0;
	if (!job->request.tools || choice->text.count == 0 ||
	    rwkvk_chat_tool_calls(job->request.tools, choice->text.bytes, choice->text.count, NULL, 0, &bytes) != RWKVK_OK ||
	    bytes == 0)
		return NULL;
	char *json = calloc(1, bytes + 1);
	if (json)
		rwkvk_chat_tool_calls(job->request.tools, choice->text.bytes, choice->text.count, json, bytes, &bytes);
	return json;
}

json_t *job_calls(const struct job *job, const struct choice *choice)
{
	char *raw = raw_calls(job, choice), id[32];
	json_t *given = raw ? json_loads(raw, 0, NULL) : NULL, *calls = given ? json_array() : NULL, *call;
	size_t index;
	json_array_foreach(given, index, call)
	{
		char *arguments = json_dumps(json_object_get(call, "arguments"), JSON_COMPACT);
		snprintf(id, sizeof id, "call_%016" PRIx64, draw());
		if (index == 0 || !job->request.one_call)
			json_array_append_new(calls, json_pack("{s:s, s:s, s:{s:O, s:s}}", "id", id, "type", "function", "function", "name",
			                                       json_object_get(call, "name"), "arguments", arguments ? arguments : "{}"));
		free(arguments);
	}
	json_decref(given);
	free(raw);
	return calls;
}

static void chat_history(const struct job *job, const struct choice *choice, struct text *text, size_t *ends)
{
	size_t count = job->request.message_count;
	rwkvk_chat_message *messages = calloc(count + 1, sizeof *messages);
	char *calls = raw_calls(job, choice);
	text->failed = !messages;
	if (messages) {
		memcpy(messages, job->request.messages, count * sizeof *messages);
		messages[count] = (rwkvk_chat_message){ .size = sizeof *messages,
			                                    .role = RWKVK_ROLE_ASSISTANT,
			                                    .text = calls ? NULL : choice->text.bytes,
			                                    .tool_calls = calls };
		text->failed = !render(job, messages, count + 1, true, text, ends) || text->failed;
	}
	free(calls);
	free(messages);
}

void job_history(const struct job *job, const struct choice *choice, struct text *text, size_t *ends, size_t *end_count)
{
	struct refusal ignored;
	*end_count = 0;
	if (job->request.endpoint == ENDPOINT_CHAT) {
		chat_history(job, choice, text, ends);
		*end_count = job->request.message_count + 1;
	} else if (make_text(job, text, NULL, &ignored)) {
		text_add(text, choice->raw.bytes, choice->raw.count);
	}
}
