// Where things lie in the buffers that C and the shaders share.  Included by both: macros only.
//
// D = C of the equations (width), F the FFN width, V the vocabulary, N the head size, R* the LoRA ranks.
#ifndef RWKVK_LAYOUT_H
#define RWKVK_LAYOUT_H

#define PAD(n, unit) (((n) + (unit) - 1) / (unit) * (unit))

// Specialisation constants, the same ids in every shader.  Constant 0 is local_size_x.
#define SPEC_WORKGROUP       1  // threads of a workgroup, again, as an ordinary constant
#define SPEC_LANES           2  // threads that share a row of a matrix; a power of two, at most the subgroup size; 1: chunk tiles
#define SPEC_ROWS            3  // rows a thread works on at once: 1, 2, 4 or 8
#define SPEC_CHUNK           4  // floats of the input staged in shared memory at once; a multiple of 256
#define SPEC_PASSES          5  // times a workgroup goes over its threads' rows
#define SPEC_WEIGHT_TYPE     6  // TYPE_* of the stage's matrices
#define SPEC_SECOND_TYPE     7  // TYPE_* of the stage's second matrix: LoRA factors, or ffn.receptance; quantise: of the floats
#define SPEC_WIDTH           8
#define SPEC_FFN             9
#define SPEC_VOCAB          10
#define SPEC_HEAD           11
#define SPEC_PRODUCTS       12  // att_in: matrices [D,D] that share its first binding: receptance, key, value, gate
#define SPEC_RANK_DECAY     13  // ranks of the LoRA factors that the version has, 0 for none
#define SPEC_RANK_ICLR      14
#define SPEC_RANK_GATE      15
#define SPEC_RANK_VALUE     16  // RWKV-7; not in layer 0, which shares its pipelines with the other layers
#define SPEC_STATE_LANES    17  // wkv7: threads that share a row of the state; a power of two, N a multiple of 4 of them
#define SPEC_STATE_STRIDE   18  // floats of a slot: STATE_STRIDE
#define SPEC_GROUP_EPSILON  19  // of ln_x, the bits of a float
#define SPEC_RESIDUAL       20  // what a stage adds to x is multiplied by this, the bits of a float; 1 unless a model is rescaled
#define SPEC_SUM_SLICES     21  // ffn_out, chunk_value: parts of the inputs, each a workgroup's for a block of outputs
#define SPEC_STAGING        22  // with texel reads: which vec4 of the activations is the first of the workgroups' places
#define SPEC_FLAGS          23
#define SPEC_RANK_MIX       24  // of each of the five LoRA factors of RWKV-6's token shift
#define SPEC_TILE_OUTPUTS   25  // chunk stages: outputs of a matrix and rows of the chunk that a workgroup multiplies,
#define SPEC_TILE_ROWS      26
#define SPEC_TILE_DEPTH     27  // and this many inputs at a time, a multiple of 8; not with texel reads
#define SPEC_THREAD_OUTPUTS 28  // and the part of both that one thread has
#define SPEC_THREAD_ROWS    29
#define SPEC_MIXES          30  // chunk_shift: a bit for each VEC_MIX_* from the first on
#define SPEC_COUNT          31

