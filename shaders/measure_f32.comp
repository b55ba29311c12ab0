// For measuring a device (src/gpu/measure.c): multiply-adds of 32-bit floats.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VALUE        vec4
#define FIRST(word)  vec4(uintBitsToFloat(word))
#define STEP(v, m)   v = v * m + m
#define RESULT(v)    floatBitsToUint((v).x + (v).y + (v).z + (v).w)
#include "common/measure_rate.glsl"
