# Included at the end of project(): the compiler found there, as if it were Microsoft's.
set(CMAKE_C_COMPILER_ID MSVC)
set(MSVC 1)
