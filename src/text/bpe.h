/* Byte-level BPE in memory: filled by bpe_file.c, used by bpe.c. */
#ifndef RWKVK_TEXT_BPE_H
#define RWKVK_TEXT_BPE_H

/* The 8-bit functions of PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/vocabulary.h"

#define NO_ID UINT32_MAX

/* `left` followed by `right` becomes `id`.  Of all merges possible in a word, the one of the lowest rank comes first. */
struct merge {
	uint32_t left, right; /* left NO_ID: an empty place */
	uint32_t rank, id;
};

struct bpe {
	uint32_t byte_id[256]; /* the token of a single byte; NO_ID for some that never are part of UTF-8 */
	struct merge *merges;  /* a hash table with open addressing */
	uint32_t mask;         /* its size (a power of 2 above twice the merges) less one */
	pcre2_code *pattern;   /* splits a text into words; merges never cross their borders */
	bool nfc;              /* the text is normalised before */

	/* Tokens at which the text is split first, longest first; value: id + 1.  Those of `raw` before it is normalised. */
	struct trie raw, normal;
};

/* The place in the table of the merge of these two, or where it would be. */
static inline struct merge *bpe_place(const struct bpe *bpe, uint32_t left, uint32_t right)
{
	uint64_t hash = (((uint64_t)left << 32) | right) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t at = (uint32_t)(hash >> 32) & bpe->mask;
	while (bpe->merges[at].left != NO_ID && (bpe->merges[at].left != left || bpe->merges[at].right != right))
		at = (at + 1) & bpe->mask;
	return &bpe->merges[at];
}

#endif
