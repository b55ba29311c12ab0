#include "format/pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "format/weights.h"

/* A model of 60 layers has 2,000 tensors and needs 40,000 of each of the others. */
enum { MOST_VALUES = 1 << 20, MOST_TENSORS = 1 << 16 };

enum function { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_TYPE };

/* Everything that a pickle may import: module and name as they appear there, each with its line break. */
static const struct global {
	const char *lines;
	enum function function;
	enum pickle_type type;
} globals[] = {
	{ "collections\nOrderedDict\n", ORDERED_DICT, 0 },
	{ "torch._utils\n_rebuild_tensor_v2\n", REBUILD_TENSOR, 0 },
	{ "torch._utils\n_rebuild_parameter\n", REBUILD_PARAMETER, 0 },
	{ "torch\nFloatStorage\n", STORAGE_TYPE, PICKLE_F32 },
	{ "torch\nHalfStorage\n", STORAGE_TYPE, PICKLE_F16 },
	{ "torch\nBFloat16Storage\n", STORAGE_TYPE, PICKLE_BF16 },
	{ "torch\nDoubleStorage\n", STORAGE_TYPE, PICKLE_F64 },
	{ "torch\nLongStorage\n", STORAGE_TYPE, PICKLE_I64 },
	{ "torch\nIntStorage\n", STORAGE_TYPE, PICKLE_I32 },
	{ "torch\nShortStorage\n", STORAGE_TYPE, PICKLE_I16 },
	{ "torch\nCharStorage\n", STORAGE_TYPE, PICKLE_I8 },
	{ "torch\nByteStorage\n", STORAGE_TYPE, PICKLE_U8 },
	{ "torch\nBoolStorage\n", STORAGE_TYPE, PICKLE_TRUTH },
	{ "torch\nComplexFloatStorage\n", STORAGE_TYPE, PICKLE_C64 },
	{ "torch\nComplexDoubleStorage\n", STORAGE_TYPE, PICKLE_C128 },
};

struct list {
	uint32_t *items;
	size_t count, room;
};

struct machine {
	const char *path;
	const uint8_t *data;
	size_t bytes, at, op_at; /* op_at: where the current opcode stands */
	struct pickle out;
	struct list stack, memo; /* of values; in the memo index + 1, 0 is unset */
	struct list marks;       /* heights of the stack */
	bool stopped;
};

static const uint32_t VALUE_NONE = 0, VALUE_FALSE = 1, VALUE_TRUE = 2;

/* ---------------------------------------------------------------------------------------------------- memory */

static rwkvk_status damaged(const struct machine *m, const char *what)
{
	return fail(RWKVK_ERROR_FILE, "%s: data.pkl, byte %zu: %s: the file is damaged", m->path, m->op_at, what);
}

/* Makes room for one more item in an array. */
static rwkvk_status reserve(const struct machine *m, void **array, size_t *room, size_t count, size_t most, size_t size)
{
	if (count >= most)
		return fail(
			RWKVK_ERROR_FILE,
			"%s: data.pkl, byte %zu: expected at most %zu values, tensors and references, found more: no model needs so many",
			m->path, m->op_at, most);
	if (count < *room)
		return RWKVK_OK;
	size_t larger = *room ? 2 * *room : 256;
	void *moved = realloc(*array, larger * size);
	if (!moved)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for what data.pkl describes", m->path);
	*array = moved;
	*room = larger;
	return RWKVK_OK;
}

static rwkvk_status append(const struct machine *m, struct list *list, uint32_t item)
{
	void *items = list->items;
	TRY(reserve(m, &items, &list->room, list->count, MOST_VALUES, sizeof *list->items));
	list->items = items;
	list->items[list->count++] = item;
	return RWKVK_OK;
}

static rwkvk_status new_value(struct machine *m, struct pickle_value value, uint32_t *index)
{
	struct pickle *out = &m->out;
	void *values = out->values;
	TRY(reserve(m, &values, &out->value_room, out->value_count, MOST_VALUES, sizeof value));
	out->values = values;
	out->values[out->value_count] = value;
	*index = (uint32_t)out->value_count++;
	return RWKVK_OK;
}

