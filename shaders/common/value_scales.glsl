// The data beside the lines of ffn.value (layout.h, VALUE_*).

// Scales and minima of outputs 4j .. 4j+3 of this thread in a group.  `scales` and `tops` are the first words of both for the
// thread: two bytes an output, or four.
void value_scales(uint scales_word, uint tops_word, uint j, out vec4 scale, out vec4 low)
{
	low = vec4(0);
	if (TYPE == TYPE_Q8 || TYPE == TYPE_Q4 || TYPE == TYPE_Q5) {
		scale = vec4(unpackHalf2x16(READ_SIDE(scales_word + 2 * j)), unpackHalf2x16(READ_SIDE(scales_word + 2 * j + 1)));
	} else if (TYPE == TYPE_Q4M || TYPE == TYPE_Q5M) {
		[[unroll]] for (uint i = 0; i < 4; i++) {
			vec2 both = unpackHalf2x16(READ_SIDE(scales_word + 4 * j + i));
			scale[i] = both.x;
			low[i] = both.y;
		}
	} else if (TYPE == TYPE_Q6K) {
		int codes = int(READ_SIDE(scales_word + j));
		scale = vec4(codes << 24 >> 24, codes << 16 >> 24, codes << 8 >> 24, codes >> 24) *
		        vec4(unpackHalf2x16(READ_SIDE(tops_word + 2 * j)), unpackHalf2x16(READ_SIDE(tops_word + 2 * j + 1)));
	} else {
		[[unroll]] for (uint i = 0; i < 4; i++) {
			uint codes = READ_SIDE(scales_word + 2 * j + i / 2) >> 16 * (i & 1);
			vec2 d = unpackHalf2x16(READ_SIDE(tops_word + 4 * j + i));
			scale[i] = float(codes & 255u) * d.x;
			low[i] = float(codes >> 8 & 255u) * d.y;
		}
	}
}
