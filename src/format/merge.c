/* Adapters in a matrix, a few rows at a time.  The low-rank product takes the time: A is kept in panels of sixteen columns, so
 * that the kernel reads it sequentially while four rows of sums stay in registers. */
#include "format/merge.h"
#include "format/quants.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 8, PANEL = 2 * LANES, SPAN = 256, STAGED_RANK = 512 };

/* One step. */
struct change {
	enum { LOW_RANK, BY_ROWS, BY_BLOCKS } kind;
	uint32_t rank;  /* of the product; else the size of a block */
	float scale;    /* of the product; otherwise the unit of the matrix */
	bool below;     /* blocks are numbered down the rows */
	float *numbers; /* panels of A [ceil(in / PANEL)][rank][PANEL]; D [out][rank]; D [n][rank][rank] */
	struct tensor b;
	float *b_numbers; /* [out][rank], if B is turned or of large rank; else NULL, and B is converted as needed */
	float *lengths;   /* [out]: the final factor of each row; NULL if none */
};

struct merge {
	const char *path; /* for messages */
	struct tensor base;
	float unit;
	struct change *changes;
	size_t count;
};

/* ------------------------------------------------------------------------------------------------------ the product */

#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES)));

/* sums[i] = sum_k b[i,k] a[k] for `rows` rows.  `rows` is a compile-time constant, so the sums stay in registers. */
INLINE void multiply_rows(const float *a, const float *b, uint32_t rank, const uint32_t rows, float (*sums)[PANEL])
{
	lanes low[4] = { { 0 } }, high[4] = { { 0 } };
	for (uint32_t k = 0; k < rank; k++, a += PANEL) {
		lanes a_low, a_high;
		memcpy(&a_low, a, sizeof a_low);
		memcpy(&a_high, a + LANES, sizeof a_high);
		for (uint32_t i = 0; i < rows; i++) {
			float w = b[i * rank + k];
			low[i] += a_low * (lanes){ w, w, w, w, w, w, w, w };
			high[i] += a_high * (lanes){ w, w, w, w, w, w, w, w };
		}
	}
	for (uint32_t i = 0; i < rows; i++) {
		memcpy(sums[i], &low[i], sizeof low[i]);
		memcpy(sums[i] + LANES, &high[i], sizeof high[i]);
	}
}

FOR_EACH_PROCESSOR static void multiply(const float *a, const float *b, uint32_t rank, uint32_t rows, float (*sums)[PANEL])
{
	uint32_t i = 0;
	for (; i + 4 <= rows; i += 4)
		multiply_rows(a, b + (size_t)i * rank, rank, 4, sums + i);
	for (; i < rows; i++)
		multiply_rows(a, b + (size_t)i * rank, rank, 1, sums + i);
}

/* ------------------------------------------------------------------------------------------------------ the steps */

/* The part of W at hand: elements [first, first + count) of rows [row, row + rows), with row i at out + i stride. */
struct window {
	uint64_t row, first, count;
	uint32_t rows;
	float *out;
	uint64_t stride;
};

static void add_low_rank(const struct change *c, const struct window *w)
{
	float staged[MERGE_ROWS * STAGED_RANK], sums[MERGE_ROWS][PANEL];
	const float *b = c->b_numbers ? c->b_numbers + w->row * c->rank : staged;
	if (!c->b_numbers)
		dtype_to_float(c->b.type, c->b.data, w->row * c->rank, (uint64_t)w->rows * c->rank, staged);
	for (uint64_t j = 0, n; j < w->count; j += n) {
		uint64_t at = (w->first + j) % PANEL;
		n = PANEL - at < w->count - j ? PANEL - at : w->count - j;
		multiply(c->numbers + (w->first + j) / PANEL * PANEL * c->rank, b, c->rank, w->rows, sums);
		for (uint32_t i = 0; i < w->rows; i++)
			for (uint64_t u = 0; u < n; u++)
				w->out[i * w->stride + j + u] += c->scale * sums[i][at + u];
	}
	for (uint32_t i = 0; c->lengths && i < w->rows; i++)
		for (uint64_t j = 0; j < w->count; j++)
			w->out[i * w->stride + j] *= c->lengths[w->row + i];
}

static void add_by_rows(const struct change *c, const struct window *w)
{
	for (uint32_t i = 0; i < w->rows; i++) {
		const float *d = c->numbers + (w->row + i) * c->rank;
		for (uint64_t j = 0; j < w->count; j++)
			w->out[i * w->stride + j] += c->scale * d[(w->first + j) % c->rank];
	}
}

