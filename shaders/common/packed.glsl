// How long a row of packed weights is.

// vec4s of input per uvec4 of weights.
uint input_per_word(uint type)
{
	return type == TYPE_F32 ? 1 : type < TYPE_Q8 ? 2 : type == TYPE_Q8 ? 4 : 8;
}

// uvec4s of a row of `columns` weights, padded to whole k-blocks.
uint row_words(uint type, uint columns)
{
	return PAD(columns, 32 * input_per_word(type)) / (4 * input_per_word(type));
}
