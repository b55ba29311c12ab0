/* The same weights in every format give the same bits: logits and state of a short text, of every version, against those of the
 * official tensors in a safetensors file.  No other expected numbers are needed: a tensor that is misnamed, transposed, fused
 * wrongly or computed differently makes the two differ. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "feed.h"
#include "make_files.h"
#include "engine/plan.h"
#include "rwkvk_tools.h"

enum { VOCAB = 50, WIDTH = 64, HEAD = 16, FFN = 448, LAYERS = 2, TOKENS = 10, MOST_STATE = LAYERS * WIDTH * (2 + HEAD) };
static const uint32_t text[TOKENS] = { 3, 14, 15, 9, 26, 5, 35, 8, 9, 49 };

/* What is written: a version, and what not every model of it has. */
struct subject {
	const char *version;
	struct list_sizes sizes;
};

static struct list_sizes plain(uint64_t rank)
{
	return (struct list_sizes){ .vocab = VOCAB, .width = WIDTH, .head_size = HEAD, .ffn = FFN, .layers = LAYERS, .rank = rank };
}

/* Matrices are small enough that sums stay near 1, so that no sigmoid or decay is 0 or 1 for all channels and hides what led
 * to it.  Still exact in F16. */
static struct list *official(const struct subject *s)
{
	struct list *list = list_official(s->version, &s->sizes);
	for (size_t i = 0; i < list->count; i++)
		for (uint64_t n = 0; list->items[i].count > 2 * WIDTH && n < list->items[i].count; n++)
			list->items[i].values[n] /= 8;
	return list;
}

/* ---------------------------------------------------------------------------------------------------- what a model gives */

struct outcome {
	float logits[VOCAB], start[MOST_STATE], state[MOST_STATE];
	uint64_t floats;
};

/* One device for all models: compiling the stages takes most of the time, and every format of a version uses the same ones. */
static struct gpu *gpu;

static rwkvk_status open_model(const rwkvk_model_options *options, rwkvk_model *m)
{
	*m = (rwkvk_model){ .gpu = gpu };
	TRY(file_init(options, &m->file));
	TRY(model_load(m, &(struct load_options){ .max_sessions = 1 }));
	const struct tuning tuning = tuning_for(gpu_caps(gpu), &m->file.network.config);
	return forward_plan(m, &tuning);
}

static void close_model(rwkvk_model *m)
{
	model_unload(m);
	file_finish(&m->file);
}

static void run(const char *what, const rwkvk_model_options *options, struct outcome *out)
{
	rwkvk_model model;
	rwkvk_session *session;
	if (open_model(options, &model) != RWKVK_OK) {
		fail_msg("%s: %s", what, rwkvk_last_error());
		return;
	}
	assert_true(mutex_init(&model.lock));
	assert_int_equal(model.file.network.config.vocab, VOCAB);
	out->floats = config_state_floats(&model.file.network.config);
	assert_true(out->floats <= MOST_STATE);
	assert_ok(rwkvk_session_create(&model, &session));
	assert_ok(rwkvk_session_floats_get(session, out->start, out->floats));
	assert_ok(feed_tokens(session, text, TOKENS, out->logits));
	assert_ok(rwkvk_session_floats_get(session, out->state, out->floats));
	rwkvk_session_destroy(session);
	close_model(&model);
	mutex_destroy(&model.lock);
}

/* The file's bytes are freed. */
static void run_bytes(const char *what, struct file_bytes file, rwkvk_model_options options, struct outcome *out)
{
	options.path = what;
	options.data = file.data;
	options.data_bytes = file.bytes;
	run(what, &options, out);
	free(file.data);
}

static void assert_bits(const char *what, const char *of, const float *got, const float *want, uint64_t n)
{
	if (memcmp(got, want, n * sizeof *got) == 0)
		return;
	test_assert_close(of, got, want, n, 0, what, 0); /* shows which */
	fail_msg("%s: the %s differ", what, of);
}

