// Which member of an operand belongs to a member of the result: operands have the result's batch dimensions, or length
// 1 in their place.

#ifndef SPARSESOLVE_BROADCAST_H_
#define SPARSESOLVE_BROADCAST_H_

#include "buffers.h"

namespace sparsesolve {

template <class T>
void require_broadcast(const View<T>& operand, const int64_t* dims, size_t rank) {
  bool fits = operand.batch_rank == rank;
  for (size_t i = 0; fits && i < rank; i++) fits = operand.dims[i] == 1 || operand.dims[i] == dims[i];
  require(fits, "operands must have the batch dimensions of the result, or length 1 in their place");
}

// `index` numbers the members of `result`, row-major. The caller has checked that the operand broadcasts.
template <class A, class B>
int64_t member_of(const View<A>& operand, const View<B>& result, int64_t index) {
  int64_t at = 0, stride = 1;
  for (size_t i = result.batch_rank; i-- > 0;) {
    if (operand.dims[i] != 1) at += index % result.dims[i] * stride;
    index /= result.dims[i];
    stride *= operand.dims[i];
  }
  return at;
}

}  // namespace sparsesolve

#endif  // SPARSESOLVE_BROADCAST_H_
