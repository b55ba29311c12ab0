/* Which models, vocabularies and options share states: every change that affects the state gets another fingerprint, also in a
 * folder that all of them share, and no other change does. */
#include "cache_world.h"

#include "format/readers.h"
#include "session/fingerprint.h"

static const char *base_path, *vocab_path, *folder;
static struct talk talk;

/* Reads the text with a cache on disk; returns whether it had a state. */
static bool finds(const rwkvk_model_options *options, rwkvk_begin begin, char fingerprint[33])
{
	rwkvk_model *model;
	rwkvk_session *session;
	assert_ok(rwkvk_model_open(options, &model));
	assert_ok(rwkvk_session_create(model, &session));
	rwkvk_cache *cache = make_cache(model, &(rwkvk_cache_options){ .disk = 1 << 24, .dir = folder, .begin = begin });
	rwkvk_prompt *prompt = make_prompt(cache, &talk);
	strcpy(fingerprint, rwkvk_cache_fingerprint(cache));
	assert_ok(rwkvk_prompt_read(prompt, session, NULL));
	bool found = info_of(prompt).cached > 0;
	assert_int_equal(stats_of(cache).damaged, 0);
	rwkvk_prompt_destroy(prompt);
	rwkvk_cache_destroy(cache);
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
	return found;
}

static rwkvk_model_options base(void)
{
	return (rwkvk_model_options){ .path = base_path, .vocab = vocab_path };
}

static char base_fingerprint[33];

static void assert_stranger(const char *what, const rwkvk_model_options *options, rwkvk_begin begin)
{
	char fingerprint[33];
	if (finds(options, begin, fingerprint) || strcmp(fingerprint, base_fingerprint) == 0)
		fail_msg("%s: is taken for the same", what);
}

static void assert_known(const char *what, const rwkvk_model_options *options, rwkvk_begin begin)
{
	char fingerprint[33];
	if (!finds(options, begin, fingerprint) || strcmp(fingerprint, base_fingerprint) != 0)
		fail_msg("%s: is taken for a stranger", what);
}

static int make_base(void **state)
{
	(void)state;
	base_path = test_temp("base.gguf");
	folder = test_temp("folder");
	vocab_path = make_cache_vocabulary("vocab.txt", 'x');
	make_model(base_path, &cache_spec);
	say(&talk, "User", "Is it the same?");
	const rwkvk_model_options options = base();
	assert_false(finds(&options, RWKVK_BEGIN_FILE, base_fingerprint));
	return 0;
}

static void options_that_change_results(void **state)
{
	(void)state;
	const struct {
		const char *what;
		rwkvk_model_options options;
	} others[] = {
		{ "quant", { .quant = RWKVK_QUANT_Q8 } }, { "epsilon", { .group_norm_epsilon = 1e-3f } },
		{ "rescale", { .rescale = 2 } },          { "exact", { .exact = 1 } },
		{ "max_batch", { .max_batch = 2 } },
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		rwkvk_model_options options = others[i].options;
		options.path = base_path;
		options.vocab = vocab_path;
		assert_stranger(others[i].what, &options, RWKVK_BEGIN_FILE);
	}
	rwkvk_model_options options = base();
	assert_stranger("begin token", &options, RWKVK_BEGIN_TOKEN);
}

static void options_that_do_not(void **state)
{
	(void)state;
	const struct {
		const char *what;
		rwkvk_model_options options;
	} others[] = {
		{ "nothing", { 0 } },
		{ "sessions and threads", { .max_sessions = 7, .threads = 1 } },
		{ "reading", { .read_file = true } },
		{ "chunks", { .chunk_rows = 16 } },
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		rwkvk_model_options options = others[i].options;
		options.path = base_path;
		options.vocab = vocab_path;
		assert_known(others[i].what, &options, RWKVK_BEGIN_FILE);
	}
	rwkvk_model_options options = base();
	assert_known("no begin token", &options, RWKVK_BEGIN_NOTHING);
	const char *caps = getenv("RWKVK_CAPS");
	char *before = caps ? strdup(caps) : NULL;
	setenv("RWKVK_CAPS", "no-subgroups", 1); /* another device */
	assert_known("device", &options, RWKVK_BEGIN_FILE);
	if (before)
		setenv("RWKVK_CAPS", before, 1);
	else
		unsetenv("RWKVK_CAPS");
	free(before);
	options.max_batch = 3;
	char fingerprint[33];
	assert_true(finds(&options, RWKVK_BEGIN_FILE, fingerprint)); /* as with 2 */
}

/* States of an older or newer library. */
static void other_formats(void **state)
{
	(void)state;
	rwkvk_model *model;
	const rwkvk_model_options options = base();
	assert_ok(rwkvk_model_open(&options, &model));
	struct hash128 a = fingerprint(model, 0, KEPT_FORMAT), b = fingerprint(model, 0, KEPT_FORMAT),
				   c = fingerprint(model, 0, KEPT_FORMAT + 1);
	assert_memory_equal(&a, &b, sizeof a);
	assert_memory_not_equal(&a, &c, sizeof a);
	rwkvk_model_close(model);
}

