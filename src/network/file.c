/* A model file without a device: opening it as the options say, and what the public interface shows of it. */
#include "network/outline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "base/structs.h"
#include "format/adapter.h"
#include "format/readers.h"
#include "network/trained_state.h"
#include "text/tokenizer.h"

/* ------------------------------------------------------------------------------------------------------ options */

static rwkvk_status check_numbers(const rwkvk_model_options *o)
{
	if ((unsigned)o->quant > RWKVK_QUANT_F16)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.quant is %d: expected a rwkvk_quant", (int)o->quant);
	if (!(o->group_norm_epsilon >= 0 && o->group_norm_epsilon <= 1))
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.group_norm_epsilon is %g: expected 0 to 1",
		            (double)o->group_norm_epsilon);
	return RWKVK_OK;
}

static rwkvk_status check_fd(const rwkvk_model_options *o)
{
	if (o->fd < 0)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.fd is %d: expected an open file's descriptor", o->fd);
	if (o->fd == 0 && (o->fd_offset || o->fd_length))
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.fd_offset or .fd_length is set without fd");
	if (o->fd && o->data)
		return fail(RWKVK_ERROR_ARGUMENT, "2 models: set rwkvk_model_options.fd or .data");
	return RWKVK_OK;
}

rwkvk_status read_model_options(const rwkvk_model_options *given, rwkvk_model_options *own, rwkvk_tools_options *tools)
{
	TRY(READ_OPTIONS(rwkvk_model_options, fd_length, given, own));
	TRY(READ_OPTIONS(rwkvk_tools_options, file, own->tools, tools));
	TRY(check_fd(own));
	int models = (own->path || own->data || own->fd) + (tools->shape != NULL) + (tools->file != NULL);
	if (models == 0)
		return fail(RWKVK_ERROR_ARGUMENT, "no model: set rwkvk_model_options.path, .data or .fd");
	if (models > 1)
		return fail(RWKVK_ERROR_ARGUMENT,
		            "%d models: rwkvk_tools_options.shape and .file replace rwkvk_model_options.path, .data and .fd", models);
	if (!own->data && own->data_bytes)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.data_bytes is %zu without data", own->data_bytes);
	REQUIRE(own->lora || own->lora_count == 0);
	return check_numbers(own);
}

/* ------------------------------------------------------------------------------------------------------ opening */

/* The file's own vocabulary is taken as it is, if the model has its ids. */
static rwkvk_status check_own(const struct rwkvk_file *file, const struct listener *listener)
{
	uint32_t vocab = file->network.config.vocab;
	if (tokenizer_size(file->tokenizer) > vocab)
		return tokenizer_fits(file->tokenizer, file->weights.path, vocab, NULL);
	if (!tokenizer_covers(file->tokenizer, vocab))
		report(listener, RWKVK_LOG_WARNING, "%s: its vocabulary has %u ids, the model %u: the others have no text",
		       file->weights.path, tokenizer_ids(file->tokenizer), vocab);
	return RWKVK_OK;
}

/* A vocabulary beside the file stands instead of its own, also where that cannot be read. */
static rwkvk_status check_given(const struct rwkvk_file *file, const char *vocab, const struct listener *listener)
{
	rwkvk_tokenizer *own = NULL;
	bool has_own = file->weights.metadata.token_count > 0;
	error_hold();
	rwkvk_status status = has_own ? tokenizer_from_metadata(&file->weights, &own) : RWKVK_OK;
	error_release();
	if (status == RWKVK_ERROR_MEMORY)
		return fail(status, "%s: no memory for its vocabulary", file->weights.path);
	bool same = own && tokenizer_equal(own, file->tokenizer);
	rwkvk_tokenizer_close(own);
	if (same)
		return check_own(file, listener);
	TRY(tokenizer_fits(file->tokenizer, file->weights.path, file->network.config.vocab,
	                   own ? "the file's own, without rwkvk_model_options.vocab" : NULL));
	if (has_own)
		report(listener, RWKVK_LOG_WARNING, "%s: is used instead of the vocabulary in %s, which differs", vocab,
		       file->weights.path);
	return RWKVK_OK;
}

