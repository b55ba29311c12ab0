/* The model: what it is made of, every shape in a comment.  Read this before any code.
 *
 * C width, F FFN width, V vocabulary, L layers, H heads of N channels (H*N = C), D* a LoRA rank.  The mathematics is in
 * docs/model.md, the same names are used there, here and in the shaders.
 *
 *   config.c     recognises the model: version and sizes from names and shapes
 *   file.c       a model file without a device: opening and describing it
 *   synthetic.c  weights made on the fly, for measuring
 *   vectors.c    the small tensors as the stages use them
 *   outline.c    which matrices a layer consists of on the device
 *   pack.c       the layout of matrices on the device
 *   pack_value.c and of ffn.value, which lies the other way round
 *   quantise_device.c   both, made from floats by the device
 *   load.c       does it fit, upload
 *   export.c, export_keys.c   writing it as a file
 *   shape.c      how work is cut for a kind of device
 *   choice.c     and what tuning found instead
 *   plan.c       the stages that versions share: pipeline, bindings, rows
 *   rwkv4.c ...  what is special to a version
 *   forward.c    the token's plan: recorded once, submitted for every token
 *   pace.c       how many tokens a submission has
 *   stages.c     the stages of each version by name: what they read and write
 *   reference.c, reference_att.c   the same stages in plain C: what the shaders are compared with */
#ifndef RWKVK_MODEL_H
#define RWKVK_MODEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/cancel.h"
#include "base/parallel.h"
#include "base/report.h"
#include "format/weights.h"
#include "gpu/gpu.h"

#include "../../shaders/common/layout.h"

/* ------------------------------------------------------------------------------------------------------ the file */

struct config {
	uint32_t version;                                      /* 40, 50, 51, 52, 60, 70 */
	uint32_t layers;                                       /* L */
	uint32_t width;                                        /* C, a multiple of 4 */
	uint32_t ffn;                                          /* F */
	uint32_t vocab;                                        /* V */
	uint32_t heads;                                        /* H; RWKV-4: C, it has no heads */
	uint32_t head_size;                                    /* N, a multiple of 4; RWKV-4: 1 */
	uint32_t state_width;                                  /* state floats a channel besides the two shifts: N; RWKV-4: 3 */
	uint32_t rank_decay, rank_iclr, rank_gate, rank_value; /* the columns of w1, a1, g1, v1 */
	uint32_t rank_mix;                                     /* RWKV-6: a fifth of the columns of time_maa_w1 */
	bool embedding_norm;                                   /* blocks.0.ln0 exists */
	float group_norm_epsilon;                              /* of ln_x */
	uint32_t rescale;    /* n > 0: x is halved after every n layers, and what layer i adds to it is divided by 2^floor(i/n) */
	bool rescale_stored; /* that division is in the file's matrices already */
};

/* Tensors of one layer; [out,in] matrices.  NULL where a version has none, and where said. */
struct layer {
	const struct tensor *ln1_w, *ln1_b, *ln2_w, *ln2_b;         /* [C] */
	const struct tensor *mix_r, *mix_w, *mix_k, *mix_v, *mix_a; /* [C] token shift of time-mix; w: 6, 7; a: 7 */
	const struct tensor *mix_g, *mix_x;                         /* [C] g: 5.1 on; x: 6 */
	const struct tensor *receptance, *key, *value, *gate;       /* [C,C]; gate: 5.1 to 6 */
	const struct tensor *output, *output_b;                     /* [C,C]; [C] or NULL */
	const struct tensor *ln_x_w, *ln_x_b;                       /* [C], 5 on */
	const struct tensor *decay;                                 /* [C]; 5.0 and 5.1 [H] */
	const struct tensor *bonus;                                 /* [C], 4 to 6; 5.0 and 5.1 [H] */
	const struct tensor *mix_w1, *mix_w2;                       /* 6: [C,5D], [5,D,C], the last two swapped or not */
	const struct tensor *w1, *a1, *g1, *v1;         /* [C,D*] or swapped [D*,C]; w1: 6, 7; else 7; v1 not in layer 0 */
	const struct tensor *w2, *a2, *g2, *v2;         /* [D*,C] or swapped [C,D*]; likewise */
	const struct tensor *a0, *v0, *k_k, *k_a, *r_k; /* [C], 7; v0 not in layer 0 */
	const struct tensor *ffn_mix_k, *ffn_mix_r;     /* [C] token shift of channel-mix; r: 4 to 6 */
	const struct tensor *ffn_key, *ffn_value, *ffn_receptance; /* [F,C], [C,F]; [C,C], 4 to 6 */
	const struct tensor *pre_key, *pre_value, *pre_receptance; /* ffnPre of layer 0, instead of everything of time-mix, 4 */
};

