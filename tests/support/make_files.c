#include "make_files.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "format/gguf_writer.h"
#include "make_pth.h"
#include "support.h"

/* ---------------------------------------------------------------------------------------------------- lists */

static struct list_item *add(struct list *list, const char *name, uint32_t rank, const uint64_t *shape)
{
	assert_true(list->count < sizeof list->items / sizeof *list->items);
	struct list_item *item = &list->items[list->count++];
	*item = (struct list_item){ .rank = rank, .count = 1 };
	snprintf(item->name, sizeof item->name, "%s", name);
	for (uint32_t i = 0; i < rank; i++) {
		item->shape[i] = shape[i];
		item->count *= shape[i];
	}
	item->values = malloc(item->count * sizeof *item->values);
	assert_non_null(item->values);
	return item;
}

/* Numbers that follow from the name: the same tensor has the same ones in every list. */
static void fill(struct list_item *item)
{
	uint64_t seed = 1;
	for (const char *p = item->name; *p; p++)
		seed = seed * 31 + (uint8_t)*p;
	for (uint64_t i = 0; i < item->count; i++)
		item->values[i] = (float)(int)(test_random(&seed) % 128) / 32 - 2;
}

static void put(struct list *list, int layer, const char *name, uint64_t a, uint64_t b, uint64_t c)
{
	char full[96];
	uint64_t shape[3] = { a, b, c };
	if (layer < 0)
		snprintf(full, sizeof full, "%s", name);
	else
		snprintf(full, sizeof full, "blocks.%d.%s", layer, name);
	fill(add(list, full, c ? 3 : b ? 2 : 1, shape));
}

static void put_norm(struct list *list, int layer, const char *name, uint64_t width)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	put(list, layer, full, width, 0, 0);
	snprintf(full, sizeof full, "%s.bias", name);
	put(list, layer, full, width, 0, 0);
}

static void put_vectors(struct list *list, int layer, const char *stem, const char *letters, uint64_t width)
{
	for (; *letters; letters++) {
		char name[64];
		snprintf(name, sizeof name, "%.62s%c", stem, *letters);
		put(list, layer, name, 1, 1, width);
	}
}

static void put_factors(struct list *list, int layer, const char *name, const struct list_sizes *s)
{
	char full[64];
	snprintf(full, sizeof full, "%s1", name);
	put(list, layer, full, s->width, s->rank, 0);
	snprintf(full, sizeof full, "%s2", name);
	put(list, layer, full, s->rank, s->width, 0);
}

static void put_attention_7(struct list *list, int layer, const struct list_sizes *s)
{
	put_vectors(list, layer, "att.x_", "rwkvag", s->width);
	for (const char *p = layer ? "wav" : "wa"; *p; p++) {
		char name[16];
		snprintf(name, sizeof name, "att.%c0", *p);
		put(list, layer, name, 1, 1, s->width);
		snprintf(name, sizeof name, "att.%c", *p);
		put_factors(list, layer, name, s);
	}
	put_factors(list, layer, "att.g", s);
	put(list, layer, "att.k_k", 1, 1, s->width);
	put(list, layer, "att.k_a", 1, 1, s->width);
	put(list, layer, "att.r_k", s->width / s->head_size, s->head_size, 0);
}

