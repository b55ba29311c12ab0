// For measuring a device (src/gpu/measure.c): multiply-adds of 16-bit floats.  Needs shaderFloat16, but no 16-bit storage.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define VALUE        f16vec4
#define FIRST(word)  f16vec4(unpackFloat2x16(word), unpackFloat2x16(word))
#define STEP(v, m)   v = v * m + m
#define RESULT(v)    packFloat2x16((v).xy + (v).zw)
#include "common/measure_rate.glsl"
