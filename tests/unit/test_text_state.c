/* States of texts as bytes: what is built can be parsed, and anything else is refused; and the hash that distinguishes
 * models. */
#include "support.h"

#include "make_text_state.h"

static const struct state_key key = { { 1, 2 }, 3, 0x123456789abcdef0u };

static struct text_state *parse(const uint8_t *bytes, size_t count, const struct state_key *of)
{
	struct text_state *state;
	assert_ok(text_state_parse("a", bytes, count, of, &text_state_shape, &state));
	return state;
}

static void what_is_built_is_parsed(void **state)
{
	(void)state;
	struct text_state *a = make_text_state(&key, "Hello", true);
	const size_t count = text_state_bytes(a);
	uint8_t *bytes = malloc(count);
	assert_ok(text_state_build(a, bytes));
	assert_memory_equal(
		bytes, "RWKVKTXT\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\xf0\xde\xbc\x9a\x78\x56\x34\x12\5\0",
		50);
	assert_memory_equal(bytes + 72, "HelloRWKVKSTA", 13);
	struct text_state *b = parse(bytes, count, &key);
	assert_true(text_state_is(b, &key, "Hello", 5, true));
	assert_int_equal(b->saved.header.position, a->saved.header.position);
	assert_memory_equal(b->saved.state, a->saved.state, a->saved.header.floats * sizeof(float));
	assert_memory_equal(b->saved.logits, a->saved.logits, a->saved.header.logits * sizeof(float));
	text_state_release(a);
	text_state_release(b);
	free(bytes);
}

/* Every bit of it, every length, and others' keys. */
static void damage_is_found(void **state)
{
	(void)state;
	struct text_state *a = make_text_state(&key, "Hello", false), *got;
	const size_t count = text_state_bytes(a);
	uint8_t *bytes = malloc(count + 1);
	assert_ok(text_state_build(a, bytes));
	bytes[count] = 0;
	for (size_t i = 0; i < count; i++)
		for (int bit = 0; bit < 8; bit++) {
			bytes[i] ^= (uint8_t)(1 << bit);
			if (text_state_parse("a", bytes, count, &key, &text_state_shape, &got) == RWKVK_OK)
				fail_msg("bit %d of byte %zu may be another one", bit, i);
			assert_null(got);
			bytes[i] ^= (uint8_t)(1 << bit);
		}
	for (size_t i = 0; i <= count + 1; i++)
		if (i != count && text_state_parse("a", bytes, i, &key, &text_state_shape, &got) == RWKVK_OK)
			fail_msg("%zu of %zu bytes are enough", i, count);
	struct state_key others[] = { key, key, key, key };
	others[0].model.high++;
	others[1].model.low++;
	others[2].start++;
	others[3].prefix++;
	for (int i = 0; i < 4; i++)
		assert_fails(text_state_parse("a", bytes, count, &others[i], &text_state_shape, &got), RWKVK_ERROR_FILE, "another");
	struct state_header other = text_state_shape;
	other.layers++;
	assert_fails(text_state_parse("a", bytes, count, &key, &other, &got), RWKVK_ERROR_FILE, "another model");
	text_state_release(a);
	free(bytes);
}

static void counts_are_refused(void **state)
{
	(void)state;
	struct state_header header = text_state_shape;
	struct saved_state saved;
	struct text_state *a, *got;
	header.counts = 1;
	assert_ok(saved_state_make("a", &header, &saved));
	saved.ids[0] = 1;
	saved.counts[0] = 1;
	assert_ok(text_state_make(&key, "x", 1, &saved, &a));
	uint8_t *bytes = malloc(text_state_bytes(a));
	assert_ok(text_state_build(a, bytes));
	assert_fails(text_state_parse("a", bytes, text_state_bytes(a), &key, &text_state_shape, &got), RWKVK_ERROR_FILE, "counts");
	text_state_release(a);
	free(bytes);
}

static void texts_are_compared(void **state)
{
	(void)state;
	struct text_state *a = make_text_state(&key, "Hello", false);
	struct state_key other = key;
	other.prefix++;
	assert_true(text_state_is(a, &key, "Hello", 5, false));
	assert_false(text_state_is(a, &key, "Hello", 5, true));
	assert_false(text_state_is(a, &key, "Hell!", 5, false));
	assert_false(text_state_is(a, &key, "Hello", 4, false));
	assert_false(text_state_is(a, &other, "Hello", 5, false));
	text_state_release(a);
	text_state_release(NULL);
}

/* Those of the authors' page. */
static void known_hashes(void **state)
{
	(void)state;
	struct hash128 none = fnv1a_128(FNV1A_128_START, "", 0), a = fnv1a_128(FNV1A_128_START, "a", 1),
				   foobar = fnv1a_128(FNV1A_128_START, "foobar", 6);
	assert_true(none.high == UINT64_C(0x6c62272e07bb0142) && none.low == UINT64_C(0x62b821756295c58d));
	assert_true(a.high == UINT64_C(0xd228cb696f1a8caf) && a.low == UINT64_C(0x78912b704e4a8964));
	assert_true(foobar.high == UINT64_C(0x343e1662793c64bf) && foobar.low == UINT64_C(0x6f0d3597ba446f18));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_built_is_parsed), cmocka_unit_test(damage_is_found), cmocka_unit_test(counts_are_refused),
		cmocka_unit_test(texts_are_compared),      cmocka_unit_test(known_hashes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
