/* Applies adapters to a model's weights.  Large matrices keep their changes as a merge.  Small tensors are recomputed at once.
 * A tensor that the file holds whole replaces the model's. */
#include "base/hash.h"
#include "format/adapter.h"
#include "format/dialects.h"
#include "format/merge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_BLOCK = 256, SAMPLE = 4096 };

/* An adapter and the model that it is for. */
struct adapting {
	struct weights *model;
	const struct adapter *adapter;
	float scale; /* as given; 0: not given */
	struct parallel *parallel;
};

/* ------------------------------------------------------------------------------------------------------ shapes */

/* Unit dimensions are dropped from shapes. */
static bool has_shape(const struct tensor *tensor, uint64_t rows, uint64_t columns)
{
	uint64_t shape[2];
	uint32_t rank = 0;
	if (rows != 1)
		shape[rank++] = rows;
	if (columns != 1 || rank == 0)
		shape[rank++] = columns;
	return tensor->rank == rank && memcmp(tensor->shape, shape, rank * sizeof *shape) == 0;
}

static rwkvk_status wrong_shape(const struct adapting *a, const struct tensor *part, const struct tensor *target)
{
	return fail(RWKVK_ERROR_FILE, "%s: tensor %s has the shape %s, which does not fit %s of %s, of shape %s",
	            a->adapter->weights.path, part->file_name, show_shape(part->rank, part->shape).text, target->name,
	            a->model->path, show_shape(target->rank, target->shape).text);
}

static rwkvk_status check_numbers(const struct adapting *a, const struct tensor *part)
{
	if (!part || dtype_fits(part->type, part->data, tensor_elements(part), INFINITY))
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE,
	            "%s: tensor %s holds a number that is not finite: the file is damaged, or its training failed",
	            a->adapter->weights.path, part->file_name);
}

/* ------------------------------------------------------------------------------------------------------ one module */

static void describe(struct tensor *target, const char *kind, uint32_t rank, float scale)
{
	size_t used = strlen(target->change), room = sizeof target->change - used;
	if (scale != 0)
		snprintf(target->change + used, room, "%s%s of rank %" PRIu32 ", scale %g", used ? "; " : "", kind, rank,
		         (double)scale);
	else
		snprintf(target->change + used, room, "%s%s of %" PRIu32, used ? "; " : "", kind, rank);
}

/* Both factors of a matrix [out,in]. Those of an embedding may also be for its transpose, [width,vocabulary]. */
static rwkvk_status take_factors(const struct adapting *a, const struct adapter_module *m, enum adapter_role first,
                                 const struct tensor *target, struct merge_factor out[2], uint32_t *rank)
{
	const struct tensor *A = m->parts[first], *B = m->parts[first + 1];
	bool turned = m->turned && first == ADAPTER_A;
	uint64_t rows = target->shape[0], columns = target->shape[1], r = A->rank < 2 ? 1 : A->shape[turned];
	*rank = (uint32_t)r;
	if (r > MERGE_MOST_RANK)
		return wrong_shape(a, A, target);
	out[0] = (struct merge_factor){ A, turned };
	out[1] = (struct merge_factor){ B, false };
	if (turned ? has_shape(A, columns, r) : has_shape(A, r, columns))
		return has_shape(B, rows, r) ? RWKVK_OK : wrong_shape(a, B, target);
	out[0] = (struct merge_factor){ B, true };
	out[1] = (struct merge_factor){ A, true };
	if (strcmp(target->name, "emb.weight") == 0 && has_shape(A, r, rows))
		return has_shape(B, columns, r) ? RWKVK_OK : wrong_shape(a, B, target);
	return wrong_shape(a, A, target);
}

/* `target` serves messages and the description of the change: the model's tensor, but in the shape of the merge. */
static rwkvk_status add_product(const struct adapting *a, const struct adapter_module *m, struct tensor *target,
                                struct merge *merge)
{
	struct merge_factor factors[2];
	uint32_t rank;
	float scale;
	const struct tensor *magnitude = m->parts[ADAPTER_MAGNITUDE];
	TRY(take_factors(a, m, ADAPTER_A, target, factors, &rank));
	TRY(adapter_scale(a->adapter, m, rank, a->scale, &scale));
	if (magnitude && !has_shape(magnitude, 1, target->shape[0]))
		return wrong_shape(a, magnitude, target);
	describe(target, magnitude ? "DoRA" : m->parts[ADAPTER_INIT_A] ? "PiSSA" : "LoRA", rank, scale);
	return merge_low_rank(merge, factors[0], factors[1], rank, scale, magnitude, a->parallel);
}

