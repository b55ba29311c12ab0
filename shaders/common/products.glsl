// Which rows of its two matrices a workgroup of the first stage of time-mix has: the products are parts of one matrix, each padded
// to 8 rows, and so are the inner LoRA factors.
const uint RECEPTANCE = 0, KEY = 1, VALUE = 2, GATE = 3; // the products; there are PRODUCTS of them
const uint DECAY = 4, ICLR = 5, GATE_LORA = 6, VALUE_LORA = 7, MATRICES = 8; // LoRA factors; mix_in's one has the decay's place
const uint DP8 = PAD(D, 8);

uint matrix;     // which of them this workgroup works on
uint begin, end; // its rows within that matrix
uint hidden;     // the first of its hidden vector

uint rank(uint m)
{
	return m == DECAY     ? (flag(FLAG_MIX_IN) ? HIDDEN_MIX(RANK_MIX) : RANK_DECAY) :
	       m == ICLR      ? RANK_ICLR :
	       m == GATE_LORA ? RANK_GATE : layer == 0 ? 0 : RANK_VALUE;
}

// Rows of matrix m that this dispatch has.
void slice(uint m)
{
	if (m < DECAY) {
		begin = max(row_begin, m * DP8) - m * DP8;
		end = m < PRODUCTS ? min(row_end - min(row_end, m * DP8), D) : 0;
	} else {
		begin = 0;
		end = first_slice * rank(m);
	}
}

uint first_hidden() // of the LoRA factor `matrix`
{
	uint at = 0;
	for (uint m = DECAY; m < matrix; m++)
		at += PAD(rank(m), 8);
	return at;
}

// VEC_* of the token shift.
uint mix_vector()
{
	if (matrix == DECAY)
		return flag(FLAG_MIX_IN) ? VEC_MIX_X : VEC_MIX_W;
	return matrix == RECEPTANCE ? VEC_MIX_R : matrix == KEY ? VEC_MIX_K : matrix == GATE || matrix == GATE_LORA ? VEC_MIX_G :
	       matrix == ICLR ? VEC_MIX_A : VEC_MIX_V;
}
