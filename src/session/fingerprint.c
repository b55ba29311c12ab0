#include "session/fingerprint.h"

#include <string.h>

#include "base/half.h"
#include "base/numbers.h"
#include "text/tokenizer.h"

/* Bytes hashed at either end of a tensor. */
enum { SAMPLE = 4096 };

static void add_number(struct hash128 *hash, uint64_t number)
{
	uint8_t bytes[8];
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> 8 * i);
	*hash = fnv1a_128(*hash, bytes, sizeof bytes);
}

static void add_bytes(struct hash128 *hash, const void *bytes, size_t count)
{
	add_number(hash, count);
	*hash = fnv1a_128(*hash, bytes, count);
}

static void add_config(struct hash128 *hash, const struct config *c)
{
	const uint32_t sizes[] = { c->version,
		                       c->layers,
		                       c->width,
		                       c->ffn,
		                       c->vocab,
		                       c->heads,
		                       c->head_size,
		                       c->state_width,
		                       c->rank_decay,
		                       c->rank_iclr,
		                       c->rank_gate,
		                       c->rank_value,
		                       c->rank_mix,
		                       c->rescale,
		                       c->rescale_stored,
		                       c->embedding_norm,
		                       bits_of_float(c->group_norm_epsilon) };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		add_number(hash, sizes[i]);
}

/* Both names, because a file of aliases can make a different model from the same tensors. */
static void add_tensor(struct hash128 *hash, const struct tensor *t)
{
	const size_t sample = (size_t)smaller(t->bytes, SAMPLE);
	add_bytes(hash, t->name, strlen(t->name));
	add_bytes(hash, t->file_name, strlen(t->file_name));
	add_bytes(hash, tensor_type(t), strlen(tensor_type(t)));
	add_number(hash, t->rank);
	for (uint32_t i = 0; i < t->rank; i++)
		add_number(hash, t->shape[i]);
	add_number(hash, t->bytes);
	add_number(hash, t->swapped);
	add_number(hash, t->change_hash);
	add_bytes(hash, t->data, sample);
	add_bytes(hash, (const uint8_t *)t->data + t->bytes - sample, sample);
}

static void add_vocabulary(struct hash128 *hash, const rwkvk_tokenizer *tokenizer)
{
	const uint32_t tokens = tokenizer_size(tokenizer);
	add_number(hash, tokens);
	add_number(hash, tokenizer_is_world(tokenizer));
	for (uint32_t i = 0; i < tokens; i++) {
		size_t bytes;
		const void *text = rwkvk_tokenizer_token(tokenizer, i, &bytes);
		add_bytes(hash, text ? text : "", bytes);
	}
}

struct hash128 fingerprint(const rwkvk_model *model, uint32_t begin, uint32_t format)
{
	const struct rwkvk_file *file = model_file(model);
	struct hash128 hash = FNV1A_128_START;
	add_number(&hash, format);
	add_config(&hash, model_config(model));
	add_number(&hash, file->quant);
	add_number(&hash, forward_chunk_rows(model) == 0); /* exact */
	add_number(&hash, model_max_batch(model) > 1);
	add_number(&hash, begin);
	for (size_t i = 0; i < file->weights.count; i++)
		add_tensor(&hash, &file->weights.tensors[i]);
	add_vocabulary(&hash, file->tokenizer);
	return hash;
}
