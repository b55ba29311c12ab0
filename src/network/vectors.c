/* The small tensors of a layer as the stages use them.  Versions differ in what they store (a mixing weight or one minus it, a
 * decay or its logarithm, a number per head or per channel); this file hides all of that. */
#include "network/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct tensor *tensor_of(const struct layer *l, uint32_t vec)
{
	const struct tensor *const all[VEC_COUNT] = {
		[VEC_LN1_W] = l->ln1_w,
		[VEC_LN1_B] = l->ln1_b,
		[VEC_MIX_R] = l->mix_r,
		[VEC_MIX_W] = l->mix_w,
		[VEC_MIX_K] = l->mix_k,
		[VEC_MIX_V] = l->mix_v,
		[VEC_MIX_A] = l->mix_a,
		[VEC_MIX_G] = l->mix_g,
		[VEC_MIX_X] = l->mix_x,
		[VEC_DECAY] = l->decay,
		[VEC_BONUS] = l->bonus,
		[VEC_A0] = l->a0,
		[VEC_V0] = l->v0,
		[VEC_K_K] = l->k_k,
		[VEC_K_A] = l->k_a,
		[VEC_R_K] = l->r_k,
		[VEC_LNX_W] = l->ln_x_w,
		[VEC_LNX_B] = l->ln_x_b,
		[VEC_OUT_B] = l->output_b,
		[VEC_LN2_W] = l->ln2_w,
		[VEC_LN2_B] = l->ln2_b,
		[VEC_MIX_FFN] = l->ffn_mix_k,
		[VEC_MIX_FFN_R] = l->ffn_mix_r,
	};
	return all[vec];
}

static bool is_named(const struct tensor *tensor, const char *ending)
{
	size_t n = strlen(tensor->name), m = strlen(ending);
	return n >= m && strcmp(tensor->name + n - m, ending) == 0;
}

/* RWKV-4 and 5 store the weight of this token, the others that of the token before. */
static void mix_of_before(float *m, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		m[i] = 1 - m[i];
}

/* time_decay is the trained parameter; RWKV-4 and 5 derive each token's decay from it. */
static void decay_of(const struct config *c, const struct tensor *tensor, float *w)
{
	if (c->version >= 60 || !is_named(tensor, ".time_decay"))
		return;
	for (uint32_t i = 0; i < c->width; i++)
		w[i] = c->version == 40 ? -expf(w[i]) : expf(-expf(w[i]));
}

static void bonus_of(const struct config *c, const struct tensor *tensor, float *u)
{
	if (c->version == 40 || !is_named(tensor, ".time_first"))
		return;
	for (uint32_t i = 0; i < c->width; i++)
		u[i] = expf(u[i]);
}

/* Spreads one number per head to its channels, from the last back so that none is overwritten before it is read. */
static void spread_heads(const struct config *c, float *v)
{
	for (uint32_t i = c->width; i-- > 0;)
		v[i] = v[i / c->head_size];
}

void layer_vector(const struct network *net, uint32_t layer, uint32_t vec, float *out)
{
	const struct config *c = &net->config;
	const struct tensor *tensor = tensor_of(&net->layers[layer], vec);
	if (!tensor) {
		memset(out, 0, c->width * sizeof *out);
		return;
	}
	uint64_t count = tensor_elements(tensor);
	dtype_to_float(tensor->type, tensor->data, 0, count, out); /* C of them, or H: config.c checked */
	if (count != c->width)
		spread_heads(c, out);
	bool is_mix = (vec >= VEC_MIX_R && vec <= VEC_MIX_X) || vec == VEC_MIX_FFN || vec == VEC_MIX_FFN_R;
	if (is_mix && c->version < 60)
		mix_of_before(out, c->width);
	if (vec == VEC_DECAY)
		decay_of(c, tensor, out);
	if (vec == VEC_BONUS)
		bonus_of(c, tensor, out);
}
