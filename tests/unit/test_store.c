/* Stores of the state cache: which states they drop, and how they handle a folder that others write to as well. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>
#ifdef _WIN32
#include <process.h>
#else
#include <sys/wait.h>
#endif

#include "base/folder.h"
#include "make_text_state.h"
#include "session/store.h"

#ifndef _WIN32 /* whose call for it no linker replaces */
/* ---------------------------------------------------------------------------------------------------- a drive that is slow */

static pthread_mutex_t drive = PTHREAD_MUTEX_INITIALIZER; /* who has it, makes the others wait */

int __real_fsync(int file);
int __wrap_fsync(int file);
int __wrap_fsync(int file)
{
	pthread_mutex_lock(&drive);
	pthread_mutex_unlock(&drive);
	return __real_fsync(file);
}
#endif

static const struct state_key model_key = { { 7, 8 }, 0, 0 };

static struct state_key key_of(uint64_t prefix)
{
	struct state_key key = model_key;
	key.prefix = prefix;
	return key;
}

static void put(struct store *store, uint64_t prefix, const char *text, bool logits)
{
	const struct state_key key = key_of(prefix);
	struct text_state *state = make_text_state(&key, text, logits);
	store->put(store, state);
	text_state_release(state);
}

static struct text_state *look(struct store *store, uint64_t prefix, const char *text, bool logits)
{
	const struct wanted wanted = { key_of(prefix), strlen(text), strlen(text), logits };
	size_t which;
	return store->lookup(store, text, &wanted, 1, &which);
}

static bool has(struct store *store, uint64_t prefix, const char *text)
{
	struct text_state *found = look(store, prefix, text, false);
	text_state_release(found);
	return found != NULL;
}

static rwkvk_cache_stats stats_of(struct store *store)
{
	rwkvk_cache_stats stats = { 0 };
	store->count(store, &stats);
	return stats;
}

/* ---------------------------------------------------------------------------------------------------- memory */

static uint64_t memory_of_one(void)
{
	const struct state_key key = key_of(1);
	struct text_state *state = make_text_state(&key, "a", false);
	uint64_t bytes = text_state_memory(state);
	text_state_release(state);
	return bytes;
}

static struct store *make_memory(uint64_t states)
{
	struct store *store;
	assert_ok(store_memory_create(states * memory_of_one(), &store));
	return store;
}

static void the_least_recently_used_go(void **state)
{
	(void)state;
	struct store *store = make_memory(3);
	put(store, 1, "a", false);
	put(store, 2, "b", false);
	put(store, 3, "c", false);
	assert_true(has(store, 1, "a"));
	put(store, 4, "d", false);
	assert_true(has(store, 1, "a") && !has(store, 2, "b") && has(store, 3, "c") && has(store, 4, "d"));
	put(store, 1, "a", false); /* which is known, and so used */
	put(store, 5, "e", false);
	assert_true(has(store, 1, "a") && !has(store, 3, "c"));
	rwkvk_cache_stats stats = stats_of(store);
	assert_int_equal(stats.memory_states, 3);
	assert_int_equal(stats.dropped, 2);
	assert_int_equal(stats.memory_bytes, 3 * memory_of_one());
	assert_int_equal(stats.memory_limit, 3 * memory_of_one());
	store->destroy(store);
}

static void states_in_use_stay(void **state)
{
	(void)state;
	struct store *store = make_memory(2);
	put(store, 1, "a", false);
	put(store, 2, "b", false);
	struct text_state *a = look(store, 1, "a", false), *b = look(store, 2, "b", false);
	put(store, 3, "c", false); /* there is no room */
	assert_false(has(store, 3, "c"));
	text_state_release(a);
	put(store, 3, "c", false);
	assert_true(has(store, 3, "c") && has(store, 2, "b") && !has(store, 1, "a"));
	store->destroy(store);
	assert_true(text_state_is(b, &b->key, "b", 1, false)); /* even longer than the store */
	text_state_release(b);
}

static void too_large_a_state_drops_nothing(void **state)
{
	(void)state;
	struct store *store = make_memory(1);
	char text[200];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	put(store, 1, "a", false);
	put(store, 2, text, false);
	assert_true(has(store, 1, "a") && !has(store, 2, text));
	store->destroy(store);
}

