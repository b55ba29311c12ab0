#include "story.hpp"

#include <stdexcept>
#include <vector>

static void check(rwkvk_status status)
{
	if (status != RWKVK_OK)
		throw std::runtime_error(std::string(rwkvk_status_name(status)) + ": " + rwkvk_last_error());
}

Story::Story(const char *path)
{
	rwkvk_model_options options = {};
	options.path = path;
	check(rwkvk_model_open(&options, &model));
	check(rwkvk_session_create(model, &session));
}

Story::~Story()
{
	rwkvk_session_destroy(session);
	rwkvk_model_close(model);
}

std::string Story::goes_on(const std::string &beginning, int count)
{
	const rwkvk_tokenizer *tokenizer = rwkvk_model_tokenizer(model);
	std::vector<uint32_t> tokens(beginning.size());
	std::string text = beginning;
	size_t used = 0;
	check(rwkvk_tokenizer_encode(tokenizer, beginning.data(), beginning.size(), tokens.data(), tokens.size(), &used));
	check(rwkvk_session_eval(session, tokens.data(), used, nullptr));
	for (int i = 0; i < count; i++) {
		const rwkvk_sampling most_probable = {};
		uint32_t token = 0;
		check(rwkvk_session_sample(session, &most_probable, &token));
		check(rwkvk_session_eval(session, &token, 1, nullptr));
		size_t bytes = 0;
		const void *piece = rwkvk_tokenizer_token(tokenizer, token, &bytes);
		if (piece)
			text.append(static_cast<const char *>(piece), bytes);
	}
	return text;
}
