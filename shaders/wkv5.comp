// RWKV-5 and 6: everything between the projections and att.output, one workgroup a head.
//
//   w = exp(-exp(time_decay)), made at load (5);   w = exp(-exp(time_decay + time_decay_w2 h))  (6, FLAG_DECAY_LORA)
//   y_j = sum_i r_i (S_ij + u_i k_i v_j)          S_ij <- w_i S_ij + k_i v_j          i a key channel, j a value channel
//   y = GroupNorm(y; ln_x),   times silu(g)  (FLAG_GATE)
//
// S [key][value] is read and written once.  A thread has four value channels and every ROWS-th key channel; the threads that
// share value channels add up through shared memory, in order.  Reads ACT_R, ACT_K, ACT_V, ACT_G, ACT_H; writes ACT_Y, the
// state.  Recorded by plan_wkv5() in src/engine/rwkv5.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/lora_out.glsl"
#include "common/group_norm.glsl"

const uint COLUMNS = N / 4, STRIDE = WORKGROUP / COLUMNS; // threads that share four value channels
shared float s_r[N], s_w[N], s_k[N], s_v[N];
shared vec4 s_sums[WORKGROUP];

float decay(uint head, uint n)
{
	float w = vector(VEC_DECAY, head * N + n);
	if (!flag(FLAG_DECAY_LORA))
		return w;
	uint words = lora_words(RANK_DECAY);
	return exp(-exp(w + lora_row(head * words, words, n, ACT_H(D, F))));
}

void main()
{
	if (done())
		return;
	uint head = gl_WorkGroupID.x, base = head * N, slot = state_slot();
	float bonus = 0; // sum r u k
	for (uint n = thread; n < N; n += WORKGROUP) {
		uint c = base + n;
		float r = READ_ACT(ACT_R(D) + c), k = READ_ACT(ACT_K(D) + c);
		s_r[n] = r;
		s_k[n] = k;
		s_v[n] = READ_ACT(ACT_V(D) + c);
		s_w[n] = decay(head, n);
		bonus += r * k * vector(VEC_BONUS, c);
		state[slot + STATE_ATT_X + c] = READ_ACT(ACT_N1(D) + c);
	}
	bonus = workgroup_sum(bonus);

	uint j = thread % COLUMNS, share = thread / COLUMNS;
	vec4 sum = vec4(0);
	if (share < STRIDE) {
		vec4 v = vec4(s_v[4 * j], s_v[4 * j + 1], s_v[4 * j + 2], s_v[4 * j + 3]);
		uint at = (slot + STATE_S(D) + base * N) / 4 + j;
		for (uint i = share; i < N; i += STRIDE) {
			vec4 S = READ_STATE4(at + i * COLUMNS);
			sum += s_r[i] * S;
			state4[at + i * COLUMNS] = s_w[i] * S + s_k[i] * v;
		}
	}
	s_sums[thread] = sum;
	barrier();
	for (uint n = thread; n < N; n += WORKGROUP) {
		float y = bonus * s_v[n];
		for (uint i = 0; i < STRIDE; i++)
			y += s_sums[i * COLUMNS + n / 4][n % 4];
		s_y[n] = y;
	}
	barrier();

	group_statistics();
	for (uint n = thread; n < N; n += WORKGROUP) {
		float y = group_normed(n, base + n), g = READ_ACT(ACT_G(D) + base + n);
		result[ACT_Y(D) + base + n] = flag(FLAG_GATE) ? y * g * sigmoid(g) : y;
	}
}
