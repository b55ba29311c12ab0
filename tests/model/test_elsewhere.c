/* A conversation goes on at another machine: on another device with states of the first one, and by a store that both use. */
#include "cache_world.h"

#include <sys/wait.h>
#include <unistd.h>

#ifdef RWKVK_STORE
#include "fake_redis.h"
#endif

enum { ROOM = 1 << 26 };

static const char *model_path, *vocab_path;
static rwkvk_model *model;
static rwkvk_session *session;

static void open_model(void)
{
	const rwkvk_model_options options = { .path = model_path, .vocab = vocab_path, .max_batch = 2 };
	assert_ok(rwkvk_model_open(&options, &model));
	assert_ok(rwkvk_session_create(model, &session));
}

/* Tokens that were known. */
static uint64_t read_talk(rwkvk_cache *cache, const struct talk *t, float logits[CACHE_VOCAB])
{
	rwkvk_prompt *prompt = make_prompt(cache, t);
	assert_ok(rwkvk_prompt_read(prompt, session, &(rwkvk_eval_options){ .logits = logits }));
	const uint64_t cached = info_of(prompt).cached;
	rwkvk_prompt_destroy(prompt);
	return cached;
}

static void read_alone(const struct talk *t, float logits[CACHE_VOCAB])
{
	rwkvk_cache *cache = make_cache(model, NULL);
	assert_int_equal(read_talk(cache, t, logits), 0);
	rwkvk_cache_destroy(cache);
}

static void begin_talk(struct talk *t)
{
	t->count = t->bytes = 0;
	for (int i = 0; i < 6; i++)
		say(t, i % 2 ? "Assistant" : "User", "As it is in the tale, so it is on the sea, and no one has seen it.");
}

/* ---------------------------------------------------------------------------------------------------- other devices */

static void read_and_report(const char *dir, const char *path)
{
	struct talk t;
	float logits[2][CACHE_VOCAB];
	open_model();
	rwkvk_cache *cache = make_cache(model, &(rwkvk_cache_options){ .disk = ROOM, .dir = dir });
	begin_talk(&t);
	read_talk(cache, &t, logits[0]);
	rwkvk_cache_destroy(cache); /* the rest is not for others */
	say(&t, "User", "And then?");
	read_alone(&t, logits[1]);
	test_write_file(path, logits, sizeof logits);
}

/* Software Vulkan with vectors of another width adds in another order: for the arithmetic it is another device.  This one goes
 * on with its states, within what test_golden.c allows a device.  In a process of its own, because the driver asks once. */
static void states_of_another_device_are_good(void **state)
{
	(void)state;
	const char *dir = test_temp("devices"), *path = test_temp("logits");
	float theirs[2][CACHE_VOCAB], ours[2][CACHE_VOCAB];
	const pid_t child = fork();
	if (child == 0) {
		setenv("LP_NATIVE_VECTOR_WIDTH", "128", 1);
		setenv("GALLIUM_OVERRIDE_CPU_CAPS", "avx", 1);
		read_and_report(dir, path);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	FILE *file = fopen(path, "rb");
	assert_int_equal(fread(theirs, sizeof theirs, 1, file), 1);
	fclose(file);
	struct talk t;
	open_model();
	rwkvk_cache *cache = make_cache(model, &(rwkvk_cache_options){ .disk = ROOM, .dir = dir });
	begin_talk(&t);
	assert_true(read_talk(cache, &t, ours[0]) > 0);
	assert_int_equal(stats_of(cache).disk_hits, 1);
	assert_memory_equal(ours[0], theirs[0], sizeof ours[0]); /* kept with the state */
	say(&t, "User", "And then?");
	assert_true(read_talk(cache, &t, ours[1]) > 0);
	rwkvk_cache_destroy(cache);
	assert_close("logits", ours[1], theirs[1], CACHE_VOCAB, 1e-4);
	read_alone(&t, theirs[1]);
	assert_close("logits", ours[1], theirs[1], CACHE_VOCAB, 1e-4);
}

/* ---------------------------------------------------------------------------------------------------- a store for both */

#ifdef RWKVK_STORE
static struct fake_redis *fake;

static rwkvk_cache *open_machine(uint32_t tokens)
{
	char url[64];
	snprintf(url, sizeof url, "redis://127.0.0.1:%u", fake_redis_port(fake));
	return make_cache(model, &(rwkvk_cache_options){ .store = url, .store_tokens = tokens, .store_wait = 60000 });
}

/* Turn by turn at another machine, with the bits of one that reads it all.  One that ends has written all. */
static void conversations_go_on_at_another_machine(void **state)
{
	(void)state;
	struct talk t;
	float got[CACHE_VOCAB], want[CACHE_VOCAB];
	uint64_t known = 0;
	fake = fake_redis_start(0);
	begin_talk(&t);
	for (int turn = 0; turn < 4; turn++) {
		rwkvk_cache *cache = open_machine(1);
		const uint64_t before = known;
		known = read_talk(cache, &t, got);
		assert_true(turn == 0 ? known == 0 : known > before);
		assert_int_equal(stats_of(cache).store_hits, turn > 0);
		assert_int_equal(stats_of(cache).store_damaged, 0);
		rwkvk_cache_destroy(cache);
		read_alone(&t, want);
		assert_memory_equal(got, want, sizeof got);
		say(&t, "User", "And then?");
	}
	fake_redis_stop(fake);
}

/* Only for what is worth it: neither for short texts nor for what is nearly known. */
static void stores_are_asked_for_long_prefixes_only(void **state)
{
	(void)state;
	struct talk t = { .count = 0 };
	fake = fake_redis_start(0);
	rwkvk_cache *cache = open_machine(100);
	say(&t, "User", "Hello");
	read_talk(cache, &t, NULL);
	begin_talk(&t);
	read_talk(cache, &t, NULL);
	assert_int_equal(stats_of(cache).store_lookups, 1);
	rwkvk_cache_destroy(cache);
	cache = open_machine(100);
	const uint64_t known = read_talk(cache, &t, NULL);
	assert_true(known >= 100);
	assert_int_equal(stats_of(cache).store_lookups, 1);
	say(&t, "User", "And then?"); /* all but this is known */
	assert_int_equal(read_talk(cache, &t, NULL), known);
	assert_int_equal(stats_of(cache).store_lookups, 1);
	rwkvk_cache_destroy(cache);
	fake_redis_stop(fake);
}

static void addresses_are_checked(void **state)
{
	(void)state;
	rwkvk_cache *cache;
	assert_fails(rwkvk_cache_create(model, &(rwkvk_cache_options){ .store = "localhost:secret@6379" }, &cache),
	             RWKVK_ERROR_ARGUMENT, "rwkvk_cache_options.store: it begins with neither");
	assert_null(cache);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_of_another_device_are_good),
#ifdef RWKVK_STORE
		cmocka_unit_test(conversations_go_on_at_another_machine),
		cmocka_unit_test(stores_are_asked_for_long_prefixes_only),
		cmocka_unit_test(addresses_are_checked),
#endif
	};
	model_path = test_temp("elsewhere.gguf");
	vocab_path = make_cache_vocabulary("vocab.txt", 'x');
	make_model(model_path, &cache_spec);
	int failed = cmocka_run_group_tests_name("elsewhere", tests, NULL, NULL);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return failed;
}