#define FLAG_COUNT           1  // ffn_out: counts the inputs that are not zero
#define FLAG_EMBEDDING_NORM  2  // select: apply ln0
#define FLAG_HEAD_BIAS       4
#define FLAG_MIXED           8  // att_in: its inputs are ready at ACT_MIXED (RWKV-6)
#define FLAG_GATE           16  // wkv5: times silu of the gate product
#define FLAG_DECAY_LORA     32  // wkv5: the decay depends on the token (RWKV-6)
#define FLAG_SHIFT          64  // att_out: moves ACT_N1 into the state, where no wkv stage does (RWKV-4)
#define FLAG_RECEPTANCE    128  // ffn_in, ffn_out: with a receptance (RWKV-4 to 6)
#define FLAG_PRE           256  // ffn_in, ffn_out: the ffnPre that some RWKV-4 have in place of time-mix
#define FLAG_HALVE         512  // ffn_out: x is halved afterwards
#define FLAG_MIX_IN       1024  // att_in: is the stage mix_in, the hidden vectors of token shift and nothing else (RWKV-6)
#define FLAG_FFN          2048  // chunk stages: of channel-mix
#define FLAG_OUTPUT       4096  // chunk_matrix: att.output
#define FLAG_INTERLEAVED 16384  // chunk_matrix: three products, 8 rows of each in turn (RWKV-4)
#define FLAG_HEAD         8192  // chunk_shift, chunk_matrix: of the rows whose logits are needed
#define FLAG_CHOSEN      32768  // chunk_embed: `choose` has written the rows' table
#define FLAG_SLOT_LOGITS 65536  // chunk_matrix: logits of a wanted row go to its slot's

// What weights are on the device (docs/formats.md, "Weights on the device").  x = scale q - min, with
//   Q4, Q5, Q8    an f16 scale for 32 weights; q is signed
//   Q4M, Q5M      an f16 scale and an f16 minimum for 32
//   Q4K, Q5K      a byte each for 32, times f16 d and dmin for 256
//   Q6K           a signed byte for 16, times f16 d for 256; q is signed
//   Q2K           4 bits in the place of 2; as Q4K, but for 16
#define TYPE_F32             0
#define TYPE_F16             1
#define TYPE_BF16            2
#define TYPE_Q8              3
#define TYPE_Q4              4
#define TYPE_Q4M             5
#define TYPE_Q4K             6
#define TYPE_Q5              7
#define TYPE_Q5M             8
#define TYPE_Q5K             9
#define TYPE_Q6K            10
#define TYPE_Q2K            11
#define TYPE_COUNT          12

// 32-bit words beside each k-block of a row: first those of the scales, then, 8 words a bit, the bits beyond the fourth.
#define SCALE_WORDS(type) \
	((type) == TYPE_Q8 ? 2 : (type) == TYPE_Q4 || (type) == TYPE_Q5 ? 4 : (type) == TYPE_Q4M || (type) == TYPE_Q5M ? 8 : \
	 (type) == TYPE_Q2K ? 9 : (type) >= TYPE_Q4 ? 5 : 0)
#define SIDE_WORDS(type) \
	(SCALE_WORDS(type) + ((type) == TYPE_Q6K ? 16 : (type) == TYPE_Q5 || (type) == TYPE_Q5M || (type) == TYPE_Q5K ? 8 : 0))

// ffn.value is stored transposed, so that a zero input costs nothing: in 128-byte lines, each with the weights of one input for
// a block of VALUE_BLOCK outputs, in the order of a k-block; the lines of a block are consecutive.  Beside them, for each
// block: the further bits of each line, then the scales of each group of VALUE_GROUP inputs (VALUE_SCALE_WORDS), then d and
// dmin of each 256 (VALUE_TOP_WORDS).
#define VALUE_BLOCK(type)    ((type) == TYPE_F32 ? 32 : (type) < TYPE_Q8 ? 64 : (type) == TYPE_Q8 ? 128 : 256)
#define VALUE_GROUP(type)    ((type) == TYPE_Q6K || (type) == TYPE_Q2K ? 16 : 32)
#define VALUE_HIGH_WORDS(type) (SIDE_WORDS(type) - SCALE_WORDS(type))
#define VALUE_SCALE_WORDS(type) \
	((type) < TYPE_Q8 ? 0 : (type) == TYPE_Q8 || (type) == TYPE_Q6K ? 64 : (type) == TYPE_Q4M || (type) == TYPE_Q5M ? 256 : 128)
#define VALUE_TOP_WORDS(type) \
	((type) == TYPE_Q6K ? 128 : (type) == TYPE_Q4K || (type) == TYPE_Q5K || (type) == TYPE_Q2K ? 256 : 0)