static rwkvk_status add_initial(const struct adapting *a, const struct adapter_module *m, struct tensor *target,
                                struct merge *merge)
{
	struct merge_factor factors[2];
	uint32_t rank;
	TRY(take_factors(a, m, ADAPTER_INIT_A, target, factors, &rank));
	if (!m->parts[ADAPTER_A])
		describe(target, "start of PiSSA", rank, -1);
	return merge_low_rank(merge, factors[0], factors[1], rank, -1, NULL, a->parallel);
}

static rwkvk_status add_bone(const struct adapting *a, const struct adapter_module *m, struct tensor *target,
                             struct merge *merge)
{
	const struct tensor *d = m->parts[ADAPTER_BONE];
	uint64_t rows = target->shape[0], columns = target->shape[1], n = d->shape[d->rank - 1],
			 size = d->rank < 2 ? 1 : d->shape[0];
	if (a->scale != 0 && a->scale != 1)
		return fail(RWKVK_ERROR_FILE, "%s: expected no scale with %s, which has none, found %g", a->adapter->weights.path,
		            d->file_name, (double)a->scale);
	if (d->rank < 3 && has_shape(d, size, rows) && size <= columns) {
		describe(target, "bone", (uint32_t)size, 0);
		return merge_by_rows(merge, d, (uint32_t)size);
	}
	if (d->rank != 3 || d->shape[1] != n || rows % n || columns % n || d->shape[0] != (m->below ? rows : columns) / n)
		return wrong_shape(a, d, target);
	if (n > LARGEST_BLOCK || (n & (n - 1)))
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: tensor %s: expected blocks of 2, 4, 8, ... or %d, found blocks of %" PRIu64,
		            a->adapter->weights.path, d->file_name, LARGEST_BLOCK, n);
	describe(target, "bone, blocks", (uint32_t)n, 0);
	return merge_by_blocks(merge, d, (uint32_t)n, m->below);
}

/* Samples both ends of each part: any training changes all numbers. */
static void add_hash(const struct adapting *a, const struct adapter_module *m, struct tensor *target)
{
	uint64_t hash = fnv1a(target->change_hash ? target->change_hash : FNV1A_START, target->change, strlen(target->change));
	hash = fnv1a(hash, &a->scale, sizeof a->scale);
	for (int i = 0; i < ADAPTER_ROLES; i++) {
		const struct tensor *part = m->parts[i];
		if (!part)
			continue;
		size_t sample = part->bytes < SAMPLE ? (size_t)part->bytes : SAMPLE;
		hash = fnv1a(hash, &part->bytes, sizeof part->bytes);
		hash = fnv1a(hash, part->data, sample);
		hash = fnv1a(hash, (const uint8_t *)part->data + part->bytes - sample, sample);
	}
	target->change_hash = hash;
}

static rwkvk_status add_module(const struct adapting *a, const struct adapter_module *m, struct tensor *target,
                               struct merge *merge)
{
	for (int i = 0; i < ADAPTER_ROLES; i++)
		TRY(check_numbers(a, m->parts[i]));
	if (m->parts[ADAPTER_INIT_A])
		TRY(add_initial(a, m, target, merge));
	if (m->parts[ADAPTER_A])
		TRY(add_product(a, m, target, merge));
	if (m->parts[ADAPTER_BONE])
		TRY(add_bone(a, m, target, merge));
	add_hash(a, m, target);
	return RWKVK_OK;
}

/* ------------------------------------------------------------------------------------------------------ its tensor */

/* Matrices that are read once and packed row by row. */
static bool is_large(const char *name)
{
	static const char *const ends[] = { "receptance.weight", "key.weight", "value.weight", "gate.weight", "output.weight" };
	const char *dot = strstr(name, "att.");
	dot = dot ? dot : strstr(name, "ffn.");
	dot = dot ? dot : strstr(name, "ffnPre.");
	for (size_t i = 0; dot && i < sizeof ends / sizeof *ends; i++)
		if (strcmp(strchr(dot, '.') + 1, ends[i]) == 0)
			return true;
	return strcmp(name, "emb.weight") == 0 || strcmp(name, "head.weight") == 0;
}

/* RWKV-6 GGUF has these divided by two after every few layers. */
static float unit_of(const struct weights *model, const char *name)
{
	unsigned layer;
	const char *last = sscanf(name, "blocks.%u.", &layer) == 1 ? strchr(strchr(name, '.') + 1, '.') : NULL;
	bool rescaled = last && (strcmp(last, ".att.output.weight") == 0 || strcmp(last, ".ffn.value.weight") == 0);
	return rescaled && model->metadata.rescale ? ldexpf(1, -(int)(layer / model->metadata.rescale)) : 1;
}

