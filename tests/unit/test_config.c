/* From a file to a network, without a device: which number formats a model may have, which tensors it must have, and what they
 * become on a device. */
#include "make_files.h"
#include "make_model.h"
#include "support.h"

#include <stdio.h>

#include "network/outline.h"

static const struct model_spec spec = { .layers = 1,
	                                    .width = 256,
	                                    .head_size = 64,
	                                    .ffn = 256,
	                                    .vocab = 64,
	                                    .rank_decay = 32,
	                                    .rank_iclr = 32,
	                                    .rank_gate = 32,
	                                    .rank_value = 32,
	                                    .seed = 1 };

static void open_as(enum dtype type, enum dtype lora_type)
{
	struct model_spec made = spec;
	struct rwkvk_file file;
	const char *path = test_temp("typed.gguf");
	made.type = type;
	made.lora_type = lora_type;
	make_model(path, &made);
	assert_ok(file_init(&(rwkvk_model_options){ .path = path }, &file));
	assert_int_equal(file.network.emb->type, type);
	assert_int_equal(file.network.layers[0].w1->type, lora_type);
	file_finish(&file);
}

static void test_types(void **state)
{
	(void)state;
	for (enum dtype type = 0; type < DTYPE_COUNT; type++)
		if (dtype_is_encodable(type))
			open_as(type, DTYPE_F16);
	open_as(DTYPE_F16, DTYPE_Q4_0);
}

/* ---------------------------------------------------------------------------------------------------- tensors */

static const struct list_sizes sizes = { .vocab = 7, .width = 12, .head_size = 4, .ffn = 20, .layers = 2, .rank = 5 };

/* As the file x.st, whose bytes live until the next call. */
static rwkvk_status open_list(const struct list *list, struct rwkvk_file *file)
{
	static struct file_bytes bytes;
	free(bytes.data);
	bytes = write_safetensors(list, DTYPE_F32);
	return file_init(&(rwkvk_model_options){ .path = "x.st", .data = bytes.data, .data_bytes = bytes.bytes }, file);
}

/* A model without the tensor of that name.  `also`: another missing tensor, or NULL; the text is the whole message. */
static void lacks(const char *version, const char *name, const char *also, const char *text)
{
	struct list *list = list_official(version, &sizes);
	struct rwkvk_file file;
	for (int i = 0; i < 2; i++) {
		struct list_item *item = (i ? also : name) ? list_find(list, i ? also : name) : NULL;
		if (item)
			snprintf(item->name, sizeof item->name, "other%d", i);
		else if (i ? also : name)
			fail_msg("RWKV-%s has no tensor %s to leave out", version, i ? also : name);
	}
	rwkvk_status status = open_list(list, &file);
	if (status != RWKVK_ERROR_FILE || strcmp(rwkvk_last_error(), text) != 0)
		fail_msg("RWKV-%s without %s: status %s, text: %s; wanted: %s", version, name, rwkvk_status_name(status),
		         status == RWKVK_OK ? "" : rwkvk_last_error(), text);
	list_free(list);
}

