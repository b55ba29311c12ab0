/* Unicode's normalisation form C: characters and their accents composed, as some vocabularies expect their text. */
#ifndef RWKVK_TEXT_NFC_H
#define RWKVK_TEXT_NFC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `text` is valid UTF-8.  *out is the normal form, to be freed, at most three times as long as the text; NULL if the text is
 * known to be in it already.  false: no memory. */
bool nfc(const uint8_t *text, size_t bytes, uint8_t **out, size_t *out_bytes);

#endif
