#include "make_model.h"

#include <math.h>
#include <stdio.h>

#include "format/gguf_writer.h"
#include "support.h"

/* A matrix of a type that nothing writes: any bytes are valid blocks, as long as the f16 scales are reasonable. */
static void put_random_blocks(struct gguf_writer *w, uint64_t *random, const char *name, enum dtype type,
                              const uint64_t shape[2])
{
	static const uint32_t scales[DTYPE_COUNT][2] = {
		[DTYPE_Q2_K] = { 80, 82 }, [DTYPE_Q3_K] = { 108, 108 }, [DTYPE_IQ4_NL] = { 0, 0 }
	};
	uint64_t bytes;
	assert_true(dtype_bytes(type, 2, shape, &bytes));
	uint8_t *data = malloc(bytes);
	for (uint64_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)test_random(random);
	for (uint64_t i = 0; i < bytes; i += dtype_info[type].bytes)
		for (int j = 0; j < 2; j++) {
			uint16_t scale = (uint16_t)(0x0c00 + test_random(random) % 0x400); /* 2.4e-4 to 4.9e-4 */
			memcpy(data + i + scales[type][j], &scale, 2);
		}
	gguf_put_stored(w, name, type, 2, shape, data);
	free(data);
}

/* A tensor of values around `middle`, spread by `spread`. */
static void put(struct gguf_writer *w, uint64_t *random, const char *name, enum dtype type, uint64_t rows, uint64_t columns,
                float middle, float spread)
{
	uint64_t shape[2] = { rows, columns }, count = (rows ? rows : 1) * columns;
	if (!dtype_is_encodable(type)) {
		put_random_blocks(w, random, name, type, shape);
		return;
	}
	float *data = malloc(count * sizeof *data);
	for (uint64_t i = 0; i < count; i++)
		data[i] = middle + spread * test_uniform(random);
	gguf_put_tensor(w, name, type, rows ? 2 : 1, rows ? shape : shape + 1, data);
	free(data);
}

static void put_layer(struct gguf_writer *w, const struct model_spec *s, uint32_t index, uint64_t *random)
{
	const uint32_t C = s->width, F = s->ffn;
	/* Inputs of a matrix have size about 1, so sums of C products with these spreads stay there. */
	const float square = 1.7f / sqrtf((float)C), lora_in = 1.2f / sqrtf((float)C);
	char name[96];
#define NAME(suffix)                          (snprintf(name, sizeof name, "blk.%u." suffix, index), name)
#define VECTOR(suffix, middle, spread)        put(w, random, NAME(suffix), DTYPE_F32, 0, C, middle, spread)
#define MATRIX(suffix, rows, columns, spread) put(w, random, NAME(suffix), s->type, rows, columns, 0, spread)
#define LORA(letter, rank)                                                                                                     \
	do {                                                                                                                       \
		put(w, random, NAME("time_mix_" letter "1.weight"), s->lora_type, rank, C, 0, lora_in);                                \
		put(w, random, NAME("time_mix_" letter "2.weight"), s->lora_type, C, rank, 0, 1.2f / sqrtf((float)(rank)));            \
	} while (0)
	VECTOR("attn_norm.weight", 1, 0.3f);
	VECTOR("attn_norm.bias", 0, 0.1f);
	VECTOR("attn_norm_2.weight", 1, 0.3f);
	VECTOR("attn_norm_2.bias", 0, 0.1f);
	uint64_t fused[4] = { 6, 1, 1, C };
	float *mix = malloc(6 * C * sizeof *mix);
	for (uint32_t i = 0; i < 6 * C; i++)
		mix[i] = 0.5f + 0.6f * test_uniform(random);
	gguf_put_tensor(w, NAME("time_mix_lerp_fused.weight"), DTYPE_F32, 4, fused, mix);
	free(mix);
	VECTOR("time_mix_w0.weight", -1, 3);
	VECTOR("time_mix_a0.weight", 0, 1);
	LORA("w", s->rank_decay);
	LORA("a", s->rank_iclr);
	LORA("g", s->rank_gate);
	if (index > 0) {
		VECTOR("time_mix_v0.weight", 0.5f, 1);
		LORA("v", s->rank_value);
	}
	VECTOR("time_mix_k_k.weight", 0.7f, 0.3f);
	VECTOR("time_mix_k_a.weight", 1, 0.3f);
	VECTOR("time_mix_r_k.weight", 0, 0.3f);
	VECTOR("time_mix_ln.weight", 1, 0.3f);
	VECTOR("time_mix_ln.bias", 0, 0.1f);
	MATRIX("time_mix_receptance.weight", C, C, square);
	MATRIX("time_mix_key.weight", C, C, square);
	MATRIX("time_mix_value.weight", C, C, square);
	MATRIX("time_mix_output.weight", C, C, square);
	if (s->output_bias)
		VECTOR("time_mix_output.bias", 0, 1);
	VECTOR("channel_mix_lerp_k.weight", 0.5f, 0.6f);
	MATRIX("channel_mix_key.weight", F, C, square);
	MATRIX("channel_mix_value.weight", C, F, 1.7f / sqrtf((float)F));
#undef NAME
#undef VECTOR
#undef MATRIX
#undef LORA
}

