// Included by every stage: constants, bindings, and sums over a workgroup in a fixed order.
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
layout(constant_id = SPEC_RANK_MIX) const uint RANK_MIX = 32;
layout(constant_id = SPEC_TILE_OUTPUTS) const uint TILE_OUTPUTS = 32;
layout(constant_id = SPEC_TILE_ROWS) const uint TILE_ROWS = 16;
layout(constant_id = SPEC_TILE_DEPTH) const uint TILE_DEPTH = 32;
layout(constant_id = SPEC_THREAD_OUTPUTS) const uint THREAD_OUTPUTS = 4;
layout(constant_id = SPEC_THREAD_ROWS) const uint THREAD_ROWS = 16;
layout(constant_id = SPEC_MIXES) const uint MIXED = 1;

layout(push_constant) uniform Push {
	uint row_begin, row_end, first_slice, part, second_begin, second_end, layer;
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

// Reads.  TEXELS: through texel buffers on the same memory (create_set() in src/engine/plan.c says of which kind), for drivers of CPU
// devices: they read storage buffers and shared memory lane by lane, texels with vector instructions.
#if TEXELS
layout(set = 0, binding = 8) uniform samplerBuffer act_texels;
layout(set = 0, binding = 10) uniform samplerBuffer vectors_texels;
layout(set = 0, binding = 11) uniform usamplerBuffer weights_texels;
layout(set = 0, binding = 12) uniform usamplerBuffer side_texels;
layout(set = 0, binding = 13) uniform samplerBuffer state_texels;
layout(set = 0, binding = 14) uniform usamplerBuffer second_texels;
layout(set = 0, binding = 15) uniform usamplerBuffer second_side_texels;
#define READ_ACT4(i)        texelFetch(act_texels, int(i))
#define READ_ACT(i)         texelFetch(act_texels, int((i) / 4))[(i) % 4]
#define READ_VECTORS4(i)    texelFetch(vectors_texels, int(i))
#define READ_VECTORS(i)     texelFetch(vectors_texels, int((i) / 4))[(i) % 4]
#define READ_WEIGHTS(i)     texelFetch(weights_texels, int(i))
#define READ_SIDE(i)        texelFetch(side_texels, int(i)).x
#define READ_STATE4(i)      texelFetch(state_texels, int(i))
#define READ_STATE(i)       texelFetch(state_texels, int((i) / 4))[(i) % 4]
#define READ_SECOND(i)      texelFetch(second_texels, int(i))
#define READ_SECOND_SIDE(i) texelFetch(second_side_texels, int(i)).x

// Data that a workgroup stages for all its threads: vec4s in its own place behind the activations.
layout(constant_id = SPEC_STAGING) const uint STAGING = 0;
layout(set = 0, binding = 9, rgba32f) coherent uniform imageBuffer staging;
uint place = STAGING + gl_WorkGroupID.x * (STAGING_FLOATS(CHUNK, N) / 4);
#define STAGED(i)           imageLoad(staging, int(place + (i)))
#define STAGE(i, x)         imageStore(staging, int(place + (i)), x)
#define STAGE_BARRIER()     memoryBarrierImage(), barrier()
#else
#define READ_ACT4(i)        act4[i]
#define READ_ACT(i)         act[i]
#define READ_VECTORS4(i)    vectors4[i]
#define READ_VECTORS(i)     vectors[i]
#define READ_WEIGHTS(i)     weights[i]
#define READ_SIDE(i)        side[i]
#define READ_STATE4(i)      state4[i]
#define READ_STATE(i)       state[i]
#define READ_SECOND(i)      second[i]
#define READ_SECOND_SIDE(i) second_side[i]
#endif

const uint DP = PAD(D, 128);

// Lanes that share a row must sit in one subgroup, so threads are numbered subgroup by subgroup.
#if SUBGROUPS
uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
#else
uint thread = gl_LocalInvocationIndex;
#endif

// The token ends the text: there is nothing to compute.  The same for all threads.
bool done()
{
	return act_word[ACT_CONTROL + CONTROL_DONE] != 0;
}

uint state_slot()
{
	return act_word[ACT_CONTROL + CONTROL_SLOT] * SLOT_FLOATS;
}

// workgroup_sum(v): the sum of v over all threads of the workgroup, for all of them.  Called in uniform control flow.
#if SUBGROUPS
#if TEXELS // a lane reads one sum, since reads cost
#define ADD_SUMS(sums)                                                                     \
	for (uint i = gl_SubgroupInvocationID; i < gl_NumSubgroups; i += gl_SubgroupSize)      \
		v += sums[i];                                                                      \
	v = subgroupAdd(v);
#else
#define ADD_SUMS(sums)                                                                     \
	for (uint i = 0; i < gl_NumSubgroups; i++)                                             \
		v += sums[i];
#endif
#define WORKGROUP_SUM(type, sums)                                                          \
	shared type sums[WORKGROUP / 4]; /* a subgroup has at least 4 threads */               \
	type workgroup_sum(type v)                                                             \
	{                                                                                      \
		v = subgroupAdd(v);                                                                \
		if (gl_SubgroupInvocationID == 0)                                                  \
			sums[gl_SubgroupID] = v;                                                       \
		barrier();                                                                         \
		v = type(0);                                                                       \
		ADD_SUMS(sums)                                                                     \
		barrier();                                                                         \
		return v;                                                                          \
	}
#else
#define WORKGROUP_SUM(type, sums)                                                          \
	shared type sums[WORKGROUP];                                                           \
	type workgroup_sum(type v)                                                             \
	{                                                                                      \
		sums[thread] = v;                                                                  \
		for (uint count = WORKGROUP; count > 1;) {                                         \
			uint half_count = (count + 1) / 2;                                             \
			barrier();                                                                     \
			if (thread + half_count < count)                                               \
				sums[thread] += sums[thread + half_count];                                 \
			count = half_count;                                                            \
		}                                                                                  \
		barrier();                                                                         \
		v = sums[0];                                                                       \
		barrier();                                                                         \
		return v;                                                                          \
	}
#endif
WORKGROUP_SUM(float, s_sum)
WORKGROUP_SUM(vec4, s_sum4)

bool flag(uint bit)
{
	return (FLAGS & bit) != 0;
}

// A stage's contribution to the residual stream.
float residual(float sum)
{
	return sum * uintBitsToFloat(RESIDUAL_BITS);
}

float vector(uint index, uint c)
{
	return READ_VECTORS(index * DP + c);
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
