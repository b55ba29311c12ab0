/* A first program with the library: opens a model, reads a prompt, prints the continuation.
 *
 *     rwkvk_example MODEL [PROMPT]
 *
 * It needs rwkvk.h and the library, nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rwkvk.h>

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, rwkvk_last_error());
	return EXIT_FAILURE;
}

/* Called with a few whole characters at a time. */
static bool print_text(void *user, const char *text, size_t bytes)
{
	(void)user;
	fwrite(text, 1, bytes, stdout);
	return fflush(stdout) == 0; /* false stops */
}

/* Text becomes tokens; the tokens go into the session's state; the session writes on from there. */
static int tell(rwkvk_model *model, rwkvk_session *session, const char *prompt)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(model);
	uint32_t tokens[1024];
	size_t count, first;
	rwkvk_model_info info = { 0 };
	rwkvk_sampling sampling = { 0 };
	rwkvk_model_get_info(model, &info);
	tokens[0] = info.begin_token;
	first = info.add_bos ? 0 : 1; /* whether the model expects begin_token before a text */
	if (!tokenizer) {
		fprintf(stderr, "this model has no vocabulary: name one in rwkvk_model_options.vocab\n");
		return EXIT_FAILURE;
	}
	if (rwkvk_tokenizer_encode(tokenizer, prompt, strlen(prompt), tokens + 1, 1023, &count) != RWKVK_OK)
		return fail("prompt");
	if (count > 1023) {
		fprintf(stderr, "the prompt is too long for this example\n");
		return EXIT_FAILURE;
	}
	if (rwkvk_session_eval(session, tokens + first, 1 + count - first, NULL) != RWKVK_OK)
		return fail("prompt");
	printf("%s", prompt);
	rwkvk_model_sampling(model, &sampling); /* what its author recommends */
	sampling.seed = 1;                      /* another number, another text */
	const rwkvk_generate_options options = { .sampling = &sampling, .max_tokens = 200, .on_text = print_text };
	if (rwkvk_session_generate(session, &options, NULL) != RWKVK_OK)
		return fail("text");
	printf("\n");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	rwkvk_model *model = NULL;
	rwkvk_session *session = NULL;
	if (argc < 2) {
		fprintf(stderr, "usage: rwkvk_example MODEL [PROMPT]\n");
		return 2;
	}
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = argv[1] }, &model) != RWKVK_OK)
		return fail("model");
	int code = EXIT_FAILURE;
	if (rwkvk_session_create(model, &session) != RWKVK_OK)
		fail("session");
	else
		code = tell(model, session, argc > 2 ? argv[2] : "Once upon a time");
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return code;
}
