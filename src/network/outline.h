/* The matrices and LoRA factors of a network on the device, and their size in bytes. */
#ifndef RWKVK_NETWORK_OUTLINE_H
#define RWKVK_NETWORK_OUTLINE_H

#include "network/pack.h"

/* A matrix of stacked parts, each padded to a multiple of 8 rows if there are several; or interleaved, 8 rows of each in
 * turn. */
struct matrix {
	uint32_t type, rows, columns;
	bool interleaved;
	bool by_input;       /* ffn.value: see pack_value.c */
	uint32_t part_count; /* 0: the layer has no such matrix */
	struct matrix_part parts[5];
};

/* Outer LoRA factors [C,rank] for a stage that works head by head: see pack_lora(). */
struct lora {
	uint32_t type; /* F32, F16 or BF16 */
	uint32_t count, ranks[5];
	struct matrix_source sources[5];
};

struct outline_ffn {
	struct matrix key, receptance, value; /* [F,C]; [C,C], 4 to 6; [C,F] */
};

struct outline {
	struct matrix products; /* receptance, key, value, gate; [3 or 4 PAD(C,8), C]; RWKV-4: three, interleaved */
	struct matrix lora_in;  /* w1, a1, g1, v1; [HIDDEN, C] */
	struct lora lora_out;   /* w2, a2, g2, v2 */
	struct matrix mix_in;   /* RWKV-6: time_maa_w1, five parts; [5 PAD(D,8), C] */
	struct lora mix_out;    /* RWKV-6: time_maa_w2 */
	struct matrix output;   /* [C,C] */
	struct outline_ffn ffn, pre;
};

/* outline.c: the role of a matrix, and the device's type that a preset gives its floats. */
enum matrix_role { ROLE_PROJECTION, ROLE_FIRST_OUTPUT, ROLE_FFN_KEY, ROLE_FFN_VALUE, ROLE_TABLE, ROLES, ROLE_NONE = ROLES };
/* For a tensor of this layer or of no layer; ROLE_NONE: not one of the network's large matrices. */
enum matrix_role matrix_role(const struct network *network, uint32_t layer, const struct tensor *tensor);
uint32_t preset_type(rwkvk_quant quant, enum matrix_role role);

/* outline.c: the matrices of a layer, the embedding and the head on the device; no buffers yet. */
void outline_layer(const struct network *network, rwkvk_quant quant, uint32_t index, struct outline *out);
/* The embedding or the head. */
void outline_table(const struct network *network, const struct tensor *tensor, rwkvk_quant quant, struct matrix *out);
/* The type in which a tensor of the file is stored: type_name() of its matrix or LoRA, "F32" for vectors; NULL when it is
 * unused. */
const char *outline_type(const struct network *network, rwkvk_quant quant, const struct tensor *tensor);
/* All matrices of a layer, including absent ones; the same for LoRAs. */
enum { LAYER_MATRICES = 10, LAYER_LORAS = 2 };
void outline_matrices(struct outline *layer, struct matrix *out[LAYER_MATRICES]);
void outline_loras(struct outline *layer, struct lora *out[LAYER_LORAS]);
/* Bytes on the device: of `rows` rows of a matrix, and of the data beside them; matrices and LoRAs as a whole; the small
 * vectors of all layers. */
uint64_t matrix_plane_bytes(const struct matrix *matrix, uint64_t rows);
uint64_t matrix_side_bytes(const struct matrix *matrix, uint64_t rows);
uint64_t matrix_bytes(const struct matrix *matrix);
uint64_t lora_bytes(const struct lora *lora, const struct config *config);
uint64_t vectors_floats(const struct network *network);

/* Floats of the buffer of logits, and of the other data for picking. */
uint64_t logits_floats(const struct config *config, uint32_t slots);
uint64_t picks_floats(const struct config *config, uint32_t slots);
/* The number of snapshots.  Texts being written take text_snapshots() at most (NO_SNAPSHOT: a text that finds none), so a
 * prompt being read always finds one, because its own session is not writing a text. */
#define NO_SNAPSHOT UINT32_MAX
uint32_t text_snapshots(uint32_t max_batch);
uint32_t model_snapshots(uint32_t slots, uint32_t max_batch);
/* Device bytes of a slot, without a snapshot; and of the model with `slots` slots. */
uint64_t session_device_bytes(const struct config *config);
uint64_t model_device_bytes(const struct network *network, rwkvk_quant quant, uint32_t slots, uint32_t max_batch);
/* Bytes one token must read and write: weights once, its state twice, one embedding row. */
uint64_t model_token_bytes(const struct network *network, rwkvk_quant quant);
/* Multiply-adds of a token in the layers' matrices and LoRA factors, counting all inputs of ffn.value; without the head.
 */
uint64_t model_multiply_adds(const struct network *network);
/* uvec4s of a row of a LoRA factor, and the packing of all of them: head by head, factor by factor, then uvec4 by uvec4 of the
 * rank, the head's N channels adjacent.  scratch: the longest rank.  false: some are not finite. */
uint32_t lora_words(uint32_t rank, uint32_t type);
bool pack_lora(const struct lora *lora, const struct config *config, uint8_t *out, float *scratch);

#endif
