// A matrix times an input that the workgroup stages itself, chunk by chunk: stage_input(from, J) fills s_input with channels
// [from, from + CHUNK), J vec4s to a uvec4 of weights.
void stage_input(uint from, uint J);

void normed_matvec()
{
	uint J = input_per_word(WEIGHT_TYPE), words = row_words(WEIGHT_TYPE, D);
	for (uint pass = 0; pass < PASSES; pass++) {
		uint pass_row = row_begin + (gl_WorkGroupID.x * PASSES + pass) * PASS_ROWS;
		if (pass_row >= row_end)
			break;
		clear_sums();
		for (uint from = 0; from < D; from += CHUNK) {
			if (CHUNK < D || pass == 0) {
				barrier();
				stage_input(from, J);
				barrier();
			}
			uint skip = from / (4 * J);
			if (pass_row + first_row < row_end)
				dot_rows(pass_row + first_row - row_begin, words, skip, min(words - skip, CHUNK / (4 * J)));
		}
		emit_sums(pass_row);
	}
}
