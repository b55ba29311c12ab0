/* RWKV-7 in plain C, a function for each stage of the device, on the file's own tensors.  Clear before fast: this is what
 * the shaders are held against.  Formulas and names: docs/model.md.
 *
 * Vectors in progress live in the lines of reference.work: 0 to 2 are used by the helpers, a stage's own start at 3. */
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

/* Line i of the workspace. */
static float *line(const struct reference *ref, unsigned i)
{
	return ref->work + (size_t)i * ref->stride;
}

/* A vector of the file, [n], in line i; zeros when the file has none. */
static const float *vector(const struct reference *ref, unsigned i, const struct tensor *tensor, uint32_t n)
{
	float *out = line(ref, i);
	if (tensor)
		dtype_to_float(tensor->type, tensor->data, 0, n, out);
	else
		memset(out, 0, n * sizeof *out);
	return out;
}

/* out[i] = sum_j M[i,j] x[j]; uses line 0. */
static void matvec(const struct reference *ref, struct matrix_source source, uint32_t rows, uint32_t columns, const float *x,
                   float *out)
{
	float *row = line(ref, 0);
	for (uint32_t i = 0; i < rows; i++) {
		source_row(&source, i, columns, row);
		double sum = 0;
		for (uint32_t j = 0; j < columns; j++)
			sum += (double)row[j] * (double)x[j];
		out[i] = (float)sum;
	}
}

static void large(const struct reference *ref, const struct tensor *tensor, uint32_t rows, uint32_t columns, const float *x,
                  float *out)
{
	matvec(ref, (struct matrix_source){ tensor, false, matrix_type(tensor, ref->quant) }, rows, columns, x, out);
}

static void lora(const struct reference *ref, const struct tensor *tensor, uint32_t rows, uint32_t columns, const float *x,
                 float *out)
{
	matvec(ref, lora_source(tensor, rows, columns), rows, columns, x, out);
}

/* LN(x) over n channels into out, weight and bias [n]; uses lines 1 and 2. */
static void norm(const struct reference *ref, const float *x, const struct tensor *weight, const struct tensor *bias,
                 uint32_t n, float *out)
{
	const float *w = vector(ref, 1, weight, n), *b = vector(ref, 2, bias, n);
	double mean = 0, variance = 0;
	for (uint32_t i = 0; i < n; i++)
		mean += (double)x[i];
	mean /= n;
	for (uint32_t i = 0; i < n; i++)
		variance += ((double)x[i] - mean) * ((double)x[i] - mean);
	double scale = 1 / sqrt(variance / n + 1e-5);
	for (uint32_t i = 0; i < n; i++)
		out[i] = (float)(((double)x[i] - mean) * scale * (double)w[i] + (double)b[i]);
}

/* Token shift: out = n + (before - n) mix; uses line 1. */
static void shift(const struct reference *ref, const float *n, const float *before, const struct tensor *mix, uint32_t c,
                  float *out)
{
	const float *m = vector(ref, 1, mix, c);
	for (uint32_t i = 0; i < c; i++)
		out[i] = n[i] + (before[i] - n[i]) * m[i];
}

void reference_select(const struct reference *ref, uint32_t token, float *act)
{
	const struct network *net = ref->network;
	const struct config *c = &net->config;
	float *x = act + ACT_X;
	struct matrix_source emb = { net->emb, false, matrix_type(net->emb, ref->quant) };
	source_row(&emb, token, c->width, x);
	if (c->embedding_norm)
		norm(ref, x, net->ln0_w, net->ln0_b, c->width, x);
}

