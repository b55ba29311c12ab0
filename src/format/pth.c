/* PyTorch's .pth since version 1.6: a zip archive with DIR/data.pkl, the pickle of a dict of tensors, and DIR/data/KEY, the
 * bytes of each storage that tensors are views of.  What PyTorch writes is stored, not deflated, so tensors stay where they
 * lie in the mapped file.  Copies are made only of deflated entries, which other programs write, of transposed views and of
 * doubles, and only as much as a real model may need. */
#include "format/dialects.h"
#include "format/readers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zip.h>

#include "format/pickle.h"

/* Weights hardly compress; a file that asks for more than this is hostile. */
enum { MOST_GROWTH = 16, FREE_GROWTH = 16 << 20, MOST_PICKLE_BYTES = 16 << 20, MOST_NESTING = 4, NAME_BYTES = 256 };

static const struct {
	enum dtype type;
	uint32_t bytes;   /* of an element in the file */
	const char *name; /* of a foreign type */
} types[] = {
	[PICKLE_F32] = { DTYPE_F32, 4, NULL },      [PICKLE_F16] = { DTYPE_F16, 2, NULL },
	[PICKLE_BF16] = { DTYPE_BF16, 2, NULL },    [PICKLE_F64] = { DTYPE_F32, 8, NULL },
	[PICKLE_I64] = { DTYPE_FOREIGN, 8, "I64" }, [PICKLE_I32] = { DTYPE_FOREIGN, 4, "I32" },
	[PICKLE_I16] = { DTYPE_FOREIGN, 2, "I16" }, [PICKLE_I8] = { DTYPE_FOREIGN, 1, "I8" },
	[PICKLE_U8] = { DTYPE_FOREIGN, 1, "U8" },   [PICKLE_TRUTH] = { DTYPE_FOREIGN, 1, "BOOL" },
	[PICKLE_C64] = { DTYPE_FOREIGN, 8, "C64" }, [PICKLE_C128] = { DTYPE_FOREIGN, 16, "C128" },
};

/* The mapped file as libzip reads it.  libzip does not report where an entry's data lies, but it must read it from here. */
struct source {
	const uint8_t *data;
	zip_uint64_t bytes, at;
	zip_uint64_t read_at, read_bytes; /* the last read */
	zip_error_t error;
};

struct pth {
	struct weights *weights;
	struct source source;
	zip_t *zip;
	char root[NAME_BYTES]; /* "DIR/" */
	uint8_t *pickle_bytes;
	struct pickle pickle;
	struct mapping *entries; /* by number in the archive; zeroed until a tensor needs it */
	uint64_t budget;         /* bytes that may still be copied */
};

/* ---------------------------------------------------------------------------------------------------- the archive */

