// LayerNorm and token shift of a chunk, a workgroup per row.  The result is written to memory, since many workgroups of the
// next stage read it.
//
//   n = LN(x; ln1 or ln2)                    x_q = n + (n' - n) mix_q           q: bits of MIXED, from VEC_MIX_R or VEC_MIX_FFN on
//
// n' is n of the previous row, recomputed here, or comes from the state.  FLAG_HEAD: n = LN(x; ln_out) of the rows whose logits
// are wanted, one after the other.  Reads ROW_X, the shift state; writes ROW_MIXED and n to ROW_N1 or ROW_N2: a later stage moves
// that of a run's last row into the state.  Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/layer_norm.glsl"

// Channels 4c .. 4c+3 of LN of the vector at float `at`; weight and bias are vectors `weight` and the next.
vec4 normed(uint at, vec2 norm, uint weight, uint c)
{
	return (READ_ACT4(at / 4 + c) - norm.x) * norm.y * READ_VECTORS4(weight * DP / 4 + c) +
	       READ_VECTORS4((weight + 1) * DP / 4 + c);
}

void main()
{
	uint row = gl_WorkGroupID.x, from = flag(FLAG_HEAD) ? act_word[TABLE_WANT(row)] : row;
	if (row >= row_count() || (flag(FLAG_HEAD) && from == NO_ROW))
		return;
	uint at = row_at(from), to = row_at(row) + ROW_N1(D);
	vec2 norm = norm_of(at);
	if (flag(FLAG_HEAD)) {
		for (uint c = thread; c < D / 4; c += WORKGROUP)
			result4[to / 4 + c] = normed(at, norm, VEC_LNOUT_W, c);
		return;
	}
	const uint weight = flag(FLAG_FFN) && !flag(FLAG_PRE) ? VEC_LN2_W : VEC_LN1_W;
	const uint mix = flag(FLAG_FFN) && !flag(FLAG_PRE) ? VEC_MIX_FFN : VEC_MIX_R;
	const uint shift = flag(FLAG_FFN) && !flag(FLAG_PRE) ? STATE_FFN_X(D) : STATE_ATT_X;
	to = at + (flag(FLAG_FFN) && !flag(FLAG_PRE) ? ROW_N2(D) : ROW_N1(D));
	uint before = act_word[TABLE_ROW(row) + ROW_BEFORE], at_before = row_at(before == NO_ROW ? row : before);
	vec2 norm_before = norm_of(at_before); // itself if there is none: all threads must take part in the sums
	for (uint c = thread; c < D / 4; c += WORKGROUP) {
		vec4 n = normed(at, norm, weight, c);
		vec4 change = (before == NO_ROW ? READ_STATE4((row_state(row) + shift) / 4 + c) :
		                                  normed(at_before, norm_before, weight, c)) - n;
		result4[to / 4 + c] = n;
#if TEXELS
		[[unroll]]
#else
		[[dont_unroll]]
#endif
		for (uint i = 0; i < 7; i++)
			if ((MIXED >> i & 1) != 0)
				result4[(at + ROW_MIXED(D, i)) / 4 + c] = n + change * READ_VECTORS4((mix + i) * DP / 4 + c);
	}
}
