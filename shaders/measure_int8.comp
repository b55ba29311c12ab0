// For measuring a device (src/gpu/measure.c): dot products of four 8-bit integers, added to a 32-bit one.  Needs
// shaderIntegerDotProduct; the instruction is spelt out because not every glslang has GL_EXT_integer_dot_product.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_spirv_intrinsics : require
// OpSDot with its operands packed in words (format 0).
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int signed_dot(uint a, uint b, spirv_literal int format);
#define VALUE        ivec4
#define FIRST(word)  ivec4(word)
#define DOT(v, m)    signed_dot(uint(v), uint(m), 0) + v
#define STEP(v, m)   v = ivec4(DOT(v.x, m.x), DOT(v.y, m.y), DOT(v.z, m.z), DOT(v.w, m.w))
#define RESULT(v)    uint((v).x + (v).y + (v).z + (v).w)
#include "common/measure_rate.glsl"