static void test_missing(void **state)
{
	(void)state;
#define MISSING(tensor, version)                                                                                               \
	"x.st: tensor " tensor " is missing; expected an RWKV-" version " model with all of its tensors"
	lacks("6", "blocks.0.att.time_faaaa", "blocks.1.att.time_faaaa", MISSING("blocks.0.att.time_faaaa", "6"));
	lacks("6", "blocks.0.att.time_faaaa", NULL, MISSING("blocks.0.att.time_faaaa", "6"));
	lacks("6", "blocks.1.att.time_faaaa", NULL, MISSING("blocks.1.att.time_faaaa", "6"));
	lacks("6", "blocks.1.att.time_decay", NULL, MISSING("blocks.1.att.time_decay", "6"));
	lacks("6", "blocks.0.att.time_decay_w1", NULL, MISSING("blocks.0.att.time_decay_w1", "6"));
	lacks("5.0", "blocks.0.att.time_first", "blocks.1.att.time_first", MISSING("blocks.0.att.time_first", "5.0"));
	lacks("5.1", "blocks.0.att.time_faaaa", "blocks.1.att.time_faaaa", MISSING("blocks.0.att.time_first", "5.1"));
	lacks("5.2", "blocks.0.att.time_faaaa", "blocks.1.att.time_faaaa", MISSING("blocks.0.att.time_faaaa", "5.2"));
	lacks("5.2", "blocks.1.att.time_faaaa", NULL, MISSING("blocks.1.att.time_faaaa", "5.2"));
	lacks("5.2", "blocks.0.att.time_decay", "blocks.1.att.time_decay", MISSING("blocks.0.att.time_decay", "5.1"));
	lacks("4", "blocks.1.att.time_first", NULL, MISSING("blocks.1.att.time_first", "4"));
	lacks("7", "blocks.0.att.r_k", NULL, MISSING("blocks.0.att.r_k", "7"));
	lacks("7", "blocks.1.att.v1", NULL, MISSING("blocks.1.att.v1", "7"));
	lacks("7", "blocks.0.ln0.bias", NULL, MISSING("blocks.0.ln0.bias", "7"));
	/* of none of a version's own tensors nothing remains but what another has */
	lacks("7", "blocks.0.att.r_k", "blocks.1.att.r_k", MISSING("blocks.0.att.time_decay", "5.0"));
	lacks("6", "blocks.0.att.time_maa_x", "blocks.1.att.time_maa_x", MISSING("blocks.0.att.time_mix_r", "5.2"));
	lacks("4", "blocks.0.att.time_decay", "blocks.1.att.time_decay",
	      "x.st: expected an RWKV model, found 42 tensors without any of att.time_decay, att.time_maa_x and att.r_k; the first "
	      "is "
	      "emb.weight");
}

/* ---------------------------------------------------------------------------------------------------- forms */

/* The pieces of RWKV-5 and 6 that come in several forms, and what version they make. */
static void test_forms(void **state)
{
	(void)state;
	struct rwkvk_file file;
	struct list *list = list_official("5.2", &sizes); /* [H,N] and, for the bonus, its logarithm for each head */
	for (int layer = 0; layer < 2; layer++) {
		char name[64];
		snprintf(name, sizeof name, "blocks.%d.att.time_faaaa", layer);
		struct list_item *item = list_find(list, name);
		item->count = item->shape[0];
		item->rank = 1;
		strcpy(strstr(item->name, "time_faaaa"), "time_first");
	}
	assert_ok(open_list(list, &file));
	assert_int_equal(file.network.config.version, 52);
	assert_int_equal(file.network.config.head_size, 4);
	assert_string_equal(file.network.layers[1].bonus->name, "blocks.1.att.time_first");
	file_finish(&file);
	list_free(list);

	list = list_official("5.1", &sizes); /* a .st file has them per channel, which makes it a 5.2 */
	list_to_web(list, "5.1", &sizes);
	assert_ok(open_list(list, &file));
	assert_int_equal(file.network.config.version, 52);
	assert_string_equal(file.network.layers[1].bonus->name, "blocks.1.att.time_faaaa");
	file_finish(&file);
	list_free(list);
}

static void test_wrong_bonus(void **state)
{
	(void)state;
	struct rwkvk_file file;
	struct list *list = list_official("5.2", &sizes);
	struct list_item *item = list_find(list, "blocks.1.att.time_faaaa");
	item->count = 8; /* neither a number a head nor one a channel */
	item->shape[0] = 2;
	assert_fails(open_list(list, &file), RWKVK_ERROR_FILE,
	             "x.st: tensor blocks.1.att.time_faaaa: expected shape [12], found [2, 4]");
	list_free(list);
}

/* ---------------------------------------------------------------------------------------------------- ffnPre */

static struct list *with_pre(void)
{
	struct list_sizes pre = sizes;
	pre.pre = true;
	return list_official("4", &pre);
}

static void test_ffn_pre(void **state)
{
	(void)state;
	for (int lower = 0; lower < 2; lower++) {
		struct list *list = with_pre();
		struct rwkvk_file file;
		if (lower)
			list_to_web(list, "4", &sizes);
		assert_ok(open_list(list, &file));
		assert_int_equal(file.network.config.version, 40);
		assert_string_equal(file.network.layers[0].pre_key->file_name,
		                    lower ? "blocks.0.ffnpre.key.weight" : "blocks.0.ffnPre.key.weight");
		assert_null(file.network.layers[0].receptance);
		assert_null(file.network.layers[1].pre_key);
		file_finish(&file);
		list_free(list);
	}
}

