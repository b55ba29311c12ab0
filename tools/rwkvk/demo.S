/* The bytes of RWKVK_DEMO_FILE as rwkvk_demo_model, and their number (see demo.h), for ELF, Mach-O and COFF. */

#define PASTE2(a, b) a##b
#define PASTE(a, b)  PASTE2(a, b)
#define SYMBOL(name) PASTE(__USER_LABEL_PREFIX__, name) /* Mach-O and 32-bit COFF begin every name with '_' */

#if defined(__APPLE__)
	.section __TEXT,__const
#elif defined(_WIN32)
	.section .rdata,"dr"
#else
	.section .rodata,"a",%progbits
#endif

	.globl SYMBOL(rwkvk_demo_model)
	.balign 64
SYMBOL(rwkvk_demo_model):
	.incbin RWKVK_DEMO_FILE
SYMBOL(rwkvk_demo_model_end):

	.globl SYMBOL(rwkvk_demo_model_bytes)
	.balign 8
SYMBOL(rwkvk_demo_model_bytes):
#if __SIZEOF_POINTER__ == 8
	.quad SYMBOL(rwkvk_demo_model_end) - SYMBOL(rwkvk_demo_model)
#else
	.long SYMBOL(rwkvk_demo_model_end) - SYMBOL(rwkvk_demo_model)
#endif

#if defined(__ELF__)
	.type rwkvk_demo_model, %object
	.size rwkvk_demo_model, rwkvk_demo_model_end - rwkvk_demo_model
	.type rwkvk_demo_model_bytes, %object
	.size rwkvk_demo_model_bytes, __SIZEOF_POINTER__
	.section .note.GNU-stack,"",%progbits /* no executable stack */
#endif