struct network {
	struct config config;
	const struct tensor *emb;                 /* [V,C] */
	const struct tensor *ln0_w, *ln0_b;       /* [C] or NULL */
	const struct tensor *ln_out_w, *ln_out_b; /* [C] */
	const struct tensor *head, *head_b;       /* [V,C]; [V] or NULL */
	struct layer *layers;                     /* [L] */
};

/* Finds sizes and tensors; every shape is checked, a message names the tensor, its shape and the one expected. */
rwkvk_status network_init(const struct weights *weights, struct network *out);
void network_finish(struct network *network); /* zeroed is allowed */

/* "4", "5.0", "5.1", "5.2", "6", "7" */
const char *config_version(const struct config *config);
/* Floats of one layer's state, C * (2 + state_width), and of the slot they lie in; of one whole state. */
uint64_t config_layer_floats(const struct config *config);
uint64_t config_slot_floats(const struct config *config);
uint64_t config_state_floats(const struct config *config);
/* Floats of the activation buffer (shaders/common/layout.h), and of the hidden vectors in it. */
uint32_t config_act_floats(const struct config *config);
uint32_t config_hidden(const struct config *config);
/* What layer i adds to x is multiplied by this; whether x is halved after it. */
float config_residual(const struct config *config, uint32_t layer);
bool config_halves(const struct config *config, uint32_t layer);

/* A layer's state before the first token, [config_slot_floats()]. */
void state_start(const struct config *config, float *slot);

/* vectors.c: the small vector VEC_* of layer i, [C], as the stages of this version expect it; zeros where the file has none. */
void layer_vector(const struct network *network, uint32_t layer, uint32_t vec, float *out);

/* A model file without a device. */
struct rwkvk_file {
	struct weights weights;
	struct network network;
	rwkvk_tokenizer *tokenizer; /* owned; NULL when there is none */
	bool vocab_given;           /* it is not the file's own */
	bool add_bos;
	uint32_t begin_token, end_token; /* RWKVK_NO_TOKEN: there is none */
	rwkvk_quant quant;
};

/* synthetic.c: the tensors of rwkvk_tools_options.shape. */
rwkvk_status synthetic_weights(const char *shape, const char *type, struct weights *out);

/* file.c: a caller's options as this version's, checked; then what they name. */
rwkvk_status read_model_options(const rwkvk_model_options *given, rwkvk_model_options *own, rwkvk_tools_options *tools);
rwkvk_status file_init(const rwkvk_model_options *options, struct rwkvk_file *file);
void file_finish(struct rwkvk_file *file);
/* All of it but what only a device knows. */
void file_describe(const struct rwkvk_file *file, rwkvk_model_info *info);
rwkvk_status write_model_info(const rwkvk_model_info *own, rwkvk_model_info *given);
bool file_metadata(const struct rwkvk_file *file, size_t index, rwkvk_metadata *out);

/* ------------------------------------------------------------------------------------------------------ pack.c */

/* TYPE_* of layout.h that holds a file's type without loss, and its name. */
uint32_t type_of_dtype(enum dtype type);
/* The file's type that is the device's, and the one that floats are made into on the way there. */
enum dtype dtype_of_type(uint32_t type);
const char *type_name(uint32_t type);

/* One row of a k-block is 128 bytes: 32 F32, 64 F16 or BF16, 128 Q8, else 256 weights, of which 4 bits. */
uint32_t type_block(uint32_t type);

