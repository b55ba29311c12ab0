/* The same model in the names, shapes and numbers of every family of files: each gives the official tensors, bit for bit. */
#include "make_files.h"

#include <math.h>
#include <stdio.h>

#include "format/readers.h"
#include "support.h"

/* All sizes differ, except that the rank equals the head size in some cases. */
static const struct list_sizes sizes = { .vocab = 7, .width = 12, .head_size = 4, .ffn = 20, .layers = 2, .rank = 5 };

static const char *const versions[] = { "4", "5.0", "5.1", "5.2", "6", "7" };
enum { VERSIONS = sizeof versions / sizeof *versions };

/* ---------------------------------------------------------------------------------------------------- comparison */

/* The tensor's values, in official orientation. */
static float *values_of(const struct tensor *t, uint64_t *count)
{
	*count = 1;
	for (uint32_t d = 0; d < t->rank; d++)
		*count *= t->shape[d];
	float *stored = malloc(*count * sizeof *stored), *values = malloc(*count * sizeof *values);
	assert_true(stored && values);
	dtype_to_float(t->type, t->data, 0, *count, stored);
	memcpy(values, stored, *count * sizeof *values);
	if (t->swapped) {
		assert_true(t->rank >= 2);
		uint64_t rows = t->shape[t->rank - 2], columns = t->shape[t->rank - 1];
		for (uint64_t i = 0; i < *count; i++)
			values[i / (rows * columns) * (rows * columns) + i % columns * rows + i / columns % rows] = stored[i];
	}
	free(stored);
	return values;
}

/* Unit dimensions aside, and heads may be flat: [H,N] is [C]. */
static bool same_shape(const struct tensor *t, const struct list_item *want, uint64_t width)
{
	uint64_t shape[4], found[4];
	uint32_t rank = 0;
	for (uint32_t d = 0; d < want->rank; d++)
		if (want->shape[d] != 1)
			shape[rank++] = want->shape[d];
	if (t->rank == 1 && t->shape[0] == want->count && want->count == width)
		return true;
	if (rank != t->rank)
		return false;
	memcpy(found, t->shape, sizeof found);
	if (t->swapped) {
		found[rank - 1] = t->shape[rank - 2];
		found[rank - 2] = t->shape[rank - 1];
	}
	return memcmp(found, shape, rank * sizeof *shape) == 0;
}

static void check_tensor(const char *what, const struct weights *weights, const struct list_item *want, uint64_t width)
{
	const struct tensor *t = weights_find(weights, want->name);
	if (!t) {
		fail_msg("%s: no tensor %s", what, want->name);
		return;
	}
	if (!same_shape(t, want, width))
		fail_msg("%s: %s (%s) has the shape %s%s", what, want->name, t->file_name, show_shape(t->rank, t->shape).text,
		         t->swapped ? ", swapped" : "");
	uint64_t count;
	float *values = values_of(t, &count);
	assert_int_equal(count, want->count);
	if (memcmp(values, want->values, count * sizeof *values) != 0)
		fail_msg("%s: %s (%s) has other numbers", what, want->name, t->file_name);
	free(values);
}

/* All of `want`, and nothing else. */
static void check_all(const char *what, const struct weights *weights, const struct list *want, uint64_t width)
{
	for (size_t i = 0; i < want->count; i++)
		check_tensor(what, weights, &want->items[i], width);
	if (weights->count != want->count)
		fail_msg("%s: %zu tensors, not %zu", what, weights->count, want->count);
}

static void check_bytes(const char *what, struct file_bytes file, const struct list *want, uint64_t width)
{
	struct weights weights;
	if (weights_open(what, file.data, file.bytes, NULL, &weights) != RWKVK_OK)
		fail_msg("%s", rwkvk_last_error());
	check_all(what, &weights, want, width);
	weights_close(&weights);
	free(file.data);
}

/* ---------------------------------------------------------------------------------------------------- safetensors */

enum family { OFFICIAL, WEB, HUGGING_FACE, FLA, FLA_FUSED, FAMILIES };

