/* Memory that runs out: the n-th allocation of the library fails, for every n, alone or with all that come after it.  Each time
 * the call reports it and nothing leaks, and whatever succeeds nevertheless has its usual result.
 *
 * The test is linked with --wrap for what allocates and frees, which reaches the library and this file, but neither the other
 * libraries nor the driver. */
#include "support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "feed.h"
#include "make_chain.h"
#include "rwkvk_tools.h"

/* ------------------------------------------------------------------------------------------------------ allocations */

static atomic_ulong asked, alive; /* allocations so far, and those that were not freed */
static unsigned long fail_at;     /* 0: none fails */
static bool all_after;

static bool fails(void)
{
	unsigned long now = atomic_fetch_add(&asked, 1) + 1;
	return fail_at && (now == fail_at || (all_after && now > fail_at));
}

static void *count(void *block)
{
	if (block)
		atomic_fetch_add(&alive, 1);
	return block;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t items, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
char *__real_strdup(const char *text);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t items, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : count(__real_malloc(bytes));
}

void *__wrap_calloc(size_t items, size_t bytes)
{
	return fails() ? NULL : count(__real_calloc(items, bytes));
}

void *__wrap_realloc(void *block, size_t bytes)
{
	if (fails())
		return NULL;
	void *moved = __real_realloc(block, bytes);
	return block ? moved : count(moved);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : count(__real_strdup(text));
}

void __wrap_free(void *block)
{
	if (block)
		atomic_fetch_sub(&alive, 1);
	__real_free(block);
}

/* ------------------------------------------------------------------------------------------------------ what is done */

static const char *model_path, *vocab_path, *state_path, *out_path, *converted_path, *trained_path, *cache_path;
static rwkvk_model *cached_model; /* open all the time */

/* One path through the library, up to the first failure, and its results. */
struct visit {
	rwkvk_file *file, *adapted;
	rwkvk_model *model;
	rwkvk_session *session, *clone;
	rwkvk_tokenizer *tokenizer;
	rwkvk_cancel *cancel;
	rwkvk_cache *cache;
	rwkvk_prompt *prompt;
	uint8_t state[1 << 17];
	float logits[300];
	char text[64];
	size_t text_bytes;
	uint32_t ids[16];
	size_t id_count;
};

#define TRY(call)                                                                                                              \
	do {                                                                                                                       \
		rwkvk_status try_status = (call);                                                                                      \
		if (try_status != RWKVK_OK)                                                                                            \
			return try_status;                                                                                                 \
	} while (0)

static bool on_text(void *user, const char *text, size_t bytes)
{
	struct visit *v = user;
	assert_true(v->text_bytes + bytes <= sizeof v->text);
	memcpy(v->text + v->text_bytes, text, bytes);
	v->text_bytes += bytes;
	return true;
}

/* A session from creation to destruction. */
static rwkvk_status use_session(struct visit *v)
{
	static const char *const stops[] = { "ijX", "p" };
	static const rwkvk_bias biases[] = { { 3, -1 }, { 7, 0.5f } };
	const rwkvk_sampling sampling = { .temperature = 0.5f,
		                              .top_p = 0.5f,
		                              .presence = 0.1f,
		                              .frequency = 0.1f,
		                              .decay = 0.9f,
		                              .biases = biases,
		                              .bias_count = 2 };
	const rwkvk_generate_options options = { .sampling = &sampling,
		                                     .max_tokens = 20,
		                                     .stop_texts = stops,
		                                     .stop_text_count = 2,
		                                     .on_text = on_text,
		                                     .user = v,
		                                     .cancel = v->cancel };
	static const uint32_t prompt[] = { 1, 2, 3 };
	TRY(rwkvk_session_create(v->model, &v->session));
	TRY(feed_tokens(v->session, prompt, 3, v->logits));
	TRY(rwkvk_session_clone(v->session, &v->clone));
	TRY(rwkvk_session_generate(v->session, &options, NULL));
	TRY(rwkvk_session_sample(v->clone, &sampling, v->ids));
	size_t bytes = rwkvk_session_state_size(v->clone);
	assert_true(bytes <= sizeof v->state);
	TRY(rwkvk_session_state_get(v->clone, v->state, bytes));
	TRY(rwkvk_session_state_set(v->session, v->state, bytes));
	TRY(rwkvk_session_save(v->clone, state_path));
	TRY(rwkvk_session_load(v->session, state_path));
	return rwkvk_session_reset(v->session);
}

static rwkvk_status use_model(struct visit *v)
{
	const rwkvk_model_options options = { .path = model_path, .vocab = vocab_path, .threads = 1, .max_sessions = 2 };
	rwkvk_verify_row row = { 0 };
	size_t rows;
	TRY(rwkvk_cancel_create(&v->cancel));
	TRY(rwkvk_model_open(&options, &v->model));
	TRY(use_session(v));
	rwkvk_session_destroy(v->clone);
	v->clone = NULL;
	TRY(rwkvk_tokenizer_encode(rwkvk_model_tokenizer(v->model), "abcdef", 6, v->ids, 16, &v->id_count));
	return rwkvk_model_verify(v->model, &(rwkvk_verify_options){ .tokens = 1 }, &row, 1, &rows);
}

