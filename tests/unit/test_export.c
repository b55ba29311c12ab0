/* The contents of an exported file: every version, from every family of files, written and read back; mixtures of types;
 * keys. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "format/output.h"
#include "make_files.h"
#include "make_model.h"
#include "network/outline.h"
#include "support.h"

/* All sizes differ, except that the rank equals the head size in some cases. */
static const struct list_sizes sizes = { .vocab = 7, .width = 12, .head_size = 4, .ffn = 20, .layers = 3, .rank = 5 };

static const char *const versions[] = { "4", "5.0", "5.1", "5.2", "6", "7" };
enum { VERSIONS = sizeof versions / sizeof *versions };

enum family { OFFICIAL, WEB, HUGGING_FACE, FLA, FLA_FUSED, RWKV_CPP, GGUF, GGUF_FUSED, FAMILIES };

/* ---------------------------------------------------------------------------------------------------- sources */

struct source {
	struct file_bytes bytes; /* none: a file at `path` */
	const char *path;
	rwkvk_file *file;
};

static void exp_of_bonus(struct list *list)
{
	for (size_t n = 0; n < list->count; n++)
		for (uint64_t k = 0; strstr(list->items[n].name, "time_first") && k < list->items[n].count; k++)
			list->items[n].values[k] = expf(list->items[n].values[k]);
}

static void finish_source(struct source *source)
{
	rwkvk_file_close(source->file);
	free(source->bytes.data);
}

static void open_source(struct source *source)
{
	const rwkvk_model_options options = { .path = source->path, .data = source->bytes.data, .data_bytes = source->bytes.bytes };
	assert_ok(rwkvk_file_open(&options, &source->file));
}

/* false: this family does not have this version. */
static bool make_source(enum family family, const char *version, const struct list_sizes *s, enum dtype type,
                        struct source *out)
{
	if ((family == HUGGING_FACE && *version == '7') || (family == FLA && *version != '6') ||
	    (family == FLA_FUSED && *version != '7'))
		return false;
	struct list *list = list_official(version, s);
	char architecture[16];
	*out = (struct source){ .path = "source" };
	if (family == WEB)
		list_to_web(list, version, s);
	else if (family == HUGGING_FACE)
		list_to_hugging_face(list, version);
	else if (family == FLA || family == FLA_FUSED)
		list_to_fla(list, family == FLA_FUSED);
	else if (family == RWKV_CPP)
		list_to_rwkv_cpp(list, version, s);
	if (family >= GGUF) {
		if (strcmp(version, "5.0") == 0) /* its time_first is a logarithm; GGUF has u */
			exp_of_bonus(list);
		list_to_gguf(list, version, family == GGUF_FUSED);
		snprintf(architecture, sizeof architecture, "rwkv%c", *version);
		static char path[512]; /* hundreds of them would reuse the names of others */
		if (!*path)
			snprintf(path, sizeof path, "%s", test_temp("source.gguf"));
		out->path = path;
		write_gguf(out->path, list, architecture, (uint32_t)s->head_size, 0);
	} else {
		out->bytes = family == RWKV_CPP ? write_rwkv_cpp(list, 101, s, type) : write_safetensors(list, type);
	}
	list_free(list);
	open_source(out);
	return true;
}

static rwkvk_file *reopen(const char *path)
{
	rwkvk_file *file = NULL;
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file));
	return file;
}

/* ---------------------------------------------------------------------------------------------------- comparison */

static uint64_t elements(const struct tensor *t)
{
	uint64_t count = 1;
	for (uint32_t d = 0; d < t->rank; d++)
		count *= t->shape[d];
	return count;
}

static float *floats_of(const struct tensor *t)
{
	float *values = malloc(elements(t) * sizeof *values);
	assert_non_null(values);
	dtype_to_float(t->type, t->data, 0, elements(t), values);
	return values;
}

/* The same numbers in the same order; NULL is the same as NULL. */
static void same_tensor(const char *what, const struct tensor *a, const struct tensor *b)
{
	if (!a != !b)
		fail_msg("%s: %s is in one model only", what, a ? a->name : b->name);
	if (!a)
		return;
	if (elements(a) != elements(b))
		fail_msg("%s: %s has another size", what, a->name);
	float *x = floats_of(a), *y = floats_of(b);
	if (memcmp(x, y, elements(a) * sizeof *x) != 0)
		fail_msg("%s: %s has other numbers", what, a->name);
	free(x);
	free(y);
}