/* Bytes of `rows` rows of `columns` weights: the plane of weights, and the plane of what lies beside them, scales and further
 * bits (0 for plain types). */
uint64_t packed_bytes(uint32_t type, uint64_t rows, uint64_t columns);
uint64_t packed_side_bytes(uint32_t type, uint64_t rows, uint64_t columns);

/* Where packing reads: a matrix in a tensor of the file, or part of one.  Element [row,column] is element
 * start + row stride + column of the tensor, or, transposed, start + column stride + row. */
struct matrix_source {
	const struct tensor *tensor;
	uint64_t start, stride;
	bool transposed;
	uint32_t type; /* what to store: type_of_dtype() of the tensor's, F32, or what floats are quantised to */
};

/* A tensor that is a matrix of `columns` columns, stored as `type`. */
struct matrix_source matrix_source(const struct tensor *tensor, uint64_t columns, uint32_t type);
/* Part `part` of `parts` of a tensor that holds LoRA factors [rows,columns] each, or their transposes: told by its shape, or
 * by `swapped` where rows = columns.  first: an inner factor ([C,D] in official files) rather than an outer one ([D,C]). */
struct matrix_source lora_source(const struct tensor *tensor, uint32_t part, uint32_t parts, uint32_t rows, uint32_t columns,
                                 bool inner);

/* One row as floats, rounded as the device will have it. */
void source_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *out);

/* Elements [first, first + count) of a row, first a multiple of 256, as bytes of a file's type: the file's own, or made in
 * `scratch` (2 PAD(count, 256) floats); *type says which. */
const uint8_t *typed_row(const struct matrix_source *source, uint64_t row, uint64_t first, uint64_t count, float *scratch,
                         enum dtype *type);
/* 32 integers of Q4 to Q2K become 16-byte word u of 128 bytes, and what they have beyond 4 bits goes to the words `further`. */
void place_integers(uint32_t type, const int8_t *q, uint32_t u, uint8_t *plane, uint32_t *further);

/* Rows of a matrix that come from one source. */
struct matrix_part {
	struct matrix_source source;
	uint32_t rows;
};

/* Packing runs on all workers, and the bytes do not depend on how many there are.
 * scratch: [parallel_workers()][pack_scratch_floats(columns)]. */
uint64_t pack_scratch_floats(uint64_t columns);
/* Tiles [first, first + tiles) of 8 rows each.  With several parts, all of one type, tile t is tile t / count of part t %
 * count. `to` has packed_bytes(type, 8 tiles, columns), `side` (NULL for plain types) likewise; rows past a part's last
 * become zeros, columns past the end what a row filled up with zeros gives. */
void pack_tiles(struct parallel *parallel, const struct matrix_part *parts, uint32_t count, uint32_t columns, uint64_t first,
                uint64_t tiles, void *to, void *side, float *scratch);
/* pack_value.c: ffn.value the other way round (layout.h, VALUE_*): blocks [first, first + blocks) of VALUE_BLOCK outputs each,
 * of which those past the last become zeros.  Bytes of one block, and of what lies beside it. */
uint64_t value_block_bytes(uint32_t type, uint64_t inputs);
uint64_t value_side_bytes(uint32_t type, uint64_t inputs);
void pack_value_blocks(struct parallel *parallel, const struct matrix_part *part, uint32_t inputs, uint64_t first,
                       uint64_t blocks, void *to, void *side, float *scratch);
uint64_t value_scratch_floats(void);

/* ------------------------------------------------------------------------------------------------------ on the device */

/* A matrix in slices of rows, each at most one binding's range. */
struct device_slice {
	uint32_t row_begin, row_end;     /* row_begin is a multiple of 8, or 24 if interleaved */
	struct gpu_buffer weights, side; /* side.bytes 0 for plain types */
};

/* What it is made of (parts under each other, each padded to 8 rows if there are several; or interleaved, 8 rows of each in
 * turn), and, after loading, where it is. */
struct device_matrix {
	uint32_t type, rows, columns;
	bool interleaved;
	bool by_input;       /* ffn.value: see pack_value.c */
	uint32_t part_count; /* 0: the layer has no such matrix */
	struct matrix_part parts[5];
	uint32_t count;
	struct device_slice *slices;
};

