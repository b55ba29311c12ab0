/* The stages of each version by name, for tests and verification. */
#include "network/reference.h"

#include <string.h>

/* clang-format off */
#define ATT_OUT { "att_out", reference_att_out, { "y", "x", "n1" }, { "x" }, { "chunk att_out" } }
#define FFN_IN { "ffn_in", reference_ffn_in, { "x" }, { "n2", "f", "fr" }, { "chunk ffn_shift", "chunk ffn_in" } }
#define FFN_OUT { "ffn_out", reference_ffn_out, { "f", "fr", "n2", "x" }, { "x" }, { "chunk ffn_out" } }
/* clang-format on */

static const struct stage rwkv4[] = {
	{ "att_wkv", reference_att_wkv4, { "x" }, { "n1", "y" }, { "chunk att_shift", "chunk att_in", "chunk wkv" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv4_pre[] = {
	{ "pre_in", reference_pre_in, { "x" }, { "n1", "f", "fr" }, { "chunk pre_shift", "chunk pre_in" } },
	{ "pre_out", reference_pre_out, { "f", "fr", "n1", "x" }, { "x" }, { "chunk pre_out" } },
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv5[] = {
	{ "att_in", reference_att_in, { "x" }, { "n1", "r", "k", "v", "g" }, { "chunk att_shift", "chunk att_in" } },
	{ "wkv", reference_wkv5, { "n1", "r", "k", "v", "g" }, { "y" }, { "chunk wkv" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv6[] = {
	{ "mix_in", reference_mix_in, { "x" }, { "n1", "hidden mix" }, { "chunk mix_shift", "chunk mix_in" } },
	{ "mix",
	  reference_mix,
	  { "n1", "hidden mix" },
	  { "mixed w", "mixed k", "mixed v", "mixed r", "mixed g" },
	  { "chunk mix" } },
	{ "att_in",
	  reference_att_in,
	  { "mixed w", "mixed k", "mixed v", "mixed r", "mixed g" },
	  { "r", "k", "v", "g", "hidden decay" },
	  { "chunk att_in" } },
	{ "wkv", reference_wkv5, { "n1", "r", "k", "v", "g", "hidden decay" }, { "y" }, { "chunk wkv_in", "chunk wkv" } },
	ATT_OUT,
	FFN_IN,
	FFN_OUT,
};
static const struct stage rwkv7[] = {
	{ "att_in",
	  reference_att_in,
	  { "x" },
	  { "n1", "r", "k", "v", "hidden decay", "hidden iclr", "hidden gate", "hidden value" },
	  { "chunk att_shift", "chunk att_in" } },
	{ "wkv",
	  reference_wkv7,
	  { "n1", "r", "k", "v", "vfirst", "hidden decay", "hidden iclr", "hidden gate", "hidden value" },
	  { "y", "vfirst" },
	  { "chunk wkv_in", "chunk wkv" } },
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
	return versions[version].count; /* ffnPre has as many as time-mix, which it replaces */
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

uint32_t row_regions(const struct config *c, struct region out[MAX_REGIONS])
{
	const uint32_t D = c->width, h = ROW_H(D, c->ffn);
	const uint32_t a = h + PAD(c->rank_decay, 8), g = a + PAD(c->rank_iclr, 8), v = g + PAD(c->rank_gate, 8);
	const struct region all[] = {
		{ "x", ROW_X, D },
		{ "n1", ROW_N1(D), D },
		{ "n2", ROW_N2(D), D },
		{ "r", ROW_R(D), D },
		{ "k", ROW_K(D), D },
		{ "v", ROW_V(D), D },
		{ "g", ROW_G(D), D },
		{ "vfirst", ROW_VFIRST(D), D },
		{ "y", ROW_Y(D), D },
		{ "fr", ROW_FR(D), D },
		{ "mixed r", ROW_MIXED(D, 0), D },
		{ "mixed w", ROW_MIXED(D, 1), D },
		{ "mixed k", ROW_MIXED(D, 2), D },
		{ "mixed v", ROW_MIXED(D, 3), D },
		{ "mixed a", ROW_MIXED(D, 4), D },
		{ "mixed g", ROW_MIXED(D, 5), D },
		{ "mixed x", ROW_MIXED(D, 6), D },
		{ "f", ROW_F(D), c->ffn },
		{ "hidden decay", h, c->rank_decay },
		{ "hidden iclr", a, c->rank_iclr },
		{ "hidden gate", g, c->rank_gate },
		{ "hidden value", v, c->rank_value },
		{ "hidden mix", h, HIDDEN_MIX(c->rank_mix) }, /* in the place of the others */
	};
	memcpy(out, all, sizeof all);
	return sizeof all / sizeof *all;
}
