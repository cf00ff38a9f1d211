// How a kernel is declared to XLA: its symbol, and operands and results as buffers of any type and shape, which every
// kernel checks itself.
#pragma once

#include <utility>

#include "xla/ffi/api/ffi.h"

#define SPARSESOLVE_HANDLER(name, function, binding)                                         \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* name(XLA_FFI_CallFrame*); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, function, binding)

namespace sparsesolve {

// The binding with `count` more operands. Bindings cannot be moved: each call returns what XLA's own made.
template <int count, typename Binding>
auto operands(Binding&& binding) {
  if constexpr (count == 1) {
    return std::move(binding).template Arg<xla::ffi::AnyBuffer>();
  } else {
    return operands<count - 1>(std::move(binding).template Arg<xla::ffi::AnyBuffer>());
  }
}

// The binding with `count` more results.
template <int count, typename Binding>
auto results(Binding&& binding) {
  if constexpr (count == 1) {
    return std::move(binding).template Ret<xla::ffi::AnyBuffer>();
  } else {
    return results<count - 1>(std::move(binding).template Ret<xla::ffi::AnyBuffer>());
  }
}

}  // namespace sparsesolve
