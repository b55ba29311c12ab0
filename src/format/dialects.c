/* Names of tensors in files.  Each table below is one dialect: the names of a family of files and their canonical names
 * (weights.h).  A reader adds its tensors under the names of the file and ends with weights_rename(). */
#include "format/dialects.h"
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `#` stands for a number, `*` for characters other than the dot, `**` for any characters, at least one each; they reappear in
 * `to` in the same order.  The first rule that fits counts, in both directions: writers read GGUF's rules from right to
 * left. */
struct rule {
	const char *from, *to;
	enum {
		PLAIN,
		SWAPPED, /* the last two dimensions are swapped relative to an official file */
		FLAT,    /* one vector, whatever the shape */
		ROWS,    /* [letters of `rows`, C]: one tensor a row, its letter takes the place of the `?` */
		STACKED, /* swapped matrices under each other, one a letter of `rows`, which come into the order of MIXES_6 */
		BESIDE,  /* the same beside each other, which come to be a dimension of their own, too */
		UNUSED   /* dropped */
	} how;
	const char *rows;
};

/* ---------------------------------------------------------------------------------------------------- PyTorch names */

/* Official names, and those of web-rwkv's .st files where they are the same but for capitals. */
static const struct rule official[] = {
	{ .from = "emb.**", .to = "emb.**" },           { .from = "blocks.#.ffnpre.**", .to = "blocks.#.ffnPre.**" },
	{ .from = "blocks.#.**", .to = "blocks.#.**" }, { .from = "ln_out.**", .to = "ln_out.**" },
	{ .from = "head.**", .to = "head.**" },         { 0 },
};

/* RWKV-6 in web-rwkv's .st files; for what its names do not tell, and those of RWKV-5 and 7, see orient() and name_bonus(). */
static const struct rule web_6[] = {
	{ .from = "blocks.#.att.time_mix_*", .to = "blocks.#.att.time_maa_*" },
	{ .from = "blocks.#.ffn.time_mix_*", .to = "blocks.#.ffn.time_maa_*" },
	{ 0 },
};

/* RWKV-4 to 6 as Hugging Face models (RWKV/...). */
static const struct rule hugging_face[] = {
	{ .from = "embeddings.*", .to = "emb.*" },
	{ .from = "blocks.#.pre_ln.*", .to = "blocks.#.ln0.*" },
	{ .from = "blocks.#.attention.time_mix_key", .to = "blocks.#.att.time_mix_k" },
	{ .from = "blocks.#.attention.time_mix_value", .to = "blocks.#.att.time_mix_v" },
	{ .from = "blocks.#.attention.time_mix_receptance", .to = "blocks.#.att.time_mix_r" },
	{ .from = "blocks.#.attention.time_mix_gate", .to = "blocks.#.att.time_mix_g" },
	{ .from = "blocks.#.attention.**", .to = "blocks.#.att.**" },
	{ .from = "blocks.#.feed_forward.time_mix_key", .to = "blocks.#.ffn.time_mix_k" },
	{ .from = "blocks.#.feed_forward.time_mix_receptance", .to = "blocks.#.ffn.time_mix_r" },
	{ .from = "blocks.#.feed_forward.**", .to = "blocks.#.ffn.**" },
	{ 0 },
};

/* flash-linear-attention (fla-hub/...): what its models share, then those of RWKV-7. */
static const struct rule fla[] = {
	{ .from = "embeddings.*", .to = "emb.*" },
	{ .from = "norm.*", .to = "ln_out.*" },
	{ .from = "lm_head.*", .to = "head.*" },
	{ .from = "layers.#.pre_norm.*", .to = "blocks.#.ln0.*" },
	{ .from = "layers.#.attn_norm.*", .to = "blocks.#.ln1.*" },
	{ .from = "layers.#.ffn_norm.*", .to = "blocks.#.ln2.*" },
	{ .from = "layers.#.attn.o_proj.*", .to = "blocks.#.att.output.*" },
	{ .from = "layers.#.attn.g_norm.*", .to = "blocks.#.att.ln_x.*" },
	{ .from = "blocks.#.**", .to = "blocks.#.**" },
	{ 0 },
};

static const struct rule fla_7[] = {
	{ .from = "layers.#.attn.r_proj.*", .to = "blocks.#.att.receptance.*" },
	{ .from = "layers.#.attn.k_proj.*", .to = "blocks.#.att.key.*" },
	{ .from = "layers.#.attn.v_proj.*", .to = "blocks.#.att.value.*" },
	{ .from = "layers.#.attn.*_lora.lora.0.weight", .to = "blocks.#.att.*1", .how = SWAPPED },
	{ .from = "layers.#.attn.*_lora.lora.2.weight", .to = "blocks.#.att.*2", .how = SWAPPED },
	{ .from = "layers.#.attn.*_lora.lora.2.bias", .to = "blocks.#.att.*0" },
	{ .from = "layers.#.attn.x_x", .to = "blocks.#.att.x_?", .how = ROWS, .rows = "rwkvag" },
	{ .from = "layers.#.attn.*", .to = "blocks.#.att.*" },
	{ .from = "layers.#.ffn.**", .to = "blocks.#.ffn.**" },
	{ 0 },
};