static rwkvk_status new_cell(struct machine *m, uint32_t value, uint32_t *index)
{
	struct pickle *out = &m->out;
	void *cells = out->cells;
	TRY(reserve(m, &cells, &out->cell_room, out->cell_count, MOST_VALUES, sizeof *out->cells));
	out->cells = cells;
	out->cells[out->cell_count] = (struct pickle_cell){ .value = value };
	*index = (uint32_t)out->cell_count++;
	return RWKVK_OK;
}

static rwkvk_status new_tensor(struct machine *m, const struct pickle_tensor *tensor, uint32_t *index)
{
	struct pickle *out = &m->out;
	void *tensors = out->tensors;
	TRY(reserve(m, &tensors, &out->tensor_room, out->tensor_count, MOST_TENSORS, sizeof *tensor));
	out->tensors = tensors;
	out->tensors[out->tensor_count] = *tensor;
	*index = (uint32_t)out->tensor_count++;
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- stack */

static rwkvk_status push(struct machine *m, struct pickle_value value)
{
	uint32_t index = 0;
	TRY(new_value(m, value, &index));
	return append(m, &m->stack, index);
}

static rwkvk_status push_integer(struct machine *m, int64_t value)
{
	return push(m, (struct pickle_value){ .kind = PICKLE_INT, .integer = value });
}

/* Values that lie above the last mark. */
static size_t above_mark(const struct machine *m)
{
	return m->stack.count - (m->marks.count ? m->marks.items[m->marks.count - 1] : 0);
}

static rwkvk_status pop(struct machine *m, uint32_t *value)
{
	if (above_mark(m) == 0)
		return damaged(m, "an opcode needs a value and there is none");
	*value = m->stack.items[--m->stack.count];
	return RWKVK_OK;
}

/* The top value, which must be of this kind. */
static rwkvk_status peek(struct machine *m, enum pickle_kind kind, const char *what, uint32_t *value)
{
	if (above_mark(m) == 0)
		return damaged(m, "an opcode needs a value and there is none");
	*value = m->stack.items[m->stack.count - 1];
	return m->out.values[*value].kind == kind ? RWKVK_OK : damaged(m, what);
}

static rwkvk_status pop_mark(struct machine *m, uint32_t *height)
{
	if (m->marks.count == 0)
		return damaged(m, "an opcode needs a mark and there is none");
	*height = m->marks.items[--m->marks.count];
	return RWKVK_OK;
}

/* Moves the values from `height` up to the end of a container. */
static rwkvk_status move_items(struct machine *m, uint32_t container, size_t height)
{
	for (size_t i = height; i < m->stack.count; i++) {
		uint32_t cell = 0;
		TRY(new_cell(m, m->stack.items[i], &cell));
		struct pickle_value *value = &m->out.values[container];
		if (value->items.last)
			m->out.cells[value->items.last].next = cell;
		else
			value->items.first = cell;
		value->items.last = cell;
		value->items.count++;
	}
	m->stack.count = height;
	return RWKVK_OK;
}

static rwkvk_status make_tuple(struct machine *m, size_t count)
{
	uint32_t tuple = 0;
	if (above_mark(m) < count)
		return damaged(m, "a tuple needs more values than there are");
	TRY(new_value(m, (struct pickle_value){ .kind = PICKLE_TUPLE }, &tuple));
	TRY(move_items(m, tuple, m->stack.count - count));
	return append(m, &m->stack, tuple);
}

static rwkvk_status make_marked_tuple(struct machine *m)
{
	uint32_t height = 0;
	TRY(pop_mark(m, &height));
	return make_tuple(m, m->stack.count - height);
}

/* The values above the last mark, or the top `count`, go to the container below them. */
static rwkvk_status extend(struct machine *m, enum pickle_kind kind, bool marked, size_t count)
{
	uint32_t height = 0, container = 0;
	if (marked)
		TRY(pop_mark(m, &height));
	else if (above_mark(m) < count)
		return damaged(m, "an opcode needs more values than there are");
	else
		height = (uint32_t)(m->stack.count - count);
	size_t top = m->stack.count;
	if (kind == PICKLE_DICT && (top - height) % 2)
		return damaged(m, "a key without a value");
	m->stack.count = height;
	TRY(peek(m, kind, kind == PICKLE_DICT ? "items for something that is not a dict" : "items for something that is not a list",
	         &container));
	m->stack.count = top;
	return move_items(m, container, height);
}

/* ---------------------------------------------------------------------------------------------------- operands */

/* The next `count` bytes of the pickle. */
static rwkvk_status take(struct machine *m, size_t count, const uint8_t **out)
{
	if (count > m->bytes - m->at)
		return damaged(m, "an opcode reaches past the end");
	*out = m->data + m->at;
	m->at += count;
	return RWKVK_OK;
}

/* A little-endian number of up to 8 bytes. */
static rwkvk_status take_number(struct machine *m, size_t count, uint64_t *out)
{
	const uint8_t *bytes = NULL;
	TRY(take(m, count, &bytes));
	*out = 0;
	for (size_t i = 0; i < count; i++)
		*out |= (uint64_t)bytes[i] << 8 * i;
	return RWKVK_OK;
}

static rwkvk_status do_long(struct machine *m)
{
	uint64_t count = 0, value = 0;
	TRY(take_number(m, 1, &count));
	if (count > 8)
		return damaged(m, "expected whole numbers of at most 64 bits, found a longer one");
	TRY(take_number(m, count, &value));
	if (count > 0 && count < 8 && value >> (8 * count - 1))
		value |= UINT64_MAX << 8 * count; /* two's complement */
	return push_integer(m, (int64_t)value);
}

static rwkvk_status do_float(struct machine *m)
{
	const uint8_t *bytes = NULL;
	uint64_t bits = 0;
	double number;
	TRY(take(m, 8, &bytes));
	for (size_t i = 0; i < 8; i++) /* the only big-endian number there is */
		bits = bits << 8 | bytes[i];
	memcpy(&number, &bits, sizeof number);
	return push(m, (struct pickle_value){ .kind = PICKLE_FLOAT, .number = number });
}

static rwkvk_status do_text(struct machine *m)
{
	uint64_t count = 0;
	const uint8_t *bytes = NULL;
	TRY(take_number(m, 4, &count));
	TRY(take(m, count, &bytes));
	return push(m, (struct pickle_value){ .kind = PICKLE_TEXT, .text = { bytes, (uint32_t)count } });
}

static rwkvk_status do_put(struct machine *m, size_t index_bytes)
{
	uint64_t index = 0;
	TRY(take_number(m, index_bytes, &index));
	if (above_mark(m) == 0)
		return damaged(m, "an opcode needs a value and there is none");
	if (index >= MOST_VALUES)
		return damaged(m, "the number of a reference is too large");
	while (m->memo.count <= index)
		TRY(append(m, &m->memo, 0));
	m->memo.items[index] = m->stack.items[m->stack.count - 1] + 1;
	return RWKVK_OK;
}

static rwkvk_status do_get(struct machine *m, size_t index_bytes)
{
	uint64_t index = 0;
	TRY(take_number(m, index_bytes, &index));
	if (index >= m->memo.count || m->memo.items[index] == 0)
		return damaged(m, "a reference to something that is not there");
	return append(m, &m->stack, m->memo.items[index] - 1);
}

/* ---------------------------------------------------------------------------------------------------- what is imported */

/* Two lines, "torch" and "LongStorage": as "torch.LongStorage" in a message. */
static rwkvk_status refuse_global(const struct machine *m, const uint8_t *lines, size_t module_bytes, size_t name_bytes)
{
	static const char module[] = "torch\n", storage[] = "Storage";
	const uint8_t *name = lines + module_bytes + 1;
	struct shown left = show_text(lines, module_bytes), right = show_text(name, name_bytes);
	if (module_bytes + 1 == strlen(module) && memcmp(lines, module, strlen(module)) == 0 && name_bytes >= strlen(storage) &&
	    memcmp(name + name_bytes - strlen(storage), storage, strlen(storage)) == 0)
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: holds tensors in a torch.%s; this version reads storages of floats, integers and complex numbers "
		            "from .pth files",
		            m->path, right.text);
	return fail(RWKVK_ERROR_FILE, "%s: asks Python to import %s.%s; a model file only needs tensors: it may be malicious",
	            m->path, left.text, right.text);
}

