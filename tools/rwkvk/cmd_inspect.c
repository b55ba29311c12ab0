/* rwkvk inspect: the contents of a model file, without a device. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "streams.h"
#include "model.h"

struct shape_text {
	char text[96];
};

static struct shape_text shape_text(const rwkvk_tensor_info *tensor)
{
	struct shape_text out = { "" };
	size_t used = 0;
	for (uint32_t i = 0; i < tensor->rank && i < 4; i++)
		used += (size_t)snprintf(out.text + used, sizeof(out.text) - used, "%s%" PRIu64, i ? " x " : "", tensor->shape[i]);
	return out;
}

/* Whether the file has this tensor and its neighbour under one name. */
static bool is_part(const rwkvk_file *file, size_t index, const rwkvk_tensor_info *tensor)
{
	rwkvk_tensor_info other = { 0 };
	return (index > 0 && rwkvk_file_tensor(file, index - 1, &other) && strcmp(other.name, tensor->name) == 0) ||
	       (rwkvk_file_tensor(file, index + 1, &other) && strcmp(other.name, tensor->name) == 0);
}

static json_t *tensors_json(const rwkvk_file *file)
{
	json_t *rows = json_array();
	rwkvk_tensor_info tensor = { .size = sizeof(tensor) };
	for (size_t i = 0; rwkvk_file_tensor(file, i, &tensor); i++) {
		json_t *row = json_object(), *shape = json_array();
		for (uint32_t d = 0; d < tensor.rank && d < 4; d++)
			json_array_append_new(shape, json_integer((json_int_t)tensor.shape[d]));
		json_object_set_new(row, "name", json_text(tensor.name));
		if (is_part(file, i, &tensor))
			json_object_set_new(row, "part", json_text(tensor.official_name));
		json_object_set_new(row, "type", json_text(tensor.type));
		json_object_set_new(row, "device", tensor.device_type ? json_text(tensor.device_type) : json_null());
		json_object_set_new(row, "shape", shape);
		if (tensor.change)
			json_object_set_new(row, "change", json_text(tensor.change));
		json_object_set_new(row, "bytes", json_integer((json_int_t)tensor.bytes));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *metadata_json(const rwkvk_file *file)
{
	json_t *rows = json_array();
	rwkvk_metadata entry = { 0 };
	for (size_t i = 0; rwkvk_file_metadata(file, i, &entry); i++) {
		json_t *row = json_object();
		json_object_set_new(row, "key", json_text(entry.key));
		json_object_set_new(row, "value", entry.value ? json_text(entry.value) : json_null());
		json_object_set_new(row, "items", json_integer((json_int_t)entry.items));
		json_array_append_new(rows, row);
	}
	return rows;
}

static json_t *token_json(uint32_t token)
{
	return token == RWKVK_NO_TOKEN ? json_null() : json_integer(token);
}

static const char *chat_name(const rwkvk_file *file)
{
	rwkvk_chat_template chat = RWKVK_CHAT_PLAIN;
	rwkvk_file_chat(file, &chat);
	return rwkvk_chat_name(chat);
}

static int print_json(const rwkvk_file *file, const rwkvk_model_info *info, bool keys)
{
	json_t *root = json_object();
	json_object_set_new(root, "name", json_text(info->name));
	json_object_set_new(root, "format", json_text(info->format));
	json_object_set_new(root, "version", json_text(info->version));
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "layers", info->layers },
		{ "width", info->width },
		{ "ffn_width", info->ffn_width },
		{ "vocab", info->vocab },
		{ "heads", info->heads },
		{ "head_size", info->head_size },
		{ "rank_decay", info->rank_decay },
		{ "rank_iclr", info->rank_iclr },
		{ "rank_value", info->rank_value },
		{ "rank_gate", info->rank_gate },
		{ "rank_mix", info->rank_mix },
		{ "rescale", info->rescale },
		{ "parameters", info->parameters },
		{ "bytes_per_token", info->bytes_per_token },
		{ "state_bytes", info->state_bytes },
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(root, numbers[i].name, json_integer((json_int_t)numbers[i].value));
	json_object_set_new(root, "group_norm_epsilon", json_real((double)info->group_norm_epsilon));
	json_object_set_new(root, "add_bos", json_boolean(info->add_bos));
	json_object_set_new(root, "begin_token", token_json(info->begin_token));
	json_object_set_new(root, "end_token", token_json(info->end_token));
	json_object_set_new(root, "has_tokenizer", json_boolean(info->has_tokenizer));
	json_object_set_new(root, "chat_template", json_string(chat_name(file)));
	if (keys)
		json_object_set_new(root, "metadata", metadata_json(file));
	else
		json_object_set_new(root, "tensors", tensors_json(file));
	return out_json(root);
}

/* Those that the version has: four in RWKV-7, two in RWKV-6, none before. */
static void print_ranks(const rwkvk_model_info *info)
{
	const struct {
		const char *name;
		uint32_t rank;
	} ranks[] = {
		{ "decay", info->rank_decay }, { "iclr", info->rank_iclr }, { "value", info->rank_value },
		{ "gate", info->rank_gate },   { "mix", info->rank_mix },
	};
	const char *before = "ranks            ";
	for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
		if (ranks[i].rank) {
			out_printf("%s%s %" PRIu32, before, ranks[i].name, ranks[i].rank);
			before = ", ";
		}
	if (*before == ',')
		out_printf("\n");
}

static void print_token(const char *title, const char *without, uint32_t token)
{
	if (token == RWKVK_NO_TOKEN)
		out_printf("%s%s\n", title, without);
	else
		out_printf("%swith token %" PRIu32 "\n", title, token);
}

static void print_summary(const rwkvk_file *file, const rwkvk_model_info *info)
{
	char name[256];
	out_printf("model            RWKV-%s%s%s (%s)\n", info->version, *info->name ? ", " : "",
	           printable(name, sizeof(name), info->name), info->format);
	out_printf("layers           %" PRIu32 "\n", info->layers);
	out_printf("width            %" PRIu32, info->width);
	if (info->head_size > 1)
		out_printf(", %" PRIu32 " head%s of %" PRIu32, info->heads, info->heads > 1 ? "s" : "", info->head_size);
	out_printf("\n");
	out_printf("ffn width        %" PRIu32 "\n", info->ffn_width);
	print_ranks(info);
	if (info->group_norm_epsilon > 0)
		out_printf("epsilon of ln_x  %g\n", (double)info->group_norm_epsilon);
	if (info->rescale)
		out_printf("rescaled         after every %" PRIu32 " layers\n", info->rescale);
	out_printf("vocabulary       %" PRIu32 ", %s\n", info->vocab, info->has_tokenizer ? "with a tokenizer" : "no tokenizer");
	print_token("starts a text    ", "with no token of its own", info->add_bos ? info->begin_token : RWKVK_NO_TOKEN);
	print_token("ends a text      ", "with no token of its own", info->end_token);
	out_printf("chat template    %s\n", chat_name(file));
	out_printf("parameters       %s (%" PRIu64 ")\n", show_count(info->parameters).text, info->parameters);
	out_printf("read per token   %s\n", show_bytes(info->bytes_per_token).text);
	out_printf("state            %s\n", show_bytes(info->state_bytes).text);
}

static void print_tensors(const rwkvk_file *file)
{
	rwkvk_tensor_info tensor = { .size = sizeof(tensor) };
	size_t width = strlen("tensor"), count = 0, changed = 0;
	uint64_t bytes = 0;
	for (; rwkvk_file_tensor(file, count, &tensor); count++)
		if (strlen(tensor.name) > width)
			width = strlen(tensor.name);
	if (width > 80)
		width = 80;
	out_printf("\n%-*s  %-6s  %-6s  %14s  %s\n", (int)width, "tensor", "type", "device", "bytes", "shape");
	for (size_t i = 0; rwkvk_file_tensor(file, i, &tensor); i++) {
		char name[256];
		out_printf("%-*s  %-6s  %-6s  %14" PRIu64 "  %s", (int)width, printable(name, sizeof(name), tensor.name), tensor.type,
		           tensor.device_type ? tensor.device_type : "-", tensor.bytes, shape_text(&tensor).text);
		if (is_part(file, i, &tensor))
			out_printf("  (%s)", printable(name, sizeof(name), tensor.official_name));
		if (tensor.change)
			out_printf("  + %s", tensor.change);
		out_printf("\n");
		changed += tensor.change != NULL;
		bytes += tensor.bytes;
	}
	out_printf("%zu tensors, %s", count, show_bytes(bytes).text);
	if (changed)
		out_printf("; adapters change %zu", changed);
	out_printf("\n");
}

/* Always on one line, whatever the value holds, and cut between characters if it is long. */
static void print_value(const rwkvk_metadata *entry)
{
	char text[96];
	size_t shown = entry->value_bytes;
	if (shown >= sizeof(text))
		for (shown = sizeof(text) - 1; shown > 0 && ((unsigned char)entry->value[shown] & 0xc0) == 0x80;)
			shown--;
	out_printf("%s", printable(text, shown + 1, entry->value));
	if (shown < entry->value_bytes)
		out_printf("... (%zu bytes)", entry->value_bytes);
	out_printf("\n");
}

static void print_keys(const rwkvk_file *file)
{
	rwkvk_metadata entry = { 0 };
	size_t count = 0;
	out_printf("\n");
	for (; rwkvk_file_metadata(file, count, &entry); count++) {
		char key[256];
		out_printf("%s = ", printable(key, sizeof(key), entry.key));
		if (entry.value)
			print_value(&entry);
		else
			out_printf("[%" PRIu64 " items]\n", entry.items);
	}
	out_printf("%zu keys\n", count);
}

static int inspect(const struct model_args *args, bool json, bool keys)
{
	rwkvk_model_options options = model_options(args);
	rwkvk_file *file = NULL;
	rwkvk_model_info info = { 0 };
	int code = EXIT_DONE;
	if (rwkvk_file_open(&options, &file) != RWKVK_OK)
		return failed_call();
	rwkvk_file_get_info(file, &info);
	if (json)
		code = print_json(file, &info, keys);
	else {
		print_summary(file, &info);
		if (keys)
			print_keys(file);
		else
			print_tensors(file);
	}
	rwkvk_file_close(file);
	return code;
}

int cmd_inspect(int argc, char **argv)
{
	struct model_args model = { 0 };
	bool json = false, keys = false;
	const struct arg args[] = {
		{ .group = "Options", .name = "json", .kind = ARG_FLAG, .target = &json, .help = "print JSON", .standard = "a table" },
		{ .name = "keys", .kind = ARG_FLAG, .target = &keys, .help = "the file's metadata instead of its tensors" },
		ARGS_TENSORS(model),
		ARG_QUANT(model),
		ARGS_NUMERICS(model),
	};
	const struct usage usage = {
		.command = "inspect",
		.synopsis = "[OPTION]... [MODEL]",
		.about = "Shows the contents of a model file; without MODEL, of the built-in model.  \"type\" and \"bytes\" "
				 "of a\n"
				 "tensor are those of the file; \"device\" is its type on a device, with --quant if given (-: "
				 "it is not\n"
				 "used); the change by --lora follows the shape.  Bytes read by one token are counted as on "
				 "the device.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.operand = "MODEL",
	};
	int code = args_parse(&usage, argc, argv, &model.path);
	return code == ARGS_GO_ON ? inspect(&model, json, keys) : code;
}