#define MIXES_6 "wkvrg" /* the official order; fla has another */
static const struct rule fla_6[] = {
	{ .from = "layers.#.attn.x_proj.0.mu", .to = "blocks.#.att.time_maa_x" },
	{ .from = "layers.#.attn.x_proj.0.linear.weight", .to = "blocks.#.att.time_maa_w1", .how = STACKED, .rows = "rwkvg" },
	{ .from = "layers.#.attn.x_proj.2.weight", .to = "blocks.#.att.time_maa_w2", .how = BESIDE, .rows = "rwkvg" },
	{ .from = "layers.#.attn.x_bias", .to = "blocks.#.att.time_maa_?", .how = ROWS, .rows = "rwkvg" },
	{ .from = "layers.#.attn.w_proj.linear.lora.0.weight", .to = "blocks.#.att.time_decay_w1", .how = SWAPPED },
	{ .from = "layers.#.attn.w_proj.linear.lora.2.weight", .to = "blocks.#.att.time_decay_w2", .how = SWAPPED },
	{ .from = "layers.#.attn.w_proj.linear.lora.2.bias", .to = "blocks.#.att.time_decay" },
	{ .from = "layers.#.attn.bonus", .to = "blocks.#.att.time_faaaa" },
	{ .from = "layers.#.attn.r_proj.linear.*", .to = "blocks.#.att.receptance.*" },
	{ .from = "layers.#.attn.k_proj.linear.*", .to = "blocks.#.att.key.*" },
	{ .from = "layers.#.attn.v_proj.linear.*", .to = "blocks.#.att.value.*" },
	{ .from = "layers.#.attn.g_proj.linear.*", .to = "blocks.#.att.gate.*" },
	{ .from = "layers.#.ffn.key.mu", .to = "blocks.#.ffn.time_maa_k" },
	{ .from = "layers.#.ffn.receptance.mu", .to = "blocks.#.ffn.time_maa_r" },
	{ .from = "layers.#.ffn.*.linear.*", .to = "blocks.#.ffn.*.*" },
	{ .from = "layers.#.ffn.*.*", .to = "blocks.#.ffn.*.*" },
	{ 0 },
};

/* ---------------------------------------------------------------------------------------------------- rwkv.cpp */

/* Names are official.  RWKV-4 and 5 come with w computed, RWKV-5 with u, too. */
static const struct rule cpp_4[] = {
	{ .from = "blocks.#.att.time_decay", .to = "blocks.#.att.decay" },
	{ 0 },
};

static const struct rule cpp_5[] = {
	{ .from = "blocks.#.att.time_decay", .to = "blocks.#.att.decay" },
	{ .from = "blocks.#.att.time_first", .to = "blocks.#.att.time_faaaa" },
	{ 0 },
};

static const struct rule cpp_6[] = {
	{ .from = "blocks.#.att.time_decay", .to = "blocks.#.att.time_decay", .how = FLAT }, /* [H,N,1] */
	{ .from = "blocks.#.att.time_maa_w1", .to = "blocks.#.att.time_maa_w1", .how = SWAPPED },
	{ .from = "blocks.#.att.time_maa_w2", .to = "blocks.#.att.time_maa_w2", .how = SWAPPED },
	{ .from = "blocks.#.att.time_decay_w1", .to = "blocks.#.att.time_decay_w1", .how = SWAPPED },
	{ .from = "blocks.#.att.time_decay_w2", .to = "blocks.#.att.time_decay_w2", .how = SWAPPED },
	{ 0 },
};

static const struct rule cpp_7[] = {
	{ .from = "blocks.#.att.x_rwkvag", .to = "blocks.#.att.x_?", .how = ROWS, .rows = "rwkvag" },
	{ .from = "blocks.#.att.w1", .to = "blocks.#.att.w1", .how = SWAPPED },
	{ .from = "blocks.#.att.w2", .to = "blocks.#.att.w2", .how = SWAPPED },
	{ .from = "blocks.#.att.a1", .to = "blocks.#.att.a1", .how = SWAPPED },
	{ .from = "blocks.#.att.a2", .to = "blocks.#.att.a2", .how = SWAPPED },
	{ .from = "blocks.#.att.v1", .to = "blocks.#.att.v1", .how = SWAPPED },
	{ .from = "blocks.#.att.v2", .to = "blocks.#.att.v2", .how = SWAPPED },
	{ .from = "blocks.#.att.g1", .to = "blocks.#.att.g1", .how = SWAPPED },
	{ .from = "blocks.#.att.g2", .to = "blocks.#.att.g2", .how = SWAPPED },
	{ 0 },
};

