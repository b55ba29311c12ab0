/* Opens model files without a device: which are refused, what is reported, and that it is reported only once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "make_files.h"
#include "make_model.h"
#include "rwkvk.h"
#include "rwkvk_tools.h"
#include "support.h"

static const struct model_spec small = {
	.layers = 1,
	.width = 16,
	.head_size = 16,
	.ffn = 32,
	.vocab = 600,
	.rank_decay = 8,
	.rank_iclr = 8,
	.rank_gate = 8,
	.rank_value = 8,
	.seed = 1,
};

/* ---------------------------------------------------------------------------------------------------- reports */

struct reports {
	int count;
	char last[2048];
};

static void keep(void *user, rwkvk_log_level level, const char *text)
{
	struct reports *r = user;
	assert_int_equal(level, RWKVK_LOG_WARNING);
	r->count++;
	snprintf(r->last, sizeof r->last, "%s", text);
}

/* Opens the file and closes it. */
static rwkvk_status open_file(const char *path, const char *vocab, struct reports *reports)
{
	rwkvk_file *file;
	*reports = (struct reports){ 0 };
	const rwkvk_model_options options = { .path = path, .vocab = vocab, .log = keep, .log_user = reports };
	rwkvk_status status = rwkvk_file_open(&options, &file);
	if (status == RWKVK_OK)
		rwkvk_file_close(file);
	return status;
}

static void assert_silent(const char *path, const char *vocab)
{
	struct reports reports;
	assert_ok(open_file(path, vocab, &reports));
	if (reports.count)
		fail_msg("%s: expected no report, got: %s", path, reports.last);
}

static void assert_reports(const char *path, const char *vocab, const char *text)
{
	struct reports reports;
	assert_ok(open_file(path, vocab, &reports));
	assert_int_equal(reports.count, 1);
	if (!strstr(reports.last, text))
		fail_msg("expected a report of \"%s\", got: %s", text, reports.last);
}

static void assert_refused(const char *path, const char *vocab, const char *text)
{
	struct reports reports;
	assert_fails(open_file(path, vocab, &reports), RWKVK_ERROR_FILE, text);
	assert_int_equal(reports.count, 0);
}

/* ---------------------------------------------------------------------------------------------------- vocabularies */

/* The ids from 1 on, texts as in a file that make_model() writes. */
static const char *write_vocab(const char *name, int count)
{
	const char *path = test_temp(name);
	char *text = calloc((size_t)count + 1, 32);
	size_t n = 0;
	for (int id = 1; id < count; id++)
		n += (size_t)sprintf(text + n, id == 98 ? "%d 'b' 1\n" : "%d '<%d>' %d\n", id, id, id < 10 ? 3 : id < 100 ? 4 : 5);
	test_write_file(path, text, n);
	free(text);
	return path;
}

static void own_vocabulary(void **state)
{
	(void)state;
	struct model_spec spec = small;
	const char *path = test_temp("own.gguf"), *same, *other, *short_one, *long_one;
	spec.listed = 590;
	make_model(path, &spec);
	assert_silent(path, NULL);
	same = write_vocab("same.txt", 590);
	other = write_vocab("other.txt", 580);
	short_one = write_vocab("short.txt", 512);
	long_one = write_vocab("long.txt", 602);
	assert_silent(path, same);
	assert_reports(path, other, "other.txt: is used instead of the vocabulary in ");
	assert_refused(path, short_one, "short.txt: is another model's vocabulary: it has 512 ids, ");
	test_assert_error_contains("own.gguf has 600; the one that fits is the file's own, without rwkvk_model_options.vocab",
	                           __FILE__, __LINE__);
	assert_refused(path, long_one, "long.txt: is another model's vocabulary: its ids go up to 601, those of ");
	spec.listed = 0;
	make_model(path, &spec);
	assert_silent(path, NULL);
	assert_silent(path, other);
	assert_refused(path, short_one, "own.gguf has 600; give the one that the model was trained with");
}