static struct list *converted(enum family family, const char *version, const struct list_sizes *s)
{
	struct list *list = list_official(version, s);
	if (family == WEB)
		list_to_web(list, version, s);
	else if (family == HUGGING_FACE)
		list_to_hugging_face(list, version);
	else if (family >= FLA)
		list_to_fla(list, family == FLA_FUSED);
	return list;
}

/* In RWKV-5.1, a .st file has one number per channel where the official file has one per head. */
static void spread_heads(struct list *list, const struct list_sizes *s)
{
	for (size_t i = 0; i < list->count; i++) {
		struct list_item *item = &list->items[i];
		if (!strstr(item->name, "time_decay") && !strstr(item->name, "time_faaaa"))
			continue;
		float *values = malloc(s->width * sizeof *values);
		for (uint64_t c = 0; c < s->width; c++)
			values[c] = item->values[c / s->head_size];
		free(item->values);
		item->values = values;
		item->rank = 2;
		item->shape[1] = s->head_size;
		item->count = s->width;
	}
}

static void check_safetensors(enum family family, const char *version, const struct list_sizes *s)
{
	char what[64];
	struct list *list = converted(family, version, s), *want = list_official(version, s);
	if (family == WEB && strcmp(version, "5.1") == 0)
		spread_heads(want, s);
	for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
		snprintf(what, sizeof what, "RWKV-%s, family %d, %s", version, (int)family, dtype_info[type].name);
		check_bytes(what, write_safetensors(list, type), want, s->width);
	}
	list_free(list);
	list_free(want);
}

static void test_safetensors(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++) {
		check_safetensors(OFFICIAL, versions[i], &sizes);
		check_safetensors(WEB, versions[i], &sizes);
		if (*versions[i] != '7')
			check_safetensors(HUGGING_FACE, versions[i], &sizes);
	}
	check_safetensors(FLA, "6", &sizes);
	check_safetensors(FLA, "7", &sizes);
	check_safetensors(FLA_FUSED, "7", &sizes);
}

/* Factors as wide as the model: they are square, so that only names or other tensors show their orientation. */
static void test_square_factors(void **state)
{
	(void)state;
	struct list_sizes square = sizes;
	square.rank = square.width;
	check_safetensors(OFFICIAL, "6", &square);
	check_safetensors(WEB, "6", &square);
	check_safetensors(HUGGING_FACE, "6", &square);
	check_safetensors(FLA, "6", &square);
	square.rank--; /* the mixes' are larger by one */
	check_safetensors(FLA, "6", &square);
	square.rank++;
	check_safetensors(OFFICIAL, "7", &square);
	check_safetensors(FLA, "7", &square);

	/* in an RWKV-7 .st file, one factor that is not square is enough */
	struct list *want = list_official("7", &square), *list = list_official("7", &square);
	for (int i = 0; i < 2; i++) {
		struct list_item *item = list_find(i ? want : list, "blocks.1.att.v2");
		item->shape[0] = 3;
		item->count = 3 * square.width;
	}
	list_to_web(list, "7", &square);
	check_bytes("one factor", write_safetensors(list, DTYPE_F16), want, square.width);
	list_free(want);
	list_free(list);
}

static void test_prefixes(void **state)
{
	(void)state;
	static const char *const prefixes[] = { "rwkv7.", "model.", "module.", "module.model.", "rwkv." };
	for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++)
		for (enum family family = OFFICIAL; family <= FLA; family++) {
			const char *version = family == HUGGING_FACE ? "5.2" : family == WEB ? "6" : "7";
			struct list *list = converted(family, version, &sizes), *want = list_official(version, &sizes);
			for (size_t i = 0; i < list->count; i++) {
				char name[96];
				strcpy(name, list->items[i].name);
				snprintf(list->items[i].name, sizeof list->items[i].name, "%s%.70s", prefixes[p], name);
			}
			check_bytes(prefixes[p], write_safetensors(list, DTYPE_BF16), want, sizes.width);
			list_free(list);
			list_free(want);
		}
}

