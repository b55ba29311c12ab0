/* The tensor names of each family of files. */
#ifndef RWKVK_FORMAT_DIALECTS_H
#define RWKVK_FORMAT_DIALECTS_H

#include "format/weights.h"

/* From the file's names to canonical ones (dialects.c), the last step of a reader: tensors are renamed, split into parts,
 * marked as swapped, and dropped if they have no effect.  Unknown names stay. */
enum { OFFICIAL_BYTES = 512 };
enum naming {
	NAMES_TORCH, /* official names, and those of Hugging Face, fla and web-rwkv */
	NAMES_RWKV_CPP,
	NAMES_GGUF_RWKV4,
	NAMES_GGUF_RWKV5,
	NAMES_GGUF_RWKV6,
	NAMES_GGUF_RWKV7
};
rwkvk_status weights_rename(struct weights *weights, enum naming naming);
/* The same for tensors of a file that is not a model, whose names may be of any dialect of PyTorch models; `model` shows the
 * version. */
rwkvk_status weights_rename_like(struct weights *weights, const struct weights *model);
/* What a tensor of such a name is called officially, and how its matrix differs from the official tensor. */
struct official_name {
	char text[OFFICIAL_BYTES];
	bool swapped; /* the last two dimensions are swapped */
	/* 5: the matrix consists of as many, under each other or side by side, in the order of fla's RWKV-6; else 1.  Part k is
	 * officially part order[k]. */
	uint32_t parts;
	bool beside;
	uint8_t order[8];
};
/* RWKVK_ERROR_UNSUPPORTED: the name stands for several tensors. */
rwkvk_status weights_official_name(const struct weights *weights, const struct weights *model, const char *name,
                                   struct official_name *out);
/* The last step of all: the embedding becomes the head, too, where metadata.tied allows it and there is none. */
rwkvk_status weights_tie(struct weights *weights);

/* The reverse, for writers: the name in a GGUF file for a canonical name.  false when it has none there. The file may want it
 * swapped, or as one of the `rows` of a tensor, which all are in `weights`. */
struct gguf_name {
	char text[300];
	bool swapped;
	bool follows; /* one of the rows, but not the first */
	uint32_t rows;
	const struct tensor *row[8];
};
bool weights_gguf_name(const struct weights *weights, enum naming naming, const char *name, struct gguf_name *out);

#endif
