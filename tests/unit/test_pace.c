/* How many tokens a submission has: 20 to 40 ms, never past the bound, and careful beginnings. */
#include "support.h"

#include "engine/plan.h"

enum { US = 1000, MS = 1000000 };

/* The pace after `turns` submissions whose tokens all take so long. */
static uint32_t settled(rwkvk_device_type type, uint64_t each, uint64_t most, uint32_t turns)
{
	struct pace pace = { 0 };
	uint32_t tokens = pace_tokens(&pace, type, most);
	for (uint32_t i = 0; i < turns; i++) {
		pace_measured(&pace, tokens, tokens * each);
		tokens = pace_tokens(&pace, type, most);
	}
	return tokens;
}

static void aims(void **state)
{
	(void)state;
	static const rwkvk_device_type types[] = { RWKVK_DEVICE_DISCRETE, RWKVK_DEVICE_INTEGRATED, RWKVK_DEVICE_CPU,
		                                       RWKVK_DEVICE_VIRTUAL, RWKVK_DEVICE_OTHER };
	for (size_t i = 0; i < 5; i++)
		for (uint64_t each = 50 * US; each < 3000 * (uint64_t)MS; each += each / 7) {
			uint32_t tokens = settled(types[i], each, UINT64_MAX, 12);
			if (each > 40 * MS)
				assert_int_equal(tokens, 1);
			else if (each < 30 * MS / MAX_TOKENS)
				assert_in_range(tokens, MAX_TOKENS - 1, MAX_TOKENS);
			else
				assert_in_range(tokens * each, 19900 * US, 40100 * US);
		}
}

static void begins_with_one(void **state)
{
	(void)state;
	for (uint32_t turns = 0; turns < 8; turns++)
		assert_int_equal(settled(RWKVK_DEVICE_DISCRETE, 100 * US, UINT64_MAX, turns), turns < 7 ? 1 << turns : MAX_TOKENS);
	for (uint64_t most = 0; most < 9; most++)
		assert_int_equal(settled(RWKVK_DEVICE_DISCRETE, 100 * US, most, 9), most ? most : 1);
}

/* One slow token among fast ones, and the bound holds even if all were as slow; then it is forgotten. */
static void keeps_the_bound(void **state)
{
	(void)state;
	static const struct {
		rwkvk_device_type type;
		uint64_t bound;
	} kinds[] = { { RWKVK_DEVICE_DISCRETE, 150 },
		          { RWKVK_DEVICE_VIRTUAL, 150 },
		          { RWKVK_DEVICE_INTEGRATED, 50 },
		          { RWKVK_DEVICE_OTHER, 50 },
		          { RWKVK_DEVICE_CPU, 1000 } };
	for (size_t i = 0; i < 5; i++) {
		struct pace pace = { 0 };
		uint32_t tokens = 1;
		uint64_t slow = 20 * MS;
		for (int turn = 0; turn < 8; turn++) {
			pace_measured(&pace, tokens, tokens * (uint64_t)MS);
			tokens = pace_tokens(&pace, kinds[i].type, UINT64_MAX);
		}
		assert_in_range(tokens, 29, 30);
		pace_measured(&pace, 1, slow);
		assert_true(pace_tokens(&pace, kinds[i].type, UINT64_MAX) * slow <= kinds[i].bound * MS);
		for (int turn = 0; turn < 100; turn++) {
			tokens = pace_tokens(&pace, kinds[i].type, UINT64_MAX);
			assert_true(tokens * pace.slowest <= kinds[i].bound * MS);
			pace_measured(&pace, tokens, tokens * (uint64_t)MS);
		}
		assert_in_range(tokens, 29, 30);
	}
}

/* The first chunk, of which nothing is known. */
static void most_at_first(void **state)
{
	(void)state;
	struct pace pace = { 0 };
	assert_int_equal(pace_most(&pace, RWKVK_DEVICE_INTEGRATED), 0);
	assert_int_equal(pace_most(&pace, RWKVK_DEVICE_OTHER), 0);
	assert_int_equal(pace_most(&pace, RWKVK_DEVICE_DISCRETE), UINT32_MAX);
	assert_int_equal(pace_most(&pace, RWKVK_DEVICE_CPU), UINT32_MAX);
	pace_measured(&pace, 1, 5 * MS);
	assert_int_equal(pace_most(&pace, RWKVK_DEVICE_INTEGRATED), 9);
	pace_measured(&pace, 1, 60 * MS);
	assert_int_equal(pace_most(&pace, RWKVK_DEVICE_INTEGRATED), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aims),
		cmocka_unit_test(begins_with_one),
		cmocka_unit_test(keeps_the_bound),
		cmocka_unit_test(most_at_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