static zip_int64_t source_call(void *user, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
	struct source *s = user;
	zip_int64_t position;
	switch (command) {
	case ZIP_SOURCE_OPEN:
		s->at = 0;
		return 0;
	case ZIP_SOURCE_READ:
		s->read_at = s->at;
		s->read_bytes = length < s->bytes - s->at ? length : s->bytes - s->at;
		memcpy(data, s->data + s->read_at, (size_t)s->read_bytes);
		s->at += s->read_bytes;
		return (zip_int64_t)s->read_bytes;
	case ZIP_SOURCE_SEEK:
		position = zip_source_seek_compute_offset(s->at, s->bytes, data, length, &s->error);
		if (position < 0)
			return -1;
		s->at = (zip_uint64_t)position;
		return 0;
	case ZIP_SOURCE_TELL:
		return (zip_int64_t)s->at;
	case ZIP_SOURCE_STAT:
		zip_stat_init(data);
		((zip_stat_t *)data)->size = s->bytes;
		((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
		return sizeof(zip_stat_t);
	case ZIP_SOURCE_ERROR:
		return zip_error_to_data(&s->error, data, length);
	case ZIP_SOURCE_CLOSE:
	case ZIP_SOURCE_FREE:
		return 0;
	case ZIP_SOURCE_SUPPORTS:
		return ZIP_SOURCE_SUPPORTS_SEEKABLE;
	default:
		zip_error_set(&s->error, ZIP_ER_OPNOTSUPP, 0);
		return -1;
	}
}

static rwkvk_status refuse_archive(const struct pth *p, zip_error_t *error)
{
	if (zip_error_code_zip(error) == ZIP_ER_MEMORY)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the list of its entries", p->weights->path);
	const char *text = zip_error_strerror(error);
	return fail(RWKVK_ERROR_FILE,
	            "%s: the zip archive cannot be read (%s): it is truncated (an incomplete download?) or damaged",
	            p->weights->path, show_text(text, strlen(text)).text);
}

static rwkvk_status open_archive(struct pth *p)
{
	zip_error_t error;
	rwkvk_status status = RWKVK_OK;
	zip_error_init(&error);
	zip_source_t *source = zip_source_function_create(source_call, &p->source, &error);
	p->zip = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
	if (!p->zip) {
		status = refuse_archive(p, &error);
		zip_source_free(source);
	}
	zip_error_fini(&error);
	return status;
}

static rwkvk_status refuse_entry(const struct pth *p, const char *name, const char *why)
{
	return fail(RWKVK_ERROR_FILE, "%s: its entry %s cannot be read (%s): the file is damaged", p->weights->path,
	            show_text(name, strlen(name)).text, show_text(why, strlen(why)).text);
}

/* The archive's record of an entry: it must be stored or deflated, and not encrypted. */
static rwkvk_status examine(const struct pth *p, zip_uint64_t index, zip_stat_t *out)
{
	const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
	zip_stat_init(out);
	if (zip_stat_index(p->zip, index, 0, out) != 0 || (out->valid & needed) != needed)
		return fail(RWKVK_ERROR_FILE, "%s: the zip archive does not describe entry %" PRIu64 ": the file is damaged",
		            p->weights->path, (uint64_t)index);
	if (out->valid & ZIP_STAT_ENCRYPTION_METHOD && out->encryption_method != ZIP_EM_NONE)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: its entry %s is encrypted: unpack it, or save the model again",
		            p->weights->path, show_text(out->name, strlen(out->name)).text);
	if (out->comp_method != ZIP_CM_STORE && out->comp_method != ZIP_CM_DEFLATE)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: its entry %s is compressed with method %u; this version reads stored (0) and deflated (8) ones",
		            p->weights->path, show_text(out->name, strlen(out->name)).text, out->comp_method);
	return RWKVK_OK;
}

/* All of an entry, which must have exactly as many bytes as the archive says; libzip checks the checksum at the end. */
static rwkvk_status read_entry(struct pth *p, const zip_stat_t *entry, uint8_t *out)
{
	rwkvk_status status = RWKVK_OK;
	zip_file_t *file = zip_fopen_index(p->zip, entry->index, 0);
	if (!file)
		return refuse_entry(p, entry->name, zip_strerror(p->zip));
	uint64_t done = 0;
	zip_int64_t n = 1;
	while (done < entry->size && (n = zip_fread(file, out + done, entry->size - done)) > 0)
		done += (uint64_t)n;
	uint8_t more;
	if (n > 0)
		n = zip_fread(file, &more, 1);
	if (n < 0)
		status = refuse_entry(p, entry->name, zip_file_strerror(file));
	else if (n > 0 || done < entry->size)
		status = refuse_entry(p, entry->name, n > 0 ? "it is longer than it says" : "it is shorter than it says");
	zip_fclose(file);
	return status;
}

/* Where a stored entry lies in the mapping: the place that libzip reads its first bytes from.  False if that cannot be known,
 * for example if libzip read something else last. */