/* The file's own vocabulary is used even if it covers little, and so is an equal one. */
static void own_vocabulary_covers_little(void **state)
{
	(void)state;
	struct model_spec spec = small;
	const char *path = test_temp("little.gguf");
	spec.listed = 100;
	make_model(path, &spec);
	assert_reports(path, NULL, "little.gguf: its vocabulary has 100 ids, the model 600: the others have no text");
	assert_reports(path, write_vocab("little.txt", 100), "little.gguf: its vocabulary has 100 ids, the model 600");
	spec.listed = 602;
	make_model(path, &spec);
	assert_refused(path, NULL, "little.gguf: is another model's vocabulary: its ids go up to 601, those of ");
}

/* A vocabulary that cannot be read can be replaced. */
static void own_vocabulary_is_broken(void **state)
{
	(void)state;
	struct model_spec spec = small;
	const char *path = test_temp("broken.gguf");
	size_t bytes;
	spec.listed = 590;
	make_model(path, &spec);
	uint8_t *data = test_read_file(path, &bytes);
	for (size_t i = 0; i + 4 <= bytes; i++)
		if (memcmp(data + i, "<7>", 3) == 0) {
			memcpy(data + i, "\\q>", 3);
			break;
		}
	test_write_file(path, data, bytes);
	free(data);
	assert_refused(path, NULL, "token 7 of tokenizer.ggml.tokens");
	assert_reports(path, write_vocab("good.txt", 590), "good.txt: is used instead of the vocabulary in ");
}

/* ---------------------------------------------------------------------------------------------------- tensors */

static const struct list_sizes sizes = { .vocab = 20, .width = 16, .head_size = 8, .ffn = 32, .layers = 2, .rank = 4 };
static const char *const versions[] = { "4", "5.0", "5.1", "5.2", "6", "7" };
enum { VERSIONS = sizeof versions / sizeof *versions };

static void add_item(struct list *list, const char *name, uint64_t count)
{
	struct list_item *item = &list->items[list->count++];
	*item = (struct list_item){ .rank = 1, .shape = { count }, .count = count, .values = calloc(count, sizeof(float)) };
	snprintf(item->name, sizeof item->name, "%s", name);
}

static const char *write_list(const char *name, struct list *list)
{
	const char *path = test_temp(name);
	struct file_bytes bytes = write_safetensors(list, DTYPE_F32);
	test_write_file(path, bytes.data, bytes.bytes);
	free(bytes.data);
	list_free(list);
	return path;
}

/* The model of that version with one more tensor. */
static const char *write_with(const char *version, const char *name)
{
	struct list *list = list_official(version, &sizes);
	add_item(list, name, 4);
	return write_list("with.safetensors", list);
}

static void whole_models(void **state)
{
	(void)state;
	struct list_sizes more = sizes;
	more.biases = true;
	for (int i = 0; i < VERSIONS; i++) {
		more.states = i > 0;
		assert_silent(write_list("official.safetensors", list_official(versions[i], &sizes)), NULL);
		assert_silent(write_list("more.safetensors", list_official(versions[i], &more)), NULL);
	}
	more.states = false;
	more.pre = true;
	assert_silent(write_list("pre.safetensors", list_official("4", &more)), NULL);
}

static void dummies(void **state)
{
	(void)state;
	assert_silent(write_with("7", "blocks.0.att.v1"), NULL);
	assert_reports(write_with("7", "blocks.0.att.v3"), NULL, "does not use 1 of its tensors (blocks.0.att.v3)");
	assert_reports(write_with("6", "blocks.0.att.v0"), NULL, "does not use 1 of its tensors (blocks.0.att.v0)");
}

