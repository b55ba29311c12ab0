/* Chats: every template and think mode to the byte, at once and message by message; answers split at every place; what ends
 * them; the JSON of tools; which model has which template. */
#include "support.h"

#include <stdio.h>

#include "rwkvk.h"
#include "text/chat.h"
#include "text/tokenizer.h"

enum { MOST = 4096, ROOM = 16 };

#define S(t)                                                                                                                   \
	{                                                                                                                          \
		.role = RWKVK_ROLE_SYSTEM, .text = t                                                                                   \
	}
#define U(t)                                                                                                                   \
	{                                                                                                                          \
		.role = RWKVK_ROLE_USER, .text = t                                                                                     \
	}
#define A(t)                                                                                                                   \
	{                                                                                                                          \
		.role = RWKVK_ROLE_ASSISTANT, .text = t                                                                                \
	}
#define T(t)                                                                                                                   \
	{                                                                                                                          \
		.role = RWKVK_ROLE_TOOL, .text = t                                                                                     \
	}

static const char tools[] =
	"[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"Of a \\u00e9town\\n\","
	"\"parameters\":{\"type\":\"object\",\"properties\":{\"town\":{\"type\":\"string\"}}}}},"
	"{\"name\": \"add\", \"arguments\": {\"step\": 0.1, \"most\": 2.5}}]";

/* ---------------------------------------------------------------------------------------------------- rendering */

struct rendered {
	char text[MOST + 1];
	size_t bytes, ends[ROOM];
};

static void render(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                   const rwkvk_chat_options *options, struct rendered *out)
{
	size_t measured = 1;
	assert_ok(rwkvk_chat_render(chat, messages, count, options, NULL, 0, &measured, NULL));
	assert_true(measured <= MOST);
	memset(out->text, '#', sizeof out->text);
	assert_ok(rwkvk_chat_render(chat, messages, count, options, out->text, MOST, &out->bytes, out->ends));
	assert_int_equal(out->bytes, measured);
	assert_int_equal(out->text[out->bytes], '#');
	out->text[out->bytes] = 0;
	assert_int_equal(strlen(out->text), out->bytes);
}

static void assert_renders(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                           const rwkvk_chat_options *options, const char *want)
{
	struct rendered got;
	render(chat, messages, count, options, &got);
	assert_string_equal(got.text, want);
}

static const rwkvk_chat_message talk[] = {
	S(" Be\n\n\nshort. "),
	U("Hi\r\n\r\nthere \n"),
	A("<think>\nA greeting.\n\nSo greet.</think>\n\nHello!\n"),
	U("2 + 2?"),
};
enum { TALK = sizeof talk / sizeof *talk };