#define VALUE_INPUTS(F)      PAD(F, 256)
#define VALUE_SIDE_WORDS(type, F) \
	(VALUE_INPUTS(F) * VALUE_HIGH_WORDS(type) + VALUE_INPUTS(F) / VALUE_GROUP(type) * VALUE_SCALE_WORDS(type) + \
	 VALUE_INPUTS(F) / 256 * VALUE_TOP_WORDS(type))

// The activations: one buffer of floats, written by one stage and read by the next.  Every vector is padded with zeros to
// a multiple of 256 that no shader ever writes, so that a matrix row padded to a whole k-block multiplies zeros.
#define ACT_CONTROL          0                       // 128 words, see CONTROL_*
#define ACT_VECTOR(D, i)     (128 + (i) * PAD(D, 256))
#define ACT_X                128                     // [D] the residual stream
#define ACT_N1(D)            ACT_VECTOR(D, 1)        // [D] LN1 of x: the next token's shift state of time-mix
#define ACT_N2(D)            ACT_VECTOR(D, 2)        // [D] LN2 of x: the same of channel-mix
#define ACT_R(D)             ACT_VECTOR(D, 3)        // [D] receptance, key, value, gate: the products of att_in
#define ACT_K(D)             ACT_VECTOR(D, 4)
#define ACT_V(D)             ACT_VECTOR(D, 5)
#define ACT_G(D)             ACT_VECTOR(D, 6)
#define ACT_VFIRST(D)        ACT_VECTOR(D, 7)        // [D] layer 0's value (RWKV-7)
#define ACT_Y(D)             ACT_VECTOR(D, 8)        // [D] the input of att.output
#define ACT_FR(D)            ACT_VECTOR(D, 9)        // [D] ffn.receptance x
#define ACT_MIXED(D)         ACT_VECTOR(D, 10)       // [5][D] the shifted inputs of att_in in the order w, k, v, r, g (RWKV-6)
#define ACT_F(D)             ACT_VECTOR(D, 15)       // [F] relu(key x)^2
#define ACT_SUMS(D, F)       (ACT_F(D) + PAD(F, 256)) // [MAX_SUM_SLICES][D] partial sums of the workgroups of ffn_out
#define MAX_SUM_SLICES       32
#define ACT_ARRIVED(D, F)    (ACT_SUMS(D, F) + MAX_SUM_SLICES * PAD(D, 256)) // [D / 32] how many have come so far, words; 0 between stages
#define ACT_H(D, F)          (ACT_ARRIVED(D, F) + PAD((D) / 32 + 1, 128)) // hidden LoRA vectors, each padded to 8
#define ACT_FLOATS(D, F, hidden) (ACT_H(D, F) + PAD(hidden, 128))
// With texel reads a place for each workgroup follows: a chunk of a stage's input, or wkv7's vectors.
#define STAGING_FLOATS(chunk, N) ((chunk) > 5 * (N) ? (chunk) : 5 * (N))

// RWKV-7's hidden vectors in their order: decay, iclr, gate, value.  RWKV-6 has first the five of token shift, then the
// decay's in the same place.
#define HIDDEN(RW, RA, RG, RV) (PAD(RW, 8) + PAD(RA, 8) + PAD(RG, 8) + PAD(RV, 8))
#define MIXES                5
#define HIDDEN_MIX(R)        (MIXES * PAD(R, 8))

// The rows of a chunk: one buffer of floats.  A row is one token of one session; rows that follow each other in one session are
// a run.  First comes the table, words that the host writes and the first dispatch copies here; then a record for each row.
#define MAX_ROWS           256
#define TABLE_ROWS           0 // how many there are
#define TABLE_RUNS           1
#define TABLE_WANTED         2
#define TABLE_DONE           3 // the host's 0; the device answers with TABLE_ROWS
#define TABLE_ROW(i)         (8 + 4 * (i))                // of each row:
#define ROW_SLOT             0
#define ROW_TOKEN            1
#define ROW_BEFORE           2 // the row before it in its run; NO_ROW: the state
#define ROW_LAST             3 // 1: of its run
#define NO_ROW               0xffffffffu
#define TABLE_RUN(i)         (8 + 4 * MAX_ROWS + 4 * (i)) // of each run:
#define RUN_SLOT             0
#define RUN_FIRST            1 // row
#define RUN_ROWS             2
#define TABLE_WANT(i)        (8 + 8 * MAX_ROWS + (i))     // the i-th row whose logits are wanted
                                                          // (on the device NO_ROW if that has ended, see ASK)
