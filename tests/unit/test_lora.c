/* Adapters merged while a model is loaded: what is packed for the device equals, byte for byte, what a model merged beforehand
 * gives, for every version, layout and type.  Whatever does not fit is refused with a message that says what was expected. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "format/adapter.h"
#include "make_files.h"
#include "network/export.h"

static const char *const versions[] = { "4", "5.0", "5.1", "5.2", "6", "7" };
enum { VERSIONS = sizeof versions / sizeof *versions, RANK = 4, THREADS = 2, LAYERS = 2, WIDTH = 32, FFN = 64, VOCAB = 40 };
static const struct list_sizes sizes = {
	.vocab = VOCAB, .width = WIDTH, .head_size = 8, .ffn = FFN, .layers = LAYERS, .rank = RANK
};

/* ---------------------------------------------------------------------------------------------------- what is packed */

struct packed {
	uint8_t *data;
	size_t bytes;
};

static void put(struct packed *out, const void *data, size_t bytes)
{
	out->data = realloc(out->data, out->bytes + bytes);
	assert_non_null(out->data);
	memcpy(out->data + out->bytes, data, bytes);
	out->bytes += bytes;
}

static void put_matrix(struct packed *out, struct parallel *parallel, const struct matrix *m)
{
	uint64_t plane = matrix_plane_bytes(m, m->rows), beside = matrix_side_bytes(m, m->rows), at = 0, side_at = 0;
	uint8_t *to = calloc(plane + 1, 1), *side = calloc(beside + 4, 1);
	float *scratch = malloc(parallel_workers(parallel) * pack_scratch_floats(m->columns) * sizeof *scratch);
	assert_true(to && side && scratch);
	if (m->by_input)
		assert_true(pack_value_blocks(parallel, m->parts, m->columns, 0,
		                              (m->rows + VALUE_BLOCK(m->type) - 1) / VALUE_BLOCK(m->type), to, side, scratch));
	else if (m->interleaved)
		assert_true(pack_tiles(parallel, m->parts, m->part_count, m->columns, 0, m->rows / 8, to, side, scratch));
	for (uint32_t i = 0; i < m->part_count && !m->by_input && !m->interleaved; i++) {
		uint64_t rows = PAD(m->parts[i].rows, 8);
		assert_true(pack_tiles(parallel, &m->parts[i], 1, m->columns, 0, rows / 8, to + at, side + side_at, scratch));
		at += packed_bytes(m->type, rows, m->columns);
		side_at += packed_side_bytes(m->type, rows, m->columns);
	}
	put(out, &m->type, sizeof m->type);
	put(out, to, plane);
	put(out, side, beside);
	free(to);
	free(side);
	free(scratch);
}

static void put_lora(struct packed *out, const struct lora *lora, const struct config *c)
{
	uint64_t bytes = lora_bytes(lora, c);
	uint8_t *to = malloc(bytes + 1);
	float scratch[256];
	assert_non_null(to);
	assert_true(pack_lora(lora, c, to, scratch));
	put(out, &lora->type, sizeof lora->type);
	put(out, to, bytes);
	free(to);
}

/* All of a model's weights as a device gets them. */
static struct packed pack_model(const struct rwkvk_file *file)
{
	const struct network *net = &file->network;
	struct packed out = { 0 };
	struct parallel *parallel;
	float vector[WIDTH];
	assert_ok(parallel_start(THREADS, &parallel));
	for (uint32_t i = 0; i < net->config.layers; i++) {
		struct outline layer;
		struct matrix *matrices[LAYER_MATRICES];
		struct lora *loras[LAYER_LORAS];
		outline_layer(net, file->quant, i, &layer);
		outline_matrices(&layer, matrices);
		outline_loras(&layer, loras);
		for (int j = 0; j < LAYER_MATRICES; j++)
			if (matrices[j]->part_count)
				put_matrix(&out, parallel, matrices[j]);
		for (int j = 0; j < LAYER_LORAS; j++)
			if (loras[j]->count)
				put_lora(&out, loras[j], &net->config);
		for (uint32_t v = 0; v < VEC_COUNT; v++) {
			layer_vector(net, i, v, vector);
			put(&out, vector, sizeof vector);
		}
	}
	struct matrix tables[2];
	outline_table(net, net->emb, file->quant, &tables[0]);
	outline_table(net, net->head, file->quant, &tables[1]);
	put_matrix(&out, parallel, &tables[0]);
	put_matrix(&out, parallel, &tables[1]);
	dtype_to_float(net->ln_out_w->type, net->ln_out_w->data, 0, WIDTH, vector);
	put(&out, vector, sizeof vector);
	parallel_stop(parallel);
	return out;
}

/* ---------------------------------------------------------------------------------------------------- models */

struct reports {
	int count;
	char last[512];
};

static void keep(void *user, rwkvk_log_level level, const char *text)
{
	struct reports *r = user;
	(void)level;
	r->count++;
	snprintf(r->last, sizeof r->last, "%s", text);
}

static rwkvk_status open_with(const char *path, rwkvk_quant quant, const rwkvk_lora *lora, size_t count,
                              struct reports *reports, struct rwkvk_file *out)
{
	*reports = (struct reports){ 0 };
	const rwkvk_model_options options = { .size = sizeof options,
		                                  .path = path,
		                                  .quant = quant,
		                                  .threads = THREADS,
		                                  .log = keep,
		                                  .log_user = reports,
		                                  .lora = lora,
		                                  .lora_count = count };
	return file_init(&options, out);
}

static struct packed pack_file(const char *path, rwkvk_quant quant, const rwkvk_lora *lora, size_t count)
{
	struct rwkvk_file file;
	struct reports reports;
	assert_ok(open_with(path, quant, lora, count, &reports, &file));
	struct packed out = pack_model(&file);
	file_finish(&file);
	return out;
}

static void assert_equal(const char *what, struct packed got, struct packed want)
{
	assert_int_equal(got.bytes, want.bytes);
	size_t at = 0;
	while (at < got.bytes && got.data[at] == want.data[at])
		at++;
	if (at < got.bytes)
		fail_msg("%s: byte %zu of %zu differs", what, at, got.bytes);
	free(got.data);
	free(want.data);
}

