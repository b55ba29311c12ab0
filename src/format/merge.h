/* Adapters in a matrix: what W becomes with them is computed a few rows at a time, when the matrix is packed, written or
 * compared.  The merged matrix as a whole is never in memory.
 *
 *     low rank    W + scale B A, with B [out,rank] and A [rank,in]; DoRA: each row then gets its length in m [out]
 *     rows        W[i,j] + D[j mod r, i], with D [r,out]: bone, disha and miss
 *     blocks      V + V D_k + D_k for each block V of r by r weights, k its number from top to bottom or left to right: bat
 *
 * Everything is F32 and added in a fixed order, with no fused multiply-adds: sums over a rank go from its first to its last, so
 * the result depends neither on the processor nor on how many rows are asked for at once. */
#ifndef RWKVK_FORMAT_MERGE_H
#define RWKVK_FORMAT_MERGE_H

#include "base/parallel.h"
#include "format/weights.h"

enum { MERGE_ROWS = 8, MERGE_MOST_RANK = 1 << 14 };

/* The merge of a matrix [out,in].  `weights` owns it; it is created if there is none.  unit: the power of two that the file has
 * multiplied the whole matrix by; additions are multiplied by it too. */
rwkvk_status merge_of(struct weights *weights, struct tensor *tensor, float unit, struct merge **out);

/* A factor of a product: [rows,columns], or transposed if `turned`. */
struct merge_factor {
	const struct tensor *tensor;
	bool turned;
};

/* Each adds one step to the merge.  Shapes are checked, numbers are not; tensors must outlive the merge.  magnitude: NULL for
 * none; `parallel` measures its rows. */
rwkvk_status merge_low_rank(struct merge *merge, struct merge_factor a, struct merge_factor b, uint32_t rank, float scale,
                            const struct tensor *magnitude, struct parallel *parallel);
rwkvk_status merge_by_rows(struct merge *merge, const struct tensor *d, uint32_t block);
/* D: [n,block,block]; `below`: block k is for rows [k block, (k + 1) block), otherwise for such columns.  block: a power of
 * two, 256 at most, that divides both sides of W. */
rwkvk_status merge_by_blocks(struct merge *merge, const struct tensor *d, uint32_t block, bool below);

void merge_destroy(struct merge *merge); /* NULL is allowed */

/* Multiply-adds for each weight. */
uint32_t merge_effort(const struct merge *merge);

/* Elements [first, first + count) of rows [row, row + rows), at most MERGE_ROWS, with all changes applied; row i at out + i
 * stride.  `first` is a multiple of what dtype_to_float() requires, and of 256 or of every block's size.  From any thread. */
void merge_rows(const struct tensor *tensor, uint64_t row, uint32_t rows, uint64_t first, uint64_t count, float *out,
                uint64_t stride);

/* dtype_to_float() of a tensor's data, with its adapters if it has any. */
void tensor_to_float(const struct tensor *tensor, uint64_t first, uint64_t count, float *out);

#endif
