/* The state store: what it sends to a Redis server and makes of the answers, whatever they are.  The server is in this process.
 */
#include "support.h"

#include <stdio.h>
#include <unistd.h>

#include "fake_redis.h"
#include "make_text_state.h"
#include "session/redis.h"
#include "session/store.h"

enum { WAIT = 60000, SHORT_WAIT = 100 /* ms; the first for what is to succeed, however slow the machine */, QUEUE = 16 };

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

/* ---------------------------------------------------------------------------------------------------- a store and its reports
 */

static struct fake_redis *fake;
static char reports[4096];

static void note(void *user, rwkvk_log_level level, const char *text)
{
	const size_t length = strlen(reports);
	(void)user, (void)level;
	snprintf(reports + length, sizeof reports - length, "%s\n", text);
}

static size_t reports_with(const char *words)
{
	size_t count = 0;
	for (const char *at = reports; (at = strstr(at, words)); at++)
		count++;
	return count;
}

static struct store *open_store(uint16_t port, const char *user, uint32_t wait, uint64_t ttl)
{
	const struct listener listener = { note, NULL };
	struct store *store;
	char url[100];
	snprintf(url, sizeof url, "redis://%s127.0.0.1:%u/3", user, port);
	const struct store_redis_options options = { .url = url, .ttl = ttl, .tokens = 2, .wait = wait };
	assert_ok(store_redis_create(&options, &text_state_shape, &listener, &store));
	return store;
}

