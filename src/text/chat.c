/* The templates, and which one a model uses. */
#include "text/chat.h"

#include <string.h>

#include "base/structs.h"
#include "format/weights.h"

/* G1: RWKV-LM, RWKV-v7/RWKV7-G1x-templates.txt.  World and Raven: ChatRWKV's README, "the best chat format".  rwkv-world:
 * llama.cpp, src/llama-chat.cpp and models/templates/llama-cpp-rwkv-world.jinja. */
static const struct chat_format formats[] = {
	[RWKVK_CHAT_PLAIN] = { .name = "plain", .system = "", .user = "", .assistant = "", .tail = { "" }, .hint = { "" } },
	[RWKVK_CHAT_RAVEN] = { .name = "raven",
	                       .system = "",
	                       .user = "Bob: ",
	                       .assistant = "Alice: ",
	                       .stop = "\n\nBob:",
	                       .tail = { "" },
	                       .hint = { "" } },
	[RWKVK_CHAT_WORLD] = { .name = "world",
	                       .system = "System: ",
	                       .user = "User: ",
	                       .assistant = "Assistant: ",
	                       .stop = "\n\nUser:",
	                       .tail = { "" },
	                       .hint = { "" } },
	[RWKVK_CHAT_RWKV_WORLD] = { .name = "rwkv-world",
	                            .system = "System: ",
	                            .user = "User: ",
	                            .assistant = "Assistant: ",
	                            .keeps_blank_lines = true,
	                            .keeps_answers = true,
	                            .blank_line_ends = true,
	                            .stop = "\n\nUser:",
	                            .tail = { "", " <think>\n</think>", " <think>" },
	                            .hint = { "", "", "" } },
	[RWKVK_CHAT_G1] = { .name = "g1",
	                    .system = "System: ",
	                    .user = "User: ",
	                    .assistant = "Assistant: ",
	                    .keeps_answers = true,
	                    .blank_line_ends = true,
	                    .has_tools = true,
	                    .stop = "\n\nUser:",
	                    .tail = { "", " <think>\n</think", " <think", " <think", " <think" },
	                    .hint = { "", "", "", " (think a bit)", " (think a lot)" } },
};

enum { FORMATS = sizeof formats / sizeof *formats };

static const char *const think_names[CHAT_MODES] = { "off", "fake", "on", "a bit", "a lot" };

/* ---------------------------------------------------------------------------------------------------- names */

const char *rwkvk_chat_name(rwkvk_chat_template chat)
{
	return (unsigned)chat < FORMATS ? formats[chat].name : NULL;
}

rwkvk_status rwkvk_chat_find(const char *name, rwkvk_chat_template *out)
{
	REQUIRE(name && out);
	for (unsigned i = 0; i < FORMATS; i++)
		if (strcmp(formats[i].name, name) == 0) {
			*out = (rwkvk_chat_template)i;
			return RWKVK_OK;
		}
	return fail(RWKVK_ERROR_ARGUMENT, "there is no chat template \"%s\": expected " CHAT_NAMES,
	            show_text(name, strlen(name)).text);
}

/* ---------------------------------------------------------------------------------------------------- options */

static rwkvk_status check_think(const struct chat_format *format, rwkvk_chat_think think)
{
	if ((unsigned)think >= CHAT_MODES)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_chat_options.think is %d: expected a rwkvk_chat_think", (int)think);
	if (!format->tail[think])
		return fail(RWKVK_ERROR_ARGUMENT, "the chat template %s has no think mode \"%s\": g1 has them all", format->name,
		            think_names[think]);
	return RWKVK_OK;
}

rwkvk_status chat_open(rwkvk_chat_template chat, const rwkvk_chat_options *given, rwkvk_chat_options *options,
                       const struct chat_format **out)
{
	if ((unsigned)chat >= FORMATS)
		return fail(RWKVK_ERROR_ARGUMENT, "%d is not a rwkvk_chat_template", (int)chat);
	*out = &formats[chat];
	TRY(READ_OPTIONS(rwkvk_chat_options, tools, given, options));
	TRY(check_think(*out, options->think));
	if (options->call && !options->tools)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_chat_options.call is set without tools that could be called");
	if (options->tools && !(*out)->has_tools)
		return fail(RWKVK_ERROR_ARGUMENT, "the chat template %s has no tools: g1 has", (*out)->name);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- choosing */

/* A piece that identifies one known text.  The first is the one that llama.cpp looks for. */
static bool text_is_known(const char *text, rwkvk_chat_template *out)
{
	static const struct {
		const char *pieces[2]; /* NULL: one is enough */
		rwkvk_chat_template chat;
	} known[] = {
		/* llama.cpp's name; its llama-cpp-rwkv-world.jinja, which rwkv-mobile uses with a different default */
		{ { "{{- 'User: ' + message['content']|trim + '\\n\\n' -}}", NULL }, RWKVK_CHAT_RWKV_WORLD },
		/* Hugging Face's G1 models, then its World models */
		{ { "<|rwkv_tokenizer_end_of_text|>", "{{ 'Assistant: <think" }, RWKVK_CHAT_G1 },
		{ { "<|rwkv_tokenizer_end_of_text|>", "{{'User: ' + message['content'] + '" }, RWKVK_CHAT_RWKV_WORLD },
	};
	*out = RWKVK_CHAT_RWKV_WORLD;
	if (strcmp(text, "rwkv-world") == 0)
		return true;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (strstr(text, known[i].pieces[0]) && (!known[i].pieces[1] || strstr(text, known[i].pieces[1]))) {
			*out = known[i].chat;
			return true;
		}
	return false;
}

struct chat_choice chat_choose(const char *text, uint32_t version, bool world)
{
	struct chat_choice choice = { .unknown = text != NULL };
	if (text && text_is_known(text, &choice.chat))
		choice.unknown = false;
	else
		choice.chat = !world ? RWKVK_CHAT_PLAIN : version >= 70 ? RWKVK_CHAT_G1 : RWKVK_CHAT_WORLD;
	return choice;
}