#define TABLE_WORDS          (8 + 9 * MAX_ROWS)
#define ROWS_TABLE           PAD(TABLE_WORDS, 256)

// The vectors of a record are those of the activations, padded likewise with zeros.  Records do not begin a power of two apart,
// where they would share few sets of a cache.
#define ROW_VECTOR(D, i)     ((i) * PAD(D, 256))
#define ROW_X                0
#define ROW_N1(D)            ROW_VECTOR(D, 1)
#define ROW_N2(D)            ROW_VECTOR(D, 2)
#define ROW_R(D)             ROW_VECTOR(D, 3)
#define ROW_K(D)             ROW_VECTOR(D, 4)
#define ROW_V(D)             ROW_VECTOR(D, 5)
#define ROW_G(D)             ROW_VECTOR(D, 6)
#define ROW_VFIRST(D)        ROW_VECTOR(D, 7)
#define ROW_Y(D)             ROW_VECTOR(D, 8)
#define ROW_FR(D)            ROW_VECTOR(D, 9)
#define ROW_MIXED(D, i)      ROW_VECTOR(D, 10 + (i)) // [7][D] shifted by VEC_MIX_R + i, or VEC_MIX_FFN + i; then what wkv needs:
#define ROW_KK(D)            ROW_MIXED(D, 0)         // RWKV-7, see wkv7.comp: kk, w r, w, kk A, gate; 4 floats a head: b.r, k.r,
#define ROW_WR(D)            ROW_MIXED(D, 1)         // sum r k r_k
#define ROW_W(D)             ROW_MIXED(D, 2)         // RWKV-6: decay
#define ROW_B(D)             ROW_MIXED(D, 3)
#define ROW_GATE(D)          ROW_MIXED(D, 4)
#define ROW_DOTS(D)          ROW_MIXED(D, 5)
#define ROW_F(D)             ROW_VECTOR(D, 17)
#define ROW_H(D, F)          (ROW_F(D) + PAD(F, 256))
#define ROW_ARRIVED(D, F, hidden) (ROW_H(D, F) + PAD(hidden, 256)) // [D / 32] words of the first row of a tile, as ACT_ARRIVED
#define ROW_FLOATS(D, F, hidden) (ROW_ARRIVED(D, F, hidden) + PAD((D) / 32 + 1, 16))
#define MAX_ROW_SLICES       7 // their sums lie at ROW_MIXED

// Words at ACT_CONTROL that `select` sets for the stages after it.
#define CONTROL_SLOT         0 // which state of the pool
#define CONTROL_DONE         1 // DONE_*; unless it is 0, nothing is fed and every stage returns at once
#define CONTROL_TOKEN        2 // the token that is fed
#define CONTROL_PICK         3 // PICK_*, 0 if no token is picked from the head's logits: the rest then has no meaning
#define CONTROL_WEIGHT       4 // float: what the token adds to its count
#define CONTROL_PRESENCE     5 // floats, as in IO_*
#define CONTROL_FREQUENCY    6
#define CONTROL_DECAY        7
#define DONE_STOP            1 // the picked token ends the text
#define DONE_BROKEN          2 // a logit is not a number, or all are -infinity
#define DONE_UNKNOWN         3 // set by the host, at IO_DONE, until the device replaces it
#define DONE_MASKED          4 // `choose`: mask and biases leave no token