static void unused(void **state)
{
	(void)state;
	for (int i = 0; i < VERSIONS; i++) {
		struct list *list = list_official(versions[i], &sizes);
		char text[128];
		add_item(list, "head_q.weight", 3);
		add_item(list, "blocks.1.att.unheard_of", 3);
		snprintf(text, sizeof text, "an RWKV-%s model does not use 2 of its tensors (head_q.weight, ...)", versions[i]);
		assert_reports(write_list("unused.safetensors", list), NULL, text);
	}
	/* of a layer that has ffnPre instead, and one that another tensor stands for */
	struct list_sizes pre = sizes;
	pre.pre = true;
	struct list *list = list_official("4", &pre);
	add_item(list, "blocks.0.att.key.weight", 3);
	assert_reports(write_list("pre.safetensors", list), NULL, "does not use 1 of its tensors (blocks.0.att.key.weight)");
}

static const char *const adapters[] = {
	"blocks.0.att.receptance.lora_A",
	"blocks.1.ffn.key.lora_B",
	"blocks.0.att.key.lora_M",
	"blocks.0.att.key.bone",
	"blocks.0.att.key.disha",
	"blocks.0.att.key.miss",
	"base_model.model.blocks.0.att.key.lora_A.default.weight",
	"base_model.model.blocks.0.att.key.lora_magnitude_vector",
	"blocks.0.att.key.lora_embedding_A",
	"blocks.0.att.key.weight.lora.0",
	"blocks.0.att.key.lora.1",
	"blocks.0.att.key.dora_scale",
	"blocks.0.att.key.hada_w1_a",
	"blocks.0.att.key.lokr_w1",
	"blocks.0.att.key.ia3_l",
	"blocks.0.att.key.oft_r",
	"blocks.0.att.key.vera_lambda_b",
	"blocks.0.adapters.0.weight",
};

static void refuse(const char *path, const char *name)
{
	struct reports reports;
	char text[200];
	snprintf(text, sizeof text, ": tensor %s is ", name);
	assert_fails(open_file(path, NULL, &reports), RWKVK_ERROR_UNSUPPORTED, text);
	snprintf(text, sizeof text, "have it ignored (rwkvk_model_options.names, a line: %s -)", name);
	test_assert_error_contains(text, __FILE__, __LINE__);
	assert_int_equal(reports.count, 0);
}

/* In a model, and as files of their own. */
static void adapters_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof adapters / sizeof *adapters; i++) {
		refuse(write_with(versions[i % VERSIONS], adapters[i]), adapters[i]);
		struct list *alone = calloc(1, sizeof *alone);
		add_item(alone, adapters[i], 4);
		refuse(write_list("alone.safetensors", alone), adapters[i]);
	}
	/* names that only look like it */
	assert_reports(write_with("7", "backbone.weight"), NULL, "backbone.weight");
	assert_reports(write_with("7", "blocks.0.att.loran"), NULL, "blocks.0.att.loran");
	assert_reports(write_with("7", "blocks.0.missing"), NULL, "blocks.0.missing");
}

static void adapters_can_be_ignored(void **state)
{
	(void)state;
	static const char lines[] = "*.lora_A - # on purpose\n";
	const char *names = test_temp("names.txt");
	test_write_file(names, lines, sizeof lines - 1);
	struct reports reports = { 0 };
	const rwkvk_model_options options = {
		.path = write_with("7", adapters[0]), .names = names, .log = keep, .log_user = &reports
	};
	rwkvk_file *file;
	assert_ok(rwkvk_file_open(&options, &file));
	rwkvk_file_close(file);
	assert_int_equal(reports.count, 0);
}

/* Checks a bias for every matrix that has a weight of its own. */
static void biases_are_refused(void **state)
{
	(void)state;
	for (int i = 0; i < VERSIONS; i++) {
		struct list *list = list_official(versions[i], &sizes);
		int found = 0;
		for (size_t j = 0; j < list->count; j++) {
			char name[96];
			size_t stem = strlen(list->items[j].name) - strlen(".weight");
			if (strcmp(list->items[j].name + stem, ".weight") != 0)
				continue;
			snprintf(name, sizeof name, "%.*s.bias", (int)stem, list->items[j].name);
			if (list_find(list, name) || strcmp(name, "head.bias") == 0 || strstr(name, ".att.output."))
				continue;
			refuse(write_with(versions[i], name), name);
			found++;
		}
		assert_true(found >= 11); /* emb, and 5 or more in each of two layers */
		list_free(list);
	}
}

