// Channel-mix, second half: x = x + ffn.value f, up to RWKV-6 times sigmoid of the receptance.  [D,F]
//
// Most of f is zero, so ffn.value is stored transposed (layout.h).  For a block of outputs, a workgroup adds up the lines of
// the non-zero inputs; on CPU devices, of all inputs in a group with few zeros.  Eight threads share a line, or 16 share one of
// 256 outputs, because the sums of 32 outputs would take all registers of a thread.  (A software device has enough, and 16
// would unpack half a word each.)  Each such set takes every SETS-th group of inputs.  The sets' sums are added in a fixed
// order.  So are those of the workgroups that have other inputs for the same outputs; the last of these to arrive adds them.
//
// Reads ACT_F, ACT_FR, updates ACT_X, and moves this token's LN2 output from ACT_N2 into the shift state.  Recorded by
// plan_ffn() in src/engine/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/first.glsl"
#include "common/unpack.glsl"
#include "common/value_scales.glsl"

layout(constant_id = SPEC_SUM_SLICES) const uint SLICES = 1;
layout(set = 0, binding = 1) coherent buffer Sums1 { float sums[]; };
layout(set = 0, binding = 1) coherent buffer SumsU { uint sums_word[]; };
layout(set = 0, binding = 7) buffer Used { uint used_inputs[]; }; // [L,2], FLAG_COUNT: not zero; read

const uint BLOCK = VALUE_BLOCK(TYPE), GROUP = VALUE_GROUP(TYPE), INPUTS = VALUE_INPUTS(F);
const uint SHARERS = BLOCK < 256 || WORKGROUP < 128 ? 8 : 16; // threads of a line
const uint SETS = WORKGROUP / SHARERS, VECS = BLOCK / (4 * SHARERS); // vec4s of outputs that a thread has
const uint GROUPS = INPUTS / GROUP, SHARE = (GROUPS + SLICES - 1) / SLICES;
const uint SCALES_AT = INPUTS * VALUE_HIGH_WORDS(TYPE), TOPS_AT = SCALES_AT + GROUPS * VALUE_SCALE_WORDS(TYPE);

// Lines are loaded several at a time, so that a thread waits for memory once for all of them.  A loop over all inputs could do
// no better, so GPUs need none for inputs without zeros.  A CPU hides memory latency by itself, and one line at a time avoids
// repeated loads.
const uint AT_ONCE = TEXELS == 1 ? 1 : TYPE < TYPE_Q8 ? 4 : 2;

uint sharer = thread % SHARERS, set = thread / SHARERS;
#define LINE_WORD (sharer * 8 / SHARERS) // of this thread's part of a line
shared vec4 s_vecs[(SETS + 1) / 2 * BLOCK / 4];
shared bool s_last;

void emit(uint row, float value)
{
	if (row >= min(row_end, D))
		return;
	if (flag(FLAG_RECEPTANCE))
		value *= sigmoid(READ_ACT(ACT_FR(D) + row));
	float x = result[ACT_X + row] + residual(value);
	result[ACT_X + row] = flag(FLAG_HALVE) ? 0.5 * x : x;
	if (flag(FLAG_PRE))
		state[state_slot() + STATE_ATT_X + row] = READ_ACT(ACT_N1(D) + row);
	else
		state[state_slot() + STATE_FFN_X(D) + row] = READ_ACT(ACT_N2(D) + row);
}

// This thread's outputs of a line, as they are in the file but for scale and minimum.  Of a uvec4 that two threads share,
// the first has the first two words and the second the others, and the same of the further bits.
void unpack(uvec4 w, uvec2 high, out vec4 q[VECS])
{
	if (TYPE > TYPE_Q8 && SHARERS == 16 && sharer % 2 == 1) {
		w.xy = w.zw;
		high.x = TYPE == TYPE_Q6K ? high.y : high.x >> 4;
	}
	[[unroll]] for (uint j = 0; j < VECS; j++)
		q[j] = first_numbers(w, high, j);
}

// The bits beyond four of this thread's outputs; the line's begin at `word`.
uvec2 further_bits(uint word)
{
	if (VALUE_HIGH_WORDS(TYPE) == 8)
		return uvec2(READ_SIDE(word + LINE_WORD), 0);
	if (VALUE_HIGH_WORDS(TYPE) == 16)
		return uvec2(READ_SIDE(word + 2 * LINE_WORD), READ_SIDE(word + 2 * LINE_WORD + 1));
	return uvec2(0);
}

