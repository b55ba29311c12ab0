// The tile of a matrix in tiles of 8 rows (docs/formats.md, "Weights on the device").  With what unpack.glsl asks for.
#include "values.glsl"
#include "few.glsl"

// Outputs [first, first + TILE_OUTPUTS) times inputs that begin at float `at` of each record; there are none from `end` on.
void NAME(tile)(uint first, uint end, uint columns, uint at)
{
	uint words = row_words(TYPE, columns);
#if TEXELS
	float sums[THREAD_OUTPUTS][THREAD_ROWS];
	uint base[THREAD_OUTPUTS], from[HELD];
	tile_inputs(at, from);
	[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++) {
		uint row = slice_row(min(first + r * SUBGROUP + lane, end - 1));
		base[r] = row / 8 * 8 * words + row % 8 * 8;
		[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
			sums[r][n] = 0;
	}
	uint used = (columns + PER_WORD - 1) / PER_WORD * WORDS; // the rest of the last k-block is zeros
	for (uint u = 0; u < used; u += WORDS) {
		uvec4 w[THREAD_OUTPUTS], further[THREAD_OUTPUTS];
		vec4 scales[THREAD_OUTPUTS];
		[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++) {
			uint p = base[r] + u / 8 * 64 + u % 8, beside = p / 8 * SIDE_WORDS(TYPE);
			w[r] = WEIGHTS(p);
			further[r] = NAME(further)(p, beside, u % 8);
			scales[r] = NAME(scales)(beside, u % 8);
		}
		[[unroll]] for (uint part = 0; part < PER_WORD / 8; part++) {
			vec4 x0[HELD], x1[HELD];
			[[unroll]] for (uint b = 0; b < HELD; b++) {
				x0[b] = READ_ACT4(from[b] + u / WORDS * (PER_WORD / 4) + 2 * part);
				x1[b] = READ_ACT4(from[b] + u / WORDS * (PER_WORD / 4) + 2 * part + 1);
			}
			float f[THREAD_OUTPUTS][8];
			[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++)
				NAME(values)(w[r], further[r], scales[r], part, f[r]);
			[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++) {
				float x[8];
				[[unroll]] for (uint k = 0; k < 4; k++) {
					x[k] = TILE_INPUT(x0, n, k);
					x[k + 4] = TILE_INPUT(x1, n, k);
				}
				[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++)
					[[unroll]] for (uint k = 0; k < 8; k++)
						sums[r][n] += f[r][k] * x[k];
			}
		}
	}
	[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
		[[unroll]] for (uint r = 0; r < THREAD_OUTPUTS; r++)
			emit(gl_WorkGroupID.x * TILE_ROWS + n, first + r * SUBGROUP + lane, sums[r][n]);
#else
	if (FEW) {
		NAME(few)(first, end, columns, at);
		return;
	}
	const uint EIGHTS = TILE_DEPTH / 8;
	tile_clear();
	for (uint k = 0; k < columns; k += TILE_DEPTH) {
		barrier();
		tile_load_inputs(at, k);
		for (uint i = thread; i < TILE_OUTPUTS * EIGHTS; i += WORKGROUP) {
			uint to = i / EIGHTS * STRIDE + i % EIGHTS * 2;
			float f[8];
			NAME(eight)(slice_row(min(first + i / EIGHTS, end - 1)), words, k / 8 + i % EIGHTS, f);
			s_weights[to] = vec4(f[0], f[1], f[2], f[3]);
			s_weights[to + 1] = vec4(f[4], f[5], f[6], f[7]);
		}
		barrier();
		tile_multiply();
	}
	tile_emit(first);
#endif
}
