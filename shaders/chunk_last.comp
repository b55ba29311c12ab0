// After a chunk whose last token's logits are needed: copies its x to that of a single token, as the input of the head. Binding
// 0 is the rows' buffer, binding 1 the activations.  Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"

void main()
{
	uint row = act_word[TABLE_WANT(act_word[TABLE_WANTED] - 1)];
	for (uint c = thread; c < D / 4; c += WORKGROUP)
		result4[ACT_X / 4 + c] = READ_ACT4((row_at(row) + ROW_X) / 4 + c);
	if (thread != 0)
		return;
	result_word[ACT_CONTROL + CONTROL_SLOT] = act_word[TABLE_ROW(row) + ROW_SLOT];
	result_word[ACT_CONTROL + CONTROL_DONE] = 0;
	result_word[ACT_CONTROL + CONTROL_TOKEN] = act_word[TABLE_ROW(row) + ROW_TOKEN];
	result_word[ACT_CONTROL + CONTROL_PICK] = 0;
}
