// Channel-mix, second half, of a chunk: x = x + ffn.value f, up to RWKV-6 times sigmoid of the receptance.  [D,F]
//
// ffn.value is stored by input (layout.h, VALUE_*): a line holds the weights of one input for a block of outputs.  With at most
// three rows, lines of inputs that are zero in all of them are skipped; with more rows, some input is nearly always non-zero. x
// counts tiles of rows, y those of outputs, of few rows times SLICES.  Reads ROW_F, ROW_FR; updates ROW_X, and moves LN2 of a
// run's last row from ROW_N2 into the shift state.  Recorded by src/engine/chunk_plan.c.
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
layout(constant_id = SPEC_SUM_SLICES) const uint SLICES = 1; // parts of the inputs, each a workgroup's, for few rows

void emit(uint row, uint channel, float value)
{
	if (row >= row_count() || channel >= min(row_end, D))
		return;
	uint at = row_at(row);
	if (flag(FLAG_RECEPTANCE))
		value *= sigmoid(READ_ACT(at + ROW_FR(D) + channel));
	precise float x = result[at + ROW_X + channel] + residual(value);
	result[at + ROW_X + channel] = flag(FLAG_HALVE) ? 0.5 * x : x;
	if (!row_is_last(row))
		return;
	if (flag(FLAG_PRE))
		state[row_state(row) + STATE_ATT_X + channel] = READ_ACT(at + ROW_N1(D) + channel);
	else
		state[row_state(row) + STATE_FFN_X(D) + channel] = READ_ACT(at + ROW_N2(D) + channel);
}

// What input i has for SHARE outputs from `output_row` of the slice on: w, and bits beyond the fourth, moved to the front of both.
void load_line(uint output_row, uint i, out uvec4 w, out uvec2 high)
{
	uint block = output_row / BLOCK, o = output_row % BLOCK, word = o / (BLOCK / 8), part = o % (BLOCK / 8) / 8;
	uint p = (block * INPUTS + i) * 8 + word, further = block * VALUE_SIDE_WORDS(TYPE, F) + i * VALUE_HIGH_WORDS(TYPE);
	w = TYPE > TYPE_Q8 ? uvec4(WEIGHTS(p)[part], 0, 0, 0) : WEIGHTS(p);
	if (TYPE == TYPE_Q8 && part == 1)
		w.xy = w.zw;
	high = uvec2(0);
	if (TYPE > TYPE_Q8 && VALUE_HIGH_WORDS(TYPE) > 0)
		high = first_high_bits(further - SCALE_WORDS(TYPE), word);
	high.x = TYPE == TYPE_Q6K ? high[part / 2] >> 4 * (part % 2) : high.x >> 2 * part;
}