/* Recognised by the file's own names if those differ. */
static void biases_of_other_names(void **state)
{
	(void)state;
	static const char bias[] = "model.layers.1.attn.w_lora.lora.0.bias";
	struct list *list = list_official("7", &sizes);
	list_to_fla(list, false);
	assert_silent(write_list("fla.safetensors", list), NULL);
	list = list_official("7", &sizes);
	list_to_fla(list, false);
	add_item(list, bias, 4);
	refuse(write_list("fla.safetensors", list), bias);
}

/* ---------------------------------------------------------------------------------------------------- Hugging Face's */

/* The model as fla has it, without its head where it is `tied`, in a folder with this config.json, NULL: without one. */
static const char *write_fla(const char *version, const char *config, bool tied)
{
	struct list *list = list_official(version, &sizes);
	const char *beside = test_temp("config.json");
	list_to_fla(list, false);
	if (tied) {
		struct list_item *head = list_find(list, "lm_head.weight");
		free(head->values);
		*head = list->items[--list->count];
	}
	remove(beside);
	if (config)
		test_write_file(beside, config, strlen(config));
	return write_list("fla.safetensors", list);
}

static float epsilon_of(const char *path, float option)
{
	rwkvk_file *file;
	rwkvk_model_info info = { .size = sizeof info };
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path, .group_norm_epsilon = option }, &file));
	assert_ok(rwkvk_file_get_info(file, &info));
	rwkvk_file_close(file);
	return info.group_norm_epsilon;
}

/* Heads are of 8. */
static void fla_has_its_epsilon(void **state)
{
	(void)state;
	assert_true(epsilon_of(write_fla("7", NULL, false), 0) == 8e-5f);
	assert_true(epsilon_of(write_fla("7", "{}", false), 0) == 8e-5f);
	assert_true(epsilon_of(write_fla("7", "{\"norm_eps\": 1e-5}", false), 0) == 8e-5f);
	assert_true(epsilon_of(write_fla("7", "{\"norm_eps\": 0.000025}", false), 0) == 2e-4f);
	assert_true(epsilon_of(write_fla("7", "{\"norm_eps\": 0.000025}", false), 3e-5f) == 3e-5f);
	assert_true(epsilon_of(write_fla("6", NULL, false), 0) == 64e-5f);
	assert_true(epsilon_of(write_fla("6", "{\"norm_eps\": 1e-5}", false), 0) == 1e-5f);
	assert_reports(write_fla("7", "{\"norm_eps\": 0.000025}", false), NULL,
	               "has norm_eps 2.5e-05: LayerNorm uses 1e-5 regardless");
	assert_silent(write_fla("7", "{\"norm_eps\": 1e-5}", false), NULL);
	remove(test_temp("config.json"));
}

/* Official names: files beside them are not theirs. */
static void other_files_have_no_config(void **state)
{
	(void)state;
	write_fla("7", "{\"norm_eps\": 0.000025}", false);
	assert_true(epsilon_of(write_list("official.safetensors", list_official("7", &sizes)), 0) == 64e-5f);
	write_fla("7", "{", false);
	assert_silent(write_list("official.safetensors", list_official("7", &sizes)), NULL);
	remove(test_temp("config.json"));
}