static rwkvk_status do_global(struct machine *m)
{
	const uint8_t *lines = m->data + m->at, *end = m->data + m->bytes;
	const uint8_t *first = memchr(lines, '\n', m->bytes - m->at);
	const uint8_t *second = first ? memchr(first + 1, '\n', (size_t)(end - first - 1)) : NULL;
	if (!second)
		return damaged(m, "an opcode reaches past the end");
	size_t bytes = (size_t)(second + 1 - lines);
	m->at += bytes;
	for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
		if (bytes == strlen(globals[i].lines) && memcmp(lines, globals[i].lines, bytes) == 0)
			return push(m, (struct pickle_value){ .kind = PICKLE_GLOBAL, .integer = (int64_t)i });
	return refuse_global(m, lines, (size_t)(first - lines), (size_t)(second - first - 1));
}

bool pickle_text_is(const struct pickle_value *value, const char *text)
{
	return value->kind == PICKLE_TEXT && value->text.bytes == strlen(text) && memcmp(value->text.data, text, strlen(text)) == 0;
}

/* The items of a tuple that must have `count` of them. */
static bool unpack(const struct machine *m, uint32_t tuple, size_t count, uint32_t *out)
{
	const struct pickle_value *value = &m->out.values[tuple];
	if (value->kind != PICKLE_TUPLE || value->items.count != count)
		return false;
	for (uint32_t cell = value->items.first; cell; cell = m->out.cells[cell].next)
		*out++ = m->out.cells[cell].value;
	return true;
}