/* ------------------------------------------------------------------------------------------------------ official names */

struct lister {
	const struct model_spec *spec;
	model_tensor_fn *each;
	void *user;
};

static void list(struct lister *o, int layer, const char *name, enum dtype type, uint64_t rows, uint64_t columns, float middle,
                 float spread)
{
	struct model_tensor tensor = { .type = type, .shape = { 1, rows, columns }, .middle = middle, .spread = spread };
	if (layer < 0)
		snprintf(tensor.name, sizeof tensor.name, "%s", name);
	else
		snprintf(tensor.name, sizeof tensor.name, "blocks.%d.%s", layer, name);
	o->each(o->user, &tensor);
}

static void list_norm(struct lister *o, int layer, const char *name)
{
	char full[64];
	snprintf(full, sizeof full, "%s.weight", name);
	list(o, layer, full, DTYPE_F32, 1, o->spec->width, 1, 0.3f);
	snprintf(full, sizeof full, "%s.bias", name);
	list(o, layer, full, DTYPE_F32, 1, o->spec->width, 0, 0.1f);
}

/* The vectors NAME%c of the letters. */
static void list_mixes(struct lister *o, int layer, const char *name, const char *letters)
{
	char full[64];
	for (; *letters; letters++) {
		snprintf(full, sizeof full, "%s%c", name, *letters);
		list(o, layer, full, DTYPE_F32, 1, o->spec->width, 0.5f, 0.6f);
	}
}

/* NAME1 [C,rank] and NAME2 [rank,C]. */
static void list_lora(struct lister *o, int layer, const char *name, uint32_t rank)
{
	const struct model_spec *s = o->spec;
	char full[64];
	snprintf(full, sizeof full, "%s1", name);
	list(o, layer, full, s->lora_type, s->width, rank, 0, 1.2f / sqrtf((float)s->width));
	snprintf(full, sizeof full, "%s2", name);
	list(o, layer, full, s->lora_type, rank, s->width, 0, 1.2f / sqrtf((float)rank));
}

static void list_recurrence_45(struct lister *o, int i)
{
	const struct model_spec *s = o->spec;
	const uint32_t C = s->width;
	list_mixes(o, i, "att.time_mix_", s->version >= 51 ? "rkvg" : "rkv");
	if (s->version == 52) {
		list(o, i, "att.time_decay", DTYPE_F32, C / s->head_size, s->head_size, -1, 2);
		list(o, i, "att.time_faaaa", DTYPE_F32, C / s->head_size, s->head_size, 0, 1);
	} else {
		uint32_t count = s->version == 40 ? C : C / s->head_size;
		list(o, i, "att.time_decay", DTYPE_F32, 1, count, -1, 2);
		list(o, i, "att.time_first", DTYPE_F32, 1, count, 0, 1);
	}
}

static void list_recurrence_6(struct lister *o, int i)
{
	const struct model_spec *s = o->spec;
	const uint32_t C = s->width;
	struct model_tensor w2 = { .type = s->lora_type,
		                       .shape = { 5, s->rank_mix, C },
		                       .spread = 0.6f / sqrtf((float)s->rank_mix) };
	list_mixes(o, i, "att.time_maa_", "xwkvrg");
	list(o, i, "att.time_maa_w1", s->lora_type, C, 5 * s->rank_mix, 0, 1.2f / sqrtf((float)C));
	snprintf(w2.name, sizeof w2.name, "blocks.%d.att.time_maa_w2", i);
	o->each(o->user, &w2);
	list(o, i, "att.time_decay", DTYPE_F32, 1, C, -1, 2);
	list_lora(o, i, "att.time_decay_w", s->rank_decay);
	list(o, i, "att.time_faaaa", DTYPE_F32, C / s->head_size, s->head_size, 0, 1);
}

