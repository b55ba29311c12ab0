// Channel-mix, second half, of a chunk: x = x + ffn.value f, up to RWKV-6 times sigmoid of the receptance.  [D,F]
//
// ffn.value lies by input (layout.h, VALUE_*): a line is the weights that one input has for a block of outputs.  For one token
// the lines of inputs that are zero are not read; among the rows of a chunk there is always one that is not.  x counts tiles of
// rows, y those of outputs.  Reads ROW_F, ROW_FR; updates ROW_X, and moves LN2 of a run's last row from ROW_N2 into the shift state.
// Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/tile.glsl"

#include "common/first.glsl"
#include "common/values.glsl"
#include "common/value_scales.glsl"

const uint BLOCK = VALUE_BLOCK(TYPE), GROUP = TYPE < TYPE_Q8 ? 32 : VALUE_GROUP(TYPE), INPUTS = VALUE_INPUTS(F);
const uint GROUPS = INPUTS / VALUE_GROUP(TYPE);
const uint SCALES_AT = INPUTS * VALUE_HIGH_WORDS(TYPE), TOPS_AT = SCALES_AT + GROUPS * VALUE_SCALE_WORDS(TYPE);
const uint SHARE = TYPE == TYPE_F32 ? 4 : 8; // outputs that are unpacked together

void emit(uint row, uint channel, float value)
{
	if (row >= row_count() || channel >= min(row_end, D))
		return;
	uint at = row_at(row);
	if (flag(FLAG_RECEPTANCE))
		value *= sigmoid(READ_ACT(at + ROW_FR(D) + channel));
	float x = result[at + ROW_X + channel] + residual(value);
	result[at + ROW_X + channel] = flag(FLAG_HALVE) ? 0.5 * x : x;
	if (!row_is_last(row))
		return;
	if (flag(FLAG_PRE))
		state[row_state(row) + STATE_ATT_X + channel] = READ_ACT(at + ROW_N1(D) + channel);
	else
		state[row_state(row) + STATE_FFN_X(D) + channel] = READ_ACT(at + ROW_N2(D) + channel);
}

// Integers, or weights, that input i has for SHARE outputs from `output_row` of the slice on.
void line_values(uint output_row, uint i, out float f[8])
{
	uint block = output_row / BLOCK, o = output_row % BLOCK, word = o / (BLOCK / 8);
	uint p = (block * INPUTS + i) * 8 + word, further = block * VALUE_SIDE_WORDS(TYPE, F) + i * VALUE_HIGH_WORDS(TYPE);
	uvec4 high = uvec4(0);
	if (TYPE > TYPE_Q8 && VALUE_HIGH_WORDS(TYPE) > 0)
		high = uvec4(first_high_bits(further - SCALE_WORDS(TYPE), word), 0, 0);
	first_values(WEIGHTS(p), high, vec4(1, 0, 1, 0), o % (BLOCK / 8) / 8, f);
}

// Their scales and minima for the inputs of group g.
void line_scales(uint output_row, uint g, out vec4 scale[2], out vec4 low[2])
{
	uint block = output_row / BLOCK, o = output_row % BLOCK, beside = block * VALUE_SIDE_WORDS(TYPE, F);
	uint scales_word = beside + SCALES_AT + g * VALUE_SCALE_WORDS(TYPE) + o * VALUE_SCALE_WORDS(TYPE) / BLOCK;
	uint tops_word = beside + TOPS_AT + g * VALUE_GROUP(TYPE) / 256 * VALUE_TOP_WORDS(TYPE) + o * VALUE_TOP_WORDS(TYPE) / BLOCK;
	value_scales(scales_word, tops_word, 0, scale[0], low[0]);
	value_scales(scales_word, tops_word, 1, scale[1], low[1]);
}

#if TEXELS
// A lane has SHARE outputs.  Weights of four inputs at a time.
void main()
{
	if (gl_WorkGroupID.x * TILE_ROWS >= row_count())
		return;
	float sums[SHARE][THREAD_ROWS];
	uint from[HELD], first = (gl_WorkGroupID.y * SUBGROUP + lane) * SHARE, used = min(first, (row_end - row_begin - 1) / SHARE * SHARE);
	tile_inputs(ROW_F(D), from);
	[[unroll]] for (uint r = 0; r < SHARE; r++)
		[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
			sums[r][n] = 0;
	for (uint g = 0; g < (F + GROUP - 1) / GROUP; g++) {
		vec4 scale[2], low[2];
		if (TYPE >= TYPE_Q8)
			line_scales(used, g, scale, low);
		for (uint i = g * GROUP; i < (g + 1) * GROUP; i += 4) {
			float f[4][8];
			vec4 x[HELD];
			[[unroll]] for (uint k = 0; k < 4; k++) {
				line_values(used, i + k, f[k]);
				if (TYPE >= TYPE_Q8)
					[[unroll]] for (uint r = 0; r < SHARE; r++)
						f[k][r] = f[k][r] * scale[r / 4][r % 4] - low[r / 4][r % 4];
			}
			[[unroll]] for (uint b = 0; b < HELD; b++)
				x[b] = READ_ACT4(from[b] + i / 4);
			[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++) {
				float x4[4];
				[[unroll]] for (uint k = 0; k < 4; k++)
					x4[k] = TILE_INPUT(x, n, k);
				[[unroll]] for (uint r = 0; r < SHARE; r++)
					[[unroll]] for (uint k = 0; k < 4; k++)
						sums[r][n] += f[k][r] * x4[k];
			}
		}
	}
	[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
		[[unroll]] for (uint r = 0; r < SHARE; r++)
			emit(gl_WorkGroupID.x * TILE_ROWS + n, row_begin + first + r, sums[r][n]);
}
#else
// A thread unpacks SHARE outputs of four inputs, so that scales are read for four and shared memory is written by vec4s.
void load_weights(uint first, uint k)
{
	const uint QUADS = TILE_DEPTH / 4;
	for (uint i = thread; i < TILE_OUTPUTS / SHARE * QUADS; i += WORKGROUP) {
		uint output_row = i / QUADS * SHARE, input_row = k + i % QUADS * 4;
		uint from = min(first + output_row, (row_end - row_begin - 1) / SHARE * SHARE);
		vec4 w[8], scale[2], low[2];
		[[unroll]] for (uint j = 0; j < 4; j++) {
			float f[8];
			line_values(from, input_row + j, f);
			[[unroll]] for (uint r = 0; r < SHARE; r++)
				w[r][j] = f[r];
		}
		if (TYPE >= TYPE_Q8) {
			line_scales(from, input_row / GROUP, scale, low);
			[[unroll]] for (uint r = 0; r < SHARE; r++)
				w[r] = w[r] * scale[r / 4][r % 4] - low[r / 4][r % 4];
		}
		[[unroll]] for (uint r = 0; r < SHARE; r++)
			s_weights[(output_row + r) * STRIDE + i % QUADS] = w[r];
	}
}

void main()
{
	if (gl_WorkGroupID.x * TILE_ROWS >= row_count())
		return;
	uint first = gl_WorkGroupID.y * TILE_OUTPUTS;
	tile_clear();
	for (uint k = 0; k < F; k += TILE_DEPTH) {
		barrier();
		tile_load_inputs(ROW_F(D), k);
		load_weights(first, k);
		barrier();
		tile_multiply();
	}
	tile_emit(row_begin + first);
}
#endif