static void put_attention(struct list *list, int layer, const char *version, const struct list_sizes *s)
{
	uint64_t heads = s->width / s->head_size;
	if (*version == '7') {
		put_attention_7(list, layer, s);
	} else if (*version == '6') {
		put_vectors(list, layer, "att.time_maa_", "xwkvrg", s->width);
		put(list, layer, "att.time_maa_w1", s->width, 5 * (s->rank + 1), 0);
		put(list, layer, "att.time_maa_w2", 5, s->rank + 1, s->width);
		put(list, layer, "att.time_decay", 1, 1, s->width);
		put_factors(list, layer, "att.time_decay_w", s);
		put(list, layer, "att.time_faaaa", heads, s->head_size, 0);
	} else {
		bool per_channel = strcmp(version, "5.2") == 0;
		put_vectors(list, layer, "att.time_mix_", *version == '4' || strcmp(version, "5.0") == 0 ? "kvr" : "kvrg", s->width);
		put(list, layer, "att.time_decay", *version == '4' ? s->width : heads, per_channel ? s->head_size : 0, 0);
		put(list, layer, *version == '4' || strcmp(version, "5.0") == 0 ? "att.time_first" : "att.time_faaaa",
		    *version == '4' ? s->width : heads, per_channel ? s->head_size : 0, 0);
	}
	put(list, layer, "att.receptance.weight", s->width, s->width, 0);
	put(list, layer, "att.key.weight", s->width, s->width, 0);
	put(list, layer, "att.value.weight", s->width, s->width, 0);
	put(list, layer, "att.output.weight", s->width, s->width, 0);
	if (*version == '6' || strcmp(version, "5.1") == 0 || strcmp(version, "5.2") == 0)
		put(list, layer, "att.gate.weight", s->width, s->width, 0);
	if (*version != '4')
		put_norm(list, layer, "att.ln_x", s->width);
	if (s->biases)
		put(list, layer, "att.output.bias", s->width, 0, 0);
	if (s->states)
		put(list, layer, "att.time_state", heads, s->head_size, s->head_size);
}

static void put_channel_mix(struct list *list, int layer, const char *part, const char *version, const struct list_sizes *s)
{
	char name[64];
#define NAME(suffix) (snprintf(name, sizeof name, "%s." suffix, part), name)
	if (*version == '7')
		put(list, layer, NAME("x_k"), 1, 1, s->width);
	else
		put_vectors(list, layer, *version == '6' ? NAME("time_maa_") : NAME("time_mix_"), "kr", s->width);
	put(list, layer, NAME("key.weight"), s->ffn, s->width, 0);
	put(list, layer, NAME("value.weight"), s->width, s->ffn, 0);
	if (*version != '7')
		put(list, layer, NAME("receptance.weight"), s->width, s->width, 0);
#undef NAME
}

struct list *list_official(const char *version, const struct list_sizes *s)
{
	struct list *list = calloc(1, sizeof *list);
	assert_non_null(list);
	put(list, -1, "emb.weight", s->vocab, s->width, 0);
	for (int layer = 0; layer < (int)s->layers; layer++) {
		if (layer == 0 && !s->no_embedding_norm)
			put_norm(list, layer, "ln0", s->width);
		put_norm(list, layer, "ln1", s->width);
		put_norm(list, layer, "ln2", s->width);
		if (s->pre && layer == 0)
			put_channel_mix(list, layer, "ffnPre", version, s);
		else
			put_attention(list, layer, version, s);
		put_channel_mix(list, layer, "ffn", version, s);
	}
	put_norm(list, -1, "ln_out", s->width);
	put(list, -1, "head.weight", s->vocab, s->width, 0);
	if (s->biases)
		put(list, -1, "head.bias", s->vocab, 0, 0);
	return list;
}

void list_free(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].values);
	free(list);
}