/* Text that all modes of a template share, and what follows it. */
static void golden_modes(void **state)
{
	(void)state;
	static const struct {
		rwkvk_chat_template chat;
		rwkvk_chat_think think;
		const char *want;
	} cases[] = {
		{ RWKVK_CHAT_G1, RWKVK_THINK_OFF,
		  "System: Be\nshort.\n\nUser: Hi\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant:" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_FAKE,
		  "System: Be\nshort.\n\nUser: Hi\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant: <think>\n</think" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_ON,
		  "System: Be\nshort.\n\nUser: Hi\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant: <think" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_A_BIT,
		  "System: Be\nshort.\n\nUser: Hi\nthere (think a bit)\n\nAssistant: Hello!\n\nUser: 2 + 2? (think a bit)\n\n"
		  "Assistant: <think" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_A_LOT,
		  "System: Be\nshort.\n\nUser: Hi\nthere (think a lot)\n\nAssistant: Hello!\n\nUser: 2 + 2? (think a lot)\n\n"
		  "Assistant: <think" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_OFF,
		  "System: Be\n\n\nshort.\n\nUser: Hi\r\n\r\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant:" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_FAKE,
		  "System: Be\n\n\nshort.\n\nUser: Hi\r\n\r\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant: "
		  "<think>\n</think>" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_ON,
		  "System: Be\n\n\nshort.\n\nUser: Hi\r\n\r\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant: <think>" },
		{ RWKVK_CHAT_WORLD, RWKVK_THINK_OFF,
		  "System: Be\nshort.\n\nUser: Hi\nthere\n\nAssistant: Hello!\n\nUser: 2 + 2?\n\nAssistant:" },
		{ RWKVK_CHAT_RAVEN, RWKVK_THINK_OFF, "Be\nshort.\n\nBob: Hi\nthere\n\nAlice: Hello!\n\nBob: 2 + 2?\n\nAlice:" },
		{ RWKVK_CHAT_PLAIN, RWKVK_THINK_OFF,
		  " Be\n\n\nshort. Hi\r\n\r\nthere \n<think>\nA greeting.\n\nSo greet.</think>\n\nHello!\n2 + 2?" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_renders(cases[i].chat, talk, TALK, &(rwkvk_chat_options){ .think = cases[i].think }, cases[i].want);
	assert_renders(RWKVK_CHAT_G1, talk, TALK, NULL, cases[0].want);
	assert_renders(RWKVK_CHAT_G1, talk, 0, NULL, "Assistant:");
	assert_renders(RWKVK_CHAT_RAVEN, talk + 3, 1, NULL, "Bob: 2 + 2?\n\nAlice:");
	assert_renders(RWKVK_CHAT_PLAIN, talk + 3, 1, &(rwkvk_chat_options){ .messages_only = true }, "2 + 2?");
}

/* Cases for single messages only. */
static void golden_messages(void **state)
{
	(void)state;
	static const struct {
		rwkvk_chat_template chat;
		rwkvk_chat_message message;
		const char *want;
	} cases[] = {
		{ RWKVK_CHAT_G1, S(" \n "), "" },
		{ RWKVK_CHAT_G1, S(NULL), "" },
		{ RWKVK_CHAT_G1, U(NULL), "User: \n\n" },
		{ RWKVK_CHAT_G1, A("one\n\ntwo"), "Assistant: one\n\ntwo\n\n" },
		{ RWKVK_CHAT_WORLD, A("one\n\ntwo"), "Assistant: one\ntwo\n\n" },
		{ RWKVK_CHAT_RAVEN, A("one\n\ntwo"), "Alice: one\ntwo\n\n" },
		{ RWKVK_CHAT_G1, A("</think>"), "Assistant: \n\n" },
		{ RWKVK_CHAT_G1, A("a</think>b</think> c"), "Assistant: c\n\n" },
		{ RWKVK_CHAT_G1, A("<think>cut off"), "Assistant: <think>cut off\n\n" },
		{ RWKVK_CHAT_G1, U("what does a</think>b mean"), "User: what does a</think>b mean\n\n" },
		{ RWKVK_CHAT_G1, T("{\n\n\"c\": 21}"), "User: Function output:\n{\n\"c\": 21}\n\n" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_renders(cases[i].chat, &cases[i].message, 1, &(rwkvk_chat_options){ .messages_only = true }, cases[i].want);
}

/* The same as Python's re.sub(r'\n{2,}', '\n', t.replace('\r\n', '\n')).strip(). */
static void cleaning(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
		{ "a\r\n\r\nb", "a\nb" },
		{ "a\n\r\n\nb", "a\nb" },
		{ "a\r\rb\r", "a\r\rb" },
		{ "a\r\r\nb", "a\r\nb" },
		{ "a\n \n\nb", "a\n \nb" },
		{ "\x1c\x1f\t\v\f a\x1d", "a" },
		{ "\xe3\x80\x80\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x80\xc2\xa0", "\xe4\xbd\xa0\xe5\xa5\xbd" }, /* U+3000, U+00A0 */
		{ "\xc2\x85\xe1\x9a\x80\xe2\x80\x80x\xe2\x80\x8a\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\x9f", "x" },
		{ "\xe2\x80\x8b\x7f", "\xe2\x80\x8b\x7f" }, /* a zero width space is none */
		{ "\xe3\x80", "\xe3\x80" },
		{ "\x80", "\x80" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char want[64];
		snprintf(want, sizeof want, "User: %s\n\n", cases[i][1]);
		const rwkvk_chat_message message = U(cases[i][0]);
		assert_renders(RWKVK_CHAT_G1, &message, 1, &(rwkvk_chat_options){ .messages_only = true }, want);
	}
}

/* ---------------------------------------------------------------------------------------------------- tools */

#define TOOLS                                                                                                                  \
	"Tools:\n[{\"name\":\"weather\",\"description\":\"Of a \xc3\xa9town\\n\",\"arguments\":{\"type\":\"object\","              \
	"\"properties\":{\"town\":{\"type\":\"string\"}}}},"                                                                       \
	"{\"name\":\"add\",\"arguments\":{\"step\":0.1,\"most\":2.5}}]\nReturn only a JSON function call."

static const rwkvk_chat_message with_tools[] = {
	S("In metres."),
	U("Warm in Ulm?"),
	{ .role = RWKVK_ROLE_ASSISTANT,
	  .tool_calls = "[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"town\\\": "
	                "\\\"Ulm\\\"}\"}}]" },
	T("{\"c\": 21}"),
	{ .role = RWKVK_ROLE_ASSISTANT,
	  .text = "<think>x</think>More.",
	  .tool_calls = "[{\"name\":\"add\",\"arguments\":{}},{\"name\":\"add\",\"arguments\":{\"step\":1}}]" },
};

static void golden_tools(void **state)
{
	(void)state;
	rwkvk_chat_options options = { .tools = tools, .call = true };
	assert_renders(RWKVK_CHAT_G1, with_tools + 1, 1, &options, "System: " TOOLS "\n\nUser: Warm in Ulm?\n\nAssistant: ```json");
	options.think = RWKVK_THINK_A_BIT;
	assert_renders(RWKVK_CHAT_G1, with_tools + 1, 1, &options,
	               "System: " TOOLS "\n\nUser: Warm in Ulm? (think a bit)\n\nAssistant: <think");
	options = (rwkvk_chat_options){ .tools = tools };
	assert_renders(RWKVK_CHAT_G1, with_tools, 0, &options, "System: " TOOLS "\n\nAssistant:");
	assert_renders(RWKVK_CHAT_G1, with_tools, 4, &options,
	               "System: " TOOLS "\nIn metres.\n\nUser: Warm in Ulm?\n\n"
	               "Assistant: ```json\n{\"name\":\"weather\",\"arguments\":{\"town\":\"Ulm\"}}\n```\n\n"
	               "User: Function output:\n{\"c\": 21}\n\nAssistant:");
	options = (rwkvk_chat_options){ .messages_only = true };
	assert_renders(
		RWKVK_CHAT_G1, with_tools + 4, 1, &options,
		"Assistant: More.\n```json\n[{\"name\":\"add\",\"arguments\":{}},{\"name\":\"add\",\"arguments\":{\"step\":1}}]"
		"\n```\n\n");
}

static void calls_of_answers(void **state)
{
	(void)state;
	static const struct {
		const char *answer, *want;
	} cases[] = {
		{ "{\"name\":\"add\",\"arguments\":{\"step\": 0.1}}", "[{\"name\":\"add\",\"arguments\":{\"step\":0.1}}]" },
		{ " \n```json\n{\"name\":\"add\",\"arguments\":{}}\n```\n", "[{\"name\":\"add\",\"arguments\":{}}]" },
		{ "\n{\"name\":\"add\",\"arguments\":{}}\n```", "[{\"name\":\"add\",\"arguments\":{}}]" },
		{ "```\n[{\"name\":\"add\",\"arguments\":\"{}\"},{\"name\":\"weather\",\"arguments\":{}}]```",
		  "[{\"name\":\"add\",\"arguments\":{}},{\"name\":\"weather\",\"arguments\":{}}]" },
		{ "{\"function\":{\"name\":\"add\",\"arguments\":{\"a\":[1,null]}}}",
		  "[{\"name\":\"add\",\"arguments\":{\"a\":[1,null]}}]" },
		{ "", "" },
		{ "```json", "" },
		{ "Sure: {\"name\":\"add\",\"arguments\":{}}", "" },
		{ "{\"name\":\"add\",\"arguments\":{}} Done.", "" },
		{ "{\"name\":\"sub\",\"arguments\":{}}", "" },
		{ "{\"name\":\"add\"}", "" },
		{ "{\"name\":\"add\",\"arguments\":[]}", "" },
		{ "{\"name\":\"add\",\"arguments\":\"x\"}", "" },
		{ "{\"name\":7,\"arguments\":{}}", "" },
		{ "[]", "" },
		{ "[1]", "" },
		{ "[{\"name\":\"add\",\"arguments\":{}},{\"name\":\"sub\",\"arguments\":{}}]", "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char json[256];
		size_t bytes = 1;
		assert_ok(rwkvk_chat_tool_calls(tools, cases[i].answer, strlen(cases[i].answer), json, sizeof json - 1, &bytes));
		json[bytes] = 0;
		assert_string_equal(json, cases[i].want);
	}
	size_t bytes;
	assert_fails(rwkvk_chat_tool_calls("{}", "", 0, NULL, 0, &bytes), RWKVK_ERROR_ARGUMENT, "expected a list");
}

/* A rendered call is read back as the same call, and the reverse. */
static void calls_there_and_back(void **state)
{
	(void)state;
	static const char calls[] = "[{\"name\":\"weather\",\"arguments\":{\"town\":\"Ulm\\n\\n\"}}]";
	const rwkvk_chat_message message = { .role = RWKVK_ROLE_ASSISTANT, .tool_calls = calls };
	struct rendered got;
	char json[256];
	size_t bytes, prefix = strlen("Assistant: ");
	render(RWKVK_CHAT_G1, &message, 1, &(rwkvk_chat_options){ .messages_only = true }, &got);
	assert_ok(rwkvk_chat_tool_calls(tools, got.text + prefix, got.bytes - prefix, json, sizeof json - 1, &bytes));
	json[bytes] = 0;
	assert_string_equal(json, calls);
}

/* ---------------------------------------------------------------------------------------------------- piece by piece */

/* The first `cut` messages alone and the rest after them: the same bytes, and the ends where the pieces meet. */
static void assert_same_in_pieces(rwkvk_chat_template chat, const rwkvk_chat_message *messages, size_t count,
                                  rwkvk_chat_options options)
{
	struct rendered whole, first, rest;
	render(chat, messages, count, &options, &whole);
	for (size_t cut = 1; cut <= count; cut++) {
		rwkvk_chat_options before = options, after = options;
		before.messages_only = true;
		after.continued = true;
		render(chat, messages, cut, &before, &first);
		render(chat, messages + cut, count - cut, &after, &rest);
		assert_int_equal(first.bytes, whole.ends[cut - 1]);
		assert_int_equal(first.bytes + rest.bytes, whole.bytes);
		assert_memory_equal(first.text, whole.text, first.bytes);
		assert_memory_equal(rest.text, whole.text + first.bytes, rest.bytes);
		assert_memory_equal(first.ends, whole.ends, cut * sizeof *first.ends);
	}
}

static void at_once_or_message_by_message(void **state)
{
	(void)state;
	enum { TOOL_TALK = sizeof with_tools / sizeof *with_tools };
	for (rwkvk_chat_template chat = RWKVK_CHAT_PLAIN; rwkvk_chat_name(chat); chat++)
		for (rwkvk_chat_think think = RWKVK_THINK_OFF; think <= RWKVK_THINK_A_LOT; think++) {
			size_t bytes;
			rwkvk_chat_options options = { .think = think };
			if (rwkvk_chat_render(chat, NULL, 0, &options, NULL, 0, &bytes, NULL) != RWKVK_OK)
				continue;
			assert_same_in_pieces(chat, talk, TALK, options);
			options.tools = tools;
			if (chat == RWKVK_CHAT_G1) {
				assert_same_in_pieces(chat, with_tools, TOOL_TALK, options);
				assert_same_in_pieces(chat, with_tools + 1, TOOL_TALK - 1, options);
			}
		}
}

/* A buffer that is too small gets what fits, and nothing past its end. */
static void small_buffers(void **state)
{
	(void)state;
	struct rendered whole;
	render(RWKVK_CHAT_G1, talk, TALK, NULL, &whole);
	for (size_t capacity = 0; capacity < whole.bytes; capacity++) {
		char text[MOST];
		size_t bytes;
		memset(text, '#', sizeof text);
		assert_ok(rwkvk_chat_render(RWKVK_CHAT_G1, talk, TALK, NULL, text, capacity, &bytes, NULL));
		assert_int_equal(bytes, whole.bytes);
		assert_memory_equal(text, whole.text, capacity);
		assert_int_equal(text[capacity], '#');
	}
}

/* Messages of a caller that was compiled with a longer struct. */
static void longer_messages(void **state)
{
	(void)state;
	struct {
		rwkvk_chat_message message;
		uint64_t later;
	} own[2] = { { .message = U("a") }, { .message = A("b") } };
	own[0].message.size = own[1].message.size = sizeof own[0];
	assert_renders(RWKVK_CHAT_WORLD, &own[0].message, 2, NULL, "User: a\n\nAssistant: b\n\nAssistant:");
	own[1].later = 1;
	size_t bytes;
	assert_fails(rwkvk_chat_render(RWKVK_CHAT_WORLD, &own[0].message, 2, NULL, NULL, 0, &bytes, NULL), RWKVK_ERROR_ARGUMENT,
	             "sets an option");
}

static void refused(void **state)
{
	(void)state;
	static const rwkvk_chat_message tool = T("x"), odd = { .role = (rwkvk_chat_role)4 };
	static const struct {
		rwkvk_chat_template chat;
		const rwkvk_chat_message *message;
		rwkvk_chat_options options;
		const char *want;
	} cases[] = {
		{ RWKVK_CHAT_RWKV_WORLD,
		  &tool,
		  { 0 },
		  "message 0 is about tools, which the chat template rwkv-world does not have: g1 has" },
		{ RWKVK_CHAT_G1, &odd, { 0 }, "message 0: role is 4" },
		{ RWKVK_CHAT_RWKV_WORLD,
		  talk,
		  { .think = RWKVK_THINK_A_BIT },
		  "rwkv-world has no think mode \"a bit\": g1 has them all" },
		{ RWKVK_CHAT_WORLD, talk, { .think = RWKVK_THINK_FAKE }, "world has no think mode \"fake\"" },
		{ RWKVK_CHAT_RAVEN, talk, { .think = RWKVK_THINK_ON }, "raven has no think mode \"on\"" },
		{ RWKVK_CHAT_PLAIN, talk, { .think = RWKVK_THINK_ON }, "plain has no think mode \"on\"" },
		{ RWKVK_CHAT_G1, talk, { .think = (rwkvk_chat_think)5 }, "think is 5" },
		{ RWKVK_CHAT_WORLD, talk, { .tools = tools }, "world has no tools: g1 has" },
		{ RWKVK_CHAT_G1, talk, { .call = true }, "without tools" },
		{ RWKVK_CHAT_G1, talk, { .tools = "[{]" }, "(line 1, column 3)" },
		{ RWKVK_CHAT_G1, talk, { .tools = "[]" }, "at least one" },
		{ RWKVK_CHAT_G1, talk, { .tools = "[{\"name\":\"a\"},{}]" }, "entry 1 has no name" },
		{ (rwkvk_chat_template)5, talk, { 0 }, "5 is not a rwkvk_chat_template" },
	};
	size_t bytes;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_fails(rwkvk_chat_render(cases[i].chat, cases[i].message, 1, &cases[i].options, NULL, 0, &bytes, NULL),
		             RWKVK_ERROR_ARGUMENT, cases[i].want);
	static const char *const calls[] = { "", "[", "[]", "{}", "[{\"name\":\"a\"}]", "[{\"name\":\"a\",\"arguments\":\"[]\"}]" };
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		const rwkvk_chat_message message = { .role = RWKVK_ROLE_ASSISTANT, .tool_calls = calls[i] };
		assert_fails(rwkvk_chat_render(RWKVK_CHAT_G1, &message, 1, NULL, NULL, 0, &bytes, NULL), RWKVK_ERROR_ARGUMENT,
		             "tool_calls: expected");
	}
	const rwkvk_chat_message calling = { .role = RWKVK_ROLE_USER, .tool_calls = calls[0] };
	assert_fails(rwkvk_chat_render(RWKVK_CHAT_G1, &calling, 1, NULL, NULL, 0, &bytes, NULL), RWKVK_ERROR_ARGUMENT,
	             "only the assistant's");
}

/* ---------------------------------------------------------------------------------------------------- answers */

/* A vocabulary of every byte, with the relevant ids as in the official one. */
static rwkvk_tokenizer *open_world(void)
{
	char text[256 * 16], *at = text;
	for (int byte = 0; byte < 256; byte++)
		at += snprintf(at, 16, "%d b'\\x%02x' 1\n", byte + 1, byte);
	snprintf(at, 32, "261 '\\n\\n' 2\n300 'think' 5\n");
	rwkvk_tokenizer *t;
	assert_ok(tokenizer_from_text("test", (const uint8_t *)text, strlen(text), &t));
	return t;
}

struct parts {
	char reasoning[MOST], text[MOST];
	size_t reasoning_bytes, text_bytes;
	bool new_stops;
};

static void keep_part(struct parts *parts, const rwkvk_chat_part *part)
{
	memcpy(parts->reasoning + parts->reasoning_bytes, part->reasoning ? part->reasoning : "", part->reasoning_bytes);
	memcpy(parts->text + parts->text_bytes, part->text ? part->text : "", part->text_bytes);
	parts->reasoning_bytes += part->reasoning_bytes;
	parts->text_bytes += part->text_bytes;
	parts->reasoning[parts->reasoning_bytes] = parts->text[parts->text_bytes] = 0;
	parts->new_stops = part->new_stops;
}

static rwkvk_chat_answer *open_answer(rwkvk_chat_template chat, rwkvk_chat_think think)
{
	rwkvk_tokenizer *t = open_world();
	rwkvk_chat_answer *answer;
	assert_ok(rwkvk_chat_answer_create(chat, &(rwkvk_chat_options){ .think = think }, t, &answer));
	rwkvk_tokenizer_close(t);
	return answer;
}

static void push(rwkvk_chat_answer *answer, const char *text, size_t bytes, struct parts *parts)
{
	rwkvk_chat_part part = { 0 };
	assert_ok(rwkvk_chat_answer_push(answer, text, bytes, &part));
	keep_part(parts, &part);
}

static void finish(rwkvk_chat_answer *answer, struct parts *parts)
{
	rwkvk_chat_part part = { 0 };
	assert_ok(rwkvk_chat_answer_end(answer, &part));
	keep_part(parts, &part);
	rwkvk_chat_answer_destroy(answer);
}

struct split_case {
	rwkvk_chat_template chat;
	rwkvk_chat_think think;
	const char *answer, *reasoning, *text;
};

static const struct split_case splits[] = {
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, " Hello", "", "Hello" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, " <think>\nHm.\n\nSo.\n</think>\n\nFour.\n", "Hm.\n\nSo.", "Four." },
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, " <thing>", "", "<thing>" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, " <th", "", "<th" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, "a <think>b</think>c", "", "a <think>b</think>c" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, "<<think>b", "", "<<think>b" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, "", "", "" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_FAKE, ">\nFour.", "", "Four." },
	{ RWKVK_CHAT_G1, RWKVK_THINK_FAKE, "Four>", "", "Four>" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_FAKE, ">>", "", ">" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_ON, ">\nOne\n\ntwo\n</think>\nFour.\n\nGood.", "One\n\ntwo", "Four.\n\nGood." },
	{ RWKVK_CHAT_G1, RWKVK_THINK_ON, "> a < b << </thin <</think>c</think>", "a < b << </thin <", "c</think>" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_ON, "></think>Four.", "", "Four." },
	{ RWKVK_CHAT_G1, RWKVK_THINK_ON, "> never done</thi", "never done</thi", "" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_A_BIT, ">a</think>b", "a", "b" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_A_LOT, ">a</think>b", "a", "b" },
	{ RWKVK_CHAT_G1, RWKVK_THINK_ON, "ing\xe4\xbd\xa0</think>\xe5\xa5\xbd", "ing\xe4\xbd\xa0", "\xe5\xa5\xbd" },
	{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_OFF, " <think>a</think> b", "a", "b" },
	{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_FAKE, "\n\n b", "", "b" },
	{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_ON, "\na</think>\nb", "a", "b" },
	{ RWKVK_CHAT_WORLD, RWKVK_THINK_OFF, " a\n\nb ", "", "a\n\nb" },
	{ RWKVK_CHAT_RAVEN, RWKVK_THINK_OFF, " a", "", "a" },
	{ RWKVK_CHAT_PLAIN, RWKVK_THINK_OFF, " <think>a</think> b\n\n", "", " <think>a</think> b\n\n" },
};

/* The same parts however the text is cut into pushes. */
static void answers_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
		const struct split_case *c = &splits[i];
		size_t bytes = strlen(c->answer);
		for (size_t step = 1; step <= bytes + 1; step++)
			for (size_t first = 0; first < step && first <= bytes; first++) {
				rwkvk_chat_answer *answer = open_answer(c->chat, c->think);
				struct parts parts = { .text_bytes = 0 };
				push(answer, c->answer, first, &parts);
				for (size_t at = first; at < bytes; at += step)
					push(answer, c->answer + at, step < bytes - at ? step : bytes - at, &parts);
				finish(answer, &parts);
				assert_string_equal(parts.reasoning, c->reasoning);
				assert_string_equal(parts.text, c->text);
			}
	}
}