/* ---------------------------------------------------------------------------------------------------- GGUF */

static const struct rule gguf_all[] = {
	{ .from = "token_embd.*", .to = "emb.*" },
	{ .from = "token_embd_norm.*", .to = "blocks.0.ln0.*" },
	{ .from = "output_norm.*", .to = "ln_out.*" },
	{ .from = "output.*", .to = "head.*" },
	{ .from = "blk.#.attn_norm.*", .to = "blocks.#.ln1.*" },
	{ .from = "blk.#.attn_norm_2.*", .to = "blocks.#.ln2.*" },
	{ .from = "blk.#.time_mix_ln.*", .to = "blocks.#.att.ln_x.*" },
	{ .from = "blk.#.time_mix_receptance.*", .to = "blocks.#.att.receptance.*" },
	{ .from = "blk.#.time_mix_key.*", .to = "blocks.#.att.key.*" },
	{ .from = "blk.#.time_mix_value.*", .to = "blocks.#.att.value.*" },
	{ .from = "blk.#.time_mix_gate.*", .to = "blocks.#.att.gate.*" },
	{ .from = "blk.#.time_mix_output.*", .to = "blocks.#.att.output.*" },
	{ .from = "blk.#.channel_mix_key.*", .to = "blocks.#.ffn.key.*" },
	{ .from = "blk.#.channel_mix_value.*", .to = "blocks.#.ffn.value.*" },
	{ .from = "blk.#.channel_mix_receptance.*", .to = "blocks.#.ffn.receptance.*" },
	{ 0 },
};

/* llama.cpp has no names for RWKV-4 and 5; these follow those it has for RWKV-6.  time_mix_w is w itself. */
static const struct rule gguf_4[] = {
	{ .from = "blk.#.time_mix_lerp_fused.weight", .to = "blocks.#.att.time_mix_?", .how = ROWS, .rows = "kvr" },
	{ .from = "blk.#.time_mix_lerp_*.weight", .to = "blocks.#.att.time_mix_*" },
	{ .from = "blk.#.time_mix_decay.weight", .to = "blocks.#.att.time_decay" },
	{ .from = "blk.#.time_mix_w.weight", .to = "blocks.#.att.decay" },
	{ .from = "blk.#.time_mix_first.weight", .to = "blocks.#.att.time_first" },
	{ .from = "blk.#.channel_mix_lerp_*.weight", .to = "blocks.#.ffn.time_mix_*" },
	{ .from = "blk.#.channel_mix_pre_lerp_*.weight", .to = "blocks.#.ffnPre.time_mix_*" },
	{ .from = "blk.#.channel_mix_pre_*.weight", .to = "blocks.#.ffnPre.*.weight" },
	{ 0 },
};

static const struct rule gguf_5[] = {
	{ .from = "blk.#.time_mix_lerp_fused.weight", .to = "blocks.#.att.time_mix_?", .how = ROWS, .rows = "kvrg" },
	{ .from = "blk.#.time_mix_lerp_fused.weight", .to = "blocks.#.att.time_mix_?", .how = ROWS, .rows = "kvr" }, /* 5.0 */
	{ .from = "blk.#.time_mix_lerp_*.weight", .to = "blocks.#.att.time_mix_*" },
	{ .from = "blk.#.time_mix_decay.weight", .to = "blocks.#.att.time_decay" },
	{ .from = "blk.#.time_mix_w.weight", .to = "blocks.#.att.decay" },
	{ .from = "blk.#.time_mix_first.weight", .to = "blocks.#.att.time_faaaa" },
	{ .from = "blk.#.channel_mix_lerp_*.weight", .to = "blocks.#.ffn.time_mix_*" },
	{ 0 },
};

static const struct rule gguf_6[] = {
	{ .from = "blk.#.time_mix_lerp_fused.weight", .to = "blocks.#.att.time_maa_?", .how = ROWS, .rows = "wkvrg" },
	{ .from = "blk.#.time_mix_w1.weight", .to = "blocks.#.att.time_maa_w1", .how = SWAPPED },
	{ .from = "blk.#.time_mix_w2.weight", .to = "blocks.#.att.time_maa_w2", .how = SWAPPED },
	{ .from = "blk.#.time_mix_lerp_*.weight", .to = "blocks.#.att.time_maa_*" },
	{ .from = "blk.#.time_mix_decay.weight", .to = "blocks.#.att.time_decay" },
	{ .from = "blk.#.time_mix_decay_w1.weight", .to = "blocks.#.att.time_decay_w1", .how = SWAPPED },
	{ .from = "blk.#.time_mix_decay_w2.weight", .to = "blocks.#.att.time_decay_w2", .how = SWAPPED },
	{ .from = "blk.#.time_mix_first.weight", .to = "blocks.#.att.time_faaaa" },
	{ .from = "blk.#.channel_mix_lerp_*.weight", .to = "blocks.#.ffn.time_maa_*" },
	{ 0 },
};

