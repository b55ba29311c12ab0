#pragma once

#define INFINITY    __builtin_inff()
#define HUGE_VAL    __builtin_huge_val()
#define NAN         __builtin_nanf("")
#define isfinite(x) __builtin_isfinite(x)
#define isinf(x)    __builtin_isinf(x)
#define isnan(x)    __builtin_isnan(x)
#define signbit(x)  __builtin_signbit(x)

float copysignf(float x, float sign);
double exp(double x);
float expf(float x);
double fabs(double x);
float fabsf(float x);
double floor(double x);
double fmax(double x, double y);
double fmin(double x, double y);
float ldexpf(float x, int power);
double log(double x);
long lround(double x);
double pow(double x, double y);
double sqrt(double x);
float sqrtf(float x);
float tanhf(float x);
