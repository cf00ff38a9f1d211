"""What each JAX primitive does to dependence. Importing this package fills the registry."""

from sparsesolve.pattern.rules import (
    _calls as _calls,
    _control_flow as _control_flow,
    _convolution as _convolution,
    _elementwise as _elementwise,
    _indexing as _indexing,
    _linalg as _linalg,
    _movement as _movement,
    _reduction as _reduction,
    _sharding as _sharding,
    _sparse as _sparse,
)
