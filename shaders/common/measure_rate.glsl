// Shared by measure_f32, measure_f16 and measure_int8: independent chains of one operation.  The shader defines VALUE (four
// numbers), FIRST(word) and RESULT(value), and STEP(value, factor).
layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { uint word, unused_1, unused_2, count; };
layout(set = 0, binding = 1) writeonly buffer Out { uint result[]; };

void main()
{
	VALUE m = FIRST(word), a = FIRST(word + gl_LocalInvocationID.x), b = a + m, c = b + m, d = c + m;
	VALUE e = d + m, f = e + m, g = f + m, h = g + m;
	for (uint i = 0; i < count; i++) {
		STEP(a, m);
		STEP(b, m);
		STEP(c, m);
		STEP(d, m);
		STEP(e, m);
		STEP(f, m);
		STEP(g, m);
		STEP(h, m);
	}
	result[gl_LocalInvocationID.x] = RESULT(((a + b) + (c + d)) + ((e + f) + (g + h)));
}