/* Different texts with the same key. */
static void equal_keys_are_no_equal_texts(void **state)
{
	(void)state;
	struct store *store = make_memory(4);
	put(store, 1, "a", false);
	assert_false(has(store, 1, "b"));
	put(store, 1, "b", false);
	assert_true(has(store, 1, "a") && has(store, 1, "b"));
	store->destroy(store);
}

static void check_logits(struct store *store)
{
	assert_null(look(store, 1, "a", true));
	put(store, 1, "a", true);
}

static void logits_come_later(void **state)
{
	(void)state;
	struct store *store = make_memory(4);
	put(store, 1, "a", false);
	check_logits(store);
	put(store, 1, "a", false); /* which is no better */
	struct text_state *found = look(store, 1, "a", true);
	assert_non_null(found);
	text_state_release(found);
	assert_int_equal(stats_of(store).memory_states, 1);
	store->destroy(store);
}

/* ---------------------------------------------------------------------------------------------------- folders */

static const char *new_folder(void)
{
	static int number;
	char name[32];
	snprintf(name, sizeof name, "cache-%d", number++);
	return test_temp(name);
}

static struct store *open_folder(const char *dir, uint64_t limit)
{
	struct store *store;
	assert_ok(store_folder_create(dir, limit, &text_state_shape, &store));
	return store;
}

/* States put into the store are written before it is destroyed. */
static struct store *again(struct store *store, const char *dir, uint64_t limit)
{
	store->destroy(store);
	return open_folder(dir, limit);
}

static const char *file_of(const char *dir, uint64_t prefix)
{
	static char path[4096];
	snprintf(path, sizeof path, "%s/states/00000000000000070000000000000008-0000000000000000-%016llx.state", dir,
	         (unsigned long long)prefix);
	return path;
}

static bool is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

static void remove_state(void *dir, const struct folder_file *file, uint64_t now)
{
	char path[4200];
	(void)now;
	snprintf(path, sizeof path, "%s/%s", (const char *)dir, file->name);
	unlink(path);
}

static void remove_folder(const char *dir)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/states", dir);
	folder_list(path, remove_state, path);
	rmdir(path);
	rmdir(dir);
}

/* On Windows it is, since it lies below the user's own folder. */
static void assert_private(const char *path, int rights)
{
#ifdef _WIN32
	(void)path, (void)rights;
#else
	struct stat info;
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 0777, rights);
#endif
}

static void states_outlive_the_store(void **state)
{
	(void)state;
	char path[4096];
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	put(store, 1, "a", true);
	store = again(store, dir, 1 << 20);
	struct text_state *found = look(store, 1, "a", true);
	const struct state_key key = key_of(1);
	struct text_state *want = make_text_state(&key, "a", true);
	assert_non_null(found);
	assert_memory_equal(found->saved.state, want->saved.state, text_state_shape.floats * sizeof(float));
	assert_memory_equal(found->saved.logits, want->saved.logits, text_state_shape.logits * sizeof(float));
	assert_int_equal(stats_of(store).disk_states, 1);
	assert_int_equal(stats_of(store).disk_bytes, text_state_bytes(want));
	assert_int_equal(stats_of(store).disk_limit, 1 << 20);
	text_state_release(found);
	text_state_release(want);
	assert_false(has(store, 1, "b") || has(store, 2, "a"));
	assert_true(is_there(file_of(dir, 1))); /* it belongs to another text: not damage */
	assert_private(file_of(dir, 1), 0600);
	snprintf(path, sizeof path, "%s/states", dir);
	assert_private(path, 0700);
	store->destroy(store);
	remove_folder(dir);
}

static void logits_come_later_on_disk(void **state)
{
	(void)state;
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	put(store, 1, "a", false);
	store = again(store, dir, 1 << 20);
	check_logits(store);
	put(store, 1, "a", false);
	store = again(store, dir, 1 << 20);
	struct text_state *found = look(store, 1, "a", true);
	assert_non_null(found);
	text_state_release(found);
	store->destroy(store);
	remove_folder(dir);
}

