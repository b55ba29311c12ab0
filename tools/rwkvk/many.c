#include "many.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "streams.h"
#include "model.h"
#include "terminal.h"
#include "system.h"

/* One of the texts. */
struct text {
	rwkvk_session *session;
	rwkvk_sampling sampling;
	rwkvk_generate_options options;
	struct memory_stream shown; /* complete once it is closed */
	json_t *ids;
	bool ended;
	rwkvk_end reason;
	uint32_t stop;
	uint64_t tokens, close_draws;
};

struct writing {
	const struct many *many;
	struct text *texts;
	rwkvk_work *works; /* of the texts that have not ended */
	size_t printed, ended;
	uint64_t tokens;
	struct progress progress;
};

/* ---------------------------------------------------------------------------------------------------- one text */

static int begin(struct writing *w, size_t index, rwkvk_session *first)
{
	struct text *text = &w->texts[index];
	text->options = *w->many->options;
	text->sampling = *w->many->options->sampling;
	text->sampling.seed += index;
	text->options.sampling = &text->sampling;
	text->ids = json_array();
	if (!memory_open(&text->shown) || !text->ids)
		return failed("out of memory");
	text->session = first;
	if (index > 0 && rwkvk_session_clone(first, &text->session) != RWKVK_OK)
		return failed_call();
	return EXIT_DONE;
}

static void end(struct text *text, const rwkvk_session *first)
{
	if (text->session != first)
		rwkvk_session_destroy(text->session);
	if (text->shown.stream)
		memory_close(&text->shown);
	free(text->shown.bytes);
	json_decref(text->ids);
}

/* A model without a vocabulary writes token ids. */
static void take_token(struct writing *w, struct text *text, uint32_t id)
{
	if (!rwkvk_model_tokenizer(w->many->model))
		fprintf(text->shown.stream, "%s%" PRIu32, text->tokens > 0 ? " " : "", id);
	json_array_append_new(text->ids, json_integer(id));
	text->tokens++;
	w->tokens++;
}

/* Takes in the result of a step. */
static int take(struct writing *w, struct text *text, const rwkvk_work *work)
{
	char error[FIELDS_SIZE];
	if (work->status != RWKVK_OK && work->status != RWKVK_CANCELLED)
		return failed("%s", fields_as_options(error, sizeof(error), work->error));
	for (size_t i = 0; i < work->picked_count; i++)
		take_token(w, text, work_token(work, i));
	fwrite(work->text, 1, work->text_bytes, text->shown.stream);
	if (!work->ended)
		return EXIT_DONE;
	text->ended = true;
	text->reason = work->reason;
	text->stop = work->stop;
	text->close_draws = work->close_draws;
	w->ended++;
	return memory_close(&text->shown) ? EXIT_DONE : failed("out of memory");
}

/* ---------------------------------------------------------------------------------------------------- printing */

static json_t *text_json(const struct writing *w, size_t index)
{
	static const char *const reasons[] = {
		[RWKVK_END_STOP_TOKEN] = "stop_token",
		[RWKVK_END_STOP_TEXT] = "stop_text",
		[RWKVK_END_LENGTH] = "length",
		[RWKVK_END_CANCELLED] = "interrupted",
	};
	const struct text *text = &w->texts[index];
	json_t *object = json_object();
	bool has_text = rwkvk_model_tokenizer(w->many->model), stopped = text->reason == RWKVK_END_STOP_TEXT;
	json_object_set_new(object, "index", json_integer((json_int_t)index + 1));
	json_object_set_new(object, "seed", json_integer((json_int_t)text->sampling.seed));
	json_object_set_new(object, "text", has_text ? json_bytes(text->shown.bytes, text->shown.count) : json_null());
	json_object_set(object, "ids", text->ids);
	json_object_set_new(object, "tokens", json_integer((json_int_t)text->tokens));
	json_object_set_new(object, "reason", json_string(reasons[text->reason]));
	json_object_set_new(object, "stop", stopped ? json_text(text->options.stop_texts[text->stop]) : json_null());
	json_object_set_new(object, "close_draws", json_integer((json_int_t)text->close_draws));
	return object;
}

/* One line break after the text, whatever it ends in, and an empty line before the next, so that the exact text can be
 * recovered. */
static int print(const struct writing *w, size_t index)
{
	const struct text *text = &w->texts[index];
	int code = EXIT_DONE;
	if (w->many->json) {
		code = out_json_line(text_json(w, index));
	} else {
		out_printf("%s--- %zu\n", index > 0 ? "\n" : "", index + 1);
		out_write(text->shown.bytes, text->shown.count);
		out_write("\n", 1);
	}
	return out_flush() ? code : EXIT_FAILED; /* out_finish() says why */
}

static int print_ended(struct writing *w)
{
	int code = EXIT_DONE;
	if (w->printed < w->many->count && w->texts[w->printed].ended)
		progress_end();
	for (; code == EXIT_DONE && w->printed < w->many->count && w->texts[w->printed].ended; w->printed++)
		code = print(w, w->printed);
	return code;
}

static void show_progress(struct writing *w)
{
	char line[120];
	snprintf(line, sizeof(line), "writing  %zu of %zu texts have ended, %" PRIu64 " tokens", w->ended, w->many->count,
	         w->tokens);
	progress_text(&w->progress, line);
}

/* ---------------------------------------------------------------------------------------------------- all texts */

static int step(struct writing *w)
{
	size_t count = 0, taken = 0;
	int code = EXIT_DONE;
	for (size_t i = 0; i < w->many->count; i++)
		if (!w->texts[i].ended)
			w->works[count++] =
				(rwkvk_work){ .size = sizeof(rwkvk_work), .session = w->texts[i].session, .options = &w->texts[i].options };
	if (rwkvk_model_step(w->many->model, w->works, count) != RWKVK_OK)
		return failed_call();
	for (size_t i = 0; i < w->many->count && code == EXIT_DONE; i++)
		if (!w->texts[i].ended)
			code = take(w, &w->texts[i], &w->works[taken++]);
	if (code == EXIT_DONE)
		code = print_ended(w);
	return code;
}

int many_write(const struct many *many, rwkvk_session *first, struct many_done *done)
{
	struct writing w = { .many = many };
	int code = EXIT_DONE;
	w.texts = calloc(many->count, sizeof(*w.texts));
	w.works = calloc(many->count, sizeof(*w.works));
	if (!w.texts || !w.works)
		code = failed("out of memory");
	for (size_t i = 0; i < many->count && code == EXIT_DONE; i++)
		code = begin(&w, i, first);
	progress_begin(&w.progress, "writing", PROGRESS_TOKENS);
	while (code == EXIT_DONE && w.ended < many->count) {
		show_progress(&w);
		code = out_closed() ? EXIT_FAILED : step(&w);
	}
	progress_end();
	done->tokens = w.tokens;
	for (size_t i = 0; w.texts && i < many->count; i++) {
		done->close_draws += w.texts[i].close_draws;
		end(&w.texts[i], first);
	}
	free(w.texts);
	free(w.works);
	return code;
}
