#pragma once
typedef _Float16 half;
typedef _Float16 __half;
#define CUDART_INF_FP16 half(__builtin_inff())
#define CUDART_NAN_FP16 half(__builtin_nanf(""))
static inline half __float2half_rn(float x) { return half(x); }
