/* The stages of every version in plain C on the file's own tensors.  Clarity comes before speed, because the shaders are
 * checked against this.  This file has the stages that versions share; time-mix is in reference_att.c.  Formulas and names:
 * docs/model.md.
 *
 * Intermediate vectors live in the lines of reference.work: the helpers use 0 to 2, a stage's own start at 3. */
#include "network/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/merge.h"

float *reference_line(const struct reference *ref, unsigned i)
{
	return ref->work + (size_t)i * ref->stride;
}

const float *reference_vector(const struct reference *ref, unsigned i, uint32_t layer, uint32_t vec)
{
	float *out = reference_line(ref, i);
	layer_vector(ref->network, layer, vec, out);
	return out;
}

/* out[i] = sum_j M[i,j] x[j] */
void reference_matvec(const struct reference *ref, struct matrix_source source, uint32_t rows, uint32_t columns, const float *x,
                      float *out)
{
	float *row = reference_line(ref, 0);
	for (uint32_t i = 0; i < rows; i++) {
		source_row(&source, i, columns, row);
		double sum = 0;
		for (uint32_t j = 0; j < columns; j++)
			sum += (double)row[j] * (double)x[j];
		out[i] = (float)sum;
	}
}

/* For a merge, eight lanes at a time. */
uint64_t reference_effort(const struct tensor *tensor)
{
	return 1 + merge_effort(tensor->merge) / 8;
}

void reference_part(const struct reference *ref, const struct matrix *matrix, uint32_t part, const float *x, float *out)
{
	reference_matvec(ref, matrix->parts[part].source, matrix->parts[part].rows, matrix->columns, x, out);
}

