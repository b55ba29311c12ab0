/* utf8_complete against a table of every beginning of every character, and against every split of real text. */
#include "support.h"

#include "text/utf8.h"

static size_t encode(uint32_t code, uint8_t out[4])
{
	if (code < 0x80) {
		out[0] = (uint8_t)code;
		return 1;
	}
	size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	for (size_t i = n; i-- > 1; code >>= 6)
		out[i] = (uint8_t)(0x80 | (code & 63));
	out[0] = (uint8_t)(lead[n] | code);
	return n;
}

/* begins[k][b]: the k bytes b (first byte highest) are the beginning of a longer character. */
static uint8_t *begins[4];

static int make_table(void **state)
{
	(void)state;
	for (size_t k = 1; k <= 3; k++)
		begins[k] = calloc((size_t)1 << 8 * k, 1);
	for (uint32_t code = 0; code <= 0x10ffff; code++) {
		if (code >= 0xd800 && code < 0xe000)
			continue;
		uint8_t bytes[4];
		size_t n = encode(code, bytes);
		assert_int_equal(utf8_length(bytes, n), n);
		assert_int_equal(utf8_length(bytes, n - 1), 0);
		for (size_t k = 1, value = 0; k < n; k++) {
			value = value << 8 | bytes[k - 1];
			begins[k][value] = 1;
		}
	}
	return 0;
}

static int free_table(void **state)
{
	(void)state;
	for (size_t k = 1; k <= 3; k++)
		free(begins[k]);
	return 0;
}

/* The bytes to hold back from a text that ends in these three. */
static size_t withheld(const uint8_t last[3])
{
	if (begins[3][last[0] << 16 | last[1] << 8 | last[2]])
		return 3;
	if (begins[2][last[1] << 8 | last[2]])
		return 2;
	return begins[1][last[2]];
}

static void every_three_bytes(void **state)
{
	(void)state;
	for (uint32_t value = 0; value < 1u << 24; value++) {
		uint8_t bytes[4] = { 'x', (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value };
		size_t want = withheld(bytes + 1);
		if (utf8_complete(bytes, 4) != 4 - want || utf8_complete(bytes + 1, 3) != 3 - want)
			fail_msg("%06x: %zu bytes complete, want %zu", value, utf8_complete(bytes, 4), 4 - want);
	}
}

static void short_texts(void **state)
{
	(void)state;
	assert_int_equal(utf8_complete((const uint8_t *)"", 0), 0);
	assert_int_equal(utf8_length((const uint8_t *)"", 0), 0);
	for (uint32_t value = 0; value < 1u << 16; value++) {
		uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };
		size_t want = begins[2][value] ? 2 : begins[1][bytes[1]];
		assert_int_equal(utf8_complete(bytes, 2), 2 - want);
		assert_int_equal(utf8_complete(bytes + 1, 1), 1 - begins[1][bytes[1]]);
	}
}

static void every_split(void **state)
{
	(void)state;
	static const char text[] = "a\u00e9\u4f60\U0001f642z\u2002\U0010ffff\ufffd\u07ff\u0800";
	size_t n = sizeof text - 1, whole = 0;
	for (size_t cut = 0; cut <= n; cut++) {
		if (cut == n || ((uint8_t)text[cut] & 0xc0) != 0x80)
			whole = cut; /* a character begins here */
		assert_int_equal(utf8_complete((const uint8_t *)text, cut), whole);
	}
}

/* Streaming: what is shown adds up to the text, however the text is cut and whatever its bytes. */
static void streamed(void **state)
{
	(void)state;
	uint64_t random = 1;
	for (int round = 0; round < 2000; round++) {
		uint8_t text[64], held[64];
		size_t n = test_random(&random) % sizeof text, in = 0, shown = 0, kept = 0;
		for (size_t i = 0; i < n; i++)
			text[i] = (uint8_t)(test_random(&random) % 3 ? test_random(&random) | 0x80 : test_random(&random));
		while (in < n) {
			size_t piece = 1 + test_random(&random) % 4;
			for (; piece > 0 && in < n; piece--)
				held[kept++] = text[in++];
			size_t complete = utf8_complete(held, kept);
			assert_true(complete <= kept && kept - complete <= 3);
			assert_memory_equal(held, text + shown, kept);
			shown += complete;
			memmove(held, held + complete, kept - complete);
			kept -= complete;
		}
		assert_int_equal(shown + kept, n);
	}
}

static void invalid_lengths(void **state)
{
	(void)state;
	static const char *const invalid[] = { "\x80",
		                                   "\xc0\xaf",
		                                   "\xc1\xbf",
		                                   "\xe0\x9f\xbf",
		                                   "\xed\xa0\x80",
		                                   "\xf0\x8f\xbf\xbf",
		                                   "\xf4\x90\x80\x80",
		                                   "\xf5\x80\x80\x80",
		                                   "\xff",
		                                   "\xe4\xbd"
		                                   "a",
		                                   "\xc3"
		                                   "a" };
	for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
		assert_int_equal(utf8_length((const uint8_t *)invalid[i], strlen(invalid[i])), 0);
	assert_int_equal(utf8_length((const uint8_t *)"\0", 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_three_bytes), cmocka_unit_test(short_texts),     cmocka_unit_test(every_split),
		cmocka_unit_test(streamed),          cmocka_unit_test(invalid_lengths),
	};
	return cmocka_run_group_tests(tests, make_table, free_table);
}
