/* Streaming UTF-8: how much of a byte stream may be shown without cutting a character in half. */
#ifndef RWKVK_TEXT_UTF8_H
#define RWKVK_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the longest prefix of `bytes` that does not end inside a character that could still be completed.  Bytes that
 * can never be part of UTF-8 count as complete, so that nothing is held back for ever.  At most 3 bytes remain. */
size_t utf8_complete(const uint8_t *bytes, size_t count);

/* The length of the character at the start of `bytes`; 0 when there is no whole, valid one. */
size_t utf8_length(const uint8_t *bytes, size_t count);

#endif
