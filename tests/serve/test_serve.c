/* The parts of the server that need neither socket nor model: requests as structs, keys, addresses, text that grows; and the
 * list of fields in docs/server.md, which must be that of the code. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "serve/access.h"
#include "serve/request.h"
#include "serve/text.h"
#include "tool.h"

int failed(const char *format, ...)
{
	(void)format;
	return EXIT_FAILED;
}

static const struct request_limits limits = { .model = "m",
	                                          .vocab = 500,
	                                          .choices = 4,
	                                          .max_tokens = 100,
	                                          .max_ids = 100,
	                                          .sampling = { .temperature = 1, .presence = 0.5f, .frequency = 0.5f } };

static struct request read_request(enum endpoint endpoint, const char *body)
{
	struct request request;
	struct refusal refusal = { 0 };
	if (!request_read(&request, endpoint, body, strlen(body), &limits, &refusal))
		fail_msg("%s", refusal.message);
	return request;
}

static void a_chat_is_its_messages(void **state)
{
	(void)state;
	struct request r = read_request(
		ENDPOINT_CHAT,
		"{\"messages\":[{\"role\":\"developer\",\"content\":\"S\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
		"\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]},"
		"{\"role\":\"tool\",\"content\":\"4\"}],\"reasoning_effort\":\"low\",\"max_tokens\":3,\"max_completion_tokens\":5,"
		"\"stop\":\"x\",\"logit_bias\":{\"7\":-100}}");
	const rwkvk_chat_role roles[] = { RWKVK_ROLE_SYSTEM, RWKVK_ROLE_USER, RWKVK_ROLE_ASSISTANT, RWKVK_ROLE_TOOL };
	assert_int_equal(r.message_count, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(r.messages[i].role, roles[i]);
	assert_string_equal(r.messages[1].text, "ab");
	assert_null(r.messages[2].text);
	assert_string_equal(r.messages[2].tool_calls, "[{}]");
	assert_int_equal(r.think, RWKVK_THINK_A_BIT);
	assert_int_equal(r.max_tokens, 5);
	assert_int_equal(r.stop_count, 1);
	assert_int_equal(r.sampling.bias_count, 1);
	assert_int_equal(r.sampling.biases[0].token, 7);
	request_free(&r);
}

static void the_choice_of_tools_says_which_are_told(void **state)
{
	(void)state;
	static const struct {
		const char *choice;
		bool f, g, call;
	} cases[] = {
		{ "\"auto\"", true, true, false },
		{ "\"none\"", false, false, false },
		{ "\"required\"", true, true, true },
		{ "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}", false, true, true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char body[400];
		snprintf(body, sizeof body,
		         "{\"messages\":[{\"role\":\"user\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
		         "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}],\"tool_choice\":%s}",
		         cases[i].choice);
		struct request r = read_request(ENDPOINT_CHAT, body);
		assert_int_equal(r.tools && strstr(r.tools, "\"f\""), cases[i].f);
		assert_int_equal(r.tools && strstr(r.tools, "\"g\""), cases[i].g);
		assert_int_equal(r.call, cases[i].call);
		request_free(&r);
	}
}

/* As on the command line. */
static void without_chance_there_is_no_penalty(void **state)
{
	(void)state;
	struct request r = read_request(ENDPOINT_COMPLETIONS, "{\"prompt\":\"x\",\"temperature\":0}");
	assert_true(r.sampling.presence == 0 && r.sampling.frequency == 0);
	request_free(&r);
	r = read_request(ENDPOINT_COMPLETIONS, "{\"prompt\":\"x\",\"temperature\":0,\"frequency_penalty\":0.25}");
	assert_true(r.sampling.presence == 0 && r.sampling.frequency == 0.25f);
	request_free(&r);
	r = read_request(ENDPOINT_COMPLETIONS, "{\"prompt\":\"x\",\"seed\":null}");
	assert_true(r.sampling.presence == 0.5f && r.sampling.frequency == 0.5f && !r.seed_given);
	request_free(&r);
}

/* The row of a field, as the table of the document has it. */
static void document_row(const struct field *field, char *out, size_t size)
{
	static const char *const words[] = { "honoured", "ignored", "refused" };
	const char *word = words[field->use];
	snprintf(out, size, "| `%s` | %s%s| %s%s| ", field->name, field->endpoints & ENDPOINT_CHAT ? word : "",
	         field->endpoints & ENDPOINT_CHAT ? " " : "", field->endpoints & ENDPOINT_COMPLETIONS ? word : "",
	         field->endpoints & ENDPOINT_COMPLETIONS ? " " : "");
}

