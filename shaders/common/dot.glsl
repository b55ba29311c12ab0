// Rows of a matrix times an input: see matvec.glsl, which includes this for each of its matrices, with what unpack.glsl asks for.
#include "unpack.glsl"
#include "weight_f32.glsl"
#include "weight_f16.glsl"
#include "weight_q8.glsl"
#include "weight_bits.glsl"

// Adds to row_sum the products of uvec4s [skip, skip + count) of this thread's rows.  `row` is the first of them within the
// bound slice; `words` a whole row's uvec4s.  skip and count are multiples of 8.
void NAME(dot)(uint row, uint words, uint skip, uint count)
{
	uint at = row / 8 * 8 * words + skip * 8 + row % 8 * 8;
	if (TYPE == TYPE_F32)
		NAME(dot_f32)(at, count);
	else if (TYPE < TYPE_Q8)
		NAME(dot_f16)(at, count);
	else if (TYPE == TYPE_Q8)
		NAME(dot_q8)(at, count);
	else
		NAME(dot_bits)(at, count);
}
