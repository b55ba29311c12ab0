/* A file with adapters, as RWKV-PEFT and Hugging Face's peft write them: which of its tensors belong to which module of a
 * model, and their scale.  adapt.c applies them to the model. */
#ifndef RWKVK_FORMAT_ADAPTER_H
#define RWKVK_FORMAT_ADAPTER_H

#include "format/weights.h"

enum adapter_role {
	ADAPTER_A, /* [rank,in]; of an embedding [rank,vocabulary] */
	ADAPTER_B, /* [out,rank]; of an embedding [width,rank] */
	ADAPTER_INIT_A,
	ADAPTER_INIT_B,    /* of PiSSA: what A and B were at first, which was taken out of the weight */
	ADAPTER_MAGNITUDE, /* of DoRA: [out] */
	ADAPTER_BONE,      /* bone, disha, miss: [r,out], or blocks [n,r,r] */
	ADAPTER_ALPHA,     /* one number */
	ADAPTER_ROLES
};

/* The file's tensors for one linear layer, or the embedding. */
struct adapter_module {
	char *name; /* "blocks.0.att.key", as in the file */
	const struct tensor *parts[ADAPTER_ROLES];
	bool turned; /* A is [in,rank], as web-rwkv's converter leaves it */
	bool below;  /* blocks are those of rows, as in peft's bat */
};

/* adapter_config.json beside the file; zeroed where there is none. */
struct adapter_config {
	bool found, rank_root; /* scale = alpha / sqrt(rank) */
	double alpha;          /* 0: not said */
	struct adapter_alpha {
		char *module; /* its name, or what that ends in */
		double alpha;
	} * alphas; /* instead, for single modules */
	size_t alpha_count;
};

struct adapter {
	struct weights weights; /* under the names of the file; what is no adapter's is whole: it takes a tensor's place */
	struct adapter_module *modules;
	size_t count;
	struct adapter_config config;
};

/* A tensor's part in an adapter of any kind; false: its name is not an adapter's. */
bool is_adapter(const char *name);

/* A safetensors or .pth file, or a folder with adapter_model.safetensors or .bin.  Kinds that cannot be merged are
 * RWKVK_ERROR_UNSUPPORTED, by name.  On failure *out is zeroed. */
rwkvk_status adapter_open(const char *path, bool read_files, struct adapter *out);
void adapter_close(struct adapter *adapter); /* zeroed is allowed */

/* What B A of a module counts: `given`, unless that is 0, else what the file or the config beside it says.
 * RWKVK_ERROR_FILE: nothing does. */
rwkvk_status adapter_scale(const struct adapter *adapter, const struct adapter_module *module, uint32_t rank, float given,
                           float *out);

/* adapter_config.c: what the file beside the weights says; zeroed without one. */
rwkvk_status adapter_config_read(const struct weights *weights, struct adapter_config *out);
rwkvk_status adapter_config_parse(const char *path, const struct mapping *file, struct adapter_config *out); /* its bytes */
void adapter_config_free(struct adapter_config *config);

/* adapt.c: merges the adapters in a file into the weights of a model, whose names are official: large matrices keep a merge,
 * small tensors are changed at once.  scale: 0: as the file says.  A file that holds the model, too, is known as that. */
rwkvk_status weights_adapt(struct weights *weights, const char *path, float scale, unsigned threads);

#endif
