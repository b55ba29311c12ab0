// RWKV-7: everything between the projections and att.output, one workgroup a head.
//
//   w = exp(-e^(-1/2) sigmoid(w0 + w2 h_w))    A = sigmoid(a0 + a2 h_a)    g = g2 h_g
//   v = v + (vfirst - v) sigmoid(v0 + v2 h_v)                              (layer 0: vfirst = v)
//   kk = k k_k / max(|k k_k|, 1e-12) over the head,   k = k (1 + (A - 1) k_a)
//   S <- S diag(w) - (S kk) (kk A)^T + v k^T,   y = S r
//   y = GroupNorm(y; ln_x, 64e-5) + (sum r k r_k) v,   times g
//
// S is read and written once: with u = S kk (old S) the output is S (w r) - u ((kk A).r) + v (k.r), so both products of a row
// come from one pass over it.  Reads ACT_R, ACT_K, ACT_V, ACT_H, ACT_VFIRST; writes ACT_Y, the state, in layer 0 ACT_VFIRST.
// Recorded by plan_wkv7() in src/engine/rwkv7.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/lora_out.glsl"
#include "common/group_norm.glsl"

const float DECAY_SCALE = 0.60653066; // e^(-1/2)
const uint VECS = N / (4 * STATE_LANES); // vec4s of a state row that one thread holds
const uint LORAS = 4;                    // decay, iclr, gate, value: the order of ACT_H

shared float s_lora[LORAS * N];
const uint KK = 0, WR = 1, W = 2, B = 3, K = 4, KINDS = 5; // w r, kk A, ...
shared float s_keys[KINDS * N];                            // of the head's key channels
shared float s_v[N];

uint rank(uint i)
{
	return i == 0 ? RANK_DECAY : i == 1 ? RANK_ICLR : i == 2 ? RANK_GATE : layer == 0 ? 0 : RANK_VALUE;
}

// Row `channel` of factor i of this head times its hidden vector.
float factor_row(uint head, uint i, uint channel)
{
	uint before = 0, all = 0, hidden = 0;
	for (uint j = 0; j < LORAS; j++) {
		if (j < i) {
			before += lora_words(rank(j));
			hidden += PAD(rank(j), 8);
		}
		all += lora_words(rank(j));
	}
	return lora_row(head * all + before, lora_words(rank(i)), channel, ACT_H(D, F) + hidden);
}

// Sums over the STATE_LANES threads that share a state row; without subgroups there is only one.
vec2 row_reduce(vec2 v)
{
#if SUBGROUPS
	for (uint distance = STATE_LANES / 2; distance > 0; distance /= 2)
		v += subgroupShuffleXor(v, distance);
#endif
	return v;
}

vec4 keys_at(uint i)
{
	return vec4(s_keys[i], s_keys[i + 1], s_keys[i + 2], s_keys[i + 3]);
}

// The state's keys of this thread.  Row i is a value channel; STATE_LANES threads hold its key channels, vec4 by vec4 in turn.
uint lane = thread % STATE_LANES;
#if TEXELS // shared memory is slow there, and these are the same for all rows
vec4 keys[KINDS][VECS];
#define KEYS(kind, j) keys[kind][j]
#else
#define KEYS(kind, j) keys_at(kind * N + (lane + (j) * STATE_LANES) * 4)
#endif

// Row i of the state, which begins at float `at`: its step, and its output.
void step_row(uint i, uint at, vec4 dots)
{
	vec4 row[VECS];
	vec2 sums = vec2(0); // u = S kk, S (w r)
	at = at / 4 + lane;
	[[unroll]] for (uint j = 0; j < VECS; j++) {
		row[j] = READ_STATE4(at + j * STATE_LANES);
		sums += vec2(dot(row[j], KEYS(KK, j)), dot(row[j], KEYS(WR, j)));
	}
	sums = row_reduce(sums);
	float v = s_v[i];
	[[unroll]] for (uint j = 0; j < VECS; j++)
		state4[at + j * STATE_LANES] = row[j] * KEYS(W, j) - sums.x * KEYS(B, j) + v * KEYS(K, j);
	if (lane == 0)
		s_y[i] = sums.y - sums.x * dots.x + v * dots.y;
}

void main()
{
	if (done())
		return;
	uint head = gl_WorkGroupID.x, base = head * N, slot = state_slot();
	bool first = layer == 0;

	for (uint i = thread; i < LORAS * N; i += WORKGROUP)
		s_lora[i] = rank(i / N) > 0 ? factor_row(head, i / N, i % N) : 0;
	barrier();

	// Per channel.  N may exceed the workgroup, so what later sums need is kept in shared memory.
	float square = 0;
	for (uint n = thread; n < N; n += WORKGROUP) {
		uint c = base + n;
		float k = READ_ACT(ACT_K(D) + c), v = READ_ACT(ACT_V(D) + c);
		float iclr = sigmoid(vector(VEC_A0, c) + s_lora[N + n]);
		float kk = k * vector(VEC_K_K, c);
		square += kk * kk;
		if (first) {
			result[ACT_VFIRST(D) + c] = v;
		} else {
			float mix = sigmoid(vector(VEC_V0, c) + s_lora[3 * N + n]);
			v += (READ_ACT(ACT_VFIRST(D) + c) - v) * mix;
		}
		float w = exp(-DECAY_SCALE * sigmoid(vector(VEC_DECAY, c) + s_lora[n]));
		s_keys[W * N + n] = w;
		s_keys[WR * N + n] = w * READ_ACT(ACT_R(D) + c);
		s_keys[K * N + n] = k * (1 + (iclr - 1) * vector(VEC_K_A, c));
		s_v[n] = v;
		s_keys[KK * N + n] = kk;
		s_keys[B * N + n] = iclr;
		state[slot + STATE_ATT_X + c] = READ_ACT(ACT_N1(D) + c);
	}
	float inverse = 1 / max(sqrt(workgroup_sum(square)), 1e-12);
	vec4 dots = vec4(0); // b.r, k.r, sum r k r_k
	for (uint n = thread; n < N; n += WORKGROUP) {
		float kk = s_keys[KK * N + n] * inverse, b = kk * s_keys[B * N + n], k = s_keys[K * N + n], r = READ_ACT(ACT_R(D) + base + n);
		s_keys[KK * N + n] = kk;
		s_keys[B * N + n] = b;
		dots += vec4(b * r, k * r, r * k * vector(VEC_R_K, base + n), 0);
	}
	dots = workgroup_sum(dots);

#if TEXELS
	for (uint i = thread; i < KINDS * N / 4; i += WORKGROUP)
		STAGE(i, keys_at(4 * i));
	STAGE_BARRIER();
	[[unroll]] for (uint kind = 0; kind < KINDS; kind++)
		[[unroll]] for (uint j = 0; j < VECS; j++)
			keys[kind][j] = STAGED(kind * N / 4 + lane + j * STATE_LANES);
#endif
	uint at = slot + STATE_S(D) + base * N;
	if (VECS < 3)
		for (uint i = thread / STATE_LANES; i < N; i += WORKGROUP / STATE_LANES)
			step_row(i, at + i * N, dots);
	else // a row is as much as registers hold
		[[dont_unroll]] for (uint i = thread / STATE_LANES; i < N; i += WORKGROUP / STATE_LANES)
			step_row(i, at + i * N, dots);
	barrier();

	group_statistics();
	for (uint n = thread; n < N; n += WORKGROUP)
		result[ACT_Y(D) + base + n] = (group_normed(n, base + n) + dots.z * s_v[n]) * s_lora[2 * N + n];
}
