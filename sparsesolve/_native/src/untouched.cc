// Room for records: a buffer that nothing is written into, so that memory which is never used costs nothing. (The pages
// of a new buffer are made by the operating system when they are first touched, half a millisecond a megabyte.)
// Operand: anything, its batch is that of the result. Attribute: which, so that XLA does not take two of them for one.
// Result: of any type and shape; its values are undefined.

#include "binding.h"

namespace sparsesolve {
namespace {

namespace ffi = xla::ffi;

ffi::Error untouched(ffi::AnyBuffer, ffi::Result<ffi::AnyBuffer>, int64_t) { return ffi::Error::Success(); }

}  // namespace
}  // namespace sparsesolve

SPARSESOLVE_HANDLER(SparsesolveUntouched, sparsesolve::untouched,
                    sparsesolve::results<1>(sparsesolve::operands<1>(xla::ffi::Ffi::Bind())).Attr<int64_t>("which"));