static bool find_stored(struct pth *p, const zip_stat_t *entry, struct mapping *out)
{
	uint8_t head[16];
	zip_uint64_t n = entry->size < sizeof head ? entry->size : sizeof head;
	zip_file_t *file = zip_fopen_index(p->zip, entry->index, 0);
	bool found = file && zip_fread(file, head, n) == (zip_int64_t)n && p->source.read_bytes == n &&
	             entry->size <= p->source.bytes - p->source.read_at &&
	             memcmp(head, p->source.data + p->source.read_at, (size_t)n) == 0;
	if (found)
		*out = (struct mapping){ .data = p->source.data + p->source.read_at, .bytes = entry->size };
	if (file)
		zip_fclose(file);
	return found;
}

/* Memory of the weights for a copy, as long as the copies stay in proportion to the file. */
static rwkvk_status allocate(struct pth *p, uint64_t bytes, struct mapping *out)
{
	const struct mapping *block = NULL;
	if (bytes > p->budget)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected tensors of at most %d times the file's %" PRIu64
		            " bytes, found more: it would grow without limit (a zip bomb?)",
		            p->weights->path, MOST_GROWTH, (uint64_t)p->source.bytes);
	p->budget -= bytes;
	TRY(weights_allocate(p->weights, bytes, &block));
	*out = *block;
	return RWKVK_OK;
}

/* The number of an entry of the archive's folder; -1 if there is none. */
static zip_int64_t locate(struct pth *p, const char *folder, const void *name, size_t bytes)
{
	char path[2 * NAME_BYTES];
	if (bytes >= NAME_BYTES / 2 || memchr(name, 0, bytes))
		return -1;
	snprintf(path, sizeof path, "%s%s%.*s", p->root, folder, (int)bytes, (const char *)name);
	return zip_name_locate(p->zip, path, ZIP_FL_ENC_GUESS);
}

/* ---------------------------------------------------------------------------------------------------- tensors */

/* The bytes of a storage, in the mapping if they are stored. */
static rwkvk_status find_storage(struct pth *p, const char *tensor, const struct pickle_storage *storage, struct mapping *out)
{
	zip_stat_t entry;
	struct shown key = show_text(storage->key, storage->key_bytes);
	zip_int64_t index = locate(p, "data/", storage->key, storage->key_bytes);
	if (index < 0)
		return fail(RWKVK_ERROR_FILE, "%s: tensor %s has its data in the entry %sdata/%s, which is missing", p->weights->path,
		            tensor, show_text(p->root, strlen(p->root)).text, key.text);
	TRY(examine(p, (zip_uint64_t)index, &entry));
	if (entry.size % types[storage->type].bytes || entry.size / types[storage->type].bytes != storage->count)
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s has its data in an entry of %" PRIu64 " numbers of %" PRIu32
		            " bytes, but the entry %s has %" PRIu64 " bytes",
		            p->weights->path, tensor, storage->count, types[storage->type].bytes,
		            show_text(entry.name, strlen(entry.name)).text, (uint64_t)entry.size);
	struct mapping *place = &p->entries[index];
	bool stored = entry.comp_method == ZIP_CM_STORE && entry.comp_size == entry.size;
	if (!place->data && !(stored && find_stored(p, &entry, place))) {
		TRY(allocate(p, entry.size, place));
		TRY(read_entry(p, &entry, (uint8_t *)(uintptr_t)place->data));
	}
	*out = *place;
	return RWKVK_OK;
}

/* Does the view, which is not empty, stay within its storage, and are its elements one after the other? */
static bool view_fits(const struct pickle_tensor *tensor, uint64_t count, bool *contiguous)
{
	uint64_t last = tensor->offset, expected = 1;
	*contiguous = true;
	if (last >= count)
		return false;
	for (uint32_t i = tensor->rank; i-- > 0;) {
		uint64_t steps = tensor->size[i] - 1, room = count - 1 - last;
		if (steps == 0)
			continue;
		if (tensor->stride[i] > room / steps)
			return false;
		last += steps * tensor->stride[i];
		*contiguous = *contiguous && tensor->stride[i] == expected;
		expected *= tensor->size[i]; /* what overflows here was refused by tensor_bytes() */
	}
	return true;
}