/* Truncated, a bit flipped, other bytes, empty, another's state: skipped, counted, removed. */
static void damaged_files_go(void **state)
{
	(void)state;
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	uint64_t random = 9;
	size_t bytes;
	put(store, 1, "a", false);
	store = again(store, dir, 1 << 20);
	uint8_t *whole = test_read_file(file_of(dir, 1), &bytes);
	for (uint64_t i = 0; i < 5; i++) {
		uint8_t *copy = malloc(bytes);
		memcpy(copy, whole, bytes);
		if (i == 1)
			copy[test_random(&random) % bytes] ^= 1;
		for (size_t j = 0; i == 2 && j < bytes; j++)
			copy[j] = (uint8_t)test_random(&random);
		test_write_file(file_of(dir, 1 + (i == 4)), copy, i == 0 ? bytes / 2 : i == 3 ? 0 : bytes);
		free(copy);
		assert_false(has(store, 1 + (i == 4), "a"));
		assert_false(is_there(file_of(dir, 1 + (i == 4))));
		assert_int_equal(stats_of(store).damaged, i + 1);
	}
	test_write_file(file_of(dir, 1), whole, bytes);
	assert_true(has(store, 1, "a"));
	free(whole);
	store->destroy(store);
	remove_folder(dir);
}

static void set_age(const char *path, long seconds)
{
	struct stat info;
	assert_int_equal(stat(path, &info), 0);
	struct utimbuf times = { info.st_atime, info.st_mtime - seconds };
	assert_int_equal(utime(path, &times), 0);
}

static void those_used_longest_ago_go(void **state)
{
	(void)state;
	char stale[4096], fresh[4096], foreign[4096];
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	for (uint64_t i = 1; i <= 8; i++)
		put(store, i, "a", false);
	store = again(store, dir, 1 << 20);
	const uint64_t one = stats_of(store).disk_bytes / 8;
	for (uint64_t i = 1; i <= 8; i++)
		set_age(file_of(dir, i), 1000 - 100 * (long)i);
	assert_true(has(store, 1, "a")); /* it is used again */
	snprintf(stale, sizeof stale, "%s/states/x.state.1-1.tmp", dir);
	snprintf(fresh, sizeof fresh, "%s/states/x.state.1-2.tmp", dir);
	snprintf(foreign, sizeof foreign, "%s/states/notes.txt", dir);
	test_write_file(stale, "x", 1);
	test_write_file(fresh, "x", 1);
	test_write_file(foreign, "x", 1);
	set_age(stale, 4000);
	set_age(foreign, 4000);
	store = again(store, dir, 8 * one);
	put(store, 9, "a", false);
	store = again(store, dir, 8 * one);
	assert_true(has(store, 1, "a") && !has(store, 2, "a") && !has(store, 3, "a") && has(store, 4, "a") && has(store, 9, "a"));
	assert_int_equal(stats_of(store).disk_states, 7);
	assert_false(is_there(stale));
	assert_true(is_there(fresh) && is_there(foreign));
	store = again(store, dir, 3 * one); /* a smaller limit is heeded at once */
	assert_true(stats_of(store).disk_bytes <= 3 * one);
	assert_int_equal(stats_of(store).dropped, 5);
	char *text = calloc(3 * one + 1, 1); /* larger than the limit: it is not written, and nothing is removed for it */
	memset(text, 'x', 3 * one);
	put(store, 10, text, false);
	free(text);
	store = again(store, dir, 3 * one);
	assert_true(stats_of(store).disk_states >= 2);
	store->destroy(store);
	remove_folder(dir);
}

static void no_folder_is_an_error(void **state)
{
	(void)state;
	struct store *store;
	assert_fails(store_folder_create(test_no_folder(), 1 << 20, &text_state_shape, &store), RWKVK_ERROR_FILE,
	             "cannot be created");
	assert_null(store);
}

static void a_folder_that_goes_is_no_failure(void **state)
{
	(void)state;
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	remove_folder(dir);
	put(store, 1, "a", false);
	assert_false(has(store, 1, "a"));
	for (int i = 0; i < 1000 && stats_of(store).unwritten == 0; i++)
		usleep(10000);
	assert_int_equal(stats_of(store).unwritten, 1);
	store->destroy(store);
}

