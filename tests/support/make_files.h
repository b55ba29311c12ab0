/* Small models of every RWKV version as a list of official tensors, converted as other programs' converters do, and written in
 * every format.  All numbers are exact in F16. */
#ifndef RWKVK_TEST_MAKE_FILES_H
#define RWKVK_TEST_MAKE_FILES_H

#include "format/weights.h"

struct list_item {
	char name[96];
	uint32_t rank;
	uint64_t shape[4], count;
	float *values;
};

struct list {
	struct list_item items[256];
	size_t count;
};

struct list_sizes {
	uint64_t vocab, width, head_size, ffn, layers, rank; /* rank: of all LoRA factors but time_maa's, which have rank + 1 */
	/* What not every model has: head.bias and att.output.bias, time_state, RWKV-4's ffnPre in layer 0; or has not: ln0. */
	bool biases, states, pre, no_embedding_norm;
};

/* The official tensors of version "4", "5.0", "5.1", "5.2", "6" or "7". */
struct list *list_official(const char *version, const struct list_sizes *sizes);
void list_free(struct list *list);
struct list_item *list_find(struct list *list, const char *name); /* NULL when there is none */

/* What other programs' converters produce, in place: other names, shapes and numbers. */
void list_to_web(struct list *list, const char *version, const struct list_sizes *sizes);
void list_to_hugging_face(struct list *list, const char *version);
void list_to_fla(struct list *list, bool fused); /* of RWKV-6 and 7; fused: 7 */
void list_to_rwkv_cpp(struct list *list, const char *version, const struct list_sizes *sizes);
void list_to_gguf(struct list *list, const char *version, bool fused);

/* A file in memory, malloc'ed. */
struct file_bytes {
	uint8_t *data;
	size_t bytes;
};
struct file_bytes write_safetensors(const struct list *list, enum dtype type);
/* The same with only matrices as `type`, the rest F32, as in rwkv.cpp's files. */
struct file_bytes write_safetensors_mixed(const struct list *list, enum dtype type);
/* As torch.save() does; `key` non-NULL: {key: the tensors, "epoch": 3}. */
struct file_bytes write_pth(const struct list *list, enum dtype type, const char *key);
struct file_bytes write_rwkv_cpp(const struct list *list, uint32_t version, const struct list_sizes *sizes, enum dtype type);
/* architecture "rwkv6"; head_size 0: no such key */
void write_gguf(const char *path, const struct list *list, const char *architecture, uint32_t head_size, uint32_t rescale);

#endif