/* Outer LoRA factors [C,rank] for a stage that works head by head: see pack_lora(). */
struct device_lora {
	uint32_t type; /* F32, F16 or BF16 */
	uint32_t count, ranks[5];
	struct matrix_source sources[5];
	struct gpu_buffer buffer;
};

struct device_ffn {
	struct device_matrix key, receptance, value; /* [F,C]; [C,C], 4 to 6; [C,F] */
};

struct device_layer {
	struct device_matrix products; /* receptance, key, value, gate; [3 or 4 PAD(C,8), C]; RWKV-4: three, interleaved */
	struct device_matrix lora_in;  /* w1, a1, g1, v1; [HIDDEN, C]; one slice */
	struct device_lora lora_out;   /* w2, a2, g2, v2 */
	struct device_matrix mix_in;   /* RWKV-6: time_maa_w1, five parts; [5 PAD(D,8), C]; one slice */
	struct device_lora mix_out;    /* RWKV-6: time_maa_w2 */
	struct device_matrix output;   /* [C,C] */
	struct device_ffn ffn, pre;
	struct gpu_buffer state;     /* [slots][STATE_STRIDE] */
	struct gpu_buffer snapshots; /* [snapshots][STATE_STRIDE]: slots as they were before a submission */
};

/* quantise_device.c: rows of floats go to the device as they are in the file, and there they become blocks in its layout: the
 * same bytes that pack_tiles() and pack_value_blocks() make (shaders/common/exact.glsl). */
struct quantiser;
/* Pieces have QUANTISE_PIECE bytes at most, and QUANTISE_PIECES of them are on their way at once, in memory of the device.  The
 * host's caches should hold them: then it writes half as fast again (docs/speed.md). */
enum { QUANTISE_PIECE = 4 << 20, QUANTISE_PIECES = 3 };
rwkvk_status quantiser_create(struct gpu *gpu, struct parallel *parallel, uint64_t piece_bytes, struct quantiser **out);
void quantiser_destroy(struct quantiser *quantiser); /* waits; NULL is allowed */
/* What makes blocks of a type of such floats; for those who look at what compilers make of it. */
rwkvk_status quantiser_pipeline(struct gpu *gpu, uint32_t floats, uint32_t type, struct gpu_pipeline **out);
/* Whether it makes this matrix: Q8, Q6K, Q5K or Q4K of floats, in columns of 32. */
bool quantiser_takes(const struct quantiser *quantiser, const struct device_matrix *matrix);
/* Rows of a part that a slice gets, `first` a multiple of 8. */
struct quantise_rows {
	const struct matrix_part *part;
	uint32_t columns;
	bool by_input;
	uint64_t first, rows;
	struct device_slice *slice; /* lives as long as the quantiser does */
	uint64_t to, step; /* tiles: the first one's place, and from one to the next; by input: the first block of 32 outputs */
};
/* Starts on as many of the rows as a piece has, and takes them away; the last piece of a matrix by input fills its block up. */
rwkvk_status quantise_piece(struct quantiser *quantiser, struct quantise_rows *rows);
/* Waits until the device has done all of it. */
rwkvk_status quantiser_finish(struct quantiser *quantiser);

/* outline.c: what a matrix is for, and the device's type that floats of it get by a preset. */
enum matrix_role { ROLE_PROJECTION, ROLE_FIRST_OUTPUT, ROLE_FFN_KEY, ROLE_FFN_VALUE, ROLE_TABLE, ROLES, ROLE_NONE = ROLES };
/* Of a tensor of this layer or of no layer; ROLE_NONE: none of the network's large matrices. */
enum matrix_role matrix_role(const struct network *network, uint32_t layer, const struct tensor *tensor);
uint32_t preset_type(rwkvk_quant quant, enum matrix_role role);

