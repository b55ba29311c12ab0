// What every stage includes: constants, bindings, and sums over a workgroup in a fixed order.
#if SUBGROUPS
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
#extension GL_EXT_control_flow_attributes : require
#include "layout.h"

layout(local_size_x_id = 0) in;
layout(constant_id = SPEC_WORKGROUP) const uint WORKGROUP = 64;
layout(constant_id = SPEC_LANES) const uint LANES = 8;
layout(constant_id = SPEC_ROWS) const uint ROWS = 4;
layout(constant_id = SPEC_CHUNK) const uint CHUNK = 1024;
layout(constant_id = SPEC_PASSES) const uint PASSES = 1;
layout(constant_id = SPEC_WEIGHT_TYPE) const uint WEIGHT_TYPE = TYPE_F16;
layout(constant_id = SPEC_SECOND_TYPE) const uint SECOND_TYPE = TYPE_F16;
layout(constant_id = SPEC_WIDTH) const uint D = 64;
layout(constant_id = SPEC_FFN) const uint F = 256;
layout(constant_id = SPEC_VOCAB) const uint V = 256;
layout(constant_id = SPEC_HEAD) const uint N = 64;
layout(constant_id = SPEC_PRODUCTS) const uint PRODUCTS = 3;
layout(constant_id = SPEC_RANK_DECAY) const uint RANK_DECAY = 32;
layout(constant_id = SPEC_RANK_ICLR) const uint RANK_ICLR = 32;
layout(constant_id = SPEC_RANK_GATE) const uint RANK_GATE = 32;
layout(constant_id = SPEC_RANK_VALUE) const uint RANK_VALUE = 32;
layout(constant_id = SPEC_STATE_LANES) const uint STATE_LANES = 4;
layout(constant_id = SPEC_STATE_STRIDE) const uint SLOT_FLOATS = 4224;
layout(constant_id = SPEC_GROUP_EPSILON) const uint GROUP_EPSILON_BITS = 0x3a27c5ac; // 64e-5
layout(constant_id = SPEC_RESIDUAL) const uint RESIDUAL_BITS = 0x3f800000;           // 1
layout(constant_id = SPEC_FLAGS) const uint FLAGS = 0;

layout(push_constant) uniform Push {
	uint row_begin, row_end, first_slice, part, second_begin, second_end;
};

// The activations are bound twice, for reading (0) and for writing (1), each also as words.
layout(set = 0, binding = 0) readonly buffer In4 { vec4 act4[]; };
layout(set = 0, binding = 0) readonly buffer In1 { float act[]; };
layout(set = 0, binding = 0) readonly buffer InU { uint act_word[]; };
layout(set = 0, binding = 1) buffer Out4 { vec4 result4[]; };
layout(set = 0, binding = 1) buffer Out1 { float result[]; };
layout(set = 0, binding = 1) buffer OutU { uint result_word[]; };
layout(set = 0, binding = 2) readonly buffer Vectors4 { vec4 vectors4[]; };
layout(set = 0, binding = 2) readonly buffer Vectors1 { float vectors[]; };
layout(set = 0, binding = 3) readonly restrict buffer Weights { uvec4 weights[]; };
layout(set = 0, binding = 4) readonly restrict buffer Side { uint side[]; };
layout(set = 0, binding = 5) buffer State4 { vec4 state4[]; };
layout(set = 0, binding = 5) buffer State1 { float state[]; };
layout(set = 0, binding = 6) readonly restrict buffer Second { uvec4 second[]; };
layout(set = 0, binding = 7) readonly restrict buffer SecondSide { uint second_side[]; };

const uint DP = PAD(D, 128);

// Lanes that share a row must sit in one subgroup, so threads are numbered subgroup by subgroup.
#if SUBGROUPS
uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
shared vec4 s_sum[WORKGROUP / 4]; // a subgroup has at least 4 threads
#else
uint thread = gl_LocalInvocationIndex;
shared vec4 s_sum[WORKGROUP];
#endif

// The token ends the text: nothing is to be computed.  The same for all threads.
bool done()
{
	return act_word[ACT_CONTROL + CONTROL_DONE] != 0;
}

uint state_slot()
{
	return act_word[ACT_CONTROL + CONTROL_SLOT] * SLOT_FLOATS;
}

// The sum of v over all threads of the workgroup, for all of them.  Called in uniform control flow.
vec4 workgroup_sum(vec4 v)
{
#if SUBGROUPS
	v = subgroupAdd(v);
	if (gl_SubgroupInvocationID == 0)
		s_sum[gl_SubgroupID] = v;
	barrier();
	v = vec4(0);
	for (uint i = 0; i < gl_NumSubgroups; i++)
		v += s_sum[i];
	barrier();
	return v;
#else
	s_sum[thread] = v;
	for (uint count = WORKGROUP; count > 1;) {
		uint half_count = (count + 1) / 2;
		barrier();
		if (thread + half_count < count)
			s_sum[thread] += s_sum[thread + half_count];
		count = half_count;
	}
	barrier();
	v = s_sum[0];
	barrier();
	return v;
#endif
}

float workgroup_sum(float v)
{
#if SUBGROUPS // one sum, not four: compilers do not see that three are zero
	v = subgroupAdd(v);
	if (gl_SubgroupInvocationID == 0)
		s_sum[gl_SubgroupID].x = v;
	barrier();
	v = 0;
	for (uint i = 0; i < gl_NumSubgroups; i++)
		v += s_sum[i].x;
	barrier();
	return v;
#else
	return workgroup_sum(vec4(v, 0, 0, 0)).x;
#endif
}

bool flag(uint bit)
{
	return (FLAGS & bit) != 0;
}

// What a stage adds to the residual stream.
float residual(float sum)
{
	return sum * uintBitsToFloat(RESIDUAL_BITS);
}

float vector(uint index, uint c)
{
	return vectors[index * DP + c];
}

float sigmoid(float x)
{
	return 1 / (1 + exp(-x));
}

// Through one exponential that may overflow to infinity without harm; the built-in is NaN for large x on some drivers.  Near
// zero that would cancel, and two terms of the series are exact to 2^-24.
float tanh_safe(float x)
{
	return abs(x) < 0.02 ? x - x * x * x / 3 : 1 - 2 / (exp(2 * x) + 1);
}