static rwkvk_status open_tokenizer(const char *vocab, const struct listener *listener, struct rwkvk_file *file)
{
	if (vocab) {
		TRY(rwkvk_tokenizer_open(vocab, &file->tokenizer));
		return check_given(file, vocab, listener);
	}
	if (file->weights.metadata.token_count)
		TRY(tokenizer_from_metadata(&file->weights, &file->tokenizer));
	else if (file->network.config.vocab == 256)
		TRY(tokenizer_bytes(&file->tokenizer));
	return file->tokenizer ? check_own(file, listener) : RWKVK_OK;
}

/* What the file says, else what all of RWKV's vocabularies but that of bytes have. */
static rwkvk_status special_token(const struct rwkvk_file *file, const char *key, const struct listener *listener,
                                  uint32_t *out)
{
	const char *text = weights_text(&file->weights, key);
	char *end = NULL;
	unsigned long long id = text ? strtoull(text, &end, 10) : 0;
	*out = file->tokenizer && !tokenizer_zero_ends(file->tokenizer) ? RWKVK_NO_TOKEN : 0;
	if (!text)
		return RWKVK_OK;
	if (*text >= '0' && *text <= '9' && !*end && id < file->network.config.vocab)
		*out = (uint32_t)id;
	else
		report(listener, RWKVK_LOG_WARNING, "%s: %s is %s, which is not a token of this model: ignored", file->weights.path,
		       key, show_text(text, strlen(text)).text);
	return RWKVK_OK;
}

static rwkvk_status open_weights(const rwkvk_model_options *options, struct weights *out)
{
	rwkvk_tools_options tools;
	TRY(READ_OPTIONS(rwkvk_tools_options, file, options->tools, &tools));
	if (tools.shape)
		return synthetic_weights(tools.shape, tools.shape_type, out);
	if (options->fd)
		return weights_open_descriptor(
			&(struct descriptor){ .fd = options->fd, .offset = options->fd_offset, .bytes = options->fd_length }, options->path,
			options->read_file, options->names, out);
	if (options->read_file && !options->data)
		return weights_open_read(options->path, options->names, out);
	return weights_open(options->path ? options->path : "embedded model", options->data, options->data_bytes, options->names,
	                    out);
}

/* An array of structs, which steps by the size in its first one. */
static rwkvk_status read_lora(const rwkvk_model_options *options, size_t index, rwkvk_lora *out)
{
	size_t step = options->lora->size ? options->lora->size : sizeof *out;
	TRY(READ_OPTIONS(rwkvk_lora, reserved, (const uint8_t *)options->lora + index * step, out));
	if (!out->path)
		return fail(RWKVK_ERROR_ARGUMENT,
		            "rwkvk_model_options.lora: expected a path in each of %zu adapters, found none in number %zu",
		            options->lora_count, index);
	if (!isfinite(out->scale) || out->reserved)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_model_options.lora: %s: expected a scale that is a number, found %g",
		            out->path, (double)out->scale);
	return RWKVK_OK;
}

/* What the file has quantised gets other values, for which its own type may have too few bits. */
static void report_requantised(const struct rwkvk_file *file, const struct listener *listener)
{
	const struct tensor *first = NULL;
	size_t count = 0;
	for (size_t i = 0; i < file->weights.count && file->quant == RWKVK_QUANT_NONE; i++) {
		const struct tensor *tensor = &file->weights.tensors[i];
		const char *type = dtype_is_block(tensor->type) ? outline_type(&file->network, file->quant, tensor) : NULL;
		if (!type || strcmp(type, type_name(type_of_dtype(tensor->type))) == 0 || strcmp(type, type_name(TYPE_Q8)) != 0)
			continue;
		first = first ? first : tensor;
		count++;
	}
	if (count)
		report(listener, RWKVK_LOG_NOTE,
		       "%s: %zu quantised matrices (%s%s) become Q8, since adapters change them: choose "
		       "rwkvk_model_options.quant for another type",
		       file->weights.path, count, first->file_name, count > 1 ? ", ..." : "");
}

static rwkvk_status merge_adapters(const rwkvk_model_options *options, struct weights *weights)
{
	for (size_t i = 0; i < options->lora_count; i++) {
		rwkvk_lora lora;
		TRY(read_lora(options, i, &lora));
		TRY(weights_adapt(weights, lora.path, lora.scale, options->threads));
	}
	return RWKVK_OK;
}