#ifndef _WIN32
/* Nobody waits for a write; a state that finds no room in the queue is counted. */
static void a_slow_drive_is_not_waited_for(void **state)
{
	(void)state;
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	pthread_mutex_lock(&drive);
	for (uint64_t i = 1; i <= 20; i++)
		put(store, i, "a", false);
	const uint64_t unwritten = stats_of(store).unwritten;
	assert_in_range(unwritten, 11, 12); /* one is being written, or not yet, and eight wait */
	pthread_mutex_unlock(&drive);
	store = again(store, dir, 1 << 20);
	assert_int_equal(stats_of(store).disk_states, 20 - unwritten);
	store->destroy(store);
	remove_folder(dir);
}
#endif

/* A process that writes, reads and, as the folder has room for few, removes what others read. */
static void use_folder(const char *dir, uint64_t limit, uint64_t seed)
{
	struct store *store = open_folder(dir, limit);
	for (int i = 0; i < 300; i++) {
		uint64_t prefix = 1 + test_random(&seed) % 12;
		const struct state_key key = key_of(prefix);
		struct text_state *want = make_text_state(&key, "a", false), *found = look(store, prefix, "a", false);
		if (found)
			assert_memory_equal(found->saved.state, want->saved.state, text_state_shape.floats * sizeof(float));
		else
			store->put(store, want);
		text_state_release(found);
		text_state_release(want);
	}
	if (stats_of(store).damaged > 0)
		fail_msg("%llu files were damaged", (unsigned long long)stats_of(store).damaged);
	store->destroy(store);
}

#ifdef _WIN32
static const char *program; /* which is a child if it has arguments: folder, limit, seed */

static intptr_t start(const char *dir, uint64_t limit, int seed)
{
	char folder[4096], bytes[32], number[16];
	snprintf(folder, sizeof folder, "\"%s\"", dir);
	snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)limit);
	snprintf(number, sizeof number, "%d", seed);
	return _spawnl(_P_NOWAIT, program, "child", folder, bytes, number, NULL);
}

static int end_of(intptr_t child)
{
	int status;
	assert_true(_cwait(&status, child, 0) == child);
	return status;
}
#else
static intptr_t start(const char *dir, uint64_t limit, int seed)
{
	pid_t child = fork();
	if (child == 0) {
		use_folder(dir, limit, (uint64_t)seed);
		_exit(0);
	}
	return child;
}

static int end_of(intptr_t child)
{
	int status;
	assert_int_equal(waitpid((pid_t)child, &status, 0), child);
	return status;
}
#endif

static void processes_share_a_folder(void **state)
{
	(void)state;
	const char *dir = new_folder();
	struct store *store = open_folder(dir, 1 << 20);
	put(store, 1, "a", false);
	store = again(store, dir, 1 << 20);
	const uint64_t one = stats_of(store).disk_bytes;
	intptr_t children[3];
	store->destroy(store);
	for (int i = 0; i < 3; i++) {
		children[i] = start(dir, 6 * one, 1 + i);
		assert_true(children[i] >= 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(end_of(children[i]), 0);
	store = open_folder(dir, 6 * one);
	assert_true(stats_of(store).disk_states >= 1 && stats_of(store).disk_bytes <= 6 * one);
	store->destroy(store);
	remove_folder(dir);
}

int main(int argc, char **argv)
{
#ifdef _WIN32
	program = argv[0];
	if (argc == 4) {
		use_folder(argv[1], strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
		return 0;
	}
#else
	(void)argc, (void)argv;
#endif
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_recently_used_go),
		cmocka_unit_test(states_in_use_stay),
		cmocka_unit_test(too_large_a_state_drops_nothing),
		cmocka_unit_test(equal_keys_are_no_equal_texts),
		cmocka_unit_test(logits_come_later),
		cmocka_unit_test(states_outlive_the_store),
		cmocka_unit_test(logits_come_later_on_disk),
		cmocka_unit_test(damaged_files_go),
		cmocka_unit_test(those_used_longest_ago_go),
		cmocka_unit_test(no_folder_is_an_error),
		cmocka_unit_test(a_folder_that_goes_is_no_failure),
#ifndef _WIN32
		cmocka_unit_test(a_slow_drive_is_not_waited_for),
#endif
		cmocka_unit_test(processes_share_a_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
