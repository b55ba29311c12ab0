/* States of texts in a folder, a file each.  Several processes may share it: files appear there as a whole, and any may vanish
 * at any moment.  A file's time is its last use.  Its name says which text it is for, and its content repeats that. */
#include "session/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/folder.h"
#include "base/thread.h"

enum { QUEUE = 8 }; /* states that wait to be written */

#define ENDING    ".state"
#define TEMPORARY ".tmp" /* of base/file.h */
#define HOUR      (UINT64_C(3600) * 1000000000)
#define NAME_ROOM (STATE_KEY_ROOM + sizeof ENDING)

struct folder {
	struct store store;
	char *path;
	uint64_t limit;
	struct state_header want;
	struct thread writer;
	struct mutex lock; /* guards the members below */
	struct condition wake;
	struct text_state *queue[QUEUE]; /* the first one is next */
	size_t waiting;
	bool ending;
	uint64_t states, bytes; /* as last seen */
	uint64_t dropped, damaged, unwritten;
};

/* For free(); NULL when out of memory. */
static char *path_of(const struct folder *f, const struct state_key *key)
{
	char name[NAME_ROOM];
	state_key_name(key, name);
	strcat(name, ENDING);
	return file_join(f->path, strlen(f->path), name);
}

/* ------------------------------------------------------------------------------------------------------ room */

/* The content of the folder. */
struct inventory {
	const struct folder *folder;
	struct kept {
		char name[NAME_ROOM];
		uint64_t bytes, used;
	} * files;
	size_t count, capacity;
	uint64_t bytes;
};

static bool ends_in(const char *name, const char *ending)
{
	size_t length = strlen(name), part = strlen(ending);
	return length > part && strcmp(name + length - part, ending) == 0;
}

static void remove_in(const struct folder *f, const char *name)
{
	char *path = file_join(f->path, strlen(f->path), name);
	if (path)
		file_remove(path);
	free(path);
}

/* Others write files, too, so a temporary one counts as abandoned only when it is old. */
static void take_stock(void *user, const struct folder_file *file, uint64_t now)
{
	struct inventory *all = user;
	if (ends_in(file->name, TEMPORARY) && file->used + HOUR < now)
		remove_in(all->folder, file->name);
	if (!ends_in(file->name, ENDING) || strlen(file->name) >= NAME_ROOM)
		return;
	if (all->count == all->capacity) {
		size_t capacity = 2 * all->capacity + 64;
		struct kept *more = realloc(all->files, capacity * sizeof *more);
		if (!more)
			return;
		all->files = more;
		all->capacity = capacity;
	}
	struct kept *kept = &all->files[all->count++];
	*kept = (struct kept){ .bytes = file->bytes, .used = file->used };
	strcpy(kept->name, file->name);
	all->bytes += file->bytes;
}

static int by_use(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;
	return (x->used > y->used) - (x->used < y->used);
}

/* Rescans the folder.  If it is too full, removes the least recently used files, and an eighth more than necessary, so that
 * this does not happen for each state. */
static void keep_limit(struct folder *f)
{
	struct inventory all = { .folder = f };
	size_t gone = 0;
	folder_list(f->path, take_stock, &all);
	if (all.bytes > f->limit) {
		qsort(all.files, all.count, sizeof *all.files, by_use);
		for (; gone + 1 < all.count && all.bytes > f->limit - f->limit / 8; gone++) {
			remove_in(f, all.files[gone].name);
			all.bytes -= all.files[gone].bytes;
		}
	}
	free(all.files);
	mutex_lock(&f->lock);
	f->states = all.count - gone;
	f->bytes = all.bytes;
	f->dropped += gone;
	mutex_unlock(&f->lock);
}

/* ------------------------------------------------------------------------------------------------------ writing */

static rwkvk_status write_file(const char *path, const uint8_t *bytes, uint64_t count)
{
	struct file_writer file;
	TRY(file_create(path, count, &file));
	rwkvk_status status = file_make_private(&file);
	if (status == RWKVK_OK)
		status = file_append(&file, bytes, count);
	if (status == RWKVK_OK)
		return file_commit(&file);
	file_give_up(&file);
	return status;
}

/* An existing file is just as good, unless it lacks the logits: then it is shorter. */
static bool is_there(const char *path, uint64_t bytes)
{
	struct mapping file;
	bool there = file_kind(path) == FILE_REGULAR && file_map(path, &file) == RWKVK_OK;
	if (!there)
		return false;
	there = file.bytes >= bytes;
	file_unmap(&file);
	return there;
}

static bool write_new(struct folder *f, const char *path, const struct text_state *state, uint64_t bytes)
{
	uint8_t *blob = malloc(bytes);
	bool written = blob && text_state_build(state, blob) == RWKVK_OK && write_file(path, blob, bytes) == RWKVK_OK;
	free(blob);
	mutex_lock(&f->lock);
	f->unwritten += !written;
	f->states += written;
	f->bytes += written ? bytes : 0;
	bool full = f->bytes > f->limit;
	mutex_unlock(&f->lock);
	return full;
}

