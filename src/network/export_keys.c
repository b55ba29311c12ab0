/* The keys of a GGUF file: those that llama.cpp needs, from the network's sizes; all other keys of a GGUF source, unchanged;
 * and the vocabulary. */
#include "network/export.h"

#include <stdio.h>
#include <string.h>

#include "text/tokenizer.h"

/* GGUF's numbers for "mostly this type". */
static const uint32_t file_types[DTYPE_COUNT] = {
	[DTYPE_F32] = 0,   [DTYPE_F16] = 1,   [DTYPE_BF16] = 32, [DTYPE_Q8_0] = 7,    [DTYPE_Q4_0] = 2,
	[DTYPE_Q4_1] = 3,  [DTYPE_Q5_0] = 8,  [DTYPE_Q5_1] = 9,  [DTYPE_Q2_K] = 10,   [DTYPE_Q3_K] = 12,
	[DTYPE_Q4_K] = 15, [DTYPE_Q5_K] = 17, [DTYPE_Q6_K] = 18, [DTYPE_IQ4_NL] = 25,
};

enum { KEY_TEXT = 96 };

/* The keys written so far, which are not copied from the source. */
struct keys {
	const struct export *e;
	struct gguf_writer *out;
	char own[32][KEY_TEXT];
	size_t count;
};

/* `*` at the beginning is the architecture. */
static const char *own_key(struct keys *k, const char *name)
{
	char *text = k->own[k->count++];
	snprintf(text, KEY_TEXT, "%s%s", *name == '*' ? k->e->architecture : "", name + (*name == '*'));
	return text;
}

static bool raw_is(const struct raw_key *raw, const char *name, bool prefix)
{
	uint64_t bytes;
	memcpy(&bytes, raw->data, sizeof bytes);
	size_t length = strlen(name);
	return (prefix ? bytes >= length : bytes == length) && memcmp(raw->data + sizeof bytes, name, length) == 0;
}

static bool source_has(const struct keys *k, const char *name)
{
	const struct metadata *m = &k->e->file->weights.metadata;
	for (uint64_t i = 0; i < m->key_count; i++)
		if (raw_is(&m->keys[i], name, false))
			return true;
	return false;
}

static void put_u32(struct keys *k, const char *name, uint32_t value)
{
	gguf_put_u32(k->out, own_key(k, name), value);
}

static void put_sizes(struct keys *k)
{
	const struct config *c = &k->e->file->network.config;
	put_u32(k, "*.embedding_length", c->width);
	put_u32(k, "*.block_count", c->layers);
	put_u32(k, "*.feed_forward_length", c->ffn);
	put_u32(k, "*.attention.head_count", 0); /* llama.cpp wants the key; there is no attention */
	gguf_put_f32(k->out, own_key(k, "*.attention.layer_norm_epsilon"), 1e-5f);
	if (c->version != 40)
		put_u32(k, "*.wkv.head_size", c->head_size);
	if (c->version != 40 && c->group_norm_epsilon != 64e-5f)
		gguf_put_f32(k->out, own_key(k, "*.attention.group_norm_epsilon"), c->group_norm_epsilon);
	if (c->version == 70) {
		put_u32(k, "*.attention.decay_lora_rank", c->rank_decay);
		put_u32(k, "*.attention.iclr_lora_rank", c->rank_iclr);
		put_u32(k, "*.attention.value_residual_mix_lora_rank", c->rank_value ? c->rank_value : c->rank_iclr);
		put_u32(k, "*.attention.gate_lora_rank", c->rank_gate);
		return;
	}
	put_u32(k, "*.rescale_every_n_layers", c->rescale_stored ? c->rescale : 0);
	if (c->version == 60) {
		put_u32(k, "*.time_mix_extra_dim", c->rank_mix);
		put_u32(k, "*.time_decay_extra_dim", c->rank_decay);
	}
}

static void put_general(struct keys *k)
{
	const struct metadata *m = &k->e->file->weights.metadata;
	char context[KEY_TEXT];
	gguf_put_string(k->out, own_key(k, "general.architecture"), k->e->architecture);
	put_u32(k, "general.file_type", file_types[k->e->main_type]);
	own_key(k, "general.quantization_version");
	if (k->e->has_blocks)
		gguf_put_u32(k->out, "general.quantization_version", 2);
	if (!source_has(k, "general.type"))
		gguf_put_string(k->out, "general.type", "model");
	if (m->name && !source_has(k, "general.name"))
		gguf_put_string(k->out, "general.name", m->name);
	snprintf(context, sizeof context, "%s.context_length", k->e->architecture);
	if (!source_has(k, context))
		gguf_put_u32(k->out, context, 1 << 20); /* there is no limit */
}

static bool is_own(const struct keys *k, const struct raw_key *raw)
{
	for (size_t i = 0; i < k->count; i++)
		if (raw_is(raw, k->own[i], false))
			return true;
	return false;
}

/* The source's other keys: its vocabulary, template, sampling, licence.  Keys of another architecture, of a split and of the
 * source's layout have no meaning here. */
static void copy_others(struct keys *k)
{
	const struct rwkvk_file *file = k->e->file;
	const struct metadata *m = &file->weights.metadata;
	char dotted[KEY_TEXT];
	snprintf(dotted, sizeof dotted, "%s.", k->e->architecture);
	for (uint64_t i = 0; i < m->key_count; i++) {
		const struct raw_key *raw = &m->keys[i];
		bool foreign = raw_is(raw, "rwkv", true) && !raw_is(raw, dotted, true);
		bool replaced = file->vocab_given && raw_is(raw, "tokenizer.", true);
		if (!is_own(k, raw) && !foreign && !replaced && !raw_is(raw, "general.alignment", false) &&
		    !raw_is(raw, "split.", true))
			gguf_put_raw(k->out, raw->data, raw->bytes);
	}
}

static void note_vocabulary(const struct export *e)
{
	const struct rwkvk_file *file = e->file;
	const char *fitting = tokenizer_file_for(file->network.config.vocab);
	if (file->tokenizer && file->vocab_given)
		report(&e->listener, RWKVK_LOG_NOTE,
		       "the vocabulary is not in %s: GGUF has a place for World text only; give the vocabulary whenever the model "
		       "is used",
		       e->path);
	else if (file->tokenizer)
		report(&e->listener, RWKVK_LOG_NOTE, "%s has no vocabulary: a token is a byte, which llama.cpp does not know", e->path);
	else
		report(&e->listener, RWKVK_LOG_NOTE, "%s has no vocabulary%s: open it with rwkvk_model_options.vocab%s%s", e->path,
		       file->network.config.version < 60 ? "" : ", which llama.cpp needs", fitting ? " = " : "",
		       fitting ? fitting : "");
}

rwkvk_status export_keys(const struct export *e, struct gguf_writer *writer)
{
	const struct rwkvk_file *file = e->file;
	struct keys k = { .e = e, .out = writer };
	put_general(&k);
	put_sizes(&k);
	copy_others(&k);
	if (!file->vocab_given && file->weights.metadata.token_count)
		return RWKVK_OK; /* copied */
	if (file->tokenizer && tokenizer_is_world(file->tokenizer))
		return tokenizer_put_gguf(file->tokenizer, file->network.config.vocab, writer);
	note_vocabulary(e);
	return RWKVK_OK;
}
