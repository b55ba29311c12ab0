/* Number formats of tensors: plain ones, and blocks of small integers that share a scale (docs/formats.md, "Number formats").
 * Two functions define a block type: from its bytes to integers and scales and, for most, back from floats.  Everything else
 * follows from those. */
#ifndef RWKVK_FORMAT_DTYPE_H
#define RWKVK_FORMAT_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

enum dtype {
	DTYPE_F32,
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_Q8_0,
	DTYPE_Q4_0,
	DTYPE_Q4_1,
	DTYPE_Q5_0,
	DTYPE_Q5_1,
	DTYPE_Q2_K,
	DTYPE_Q3_K,
	DTYPE_Q4_K,
	DTYPE_Q5_K,
	DTYPE_Q6_K,
	DTYPE_IQ4_NL,
	DTYPE_COUNT,
	/* Of a tensor that cannot be part of a model: its type is known by name alone, a name that dtype_info does not have. */
	DTYPE_FOREIGN = DTYPE_COUNT
};

enum { DTYPE_LARGEST_BLOCK = 256, DTYPE_SMALLEST_GROUP = 16 };

/* Elements and bytes of one block along the last dimension; of a block type also the bits of its integers, how many of
 * them share a scale, and whether they have a minimum. */
struct dtype_info {
	const char *name;
	uint32_t block, bytes;
	uint32_t bits, group;
	bool minimum;
};
extern const struct dtype_info dtype_info[DTYPE_COUNT];

enum { DTYPE_MOST_GROUPS = DTYPE_LARGEST_BLOCK / DTYPE_SMALLEST_GROUP };

/* A block as integers: element i is scale[g] * q[i] - min[g] with g = i / group.  The product is exact in float for every
 * type and the difference rounds once, so a fused multiply-add gives the same bits.  min is 0 for types without minimum.
 * Where they come from: d and dmin are f16s, in blocks of 256 times the codes of the group. */
struct dtype_parts {
	int8_t q[DTYPE_LARGEST_BLOCK];
	uint16_t d, dmin;
	int8_t scale_code[DTYPE_MOST_GROUPS], min_code[DTYPE_MOST_GROUPS]; /* 0 in blocks of 32 */
	float scale[DTYPE_MOST_GROUPS], min[DTYPE_MOST_GROUPS];
};

bool dtype_is_block(enum dtype type);
bool dtype_is_encodable(enum dtype type); /* dtype_from_float() knows it; all can be decoded */

/* Bytes that `shape` takes as `type`; false on overflow or when rows are not whole blocks. */
bool dtype_bytes(enum dtype type, uint32_t rank, const uint64_t *shape, uint64_t *bytes);

/* One block of a block type.  Only its group's first block / group scales are set. */
void dtype_split(enum dtype type, const void *block, struct dtype_parts *out);

/* `count` elements starting at element `first` of consecutive stored data; both multiples of the type's block.  Any bytes
 * decode to something; a scale that is NaN gives NaNs. */
void dtype_to_float(enum dtype type, const void *data, uint64_t first, uint64_t count, float *out);

/* Whether `count` elements of consecutive stored data, whole blocks, are finite and less than `limit` in magnitude; of a block
 * type, whether its scales are finite. */
bool dtype_fits(enum dtype type, const void *data, uint64_t count, float limit);

/* `type` is encodable; count: whole blocks.  Plain types round to nearest.  Blocks: scales as quantise.c says, then the
 * nearest integers.  A block with a value that is not finite, or a scale beyond f16, comes back as NaN, never as a wrong
 * number. */
void dtype_from_float(enum dtype type, const float *in, uint64_t count, void *out);

#endif
