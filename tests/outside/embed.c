/* A foreign program: it links the library and has functions with the same names as functions inside the library.
 *
 *     outside_embed MODEL      prints the most probable tokens after a beginning, and the version */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rwkvk.h>

/* These would not link, or would be called by the library, if its own were global. */
void fail(const char *what);
int file_write(const char *text);
int volkInitialize(void);

void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, rwkvk_last_error());
	exit(EXIT_FAILURE);
}

int file_write(const char *text)
{
	return fputs(text, stdout);
}

int volkInitialize(void)
{
	fail("the library has called a function of the program");
	return -1;
}

static void check(rwkvk_status status, const char *what)
{
	if (status != RWKVK_OK)
		fail(what);
}

static void tell(rwkvk_session *session, const rwkvk_tokenizer *tokenizer)
{
	uint32_t token = 0;
	const rwkvk_sampling most_probable = { 0 };
	for (int i = 0; i < 16; i++) {
		size_t bytes;
		check(rwkvk_session_sample(session, &most_probable, &token), "sampling");
		check(rwkvk_session_eval(session, &token, 1, NULL), "a token");
		const void *text = rwkvk_tokenizer_token(tokenizer, token, &bytes);
		fwrite(text, 1, bytes, stdout);
	}
	printf("\nversion %s\n", rwkvk_version());
}

int main(int argc, char **argv)
{
	static const char beginning[] = "Once upon a time";
	rwkvk_model *model = NULL;
	rwkvk_session *session = NULL;
	uint32_t tokens[64];
	size_t count;
	if (argc != 2) {
		file_write("usage: outside_embed MODEL\n");
		return 2;
	}
	if (rwkvk_model_open(&(rwkvk_model_options){ .path = "no such file" }, &model) == RWKVK_OK ||
	    !strstr(rwkvk_last_error(), "no such file")) {
		fail("the library's last error is not this program's");
	}
	check(rwkvk_model_open(&(rwkvk_model_options){ .path = argv[1] }, &model), "model");
	check(rwkvk_session_create(model, &session), "session");
	check(rwkvk_tokenizer_encode(rwkvk_model_tokenizer(model), beginning, strlen(beginning), tokens, 64, &count), "tokens");
	check(rwkvk_session_eval(session, tokens, count, NULL), "beginning");
	file_write(beginning);
	tell(session, rwkvk_model_tokenizer(model));
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return EXIT_SUCCESS;
}
