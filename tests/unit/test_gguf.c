/* GGUF files: how good ones are read, and that every kind of bad one is refused with a sentence. */
#include "support.h"

#include <math.h>
#include <stdio.h>

#include "format/gguf_writer.h"
#include "format/readers.h"
#include "format/weights.h"

enum { C = 32, VOCAB = 3 };

/* ---------------------------------------------------------------------------------------------------- making files */

/* Values that tell row, column and tensor apart and are exact in every 16-bit format. */
static const float *pattern(unsigned tensor)
{
	static float values[4096];
	for (unsigned i = 0; i < 4096; i++)
		values[i] = (float)(i % 251) - 64 + (float)tensor;
	return values;
}

static void put(struct gguf_writer *w, const char *name, enum dtype type, uint64_t rows, uint64_t columns, unsigned tensor)
{
	gguf_put_tensor(w, name, type, rows ? 2 : 1, rows ? (uint64_t[]){ rows, columns } : &columns, pattern(tensor));
}

static void put_keys(struct gguf_writer *w)
{
	static const char *const tokens[] = { "<s>", "\\x00", "ab" };
	gguf_put_string(w, "general.architecture", "rwkv7");
	gguf_put_string(w, "general.name", "t\xc3\xa9st\n");
	gguf_put_u32(w, "general.alignment", 32);
	gguf_put_u32(w, "rwkv7.wkv.head_size", 16);
	gguf_put_f32(w, "rwkv7.attention.layer_norm_epsilon", 1e-5f);
	gguf_put_string(w, "tokenizer.ggml.model", "rwkv");
	gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, (size_t[]){ 3, 4, 2 }, VOCAB);
	gguf_put_i32s(w, "tokenizer.ggml.token_type", (int32_t[]){ 3, 1, 1 }, VOCAB);
	gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
	gguf_put_f32(w, "general.sampling.temp", 0.75f);
	gguf_put_u32(w, "general.sampling.top_k", 40);
	gguf_put_f32(w, "general.sampling.presence", 0);
	gguf_put_string(w, "an.unknown.key", "is walked over");
}

static void put_tensors(struct gguf_writer *w)
{
	put(w, "token_embd.weight", DTYPE_Q8_0, VOCAB, C, 0);
	put(w, "token_embd_norm.weight", DTYPE_F32, 0, C, 1);
	put(w, "token_embd_norm.bias", DTYPE_F32, 0, C, 2);
	put(w, "blk.0.attn_norm.weight", DTYPE_F32, 0, C, 3);
	put(w, "blk.0.attn_norm_2.bias", DTYPE_F32, 0, C, 4);
	gguf_put_tensor(w, "blk.0.time_mix_lerp_fused.weight", DTYPE_F16, 4, (uint64_t[]){ 6, 1, 1, C }, pattern(5));
	put(w, "blk.0.time_mix_v0.weight", DTYPE_F32, 0, C, 6);
	put(w, "blk.0.time_mix_v1.weight", DTYPE_F32, 8, C, 7);
	put(w, "blk.0.time_mix_v2.weight", DTYPE_F32, C, 8, 8);
	put(w, "blk.0.time_mix_w0.weight", DTYPE_F32, 0, C, 9);
	put(w, "blk.0.time_mix_w1.weight", DTYPE_BF16, 8, C, 10);
	put(w, "blk.0.time_mix_output.weight", DTYPE_F16, C, C, 11);
	put(w, "blk.0.time_mix_output.bias", DTYPE_F32, 0, C, 12);
	put(w, "blk.0.time_mix_ln.bias", DTYPE_F32, 0, C, 13);
	put(w, "blk.0.channel_mix_lerp_k.weight", DTYPE_F32, 0, C, 14);
	put(w, "blk.0.channel_mix_key.weight", DTYPE_Q8_0, 2 * C, C, 15);
	put(w, "blk.12.time_mix_v0.weight", DTYPE_F32, 0, C, 16);
	put(w, "blk.12.time_mix_g2.weight", DTYPE_F32, C, 8, 17);
	put(w, "blk.12.time_mix_r_k.weight", DTYPE_F32, 0, C, 18);
	put(w, "output_norm.weight", DTYPE_F32, 0, C, 19);
	put(w, "output.bias", DTYPE_F32, 0, VOCAB, 20);
	put(w, "blk.0.something_new.weight", DTYPE_F32, 2, 3, 21);
	put(w, "last", DTYPE_F32, 0, 5, 22);
}

static const char *good_file(void)
{
	const char *path = test_temp("good.gguf");
	struct gguf_writer *w = gguf_writer_create();
	assert_non_null(w);
	put_keys(w);
	put_tensors(w);
	assert_ok(gguf_writer_finish(w, path));
	return path;
}

/* A file of hand-made bytes. */
struct bytes {
	uint8_t data[2048];
	size_t count;
};

static void add(struct bytes *to, const void *data, size_t bytes)
{
	assert_true(to->count + bytes <= sizeof to->data);
	memcpy(to->data + to->count, data, bytes);
	to->count += bytes;
}

static void add_u32(struct bytes *to, uint32_t value)
{
	add(to, &value, sizeof value);
}

static void add_u64(struct bytes *to, uint64_t value)
{
	add(to, &value, sizeof value);
}

static void add_text(struct bytes *to, const char *text)
{
	add_u64(to, strlen(text));
	add(to, text, strlen(text));
}

/* Header and the architecture, for `keys` more keys and no tensors. */
static struct bytes begin(const char *architecture, uint64_t keys)
{
	struct bytes file = { .count = 0 };
	add(&file, "GGUF\3\0\0\0", 8);
	add_u64(&file, 0);
	add_u64(&file, keys + 1);
	add_text(&file, "general.architecture");
	add_u32(&file, 8);
	add_text(&file, architecture);
	return file;
}

/* From a block of exactly that size, so that the sanitizer sees a byte too many. */
static rwkvk_status open_bytes(const void *data, size_t bytes, struct weights *out)
{
	static void *copy;
	free(copy);
	copy = malloc(bytes ? bytes : 1);
	assert_non_null(copy);
	if (bytes)
		memcpy(copy, data, bytes);
	return weights_open("bad.gguf", copy, bytes, NULL, out);
}