/* A small tensor as the matrix [rows,columns] that an adapter is for. */
struct view {
	const struct official_name *name;
	uint64_t rows, columns;
	bool turned; /* the tensor is its transpose */
};

/* Whether the tensor is such a matrix, or in as many parts as that. */
static bool view_of(const struct official_name *name, const struct tensor *target, struct view *out)
{
	const uint64_t *shape = target->shape, parts = name->parts;
	*out = (struct view){ .name = name, .turned = name->swapped != target->swapped };
	if (target->rank != (name->beside ? 3 : 2) || (name->beside && shape[0] != parts))
		return false;
	const uint64_t *last = shape + target->rank - 2;
	out->rows = last[out->turned];
	out->columns = last[!out->turned] * (name->beside ? parts : 1);
	return name->beside || out->rows % parts == 0;
}

/* Where the tensor has the matrix's element [row,column]. */
static uint64_t place_of(const struct view *v, uint64_t row, uint64_t column)
{
	uint64_t *along = v->name->beside ? &column : &row, size = (v->name->beside ? v->columns : v->rows) / v->name->parts;
	if (v->name->parts > 1)
		*along = v->name->order[*along / size] * size + *along % size;
	if (v->turned)
		return column * v->rows + row;
	return v->name->beside ? (column / size * v->rows + row) * size + column % size : row * v->columns + column;
}

static void gather(const struct view *v, const float *tensor, float *matrix)
{
	for (uint64_t i = 0; i < v->rows; i++)
		for (uint64_t j = 0; j < v->columns; j++)
			*matrix++ = tensor[place_of(v, i, j)];
}

static void scatter(const struct view *v, const float *matrix, float *tensor)
{
	for (uint64_t i = 0; i < v->rows; i++)
		for (uint64_t j = 0; j < v->columns; j++)
			tensor[place_of(v, i, j)] = *matrix++;
}

/* Stores a small tensor's new numbers in memory that the model owns, in the tensor's own type, or as F32 if that was
 * quantised. */
static rwkvk_status store(struct weights *model, struct tensor *tensor, const float *values)
{
	const enum dtype type = dtype_is_block(tensor->type) ? DTYPE_F32 : tensor->type;
	const uint64_t count = tensor_elements(tensor), bytes = count * dtype_info[type].bytes;
	const struct mapping *room;
	TRY(weights_allocate(model, bytes, &room));
	dtype_from_float(type, values, count, (void *)(uintptr_t)room->data);
	tensor->data = room->data;
	tensor->type = type;
	tensor->bytes = bytes;
	return RWKVK_OK;
}

/* Changes one of the model's own LoRA factors at once. */
static rwkvk_status change_small(const struct adapting *a, const struct adapter_module *m, struct tensor *target,
                                 const struct view *view)
{
	const uint64_t count = view->rows * view->columns;
	struct weights own = { .path = a->model->path };
	struct tensor matrix = { .name = target->name, .file_name = target->file_name, .rank = 2 };
	struct merge *merge;
	float *values = malloc(count * sizeof *values), *other = malloc(count * sizeof *other);
	rwkvk_status status = values && other ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "%s: no memory for adapters", own.path);
	if (status == RWKVK_OK) {
		dtype_to_float(target->type, target->data, 0, count, other);
		gather(view, other, values);
		matrix.shape[0] = view->rows;
		matrix.shape[1] = view->columns;
		matrix.data = values;
		memcpy(matrix.change, target->change, sizeof matrix.change);
		matrix.change_hash = target->change_hash;
		status = merge_of(&own, &matrix, 1, &merge);
	}
	if (status == RWKVK_OK)
		status = add_module(a, m, &matrix, merge);
	if (status == RWKVK_OK) {
		tensor_to_float(&matrix, 0, count, other);
		scatter(view, other, values);
		memcpy(target->change, matrix.change, sizeof target->change);
		target->change_hash = matrix.change_hash;
		status = store(a->model, target, values);
	}
	weights_close(&(struct weights){ .merges = own.merges, .merge_count = own.merge_count });
	free(values);
	free(other);
	return status;
}

