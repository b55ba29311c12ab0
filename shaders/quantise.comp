// Floats into blocks of small integers, in the device's layout, while a model is loaded: src/format/quantise.c on the device, with
// the same results bit for bit (common/exact.glsl), and what src/network/pack.c and pack_value.c do with them.
//
// A workgroup has 32 rows and 256 columns, a thread 32 weights of a row at once: a 16-byte word of most types, a group with a
// scale of its own (Q6K: two).  Eight neighbouring threads have a block of 256.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common/layout.h"
#include "common/exact.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = SPEC_WORKGROUP) const uint WORKGROUP = 128; // 128 or 256
layout(constant_id = SPEC_WEIGHT_TYPE) const uint TYPE = TYPE_Q4K;
layout(constant_id = SPEC_SECOND_TYPE) const uint SOURCE_TYPE = TYPE_F16;

// The source is rows of F32, F16 or BF16, columns a multiple of 32; rows past its last become zeros.  Tiles: its tile t goes to
// tile first + t step.  By input: its block b of 32 outputs goes to block first + b.
layout(push_constant) uniform Push { uint by_input, rows, columns, row_blocks, first, step; };

layout(set = 0, binding = 0) writeonly restrict buffer Side { uint side[]; };
layout(set = 0, binding = 1) writeonly restrict buffer Weights { uvec4 weights[]; };
#if TEXELS
layout(set = 0, binding = 11) uniform usamplerBuffer source;
#define SOURCE(i) texelFetch(source, int(i))
#else
layout(set = 0, binding = 3) readonly restrict buffer Source { uvec4 source[]; };
#define SOURCE(i) source[i]
#endif

// A row's group: the part it shares with its neighbours, and, for the transpose of a matrix by input, its integers.
shared float s_scale[WORKGROUP], s_second[WORKGROUP];
shared uint s_codes[256], s_tops[32], s_integers[8 * 256];

uint thread = gl_LocalInvocationIndex, group = thread % 8;
uint q[8];  // the integers of its 32 weights, four bytes each
uint codes; // 16 bits: Q8: the scale, an f16; Q6K: two scales; else scale and minimum, a byte each
uint top;   // d and dmin of the block

const float TINY = 7.888609052210118e-31; // 2^-100
const uint INFINITE = 0x7c00, NOT_A_NUMBER = 0x7e00;
const uint LARGEST = 0x4e800000; // the bits of 2^30

// ------------------------------------------------------------------------------------------------------ reading

// Where the thread's 32 weights begin in the source, in uvec4s.  Beyond its rows and columns they are zeros: nothing of a word is
// kept.
uint from_word, kept;

void locate(uint row, uint column)
{
	bool there = row < rows && column < columns;
	kept = there ? 0xffffffffu : 0;
	from_word = there ? (row * columns + column) / (SOURCE_TYPE == TYPE_F32 ? 4 : 8) : 0;
}

// Weights 8i to 8i + 7.  They are read again each time: the nearest cache has them, and no registers are needed for 32.
struct Weights8 {
	vec4 v[2];
};

Weights8 read8(uint i)
{
	if (SOURCE_TYPE == TYPE_F32)
		return Weights8(vec4[2](uintBitsToFloat(SOURCE(from_word + 2 * i) & kept), uintBitsToFloat(SOURCE(from_word + 2 * i + 1) & kept)));
	uvec4 w = SOURCE(from_word + i) & kept;
	vec4 even = uintBitsToFloat(w << 16), odd = uintBitsToFloat(w & 0xffff0000u);
	if (SOURCE_TYPE == TYPE_F16)
		return Weights8(vec4[2](vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y)), vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w))));
	return Weights8(vec4[2](vec4(even.x, odd.x, even.y, odd.y), vec4(even.z, odd.z, even.w, odd.w)));
}

// Eights of them, and the weights of one.
#define EACH8(i, begin, end) [[dont_unroll]] for (uint i = begin; i < end; i++)
#define EACH(j) [[unroll]] for (uint j = 0; j < 8; j++)
#define OF(w, j) w.v[(j) / 4][(j) % 4]

// The largest magnitude as bits; NaN and infinity are above all.
uint largest_bits()
{
	uvec4 largest = uvec4(0);
	EACH8(i, 0, 4) {
		Weights8 x = read8(i);
		largest = max(largest, max(floatBitsToUint(x.v[0]) & 0x7fffffffu, floatBitsToUint(x.v[1]) & 0x7fffffffu));
	}
	return max(max(largest.x, largest.y), max(largest.z, largest.w));
}

uint bytes(uvec4 v)
{
	return v.x | v.y << 8 | v.z << 16 | v.w << 24;
}

