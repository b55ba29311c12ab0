/* ffn.value as the device reads it: most of its inputs are zero, and what belongs to those must not be read.  So it lies by
 * input, in lines of 128 bytes: the weights of one input for a block of outputs (layout.h, VALUE_*; docs/formats.md).  A piece
 * of work is a block's lines for SPAN inputs: everything beside the lines comes in units that divide SPAN, too. */
#include "model/model.h"

#include <string.h>

enum { LINE = 128, SPAN = 256, MOST_OUTPUTS = 256, STRIDE = SPAN + 64 /* a power of two would share few sets of a cache */ };

uint64_t value_block_bytes(uint32_t type, uint64_t inputs)
{
	(void)type;
	return VALUE_INPUTS(inputs) * LINE;
}

uint64_t value_side_bytes(uint32_t type, uint64_t inputs)
{
	return VALUE_SIDE_WORDS(type, inputs) * 4;
}

/* For two rows of floats, and the integers of a block. */
uint64_t value_scratch_floats(void)
{
	return 2 * SPAN + MOST_OUTPUTS * STRIDE / sizeof(float);
}

/* What goes where for a block's lines of SPAN inputs. */
struct turn {
	uint32_t type;
	uint8_t *lines;
	uint32_t *further, *scales, *tops; /* the three parts beside them */
	int8_t (*integers)[STRIDE];        /* [MOST_OUTPUTS][STRIDE] */
};

/* The scales of output o in a block of the file, of `block` inputs from input `first` of the span on. */
static void place_scales(const struct turn *t, const struct dtype_parts *parts, uint32_t block, uint32_t o, uint32_t first)
{
	uint32_t group = VALUE_GROUP(t->type), words = VALUE_SCALE_WORDS(t->type), count = block / group;
	uint8_t *top = (uint8_t *)t->tops;
	for (uint32_t g = 0; g < count; g++) {
		uint8_t *at = (uint8_t *)(t->scales + (first / group + g) * words);
		switch (t->type) {
		case TYPE_Q8:
		case TYPE_Q4:
		case TYPE_Q5:
			memcpy(at + 2 * o, &parts->d, 2);
			break;
		case TYPE_Q4M:
		case TYPE_Q5M:
			memcpy(at + 4 * o, &parts->d, 2);
			memcpy(at + 4 * o + 2, &parts->dmin, 2);
			break;
		case TYPE_Q6K:
			at[o] = (uint8_t)parts->scale_code[g];
			memcpy(top + 2 * o, &parts->d, 2);
			break;
		default:
			at[2 * o] = (uint8_t)parts->scale_code[g];
			at[2 * o + 1] = (uint8_t)parts->min_code[g];
			memcpy(top + 4 * o, &parts->d, 2);
			memcpy(top + 4 * o + 2, &parts->dmin, 2);
		}
	}
}

/* One of the file's rows into row o of the integers, and its scales. */
static void gather(const struct turn *t, enum dtype dtype, const uint8_t *row, uint32_t count, uint32_t o)
{
	const struct dtype_info *info = &dtype_info[dtype];
	for (uint32_t i = 0; i < count; i += info->block, row += info->bytes) {
		struct dtype_parts parts;
		dtype_split(dtype, row, &parts);
		memcpy(t->integers[o] + i, parts.q, info->block);
		place_scales(t, &parts, info->block, o, i);
	}
}

/* A square of 8 by 8 bytes the other way round, by halves, quarters and eighths. */
static void turn_square(const int8_t *from, int8_t *to)
{
	uint64_t row[8];
	for (int i = 0; i < 8; i++)
		memcpy(&row[i], from + i * STRIDE, 8);
	static const uint64_t kept[] = { 0x00000000ffffffff, 0x0000ffff0000ffff, 0x00ff00ff00ff00ff };
	for (int step = 0, apart = 4; apart > 0; step++, apart /= 2)
		for (int i = 0; i < 8; i++)
			if (!(i & apart)) {
				uint64_t a = row[i], b = row[i + apart];
				row[i] = (a & kept[step]) | (b & kept[step]) << 8 * apart;
				row[i + apart] = (a >> 8 * apart & kept[step]) | (b & ~kept[step]);
			}
	for (int i = 0; i < 8; i++)
		memcpy(to + i * MOST_OUTPUTS, &row[i], 8);
}