/* outline.c: what a layer, the embedding and the head consist of on the device; no buffers yet. */
void outline_layer(const struct network *network, rwkvk_quant quant, uint32_t index, struct device_layer *out);
/* The embedding or the head. */
void outline_table(const struct network *network, const struct tensor *tensor, rwkvk_quant quant, struct device_matrix *out);
/* What a tensor of the file is stored as: type_name() of its matrix or LoRA, "F32" for vectors; NULL when nothing is made of
 * it. */
const char *outline_type(const struct network *network, rwkvk_quant quant, const struct tensor *tensor);
/* All matrices of a layer, absent ones too; LoRAs likewise. */
enum { LAYER_MATRICES = 10, LAYER_LORAS = 2 };
void layer_matrices(struct device_layer *layer, struct device_matrix *out[LAYER_MATRICES]);
void layer_loras(struct device_layer *layer, struct device_lora *out[LAYER_LORAS]);
/* Bytes on the device: of `rows` rows of a matrix, and of what lies beside them; matrices and LoRAs as a whole; the small
 * vectors of all layers. */
uint64_t matrix_plane_bytes(const struct device_matrix *matrix, uint64_t rows);
uint64_t matrix_side_bytes(const struct device_matrix *matrix, uint64_t rows);
uint64_t matrix_bytes(const struct device_matrix *matrix);
uint64_t lora_bytes(const struct device_lora *lora, const struct config *config);
uint64_t vectors_floats(const struct network *network);
/* Cuts a matrix into slices of rows, each within what one binding may cover; no buffers yet.  Free matrix->slices.  `use` names
 * it in the message that one row does not fit. */
rwkvk_status matrix_cut(const struct gpu_caps *caps, struct device_matrix *matrix, const char *use);
/* Floats of the buffer of logits, and of what else tokens are picked from. */
uint64_t logits_floats(const struct config *config, uint32_t slots);
uint64_t picks_floats(const struct config *config, uint32_t slots);
/* How many texts can be written at a time that keep the state from before a submission (NO_SNAPSHOT: one that cannot). */
enum { MAX_SNAPSHOTS = 4, NO_SNAPSHOT = MAX_SNAPSHOTS };
uint32_t model_snapshots(uint32_t slots);
/* Device bytes of a slot, without a snapshot; and what the model needs with `slots` of them. */
uint64_t session_device_bytes(const struct config *config);
uint64_t model_device_bytes(const struct network *network, rwkvk_quant quant, uint32_t slots);
/* Bytes one token must read and write: weights once, its state twice, one embedding row. */
uint64_t model_token_bytes(const struct network *network, rwkvk_quant quant);
/* uvec4s of a row of a LoRA factor, and the packing of all of them: head by head, factor by factor, then uvec4 by uvec4 of
 * the rank, the head's N channels beside each other.  scratch: the longest rank. */
uint32_t lora_words(uint32_t rank, uint32_t type);
void pack_lora(const struct device_lora *lora, const struct config *config, uint8_t *out, float *scratch);

/* How the work is cut for a kind of device: specialisation constants. */
struct shape {
	uint32_t workgroup, lanes, rows, chunk;
	uint32_t state_lanes;
	uint32_t groups;         /* workgroups that a stage should have when it can */
	uint32_t staging_groups; /* those that have a place behind the activations, STAGING_FLOATS each */
};

/* One recorded dispatch; a barrier follows each.  Slices of one matrix do not depend on each other, but they are bound to the
 * same vectors, and nothing but a barrier tells validation and drivers that they touch different parts. */
struct step {
	struct gpu_pipeline *pipeline;
	struct gpu_set *set;
	uint32_t push[PUSH_COUNT];
	uint32_t groups;
	const char *stage;
	uint32_t layer;
	uint64_t bytes; /* least traffic: what it must read and write */
};

/* pace.c: how long tokens have taken, and how many the next submission may have (docs/architecture.md, Several tokens to a
 * submission). */
struct pace {
	uint32_t tokens;         /* of the last submission; 0: there was none */
	uint64_t usual, slowest; /* nanoseconds a token: an average of the last few, and the slowest, slowly forgotten */
};
void pace_measured(struct pace *pace, uint32_t tokens, uint64_t nanoseconds);
/* From 1 to most, and to MAX_TOKENS. */
uint32_t pace_tokens(const struct pace *pace, rwkvk_device_type type, uint64_t most);

