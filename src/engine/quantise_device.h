/* Rows of floats go to the device as they are in the file, and there they become blocks in its layout: the same bytes that
 * pack_tiles() and pack_value_blocks() make (shaders/common/exact.glsl). */
#ifndef RWKVK_ENGINE_QUANTISE_DEVICE_H
#define RWKVK_ENGINE_QUANTISE_DEVICE_H

#include "engine/plan.h"

struct quantiser;
/* Whether devices of this kind quantise: not CPU devices, which share the processors with the host's threads. */
bool device_quantises(const struct gpu_caps *caps);
/* Pieces have QUANTISE_PIECE bytes at most, and QUANTISE_PIECES of them are in flight, in memory of the device.  They should
 * fit into the host's caches: then it writes 1.5 times as fast (docs/speed.md). */
enum { QUANTISE_PIECE = 4 << 20, QUANTISE_PIECES = 3 };
rwkvk_status quantiser_create(struct gpu *gpu, struct parallel *parallel, uint64_t piece_bytes, struct quantiser **out);
void quantiser_destroy(struct quantiser *quantiser); /* waits; NULL is allowed */
/* The pipeline that turns such floats into blocks of a type; for inspecting compiled code. */
rwkvk_status quantiser_pipeline(struct gpu *gpu, uint32_t floats, uint32_t type, struct gpu_pipeline **out);
/* Whether it can make this matrix: Q8, Q6K, Q5K or Q4K from floats, in columns of 32. */
bool quantiser_takes(const struct quantiser *quantiser, const struct matrix *matrix);
/* Rows of a part for a slice; `first` is a multiple of 8. */
struct quantise_rows {
	const struct matrix_part *part;
	uint32_t columns;
	bool by_input;
	uint64_t first, rows;
	struct device_slice *slice; /* lives as long as the quantiser does */
	uint64_t to, step; /* tiles: the first one's place, and from one to the next; by input: the first block of 32 outputs */
};
/* Starts a piece and removes its rows from those to do; the last piece of a matrix by input fills up its block. */
rwkvk_status quantise_piece(struct quantiser *quantiser, struct quantise_rows *rows);
/* Waits until the device has done all of it. */
rwkvk_status quantiser_finish(struct quantiser *quantiser);

#endif