struct list_item *list_find(struct list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- changes */

static void replace(char *name, const char *from, const char *to)
{
	char *at = strstr(name, from), rest[96];
	if (!at)
		return;
	strcpy(rest, at + strlen(from));
	strcpy(at, to);
	strcat(name, rest);
}

static bool ends_in(const char *name, const char *ending)
{
	size_t n = strlen(name), m = strlen(ending);
	return n >= m && strcmp(name + n - m, ending) == 0;
}

static void squeeze(struct list_item *item)
{
	uint32_t rank = 0;
	for (uint32_t i = 0; i < item->rank; i++)
		if (item->shape[i] != 1)
			item->shape[rank++] = item->shape[i];
	item->rank = rank;
}

/* The last two dimensions. */
static void transpose(struct list_item *item)
{
	uint64_t rows = item->shape[item->rank - 2], columns = item->shape[item->rank - 1];
	float *old = malloc(item->count * sizeof *old);
	assert_non_null(old);
	memcpy(old, item->values, item->count * sizeof *old);
	for (uint64_t i = 0; i < item->count; i++) {
		uint64_t batch = i / (rows * columns), row = i / columns % rows, column = i % columns;
		item->values[(batch * columns + column) * rows + row] = old[i];
	}
	free(old);
	item->shape[item->rank - 2] = columns;
	item->shape[item->rank - 1] = rows;
}

static void transpose_if(struct list *list, const char *const *parts)
{
	for (size_t i = 0; i < list->count; i++)
		for (const char *const *part = parts; *part; part++)
			if (strstr(list->items[i].name, *part)) {
				transpose(&list->items[i]);
				break;
			}
}

static void rename_all(struct list *list, const char *const (*names)[2])
{
	for (; ***names; names++)
		for (size_t i = 0; i < list->count; i++)
			replace(list->items[i].name, (*names)[0], (*names)[1]);
}

/* Rows stem + letter of each layer become one tensor `name` in the place of the first. */
static void fuse(struct list *list, int layers, const char *stem, const char *letters, const char *name)
{
	for (int layer = 0; layer < layers; layer++) {
		struct list_item *first = NULL;
		for (size_t n = 0; letters[n]; n++) {
			char full[96];
			snprintf(full, sizeof full, "blocks.%d.%s%c", layer, stem, letters[n]);
			struct list_item *item = list_find(list, full);
			assert_non_null(item);
			if (!first) {
				first = item;
				first->values = realloc(first->values, strlen(letters) * item->count * sizeof *item->values);
				continue;
			}
			memcpy(first->values + n * first->count, item->values, item->count * sizeof *item->values);
			free(item->values);
			memmove(item, item + 1, (size_t)(list->items + list->count - item - 1) * sizeof *item);
			list->count--;
			assert_true(item > first);
		}
		uint64_t shape[4] = { strlen(letters), 1, 1, first->count };
		snprintf(first->name, sizeof first->name, "blocks.%d.%s", layer, name);
		memcpy(first->shape, shape, sizeof shape);
		first->rank = 4;
		first->count *= strlen(letters);
	}
}

static int count_layers(const struct list *list)
{
	int layers = 0, layer;
	for (size_t i = 0; i < list->count; i++)
		if (sscanf(list->items[i].name, "blocks.%d.", &layer) == 1 && layer >= layers)
			layers = layer + 1;
	return layers;
}

/* As convert_safetensors.py of web-rwkv and RWKV-Runner. */
void list_to_web(struct list *list, const char *version, const struct list_sizes *s)
{
	static const char *const parts[] = { "time_mix_w1", "time_mix_w2", "w1", "w2",         "a1", "a2",
		                                 "g1",          "g2",          "v1", "time_state", "v2", NULL };
	static const char *const names[][2] = { { "time_faaaa", "time_first" }, { "time_maa", "time_mix" }, { "", "" } };
	for (size_t i = 0; strcmp(version, "5.1") == 0 && i < list->count; i++) {
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
	rename_all(list, names);
	transpose_if(list, parts);
	for (size_t i = 0; i < list->count; i++)
		for (char *p = list->items[i].name; *p; p++)
			*p = (char)tolower(*p);
}

void list_to_hugging_face(struct list *list, const char *version)
{
	static const char *const names[][2] = { { "emb.", "embeddings." },
		                                    { ".att.", ".attention." },
		                                    { ".ffn.", ".feed_forward." },
		                                    { ".ln0.", ".pre_ln." },
		                                    { "", "" } };
	static const char *const mixes[][2] = { { "time_mix_k", "time_mix_key" },
		                                    { "time_mix_v", "time_mix_value" },
		                                    { "time_mix_r", "time_mix_receptance" },
		                                    { "time_mix_g", "time_mix_gate" },
		                                    { "", "" } };
	rename_all(list, names);
	if (*version != '6')
		rename_all(list, mixes);
	for (size_t i = 0; i < list->count; i++) {
		char name[96];
		strcpy(name, list->items[i].name);
		snprintf(list->items[i].name, sizeof list->items[i].name, "%s%.80s", strncmp(name, "head", 4) ? "rwkv." : "", name);
	}
}

/* RWKV-6's five mixes, "wkvrg" officially. */
static const char fla_mixes[] = "rwkvg";

static uint64_t fla_mix(uint64_t official)
{
	return (uint64_t)(strchr(fla_mixes, "wkvrg"[official]) - fla_mixes);
}

/* time_maa_w1 [C,5R] to [5R,C], time_maa_w2 [5,R,C] to [C,5R]. */
static void turn_mixes(struct list_item *item, bool inner)
{
	uint64_t C = item->shape[inner ? 0 : 2], R = item->count / 5 / C;
	float *turned = malloc(item->count * sizeof *turned);
	assert_non_null(turned);
	for (uint64_t p = 0; p < 5; p++)
		for (uint64_t r = 0; r < R; r++)
			for (uint64_t c = 0; c < C; c++) {
				uint64_t at = fla_mix(p) * R + r;
				float value = item->values[inner ? c * 5 * R + p * R + r : (p * R + r) * C + c];
				turned[inner ? at * C + c : c * 5 * R + at] = value;
			}
	free(item->values);
	item->values = turned;
	item->rank = 2;
	item->shape[0] = inner ? 5 * R : C;
	item->shape[1] = inner ? C : 5 * R;
}

/* The five vectors of a layer take the place of time_maa_w. */
static void stack_mixes(struct list *list, int layer)
{
	char name[96];
	struct list_item *first = NULL;
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "blocks.%d.att.time_maa_%c", layer, "wkvrg"[i]);
		struct list_item *item = list_find(list, name);
		assert_non_null(item);
		uint64_t width = item->count;
		if (i == 0) {
			first = item;
			float *own = item->values;
			item->values = malloc(5 * width * sizeof *own);
			memcpy(item->values + fla_mix(0) * width, own, width * sizeof *own);
			free(own);
			continue;
		}
		memcpy(first->values + fla_mix((uint64_t)i) * width, item->values, width * sizeof *item->values);
		free(item->values);
		memmove(item, item + 1, (size_t)(list->items + list->count - item - 1) * sizeof *item);
		list->count--;
	}
	snprintf(first->name, sizeof first->name, "blocks.%d.att.x_bias", layer);
	first->rank = 2;
	first->shape[0] = 5;
	first->shape[1] = first->count;
	first->count *= 5;
}

