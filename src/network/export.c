/* A model as a file: which tensors it gets, under which names, in which shapes and types.  Nothing is converted here: this
 * makes the list, and format/output.c does the work. */
#include "network/export.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/structs.h"

/* The role of a tensor in the network. */
enum kind {
	MATRIX, /* a large matrix */
	FACTOR, /* of LoRA */
	SMALL,  /* a vector */
	START,  /* a trained start state */
	UNUSED,
};

/* ---------------------------------------------------------------------------------------------------- what it is */

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length > tail && strcmp(text + length - tail, end) == 0;
}

/* 0 also for tensors outside the layers. */
static uint32_t layer_of(const struct network *net, const struct tensor *tensor)
{
	unsigned index;
	return sscanf(tensor->name, "blocks.%u.", &index) == 1 && index < net->config.layers ? index : 0;
}

/* Inner factors are [C,D] officially, outer ones [D,C]. */
static bool is_inner(const struct layer *l, const struct tensor *t)
{
	return t == l->w1 || t == l->a1 || t == l->g1 || t == l->v1 || t == l->mix_w1;
}

static bool is_outer(const struct layer *l, const struct tensor *t)
{
	return t == l->w2 || t == l->a2 || t == l->g2 || t == l->v2 || t == l->mix_w2;
}

static enum kind kind_of(const struct network *net, const struct tensor *tensor)
{
	uint32_t index = layer_of(net, tensor);
	const struct layer *l = &net->layers[index];
	if (matrix_role(net, index, tensor) != ROLE_NONE)
		return MATRIX;
	if (is_inner(l, tensor) || is_outer(l, tensor))
		return FACTOR;
	if (network_uses(net, tensor))
		return SMALL;
	return ends_in(tensor->name, ".att.time_state") ? START : UNUSED;
}

/* Whether the last two dimensions are swapped relative to an official file; decided by the shape where possible. */
static bool is_swapped(const struct network *net, const struct tensor *tensor, enum kind kind)
{
	if (tensor->rank < 2)
		return false;
	bool first = tensor->shape[tensor->rank - 2] == net->config.width,
		 last = tensor->shape[tensor->rank - 1] == net->config.width;
	if (kind != FACTOR || first == last)
		return tensor->swapped;
	return is_inner(&net->layers[layer_of(net, tensor)], tensor) ? last : first;
}

/* ---------------------------------------------------------------------------------------------------- types */

static enum dtype mixture(rwkvk_export_type type, enum matrix_role role)
{
	static const rwkvk_quant presets[] = {
		[RWKVK_EXPORT_Q8_0] = RWKVK_QUANT_Q8,
		[RWKVK_EXPORT_Q6_K] = RWKVK_QUANT_Q6,
		[RWKVK_EXPORT_Q5_K_M] = RWKVK_QUANT_Q5,
		[RWKVK_EXPORT_Q4_K_M] = RWKVK_QUANT_Q4,
	};
	static const enum dtype q4_0[ROLES] = { DTYPE_Q4_0, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_0, DTYPE_Q6_K };
	return type == RWKVK_EXPORT_Q4_0 ? q4_0[role] : dtype_of_type(preset_type(presets[type], role));
}

/* The plain type that was requested; `otherwise` when none was. */
static enum dtype plain_or(rwkvk_export_type type, enum dtype otherwise)
{
	switch (type) {
	case RWKVK_EXPORT_F32:
		return DTYPE_F32;
	case RWKVK_EXPORT_F16:
		return DTYPE_F16;
	case RWKVK_EXPORT_BF16:
		return DTYPE_BF16;
	default:
		return otherwise;
	}
}

static bool is_mixture(rwkvk_export_type type)
{
	return type >= RWKVK_EXPORT_Q8_0;
}

/* Rows must be whole blocks. */
static enum dtype fitting(enum dtype wanted, uint64_t columns, enum dtype source)
{
	if (columns % dtype_info[wanted].block == 0)
		return wanted;
	if (columns % dtype_info[DTYPE_Q8_0].block == 0)
		return DTYPE_Q8_0;
	return source == DTYPE_BF16 ? DTYPE_BF16 : DTYPE_F16;
}