/* A conversation with a cache.  A state that cannot be kept is not a failure; failing to save the session at the end is. */
static rwkvk_status use_cache(struct visit *v)
{
	static const char first[] = "abcab", history[] = "abcabdefcd";
	const size_t ends[] = { 5, 10 };
	const rwkvk_cache_options options = { .memory = 1 << 20, .disk = 1 << 20, .dir = cache_path };
	const rwkvk_prompt_options start = { .start = 1 };
	uint32_t number;
	TRY(rwkvk_session_create(cached_model, &v->session));
	TRY(rwkvk_cache_create(cached_model, &options, &v->cache));
	TRY(rwkvk_cache_add_start(v->cache, state_path, &number));
	TRY(rwkvk_prompt_create(v->cache, first, 5, NULL, &v->prompt));
	TRY(rwkvk_prompt_read(v->prompt, v->session, NULL));
	TRY(feed_tokens(v->session, (const uint32_t[]){ 4, 5, 6 }, 3, NULL));
	TRY(rwkvk_prompt_answered(v->prompt, v->session, "def", 3, history, 10, ends, 2));
	TRY(rwkvk_prompt_finish(v->prompt, v->session, &(rwkvk_eval_options){ .logits = v->logits }));
	rwkvk_prompt_destroy(v->prompt);
	v->prompt = NULL;
	TRY(rwkvk_prompt_create(v->cache, first, 5, &start, &v->prompt));
	TRY(rwkvk_prompt_read(v->prompt, v->session, NULL));
	rwkvk_prompt_destroy(v->prompt);
	v->prompt = NULL;
	rwkvk_cache_destroy(v->cache); /* with its thread, whose allocations would else come at any time */
	v->cache = NULL;
	return rwkvk_session_save(v->session, out_path);
}

static rwkvk_status open_file(struct visit *v)
{
	return rwkvk_file_open(&(rwkvk_model_options){ .path = model_path, .vocab = vocab_path }, &v->file);
}

/* Adapters of every kind that can be merged. */
static rwkvk_status open_adapted(struct visit *v)
{
	static const rwkvk_lora lora[] = { { .size = sizeof *lora, .path = TEST_DATA_DIR "/lora/peft" },
		                               { .size = sizeof *lora, .path = TEST_DATA_DIR "/lora/rwkv_peft.safetensors" } };
	const rwkvk_model_options options = {
		.size = sizeof options, .path = TEST_DATA_DIR "/lora/model.safetensors", .threads = 1, .lora = lora, .lora_count = 2
	};
	return rwkvk_file_open(&options, &v->adapted);
}

/* Calls that need no device. */
static rwkvk_status use_files(struct visit *v)
{
	rwkvk_model_info info = { 0 };
	rwkvk_tensor_info tensor = { 0 };
	rwkvk_state_info about = { 0 };
	TRY(rwkvk_tokenizer_open(TEST_DATA_DIR "/tiny_bpe.json", &v->tokenizer));
	TRY(rwkvk_tokenizer_encode(v->tokenizer, "e\xcc\x81t\xc3\xa9 the", 11, v->ids, 16, &v->id_count));
	TRY(open_file(v));
	TRY(open_adapted(v));
	TRY(rwkvk_file_get_info(v->file, &info));
	for (size_t i = 0; rwkvk_file_tensor(v->file, i, &tensor); i++)
		;
	TRY(rwkvk_state_inspect(state_path, RWKVK_STATE_ANY, NULL, &about));
	TRY(rwkvk_state_convert(state_path, RWKVK_STATE_ANY, trained_path, RWKVK_STATE_TRAINED, NULL));
	TRY(rwkvk_state_convert(trained_path, RWKVK_STATE_ANY, converted_path, RWKVK_STATE_NATIVE, v->file));
	return rwkvk_file_export(v->file, out_path, &(rwkvk_export_options){ .type = RWKVK_EXPORT_Q8_0, .threads = 1 });
}

static void leave(struct visit *v)
{
	rwkvk_prompt_destroy(v->prompt);
	rwkvk_cache_destroy(v->cache);
	rwkvk_session_destroy(v->clone);
	rwkvk_session_destroy(v->session);
	rwkvk_model_close(v->model);
	rwkvk_file_close(v->file);
	rwkvk_file_close(v->adapted);
	rwkvk_tokenizer_close(v->tokenizer);
	rwkvk_cancel_destroy(v->cancel);
}

/* ------------------------------------------------------------------------------------------------------ the tests */

typedef rwkvk_status way(struct visit *visit);