static void to_fla_6(struct list *list)
{
	static const char *const names[][2] = {
		{ ".att.time_maa_x", ".att.x_proj.0.mu" },
		{ ".att.time_maa_w1", ".att.x_proj.0.linear.weight" },
		{ ".att.time_maa_w2", ".att.x_proj.2.weight" },
		{ ".att.time_decay_w1", ".att.w_proj.linear.lora.0.weight" },
		{ ".att.time_decay_w2", ".att.w_proj.linear.lora.2.weight" },
		{ ".att.time_decay", ".att.w_proj.linear.lora.2.bias" },
		{ ".att.time_faaaa", ".att.bonus" },
		{ ".att.receptance.", ".att.r_proj.linear." },
		{ ".att.key.", ".att.k_proj.linear." },
		{ ".att.value.", ".att.v_proj.linear." },
		{ ".att.gate.", ".att.g_proj.linear." },
		{ ".ffn.key.", ".ffn.key.linear." },
		{ ".ffn.receptance.", ".ffn.receptance.linear." },
		{ ".ffn.time_maa_k", ".ffn.key.mu" },
		{ ".ffn.time_maa_r", ".ffn.receptance.mu" },
		{ "", "" },
	};
	static const char *const parts[] = { "time_decay_w1", "time_decay_w2", NULL };
	transpose_if(list, parts);
	for (size_t i = 0; i < list->count; i++)
		if (ends_in(list->items[i].name, "time_maa_w1") || ends_in(list->items[i].name, "time_maa_w2"))
			turn_mixes(&list->items[i], ends_in(list->items[i].name, "1"));
	for (int layer = count_layers(list); layer-- > 0;)
		stack_mixes(list, layer);
	rename_all(list, names);
}