/* ('storage', torch.HalfStorage, '0', 'cuda:0', 1024) */
static rwkvk_status do_persistent_id(struct machine *m)
{
	uint32_t tuple = 0, part[5];
	const struct pickle_value *values = m->out.values;
	TRY(pop(m, &tuple));
	if (!unpack(m, tuple, 5, part) || !pickle_text_is(&values[part[0]], "storage") || values[part[1]].kind != PICKLE_GLOBAL ||
	    globals[values[part[1]].integer].function != STORAGE_TYPE || values[part[2]].kind != PICKLE_TEXT ||
	    values[part[4]].kind != PICKLE_INT || values[part[4]].integer < 0)
		return damaged(m,
		               "expected ('storage', type, key, device, count) as the place of a tensor's data, found something else");
	struct pickle_storage storage = { .key = values[part[2]].text.data,
		                              .key_bytes = values[part[2]].text.bytes,
		                              .type = globals[values[part[1]].integer].type,
		                              .count = (uint64_t)values[part[4]].integer };
	return push(m, (struct pickle_value){ .kind = PICKLE_STORAGE, .storage = storage });
}

/* A tuple of integers that are not negative. */
static bool unpack_sizes(const struct machine *m, uint32_t tuple, uint32_t rank, uint64_t *out)
{
	uint32_t part[PICKLE_DIMENSIONS];
	if (rank > PICKLE_DIMENSIONS || !unpack(m, tuple, rank, part))
		return false;
	for (uint32_t i = 0; i < rank; i++) {
		const struct pickle_value *value = &m->out.values[part[i]];
		if (value->kind != PICKLE_INT || value->integer < 0)
			return false;
		out[i] = (uint64_t)value->integer;
	}
	return true;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks) */