static void add_by_blocks(const struct change *c, const struct window *w)
{
	const uint32_t n = c->rank;
	float sums[SPAN];
	for (uint32_t i = 0; i < w->rows; i++)
		for (uint64_t j = 0; j < w->count; j += n) {
			float *v = w->out + i * w->stride + j;
			const float *d = c->numbers + (c->below ? (w->row + i) / n : (w->first + j) / n) * n * n;
			memset(sums, 0, sizeof sums);
			for (uint32_t k = 0; k < n; k++)
				for (uint32_t u = 0; u < n; u++)
					sums[u] += v[k] * d[k * n + u];
			for (uint32_t u = 0; u < n; u++)
				v[u] += sums[u] + c->scale * d[(w->row + i) % n * n + u];
		}
}

static void apply(const struct merge *merge, const struct window *w)
{
	static void (*const steps[])(const struct change *, const struct window *) = {
		[LOW_RANK] = add_low_rank, [BY_ROWS] = add_by_rows, [BY_BLOCKS] = add_by_blocks
	};
	const struct tensor *t = &merge->base;
	for (uint32_t i = 0; i < w->rows; i++)
		dtype_to_float(t->type, t->data, (w->row + i) * t->shape[1] + w->first, w->count, w->out + i * w->stride);
	for (size_t i = 0; i < merge->count; i++)
		steps[merge->changes[i].kind](&merge->changes[i], w);
}

void merge_rows(const struct tensor *tensor, uint64_t row, uint32_t rows, uint64_t first, uint64_t count, float *out,
                uint64_t stride)
{
	apply(tensor->merge, &(struct window){ row, first, count, rows, out, stride });
}

void tensor_to_float(const struct tensor *tensor, uint64_t first, uint64_t count, float *out)
{
	if (!tensor->merge) {
		dtype_to_float(tensor->type, tensor->data, first, count, out);
		return;
	}
	const uint64_t columns = tensor->shape[1];
	while (count) {
		uint64_t at = first % columns, n = columns - at < count ? columns - at : count;
		uint32_t rows = n < columns ? 1 : count / columns < MERGE_ROWS ? (uint32_t)(count / columns) : MERGE_ROWS;
		merge_rows(tensor, first / columns, rows, at, n, out, n);
		first += rows * n;
		out += rows * n;
		count -= rows * n;
	}
}

/* ------------------------------------------------------------------------------------------------------ making them */

static rwkvk_status no_memory(const struct merge *merge)
{
	return fail(RWKVK_ERROR_MEMORY, "%s: no memory for adapters of tensor %s", merge->path, merge->base.file_name);
}

static float *floats(uint64_t count)
{
	return count <= SIZE_MAX / sizeof(float) ? malloc((size_t)count * sizeof(float)) : NULL;
}

rwkvk_status merge_of(struct weights *weights, struct tensor *tensor, float unit, struct merge **out)
{
	for (size_t i = 0; i < weights->merge_count; i++)
		if (weights->merges[i] == tensor->merge) {
			*out = weights->merges[i];
			return RWKVK_OK;
		}
	struct merge **more = realloc(weights->merges, (weights->merge_count + 1) * sizeof *more);
	struct merge *merge = more ? calloc(1, sizeof *merge) : NULL;
	weights->merges = more ? more : weights->merges;
	if (!merge)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for adapters", weights->path);
	*merge = (struct merge){ .path = weights->path, .base = *tensor, .unit = unit };
	weights->merges[weights->merge_count++] = merge;
	tensor->merge = merge;
	*out = merge;
	return RWKVK_OK;
}

static struct change *add_change(struct merge *merge)
{
	struct change *more = realloc(merge->changes, (merge->count + 1) * sizeof *more);
	if (!more)
		return NULL;
	merge->changes = more;
	more[merge->count] = (struct change){ 0 };
	return &more[merge->count++];
}

/* Element [row,column] of a factor converted to floats, with `columns` floats in a row. */
static float of_factor(const float *numbers, bool turned, uint64_t rows, uint64_t columns, uint64_t row, uint64_t column)
{
	return turned ? numbers[column * rows + row] : numbers[row * columns + column];
}

static void make_panels(const float *a, bool turned, uint64_t rank, uint64_t columns, float *out)
{
	for (uint64_t first = 0; first < columns; first += PANEL)
		for (uint64_t k = 0; k < rank; k++)
			for (uint64_t u = 0; u < PANEL; u++)
				*out++ = first + u < columns ? of_factor(a, turned, rank, columns, k, first + u) : 0;
}

/* A whole tensor as floats; NULL if memory runs out. */
static float *whole(const struct tensor *tensor)
{
	float *out = floats(tensor_elements(tensor));
	if (out)
		dtype_to_float(tensor->type, tensor->data, 0, tensor_elements(tensor), out);
	return out;
}

/* The same, transposed: stored as [columns,rows], returned as [rows,columns]. */
static float *whole_turned(const struct tensor *tensor, uint64_t rows, uint64_t columns)
{
	float *stored = whole(tensor), *out = floats(rows * columns);
	for (uint64_t i = 0; stored && out && i < rows; i++)
		for (uint64_t j = 0; j < columns; j++)
			out[i * columns + j] = stored[j * rows + i];
	free(stored);
	return out;
}

