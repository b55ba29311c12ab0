/* The World tokenizer: greedy longest match over bytes in a trie.  The public interface is in rwkvk.h; this is how the
 * library makes one from a model file. */
#ifndef RWKVK_TEXT_TOKENIZER_H
#define RWKVK_TEXT_TOKENIZER_H

#include "format/weights.h"

/* From the token list of a GGUF file (metadata.token_text): Python-escaped literals by id; id 0, control, unused and empty
 * tokens have no text.  Here and below the higher id wins where two tokens have the same bytes. */
rwkvk_status tokenizer_from_metadata(const struct weights *weights, rwkvk_tokenizer **out);

/* From bytes in the World text format; `path` is for messages. */
rwkvk_status tokenizer_from_text(const char *path, const uint8_t *text, uint64_t bytes, rwkvk_tokenizer **out);

/* One more than the highest id with text. */
uint32_t tokenizer_size(const rwkvk_tokenizer *tokenizer);

#endif