static void turn_integers(const struct turn *t)
{
	uint32_t high_words = VALUE_HIGH_WORDS(t->type), outputs = VALUE_BLOCK(t->type);
	int8_t turned[8][MOST_OUTPUTS];
	for (uint32_t first = 0; first < SPAN; first += 8) {
		for (uint32_t o = 0; o < outputs; o += 8)
			turn_square(&t->integers[o][first], &turned[0][o]);
		for (uint32_t i = 0; i < 8; i++) {
			uint8_t *line = t->lines + (first + i) * LINE;
			if (t->type == TYPE_Q8)
				memcpy(line, turned[i], LINE);
			for (uint32_t u = 0; u < 8 && t->type != TYPE_Q8; u++)
				place_integers(t->type, turned[i] + 32 * u, u, line, t->further + (first + i) * high_words);
		}
	}
}

/* Of plain types, one row's elements, 2 or 4 bytes each, down the lines. */
static void turn_plain(const struct turn *t, const uint8_t *row, uint32_t count, uint32_t o)
{
	if (t->type == TYPE_F32)
		for (uint32_t i = 0; i < count; i++)
			memcpy(t->lines + i * LINE + o * 4, row + i * 4, 4);
	else
		for (uint32_t i = 0; i < count; i++)
			memcpy(t->lines + i * LINE + o * 2, row + i * 2, 2);
}

struct blocks {
	const struct matrix_part *part;
	uint32_t inputs;
	uint64_t first;
	uint8_t *to, *side;
	float *scratch;
};

static void pack_span(void *user, unsigned worker, uint64_t index)
{
	const struct blocks *b = user;
	const struct matrix_source *source = &b->part->source;
	const uint32_t type = source->type, outputs = VALUE_BLOCK(type);
	uint64_t spans = VALUE_INPUTS(b->inputs) / SPAN, block = index / spans, span = index % spans, first = span * SPAN;
	uint64_t row = (b->first + block) * outputs, rows = b->part->rows - row < outputs ? b->part->rows - row : outputs;
	uint32_t count = b->inputs - first < SPAN ? (uint32_t)(b->inputs - first) : SPAN;
	uint32_t *side = (uint32_t *)(void *)(b->side + block * value_side_bytes(type, b->inputs)), *further = side;
	uint32_t *scales = further + VALUE_INPUTS(b->inputs) * VALUE_HIGH_WORDS(type);
	uint32_t *tops = scales + VALUE_INPUTS(b->inputs) / VALUE_GROUP(type) * VALUE_SCALE_WORDS(type);
	float *scratch = b->scratch + worker * pack_scratch_floats(b->inputs);
	struct turn t = { .type = type, .lines = b->to + block * value_block_bytes(type, b->inputs) + first * LINE };
	t.further = further + first * VALUE_HIGH_WORDS(type);
	t.scales = scales + first / VALUE_GROUP(type) * VALUE_SCALE_WORDS(type);
	t.tops = tops + span * VALUE_TOP_WORDS(type);
	t.integers = (int8_t(*)[STRIDE])(void *)(scratch + 2 * SPAN);
	if (type < TYPE_Q8) {
		memset(t.lines, 0, SPAN * LINE);
	} else {
		memset(t.integers, 0, sizeof *t.integers * outputs);
		memset(t.scales, 0, SPAN / VALUE_GROUP(type) * VALUE_SCALE_WORDS(type) * 4);
		memset(t.tops, 0, VALUE_TOP_WORDS(type) * 4);
	}
	for (uint32_t o = 0; o < rows; o++) {
		enum dtype dtype;
		const uint8_t *bytes = typed_row(source, row + o, first, count, scratch, &dtype);
		if (type < TYPE_Q8)
			turn_plain(&t, bytes, count, o);
		else
			gather(&t, dtype, bytes, count, o);
	}
	if (type >= TYPE_Q8)
		turn_integers(&t);
}

void pack_value_blocks(struct parallel *parallel, const struct matrix_part *part, uint32_t inputs, uint64_t first,
                       uint64_t blocks, void *to, void *side, float *scratch)
{
	struct blocks work = { part, inputs, first, to, side, scratch };
	parallel_for(parallel, blocks * (VALUE_INPUTS(inputs) / SPAN), pack_span, &work);
}