float inverse(float value)
{
	return value == 0 ? 0 : divide(1, value);
}

// ------------------------------------------------------------------------------------------------------ Q8

void to_q8()
{
	uint largest = largest_bits();
	float scale = divide(uintBitsToFloat(largest), 127);
	codes = half_bits(scale);
	bool bad = largest >= 0x7f800000u || codes >= INFINITE;
	float by = codes == 0 || bad ? 0 : divide(1, scale);
	codes = bad ? NOT_A_NUMBER : codes;
	[[unroll]] for (uint i = 0; i < 8; i++) {
		precise vec4 scaled = read8(i / 2).v[i % 2] * by;
		precise vec4 shifted = abs(scaled) + 0.49999997; // the float below a half
		uvec4 n = bad ? uvec4(0) : uvec4(shifted);
		q[i] = bytes(uvec4(mix(ivec4(n), -ivec4(n), lessThan(scaled, vec4(0)))) & 255u);
	}
}

// ------------------------------------------------------------------------------------------------------ searching scales

// Weighted sums over a group for the integers of a grid.
float sum_q, sum_qq, sum_qx;

// raw: as it is in the file; v: less the group's least; n: its integer.
void add(float raw, float v, float n, float weight_by)
{
	precise float weight = 1 + abs(raw) * weight_by;
	precise float weighted = weight * n, with_q = sum_q + weighted;
	precise float with_qq = sum_qq + weighted * n, with_qx = sum_qx + weighted * v;
	sum_q = with_q;
	sum_qq = with_qq;
	sum_qx = with_qx;
}

// d, dmin or the scale of a group as f16: away from zero below 2^-14, and nothing below 2^-40.
uint scale_bits(float value)
{
	uint magnitude = floatBitsToUint(value) & 0x7fffffffu, sign = floatBitsToUint(value) >> 16 & 0x8000u;
	uint small = ceiling(uintBitsToFloat(magnitude) * 16777216);
	uint bits = magnitude < 0x38800000u ? small : half_bits(uintBitsToFloat(magnitude));
	return magnitude < 0x2b800000u ? 0 : sign | bits;
}

// The nearest integers from 0 to `most`.
void round_all(uint begin, uint end, float shift, float by, float from, float most)
{
	[[unroll]] for (uint i = begin; i < end; i++) {
		precise vec4 scaled = (read8(i / 2).v[i % 2] + shift) * by + from;
		precise vec4 shifted = clamp(scaled, vec4(0), vec4(most)) + 0.5;
		q[i] = bytes(uvec4(shifted));
	}
}

// ------------------------------------------------------------------------------------------------------ Q4K and Q5K

float low, high, total, sum, weight_by; // of the group

void look()
{
	precise float squares = 0, weights = 0, weighted = 0;
	low = read8(0).v[0].x;
	high = low;
	EACH8(i, 0, 4) {
		Weights8 x = read8(i);
		EACH(j) {
			float v = OF(x, j);
			low = v < low ? v : low;
			high = v > high ? v : high;
			squares += v * v;
		}
	}
	weight_by = divide(1, max(root(squares * 0.03125), TINY));
	low = low < 0 ? low : 0;
	EACH8(i, 0, 4) {
		Weights8 x = read8(i);
		EACH(j) {
			precise float weight = 1 + abs(OF(x, j)) * weight_by, v = OF(x, j) - low;
			weights += weight;
			weighted += weight * v;
		}
	}
	total = weights;
	sum = weighted;
}

void sum_grid(float by, float from, float most)
{
	sum_q = 0;
	sum_qq = 0;
	sum_qx = 0;
	EACH8(i, 0, 4) {
		Weights8 x = read8(i);
		EACH(j) {
			precise float v = OF(x, j) - low, scaled = (v - from) * by;
			add(OF(x, j), v, clamp(nearest(scaled), 0, most), weight_by);
		}
	}
}

float found_scale, found_min, found_gain;

// Least squares, as improve() of quantise.c.
void improve()
{
	precise float determinant = total * sum_qq - sum_q * sum_q, covariance = total * sum_qx - sum_q * sum;
	precise float least = 3.814697265625e-06 * total * sum_qq; // 2^-18
	bool differ = determinant > least;
	determinant = differ ? determinant : 0;
	precise float scale = differ ? divide(covariance, differ ? determinant : 1) : 0;
	precise float gain = scale * covariance, shift = scale * sum_q - sum;
	precise float minimum = divide(shift, total) - low;
	precise float tied_sum = sum_qx + low * sum_q, tied = divide(tied_sum, max(sum_qq, TINY)), off = scale - tied;
	precise float tied_shift = tied * sum_q - sum, away = divide(tied_shift, total) - low;
	bool below = minimum < 0;
	precise float loss = off * off * determinant + away * away * total * total;
	gain -= below ? loss : 0;
	if (gain > found_gain) {
		found_scale = below ? tied : scale;
		found_min = below ? 0 : minimum;
		found_gain = gain;
	}
}