/* Of an element once it is read. */
static uint32_t stored_bytes(enum pickle_type type)
{
	return type == PICKLE_F64 ? sizeof(float) : types[type].bytes;
}

static bool tensor_bytes(const struct pickle_tensor *tensor, enum pickle_type type, uint64_t *bytes)
{
	*bytes = stored_bytes(type);
	for (uint32_t i = 0; i < tensor->rank; i++) {
		if (tensor->size[i] && *bytes > UINT64_MAX / tensor->size[i])
			return false;
		*bytes *= tensor->size[i];
	}
	return true;
}

static rwkvk_status add(struct pth *p, const struct mapping *in, const char *name, const struct pickle_tensor *tensor,
                        enum pickle_type type, uint64_t offset, uint64_t bytes)
{
	if (types[type].type == DTYPE_FOREIGN)
		return weights_add_foreign(p->weights, in, name, types[type].name, tensor->rank, tensor->size, offset, bytes);
	return weights_add(p->weights, in, name, name, types[type].type, tensor->rank, tensor->size, offset, bytes);
}

static void copy_element(enum pickle_type type, const uint8_t *from, uint8_t *to)
{
	double wide;
	float narrow;
	if (type != PICKLE_F64) {
		memcpy(to, from, types[type].bytes);
		return;
	}
	memcpy(&wide, from, sizeof wide);
	narrow = (float)wide;
	memcpy(to, &narrow, sizeof narrow);
}

/* Writes a view's elements one after the other. */
static void gather(const struct pickle_tensor *tensor, enum pickle_type type, const uint8_t *data, uint64_t bytes, uint8_t *to)
{
	uint64_t at[PICKLE_DIMENSIONS] = { 0 }, element = tensor->offset;
	uint32_t size = stored_bytes(type);
	for (uint64_t done = 0; done < bytes; done += size) {
		copy_element(type, data + element * types[type].bytes, to + done);
		for (uint32_t i = tensor->rank; i-- > 0;) {
			element += tensor->stride[i];
			if (++at[i] < tensor->size[i])
				break;
			element -= tensor->size[i] * tensor->stride[i];
			at[i] = 0;
		}
	}
}

static rwkvk_status add_tensor(struct pth *p, const char *name, const struct pickle_tensor *tensor)
{
	uint64_t bytes = 0;
	bool contiguous;
	struct mapping data = { 0 }, copy = { 0 };
	const struct pickle_storage *storage = &p->pickle.values[tensor->storage].storage;
	struct shown shown = show_text(name, strlen(name));
	if (!tensor_bytes(tensor, storage->type, &bytes) || bytes == 0) /* refuses it */
		return add(p, &data, name, tensor, storage->type, 0, 0);
	if (!view_fits(tensor, storage->count, &contiguous))
		return fail(RWKVK_ERROR_FILE,
		            "%s: tensor %s of shape %s with strides %s from element %" PRIu64 " on does not fit its storage of %" PRIu64
		            ": the file is damaged",
		            p->weights->path, shown.text, show_shape(tensor->rank, tensor->size).text,
		            show_shape(tensor->rank, tensor->stride).text, tensor->offset, storage->count);
	TRY(find_storage(p, shown.text, storage, &data));
	if (contiguous && storage->type != PICKLE_F64)
		return add(p, &data, name, tensor, storage->type, tensor->offset * types[storage->type].bytes, bytes);
	TRY(allocate(p, bytes, &copy));
	gather(tensor, storage->type, data.data, bytes, (uint8_t *)(uintptr_t)copy.data);
	return add(p, &copy, name, tensor, storage->type, 0, bytes);
}

/* ---------------------------------------------------------------------------------------------------- the dict */

static const struct pickle_value *cell_value(const struct pth *p, uint32_t cell)
{
	return &p->pickle.values[p->pickle.cells[cell].value];
}

static uint32_t cell_next(const struct pth *p, uint32_t cell)
{
	return p->pickle.cells[cell].next;
}