static void assert_same(const char *what, const struct outcome *got, const struct outcome *want)
{
	assert_int_equal(got->floats, want->floats);
	assert_bits(what, "start states", got->start, want->start, want->floats);
	assert_bits(what, "states", got->state, want->state, want->floats);
	assert_bits(what, "logits", got->logits, want->logits, VOCAB);
}

/* Equal bits mean little if all numbers are NaN or nothing changes. */
static void assert_alive(const struct outcome *o)
{
	float least = o->logits[0], most = o->logits[0];
	for (int i = 0; i < VOCAB; i++) {
		assert_true(isfinite(o->logits[i]));
		least = fminf(least, o->logits[i]);
		most = fmaxf(most, o->logits[i]);
	}
	assert_true(most - least > 0.1f);
	for (uint64_t i = 0; i < o->floats; i++)
		assert_true(isfinite(o->state[i]));
}

static bool differ(const struct outcome *a, const struct outcome *b)
{
	return memcmp(a->logits, b->logits, sizeof a->logits) != 0;
}

/* ---------------------------------------------------------------------------------------------------- one format */

enum format { OFFICIAL, WEB, HUGGING_FACE, FLA, FLA_FUSED, PTH, PTH_NESTED, SHARDS, BINS, RWKV_CPP, GGUF, GGUF_FUSED, FORMATS };
static const char *const format_names[FORMATS] = { "official",    "web-rwkv", "Hugging Face", "fla",
	                                               "fla fused",   ".pth",     "nested .pth",  "shards",
	                                               ".bin shards", "rwkv.cpp", "GGUF",         "GGUF fused" };

/* Formats that cannot hold a subject's tensors, or not so that they can be distinguished. */
static bool has(const struct subject *s, enum format format)
{
	bool seven = *s->version == '7';
	if (format == FLA || format == FLA_FUSED)
		return (seven || (*s->version == '6' && format == FLA)) && !s->sizes.states; /* fla does not have it */
	if (format == WEB && seven)
		return s->sizes.rank != WIDTH; /* all factors square: docs/formats.md */
	if (format == HUGGING_FACE || format == BINS)
		return !seven && !s->sizes.pre;
	if (format >= GGUF)
		return !s->sizes.pre && !s->sizes.states;
	return true;
}