static void other_models(void **state)
{
	(void)state;
	const char *path = test_temp("other.gguf");
	for (int i = 0; i < 4; i++) {
		static const char *const what[] = { "layers", "ffn", "type", "rank" };
		struct model_spec spec = cache_spec;
		spec.layers += i == 0;
		spec.ffn += i == 1 ? 32 : 0;
		spec.type = i == 2 ? DTYPE_F32 : spec.type;
		spec.rank_gate += i == 3 ? 8 : 0;
		make_model(path, &spec);
		assert_stranger(what[i], &(rwkvk_model_options){ .path = path, .vocab = vocab_path }, RWKVK_BEGIN_FILE);
	}
	const struct model_spec sixth = { .version = 60,
		                              .layers = 3,
		                              .width = 64,
		                              .head_size = 32,
		                              .ffn = 256,
		                              .vocab = CACHE_VOCAB,
		                              .rank_decay = 16,
		                              .rank_mix = 8,
		                              .type = DTYPE_F16,
		                              .lora_type = DTYPE_F16,
		                              .seed = 70 };
	path = test_temp("other.safetensors");
	make_model(path, &sixth);
	assert_stranger("version", &(rwkvk_model_options){ .path = path, .vocab = vocab_path }, RWKVK_BEGIN_FILE);
}

/* The base's file with one bit of a tensor flipped. */
static void turn(const char *path, const char *tensor, uint64_t at)
{
	struct weights w;
	size_t bytes;
	assert_ok(weights_open(base_path, NULL, 0, NULL, &w));
	const struct tensor *t = weights_find(&w, tensor);
	assert_non_null(t);
	size_t offset = (size_t)((const uint8_t *)t->data - w.mapping.data);
	uint8_t *file = test_read_file(base_path, &bytes);
	file[offset + (at < t->bytes ? at : t->bytes - 1)] ^= 1;
	test_write_file(path, file, bytes);
	free(file);
	weights_close(&w);
}

/* Only the two ends of a tensor are hashed; what lies between is trusted. */
static void other_weights(void **state)
{
	(void)state;
	const char *path = test_temp("turned.gguf"), *long_one = "blocks.1.ffn.key.weight", *short_one = "blocks.2.ln1.weight";
	const rwkvk_model_options options = { .path = path, .vocab = vocab_path };
	turn(path, long_one, 0);
	assert_stranger("first byte", &options, RWKVK_BEGIN_FILE);
	turn(path, long_one, 4094);
	assert_stranger("byte 4094", &options, RWKVK_BEGIN_FILE);
	turn(path, long_one, UINT64_MAX);
	assert_stranger("last byte", &options, RWKVK_BEGIN_FILE);
	turn(path, short_one, 100);
	assert_stranger("byte of a small tensor", &options, RWKVK_BEGIN_FILE);
	turn(path, long_one, 10000);
	assert_known("byte in the middle", &options, RWKVK_BEGIN_FILE);
}

/* An adapter for a matrix of the last layer alone, [C] and [C] of rank 1, with `value` everywhere. */
static void write_adapter(const char *path, float value)
{
	const uint32_t width = cache_spec.width, bytes = width * (uint32_t)sizeof value;
	char head[512];
	int length = snprintf(head, sizeof head,
	                      "{\"blocks.1.att.key.lora_A\":{\"dtype\":\"F32\",\"shape\":[1,%u],\"data_offsets\":[0,%u]},"
	                      "\"blocks.1.att.key.lora_B\":{\"dtype\":\"F32\",\"shape\":[%u,1],\"data_offsets\":[%u,%u]}}",
	                      width, bytes, width, bytes, 2 * bytes);
	uint64_t head_bytes = (uint64_t)length;
	uint8_t *file = calloc(8 + head_bytes + 2 * bytes, 1);
	assert_non_null(file);
	memcpy(file, &head_bytes, sizeof head_bytes);
	memcpy(file + 8, head, head_bytes);
	for (uint32_t i = 0; i < 2 * width; i++)
		memcpy(file + 8 + head_bytes + i * sizeof value, &value, sizeof value);
	test_write_file(path, file, 8 + head_bytes + 2 * bytes);
	free(file);
}

/* With one, with another, and with the same at another scale. */
static void adapters(void **state)
{
	(void)state;
	rwkvk_lora lora = { .size = sizeof lora, .path = test_temp("lora.safetensors"), .scale = 0.5f };
	rwkvk_model_options options = base();
	char first[33], again[33], other[33];
	options.size = sizeof options;
	options.lora = &lora;
	options.lora_count = 1;
	write_adapter(lora.path, 0.25f);
	assert_stranger("adapter", &options, RWKVK_BEGIN_FILE);
	assert_true(finds(&options, RWKVK_BEGIN_FILE, first)); /* itself */
	lora.scale = 0.25f;
	assert_false(finds(&options, RWKVK_BEGIN_FILE, other));
	write_adapter(lora.path, 0.125f);
	lora.scale = 0.5f;
	assert_false(finds(&options, RWKVK_BEGIN_FILE, again));
	assert_string_not_equal(first, other);
	assert_string_not_equal(first, again);
	assert_string_not_equal(other, again);
}

static void other_names(void **state)
{
	(void)state;
	static const char swap[] = "blk.1.time_mix_key.weight blocks.1.att.value.weight\n"
							   "blk.1.time_mix_value.weight blocks.1.att.key.weight\n";
	const char *names = test_temp("swapped.names");
	test_write_file(names, swap, sizeof swap - 1);
	rwkvk_model_options options = base();
	options.names = names;
	assert_stranger("names", &options, RWKVK_BEGIN_FILE);
}

static void other_vocabularies(void **state)
{
	(void)state;
	rwkvk_model_options options = base();
	options.vocab = make_cache_vocabulary("other.txt", 'y');
	assert_stranger("vocabulary", &options, RWKVK_BEGIN_FILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_that_change_results),
		cmocka_unit_test(options_that_do_not),
		cmocka_unit_test(other_formats),
		cmocka_unit_test(other_models),
		cmocka_unit_test(other_weights),
		cmocka_unit_test(adapters),
		cmocka_unit_test(other_names),
		cmocka_unit_test(other_vocabularies),
	};
	return cmocka_run_group_tests_name("fingerprint", tests, make_base, NULL);
}
