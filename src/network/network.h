/* The network: the definition of a model, every shape in a comment.  Read this before any code.  The rest of this folder,
 * which knows no device, is in outline.h, pack.h and reference.h.
 *
 * C width, F FFN width, V vocabulary, L layers, H heads of N channels (H*N = C), D* a LoRA rank.  The mathematics is in
 * docs/model.md, the same names are used there, here and in the shaders. */
#ifndef RWKVK_NETWORK_H
#define RWKVK_NETWORK_H

#include "base/report.h"
#include "format/weights.h"
#include "text/chat.h"

#include "../../shaders/common/layout.h"

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
	bool rescale_stored; /* the file's matrices already include that division */
};

/* Tensors of one layer; [out,in] matrices.  NULL where a version has none, and where stated. */
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

/* Finds sizes and tensors.  Checks every shape; a message names the tensor, its shape and the expected one. */
rwkvk_status network_init(const struct weights *weights, struct network *out);
void network_finish(struct network *network); /* zeroed is allowed */

/* unused.c: tensors that are no part of the network.  Adapters and biases of its matrices are refused by name.  The others are
 * reported, by their number and the first name, except start states and dummies, which have no effect. */
bool network_uses(const struct network *network, const struct tensor *tensor);
bool is_dummy(const struct network *network, const struct tensor *tensor);
rwkvk_status refuse_adapters(const struct weights *weights);  /* whose file is not named as one, too */
rwkvk_status refuse_attention(const struct weights *weights); /* in a layer of a model that has RWKV layers, too */
rwkvk_status refuse_foreign(const struct weights *weights, const struct tensor *tensor); /* of a type that models do not use */
rwkvk_status check_unused(const struct weights *weights, const struct network *network, const struct listener *listener);

/* "4", "5.0", "5.1", "5.2", "6", "7" */
const char *config_version(const struct config *config);
/* Floats of one layer's state, C * (2 + state_width), and of the slot they lie in; of one whole state. */
uint64_t config_layer_floats(const struct config *config);
uint64_t config_slot_floats(const struct config *config);
uint64_t config_state_floats(const struct config *config);
/* Floats of the activation buffer (shaders/common/layout.h), and of the hidden vectors in it. */
uint32_t config_act_floats(const struct config *config);
uint32_t config_row_floats(const struct config *config); /* of a row's record in a chunk */
uint32_t config_hidden(const struct config *config);
/* The factor of layer i's contribution to x; whether x is halved after it. */
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
	bool vocab_given;           /* not the file's own */
	bool add_bos;
	uint32_t begin_token, end_token; /* RWKVK_NO_TOKEN: there is none */
	rwkvk_quant quant;
};

/* numbers.c: refuses the file for its first tensor with numbers that are not finite or too large for the device's type.  Reads
 * the whole file: for when results are known to be wrong or need checking.  RWKVK_OK: the file is not to blame. */
rwkvk_status check_weights(const struct rwkvk_file *file);
/* The same, without a name, for `count` floats from layer_vector() and similar functions, and for head.bias. */
bool vectors_are_sound(const struct network *network, const float *vectors, uint64_t count);

/* synthetic.c: the tensors of rwkvk_tools_options.shape. */
rwkvk_status synthetic_weights(const char *shape, const char *type, struct weights *out);

/* file.c: a caller's options as this version's struct, checked; then the files that they name. */
rwkvk_status read_model_options(const rwkvk_model_options *given, rwkvk_model_options *own, rwkvk_tools_options *tools);
rwkvk_status file_init(const rwkvk_model_options *options, struct rwkvk_file *file);
void file_finish(struct rwkvk_file *file);
/* All information except what only a device knows. */
void file_describe(const struct rwkvk_file *file, rwkvk_model_info *info);
rwkvk_status write_model_info(const rwkvk_model_info *own, rwkvk_model_info *given);
bool file_metadata(const struct rwkvk_file *file, size_t index, rwkvk_metadata *out);
/* Its chat template, and a message about the choice. */
struct chat_choice file_chat(const struct rwkvk_file *file);
void file_report_chat(const struct rwkvk_file *file, const struct listener *listener);

#endif