/* safetensors files, or .bin. */
static void write_shards(const struct list *list, enum dtype type, bool bin, const char *index_path)
{
	static const char *const names[2][2] = { { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" },
		                                     { "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin" } };
	static char index[1 << 16];
	struct list *part = calloc(1, sizeof *part);
	assert_non_null(part);
	size_t half = list->count / 2, at = (size_t)snprintf(index, sizeof index, "{\"weight_map\": {");
	for (int second = 0; second < 2; second++) {
		const char *name = names[bin][second];
		part->count = second ? list->count - half : half;
		memcpy(part->items, list->items + (second ? half : 0), part->count * sizeof *part->items);
		for (size_t i = 0; i < part->count; i++)
			at += (size_t)snprintf(index + at, sizeof index - at, "%s\"%s\": \"%s\"", second || i ? ", " : "",
			                       part->items[i].name, name);
		struct file_bytes file = bin ? write_pth(part, type, NULL) : write_safetensors(part, type);
		test_write_file(test_temp(name), file.data, file.bytes);
		free(file.data);
	}
	at += (size_t)snprintf(index + at, sizeof index - at, "}}");
	test_write_file(index_path, index, at);
	free(part);
}

/* RWKV-5.0's bonus is a logarithm in official files and itself in GGUF. */
static void exponentiate_bonus(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		for (uint64_t n = 0; strstr(list->items[i].name, "att.time_first") && n < list->items[i].count; n++)
			list->items[i].values[n] = expf(list->items[i].values[n]);
}

static void run_gguf(const char *what, const struct subject *s, struct list *list, bool fused, uint32_t rescale,
                     struct outcome *out)
{
	char architecture[16];
	const char *path = test_temp("formats.gguf");
	if (strcmp(s->version, "5.0") == 0)
		exponentiate_bonus(list);
	list_to_gguf(list, s->version, fused);
	snprintf(architecture, sizeof architecture, "rwkv%c", *s->version);
	write_gguf(path, list, architecture, *s->version == '4' ? 0 : HEAD, rescale);
	run(what, &(rwkvk_model_options){ .path = path }, out);
}

/* The model in a format, all of it as `type`; GGUF: F32. */
static void run_format(const char *what, const struct subject *s, enum format format, enum dtype type, struct outcome *out)
{
	struct list *list = official(s);
	rwkvk_model_options options = { 0 };
	if (format == WEB)
		list_to_web(list, s->version, &s->sizes);
	if (format == HUGGING_FACE || format == BINS)
		list_to_hugging_face(list, s->version);
	if (format == FLA || format == FLA_FUSED) {
		list_to_fla(list, format == FLA_FUSED);
		options.group_norm_epsilon = 64e-5f; /* it implies another for heads of this size */
	}
	if (format == GGUF || format == GGUF_FUSED) {
		run_gguf(what, s, list, format == GGUF_FUSED, 0, out);
	} else if (format == SHARDS || format == BINS) {
		options.path = test_temp(format == BINS ? "pytorch_model.bin.index.json" : "model.safetensors.index.json");
		write_shards(list, type, format == BINS, options.path);
		run(what, &options, out);
	} else if (format == PTH || format == PTH_NESTED) {
		run_bytes(what, write_pth(list, type, format == PTH ? NULL : "state_dict"), options, out);
	} else if (format == RWKV_CPP) {
		/* As the converter, the reader of official files takes decays and bonuses through the C library's expf(), so even these
		 * have the same bits.  What differs is the epsilon that the format implies. */
		list_to_rwkv_cpp(list, s->version, &s->sizes);
		options.group_norm_epsilon = *s->version == '5' ? 64e-5f : 0;
		run_bytes(what, write_rwkv_cpp(list, 101, &s->sizes, type), options, out);
	} else {
		run_bytes(what, write_safetensors(list, type), options, out);
	}
	list_free(list);
}

static void check_formats(const struct subject *s, enum dtype type, enum format first, enum format last)
{
	char what[64];
	struct outcome want, got;
	run_format("official", s, OFFICIAL, type, &want);
	assert_alive(&want);
	for (enum format format = first; format <= last; format++) {
		if (!has(s, format))
			continue;
		snprintf(what, sizeof what, "RWKV-%s, %s, %s", s->version, dtype_info[type].name, format_names[format]);
		run_format(what, s, format, type, &got);
		assert_same(what, &got, &want);
	}
}

/* rwkv.cpp's F16 files have nothing but matrices in F16. */
static void check_mixed(const struct subject *s)
{
	struct outcome want, got;
	struct list *list = official(s);
	run_bytes("mixed", write_safetensors_mixed(list, DTYPE_F16), (rwkvk_model_options){ 0 }, &want);
	list_free(list);
	assert_alive(&want);
	run_format("rwkv.cpp, F16", s, RWKV_CPP, DTYPE_F16, &got);
	assert_same("rwkv.cpp, F16", &got, &want);
}

/* ---------------------------------------------------------------------------------------------------- tests */

static const char *const versions[] = { "4", "5.0", "5.1", "5.2", "6", "7" };
enum { VERSIONS = sizeof versions / sizeof *versions };

static void all_formats_agree(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		struct subject s = { versions[i], plain(20) };
		check_formats(&s, DTYPE_F32, WEB, GGUF_FUSED);
		check_mixed(&s);
	}
}

/* Factors that are square, so that names or other tensors tell how they lie; in F16; without ln0, and with biases. */
static void all_formats_agree_on_extras(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		struct subject s = { versions[i], plain(WIDTH) };
		s.sizes.biases = s.sizes.no_embedding_norm = true;
		check_formats(&s, DTYPE_F32, RWKV_CPP, GGUF);
		check_formats(&s, DTYPE_F16, WEB, PTH);
	}
}