/* false: nothing failed, because there are fewer allocations. */
static bool visit_failing(way *go, struct visit *v, unsigned long at, bool after)
{
	unsigned long before = atomic_load(&alive);
	memset(v, 0, sizeof *v);
	atomic_store(&asked, 0);
	all_after = after;
	fail_at = at;
	rwkvk_status status = go(v);
	unsigned long made = atomic_load(&asked);
	fail_at = 0;
	if (status != RWKVK_OK && (status != RWKVK_ERROR_MEMORY || !rwkvk_last_error()[0]))
		fail_msg("allocation %lu%s: status \"%s\", last error: %s", at, after ? " and all after it" : "",
		         rwkvk_status_name(status), rwkvk_last_error());
	if (status == RWKVK_OK && after && made >= at)
		fail_msg("allocation %lu and all after it failed, and no call did", at);
	leave(v);
	if (atomic_load(&alive) != before)
		fail_msg("allocation %lu%s: %ld blocks were not freed", at, after ? " and all after it" : "",
		         (long)(atomic_load(&alive) - before));
	return made >= at;
}

/* Every n-th from `first` on, in the two ways alternately. */
static void fail_each(way *go, unsigned long first, unsigned long step)
{
	static struct visit whole, v;
	unsigned long n = first, tried = 0;
	visit_failing(go, &whole, 0, false);
	assert_string_equal(whole.text, go == use_model ? "defghijklmno" : "");
	assert_int_equal(whole.id_count, go == use_model ? 3 : 5);
	for (; visit_failing(go, &v, n, tried % 2); n += step)
		tried++;
	print_message("    %lu of %lu allocations\n", tried, n - 1);
	assert_true(tried > 100 / step);
	visit_failing(go, &v, 0, false); /* after all that */
	assert_int_equal(v.text_bytes, whole.text_bytes);
	assert_memory_equal(v.text, whole.text, sizeof v.text);
	assert_memory_equal(v.logits, whole.logits, sizeof v.logits);
	assert_memory_equal(v.state, whole.state, sizeof v.state);
	assert_memory_equal(v.ids, whole.ids, sizeof v.ids);
}

static void models(void **state)
{
	(void)state;
	static struct visit v;
	visit_failing(open_file, &v, 0, false);
	fail_each(use_model, atomic_load(&asked), test_every()); /* the other test covers what opening the file allocates */
}

static void files(void **state)
{
	(void)state;
	for (unsigned long first = 1; first <= 2; first++) /* each both ways */
		fail_each(use_files, first, 1);
}

static void caches(void **state)
{
	(void)state;
	static struct visit whole, v;
	const rwkvk_model_options options = { .path = model_path, .vocab = vocab_path, .threads = 1, .max_sessions = 1 };
	unsigned long n = 1;
	assert_ok(rwkvk_model_open(&options, &cached_model));
	visit_failing(use_cache, &whole, 0, false);
	for (int after = 0; after < 2; after++)
		for (n = 1; visit_failing(use_cache, &v, n, after); n++)
			;
	print_message("    %lu allocations, as it is known from disk\n", n - 1);
	assert_true(n > 30);
	visit_failing(use_cache, &v, 0, false);
	assert_memory_equal(v.logits, whole.logits, sizeof v.logits);
	rwkvk_model_close(cached_model);
}

/* Tokens 1 "a", 2 "b" and so on to "z", followed by pairs. */
static int make_test_files(void **state)
{
	(void)state;
	static char paths[7][512];
	const char **const names[] = {
		&model_path, &vocab_path, &state_path, &out_path, &converted_path, &trained_path, &cache_path
	};
	static const char *const files_named[] = { "chain.safetensors", "vocab.txt",           "kept.state", "out.gguf",
		                                       "converted.state",   "trained.safetensors", "cache" };
	uint32_t next[300];
	char text[4096] = "";
	for (int i = 0; i < 7; i++) {
		snprintf(paths[i], sizeof paths[i], "%s", test_temp(files_named[i]));
		*names[i] = paths[i];
	}
	for (uint32_t i = 0; i < 300; i++)
		next[i] = (i + 1) % 300;
	make_chain(model_path, next, 300);
	for (int i = 0; i < 26; i++)
		sprintf(text + strlen(text), "%d '%c' 1\n", i + 1, 'a' + i);
	for (int i = 0; i < 26; i++)
		sprintf(text + strlen(text), "%d '%c%c' 2\n", i + 27, 'a' + i, 'a' + (i + 1) % 26);
	test_write_file(vocab_path, text, strlen(text));
	return 0;
}

int main(void)
{
	size_t count_of;
	if (rwkvk_devices(NULL, 0, &count_of) != RWKVK_OK) {
		print_message("SKIPPED test_no_memory: %s\n", rwkvk_last_error());
		return 77;
	}
	const struct CMUnitTest tests[] = { cmocka_unit_test(models), cmocka_unit_test(files), cmocka_unit_test(caches) };
	return cmocka_run_group_tests(tests, make_test_files, NULL);
}
