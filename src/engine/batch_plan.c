/* Passes whose tokens the device finds (shaders/choose.comp): the dispatch, and the host's words for each row. */
#include "engine/plan.h"

#include <string.h>

uint64_t table_words(const struct config *c, uint32_t rows)
{
	return ASK((uint64_t)rows, c->vocab);
}

rwkvk_status plan_choose(struct rwkvk_model *m, struct pass *p)
{
	struct dispatch d;
	dispatch_init(m, model_config(m)->layers, "choose", "choose", &d);
	d.constants[0] = d.constants[SPEC_WORKGROUP] = select_workgroup(m);
	d.bindings[0] = d.bindings[1] = whole(&m->chunk.buffer);
	d.bindings[5] = whole(&m->picks);
	d.bindings[6] = whole(&m->logits);
	d.bindings[7] = whole(p->table);
	d.groups.x = p->rows;
	d.bytes = sizeof(float) * (uint64_t)p->rows * model_config(m)->vocab; /* the logits */
	return chunk_step(m, p, &d);
}

static uint32_t *words_of(const struct rwkvk_model *m, uint32_t row, uint32_t *table)
{
	return table + ASK((size_t)row, model_config(m)->vocab);
}

void ask_nothing(const struct rwkvk_model *m, uint32_t row, uint32_t *table)
{
	uint32_t *words = words_of(m, row, table);
	words[IO_FED] = words[ASK_MOST] = 0;
	words[IO_DONE] = DONE_UNKNOWN;
}

void ask_feed(const struct rwkvk_model *m, uint32_t row, uint32_t *table, uint32_t slot, const uint32_t *tokens, uint32_t count)
{
	uint32_t *words = words_of(m, row, table);
	ask_nothing(m, row, table);
	words[IO_MODE] = MODE_FEED;
	words[IO_SLOT] = slot;
	words[ASK_MOST] = count;
	memcpy(words + IO_TOKENS, tokens, count * sizeof *tokens);
}

void ask_pick(const struct rwkvk_model *m, uint32_t row, uint32_t *table, uint32_t slot, const struct asking *a)
{
	uint32_t *words = words_of(m, row, table);
	write_picking(words, slot, &a->picking);
	words[IO_PICK] |= a->mask ? PICK_MASK : 0;
	words[ASK_MOST] = a->most;
	words[ASK_TOP] = a->top;
	words[ASK_BIAS_COUNT] = a->bias_count;
	for (uint32_t i = 0; i < a->bias_count; i++) {
		words[ASK_BIASES + 2 * i] = a->biases[i].token;
		memcpy(words + ASK_BIASES + 2 * i + 1, &a->biases[i].value, sizeof(float));
	}
	if (a->mask)
		memcpy(words + ASK_MASK, a->mask, V4((size_t)model_config(m)->vocab) / 32 * sizeof *a->mask);
}