/* Start states: those of web-rwkv are transposed. */
static void formats_agree_on_start_states(void **state)
{
	(void)state;
	for (size_t i = 3; i < VERSIONS; i++) {
		struct subject s = { versions[i], plain(20) };
		struct outcome with, without;
		run_format("without", &s, OFFICIAL, DTYPE_F16, &without);
		s.sizes.states = true;
		run_format("with", &s, OFFICIAL, DTYPE_F16, &with);
		assert_true(differ(&with, &without));
		check_formats(&s, DTYPE_F16, WEB, PTH);
	}
}

static void formats_agree_on_ffn_pre(void **state)
{
	(void)state;
	struct subject s = { "4", plain(20) };
	s.sizes.pre = true;
	check_formats(&s, DTYPE_F32, WEB, RWKV_CPP);
}

/* A residual stream so large that LayerNorm's epsilon is lost: then halving it changes nothing at all, be it an option or
 * stored in the file. */
static struct list *large(const struct subject *s)
{
	struct list *list = official(s);
	struct list_item *emb = list_find(list, "emb.weight");
	for (uint64_t i = 0; i < emb->count; i++)
		emb->values[i] *= 0x1p16f;
	return list;
}

static void divide_outputs(struct list *list, uint32_t rescale)
{
	for (size_t i = 0; i < list->count; i++) {
		struct list_item *item = &list->items[i];
		int layer;
		if (sscanf(item->name, "blocks.%d.", &layer) != 1 ||
		    (!strstr(item->name, "att.output.weight") && !strstr(item->name, "ffn.value.weight")))
			continue;
		for (uint64_t n = 0; n < item->count; n++)
			item->values[n] = ldexpf(item->values[n], -(layer / (int)rescale));
	}
}

static void rescaling_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		struct subject s = { versions[i], plain(20) };
		struct outcome want, got;
		s.sizes.no_embedding_norm = true;
		struct list *list = large(&s), *divided = large(&s);
		rwkvk_model_options options = { 0 };
		run_bytes("as it is", write_safetensors(list, DTYPE_F32), options, &want);
		assert_alive(&want);
		options.rescale = 1;
		run_bytes("rescaled", write_safetensors(list, DTYPE_F32), options, &got);
		assert_same("rescaled", &got, &want);
		divide_outputs(divided, 1);
		if (*versions[i] != '7') { /* GGUF has no key for it */
			run_gguf("stored rescaled", &s, divided, false, 1, &got);
			assert_same("stored rescaled", &got, &want);
		}
		list_free(list);
		list_free(divided);
	}
}

/* RWKV-5 with a decay for each channel and the logarithm of the bonus for each head. */
static void a_bonus_per_head(void **state)
{
	(void)state;
	struct subject s = { "5.2", plain(20) };
	struct outcome want, got;
	struct list *heads = official(&s), *channels = official(&s);
	for (int layer = 0; layer < LAYERS; layer++) {
		char name[64];
		snprintf(name, sizeof name, "blocks.%d.att.time_faaaa", layer);
		struct list_item *few = list_find(heads, name), *many = list_find(channels, name);
		for (uint64_t c = 0; c < WIDTH; c++)
			many->values[c] = expf(few->values[c / HEAD]);
		few->count = few->shape[0];
		few->rank = 1;
		strcpy(strstr(few->name, "time_faaaa"), "time_first");
	}
	rwkvk_model_options options = { 0 };
	run_bytes("a number a channel", write_safetensors(channels, DTYPE_F32), options, &want);
	run_bytes("a number a head", write_safetensors(heads, DTYPE_F32), options, &got);
	assert_same("a number a head", &got, &want);
	list_free(heads);
	list_free(channels);
}

static int open_device(void **state)
{
	(void)state;
	assert_ok(gpu_open(&(struct gpu_options){ 0 }, &gpu));
	return 0;
}

static int close_device(void **state)
{
	(void)state;
	gpu_close(gpu);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_formats_agree),
		cmocka_unit_test(all_formats_agree_on_extras),
		cmocka_unit_test(formats_agree_on_start_states),
		cmocka_unit_test(formats_agree_on_ffn_pre),
		cmocka_unit_test(rescaling_changes_nothing),
		cmocka_unit_test(a_bonus_per_head),
	};
	return cmocka_run_group_tests(tests, open_device, close_device);
}