static void list_recurrence_7(struct lister *o, int i)
{
	const struct model_spec *s = o->spec;
	const uint32_t C = s->width;
	list_mixes(o, i, "att.x_", "rwkvag");
	list(o, i, "att.w0", DTYPE_F32, 1, C, -1, 3);
	list(o, i, "att.a0", DTYPE_F32, 1, C, 0, 1);
	list_lora(o, i, "att.w", s->rank_decay);
	list_lora(o, i, "att.a", s->rank_iclr);
	list_lora(o, i, "att.g", s->rank_gate);
	if (i > 0) {
		list(o, i, "att.v0", DTYPE_F32, 1, C, 0.5f, 1);
		list_lora(o, i, "att.v", s->rank_value);
	}
	list(o, i, "att.k_k", DTYPE_F32, 1, C, 0.7f, 0.3f);
	list(o, i, "att.k_a", DTYPE_F32, 1, C, 1, 0.3f);
	list(o, i, "att.r_k", DTYPE_F32, C / s->head_size, s->head_size, 0, 0.3f);
}

static void list_time_mix(struct lister *o, int i)
{
	const struct model_spec *s = o->spec;
	const uint32_t C = s->width;
	const float square = 1.7f / sqrtf((float)C);
	list(o, i, "att.receptance.weight", s->type, C, C, 0, square);
	list(o, i, "att.key.weight", s->type, C, C, 0, square);
	list(o, i, "att.value.weight", s->type, C, C, 0, square);
	list(o, i, "att.output.weight", s->type, C, C, 0, square);
	if (s->output_bias)
		list(o, i, "att.output.bias", DTYPE_F32, 1, C, 0, 1);
	if (s->version > 50 && s->version < 70)
		list(o, i, "att.gate.weight", s->type, C, C, 0, square);
	if (s->version > 40)
		list_norm(o, i, "att.ln_x");
	if (s->version == 70)
		list_recurrence_7(o, i);
	else if (s->version == 60)
		list_recurrence_6(o, i);
	else
		list_recurrence_45(o, i);
}

/* [H, value, key] */
static void list_time_state(struct lister *o, int i)
{
	const struct model_spec *s = o->spec;
	struct model_tensor t = { .type = DTYPE_F32,
		                      .shape = { s->width / s->head_size, s->head_size, s->head_size },
		                      .spread = 0.5f };
	snprintf(t.name, sizeof t.name, "blocks.%d.att.time_state", i);
	o->each(o->user, &t);
}

static void list_channel_mix(struct lister *o, int i, const char *part)
{
	const struct model_spec *s = o->spec;
	const uint32_t C = s->width, F = s->ffn;
	const float square = 1.7f / sqrtf((float)C);
	char name[64];
#define NAME(suffix) (snprintf(name, sizeof name, "%s." suffix, part), name)
	if (s->version == 70)
		list_mixes(o, i, NAME("x_"), "k");
	else if (s->version == 60)
		list_mixes(o, i, NAME("time_maa_"), "kr");
	else
		list_mixes(o, i, NAME("time_mix_"), "kr");
	list(o, i, NAME("key.weight"), s->type, F, C, 0, square);
	list(o, i, NAME("value.weight"), s->type, C, F, 0, 1.7f / sqrtf((float)F));
	if (s->version < 70)
		list(o, i, NAME("receptance.weight"), s->type, C, C, 0, square);
#undef NAME
}

void model_tensors(const struct model_spec *spec, model_tensor_fn *each, void *user)
{
	struct model_spec s = *spec;
	struct lister o = { .spec = &s, .each = each, .user = user };
	s.version = s.version ? s.version : 70;
	list(&o, -1, "emb.weight", s.type, s.vocab, s.width, 0, 1);
	if (!s.no_embedding_norm)
		list_norm(&o, 0, "ln0");
	for (int i = 0; i < (int)s.layers; i++) {
		list_norm(&o, i, "ln1");
		list_norm(&o, i, "ln2");
		if (s.pre && i == 0)
			list_channel_mix(&o, 0, "ffnPre");
		else
			list_time_mix(&o, i);
		list_channel_mix(&o, i, "ffn");
	}
	list_norm(&o, -1, "ln_out");
	list(&o, -1, "head.weight", s.type, s.vocab, s.width, 0, 1.7f / sqrtf((float)s.width));
	if (s.head_bias)
		list(&o, -1, "head.bias", DTYPE_F32, 1, s.vocab, 0, 1);
	for (int i = 0; s.time_state && i < (int)s.layers; i++)
		list_time_state(&o, i);
}

/* ------------------------------------------------------------------------------------------------------ safetensors */

