/* Time-mix of every version in plain C, a function for each stage of the device.  See reference.c. */
#include "network/reference.h"

#include <math.h>
#include <string.h>

static float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

/* n = LN(x; ln1) */
static float *normed(const struct reference *ref, uint32_t index, float *act)
{
	const uint32_t C = ref->network->config.width;
	float *n = act + ACT_N1(C);
	reference_norm(act + ACT_X, reference_vector(ref, 1, index, VEC_LN1_W), reference_vector(ref, 2, index, VEC_LN1_B), C, n);
	return n;
}

enum { RECEPTANCE, KEY, VALUE, GATE, NONE }; /* parts of the products */

static void product(const struct reference *ref, uint32_t index, uint32_t part, const float *x, float *out)
{
	struct outline layer;
	outline_layer(ref->network, ref->quant, index, &layer);
	reference_part(ref, &layer.products, part, x, out);
}

/* out = M shift(n; mix); uses line 3, where the shifted vector stays. */
static void shifted_product(const struct reference *ref, uint32_t index, const float *state, const float *n, uint32_t mix,
                            uint32_t part, float *out)
{
	const uint32_t C = ref->network->config.width;
	float *mixed = reference_line(ref, 3);
	reference_shift(n, state + STATE_ATT_X, reference_vector(ref, 1, index, mix), C, mixed);
	if (part != NONE)
		product(ref, index, part, mixed, out);
}

static void lora_in(const struct reference *ref, const struct tensor *tensor, uint32_t rank, const float *x, float *out)
{
	const uint32_t C = ref->network->config.width;
	reference_matvec(ref, lora_source(tensor, 0, 1, rank, C, true), rank, C, x, out);
}

static void lora_out(const struct reference *ref, const struct tensor *tensor, uint32_t rank, const float *h, float *out)
{
	const uint32_t C = ref->network->config.width;
	reference_matvec(ref, lora_source(tensor, 0, 1, C, rank, false), C, rank, h, out);
}

/* ------------------------------------------------------------------------------------------------------ RWKV-4 */

void reference_att_wkv4(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const uint32_t C = ref->network->config.width;
	const float *n = normed(ref, index, act);
	float *r = reference_line(ref, 4), *k = reference_line(ref, 5), *v = reference_line(ref, 6);
	float *aa = state + STATE_AA(C), *bb = state + STATE_BB(C), *pp = state + STATE_PP(C);
	shifted_product(ref, index, state, n, VEC_MIX_R, RECEPTANCE, r);
	shifted_product(ref, index, state, n, VEC_MIX_K, KEY, k);
	shifted_product(ref, index, state, n, VEC_MIX_V, VALUE, v);
	const float *w = reference_vector(ref, 1, index, VEC_DECAY), *u = reference_vector(ref, 2, index, VEC_BONUS);
	for (uint32_t i = 0; i < C; i++) {
		double bonus = (double)u[i] + (double)k[i], q = fmax((double)pp[i], bonus);
		double e1 = exp((double)pp[i] - q), e2 = exp(bonus - q);
		double wkv = (e1 * (double)aa[i] + e2 * (double)v[i]) / (e1 * (double)bb[i] + e2);
		act[ACT_Y(C) + i] = (float)((double)sigmoid(r[i]) * wkv);
		double past = (double)pp[i] + (double)w[i];
		q = fmax(past, (double)k[i]);
		e1 = exp(past - q);
		e2 = exp((double)k[i] - q);
		aa[i] = (float)(e1 * (double)aa[i] + e2 * (double)v[i]);
		bb[i] = (float)(e1 * (double)bb[i] + e2);
		pp[i] = (float)q;
	}
}

/* ------------------------------------------------------------------------------------------------------ RWKV-5, 6 */

/* RWKV-6: hidden vectors of the mixing LoRA. */
void reference_mix_in(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const float *n = normed(ref, index, act);
	shifted_product(ref, index, state, n, VEC_MIX_X, NONE, NULL);
	memset(act + ACT_H(c->width, c->ffn), 0, HIDDEN_MIX(c->rank_mix) * sizeof *act);
	for (uint32_t q = 0; q < MIXES; q++) {
		float *h = act + ACT_H(c->width, c->ffn) + q * PAD(c->rank_mix, 8);
		reference_matvec(ref, lora_source(l->mix_w1, q, MIXES, c->rank_mix, c->width, true), c->rank_mix, c->width,
		                 reference_line(ref, 3), h);
		for (uint32_t i = 0; i < c->rank_mix; i++)
			h[i] = tanhf(h[i]);
	}
}