static const char *write_file(const char *name, struct file_bytes bytes)
{
	const char *path = test_temp(name);
	test_write_file(path, bytes.data, bytes.bytes);
	free(bytes.data);
	return path;
}

/* ---------------------------------------------------------------------------------------------------- numpy's */

static const rwkvk_quant quants[] = { RWKVK_QUANT_NONE, RWKVK_QUANT_F16, RWKVK_QUANT_Q8, RWKVK_QUANT_Q6, RWKVK_QUANT_Q4 };
enum { QUANTS = sizeof quants / sizeof *quants };

static void as_numpy_merges(void **state)
{
	(void)state;
	const rwkvk_lora lora[] = { { .size = sizeof *lora, .path = LORA_DATA "/peft" },
		                        { .size = sizeof *lora, .path = LORA_DATA "/rwkv_peft.safetensors", .scale = 1 } };
	for (int i = 0; i < QUANTS; i++)
		assert_equal("numpy", pack_file(LORA_DATA "/model.safetensors", quants[i], lora, 2),
		             pack_file(LORA_DATA "/merged.safetensors", quants[i], NULL, 0));
}

/* ---------------------------------------------------------------------------------------------------- every version */

static struct list_item *add(struct list *list, uint64_t rows, uint64_t columns)
{
	struct list_item *item = &list->items[list->count++];
	*item = (struct list_item){ .rank = 2, .shape = { rows, columns }, .count = rows * columns };
	item->values = malloc(item->count * sizeof *item->values);
	assert_non_null(item->values);
	return item;
}

static void fill(struct list_item *item, uint64_t *seed)
{
	for (uint64_t i = 0; i < item->count; i++) /* exact in F16, and so are products and their sums as floats */
		item->values[i] = (float)(int)(test_random(seed) % 64) / 32 - 1;
}

static bool is_matrix(const struct list_item *item)
{
	size_t length = strlen(item->name);
	return item->rank == 2 && length > 7 && strcmp(item->name + length - 7, ".weight") == 0;
}

/* Adapters of all large matrices of `model`, which becomes what they make of it.  The names end in `a` and `b`. */
static struct list *adapt_all(struct list *model, float scale, const char *a, const char *b)
{
	struct list *out = calloc(1, sizeof *out);
	uint64_t seed = 7;
	assert_non_null(out);
	for (size_t n = 0; n < model->count; n++) {
		struct list_item *item = &model->items[n];
		if (!is_matrix(item))
			continue;
		uint64_t rows = item->shape[0], columns = item->shape[1];
		struct list_item *A = add(out, RANK, columns), *B = add(out, rows, RANK);
		int stem = (int)strlen(item->name) - 7;
		snprintf(A->name, sizeof A->name, "%.*s%s", stem, item->name, a);
		snprintf(B->name, sizeof B->name, "%.*s%s", stem, item->name, b);
		fill(A, &seed);
		fill(B, &seed);
		for (uint64_t i = 0; i < rows; i++)
			for (uint64_t j = 0; j < columns; j++) {
				float sum = 0;
				for (int k = 0; k < RANK; k++)
					sum += B->values[i * RANK + (unsigned)k] * A->values[(unsigned)k * columns + j];
				item->values[i * columns + j] += scale * sum;
			}
	}
	return out;
}

static void every_version(void **state)
{
	(void)state;
	static const enum dtype types[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };
	for (int v = 0; v < VERSIONS; v++)
		for (int t = 0; t < 3; t++) {
			struct list *model = list_official(versions[v], &sizes);
			const char *base = write_file("base.safetensors", write_safetensors(model, types[t]));
			struct list *adapter = adapt_all(model, 0.5f, ".lora_A", ".lora_B");
			const char *merged = write_file("merged.safetensors", write_safetensors(model, types[t]));
			const rwkvk_lora lora = { .size = sizeof lora,
				                      .scale = 0.5f,
				                      .path = write_file("lora.pth", write_pth(adapter, types[(t + 1) % 3], NULL)) };
			for (int q = 0; q < 2; q++) /* with others, one rounding more: through the base's type */
				if (q == 0 || types[t] == DTYPE_F32)
					assert_equal(versions[v], pack_file(base, q ? RWKVK_QUANT_Q4 : RWKVK_QUANT_NONE, &lora, 1),
					             pack_file(merged, q ? RWKVK_QUANT_Q4 : RWKVK_QUANT_NONE, NULL, 0));
			list_free(adapter);
			list_free(model);
		}
}

/* The name in `list` of the matrix whose official name begins with `stem`: the one with the same numbers. */
static const char *called(const struct list *list, const char *version, const char *stem, size_t length)
{
	struct list *official = list_official(version, &sizes);
	char name[96];
	const char *found = NULL;
	snprintf(name, sizeof name, "%.*s.weight", (int)length, stem);
	const struct list_item *item = list_find(official, name);
	for (size_t i = 0; i < list->count && !found; i++)
		if (list->items[i].count == item->count &&
		    memcmp(list->items[i].values, item->values, item->count * sizeof *item->values) == 0)
			found = list->items[i].name;
	list_free(official);
	assert_non_null(found);
	return found;
}