static void broken_configs(void **state)
{
	(void)state;
	static const struct {
		const char *config, *text;
	} cases[] = {
		{ "{", "config.json: expected JSON that configures the model beside it, found" },
		{ "[]", "config.json: expected a JSON object" },
		{ "{\"norm_eps\": \"1e-5\"}", "config.json: expected \"norm_eps\" to be a number from 1e-30 to 1" },
		{ "{\"norm_eps\": 0}", "expected \"norm_eps\" to be a number" },
		{ "{\"norm_eps\": -1e-5}", "expected \"norm_eps\" to be a number" },
		{ "{\"norm_eps\": 2}", "expected \"norm_eps\" to be a number" },
		{ "{\"tie_word_embeddings\": 1}", "expected \"tie_word_embeddings\" to be true or false" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_refused(write_fla("7", cases[i].config, false), NULL, cases[i].text);
	remove(test_temp("config.json"));
}

/* If the epsilon is not the usual one, written files of both formats have it. */
static void epsilons_are_carried(void **state)
{
	(void)state;
	const char *path = write_fla("7", NULL, true), *const outs[] = { test_temp("out.gguf"), test_temp("out.safetensors") };
	for (int i = 0; i < 2; i++) {
		rwkvk_file *file;
		assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file));
		assert_ok(rwkvk_file_export(file, outs[i], NULL));
		rwkvk_file_close(file);
		assert_true(epsilon_of(outs[i], 0) == 8e-5f);
		assert_true(epsilon_of(outs[i], 3e-5f) == 3e-5f);
	}
}

/* The value of our own key must be a number, whoever wrote it. */
static void broken_epsilons(void **state)
{
	(void)state;
	static const char *const values[] = { "0", "-1", "2", "x", "1e-5 ", "", "[]", "1e999" };
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		char header[256];
		uint64_t length = (uint64_t)snprintf(header + 8, sizeof header - 8,
		                                     "{\"__metadata__\":{\"rwkvk.group_norm_epsilon\":\"%s\"}}", values[i]);
		memcpy(header, &length, 8);
		const char *path = test_temp("epsilon.safetensors");
		test_write_file(path, header, 8 + length);
		bool good = strcmp(values[i], "1e-5 ") == 0; /* in JSON, blanks mean nothing */
		assert_refused(path, NULL,
		               good ? "expected an RWKV model" : "\"rwkvk.group_norm_epsilon\" in \"__metadata__\" to be a number");
	}
}

/* The parameters of a tied model, and whether its head has the embedding's numbers. */
static uint64_t check_tied(const char *path)
{
	rwkvk_file *file;
	rwkvk_model_info info = { .size = sizeof info };
	rwkvk_tensor_info tensor = { .size = sizeof tensor };
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file));
	assert_ok(rwkvk_file_get_info(file, &info));
	size_t heads = 0;
	for (size_t i = 0; rwkvk_file_tensor(file, i, &tensor); i++)
		heads += strcmp(tensor.official_name, "head.weight") == 0 && strstr(tensor.name, "emb");
	assert_int_equal(heads, 1);
	rwkvk_file_close(file);
	return info.parameters;
}

static const char *write_headless(const char *version, bool hugging_face)
{
	struct list *list = list_official(version, &sizes);
	if (hugging_face)
		list_to_hugging_face(list, version);
	struct list_item *head = list_find(list, "head.weight");
	free(head->values);
	*head = list->items[--list->count];
	return write_list("headless.safetensors", list);
}

static void heads_that_are_embeddings(void **state)
{
	(void)state;
	static const char missing[] = "tensor head.weight is missing", tied[] = "{\"tie_word_embeddings\": true}",
					  untied[] = "{\"tie_word_embeddings\": false}";
	rwkvk_file *file;
	rwkvk_model_info info = { .size = sizeof info };
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = write_fla("7", NULL, false) }, &file));
	assert_ok(rwkvk_file_get_info(file, &info));
	rwkvk_file_close(file);
	assert_int_equal(check_tied(write_fla("7", NULL, true)), info.parameters - sizes.vocab * sizes.width);
	check_tied(write_fla("6", NULL, true));
	check_tied(write_fla("7", tied, true));
	assert_refused(write_fla("7", untied, true), NULL, missing);
	remove(test_temp("config.json"));
	for (int i = 0; i < VERSIONS; i++) {
		if (*versions[i] != '7')
			check_tied(write_headless(versions[i], true));
		/* official names are of complete files, unless one beside them says otherwise */
		assert_refused(write_headless(versions[i], false), NULL, missing);
	}
	test_write_file(test_temp("config.json"), tied, strlen(tied));
	check_tied(write_headless("7", false));
	remove(test_temp("config.json"));
}