static bool is_smaller(enum dtype a, enum dtype b)
{
	return dtype_info[a].bytes * dtype_info[b].block <= dtype_info[b].bytes * dtype_info[a].block;
}

static void count_substitute(struct export *e, const struct tensor *tensor, enum dtype wanted, enum dtype used)
{
	uint32_t i = 0;
	while (i < e->substitute_count && (e->substitutes[i].wanted != wanted || e->substitutes[i].used != used ||
	                                   e->substitutes[i].columns != tensor->shape[1]))
		i++;
	if (i == sizeof e->substitutes / sizeof *e->substitutes)
		return;
	if (i == e->substitute_count) {
		e->substitutes[i].wanted = wanted;
		e->substitutes[i].used = used;
		e->substitutes[i].columns = tensor->shape[1];
		e->substitutes[i].first = tensor->file_name;
		e->substitute_count++;
	}
	e->substitutes[i].count++;
}

static enum dtype matrix_type(struct export *e, const struct tensor *tensor)
{
	const struct network *net = &e->file->network;
	rwkvk_export_type type = e->options->type;
	if (!is_mixture(type))
		return plain_or(type, tensor->merge && dtype_is_block(tensor->type) ? DTYPE_Q8_0 : tensor->type);
	enum dtype wanted = mixture(type, matrix_role(net, layer_of(net, tensor), tensor));
	enum dtype used = fitting(wanted, tensor->shape[1], tensor->type);
	if (dtype_is_block(tensor->type) && !tensor->merge && is_smaller(tensor->type, used))
		return tensor->type;
	if (used != wanted)
		count_substitute(e, tensor, wanted, used);
	if (dtype_is_block(tensor->type) && e->requantised_count++ == 0)
		e->first_requantised = tensor->file_name;
	return used;
}

/* llama.cpp's converter keeps the factors of decays in F32: w1 and w2 of RWKV-7 and all factors of RWKV-6. */
static enum dtype factor_type(const struct export *e, const struct tensor *tensor, bool transposed)
{
	const struct network *net = &e->file->network;
	const struct layer *l = &net->layers[layer_of(net, tensor)];
	rwkvk_export_type type = e->options->type;
	bool block = dtype_is_block(tensor->type),
		 fine = e->gguf && (net->config.version == 60 || tensor == l->w1 || tensor == l->w2);
	if (block && !transposed && (type == RWKVK_EXPORT_KEEP || is_mixture(type)))
		return tensor->type;
	if (fine)
		return DTYPE_F32;
	return plain_or(type, block ? DTYPE_F32 : tensor->type);
}

/* ---------------------------------------------------------------------------------------------------- shapes */

/* Appends `tensor`, with the last two dimensions exchanged if `transposed`. */
static struct output *add_output(struct export *e, const char *name, const struct tensor *tensor, enum dtype type,
                                 bool transposed)
{
	struct output *o = output_add(&e->outputs);
	if (!o)
		return NULL;
	snprintf(o->name, sizeof o->name, "%s", name);
	o->type = type;
	o->rank = tensor->rank;
	memcpy(o->shape, tensor->shape, sizeof o->shape);
	o->source[0] = tensor;
	o->sources = 1;
	o->transposed = transposed;
	if (transposed) {
		o->shape[o->rank - 1] = tensor->shape[o->rank - 2];
		o->shape[o->rank - 2] = tensor->shape[o->rank - 1];
	}
	e->has_blocks |= dtype_is_block(type);
	return o;
}

static void set_shape(struct output *o, uint32_t rank, uint64_t a, uint64_t b, uint64_t c)
{
	o->rank = rank;
	memcpy(o->shape, ((uint64_t[]){ a, b, c }), sizeof(uint64_t[3]));
}

/* For a tensor with one number per channel: by heads, [H,N], if its name says so. */
static bool is_by_head(const struct config *c, const char *name)
{
	bool by_head = ends_in(name, ".att.time_faaaa") || ends_in(name, ".att.r_k");
	return by_head || (c->version > 40 && c->version < 60 && (ends_in(name, ".att.time_decay") || ends_in(name, ".att.decay")));
}