/* The same adapter in other programs' names, and for models in other formats. */
static void every_layout(void **state)
{
	(void)state;
	static const struct {
		const char *version, *a, *b;
		bool fla, hugging_face;
	} layouts[] = {
		{ "7", ".lora_A.weight", ".lora_B.weight", true, false },
		{ "7", ".lora_A.default.weight", ".lora_B.default.weight", false, false },
		{ "6", ".lora_A.weight", ".lora_B.weight", true, false },
		{ "6", ".lora_A.weight", ".lora_B.weight", false, true },
		{ "4", ".lora_A.weight", ".lora_B.weight", false, true },
		{ "5.2", ".lora_A.weight", ".lora_B.weight", false, true },
	};
	for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
		struct list *model = list_official(layouts[i].version, &sizes), *names = list_official(layouts[i].version, &sizes);
		const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
		struct list *adapter = adapt_all(model, 2, layouts[i].a, layouts[i].b);
		const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
		if (layouts[i].fla)
			list_to_fla(names, false);
		if (layouts[i].hugging_face)
			list_to_hugging_face(names, layouts[i].version);
		for (size_t n = 0; n < adapter->count; n++) {
			char *name = adapter->items[n].name;
			const char *part = n % 2 ? layouts[i].b : layouts[i].a;
			char module[64];
			snprintf(module, sizeof module, "%s", called(names, layouts[i].version, name, strlen(name) - strlen(part)));
			snprintf(name, 96, "base_model.model.%.*s%s", (int)(strlen(module) - strlen(".weight")), module, part);
		}
		const rwkvk_lora lora = { .size = sizeof lora,
			                      .scale = 2,
			                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
		assert_equal(layouts[i].version, pack_file(base, RWKVK_QUANT_NONE, &lora, 1),
		             pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
		list_free(adapter);
		list_free(names);
		list_free(model);
	}
}

/* Writes a model under the names and in the layout of one family of files. */
static const char *write_form(int form, const char *version)
{
	struct list *list = list_official(version, &sizes);
	const char *gguf = test_temp("base.gguf");
	char architecture[16];
	if (form == 1)
		list_to_fla(list, false);
	if (form == 2)
		list_to_web(list, version, &sizes);
	if (form == 3)
		list_to_gguf(list, version, true);
	snprintf(architecture, sizeof architecture, "rwkv%s", version);
	if (form == 3)
		write_gguf(gguf, list, architecture, (uint32_t)sizes.head_size, 0);
	const char *path = form == 3 ? gguf : write_file("base.safetensors", write_safetensors(list, DTYPE_F32));
	list_free(list);
	return path;
}

/* Adapters of all linear layers of fla: the model's own LoRA factors are among them, and RWKV-6's x_proj, whose five parts are
 * in another order there. */
static void factors_of_fla(void **state)
{
	(void)state;
	static const char *const with_factors[] = { "6", "7" };
	for (int v = 0; v < 2; v++) {
		struct list *model = list_official(with_factors[v], &sizes);
		list_to_fla(model, false);
		struct list *adapter = adapt_all(model, 0.5f, ".lora_A.weight", ".lora_B.weight");
		const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
		const rwkvk_lora lora = { .size = sizeof lora,
			                      .scale = 0.5f,
			                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
		assert_non_null(list_find(adapter, v ? "model.layers.1.attn.g_lora.lora.2.lora_B.weight"
		                                     : "model.layers.1.attn.x_proj.2.lora_B.weight"));
		for (int form = 0; form < 4; form++)
			assert_equal(with_factors[v], pack_file(write_form(form, with_factors[v]), RWKVK_QUANT_NONE, &lora, 1),
			             pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
		list_free(adapter);
		list_free(model);
	}
}

/* The output of web-rwkv's converter: A is transposed, and the file holds an alpha. */
static void turned_factors(void **state)
{
	(void)state;
	struct list *model = list_official("7", &sizes);
	const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
	struct list *adapter = adapt_all(model, 0.5f, ".lora.0", ".lora.1");
	const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
	for (size_t n = 0, all = adapter->count; n < all; n += 2) {
		struct list_item *A = &adapter->items[n], *alpha = add(adapter, 1, 1);
		float *stored = malloc(A->count * sizeof *stored);
		assert_non_null(stored);
		for (uint64_t i = 0; i < A->count; i++)
			stored[i % A->shape[1] * RANK + i / A->shape[1]] = A->values[i];
		free(A->values);
		A->values = stored;
		A->shape[0] = A->shape[1];
		A->shape[1] = RANK;
		*alpha->values = 0.5f * RANK;
		snprintf(alpha->name, sizeof alpha->name, "%.*s.alpha", (int)(strlen(A->name) - strlen(".lora.0")), A->name);
	}
	const rwkvk_lora lora = { .size = sizeof lora,
		                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F16)) };
	assert_equal("turned", pack_file(base, RWKVK_QUANT_NONE, &lora, 1), pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
	list_free(adapter);
	list_free(model);
}

/* ---------------------------------------------------------------------------------------------------- where alpha is */

/* A safetensors file whose header begins with __metadata__. */
static struct file_bytes with_metadata(struct file_bytes file, const char *text)
{
	const size_t length = strlen(text);
	struct file_bytes out = { .data = malloc(file.bytes + length), .bytes = file.bytes + length };
	uint64_t header;
	assert_non_null(out.data);
	memcpy(&header, file.data, 8);
	header += length;
	memcpy(out.data, &header, 8);
	out.data[8] = '{';
	memcpy(out.data + 9, text, length);
	memcpy(out.data + 9 + length, file.data + 9, file.bytes - 9);
	free(file.data);
	return out;
}

static const char adapter_config[] = "{\"peft_type\": \"LORA\", \"lora_alpha\": 2}";

/* Where an adapter of rank 4 and scale 0.5 may have its alpha. */
static const struct alpha_place {
	const char *folder, *file, *metadata, *config;
	bool pth, name_folder;
} alpha_places[] = {
	{ "a", "lora.safetensors", "\"__metadata__\":{\"lora_alpha\":\"2.0\"},", NULL, false, false },
	{ "b", "lora.safetensors", "\"__metadata__\":{\"lora_alpha\":\"2\"},", "{\"peft_type\": \"LORA\", \"lora_alpha\": 7}",
	  false, false },
	{ "c", "adapter_model.safetensors", NULL, adapter_config, false, true },
	{ "d", "adapter_model.bin", NULL, adapter_config, true, true },
	{ "e", "rwkv-9.pth", NULL, adapter_config, true, false },
};

static const char *write_place(const struct alpha_place *place, const struct list *adapter)
{
	char path[64];
	const char *folder = test_temp(place->folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	if (place->config) {
		snprintf(path, sizeof path, "%s/adapter_config.json", place->folder);
		test_write_file(test_temp(path), place->config, strlen(place->config));
	}
	snprintf(path, sizeof path, "%s/%s", place->folder, place->file);
	struct file_bytes file = place->pth ? write_pth(adapter, DTYPE_F32, NULL) : write_safetensors(adapter, DTYPE_F32);
	const char *whole = write_file(path, place->metadata ? with_metadata(file, place->metadata) : file);
	return place->name_folder ? folder : whole;
}

static void alpha_is_found(void **state)
{
	(void)state;
	struct list *model = list_official("7", &sizes);
	const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
	struct list *adapter = adapt_all(model, 2.0f / RANK, ".lora_A", ".lora_B");
	const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
	for (size_t i = 0; i < sizeof alpha_places / sizeof *alpha_places; i++) {
		const rwkvk_lora lora = { .size = sizeof lora, .path = write_place(&alpha_places[i], adapter) };
		assert_equal(alpha_places[i].file, pack_file(base, RWKVK_QUANT_NONE, &lora, 1),
		             pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
	}
	list_free(adapter);
	list_free(model);
}

/* If a scale is given, the text is ignored. */
static void alpha_is_no_number(void **state)
{
	(void)state;
	static const char *const texts[] = { "\"__metadata__\":{\"lora_alpha\":\"many\"},",
		                                 "\"__metadata__\":{\"lora_alpha\":\"-2\"}," };
	struct list *model = list_official("7", &sizes);
	const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
	struct list *adapter = adapt_all(model, 1, ".lora_A", ".lora_B");
	for (int i = 0; i < 2; i++) {
		rwkvk_lora lora = { .size = sizeof lora };
		struct rwkvk_file file;
		struct reports reports;
		lora.path = write_file("lora.safetensors", with_metadata(write_safetensors(adapter, DTYPE_F32), texts[i]));
		assert_fails(open_with(base, RWKVK_QUANT_NONE, &lora, 1, &reports, &file), RWKVK_ERROR_FILE,
		             "expected \"lora_alpha\" in \"__metadata__\" to be a number from 1e-06 to 1e+06, found \"");
		lora.scale = 1;
		assert_ok(open_with(base, RWKVK_QUANT_NONE, &lora, 1, &reports, &file));
		file_finish(&file);
	}
	list_free(adapter);
	list_free(model);
}

/* ---------------------------------------------------------------------------------------------------- blocks */

/* peft's block of rows, and its own bat, which numbers blocks down the rows. */
static void blocks_of_rows(void **state)
{
	(void)state;
	struct list *model = list_official("7", &sizes), *adapter = calloc(1, sizeof *adapter);
	const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
	enum { BLOCK = 8 };
	uint64_t seed = 9;
	struct list_item *rows = add(adapter, 5, FFN), *blocks = add(adapter, WIDTH / BLOCK * BLOCK, BLOCK);
	struct list_item *key = list_find(model, "blocks.1.ffn.key.weight"), *value = list_find(model, "blocks.1.ffn.value.weight");
	snprintf(rows->name, sizeof rows->name, "base_model.model.blocks.1.ffn.key.miss_block.default");
	snprintf(blocks->name, sizeof blocks->name, "base_model.model.blocks.1.ffn.value.bone_block");
	blocks->rank = 3;
	memcpy(blocks->shape, ((uint64_t[]){ WIDTH / BLOCK, BLOCK, BLOCK, 0 }), sizeof blocks->shape);
	fill(rows, &seed);
	fill(blocks, &seed);
	for (uint64_t i = 0; i < FFN; i++)
		for (uint64_t j = 0; j < WIDTH; j++)
			key->values[i * WIDTH + j] += rows->values[j % 5 * FFN + i];
	for (uint64_t i = 0; i < WIDTH; i++)
		for (uint64_t first = 0; first < FFN; first += BLOCK) {
			float *v = value->values + i * FFN + first, sums[BLOCK] = { 0 };
			const float *d = blocks->values + i / BLOCK * BLOCK * BLOCK;
			for (int k = 0; k < BLOCK; k++)
				for (int u = 0; u < BLOCK; u++)
					sums[u] += v[k] * d[k * BLOCK + u];
			for (int u = 0; u < BLOCK; u++)
				v[u] += sums[u] + d[i % BLOCK * BLOCK + (unsigned)u];
		}
	const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
	const rwkvk_lora lora = { .size = sizeof lora,
		                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
	assert_equal("blocks", pack_file(base, RWKVK_QUANT_NONE, &lora, 1), pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
	list_free(adapter);
	list_free(model);
}

/* ---------------------------------------------------------------------------------------------------- written */

static void export_model(const char *path, const rwkvk_lora *lora, const char *out, rwkvk_export_type type)
{
	rwkvk_file *file;
	const rwkvk_model_options options = { .size = sizeof options, .path = path, .lora = lora, .lora_count = lora ? 1 : 0 };
	const rwkvk_export_options how = { .size = sizeof how, .type = type, .threads = THREADS };
	assert_ok(rwkvk_file_open(&options, &file));
	assert_ok(rwkvk_file_export(file, out, &how));
	rwkvk_file_close(file);
}

static void assert_same_file(const char *a, const char *b)
{
	size_t bytes, other_bytes;
	uint8_t *data = test_read_file(a, &bytes), *other = test_read_file(b, &other_bytes);
	assert_int_equal(bytes, other_bytes);
	assert_memory_equal(data, other, bytes);
	free(data);
	free(other);
}

/* convert and quantize write the merged model, and so do rescaled files, in which some matrices are divided. */
static void written_as_merged(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		rwkvk_export_type type;
	} kinds[] = { { "a.safetensors", RWKVK_EXPORT_F16 }, { "a.gguf", RWKVK_EXPORT_KEEP }, { "a.gguf", RWKVK_EXPORT_Q8_0 } };
	struct list *model = list_official("6", &sizes);
	const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
	struct list *adapter = adapt_all(model, 1, ".lora_A", ".lora_B");
	const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
	const rwkvk_lora lora = { .size = sizeof lora,
		                      .scale = 1,
		                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const char *got = test_temp(kinds[i].name);
		export_model(base, &lora, got, kinds[i].type);
		size_t bytes;
		uint8_t *data = test_read_file(got, &bytes);
		export_model(merged, NULL, got, kinds[i].type); /* the same name, which some files hold */
		const char *other = test_temp("other");
		test_write_file(other, data, bytes);
		free(data);
		assert_same_file(other, got);
	}
	list_free(adapter);
	list_free(model);
}

/* RWKV-6 GGUF has att.output and ffn.value divided by two after every layer here. */
static void rescaled_files(void **state)
{
	(void)state;
	struct list *model = list_official("6", &sizes), *merged = list_official("6", &sizes);
	struct list *adapter = adapt_all(merged, 1, ".lora_A", ".lora_B");
	const rwkvk_lora lora = { .size = sizeof lora,
		                      .scale = 1,
		                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
	struct list *both[] = { model, merged };
	const char *const paths[] = { test_temp("base.gguf"), test_temp("merged.gguf") };
	for (int i = 0; i < 2; i++) {
		static const char *const names[] = { "blocks.1.att.output.weight", "blocks.1.ffn.value.weight" };
		for (int n = 0; n < 2; n++) {
			struct list_item *item = list_find(both[i], names[n]);
			for (uint64_t j = 0; j < item->count; j++)
				item->values[j] /= 2;
		}
		list_to_gguf(both[i], "6", true);
		write_gguf(paths[i], both[i], "rwkv6", (uint32_t)sizes.head_size, 1);
		list_free(both[i]);
	}
	list_free(adapter);
	assert_equal("rescaled", pack_file(paths[0], RWKVK_QUANT_NONE, &lora, 1), pack_file(paths[1], RWKVK_QUANT_NONE, NULL, 0));
}

/* ---------------------------------------------------------------------------------------------------- quantised */

/* A matrix that the file has quantised, and those beside it on the device, become Q8, or what quant says; that is reported. */
static void quantised_files(void **state)
{
	(void)state;
	struct list *model = list_official("7", &sizes);
	const char *plain = write_file("base.safetensors", write_safetensors(model, DTYPE_F32)), *base = test_temp("base.gguf");
	struct list *adapter = calloc(1, sizeof *adapter);
	uint64_t seed = 3;
	struct rwkvk_file file;
	struct reports reports;
	struct outline layer;
	snprintf(add(adapter, RANK, WIDTH)->name, 96, "blocks.1.att.value.lora_A");
	snprintf(add(adapter, WIDTH, RANK)->name, 96, "blocks.1.att.value.lora_B");
	fill(&adapter->items[0], &seed);
	fill(&adapter->items[1], &seed);
	const rwkvk_lora lora = { .size = sizeof lora,
		                      .scale = 1,
		                      .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
	export_model(plain, NULL, base, RWKVK_EXPORT_Q4_0);
	assert_ok(open_with(base, RWKVK_QUANT_NONE, &lora, 1, &reports, &file));
	assert_int_equal(reports.count, 1);
	assert_non_null(strstr(reports.last, ": 3 quantised matrices (blk.1.time_mix_receptance.weight, ...) become Q8"));
	outline_layer(&file.network, file.quant, 1, &layer);
	assert_int_equal(layer.products.type, TYPE_Q8);
	assert_int_equal(layer.output.type, TYPE_Q4);
	outline_layer(&file.network, file.quant, 0, &layer);
	assert_int_equal(layer.products.type, TYPE_Q4);
	file_finish(&file);
	const char *kept = test_temp("kept.gguf");
	export_model(base, &lora, kept, RWKVK_EXPORT_KEEP);
	assert_ok(open_with(kept, RWKVK_QUANT_NONE, NULL, 0, &reports, &file));
	assert_int_equal(file.network.layers[1].value->type, DTYPE_Q8_0);
	assert_int_equal(file.network.layers[1].key->type, DTYPE_Q4_0);
	file_finish(&file);
	assert_ok(open_with(base, RWKVK_QUANT_Q6, &lora, 1, &reports, &file));
	assert_int_equal(reports.count, 0);
	outline_layer(&file.network, file.quant, 1, &layer);
	assert_int_equal(layer.products.type, TYPE_Q6K);
	file_finish(&file);
	list_free(adapter);
	list_free(model);
}

/* ---------------------------------------------------------------------------------------------------- a file for both */

/* A model, which becomes what its adapter makes of it, and both together as peft saves them: the whole model, with some of its
 * layers wrapped.  The latter share the adapter's numbers. */
static struct list *list_both(struct list *model, struct list **adapter)
{
	struct list *both = list_official("7", &sizes);
	*adapter = adapt_all(model, 0.25f, ".lora_A", ".lora_B");
	for (size_t i = 0; i < both->count; i++) {
		char *name = both->items[i].name, stem[48];
		snprintf(stem, sizeof stem, "%.*s", (int)(strrchr(name, '.') - name), name);
		if (is_matrix(&both->items[i]))
			snprintf(name, sizeof both->items[i].name, "base_model.model.%s.base_layer.weight", stem);
	}
	for (size_t i = 0; i < (*adapter)->count; i++) {
		both->items[both->count] = (*adapter)->items[i];
		snprintf(both->items[both->count++].name, sizeof both->items->name, "base_model.model.%s", (*adapter)->items[i].name);
	}
	return both;
}

static void free_both(struct list *model, struct list *both, struct list *adapter)
{
	both->count -= adapter->count;
	list_free(both);
	list_free(adapter);
	list_free(model);
}

static void model_and_adapter_in_one(void **state)
{
	(void)state;
	struct list *adapter, *model = list_official("7", &sizes), *both = list_both(model, &adapter);
	const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
	const char *path = write_file("both.safetensors", write_safetensors(both, DTYPE_F32));
	const rwkvk_lora lora = { .size = sizeof lora, .path = path, .scale = 0.25f };
	struct rwkvk_file file;
	struct reports reports;
	assert_fails(open_with(path, RWKVK_QUANT_NONE, NULL, 0, &reports, &file), RWKVK_ERROR_UNSUPPORTED,
	             "takes effect only if the file is also given as an adapter (rwkvk_model_options.lora)");
	assert_ok(open_with(path, RWKVK_QUANT_NONE, &lora, 1, &reports, &file));
	assert_int_equal(reports.count, 0); /* nothing is left over */
	file_finish(&file);
	assert_equal("both", pack_file(path, RWKVK_QUANT_NONE, &lora, 1), pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
	assert_fails(open_with(merged, RWKVK_QUANT_NONE, &(rwkvk_lora){ .path = merged }, 1, &reports, &file), RWKVK_ERROR_FILE,
	             ": expected adapters in it, found none");
	free_both(model, both, adapter);
}

/* The same in two files with an index, each of which holds parts of both; it goes by the index or by the folder. */
static const char *write_split(struct list *both)
{
	static const char *const names[] = { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" };
	char index[16384] = "{\"weight_map\": {", path[64];
	struct list *parts[] = { calloc(1, sizeof *both), calloc(1, sizeof *both) };
	assert_true(parts[0] && parts[1]);
	assert_int_equal(mkdir(test_temp("split"), 0700), 0);
	for (size_t i = 0; i < both->count; i++) {
		size_t at = strlen(index);
		snprintf(index + at, sizeof index - at, "%s\"%s\": \"%s\"", i ? ", " : "", both->items[i].name, names[i % 2]);
		parts[i % 2]->items[parts[i % 2]->count++] = both->items[i];
	}
	strcat(index, "}}");
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "split/%s", names[i]);
		write_file(path, write_safetensors(parts[i], DTYPE_F32));
		free(parts[i]);
	}
	const char *whole = test_temp("split/model.safetensors.index.json");
	test_write_file(whole, index, strlen(index));
	return whole;
}

static void model_and_adapter_in_several(void **state)
{
	(void)state;
	struct list *adapter, *model = list_official("7", &sizes), *both = list_both(model, &adapter);
	const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
	const char *const paths[] = { write_split(both), test_temp("split") };
	struct rwkvk_file file;
	struct reports reports;
	assert_fails(open_with(paths[0], RWKVK_QUANT_NONE, NULL, 0, &reports, &file), RWKVK_ERROR_UNSUPPORTED,
	             "takes effect only if the file is also given as an adapter (rwkvk_model_options.lora)");
	const rwkvk_lora half = { .size = sizeof half,
		                      .path = test_temp("split/model-00001-of-00002.safetensors"),
		                      .scale = 0.25f };
	assert_fails(open_with(paths[0], RWKVK_QUANT_NONE, &half, 1, &reports, &file), RWKVK_ERROR_FILE,
	             "this is part 1 of 2 of a model: open model.safetensors.index.json, which lies beside it");
	for (int i = 0; i < 4; i++) {
		const rwkvk_lora lora = { .size = sizeof lora, .path = paths[i / 2], .scale = 0.25f };
		assert_ok(open_with(paths[i % 2], RWKVK_QUANT_NONE, &lora, 1, &reports, &file));
		assert_int_equal(reports.count, 0);
		file_finish(&file);
		assert_equal("split", pack_file(paths[i % 2], RWKVK_QUANT_NONE, &lora, 1),
		             pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
	}
	free_both(model, both, adapter);
}

/* ---------------------------------------------------------------------------------------------------- tied, whole */

static void remove_item(struct list *list, const char *name)
{
	struct list_item *item = list_find(list, name);
	assert_non_null(item);
	free(item->values);
	*item = list->items[--list->count];
}

/* An embedding [V,C] is adapted by A [r,V] and B [C,r]. */
static void adapt_embedding(struct list *adapter, struct list_item *emb)
{
	struct list_item *A = add(adapter, RANK, VOCAB), *B = add(adapter, WIDTH, RANK);
	uint64_t seed = 11;
	snprintf(A->name, sizeof A->name, "base_model.model.rwkv.embeddings.lora_embedding_A");
	snprintf(B->name, sizeof B->name, "base_model.model.rwkv.embeddings.lora_embedding_B");
	fill(A, &seed);
	fill(B, &seed);
	for (uint64_t v = 0; v < VOCAB; v++)
		for (uint64_t c = 0; c < WIDTH; c++)
			for (uint64_t k = 0; k < RANK; k++)
				emb->values[v * WIDTH + c] += A->values[k * VOCAB + v] * B->values[c * RANK + k];
}

static void replace_embedding(struct list *adapter, struct list_item *emb, struct list_item *head)
{
	struct list_item *item = add(adapter, VOCAB, WIDTH);
	uint64_t seed = 12;
	snprintf(item->name, sizeof item->name, "base_model.model.rwkv.embeddings.modules_to_save.default.weight");
	fill(item, &seed);
	memcpy(emb->values, item->values, emb->count * sizeof *emb->values);
	memcpy(head->values, item->values, emb->count * sizeof *emb->values);
}

/* If the head is the embedding, a product changes only one of them, and a whole tensor replaces both. */
static void tied_heads(void **state)
{
	(void)state;
	for (int whole = 0; whole < 2; whole++) {
		struct list *model = list_official("5.2", &sizes), *tied = list_official("5.2", &sizes);
		struct list *adapter = calloc(1, sizeof *adapter);
		struct list_item *emb = list_find(model, "emb.weight"), *head = list_find(model, "head.weight");
		assert_non_null(adapter);
		memcpy(head->values, emb->values, emb->count * sizeof *emb->values);
		remove_item(tied, "head.weight");
		list_to_hugging_face(tied, "5.2");
		if (whole)
			replace_embedding(adapter, emb, head);
		else
			adapt_embedding(adapter, emb);
		const char *base = write_file("tied.safetensors", write_safetensors(tied, DTYPE_F32));
		const char *merged = write_file("merged.safetensors", write_safetensors(model, DTYPE_F32));
		const rwkvk_lora lora = { .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)), .scale = 1 };
		assert_equal(whole ? "whole" : "product", pack_file(base, RWKVK_QUANT_NONE, &lora, 1),
		             pack_file(merged, RWKVK_QUANT_NONE, NULL, 0));
		list_free(adapter);
		list_free(tied);
		list_free(model);
	}
}

/* Start states may be new; dummies of layer 0 are ignored. */
static void new_tensors(void **state)
{
	(void)state;
	struct list *model = list_official("7", &sizes), *adapter = calloc(1, sizeof *adapter);
	const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
	static const char *const names[] = { "blocks.0.att.time_state", "blocks.1.att.time_state", "blocks.0.att.v0" };
	const uint64_t head = sizes.head_size;
	uint64_t seed = 13;
	for (int i = 0; i < 3; i++) {
		struct list_item *item = add(adapter, i < 2 ? WIDTH : 1, i < 2 ? head : WIDTH);
		snprintf(item->name, sizeof item->name, "%s", names[i]);
		fill(item, &seed);
		if (i < 2) {
			item->rank = 3;
			memcpy(item->shape, ((uint64_t[]){ WIDTH / head, head, head, 0 }), sizeof item->shape);
		}
	}
	const rwkvk_lora lora = { .path = write_file("lora.safetensors", write_safetensors(adapter, DTYPE_F32)) };
	struct rwkvk_file file;
	struct reports reports;
	assert_ok(open_with(base, RWKVK_QUANT_NONE, &lora, 1, &reports, &file));
	assert_int_equal(reports.count, 0);
	assert_non_null(weights_find(&file.weights, names[1]));
	assert_null(weights_find(&file.weights, names[2]));
	file_finish(&file);
	list_free(adapter);
	list_free(model);
}

/* ---------------------------------------------------------------------------------------------------- refusals */

struct part {
	const char *name;
	uint64_t rows, columns;
};

static const struct refusal {
	struct part parts[3];
	float scale;
	rwkvk_status status;
	const char *text;
} refusals[] = {
	{ { { "blocks.0.att.key.lora_A", RANK, WIDTH }, { "blocks.0.att.key.lora_B", WIDTH, RANK } },
	  0,
	  RWKVK_ERROR_FILE,
	  "neither it nor an adapter_config.json beside it gives its scale, which is alpha / rank: append that to the name, as "
	  "in " },
	{ { { "blocks.0.att.key.lora_A", RANK, 16 }, { "blocks.0.att.key.lora_B", WIDTH, RANK } },
	  1,
	  RWKVK_ERROR_FILE,
	  "tensor blocks.0.att.key.lora_A has the shape [4, 16], which does not fit blocks.0.att.key.weight of " },
	{ { { "blocks.0.att.key.lora_A", RANK, WIDTH }, { "blocks.0.att.key.lora_B", WIDTH, 3 } },
	  1,
	  RWKVK_ERROR_FILE,
	  "tensor blocks.0.att.key.lora_B has the shape [32, 3], which does not fit blocks.0.att.key.weight of " },
	{ { { "blocks.2.att.key.lora_A", RANK, WIDTH }, { "blocks.2.att.key.lora_B", WIDTH, RANK } },
	  1,
	  RWKVK_ERROR_FILE,
	  "tensor blocks.2.att.key.lora_A is for blocks.2.att.key, which " },
	{ { { "blocks.0.att.key.lora_A", RANK, WIDTH } },
	  1,
	  RWKVK_ERROR_FILE,
	  "expected lora_A and lora_B of blocks.0.att.key, found only one of them" },
	{ { { "blocks.0.att.key.lora_magnitude_vector", WIDTH, 0 } },
	  1,
	  RWKVK_ERROR_FILE,
	  "expected lora_A and lora_B beside blocks.0.att.key.lora_magnitude_vector, found neither" },
	{ { { "blocks.0.att.key.lora_M", RANK, WIDTH } },
	  1,
	  RWKVK_ERROR_UNSUPPORTED,
	  "tensor blocks.0.att.key.lora_M is part of an adapter of a kind that cannot be merged; expected LoRA, DoRA, PiSSA, bone, "
	  "disha or "
	  "miss" },
	{ { { "blocks.0.att.key.lora_B.bias", WIDTH, 0 } },
	  1,
	  RWKVK_ERROR_UNSUPPORTED,
	  "tensor blocks.0.att.key.lora_B.bias is part of an adapter of a kind that cannot be merged" },
	{ { { "blocks.0.att.key.disha", RANK, 30 } }, 0, RWKVK_ERROR_FILE, "tensor blocks.0.att.key.disha has the shape [4, 30]" },
	{ { { "blocks.0.att.key.disha", RANK, WIDTH } },
	  2,
	  RWKVK_ERROR_FILE,
	  "expected no scale with blocks.0.att.key.disha, which has none, found 2" },
	{ { { "blocks.0.ln1.weight", 31, 0 } },
	  1,
	  RWKVK_ERROR_FILE,
	  "tensor blocks.0.ln1.weight has the shape [31], which does not fit blocks.0.ln1.weight of " },
	{ { { "blocks.0.att.unheard_of", 31, 0 } },
	  1,
	  RWKVK_ERROR_FILE,
	  "tensor blocks.0.att.unheard_of is for blocks.0.att.unheard_of, which " },
	{ { { "blocks.0.att.key.lora_A", RANK, WIDTH },
	    { "blocks.0.att.key.lora_B", WIDTH, RANK },
	    { "blocks.0.att.key.lora_A.default", RANK, WIDTH } },
	  1,
	  RWKVK_ERROR_FILE,
	  "expected one adapter of blocks.0.att.key, found two tensors for the same part of it" },
	{ { { "blocks.0.att.key.lora_A", RANK, WIDTH },
	    { "blocks.0.att.key.lora_B", WIDTH, RANK },
	    { "blocks.0.att.key.alpha", 3, 0 } },
	  0,
	  RWKVK_ERROR_FILE,
	  "expected tensor blocks.0.att.key.alpha to be one number, found the shape [3]" },
	{ { { "layers.0.attn.x_proj.0.linear.lora_A", RANK, WIDTH }, { "layers.0.attn.x_proj.0.linear.lora_B", WIDTH, RANK } },
	  1,
	  RWKVK_ERROR_FILE,
	  "tensor layers.0.attn.x_proj.0.linear.lora_B has the shape [32, 4], which does not fit blocks.0.att.time_maa_w1 of " },
	{ { { "layers.0.attn.x_bias.lora_A", RANK, WIDTH }, { "layers.0.attn.x_bias.lora_B", 5, RANK } },
	  1,
	  RWKVK_ERROR_UNSUPPORTED,
	  "adapters of layers.0.attn.x_bias, which holds several tensors of the model" },
};

static void write_adapter(const char *path, const struct part *parts)
{
	struct list *list = calloc(1, sizeof *list);
	uint64_t seed = 5;
	assert_non_null(list);
	for (int i = 0; i < 3 && parts[i].name; i++) {
		struct list_item *item = add(list, parts[i].rows, parts[i].columns ? parts[i].columns : 1);
		item->rank = parts[i].columns ? 2 : 1;
		snprintf(item->name, sizeof item->name, "%s", parts[i].name);
		fill(item, &seed);
	}
	struct file_bytes bytes = write_safetensors(list, DTYPE_F32);
	test_write_file(path, bytes.data, bytes.bytes);
	free(bytes.data);
	list_free(list);
}

static void refused(void **state)
{
	(void)state;
	const char *path = test_temp("lora.safetensors");
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		struct list *model = list_official(strncmp(refusals[i].parts[0].name, "layers.", 7) ? "7" : "6", &sizes);
		const char *base = write_file("base.safetensors", write_safetensors(model, DTYPE_F32));
		const rwkvk_lora lora = { .size = sizeof lora, .path = path, .scale = refusals[i].scale };
		struct rwkvk_file file;
		struct reports reports;
		list_free(model);
		write_adapter(path, refusals[i].parts);
		assert_fails(open_with(base, RWKVK_QUANT_NONE, &lora, 1, &reports, &file), refusals[i].status, refusals[i].text);
	}
}

static void refused_options(void **state)
{
	(void)state;
	struct rwkvk_file file;
	struct reports reports;
	const char *const model = LORA_DATA "/model.safetensors";
	assert_fails(open_with(model, RWKVK_QUANT_NONE, &(rwkvk_lora){ .scale = 1 }, 1, &reports, &file), RWKVK_ERROR_ARGUMENT,
	             "rwkvk_model_options.lora: expected a path in each of 1 adapters, found none in number 0");
	assert_fails(open_with(model, RWKVK_QUANT_NONE, &(rwkvk_lora){ .path = model, .scale = NAN }, 1, &reports, &file),
	             RWKVK_ERROR_ARGUMENT, "expected a scale that is a number");
	assert_fails(
		open_with(model, RWKVK_QUANT_NONE, &(rwkvk_lora){ .path = LORA_DATA "/peft/adapter_config.json" }, 1, &reports, &file),
		RWKVK_ERROR_FILE, "adapter_config.json: expected a model, or an index of one with a \"weight_map\" of tensors");
}

/* ---------------------------------------------------------------------------------------------------- the config */

static const struct {
	const char *json;
	rwkvk_status status;
	const char *text;
} configs[] = {
	{ "{\"peft_type\": \"IA3\"}", RWKVK_ERROR_UNSUPPORTED, "expected the \"peft_type\" LORA, BONE or MISS, found \"IA3\"" },
	{ "{}", RWKVK_ERROR_FILE, "expected a \"peft_type\" such as \"LORA\", found none" },
	{ "[]", RWKVK_ERROR_FILE, "expected a JSON object" },
	{ "{\"peft_type\": \"LORA\", \"lora_alpha\": \"8\"}", RWKVK_ERROR_FILE, "expected \"lora_alpha\" to be a number" },
	{ "{\"peft_type\": \"LORA\", \"init_lora_weights\": \"pissa_niter_4\"}", RWKVK_ERROR_UNSUPPORTED,
	  "\"init_lora_weights\" is \"pissa_niter_4\", which has changed the model that the adapter is for" },
	{ "{\"peft_type\": \"LORA\", \"layer_replication\": [[0, 4]]}", RWKVK_ERROR_UNSUPPORTED,
	  "\"layer_replication\" is set, which cannot be merged" },
	{ "{\"peft_type\": \"LORA\", \"lora_alpha\": 8, \"alpha_pattern\": {\"a.*b\": 2}}", RWKVK_ERROR_UNSUPPORTED,
	  "expected names of modules in \"alpha_pattern\", found the regular expression \"a.*b\"" },
	{ "{\"peft_type\": \"LORA\", \"lora_alpha\": 8, \"alpha_pattern\": {\"b\": -2}}", RWKVK_ERROR_FILE,
	  "expected \"b\" to be a number" },
};

static void refused_configs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
		struct adapter_config config;
		const struct mapping file = { .data = (const uint8_t *)configs[i].json, .bytes = strlen(configs[i].json) };
		assert_fails(adapter_config_parse("adapter_config.json", &file, &config), configs[i].status, configs[i].text);
		assert_int_equal(config.alpha_count, 0);
	}
}

/* What is shown of a tensor. */
static void changes_are_described(void **state)
{
	(void)state;
	const rwkvk_lora lora[] = { { .size = sizeof *lora, .path = LORA_DATA "/peft", .scale = 0.5f },
		                        { .size = sizeof *lora, .path = LORA_DATA "/rwkv_peft.safetensors", .scale = 1 } };
	const rwkvk_model_options options = {
		.size = sizeof options, .path = LORA_DATA "/model.safetensors", .lora = lora, .lora_count = 2
	};
	static const char *const wants[][2] = {
		{ "blocks.0.att.receptance.weight", "LoRA of rank 5, scale 0.5" },
		{ "blocks.0.att.key.weight", "LoRA of rank 5, scale 0.5; PiSSA of rank 4, scale 1" },
		{ "blocks.0.ffn.value.weight", "DoRA of rank 1, scale 0.5" },
		{ "blocks.0.ffn.key.weight", "bone of 4" },
		{ "blocks.1.att.output.weight", "LoRA of rank 5, scale 0.5; bone, blocks of 8" },
		{ "blocks.1.att.w1", "LoRA of rank 2, scale 0.5" },
		{ "blocks.0.att.x_r", "replaced" },
		{ "ln_out.weight", "replaced" },
		{ "blocks.0.att.x_w", NULL },
	};
	rwkvk_file *file;
	size_t found = 0;
	assert_ok(rwkvk_file_open(&options, &file));
	rwkvk_tensor_info info = { .size = sizeof info };
	for (size_t i = 0; rwkvk_file_tensor(file, i, &info); i++)
		for (size_t j = 0; j < sizeof wants / sizeof *wants; j++)
			if (strcmp(info.official_name, wants[j][0]) == 0) {
				found++;
				if (wants[j][1])
					assert_string_equal(info.change, wants[j][1]);
				else
					assert_null(info.change);
			}
	assert_int_equal(found, sizeof wants / sizeof *wants);
	rwkvk_file_close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_numpy_merges),
		cmocka_unit_test(every_version),
		cmocka_unit_test(every_layout),
		cmocka_unit_test(written_as_merged),
		cmocka_unit_test(rescaled_files),
		cmocka_unit_test(quantised_files),
		cmocka_unit_test(model_and_adapter_in_one),
		cmocka_unit_test(model_and_adapter_in_several),
		cmocka_unit_test(factors_of_fla),
		cmocka_unit_test(alpha_is_found),
		cmocka_unit_test(alpha_is_no_number),
		cmocka_unit_test(refused),
		cmocka_unit_test(tied_heads),
		cmocka_unit_test(new_tensors),
		cmocka_unit_test(turned_factors),
		cmocka_unit_test(blocks_of_rows),
		cmocka_unit_test(refused_options),
		cmocka_unit_test(refused_configs),
		cmocka_unit_test(changes_are_described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
