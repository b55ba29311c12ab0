// A matrix, or two, times the rows of a chunk: the products of time-mix and its inner LoRA factors, att.output, the key and the
// receptance of channel-mix, the head.  Formulas and the use of each output are those of the stages for one token: att_in,
// att_out, ffn_in, head.
//
// A workgroup has TILE_OUTPUTS outputs for TILE_ROWS rows; x counts tiles of rows, y those of outputs, first of the first matrix.
// Reads of each row ROW_MIXED, ROW_Y (FLAG_OUTPUT) or ROW_N1 (FLAG_HEAD); writes the products and ROW_H, ROW_X, ROW_F and ROW_FR,
// or the logits.  Recorded by src/engine/chunk_plan.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "common/stage.glsl"
#include "common/rows.glsl"
#include "common/packed.glsl"
#include "common/products.glsl"
#include "common/tile.glsl"

layout(set = 0, binding = 7) writeonly buffer Logits { float logits[]; };

uint matrix_row; // where row 0 of the matrix lies in what is bound (it may wrap below 0 when the slice starts later)

// Where an output's row lies in what is bound.  RWKV-4 has its three products interleaved, 8 rows of each in turn.
uint slice_row(uint output_row)
{
	return (flag(FLAG_INTERLEAVED) ? output_row / 8 * 24 + output_row % 8 : output_row) + matrix_row;
}

#include "common/first.glsl"
#include "common/tile_matrix.glsl"
#include "common/second.glsl"
#include "common/tile_matrix.glsl"
void emit_product(uint at, uint channel, float value)
{
	if (matrix < DECAY)
		result[at + ROW_VECTOR(D, 3 + matrix) + channel] = value; // ROW_R, ROW_K, ROW_V, ROW_G
	else
		result[at + ROW_H(D, F) + hidden + channel] =
			matrix == DECAY ? tanh_safe(value) : matrix == GATE_LORA ? sigmoid(value) : value;
}

void emit_ffn(uint at, uint channel, float value)
{
	float positive = max(value, 0);
	if (matrix == 1)
		result[at + ROW_FR(D) + channel] = value;
	else
		result[at + ROW_F(D) + channel] = positive * positive;
}

void emit(uint row, uint channel, float value)
{
	if (row >= row_count() || channel >= end)
		return;
	uint at = row_at(row);
	if (flag(FLAG_SLOT_LOGITS) && logits_row(row) == NO_ROW)
		return;
	if (flag(FLAG_HEAD))
		logits[logits_row(row) * V4(V) + channel] = value + (flag(FLAG_HEAD_BIAS) ? READ_VECTORS(VEC_HEAD_B * DP + channel) : 0);
	else if (flag(FLAG_OUTPUT))
		result[at + ROW_X + channel] += residual(value + vector(VEC_OUT_B, channel));
	else if (flag(FLAG_FFN))
		emit_ffn(at, channel, value);
	else
		emit_product(at, channel, value);
}

// Rows of matrix m in this dispatch; for channel-mix, 0 is the key and 1 the receptance.
void find_rows(uint m)
{
	matrix = m;
	if (flag(FLAG_FFN)) {
		begin = m == 0 ? row_begin : second_begin;
		end = m == 0 ? row_end : second_end;
	} else if (flag(FLAG_OUTPUT) || flag(FLAG_HEAD)) {
		begin = m == 0 ? row_begin : 0;
		end = m == 0 ? min(row_end, flag(FLAG_HEAD) ? V : D) : 0;
	} else if (flag(FLAG_INTERLEAVED)) {
		begin = m < PRODUCTS ? row_begin / 3 : 0;
		end = m < PRODUCTS ? min(row_end / 3, D) : 0;
	} else {
		slice(m);
	}
}

// The float of a record at which the inputs begin.
uint input_at()
{
	if (flag(FLAG_HEAD))
		return ROW_N1(D);
	if (flag(FLAG_OUTPUT))
		return ROW_Y(D);
	uint mix = matrix == RECEPTANCE ? VEC_MIX_R : mix_vector();
	if (flag(FLAG_FFN))
		mix = !flag(FLAG_PRE) ? VEC_MIX_R + matrix : matrix == 0 ? VEC_MIX_K : VEC_MIX_R;
	return ROW_MIXED(D, mix - VEC_MIX_R);
}

void main()
{
	if (gl_WorkGroupID.x * TILE_ROWS >= row_count())
		return;
	uint group = gl_WorkGroupID.y, m;
	for (m = 0; m < MATRICES; m++) {
		find_rows(m);
		uint groups = end > begin ? (end - begin + TILE_OUTPUTS - 1) / TILE_OUTPUTS : 0;
		if (group < groups)
			break;
		group -= groups;
	}
	if (m == MATRICES)
		return;
	bool alone = flag(FLAG_OUTPUT) || flag(FLAG_HEAD), is_second = !alone && (flag(FLAG_FFN) ? flag(FLAG_RECEPTANCE) && m == 1 : m >= DECAY);
	matrix_row = -row_begin;
	if (flag(FLAG_FFN))
		matrix_row = is_second ? -second_begin : -row_begin;
	else if (!alone) {
		hidden = first_hidden();
		matrix_row = is_second ? hidden : (flag(FLAG_INTERLEAVED) ? m * 8 : m * DP8) - row_begin;
	}
	uint first = begin + group * TILE_OUTPUTS;
	if (is_second)
		second_tile(first, end, D, input_at());
	else
		first_tile(first, end, D, input_at());
}