static void same_lora(const char *what, const struct tensor *a, const struct tensor *b, uint32_t parts, uint32_t rows,
                      uint32_t columns, bool inner)
{
	float x[256], y[256];
	if (!a != !b)
		fail_msg("%s: %s is in one model only", what, a ? a->name : b->name);
	for (uint32_t part = 0; a && part < parts; part++) {
		struct matrix_source from = lora_source(a, part, parts, rows, columns, inner);
		struct matrix_source to = lora_source(b, part, parts, rows, columns, inner);
		for (uint32_t row = 0; row < rows; row++) {
			source_row(&from, row, columns, x);
			source_row(&to, row, columns, y);
			if (memcmp(x, y, columns * sizeof *x) != 0)
				fail_msg("%s: %s has other numbers in row %u of part %u", what, a->name, row, part);
		}
	}
}

static void same_loras(const char *what, const struct config *c, const struct layer *a, const struct layer *b)
{
	const uint32_t C = c->width;
	same_lora(what, a->w1, b->w1, 1, c->rank_decay, C, true);
	same_lora(what, a->a1, b->a1, 1, c->rank_iclr, C, true);
	same_lora(what, a->g1, b->g1, 1, c->rank_gate, C, true);
	same_lora(what, a->v1, b->v1, 1, c->rank_value, C, true);
	same_lora(what, a->w2, b->w2, 1, C, c->rank_decay, false);
	same_lora(what, a->a2, b->a2, 1, C, c->rank_iclr, false);
	same_lora(what, a->g2, b->g2, 1, C, c->rank_gate, false);
	same_lora(what, a->v2, b->v2, 1, C, c->rank_value, false);
	same_lora(what, a->mix_w1, b->mix_w1, 5, c->rank_mix, C, true);
	same_lora(what, a->mix_w2, b->mix_w2, 5, C, c->rank_mix, false);
}

/* decay: its largest relative error; 0: the same bits, as of everything else. */
static void same_vectors(const char *what, const struct network *a, const struct network *b, uint32_t layer, double decay)
{
	float x[256], y[256];
	for (uint32_t vec = 0; vec < VEC_COUNT; vec++) {
		layer_vector(a, layer, vec, x);
		layer_vector(b, layer, vec, y);
		if (vec == VEC_DECAY && decay > 0)
			for (uint32_t i = 0; i < a->config.width; i++)
				assert_close(what, &y[i], &x[i], 1, decay);
		else if (memcmp(x, y, a->config.width * sizeof *x) != 0)
			fail_msg("%s: vector %u of layer %u has other numbers", what, vec, layer);
	}
}

static void same_matrices(const char *what, const struct layer *a, const struct layer *b)
{
	same_tensor(what, a->receptance, b->receptance);
	same_tensor(what, a->key, b->key);
	same_tensor(what, a->value, b->value);
	same_tensor(what, a->gate, b->gate);
	same_tensor(what, a->output, b->output);
	same_tensor(what, a->ffn_key, b->ffn_key);
	same_tensor(what, a->ffn_value, b->ffn_value);
	same_tensor(what, a->ffn_receptance, b->ffn_receptance);
	same_tensor(what, a->pre_key, b->pre_key);
	same_tensor(what, a->pre_value, b->pre_value);
	same_tensor(what, a->pre_receptance, b->pre_receptance);
}

static void same_network(const char *what, const rwkvk_file *left, const rwkvk_file *right, double decay)
{
	const struct network *a = &left->network, *b = &right->network;
	assert_memory_equal(&a->config, &b->config, sizeof a->config);
	same_tensor(what, a->emb, b->emb);
	same_tensor(what, a->head, b->head);
	same_tensor(what, a->head_b, b->head_b);
	same_tensor(what, a->ln0_w, b->ln0_w);
	same_tensor(what, a->ln0_b, b->ln0_b);
	same_tensor(what, a->ln_out_w, b->ln_out_w);
	same_tensor(what, a->ln_out_b, b->ln_out_b);
	for (uint32_t i = 0; i < a->config.layers; i++) {
		same_vectors(what, a, b, i, decay);
		same_matrices(what, &a->layers[i], &b->layers[i]);
		same_loras(what, &a->config, &a->layers[i], &b->layers[i]);
	}
}

