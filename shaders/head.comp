// After the last layer: logits = head LN(x; ln_out) + its bias.  [V,D]
//
// Reads ACT_X; writes the slot's logits (binding 7) and, for each workgroup, its largest logit and that one's id to PICKS_PART,
// where `select` finds them, so picking the most probable token need not read 65,536 logits.  If the device picks the next
// token, these are logits with penalties and biases, which are also stored (PICKS_LOGITS) for a draw.  Each row's count of
// generated tokens belongs to the thread that has the row, so the counts need no stage of their own. Recorded by plan_head() in
// src/engine/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#include "common/matvec.glsl"
#include "common/normed.glsl"
#include "common/picks.glsl"

layout(set = 0, binding = 5) writeonly buffer PicksU { uint picks_word[]; };
layout(set = 0, binding = 7) writeonly buffer Logits { float logits[]; };

uint slot()
{
	return act_word[ACT_CONTROL + CONTROL_SLOT];
}

// The logit for picking; the counts are updated by the token that was fed.
float adjusted(uint row, float logit)
{
	uint pick = act_word[ACT_CONTROL + CONTROL_PICK];
	if (pick <= PICK_ON)
		return logit;
	uint at = PICKS_SLOT(V, slot()) + row;
	float count = -1, bias = 0;
	if ((pick & PICK_PENALTY) != 0) {
		count = stepped_count(picks[at + PICKS_COUNT(V)], act[ACT_CONTROL + CONTROL_DECAY], act[ACT_CONTROL + CONTROL_WEIGHT],
		                      row == act_word[ACT_CONTROL + CONTROL_TOKEN]);
		picks[at + PICKS_COUNT(V)] = count;
	}
	if ((pick & PICK_BIAS) != 0)
		bias = picks[at + PICKS_BIAS(V)];
	logit = adjust(logit, pick, count, bias, act[ACT_CONTROL + CONTROL_PRESENCE], act[ACT_CONTROL + CONTROL_FREQUENCY]);
	if ((pick & PICK_DRAW) != 0)
		picks[at + PICKS_LOGITS] = logit;
	return logit;
}

void emit(uint row, float value)
{
	if (row >= row_end)
		return;
	if (flag(FLAG_HEAD_BIAS))
		value += vector(VEC_HEAD_B, row);
	logits[slot() * V4(V) + row] = value;
	if (broken(value))
		see(INFINITE, PART_BROKEN);
	else
		see(adjusted(row, value), row);
}

void stage_input(uint from, uint J)
{
	for (uint i = thread; i < CHUNK / 4; i += WORKGROUP)
		STAGE(staged(i, J), from / 4 + i < D / 4 ? normed(from / 4 + i, VEC_LNOUT_W * DP) : vec4(0));
}

void main()
{
	if (done())
		return;
	norm_statistics();
	normed_matvec(gl_WorkGroupID.x, row_begin, row_end, -row_begin, false);

	share_best();
	if (thread == 0) {
		uint at = PICKS_SLOT(V, slot()) + PICKS_PART(V) + 2 * (part + gl_WorkGroupID.x);
		picks[at] = best;
		picks_word[at + 1] = best_id;
	}
}