static const struct rule gguf_7[] = {
	/* llama.cpp wants v0, v1, v2 in layer 0 too, where they are copies of a0, a1, a2 */
	{ .from = "blk.0.time_mix_v0.weight", .how = UNUSED },
	{ .from = "blk.0.time_mix_v1.weight", .how = UNUSED },
	{ .from = "blk.0.time_mix_v2.weight", .how = UNUSED },
	{ .from = "blk.#.time_mix_lerp_fused.weight", .to = "blocks.#.att.x_?", .how = ROWS, .rows = "rwkvag" },
	{ .from = "blk.#.time_mix_w0.weight", .to = "blocks.#.att.w0" },
	{ .from = "blk.#.time_mix_a0.weight", .to = "blocks.#.att.a0" },
	{ .from = "blk.#.time_mix_v0.weight", .to = "blocks.#.att.v0" },
	{ .from = "blk.#.time_mix_w1.weight", .to = "blocks.#.att.w1", .how = SWAPPED },
	{ .from = "blk.#.time_mix_w2.weight", .to = "blocks.#.att.w2", .how = SWAPPED },
	{ .from = "blk.#.time_mix_a1.weight", .to = "blocks.#.att.a1", .how = SWAPPED },
	{ .from = "blk.#.time_mix_a2.weight", .to = "blocks.#.att.a2", .how = SWAPPED },
	{ .from = "blk.#.time_mix_v1.weight", .to = "blocks.#.att.v1", .how = SWAPPED },
	{ .from = "blk.#.time_mix_v2.weight", .to = "blocks.#.att.v2", .how = SWAPPED },
	{ .from = "blk.#.time_mix_g1.weight", .to = "blocks.#.att.g1", .how = SWAPPED },
	{ .from = "blk.#.time_mix_g2.weight", .to = "blocks.#.att.g2", .how = SWAPPED },
	{ .from = "blk.#.time_mix_k_k.weight", .to = "blocks.#.att.k_k" },
	{ .from = "blk.#.time_mix_k_a.weight", .to = "blocks.#.att.k_a" },
	{ .from = "blk.#.time_mix_r_k.weight", .to = "blocks.#.att.r_k" },
	{ .from = "blk.#.channel_mix_lerp_k.weight", .to = "blocks.#.ffn.x_k" },
	{ 0 },
};

/* ---------------------------------------------------------------------------------------------------- which one */

/* A file is of the first dialect whose sign one of its tensors bears; NULL: of any file. */
struct dialect {
	const char *sign;
	const struct rule *rules, *common;
	enum { OTHERS, HUGGING_FACE, FLA_6, FLA_7 } family; /* whose config.json says more, see take_settings() */
};

static const struct dialect torch[] = {
	{ "layers.#.attn.r_proj.weight", fla_7, fla, FLA_7 },
	{ "layers.#.attn.r_proj.linear.weight", fla_6, fla, FLA_6 },
	{ "blocks.#.attention.key.weight", hugging_face, official, HUGGING_FACE },
	{ "blocks.#.att.time_mix_x", web_6, official, OTHERS },
	{ NULL, official, NULL, OTHERS },
};

static const struct dialect rwkv_cpp[] = {
	{ "blocks.#.att.r_k", cpp_7, NULL, OTHERS },
	{ "blocks.#.att.time_maa_x", cpp_6, NULL, OTHERS },
	{ "blocks.#.att.ln_x.weight", cpp_5, NULL, OTHERS },
	{ NULL, cpp_4, NULL, OTHERS },
};

static const struct dialect gguf_rwkv4[] = { { NULL, gguf_4, gguf_all, OTHERS } },
							gguf_rwkv5[] = { { NULL, gguf_5, gguf_all, OTHERS } },
							gguf_rwkv6[] = { { NULL, gguf_6, gguf_all, OTHERS } },
							gguf_rwkv7[] = { { NULL, gguf_7, gguf_all, OTHERS } };

static const struct dialect *const dialects[] = {
	[NAMES_TORCH] = torch,           [NAMES_RWKV_CPP] = rwkv_cpp,     [NAMES_GGUF_RWKV4] = gguf_rwkv4,
	[NAMES_GGUF_RWKV5] = gguf_rwkv5, [NAMES_GGUF_RWKV6] = gguf_rwkv6, [NAMES_GGUF_RWKV7] = gguf_rwkv7,
};

/* ---------------------------------------------------------------------------------------------------- patterns */