/* Fails as expected, names the file and leaves nothing behind. */
static void refuse(const char *what, const void *data, size_t bytes, rwkvk_status status, const char *text)
{
	struct weights weights;
	rwkvk_status got = open_bytes(data, bytes, &weights);
	if (got != status || !strstr(rwkvk_last_error(), text) || !strstr(rwkvk_last_error(), "bad.gguf"))
		fail_msg("%s: status %s, text: %s; wanted status %s and \"%s\"", what, rwkvk_status_name(got), rwkvk_last_error(),
		         rwkvk_status_name(status), text);
	assert_null(weights.tensors);
	assert_null(weights.path);
	open_bytes("", 0, &weights); /* lets the copy go */
}

/* ---------------------------------------------------------------------------------------------------- good files */

static const struct tensor *want(const struct weights *weights, const char *name, const char *file_name, enum dtype type,
                                 bool swapped)
{
	const struct tensor *tensor = weights_find(weights, name);
	if (!tensor)
		fail_msg("no tensor %s", name);
	assert_string_equal(tensor->file_name, file_name);
	assert_int_equal(tensor->type, type);
	assert_int_equal(tensor->swapped, swapped);
	return tensor;
}

static void same_values(const struct tensor *tensor, const float *values, uint64_t count)
{
	float got[4096];
	assert_true(count <= 4096);
	dtype_to_float(tensor->type, tensor->data, 0, count, got);
	assert_close(tensor->name, got, values, count, tensor->type == DTYPE_Q8_0 ? 0.005 : 0);
}

static void test_good(void **state)
{
	(void)state;
	struct weights w;
	assert_ok(weights_open(good_file(), NULL, 0, NULL, &w));
	assert_string_equal(w.format, "GGUF v3");
	assert_int_equal(w.count, 23 + 5 - 3); /* one tensor became six, three copies are left out */

	const struct tensor *t = want(&w, "emb.weight", "token_embd.weight", DTYPE_Q8_0, false);
	assert_true(t->rank == 2 && t->shape[0] == VOCAB && t->shape[1] == C && t->bytes == VOCAB * 34);
	same_values(t, pattern(0), VOCAB * C);
	want(&w, "blocks.0.ln0.weight", "token_embd_norm.weight", DTYPE_F32, false);
	want(&w, "blocks.0.ln0.bias", "token_embd_norm.bias", DTYPE_F32, false);
	want(&w, "blocks.0.ln1.weight", "blk.0.attn_norm.weight", DTYPE_F32, false);
	same_values(want(&w, "blocks.0.ln2.bias", "blk.0.attn_norm_2.bias", DTYPE_F32, false), pattern(4), C);
	static const char *const mixes[] = { "blocks.0.att.x_r", "blocks.0.att.x_w", "blocks.0.att.x_k",
		                                 "blocks.0.att.x_v", "blocks.0.att.x_a", "blocks.0.att.x_g" };
	for (size_t i = 0; i < 6; i++) {
		t = want(&w, mixes[i], "blk.0.time_mix_lerp_fused.weight", DTYPE_F16, false);
		assert_true(t->rank == 1 && t->shape[0] == C && t->bytes == 2 * C);
		same_values(t, pattern(5) + i * C, C);
	}
	assert_null(weights_find(&w, "blocks.0.att.v0"));
	assert_null(weights_find(&w, "blocks.0.att.v1"));
	assert_null(weights_find(&w, "blocks.0.att.v2"));
	want(&w, "blocks.0.att.w0", "blk.0.time_mix_w0.weight", DTYPE_F32, false);
	t = want(&w, "blocks.0.att.w1", "blk.0.time_mix_w1.weight", DTYPE_BF16, true);
	assert_true(t->shape[0] == 8 && t->shape[1] == C);
	same_values(want(&w, "blocks.0.att.output.weight", "blk.0.time_mix_output.weight", DTYPE_F16, false), pattern(11), C * C);
	want(&w, "blocks.0.att.output.bias", "blk.0.time_mix_output.bias", DTYPE_F32, false);
	want(&w, "blocks.0.att.ln_x.bias", "blk.0.time_mix_ln.bias", DTYPE_F32, false);
	want(&w, "blocks.0.ffn.x_k", "blk.0.channel_mix_lerp_k.weight", DTYPE_F32, false);
	want(&w, "blocks.0.ffn.key.weight", "blk.0.channel_mix_key.weight", DTYPE_Q8_0, false);
	want(&w, "blocks.12.att.v0", "blk.12.time_mix_v0.weight", DTYPE_F32, false);
	want(&w, "blocks.12.att.g2", "blk.12.time_mix_g2.weight", DTYPE_F32, true);
	want(&w, "blocks.12.att.r_k", "blk.12.time_mix_r_k.weight", DTYPE_F32, false);
	want(&w, "ln_out.weight", "output_norm.weight", DTYPE_F32, false);
	want(&w, "head.bias", "output.bias", DTYPE_F32, false);
	want(&w, "blk.0.something_new.weight", "blk.0.something_new.weight", DTYPE_F32, false);
	same_values(want(&w, "last", "last", DTYPE_F32, false), pattern(22), 5);

	const struct metadata *m = &w.metadata;
	assert_string_equal(m->architecture, "rwkv7");
	assert_string_equal(m->name, "t\xc3\xa9st?");
	assert_true(m->head_size == 16 && m->layer_norm_epsilon == 1e-5f);
	assert_true(m->has_add_bos && m->add_bos && m->has_sampling);
	assert_true(m->sampling.temperature == 0.75f && m->sampling.top_k == 40 && m->sampling.presence == 0);
	assert_true(m->sampling.top_p == 0.3f && m->sampling.frequency == 0.5f && m->sampling.decay == 0.996f);
	assert_true(m->token_count == VOCAB && m->token_bytes[1] == 4 && m->token_type[0] == 3 && m->token_type[2] == 1);
	assert_memory_equal(m->token_text[1], "\\x00", 4);
	weights_close(&w);
	weights_close(&w); /* zeroed weights are allowed */
}