void reference_att_in(const struct reference *ref, uint32_t index, const float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const uint32_t width = c->width;
	const float *before = state + STATE_ATT_X;
	float *n = act + ACT_N1(width), *mixed = line(ref, 3);
	float *w = act + ACT_H(width), *a = w + PAD(c->rank_decay, 8), *g = a + PAD(c->rank_iclr, 8), *v = g + PAD(c->rank_gate, 8);

	norm(ref, act + ACT_X, l->ln1_w, l->ln1_b, width, n);
	shift(ref, n, before, l->x_r, width, mixed);
	large(ref, l->receptance, width, width, mixed, act + ACT_R(width));
	shift(ref, n, before, l->x_k, width, mixed);
	large(ref, l->key, width, width, mixed, act + ACT_K(width));
	shift(ref, n, before, l->x_v, width, mixed);
	large(ref, l->value, width, width, mixed, act + ACT_V(width));
	if (index > 0)
		lora(ref, l->v1, c->rank_value, width, mixed, v);

	shift(ref, n, before, l->x_w, width, mixed);
	lora(ref, l->w1, c->rank_decay, width, mixed, w);
	for (uint32_t i = 0; i < c->rank_decay; i++)
		w[i] = tanhf(w[i]);
	shift(ref, n, before, l->x_a, width, mixed);
	lora(ref, l->a1, c->rank_iclr, width, mixed, a);
	shift(ref, n, before, l->x_g, width, mixed);
	lora(ref, l->g1, c->rank_gate, width, mixed, g);
	for (uint32_t i = 0; i < c->rank_gate; i++)
		g[i] = sigmoid(g[i]);
}