enum { MOST_CAPTURES = 4, NAME_BYTES = OFFICIAL_BYTES, MOST_TABLES = 6 };

struct captures {
	const char *start[MOST_CAPTURES];
	int length[MOST_CAPTURES];
	int count;
};

static bool stands_for(char wildcard, bool any, char c)
{
	return wildcard == '#' ? c >= '0' && c <= '9' : c != 0 && (any || c != '.');
}

static bool matches(const char *pattern, const char *name, struct captures *found)
{
	while (*pattern != '#' && *pattern != '*') {
		if (*pattern != *name)
			return false;
		if (*pattern == 0)
			return true;
		pattern++, name++;
	}
	bool any = pattern[0] == '*' && pattern[1] == '*';
	int index = found->count;
	found->start[index] = name;
	for (int n = 1; stands_for(*pattern, any, name[n - 1]); n++) {
		found->length[index] = n;
		found->count = index + 1;
		if (matches(pattern + (any ? 2 : 1), name + n, found))
			return true;
	}
	return false;
}

/* false when the name would be too long. */
static bool expand(const char *to, const struct captures *found, char letter, char *out)
{
	size_t at = 0;
	int next = 0;
	for (const char *p = to; *p; p++) {
		bool wildcard = *p == '#' || *p == '*';
		const char *text = wildcard ? found->start[next] : *p == '?' ? &letter : p;
		size_t length = wildcard ? (size_t)found->length[next++] : 1;
		if (at + length >= NAME_BYTES)
			return false;
		memcpy(out + at, text, length);
		at += length;
		if (p[0] == '*' && p[1] == '*')
			p++;
	}
	out[at] = 0;
	return true;
}

/* A prefix that exporters of PyTorch models add to all names. */
static const char *without_prefix(enum naming naming, const char *name)
{
	static const char *const prefixes[] = { "module.",          "model.", "base_model.", "_orig_mod.",
		                                    "_forward_module.", "rwkv7.", "rwkv." };
	for (size_t i = 0; naming == NAMES_TORCH && i < sizeof prefixes / sizeof *prefixes; i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return without_prefix(naming, name + strlen(prefixes[i]));
	return name;
}

static const struct dialect *recognise(const struct weights *weights, enum naming naming)
{
	const struct dialect *dialect = dialects[naming];
	for (; dialect->sign; dialect++)
		for (size_t i = 0; i < weights->count; i++)
			if (matches(dialect->sign, without_prefix(naming, weights->tensors[i].name), &(struct captures){ 0 }))
				return dialect;
	return dialect;
}

/* ---------------------------------------------------------------------------------------------------- one tensor */

static bool has_rows(const struct tensor *tensor, const char *rows)
{
	return tensor->rank == 2 && tensor->shape[0] == strlen(rows);
}

/* *out: the rule for a tensor, NULL when none has its name. */
static rwkvk_status find_rule(const struct weights *weights, const struct rule *rules, const struct tensor *tensor,
                              const char *name, const struct rule **out, struct captures *found)
{
	const struct rule *wrong = NULL;
	for (const struct rule *rule = rules; rule && rule->from; rule++) {
		found->count = 0;
		if (!matches(rule->from, name, found))
			continue;
		if (rule->how == ROWS && !has_rows(tensor, rule->rows)) {
			wrong = rule;
			continue;
		}
		if (wrong && rule->how != ROWS)
			break;
		*out = rule;
		bool whole = rule->how != ROWS && rule->how != STACKED && rule->how != BESIDE;
		if (whole || (tensor->type != DTYPE_FOREIGN && dtype_info[tensor->type].block == 1))
			return RWKVK_OK;
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected tensor %s as F32, F16 or BF16, found %s", weights->path,
		            tensor->file_name, tensor_type(tensor));
	}
	if (wrong)
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor %s to have %zu rows, found the shape %s", weights->path,
		            tensor->file_name, strlen(wrong->rows), show_shape(tensor->rank, tensor->shape).text);
	return RWKVK_OK;
}

static rwkvk_status append_as(struct weights *weights, const struct tensor *tensor, const struct rule *rule,
                              const struct captures *found, char letter)
{
	char name[NAME_BYTES];
	if (!expand(rule->to, found, letter, name))
		return fail(RWKVK_ERROR_FILE, "%s: expected shorter names, found \"%s\"", weights->path,
		            show_text(tensor->file_name, strlen(tensor->file_name)).text);
	struct tensor renamed = *tensor;
	renamed.name = name;
	renamed.swapped = rule->how == SWAPPED || rule->how == STACKED || rule->how == BESIDE;
	if (rule->how == FLAT) {
		while (renamed.rank > 1)
			renamed.shape[0] *= renamed.shape[--renamed.rank];
	}
	return weights_append(weights, &renamed);
}

