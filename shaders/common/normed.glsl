// Rows [begin, end) of a matrix times an input that the workgroup stages itself, chunk by chunk: stage_input(from, J) stages
// channels [from, from + CHUNK), J vec4s to a uvec4 of weights.  `group` counts the workgroups of this matrix;
// matrix_row is where row 0 lies in what is bound (it may wrap below 0 when the slice starts later).
void stage_input(uint from, uint J);

void normed_matvec(uint group, uint begin, uint end, uint matrix_row, bool is_second)
{
	uint J = input_per_word(is_second ? SECOND_TYPE : WEIGHT_TYPE), words = row_words(is_second ? SECOND_TYPE : WEIGHT_TYPE, D);
	for (uint pass = 0; pass < PASSES; pass++) {
		uint pass_row = begin + (group * PASSES + pass) * PASS_ROWS;
		if (pass_row >= end)
			break;
		clear_sums();
		for (uint from = 0; from < D; from += CHUNK) {
			if (CHUNK < D || pass == 0) {
				barrier();
				stage_input(from, J);
				STAGE_BARRIER();
			}
			uint row = matrix_row + pass_row + first_row, skip = from / (4 * J), count = min(words - skip, CHUNK / (4 * J));
			if (pass_row + first_row < end) {
#ifdef WITH_SECOND
				if (is_second)
					second_dot(row, words, skip, count);
				else
#endif
					first_dot(row, words, skip, count);
			}
		}
		emit_sums(pass_row);
	}
}