/* Official files have [1,1,C] for vectors that multiply a batch of tokens. */
static bool is_of_batch(const struct config *c, const char *name)
{
	static const char *const ends[] = { ".att.w0", ".att.a0", ".att.v0", ".att.k_k", ".att.k_a" };
	const char *last = strrchr(name, '.') + 1;
	bool found = strncmp(last, "time_mix_", 9) == 0 || strncmp(last, "time_maa_", 9) == 0 || strncmp(last, "x_", 2) == 0 ||
	             (c->version == 60 && strcmp(last, "time_decay") == 0);
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		found |= ends_in(name, ends[i]);
	return found;
}

static void shape_small(const struct export *e, struct output *o, const char *name)
{
	const struct config *c = &e->file->network.config;
	uint64_t count = tensor_elements(o->source[0]);
	if (count == c->width && is_by_head(c, name) && !(e->gguf && ends_in(name, ".r_k")))
		set_shape(o, 2, c->heads, c->head_size, 0);
	else if (count == c->width && !e->gguf && is_of_batch(c, name))
		set_shape(o, 3, 1, 1, count);
	else
		set_shape(o, 1, count, 0, 0);
}

/* Start states are [H,value,key]; a single head has lost its dimension. */
static void shape_start(const struct export *e, struct output *o)
{
	const struct config *c = &e->file->network.config;
	if (tensor_elements(o->source[0]) == (uint64_t)c->width * c->head_size)
		set_shape(o, 3, c->heads, c->head_size, c->head_size);
}

static rwkvk_status no_memory(const struct export *e)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the list of its tensors", e->path);
}

/* ---------------------------------------------------------------------------------------------------- GGUF */

/* RWKV-5.0 and 5.1 may have the bonus as a logarithm, under a name that GGUF does not have. */
static const char *bonus_name(const struct export *e, const struct tensor *tensor, char *room, size_t size)
{
	if (e->file->network.config.version == 40 || !ends_in(tensor->name, ".att.time_first"))
		return tensor->name;
	snprintf(room, size, "%.*s.time_faaaa", (int)(strrchr(tensor->name, '.') - tensor->name), tensor->name);
	return room;
}

static rwkvk_status add_fused(struct export *e, const struct tensor *tensor, const struct gguf_name *name)
{
	uint32_t width = e->file->network.config.width;
	struct output *o = add_output(e, name->text, tensor, DTYPE_F32, false);
	if (!o)
		return no_memory(e);
	o->sources = name->rows;
	o->rank = 4;
	memcpy(o->shape, ((uint64_t[]){ name->rows, 1, 1, width }), sizeof o->shape);
	for (uint32_t i = 0; i < name->rows; i++) {
		o->source[i] = name->row[i];
		if (tensor_elements(name->row[i]) != width)
			return fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected %" PRIu32 " numbers, found the shape %s",
			            e->file->weights.path, name->row[i]->file_name, width,
			            show_shape(name->row[i]->rank, name->row[i]->shape).text);
	}
	return RWKVK_OK;
}

/* llama.cpp wants v0, v1 and v2 of layer 0, too, and its converter gives it a0, a1 and a2. */
static rwkvk_status add_dummy(struct export *e, const struct tensor *tensor)
{
	const struct layer *l = e->file->network.layers;
	char name[64];
	for (int i = 0; i < 3 && e->file->network.config.version == 70; i++) {
		const struct tensor *const stands_in[] = { l->a0, l->a1, l->a2 };
		if (tensor != stands_in[i])
			continue;
		struct output copy = e->outputs.items[e->outputs.count - 1], *o = output_add(&e->outputs);
		if (!o)
			return no_memory(e);
		*o = copy;
		snprintf(name, sizeof name, "blk.0.time_mix_v%d.weight", i);
		strcpy(o->name, name);
	}
	return RWKVK_OK;
}