void search(float most)
{
	precise float range = high - low;
	range = max(range, TINY);
	found_scale = 0;
	found_min = -low;
	found_gain = -1;
	[[dont_unroll]] for (uint t = 0; t < 5; t++) { // the last time from the best so far
		precise float up_to = most + vec4(-1.8, -0.9, -0.2, 0.4)[min(t, 3)], from = -low - found_min;
		sum_grid(divide(t < 4 ? up_to : 1, t < 4 ? range : max(found_scale, TINY)), t < 4 ? 0 : from, most);
		improve();
	}
	found_scale = max(found_scale, 0);
}

void to_k(float most)
{
	uint block = thread / 8 * 8;
	look();
	search(most);
	s_scale[thread] = largest_bits() < LARGEST ? found_scale : 1e38; // no f16
	s_second[thread] = found_min;
	barrier();
	float largest = 0, largest_min = 0;
	[[unroll]] for (uint i = 0; i < 8; i++) {
		largest = max(largest, s_scale[block + i]);
		largest_min = max(largest_min, s_second[block + i]);
	}
	uint d_bits = scale_bits(divide(largest, 63)), min_bits = scale_bits(divide(largest_min, 63));
	bool bad = d_bits >= INFINITE || min_bits >= INFINITE;
	vec2 d = bad ? vec2(0) : unpackHalf2x16(d_bits | min_bits << 16);
	precise float ratio = found_scale * inverse(d.x);
	float code = max(min(nearest(ratio), 63), d.x == 0 ? 0 : 1); // 0 would leave one level; 1 has it and more
	precise float scale = d.x * code, from = -low - found_min;
	sum_grid(divide(1, max(scale, TINY)), from, most);
	precise float shift = scale * sum_q - sum, minimum = divide(shift, total) - low;
	precise float min_ratio = max(minimum, 0) * inverse(d.y);
	float min_code = min(nearest(min_ratio), 63);
	precise float offset = d.y * min_code;
	round_all(0, 8, offset, inverse(scale), 0, most);
	codes = bad ? 0 : uint(code) | uint(min_code) << 8;
	top = bad ? NOT_A_NUMBER : d_bits | min_bits << 16;
	if (bad)
		q = uint[8](0, 0, 0, 0, 0, 0, 0, 0);
}

// ------------------------------------------------------------------------------------------------------ Q6K

// The scale of 16 weights, four vectors from `begin` on, for integers from -32 to 31.
float search_centred(uint begin)
{
	precise float squares = 0;
	float lowest = read8(begin / 2).v[0].x, highest = lowest;
	EACH8(i, begin / 2, begin / 2 + 2) {
		Weights8 x = read8(i);
		EACH(j) {
			float v = OF(x, j);
			lowest = v < lowest ? v : lowest;
			highest = v > highest ? v : highest;
			squares += v * v;
		}
	}
	float by_size = divide(1, max(root(squares * 0.0625), TINY)), far = highest > -lowest ? highest : lowest;
	precise float best = -1, found = 0;
	far = abs(far) > TINY ? far : TINY;
	[[dont_unroll]] for (uint t = 0; t < 4; t++) {
		precise float up_to = 32 + vec4(-1.9, -0.9, -0.1, 0.4)[t];
		float by = divide(-up_to, far);
		sum_q = 0;
		sum_qq = 0;
		sum_qx = 0;
		EACH8(i, begin / 2, begin / 2 + 2) {
			Weights8 x = read8(i);
			EACH(j) {
				precise float scaled = OF(x, j) * by;
				add(OF(x, j), OF(x, j), min(nearest(scaled), 31), by_size);
			}
		}
		float scale = divide(sum_qx, max(sum_qq, TINY));
		precise float gain = scale * sum_qx;
		found = gain > best ? scale : found;
		best = max(gain, best);
	}
	return found;
}

// The code of a scale, which is 0 only if d = 0, and the integers under it.
uint code_half(uint begin, float scale, float d)
{
	precise float ratio = scale * inverse(d) + 128, shifted = clamp(ratio, 0, 255) + 0.5;
	int code = int(shifted) - 128;
	code = code == 0 && d != 0 ? 1 : code;
	precise float stored = d * float(code);
	round_all(begin, begin + 4, 0, inverse(stored), 32, 63);
	return uint(code) & 255u;
}