void list_to_fla(struct list *list, bool fused)
{
	static const char *const parts[] = { ".att.w1", ".att.w2", ".att.a1", ".att.a2", ".att.v1",
		                                 ".att.v2", ".att.g1", ".att.g2", NULL };
	static const char *const names[][2] = {
		{ "emb.", "embeddings." },
		{ "ln_out.", "norm." },
		{ "head.", "lm_head." },
		{ "blocks.", "layers." },
		{ ".ln0.", ".pre_norm." },
		{ ".ln1.", ".attn_norm." },
		{ ".ln2.", ".ffn_norm." },
		{ ".att.receptance.", ".attn.r_proj." },
		{ ".att.key.", ".attn.k_proj." },
		{ ".att.value.", ".attn.v_proj." },
		{ ".att.output.", ".attn.o_proj." },
		{ ".att.ln_x.", ".attn.g_norm." },
		{ ".att.", ".attn." },
		{ "", "" },
	};
	if (list_find(list, "blocks.0.att.time_maa_x"))
		to_fla_6(list);
	transpose_if(list, parts);
	if (fused)
		fuse(list, count_layers(list), "att.x_", "rwkvag", "att.x_x");
	for (size_t i = 0; i < list->count; i++) {
		struct list_item *item = &list->items[i];
		char *dot = strrchr(item->name, '.'), kind = dot[1], which = dot[2];
		if (dot[3] == 0 && strchr("wavg", kind) && strchr("012", which))
			sprintf(dot, ".%c_lora.lora.%c.%s", kind, which == '1' ? '0' : '2', which == '0' ? "bias" : "weight");
	}
	rename_all(list, names);
	for (size_t i = 0; i < list->count; i++) {
		char name[96];
		strcpy(name, list->items[i].name);
		snprintf(list->items[i].name, sizeof list->items[i].name, "%s%.80s", strncmp(name, "lm_head", 7) ? "model." : "", name);
	}
}

/* As convert_pytorch_to_ggml.py of rwkv.cpp. */
void list_to_rwkv_cpp(struct list *list, const char *version, const struct list_sizes *s)
{
	static const char *const parts[] = { ".att.w1",       ".att.w2",       ".att.a1", ".att.a2",     ".att.v1",
		                                 ".att.v2",       ".att.g1",       ".att.g2", "time_maa_w1", "time_maa_w2",
		                                 "time_decay_w1", "time_decay_w2", NULL };
	for (size_t i = 0; i < list->count; i++) {
		struct list_item *item = &list->items[i];
		bool decay = ends_in(item->name, "time_decay"), first = ends_in(item->name, "time_first");
		if (*version != '7')
			squeeze(item);
		for (uint64_t n = 0; n < item->count && (decay || first); n++) {
			float raw = item->values[n];
			if (decay && *version == '4')
				item->values[n] = -expf(raw);
			else if (decay && *version == '5')
				item->values[n] = expf(-expf(raw));
			else if (first && *version == '5')
				item->values[n] = expf(raw);
		}
		if (*version == '4' || *version == '7' || !(decay || first || ends_in(item->name, "time_faaaa")))
			continue;
		uint64_t heads = s->width / s->head_size;
		item->rank = 3;
		memcpy(item->shape, ((uint64_t[]){ heads, item->count / heads, 1 }), 3 * sizeof *item->shape);
	}
	transpose_if(list, parts);
	if (*version == '7')
		fuse(list, count_layers(list), "att.x_", "rwkvag", "att.x_rwkvag");
}

/* v0, v1, v2 of layer 0, which llama.cpp's converter makes of a0, a1, a2. */
static void put_copies(struct list *list)
{
	static const char *const names[] = { "blocks.0.att.a0", "blocks.0.att.a1", "blocks.0.att.a2" };
	for (size_t i = 0; i < 3; i++) {
		const struct list_item *from = list_find(list, names[i]);
		struct list_item *copy = add(list, names[i], from->rank, from->shape);
		memcpy(copy->values, from->values, from->count * sizeof *from->values);
		replace(copy->name, ".att.a", ".att.v");
	}
}