static rwkvk_status add_to_gguf(struct export *e, const struct tensor *tensor, enum kind kind)
{
	const struct network *net = &e->file->network;
	char room[300];
	struct gguf_name name = { 0 };
	const char *official = bonus_name(e, tensor, room, sizeof room);
	if (!weights_gguf_name(&e->file->weights, e->naming, official, &name))
		snprintf(name.text, sizeof name.text, "%s", official); /* start states */
	if (name.follows)
		return RWKVK_OK;
	if (name.rows)
		return add_fused(e, tensor, &name);
	bool transposed = (kind == FACTOR || kind == START) && is_swapped(net, tensor, kind) != name.swapped;
	enum dtype type = kind == MATRIX ? matrix_type(e, tensor) : kind == FACTOR ? factor_type(e, tensor, transposed) : DTYPE_F32;
	struct output *o = add_output(e, name.text, tensor, type, transposed);
	if (!o)
		return no_memory(e);
	if (kind == SMALL)
		shape_small(e, o, official);
	if (kind == START)
		shape_start(e, o);
	if (official != tensor->name)
		o->change = expf;
	return add_dummy(e, tensor);
}

/* ---------------------------------------------------------------------------------------------------- safetensors */

/* The inverse of exp(), or of exp(-exp()), at w.  At the ends of the range, where exact arithmetic has no inverse, it is a
 * number that works in floats. */
static float trained_decay_4(float w)
{
	return w < 0 ? (float)fmin(log(-(double)w), 88.72) : -110; /* from 88.73 on exp() is infinite */
}

static float trained_decay_5(float w)
{
	return w <= 0 ? 5 : w >= 1 ? -20 : (float)log(-log((double)w));
}

static rwkvk_status check_decay(const struct export *e, const struct tensor *tensor)
{
	bool four = e->file->network.config.version == 40;
	float *w = malloc(tensor_elements(tensor) * sizeof *w);
	if (!w)
		return no_memory(e);
	dtype_to_float(tensor->type, tensor->data, 0, tensor_elements(tensor), w);
	rwkvk_status status = RWKVK_OK;
	for (uint64_t i = 0; i < tensor_elements(tensor) && status == RWKVK_OK; i++)
		if (four ? !(w[i] <= 0 && w[i] > -INFINITY) : !(w[i] >= 0 && w[i] <= 1))
			status = fail(RWKVK_ERROR_FILE, "%s: tensor %s: expected decays %s, found %g, which no time_decay can produce",
			              e->file->weights.path, tensor->file_name, four ? "of 0 or less" : "from 0 to 1", (double)w[i]);
	free(w);
	return status;
}

/* att.decay becomes att.time_decay, unless there is one, which the network does not use then. */
static rwkvk_status invert_decay(struct export *e, struct output *o)
{
	const struct tensor *tensor = o->source[0];
	char name[sizeof o->name];
	snprintf(name, sizeof name, "%.*s.time_decay", (int)(strrchr(tensor->name, '.') - tensor->name), tensor->name);
	if (weights_find(&e->file->weights, name))
		return RWKVK_OK;
	TRY(check_decay(e, tensor));
	strcpy(o->name, name);
	o->type = DTYPE_F32;
	o->change = e->file->network.config.version == 40 ? trained_decay_4 : trained_decay_5;
	e->inverted_count++;
	return RWKVK_OK;
}

static rwkvk_status safetensors_type(const struct export *e, const struct tensor *tensor, enum kind kind, enum dtype *out)
{
	bool block = dtype_is_block(tensor->type);
	*out = block || kind == MATRIX || kind == FACTOR ? plain_or(e->options->type, tensor->type) : tensor->type;
	if (dtype_is_block(*out))
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: tensor %s is %s, which safetensors files cannot hold: choose f16, bf16 or f32, or write a .gguf file",
		            e->file->weights.path, tensor->file_name, dtype_info[tensor->type].name);
	return RWKVK_OK;
}

