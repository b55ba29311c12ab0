// Rows of a matrix times a vector.  The matrix lies in tiles of 8 rows (docs/formats.md, "Weights on the device"): a
// k-block is 8 uvec4s, 128 bytes, of one row; a tile holds k-block 0 of its 8 rows, then k-block 1, ...
//
// LANES threads share a row, each thread works on ROWS rows, so a pass of the workgroup covers PASS_ROWS rows.  The includer
// defines INPUT(u, J, j): vec4 j of the J that belong to uvec4 u of a row; and emit(row, value), which uses a row's sum and is
// called by exactly one thread.
#include "packed.glsl"

const uint PASS_ROWS = WORKGROUP / LANES * ROWS;
uint lane = thread % LANES;
uint first_row = thread / LANES * ROWS; // within the pass

float row_sum[ROWS];
#if !SUBGROUPS
shared float s_part[WORKGROUP * ROWS];
#endif

void emit(uint row, float value);

#include "first.glsl"
#include "dot.glsl"
#ifdef WITH_SECOND
#include "second.glsl"
#include "dot.glsl"
#endif

// Workgroups for `rows` rows.
uint groups_for(uint rows)
{
	return (rows + PASS_ROWS * PASSES - 1) / (PASS_ROWS * PASSES);
}

void clear_sums()
{
	[[unroll]] for (uint r = 0; r < ROWS; r++)
		row_sum[r] = 0;
}

// Adds up the lanes' parts and hands each row's sum to emit().  In uniform control flow.
void emit_sums(uint pass_row)
{
#if TEXELS // fewer shuffles, and all lanes store at once
	// Two lanes split the rows that both have parts of: half of the rows, and half of the lanes, are left to do; when only one
	// row is left, they add it up.
	uint kept = 0; // the first of this lane's rows
	[[unroll]] for (uint step = 0; step < 5; step++) {
		const uint halves = 1u << step; // no loop over these: compilers unroll what they can count
		if (halves < LANES) {
			const uint distance = LANES / 2 / halves, rows = ROWS / 2 / halves; // left after this step
			bool upper = (lane & distance) != 0;
			if (rows == 0)
				row_sum[0] += subgroupShuffleXor(row_sum[0], distance);
			[[unroll]] for (uint r = 0; r < rows; r++) {
				float given = upper ? row_sum[r] : row_sum[r + rows];
				row_sum[r] = (upper ? row_sum[r + rows] : row_sum[r]) + subgroupShuffleXor(given, distance);
			}
			kept += upper ? rows : 0;
		}
	}
	const uint spare = LANES > ROWS ? LANES / ROWS : 1; // lanes with the same row
	[[unroll]] for (uint r = 0; r < (ROWS > LANES ? ROWS / LANES : 1); r++)
		if (lane % spare == 0)
			emit(pass_row + first_row + kept + r, row_sum[r]);
#elif SUBGROUPS
	[[unroll]] for (uint r = 0; r < ROWS; r++) {
		float sum = row_sum[r];
		[[unroll]] for (uint step = 0; step < 5; step++)
			if ((1u << step) < LANES)
				sum += subgroupShuffleXor(sum, 1u << step);
		if (r % LANES == lane)
			emit(pass_row + first_row + r, sum);
	}
#else
	[[unroll]] for (uint r = 0; r < ROWS; r++)
		s_part[r * WORKGROUP + thread] = row_sum[r];
	barrier();
	for (uint i = thread; i < PASS_ROWS; i += WORKGROUP) {
		float sum = 0;
		for (uint l = 0; l < LANES; l++)
			sum += s_part[i % ROWS * WORKGROUP + i / ROWS * LANES + l];
		emit(pass_row + i, sum);
	}
	barrier();
#endif
}