/* As llama.cpp's converter, and for versions 4 and 5, which it does not have, with the names of docs/formats.md. */
void list_to_gguf(struct list *list, const char *version, bool fused)
{
	static const char *const parts[] = { ".att.w1",       ".att.w2",       ".att.a1", ".att.a2",     ".att.v1",
		                                 ".att.v2",       ".att.g1",       ".att.g2", "time_maa_w1", "time_maa_w2",
		                                 "time_decay_w1", "time_decay_w2", NULL };
	static const char *const names[][2] = {
		{ "emb.", "token_embd." },
		{ "blocks.0.ln0.", "token_embd_norm." },
		{ "ln_out.", "output_norm." },
		{ "head.", "output." },
		{ ".ln1.", ".attn_norm." },
		{ ".ln2.", ".attn_norm_2." },
		{ ".att.time_maa_w1", ".time_mix_w1" },
		{ ".att.time_maa_w2", ".time_mix_w2" },
		{ ".att.ln_x.", ".time_mix_ln." },
		{ ".att.time_faaaa", ".time_mix_first" },
		{ ".att.time_first", ".time_mix_first" },
		{ ".att.time_decay", ".time_mix_decay" },
		{ ".att.time_maa_", ".time_mix_lerp_" },
		{ ".att.time_mix_", ".time_mix_lerp_" },
		{ ".ffn.time_maa_", ".channel_mix_lerp_" },
		{ ".ffn.time_mix_", ".channel_mix_lerp_" },
		{ ".ffn.x_", ".channel_mix_lerp_" },
		{ ".att.", ".time_mix_" },
		{ ".ffn.", ".channel_mix_" },
		{ "blocks.", "blk." },
		{ "", "" },
	};
	for (size_t i = 0; i < list->count; i++)
		squeeze(&list->items[i]);
	if (*version == '7')
		put_copies(list);
	transpose_if(list, parts);
	if (*version == '7')
		fuse(list, count_layers(list), "att.x_", "rwkvag", "att.lerp_fused");
	else if (*version == '6' && fused)
		fuse(list, count_layers(list), "att.time_maa_", "wkvrg", "att.lerp_fused");
	else if (fused)
		fuse(list, count_layers(list), "att.time_mix_", list_find(list, "blocks.0.att.time_mix_g") ? "kvrg" : "kvr",
		     "att.lerp_fused");
	rename_all(list, names);
	for (size_t i = 0; i < list->count; i++) {
		char *name = list->items[i].name;
		if (*version == '7' && ends_in(name, "r_k")) {
			list->items[i].rank = 1;
			list->items[i].shape[0] = list->items[i].count;
		}
		if (!ends_in(name, ".weight") && !ends_in(name, ".bias"))
			strcat(name, ".weight");
	}
}

/* ---------------------------------------------------------------------------------------------------- files */

static void append(struct file_bytes *file, const void *data, size_t bytes)
{
	file->data = realloc(file->data, file->bytes + bytes + 1);
	assert_non_null(file->data);
	memcpy(file->data + file->bytes, data, bytes);
	file->bytes += bytes;
}

static void append_u32(struct file_bytes *file, uint32_t value)
{
	append(file, &value, sizeof value);
}

static void append_values(struct file_bytes *file, const struct list_item *item, enum dtype type)
{
	uint64_t bytes = 0;
	assert_true(dtype_bytes(type, item->rank, item->shape, &bytes));
	uint8_t *data = malloc(bytes);
	dtype_from_float(type, item->values, item->count, data);
	append(file, data, bytes);
	free(data);
}

static bool is_matrix(const struct list_item *item)
{
	return ends_in(item->name, ".weight") && item->rank == 2;
}

static struct file_bytes safetensors(const struct list *list, enum dtype of_matrices, enum dtype of_others)
{
	struct file_bytes file = { 0 }, data = { 0 }, header = { 0 };
	append(&header, "{", 1);
	for (size_t i = 0; i < list->count; i++) {
		const struct list_item *item = &list->items[i];
		enum dtype type = is_matrix(item) ? of_matrices : of_others;
		size_t start = data.bytes;
		char text[400], shape[100] = "";
		for (uint32_t d = 0; d < item->rank; d++)
			sprintf(shape + strlen(shape), "%s%llu", d ? "," : "", (unsigned long long)item->shape[d]);
		append_values(&data, item, type);
		snprintf(text, sizeof text, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", i ? "," : "",
		         item->name, dtype_info[type].name, shape, start, data.bytes);
		append(&header, text, strlen(text));
	}
	append(&header, "}", 1);
	append(&file, &(uint64_t){ header.bytes }, 8);
	append(&file, header.data, header.bytes);
	append(&file, data.data, data.bytes);
	free(header.data);
	free(data.data);
	return file;
}

struct file_bytes write_safetensors(const struct list *list, enum dtype type)
{
	return safetensors(list, type, type);
}

struct file_bytes write_safetensors_mixed(const struct list *list, enum dtype type)
{
	return safetensors(list, type, DTYPE_F32);
}