static void test_versions_and_defaults(void **state)
{
	(void)state;
	struct bytes file = begin("rwkv7", 0);
	struct weights w;
	file.data[4] = 2;
	assert_ok(open_bytes(file.data, file.count, &w));
	assert_string_equal(w.format, "GGUF v2");
	assert_int_equal(w.count, 0);
	assert_false(w.metadata.has_sampling || w.metadata.has_add_bos || w.metadata.token_count || w.metadata.head_size);
	assert_null(w.metadata.name);
	const rwkvk_sampling *s = &w.metadata.sampling;
	assert_true(s->temperature == 1 && s->top_p == 0.3f && s->top_k == 0 && s->presence == 0.5f && s->frequency == 0.5f &&
	            s->decay == 0.996f && s->seed == 0);
	weights_close(&w);

	file = begin("rwkv7", 1); /* llama.cpp's "no limit" */
	add_text(&file, "general.sampling.top_k");
	add_u32(&file, 5);
	add_u32(&file, (uint32_t)-1);
	assert_ok(open_bytes(file.data, file.count, &w));
	assert_true(w.metadata.has_sampling && w.metadata.sampling.top_k == 0);
	weights_close(&w);
	open_bytes("", 0, &w);
}

/* Another alignment, and gaps between tensors, are the writer's choice. */
static void test_alignment(void **state)
{
	(void)state;
	struct weights w;
	struct bytes file = begin("rwkv7", 1);
	file.data[8] = 1;
	add_text(&file, "general.alignment");
	add_u32(&file, 4);
	add_u32(&file, 8);
	add_text(&file, "x");
	add_u32(&file, 0); /* a scalar */
	add_u32(&file, 0);
	add_u64(&file, 8);
	while (file.count % 8)
		add(&file, "", 1);
	add_u64(&file, UINT64_MAX);
	add(&file, &(float){ 2.5f }, 4);
	assert_ok(open_bytes(file.data, file.count, &w));
	const struct tensor *x = want(&w, "x", "x", DTYPE_F32, false);
	assert_true(x->rank == 1 && x->shape[0] == 1);
	same_values(x, &(float){ 2.5f }, 1);
	weights_close(&w);
	open_bytes("", 0, &w);
}

/* ---------------------------------------------------------------------------------------------------- bad files */

