# cmake -DSPIRV=file.spv -DHEADER=file.h -DNAME=symbol -P embed.cmake: SPIR-V, which is little-endian words, as an array in C.
file(READ ${SPIRV} words HEX)
string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1, " words "${words}")
string(REGEX REPLACE "((0x[0-9a-f]+, )(0x[0-9a-f]+, )(0x[0-9a-f]+, )(0x[0-9a-f]+, )(0x[0-9a-f]+, )(0x[0-9a-f]+, )(0x[0-9a-f]+, )(0x[0-9a-f]+, ))"
	"\\1\n" words "${words}")
file(WRITE ${HEADER} "static const uint32_t ${NAME}[] = {\n${words}\n};\n")