static void put_storage(struct zip_maker *zip, size_t key, const struct list_item *item, enum dtype type)
{
	char name[32];
	struct file_bytes data = { 0 };
	append_values(&data, item, type);
	snprintf(name, sizeof name, "model/data/%zu", key);
	zip_put(zip, name, data.data, data.bytes, ZIP_STORED);
	free(data.data);
}

static void put_spec(struct bytes *pickle, size_t key, const struct list_item *item, enum dtype type)
{
	static const char *const storages[] = {
		[DTYPE_F32] = "FloatStorage", [DTYPE_F16] = "HalfStorage", [DTYPE_BF16] = "BFloat16Storage"
	};
	char text[24];
	struct tensor_spec spec = { .name = item->name, .storage = storages[type], .key = text, .rank = item->rank };
	snprintf(text, sizeof text, "%zu", key);
	spec.count = item->count;
	for (uint32_t d = item->rank, stride = 1; d-- > 0; stride *= (uint32_t)item->shape[d]) {
		spec.size[d] = item->shape[d];
		spec.stride[d] = stride;
	}
	pickle_tensor(pickle, &spec);
}

struct file_bytes write_pth(const struct list *list, enum dtype type, const char *key)
{
	struct zip_maker zip = { .entries = 0 };
	struct bytes pickle = { 0 };
	pickle_begin(&pickle);
	if (key) {
		pickle_text(&pickle, key);
		bytes_put(&pickle, "}", 1); /* EMPTY_DICT */
	}
	for (size_t i = 0; i < list->count; i++)
		put_spec(&pickle, i, &list->items[i], type);
	if (key) {
		bytes_put(&pickle, "s", 1); /* SETITEM */
		pickle_text(&pickle, "epoch");
		pickle_int(&pickle, 3);
		bytes_put(&pickle, "s", 1);
	}
	pickle_end(&pickle);
	zip_put(&zip, "model/data.pkl", pickle.data, pickle.count, ZIP_STORED);
	bytes_free(&pickle);
	for (size_t i = 0; i < list->count; i++)
		put_storage(&zip, i, &list->items[i], type);
	zip_end(&zip);
	return (struct file_bytes){ zip.file.data, zip.file.count };
}

struct file_bytes write_rwkv_cpp(const struct list *list, uint32_t version, const struct list_sizes *s, enum dtype type)
{
	static const uint32_t number[DTYPE_COUNT] = { [DTYPE_F32] = 0, [DTYPE_F16] = 1, [DTYPE_Q8_0] = 9 };
	struct file_bytes file = { 0 };
	append(&file, "fmgg", 4);
	append_u32(&file, version);
	append_u32(&file, (uint32_t)s->vocab);
	append_u32(&file, (uint32_t)s->width);
	append_u32(&file, (uint32_t)s->layers);
	append_u32(&file, number[type]);
	for (size_t i = 0; i < list->count; i++) {
		const struct list_item *item = &list->items[i];
		bool matrix = is_matrix(item);
		append_u32(&file, item->rank);
		append_u32(&file, (uint32_t)strlen(item->name));
		append_u32(&file, matrix ? number[type] : 0);
		for (uint32_t d = item->rank; d > 0; d--)
			append_u32(&file, (uint32_t)item->shape[d - 1]);
		append(&file, item->name, strlen(item->name));
		append_values(&file, item, matrix ? type : DTYPE_F32);
	}
	return file;
}

void write_gguf(const char *path, const struct list *list, const char *architecture, uint32_t head_size, uint32_t rescale)
{
	struct gguf_writer *w = gguf_writer_create();
	char key[64];
	assert_non_null(w);
	gguf_put_string(w, "general.architecture", architecture);
	snprintf(key, sizeof key, "%s.wkv.head_size", architecture);
	if (head_size)
		gguf_put_u32(w, key, head_size);
	snprintf(key, sizeof key, "%s.rescale_every_n_layers", architecture);
	gguf_put_u32(w, key, rescale);
	for (size_t i = 0; i < list->count; i++)
		gguf_put_tensor(w, list->items[i].name, DTYPE_F32, list->items[i].rank, list->items[i].shape, list->items[i].values);
	assert_ok(gguf_writer_finish(w, path));
}