static rwkvk_status rebuild_tensor(struct machine *m, uint32_t args)
{
	const struct pickle_value *values = m->out.values;
	struct pickle_tensor tensor = { 0 };
	uint32_t part[6], index = 0;
	if (!unpack(m, args, 6, part) || values[part[0]].kind != PICKLE_STORAGE || values[part[1]].kind != PICKLE_INT ||
	    values[part[1]].integer < 0 || values[part[2]].kind != PICKLE_TUPLE)
		return damaged(m, "expected a tensor from (storage, offset, size, stride, requires_grad, hooks), found something else");
	tensor.storage = part[0];
	tensor.offset = (uint64_t)values[part[1]].integer;
	tensor.rank = values[part[2]].items.count;
	if (!unpack_sizes(m, part[2], tensor.rank, tensor.size) || !unpack_sizes(m, part[3], tensor.rank, tensor.stride))
		return damaged(m, "expected a tensor of at most 8 dimensions with as many strides, whole numbers of 0 or more, found "
		                  "something else");
	TRY(new_tensor(m, &tensor, &index));
	return push(m, (struct pickle_value){ .kind = PICKLE_TENSOR, .tensor = index });
}

/* _rebuild_parameter(tensor, requires_grad, backward_hooks) is the tensor. */
static rwkvk_status rebuild_parameter(struct machine *m, uint32_t args)
{
	uint32_t part[3];
	if (!unpack(m, args, 3, part) || m->out.values[part[0]].kind != PICKLE_TENSOR)
		return damaged(m, "expected a parameter from (tensor, requires_grad, hooks), found something else");
	return append(m, &m->stack, part[0]);
}

static rwkvk_status do_reduce(struct machine *m)
{
	uint32_t args = 0, function = 0;
	TRY(pop(m, &args));
	TRY(pop(m, &function));
	const struct pickle_value *value = &m->out.values[function];
	enum function what = value->kind == PICKLE_GLOBAL ? globals[value->integer].function : STORAGE_TYPE;
	if (what == REBUILD_TENSOR)
		return rebuild_tensor(m, args);
	if (what == REBUILD_PARAMETER)
		return rebuild_parameter(m, args);
	if (what == ORDERED_DICT && unpack(m, args, 0, NULL))
		return push(m, (struct pickle_value){ .kind = PICKLE_DICT });
	return damaged(m, "expected a call that makes a tensor or an empty OrderedDict, found another");
}

/* Attributes of a dict, such as _metadata: not needed. */
static rwkvk_status do_build(struct machine *m)
{
	uint32_t state = 0, object = 0;
	TRY(pop(m, &state));
	return peek(m, PICKLE_DICT, "attributes for something that is not a dict", &object);
}

/* ---------------------------------------------------------------------------------------------------- the machine */

static rwkvk_status do_integer(struct machine *m, size_t bytes)
{
	uint64_t value = 0;
	TRY(take_number(m, bytes, &value));
	return push_integer(m, bytes == 4 ? (int64_t)(int32_t)(uint32_t)value : (int64_t)value);
}

static rwkvk_status do_stop(struct machine *m)
{
	if (m->stack.count != 1 || m->marks.count != 0)
		return damaged(m, "expected one value at the end, found none or several");
	m->out.root = m->stack.items[0];
	m->stopped = true;
	return RWKVK_OK;
}

