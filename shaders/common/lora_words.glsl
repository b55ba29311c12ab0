// How long a row of an outer LoRA factor is.

// uvec4s of a row.
uint lora_words(uint rank)
{
	return PAD(rank, 8) / (SECOND_TYPE == TYPE_F32 ? 4 : 8);
}