static rwkvk_status append_rows(struct weights *weights, const struct tensor *tensor, const struct rule *rule,
                                const struct captures *found)
{
	struct tensor row = *tensor;
	row.rank = 1;
	row.shape[0] = tensor->shape[1];
	row.bytes = tensor->bytes / strlen(rule->rows);
	for (const char *letter = rule->rows; *letter; letter++) {
		TRY(append_as(weights, &row, rule, found, *letter));
		row.data = (const uint8_t *)row.data + row.bytes;
	}
	return RWKVK_OK;
}

/* Copies the parts of [outer, parts, inner] one after the other, in the official order. */
static void place_parts(const struct tensor *tensor, const char *rows, uint64_t outer, uint8_t *to)
{
	uint64_t parts = strlen(rows), inner = tensor->bytes / outer / parts;
	for (uint64_t part = 0; part < parts; part++) {
		const uint8_t *from = (const uint8_t *)tensor->data + (uint64_t)(strchr(rows, MIXES_6[part]) - rows) * inner;
		for (uint64_t i = 0; i < outer; i++, to += inner)
			memcpy(to, from + i * parts * inner, inner);
	}
}

static rwkvk_status append_parts(struct weights *weights, const struct tensor *tensor, const struct rule *rule,
                                 const struct captures *found)
{
	uint64_t parts = strlen(rule->rows);
	uint32_t divided = rule->how == STACKED ? 0 : 1; /* which dimension */
	const struct mapping *copy;
	struct tensor turned = *tensor;
	if (tensor->rank != 2 || tensor->shape[divided] % parts)
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor %s to be a matrix of %" PRIu64 " parts %s each other, found %s",
		            weights->path, tensor->file_name, parts, divided ? "beside" : "under",
		            show_shape(tensor->rank, tensor->shape).text);
	TRY(weights_allocate(weights, tensor->bytes, &copy));
	place_parts(tensor, rule->rows, divided ? tensor->shape[0] : 1, (uint8_t *)(uintptr_t)copy->data);
	turned.data = copy->data;
	if (divided) {
		turned.rank = 3;
		memcpy(turned.shape, ((uint64_t[]){ parts, tensor->shape[0], tensor->shape[1] / parts }), sizeof(uint64_t[3]));
	}
	return append_as(weights, &turned, rule, found, 0);
}

/* A name without a rule stays. */
static rwkvk_status append_renamed(struct weights *weights, const struct tensor *tensor, enum naming naming,
                                   const struct rule *const tables[MOST_TABLES])
{
	const char *name = without_prefix(naming, tensor->name);
	const struct rule *rule = NULL;
	struct captures found = { 0 };
	for (size_t i = 0; i < MOST_TABLES && !rule; i++)
		TRY(find_rule(weights, tables[i], tensor, name, &rule, &found));
	if (!rule)
		return weights_append(weights, tensor);
	if (rule->how == ROWS)
		return append_rows(weights, tensor, rule, &found);
	if (rule->how == STACKED || rule->how == BESIDE)
		return append_parts(weights, tensor, rule, &found);
	return rule->how == UNUSED ? RWKVK_OK : append_as(weights, tensor, rule, &found, 0);
}

/* ---------------------------------------------------------------------------------------------------- what names hide */

/* Factors of LoRA, by name within a layer; `first`: the one whose first dimension is officially C, the other's last is. */
static const struct {
	const char *pattern;
	bool first;
} factors[] = {
	{ "blocks.#.att.w1", true },
	{ "blocks.#.att.w2", false },
	{ "blocks.#.att.a1", true },
	{ "blocks.#.att.a2", false },
	{ "blocks.#.att.v1", true },
	{ "blocks.#.att.v2", false },
	{ "blocks.#.att.g1", true },
	{ "blocks.#.att.g2", false },
	{ "blocks.#.att.time_maa_w1", true },
	{ "blocks.#.att.time_maa_w2", false },
	{ "blocks.#.att.time_decay_w1", true },
	{ "blocks.#.att.time_decay_w2", false },
};

static bool is_factor(const struct tensor *tensor, bool *first)
{
	for (size_t i = 0; tensor->rank >= 2 && i < sizeof factors / sizeof *factors; i++) {
		*first = factors[i].first;
		if (matches(factors[i].pattern, tensor->name, &(struct captures){ 0 }))
			return true;
	}
	return false;
}

/* web-rwkv's converter transposes time_state, too, and only the rest of the file shows it. */
static void swap_states(struct weights *weights)
{
	for (size_t i = 0; i < weights->count; i++)
		if (matches("blocks.#.att.time_state", weights->tensors[i].name, &(struct captures){ 0 }))
			weights->tensors[i].swapped = true;
}

/* web-rwkv's .st files have transposed factors, those of RWKV-7 under official names.  Nearly always a factor's shape shows
 * it; if not (a rank of C), the other factors of the file do. */