static uint64_t exported(const rwkvk_file *file, const char *path, rwkvk_export_type type, uint32_t threads)
{
	size_t bytes;
	assert_ok(rwkvk_file_export(file, path, &(rwkvk_export_options){ .type = type, .threads = threads }));
	free(test_read_file(path, &bytes));
	return bytes;
}

/* ---------------------------------------------------------------------------------------------------- keeping all */

static void test_gguf_of_all(void **state)
{
	(void)state;
	const char *path = test_temp("out.gguf");
	char what[64];
	for (enum family family = 0; family < FAMILIES; family++)
		for (size_t v = 0; v < VERSIONS; v++)
			for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
				struct source source;
				if (type == DTYPE_BF16 && family == RWKV_CPP)
					continue;
				if (!make_source(family, versions[v], &sizes, type, &source))
					continue;
				snprintf(what, sizeof what, "RWKV-%s, family %d, %s", versions[v], (int)family, dtype_info[type].name);
				exported(source.file, path, RWKVK_EXPORT_KEEP, 1);
				rwkvk_file *back = reopen(path);
				same_network(what, source.file, back, 0);
				assert_int_equal(back->network.emb->type, source.file->network.emb->type);
				rwkvk_file_close(back);
				finish_source(&source);
			}
}

/* Factors as wide as the model. */
static void test_gguf_of_square_factors(void **state)
{
	(void)state;
	const char *path = test_temp("out.gguf");
	struct list_sizes square = sizes;
	square.rank = square.width;
	for (enum family family = 0; family < FAMILIES; family++)
		for (size_t v = 4; v < VERSIONS; v++) {
			struct source source;
			if ((family == WEB && v == 5) || !make_source(family, versions[v], &square, DTYPE_F16, &source))
				continue;
			exported(source.file, path, RWKVK_EXPORT_KEEP, 1);
			rwkvk_file *back = reopen(path);
			same_network(versions[v], source.file, back, 0);
			rwkvk_file_close(back);
			finish_source(&source);
		}
}

