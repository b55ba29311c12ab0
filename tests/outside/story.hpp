// A library in C++ that is built on rwkvk and exposes it to its users: its header includes the public headers.
#pragma once

#include <string>

#include <rwkvk.h>
#include <rwkvk_tools.h>

class Story
{
  public:
	explicit Story(const char *path); // throws std::runtime_error
	~Story();
	Story(const Story &) = delete;
	Story &operator=(const Story &) = delete;
	std::string goes_on(const std::string &beginning, int tokens);

  private:
	rwkvk_model *model = nullptr;
	rwkvk_session *session = nullptr;
};