/* One head: lines 4 to 10 hold r, w, k, v, kk, A, g for all channels; S is [N,N], value by key. */
static void wkv_head(const struct reference *ref, const struct layer *l, uint32_t head, float *S, float *act)
{
	const struct config *c = &ref->network->config;
	const uint32_t N = c->head_size, base = head * N;
	const float *w = line(ref, 4) + base, *k = line(ref, 5) + base, *v = line(ref, 6) + base, *kk = line(ref, 7) + base;
	const float *iclr = line(ref, 8) + base, *g = line(ref, 9) + base, *r = act + ACT_R(c->width) + base;
	float *y = act + ACT_Y(c->width) + base;

	for (uint32_t i = 0; i < N; i++) {
		double held = 0, out = 0; /* what the state holds for kk */
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

	const float *ln_w = vector(ref, 1, l->ln_x_w, c->width) + base, *ln_b = vector(ref, 2, l->ln_x_b, c->width) + base;
	const float *r_k = vector(ref, 3, l->r_k, c->width) + base;
	double mean = 0, variance = 0, bonus = 0;
	for (uint32_t i = 0; i < N; i++) {
		mean += (double)y[i] / N;
		bonus += (double)r[i] * (double)k[i] * (double)r_k[i];
	}
	for (uint32_t i = 0; i < N; i++)
		variance += ((double)y[i] - mean) * ((double)y[i] - mean) / N;
	for (uint32_t i = 0; i < N; i++) {
		double normed = ((double)y[i] - mean) / sqrt(variance + 64e-5) * (double)ln_w[i] + (double)ln_b[i];
		y[i] = (float)((normed + bonus * (double)v[i]) * (double)g[i]);
	}
}

void reference_wkv(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	const uint32_t width = c->width, N = c->head_size;
	const float *hw = act + ACT_H(width), *ha = hw + PAD(c->rank_decay, 8), *hg = ha + PAD(c->rank_iclr, 8),
				*hv = hg + PAD(c->rank_gate, 8);
	float *w = line(ref, 4), *k = line(ref, 5), *v = line(ref, 6), *kk = line(ref, 7), *iclr = line(ref, 8), *g = line(ref, 9);
	const float *bias;

	lora(ref, l->w2, width, c->rank_decay, hw, w);
	bias = vector(ref, 1, l->w0, width);
	for (uint32_t i = 0; i < width; i++)
		w[i] = expf(-0.60653066f * sigmoid(bias[i] + w[i]));
	lora(ref, l->a2, width, c->rank_iclr, ha, iclr);
	bias = vector(ref, 1, l->a0, width);
	for (uint32_t i = 0; i < width; i++)
		iclr[i] = sigmoid(bias[i] + iclr[i]);
	lora(ref, l->g2, width, c->rank_gate, hg, g);

	memcpy(v, act + ACT_V(width), width * sizeof *v);
	if (index == 0) {
		memcpy(act + ACT_VFIRST(width), v, width * sizeof *v);
	} else {
		float *mix = line(ref, 10);
		lora(ref, l->v2, width, c->rank_value, hv, mix);
		bias = vector(ref, 1, l->v0, width);
		for (uint32_t i = 0; i < width; i++)
			v[i] += (act[ACT_VFIRST(width) + i] - v[i]) * sigmoid(bias[i] + mix[i]);
	}

	const float *k_k = vector(ref, 1, l->k_k, width), *k_a = vector(ref, 2, l->k_a, width), *raw = act + ACT_K(width);
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
		wkv_head(ref, l, head, state + STATE_S(width) + (size_t)head * N * N, act);
	memcpy(state + STATE_ATT_X, act + ACT_N1(width), width * sizeof *state);
}

void reference_att_out(const struct reference *ref, uint32_t index, float *act)
{
	const uint32_t width = ref->network->config.width;
	const struct layer *l = &ref->network->layers[index];
	float *out = line(ref, 3);
	large(ref, l->output, width, width, act + ACT_Y(width), out);
	const float *bias = vector(ref, 1, l->output_b, width);
	for (uint32_t i = 0; i < width; i++)
		act[ACT_X + i] += out[i] + bias[i];
}

void reference_ffn_in(const struct reference *ref, uint32_t index, const float *state, float *act)
{
	const struct config *c = &ref->network->config;
	const struct layer *l = &ref->network->layers[index];
	float *n = act + ACT_N2(c->width), *mixed = line(ref, 3), *f = act + ACT_F(c->width, config_hidden(c));
	norm(ref, act + ACT_X, l->ln2_w, l->ln2_b, c->width, n);
	shift(ref, n, state + STATE_FFN_X(c->width), l->x_k_ffn, c->width, mixed);
	large(ref, l->ffn_key, c->ffn, c->width, mixed, f);
	for (uint32_t i = 0; i < c->ffn; i++)
		f[i] = f[i] > 0 ? f[i] * f[i] : 0;
}

void reference_ffn_out(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	float *out = line(ref, 3);
	large(ref, ref->network->layers[index].ffn_value, c->width, c->ffn, act + ACT_F(c->width, config_hidden(c)), out);
	for (uint32_t i = 0; i < c->width; i++)
		act[ACT_X + i] += out[i];
	memcpy(state + STATE_FFN_X(c->width), act + ACT_N2(c->width), c->width * sizeof *state);
}

void reference_head(const struct reference *ref, const float *act, float *logits)
{
	const struct network *net = ref->network;
	float *n = line(ref, 3);
	norm(ref, act + ACT_X, net->ln_out_w, net->ln_out_b, net->config.width, n);
	large(ref, net->head, net->config.vocab, net->config.width, n, logits);
	if (net->head_b) {
		const float *bias = vector(ref, 1, net->head_b, net->config.vocab);
		for (uint32_t i = 0; i < net->config.vocab; i++)
			logits[i] += bias[i];
	}
}

void reference_token(const struct reference *ref, uint32_t token, float *states, float *act, float *logits)
{
	const struct config *c = &ref->network->config;
	reference_select(ref, token, act);
	for (uint32_t i = 0; i < c->layers; i++) {
		float *state = states + (size_t)i * STATE_STRIDE(c->width, c->head_size);
		reference_att_in(ref, i, state, act);
		reference_wkv(ref, i, state, act);
		reference_att_out(ref, i, act);
		reference_ffn_in(ref, i, state, act);
		reference_ffn_out(ref, i, state, act);
	}
	if (logits)
		reference_head(ref, act, logits);
}

rwkvk_status reference_init(struct reference *ref, const struct network *network, rwkvk_quant quant)
{
	const struct config *c = &network->config;
	uint32_t longest = c->ffn > c->vocab ? c->ffn : c->vocab;
	longest = longest > c->width ? longest : c->width;
	*ref = (struct reference){ .network = network, .quant = quant, .stride = longest };
	ref->work = calloc((size_t)REFERENCE_LINES * longest, sizeof *ref->work);
	return ref->work ? RWKVK_OK
	                 : fail(RWKVK_ERROR_MEMORY, "out of memory: the reference needs %zu bytes",
	                        (size_t)REFERENCE_LINES * longest * sizeof *ref->work);
}

void reference_finish(struct reference *ref)
{
	free(ref->work);
	*ref = (struct reference){ 0 };
}
