/* A trie of byte strings, each with a number, to find the longest match.  Words are added, then the trie is sealed; from then
 * on it is read-only and may be used from several threads. */
#ifndef RWKVK_TEXT_TRIE_H
#define RWKVK_TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sprout;

struct trie {           /* zeroed: empty */
	uint8_t *byte;      /* [nodes] */
	uint32_t *child;    /* [nodes + 1] */
	uint32_t *value;    /* [nodes] of the word that ends here, 0: none */
	uint32_t root[256]; /* the root's child for each byte, 0: none */

	struct sprout *sprouts; /* until it is sealed */
	uint32_t count, capacity;
};

/* Both return false when out of memory.  `value` is not 0; a word added again gets the new value. */
bool trie_add(struct trie *trie, const uint8_t *word, size_t bytes, uint32_t value);
bool trie_seal(struct trie *trie);
void trie_finish(struct trie *trie); /* at any time */

/* The value of the longest word at the start of `text`, which has at least one byte; 0 if there is none, and then *length is
 * unchanged. */
uint32_t trie_longest(const struct trie *trie, const uint8_t *text, size_t bytes, size_t *length);

#endif