/* Text that cannot become a tag and is not white space is shown at once. */
static void nothing_waits_without_need(void **state)
{
	(void)state;
	static const struct {
		const char *piece, *reasoning, *text;
	} steps[] = {
		{ ">", "", "" },         { "a", "a", "" },           { " ", "a", "" },
		{ "b</", "a b", "" },    { "x", "a b</x", "" },      { "</think", "a b</x", "" },
		{ ">\n", "a b</x", "" }, { "c <", "a b</x", "c <" },
	};
	rwkvk_chat_answer *answer = open_answer(RWKVK_CHAT_G1, RWKVK_THINK_ON);
	struct parts parts = { .text_bytes = 0 };
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		push(answer, steps[i].piece, strlen(steps[i].piece), &parts);
		assert_string_equal(parts.reasoning, steps[i].reasoning);
		assert_string_equal(parts.text, steps[i].text);
	}
	finish(answer, &parts);
}

/* ---------------------------------------------------------------------------------------------------- stops */

static void assert_stops(const rwkvk_chat_answer *answer, size_t tokens, const char *text)
{
	rwkvk_chat_stops stops = { 0 };
	assert_ok(rwkvk_chat_answer_stops(answer, &stops));
	assert_int_equal(stops.token_count, tokens);
	for (size_t i = 0; i < tokens; i++)
		assert_int_equal(stops.tokens[i], i == 0 ? 0 : 261);
	assert_int_equal(stops.text_count, text != NULL);
	if (text)
		assert_string_equal(stops.texts[0], text);
}

