/* Prefixes of prompts: where they end, and that they and their hashes do not depend on what follows. */
#include "support.h"

#include "text/prefix.h"

enum { MOST = 40000 };

static void assert_ends(const char *text, size_t bytes, const size_t *ends, size_t count, const size_t *want, size_t want_count)
{
	struct prefix *list;
	size_t found;
	assert_ok(prefixes_find(text, bytes, ends, count, &list, &found));
	assert_int_equal(found, want_count);
	for (size_t i = 0; i < found; i++)
		assert_int_equal(list[i].bytes, want[i]);
	free(list);
}

#define ENDS(...)   (const size_t[]){ __VA_ARGS__ }, sizeof((const size_t[]){ __VA_ARGS__ }) / sizeof(size_t)
#define NOTHING     NULL, 0
#define BLANK(text) memset(text, 'x', MOST)

static void where_they_end(void **state)
{
	(void)state;
	char *text = malloc(MOST);
	BLANK(text);
	assert_ends(text, 0, NOTHING, NOTHING);
	assert_ends(text, 10, NOTHING, NOTHING);
	assert_ends(text, 10, ENDS(4, 4, 10), ENDS(4, 10));
	assert_ends(text, 10, ENDS(0, 4), ENDS(4));
	assert_ends(text, MOST, NOTHING, NOTHING); /* no white space: no end within it */
	text[100] = text[1000] = ' ';
	assert_ends(text, 2047, NOTHING, NOTHING);
	assert_ends(text, 2048, NOTHING, ENDS(1000));
	assert_ends(text, 5000, ENDS(3000), ENDS(1000, 3000));
	assert_ends(text, 5000, ENDS(2047), ENDS(2047)); /* a message that ends sooner has none within it */
	assert_ends(text, 5000, ENDS(1000), ENDS(1000)); /* one that begins with the white space has none before it */
	text[2048] = '\n';
	assert_ends(text, 4096, NOTHING, ENDS(1000, 2048));
	text[2047] = '\n'; /* of several the first */
	assert_ends(text, 4096, NOTHING, ENDS(2047));
	memset(text + 2000, ' ', 48);
	assert_ends(text, 4096, NOTHING, ENDS(2000));
	memset(text, ' ', 2100); /* nothing but white space has no beginning behind 0 */
	assert_ends(text, 4096, NOTHING, NOTHING);
	text[2000] = 'x';
	assert_ends(text, 4096, NOTHING, ENDS(2001));
	free(text);
}

/* FNV-1a over the length as eight bytes and the text, one prefix after the other. */
static void known_hashes(void **state)
{
	(void)state;
	struct prefix *list;
	size_t found;
	assert_ok(prefixes_find("User: a\n\nUser: b\n\n", 18, ENDS(9, 18), &list, &found));
	assert_int_equal(found, 2);
	assert_true(list[0].hash == UINT64_C(0x84236ce40cacb770));
	assert_true(list[1].hash == UINT64_C(0xdbeeb028757ca32e));
	free(list);
}

/* The same bytes, split elsewhere, are other prefixes. */
static void splits_matter(void **state)
{
	(void)state;
	struct prefix *whole, *split;
	size_t one, two;
	assert_ok(prefixes_find("abcdef", 6, ENDS(6), &whole, &one));
	assert_ok(prefixes_find("abcdef", 6, ENDS(3, 6), &split, &two));
	assert_int_equal(whole[one - 1].bytes, split[two - 1].bytes);
	assert_true(whole[one - 1].hash != split[two - 1].hash);
	free(whole);
	free(split);
}

/* Text of words of all lengths, with white space of all kinds, and messages that end anywhere. */
static size_t make_prompt(uint64_t *seed, char *text, size_t *ends, size_t most)
{
	static const char *const gaps[] = { " ", "\n", "\n\n", "    ", "\n\t", "" };
	size_t count = 0, bytes = 0, limit = test_random(seed) % MOST;
	while (bytes + 3000 < limit) {
		size_t word = test_random(seed) % (test_random(seed) % 50 == 0 ? 2500 : 12);
		memset(text + bytes, 'a' + (int)(test_random(seed) % 26), word);
		bytes += word;
		const char *gap = gaps[test_random(seed) % 6];
		memcpy(text + bytes, gap, strlen(gap));
		bytes += strlen(gap);
		if (count < most && test_random(seed) % 100 == 0)
			ends[count++] = bytes;
	}
	return count ? ends[count - 1] + test_random(seed) % (bytes - ends[count - 1] + 1) : bytes;
}

/* Every shorter prompt with the same messages has the same prefixes as far as it goes. */
static void later_text_changes_nothing(void **state)
{
	(void)state;
	enum { ENDS_AT_MOST = 64 };
	char *text = malloc(MOST);
	size_t ends[ENDS_AT_MOST];
	uint64_t seed = 1;
	for (int round = 0; round < 200; round++) {
		memset(ends, 0, sizeof ends);
		size_t bytes = make_prompt(&seed, text, ends, ENDS_AT_MOST), count = 0, found, shorter_found;
		while (count < ENDS_AT_MOST && ends[count] > 0)
			count++;
		struct prefix *list, *shorter;
		assert_ok(prefixes_find(text, bytes, ends, count, &list, &found));
		for (int i = 0; i < 20 && bytes; i++) {
			size_t less = test_random(&seed) % bytes, messages = 0;
			while (messages < count && ends[messages] <= less)
				messages++;
			assert_ok(prefixes_find(text, less, ends, messages, &shorter, &shorter_found));
			assert_true(shorter_found <= found);
			for (size_t k = 0; k < shorter_found; k++) {
				assert_int_equal(shorter[k].bytes, list[k].bytes);
				assert_true(shorter[k].hash == list[k].hash);
			}
			/* Every missing prefix ends past the shorter prompt, or needs text up to a step past it. */
			for (size_t k = shorter_found; k < found; k++)
				assert_true(list[k].bytes > less || (list[k].bytes / PREFIX_STEP + 1) * PREFIX_STEP > less);
			free(shorter);
		}
		free(list);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_they_end),
		cmocka_unit_test(known_hashes),
		cmocka_unit_test(splits_matter),
		cmocka_unit_test(later_text_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
