/* Files of aliases: what they rename, and the messages about their errors, with line numbers. */
#include "support.h"

#include <stdio.h>

#include "format/names.h"
#include "format/readers.h"

/* Weights of these tensors, each a float. */
static void make_weights(struct weights *w, const char *const *names, size_t count)
{
	static const float number = 1;
	struct mapping mapping = { .data = (const uint8_t *)&number, .bytes = sizeof number };
	*w = (struct weights){ .path = strdup("model.pth"), .mapping = mapping };
	for (size_t i = 0; i < count; i++)
		assert_ok(weights_add(w, &mapping, names[i], names[i], DTYPE_F32, 1, (uint64_t[]){ 1 }, 0, 4));
}

static const char *const foreign[] = { "e.weight", "ln1a.weight", "ln1a.bias", "ln12a.weight", "rosa1.o.bias", "rosa1.q.bias" };
enum { FOREIGN = sizeof foreign / sizeof *foreign };

/* `want`: the names afterwards, in order, with a blank after each. */
static void renames(const char *text, const char *want)
{
	struct weights w;
	char got[1024] = "";
	make_weights(&w, foreign, FOREIGN);
	assert_ok(names_apply_text(&w, "x.names", text, strlen(text)));
	for (size_t i = 0; i < w.count; i++)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s ", w.tensors[i].name);
	assert_string_equal(got, want);
	weights_close(&w);
}

static void test_renames(void **state)
{
	(void)state;
	renames("e.weight emb.weight", "emb.weight ln1a.weight ln1a.bias ln12a.weight rosa1.o.bias rosa1.q.bias ");
	renames("# comment\r\n\n \t e.weight\t emb.weight # more\r\n#\n",
	        "emb.weight ln1a.weight ln1a.bias ln12a.weight rosa1.o.bias rosa1.q.bias ");
	renames("ln1a.* blocks.0.ln1.*\n",
	        "e.weight blocks.0.ln1.weight blocks.0.ln1.bias ln12a.weight rosa1.o.bias rosa1.q.bias ");
	renames("ln{i}a.* b.{i-1}.*\n", "e.weight b.0.weight b.0.bias b.11.weight rosa1.o.bias rosa1.q.bias ");
	renames("ln{i}a.weight {i+1}\n", "e.weight 2 ln1a.bias 13 rosa1.o.bias rosa1.q.bias ");
	renames("*{i}a.weight *_{i}\n", "e.weight ln_1 ln1a.bias ln_12 rosa1.o.bias rosa1.q.bias "); /* the shortest star first */
	renames("*.bias *.b\n", "e.weight ln1a.weight ln1a.b ln12a.weight rosa1.o.b rosa1.q.b ");
	renames("rosa1.o.bias o\nrosa* -\n", "e.weight ln1a.weight ln1a.bias ln12a.weight o "); /* the first line that fits */
	renames("* -", "");
}

static const struct {
	const char *text, *error;
} bad[] = {
	{ "", "x.names: expected lines of FOREIGN OFFICIAL names, found none" },
	{ "\n# only\n", "x.names: expected lines of FOREIGN OFFICIAL names, found none" },
	{ "\n\ne.weight\n", "x.names:3: expected FOREIGN OFFICIAL, two names with a blank between them, found only \"e.weight\"" },
	{ "e.weight # emb.weight", "x.names:1: expected FOREIGN OFFICIAL, two names with a blank between them, found only" },
	{ "e.weight emb. weight",
	  "x.names:1: expected FOREIGN OFFICIAL, two names with a blank between them, found a third word \"weight\"" },
	{ "e.weight emb.\x1b", "x.names:1: expected names in plain ASCII, found \"emb.?\"" },
	{ "\xc3\xa9 emb", "x.names:1: expected names in plain ASCII, found \"??\"" },
	{ "e.* emb.weight", "x.names:1: expected the same wildcards in both names, found \"e.*\" and \"emb.weight\"" },
	{ "e.weight emb.*", "x.names:1: expected the same wildcards in both names" },
	{ "ln{i}a.weight ln", "x.names:1: expected the same wildcards in both names" },
	{ "*.* emb.*", "x.names:1: expected a name with at most one * and one {i}, found \"*.*\"" },
	{ "{i}{i} {i}", "x.names:1: expected a name with at most one * and one {i}" },
	{ "{i-1} {i}", "x.names:1: expected a name with at most one * and one {i}, found \"{i-1}\"" },
	{ "e{ emb", "x.names:1: expected a name with at most one * and one {i}, found \"e{\"" },
	{ "{i} {j}", "x.names:1: expected a name with at most one * and one of {i}, {i-1}, {i+1}, found \"{j}\"" },
	{ "e.weight emb.weight\ne.wieght x\n",
	  "x.names:2: no tensor of model.pth is called \"e.wieght\", or an earlier line has taken it" },
	{ "* -\ne.weight x", "x.names:2: no tensor of model.pth is called \"e.weight\", or an earlier line has taken it" },
	{ "ln{i}.* x{i}.*", "x.names:1: no tensor of model.pth" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct weights w;
		make_weights(&w, foreign, FOREIGN);
		assert_fails(names_apply_text(&w, "x.names", bad[i].text, strlen(bad[i].text)), RWKVK_ERROR_FILE, bad[i].error);
		weights_close(&w);
	}
}

