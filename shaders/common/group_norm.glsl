// GroupNorm of a head: s_y [N] lies in shared memory, written before a barrier.
shared float s_y[N];
float group_mean, group_scale;

void group_statistics()
{
	float sum = 0;
	for (uint n = thread; n < N; n += WORKGROUP)
		sum += s_y[n];
	group_mean = workgroup_sum(sum) / float(N);
	sum = 0;
	for (uint n = thread; n < N; n += WORKGROUP)
		sum += (s_y[n] - group_mean) * (s_y[n] - group_mean);
	group_scale = 1 / sqrt(workgroup_sum(sum) / float(N) + uintBitsToFloat(GROUP_EPSILON_BITS));
}

// Channel n of head c / N.
float group_normed(uint n, uint c)
{
	return (s_y[n] - group_mean) * group_scale * vector(VEC_LNX_W, c) + vector(VEC_LNX_B, c);
}