/* RWKV-6: the inputs of the products, in the order of ACT_MIXED. */
void reference_mix(const struct reference *ref, uint32_t index, float *state, float *act)
{
	static const uint32_t mixes[MIXES] = { VEC_MIX_W, VEC_MIX_K, VEC_MIX_V, VEC_MIX_R, VEC_MIX_G };
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	float *mix = reference_line(ref, 3);
	for (uint32_t q = 0; q < MIXES; q++) {
		const float *h = act + ACT_H(c->width, c->ffn) + q * PAD(c->rank_mix, 8);
		reference_matvec(ref, lora_source(l->mix_w2, q, MIXES, c->width, c->rank_mix, false), c->width, c->rank_mix, h, mix);
		const float *base = reference_vector(ref, 1, index, mixes[q]);
		for (uint32_t i = 0; i < c->width; i++)
			mix[i] += base[i];
		reference_shift(act + ACT_N1(c->width), state + STATE_ATT_X, mix, c->width, act + ACT_VECTOR(c->width, 10 + q));
	}
}

/* y = r (S + u k v^T), S <- diag(w) S + k v^T of one head, S [key][value] */
static void wkv5_head(uint32_t N, const float *r, const float *k, const float *v, const float *w, const float *u, float *S,
                      float *y)
{
	for (uint32_t j = 0; j < N; j++) {
		double sum = 0;
		for (uint32_t i = 0; i < N; i++) {
			double kv = (double)k[i] * (double)v[j], s = (double)S[i * N + j];
			sum += (double)r[i] * (s + (double)u[i] * kv);
			S[i * N + j] = (float)((double)w[i] * s + kv);
		}
		y[j] = (float)sum;
	}
}

void reference_wkv5(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const uint32_t C = c->width, N = c->head_size;
	float *w = reference_line(ref, 3), *u = reference_line(ref, 4), *y = act + ACT_Y(C);
	if (l->w2) { /* RWKV-6 */
		lora_out(ref, l->w2, c->rank_decay, act + ACT_H(C, c->ffn), w);
		const float *base = reference_vector(ref, 1, index, VEC_DECAY);
		for (uint32_t i = 0; i < C; i++)
			w[i] = expf(-expf(base[i] + w[i]));
	} else {
		layer_vector(ref->network, index, VEC_DECAY, w);
	}
	layer_vector(ref->network, index, VEC_BONUS, u);
	for (uint32_t head = 0, at = 0; head < c->heads; head++, at += N) {
		wkv5_head(N, act + ACT_R(C) + at, act + ACT_K(C) + at, act + ACT_V(C) + at, w + at, u + at,
		          state + STATE_S(C) + (size_t)at * N, y + at);
		reference_group_norm(ref, index, head, y + at);
	}
	for (uint32_t i = 0; l->gate && i < C; i++)
		y[i] *= act[ACT_G(C) + i] * sigmoid(act[ACT_G(C) + i]);
	memcpy(state + STATE_ATT_X, act + ACT_N1(C), C * sizeof *state);
}

/* ------------------------------------------------------------------------------------------------------ RWKV-5 to 7 */

/* The products, and the hidden vectors of RWKV-7's LoRAs. */
static void products(const struct reference *ref, uint32_t index, const float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const uint32_t C = c->width;
	const float *n = normed(ref, index, act);
	float *w = act + ACT_H(C, c->ffn), *a = w + PAD(c->rank_decay, 8), *g = a + PAD(c->rank_iclr, 8),
		  *v = g + PAD(c->rank_gate, 8);
	float *mixed = reference_line(ref, 3);
	shifted_product(ref, index, state, n, VEC_MIX_R, RECEPTANCE, act + ACT_R(C));
	shifted_product(ref, index, state, n, VEC_MIX_K, KEY, act + ACT_K(C));
	shifted_product(ref, index, state, n, VEC_MIX_V, VALUE, act + ACT_V(C));
	if (l->v1)
		lora_in(ref, l->v1, c->rank_value, mixed, v);
	if (l->gate)
		shifted_product(ref, index, state, n, VEC_MIX_G, GATE, act + ACT_G(C));
	if (c->version < 70)
		return;
	shifted_product(ref, index, state, n, VEC_MIX_W, NONE, NULL);
	lora_in(ref, l->w1, c->rank_decay, mixed, w);
	for (uint32_t i = 0; i < c->rank_decay; i++)
		w[i] = tanhf(w[i]);
	shifted_product(ref, index, state, n, VEC_MIX_A, NONE, NULL);
	lora_in(ref, l->a1, c->rank_iclr, mixed, a);
	shifted_product(ref, index, state, n, VEC_MIX_G, NONE, NULL);
	lora_in(ref, l->g1, c->rank_gate, mixed, g);
	for (uint32_t i = 0; i < c->rank_gate; i++)
		g[i] = sigmoid(g[i]);
}

/* RWKV-6: the same from the inputs that reference_mix() left. */
static void products_of_mixed(const struct reference *ref, uint32_t index, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const uint32_t C = c->width;
	const float *mixed[MIXES];
	float *h = act + ACT_H(C, c->ffn);
	for (uint32_t q = 0; q < MIXES; q++)
		mixed[q] = act + ACT_VECTOR(C, 10 + q);
	product(ref, index, KEY, mixed[1], act + ACT_K(C));
	product(ref, index, VALUE, mixed[2], act + ACT_V(C));
	product(ref, index, RECEPTANCE, mixed[3], act + ACT_R(C));
	product(ref, index, GATE, mixed[4], act + ACT_G(C));
	lora_in(ref, l->w1, c->rank_decay, mixed[0], h);
	for (uint32_t i = 0; i < c->rank_decay; i++)
		h[i] = tanhf(h[i]);
}

