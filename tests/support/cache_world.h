/* Shared by tests of the state cache: conversations, and a small model whose vocabulary is sensitive to where texts are
 * split. */
#ifndef RWKVK_TEST_CACHE_WORLD_H
#define RWKVK_TEST_CACHE_WORLD_H

#include "support.h"

#include <stdio.h>

#include "make_model.h"
#include "rwkvk_tools.h"

enum { CACHE_VOCAB = 512 };

static const struct model_spec cache_spec = { .layers = 3,
	                                          .width = 64,
	                                          .head_size = 32,
	                                          .ffn = 256,
	                                          .vocab = CACHE_VOCAB,
	                                          .rank_decay = 8,
	                                          .rank_iclr = 8,
	                                          .rank_gate = 16,
	                                          .rank_value = 8,
	                                          .type = DTYPE_F16,
	                                          .lora_type = DTYPE_F16,
	                                          .seed = 70 };

/* World's: every byte, and pairs of a few letters and signs.  `last`: the letter that token 511 has twice. */
static inline const char *make_cache_vocabulary(const char *name, char last)
{
	static const char letters[] = "aeions tr\n:.hdlc";
	const char *path = test_temp(name);
	char text[16384], *at = text;
	uint32_t id = 1;
	for (; id <= 256; id++)
		at += sprintf(at, "%u b'\\x%02x' 1\n", id, id - 1);
	for (const char *a = letters; *a && id < CACHE_VOCAB - 1; a++)
		for (const char *b = letters; *b && id < CACHE_VOCAB - 1; b++)
			at += sprintf(at, "%u '\\x%02x\\x%02x' 2\n", id++, *a, *b);
	at += sprintf(at, "%u '%c%c' 2\n", id, last, last);
	test_write_file(path, text, (size_t)(at - text));
	return path;
}

/* Messages as a chat has them, with their ends known. */
struct talk {
	char text[20000];
	size_t bytes, ends[64], count;
};

static inline void say(struct talk *t, const char *who, const char *what)
{
	t->bytes += (size_t)snprintf(t->text + t->bytes, sizeof t->text - t->bytes, "%s: %s\n\n", who, what);
	t->ends[t->count++] = t->bytes;
}

static inline rwkvk_prompt *make_prompt(rwkvk_cache *cache, const struct talk *t)
{
	rwkvk_prompt *prompt;
	const rwkvk_prompt_options options = { .ends = t->ends, .end_count = t->count };
	assert_ok(rwkvk_prompt_create(cache, t->text, t->bytes, &options, &prompt));
	return prompt;
}

static inline rwkvk_prompt_info info_of(const rwkvk_prompt *prompt)
{
	rwkvk_prompt_info info = { 0 };
	assert_ok(rwkvk_prompt_get_info(prompt, &info));
	return info;
}

static inline rwkvk_cache_stats stats_of(rwkvk_cache *cache)
{
	rwkvk_cache_stats stats = { 0 };
	assert_ok(rwkvk_cache_get_stats(cache, &stats));
	return stats;
}

static inline rwkvk_cache *make_cache(rwkvk_model *model, const rwkvk_cache_options *options)
{
	rwkvk_cache *cache;
	assert_ok(rwkvk_cache_create(model, options, &cache));
	return cache;
}

#endif
