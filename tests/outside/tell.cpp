// outside_tell MODEL: what outside_embed prints, through the library in C++.
#include <exception>
#include <iostream>

#include "story.hpp"

int main(int argc, char **argv)
{
	if (argc != 2) {
		std::cerr << "usage: outside_tell MODEL\n";
		return 2;
	}
	try {
		std::cout << Story(argv[1]).goes_on("Once upon a time", 16) << "\nversion " << rwkvk_version() << "\n";
	} catch (const std::exception &error) {
		std::cerr << error.what() << "\n";
		return 1;
	}
	return 0;
}
