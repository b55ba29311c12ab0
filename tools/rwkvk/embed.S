/* The bytes of EMBED_FILE as an array called EMBED_NAME, and their number as EMBED_NAME_bytes, for ELF, Mach-O and COFF. */

#define PASTE2(a, b) a##b
#define PASTE(a, b)  PASTE2(a, b)
#define SYMBOL(name) PASTE(__USER_LABEL_PREFIX__, name) /* Mach-O and 32-bit COFF begin every name with '_' */
#define ARRAY        SYMBOL(EMBED_NAME)
#define END          SYMBOL(PASTE(EMBED_NAME, _end))
#define NUMBER       SYMBOL(PASTE(EMBED_NAME, _bytes))

#if defined(__APPLE__)
	.section __TEXT,__const
#elif defined(_WIN32)
	.section .rdata,"dr"
#else
	.section .rodata,"a",%progbits
#endif

	.globl ARRAY
	.balign 64
ARRAY:
	.incbin EMBED_FILE
END:

	.globl NUMBER
	.balign 8
NUMBER:
#if __SIZEOF_POINTER__ == 8
	.quad END - ARRAY
#else
	.long END - ARRAY
#endif

#if defined(__ELF__)
	.type ARRAY, %object
	.size ARRAY, END - ARRAY
	.type NUMBER, %object
	.size NUMBER, __SIZEOF_POINTER__
	.section .note.GNU-stack,"",%progbits /* no executable stack */
#endif