/* A hybrid model, whose layers 2 and 10 are attention; the names come in any order. */
static void attention_is_named(void **state)
{
	(void)state;
	static const char *const names[] = { "model.layers.10.attn.q_proj.weight", "model.layers.2.attn.q_proj.weight",
		                                 "model.layers.2.attn.k_proj.weight", "model.layers.2.attn.v_proj.weight",
		                                 "model.layers.2.attn.o_proj.weight" };
	struct list *list = list_official("7", &sizes);
	list_to_fla(list, false);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		add_item(list, names[i], 4);
	struct reports reports;
	assert_fails(
		open_file(write_list("hybrid.safetensors", list), NULL, &reports), RWKVK_ERROR_UNSUPPORTED,
		"layer 2 is attention (tensor model.layers.2.attn.q_proj.weight), as in hybrid models; expected RWKV layers only");

	/* the first two layers, so that nothing else tells what the model is */
	list = list_official("6", &sizes);
	list_to_fla(list, false);
	for (size_t i = 0; i < list->count; i++) {
		char *at = strstr(list->items[i].name, "layers.");
		if (at)
			at[7] += 2;
	}
	add_item(list, "model.layers.0.attn.q_proj.weight", 4);
	add_item(list, "model.layers.1.attn.q_proj.weight", 4);
	assert_fails(open_file(write_list("hybrid.safetensors", list), NULL, &reports), RWKVK_ERROR_UNSUPPORTED,
	             "layer 0 is attention (tensor model.layers.0.attn.q_proj.weight)");

	/* a model of nothing else is not an RWKV model */
	list = calloc(1, sizeof *list);
	add_item(list, "model.layers.0.attn.q_proj.weight", 4);
	assert_refused(write_list("attention.safetensors", list), NULL, "expected an RWKV model");
}

/* ---------------------------------------------------------------------------------------------------- foreign types */

/* Patches the dtype of a tensor of four floats, or of as many bytes as they have. */
static const char *write_foreign(const char *name, const char *dtype, uint64_t count)
{
	struct list *list = list_official("7", &sizes);
	if (!list_find(list, name))
		add_item(list, name, count);
	const char *path = write_list("foreign.safetensors", list);
	size_t bytes, length = strlen(name);
	uint8_t *data = test_read_file(path, &bytes);
	char *at = (char *)data + 8;
	while (strncmp(at, name, length) != 0 || at[length] != '"')
		at++;
	at = strstr(at, "F32");
	memcpy(at, dtype, 3);
	test_write_file(path, data, bytes);
	free(data);
	return path;
}

static void foreign_types(void **state)
{
	(void)state;
	static const char *const names[] = {
		"ln_out.weight", "blocks.1.att.key.weight", "blocks.0.att.w1", "blocks.0.att.x_r", "emb.weight",
		"head.bias",     "blocks.0.att.time_state"
	};
	assert_reports(write_foreign("steps", "I32", 4), NULL, "does not use 1 of its tensors (steps)");
	assert_reports(write_foreign("steps", "NEW", 4), NULL, "does not use 1 of its tensors (steps)");
	assert_silent(write_foreign("blocks.0.att.v0", "I32", 4), NULL);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct reports reports;
		char text[128];
		snprintf(text, sizeof text, "foreign.safetensors: tensor %s has the type I32; this version runs F32, ", names[i]);
		assert_fails(open_file(write_foreign(names[i], "I32", i == 5 ? sizes.vocab : 4), NULL, &reports),
		             RWKVK_ERROR_UNSUPPORTED, text);
	}
}