/* Does it hold tensors, and under names such as official ones, with a dot? */
static bool holds_tensors(const struct pth *p, const struct pickle_value *dict, bool dotted)
{
	for (uint32_t key = dict->items.first; key; key = cell_next(p, cell_next(p, key))) {
		const struct pickle_value *name = cell_value(p, key);
		if (cell_value(p, cell_next(p, key))->kind == PICKLE_TENSOR && name->kind == PICKLE_TEXT &&
		    (!dotted || memchr(name->text.data, '.', name->text.bytes)))
			return true;
	}
	return false;
}

/* The dict under a name; NULL if there is none. */
static const struct pickle_value *dict_under(const struct pth *p, const struct pickle_value *dict, const char *name)
{
	for (uint32_t key = dict->items.first; key; key = cell_next(p, cell_next(p, key))) {
		const struct pickle_value *value = cell_value(p, cell_next(p, key));
		if (value->kind == PICKLE_DICT && pickle_text_is(cell_value(p, key), name))
			return value;
	}
	return NULL;
}

/* Checkpoints of training keep the model's dict inside another one, beside that of the optimiser. */
static const struct pickle_value *find_model(const struct pth *p)
{
	static const char *const names[] = { "state_dict", "model_state_dict", "model", "module" };
	const struct pickle_value *root = &p->pickle.values[p->pickle.root], *dict = root;
	if (root->kind != PICKLE_DICT)
		return NULL;
	for (int depth = 0; dict && depth < MOST_NESTING; depth++) {
		if (holds_tensors(p, dict, true))
			return dict;
		const struct pickle_value *inner = NULL;
		for (size_t i = 0; i < sizeof names / sizeof *names && !inner; i++)
			inner = dict_under(p, dict, names[i]);
		dict = inner;
	}
	return holds_tensors(p, root, false) ? root : NULL;
}

static rwkvk_status read_name(const struct pth *p, const struct pickle_value *key, char out[NAME_BYTES])
{
	if (key->kind != PICKLE_TEXT)
		return fail(RWKVK_ERROR_FILE, "%s: expected a dict of tensors by name, found one whose key is not a text",
		            p->weights->path);
	if (key->text.bytes >= NAME_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor names below %d characters, found %s", p->weights->path, NAME_BYTES,
		            show_text(key->text.data, key->text.bytes).text);
	if (memchr(key->text.data, 0, key->text.bytes))
		return fail(RWKVK_ERROR_FILE, "%s: expected tensor names in plain ASCII, found \"%s\": the file is damaged",
		            p->weights->path, show_text(key->text.data, key->text.bytes).text);
	memcpy(out, key->text.data, key->text.bytes);
	out[key->text.bytes] = 0;
	return RWKVK_OK;
}

/* Skips items that are not tensors, such as the number of an epoch. */
static rwkvk_status add_tensors(struct pth *p)
{
	char name[NAME_BYTES];
	const struct pickle_value *model = find_model(p);
	if (!model)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a dict of tensors, as torch.save(model.state_dict(), ...) writes, found none",
		            p->weights->path);
	for (uint32_t key = model->items.first; key; key = cell_next(p, cell_next(p, key))) {
		const struct pickle_value *value = cell_value(p, cell_next(p, key));
		if (value->kind != PICKLE_TENSOR)
			continue;
		TRY(read_name(p, cell_value(p, key), name));
		TRY(add_tensor(p, name, &p->pickle.tensors[value->tensor]));
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- the file */

/* The one entry that is called DIR/data.pkl; DIR goes to p->root. */
static rwkvk_status find_pickle(struct pth *p, zip_stat_t *out)
{
	static const char name[] = "data.pkl";
	zip_int64_t count = zip_get_num_entries(p->zip, 0), found = -1;
	for (zip_int64_t i = 0; i < count; i++) {
		const char *entry = zip_get_name(p->zip, (zip_uint64_t)i, ZIP_FL_ENC_GUESS);
		size_t length = entry ? strlen(entry) : 0, root = length < strlen(name) ? 0 : length - strlen(name);
		if (length < strlen(name) || strcmp(entry + root, name) != 0 || (root && entry[root - 1] != '/'))
			continue;
		if (found >= 0)
			return fail(RWKVK_ERROR_FILE, "%s: expected one data.pkl in the zip archive, found \"%s\" and another",
			            p->weights->path, show_text(entry, length).text);
		if (root >= NAME_BYTES)
			return fail(RWKVK_ERROR_FILE, "%s: expected a data.pkl in a folder with a short name, found \"%s\"",
			            p->weights->path, show_text(entry, length).text);
		memcpy(p->root, entry, root);
		p->root[root] = 0;
		found = i;
	}
	if (found < 0)
		return fail(RWKVK_ERROR_FILE,
		            "%s: expected a PyTorch model, found a zip archive without data.pkl: if a model is packed in it, unpack it",
		            p->weights->path);
	if (locate(p, "", "constants.pkl", strlen("constants.pkl")) >= 0)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: expected a dict of tensors, found a TorchScript program: save the model's "
		            "state_dict() instead",
		            p->weights->path);
	return examine(p, (zip_uint64_t)found, out);
}