void to_q6k()
{
	uint block = thread / 8 * 8;
	vec2 scales = vec2(search_centred(0), search_centred(4));
	s_scale[thread] = largest_bits() < LARGEST ? max(scales.x, scales.y) : 1e38;
	s_second[thread] = min(scales.x, scales.y);
	barrier();
	float most = s_scale[block], least = s_second[block];
	[[unroll]] for (uint i = 1; i < 8; i++) {
		most = max(most, s_scale[block + i]);
		least = min(least, s_second[block + i]);
	}
	uint d_bits = scale_bits((most > -least ? most : least) * -0.0078125); // the largest gets -128
	bool bad = (d_bits & 0x7fffu) >= INFINITE;
	float d = bad ? 0 : unpackHalf2x16(d_bits).x;
	codes = code_half(0, scales.x, d);
	codes |= code_half(4, scales.y, d) << 8;
	top = d_bits;
	if (bad) {
		codes = 0;
		top = NOT_A_NUMBER;
		q = uint[8](0, 0, 0, 0, 0, 0, 0, 0);
	}
}

// ------------------------------------------------------------------------------------------------------ writing

// 32 integers as common/unpack.glsl reads them: four bits, and the words of those beyond.
uvec4 low_bits(uint n[8])
{
	uvec4 even = uvec4(n[0], n[2], n[4], n[6]), odd = uvec4(n[1], n[3], n[5], n[7]);
	return (even & 0x0f0f0f0fu) | (odd & 0x0f0f0f0fu) << 4;
}

void put_high_bits(uint n[8], uint at, uint u)
{
	uvec2 high = uvec2(0);
	[[unroll]] for (uint i = 0; i < 8; i++)
		if (TYPE == TYPE_Q6K)
			high[i / 4] |= (n[i] >> 4 & 0x03030303u) << 2 * (i % 4);
		else
			high.x |= (n[i] >> 4 & 0x01010101u) << i;
	if (TYPE == TYPE_Q6K) {
		side[at + 2 * u] = high.x;
		side[at + 2 * u + 1] = high.y;
	} else if (TYPE == TYPE_Q5K) {
		side[at + u] = high.x;
	}
}

const uint K_BLOCK = TYPE == TYPE_Q8 ? 128 : 256;

// Where k-block `number` of a row of the source lies, in k-blocks.
uint k_block(uint row, uint number)
{
	return ((first + row / 8 * step) * (PAD(columns, K_BLOCK) / K_BLOCK) + number) * 8 + row % 8;
}

void put_in_tile(uint row, uint column)
{
	uint at = k_block(row, column / K_BLOCK);
	if (row >= PAD(rows, 8) || column >= PAD(columns, K_BLOCK))
		return;
	if (TYPE == TYPE_Q8) {
		weights[at * 8 + group % 4 * 2] = uvec4(q[0], q[1], q[2], q[3]);
		weights[at * 8 + group % 4 * 2 + 1] = uvec4(q[4], q[5], q[6], q[7]);
	} else {
		weights[at * 8 + group] = low_bits(q);
		put_high_bits(q, at * SIDE_WORDS(TYPE) + SCALE_WORDS(TYPE), group);
	}
}

// Beside the k-blocks: four words of two codes each for a row, before them d and dmin.
void put_tile_scales(uint first_row, uint column)
{
	for (uint i = thread; i < 128; i += WORKGROUP) {
		uint row = i / 4, word = i % 4, two = s_codes[row * 8 + 2 * word] | s_codes[row * 8 + 2 * word + 1] << 16;
		uint number = column / K_BLOCK + (TYPE == TYPE_Q8 ? word / 2 : 0);
		uint at = k_block(first_row + row, number) * SIDE_WORDS(TYPE);
		if (first_row + row >= PAD(rows, 8) || number >= PAD(columns, K_BLOCK) / K_BLOCK)
			continue;
		side[at + (TYPE == TYPE_Q8 ? word % 2 : 1 + word)] = two;
		if (TYPE != TYPE_Q8 && word == 0)
			side[at] = s_tops[row];
	}
}

const uint OUTPUTS = VALUE_BLOCK(TYPE) / 32; // parts of 32 outputs in a block