/* Finds a module's tensor in the model, by the name of its weight or of a parameter. */
static rwkvk_status find_target(const struct adapting *a, const struct adapter_module *m, struct tensor **out,
                                struct official_name *official)
{
	const struct weights *file = &a->adapter->weights;
	char name[OFFICIAL_BYTES];
	const struct tensor *first = NULL;
	for (int i = 0; i < ADAPTER_ROLES && !first; i++)
		first = m->parts[i];
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof name, "%.*s%s", OFFICIAL_BYTES - 16, m->name, i == 0 ? ".weight" : "");
		TRY(weights_official_name(file, a->model, name, official));
		*out = (struct tensor *)(uintptr_t)weights_find(a->model, official->text); /* a->model is not const */
		if (*out)
			return RWKVK_OK;
	}
	return fail(RWKVK_ERROR_FILE, "%s: tensor %s is for %s, which %s does not have", file->path, first->file_name, m->name,
	            a->model->path);
}

static rwkvk_status apply_module(const struct adapting *a, const struct adapter_module *m)
{
	struct tensor *target;
	struct official_name name;
	struct view view;
	struct merge *merge;
	TRY(find_target(a, m, &target, &name));
	if (target->type == DTYPE_FOREIGN || !view_of(&name, target, &view))
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected an adapter for a matrix of floats or blocks, found one for %s, %s of shape %s",
		            a->adapter->weights.path, target->name, tensor_type(target), show_shape(target->rank, target->shape).text);
	if (!is_large(target->name))
		return change_small(a, m, target, &view);
	if (target == weights_find(a->model, "emb.weight") || target == weights_find(a->model, "head.weight"))
		a->model->metadata.tied = false; /* only one of them changes */
	TRY(merge_of(a->model, target, unit_of(a->model, target->name), &merge));
	return add_module(a, m, target, merge);
}

/* ------------------------------------------------------------------------------------------------------ whole tensors */

/* Lists the file's tensors that belong to no adapter, under their own names, without the wrapping of Hugging Face's peft. */
static rwkvk_status list_whole(const struct weights *file, struct weights *out)
{
	static const char wrap[] = ".modules_to_save";
	for (size_t i = 0; i < file->count; i++) {
		const struct tensor *tensor = &file->tensors[i];
		const char *dot = strrchr(tensor->name, '.');
		if (is_adapter(tensor->name) || (dot && strcmp(dot, ".alpha") == 0) || strstr(tensor->name, ".original_module."))
			continue;
		TRY(weights_append(out, tensor));
		char *name = out->tensors[out->count - 1].name, *at = strstr(name, wrap), *end = strrchr(name, '.');
		if (at && end >= at + strlen(wrap))
			memmove(at, end, strlen(end) + 1);
	}
	return RWKVK_OK;
}

/* The same parameter under the name of its other form; NULL if there is none. */
static struct tensor *find_other_form(const struct weights *model, const char *name)
{
	static const char *const pairs[][2] = { { ".att.time_decay", ".att.decay" }, { ".att.time_first", ".att.time_faaaa" } };
	char other[OFFICIAL_BYTES];
	for (size_t i = 0; i < 4; i++) {
		const char *mine = pairs[i / 2][i % 2], *at = strstr(name, mine);
		if (!at || at[strlen(mine)])
			continue;
		snprintf(other, sizeof other, "%.*s%s", (int)(at - name), name, pairs[i / 2][1 - i % 2]);
		return (struct tensor *)(uintptr_t)weights_find(model, other);
	}
	return NULL;
}

/* Fits if the shapes are equal, or those of a factor are swapped, or a vector has as many numbers. */
static bool fits(const struct tensor *whole, const struct tensor *target)
{
	bool same = whole->rank == target->rank && memcmp(whole->shape, target->shape, whole->rank * sizeof *whole->shape) == 0;
	bool swapped = whole->rank == 2 && target->rank == 2 && whole->shape[0] == target->shape[1] &&
	               whole->shape[1] == target->shape[0] && !is_large(target->name);
	bool vector = (whole->rank == 1 || target->rank == 1) && tensor_elements(whole) == tensor_elements(target);
	return same || swapped || vector;
}

static rwkvk_status replace(const struct adapting *a, const struct tensor *whole, struct tensor *target)
{
	char *name = strdup(whole->name), *file_name = strdup(whole->file_name);
	bool same = whole->rank == target->rank && memcmp(whole->shape, target->shape, whole->rank * sizeof *whole->shape) == 0;
	bool swapped = whole->rank < 2 || same ? target->swapped : !target->swapped;
	if (!name || !file_name) {
		free(name);
		free(file_name);
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for names", a->model->path);
	}
	free(target->name);
	free(target->file_name);
	*target = *whole;
	target->name = name;
	target->file_name = file_name;
	target->swapped = swapped;
	snprintf(target->change, sizeof target->change, "replaced");
	return RWKVK_OK;
}

