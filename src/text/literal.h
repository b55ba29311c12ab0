/* Python string and bytes literals, the notation in which World vocabularies write their tokens. */
#ifndef RWKVK_TEXT_LITERAL_H
#define RWKVK_TEXT_LITERAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LITERAL_REASON 160

/* '...' or "..." (the bytes are its UTF-8; \xHH, \uHHHH and \UHHHHHHHH are code points) or b'...' or b"..." (\xHH is a
 * byte).  Writes at most `n` bytes to `out`.  On failure false and a sentence in `reason`. */
bool literal_decode(const uint8_t *in, size_t n, uint8_t *out, size_t *out_bytes, char reason[LITERAL_REASON]);

/* A bytes literal without b and quotes, as in GGUF files; bytes that need no escape may appear as they are. */
bool literal_decode_bare(const uint8_t *in, size_t n, uint8_t *out, size_t *out_bytes, char reason[LITERAL_REASON]);

/* The reverse, as Python shows bytes.  `out` has room for 4 n bytes; returns how many there are. */
size_t literal_encode_bare(const uint8_t *in, size_t n, char *out);

#endif