/* How this device runs a token of the model: everything that follows from a shape.  It can be replaced while states and weights
 * stay. */
struct plan {
	struct shape shape;
	struct gpu_buffer act;                         /* ACT_* */
	struct step *steps;                            /* one token: select, the layers', head */
	uint32_t step_count, step_capacity, head_step; /* head_step: index of the first step of the head */
	uint32_t parts;                                /* workgroups of the head */
	struct gpu_cmd *feed, *run;                    /* a token without and with the head */
};

struct rwkvk_model {
	struct rwkvk_file file;
	struct gpu *gpu;
	struct plan plan;
	pthread_mutex_t lock; /* around everything that touches the device */
	bool has_lock;
	atomic_bool closed;        /* by rwkvk_model_close(): what is left of it belongs to its sessions */
	uint32_t sessions;         /* alive */
	bool count_inputs;         /* before model_load(): a profile is wanted */
	uint32_t threads;          /* that pack weights; 0: one for each processor */
	const atomic_bool *cancel; /* while opening: gives up once it is set; NULL: never */

	struct device_layer *layers; /* [L] */
	struct device_matrix emb, head;
	struct gpu_buffer vectors;     /* small tensors, f32: VEC_* */
	struct gpu_buffer logits;      /* [slots][V4] */
	struct gpu_buffer picks;       /* PICKS_* */
	struct gpu_buffer io;          /* IO_* */
	struct gpu_buffer used_inputs; /* [L,2] with a profile: inputs of ffn.value not zero, and read, over all tokens */

	uint32_t snapshots;                 /* model_snapshots(slots) */
	bool snapshot_taken[MAX_SNAPSHOTS]; /* by a text that is being written */
	struct gpu_cmd **keep;              /* [slots][snapshots] copies a slot's state there; NULL: not recorded yet */
	struct pace feed_pace, run_pace;
	uint32_t at_once; /* tokens of every submission, if not 0 */

	float *start_state; /* [L][STATE_STRIDE]: before the first token */
	bool *slot_taken;   /* [slots] */
	uint32_t slots;
	bool has_light;          /* PICKS_LIGHT is there: since the first session */
	_Atomic uint64_t tokens; /* fed so far */
	uint64_t weight_bytes;   /* on the device */
};

/* model.c: takes the lock, unless the model is closed; and the error that it then is. */
rwkvk_status model_lock(struct rwkvk_model *model);
rwkvk_status model_is_closed(const struct rwkvk_model *model);
void model_unlock(struct rwkvk_model *model);
/* The logits of a slot, [V]. */
float *model_logits(const struct rwkvk_model *model, uint32_t slot);
/* One session less; the last one of a closed model frees it. */
void model_release(struct rwkvk_model *model);

/* load.c: fit check, buffers, upload. */
rwkvk_status model_load(struct rwkvk_model *model, rwkvk_progress_fn *progress, void *user);
void model_unload(struct rwkvk_model *model);

/* forward.c */
/* A plan for a shape, after load: activations, pipelines, sets, recording.  The model's own is not touched. */
rwkvk_status forward_make(struct rwkvk_model *model, const struct shape *shape, struct plan *out);
/* The same for the model's own plan; when it cannot be made, the one before stays. */
rwkvk_status forward_plan(struct rwkvk_model *model, const struct shape *shape);
void forward_drop(struct rwkvk_model *model, struct plan *plan); /* zeroed is allowed */
/* Pipelines and sets of the model's own plan, whose shape is set; without activations, pipelines alone. */
rwkvk_status forward_steps(struct rwkvk_model *model);
/* Feeds tokens in one submission, as many as the pace allows; *fed tells how many.  The head runs after the last of `count`. */
rwkvk_status forward_feed(struct rwkvk_model *model, uint32_t slot, const uint32_t *tokens, size_t count, bool head,
                          uint32_t *fed);
rwkvk_status forward_token(struct rwkvk_model *model, uint32_t slot, uint32_t token, bool head);

