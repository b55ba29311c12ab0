/* Models that write what a test wants: token i is followed by next[i], whatever comes before it.  Their states depend on
 * everything they have read, as in any model. */
#ifndef RWKVK_TEST_MAKE_CHAIN_H
#define RWKVK_TEST_MAKE_CHAIN_H

#include "format/gguf_writer.h"
#include "make_files.h"

/* next[vocab], in which each token occurs only a few times.  256 tokens are bytes. */
struct list *list_chain(const uint32_t *next, uint32_t vocab);
/* As safetensors. */
void make_chain(const char *path, const uint32_t *next, uint32_t vocab);
/* As GGUF, with keys that `put_keys` (NULL: none) adds. */
void make_chain_gguf(const char *path, const uint32_t *next, uint32_t vocab, void (*put_keys)(struct gguf_writer *));

/* Bytes that follow each other as in `text`, in which each occurs once; the others count up. */
void chain_of_text(uint32_t next[256], const char *text);

#endif