static void the_document_has_every_field(void **state)
{
	(void)state;
	FILE *file = fopen(SERVER_DOCUMENT, "r");
	char text[65536], row[200];
	size_t rows = 0;
	assert_non_null(file);
	text[fread(text, 1, sizeof text - 1, file)] = 0;
	fclose(file);
	for (size_t i = 0; i < request_field_count; i++) {
		document_row(&request_fields[i], row, sizeof row);
		if (!strstr(text, row))
			fail_msg("docs/server.md has no row \"%s\"", row);
		if (request_fields[i].neutral && !strstr(strstr(text, row), request_fields[i].neutral))
			fail_msg("docs/server.md does not say that %s may be %s", request_fields[i].name, request_fields[i].neutral);
	}
	for (const char *at = strstr(text, "| field |"); at && strncmp(at, "|", 1) == 0; at = strchr(at, '\n') + 1)
		rows++;
	assert_int_equal(rows, request_field_count + 2);
}

static void keys_match_whole(void **state)
{
	(void)state;
	char first[] = "alpha", second[] = "beta", *list[] = { first, second };
	const struct keys keys = { list, 2 };
	assert_true(keys_match(&keys, "alpha") && keys_match(&keys, "beta"));
	assert_false(keys_match(&keys, "alph") || keys_match(&keys, "alphaa") || keys_match(&keys, ""));
	assert_false(keys_match(&keys, "alphaalpha") || keys_match(&keys, "Bearer alpha"));
	assert_string_equal(bearer_key("Bearer alpha"), "alpha");
	assert_string_equal(bearer_key("bearer beta"), "beta");
	assert_string_equal(bearer_key("Bearer "), "");
	assert_true(!bearer_key(NULL) && !bearer_key("alpha") && !bearer_key("Basic YTph") && !bearer_key("Bearer"));
}

static void origins_are_compared_whole(void **state)
{
	(void)state;
	assert_true(origin_is_allowed(NULL, NULL, NULL) && origin_is_allowed("http://a:1", "a:1", NULL));
	assert_true(origin_is_allowed("https://x.y", "a", "https://x.y") && origin_is_allowed("null", "a", "*"));
	assert_false(origin_is_allowed("http://a:2", "a:1", NULL) || origin_is_allowed("ftp://a:1", "a:1", NULL));
	assert_false(origin_is_allowed("http://a.b", "a", NULL) || origin_is_allowed("", "", NULL) ||
	             origin_is_allowed("x", "", NULL));
}

static void half_characters_wait(void **state)
{
	(void)state;
	static const char text[] = "a\xc3\xa9\xe2\x9c\xbf\xf0\x9f\x98\x80";
	static const size_t whole[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10 };
	for (size_t i = 0; i <= 10; i++)
		assert_int_equal(text_whole(text, i), whole[i]);
	assert_int_equal(text_whole("\x80\x80\x80\x80", 4), 4); /* no character begins here, so none will end */
	assert_int_equal(text_whole("a\xff", 2), 1);
}

/* Bytes that jansson holds. */
static size_t held;

static void *counted_malloc(size_t bytes)
{
	size_t *block = malloc(sizeof(max_align_t) + bytes);
	if (!block)
		return NULL;
	held += *block = bytes;
	return (char *)block + sizeof(max_align_t);
}

static void counted_free(void *at)
{
	size_t *block = at ? (size_t *)(void *)((char *)at - sizeof(max_align_t)) : NULL;
	held -= block ? *block : 0;
	free(block);
}

/* Fields that nobody uses may be large, and jobs that wait are many. */
static void little_of_a_body_is_kept(void **state)
{
	(void)state;
	static const struct {
		enum endpoint endpoint;
		const char *fields;
	} cases[] = {
		{ ENDPOINT_COMPLETIONS, "\"prompt\":\"x\",\"suffix\":\"y\",\"stop\":[\"a\",\"b\"],\"metadata\":" },
		{ ENDPOINT_CHAT, "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop\":\"a\",\"user\":" },
		{ ENDPOINT_TOKENIZE, "\"content\":\"x\",\"junk\":" },
	};
	char body[6000];
	json_set_alloc_funcs(counted_malloc, counted_free);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int begin = snprintf(body, sizeof body, "{%s[", cases[i].fields);
		for (size_t at = (size_t)begin; at < 5000; at += 3)
			snprintf(body + at, sizeof body - at, "[],");
		strcpy(body + strlen(body), "[]]}");
		struct request r = read_request(cases[i].endpoint, body);
		assert_in_range(held, 1, 1000);
		request_free(&r);
		assert_int_equal(held, 0);
	}
	json_set_alloc_funcs(malloc, free);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chat_is_its_messages),
		cmocka_unit_test(the_choice_of_tools_says_which_are_told),
		cmocka_unit_test(without_chance_there_is_no_penalty),
		cmocka_unit_test(little_of_a_body_is_kept),
		cmocka_unit_test(the_document_has_every_field),
		cmocka_unit_test(keys_match_whole),
		cmocka_unit_test(origins_are_compared_whole),
		cmocka_unit_test(half_characters_wait),
	};
	return cmocka_run_group_tests_name("serve", tests, NULL, NULL);
}