void reference_norm(const float *x, const float *w, const float *b, uint32_t n, float *out)
{
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

void reference_shift(const float *n, const float *before, const float *mix, uint32_t count, float *out)
{
	for (uint32_t i = 0; i < count; i++)
		out[i] = n[i] + (before[i] - n[i]) * mix[i];
}

void reference_group_norm(const struct reference *ref, uint32_t layer, uint32_t head, float *y)
{
	const struct config *c = &ref->network->config;
	const uint32_t N = c->head_size;
	const float *w = reference_vector(ref, 1, layer, VEC_LNX_W) + head * N;
	const float *b = reference_vector(ref, 2, layer, VEC_LNX_B) + head * N;
	double mean = 0, variance = 0;
	for (uint32_t i = 0; i < N; i++)
		mean += (double)y[i] / N;
	for (uint32_t i = 0; i < N; i++)
		variance += ((double)y[i] - mean) * ((double)y[i] - mean) / N;
	double scale = 1 / sqrt(variance + (double)c->group_norm_epsilon);
	for (uint32_t i = 0; i < N; i++)
		y[i] = (float)(((double)y[i] - mean) * scale * (double)w[i] + (double)b[i]);
}

/* A vector of the file that belongs to no layer, [n], in line i. */
static const float *top_vector(const struct reference *ref, unsigned i, const struct tensor *tensor, uint32_t n)
{
	float *out = reference_line(ref, i);
	dtype_to_float(tensor->type, tensor->data, 0, n, out);
	return out;
}

void reference_select(const struct reference *ref, uint32_t token, float *act)
{
	const struct network *net = ref->network;
	const uint32_t width = net->config.width;
	float *x = act + ACT_X;
	struct matrix emb;
	outline_table(net, net->emb, ref->quant, &emb);
	source_row(&emb.parts[0].source, token, width, x);
	if (net->config.embedding_norm)
		reference_norm(x, top_vector(ref, 1, net->ln0_w, width), top_vector(ref, 2, net->ln0_b, width), width, x);
}

void reference_att_out(const struct reference *ref, uint32_t index, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	float *out = reference_line(ref, 3);
	struct outline layer;
	outline_layer(ref->network, ref->quant, index, &layer);
	reference_part(ref, &layer.output, 0, act + ACT_Y(c->width), out);
	const float *bias = reference_vector(ref, 1, index, VEC_OUT_B);
	for (uint32_t i = 0; i < c->width; i++)
		act[ACT_X + i] += (out[i] + bias[i]) * config_residual(c, index);
	if (c->version == 40)
		memcpy(state + STATE_ATT_X, act + ACT_N1(c->width), c->width * sizeof *state);
}

/* ------------------------------------------------------------------------------------------------------ channel-mix */

/* The same stage for ffn and, with other vectors, for ffnPre in place of time-mix. */
struct channel_mix {
	uint32_t norm_w, norm_b, mix_k, mix_r; /* VEC_* */
	uint32_t normed, shift;                /* where LN(x) goes, and where the state has the one before */
	struct outline_ffn matrices;
};

static struct channel_mix channel_mix(const struct reference *ref, uint32_t index, bool pre)
{
	const uint32_t C = ref->network->config.width;
	struct outline layer;
	outline_layer(ref->network, ref->quant, index, &layer);
	if (pre)
		return (struct channel_mix){ VEC_LN1_W, VEC_LN1_B, VEC_MIX_K, VEC_MIX_R, ACT_N1(C), STATE_ATT_X, layer.pre };
	return (struct channel_mix){ VEC_LN2_W, VEC_LN2_B, VEC_MIX_FFN, VEC_MIX_FFN_R, ACT_N2(C), STATE_FFN_X(C), layer.ffn };
}

static void channel_mix_in(const struct reference *ref, uint32_t index, bool pre, const float *state, float *act)
{
	const struct config *c = &ref->network->config;
	struct channel_mix m = channel_mix(ref, index, pre);
	float *n = act + m.normed, *mixed = reference_line(ref, 3), *f = act + ACT_F(c->width);
	reference_norm(act + ACT_X, reference_vector(ref, 1, index, m.norm_w), reference_vector(ref, 2, index, m.norm_b), c->width,
	               n);
	reference_shift(n, state + m.shift, reference_vector(ref, 1, index, m.mix_k), c->width, mixed);
	reference_part(ref, &m.matrices.key, 0, mixed, f);
	for (uint32_t i = 0; i < c->ffn; i++)
		f[i] = f[i] > 0 ? f[i] * f[i] : 0;
	if (m.matrices.receptance.part_count) {
		reference_shift(n, state + m.shift, reference_vector(ref, 1, index, m.mix_r), c->width, mixed);
		reference_part(ref, &m.matrices.receptance, 0, mixed, act + ACT_FR(c->width));
	}
}

static void channel_mix_out(const struct reference *ref, uint32_t index, bool pre, float *state, float *act)
{
	const struct config *c = &ref->network->config;
	struct channel_mix m = channel_mix(ref, index, pre);
	float *out = reference_line(ref, 3), residual = config_residual(c, index);
	float scale = !pre && config_halves(c, index) ? 0.5f : 1;
	reference_part(ref, &m.matrices.value, 0, act + ACT_F(c->width), out);
	for (uint32_t i = 0; i < c->width; i++) {
		float receptance = m.matrices.receptance.part_count ? 1 / (1 + expf(-act[ACT_FR(c->width) + i])) : 1;
		act[ACT_X + i] = (act[ACT_X + i] + out[i] * receptance * residual) * scale;
	}
	memcpy(state + m.shift, act + m.normed, c->width * sizeof *state);
}

void reference_ffn_in(const struct reference *ref, uint32_t index, float *state, float *act)
{
	channel_mix_in(ref, index, false, state, act);
}

void reference_ffn_out(const struct reference *ref, uint32_t index, float *state, float *act)
{
	channel_mix_out(ref, index, false, state, act);
}

void reference_pre_in(const struct reference *ref, uint32_t index, float *state, float *act)
{
	channel_mix_in(ref, index, true, state, act);
}

void reference_pre_out(const struct reference *ref, uint32_t index, float *state, float *act)
{
	channel_mix_out(ref, index, true, state, act);
}

/* ------------------------------------------------------------------------------------------------------ whole tokens */

void reference_head(const struct reference *ref, const float *act, float *logits)
{
	const struct network *net = ref->network;
	const struct config *c = &net->config;
	float *n = reference_line(ref, 3);
	reference_norm(act + ACT_X, top_vector(ref, 1, net->ln_out_w, c->width), top_vector(ref, 2, net->ln_out_b, c->width),
	               c->width, n);
	struct matrix head;
	outline_table(net, net->head, ref->quant, &head);
	reference_part(ref, &head, 0, n, logits);
	if (net->head_b) {
		const float *bias = top_vector(ref, 1, net->head_b, c->vocab);
		for (uint32_t i = 0; i < c->vocab; i++)
			logits[i] += bias[i];
	}
}

void reference_start(const struct reference *ref, float *states)
{
	const struct config *c = &ref->network->config;
	for (uint32_t i = 0; i < c->layers; i++)
		state_start(c, states + i * config_slot_floats(c));
}

/* A row after the first finds in the state the LayerNorm of the previous row.  When a stage is done for all rows at once, the
 * stages that read it come before the one that moves it there.  After the former, the state is unchanged. */
static void run_row(const struct reference *ref, row_fn *run, void *user, const float *before, float *state, float *act)
{
	const uint32_t D = ref->network->config.width;
	const struct {
		float *shift, *kept;
		const float *normed;
	} vectors[] = { { state + STATE_ATT_X, reference_line(ref, REFERENCE_LINES - 2), before + ACT_N1(D) },
		            { state + STATE_FFN_X(D), reference_line(ref, REFERENCE_LINES - 1), before + ACT_N2(D) } };
	for (int i = 0; i < 2; i++) {
		memcpy(vectors[i].kept, vectors[i].shift, D * sizeof *state);
		memcpy(vectors[i].shift, vectors[i].normed, D * sizeof *state);
	}
	run(user, state, act);
	for (int i = 0; i < 2; i++)
		if (memcmp(vectors[i].shift, vectors[i].normed, D * sizeof *state) == 0)
			memcpy(vectors[i].shift, vectors[i].kept, D * sizeof *state);
}

void reference_rows(const struct reference *ref, uint32_t rows, float *state, float *acts, row_fn *run, void *user)
{
	const size_t floats = config_act_floats(&ref->network->config);
	run(user, state, acts);
	for (uint32_t i = 1; i < rows; i++)
		run_row(ref, run, user, acts + (i - 1) * floats, state, acts + i * floats);
}

void reference_chunk_state(const struct config *c, const struct stage *stage, const float *before, const float *act,
                           float *state)
{
	if (stage->reference == reference_att_wkv4)
		memcpy(state + STATE_ATT_X, act + ACT_N1(c->width), c->width * sizeof *state);
	else if (stage->reference == reference_att_out)
		memcpy(state + STATE_ATT_X, before + STATE_ATT_X, c->width * sizeof *state);
}

void reference_token(const struct reference *ref, uint32_t token, float *states, float *act, float *logits)
{
	const struct config *c = &ref->network->config;
	struct stage stages[MAX_STAGES];
	reference_select(ref, token, act);
	for (uint32_t i = 0; i < c->layers; i++) {
		uint32_t count = layer_stages(ref->network, i, stages);
		for (uint32_t j = 0; j < count; j++)
			stages[j].reference(ref, i, states + i * config_slot_floats(c), act);
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
