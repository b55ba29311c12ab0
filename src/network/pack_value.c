/* ffn.value as the device reads it.  Most of its inputs are zero, and their weights must not be read.  So it is stored by
 * input, in lines of 128 bytes: the weights of one input for a block of outputs (layout.h, VALUE_*; docs/formats.md).  A piece
 * of work is a block's lines for SPAN inputs; the data beside the lines comes in units that divide SPAN, too. */
#include "network/pack.h"

#include <stdatomic.h>
#include <string.h>

enum { LINE = 128, SPAN = 256, MOST_OUTPUTS = 256, APART = 64 /* rows a power of two apart would share few cache sets */ };

uint64_t value_block_bytes(uint32_t type, uint64_t inputs)
{
	(void)type;
	return VALUE_INPUTS(inputs) * LINE;
}

uint64_t value_side_bytes(uint32_t type, uint64_t inputs)
{
	return VALUE_SIDE_WORDS(type, inputs) * 4;
}

/* Scratch for the sources of eight rows, and for all rows of the largest span. */
uint64_t value_scratch_floats(void)
{
	return 8 * row_scratch_floats(SPAN) + MOST_OUTPUTS * (SPAN + APART) / sizeof(float);
}

/* Where the data of a block's lines of SPAN inputs go. */
struct turn {
	uint32_t type, unit; /* bytes of a weight: of a plain type, or an integer of a byte */
	uint8_t *lines;
	uint32_t *further, *scales, *tops; /* the three parts beside them */
	uint8_t *rows;                     /* [VALUE_BLOCK][stride], each SPAN weights */
	uint32_t stride;
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

/* One of the file's rows into row o, and its scales. */
static void gather(const struct turn *t, enum dtype dtype, const uint8_t *row, uint32_t count, uint32_t o)
{
	const struct dtype_info *info = &dtype_info[dtype];
	uint8_t *to = t->rows + o * t->stride;
	if (t->type < TYPE_Q8) {
		memcpy(to, row, count * t->unit);
		return;
	}
	for (uint32_t i = 0; i < count; i += info->block, row += info->bytes) {
		struct dtype_parts parts;
		dtype_split(dtype, row, &parts);
		memcpy(to + i, parts.q, info->block);
		place_scales(t, &parts, info->block, o, i);
	}
}

/* Transposes a square of 8-byte words whose elements have `unit` bytes: by halves, quarters and eighths. */
static inline void turn_square(const uint8_t *from, uint32_t stride, uint32_t unit, uint8_t *to, uint32_t to_stride)
{
	uint64_t row[8];
	uint32_t size = 8 / unit;
	for (uint32_t i = 0; i < size; i++)
		memcpy(&row[i], from + i * stride, 8);
	for (uint32_t apart = size / 2; apart > 0; apart /= 2) {
		uint32_t shift = 8 * unit * apart;
		uint64_t kept = UINT64_MAX / ((UINT64_C(1) << shift) + 1); /* every second run of `shift` bits */
		for (uint32_t i = 0; i < size; i++)
			if (!(i & apart)) {
				uint64_t a = row[i], b = row[i + apart];
				row[i] = (a & kept) | (b & kept) << shift;
				row[i + apart] = (a >> shift & kept) | (b & ~kept);
			}
	}
	for (uint32_t i = 0; i < size; i++)
		memcpy(to + i * to_stride, &row[i], 8);
}

/* Lines are written whole and in order, because the memory may be the device's. */
static inline void turn_rows(const struct turn *t, uint32_t unit)
{
	const uint32_t size = 8 / unit, outputs = VALUE_BLOCK(t->type), high_words = VALUE_HIGH_WORDS(t->type);
	uint8_t turned[8][MOST_OUTPUTS];
	for (uint32_t first = 0; first < SPAN; first += size) {
		for (uint32_t o = 0; o < outputs; o += size)
			turn_square(t->rows + o * t->stride + first * unit, t->stride, unit, &turned[0][o * unit], MOST_OUTPUTS);
		for (uint32_t i = 0; i < size; i++) {
			uint8_t *line = t->lines + (first + i) * LINE;
			if (t->type <= TYPE_Q8)
				memcpy(line, turned[i], LINE);
			for (uint32_t u = 0; u < 8 && t->type > TYPE_Q8; u++)
				place_integers(t->type, (int8_t *)turned[i] + 32 * u, u, line, t->further + (first + i) * high_words);
		}
	}
}

struct blocks {
	const struct matrix_part *part;
	uint32_t inputs;
	uint64_t first;
	uint8_t *to, *side;
	float *scratch;
	atomic_bool unfit;
};

static void pack_span(void *user, unsigned worker, uint64_t index)
{
	struct blocks *b = user;
	bool fits = true;
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
	t.unit = type == TYPE_F32 ? 4 : type < TYPE_Q8 ? 2 : 1;
	t.rows = (uint8_t *)(scratch + 8 * row_scratch_floats(SPAN));
	t.stride = SPAN * t.unit + APART;
	if (rows < outputs || count < SPAN)
		memset(t.rows, 0, (size_t)outputs * t.stride);
	memset(t.scales, 0, SPAN / VALUE_GROUP(type) * VALUE_SCALE_WORDS(type) * 4);
	memset(t.tops, 0, VALUE_TOP_WORDS(type) * 4);
	for (uint32_t o = 0; o < rows; o += 8) {
		enum dtype dtype = DTYPE_F32;
		const uint8_t *bytes[8];
		const uint32_t n = rows - o < 8 ? (uint32_t)(rows - o) : 8;
		typed_rows(source, row + o, n, first, count, scratch, bytes, &dtype, &fits);
		for (uint32_t i = 0; i < n; i++)
			gather(&t, dtype, bytes[i], count, o + i);
	}
	if (!fits)
		atomic_store(&b->unfit, true);
	if (t.unit == 1)
		turn_rows(&t, 1);
	else if (t.unit == 2)
		turn_rows(&t, 2);
	else
		turn_rows(&t, 4);
}

bool pack_value_blocks(struct parallel *parallel, const struct matrix_part *part, uint32_t inputs, uint64_t first,
                       uint64_t blocks, void *to, void *side, float *scratch)
{
	struct blocks work = { part, inputs, first, to, side, scratch, false };
	parallel_for(parallel, blocks * (VALUE_INPUTS(inputs) / SPAN), pack_span, &work);
	return !work.unfit;
}
