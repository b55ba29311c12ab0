#include "format/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- aliases */

enum { MOST_NAMES_BYTES = 1 << 20, MOST_LINES = 4096 };

static const char NUMBER[] = "{i}", NUMBER_LESS[] = "{i-1}", NUMBER_MORE[] = "{i+1}";

struct alias {
	char foreign[NAME_BYTES], official[NAME_BYTES]; /* official "-": the tensor is ignored */
	unsigned line;
	bool used;
};

struct aliases {
	const char *path;
	struct alias *items;
	size_t count, room;
};

/* The text matched by the wildcards of a pattern. */
struct match {
	const char *star;
	size_t star_bytes;
	uint64_t number;
};

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* A decimal number without leading zeros; the digits' end, or NULL. */
static const char *read_number(const char *text, uint64_t *number)
{
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 9 || (digits > 1 && *text == '0'))
		return NULL;
	*number = 0;
	for (size_t i = 0; i < digits; i++)
		*number = 10 * *number + (uint64_t)(text[i] - '0');
	return text + digits;
}

/* Patterns hold at most one star, so this calls itself once at most. */
static bool matches(const char *pattern, const char *name, struct match *match)
{
	for (; *pattern; pattern++) {
		if (starts_with(pattern, NUMBER)) {
			name = read_number(name, &match->number);
			if (!name)
				return false;
			pattern += strlen(NUMBER) - 1;
		} else if (*pattern == '*') {
			match->star = name;
			for (match->star_bytes = 1; match->star_bytes <= strlen(name); match->star_bytes++)
				if (matches(pattern + 1, name + match->star_bytes, match))
					return true;
			return false;
		} else if (*pattern != *name++)
			return false;
	}
	return *name == 0;
}

/* Inserts the matched text into the official side.  Returns NULL, or the reason why there is no such name. */
static const char *fill_in(const char *pattern, const struct match *match, char out[NAME_BYTES])
{
	size_t n = 0;
	while (*pattern) {
		size_t room = NAME_BYTES - n, wrote = 1, step = 1;
		int64_t number = -1;
		if (starts_with(pattern, NUMBER))
			number = (int64_t)match->number, step = strlen(NUMBER);
		else if (starts_with(pattern, NUMBER_MORE))
			number = (int64_t)match->number + 1, step = strlen(NUMBER_MORE);
		else if (starts_with(pattern, NUMBER_LESS)) {
			if (match->number == 0)
				return "its number is 0, so {i-1} would be -1";
			number = (int64_t)match->number - 1, step = strlen(NUMBER_LESS);
		}
		if (number >= 0)
			wrote = (size_t)snprintf(out + n, room, "%" PRId64, number);
		else if (*pattern == '*')
			wrote = match->star_bytes;
		if (wrote >= room)
			return "its name would have more than 255 characters";
		if (number < 0)
			memcpy(out + n, *pattern == '*' ? match->star : pattern, wrote);
		n += wrote;
		pattern += step;
	}
	out[n] = 0;
	return NULL;
}

/* ---------------------------------------------------------------------------------------------------- the file */

/* Counts the wildcards of one side; false where it holds braces or stars that are none. */
static bool count_wildcards(const char *side, bool official, unsigned *stars, unsigned *numbers)
{
	*stars = *numbers = 0;
	for (; *side; side++) {
		size_t bytes = 0;
		if (starts_with(side, NUMBER))
			bytes = strlen(NUMBER);
		else if (official && (starts_with(side, NUMBER_LESS) || starts_with(side, NUMBER_MORE)))
			bytes = strlen(NUMBER_LESS);
		if (bytes) {
			side += bytes - 1;
			++*numbers;
		} else if (*side == '*')
			++*stars;
		else if (*side == '{' || *side == '}')
			return false;
	}
	return *stars <= 1 && *numbers <= 1;
}

static rwkvk_status check_alias(const char *path, const struct alias *alias)
{
	unsigned stars, numbers, official_stars, official_numbers;
	bool ignore = strcmp(alias->official, "-") == 0;
	if (!count_wildcards(alias->foreign, false, &stars, &numbers))
		return fail(RWKVK_ERROR_FILE, "%s:%u: expected a name with at most one * and one {i}, found \"%s\"", path, alias->line,
		            show_text(alias->foreign, strlen(alias->foreign)).text);
	if (!count_wildcards(alias->official, true, &official_stars, &official_numbers))
		return fail(RWKVK_ERROR_FILE, "%s:%u: expected a name with at most one * and one of {i}, {i-1}, {i+1}, found \"%s\"",
		            path, alias->line, show_text(alias->official, strlen(alias->official)).text);
	if (!ignore && (stars != official_stars || numbers != official_numbers))
		return fail(RWKVK_ERROR_FILE, "%s:%u: expected the same wildcards in both names, found \"%s\" and \"%s\"", path,
		            alias->line, show_text(alias->foreign, strlen(alias->foreign)).text,
		            show_text(alias->official, strlen(alias->official)).text);
	return RWKVK_OK;
}

/* The next field of a line; its bytes are 0 at the end of the line or before a comment. */
static size_t next_field(const char **at, const char *end)
{
	size_t bytes = 0;
	while (*at < end && (**at == ' ' || **at == '\t'))
		++*at;
	if (*at < end && **at == '#')
		*at = end;
	while (*at + bytes < end && (*at)[bytes] != ' ' && (*at)[bytes] != '\t')
		bytes++;
	return bytes;
}

