/* The vector instructions that are used. The one header for all of them takes as long to read as the rest takes to
 * compile, so with GCC only its parts are read, which want to be told that it was. */
#pragma once
#if defined(__GNUC__) && !defined(__clang__)
#include <smmintrin.h>
#define _IMMINTRIN_H_INCLUDED
#include <avxintrin.h>
#include <avx2intrin.h>
#include <f16cintrin.h>
#include <fmaintrin.h>
#else
#include <immintrin.h>
#endif