/* The header says exactly what an official file would say. */
static void check_header(const char *path, const struct list *list, const char *type, const char *but)
{
	size_t bytes;
	uint8_t *file = test_read_file(path, &bytes);
	for (size_t i = 0; i < list->count; i++) {
		const struct list_item *item = &list->items[i];
		char text[256];
		int n = snprintf(text, sizeof text, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", item->name, type);
		for (uint32_t d = 0; d < item->rank; d++)
			n += snprintf(text + n, sizeof text - (size_t)n, "%s%" PRIu64, d ? "," : "", item->shape[d]);
		snprintf(text + n, sizeof text - (size_t)n, "],");
		if (!(but && strstr(item->name, but)) && !strstr((char *)file + 8, text))
			fail_msg("%s lacks %s", path, text);
	}
	free(file);
}

static void test_safetensors_of_all(void **state)
{
	(void)state;
	const char *path = test_temp("out.safetensors");
	char what[64];
	for (enum family family = 0; family < FAMILIES; family++)
		for (size_t v = 0; v < VERSIONS; v++) {
			struct source source;
			enum dtype type = family >= GGUF || family == RWKV_CPP ? DTYPE_F32 : DTYPE_BF16;
			if (!make_source(family, versions[v], &sizes, type, &source))
				continue;
			snprintf(what, sizeof what, "RWKV-%s, family %d", versions[v], (int)family);
			exported(source.file, path, RWKVK_EXPORT_KEEP, 1);
			rwkvk_file *back = reopen(path);
			bool decays = family == RWKV_CPP && *versions[v] <= '5', spread = family == WEB && strcmp(versions[v], "5.1") == 0;
			same_network(what, source.file, back, decays ? 4e-7 : 0);
			struct list *list = list_official(versions[v], &sizes);
			bool other_bonus = strcmp(versions[v], "5.0") == 0 && family >= RWKV_CPP;
			check_header(path, list, dtype_info[type].name, spread ? "att.time_" : other_bonus ? "time_first" : NULL);
			list_free(list);
			rwkvk_file_close(back);
			finish_source(&source);
		}
}

/* From official tensors to GGUF and back: the same bytes of data. */
static void test_there_and_back(void **state)
{
	(void)state;
	const char *gguf = test_temp("there.gguf"), *path = test_temp("back.safetensors");
	for (size_t v = 0; v < VERSIONS; v++) {
		struct source source;
		make_source(OFFICIAL, versions[v], &sizes, DTYPE_F32, &source);
		exported(source.file, gguf, RWKVK_EXPORT_KEEP, 1);
		rwkvk_file *there = reopen(gguf);
		exported(there, path, RWKVK_EXPORT_KEEP, 1);
		rwkvk_file *back = reopen(path);
		for (size_t i = 0; i < source.file->weights.count; i++) {
			const struct tensor *a = &source.file->weights.tensors[i], *b = weights_find(&back->weights, a->name);
			if (strcmp(versions[v], "5.0") == 0 && strstr(a->name, "time_first"))
				continue; /* its exponential, under another name */
			assert_non_null(b);
			assert_int_equal(a->rank, b->rank);
			assert_memory_equal(a->shape, b->shape, a->rank * sizeof *a->shape);
			same_tensor(versions[v], a, b);
		}
		assert_int_equal(source.file->weights.count, back->weights.count);
		rwkvk_file_close(there);
		rwkvk_file_close(back);
		finish_source(&source);
	}
}

/* ---------------------------------------------------------------------------------------------------- decays */

/* Every decay that a float can hold is read back, the ends of the range exactly. */
static void test_decays(void **state)
{
	(void)state;
	static const struct {
		const char *version;
		float values[4];
	} cases[] = { { "4", { 0, -1e-4f, -1, -1e4f } }, { "5.2", { 0, 1, 1e-3f, 0.99999994f } } };
	for (size_t i = 0; i < 2; i++) {
		struct list *list = list_official(cases[i].version, &sizes);
		list_to_rwkv_cpp(list, cases[i].version, &sizes);
		struct list_item *item = list_find(list, "blocks.1.att.time_decay");
		memcpy(item->values, cases[i].values, sizeof cases[i].values);
		struct source source = { .bytes = write_rwkv_cpp(list, 101, &sizes, DTYPE_F32), .path = "source.bin" };
		open_source(&source);
		const char *path = test_temp("decay.safetensors");
		exported(source.file, path, RWKVK_EXPORT_KEEP, 1);
		rwkvk_file *back = reopen(path);
		float want[12], got[12];
		layer_vector(&source.file->network, 1, VEC_DECAY, want);
		layer_vector(&back->network, 1, VEC_DECAY, got);
		for (int n = 0; n < 4; n++) {
			assert_close(cases[i].version, &got[n], &want[n], 1, 7e-7);
			if (want[n] == 0 || want[n] == 1)
				assert_true(got[n] == want[n]);
		}
		rwkvk_file_close(back);
		finish_source(&source);

		item->values[2] = *cases[i].version == '4' ? 0.5f : 1.5f;
		source.bytes = write_rwkv_cpp(list, 101, &sizes, DTYPE_F32);
		open_source(&source);
		assert_fails(rwkvk_file_export(source.file, path, NULL), RWKVK_ERROR_FILE,
		             *cases[i].version == '4'
		                 ? "source.bin: tensor blocks.1.att.time_decay: expected decays of 0 or less, found 0.5, which no "
		                   "time_decay can produce"
		                 : "source.bin: tensor blocks.1.att.time_decay: expected decays from 0 to 1, found 1.5");
		finish_source(&source);
		list_free(list);
	}
}

/* RWKV-6 as llama.cpp's converter can store it: halved after every n layers. */
static void test_rescaled(void **state)
{
	(void)state;
	struct list *list = list_official("6", &sizes);
	list_to_gguf(list, "6", true);
	const char *in = test_temp("rescaled.gguf"), *out = test_temp("out.gguf"), *official = test_temp("out.safetensors");
	write_gguf(in, list, "rwkv6", 4, 1);
	list_free(list);
	rwkvk_file *file = reopen(in);
	exported(file, out, RWKVK_EXPORT_KEEP, 1);
	rwkvk_file *back = reopen(out);
	assert_int_equal(back->network.config.rescale, 1);
	assert_true(back->network.config.rescale_stored);
	same_network("rescaled", file, back, 0);
	rwkvk_file_close(back);

	exported(file, official, RWKVK_EXPORT_KEEP, 1);
	back = reopen(official);
	assert_int_equal(back->network.config.rescale, 0);
	for (uint32_t i = 0; i < sizes.layers; i++) {
		const struct layer *a = &file->network.layers[i], *b = &back->network.layers[i];
		float *x = floats_of(a->output), *y = floats_of(b->output), *p = floats_of(a->ffn_value), *q = floats_of(b->ffn_value);
		for (uint64_t n = 0; n < elements(a->output); n++)
			assert_true(x[n] * (float)(1 << i) == y[n]);
		for (uint64_t n = 0; n < elements(a->ffn_value); n++)
			assert_true(p[n] * (float)(1 << i) == q[n]);
		same_tensor("not rescaled", a->ffn_key, b->ffn_key);
		free(x);
		free(y);
		free(p);
		free(q);
	}
	rwkvk_file_close(back);
	rwkvk_file_close(file);
}

/* ---------------------------------------------------------------------------------------------------- mixtures */

/* By role: projection, the first layer's output, ffn.key, ffn.value, embedding and head. */
static const struct mixture {
	rwkvk_export_type type;
	enum dtype types[5];
} mixtures[] = {
	{ RWKVK_EXPORT_F32, { DTYPE_F32, DTYPE_F32, DTYPE_F32, DTYPE_F32, DTYPE_F32 } },
	{ RWKVK_EXPORT_F16, { DTYPE_F16, DTYPE_F16, DTYPE_F16, DTYPE_F16, DTYPE_F16 } },
	{ RWKVK_EXPORT_BF16, { DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16 } },
	{ RWKVK_EXPORT_Q8_0, { DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0 } },
	{ RWKVK_EXPORT_Q6_K, { DTYPE_Q6_K, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_Q6_K } },
	{ RWKVK_EXPORT_Q5_K_M, { DTYPE_Q5_K, DTYPE_Q8_0, DTYPE_Q6_K, DTYPE_Q5_K, DTYPE_Q6_K } },
	{ RWKVK_EXPORT_Q4_K_M, { DTYPE_Q4_K, DTYPE_Q8_0, DTYPE_Q5_K, DTYPE_Q4_K, DTYPE_Q6_K } },
	{ RWKVK_EXPORT_Q4_0, { DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_0, DTYPE_Q6_K } },
};

static void check_matrix(const struct tensor *from, const struct tensor *to, enum dtype type)
{
	uint64_t bytes;
	if (!from)
		return;
	assert_string_equal(dtype_info[to->type].name, dtype_info[type].name);
	assert_true(dtype_bytes(type, to->rank, to->shape, &bytes));
	float *values = floats_of(from);
	uint8_t *want = malloc(bytes);
	dtype_from_float(type, values, elements(from), want);
	if (memcmp(to->data, want, bytes) != 0)
		fail_msg("%s as %s is not what dtype_from_float() makes", from->name, dtype_info[type].name);
	free(values);
	free(want);
}

static void check_mixture(const struct network *a, const struct network *b, const enum dtype *types)
{
	check_matrix(a->emb, b->emb, types[4]);
	check_matrix(a->head, b->head, types[4]);
	for (uint32_t i = 0; i < a->config.layers; i++) {
		const struct layer *l = &a->layers[i], *m = &b->layers[i];
		check_matrix(l->receptance, m->receptance, types[0]);
		check_matrix(l->key, m->key, types[0]);
		check_matrix(l->value, m->value, types[0]);
		check_matrix(l->gate, m->gate, types[0]);
		check_matrix(l->output, m->output, types[i ? 0 : 1]);
		check_matrix(l->ffn_key, m->ffn_key, types[2]);
		check_matrix(l->ffn_value, m->ffn_value, types[3]);
		check_matrix(l->ffn_receptance, m->ffn_receptance, types[0]);
		check_matrix(l->pre_key, m->pre_key, types[2]);
		check_matrix(l->pre_value, m->pre_value, types[3]);
		check_matrix(l->pre_receptance, m->pre_receptance, types[0]);
	}
}

static const struct model_spec wide = {
	.version = 70,
	.layers = 2,
	.width = 256,
	.head_size = 64,
	.ffn = 512,
	.vocab = 264,
	.rank_decay = 32,
	.rank_iclr = 32,
	.rank_gate = 64,
	.rank_value = 32,
	.rank_mix = 32,
	.type = DTYPE_F32,
	.lora_type = DTYPE_F16,
	.seed = 3,
};

static void test_mixtures(void **state)
{
	(void)state;
	static const uint32_t numbers[] = { 40, 52, 60, 70 };
	const char *in = test_temp("wide"), *out = test_temp("mixture.gguf");
	for (size_t v = 0; v < 4; v++) {
		struct model_spec spec = wide;
		spec.version = numbers[v];
		spec.pre = spec.version == 40;
		make_model(in, &spec);
		rwkvk_file *file = reopen(in);
		for (size_t m = 0; m < sizeof mixtures / sizeof *mixtures; m++) {
			exported(file, out, mixtures[m].type, 2);
			rwkvk_file *back = reopen(out);
			check_mixture(&file->network, &back->network, mixtures[m].types);
			for (uint32_t i = 0; i < spec.layers; i++) {
				same_vectors("mixture", &file->network, &back->network, i, 0);
				if (mixtures[m].type != RWKVK_EXPORT_BF16) /* else they are rounded */
					same_loras("mixture", &file->network.config, &file->network.layers[i], &back->network.layers[i]);
			}
			rwkvk_file_close(back);
		}
		rwkvk_file_close(file);
	}
}

static char noted[8][512];
static size_t note_count;

static void take_note(void *user, rwkvk_log_level level, const char *text)
{
	(void)user;
	assert_int_equal(level, RWKVK_LOG_NOTE);
	if (note_count < 8)
		snprintf(noted[note_count++], sizeof noted[0], "%s", text);
}

static void export_noting(const rwkvk_file *file, const char *path, rwkvk_export_type type)
{
	note_count = 0;
	memset(noted, 0, sizeof noted);
	assert_ok(rwkvk_file_export(file, path, &(rwkvk_export_options){ .type = type, .log = take_note }));
}

static void assert_noted(const char *text)
{
	for (size_t i = 0; i < note_count; i++)
		if (strstr(noted[i], text))
			return;
	for (size_t i = 0; i < note_count; i++)
		print_error("noted: %s\n", noted[i]);
	fail_msg("not noted: %s", text);
}

/* Rows that are not a multiple of a block. */
static void test_substitutes(void **state)
{
	(void)state;
	struct model_spec spec = wide;
	const char *in = test_temp("narrow.gguf"), *out = test_temp("substitute.gguf");
	spec.width = 96;
	spec.head_size = 32;
	make_model(in, &spec);
	rwkvk_file *file = reopen(in);
	export_noting(file, out, RWKVK_EXPORT_Q4_K_M);
	rwkvk_file *back = reopen(out);
	assert_int_equal(back->network.layers[1].key->type, DTYPE_Q8_0);
	assert_int_equal(back->network.layers[1].ffn_value->type, DTYPE_Q4_K); /* its rows have 512 */
	assert_noted("7 matrices (blk.0.time_mix_receptance.weight, ...) become Q8_0 instead of Q4_K: rows of 96 are not whole "
	             "blocks of 256");
	rwkvk_file_close(back);
	rwkvk_file_close(file);

	struct source source;
	for (enum dtype type = DTYPE_F32; type <= DTYPE_BF16; type++) {
		make_source(OFFICIAL, "7", &sizes, type, &source);
		export_noting(source.file, out, RWKVK_EXPORT_Q8_0);
		back = reopen(out);
		assert_int_equal(back->network.layers[1].key->type, type == DTYPE_BF16 ? DTYPE_BF16 : DTYPE_F16);
		rwkvk_file_close(back);
		finish_source(&source);
	}
}

/* Quantised tensors: kept, made smaller, or converted back to floats. */
static void test_quantised_source(void **state)
{
	(void)state;
	struct model_spec spec = wide;
	const char *in = test_temp("q6.gguf"), *out = test_temp("again.gguf"), *plain = test_temp("plain.safetensors");
	spec.type = DTYPE_Q6_K;
	make_model(in, &spec);
	rwkvk_file *file = reopen(in);
	exported(file, out, RWKVK_EXPORT_KEEP, 1);
	rwkvk_file *back = reopen(out);
	same_network("kept", file, back, 0);
	assert_int_equal(back->network.emb->type, DTYPE_Q6_K);
	rwkvk_file_close(back);

	export_noting(file, out, RWKVK_EXPORT_Q4_K_M);
	back = reopen(out);
	check_matrix(file->network.layers[1].key, back->network.layers[1].key, DTYPE_Q4_K);
	check_matrix(file->network.layers[1].ffn_key, back->network.layers[1].ffn_key, DTYPE_Q5_K);
	assert_int_equal(back->network.layers[0].output->type, DTYPE_Q6_K); /* not Q8_0: it would gain nothing */
	assert_noted("are quantised in");
	rwkvk_file_close(back);

	assert_fails(
		rwkvk_file_export(file, plain, NULL), RWKVK_ERROR_UNSUPPORTED,
		"q6.gguf: tensor token_embd.weight is Q6_K, which safetensors files cannot hold: choose f16, bf16 or f32, or write "
		"a .gguf file");
	exported(file, plain, RWKVK_EXPORT_F32, 1);
	back = reopen(plain);
	same_network("floats", file, back, 0);
	rwkvk_file_close(back);
	rwkvk_file_close(file);
}

/* ---------------------------------------------------------------------------------------------------- other tensors */

static void test_other_tensors(void **state)
{
	(void)state;
	struct list *list = list_official("7", &sizes);
	static const char *const names[] = { "head.bias", "blocks.1.att.time_state", "blocks.1.something.weight",
		                                 "blocks.0.att.v0" };
	static const uint64_t counts[] = { 7, 48, 5, 12 };
	for (size_t i = 0; i < 4; i++) {
		struct list_item *item = &list->items[list->count++];
		*item = (struct list_item){ .rank = i == 1 ? 3 : 1, .shape = { counts[i] }, .count = counts[i] };
		if (i == 1)
			memcpy(item->shape, ((uint64_t[]){ 3, 4, 4 }), 3 * sizeof(uint64_t));
		item->values = calloc(counts[i], sizeof(float));
		for (uint64_t n = 0; n < counts[i]; n++)
			item->values[n] = (float)n;
		snprintf(item->name, sizeof item->name, "%s", names[i]);
	}
	struct source source = { .bytes = write_safetensors(list, DTYPE_F16), .path = "others" };
	list_free(list);
	open_source(&source);
	const char *gguf = test_temp("others.gguf"), *official = test_temp("others.safetensors");
	export_noting(source.file, gguf, RWKVK_EXPORT_KEEP);
	assert_noted("left out: 1 tensors (blocks.1.something.weight) that an RWKV-7 model does not use");
	assert_noted("others.gguf: the model has a head.bias");
	assert_noted("others.gguf has no vocabulary, which llama.cpp needs");
	rwkvk_file *back = reopen(gguf);
	same_network("others", source.file, back, 0);
	same_tensor("state", weights_find(&source.file->weights, names[1]), weights_find(&back->weights, names[1]));
	assert_null(weights_find(&back->weights, names[2]));
	rwkvk_file_close(back);

	/* llama.cpp's copies in layer 0 are there, of a's shapes */
	size_t bytes;
	uint8_t *data = test_read_file(gguf, &bytes);
	int found = 0;
	for (size_t i = 0; i + 24 < bytes; i++)
		for (int n = 0; n < 3; n++) {
			char name[48];
			snprintf(name, sizeof name, "blk.0.time_mix_v%d.weight", n);
			found += memcmp(data + i, name, strlen(name)) == 0;
		}
	assert_int_equal(found, 3);
	free(data);

	exported(source.file, official, RWKVK_EXPORT_KEEP, 1);
	back = reopen(official);
	for (size_t i = 0; i < 4; i++)
		same_tensor("others", weights_find(&source.file->weights, names[i]), weights_find(&back->weights, names[i]));
	assert_int_equal(back->weights.count, source.file->weights.count);
	rwkvk_file_close(back);
	finish_source(&source);
}

/* ---------------------------------------------------------------------------------------------------- keys */

static const char vocabulary[] = "1 'a' 1\n2 '\\'' 1\n3 '\\'\"' 2\n4 '\\n' 1\n5 b'\\xff' 1\n";

static void test_vocabulary(void **state)
{
	(void)state;
	const char *words = test_temp("words.txt"), *out = test_temp("words.gguf"), *again = test_temp("again.gguf");
	struct source source;
	rwkvk_file *file, *back;
	make_source(OFFICIAL, "7", &sizes, DTYPE_F16, &source);
	test_write_file(words, vocabulary, strlen(vocabulary));
	rwkvk_model_options options = { .path = "s", .data = source.bytes.data, .data_bytes = source.bytes.bytes, .vocab = words };
	assert_ok(rwkvk_file_open(&options, &file));
	exported(file, out, RWKVK_EXPORT_KEEP, 1);
	back = reopen(out);
	const struct metadata *m = &back->weights.metadata;
	static const char *const want[] = { "<s>", "a", "'", "\\'\"", "\\n", "\\xff", "[PAD6]" };
	static const int32_t types[] = { 3, 1, 1, 1, 1, 1, 5 };
	assert_int_equal(m->token_count, sizes.vocab);
	for (size_t i = 0; i < 7; i++) {
		assert_int_equal(m->token_bytes[i], strlen(want[i]));
		assert_memory_equal(m->token_text[i], want[i], strlen(want[i]));
		assert_int_equal(m->token_type[i], types[i]);
	}
	for (uint32_t id = 0; id < 7; id++) {
		size_t a, b;
		const void *x = rwkvk_tokenizer_token(file->tokenizer, id, &a), *y = rwkvk_tokenizer_token(back->tokenizer, id, &b);
		assert_int_equal(a, b);
		if (x)
			assert_memory_equal(x, y, a);
	}
	/* a GGUF file's own keys, with its vocabulary, are copied unchanged */
	assert_int_equal(exported(back, again, RWKVK_EXPORT_KEEP, 1), exported(file, out, RWKVK_EXPORT_KEEP, 1));
	rwkvk_file *third = reopen(again);
	assert_int_equal(third->weights.metadata.key_count, m->key_count);
	rwkvk_file_close(third);
	rwkvk_file_close(back);
	rwkvk_file_close(file);
	finish_source(&source);
}

static void test_keys(void **state)
{
	(void)state;
	const char *in = test_temp("keys.gguf"), *out = test_temp("keys-out.gguf");
	struct model_spec spec = wide;
	spec.name = "a name";
	make_model(in, &spec);
	rwkvk_file *file = reopen(in);
	exported(file, out, RWKVK_EXPORT_Q4_K_M, 1);
	rwkvk_file *back = reopen(out);
	assert_string_equal(back->weights.metadata.name, "a name");
	static const struct {
		const char *name;
		uint32_t value;
	} want[] = { { "general.file_type", 15 },
		         { "general.quantization_version", 2 },
		         { "rwkv7.context_length", 1 << 20 },
		         { "rwkv7.embedding_length", 256 },
		         { "rwkv7.block_count", 2 },
		         { "rwkv7.feed_forward_length", 512 },
		         { "rwkv7.attention.head_count", 0 },
		         { "rwkv7.wkv.head_size", 64 },
		         { "rwkv7.attention.decay_lora_rank", 32 },
		         { "rwkv7.attention.gate_lora_rank", 64 } };
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		int found = 0;
		for (uint64_t k = 0; k < back->weights.metadata.key_count; k++) {
			const struct raw_key *raw = &back->weights.metadata.keys[k];
			size_t n = strlen(want[i].name);
			if (raw->bytes != 8 + n + 8 || memcmp(raw->data + 8, want[i].name, n) != 0)
				continue;
			uint32_t value;
			memcpy(&value, raw->data + 8 + n + 4, 4);
			assert_int_equal(value, want[i].value);
			found++;
		}
		if (found != 1)
			fail_msg("%s is there %d times", want[i].name, found);
	}
	rwkvk_file_close(back);
	rwkvk_file_close(file);
}

/* The linker puts this in the place of the system's (CMakeLists.txt): hundreds of small files need no disk. */
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	(void)fd;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gguf_of_all),
		cmocka_unit_test(test_gguf_of_square_factors),
		cmocka_unit_test(test_safetensors_of_all),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_decays),
		cmocka_unit_test(test_rescaled),
		cmocka_unit_test(test_mixtures),
		cmocka_unit_test(test_substitutes),
		cmocka_unit_test(test_quantised_source),
		cmocka_unit_test(test_other_tensors),
		cmocka_unit_test(test_vocabulary),
		cmocka_unit_test(test_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
