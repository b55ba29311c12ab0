/* Exporting a model to a file: export.c decides about tensors, export_keys.c about the rest of GGUF's metadata. */
#ifndef RWKVK_NETWORK_EXPORT_H
#define RWKVK_NETWORK_EXPORT_H

#include "base/report.h"
#include "format/dialects.h"
#include "format/gguf_writer.h"
#include "format/output.h"
#include "network/outline.h"

struct export
{
	const struct rwkvk_file *file;
	const char *path;
	const rwkvk_export_options *options;
	struct listener listener; /* to notes */
	bool gguf;
	enum naming naming;       /* of GGUF */
	const char *architecture; /* likewise */
	struct output_list outputs;
	enum dtype main_type; /* of most matrices; of ffn.value */
	bool has_blocks;

	/* for notes */
	struct {
		enum dtype wanted, used;
		uint64_t columns;
		const char *first;
		uint32_t count;
	} substitutes[8];
	uint32_t substitute_count;
	uint32_t unused_count, requantised_count, inverted_count;
	const char *first_unused, *first_requantised;
};

/* All keys of the GGUF file. */
rwkvk_status export_keys(const struct export *e, struct gguf_writer *writer);

#endif
