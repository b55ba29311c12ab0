// The nearest integer, ties to even, of numbers below 2^22: the sum has no fraction bits.  Larger numbers stay large.  GLSL's
// round() and roundEven() would do, but the first goes either way at a half, and some drivers' second does, too (lavapipe's,
// where the host's vectors are shorter than its own).  src/format/quantise.c does the same.
float nearest(float x)
{
	precise float sum = x + 12582912, whole = sum - 12582912;
	return whole;
}