/* Tensors that a safetensors file cannot hold are skipped; the others stay as they are. */
static void foreign_types_are_copied(void **state)
{
	(void)state;
	struct reports reports = { 0 };
	const char *out = test_temp("copied.safetensors");
	const rwkvk_model_options options = { .path = write_foreign("steps", "I32", 4), .log = keep, .log_user = &reports };
	rwkvk_file *file;
	rwkvk_tensor_info info = { 0 };
	assert_ok(rwkvk_file_open(&options, &file));
	assert_ok(rwkvk_file_export(file, out, &(rwkvk_export_options){ .type = RWKVK_EXPORT_F16 }));
	rwkvk_file_close(file);
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = out }, &file));
	size_t i = 0;
	while (rwkvk_file_tensor(file, i, &info) && strcmp(info.name, "steps") != 0)
		i++;
	assert_string_equal(info.name, "steps");
	assert_string_equal(info.type, "I32");
	assert_int_equal(info.bytes, 16);
	assert_null(info.device_type);
	rwkvk_file_close(file);
}

/* ---------------------------------------------------------------------------------------------------- chat templates */

static void assert_chat(const char *path, rwkvk_chat_template want)
{
	rwkvk_file *file;
	rwkvk_chat_template chat = (rwkvk_chat_template)99;
	assert_ok(rwkvk_file_open(&(rwkvk_model_options){ .path = path }, &file));
	assert_ok(rwkvk_file_chat(file, &chat));
	assert_string_equal(rwkvk_chat_name(chat), rwkvk_chat_name(want));
	rwkvk_file_close(file);
}

/* Files that name no template get one by version and vocabulary. */
static void chat_templates(void **state)
{
	(void)state;
	static const struct {
		uint32_t version, vocab, listed;
		rwkvk_chat_template want;
	} cases[] = {
		{ 70, 65536, 0, RWKVK_CHAT_G1 },    { 70, 65536, 65530, RWKVK_CHAT_G1 }, { 60, 65536, 0, RWKVK_CHAT_WORLD },
		{ 40, 65530, 0, RWKVK_CHAT_WORLD }, { 40, 50277, 0, RWKVK_CHAT_PLAIN },  { 70, 600, 590, RWKVK_CHAT_PLAIN },
		{ 70, 256, 0, RWKVK_CHAT_PLAIN },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct model_spec spec = small;
		const char *path = test_temp(cases[i].version == 70 ? "chat.gguf" : "chat.safetensors");
		spec.version = cases[i].version;
		spec.vocab = cases[i].vocab;
		spec.listed = cases[i].listed;
		spec.rank_mix = 8;
		make_model(path, &spec);
		assert_chat(path, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_models),
		cmocka_unit_test(dummies),
		cmocka_unit_test(unused),
		cmocka_unit_test(adapters_are_refused),
		cmocka_unit_test(adapters_can_be_ignored),
		cmocka_unit_test(biases_are_refused),
		cmocka_unit_test(biases_of_other_names),
		cmocka_unit_test(fla_has_its_epsilon),
		cmocka_unit_test(other_files_have_no_config),
		cmocka_unit_test(broken_configs),
		cmocka_unit_test(epsilons_are_carried),
		cmocka_unit_test(broken_epsilons),
		cmocka_unit_test(heads_that_are_embeddings),
		cmocka_unit_test(attention_is_named),
		cmocka_unit_test(foreign_types),
		cmocka_unit_test(foreign_types_are_copied),
		cmocka_unit_test(own_vocabulary),
		cmocka_unit_test(own_vocabulary_covers_little),
		cmocka_unit_test(own_vocabulary_is_broken),
		cmocka_unit_test(chat_templates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