// Integers, or weights.
void line_values(uvec4 w, uvec2 high, out float f[8])
{
	first_values(w, uvec4(high, 0, 0), vec4(1, 0, 1, 0), 0, f);
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
// Which fours of group g's inputs are read, a bit each: with few enough rows, only those that are not zero in all rows.  A lane
// checks one four.
uint used_fours(uint from[HELD], uint g)
{
	if (THREAD_ROWS > 4 || row_count() > 3)
		return (1u << GROUP / 4) - 1;
	uint used = 0;
	[[unroll]] for (uint j = 0; j < GROUP / 4; j += SUBGROUP)
		[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
			if (any(notEqual(READ_ACT4(subgroupShuffle(from[n / SUBGROUP], n % SUBGROUP) + g * GROUP / 4 + j + lane), vec4(0))))
				used |= 1u << j + lane;
	[[unroll]] for (uint step = 0; step < 4; step++)
		if (1u << step < SUBGROUP)
			used |= subgroupShuffleXor(used, 1u << step);
	return used & (1u << GROUP / 4) - 1;
}

// A lane has SHARE outputs.  Weights of four inputs at a time.
void main()
{
	if (gl_WorkGroupID.x * TILE_ROWS >= row_count())
		return;
	float sums[SHARE][THREAD_ROWS];
	uint from[HELD], first = (gl_WorkGroupID.y * SUBGROUP + lane) * SHARE;
	uint in_slice = min(first, (row_end - row_begin - 1) / SHARE * SHARE);
	tile_inputs(ROW_F(D), from);
	[[unroll]] for (uint r = 0; r < SHARE; r++)
		[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
			sums[r][n] = 0;
	for (uint g = 0; g < (F + GROUP - 1) / GROUP; g++) {
		vec4 scale[2], low[2];
		if (TYPE >= TYPE_Q8)
			line_scales(in_slice, g, scale, low);
		for (uint used = used_fours(from, g); used != 0; used &= used - 1) {
			uint i = g * GROUP + 4 * findLSB(used);
			float f[4][8];
			vec4 x[HELD];
			[[unroll]] for (uint k = 0; k < 4; k++) {
				uvec4 w;
				uvec2 high;
				load_line(in_slice, i + k, w, high);
				line_values(w, high, f[k]);
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
			uvec4 line;
			uvec2 high;
			float f[8];
			load_line(from, input_row + j, line, high);
			line_values(line, high, f);
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

// Few rows.  As in ffn_out.comp, eight threads share a line, or a part of it, each such set of threads has every SETS-th group of
// inputs, and the sums of sets and of the workgroups that have other inputs are added in their order.
layout(set = 0, binding = 1) coherent buffer Sums1 { float sums[]; };
layout(set = 0, binding = 1) coherent buffer SumsU { uint sums_word[]; };

const uint FEW_OUTPUTS = 8 * SHARE, SETS = WORKGROUP / 8;
const uint AT_ONCE = THREAD_OUTPUTS; // lines that a thread waits for together; its outputs are SHARE
const uint SLICE_GROUPS = ((F + GROUP - 1) / GROUP + SLICES - 1) / SLICES;
shared float s_sets[FEW ? SETS * FEW_OUTPUTS : 1], s_rows[FEW ? TILE_ROWS * FEW_OUTPUTS : 1];
shared bool s_last;

uint few_at[THREAD_ROWS]; // where the rows' inputs begin
float few_sum[SHARE * THREAD_ROWS];

// The inputs of group g that are read, a bit each.
uint used_inputs(uint g)
{
	uint used = 0;
	if (THREAD_ROWS > 4 || row_count() > 3)
		return 0xffffffffu >> (32 - GROUP);
	[[dont_unroll]] for (uint j = 0; j < GROUP / 4; j++)
		[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++) {
			vec4 f = READ_ACT4((few_at[n] + g * GROUP) / 4 + j);
			used |= (uint(f.x != 0) | uint(f.y != 0) << 1 | uint(f.z != 0) << 2 | uint(f.w != 0) << 3) << 4 * j;
		}
	return used;
}

// Adds group g's inputs to the sums of SHARE outputs from `from` of the slice on.
void add_group(uint from, uint g)
{
	uint used = used_inputs(g);
	vec4 scale[2], low[2];
	if (TYPE >= TYPE_Q8 && used != 0)
		line_scales(from, g, scale, low);
	for (uint i = 0; used != 0;) {
		uvec4 w[AT_ONCE];
		uvec2 high[AT_ONCE];
		float x[AT_ONCE][THREAD_ROWS];
		[[unroll]] for (uint k = 0; k < AT_ONCE; k++) { // if no input is left: the last line again, times zero
			bool left = used != 0;
			i = left ? g * GROUP + findLSB(used) : i;
			used &= used - 1;
			[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
				x[k][n] = left ? READ_ACT(few_at[n] + i) : 0;
			load_line(from, i, w[k], high[k]);
		}
		[[unroll]] for (uint k = 0; k < AT_ONCE; k++) {
			float f[8];
			line_values(w[k], high[k], f);
			[[unroll]] for (uint r = 0; r < SHARE; r++) {
				float weight = TYPE >= TYPE_Q8 ? tile_add(-low[r / 4][r % 4], f[r], scale[r / 4][r % 4]) : f[r];
				[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
					few_sum[r * THREAD_ROWS + n] = tile_add(few_sum[r * THREAD_ROWS + n], weight, x[k][n]);
			}
		}
	}
}

// Adds up the sets' sums, to s_rows.  A sum of zeros has no sign, so skipped lines cannot have made a difference.
void add_sets()
{
	[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++) {
		barrier();
		[[unroll]] for (uint r = 0; r < SHARE; r++)
			s_sets[thread * SHARE + r] = few_sum[r * THREAD_ROWS + n];
		barrier();
		for (uint i = thread; i < FEW_OUTPUTS; i += WORKGROUP) {
			precise float sum = 0;
			for (uint set = 0; set < SETS; set++)
				sum += s_sets[set * FEW_OUTPUTS + i];
			s_rows[n * FEW_OUTPUTS + i] = sum;
		}
	}
	barrier();
}

// Where a slice's sums of a row are: in the place of token shift's results.
uint sums_at(uint row, uint slice)
{
	return row_at(row) + ROW_MIXED(D, slice);
}

// Whether this is the last to arrive of all workgroups with inputs for the same outputs; it then sees what all have written.
bool is_last(uint arrived)
{
	memoryBarrierBuffer();
	barrier();
	if (thread == 0) {
		s_last = atomicAdd(sums_word[arrived], 1) == SLICES - 1;
		if (s_last)
			sums_word[arrived] = 0;
	}
	barrier();
	memoryBarrierBuffer();
	return s_last;
}

void few(uint first, uint slice)
{
	const uint ALL = TILE_ROWS * FEW_OUTPUTS;
	uint row = gl_WorkGroupID.x * TILE_ROWS, from = min(first + thread % 8 * SHARE, (row_end - row_begin - 1) / SHARE * SHARE);
	uint channel = row_begin + first;
	[[unroll]] for (uint n = 0; n < THREAD_ROWS; n++)
		few_at[n] = row_at(min(row + n, row_count() - 1)) + ROW_F(D);
	[[unroll]] for (uint i = 0; i < SHARE * THREAD_ROWS; i++)
		few_sum[i] = 0;
	uint end = min((slice + 1) * SLICE_GROUPS, (F + GROUP - 1) / GROUP);
	for (uint g = slice * SLICE_GROUPS + thread / 8; g < end; g += SETS)
		add_group(from, g);
	add_sets();
	if (SLICES > 1) {
		for (uint i = thread; i < ALL; i += WORKGROUP)
			if (row + i / FEW_OUTPUTS < row_count() && channel + i % FEW_OUTPUTS < min(row_end, D))
				sums[sums_at(row + i / FEW_OUTPUTS, slice) + channel + i % FEW_OUTPUTS] = s_rows[i];
		if (!is_last(row_at(row) + ARRIVED + channel / FEW_OUTPUTS))
			return;
	}
	for (uint i = thread; i < ALL; i += WORKGROUP) {
		float sum = SLICES > 1 ? 0 : s_rows[i];
		for (uint j = 0; SLICES > 1 && j < SLICES; j++)
			sum += sums[sums_at(min(row + i / FEW_OUTPUTS, row_count() - 1), j) + min(channel + i % FEW_OUTPUTS, D - 1)];
		emit(row + i / FEW_OUTPUTS, channel + i % FEW_OUTPUTS, sum);
	}
}

void main()
{
	if (gl_WorkGroupID.x * TILE_ROWS >= row_count())
		return;
	if (FEW) {
		few(gl_WorkGroupID.y / SLICES * FEW_OUTPUTS, gl_WorkGroupID.y % SLICES);
		return;
	}
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