/* How tokens are picked on the device.  The counts and biases that `pick` names are in the picks buffer. */
struct picking {
	uint32_t pick;     /* PICK_* */
	bool bare;         /* no head has made the logits ready for this way of picking */
	uint32_t snapshot; /* where the state from before may be kept; NO_SNAPSHOT: nowhere, so one token is picked */
	uint64_t position; /* of the first token */
	const rwkvk_sampling *sampling;
	const uint32_t *stops; /* MAX_STOPS at most */
	size_t stop_count;
};
struct picked {
	uint32_t tokens[MAX_TOKENS], count; /* fed */
	bool stopped;                       /* a token of the list was picked after these, and not fed */
	uint32_t stop;                      /* which, then */
	uint32_t close;                     /* draws that rounding may have decided */
};
/* Picks and feeds tokens in one submission, as many as the pace and `most` allow, from the logits on the device, which must be
 * the slot's. */
rwkvk_status forward_pick(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint64_t most,
                          struct picked *out);
/* The first token it would pick, and nothing is fed: for verification. */
rwkvk_status forward_select(struct rwkvk_model *model, uint32_t slot, const struct picking *picking, uint32_t *token,
                            bool *is_close);
/* Takes a snapshot for a text in this slot, and records how it is made if this pair is new; NO_SNAPSHOT: none is free. */
rwkvk_status forward_take_snapshot(struct rwkvk_model *model, uint32_t slot, uint32_t *snapshot);
void forward_give_snapshot(struct rwkvk_model *model, uint32_t snapshot); /* NO_SNAPSHOT is allowed */
/* The snapshot becomes the slot's state. */
rwkvk_status forward_rewind(struct rwkvk_model *model, uint32_t slot, uint32_t snapshot);
/* Runs the steps of one stage of one layer on whatever the buffers hold: for tests and verification. */
rwkvk_status forward_stage(struct rwkvk_model *model, uint32_t layer, const char *stage);

/* plan.c: a dispatch in the making.  dispatch_init() fills in what all have: sizes, activations, the layer's vectors and state
 * (layer L: the vectors of no layer, no state); the stage sets the rest and hands it to plan_step(). */
struct dispatch {
	const char *shader, *stage;
	uint32_t layer, groups;
	uint32_t constants[SPEC_COUNT], push[PUSH_COUNT];
	struct gpu_binding bindings[GPU_BINDINGS];
	uint64_t bytes;
};
void dispatch_init(struct rwkvk_model *model, uint32_t layer, const char *shader, const char *stage, struct dispatch *out);
/* Binds the slice of a matrix as the stage's first. */
void dispatch_slice(struct dispatch *dispatch, struct device_matrix *matrix, uint32_t index);
/* Binds a LoRA; its ranks become the constants'. */
void dispatch_lora(struct dispatch *dispatch, struct device_lora *lora);
rwkvk_status plan_step(struct rwkvk_model *model, const struct dispatch *dispatch);
struct gpu_binding whole(struct gpu_buffer *buffer);
/* Workgroups for `rows` rows at `passes` passes, and the passes with which about shape.groups of them do `rows`. */
uint32_t groups_for(const struct shape *shape, uint32_t rows, uint32_t passes);
uint32_t passes_for(const struct shape *shape, uint32_t rows);
/* The stages that versions share.  att_in: `lora` may have no parts; flags FLAG_MIXED. */
rwkvk_status plan_select(struct rwkvk_model *model);
rwkvk_status plan_att_in(struct rwkvk_model *model, uint32_t layer, const char *stage, struct device_matrix *products,
                         struct device_matrix *lora, uint32_t flags);
rwkvk_status plan_att_out(struct rwkvk_model *model, uint32_t layer, uint32_t flags);
rwkvk_status plan_ffn(struct rwkvk_model *model, uint32_t layer, struct device_ffn *ffn, bool pre);
rwkvk_status plan_head(struct rwkvk_model *model);
/* rwkv4.c to rwkv7.c: appends the steps of a layer.  rwkv5.c's wkv stage is RWKV-6's too. */
rwkvk_status rwkv4_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status rwkv5_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status rwkv6_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status rwkv7_plan(struct rwkvk_model *model, uint32_t layer);
rwkvk_status plan_wkv5(struct rwkvk_model *model, uint32_t layer);

