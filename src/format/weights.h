/* A model file as a list of named tensors.  Readers (readers.h) turn their format into this and nothing else; the meaning of
 * tensors is up to the model.
 *
 * Names are the official ones (blocks.0.att.receptance.weight, ...), whatever the file calls them.  Shapes are as stored,
 * outermost dimension first, unit dimensions dropped; tensors that a file keeps fused (GGUF's time_mix_lerp_fused) appear
 * as their parts.  Matrices are [out,in].  Where files differ in more than names, the canonical name tells which it is:
 *
 *   att.time_first          the bonus u of RWKV-4; of RWKV-5 its logarithm, u = exp(time_first)
 *   att.time_faaaa          the bonus u as it is (5, 6)
 *   att.time_decay          as trained: RWKV-4 w = -exp(time_decay), RWKV-5 w = exp(-exp(time_decay)), RWKV-6 before its LoRA
 *   att.decay               that w itself, as rwkv.cpp stores it (4, 5)
 *
 * Tensors whose last two dimensions some files swap (LoRA factors: official w1 [C,D], w2 [D,C], RWKV-6's time_maa_w1 [C,5D],
 * time_maa_w2 [5,D,C], time_decay_w1 and _w2; and time_state [H,value,key]) say so in `swapped`; the model tells by the
 * dimension that equals C where it can. */
#ifndef RWKVK_FORMAT_WEIGHTS_H
#define RWKVK_FORMAT_WEIGHTS_H

#include "base/error.h"
#include "base/file.h"
#include "format/dtype.h"

struct tensor {
	char *name;      /* official name */
	char *file_name; /* as the file has it */
	enum dtype type;
	char foreign[24];  /* what the file calls a type that is DTYPE_FOREIGN */
	uint32_t rank;     /* 1 to 4 */
	uint64_t shape[4]; /* outermost first, as stored; unit dimensions removed, at least one dimension left */
	const void *data;  /* inside a mapping or an owned block, not necessarily aligned */
	uint64_t bytes;
	bool swapped;              /* the last two dimensions are swapped relative to an official file; see above */
	const struct merge *merge; /* adapters that `data` lacks yet (merge.h): read it by tensor_to_float(); NULL: none */
	char change[64];           /* a description of its adapters: "LoRA of rank 16, scale 2"; "": none */
	uint64_t change_hash;      /* distinguishes adapters; 0: there is none */
};

uint64_t tensor_elements(const struct tensor *tensor);

/* A file's metadata.  NULL or 0 where it has none. */
struct metadata {
	char *name;         /* general.name */
	char *architecture; /* "rwkv7"; NULL for safetensors */
	uint64_t head_size; /* {arch}.wkv.head_size */
	float layer_norm_epsilon;
	float group_norm_epsilon;  /* of ln_x, where the file says so or its format implies another than 64e-5: rwkv.cpp's RWKV-5 */
	double channel_epsilon;    /* the same for each channel of a head: fla's RWKV-7 */
	double said_norm_epsilon;  /* of all norms of an fla model, where its config.json says it */
	bool tied;                 /* a head that is missing is the embedding; once the file is read: head.weight is such a copy */
	uint32_t rescale;          /* rwkv6.rescale_every_n_layers: att.output and ffn.value of layer i are stored / 2^floor(i/n) */
	bool has_add_bos, add_bos; /* tokenizer.ggml.add_bos_token */
	bool has_sampling;         /* at least one general.sampling.* key */
	rwkvk_sampling sampling;   /* defaults overwritten by those keys */
	/* tokenizer.ggml.model = "rwkv": World tokens by id, each a Python-escaped literal inside the mapping */
	const uint8_t **token_text;
	uint64_t *token_bytes;
	const int32_t *token_type; /* may be NULL; 1 normal, 3 control, 5 unused; copied, aligned */
	uint64_t token_count;
	/* Of GGUF: every key, from its name to the end of its value, inside the mapping. */
	struct raw_key {
		const uint8_t *data; /* u64 length of the name, name, type, value */
		uint64_t bytes;
	} * keys;
	uint64_t key_count;
	/* What rwkvk_metadata shows: GGUF's keys, safetensors' __metadata__. */
	struct metadata_text {
		char *key, *value; /* value: NULL for a list */
		uint64_t value_bytes, items;
	} * texts;
	size_t text_count;
};