// The host's words, read and written by `select` alone.  A submission is one or more tokens: IO_FED counts them.
#define IO_MODE              0 // MODE_*
#define IO_SLOT              1
#define IO_FED               2 // the host's 0; tokens fed since
#define IO_PARTS             3 // entries at PICKS_PART; what follows is for MODE_PICK
#define IO_PICK              4 // PICK_*
#define IO_BARE              5 // 1: the first pick is from the bare logits, which no head has adjusted (common/picks.glsl)
#define IO_POSITION          6 // low and high word: the position of the submission's first token, the generator's counter
#define IO_SEED              8 // low and high word
#define IO_TEMPERATURE      10 // floats
#define IO_TOP_P            11
#define IO_TOP_K            12 // 0: no limit
#define IO_PRESENCE         13 // floats
#define IO_FREQUENCY        14
#define IO_DECAY            15
#define IO_STOP_COUNT       16 // tokens of the list at IO_STOPS are not fed
#define IO_PICKED           17 // out: the last token
#define IO_DONE             18 // out: CONTROL_DONE
#define IO_CLOSE            19 // the host's 0; draws since that rounding may have decided
#define IO_TOKENS           32 // [MAX_TOKENS] MODE_FEED: in; MODE_PICK: out, those that were fed
#define MAX_TOKENS         128
#define IO_STOPS           (IO_TOKENS + MAX_TOKENS) // [MAX_STOPS]
#define MAX_STOPS         1024
#define IO_WORDS           (IO_STOPS + MAX_STOPS)
#define MODE_FEED            0 // feed the host's tokens
#define MODE_PICK            1 // pick one from the last head's logits and feed it, unless it is in the list of stops
#define PICK_ON              1 // always
#define PICK_DRAW            2 // at random; else the most probable one
#define PICK_PENALTY         4 // with penalties for tokens that were picked before
#define PICK_BIAS            8 // with a number added to each logit
#define PICK_MASK           16 // `choose`: tokens that ASK_MASK does not have are never picked
#define PICK_LOGPROB        32 // `choose`: the logarithms of probabilities are needed too

// The host's table of rows whose tokens `choose` finds, one at a time: TABLE_*, then for each row a block that begins with the words
// above.  A row has ended once ASK_MOST tokens are fed or IO_DONE is neither 0 nor DONE_UNKNOWN; it is then no longer a row:
// it belongs to no run (RUN_ROWS 0), its logits are not wanted (NO_ROW), ROW_LAST is 0, its token is NO_ROW.
#define ASK(i, V)            (ROWS_TABLE + (i) * ASK_WORDS(V))
#define ASK_MOST            20 // tokens that the row may have in this submission; 0: it has ended before it begins
#define ASK_BIAS_COUNT      21 // with PICK_BIAS: of the list at ASK_BIASES; 0: the slot's PICKS_BIAS counts
#define ASK_TOP             22 // how many of the largest logits are wanted at ASK_TOPS, MAX_TOP at most; needs PICK_LOGPROB
#define MAX_TOP             20
#define ASK_BIASES          IO_WORDS // [MAX_BIASES] (token, float); those of a token add up in the list's order
#define MAX_BIASES        1024
#define ASK_LOGPROBS        (ASK_BIASES + 2 * MAX_BIASES) // out, floats [MAX_TOKENS]: of each picked token, of one that stops, too
#define ASK_TOPS            (ASK_LOGPROBS + MAX_TOKENS) // out [MAX_TOKENS][MAX_TOP] (token, float), the largest first; NO_ROW: no more
#define ASK_MASK            (ASK_TOPS + 2 * MAX_TOKENS * MAX_TOP) // [V4(V) / 32] a bit for each token that may be picked
#define ASK_WORDS(V)        PAD(ASK_MASK + V4(V) / 32, 64)

