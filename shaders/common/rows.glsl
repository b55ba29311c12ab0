// Shared by the stages of a chunk: the table of its rows, and where their vectors lie (layout.h).  Bindings 0 and 1 are the
// rows' buffer here, not the activations of one token.
const uint HIDDEN_LORA = HIDDEN(RANK_DECAY, RANK_ICLR, RANK_GATE, RANK_VALUE), HIDDEN_SHIFT = HIDDEN_MIX(RANK_MIX);
const uint HIDDEN_MOST = HIDDEN_SHIFT > HIDDEN_LORA ? HIDDEN_SHIFT : HIDDEN_LORA;
const uint RECORD = ROW_FLOATS(D, F, HIDDEN_MOST), ARRIVED = ROW_ARRIVED(D, F, HIDDEN_MOST);

uint row_count()
{
	return act_word[flag(FLAG_HEAD) ? TABLE_WANTED : TABLE_ROWS];
}

// The first float of a row's record.
uint row_at(uint row)
{
	return ROWS_TABLE + row * RECORD;
}

// Of its session's state.
uint row_state(uint row)
{
	return act_word[TABLE_ROW(row) + ROW_SLOT] * SLOT_FLOATS;
}

// Which row of the logits those of the row-th wanted one are; NO_ROW: it has ended.
uint logits_row(uint row)
{
	if (!flag(FLAG_SLOT_LOGITS))
		return row;
	uint want = act_word[TABLE_WANT(row)];
	return want == NO_ROW ? NO_ROW : act_word[TABLE_ROW(want) + ROW_SLOT];
}

bool row_is_last(uint row)
{
	return act_word[TABLE_ROW(row) + ROW_LAST] != 0;
}