/* Bytes written over the good file, `skip` bytes after the end of the text `find` (from the file's start if NULL). */
static const struct {
	const char *find;
	ptrdiff_t skip;
	const char *bytes;
	size_t count;
	rwkvk_status status;
	const char *text;
} patches[] = {
	{ NULL, 4, "\0\0\0\3", 4, RWKVK_ERROR_UNSUPPORTED, "big-endian" },
	{ NULL, 4, "\1", 1, RWKVK_ERROR_UNSUPPORTED, "expected GGUF version 2 or 3, found version 1" },
	{ NULL, 4, "\4", 1, RWKVK_ERROR_UNSUPPORTED, "found version 4" },
	{ NULL, 4, "\0", 1, RWKVK_ERROR_UNSUPPORTED, "found version 0" },
	{ NULL, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, RWKVK_ERROR_FILE, "claims 18446744073709551615 tensors" },
	{ NULL, 8, "\0\0\0\x10", 4, RWKVK_ERROR_FILE, "claims 268435456 tensors" },
	{ NULL, 8, "\x18", 1, RWKVK_ERROR_FILE, "tensor" }, /* one more than there are: data is read as an entry */
	{ NULL, 16, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8, RWKVK_ERROR_FILE, "claims 9223372036854775807 keys" },
	{ NULL, 16, "\0", 1, RWKVK_ERROR_FILE, "general.architecture" },
	{ NULL, 24, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, RWKVK_ERROR_FILE,
	  "expected the name of a key, 18446744073709551615 bytes" },
	{ "general.architecture", 0, "\x0d", 1, RWKVK_ERROR_FILE, "expected a value type from 0 to 12, found 13" },
	{ "general.architecture", 4, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, RWKVK_ERROR_FILE, "expected a string" },
	{ "general.architecture", 12, "llama", 5, RWKVK_ERROR_UNSUPPORTED,
	  "expected a GGUF model of the architecture rwkv4, rwkv5, rwkv6 or rwkv7, found \"llama\"" },
	{ "general.architecture", 4, "\6\0\0\0\0\0\0\0arwkv7", 14, RWKVK_ERROR_UNSUPPORTED,
	  "found \"arwkv7\", a model with parts of Qwen, which this version does not run" },
	{ "general.architecture", 4, "\xa\0\0\0\0\0\0\0rwkv6qwen2", 18, RWKVK_ERROR_UNSUPPORTED,
	  "found \"rwkv6qwen2\", a model with parts of Qwen" },
	{ "general.architecture", 12, "rw\x1b]7", 5, RWKVK_ERROR_UNSUPPORTED, "found \"rw?]7\"" },
	{ NULL, 32, "general.architecturE", 20, RWKVK_ERROR_FILE, "expected the key general.architecture, found none" },
	{ "general.alignment", 4, "\x30", 1, RWKVK_ERROR_FILE, "general.alignment to be a power of two, found 48" },
	{ "general.alignment", 4, "\0", 1, RWKVK_ERROR_FILE, "general.alignment to be from 1" },
	{ "general.alignment", 4, "\x40", 1, RWKVK_ERROR_FILE, "to be a multiple of 64" },
	{ "tokenizer.ggml.tokens", 4, "\x04", 1, RWKVK_ERROR_FILE,
	  "tokenizer.ggml.tokens to be an array of strings, found an array of uint32" },
	{ "tokenizer.ggml.tokens", 4, "\x0d", 1, RWKVK_ERROR_FILE, "expected arrays of types 0 to 12, found type 13" },
	{ "tokenizer.ggml.tokens", 8, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8, RWKVK_ERROR_FILE, "array elements" },
	{ "tokenizer.ggml.tokens", 16, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, RWKVK_ERROR_FILE,
	  "expected a string, 18446744073709551615" },
	{ "tokenizer.ggml.token_type", 4, "\6", 1, RWKVK_ERROR_FILE,
	  "token_type to be an array of int32, found an array of float32" },
	{ "tokenizer.ggml.token_type", 8, "\xff\xff\xff\xff\xff\xff\xff\x3f", 8, RWKVK_ERROR_FILE, "array elements" },
	{ "tokenizer.ggml.add_bos_token", 4, "\2", 1, RWKVK_ERROR_FILE, "add_bos_token to be 0 or 1, found 2" },
	{ "tokenizer.ggml.add_bos_token", 0, "\1", 1, RWKVK_ERROR_FILE, "add_bos_token to be a bool, found type int8" },
	{ "general.sampling.temp", 0, "\4", 1, RWKVK_ERROR_FILE, "general.sampling.temp to be a float, found type uint32" },
	{ "general.sampling.temp", 4, "\0\0\xc0\x7f", 4, RWKVK_ERROR_FILE,
	  "general.sampling.temp to be from 0 to 1000000, found nan" },
	{ "general.sampling.temp", 4, "\0\0\x80\x7f", 4, RWKVK_ERROR_FILE, "found inf" },
	{ "general.sampling.temp", 4, "\0\0\x80\xbf", 4, RWKVK_ERROR_FILE, "found -1" },
	{ "general.sampling.top_k", 0, "\6", 1, RWKVK_ERROR_FILE, "general.sampling.top_k to be an integer, found type float32" },
	{ "general.sampling.presence", 4, "\0\0\x80\xff", 4, RWKVK_ERROR_FILE,
	  "general.sampling.presence to be from -1000000 to 1000000, found -inf" },
	{ "rwkv7.wkv.head_size", 4, "\0", 1, RWKVK_ERROR_FILE, "rwkv7.wkv.head_size to be from 1 to 65536, found 0" },
	{ "rwkv7.attention.layer_norm_epsilon", 4, "\0\0\0\0", 4, RWKVK_ERROR_FILE,
	  "layer_norm_epsilon to be from 1e-30 to 1, found 0" },
	{ "general.name", 0, "\4", 1, RWKVK_ERROR_FILE, "general.name to be a string, found type uint32" },
	/* tensor entries: rank, dimensions (fastest first), type, offset */
	{ "token_embd.weight", 0, "\5", 1, RWKVK_ERROR_FILE, "at most 4 dimensions for tensor token_embd.weight, found 5" },
	{ "token_embd.weight", 0, "\xff\xff\xff\xff", 4, RWKVK_ERROR_FILE, "at most 4 dimensions" },
	{ "token_embd.weight", 4, "\x21", 1, RWKVK_ERROR_FILE, "the shape [3, 33], which is impossible for Q8_0" },
	{ "token_embd.weight", 4, "\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\x80", 16, RWKVK_ERROR_FILE, "impossible for Q8_0" },
	{ "token_embd.weight", 4, "\0\0\0\0\0\1", 6, RWKVK_ERROR_FILE, "tensor token_embd.weight takes 3504693313536 bytes" },
	{ "token_embd.weight", 4, "\0", 1, RWKVK_ERROR_FILE, "token_embd.weight of shape [3, 0]" },
	{ "token_embd.weight", 20, "\x0c", 1, RWKVK_ERROR_FILE,
	  "the shape [3, 32], which is impossible for Q4_K (rows in blocks of 256)" },
	{ "output_norm.weight", 16, "\1", 1, RWKVK_ERROR_FILE, "offset of tensor output_norm.weight to be a multiple of 32" },
	{ "output_norm.weight", 16, "\0\0\0\0", 4, RWKVK_ERROR_FILE, "output_norm.weight right after the tensor before it" },
	{ "output_norm.weight", 16, "\xe0\xff\xff\xff\xff\xff\xff\xff", 8, RWKVK_ERROR_FILE, "truncated" },
	{ "output_norm.weight", 16, "\0\0\0\0\0\1", 6, RWKVK_ERROR_FILE, "tensor output_norm.weight takes 128 bytes at offset" },
	{ "last", 4, "\x09", 1, RWKVK_ERROR_FILE, "tensor last takes 36 bytes" },
	{ "time_mix_lerp_fused.weight", 36, "\x19", 1, RWKVK_ERROR_UNSUPPORTED, "as F32, F16 or BF16, found I16" },
	{ "time_mix_lerp_fused.weight", 36, "\x1b", 1, RWKVK_ERROR_FILE, "I64 of shape [6, 1, 1, 32] does not take the 384 bytes" },
	{ "time_mix_lerp_fused.weight", 28, "\5", 1, RWKVK_ERROR_FILE,
	  "lerp_fused.weight to have 6 rows, found the shape [5, 32]" },
	{ "time_mix_lerp_fused.weight", 4, "\x10\0\0\0\0\0\0\0\2", 9, RWKVK_ERROR_FILE,
	  "to have 6 rows, found the shape [6, 2, 16]" },
	{ "time_mix_lerp_fused.weight", 36, "\x08", 1, RWKVK_ERROR_UNSUPPORTED, "as F32, F16 or BF16, found Q8_0" },
	{ "blk.0.attn_norm.weight", -22 + 20, "\x07\x08", 2, RWKVK_ERROR_FILE,
	  "plain ASCII characters, found \"blk.0.attn_norm.weig??\"" },
	{ "blk.0.attn_norm.weight", -22 + 20, "\0", 1, RWKVK_ERROR_FILE,
	  "1 to 255 plain ASCII characters, found \"blk.0.attn_norm.weig?t\"" },
	{ "blk.0.attn_norm.weight", -22 - 8, "\0", 1, RWKVK_ERROR_FILE, "1 to 255 plain ASCII characters, found \"\"" },
	{ "blk.0.attn_norm.weight", -22 - 8, "\x2c\x01", 2, RWKVK_ERROR_FILE, "(300 bytes)" },
};

static const uint8_t *find(const uint8_t *data, size_t bytes, const char *text)
{
	for (size_t i = 0; i + strlen(text) <= bytes; i++)
		if (memcmp(data + i, text, strlen(text)) == 0)
			return data + i;
	fail_msg("no %s in the good file", text);
	return NULL;
}

static void test_patches(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *good = test_read_file(good_file(), &bytes), *bad = malloc(bytes);
	assert_non_null(bad);
	for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
		size_t at = (size_t)patches[i].skip;
		if (patches[i].find)
			at += (size_t)(find(good, bytes, patches[i].find) - good) + strlen(patches[i].find);
		assert_true(at + patches[i].count <= bytes);
		memcpy(bad, good, bytes);
		memcpy(bad + at, patches[i].bytes, patches[i].count);
		char what[100];
		snprintf(what, sizeof what, "patch %zu (%s + %td)", i, patches[i].find ? patches[i].find : "start", patches[i].skip);
		refuse(what, bad, bytes, patches[i].status, patches[i].text);
	}
	free(bad);
	free(good);
}