static rwkvk_status do_opcode(struct machine *m, uint8_t opcode)
{
	switch (opcode) { /* the names are those of Python's pickletools */
	case '(':         /* MARK */
		return append(m, &m->marks, (uint32_t)m->stack.count);
	case '.': /* STOP */
		return do_stop(m);
	case 'N': /* NONE */
		return append(m, &m->stack, VALUE_NONE);
	case 0x88: /* NEWTRUE */
		return append(m, &m->stack, VALUE_TRUE);
	case 0x89: /* NEWFALSE */
		return append(m, &m->stack, VALUE_FALSE);
	case 'K': /* BININT1 */
		return do_integer(m, 1);
	case 'M': /* BININT2 */
		return do_integer(m, 2);
	case 'J': /* BININT */
		return do_integer(m, 4);
	case 0x8a: /* LONG1 */
		return do_long(m);
	case 'G': /* BINFLOAT */
		return do_float(m);
	case 'X': /* BINUNICODE */
		return do_text(m);
	case ')': /* EMPTY_TUPLE */
		return make_tuple(m, 0);
	case 0x85: /* TUPLE1 */
	case 0x86: /* TUPLE2 */
	case 0x87: /* TUPLE3 */
		return make_tuple(m, opcode - 0x84u);
	case 't': /* TUPLE */
		return make_marked_tuple(m);
	case ']': /* EMPTY_LIST */
		return push(m, (struct pickle_value){ .kind = PICKLE_LIST });
	case 'a': /* APPEND */
		return extend(m, PICKLE_LIST, false, 1);
	case 'e': /* APPENDS */
		return extend(m, PICKLE_LIST, true, 0);
	case '}': /* EMPTY_DICT */
		return push(m, (struct pickle_value){ .kind = PICKLE_DICT });
	case 's': /* SETITEM */
		return extend(m, PICKLE_DICT, false, 2);
	case 'u': /* SETITEMS */
		return extend(m, PICKLE_DICT, true, 0);
	case 'q': /* BINPUT */
		return do_put(m, 1);
	case 'r': /* LONG_BINPUT */
		return do_put(m, 4);
	case 'h': /* BINGET */
		return do_get(m, 1);
	case 'j': /* LONG_BINGET */
		return do_get(m, 4);
	case 'c': /* GLOBAL */
		return do_global(m);
	case 'Q': /* BINPERSID */
		return do_persistent_id(m);
	case 'R': /* REDUCE */
		return do_reduce(m);
	case 'b': /* BUILD */
		return do_build(m);
	default:
		return fail(RWKVK_ERROR_FILE,
		            "%s: data.pkl, byte %zu: found opcode 0x%02x, which a model file does not need: it may be malicious",
		            m->path, m->op_at, opcode);
	}
}

static rwkvk_status run(struct machine *m)
{
	static const uint8_t protocol[] = { 0x80, 2 };
	uint32_t index = 0;
	if (m->bytes < 2 || m->data[0] != protocol[0])
		return damaged(m, "expected a pickle, found something else");
	if (m->data[1] != protocol[1])
		return fail(RWKVK_ERROR_UNSUPPORTED,
		            "%s: data.pkl: expected pickle protocol 2, found %u: save it with torch.save()'s default protocol", m->path,
		            m->data[1]);
	TRY(new_value(m, (struct pickle_value){ .kind = PICKLE_NONE }, &index));
	TRY(new_value(m, (struct pickle_value){ .kind = PICKLE_BOOL, .integer = false }, &index));
	TRY(new_value(m, (struct pickle_value){ .kind = PICKLE_BOOL, .integer = true }, &index));
	TRY(new_cell(m, 0, &index)); /* cell 0 ends a chain */
	for (m->at = sizeof protocol; !m->stopped;) {
		m->op_at = m->at;
		if (m->at == m->bytes)
			return damaged(m, "the pickle has no end");
		TRY(do_opcode(m, m->data[m->at++]));
	}
	return RWKVK_OK;
}

rwkvk_status pickle_parse(const char *path, const uint8_t *data, size_t bytes, struct pickle *out)
{
	struct machine m = { .path = path, .data = data, .bytes = bytes };
	rwkvk_status status = run(&m);
	free(m.stack.items);
	free(m.memo.items);
	free(m.marks.items);
	if (status != RWKVK_OK)
		pickle_free(&m.out);
	*out = m.out;
	return status;
}

void pickle_free(struct pickle *pickle)
{
	free(pickle->values);
	free(pickle->cells);
	free(pickle->tensors);
	*pickle = (struct pickle){ 0 };
}