static rwkvk_status copy_field(const char *path, unsigned line, const char *field, size_t bytes, char out[NAME_BYTES])
{
	if (bytes >= NAME_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s:%u: expected names of at most %d characters, found %s", path, line, NAME_BYTES - 1,
		            show_text(field, bytes).text);
	for (size_t i = 0; i < bytes; i++)
		if (field[i] <= ' ' || field[i] >= 0x7f)
			return fail(RWKVK_ERROR_FILE, "%s:%u: expected names in plain ASCII, found \"%s\"", path, line,
			            show_text(field, bytes).text);
	memcpy(out, field, bytes);
	out[bytes] = 0;
	return RWKVK_OK;
}

static rwkvk_status read_line(struct aliases *aliases, unsigned line, const char *at, const char *end)
{
	static const char expected[] = "expected FOREIGN OFFICIAL, two names with a blank between them";
	struct alias alias = { .line = line };
	size_t bytes = next_field(&at, end);
	if (bytes == 0)
		return RWKVK_OK;
	TRY(copy_field(aliases->path, line, at, bytes, alias.foreign));
	at += bytes;
	bytes = next_field(&at, end);
	if (bytes == 0)
		return fail(RWKVK_ERROR_FILE, "%s:%u: %s, found only \"%s\"", aliases->path, line, expected,
		            show_text(alias.foreign, strlen(alias.foreign)).text);
	TRY(copy_field(aliases->path, line, at, bytes, alias.official));
	at += bytes;
	bytes = next_field(&at, end);
	if (bytes)
		return fail(RWKVK_ERROR_FILE, "%s:%u: %s, found a third word \"%s\"", aliases->path, line, expected,
		            show_text(at, bytes).text);
	TRY(check_alias(aliases->path, &alias));
	if (aliases->count == MOST_LINES)
		return fail(RWKVK_ERROR_FILE, "%s:%u: expected at most %d aliases, found more", aliases->path, line, MOST_LINES);
	if (aliases->count == aliases->room) {
		size_t room = aliases->room ? 2 * aliases->room : 64;
		struct alias *items = realloc(aliases->items, room * sizeof *items);
		if (!items)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for aliases", aliases->path);
		aliases->items = items;
		aliases->room = room;
	}
	aliases->items[aliases->count++] = alias;
	return RWKVK_OK;
}

static rwkvk_status read_lines(struct aliases *aliases, const char *text, size_t bytes)
{
	const char *end = text + bytes;
	if (bytes > MOST_NAMES_BYTES)
		return fail(RWKVK_ERROR_FILE, "%s: expected a file of aliases of at most %d bytes, found %zu", aliases->path,
		            MOST_NAMES_BYTES, bytes);
	for (unsigned line = 1; text < end; line++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text)), *stop = newline ? newline : end;
		const char *next = newline ? newline + 1 : end;
		if (stop > text && stop[-1] == '\r')
			stop--;
		TRY(read_line(aliases, line, text, stop));
		text = next;
	}
	if (aliases->count == 0)
		return fail(RWKVK_ERROR_FILE, "%s: expected lines of FOREIGN OFFICIAL names, found none", aliases->path);
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- applying */

/* Renames one tensor by the first line that matches; *keep is false where that line says "-". */
static rwkvk_status rename_tensor(const struct weights *weights, const struct aliases *aliases, struct tensor *tensor,
                                  bool *keep)
{
	char name[NAME_BYTES];
	*keep = true;
	for (size_t i = 0; i < aliases->count; i++) {
		struct alias *alias = &aliases->items[i];
		struct match match = { 0 };
		if (!matches(alias->foreign, tensor->file_name, &match))
			continue;
		alias->used = true;
		*keep = strcmp(alias->official, "-") != 0;
		if (!*keep)
			return RWKVK_OK;
		const char *wrong = fill_in(alias->official, &match, name);
		if (wrong)
			return fail(RWKVK_ERROR_FILE, "%s:%u: cannot rename %s of %s: %s", aliases->path, alias->line, tensor->file_name,
			            weights->path, wrong);
		char *copy = strdup(name);
		if (!copy)
			return fail(RWKVK_ERROR_MEMORY, "%s: no memory for names", weights->path);
		free(tensor->name);
		tensor->name = copy;
		return RWKVK_OK;
	}
	return RWKVK_OK;
}

static rwkvk_status rename_all(struct weights *weights, const struct aliases *aliases)
{
	size_t kept = 0;
	for (size_t i = 0; i < weights->count; i++) {
		bool keep;
		TRY(rename_tensor(weights, aliases, &weights->tensors[i], &keep));
		struct tensor tensor = weights->tensors[i];
		weights->tensors[i] = (struct tensor){ 0 }; /* each is owned once, also after a failure */
		if (keep)
			weights->tensors[kept++] = tensor;
		else {
			free(tensor.name);
			free(tensor.file_name);
		}
	}
	weights->count = kept;
	for (size_t i = 0; i < aliases->count; i++)
		if (!aliases->items[i].used)
			return fail(RWKVK_ERROR_FILE, "%s:%u: no tensor of %s is called \"%s\", or an earlier line has taken it",
			            aliases->path, aliases->items[i].line, weights->path, aliases->items[i].foreign);
	return RWKVK_OK;
}

rwkvk_status names_apply_text(struct weights *weights, const char *path, const char *text, size_t bytes)
{
	struct aliases aliases = { .path = path };
	rwkvk_status status = read_lines(&aliases, text, bytes);
	if (status == RWKVK_OK)
		status = rename_all(weights, &aliases);
	free(aliases.items);
	return status;
}

rwkvk_status names_apply(struct weights *weights, const char *path)
{
	struct mapping file;
	TRY(file_map(path, &file));
	rwkvk_status status = names_apply_text(weights, path, (const char *)file.data, (size_t)file.bytes);
	file_unmap(&file);
	return status;
}