/* Tensors of a type that no model has, known to the format or not: they extend to the next tensor, or to the end. */
static void test_foreign_types(void **state)
{
	(void)state;
	static const struct {
		const char *name, *bytes, *type;
		uint64_t count;
	} cases[] = { { "token_embd.weight", "\x09\0\0\0", "Q8_1", 128 },
		          { "token_embd.weight", "\x17\0\0\0", "IQ4_XS", 128 },
		          { "token_embd.weight", "\x18\0\0\0", "I8", VOCAB * 32 },
		          { "token_embd.weight", "\xff\xff\xff\xff", "#4294967295", 128 } };
	size_t bytes;
	uint8_t *data = test_read_file(good_file(), &bytes);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct weights w;
		memcpy(data + (find(data, bytes, cases[i].name) - data) + strlen(cases[i].name) + 20, cases[i].bytes, 4);
		assert_ok(weights_open("m.gguf", data, bytes, NULL, &w));
		const struct tensor *t = weights_find(&w, "emb.weight");
		assert_int_equal(t->type, DTYPE_FOREIGN);
		assert_string_equal(tensor_type(t), cases[i].type);
		assert_int_equal(t->bytes, cases[i].count);
		weights_close(&w);
	}
	free(data);
}

static void test_truncated(void **state)
{
	(void)state;
	size_t bytes;
	uint8_t *good = test_read_file(good_file(), &bytes);
	const size_t padding = 12; /* behind the last tensor: not needed */
	for (size_t n = 0; n < bytes - padding; n++) {
		char what[64];
		snprintf(what, sizeof what, "the first %zu bytes", n);
		refuse(what, good, n, RWKVK_ERROR_FILE,
		       n == 0  ? "empty"
		       : n < 4 ? "expected a model in GGUF, safetensors"
		               : "truncated");
	}
	free(good);
}

static void test_random_damage(void **state)
{
	(void)state;
	size_t bytes, refused = 0;
	uint8_t *good = test_read_file(good_file(), &bytes), *bad = malloc(bytes);
	uint64_t seed = 3;
	assert_non_null(bad);
	for (int round = 0; round < 4000; round++) {
		struct weights w;
		memcpy(bad, good, bytes);
		for (uint32_t flips = 1 + test_random(&seed) % 4; flips > 0; flips--)
			bad[test_random(&seed) % 2500] ^= (uint8_t)(1u << test_random(&seed) % 8); /* in the header */
		rwkvk_status status = open_bytes(bad, bytes, &w);
		assert_true(status == RWKVK_OK || status == RWKVK_ERROR_FILE || status == RWKVK_ERROR_UNSUPPORTED);
		if (status != RWKVK_OK)
			assert_non_null(strstr(rwkvk_last_error(), "bad.gguf: "));
		refused += status != RWKVK_OK;
		weights_close(&w);
	}
	assert_true(refused > 1000);
	free(bad);
	free(good);
}

static void duplicate(const char *first, const char *second, const char *text)
{
	const char *path = test_temp("duplicate.gguf");
	struct gguf_writer *w = gguf_writer_create();
	struct weights weights;
	gguf_put_string(w, "general.architecture", "rwkv7");
	gguf_put_tensor(w, first, DTYPE_F32, 2, (uint64_t[]){ 6, C }, pattern(0));
	gguf_put_tensor(w, "between", DTYPE_F32, 2, (uint64_t[]){ 6, C }, pattern(0));
	gguf_put_tensor(w, second, DTYPE_F32, 2, (uint64_t[]){ 6, C }, pattern(0));
	assert_ok(gguf_writer_finish(w, path));
	assert_fails(weights_open(path, NULL, 0, NULL, &weights), RWKVK_ERROR_FILE, text);
}

static void test_duplicates(void **state)
{
	(void)state;
	duplicate("token_embd.weight", "token_embd.weight", "expected every tensor once, found two for emb.weight");
	duplicate("token_embd.weight", "emb.weight", "found two for emb.weight");
	duplicate("blk.3.time_mix_lerp_fused.weight", "blk.3.time_mix_lerp_fused.weight", "found two for blocks.3.att.x_");
	duplicate("unknown", "unknown", "found two for unknown");

	struct bytes file = begin("rwkv7", 2);
	for (int i = 0; i < 2; i++) {
		add_text(&file, "general.name");
		add_u32(&file, 8);
		add_text(&file, "twice");
	}
	refuse("a key twice", file.data, file.count, RWKVK_ERROR_FILE, "expected every key once, found general.name twice");
}