// The logits: a row of V4(V) floats for each slot.  The other data for picking: one buffer of floats, whose vectors are padded
// to V4(V), too.
#define V4(V)                PAD(V, 128)
#define PICKS_LIGHT          0                       // a bit a token: its weight is 0, else 1
#define PICKS_SLOT(V, slot)  (PAD(V4(V) / 32, 128) + (slot) * PICKS_STRIDE(V)) // of each slot:
#define PICKS_LOGITS         0                       // [V] with penalties and biases, made by the head if PICK_DRAW
#define PICKS_COUNT(V)       V4(V)                   // [V] the decayed count of each token; negative: it never came
#define PICKS_BIAS(V)        (2 * V4(V))             // [V] added to the logits; -infinity: never picked
#define PICKS_PART(V)        (3 * V4(V))             // [MAX_PARTS] (largest logit, its id or PART_*) of each head workgroup
#define MAX_PARTS            1024
#define PART_NONE            0xffffffffu // all are -infinity
#define PART_BROKEN          0xfffffffeu // one is NaN or +infinity; it counts as the largest
#define PICKS_STRIDE(V)      (PICKS_PART(V) + 2 * MAX_PARTS + 128) // 128 more: Mesa's compiler for Mali trips over 198,656
#define PICKS_FLOATS(V, slots) PICKS_SLOT(V, slots)

// The small vectors of a layer, f32, each padded to 128 with zeros: entry i of layer l is at (l * VEC_COUNT + i) * PAD(D, 128).
// src/network/vectors.c puts them into the form that the stages of all versions expect.
#define VEC_LN1_W            0
#define VEC_LN1_B            1
#define VEC_MIX_R            2 // token shift: n + (n' - n) mix
#define VEC_MIX_W            3
#define VEC_MIX_K            4
#define VEC_MIX_V            5
#define VEC_MIX_A            6
#define VEC_MIX_G            7
#define VEC_MIX_X            8 // RWKV-6: of the input of the mixing LoRA
#define VEC_DECAY            9 // 4: -exp(time_decay); 5: exp(-exp(time_decay)); 6: time_decay; 7: w0
#define VEC_BONUS           10 // 4 to 6: u
#define VEC_A0              11
#define VEC_V0              12
#define VEC_K_K             13
#define VEC_K_A             14
#define VEC_R_K             15
#define VEC_LNX_W           16
#define VEC_LNX_B           17
#define VEC_OUT_B           18 // att.output.bias, usually zeros
#define VEC_LN2_W           19
#define VEC_LN2_B           20
#define VEC_MIX_FFN         21 // token shift of channel-mix: its key
#define VEC_MIX_FFN_R       22 // and its receptance
#define VEC_COUNT           23
// After the last layer: these, then head.bias [V] if there is one.
#define VEC_LN0_W            0
#define VEC_LN0_B            1
#define VEC_LNOUT_W          2
#define VEC_LNOUT_B          3
#define VEC_HEAD_B           4

// A slot of a layer's state pool, floats: att_x [D], ffn_x [D], then W floats a channel.
#define STATE_ATT_X          0
#define STATE_FFN_X(D)       (D)
#define STATE_S(D)           (2 * (D)) // 5, 6: [H][key N][value N]; 7: [H][value N][key N]
#define STATE_AA(D)          (2 * (D)) // 4: [D] each
#define STATE_BB(D)          (3 * (D))
#define STATE_PP(D)          (4 * (D))
#define STATE_STRIDE(D, W)   PAD((D) * (2 + (W)), 64)

// Push constants.
#define PUSH_ROW_BEGIN       0 // the slice of the matrix that is bound: rows [begin, end), multiples of 8 except at the end
#define PUSH_ROW_END         1
#define PUSH_FIRST           2 // 1 for the first slice, which also does a stage's one-time work
#define PUSH_PART            3 // head: index of the first workgroup's entry at PICKS_PART
#define PUSH_SECOND_BEGIN    4 // ffn_in: the rows of the slice of its second matrix
#define PUSH_SECOND_END      5
#define PUSH_LAYER           6 // in layer 0, RWKV-7 has no value LoRA and keeps v for the other layers
#define PUSH_COUNT           7

#endif