static void write_state(struct folder *f, const struct text_state *state)
{
	const uint64_t bytes = text_state_bytes(state);
	char *path = path_of(f, &state->key);
	error_hold();
	if (path && is_there(path, bytes))
		file_touch(path);
	else if (path && write_new(f, path, state, bytes))
		keep_limit(f);
	error_release();
	free(path);
}

/* The thread: until the store ends, and all is written. */
static void write_all(void *user)
{
	struct folder *f = user;
	mutex_lock(&f->lock);
	while (f->waiting > 0 || !f->ending) {
		if (f->waiting == 0) {
			condition_wait(&f->wake, &f->lock);
			continue;
		}
		struct text_state *next = f->queue[0];
		memmove(f->queue, f->queue + 1, --f->waiting * sizeof *f->queue);
		mutex_unlock(&f->lock);
		write_state(f, next);
		text_state_release(next);
		mutex_lock(&f->lock);
	}
	mutex_unlock(&f->lock);
}

static void put(struct store *store, struct text_state *state)
{
	struct folder *f = (struct folder *)store;
	if (text_state_bytes(state) > f->limit)
		return;
	mutex_lock(&f->lock);
	if (f->waiting < QUEUE)
		f->queue[f->waiting++] = text_state_take(state);
	else
		f->unwritten++;
	condition_wake_one(&f->wake);
	mutex_unlock(&f->lock);
}

/* ------------------------------------------------------------------------------------------------------ reading */

/* Removes damaged files.  A file that has just vanished is not damage. */
static struct text_state *read_state(struct folder *f, const char *path, const struct state_key *key)
{
	struct mapping file = { 0 };
	struct text_state *found = NULL;
	rwkvk_status status = file_read(path, &file);
	if (status == RWKVK_OK)
		status = text_state_parse(path, file.data, file.bytes, key, &f->want, &found);
	file_unmap(&file);
	if (status == RWKVK_OK || status == RWKVK_ERROR_MEMORY || file_kind(path) == FILE_MISSING)
		return found;
	file_remove(path);
	mutex_lock(&f->lock);
	f->damaged++;
	mutex_unlock(&f->lock);
	return NULL;
}

static struct text_state *look_for(struct folder *f, const void *text, const struct wanted *wanted)
{
	char *path = path_of(f, &wanted->key);
	struct text_state *found = path && file_kind(path) != FILE_MISSING ? read_state(f, path, &wanted->key) : NULL;
	if (found && !text_state_is(found, &wanted->key, text, wanted->bytes, wanted->logits)) {
		text_state_release(found);
		found = NULL;
	}
	if (found)
		file_touch(path);
	free(path);
	return found;
}

static struct text_state *lookup(struct store *store, const void *text, const struct wanted *wanted, size_t count,
                                 size_t *which)
{
	struct text_state *found = NULL;
	for (*which = 0; *which < count; ++*which)
		if ((found = look_for((struct folder *)store, text, &wanted[*which])))
			break;
	return found;
}

/* ------------------------------------------------------------------------------------------------------ the store */

static void count(struct store *store, rwkvk_cache_stats *stats)
{
	struct folder *f = (struct folder *)store;
	mutex_lock(&f->lock);
	stats->disk_states = f->states;
	stats->disk_bytes = f->bytes;
	stats->disk_limit = f->limit;
	stats->dropped += f->dropped;
	stats->damaged = f->damaged;
	stats->unwritten = f->unwritten;
	mutex_unlock(&f->lock);
}

static void destroy(struct store *store)
{
	struct folder *f = (struct folder *)store;
	mutex_lock(&f->lock);
	f->ending = true;
	condition_wake_one(&f->wake);
	mutex_unlock(&f->lock);
	thread_join(&f->writer);
	condition_destroy(&f->wake);
	mutex_destroy(&f->lock);
	free(f->path);
	free(f);
}

static bool start_writer(struct folder *f)
{
	if (!mutex_init(&f->lock))
		return false;
	if (condition_init(&f->wake)) {
		if (thread_start(&f->writer, write_all, f))
			return true;
		condition_destroy(&f->wake);
	}
	mutex_destroy(&f->lock);
	return false;
}

static rwkvk_status open_folder(const char *dir, struct folder *f)
{
	f->path = file_join(dir, strlen(dir), "states");
	if (!f->path)
		return fail(RWKVK_ERROR_MEMORY, "no memory for the state cache");
	TRY(folder_make(f->path));
	if (!start_writer(f))
		return fail(RWKVK_ERROR_MEMORY, "%s: cannot start the thread that writes states", f->path);
	return RWKVK_OK;
}

rwkvk_status store_folder_create(const char *dir, uint64_t limit, const struct state_header *want, struct store **out)
{
	struct folder *f = calloc(1, sizeof *f);
	*out = NULL;
	if (!f)
		return fail(RWKVK_ERROR_MEMORY, "no memory for the state cache");
	f->store = (struct store){ lookup, put, count, destroy };
	f->limit = limit;
	f->want = *want;
	rwkvk_status status = open_folder(dir, f);
	if (status != RWKVK_OK) {
		free(f->path);
		free(f);
		return status;
	}
	keep_limit(f);
	*out = &f->store;
	return RWKVK_OK;
}
