// The state of a head over the rows of a run, one after the other.  A row of S is a value channel: STATE_LANES threads share it and
// hold their part of its key channels in registers for the whole run; when a workgroup cannot hold a head, it takes the run once
// for each block of rows.  Whoever includes this defines KINDS, how many vectors all rows of S need of a row of the chunk; WITH_DOTS,
// if they need the head's numbers at ROW_DOTS as well; and the functions that are declared here.
#include "row_norm.glsl"

vec4 read_key(uint kind, uint at, uint c);   // channels 4c .. 4c+3 of vector `kind` of the row whose record begins at float `at`
vec4 read_state(uint at, uint i, uint c);    // key channels 4c .. 4c+3 of row i of the head's state, which begins at float `at`
void write_state(uint at, uint i, uint c, vec4 s);
void step_rows(uint first, uint at, uint head, uint staged); // the rows of S that this thread holds: the new S, their outputs

const uint SETS = WORKGROUP / STATE_LANES; // rows of S that are worked on at once
const uint NEEDED = (N + SETS - 1) / SETS, ROOM = VECS < 16 ? 16 / VECS : 1;
const uint ROWS_HELD = NEEDED < ROOM ? NEEDED : ROOM; // by one thread
const uint BLOCK = SETS * ROWS_HELD;
vec4 S[ROWS_HELD][VECS];
#ifdef WITH_DOTS
vec4 dots;
#endif

// The numbers of a chunk's row that all rows of S need: in registers with texel reads, otherwise for some rows in shared
// memory.
#if TEXELS
vec4 keys[KINDS][VECS];
#define KEYS(kind, j) keys[kind][j]
#else
const uint STAGED_ROWS = N < 512 ? 512 / N : 1;
shared vec4 s_keys[STAGED_ROWS * KINDS * N / 4];
shared float s_v[STAGED_ROWS * N];
#define KEYS(kind, j) s_keys[(staged * KINDS + kind) * (N / 4) + lane + (j) * STATE_LANES]
#ifdef WITH_DOTS
shared vec4 s_dots[STAGED_ROWS];
#endif
#endif

// Before keys are read once more.  Few lanes have many: kept beside S, they would be more than the registers of ARM's GPUs.
void forget_keys()
{
#if !TEXELS
	if (VECS > 2)
		memoryBarrierShared();
#endif
}

// The value channel of row i of S.
float value_of(uint at, uint head, uint staged, uint i)
{
#if TEXELS
	return READ_ACT(at + ROW_V(D) + head * N + min(i, N - 1));
#else
	return s_v[staged * N + min(i, N - 1)];
#endif
}

void write_output(uint at, uint head, uint i, float y)
{
	if (lane == 0 && i < N)
		outputs[at + ROW_Y(D) + head * N + i] = y;
}

#if TEXELS
void scan(uint first, uint head, uint row, uint count)
{
	for (uint t = 0; t < count; t++) {
		uint at = row_at(row + t);
		[[unroll]] for (uint kind = 0; kind < KINDS; kind++)
			[[unroll]] for (uint j = 0; j < VECS; j++)
				keys[kind][j] = read_key(kind, at, head * N / 4 + lane + j * STATE_LANES);
#ifdef WITH_DOTS
		dots = READ_ACT4((at + ROW_DOTS(D)) / 4 + head);
#endif
		step_rows(first, at, head, 0);
	}
}
#else
void stage(uint head, uint row, uint count)
{
	for (uint i = thread; i < count * KINDS * N / 4; i += WORKGROUP)
		s_keys[i] = read_key(i / (N / 4) % KINDS, row_at(row + i / (KINDS * N / 4)), head * N / 4 + i % (N / 4));
	for (uint i = thread; i < count * N; i += WORKGROUP)
		s_v[i] = READ_ACT(row_at(row + i / N) + ROW_V(D) + head * N + i % N);
#ifdef WITH_DOTS
	for (uint t = thread; t < count; t += WORKGROUP)
		s_dots[t] = READ_ACT4((row_at(row + t) + ROW_DOTS(D)) / 4 + head);
#endif
}

void scan(uint first, uint head, uint row, uint count)
{
	for (uint done = 0; done < count; done += STAGED_ROWS) {
		uint staged = min(count - done, STAGED_ROWS);
		barrier();
		stage(head, row + done, staged);
		barrier();
		[[dont_unroll]] for (uint t = 0; t < staged; t++) {
#ifdef WITH_DOTS
			dots = s_dots[t];
#endif
			step_rows(first, row_at(row + done + t), head, t);
		}
	}
}
#endif

// A head over a run of `count` rows from `row` on; `slot` is the state's first float.  All outputs are there afterwards, and LN1 of
// the last row is the next shift state.
void scan_run(uint head, uint slot, uint row, uint count)
{
	uint at = slot + STATE_S(D) + head * N * N;
	for (uint first = 0; first < N; first += BLOCK) {
		[[unroll]] for (uint h = 0; h < ROWS_HELD; h++)
			[[unroll]] for (uint j = 0; j < VECS; j++)
				S[h][j] = read_state(at, min(first + h * SETS + set, N - 1), lane + j * STATE_LANES);
		scan(first, head, row, count);
		[[unroll]] for (uint h = 0; h < ROWS_HELD; h++)
			if (first + h * SETS + set < N)
				[[unroll]] for (uint j = 0; j < VECS; j++)
					write_state(at, first + h * SETS + set, lane + j * STATE_LANES, S[h][j]);
	}
	for (uint n = thread; n < N; n += WORKGROUP)
		state[slot + STATE_ATT_X + head * N + n] = READ_ACT(row_at(row + count - 1) + ROW_N1(D) + head * N + n);
	memoryBarrierBuffer();
	barrier();
}