static void orient(struct weights *weights, uint64_t width)
{
	bool transposed = false, first;
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < weights->count; i++) {
			struct tensor *tensor = &weights->tensors[i];
			if (!is_factor(tensor, &first))
				continue;
			bool a = tensor->shape[tensor->rank - 2] == width, b = tensor->shape[tensor->rank - 1] == width;
			if (a != b)
				tensor->swapped = a != first;
			else
				tensor->swapped |= transposed;
			transposed |= a != b && tensor->swapped;
		}
	if (transposed)
		swap_states(weights);
}

static bool bears(const struct weights *weights, const char *pattern)
{
	for (size_t i = 0; i < weights->count; i++)
		if (matches(pattern, weights->tensors[i].name, &(struct captures){ 0 }))
			return true;
	return false;
}

/* web-rwkv's .st files of RWKV-5 and 6 call the bonus u time_first, as RWKV-4 does, and it is still u.  Official files of
 * RWKV-5.0 and 5.1 have its logarithm under that name: one for each head, where u has one for each channel. */
static rwkvk_status name_bonus(struct weights *weights, uint64_t width)
{
	bool renamed = false;
	if (!bears(weights, "blocks.#.att.ln_x.weight"))
		return RWKVK_OK;
	for (size_t i = 0; i < weights->count; i++) {
		struct tensor *tensor = &weights->tensors[i];
		struct captures found = { 0 };
		char name[NAME_BYTES];
		if (tensor_elements(tensor) != width || !matches("blocks.#.att.time_first", tensor->name, &found))
			continue;
		expand("blocks.#.att.time_faaaa", &found, 0, name);
		char *copy = strdup(name);
		if (!copy)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for a name", weights->path);
		free(tensor->name);
		tensor->name = copy;
		renamed = true;
	}
	if (renamed)
		swap_states(weights);
	return RWKVK_OK;
}

/* What names imply beside tensors, or a config.json beside the file says.  Hugging Face's programs do not store a head that is
 * the embedding.  fla's RWKV-7 normalises heads with an epsilon that grows with them, its RWKV-6 with norm_eps as it is; where
 * nothing says that, the official one stays, since fla's converter makes such files of official models. */
static rwkvk_status take_settings(struct weights *weights, const struct dialect *dialect)
{
	struct metadata *m = &weights->metadata;
	struct config_json config;
	if (dialect->family == OTHERS && (weights_find(weights, "head.weight") || !weights_find(weights, "emb.weight")))
		return RWKVK_OK;
	TRY(config_json_read(weights, &config));
	m->tied = config.says_tied ? config.tied : dialect->family != OTHERS;
	if (dialect->family == FLA_7)
		m->channel_epsilon = config.norm_epsilon > 0 ? config.norm_epsilon : 1e-5;
	if (dialect->family == FLA_6 && m->group_norm_epsilon == 0)
		m->group_norm_epsilon = (float)config.norm_epsilon;
	if (dialect->family == FLA_6 || dialect->family == FLA_7)
		m->said_norm_epsilon = config.norm_epsilon;
	return RWKVK_OK;
}

rwkvk_status weights_tie(struct weights *weights)
{
	const struct tensor *emb = weights_find(weights, "emb.weight");
	struct metadata *m = &weights->metadata;
	m->tied = m->tied && emb && !weights_find(weights, "head.weight");
	if (!m->tied)
		return RWKVK_OK;
	struct tensor head = *emb;
	head.name = (char *)(uintptr_t) "head.weight"; /* weights_append() takes copies */
	return weights_append(weights, &head);
}

static rwkvk_status rename_all(struct weights *weights, enum naming naming, const struct rule *const tables[MOST_TABLES])
{
	struct weights old = { .tensors = weights->tensors, .count = weights->count };
	rwkvk_status status = RWKVK_OK;
	weights->tensors = NULL;
	weights->count = 0;
	for (size_t i = 0; i < old.count && status == RWKVK_OK; i++)
		status = append_renamed(weights, &old.tensors[i], naming, tables);
	weights_close(&old);
	return status;
}

/* Hugging Face's peft calls what it wraps so. */
static void unwrap_names(struct weights *weights)
{
	static const char wrap[] = ".base_layer";
	for (size_t i = 0; i < weights->count; i++) {
		char *at = strstr(weights->tensors[i].name, ".base_layer.");
		if (at)
			memmove(at, at + strlen(wrap), strlen(at + strlen(wrap)) + 1);
	}
}

