// LayerNorm over D channels that a workgroup reads together.
const float NORM_EPSILON = 1e-5;

// Mean and scale of the vector at float `at`.  Mean first, then the variance from the differences: no cancellation.
vec2 norm_of(uint at)
{
	float sum = 0;
	for (uint i = thread; i < D / 4; i += WORKGROUP) {
		vec4 x = READ_ACT4(at / 4 + i);
		sum += (x.x + x.y) + (x.z + x.w);
	}
	float mean = workgroup_sum(sum) / float(D);
	sum = 0;
	for (uint i = thread; i < D / 4; i += WORKGROUP) {
		vec4 d = READ_ACT4(at / 4 + i) - mean;
		sum += dot(d, d);
	}
	return vec2(mean, 1 / sqrt(workgroup_sum(sum) / float(D) + NORM_EPSILON));
}
