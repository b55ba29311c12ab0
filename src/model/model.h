/* The model: what it is made of, every shape in a comment.  Read this before any code.
 *
 * C width, F FFN width, V vocabulary, L layers, H heads of N channels (H*N = C), D* a LoRA rank.  The mathematics is in
 * docs/model.md, the same names are used there, here and in the shaders.
 *
 *   config.c     recognises the model: sizes from shapes, tensors from names
 *   pack.c       the layout of matrices on the device
 *   load.c       does it fit, upload
 *   forward.c    the token's plan: recorded once, submitted for every token
 *   rwkv7.c      what RWKV-7's stages are: pipeline, bindings, rows
 *   reference.c  the same stages in plain C: what the shaders are compared with */
#ifndef RWKVK_MODEL_H
#define RWKVK_MODEL_H

#include <pthread.h>

#include "format/weights.h"
#include "gpu/gpu.h"

#include "../../shaders/common/layout.h"

/* ------------------------------------------------------------------------------------------------------ the file */

struct config {
	uint32_t version;                                      /* 70: RWKV-7 */
	uint32_t layers;                                       /* L */
	uint32_t width;                                        /* C, a multiple of 4 */
	uint32_t ffn;                                          /* F */
	uint32_t vocab;                                        /* V */
	uint32_t heads;                                        /* H */
	uint32_t head_size;                                    /* N, a multiple of 4 */
	uint32_t rank_decay, rank_iclr, rank_gate, rank_value; /* the columns of w1, a1, g1, v1 */
	bool embedding_norm;                                   /* blocks.0.ln0 exists */
};

/* Tensors of one layer; [out,in] matrices.  NULL only where said. */
struct layer {
	const struct tensor *ln1_w, *ln1_b, *ln2_w, *ln2_b;     /* [C] */
	const struct tensor *x_r, *x_w, *x_k, *x_v, *x_a, *x_g; /* [C] token shift of time-mix */
	const struct tensor *w0, *a0, *v0;                      /* [C] v0 NULL in layer 0 */
	const struct tensor *w1, *a1, *g1, *v1;                 /* [C,D*] or swapped [D*,C]; v1 NULL in layer 0 */
	const struct tensor *w2, *a2, *g2, *v2;                 /* [D*,C] or swapped [C,D*]; v2 NULL in layer 0 */
	const struct tensor *k_k, *k_a, *r_k;                   /* [C]; r_k [H,N] or [C] */
	const struct tensor *receptance, *key, *value, *output; /* [C,C] */
	const struct tensor *output_b;                          /* [C] or NULL */
	const struct tensor *ln_x_w, *ln_x_b;                   /* [C] */
	const struct tensor *x_k_ffn;                           /* [C] token shift of channel-mix */
	const struct tensor *ffn_key;                           /* [F,C] */
	const struct tensor *ffn_value;                         /* [C,F] */
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

/* Floats of one state: L * C * (2 + N). */
uint64_t config_state_floats(const struct config *config);
/* Floats of the activation buffer (shaders/common/layout.h). */
uint32_t config_act_floats(const struct config *config);
/* Where ACT_F begins, which depends on the ranks. */
uint32_t config_hidden(const struct config *config);

/* A model file without a device. */
struct rwkvk_file {
	struct weights weights;
	struct network network;
	rwkvk_tokenizer *tokenizer; /* owned; NULL when there is none */
	bool add_bos;
	rwkvk_quant quant;
};

rwkvk_status file_init(const rwkvk_model_options *options, struct rwkvk_file *file);
void file_finish(struct rwkvk_file *file);

/* ------------------------------------------------------------------------------------------------------ pack.c */

/* The device's type of a matrix: the file's, or Q8 when --quant q8 applies to it.  TYPE_* of layout.h. */
uint32_t type_of_dtype(enum dtype type);

/* One row of a k-block is 128 bytes: 32 F32, 64 F16 or BF16, 128 Q8. */
uint32_t type_block(uint32_t type);

/* Bytes of `rows` rows of `columns` weights: the plane of weights, and the plane of scales (0 but for Q8). */
uint64_t packed_bytes(uint32_t type, uint64_t rows, uint64_t columns);
uint64_t packed_scale_bytes(uint32_t type, uint64_t rows, uint64_t columns);

/* Where pack_rows() reads: a tensor as the file has it. */
struct matrix_source {
	const struct tensor *tensor; /* [rows,columns], or its transpose */
	bool transposed;             /* the tensor is [columns,rows] */
	uint32_t type;               /* what to store; equal to the tensor's, or any float type or Q8 made from floats */
};

/* Packs rows [first, first + rows) of a source, first a multiple of 8, into tiles of 8 rows.  `to` has
 * packed_bytes(type, rows, columns); rows past `source_rows` and columns past the end become zeros.  scales: likewise,
 * NULL but for Q8.  scratch: 2 PAD(columns, 128) floats. */
void pack_rows(const struct matrix_source *source, uint64_t source_rows, uint64_t columns, uint64_t first, uint64_t rows,
               void *to, void *scales, float *scratch);

/* A LoRA factor as [rows,columns], told by its shape, or by swapped where rows = columns. */
struct matrix_source lora_source(const struct tensor *tensor, uint32_t rows, uint32_t columns);

/* One row as floats, rounded as the device will have it. */
void source_row(const struct matrix_source *source, uint64_t row, uint64_t columns, float *out);

/* ------------------------------------------------------------------------------------------------------ on the device */

/* A matrix in slices of rows, each at most one binding's range. */
struct device_slice {
	uint32_t row_begin, row_end;       /* row_begin is a multiple of 8 */
	struct gpu_buffer weights, scales; /* scales.bytes 0 but for Q8 */
};

struct device_matrix {
	uint32_t type, rows, columns;
	uint32_t count;
	struct device_slice *slices;
};

struct device_layer {
	struct device_matrix rkv;     /* receptance, key, value under each other, each padded to 8 rows; [3 PAD(C,8), C] */
	struct device_matrix lora_in; /* w1, a1, g1, v1 under each other, each padded to 8 rows; [HIDDEN, C]; one slice */
	struct gpu_buffer lora_out;   /* w2, a2, g2, v2 by head, see load.c */
	uint32_t lora_type;           /* of lora_out: F32, F16 or BF16 */
	struct device_matrix output, ffn_key, ffn_value;
	struct gpu_buffer state; /* [slots][STATE_STRIDE] */
};

/* How the work is cut for a kind of device: specialisation constants. */
struct shape {
	uint32_t workgroup, lanes, rows, chunk;
	uint32_t state_lanes;
	uint32_t groups; /* workgroups that a stage should have when it can */
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

struct rwkvk_model {
	struct rwkvk_file file;
	struct gpu *gpu;
	struct shape shape;
	pthread_mutex_t lock; /* around everything that touches the device */
	bool has_lock;

