// The outer factors of LoRAs, [D,rank] each: head by head, factor by factor, then uvec4 by uvec4 of the rank, the head's N
// channels beside each other (pack_lora() in src/network/pack.c).  A row is a column of uvec4s: neighbouring threads read
// neighbouring words and nothing has to be added up between them.

// uvec4s of a row.
uint lora_words(uint rank)
{
	return PAD(rank, 8) / (SECOND_TYPE == TYPE_F32 ? 4 : 8);
}

// Row `channel` of a factor of `words` uvec4s that begins at uvec4 row `at`, times the hidden vector at `hidden`.
float lora_row(uint at, uint words, uint channel, uint hidden)
{
	float sum = 0;
	[[dont_unroll]] for (uint u = 0; u < words; u++) { // a row would take all registers at once
		uvec4 w = READ_SECOND((at + u) * N + channel);
		if (SECOND_TYPE == TYPE_F32) {
			sum += dot(uintBitsToFloat(w), READ_ACT4(hidden / 4 + u));
		} else {
			vec4 h0 = READ_ACT4(hidden / 4 + u * 2), h1 = READ_ACT4(hidden / 4 + u * 2 + 1), w0, w1;
			if (SECOND_TYPE == TYPE_F16) {
				w0 = vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
				w1 = vec4(unpackHalf2x16(w.z), unpackHalf2x16(w.w));
			} else {
				vec4 even = uintBitsToFloat(w << 16), odd = uintBitsToFloat(w & 0xffff0000u);
				w0 = vec4(even.x, odd.x, even.y, odd.y);
				w1 = vec4(even.z, odd.z, even.w, odd.w);
			}
			sum += dot(w0, h0) + dot(w1, h1);
		}
	}
	return sum;
}
