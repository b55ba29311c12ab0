// A matrix times few rows (tile.glsl): included by tile_matrix.glsl for each matrix.
#if !TEXELS
#ifndef LANES_EMIT
#define LANES_EMIT
#if !SUBGROUPS
shared float s_lanes[FEW ? WORKGROUP * THREAD_OUTPUTS * THREAD_ROWS : 1];
#endif

// Adds up the lanes' sums and hands them to emit().
void lanes_emit(uint first)
{
	const uint SUMS = THREAD_OUTPUTS * THREAD_ROWS;
	uint row = gl_WorkGroupID.x * TILE_ROWS;
#if SUBGROUPS
	// Two lanes split the sums that both have parts of, as in matvec.glsl: half of the sums, and half of the lanes, are left to do;
	// when only one sum is left, they add it up.  The order is that of the lanes, whatever SUMS is.
	uint lane = thread % LANES, kept = 0; // the first of this lane's sums
	[[unroll]] for (uint step = 0; step < 5; step++) {
		const uint halves = 1u << step;
		if (halves < LANES) {
			const uint distance = LANES / 2 / halves, left = SUMS / 2 / halves;
			bool upper = (lane & distance) != 0;
			if (left == 0)
				tile_sum[0] += subgroupShuffleXor(tile_sum[0], distance);
			[[unroll]] for (uint i = 0; i < left; i++) {
				float given = upper ? tile_sum[i] : tile_sum[i + left];
				tile_sum[i] = (upper ? tile_sum[i + left] : tile_sum[i]) + subgroupShuffleXor(given, distance);
			}
			kept += upper ? left : 0;
		}
	}
	const uint spare = LANES > SUMS ? LANES / SUMS : 1; // lanes with the same sum
	[[unroll]] for (uint i = 0; i < (SUMS > LANES ? SUMS / LANES : 1); i++)
		if (lane % spare == 0)
			emit(row + (kept + i) % THREAD_ROWS, first + thread / LANES * THREAD_OUTPUTS + (kept + i) / THREAD_ROWS, tile_sum[i]);
#else
	[[unroll]] for (uint i = 0; i < SUMS; i++)
		s_lanes[i * WORKGROUP + thread] = tile_sum[i];
	barrier();
	for (uint i = thread; i < TILE_OUTPUTS * THREAD_ROWS; i += WORKGROUP) {
		uint output_row = i / THREAD_ROWS, part = output_row % THREAD_OUTPUTS * THREAD_ROWS + i % THREAD_ROWS;
		float sum = 0;
		for (uint l = 0; l < LANES; l++)
			sum += s_lanes[part * WORKGROUP + output_row / THREAD_OUTPUTS * LANES + l];
		emit(row + i % THREAD_ROWS, first + output_row, sum);
	}
#endif
}
#endif

// Outputs [first, first + TILE_OUTPUTS), as tile_matrix.glsl.  TILE_DEPTH is a multiple of the lanes' reads per turn.  Inputs
// lie in shared memory so that neighbouring lanes read neighbouring vec4s: vec4 j of all words, then vec4 j + 1.
void NAME(few)(uint first, uint end, uint columns, uint at)
{
	const uint VECS = PER_WORD / 4, TURN = TILE_DEPTH / PER_WORD;
	uint words = row_words(TYPE, columns), used = (columns + PER_WORD - 1) / PER_WORD, lane = thread % LANES;
	uint base[THREAD_OUTPUTS];
	[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++) {
		uint row = slice_row(min(first + thread / LANES * THREAD_OUTPUTS + r, end - 1));
		base[r] = row / 8 * 8 * words + row % 8 * 8;
	}
	tile_clear();
	for (uint begin = 0; begin < used; begin += TURN) {
		barrier();
		for (uint i = thread; i < THREAD_ROWS * TURN * VECS; i += WORKGROUP) {
			uint n = i / (TURN * VECS), word = i / VECS % TURN, vec = i % VECS;
			uint from = (row_at(min(gl_WorkGroupID.x * TILE_ROWS + n, row_count() - 1)) + at) / 4;
			if (begin + word < used)
				s_inputs[n * STRIDE + vec * TURN + word] = READ_ACT4(from + (begin + word) * VECS + vec);
		}
		barrier();
		[[dont_unroll]] for (uint word = lane; word < TURN && begin + word < used; word += LANES) {
			uint u = (begin + word) * WORDS;
			uvec4 w[THREAD_OUTPUTS], further[THREAD_OUTPUTS];
			vec4 scales[THREAD_OUTPUTS];
			[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++) {
				uint p = base[r] + u / 8 * 64 + u % 8, beside = p / 8 * SIDE_WORDS(TYPE);
				w[r] = WEIGHTS(p);
				further[r] = NAME(further)(p, beside, u % 8);
				scales[r] = NAME(scales)(beside, u % 8);
			}
			[[unroll]] for (uint part = 0; part < PER_WORD / 8; part++) {
				float f[THREAD_OUTPUTS][8];
				[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++)
					NAME(values)(w[r], further[r], scales[r], part, f[r]);
				[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
					[[unroll]] for (uint k = 0; k < 8; k += 4) {
						vec4 x = s_inputs[n * STRIDE + (2 * part + k / 4) * TURN + word];
						[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++)
							[[unroll]] for (uint j = 0; j < 4; j++)
								tile_sum[r * THREAD_ROWS + n] = tile_add(tile_sum[r * THREAD_ROWS + n], f[r][k + j], x[j]);
					}
			}
		}
	}
	lanes_emit(first);
}
#endif
