/* The layout of matrices on the device, and of ffn.value, which is transposed. */
#ifndef RWKVK_NETWORK_PACK_H
#define RWKVK_NETWORK_PACK_H

#include "base/parallel.h"
#include "network/network.h"

/* TYPE_* of layout.h that holds a file's type without loss, and its name. */
uint32_t type_of_dtype(enum dtype type);
/* The file's type that equals the device's, and the type to which floats are converted on the way. */
enum dtype dtype_of_type(uint32_t type);
const char *type_name(uint32_t type);

/* One row of a k-block is 128 bytes: 32 F32, 64 F16 or BF16, 128 Q8, otherwise 4 bits each of 256 weights. */
uint32_t type_block(uint32_t type);

/* Bytes of `rows` rows of `columns` weights: the plane of weights, and the plane of the data beside them: scales and further
 * bits (0 for plain types). */
uint64_t packed_bytes(uint32_t type, uint64_t rows, uint64_t columns);
uint64_t packed_side_bytes(uint32_t type, uint64_t rows, uint64_t columns);

/* Where packing reads: a matrix in a tensor of the file, or part of one.  Element [row,column] is element
 * start + row stride + column of the tensor, or, transposed, start + column stride + row. */
struct matrix_source {
	const struct tensor *tensor;
	uint64_t start, stride;
	bool transposed;
	uint32_t type; /* the type to store: type_of_dtype() of the tensor's, F32, or the type to which floats are quantised */
};

/* A tensor that is a matrix of `columns` columns, stored as `type`. */
struct matrix_source matrix_source(const struct tensor *tensor, uint64_t columns, uint32_t type);
/* Part `part` of `parts` of a tensor that holds LoRA factors [rows,columns] each, or their transposes: detected by its shape,
 * or by `swapped` where rows = columns.  first: an inner factor ([C,D] in official files) rather than an outer one ([D,C]). */
struct matrix_source lora_source(const struct tensor *tensor, uint32_t part, uint32_t parts, uint32_t rows, uint32_t columns,
                                 bool inner);

/* One row as floats, rounded as the device will have it. */
void source_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *out);

/* Elements [first, first + count) of up to eight rows, first a multiple of 256, as bytes of a file's type: the file's own, or
 * made in `scratch` (8 row_scratch_floats(count)); *type says which.  Adapters are merged here.  *fits becomes false if the
 * new bytes, or scales of the file, are not finite: see check_weights().  Plain types are not checked: copying them costs less
 * than checking. */
uint64_t row_scratch_floats(uint64_t count);
void typed_rows(const struct matrix_source *source, uint64_t row, uint32_t rows, uint64_t first, uint64_t count, float *scratch,
                const uint8_t *out[8], enum dtype *type, bool *fits);
/* 32 integers of Q4 to Q2K become 16-byte word u of 128 bytes, and their bits beyond 4 go to the words `further`. */
void place_integers(uint32_t type, const int8_t *q, uint32_t u, uint8_t *plane, uint32_t *further);

/* Rows of a matrix that come from one source. */
struct matrix_part {
	struct matrix_source source;
	uint32_t rows;
};

/* Packing runs on all workers, and the bytes do not depend on their number.  false: typed_rows() has found numbers that are
 * not finite. scratch: [parallel_workers()][pack_scratch_floats(columns)]. */
uint64_t pack_scratch_floats(uint64_t columns);
/* Tiles [first, first + tiles) of 8 rows each.  With several parts, all of one type, tile t is tile t / count of part t %
 * count. `to` has packed_bytes(type, 8 tiles, columns), `side` (NULL for plain types) likewise; rows past a part's last
 * become zeros, columns past the end what a row filled up with zeros gives. */
bool pack_tiles(struct parallel *parallel, const struct matrix_part *parts, uint32_t count, uint32_t columns, uint64_t first,
                uint64_t tiles, void *to, void *side, float *scratch);
/* pack_value.c: ffn.value transposed (layout.h, VALUE_*): blocks [first, first + blocks) of VALUE_BLOCK outputs each; outputs
 * past the last become zeros.  Bytes of one block, and of the data beside it. */
uint64_t value_block_bytes(uint32_t type, uint64_t inputs);
uint64_t value_side_bytes(uint32_t type, uint64_t inputs);
bool pack_value_blocks(struct parallel *parallel, const struct matrix_part *part, uint32_t inputs, uint64_t first,
                       uint64_t blocks, void *to, void *side, float *scratch);
uint64_t value_scratch_floats(void);

#endif
