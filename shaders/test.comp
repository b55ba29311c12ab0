// For the tests of the GPU layer only: adds a constant to the first `count` words.
#version 450
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ADD = 0;
layout(push_constant) uniform Push { uint count; };
layout(set = 0, binding = 0) readonly buffer In { uint source[]; };
layout(set = 0, binding = 1) buffer Out { uint result[]; };

void main()
{
	uint i = gl_GlobalInvocationID.x;
	if (i < count)
		result[i] = source[i] + ADD;
}