/* Both spellings, one of them in another layer, in another version. */
static void test_wrong_ffn_pre(void **state)
{
	(void)state;
	struct rwkvk_file file;
	struct list *list = with_pre();
	struct list_item *item = list_find(list, "blocks.1.ln1.bias");
	strcpy(item->name, "blocks.0.ffnpre.key.weight");
	assert_fails(
		open_list(list, &file), RWKVK_ERROR_FILE,
		"x.st: expected every tensor once, found two for blocks.0.ffnPre.key.weight (\"blocks.0.ffnPre.key.weight\" and "
		"\"blocks.0.ffnpre.key.weight\")");
	list_free(list);

	list = with_pre();
	strcpy(list_find(list, "blocks.0.ffnPre.value.weight")->name, "other");
	assert_fails(open_list(list, &file), RWKVK_ERROR_FILE,
	             "x.st: tensor blocks.0.ffnPre.value.weight is missing; expected an RWKV-4 model with all of its tensors");
	list_free(list);

	static const struct {
		const char *version;
		int layer;
	} cases[] = { { "4", 1 }, { "5.2", 0 }, { "6", 1 }, { "7", 0 } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[64], text[256];
		list = list_official(cases[i].version, &sizes);
		snprintf(name, sizeof name, "blocks.%d.att.key.weight", cases[i].layer);
		item = list_find(list, name);
		snprintf(item->name, sizeof item->name, "blocks.%d.ffnPre.key.weight", cases[i].layer);
		snprintf(text, sizeof text, "x.st: expected ffnPre in layer 0 of an RWKV-4 model only, found %s in an RWKV-%s model",
		         item->name, cases[i].version);
		assert_fails(open_list(list, &file), RWKVK_ERROR_UNSUPPORTED, text);
		list_free(list);
	}
}

/* GGUF has no names for it. */
static void test_ffn_pre_in_gguf(void **state)
{
	(void)state;
	struct rwkvk_file file;
	struct list *list = with_pre();
	const char *path = test_temp("pre.gguf");
	list_to_gguf(list, "4", false);
	write_gguf(path, list, "rwkv4", 0, 0);
	assert_fails(
		file_init(&(rwkvk_model_options){ .path = path }, &file), RWKVK_ERROR_FILE,
		"pre.gguf: tensor blocks.0.att.receptance.weight is missing; expected an RWKV-4 model with all of its tensors");
	list_free(list);
}

/* ------------------------------------------------------------------------------------------------------ on the device */

static const struct model_spec two_layers = { .layers = 2,
	                                          .width = 256,
	                                          .head_size = 64,
	                                          .ffn = 256,
	                                          .vocab = 64,
	                                          .rank_decay = 32,
	                                          .rank_iclr = 32,
	                                          .rank_gate = 32,
	                                          .rank_value = 32,
	                                          .seed = 1 };

/* The device's type of this tensor; "" if the file has no such tensor, "-" if it is not used. */
static const char *type_on_device(const rwkvk_file *file, const char *name)
{
	rwkvk_tensor_info info = { 0 };
	for (size_t i = 0; rwkvk_file_tensor(file, i, &info); i++)
		if (strcmp(info.name, name) == 0)
			return info.device_type ? info.device_type : "-";
	return "";
}

static rwkvk_file *open_two_layers(const struct model_spec *model, rwkvk_quant quant)
{
	rwkvk_file *file;
	const char *path = test_temp("layers.gguf");
	make_model(path, model);
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path, .quant = quant }, &file));
	return file;
}