// One input for 32 outputs, which are part `part` of the lines of a block.
void put_input(uint input_in_span, uint line, uint high_at, uint part)
{
	uint n[8], at = input_in_span % 32 / 4 * 256 + input_in_span / 32, shift = input_in_span % 4 * 8;
	[[unroll]] for (uint i = 0; i < 8; i++) {
		n[i] = 0;
		[[unroll]] for (uint j = 0; j < 4; j++)
			n[i] |= (s_integers[at + (4 * i + j) * 8] >> shift & 255u) << 8 * j;
	}
	if (TYPE == TYPE_Q8) {
		weights[line + 2 * part] = uvec4(n[0], n[1], n[2], n[3]);
		weights[line + 2 * part + 1] = uvec4(n[4], n[5], n[6], n[7]);
	} else {
		weights[line + part] = low_bits(n);
		put_high_bits(n, high_at, part);
	}
}

// The words of scales of 256 inputs for 32 outputs: a byte each for 16 inputs (Q6K), else two for 32.
void put_value_scales(uint at, uint part)
{
	for (uint i = thread; i < 128; i += WORKGROUP) {
		uint word = 0, number = TYPE == TYPE_Q6K ? i / 8 : i / 16, o = TYPE == TYPE_Q6K ? i % 8 * 4 : i % 16 * 2;
		if (TYPE == TYPE_Q6K) {
			[[unroll]] for (uint j = 0; j < 4; j++)
				word |= (s_codes[(o + j) * 8 + number / 2] >> number % 2 * 8 & 255u) << 8 * j;
			side[at + number * VALUE_SCALE_WORDS(TYPE) + part * 8 + i % 8] = word;
		} else {
			side[at + number * VALUE_SCALE_WORDS(TYPE) + part * 16 + i % 16] = s_codes[o * 8 + number] | s_codes[o * 8 + 8 + number] << 16;
		}
	}
}

void put_tops(uint at, uint part)
{
	if (TYPE == TYPE_Q6K && thread < 16)
		side[at + part * 16 + thread] = s_tops[2 * thread] | s_tops[2 * thread + 1] << 16;
	else if ((TYPE == TYPE_Q4K || TYPE == TYPE_Q5K) && thread < 32)
		side[at + part * 32 + thread] = s_tops[thread];
}

void put_by_input(uint row_block, uint span)
{
	uint block = (first + row_block) / OUTPUTS, part = (first + row_block) % OUTPUTS, inputs = VALUE_INPUTS(columns);
	uint high_at = block * VALUE_SIDE_WORDS(TYPE, columns), scales = high_at + inputs * VALUE_HIGH_WORDS(TYPE);
	uint tops = scales + inputs / VALUE_GROUP(TYPE) * VALUE_SCALE_WORDS(TYPE);
	for (uint i = thread; i < 256; i += WORKGROUP) {
		uint input_number = span * 256 + i;
		put_input(i, (block * inputs + input_number) * 8, high_at + input_number * VALUE_HIGH_WORDS(TYPE), part);
	}
	put_value_scales(scales + span * 256 / VALUE_GROUP(TYPE) * VALUE_SCALE_WORDS(TYPE), part);
	put_tops(tops + span * VALUE_TOP_WORDS(TYPE), part);
}

// ------------------------------------------------------------------------------------------------------ all steps

// The part of a row's group that belongs to its thread alone.
void quantise_group(uint row, uint row_in_block, uint column)
{
	locate(row, column);
	bool is_row = row < rows;
	if (TYPE == TYPE_Q8)
		to_q8();
	else if (TYPE == TYPE_Q6K)
		to_q6k();
	else
		to_k(TYPE == TYPE_Q4K ? 15 : 31);
	s_codes[row_in_block * 8 + group] = is_row ? codes : 0;
	if (group == 0)
		s_tops[row_in_block] = is_row ? top : 0;
	uint nothing = TYPE == TYPE_Q6K && by_input != 0 ? 0x20202020u : 0; // 32 is taken from what Q6K has
	[[unroll]] for (uint i = 0; i < 8; i++) {
		q[i] = is_row ? q[i] : nothing;
		if (by_input != 0)
			s_integers[i * 256 + row_in_block * 8 + group] = q[i];
	}
	if (by_input == 0)
		put_in_tile(row, column);
}

void main()
{
	// By input, the parts of a line are written by neighbours.
	uint spans = PAD(columns, 256) / 256;
	uint row_block = by_input != 0 ? gl_WorkGroupID.x % row_blocks : gl_WorkGroupID.x / spans;
	uint span = by_input != 0 ? gl_WorkGroupID.x / row_blocks : gl_WorkGroupID.x % spans;
	[[dont_unroll]] for (uint turn = 0; turn < 256 / WORKGROUP; turn++) {
		uint row = turn * (WORKGROUP / 8) + thread / 8;
		quantise_group(row_block * 32 + row, row, span * 256 + group * 32);
	}
	barrier();
	if (by_input != 0)
		put_by_input(row_block, span);
	else
		put_tile_scales(row_block * 32, span * 256);
}