/* Only ln_x has an epsilon that can be chosen. */
static void report_epsilon(const struct rwkvk_file *file, const struct listener *listener)
{
	double said = file->weights.metadata.said_norm_epsilon;
	if (said != 0 && fabs(said - 1e-5) > 1e-9)
		report(listener, RWKVK_LOG_WARNING,
		       "%s: the config.json beside it has norm_eps %g: LayerNorm uses 1e-5 regardless, so results differ a little",
		       file->weights.path, said);
}

static rwkvk_status file_open(const rwkvk_model_options *options, struct rwkvk_file *file)
{
	const struct listener listener = { options->log, options->log_user };
	TRY(open_weights(options, &file->weights));
	TRY(merge_adapters(options, &file->weights));
	TRY(refuse_adapters(&file->weights));
	TRY(refuse_attention(&file->weights));
	TRY(network_init(&file->weights, &file->network));
	TRY(check_unused(&file->weights, &file->network, &listener));
	report_epsilon(file, &listener);
	report_requantised(file, &listener);
	if (options->group_norm_epsilon != 0)
		file->network.config.group_norm_epsilon = options->group_norm_epsilon;
	if (!file->network.config.rescale_stored)
		file->network.config.rescale = options->rescale;
	TRY(open_tokenizer(options->vocab, &listener, file));
	TRY(special_token(file, "tokenizer.ggml.bos_token_id", &listener, &file->begin_token));
	TRY(special_token(file, "tokenizer.ggml.eos_token_id", &listener, &file->end_token));
	file->add_bos = file->weights.metadata.has_add_bos && file->weights.metadata.add_bos && file->begin_token != RWKVK_NO_TOKEN;
	return RWKVK_OK;
}

rwkvk_status file_init(const rwkvk_model_options *options, struct rwkvk_file *file)
{
	*file = (struct rwkvk_file){ .quant = options->quant, .vocab_given = options->vocab != NULL };
	rwkvk_status status = file_open(options, file);
	if (status != RWKVK_OK)
		file_finish(file);
	return status;
}

void file_finish(struct rwkvk_file *file)
{
	rwkvk_tokenizer_close(file->tokenizer);
	network_finish(&file->network);
	weights_close(&file->weights);
	*file = (struct rwkvk_file){ 0 };
}

/* ------------------------------------------------------------------------------------------------------ describing */

/* A head that is the embedding has none of its own. */
static uint64_t parameters(const struct weights *weights)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < weights->count; i++)
		if (!weights->metadata.tied || strcmp(weights->tensors[i].name, "head.weight") != 0)
			sum += tensor_elements(&weights->tensors[i]);
	return sum;
}

void file_describe(const struct rwkvk_file *file, rwkvk_model_info *info)
{
	const struct config *c = &file->network.config;
	*info = (rwkvk_model_info){
		.name = file->weights.metadata.name ? file->weights.metadata.name : "",
		.format = file->weights.format,
		.version = config_version(c),
		.layers = c->layers,
		.width = c->width,
		.ffn_width = c->ffn,
		.vocab = c->vocab,
		.heads = c->heads,
		.head_size = c->head_size,
		.rank_decay = c->rank_decay,
		.rank_iclr = c->rank_iclr,
		.rank_value = c->rank_value,
		.rank_gate = c->rank_gate,
		.rank_mix = c->rank_mix,
		.group_norm_epsilon = c->version == 40 ? 0 : c->group_norm_epsilon,
		.rescale = c->rescale,
		.begin_token = file->begin_token,
		.end_token = file->end_token,
		.type = outline_type(&file->network, file->quant, file->network.layers[c->layers - 1].ffn_value),
		.parameters = parameters(&file->weights),
		.bytes_per_token = model_token_bytes(&file->network, file->quant),
		.state_bytes = config_state_floats(c) * sizeof(float),
		.multiply_adds = model_multiply_adds(&file->network),
		.add_bos = file->add_bos,
		.has_tokenizer = file->tokenizer != NULL,
		.device = "",
	};
}

