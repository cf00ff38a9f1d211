// Buffers of an FFI call with their leading batch dimensions. Every view is checked when it is made.
//
// vmap adds leading dimensions to all operands, of length 1 to those that are not batched ("expand_dims"). A view splits
// the shape of a buffer into these and its own `core` dimensions.

#ifndef SPARSESOLVE_BUFFERS_H_
#define SPARSESOLVE_BUFFERS_H_

#include <algorithm>
#include <complex>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "tree.h"
#include "xla/ffi/api/ffi.h"

namespace sparsesolve {

namespace ffi = xla::ffi;

template <class T>
struct View {
  T* data;
  size_t batch_rank;
  const int64_t* dims;
  int64_t size;  // of one member
  int64_t members;
  int64_t core(size_t axis) const { return dims[batch_rank + axis]; }
};

template <class T>
constexpr ffi::DataType kDataType = ffi::DataType::INVALID;
template <>
constexpr ffi::DataType kDataType<int32_t> = ffi::DataType::S32;
template <>
constexpr ffi::DataType kDataType<float> = ffi::DataType::F32;
template <>
constexpr ffi::DataType kDataType<double> = ffi::DataType::F64;
template <>
constexpr ffi::DataType kDataType<std::complex<float>> = ffi::DataType::C64;
template <>
constexpr ffi::DataType kDataType<std::complex<double>> = ffi::DataType::C128;

template <class T>
View<T> view(const ffi::AnyBuffer& buffer, size_t core_rank, const char* name) {
  const auto dims = buffer.dimensions();
  if (buffer.element_type() != kDataType<std::remove_const_t<T>>) {
    throw std::invalid_argument(std::string(name) + ": wrong element type");
  }
  if (dims.size() < core_rank) throw std::invalid_argument(std::string(name) + ": too few dimensions");
  View<T> out{static_cast<T*>(buffer.untyped_data()), dims.size() - core_rank, dims.begin(), 1, 1};
  for (size_t i = 0; i < dims.size(); i++) (i < out.batch_rank ? out.members : out.size) *= dims[i];
  return out;
}

// An index table: never batched.
inline View<const int32_t> table(const ffi::AnyBuffer& buffer, size_t core_rank, const char* name) {
  const View<const int32_t> out = view<const int32_t>(buffer, core_rank, name);
  if (out.members != 1) throw std::invalid_argument(std::string(name) + ": index tables cannot be batched");
  return out;
}

template <class A, class B>
void require_same_batch(const View<A>& a, const View<B>& b, const char* message) {
  bool same = a.batch_rank == b.batch_rank;
  for (size_t i = 0; same && i < a.batch_rank; i++) same = a.dims[i] == b.dims[i];
  require(same, message);
}

// Every element of an index table lies in [0, bound).
inline void require_below(const int32_t* index, int64_t count, int64_t bound, const char* message) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; i++) largest = std::max(largest, static_cast<uint32_t>(index[i]));
  require(count == 0 || static_cast<int64_t>(largest) < bound, message);
}

// Where an operand's member is for one member of the result, along the leading `axes` batch dimensions.
template <class T>
int64_t member(const View<T>& operand, const int64_t* index, size_t axes) {
  int64_t at = 0;
  for (size_t i = 0; i < axes; i++) at = at * operand.dims[i] + (operand.dims[i] == 1 ? 0 : index[i]);
  for (size_t i = axes; i < operand.batch_rank; i++) at *= operand.dims[i];
  return at;
}

template <class T>
void require_broadcast(const View<T>& operand, const int64_t* dims, size_t rank) {
  bool fits = operand.batch_rank == rank;
  for (size_t i = 0; fits && i < rank; i++) fits = operand.dims[i] == 1 || operand.dims[i] == dims[i];
  require(fits, "operands must have the batch dimensions of the result, or length 1 in their place");
}

// Uninitialised working space.
struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
template <class T>
using Workspace = std::unique_ptr<T[], Free>;

template <class T>
Workspace<T> allocate(int64_t count) {
  void* memory = std::malloc(sizeof(T) * static_cast<size_t>(std::max<int64_t>(count, 1)));
  if (memory == nullptr) throw std::bad_alloc();
  return Workspace<T>(static_cast<T*>(memory));
}

// Runs a kernel and turns what it throws into a status: nothing is thrown across the border.
template <class Function>
ffi::Error guarded(Function&& kernel) {
  try {
    kernel();
    return ffi::Error::Success();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "sparsesolve: no memory for working space");
  } catch (const std::exception& error) {
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, std::string("sparsesolve: ") + error.what());
  }
}

// Calls `kernel(T{})` for the element type of a buffer.
template <class Kernel>
void dispatch(ffi::DataType type, Kernel&& kernel) {
  switch (type) {
    case ffi::DataType::F32: return kernel(float{});
    case ffi::DataType::F64: return kernel(double{});
    case ffi::DataType::C64: return kernel(std::complex<float>{});
    case ffi::DataType::C128: return kernel(std::complex<double>{});
    default: throw std::invalid_argument("values must be float32, float64, complex64 or complex128");
  }
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_BUFFERS_H_