/* shape.c: the table of device kinds; `caps` limits what is taken from it. */
struct shape shape_for(const struct gpu_caps *caps, const struct config *config);
/* Fills in what follows from workgroup, lanes, rows and groups; false when the device or the shaders cannot have these. */
bool shape_complete(struct shape *shape, const struct gpu_caps *caps, const struct config *config);
/* choice.c: plans a loaded model with the shape that tuning found for such models on the device, else with the usual one.  What
 * was found and does not work any more is dropped, with a message. */
rwkvk_status choice_plan(struct rwkvk_model *model);
/* Keeps the shape of the model's plan. */
rwkvk_status choice_save(const struct rwkvk_model *model);
/* The constants that all stages have. */
void shape_constants(const struct shape *shape, const struct config *config, uint32_t constants[SPEC_COUNT]);

/* ------------------------------------------------------------------------------------------------------ stages.c */

/* A stage as tests and verification see it: the reference that does the same, and the vectors of the activation buffer that
 * it reads and writes (NULL-terminated). */
struct reference;
struct stage {
	const char *name;
	void (*reference)(const struct reference *ref, uint32_t layer, float *state, float *act);
	const char *reads[10], *writes[10];
};
enum { MAX_STAGES = 7, MAX_REGIONS = 24 };
/* The stages of layer `index` in order; returns how many. */
uint32_t layer_stages(const struct network *network, uint32_t index, struct stage out[MAX_STAGES]);

/* A vector of the activation buffer. */
struct region {
	const char *name;
	uint32_t at, count;
};
uint32_t act_regions(const struct config *config, struct region out[MAX_REGIONS]);

/* ------------------------------------------------------------------------------------------------------ reference.c */

/* The stages in plain C on the file's tensors.  `act` is laid out like the device's activation buffer, `state` is one layer's
 * slot (STATE_*).  Each reads and writes exactly what its shader does. */
struct reference {
	const struct network *network;
	rwkvk_quant quant; /* weights are rounded as the loader would */
	uint32_t stride;   /* floats of a line of `work`: the longest vector */
	float *work;       /* [REFERENCE_LINES][stride], so a reference serves one thread */
};
enum { REFERENCE_LINES = 12 };
/* Sums are in double, so that what a comparison shows is the other side's rounding. */
rwkvk_status reference_init(struct reference *ref, const struct network *network, rwkvk_quant quant);
void reference_finish(struct reference *ref);
void reference_select(const struct reference *ref, uint32_t token, float *act);
void reference_att_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_mix_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_mix(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_att_wkv4(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_wkv5(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_wkv7(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_att_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_pre_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_pre_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_ffn_in(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_ffn_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_head(const struct reference *ref, const float *act, float *logits);
/* The helpers of reference.c that reference_att.c uses.  Lines 0 to 2 of the workspace are theirs, a stage's own start at 3. */
float *reference_line(const struct reference *ref, unsigned i);
const float *reference_vector(const struct reference *ref, unsigned i, uint32_t layer, uint32_t vec);
void reference_matvec(const struct reference *ref, struct matrix_source source, uint32_t rows, uint32_t columns, const float *x,
                      float *out); /* uses line 0 */
void reference_part(const struct reference *ref, const struct device_matrix *matrix, uint32_t part, const float *x, float *out);
void reference_norm(const float *x, const float *w, const float *b, uint32_t n, float *out);
void reference_shift(const float *n, const float *before, const float *mix, uint32_t count, float *out);
/* y = GroupNorm(y; ln_x) of one head; uses lines 1 and 2. */
void reference_group_norm(const struct reference *ref, uint32_t layer, uint32_t head, float *y);
/* A fresh state, and a whole token: states is [L][config_slot_floats()]; logits may be NULL. */
void reference_start(const struct reference *ref, float *states);
void reference_token(const struct reference *ref, uint32_t token, float *states, float *act, float *logits);

#endif