rwkvk_status weights_rename(struct weights *weights, enum naming naming)
{
	if (naming == NAMES_TORCH)
		unwrap_names(weights);
	const struct dialect *dialect = recognise(weights, naming);
	TRY(rename_all(weights, naming, (const struct rule *const[MOST_TABLES]){ dialect->rules, dialect->common }));
	if (naming == NAMES_TORCH)
		TRY(take_settings(weights, dialect));
	const struct tensor *emb = weights_find(weights, "emb.weight");
	if (naming != NAMES_TORCH || !emb)
		return RWKVK_OK;
	orient(weights, emb->shape[emb->rank - 1]);
	return name_bonus(weights, emb->shape[emb->rank - 1]);
}

/* ---------------------------------------------------------------------------------------------------- of any dialect */

/* Names of these dialects have nothing in common, but for those of fla's two versions, and what all leave as it is. */
static void tables_like(const struct weights *model, const struct rule *tables[MOST_TABLES])
{
	bool seven = bears(model, "blocks.#.att.r_k"), six = bears(model, "blocks.#.att.time_maa_x");
	const struct rule *const all[MOST_TABLES] = {
		seven ? fla_7 : six ? fla_6 : NULL, six ? web_6 : NULL, hugging_face, fla, official,
	};
	memcpy(tables, all, sizeof all);
}

rwkvk_status weights_rename_like(struct weights *weights, const struct weights *model)
{
	const struct rule *tables[MOST_TABLES];
	tables_like(model, tables);
	unwrap_names(weights);
	return rename_all(weights, NAMES_TORCH, tables);
}

static void take_form(const struct rule *rule, struct official_name *out)
{
	bool parts = rule->how == STACKED || rule->how == BESIDE;
	out->swapped = rule->how == SWAPPED || parts;
	out->parts = parts ? (uint32_t)strlen(rule->rows) : 1;
	out->beside = rule->how == BESIDE;
	for (uint32_t i = 0; parts && i < out->parts && i < sizeof out->order; i++)
		out->order[i] = (uint8_t)(strchr(MIXES_6, rule->rows[i]) - MIXES_6);
}

rwkvk_status weights_official_name(const struct weights *weights, const struct weights *model, const char *name,
                                   struct official_name *out)
{
	const struct rule *tables[MOST_TABLES], *rule;
	const char *bare = without_prefix(NAMES_TORCH, name);
	struct captures found;
	tables_like(model, tables);
	for (size_t i = 0; i < MOST_TABLES; i++)
		for (rule = tables[i]; rule && rule->from; rule++) {
			found.count = 0;
			if (!matches(rule->from, bare, &found))
				continue;
			if (rule->how == ROWS)
				return fail(RWKVK_ERROR_UNSUPPORTED,
				            "%s: adapters of %s, which holds several tensors of the model, are not supported", weights->path,
				            show_text(name, strlen(name)).text);
			take_form(rule, out);
			if (expand(rule->to, &found, 0, out->text))
				return RWKVK_OK;
		}
	*out = (struct official_name){ .parts = 1 };
	snprintf(out->text, OFFICIAL_BYTES, "%.*s", OFFICIAL_BYTES - 1, bare);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- and back */

/* The tensors that `rule` makes one, if one of them is called `name` and all are there. */
static bool find_rows(const struct weights *weights, const struct rule *rule, const char *name, struct captures *found,
                      struct gguf_name *out)
{
	char pattern[NAME_BYTES], row[NAME_BYTES];
	bool one_of_them = false;
	const char *mark = strchr(rule->to, '?');
	for (const char *letter = rule->rows; *letter && !one_of_them; letter++) {
		snprintf(pattern, sizeof pattern, "%.*s%c%s", (int)(mark - rule->to), rule->to, *letter, mark + 1);
		found->count = 0;
		one_of_them = matches(pattern, name, found);
		out->follows = letter != rule->rows;
	}
	for (out->rows = 0; one_of_them && rule->rows[out->rows]; out->rows++)
		if (!expand(rule->to, found, rule->rows[out->rows], row) || !(out->row[out->rows] = weights_find(weights, row)))
			return false;
	return one_of_them;
}

static bool spell(const struct weights *weights, const struct rule *rules, const char *name, struct gguf_name *out)
{
	char text[NAME_BYTES];
	for (const struct rule *rule = rules; rule->from; rule++) {
		struct captures found = { 0 };
		*out = (struct gguf_name){ .swapped = rule->how == SWAPPED };
		if (rule->how == UNUSED)
			continue;
		if (rule->how == ROWS ? !find_rows(weights, rule, name, &found, out) : !matches(rule->to, name, &found))
			continue;
		if (!expand(rule->from, &found, 0, text) || strlen(text) >= sizeof out->text)
			return false;
		strcpy(out->text, text);
		return true;
	}
	return false;
}

bool weights_gguf_name(const struct weights *weights, enum naming naming, const char *name, struct gguf_name *out)
{
	const struct dialect *dialect = dialects[naming];
	return spell(weights, dialect->rules, name, out) || spell(weights, dialect->common, name, out);
}
