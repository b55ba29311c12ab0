#include "make_chain.h"

#include "support.h"

enum { WIDTH = 128, HEAD_SIZE = 64 };

static void scale(struct list *list, const char *ending, float factor)
{
	for (size_t i = 0; i < list->count; i++) {
		size_t name = strlen(list->items[i].name), part = strlen(ending);
		if (name >= part && strcmp(list->items[i].name + name - part, ending) == 0)
			for (uint64_t j = 0; j < list->items[i].count; j++)
				list->items[i].values[j] *= factor;
	}
}

static void fill(struct list *list, const char *name, float value)
{
	struct list_item *item = list_find(list, name);
	assert_non_null(item);
	for (uint64_t i = 0; i < item->count; i++)
		item->values[i] = value;
}

/* The layers add nothing to the residual stream, so the head sees the embedding of the last token alone: its signs, which are
 * random.  A token's row of the head is the sum of the embeddings of those that it follows. */
struct list *list_chain(const uint32_t *next, uint32_t vocab)
{
	const struct list_sizes sizes = {
		.vocab = vocab, .width = WIDTH, .head_size = HEAD_SIZE, .ffn = WIDTH, .layers = 2, .rank = 32
	};
	uint64_t random = 5;
	struct list *list = list_official("7", &sizes);
	fill(list, "blocks.0.ln0.weight", 1);
	fill(list, "blocks.0.ln0.bias", 0);
	fill(list, "ln_out.weight", 1);
	fill(list, "ln_out.bias", 0);
	fill(list, "head.weight", 0);
	scale(list, "att.output.weight", 0);
	scale(list, "ffn.value.weight", 0);
	scale(list, "att.key.weight", 1 / 16.0f);
	scale(list, "att.value.weight", 1 / 16.0f);
	float *embedding = list_find(list, "emb.weight")->values, *head = list_find(list, "head.weight")->values;
	for (uint32_t i = 0; i < vocab * WIDTH; i++)
		embedding[i] = test_random(&random) % 2 ? 1 : -1;
	for (uint32_t i = 0; i < vocab; i++) {
		assert_true(next[i] < vocab);
		for (uint32_t j = 0; j < WIDTH; j++)
			head[next[i] * WIDTH + j] += embedding[i * WIDTH + j];
	}
	return list;
}

void make_chain(const char *path, const uint32_t *next, uint32_t vocab)
{
	struct list *list = list_chain(next, vocab);
	struct file_bytes file = write_safetensors(list, DTYPE_F16);
	test_write_file(path, file.data, file.bytes);
	free(file.data);
	list_free(list);
}

void make_chain_gguf(const char *path, const uint32_t *next, uint32_t vocab, void (*put_keys)(struct gguf_writer *))
{
	struct list *list = list_chain(next, vocab);
	struct gguf_writer *w = gguf_writer_create();
	assert_non_null(w);
	list_to_gguf(list, "7", true);
	gguf_put_string(w, "general.architecture", "rwkv7");
	gguf_put_u32(w, "rwkv7.wkv.head_size", HEAD_SIZE);
	if (put_keys)
		put_keys(w);
	for (size_t i = 0; i < list->count; i++)
		gguf_put_tensor(w, list->items[i].name, DTYPE_F32, list->items[i].rank, list->items[i].shape, list->items[i].values);
	assert_ok(gguf_writer_finish(w, path));
	list_free(list);
}

void chain_of_text(uint32_t next[256], const char *text)
{
	for (uint32_t i = 0; i < 256; i++)
		next[i] = (i + 1) % 256;
	for (const uint8_t *c = (const uint8_t *)text; c[0] && c[1]; c++)
		next[c[0]] = c[1];
}