// Adds group g's inputs to the thread's sums; `block` counts the blocks in the slice.
void add_group(uint block, uint g, inout vec4 y[VECS])
{
	uint nonzero = 0;
	[[unroll]] for (uint j = 0; j < GROUP / 4; j++) {
		vec4 f = READ_ACT4((ACT_F(D) + g * GROUP) / 4 + j);
		nonzero |= (uint(f.x != 0) | uint(f.y != 0) << 1 | uint(f.z != 0) << 2 | uint(f.w != 0) << 3) << 4 * j;
	}
	if (nonzero == 0)
		return;
	uint read = nonzero;
	if (TEXELS == 1 && bitCount(nonzero) > GROUP * 3 / 8) // a CPU is faster with consecutive lines; for GPUs, bytes count
		read = 0xffffffffu >> (32 - min(GROUP, F - g * GROUP));
	if (flag(FLAG_COUNT) && row_begin == 0 && block == 0 && sharer == 0) {
		atomicAdd(used_inputs[2 * layer], bitCount(nonzero));
		atomicAdd(used_inputs[2 * layer + 1], bitCount(read));
	}
	const bool scaled = TYPE >= TYPE_Q8;
	uint beside = block * VALUE_SIDE_WORDS(TYPE, F);
	vec4 group_sum[VECS];
	[[unroll]] for (uint j = 0; j < VECS; j++)
		group_sum[j] = vec4(0);
	float inputs = 0;
	for (uint i = 0; read != 0;) {
		float f[AT_ONCE];
		uvec2 high[AT_ONCE];
		uvec4 w[AT_ONCE];
		[[unroll]] for (uint k = 0; k < AT_ONCE; k++) { // if no input is left: the last line again, times zero
			f[k] = 0;
			if (k == 0 || read != 0) {
				i = g * GROUP + findLSB(read);
				f[k] = READ_ACT(ACT_F(D) + i);
			}
			read &= read - 1;
			high[k] = further_bits(beside + i * VALUE_HIGH_WORDS(TYPE));
			w[k] = READ_WEIGHTS((block * INPUTS + i) * 8 + LINE_WORD);
		}
		[[unroll]] for (uint k = 0; k < AT_ONCE; k++) {
			vec4 q[VECS];
			unpack(w[k], high[k], q);
			inputs += f[k];
			[[unroll]] for (uint j = 0; j < VECS; j++)
				group_sum[j] += f[k] * q[j];
		}
	}
	uint scales_word = beside + SCALES_AT + g * VALUE_SCALE_WORDS(TYPE) + sharer * (VALUE_SCALE_WORDS(TYPE) / SHARERS);
	uint tops_word = beside + TOPS_AT + g * GROUP / 256 * VALUE_TOP_WORDS(TYPE) + sharer * (VALUE_TOP_WORDS(TYPE) / SHARERS);
	[[unroll]] for (uint j = 0; j < VECS; j++) {
		if (scaled) {
			vec4 scale, low;
			value_scales(scales_word, tops_word, j, scale, low);
			y[j] += scale * (group_sum[j] - first_zero() * inputs) - low * inputs;
		} else {
			y[j] += group_sum[j];
		}
	}
}

void main()
{
	if (done())
		return;
	uint block = gl_WorkGroupID.x / SLICES, slice = gl_WorkGroupID.x % SLICES, first_row = row_begin + block * BLOCK;
	vec4 y[VECS];
	[[unroll]] for (uint j = 0; j < VECS; j++)
		y[j] = vec4(0);
	uint end = min((slice + 1) * SHARE, GROUPS);
	for (uint g = slice * SHARE + set; g < end; g += SETS)
		add_group(block, g, y);

	// The sets' sums: the upper half of them goes to the lower, until one is left.
	for (uint count = SETS; count > 1; count /= 2) {
		if (set >= count / 2 && set < count)
			[[unroll]] for (uint j = 0; j < VECS; j++)
				s_vecs[((set - count / 2) * SHARERS + sharer) * VECS + j] = y[j];
		barrier();
		if (set < count / 2)
			[[unroll]] for (uint j = 0; j < VECS; j++)
				y[j] += s_vecs[(set * SHARERS + sharer) * VECS + j];
		barrier();
	}
	if (set == 0)
		[[unroll]] for (uint j = 0; j < VECS; j++)
			s_vecs[sharer * VECS + j] = y[j];
	barrier();
	if (SLICES == 1) {
		for (uint i = thread; i < BLOCK; i += WORKGROUP)
			emit(first_row + i, s_vecs[i / 4][i % 4]);
		return;
	}

	const uint sums_at = ACT_SUMS(D, F) + first_row;
	for (uint i = thread; i < BLOCK; i += WORKGROUP)
		if (first_row + i < D)
			sums[sums_at + slice * PAD(D, 256) + i] = s_vecs[i / 4][i % 4];
	memoryBarrierBuffer();
	barrier();
	if (thread == 0)
		s_last = atomicAdd(sums_word[ACT_ARRIVED(D, F) + first_row / BLOCK], 1) == SLICES - 1;
	barrier();
	if (!s_last)
		return;
	memoryBarrierBuffer();
	for (uint i = thread; i < BLOCK && first_row + i < D; i += WORKGROUP) {
		float sum = 0;
		for (uint j = 0; j < SLICES; j++)
			sum += sums[sums_at + j * PAD(D, 256) + i];
		emit(first_row + i, sum);
	}
	if (thread == 0)
		sums_word[ACT_ARRIVED(D, F) + first_row / BLOCK] = 0;
}