void reference_att_in(const struct reference *ref, uint32_t index, float *state, float *act)
{
	if (ref->network->config.version == 60)
		products_of_mixed(ref, index, act);
	else
		products(ref, index, state, act);
}

/* ------------------------------------------------------------------------------------------------------ RWKV-7 */

/* One head: lines 4 to 9 hold r, w, k, v, kk, A, g for all channels; S is [N,N], value by key. */
static void wkv7_head(const struct reference *ref, uint32_t index, uint32_t head, float *S, float *act)
{
	const struct config *c = &ref->network->config;
	const uint32_t N = c->head_size, base = head * N;
	const float *w = reference_line(ref, 4) + base, *k = reference_line(ref, 5) + base, *v = reference_line(ref, 6) + base,
				*kk = reference_line(ref, 7) + base;
	const float *iclr = reference_line(ref, 8) + base, *g = reference_line(ref, 9) + base, *r = act + ACT_R(c->width) + base;
	float *y = act + ACT_Y(c->width) + base;

	for (uint32_t i = 0; i < N; i++) {
		double held = 0, out = 0; /* the state's value for kk */
		for (uint32_t j = 0; j < N; j++)
			held += (double)S[i * N + j] * (double)kk[j];
		for (uint32_t j = 0; j < N; j++) {
			double s =
				(double)S[i * N + j] * (double)w[j] - held * (double)kk[j] * (double)iclr[j] + (double)v[i] * (double)k[j];
			S[i * N + j] = (float)s;
			out += s * (double)r[j];
		}
		y[i] = (float)out;
	}

	const float *r_k = reference_vector(ref, 3, index, VEC_R_K) + base;
	double bonus = 0;
	for (uint32_t i = 0; i < N; i++)
		bonus += (double)r[i] * (double)k[i] * (double)r_k[i];
	reference_group_norm(ref, index, head, y);
	for (uint32_t i = 0; i < N; i++)
		y[i] = (float)(((double)y[i] + bonus * (double)v[i]) * (double)g[i]);
}

void reference_wkv7(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const uint32_t width = c->width, N = c->head_size;
	const float *hw = act + ACT_H(width, c->ffn), *ha = hw + PAD(c->rank_decay, 8), *hg = ha + PAD(c->rank_iclr, 8),
				*hv = hg + PAD(c->rank_gate, 8);
	float *w = reference_line(ref, 4), *k = reference_line(ref, 5), *v = reference_line(ref, 6), *kk = reference_line(ref, 7),
		  *iclr = reference_line(ref, 8), *g = reference_line(ref, 9);
	const float *bias;

	lora_out(ref, l->w2, c->rank_decay, hw, w);
	bias = reference_vector(ref, 1, index, VEC_DECAY);
	for (uint32_t i = 0; i < width; i++)
		w[i] = expf(-0.60653066f * sigmoid(bias[i] + w[i]));
	lora_out(ref, l->a2, c->rank_iclr, ha, iclr);
	bias = reference_vector(ref, 1, index, VEC_A0);
	for (uint32_t i = 0; i < width; i++)
		iclr[i] = sigmoid(bias[i] + iclr[i]);
	lora_out(ref, l->g2, c->rank_gate, hg, g);

	memcpy(v, act + ACT_V(width), width * sizeof *v);
	if (index == 0) {
		memcpy(act + ACT_VFIRST(width), v, width * sizeof *v);
	} else {
		float *mix = reference_line(ref, 10);
		lora_out(ref, l->v2, c->rank_value, hv, mix);
		bias = reference_vector(ref, 1, index, VEC_V0);
		for (uint32_t i = 0; i < width; i++)
			v[i] += (act[ACT_VFIRST(width) + i] - v[i]) * sigmoid(bias[i] + mix[i]);
	}

	const float *k_k = reference_vector(ref, 1, index, VEC_K_K), *k_a = reference_vector(ref, 2, index, VEC_K_A),
				*raw = act + ACT_K(width);
	for (uint32_t head = 0; head < c->heads; head++) {
		double square = 0;
		for (uint32_t i = head * N; i < (head + 1) * N; i++)
			square += (double)raw[i] * (double)k_k[i] * (double)raw[i] * (double)k_k[i];
		double length = fmax(sqrt(square), 1e-12);
		for (uint32_t i = head * N; i < (head + 1) * N; i++) {
			kk[i] = (float)((double)raw[i] * (double)k_k[i] / length);
			k[i] = raw[i] * (1 + (iclr[i] - 1) * k_a[i]);
		}
	}
	for (uint32_t head = 0; head < c->heads; head++)
		wkv7_head(ref, index, head, state + STATE_S(width) + (size_t)head * N * N, act);
	memcpy(state + STATE_ATT_X, act + ACT_N1(width), width * sizeof *state);
}
