// For measuring a device (src/gpu/measure.c): every thread reads `count` groups of 16 bytes, or copies them.  It reads as stages
// read weights, so through texel buffers where they do (common/stage.glsl).
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint COPY = 0;
layout(push_constant) uniform Push { uint group_step, lane_step, step, count; };
#if TEXELS
layout(set = 0, binding = 9, rgba32f) writeonly restrict uniform imageBuffer result;
layout(set = 0, binding = 11) uniform usamplerBuffer source;
#define READ(i)     texelFetch(source, int(i))
#define WRITE(i, v) imageStore(result, int(i), uintBitsToFloat(v))
#else
layout(set = 0, binding = 1) writeonly restrict buffer Out { uvec4 result[]; };
layout(set = 0, binding = 3) readonly restrict buffer In { uvec4 source[]; };
#define READ(i)     source[i]
#define WRITE(i, v) result[i] = v
#endif

void main()
{
	uint at = gl_WorkGroupID.x * group_step + gl_LocalInvocationID.x * lane_step;
	uvec4 sum = uvec4(0);
	for (uint i = 0; i < count; i += 4, at += 4 * step) {
		uvec4 a = READ(at), b = READ(at + step), c = READ(at + 2 * step), d = READ(at + 3 * step);
		if (COPY != 0) {
			WRITE(at, a);
			WRITE(at + step, b);
			WRITE(at + 2 * step, c);
			WRITE(at + 3 * step, d);
		} else {
			sum |= a | b | c | d;
		}
	}
	if (COPY == 0 && sum == uvec4(1, 2, 3, 4)) // never, but the compiler cannot know
		WRITE(0, sum);
}
