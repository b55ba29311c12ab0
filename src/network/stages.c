/* The stages of each version by name, as tests and verification go through them. */
#include "network/reference.h"

#include <string.h>

#define ATT_OUT                                                                                                                \
	{                                                                                                                          \
		"att_out", reference_att_out, { "y", "x", "n1" },                                                                      \
		{                                                                                                                      \
			"x"                                                                                                                \
		}                                                                                                                      \
	}
#define FFN_IN                                                                                                                 \
	{                                                                                                                          \
		"ffn_in", reference_ffn_in, { "x" },                                                                                   \
		{                                                                                                                      \
			"n2", "f", "fr"                                                                                                    \
		}                                                                                                                      \
	}
#define FFN_OUT                                                                                                                \
	{                                                                                                                          \
		"ffn_out", reference_ffn_out, { "f", "fr", "n2", "x" },                                                                \
		{                                                                                                                      \
			"x"                                                                                                                \
		}                                                                                                                      \
	}

static const struct stage rwkv4[] = {
	{ "att_wkv", reference_att_wkv4, { "x" }, { "n1", "y" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv4_pre[] = {
	{ "pre_in", reference_pre_in, { "x" }, { "n1", "f", "fr" } },
	{ "pre_out", reference_pre_out, { "f", "fr", "n1", "x" }, { "x" } },
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv5[] = {
	{ "att_in", reference_att_in, { "x" }, { "n1", "r", "k", "v", "g" } },
	{ "wkv", reference_wkv5, { "n1", "r", "k", "v", "g" }, { "y" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv6[] = {
	{ "mix_in", reference_mix_in, { "x" }, { "n1", "hidden mix" } },
	{ "mix", reference_mix, { "n1", "hidden mix" }, { "mixed w", "mixed k", "mixed v", "mixed r", "mixed g" } },
	{ "att_in",
	  reference_att_in,
	  { "mixed w", "mixed k", "mixed v", "mixed r", "mixed g" },
	  { "r", "k", "v", "g", "hidden decay" } },
	{ "wkv", reference_wkv5, { "n1", "r", "k", "v", "g", "hidden decay" }, { "y" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv7[] = {
	{ "att_in",
	  reference_att_in,
	  { "x" },
	  { "n1", "r", "k", "v", "hidden decay", "hidden iclr", "hidden gate", "hidden value" } },
	{ "wkv",
	  reference_wkv7,
	  { "n1", "r", "k", "v", "vfirst", "hidden decay", "hidden iclr", "hidden gate", "hidden value" },
	  { "y", "vfirst" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};

uint32_t layer_stages(const struct network *net, uint32_t index, struct stage out[MAX_STAGES])
{
	const struct {
		const struct stage *stages;
		uint32_t count;
	} versions[] = {
		[4] = { rwkv4, sizeof rwkv4 / sizeof *rwkv4 },
		[5] = { rwkv5, sizeof rwkv5 / sizeof *rwkv5 },
		[6] = { rwkv6, sizeof rwkv6 / sizeof *rwkv6 },
		[7] = { rwkv7, sizeof rwkv7 / sizeof *rwkv7 },
	};
	uint32_t version = net->config.version / 10;
	bool pre = net->layers[index].pre_key != NULL;
	memcpy(out, pre ? rwkv4_pre : versions[version].stages, versions[version].count * sizeof *out);
	return versions[version].count; /* ffnPre has as many as what it replaces */
}

uint32_t act_regions(const struct config *c, struct region out[MAX_REGIONS])
{
	const uint32_t D = c->width, h = ACT_H(D, c->ffn), mixed = ACT_MIXED(D), DP = PAD(D, 256);
	const uint32_t a = h + PAD(c->rank_decay, 8), g = a + PAD(c->rank_iclr, 8), v = g + PAD(c->rank_gate, 8);
	const struct region all[] = {
		{ "x", ACT_X, D },
		{ "n1", ACT_N1(D), D },
		{ "n2", ACT_N2(D), D },
		{ "r", ACT_R(D), D },
		{ "k", ACT_K(D), D },
		{ "v", ACT_V(D), D },
		{ "g", ACT_G(D), D },
		{ "vfirst", ACT_VFIRST(D), D },
		{ "y", ACT_Y(D), D },
		{ "fr", ACT_FR(D), D },
		{ "mixed w", mixed, D },
		{ "mixed k", mixed + DP, D },
		{ "mixed v", mixed + 2 * DP, D },
		{ "mixed r", mixed + 3 * DP, D },
		{ "mixed g", mixed + 4 * DP, D },
		{ "f", ACT_F(D), c->ffn },
		{ "hidden decay", h, c->rank_decay },
		{ "hidden iclr", a, c->rank_iclr },
		{ "hidden gate", g, c->rank_gate },
		{ "hidden value", v, c->rank_value },
		{ "hidden mix", h, HIDDEN_MIX(c->rank_mix) }, /* in the place of the others */
	};
	memcpy(out, all, sizeof all);
	return sizeof all / sizeof *all;
}