static rwkvk_status check_byte_order(struct pth *p)
{
	static const char name[] = "byteorder", little[] = "little";
	zip_stat_t entry;
	uint8_t text[16];
	zip_int64_t index = locate(p, "", name, strlen(name));
	if (index < 0)
		return RWKVK_OK;
	TRY(examine(p, (zip_uint64_t)index, &entry));
	if (entry.size > sizeof text)
		return refuse_entry(p, entry.name, "it is longer than \"little\"");
	TRY(read_entry(p, &entry, text));
	if (entry.size != strlen(little) || memcmp(text, little, strlen(little)) != 0)
		return fail(RWKVK_ERROR_UNSUPPORTED, "%s: expected little-endian data, found byte order \"%s\"", p->weights->path,
		            show_text(text, entry.size).text);
	return RWKVK_OK;
}

static rwkvk_status read_pickle(struct pth *p)
{
	zip_stat_t entry;
	TRY(find_pickle(p, &entry));
	TRY(check_byte_order(p));
	if (entry.size > MOST_PICKLE_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected a data.pkl of at most %d bytes, found one of %" PRIu64, p->weights->path,
		            MOST_PICKLE_BYTES, (uint64_t)entry.size);
	p->pickle_bytes = malloc((size_t)entry.size + 1);
	if (!p->pickle_bytes)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its data.pkl", p->weights->path);
	TRY(read_entry(p, &entry, p->pickle_bytes));
	return pickle_parse(p->weights->path, p->pickle_bytes, (size_t)entry.size, &p->pickle);
}

static rwkvk_status read_archive(struct pth *p)
{
	TRY(open_archive(p));
	TRY(read_pickle(p));
	p->entries = calloc((size_t)zip_get_num_entries(p->zip, 0), sizeof *p->entries);
	if (!p->entries)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for the list of its entries", p->weights->path);
	return add_tensors(p);
}

rwkvk_status pth_add(struct weights *weights, const struct mapping *file)
{
	uint64_t bytes = file->bytes;
	struct pth p = { .weights = weights,
		             .source = { .data = file->data, .bytes = bytes },
		             .budget = bytes > UINT64_MAX / (2 * MOST_GROWTH) ? UINT64_MAX : bytes * MOST_GROWTH + FREE_GROWTH };
	zip_error_init(&p.source.error);
	rwkvk_status status = read_archive(&p);
	if (p.zip)
		zip_discard(p.zip);
	zip_error_fini(&p.source.error);
	pickle_free(&p.pickle);
	free(p.pickle_bytes);
	free(p.entries);
	return status;
}

rwkvk_status pth_read(struct weights *weights)
{
	snprintf(weights->format, sizeof weights->format, "PyTorch .pth");
	if (!weights->alone)
		TRY(shards_refuse_part(weights->path));
	TRY(pth_add(weights, &weights->mapping));
	return weights_rename(weights, NAMES_TORCH);
}
