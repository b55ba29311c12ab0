/* Opening model files without a device: what is refused, what is reported, and that it is reported once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "make_model.h"
#include "rwkvk.h"
#include "rwkvk_tools.h"
#include "support.h"

static const struct model_spec small = {
	.layers = 1,
	.width = 16,
	.head_size = 16,
	.ffn = 32,
	.vocab = 600,
	.rank_decay = 8,
	.rank_iclr = 8,
	.rank_gate = 8,
	.rank_value = 8,
	.seed = 1,
};

/* ---------------------------------------------------------------------------------------------------- reports */

struct reports {
	int count;
	char last[2048];
};

static void keep(void *user, rwkvk_log_level level, const char *text)
{
	struct reports *r = user;
	assert_int_equal(level, RWKVK_LOG_WARNING);
	r->count++;
	snprintf(r->last, sizeof r->last, "%s", text);
}

/* Opens the file and closes it. */
static rwkvk_status open_file(const char *path, const char *vocab, struct reports *reports)
{
	rwkvk_file *file;
	*reports = (struct reports){ 0 };
	const rwkvk_model_options options = { .path = path, .vocab = vocab, .log = keep, .log_user = reports };
	rwkvk_status status = rwkvk_file_open(&options, &file);
	if (status == RWKVK_OK)
		rwkvk_file_close(file);
	return status;
}

static void assert_silent(const char *path, const char *vocab)
{
	struct reports reports;
	assert_ok(open_file(path, vocab, &reports));
	if (reports.count)
		fail_msg("%s: expected no report, got: %s", path, reports.last);
}

static void assert_reports(const char *path, const char *vocab, const char *text)
{
	struct reports reports;
	assert_ok(open_file(path, vocab, &reports));
	assert_int_equal(reports.count, 1);
	if (!strstr(reports.last, text))
		fail_msg("expected a report of \"%s\", got: %s", text, reports.last);
}

static void assert_refused(const char *path, const char *vocab, const char *text)
{
	struct reports reports;
	assert_fails(open_file(path, vocab, &reports), RWKVK_ERROR_FILE, text);
	assert_int_equal(reports.count, 0);
}

/* ---------------------------------------------------------------------------------------------------- vocabularies */

/* The ids from 1 on, texts as in a file that make_model() writes. */
static const char *write_vocab(const char *name, int count)
{
	const char *path = test_temp(name);
	char *text = calloc((size_t)count + 1, 32);
	size_t n = 0;
	for (int id = 1; id < count; id++)
		n += (size_t)sprintf(text + n, id == 98 ? "%d 'b' 1\n" : "%d '<%d>' %d\n", id, id, id < 10 ? 3 : id < 100 ? 4 : 5);
	test_write_file(path, text, n);
	free(text);
	return path;
}

static void own_vocabulary(void **state)
{
	(void)state;
	struct model_spec spec = small;
	const char *path = test_temp("own.gguf"), *same, *other, *short_one, *long_one;
	spec.listed = 590;
	make_model(path, &spec);
	assert_silent(path, NULL);
	same = write_vocab("same.txt", 590);
	other = write_vocab("other.txt", 580);
	short_one = write_vocab("short.txt", 512);
	long_one = write_vocab("long.txt", 602);
	assert_silent(path, same);
	assert_reports(path, other, "other.txt: is used instead of the vocabulary in ");
	assert_refused(path, short_one, "short.txt: is another model's vocabulary: it has 512 ids, ");
	test_assert_error_contains("own.gguf has 600; the one that fits is the file's own, without rwkvk_model_options.vocab",
	                           __FILE__, __LINE__);
	assert_refused(path, long_one, "long.txt: is another model's vocabulary: its ids go up to 601, those of ");
	spec.listed = 0;
	make_model(path, &spec);
	assert_silent(path, NULL);
	assert_silent(path, other);
	assert_refused(path, short_one, "own.gguf has 600; give the one that the model was trained with");
}

/* The file's own is taken even if it covers little, and so is what equals it. */
static void own_vocabulary_covers_little(void **state)
{
	(void)state;
	struct model_spec spec = small;
	const char *path = test_temp("little.gguf");
	spec.listed = 100;
	make_model(path, &spec);
	assert_reports(path, NULL, "little.gguf: its vocabulary has 100 ids, the model 600: the others have no text");
	assert_reports(path, write_vocab("little.txt", 100), "little.gguf: its vocabulary has 100 ids, the model 600");
	spec.listed = 602;
	make_model(path, &spec);
	assert_refused(path, NULL, "little.gguf: is another model's vocabulary: its ids go up to 601, those of ");
}

/* A vocabulary that cannot be read can be replaced. */
static void own_vocabulary_is_broken(void **state)
{
	(void)state;
	struct model_spec spec = small;
	const char *path = test_temp("broken.gguf");
	size_t bytes;
	spec.listed = 590;
	make_model(path, &spec);
	uint8_t *data = test_read_file(path, &bytes);
	for (size_t i = 0; i + 4 <= bytes; i++)
		if (memcmp(data + i, "<7>", 3) == 0) {
			memcpy(data + i, "\\q>", 3);
			break;
		}
	test_write_file(path, data, bytes);
	free(data);
	assert_refused(path, NULL, "token 7 of tokenizer.ggml.tokens");
	assert_reports(path, write_vocab("good.txt", 590), "good.txt: is used instead of the vocabulary in ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_vocabulary),
		cmocka_unit_test(own_vocabulary_covers_little),
		cmocka_unit_test(own_vocabulary_is_broken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