/* Tensors that not every model has. */
static void test_extras(void **state)
{
	(void)state;
	static const struct {
		enum family family;
		const char *version, *file_name, *name;
		bool swapped;
	} cases[] = {
		{ OFFICIAL, "7", "head.bias", "head.bias", false },
		{ OFFICIAL, "7", "blocks.1.att.output.bias", "blocks.1.att.output.bias", false },
		{ OFFICIAL, "7", "blocks.1.att.time_state", "blocks.1.att.time_state", false },
		{ OFFICIAL, "4", "blocks.0.ffnPre.key.weight", "blocks.0.ffnPre.key.weight", false },
		{ WEB, "4", "blocks.0.ffnpre.key.weight", "blocks.0.ffnPre.key.weight", false },
		{ OFFICIAL, "5.2", "blocks.1.att.time_state", "blocks.1.att.time_state", false },
		{ WEB, "5.2", "blocks.1.att.time_state", "blocks.1.att.time_state", true },
		{ WEB, "6", "blocks.1.att.time_state", "blocks.1.att.time_state", true },
		{ WEB, "7", "blocks.1.att.time_state", "blocks.1.att.time_state", true },
		{ FLA, "7", "lm_head.bias", "head.bias", false },
		{ FLA, "7", "model.layers.1.attn.o_proj.bias", "blocks.1.att.output.bias", false },
		{ FLA, "7", "model.layers.1.something.weight", "model.layers.1.something.weight", false },
		{ HUGGING_FACE, "5.2", "rwkv.blocks.1.attention.output.bias", "blocks.1.att.output.bias", false },
		{ HUGGING_FACE, "5.2", "rwkv.other.weight", "rwkv.other.weight", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct list *list = converted(cases[i].family, cases[i].version, &sizes);
		struct list_item *item = &list->items[list->count++];
		*item = (struct list_item){ .rank = 3, .shape = { 3, 4, 4 }, .count = 48, .values = calloc(48, sizeof(float)) };
		strcpy(item->name, cases[i].file_name);
		struct file_bytes file = write_safetensors(list, DTYPE_F16);
		struct weights w;
		assert_ok(weights_open("extras", file.data, file.bytes, NULL, &w));
		const struct tensor *t = weights_find(&w, cases[i].name);
		if (!t || strcmp(t->file_name, cases[i].file_name) != 0 || t->swapped != cases[i].swapped)
			fail_msg("case %zu: %s is %s", i, cases[i].file_name, t ? t->swapped ? "swapped" : "not swapped" : "missing");
		weights_close(&w);
		free(file.data);
		list_free(list);
	}
}

/* Mixes of fla's RWKV-6 that cannot be divided by five. */
static void test_wrong_parts(void **state)
{
	(void)state;
	static const char *const names[] = { "model.layers.1.attn.x_proj.0.linear.weight", "model.layers.0.attn.x_proj.2.weight" };
	static const char *const texts[] = {
		"x.safetensors: expected tensor model.layers.1.attn.x_proj.0.linear.weight to be a matrix "
		"of 5 parts under each other, found [29, 12]",
		"x.safetensors: expected tensor model.layers.0.attn.x_proj.2.weight to be a matrix of 5 "
		"parts beside each other, found [12, 29]"
	};
	for (int i = 0; i < 2; i++) {
		struct list *list = converted(FLA, "6", &sizes);
		struct list_item *item = list_find(list, names[i]);
		assert_non_null(item);
		item->shape[i]--;
		item->count = item->shape[0] * item->shape[1];
		struct file_bytes file = write_safetensors(list, DTYPE_F16);
		struct weights w;
		assert_fails(weights_open("x.safetensors", file.data, file.bytes, NULL, &w), RWKVK_ERROR_FILE, texts[i]);
		free(file.data);
		list_free(list);
	}
}

static void test_wrong_rows(void **state)
{
	(void)state;
	struct list *list = converted(FLA_FUSED, "7", &sizes);
	struct list_item *item = list_find(list, "model.layers.1.attn.x_x");
	assert_non_null(item);
	item->shape[0] = 5;
	item->count -= item->count / 6;
	struct file_bytes file = write_safetensors(list, DTYPE_F16);
	struct weights w;
	assert_fails(weights_open("x.safetensors", file.data, file.bytes, NULL, &w), RWKVK_ERROR_FILE,
	             "x.safetensors: expected tensor model.layers.1.attn.x_x to have 6 rows, found the shape [5, 12]");
	free(file.data);
	list_free(list);
}

/* ---------------------------------------------------------------------------------------------------- rwkv.cpp, GGUF */

/* Values that rwkv.cpp's converter has already computed. */
static void compute(struct list *list, const char *version)
{
	for (size_t i = 0; i < list->count; i++) {
		struct list_item *item = &list->items[i];
		char *decay = strstr(item->name, "time_decay"), *first = strstr(item->name, "time_first");
		for (uint64_t n = 0; n < item->count; n++)
			if (decay && *version == '4')
				item->values[n] = -expf(item->values[n]);
			else if (decay && *version == '5')
				item->values[n] = expf(-expf(item->values[n]));
			else if (first && *version == '5')
				item->values[n] = expf(item->values[n]);
		if (decay && *version <= '5')
			strcpy(decay, "decay");
		if (first && *version == '5')
			strcpy(first, "time_faaaa");
	}
}

static void test_rwkv_cpp(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		for (uint64_t rank = 5; rank <= sizes.width; rank += sizes.width - 5) {
			struct list_sizes s = sizes;
			char what[32];
			s.rank = rank;
			struct list *list = list_official(versions[i], &s), *want = list_official(versions[i], &s);
			list_to_rwkv_cpp(list, versions[i], &s);
			compute(want, versions[i]);
			snprintf(what, sizeof what, "RWKV-%s, rwkv.cpp", versions[i]);
			check_bytes(what, write_rwkv_cpp(list, 101, &s, DTYPE_F32), want, s.width);
			check_bytes(what, write_rwkv_cpp(list, 100, &s, DTYPE_F16), want, s.width);
			list_free(list);
			list_free(want);
		}
}

static void test_gguf(void **state)
{
	(void)state;
	for (size_t i = 0; i < VERSIONS; i++)
		for (int fused = 0; fused < 2; fused++) {
			char architecture[16], what[32];
			struct weights w;
			struct list *list = list_official(versions[i], &sizes), *want = list_official(versions[i], &sizes);
			const char *path = test_temp("dialect.gguf");
			if (strcmp(versions[i], "5.0") == 0) { /* its time_first is a logarithm; GGUF has u */
				for (size_t n = 0; n < want->count; n++)
					for (int both = 0; both < 2; both++) {
						struct list_item *item = &(both ? want : list)->items[n];
						char *first = strstr(item->name, "time_first");
						for (uint64_t k = 0; first && k < item->count; k++)
							item->values[k] = expf(item->values[k]);
						if (first && both)
							strcpy(first, "time_faaaa");
					}
			}
			list_to_gguf(list, versions[i], fused);
			snprintf(architecture, sizeof architecture, "rwkv%c", *versions[i]);
			snprintf(what, sizeof what, "RWKV-%s, GGUF%s", versions[i], fused ? ", fused" : "");
			write_gguf(path, list, architecture, 4, 3);
			assert_ok(weights_open(path, NULL, 0, NULL, &w));
			check_all(what, &w, want, sizes.width);
			assert_string_equal(w.metadata.architecture, architecture);
			assert_int_equal(w.metadata.head_size, 4);
			assert_int_equal(w.metadata.rescale, *versions[i] == '7' ? 0 : 3);
			weights_close(&w);
			list_free(list);
			list_free(want);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_safetensors), cmocka_unit_test(test_square_factors), cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_extras),      cmocka_unit_test(test_wrong_rows),     cmocka_unit_test(test_wrong_parts),
		cmocka_unit_test(test_rwkv_cpp),    cmocka_unit_test(test_gguf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