struct merge;

struct weights {
	char *path;      /* for messages; "embedded model" when opened from memory */
	bool alone;      /* opened from memory or a descriptor, so that no files lie beside it */
	char format[32]; /* "GGUF v3", "safetensors", "rwkv.cpp v101", "PyTorch .pth" ... */
	bool read_files; /* into memory, instead of mapping them */
	struct mapping mapping;
	struct mapping *parts; /* more memory that tensors lie in: further files, or blocks that a reader made */
	size_t part_count;
	struct tensor *tensors; /* in file order */
	size_t count;
	struct merge **merges; /* of those tensors that have one */
	size_t merge_count;
	struct metadata metadata;
};

/* The default sampling, unless a file says otherwise, as rwkvk_model_sampling() promises. */
extern const rwkvk_sampling usual_sampling;

void weights_close(struct weights *weights); /* zeroed weights are allowed */

/* NULL when there is none. */
const struct tensor *weights_find(const struct weights *weights, const char *name);

/* Used by the readers.  Takes the strings' content, checks that [offset, offset+bytes) is what type and shape need and lies
 * in `in`, which is weights->mapping or one of its parts; shape is squeezed here. */
rwkvk_status weights_add(struct weights *weights, const struct mapping *in, const char *name, const char *file_name,
                         enum dtype type, uint32_t rank, const uint64_t *shape, uint64_t offset, uint64_t bytes);

/* The same of a type that no model has, which the tensor may have if the model does not use it: any number of bytes but 0. */
rwkvk_status weights_add_foreign(struct weights *weights, const struct mapping *in, const char *name, const char *type,
                                 uint32_t rank, const uint64_t *shape, uint64_t offset, uint64_t bytes);
/* Its size in bytes, UINT64_MAX on overflow; 0: the type is not known. */
uint64_t weights_foreign_bytes(const char *type, uint32_t rank, const uint64_t *shape);
const char *tensor_type(const struct tensor *tensor); /* "F32" */

/* One more entry of metadata.texts; value NULL: a list of `items`. */
rwkvk_status weights_add_text(struct weights *weights, const void *key, size_t key_bytes, const void *value, size_t value_bytes,
                              uint64_t items);
/* The value of a key, NULL when there is none. */
const char *weights_text(const struct weights *weights, const char *key);

/* A copy of one that is there already, with copies of its names. */
rwkvk_status weights_append(struct weights *weights, const struct tensor *tensor);

/* More memory, freed with the weights: a mapped file, or `bytes` zeroed bytes (writable until the reader is done).  *out is
 * valid until the next of these calls, what it points to until weights_close(). */
rwkvk_status weights_map(struct weights *weights, const char *path, const struct mapping **out);
rwkvk_status weights_allocate(struct weights *weights, uint64_t bytes, const struct mapping **out);

/* Removes one from the list; later ones move up. */
void weights_remove(struct weights *weights, size_t index);
/* What tensors of `from` lie in becomes part of `weights`; `from` keeps the list of them. */
rwkvk_status weights_take_memory(struct weights *weights, struct weights *from);

/* Facts of a file as they may stand in a message: cut to the buffer, anything but visible ASCII as '?'.  The buffer lives to
 * the end of the statement: fail(..., show_shape(rank, shape).text). */
struct shown {
	char text[120];
};
struct shown show_text(const void *text, uint64_t bytes);
struct shown show_shape(uint32_t rank, const uint64_t *shape); /* "[6, 128]" */

#endif
