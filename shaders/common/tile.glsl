// A tile of a chunk: TILE_OUTPUTS outputs of a matrix times TILE_ROWS rows.  Each sum has one accumulator and goes over the
// inputs in their order, so its bits depend neither on how tiles are cut nor on the other rows.
//
// With texel reads a workgroup is one subgroup, a lane has every output-th row of the weights unpacked in registers, and inputs
// are passed round: a read costs a CPU device as much as many multiplications, and shared memory more (docs/speed.md).  Else a
// tile's weights and inputs lie unpacked in shared memory, TILE_DEPTH inputs at a time.
//
// Few rows (LANES > 1) are a matrix times a few vectors instead (few.glsl, chunk_value.comp): LANES threads share an output's
// weights, each multiplies every LANES-th word of them with the inputs of all TILE_ROWS = THREAD_ROWS rows, and the lanes' sums
// are added up in one order.  LANES, and WORKGROUP in chunk_value, are the same for all numbers of rows, so that a row's bits
// depend on none.

void emit(uint row, uint output_row, float value);

#if TEXELS
const uint SUBGROUP = TILE_OUTPUTS / THREAD_OUTPUTS, HELD = (THREAD_ROWS + SUBGROUP - 1) / SUBGROUP;
uint lane = gl_SubgroupInvocationID;

// Where each lane finds inputs: of row SUBGROUP b + lane of the tile, a vec4 of the record from float `at` on.  Past the last row
// it is that of the last.
void tile_inputs(uint at, out uint from[HELD])
{
	[[unroll]] for (uint b = 0; b < HELD; b++)
		from[b] = (row_at(min(gl_WorkGroupID.x * TILE_ROWS + b * SUBGROUP + lane, row_count() - 1)) + at) / 4;
}

// Component k of vec4 `v` of row n's inputs; x holds them in the order of tile_inputs().
#define TILE_INPUT(x, n, k) subgroupShuffle(x[(n) / SUBGROUP][k], (n) % SUBGROUP)
#else
const uint STRIDE = TILE_DEPTH / 4 + 1; // vec4s of a row in shared memory: neighbouring rows begin at other banks
const uint ALONG = TILE_OUTPUTS / THREAD_OUTPUTS; // threads beside each other have neighbouring outputs
const bool FEW = LANES > 1;
shared vec4 s_weights[FEW ? 1 : TILE_OUTPUTS * STRIDE], s_inputs[TILE_ROWS * STRIDE];
float tile_sum[THREAD_OUTPUTS * THREAD_ROWS];

void tile_clear()
{
	[[unroll]] for (uint i = 0; i < THREAD_OUTPUTS * THREAD_ROWS; i++)
		tile_sum[i] = 0;
}

// Inputs [k, k + TILE_DEPTH) of the tile's rows, which begin at float `at` of their records.
void tile_load_inputs(uint at, uint k)
{
	const uint VECS = TILE_DEPTH / 4;
	for (uint i = thread; i < TILE_ROWS * VECS; i += WORKGROUP) {
		uint row = min(gl_WorkGroupID.x * TILE_ROWS + i / VECS, row_count() - 1);
		s_inputs[i / VECS * STRIDE + i % VECS] = READ_ACT4((row_at(row) + at + k) / 4 + i % VECS);
	}
}

void tile_multiply()
{
	uint along = thread % ALONG, across = thread / ALONG;
	[[dont_unroll]] for (uint k = 0; k < TILE_DEPTH / 4; k++) {
		vec4 w[THREAD_OUTPUTS], x[THREAD_ROWS];
		[[unroll]] for (uint i = 0; i < THREAD_OUTPUTS; i++)
			w[i] = s_weights[(along + i * ALONG) * STRIDE + k];
		[[unroll]] for (uint j = 0; j < THREAD_ROWS; j++)
			x[j] = s_inputs[(across + j * (TILE_ROWS / THREAD_ROWS)) * STRIDE + k];
		[[unroll]] for (uint c = 0; c < 4; c++)
			[[unroll]] for (uint i = 0; i < THREAD_OUTPUTS; i++)
				[[unroll]] for (uint j = 0; j < THREAD_ROWS; j++)
					tile_sum[i * THREAD_ROWS + j] += w[i][c] * x[j][c];
	}
}

// `first` is the tile's first output.
void tile_emit(uint first)
{
	uint along = thread % ALONG, across = thread / ALONG;
	[[unroll]] for (uint i = 0; i < THREAD_OUTPUTS; i++) // the more of the two outside: fewer conditions are held in registers
		[[unroll]] for (uint j = 0; j < THREAD_ROWS; j++)
			emit(gl_WorkGroupID.x * TILE_ROWS + across + j * (TILE_ROWS / THREAD_ROWS), first + along + i * ALONG,
			     tile_sum[i * THREAD_ROWS + j]);
}

// One step of a sum of few rows.  Compilers may not fuse it for one number of rows and divide it for another.
float tile_add(float sum, float weight, float x)
{
	precise float added = fma(weight, x, sum);
	return added;
}
#endif
