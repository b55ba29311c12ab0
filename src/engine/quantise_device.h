/* Rows of floats go to the device as they are in the file, and there they become blocks in its layout: the same bytes that
 * pack_tiles() and pack_value_blocks() make (shaders/common/exact.glsl). */
#ifndef RWKVK_ENGINE_QUANTISE_DEVICE_H
#define RWKVK_ENGINE_QUANTISE_DEVICE_H

#include "engine/plan.h"

struct quantiser;
/* Whether devices of the kind do that: not where they are the same processors as the host's threads. */
bool device_quantises(const struct gpu_caps *caps);
/* Pieces have QUANTISE_PIECE bytes at most, and QUANTISE_PIECES of them are on their way at once, in memory of the device.  The
 * host's caches should hold them: then it writes half as fast again (docs/speed.md). */
enum { QUANTISE_PIECE = 4 << 20, QUANTISE_PIECES = 3 };
rwkvk_status quantiser_create(struct gpu *gpu, struct parallel *parallel, uint64_t piece_bytes, struct quantiser **out);
void quantiser_destroy(struct quantiser *quantiser); /* waits; NULL is allowed */
/* What makes blocks of a type of such floats; for those who look at what compilers make of it. */
rwkvk_status quantiser_pipeline(struct gpu *gpu, uint32_t floats, uint32_t type, struct gpu_pipeline **out);
/* Whether it makes this matrix: Q8, Q6K, Q5K or Q4K of floats, in columns of 32. */
bool quantiser_takes(const struct quantiser *quantiser, const struct matrix *matrix);
/* Rows of a part that a slice gets, `first` a multiple of 8. */
struct quantise_rows {
	const struct matrix_part *part;
	uint32_t columns;
	bool by_input;
	uint64_t first, rows;
	struct device_slice *slice; /* lives as long as the quantiser does */
	uint64_t to, step; /* tiles: the first one's place, and from one to the next; by input: the first block of 32 outputs */
};
/* Starts on as many of the rows as a piece has, and takes them away; the last piece of a matrix by input fills its block up. */
rwkvk_status quantise_piece(struct quantiser *quantiser, struct quantise_rows *rows);
/* Waits until the device has done all of it. */
rwkvk_status quantiser_finish(struct quantiser *quantiser);

#endif