static rwkvk_status add_to_safetensors(struct export *e, const struct tensor *tensor, enum kind kind)
{
	const struct network *net = &e->file->network;
	const struct config *c = &net->config;
	uint32_t index = layer_of(net, tensor);
	const struct layer *l = &net->layers[index];
	enum dtype type;
	TRY(safetensors_type(e, tensor, kind, &type));
	struct output *o = add_output(e, tensor->name, tensor, type, is_swapped(net, tensor, kind));
	if (!o)
		return no_memory(e);
	if (kind == SMALL)
		shape_small(e, o, tensor->name);
	if (kind == START)
		shape_start(e, o);
	if (c->rescale_stored && (tensor == l->output || tensor == l->ffn_value) && index >= c->rescale)
		o->factor = ldexpf(1, (int)(index / c->rescale));
	if (kind == SMALL && ends_in(tensor->name, ".att.decay"))
		return invert_decay(e, o);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- notes */

static void note_types(const struct export *e)
{
	for (uint32_t i = 0; i < e->substitute_count; i++)
		report(&e->listener, RWKVK_LOG_NOTE,
		       "%" PRIu32 " matrices (%s%s) become %s instead of %s: rows of %" PRIu64 " are not whole blocks of %" PRIu32,
		       e->substitutes[i].count, e->substitutes[i].first, e->substitutes[i].count > 1 ? ", ..." : "",
		       dtype_info[e->substitutes[i].used].name, dtype_info[e->substitutes[i].wanted].name, e->substitutes[i].columns,
		       dtype_info[e->substitutes[i].wanted].block);
	if (e->requantised_count)
		report(&e->listener, RWKVK_LOG_NOTE,
		       "%" PRIu32
		       " matrices (%s%s) are quantised in %s already: quantised from the original model they would be better",
		       e->requantised_count, e->first_requantised, e->requantised_count > 1 ? ", ..." : "", e->file->weights.path);
	if (e->unused_count)
		report(&e->listener, RWKVK_LOG_NOTE, "left out: %" PRIu32 " tensors (%s%s) that an RWKV-%s model does not use",
		       e->unused_count, e->first_unused, e->unused_count > 1 ? ", ..." : "", config_version(&e->file->network.config));
}

static void note_gguf(const struct export *e)
{
	const struct network *net = &e->file->network;
	bool start = false;
	for (size_t i = 0; i < e->outputs.count; i++)
		start |= ends_in(e->outputs.items[i].name, ".att.time_state");
	const char *why = net->config.version < 60      ? "it knows RWKV-6 and 7 only"
	                  : !net->config.embedding_norm ? "the model has no blocks.0.ln0"
	                  : net->head_b                 ? "the model has a head.bias"
	                  : start                       ? "the model has start states (att.time_state)"
	                                                : NULL;
	for (uint32_t i = 0; i < net->config.layers && !why; i++)
		why = net->layers[i].output_b ? "the model has an att.output.bias" : NULL;
	if (why)
		report(&e->listener, RWKVK_LOG_NOTE, "llama.cpp will not load %s: %s", e->path, why);
}

/* The epsilon of ln_x, if it is not the usual one. */
static float own_epsilon(const struct config *c)
{
	return c->version != 40 && c->group_norm_epsilon != 64e-5f ? c->group_norm_epsilon : 0;
}

static void note_safetensors(const struct export *e)
{
	const struct rwkvk_file *file = e->file;
	const struct config *c = &file->network.config;
	if (e->inverted_count)
		report(&e->listener, RWKVK_LOG_NOTE,
		       "att.decay of %" PRIu32 " layers became att.time_decay again, which reproduces its values to six digits",
		       e->inverted_count);
	if (c->rescale_stored)
		report(&e->listener, RWKVK_LOG_NOTE,
		       "att.output and ffn.value are multiplied back: %s had them divided by 2 after every %" PRIu32 " layers",
		       file->weights.path, c->rescale);
	if (own_epsilon(c) != 0)
		report(&e->listener, RWKVK_LOG_NOTE, "%s says that the epsilon of ln_x is %g, which other programs do not look for",
		       e->path, (double)c->group_norm_epsilon);
	if (file->weights.metadata.token_count || file->vocab_given)
		report(&e->listener, RWKVK_LOG_NOTE, "the vocabulary is not in %s, which has no place for it", e->path);
}

/* ---------------------------------------------------------------------------------------------------- the file */

/* A tensor of a type that safetensors files cannot name. */
static bool is_of_gguf_alone(const struct weights *weights, const struct tensor *tensor)
{
	return tensor->type == DTYPE_FOREIGN && strncmp(weights->format, "GGUF", 4) == 0;
}

static rwkvk_status plan(struct export *e)
{
	const struct weights *weights = &e->file->weights;
	for (size_t i = 0; i < weights->count; i++) {
		const struct tensor *tensor = &weights->tensors[i];
		enum kind kind = kind_of(&e->file->network, tensor);
		if (!e->gguf && !is_of_gguf_alone(weights, tensor))
			TRY(add_to_safetensors(e, tensor, kind));
		else if (kind != UNUSED)
			TRY(add_to_gguf(e, tensor, kind));
		else if (!is_dummy(&e->file->network, tensor) && e->unused_count++ == 0)
			e->first_unused = tensor->file_name;
		if (e->outputs.count && ends_in(tensor->name, ".ffn.value.weight"))
			e->main_type = e->outputs.items[e->outputs.count - 1].type;
	}
	return RWKVK_OK;
}

static rwkvk_status make_head(const struct export *e, uint8_t **head, size_t *bytes)
{
	if (!e->gguf) {
		note_safetensors(e);
		return safetensors_head(&e->outputs, e->path, e->file->weights.metadata.name, own_epsilon(&e->file->network.config),
		                        head, bytes);
	}
	struct gguf_writer *writer = gguf_writer_create();
	rwkvk_status status = export_keys(e, writer);
	note_gguf(e);
	for (size_t i = 0; i < e->outputs.count; i++) {
		const struct output *o = &e->outputs.items[i];
		gguf_put_entry(writer, o->name, o->type, o->rank, o->shape);
	}
	rwkvk_status written = gguf_writer_head(writer, e->path, head, bytes);
	return status == RWKVK_OK ? written : status;
}

static rwkvk_status write_file(struct export *e)
{
	uint8_t *head = NULL;
	size_t head_bytes = 0;
	TRY(plan(e));
	note_types(e);
	rwkvk_status status = make_head(e, &head, &head_bytes);
	const struct output_options options = {
		.alignment = e->gguf ? GGUF_ALIGNMENT : 0,
		.threads = e->options->threads,
		.progress = e->options->progress,
		.progress_user = e->options->progress_user,
	};
	if (status == RWKVK_OK)
		status = output_write(&e->outputs, e->path, e->file->weights.path, head, head_bytes, &options);
	free(head);
	return status;
}

static rwkvk_status check_target(const struct export *e)
{
	const struct weights *weights = &e->file->weights;
	bool same = file_is_mapped(e->path, &weights->mapping);
	for (size_t i = 0; i < weights->part_count; i++)
		same |= file_is_mapped(e->path, &weights->parts[i]);
	if (same)
		return fail(RWKVK_ERROR_FILE, "%s: is the model being read; give the new file another name", e->path);
	if (!e->gguf && !ends_in(e->path, ".safetensors"))
		return fail(RWKVK_ERROR_ARGUMENT, "%s: expected a name that ends in .gguf or .safetensors", e->path);
	if (!e->gguf && is_mixture(e->options->type))
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: safetensors files hold F32, F16 and BF16; write a .gguf file", e->path);
	return RWKVK_OK;
}

rwkvk_status rwkvk_file_export(const rwkvk_file *file, const char *path, const rwkvk_export_options *given)
{
	static const struct {
		enum naming naming;
		const char *architecture;
	} versions[] = { { NAMES_GGUF_RWKV4, "rwkv4" },
		             { NAMES_GGUF_RWKV5, "rwkv5" },
		             { NAMES_GGUF_RWKV6, "rwkv6" },
		             { NAMES_GGUF_RWKV7, "rwkv7" } };
	rwkvk_export_options options;
	REQUIRE(file && path);
	TRY(READ_OPTIONS(rwkvk_export_options, log_user, given, &options));
	if ((unsigned)options.type > RWKVK_EXPORT_Q4_0)
		return fail(RWKVK_ERROR_ARGUMENT, "rwkvk_export_options.type is %d: expected a rwkvk_export_type", (int)options.type);
	struct export e = {
		.file = file,
		.path = path,
		.options = &options,
		.listener = { options.log, options.log_user },
		.gguf = ends_in(path, ".gguf"),
		.naming = versions[file->network.config.version / 10 - 4].naming,
		.architecture = versions[file->network.config.version / 10 - 4].architecture,
	};
	TRY(check_target(&e));
	rwkvk_status status = write_file(&e);
	output_finish(&e.outputs);
	return status;
}