static void stops(void **state)
{
	(void)state;
	static const struct {
		rwkvk_chat_template chat;
		rwkvk_chat_think think;
		size_t tokens;
		const char *text;
	} cases[] = {
		{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, 2, "\n\nUser:" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_FAKE, 2, "\n\nUser:" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_ON, 1, "\n\nUser:" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_A_BIT, 1, "\n\nUser:" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_A_LOT, 1, "\n\nUser:" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_OFF, 2, "\n\nUser:" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_FAKE, 2, "\n\nUser:" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_ON, 1, "\n\nUser:" },
		{ RWKVK_CHAT_WORLD, RWKVK_THINK_OFF, 1, "\n\nUser:" },
		{ RWKVK_CHAT_RAVEN, RWKVK_THINK_OFF, 1, "\n\nBob:" },
		{ RWKVK_CHAT_PLAIN, RWKVK_THINK_OFF, 1, NULL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rwkvk_chat_answer *answer = open_answer(cases[i].chat, cases[i].think);
		assert_stops(answer, cases[i].tokens, cases[i].text);
		rwkvk_chat_answer_destroy(answer);
	}
}

/* The byte vocabulary has no token 0 that ends a text, and no token for two line breaks. */
static void stops_of_bytes(void **state)
{
	(void)state;
	rwkvk_tokenizer *t;
	rwkvk_chat_answer *answer;
	assert_ok(tokenizer_bytes(&t));
	assert_ok(rwkvk_chat_answer_create(RWKVK_CHAT_G1, NULL, t, &answer));
	assert_stops(answer, 0, "\n\nUser:");
	rwkvk_chat_answer_destroy(answer);
	rwkvk_tokenizer_close(t);
}

/* Generates as a program would: a token at a time up to one of the stops, which are requested again when they change. */
static void generate(rwkvk_chat_template chat, rwkvk_chat_think think, const uint32_t *tokens, size_t count,
                     struct parts *parts, size_t *taken)
{
	rwkvk_tokenizer *t = open_world();
	rwkvk_chat_answer *answer = open_answer(chat, think);
	rwkvk_chat_stops now = { 0 };
	assert_ok(rwkvk_chat_answer_stops(answer, &now));
	bool stopped = false;
	for (*taken = 0; *taken < count && !stopped; *taken += !stopped) {
		size_t bytes;
		const void *text = rwkvk_tokenizer_token(t, tokens[*taken], &bytes);
		for (size_t i = 0; i < now.token_count; i++)
			stopped |= now.tokens[i] == tokens[*taken];
		if (!stopped)
			push(answer, text, bytes, parts);
		if (parts->new_stops)
			assert_ok(rwkvk_chat_answer_stops(answer, &now));
	}
	finish(answer, parts);
	rwkvk_tokenizer_close(t);
}

#define BYTE(c) ((c) + 1)
#define END_TAG BYTE('<'), BYTE('/'), 300, BYTE('>')

/* A blank line in the reasoning is part of it, and the first one after it ends the answer. */
static void blank_lines_in_both_places(void **state)
{
	(void)state;
	static const uint32_t thought[] = { BYTE('>'), BYTE('a'), 261, BYTE('b'), END_TAG, BYTE('\n'), BYTE('c'), 261, BYTE('d') };
	static const uint32_t own[] = { BYTE(' '), BYTE('<'), 300, BYTE('>'), BYTE('a'), 261, END_TAG, BYTE('c'), 261, BYTE('d') };
	static const uint32_t none[] = { BYTE(' '), BYTE('c'), 261, BYTE('d') };
	static const uint32_t ended[] = { BYTE('>'), BYTE('a'), 261, 0, BYTE('b') };
	static const struct {
		rwkvk_chat_template chat;
		rwkvk_chat_think think;
		const uint32_t *tokens;
		size_t count, taken;
		const char *reasoning, *text;
	} cases[] = {
		{ RWKVK_CHAT_G1, RWKVK_THINK_ON, thought, 12, 10, "a\n\nb", "c" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_A_BIT, thought, 12, 10, "a\n\nb", "c" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_A_LOT, thought, 12, 10, "a\n\nb", "c" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_ON, thought + 1, 11, 9, "a\n\nb", "c" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, own, 13, 11, "a", "c" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_OFF, own, 13, 11, "a", "c" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_OFF, none, 4, 2, "", "c" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_OFF, none, 4, 2, "", "c" },
		{ RWKVK_CHAT_RWKV_WORLD, RWKVK_THINK_FAKE, none, 4, 2, "", "c" },
		{ RWKVK_CHAT_WORLD, RWKVK_THINK_OFF, none, 4, 4, "", "c\n\nd" },
		{ RWKVK_CHAT_RAVEN, RWKVK_THINK_OFF, none, 4, 4, "", "c\n\nd" },
		{ RWKVK_CHAT_PLAIN, RWKVK_THINK_OFF, none, 4, 4, "", " c\n\nd" },
		{ RWKVK_CHAT_G1, RWKVK_THINK_ON, ended, 5, 3, "a", "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct parts parts = { .text_bytes = 0 };
		size_t taken;
		generate(cases[i].chat, cases[i].think, cases[i].tokens, cases[i].count, &parts, &taken);
		assert_int_equal(taken, cases[i].taken);
		assert_string_equal(parts.reasoning, cases[i].reasoning);
		assert_string_equal(parts.text, cases[i].text);
	}
}

/* ---------------------------------------------------------------------------------------------------- whose */

#define LLAMA_USER "{{- 'User: ' + message['content']|trim + '\\n\\n' -}}"
#define HF_START   "{{ '<|rwkv_tokenizer_end_of_text|>' }}{% for message in messages %}"
#define HF_USER    "{% if message['role'] == 'user' %}{{'User: ' + message['content'] + '\\n\\n'}}"

static void templates_of_models(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint32_t version;
		bool world;
		rwkvk_chat_template want;
		bool unknown;
	} cases[] = {
		{ NULL, 70, true, RWKVK_CHAT_G1, false },
		{ NULL, 60, true, RWKVK_CHAT_WORLD, false },
		{ NULL, 52, true, RWKVK_CHAT_WORLD, false },
		{ NULL, 40, true, RWKVK_CHAT_WORLD, false },
		{ NULL, 40, false, RWKVK_CHAT_PLAIN, false },
		{ NULL, 70, false, RWKVK_CHAT_PLAIN, false },
		{ "rwkv-world", 70, true, RWKVK_CHAT_RWKV_WORLD, false },
		{ "rwkv-world", 60, true, RWKVK_CHAT_RWKV_WORLD, false },
		{ "{%- for message in messages -%}" LLAMA_USER "{%- endfor -%}", 70, true, RWKVK_CHAT_RWKV_WORLD, false },
		{ HF_START HF_USER "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}", 60, true,
		  RWKVK_CHAT_RWKV_WORLD, false },
		{ HF_START HF_USER "{% endif %}{% endfor %}{% if add_generation_prompt %}{% if enable_thinking is defined and "
		                   "enable_thinking == False %}{{ 'Assistant: <think\\n</think>' }}{% else %}"
		                   "{{ 'Assistant: <think' }}{% endif %}{% endif %}",
		  70, true, RWKVK_CHAT_G1, false },
		{ "{{ '<|im_start|>' }}", 70, true, RWKVK_CHAT_G1, true },
		{ "{{ '<|im_start|>' }}", 60, false, RWKVK_CHAT_PLAIN, true },
		{ "", 60, true, RWKVK_CHAT_WORLD, true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct chat_choice choice = chat_choose(cases[i].text, cases[i].version, cases[i].world);
		assert_int_equal(choice.chat, cases[i].want);
		assert_int_equal(choice.unknown, cases[i].unknown);
	}
}

static void names(void **state)
{
	(void)state;
	unsigned count = 0;
	rwkvk_chat_template found;
	for (rwkvk_chat_template chat = 0; rwkvk_chat_name(chat); chat++, count++) {
		assert_ok(rwkvk_chat_find(rwkvk_chat_name(chat), &found));
		assert_int_equal(found, chat);
		assert_non_null(strstr(CHAT_NAMES, rwkvk_chat_name(chat)));
	}
	assert_int_equal(count, 5);
	assert_null(rwkvk_chat_name((rwkvk_chat_template)-1));
	assert_fails(rwkvk_chat_find("chatml", &found), RWKVK_ERROR_ARGUMENT,
	             "there is no chat template \"chatml\": expected g1, rwkv-world, world, raven or plain");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_modes),
		cmocka_unit_test(golden_messages),
		cmocka_unit_test(cleaning),
		cmocka_unit_test(golden_tools),
		cmocka_unit_test(calls_of_answers),
		cmocka_unit_test(calls_there_and_back),
		cmocka_unit_test(at_once_or_message_by_message),
		cmocka_unit_test(small_buffers),
		cmocka_unit_test(longer_messages),
		cmocka_unit_test(refused),
		cmocka_unit_test(answers_are_told_apart),
		cmocka_unit_test(nothing_waits_without_need),
		cmocka_unit_test(stops),
		cmocka_unit_test(stops_of_bytes),
		cmocka_unit_test(blank_lines_in_both_places),
		cmocka_unit_test(templates_of_models),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