static void test_numbers(void **state)
{
	(void)state;
	static const char *const names[] = { "l0.x", "l01.x", "l999999999.x", "l1000000000.x" };
	static const char next[] = "l{i}.* {i+1}.*", before[] = "l{i}.* {i-1}.*";
	struct weights w;
	make_weights(&w, names, 4);
	assert_ok(names_apply_text(&w, "x.names", next, strlen(next)));
	assert_string_equal(w.tensors[0].name, "1.x");
	assert_string_equal(w.tensors[1].name, "l01.x"); /* numbers have no leading zeros, and nine digits at most */
	assert_string_equal(w.tensors[2].name, "1000000000.x");
	assert_string_equal(w.tensors[3].name, "l1000000000.x");
	weights_close(&w);
	make_weights(&w, names, 1);
	assert_fails(names_apply_text(&w, "x.names", before, strlen(before)), RWKVK_ERROR_FILE,
	             "x.names:1: cannot rename l0.x of model.pth: its number is 0, so {i-1} would be -1");
	weights_close(&w);
}

static void test_lengths(void **state)
{
	(void)state;
	char name[NAME_BYTES], text[2 * NAME_BYTES];
	const char *names[] = { name };
	struct weights w;
	memset(name, 'n', sizeof name);
	name[NAME_BYTES - 1] = 0;
	make_weights(&w, names, 1);
	snprintf(text, sizeof text, "n* m*\n");
	assert_ok(names_apply_text(&w, "x.names", text, strlen(text)));
	assert_true(strlen(w.tensors[0].name) == NAME_BYTES - 1 && w.tensors[0].name[0] == 'm');
	snprintf(text, sizeof text, "n* mm*\n");
	assert_fails(names_apply_text(&w, "x.names", text, strlen(text)), RWKVK_ERROR_FILE,
	             "its name would have more than 255 characters");
	snprintf(text, sizeof text, "%sn x\n", name);
	assert_fails(names_apply_text(&w, "x.names", text, strlen(text)), RWKVK_ERROR_FILE,
	             "x.names:1: expected names of at most 255 characters, found nnnn");
	weights_close(&w);

	enum { TOO_LONG = (1 << 20) + 1 };
	char *large = malloc(TOO_LONG);
	assert_non_null(large);
	memset(large, '\n', TOO_LONG);
	make_weights(&w, foreign, FOREIGN);
	assert_fails(names_apply_text(&w, "x.names", large, TOO_LONG), RWKVK_ERROR_FILE, "of at most 1048576 bytes, found 1048577");
	for (int i = 0; i < TOO_LONG - 1; i += 4)
		memcpy(large + i, "a b\n", 4);
	assert_fails(names_apply_text(&w, "x.names", large, TOO_LONG - 1), RWKVK_ERROR_FILE,
	             "x.names:4097: expected at most 4096 aliases, found more");
	free(large);
	weights_close(&w);
}

/* Through weights_open(), which looks for duplicates afterwards. */
static void test_open(void **state)
{
	(void)state;
	static const char model[] = TEST_DATA_DIR "/v7-c192-bf16.safetensors", two[] = "ln_out.bias head.weight\n";
	struct weights w;
	const char *names = test_temp("two.names");
	test_write_file(names, two, strlen(two));
	assert_fails(weights_open(model, NULL, 0, names, &w), RWKVK_ERROR_FILE,
	             "expected every tensor once, found two for head.weight");
	assert_fails(weights_open(model, NULL, 0, test_nowhere("x.names"), &w), RWKVK_ERROR_FILE,
	             "/nowhere/x.names: cannot be opened");
	assert_fails(weights_open(model, NULL, 0, TEST_DATA_DIR "/reverse.names", &w), RWKVK_ERROR_FILE,
	             "reverse.names:4: no tensor of " TEST_DATA_DIR "/v7-c192-bf16.safetensors is called \"e.weight\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renames), cmocka_unit_test(test_bad),  cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_lengths), cmocka_unit_test(test_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
