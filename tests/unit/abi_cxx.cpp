// The public headers as C++ sees them.
#include "rwkvk_tools.h" // includes rwkvk.h

extern "C" size_t rwkvk_test_cxx_sizes(void);
extern "C" size_t rwkvk_test_cxx_use(void);

// Of all structs of rwkvk.h.
size_t rwkvk_test_cxx_sizes(void)
{
	return sizeof(rwkvk_device_info) + sizeof(rwkvk_model_options) + sizeof(rwkvk_model_info) + sizeof(rwkvk_metadata) +
	       sizeof(rwkvk_lora) + sizeof(rwkvk_bias) + sizeof(rwkvk_sampling) + sizeof(rwkvk_eval_options) + sizeof(rwkvk_token) +
	       sizeof(rwkvk_generate_options) + sizeof(rwkvk_generate_result) + sizeof(rwkvk_candidate) + sizeof(rwkvk_work) +
	       sizeof(rwkvk_chat_message) + sizeof(rwkvk_chat_options) + sizeof(rwkvk_chat_stops) + sizeof(rwkvk_chat_part) +
	       sizeof(rwkvk_cache_options) + sizeof(rwkvk_cache_stats) + sizeof(rwkvk_prompt_options) + sizeof(rwkvk_prompt_info);
}

size_t rwkvk_test_cxx_use(void)
{
	rwkvk_model_options options = rwkvk_model_options();
	rwkvk_tools_options tools = rwkvk_tools_options();
	options.size = sizeof options;
	options.tools = &tools;
	size_t length = 0;
	for (const char *c = rwkvk_version(); *c; c++)
		length++;
	return options.tools == &tools ? length : 0;
}
