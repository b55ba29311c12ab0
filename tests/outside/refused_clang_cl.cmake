# Included at the end of project(): the compiler found there, as if it were clang-cl.
set(CMAKE_C_COMPILER_ID Clang)
set(CMAKE_C_SIMULATE_ID MSVC)