/* The presets, as docs/quantisation.md has them. */
static void test_presets(void **state)
{
	(void)state;
	static const struct {
		rwkvk_quant quant;
		const char *projection, *first_output, *ffn_key, *ffn_value, *table;
	} rows[] = {
		{ RWKVK_QUANT_NONE, "BF16", "BF16", "BF16", "BF16", "BF16" },
		{ RWKVK_QUANT_F16, "F16", "F16", "F16", "F16", "F16" },
		{ RWKVK_QUANT_Q8, "Q8", "Q8", "Q8", "Q8", "Q8" },
		{ RWKVK_QUANT_Q6, "Q6K", "Q8", "Q8", "Q6K", "Q6K" },
		{ RWKVK_QUANT_Q5, "Q5K", "Q8", "Q6K", "Q5K", "Q6K" },
		{ RWKVK_QUANT_Q4, "Q4K", "Q8", "Q5K", "Q4K", "Q6K" },
	};
	struct model_spec model = two_layers;
	model.type = DTYPE_BF16;
	model.lora_type = DTYPE_F16;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		rwkvk_file *file = open_two_layers(&model, rows[i].quant);
		assert_string_equal(type_on_device(file, "token_embd.weight"), rows[i].table);
		assert_string_equal(type_on_device(file, "output.weight"), rows[i].table);
		assert_string_equal(type_on_device(file, "blk.0.time_mix_output.weight"), rows[i].first_output);
		assert_string_equal(type_on_device(file, "blk.1.time_mix_output.weight"), rows[i].projection);
		assert_string_equal(type_on_device(file, "blk.0.time_mix_key.weight"), rows[i].projection);
		assert_string_equal(type_on_device(file, "blk.1.channel_mix_key.weight"), rows[i].ffn_key);
		assert_string_equal(type_on_device(file, "blk.1.channel_mix_value.weight"), rows[i].ffn_value);
		/* small ones stay as they are, LoRA factors too */
		assert_string_equal(type_on_device(file, "blk.1.time_mix_w1.weight"), "F16");
		assert_string_equal(type_on_device(file, "blk.1.time_mix_v2.weight"), "F16");
		assert_string_equal(type_on_device(file, "blk.1.time_mix_w0.weight"), "F32");
		assert_string_equal(type_on_device(file, "output_norm.weight"), "F32");
		rwkvk_file_close(file);
	}
}

/* Tensors quantised in the file keep their types; outer LoRA factors of block types are widened. */
static void test_quantised_stays(void **state)
{
	(void)state;
	struct model_spec model = two_layers;
	model.type = DTYPE_Q5_K;
	model.lora_type = DTYPE_Q8_0;
	rwkvk_file *file = open_two_layers(&model, RWKVK_QUANT_Q4);
	assert_string_equal(type_on_device(file, "blk.0.time_mix_output.weight"), "Q5K");
	assert_string_equal(type_on_device(file, "blk.0.channel_mix_value.weight"), "Q5K");
	assert_string_equal(type_on_device(file, "output.weight"), "Q5K");
	assert_string_equal(type_on_device(file, "blk.0.time_mix_a1.weight"), "Q8");
	assert_string_equal(type_on_device(file, "blk.0.time_mix_a2.weight"), "F32");
	rwkvk_file_close(file);
}

/* A tensor that no network uses, and a trained start state. */
static void test_unused(void **state)
{
	(void)state;
	struct rwkvk_file file;
	const char *path = test_temp("typed.gguf");
	make_model(path, &spec);
	assert_ok(file_init(&(rwkvk_model_options){ .path = path }, &file));
	struct tensor stray = { .name = (char *)"blocks.0.att.note", .type = DTYPE_F32, .rank = 1, .shape = { 256 } };
	assert_null(outline_type(&file.network, RWKVK_QUANT_NONE, &stray));
	stray.name = (char *)"blocks.0.att.time_state";
	stray.file_name = stray.name;
	assert_ok(weights_append(&file.weights, &stray)); /* moves the tensors, but only their names are needed below */
	rwkvk_tensor_info info = { 0 };
	assert_true(rwkvk_file_tensor(&file, file.weights.count - 1, &info));
	assert_string_equal(info.device_type, "F32");
	file_finish(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),           cmocka_unit_test(test_missing), cmocka_unit_test(test_forms),
		cmocka_unit_test(test_wrong_bonus),     cmocka_unit_test(test_ffn_pre), cmocka_unit_test(test_wrong_ffn_pre),
		cmocka_unit_test(test_ffn_pre_in_gguf), cmocka_unit_test(test_presets), cmocka_unit_test(test_quantised_stays),
		cmocka_unit_test(test_unused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
