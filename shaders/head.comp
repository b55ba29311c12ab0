// After the last layer: logits = head LN(x; ln_out) + its bias.  [V,D]
//
// Reads ACT_X; writes the logits (binding 7) and, for each workgroup, its largest logit and that one's id to ACT_PART, where
// `select` finds them: nobody has to read 65,536 logits to pick the most probable token.
// Recorded by plan_head() in src/model/plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/norm.glsl"
#include "common/matvec.glsl"
#include "common/normed.glsl"

layout(set = 0, binding = 7) writeonly buffer Logits { float logits[]; };
shared float s_best[WORKGROUP];
shared uint s_best_id[WORKGROUP];
float best = -3.402823466e38;
uint best_id = 0xffffffffu; // stays so when every logit is NaN or -infinity

void emit(uint row, float value)
{
	if (row >= row_end)
		return;
	if (flag(FLAG_HEAD_BIAS))
		value += vector(VEC_HEAD_B, row);
	logits[row] = value;
	if (value > best) { // a thread's rows come in ascending order: the lowest id stays
		best = value;
		best_id = row;
	}
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

	s_best[thread] = best;
	s_best_id[thread] = best_id;
	for (uint count = WORKGROUP; count > 1;) {
		uint half_count = (count + 1) / 2, other = thread + half_count;
		barrier();
		if (other < count)
			if (s_best[other] > s_best[thread] || (s_best[other] == s_best[thread] && s_best_id[other] < s_best_id[thread])) {
				s_best[thread] = s_best[other];
				s_best_id[thread] = s_best_id[other];
			}
		count = half_count;
	}
	if (thread == 0) {
		uint at = ACT_PART(D, F) + 2 * (part + gl_WorkGroupID.x);
		result[at] = s_best[0];
		result_word[at + 1] = s_best_id[0];
	}
}