/* A file being written: the header's text and the data. */
struct official {
	uint64_t random;
	char *header;
	size_t header_bytes, header_room;
	uint8_t *data;
	size_t data_bytes;
};

static void put_official(void *user, const struct model_tensor *t)
{
	static const char *const names[] = { [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16" };
	struct official *o = user;
	uint64_t count = t->shape[0] * t->shape[1] * t->shape[2], bytes;
	assert_true(dtype_bytes(t->type, 3, t->shape, &bytes));
	float *values = malloc(count * sizeof *values);
	for (uint64_t i = 0; i < count; i++)
		values[i] = t->middle + t->spread * test_uniform(&o->random);
	o->data = realloc(o->data, o->data_bytes + bytes);
	dtype_from_float(t->type, values, count, o->data + o->data_bytes);
	free(values);
	if (o->header_room - o->header_bytes < 512)
		o->header = realloc(o->header, o->header_room += 1 << 16);
	o->header_bytes += (size_t)snprintf(o->header + o->header_bytes, o->header_room - o->header_bytes,
	                                    "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[%llu,%llu,%llu],\"data_offsets\":[%zu,%zu]}",
	                                    o->header_bytes ? ',' : '{', t->name, names[t->type], (unsigned long long)t->shape[0],
	                                    (unsigned long long)t->shape[1], (unsigned long long)t->shape[2], o->data_bytes,
	                                    o->data_bytes + (size_t)bytes);
	o->data_bytes += bytes;
}

static void make_official(const char *path, const struct model_spec *s)
{
	struct official o = { .random = s->seed };
	model_tensors(s, put_official, &o);
	uint64_t header = o.header_bytes + 1;
	uint8_t *file = malloc(8 + header + o.data_bytes);
	memcpy(file, &header, 8);
	memcpy(file + 8, o.header, o.header_bytes);
	file[8 + o.header_bytes] = '}';
	memcpy(file + 8 + header, o.data, o.data_bytes);
	test_write_file(path, file, 8 + header + o.data_bytes);
	free(file);
	free(o.header);
	free(o.data);
}

static void put_vocabulary(struct gguf_writer *w, uint32_t count)
{
	const char **texts = calloc(count, sizeof *texts);
	size_t *bytes = calloc(count, sizeof *bytes);
	char(*room)[16] = calloc(count, sizeof *room);
	for (uint32_t id = 0; id < count; id++) {
		bytes[id] = (size_t)snprintf(room[id], sizeof room[id], id == 98 ? "b" : "<%u>", id);
		texts[id] = room[id];
	}
	gguf_put_string(w, "tokenizer.ggml.model", "rwkv");
	gguf_put_strings(w, "tokenizer.ggml.tokens", texts, bytes, count);
	free(texts);
	free(bytes);
	free(room);
}

void make_model(const char *path, const struct model_spec *s)
{
	if ((s->version && s->version != 70) || s->time_state) {
		make_official(path, s);
		return;
	}
	uint64_t random = s->seed;
	struct gguf_writer *w = gguf_writer_create();
	assert_non_null(w);
	gguf_put_string(w, "general.architecture", "rwkv7");
	gguf_put_string(w, "general.name", s->name ? s->name : "test");
	gguf_put_u32(w, "rwkv7.wkv.head_size", s->head_size);
	gguf_put_u32(w, "rwkv7.block_count", s->layers);
	gguf_put_u32(w, "rwkv7.embedding_length", s->width);
	gguf_put_f32(w, "rwkv7.attention.layer_norm_epsilon", 1e-5f);
	if (s->listed)
		put_vocabulary(w, s->listed);
	put(w, &random, "token_embd.weight", s->type, s->vocab, s->width, 0, 1);
	if (!s->no_embedding_norm) {
		put(w, &random, "token_embd_norm.weight", DTYPE_F32, 0, s->width, 1, 0.3f);
		put(w, &random, "token_embd_norm.bias", DTYPE_F32, 0, s->width, 0, 0.1f);
	}
	for (uint32_t i = 0; i < s->layers; i++)
		put_layer(w, s, i, &random);
	put(w, &random, "output_norm.weight", DTYPE_F32, 0, s->width, 1, 0.3f);
	put(w, &random, "output_norm.bias", DTYPE_F32, 0, s->width, 0, 0.1f);
	put(w, &random, "output.weight", s->type, s->vocab, s->width, 0, 1.7f / sqrtf((float)s->width));
	if (s->head_bias)
		put(w, &random, "output.bias", DTYPE_F32, 0, s->vocab, 0, 1);
	assert_ok(gguf_writer_finish(w, path));
}
