/* Nodes are numbered breadth first, so the children of a node are neighbours: node n's are child[n] up to child[n + 1], in
 * the order of their bytes.  Node 0 is the root. */
#include "text/trie.h"

#include <stdlib.h>

/* While the trie grows its nodes are lists of siblings. */
struct sprout {
	uint32_t child, next, value;
	uint8_t byte;
};

static bool make_room(struct trie *t)
{
	if (t->count < t->capacity)
		return true;
	uint32_t capacity = t->capacity ? 2 * t->capacity : 64;
	struct sprout *more = realloc(t->sprouts, capacity * sizeof *more);
	if (!more)
		return false;
	t->sprouts = more;
	t->capacity = capacity;
	return true;
}

/* The child of `parent` for `byte`, created if necessary; 0 when out of memory.  A child that is found moves to the front of
 * its list: vocabularies are mostly sorted, so the next word needs it again. */
static uint32_t grow(struct trie *t, uint32_t parent, uint8_t byte)
{
	uint32_t before = 0, at = t->sprouts[parent].child;
	while (at && t->sprouts[at].byte != byte) {
		before = at;
		at = t->sprouts[at].next;
	}
	if (at && !before)
		return at;
	if (at) {
		t->sprouts[before].next = t->sprouts[at].next;
	} else {
		if (!make_room(t))
			return 0;
		at = t->count++;
		t->sprouts[at] = (struct sprout){ .byte = byte };
	}
	t->sprouts[at].next = t->sprouts[parent].child;
	t->sprouts[parent].child = at;
	return at;
}

static bool plant(struct trie *t)
{
	if (t->count > 0)
		return true;
	if (!make_room(t))
		return false;
	t->sprouts[t->count++] = (struct sprout){ 0 };
	return true;
}

bool trie_add(struct trie *t, const uint8_t *word, size_t bytes, uint32_t value)
{
	if (!plant(t))
		return false;
	uint32_t at = 0;
	for (size_t i = 0; i < bytes; i++) {
		at = grow(t, at, word[i]);
		if (!at)
			return false;
	}
	t->sprouts[at].value = value;
	return true;
}

/* The children of `parent` in the order of their bytes. */
static uint32_t children(const struct trie *t, uint32_t parent, uint32_t *out)
{
	uint32_t n = 0;
	for (uint32_t at = t->sprouts[parent].child; at; at = t->sprouts[at].next) {
		uint32_t k = n++;
		for (; k > 0 && t->sprouts[out[k - 1]].byte > t->sprouts[at].byte; k--)
			out[k] = out[k - 1];
		out[k] = at;
	}
	return n;
}

static void flatten(struct trie *t, uint32_t *from) /* [nodes] our number -> number of the sprout */
{
	uint32_t made = 1;
	from[0] = 0;
	for (uint32_t n = 0; n < t->count; n++) {
		t->byte[n] = t->sprouts[from[n]].byte;
		t->value[n] = t->sprouts[from[n]].value;
		t->child[n] = made;
		made += children(t, from[n], from + made);
	}
	t->child[t->count] = made;
	for (uint32_t n = t->child[0]; n < t->child[1]; n++)
		t->root[t->byte[n]] = n;
}

bool trie_seal(struct trie *t)
{
	if (!plant(t))
		return false;
	uint32_t *from = malloc(t->count * sizeof *from);
	t->byte = malloc(t->count);
	t->child = malloc(((size_t)t->count + 1) * sizeof *t->child);
	t->value = malloc(t->count * sizeof *t->value);
	bool done = from && t->byte && t->child && t->value;
	if (done)
		flatten(t, from);
	free(from);
	free(t->sprouts);
	t->sprouts = NULL;
	return done;
}

void trie_finish(struct trie *t)
{
	free(t->byte);
	free(t->child);
	free(t->value);
	free(t->sprouts);
	*t = (struct trie){ 0 };
}

/* The child of `node` for `byte`; 0: none. */
static uint32_t step(const struct trie *t, uint32_t node, uint8_t byte)
{
	uint32_t low = t->child[node], high = t->child[node + 1];
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (t->byte[middle] == byte)
			return middle;
		if (t->byte[middle] < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

uint32_t trie_longest(const struct trie *t, const uint8_t *text, size_t bytes, size_t *length)
{
	uint32_t best = 0, node = t->root[text[0]];
	for (size_t n = 1; node; node = step(t, node, text[n++])) {
		if (t->value[node]) {
			best = t->value[node];
			*length = n;
		}
		if (n == bytes)
			break;
	}
	return best;
}
