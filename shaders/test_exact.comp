// For a test only: common/exact.glsl of pairs of numbers, on a device whose own quotients and roots are `off` units of the last
// place off.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint count, off; };
layout(set = 0, binding = 0) readonly buffer In { vec2 source[]; };
layout(set = 0, binding = 1) buffer Out { uint result[]; };
#define ABOUT(value) uintBitsToFloat(floatBitsToUint(value) + off)
#include "common/exact.glsl"

void main()
{
	uint i = gl_GlobalInvocationID.x;
	if (i >= count)
		return;
	vec2 pair = source[i];
	result[5 * i] = floatBitsToUint(divide(pair.x, pair.y));
	result[5 * i + 1] = floatBitsToUint(root(abs(pair.x)));
	result[5 * i + 2] = half_bits(abs(pair.x));
	result[5 * i + 3] = floatBitsToUint(nearest(pair.x));
	result[5 * i + 4] = ceiling(min(abs(pair.y), 1024));
}
