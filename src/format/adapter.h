/* A file with adapters, as RWKV-PEFT and Hugging Face's peft write them: which of its tensors belong to which module of a
 * model, and their scale.  adapt.c applies them to the model. */
#ifndef RWKVK_FORMAT_ADAPTER_H
#define RWKVK_FORMAT_ADAPTER_H

#include "format/weights.h"

/* What alpha may be, wherever it is given. */
#define SMALLEST_ALPHA 1e-6
#define LARGEST_ALPHA  1e6

enum adapter_role {
	ADAPTER_A, /* [rank,in]; of an embedding [rank,vocabulary] */
	ADAPTER_B, /* [out,rank]; of an embedding [width,rank] */
	ADAPTER_INIT_A,
	ADAPTER_INIT_B,    /* PiSSA: the initial A and B, which were subtracted from the weight */
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
	bool below;  /* blocks belong to rows, as in peft's bat */
};

/* adapter_config.json beside the file; zeroed if there is none. */
struct adapter_config {
	bool found, rank_root; /* scale = alpha / sqrt(rank) */
	double alpha;          /* 0: not said */
	struct adapter_alpha {
		char *module; /* its name, or the end of it */
		double alpha;
	} * alphas; /* for single modules, instead of alpha */
	size_t alpha_count;
};

struct adapter {
	struct weights weights; /* under the file's names; tensors of no adapter replace the model's whole */
	struct adapter_module *modules;
	size_t count;
	struct adapter_config config;
};

/* Whether a tensor's name marks it as part of an adapter of any kind. */
bool is_adapter(const char *name);

/* A safetensors or .pth file, an index of several, or a folder: with adapter_model.safetensors or .bin, else with a model that
 * holds its adapters.  Kinds that cannot be merged fail with RWKVK_ERROR_UNSUPPORTED, and the message names them.  On failure
 * *out is zeroed. */
rwkvk_status adapter_open(const char *path, bool read_files, struct adapter *out);
void adapter_close(struct adapter *adapter); /* zeroed is allowed */

/* The scale of a module's B A: `given` unless that is 0, else that of the file or the config beside it.  RWKVK_ERROR_FILE if
 * neither gives one. */
rwkvk_status adapter_scale(const struct adapter *adapter, const struct adapter_module *module, uint32_t rank, float given,
                           float *out);

/* adapter_config.c: reads the file beside the weights; zeroed if there is none. */
rwkvk_status adapter_config_read(const struct weights *weights, struct adapter_config *out);
rwkvk_status adapter_config_parse(const char *path, const struct mapping *file, struct adapter_config *out); /* its bytes */
void adapter_config_free(struct adapter_config *config);

/* adapt.c: merges the adapters in a file into a model's weights, which have official names.  Large matrices keep a merge; small
 * tensors are changed at once.  scale 0: as the file says.  A file that also holds the model is recognised. */
rwkvk_status weights_adapt(struct weights *weights, const char *path, float scale, unsigned threads);

#endif