rwkvk_status write_model_info(const rwkvk_model_info *own, rwkvk_model_info *given)
{
	return WRITE_RESULT(rwkvk_model_info, multiply_adds, own, given);
}

bool file_metadata(const struct rwkvk_file *file, size_t index, rwkvk_metadata *out)
{
	if (index >= file->weights.metadata.text_count)
		return false;
	const struct metadata_text *text = &file->weights.metadata.texts[index];
	const rwkvk_metadata own = {
		.key = text->key, .value = text->value, .value_bytes = text->value_bytes, .items = text->items
	};
	return WRITE_RESULT(rwkvk_metadata, items, &own, out) == RWKVK_OK;
}

struct chat_choice file_chat(const struct rwkvk_file *file)
{
	const struct config *c = &file->network.config;
	return chat_choose(weights_text(&file->weights, "tokenizer.chat_template"), c->version,
	                   tokenizer_has_world(file->tokenizer, c->vocab));
}

void file_report_chat(const struct rwkvk_file *file, const struct listener *listener)
{
	struct chat_choice choice = file_chat(file);
	if (choice.chat == RWKVK_CHAT_PLAIN)
		report(listener, RWKVK_LOG_WARNING,
		       "%s: no chat template is known for it: messages are completed as plain text; the templates are " CHAT_NAMES,
		       file->weights.path);
	else if (choice.unknown)
		report(listener, RWKVK_LOG_WARNING,
		       "%s: has a chat template of its own, which is not known: %s is used; the templates are " CHAT_NAMES,
		       file->weights.path, rwkvk_chat_name(choice.chat));
}

/* ------------------------------------------------------------------------------------------------------ the interface */

rwkvk_status rwkvk_file_open(const rwkvk_model_options *given, rwkvk_file **out)
{
	rwkvk_model_options options;
	rwkvk_tools_options tools;
	REQUIRE(given && out);
	*out = NULL;
	TRY(read_model_options(given, &options, &tools));
	REQUIRE(!tools.file);
	struct rwkvk_file *file = malloc(sizeof *file);
	if (!file)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = file_init(&options, file);
	if (status == RWKVK_OK)
		*out = file;
	else
		free(file);
	return status;
}

void rwkvk_file_close(rwkvk_file *file)
{
	if (file)
		file_finish(file);
	free(file);
}

rwkvk_status rwkvk_file_get_info(const rwkvk_file *file, rwkvk_model_info *info)
{
	rwkvk_model_info own;
	REQUIRE(file && info);
	file_describe(file, &own);
	return write_model_info(&own, info);
}

const rwkvk_tokenizer *rwkvk_file_tokenizer(const rwkvk_file *file)
{
	EXPECT(file, NULL);
	return file->tokenizer;
}

bool rwkvk_file_metadata(const rwkvk_file *file, size_t index, rwkvk_metadata *out)
{
	EXPECT(file && out, false);
	return file_metadata(file, index, out);
}

rwkvk_status rwkvk_file_chat(const rwkvk_file *file, rwkvk_chat_template *out)
{
	REQUIRE(file && out);
	*out = file_chat(file).chat;
	return RWKVK_OK;
}

static const char *device_type(const struct rwkvk_file *file, const struct tensor *tensor)
{
	return is_trained_state(tensor) ? type_name(TYPE_F32) : outline_type(&file->network, file->quant, tensor);
}

bool rwkvk_file_tensor(const rwkvk_file *file, size_t index, rwkvk_tensor_info *info)
{
	EXPECT(file && info, false);
	if (index >= file->weights.count)
		return false;
	const struct tensor *tensor = &file->weights.tensors[index];
	rwkvk_tensor_info own = { .name = tensor->file_name,
		                      .type = tensor_type(tensor),
		                      .rank = tensor->rank,
		                      .bytes = tensor->bytes,
		                      .device_type = device_type(file, tensor),
		                      .official_name = tensor->name,
		                      .change = *tensor->change ? tensor->change : NULL };
	memcpy(own.shape, tensor->shape, sizeof own.shape);
	return WRITE_RESULT(rwkvk_tensor_info, change, &own, info) == RWKVK_OK;
}

const char *rwkvk_vocabulary_for(uint32_t vocab)
{
	return tokenizer_file_for(vocab);
}
