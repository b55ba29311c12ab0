// A matrix times a vector that already lies in memory, ready to be read: no staging, no barrier.
void plain_matvec(uint columns)
{
	uint words = row_words(WEIGHT_TYPE, columns);
	for (uint pass = 0; pass < PASSES; pass++) {
		uint pass_row = row_begin + (gl_WorkGroupID.x * PASSES + pass) * PASS_ROWS;
		if (pass_row >= row_end)
			break;
		clear_sums();
		if (pass_row + first_row < row_end)
			first_dot(pass_row + first_row - row_begin, words, 0, words);
		emit_sums(pass_row);
	}
}
