# glslangValidator, the GLSL compiler, as GLSLANG_VALIDATOR; spirv-val and spirv-opt, where they are installed, as SPIRV_VAL and
# SPIRV_OPT.
find_program(GLSLANG_VALIDATOR NAMES glslangValidator glslang)
find_program(SPIRV_VAL spirv-val)
find_program(SPIRV_OPT spirv-opt)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Glslang REQUIRED_VARS GLSLANG_VALIDATOR
	REASON_FAILURE_MESSAGE "install glslang-tools, or run tools/test.sh, which does")
mark_as_advanced(GLSLANG_VALIDATOR SPIRV_VAL SPIRV_OPT)
