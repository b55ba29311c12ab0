/* Constructors of tokenizers for the rest of the library; encoding and decoding is in rwkvk.h.  Three kinds:
 *
 *   World   greedy longest match over bytes              world.c; world_json.c reads web-rwkv's form
 *   BPE     byte pairs merged as GPT-NeoX's are          bpe_file.c reads, bpe.c encodes
 *   bytes   a token is a byte                            tokenizer.c */
#ifndef RWKVK_TEXT_TOKENIZER_H
#define RWKVK_TEXT_TOKENIZER_H

#include "format/gguf_writer.h"
#include "format/weights.h"

/* From the token list of a GGUF file (metadata.token_text): Python-escaped literals by id; id 0, control, unused and empty
 * tokens have no text.  Here and below the higher id wins where two tokens have the same bytes. */
rwkvk_status tokenizer_from_metadata(const struct weights *weights, rwkvk_tokenizer **out);

/* A World vocabulary as such a list, padded to `vocab` tokens, with its keys.  Fails only when out of memory. */
bool tokenizer_is_world(const rwkvk_tokenizer *tokenizer);
rwkvk_status tokenizer_put_gguf(const rwkvk_tokenizer *tokenizer, uint32_t vocab, struct gguf_writer *out);

/* From bytes in the World text format; `path` is for messages, here and below. */
rwkvk_status tokenizer_from_text(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out);

/* From the bytes of a tokenizer.json of Hugging Face's tokenizers: byte-level BPE with GPT-2's pattern, as 20B_tokenizer.json
 * has it.  Any other kind of tokenizer is RWKVK_ERROR_UNSUPPORTED, and the message names it. */
rwkvk_status tokenizer_from_json(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out);

/* From the bytes of web-rwkv's and Ai00's JSON: an object from ids to texts or lists of bytes. */
rwkvk_status tokenizer_from_ids(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out);

/* From any of these, detected by content. */
rwkvk_status tokenizer_from_bytes(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out);

/* The vocabulary of models with V = 256: token = byte. */
rwkvk_status tokenizer_bytes(rwkvk_tokenizer **out);

/* RWKVK_ERROR_FILE when the tokenizer cannot belong to the model of that name, with `vocab` tokens: it has ids that the model
 * lacks, or does not cover the model's ids.  `own`: the advice if the file has a vocabulary; may be NULL. */
rwkvk_status tokenizer_fits(const rwkvk_tokenizer *tokenizer, const char *model, uint32_t vocab, const char *own);

/* Whether padding to a multiple of 512 explains all ids of a model that the tokenizer does not have. */
bool tokenizer_covers(const rwkvk_tokenizer *tokenizer, uint32_t vocab);

/* The same texts for the same ids, encoded in the same way. */
bool tokenizer_equal(const rwkvk_tokenizer *a, const rwkvk_tokenizer *b);

/* The name of the vocabulary file that released models of `vocab` tokens use; NULL when none is known. */
const char *tokenizer_file_for(uint32_t vocab);

/* Whether it is the World vocabulary.  tokenizer: the model's; NULL: it has none. */
bool tokenizer_has_world(const rwkvk_tokenizer *tokenizer, uint32_t vocab);

/* Whether token 0 ends a text; in a byte vocabulary it is an ordinary byte. */
bool tokenizer_zero_ends(const rwkvk_tokenizer *tokenizer);

/* One more than the highest id. */
uint32_t tokenizer_size(const rwkvk_tokenizer *tokenizer);

/* How many ids it has, including those without text and World's 0, which its files may omit. */
uint32_t tokenizer_ids(const rwkvk_tokenizer *tokenizer);

#endif