/* One key of hand-made content after the architecture. */
static void test_values(void **state)
{
	(void)state;
	static const struct {
		const char *key;
		uint32_t type;
		const char *value;
		size_t bytes;
		const char *text; /* NULL: accepted */
	} cases[] = {
		{ "x", 0, "\xff", 1, NULL },
		{ "x", 3, "\xff\xff", 2, NULL },
		{ "x", 12, "\0\0\0\0\0\0\xf8\x7f", 8, NULL }, /* a NaN in an unused value */
		{ "x", 10, "\0\0\0\0\0\0\0", 7, "truncated" },
		{ "x", 0xffffffff, "", 0, "found 4294967295" },
		{ "rwkv7.wkv.head_size", 0, "\x40", 1, NULL },
		{ "rwkv6.wkv.head_size", 7, "\1", 1, NULL }, /* of another architecture */
		{ "split.count", 2, "\1\0", 2, NULL },
		{ "rwkv7.rescale_every_n_layers", 4, "\6\0\0\0", 4, NULL },
		{ "rwkv7.rescale_every_n_layers", 5, "\xff\xff\xff\xff", 4,
		  "rwkv7.rescale_every_n_layers to be from 0 to 65536, found -1" },
		{ "rwkv7.wkv.head_size", 10, "\x40\0\0\0\0\0\0\0", 8, NULL },
		{ "rwkv7.wkv.head_size", 10, "\0\0\0\0\0\0\0\x80", 8, "found 9.223372037e+18" },
		{ "rwkv7.wkv.head_size", 11, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "found -1" },
		{ "rwkv7.wkv.head_size", 1, "\x80", 1, "found -128" },
		{ "rwkv7.wkv.head_size", 7, "\1", 1, "to be an integer, found type bool" },
		{ "rwkv7.wkv.head_size", 8, "\0\0\0\0\0\0\0\0", 8, "found type string" },
		{ "rwkv7.wkv.head_size", 9, "\4\0\0\0\1\0\0\0\0\0\0\0\x40\0\0\0", 16, "found an array of uint32" },
		{ "general.sampling.decay", 12, "\0\0\0\0\0\0\xf0\x3f", 8, NULL }, /* 1.0 as float64 */
		{ "general.sampling.decay", 12, "\1\0\0\0\0\0\xf0\x3f", 8, "decay to be from 0 to 1" },
		{ "general.sampling.frequency", 12, "\0\0\0\0\0\0\xf8\xff", 8, "nan" },
		{ "general.sampling.top_p", 5, "\1\0\0\0", 4, "general.sampling.top_p to be a float, found type int32" },
		{ "general.sampling.top_k", 10, "\0\0\0\0\1\0\0\0", 8, "found 4294967296" },
		{ "tokenizer.ggml.model", 8, "\4\0\0\0\0\0\0\0rwkv", 12, "expected a token list" },
		{ "tokenizer.ggml.model", 8, "\4\0\0\0\0\0\0\0gpt2", 12, NULL },
		{ "tokenizer.ggml.tokens", 8, "\0\0\0\0\0\0\0\0", 8, "an array of strings, found type string" },
		{ "tokenizer.ggml.token_type", 9, "\0\0\0\0\1\0\0\0\0\0\0\0\x40", 13, "found an array of uint8" },
		/* arrays: element type, count, elements */
		{ "x", 9, "\0\0\0\0\0\0\0\0\0\0\0\0", 12, NULL },
		{ "x", 9, "\x0a\0\0\0\xff\xff\xff\xff\xff\xff\xff\x1f", 12, "claims 2305843009213693951 array elements" },
		{ "x", 9, "\x08\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 20, "expected a string, 1 bytes" },
		{ "x", 9, "\x09\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, "room for at most 1" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes file = begin("rwkv7", 1);
		struct weights w;
		char what[64];
		add_text(&file, cases[i].key);
		add_u32(&file, cases[i].type);
		add(&file, cases[i].value, cases[i].bytes);
		snprintf(what, sizeof what, "value %zu", i);
		if (cases[i].text) {
			refuse(what, file.data, file.count, RWKVK_ERROR_FILE, cases[i].text);
			continue;
		}
		if (open_bytes(file.data, file.count, &w) != RWKVK_OK)
			fail_msg("%s: %s", what, rwkvk_last_error());
		weights_close(&w);
		open_bytes("", 0, &w);
	}
}

static void test_split(void **state)
{
	(void)state;
	struct bytes file = begin("rwkv7", 1);
	add_text(&file, "split.count");
	add_u32(&file, 2);
	add(&file, "\3\0", 2);
	refuse("a part", file.data, file.count, RWKVK_ERROR_UNSUPPORTED,
	       "this is one of 3 parts of a model: join them with llama.cpp's llama-gguf-split --merge");
}

static void test_nested_arrays(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth < 60; depth++) {
		struct bytes file = begin("rwkv7", 1);
		struct weights w;
		add_text(&file, "deep");
		add_u32(&file, 9);
		for (unsigned i = 1; i < depth; i++) {
			add_u32(&file, 9);
			add_u64(&file, 1);
		}
		add_u32(&file, 0);
		add_u64(&file, 0);
		if (depth > 4) {
			refuse("a deep array", file.data, file.count, RWKVK_ERROR_FILE, "arrays nested at most 4 deep");
		} else {
			assert_ok(open_bytes(file.data, file.count, &w));
			weights_close(&w);
			open_bytes("", 0, &w);
		}
	}
}

static void test_token_types(void **state)
{
	(void)state;
	for (uint64_t types = 0; types <= 2; types++) {
		const char *path = test_temp("types.gguf");
		struct gguf_writer *w = gguf_writer_create();
		struct weights weights;
		gguf_put_string(w, "tokenizer.ggml.model", "rwkv");
		gguf_put_strings(w, "tokenizer.ggml.tokens", (const char *const[]){ "", "a" }, (size_t[]){ 0, 1 }, 2);
		if (types)
			gguf_put_i32s(w, "tokenizer.ggml.token_type", (int32_t[]){ 3, 1 }, types);
		gguf_put_string(w, "general.architecture", "rwkv7"); /* last: the order is free */
		assert_ok(gguf_writer_finish(w, path));
		if (types == 1) {
			assert_fails(weights_open(path, NULL, 0, NULL, &weights), RWKVK_ERROR_FILE, "found 1 types for 2 tokens");
			continue;
		}
		assert_ok(weights_open(path, NULL, 0, NULL, &weights));
		assert_true(weights.metadata.token_count == 2 && weights.metadata.token_bytes[0] == 0 &&
		            weights.metadata.token_bytes[1] == 1);
		assert_true((weights.metadata.token_type != NULL) == (types == 2));
		weights_close(&weights);
	}
}

/* Files that users pass by mistake. */
static void test_foreign(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t count;
		rwkvk_status status;
		const char *text;
	} cases[] = {
		{ "", 0, RWKVK_ERROR_FILE, "found an empty file" },
		{ "\x80\2\x8a\nl\xfc\x9c\x46", 8, RWKVK_ERROR_UNSUPPORTED, "a bare pickle, as PyTorch wrote before version 1.6" },
		{ "tjgg\3\0\0\0", 8, RWKVK_ERROR_UNSUPPORTED, "GGJT" },
		{ "lmgg\3\0\0\0", 8, RWKVK_ERROR_UNSUPPORTED, "old GGML" },
		{ "\x1f\x8b\x08\0", 4, RWKVK_ERROR_FILE, "gzip" },
		{ "\x28\xb5\x2f\xfd", 4, RWKVK_ERROR_FILE, "zstd" },
		{ "\xfd"
		  "7zXZ\0",
		  6, RWKVK_ERROR_FILE, "an xz file" },
		{ "<!DOCTYPE html>", 15, RWKVK_ERROR_FILE, "a web page" },
		{ "\n  <HTML lang=en>", 17, RWKVK_ERROR_FILE, "a web page" },
		{ "\xef\xbb\xbf<html>", 9, RWKVK_ERROR_FILE, "a web page" },
		{ "   ", 3, RWKVK_ERROR_FILE, "found 3 bytes that begin with 20 20 20" },
		{ "version https://git-lfs.github.com/spec/v1\n", 43, RWKVK_ERROR_FILE, "Git LFS pointer" },
		{ "{\"a\": 1, {\"b\"}}", 15, RWKVK_ERROR_FILE, "expected a model or an index of one, found JSON that is not valid" },
		{ "\1\2\x1b[m", 5, RWKVK_ERROR_FILE, "found 5 bytes that begin with 01 02 1b 5b 6d (\"???[m\")" },
		{ "GGU", 3, RWKVK_ERROR_FILE, "expected a model in GGUF, safetensors, PyTorch or rwkv.cpp format" },
		{ "GGUF", 4, RWKVK_ERROR_FILE, "the GGUF version" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char what[64];
		snprintf(what, sizeof what, "foreign file %zu", i);
		refuse(what, cases[i].bytes, cases[i].count, cases[i].status, cases[i].text);
	}
	struct weights w;
	assert_fails(weights_open(test_nowhere("model.gguf"), NULL, 0, NULL, &w), RWKVK_ERROR_FILE, "/nowhere/model.gguf: ");
	assert_fails(weights_open(NULL, "GGUF", 4, NULL, &w), RWKVK_ERROR_FILE, "embedded model: ");
	assert_null(w.path);
}

/* ---------------------------------------------------------------------------------------------------- the writer */

/* A tensor of each type that can be written, and what the reader reports for it. */
static void test_every_type(void **state)
{
	(void)state;
	enum { ROWS = 3, COLUMNS = 512 };
	const char *path = test_temp("types.gguf");
	float values[ROWS * COLUMNS];
	uint8_t bytes[sizeof values];
	uint64_t seed = 1, shape[2] = { ROWS, COLUMNS };
	struct gguf_writer *w = gguf_writer_create();
	struct weights weights;
	for (size_t i = 0; i < ROWS * COLUMNS; i++)
		values[i] = test_uniform(&seed);
	gguf_put_string(w, "general.architecture", "rwkv7");
	for (enum dtype type = 0; type < DTYPE_COUNT; type++)
		if (dtype_is_encodable(type))
			gguf_put_tensor(w, dtype_info[type].name, type, 2, shape, values);
	assert_ok(gguf_writer_finish(w, path));
	assert_ok(weights_open(path, NULL, 0, NULL, &weights));
	for (enum dtype type = 0; type < DTYPE_COUNT; type++) {
		if (!dtype_is_encodable(type))
			continue;
		const struct tensor *t = want(&weights, dtype_info[type].name, dtype_info[type].name, type, false);
		dtype_from_float(type, values, ROWS * COLUMNS, bytes);
		assert_true(t->bytes == ROWS * COLUMNS / dtype_info[type].block * dtype_info[type].bytes);
		assert_memory_equal(t->data, bytes, t->bytes);
	}
	weights_close(&weights);
}

static void test_writer_failures(void **state)
{
	(void)state;
	static const struct {
		enum dtype type;
		uint32_t rank;
		uint64_t columns;
	} cases[] = { { DTYPE_Q8_0, 2, 33 }, { DTYPE_F32, 0, 32 }, { DTYPE_F32, 5, 1 }, { DTYPE_F32, 2, UINT64_MAX / 4 } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *path = test_temp("never.gguf");
		struct gguf_writer *w = gguf_writer_create();
		gguf_put_tensor(w, "wrong one", cases[i].type, cases[i].rank, (uint64_t[]){ 3, cases[i].columns, 1, 1, 1 }, pattern(0));
		gguf_put_tensor(w, "good one", DTYPE_F32, 1, (uint64_t[]){ 4 }, pattern(0));
		gguf_put_string(w, "key", "value");
		assert_fails(gguf_writer_finish(w, path), RWKVK_ERROR_ARGUMENT, "wrong one");
		assert_null(fopen(path, "rb"));
	}
	struct gguf_writer *w = gguf_writer_create();
	gguf_put_tensor(w, "read only", DTYPE_IQ4_NL, 1, (uint64_t[]){ 32 }, pattern(0));
	assert_fails(gguf_writer_finish(w, "never.gguf"), RWKVK_ERROR_UNSUPPORTED, "does not make the type of tensor read only");
	w = gguf_writer_create();
	gguf_put_tensor(w, "too large", DTYPE_F32, 1, (uint64_t[]){ (uint64_t)1 << 61 }, pattern(0));
	assert_fails(gguf_writer_finish(w, "never.gguf"), RWKVK_ERROR_MEMORY, "never.gguf");
	assert_fails(gguf_writer_finish(gguf_writer_create(), test_nowhere("x.gguf")), RWKVK_ERROR_FILE, "/nowhere/x.gguf: ");
	gguf_put_string(NULL, "a", "b"); /* a writer that could not be made */
	gguf_put_u32(NULL, "a", 1);
	gguf_put_strings(NULL, "a", NULL, NULL, 0);
	gguf_put_i32s(NULL, "a", NULL, 0);
	gguf_put_tensor(NULL, "a", DTYPE_F32, 1, (uint64_t[]){ 1 }, pattern(0));
	assert_fails(gguf_writer_finish(NULL, "x.gguf"), RWKVK_ERROR_MEMORY, "x.gguf");
}

/* ---------------------------------------------------------------------------------------------------- real files */

static void same_model(const struct weights *exact, const struct weights *rounded)
{
	assert_int_equal(exact->count, rounded->count);
	for (size_t i = 0; i < exact->count; i++) {
		const struct tensor *a = &exact->tensors[i], *b = weights_find(rounded, a->name);
		assert_non_null(b);
		assert_int_equal(a->rank, b->rank);
		assert_memory_equal(a->shape, b->shape, a->rank * sizeof *a->shape);
		assert_int_equal(a->swapped, b->swapped);
		uint64_t count = 1;
		for (uint32_t d = 0; d < a->rank; d++)
			count *= a->shape[d];
		float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
		assert_true(x && y);
		dtype_to_float(a->type, a->data, 0, count, x);
		dtype_to_float(b->type, b->data, 0, count, y);
		/* Q4_0: one step, an eighth of the largest value, plus the rounding of the scale */
		assert_close(a->name, y, x, count, b->type == DTYPE_Q8_0 ? 0.005 : b->type == DTYPE_Q4_0 ? (1 + 0x1p-11) / 8 : 0);
		free(x);
		free(y);
	}
}

static void test_synthetic_models(void **state)
{
	(void)state;
	const char *f16 = test_shared("models/synthetic/v7-c128-f16.gguf"), *q8 = test_shared("models/synthetic/v7-c128-q8_0.gguf");
	struct weights a, b;
	if (!f16 || !q8)
		skip();
	assert_ok(weights_open(f16, NULL, 0, NULL, &a));
	assert_ok(weights_open(q8, NULL, 0, NULL, &b));
	assert_int_equal(a.count, 1 + 2 + 2 + 1 + 3 * (4 + 6 + 11 + 3 + 4 + 2 + 3) - 3);
	want(&a, "blocks.2.att.v2", "blk.2.time_mix_v2.weight", DTYPE_F16, true);
	want(&b, "blocks.2.att.v2", "blk.2.time_mix_v2.weight", DTYPE_Q8_0, true);
	want(&b, "blocks.1.att.w1", "blk.1.time_mix_w1.weight", DTYPE_F32, true);
	assert_null(weights_find(&a, "blocks.0.att.v1"));
	const struct metadata *m = &b.metadata;
	assert_string_equal(m->name, "synthetic");
	assert_true(m->head_size == 64 && m->layer_norm_epsilon == 1e-5f && m->token_count == 512 && !m->has_add_bos);
	assert_true(m->token_bytes[261] == 4 && memcmp(m->token_text[261], "\\n\\n", 4) == 0 && m->token_type[261] == 1);
	same_model(&a, &b);
	weights_close(&a);
	weights_close(&b);
}

/* As llama.cpp's quantiser makes them. */
static void test_quantised_models(void **state)
{
	(void)state;
	const char *f16 = test_shared("models/synthetic/v7-c128-f16.gguf"), *q4 = test_shared("models/synthetic/v7-c128-q4_0.gguf"),
			   *q4_k = test_shared("models/synthetic/v7-c256-q4_k_m.gguf");
	struct weights a, b;
	if (!f16 || !q4 || !q4_k)
		skip();
	assert_ok(weights_open(f16, NULL, 0, NULL, &a));
	assert_ok(weights_open(q4, NULL, 0, NULL, &b));
	want(&b, "blocks.1.ffn.key.weight", "blk.1.channel_mix_key.weight", DTYPE_Q4_0, false);
	same_model(&a, &b);
	weights_close(&a);
	weights_close(&b);
	assert_ok(weights_open(q4_k, NULL, 0, NULL, &a));
	want(&a, "blocks.0.att.key.weight", "blk.0.time_mix_key.weight", DTYPE_Q4_K, false);
	want(&a, "head.weight", "output.weight", DTYPE_Q6_K, false);
	weights_close(&a);
}

/* RWKV-6: rows w, k, v, r, g, transposed factors, and layers that are stored divided. */
static void test_version_6(void **state)
{
	(void)state;
	const char *path = test_shared("models/synthetic/v6-c128-rescale2-f16.gguf");
	struct weights w;
	if (!path)
		skip();
	assert_ok(weights_open(path, NULL, 0, NULL, &w));
	assert_string_equal(w.metadata.architecture, "rwkv6");
	assert_true(w.metadata.head_size == 64 && w.metadata.rescale == 2 && w.metadata.layer_norm_epsilon == 1e-5f);
	assert_int_equal(w.count, 1 + 2 + 2 + 1 + 3 * (4 + 6 + 2 + 3 + 1 + 5 + 2 + 2 + 3));
	const struct tensor *t = want(&w, "blocks.2.att.time_maa_w1", "blk.2.time_mix_w1.weight", DTYPE_F32, true);
	assert_true(t->rank == 2 && t->shape[1] == 128);
	t = want(&w, "blocks.2.att.time_maa_w2", "blk.2.time_mix_w2.weight", DTYPE_F32, true);
	assert_true(t->rank == 3 && t->shape[0] == 5 && t->shape[1] == 128);
	want(&w, "blocks.2.att.time_decay_w2", "blk.2.time_mix_decay_w2.weight", DTYPE_F32, true);
	want(&w, "blocks.0.att.time_maa_g", "blk.0.time_mix_lerp_fused.weight", DTYPE_F32, false);
	want(&w, "blocks.0.att.time_maa_x", "blk.0.time_mix_lerp_x.weight", DTYPE_F32, false);
	t = want(&w, "blocks.0.att.time_faaaa", "blk.0.time_mix_first.weight", DTYPE_F32, false);
	assert_true(t->rank == 2 && t->shape[0] == 2 && t->shape[1] == 64);
	want(&w, "blocks.0.ffn.time_maa_r", "blk.0.channel_mix_lerp_r.weight", DTYPE_F32, false);
	for (size_t i = 0; i < w.count; i++)
		assert_null(strstr(w.tensors[i].name, "blk."));
	weights_close(&w);
}

/* The model that is built into the program. */
static void test_demo_model(void **state)
{
	(void)state;
	struct weights w;
	assert_ok(weights_open(TEST_DATA_DIR "/../../src/demo/story.gguf", NULL, 0, NULL, &w));
	assert_true(w.mapping.bytes <= 5200000);
	const struct tensor *head = want(&w, "head.weight", "output.weight", DTYPE_Q8_0, false);
	assert_true(head->rank == 2 && head->shape[0] == 2048 && head->shape[1] == 256);
	assert_non_null(weights_find(&w, "blocks.3.att.v2"));
	assert_non_null(weights_find(&w, "blocks.0.ln0.bias"));
	const struct metadata *m = &w.metadata;
	assert_true(m->has_add_bos && m->add_bos && m->head_size == 64 && m->has_sampling && m->token_count == 2048);
	assert_true(m->sampling.temperature == 0.65f && m->sampling.top_p == 0.9f && m->sampling.top_k == 0);
	assert_true(m->sampling.presence == 0 && m->sampling.frequency == 0 && m->sampling.decay == 0.996f);
	assert_true(m->token_type[0] == 3 && m->token_type[2047] == 1);
	weights_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_versions_and_defaults),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_patches),
		cmocka_unit_test(test_foreign_types),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_random_damage),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_nested_arrays),
		cmocka_unit_test(test_token_types),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_writer_failures),
		cmocka_unit_test(test_synthetic_models),
		cmocka_unit_test(test_quantised_models),
		cmocka_unit_test(test_version_6),
		cmocka_unit_test(test_demo_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