static int begin(void **state)
{
	(void)state;
	reports[0] = 0;
	fake = fake_redis_start(0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	fake_redis_stop(fake);
	return 0;
}

static struct state_key key_of(uint64_t prefix)
{
	return (struct state_key){ { 7, 8 }, 9, prefix };
}

static void name_of(uint64_t prefix, char out[128])
{
	const struct state_key key = key_of(prefix);
	char name[STATE_KEY_ROOM];
	state_key_name(&key, name);
	snprintf(out, 128, "rwkvk:%s", name);
}

/* The text of a number is that many letters. */
static void put(struct store *store, uint64_t prefix, bool logits)
{
	const struct state_key key = key_of(prefix);
	char text[32];
	snprintf(text, sizeof text, "%.*s", (int)prefix, letters);
	struct text_state *state = make_text_state(&key, text, logits);
	store->put(store, state);
	text_state_release(state);
}

/* The longest of these beginnings that the store has; 0: none. */
static uint64_t look(struct store *store, uint64_t longest, uint64_t shortest, bool logits)
{
	struct wanted wanted[32];
	size_t count = 0, which;
	for (uint64_t prefix = longest; prefix >= shortest; prefix--)
		wanted[count++] = (struct wanted){ key_of(prefix), (size_t)prefix, (size_t)prefix, logits };
	struct text_state *found = store->lookup(store, letters, wanted, count, &which);
	if (!found)
		return 0;
	char text[32];
	snprintf(text, sizeof text, "%.*s", (int)wanted[which].bytes, letters);
	struct text_state *want = make_text_state(&wanted[which].key, text, found->saved.header.logits > 0);
	assert_true(text_state_is(found, &wanted[which].key, letters, wanted[which].bytes, logits));
	assert_memory_equal(found->saved.state, want->saved.state, (size_t)want->saved.header.floats * sizeof(float));
	text_state_release(want);
	text_state_release(found);
	return longest - which;
}

static rwkvk_cache_stats stats_of(struct store *store)
{
	rwkvk_cache_stats stats = { 0 };
	store->count(store, &stats);
	return stats;
}

static void wait_until_written(struct store *store, uint64_t states)
{
	while (stats_of(store).store_written < states)
		usleep(1000);
}

/* Pauses after failures end by themselves. */
static void wait_until_found(struct store *store, uint64_t prefix)
{
	while (look(store, prefix, prefix, false) == 0)
		usleep(1000);
}

static size_t stored(uint64_t prefix, uint8_t *out, size_t capacity, uint64_t *seconds)
{
	char name[128];
	name_of(prefix, name);
	return fake_redis_get(fake, name, out, capacity, seconds);
}

static void store_bytes(uint64_t prefix, const void *bytes, size_t count)
{
	char name[128];
	name_of(prefix, name);
	fake_redis_set(fake, name, bytes, count);
}

/* ---------------------------------------------------------------------------------------------------- an honest server */

static void states_go_to_other_machines(void **state)
{
	(void)state;
	struct store *one = open_store(fake_redis_port(fake), "", WAIT, 0), *two = open_store(fake_redis_port(fake), "", WAIT, 0);
	assert_int_equal(look(two, 3, 3, false), 0);
	put(one, 3, false);
	put(one, 5, true);
	put(one, 1, true); /* which is too short to be worth it */
	wait_until_written(one, 2);
	assert_int_equal(look(two, 3, 3, false), 3);
	assert_int_equal(look(two, 3, 3, true), 0); /* it has no logits */
	assert_int_equal(look(two, 5, 5, true), 5);
	assert_int_equal(look(two, 9, 2, false), 5);
	assert_int_equal(look(two, 9, 6, false), 0);
	assert_int_equal(look(two, 1, 1, false), 0);
	const rwkvk_cache_stats stats = stats_of(two);
	assert_int_equal(stats.store_connected, 1);
	assert_int_equal(stats.store_lookups, 7);
	assert_int_equal(stats.store_failed, 0);
	assert_int_equal(stats.store_damaged, 0);
	assert_true(stats.store_bytes_read > 0 && stats_of(one).store_bytes_written > 0);
	assert_true(fake_redis_count(fake, "SELECT") > 0 && fake_redis_count(fake, "AUTH") == 0);
	one->destroy(one);
	two->destroy(two);
	assert_string_equal(reports, "");
}

/* A state that is there already is not sent again, unless this one has logits.  Use begins its time to live anew. */
static void states_are_written_once_and_live_while_used(void **state)
{
	(void)state;
	struct store *store = open_store(fake_redis_port(fake), "", WAIT, 0);
	uint64_t seconds;
	uint8_t bytes[2000];
	put(store, 3, false);
	wait_until_written(store, 1);
	put(store, 3, false);
	put(store, 3, true);
	wait_until_written(store, 2);
	store->destroy(store);
	assert_int_equal(fake_redis_count(fake, "SET"), 2);
	assert_int_equal(fake_redis_count(fake, "EXPIRE"), 0);
	const size_t count = stored(3, bytes, sizeof bytes, &seconds);
	assert_int_equal(seconds, 0);
	store = open_store(fake_redis_port(fake), "", WAIT, 77);
	assert_int_equal(look(store, 3, 3, true), 3);
	stored(3, bytes, sizeof bytes, &seconds);
	assert_int_equal(seconds, 77);
	store_bytes(3, bytes, count);
	put(store, 3, false);
	put(store, 4, false);
	store->destroy(store); /* which waits for both */
	stored(3, bytes, sizeof bytes, &seconds);
	assert_int_equal(seconds, 77);
	stored(4, bytes, sizeof bytes, &seconds);
	assert_int_equal(seconds, 77);
	assert_int_equal(fake_redis_count(fake, "SET"), 3);
}

/* While the server holds one back, as many wait as there is room for, the oldest go, and the newest is written first. */
static void the_newest_states_are_written_first(void **state)
{
	(void)state;
	struct store *store = open_store(fake_redis_port(fake), "", WAIT, 0);
	uint8_t bytes[2000];
	uint64_t seconds;
	char first[128], last[128];
	fake_redis_hold(fake, true);
	put(store, 2, false);
	while (fake_redis_count(fake, "SET") == 0)
		usleep(1000);
	for (uint64_t prefix = 3; prefix < 3 + QUEUE + 4; prefix++)
		put(store, prefix, false);
	assert_int_equal(stats_of(store).store_unwritten, 4);
	fake_redis_hold(fake, false);
	wait_until_written(store, 1 + QUEUE);
	store->destroy(store);
	for (uint64_t prefix = 2; prefix < 3 + QUEUE + 4; prefix++)
		assert_int_equal(stored(prefix, bytes, sizeof bytes, &seconds) > 0, prefix == 2 || prefix >= 7);
	fake_redis_last(fake, last);
	name_of(7, first);
	assert_string_equal(last, first);
}

/* ---------------------------------------------------------------------------------------------------- liars */

/* Values that no server of this model wrote: they are counted and removed, and a good one can take their place. */
static void values_of_strangers_do_nothing(void **state)
{
	(void)state;
	struct store *store = open_store(fake_redis_port(fake), "", WAIT, 0);
	uint8_t good[2000], other[2000], random[2000];
	uint64_t seconds, seed = 5;
	put(store, 3, true);
	put(store, 4, true);
	wait_until_written(store, 2);
	const size_t count = stored(3, good, sizeof good, &seconds);
	assert_in_range(stored(4, other, sizeof other, &seconds), count + 1, sizeof other);
	for (size_t i = 0; i < count; i++)
		random[i] = (uint8_t)test_random(&seed);
	store_bytes(3, random, count);
	assert_int_equal(look(store, 3, 3, false), 0); /* random bytes of the right number */
	assert_int_equal(stored(3, random, sizeof random, &seconds), 0);
	store_bytes(3, good, count - 1);
	assert_int_equal(look(store, 3, 3, false), 0); /* too short */
	store_bytes(3, other, count + 1);
	assert_int_equal(look(store, 3, 3, false), 0); /* too long, and of another text */
	for (size_t at = 0; at < count; at += 37) {
		memcpy(random, good, count);
		random[at] ^= 4;
		store_bytes(3, random, count);
		assert_int_equal(look(store, 3, 3, true), 0);
	}
	assert_int_equal(stats_of(store).store_damaged, 3 + (count + 36) / 37);
	assert_int_equal(stats_of(store).store_failed, 0);
	put(store, 3, true);
	wait_until_written(store, 3);
	assert_int_equal(look(store, 3, 3, true), 3);
	store_bytes(5, random, 10);
	assert_int_equal(look(store, 5, 2, false), 4); /* the next best is found all the same */
	store->destroy(store);
	assert_string_equal(reports, "");
}

/* Of another model's shape, under this one's key. */
static void states_of_other_shapes_do_nothing(void **state)
{
	(void)state;
	const struct listener listener = { note, NULL };
	struct state_header larger = text_state_shape;
	struct store *store = open_store(fake_redis_port(fake), "", WAIT, 0), *other;
	char url[100];
	larger.layers *= 2;
	larger.floats *= 2;
	snprintf(url, sizeof url, "redis://127.0.0.1:%u", fake_redis_port(fake));
	assert_ok(
		store_redis_create(&(struct store_redis_options){ .url = url, .tokens = 2, .wait = WAIT }, &larger, &listener, &other));
	put(store, 3, false);
	wait_until_written(store, 1);
	assert_int_equal(look(other, 3, 3, false), 0);
	assert_int_equal(stats_of(other).store_damaged, 1);
	store->destroy(store);
	other->destroy(other);
}

/* A server that fails in any way is as good as none, is reported once, and is used again when it is well. */
static void assert_survives(enum fake_lie lie, uint32_t wait, const char *reason)
{
	struct store *store = open_store(fake_redis_port(fake), "", wait, 0);
	const uint64_t prefix = 3 + (uint64_t)lie; /* none that is there */
	reports[0] = 0;
	put(store, prefix, false);
	wait_until_written(store, 1);
	wait_until_found(store, prefix);
	const uint64_t failed = stats_of(store).store_failed;
	fake_redis_lie(fake, lie);
	assert_int_equal(look(store, prefix, prefix, false), 0);
	assert_int_equal(look(store, prefix, prefix, false), 0);
	assert_int_equal(stats_of(store).store_failed, failed + 2);
	fake_redis_lie(fake, FAKE_HONEST);
	fake_redis_hang_up(fake);
	wait_until_found(store, prefix);
	store->destroy(store);
	assert_int_equal(reports_with("goes on without it"), reports_with("answers again"));
	assert_true(reports_with(reason) >= 1);
}

static void servers_that_lie(void **state)
{
	(void)state;
	assert_survives(FAKE_CLOSES, WAIT, "Server closed the connection; goes on without it");
	assert_survives(FAKE_SILENT, SHORT_WAIT, "has not answered in time; goes on without it");
	assert_survives(FAKE_DRIPS, SHORT_WAIT, "has not answered in time; goes on without it");
	assert_survives(FAKE_NONSENSE, WAIT, "Protocol error");
	assert_survives(FAKE_OTHER_TYPE, WAIT, "answers otherwise than Redis does");
	assert_survives(FAKE_ENDLESS, WAIT, "sends more than was asked for");
	assert_survives(FAKE_REPEATS_ALL, WAIT, "refuses the user, the password or the database (ERR)");
}

/* Which Redis does with connections that are idle, if it is told to: nothing is missed. */
static void connections_that_were_closed_meanwhile(void **state)
{
	(void)state;
	struct store *store = open_store(fake_redis_port(fake), "", WAIT, 0);
	put(store, 3, false);
	wait_until_written(store, 1);
	fake_redis_hang_up(fake);
	assert_int_equal(look(store, 3, 3, false), 3);
	fake_redis_hang_up(fake);
	put(store, 4, false);
	wait_until_written(store, 2);
	assert_int_equal(stats_of(store).store_failed, 0);
	store->destroy(store);
	assert_string_equal(reports, "");
}

static void servers_that_are_full(void **state)
{
	(void)state;
	struct store *store = open_store(fake_redis_port(fake), "", WAIT, 0);
	fake_redis_lie(fake, FAKE_FULL);
	put(store, 3, false);
	put(store, 4, false);
	while (stats_of(store).store_unwritten < 2)
		usleep(1000);
	assert_int_equal(reports_with("OOM command not allowed"), 1);
	fake_redis_lie(fake, FAKE_HONEST);
	put(store, 5, false);
	wait_until_written(store, 1);
	assert_int_equal(look(store, 5, 3, false), 5);
	store->destroy(store);
	assert_int_equal(reports_with("\n"), 1);
}

static void servers_that_come_late(void **state)
{
	(void)state;
	const uint16_t port = fake_redis_port(fake);
	fake_redis_stop(fake);
	struct store *store = open_store(port, "", WAIT, 0);
	put(store, 3, false);
	assert_int_equal(look(store, 3, 3, false), 0);
	assert_int_equal(stats_of(store).store_connected, 0);
	assert_int_equal(stats_of(store).store_failed, 1);
	assert_int_equal(reports_with("goes on without it"), 1);
	fake = fake_redis_start(port);
	wait_until_written(store, 1);
	wait_until_found(store, 3);
	store->destroy(store);
	assert_int_equal(reports_with("answers again"), 1);
	fake_redis_stop(fake);
	store = open_store(port, "", WAIT, 0);
	put(store, 3, false);
	store->destroy(store); /* which does not wait for a server that is not there */
	fake = fake_redis_start(port);
}

/* ---------------------------------------------------------------------------------------------------- addresses */

static void passwords_are_not_told(void **state)
{
	(void)state;
	fake_redis_lie(fake, FAKE_REPEATS_ALL);
	struct store *store = open_store(fake_redis_port(fake), "anna:s%65cret%40@", WAIT, 0);
	assert_int_equal(look(store, 3, 3, false), 0);
	store->destroy(store);
	assert_int_equal(reports_with("refuses the user, the password or the database (ERR)"), 1);
	assert_int_equal(reports_with("secret"), 0);
	assert_int_equal(reports_with("anna"), 0);
	assert_true(fake_redis_count(fake, "AUTH") > 0); /* what follows it may be lost with the connection */
}

static void addresses_are_taken_apart(void **state)
{
	(void)state;
	struct redis_address a;
	assert_ok(redis_address_parse("redis://example.org", &a));
	assert_string_equal(a.host, "example.org");
	assert_true(a.port == 6379 && a.database == 0 && !a.user && !a.password && !a.tls);
	redis_address_free(&a);
	assert_ok(redis_address_parse("redis://a%3Ab:p@ss%2f@[::1]:1234/15", &a));
	assert_string_equal(a.user, "a:b");
	assert_string_equal(a.password, "p@ss/");
	assert_string_equal(a.host, "::1");
	assert_string_equal(a.name, "[::1]:1234");
	assert_true(a.port == 1234 && a.database == 15);
	redis_address_free(&a);
	assert_ok(redis_address_parse("redis://:p@h/", &a));
	assert_true(!a.user && strcmp(a.password, "p") == 0 && a.database == 0);
	redis_address_free(&a);
	static const char *const wrong[][2] = {
		{ "", "begins with neither" },
		{ "secret", "begins with neither" },
		{ "http://u:secret@h", "begins with neither" },
		{ "redis:/h", "begins with neither" },
		{ "redis://", "has no host" },
		{ "redis://u:secret@", "has no host" },
		{ "redis://secret@h", "a user and no password" },
		{ "redis://u:secret%4@h", "percent-encoded" },
		{ "redis://u:secret%00@h", "percent-encoded" },
		{ "redis://u%zz:secret@h", "percent-encoded" },
		{ "redis://u:secret@h:0", "port" },
		{ "redis://u:secret@h:65536", "port" },
		{ "redis://u:secret@h:99999999999999999999", "port" },
		{ "redis://u:secret@h:", "port" },
		{ "redis://u:secret@[::1", "bracket" },
		{ "redis://u:secret@[::1]x", "port" },
		{ "redis://u:secret@h/x", "database" },
		{ "redis://u:secret@h/65536", "database" },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_fails(redis_address_parse(wrong[i][0], &a), RWKVK_ERROR_ARGUMENT, wrong[i][1]);
		assert_null(strstr(rwkvk_last_error(), "secret"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(states_go_to_other_machines, begin, end),
		cmocka_unit_test_setup_teardown(states_are_written_once_and_live_while_used, begin, end),
		cmocka_unit_test_setup_teardown(the_newest_states_are_written_first, begin, end),
		cmocka_unit_test_setup_teardown(values_of_strangers_do_nothing, begin, end),
		cmocka_unit_test_setup_teardown(states_of_other_shapes_do_nothing, begin, end),
		cmocka_unit_test_setup_teardown(servers_that_lie, begin, end),
		cmocka_unit_test_setup_teardown(connections_that_were_closed_meanwhile, begin, end),
		cmocka_unit_test_setup_teardown(servers_that_are_full, begin, end),
		cmocka_unit_test_setup_teardown(servers_that_come_late, begin, end),
		cmocka_unit_test_setup_teardown(passwords_are_not_told, begin, end),
		cmocka_unit_test(addresses_are_taken_apart),
	};
	return cmocka_run_group_tests_name("store_redis", tests, NULL, NULL);
}