/* Squares are summed as doubles: rows are long. */
struct measuring {
	const struct merge *merge;
	float *lengths;
};

static void measure_rows(void *user, unsigned worker, uint64_t index)
{
	const struct measuring *m = user;
	const struct tensor *t = &m->merge->base;
	const uint64_t row = index * MERGE_ROWS, columns = t->shape[1];
	const uint32_t rows = t->shape[0] - row < MERGE_ROWS ? (uint32_t)(t->shape[0] - row) : MERGE_ROWS;
	float values[MERGE_ROWS * SPAN];
	double squares[MERGE_ROWS] = { 0 };
	(void)worker;
	for (uint64_t first = 0; first < columns; first += SPAN) {
		uint64_t n = columns - first < SPAN ? columns - first : SPAN;
		apply(m->merge, &(struct window){ row, first, n, rows, values, SPAN });
		for (uint32_t i = 0; i < rows; i++)
			for (uint64_t j = 0; j < n; j++)
				squares[i] += (double)values[i * SPAN + j] * (double)values[i * SPAN + j];
	}
	for (uint32_t i = 0; i < rows; i++)
		m->lengths[row + i] = (float)sqrt(squares[i]);
}

/* Scales the rows, after this step, to the lengths in the magnitude.  Those are of the whole matrix, which the file holds times
 * its unit. */
static rwkvk_status give_lengths(struct merge *merge, struct change *change, const struct tensor *magnitude,
                                 struct parallel *parallel)
{
	const uint64_t rows = merge->base.shape[0];
	struct measuring m = { merge, floats(rows) };
	float *wanted = whole(magnitude);
	if (m.lengths && wanted)
		parallel_for(parallel, (rows + MERGE_ROWS - 1) / MERGE_ROWS, measure_rows, &m);
	for (uint64_t i = 0; m.lengths && wanted && i < rows; i++)
		m.lengths[i] = merge->unit * wanted[i] / m.lengths[i];
	free(wanted);
	if (!wanted || !m.lengths) {
		free(m.lengths);
		return no_memory(merge);
	}
	change->lengths = m.lengths;
	return RWKVK_OK;
}

rwkvk_status merge_low_rank(struct merge *merge, struct merge_factor a, struct merge_factor b, uint32_t rank, float scale,
                            const struct tensor *magnitude, struct parallel *parallel)
{
	const uint64_t rows = merge->base.shape[0], columns = merge->base.shape[1];
	struct change *change = add_change(merge);
	float *stored = whole(a.tensor);
	if (change) {
		*change = (struct change){ .kind = LOW_RANK, .rank = rank, .scale = scale * merge->unit, .b = *b.tensor };
		change->numbers = floats((columns + PANEL - 1) / PANEL * PANEL * rank);
		if (b.turned)
			change->b_numbers = whole_turned(b.tensor, rows, rank);
		else if (rank > STAGED_RANK)
			change->b_numbers = whole(b.tensor);
	}
	if (stored && change && change->numbers)
		make_panels(stored, a.turned, rank, columns, change->numbers);
	bool made = stored && change && change->numbers && (change->b_numbers || (!b.turned && rank <= STAGED_RANK));
	free(stored);
	if (!made)
		return no_memory(merge);
	return magnitude ? give_lengths(merge, change, magnitude, parallel) : RWKVK_OK;
}

rwkvk_status merge_by_rows(struct merge *merge, const struct tensor *d, uint32_t block)
{
	struct change *change = add_change(merge);
	if (!change)
		return no_memory(merge);
	*change = (struct change){ .kind = BY_ROWS, .rank = block, .scale = merge->unit };
	change->numbers = whole_turned(d, merge->base.shape[0], block);
	return change->numbers ? RWKVK_OK : no_memory(merge);
}

rwkvk_status merge_by_blocks(struct merge *merge, const struct tensor *d, uint32_t block, bool below)
{
	struct change *change = add_change(merge);
	if (!change)
		return no_memory(merge);
	*change = (struct change){ .kind = BY_BLOCKS, .rank = block, .scale = merge->unit, .below = below };
	change->numbers = whole(d);
	return change->numbers ? RWKVK_OK : no_memory(merge);
}

void merge_destroy(struct merge *merge)
{
	for (size_t i = 0; merge && i < merge->count; i++) {
		free(merge->changes[i].numbers);
		free(merge->changes[i].b_numbers);
		free(merge->changes[i].lengths);
	}
	if (merge)
		free(merge->changes);
	free(merge);
}

uint32_t merge_effort(const struct merge *merge)
{
	uint32_t sum = 0;
	for (size_t i = 0; merge && i < merge->count; i++)
		sum += merge->changes[i].kind == BY_ROWS ? 1 : merge->changes[i].rank;
	return sum;
}