	struct device_layer *layers; /* [L] */
	struct device_matrix emb, head;
	struct gpu_buffer vectors; /* small tensors, f32: VEC_* */
	struct gpu_buffer act;     /* ACT_* */
	struct gpu_buffer logits;  /* [V] */
	struct gpu_buffer io;      /* IO_* */

	struct step *steps;                            /* one token: select, 5 a layer, head */
	uint32_t step_count, step_capacity, head_step; /* head_step: index of the first step of the head */
	uint32_t parts;                                /* workgroups of the head */
	struct gpu_cmd *feed, *run;                    /* a token without and with the head */

	bool *slot_taken;         /* [slots] */
	uint32_t slots;           /* before model_load(): what was asked for */
	rwkvk_session *logits_of; /* whose logits the device holds; NULL: nobody's */
	uint64_t tokens;
	uint64_t weight_bytes; /* on the device */
};

/* load.c: fit check, buffers, upload. */
rwkvk_status model_load(struct rwkvk_model *model, rwkvk_progress_fn *progress, void *user);
void model_unload(struct rwkvk_model *model);
/* Device bytes that the model needs with `slots` states. */
uint64_t model_device_bytes(const struct network *network, rwkvk_quant quant, uint32_t slots);
/* Bytes one token must read and write: weights once, its state twice, one embedding row. */
uint64_t model_token_bytes(const struct network *network, rwkvk_quant quant);
/* The device's type of a large matrix. */
uint32_t matrix_type(const struct tensor *tensor, rwkvk_quant quant);

/* forward.c */
rwkvk_status forward_plan(struct rwkvk_model *model); /* after load: pipelines, sets, recording */
rwkvk_status forward_token(struct rwkvk_model *model, uint32_t slot, uint32_t token, bool head);
/* Feeds the most probable token of the head run before, which must be the same slot's; *token tells which.  A token of the
 * list (MAX_STOPS at most) is not fed: *stopped. */
rwkvk_status forward_argmax(struct rwkvk_model *model, uint32_t slot, const uint32_t *stops, size_t stop_count, uint32_t *token,
                            bool *stopped);
/* Runs the steps of one stage of one layer on whatever the buffers hold: for tests and verification. */
rwkvk_status forward_stage(struct rwkvk_model *model, uint32_t layer, const char *stage);
/* Appends a step to the plan; used by rwkv7.c. */
rwkvk_status plan_step(struct rwkvk_model *model, const char *shader, const uint32_t constants[SPEC_COUNT],
                       const struct gpu_binding bindings[GPU_BINDINGS], const uint32_t push[PUSH_COUNT], uint32_t groups,
                       const char *stage, uint32_t layer, uint64_t bytes);

/* rwkv7.c: appends all steps of a token. */
rwkvk_status rwkv7_plan(struct rwkvk_model *model);

/* shape.c: the table of device kinds; `caps` limits what is taken from it. */
struct shape shape_for(const struct gpu_caps *caps, const struct config *config);
/* The specialisation constants of a stage. */
struct stage_types {
	uint32_t weights, lora;
};
void stage_constants(const struct shape *shape, const struct config *config, struct stage_types types, bool first_layer,
                     uint32_t passes, uint32_t flags, uint32_t constants[SPEC_COUNT]);

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
void reference_att_in(const struct reference *ref, uint32_t layer, const float *state, float *act);
void reference_wkv(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_att_out(const struct reference *ref, uint32_t layer, float *act);
void reference_ffn_in(const struct reference *ref, uint32_t layer, const float *state, float *act);
void reference_ffn_out(const struct reference *ref, uint32_t layer, float *state, float *act);
void reference_head(const struct reference *ref, const float *act, float *logits);
/* A whole token: states is [L][STATE_STRIDE]; logits may be NULL. */
void reference_token(const struct reference *ref, uint32_t token, float *states, float *act, float *logits);

#endif
