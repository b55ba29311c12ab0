/* Text that is held back: stop texts and characters, whole, in pieces, and against a simple model on random input. */
#include <stdio.h>

#include "support.h"

#include "text/stream.h"
#include "text/utf8.h"

enum { MOST = 256 };

/* The text shown so far. */
struct shown {
	char text[MOST];
	size_t count;
};

static void show(struct shown *shown, const struct stream *stream)
{
	assert_true(shown->count + stream->ready < MOST);
	if (stream->ready > 0)
		memcpy(shown->text + shown->count, stream->held, stream->ready);
	shown->count += stream->ready;
	shown->text[shown->count] = 0;
}

static void push(struct shown *shown, struct stream *stream, const char *bytes, size_t count)
{
	assert_true(stream_push(stream, bytes, count));
	show(shown, stream);
}

static void test_pieces(void **state)
{
	(void)state;
	static const struct {
		const char *stops[3];
		const char *pieces[6];
		const char *shown[6]; /* after each piece */
		const char *end;      /* after the end */
		bool stopped;
	} cases[] = {
		{ { 0 }, { "ab", "", "c" }, { "ab", "ab", "abc" }, "abc", false },
		{ { "stop" }, { "a", "st", "op", "b" }, { "a", "a", "a", "a" }, "a", true },
		{ { "stop" }, { "a", "st", "art" }, { "a", "a", "astart" }, "astart", false },
		{ { "stop" }, { "xsto" }, { "x" }, "xsto", false },
		{ { "stop" }, { "ststop" }, { "st" }, "st", true },
		{ { "stop" }, { "stop" }, { "" }, "", true },
		{ { "aab" }, { "aa", "a", "b" }, { "", "a", "a" }, "a", true },
		{ { "abcd", "bc" }, { "ab", "c" }, { "", "a" }, "a", true },
		{ { "abcd", "bc" }, { "abcd" }, { "a" }, "a", true },
		{ { "abc", "bc" }, { "xab", "c" }, { "x", "x" }, "x", true },
		{ { "bc", "abc" }, { "xabc" }, { "x" }, "x", true },
		{ { "\n\n", "User:" }, { "a\n", "b", "\n", "\n" }, { "a", "a\nb", "a\nb", "a\nb" }, "a\nb", true },
		{ { 0 }, { "\xc3", "\xa9" }, { "", "\xc3\xa9" }, "\xc3\xa9", false },
		{ { 0 }, { "\xf0\x9f", "\x98", "\x80!" }, { "", "", "\xf0\x9f\x98\x80!" }, "\xf0\x9f\x98\x80!", false },
		{ { 0 }, { "a\xff", "\x80" }, { "a\xff", "a\xff\x80" }, "a\xff\x80", false },
		{ { "\xa9" }, { "\xc3", "\xa9", "x" }, { "", "\xc3", "\xc3" }, "\xc3", true },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stream stream = { .stops = cases[i].stops, .characters = true };
		struct shown shown = { .count = 0 };
		while (stream.stop_count < 3 && cases[i].stops[stream.stop_count])
			stream.stop_count++;
		for (size_t k = 0; k < 6 && cases[i].pieces[k]; k++) {
			push(&shown, &stream, cases[i].pieces[k], strlen(cases[i].pieces[k]));
			if (cases[i].shown[k])
				assert_string_equal(shown.text, cases[i].shown[k]);
		}
		stream_end(&stream);
		show(&shown, &stream);
		assert_string_equal(shown.text, cases[i].end);
		assert_int_equal(stream.stopped, cases[i].stopped);
		stream_free(&stream);
	}
}

/* The end releases all text; without `characters`, nothing waits for the rest of a character; which stop text it was. */
static void test_end(void **state)
{
	(void)state;
	struct stream stream = { .characters = true };
	struct shown shown = { .count = 0 };
	push(&shown, &stream, "a\xf0\x9f\x98", 4);
	assert_string_equal(shown.text, "a");
	stream_end(&stream);
	show(&shown, &stream);
	assert_string_equal(shown.text, "a\xf0\x9f\x98");
	stream_free(&stream);

	const char *stops[] = { "xx", "\xc3\xa9!" };
	stream = (struct stream){ .stops = stops, .stop_count = 2 };
	shown.count = 0;
	push(&shown, &stream, "\xf0\x9f", 2);
	assert_string_equal(shown.text, "\xf0\x9f");
	push(&shown, &stream, "b\xc3\xa9", 3);
	assert_string_equal(shown.text, "\xf0\x9f"
	                                "b");
	push(&shown, &stream, "!c", 2);
	assert_true(stream.stopped);
	assert_int_equal(stream.stop, 1);
	stream_free(&stream);
}

/* The length of `text` before the stop text that ends first, the longer one of two. */
static size_t first_stop(const char *text, size_t count, const char *const *stops, size_t stop_count)
{
	for (size_t end = 1; end <= count; end++) {
		size_t longest = 0;
		for (size_t i = 0; i < stop_count; i++) {
			size_t length = strlen(stops[i]);
			if (length <= end && length > longest && memcmp(text + end - length, stops[i], length) == 0)
				longest = length;
		}
		if (longest > 0)
			return end - longest;
	}
	return count;
}

/* However a text is cut into pieces, the same is shown; nothing is shown that had to be taken back. */
static void test_random_pieces(void **state)
{
	(void)state;
	static const char *const alphabet[] = { "a", "b", "\xc3\xa9", "\xf0\x9f\x98\x80", "\xff" };
	uint64_t seed = 5;
	for (int round = 0; round < 20000; round++) {
		char text[64] = "", stop_texts[3][16] = { "", "", "" };
		const char *stops[3];
		size_t stop_count = test_random(&seed) % 4;
		for (int i = 0; i < 12; i++)
			strcat(text, alphabet[test_random(&seed) % 5]);
		for (size_t s = 0; s < stop_count; s++) {
			for (uint32_t i = 0, n = 1 + test_random(&seed) % 3; i < n; i++)
				strcat(stop_texts[s], alphabet[test_random(&seed) % 5]);
			stops[s] = stop_texts[s];
		}
		struct stream stream = { .stops = stops, .stop_count = stop_count, .characters = true };
		struct shown shown = { .count = 0 };
		size_t want = first_stop(text, strlen(text), stops, stop_count);
		for (size_t at = 0, n = strlen(text); at < n;) {
			size_t piece = 1 + test_random(&seed) % 4;
			push(&shown, &stream, text + at, piece < n - at ? piece : n - at);
			at += piece;
			assert_true(shown.count <= want);
			if (!stream.stopped)
				assert_int_equal(utf8_complete((const uint8_t *)shown.text, shown.count), shown.count);
		}
		stream_end(&stream);
		show(&shown, &stream);
		assert_int_equal(shown.count, want);
		assert_memory_equal(shown.text, text, want);
		stream_free(&stream);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_random_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