/* Layer 0 of RWKV-7 may have these.  They are unused, and not every file keeps them. */
static bool is_dummy(const char *name)
{
	static const char stem[] = "blocks.0.att.v";
	return strncmp(name, stem, strlen(stem)) == 0 && strlen(name) == strlen(stem) + 1 && strchr("012", name[strlen(stem)]);
}

/* A start state may be new; every other tensor replaces one of the model's. */
static rwkvk_status apply_whole(const struct adapting *a, const struct tensor *whole)
{
	struct weights *model = a->model;
	const char *state = strstr(whole->name, ".att.time_state");
	struct tensor *target = (struct tensor *)(uintptr_t)weights_find(model, whole->name);
	target = target ? target : find_other_form(model, whole->name);
	if (!target && state && !state[strlen(".att.time_state")])
		return weights_append(model, whole);
	if (!target && is_dummy(whole->name))
		return RWKVK_OK;
	if (!target)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s is for %s, which %s does not have", a->adapter->weights.path,
		            whole->file_name, whole->name, model->path);
	if (!fits(whole, target))
		return wrong_shape(a, whole, target);
	return replace(a, whole, target);
}

/* If the head is the embedding, a new embedding is also the new head. */
static rwkvk_status replace_tied(const struct adapting *a, const struct weights *whole)
{
	const struct tensor *emb = weights_find(whole, "emb.weight");
	struct tensor *head = (struct tensor *)(uintptr_t)weights_find(a->model, "head.weight");
	if (!a->model->metadata.tied || !head)
		return RWKVK_OK;
	if (weights_find(whole, "head.weight"))
		a->model->metadata.tied = false;
	else if (emb) {
		struct tensor copy = *emb;
		copy.name = head->name;
		return replace(a, &copy, head);
	}
	return RWKVK_OK;
}

static rwkvk_status apply_whole_tensors(const struct adapting *a)
{
	struct weights whole = { .path = a->adapter->weights.path };
	rwkvk_status status = list_whole(&a->adapter->weights, &whole);
	if (status == RWKVK_OK)
		status = weights_rename_like(&whole, a->model);
	for (size_t i = 0; i < whole.count && status == RWKVK_OK; i++)
		status = apply_whole(a, &whole.tensors[i]);
	if (status == RWKVK_OK)
		status = replace_tied(a, &whole);
	if (status == RWKVK_OK && whole.part_count) /* copies made for renaming */
		status = weights_take_memory(a->model, &whole);
	whole.path = NULL;
	weights_close(&whole);
	return status;
}

/* ------------------------------------------------------------------------------------------------------ the file */

static bool is_part_of(const struct weights *model, const struct adapter *adapter)
{
	const char *path = adapter->weights.path;
	bool same = model->mapping.mapped && file_is_mapped(path, &model->mapping);
	for (size_t i = 0; i < model->part_count; i++)
		same |= model->parts[i].mapped && file_is_mapped(path, &model->parts[i]);
	return same;
}

static void remove_adapters(struct weights *model)
{
	for (size_t i = model->count; i-- > 0;) {
		const char *dot = strrchr(model->tensors[i].file_name, '.');
		if (is_adapter(model->tensors[i].file_name) || (dot && strcmp(dot, ".alpha") == 0))
			weights_remove(model, i);
	}
}

static rwkvk_status apply(const struct adapting *a, bool own)
{
	if (own)
		remove_adapters(a->model);
	else
		TRY(apply_whole_tensors(a));
	if (own && a->adapter->count == 0)
		return fail(RWKVK_ERROR_FILE, "%s: expected adapters in it, found none", a->adapter->weights.path);
	for (size_t i = 0; i < a->adapter->count; i++)
		TRY(apply_module(a, &a->adapter->modules[i]));
	return RWKVK_OK;
}

rwkvk_status weights_adapt(struct weights *weights, const char *path, float scale, unsigned threads)
{
	struct adapter adapter;
	struct adapting a = { .model = weights, .adapter = &adapter, .scale = scale };
	TRY(adapter_open(path, weights->read_files, &adapter));
	bool own = is_part_of(weights, &adapter);
	rwkvk_status status = parallel_start(threads, &a.parallel);
	if (status == RWKVK_OK)
		status = weights_take_memory(weights, &adapter.weights);
	if (status == RWKVK_OK)
		status = apply(&a, own);
	parallel_stop(a.parallel);
	adapter_close(&adapter);
	return status;
}
